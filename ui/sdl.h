/* Windows by SDL2: one for each of the guest's screens. Main loop's thread, which has to be the one that started
 * the process. */
#pragma once

#include <stdbool.h>

struct error;
struct vm;

/* What -display sdl takes behind its name: "full-screen=on,window-close=off". Before the sandbox. */
struct error *sdl_add(struct vm *vm, const char *text, bool full_screen);
void sdl_free(struct vm *vm);
/* Why there can be no window; NULL: nothing speaks against it. */
const char *sdl_hindrance(void);
