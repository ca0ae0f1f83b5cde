/* A virtio GPU without 3D (VIRTIO 1.3, 5.7; numbers below are its sections): the guest makes pictures, fills them
 * from its memory and shows them on outputs. Queues are served on the main loop, where the heads live; what a head
 * has to be told waits for a moment without the device's lock (`present`). */
#include "hw/display/virtio_gpu.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/display/edid.h"

#include <inttypes.h>
#include <stdlib.h>

enum { QUEUE_CONTROL, QUEUE_CURSOR, CONTROL_SIZE = 64, CURSOR_SIZE = 16 };
enum { F_EDID = 1, EVENT_DISPLAY = 1 };
enum { AT_EVENTS_CLEAR = 4, AT_SCANOUTS = 8 }; /* 5.7.4 */
enum { HEADER_SIZE = 24, FLAG_FENCE = 1, RECT_SIZE = 16, ENTRY_SIZE = 16, EDID_ROOM = 1024 };
enum { BUSY_COMMANDS = 64 }; /* served in a row before others get a turn */
#define BUSY_BYTES (64 * MIB)
enum { SMALLEST_WISH = 64 };

enum { /* 5.7.6.7 */
       GET_DISPLAY_INFO = 0x100,
       RESOURCE_CREATE_2D,
       RESOURCE_UNREF,
       SET_SCANOUT,
       RESOURCE_FLUSH,
       TRANSFER_TO_HOST_2D,
       RESOURCE_ATTACH_BACKING,
       RESOURCE_DETACH_BACKING,
       GET_CAPSET_INFO,
       GET_CAPSET,
       GET_EDID,
       UPDATE_CURSOR = 0x300,
       MOVE_CURSOR,
       OK_NODATA = 0x1100,
       OK_DISPLAY_INFO,
       OK_EDID = 0x1104,
       ERR_UNSPEC = 0x1200,
       ERR_OUT_OF_MEMORY,
       ERR_INVALID_SCANOUT,
       ERR_INVALID_RESOURCE,
       ERR_INVALID_CONTEXT,
       ERR_INVALID_PARAMETER,
};

/* 5.7.6.8, named by the order of bytes in memory: where the parts of a host's 0xAARRGGBB are. Screens do not look at
 * alpha, and cursors have it in the fourth byte even of X formats, in which Linux makes them for Xorg. */
static const struct gpu_format {
    uint32_t number;
    uint8_t red, green, blue, alpha; /* bit of a little-endian word */
} formats[] = {
    { 1, 16, 8, 0, 24 },   /* B8G8R8A8 */
    { 2, 16, 8, 0, 24 },   /* B8G8R8X8 */
    { 3, 8, 16, 24, 0 },   /* A8R8G8B8 */
    { 4, 8, 16, 24, 0 },   /* X8R8G8B8 */
    { 67, 0, 8, 16, 24 },  /* R8G8B8A8 */
    { 68, 24, 16, 8, 0 },  /* X8B8G8R8 */
    { 121, 24, 16, 8, 0 }, /* A8B8G8R8 */
    { 134, 0, 8, 16, 24 }, /* R8G8B8X8 */
};

/* A command being executed. */
struct command {
    struct virtq_chain *chain;
    uint8_t header[HEADER_SIZE];
    uint64_t copied; /* bytes that it moved */
};

static struct virtio_gpu *gpu_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_gpu, v);
}

static const struct gpu_format *format_of(uint32_t number)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (formats[i].number == number)
            return &formats[i];
    return NULL;
}

static uint32_t argb_of(const struct gpu_format *f, const uint8_t *p)
{
    uint32_t v = (uint32_t)load_le(p, 4);
    return (v >> f->alpha & 0xff) << 24 | (v >> f->red & 0xff) << 16 | (v >> f->green & 0xff) << 8 |
           (v >> f->blue & 0xff);
}

/* The arguments behind the header. False: the command is too short. */
static bool arguments(const struct command *c, void *to, size_t n)
{
    return chain_read(c->chain, HEADER_SIZE, to, n) == n;
}

static struct rect rect_load(const uint8_t *p)
{
    return (struct rect){ (unsigned)load_le(p, 4), (unsigned)load_le(p + 4, 4),
                          (unsigned)load_le(p + 8, 4), (unsigned)load_le(p + 12, 4) };
}

