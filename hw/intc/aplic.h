/* RISC-V advanced platform-level interrupt controller: one interrupt domain; wiring for boards. Class
 * "riscv-aplic". The wires arrive at the machine-level domain, which may delegate each source to its
 * supervisor-level child. */
#pragma once

#include "core/device.h"

enum { APLIC_SIZE = 0x8000, APLIC_MAX_SOURCES = 127, APLIC_MAX_HARTS = 512 };

/* Source 1..num-sources of the root domain. */
struct irq aplic_input(struct device *aplic, unsigned source);
/* Direct delivery: the line to a hart's external interrupt of this level. */
struct irq *aplic_output(struct device *aplic, unsigned hart);
/* Before the guest runs. */
void aplic_set_child(struct device *aplic, struct device *child);
