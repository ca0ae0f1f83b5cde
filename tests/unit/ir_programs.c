#include "ir_programs.h"
#include "corners.h"

/* ---- the guest ------------------------------------------------------------------------------------- */

/* Slots with a meaning: addresses of data, where a return goes, how often one may still go back. */
enum { PTR0 = 20, PTR1 = 3, RETURN = 5, BUDGET = 6 };

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
const struct ir_slot slots[N_X + N_F + N_V] = {
    X(0, 1),   X(1, 200), X(2, 190),  X(3, 180), X(4, 170), X(5, 160), X(6, 0),    X(7, 150),
    X(8, 140), X(9, 130), X(10, 120), X(11, 5),  X(12, 0),  X(13, 0),  X(14, 110), X(15, 0),
    X(16, 0),  X(17, 0),  X(18, 0),   X(19, 0),  X(20, 0),  X(21, 0),  X(22, 0),   X(23, 0),
    F(0, 99),  F(1, 98),  F(2, 97),   F(3, 96),  F(4, 95),  F(5, 94),  F(6, 93),   F(7, 92),
    F(8, 91),  F(9, 90),  F(10, 2),   F(11, 0),  F(12, 0),  F(13, 0),  F(14, 0),   F(15, 0),
    V(0, 98),  V(1, 0),   V(2, 97),   V(3, 0),   V(4, 96),  V(5, 0),   V(6, 95),   V(7, 0),
    V(8, 94),  V(9, 0),   V(10, 0),   V(11, 0),
};

struct guest *guest_of(struct vcpu *cpu)
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

void mix(uint64_t *hash, uint64_t v)
{
    *hash = (*hash ^ v) * 0xff51afd7ed558ccd;
    *hash ^= *hash >> 29;
}

static uint64_t corner_int(uint64_t *seed)
{
    switch (below(seed, 4)) {
    case 0: return next(seed);
    case 1: return next(seed) >> below(seed, 64);
    default: return corner_ints.at[below(seed, corner_ints.n)];
    }
}

static uint64_t corner_f64(uint64_t *seed)
{
    uint64_t sign = next(seed) & (uint64_t)1 << 63;
    switch (below(seed, 4)) {
    case 0: return next(seed);
    case 1: return sign | (uint64_t)(1023 - 70 + below(seed, 140)) << 52 | next(seed) >> 12;
    default: return sign | corner_f64s.at[below(seed, corner_f64s.n)];
    }
}

