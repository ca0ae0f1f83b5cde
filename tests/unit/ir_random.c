/* Random units on every back end: the interpreter, building exactly what is asked for, says what is
 * right; the others, and the builder's folding, must agree on slots, memory, floating-point flags,
 * faults, what helpers see, and instruction counts.
 *
 * A program is a list of steps; each step draws all that it needs from a seed of its own, so that
 * leaving steps out gives a program again. ir_random --seed N --count N runs other programs than the
 * test; a difference is shrunk and printed as IR. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "tcg/softfloat.h"
#include "tcg/tcg.h"

#include <assert.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- the guest ------------------------------------------------------------------------------------- */

enum { N_X = 24, N_F = 16, N_V = 12, N_UNITS = 6, N_STEPS = 260, N_MODES_USED = 2 };
/* Slots with a meaning: addresses of data, where a return goes, how often one may still go back. */
enum { PTR0 = 20, PTR1 = 3, RETURN = 5, BUDGET = 6 };

#define RAM       ((uint64_t)0x80000000)
#define CODE      (RAM + 0x10000)
#define UNIT_STEP 0x400 /* units 0..3 in one page, 4 and 5 in the next */
#define STOP      (CODE + 0x1c00)
#define DATA      (RAM + 0x20000)
#define DATA_SIZE 0x4000
#define DEVICE    ((uint64_t)0x10000000)

struct guest {
    uint64_t x[N_X], f[N_F], pc;
    _Alignas(16) uint64_t v[N_V][2];
    uint32_t flags;
    uint8_t fp_flags, rm;
    bool sse; /* test_sse_target: NaNs as SSE has them, and no scalar floating point */
    uint32_t n_traps;
    uint64_t trace;       /* of everything that helpers, devices and traps saw */
    uint64_t count_trace; /* of instruction counts */
};

#define X(n, heat_)                                         \
    {                                                       \
        "x" #n, offsetof(struct guest, x[n]), IR_I64, heat_ \
    }
#define F(n, heat_)                                         \
    {                                                       \
        "f" #n, offsetof(struct guest, f[n]), IR_F64, heat_ \
    }
#define V(n, heat_)                                          \
    {                                                        \
        "v" #n, offsetof(struct guest, v[n]), IR_V128, heat_ \
    }
static const struct ir_slot slots[] = {
    X(0, 1),   X(1, 200), X(2, 190),  X(3, 180), X(4, 170), X(5, 160), X(6, 0),    X(7, 150),
    X(8, 140), X(9, 130), X(10, 120), X(11, 5),  X(12, 0),  X(13, 0),  X(14, 110), X(15, 0),
    X(16, 0),  X(17, 0),  X(18, 0),   X(19, 0),  X(20, 0),  X(21, 0),  X(22, 0),   X(23, 0),
    F(0, 99),  F(1, 98),  F(2, 97),   F(3, 96),  F(4, 95),  F(5, 94),  F(6, 93),   F(7, 92),
    F(8, 91),  F(9, 90),  F(10, 2),   F(11, 0),  F(12, 0),  F(13, 0),  F(14, 0),   F(15, 0),
    V(0, 98),  V(1, 97),  V(2, 96),   V(3, 95),  V(4, 94),  V(5, 0),   V(6, 0),    V(7, 0),
    V(8, 0),   V(9, 0),   V(10, 0),   V(11, 0),
};

struct step {
    uint64_t seed;
    uint8_t kind;
    bool dropped;
};

struct program {
    uint64_t seed;
    struct guest start;
    uint8_t data[DATA_SIZE];
    unsigned n_steps[N_UNITS];
    struct step steps[N_UNITS][N_STEPS];
};

/* One way to run programs. */
struct machine {
    const char *name, *options;
    bool no_fold, counting, sse;
    struct vm *vm;
    struct vcpu *cpu;
    struct ram_block *ram;
    uint64_t device; /* hash of what was written */
    const struct program *program;
    bool failed; /* did not stop */
    struct guest end;
    uint64_t counted;
    uint8_t data[DATA_SIZE];
};

static struct guest *guest_of(struct vcpu *cpu)
{
    return cpu->arch;
}

/* ---- random numbers ---------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned below(uint64_t *seed, unsigned n)
{
    return (unsigned)(next(seed) >> 33) % n;
}

static bool one_in(uint64_t *seed, unsigned n)
{
    return below(seed, n) == 0;
}

static void mix(uint64_t *hash, uint64_t v)
{
    *hash = (*hash ^ v) * 0xff51afd7ed558ccd;
    *hash ^= *hash >> 29;
}

static uint64_t corner_int(uint64_t *seed)
{
    static const uint64_t corners[] = { 0,
                                        1,
                                        2,
                                        3,
                                        7,
                                        8,
                                        31,
                                        32,
                                        33,
                                        63,
                                        64,
                                        65,
                                        127,
                                        128,
                                        255,
                                        256,
                                        0x7fff,
                                        0x8000,
                                        0xffff,
                                        0x7fffffff,
                                        0x80000000,
                                        0xffffffff,
                                        0x100000000,
                                        0x7fffffffffffffff,
                                        0x8000000000000000,
                                        (uint64_t)-1,
                                        (uint64_t)-2,
                                        (uint64_t)-8,
                                        (uint64_t)-128,
                                        (uint64_t)-4096,
                                        0xffffffff80000000,
                                        0xffffffff7fffffff,
                                        0x5555555555555555,
                                        0x0123456789abcdef };
    switch (below(seed, 4)) {
    case 0: return next(seed);
    case 1: return next(seed) >> below(seed, 64);
    default: return corners[below(seed, ARRAY_LEN(corners))];
    }
}

static uint64_t corner_f64(uint64_t *seed)
{
    static const uint64_t corners[] = { 0,
                                        1,
                                        0xfffffffffffff,
                                        0x10000000000000,
                                        0x7fefffffffffffff,
                                        0x7ff0000000000000,
                                        0x7ff8000000000000,
                                        0x7ff0000000000001,
                                        0x7ff8000000000123,
                                        0x3ff0000000000000,
                                        0x3fe0000000000000,
                                        0x3ff8000000000000,
                                        0x41dfffffffc00000,
                                        0x41e0000000000000,
                                        0x41e0000000100000,
                                        0x41efffffffe00000,
                                        0x41f0000000000000,
                                        0x43e0000000000000,
                                        0x43f0000000000000,
                                        0x43dfffffffffffff,
                                        0x47efffffe0000000,
                                        0x47effffff0000000,
                                        0x3810000000000000,
                                        0x380fffffe0000000,
                                        0x36a0000000000000,
                                        0x3690000000000000,
                                        0x4330000000000001,
                                        0x3ca0000000000000,
                                        0x4340000000000001 };
    uint64_t sign = next(seed) & (uint64_t)1 << 63;
    switch (below(seed, 4)) {
    case 0: return next(seed);
    case 1: return sign | (uint64_t)(1023 - 70 + below(seed, 140)) << 52 | next(seed) >> 12;
    default: return sign | corners[below(seed, ARRAY_LEN(corners))];
    }
}

static uint32_t corner_f32(uint64_t *seed)
{
    static const uint32_t corners[] = { 0,          1,          0x7fffff,   0x800000,   0x7f7fffff,
                                        0x7f800000, 0x7fc00000, 0x7f800001, 0x7fc00123, 0x3f800000,
                                        0x3f000000, 0x3fc00000, 0x4effffff, 0x4f000000, 0x4f7fffff,
                                        0x4f800000, 0x5effffff, 0x5f000000, 0x5f7fffff, 0x5f800000,
                                        0x33800000, 0x4b000001 };
    uint32_t sign = (uint32_t)next(seed) & 0x80000000;
    switch (below(seed, 4)) {
    case 0: return (uint32_t)next(seed);
    case 1: return sign | (127 - 35 + below(seed, 70)) << 23 | (uint32_t)(next(seed) >> 41);
    default: return sign | corners[below(seed, ARRAY_LEN(corners))];
    }
}

/* ---- helpers -------------------------------------------------------------------------------------------- */

