/* LR/SC and AMO on one hart. Unprivileged ISA 13. */
#include "rt.h"

static volatile u64 cell __attribute__((aligned(64)));
static volatile u64 other __attribute__((aligned(64)));
static struct ended e;

#define AMO(name, old, operand, result, width)                                                     \
    do {                                                                                           \
        u64 got_;                                                                                  \
        cell = (old);                                                                              \
        __asm__ volatile(name " %0, %1, (%2)" : "=r"(got_) : "r"(operand), "r"(&cell) : "memory"); \
        check_equal(got_, width == 8 ? (u64)(old) : (u64)(i64)(int)(old),                          \
                    name ": what was there");                                                      \
        check_equal(cell, width == 8 ? (u64)(result) : (((u64)(old) >> 32 << 32) | (u32)(result)), \
                    name ": what is there");                                                       \
    } while (0)

static void amos(void)
{
    const u64 a = 0x80000000fffffff0, b = 0x7fffffff80000011;
    AMO("amoswap.d", a, b, b, 8);
    AMO("amoadd.d", a, b, a + b, 8);
    AMO("amoxor.d", a, b, a ^ b, 8);
    AMO("amoand.d", a, b, a & b, 8);
    AMO("amoor.d", a, b, a | b, 8);
    AMO("amomin.d", a, b, a, 8);
    AMO("amomax.d", a, b, b, 8);
    AMO("amominu.d", a, b, b, 8);
    AMO("amomaxu.d", a, b, a, 8);
    AMO("amoswap.w", a, b, 0x80000011u, 4);
    AMO("amoadd.w", a, b, 0xfffffff0u + 0x80000011u, 4);
    AMO("amoxor.w", a, b, 0xfffffff0u ^ 0x80000011u, 4);
    AMO("amoand.w", a, b, 0xfffffff0u & 0x80000011u, 4);
    AMO("amoor.w", a, b, 0xfffffff0u | 0x80000011u, 4);
    AMO("amomin.w", a, b, 0x80000011u, 4);
    AMO("amomax.w", a, b, 0xfffffff0u, 4);
    AMO("amominu.w", a, b, 0x80000011u, 4);
    AMO("amomaxu.w", a, b, 0xfffffff0u, 4);
    AMO("amoadd.w.aqrl", 0xffffffff7fffffff, 1, 0x80000000, 4);
    u64 at = (u64)&cell, v = 5;
    cell = 7;
    __asm__ volatile("amoadd.d %0, %1, (%0)" : "+r"(at) : "r"(v) : "memory");
    check_equal(at, 7, "an atomic whose result replaces its address");
    cell = 7;
    at = (u64)&cell;
    __asm__ volatile("amoadd.d %0, %0, (%1)" : "+r"(v) : "r"(at) : "memory");
    check_equal(cell, 12, "an atomic whose result replaces its operand");
    cell = 7;
    __asm__ volatile("amoadd.d zero, %0, (%1)" : : "r"(v), "r"(at) : "memory");
    check_equal(cell, 14, "an atomic without a result");
}

static void reservations(void)
{
    u64 v, failed;
    cell = 5;
    __asm__ volatile("lr.d %0, (%2)\n addi %0, %0, 1\n sc.d %1, %0, (%2)"
                     : "=&r"(v), "=&r"(failed)
                     : "r"(&cell)
                     : "memory");
    check_equal(failed, 0, "lr, sc: success");
    check_equal(cell, 6, "lr, sc: stores");
    __asm__ volatile("sc.d %0, %1, (%2)" : "=&r"(failed) : "r"(v), "r"(&cell) : "memory");
    check(failed != 0, "a second sc fails");
    check_equal(cell, 6, "and stores nothing");
    __asm__ volatile("lr.d %0, (%2)\n sc.d %1, %0, (%3)"
                     : "=&r"(v), "=&r"(failed)
                     : "r"(&cell), "r"(&other)
                     : "memory");
    check(failed != 0, "sc elsewhere fails");
    __asm__ volatile("sc.d %0, %1, (%2)" : "=&r"(failed) : "r"(v), "r"(&cell) : "memory");
    check(failed != 0, "and ends the reservation");
    __asm__ volatile("lr.d %0, (%2)\n sd %4, (%2)\n sc.d %1, %3, (%2)"
                     : "=&r"(v), "=&r"(failed)
                     : "r"(&cell), "r"(9ul), "r"(77ul)
                     : "memory");
    check(failed ? cell == 77 : cell == 9, "sc behind an own store succeeds or fails as a whole");
    cell = 0x1122334480000000;
    __asm__ volatile("lr.w %0, (%2)\n sc.w %1, %3, (%2)"
                     : "=&r"(v), "=&r"(failed)
                     : "r"(&cell), "r"(~0ul << 1)
                     : "memory");
    check_equal(v, 0xffffffff80000000, "lr.w extends the sign");
    check_equal(failed, 0, "sc.w: success");
    check_equal(cell, 0x11223344fffffffe, "sc.w stores a word");
    u64 at = (u64)&cell;
    __asm__ volatile("lr.d t0, (%0)\n sc.d %0, t0, (%0)" : "+r"(at) : : "t0", "memory");
    check_equal(at, 0, "sc whose result replaces its address");
}

__attribute__((naked)) static void sc_at(void)
{
    __asm__("sc.w a0, a1, (a0)\n ret");
}
__attribute__((naked)) static void lr_at(void)
{
    __asm__("lr.w a0, (a0)\n ret");
}
__attribute__((naked)) static void amo_at(void)
{
    __asm__("amoadd.w a0, a1, (a0)\n ret");
}

static void faults(void)
{
    e = run(M, sc_at, (u64)&cell + 2, 0);
    check_trap(&e, STORE_MISALIGNED, M, "a misaligned sc");
    e = run(M, lr_at, (u64)&cell + 1, 0);
    check_trap(&e, LOAD_MISALIGNED, M, "a misaligned lr");
    e = run(M, amo_at, (u64)&cell + 2, 0);
    check_trap(&e, STORE_MISALIGNED, M, "a misaligned atomic");
    check_equal(e.tval, (u64)&cell + 2, "its address");
    e = run(M, amo_at, 0x40, 0);
    check_trap(&e, STORE_ACCESS, M, "an atomic where no memory is");
    e = run(M, lr_at, 0x40, 0);
    check_trap(&e, LOAD_ACCESS, M, "lr where no memory is");
}

void test_main(void)
{
    amos();
    reservations();
    faults();
}
