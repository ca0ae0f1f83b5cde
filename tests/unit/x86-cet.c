/* Shadow stacks, ENDBR, XSAVES and where a code segment ends, by code on every back end. */
#include "core/accel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/util.h"
#include "core/vm.h"
#include "target/x86_64/insns.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"
#include "tcg/tcg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum {
    CODE = 0x10000,
    DATA = 0x18000,
    STACK = 0x19000,
    STACK0 = 0x1a000,
    HANDLERS = 0x1b000,
    GDT = 0x1c000,
    TSS = 0x1c800,
    IDT = 0x1d000,
    IST_TABLE = 0x1e000,
    SHADOW = 0x20000, /* a supervisor's shadow stack, and a user's */
    USER_SHADOW = 0x21000,
    TABLES = 0x30000,
    STEP = 16, /* between handlers */
};
enum { U_CET = 0x6a0, S_CET = 0x6a2 };

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

static void poke(struct machine *m, uint64_t at, unsigned size, uint64_t v)
{
    uint8_t bytes[8];
    store_le(bytes, size, v);
    assert_true(mem_write(m->vm, at, bytes, size));
}

static uint64_t peek(struct machine *m, uint64_t at)
{
    uint8_t bytes[8];
    assert_true(mem_read(m->vm, at, bytes, 8));
    return load_le(bytes, 8);
}

/* The first 2 MiB by pages that everybody may write, but for the shadow stacks; IDT, GDT, TSS. */
static void make_tables(struct machine *m)
{
    enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40 };
    poke(m, TABLES, 8, (TABLES + 0x1000) | P | W | U);
    poke(m, TABLES + 0x1000, 8, (TABLES + 0x2000) | P | W | U);
    poke(m, TABLES + 0x2000, 8, (TABLES + 0x3000) | P | W | U);
    for (unsigned i = 0; i < 256; i++)
        poke(m, TABLES + 0x3000 + 8 * i, 8, i * 4096 | P | W | U);
    poke(m, TABLES + 0x3000 + 8 * (SHADOW >> 12), 8, SHADOW | P | A | D);
    poke(m, TABLES + 0x3000 + 8 * (USER_SHADOW >> 12), 8, USER_SHADOW | P | U | A | D);
    poke(m, GDT + 0x10, 8, 0x00af9b000000ffff); /* code of ring 0, and its data */
    poke(m, GDT + 0x18, 8, 0x00cf93000000ffff);
    poke(m, GDT + 0x30, 8, 0x00affb000000ffff); /* code and data of ring 3 */
    poke(m, GDT + 0x38, 8, 0x00cff3000000ffff);
    poke(m, TSS + 4, 8, STACK0);
    poke(m, TSS + 0x24, 8, STACK0);
    for (unsigned v = 0; v < 32; v++) {
        uint64_t to = HANDLERS + STEP * v;
        poke(m, IDT + 16 * v, 8,
             (to & 0xffff) | 0x10 << 16 | (uint64_t)0xee00 << 32 | (to >> 16) << 48);
        poke(m, IDT + 16 * v + 8, 8, 0);
        poke(m, to, 1, 0xf4);
    }
}

static struct machine machine_new(const struct backend *backend)
{
    struct machine m;
    struct mem_region *ram;
    char options[64];
    snprintf(options, sizeof(options), "backend=%s", backend->name);
    must(vm_new(&m.vm));
    m.vm->accel = &tcg_accel;
    m.vm->target = &x86_64_target;
    must(x86_64_target.cpu_model(m.vm, "max"));
    must(tcg_accel.vm_create(m.vm, options));
    must(mem_add_ram(m.vm, "ram", 1 * MIB, false, &ram));
    mem_map(ram, 0, 0);
    must(vcpu_new(m.vm, 0, &m.cpu));
    m.x = x86_of(m.cpu);
    return m;
}

