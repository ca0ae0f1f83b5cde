/* The guest's text screens on the terminal, by ncurses. Main loop's thread. */
#pragma once

#include <stdbool.h>

struct error;
struct vm;

/* What -display curses takes behind its name: nothing. Before the sandbox. */
struct error *curses_add(struct vm *vm, const char *text, bool full_screen);
/* Gives the terminal back. */
void curses_free(struct vm *vm);