static uint32_t corner_f32(uint64_t *seed)
{
    uint32_t sign = (uint32_t)next(seed) & 0x80000000;
    switch (below(seed, 4)) {
    case 0: return (uint32_t)next(seed);
    case 1: return sign | (127 - 35 + below(seed, 70)) << 23 | (uint32_t)(next(seed) >> 41);
    default: return sign | (uint32_t)corner_f32s.at[below(seed, corner_f32s.n)];
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

void trap(struct guest *g)
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
const struct ir_helper *const helpers[N_HELPERS] = {
    &helper_pure2,         &helper_pure4,  &helper_blind,          &helper_reads,
    &helper_writes,        &helper_raises, &helper_reads_fp_flags, &helper_uses_fpu,
    &helper_sets_rounding, &helper_loads,  &helper_stores,         &helper_kicks,
    &helper_flushes,       &helper_pure0,  &helper_switches,       &helper_stops
};
enum { N_RANDOM_HELPERS = N_HELPERS - 2 };

/* ---- building ---------------------------------------------------------------------------------------------- */

enum step_kind {
    STEP_INT,
    STEP_UNARY,
    STEP_CONVERT,
    STEP_LOWER_HALF,
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
    STEP_UNDO_FFLAGS,
    STEP_VEC,
    STEP_WIDE,
    STEP_CALL,
    STEP_KEEP,
    STEP_POINTER,
    STEP_INSN,
    STEP_END,
    N_STEP_KINDS
};
static const uint8_t weights[N_STEP_KINDS] = {
    [STEP_LOWER_HALF] = 5, [STEP_INT] = 24,   [STEP_UNARY] = 7,         [STEP_CONVERT] = 7,
    [STEP_COMPARE] = 5,    [STEP_SELECT] = 5, [STEP_ADD_CARRY] = 4,     [STEP_SET] = 30,
    [STEP_GET] = 8,        [STEP_CONST] = 3,  [STEP_LOAD] = 12,         [STEP_STORE] = 10,
    [STEP_ATOMIC] = 4,     [STEP_FLOAT] = 8,  [STEP_FLOAT_CONVERT] = 8, [STEP_FMA] = 2,
    [STEP_FCMP] = 2,       [STEP_CALL] = 6,   [STEP_POINTER] = 1,       [STEP_INSN] = 14,
    [STEP_END] = 6,        [STEP_VEC] = 20,   [STEP_WIDE] = 12,         [STEP_UNDO_FFLAGS] = 3,
    [STEP_KEEP] = 2,
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

/* Of values made wide, and of what is computed from them, the lower half is looked at in the end: where it was the upper one,
 * too. */
static void step_lower_half(struct build *b)
{
    static const uint8_t downwards[] = { IR_shr, IR_sar, IR_rol, IR_ror };
    ir_val v = ir_1(b->ir, IR_sext32, pick(b, IR_I32));
    for (unsigned n = 1 + below(b->seed, 3); n; n--) {
        if (one_in(b->seed, 3)) {
            enum ir_code code = downwards[below(b->seed, ARRAY_LEN(downwards))];
            v = ir_2i(b->ir, code, v, below(b->seed, 64));
            continue;
        }
        enum ir_code code = IR_add + below(b->seed, IR_ror - IR_add + 1);
        ir_val other =
            one_in(b->seed, 2) ? ir_1(b->ir, IR_sext32, pick(b, IR_I32)) : pick(b, IR_I64);
        v = one_in(b->seed, 3) ? ir_2(b->ir, code, other, v) : ir_2(b->ir, code, v, other);
    }
    add_value(b, IR_I32, ir_1(b->ir, IR_trunc, v));
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
        v[k] = pick(b, ir_vec_type(info->types[1 + k], false));
    unsigned n = info->flags & IR_VEC_IMM ? below(b->seed, one_in(b->seed, 2) ? 256 : 4) : 0;
    add_value(b, ir_vec_type(info->types[0], false), ir_vec(b->ir, vec, v[0], v[1], v[2], n));
}

/* V256 values are known as their halves: a back end that has none computes with these. */
struct halves {
    ir_val lower, upper;
};

static ir_val whole(struct build *b, struct halves v)
{
    return ir_2(b->ir, IR_join, v.lower, v.upper);
}

/* Often those of one value, or of two slots that stand side by side. */
static struct halves pick_halves(struct build *b)
{
    struct halves v;
    unsigned n = b->values[IR_V128].n;
    if (one_in(b->seed, 3)) {
        unsigned slot = N_X + N_F + 2 * below(b->seed, N_V / 2);
        v.lower = ir_get(b->ir, slot);
        v.upper = ir_get(b->ir, slot + 1);
        return v;
    }
    if (n >= 2 && !one_in(b->seed, 3)) {
        unsigned k = below(b->seed, MIN(n / 2, 5));
        v.lower = b->values[IR_V128].at[n - 2 - 2 * k];
        v.upper = b->values[IR_V128].at[n - 1 - 2 * k];
        return v;
    }
    v.lower = pick(b, IR_V128);
    v.upper = pick(b, IR_V128);
    return v;
}

/* Often side by side in slots as well. */
static void add_halves(struct build *b, struct halves v)
{
    if (one_in(b->seed, 2)) {
        unsigned slot = N_X + N_F + 2 * below(b->seed, N_V / 2);
        ir_set(b->ir, slot, v.lower);
        if (!one_in(b->seed, 8))
            ir_set(b->ir, slot + 1, v.upper);
    }
    add_value(b, IR_V128, v.lower);
    add_value(b, IR_V128, v.upper);
}

static void add_whole(struct build *b, ir_val v)
{
    struct halves h;
    h.lower = ir_1(b->ir, IR_low, v);
    h.upper = ir_1(b->ir, IR_high, v);
    add_halves(b, h);
}

static void wide_access(struct build *b, bool store)
{
    unsigned aligned = one_in(b->seed, 3) ? IR_ALIGNED : 0;
    int64_t off;
    ir_val base = random_address(b, 32, &off);
    unsigned mode = random_mode(b), lower = IR_128 | IR_PAIR | aligned;
    struct halves v = { IR_NONE, IR_NONE };
    if (store)
        v = pick_halves(b);
    if (store && b->ir->wide) {
        ir_store(b->ir, base, off, whole(b, v), IR_256 | aligned, mode);
    } else if (store) {
        ir_store(b->ir, base, off, v.lower, lower, mode);
        ir_store(b->ir, base, off + 16, v.upper, IR_128, mode);
    } else if (b->ir->wide) {
        add_whole(b, ir_load(b->ir, IR_V256, base, off, IR_256 | aligned, mode));
    } else {
        v.lower = ir_load(b->ir, IR_V128, base, off, lower, mode);
        v.upper = ir_load(b->ir, IR_V128, base, off + 16, IR_128, mode);
        add_halves(b, v);
    }
}

static void wide_select(struct build *b)
{
    ir_val cond = pick(b, IR_I64);
    struct halves x = pick_halves(b), y = pick_halves(b);
    if (b->ir->wide) {
        add_whole(b, ir_select(b->ir, cond, whole(b, x), whole(b, y)));
        return;
    }
    struct halves r;
    r.lower = ir_select(b->ir, cond, x.lower, y.lower);
    r.upper = ir_select(b->ir, cond, x.upper, y.upper);
    add_halves(b, r);
}

/* Of both halves' masks one, or whether it is true of both. */
static ir_val join_integers(struct build *b, enum ir_vec vec, ir_val lower, ir_val upper)
{
    unsigned lanes = vec == IR_V_mask_i8 ? 16 : vec == IR_V_mask_i32 ? 4 : 2;
    if (vec == IR_V_none_of || vec == IR_V_none_but)
        return ir_2(b->ir, IR_and, lower, upper);
    return ir_2(b->ir, IR_or, lower, ir_2i(b->ir, IR_shl, upper, lanes));
}

static void wide_vec(struct build *b)
{
    enum ir_vec vec;
    do
        vec = one_in(b->seed, 8) ? IR_V_mask_i8 : below(b->seed, N_IR_VECS);
    while (!ir_vec_widens(vec));
    const struct ir_vec_info *info = &ir_vec_infos[vec];
    struct halves in[3];
    ir_val v[3] = { IR_NONE, IR_NONE, IR_NONE }, u[3] = { IR_NONE, IR_NONE, IR_NONE };
    for (unsigned k = 0; k < info->n_values; k++)
        in[k] = pick_halves(b);
    unsigned n = info->flags & IR_VEC_IMM ? below(b->seed, one_in(b->seed, 2) ? 256 : 4) : 0;
    for (unsigned k = 0; k < info->n_values; k++) {
        bool each = info->types[1 + k] == 'w';
        v[k] = each && b->ir->wide ? whole(b, in[k]) : in[k].lower;
        u[k] = each ? in[k].upper : in[k].lower;
    }
    ir_val r = ir_vec(b->ir, vec, v[0], v[1], v[2], n), upper = IR_NONE;
    if (!b->ir->wide)
        upper = ir_vec(b->ir, vec, u[0], u[1], u[2], ir_vec_upper_constant(vec, n));
    if (ir_vec_type(info->types[0], false) == IR_I64)
        add_value(b, IR_I64, b->ir->wide ? r : join_integers(b, vec, r, upper));
    else if (b->ir->wide)
        add_whole(b, r);
    else
        add_halves(b, (struct halves){ r, upper });
}

static void step_wide(struct build *b)
{
    switch (below(b->seed, 8)) {
    case 0: wide_access(b, true); break;
    case 1: wide_access(b, false); break;
    case 2: wide_select(b); break;
    default: wide_vec(b);
    }
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

/* The flags become what they were, as behind a comparison that is to raise none; here others may have raised some, too.
 * Few are set before and they are looked at behind, or nobody would notice. */
static void step_undo_fflags(struct build *b)
{
    if (!one_in(b->seed, 4))
        ir_set_fflags(b->ir, ir_i64(b->ir, one_in(b->seed, 4) ? 1 << below(b->seed, 5) : 0));
    ir_val before = ir_fflags(b->ir);
    step_fcmp(b);
    switch (below(b->seed, 12)) {
    case 0:
    case 1: step_float(b); break;
    case 2: step_float_convert(b); break;
    case 3: step_fma(b); break;
    case 4: step_vec(b); break;
    case 5: step_fcmp(b); break;
    case 6: /* sets them */
        ir_call(b->ir, &helper_reads_fp_flags, ir_i64(b->ir, 5 * below(b->seed, 32)), IR_NONE,
                IR_NONE, IR_NONE);
        break;
    case 7: step_load(b); break;
    default: break;
    }
    ir_set_fflags(b->ir, before);
    unsigned slot = below(b->seed, N_X);
    if (is_free(slot))
        ir_set(b->ir, slot, ir_fflags(b->ir));
}

/* More values than there are registers outlive a call that changes the slots that they came from. */
static void step_keep(struct build *b)
{
    enum { KEPT = 10 };
    enum ir_type type = one_in(b->seed, 3) ? IR_I64 : one_in(b->seed, 2) ? IR_F64 : IR_V128;
    unsigned first = type == IR_I64   ? 7
                     : type == IR_F64 ? N_X
                                      : N_X + N_F,
             n = 1 + below(b->seed, KEPT);
    ir_val kept[KEPT];
    for (unsigned k = 0; k < n; k++)
        kept[k] = ir_get(b->ir, first + (type == IR_V128 ? k : k * 3 % 16));
    ir_call(b->ir, &helper_writes, pick(b, IR_I64), pick(b, IR_I64), IR_NONE, IR_NONE);
    for (unsigned k = 0; k < n; k++)
        if (is_free(first + k))
            ir_set(b->ir, first + k, kept[k]);
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
    case STEP_LOWER_HALF: step_lower_half(b); break;
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
    case STEP_WIDE: step_wide(b); break;
    case STEP_FCMP: step_fcmp(b); break;
    case STEP_UNDO_FFLAGS: step_undo_fflags(b); break;
    case STEP_VEC: step_vec(b); break;
    case STEP_CALL: step_call(b); break;
    case STEP_KEEP: step_keep(b); break;
    case STEP_POINTER: step_pointer(b); break;
    case STEP_INSN: begin_insn(b); break;
    default: step_end(b);
    }
}

void build_unit(struct ir *ir, const struct program *p, uint64_t at)
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

void make_program(struct program *p, uint64_t seed)
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
            if (p->start.sse && kind >= STEP_FLOAT && kind <= STEP_UNDO_FFLAGS)
                kind = STEP_VEC; /* of scalar operations the modes for subnormals are not known */
            p->steps[u][k] = (struct step){ .seed = next(&seed), .kind = (uint8_t)kind };
        }
    }
}