static bool rect_fits(const struct rect *r, uint32_t width, uint32_t height)
{
    return r->width && r->height && r->x <= width && r->width <= width - r->x && r->y <= height &&
           r->height <= height - r->y;
}

static void present_soon(struct virtio_gpu *g)
{
    timer_set(g->present, 0);
}

/* ---- resources ---------------------------------------------------------------------------------------- */
static struct gpu_resource *resource_find(struct virtio_gpu *g, uint32_t id)
{
    for (unsigned i = 0; i < GPU_MAX_RESOURCES && id; i++)
        if (g->resources[i].id == id)
            return &g->resources[i];
    return NULL;
}

static struct gpu_resource *resource_free_slot(struct virtio_gpu *g)
{
    for (unsigned i = 0; i < GPU_MAX_RESOURCES; i++)
        if (!g->resources[i].id)
            return &g->resources[i];
    return NULL;
}

static void scanout_stop(struct virtio_gpu *g, struct gpu_scanout *s)
{
    s->resource_id = s->x = s->y = s->width = s->height = 0;
    s->changed = true;
    present_soon(g);
}

static void backing_drop(struct virtio_gpu *g, struct gpu_resource *r)
{
    g->hostmem -= r->backing_len;
    free(r->backing);
    r->backing = NULL;
    r->backing_len = 0;
}

static void resource_drop(struct virtio_gpu *g, struct gpu_resource *r)
{
    for (unsigned i = 0; i < g->max_outputs; i++)
        if (g->scanouts[i].resource_id == r->id)
            scanout_stop(g, &g->scanouts[i]);
    backing_drop(g, r);
    g->hostmem -= r->pixels_len;
    free(r->pixels);
    *r = (struct gpu_resource){ 0 };
}

static uint32_t resource_create(struct virtio_gpu *g, struct command *c)
{
    uint8_t raw[16];
    if (!arguments(c, raw, sizeof(raw)))
        return ERR_INVALID_PARAMETER;
    struct gpu_resource r = {
        .id = (uint32_t)load_le(raw, 4),
        .format = (uint32_t)load_le(raw + 4, 4),
        .width = (uint32_t)load_le(raw + 8, 4),
        .height = (uint32_t)load_le(raw + 12, 4),
    };
    struct gpu_resource *slot = resource_free_slot(g);
    uint64_t n = (uint64_t)r.width * r.height * 4;
    if (!r.id || resource_find(g, r.id))
        return ERR_INVALID_RESOURCE;
    if (!format_of(r.format) || !r.width || !r.height || r.width > 4 * HEAD_MAX_SIDE ||
        r.height > 4 * HEAD_MAX_SIDE)
        return ERR_INVALID_PARAMETER;
    if (!slot || n > g->max_hostmem - g->hostmem)
        return ERR_OUT_OF_MEMORY;
    r.pixels_len = (uint32_t)n;
    r.pixels = calloc(1, n);
    if (!r.pixels)
        return ERR_OUT_OF_MEMORY;
    g->hostmem += n;
    *slot = r;
    return OK_NODATA;
}

/* The resource named by the word at `off` of the arguments. */
static struct gpu_resource *named(struct virtio_gpu *g, const uint8_t *raw, unsigned off)
{
    return resource_find(g, (uint32_t)load_le(raw + off, 4));
}

static uint32_t resource_unref(struct virtio_gpu *g, struct command *c)
{
    uint8_t raw[8];
    struct gpu_resource *r;
    if (!arguments(c, raw, sizeof(raw)))
        return ERR_INVALID_PARAMETER;
    if (!(r = named(g, raw, 0)))
        return ERR_INVALID_RESOURCE;
    resource_drop(g, r);
    return OK_NODATA;
}

