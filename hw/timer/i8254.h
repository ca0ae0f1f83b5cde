/* 8254 interval timer and the PC's system control port B, which gates and shows its counter 2 and lets the
 * loudspeaker have it. Class "isa-pit"; ports "iobase" (0x40) and "portb" (0x61). */
#pragma once

#include "core/device.h"

enum { I8254_HZ = 1193182 };

/* Counter 0's output: IRQ 0. */
struct irq *i8254_output(struct device *pit);

/* A counter's registers: to hand them to an engine that models the chip itself, and back. */
struct i8254_regs {
    uint8_t mode, access; /* as in the control word */
    bool bcd, gate, loaded, triggered, count_latched, status_latched, high_next_write,
        high_next_read;
    uint8_t write_low, latched_status;
    uint16_t latched_count;
    uint32_t count;      /* 1 to 65536 */
    uint64_t elapsed_ns; /* since it was loaded or triggered */
};
void i8254_get(struct device *pit, struct i8254_regs counters[3], uint8_t *portb);
void i8254_set(struct device *pit, const struct i8254_regs counters[3], uint8_t portb);