static struct vcpu *cpu_of(void *arch)
{
    return tcg_of(arch)->cpu;
}

static void see(void *arch, uint64_t a, uint64_t b)
{
    struct guest *g = arch;
    mix(&g->trace, a);
    mix(&g->trace, b);
    mix(&g->trace, tcg_insn_pc(cpu_of(arch)));
    if (tcg_of(arch)->counting)
        mix(&g->count_trace, tcg_instructions(cpu_of(arch)));
}

static void see_slots(struct guest *g)
{
    for (unsigned i = 0; i < N_X; i++)
        mix(&g->trace, g->x[i]);
    for (unsigned i = 0; i < N_F; i++)
        mix(&g->trace, g->f[i]);
    for (unsigned i = 0; i < 2 * N_V; i++)
        mix(&g->trace, g->v[i / 2][i % 2]);
}

/* A trap goes on with the next unit, a few times. */
static void trap(struct guest *g)
{
    unsigned unit = (unsigned)((g->pc - CODE) / UNIT_STEP) + 1;
    see_slots(g);
    g->pc = unit < N_UNITS && g->n_traps++ < 12 ? CODE + unit * UNIT_STEP : STOP;
}

static uint64_t pure0(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return 0x1234567;
}

static uint64_t pure4(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint64_t h = a;
    mix(&h, b);
    mix(&h, c);
    mix(&h, d);
    return h;
}

static uint64_t pure2(uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return a * 3 - (b >> 5);
}

static uint64_t blind(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    see(arch, a ^ c * 7, b + d * 5);
    return a - b + (c ^ d);
}

static uint64_t reads(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    const struct guest *g = arch;
    see(arch, g->x[a % N_X], g->f[a % N_F]);
    see(arch, g->v[a % N_V][0], g->v[a % N_V][1]);
    return g->x[a / 3 % N_X] ^ g->f[a / 5 % N_F];
}

static void writes(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct guest *g = arch;
    see(arch, a, g->x[b % N_X]);
    for (unsigned i = 7; i < N_X; i++)
        if (i != PTR0 && a >> i & 1)
            g->x[i] += b ^ i;
    for (unsigned i = 0; i < N_F; i++)
        if (a >> (i + 32) & 1)
            g->f[i] ^= b << 32;
    for (unsigned i = 0; i < N_V; i++)
        if (a >> (i + 48) & 1)
            g->v[i][i & 1] ^= b;
}

static uint64_t raises(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct guest *g = arch;
    see(arch, a, b);
    if ((a * 0x9e3779b97f4a7c15) >> 60)
        return b + 1;
    g->pc = tcg_insn_pc(cpu_of(arch));
    trap(g);
    tcg_leave(cpu_of(arch));
}

static uint64_t reads_fp_flags(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    uint8_t flags = tcg_fp_flags(cpu_of(arch));
    if (a % 5 == 0)
        tcg_fp_set_flags(cpu_of(arch), a / 5 & 31);
    see(arch, flags, a);
    return flags;
}

static uint64_t uses_fpu(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    double x = (double)(int64_t)a / 3.0; /* inexact, in the host's default mode */
    uint64_t bits_;
    memcpy(&bits_, &x, 8);
    see(arch, bits_, b);
    return bits_;
}

static void sets_rounding(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct guest *g = arch;
    g->rm = (a & 3) | (g->sse ? (a >> 2 & 3) * TCG_FP_FLUSH_INPUTS : 0);
    tcg_rounding_changed(cpu_of(arch));
}

static uint64_t loads(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return tcg_load(cpu_of(arch), DATA + a % (DATA_SIZE - 8), 1u << (b & 3), b >> 2 & 1);
}

static void stores(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    tcg_store(cpu_of(arch), DATA + a % (DATA_SIZE - 8), 1u << (b & 3), c, b >> 2 & 1);
}

static void kicks(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    vcpu_kick(cpu_of(arch));
}

static void flushes(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    if (a & 1)
        tcg_flush_all(cpu_of(arch));
    else
        tcg_flush_page(cpu_of(arch), DATA + (a & 0x3000));
}

/* Another state word and address space: the unit must be left behind it. */
static void switches(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct guest *g = arch;
    g->flags = a & 1;
    tcg_context_changed(cpu_of(arch));
}

static void stops(void *arch, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    struct guest *g = arch;
    see(arch, 0, 0);
    see_slots(g);
    g->pc = STOP;
    tcg_halt(cpu_of(arch));
}

#define HELPER(name_, n, result, flags_)                                                       \
    static const struct ir_helper helper_##name_ = { #name_, (void (*)(void))name_, n, result, \
                                                     flags_ }
HELPER(pure0, 0, true, IR_CALL_PURE);
HELPER(pure2, 2, true, IR_CALL_PURE);
HELPER(pure4, 4, true, IR_CALL_PURE);
HELPER(blind, 4, true, 0);
HELPER(reads, 1, true, IR_CALL_READS);
HELPER(writes, 2, false, IR_CALL_READS | IR_CALL_WRITES);
HELPER(raises, 2, true, IR_CALL_RAISES);
HELPER(reads_fp_flags, 1, true, 0);
HELPER(uses_fpu, 2, true, IR_CALL_FP);
HELPER(sets_rounding, 1, false, 0);
HELPER(loads, 2, true, IR_CALL_RAISES);
HELPER(stores, 3, false, IR_CALL_RAISES);
HELPER(kicks, 0, false, 0);
HELPER(flushes, 1, false, 0);
HELPER(switches, 1, false, IR_CALL_WRITES);
HELPER(stops, 0, false, IR_CALL_RAISES);
static const struct ir_helper *const helpers[] = {
    &helper_pure2,         &helper_pure4,  &helper_blind,          &helper_reads,
    &helper_writes,        &helper_raises, &helper_reads_fp_flags, &helper_uses_fpu,
    &helper_sets_rounding, &helper_loads,  &helper_stores,         &helper_kicks,
    &helper_flushes,       &helper_pure0,  &helper_switches,       &helper_stops
};
enum { N_RANDOM_HELPERS = ARRAY_LEN(helpers) - 2 };

/* ---- building ---------------------------------------------------------------------------------------------- */

enum step_kind {
    STEP_INT,
    STEP_UNARY,
    STEP_CONVERT,
    STEP_COMPARE,
    STEP_SELECT,
    STEP_ADD_CARRY,
    STEP_SET,
    STEP_GET,
    STEP_CONST,
    STEP_LOAD,
    STEP_STORE,
    STEP_ATOMIC,
    STEP_FLOAT,
    STEP_FLOAT_CONVERT,
    STEP_FMA,
    STEP_FCMP,
    STEP_VEC,
    STEP_CALL,
    STEP_POINTER,
    STEP_INSN,
    STEP_END,
    N_STEP_KINDS
};
static const uint8_t weights[N_STEP_KINDS] = {
    [STEP_INT] = 24,   [STEP_UNARY] = 7,         [STEP_CONVERT] = 7, [STEP_COMPARE] = 5,
    [STEP_SELECT] = 5, [STEP_ADD_CARRY] = 4,     [STEP_SET] = 30,    [STEP_GET] = 8,
    [STEP_CONST] = 3,  [STEP_LOAD] = 12,         [STEP_STORE] = 10,  [STEP_ATOMIC] = 4,
    [STEP_FLOAT] = 8,  [STEP_FLOAT_CONVERT] = 8, [STEP_FMA] = 2,     [STEP_FCMP] = 2,
    [STEP_CALL] = 6,   [STEP_POINTER] = 1,       [STEP_INSN] = 14,   [STEP_END] = 6,
    [STEP_VEC] = 20,
};

