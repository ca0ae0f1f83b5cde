/* Between interrupt controllers that are devices and x86 vCPUs. */
#pragma once

struct device;
struct vm;

/* Both after the vCPUs were made, before the VM starts. */

/* IRQCHIP_USER: connect the local APICs of a device "apic" to the VM's vCPUs. */
void x86_wire_apics(struct vm *vm, struct device *apic);
/* IRQCHIP_SPLIT: the engine has the local APICs; connect an "ioapic" to them, and an "isa-i8259" (or NULL) to
 * the first vCPU. */
void x86_wire_split(struct vm *vm, struct device *ioapic, struct device *i8259);
