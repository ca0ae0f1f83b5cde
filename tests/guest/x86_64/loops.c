/* Hot loops through memory, which a translator may run without looking at each address: what other CPUs, interrupts and page
 * tables do meanwhile. What the memory model forbids (SDM 3-10.2.2): loads and stores stay in order, but for a load before
 * which a store waits. */
#include "rt.h"

enum {
    PAGE = 0x8000,
    INIT = 0x4500,
    START = 0x4600,
    TIMER = 0x70,
    TELL = 0x71,
    PF = 14,
    N = 512,
    CPUS = 4
};
enum { P = 1, W = 2, AT = 0x50000000 }; /* an address for pages of the test's own */
typedef volatile u64 row[N] __attribute__((aligned(4096)));

extern u8 ap_code[], ap_code_end[];
static row x, y, seen[2 * CPUS], pages[4], stop;
static u64 table[512] __attribute__((aligned(4096)));
static volatile u32 n_alive, n_jobs, n_done, arrived, acks, n_cpus;
static void (*volatile job)(unsigned cpu);
static volatile u64 bad;
static unsigned rounds = 60;

/* All meet. */
static void meet(void)
{
    u32 ticket = __sync_fetch_and_add(&arrived, 1);
    while (arrived < ticket - ticket % n_cpus + n_cpus)
        __asm__ volatile("pause");
}

/* ---- loops ------------------------------------------------------------------------------------------------- */

__attribute__((noinline)) static void fill(volatile u64 *to, u64 v)
{
    for (unsigned i = 0; i < N; i++)
        to[i] = v;
}
__attribute__((noinline)) static void fill_two(volatile u64 *to, volatile u64 *then, u64 v)
{
    for (unsigned i = 0; i < N; i++) {
        to[i] = v;
        then[i] = v;
    }
}
/* One of `first`, then one of `then`. */
__attribute__((noinline)) static void read_two(volatile u64 *first, volatile u64 *then,
                                               volatile u64 *a, volatile u64 *b)
{
    for (unsigned i = 0; i < N; i++) {
        u64 v = first[i];
        b[i] = then[i];
        a[i] = v;
    }
}
__attribute__((noinline)) static void read_then_write(volatile u64 *read, volatile u64 *write,
                                                      u64 v, volatile u64 *a)
{
    for (unsigned i = 0; i < N; i++) {
        u64 was = read[i];
        write[i] = v;
        a[i] = was;
    }
}
__attribute__((noinline)) static u64 older(volatile u64 *at, u64 v)
{
    u64 n = 0;
    for (unsigned i = 0; i < N; i++)
        n += at[i] < v;
    return n;
}
__attribute__((noinline)) static u64 read_one(volatile u64 *at)
{
    u64 last = 0, n = 0;
    for (unsigned i = 0; i < N; i++) {
        u64 now = *at;
        n += now < last;
        last = now;
    }
    return n;
}
__attribute__((noinline)) static void write_one(volatile u64 *at, u64 from)
{
    for (unsigned i = 0; i < N; i++)
        *at = from + i;
}
__attribute__((noinline)) static void copy(volatile u64 *to, volatile u64 *from)
{
    for (unsigned i = 0; i < N; i++)
        to[i] = from[i];
}
__attribute__((noinline)) static u64 sum(volatile u64 *at)
{
    u64 s = 0;
    for (unsigned i = 0; i < N; i++)
        s += at[i] ^ i;
    return s;
}

/* ---- memory order --------------------------------------------------------------------------------------------- */

