#include "rt.h"

u8 harts[8 * 1024] __attribute__((aligned(1024)));
u8 trap_stacks[8 * 8192] __attribute__((aligned(16)));
static u8 low_stacks[8][4096] __attribute__((aligned(16)));
void (*volatile hart_entry)(void);
static unsigned n_failed;
_Static_assert(sizeof(struct hart) <= 1024, "HART_SIZE in start.S");

void run_asm(u64 mpp, u64 pc, u64 sp, u64 a, u64 b, u64 ra);
void __attribute__((noreturn)) run_resume(struct hart *h);
void trap(struct frame *f);
void *memset(void *to, int c, u64 n);
void *memcpy(void *to, const void *from, u64 n);

void *memset(void *to, int c, u64 n)
{
    for (u8 *p = to; n--;)
        *p++ = c;
    return to;
}

void *memcpy(void *to, const void *from, u64 n)
{
    u8 *p = to;
    for (const u8 *q = from; n--;)
        *p++ = *q++;
    return to;
}

/* ---- console and facts --------------------------------------------------------------------------- */

void print(const char *s)
{
    for (; *s; s++) {
        while (!(*(volatile u8 *)(UART + 5ul) & 0x20))
            ;
        *(volatile u8 *)(u64)UART = *s;
    }
}

void print_hex(u64 v)
{
    char text[19], *p = text + sizeof(text) - 1;
    *p = '\0';
    do
        *--p = "0123456789abcdef"[v & 15];
    while (v >>= 4);
    *--p = 'x';
    *--p = '0';
    print(p);
}

void check(int holds, const char *name)
{
    print(holds ? "ok " : "not ok ");
    print(name);
    print("\n");
    n_failed += !holds;
}

void check_equal(u64 got, u64 expected, const char *name)
{
    if (got == expected) {
        check(1, name);
        return;
    }
    print("not ok ");
    print(name);
    print(": got ");
    print_hex(got);
    print(", expected ");
    print_hex(expected);
    print("\n");
    n_failed++;
}

void check_trap(const struct ended *e, u64 cause, int mode, const char *name)
{
    if (e->cause == cause && (cause == NO_TRAP || e->mode == mode)) {
        check(1, name);
        return;
    }
    print("not ok ");
    print(name);
    print(": cause ");
    print_hex(e->cause);
    print(" in mode ");
    print_hex(e->mode);
    print(" at ");
    print_hex(e->pc);
    print(" value ");
    print_hex(e->tval);
    print(", expected cause ");
    print_hex(cause);
    print("\n");
    n_failed++;
}

void skip(const char *name, const char *why)
{
    print("skip ");
    print(name);
    print(": ");
    print(why);
    print("\n");
}

void finish(void)
{
    print("done\n");
    write32(FINISHER, n_failed ? (n_failed > 100 ? 100 : n_failed) << 16 | 0x3333 : 0x5555);
    for (;;)
        __asm__ volatile("wfi");
}

/* ---- traps ----------------------------------------------------------------------------------------- */

/* Called on the hart's trap stack. */
void trap(struct frame *f)
{
    struct hart *h = (struct hart *)f;
    if (f->cause & INTERRUPT) {
        h->n_interrupts++;
        h->last_interrupt = f->cause & ~INTERRUPT;
        if (h->on_interrupt) {
            h->on_interrupt(f);
            return;
        }
    }
    if (!h->running) {
        print("not ok unexpected trap: cause ");
        print_hex(f->cause);
        print(" at ");
        print_hex(f->pc);
        print(" value ");
        print_hex(f->tval);
        print("\n");
        n_failed++;
        finish();
    }
    const u64 *a = &f->x[9];
    h->running = 0;
    h->ended = (struct ended){ f->cause, f->tval, f->pc, f->status, a[0], M, f->status >> 11 & 3 };
    if (f->cause >= ECALL_U && f->cause <= ECALL_M && a[7] == 0x5eed)
        h->ended.cause = NO_TRAP;
    if (f->cause == ECALL_S && a[7] == 0x5eee)
        h->ended = (struct ended){ a[0], a[1], a[2], a[3], 0, S, a[3] >> 8 & 1 };
    run_resume(h);
}

struct ended run_moved(int mode, const void *fn, u64 a, u64 b, u64 moved)
{
    struct hart *h = this_hart();
    u8 *stack = low_stacks[hart_id()] + sizeof(low_stacks[0]);
    h->running = 1;
    run_asm((u64)mode << 11, (u64)fn + moved, (u64)stack + moved, a, b, (u64)run_return + moved);
    return h->ended;
}

struct ended run(int mode, const void *fn, u64 a, u64 b)
{
    return run_moved(mode, fn, a, b, 0);
}

/* ---- harts ------------------------------------------------------------------------------------------- */

static void (*volatile harts_fn)(void);
static volatile u64 n_arrived, n_runs, n_done;

static void hart_arrives(void)
{
    u64 runs = 0;
    __atomic_fetch_add(&n_arrived, 1, __ATOMIC_SEQ_CST);
    for (;;) {
        while (__atomic_load_n(&n_runs, __ATOMIC_SEQ_CST) == runs)
            ;
        harts_fn();
        runs++;
        __atomic_fetch_add(&n_done, 1, __ATOMIC_SEQ_CST);
    }
}

unsigned start_harts(void)
{
    __atomic_store_n(&hart_entry, hart_arrives, __ATOMIC_SEQ_CST);
    u64 until = read64(MTIME) + 2000000;
    while (read64(MTIME) < until && n_arrived < 3)
        ;
    return n_arrived + 1;
}

void run_everywhere(void (*fn)(void))
{
    u64 others = n_arrived;
    harts_fn = fn;
    u64 runs = __atomic_add_fetch(&n_runs, 1, __ATOMIC_SEQ_CST);
    fn();
    while (__atomic_load_n(&n_done, __ATOMIC_SEQ_CST) != runs * others)
        ;
}
