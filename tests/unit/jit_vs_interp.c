/* Random RISC-V functions (tests/guest/riscv_random.h) in M-mode on several translators: with host code
 * and interpreted, in units of different lengths, with instructions counted, out of a cache so small
 * that units are evicted all the time, with units out of a file. The final states must be equal.
 *
 * test-jit_vs_interp --seed N --count N runs others than the test. */
#include "core/accel.h"
#include "core/disas.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"
#include "tcg/tcg.h"
#include "tests/guest/riscv_random.h"
#include "tests/unit/riscv_walks.h"
#include "tests/unit/scratch.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM     ((uint64_t)0x80000000)
#define STOP    (RAM + 0x1000)  /* where the function returns to: wfi */
#define TRAP    (RAM + 0x2000)  /* so is the trap handler */
#define CODE    (RAM + 0x10ff0) /* not where a page starts */
#define SCRATCH (RAM + 0x80ff0) /* accesses cross pages */
#define WALK    (RAM + 0xf0000) /* to the end of RAM */
enum { WALK_SIZE = 0x10000 };
enum { CODE_ROOM = 0x10000, WFI = 0x10500073 };

static struct machine {
    const char *name, *options;
    size_t part; /* bytes in each part of the cache; 0: as it is */
    bool counting;
    bool kept; /* with a file of units */
    struct vm *vm;
    struct vcpu *cpu;
    struct ram_block *ram;
    bool failed;
    uint64_t counted;
} machines[] = {
    { .name = "interpreter, counting", .options = "backend=interp", .counting = true },
    { .name = "interpreter, single instructions", .options = "backend=interp,one-insn-per-tb=on" },
    { .name = "interpreter, tiny cache", .options = "backend=interp", .part = 32768 },
    { .name = "host", .options = "backend=jit" },
    { .name = "host, counting", .options = "backend=jit", .counting = true },
    { .name = "host, single instructions",
      .options = "backend=jit,one-insn-per-tb=on",
      .counting = true },
    { .name = "host, short units, tiny cache",
      .options = "backend=jit,unit-insns=7",
      .part = 4096 },
    { .name = "host, long units, tiny cache",
      .options = "backend=jit,unit-insns=256",
      .part = 16384 },
    { .name = "host, second tier", .options = "backend=jit,tier2=always,unit-insns=256" },
    { .name = "host, second tier, tiny cache",
      .options = "backend=jit,tier2=always,unit-insns=256",
      .part = 16384 },
    { .name = "interpreter, second tier", .options = "backend=interp,tier2=always,unit-insns=256" },
    { .name = "host, baseline, no groups",
      .options = "backend=jit,host-features=baseline,group=off" },
    { .name = "host, kept units, tiny cache",
      .options = "backend=jit",
      .part = 8192,
      .kept = true },
};
enum { KEPT = ARRAY_LEN(machines) - 1 };

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static uint8_t *ram_at(const struct machine *m, uint64_t at)
{
    return m->ram->host + (at - RAM);
}

static void machine_start(struct machine *m)
{
    struct mem_region *ram;
    must(vm_new(&m->vm));
    m->vm->accel = &tcg_accel;
    m->vm->target = &riscv64_target;
    m->vm->log.fd = 2;
    must(riscv64_target.cpu_model(m->vm, "max"));
    char *options =
        m->kept ? xasprintf("%s,cache=%s", m->options, scratch_file) : xstrdup(m->options);
    must(tcg_accel.vm_create(m->vm, options));
    free(options);
    must(mem_add_ram(m->vm, "ram", 1 * MIB, false, &ram));
    mem_map(ram, RAM, 0);
    m->ram = mem_region_ram(ram);
    must(vcpu_new(m->vm, 0, &m->cpu));
    m->cpu->requests = 0;
    struct tcg *tcg = tcg_of_vm(m->vm);
    if (m->part) {
        tcg->part_size = m->part;
        tcg->part_end = tcg->next + (uint32_t)m->part;
    }
    store_le(ram_at(m, STOP), 4, WFI);
    store_le(ram_at(m, TRAP), 4, WFI);
}

