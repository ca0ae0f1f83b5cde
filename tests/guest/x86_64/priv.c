/* Protection: exceptions with their error codes, rings, paging, debug registers, segments of older modes. */
#include "rt.h"

enum {
    DE = 0,
    DB = 1,
    BP = 3,
    UD = 6,
    NM = 7,
    DF = 8,
    NP = 11,
    SS = 12,
    GP = 13,
    PF = 14,
    AC = 17,
    NONE = 0xff
};
enum {
    CODE64 = 8,
    DATA = 16,
    CODE32 = 24,
    USER32 = 0x20,
    USER_DATA = 0x28,
    USER64 = 0x30,
    ABSENT = 0x38,
    SMALL = 0x40,
    CODE16 = 0x48,
    TR = 0x50
};
#define FLAG_TF 0x100ul
#define FLAG_RF 0x10000ul
#define FLAG_AC 0x40000ul

static u64 gdt[] __attribute__((aligned(16))) = {
    [CODE64 / 8] = 0x00af9b000000ffff,
    [DATA / 8] = 0x00cf93000000ffff,
    [CODE32 / 8] = 0x00cf9b000000ffff,
    [USER32 / 8] = 0x00cffb000000ffff,
    [USER_DATA / 8] = 0x00cff3000000ffff,
    [USER64 / 8] = 0x00affb000000ffff,
    [ABSENT / 8] = 0x00cf13000000ffff,
    [SMALL / 8] = 0x004093000000000f,
    [CODE16 / 8] = 0x00009b000000ffff,
    [TR / 8] = 0,
    0,
};
static struct {
    u32 reserved;
    u64 rsp[3], reserved2, ist[7], reserved3;
    unsigned short reserved4, io_map;
    u8 ports[33];
} __attribute__((packed)) tss;
static u8 ring_0_stack[4096] __attribute__((aligned(16))),
    ist_stack[4096] __attribute__((aligned(16)));
static u64 directory[512] __attribute__((aligned(4096))), pages[512] __attribute__((aligned(4096)));
static volatile u8 data_page[4096] __attribute__((aligned(4096))),
    other_page[4096] __attribute__((aligned(4096)));

/* The last exception. `keep_going`: return from it, with RF. */
volatile u64 seen_vector, seen_error, seen_rip, seen_cs, seen_flags, seen_rsp, seen_stack, seen_cr2,
    seen_dr6;
volatile u64 n_seen, keep_going, resume_rsp;
extern u8 fault_stubs[];
u64 attempt(void (*what)(void)); /* the vector of the exception that ended it, or NONE */

__asm__(".text\n"
        ".macro fault n\n"
        ".balign 16\n"
        ".if \\n == 8 || (\\n >= 10 && \\n <= 14) || \\n == 17 || \\n == 21\n"
        ".else\n pushq $0\n .endif\n"
        "pushq $\\n\n jmp fault_common\n"
        ".endm\n"
        ".globl fault_stubs\n .balign 16\n"
        "fault_stubs:\n"
        ".altmacro\n .set i, 0\n .rept 32\n fault %i\n .set i, i + 1\n .endr\n .noaltmacro\n"
        "fault_common:\n"
        "push %rax\n"
        "mov 8(%rsp), %rax\n mov %rax, seen_vector\n"
        "mov 16(%rsp), %rax\n mov %rax, seen_error\n"
        "mov 24(%rsp), %rax\n mov %rax, seen_rip\n"
        "mov 32(%rsp), %rax\n mov %rax, seen_cs\n"
        "mov 40(%rsp), %rax\n mov %rax, seen_flags\n"
        "mov 48(%rsp), %rax\n mov %rax, seen_rsp\n"
        "mov %rsp, seen_stack\n"
        "mov %cr2, %rax\n mov %rax, seen_cr2\n"
        "mov %dr6, %rax\n mov %rax, seen_dr6\n"
        "incq n_seen\n"
        "cmpq $0, keep_going\n je 1f\n"
        "pop %rax\n add $16, %rsp\n orq $0x10000, 16(%rsp)\n iretq\n"
        "1: mov resume_rsp, %rsp\n"
        "mov $16, %eax\n mov %eax, %ss\n mov %eax, %ds\n mov %eax, %es\n"
        "jmp 2f\n"
        ".globl attempt\n"
        "attempt:\n"
        "push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "mov %rsp, resume_rsp\n"
        "movq $0xff, seen_vector\n"
        "call *%rdi\n"
        "2: pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
        "mov seen_vector, %eax\n ret\n");

