/* Between the local APICs in user space and x86 vCPUs. */
#pragma once

struct device;
struct vm;

/* Connect the local APICs of a device "apic" to the VM's vCPUs: after they were made, before the VM starts.
 * For vm->irqchip IRQCHIP_USER. */
void x86_wire_apics(struct vm *vm, struct device *apic);
