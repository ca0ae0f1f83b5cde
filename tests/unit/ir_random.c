/* Random units on every back end: the interpreter, building exactly what is asked for, says what is
 * right; the others, and the builder's folding, must agree on slots, memory, floating-point flags,
 * faults, what helpers see, and instruction counts.
 *
 * ir_random --seed N --count N runs other programs (ir_programs.h) than the test; a difference is shrunk and printed as
 * IR. */
#include "ir_programs.h"

#include "core/error.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

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
    .hot_insns = 256,
    .wide_vectors = true,
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
    .hot_insns = 256,
    .wide_vectors = true,
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

static void build_alone(struct ir *ir, const struct program *p, unsigned unit, bool no_fold,
                        bool wide)
{
    ir->no_fold = no_fold;
    ir->wide = wide;
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
        build_alone(ir, p, u, m->no_fold, tcg_cpu_of(m->cpu)->tcg->wide);
        ir_finish(ir);
        ir_find_chains(ir);
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
            build_alone(ir, p, u, seed % 2, seed % 3);
            assert_false(ir->overflow);
            check_text(ir);
            ir_finish(ir);
            check_text(ir);
            ir_find_chains(ir);
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