static void set_gate(unsigned vector, void *to, unsigned dpl, unsigned ist)
{
    extern u8 idt[];
    u64 at = (u64)to, *gate = (u64 *)(idt + 16 * vector);
    gate[0] = (at & 0xffff) | 8ul << 16 | (u64)ist << 32 | (0x8eul | dpl << 5) << 40 |
              (at >> 16 & 0xffff) << 48;
    gate[1] = at >> 32;
}

static void set_up(void)
{
    struct __attribute__((packed)) {
        unsigned short limit;
        u64 base;
    } table = { sizeof(gdt) - 1, (u64)gdt };
    u64 base = (u64)&tss;
    gdt[TR / 8] = 0x0000890000000000 | (sizeof(tss) - 1) | (base & 0xffffff) << 16 |
                  (base >> 24 & 0xff) << 56;
    gdt[TR / 8 + 1] = base >> 32;
    tss.rsp[0] = (u64)(ring_0_stack + sizeof(ring_0_stack));
    tss.ist[0] = (u64)(ist_stack + sizeof(ist_stack));
    tss.io_map = 104;
    for (unsigned i = 0; i < sizeof(tss.ports); i++)
        tss.ports[i] = 0xff;
    __asm__ volatile("lgdt %0; ltr %w1" : : "m"(table), "r"(TR));
    for (unsigned i = 0; i < 32; i++)
        set_gate(i, fault_stubs + 16 * i, i == BP ? 3 : 0, i == DF ? 1 : 0);
}

/* ---- exceptions of ring 0 ----------------------------------------------------------------------------- */

