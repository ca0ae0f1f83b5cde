/* Numbers are sections of VESA E-EDID Standard, release A2 (EDID 1.4). Timings of the preferred mode: VESA CVT 1.2,
 * reduced blanking. */
#include "hw/display/edid.h"

#include "core/util.h"

#include <stdbool.h>

enum {
    MIN_WIDTH = 640,
    MIN_HEIGHT = 480,
    MAX_SIDE = 4095,
    DPI = 100,
    MAX_CLOCK = 65535 /* 10 kHz */
};
enum { /* 3.1: where things are */
       AT_MAKER = 8,
       AT_PRODUCT = 10,
       AT_SERIAL = 12,
       AT_YEAR = 17,
       AT_VERSION = 18,
       AT_BASIC = 20,
       AT_COLOURS = 25,
       AT_ESTABLISHED = 35,
       AT_STANDARD = 38,
       AT_DESCRIPTORS = 54,
       DESCRIPTOR_SIZE = 18,
       AT_CHECKSUM = 127,
};
enum { TAG_NAME = 0xfc, TAG_LIMITS = 0xfd, TAG_DUMMY = 0x10 };

struct mode {
    uint16_t width, height;
};

/* 3.8: bit 7 of byte 35 downwards, 60 Hz where there are several. */
static const struct {
    struct mode mode;
    uint8_t byte, bit;
} established[] = {
    { { 640, 480 }, 0, 5 },
    { { 800, 600 }, 0, 0 },
    { { 1024, 768 }, 1, 3 },
};
/* 3.9: at most eight; the aspect ratio is one of four. */
static const struct mode standard[] = {
    { 2048, 1152 }, { 1920, 1080 }, { 1920, 1200 }, { 1600, 1200 },
    { 1680, 1050 }, { 1440, 900 },  { 1280, 1024 }, { 1280, 960 },
};

static bool fits(const struct edid_info *info, struct mode m)
{
    return (!info->max_width || m.width <= info->max_width) &&
           (!info->max_height || m.height <= info->max_height);
}

static uint8_t aspect_of(struct mode m)
{
    static const struct mode ratios[] = { { 16, 10 }, { 4, 3 }, { 5, 4 }, { 16, 9 } };
    uint8_t i = 0;
    while (i < 3 && m.width * ratios[i].height != m.height * ratios[i].width)
        i++;
    return i;
}

static void put_modes(const struct edid_info *info, uint8_t *out)
{
    uint8_t *to = out + AT_STANDARD;
    for (size_t i = 0; i < ARRAY_LEN(established); i++)
        if (fits(info, established[i].mode))
            out[AT_ESTABLISHED + established[i].byte] |= (uint8_t)(1 << established[i].bit);
    memset(to, 1, 16); /* unused ones */
    for (size_t i = 0; i < ARRAY_LEN(standard); i++) {
        if (!fits(info, standard[i]))
            continue;
        *to++ = (uint8_t)(standard[i].width / 8 - 31);
        *to++ = (uint8_t)(aspect_of(standard[i]) << 6);
    }
}

/* A number of 12 bits: the low 8 in one byte, the others in half of another. */
static void put12(uint8_t *low, uint8_t *high, unsigned shift, unsigned v)
{
    *low = (uint8_t)v;
    *high |= (uint8_t)(v >> 8 << shift);
}

