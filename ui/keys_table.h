/* The table behind ui/keys.h; for ui/keys*.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct key_info {
    const char *name; /* QMP's QKeyCode */
    uint16_t code;
    uint32_t keysym;     /* X11's, of keys that type no character; 0: none */
    char plain, shifted; /* 0: types none */
};
extern const struct key_info key_infos[];
extern const size_t n_key_infos;
