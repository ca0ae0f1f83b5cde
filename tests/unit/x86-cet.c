/* Shadow stacks, ENDBR, XSAVES and where a code segment ends, by code on every back end. */
#include "x86_machine.h"

#include "core/util.h"
#include "target/x86_64/insns.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

enum { U_CET = 0x6a0, S_CET = 0x6a2 };

/* ---- near calls and returns ------------------------------------------------------------------------- */

static void a_call_is_written_down_and_a_return_compared(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        RUN(&m, 0xe8, 3, 0, 0, 0,                /* call f */
            0xb3, 7, 0xf4,                       /* mov $7, %bl; hlt */
            0xf3, 0x48, 0x0f, 0x1e, 0xc8, 0xc3); /* f: rdsspq %rax; ret */
        assert_int_equal(machine_vector(&m), -1);
        assert_int_equal(m.x->gpr[X86_RAX], SHADOW + 0x7f8);
        assert_int_equal(machine_peek(&m, SHADOW + 0x7f8), CODE + 5);
        assert_int_equal(m.x->gpr[X86_RBX] & 0xff, 7);
        assert_int_equal(m.x->ssp, SHADOW + 0x800);
    }
}

static void a_smashed_return_is_a_control_protection_fault(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        RUN(&m, 0xe8, 1, 0, 0, 0, 0xf4,       /* call f; hlt */
            0x48, 0x83, 0x04, 0x24, 1, 0xc3); /* f: addq $1, (%rsp); ret */
        machine_assert_fault(&m, X86_CP, X86_CP_RET, CODE + 11);
        assert_int_equal(machine_peek(&m, m.x->gpr[X86_RSP] + 32), STACK - 8);
        assert_int_equal(machine_peek(&m, m.x->ssp + 8), CODE + 11);
        assert_int_equal(machine_peek(&m, m.x->ssp), SHADOW + 0x7f8);
    }
}

static void a_call_of_the_next_instruction_is_none(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        RUN(&m, 0xe8, 0, 0, 0, 0, 0x58, 0xf4); /* call 1f; 1: pop %rax; hlt */
        assert_int_equal(m.x->gpr[X86_RAX], CODE + 5);
        assert_int_equal(m.x->ssp, SHADOW + 0x800);
    }
}

static void only_shadow_stack_accesses_reach_its_pages(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        m.x->gpr[X86_RBX] = SHADOW;
        RUN(&m, 0x8b, 0x03, 0x89, 0x03); /* mov (%rbx), %eax; mov %eax, (%rbx) */
        machine_assert_fault(&m, X86_PF, 3, CODE + 2);
        machine_prepare(&m, 3);
        m.x->u_cet = X86_CET_SHADOW;
        m.x->ssp = DATA; /* writable: no shadow stack */
        RUN(&m, 0xe8, 0, 1, 0, 0);
        machine_assert_fault(&m, X86_PF, 0x47, CODE);
        machine_prepare(&m, 0);
        m.x->s_cet = 0;
        m.x->u_cet = X86_CET_SHADOW;
        m.x->gpr[X86_RBX] = USER_SHADOW;
        RUN(&m, 0x66, 0x48, 0x0f, 0x38, 0xf5, 0x03, /* wrussq %rax, (%rbx) */
            0x48, 0x81, 0xeb, 0, 0x10, 0, 0,        /* sub $0x1000, %rbx */
            0x66, 0x48, 0x0f, 0x38, 0xf5, 0x03);
        machine_assert_fault(&m, X86_PF, 0x47, CODE + 13); /* a supervisor's page */
    }
}

static void without_cet_these_are_nops(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->gpr[X86_RAX] = 5;
        RUN(&m, 0xf3, 0x48, 0x0f, 0x1e, 0xc8, 0xf3, 0x0f, 0x1e, 0xfa, /* rdsspq %rax; endbr64 */
            0xf3, 0x0f, 0xae, 0xe8);                                  /* incsspd %eax */
        assert_int_equal(machine_vector(&m), X86_UD);
        assert_int_equal(m.x->gpr[X86_RAX], 5);
        assert_int_equal(machine_peek(&m, m.x->gpr[X86_RSP]), CODE + 9);
    }
}

/* ---- its own instructions ------------------------------------------------------------------------------ */

