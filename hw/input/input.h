/* Keyboards and pointers, for whoever has a user in front of it. Main loop's thread. Types and codes
 * are those of Linux's input events, which virtio-input uses as they are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

enum input_kind { INPUT_KEYBOARD, INPUT_MOUSE, INPUT_TABLET, N_INPUT_KINDS };
enum { INPUT_EV_SYN = 0, INPUT_EV_KEY = 1, INPUT_EV_REL = 2, INPUT_EV_ABS = 3, INPUT_EV_LED = 17 };
enum { INPUT_ABS_MAX = 0x7fff }; /* tablet coordinates are 0 to this */

struct input_event {
    uint16_t type, code;
    uint32_t value; /* KEY: 1 down, 0 up; REL: signed; ABS: position */
};

/* Is there a device of this kind that a guest driver serves? */
bool input_available(struct vm *vm, enum input_kind kind);
/* Give the guest n events that belong together (a movement and a button), at most 16. Events the
 * device does not have are left out. False: nobody took them. */
bool input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                      size_t n);
/* Bit 0 num lock, 1 caps lock, 2 scroll lock, as the guest last set them. */
uint32_t input_leds(struct vm *vm);