enum { MAX_VALUES = 256, MAX_PENDING = 8 };

/* A unit under construction. Choices depend on the program alone, never on what the builder folds. */
struct build {
    struct ir *ir;
    int32_t off;      /* of the unit in its page */
    int32_t insn_off; /* of the current instruction */
    unsigned unit;
    int32_t entry;     /* where the unit is entered, */
    uint16_t at_entry; /* and the block that starts there, until it is entered; else IR_NONE */
    uint64_t *seed;    /* of the current step */
    struct {
        ir_val at[MAX_VALUES];
        unsigned n;
    } values[IR_V128 + 1];
    uint16_t pending[MAX_PENDING]; /* blocks to be entered */
    unsigned n_pending;
    int32_t guest_blocks[64]; /* addresses of blocks so far */
    unsigned n_guest_blocks;
};

static ir_val add_value(struct build *b, enum ir_type type, ir_val v)
{
    if (b->values[type].n < MAX_VALUES)
        b->values[type].at[b->values[type].n++] = v;
    return v;
}

static void forget_values(struct build *b)
{
    memset(b->values, 0, sizeof(b->values));
}

static ir_val random_const(struct build *b, enum ir_type type)
{
    if (type == IR_V128)
        return add_value(b, type,
                         ir_const(b->ir, type,
                                  one_in(b->seed, 2) ? -(int64_t)below(b->seed, 2)
                                                     : (int64_t)corner_f64(b->seed)));
    uint64_t v = type == IR_F64   ? corner_f64(b->seed)
                 : type == IR_F32 ? corner_f32(b->seed)
                                  : corner_int(b->seed);
    return add_value(b, type, ir_const(b->ir, type, (int64_t)v));
}

static ir_val random_get(struct build *b, enum ir_type type)
{
    if (type == IR_I64 || type == IR_I32) {
        ir_val v = add_value(b, IR_I64, ir_get(b->ir, below(b->seed, N_X)));
        return type == IR_I64 ? v : add_value(b, IR_I32, ir_1(b->ir, IR_trunc, v));
    }
    if (type == IR_V128)
        return add_value(b, type, ir_get(b->ir, N_X + N_F + below(b->seed, N_V)));
    ir_val v = add_value(b, IR_F64, ir_get(b->ir, N_X + below(b->seed, N_F)));
    return type == IR_F64 ? v : add_value(b, IR_F32, ir_1(b->ir, IR_funbox, v));
}

static ir_val pick(struct build *b, enum ir_type type)
{
    unsigned n = b->values[type].n, how = below(b->seed, 16);
    if (how == 0)
        return random_const(b, type);
    if (how <= 3 || !n)
        return random_get(b, type);
    unsigned k = how < 12 ? below(b->seed, MIN(n, 4))
                          : below(b->seed, MIN(n, 8)); /* what is live is bounded */
    return b->values[type].at[n - 1 - k];
}

static enum ir_type int_type(struct build *b)
{
    return one_in(b->seed, 3) ? IR_I32 : IR_I64;
}

static enum ir_type float_type(struct build *b)
{
    return one_in(b->seed, 3) ? IR_F32 : IR_F64;
}

static enum ir_type any_type(struct build *b)
{
    return one_in(b->seed, 4) ? float_type(b) : one_in(b->seed, 4) ? IR_V128 : int_type(b);
}

static void step_int(struct build *b)
{
    enum ir_type type = int_type(b);
    enum ir_code code = IR_add + below(b->seed, IR_ror - IR_add + 1);
    ir_val a = pick(b, type);
    ir_val c = one_in(b->seed, 3) ? random_const(b, type) : pick(b, type);
    if (one_in(b->seed, 12))
        c = a;
    add_value(b, type, ir_2(b->ir, code, a, c));
}

static void step_unary(struct build *b)
{
    enum ir_type type = int_type(b);
    enum ir_code code = IR_clz + below(b->seed, IR_zext16 - IR_clz + 1);
    add_value(b, type, ir_1(b->ir, code, pick(b, type)));
}

static void step_convert(struct build *b)
{
    switch (below(b->seed, 6)) {
    case 0: add_value(b, IR_I64, ir_1(b->ir, IR_sext32, pick(b, IR_I32))); break;
    case 1: add_value(b, IR_I64, ir_1(b->ir, IR_zext32, pick(b, IR_I32))); break;
    case 2: add_value(b, IR_I64, ir_pc(b->ir, (int32_t)below(b->seed, 8192) - 4096)); break;
    default: add_value(b, IR_I32, ir_1(b->ir, IR_trunc, pick(b, IR_I64)));
    }
}

static void step_compare(struct build *b)
{
    enum ir_type type = int_type(b);
    enum ir_cc cc = below(b->seed, IR_GTU + 1);
    ir_val a = pick(b, type);
    add_value(b, IR_I64,
              ir_setc(b->ir, cc, a, one_in(b->seed, 3) ? random_const(b, type) : pick(b, type)));
}

static void step_add_carry(struct build *b)
{
    enum ir_type type = int_type(b);
    ir_val in = pick(b, IR_I64), out;
    if (one_in(b->seed, 2))
        in = ir_2i(b->ir, IR_and, in, 1);
    ir_val sum = ir_add_carry(b->ir, pick(b, type), pick(b, type), in, &out);
    if (!one_in(b->seed, 3))
        add_value(b, type, sum);
    if (!one_in(b->seed, 3))
        add_value(b, IR_I64, out);
}

static void step_select(struct build *b)
{
    enum ir_type type = any_type(b);
    ir_val cond = pick(b, IR_I64);
    if (one_in(b->seed, 2))
        cond = ir_setc(b->ir, below(b->seed, IR_GTU + 1), cond, pick(b, IR_I64));
    ir_val a = pick(b, type), c = pick(b, type);
    if (type == IR_I64 && one_in(b->seed, 8))
        a = cond;
    if (type == IR_I64 && one_in(b->seed, 8))
        c = cond;
    add_value(b, type, ir_select(b->ir, cond, a, c));
}

/* Is the slot free for random values? */
static bool is_free(unsigned slot)
{
    return slot != PTR0 && slot != PTR1 && slot != RETURN && slot != BUDGET;
}

static void step_set(struct build *b)
{
    if (one_in(b->seed, 4)) {
        ir_set(b->ir, N_X + N_F + below(b->seed, N_V), pick(b, IR_V128));
        return;
    }
    if (one_in(b->seed, 3)) {
        unsigned slot = N_X + below(b->seed, N_F);
        ir_val v = one_in(b->seed, 3) ? ir_1(b->ir, IR_fbox, pick(b, IR_F32)) : pick(b, IR_F64);
        ir_set(b->ir, slot, v);
        return;
    }
    unsigned slot = below(b->seed, N_X);
    ir_val v = pick(b, IR_I64);
    if (is_free(slot))
        ir_set(b->ir, slot, v);
}

