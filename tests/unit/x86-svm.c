/* A hypervisor in the guest: VMRUN and its checks, intercepts, nested paging, events, by code on every back end. */
#include "x86_machine.h"

#include "core/util.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

enum {
    VMCB = 0x40000,
    IOPM = 0x42000,
    MSRPM = 0x45000,
    GUEST = 0x50000, /* the guest's code */
    GUEST_STACK = 0x52000,
    NESTED = 0x60000, /* its page tables, four levels */
    SAVE = VMCB + 0x400,
};
enum {
    EXITCODE = 0x70,
    EXITINFO1 = 0x78,
    EXITINFO2 = 0x80,
    EXITINTINFO = 0x88,
    EVENTINJ = 0xa8,
    NEXT_RIP = 0xc8
};
#define MODEL "max,+svm"
#define SVM   0x0f, 0x01
#define VMRUN SVM, 0xd8
#define VALID ((uint64_t)1 << 31)

static void put_segment(struct machine *m, unsigned at, const struct x86_segment *s)
{
    machine_poke(m, SAVE + at, 2, s->selector);
    machine_poke(m, SAVE + at + 2, 2, (s->rights & 0xff) | (s->rights >> 4 & 0xf00));
    machine_poke(m, SAVE + at + 4, 4, s->limit);
    machine_poke(m, SAVE + at + 8, 8, s->base);
}

static void want(struct machine *m, unsigned exit)
{
    uint64_t at = VMCB + exit / 32 * 4;
    machine_poke(m, at, 4, (machine_peek(m, at) & UINT32_MAX) | 1u << exit % 32);
}