/* 64-bit code of ring `cpl` with CR4.CET; the shadow stack begins with a supervisor's token. */
static void prepare(struct machine *m, unsigned cpl)
{
    struct x86_cpu *x = m->x;
    x86_64_target.vcpu_reset(m->cpu);
    make_tables(m);
    x86_place_flat(m->cpu, CODE, TABLES);
    x->run_state = X86_RUNNABLE;
    x->cr0 |= X86_CR0_WP;
    x->cr4 |= X86_CR4_CET | X86_CR4_OSXSAVE | X86_CR4_OSFXSR;
    x->efer |= X86_EFER_SCE | X86_EFER_NXE;
    x->gdt = (struct x86_table){ GDT, 0x3f };
    x->idt = (struct x86_table){ IDT, 16 * 32 - 1 };
    x->tr.base = TSS;
    x->tr.limit = 0x67;
    x->gpr[X86_RSP] = STACK;
    x->star = (uint64_t)0x10 << 32 | (uint64_t)0x23 << 48;
    x->xss = X86_XSAVE_CET_U | X86_XSAVE_CET_S;
    x->ssp = (cpl ? USER_SHADOW : SHADOW) + 0x800;
    poke(m, SHADOW + 0xff8, 8, SHADOW + 0xff8);
    x->pl0_ssp = SHADOW + 0xff8;
    if (cpl) {
        x->seg[X86_CS] = (struct x86_segment){ 0, UINT32_MAX, 0xa0fb, 0x33 };
        x->seg[X86_SS] = (struct x86_segment){ 0, UINT32_MAX, 0xc0f3, 0x3b };
    }
}

static void run(struct machine *m, const uint8_t *code, size_t n)
{
    assert_true(mem_write(m->vm, CODE, code, n));
    m->x->run_state = X86_RUNNABLE;
    x86_64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
    enum vcpu_exit exit = EXIT_KICKED;
    for (unsigned turns = 0; turns < 4 && exit == EXIT_KICKED; turns++)
        exit = tcg_accel.run(m->cpu);
    tcg_accel.get_state(m->cpu);
    assert_int_equal(exit, EXIT_HALTED);
}

/* The exception that ended it, and its error code and address; -1: none did. */
static int vector_of(const struct machine *m)
{
    uint64_t at = m->x->rip - 1;
    return at >= HANDLERS && at < HANDLERS + 32 * STEP ? (int)((at - HANDLERS) / STEP) : -1;
}
static void assert_fault(struct machine *m, int vector, uint64_t error, uint64_t at)
{
    assert_int_equal(vector_of(m), vector);
    assert_int_equal(peek(m, m->x->gpr[X86_RSP]), error);
    assert_int_equal(peek(m, m->x->gpr[X86_RSP] + 8), at);
}

#define RUN(m, ...) \
    run(m, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
#define ON_EACH(m, cpl)                                                                            \
    for (size_t b_ = 0; b_ < n_backends; b_++)                                                     \
        for (struct machine m = machine_new(backends[b_]), *once_ = (prepare(&m, cpl), &m); once_; \
             vm_free(m.vm), once_ = NULL)

/* ---- near calls and returns ------------------------------------------------------------------------- */

static void a_call_is_written_down_and_a_return_compared(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        RUN(&m, 0xe8, 3, 0, 0, 0,                /* call f */
            0xb3, 7, 0xf4,                       /* mov $7, %bl; hlt */
            0xf3, 0x48, 0x0f, 0x1e, 0xc8, 0xc3); /* f: rdsspq %rax; ret */
        assert_int_equal(vector_of(&m), -1);
        assert_int_equal(m.x->gpr[X86_RAX], SHADOW + 0x7f8);
        assert_int_equal(peek(&m, SHADOW + 0x7f8), CODE + 5);
        assert_int_equal(m.x->gpr[X86_RBX] & 0xff, 7);
        assert_int_equal(m.x->ssp, SHADOW + 0x800);
    }
}

static void a_smashed_return_is_a_control_protection_fault(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        RUN(&m, 0xe8, 1, 0, 0, 0, 0xf4,       /* call f; hlt */
            0x48, 0x83, 0x04, 0x24, 1, 0xc3); /* f: addq $1, (%rsp); ret */
        assert_fault(&m, X86_CP, X86_CP_RET, CODE + 11);
        assert_int_equal(peek(&m, m.x->gpr[X86_RSP] + 32), STACK - 8);
        assert_int_equal(peek(&m, m.x->ssp + 8), CODE + 11);
        assert_int_equal(peek(&m, m.x->ssp), SHADOW + 0x7f8);
    }
}

