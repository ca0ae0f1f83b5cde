/* Address translation: Sv39, Sv48, Sv57; rights, A and D, SUM, MXR, MPRV, superpages, ASIDs, accesses
 * across pages. Privileged architecture 10.3 to 10.6. */
#include "rt.h"

enum { V = 1, R = 2, W = 4, X = 8, PU = 16, G = 32, A = 64, D = 128 };
#define RWXAD     (V | R | W | X | A | D)
#define USER_MOVE 0x100000000ul /* memory again, for U, this much higher */
#define TEST_VA   0x40000000ul  /* a gigabyte of small test pages */

static u64 tables[16][512] __attribute__((aligned(4096)));
static u8 pages[8][4096] __attribute__((aligned(4096)));
static unsigned n_tables;
static int levels;
static u64 *root;
static struct ended e;

static u64 *new_table(void)
{
    u64 *t = tables[n_tables++];
    for (int i = 0; i < 512; i++)
        t[i] = 0;
    return t;
}

static unsigned index_of(u64 va, int level)
{
    return va >> (12 + 9 * level) & 511;
}

/* The entry for va at a level, with tables made on the way. */
static u64 *entry(u64 va, int level)
{
    u64 *t = root;
    for (int l = levels - 1; l > level; l--) {
        u64 *slot = &t[index_of(va, l)];
        if (!*slot)
            *slot = (u64)new_table() >> 12 << 10 | V;
        t = (u64 *)(*slot >> 10 << 12);
    }
    return &t[index_of(va, level)];
}

static void map(u64 va, u64 pa, int level, u64 flags)
{
    *entry(va, level) = pa >> 12 << 10 | flags;
}

static void flush(void)
{
    __asm__ volatile("sfence.vma" : : : "memory");
}

static void enable(int mode)
{
    n_tables = 0;
    levels = mode - 5; /* Sv39 is 8 with 3 levels */
    root = new_table();
    map(0x80000000, 0x80000000, 2, RWXAD);
    map(0x80000000 + USER_MOVE, 0x80000000, 2, RWXAD | PU);
    csr_write(satp, (u64)mode << 60 | (u64)root >> 12);
    flush();
}

/* Leaves: no stack, so that they run anywhere. */
__attribute__((naked)) static void load8(void)
{
    __asm__("ld a0, (a0)\n ret");
}
__attribute__((naked)) static void load4(void)
{
    __asm__("lw a0, (a0)\n ret");
}
__attribute__((naked)) static void load1(void)
{
    __asm__("lbu a0, (a0)\n ret");
}
__attribute__((naked)) static void store8(void)
{
    __asm__("sd a1, (a0)\n ret");
}
__attribute__((naked)) static void store1(void)
{
    __asm__("sb a1, (a0)\n ret");
}
__attribute__((naked)) static void amoadd8(void)
{
    __asm__("amoadd.d a0, a1, (a0)\n ret");
}
__attribute__((naked)) static void lr8(void)
{
    __asm__("lr.d a0, (a0)\n ret");
}
__attribute__((naked)) static void sc8(void)
{
    __asm__("lr.d t0, (a0)\n sc.d a0, a1, (a0)\n ret");
}
__attribute__((naked)) static void call_it(void)
{
    __asm__("jr a0");
}
__attribute__((naked)) static void load8_sum(void)
{
    __asm__("li t0, 0x40000\n csrs sstatus, t0\n ld a0, (a0)\n csrc sstatus, t0\n ret");
}
__attribute__((naked)) static void load_twice_sum(void)
{
    __asm__(
        "li t0, 0x40000\n csrs sstatus, t0\n ld a2, (a0)\n csrc sstatus, t0\n ld a0, (a0)\n ret");
}

static struct ended user(const void *fn, u64 a, u64 b)
{
    return run_moved(U, fn, a, b, USER_MOVE);
}

static u64 page(unsigned i)
{
    return (u64)pages[i];
}

