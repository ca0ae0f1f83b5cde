/* What the real CPU does not show to user code: the x87 in real mode, its exceptions with and without CR0.NE,
 * and when it is not available. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/x86_64/tr.h"
#include "tcg/tcg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    CODE = 0x1000,
    HANDLERS = 0x2000,
    DATA = 0x3000,
    STACK = 0x8000,
    N_VECTORS = 32,
    RAM_SIZE = 1 << 20
};

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct x86_cpu *x;
    unsigned n_ferr; /* rising edges */
    bool ferr;
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static void take_ferr(void *opaque, bool level)
{
    struct machine *m = opaque;
    m->n_ferr += level && !m->ferr;
    m->ferr = level;
}

static void machine_start(struct machine *m, const struct backend *backend)
{
    char options[64];
    struct mem_region *ram;
    memset(m, 0, sizeof(*m));
    snprintf(options, sizeof(options), "backend=%s", backend->name);
    must(vm_new(&m->vm));
    m->vm->accel = &tcg_accel;
    m->vm->target = &x86_64_target;
    m->vm->log.fd = 2;
    must(x86_64_target.cpu_model(m->vm, "max"));
    must(tcg_accel.vm_create(m->vm, options));
    must(mem_add_ram(m->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, 0, 0);
    must(vcpu_new(m->vm, 0, &m->cpu));
    m->cpu->requests = 0;
    m->x = x86_of(m->cpu);
    for (unsigned v = 0; v < N_VECTORS; v++) {
        uint32_t far = HANDLERS + v;
        uint8_t hlt = 0xf4;
        assert_true(mem_write(m->vm, 4 * v, &far, 4));
        assert_true(mem_write(m->vm, HANDLERS + v, &hlt, 1));
    }
    x86_64_target.vcpu_reset(m->cpu);
    x86_set_ferr(m->cpu, take_ferr, m);
    m->x->cr0 = X86_CR0_ET | X86_CR0_NE | 2 /* MP */;
    m->x->seg[X86_CS].base = m->x->seg[X86_CS].selector = 0;
    m->x->gpr[X86_RSP] = STACK;
    m->x->run_state = X86_RUNNABLE;
}

static void machine_stop(struct machine *m)
{
    vm_free(m->vm);
}

#define ON_EACH_BACKEND(m)                                                      \
    for (size_t b_ = 0; b_ < n_backends && (machine_start(m, backends[b_]), 1); \
         machine_stop(m), b_++)

/* Run code, then HLT; the vector of the exception that ended it, or -1. */
static int run(struct machine *m, const uint8_t *code, size_t n)
{
    const uint8_t hlt = 0xf4;
    assert_true(mem_write(m->vm, CODE, code, n));
    assert_true(mem_write(m->vm, CODE + n, &hlt, 1));
    m->x->rip = CODE;
    m->x->run_state = X86_RUNNABLE;
    x86_64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
    assert_int_equal(tcg_accel.run(m->cpu), EXIT_HALTED);
    tcg_accel.get_state(m->cpu);
    uint64_t at = m->x->rip - 1;
    return at >= HANDLERS && at < HANDLERS + N_VECTORS ? (int)(at - HANDLERS) : -1;
}
#define RUN(m, ...) \
    run(m, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* fninit; fldcw with #Z unmasked (at DATA); fld1; fldz; fdivp: 1 / 0 */
#define DIVIDE_BY_ZERO \
    0xdb, 0xe3, 0xd9, 0x2e, DATA & 0xff, DATA >> 8, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9
static void put_fcw(struct machine *m, uint16_t fcw)
{
    assert_true(mem_write(m->vm, DATA, &fcw, 2));
}

static void the_next_waiting_instruction_takes_an_exception(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        put_fcw(&m, 0x37b);
        assert_int_equal(RUN(&m, DIVIDE_BY_ZERO, 0x9b), X86_MF);
        assert_int_equal(m.x->fip, CODE + 10);
        assert_int_equal(m.x->fop, 0x6f9);
        assert_int_equal(m.x->fsw & 0x80bf, 0x8084);
        assert_int_equal(RUN(&m, DIVIDE_BY_ZERO, 0xdf, 0xe0 /* fnstsw does not wait */), -1);
        assert_int_equal(m.x->gpr[X86_RAX] & 0xbf, 0x84);
        assert_int_equal(RUN(&m, DIVIDE_BY_ZERO, 0xdb, 0xe2, 0x9b), -1);
        assert_int_equal(m.n_ferr, 0);
    }
}

static void without_ne_the_board_hears_of_exceptions(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        m.x->cr0 &= ~X86_CR0_NE;
        put_fcw(&m, 0x37b);
        assert_int_equal(RUN(&m, DIVIDE_BY_ZERO), -1);
        assert_false(m.ferr);
        assert_int_equal(RUN(&m, DIVIDE_BY_ZERO, 0x9b), -1);
        assert_true(m.ferr);
        assert_int_equal(m.n_ferr, 1);
        assert_int_equal(RUN(&m, 0xdb, 0xe2), -1);
        assert_false(m.ferr);
    }
}

