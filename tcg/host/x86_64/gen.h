/* What the files of the code generator share.
 *
 * gen.c: units, blocks, state, calls            gen_memory.c: guest memory
 * gen_ahead.c: what is known before a block     gen_fp.c: floating point
 * gen_values.c: where values are, cold code     gen_vec.c: vector operations
 * gen_integer.c: integer operations             gen_ends.c: ends of blocks
 *
 * A value is in a register, a constant, still in its slot's memory, or spilled. A pinned register
 * holds its slot's value; an SSA value may be an alias of it until the slot is set again.
 *
 * Where all that could see a slot before it is set again is the slow way of memory accesses, or who leaves a chain of
 * blocks by a branch forwards, it is stored on those ways alone (struct owed): a comparison between two loads, or
 * before another one, leaves its flags in registers.
 *
 * A V256 value may be in a pinned register whose slot is its lower half. Its upper half then goes to the slot's
 * neighbour in memory as soon as that is set; that the register still has it is known from block to block (uppers),
 * so that a loop need not fetch it each turn. */
#pragma once

#include "core/util.h"
#include "tcg/host/x86_64/host.h"

enum loc_kind { LOC_NONE, LOC_CONST, LOC_REG, LOC_SLOT, LOC_SPILL };
struct loc {
    uint8_t kind, reg;
    uint16_t n; /* slot or spill number */
};

enum cold_kind { COLD_SLOW, COLD_SITE, COLD_EXIT, COLD_NAN, COLD_DIV, COLD_DROP_RETURNS, COLD_RETURN, COLD_UPPERS, COLD_SIDE };
enum { MAX_OWED = 12 };
struct cold {
    uint8_t kind, n_from, reg, flags, n_owed;
    bool wide; /* there may be V256 values in registers */
    uint16_t block; /* COLD_UPPERS: goes there, with these upper halves in their registers; */
    uint32_t uppers;
    int32_t off;    /* COLD_SIDE: goes to the block, or, if that is IR_NONE, out of the unit to this address */
    uint8_t *from[3];  /* displacements of the jumps that lead here */
    uint8_t *resume;
    struct link *link;
    struct { /* to be stored first */
        uint8_t slot;
        int8_t reg; /* NOREG: the constant; of a vector register the upper half */
        int32_t value;
    } owed[MAX_OWED];
    struct slow_site site;
};

/* Slot `slot` is to become v, which so far only v's place says; behind operation `end` nobody looks before it is set anew.
 * A slot of 128 bits: the upper half of v. */
struct owed {
    ir_val v;
    uint16_t end;
    uint8_t slot;
};

enum { MAX_COLD = 2048, MAX_FIXUPS = 512, MAX_GROUPS = 64, GROUP_VALUE = 0xf000 };

struct fixup {
    uint8_t *at;
    uint16_t block;
};

struct gen {
    struct buf b;
    struct tcg *tcg;
    struct host *host;
    struct unit *unit;
    const struct ir *ir;
    uint16_t block, i;           /* being generated */
    unsigned insn, next_insn;    /* indices into ir->insns: of the current instruction, of what is behind it */
    uint16_t insn_end;           /* its first operation */
    uint16_t insns_done;         /* instructions of this block started */
    uint32_t locked;             /* registers in use by the current operation */
    uint32_t uppers;             /* pinned registers above whose slot's 16 bytes there is what their slot of the upper
                                    half holds, too */
    uint32_t uppers_at[IR_MAX_BLOCKS]; /* the same where a block starts: all ways to it see to that */
    bool head[IR_MAX_BLOCKS];    /* there is a way back to this block */
    uint16_t loop_of[IR_MAX_BLOCKS]; /* head of the least loop behind whose head it stands, or IR_NONE */
    uint64_t spill_used;
    bool failed, wide;           /* wide: the block has had V256 values in registers */
    bool keeps_uppers;           /* somebody asks for them, see uppers */
    uint16_t n_cold, n_fixups, n_links, n_groups;
    ir_val held[32];             /* value in each register, IR_NONE, or GROUP_VALUE + n */
    ir_val lazy[128];            /* value whose only home is this slot's memory */
    ir_val copy[128];            /* value in a register that this slot's memory holds as well */
    uint8_t copy_in[IR_MAX_OPS]; /* of a value: that slot + 1, if copy agrees */
    struct { int8_t reg, saved; uint16_t leader, last; } groups[MAX_GROUPS]; /* saved: in tcg_cpu.addends, or -1 */
    uint8_t group_of[IR_MAX_OPS]; /* of a leader: index + 1 */
    struct loc loc[IR_MAX_OPS];
    uint16_t last_use[IR_MAX_OPS];
    uint16_t owed_end[IR_MAX_OPS]; /* of a set that might be owed: who looks last before its slot is set anew; else 0 */
    uint16_t unseen_set[128];      /* look_ahead's, by slot: the last set that nothing looked at since */
    struct owed owed[MAX_OWED];
    unsigned n_owed;
    uint16_t live[IR_MAX_OPS];     /* of the chain of blocks (ir_block.follows): operations that make code; */
    unsigned n_live, at_live;      /* the next one */
    bool fused[IR_MAX_OPS];      /* part of its one user: a select's setc, a sum's shl; of all its users: sets of high */
    bool seen[IR_MAX_OPS];       /* a float that more than sums and products of its block look at */
    uint8_t high_sets[IR_MAX_OPS]; /* of a high: how many sets of slots in memory use it */
    uint8_t hint[IR_MAX_OPS];    /* pinned register the value is wanted in, or 255 */
    uint8_t *label[IR_MAX_BLOCKS];
    struct cold cold[MAX_COLD];
    struct fixup fixups[MAX_FIXUPS];
};