/* A function of a few instructions. */
#define INSTRUCTION(name, text) \
    void name(void);            \
    extern u8 name##_at[];      \
    __asm__(".globl " #name ", " #name "_at\n" #name ": " #name "_at: " text "; ret\n");
INSTRUCTION(undefined, "ud2")
INSTRUCTION(breakpoint, "int3; nop")
INSTRUCTION(divide, "divb zero")
INSTRUCTION(far_away,
            "movabs $0x800000000000, %rax; .globl far_load_at; far_load_at: mov (%rax), %rbx")
INSTRUCTION(far_stack, "movabs $0x800000000000, %rbp; mov 8(%rbp), %rax")
INSTRUCTION(bad_msr, "mov $0x12345, %ecx; rdmsr")
INSTRUCTION(bad_selector, "mov $0x1000, %eax; mov %eax, %es")
INSTRUCTION(absent_segment, "mov $0x38, %eax; mov %eax, %es")
INSTRUCTION(bad_cr4, "mov %cr4, %rax; bts $31, %rax; mov %rax, %cr4")
INSTRUCTION(no_fpu, "mov %cr0, %rax; or $8, %eax; mov %rax, %cr0; movaps %xmm0, %xmm1")
INSTRUCTION(misaligned_vector, "lea data_word + 8, %rax; and $-16, %rax; movaps 8(%rax), %xmm0")
INSTRUCTION(no_gate, "int $0x20")
INSTRUCTION(no_stack, "xor %esp, %esp; btc $62, %rsp; ud2")
volatile u8 zero;
volatile u64 data_word;
extern u8 far_load_at[];

static void exceptions(void)
{
    extern u8 idt[];
    EQUAL("ud2", attempt(undefined), UD);
    EQUAL("ud2: RIP is its own", seen_rip, (u64)undefined_at);
    TRUE("ud2: RF is in the frame", seen_flags & FLAG_RF);
    EQUAL("ud2: the frame is aligned", seen_stack & 15, 0);
    EQUAL("int3", attempt(breakpoint), BP);
    EQUAL("int3: RIP is behind it", seen_rip, (u64)breakpoint_at + 1);
    EQUAL("division by zero", attempt(divide), DE);
    EQUAL("an address that is not canonical", attempt(far_away), GP);
    EQUAL("such: no error code", seen_error, 0);
    EQUAL("such: RIP is the load's", seen_rip, (u64)far_load_at);
    EQUAL("a stack that is not canonical", attempt(far_stack), SS);
    EQUAL("a register that does not exist", attempt(bad_msr), GP);
    EQUAL("a selector beyond the table", attempt(bad_selector), GP);
    EQUAL("such: the code is the selector", seen_error, 0x1000);
    EQUAL("a segment that is not present", attempt(absent_segment), NP);
    EQUAL("such: the code is the selector", seen_error, ABSENT);
    EQUAL("a reserved bit of CR4", attempt(bad_cr4), GP);
    EQUAL("CR0.TS", attempt(no_fpu), NM);
    __asm__ volatile("clts");
    EQUAL("a vector that is not aligned", attempt(misaligned_vector), GP);
    u64 *gate = (u64 *)(idt + 0x20 * 16), was = *gate;
    *gate = 0;
    EQUAL("no gate", attempt(no_gate), GP);
    EQUAL("such: the code is the vector's", seen_error, 0x20 * 8 + 2);
    *gate = was;
    EQUAL("no stack for an exception", attempt(no_stack), DF);
    TRUE("#DF has the stack of its IST entry",
         seen_stack > (u64)ist_stack && seen_stack < (u64)ist_stack + sizeof(ist_stack));
    EQUAL("#DF: the code is 0", seen_error, 0);
}

/* ---- debug exceptions ---------------------------------------------------------------------------------- */

INSTRUCTION(
    stepped,
    "pushfq; orl $0x100, (%rsp); popfq; .globl stepped_first; stepped_first: nop; nop; pushfq; "
    "andl $-257, (%rsp); popfq; nop")
INSTRUCTION(stepped_ss,
            "mov %ss, %eax; pushfq; orl $0x100, (%rsp); popfq; mov %eax, %ss; nop; pushfq; "
            "andl $-257, (%rsp); popfq; nop")
INSTRUCTION(writes, "movl $1, data_word; .globl writes_next; writes_next: mov data_word, %eax; "
                    "movl $1, data_word + 4; nop")
INSTRUCTION(executes, "nop; .globl break_at; break_at: nop; nop")
INSTRUCTION(reads_dr, "mov %dr0, %rax")
extern u8 stepped_first[], writes_next[], break_at[];

static void set_dr7(u64 v)
{
    __asm__ volatile("mov %0, %%dr7" : : "r"(v));
}
static void set_dr0(const volatile void *v)
{
    __asm__ volatile("mov %0, %%dr0; mov %1, %%dr6" : : "r"(v), "r"(0xffff0ff0ul));
}

static void debug(void)
{
    keep_going = 1;
    n_seen = 0;
    attempt(stepped);
    EQUAL("single steps: as many as instructions", n_seen, 5);
    TRUE("single step: DR6.BS", seen_dr6 & 1 << 14);
    n_seen = 0;
    attempt(stepped_ss);
    EQUAL("no step behind an instruction that loads SS", n_seen, 4);
    n_seen = 0;
    set_dr0(&data_word);
    set_dr7(0xd0002); /* four bytes, writes */
    attempt(writes);
    set_dr7(0);
    EQUAL("a watched write: once", n_seen, 1);
    EQUAL("a watched write: RIP is behind it", seen_rip, (u64)writes_next);
    EQUAL("a watched write: DR6.B0", seen_dr6 & 0xf, 1);
    n_seen = 0;
    set_dr0(break_at);
    set_dr7(2);
    attempt(executes);
    set_dr7(0);
    EQUAL("a code breakpoint: once, thanks to RF", n_seen, 1);
    EQUAL("a code breakpoint: RIP is there", seen_rip, (u64)break_at);
    keep_going = 0;
    set_dr7(1 << 13);
    EQUAL("DR7.GD", attempt(reads_dr), DB);
    TRUE("DR7.GD: DR6.BD", seen_dr6 & 1 << 13);
}

/* ---- paging ------------------------------------------------------------------------------------------------ */

#define AREA 0x4000000000ul
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40 };
#define NX (1ul << 63)

