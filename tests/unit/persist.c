/* Units that outlive their VM: the next one runs them in place of translating, wherever they then stand, for as long as
 * the guest's code is the same. The guest is RISC-V code in M-mode. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"
#include "tcg/tcg.h"
#include "tests/unit/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM  ((uint64_t)0x80000000)
#define TRAP (RAM + 0x1000)
#define CODE (RAM + 0x4000)
#define DATA (RAM + 0x8000)
enum { RAM_SIZE = 1 << 20, WFI = 0x10500073, A0 = 10, A1 = 11, A2 = 12 };

/* A loop with a sum, a call, a helper, floats and their flags, and a division: all that code can refer to. */
static const uint32_t program[] = {
    0x0005b283,                  /* ld t0, 0(a1) */
    0x00550533,                  /* add a0, a0, t0 */
    0xb0202373,                  /* csrr t1, minstret */
    0x028000ef,                  /* jal ra, +40 */
    0xd0257553,                  /* fcvt.s.l fa0, a0 */
    0x18a57553,                  /* fdiv.s fa0, fa0, fa0 */
    0x001023f3,                  /* csrr t2, fflags */
    0x02c54e33,                  /* div t3, a0, a2 */
    0x0055b023,                  /* sd t0, 0(a1) */
    0xfff60613,                  /* addi a2, a2, -1 */
    0xfc061ce3,                  /* bnez a2, -40 */
    WFI,        WFI, 0x00350513, /* addi a0, a0, 3 */
    0x00008067,                  /* ret */
};

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct riscv_cpu *r;
    struct tcg *tcg;
};

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static struct error *try_start(struct machine *m, const char *options, const char *model)
{
    struct mem_region *ram;
    must(vm_new(&m->vm));
    m->vm->accel = &tcg_accel;
    m->vm->target = &riscv64_target;
    m->vm->log.fd = 2;
    must(riscv64_target.cpu_model(m->vm, model));
    struct error *err = tcg_accel.vm_create(m->vm, options);
    if (err)
        return err;
    m->tcg = tcg_of_vm(m->vm);
    must(mem_add_ram(m->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, RAM, 0);
    err = vcpu_new(m->vm, 0, &m->cpu);
    if (err)
        return err;
    m->cpu->requests = 0;
    m->r = riscv_of(m->cpu);
    riscv64_target.vcpu_reset(m->cpu);
    m->r->mtvec = TRAP;
    return NULL;
}

static struct machine start(const char *more, const char *model)
{
    struct machine m = { 0 };
    char options[128];
    snprintf(options, sizeof(options), "cache=%s%s", scratch_file, more);
    must(try_start(&m, options, model));
    const uint32_t wfi = WFI;
    mem_write(m.vm, TRAP, &wfi, 4);
    return m;
}

static void stop(struct machine *m)
{
    vm_free(m->vm);
}

/* Run the program at `at` to WFI; what it computed. */
static uint64_t run(struct machine *m, uint64_t at)
{
    const uint64_t five = 5;
    mem_write(m->vm, DATA, &five, 8);
    m->r->x[A0] = 0;
    m->r->x[A1] = DATA;
    m->r->x[A2] = 100;
    m->r->mstatus |= (uint64_t)1 << 13; /* floating point is on */
    m->r->pc = at;
    m->r->mcause = 0;
    riscv64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
    enum vcpu_exit e = EXIT_KICKED;
    for (unsigned k = 0; k < 100 && e != EXIT_HALTED; k++)
        e = tcg_accel.run(m->cpu);
    assert_int_equal(e, EXIT_HALTED);
    assert_int_equal(m->r->mcause, 0);
    return m->r->x[A0];
}

static uint64_t put_and_run(struct machine *m, uint64_t at)
{
    mem_write(m->vm, at, program, sizeof(program));
    return run(m, at);
}

static void first_run(void)
{
    unlink(scratch_file);
    struct machine m = start("", "max");
    assert_int_equal(put_and_run(&m, CODE), 800);
    assert_true(m.tcg->counts.units > 0);
    stop(&m);
}

static void the_second_run_translates_nothing(void **unused)
{
    first_run();
    struct machine m = start("", "max");
    assert_int_equal(put_and_run(&m, CODE), 800);
    assert_int_equal(m.tcg->counts.units, 0);
    assert_true(m.tcg->counts.loaded > 0);
    stop(&m);
}

static void units_serve_where_cache_and_guest_pages_are_others(void **unused)
{
    first_run();
    struct machine before = start("", "max"); /* where the last one's cache was */
    struct machine m = start("", "max");
    assert_ptr_not_equal(before.tcg->rx, m.tcg->rx);
    const uint32_t other[] = { 0x00150513, 0x00250513, WFI };
    mem_write(m.vm, RAM + 0x3000, other, sizeof(other));
    run(&m, RAM + 0x3000); /* something of its own first */
    uint64_t units = m.tcg->counts.units;
    assert_int_equal(put_and_run(&m, CODE + 0x2000), 800);
    assert_int_equal(put_and_run(&m, CODE + 0x3000), 800);
    assert_int_equal(m.tcg->counts.units, units);
    stop(&m);
    stop(&before);
}

static void code_that_changed_is_translated_anew(void **unused)
{
    const uint32_t seven = 0x00750513; /* addi a0, a0, 7 */
    first_run();
    struct machine m = start("", "max");
    mem_write(m.vm, CODE, program, sizeof(program));
    mem_write(m.vm, CODE + 4 * 13, &seven, 4);
    assert_int_equal(run(&m, CODE), 1200);
    assert_true(m.tcg->counts.units > 0);
    assert_int_equal(put_and_run(&m, CODE), 800); /* and back, under the unit's feet */
    mem_write(m.vm, CODE + 4 * 13, &seven, 4);
    assert_int_equal(run(&m, CODE), 1200);
    stop(&m);
}

static void units_are_for_their_place_in_a_page(void **unused)
{
    first_run();
    struct machine m = start("", "max");
    assert_int_equal(put_and_run(&m, CODE + 0x100), 800);
    assert_true(m.tcg->counts.units > 0);
    stop(&m);
}

/* What counts instructions is not what was kept, and is kept beside it. */
static void the_state_word_tells_units_apart(void **unused)
{
    first_run();
    for (unsigned turn = 0; turn < 2; turn++) {
        struct machine m = start("", "max");
        tcg_count_instructions(m.cpu);
        assert_int_equal(put_and_run(&m, CODE), 800);
        assert_int_equal(m.tcg->counts.units == 0, turn);
        stop(&m);
    }
}

/* Another CPU, and options that change code. */
static void what_code_depends_on_starts_the_file_anew(void **unused)
{
    static const struct {
        const char *options, *model;
    } others[] = {
        { "", "rv64" },
        { ",unit-insns=5", "max" },
        { ",group=off", "max" },
        { ",one-insn-per-tb=on", "max" },
        { ",count-tlb=on", "max" },
        { ",host-features=baseline", "max" },
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        first_run();
        struct machine m = start(others[i].options, others[i].model);
        assert_int_equal(put_and_run(&m, CODE), 800);
        assert_int_equal(m.tcg->counts.loaded, 0);
        stop(&m);
    }
}

/* With a part of the cache so small that units go all the time, they come back from the records. */
static void evicted_units_come_back(void **unused)
{
    unlink(scratch_file);
    struct machine m = start("", "max");
    m.tcg->part_size = 2048;
    m.tcg->part_end = m.tcg->next + 2048;
    for (unsigned turn = 0; turn < 40; turn++)
        assert_int_equal(put_and_run(&m, CODE + 0x1000 * (turn % 4)), 800);
    assert_true(m.tcg->counts.evictions > 8);
    assert_true(m.tcg->counts.loaded > 4 * m.tcg->counts.units);
    stop(&m);
}

static void the_interpreter_keeps_nothing(void **unused)
{
    struct machine m = { 0 };
    char options[128];
    for (size_t i = 0; i < n_backends; i++) {
        if (strcmp(backends[i]->name, "interp"))
            continue;
        snprintf(options, sizeof(options), "backend=interp,cache=%s", scratch_file);
        struct error *err = try_start(&m, options, "max");
        assert_non_null(err);
        assert_non_null(strstr(error_text(err), "backend=jit"));
        error_free(err);
        vm_free(m.vm);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_second_run_translates_nothing),
        cmocka_unit_test(units_serve_where_cache_and_guest_pages_are_others),
        cmocka_unit_test(code_that_changed_is_translated_anew),
        cmocka_unit_test(units_are_for_their_place_in_a_page),
        cmocka_unit_test(the_state_word_tells_units_apart),
        cmocka_unit_test(what_code_depends_on_starts_the_file_anew),
        cmocka_unit_test(evicted_units_come_back),
        cmocka_unit_test(the_interpreter_keeps_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
