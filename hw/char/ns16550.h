/* 16550A serial port; wiring for boards. Class "ns16550a". */
#pragma once

#include "core/device.h"

enum { NS16550_SIZE = 8, NS16550_CLOCK_HZ = 3686400 };

struct irq *ns16550_output(struct device *uart);
