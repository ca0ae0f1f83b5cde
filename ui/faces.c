#include "ui/faces.h"

#include "core/error.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/keys.h"
#include "ui/sdl.h"
#include "ui/vnc.h"

#include <stdio.h>
#include <stdlib.h>

struct faces *faces_of(struct vm *vm)
{
    if (!vm->faces) {
        struct faces *f = xcalloc(1, sizeof(*f));
        f->vm = vm;
        vm->faces = f;
    }
    return vm->faces;
}

/* ---- -display ---------------------------------------------------------------------------------- */
static struct error *add_vnc(struct vm *vm, const char *text, bool full_screen)
{
    return vnc_add(vm, text);
}

static struct error *add_none(struct vm *vm, const char *text, bool full_screen)
{
    return *text ? error_new("'none' takes no options") : NULL;
}

/* `add` gets what stands behind the name and a comma or an equals sign. */
static const struct {
    const char *name;
    char separator;
    const char *help;
    struct error *(*add)(struct vm *vm, const char *text, bool full_screen);
} kinds[] = {
    { "sdl", ',',
      "sdl[,full-screen=on][,window-close=on|off|powerdown][,grab-mod=lctrl-lalt|lshift-lctrl-lalt|"
      "rctrl]"
      "[,show-cursor=on] - a window for each screen",
      sdl_add },
    { "vnc", '=', "vnc=[HOST]:N|unix:PATH[,...] - viewers elsewhere; the same as -vnc", add_vnc },
    { "none", ',', "none - the guest's screen is not shown, and the terminal is left alone",
      add_none },
};

bool faces_display_is(const char *text, const char *kind)
{
    size_t n = strlen(kind);
    return !strncmp(text, kind, n) && (!text[n] || text[n] == ',' || text[n] == '=');
}

struct error *faces_add_display(struct vm *vm, const char *text, bool full_screen)
{
    const char *names[ARRAY_LEN(kinds)];
    char list[80] = "", name[40];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t n = strlen(kinds[i].name);
        if (faces_display_is(text, kinds[i].name) && (!text[n] || text[n] == kinds[i].separator))
            return kinds[i].add(vm, text[n] ? text + n + 1 : "", full_screen);
        names[i] = kinds[i].name;
        strcat(strcat(list, i ? ", " : ""), names[i]);
    }
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, ",="), text);
    char *hint = nearest_hint(name, names, ARRAY_LEN(names));
    struct error *err = error_new("there is no display '%s'%s; accepted: %s", name, hint, list);
    free(hint);
    return err;
}

const char *faces_no_window(void)
{
    return sdl_hindrance();
}

void faces_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        print(opaque, kinds[i].help);
}

void faces_free(struct vm *vm)
{
    if (!vm->faces)
        return;
    sdl_free(vm);
    vnc_free_all(vm);
    keys_end(vm);
    free(vm->faces);
    vm->faces = NULL;
}
