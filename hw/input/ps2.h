/* PS/2 keyboard and mouse: two byte streams each, one to the controller and one from it. They are parts of the
 * keyboard controller, whose lock guards them; hw/input/i8042.c owns both. Facts: IBM PS/2 Hardware Interface
 * Technical Reference, "Keyboard and Auxiliary Device". */
#pragma once

#include "core/state.h"
#include "hw/input/input.h"

enum { PS2_QUEUE = 64 };

/* Bytes for the controller, oldest first. */
struct ps2_queue {
    uint8_t n, bytes[PS2_QUEUE];
    uint8_t last; /* taken most recently, for "resend" */
};
/* The oldest byte; there must be one. */
uint8_t ps2_take(struct ps2_queue *q);

struct ps2_keyboard {
    struct ps2_queue queue;
    uint8_t command; /* waits for its parameter; 0: none */
    uint8_t scan_set, leds, typematic;
    bool scanning;
};
void ps2_keyboard_reset(struct ps2_keyboard *k);
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte);
/* False if there is no such key, the keyboard is off or its buffer is full. */
bool ps2_keyboard_event(struct ps2_keyboard *k, const struct input_event *e);

struct ps2_mouse {
    struct ps2_queue queue;
    uint8_t command;
    uint8_t id;                         /* 0: plain, 3: with a wheel, 4: and five buttons */
    uint8_t rate, resolution, rates[2]; /* rates: the two set before, newest first */
    bool double_scale, remote, wrap, reporting;
    uint8_t buttons, reported_buttons;
    uint32_t dx, dy, dz; /* not reported yet, as signed numbers; y down, z up */
};
void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte);
bool ps2_mouse_event(struct ps2_mouse *m, const struct input_event *e);
/* Queue what there is to report, as far as there is room. */
void ps2_mouse_report(struct ps2_mouse *m);
/* Queue a report with nothing in it, if none is under way. */
void ps2_mouse_nudge(struct ps2_mouse *m);

/* The controller's translation of scan set 2 to set 1, for bytes below 0x85; others stay. */
extern const uint8_t ps2_set1[0x85];

extern const struct field ps2_keyboard_fields[6], ps2_mouse_fields[15];