static void set_page(unsigned i, const volatile void *to, u64 flags)
{
    pages[i] = (u64)to | flags;
    __asm__ volatile("invlpg (%0)" : : "r"(AREA + 4096ul * i) : "memory");
}

static u64 cr3(void)
{
    u64 v;
    __asm__ volatile("mov %%cr3, %0" : "=r"(v));
    return v & ~0xffful;
}
static u64 cr4(void)
{
    u64 v;
    __asm__ volatile("mov %%cr4, %0" : "=r"(v));
    return v;
}
static void set_cr4(u64 v)
{
    __asm__ volatile("mov %0, %%cr4" : : "r"(v) : "memory");
}

/* Leaf 7. */
static void features(u32 leaf[4])
{
    __asm__ volatile("cpuid"
                     : "=a"(leaf[0]), "=b"(leaf[1]), "=c"(leaf[2]), "=d"(leaf[3])
                     : "a"(7), "c"(0));
}

static void load_1(void)
{
    (void)*(volatile u8 *)(AREA + 0x1000);
}
static void store_1(void)
{
    *(volatile u8 *)(AREA + 0x1000) = 1;
}
static void jump_1(void)
{
    ((void (*)(void))(AREA + 0x1000))();
}
static void store_across(void)
{
    *(volatile u32 *)(AREA + 0x1ffe) = 0x11223344;
}

static void paging(void)
{
    u64 *pml4 = (u64 *)cr3(), *pdpt = (u64 *)(pml4[0] & ~0xffful);
    u32 leaf[4];
    pml4[0] |= U;
    pdpt[AREA >> 30] = (u64)directory | P | W | U;
    directory[0] = (u64)pages | P | W | U;
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1 << 11);
    EQUAL("nothing there: a load", attempt(load_1), PF);
    EQUAL("its code", seen_error, 0);
    EQUAL("its CR2", seen_cr2, AREA + 0x1000);
    attempt(store_1);
    EQUAL("a store's code", seen_error, 2);
    attempt(jump_1);
    EQUAL("a fetch's code", seen_error, 0x10);
    set_page(1, data_page, P | W | NX);
    EQUAL("a page", attempt(load_1), NONE);
    EQUAL("a load sets accessed", pages[1] & (A | D), A);
    attempt(store_1);
    EQUAL("a store sets dirty", pages[1] & (A | D), A | D);
    EQUAL("the store is there", data_page[0], 1);
    attempt(jump_1);
    EQUAL("no execution: the fetch's code", seen_error, 0x11);
    set_page(1, other_page, P | W);
    attempt(store_1);
    EQUAL("invlpg: the new page is used", other_page[0], 1);
    set_page(1, data_page, P);
    EQUAL("read only, CR0.WP off", attempt(store_1), NONE);
    __asm__ volatile("mov %%cr0, %%rax; bts $16, %%rax; mov %%rax, %%cr0" : : : "rax");
    EQUAL("read only, CR0.WP on", attempt(store_1), PF);
    EQUAL("its code", seen_error, 3);
    set_page(1, data_page, P | W | 1ul << 51);
    attempt(load_1);
    EQUAL("a reserved bit: the code", seen_error, 9);
    set_page(1, data_page, P | W);
    set_page(2, other_page, 0);
    data_page[4094] = 0;
    EQUAL("a store into the next page, which is absent", attempt(store_across), PF);
    EQUAL("such: CR2 is that page", seen_cr2, AREA + 0x2000);
    EQUAL("such: the first page is untouched", data_page[4094], 0);
    set_page(2, other_page, P | W);
    attempt(store_across);
    EQUAL("a store across pages", data_page[4095] << 8 | other_page[0], 0x3322);
    set_page(1, data_page, P | W | U);
    features(leaf);
    if (!(leaf[1] >> 20 & leaf[1] >> 7 & 1)) {
        skip("SMEP, SMAP", "not there");
        return;
    }
    set_cr4(cr4() | 1 << 20 | 1 << 21);
    EQUAL("SMAP", attempt(load_1), PF);
    EQUAL("SMAP: the code", seen_error, 1);
    __asm__ volatile("stac");
    EQUAL("SMAP after STAC", attempt(load_1), NONE);
    __asm__ volatile("clac");
    EQUAL("SMAP after CLAC", attempt(load_1), PF);
    attempt(jump_1);
    EQUAL("SMEP: the code", seen_error, 0x11);
    set_cr4(cr4() & ~(1ul << 20 | 1ul << 21));
}