/* An address and an offset from it that mostly lead to data. */
static ir_val random_address(struct build *b, unsigned size, int64_t *off)
{
    *off = 0;
    switch (below(b->seed, 60)) {
    case 0: return ir_i64(b->ir, (int64_t)(DEVICE + (below(b->seed, 64) & -size)));
    case 1:
        if (one_in(b->seed, 4)) /* nothing there */
            return pick(b, IR_I64);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 7: /* over the end of a page, or near it */
        return ir_i64(b->ir, (int64_t)DATA + 4096 * (1 + below(b->seed, 3)) - below(b->seed, 12));
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
    case 14: {
        ir_val v = ir_2i(b->ir, IR_and, pick(b, IR_I64), one_in(b->seed, 8) ? 0x3ff7 : 0x3ff0);
        *off = below(b->seed, 2) * 8;
        return ir_2i(b->ir, IR_add, v, (int64_t)DATA);
    }
    default: break;
    }
    ir_val base = ir_get(b->ir, one_in(b->seed, 2) ? PTR0 : PTR1);
    *off = (int64_t)below(b->seed, 2400) - 1200;
    if (!one_in(b->seed, 12))
        *off &= -(int64_t)size;
    if (!one_in(b->seed, 3))
        *off /= 16;
    return base;
}

static unsigned random_shape(struct build *b, enum ir_type type)
{
    unsigned shape = type == IR_F64    ? IR_64
                     : type == IR_F32  ? IR_32
                     : type == IR_V128 ? IR_32 + below(b->seed, 3)
                                       : below(b->seed, type == IR_I32 ? IR_64 : IR_64 + 1);
    if (one_in(b->seed, 2))
        shape |= IR_SIGNED;
    if (one_in(b->seed, type == IR_V128 ? 3 : 10))
        shape |= IR_ALIGNED;
    if ((shape & IR_SIZE_MASK) == IR_128 && one_in(b->seed, 3))
        shape |= IR_PAIR;
    if (one_in(b->seed, 10))
        shape |= below(b->seed, 4) * IR_ACQUIRE;
    return shape;
}

static unsigned random_mode(struct build *b)
{
    return one_in(b->seed, 10);
}

static void step_load(struct build *b)
{
    enum ir_type type = any_type(b);
    unsigned shape = random_shape(b, type);
    int64_t off;
    ir_val base = random_address(b, 1u << (shape & IR_SIZE_MASK), &off);
    add_value(b, type, ir_load(b->ir, type, base, off, shape, random_mode(b)));
}

static void step_store(struct build *b)
{
    enum ir_type type = any_type(b);
    unsigned shape = random_shape(b, type) & ~IR_SIGNED;
    int64_t off;
    ir_val base = random_address(b, 1u << (shape & IR_SIZE_MASK), &off);
    ir_val v = one_in(b->seed, 4) ? random_const(b, type) : pick(b, type);
    if (type == IR_I64 && one_in(b->seed, 10))
        v = base;
    ir_store(b->ir, base, off, v, shape, random_mode(b));
}

static void step_atomic(struct build *b)
{
    if (one_in(b->seed, 6)) {
        ir_fence(b->ir, below(b->seed, 16));
        return;
    }
    enum ir_type type = int_type(b);
    unsigned shape = random_shape(b, type);
    int64_t off;
    ir_val base = random_address(b, 1u << (shape & IR_SIZE_MASK), &off);
    if (!one_in(b->seed, 16)) /* aligned */
        base = ir_2i(b->ir, IR_and, base, -8);
    ir_val v = pick(b, type), mode = random_mode(b);
    bool keep = !one_in(b->seed, 4);
    ir_val old = IR_NONE;
    if (one_in(b->seed, 3)) {
        if (one_in(b->seed, 2)) { /* let it succeed */
            ir_val is = ir_load(b->ir, type, base, 0, shape & (IR_SIZE_MASK | IR_SIGNED), mode);
            old = ir_cas(b->ir, base, is, v, shape, mode);
        } else {
            old = ir_cas(b->ir, base, pick(b, type), v, shape, mode);
        }
    } else {
        old = ir_rmw(b->ir, below(b->seed, N_IR_RMW), base, v, shape, mode);
    }
    if (keep)
        add_value(b, type, old);
}

static void step_float(struct build *b)
{
    static const uint8_t codes[] = {
        IR_fadd, IR_fsub, IR_fmul, IR_fdiv, IR_fsqrt, IR_fneg, IR_fabs
    };
    enum ir_type type = float_type(b);
    enum ir_code code = codes[below(b->seed, ARRAY_LEN(codes))];
    ir_val a = pick(b, type);
    if (ir_op_infos[code].n_values == 2)
        add_value(b, type,
                  ir_2(b->ir, code, a, one_in(b->seed, 4) ? random_const(b, type) : pick(b, type)));
    else
        add_value(b, type, ir_1(b->ir, code, a));
}

static void step_float_convert(struct build *b)
{
    enum ir_type type = float_type(b), itype = type == IR_F32 ? IR_I32 : IR_I64;
    unsigned flags = below(b->seed, 8);
    switch (below(b->seed, 8)) {
    case 0: add_value(b, IR_F64, ir_1(b->ir, IR_fwiden, pick(b, IR_F32))); break;
    case 1: add_value(b, IR_F32, ir_1(b->ir, IR_fnarrow, pick(b, IR_F64))); break;
    case 2: add_value(b, IR_F64, ir_1(b->ir, IR_fbox, pick(b, IR_F32))); break;
    case 3: add_value(b, IR_F32, ir_1(b->ir, IR_funbox, pick(b, IR_F64))); break;
    case 4: add_value(b, itype, ir_1(b->ir, IR_fbits, pick(b, type))); break;
    case 5: add_value(b, type, ir_1(b->ir, IR_bitsf, pick(b, itype))); break;
    case 6:
        itype = flags & IR_FTOI_32 ? IR_I32 : IR_I64;
        add_value(b, itype, ir_ftoi(b->ir, pick(b, type), flags));
        break;
    default:
        itype = flags & IR_ITOF_32 ? IR_I32 : IR_I64;
        add_value(b, type, ir_itof(b->ir, type, pick(b, itype), flags & 3));
    }
}

static void step_fma(struct build *b)
{
    enum ir_type type = float_type(b);
    ir_val a = pick(b, type), c = pick(b, type), d = pick(b, type);
    add_value(b, type, ir_fma(b->ir, a, c, d, below(b->seed, 4)));
}

static void step_fcmp(struct build *b)
{
    enum ir_type type = float_type(b);
    ir_val a = pick(b, type), c = pick(b, type);
    add_value(b, IR_I64, ir_fcmp(b->ir, IR_FEQ + below(b->seed, 3), a, c));
    if (one_in(b->seed, 4))
        add_value(b, IR_I64, ir_fflags(b->ir));
    if (one_in(b->seed, 8))
        ir_set_fflags(b->ir, pick(b, IR_I64));
}

static void step_vec(struct build *b)
{
    enum ir_vec vec = below(b->seed, N_IR_VECS);
    const struct ir_vec_info *info = &ir_vec_infos[vec];
    ir_val v[3] = { IR_NONE, IR_NONE, IR_NONE };
    for (unsigned k = 0; k < info->n_values; k++)
        v[k] = pick(b, ir_vec_type(info->types[1 + k]));
    unsigned n = info->flags & IR_VEC_IMM ? below(b->seed, one_in(b->seed, 2) ? 256 : 4) : 0;
    add_value(b, ir_vec_type(info->types[0]), ir_vec(b->ir, vec, v[0], v[1], v[2], n));
}

