/* Vector operations of the IR: what the host's instructions compute is what tcg/vec_ops.h says, flags
 * included, for all rounding modes and treatments of subnormal numbers. So on a host with the
 * instructions the real CPU judges the C meanings.
 *
 * test-vec --seed N --count N [--op NAME] tries more operands than the test. */
#include "tcg/vec.h"
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "tcg/tcg.h"
#include "tests/unit/corners.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RAM  ((uint64_t)0x80000000)
#define CODE (RAM + 0x10000)
enum { CONSTANTS = 32, STEP = 4 }; /* a unit for each constant of each operation */
/* In the state word, above the result's slot: on V256 values, whose upper halves are the next operands. */
enum { ON_WIDE = 8 };

struct guest {
    uint64_t x[2], f[2], pc;
    _Alignas(16) union v128 v[8]; /* operands, a place for the result; the same in memory */
    uint32_t flags;
    uint8_t fp_flags, modes;
};

static const struct ir_slot slots[] = {
    { "x0", offsetof(struct guest, x[0]), IR_I64, 9 },
    { "x1", offsetof(struct guest, x[1]), IR_I64, 0 },
    { "f0", offsetof(struct guest, f[0]), IR_F64, 9 },
    { "v0", offsetof(struct guest, v[0]), IR_V128, 8 },
    { "v1", offsetof(struct guest, v[1]), IR_V128, 7 },
    { "v2", offsetof(struct guest, v[2]), IR_V128, 6 },
    { "v3", offsetof(struct guest, v[3]), IR_V128, 5 },
    { "v4", offsetof(struct guest, v[4]), IR_V128, 0 },
    { "v5", offsetof(struct guest, v[5]), IR_V128, 0 },
    { "v6", offsetof(struct guest, v[6]), IR_V128, 0 },
    { "v7", offsetof(struct guest, v[7]), IR_V128, 0 },
};
enum { SLOT_X0, SLOT_X1, SLOT_F0, SLOT_V0 };

static struct guest *guest_of(struct vcpu *cpu)
{
    return cpu->arch;
}

static void stops(void *arch)
{
    tcg_halt(tcg_of(arch)->cpu);
}
static const struct ir_helper helper_stops = { "stops", (void (*)(void))stops, 0, false,
                                               IR_CALL_RAISES };
static const struct ir_helper *const helpers[] = { &helper_stops };