static void stacks_are_changed_by_tokens(void **unused)
{
    ON_EACH(m, "max", 0)
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
        assert_int_equal(machine_vector(&m), -1);
        assert_int_equal(m.x->gpr[X86_RCX], SHADOW + 0x3f8);
        assert_int_equal(machine_peek(&m, SHADOW + 0x3f8), (SHADOW + 0x800) | 3);
        assert_int_equal(machine_peek(&m, SHADOW + 0x7f8), (SHADOW + 0x800) | 1);
        assert_int_equal(m.x->ssp, SHADOW + 0x408);
    }
}

static void a_wrong_token_is_refused(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW | X86_CET_WRSS;
        machine_poke(&m, SHADOW + 0x3f8, 8, SHADOW + 0x401 + 8);
        m.x->gpr[X86_RBX] = SHADOW + 0x3f8;
        RUN(&m, 0xf3, 0x0f, 0x01, 0x2b);
        machine_assert_fault(&m, X86_CP, X86_CP_RSTORSSP, CODE);
        machine_prepare(&m, 0);
        m.x->s_cet = X86_CET_SHADOW;
        m.x->pl0_ssp = SHADOW + 0x3f8;
        machine_poke(&m, SHADOW + 0x3f8, 8, (SHADOW + 0x3f8) | 1);
        RUN(&m, 0xf3, 0x0f, 0x01, 0xe8); /* setssbsy: it is busy */
        machine_assert_fault(&m, X86_CP, X86_CP_SETSSBSY, CODE);
        machine_prepare(&m, 0);
        m.x->s_cet = X86_CET_SHADOW; /* and no WRSS */
        RUN(&m, 0x48, 0x0f, 0x38, 0xf6, 0x03);
        assert_int_equal(machine_vector(&m), X86_UD);
    }
}

static void supervisors_take_and_leave_their_token(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        m.x->gpr[X86_RBX] = SHADOW + 0xff8;
        RUN(&m, 0xf3, 0x0f, 0x01, 0xe8,    /* setssbsy */
            0xf3, 0x48, 0x0f, 0x1e, 0xc8,  /* rdsspq %rax */
            0x48, 0x8b, 0x13,              /* mov (%rbx), %rdx */
            0xf3, 0x0f, 0xae, 0x33, 0xf4); /* clrssbsy (%rbx); hlt */
        assert_int_equal(machine_vector(&m), -1);
        assert_int_equal(m.x->gpr[X86_RAX], SHADOW + 0xff8);
        assert_int_equal(m.x->gpr[X86_RDX], (SHADOW + 0xff8) | 1);
        assert_int_equal(machine_peek(&m, SHADOW + 0xff8), SHADOW + 0xff8);
        assert_int_equal(m.x->ssp, 0);
        assert_false(m.x->rflags & X86_FLAG_CF);
    }
}

/* ---- rings ------------------------------------------------------------------------------------------------ */

static void an_exception_changes_to_the_supervisor_s_stack(void **unused)
{
    ON_EACH(m, "max", 3)
    {
        m.x->u_cet = m.x->s_cet = X86_CET_SHADOW;
        RUN(&m, 0xe8, 0, 1, 0, 0); /* call what is not there: zeros, add %al, (%rax) at 0 */
        assert_int_equal(m.x->pl3_ssp, USER_SHADOW + 0x7f8);
        assert_int_equal(m.x->ssp, SHADOW + 0xff8);
        assert_int_equal(machine_peek(&m, SHADOW + 0xff8), (SHADOW + 0xff8) | 1);
    }
}

static void iret_gives_both_stacks_back(void **unused)
{
    ON_EACH(m, "max", 3)
    {
        m.x->u_cet = m.x->s_cet = X86_CET_SHADOW;
        machine_poke(&m, HANDLERS + STEP * X86_BP, 2, 0xcf48); /* iretq */
        RUN(&m, 0xcc, 0xf3, 0x48, 0x0f, 0x1e, 0xc8, 0xf4);     /* int3; rdsspq %rax; hlt: #GP */
        assert_int_equal(machine_vector(&m), X86_GP);
        assert_int_equal(m.x->gpr[X86_RAX], USER_SHADOW + 0x800);
        assert_int_equal(machine_peek(&m, SHADOW + 0xff8),
                         (SHADOW + 0xff8) | 1); /* by the #GP again */
    }
}

