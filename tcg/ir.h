/* The intermediate representation of one translation unit, and its builder.
 *
 * A unit is a list of blocks, a block a list of operations that ends in one IR_END operation. A value
 * is the index of the operation that computed it, is assigned once, and lives inside its block; what
 * survives a block is guest state in slots (which host back ends keep in host registers).
 * Guest addresses in a unit are relative to the base of the guest page it starts in, so that one
 * translation serves every virtual address that maps the page. docs/ir.md is made from tcg/ops.h.
 *
 * The builder folds constants, forwards slots and drops what is dead; targets simply say what an
 * instruction computes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct ir;

typedef uint16_t ir_val;
#define IR_NONE ((ir_val)0xffff)

enum ir_type { IR_VOID, IR_I32, IR_I64, IR_F32, IR_F64, IR_V128, IR_V256 };

enum ir_code {
#define IR_OP(name, result, values, flags, meaning) IR_##name,
#include "tcg/ops.h"
#undef IR_OP
    N_IR_OPS
};

/* Vector operations: what `vec` does. */
enum ir_vec {
#define IR_VEC(name, types, flags, ...) IR_V_##name,
#include "tcg/vec_ops.h"
#undef IR_VEC
    N_IR_VECS
};
enum {
    IR_VEC_FP = 1 << 0,  /* reads the rounding mode, may set sticky flags */
    IR_VEC_IMM = 1 << 1, /* has a constant */
};
enum { IR_VEC_CALLED = 1 }; /* in x: the C meaning is called, see TCG_FP_TRAP_* */
struct ir_vec_info {
    const char *name;
    char types[6]; /* result and operands, see vec_ops.h */
    uint8_t flags, n_values;
};
extern const struct ir_vec_info ir_vec_infos[N_IR_VECS];

/* Properties in ops.h. */
enum {
    IR_COMMUTES = 1 << 0,
    IR_EFFECT = 1 << 1,    /* not dropped when its result is unused */
    IR_MAY_FAULT = 1 << 2, /* may leave the unit with all slots as they are at this point */
    IR_STATE = 1 << 3,
    IR_FP = 1 << 4, /* reads the rounding mode, may set sticky flags */
    IR_END = 1 << 5,
};

enum ir_result { IR_RES_none, IR_RES_same, IR_RES_i32, IR_RES_i64, IR_RES_f32, IR_RES_f64, IR_RES_v128, IR_RES_v256,
                 IR_RES_int, IR_RES_vec };

struct ir_op_info {
    const char *name, *meaning;
    uint8_t result, n_values, flags;
};
extern const struct ir_op_info ir_op_infos[N_IR_OPS];

enum ir_cc {
    IR_EQ, IR_NE, IR_LT, IR_GE, IR_LE, IR_GT, IR_LTU, IR_GEU, IR_LEU, IR_GTU,
    IR_FEQ, IR_FLT, IR_FLE,
    N_IR_CC
};

/* Shape of a memory access. */
enum {
    IR_SIZE_MASK = 7, /* log2 of the bytes: 0..5 */
    IR_8 = 0, IR_16 = 1, IR_32 = 2, IR_64 = 3, IR_128 = 4, IR_256 = 5,
    IR_SIGNED = 1 << 3,
    IR_ALIGNED = 1 << 4, /* misaligned addresses fault */
    IR_ACQUIRE = 1 << 5, /* ordered before later accesses */
    IR_RELEASE = 1 << 6, /* ordered after earlier accesses */
    IR_PAIR = 1 << 7,    /* the first half of twice as many bytes: IR_ALIGNED means all of them, and a store takes
                            place only if all may be written. v128, 128 bits */
};
/* A leader's check covers [a + imm + IR_SPAN_LO, a + imm + IR_SPAN_HI); IR_SPAN_WRITES in x. */
#define IR_SPAN(lo, hi)  ((int32_t)((uint32_t)(uint16_t)(int16_t)(lo) << 16 | (uint16_t)(int16_t)(hi)))
#define IR_SPAN_LO(span) ((int16_t)((uint32_t)(span) >> 16))
#define IR_SPAN_HI(span) ((int16_t)(span))
enum { IR_MODE_MASK = 0x0f, IR_SPAN_WRITES = 0x80 };
/* Offsets of loads and stores stay inside this, so that with spans and sizes they fit 32 bits. */
enum { IR_OFFSET_LIMIT = 1 << 30 };
/* Pages that a loop's accesses stay inside for the turns to come (ir_loops.c). A window is described by a constant: its
 * number, bytes from its first to its last access, by how much a turn moves it, mode, alignment (log2), whether it is
 * written. */