/* ---- ring 3 ------------------------------------------------------------------------------------------------ */

/* In a page of their own, which is mapped for users at AREA + 0x3000. */
__asm__(".section .user, \"ax\"\n .balign 4096\n"
        ".globl user_page\n user_page:\n"
        ".balign 64\n cli\n"                 /* 0 */
        ".balign 64\n hlt\n"                 /* 1 */
        ".balign 64\n int3\n"                /* 2 */
        ".balign 64\n int $0x21\n"           /* 3 */
        ".balign 64\n mov %cr0, %rax\n"      /* 4 */
        ".balign 64\n in $0x80, %al\n ud2\n" /* 5 */
        ".balign 64\n mov 0x100000, %al\n"   /* 6: a supervisor's page */
        ".balign 64\n syscall\n"             /* 7 */
        ".balign 64\n pushfq\n orl $0x40000, (%rsp)\n popfq\n mov 1(%rsp), %eax\n ud2\n" /* 8 */
        ".balign 64\n sgdt -16(%rsp)\n ud2\n"                                            /* 9 */
        ".balign 64\n mov $0x2b, %eax\n mov %eax, %gs\n mov $16, %eax\n mov %eax, %gs\n" /* 10 */
        ".balign 64\n call 1f\n ud2\n 1: ret\n"                                          /* 11 */
        ".balign 64\n call 1f\n nop\n ud2\n 1: incq (%rsp)\n ret\n"                      /* 12 */
        ".balign 64\n lea 1f(%rip), %rax\n jmp *%rax\n 1: nop\n ud2\n"                   /* 13 */
        ".balign 64\n lea 1f(%rip), %rax\n jmp *%rax\n 1: endbr64\n ud2\n"               /* 14 */
        ".balign 64\n rdsspq %rax\n mov %rax, (%rax)\n"                                  /* 15 */
        ".balign 4096\n .text\n");
extern u8 user_page[];
static u64 user_rip;
void on_syscall(void);
volatile u64 syscall_rcx, syscall_r11;
__asm__(".globl on_syscall\n on_syscall:\n mov %rcx, syscall_rcx\n mov %r11, syscall_r11\n ud2\n");

static void in_ring_3(void)
{
    __asm__ volatile("pushq %0; pushq %1; pushq $0x202; pushq %2; pushq %3; iretq"
                     :
                     : "i"(USER_DATA | 3), "r"(AREA + 0x4f00), "i"(USER64 | 3), "r"(user_rip)
                     : "memory");
}

static u64 user(unsigned n)
{
    user_rip = AREA + 0x3000 + 64 * n;
    return attempt(in_ring_3);
}

