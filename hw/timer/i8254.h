/* 8254 interval timer and the PC's system control port B, which gates and shows its counter 2. Class
 * "isa-pit"; ports "iobase" (0x40) and "portb" (0x61). */
#pragma once

#include "core/device.h"

enum { I8254_HZ = 1193182 };

/* Counter 0's output: IRQ 0. */
struct irq *i8254_output(struct device *pit);
