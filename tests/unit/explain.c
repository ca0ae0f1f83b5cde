/* What the translator says of its units, and of the ways by which its code was left. The guest is RISC-V in M-mode. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"
#include "tcg/tcg.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RAM    ((uint64_t)0x80000000)
#define TRAP   (RAM + 0x1000) /* the handler: wfi */
#define CODE   (RAM + 0x4000)
#define DATA   (RAM + 0x8000)
#define DEVICE ((uint64_t)0x40000000)
enum { RAM_SIZE = 4 << 20, WFI = 0x10500073, RET = 0x00008067 };
enum { RA = 1, A0 = 10, A1 = 11, A2 = 12, A3 = 13 };

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct riscv_cpu *r;
    struct tcg_cpu *t;
    char text[1 << 16]; /* what was said */
    size_t n;
};

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

/* ---- the guest ------------------------------------------------------------------------------------ */

/* The device: what is written to it says what happens to the vCPU that does. */
enum { DO_NOTHING, DO_STOP, DO_INTERRUPT, DO_FLUSH, DO_KICK, DO_SAMPLE, N_DO };

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
    (void)opaque, (void)off, (void)size;
    return 0;
}

static void device_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct machine *m = opaque;
    (void)off, (void)size;
    if (value == DO_STOP)
        atomic_fetch_or(&m->cpu->requests, VCPU_REQ_SYNC);
    if (value == DO_INTERRUPT)
        atomic_fetch_or(&m->cpu->requests, VCPU_REQ_INTERRUPT);
    if (value == DO_SAMPLE)
        atomic_store(&m->t->sampled, true);
    if (value == DO_FLUSH)
        tcg_accel.dirty_log_started(m->vm, NULL);
    else if (value)
        tcg_accel.kick(m->cpu);
}

static const struct mmio_ops device_ops = { .read = device_read, .write = device_write };

