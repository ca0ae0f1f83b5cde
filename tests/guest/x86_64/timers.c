/* 8254, local APIC timer, real-time clock, HPET and the ACPI timer: they count, fire and agree. */
#include "rt.h"

enum { VECTOR = 0x60, RTC_VECTOR = 0x68, HPET_VECTOR = 0x70 };
enum { PERIODIC = 1 << 17, DEADLINE = 2 << 17, DIVIDE_BY_1 = 0xb };
#define HPET 0xfed00000ul

static void of_8254(void)
{
    pit_set(0, 2, 50000);
    u16 first = pit_read(0), second;
    while ((second = pit_read(0)) == first)
        ;
    TRUE("8254: counts down", second < first || second > 40000);
    out8(0x43, 0xe2); /* read back: status of counter 0 */
    EQUAL("8254: status has the mode", in8(0x40) & 0x3f, 0x34);
    pit_set(0, 0, 0);
}

static void of_lapic(void)
{
    forget_interrupts();
    eoi_of[VECTOR] = EOI_APIC;
    mmio_write(LAPIC + TIMER_DIVIDE, DIVIDE_BY_1);
    mmio_write(LAPIC + LVT_TIMER, VECTOR);
    mmio_write(LAPIC + TIMER_INITIAL, 2000000);
    u32 now = mmio_read(LAPIC + TIMER_CURRENT);
    TRUE("local APIC timer: counts down", now < 2000000);
    TRUE("local APIC timer: one shot fires", wait_for(VECTOR, 1, 2000));
    EQUAL("local APIC timer: and stops at 0", mmio_read(LAPIC + TIMER_CURRENT), 0);
    wait_ms(20);
    EQUAL("local APIC timer: once", count[VECTOR], 1);
    mmio_write(LAPIC + LVT_TIMER, VECTOR | PERIODIC);
    mmio_write(LAPIC + TIMER_INITIAL, 2000000);
    TRUE("local APIC timer: a period fires again and again", wait_for(VECTOR, 4, 4000));
    mmio_write(LAPIC + LVT_TIMER, VECTOR | PERIODIC | MASKED);
    wait_ms(10);
    forget_interrupts();
    wait_ms(30);
    EQUAL("local APIC timer: not while masked", count[VECTOR], 0);
    mmio_write(LAPIC + TIMER_INITIAL, 0);
}

static void of_deadline(void)
{
    u32 leaf[4];
    cpuid(1, leaf);
    if (!(leaf[2] >> 24 & 1)) {
        skip("deadline", "the CPU has none");
        return;
    }
    forget_interrupts();
    mmio_write(LAPIC + LVT_TIMER, VECTOR | DEADLINE);
    wrmsr(0x6e0, rdtsc() + 20000000);
    TRUE("deadline: is kept", rdmsr(0x6e0) != 0 || count[VECTOR]);
    TRUE("deadline: fires", wait_for(VECTOR, 1, 2000));
    EQUAL("deadline: is gone then", rdmsr(0x6e0), 0);
    wrmsr(0x6e0, 1);
    TRUE("deadline: one in the past fires at once", wait_for(VECTOR, 2, 1000));
    mmio_write(LAPIC + LVT_TIMER, MASKED);
}

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
static void on_rtc(void)
{
    cmos(0x0c); /* lowers the line */
}

static void of_rtc(void)
{
    forget_interrupts();
    EQUAL("clock: is there", cmos(0x0d) & 0x80, 0x80);
    eoi_of[RTC_VECTOR] = EOI_APIC;
    on_vector[RTC_VECTOR] = on_rtc;
    ioapic_pin(8, RTC_VECTOR | EDGE);
    cmos(0x0c);
    set_cmos(0x0a, 0x2a); /* 64 Hz */
    set_cmos(0x0b, 0x42); /* periodic interrupt, 24 hours */
    TRUE("clock: periodic interrupts come", wait_for(RTC_VECTOR, 3, 2000));
    set_cmos(0x0b, 0x02);
    ioapic_pin(8, MASKED);
}

static void of_hpet(void)
{
    if (mmio_read(HPET) >> 16 != 0x8086) {
        skip("HPET", "the board has none");
        return;
    }
    forget_interrupts();
    eoi_of[HPET_VECTOR] = EOI_APIC;
    mmio_write(HPET + 0x10, 1);
    u32 before = mmio_read(HPET + 0xf0), period_ps = mmio_read(HPET + 4) / 1000;
    wait_ms(20);
    u32 ticks = mmio_read(HPET + 0xf0) - before;
    u64 ms = (u64)ticks * period_ps / 1000000000;
    TRUE("HPET: counts about as fast as the 8254", ms >= 15 && ms <= 200);
    u32 routes = mmio_read(HPET + 0x104);
    u8 pin = 23; /* the low ones may be those of the 8254 */
    while (pin && !(routes >> pin & 1))
        pin--;
    ioapic_pin(pin, HPET_VECTOR | EDGE);
    if (pin == 2) /* the 8254's: it has to make room */
        mmio_write(HPET + 0x10, 3);
    mmio_write(HPET + 0x100, (u32)pin << 9 | 1 << 2); /* edge, enabled */
    mmio_write(HPET + 0x108, mmio_read(HPET + 0xf0) + 1000000);
    mmio_write(HPET + 0x10c, mmio_read(HPET + 0xf4));
    TRUE("HPET: a comparator fires", wait_for(HPET_VECTOR, 1, 2000));
    mmio_write(HPET + 0x100, 0);
    mmio_write(HPET + 0x10, 0);
    ioapic_pin(pin, MASKED);
}

static void of_acpi(void)
{
    u32 before = in32(0x608), again = before;
    if (before == ~0u) {
        skip("ACPI timer", "the board has none");
        return;
    }
    wait_ms(20);
    again = in32(0x608);
    u32 ms = ((again - before) & 0xffffff) / 3580;
    TRUE("ACPI timer: counts about as fast as the 8254", ms >= 15 && ms <= 200);
}

void main(const struct start_info *info)
{
    apic_on();
    mmio_write(LAPIC + LINT0, MASKED);
    of_8254();
    of_lapic();
    of_deadline();
    of_rtc();
    of_hpet();
    of_acpi();
}