static void an_interrupt_of_the_same_ring_leaves_a_frame(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        m.x->ssp = SHADOW + 0x804;
        machine_poke(&m, HANDLERS + STEP * X86_BP, 8, 0xcf48c81e0f48f3); /* rdsspq %rax; iretq */
        RUN(&m, 0xcc, 0xf4);
        assert_int_equal(machine_vector(&m), -1);
        assert_int_equal(m.x->gpr[X86_RAX], SHADOW + 0x7e8);
        assert_int_equal(machine_peek(&m, SHADOW + 0x7e8), SHADOW + 0x804);
        assert_int_equal(machine_peek(&m, SHADOW + 0x7f0), CODE + 1);
        assert_int_equal(machine_peek(&m, SHADOW + 0x7f8), 0x10);
        assert_int_equal(m.x->ssp, SHADOW + 0x804);
    }
}

static void an_ist_has_a_shadow_stack_of_its_own(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        m.x->int_ssp_table = IST_TABLE;
        machine_poke(&m, IST_TABLE + 8, 8, SHADOW + 0x3f8);
        machine_poke(&m, SHADOW + 0x3f8, 8, SHADOW + 0x3f8);
        machine_poke(&m, IDT + 16 * X86_BP + 4, 1, 1);
        machine_poke(&m, HANDLERS + STEP * X86_BP, 8, 0xcf48c81e0f48f3);
        RUN(&m, 0xcc, 0xf4);
        assert_int_equal(machine_vector(&m), -1);
        assert_int_equal(m.x->gpr[X86_RAX], SHADOW + 0x3f8 - 24);
        assert_int_equal(m.x->ssp, SHADOW + 0x800);
        assert_int_equal(machine_peek(&m, SHADOW + 0x3f8), SHADOW + 0x3f8); /* not busy any more */
        machine_prepare(&m, 0);
        m.x->s_cet = X86_CET_SHADOW;
        machine_poke(&m, HANDLERS + STEP * X86_BP, 8, 0xcf482404ff48); /* incq (%rsp); iretq */
        RUN(&m, 0xcc, 0xf4);
        machine_assert_fault(&m, X86_CP, X86_CP_FAR_RET, HANDLERS + STEP * X86_BP + 4);
    }
}

static void syscall_leaves_no_shadow_stack_and_sysret_brings_it_back(void **unused)
{
    ON_EACH(m, "max", 3)
    {
        m.x->u_cet = m.x->s_cet = X86_CET_SHADOW;
        m.x->lstar = HANDLERS + 0x800;
        machine_poke(&m, HANDLERS + 0x800, 8, 0x070f48c81e0f48f3); /* rdsspq %rax; sysretq */
        RUN(&m, 0x0f, 0x05, 0xf3, 0x48, 0x0f, 0x1e, 0xcb, 0xf4);   /* syscall; rdsspq %rbx; hlt */
        assert_int_equal(machine_vector(&m), X86_GP);
        assert_int_equal(m.x->gpr[X86_RAX], 0);
        assert_int_equal(m.x->gpr[X86_RBX], USER_SHADOW + 0x800);
    }
}

static void a_far_call_leaves_three_words(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_SHADOW;
        machine_poke(&m, DATA, 8, CODE + 0x100);
        machine_poke(&m, DATA + 8, 2, 0x10);
        machine_poke(&m, CODE + 0x100, 2, 0xcb48); /* retfq */
        m.x->gpr[X86_RBX] = DATA;
        RUN(&m, 0x48, 0xff, 0x1b, 0xf4); /* lcallq *(%rbx); hlt */
        assert_int_equal(machine_vector(&m), -1);
        assert_int_equal(machine_peek(&m, SHADOW + 0x7e8), SHADOW + 0x800);
        assert_int_equal(machine_peek(&m, SHADOW + 0x7f0), CODE + 3);
        assert_int_equal(m.x->ssp, SHADOW + 0x800);
    }
}

/* ---- tracking ---------------------------------------------------------------------------------------------- */

