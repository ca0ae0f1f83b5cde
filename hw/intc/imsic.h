/* One interrupt file of a RISC-V IMSIC: a page that takes messages, and registers that its hart reaches
 * through CSRs. Class "riscv-imsic"; a board makes one per hart and privilege level. */
#pragma once

#include "core/device.h"

enum { IMSIC_SIZE = 0x1000, IMSIC_MAX_IDS = 255 };

/* The line to the hart's external interrupt of this level. */
struct irq *imsic_output(struct device *imsic);
/* Indirect register `select` (0x70..0xff), 64 bits wide: new = (old & ~mask) | (v & mask), old value
 * into *old. False if there is no such register. Any thread. */
bool imsic_access(struct device *imsic, unsigned select, uint64_t mask, uint64_t v, uint64_t *old);
/* What mtopei or stopei reads: identity << 16 | identity, or 0; a claim clears its pending bit. */
uint64_t imsic_topei(struct device *imsic, bool claim);
