/* Several harts: litmus tests of the memory model (unprivileged ISA 17), contention, interrupts
 * between harts, code changed by another hart. */
#include "rt.h"

enum { ROUNDS = 20000 };
struct line {
    volatile u64 v;
    u64 pad[15];
} __attribute__((aligned(128)));
static struct line x, y, seen[8], arrived, counter, lock, go;
static volatile unsigned n_harts;
static volatile u64 bad;

static u64 add(volatile u64 *to, u64 v)
{
    u64 old;
    __asm__ volatile("amoadd.d.aqrl %0, %1, (%2)" : "=r"(old) : "r"(v), "r"(to) : "memory");
    return old;
}

/* All of n harts meet. */
static void meet(unsigned n)
{
    u64 ticket = add(&arrived.v, 1);
    while (arrived.v < ticket - ticket % n + n)
        ;
    __asm__ volatile("fence rw, rw" : : : "memory");
}

/* Message passing: who sees the flag sees the data. */
static void message_passing(void)
{
    unsigned id = hart_id();
    if (id > 1)
        return;
    for (u64 i = 1; i <= ROUNDS; i++) {
        if (id == 0) {
            x.v = i;
            __asm__ volatile("fence w, w" : : : "memory");
            y.v = i;
            while (seen[1].v < i)
                ;
        } else {
            u64 flag, data;
            do
                flag = y.v;
            while (flag < i);
            __asm__ volatile("fence r, r" : : : "memory");
            data = x.v;
            bad += data < flag;
            __asm__ volatile("fence rw, rw" : : : "memory");
            seen[1].v = i;
        }
    }
}

/* As above with store-release and load-acquire made of atomics. */
static void message_passing_amo(void)
{
    unsigned id = hart_id();
    if (id > 1)
        return;
    for (u64 i = 1; i <= ROUNDS; i++) {
        if (id == 0) {
            x.v = i;
            __asm__ volatile("amoswap.d.rl zero, %0, (%1)" : : "r"(i), "r"(&y.v) : "memory");
            while (seen[1].v < i)
                ;
        } else {
            u64 flag;
            do
                __asm__ volatile("lr.d.aq %0, (%1)" : "=r"(flag) : "r"(&y.v) : "memory");
            while (flag < i);
            bad += x.v < flag;
            __asm__ volatile("fence rw, rw" : : : "memory");
            seen[1].v = i;
        }
    }
}

/* Store buffering with full fences: at least one sees the other's store. */
static void store_buffering(void)
{
    unsigned id = hart_id();
    if (id > 1)
        return;
    for (u64 i = 1; i <= ROUNDS; i++) {
        meet(2);
        volatile u64 *mine = id ? &y.v : &x.v, *theirs = id ? &x.v : &y.v;
        *mine = i;
        __asm__ volatile("fence rw, rw" : : : "memory");
        seen[id].v = *theirs;
        meet(2);
        if (id == 0)
            bad += seen[0].v < i && seen[1].v < i;
    }
}

/* Load buffering through dependencies cannot make values out of nothing. */
static void coherence(void)
{
    unsigned id = hart_id();
    u64 last = 0;
    if (id == 0) {
        for (u64 i = 1; i <= 20 * ROUNDS; i++)
            x.v = i;
    } else {
        for (unsigned i = 0; i < ROUNDS; i++) {
            u64 now = x.v;
            bad += now < last;
            last = now;
        }
    }
}

static void count_by_lrsc(void)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        __asm__ volatile("1: lr.d t0, (%0)\n addi t0, t0, 1\n sc.d t1, t0, (%0)\n bnez t1, 1b"
                         :
                         : "r"(&counter.v)
                         : "t0", "t1", "memory");
}

static void count_by_amo(void)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        __asm__ volatile("amoadd.w zero, %1, (%0)" : : "r"(&counter.v), "r"(1) : "memory");
}

static void count_under_lock(void)
{
    for (unsigned i = 0; i < ROUNDS / 4; i++) {
        u64 taken;
        do
            __asm__ volatile("amoswap.w.aq %0, %1, (%2)"
                             : "=r"(taken)
                             : "r"(1), "r"(&lock.v)
                             : "memory");
        while (taken);
        counter.v++;
        __asm__ volatile("amoswap.w.rl zero, zero, (%0)" : : "r"(&lock.v) : "memory");
    }
}