static struct machine *machine_new(const struct backend *backend, const char *more)
{
    struct machine *m = xcalloc(1, sizeof(*m));
    char options[96];
    struct mem_region *ram;
    const uint32_t wfi = WFI;
    snprintf(options, sizeof(options), "backend=%s,%s", backend->name, more);
    must(vm_new(&m->vm));
    m->vm->accel = &tcg_accel;
    m->vm->target = &riscv64_target;
    must(riscv64_target.cpu_model(m->vm, "max"));
    must(tcg_accel.vm_create(m->vm, options));
    must(mem_add_ram(m->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, RAM, 0);
    mem_map(mem_add_mmio(m->vm, "device", 4096, &device_ops, m), DEVICE, 0);
    must(vcpu_new(m->vm, 0, &m->cpu));
    m->cpu->requests = 0;
    m->r = m->cpu->arch;
    m->t = tcg_cpu_of(m->cpu);
    riscv64_target.vcpu_reset(m->cpu);
    m->r->mtvec = TRAP;
    assert_true(mem_write(m->vm, TRAP, &wfi, 4));
    return m;
}

static void machine_free(struct machine *m)
{
    vm_free(m->vm);
    free(m);
}

static void put(struct machine *m, uint64_t at, const uint32_t *code, size_t n)
{
    assert_true(mem_write(m->vm, at, code, 4 * n));
}

/* From CODE to wfi, which RET leads to as well. */
static void run_at(struct machine *m, uint64_t data, uint64_t turns)
{
    enum vcpu_exit e = EXIT_KICKED;
    m->r->pc = CODE;
    m->r->x[RA] = TRAP;
    m->r->x[A0] = DEVICE;
    m->r->x[A1] = data;
    m->r->x[A2] = turns;
    tcg_accel.set_state(m->cpu);
    for (unsigned i = 0; i < 1000 && e == EXIT_KICKED; i++) {
        atomic_fetch_and(&m->cpu->requests, ~(uint32_t)VCPU_REQ_SYNC);
        e = tcg_accel.run(m->cpu);
    }
    assert_int_equal(e, EXIT_HALTED);
}

static void run(struct machine *m, uint64_t turns)
{
    run_at(m, DATA, turns);
}

static void keep_line(void *opaque, const char *line)
{
    struct machine *m = opaque;
    m->n += (size_t)snprintf(m->text + m->n, sizeof(m->text) - m->n, "%s\n", line);
    assert_true(m->n < sizeof(m->text));
}

/* What is said of the unit at `pc` has this. */
static void says(struct machine *m, uint64_t pc, const char *what)
{
    m->n = 0;
    tcg_explain(m->cpu, pc, keep_line, m);
    if (!strstr(m->text, what))
        fail_msg("there is no \"%s\" in\n%s", what, m->text);
}

static void keep_stat(void *opaque, const char *name, double value)
{
    struct machine *m = opaque;
    m->n += (size_t)snprintf(m->text + m->n, sizeof(m->text) - m->n, "%s %.0f\n", name, value);
}

static uint64_t counted(struct machine *m, const char *name)
{
    char line[64];
    m->n = 0;
    keep_line(m, "");
    tcg_accel.stats(m->vm, keep_stat, m);
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(m->text, line);
    if (!at)
        fail_msg("nothing counts %s", name);
    return strtoull(at + strlen(line), NULL, 10);
}

/* Sum of all that begin so. */
static uint64_t sum_of(struct machine *m, const char *begin)
{
    uint64_t sum = 0;
    counted(m, "tcg.units");
    for (const char *at = strstr(m->text, begin); at; at = strstr(at + 1, begin))
        sum += strtoull(strchr(at, ' '), NULL, 10);
    return sum;
}

#define ON_EACH_BACKEND(m, options)                                                     \
    for (size_t b_ = 0; b_ < n_backends; b_++)                                          \
        for (struct machine *m = machine_new(backends[b_], options), *once_ = m; once_; \
             machine_free(m), once_ = NULL)

/* ---- ways out --------------------------------------------------------------------------------------- */

static const uint32_t ways[] = {
    0x00050663, /*      beqz a0, 2f */
    0x1fc000ef, /*      jal CODE + 0x200 */
    0x00150513, /*      addi a0, a0, 1 */
    0x0f40106f, /* 2:   j CODE + 0x1100 */
};

static void ways_out_say_whether_they_are_patched(void **unused)
{
    ON_EACH_BACKEND(m, "tier2=off")
    {
        static const uint32_t ret = RET, wfi = WFI;
        put(m, CODE, ways, ARRAY_LEN(ways));
        put(m, CODE + 0x200, &ret, 1);
        put(m, CODE + 0x1100, &wfi, 1);
        says(m, CODE, "call of 0x80004200, not linked yet");
        for (unsigned k = 0; k < 2; k++)
            run(m, 0);
        says(m, CODE,
             "way out: call of 0x80004200, linked\n"
             "    its return is predicted to come to 0x80004008\n");
        says(m, CODE, "way out: jump to 0x80005100, on another page: by the jump cache\n");
        says(m, CODE + 0x200, "way out: return, predicted\n");
        says(m, CODE, "exit flag: looked at on entry\n");
    }
}

static void slow_ways_and_helpers_are_counted(void **unused)
{
    static const uint32_t code[] = {
        0x0005b703, /* ld a4, 0(a1) */
        0x0005a703, /* lw a4, 0(a1) */
        0x00e5b423, /* sd a4, 8(a1) */
        0x00c5b6af, /* amoadd.d a3, a2, (a1) */
        WFI,
    };
    ON_EACH_BACKEND(m, "group=off,tier2=off")
    {
        bool jit = !strcmp(backends[b_]->name, "jit");
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, 0);
        says(m, CODE,
             jit ? "slow way: load, 2\n  slow way: store, 1\n  slow way: atomic, 1\n" : "");
        says(m, CODE, "helper: wfi, 1\n");
        says(m, CODE, jit ? ": slow atomic 8000400c\n" : "");
    }
}

static void find_load(void *opaque, const struct site *site)
{
    uint32_t *at = opaque;
    if (site->slow && !strcmp(site->kind, "load"))
        *at = site->at;
}