static uint32_t attach_backing(struct virtio_gpu *g, struct command *c)
{
    uint8_t raw[8];
    struct gpu_resource *r;
    if (!arguments(c, raw, sizeof(raw)))
        return ERR_INVALID_PARAMETER;
    uint32_t n_entries = (uint32_t)load_le(raw + 4, 4), n = n_entries * ENTRY_SIZE;
    if (!(r = named(g, raw, 0)))
        return ERR_INVALID_RESOURCE;
    if (r->backing)
        return ERR_UNSPEC;
    if (!n_entries || n_entries > GPU_MAX_BACKING)
        return ERR_INVALID_PARAMETER;
    if (n > g->max_hostmem - g->hostmem)
        return ERR_OUT_OF_MEMORY;
    uint8_t *backing = xmalloc(n);
    if (chain_read(c->chain, HEADER_SIZE + sizeof(raw), backing, n) < n) {
        free(backing);
        return ERR_INVALID_PARAMETER;
    }
    r->backing = backing;
    r->backing_len = n;
    g->hostmem += n;
    return OK_NODATA;
}

static uint32_t detach_backing(struct virtio_gpu *g, struct command *c)
{
    uint8_t raw[8];
    struct gpu_resource *r;
    if (!arguments(c, raw, sizeof(raw)))
        return ERR_INVALID_PARAMETER;
    if (!(r = named(g, raw, 0)))
        return ERR_INVALID_RESOURCE;
    if (!r->backing)
        return ERR_UNSPEC;
    backing_drop(g, r);
    return OK_NODATA;
}

/* A place in the backing that only moves forward. */
struct reader {
    const struct gpu_resource *r;
    struct vm *vm;
    uint32_t entry; /* byte offset in the list */
    uint64_t begin; /* of that entry in the backing */
};

/* Bytes [at, at+n) of the backing. False: it has not as many, or they are not in guest memory. */
static bool backing_read(struct reader *b, uint64_t at, uint8_t *to, uint64_t n)
{
    while (n) {
        if (b->entry >= b->r->backing_len)
            return false;
        uint64_t addr = load_le(b->r->backing + b->entry, 8);
        uint64_t len = load_le(b->r->backing + b->entry + 8, 4), in = at - b->begin;
        if (in >= len) {
            b->begin += len;
            b->entry += ENTRY_SIZE;
            continue;
        }
        uint64_t part = MIN(n, len - in);
        if (addr + in < addr || !mem_read(b->vm, addr + in, to, part))
            return false;
        to += part;
        at += part;
        n -= part;
    }
    return true;
}

/* 5.7.6.9: offset is that of the rectangle's first pixel; lines are as far apart as in the resource. */
static uint32_t transfer(struct virtio_gpu *g, struct command *c)
{
    uint8_t raw[32];
    struct gpu_resource *r;
    if (!arguments(c, raw, sizeof(raw)))
        return ERR_INVALID_PARAMETER;
    struct rect rect = rect_load(raw);
    uint64_t offset = load_le(raw + 16, 8);
    if (!(r = named(g, raw, 24)))
        return ERR_INVALID_RESOURCE;
    if (!rect_fits(&rect, r->width, r->height) || offset > UINT32_MAX)
        return ERR_INVALID_PARAMETER;
    struct reader b = { .r = r, .vm = g->v.dev.vm };
    uint64_t stride = (uint64_t)r->width * 4, n = (uint64_t)rect.width * 4;
    uint8_t *to = r->pixels + rect.y * stride + (uint64_t)rect.x * 4;
    uint32_t lines = rect.height;
    if (rect.width == r->width) { /* all at once */
        n *= lines;
        lines = 1;
    }
    for (uint32_t i = 0; i < lines; i++) {
        if (!backing_read(&b, offset + i * stride, to + i * stride, n)) {
            device_broken(&g->v.dev, "resource %u has no memory at %#" PRIx64, r->id,
                          offset + i * stride);
            return ERR_UNSPEC;
        }
        c->copied += n;
    }
    return OK_NODATA;
}

/* ---- outputs ------------------------------------------------------------------------------------------ */
static uint32_t set_scanout(struct virtio_gpu *g, struct command *c)
{
    uint8_t raw[24];
    if (!arguments(c, raw, sizeof(raw)))
        return ERR_INVALID_PARAMETER;
    struct rect rect = rect_load(raw);
    uint32_t n = (uint32_t)load_le(raw + 16, 4), id = (uint32_t)load_le(raw + 20, 4);
    if (n >= g->max_outputs)
        return ERR_INVALID_SCANOUT;
    struct gpu_scanout *s = &g->scanouts[n];
    if (!id) {
        scanout_stop(g, s);
        return OK_NODATA;
    }
    struct gpu_resource *r = resource_find(g, id);
    if (!r)
        return ERR_INVALID_RESOURCE;
    if (!rect_fits(&rect, r->width, r->height) || rect.width > HEAD_MAX_SIDE ||
        rect.height > HEAD_MAX_SIDE)
        return ERR_INVALID_PARAMETER;
    s->resource_id = id;
    s->x = rect.x;
    s->y = rect.y;
    s->width = rect.width;
    s->height = rect.height;
    s->changed = true;
    g->driven = true;
    present_soon(g);
    return OK_NODATA;
}