/* The rows race in each round; afterwards CPU 0 looks at what was seen. */
static void message_passing(unsigned cpu)
{
    for (u64 r = 1; r <= rounds; r++) {
        meet();
        if (cpu == 0)
            fill_two(x, y, r);
        else
            read_two(y, x, seen[2 * cpu], seen[2 * cpu + 1]);
        meet();
        for (unsigned i = 0; i < N && cpu; i++)
            if (seen[2 * cpu][i] == r && seen[2 * cpu + 1][i] != r)
                __sync_fetch_and_add(&bad, 1);
    }
}
static void load_buffering(unsigned cpu)
{
    for (u64 r = 1; r <= rounds; r++) {
        meet();
        if (cpu < 2)
            read_then_write(cpu ? y : x, cpu ? x : y, r, seen[cpu]);
        meet();
        for (unsigned i = 0; i < N && !cpu; i++)
            bad += seen[0][i] == r && seen[1][i] == r;
    }
}
static void independent_writes(unsigned cpu)
{
    for (u64 r = 1; r <= rounds; r++) {
        meet();
        if (cpu < 2)
            fill(cpu ? y : x, r);
        else
            read_two(cpu == 2 ? x : y, cpu == 2 ? y : x, seen[2 * cpu], seen[2 * cpu + 1]);
        meet();
        for (unsigned i = 0; i < N && !cpu; i++)
            bad += seen[4][i] == r && seen[5][i] != r && seen[6][i] == r && seen[7][i] != r;
    }
}
/* Around rows, a fence: one of two sees all that the other wrote. */
static void store_buffering(unsigned cpu)
{
    for (u64 r = 1; r <= rounds; r++) {
        meet();
        if (cpu < 2) {
            fill(cpu ? y : x, r);
            __asm__ volatile("mfence" : : : "memory");
            seen[cpu][0] = older(cpu ? x : y, r);
        }
        meet();
        if (!cpu)
            bad += seen[0][0] && seen[1][0];
    }
}
static void coherence(unsigned cpu)
{
    for (u64 r = 0; r < rounds; r++) {
        u64 n = 0;
        if (cpu == 0)
            write_one(x, r * N);
        else
            n = read_one(x);
        if (n)
            __sync_fetch_and_add(&bad, n);
        meet();
    }
}
/* Each CPU's own of each four, one of them by locked additions. */
__attribute__((noinline)) static void step_every_fourth(volatile u64 *at)
{
    for (unsigned i = 0; i < N; i += 4)
        at[i]++;
}
static void neighbours(unsigned cpu)
{
    for (unsigned r = 0; r < rounds; r++)
        if (cpu == 3)
            for (unsigned k = 3; k < N; k += 64)
                __sync_fetch_and_add(&x[k], 1);
        else
            step_every_fourth(x + cpu);
}

/* ---- page tables and code changed by another CPU ------------------------------------------------------------- */

static void flush_pages(void)
{
    __asm__ volatile("invlpg %0\n invlpg %1"
                     :
                     : "m"(*(u8 *)AT), "m"(*(u8 *)(AT + 4096))
                     : "memory");
}
static void on_tell(void)
{
    flush_pages();
    __sync_fetch_and_add(&acks, 1); /* the return from here is serializing */
}
static void tell_others(void)
{
    u32 before = acks;
    apic_ipi(0, 3 << 18 | TELL);
    while (acks < before + n_cpus - 1)
        __asm__ volatile("pause");
}

/* The 2 MiB at AT by pages of our own, of which none is there. */
static void own_pages(void)
{
    u64 *at;
    __asm__ volatile("mov %%cr3, %0" : "=r"(at));
    at = (u64 *)(at[0] & ~0xffful);
    at = (u64 *)(at[AT >> 30] & ~0xffful);
    at[AT >> 21 & 511] = (u64)table | P | W;
    __asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
}

static u64 not_in(volatile u64 *at, u64 v, u64 w)
{
    u64 n = 0;
    for (unsigned i = 0; i < N; i++)
        n += at[i] != v && at[i] != w;
    return n;
}

/* CPU 0 moves two pages, from one of which the others copy to the second. Once they know, nobody reads or writes the old
 * ones; an interrupt may have come between a load and its store. */
static void pages_move(unsigned cpu)
{
    if (cpu) {
        meet();
        irq_on();
        while (!stop[0])
            copy((volatile u64 *)(AT + 4096), (volatile u64 *)AT);
        irq_off();
        return;
    }
    table[0] = (u64)pages[0] | P;
    table[1] = (u64)pages[1] | P | W;
    for (unsigned i = 0; i < 4; i++)
        fill(pages[i], 0);
    meet();
    for (u64 r = 1; r <= rounds; r++) {
        unsigned now = r % 2 * 2, old = 2 - now;
        fill(pages[now], r);
        fill(pages[now + 1], r);
        table[0] = (u64)pages[now] | P;
        table[1] = (u64)pages[now + 1] | P | W;
        tell_others();
        fill(pages[old], ~0ul); /* whoever reads there copies it */
        fill(pages[old + 1], 0);
        bad += not_in(pages[now + 1], r, r - 1);
        bad += not_in(pages[old + 1], 0, 0);
    }
    stop[0] = 1;
}