static void ts_and_em_make_it_unavailable(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        m.x->cr0 |= X86_CR0_TS;
        assert_int_equal(RUN(&m, 0xd9, 0xe8), X86_NM);
        assert_int_equal(RUN(&m, 0xdb, 0xe3), X86_NM);
        assert_int_equal(RUN(&m, 0x9b), X86_NM);
        m.x->cr0 &= ~(uint64_t)2;
        assert_int_equal(RUN(&m, 0x9b), -1);
        m.x->cr0 = (m.x->cr0 & ~X86_CR0_TS) | 4 /* EM */;
        assert_int_equal(RUN(&m, 0xd9, 0xe8), X86_NM);
        assert_int_equal(RUN(&m, 0x9b), -1);
    }
}

/* SDM 1-8.1.10, figures 8-11 and 8-12. */
static void environments_have_the_format_of_real_mode(void **unused)
{
    struct machine m;
    uint16_t env[7], wide[14];
    ON_EACH_BACKEND(&m)
    {
        put_fcw(&m, 0x37b);
        m.x->fdp = 0;
        RUN(&m, DIVIDE_BY_ZERO, 0xd9, 0x36, 0x00, 0x31 /* fnstenv 0x3100 */);
        assert_true(mem_read(m.vm, 0x3100, env, sizeof(env)));
        assert_int_equal(env[0], 0x37b);
        assert_int_equal(env[1] & 0x80bf, 0x8084);
        assert_int_equal(env[2], 0x1fff); /* nothing was done: 1 in R7, 0 in R6 */
        assert_int_equal(env[3], CODE + 10);
        assert_int_equal(env[4], 0x6f9);
        assert_int_equal(m.x->fcw, 0x37f);
        assert_int_equal(m.x->fsw & 0x8080, 0);
        RUN(&m, DIVIDE_BY_ZERO, 0x66, 0xd9, 0x36, 0x00, 0x31);
        assert_true(mem_read(m.vm, 0x3100, wide, sizeof(wide)));
        assert_int_equal(wide[6], CODE + 10);
        assert_int_equal(wide[8], 0x6f9);
    }
}

/* While the translator runs st[] is by physical number; what others see is by ST(i). */
static void registers_are_seen_by_their_place_on_the_stack(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        RUN(&m, 0xdb, 0xe3, 0xd9, 0xee, 0xd9, 0xe8); /* fldz; fld1 */
        assert_int_equal(m.x->fsw >> 11 & 7, 6);
        assert_int_equal(m.x->ftw, 0xc0);
        assert_int_equal(load_le(m.x->st[0], 8), (uint64_t)1 << 63);
        assert_int_equal(load_le(m.x->st[1], 8), 0);
        assert_int_equal(RUN(&m, 0xd9, 0xc9), -1); /* fxch */
        assert_int_equal(load_le(m.x->st[1], 8), (uint64_t)1 << 63);
    }
}

int main(void)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(the_next_waiting_instruction_takes_an_exception),
        cmocka_unit_test(without_ne_the_board_hears_of_exceptions),
        cmocka_unit_test(ts_and_em_make_it_unavailable),
        cmocka_unit_test(environments_have_the_format_of_real_mode),
        cmocka_unit_test(registers_are_seen_by_their_place_on_the_stack),
    };
    return cmocka_run_group_tests(facts, NULL, NULL);
}
