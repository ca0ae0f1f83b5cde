/* For builds without ncurses. */
#include "ui/curses.h"

#include "core/error.h"

struct error *curses_add(struct vm *vm, const char *text, bool full_screen)
{
    return error_new("this build draws on no terminal (ncurses)");
}

void curses_free(struct vm *vm)
{
}