static void an_indirect_branch_must_reach_endbr(void **unused)
{
    static const uint8_t jumps[][3] = { { 0xff, 0xe3, 0x90 }, { 0xff, 0xd3, 0x90 } };
    for (unsigned i = 0; i < 2; i++) {
        ON_EACH(m, "max", 0)
        {
            m.x->s_cet = X86_CET_ENDBR;
            machine_poke(&m, HANDLERS + STEP * X86_CP, 8, 0xf4fa1e0ff3);
            m.x->gpr[X86_RBX] = CODE + 0x100;
            machine_poke(&m, CODE + 0x100, 8, 0xf4fa1e0ff3);
            RUN(&m, jumps[i][0], jumps[i][1], 0x90);
            assert_int_equal(m.x->rip, CODE + 0x105);
            machine_prepare(&m, 0);
            m.x->s_cet = X86_CET_ENDBR;
            machine_poke(&m, HANDLERS + STEP * X86_CP, 8, 0xf4fa1e0ff3);
            m.x->gpr[X86_RBX] = CODE + 0x100;
            machine_poke(&m, CODE + 0x100, 2, 0xf490);
            RUN(&m, jumps[i][0], jumps[i][1], 0x90);
            assert_int_equal(m.x->rip, HANDLERS + STEP * X86_CP + 5);
            assert_int_equal(machine_peek(&m, m.x->gpr[X86_RSP]), X86_CP_ENDBRANCH);
            assert_int_equal(machine_peek(&m, m.x->gpr[X86_RSP] + 8), CODE + 0x100);
        }
    }
}

/* Code is put behind four calls of a function with ENDBR; then the fifth finds none. */
static void run_calls(struct machine *m, const uint8_t *change, size_t n)
{
    static const uint8_t calls[] = { 0xb9, 4,    0,    0,    0, /* mov $4, %ecx */
                                     0xff, 0xd3, 0x85, 0xc9,    /* 1: call *%rbx; test %ecx, %ecx */
                                     0x75, 0xfa },              /* jnz 1b */
        fifth[] = { 0xff, 0xd3, 0xf4 };
    const uint64_t f = CODE + 0x1000;
    uint8_t code[64];
    memcpy(code, calls, sizeof(calls));
    memcpy(code + sizeof(calls), change, n);
    memcpy(code + sizeof(calls) + n, fifth, sizeof(fifth));
    m->x->s_cet = X86_CET_ENDBR;
    machine_poke(m, HANDLERS + STEP * X86_CP, 8, 0xf4fa1e0ff3);
    machine_poke(m, f, 8, 0xc3c9fffa1e0ff3); /* endbr64; dec %ecx; ret */
    machine_poke(m, DATA, 8, 0xc3c9ff);      /* dec %ecx; ret */
    m->x->gpr[X86_RBX] = f;
    m->x->gpr[X86_RSI] = TABLES + 0x3000 + 8 * (f >> 12);
    machine_run(m, code, sizeof(calls) + n + sizeof(fifth));
    assert_int_equal(m->x->rip, HANDLERS + STEP * X86_CP + 5);
    assert_int_equal(machine_peek(m, m->x->gpr[X86_RSP] + 8), f);
    assert_int_equal(m->x->gpr[X86_RCX], 0);
}

static void a_branch_sees_that_endbr_is_gone(void **unused)
{
    static const uint8_t written[] = { 0xc7, 3, 0x90, 0x90, 0x90, 0x90 }, /* movl $nops, (%rbx) */
        moved[] = { 0xc7, 6,    7,   DATA >> 8 & 255, DATA >> 16, 0, /* movl $DATA + 7, (%rsi) */
                    0x0f, 0x01, 0x3b },                              /* invlpg (%rbx) */
        moved_cr3[] = { 0xc7, 6,    7,   DATA >> 8 & 255, DATA >> 16, 0, 0x0f, 0x20, 0xd8,
                        0x0f, 0x22, 0xd8 }; /* mov %cr3, %rax and back */
    ON_EACH(m, "max", 0)
    {
        run_calls(&m, written, sizeof(written));
        machine_prepare(&m, 0);
        run_calls(&m, moved, sizeof(moved));
        machine_prepare(&m, 0);
        run_calls(&m, moved_cr3, sizeof(moved_cr3));
    }
}

static void notrack_needs_permission(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_ENDBR | X86_CET_NO_TRACK;
        m.x->gpr[X86_RBX] = CODE + 0x100;
        machine_poke(&m, CODE + 0x100, 2, 0xf490);
        RUN(&m, 0x3e, 0xff, 0xe3);
        assert_int_equal(m.x->rip, CODE + 0x102);
        machine_prepare(&m, 0);
        m.x->s_cet = X86_CET_ENDBR;
        machine_poke(&m, HANDLERS + STEP * X86_CP, 8, 0xf4fa1e0ff3);
        m.x->gpr[X86_RBX] = CODE + 0x100;
        machine_poke(&m, CODE + 0x100, 2, 0xf490);
        RUN(&m, 0x3e, 0xff, 0xe3);
        assert_int_equal(m.x->rip, HANDLERS + STEP * X86_CP + 5);
    }
}