/* Everything may change between two runs: devices write memory, set_state says that registers did. */
static void machine_run(struct machine *m, const uint8_t *code, size_t n, const uint8_t *data,
                        unsigned fs)
{
    struct riscv_cpu *r = riscv_of(m->cpu);
    struct tcg_cpu *t = tcg_cpu_of(m->cpu);
    memset(ram_at(m, SCRATCH), 0, RISCV_RANDOM_SCRATCH);
    memcpy(ram_at(m, SCRATCH), data, RISCV_RANDOM_DATA);
    for (unsigned i = 0; i < WALK_SIZE; i += RISCV_RANDOM_DATA)
        memcpy(ram_at(m, WALK + i), data, MIN(RISCV_RANDOM_DATA, WALK_SIZE - i));
    mem_write(m->vm, CODE, code, n);
    riscv64_target.vcpu_reset(m->cpu);
    riscv_place(m->cpu, CODE, SCRATCH, 0);
    r->x[1] = STOP;
    r->mtvec = TRAP;
    r->mstatus |= (uint64_t)fs << 13;
    riscv64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
    if (m->counting)
        tcg_count_instructions(m->cpu);
    t->n_insns = 0;
    m->failed = true;
    for (unsigned k = 0; k < 1000 && m->failed; k++)
        m->failed = tcg_accel.run(m->cpu) != EXIT_HALTED;
    tcg_accel.get_state(m->cpu);
    m->counted = t->n_insns;
}

/* ---- comparing ------------------------------------------------------------------------------------------- */

static bool print_difference;

static bool same(const char *what, uint64_t i, uint64_t is, uint64_t expected)
{
    if (is != expected && print_difference)
        fprintf(stderr, "  %s%" PRIu64 ": %016" PRIx64 ", expected %016" PRIx64 "\n", what, i, is,
                expected);
    return is == expected;
}

static bool agrees(const struct machine *m, const struct machine *ref)
{
    const struct riscv_cpu *r = riscv_of(m->cpu), *e = riscv_of(ref->cpu);
    bool ok = same("did not stop ", 0, m->failed, ref->failed);
    for (unsigned i = 0; i < 32; i++) {
        ok &= same("x", i, r->x[i], e->x[i]);
        ok &= same("f", i, r->f[i], e->f[i]);
    }
    ok &= same("pc ", 0, r->pc, e->pc);
    ok &= same("fflags ", 0, r->fflags, e->fflags);
    ok &= same("frm ", 0, r->frm, e->frm);
    ok &= same("mstatus ", 0, r->mstatus, e->mstatus);
    ok &= same("mepc ", 0, r->mepc, e->mepc);
    ok &= same("mcause ", 0, r->mcause, e->mcause);
    ok &= same("mtval ", 0, r->mtval, e->mtval);
    ok &= same("reservation ", 0, r->res_addr, e->res_addr);
    for (unsigned i = 0; i < RISCV_RANDOM_SCRATCH; i += 8)
        ok &= same("scratch ", i, load_le(ram_at(m, SCRATCH + i), 8),
                   load_le(ram_at(ref, SCRATCH + i), 8));
    for (unsigned i = 0; i < WALK_SIZE; i += 8)
        ok &= same("area ", i, load_le(ram_at(m, WALK + i), 8), load_le(ram_at(ref, WALK + i), 8));
    if (m->counting && ref->counting)
        ok &= same("instructions ", 0, m->counted, ref->counted);
    return ok;
}

struct function {
    uint8_t code[CODE_ROOM], data[RISCV_RANDOM_DATA];
    size_t n;
    unsigned fs;
    bool walks;
};

static void make_function(struct function *f, uint64_t seed, unsigned n_items)
{
    struct riscv_random how = { .seed = seed,
                                .n_items = n_items,
                                .features = riscv_model_of(machines[0].vm)->ext[0] };
    f->n = f->walks ? riscv_walk_code(seed, WALK, WALK_SIZE, f->code)
                    : riscv_random_code(&how, f->code, sizeof(f->code));
    f->fs = 1 + seed % 3;
    riscv_random_data(seed, f->data, sizeof(f->data));
}

static struct machine *disagrees(const struct function *f)
{
    machine_run(&machines[0], f->code, f->n, f->data, f->fs);
    for (size_t i = 1; i < ARRAY_LEN(machines); i++) {
        machine_run(&machines[i], f->code, f->n, f->data, f->fs);
        if (!agrees(&machines[i], &machines[0]))
            return &machines[i];
    }
    return NULL;
}

static void print_line(void *opaque, const char *line)
{
    fprintf(stderr, "  %s\n", line);
}