static const uint8_t temp_gprs[] = { RAX, RCX, RDX, RSI, RDI };
static const uint8_t temp_xmms[] = { XMM0, XMM0 + 1, XMM0 + 2, XMM0 + 3, XMM0 + 4, XMM0 + 5 };
#define TEMP_MASK (1u << RAX | 1u << RCX | 1u << RDX | 1u << RSI | 1u << RDI | 0x3fu << XMM0)

static inline bool is_temp(unsigned r)
{
    return TEMP_MASK >> r & 1;
}

/* In a vector register? */
static inline bool is_fp(enum ir_type t)
{
    return t >= IR_F32;
}

/* Does the instruction that computes this i32 clear the upper half of its register? */
static inline bool clears_upper(const struct ir_op *op)
{
    if (op->type != IR_I32)
        return false;
    switch (op->code) {
    case IR_add:
    case IR_addc:
    case IR_sub:
    case IR_mul:
    case IR_and:
    case IR_or:
    case IR_xor:
    case IR_andn:
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_rol:
    case IR_ror:
    case IR_bswap: return true;
    case IR_load_w:
    case IR_load: return !(op->shape & IR_SIGNED); /* a slow one extends to 64 bits */
    default: return false;
    }
}

/* What holds a value: of the lower half of a V256 value that one, of an i32 the i64 that it was cut from; and what holds an
 * i32 may be its zero extension as well, or its sign extension where nobody looks at the upper half. */
static inline ir_val resolve(const struct ir *ir, ir_val v)
{
    for (;; v = ir->ops[v].a) {
        static const uint8_t same[N_IR_OPS] = { [IR_trunc] = 1, [IR_low] = 1, [IR_zext32] = 2,
                                                 [IR_sext32] = 3 };
        uint8_t how = same[ir->ops[v].code];
        if (!how || (how == 2 && !clears_upper(&ir->ops[ir->ops[v].a])) ||
            (how == 3 && ir->ops[v].x != IR_LOW_ONLY))
            return v;
    }
}

static inline struct mem slot_mem(const struct gen *g, unsigned slot)
{
    return MEM(RBP, g->ir->slots[slot].offset);
}

static inline struct mem spill_mem(unsigned n)
{
    return MEM(RBP, TCG_DISP(spills) + (int32_t)sizeof(((struct tcg_cpu *)0)->spills[0]) * (int32_t)n);
}

static inline struct mem saved_addend_mem(int n)
{
    return MEM(RBP, TCG_DISP(addends) + 8 * n);
}

static inline struct mem word_mem(int64_t n)
{
    return MEM(RBP, TCG_DISP(words) + 8 * (int32_t)n);
}

/* gen_values.c */
void put_value(struct gen *g, ir_val v, unsigned r);
void also_in(struct gen *g, ir_val v, unsigned slot);
bool owe(struct gen *g, ir_val v, unsigned slot, uint16_t end);
void forget_owed(struct gen *g);
void evict(struct gen *g, unsigned r);
unsigned take(struct gen *g, bool fp);
int use_addend(struct gen *g, unsigned group);
void take_exact(struct gen *g, unsigned r);
void load_into(struct gen *g, ir_val v, unsigned r);
unsigned use(struct gen *g, ir_val v);
void save_alias(struct gen *g, unsigned r);
unsigned def(struct gen *g, ir_val reuse);
void result_in(struct gen *g, unsigned r);
bool is_last_use(const struct gen *g, ir_val v);
void release(struct gen *g, ir_val v);
bool const_of(const struct gen *g, ir_val v, int64_t *c);
bool const32_of(const struct gen *g, ir_val v, int64_t *c);
bool in_memory(const struct gen *g, ir_val v, struct mem *m);
struct cold *cold_new(struct gen *g, enum cold_kind kind);
void cold_from(struct cold *c, uint8_t *at);
uint8_t arg_code(struct gen *g, struct cold *c, unsigned k, ir_val v);
struct cold *cold_slow(struct gen *g, enum slow_kind kind, unsigned dst);
void slow_resumes(struct gen *g, struct cold *c);
void note_owed(const struct gen *g, struct cold *c);
bool can_link(const struct gen *g, int32_t off);
struct link *new_link(struct gen *g, int32_t off, bool linkable);
void put_link(struct gen *g, uint8_t *at, struct link *l);
void align_patch(struct gen *g, unsigned skip);
void note_reloc(struct gen *g, const uint8_t *at, enum reloc_kind kind);
void to_shared(struct gen *g, uint8_t *at, uint32_t piece);
void mov_address(struct gen *g, unsigned r, const void *p, enum reloc_kind kind);