/* A guest's constant may look like the call of a slow way, with nothing sensible behind it. */
static void what_only_looks_like_a_slow_way_is_none(void **unused)
{
    static const uint8_t forged[] = {
        0xe8, 0, 0, 0, 0, 0, 0, 0x12
    };                                         /* call, kind, and what makes it long */
    static const uint32_t append = 0x00b79793; /* slli a5, a5, 11 */
    uint32_t code[32] = { 0x0005b703 /* ld a4, 0(a1) */, 0x00000793 /* li a5, 0 */ };
    uint64_t v = load_le(forged, 8);
    unsigned n = 2;
    for (int at = 55; at >= 0; at -= 11) {
        code[n++] = append;
        code[n++] = (uint32_t)(v >> at & 2047) << 20 | 15 << 15 | 15 << 7 | 0x13; /* addi a5, a5 */
    }
    code[n++] = 0x00f5b423; /* sd a5, 8(a1) */
    code[n++] = WFI;
    ON_EACH_BACKEND(m, "tier2=off")
    {
        if (strcmp(backends[b_]->name, "jit") != 0)
            continue;
        put(m, CODE, code, n);
        run(m, 0);
        struct tcg *tcg = m->t->tcg;
        const uint8_t *page = mem_view_find(mem_view_now(m->vm), CODE)->ram->host + (CODE - RAM);
        struct unit *u = cache_find(tcg, page, 0, tcg_flags(m->t));
        uint32_t load = 0;
        assert_non_null(u);
        uint8_t *host = tcg->rw + u->code_at, *at = memmem(host, u->code_size, forged, 8);
        tcg->backend->each_site(tcg, u, find_load, &load);
        if (!load || !at)
            continue; /* another kind of host */
        uint32_t to = (uint32_t)load_le(host + load + 1, 4) + load;
        for (unsigned kind = 0; kind < 256; kind++) {
            store_le(at + 1, 4, to - (uint32_t)(at - host));
            at[5] = (uint8_t)kind;
            m->n = 0;
            tcg_explain(m->cpu, CODE, keep_line, m);
            assert_null(strstr(m->text, "slow way: call"));
        }
        memcpy(at, forged, sizeof(forged));
    }
}

/* ---- loops ------------------------------------------------------------------------------------------- */

static void a_hot_loop_says_what_its_windows_are(void **unused)
{
    static const uint32_t code[] = {
        0x00000013, /*      nop */
        0x0005b703, /* 1:   ld a4, 0(a1) */
        0x02e5b423, /*      sd a4, 40(a1) */
        0x00073783, /*      ld a5, 0(a4) */
        0x00858593, /*      addi a1, a1, 8 */
        0xfff60613, /*      addi a2, a2, -1 */
        0xfe0616e3, /*      bnez a2, 1b */
        RET,
    };
    ON_EACH_BACKEND(m, "tier2=always")
    {
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, 0);
        says(m, CODE, "tier 2: ");
        says(m, CODE,
             "  loop at 0x80004004: 1 window, 1 of 3 accesses checked at each turn, counted; "
             "write x11, 48 bytes, +8 a turn\n");
        assert_int_equal(counted(m, "tcg.tier2_loops"), 1);
    }
    ON_EACH_BACKEND(m, "tier2=off")
    {
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, 0);
        says(m, CODE,
             "  loop at 0x80004004: first tier; hot: 1 window, 1 of 3 accesses checked "
             "at each turn, counted; write x11, 48 bytes, +8 a turn\n");
        says(m, CODE, "exit flag: looked at at 0x80004004\n");
    }
}

static void an_inlined_call_is_told(void **unused)
{
    static const uint32_t code[] = {
        0x00008293, /*      mv t0, ra */
        0x010000ef, /* 1:   jal 2f */
        0xfff60613, /*      addi a2, a2, -1 */
        0xfe061ce3, /*      bnez a2, 1b */
        0x00028067, /*      jr t0 */
        0x00378793, /* 2:   addi a5, a5, 3 */
        RET,
    };
    ON_EACH_BACKEND(m, "tier2=always")
    {
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, 20);
        assert_int_equal(m->r->x[15], 60);
        says(m, CODE, "  call at 0x80004004: inlined, 2 instructions from 0x80004014\n");
        assert_int_equal(counted(m, "tcg.tier2_calls"), 1);
    }
    ON_EACH_BACKEND(m, "tier2=always,unit-insns=2") /* what is behind it is another unit's */
    {
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, 20);
        says(m, CODE, "way out: call of 0x80004014");
        says(m, CODE + 4, "  call at 0x80004004: inlined, 2 instructions from 0x80004014\n");
    }
    ON_EACH_BACKEND(m, "tier2=off")
    {
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, 20);
        says(m, CODE,
             "  call at 0x80004004: first tier; hot: inlined, 2 instructions from 0x80004014\n");
        says(m, CODE, "way out: call of 0x80004014, linked\n");
        assert_int_equal(counted(m, "tcg.tier2_calls"), 0);
    }
}

