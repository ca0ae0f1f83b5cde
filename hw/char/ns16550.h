/* 16550A serial port; wiring for boards. Class "ns16550a", or on a PC "isa-serial" ("iobase": 0x3f8, 0x2f8,
 * 0x3e8, 0x2e8, with IRQ 4, 3, 4, 3). */
#pragma once

#include "core/device.h"

enum { NS16550_SIZE = 8, NS16550_CLOCK_HZ = 3686400, ISA_SERIAL_CLOCK_HZ = 1843200 };

struct irq *ns16550_output(struct device *uart);

/* An "isa-serial" of the user's, for the board: property "index", UINT32_MAX if it was not said; then its
 * ports, unless "iobase" said where. */
uint32_t isa_serial_index(struct device *uart);
void isa_serial_place(struct device *uart, uint16_t port);
