#include "ui/display.h"

#include "core/device.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* How long to wait for the next look at a watched screen: the longer nothing has changed, the longer. */
enum { FIRST_WAIT_MS = 16, LAST_WAIT_MS = 250 };

struct head {
    struct device *dev;
    const struct head_ops *ops;
    unsigned index, width, height;
    uint32_t *pixels;
    unsigned n_watched; /* viewers that watch it */
    bool stale;         /* not drawn since somebody watched */
    bool has_text, has_cursor;
    struct text_screen text;
    uint16_t *cells; /* text.cells */
    struct cursor_shape cursor;
    int cursor_x, cursor_y;
    struct head *next;
};

struct watch {
    struct head *head;
    struct watch *next;
};

struct viewer {
    struct vm *vm;
    const struct viewer_ops *ops;
    void *opaque;
    struct watch *watches;
    struct viewer *next;
};

/* A VM's heads and viewers; there while there is one of either. */
struct display {
    struct vm *vm;
    struct head *heads;
    struct viewer *viewers;
    int timer_fd;
    unsigned wait_ms;
    bool armed, changed;
};

static void on_timer(void *opaque, uint32_t ready);

static struct display *display_of(struct vm *vm)
{
    struct display *d = vm->display;
    assert(loop_is_mine(vm->loop));
    if (!d) {
        d = xcalloc(1, sizeof(*d));
        *d = (struct display){ .vm = vm,
                               .timer_fd =
                                   timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK) };
        assert(d->timer_fd >= 0);
        loop_watch(vm->loop, d->timer_fd, EPOLLIN, on_timer, d);
        vm->display = d;
    }
    return d;
}

static void free_if_unused(struct display *d)
{
    if (d->heads || d->viewers)
        return;
    loop_unwatch(d->vm->loop, d->timer_fd);
    close(d->timer_fd);
    d->vm->display = NULL;
    free(d);
}

/* ---- looking at the screens ------------------------------------------------------------------ */

static void arm(struct display *d, unsigned ms)
{
    struct itimerspec at = { .it_value = { ms / 1000, ms % 1000 * 1000000l } };
    timerfd_settime(d->timer_fd, 0, &at, NULL);
    d->armed = ms;
}

static bool is_polled(const struct head *h)
{
    return h->n_watched && h->ops->refresh;
}

static void refresh(struct head *h)
{
    bool all = h->stale;
    h->stale = false;
    if (h->ops->refresh)
        h->ops->refresh(h->dev, h, all);
}

static void on_timer(void *opaque, uint32_t ready)
{
    struct display *d = opaque;
    uint64_t n;
    bool polled = false;
    if (read(d->timer_fd, &n, sizeof(n)) != sizeof(n))
        return;
    d->changed = false;
    for (struct head *h = d->heads, *next; h; h = next) {
        next = h->next;
        if (is_polled(h)) {
            polled = true;
            refresh(h);
        }
    }
    d->wait_ms = d->changed ? FIRST_WAIT_MS : MIN(d->wait_ms * 2, (unsigned)LAST_WAIT_MS);
    arm(d, polled ? d->wait_ms : 0);
}

static void hurry(struct display *d)
{
    bool polled = false;
    for (struct head *h = d->heads; h; h = h->next)
        polled |= is_polled(h);
    if (!polled || (d->armed && d->wait_ms == FIRST_WAIT_MS))
        return;
    d->wait_ms = FIRST_WAIT_MS;
    arm(d, FIRST_WAIT_MS);
}

void viewer_hurry(struct vm *vm)
{
    if (vm->display)
        hurry(vm->display);
}

void head_refresh(struct head *h)
{
    h->stale |= !h->n_watched;
    refresh(h);
}

/* ---- devices --------------------------------------------------------------------------------- */

static void tell_changed(struct head *h, bool gone)
{
    struct display *d = display_of(h->dev->vm);
    for (struct viewer *v = d->viewers, *next; v; v = next) {
        next = v->next;
        v->ops->changed(v->opaque, h, gone);
    }
}

static void tell_cursor(struct head *h)
{
    struct display *d = display_of(h->dev->vm);
    for (struct viewer *v = d->viewers; v; v = v->next)
        v->ops->cursor(v->opaque, h);
}

struct head *head_new(struct device *dev, unsigned index, const struct head_ops *ops)
{
    struct display *d = display_of(dev->vm);
    struct head *h = xcalloc(1, sizeof(*h)), **end = &d->heads;
    *h = (struct head){
        .dev = dev, .index = index, .ops = ops, .width = 640, .height = 480, .stale = true
    };
    h->pixels = xcalloc((size_t)h->width * h->height, sizeof(*h->pixels));
    while (*end)
        end = &(*end)->next;
    *end = h;
    tell_changed(h, false);
    return h;
}

void head_free(struct head *h)
{
    if (!h)
        return;
    struct display *d = display_of(h->dev->vm);
    tell_changed(h, true);
    for (struct viewer *v = d->viewers; v; v = v->next)
        viewer_watch(v, h, false);
    struct head **at = &d->heads;
    while (*at != h)
        at = &(*at)->next;
    *at = h->next;
    free(h->cells);
    free(h->pixels);
    free(h);
    free_if_unused(d);
}