enum { IR_WINDOWS = 6, IR_STRIDE_MAX = 256, IR_SPAN_MAX = 1024 };
struct ir_window {
    unsigned n, span, mode, align;
    int stride;
    bool writes;
};
int64_t ir_window_code(struct ir_window w);
struct ir_window ir_window_of(int64_t code);
/* Words of the translator: a moving slot's value at which the windows end, and at which the loop as it was looks for
 * windows (again); how often was looked, and how often in vain; host address - guest address of each window. */
enum {
    IR_WORD_LIMIT, IR_WORD_COOL, IR_WORD_LOOKS, IR_WORD_REFUSED, IR_WORD_ADDEND,
    N_IR_WORDS = IR_WORD_ADDEND + IR_WINDOWS
};
enum ir_rmw { IR_RMW_SWAP, IR_RMW_ADD, IR_RMW_AND, IR_RMW_OR, IR_RMW_XOR, IR_RMW_MIN, IR_RMW_MAX,
              IR_RMW_MINU, IR_RMW_MAXU, N_IR_RMW };
enum { IR_FENCE_RR = 1, IR_FENCE_RW = 2, IR_FENCE_WR = 4, IR_FENCE_WW = 8 };
enum { IR_FMA_NEG_PRODUCT = 1, IR_FMA_NEG_ADDEND = 2 };
enum { IR_FTOI_UNSIGNED = 1, IR_FTOI_32 = 2, IR_FTOI_TRUNC = 4 /* else the guest's rounding mode */ };
enum { IR_ITOF_UNSIGNED = 1, IR_ITOF_32 = 2 /* the operand is i32 */ };
/* TRAP: the state word or the address space may be another one now. INLINED: a return to behind a call whose
 * callee is a part of the unit. */
enum { IR_HINT_JUMP, IR_HINT_CALL, IR_HINT_RETURN, IR_HINT_TRAP, IR_HINT_INLINED };

enum { IR_LOW_ONLY = 1 }; /* in x of sext32, by ir_drop_dead: nobody looks at the upper half */

struct ir_op {
    uint8_t code, type;
    uint8_t cc;    /* enum ir_cc; setc, fcmp, branch */
    uint8_t x;     /* mmu mode, rmw kind, fence set, fma/ftoi/itof flags, hint, number of call operands */
    uint8_t shape; /* memory */
    uint8_t uses;  /* filled by ir_finish: number of uses, saturating at 255 */
    ir_val a, b, c, d; /* unused ones IR_NONE; load and store: d is the leader (itself if it leads);
                          jump, branch: c, d are block numbers of the targets, IR_NONE if outside;
                          jumpi with IR_HINT_INLINED: c is the block at imm2, likewise */
    uint16_t vec;  /* enum ir_vec */
    int32_t imm2;  /* branch: address if not taken; jump with IR_HINT_CALL and jumpi with
                      IR_HINT_CALL or _INLINED: return address; leader: IR_SPAN of all its accesses */
    int64_t imm;
};

/* One piece of guest state as the translator sees it. */
struct ir_slot {
    const char *name;   /* "x10", "f3" */
    uint16_t offset;    /* from vcpu->arch */
    uint8_t type;       /* I64, F64 or V128 */
    uint8_t heat;       /* the hottest slots live in host registers; 0: never */
};

/* A C function that generated code calls. Arguments and result are uint64_t.
 * IR_CALL_PURE: fn(a, b, c, d): the result depends on the operands alone, and no vector register of
 * the host is touched (meson compiles the files in pure_src so).
 * Otherwise fn(arch, a, b, c, d), arch being vcpu->arch. */
