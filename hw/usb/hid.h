/* USB keyboards and pointers, for hw/input/input.c. Main loop's thread, no lock held. */
#pragma once

#include "hw/input/input.h"

/* Is one of this kind read by a driver? */
bool usb_hid_available(struct vm *vm, enum input_kind kind);
bool usb_hid_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                        size_t n);
uint32_t usb_hid_leds(struct vm *vm);