static void a_call_of_the_next_instruction_is_none(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        RUN(&m, 0xe8, 0, 0, 0, 0, 0x58, 0xf4); /* call 1f; 1: pop %rax; hlt */
        assert_int_equal(m.x->gpr[X86_RAX], CODE + 5);
        assert_int_equal(m.x->ssp, SHADOW + 0x800);
    }
}

static void only_shadow_stack_accesses_reach_its_pages(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        m.x->gpr[X86_RBX] = SHADOW;
        RUN(&m, 0x8b, 0x03, 0x89, 0x03); /* mov (%rbx), %eax; mov %eax, (%rbx) */
        assert_fault(&m, X86_PF, 3, CODE + 2);
        prepare(&m, 3);
        m.x->u_cet = X86_CET_SHADOW;
        m.x->ssp = DATA; /* writable: no shadow stack */
        RUN(&m, 0xe8, 0, 1, 0, 0);
        assert_fault(&m, X86_PF, 0x47, CODE);
        prepare(&m, 0);
        m.x->s_cet = 0;
        m.x->u_cet = X86_CET_SHADOW;
        m.x->gpr[X86_RBX] = USER_SHADOW;
        RUN(&m, 0x66, 0x48, 0x0f, 0x38, 0xf5, 0x03, /* wrussq %rax, (%rbx) */
            0x48, 0x81, 0xeb, 0, 0x10, 0, 0,        /* sub $0x1000, %rbx */
            0x66, 0x48, 0x0f, 0x38, 0xf5, 0x03);
        assert_fault(&m, X86_PF, 0x47, CODE + 13); /* a supervisor's page */
    }
}

static void without_cet_these_are_nops(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->gpr[X86_RAX] = 5;
        RUN(&m, 0xf3, 0x48, 0x0f, 0x1e, 0xc8, 0xf3, 0x0f, 0x1e, 0xfa, /* rdsspq %rax; endbr64 */
            0xf3, 0x0f, 0xae, 0xe8);                                  /* incsspd %eax */
        assert_int_equal(vector_of(&m), X86_UD);
        assert_int_equal(m.x->gpr[X86_RAX], 5);
        assert_int_equal(peek(&m, m.x->gpr[X86_RSP]), CODE + 9);
    }
}

/* ---- its own instructions ------------------------------------------------------------------------------ */

static void stacks_are_changed_by_tokens(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW | X86_CET_WRSS;
        m.x->gpr[X86_RBX] = SHADOW + 0x3f8;
        m.x->gpr[X86_RAX] = (SHADOW + 0x400) | 1;
        RUN(&m, 0x48, 0x0f, 0x38, 0xf6, 0x03, /* wrssq %rax, (%rbx): a restore token */
            0xf3, 0x0f, 0x01, 0x2b,           /* rstorssp (%rbx) */
            0xf3, 0x48, 0x0f, 0x1e, 0xc9,     /* rdsspq %rcx */
            0xf3, 0x0f, 0x01, 0xea,           /* saveprevssp */
            0xb8, 1, 0, 0, 0, 0xf3, 0x48, 0x0f, 0xae, 0xe8, /* mov $1, %eax; incsspq %rax */
            0xf4);
        assert_int_equal(vector_of(&m), -1);
        assert_int_equal(m.x->gpr[X86_RCX], SHADOW + 0x3f8);
        assert_int_equal(peek(&m, SHADOW + 0x3f8), (SHADOW + 0x800) | 3);
        assert_int_equal(peek(&m, SHADOW + 0x7f8), (SHADOW + 0x800) | 1);
        assert_int_equal(m.x->ssp, SHADOW + 0x408);
    }
}