static void a_hot_loop_without_windows_says_why(void **unused)
{
    static const struct {
        const char *why, *name;
        uint32_t code[8];
    } loops[] = {
        /* 1: addi a2, a2, -1; bnez a2, 1b; ret */
        { "it accesses no memory", "no_access", { 0xfff60613, 0xfe061ee3, RET } },
        /* 1: ld a1, 0(a1); addi a2, a2, -1; bnez a2, 1b; ret */
        { "no access stays where it is or moves by a small constant",
          "no_steady_access",
          { 0x0005b583, 0xfff60613, 0xfe061ce3, RET } },
        /* 1: slli a4, a2, 63; ld a5, 0(a4); addi a2, a2, -1; bnez a2, 1b; ret: by half of all addresses */
        { "no access stays where it is or moves by a small constant",
          "no_steady_access",
          { 0x03f61713, 0x00073783, 0xfff60613, 0xfe061ae3, RET } },
        /* 1: ld a2, 0(a1); bnez a2, 1b; ret */
        { "each turn moves no register by a constant", "no_step", { 0x0005b603, 0xfe061ee3, RET } },
        /* 1: fence; addi a2, a2, -1; bnez a2, 1b; ret */
        { "it has a fence", "fence", { 0x0ff0000f, 0xfff60613, 0xfe061ce3, RET } },
        /* 1: amoadd.d a3, a2, (a1); addi a2, a2, -1; bnez a2, 1b; ret */
        { "it has an atomic access", "atomic", { 0x00c5b6af, 0xfff60613, 0xfe061ce3, RET } },
        /* 1: csrr a4, cycle; addi a2, a2, -1; bnez a2, 1b; ret */
        { "it calls a helper", "helper", { 0xc0002773, 0xfff60613, 0xfe061ce3, RET } },
    };
    ON_EACH_BACKEND(m, "tier2=always")
    {
        for (size_t i = 0; i < ARRAY_LEN(loops); i++) {
            char line[128], name[64];
            snprintf(line, sizeof(line), "  loop at 0x80004000: no windows: %s\n", loops[i].why);
            put(m, CODE, loops[i].code, ARRAY_LEN(loops[i].code));
            tcg_accel.code_written(m->vm, mem_view_find(mem_view_now(m->vm), CODE)->ram, CODE - RAM,
                                   sizeof(loops[i].code));
            assert_true(mem_write(m->vm, DATA, &(uint64_t){ 0 }, 8));
            if (i == 1)
                continue;
            snprintf(name, sizeof(name), "tcg.no_windows.%s", loops[i].name);
            uint64_t before = counted(m, name);
            run(m, 1);
            says(m, CODE, line);
            assert_int_equal(counted(m, name), before + 1);
        }
    }
}

/* What windows_refused.* say behind a run; all of them are all that were refused. */
static void refusals_are(struct machine *m, const char *const names[], const uint64_t counts[],
                         size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof(name), "tcg.windows_refused.%s", names[i]);
        uint64_t n_is = counted(m, name);
        if (n_is != counts[i])
            fail_msg("%s is %" PRIu64 ", not %" PRIu64, name, n_is, counts[i]);
        sum += counts[i];
    }
    assert_int_equal(counted(m, "tcg.windows_refused"), sum);
}

static void refused_windows_are_counted_by_their_reason(void **unused)
{
    static const uint32_t code[] = {
        0x0055b023, /* 1:   sd t0, 0(a1) */
        0x00858593, /*      addi a1, a1, 8 */
        0xfff60613, /*      addi a2, a2, -1 */
        0xfe061ae3, /*      bnez a2, 1b */
        RET,
    };
    static const char *const names[] = { "absent", "near_page_end", "no_ram", "watched",
                                         "misaligned" };
    uint64_t counts[ARRAY_LEN(names)] = { 0 };
    const int64_t aligned =
        ir_window_code((struct ir_window){ .span = 8, .stride = 8, .align = 3, .writes = true });
    ON_EACH_BACKEND(m, "tier2=always")
    {
        memset(counts, 0, sizeof(counts));
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, 100); /* the first four turns make the page known */
        counts[0] = 1;
        refusals_are(m, names, counts, ARRAY_LEN(names));
        assert_int_equal(counted(m, "tcg.windows_opened"), 1);
        run_at(m, DATA + 4096 - 64,
               24); /* so do four on either page, and another four are left on the first */
        counts[0] = 3;
        counts[1] = 1;
        refusals_are(m, names, counts, ARRAY_LEN(names));
        run_at(m, DEVICE, 14); /* six turns are too few for a third look */
        counts[0] = 4;
        counts[2] = 1;
        refusals_are(m, names, counts, ARRAY_LEN(names));
        run_at(m, CODE + 0x800, 14); /* where stores are looked at */
        counts[0] = 5;
        counts[3] = 1;
        refusals_are(m, names, counts, ARRAY_LEN(names));
        assert_int_equal(tlb_open_window(m->t, aligned, DATA + 4, 100), 0);
        tlb_open_window(m->t, aligned, DATA + 4, 0); /* one before it was refused */
        assert_int_equal(counted(m, "tcg.windows_refused.misaligned"), 1);
    }
}

