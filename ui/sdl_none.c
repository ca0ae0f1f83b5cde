/* For builds without SDL2. */
#include "ui/sdl.h"

#include "core/error.h"

struct error *sdl_add(struct vm *vm, const char *text, bool full_screen)
{
    return error_new("this build has no windows (SDL2)");
}

void sdl_free(struct vm *vm)
{
}

const char *sdl_hindrance(void)
{
    return "this build has no windows";
}
