/* Hot loops through memory, which a translator may run without looking at each address: what other harts, interrupts and
 * page tables do meanwhile. Memory order: unprivileged ISA 17; faults: privileged 10.3. */
#include "rt.h"

enum { N = 1024, ROUNDS = 60, V = 1, R = 2, W = 4, PU = 16, AD = 192 };
#define VA 0x40000000ul /* two pages of U-mode, reached from M-mode by MPRV */
typedef volatile u64 cells[N] __attribute__((aligned(4096)));
static cells x, y, seen[4];
static volatile u64 stop[512] __attribute__((aligned(4096)));
static u8 pages[4][4096] __attribute__((aligned(4096)));
static u64 root[512] __attribute__((aligned(4096))), level1[512] __attribute__((aligned(4096))),
    level0[512] __attribute__((aligned(4096)));
static volatile u64 arrived, flag, bad, acks, n_harts;

static u64 add(volatile u64 *to, u64 v)
{
    return __atomic_fetch_add(to, v, __ATOMIC_SEQ_CST);
}

/* All of n harts meet. */
static void meet(unsigned n)
{
    u64 ticket = add(&arrived, 1);
    while (arrived < ticket - ticket % n + n)
        ;
    __asm__ volatile("fence rw, rw" : : : "memory");
}

__attribute__((noinline)) static void fill(volatile u64 *to, u64 v)
{
    for (unsigned i = 0; i < N; i++)
        to[i] = v;
}

/* How many are older than v. */
__attribute__((noinline)) static u64 older(volatile u64 *at, u64 v)
{
    u64 n = 0;
    for (unsigned i = 0; i < N; i++)
        n += at[i] < v;
    return n;
}

__attribute__((noinline)) static void copy(volatile u64 *to, volatile u64 *from)
{
    for (unsigned i = 0; i < N; i++)
        to[i] = from[i];
}

/* ---- memory order ------------------------------------------------------------------------------------------ */

static void message_passing(void)
{
    unsigned id = hart_id();
    for (u64 i = 1; i <= ROUNDS; i++) {
        if (id == 0) {
            fill(x, i);
            __asm__ volatile("fence w, w" : : : "memory");
            flag = i;
        } else {
            u64 now;
            do
                now = flag;
            while (now < i);
            __asm__ volatile("fence r, r" : : : "memory");
            u64 n = older(x, now);
            if (n)
                add(&bad, n);
        }
        if (i % 8 == 0)
            meet(n_harts);
    }
}

/* Fences around loops: one of two sees all that the other wrote. */
static void store_buffering(void)
{
    static volatile u64 missed[2];
    unsigned id = hart_id();
    for (u64 i = 1; i <= ROUNDS; i++) {
        meet(n_harts);
        if (id < 2) {
            fill(id ? y : x, i);
            __asm__ volatile("fence rw, rw" : : : "memory");
            missed[id] = older(id ? x : y, i);
        }
        meet(n_harts);
        if (id == 0)
            bad += missed[0] && missed[1];
    }
}

/* Values go around between two harts; none comes out of nothing. */
static void load_buffering(void)
{
    unsigned id = hart_id();
    for (unsigned i = 0; i < ROUNDS; i++) {
        copy(id % 2 ? x : y, id % 2 ? y : x);
        if (i % 8 == 0)
            meet(n_harts);
    }
    if (older(x, 1) + older(y, 1) != 2 * N)
        add(&bad, 1);
}

/* One place, read over and over, only gets newer; so does each of a row that is written in order. */
__attribute__((noinline)) static u64 read_one(volatile u64 *at, unsigned n)
{
    u64 last = 0, older_ones = 0;
    for (unsigned i = 0; i < n; i++) {
        u64 now = *at;
        older_ones += now < last;
        last = now;
    }
    return older_ones;
}
__attribute__((noinline)) static void write_one(volatile u64 *at, u64 from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        *at = from + i;
}
static void coherence(void)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        u64 n = 0;
        if (hart_id() == 0)
            write_one(x, i * N, N);
        else
            n = read_one(x, N);
        if (n)
            add(&bad, n);
        meet(n_harts);
    }
}

