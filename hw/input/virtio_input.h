/* The virtio half of hw/input/input.h, for hw/input/input.c. */
#pragma once

#include "hw/input/input.h"

bool virtio_input_available(struct vm *vm, enum input_kind kind);
bool virtio_input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                             size_t n);
uint32_t virtio_input_leds(struct vm *vm);