/* 3.10.2. The blanking of CVT with reduced blanking: 160 pixels, and lines for at least 460 us. */
static void put_preferred(const struct edid_info *info, unsigned w, unsigned h, uint8_t *d)
{
    unsigned hz = info->refresh_hz ? info->refresh_hz : 60;
    unsigned lines_blank =
        (unsigned)((uint64_t)460 * h * hz / (1000000 - (uint64_t)460 * MIN(hz, 2000u))) + 1;
    unsigned hblank = 160, hfront = 48, hsync = 32, vfront = 3, vsync = 6;
    unsigned vblank = MAX(lines_blank, vfront + vsync + 6);
    vblank = MIN(vblank, 4095u);
    uint64_t clock = (uint64_t)(w + hblank) * (h + vblank) * hz / 10000;
    store_le(d, 2, MIN(clock, (uint64_t)MAX_CLOCK));
    put12(d + 2, d + 4, 4, w);
    put12(d + 3, d + 4, 0, hblank);
    put12(d + 5, d + 7, 4, h);
    put12(d + 6, d + 7, 0, vblank);
    d[8] = (uint8_t)hfront;
    d[9] = (uint8_t)hsync;
    d[10] = (uint8_t)(vfront << 4 | vsync);
    put12(d + 12, d + 14, 4, w * 254 / DPI / 10); /* millimetres */
    put12(d + 13, d + 14, 0, h * 254 / DPI / 10);
    d[17] = 0x1a; /* digital separate synchronisation, horizontal positive, vertical negative */
}

/* 3.10.3 */
static uint8_t *descriptor(uint8_t *out, unsigned n, uint8_t tag)
{
    uint8_t *d = out + AT_DESCRIPTORS + n * DESCRIPTOR_SIZE;
    memset(d, 0, DESCRIPTOR_SIZE);
    d[3] = tag;
    return d;
}

static void put_name(const char *name, uint8_t *d)
{
    size_t n = strnlen(name, 13);
    memset(d + 5, ' ', 13);
    memcpy(d + 5, name, n);
    if (n < 13)
        d[5 + n] = '\n';
}

/* 3.10.3.3: what it can be driven with. */
static void put_limits(uint8_t *d)
{
    const uint8_t limits[] = { 5, 125, 30, 160, 255, 1, '\n', ' ', ' ', ' ', ' ', ' ', ' ' };
    d[4] = 0x00;
    memcpy(d + 5, limits, sizeof(limits));
}

void edid_make(const struct edid_info *info, uint8_t *out)
{
    static const uint8_t header[] = { 0, 255, 255, 255, 255, 255, 255, 0 };
    /* 3.7: sRGB's primaries and white. */
    static const uint8_t colours[] = { 0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54 };
    unsigned w = MAX(MIN(info->width, (uint32_t)MAX_SIDE), (uint32_t)MIN_WIDTH);
    unsigned h = MAX(MIN(info->height, (uint32_t)MAX_SIDE), (uint32_t)MIN_HEIGHT);
    memset(out, 0, EDID_SIZE);
    memcpy(out, header, sizeof(header));
    store_be(out + AT_MAKER, 2, ('T' - '@') << 10 | ('D' - '@') << 5 | ('M' - '@'));
    store_le(out + AT_PRODUCT, 2, 1);
    store_le(out + AT_SERIAL, 4, info->serial);
    out[AT_YEAR - 1] = 1; /* week */
    out[AT_YEAR] = 2026 - 1990;
    out[AT_VERSION] = 1;
    out[AT_VERSION + 1] = 4;
    out[AT_BASIC] = 0xa5; /* digital, 8 bits a colour, DisplayPort */
    out[AT_BASIC + 1] = (uint8_t)MIN(w * 254 / DPI / 100, 255u); /* centimetres */
    out[AT_BASIC + 2] = (uint8_t)MIN(h * 254 / DPI / 100, 255u);
    out[AT_BASIC + 3] = 120; /* gamma 2.2 */
    out[AT_BASIC + 4] =
        0x07; /* RGB 4:4:4, sRGB, preferred timing is native, any timing in the limits */
    memcpy(out + AT_COLOURS, colours, sizeof(colours));
    put_modes(info, out);
    put_preferred(info, w, h, out + AT_DESCRIPTORS);
    put_limits(descriptor(out, 1, TAG_LIMITS));
    put_name(info->name ? info->name : "Tandem", descriptor(out, 2, TAG_NAME));
    descriptor(out, 3, TAG_DUMMY);
    uint8_t sum = 0;
    for (unsigned i = 0; i < AT_CHECKSUM; i++)
        sum += out[i];
    out[AT_CHECKSUM] = (uint8_t)-sum;
}
