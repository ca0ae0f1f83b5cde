/* The instruction tables, and what their translate functions share. */
#pragma once

#include "core/util.h"
#include "target/riscv/riscv.h"
#include "tcg/decode.h"

#include <stdbool.h>

/* Tables of 32-bit encodings by extension, and of 16-bit ones. */
extern const struct insn_table riscv_base_tables[], riscv_bit_tables[], riscv_float_tables[],
    riscv_system_tables[], riscv_compressed_tables[];
extern const size_t riscv_n_base_tables, riscv_n_bit_tables, riscv_n_float_tables,
    riscv_n_system_tables, riscv_n_compressed_tables;

enum { RV_MAX_TABLES = 64 };
/* Copies all tables of `width`-bit encodings to out[RV_MAX_TABLES]; gives their number. */
size_t riscv_insn_tables(unsigned width, struct insn_table *out);

#define EXT(id) ((uint64_t)1 << RV_EXT_##id)
_Static_assert(N_RV_EXTS <= 64, "features no longer fit one word");

/* A table that needs all of one set of extensions and one of another (0: no such condition). */
#define INSNS(table, all_, any_) { (table), ARRAY_LEN(table), (all_), (any_) }

/* Immediate layouts, unpriv 2.3 */
#define IMM_I "s11:0"
#define IMM_S "s11:5|4:0"
#define IMM_B "s12|10:5|4:1|11"
#define IMM_U "s31:12"
#define IMM_J "s20|10:1|11|19:12"
#define IMM_SHIFT "5:0"
#define IMM_SHIFT32 "4:0"
#define IMM_CSR "11:0"

static inline ir_val gpr(struct tr *t, unsigned r)
{
    return r ? ir_get(t->ir, RV_SLOT_X + r) : ir_i64(t->ir, 0);
}

static inline void set_gpr(struct tr *t, unsigned r, ir_val v)
{
    if (r)
        ir_set(t->ir, RV_SLOT_X + r, v);
}

/* Low half, as an i32. */
static inline ir_val gpr32(struct tr *t, unsigned r)
{
    return ir_1(t->ir, IR_trunc, gpr(t, r));
}

static inline void set_gpr32(struct tr *t, unsigned r, ir_val v)
{
    set_gpr(t, r, ir_1(t->ir, IR_sext32, v));
}

static inline bool tr_has(const struct tr *t, enum rv_ext e)
{
    return rv_has(riscv_of(t->cpu), e);
}

/* The instruction traps as illegal; ends the block. */
void riscv_tr_illegal(struct tr *t);
/* Look at data triggers before an access, if there are any. */
void riscv_tr_data_trigger(struct tr *t, ir_val base, int64_t off, unsigned size_log2, bool store);

/* Shared by 32- and 16-bit encodings. extra: as noted. */
void tr_op(struct tr *t, const struct operands *o);   /* enum ir_code */
void tr_opi(struct tr *t, const struct operands *o);  /* enum ir_code */
void tr_opw(struct tr *t, const struct operands *o);  /* enum ir_code */
void tr_opiw(struct tr *t, const struct operands *o); /* enum ir_code */
void tr_lui(struct tr *t, const struct operands *o);
void tr_jal(struct tr *t, const struct operands *o);
void tr_jalr(struct tr *t, const struct operands *o);
void tr_branch(struct tr *t, const struct operands *o); /* enum ir_cc */
void tr_load(struct tr *t, const struct operands *o);   /* shape */
void tr_store(struct tr *t, const struct operands *o);  /* shape */
void tr_extend(struct tr *t, const struct operands *o); /* enum ir_code of one operand */
void tr_zext_w(struct tr *t, const struct operands *o);
void tr_ebreak(struct tr *t, const struct operands *o);
void tr_load_fp(struct tr *t, const struct operands *o);  /* enum sf_format */
void tr_store_fp(struct tr *t, const struct operands *o); /* enum sf_format */