static struct rect join(struct rect a, struct rect b)
{
    if (!a.width)
        return b;
    unsigned x = MIN(a.x, b.x), y = MIN(a.y, b.y);
    return (struct rect){ x, y, MAX(a.x + a.width, b.x + b.width) - x,
                          MAX(a.y + a.height, b.y + b.height) - y };
}

/* A part of the resource, as seen on an output of it. */
static void scanout_damage(struct virtio_gpu *g, struct gpu_scanout *s, struct rect part)
{
    unsigned left = MAX(part.x, s->x), top = MAX(part.y, s->y);
    unsigned right = MIN(part.x + part.width, s->x + s->width);
    unsigned bottom = MIN(part.y + part.height, s->y + s->height);
    if (left >= right || top >= bottom)
        return;
    s->damage =
        join(s->damage, (struct rect){ left - s->x, top - s->y, right - left, bottom - top });
    present_soon(g);
}

static uint32_t flush(struct virtio_gpu *g, struct command *c)
{
    uint8_t raw[24];
    struct gpu_resource *r;
    if (!arguments(c, raw, sizeof(raw)))
        return ERR_INVALID_PARAMETER;
    struct rect rect = rect_load(raw);
    if (!(r = named(g, raw, 16)))
        return ERR_INVALID_RESOURCE;
    if (!rect_fits(&rect, r->width, r->height))
        return ERR_INVALID_PARAMETER;
    for (unsigned i = 0; i < g->max_outputs; i++)
        if (g->scanouts[i].resource_id == r->id)
            scanout_damage(g, &g->scanouts[i], rect);
    return OK_NODATA;
}

/* ---- what the guest asks ------------------------------------------------------------------------------ */
static uint32_t respond(struct command *c, uint32_t type, uint8_t *response, size_t n)
{
    uint8_t flags = c->header[4] & FLAG_FENCE;
    store_le(response, 4, type);
    response[4] = flags;
    if (flags)
        memcpy(response + 8, c->header + 8, HEADER_SIZE - 8);
    return (uint32_t)chain_write(c->chain, 0, response, n);
}

/* Outputs side by side, those that are on. */
static uint32_t display_info(struct virtio_gpu *g, struct command *c)
{
    uint8_t response[HEADER_SIZE + GPU_MAX_OUTPUTS * (RECT_SIZE + 8)] = { 0 };
    uint8_t *to = response + HEADER_SIZE;
    uint32_t x = 0;
    for (unsigned i = 0; i < g->max_outputs; i++, to += RECT_SIZE + 8) {
        const struct gpu_scanout *s = &g->scanouts[i];
        if (!s->wished_width)
            continue;
        store_le(to, 4, x);
        store_le(to + 8, 4, s->wished_width);
        store_le(to + 12, 4, s->wished_height);
        to[RECT_SIZE] = 1;
        x += s->wished_width;
    }
    return respond(c, OK_DISPLAY_INFO, response, sizeof(response));
}

static uint32_t get_edid(struct virtio_gpu *g, struct command *c, uint32_t *refused)
{
    uint8_t response[HEADER_SIZE + 8 + EDID_ROOM] = { 0 }, raw[8];
    *refused = ERR_INVALID_PARAMETER;
    if (!virtio_has(&g->v, F_EDID) || !arguments(c, raw, sizeof(raw)))
        return 0;
    uint32_t n = (uint32_t)load_le(raw, 4);
    *refused = ERR_INVALID_SCANOUT;
    if (n >= g->max_outputs)
        return 0;
    const struct gpu_scanout *s = &g->scanouts[n];
    const struct edid_info info = {
        .width = s->wished_width ? s->wished_width : g->width,
        .height = s->wished_height ? s->wished_height : g->height,
        .serial = n + 1,
    };
    store_le(response + HEADER_SIZE, 4, EDID_SIZE);
    edid_make(&info, response + HEADER_SIZE + 8);
    return respond(c, OK_EDID, response, sizeof(response));
}

