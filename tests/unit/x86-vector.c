/* What the real CPU does not show to user code: when vector instructions are not available, unmasked exceptions
 * without CR4.OSXMMEXCPT, and MXCSR as others see it. On every back end, in 32-bit mode without paging. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/x86_64/tr.h"
#include "target/x86_64/x87.h"
#include "tcg/tcg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    GDT = 0x500,
    IDT = 0x600,
    HANDLERS = 0x1000, /* HLT each */
    CODE = 0x2000,
    DATA = 0x3000,
    STACK = 0x8000,
    N_VECTORS = 32,
    RAM_SIZE = 1 << 20,
    CODE_SELECTOR = 8,
    NO_FAULT = -1,
};
enum { CR0_EM = 1 << 2, OSXMMEXCPT = 1 << 10 };

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct x86_cpu *x;
};

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static void machine_start(struct machine *m, const struct backend *backend)
{
    static const uint64_t gdt[] = { 0, 0x00cf9b000000ffff, 0x00cf93000000ffff };
    char options[64];
    struct mem_region *ram;
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
    assert_true(mem_write(m->vm, GDT, gdt, sizeof(gdt)));
    for (uint64_t v = 0; v < N_VECTORS; v++) {
        uint64_t gate = (HANDLERS + v) | CODE_SELECTOR << 16 | (uint64_t)0x8e00 << 32;
        uint8_t hlt = 0xf4;
        assert_true(mem_write(m->vm, IDT + 8 * v, &gate, sizeof(gate)));
        assert_true(mem_write(m->vm, HANDLERS + v, &hlt, 1));
    }
    x86_64_target.vcpu_reset(m->cpu);
    x86_place_flat(m->cpu, CODE, 0);
    m->x->gdt = (struct x86_table){ GDT, sizeof(gdt) - 1 };
    m->x->idt = (struct x86_table){ IDT, 8 * N_VECTORS - 1 };
    m->x->seg[X86_CS].selector = CODE_SELECTOR;
    m->x->cr0 |= X86_CR0_NE;
    m->x->cr4 |= X86_CR4_OSFXSR | OSXMMEXCPT | X86_CR4_OSXSAVE;
    m->x->xcr0 = X86_XSAVE_X87 | X86_XSAVE_SSE | X86_XSAVE_AVX;
}

#define ON_EACH_BACKEND(m)                                                      \
    for (size_t b_ = 0; b_ < n_backends && (machine_start(m, backends[b_]), 1); \
         vm_free((m)->vm), b_++)

/* Run code, then HLT; the vector of the exception that ended it, or NO_FAULT. */
static int run(struct machine *m, const uint8_t *code, size_t n)
{
    const uint8_t hlt = 0xf4;
    assert_true(mem_write(m->vm, CODE, code, n));
    assert_true(mem_write(m->vm, CODE + n, &hlt, 1));
    m->x->rip = CODE;
    m->x->gpr[X86_RSP] = STACK;
    m->x->run_state = X86_RUNNABLE;
    x86_64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
    enum vcpu_exit exit = EXIT_KICKED;
    for (unsigned turns = 0; turns < 9 && exit == EXIT_KICKED; turns++)
        exit = tcg_accel.run(m->cpu);
    assert_int_equal(exit, EXIT_HALTED);
    tcg_accel.get_state(m->cpu);
    uint64_t at = m->x->rip - 1;
    return at >= HANDLERS && at < HANDLERS + N_VECTORS ? (int)(at - HANDLERS) : NO_FAULT;
}
#define RUN(m, ...) \
    run(m, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

#define ADDPS   0x0f, 0x58, 0xc1       /* addps %xmm1, %xmm0 */
#define VADDPS  0xc5, 0xf4, 0x58, 0xc0 /* vaddps %ymm0, %ymm1, %ymm0 */
#define PADDB   0x0f, 0xfc, 0xc1       /* paddb %mm1, %mm0 */
#define DIVSS   0xf3, 0x0f, 0x5e, 0xc1 /* divss %xmm1, %xmm0 */
#define LDMXCSR 0x0f, 0xae, 0x15, DATA & 0xff, DATA >> 8, 0, 0
#define STMXCSR 0x0f, 0xae, 0x1d, DATA & 0xff, DATA >> 8, 0, 0

static void put32(struct machine *m, uint64_t at, uint32_t v)
{
    assert_true(mem_write(m->vm, at, &v, sizeof(v)));
}

static void what_is_not_switched_on_does_not_exist(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        assert_int_equal(RUN(&m, ADDPS), NO_FAULT);
        assert_int_equal(RUN(&m, VADDPS), NO_FAULT);
        m.x->cr4 &= ~X86_CR4_OSFXSR;
        assert_int_equal(RUN(&m, ADDPS), X86_UD);
        assert_int_equal(RUN(&m, VADDPS), NO_FAULT);
        assert_int_equal(RUN(&m, PADDB), NO_FAULT);
        m.x->cr4 |= X86_CR4_OSFXSR;
        m.x->cr4 &= ~X86_CR4_OSXSAVE;
        assert_int_equal(RUN(&m, VADDPS), X86_UD);
        assert_int_equal(RUN(&m, ADDPS), NO_FAULT);
        m.x->cr4 |= X86_CR4_OSXSAVE;
        m.x->xcr0 = X86_XSAVE_X87 | X86_XSAVE_SSE;
        assert_int_equal(RUN(&m, VADDPS), X86_UD);
    }
}