static void a_wrong_token_is_refused(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW | X86_CET_WRSS;
        poke(&m, SHADOW + 0x3f8, 8, SHADOW + 0x401 + 8);
        m.x->gpr[X86_RBX] = SHADOW + 0x3f8;
        RUN(&m, 0xf3, 0x0f, 0x01, 0x2b);
        assert_fault(&m, X86_CP, X86_CP_RSTORSSP, CODE);
        prepare(&m, 0);
        m.x->s_cet = X86_CET_SHADOW;
        m.x->pl0_ssp = SHADOW + 0x3f8;
        poke(&m, SHADOW + 0x3f8, 8, (SHADOW + 0x3f8) | 1);
        RUN(&m, 0xf3, 0x0f, 0x01, 0xe8); /* setssbsy: it is busy */
        assert_fault(&m, X86_CP, X86_CP_SETSSBSY, CODE);
        prepare(&m, 0);
        m.x->s_cet = X86_CET_SHADOW; /* and no WRSS */
        RUN(&m, 0x48, 0x0f, 0x38, 0xf6, 0x03);
        assert_int_equal(vector_of(&m), X86_UD);
    }
}

static void supervisors_take_and_leave_their_token(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        m.x->gpr[X86_RBX] = SHADOW + 0xff8;
        RUN(&m, 0xf3, 0x0f, 0x01, 0xe8,    /* setssbsy */
            0xf3, 0x48, 0x0f, 0x1e, 0xc8,  /* rdsspq %rax */
            0x48, 0x8b, 0x13,              /* mov (%rbx), %rdx */
            0xf3, 0x0f, 0xae, 0x33, 0xf4); /* clrssbsy (%rbx); hlt */
        assert_int_equal(vector_of(&m), -1);
        assert_int_equal(m.x->gpr[X86_RAX], SHADOW + 0xff8);
        assert_int_equal(m.x->gpr[X86_RDX], (SHADOW + 0xff8) | 1);
        assert_int_equal(peek(&m, SHADOW + 0xff8), SHADOW + 0xff8);
        assert_int_equal(m.x->ssp, 0);
        assert_false(m.x->rflags & X86_FLAG_CF);
    }
}

/* ---- rings ------------------------------------------------------------------------------------------------ */

static void an_exception_changes_to_the_supervisor_s_stack(void **unused)
{
    ON_EACH(m, 3)
    {
        m.x->u_cet = m.x->s_cet = X86_CET_SHADOW;
        RUN(&m, 0xe8, 0, 1, 0, 0); /* call what is not there: zeros, add %al, (%rax) at 0 */
        assert_int_equal(m.x->pl3_ssp, USER_SHADOW + 0x7f8);
        assert_int_equal(m.x->ssp, SHADOW + 0xff8);
        assert_int_equal(peek(&m, SHADOW + 0xff8), (SHADOW + 0xff8) | 1);
    }
}

static void iret_gives_both_stacks_back(void **unused)
{
    ON_EACH(m, 3)
    {
        m.x->u_cet = m.x->s_cet = X86_CET_SHADOW;
        poke(&m, HANDLERS + STEP * X86_BP, 2, 0xcf48);     /* iretq */
        RUN(&m, 0xcc, 0xf3, 0x48, 0x0f, 0x1e, 0xc8, 0xf4); /* int3; rdsspq %rax; hlt: #GP */
        assert_int_equal(vector_of(&m), X86_GP);
        assert_int_equal(m.x->gpr[X86_RAX], USER_SHADOW + 0x800);
        assert_int_equal(peek(&m, SHADOW + 0xff8), (SHADOW + 0xff8) | 1); /* by the #GP again */
    }
}

static void an_interrupt_of_the_same_ring_leaves_a_frame(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        m.x->ssp = SHADOW + 0x804;
        poke(&m, HANDLERS + STEP * X86_BP, 8, 0xcf48c81e0f48f3); /* rdsspq %rax; iretq */
        RUN(&m, 0xcc, 0xf4);
        assert_int_equal(vector_of(&m), -1);
        assert_int_equal(m.x->gpr[X86_RAX], SHADOW + 0x7e8);
        assert_int_equal(peek(&m, SHADOW + 0x7e8), SHADOW + 0x804);
        assert_int_equal(peek(&m, SHADOW + 0x7f0), CODE + 1);
        assert_int_equal(peek(&m, SHADOW + 0x7f8), 0x10);
        assert_int_equal(m.x->ssp, SHADOW + 0x804);
    }
}

