/* A PC's interrupt controllers and its 8254 change hands: between devices and an engine that models them. */
#pragma once

struct device;
struct error;
struct vm;
struct x86_chips;

/* The devices there are; NULL: none of this kind. */
struct x86_chip_devices {
    struct device *apic, *ioapic, *pic, *pit;
};
/* All with the VM stopped, main loop's thread. Devices -> *chips, and local APICs into the vCPUs' state, from
 * where an engine takes both (accel.set_chips, set_state). */
void x86_chips_from_devices(struct vm *vm, const struct x86_chip_devices *from,
                            struct x86_chips *chips);
/* The reverse, after accel.get_chips and get_state. Error: a local APIC in a state that there is none of. */
struct error *x86_chips_to_devices(struct vm *vm, const struct x86_chips *chips,
                                   const struct x86_chip_devices *to);