static void rings(void)
{
    u32 leaf[4];
    set_page(3, user_page, P | U);
    set_page(4, data_page, P | W | U);
    EQUAL("ring 3: CLI", user(0), GP);
    EQUAL("ring 3: the frame's CS", seen_cs, USER64 | 3);
    EQUAL("ring 3: the frame's RSP", seen_rsp, AREA + 0x4f00);
    EQUAL("ring 3: its frame is on ring 0's stack", seen_stack,
          (u64)ring_0_stack + sizeof(ring_0_stack) - 64);
    EQUAL("ring 3: HLT", user(1), GP);
    EQUAL("ring 3: INT3 through a gate of DPL 3", user(2), BP);
    EQUAL("ring 3: INT n through one of DPL 0", user(3), GP);
    EQUAL("such: the code is the vector's", seen_error, 0x21 * 8 + 2);
    EQUAL("ring 3: MOV CR", user(4), GP);
    EQUAL("ring 3: a closed port", user(5), GP);
    tss.ports[0x80 / 8] = 0xfe;
    EQUAL("ring 3: an open one", user(5), UD);
    tss.ports[0x80 / 8] = 0xff;
    EQUAL("ring 3: a supervisor's page", user(6), PF);
    EQUAL("such: the code", seen_error, 5);
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1);
    wrmsr(0xc0000081, (u64)(USER32 | 3) << 48 | (u64)CODE64 << 32);
    wrmsr(0xc0000082, (u64)on_syscall);
    wrmsr(0xc0000084, 0x200);
    EQUAL("SYSCALL comes to LSTAR", user(7), UD);
    EQUAL("SYSCALL: ring 0", seen_cs, CODE64);
    EQUAL("SYSCALL: RCX is the next RIP", syscall_rcx, user_rip + 2);
    TRUE("SYSCALL: R11 are the flags", syscall_r11 & 0x200);
    TRUE("SYSCALL: masked flags are off", !(seen_flags & 0x200));
    __asm__ volatile("mov %%cr0, %%rax; bts $18, %%rax; mov %%rax, %%cr0" : : : "rax");
    EQUAL("ring 3: alignment check", user(8), AC);
    EQUAL("ring 3: SGDT", user(9), UD);
    features(leaf);
    if (leaf[2] >> 2 & 1) {
        set_cr4(cr4() | 1 << 11);
        EQUAL("ring 3: SGDT under UMIP", user(9), GP);
        set_cr4(cr4() & ~(1ul << 11));
    } else {
        skip("ring 3: SGDT under UMIP", "not there");
    }
    EQUAL("ring 3: a segment of ring 0", user(10), GP);
    EQUAL("such: the code is the selector", seen_error, DATA);
}

/* A program's shadow stack, in the page at AREA + 0x5000, and its indirect branches. */
static void control_flow(void)
{
    enum { U_CET = 0x6a0, PL3_SSP = 0x6a7, SHADOW = 1, ENDBR = 4, CP = 21 };
    const u64 wp = 1 << 16, cet = 1 << 23, top = AREA + 0x5ff8;
    u32 leaf[4];
    features(leaf);
    if (!(leaf[2] >> 7 & 1) || !(leaf[3] >> 20 & 1)) {
        skip("control-flow enforcement", "not there");
        return;
    }
    __asm__ volatile("mov %%cr0, %%rax; or %0, %%rax; mov %%rax, %%cr0" : : "r"(wp) : "rax");
    set_cr4(cr4() | cet);
    set_page(5, other_page, P | U | A | D);
    wrmsr(U_CET, SHADOW);
    wrmsr(PL3_SSP, top);
    EQUAL("CET: a return as it was called", user(11), UD);
    EQUAL("CET: PL3_SSP is what the ring left with", rdmsr(PL3_SSP), top);
    EQUAL("CET: the address was written down", *(u64 *)(other_page + 0xff0), user_rip + 5);
    EQUAL("CET: a smashed return", user(12), CP);
    EQUAL("such: the code", seen_error, 1);
    EQUAL("such: it is not popped", rdmsr(PL3_SSP), top - 8);
    EQUAL("CET: a store to the shadow stack", user(15), PF);
    EQUAL("such: the code", seen_error, 7);
    wrmsr(PL3_SSP, AREA + 0x4f00);
    EQUAL("CET: a call whose shadow stack is none", user(11), PF);
    EQUAL("such: the code", seen_error, 0x47);
    wrmsr(U_CET, ENDBR);
    EQUAL("CET: a jump to what is not ENDBR64", user(13), CP);
    EQUAL("such: the code", seen_error, 3);
    wrmsr(U_CET, ENDBR);
    EQUAL("CET: a jump to ENDBR64", user(14), UD);
    wrmsr(U_CET, 0);
    EQUAL("CET: nothing without it", user(12), UD);
    set_cr4(cr4() & ~cet);
}