enum {
    IR_CALL_PURE = 1 << 0,
    IR_CALL_READS = 1 << 1,  /* reads slots */
    IR_CALL_WRITES = 1 << 2, /* writes slots */
    IR_CALL_RAISES = 1 << 3, /* may raise a guest exception or leave the unit (tcg_raise...) */
    IR_CALL_FP = 1 << 4,     /* uses the FPU: gets host default modes, does not disturb the guest's */
    IR_CALL_ONCE = 1 << 5,   /* looks at the code at guest address a, and need not where tcg_code_is found it right;
                                it has no result */
};
struct ir_helper {
    const char *name;
    void (*fn)(void);
    uint8_t n_args; /* besides arch */
    bool has_result;
    uint8_t flags;
};

struct ir_block {
    uint16_t first, n;   /* operations */
    int32_t off;         /* guest address of its first instruction */
    uint16_t n_insns;    /* guest instructions that start in it */
    bool guest;          /* starts at a guest instruction (else made by ir_new_block) */
    bool loops;          /* target of a backward edge inside the unit */
    bool after_call;     /* starts behind a call: returns may land here */
    bool inlined;        /* of a callee that was copied behind its call: only ways inside that copy lead here */
    bool follows;        /* only the end of the block before leads here, and its operations are right before: ir_find_chains */
    bool windows;        /* accesses inside windows: what may move them leaves the unit first */
};

/* Marks where a guest instruction starts: operations from `op` on belong to it. */
struct ir_insn {
    uint16_t op, block;
    int32_t off;
    uint8_t len;
};

enum { IR_MAX_OPS = 4096, IR_MAX_BLOCKS = 256, IR_MAX_INSNS = 512 };

struct ir {
    const struct ir_slot *slots;
    uint16_t n_slots;
    uint16_t n_ops, n_blocks, n_insns;
    struct ir_op ops[IR_MAX_OPS];
    struct ir_block blocks[IR_MAX_BLOCKS];
    struct ir_insn insns[IR_MAX_INSNS];

    /* Builder state. */
    uint16_t block;           /* current */
    bool ended;               /* current block has its end */
    bool forward_only;        /* a way back leaves the unit, though its block is there: no loops */
    bool joins;               /* there are V256 values made of halves */
    bool wide;                /* the back end has V256: else there are none; ir_start leaves it as it is */
    bool no_fold;             /* tests: build what is asked for; ir_start leaves it as it is */
    bool overflow;            /* ran out of room: the unit must be made shorter */
    ir_val slot_value[128];   /* value a slot is known to hold in this block, or IR_NONE */
    ir_val const_value[64];   /* small cache of constants of this block */
    ir_val done[64];          /* operations of one operand, by what they do to it: hints */
    ir_val page_value;        /* this block's `pc +0`, or IR_NONE */
};

/* ---- building (targets) ---------------------------------------------------------------------- */
void ir_start(struct ir *ir, const struct ir_slot *slots, uint16_t n_slots);
/* A new block at guest address off; becomes current. If the current block has no end it falls
 * through by a jump. */
void ir_begin_block(struct ir *ir, int32_t off);
/* A block in the middle of an instruction; made current by ir_enter. Values do not cross: what is
 * needed later goes through a slot. */
uint16_t ir_new_block(struct ir *ir);
void ir_enter(struct ir *ir, uint16_t block);
void ir_branch_block(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b, uint16_t if_so, uint16_t if_not);
void ir_jump_block(struct ir *ir, uint16_t to);
/* Called by the translation driver at each guest instruction. */
void ir_begin_insn(struct ir *ir, int32_t off, uint8_t len);

/* Takes back the jump that ended the current block: what comes next goes on in it. */
void ir_continue(struct ir *ir);

ir_val ir_const(struct ir *ir, enum ir_type type, int64_t v);
static inline ir_val ir_i64(struct ir *ir, int64_t v)
{
    return ir_const(ir, IR_I64, v);
}
ir_val ir_get(struct ir *ir, unsigned slot);
void ir_set(struct ir *ir, unsigned slot, ir_val v);
/* Nobody cares what the slot holds until it is set: no store of it is needed any more. Who reads it all the same gets
 * something, which back ends and tiers need not agree on. */
void ir_forget(struct ir *ir, unsigned slot);
/* The slot holds v already, whoever the target learnt that from. */
void ir_know(struct ir *ir, unsigned slot, ir_val v);
ir_val ir_pc(struct ir *ir, int32_t off);