static void an_ist_has_a_shadow_stack_of_its_own(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        m.x->int_ssp_table = IST_TABLE;
        poke(&m, IST_TABLE + 8, 8, SHADOW + 0x3f8);
        poke(&m, SHADOW + 0x3f8, 8, SHADOW + 0x3f8);
        poke(&m, IDT + 16 * X86_BP + 4, 1, 1);
        poke(&m, HANDLERS + STEP * X86_BP, 8, 0xcf48c81e0f48f3);
        RUN(&m, 0xcc, 0xf4);
        assert_int_equal(vector_of(&m), -1);
        assert_int_equal(m.x->gpr[X86_RAX], SHADOW + 0x3f8 - 24);
        assert_int_equal(m.x->ssp, SHADOW + 0x800);
        assert_int_equal(peek(&m, SHADOW + 0x3f8), SHADOW + 0x3f8); /* not busy any more */
        prepare(&m, 0);
        m.x->s_cet = X86_CET_SHADOW;
        poke(&m, HANDLERS + STEP * X86_BP, 8, 0xcf482404ff48); /* incq (%rsp); iretq */
        RUN(&m, 0xcc, 0xf4);
        assert_fault(&m, X86_CP, X86_CP_FAR_RET, HANDLERS + STEP * X86_BP + 4);
    }
}

static void syscall_leaves_no_shadow_stack_and_sysret_brings_it_back(void **unused)
{
    ON_EACH(m, 3)
    {
        m.x->u_cet = m.x->s_cet = X86_CET_SHADOW;
        m.x->lstar = HANDLERS + 0x800;
        poke(&m, HANDLERS + 0x800, 8, 0x070f48c81e0f48f3);       /* rdsspq %rax; sysretq */
        RUN(&m, 0x0f, 0x05, 0xf3, 0x48, 0x0f, 0x1e, 0xcb, 0xf4); /* syscall; rdsspq %rbx; hlt */
        assert_int_equal(vector_of(&m), X86_GP);
        assert_int_equal(m.x->gpr[X86_RAX], 0);
        assert_int_equal(m.x->gpr[X86_RBX], USER_SHADOW + 0x800);
    }
}

static void a_far_call_leaves_three_words(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        poke(&m, DATA, 8, CODE + 0x100);
        poke(&m, DATA + 8, 2, 0x10);
        poke(&m, CODE + 0x100, 2, 0xcb48); /* retfq */
        m.x->gpr[X86_RBX] = DATA;
        RUN(&m, 0x48, 0xff, 0x1b, 0xf4); /* lcallq *(%rbx); hlt */
        assert_int_equal(vector_of(&m), -1);
        assert_int_equal(peek(&m, SHADOW + 0x7e8), SHADOW + 0x800);
        assert_int_equal(peek(&m, SHADOW + 0x7f0), CODE + 3);
        assert_int_equal(m.x->ssp, SHADOW + 0x800);
    }
}

/* ---- tracking ---------------------------------------------------------------------------------------------- */

static void an_indirect_branch_must_reach_endbr(void **unused)
{
    static const uint8_t jumps[][3] = { { 0xff, 0xe3, 0x90 }, { 0xff, 0xd3, 0x90 } };
    for (unsigned i = 0; i < 2; i++) {
        ON_EACH(m, 0)
        {
            m.x->s_cet = X86_CET_ENDBR;
            poke(&m, HANDLERS + STEP * X86_CP, 8, 0xf4fa1e0ff3);
            m.x->gpr[X86_RBX] = CODE + 0x100;
            poke(&m, CODE + 0x100, 8, 0xf4fa1e0ff3);
            RUN(&m, jumps[i][0], jumps[i][1], 0x90);
            assert_int_equal(m.x->rip, CODE + 0x105);
            prepare(&m, 0);
            m.x->s_cet = X86_CET_ENDBR;
            poke(&m, HANDLERS + STEP * X86_CP, 8, 0xf4fa1e0ff3);
            m.x->gpr[X86_RBX] = CODE + 0x100;
            poke(&m, CODE + 0x100, 2, 0xf490);
            RUN(&m, jumps[i][0], jumps[i][1], 0x90);
            assert_int_equal(m.x->rip, HANDLERS + STEP * X86_CP + 5);
            assert_int_equal(peek(&m, m.x->gpr[X86_RSP]), X86_CP_ENDBRANCH);
            assert_int_equal(peek(&m, m.x->gpr[X86_RSP] + 8), CODE + 0x100);
        }
    }
}

