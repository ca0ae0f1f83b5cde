/* Further CPUs: INIT and start-up, IPIs to one and to all, atomics. */
#include "rt.h"

enum { PAGE = 0x8000, INIT = 0x4500, START = 0x4600, VECTOR = 0x80, N = 4 };

extern u8 ap_code[], ap_code_end[];
static volatile u32 n_alive, ids, go, n_done;
static volatile u64 shared;
/* Counters across the end of a cache line and of a page, between a bound and a counter of their own. */
static volatile u8 split[2 * 4096] __attribute__((aligned(4096)));
#define ACROSS_LINE (*(volatile u64 *)(split + 60))
#define ACROSS_PAGE (*(volatile u64 *)(split + 4092))
enum { N_SPLIT = 300 };
static volatile u64 pair[2] __attribute__((aligned(16)));

static void add_to_pair(void)
{
    u64 low = pair[0], high = pair[1];
    u8 good;
    do
        __asm__ volatile("lock cmpxchg16b %1; sete %0"
                         : "=q"(good), "+m"(*(volatile u8(*)[16])pair), "+a"(low), "+d"(high)
                         : "b"(low + 1), "c"(high - 1)
                         : "cc", "memory");
    while (!good);
}

static void add_many(void)
{
    for (unsigned i = 0; i < 2000; i++)
        __sync_fetch_and_add(&shared, 1);
    for (unsigned i = 0; i < N_SPLIT; i++) {
        __asm__ volatile("lock addq $1, %0" : "+m"(ACROSS_LINE) : : "cc");
        __asm__ volatile("lock addq $1, %0" : "+m"(ACROSS_PAGE) : : "cc");
        add_to_pair();
    }
}

void ap_main(u32 cpu)
{
    apic_on();
    __sync_fetch_and_or(&ids, 1u << (mmio_read(LAPIC + ID) >> 24));
    __sync_fetch_and_add(&n_alive, 1);
    while (!go)
        __asm__ volatile("pause");
    add_many();
    __sync_fetch_and_add(&n_done, 1);
    for (;;)
        __asm__ volatile("sti; hlt");
}

static bool reaches(volatile u32 *n, u32 wanted)
{
    for (unsigned i = 0; i < 100 && *n < wanted; i++)
        wait_ms(20);
    return *n == wanted;
}

void main(const struct start_info *info)
{
    for (unsigned i = 0; i < (unsigned)(ap_code_end - ap_code); i++)
        ((volatile u8 *)(u64)PAGE)[i] = ap_code[i];
    apic_on();
    mmio_write(LAPIC + LINT0, MASKED);
    eoi_of[VECTOR] = EOI_APIC;
    apic_ipi(0, 3 << 18 | INIT);
    wait_ms(10);
    apic_ipi(0, 3 << 18 | START | PAGE >> 12);
    TRUE("all start", reaches(&n_alive, N - 1));
    EQUAL("each has its own APIC ID", ids, (1u << N) - 2);
    apic_ipi(0, 3 << 18 | START | PAGE >> 12);
    wait_ms(10);
    EQUAL("a second start-up does nothing", n_alive, N - 1);
    go = 1;
    add_many();
    TRUE("all count", reaches(&n_done, N - 1));
    EQUAL("locked additions lose nothing", shared, N * 2000);
    EQUAL("nor do they across cache lines", ACROSS_LINE, N * N_SPLIT);
    if (cmdline_has("plain-locks"))
        skip("locks across pages", "not here");
    else
        EQUAL("nor across pages", ACROSS_PAGE, N * N_SPLIT);
    TRUE("cmpxchg16b loses nothing", pair[0] == N * N_SPLIT && pair[1] == -(u64)(N * N_SPLIT));
    apic_ipi(0, 3 << 18 | VECTOR);
    TRUE("an IPI to all others wakes them", reaches(&count[VECTOR], N - 1));
    apic_ipi(2, VECTOR);
    TRUE("an IPI to one", reaches(&count[VECTOR], N));
    apic_ipi(0, 2 << 18 | VECTOR);
    TRUE("an IPI to all comes back, too", reaches(&count[VECTOR], 2 * N));
}
