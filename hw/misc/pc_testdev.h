/* What kvm-unit-tests expects of a PC board started with -device pc-testdev: interrupt inputs to be driven by
 * port writes, ports and memory that only store. Class "pc-testdev". */
#pragma once

#include "core/device.h"

enum { PC_TESTDEV_N_LINES = 24 };

/* Port 0x2000 + n drives it: to input n of the I/O APIC (and of the 8259 for n below 16). */
struct irq *pc_testdev_output(struct device *dev, unsigned n);