/* Independent writes seen by two in different orders: each reads a row, then, behind a fence, the other. */
static void independent_writes(void)
{
    static volatile u64 first[2], second[2];
    unsigned id = hart_id();
    for (u64 i = 1; i <= ROUNDS; i++) {
        meet(n_harts);
        if (id < 2) {
            fill(id ? y : x, i);
        } else {
            volatile u64 *a = id == 2 ? x : y, *b = id == 2 ? y : x;
            first[id - 2] = N - older(a, i); /* new ones seen */
            __asm__ volatile("fence r, r" : : : "memory");
            second[id - 2] = older(b, i);
        }
        meet(n_harts);
        /* Each saw all of one row new and then all of the other old. */
        if (id == 0 && first[0] == N && first[1] == N)
            bad += second[0] == N && second[1] == N;
    }
}

/* Rows beside each other in one page, each changed by its own hart, one by atomics. */
__attribute__((noinline)) static void step_every_fourth(volatile u64 *at)
{
    for (unsigned i = 0; i < N; i += 4)
        at[i]++;
}
static void neighbours(void)
{
    unsigned id = hart_id();
    for (unsigned i = 0; i < ROUNDS; i++)
        if (id == 3)
            for (unsigned k = 3; k < N; k += 64)
                add(&x[k], 1);
        else
            step_every_fourth(x + id);
}

/* ---- page tables and code changed by another hart ------------------------------------------------------------- */

static void map(unsigned page, u64 to, u64 rights)
{
    level0[page] = to >> 12 << 10 | rights;
}

static void use_tables(void)
{
    root[VA >> 30] = (u64)level1 >> 12 << 10 | V;
    level1[0] = (u64)level0 >> 12 << 10 | V;
    csr_write(satp, 8ul << 60 | (u64)root >> 12);
    __asm__ volatile("sfence.vma" : : : "memory");
}

/* a0: read, a1: written, a2: until this is not 0; as U-mode by MPRV. What is left by a trap to M-mode is MPP = U. */
__attribute__((naked)) static void walk_as_user(u64 from, u64 to, u64 until)
{
    __asm__("li t0, 3 << 11\n csrc mstatus, t0\n li t0, 1 << 17\n csrs mstatus, t0\n"
            "1: li t0, 512\n mv t1, a0\n mv t2, a1\n"
            "2: ld t3, 0(t1)\n addi t1, t1, 8\n sd t3, 0(t2)\n addi t2, t2, 8\n addi t0, t0, -1\n "
            "bnez t0, 2b\n"
            "ld t0, 0(a2)\n beqz t0, 1b\n li t0, 1 << 17\n csrc mstatus, t0\n ret");
}

static void on_shootdown(struct frame *f)
{
    write32(MSIP + 4 * hart_id(), 0);
    __asm__ volatile("sfence.vma\n fence.i" : : : "memory");
    add(&acks, 1);
}

static void tell_others(void)
{
    u64 before = acks;
    for (unsigned to = 1; to < n_harts; to++)
        write32(MSIP + 4 * to, 1);
    while (acks < before + n_harts - 1)
        ;
}

static void fill_page(unsigned page, u64 v)
{
    for (unsigned i = 0; i < 4096; i += 8)
        *(volatile u64 *)(pages[page] + i) = v;
}

static u64 not_in_page(unsigned page, u64 v, u64 w)
{
    u64 n = 0;
    for (unsigned i = 0; i < 512; i++) {
        u64 is = ((volatile u64 *)pages[page])[i];
        n += is != v && is != w;
    }
    return n;
}

/* Hart 0 moves two pages, from one of which the others copy to the second. Once they know, nobody reads or writes the old ones;
 * an interrupt may have come between a load and its store. */
