/* The ways of an interrupt to the CPU: 8259, I/O APIC, local APIC, x2APIC; edges, levels, masks, priorities. */
#include "rt.h"

enum { PIC_BASE = 0x30, TIMER = 0x40, SERIAL = 0x44, LOW = 0x51, HIGH = 0xa1, HIGHER = 0xb1 };
enum {
    UART_IER = 0x3f9,
    UART_MCR = 0x3fc,
    UART_IIR = 0x3fa,
    IER_EMPTY = 2,
    MCR_OUT2 = 8,
    PIN_TIMER = 2,
    PIN_SERIAL = 4
};

static void with_8259(void)
{
    forget_interrupts();
    for (unsigned i = 0; i < 16; i++)
        eoi_of[PIC_BASE + i] = EOI_PIC;
    pic_init(PIC_BASE, 0xfffe);
    pit_set(0, 2, 11932); /* 100 Hz */
    TRUE("8259: the timer's interrupts come", wait_for(PIC_BASE, 3, 2000));
    pic_mask(0xffff);
    wait_ms(30);
    forget_interrupts();
    wait_ms(40);
    EQUAL("8259: a masked one does not", count[PIC_BASE], 0);
    pic_mask(0xfffe);
    TRUE("8259: it comes when the mask is taken away", wait_for(PIC_BASE, 1, 2000));
    pic_mask(0xffff);
    wait_ms(30);
    out8(0x20, 0x0a); /* OCW3: read requests */
    TRUE("8259: a masked request is seen in IRR",
         in8(0x20) & 1 || wait_for(PIC_BASE, ~0u, 40) || in8(0x20) & 1);
    out8(0x20, 0x0b);
    EQUAL("8259: nothing is in service", in8(0x20), 0);
    pic_mask(0xffff);
}

static void with_ioapic(void)
{
    forget_interrupts();
    eoi_of[TIMER] = EOI_APIC;
    ioapic_pin(PIN_TIMER, TIMER | EDGE);
    pit_set(0, 2, 11932);
    TRUE("I/O APIC: the timer's edges come on pin 2", wait_for(TIMER, 3, 2000));
    ioapic_pin(PIN_TIMER, TIMER | MASKED);
    wait_ms(30);
    forget_interrupts();
    wait_ms(40);
    EQUAL("I/O APIC: a masked pin sends nothing", count[TIMER], 0);
    EQUAL("I/O APIC: 24 pins", ioapic_read(1) >> 16 & 0xff, 23);
    pit_set(0, 0, 0);
}

/* The line stays high while the transmitter is empty and its interrupt enabled: the third time it is disabled. */
static void on_serial(void)
{
    if (count[SERIAL] == 3)
        out8(UART_IER, 0);
}

static void level_triggered(void)
{
    forget_interrupts();
    eoi_of[SERIAL] = EOI_APIC;
    on_vector[SERIAL] = on_serial;
    out8(UART_MCR, MCR_OUT2);
    ioapic_pin(PIN_SERIAL, SERIAL | LEVEL);
    out8(UART_IER, IER_EMPTY);
    TRUE("I/O APIC: a level comes again until it is lowered", wait_for(SERIAL, 3, 2000));
    out8(UART_IER, 0);
    wait_ms(20); /* one may be under way */
    u32 before = count[SERIAL];
    wait_ms(20);
    TRUE("I/O APIC: and then no more", before <= 4 && count[SERIAL] == before);
    EQUAL("I/O APIC: remote IRR is clear", ioapic_read(0x10 + 2 * PIN_SERIAL) & REMOTE_IRR, 0);
    ioapic_pin(PIN_SERIAL, MASKED);
    on_vector[SERIAL] = NULL;
}

static void by_lapic(void)
{
    u32 self = mmio_read(LAPIC + ID) >> 24, leaf[4];
    forget_interrupts();
    eoi_of[LOW] = eoi_of[HIGH] = eoi_of[HIGHER] = EOI_APIC;
    apic_ipi(self, LOW);
    TRUE("local APIC: an IPI to itself", wait_for(LOW, 1, 1000));
    apic_ipi(0, 1 << 18 | HIGH);
    TRUE("local APIC: self shorthand", wait_for(HIGH, 1, 1000));

    forget_interrupts();
    irq_off();
    apic_ipi(self, LOW);
    apic_ipi(self, HIGHER);
    apic_ipi(self, HIGH);
    EQUAL("local APIC: IRR has what waits", mmio_read(LAPIC + IRR + 0x10 * (LOW / 32)),
          1u << LOW % 32);
    wait_for(LOW, 1, 1000);
    TRUE("local APIC: the higher vector goes first",
         n_order == 3 && order[0] == HIGHER && order[1] == HIGH && order[2] == LOW);

    forget_interrupts();
    irq_off();
    apic_ipi(self, LOW);
    __asm__ volatile("sti; cli" : : : "memory");
    EQUAL("STI: the next instruction comes before any interrupt", count[LOW], 0);
    __asm__ volatile("sti; nop; nop; cli" : : : "memory");
    cpuid(0x40000000, leaf);
    if (!count[LOW] && leaf[1] == 0x4b4d564b) /* "KVMK" */
        skip("STI: and interrupts come before the one after it", "a KVM in software looks later");
    else
        EQUAL("STI: and interrupts come before the one after it", count[LOW], 1);
    wait_for(LOW, 1, 1000);

    forget_interrupts();
    mmio_write(LAPIC + TPR, 0x90);
    apic_ipi(self, LOW);
    apic_ipi(self, HIGH);
    wait_for(HIGH, 1, 1000);
    wait_ms(5);
    TRUE("local APIC: the task priority holds back what is lower",
         count[HIGH] == 1 && count[LOW] == 0);
    mmio_write(LAPIC + TPR, 0);
    TRUE("local APIC: until it falls", wait_for(LOW, 1, 1000));

    forget_interrupts();
    __asm__ volatile("mov %0, %%cr8" : : "r"(9ul));
    EQUAL("local APIC: CR8 is the task priority", mmio_read(LAPIC + TPR), 0x90);
    __asm__ volatile("mov %0, %%cr8" : : "r"(0ul));
}

static void by_x2apic(void)
{
    u32 leaf[4];
    cpuid(1, leaf);
    if (!(leaf[2] >> 21 & 1)) {
        skip("x2APIC", "the CPU has none");
        return;
    }
    u32 id = mmio_read(LAPIC + ID) >> 24;
    wrmsr(0x1b, rdmsr(0x1b) | 1 << 10);
    EQUAL("x2APIC: the same ID", rdmsr(0x802), id);
    forget_interrupts();
    eoi_of[LOW] = eoi_of[HIGH] = EOI_X2APIC;
    wrmsr(0x83f, LOW);
    TRUE("x2APIC: self IPI register", wait_for(LOW, 1, 1000));
    wrmsr(0x830, (u64)id << 32 | HIGH);
    TRUE("x2APIC: ICR is one register", wait_for(HIGH, 1, 1000));
    wrmsr(0x808, 0x90);
    wrmsr(0x83f, LOW);
    wait_ms(5);
    EQUAL("x2APIC: the task priority holds back", count[LOW], 1);
    wrmsr(0x808, 0);
    TRUE("x2APIC: until it falls", wait_for(LOW, 2, 1000));
}

void main(const struct start_info *info)
{
    with_8259();
    apic_on();
    mmio_write(LAPIC + LINT0, MASKED);
    with_ioapic();
    level_triggered();
    by_lapic();
    by_x2apic();
}
