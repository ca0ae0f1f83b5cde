/* How a PC learns of x87 exceptions that are not #MF (CR0.NE is 0): the processor's FERR# becomes IRQ 13, and a
 * write to port 0xf0 takes that back. Class "isa-ferr", "iobase". */
#pragma once

#include "core/device.h"

struct irq *isa_ferr_output(struct device *dev);
/* FERR#. Any thread, no device lock held. */
void isa_ferr_set(void *dev, bool level);