static void pages_move(void)
{
    if (hart_id()) {
        use_tables();
        csr_write(mie, 8);
        csr_set(mstatus, 8);
        meet(n_harts);
        walk_as_user(VA, VA + 4096, VA + 8192);
        csr_clear(mstatus, 8);
        csr_write(mie, 0);
        csr_write(satp, 0);
        return;
    }
    for (unsigned i = 0; i < 4; i++)
        fill_page(i, 0);
    map(0, (u64)pages[0], V | R | PU | AD);
    map(1, (u64)pages[1], V | R | W | PU | AD);
    map(2, (u64)stop, V | R | PU | AD);
    meet(n_harts);
    for (u64 i = 1; i <= ROUNDS; i++) {
        unsigned now = i % 2 * 2, old = 2 - now;
        fill_page(now, i);
        fill_page(now + 1, i);
        map(0, (u64)pages[now], V | R | PU | AD);
        map(1, (u64)pages[now + 1], V | R | W | PU | AD);
        __asm__ volatile("fence rw, rw" : : : "memory");
        tell_others();
        fill_page(old, ~0ul); /* whoever reads there copies it */
        fill_page(old + 1, 0);
        bad += not_in_page(now + 1, i, i - 1);
        bad += not_in_page(old + 1, 0, 0);
    }
    stop[0] = 1;
}

/* A loop that writes a number which is in its code: 1: li a2, NUMBER; sd a2, 0(a0); addi a0, a0, 8; addi a1, a1, -1;
 * bnez a1, 1b; ret */
static u32 writer[1024] __attribute__((aligned(4096))) = { 0x00100613, 0x00c53023, 0x00850513,
                                                           0xfff58593, 0xfe0598e3, 0x00008067 };
/* The same by a function: mv t1, ra; 1: jal 2f; addi a0, a0, 8; addi a1, a1, -1; bnez a1, 1b; jr t1; 2: li a2, NUMBER;
 * sd a2, 0(a0); ret */
static u32 caller[1024]
    __attribute__((aligned(4096))) = { 0x00008313, 0x014000ef, 0x00850513, 0xfff58593, 0xfe059ae3,
                                       0x00030067, 0x00100613, 0x00c53023, 0x00008067 };
static u32 *looper, *number;
static void code_changes(void)
{
    unsigned id = hart_id();
    if (id) {
        csr_write(mie, 8);
        csr_set(mstatus, 8);
        meet(n_harts);
        while (!stop[0])
            ((void (*)(volatile u64 *, u64))looper)(seen[id], N);
        csr_clear(mstatus, 8);
        csr_write(mie, 0);
        return;
    }
    meet(n_harts);
    for (u64 i = 1; i <= ROUNDS; i++) {
        __atomic_store_n(number, (u32)i << 20 | 0x613, __ATOMIC_RELAXED);
        __asm__ volatile("fence rw, rw" : : : "memory");
        tell_others();
        for (unsigned k = 1; k < n_harts; k++)
            fill(seen[k], 0); /* what stands there from now on is new */
        for (unsigned k = 1; k < n_harts; k++) {
            u64 old = 0;
            for (unsigned n = 0; n < N; n++) {
                u64 v;
                while (!(v = seen[k][n]))
                    ;
                old += v != i;
            }
            bad += old > 1; /* an interrupt may have come before the store */
        }
    }
    stop[0] = 1;
}

/* The hart that runs it changes it. */
static void own_code_changes(u32 *code, u32 *at, const char *name)
{
    u64 wrong = 0;
    for (u64 i = 1; i <= ROUNDS; i++) {
        __atomic_store_n(at, (u32)i << 20 | 0x613, __ATOMIC_RELAXED);
        __asm__ volatile("fence.i" : : : "memory");
        ((void (*)(volatile u64 *, u64))code)(seen[0], N);
        for (unsigned n = 0; n < N; n++)
            wrong += seen[0][n] != i;
    }
    check_equal(wrong, 0, name);
}