/* ---- the cursor --------------------------------------------------------------------------------------- */
/* 5.7.6.10. Nobody answers; what is wrong has no effect. */
static void cursor_command(struct virtio_gpu *g, struct command *c, uint32_t type)
{
    uint8_t raw[32];
    if (!arguments(c, raw, sizeof(raw)))
        return;
    uint32_t n = (uint32_t)load_le(raw, 4);
    if (n >= g->max_outputs) {
        device_broken(&g->v.dev, "a cursor on output %u", n);
        return;
    }
    struct gpu_scanout *s = &g->scanouts[n];
    s->cursor.x = (uint32_t)load_le(raw + 4, 4);
    s->cursor.y = (uint32_t)load_le(raw + 8, 4);
    s->cursor_moved = true;
    if (type == UPDATE_CURSOR) {
        s->cursor.resource_id = (uint32_t)load_le(raw + 16, 4);
        s->cursor.hot_x = (uint32_t)load_le(raw + 20, 4);
        s->cursor.hot_y = (uint32_t)load_le(raw + 24, 4);
        s->cursor_changed = true;
    }
    present_soon(g);
}

/* Its picture as it is now; false: it has none that can be shown. */
static bool cursor_shape(struct virtio_gpu *g, const struct gpu_cursor *cursor,
                         struct cursor_shape *shape)
{
    const struct gpu_resource *r = resource_find(g, cursor->resource_id);
    if (!r || r->width > CURSOR_MAX_SIDE || r->height > CURSOR_MAX_SIDE)
        return false;
    const struct gpu_format *f = format_of(r->format);
    shape->width = r->width;
    shape->height = r->height;
    shape->hot_x = MIN(cursor->hot_x, r->width - 1);
    shape->hot_y = MIN(cursor->hot_y, r->height - 1);
    for (uint32_t i = 0; i < r->width * r->height; i++)
        shape->argb[i] = argb_of(f, r->pixels + 4 * (size_t)i);
    return true;
}

/* ---- queues ------------------------------------------------------------------------------------------- */
static const struct {
    uint32_t type;
    uint32_t (*execute)(struct virtio_gpu *g, struct command *c);
} commands[] = {
    { RESOURCE_CREATE_2D, resource_create },
    { RESOURCE_UNREF, resource_unref },
    { SET_SCANOUT, set_scanout },
    { RESOURCE_FLUSH, flush },
    { TRANSFER_TO_HOST_2D, transfer },
    { RESOURCE_ATTACH_BACKING, attach_backing },
    { RESOURCE_DETACH_BACKING, detach_backing },
};

/* Bytes of the answer. */
static uint32_t execute(struct virtio_gpu *g, struct command *c)
{
    uint8_t response[HEADER_SIZE] = { 0 };
    uint32_t result = ERR_UNSPEC; /* 3D, blobs and UUIDs, whose features are not offered */
    if (chain_read(c->chain, 0, c->header, sizeof(c->header)) < sizeof(c->header)) {
        memset(c->header, 0, sizeof(c->header));
        return respond(c, ERR_INVALID_PARAMETER, response, sizeof(response));
    }
    uint32_t type = (uint32_t)load_le(c->header, 4);
    if (type == GET_DISPLAY_INFO)
        return display_info(g, c);
    if (type == GET_EDID) {
        uint32_t n = get_edid(g, c, &result);
        return n ? n : respond(c, result, response, sizeof(response));
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (commands[i].type == type)
            result = commands[i].execute(g, c);
    return respond(c, result, response, sizeof(response));
}

static uint32_t serve(struct virtio_gpu *g, struct virtq *q, struct command *c)
{
    if (q->index == QUEUE_CONTROL)
        return execute(g, c);
    if (chain_read(c->chain, 0, c->header, sizeof(c->header)) == sizeof(c->header)) {
        uint32_t type = (uint32_t)load_le(c->header, 4);
        if (type == UPDATE_CURSOR || type == MOVE_CURSOR)
            cursor_command(g, c, type);
    }
    return 0;
}

void gpu_handle_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtio_gpu *g = gpu_of(v);
    uint64_t copied = 0;
    for (unsigned n = 0; n < BUSY_COMMANDS && copied < BUSY_BYTES; n++) {
        struct command c = { .chain = virtq_pop(q) };
        if (!c.chain) {
            virtq_notify(q);
            return;
        }
        virtq_push(c.chain, serve(g, q, &c));
        copied += c.copied;
    }
    virtq_notify(q);
    virtq_kick(q); /* go on when others had their turn */
}