static void reads_and_writes(void)
{
    map(TEST_VA, page(0), 0, V | R | W | A | D);
    map(TEST_VA + 4096, page(1), 0, V | R | A);
    map(TEST_VA + 2 * 4096, page(2), 0, V | X | A);
    map(TEST_VA + 3 * 4096, page(3), 0, V | R | W | A | D | PU);
    map(TEST_VA + 4 * 4096, page(4), 0, V | W | A | D);
    map(TEST_VA + 5 * 4096, page(5), 0, R | W | A | D);
    map(TEST_VA + 6 * 4096, page(6), 0, V | R | X | A | PU);
    flush();
    write64(page(0), 0x1122334455667788);
    write64(page(1), 0x99);
    write64(page(2), 0x8082); /* ret */
    write64(page(3), 0x33);
    write64(page(6), 0x8082);
    __asm__ volatile("fence.i");
    e = run(S, load8, TEST_VA, 0);
    check_equal(e.value, 0x1122334455667788, "S reads through the table");
    e = run(S, store8, TEST_VA + 8, 77);
    check_trap(&e, NO_TRAP, M, "S writes through the table");
    check_equal(read64(page(0) + 8), 77, "the write arrived");
    e = run(S, load8, TEST_VA + 4096, 0);
    check_equal(e.value, 0x99, "read-only page reads");
    e = run(S, store8, TEST_VA + 4096 + 16, 1);
    check_trap(&e, STORE_PAGE, M, "read-only page: a write faults");
    check_equal(e.tval, TEST_VA + 4096 + 16, "the fault's address");
    e = run(S, amoadd8, TEST_VA + 4096, 1);
    check_trap(&e, STORE_PAGE, M, "read-only page: an atomic faults as a store");
    e = run(S, lr8, TEST_VA + 4096, 1);
    check_trap(&e, NO_TRAP, M, "read-only page: lr reads");
    e = run(S, sc8, TEST_VA + 4096, 1);
    check_trap(&e, STORE_PAGE, M, "read-only page: sc faults");
    e = run(S, load8, TEST_VA + 2 * 4096, 0);
    check_trap(&e, LOAD_PAGE, M, "execute-only page: a read faults");
    e = run(S, call_it, TEST_VA + 2 * 4096, 0);
    check_trap(&e, NO_TRAP, M, "execute-only page executes");
    csr_set(mstatus, 1 << 19);
    e = run(S, load8, TEST_VA + 2 * 4096, 0);
    check_trap(&e, NO_TRAP, M, "execute-only page reads with MXR");
    csr_clear(mstatus, 1 << 19);
    e = run(S, load8, TEST_VA + 2 * 4096, 0);
    check_trap(&e, LOAD_PAGE, M, "and no more without MXR");
    e = run(S, call_it, TEST_VA, 0);
    check_trap(&e, INSN_PAGE, M, "a page without X does not execute");
    check_equal(e.tval, TEST_VA, "the fetch's address");
    check_equal(e.pc, TEST_VA, "the fetch's pc");
    e = run(S, load8, TEST_VA + 4 * 4096, 0);
    check_trap(&e, LOAD_PAGE, M, "W without R is reserved");
    e = run(S, load8, TEST_VA + 5 * 4096, 0);
    check_trap(&e, LOAD_PAGE, M, "not valid");
    e = run(S, load8, 0x12345678, 0);
    check_trap(&e, LOAD_PAGE, M, "no table");
}