/* Half words beside each other changed by LR/SC on their word, as Linux does. */
static void count_halves(void)
{
    unsigned shift = (hart_id() & 1) * 16;
    for (unsigned i = 0; i < ROUNDS / 4; i++)
        __asm__ volatile("1: lr.w t0, (%0)\n add t0, t0, %1\n sc.w t1, t0, (%0)\n bnez t1, 1b"
                         :
                         : "r"(&counter.v), "r"(1 << shift)
                         : "t0", "t1", "memory");
}

static void check_count(u64 expected, const char *name)
{
    check_equal(counter.v, expected, name);
    counter.v = 0;
}

static void clear(void)
{
    x.v = y.v = arrived.v = bad = 0;
    for (unsigned i = 0; i < 8; i++)
        seen[i].v = 0;
}

/* Interrupts from hart to hart. */
static void take_ipi(struct frame *f)
{
    write32(MSIP + 4 * hart_id(), 0);
    add(&counter.v, 1);
}

static void ping(void)
{
    unsigned id = hart_id();
    this_hart()->on_interrupt = take_ipi;
    if (id) {
        csr_write(mie, 8);
        csr_set(mstatus, 8);
        add(&go.v, 1);
        while (this_hart()->n_interrupts < 100)
            __asm__ volatile("wfi");
        csr_clear(mstatus, 8);
        csr_write(mie, 0);
        return;
    }
    while (go.v < n_harts - 1)
        ;
    for (unsigned i = 0; i < 100; i++) {
        for (unsigned to = 1; to < n_harts; to++)
            write32(MSIP + 4 * to, 1);
        while (counter.v < (i + 1) * (n_harts - 1))
            ;
    }
}

/* Hart 0 rewrites a function, others run it after fence.i: they see at least what was announced. */
static u32 code[1024] __attribute__((aligned(4096)));
static void change_code(void)
{
    unsigned id = hart_id();
    enum { CHANGES = 300 };
    for (u64 i = 1; i <= CHANGES; i++) {
        if (id == 0) {
            code[0] = (u32)i << 20 | 10 << 7 | 0x13; /* li a0, i */
            __asm__ volatile("fence w, w" : : : "memory");
            y.v = i;
        } else {
            while (y.v < i)
                ;
            __asm__ volatile("fence r, rw\n fence.i" : : : "memory");
            bad += ((u64(*)(void))code)() != i;
        }
        meet(n_harts);
    }
}

void test_main(void)
{
    n_harts = start_harts();
    if (n_harts < 2) {
        skip("smp", "one hart");
        return;
    }
    clear();
    run_everywhere(message_passing);
    check_equal(bad, 0, "message passing with fences");
    clear();
    run_everywhere(message_passing_amo);
    check_equal(bad, 0, "message passing with amoswap.rl and lr.aq");
    clear();
    run_everywhere(store_buffering);
    check_equal(bad, 0, "store buffering with fences");
    clear();
    run_everywhere(coherence);
    check_equal(bad, 0, "coherence of one location");
    counter.v = 0;
    run_everywhere(count_by_lrsc);
    check_count((u64)ROUNDS * n_harts, "counting by LR/SC");
    run_everywhere(count_by_amo);
    check_count((u64)ROUNDS * n_harts, "counting by AMO");
    run_everywhere(count_under_lock);
    check_count((u64)ROUNDS / 4 * n_harts, "counting under a spin lock");
    run_everywhere(count_halves);
    check_count((u64)ROUNDS / 4 * ((n_harts + 1) / 2) | (u64)ROUNDS / 4 * (n_harts / 2) << 16,
                "counting halves of one word");
    run_everywhere(ping);
    check_count((u64)100 * (n_harts - 1), "interrupts between harts");
    clear();
    code[1] = 0x8067;
    run_everywhere(change_code);
    check_equal(bad, 0, "code changed by another hart");
}
