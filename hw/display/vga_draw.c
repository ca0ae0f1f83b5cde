/* What a VGA shows: from registers and memory to pixels. A frame says where each line's bytes are and by which rule
 * they become pixels; lines are made in a buffer and compared, so that only what changed is damaged. Facts as in
 * vga.c; pictures are as wide as the monitor would show them: 256-colour pixels are two dots. */
#include "hw/display/vga.h"

#include "core/clock.h"
#include "core/dirty_log.h"
#include "core/vm.h"
#include "ui/display.h"

#include <assert.h>
#include <stdlib.h>

enum { /* CRTC's registers */
       CRTC_H_TOTAL = 0x00,
       CRTC_H_END = 0x01,
       CRTC_V_TOTAL = 0x06,
       CRTC_OVERFLOW = 0x07,
       CRTC_PRESET_ROW = 0x08,
       CRTC_MAX_SCAN = 0x09,
       CRTC_CURSOR_START = 0x0a,
       CRTC_CURSOR_END = 0x0b,
       CRTC_START_HIGH = 0x0c,
       CRTC_CURSOR_HIGH = 0x0e,
       CRTC_RETRACE_START = 0x10,
       CRTC_V_END = 0x12,
       CRTC_OFFSET = 0x13,
       CRTC_UNDERLINE = 0x14,
       CRTC_MODE = 0x17,
       CRTC_LINE_COMPARE = 0x18,
};
enum { ATTR_MODE = 0x10, ATTR_PLANES = 0x12, ATTR_PAN = 0x13, ATTR_SELECT = 0x14 };
enum { /* of the attribute mode register */
       ATTR_MONO = 1 << 1,
       ATTR_LINE_GRAPHICS = 1 << 2,
       ATTR_BLINK = 1 << 3,
       ATTR_PAN_ENDS = 1 << 5,
       ATTR_8BIT = 1 << 6,
       ATTR_SELECT_45 = 1 << 7,
};
enum { SEQ_CLOCKING = 1, SEQ_8_DOTS = 1, SEQ_HALF_CLOCK = 1 << 3, SEQ_SCREEN_OFF = 1 << 5 };
enum { SEQ_FONTS = 3, GFX_MODE = 5, GFX_MISC = 6, GFX_INTERLEAVED = 1 << 5, GFX_256 = 1 << 6 };
/* Half a period of the cursor's blinking: 16 frames of 70 Hz; that of characters is twice as long. */
#define BLINK_NS (UINT64_C(16) * NS_PER_S / 70)
enum { CURSOR_HIDDEN = 1, CHARS_HIDDEN = 2 };
#define PAGE_SHIFT 12

enum kind { BLANK, TEXT, PLANAR, INTERLEAVED, BYTES_256, PACKED };

struct frame {
    enum kind kind;
    unsigned width, height; /* pixels of the picture */
    unsigned chars;         /* character clocks a line, or characters */
    unsigned dots;          /* a character */
    unsigned zoom;          /* pixels a dot is wide */
    unsigned pan;           /* dots */
    unsigned bpp;           /* PACKED */
    uint64_t start, pitch;  /* PACKED: bytes; else doublewords */
    uint32_t wrap;          /* doublewords that addresses wrap at */
    bool maps_address;      /* CRTC's addressing modes apply */
    uint32_t colours[256];  /* of the DAC */
    uint32_t palette[16];   /* of the attribute controller */
    const struct vga_regs *r;
    const uint8_t *vram;
    uint64_t vram_size;
    uint64_t cursor; /* the character's doubleword, or NO_CURSOR */
    unsigned blink;  /* what is hidden now */
};
#define NO_CURSOR UINT64_MAX
/* Where a line begins, and its place in the character row. */
struct line {
    uint64_t at; /* doubleword or byte */
    unsigned scan, row;
    unsigned pan;
};
/* What the head shows. */
struct vga_picture {
    struct vga_regs regs;
    enum kind kind;
    unsigned blink;
};

void vga_picture_free(struct vga *v)
{
    free(v->drawn);
    v->drawn = NULL;
}

/* ---- geometry --------------------------------------------------------------------------------------- */
static unsigned bit_to(unsigned v, unsigned bit, unsigned to)
{
    return (v >> bit & 1) << to;
}

