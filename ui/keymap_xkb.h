/* Keyboard layouts by libxkbcommon; for ui/keymap.c. */
#pragma once

#include <stdint.h>

struct error;

/* Key `code` gives `keysym` when held with these (KEYMAP_*). */
typedef void keymap_add_fn(void *opaque, uint32_t keysym, uint16_t code, uint8_t with);
/* All that a layout's keys give, those with fewer to hold first. `variant` may be "". */
struct error *keymap_load(const char *layout, const char *variant, keymap_add_fn *add, void *opaque);