static void notrack_needs_permission(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_ENDBR | X86_CET_NO_TRACK;
        m.x->gpr[X86_RBX] = CODE + 0x100;
        poke(&m, CODE + 0x100, 2, 0xf490);
        RUN(&m, 0x3e, 0xff, 0xe3);
        assert_int_equal(m.x->rip, CODE + 0x102);
        prepare(&m, 0);
        m.x->s_cet = X86_CET_ENDBR;
        poke(&m, HANDLERS + STEP * X86_CP, 8, 0xf4fa1e0ff3);
        m.x->gpr[X86_RBX] = CODE + 0x100;
        poke(&m, CODE + 0x100, 2, 0xf490);
        RUN(&m, 0x3e, 0xff, 0xe3);
        assert_int_equal(m.x->rip, HANDLERS + STEP * X86_CP + 5);
    }
}

static void a_user_s_tracker_waits_while_the_kernel_runs(void **unused)
{
    ON_EACH(m, 3)
    {
        m.x->u_cet = X86_CET_ENDBR;
        m.x->gpr[X86_RBX] = CODE + 0x100;
        poke(&m, CODE + 0x100, 1, 0xf4);
        RUN(&m, 0xff, 0xe3);
        assert_fault(&m, X86_CP, X86_CP_ENDBRANCH, CODE + 0x100);
        assert_int_equal(m.x->u_cet, X86_CET_ENDBR | X86_CET_WAIT);
    }
}

static void old_code_is_known_by_a_bitmap(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->s_cet = X86_CET_ENDBR | X86_CET_LEGACY | DATA;
        m.x->gpr[X86_RBX] = CODE + 0x100;
        poke(&m, DATA + (CODE >> 15), 1, 1 << (CODE >> 12 & 7));
        poke(&m, CODE + 0x100, 2, 0xf490);
        RUN(&m, 0xff, 0xe3);
        assert_int_equal(m.x->rip, CODE + 0x102);
        assert_int_equal(m.x->s_cet, X86_CET_ENDBR | X86_CET_LEGACY | X86_CET_SUPPRESS | DATA);
    }
}

/* ---- registers, XSAVES ----------------------------------------------------------------------------------------- */

static int write_msr(struct machine *m, uint32_t index, uint64_t v)
{
    prepare(m, 0);
    m->x->gpr[X86_RCX] = index;
    m->x->gpr[X86_RAX] = (uint32_t)v;
    m->x->gpr[X86_RDX] = v >> 32;
    RUN(m, 0x0f, 0x30, 0xf4);
    return vector_of(m);
}

static void registers_have_reserved_bits(void **unused)
{
    ON_EACH(m, 0)
    {
        assert_int_equal(write_msr(&m, U_CET, 0x3f), -1);
        assert_int_equal(write_msr(&m, U_CET, 0x40), X86_GP);
        assert_int_equal(write_msr(&m, S_CET, 0xc00), X86_GP);
        assert_int_equal(write_msr(&m, S_CET, (uint64_t)1 << 50), X86_GP);
        assert_int_equal(write_msr(&m, 0x6a4, 0x1001), X86_GP);
        assert_int_equal(write_msr(&m, 0x6a7, 0x1004), -1);
        assert_int_equal(write_msr(&m, 0x6a1, 0), X86_GP);
        assert_int_equal(write_msr(&m, 0xda0, 0x1800), -1);
        assert_int_equal(write_msr(&m, 0xda0, 0x800 | 1), X86_GP);
        prepare(&m, 0);
        m.x->gpr[X86_RAX] = m.x->cr0 & ~X86_CR0_WP;
        RUN(&m, 0x0f, 0x22, 0xc0); /* CR4.CET keeps CR0.WP */
        assert_int_equal(vector_of(&m), X86_GP);
    }
}