static void a_switched_task_saves_vectors_at_their_first_use(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        m.x->cr0 |= X86_CR0_TS;
        assert_int_equal(RUN(&m, ADDPS), X86_NM);
        assert_int_equal(RUN(&m, VADDPS), X86_NM);
        assert_int_equal(RUN(&m, PADDB), X86_NM);
        m.x->cr0 |= CR0_EM;
        assert_int_equal(RUN(&m, ADDPS), X86_UD);
        assert_int_equal(RUN(&m, PADDB), X86_UD);
    }
}

static void reserved_bits_of_mxcsr_fault(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        put32(&m, DATA, 0x10000);
        assert_int_equal(RUN(&m, LDMXCSR), X86_GP);
        assert_int_equal(m.x->mxcsr, 0x1f80);
        put32(&m, DATA, 0xffc0 & ~0x6000);
        assert_int_equal(RUN(&m, LDMXCSR), NO_FAULT);
        assert_int_equal(m.x->mxcsr, 0x9fc0);
    }
}

/* Flags that hardware raised, those that were loaded, and control bits in one register. */
static void flags_collect_in_mxcsr(void **unused)
{
    struct machine m;
    uint32_t stored;
    ON_EACH_BACKEND(&m)
    {
        const float one = 1, zero = 0;
        memcpy(m.x->zmm[0], &one, 4);
        memcpy(m.x->zmm[1], &zero, 4);
        put32(&m, DATA, 0x5f90); /* rounding down was underflow */
        assert_int_equal(RUN(&m, LDMXCSR, DIVSS, STMXCSR), NO_FAULT);
        assert_int_equal(m.x->mxcsr, 0x5f94);
        assert_true(mem_read(m.vm, DATA, &stored, 4));
        assert_int_equal(stored, 0x5f94);
    }
}

static void an_unmasked_exception_leaves_registers_alone(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        const float one = 1, zero = 0;
        float now;
        memcpy(m.x->zmm[0], &one, 4);
        memcpy(m.x->zmm[1], &zero, 4);
        m.x->mxcsr = 0x1f80 & ~0x200; /* ZM */
        assert_int_equal(RUN(&m, DIVSS), X86_XM);
        assert_int_equal(m.x->mxcsr, 0x1d84);
        memcpy(&now, m.x->zmm[0], 4);
        assert_true(now == one);
        m.x->mxcsr = 0x1d80;
        m.x->cr4 &= ~(uint64_t)OSXMMEXCPT;
        assert_int_equal(RUN(&m, DIVSS), X86_UD);
    }
}

static void mmx_stands_in_the_registers_of_the_x87(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        uint64_t v = 0x0102030405060708;
        assert_true(mem_write(m.vm, DATA, &v, 8));
        m.x->fsw = 3 << 11;
        assert_int_equal(RUN(&m, 0x0f, 0x6f, 0x15, DATA & 0xff, DATA >> 8, 0, 0), NO_FAULT);
        assert_int_equal(x87_get_mm(m.x, 2), v); /* movq DATA, %mm2: TOP is 0 */
        assert_int_equal(m.x->fsw & 0x3800, 0);
        assert_int_equal(m.x->ftw, 0xff);
        assert_int_equal(m.x->st[2][8] & m.x->st[2][9], 0xff);
        assert_int_equal(RUN(&m, 0x0f, 0x77), NO_FAULT); /* emms */
        assert_int_equal(m.x->ftw, 0);
    }
}

static void keep_line(void *opaque, const char *line)
{
    char *text = opaque;
    size_t n = strlen(text);
    snprintf(text + n, (1 << 16) - n, "%s\n", line);
}

/* "info tb" knows the slow way of values that take a whole vector register of the host. */
static void the_slow_way_of_a_wide_access_is_shown(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        char *text = calloc(1, 1 << 16);
        m.x->gpr[X86_RAX] = DATA;
        assert_int_equal(RUN(&m, 0xc5, 0xfe, 0x6f, 0x00), NO_FAULT); /* vmovdqu (%eax), %ymm0 */
        tcg_explain(m.cpu, CODE, keep_line, text);
        assert_non_null(strstr(text, "unit at "));
        assert_int_equal(strstr(text, "slow way: load, ") != NULL,
                         !strcmp(backends[b_]->name, "jit"));
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(what_is_not_switched_on_does_not_exist),
        cmocka_unit_test(a_switched_task_saves_vectors_at_their_first_use),
        cmocka_unit_test(reserved_bits_of_mxcsr_fault),
        cmocka_unit_test(flags_collect_in_mxcsr),
        cmocka_unit_test(an_unmasked_exception_leaves_registers_alone),
        cmocka_unit_test(mmx_stands_in_the_registers_of_the_x87),
        cmocka_unit_test(the_slow_way_of_a_wide_access_is_shown),
    };
    return cmocka_run_group_tests(facts, NULL, NULL);
}
