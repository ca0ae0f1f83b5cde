/* Code that changes: patched, moved, remapped; seen after fence.i at the latest. Unprivileged ISA 6. */
#include "rt.h"

#define ADDI_A0(n) ((u32)(n) << 20 | 10 << 15 | 10 << 7 | 0x13) /* addi a0, a0, n */
#define RET        0x8067u

static u32 code[4096] __attribute__((aligned(4096)));
typedef u64 (*fn)(u64);

static void fence_i(void)
{
    __asm__ volatile("fence.i" : : : "memory");
}

static void other_page(void)
{
    fn f = (fn)code;
    u64 wrong = 0;
    code[1] = RET;
    for (unsigned i = 0; i < 2000; i++) {
        code[0] = ADDI_A0(i & 0x7ff);
        fence_i();
        wrong += f(i) != i + (i & 0x7ff);
    }
    check_equal(wrong, 0, "a function rewritten from another page");
}

static void many_functions(void)
{
    u64 wrong = 0;
    for (unsigned i = 0; i < ARRAY_LEN(code) / 2; i++) {
        code[2 * i] = ADDI_A0(i & 0x7ff);
        code[2 * i + 1] = RET;
    }
    fence_i();
    for (unsigned round = 0; round < 8; round++) {
        for (unsigned i = 0; i < ARRAY_LEN(code) / 2; i++)
            wrong += ((fn)&code[2 * i])(round) != round + (i & 0x7ff);
        unsigned at = round * 97 % (ARRAY_LEN(code) / 2);
        code[2 * at] = ADDI_A0(1);
        fence_i();
        wrong += ((fn)&code[2 * at])(5) != 6;
        code[2 * at] = ADDI_A0(at & 0x7ff);
        fence_i();
        wrong += ((fn)&code[2 * at])(5) != 5 + (at & 0x7ff);
    }
    check_equal(wrong, 0, "one of many functions on a page rewritten");
}

/* A loop that patches the instruction behind the store in its own body: the n'th round adds n. */
static u64 patches_itself(u64 rounds)
{
    u64 sum;
    __asm__ volatile(".option push\n.option norvc\n"
                     "li %0, 0\n"
                     "li t0, 0\n"
                     "la t1, 2f\n"
                     "lw t2, (t1)\n"
                     "mv t4, t2\n"
                     "li t3, 1 << 20\n"
                     "1: sw t2, (t1)\n"
                     "fence.i\n"
                     "2: addi %0, %0, 0\n"
                     "add t2, t2, t3\n"
                     "addi t0, t0, 1\n"
                     "bltu t0, %1, 1b\n"
                     "sw t4, (t1)\n"
                     "fence.i\n"
                     ".option pop"
                     : "=&r"(sum)
                     : "r"(rounds)
                     : "t0", "t1", "t2", "t3", "t4", "memory");
    return sum;
}

static void own_body(void)
{
    check_equal(patches_itself(1000), 999 * 1000 / 2, "a loop that patches its own body");
    check_equal(patches_itself(3), 3, "and again");
}

/* A hot loop is patched by the function that it calls, so that it ends. */
static u32 loop_code[16];
static u64 n_calls;
static void end_loop(void)
{
    if (++n_calls == 5000) {
        *(volatile u32 *)&loop_code[4] = 0x13; /* nop instead of the jump back */
        fence_i();
    }
}

static void loop_ends(void)
{
    u32 *c = loop_code;
    c[0] = 0xff010113; /* addi sp, sp, -16 */
    c[1] = 0x00113023; /* sd ra, 0(sp) */
    c[2] = 0x00a13423; /* sd a0, 8(sp) */
    c[3] = 0x000500e7; /* jalr a0 */
    c[4] = 0x00000463; /* beq zero, zero, .+8: over the way out */
    c[5] = 0x00c0006f; /* j to c[8] */
    c[6] = 0x00813503; /* ld a0, 8(sp) */
    c[7] = 0xff1ff06f; /* j to c[3] */
    c[8] = 0x00013083; /* ld ra, 0(sp) */
    c[9] = 0x01010113; /* addi sp, sp, 16 */
    c[10] = RET;
    fence_i();
    n_calls = 0;
    ((u64(*)(void (*)(void)))c)(end_loop);
    check_equal(n_calls, 5000, "a loop ends when its jump back is patched away");
}

/* Data beside code on one page is written all the time. */
u64 sum_beside(u64 *data, u64 n);
__asm__(".balign 64\n"
        ".globl sum_beside\n"
        "sum_beside: li t0, 0\n"
        "1: ld t1, (a0)\n"
        "add t1, t1, a1\n"
        "sd t1, (a0)\n"
        "add t0, t0, t1\n"
        "addi a1, a1, -1\n"
        "bnez a1, 1b\n"
        "mv a0, t0\n"
        "ret\n"
        ".balign 8\n"
        ".globl data_beside\n"
        "data_beside: .dword 0\n");
extern u64 data_beside;

static void data_on_the_page(void)
{
    data_beside = 0;
    u64 sum = sum_beside(&data_beside, 1000);
    check_equal(data_beside, 1000 * 1001 / 2, "data beside code on its page");
    u64 expected = 0, v = 0;
    for (u64 i = 1000; i; i--)
        expected += v += i;
    check_equal(sum, expected, "and what was read of it");
}

/* One virtual page shows one code page, then another; and the same code by two addresses. */
static u64 root[512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096)));
static u64 leaf[512] __attribute__((aligned(4096)));
__attribute__((naked)) static void call_it(void)
{
    __asm__("mv t0, a0\n mv a0, a1\n jr t0");
}

static void remapped(void)
{
    enum { RWXAD = 0xcf };
    const u64 va = 0x40000000;
    u64 wrong = 0;
    code[0] = ADDI_A0(1);
    code[1] = RET;
    code[1024] = ADDI_A0(2);
    code[1025] = RET;
    root[2] = 0x80000000 >> 2 | RWXAD;
    root[1] = (u64)middle >> 2 | 1;
    middle[0] = (u64)leaf >> 2 | 1;
    leaf[1] = (u64)code >> 2 | RWXAD;
    csr_write(satp, 8ul << 60 | (u64)root >> 12);
    for (unsigned i = 0; i < 200; i++) {
        leaf[0] = ((u64)code + (i & 1) * 4096) >> 2 | RWXAD;
        __asm__ volatile("sfence.vma" : : : "memory");
        wrong += run(S, call_it, va, 10).value != 11 + (i & 1);
    }
    check_equal(wrong, 0, "a page of code remapped");
    leaf[0] = (u64)code >> 2 | RWXAD;
    __asm__ volatile("sfence.vma" : : : "memory");
    wrong = 0;
    for (unsigned i = 0; i < 200; i++) {
        code[0] = ADDI_A0(i);
        fence_i();
        wrong += run(S, call_it, va, 10).value != 10 + i;
        wrong += run(S, call_it, va + 4096, 10).value != 10 + i;
    }
    check_equal(wrong, 0, "code patched by its physical address, run by two virtual ones");
    csr_write(satp, 0);
    __asm__ volatile("sfence.vma" : : : "memory");
}

void test_main(void)
{
    other_page();
    many_functions();
    own_body();
    loop_ends();
    data_on_the_page();
    remapped();
}