/* Functions that give a number: li a0, NUMBER; ret. Hart 0 writes them all in a loop, again and again, while others call them:
 * they give what was written last before that was said, or something newer. */
static cells functions;
static volatile u64 calls[8];
static void code_written_by_a_loop(void)
{
    unsigned id = hart_id(), k = id * 100;
    if (id == 0) {
        for (u64 i = 1; i <= ROUNDS; i++) {
            fill(functions, i << 20 | 0x513 | 0x8067ul << 32);
            __asm__ volatile("fence rw, rw" : : : "memory");
            flag = i;
            for (unsigned other = 1; other < n_harts; other++)
                for (u64 before = calls[other]; calls[other] < before + 2;)
                    ;
        }
        stop[0] = 1;
        return;
    }
    while (!flag)
        ;
    while (!stop[0]) {
        u64 now = flag;
        __asm__ volatile("fence rw, rw\n fence.i" : : : "memory");
        k = (k + (calls[id] % 16 == 0) * 37) % N;
        u64 is = ((u64(*)(void)) & functions[k])();
        if (is < now)
            add(&bad, 1);
        calls[id]++;
    }
}

/* As above, but the loop takes its time, and nobody has run these functions since it began: others begin to while it is
 * somewhere in the page, and may find any of the two numbers. When it is through they find the new one. */
__attribute__((noinline)) static void fill_slowly(volatile u64 *to, u64 v)
{
    double x = 2;
    for (unsigned i = 0; i < 512; i++) {
        __asm__ volatile("fsqrt.d %0, %0\n fsqrt.d %0, %0\n fsqrt.d %0, %0\n fsqrt.d %0, %0\n"
                         "fsqrt.d %0, %0\n fsqrt.d %0, %0\n fsqrt.d %0, %0\n fsqrt.d %0, %0"
                         : "+f"(x));
        to[i] = v;
    }
}

static void code_begun_beside_a_loop(void)
{
    enum { TIMES = 120 };
    unsigned id = hart_id();
    u64 random = id;
    for (u64 i = 1; i <= TIMES; i++) {
        if (id == 0) {
            fill(functions, (2 * i) << 20 | 0x513 | 0x8067ul << 32);
            meet(n_harts);
            fill_slowly(functions, (2 * i + 1) << 20 | 0x513 | 0x8067ul << 32);
            meet(n_harts);
            meet(n_harts);
            continue;
        }
        random = random * 6364136223846793005u + 1442695040888963407u;
        u64 (*function)(void) = (u64(*)(void)) & functions[256 + (random >> 33) % 256];
        meet(n_harts);
        __asm__ volatile("fence.i" : : : "memory");
        for (volatile unsigned k = (random >> 50) % 1024; k--;)
            ;
        add(&bad, function() / 2 != i);
        meet(n_harts);
        __asm__ volatile("fence.i" : : : "memory");
        add(&bad, function() != 2 * i + 1);
        meet(n_harts);
    }
}

/* ---- interrupts and faults ----------------------------------------------------------------------------------- */

static void on_timer(struct frame *f)
{
    write64(MTIMECMP, read64(MTIME) + 500);
    y[this_hart()->n_interrupts % N]++;
}

__attribute__((noinline)) static u64 sum(volatile u64 *at)
{
    u64 s = 0;
    for (unsigned i = 0; i < N; i++)
        s += at[i] ^ i;
    return s;
}