bool head_resize(struct head *h, unsigned width, unsigned height)
{
    if (!width || !height || width > HEAD_MAX_SIDE || height > HEAD_MAX_SIDE)
        return false;
    if (width == h->width && height == h->height)
        return true;
    uint32_t *pixels = calloc((size_t)width * height, sizeof(*pixels));
    if (!pixels)
        return false;
    free(h->pixels);
    h->pixels = pixels;
    h->width = width;
    h->height = height;
    tell_changed(h, false);
    return true;
}

uint32_t *head_pixels(struct head *h)
{
    return h->pixels;
}

void head_damage(struct head *h, struct rect part)
{
    struct display *d = display_of(h->dev->vm);
    if (part.x >= h->width || part.y >= h->height)
        return;
    part.width = MIN(part.width, h->width - part.x);
    part.height = MIN(part.height, h->height - part.y);
    if (!part.width || !part.height)
        return;
    d->changed = true;
    for (struct viewer *v = d->viewers, *next; v; v = next) {
        next = v->next;
        v->ops->damaged(v->opaque, h, part);
    }
}

void head_set_text(struct head *h, const struct text_screen *text)
{
    h->has_text = text;
    if (!text)
        return;
    size_t n = (size_t)text->columns * text->rows;
    h->cells = xrealloc(h->cells, MAX(n, 1u) * sizeof(*h->cells));
    memcpy(h->cells, text->cells, n * sizeof(*h->cells));
    h->text = *text;
    h->text.cells = h->cells;
}

void head_set_cursor(struct head *h, const struct cursor_shape *shape)
{
    assert(!shape || (shape->width <= CURSOR_MAX_SIDE && shape->height <= CURSOR_MAX_SIDE));
    h->has_cursor = shape;
    if (shape)
        h->cursor = *shape;
    tell_cursor(h);
}

void head_move_cursor(struct head *h, int x, int y)
{
    h->cursor_x = x;
    h->cursor_y = y;
    tell_cursor(h);
}

/* ---- viewers --------------------------------------------------------------------------------- */

struct viewer *viewer_new(struct vm *vm, const struct viewer_ops *ops, void *opaque)
{
    struct display *d = display_of(vm);
    struct viewer *v = xcalloc(1, sizeof(*v));
    *v = (struct viewer){ .vm = vm, .ops = ops, .opaque = opaque, .next = d->viewers };
    d->viewers = v;
    for (struct head *h = d->heads; h; h = h->next)
        ops->changed(opaque, h, false);
    return v;
}

void viewer_free(struct viewer *v)
{
    if (!v)
        return;
    struct display *d = display_of(v->vm);
    while (v->watches)
        viewer_watch(v, v->watches->head, false);
    struct viewer **at = &d->viewers;
    while (*at != v)
        at = &(*at)->next;
    *at = v->next;
    free(v);
    free_if_unused(d);
}

void viewer_watch(struct viewer *v, struct head *h, bool on)
{
    struct watch **at = &v->watches;
    while (*at && (*at)->head != h)
        at = &(*at)->next;
    if (on == !!*at)
        return;
    if (on) {
        struct watch *w = xmalloc(sizeof(*w));
        *w = (struct watch){ h, v->watches };
        v->watches = w;
        h->stale |= !h->n_watched++;
        hurry(display_of(v->vm));
    } else {
        struct watch *w = *at;
        *at = w->next;
        free(w);
        h->n_watched--;
    }
}

struct head *head_at(struct vm *vm, unsigned n)
{
    struct display *d = vm->display;
    struct head *h = d ? d->heads : NULL;
    while (h && n--)
        h = h->next;
    return h;
}

struct head *head_find(struct vm *vm, const char *device_id, unsigned index)
{
    struct head *h;
    for (unsigned n = 0; (h = head_at(vm, n)); n++)
        if (h->index == index && (!device_id || (h->dev->id && !strcmp(h->dev->id, device_id))))
            return h;
    return NULL;
}

struct device *head_device(const struct head *h)
{
    return h->dev;
}

unsigned head_index(const struct head *h)
{
    return h->index;
}

unsigned head_width(const struct head *h)
{
    return h->width;
}

unsigned head_height(const struct head *h)
{
    return h->height;
}

const struct text_screen *head_text(const struct head *h)
{
    return h->has_text ? &h->text : NULL;
}

const struct cursor_shape *head_cursor(const struct head *h)
{
    return h->has_cursor ? &h->cursor : NULL;
}

void head_cursor_place(const struct head *h, int *x, int *y)
{
    *x = h->cursor_x;
    *y = h->cursor_y;
}

bool head_takes_wishes(const struct head *h)
{
    return h->ops->wish;
}

void head_wish(struct head *h, unsigned width, unsigned height)
{
    if (h->ops->wish)
        h->ops->wish(h->dev, h, width, height);
}