/* ---- showing it --------------------------------------------------------------------------------------- */
/* The usual format, which is the head's but for what lies above the colours. */
static void copy_own(uint32_t *to, const uint8_t *from, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint32_t v;
        memcpy(&v, from + 4 * (size_t)i, sizeof(v));
        to[i] = v & 0xffffff;
    }
}

/* The part of the resource that the head shows, as pixels of the head. */
static void copy_pixels(struct virtio_gpu *g, const struct gpu_scanout *s, struct rect part)
{
    const struct gpu_resource *r = resource_find(g, s->resource_id);
    const struct gpu_format *f = format_of(r->format);
    uint32_t *pixels = head_pixels(s->head);
    bool is_own = f->red == 16 && f->green == 8 && f->blue == 0 && htole32(1) == 1;
    for (unsigned y = part.y; y < part.y + part.height; y++) {
        const uint8_t *from = r->pixels + 4 * ((uint64_t)(s->y + y) * r->width + s->x + part.x);
        uint32_t *to = pixels + (size_t)y * s->width + part.x;
        if (is_own) {
            copy_own(to, from, part.width);
            continue;
        }
        for (unsigned x = 0; x < part.width; x++, from += 4)
            to[x] = argb_of(f, from) & 0xffffff;
    }
}

/* What there is to tell about an output, taken under the lock. */
struct news {
    unsigned width, height; /* 0: it shows nothing */
    struct rect damage;
    bool changed, cursor_changed, cursor_moved, has_cursor;
    bool is_vga; /* which draws by itself */
    int x, y;
    struct cursor_shape shape;
};

static void take_news(struct virtio_gpu *g, struct gpu_scanout *s, struct news *news)
{
    device_lock(&g->v.dev);
    *news = (struct news){
        .width = s->width,
        .height = s->height,
        .changed = s->changed,
        .cursor_changed = s->cursor_changed,
        .cursor_moved = s->cursor_moved,
        .is_vga = !g->driven && head_index(s->head) == 0 && g->head_ops,
        .x = (int)s->cursor.x,
        .y = (int)s->cursor.y,
    };
    if (s->cursor_changed)
        news->has_cursor = cursor_shape(g, &s->cursor, &news->shape);
    s->changed = s->cursor_changed = s->cursor_moved = false;
    device_unlock(&g->v.dev);
}

/* Pixels, when the head has the output's size; a driver that changed it meanwhile comes again. */
static struct rect take_pixels(struct virtio_gpu *g, struct gpu_scanout *s, bool all)
{
    struct rect part = { 0 };
    device_lock(&g->v.dev);
    if (s->resource_id && s->width == head_width(s->head) && s->height == head_height(s->head)) {
        part = all ? (struct rect){ 0, 0, s->width, s->height } : s->damage;
        if (part.width)
            copy_pixels(g, s, part);
    }
    s->damage = (struct rect){ 0 };
    device_unlock(&g->v.dev);
    return part;
}

static void go_black(struct head *h)
{
    memset(head_pixels(h), 0, (size_t)head_width(h) * head_height(h) * sizeof(uint32_t));
    head_damage(h, (struct rect){ 0, 0, head_width(h), head_height(h) });
}

static void present_output(struct virtio_gpu *g, struct gpu_scanout *s, struct news *news)
{
    take_news(g, s, news);
    if (news->changed && !news->is_vga) {
        head_set_text(s->head, NULL);
        if (news->width)
            head_resize(s->head, news->width, news->height);
        else
            go_black(s->head);
    }
    struct rect part = take_pixels(g, s, news->changed);
    if (part.width)
        head_damage(s->head, part);
    if (news->cursor_changed)
        head_set_cursor(s->head, news->has_cursor ? &news->shape : NULL);
    if (news->cursor_moved)
        head_move_cursor(s->head, news->x, news->y);
}