/* ---- compatibility code --------------------------------------------------------------------------------------- */

/* 32-bit code through a far call, with a segment of 16 bytes in FS. */
void compat_32(void), compat_32_beyond(void), compat_16(void);
volatile u32 compat_result;
__asm__(".code32\n"
        ".globl compat_32\n compat_32:\n"
        "mov $0x40, %eax\n mov %eax, %fs\n mov %fs:12, %eax\n mov $0x12345678, %eax\n"
        "mov %eax, compat_result\n aaa\n lret\n"
        ".globl compat_32_beyond\n compat_32_beyond:\n"
        "mov $0x40, %eax\n mov %eax, %fs\n mov %fs:13, %eax\n lret\n"
        ".code16\n"
        ".globl compat_16\n compat_16:\n"
        "mov $0x1234, %ax\n movl $0x5678, %eax\n addr32 movl %eax, compat_result\n lretl\n"
        ".code64\n .text\n");
struct __attribute__((packed)) {
    u32 offset;
    unsigned short selector;
} far_pointer;

static void call_far(void)
{
    __asm__ volatile("lcall *far_pointer" : : : "rax", "rcx", "rdx", "memory", "cc");
}
static u64 compat(void (*to)(void), unsigned selector)
{
    far_pointer.offset = (u32)(u64)to;
    far_pointer.selector = (unsigned short)selector;
    return attempt(call_far);
}

static void older_code(void)
{
    EQUAL("32-bit code runs and comes back", compat(compat_32, CODE32), NONE);
    EQUAL("its store", compat_result, 0x12345678);
    EQUAL("32-bit code: beyond a segment's limit", compat(compat_32_beyond, CODE32), GP);
    EQUAL("such: the code is 0", seen_error, 0);
    __asm__ volatile("mov %0, %%fs" : : "r"(0));
}

/* ---- locks --------------------------------------------------------------------------------------------------------- */

static void locks(void)
{
    set_page(1, data_page, P | W);
    set_page(2, other_page, P | W);
    volatile u64 *across = (volatile u64 *)(AREA + 0x1ffc);
    *across = 0xffffffff;
    u64 one = 1;
    __asm__ volatile("lock xadd %0, %1" : "+r"(one), "+m"(*across));
    EQUAL("a locked addition across pages", *across, 0x100000000);
    EQUAL("such: the old value", one, 0xffffffff);
    u64 low = 1, high = 2;
    volatile u64 *pair = (volatile u64 *)data_page;
    pair[0] = 1;
    pair[1] = 2;
    u8 good;
    __asm__ volatile("lock cmpxchg16b %1; sete %0"
                     : "=q"(good), "+m"(*(volatile u8(*)[16])pair), "+a"(low), "+d"(high)
                     : "b"(3ul), "c"(4ul)
                     : "cc", "memory");
    TRUE("cmpxchg16b", good && pair[0] == 3 && pair[1] == 4);
}

void main(const struct start_info *info)
{
    set_up();
    exceptions();
    debug();
    paging();
    rings();
    control_flow();
    older_code();
    locks();
}