static void step_call(struct build *b)
{
    const struct ir_helper *h = helpers[below(b->seed, N_RANDOM_HELPERS)];
    ir_val v[4] = { IR_NONE, IR_NONE, IR_NONE, IR_NONE };
    for (unsigned k = 0; k < h->n_args; k++)
        v[k] = pick(b, IR_I64);
    ir_val r = ir_call(b->ir, h, v[0], v[1], v[2], v[3]);
    if (h->has_result || one_in(b->seed, 4))
        add_value(b, IR_I64, r);
}

static void step_pointer(struct build *b)
{
    ir_val v = ir_2i(b->ir, IR_and, pick(b, IR_I64), 0x7f8);
    ir_set(b->ir, one_in(b->seed, 2) ? PTR0 : PTR1,
           ir_2i(b->ir, IR_add, v, (int64_t)DATA + 0x1000));
}

static void begin_insn(struct build *b)
{
    if (b->insn_off + 4 < b->off + UNIT_STEP)
        b->insn_off += 2 + 2 * (int32_t)below(b->seed, 2);
    ir_begin_insn(b->ir, b->insn_off, 4);
}

static void begin_guest_block(struct build *b)
{
    b->insn_off += 4;
    if (b->insn_off == b->entry && b->at_entry != IR_NONE) {
        ir_enter(b->ir, b->at_entry);
        b->at_entry = IR_NONE;
    } else {
        ir_begin_block(b->ir, b->insn_off);
    }
    if (b->n_guest_blocks < ARRAY_LEN(b->guest_blocks))
        b->guest_blocks[b->n_guest_blocks++] = b->insn_off;
    forget_values(b);
    ir_begin_insn(b->ir, b->insn_off, 4);
}

/* The address of a unit further on, or of the end, relative to this unit's page. */
static int32_t forward_address(struct build *b)
{
    uint64_t page = (CODE + b->unit * UNIT_STEP) & ~(uint64_t)4095;
    unsigned to = b->unit + 1 + below(b->seed, 3) / 2;
    uint64_t at = to >= N_UNITS || one_in(b->seed, 20) ? STOP : CODE + to * UNIT_STEP;
    return (int32_t)(at - page);
}

static int32_t any_address(struct build *b)
{
    uint64_t page = (CODE + b->unit * UNIT_STEP) & ~(uint64_t)4095;
    if (one_in(b->seed, 2) && b->n_guest_blocks)
        return b->guest_blocks[below(b->seed, b->n_guest_blocks)];
    return (int32_t)(CODE + below(b->seed, N_UNITS) * UNIT_STEP - page);
}

/* Ends the block with a branch on the budget: spent leads forward, else the block entered next may
 * go anywhere. */
static void spend_budget(struct build *b)
{
    uint16_t spent = ir_new_block(b->ir), rest = ir_new_block(b->ir);
    ir_val left = ir_2i(b->ir, IR_sub, ir_get(b->ir, BUDGET), 1);
    ir_set(b->ir, BUDGET, left);
    ir_branch_block(b->ir, IR_LT, left, ir_i64(b->ir, 0), spent, rest);
    ir_enter(b->ir, spent);
    ir_jump(b->ir, forward_address(b));
    ir_enter(b->ir, rest);
    forget_values(b);
}

static ir_val absolute(struct build *b, int32_t off)
{
    if (one_in(b->seed, 2))
        return ir_pc(b->ir, off);
    uint64_t page = (CODE + b->unit * UNIT_STEP) & ~(uint64_t)4095;
    return ir_i64(b->ir, (int64_t)page + off);
}

static void random_branch(struct build *b, int32_t taken, int32_t other)
{
    enum ir_type type = int_type(b);
    ir_val a = pick(b, type), c = one_in(b->seed, 3) ? random_const(b, type) : pick(b, type);
    ir_branch(b->ir, below(b->seed, IR_GTU + 1), a, c, taken, other);
}

static void end_with_call(struct build *b)
{
    spend_budget(b);
    int32_t back = one_in(b->seed, 3) ? any_address(b) : b->insn_off + 4;
    ir_set(b->ir, RETURN, ir_pc(b->ir, back));
    int32_t to = one_in(b->seed, 2) ? forward_address(b) : any_address(b);
    if (one_in(b->seed, 2))
        ir_jump_call(b->ir, to, back);
    else
        ir_jump_indirect(b->ir, absolute(b, to), IR_HINT_CALL, back);
}

static void step_end(struct build *b)
{
    int32_t here = b->insn_off + 4; /* the guest block that would come next */
    switch (below(b->seed, 12)) {
    case 0:
    case 1: /* two blocks inside the instruction */
    case 2:
        if (b->n_pending + 2 <= MAX_PENDING) {
            uint16_t so = ir_new_block(b->ir), not = ir_new_block(b->ir);
            enum ir_type type = int_type(b);
            ir_val a = pick(b, type), c = pick(b, type);
            ir_branch_block(b->ir, below(b->seed, IR_GTU + 1), a, c, so, not );
            b->pending[b->n_pending++] = so;
            b->pending[b->n_pending++] = not ;
            break;
        }
        /* fall through */
    case 3: random_branch(b, here, here + 4); break; /* may be no block's address: leaves */
    case 4: random_branch(b, forward_address(b), here); break;
    case 5: random_branch(b, here, forward_address(b)); break;
    case 6: /* a loop */
        spend_budget(b);
        random_branch(b, any_address(b), here);
        break;
    case 7: end_with_call(b); break;
    case 8:
        spend_budget(b);
        ir_jump_indirect(b->ir, ir_get(b->ir, RETURN), IR_HINT_RETURN, 0);
        break;
    case 9:
        if (one_in(b->seed, 2)) {
            ir_jump_indirect(b->ir, absolute(b, forward_address(b)), IR_HINT_JUMP, 0);
            break;
        }
        ir_call(b->ir, &helper_switches, pick(b, IR_I64), IR_NONE, IR_NONE, IR_NONE);
        if (one_in(b->seed, 2))
            ir_jump_indirect(b->ir, absolute(b, forward_address(b)), IR_HINT_TRAP, 0);
        else
            ir_leave(b->ir, forward_address(b));
        break;
    case 10:
        spend_budget(b);
        ir_leave(b->ir, any_address(b));
        break;
    default: ir_jump(b->ir, here);
    }
    if (b->n_pending && one_in(b->seed, 2)) {
        unsigned k = below(b->seed, b->n_pending);
        uint16_t block = b->pending[k];
        b->pending[k] = b->pending[--b->n_pending];
        ir_enter(b->ir, block);
        forget_values(b);
        return;
    }
    begin_guest_block(b);
}

static void do_step(struct build *b, enum step_kind kind)
{
    switch (kind) {
    case STEP_INT: step_int(b); break;
    case STEP_UNARY: step_unary(b); break;
    case STEP_CONVERT: step_convert(b); break;
    case STEP_COMPARE: step_compare(b); break;
    case STEP_SELECT: step_select(b); break;
    case STEP_ADD_CARRY: step_add_carry(b); break;
    case STEP_SET: step_set(b); break;
    case STEP_GET: random_get(b, any_type(b)); break;
    case STEP_CONST: random_const(b, any_type(b)); break;
    case STEP_LOAD: step_load(b); break;
    case STEP_STORE: step_store(b); break;
    case STEP_ATOMIC: step_atomic(b); break;
    case STEP_FLOAT: step_float(b); break;
    case STEP_FLOAT_CONVERT: step_float_convert(b); break;
    case STEP_FMA: step_fma(b); break;
    case STEP_FCMP: step_fcmp(b); break;
    case STEP_VEC: step_vec(b); break;
    case STEP_CALL: step_call(b); break;
    case STEP_POINTER: step_pointer(b); break;
    case STEP_INSN: begin_insn(b); break;
    default: step_end(b);
    }
}

