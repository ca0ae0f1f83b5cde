/* Instructions of kernel mode that some hosts' KVM cannot emulate: whoever executes them, the results are the same, and so
 * are the exceptions, memory, other code at the same place. */
#include "rt.h"

enum { DB = 1, BP = 3, PF = 14 };
#define CR4_OSXSAVE (1ul << 18)
#define CR4_SMAP    (1ul << 21)
#define FLAG_AC     0x40000ul

static u64 idt[64] __attribute__((aligned(16)));
static u64 pair[2] __attribute__((aligned(16)));
static u8 area[1024] __attribute__((aligned(64)));
static u64 table[512] __attribute__((aligned(4096)));
extern u8 handle_bp[], handle_pf[], handle_db[];
volatile u64 n_bp, n_db, bp_rip, db_rip, pf_error, pf_cr2, pf_rip, go_on;

/* A page fault goes on at go_on, a breakpoint behind itself; a single step is the last one. */
__asm__("handle_bp: incq n_bp; push %rax; mov 8(%rsp), %rax; mov %rax, bp_rip; pop %rax; iretq\n"
        "handle_db: incq n_db; push %rax; mov 8(%rsp), %rax; mov %rax, db_rip; pop %rax\n"
        "    andq $~0x100, 16(%rsp); iretq\n"
        "handle_pf: push %rax; mov 8(%rsp), %rax; mov %rax, pf_error; mov %cr2, %rax; mov %rax, "
        "pf_cr2\n"
        "    mov 16(%rsp), %rax; mov %rax, pf_rip; mov go_on, %rax; mov %rax, 16(%rsp); pop %rax\n"
        "    add $8, %rsp; iretq\n");

static void set_gate(unsigned vector, const u8 *to)
{
    u64 at = (u64)to;
    idt[2 * vector] = (at & 0xffff) | 8ul << 16 | 0x8eul << 40 | (at >> 16 & 0xffff) << 48;
    idt[2 * vector + 1] = at >> 32;
}

static void load_idt(void)
{
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) pointer = { sizeof(idt) - 1, (u64)idt };
    set_gate(BP, handle_bp);
    set_gate(PF, handle_pf);
    set_gate(DB, handle_db);
    __asm__ volatile("lidt %0" : : "m"(pointer));
}

static void set_cr4(u64 bits)
{
    u64 v;
    __asm__ volatile("mov %%cr4, %0; or %1, %0; mov %0, %%cr4" : "=&r"(v) : "r"(bits) : "memory");
}

static u64 flags(void)
{
    u64 v;
    __asm__ volatile("pushf; pop %0" : "=r"(v));
    return v;
}

static void popcnt(void)
{
    u64 n, f;
    __asm__ volatile("popcnt %2, %0; pushf; pop %1"
                     : "=r"(n), "=r"(f)
                     : "r"(0xf0f0f0f000000001ul)
                     : "cc");
    EQUAL("popcnt counts", n, 17);
    EQUAL("popcnt: flags", f & 0x8d5, 0);
    __asm__ volatile("popcnt %2, %0; pushf; pop %1" : "=r"(n), "=r"(f) : "r"(0ul) : "cc");
    EQUAL("popcnt of zero: ZF", f & 0x8d5, 0x40);
}

static bool swap_pair(volatile u64 *at, u64 *low, u64 *high, u64 new_low, u64 new_high)
{
    bool good;
    __asm__ volatile("lock cmpxchg16b (%5); sete %0"
                     : "=q"(good), "+a"(*low), "+d"(*high)
                     : "b"(new_low), "c"(new_high), "r"(at)
                     : "cc", "memory");
    return good;
}

static void cmpxchg16b(void)
{
    u64 low = 1, high = 2;
    pair[0] = 1;
    pair[1] = 2;
    TRUE("cmpxchg16b: equal", swap_pair(pair, &low, &high, 3, 4));
    TRUE("such: it writes", pair[0] == 3 && pair[1] == 4);
    TRUE("cmpxchg16b: different", !swap_pair(pair, &low, &high, 5, 6));
    TRUE("such: it reads", low == 3 && high == 4 && pair[0] == 3);
}

static void access_checks(void)
{
    __asm__ volatile("stac");
    TRUE("stac sets AC", flags() & FLAG_AC);
    __asm__ volatile("clac");
    TRUE("clac clears it", !(flags() & FLAG_AC));
}