/* Operations by code; the type is that of a. Folded and simplified where possible. */
ir_val ir_1(struct ir *ir, enum ir_code code, ir_val a);
ir_val ir_2(struct ir *ir, enum ir_code code, ir_val a, ir_val b);
/* As ir_2 with a constant of a's type. */
ir_val ir_2i(struct ir *ir, enum ir_code code, ir_val a, int64_t b);
/* a + (b << shift) as a little before in this block, for accesses to show that they have one base; else IR_NONE. */
ir_val ir_known_sum(const struct ir *ir, ir_val a, ir_val b, unsigned shift);
/* cc with its operands exchanged. */
enum ir_cc ir_swapped_cc(enum ir_cc cc);
ir_val ir_setc(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b);
/* a + b + carry (0 or 1) and what it carries out, which *out becomes. */
ir_val ir_add_carry(struct ir *ir, ir_val a, ir_val b, ir_val carry, ir_val *out);
ir_val ir_select(struct ir *ir, ir_val cond, ir_val if_so, ir_val if_not);

/* A vector operation, on V256 values if its first operand is one; operands that it does not have are IR_NONE, n is its
 * constant (0 if it has none). */
ir_val ir_vec(struct ir *ir, enum ir_vec vec, ir_val a, ir_val b, ir_val c, unsigned n);

/* The constant for the upper half, where n is the one for both. */
unsigned ir_vec_upper_constant(enum ir_vec vec, unsigned n);
/* `type` is what a load gives: I32, I64, F32, F64, V128 or V256. mode: 0 is the current data mode. */
static inline unsigned ir_access_bytes(unsigned shape)
{
    return (1u << (shape & IR_SIZE_MASK)) << (shape & IR_PAIR ? 1 : 0); /* looked at, not moved */
}
ir_val ir_load(struct ir *ir, enum ir_type type, ir_val base, int64_t off, unsigned shape, unsigned mode);
void ir_store(struct ir *ir, ir_val base, int64_t off, ir_val v, unsigned shape, unsigned mode);
ir_val ir_rmw(struct ir *ir, enum ir_rmw kind, ir_val base, ir_val v, unsigned shape, unsigned mode);
ir_val ir_cas(struct ir *ir, ir_val base, ir_val expected, ir_val desired, unsigned shape, unsigned mode);
/* IR_copy or IR_fill. */
ir_val ir_repeat(struct ir *ir, enum ir_code code, ir_val to, ir_val from, ir_val n, unsigned shape, unsigned mode);
void ir_fence(struct ir *ir, unsigned set);

ir_val ir_fma(struct ir *ir, ir_val a, ir_val b, ir_val c, unsigned flags);
ir_val ir_fcmp(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b);
ir_val ir_ftoi(struct ir *ir, ir_val a, unsigned flags);
ir_val ir_itof(struct ir *ir, enum ir_type type, ir_val a, unsigned flags);
ir_val ir_fflags(struct ir *ir);
void ir_set_fflags(struct ir *ir, ir_val v);
/* fbits, bitsf, fwiden, fnarrow, fbox, funbox, fneg, fabs, fsqrt, sext32, zext32, trunc: ir_1. For
 * bitsf the float's width is that of the integer operand. */

/* Up to four operands, unused ones IR_NONE. */
ir_val ir_call(struct ir *ir, const struct ir_helper *h, ir_val a, ir_val b, ir_val c, ir_val d);

/* Ends. Addresses are relative to the unit's page. */
void ir_jump(struct ir *ir, int32_t to);
void ir_jump_call(struct ir *ir, int32_t to, int32_t return_to);
void ir_branch(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b, int32_t taken, int32_t next);
void ir_jump_indirect(struct ir *ir, ir_val to, unsigned hint, int32_t return_to);
void ir_leave(struct ir *ir, int32_t to);

enum ir_type ir_result_type(const struct ir_op *op);
static inline enum ir_type ir_type_of(const struct ir *ir, ir_val v)
{
    const struct ir_op *op = &ir->ops[v];
    return ir_op_infos[op->code].result == IR_RES_same ? (enum ir_type)op->type : ir_result_type(op);
}
bool ir_is_const(const struct ir *ir, ir_val v, int64_t *value);
/* Its operands are the first of a, b, c, d, but for those that are IR_NONE (a vector operation has up to three); its
 * properties (of a vector operation: by its line). */
