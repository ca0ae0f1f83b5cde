/* Between interrupt controllers that are devices and x86 vCPUs. */
#pragma once

#include "core/device.h"

enum { X86_N_GSIS = 24 };

/* ---- for boards: all controllers and their inputs ------------------------------------------------- */
/* By vm->irqchip, what the engine leaves to devices; what it has itself is NULL. */
struct x86_interrupts {
    struct vm *vm;
    struct device *apic, *ioapic, *pic;
    struct {
        struct irq pic, ioapic;
    } gsis[X86_N_GSIS];
};
/* Make local APICs, an I/O APIC at its usual place and, if wanted, an 8259 pair, and connect them to each other
 * and to the vCPUs, which exist. *x must stay where it is. */
struct error *x86_interrupts_create(struct vm *vm, bool with_pic, struct x86_interrupts *x);
/* Input n: 0 to 15 are ISA interrupts, which reach the 8259 and the I/O APIC (0 its pin 2), the others the
 * I/O APIC only. May be driven from one source; sharing is the board's. */
struct irq x86_gsi(struct x86_interrupts *x, unsigned n);

/* The 8259s as a BIOS leaves them, for a guest that starts without one: vectors from 8 and 0x70 on, all inputs
 * masked, those in `levels` (a bit each, ELCR) level-triggered. After each reset, VM stopped, last of the hooks. */
struct error *x86_interrupts_set_up(struct x86_interrupts *x, uint16_t levels);

/* ---- the steps of it ------------------------------------------------------------------------------- */

/* Both after the vCPUs were made, before the VM starts. */

/* IRQCHIP_USER: connect the local APICs of a device "apic" to the VM's vCPUs. */
void x86_wire_apics(struct vm *vm, struct device *apic);
/* IRQCHIP_SPLIT: the engine has the local APICs; connect an "ioapic" to them, and an "isa-i8259" (or NULL) to
 * the first vCPU. */
void x86_wire_split(struct vm *vm, struct device *ioapic, struct device *i8259);
/* inject-nmi reaches every CPU of this board. */
void x86_take_nmis(struct vm *vm);
