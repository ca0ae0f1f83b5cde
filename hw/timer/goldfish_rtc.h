/* Goldfish real-time clock; wiring for boards. Class "goldfish-rtc". */
#pragma once

#include "core/device.h"

enum { GOLDFISH_RTC_SIZE = 0x24 };

struct irq *goldfish_rtc_output(struct device *rtc);