static void present(void *opaque)
{
    struct virtio_gpu *g = opaque;
    struct news *news = xmalloc(sizeof(*news));
    for (unsigned i = 0; i < g->max_outputs; i++)
        present_output(g, &g->scanouts[i], news);
    free(news);
}

void gpu_wish(struct device *dev, struct head *head, unsigned width, unsigned height)
{
    struct virtio_gpu *g = container_of(dev, struct virtio_gpu, v.dev);
    struct gpu_scanout *s = &g->scanouts[head_index(head)];
    bool off = !width || !height, first = head_index(head) == 0;
    width = off ? (first ? g->width : 0) : MAX(MIN(width, HEAD_MAX_SIDE), SMALLEST_WISH);
    height = off ? (first ? g->height : 0) : MAX(MIN(height, HEAD_MAX_SIDE), SMALLEST_WISH);
    device_lock(dev);
    if (width != s->wished_width || height != s->wished_height) {
        s->wished_width = width;
        s->wished_height = height;
        g->events |= EVENT_DISPLAY;
        virtio_config_changed(&g->v);
    }
    device_unlock(dev);
}

static const struct head_ops head_ops = { NULL, gpu_wish };

/* ---- configuration and life --------------------------------------------------------------------------- */
void gpu_get_config(struct virtio_device *v, uint8_t *config)
{
    const struct virtio_gpu *g = gpu_of(v);
    store_le(config, 4, g->events);
    store_le(config + AT_SCANOUTS, 4, g->max_outputs);
}

void gpu_set_config(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n)
{
    struct virtio_gpu *g = gpu_of(v);
    if (off == AT_EVENTS_CLEAR)
        g->events &= ~(uint32_t)load_le(data, n >= 4 ? 4 : 1);
}

void gpu_reset(struct virtio_device *v)
{
    struct virtio_gpu *g = gpu_of(v);
    for (unsigned i = 0; i < GPU_MAX_RESOURCES; i++) { /* even what half a stream left */
        free(g->resources[i].pixels);
        free(g->resources[i].backing);
        g->resources[i] = (struct gpu_resource){ 0 };
    }
    g->hostmem = 0;
    for (unsigned i = 0; i < GPU_MAX_OUTPUTS; i++) {
        struct gpu_scanout *s = &g->scanouts[i];
        scanout_stop(g, s);
        s->cursor = (struct gpu_cursor){ 0 };
        s->cursor_changed = s->cursor_moved = true;
    }
    g->events = 0;
    g->driven = false;
}

/* A stream is input. */
static struct error *check_resource(const struct virtio_gpu *g, const struct gpu_resource *r)
{
    if (!r->id)
        return r->pixels_len || r->backing_len ? error_new("memory of no resource") : NULL;
    for (const struct gpu_resource *other = g->resources; other < r; other++)
        if (other->id == r->id)
            return error_new("two resources %u", r->id);
    if (!format_of(r->format) || !r->width || !r->height ||
        (uint64_t)r->width * r->height * 4 != r->pixels_len)
        return error_new("resource %u: a size or format that there is not", r->id);
    if (r->backing_len % ENTRY_SIZE || r->backing_len > GPU_MAX_BACKING * ENTRY_SIZE)
        return error_new("resource %u: %u bytes are no list of pages", r->id, r->backing_len);
    return NULL;
}

static struct error *check_scanout(struct virtio_gpu *g, unsigned i)
{
    const struct gpu_scanout *s = &g->scanouts[i];
    const struct gpu_resource *r = resource_find(g, s->resource_id);
    struct rect rect = { s->x, s->y, s->width, s->height };
    if (!s->resource_id)
        return s->width || s->height ? error_new("output %u shows nothing of some size", i) : NULL;
    if (i >= g->max_outputs || !r || !rect_fits(&rect, r->width, r->height) ||
        s->width > HEAD_MAX_SIDE || s->height > HEAD_MAX_SIDE)
        return error_new("output %u shows what is not there", i);
    return NULL;
}