/* Interrupts all the time: loops compute what they do without, and see what the handler writes. */
static void interrupted(void)
{
    u64 n = 0, wrong = 0;
    fill(x, 5);
    fill(y, 0);
    u64 wanted = sum(x);
    this_hart()->n_interrupts = 0;
    this_hart()->on_interrupt = on_timer;
    write64(MTIMECMP, 0);
    csr_write(mie, 1 << 7);
    csr_set(mstatus, 8);
    while (this_hart()->n_interrupts < 200) {
        copy(seen[0], x);
        wrong += sum(seen[0]) != wanted;
        fill(seen[0], 0);
    }
    csr_clear(mstatus, 8);
    csr_write(mie, 0);
    write64(MTIMECMP, ~0ul);
    for (unsigned i = 0; i < N; i++)
        n += y[i];
    check_equal(wrong, 0, "loops under interrupts compute the same");
    check_equal(n, this_hart()->n_interrupts, "each interrupt is counted");
}

/* a0: from, a1: turns; gives the sum of what was read before the fault in a0. */
__attribute__((naked)) static void sum_up(void)
{
    __asm__("mv a2, a0\n li a0, 0\n .globl loops_load\n loops_load: ld a3, 0(a2)\n add a0, a0, "
            "a3\n addi a2, a2, 8\n"
            "addi a1, a1, -1\n bnez a1, loops_load\n ret");
}
extern char loops_load[];

/* A page that is not there, reached in each turn. */
static void faults_in_any_turn(void)
{
    u64 wrong = 0;
    for (unsigned i = 0; i < 512; i++)
        ((volatile u64 *)pages[0])[i] = i;
    root[2] = 0x80000000ul >> 12 << 10 | 207; /* V R W X A D: this code, for S-mode */
    map(0, (u64)pages[0], V | R | AD);
    map(1, 0, 0);
    use_tables();
    for (u64 turns = 1; turns < 300; turns++) {
        struct ended e = run(S, sum_up, VA + 4096 - 8 * turns, 1000);
        u64 first = 512 - turns, wanted = (first + 511) * turns / 2;
        wrong += e.cause != LOAD_PAGE || e.tval != VA + 4096 || e.value != wanted ||
                 e.pc != (u64)loops_load;
    }
    csr_write(satp, 0);
    __asm__ volatile("sfence.vma" : : : "memory");
    check_equal(wrong, 0, "a page that ends is noticed in its turn");
}

static void clear(void)
{
    arrived = flag = bad = acks = stop[0] = 0;
    fill(x, 0);
    fill(y, 0);
}

static void everywhere(void (*fn)(void), const char *name)
{
    clear();
    run_everywhere(fn);
    check_equal(bad, 0, name);
}

void test_main(void)
{
    interrupted();
    faults_in_any_turn();
    n_harts = start_harts();
    if (n_harts < 4) {
        skip("several harts", "fewer than 4 harts");
        return;
    }
    everywhere(message_passing, "message passing by rows");
    everywhere(store_buffering, "store buffering by rows");
    everywhere(load_buffering, "load buffering by rows");
    everywhere(coherence, "coherence of one place in a loop");
    everywhere(independent_writes, "independent writes by rows");
    clear();
    run_everywhere(neighbours);
    u64 wrong = 0;
    for (unsigned i = 0; i < N; i++)
        wrong += x[i] != (i % 4 != 3 || i % 64 == 3 ? ROUNDS : 0);
    check_equal(wrong, 0, "neighbours lose nothing");
    this_hart()->on_interrupt = NULL;
    for (unsigned i = 0; i < n_harts; i++)
        ((struct hart *)(harts + 1024 * i))->on_interrupt = on_shootdown;
    own_code_changes(writer, &writer[0], "code of a loop changed");
    own_code_changes(caller, &caller[6], "code of a function changed that a loop calls");
    looper = writer;
    number = &writer[0];
    everywhere(code_changes, "code of a loop changed by another hart");
    looper = caller;
    number = &caller[6];
    everywhere(code_changes, "code of a function changed by another hart while loops call it");
    everywhere(code_written_by_a_loop, "code written by a loop while others run it");
    everywhere(code_begun_beside_a_loop, "code begun while a loop writes it");
    everywhere(pages_move, "pages of a loop moved by another hart");
}