/* A loop that writes a number which is in its code: 1: mov eax, NUMBER; mov [rdi], rax; add rdi, 8; dec rsi; jnz 1b; ret */
static u8 writer[4096]
    __attribute__((aligned(4096))) = { 0xb8, 1,    0,    0,    0,    0x48, 0x89, 0x07, 0x48,
                                       0x83, 0xc7, 0x08, 0x48, 0xff, 0xce, 0x75, 0xef, 0xc3 };
/* The same by a function: 1: call 2f; add rdi, 8; dec rsi; jnz 1b; ret; 2: mov eax, NUMBER; mov [rdi], rax; ret */
static u8 caller[4096]
    __attribute__((aligned(4096))) = { 0xe8, 0x0a, 0,    0,    0,    0x48, 0x83, 0xc7,
                                       0x08, 0x48, 0xff, 0xce, 0x75, 0xf2, 0xc3, 0xb8,
                                       1,    0,    0,    0,    0x48, 0x89, 0x07, 0xc3 };
static u8 *looper;
static volatile u8 *number;
static void code_changes(unsigned cpu)
{
    if (cpu) {
        meet();
        irq_on();
        while (!stop[0])
            ((void (*)(volatile u64 *, u64))looper)(seen[cpu], N);
        irq_off();
        return;
    }
    meet();
    for (u64 r = 1; r <= rounds; r++) {
        *number = (u8)r;
        tell_others();
        for (unsigned k = 1; k < n_cpus; k++)
            fill(seen[k], 0); /* what stands there from now on is new */
        for (unsigned k = 1; k < n_cpus; k++) {
            u64 old = 0;
            for (unsigned i = 0; i < N; i++) {
                u64 v;
                while (!(v = seen[k][i]))
                    __asm__ volatile("pause");
                old += v != r;
            }
            bad += old > 1; /* an interrupt may have come before the store */
        }
    }
    stop[0] = 1;
}

/* The CPU that runs it changes it. */
static void own_code_changes(u8 *code, volatile u8 *at, const char *name)
{
    u64 wrong = 0;
    for (u64 r = 1; r <= rounds; r++) {
        *at = (u8)r;
        ((void (*)(volatile u64 *, u64))code)(seen[0], N);
        for (unsigned i = 0; i < N; i++)
            wrong += seen[0][i] != r;
    }
    EQUAL(name, wrong, 0);
}

/* Functions that give a number: mov eax, NUMBER; ret. CPU 0 writes them all in a loop, again and again, while others call
 * them: they give what was written last before that was said, or something newer. */
static row functions;
static volatile u64 calls[CPUS];
static volatile u64 written;
static void code_written_by_a_loop(unsigned cpu)
{
    unsigned k = cpu * 100;
    if (cpu == 0) {
        for (u64 r = 1; r <= rounds; r++) {
            fill(functions, 0xb8 | r << 8 | 0xc3ul << 40);
            written = r;
            for (unsigned other = 1; other < n_cpus; other++)
                for (u64 before = calls[other]; calls[other] < before + 2;)
                    __asm__ volatile("pause");
        }
        stop[0] = 1;
        return;
    }
    while (!written)
        __asm__ volatile("pause");
    while (!stop[0]) {
        u32 leaf[4];
        u64 now = written;
        cpuid(0, leaf); /* serializing */
        k = (k + (calls[cpu] % 16 == 0) * 37) % N;
        if (((u64(*)(void)) & functions[k])() < now)
            __sync_fetch_and_add(&bad, 1);
        calls[cpu]++;
    }
}

/* ---- interrupts and faults ------------------------------------------------------------------------------------- */

static void on_timer(void)
{
    y[count[TIMER] % N]++;
}

static void interrupted(void)
{
    u64 wrong = 0, n = 0;
    fill(x, 5);
    fill(y, 0);
    u64 wanted = sum(x);
    forget_interrupts();
    eoi_of[TIMER] = EOI_APIC;
    on_vector[TIMER] = on_timer;
    mmio_write(LAPIC + TIMER_DIVIDE, 0xb);
    mmio_write(LAPIC + LVT_TIMER, 1 << 17 | TIMER);
    mmio_write(LAPIC + TIMER_INITIAL, 100000);
    irq_on();
    for (unsigned i = 0; i < 1000 * rounds && count[TIMER] < 5 * rounds; i++) {
        copy(seen[0], x);
        wrong += sum(seen[0]) != wanted;
        fill(seen[0], 0);
    }
    irq_off();
    mmio_write(LAPIC + TIMER_INITIAL, 0);
    for (unsigned i = 0; i < N; i++)
        n += y[i];
    EQUAL("loops under interrupts compute the same", wrong, 0);
    EQUAL("each interrupt is counted", n, count[TIMER]);
    TRUE("some of them", n > 4);
}

