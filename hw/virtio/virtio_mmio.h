/* virtio over MMIO: the board has slots, each a register block and a line; a device ("virtio-*-device")
 * sits in one. An empty slot says device id 0. */
#pragma once

#include "core/device.h"

enum { VIRTIO_MMIO_SIZE = 0x200 };

/* Slot n, "virtio-mmio-bus.N", at `at`, VIRTIO_MMIO_SIZE bytes. Devices without bus= take the free slot
 * with the highest number, as they do on QEMU's boards. The VM owns it. */
struct error *virtio_mmio_slot_create(struct vm *vm, unsigned n, gpa at, const struct irq *irq);
/* Is there a device in slot n? */
bool virtio_mmio_slot_used(struct vm *vm, unsigned n);

extern const struct device_class virtio_mmio_slot_class; /* "virtio-mmio", not for users */
