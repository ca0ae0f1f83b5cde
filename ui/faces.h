/* What shows a VM to its users beside the terminal: VNC servers, windows, a terminal that draws; and what they have
 * in common. Main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct curses;
struct error;
struct keymap;
struct pointer_choice;
struct sdl;
struct typist;
struct vm;
struct vnc;

/* All of a VM's, hanging from vm->faces; made when the first part is needed. */
struct faces {
    struct vm *vm;
    struct keymap *layout;         /* ui/keyboard.c */
    struct typist *typist;         /* ui/keyboard.c */
    unsigned pointer_chosen;       /* ui/pointer.c: 0: the best; else 1 + enum input_kind */
    struct vnc *vncs;              /* ui/vnc.c: list */
    struct sdl *sdl;
    struct curses *curses;
};
struct faces *faces_of(struct vm *vm);
/* One more, as -display takes it: "sdl,full-screen=on", "curses", "vnc=:1", "none". Before the sandbox. */
struct error *faces_add_display(struct vm *vm, const char *text, bool full_screen);
/* Is it this kind that `text` asks for? */
bool faces_display_is(const char *text, const char *kind);
/* Why there can be no window; NULL: there can. */
const char *faces_no_window(void);
void faces_help(void (*print)(void *opaque, const char *line), void *opaque);
/* For both monitors: a picture of a screen (device NULL, head -1: the first) as a file; format NULL: PPM. */
struct error *faces_screendump(struct vm *vm, const char *device, int head, const char *format,
                               const char *path);
/* set_password and expire_password; display NULL: the first VNC server. `connected` NULL: keep. */
struct error *faces_set_password(struct vm *vm, const char *display, const char *password,
                                 const char *connected);
struct error *faces_expire_password(struct vm *vm, const char *display, const char *time);
/* Before the VM goes. */
void faces_free(struct vm *vm);