static void user_pages(void)
{
    e = user(load8, TEST_VA + 3 * 4096, 0);
    check_equal(e.value, 0x33, "U reads its page");
    e = user(load8, TEST_VA, 0);
    check_trap(&e, LOAD_PAGE, M, "U does not read a page of S");
    e = user(store8, TEST_VA, 0);
    check_trap(&e, STORE_PAGE, M, "U does not write a page of S");
    e = user(call_it, TEST_VA + 6 * 4096, 0);
    check_trap(&e, NO_TRAP, M, "U executes its page");
    e = run(S, call_it, TEST_VA + 6 * 4096, 0);
    check_trap(&e, INSN_PAGE, M, "S does not execute a page of U");
    e = run(S, load8, TEST_VA + 3 * 4096, 0);
    check_trap(&e, LOAD_PAGE, M, "S does not read a page of U");
    e = run(S, load8_sum, TEST_VA + 3 * 4096, 0);
    check_equal(e.value, 0x33, "S reads a page of U with SUM");
    e = run(S, load_twice_sum, TEST_VA + 3 * 4096, 0);
    check_trap(&e, LOAD_PAGE, M, "and no more in the instruction behind clearing SUM");
    csr_set(mstatus, 1 << 18);
    e = run(S, call_it, TEST_VA + 6 * 4096, 0);
    check_trap(&e, INSN_PAGE, M, "SUM does not let S execute a page of U");
    csr_clear(mstatus, 1 << 18);
}

static void by_mprv(void)
{
    u64 v, status = 1 << 17 | 1 << 11; /* MPRV, MPP S */
    csr_clear(mstatus, 3 << 11);
    __asm__ volatile("csrs mstatus, %1\n ld %0, (%2)\n csrc mstatus, %1"
                     : "=&r"(v)
                     : "r"(status), "r"(TEST_VA));
    check_equal(v, 0x1122334455667788, "M reads as S with MPRV");
    v = read64(0x80000000);
    check(v != 0, "and as M behind it");
}

static void accessed_and_dirty(int hardware)
{
    u64 *pte = entry(TEST_VA + 0x10000, 0);
    *pte = page(4) >> 12 << 10 | V | R | W | X;
    flush();
    write64(page(4), 0x8082);
    __asm__ volatile("fence.i");
    if (!hardware) {
        e = run(S, load8, TEST_VA + 0x10000, 0);
        check_trap(&e, LOAD_PAGE, M, "Svade: a read without A faults");
        *pte |= A;
        flush();
        e = run(S, load8, TEST_VA + 0x10000, 0);
        check_trap(&e, NO_TRAP, M, "Svade: a read with A");
        e = run(S, store8, TEST_VA + 0x10000, 0x8082);
        check_trap(&e, STORE_PAGE, M, "Svade: a write without D faults");
        *pte |= D;
        flush();
        e = run(S, store8, TEST_VA + 0x10000, 0x8082);
        check_trap(&e, NO_TRAP, M, "Svade: a write with D");
        check_equal(*pte & (A | D), A | D, "Svade: the bits stay");
        return;
    }
    e = run(S, load8, TEST_VA + 0x10000, 0);
    check_trap(&e, NO_TRAP, M, "Svadu: a read without A");
    check_equal(*pte & (A | D), A, "Svadu: sets A only");
    e = run(S, load8, TEST_VA + 0x10008, 0);
    check_equal(*pte & (A | D), A, "Svadu: a second read does not set D");
    e = run(S, store8, TEST_VA + 0x10000, 0x8082);
    check_trap(&e, NO_TRAP, M, "Svadu: a write without D");
    check_equal(*pte & (A | D), A | D, "Svadu: sets D");
    *pte &= ~(u64)(A | D);
    flush();
    e = run(S, call_it, TEST_VA + 0x10000, 0);
    check_trap(&e, NO_TRAP, M, "Svadu: a fetch without A");
    check_equal(*pte & (A | D), A, "Svadu: a fetch sets A");
    *pte = page(4) >> 12 << 10 | V | R | A;
    flush();
    e = run(S, store8, TEST_VA + 0x10000, 0);
    check_trap(&e, STORE_PAGE, M, "Svadu: a forbidden write faults");
    check_equal(*pte & D, 0, "Svadu: and sets nothing");
}

