/* The board's own devices as a guest meets them: flash whose mode changes under running code, firmware
 * configuration by DMA, the clock, the serial port looped back. */
#include "rt.h"

#define FLASH         ((volatile u32 *)0x20000000)
#define FW_CFG        0x10100000ul
#define PORT          ((volatile u8 *)0x10000000)
#define RTC           0x101000ul
#define BOTH(command) ((u32)(command) << 16 | (command)) /* two chips side by side */

/* Array, query, array: each access sees what the one before it did, in one stretch of code. */
static int modes_are_right(void)
{
    u32 before = FLASH[0x10];
    FLASH[0x55] = BOTH(0x98);
    u32 q = FLASH[0x10], r = FLASH[0x11], y = FLASH[0x12];
    FLASH[0] = BOTH(0xff);
    return q == BOTH('Q') && r == BOTH('R') && y == BOTH('Y') && FLASH[0x10] == before;
}

static void flash_contents(void)
{
    const u32 block = 0x40000 / 4; /* of both chips, in words */
    FLASH[block] = BOTH(0x20);
    FLASH[block] = BOTH(0xd0);
    check_equal(FLASH[block], BOTH(0x80), "erasing ends ready");
    FLASH[block] = BOTH(0xff);
    check_equal(FLASH[block], 0xffffffff, "erased flash is all ones");
    FLASH[block + 1] = BOTH(0x40);
    FLASH[block + 1] = 0x12345678;
    FLASH[block] = BOTH(0xff);
    check_equal(FLASH[block + 1], 0x12345678, "a word is programmed");
    check_equal(FLASH[block + 2], 0xffffffff, "and only that one");
}

/* Code that was run from flash, was replaced, and is run again. */
static void flash_code(void)
{
    const u32 block = 2 * 0x40000 / 4;
    const u32 answers[] = { 0x00100513, 0x00200513 }; /* li a0, 1; li a0, 2 */
    u64 got[2];
    for (int i = 0; i < 2; i++) {
        FLASH[block] = BOTH(0x20);
        FLASH[block] = BOTH(0xd0);
        FLASH[block] = BOTH(0x40);
        FLASH[block] = answers[i];
        FLASH[block + 1] = BOTH(0x40);
        FLASH[block + 1] = 0x00008067; /* ret */
        FLASH[block] = BOTH(0xff);
        __asm__ volatile("fence.i" : : : "memory");
        got[i] = ((u64(*)(void))(u64)&FLASH[block])();
    }
    check_equal(got[0], 1, "code runs from flash");
    check_equal(got[1], 2, "new code in flash replaces old");
}

/* The n low bytes of v in reverse; the compiler must not see what it is (it would call a library). */
static u64 swap(u64 v, int n)
{
    volatile u64 out = 0;
    for (int i = 0; i < n; i++)
        out = out << 8 | (v >> 8 * i & 0xff);
    return out;
}

static struct {
    u32 control, length;
    u64 address;
} request __attribute__((aligned(16)));
static u8 text[8];

static void fw_cfg(void)
{
    request.control = swap(0 << 16 | 8 | 2, 4); /* select the signature, read */
    request.length = swap(6, 4);
    request.address = swap((u64)text, 8);
    text[5] = 0xaa;
    *(volatile u64 *)(FW_CFG + 16) = swap((u64)&request, 8);
    check_equal(*(volatile u32 *)&request.control, 0, "DMA ends without error");
    check(text[0] == 'Q' && text[1] == 'E' && text[2] == 'M' && text[3] == 'U' && text[5] == 0,
          "and brought the signature");
    request.control = swap(2, 4);
    request.address = swap(0x40, 8);
    *(volatile u64 *)(FW_CFG + 16) = swap((u64)&request, 8);
    check_equal(*(volatile u32 *)&request.control, swap(1, 4), "DMA to nowhere fails");
}

static u64 clock_ns(void)
{
    u64 low = read32(RTC);
    return low | (u64)read32(RTC + 4) << 32;
}

static void clock(void)
{
    u64 from = clock_ns(), mtime = csr_read(time);
    while (csr_read(time) - mtime < 100000)
        ;
    u64 passed = clock_ns() - from;
    check(from / 1000000000 > 1600000000, "the clock shows this century");
    check(passed >= 9000000 && passed < 10000000000, "and goes on as the timer does");
}

static void serial(void)
{
    u8 kept = PORT[4];
    PORT[4] = 0x1e; /* loop, RTS, OUT1, OUT2 */
    PORT[0] = 'x';
    u8 status = PORT[5], got = PORT[0], lines = PORT[6];
    PORT[4] = kept;
    check(status & 1, "a looped character arrives");
    check_equal(got, 'x', "and is the same");
    check_equal(lines & 0xf0, 0xd0, "the outputs show at the inputs");
}

/* The other harts run, too, while the map changes. */
static volatile int over;
static volatile u64 turns[4];
static int n_right;

static void beside(void)
{
    if (hart_id() == 0) {
        for (int i = 0; i < 50; i++)
            n_right += modes_are_right();
        over = 1;
    } else {
        while (!over)
            turns[hart_id() & 3]++;
    }
}

void test_main(void)
{
    check(modes_are_right(), "flash answers a query at once, and is an array again at once");
    flash_contents();
    flash_code();
    fw_cfg();
    clock();
    serial();
    if (start_harts() > 1) {
        run_everywhere(beside);
        check_equal(n_right, 50, "flash changes modes while other harts run");
    }
}
