#include "ui/faces.h"

#include "core/error.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/curses.h"
#include "ui/display.h"
#include "ui/keys.h"
#include "ui/screenshot.h"
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
    { "curses", ',', "curses - text screens on this terminal; Ctrl-A x ends, Ctrl-A h: help",
      curses_add },
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

/* ---- for the monitors ------------------------------------------------------------------------- */
struct error *faces_screendump(struct vm *vm, const char *device, int head, const char *format,
                               const char *path)
{
    enum picture_format f = PICTURE_PPM;
    struct head *h =
        device || head >= 0 ? head_find(vm, device, (unsigned)MAX(head, 0)) : head_at(vm, 0);
    struct error *err = format ? picture_format_parse(format, &f) : NULL;
    if (err)
        return err;
    if (!h && device)
        return error_new("Device '%.80s' has no screen %d", device, MAX(head, 0));
    if (!h)
        return error_new("there is no screen %d", MAX(head, 0));
    return screenshot_write(h, f, true, path);
}

static struct error *find_vnc(struct vm *vm, const char *display, struct vnc **vnc)
{
    *vnc = vnc_find(vm, display);
    if (*vnc)
        return NULL;
    return display ? error_new("there is no VNC server '%.80s'", display)
                   : error_new("there is no VNC server; start it with -vnc");
}

struct error *faces_set_password(struct vm *vm, const char *display, const char *password,
                                 const char *connected)
{
    static const char *const actions[] = {
        [VNC_KEEP] = "keep", [VNC_FAIL] = "fail", [VNC_DISCONNECT] = "disconnect"
    };
    struct vnc *vnc;
    struct error *err = find_vnc(vm, display, &vnc);
    for (size_t i = 0; i < ARRAY_LEN(actions) && !err; i++)
        if (!strcmp(connected ? connected : "keep", actions[i]))
            return vnc_set_password(vnc, password, (enum vnc_on_connected)i);
    return err ? err : error_new("'%.40s' is none of keep, fail, disconnect", connected);
}

struct error *faces_expire_password(struct vm *vm, const char *display, const char *time)
{
    struct vnc *vnc;
    int64_t when;
    struct error *err = find_vnc(vm, display, &vnc);
    if (!err)
        err = vnc_parse_expiry(time, &when);
    return err ? err : vnc_expire_password(vnc, when);
}

void faces_free(struct vm *vm)
{
    if (!vm->faces)
        return;
    curses_free(vm);
    sdl_free(vm);
    vnc_free_all(vm);
    keys_end(vm);
    free(vm->faces);
    vm->faces = NULL;
}