struct error *gpu_loaded(struct virtio_device *v)
{
    struct virtio_gpu *g = gpu_of(v);
    struct error *err = NULL;
    g->hostmem = 0;
    for (unsigned i = 0; i < GPU_MAX_RESOURCES; i++)
        g->hostmem += (uint64_t)g->resources[i].pixels_len + g->resources[i].backing_len;
    for (unsigned i = 0; i < GPU_MAX_RESOURCES && !err; i++)
        err = check_resource(g, &g->resources[i]);
    if (!err && g->hostmem > g->max_hostmem)
        err = error_new("resources take more than max_hostmem");
    for (unsigned i = 0; i < GPU_MAX_OUTPUTS && !err; i++) {
        err = check_scanout(g, i);
        g->scanouts[i].changed = g->scanouts[i].cursor_changed = true;
        g->scanouts[i].cursor_moved = true;
    }
    present_soon(g);
    return err;
}

struct error *gpu_realize(struct virtio_device *v)
{
    struct virtio_gpu *g = gpu_of(v);
    const struct head_ops *ops = g->head_ops ? g->head_ops : &head_ops;
    if (v->dev.hotplugged)
        return error_new("a graphics card does not support hotplugging");
    v->dev.hot_plug = NULL;
    virtq_serve_on(virtio_add_queue(v, CONTROL_SIZE), v->dev.vm->loop);
    virtq_serve_on(virtio_add_queue(v, CURSOR_SIZE), v->dev.vm->loop);
    v->features = (uint64_t)g->edid << F_EDID;
    g->present = timer_new(v->dev.vm, present, g);
    for (unsigned i = 0; i < g->max_outputs; i++)
        g->scanouts[i].head = head_new(&v->dev, i, ops);
    g->scanouts[0].wished_width = g->width;
    g->scanouts[0].wished_height = g->height;
    return NULL;
}

void gpu_unrealize(struct virtio_device *v)
{
    struct virtio_gpu *g = gpu_of(v);
    gpu_reset(v);
    timer_free(g->present);
    g->present = NULL;
    for (unsigned i = 0; i < g->max_outputs; i++)
        head_free(g->scanouts[i].head);
}

#define BUFFER(member, length, most)                                                            \
    {                                                                                           \
        .name = #member, .kind = FIELD_BUFFER, .offset = offsetof(struct gpu_resource, member), \
        .max = (most), .len_offset = offsetof(struct gpu_resource, length),                     \
    }
const struct field gpu_resource_fields[] = {
    FIELD(struct gpu_resource, id),
    FIELD(struct gpu_resource, format),
    FIELD(struct gpu_resource, width),
    FIELD(struct gpu_resource, height),
    BUFFER(pixels, pixels_len, GIB),
    BUFFER(backing, backing_len, (uint64_t)GPU_MAX_BACKING *ENTRY_SIZE),
};
const struct field gpu_scanout_fields[] = {
    FIELD(struct gpu_scanout, resource_id),
    FIELD(struct gpu_scanout, x),
    FIELD(struct gpu_scanout, y),
    FIELD(struct gpu_scanout, width),
    FIELD(struct gpu_scanout, height),
    FIELD(struct gpu_scanout, wished_width, .max = HEAD_MAX_SIDE),
    FIELD(struct gpu_scanout, wished_height, .max = HEAD_MAX_SIDE),
    FIELD(struct gpu_scanout, cursor.resource_id),
    FIELD(struct gpu_scanout, cursor.x),
    FIELD(struct gpu_scanout, cursor.y),
    FIELD(struct gpu_scanout, cursor.hot_x),
    FIELD(struct gpu_scanout, cursor.hot_y),
    DERIVED(struct gpu_scanout, changed),
    DERIVED(struct gpu_scanout, cursor_changed),
    DERIVED(struct gpu_scanout, cursor_moved),
    DERIVED(struct gpu_scanout, damage),
};

static const struct virtio_model gpu_model = { GPU_MODEL, .pci_class = 0x038000 };

#define VIRTIO_GPU_PROPS , GPU_PROPS(struct virtio_gpu, )
#define VIRTIO_GPU_STATE , GPU_STATE(struct virtio_gpu, )
VIRTIO_CLASSES(virtio_gpu, "virtio-gpu", "graphics card without 3D", struct virtio_gpu, gpu_model,
               VIRTIO_GPU_PROPS, VIRTIO_GPU_STATE)