/* The shortest function of this seed that shows a difference. */
static void report(struct function *f, uint64_t seed, unsigned n_items)
{
    struct machine *m = NULL;
    for (unsigned n = 1; n <= n_items && !m; n++) {
        make_function(f, seed, n);
        m = disagrees(f);
        n_items = m ? n : n_items;
    }
    fprintf(stderr, "seed %" PRIu64 ", %u items: '%s' differs from '%s':\n", seed, n_items,
            m ? m->name : "something", machines[0].name);
    print_difference = true;
    disagrees(f);
    print_difference = false;
    struct disas *d = disas_new("riscv64");
    disas_block(d, f->code, f->n, CODE, print_line, NULL);
    disas_free(d);
}

/* n_ended: functions that came to their end (others trapped). */
static unsigned run_functions(bool walks, uint64_t seed, uint64_t count, unsigned n_items,
                              unsigned most, uint64_t *n_ended)
{
    struct function *f = xcalloc(1, sizeof(*f));
    f->walks = walks;
    unsigned n_bad = 0;
    *n_ended = 0;
    for (; count && n_bad < most; count--, seed++) {
        make_function(f, seed, n_items);
        if (disagrees(f)) {
            report(f, seed, n_items);
            n_bad++;
        }
        *n_ended += riscv_of(machines[0].cpu)->mcause == 0;
    }
    free(f);
    return n_bad;
}

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

static void translators_agree_on_random_functions(void **unused)
{
    if (n_backends < 2) {
        print_message("# this build has only one back end\n");
        skip();
    }
    start_machines();
    uint64_t n_ended;
    unsigned n_bad = run_functions(false, 1, 80, 300, 1, &n_ended);
    bool evicted = true;
    uint64_t inlined = 0;
    for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
        evicted &= !machines[i].part || tcg_of_vm(machines[i].vm)->counts.evictions;
        inlined += tcg_of_vm(machines[i].vm)->counts.hot_calls;
    }
    stop_machines();
    assert_int_equal(n_bad, 0);
    assert_true(evicted);
    assert_true(inlined > 1000);
    assert_true(n_ended > 40);
    start_machines(); /* now with what was kept */
    n_bad = run_functions(false, 1, 40, 300, 1, &n_ended);
    uint64_t loaded = tcg_of_vm(machines[KEPT].vm)->counts.loaded;
    uint64_t made = tcg_of_vm(machines[KEPT].vm)->counts.units;
    stop_machines();
    assert_int_equal(n_bad, 0);
    assert_true(loaded > 5 * made);
}

static void translators_agree_on_loops_through_memory(void **unused)
{
    if (n_backends < 2)
        skip();
    start_machines();
    uint64_t n_ended, opened = 0;
    unsigned n_bad = run_functions(true, 1, 300, 300, 1, &n_ended);
    for (size_t i = 0; i < ARRAY_LEN(machines); i++)
        opened += tcg_cpu_of(machines[i].cpu)->words[IR_WORD_LOOKS];
    stop_machines();
    assert_int_equal(n_bad, 0);
    assert_true(n_ended > 150);
    assert_true(opened > 500);
}

static int run_many(int argc, char **argv)
{
    uint64_t seed = 1, count = 1000, n_ended;
    unsigned n_items = 300, most = 3;
    bool walks = false;
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t v = strtoull(argv[i + 1], NULL, 0);
        if (!strcmp(argv[i], "--seed"))
            seed = v;
        else if (!strcmp(argv[i], "--count"))
            count = v;
        else if (!strcmp(argv[i], "--walks"))
            walks = v;
        else if (!strcmp(argv[i], "--items"))
            n_items = (unsigned)v;
        else if (!strcmp(argv[i], "--most"))
            most = (unsigned)v;
    }
    start_machines();
    unsigned n_bad = run_functions(walks, seed, count, n_items, most, &n_ended);
    for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
        const struct tcg *tcg = tcg_of_vm(machines[i].vm);
        printf("%s: %" PRIu64 " units, %" PRIu64 " bytes, %" PRIu64 " evictions, %" PRIu64
               " instructions, %" PRIu64 " calls inlined\n",
               machines[i].name, tcg->counts.units, tcg->counts.host_bytes, tcg->counts.evictions,
               machines[i].counted, tcg->counts.hot_calls);
    }
    stop_machines();
    printf("%" PRIu64 " functions from %" PRIu64 " on, %" PRIu64
           " without a trap, %u differences\n",
           count, seed, n_ended, n_bad);
    return n_bad != 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(translators_agree_on_random_functions),
        cmocka_unit_test(translators_agree_on_loops_through_memory),
    };
    if (argc < 2)
        return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
    scratch_make(NULL);
    int status = run_many(argc, argv);
    scratch_remove(NULL);
    return status;
}
