/* Pointers between viewers and the guest: absolute to a tablet, else relative to a mouse. Main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct vm;

enum { POINTER_LEFT = 1, POINTER_MIDDLE = 2, POINTER_RIGHT = 4, POINTER_SIDE = 8, POINTER_EXTRA = 16 };

/* A viewer's: what it holds down is let go when it goes. */
struct pointer {
    struct vm *vm;
    unsigned buttons; /* POINTER_* that are down */
    int x, y;         /* where an absolute viewer was last; -1: nowhere yet */
};
void pointer_init(struct pointer *p, struct vm *vm);
void pointer_end(struct pointer *p);
/* Does the guest take places, not movements? */
bool pointer_is_absolute(struct vm *vm);
/* At this place of a picture of width by height, with these buttons down. A guest with a mouse gets the way there. */
void pointer_place(struct pointer *p, int x, int y, unsigned width, unsigned height,
                   unsigned buttons);
/* This much further (right, down), with these buttons down. */
void pointer_move(struct pointer *p, int dx, int dy, unsigned buttons);
/* Notches: up and right are positive. */
void pointer_wheel(struct pointer *p, int up, int right);

/* The guest's pointers: query-mice and mouse_set. */
struct pointer_info {
    unsigned index;
    const char *name;
    bool current, absolute;
};
enum { MAX_POINTERS = 2 };
size_t pointers_list(struct vm *vm, struct pointer_info out[MAX_POINTERS]);
struct error *pointers_choose(struct vm *vm, unsigned index);
