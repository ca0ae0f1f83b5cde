/* The runtime. Time is the 8254's counter 2, polled: it runs on every board and in every engine. */
#include "rt.h"

#include <stdarg.h>

enum {
    SERIAL = 0x3f8,
    SERIAL_STATUS = 5,
    SERIAL_EMPTY = 0x20,
    EXIT_PORT = 0x501,
    PIT_HZ = 1193182
};

extern u8 stubs[], idt[];
void on_interrupt(u64 vector, u64 error, u64 rip);

volatile u32 count[256];
volatile u8 order[64];
volatile u32 n_order;
void (*volatile on_vector[256])(void);
volatile u8 eoi_of[256];
static unsigned n_failed;
static const struct start_info *boot;

/* ---- console and facts ---------------------------------------------------------------------------------- */
static void put(char c)
{
    while (!(in8(SERIAL + SERIAL_STATUS) & SERIAL_EMPTY))
        ;
    out8(SERIAL, (u8)c);
}

static void put_number(u64 v, unsigned base)
{
    char digits[24];
    unsigned n = 0;
    do
        digits[n++] = "0123456789abcdef"[v % base];
    while (v /= base);
    while (n)
        put(digits[--n]);
}

void print(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            put(*fmt);
            continue;
        }
        fmt += fmt[1] == 'l' ? 2 : 1;
        if (*fmt == 's')
            for (const char *s = va_arg(args, const char *); *s; s++)
                put(*s);
        else if (fmt[-1] == 'l')
            put_number(va_arg(args, u64), *fmt == 'x' ? 16 : 10);
        else
            put_number(va_arg(args, u32), *fmt == 'x' ? 16 : 10);
    }
    va_end(args);
}

void fact(const char *name, bool good, u64 got, u64 wanted)
{
    if (!good)
        print("# got %lx, expected %lx\n", got, wanted);
    print("%s %s\n", good ? "ok" : "not ok", name);
    n_failed += !good;
}

void fact_equal(const char *name, u64 got, u64 wanted)
{
    fact(name, got == wanted, got, wanted);
}

void skip(const char *name, const char *why)
{
    print("skip %s: %s\n", name, why);
}

void finish(void)
{
    print("done\n");
    out8(EXIT_PORT, n_failed != 0);
    for (;;)
        __asm__ volatile("cli; hlt");
}

bool cmdline_has(const char *word)
{
    for (const char *at = (const char *)boot->cmdline; at && *at; at++) {
        unsigned n = 0;
        while (word[n] && at[n] == word[n])
            n++;
        if (!word[n])
            return 1;
    }
    return 0;
}

/* ---- interrupts --------------------------------------------------------------------------------------------- */
static void end_of_interrupt(u8 vector)
{
    switch (eoi_of[vector]) {
    case EOI_PIC: out8(0x20, 0x20); break;
    case EOI_PIC2:
        out8(0xa0, 0x20);
        out8(0x20, 0x20);
        break;
    case EOI_APIC: mmio_write(LAPIC + EOI, 0); break;
    case EOI_X2APIC: wrmsr(0x80b, 0); break;
    }
}

void on_interrupt(u64 vector, u64 error, u64 rip)
{
    if (vector < 32 && !on_vector[vector]) {
        print("not ok exception %lu, error %lx, at %lx\n", vector, error, rip);
        n_failed++;
        finish();
    }
    __sync_fetch_and_add(&count[vector], 1);
    if (n_order < ARRAY_LEN(order))
        order[n_order++] = (u8)vector;
    if (on_vector[vector])
        on_vector[vector]();
    end_of_interrupt((u8)vector);
}

void forget_interrupts(void)
{
    for (unsigned i = 0; i < 256; i++)
        count[i] = 0;
    n_order = 0;
}

static void make_idt(void)
{
    for (unsigned i = 0; i < 256; i++) {
        u64 at = (u64)(stubs + 16 * i);
        u64 *gate = (u64 *)(idt + 16 * i);
        gate[0] = (at & 0xffff) | 8ul << 16 | 0x8eul << 40 | (at >> 16 & 0xffff) << 48;
        gate[1] = at >> 32;
    }
}

/* ---- time ------------------------------------------------------------------------------------------------------- */
void pit_set(u8 counter, u8 mode, u16 value)
{
    out8(0x43, (u8)(counter << 6 | 0x30 | mode << 1));
    out8(0x40 + counter, (u8)value);
    out8(0x40 + counter, (u8)(value >> 8));
}

u16 pit_read(u8 counter)
{
    out8(0x43, (u8)(counter << 6));
    u16 low = in8(0x40 + counter);
    return (u16)(low | in8(0x40 + counter) << 8);
}

/* One step of at most 40 ms; true when it is over. */
static void start_ms(u32 ms)
{
    out8(0x61, (u8)((in8(0x61) & ~3) | 1));
    pit_set(2, 0, (u16)(PIT_HZ / 1000 * ms));
}
static bool is_over(void)
{
    return in8(0x61) & 0x20;
}

bool wait_for(u8 vector, u32 n, u32 ms)
{
    while (count[vector] < n && ms) {
        u32 now = ms > 40 ? 40 : ms;
        start_ms(now);
        irq_on();
        while (count[vector] < n && !is_over())
            ;
        irq_off();
        ms -= now;
    }
    return count[vector] >= n;
}

void wait_ms(u32 ms)
{
    wait_for(0, ~0u, ms);
}

/* ---- controllers -------------------------------------------------------------------------------------------------- */
void pic_mask(u16 mask)
{
    out8(0x21, (u8)mask);
    out8(0xa1, (u8)(mask >> 8));
}

void pic_init(u8 base, u16 mask)
{
    out8(0x20, 0x11);
    out8(0x21, base);
    out8(0x21, 4);
    out8(0x21, 1);
    out8(0xa0, 0x11);
    out8(0xa1, base + 8);
    out8(0xa1, 2);
    out8(0xa1, 1);
    pic_mask(mask);
}

void apic_on(void)
{
    mmio_write(LAPIC + SVR, 0x1ff);
    mmio_write(LAPIC + TPR, 0);
}

void apic_ipi(u32 to, u32 command)
{
    mmio_write(LAPIC + ICR_HIGH, to << 24);
    mmio_write(LAPIC + ICR, command);
    while (mmio_read(LAPIC + ICR) & 1 << 12)
        ;
}

u32 ioapic_read(u8 reg)
{
    mmio_write(IOAPIC, reg);
    return mmio_read(IOAPIC + 0x10);
}

void ioapic_write(u8 reg, u32 v)
{
    mmio_write(IOAPIC, reg);
    mmio_write(IOAPIC + 0x10, v);
}

void ioapic_pin(u8 pin, u32 low)
{
    ioapic_write((u8)(0x10 + 2 * pin), MASKED);
    ioapic_write((u8)(0x11 + 2 * pin), mmio_read(LAPIC + ID));
    ioapic_write((u8)(0x10 + 2 * pin), low);
}

void rt_main(const struct start_info *info);
void rt_main(const struct start_info *info)
{
    boot = info;
    make_idt();
    pic_init(0xf0, 0xffff);
    main(info);
    finish();
}

/* A test with further CPUs has its own. */
__attribute__((weak)) void ap_main(u32 cpu)
{
    (void)cpu;
}
