/* Physical memory protection, privileged architecture 3.7. */
#include "rt.h"

enum { R = 1, W = 2, X = 4, TOR = 1 << 3, NA4 = 2 << 3, NAPOT = 3 << 3, L = 1 << 7 };

static u8 area[8192] __attribute__((aligned(8192)));
static struct ended e;

__attribute__((naked)) static void load8(void)
{
    __asm__("ld a0, (a0)\n ret");
}
__attribute__((naked)) static void load4(void)
{
    __asm__("lw a0, (a0)\n ret");
}
__attribute__((naked)) static void store4(void)
{
    __asm__("sw a1, (a0)\n ret");
}
__attribute__((naked)) static void call_it(void)
{
    __asm__("jr a0");
}

static void fence(void)
{
    __asm__ volatile("sfence.vma" : : : "memory");
}

/* Instructions at a run into a word that may not be fetched from. */
static void fetches(u64 a)
{
    u16 *code = (u16 *)a;
    for (unsigned i = 0; i < 16; i++)
        code[i] = 1;   /* c.nop */
    code[16] = 0x8082; /* ret */
    __asm__ volatile("fence.i" : : : "memory");
    csr_write(pmpaddr0, (a + 16) >> 2);
    csr_write(pmpcfg0, (u64)(NAPOT | R | W | X) << 56 | (NA4 | R | W));
    fence();
    e = run(S, call_it, a, 0);
    check_trap(&e, INSN_ACCESS, M, "NA4: code that runs into a forbidden word faults there");
    check_equal(e.pc, a + 16, "its address");
    code[7] = 0x0013; /* nop, whose second half is the word */
    code[8] = 0;
    __asm__ volatile("fence.i" : : : "memory");
    e = run(S, call_it, a, 0);
    check_trap(&e, INSN_ACCESS, M, "NA4: an instruction that reaches into it");
    check_equal(e.pc, a + 14, "its address");
    check_equal(e.tval, a + 16, "the address of the part that may not be fetched");
    e = run(S, call_it, a + 20, 0);
    check_trap(&e, NO_TRAP, M, "NA4: code behind it runs");
}

static void regions(u64 grain)
{
    u64 a = (u64)area;
    /* 0: 4 KiB NAPOT, read only; 7: everything else. */
    csr_write(pmpaddr0, a >> 2 | 0x1ff);
    csr_write(pmpaddr7, -1);
    csr_write(pmpcfg0, (u64)(NAPOT | R | W | X) << 56 | (NAPOT | R));
    fence();
    e = run(S, load8, a, 0);
    check_trap(&e, NO_TRAP, M, "NAPOT: S reads");
    e = run(S, store4, a + 8, 1);
    check_trap(&e, STORE_ACCESS, M, "NAPOT: a forbidden write faults");
    check_equal(e.tval, a + 8, "its address");
    e = run(U, store4, a + 4092, 1);
    check_trap(&e, STORE_ACCESS, M, "NAPOT: U too, to the end");
    e = run(U, store4, a + 4096, 1);
    check_trap(&e, NO_TRAP, M, "NAPOT: behind it a lower entry counts");
    e = run(S, call_it, a, 0);
    check_trap(&e, INSN_ACCESS, M, "NAPOT: a forbidden fetch faults");
    check_equal(e.tval, a, "its address");
    e = run(M, store4, a + 8, 5);
    check_trap(&e, NO_TRAP, M, "M is not bound by an unlocked entry");

    csr_write(pmpcfg0, (u64)(NAPOT | R | W | X) << 56);
    fence();
    e = run(S, store4, a + 8, 1);
    check_trap(&e, NO_TRAP, M, "an entry that is off does not count");

    csr_write(pmpcfg0, (NAPOT | R));
    fence();
    e = run(S, load8, a, 0);
    check_trap(&e, INSN_ACCESS, M, "what no entry matches is forbidden to S");

    /* top of range: [a, a + 4096) nothing, by entries 1 and 2 */
    csr_write(pmpaddr1, a >> 2);
    csr_write(pmpaddr2, (a + 4096) >> 2);
    csr_write(pmpcfg0, (u64)(NAPOT | R | W | X) << 56 | (u64)TOR << 16);
    fence();
    e = run(S, load8, a + 4088, 0);
    check_trap(&e, LOAD_ACCESS, M, "TOR: inside");
    e = run(S, load8, a + 4096, 0);
    check_trap(&e, NO_TRAP, M, "TOR: the end is outside");
    e = run(S, load8, a - 8, 0);
    check_trap(&e, NO_TRAP, M, "TOR: below");
    e = run(S, load8, a + 4092, 0);
    check_trap(&e, LOAD_ACCESS, M, "a misaligned access that is partly inside faults");

    if (grain == 4) {
        csr_write(pmpaddr0, (a + 16) >> 2);
        csr_write(pmpcfg0, (u64)(NAPOT | R | W | X) << 56 | (NA4 | R));
        fence();
        e = run(S, store4, a + 16, 1);
        check_trap(&e, STORE_ACCESS, M, "NA4: the word");
        e = run(S, store4, a + 20, 1);
        check_trap(&e, NO_TRAP, M, "NA4: the next word");
        e = run(S, store4, a + 12, 1);
        check_trap(&e, NO_TRAP, M, "NA4: the one before");
        e = run(S, load4, a + 16, 1);
        check_trap(&e, NO_TRAP, M, "NA4: a read");
        csr_write(pmpcfg0, (u64)(NAPOT | R | W | X) << 56 | NA4);
        fence();
        e = run(S, load8, a + 12, 1);
        check_trap(&e, LOAD_ACCESS, M, "NA4: an access whose end is forbidden faults");
        e = run(S, load8, a + 16, 1);
        check_trap(&e, LOAD_ACCESS, M, "NA4: one whose start is forbidden does");
        e = run(S, load8, a + 14, 1);
        check_trap(&e, LOAD_ACCESS, M, "NA4: a misaligned one around the word does");
        csr_write(pmpaddr0, (a + 4092) >> 2);
        fence();
        e = run(S, load8, a + 4090, 1);
        check_trap(&e, LOAD_ACCESS, M, "NA4: one around the last word of a page does");
        e = run(S, load8, a + 4096, 1);
        check_trap(&e, NO_TRAP, M, "NA4: not one behind it");
        fetches(a);
    } else {
        skip("NA4", "the grain is larger");
    }
}

static void locking(void)
{
    u64 a = (u64)area;
    csr_write(pmpaddr0, a >> 2 | 0x1ff);
    csr_write(pmpcfg0, (u64)(NAPOT | R | W | X) << 56 | (L | NAPOT | R));
    fence();
    e = run(M, store4, a, 1);
    check_trap(&e, STORE_ACCESS, M, "a locked entry binds M");
    e = run(M, load8, a, 1);
    check_trap(&e, NO_TRAP, M, "as far as it says");
    csr_write(pmpaddr0, 0);
    check_equal(csr_read(pmpaddr0), a >> 2 | 0x1ff, "a locked address stays");
    csr_write(pmpcfg0, 0);
    check_equal(csr_read(pmpcfg0), L | NAPOT | R, "a locked configuration stays, others do not");
}

void test_main(void)
{
    csr_write(pmpcfg0, 0);
    csr_write(pmpaddr0, -1);
    u64 ones = csr_read(pmpaddr0);
    if (!ones) {
        skip("PMP", "not there");
        return;
    }
    check_equal(ones >> 54, 0, "pmpaddr has 54 bits");
    regions(4ul << __builtin_ctzl(ones));
    locking();
}