static uint64_t next(uint64_t *seed)
{
    uint64_t z = (*seed += 0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned constant(enum ir_vec vec, unsigned k)
{
    if (!(ir_vec_infos[vec].flags & IR_VEC_IMM))
        return 0;
    return k < 8 ? k : next(&(uint64_t){ vec * 100 + k }) & 0xff;
}

/* ---- the target: units that do one operation ---------------------------------------------------------- */

static ir_val operand(struct ir *ir, char type, unsigned slot)
{
    switch (type) {
    case 'i': return ir_1(ir, IR_trunc, ir_get(ir, SLOT_X0));
    case 'l': return ir_get(ir, SLOT_X0);
    case 'd': return ir_get(ir, SLOT_F0);
    case 'f': return ir_1(ir, IR_bitsf, ir_1(ir, IR_trunc, ir_get(ir, SLOT_X0)));
    default: return ir_get(ir, slot);
    }
}

/* Halves come from a pinned slot and from one in memory. */
static unsigned upper_slot(unsigned slot)
{
    unsigned k = slot - SLOT_V0;
    return SLOT_V0 + ((k & 4) ^ 4) + ((k + 1) & 3);
}

static void set_result(struct ir *ir, char type, ir_val v, unsigned slot)
{
    switch (type) {
    case 'i': ir_set(ir, SLOT_X1, ir_1(ir, IR_zext32, v)); break;
    case 'l': ir_set(ir, SLOT_X1, v); break;
    case 'd': ir_set(ir, SLOT_X1, ir_1(ir, IR_fbits, v)); break;
    case 'f': ir_set(ir, SLOT_X1, ir_1(ir, IR_zext32, ir_1(ir, IR_fbits, v))); break;
    default: ir_set(ir, slot, v);
    }
}

static void translate(struct tr *t, const struct insn_scan *insn)
{
    uint64_t at = tcg_cpu_of(t->cpu)->pc_page + (uint64_t)(int64_t)t->off;
    unsigned n = (unsigned)(at - CODE) / STEP;
    enum ir_vec vec = n / CONSTANTS;
    const struct ir_vec_info *info = &ir_vec_infos[vec];
    ir_val v[3] = { IR_NONE, IR_NONE, IR_NONE };
    unsigned v0 = SLOT_V0 + (t->flags & 4), dst = v0 + (t->flags & 3);
    bool wide = t->flags & ON_WIDE;
    for (unsigned k = 0; k < info->n_values; k++) {
        v[k] = operand(t->ir, info->types[1 + k], v0 + k);
        if (wide && info->types[1 + k] == 'w')
            v[k] = ir_2(t->ir, IR_join, v[k], ir_get(t->ir, upper_slot(v0 + k)));
    }
    ir_val r = ir_vec(t->ir, vec, v[0], v[1], v[2], constant(vec, n % CONSTANTS));
    if (ir_type_of(t->ir, r) == IR_V256) {
        ir_set(t->ir, upper_slot(dst), ir_1(t->ir, IR_high, r));
        r = ir_1(t->ir, IR_low, r);
    }
    set_result(t->ir, info->types[0], r, dst);
    ir_call(t->ir, &helper_stops, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    ir_leave(t->ir, t->off);
}

static void scan(struct vcpu *cpu, uint32_t flags, const uint8_t *bytes, size_t n, int32_t off,
                 struct insn_scan *out)
{
    out->len = 2;
    out->kind = INSN_END;
}

static void begin_unit(struct tr *t)
{
}

static bool translate_address(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                              struct tlb_fill *out)
{
    *out = (struct tlb_fill){ .gpa = va, .page_size = 4096, .r = true, .w = true, .x = true };
    return true;
}

static void raise_memory(struct vcpu *cpu, uint64_t va, enum access access, int kind, int fault)
{
    abort();
}

static uint64_t context_key(struct vcpu *cpu, int mode)
{
    return 1;
}

static bool take_interrupt(struct vcpu *cpu)
{
    return false;
}

static uint8_t rounding(struct vcpu *cpu)
{
    return guest_of(cpu)->modes;
}

static const struct field guest_state[] = { FIELD(struct guest, pc) };

static struct error *cpu_model(struct vm *vm, const char *model)
{
    return NULL;
}

static void no_vcpu(struct vcpu *cpu)
{
}

static void no_vm(struct vm *vm)
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
    .name = "vec",
    .arch_size = sizeof(struct guest),
    .state = TABLE(guest_state),
    .state_version = 1,
    .cpu_model = cpu_model,
    .vcpu_init = no_vcpu,
    .vcpu_free = no_vcpu,
    .vcpu_reset = no_vcpu,
    .has_work = has_work,
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
    .hot_insns = 256,
    .insn_align = 2,
    .subnormal_flag = true,
    .wide_vectors = true,
    .scan = scan,
    .translate = translate,
    .begin_unit = begin_unit,
    .translate_address = translate_address,
    .raise_memory = raise_memory,
    .context_key = context_key,
    .n_modes = 1,
    .take_interrupt = take_interrupt,
    .rounding = rounding,
};

/* In place of those of the build (cli/targets.c). */
const struct tcg_target *const tcg_targets[] = { &test_tcg_target };
const size_t n_tcg_targets = ARRAY_LEN(tcg_targets);

/* ---- machines ------------------------------------------------------------------------------------------- */

static struct machine {
    const char *options;
    struct vm *vm;
    struct vcpu *cpu;
} machines[] = {
    { .options = "backend=jit" },
    { .options = "backend=jit,host-features=baseline" },
    { .options = "backend=interp" },
};

static void must(struct error *err)
{
    if (err) {
        fprintf(stderr, "%s\n", error_text(err));
        abort();
    }
}

static void start_machines(void)
{
    for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
        struct machine *m = &machines[i];
        struct mem_region *ram;
        must(vm_new(&m->vm));
        m->vm->accel = &tcg_accel;
        m->vm->target = &test_target;
        m->vm->log.fd = 2;
        must(tcg_accel.vm_create(m->vm, m->options));
        must(mem_add_ram(m->vm, "ram", 1 * MIB, false, &ram));
        mem_map(ram, RAM, 0);
        must(vcpu_new(m->vm, 0, &m->cpu));
        m->cpu->requests = 0;
    }
}

static void stop_machines(void)
{
    for (size_t i = 0; i < ARRAY_LEN(machines); i++)
        vm_free(machines[i].vm);
}

/* ---- operands --------------------------------------------------------------------------------------------- */

static uint32_t corner_f32(uint64_t *seed)
{
    uint32_t sign = (uint32_t)next(seed) & 0x80000000;
    switch (next(seed) % 4) {
    case 0: return (uint32_t)next(seed);
    case 1:
        return sign | (uint32_t)(127 - 35 + next(seed) % 70) << 23 | (uint32_t)(next(seed) >> 41);
    default: return sign | (uint32_t)corner_f32s.at[next(seed) % corner_f32s.n];
    }
}

static uint64_t corner_f64(uint64_t *seed)
{
    uint64_t sign = next(seed) & (uint64_t)1 << 63;
    switch (next(seed) % 4) {
    case 0: return next(seed);
    case 1: return sign | (uint64_t)(1023 - 70 + next(seed) % 140) << 52 | next(seed) >> 12;
    default: return sign | corner_f64s.at[next(seed) % corner_f64s.n];
    }
}

static uint64_t corner_int(uint64_t *seed)
{
    return next(seed) % 2 ? next(seed) : corner_ints.at[next(seed) % corner_ints.n];
}

static union v128 random_vector(uint64_t *seed)
{
    union v128 v;
    switch (next(seed) % 8) {
    case 0:
    case 1:
    case 2:
        for (unsigned i = 0; i < 4; i++)
            v.u32[i] = corner_f32(seed);
        break;
    case 3:
    case 4:
    case 5:
        for (unsigned i = 0; i < 2; i++)
            v.u64[i] = corner_f64(seed);
        break;
    case 6:
        for (unsigned i = 0; i < 2; i++)
            v.u64[i] = corner_int(seed);
        break;
    default: { /* a text of few letters, perhaps with an end */
        uint64_t r = next(seed);
        for (unsigned i = 0; i < 16; i++)
            v.u8[i] = (uint8_t)("abcA\xff\0az"[r >> (3 * i) & 7 & (r >> 60 ? 3 : 7)]);
    }
    }
    return v;
}

/* ---- comparing ---------------------------------------------------------------------------------------------- */

static void print_vector(const char *name, const union v128 *v)
{
    fprintf(stderr, "  %s %016" PRIx64 " %016" PRIx64 "\n", name, v->u64[1], v->u64[0]);
}

static bool is_vector(char type)
{
    return type == 'v' || type == 'w';
}

/* The result of the C meaning, as slots show it; `upper` of the upper half. */
static union v128 meaning(const struct guest *g, enum ir_vec vec, unsigned n, bool upper,
                          uint8_t *flags)
{
    const struct ir_vec_info *info = &ir_vec_infos[vec];
    struct sf_ctx env = { .rounding = g->modes & TCG_FP_ROUNDING,
                          .nan_rule = SF_NAN_SSE,
                          .flush_inputs = g->modes & TCG_FP_FLUSH_INPUTS,
                          .flush_results = g->modes & TCG_FP_FLUSH_RESULTS };
    union v128 scalar = { .u64 = { 0, 0 } }, r;
    const union v128 *in[3] = { &scalar, &scalar, &scalar };
    for (unsigned k = 0; k < info->n_values; k++) {
        char type = info->types[1 + k];
        if (is_vector(type))
            in[k] = &g->v[upper && type == 'w' ? (k + 1) & 3 : k];
        else
            scalar.u64[0] = type == 'd' ? g->f[0] : g->x[0];
    }
    vec_fns[vec](&env, &r, in[0], in[1], in[2], n);
    if (info->types[0] == 'i' || info->types[0] == 'f')
        r.u64[0] = r.u32[0];
    if (!is_vector(info->types[0]))
        r.u64[1] = 0;
    *flags |= env.flags;
    return r;
}

static bool agrees(struct machine *m, const struct guest *start, enum ir_vec vec, unsigned k,
                   unsigned dst, bool wide)
{
    struct guest *g = guest_of(m->cpu);
    wide &= ir_vec_widens(vec) && tcg_cpu_of(m->cpu)->tcg->wide;
    *g = *start;
    memcpy(&g->v[4], &g->v[0], 4 * sizeof(g->v[0]));
    g->flags = dst | (wide ? ON_WIDE : 0);
    g->pc = CODE + (vec * CONSTANTS + k) * STEP;
    tcg_accel.set_state(m->cpu);
    while (tcg_accel.run(m->cpu) != EXIT_HALTED) {
    }
    tcg_accel.get_state(m->cpu);
    uint8_t flags = 0;
    unsigned n = constant(vec, k);
    union v128 r = meaning(start, vec, n, false, &flags), is = g->v[dst], upper = { 0 };
    union v128 upper_is = wide ? g->v[upper_slot(SLOT_V0 + dst) - SLOT_V0] : upper;
    if (wide)
        upper = meaning(start, vec, ir_vec_upper_constant(vec, n), true, &flags);
    if (!is_vector(ir_vec_infos[vec].types[0])) {
        is = (union v128){ .u64 = { g->x[1], 0 } };
        if (wide)
            r.u64[0] = vec_join_integers(vec, r.u64[0], upper.u64[0]);
        upper_is = upper;
    }
    if (!memcmp(&is, &r, 16) && !memcmp(&upper_is, &upper, 16) && g->fp_flags == flags)
        return true;
    fprintf(stderr, "%s, %u (%s)%s, modes %#x\n", ir_vec_infos[vec].name, n, m->options,
            wide ? ", v256" : "", start->modes);
    print_vector("a  ", &start->v[0]);
    print_vector("b  ", &start->v[1]);
    print_vector("c  ", &start->v[2]);
    fprintf(stderr, "  x   %016" PRIx64 "\n", start->x[0]);
    print_vector("is ", &is);
    print_vector("C  ", &r);
    print_vector("is, upper half", &upper_is);
    print_vector("C, upper half ", &upper);
    fprintf(stderr, "  flags %#x, in C %#x\n", g->fp_flags, flags);
    return false;
}

static unsigned compare(uint64_t seed, uint64_t count, int only, unsigned most)
{
    unsigned n_bad = 0;
    start_machines();
    for (unsigned vec = 0; vec < N_IR_VECS; vec++) {
        unsigned bad_here = 0;
        if (only >= 0 && (unsigned)only != vec)
            continue;
        uint64_t s = seed * 1000003 + vec;
        for (uint64_t i = 0; i < count && bad_here < most; i++) {
            struct guest start = { .x = { corner_int(&s) }, .f = { corner_f64(&s) } };
            for (unsigned k = 0; k < 4; k++)
                start.v[k] = random_vector(&s);
            start.modes = (uint8_t)(i & 3) | (i >> 2 & 3) * TCG_FP_FLUSH_INPUTS;
            unsigned k = next(&s) % CONSTANTS, dst = next(&s) % 8;
            bool wide = next(&s) % 2;
            for (size_t j = 0; j < ARRAY_LEN(machines); j++)
                bad_here += !agrees(&machines[j], &start, vec, k, dst, wide);
        }
        n_bad += bad_here > 0;
    }
    stop_machines();
    return n_bad;
}

static void host_instructions_do_what_c_says(void **unused)
{
    if (strcmp(backends[0]->name, "jit")) {
        print_message("# this build has only the interpreter\n");
        skip();
    }
    assert_int_equal(compare(1, 200, -1, 1), 0);
}

static int find(const char *name)
{
    for (int i = 0; i < N_IR_VECS; i++)
        if (!strcmp(ir_vec_infos[i].name, name))
            return i;
    return -1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_instructions_do_what_c_says),
    };
    uint64_t seed = 1, count = 10000;
    int only = -1;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 0);
        if (!strcmp(argv[i], "--count"))
            count = strtoull(argv[i + 1], NULL, 0);
        if (!strcmp(argv[i], "--op"))
            only = find(argv[i + 1]);
    }
    if (argc > 1)
        return compare(seed, count, only, 1) != 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