static unsigned vertical_end(const struct vga_regs *r)
{
    unsigned over = r->crtc[CRTC_OVERFLOW];
    return (r->crtc[CRTC_V_END] | bit_to(over, 1, 8) | bit_to(over, 6, 9)) + 1;
}

static unsigned vertical_total(const struct vga_regs *r)
{
    unsigned over = r->crtc[CRTC_OVERFLOW];
    return (r->crtc[CRTC_V_TOTAL] | bit_to(over, 0, 8) | bit_to(over, 5, 9)) + 2;
}

static unsigned line_compare(const struct vga_regs *r)
{
    return r->crtc[CRTC_LINE_COMPARE] | bit_to(r->crtc[CRTC_OVERFLOW], 4, 8) |
           bit_to(r->crtc[CRTC_MAX_SCAN], 6, 9);
}

static unsigned bytes_of(unsigned bpp)
{
    return (bpp + 7) / 8;
}

/* Bytes of a line of `width` pixels; of one plane with 4 bits a pixel. */
static uint64_t pitch_of(unsigned bpp, unsigned width)
{
    return bpp == 4 ? width / 8 : (uint64_t)width * bytes_of(bpp);
}

void vga_dispi_fit(struct vga_regs *r, uint64_t vram_size)
{
    uint16_t *d = r->dispi;
    unsigned bpp = d[DISPI_BPP];
    uint64_t room = bpp == 4 ? vram_size / 4 : vram_size;
    unsigned x = MAX(MIN(d[DISPI_XRES], HEAD_MAX_SIDE), bpp == 4 ? 8 : 1);
    unsigned y = MAX(MIN(d[DISPI_YRES], HEAD_MAX_SIDE), 1);
    unsigned virt = MAX(d[DISPI_VIRT_WIDTH], x);
    if (bpp == 4) {
        x &= ~7u;
        virt &= ~7u;
    }
    uint64_t lines = MIN(room / pitch_of(bpp, virt), 0xffff);
    d[DISPI_XRES] = (uint16_t)x;
    d[DISPI_YRES] = (uint16_t)MIN(y, lines);
    d[DISPI_VIRT_WIDTH] = (uint16_t)virt;
    d[DISPI_VIRT_HEIGHT] = (uint16_t)lines;
    d[DISPI_X_OFFSET] = (uint16_t)MIN(d[DISPI_X_OFFSET], virt - x);
    d[DISPI_Y_OFFSET] = (uint16_t)MIN(d[DISPI_Y_OFFSET], lines - d[DISPI_YRES]);
}

/* The dot that a line begins with. Text of 9 dots counts from 8. */
static unsigned pan_of(const struct vga_regs *r, enum kind kind, unsigned dots)
{
    unsigned pan = r->attr[ATTR_PAN] & 15;
    if (kind == TEXT && dots == 9)
        return pan >= 8 ? 0 : pan + 1;
    return pan & 7;
}

static void dispi_frame(struct frame *f)
{
    const uint16_t *d = f->r->dispi;
    uint64_t pitch = pitch_of(d[DISPI_BPP], d[DISPI_VIRT_WIDTH]);
    f->width = d[DISPI_XRES];
    f->height = d[DISPI_YRES];
    f->bpp = d[DISPI_BPP];
    f->pitch = pitch;
    f->start = d[DISPI_Y_OFFSET] * pitch;
    if (f->bpp == 4) {
        f->kind = PLANAR;
        f->dots = 8;
        f->chars = f->width / 8;
        f->start += d[DISPI_X_OFFSET] / 8;
        f->pan = d[DISPI_X_OFFSET] % 8;
    } else {
        f->kind = PACKED;
        f->start += (uint64_t)d[DISPI_X_OFFSET] * bytes_of(f->bpp);
    }
}