/* The first guest block was begun, at `at`. What an address does is the same whichever unit it is
 * reached through: entered in its middle a unit starts with a jump there. */
static void build_unit(struct ir *ir, const struct program *p, uint64_t at)
{
    struct build b = { .ir = ir, .entry = at & 4095, .at_entry = IR_NONE };
    b.unit = (unsigned)((at - CODE) / UNIT_STEP);
    if (at >= STOP || b.unit >= N_UNITS) {
        ir_call(ir, &helper_stops, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
        ir_leave(ir, b.entry);
        return;
    }
    b.off = b.unit % 4 * UNIT_STEP;
    b.insn_off = b.off;
    if (b.entry != b.off) {
        ir->n_insns = ir->blocks[0].n_insns = 0;
        b.at_entry = ir_new_block(ir);
        ir_jump_block(ir, b.at_entry);
        b.insn_off -= 4;
        begin_guest_block(&b);
    } else {
        b.guest_blocks[b.n_guest_blocks++] = b.off;
    }
    for (unsigned k = 0; k < p->n_steps[b.unit]; k++) {
        const struct step *s = &p->steps[b.unit][k];
        uint64_t seed = s->seed;
        b.seed = &seed;
        if (!s->dropped && b.insn_off + 16 < b.off + UNIT_STEP)
            do_step(&b, s->kind);
    }
    uint64_t seed = p->seed + b.unit;
    b.seed = &seed;
    do {
        if (!ir->ended)
            ir_jump(ir, forward_address(&b));
        if (b.at_entry != IR_NONE)
            ir_enter(ir, b.at_entry);
        else if (b.n_pending)
            ir_enter(ir, b.pending[--b.n_pending]);
        b.at_entry = IR_NONE;
    } while (!ir->ended);
}

static void make_program(struct program *p, uint64_t seed)
{
    memset(p, 0, sizeof(*p));
    p->seed = seed;
    seed *= 0x2545f4914f6cdd1d;
    for (unsigned i = 0; i < N_X; i++)
        p->start.x[i] = corner_int(&seed);
    for (unsigned i = 0; i < N_F; i++)
        p->start.f[i] =
            one_in(&seed, 3) ? 0xffffffff00000000 | corner_f32(&seed) : corner_f64(&seed);
    p->start.x[PTR0] = DATA + 0x1000 + below(&seed, 256) * 8;
    p->start.x[PTR1] = DATA + 0x2000 - below(&seed, 256) * 8;
    p->start.x[RETURN] = STOP;
    p->start.x[BUDGET] = 10;
    p->start.rm = below(&seed, 4);
    p->start.sse = p->seed & 1;
    if (p->start.sse)
        p->start.rm |= below(&seed, 4) * TCG_FP_FLUSH_INPUTS;
    for (unsigned i = 0; i < 2 * N_V; i++) {
        uint64_t f32s = corner_f32(&seed) | (uint64_t)corner_f32(&seed) << 32;
        p->start.v[i / 2][i % 2] = one_in(&seed, 2) ? f32s : corner_f64(&seed);
    }
    p->start.pc = CODE;
    for (unsigned i = 0; i < DATA_SIZE; i += 8)
        store_le(&p->data[i], 8, one_in(&seed, 4) ? corner_f64(&seed) : corner_int(&seed));
    unsigned total = 0;
    for (unsigned k = 0; k < N_STEP_KINDS; k++)
        total += weights[k];
    for (unsigned u = 0; u < N_UNITS; u++) {
        p->n_steps[u] = 1 + below(&seed, one_in(&seed, 4) ? N_STEPS : N_STEPS / 4);
        for (unsigned k = 0; k < p->n_steps[u]; k++) {
            unsigned w = below(&seed, total), kind = 0;
            while (w >= weights[kind])
                w -= weights[kind++];
            if (p->start.sse && kind >= STEP_FLOAT && kind <= STEP_FCMP)
                kind = STEP_VEC; /* of scalar operations the modes for subnormals are not known */
            p->steps[u][k] = (struct step){ .seed = next(&seed), .kind = (uint8_t)kind };
        }
    }
}

/* ---- the target ------------------------------------------------------------------------------------------------ */

static struct machine *machine_of(struct vcpu *cpu)
{
    return cpu->vm->machine;
}

static void scan(struct vcpu *cpu, uint32_t flags, const uint8_t *bytes, size_t n, int32_t off,
                 struct insn_scan *out)
{
    out->len = 2;
    out->kind = INSN_END;
}

static void translate(struct tr *t, const struct insn_scan *insn)
{
    struct tcg_cpu *cpu = tcg_cpu_of(t->cpu);
    build_unit(t->ir, machine_of(t->cpu)->program, cpu->pc_page + (uint64_t)(int64_t)t->off);
}

static void begin_unit(struct tr *t)
{
}

/* Mode 1 sees the pages of data in another order. */
static bool translate_address(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                              struct tlb_fill *out)
{
    if (va >> 40 && va >> 40 != 0xffffff) {
        out->fault = 17;
        return false;
    }
    uint64_t swap = mode == 1 && va >= DATA && va < DATA + DATA_SIZE ? 0x1000 : 0;
    *out =
        (struct tlb_fill){ .gpa = va ^ swap, .page_size = 4096, .r = true, .w = true, .x = true };
    return true;
}

static void raise_memory(struct vcpu *cpu, uint64_t va, enum access access, int kind, int fault)
{
    struct guest *g = guest_of(cpu);
    mix(&g->trace, va);
    mix(&g->trace, (uint64_t)access << 16 | (uint64_t)kind << 8 | (kind ? 0 : (uint64_t)fault));
    mix(&g->trace, g->pc);
    if (tcg_cpu_of(cpu)->counting)
        mix(&g->count_trace, tcg_instructions(cpu));
    trap(g);
}

static uint64_t context_key(struct vcpu *cpu, int mode)
{
    return (uint64_t)(mode + 1) + 16 * guest_of(cpu)->flags;
}

static bool take_interrupt(struct vcpu *cpu)
{
    return false;
}

static uint8_t rounding(struct vcpu *cpu)
{
    return guest_of(cpu)->rm;
}

static const struct field guest_state[] = { FIELD(struct guest, pc) };

static struct error *cpu_model(struct vm *vm, const char *model)
{
    return NULL;
}

static void cpu_help(void (*print)(void *opaque, const char *line), void *opaque)
{
}

static void no_vcpu(struct vcpu *cpu)
{
}

static void no_vm(struct vm *vm)
{
}

static void print_guest(struct vcpu *cpu, void (*print)(void *opaque, const char *line),
                        void *opaque)
{
}

static bool has_work(struct vcpu *cpu)
{
    return false;
}

static uint64_t pc_of(struct vcpu *cpu)
{
    return guest_of(cpu)->pc;
}

static const struct target test_target = {
    .name = "random",
    .arch_size = sizeof(struct guest),
    .state = TABLE(guest_state),
    .state_version = 1,
    .cpu_model = cpu_model,
    .cpu_help = cpu_help,
    .vcpu_init = no_vcpu,
    .vcpu_free = no_vcpu,
    .vcpu_reset = no_vcpu,
    .has_work = has_work,
    .print = print_guest,
    .pc = pc_of,
    .vm_free = no_vm,
};

static const struct tcg_target test_tcg_target = {
    .target = &test_target,
    .slots = slots,
    .n_slots = ARRAY_LEN(slots),
    .helpers = helpers,
    .n_helpers = ARRAY_LEN(helpers),
    .pc_offset = offsetof(struct guest, pc),
    .flags_offset = offsetof(struct guest, flags),
    .fp_flags_offset = offsetof(struct guest, fp_flags),
    .max_insn_len = 2,
    .unit_insns = 32,
    .insn_align = 2,
    .canonical_nan = true,
    .scan = scan,
    .translate = translate,
    .begin_unit = begin_unit,
    .translate_address = translate_address,
    .raise_memory = raise_memory,
    .context_key = context_key,
    .n_modes = N_MODES_USED,
    .take_interrupt = take_interrupt,
    .rounding = rounding,
};

static const struct target test_sse_target = {
    .name = "random-sse",
    .arch_size = sizeof(struct guest),
    .state = TABLE(guest_state),
    .state_version = 1,
    .cpu_model = cpu_model,
    .cpu_help = cpu_help,
    .vcpu_init = no_vcpu,
    .vcpu_free = no_vcpu,
    .vcpu_reset = no_vcpu,
    .has_work = has_work,
    .print = print_guest,
    .pc = pc_of,
    .vm_free = no_vm,
};

static const struct tcg_target test_sse_tcg_target = {
    .target = &test_sse_target,
    .slots = slots,
    .n_slots = ARRAY_LEN(slots),
    .helpers = helpers,
    .n_helpers = ARRAY_LEN(helpers),
    .pc_offset = offsetof(struct guest, pc),
    .flags_offset = offsetof(struct guest, flags),
    .fp_flags_offset = offsetof(struct guest, fp_flags),
    .max_insn_len = 2,
    .unit_insns = 32,
    .insn_align = 2,
    .subnormal_flag = true,
    .scan = scan,
    .translate = translate,
    .begin_unit = begin_unit,
    .translate_address = translate_address,
    .raise_memory = raise_memory,
    .context_key = context_key,
    .n_modes = N_MODES_USED,
    .take_interrupt = take_interrupt,
    .rounding = rounding,
};

/* In place of those of the build (cli/targets.c). */
const struct tcg_target *const tcg_targets[] = { &test_tcg_target, &test_sse_tcg_target };
const size_t n_tcg_targets = ARRAY_LEN(tcg_targets);

/* ---- machines ------------------------------------------------------------------------------------------------------ */

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
    struct machine *m = opaque;
    mix(&m->device, off << 8 | size);
    return m->device;
}

