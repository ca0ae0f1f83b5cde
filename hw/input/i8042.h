/* The PC's keyboard controller with a PS/2 keyboard and mouse. Class "i8042"; ports "iobase" (0x60 and, four
 * up, 0x64) and "port92" (0x92: the fast gate of address line 20, and reset). */
#pragma once

#include "core/device.h"
#include "hw/input/input.h"

enum i8042_line {
    I8042_KEYBOARD, /* IRQ 1 */
    I8042_MOUSE,    /* IRQ 12 */
    I8042_A20,      /* true: address line 20 is let through, as after a reset */
    I8042_N_LINES
};
struct irq *i8042_output(struct device *kbc, enum i8042_line which);

/* For hw/input/input.c; main loop's thread. As in hw/input/input.h. */
bool i8042_available(struct device *kbc, enum input_kind kind);
bool i8042_send_event(struct device *kbc, enum input_kind kind, const struct input_event *events,
                      size_t n);
/* The mouse has nothing to say but that somebody else has: it interrupts by an empty report. */
void i8042_nudge_mouse(struct device *kbc);
uint32_t i8042_leds(struct device *kbc);
