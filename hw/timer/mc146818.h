/* MC146818 real-time clock with 128 bytes of CMOS memory. Class "mc146818rtc"; ports "iobase" (0x70). */
#pragma once

#include "core/device.h"

enum { CMOS_SIZE = 128, CMOS_CENTURY = 0x32 };

/* IRQ 8. */
struct irq *mc146818_output(struct device *rtc);
/* A pulse when the alarm rings and its interrupt is enabled; under the clock's lock. */
struct irq *mc146818_alarm(struct device *rtc);
/* What a board tells its firmware through CMOS; a reset keeps it. Bytes 0 to 13 are the clock's own and are
 * left alone. */
void mc146818_set_cmos(struct device *rtc, unsigned at, uint8_t value);