static void device_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct machine *m = opaque;
    mix(&m->device, off << 8 | size);
    mix(&m->device, value);
}

static const struct mmio_ops device_ops = { .read = device_read, .write = device_write };

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static void machine_start(struct machine *m)
{
    struct mem_region *ram;
    must(vm_new(&m->vm));
    m->vm->machine = m;
    m->vm->accel = &tcg_accel;
    m->vm->target = m->sse ? &test_sse_target : &test_target;
    m->vm->log.fd = 2;
    must(tcg_accel.vm_create(m->vm, m->options));
    must(mem_add_ram(m->vm, "ram", 1 * MIB, false, &ram));
    mem_map(ram, RAM, 0);
    mem_map(mem_add_mmio(m->vm, "device", 4096, &device_ops, m), DEVICE, 0);
    m->ram = mem_region_ram(ram);
    must(vcpu_new(m->vm, 0, &m->cpu));
    m->cpu->requests = 0;
    tcg_cpu_of(m->cpu)->ir->no_fold = m->no_fold;
    tcg_accel.set_state(m->cpu);
    if (m->counting)
        tcg_count_instructions(m->cpu);
}

static void machine_run(struct machine *m, const struct program *p)
{
    struct guest *g = guest_of(m->cpu);
    struct tcg_cpu *t = tcg_cpu_of(m->cpu);
    m->program = p;
    m->device = 0;
    tcg_accel.code_written(m->vm, m->ram, CODE - RAM, 0x2000);
    memcpy(m->ram->host + (DATA - RAM), p->data, DATA_SIZE);
    *g = p->start;
    t->n_insns = 0;
    tcg_accel.set_state(m->cpu);
    unsigned n = 0;
    while (tcg_accel.run(m->cpu) != EXIT_HALTED && n < 1000)
        n++;
    tcg_accel.get_state(m->cpu);
    m->failed = n == 1000;
    m->end = *g;
    m->counted = t->n_insns;
    memcpy(m->data, m->ram->host + (DATA - RAM), DATA_SIZE);
}

/* ---- comparing and shrinking ------------------------------------------------------------------------------------------ */

static bool print_difference;

static void note(const char *what, unsigned i, uint64_t is, uint64_t expected)
{
    if (print_difference)
        fprintf(stderr, "  %s%u: %016" PRIx64 ", expected %016" PRIx64 "\n", what, i, is, expected);
}

static bool differs(const struct machine *m, const struct machine *ref)
{
    const struct guest *g = &m->end, *r = &ref->end;
    bool d = false;
#define SAME(what, i, a, b)  \
    if ((a) != (b)) {        \
        note(what, i, a, b); \
        d = true;            \
    }
    SAME("did not stop ", 0, m->failed, ref->failed)
    for (unsigned i = 0; i < N_X; i++)
        SAME("x", i, g->x[i], r->x[i])
    for (unsigned i = 0; i < N_F; i++)
        SAME("f", i, g->f[i], r->f[i])
    for (unsigned i = 0; i < 2 * N_V; i++)
        SAME("half v", i, g->v[i / 2][i % 2], r->v[i / 2][i % 2])
    SAME("fp flags ", 0, g->fp_flags, r->fp_flags)
    SAME("traps ", 0, g->n_traps, r->n_traps)
    SAME("trace ", 0, g->trace, r->trace)
    SAME("device ", 0, m->device, ref->device)
    for (unsigned i = 0; i < DATA_SIZE; i += 8)
        SAME("data ", i, load_le(m->data + i, 8), load_le(ref->data + i, 8))
    if (m->counting && ref->counting) {
        SAME("instructions ", 0, m->counted, ref->counted)
        SAME("instruction counts seen ", 0, g->count_trace, r->count_trace)
    }
#undef SAME
    return d;
}

static struct machine machines[] = {
    { .name = "interpreter", .options = "backend=interp", .no_fold = true, .counting = true },
    { .name = "interpreter, folding", .options = "backend=interp,tb-size=1" },
    { .name = "host", .options = "backend=jit" },
    { .name = "host, counting, no folding",
      .options = "backend=jit,tb-size=1",
      .no_fold = true,
      .counting = true },
    { .name = "host, baseline", .options = "backend=jit,host-features=baseline,tb-size=2" },
    { .name = "host, no groups, no folding", .options = "backend=jit,group=off", .no_fold = true },
    /* Programs for SSE run on these; each kind's first one says what is right. */
    { .name = "interpreter, SSE", .options = "backend=interp", .no_fold = true, .sse = true },
    { .name = "host, SSE", .options = "backend=jit", .sse = true },
    { .name = "host, SSE, baseline, no folding",
      .options = "backend=jit,host-features=baseline,tb-size=1",
      .no_fold = true,
      .sse = true },
};

static struct machine *first_machine(const struct program *p)
{
    struct machine *m = machines;
    while (m->sse != p->start.sse)
        m++;
    return m;
}

