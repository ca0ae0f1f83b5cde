/* Breakpoints, watchpoints and steps on the translator, on each back end, RISC-V and x86-64. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"
#include "target/x86_64/x86.h"
#include "tcg/tcg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RAM  ((uint64_t)0x80000000)
#define CODE (RAM + 0x4000)
#define DATA (RAM + 0x8000)
enum { RAM_SIZE = 4 << 20, WFI = 0x10500073 };
enum { T0 = 5, T1 = 6, A0 = 10, A1 = 11, A2 = 12 };

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct riscv_cpu *r;
    struct x86_cpu *x;
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static void start(struct machine *m, const struct backend *backend, const struct target *target,
                  const char *model, uint64_t ram_at)
{
    char options[64];
    struct mem_region *ram;
    snprintf(options, sizeof(options), "backend=%s", backend->name);
    must(vm_new(&m->vm));
    m->vm->accel = &tcg_accel;
    m->vm->target = target;
    must(target->cpu_model(m->vm, model));
    must(tcg_accel.vm_create(m->vm, options));
    must(mem_add_ram(m->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, ram_at, 0);
    must(vcpu_new(m->vm, 0, &m->cpu));
    m->cpu->requests = 0;
    m->r = m->cpu->arch;
    m->x = m->cpu->arch;
    target->vcpu_reset(m->cpu);
}

static void put(struct machine *m, uint64_t at, const void *code, size_t n)
{
    assert_true(mem_write(m->vm, at, code, n));
}

static void rv_start(struct machine *m, const struct backend *backend, const uint32_t *code,
                     size_t n)
{
    const uint32_t wfi = WFI;
    start(m, backend, &riscv64_target, "max", RAM);
    put(m, CODE, code, n * 4);
    put(m, CODE + n * 4, &wfi, 4);
    put(m, RAM + 0x1000, &wfi, 4);
    m->r->mtvec = RAM + 0x1000;
    m->r->pc = CODE;
    m->r->x[A1] = DATA;
    tcg_accel.set_state(m->cpu);
}

/* 16-bit code at 0x8000, or 32-bit code there. */
static void x86_start(struct machine *m, const struct backend *backend, const uint8_t *code,
                      size_t n, bool flat)
{
    start(m, backend, &x86_64_target, "max", 0);
    put(m, 0x8000, code, n);
    if (flat) {
        x86_place_flat(m->cpu, 0x8000, 0);
    } else {
        m->x->rip = 0;
        m->x->seg[X86_CS].selector = 0x800;
        m->x->seg[X86_CS].base = 0x8000;
    }
    tcg_accel.set_state(m->cpu);
}

static enum vcpu_exit go(struct machine *m)
{
    enum vcpu_exit e = EXIT_KICKED;
    for (unsigned i = 0; i < 1000 && e == EXIT_KICKED; i++)
        e = tcg_accel.run(m->cpu);
    return e;
}

static void ask(struct machine *m, const struct vcpu_debug *want)
{
    must(tcg_accel.set_debug(m->cpu, want));
}

/* Go on; it stops for `hit` at pc. */
static void stops(struct machine *m, int hit, uint64_t pc)
{
    assert_int_equal(go(m), EXIT_DEBUG);
    assert_int_equal(m->vm->target->pc(m->cpu), pc);
    assert_int_equal(m->cpu->debug_hit, hit);
}

#define ON_EACH_BACKEND for (size_t b = 0; b < n_backends; b++)

/* sum of 1 to 1000: a loop that is one unit, in which nothing looks at breakpoints */
static const uint32_t rv_sum[] = {
    0x3e800293, /*      li t0, 1000 */
    0x00000513, /*      li a0, 0 */
    0x00550533, /* 1:   add a0, a0, t0 */
    0xfff28293, /*      addi t0, t0, -1 */
    0xfe029ce3, /*      bnez t0, 1b */
    0x00a5b023, /*      sd a0, 0(a1) */
};

static void a_breakpoint_stops_inside_a_loop_each_time(void **unused)
{
    const struct vcpu_debug one = { .n = 1, .points = { { POINT_EXECUTE, 4, CODE + 12 } } };
    ON_EACH_BACKEND
    {
        struct machine m;
        rv_start(&m, backends[b], rv_sum, ARRAY_LEN(rv_sum));
        assert_int_equal(go(&m), EXIT_HALTED); /* translated without */
        assert_int_equal(m.r->x[A0], 500500);
        m.r->pc = CODE;
        ask(&m, &one);
        for (unsigned i = 0; i < 5; i++) {
            stops(&m, 0, CODE + 12);
            assert_int_equal(m.r->x[T0], 1000 - i);
        }
        ask(&m, &(struct vcpu_debug){ 0 });
        assert_int_equal(go(&m), EXIT_HALTED);
        assert_int_equal(m.r->x[A0], 500500);
        vm_free(m.vm);
    }
}