void copy_vector(struct gen *g, enum ir_type type, unsigned to, unsigned from);
void move_vector(struct gen *g, enum ir_type type, unsigned x, struct mem m, bool store);

/* gen_vec.c */
void gen_vec(struct gen *g, const struct ir_op *op);
void gen_join(struct gen *g, const struct ir_op *op);
void gen_high(struct gen *g, const struct ir_op *op);

/* gen_memory.c */
void gen_load_store(struct gen *g, const struct ir_op *op);
void gen_load_store_window(struct gen *g, const struct ir_op *op);
void gen_window(struct gen *g, const struct ir_op *op);
void gen_rmw(struct gen *g, const struct ir_op *op);
void gen_cas(struct gen *g, const struct ir_op *op);
void gen_repeat(struct gen *g, const struct ir_op *op);

/* gen_fp.c */
uint8_t sse_prefix(enum ir_type t);
void gen_fp2(struct gen *g, const struct ir_op *op, uint8_t code);
void gen_fp1(struct gen *g, const struct ir_op *op, uint8_t prefix, uint8_t code, enum ir_type to);
void gen_fma(struct gen *g, const struct ir_op *op);
void gen_fcmp(struct gen *g, const struct ir_op *op);
void gen_ftoi(struct gen *g, const struct ir_op *op);
void gen_itof(struct gen *g, const struct ir_op *op);
void gen_fsign(struct gen *g, const struct ir_op *op);
void gen_fbox(struct gen *g, const struct ir_op *op);
void gen_funbox(struct gen *g, const struct ir_op *op);
void gen_fbits(struct gen *g, const struct ir_op *op);
void gen_bitsf(struct gen *g, const struct ir_op *op);
void gen_fflags(struct gen *g);
void gen_set_fflags(struct gen *g, const struct ir_op *op);
uint16_t comparison_undone(const struct gen *g, uint16_t set_fflags);

/* gen_integer.c */
bool is_in(const struct gen *g, ir_val v, unsigned r);
void gen_alu(struct gen *g, const struct ir_op *op, enum alu alu);
void gen_andn(struct gen *g, const struct ir_op *op);
void gen_mul(struct gen *g, const struct ir_op *op);
void gen_shift(struct gen *g, const struct ir_op *op, enum shift digit);
bool makes_low_too(const struct ir *ir, uint16_t high);
bool makes_sum_too(const struct ir *ir, uint16_t carry);
void gen_add_carry(struct gen *g, const struct ir_op *op);
void gen_mulh(struct gen *g, const struct ir_op *op);
void gen_div(struct gen *g, const struct ir_op *op);
void put_cold_div(struct gen *g, const struct cold *c);
void gen_unary(struct gen *g, const struct ir_op *op, uint8_t prefix, bool w, uint32_t code, bool byte_regs);
void gen_zext8(struct gen *g, const struct ir_op *op);
void gen_sext8(struct gen *g, const struct ir_op *op);
void gen_bswap(struct gen *g, const struct ir_op *op);
void gen_bit_count(struct gen *g, const struct ir_op *op);
enum cc_x86 cc_of(enum ir_cc cc);
void gen_compare(struct gen *g, const struct ir_op *op);
void gen_setc(struct gen *g, const struct ir_op *op);
void gen_select(struct gen *g, const struct ir_op *op);

/* gen_ends.c */
void put_uppers(struct gen *g, uint32_t regs);
void gen_jump(struct gen *g, const struct ir_op *op);
void put_cold_side(struct gen *g, const struct cold *c);
void gen_branch(struct gen *g, const struct ir_op *op);
void gen_return(struct gen *g); /* to the guest address in rax */
void gen_jump_indirect(struct gen *g, const struct ir_op *op);
void gen_leave(struct gen *g, const struct ir_op *op);
void gen_set_word(struct gen *g, const struct ir_op *op);

/* gen_ahead.c */
void look_ahead(struct gen *g, uint16_t block);
