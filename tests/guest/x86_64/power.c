/* Every way to reset comes back here, with memory as the loader leaves it; then the machine is switched off. What comes
 * next is kept in CMOS memory, which a reset leaves alone. */
#include "rt.h"

enum { STEP = 0x70, STEP_MAGIC = 0x71, MAGIC = 0xa5 };
#define GED 0xfea00200ul

static u8 cmos(u8 at)
{
    out8(0x70, at);
    return in8(0x71);
}
static void set_cmos(u8 at, u8 v)
{
    out8(0x70, at);
    out8(0x71, v);
}

static void by_keyboard(void)
{
    out8(0x64, 0xfe);
}
static void by_port_92(void)
{
    out8(0x92, in8(0x92) | 1);
}
static void by_cf9(void)
{
    out8(0xcf9, 2);
    out8(0xcf9, 6);
}
static void by_triple_fault(void)
{
    static const u8 none[10];
    __asm__ volatile("lidt %0; ud2" : : "m"(none));
}
static void by_ged(void)
{
    *(volatile u8 *)(GED + 2) = 0x42;
}

static const struct {
    const char *name, *board;
    void (*reset)(void);
} ways[] = {
    { "keyboard controller", "pc", by_keyboard },
    { "port 92", "pc", by_port_92 },
    { "port cf9", "pc", by_cf9 },
    { "ACPI's reset register", "microvm", by_ged },
    { "triple fault", "", by_triple_fault },
};

static volatile u64 marked; /* lies in .bss: zero after a reset */

static bool is_here(unsigned way)
{
    return !*ways[way].board || cmdline_has(ways[way].board);
}

static void switch_off(void)
{
    print("done\n");
    if (cmdline_has("microvm"))
        *(volatile u8 *)GED = 1 << 5 | 5 << 2;
    out16(0x604, 1 << 13);
    wait_ms(1000);
    print("not ok the machine is still on\n");
    finish();
}

void main(const struct start_info *info)
{
    u8 step = cmos(STEP_MAGIC) == MAGIC ? cmos(STEP) : 0;
    if (step) {
        print("%s %s resets\n", marked ? "not ok" : "ok", ways[step - 1].name);
        TRUE("memory is as the loader leaves it", !marked);
    }
    while (step < ARRAY_LEN(ways) && !is_here(step))
        step++;
    if (step == ARRAY_LEN(ways))
        switch_off();
    set_cmos(STEP, step + 1);
    set_cmos(STEP_MAGIC, MAGIC);
    marked = 1;
    ways[step].reset();
    wait_ms(1000);
    print("not ok %s resets\n", ways[step].name);
}