static void across_pages(void)
{
    map(TEST_VA + 0x20000, page(5), 0, V | R | W | A | D);
    map(TEST_VA + 0x21000, page(2), 0, V | R | W | A | D); /* not the next in memory */
    map(TEST_VA + 0x22000, page(7), 0, V | R | A);
    flush();
    write64(page(5) + 0xff8, 0x0807060504030201);
    write64(page(2), 0x100f0e0d0c0b0a09);
    e = run(S, load8, TEST_VA + 0x20ffd, 0);
    check_equal(e.value, 0x0d0c0b0a09080706, "a read across two pages");
    e = run(S, load4, TEST_VA + 0x20fff, 0);
    check_equal(e.value, 0x0b0a0908, "a read of 4 across two pages");
    e = run(S, store8, TEST_VA + 0x20ffc, 0x8877665544332211);
    check_trap(&e, NO_TRAP, M, "a write across two pages");
    check_equal(read64(page(5) + 0xff8), 0x4433221104030201, "its first half");
    check_equal(read64(page(2)), 0x100f0e0d88776655, "its second half");
    write64(page(2) + 0xff8, 0);
    write64(page(7), 0);
    e = run(S, store8, TEST_VA + 0x21ffc, ~0ul);
    check_trap(&e, STORE_PAGE, M, "a write into a read-only second page faults");
    check_equal(e.tval, TEST_VA + 0x22000, "at the second page");
    check_equal(read64(page(2) + 0xff8), 0, "and writes nothing to the first");
    e = run(S, load8, TEST_VA + 0x22ffa, 0);
    check_trap(&e, LOAD_PAGE, M, "a read into an absent second page faults");
    check_equal(e.tval, TEST_VA + 0x23000, "at the second page");
    e = run(S, amoadd8, TEST_VA + 0x20ffc, 1);
    check_trap(&e, STORE_MISALIGNED, M, "a misaligned atomic faults");
    e = run(S, lr8, TEST_VA + 0x20ffc, 1);
    check_trap(&e, LOAD_MISALIGNED, M, "a misaligned lr faults");

    /* An instruction across two pages: addi a0, a0, 0x123 at the end. */
    map(TEST_VA + 0x30000, page(5), 0, V | R | X | A);
    map(TEST_VA + 0x31000, page(7), 0, V | R | X | A);
    flush();
    *(volatile u16 *)(page(5) + 0xffe) = 0x0513;
    *(volatile u16 *)page(7) = 0x1235;
    *(volatile u16 *)(page(7) + 2) = 0x8082;
    __asm__ volatile("fence.i");
    e = run(S, call_it, TEST_VA + 0x30ffe, 0);
    check_equal(e.value, TEST_VA + 0x30ffe + 0x123, "an instruction across two pages");
    *(volatile u16 *)page(7) = 0x2345;
    __asm__ volatile("fence.i");
    e = run(S, call_it, TEST_VA + 0x30ffe, 0);
    check_equal(e.value, TEST_VA + 0x30ffe + 0x234, "whose second half changed");
    *entry(TEST_VA + 0x31000, 0) = 0;
    flush();
    e = run(S, call_it, TEST_VA + 0x30ffe, 0);
    check_trap(&e, INSN_PAGE, M, "an instruction into an absent page faults");
    check_equal(e.tval, TEST_VA + 0x31000, "at the second page");
    check_equal(e.pc, TEST_VA + 0x30ffe, "with the pc of its start");
}

static void superpages(void)
{
    u64 base = page(0) & ~0x1ffffful;
    map(TEST_VA + 0x600000, base, 1, V | R | W | A | D);
    flush();
    e = run(S, load8, TEST_VA + 0x600000 + (page(0) - base), 0);
    check_equal(e.value, 0x1122334455667788, "a 2 MiB page");
    map(TEST_VA + 0x600000, base + 4096, 1, V | R | W | A | D);
    flush();
    e = run(S, load8, TEST_VA + 0x600000, 0);
    check_trap(&e, LOAD_PAGE, M, "a misaligned superpage faults");
    map(TEST_VA + 0x600000, base, 1, V | A | D | R | W | 1ul << 54);
    flush();
    e = run(S, load8, TEST_VA + 0x600000, 0);
    check_trap(&e, LOAD_PAGE, M, "a reserved bit faults");
    *entry(TEST_VA + 0x600000, 1) = 0;
    flush();
}