static void legacy_frame(struct frame *f)
{
    const struct vga_regs *r = f->r;
    if (!(r->gfx[GFX_MISC] & 1))
        f->kind = TEXT;
    else if (r->gfx[GFX_MODE] & GFX_256)
        f->kind = BYTES_256;
    else
        f->kind = r->gfx[GFX_MODE] & GFX_INTERLEAVED ? INTERLEAVED : PLANAR;
    f->dots = f->kind == TEXT && !(r->seq[SEQ_CLOCKING] & SEQ_8_DOTS) ? 9 : 8;
    f->zoom = r->seq[SEQ_CLOCKING] & SEQ_HALF_CLOCK && f->kind != BYTES_256 ? 2 : 1;
    f->chars = r->crtc[CRTC_H_END] + 1u;
    f->width = f->chars * f->dots * f->zoom;
    f->height = vertical_end(r);
    f->pan = pan_of(r, f->kind, f->dots);
    f->start = (unsigned)r->crtc[CRTC_START_HIGH] << 8 | r->crtc[CRTC_START_HIGH + 1];
    f->pitch = 2 * r->crtc[CRTC_OFFSET];
    f->maps_address = true;
}

static uint32_t dac_colour(const struct vga_regs *r, unsigned i)
{
    const uint8_t *c = r->dac + 3 * (i & r->dac_mask);
    uint32_t rgb = 0;
    for (unsigned k = 0; k < 3; k++) {
        uint8_t six = c[k] & 63;
        bool wide = r->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC;
        rgb = rgb << 8 | (wide ? c[k] : (uint8_t)(six << 2 | six >> 4));
    }
    return rgb;
}

static void fill_colours(struct frame *f)
{
    const struct vga_regs *r = f->r;
    uint8_t select = r->attr[ATTR_SELECT];
    for (unsigned i = 0; i < 256; i++)
        f->colours[i] = dac_colour(r, i);
    for (unsigned i = 0; i < 16; i++) {
        uint8_t entry = r->attr[i] & 63;
        if (r->attr[ATTR_MODE] & ATTR_SELECT_45)
            entry = (entry & 15) | (select & 3) << 4;
        f->palette[i] = f->colours[entry | (select & 12) << 4];
    }
}

/* The doubleword behind a count of the CRTC (mode control and underline location registers): bits 13 and 14 of the
 * address may be those of the line in its row. With words or doublewords, memory here is packed closer by as much
 * as the CRTC shifts. */
static uint32_t dword_at(const struct frame *f, uint64_t count, unsigned scan)
{
    const uint8_t *crtc = f->r->crtc;
    if (!f->maps_address)
        return (uint32_t)(count & (f->wrap - 1));
    uint32_t at = count & 0xffff;
    unsigned shift = crtc[CRTC_UNDERLINE] & 0x40 ? 2 : crtc[CRTC_MODE] & 0x40 ? 0 : 1;
    for (unsigned bit = 0; bit < 2; bit++)
        if (!(crtc[CRTC_MODE] >> bit & 1)) {
            at &= ~(1u << (13 + bit - shift));
            at |= (scan >> bit & 1) << (13 + bit - shift);
        }
    return at;
}

static uint64_t cursor_at(const struct frame *f)
{
    const uint8_t *crtc = f->r->crtc;
    uint64_t at = (unsigned)crtc[CRTC_CURSOR_HIGH] << 8 | crtc[CRTC_CURSOR_HIGH + 1];
    return crtc[CRTC_CURSOR_START] & 0x20 ? NO_CURSOR : dword_at(f, at, 0);
}

static void frame_of(struct frame *f, const struct vga *v, const struct vga_regs *r, unsigned blink)
{
    *f = (struct frame){
        .r = r,
        .zoom = 1,
        .blink = blink,
        .vram = mem_region_ram(v->vram)->host,
        .vram_size = mem_region_ram(v->vram)->size,
    };
    f->wrap = (uint32_t)(f->vram_size / 4);
    if (vga_dispi_on(r))
        dispi_frame(f);
    else if (v->has_planes)
        legacy_frame(f);
    bool off = v->has_planes &&
               (!(r->attr_index & VGA_ATTR_SCREEN_ON) || r->seq[SEQ_CLOCKING] & SEQ_SCREEN_OFF);
    if (off || !f->width || !f->height)
        f->kind = BLANK;
    if (f->kind == BLANK)
        return;
    fill_colours(f);
    f->cursor = f->kind == TEXT ? cursor_at(f) : NO_CURSOR;
}