#define XSAVES  0x48, 0x0f, 0xc7, 0x2b /* (%rbx) */
#define XRSTORS 0x48, 0x0f, 0xc7, 0x1b

static void supervisor_components_are_saved_compactly(void **unused)
{
    ON_EACH(m, 0)
    {
        m.x->xcr0 = X86_XSAVE_X87 | X86_XSAVE_SSE | X86_XSAVE_AVX | X86_XSAVE_PKRU;
        m.x->u_cet = X86_CET_SHADOW;
        m.x->pl3_ssp = 0x123450;
        m.x->pkru = 0xc;
        m.x->gpr[X86_RBX] = DATA;
        m.x->gpr[X86_RAX] = 0x1a00;
        RUN(&m, XSAVES, 0xf4);
        assert_int_equal(vector_of(&m), -1);
        assert_int_equal(peek(&m, DATA + 512), 0x1a00);
        assert_int_equal(peek(&m, DATA + 520), (uint64_t)1 << 63 | 0x1a00);
        assert_int_equal(peek(&m, DATA + 576), 0xc);
        assert_int_equal(peek(&m, DATA + 584), X86_CET_SHADOW);
        assert_int_equal(peek(&m, DATA + 592), 0x123450);
        assert_int_equal(peek(&m, DATA + 600), SHADOW + 0xff8);
        m.x->u_cet = m.x->pl3_ssp = m.x->pkru = m.x->pl0_ssp = 0;
        m.x->rip = CODE;
        RUN(&m, XRSTORS, 0xf4);
        assert_int_equal(vector_of(&m), -1);
        assert_int_equal(m.x->u_cet, X86_CET_SHADOW);
        assert_int_equal(m.x->pl3_ssp, 0x123450);
        assert_int_equal(m.x->pl0_ssp, SHADOW + 0xff8);
        assert_int_equal(m.x->pkru, 0xc);
        poke(&m, DATA + 592, 8, 0x123451);
        m.x->rip = CODE;
        RUN(&m, XRSTORS, 0xf4);
        assert_int_equal(vector_of(&m), X86_GP);
        assert_int_equal(m.x->pl3_ssp, 0x123450);
    }
}

static void xrstors_wants_the_compact_format_and_ring_0(void **unused)
{
    ON_EACH(m, 3)
    {
        m.x->gpr[X86_RBX] = DATA;
        RUN(&m, XSAVES, 0xf4);
        assert_fault(&m, X86_GP, 0, CODE);
        prepare(&m, 0);
        m.x->gpr[X86_RBX] = DATA + 1024;
        poke(&m, DATA + 1024 + 520, 8, 0);
        RUN(&m, XRSTORS, 0xf4);
        assert_fault(&m, X86_GP, 0, CODE);
        prepare(&m, 0);
        m.x->xss = 0;
        m.x->gpr[X86_RBX] = DATA + 1024;
        poke(&m, DATA + 1024 + 520, 8, (uint64_t)1 << 63 | 0x800);
        RUN(&m, XRSTORS, 0xf4); /* XSS does not have it */
        assert_fault(&m, X86_GP, 0, CODE);
    }
}

/* A page that was read with one PKRU is not read with the next, XRSTOR's. */
static void xrstor_of_pkru_is_heeded(void **unused)
{
    ON_EACH(m, 3)
    {
        poke(&m, TABLES + 0x3000 + 8 * (STACK0 >> 12), 8, STACK0 | 7 | (uint64_t)1 << 59);
        m.x->cr4 |= X86_CR4_PKE;
        m.x->xcr0 = X86_XSAVE_X87 | X86_XSAVE_PKRU;
        m.x->gpr[X86_RAX] = X86_XSAVE_PKRU;
        m.x->gpr[X86_RBX] = DATA;
        m.x->gpr[X86_RSI] = STACK0;
        uint32_t offset, size;
        assert_true(x86_xsave_component(m.x->model, 9, &offset, &size));
        poke(&m, DATA + offset, 8, 1 << 2);
        poke(&m, DATA + 512, 8, X86_XSAVE_PKRU);
        poke(&m, DATA + 520, 8, 0);
        poke(&m, DATA + 528, 8, 0);
        poke(&m, TSS + 4, 8, STACK + 0x800);
        RUN(&m, 0x8b, 0x0e, 0x0f, 0xae, 0x2b, 0x8b, 0x0e); /* mov (%rsi), %ecx; xrstor; mov */
        assert_fault(&m, X86_PF, 0x25, CODE + 5);
    }
}