/* A machine that differs from the first, or NULL. */
static struct machine *disagrees(const struct program *p)
{
    struct machine *first = first_machine(p);
    machine_run(first, p);
    for (struct machine *m = first + 1; m < machines + ARRAY_LEN(machines); m++) {
        if (m->sse != first->sse)
            break;
        machine_run(m, p);
        if (differs(m, first))
            return m;
    }
    return NULL;
}

static bool machine_disagrees(struct machine *m, const struct program *p)
{
    struct machine *first = first_machine(p);
    machine_run(first, p);
    machine_run(m, p);
    return differs(m, first);
}

/* Leave out ever smaller runs of steps while the difference stays. */
static void shrink(struct machine *m, struct program *p)
{
    struct step *all[N_UNITS * N_STEPS];
    unsigned n = 0;
    for (unsigned u = 0; u < N_UNITS; u++)
        for (unsigned k = 0; k < p->n_steps[u]; k++)
            all[n++] = &p->steps[u][k];
    for (unsigned size = n; size; size /= 2) {
        for (unsigned at = 0; at < n; at += size) {
            bool were[N_UNITS * N_STEPS], any = false;
            for (unsigned k = at; k < MIN(at + size, n); k++) {
                were[k] = all[k]->dropped;
                any |= !were[k];
                all[k]->dropped = true;
            }
            if (any && !machine_disagrees(m, p))
                for (unsigned k = at; k < MIN(at + size, n); k++)
                    all[k]->dropped = were[k];
        }
    }
}

static void print_line(void *opaque, const char *line)
{
    fprintf(stderr, "  %s\n", line);
}

static void build_alone(struct ir *ir, const struct program *p, unsigned unit, bool no_fold)
{
    ir->no_fold = no_fold;
    ir_start(ir, slots, ARRAY_LEN(slots));
    int32_t off = unit % 4 * UNIT_STEP;
    ir_begin_block(ir, off);
    ir_begin_insn(ir, off, 2);
    build_unit(ir, p, CODE + unit * UNIT_STEP);
}

static void report(struct machine *m, struct program *p)
{
    struct ir *ir = xcalloc(1, sizeof(*ir));
    shrink(m, p);
    fprintf(stderr, "seed %" PRIu64 ": '%s' differs from '%s':\n", p->seed, m->name,
            machines[0].name);
    for (unsigned u = 0; u < N_UNITS; u++) {
        bool any = false;
        for (unsigned k = 0; k < p->n_steps[u]; k++)
            any |= !p->steps[u][k].dropped;
        if (!any)
            continue;
        build_alone(ir, p, u, m->no_fold);
        ir_finish(ir);
        if (!strstr(m->options, "group=off"))
            ir_group_accesses(ir, 0);
        fprintf(stderr, "unit %u:\n", u);
        ir_print(ir, print_line, NULL);
    }
    print_difference = true;
    machine_disagrees(m, p);
    print_difference = false;
    fprintf(stderr, "  at the start:");
    for (unsigned i = 0; i < N_X; i++)
        fprintf(stderr, " x%u=%" PRIx64, i, p->start.x[i]);
    for (unsigned i = 0; i < N_F; i++)
        fprintf(stderr, " f%u=%" PRIx64, i, p->start.f[i]);
    fprintf(stderr, " rm=%u\n", p->start.rm);
    free(ir);
}

/* ---- text ------------------------------------------------------------------------------------------------------------------ */

struct text {
    char *at;
    size_t n;
};

static void add_line(void *opaque, const char *line)
{
    struct text *t = opaque;
    size_t n = strlen(line);
    t->at = xrealloc(t->at, t->n + n + 2);
    memcpy(t->at + t->n, line, n);
    memcpy(t->at + t->n + n, "\n", 2);
    t->n += n + 1;
}

/* The unit keeps the rules, and is the same after it was printed and read. */
static void check_text(const struct ir *ir)
{
    struct ir *again = xcalloc(1, sizeof(*again));
    struct text first = { 0 }, second = { 0 };
    must(ir_verify(ir));
    ir_print(ir, add_line, &first);
    must(ir_parse(again, first.at, slots, ARRAY_LEN(slots), helpers, ARRAY_LEN(helpers)));
    ir_print(again, add_line, &second);
    assert_string_equal(second.at, first.at);
    free(first.at);
    free(second.at);
    free(again);
}

static void random_units_print_and_parse(void **unused)
{
    struct program *p = xcalloc(1, sizeof(*p));
    struct ir *ir = xcalloc(1, sizeof(*ir));
    for (uint64_t seed = 1; seed <= 30; seed++) {
        make_program(p, seed);
        for (unsigned u = 0; u < N_UNITS; u++) {
            build_alone(ir, p, u, seed % 2);
            assert_false(ir->overflow);
            check_text(ir);
            ir_finish(ir);
            check_text(ir);
            ir_group_accesses(ir, 0);
            check_text(ir);
        }
    }
    free(ir);
    free(p);
}

/* ---- running ------------------------------------------------------------------------------------------------------------------ */

static void start_machines(void)
{
    for (size_t i = 0; i < ARRAY_LEN(machines); i++)
        machine_start(&machines[i]);
}

static void stop_machines(void)
{
    for (size_t i = 0; i < ARRAY_LEN(machines); i++)
        vm_free(machines[i].vm);
}

static unsigned run_programs(uint64_t seed, uint64_t count, unsigned most)
{
    unsigned n_bad = 0;
    struct program *p = xcalloc(1, sizeof(*p));
    for (; count && n_bad < most; count--, seed++) {
        make_program(p, seed);
        struct machine *m = disagrees(p);
        if (m) {
            report(m, p);
            n_bad++;
        }
    }
    free(p);
    return n_bad;
}

static void back_ends_agree_on_random_units(void **unused)
{
    if (n_backends < 2) {
        print_message("# this build has only one back end\n");
        skip();
    }
    start_machines();
    unsigned n_bad = run_programs(1, 400, 1);
    stop_machines();
    assert_int_equal(n_bad, 0);
}

static void print_counts(void)
{
    for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
        const struct tcg_counts *c = &tcg_cpu_of(machines[i].cpu)->counts;
        const struct tcg *tcg = tcg_of_vm(machines[i].vm);
        printf("%s: %" PRIu64 " units, %" PRIu64 " bytes, %" PRIu64 " evictions, %" PRIu64
               " entries, %" PRIu64 " slow calls, %" PRIu64 " TLB misses, %" PRIu64 " traps\n",
               machines[i].name, tcg->counts.units, tcg->counts.host_bytes, tcg->counts.evictions,
               c->unit_entries, c->slow_calls, c->tlb_misses, c->traps);
    }
}

static int run_many(int argc, char **argv)
{
    uint64_t seed = 1, count = 10000;
    unsigned most = 3;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t v = strtoull(argv[i + 1], NULL, 0);
        if (!strcmp(argv[i], "--seed"))
            seed = v;
        else if (!strcmp(argv[i], "--count"))
            count = v;
        else if (!strcmp(argv[i], "--most"))
            most = (unsigned)v;
    }
    start_machines();
    unsigned n_bad = run_programs(seed, count, most);
    print_counts();
    stop_machines();
    printf("%" PRIu64 " programs from %" PRIu64 " on, %u differences\n", count, seed, n_bad);
    return n_bad != 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_units_print_and_parse),
        cmocka_unit_test(back_ends_agree_on_random_units),
    };
    if (argc > 1)
        return run_many(argc, argv);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
