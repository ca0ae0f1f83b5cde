/* The PC's pair of 8259A interrupt controllers, the second cascaded on the first one's input 2, and the
 * edge/level control registers of PC chipsets. Class "isa-i8259"; ports "iobase" (0x20), "iobase2" (0xa0)
 * and "elcr" (0x4d0). */
#pragma once

#include "core/device.h"

enum { I8259_N_IRQS = 16 };

/* A chip's registers, master first: to hand them to an engine that models the chips itself, and back. */
struct i8259_chip {
    uint8_t level; /* inputs as they stand */
    uint8_t irr, imr, isr;
    uint8_t elcr;   /* inputs that are level-triggered */
    uint8_t vector; /* of input 0 */
    uint8_t top;    /* the input of highest priority */
    uint8_t expect; /* the next write to port 1: 0 is the mask, 1 to 3 ICW2 to ICW4 */
    uint8_t icw1, icw3, icw4;
    bool rotate_on_eoi, special_mask, read_isr, poll;
};
void i8259_get(struct device *pic, struct i8259_chip chips[2]);
void i8259_set(struct device *pic, const struct i8259_chip chips[2]); /* and drive the output */

/* IRQ 0..15; 2 is the cascade and has none. */
struct irq i8259_input(struct device *pic, unsigned n);
/* INTR: to LINT0 of the local APICs, or straight to a CPU without one. */
struct irq *i8259_output(struct device *pic);
/* The CPU's interrupt acknowledge cycle: the vector, which is a spurious one (7 of either chip) when the
 * request is gone. Any thread; takes the device's lock. */
uint8_t i8259_acknowledge(struct device *pic);