static inline unsigned ir_n_operands(const struct ir_op *op)
{
    return op->code == IR_call ? op->x : ir_op_infos[op->code].n_values;
}
static inline unsigned ir_properties(const struct ir_op *op)
{
    if (op->code == IR_vec)
        return ir_vec_infos[op->vec].flags & IR_VEC_FP ? IR_FP : 0;
    return ir_op_infos[op->code].flags;
}
/* The type that a letter of vec_ops.h stands for, of an operation on V256 values (wide) or not. */
enum ir_type ir_vec_type(char letter, bool wide);
/* May it be on V256 values? Is this one? */
static inline bool ir_vec_widens(enum ir_vec vec)
{
    return ir_vec_infos[vec].types[1] == 'w';
}
bool ir_vec_is_wide(const struct ir *ir, const struct ir_op *op);

/* Why a loop gets no windows: names for counts, and for people. */
#define IR_NO_WINDOWS_LIST(X)                                             \
    X(BLOCKS, "too_many_blocks", "it has too many blocks")                \
    X(MIDDLE, "entered_in_the_middle", "it is entered in the middle")     \
    X(LOOP, "loop_inside", "there is a loop inside")                      \
    X(CALL, "call_inside", "there is a call inside")                      \
    X(HELPER, "helper", "it calls a helper")                              \
    X(REPEAT, "repeated_instruction", "it has a repeated instruction")    \
    X(ATOMIC, "atomic", "it has an atomic access")                        \
    X(FENCE, "fence", "it has a fence")                                   \
    X(FFLAGS, "fp_flags", "it looks at floating-point flags")             \
    X(ROOM, "no_room", "there is no room in the unit")                    \
    X(STEP, "no_step", "each turn moves no register by a constant")       \
    X(ACCESS, "no_access", "it accesses no memory")                       \
    X(STEADY, "no_steady_access", "no access stays where it is or moves by a small constant")
#define IR_NO_WINDOWS_(name, word, text) IR_NO_WINDOWS_##name,
enum ir_no_windows { IR_HAS_WINDOWS, IR_NO_WINDOWS_LIST(IR_NO_WINDOWS_) N_IR_NO_WINDOWS };
#undef IR_NO_WINDOWS_
extern const char *const ir_no_windows_names[N_IR_NO_WINDOWS];
/* Loops by what became of them. */
struct ir_loop_counts {
    uint32_t n[N_IR_NO_WINDOWS];
};

/* ---- passes ---------------------------------------------------------------------------------- */
/* Resolve jumps inside the unit; drop dead operations and dead sets, count uses, mark sign extensions that nobody looks at
 * (IR_LOW_ONLY); both. */
void ir_resolve(struct ir *ir);
void ir_drop_dead(struct ir *ir);
void ir_finish(struct ir *ir);
/* Between ir_resolve and ir_drop_dead: give loops that walk through memory a second copy without TLB checks. `tell`, or
 * NULL, hears of each loop at what address it is, and what became of it. */
struct ir_teller {
    void (*say)(void *opaque, int32_t off, const char *what);
    void *opaque;
    /* Of inlining: the call at `off` has a copy of the `n` instructions that it leads to. */
    void (*call)(void *opaque, int32_t off, int32_t to, unsigned n);
};
struct ir_loop_counts ir_copy_loops(struct ir *ir, const struct ir_teller *tell);
/* Behind all that changes blocks: which of them `follows`. Who knows something at the end of the block before
 * knows it there. */
void ir_find_chains(struct ir *ir);
/* Find accesses on one base, near each other, that can share the TLB check of the first; but for those of
 * instructions in the 64-byte pieces of the page that have their bit set in `apart`. */
void ir_group_accesses(struct ir *ir, uint64_t apart);

/* ---- text (tcg/ir_text.c) -------------------------------------------------------------------- */
/* One line per operation. */
void ir_print(const struct ir *ir, void (*print)(void *opaque, const char *line), void *opaque);
/* The reverse. Helpers are found by name in `helpers`. */
struct error *ir_parse(struct ir *ir, const char *text, const struct ir_slot *slots, uint16_t n_slots,
                       const struct ir_helper *const *helpers, size_t n_helpers);
/* (tcg/ir_verify.c) NULL, or what rule of the IR is broken: operand counts and types, values inside their block,
 * definitions before uses, one end per block, slots and blocks that exist. */
struct error *ir_verify(const struct ir *ir);
