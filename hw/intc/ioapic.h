/* I/O APIC with 24 inputs; wiring for boards and for engines that hold the local APICs. Class "ioapic". */
#pragma once

#include "core/device.h"

enum { IOAPIC_SIZE = 0x1000, IOAPIC_N_PINS = 24 };
#define IOAPIC_ADDR ((gpa)0xfec00000)

/* The input of a pin. Levels are logical: true is asserted, whatever polarity the guest programs. */
struct irq ioapic_input(struct device *ioapic, unsigned pin);
/* A local APIC finished a level-triggered interrupt of this vector. Any thread, no APIC's lock held. */
void ioapic_eoi(struct device *ioapic, uint8_t vector);

/* What a pin sends, as a message-signalled interrupt: for engines that route pins themselves. Takes the
 * device's lock. */
struct ioapic_message {
    gpa address;
    uint32_t data;
    bool masked, level;
};
struct ioapic_message ioapic_message(struct device *ioapic, unsigned pin);
/* Be told after the guest changed a pin; called without the device's lock. One listener. */
void ioapic_on_change(struct device *ioapic, void (*fn)(void *opaque, unsigned pin), void *opaque);

/* All registers: to hand them to an engine that models the chip itself, and back. */
struct ioapic_regs {
    uint32_t select, id; /* id: 0 to 15 */
    uint32_t level;      /* inputs as they stand */
    uint64_t redir[IOAPIC_N_PINS];
};
void ioapic_get(struct device *ioapic, struct ioapic_regs *regs);
/* Levels that stand and are not in service are sent; whoever listens hears of every pin. */
void ioapic_set(struct device *ioapic, const struct ioapic_regs *regs);