static void a_user_s_tracker_waits_while_the_kernel_runs(void **unused)
{
    ON_EACH(m, "max", 3)
    {
        m.x->u_cet = X86_CET_ENDBR;
        m.x->gpr[X86_RBX] = CODE + 0x100;
        machine_poke(&m, CODE + 0x100, 1, 0xf4);
        RUN(&m, 0xff, 0xe3);
        machine_assert_fault(&m, X86_CP, X86_CP_ENDBRANCH, CODE + 0x100);
        assert_int_equal(m.x->u_cet, X86_CET_ENDBR | X86_CET_WAIT);
    }
}

static void old_code_is_known_by_a_bitmap(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->s_cet = X86_CET_ENDBR | X86_CET_LEGACY | DATA;
        m.x->gpr[X86_RBX] = CODE + 0x100;
        machine_poke(&m, DATA + (CODE >> 15), 1, 1 << (CODE >> 12 & 7));
        machine_poke(&m, CODE + 0x100, 2, 0xf490);
        RUN(&m, 0xff, 0xe3);
        assert_int_equal(m.x->rip, CODE + 0x102);
        assert_int_equal(m.x->s_cet, X86_CET_ENDBR | X86_CET_LEGACY | X86_CET_SUPPRESS | DATA);
    }
}

/* ---- registers, XSAVES ----------------------------------------------------------------------------------------- */

static int write_msr(struct machine *m, uint32_t index, uint64_t v)
{
    machine_prepare(m, 0);
    m->x->gpr[X86_RCX] = index;
    m->x->gpr[X86_RAX] = (uint32_t)v;
    m->x->gpr[X86_RDX] = v >> 32;
    RUN(m, 0x0f, 0x30, 0xf4);
    return machine_vector(m);
}

static void registers_have_reserved_bits(void **unused)
{
    ON_EACH(m, "max", 0)
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
        machine_prepare(&m, 0);
        m.x->gpr[X86_RAX] = m.x->cr0 & ~X86_CR0_WP;
        RUN(&m, 0x0f, 0x22, 0xc0); /* CR4.CET keeps CR0.WP */
        assert_int_equal(machine_vector(&m), X86_GP);
    }
}

#define XSAVES  0x48, 0x0f, 0xc7, 0x2b /* (%rbx) */
#define XRSTORS 0x48, 0x0f, 0xc7, 0x1b

static void supervisor_components_are_saved_compactly(void **unused)
{
    ON_EACH(m, "max", 0)
    {
        m.x->xcr0 = X86_XSAVE_X87 | X86_XSAVE_SSE | X86_XSAVE_AVX | X86_XSAVE_PKRU;
        m.x->u_cet = X86_CET_SHADOW;
        m.x->pl3_ssp = 0x123450;
        m.x->pkru = 0xc;
        m.x->gpr[X86_RBX] = DATA;
        m.x->gpr[X86_RAX] = 0x1a00;
        RUN(&m, XSAVES, 0xf4);
        assert_int_equal(machine_vector(&m), -1);
        assert_int_equal(machine_peek(&m, DATA + 512), 0x1a00);
        assert_int_equal(machine_peek(&m, DATA + 520), (uint64_t)1 << 63 | 0x1a00);
        assert_int_equal(machine_peek(&m, DATA + 576), 0xc);
        assert_int_equal(machine_peek(&m, DATA + 584), X86_CET_SHADOW);
        assert_int_equal(machine_peek(&m, DATA + 592), 0x123450);
        assert_int_equal(machine_peek(&m, DATA + 600), SHADOW + 0xff8);
        m.x->u_cet = m.x->pl3_ssp = m.x->pkru = m.x->pl0_ssp = 0;
        m.x->rip = CODE;
        RUN(&m, XRSTORS, 0xf4);
        assert_int_equal(machine_vector(&m), -1);
        assert_int_equal(m.x->u_cet, X86_CET_SHADOW);
        assert_int_equal(m.x->pl3_ssp, 0x123450);
        assert_int_equal(m.x->pl0_ssp, SHADOW + 0xff8);
        assert_int_equal(m.x->pkru, 0xc);
        machine_poke(&m, DATA + 592, 8, 0x123451);
        m.x->rip = CODE;
        RUN(&m, XRSTORS, 0xf4);
        assert_int_equal(machine_vector(&m), X86_GP);
        assert_int_equal(m.x->pl3_ssp, 0x123450);
    }
}

