/* ramfb: a framebuffer in guest RAM, of which firmware tells by a fw_cfg file. Layout of "etc/ramfb", big-endian:
 * QEMU's struct RAMFBCfg; pixel formats are those of Linux' drm_fourcc.h. Nothing tells of writes: lines are
 * compared, which the wait between two looks at a quiet screen keeps cheap. */
#include "core/device.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/display/vga_rom.h"
#include "hw/firmware/fw_cfg.h"
#include "ui/display.h"

#include <inttypes.h>
#include <stdlib.h>

enum { AT_ADDR = 0, AT_FOURCC = 8, AT_FLAGS = 12, AT_WIDTH = 16, AT_HEIGHT = 20, AT_STRIDE = 24 };
enum { SETUP_SIZE = 28 };
#define FOURCC(a, b, c, d) ((uint32_t)(a) | (b) << 8 | (c) << 16 | (uint32_t)(d) << 24)

struct ramfb {
    struct device dev;
    uint8_t setup[SETUP_SIZE]; /* the file; under fw_cfg's lock */
    uint8_t shown[SETUP_SIZE]; /* what the head shows */
    struct device *fw;
    struct head *head;
};

/* The setup in use, checked. */
struct frame {
    gpa addr;
    uint32_t width, height, stride;
    const struct format *format;
};

static uint32_t from_xrgb(const uint8_t *p)
{
    return (uint32_t)load_le(p, 4) & 0xffffff;
}

static uint32_t from_xbgr(const uint8_t *p)
{
    return (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
}

static uint32_t from_rgb(const uint8_t *p)
{
    return (uint32_t)load_le(p, 2) | (uint32_t)p[2] << 16;
}

static uint32_t from_565(const uint8_t *p)
{
    unsigned v = (unsigned)load_le(p, 2), r = v >> 11, g = v >> 5 & 63, b = v & 31;
    return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

static const struct format {
    uint32_t fourcc;
    unsigned bytes;
    uint32_t (*pixel)(const uint8_t *p);
} formats[] = {
    { FOURCC('X', 'R', '2', '4'), 4, from_xrgb }, { FOURCC('A', 'R', '2', '4'), 4, from_xrgb },
    { FOURCC('X', 'B', '2', '4'), 4, from_xbgr }, { FOURCC('A', 'B', '2', '4'), 4, from_xbgr },
    { FOURCC('R', 'G', '2', '4'), 3, from_rgb },  { FOURCC('R', 'G', '1', '6'), 2, from_565 },
};

static bool frame_parse(struct ramfb *r, const uint8_t *setup, struct frame *f)
{
    uint32_t fourcc = (uint32_t)load_be(setup + AT_FOURCC, 4);
    *f = (struct frame){
        .addr = load_be(setup + AT_ADDR, 8),
        .width = (uint32_t)load_be(setup + AT_WIDTH, 4),
        .height = (uint32_t)load_be(setup + AT_HEIGHT, 4),
        .stride = (uint32_t)load_be(setup + AT_STRIDE, 4),
    };
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (formats[i].fourcc == fourcc)
            f->format = &formats[i];
    if (!f->addr)
        return false; /* not set up yet */
    if (!f->format)
        return device_broken(&r->dev, "pixel format %#x is not known", fourcc);
    if (!f->width || !f->height || f->width > HEAD_MAX_SIDE || f->height > HEAD_MAX_SIDE)
        return device_broken(&r->dev, "a picture of %u by %u", f->width, f->height);
    uint32_t least = f->width * f->format->bytes;
    f->stride = f->stride ? f->stride : least;
    return f->stride >= least ||
           device_broken(&r->dev, "lines of %u bytes are %u bytes apart", least, f->stride);
}

/* One line into the head. False: it was not in memory or is the same as before. */
static bool draw_line(struct ramfb *r, const struct frame *f, uint32_t y, uint8_t *raw,
                      uint32_t *line)
{
    uint32_t *to = head_pixels(r->head) + (size_t)y * f->width;
    if (!mem_read(r->dev.vm, f->addr + (uint64_t)y * f->stride, raw, f->width * f->format->bytes))
        return false;
    for (uint32_t x = 0; x < f->width; x++)
        line[x] = f->format->pixel(raw + (size_t)x * f->format->bytes);
    if (!memcmp(to, line, f->width * sizeof(*to)))
        return false;
    memcpy(to, line, f->width * sizeof(*to));
    return true;
}

static void draw(struct ramfb *r, const struct frame *f, bool all)
{
    uint8_t *raw = xmalloc((size_t)f->width * 4);
    uint32_t *line = xmalloc(f->width * sizeof(*line)), first = 0, n = 0;
    for (uint32_t y = 0; y < f->height; y++) {
        bool changed = draw_line(r, f, y, raw, line) || all;
        if (changed && !n)
            first = y;
        n = changed ? y + 1 - first : n;
    }
    if (n)
        head_damage(r->head, (struct rect){ 0, first, f->width, n });
    free(raw);
    free(line);
}

static void refresh(struct device *dev, struct head *head, bool all)
{
    struct ramfb *r = (struct ramfb *)dev;
    uint8_t setup[SETUP_SIZE];
    struct frame f;
    device_lock(r->fw);
    memcpy(setup, r->setup, sizeof(setup));
    device_unlock(r->fw);
    bool is_new = memcmp(setup, r->shown, sizeof(setup));
    memcpy(r->shown, setup, sizeof(setup));
    if (frame_parse(r, setup, &f) && head_resize(head, f.width, f.height))
        draw(r, &f, all || is_new);
}

static const struct head_ops head_ops = { refresh, NULL };

static bool always(void *opaque)
{
    return true;
}

static struct error *ramfb_realize(struct device *dev)
{
    struct ramfb *r = (struct ramfb *)dev;
    const struct fw_cfg_live live = {
        .bytes = r->setup,
        .n = SETUP_SIZE,
        .is_open = always,
    };
    r->fw = vga_rom_fw_cfg(dev->vm);
    if (!r->fw)
        return error_new("this machine has no fw_cfg, by which firmware would set it up");
    struct error *err = fw_cfg_add_live(r->fw, "etc/ramfb", &live);
    if (!err)
        err = vga_rom_give(dev->vm, "vgabios-ramfb.bin");
    if (!err)
        r->head = head_new(dev, 0, &head_ops);
    return err;
}

static void ramfb_unrealize(struct device *dev)
{
    head_free(((struct ramfb *)dev)->head);
}

static void ramfb_reset(struct device *dev)
{
    struct ramfb *r = (struct ramfb *)dev;
    memset(r->setup, 0, sizeof(r->setup));
}

static const struct field ramfb_state[] = {
    FIELD_RAW(struct ramfb, setup),
    DERIVED(struct ramfb, shown),
};

const struct device_class ramfb_class = {
    .name = "ramfb",
    .desc = "framebuffer in guest RAM, set up by firmware",
    .bus = "fw_cfg",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct ramfb),
    .state = TABLE(ramfb_state),
    .realize = ramfb_realize,
    .unrealize = ramfb_unrealize,
    .reset = ramfb_reset,
};