static void one_set_anew_at_another_place_is_met(void **unused)
{
    ON_EACH_BACKEND
    {
        struct machine m;
        rv_start(&m, backends[b], rv_sum, ARRAY_LEN(rv_sum));
        for (unsigned i = 5; i-- > 0;) {
            m.r->pc = CODE;
            ask(&m, &(struct vcpu_debug){ .n = 1,
                                          .points = { { POINT_EXECUTE, 4, CODE + 4 + 4 * i } } });
            stops(&m, 0, CODE + 4 + 4 * i);
        }
        vm_free(m.vm);
    }
}

static void each_step_is_one_instruction(void **unused)
{
    ON_EACH_BACKEND
    {
        struct machine m;
        rv_start(&m, backends[b], rv_sum, ARRAY_LEN(rv_sum));
        ask(&m, &(struct vcpu_debug){ .step = true });
        const unsigned at[] = { 4, 8, 12, 16, 8, 12, 16, 8 };
        for (unsigned i = 0; i < ARRAY_LEN(at); i++)
            stops(&m, VCPU_STEPPED, CODE + at[i]);
        vm_free(m.vm);
    }
}

static void a_step_over_a_range_ends_outside(void **unused)
{
    struct vcpu_debug range = { .step = true, .from = CODE, .to = CODE + 20 };
    ON_EACH_BACKEND
    {
        struct machine m;
        rv_start(&m, backends[b], rv_sum, ARRAY_LEN(rv_sum));
        ask(&m, &range);
        stops(&m, VCPU_STEPPED, CODE + 20);
        assert_int_equal(m.r->x[A0], 500500);
        struct vcpu_debug met = range;
        met.n = 1;
        met.points[0] = (struct vcpu_point){ POINT_EXECUTE, 4, CODE + 8 };
        m.r->pc = CODE + 8; /* passed at first */
        m.r->x[T0] = 7;
        ask(&m, &met);
        stops(&m, 0, CODE + 8);
        assert_int_equal(m.r->x[T0], 6);
        vm_free(m.vm);
    }
}

static void a_step_into_an_exception_ends_at_its_handler(void **unused)
{
    static const uint32_t code[] = { 0x00000073 /* ecall */, 0x00003503 /* ld a0, 0(zero) */ };
    ON_EACH_BACKEND
    {
        struct machine m;
        rv_start(&m, backends[b], code, ARRAY_LEN(code));
        ask(&m, &(struct vcpu_debug){ .step = true });
        stops(&m, VCPU_STEPPED, RAM + 0x1000);
        assert_int_equal(m.r->mcause, RV_ECALL_M);
        m.r->pc = CODE + 4;
        stops(&m, VCPU_STEPPED, RAM + 0x1000);
        assert_int_equal(m.r->mcause, RV_LOAD_ACCESS);
        m.r->pc = 0x1000; /* no memory: the fetch fails */
        stops(&m, VCPU_STEPPED, RAM + 0x1000);
        assert_int_equal(m.r->mcause, RV_INSN_ACCESS);
        vm_free(m.vm);
    }
}

static void steps_hold_interrupts_where_that_is_wanted(void **unused)
{
    ON_EACH_BACKEND
    {
        struct machine m;
        rv_start(&m, backends[b], rv_sum, ARRAY_LEN(rv_sum));
        m.r->mstatus |= RV_MSTATUS_MIE;
        m.r->mie = 1 << RV_MSI;
        riscv_set_irq(m.cpu, RV_MSI, true);
        ask(&m, &(struct vcpu_debug){ .step = true, .hold_interrupts = true });
        stops(&m, VCPU_STEPPED, CODE + 4);
        stops(&m, VCPU_STEPPED, CODE + 8);
        ask(&m, &(struct vcpu_debug){ .step = true });
        stops(&m, VCPU_STEPPED, RAM + 0x1000);
        assert_int_equal(m.r->mepc, CODE + 8);
        vm_free(m.vm);
    }
}

/* Stores, a load, an atomic: whatever the form, what is written is there and the pc is behind. */
static const uint32_t rv_accesses[] = {
    0x0055b023, /* +0:  sd t0, 0(a1) */
    0x0055b423, /* +4:  sd t0, 8(a1) */
    0x00b58223, /* +8:  sb a1, 4(a1) */
    0x0045a503, /* +12: lw a0, 4(a1) */
    0x00c5b52f, /* +16: amoadd.d a0, a2, (a1) */
    0x0085b503, /* +20: ld a0, 8(a1) */
    0xfe55bc23, /* +24: sd t0, -8(a1) */
    0x0055d023, /* filler, not reached: */
};