/* ---- what is counted ----------------------------------------------------------------------------------- */

static void each_way_out_is_counted_by_its_reason(void **unused)
{
    static const uint32_t code[] = {
        0x00000293, /*      li t0, 0 */
        0x00553023, /* 1:   sd t0, 0(a0) */
        0x00128293, /*      addi t0, t0, 1 */
        0xfec2ece3, /*      bltu t0, a2, 1b */
        0x00003303, /*      ld t1, 0(zero): to the handler, which halts */
    };
    ON_EACH_BACKEND(m, "tier2=off")
    {
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, N_DO + 1); /* what the last one does finds the loop at its end */
        assert_int_equal(counted(m, "tcg.exits.request"), 1);
        assert_int_equal(counted(m, "tcg.exits.interrupt"), 1);
        assert_int_equal(counted(m, "tcg.exits.flush"), 1);
        assert_int_equal(counted(m, "tcg.exits.sample"), 1);
        assert_int_equal(counted(m, "tcg.exits.flag"), 1);
        assert_int_equal(counted(m, "tcg.exits.fault"), 1);
        assert_int_equal(counted(m, "tcg.exits.halt"), 1);
        assert_int_equal(sum_of(m, "tcg.exits."), counted(m, "tcg.unit_entries"));
    }
}

/* Each turn reads where a number in a row of them says: at last, a device. */
static void a_device_seen_from_windows_is_one_of_them(void **unused)
{
    static const uint32_t code[] = {
        0x0005b703, /* 1:   ld a4, 0(a1) */
        0x00073783, /*      ld a5, 0(a4) */
        0x00858593, /*      addi a1, a1, 8 */
        0xfff60613, /*      addi a2, a2, -1 */
        0xfe0618e3, /*      bnez a2, 1b */
        RET,
    };
    ON_EACH_BACKEND(m, "tier2=always")
    {
        put(m, CODE, code, ARRAY_LEN(code));
        for (unsigned i = 0; i < 200; i++)
            assert_true(
                mem_write(m->vm, DATA + 8 * i, &(uint64_t){ i == 150 ? DEVICE : DATA + 8 * i }, 8));
        run(m, 200);
        assert_int_equal(counted(m, "tcg.exits.window"), 1);
        assert_int_equal(sum_of(m, "tcg.exits."), counted(m, "tcg.unit_entries"));
    }
}

static void a_unit_that_died_is_one_of_them(void **unused)
{
    static const uint32_t code[] = {
        0x00552023, /* 1:   sw t0, 0(a0) */
        0xfff60613, /*      addi a2, a2, -1 */
        0xfe061ce3, /*      bnez a2, 1b */
        RET,
    };
    ON_EACH_BACKEND(m, "tier2=off")
    {
        struct ram_block *ram = mem_view_find(mem_view_now(m->vm), CODE)->ram;
        put(m, CODE, code, ARRAY_LEN(code));
        run(m, 1);
        uint64_t dead = counted(m, "tcg.units_dead");
        tcg_accel.code_written(m->vm, ram, CODE - RAM, 4);
        assert_int_equal(counted(m, "tcg.units_dead"), dead + 1);
        run(m, 1); /* a new one */
        assert_int_equal(sum_of(m, "tcg.exits."), counted(m, "tcg.unit_entries"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ways_out_say_whether_they_are_patched),
        cmocka_unit_test(slow_ways_and_helpers_are_counted),
        cmocka_unit_test(what_only_looks_like_a_slow_way_is_none),
        cmocka_unit_test(a_hot_loop_says_what_its_windows_are),
        cmocka_unit_test(an_inlined_call_is_told),
        cmocka_unit_test(a_hot_loop_without_windows_says_why),
        cmocka_unit_test(refused_windows_are_counted_by_their_reason),
        cmocka_unit_test(each_way_out_is_counted_by_its_reason),
        cmocka_unit_test(a_device_seen_from_windows_is_one_of_them),
        cmocka_unit_test(a_unit_that_died_is_one_of_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
