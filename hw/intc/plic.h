/* Platform-level interrupt controller; wiring for boards. Class "sifive-plic". */
#pragma once

#include "core/device.h"

enum { PLIC_SIZE = 0x600000, PLIC_MAX_SOURCES = 127, PLIC_MAX_CONTEXTS = 1024 };

/* The input of interrupt source 1..num-sources. */
struct irq plic_input(struct device *plic, unsigned source);
/* The line to a hart's external interrupt; two contexts per hart: 2n is machine, 2n+1 supervisor. */
struct irq *plic_output(struct device *plic, unsigned context);