static void canonical(void)
{
    u64 bit = 1ul << (12 + 9 * levels - 1);
    e = run(S, load8, bit, 0);
    check_trap(&e, LOAD_PAGE, M, "an address that is not canonical faults");
    check_equal(e.tval, bit, "with all its bits");
    u64 high = -(u64)0x40000000;
    map(high, 0x80000000, 2, RWXAD);
    flush();
    e = run(S, load8, high + (page(0) - 0x80000000), 0);
    check_equal(e.value, 0x1122334455667788, "the upper half");
    e = run_moved(S, load8, TEST_VA, 0, high - 0x80000000);
    check_equal(e.value, 0x1122334455667788, "code in the upper half");
    check(e.pc >> 32 == 0xffffffff, "whose pc is there");
}

static void flushing(void)
{
    u64 va = TEST_VA + 0x40000;
    map(va, page(0), 0, V | R | W | A | D);
    flush();
    e = run(S, load8, va, 0);
    map(va, page(1), 0, V | R | W | A | D);
    __asm__ volatile("sfence.vma %0, zero" : : "r"(va) : "memory");
    e = run(S, load8, va, 0);
    check_equal(e.value, 0x99, "sfence.vma of an address shows the new page");
    map(va, page(0), 0, V | R | W | A | D);
    __asm__ volatile("sfence.vma zero, %0" : : "r"(0ul) : "memory");
    e = run(S, load8, va, 0);
    check_equal(e.value, 0x1122334455667788, "sfence.vma of an address space does");
    *entry(va, 0) = 0;
    flush();
    e = run(S, load8, va, 0);
    check_trap(&e, LOAD_PAGE, M, "sfence.vma of all removes a page");
}

static void address_spaces(int mode)
{
    u64 va = TEST_VA + 0x50000, old = csr_read(satp);
    map(va, page(0), 0, V | R | A);
    csr_write(satp, old | 1ul << 44);
    if (!(csr_read(satp) & 1ul << 44)) {
        skip("address spaces", "no ASID bits");
        csr_write(satp, old);
        return;
    }
    flush();
    e = run(S, load8, va, 0);
    map(va, page(1), 0, V | R | A); /* seen by a space that has not looked yet */
    csr_write(satp, old | 2ul << 44);
    e = run(S, load8, va, 0);
    check_equal(e.value, 0x99, "another address space has its own translations");
    map(va, page(0), 0, V | R | A | G);
    flush();
    e = run(S, load8, va, 0);
    check_equal(e.value, 0x1122334455667788, "a global page");
    csr_write(satp, old);
    flush();
}

static int works(int mode)
{
    u64 old = csr_read(satp);
    csr_write(satp, (u64)mode << 60);
    int there = csr_read(satp) >> 60 == (u64)mode;
    csr_write(satp, old);
    return there;
}

static void all_of(int mode, const char *name)
{
    print("# ");
    print(name);
    print("\n");
    if (!works(mode)) {
        skip(name, "not there");
        return;
    }
    enable(mode);
    reads_and_writes();
    user_pages();
    by_mprv();
    across_pages();
    superpages();
    canonical();
    flushing();
    address_spaces(mode);
    csr_clear(menvcfg, 1ul << 61);
    flush();
    accessed_and_dirty(0);
    csr_set(menvcfg, 1ul << 61);
    flush();
    if (csr_read(menvcfg) >> 61 & 1)
        accessed_and_dirty(1);
    else
        skip("Svadu", "not there");
    csr_write(satp, 0);
    flush();
}

void test_main(void)
{
    all_of(8, "Sv39");
    all_of(9, "Sv48");
    all_of(10, "Sv57");
    csr_write(satp, 0);
    csr_write(satp, 5ul << 60 | 1);
    check_equal(csr_read(satp), 0, "a reserved mode leaves satp as it was");
}