static uint32_t fetch(const struct frame *f, uint64_t count, unsigned scan)
{
    return (uint32_t)load_le(f->vram + 4 * (uint64_t)dword_at(f, count, scan), 4);
}

/* ---- lines ------------------------------------------------------------------------------------------ */
/* Each fills one line; `out` has room for a character before the picture's first dot and after its last. */
static uint32_t *put_planar(const struct frame *f, uint32_t four, uint32_t *out)
{
    uint8_t enabled = f->r->attr[ATTR_PLANES] & 15;
    for (int bit = 7; bit >= 0; bit--) {
        uint32_t b = four >> bit;
        unsigned colour = (b & 1) | (b >> 8 & 1) << 1 | (b >> 16 & 1) << 2 | (b >> 24 & 1) << 3;
        *out++ = f->palette[colour & enabled];
    }
    return out;
}

/* Graphics mode register, bit 5: two bits of one plane are a pixel, four pixels of the even plane come first. */
static uint32_t *put_interleaved(const struct frame *f, uint32_t four, uint32_t *out)
{
    uint8_t enabled = f->r->attr[ATTR_PLANES] & 15;
    for (unsigned half = 0; half < 2; half++) {
        uint8_t low = (uint8_t)(four >> 8 * half), high = (uint8_t)(four >> (8 * half + 16));
        for (int at = 6; at >= 0; at -= 2) {
            unsigned colour = (low >> at & 3) | (high >> at & 3) << 2;
            *out++ = f->palette[colour & enabled];
        }
    }
    return out;
}

static uint32_t *put_256(const struct frame *f, uint32_t four, uint32_t *out)
{
    for (unsigned i = 0; i < 4; i++) {
        uint32_t colour = f->colours[four >> 8 * i & 0xff];
        *out++ = colour;
        *out++ = colour;
    }
    return out;
}

/* Character map select register: 8 KiB each of plane 2, in an order of its own. */
static unsigned font_at(const struct vga_regs *r, bool second)
{
    unsigned v = r->seq[SEQ_FONTS];
    unsigned map = second ? (v >> 2 & 3) | bit_to(v, 5, 2) : (v & 3) | bit_to(v, 4, 2);
    return (map & 3) * 0x4000 + (map >> 2) * 0x2000;
}

static bool cursor_covers(const struct frame *f, uint32_t dword, unsigned scan)
{
    const uint8_t *crtc = f->r->crtc;
    return dword == f->cursor && scan >= (crtc[CRTC_CURSOR_START] & 31u) &&
           scan <= (crtc[CRTC_CURSOR_END] & 31u);
}

static uint32_t *put_char(const struct frame *f, const struct line *line, uint64_t count,
                          uint32_t *out)
{
    const struct vga_regs *r = f->r;
    uint8_t mode = r->attr[ATTR_MODE];
    uint32_t dword = dword_at(f, count, 0);
    uint8_t code = f->vram[4 * (uint64_t)dword], attr = f->vram[4 * (uint64_t)dword + 1];
    uint64_t glyph = font_at(r, attr & 8) + code * 32u + line->scan;
    uint8_t dots = f->vram[4 * glyph + 2];
    unsigned fore = attr & 15, back = attr >> 4;
    if (mode & ATTR_BLINK) {
        back &= 7;
        if (attr & 0x80 && f->blink & CHARS_HIDDEN)
            dots = 0;
    }
    bool ninth = mode & ATTR_LINE_GRAPHICS && code >= 0xc0 && code <= 0xdf && dots & 1;
    if (mode & ATTR_MONO && (attr & 7) == 1 && line->scan == (r->crtc[CRTC_UNDERLINE] & 31u)) {
        dots = 0xff;
        ninth = true;
    }
    if (!(f->blink & CURSOR_HIDDEN) && cursor_covers(f, dword, line->scan)) {
        dots = 0xff;
        ninth = true;
    }
    for (int bit = 7; bit >= 0; bit--)
        *out++ = f->palette[dots >> bit & 1 ? fore : back];
    if (f->dots == 9)
        *out++ = f->palette[ninth ? fore : back];
    return out;
}