static void xrstors_wants_the_compact_format_and_ring_0(void **unused)
{
    ON_EACH(m, "max", 3)
    {
        m.x->gpr[X86_RBX] = DATA;
        RUN(&m, XSAVES, 0xf4);
        machine_assert_fault(&m, X86_GP, 0, CODE);
        machine_prepare(&m, 0);
        m.x->gpr[X86_RBX] = DATA + 1024;
        machine_poke(&m, DATA + 1024 + 520, 8, 0);
        RUN(&m, XRSTORS, 0xf4);
        machine_assert_fault(&m, X86_GP, 0, CODE);
        machine_prepare(&m, 0);
        m.x->xss = 0;
        m.x->gpr[X86_RBX] = DATA + 1024;
        machine_poke(&m, DATA + 1024 + 520, 8, (uint64_t)1 << 63 | 0x800);
        RUN(&m, XRSTORS, 0xf4); /* XSS does not have it */
        machine_assert_fault(&m, X86_GP, 0, CODE);
    }
}

/* A page that was read with one PKRU is not read with the next, XRSTOR's. */
static void xrstor_of_pkru_is_heeded(void **unused)
{
    ON_EACH(m, "max", 3)
    {
        machine_poke(&m, TABLES + 0x3000 + 8 * (STACK0 >> 12), 8, STACK0 | 7 | (uint64_t)1 << 59);
        m.x->cr4 |= X86_CR4_PKE;
        m.x->xcr0 = X86_XSAVE_X87 | X86_XSAVE_PKRU;
        m.x->gpr[X86_RAX] = X86_XSAVE_PKRU;
        m.x->gpr[X86_RBX] = DATA;
        m.x->gpr[X86_RSI] = STACK0;
        uint32_t offset, size;
        assert_true(x86_xsave_component(m.x->model, 9, &offset, &size));
        machine_poke(&m, DATA + offset, 8, 1 << 2);
        machine_poke(&m, DATA + 512, 8, X86_XSAVE_PKRU);
        machine_poke(&m, DATA + 520, 8, 0);
        machine_poke(&m, DATA + 528, 8, 0);
        machine_poke(&m, TSS + 4, 8, STACK + 0x800);
        RUN(&m, 0x8b, 0x0e, 0x0f, 0xae, 0x2b, 0x8b, 0x0e); /* mov (%rsi), %ecx; xrstor; mov */
        machine_assert_fault(&m, X86_PF, 0x25, CODE + 5);
    }
}

/* ---- the end of a code segment --------------------------------------------------------------------------------- */

/* Real mode: the IVT's handlers are HLTs at 0x600 + vector. */
static void prepare_real(struct machine *m, uint32_t limit)
{
    struct x86_cpu *x = m->x;
    x86_64_target.vcpu_reset(m->cpu);
    for (unsigned v = 0; v < 32; v++) {
        machine_poke(m, 4 * v, 4, 0x600 + v);
        machine_poke(m, 0x600 + v, 1, 0xf4);
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
        ON_EACH(m, "max", 0)
        {
            uint32_t limit = limits[i];
            prepare_real(&m, limit);
            for (uint32_t at = 0; at < limit + 16; at += 16)
                assert_true(mem_write(m.vm, CODE + at, nops, 16));
            m.x->rip = limit - 40;
            RUN(&m, 0x90);
            assert_int_equal(m.x->rip, 0x600 + X86_GP + 1);
            assert_int_equal(machine_peek(&m, m.x->gpr[X86_RSP]) & 0xffff, (limit + 1) & 0xffff);
            prepare_real(&m, limit); /* an instruction of which a byte is behind the end */
            machine_poke(&m, CODE + limit, 2, 0x00b0);
            m.x->rip = limit - 40;
            RUN(&m, 0x90);
            assert_int_equal(m.x->rip, 0x600 + X86_GP + 1);
            assert_int_equal(machine_peek(&m, m.x->gpr[X86_RSP]) & 0xffff, limit);
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
        cmocka_unit_test(a_branch_sees_that_endbr_is_gone),
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
