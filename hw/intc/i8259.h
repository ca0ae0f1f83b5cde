/* The PC's pair of 8259A interrupt controllers, the second cascaded on the first one's input 2, and the
 * edge/level control registers of PC chipsets. Class "isa-i8259"; ports "iobase" (0x20), "iobase2" (0xa0)
 * and "elcr" (0x4d0). */
#pragma once

#include "core/device.h"

enum { I8259_N_IRQS = 16 };

/* IRQ 0..15; 2 is the cascade and has none. */
struct irq i8259_input(struct device *pic, unsigned n);
/* INTR: to LINT0 of the local APICs, or straight to a CPU without one. */
struct irq *i8259_output(struct device *pic);
/* The CPU's interrupt acknowledge cycle: the vector, which is a spurious one (7 of either chip) when the
 * request is gone. Any thread; takes the device's lock. */
uint8_t i8259_acknowledge(struct device *pic);