static void xsave(void)
{
    u64 seen[2];
    pair[0] = 0x1122334455667788;
    pair[1] = 0x99aabbccddeeff00;
    __asm__ volatile("xsetbv" : : "a"(3), "d"(0), "c"(0));
    __asm__ volatile("fninit; fld1; fwait; movdqu %0, %%xmm5" : : "m"(*(u8(*)[16])pair));
    __asm__ volatile("xsave %0" : "+m"(area) : "a"(3), "d"(0));
    EQUAL("xsave: a vector register", *(u64 *)(area + 160 + 80), pair[0]);
    EQUAL("xsave: the x87's, behind fwait", *(u64 *)(area + 32), 1ul << 63);
    EQUAL("xsave: what it wrote", *(u64 *)(area + 512) & 3, 3);
    *(u64 *)(area + 160 + 88) = 77;
    __asm__ volatile("fninit; xrstor %0" : : "m"(area), "a"(3), "d"(0));
    __asm__ volatile("movdqu %%xmm5, %0" : "=m"(*(u8(*)[16])seen));
    TRUE("xrstor", seen[0] == pair[0] && seen[1] == 77);
}

static void exceptions(void)
{
    u64 low = 0, high = 0;
    __asm__ volatile("int3; 1: lea 1b(%%rip), %0" : "=r"(low));
    EQUAL("int3 is delivered", n_bp, 1);
    EQUAL("such: RIP is behind it", bp_rip, low);
    /* At 200 MiB: the page of pair, only to read. */
    u64 cr3, *directory;
    __asm__ volatile("mov %%cr3, %0" : "=r"(cr3));
    directory = (u64 *)(*(u64 *)(*(u64 *)cr3 & ~0xffful) & ~0xffful);
    directory[100] = (u64)table | 3;
    u64 at = 100ul << 21 | ((u64)pair & 0xfff), cr0;
    table[0] = ((u64)pair & ~0xffful) | 1;
    __asm__ volatile("mov %%cr0, %0; bts $16, %0; mov %0, %%cr0" : "=&r"(cr0));
    __asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
    __asm__ volatile("lea 1f(%%rip), %%rsi; mov %%rsi, go_on; lock cmpxchg16b (%2); 1:"
                     : "+a"(low), "+d"(high)
                     : "r"(at), "b"(0ul), "c"(0ul)
                     : "rsi", "cc", "memory");
    EQUAL("a page fault is delivered: error", pf_error, 3);
    EQUAL("such: CR2", pf_cr2, at);
    TRUE("such: RIP is the instruction's", pf_rip < go_on && pf_rip > go_on - 9);
    table[0] |= 2;
    __asm__ volatile("mov %0, %%cr3" : : "r"(cr3) : "memory");
    low = pair[0];
    high = pair[1];
    TRUE("and goes on when the page is there",
         swap_pair((u64 *)at, &low, &high, 8, 9) && pair[1] == 9);
}

static void single_step(void)
{
    u64 behind;
    __asm__ volatile("pushf; orq $0x100, (%%rsp); popf; popcnt %%rsp, %%rax; 1: lea 1b(%%rip), %0"
                     : "=r"(behind)
                     :
                     : "rax", "cc", "memory");
    EQUAL("a single step", n_db, 1);
    EQUAL("such: RIP is behind it", db_rip, behind);
}

/* popcnt %rdi, %rax; ret. Then of RSI: the same place, other bytes. */
static void other_code(void)
{
    static u8 code[] = { 0xf3, 0x48, 0x0f, 0xb8, 0xc7, 0xc3 };
    u64 (*volatile call)(u64 a, u64 b) = (void *)code;
    EQUAL("code that was written", call(1, 7), 1);
    ((volatile u8 *)code)[4] = 0xc6;
    EQUAL("and is written again", call(1, 7), 3);
}

static void clock(void)
{
    u64 from = rdtsc(), n;
    __asm__ volatile("popcnt %1, %0" : "=r"(n) : "r"(from) : "cc");
    u64 to = rdtsc();
    TRUE("the clock goes on", to > from && to - from < 1ul << 36);
}

void ap_main(u32 cpu)
{
}

void main(const struct start_info *info)
{
    load_idt();
    set_cr4(CR4_OSXSAVE | CR4_SMAP);
    popcnt();
    cmpxchg16b();
    access_checks();
    xsave();
    exceptions();
    single_step();
    other_code();
    clock();
    finish();
}
