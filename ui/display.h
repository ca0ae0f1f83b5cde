/* What the guest's screens show, between the devices that draw and the viewers that look (VNC, windows,
 * screenshots). A device makes one head for each screen; a head's picture is memory of its own, so that no viewer
 * reads guest memory and a device converts only what changed. All of it on the main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct device;
struct error;
struct head;
struct viewer;
struct vm;

enum { HEAD_MAX_SIDE = 8192, CURSOR_MAX_SIDE = 64 };

struct rect {
    unsigned x, y, width, height; /* pixels */
};
struct cursor_shape {
    unsigned width, height, hot_x, hot_y;
    uint32_t argb[CURSOR_MAX_SIDE * CURSOR_MAX_SIDE]; /* 0xAARRGGBB, not premultiplied; `width` a line */
};
/* What a character screen shows, for viewers that are one themselves. */
struct text_screen {
    unsigned columns, rows;
    const uint16_t *cells; /* CP437 code | attribute << 8, `columns` a row */
    bool cursor_on;
    unsigned cursor_x, cursor_y;
};

/* ---- for devices ----------------------------------------------------------------------------- */
struct head_ops {
    /* Somebody looks: draw what changed since the last time, or everything (`all`). The device's lock is not held.
     * NULL: the device draws when the guest tells it to, and everything is always drawn. */
    void (*refresh)(struct device *dev, struct head *head, bool all);
    /* A viewer would like this size, 0 by 0: nobody looks at this screen any more. NULL: the guest alone decides. */
    void (*wish)(struct device *dev, struct head *head, unsigned width, unsigned height);
};
/* Screen `index` of this device, 640 by 480 and black. */
struct head *head_new(struct device *dev, unsigned index, const struct head_ops *ops);
void head_free(struct head *head);
/* The picture's size from now on, at most HEAD_MAX_SIDE each (else false, nothing changes); black after a change. */
bool head_resize(struct head *head, unsigned width, unsigned height);
/* 0x00RRGGBB in host order, line after line without a gap. */
uint32_t *head_pixels(struct head *head);
/* This part of the pixels was drawn; what lies outside the picture is cut off. */
void head_damage(struct head *head, struct rect part);
/* The picture shows characters, these; NULL: it does not. Copied. */
void head_set_text(struct head *head, const struct text_screen *text);
/* The pointer's shape (NULL: none is shown) and place, for viewers that draw it themselves. */
void head_set_cursor(struct head *head, const struct cursor_shape *shape);
void head_move_cursor(struct head *head, int x, int y);

/* ---- for viewers ----------------------------------------------------------------------------- */
struct viewer_ops {
    /* A head came, its size changed, or it goes (after this it must not be used). */
    void (*changed)(void *opaque, struct head *head, bool gone);
    void (*damaged)(void *opaque, struct head *head, struct rect part);
    void (*cursor)(void *opaque, struct head *head); /* shape or place */
};
/* Told of all heads, at once of those that exist. */
struct viewer *viewer_new(struct vm *vm, const struct viewer_ops *ops, void *opaque);
void viewer_free(struct viewer *viewer);
/* Keep this head drawn from now on, or let it be: a head that nobody watches costs nothing. */
void viewer_watch(struct viewer *viewer, struct head *head, bool on);
/* The user does something: what follows is worth looking at soon. */
void viewer_hurry(struct vm *vm);

/* The n-th head of the VM, oldest first; NULL: there are fewer. */
struct head *head_at(struct vm *vm, unsigned n);
/* By a device's id (NULL: any) and the index on it; NULL if there is none. */
struct head *head_find(struct vm *vm, const char *device_id, unsigned index);
struct device *head_device(const struct head *head);
unsigned head_index(const struct head *head);
unsigned head_width(const struct head *head);
unsigned head_height(const struct head *head);
/* Draw now, whoever watches: for a single look. */
void head_refresh(struct head *head);
const struct text_screen *head_text(const struct head *head);     /* NULL: shows no characters */
const struct cursor_shape *head_cursor(const struct head *head);  /* NULL: none */
void head_cursor_place(const struct head *head, int *x, int *y);
bool head_takes_wishes(const struct head *head);
void head_wish(struct head *head, unsigned width, unsigned height);
