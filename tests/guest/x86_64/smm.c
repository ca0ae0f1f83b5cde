/* System management mode: SMIs by the command port and by message, what a handler finds and keeps from others, and
 * that whoever was interrupted notices nothing. The first handler moves SMBASE into SMRAM, the second is 64-bit code.
 * The command line says q35 or pc. */
#include "rt.h"

enum { PORT = 0xb2, SMBASE = 0x30000, SMRAM = 0xa0000, HANDLER = 0x8000 };
enum { BOX = 0x39000 }; /* where 16-bit code and we talk */
enum { MARK = 0x5a3c1234, TSEG_MARK = 0x7e5e67e5 };
#define TSEG 0x7f00000ul /* the last of 128 MiB */

static volatile struct box {
    u32 count, revision, cr0, rip;
    u8 gdt[16]; /* of ours, for the second handler */
    u32 cr3;
} *const box = (void *)BOX;

__asm__("    .section .rodata\n"
        "    .globl first, first_end, second, second_end\n"
        "    .code16\n"
        "first:\n"
        "    addr32 incl 0x39000\n"
        "    movl %cs:0xfefc, %eax\n"
        "    addr32 movl %eax, 0x39004\n"
        "    mov %cr0, %eax\n"
        "    addr32 movl %eax, 0x39008\n"
        "    movl %cs:0xff78, %eax\n"
        "    addr32 movl %eax, 0x3900c\n"
        "    movl $0xa0000, %cs:0xff00\n"
        "    rsm\n"
        "first_end:\n"
        "second:\n"
        "    addr32 lgdtl 0x39010\n"
        "    addr32 movl 0x39020, %eax\n"
        "    mov %eax, %cr3\n"
        "    mov $0x620, %eax\n"
        "    mov %eax, %cr4\n"
        "    mov $0xc0000080, %ecx\n"
        "    rdmsr\n"
        "    or $0x100, %eax\n"
        "    wrmsr\n"
        "    mov %cr0, %eax\n"
        "    or $0x80000001, %eax\n"
        "    mov %eax, %cr0\n"
        "    ljmpl $8, $0xa8000 + 1f - second\n"
        "    .code64\n"
        "1:  mov $16, %eax\n"
        "    mov %eax, %ds\n"
        "    mov %eax, %es\n"
        "    mov %eax, %ss\n"
        "    mov $0xac000, %esp\n"
        "    mov $in_smm, %rax\n"
        "    call *%rax\n"
        "    mov $-1, %rax\n"
        "    mov %rax, %rcx; mov %rax, %rdx; mov %rax, %rbx; mov %rax, %rbp; mov %rax, %rsi\n"
        "    mov %rax, %rdi; mov %rax, %r8; mov %rax, %r9; mov %rax, %r10; mov %rax, %r11\n"
        "    mov %rax, %r12; mov %rax, %r13; mov %rax, %r14; mov %rax, %r15\n"
        "    rsm\n"
        "second_end:\n"
        /* try_smi(regs): all registers from there, an SMI, and back to there; then RFLAGS. */
        "    .text\n"
        "    .globl try_smi\n"
        "try_smi:\n"
        "    push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n"
        "    mov 0(%rdi), %rax; mov 8(%rdi), %rcx; mov 16(%rdi), %rdx; mov 24(%rdi), %rbx\n"
        "    mov 32(%rdi), %rbp; mov 40(%rdi), %rsi; mov 56(%rdi), %r8; mov 64(%rdi), %r9\n"
        "    mov 72(%rdi), %r10; mov 80(%rdi), %r11; mov 88(%rdi), %r12; mov 96(%rdi), %r13\n"
        "    mov 104(%rdi), %r14; mov 112(%rdi), %r15; mov 48(%rdi), %rdi\n"
        "    std\n"
        "    stc\n"
        "    out %al, $0xb2\n"
        "    xchg (%rsp), %rdi\n"
        "    mov %rax, 0(%rdi); mov %rcx, 8(%rdi); mov %rdx, 16(%rdi); mov %rbx, 24(%rdi)\n"
        "    mov %rbp, 32(%rdi); mov %rsi, 40(%rdi); mov %r8, 56(%rdi); mov %r9, 64(%rdi)\n"
        "    mov %r10, 72(%rdi); mov %r11, 80(%rdi); mov %r12, 88(%rdi); mov %r13, 96(%rdi)\n"
        "    mov %r14, 104(%rdi); mov %r15, 112(%rdi)\n"
        "    pop %rax\n"
        "    mov %rax, 48(%rdi)\n"
        "    pushfq\n"
        "    pop 120(%rdi)\n"
        "    cld\n"
        "    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "    ret\n");
extern const u8 first[], first_end[], second[], second_end[];
void try_smi(u64 regs[16]);

/* ---- in system management mode ---------------------------------------------------------------------- */
static volatile struct {
    u32 count, mark, tseg, nmis;
    u64 rip, cs_rights, efer, rflags;
} seen;
static volatile bool wants_nmi;
void in_smm(void);

void in_smm(void)
{
    const volatile u8 *state = (const volatile u8 *)(SMRAM + HANDLER + 0x7e00ul);
    seen.count++;
    seen.mark = *(volatile u32 *)(SMRAM + 0x4000ul);
    seen.tseg = *(volatile u32 *)TSEG;
    seen.rip = *(volatile u64 *)(state + 0x178);
    seen.cs_rights = *(volatile u16 *)(state + 0x012);
    seen.efer = *(volatile u64 *)(state + 0x0d0);
    seen.rflags = *(volatile u64 *)(state + 0x170);
    if (wants_nmi) {
        mmio_write(LAPIC + ICR, 0x40400); /* to itself */
        for (volatile unsigned i = 0; i < 1000; i++) {
        }
        seen.nmis = count[2];
    }
}

/* ---- the chipset -------------------------------------------------------------------------------------- */
static void config(u8 devfn, u8 off, u32 v, unsigned size)
{
    out32(0xcf8, 0x80000000 | (u32)devfn << 8 | (off & 0xfc));
    if (size == 4)
        out32(0xcfc, v);
    else
        out8(0xcfc + off % 4, (u8)v);
}

static void enable_smis(bool q35)
{
    if (!q35) {
        config(1 << 3 | 3, 0x58, 0x02000000, 4);
        return;
    }
    config(0x1f << 3, 0x40, 0x601, 4);
    config(0x1f << 3, 0x44, 0x80, 1);
    out32(0x630, 0x21);
}

static void copy(u64 to, const u8 *from, const u8 *end)
{
    for (u64 i = 0; i < (u64)(end - from); i++)
        ((volatile u8 *)to)[i] = from[i];
}

/* ---- facts ---------------------------------------------------------------------------------------------- */
static void first_handler(void)
{
    copy(SMBASE + HANDLER, first, first_end);
    box->count = 0;
    out8(PORT, 0x10);
    EQUAL("an SMI is taken before the next instruction", box->count, 1);
    EQUAL("the save state is AMD64's", box->revision, 0x20064);
    EQUAL("CR0 has neither PE nor PG", box->cr0 & 0x80000001, 0);
    TRUE("RIP is behind the OUT", box->rip >= 0x100000 && box->rip < 0x200000);
}

static void set_up_smram(bool q35)
{
    u8 reg = q35 ? 0x9d : 0x72;
    u64 cr3;
    __asm__ volatile("sgdt %0" : "=m"(box->gdt));
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
    box->cr3 = (u32)cr3;
    config(0, reg, 0x48, 1); /* open */
    copy(SMRAM + HANDLER, second, second_end);
    *(volatile u32 *)(SMRAM + 0x4000ul) = MARK;
    *(volatile u32 *)TSEG = TSEG_MARK;
    if (q35)
        config(0, 0x9e, 0x01, 1); /* a TSEG of 1 MiB */
    config(0, reg, 0x18, 1);
    config(0, reg, 0x48, 1);
    TRUE("SMRAM is hidden once it is locked", *(volatile u32 *)(SMRAM + 0x4000ul) != MARK);
    if (q35)
        EQUAL("so is TSEG", *(volatile u32 *)TSEG, 0xffffffff);
    *(volatile u32 *)(SMRAM + 0x4000ul) = 0;
    *(volatile u32 *)TSEG = 0;
}

static void second_handler(bool q35)
{
    u64 regs[16], good = 1;
    for (u64 i = 0; i < 15; i++)
        regs[i] = 0x1122334455667700 + 0x0101010101010101 * i;
    try_smi(regs);
    EQUAL("the 64-bit handler ran", seen.count, 1);
    EQUAL("it sees SMRAM, which we could not write", seen.mark, MARK);
    EQUAL("and TSEG", seen.tseg, q35 ? TSEG_MARK : 0);
    EQUAL("RIP was saved", seen.rip > (u64)try_smi && seen.rip < (u64)try_smi + 256, 1);
    EQUAL("64-bit CS was saved", seen.cs_rights & 0x209f, 0x209b);
    EQUAL("EFER was saved", seen.efer & 0x500, 0x500);
    EQUAL("flags were saved", seen.rflags & 0x401, 0x401);
    for (u64 i = 0; i < 15; i++)
        good &= regs[i] == 0x1122334455667700 + 0x0101010101010101 * i;
    TRUE("all registers come back", good);
    EQUAL("flags come back", regs[15] & 0x401, 0x401);
    EQUAL("EFER comes back", rdmsr(0xc0000080) & 0x500, 0x500);
    EQUAL("SMRAM is hidden again", *(volatile u32 *)(SMRAM + 0x4000ul) != MARK, 1);
}

static void on_nmi(void)
{
}

static void others(void)
{
    u32 before = seen.count;
    apic_on();
    mmio_write(LAPIC + ICR, 0x40200);
    wait_ms(1);
    EQUAL("an SMI comes by message, too", seen.count, before + 1);
    wants_nmi = 1;
    on_vector[2] = on_nmi;
    count[2] = 0;
    out8(PORT, 0x10);
    EQUAL("an NMI waits in the handler", seen.nmis, 0);
    wait_ms(1);
    EQUAL("and comes behind it", count[2], 1);
    wants_nmi = 0;
    for (unsigned i = 0; i < 1000; i++)
        out8(PORT, 0x10);
    EQUAL("a thousand SMIs", seen.count, before + 1002);
}

void main(const struct start_info *info)
{
    bool q35 = cmdline_has("q35");
    enable_smis(q35);
    first_handler();
    set_up_smram(q35);
    second_handler(q35);
    others();
}
