/* SDL's scan codes as Linux's key codes; for ui/sdl.c. */
#pragma once

#include <stdint.h>

enum { SDL_N_KEYS = 512 };
extern const uint8_t sdl_keys[SDL_N_KEYS]; /* 0: no such key */
