/* Keys between viewers and the guest: names, key codes of Linux's input events, X11's key symbols and keyboard
 * layouts; what each viewer holds down; text that is typed. Main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct keymap;
struct vm;

/* ---- names and codes ------------------------------------------------------------------------- */
/* A key code by its name in QMP ("ctrl", "f1", "spc"), or by its number ("0x1d": as qnum); 0: none. */
unsigned key_by_name(const char *name);
const char *key_name(unsigned code); /* NULL: has none */
/* By a PC's scan code, set 1, with 0x80 for a 0xe0 in front; 0: none. And back. */
unsigned key_by_scancode(unsigned scancode);
unsigned key_scancode(unsigned code);

/* ---- layouts --------------------------------------------------------------------------------- */
/* `layout` as -k takes it: "de", "en-us", "fr-ca"; NULL: en-us. Reads files: before the sandbox. */
struct error *keymap_new(const char *layout, struct keymap **out);
void keymap_free(struct keymap *map);
enum { KEYMAP_SHIFT = 1, KEYMAP_ALTGR = 2 };
/* Which key, held with which of the two, gives this symbol of X11; code 0: none does. */
struct keymap_entry {
    uint16_t code;
    uint8_t with;
    bool any; /* a key by itself: what else is held does not matter */
};
struct keymap_entry keymap_find(const struct keymap *map, uint32_t keysym);
/* The symbol of a character. */
uint32_t keysym_of(uint32_t unicode);

/* ---- a viewer's keyboard --------------------------------------------------------------------- */
/* What it holds down is let go when it loses the user or goes. */
struct keyboard;
struct keyboard *keyboard_new(struct vm *vm);
void keyboard_free(struct keyboard *kb);
/* A key again while it is down is a repeat, which the guest makes by itself: left out. */
void keyboard_key(struct keyboard *kb, unsigned code, bool down);
/* As the viewer's layout gave it; presses or lets go Shift and AltGr around it as the guest's layout needs. */
void keyboard_keysym(struct keyboard *kb, const struct keymap *map, uint32_t keysym, bool down);
/* A letter that was typed tells whether the user's Caps Lock is on: make the guest's the same. */
void keyboard_note_letter(struct keyboard *kb, uint32_t keysym);
void keyboard_release_all(struct keyboard *kb);
bool keyboard_holds(const struct keyboard *kb, unsigned code);
/* The user's lock lights are these, of those in the mask (bits as input_leds): type lock keys until the guest's are. */
void keyboard_sync_locks(struct keyboard *kb, uint32_t leds, uint32_t mask);

/* ---- typing for the user --------------------------------------------------------------------- */
/* Press these keys in order, let them go hold_ms later (0: 100) in the reverse order; behind what is still to be
 * typed. At most 16. */
struct error *keys_send(struct vm *vm, const unsigned *codes, size_t n, unsigned hold_ms);
/* "ctrl-alt-f1", also of numbers: "0x1d-0x38". */
struct error *keys_send_names(struct vm *vm, const char *names, unsigned hold_ms);
/* UTF-8 by the layout of -k; an error names the first character that no key gives. */
struct error *keys_type(struct vm *vm, const char *text);
/* The layout of -k, and the VM's typist; freed with keys_end. */
const struct keymap *keys_layout(struct vm *vm);
struct error *keys_set_layout(struct vm *vm, const char *layout);
void keys_end(struct vm *vm);