/* The guest begins at GUEST with the host's own tables; VMRUN, VMMCALL and HLT end it. */
static void make_guest(struct machine *m, const uint8_t *code, size_t n)
{
    struct x86_cpu *x = m->x;
    machine_prepare(m, 0);
    x->cr4 &= ~X86_CR4_CET;
    x->efer |= X86_EFER_SVME;
    x->gpr[X86_RAX] = VMCB;
    x->gpr[X86_RBX] = 0x1234;
    for (unsigned i = 0; i < 0x700; i += 8)
        machine_poke(m, VMCB + i, 8, 0);
    for (unsigned i = 0; i < 0x5000; i += 8)
        machine_poke(m, IOPM + i, 8, 0);
    want(m, X86_EXIT_VMRUN);
    want(m, X86_EXIT_VMMCALL);
    want(m, X86_EXIT_HLT);
    want(m, X86_EXIT_SHUTDOWN);
    machine_poke(m, VMCB + 0x40, 8, IOPM);
    machine_poke(m, VMCB + 0x48, 8, MSRPM);
    machine_poke(m, VMCB + 0x58, 4, 1);
    put_segment(m, 0x00, &x->seg[X86_ES]);
    put_segment(m, 0x10, &x->seg[X86_CS]);
    put_segment(m, 0x20, &x->seg[X86_SS]);
    put_segment(m, 0x30, &x->seg[X86_DS]);
    machine_poke(m, SAVE + 0x64, 4, x->gdt.limit);
    machine_poke(m, SAVE + 0x68, 8, x->gdt.base);
    machine_poke(m, SAVE + 0x84, 4, x->idt.limit);
    machine_poke(m, SAVE + 0x88, 8, x->idt.base);
    machine_poke(m, SAVE + 0xd0, 8, x->efer);
    machine_poke(m, SAVE + 0x148, 8, x->cr4);
    machine_poke(m, SAVE + 0x150, 8, x->cr3);
    machine_poke(m, SAVE + 0x158, 8, x->cr0);
    machine_poke(m, SAVE + 0x160, 8, 0x400);
    machine_poke(m, SAVE + 0x168, 8, 0xffff0ff0);
    machine_poke(m, SAVE + 0x170, 8, 2);
    machine_poke(m, SAVE + 0x178, 8, GUEST);
    machine_poke(m, SAVE + 0x1d8, 8, GUEST_STACK);
    machine_poke(m, SAVE + 0x1f8, 8, 0x77);
    for (size_t i = 0; i < n; i++)
        machine_poke(m, GUEST + i, 1, code[i]);
}
#define MAKE(m, ...) \
    make_guest(m, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* The first MiB as it is, in small pages. */
static void nest(struct machine *m)
{
    machine_poke(m, VMCB + 0x90, 8, 1);
    machine_poke(m, VMCB + 0xb0, 8, NESTED);
    for (unsigned level = 0; level < 3; level++)
        machine_poke(m, NESTED + 0x1000 * level, 8, (NESTED + 0x1000 * (level + 1)) | 7);
    for (unsigned i = 0; i < 256; i++)
        machine_poke(m, NESTED + 0x3000 + 8 * i, 8, i << 12 | 7);
}
static uint64_t nested_entry(uint64_t at)
{
    return NESTED + 0x3000 + (at >> 12) * 8;
}

static void enter(struct machine *m)
{
    m->x->rip = CODE;
    RUN(m, VMRUN, 0xf4);
    assert_int_equal(machine_vector(m), -1);
    assert_int_equal(m->x->rip, CODE + 4);
    assert_int_equal(m->x->gpr[X86_RAX], VMCB);
    assert_int_equal(m->x->gpr[X86_RSP], STACK);
    assert_false(m->x->svm.in_guest);
    assert_false(m->x->svm.gif);
}
static uint64_t control(struct machine *m, unsigned at)
{
    return machine_peek(m, VMCB + at);
}
static void assert_exit(struct machine *m, uint64_t code, uint64_t info1, uint64_t info2)
{
    enter(m);
    assert_int_equal(control(m, EXITCODE), code);
    assert_int_equal(control(m, EXITINFO1), info1);
    assert_int_equal(control(m, EXITINFO2), info2);
}
static uint64_t guest_rip(struct machine *m)
{
    return machine_peek(m, SAVE + 0x178);
}

/* ---- VMRUN ------------------------------------------------------------------------------------------- */

static void a_guest_runs_until_it_is_stopped(void **unused)
{
    ON_EACH(m, MODEL, 0)
    {
        MAKE(&m, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc3, SVM, 0xd9); /* inc %rax; inc %rbx; vmmcall */
        assert_exit(&m, X86_EXIT_VMMCALL, 0, 0);
        assert_int_equal(guest_rip(&m), GUEST + 6);
        assert_int_equal(control(&m, NEXT_RIP), GUEST + 9);
        assert_int_equal(machine_peek(&m, SAVE + 0x1f8), 0x78);
        assert_int_equal(m.x->gpr[X86_RBX], 0x1235);
    }
}

static void svm_instructions_need_efer_and_ring_0(void **unused)
{
    static const uint8_t last[] = { 0xd8, 0xda, 0xdb, 0xdc, 0xdd, 0xdf };
    for (unsigned i = 0; i < ARRAY_LEN(last); i++) {
        ON_EACH(m, MODEL, 3)
        {
            m.x->efer |= X86_EFER_SVME;
            m.x->gpr[X86_RAX] = VMCB;
            RUN(&m, SVM, last[i], 0xf4);
            machine_assert_fault(&m, X86_GP, 0, CODE);
            machine_prepare(&m, 0);
            RUN(&m, SVM, last[i], 0xf4);
            assert_int_equal(machine_vector(&m), X86_UD);
            if (last[i] >= 0xdc)
                continue;
            machine_prepare(&m, 0);
            m.x->efer |= X86_EFER_SVME;
            m.x->gpr[X86_RAX] = VMCB + 8;
            RUN(&m, SVM, last[i], 0xf4);
            machine_assert_fault(&m, X86_GP, 0, CODE);
        }
    }
}

static void inconsistent_guests_are_refused(void **unused)
{
    static const struct {
        uint64_t at, size, v;
    } cases[] = {
        { 0x58, 4, 0 },                               /* ASID */
        { 0x10, 4, 2 },                               /* VMRUN is not intercepted */
        { 0x48, 8, (uint64_t)1 << 46 },               /* MSRPM */
        { EVENTINJ, 8, VALID | 3 << 8 | 40 },         /* an exception has 5 bits */
        { EVENTINJ, 8, VALID | 7 << 8 | 1 },          /* no such type */
        { 0x400 + 0xd0, 8, X86_EFER_LME },            /* no SVME */
        { 0x400 + 0xd0, 8, X86_EFER_SVME | 1 << 2 },  /* reserved */
        { 0x400 + 0x148, 8, 0 },                      /* long mode without PAE */
        { 0x400 + 0x148, 8, X86_CR4_PAE | 1u << 31 }, /* reserved */
        { 0x400 + 0x158, 8, X86_CR0_PG },             /* long mode without PE */
        { 0x400 + 0x158, 8, X86_CR0_NW | X86_CR0_PE },
        { 0x400 + 0x158, 8, (uint64_t)1 << 32 },
        { 0x400 + 0x160, 8, (uint64_t)1 << 32 }, /* DR7 */
        { 0x400 + 0x168, 8, (uint64_t)1 << 32 }, /* DR6 */
        { 0x400 + 0x150, 8, (uint64_t)1 << 50 }, /* CR3 */
        { 0x400 + 0x12, 2, 0xe9b },              /* CS.L and CS.D */
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        ON_EACH(m, MODEL, 0)
        {
            MAKE(&m, 0xf4);
            machine_poke(&m, VMCB + cases[i].at, (unsigned)cases[i].size, cases[i].v);
            enter(&m);
            if (control(&m, EXITCODE) != UINT64_MAX)
                fail_msg("case %u: %#llx", i, (unsigned long long)control(&m, EXITCODE));
        }
    }
}

static void real_mode_may_have_paging(void **unused)
{
    const struct x86_segment cs = { GUEST, 0xffff, X86_AR_P | X86_AR_S | 11, GUEST >> 4 };
    const struct x86_segment data = { 0, 0xffff, X86_AR_P | X86_AR_S | 3, 0 };
    ON_EACH(m, MODEL, 0)
    {
        MAKE(&m, 0xa1, 0, 0x30, 0xf4); /* mov 0x3000, %ax; hlt */
        for (unsigned at = 0; at < 0x40; at += 0x10)
            put_segment(&m, at, at == 0x10 ? &cs : &data);
        machine_poke(&m, SAVE + 0xd0, 8, X86_EFER_SVME);
        machine_poke(&m, SAVE + 0x148, 8, 0);
        machine_poke(&m, SAVE + 0x150, 8, 0x70000);
        machine_poke(&m, SAVE + 0x158, 8, X86_CR0_PG | X86_CR0_WP);
        machine_poke(&m, SAVE + 0x178, 8, 0);
        machine_poke(&m, 0x70000, 4, 0x71000 | 7); /* two levels */
        machine_poke(&m, 0x71000 + (GUEST >> 12) * 4, 4, GUEST | 7);
        machine_poke(&m, 0x71000 + 3 * 4, 4, 0x72000 | 7);
        machine_poke(&m, 0x72000, 2, 0x4321);
        assert_exit(&m, X86_EXIT_HLT, 0, 0);
        assert_int_equal(guest_rip(&m), 3);
        assert_int_equal(machine_peek(&m, SAVE + 0x1f8) & 0xffff, 0x4321);
    }
}

/* ---- intercepts ------------------------------------------------------------------------------------------ */

static void instructions_are_intercepted_before_they_do_anything(void **unused)
{
    static const struct {
        unsigned exit;
        uint8_t n, code[4];
    } cases[] = {
        { X86_EXIT_CPUID, 2, { 0x0f, 0xa2 } },
        { X86_EXIT_RDTSC, 2, { 0x0f, 0x31 } },
        { X86_EXIT_HLT, 1, { 0xf4 } },
        { X86_EXIT_PAUSE, 2, { 0xf3, 0x90 } },
        { X86_EXIT_INVD, 2, { 0x0f, 0x08 } },
        { X86_EXIT_WBINVD, 2, { 0x0f, 0x09 } },
        { X86_EXIT_INVLPG, 3, { 0x0f, 0x01, 0x38 } },
        { X86_EXIT_CR_READ + 3, 3, { 0x0f, 0x20, 0xd8 } },
        { X86_EXIT_CR_WRITE + 4, 3, { 0x0f, 0x22, 0xe0 } },
        { X86_EXIT_CR_WRITE, 2, { 0x0f, 0x06 } }, /* clts */
        { X86_EXIT_DR_READ + 7, 3, { 0x0f, 0x21, 0xf8 } },
        { X86_EXIT_DR_WRITE, 3, { 0x0f, 0x23, 0xc0 } },
        { X86_EXIT_INT, 2, { 0xcd, 0x03 } },
        { X86_EXIT_EXCEPTION + X86_BP, 1, { 0xcc } },
        { X86_EXIT_ICEBP, 1, { 0xf1 } },
        { X86_EXIT_IRET, 2, { 0x48, 0xcf } },
        { X86_EXIT_POPF, 1, { 0x9d } },
        { X86_EXIT_GDTR_READ, 3, { 0x0f, 0x01, 0x00 } },
        { X86_EXIT_IDTR_WRITE, 3, { 0x0f, 0x01, 0x18 } },
        { X86_EXIT_TR_WRITE, 3, { 0x0f, 0x00, 0xd8 } },
        { X86_EXIT_VMLOAD, 3, { SVM, 0xda } },
        { X86_EXIT_STGI, 3, { SVM, 0xdc } },
        { X86_EXIT_RDTSCP, 3, { 0x0f, 0x01, 0xf9 } },
        { X86_EXIT_RSM, 2, { 0x0f, 0xaa } },
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        ON_EACH(m, MODEL, 0)
        {
            make_guest(&m, cases[i].code, cases[i].n);
            machine_poke(&m, SAVE + 0x1f8, 8, VMCB); /* for VMLOAD */
            want(&m, cases[i].exit);
            enter(&m);
            if (control(&m, EXITCODE) != cases[i].exit || guest_rip(&m) != GUEST ||
                control(&m, NEXT_RIP) != (uint64_t)GUEST + cases[i].n)
                fail_msg("case %u: exit %#llx at %#llx, next %#llx", i,
                         (unsigned long long)control(&m, EXITCODE),
                         (unsigned long long)guest_rip(&m),
                         (unsigned long long)control(&m, NEXT_RIP));
        }
    }
}

static void ports_have_a_map(void **unused)
{
    ON_EACH(m, MODEL, 0)
    {
        MAKE(&m, 0xe4, 0x80, 0xe5, 0x7e, 0xf4); /* in $0x80, %al; in $0x7e, %eax: 0x81, too */
        want(&m, X86_EXIT_IO);
        machine_poke(&m, IOPM + 0x10, 1, 2); /* port 0x81 */
        assert_exit(&m, X86_EXIT_IO, 0x7e << 16 | 4 << 4 | 1, GUEST + 4);
        assert_int_equal(guest_rip(&m), GUEST + 2);
    }
}

static void registers_have_a_map(void **unused)
{
    static const uint8_t code[] = { 0xb9, 0x82, 0, 0, 0xc0, 0x0f, 0x32, 0x0f, 0x30, 0xf4 };
    ON_EACH(m, MODEL, 0)
    {
        make_guest(&m, code, sizeof(code)); /* mov $LSTAR, %ecx; rdmsr; wrmsr; hlt */
        want(&m, X86_EXIT_MSR);
        assert_exit(&m, X86_EXIT_HLT, 0, 0);
        make_guest(&m, code, sizeof(code));
        want(&m, X86_EXIT_MSR);
        machine_poke(&m, MSRPM + 0x800 + 0x82 / 4, 1, 2 << 0x82 % 4 * 2);
        assert_exit(&m, X86_EXIT_MSR, 1, 0);
        assert_int_equal(guest_rip(&m), GUEST + 7);
        make_guest(&m, code, sizeof(code));
        want(&m, X86_EXIT_MSR);
        machine_poke(&m, GUEST + 4, 1, 0x12); /* outside all ranges: always */
        assert_exit(&m, X86_EXIT_MSR, 0, 0);
    }
}

static void exceptions_go_to_who_wants_them(void **unused)
{
    static const uint8_t load[] = {
        0x8b, 0x04, 0x25, 0, 0, 0x30, 0, 0xf4
    }; /* mov 0x300000, %eax */
    ON_EACH(m, MODEL, 0)
    {
        make_guest(&m, load, sizeof(load));
        want(&m, X86_EXIT_EXCEPTION + X86_PF);
        machine_poke(&m, SAVE + 0x240, 8, 0x55);
        assert_exit(&m, X86_EXIT_EXCEPTION + X86_PF, 0, 0x300000);
        assert_int_equal(machine_peek(&m, SAVE + 0x240), 0x55); /* CR2 */
        make_guest(&m, load, sizeof(load));
        assert_exit(&m, X86_EXIT_HLT, 0, 0); /* in the guest's handler */
        assert_int_equal(guest_rip(&m), HANDLERS + STEP * X86_PF);
        assert_int_equal(machine_peek(&m, SAVE + 0x240), 0x300000);
        make_guest(&m, load, sizeof(load));
        machine_poke(&m, SAVE + 0x84, 4, 0); /* no IDT: a triple fault */
        assert_exit(&m, X86_EXIT_SHUTDOWN, 0, 0);
    }
}

/* ---- nested paging ---------------------------------------------------------------------------------------- */

static void nested_pages_give_the_host_s_memory(void **unused)
{
    static const uint8_t code[] = { 0xa1, 0, 0x30, 5, 0, 0, 0, 0, 0, /* mov 0x53000, %eax */
                                    0xa3, 0, 0x40, 5, 0, 0, 0, 0, 0, 0xf4 };
    ON_EACH(m, MODEL, 0)
    {
        make_guest(&m, code, sizeof(code));
        nest(&m);
        machine_poke(&m, nested_entry(0x53000), 8, 0x70000 | 7);
        machine_poke(&m, 0x70000, 4, 0xabcd);
        machine_poke(&m, 0x54000, 4, 0);
        assert_exit(&m, X86_EXIT_HLT, 0, 0);
        assert_int_equal(machine_peek(&m, 0x54000) & UINT32_MAX, 0xabcd);
        assert_int_equal(machine_peek(&m, nested_entry(0x53000)) & 0x60, 0x20);
        assert_int_equal(machine_peek(&m, nested_entry(0x54000)) & 0x60, 0x60);
    }
}

static void nested_faults_say_where_and_why(void **unused)
{
    static const uint8_t code[] = { 0xa1, 0,    0x30, 5, 0, 0, 0, 0, 0,   0xa3,
                                    0,    0x40, 5,    0, 0, 0, 0, 0, 0xf4 };
    const uint64_t final = (uint64_t)1 << 32, table = (uint64_t)1 << 33;
    ON_EACH(m, MODEL, 0)
    {
        make_guest(&m, code, sizeof(code));
        nest(&m);
        machine_poke(&m, nested_entry(0x53000), 8, 0);
        assert_exit(&m, X86_EXIT_NPF, final | 4, 0x53000);
        assert_int_equal(guest_rip(&m), GUEST);
        machine_poke(&m, nested_entry(0x53000), 8, 0x53000 | 7); /* the host mends it */
        machine_poke(&m, nested_entry(0x54000), 8, 0x54000 | 5); /* and finds this */
        assert_exit(&m, X86_EXIT_NPF, final | 7, 0x54000);
        assert_int_equal(guest_rip(&m), GUEST + 9);
        make_guest(&m, code, sizeof(code));
        nest(&m);
        machine_poke(&m, nested_entry(TABLES + 0x2000), 8, (TABLES + 0x2000) | 5);
        assert_exit(&m, X86_EXIT_NPF, table | 7, TABLES + 0x2000);
        make_guest(&m, code, sizeof(code));
        nest(&m);
        machine_poke(&m, nested_entry(GUEST), 8, GUEST | 7 | (uint64_t)1 << 63);
        assert_exit(&m, X86_EXIT_NPF, final | 0x15, GUEST);
    }
}

static void remembered_pages_go_when_the_host_says_so(void **unused)
{
    static const uint8_t code[] = { 0xa1, 0, 0x30, 5, 0, 0, 0, 0, 0, 0xf4 };
    ON_EACH(m, MODEL, 0)
    {
        make_guest(&m, code, sizeof(code));
        nest(&m);
        machine_poke(&m, 0x53000, 4, 1);
        machine_poke(&m, 0x70000, 4, 2);
        enter(&m);
        assert_int_equal(machine_peek(&m, SAVE + 0x1f8), 1);
        machine_poke(&m, nested_entry(0x53000), 8, 0x70000 | 7);
        machine_poke(&m, SAVE + 0x178, 8, GUEST);
        machine_poke(&m, VMCB + 0x5c, 1, 3); /* flush this guest's */
        enter(&m);
        assert_int_equal(machine_peek(&m, SAVE + 0x1f8), 2);
        machine_poke(&m, nested_entry(0x53000), 8, 0x53000 | 7);
        machine_poke(&m, SAVE + 0x178, 8, GUEST);
        machine_poke(&m, VMCB + 0x5c, 1, 0);
        machine_poke(&m, VMCB + 0x58, 4, 2); /* another guest */
        enter(&m);
        assert_int_equal(machine_peek(&m, SAVE + 0x1f8), 1);
    }
}

/* The guest's large page consists of small ones of the host; INVLPG of any address in it is of all. */
static void large_page_of_small_nested_ones_is_flushed_as_one(void **unused)
{
    enum { LARGE = 0xe7, MORE = NESTED + 0x4000, ENTRY = TABLES + 0x2008 }; /* of 0x200000 */
    static const uint8_t code[] = { 0x8b,
                                    0x1c,
                                    0x25,
                                    0,
                                    0x30,
                                    0x25,
                                    0, /* mov 0x253000, %ebx */
                                    0x48,
                                    0xc7,
                                    0x04,
                                    0x25,
                                    ENTRY & 0xff,
                                    ENTRY >> 8 & 0xff,
                                    ENTRY >> 16,
                                    0,
                                    LARGE,
                                    0,
                                    0x40,
                                    0, /* movq $0x4000e7, ENTRY */
                                    0x0f,
                                    0x01,
                                    0x3c,
                                    0x25,
                                    0,
                                    0x10,
                                    0x20,
                                    0, /* invlpg 0x201000 */
                                    0x8b,
                                    0x04,
                                    0x25,
                                    0,
                                    0x30,
                                    0x25,
                                    0, /* mov 0x253000, %eax */
                                    0xf4 };
    ON_EACH(m, MODEL, 0)
    {
        make_guest(&m, code, sizeof(code));
        nest(&m);
        machine_poke(&m, ENTRY, 8, LARGE);
        machine_poke(&m, NESTED + 0x2000 + 2 * 8, 8, MORE | 7); /* 0x400000 */
        machine_poke(&m, MORE + 0x53 * 8, 8, 0x70000 | 7);
        machine_poke(&m, 0x53000, 4, 1);
        machine_poke(&m, 0x70000, 4, 2);
        assert_exit(&m, X86_EXIT_HLT, 0, 0);
        assert_int_equal(m.x->gpr[X86_RBX], 1);
        assert_int_equal(machine_peek(&m, SAVE + 0x1f8), 2); /* RAX */
    }
}

/* ---- events -------------------------------------------------------------------------------------------------- */

static void events_are_injected(void **unused)
{
    ON_EACH(m, MODEL, 0)
    {
        MAKE(&m, 0x90);
        machine_poke(&m, VMCB + EVENTINJ, 8,
                     VALID | 3 << 8 | 1 << 11 | X86_GP | (uint64_t)0x1234 << 32);
        assert_exit(&m, X86_EXIT_HLT, 0, 0);
        assert_int_equal(guest_rip(&m), HANDLERS + STEP * X86_GP);
        assert_int_equal(control(&m, EVENTINJ) & VALID, 0);
        uint64_t sp = machine_peek(&m, SAVE + 0x1d8);
        assert_int_equal(machine_peek(&m, sp), 0x1234);
        assert_int_equal(machine_peek(&m, sp + 8), GUEST);
    }
}

static void what_was_on_its_way_is_told(void **unused)
{
    ON_EACH(m, MODEL, 0)
    {
        MAKE(&m, 0x90);
        nest(&m);
        machine_poke(&m, nested_entry(IDT), 8, 0);
        machine_poke(&m, VMCB + EVENTINJ, 8, VALID | 20);
        assert_exit(&m, X86_EXIT_NPF, (uint64_t)1 << 32 | 4, IDT + 16 * 20);
        assert_int_equal(control(&m, EXITINTINFO), VALID | 20);
        assert_int_equal(guest_rip(&m), GUEST);
    }
}

static void virtual_interrupts_wait_for_the_guest(void **unused)
{
    static const uint8_t code[] = { 0x90, 0xfb, 0x90, 0x90, 0xf4 }; /* nop; sti; nop; nop; hlt */
    const uint64_t irq = X86_SVM_V_IRQ | X86_SVM_V_MASKING | 5 << 16 | (uint64_t)21 << 32;
    ON_EACH(m, MODEL, 0)
    {
        make_guest(&m, code, sizeof(code));
        machine_poke(&m, VMCB + 0x60, 8, irq);
        want(&m, X86_EXIT_VINTR);
        assert_exit(&m, X86_EXIT_VINTR, 0, 0);
        assert_int_equal(guest_rip(&m), GUEST + 3); /* behind the shadow of STI */
        make_guest(&m, code, sizeof(code));
        machine_poke(&m, VMCB + 0x60, 8, irq);
        assert_exit(&m, X86_EXIT_HLT, 0, 0);
        assert_int_equal(guest_rip(&m), HANDLERS + STEP * 21);
        assert_int_equal(control(&m, 0x60) & X86_SVM_V_IRQ, 0);
        make_guest(&m, code, sizeof(code));
        machine_poke(&m, VMCB + 0x60, 8, irq | 5); /* V_TPR holds it back */
        assert_exit(&m, X86_EXIT_HLT, 0, 0);
        assert_int_equal(guest_rip(&m), GUEST + 4);
    }
}

static void an_nmi_waits_for_gif_and_goes_to_the_host(void **unused)
{
    ON_EACH(m, MODEL, 0)
    {
        MAKE(&m, 0x90);
        want(&m, X86_EXIT_NMI);
        RUN(&m, SVM, 0xdd, 0xf4); /* clgi; hlt */
        x86_raise(m.cpu, X86_NMI);
        m.x->rip = CODE + 3;
        RUN(&m, SVM, 0xdd, 0x90, 0xf4);
        assert_int_equal(machine_vector(&m), -1);
        m.x->gpr[X86_RAX] = VMCB;
        assert_exit(&m, X86_EXIT_NMI, 0, 0);
        assert_int_equal(guest_rip(&m), GUEST);
        m.x->rip = CODE;
        RUN(&m, SVM, 0xdc, 0x90, 0xf4); /* stgi */
        assert_int_equal(machine_vector(&m), X86_NMI_VECTOR);
    }
}

/* An APIC with an interrupt from the second look on while a guest runs; it is the host's. */
struct late {
    struct x86_cpu *x;
    unsigned looks;
};
static bool late_pending(void *opaque)
{
    struct late *l = opaque;
    return l->x->svm.in_guest && ++l->looks > 1;
}
static int late_acknowledge(void *opaque)
{
    fail_msg("the guest took it");
    return -1;
}
static uint8_t late_tpr(void *opaque)
{
    return 0;
}

static void a_late_interrupt_is_the_host_s_too(void **unused)
{
    static const struct x86_apic_ops apic = { .pending = late_pending,
                                              .acknowledge = late_acknowledge,
                                              .get_tpr = late_tpr };
    static const uint8_t code[] = { 0x9c, 0x9d, 0xeb, 0xfc }; /* 1: pushf; popf; jmp 1b */
    ON_EACH(m, MODEL, 0)
    {
        struct late late = { .x = m.x };
        x86_set_apic(m.cpu, &apic, &late);
        make_guest(&m, code, sizeof(code));
        m.x->rflags |= X86_FLAG_IF;
        machine_poke(&m, VMCB + 0x60, 8, X86_SVM_V_MASKING);
        want(&m, X86_EXIT_INTR);
        assert_exit(&m, X86_EXIT_INTR, 0, 0);
        x86_set_apic(m.cpu, NULL, NULL);
    }
}

static void vmload_and_vmsave_move_the_rest(void **unused)
{
    ON_EACH(m, MODEL, 0)
    {
        MAKE(&m, 0x90);
        m.x->seg[X86_FS].base = 0x123456789a;
        m.x->lstar = 0x1111;
        m.x->kernel_gs_base = 0x2222;
        m.x->sysenter_eip = 0x3333;
        RUN(&m, SVM, 0xdb, 0xf4);
        assert_int_equal(machine_peek(&m, SAVE + 0x48), 0x123456789a);
        assert_int_equal(machine_peek(&m, SAVE + 0x208), 0x1111);
        assert_int_equal(machine_peek(&m, SAVE + 0x220), 0x2222);
        assert_int_equal(machine_peek(&m, SAVE + 0x98), TSS);
        m.x->seg[X86_FS].base = m.x->lstar = m.x->kernel_gs_base = m.x->sysenter_eip = 0;
        m.x->tr.base = 0;
        m.x->rip = CODE;
        RUN(&m, SVM, 0xda, 0xf4);
        assert_int_equal(m.x->seg[X86_FS].base, 0x123456789a);
        assert_int_equal(m.x->lstar, 0x1111);
        assert_int_equal(m.x->kernel_gs_base, 0x2222);
        assert_int_equal(m.x->sysenter_eip, 0x3333);
        assert_int_equal(m.x->tr.base, TSS);
    }
}

static void only_who_asks_is_offered_it(void **unused)
{
    static const struct {
        const char *model;
        bool svm;
    } cases[] = { { "max", false },    { "max,+svm", true },   { "EPYC", true },
                  { "qemu64", false }, { "EPYC,-svm", false }, { "Haswell", false } };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        struct machine m = machine_new(backends[0], cases[i].model);
        uint32_t r[4], leaf[4];
        x86_cpuid(m.x, 0x80000001, 0, r);
        assert_int_equal(r[2] >> 2 & 1, cases[i].svm);
        x86_cpuid(m.x, 0x8000000a, 0, leaf);
        assert_int_equal(leaf[3], cases[i].svm ? leaf[3] | 9 : 0); /* NPT and next RIP */
        x86_cpuid(m.x, 0, 0, r);
        assert_int_equal(r[1] == 0x68747541, cases[i].svm); /* "Auth" */
        vm_free(m.vm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_guest_runs_until_it_is_stopped),
        cmocka_unit_test(svm_instructions_need_efer_and_ring_0),
        cmocka_unit_test(inconsistent_guests_are_refused),
        cmocka_unit_test(real_mode_may_have_paging),
        cmocka_unit_test(instructions_are_intercepted_before_they_do_anything),
        cmocka_unit_test(ports_have_a_map),
        cmocka_unit_test(registers_have_a_map),
        cmocka_unit_test(exceptions_go_to_who_wants_them),
        cmocka_unit_test(nested_pages_give_the_host_s_memory),
        cmocka_unit_test(nested_faults_say_where_and_why),
        cmocka_unit_test(remembered_pages_go_when_the_host_says_so),
        cmocka_unit_test(large_page_of_small_nested_ones_is_flushed_as_one),
        cmocka_unit_test(events_are_injected),
        cmocka_unit_test(what_was_on_its_way_is_told),
        cmocka_unit_test(virtual_interrupts_wait_for_the_guest),
        cmocka_unit_test(an_nmi_waits_for_gif_and_goes_to_the_host),
        cmocka_unit_test(a_late_interrupt_is_the_host_s_too),
        cmocka_unit_test(vmload_and_vmsave_move_the_rest),
        cmocka_unit_test(only_who_asks_is_offered_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