static void written_data_stops_behind_the_access(void **unused)
{
    const struct vcpu_debug two = {
        .n = 2, .points = { { POINT_WRITE, 4, DATA + 4 }, { POINT_EXECUTE, 4, CODE + 24 } }
    };
    ON_EACH_BACKEND
    {
        struct machine m;
        rv_start(&m, backends[b], rv_accesses, 7);
        assert_int_equal(go(&m), EXIT_HALTED); /* its page is in the TLB */
        m.r->pc = CODE;
        ask(&m, &two);
        stops(&m, 0, CODE + 4);
        stops(&m, 0, CODE + 12);
        uint8_t byte;
        assert_true(mem_read(m.vm, DATA + 4, &byte, 1));
        assert_int_equal(byte, (uint8_t)DATA);
        stops(&m, 0, CODE + 20);
        stops(&m, 1, CODE + 24);
        assert_int_equal(go(&m), EXIT_HALTED);
        vm_free(m.vm);
    }
}

static void read_data_stops_too(void **unused)
{
    const struct vcpu_debug one = { .n = 1, .points = { { POINT_ACCESS, 8, DATA } } };
    ON_EACH_BACKEND
    {
        struct machine m;
        rv_start(&m, backends[b], rv_accesses, 7);
        ask(&m, &one);
        stops(&m, 0, CODE + 4);
        stops(&m, 0, CODE + 12);
        stops(&m, 0, CODE + 16);
        stops(&m, 0, CODE + 20);
        assert_int_equal(go(&m), EXIT_HALTED);
        vm_free(m.vm);
    }
}

static void a_watch_before_the_access_stops_once(void **unused)
{
    const struct vcpu_debug one = { .before = true,
                                    .n = 1,
                                    .points = { { POINT_ACCESS, 8, DATA } } };
    struct vcpu_debug step = one;
    step.step = true;
    ON_EACH_BACKEND
    {
        struct machine m;
        uint64_t v = 1;
        rv_start(&m, backends[b], rv_accesses, 7);
        m.r->x[T0] = 77;
        ask(&m, &one);
        stops(&m, 0, CODE);
        assert_true(mem_read(m.vm, DATA, &v, 8));
        assert_int_equal(v, 0);
        stops(&m, 0, CODE + 8);
        assert_true(mem_read(m.vm, DATA, &v, 8));
        assert_int_equal(v, 77);
        ask(&m, &step);
        stops(&m, VCPU_STEPPED, CODE + 12); /* the one it stands at */
        stops(&m, 0, CODE + 12);
        stops(&m, VCPU_STEPPED, CODE + 16);
        ask(&m, &one);
        stops(&m, 0, CODE + 16);
        assert_int_equal(go(&m), EXIT_HALTED);
        vm_free(m.vm);
    }
}

/* mov ecx, 10; mov edi, 0x9000; mov al, 1; rep stosb; inc eax; jmp . */
static const uint8_t x86_fill[] = { 0xb9, 10,   0,    0,    0,    0xbf, 0,    0x90, 0,
                                    0,    0xb0, 0x01, 0xf3, 0xaa, 0x40, 0xeb, 0xfe };

static void a_repeated_instruction_is_stepped_turn_by_turn(void **unused)
{
    ON_EACH_BACKEND
    {
        struct machine m;
        x86_start(&m, backends[b], x86_fill, sizeof(x86_fill), true);
        ask(&m, &(struct vcpu_debug){ .step = true });
        stops(&m, VCPU_STEPPED, 0x8005);
        stops(&m, VCPU_STEPPED, 0x800a);
        stops(&m, VCPU_STEPPED, 0x800c);
        for (unsigned i = 9; i > 0; i--) {
            stops(&m, VCPU_STEPPED, 0x800c);
            assert_int_equal(m.x->gpr[X86_RCX], i);
        }
        stops(&m, VCPU_STEPPED, 0x800e);
        assert_int_equal(m.x->gpr[X86_RDI], 0x900a);
        stops(&m, VCPU_STEPPED, 0x800f);
        vm_free(m.vm);
    }
}

static void a_watch_stops_inside_a_repeated_instruction(void **unused)
{
    ON_EACH_BACKEND
    {
        struct machine m;
        x86_start(&m, backends[b], x86_fill, sizeof(x86_fill), true);
        ask(&m, &(struct vcpu_debug){ .n = 1, .points = { { POINT_WRITE, 2, 0x9004 } } });
        stops(&m, 0, 0x800c);
        assert_int_equal(m.x->gpr[X86_RDI], 0x9005);
        stops(&m, 0, 0x800c);
        assert_int_equal(m.x->gpr[X86_RDI], 0x9006);
        ask(&m, &(struct vcpu_debug){ .n = 1, .points = { { POINT_EXECUTE, 1, 0x800f } } });
        stops(&m, 0, 0x800f);
        assert_int_equal(m.x->gpr[X86_RDI], 0x900a);
        vm_free(m.vm);
    }
}

