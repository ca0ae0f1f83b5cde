/* High precision event timer: 3 timers at 100 MHz. Class "hpet". */
#pragma once

#include "core/device.h"

enum { HPET_SIZE = 0x400, HPET_N_TIMERS = 3, HPET_TICK_NS = 10 };
#define HPET_ADDR ((gpa)0xfed00000)

/* The line to input n of the I/O APIC; "intcap" says which of them the guest may choose. */
struct irq *hpet_output(struct device *hpet, unsigned n);
/* Legacy replacement: the 8254's (0) and the clock's (1) lines come in here and go out to whom they belonged,
 * or are cut off while timers 0 and 1 take their place. */
struct irq hpet_legacy_input(struct device *hpet, unsigned n);
struct irq *hpet_legacy_output(struct device *hpet, unsigned n);
/* Up while it takes the place of both: for a timer that is not a device. */
struct irq *hpet_legacy_mode(struct device *hpet);