/* ---- the end of a code segment --------------------------------------------------------------------------------- */

/* Real mode: the IVT's handlers are HLTs at 0x600 + vector. */
static void prepare_real(struct machine *m, uint32_t limit)
{
    struct x86_cpu *x = m->x;
    x86_64_target.vcpu_reset(m->cpu);
    for (unsigned v = 0; v < 32; v++) {
        poke(m, 4 * v, 4, 0x600 + v);
        poke(m, 0x600 + v, 1, 0xf4);
    }
    x->run_state = X86_RUNNABLE;
    x->seg[X86_CS].base = CODE;
    x->seg[X86_CS].selector = CODE >> 4;
    x->seg[X86_CS].limit = limit;
    x->gpr[X86_RSP] = 0x7000;
    x->rip = 0;
}

static void code_ends_with_its_segment(void **unused)
{
    static const uint32_t limits[] = { 0x806, 0xfff, 0x1003, 0xffff };
    static const uint8_t nops[16] = { 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
                                      0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90 };
    for (unsigned i = 0; i < ARRAY_LEN(limits); i++) {
        ON_EACH(m, 0)
        {
            uint32_t limit = limits[i];
            prepare_real(&m, limit);
            for (uint32_t at = 0; at < limit + 16; at += 16)
                assert_true(mem_write(m.vm, CODE + at, nops, 16));
            m.x->rip = limit - 40;
            RUN(&m, 0x90);
            assert_int_equal(m.x->rip, 0x600 + X86_GP + 1);
            assert_int_equal(peek(&m, m.x->gpr[X86_RSP]) & 0xffff, (limit + 1) & 0xffff);
            prepare_real(&m, limit); /* an instruction of which a byte is behind the end */
            poke(&m, CODE + limit, 2, 0x00b0);
            m.x->rip = limit - 40;
            RUN(&m, 0x90);
            assert_int_equal(m.x->rip, 0x600 + X86_GP + 1);
            assert_int_equal(peek(&m, m.x->gpr[X86_RSP]) & 0xffff, limit);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_is_written_down_and_a_return_compared),
        cmocka_unit_test(a_smashed_return_is_a_control_protection_fault),
        cmocka_unit_test(a_call_of_the_next_instruction_is_none),
        cmocka_unit_test(only_shadow_stack_accesses_reach_its_pages),
        cmocka_unit_test(without_cet_these_are_nops),
        cmocka_unit_test(stacks_are_changed_by_tokens),
        cmocka_unit_test(a_wrong_token_is_refused),
        cmocka_unit_test(supervisors_take_and_leave_their_token),
        cmocka_unit_test(an_exception_changes_to_the_supervisor_s_stack),
        cmocka_unit_test(iret_gives_both_stacks_back),
        cmocka_unit_test(an_interrupt_of_the_same_ring_leaves_a_frame),
        cmocka_unit_test(an_ist_has_a_shadow_stack_of_its_own),
        cmocka_unit_test(syscall_leaves_no_shadow_stack_and_sysret_brings_it_back),
        cmocka_unit_test(a_far_call_leaves_three_words),
        cmocka_unit_test(an_indirect_branch_must_reach_endbr),
        cmocka_unit_test(notrack_needs_permission),
        cmocka_unit_test(a_user_s_tracker_waits_while_the_kernel_runs),
        cmocka_unit_test(old_code_is_known_by_a_bitmap),
        cmocka_unit_test(registers_have_reserved_bits),
        cmocka_unit_test(supervisor_components_are_saved_compactly),
        cmocka_unit_test(xrstors_wants_the_compact_format_and_ring_0),
        cmocka_unit_test(xrstor_of_pkru_is_heeded),
        cmocka_unit_test(code_ends_with_its_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