/* xor ax, ax; mov ds, ax; mov sp, 0x7000; push ax; pusha; popa; pop bx; sti; nop; jmp . */
static const uint8_t x86_real[] = { 0x31, 0xc0, 0x8e, 0xd8, 0xbc, 0x00, 0x70, 0x50,
                                    0x60, 0x61, 0x5b, 0xfb, 0x90, 0xeb, 0xfe };

static void real_mode_has_linear_points(void **unused)
{
    const struct vcpu_debug two = {
        .n = 2, .points = { { POINT_EXECUTE, 1, 0x8008 }, { POINT_ACCESS, 2, 0x6ffe } }
    };
    ON_EACH_BACKEND
    {
        struct machine m;
        x86_start(&m, backends[b], x86_real, sizeof(x86_real), false);
        ask(&m, &two);
        stops(&m, 1, 0x8008); /* push ax */
        assert_int_equal(m.x->rip, 8);
        stops(&m, 0, 0x8008);
        stops(&m, 1, 0x800b); /* pop bx */
        vm_free(m.vm);
    }
}

/* Watched bytes that helpers write: pusha is one. It is done once, and stops right behind. */
static void what_a_helper_writes_is_seen_where_it_happens(void **unused)
{
    ON_EACH_BACKEND
    {
        struct machine m;
        x86_start(&m, backends[b], x86_real, sizeof(x86_real), false);
        m.x->gpr[X86_RDI] = 0x1234;
        ask(&m, &(struct vcpu_debug){ .n = 1, .points = { { POINT_WRITE, 2, 0x6fee } } });
        stops(&m, 0, 0x8009);
        assert_int_equal(m.x->gpr[X86_RSP] & 0xffff, 0x6fee);
        uint16_t di;
        assert_true(mem_read(m.vm, 0x6fee, &di, 2));
        assert_int_equal(di, 0x1234);
        vm_free(m.vm);
    }
}

struct page {
    char text[1 << 16];
    size_t n;
};

static void keep_line(void *opaque, const char *line)
{
    struct page *p = opaque;
    p->n += (size_t)snprintf(p->text + p->n, sizeof(p->text) - p->n, "%s\n", line);
    assert_true(p->n < sizeof(p->text));
}

static void units_are_shown_with_their_ir(void **unused)
{
    ON_EACH_BACKEND
    {
        struct machine m;
        struct page *p = calloc(1, sizeof(*p));
        rv_start(&m, backends[b], rv_sum, ARRAY_LEN(rv_sum));
        tcg_explain(m.cpu, CODE, keep_line, p);
        assert_non_null(strstr(p->text, "0x80004000 is not translated now"));
        assert_int_equal(go(&m), EXIT_HALTED);
        p->n = 0;
        tcg_explain(m.cpu, CODE, keep_line, p);
        assert_non_null(strstr(p->text, "unit at 0x80004000, tier 1: 7 instructions"));
        assert_non_null(strstr(p->text, "80004008: "));
        assert_non_null(strstr(p->text, "= add.i64"));
        p->n = 0;
        tcg_explain(m.cpu, 0x1000, keep_line, p);
        assert_string_equal(p->text, "there is no code at 0x1000\n");
        free(p);
        vm_free(m.vm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_breakpoint_stops_inside_a_loop_each_time),
        cmocka_unit_test(one_set_anew_at_another_place_is_met),
        cmocka_unit_test(each_step_is_one_instruction),
        cmocka_unit_test(a_step_over_a_range_ends_outside),
        cmocka_unit_test(a_step_into_an_exception_ends_at_its_handler),
        cmocka_unit_test(steps_hold_interrupts_where_that_is_wanted),
        cmocka_unit_test(written_data_stops_behind_the_access),
        cmocka_unit_test(read_data_stops_too),
        cmocka_unit_test(a_watch_before_the_access_stops_once),
        cmocka_unit_test(a_repeated_instruction_is_stepped_turn_by_turn),
        cmocka_unit_test(a_watch_stops_inside_a_repeated_instruction),
        cmocka_unit_test(real_mode_has_linear_points),
        cmocka_unit_test(what_a_helper_writes_is_seen_where_it_happens),
        cmocka_unit_test(units_are_shown_with_their_ir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