static uint32_t from_555(unsigned v)
{
    unsigned r = v >> 10 & 31, g = v >> 5 & 31, b = v & 31;
    return (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static uint32_t from_565(unsigned v)
{
    unsigned r = v >> 11 & 31, g = v >> 5 & 63, b = v & 31;
    return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

static void put_packed(const struct frame *f, uint64_t at, uint32_t *out)
{
    const uint8_t *from = f->vram + at;
    uint64_t (*load)(const void *p, unsigned n) = f->r->big_endian ? load_be : load_le;
    unsigned n = bytes_of(f->bpp);
    for (unsigned x = 0; x < f->width; x++, from += n) {
        switch (f->bpp) {
        case 8: out[x] = f->colours[*from]; break;
        case 15: out[x] = from_555((unsigned)load(from, 2)); break;
        case 16: out[x] = from_565((unsigned)load(from, 2)); break;
        case 24: {
            unsigned red = f->r->big_endian ? 0 : 2;
            out[x] = (uint32_t)from[red] << 16 | (uint32_t)from[1] << 8 | from[2 - red];
            break;
        }
        default: out[x] = (uint32_t)load(from, 4) & 0xffffff;
        }
    }
}

/* The usual case, alone: one load a pixel. */
static void put_xrgb(const struct frame *f, uint64_t at, uint32_t *out)
{
    const uint8_t *from = f->vram + at;
    for (unsigned x = 0; x < f->width; x++) {
        uint32_t v;
        memcpy(&v, from + 4 * (uint64_t)x, 4);
        out[x] = v & 0xffffff;
    }
}

static void zoom_in(uint32_t *line, unsigned n)
{
    while (n--)
        line[2 * n] = line[2 * n + 1] = line[n];
}

/* The picture's pixels are at the result, in `room`. */
static uint32_t *draw_line(const struct frame *f, const struct line *line, uint32_t *room)
{
    uint32_t *out = room;
    if (f->kind == PACKED) {
        bool plain = f->bpp == 32 && !f->r->big_endian && htole32(1) == 1;
        (plain ? put_xrgb : put_packed)(f, line->at, room);
        return room;
    }
    for (unsigned i = 0; i <= f->chars; i++) { /* one more, for what panning shows of it */
        if (f->kind == TEXT) {
            out = put_char(f, line, line->at + i, out);
            continue;
        }
        uint32_t four = fetch(f, line->at + i, line->scan);
        out = f->kind == PLANAR        ? put_planar(f, four, out)
              : f->kind == INTERLEAVED ? put_interleaved(f, four, out)
                                       : put_256(f, four, out);
    }
    if (f->zoom == 1)
        return room + line->pan;
    zoom_in(room, (f->chars + 1) * f->dots);
    return room + 2 * line->pan;
}

/* ---- where each line is ------------------------------------------------------------------------------ */
struct walk {
    struct line line;
    unsigned compare;
    bool twice, second;
};

static struct walk first_line(const struct frame *f)
{
    const struct vga_regs *r = f->r;
    struct walk w = { .line = { .at = f->start, .pan = f->pan }, .compare = ~0u };
    if (!f->maps_address)
        return w;
    w.line.at += r->crtc[CRTC_PRESET_ROW] >> 5 & 3;
    w.line.scan = r->crtc[CRTC_PRESET_ROW] & 31;
    w.compare = line_compare(r);
    w.twice = r->crtc[CRTC_MAX_SCAN] & 0x80;
    return w;
}

/* From line y to the next. */
static void next_line(const struct frame *f, struct walk *w, unsigned y)
{
    if (!f->maps_address) {
        w->line.at += f->pitch;
        return;
    }
    if (y == w->compare) { /* the lower part begins with the first byte */
        bool pans = !(f->r->attr[ATTR_MODE] & ATTR_PAN_ENDS);
        w->line.at = pans ? f->r->crtc[CRTC_PRESET_ROW] >> 5 & 3 : 0;
        w->line.pan = pans ? w->line.pan : 0;
        w->line.scan = 0;
        w->line.row++;
        w->second = false;
        return;
    }
    if (w->twice && !w->second) {
        w->second = true;
        return;
    }
    w->second = false;
    if (w->line.scan == (f->r->crtc[CRTC_MAX_SCAN] & 31u)) {
        w->line.scan = 0;
        w->line.at += f->pitch;
        w->line.row++;
    } else {
        w->line.scan = (w->line.scan + 1) & 31;
    }
}

static bool any_dirty(const uint64_t *map, uint64_t first, uint64_t last)
{
    for (uint64_t page = first >> PAGE_SHIFT; page <= last >> PAGE_SHIFT; page++)
        if (map[page / 64] >> page % 64 & 1)
            return true;
    return false;
}

/* May memory that the line shows have been written? */
static bool line_is_dirty(const struct frame *f, const struct line *line, const uint64_t *map)
{
    if (f->kind == TEXT)
        return true; /* fonts lie between the characters */
    if (f->kind == PACKED)
        return any_dirty(map, line->at, line->at + (uint64_t)f->width * bytes_of(f->bpp) - 1);
    uint64_t first = dword_at(f, line->at, line->scan);
    uint64_t last = dword_at(f, line->at + f->chars, line->scan);
    return last < first || any_dirty(map, 4 * first, 4 * last + 3);
}

/* Does the line look different when blinking things change? */
static bool line_blinks(const struct frame *f, const struct line *line)
{
    for (unsigned i = 0; i <= f->chars; i++) {
        uint32_t dword = dword_at(f, line->at + i, 0);
        if ((f->r->attr[ATTR_MODE] & ATTR_BLINK && f->vram[4 * (uint64_t)dword + 1] & 0x80) ||
            cursor_covers(f, dword, line->scan))
            return true;
    }
    return false;
}

/* ---- the picture ------------------------------------------------------------------------------------- */
/* Changed lines that follow each other are told of at once. */
struct changes {
    struct head *head;
    unsigned y, n;
};

static void tell(struct changes *c)
{
    if (c->n)
        head_damage(c->head, (struct rect){ 0, c->y, head_width(c->head), c->n });
    c->n = 0;
}

/* Why a line is looked at. */
struct reasons {
    bool tell_all, changed, dirty, blinked;
    const uint64_t *map; /* of dirty pages */
};

static bool is_to_be_drawn(const struct frame *f, const struct line *line,
                           const struct reasons *why)
{
    return why->tell_all || why->changed || (why->dirty && line_is_dirty(f, line, why->map)) ||
           (why->blinked && line_blinks(f, line));
}

static void draw_lines(const struct frame *f, struct head *head, const struct reasons *why)
{
    struct walk w = first_line(f);
    struct changes c = { .head = head };
    uint32_t *room = xmalloc(((size_t)f->width + 64) * 2 * sizeof(*room));
    for (unsigned y = 0; y < f->height; next_line(f, &w, y++)) {
        uint32_t *to = head_pixels(head) + (size_t)y * f->width;
        bool look = is_to_be_drawn(f, &w.line, why);
        uint32_t *line = look ? draw_line(f, &w.line, room) : to;
        if (!why->tell_all && (!look || !memcmp(line, to, f->width * sizeof(*to)))) {
            tell(&c);
            continue;
        }
        memcpy(to, line, f->width * sizeof(*to));
        c.y = c.n ? c.y : y;
        c.n++;
    }
    tell(&c);
    free(room);
}

static void tell_text(const struct frame *f, struct head *head)
{
    struct walk w = first_line(f);
    unsigned room = f->height, n = 0, last = ~0u;
    struct text_screen t = { .columns = f->chars };
    uint16_t *cells = xcalloc((size_t)room * f->chars, sizeof(*cells));
    for (unsigned y = 0; y < f->height; next_line(f, &w, y++)) {
        if (w.line.row == last)
            continue;
        last = w.line.row;
        for (unsigned i = 0; i < f->chars; i++, n++) {
            uint32_t dword = dword_at(f, w.line.at + i, 0);
            cells[n] = (uint16_t)load_le(f->vram + 4 * (uint64_t)dword, 2);
            if (dword == f->cursor) {
                t.cursor_on = true;
                t.cursor_x = i;
                t.cursor_y = t.rows;
            }
        }
        t.rows++;
    }
    t.cells = cells;
    head_set_text(head, &t);
    free(cells);
}

static unsigned blink_now(const struct vga *v)
{
    uint64_t half = vm_now_ns(v->dev->vm) / BLINK_NS;
    return (half & 1 ? CURSOR_HIDDEN : 0) | (half & 2 ? CHARS_HIDDEN : 0);
}

static void blank(struct head *head)
{
    head_set_text(head, NULL);
    size_t n = (size_t)head_width(head) * head_height(head);
    memset(head_pixels(head), 0, n * sizeof(uint32_t));
    head_damage(head, (struct rect){ 0, 0, head_width(head), head_height(head) });
}

static void draw(struct vga *v, const struct frame *f, struct reasons *why)
{
    why->tell_all |= f->width != head_width(v->head) || f->height != head_height(v->head);
    if (!head_resize(v->head, f->width, f->height))
        return;
    if (f->kind == TEXT && (why->tell_all || why->changed || why->dirty))
        tell_text(f, v->head);
    else if (f->kind != TEXT)
        head_set_text(v->head, NULL);
    if (why->tell_all || why->changed || why->dirty || why->blinked)
        draw_lines(f, v->head, why);
}

void vga_refresh(struct vga *v, bool all)
{
    struct frame *f = xmalloc(sizeof(*f));
    struct reasons why = { .tell_all = all || !v->drawn, .map = v->dirty };
    struct vga_regs regs;
    device_lock(v->dev);
    regs = v->r;
    device_unlock(v->dev);
    if (!v->drawn)
        v->drawn = xcalloc(1, sizeof(*v->drawn));
    frame_of(f, v, &regs, blink_now(v));
    why.changed = memcmp(&regs, &v->drawn->regs, sizeof(regs)) != 0;
    why.dirty = f->kind != BLANK && dirty_log_take(v->log, v->dirty);
    why.blinked = f->kind == TEXT && f->blink != v->drawn->blink;
    if (f->kind != BLANK)
        draw(v, f, &why);
    else if (why.tell_all || v->drawn->kind != BLANK)
        blank(v->head);
    *v->drawn = (struct vga_picture){ regs, f->kind, f->blink };
    free(f);
}

/* ---- retrace ----------------------------------------------------------------------------------------- */
/* A retrace is as long as a slow guest needs to see it. */
enum { STATUS_NOT_SHOWN = 1 << 0, STATUS_RETRACE = 1 << 3, LEAST_RETRACE = 16 };

/* Nanoseconds of a line; what no monitor shows counts as 640 by 480. */
static uint64_t line_ns(const struct vga_regs *r, unsigned *lines)
{
    static const uint32_t clocks[] = { 25175000, 28322000, 25175000, 25175000 };
    unsigned dots = r->seq[SEQ_CLOCKING] & SEQ_8_DOTS ? 8 : 9;
    uint64_t clock = clocks[r->misc >> 2 & 3] / (r->seq[SEQ_CLOCKING] & SEQ_HALF_CLOCK ? 2 : 1);
    uint64_t ns = (r->crtc[CRTC_H_TOTAL] + 5u) * dots * NS_PER_S / clock;
    *lines = vertical_total(r);
    if (!vga_dispi_on(r) && ns > 5000 && *lines > 100)
        return ns;
    *lines = 525;
    return 31778;
}

uint8_t vga_retrace(const struct vga_regs *r, uint64_t now_ns)
{
    unsigned lines, over = r->crtc[CRTC_OVERFLOW];
    uint64_t ns = line_ns(r, &lines), in_frame = now_ns % (ns * lines);
    unsigned y = (unsigned)(in_frame / ns), x = (unsigned)(in_frame % ns * 100 / ns);
    unsigned start = r->crtc[CRTC_RETRACE_START] | bit_to(over, 2, 8) | bit_to(over, 7, 9);
    unsigned shown = vertical_end(r);
    if (shown >= lines || shown < 100)
        shown = lines - MIN(lines / 10, 45u);
    if (start >= lines || start < shown)
        start = shown;
    start = MIN(start, lines - LEAST_RETRACE);
    bool retrace = y >= start && y < start + LEAST_RETRACE;
    bool hidden = y >= shown || x >= 80; /* per cent of a line, about, are shown */
    return (hidden ? STATUS_NOT_SHOWN : 0) | (retrace ? STATUS_RETRACE : 0);
}