static volatile u64 fault_at, n_faults;
static void on_fault(void)
{
    u64 at;
    __asm__ volatile("mov %%cr2, %0" : "=r"(at));
    fault_at = at;
    n_faults++;
    table[1] = (u64)pages[1] | P;
}

__attribute__((noinline)) static u64 sum_up(volatile u64 *at, unsigned n)
{
    u64 s = 0;
    while (n--)
        s += *at++;
    return s;
}

/* A page that is not there yet, reached in each turn. */
static void faults_in_any_turn(void)
{
    u64 wrong = 0;
    own_pages();
    on_vector[PF] = on_fault;
    for (unsigned i = 0; i < N; i++)
        pages[0][i] = pages[1][i] = i;
    table[0] = (u64)pages[0] | P;
    for (u64 turns = 1; turns < 5 * rounds; turns++) {
        u64 first = N - turns;
        table[1] = 0;
        flush_pages();
        n_faults = 0;
        u64 s = sum_up((volatile u64 *)(AT + 8 * first), (unsigned)turns + 100);
        wrong += n_faults != 1 || fault_at != AT + 4096 || s != (first + N - 1) * turns / 2 + 4950;
    }
    EQUAL("a page that ends is noticed in its turn", wrong, 0);
    on_vector[PF] = NULL;
}

/* ---- all CPUs ---------------------------------------------------------------------------------------------------- */

void ap_main(u32 cpu)
{
    u32 n = 0;
    apic_on();
    __sync_fetch_and_add(&n_alive, 1);
    for (;;) {
        while (n_jobs == n)
            __asm__ volatile("pause");
        n++;
        job(cpu);
        __sync_fetch_and_add(&n_done, 1);
    }
}

static void everywhere(void (*fn)(unsigned cpu), const char *name)
{
    fill(x, 0);
    fill(y, 0);
    arrived = n_done = 0;
    bad = stop[0] = 0;
    job = fn;
    __sync_fetch_and_add(&n_jobs, 1);
    fn(0);
    while (n_done < n_cpus - 1)
        __asm__ volatile("pause");
    if (name)
        EQUAL(name, bad, 0);
}

static void start_cpus(void)
{
    for (unsigned i = 0; i < (unsigned)(ap_code_end - ap_code); i++)
        ((volatile u8 *)(u64)PAGE)[i] = ap_code[i];
    mmio_write(LAPIC + LINT0, MASKED);
    apic_ipi(0, 3 << 18 | INIT);
    wait_ms(10);
    apic_ipi(0, 3 << 18 | START | PAGE >> 12);
    for (unsigned i = 0; i < 200 && n_alive < CPUS - 1; i++)
        wait_ms(20);
    n_cpus = n_alive + 1;
}

void main(const struct start_info *info)
{
    u64 wrong = 0;
    if (cmdline_has("few")) /* an engine that takes long for each instruction */
        rounds = 3;
    apic_on();
    interrupted();
    faults_in_any_turn();
    start_cpus();
    EQUAL("all start", n_cpus, CPUS);
    if (n_cpus < CPUS)
        return;
    everywhere(message_passing, "message passing in loops");
    everywhere(load_buffering, "load buffering in loops");
    everywhere(independent_writes, "independent writes in loops");
    everywhere(store_buffering, "store buffering by rows");
    everywhere(coherence, "coherence of one place in a loop");
    everywhere(neighbours, NULL);
    for (unsigned i = 0; i < N; i++)
        wrong += x[i] != (i % 4 != 3 || i % 64 == 3 ? rounds : 0);
    EQUAL("neighbours lose nothing", wrong, 0);
    eoi_of[TELL] = EOI_APIC;
    on_vector[TELL] = on_tell;
    own_code_changes(writer, &writer[1], "code of a loop changed");
    own_code_changes(caller, &caller[16], "code of a function changed that a loop calls");
    looper = writer;
    number = &writer[1];
    everywhere(code_changes, "code of a loop changed by another CPU");
    looper = caller;
    number = &caller[16];
    everywhere(code_changes, "code of a function changed by another CPU while loops call it");
    everywhere(code_written_by_a_loop, "code written by a loop while others run it");
    everywhere(pages_move, "pages of a loop moved by another CPU");
}
