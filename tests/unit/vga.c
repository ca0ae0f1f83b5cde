/* The standard VGA: what guests do to registers and memory against a plain model of the same, pictures of each kind
 * of mode pixel by pixel, DISPI and its bounds. */
#include "hw/display/vga.h"

#include "core/memory.h"
#include "hw/display/edid.h"
#include "ui/display.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

extern const struct device_class vga_class, bochs_display_class;

enum { WINDOW = 0xa0000, TEXT = 0xb8000 };
enum { SEQ = 0x3c4, GFX = 0x3ce, CRTC = 0x3d4, ATTR = 0x3c0, MISC = 0x3c2, STATUS = 0x3da };

static struct board *b;
static struct head *head;

/* ---- the guest's side ------------------------------------------------------------------------------ */
static void out(uint16_t port, unsigned size, uint32_t value)
{
    assert_true(mem_port_write(b->vm, port, size, value));
}

static uint32_t in(uint16_t port, unsigned size)
{
    uint32_t value;
    assert_true(mem_port_read(b->vm, port, size, &value));
    return value;
}

static void set(uint16_t port, unsigned index, unsigned value)
{
    out(port, 2, index | value << 8);
}

static void set_attr(unsigned index, unsigned value)
{
    in(STATUS, 1);
    out(ATTR, 1, index);
    out(ATTR, 1, value);
}

static void dispi(unsigned reg, unsigned value)
{
    out(0x1ce, 2, reg);
    out(0x1cf, 2, value);
}

static unsigned dispi_read(unsigned reg)
{
    out(0x1ce, 2, reg);
    return in(0x1cf, 2);
}

static void poke(gpa at, uint8_t v)
{
    board_poke(b, at, 1, v);
}

/* DAC entry i is colour(i); the attribute controller's entry i is i. */
static uint32_t colour(unsigned i)
{
    unsigned c[3] = { i * 7 & 63, i * 5 & 63, i * 3 & 63 };
    uint32_t rgb = 0;
    for (unsigned k = 0; k < 3; k++)
        rgb = rgb << 8 | (c[k] << 2 | c[k] >> 4);
    return rgb;
}

static void set_colours(void)
{
    out(0x3c8, 1, 0);
    for (unsigned i = 0; i < 256; i++) {
        out(0x3c9, 1, i * 7 & 63);
        out(0x3c9, 1, i * 5 & 63);
        out(0x3c9, 1, i * 3 & 63);
    }
    for (unsigned i = 0; i < 16; i++)
        set_attr(i, i);
}

/* A mode as the registers of a BIOS' table: width in characters, lines. */
struct mode {
    uint8_t misc, seq[5], gfx5, gfx6, crtc_offset, crtc_max_scan, crtc_underline, crtc_mode, attr10;
    unsigned chars, lines;
};
static const struct mode text80 = {
    0x67, { 3, 0x00, 3, 0, 2 }, 0x10, 0x0e, 40, 0x4f, 0x1f, 0xa3, 0x0c, 80, 400
};
static const struct mode text40 = {
    0x67, { 3, 0x08, 3, 0, 2 }, 0x10, 0x0e, 20, 0x4f, 0x1f, 0xa3, 0x0c, 40, 400
};
static const struct mode planar = {
    0xe3, { 3, 0x01, 15, 0, 6 }, 0x00, 0x05, 40, 0x40, 0x00, 0xe3, 0x01, 80, 480
};
static const struct mode planar320 = {
    0x63, { 3, 0x09, 15, 0, 6 }, 0x00, 0x05, 20, 0xc0, 0x00, 0xe3, 0x01, 40, 400
};
static const struct mode mode13 = {
    0x63, { 3, 0x01, 15, 0, 14 }, 0x40, 0x05, 40, 0x41, 0x40, 0xa3, 0x41, 80, 400
};
static const struct mode mode_x = {
    0xe3, { 3, 0x01, 15, 0, 6 }, 0x40, 0x05, 40, 0x41, 0x00, 0xe3, 0x41, 80, 480
};
static const struct mode cga4 = {
    0x63, { 3, 0x09, 3, 0, 2 }, 0x30, 0x0f, 20, 0xc1, 0x00, 0xa2, 0x01, 40, 400
};
static const struct mode cga2 = {
    0x63, { 3, 0x01, 1, 0, 6 }, 0x00, 0x0d, 40, 0xc1, 0x00, 0xc2, 0x01, 80, 400
};

static void set_mode(const struct mode *m)
{
    out(MISC, 1, m->misc);
    for (unsigned i = 0; i < 5; i++)
        set(SEQ, i, m->seq[i]);
    for (unsigned i = 0; i < 9; i++)
        set(GFX, i, i == 5 ? m->gfx5 : i == 6 ? m->gfx6 : i == 7 ? 15 : i == 8 ? 255 : 0);
    unsigned end = m->lines - 1;
    set(CRTC, 0x11, 0);
    for (unsigned i = 0; i < 25; i++)
        set(CRTC, i, 0);
    set(CRTC, 0x00, m->chars + 15);
    set(CRTC, 0x01, m->chars - 1);
    set(CRTC, 0x06, 0xbf);
    set(CRTC, 0x07, 0x11 | (end >> 8 & 1) << 1 | (end >> 9 & 1) << 6);
    set(CRTC, 0x09, m->crtc_max_scan);
    set(CRTC, 0x0a, 0x20);
    set(CRTC, 0x10, 0x9c);
    set(CRTC, 0x11, 0x8e);
    set(CRTC, 0x12, end & 255);
    set(CRTC, 0x13, m->crtc_offset);
    set(CRTC, 0x14, m->crtc_underline);
    set(CRTC, 0x17, m->crtc_mode);
    set(CRTC, 0x18, 0xff);
    set_attr(0x10, m->attr10);
    set_attr(0x11, 0);
    set_attr(0x12, 15);
    set_attr(0x13, m == &text80 || m == &text40 ? 8 : 0);
    set_attr(0x14, 0);
    set_colours();
    in(STATUS, 1);
    out(ATTR, 1, 0x20);
}

static void start(void)
{
    b = board_with("isa-vga", NULL);
    device_reset(b->dev);
    head = head_at(b->vm, 0);
}

static void start_mode(const struct mode *m)
{
    start();
    set_mode(m);
}

static void stop(void)
{
    board_check(b);
    board_free(b);
}

static uint32_t pixel(unsigned x, unsigned y)
{
    assert_true(x < head_width(head) && y < head_height(head));
    return head_pixels(head)[(size_t)y * head_width(head) + x];
}

static void look(unsigned width, unsigned height)
{
    head_refresh(head);
    assert_int_equal(head_width(head), width);
    assert_int_equal(head_height(head), height);
}

/* ---- planes against a model -------------------------------------------------------------------------- */
/* The same rules, byte by byte and plane by plane. */
struct model {
    uint8_t plane[4][0x10000], latch[4];
    uint8_t map_mask, set_reset, enable, compare, rotate, read_map, mode, dont_care, bit_mask;
};

static void model_write(struct model *m, unsigned at, uint8_t cpu)
{
    unsigned n = m->rotate & 7;
    uint8_t turned = (uint8_t)(cpu >> n | cpu << (8 - n));
    for (unsigned p = 0; p < 4; p++) {
        uint8_t v = turned, mask = m->bit_mask, latch = m->latch[p],
                sr = m->set_reset >> p & 1 ? 255 : 0;
        if ((m->mode & 3) == 0 && m->enable >> p & 1)
            v = sr;
        if ((m->mode & 3) == 2)
            v = cpu >> p & 1 ? 255 : 0;
        if ((m->mode & 3) == 3) {
            mask &= turned;
            v = sr;
        }
        switch (m->rotate >> 3) {
        case 1: v &= latch; break;
        case 2: v |= latch; break;
        case 3: v ^= latch; break;
        }
        v = (v & mask) | (latch & ~mask);
        if ((m->mode & 3) == 1)
            v = latch;
        if (m->map_mask >> p & 1)
            m->plane[p][at] = v;
    }
}

static uint8_t model_read(struct model *m, unsigned at)
{
    uint8_t same = 255;
    for (unsigned p = 0; p < 4; p++)
        m->latch[p] = m->plane[p][at];
    if (!(m->mode & 8))
        return m->latch[m->read_map];
    for (unsigned bit = 0; bit < 8; bit++)
        for (unsigned p = 0; p < 4; p++)
            if (m->dont_care >> p & 1 && (m->latch[p] >> bit & 1) != (m->compare >> p & 1))
                same &= ~(1 << bit);
    return same;
}

static void model_set(struct model *m, unsigned reg, uint8_t v)
{
    static const uint8_t bits[] = { 15, 15, 15, 31, 3, 11, 0, 15, 255, 15 };
    uint8_t *const regs[] = {
        &m->set_reset, &m->enable, &m->compare,   &m->rotate,   &m->read_map,
        &m->mode,      NULL,       &m->dont_care, &m->bit_mask, &m->map_mask
    };
    if (!regs[reg])
        return;
    *regs[reg] = v & bits[reg];
    if (reg == 9)
        set(SEQ, 2, v & bits[reg]);
    else
        set(GFX, reg, v & bits[reg]);
}

static void planes_follow_every_mode_of_reading_and_writing(void **unused)
{
    struct model *m = calloc(1, sizeof(*m));
    start_mode(&planar);
    m->map_mask = m->dont_care = 15;
    m->bit_mask = 255;
    srand(7);
    for (unsigned i = 0; i < 60000; i++) {
        unsigned what = (unsigned)rand() % 8, at = (unsigned)rand() % 64;
        uint8_t v = (uint8_t)rand();
        if (what == 0)
            model_set(m, (unsigned)rand() % 10, v);
        else if (what < 4)
            assert_int_equal(board_peek(b, WINDOW + at, 1), model_read(m, at));
        else {
            model_write(m, at, v);
            poke(WINDOW + at, v);
        }
    }
    free(m);
    stop();
}

/* ---- pictures ------------------------------------------------------------------------------------------- */
static void planar_pixels_have_a_bit_in_each_plane(void **unused)
{
    start_mode(&planar);
    for (unsigned i = 0; i < 16; i++) { /* 8 pixels of colour i */
        set(GFX, 0, i);
        set(GFX, 1, 15);
        poke(WINDOW + 3 * 80 + i, 0);
    }
    look(640, 480);
    for (unsigned x = 0; x < 128; x++)
        assert_int_equal(pixel(x, 3), colour(x / 8));
    assert_int_equal(pixel(0, 2), colour(0));
    set_attr(0x12, 5); /* planes 0 and 2 only */
    in(STATUS, 1);
    out(ATTR, 1, 0x20);
    look(640, 480);
    assert_int_equal(pixel(15 * 8, 3), colour(5));
    stop();
}

static void narrow_planar_modes_are_shown_twice_as_wide(void **unused)
{
    start_mode(&planar320);
    set(SEQ, 2, 4);
    poke(WINDOW + 40 + 1, 0x80);
    look(640, 400);
    assert_int_equal(pixel(16, 2), colour(4));
    assert_int_equal(pixel(17, 3), colour(4));
    assert_int_equal(pixel(18, 3), colour(0));
    assert_int_equal(pixel(16, 4), colour(0));
    stop();
}

static void mode_13_is_a_byte_a_pixel(void **unused)
{
    start_mode(&mode13);
    for (unsigned i = 0; i < 320; i++)
        poke(WINDOW + 320 * 199 + i, (uint8_t)i);
    look(640, 400);
    for (unsigned i = 0; i < 640; i++)
        assert_int_equal(pixel(i, 399), colour(i / 2 & 255));
    assert_int_equal(pixel(0, 397), colour(0));
    stop();
}

/* The window is RAM then: no access comes to the device. */
static void a_linear_window_costs_no_exit(void **unused)
{
    start_mode(&mode13);
    const struct mem_range *r = mem_view_find(mem_view_now(b->vm), WINDOW);
    assert_non_null(r->ram);
    set(GFX, 5, 0x41);
    r = mem_view_find(mem_view_now(b->vm), WINDOW);
    assert_null(r->ram);
    stop();
}

static void mode_x_has_every_fourth_pixel_in_a_plane(void **unused)
{
    start_mode(&mode_x);
    for (unsigned p = 0; p < 4; p++) {
        set(SEQ, 2, 1 << p);
        for (unsigned i = 0; i < 80; i++)
            poke(WINDOW + 80 * 7 + i, (uint8_t)(4 * i + p));
    }
    look(640, 480);
    for (unsigned x = 0; x < 640; x++)
        assert_int_equal(pixel(x, 15), colour(x / 2 & 255));
    set(CRTC, 0x0c, 0); /* the second page */
    set(CRTC, 0x0d, 80 * 7);
    set(CRTC, 0x0c, 80 * 7 >> 8);
    look(640, 480);
    assert_int_equal(pixel(2, 0), colour(1));
    stop();
}

static void cga_lines_alternate_between_two_halves(void **unused)
{
    start_mode(&cga4);
    poke(TEXT, 0x1b);          /* line 0: 0 1 2 3 */
    poke(TEXT + 1, 0xe4);      /* 3 2 1 0 */
    poke(TEXT + 0x2000, 0xff); /* line 1 */
    poke(TEXT + 80, 0x55);     /* line 2 */
    look(640, 400);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(pixel(2 * i, 0), colour(i < 4 ? i : 7 - i));
    assert_int_equal(pixel(0, 2), colour(3));
    assert_int_equal(pixel(7, 3), colour(3));
    assert_int_equal(pixel(8, 3), colour(0));
    assert_int_equal(pixel(0, 4), colour(1));
    stop();
    start_mode(&cga2);
    poke(TEXT + 79, 0x01);
    poke(TEXT + 0x2000, 0x80);
    look(640, 400);
    assert_int_equal(pixel(639, 1), colour(1));
    assert_int_equal(pixel(638, 1), colour(0));
    assert_int_equal(pixel(0, 2), colour(1));
    stop();
}

/* ---- text ------------------------------------------------------------------------------------------------ */
/* Every line of the character is `dots`, in the font at `at`. */
static void set_glyph(unsigned at, uint8_t code, uint8_t dots)
{
    set(SEQ, 2, 4);
    set(SEQ, 4, 6);
    set(GFX, 5, 0);
    set(GFX, 6, 4);
    for (unsigned i = 0; i < 16; i++)
        poke(WINDOW + at + code * 32u + i, dots);
    set(SEQ, 2, 3);
    set(SEQ, 4, 2);
    set(GFX, 5, 0x10);
    set(GFX, 6, 0x0e);
}

static void put(unsigned x, unsigned y, uint8_t code, uint8_t attr)
{
    board_poke(b, TEXT + 160 * y + 2 * x, 2, code | attr << 8);
}

static void characters_come_from_the_font(void **unused)
{
    start_mode(&text80);
    set_glyph(0, 'A', 0x81);
    set_glyph(0, 0xc4, 0xff);
    put(2, 1, 'A', 0x1e);
    put(3, 1, 0xc4, 0x02);
    look(720, 400);
    assert_int_equal(pixel(18, 16), colour(14));
    assert_int_equal(pixel(19, 16), colour(1));
    assert_int_equal(pixel(25, 31), colour(14));
    assert_int_equal(pixel(26, 31), colour(1)); /* the ninth dot */
    assert_int_equal(pixel(35, 20), colour(2)); /* which line graphics repeat */
    assert_int_equal(pixel(18, 32), colour(0));
    const struct text_screen *t = head_text(head);
    assert_non_null(t);
    assert_int_equal(t->columns, 80);
    assert_int_equal(t->rows, 25);
    assert_int_equal(t->cells[82], 'A' | 0x1e00);
    assert_false(t->cursor_on);
    stop();
}

static void a_second_font_is_chosen_by_brightness(void **unused)
{
    start_mode(&text80);
    set_glyph(0, 'x', 0xff);
    set_glyph(0x4000, 'x', 0x00);
    set(SEQ, 3, 0x01); /* without brightness: the second 16 KiB; with it: the first */
    put(0, 0, 'x', 0x07);
    put(1, 0, 'x', 0x0f);
    look(720, 400);
    assert_int_equal(pixel(0, 0), colour(0));
    assert_int_equal(pixel(9, 0), colour(15));
    stop();
}

static void the_cursor_blinks_and_is_told_of(void **unused)
{
    start_mode(&text80);
    put(5, 2, ' ', 0x07);
    set(CRTC, 0x0a, 14);
    set(CRTC, 0x0b, 15);
    set(CRTC, 0x0e, 0);
    set(CRTC, 0x0f, 2 * 80 + 5);
    look(720, 400);
    assert_int_equal(pixel(45, 2 * 16 + 14), colour(7));
    assert_int_equal(pixel(45, 2 * 16 + 13), colour(0));
    assert_true(head_text(head)->cursor_on);
    assert_int_equal(head_text(head)->cursor_x, 5);
    assert_int_equal(head_text(head)->cursor_y, 2);
    board_advance_ns(b, 250000000);
    look(720, 400);
    assert_int_equal(pixel(45, 2 * 16 + 14), colour(0));
    board_advance_ns(b, 250000000);
    look(720, 400);
    assert_int_equal(pixel(45, 2 * 16 + 14), colour(7));
    stop();
}

static void characters_blink_or_have_bright_backgrounds(void **unused)
{
    start_mode(&text80);
    set_glyph(0, '#', 0xff);
    put(0, 0, '#', 0x9e);
    look(720, 400);
    assert_int_equal(pixel(0, 0), colour(14));
    assert_int_equal(pixel(8, 0), colour(1));
    board_advance_ns(b, 2 * 240000000ull);
    look(720, 400);
    assert_int_equal(pixel(0, 0), colour(1));
    set_attr(0x10, 0x04);
    in(STATUS, 1);
    out(ATTR, 1, 0x20);
    look(720, 400);
    assert_int_equal(pixel(0, 0), colour(14));
    assert_int_equal(pixel(8, 0), colour(9));
    stop();
}

static void forty_columns_are_twice_as_wide(void **unused)
{
    start_mode(&text40);
    set_glyph(0, 'A', 0x80);
    put(1, 0, 'A', 0x0f);
    look(720, 400);
    assert_int_equal(pixel(18, 0), colour(15));
    assert_int_equal(pixel(19, 0), colour(15));
    assert_int_equal(pixel(20, 0), colour(0));
    stop();
}

/* ---- scrolling -------------------------------------------------------------------------------------------- */
static void the_lower_part_of_a_split_screen_begins_at_address_0(void **unused)
{
    start_mode(&planar);
    set(SEQ, 2, 1);
    poke(WINDOW, 0x80);
    set(CRTC, 0x0c, 0x10); /* start at 0x1000 */
    set(SEQ, 2, 2);
    poke(WINDOW + 0x1000, 0x80);
    set(CRTC, 0x11, 0);
    set(CRTC, 0x18, 99);
    set(CRTC, 0x07, 0x03);
    set(CRTC, 0x09, 0x00);
    look(640, 480);
    assert_int_equal(pixel(0, 0), colour(2));
    assert_int_equal(pixel(0, 99), colour(0));
    assert_int_equal(pixel(0, 100), colour(1));
    stop();
}

static void panning_moves_by_pixels(void **unused)
{
    start_mode(&planar);
    poke(WINDOW, 0x10);
    poke(WINDOW + 80, 0x01);
    set_attr(0x13, 3);
    in(STATUS, 1);
    out(ATTR, 1, 0x20);
    look(640, 480);
    assert_int_equal(pixel(0, 0), colour(15));
    assert_int_equal(pixel(4, 1), colour(15));
    assert_int_equal(pixel(640 - 3, 0), colour(0)); /* the first byte of the next line */
    stop();
}

/* ---- looking costs nothing when nothing happens ------------------------------------------------------------- */
static unsigned n_damaged;
static struct rect damage;

static void on_damaged(void *opaque, struct head *h, struct rect part)
{
    n_damaged++;
    damage = part;
}

static void on_changed(void *opaque, struct head *h, bool gone)
{
}

static void on_cursor(void *opaque, struct head *h)
{
}

static void only_lines_that_changed_are_damaged(void **unused)
{
    static const struct viewer_ops ops = { on_changed, on_damaged, on_cursor };
    start();
    out(MISC, 1, 3);
    dispi(DISPI_XRES, 1024);
    dispi(DISPI_YRES, 768);
    dispi(DISPI_BPP, 32);
    dispi(DISPI_ENABLE, DISPI_ENABLED | DISPI_LFB);
    in(STATUS, 1);
    out(ATTR, 1, 0x20);
    struct viewer *v = viewer_new(b->vm, &ops, NULL);
    viewer_watch(v, head, true);
    head_refresh(head);
    n_damaged = 0;
    head_refresh(head);
    assert_int_equal(n_damaged, 0);
    dispi(DISPI_BANK, 1); /* line 16 begins with the second bank */
    board_poke(b, WINDOW, 4, 0x123456);
    head_refresh(head);
    assert_int_equal(n_damaged, 1);
    assert_int_equal(damage.y, 16);
    assert_int_equal(damage.height, 1);
    assert_int_equal(pixel(0, 16), 0x123456);
    viewer_free(v);
    stop();
}

/* ---- DISPI -------------------------------------------------------------------------------------------------- */
static void dispi_on(unsigned width, unsigned height, unsigned bpp)
{
    dispi(DISPI_ENABLE, 0);
    dispi(DISPI_XRES, width);
    dispi(DISPI_YRES, height);
    dispi(DISPI_BPP, bpp);
    dispi(DISPI_ENABLE, DISPI_ENABLED | DISPI_LFB);
    out(MISC, 1, 3);
    in(STATUS, 1);
    out(ATTR, 1, 0x20);
}

static void dispi_says_what_it_is(void **unused)
{
    start();
    assert_int_equal(dispi_read(DISPI_ID), 0xb0c5);
    dispi(DISPI_ID, 0xb0c2);
    assert_int_equal(dispi_read(DISPI_ID), 0xb0c2);
    dispi(DISPI_ID, 0xb0c6);
    assert_int_equal(dispi_read(DISPI_ID), 0xb0c2);
    assert_int_equal(dispi_read(DISPI_MEMORY), 256);
    dispi(DISPI_ENABLE, DISPI_GETCAPS);
    assert_int_equal(dispi_read(DISPI_XRES), HEAD_MAX_SIDE);
    assert_int_equal(dispi_read(DISPI_BPP), 32);
    assert_int_equal(dispi_read(0x1234), 0);
    stop();
}

static void dispi_keeps_modes_inside_its_memory(void **unused)
{
    start();
    dispi_on(8192, 8192, 32);
    assert_int_equal(dispi_read(DISPI_XRES), 8192);
    assert_int_equal(dispi_read(DISPI_YRES), 16 * 1024 * 1024 / (4 * 8192));
    dispi(DISPI_Y_OFFSET, 1);
    assert_int_equal(dispi_read(DISPI_Y_OFFSET), 0);
    dispi_on(1000, 700, 16);
    dispi(DISPI_VIRT_WIDTH, 1200);
    assert_int_equal(dispi_read(DISPI_VIRT_HEIGHT), 16 * 1024 * 1024 / 2400);
    dispi(DISPI_X_OFFSET, 500);
    assert_int_equal(dispi_read(DISPI_X_OFFSET), 200);
    dispi(DISPI_VIRT_WIDTH, 5);
    assert_int_equal(dispi_read(DISPI_VIRT_WIDTH), 1000);
    dispi(DISPI_BPP, 7);
    assert_int_equal(dispi_read(DISPI_BPP), 16);
    dispi(DISPI_BANK, 255);
    assert_int_equal(dispi_read(DISPI_BANK), 255);
    dispi(DISPI_BANK, 256);
    assert_int_equal(dispi_read(DISPI_BANK), 255);
    look(1000, 700);
    stop();
}

static void every_depth_has_its_pixels(void **unused)
{
    static const struct {
        unsigned bpp, bytes;
        uint32_t value, rgb;
    } depths[] = {
        { 8, 1, 200, 0 },
        { 15, 2, 0x7c1f, 0xff00ff },
        { 16, 2, 0x07e0, 0x00ff00 },
        { 24, 3, 0x123456, 0x123456 },
        { 32, 4, 0xff123456, 0x123456 },
    };
    start();
    for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
        dispi_on(320, 200, depths[i].bpp);
        set_colours();
        in(STATUS, 1);
        out(ATTR, 1, 0x20);
        dispi(DISPI_VIRT_WIDTH, 400);
        dispi(DISPI_X_OFFSET, 3);
        dispi(DISPI_Y_OFFSET, 2);
        for (unsigned k = 0; k < depths[i].bytes; k++)
            poke(WINDOW + (400 * 3 + 5) * depths[i].bytes + k, (uint8_t)(depths[i].value >> 8 * k));
        look(320, 200);
        assert_int_equal(pixel(2, 1), depths[i].rgb ? depths[i].rgb : colour(200));
        assert_int_equal(pixel(3, 1), depths[i].bpp == 8 ? colour(0) : 0);
    }
    stop();
}

static void sixteen_colours_have_large_modes_too(void **unused)
{
    start();
    dispi_on(800, 600, 4);
    set_colours();
    set_attr(0x12, 15);
    in(STATUS, 1);
    out(ATTR, 1, 0x20);
    set(GFX, 0, 9);
    set(GFX, 1, 15);
    set(GFX, 8, 0x10);
    board_peek(b, WINDOW + 100 * 599 + 99, 1);
    poke(WINDOW + 100 * 599 + 99, 0);
    look(800, 600);
    assert_int_equal(pixel(795, 599), colour(9));
    assert_int_equal(pixel(794, 599), colour(0));
    stop();
}

static void a_mode_begins_black_unless_told(void **unused)
{
    start();
    dispi_on(64, 64, 32);
    board_poke(b, WINDOW, 4, 0xffffff);
    dispi(DISPI_ENABLE, 0);
    dispi(DISPI_ENABLE, DISPI_ENABLED | DISPI_KEEP_MEMORY);
    look(64, 64);
    assert_int_equal(pixel(0, 0), 0xffffff);
    dispi(DISPI_ENABLE, 0);
    dispi(DISPI_ENABLE, DISPI_ENABLED);
    look(64, 64);
    assert_int_equal(pixel(0, 0), 0);
    stop();
}

/* ---- registers ----------------------------------------------------------------------------------------------- */
static void the_palette_is_read_back(void **unused)
{
    start_mode(&text80);
    out(0x3c7, 1, 77);
    assert_int_equal(in(0x3c7, 1), 3);
    assert_int_equal(in(0x3c9, 1), 77 * 7 & 63);
    assert_int_equal(in(0x3c9, 1), 77 * 5 & 63);
    assert_int_equal(in(0x3c9, 1), 77 * 3 & 63);
    assert_int_equal(in(0x3c9, 1), 78 * 7 & 63);
    stop();
}

static void timing_registers_can_be_protected(void **unused)
{
    start_mode(&text80);
    set(CRTC, 0x01, 0x33);
    out(CRTC, 1, 0x01);
    assert_int_equal(in(CRTC + 1, 1), 79);
    out(CRTC, 1, 0x07);
    unsigned before = in(CRTC + 1, 1);
    set(CRTC, 0x07, ~before & 0xff);
    assert_int_equal(in(CRTC + 1, 1), before ^ 0x10);
    stop();
}

static void monochrome_monitors_have_other_ports(void **unused)
{
    start();
    out(MISC, 1, 0);
    out(0x3b4, 2, 0x550f);
    assert_int_equal(in(0x3b5, 1), 0x55);
    assert_int_equal(in(0x3d5, 1), 0xff);
    out(MISC, 1, 1);
    assert_int_equal(in(0x3b5, 1), 0xff);
    assert_int_equal(in(0x3d5, 1), 0x55);
    stop();
}

static void the_retrace_comes_once_a_frame(void **unused)
{
    unsigned edges = 0, last = 0;
    start_mode(&text80);
    for (unsigned us = 0; us < 1000000; us += 100) {
        unsigned now = in(STATUS, 1) & 8;
        edges += now && !last;
        last = now;
        board_advance_ns(b, 100000);
    }
    assert_in_range(edges, 65, 75); /* 70 Hz */
    stop();
}

static void a_machine_has_one_vga(void **unused)
{
    start();
    char *why = board_refuses(b, "isa-vga", NULL);
    assert_non_null(strstr(why, "already"));
    free(why);
    stop();
}

/* ---- as PCI functions ----------------------------------------------------------------------------------------- */
static void bars_show_memory_registers_and_edid(void **unused)
{
    const struct device_class *const classes[] = { &vga_class, &bochs_display_class };
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        struct guest *g = guest_new();
        guest_add(g, classes[i], "addr", "3", "xres", "1600", "yres", "1200", NULL);
        guest_place_bars(g, 3 << 3);
        gpa fb = guest_config_read(g, 3 << 3, PCI_BAR0, 4) & ~15u;
        gpa regs = guest_config_read(g, 3 << 3, PCI_BAR0 + 8, 4) & ~15u;
        b = g->b;
        head = head_at(b->vm, 0);
        assert_int_equal(guest_config_read(g, 3 << 3, 0, 4), 0x11111234);
        assert_int_equal(guest_config_read(g, 3 << 3, PCI_CLASS, 4) >> 8 & 0xffff,
                         i ? 0x0380 : 0x0300);
        assert_int_equal(board_peek(b, regs, 8), 0x00ffffffffffff00);
        assert_int_equal(board_peek(b, regs + 0x500, 2), 0xb0c5);
        assert_int_equal(board_peek(b, regs + 0x600, 4), 8);
        board_poke(b, regs + 0x502, 2, 640);
        board_poke(b, regs + 0x504, 2, 400);
        board_poke(b, regs + 0x506, 2, 32);
        board_poke(b, regs + 0x508, 2, 0x41);
        board_poke(b, regs + 0x400, 1, 0x20);
        board_poke(b, fb + 640 * 4, 4, 0xabcdef);
        look(640, 400);
        assert_int_equal(pixel(0, 1), 0xabcdef);
        board_poke(b, regs + 0x604, 4, 0xbebebebe);
        look(640, 400);
        assert_int_equal(pixel(0, 1), 0xcdab00);
        board_check(b);
        guest_free(g);
    }
}

static void cards_can_be_taken_away(void **unused)
{
    static const char *const names[] = { "VGA", "secondary-vga", "bochs-display", "virtio-gpu-pci",
                                         "virtio-vga" };
    static const struct viewer_ops ops = { on_changed, on_damaged, on_cursor };
    struct guest *g = guest_new();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct device *dev = guest_add(g, device_class_find(names[i]), "addr", "3", NULL);
        guest_place_bars(g, 3 << 3);
        struct viewer *v = viewer_new(g->b->vm, &ops, NULL);
        head = head_at(g->b->vm, 0);
        assert_ptr_equal(head_device(head), dev);
        viewer_watch(v, head, true);
        head_refresh(head);
        board_step(g->b);
        device_free(dev);
        assert_null(head_at(g->b->vm, 0));
        viewer_free(v);
        board_step(g->b);
    }
    guest_free(g);
}

static void edid_decode_finds_no_fault(void **unused)
{
    static const uint16_t modes[][2] = {
        { 640, 480 }, { 1280, 800 }, { 1920, 1080 }, { 4095, 2160 }, { 1, 1 }
    };
    uint8_t block[EDID_SIZE];
    if (system("edid-decode -h >/dev/null 2>&1") == 127 << 8) {
        print_message("# there is no edid-decode\n");
        skip();
    }
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        FILE *f = popen("edid-decode -c - | grep -q 'EDID conformity: PASS'", "w");
        edid_make(&(struct edid_info){ .width = modes[i][0], .height = modes[i][1] }, block);
        assert_int_equal(fwrite(block, 1, sizeof(block), f), sizeof(block));
        assert_int_equal(pclose(f), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planes_follow_every_mode_of_reading_and_writing),
        cmocka_unit_test(planar_pixels_have_a_bit_in_each_plane),
        cmocka_unit_test(narrow_planar_modes_are_shown_twice_as_wide),
        cmocka_unit_test(mode_13_is_a_byte_a_pixel),
        cmocka_unit_test(a_linear_window_costs_no_exit),
        cmocka_unit_test(mode_x_has_every_fourth_pixel_in_a_plane),
        cmocka_unit_test(cga_lines_alternate_between_two_halves),
        cmocka_unit_test(characters_come_from_the_font),
        cmocka_unit_test(a_second_font_is_chosen_by_brightness),
        cmocka_unit_test(the_cursor_blinks_and_is_told_of),
        cmocka_unit_test(characters_blink_or_have_bright_backgrounds),
        cmocka_unit_test(forty_columns_are_twice_as_wide),
        cmocka_unit_test(the_lower_part_of_a_split_screen_begins_at_address_0),
        cmocka_unit_test(panning_moves_by_pixels),
        cmocka_unit_test(only_lines_that_changed_are_damaged),
        cmocka_unit_test(dispi_says_what_it_is),
        cmocka_unit_test(dispi_keeps_modes_inside_its_memory),
        cmocka_unit_test(every_depth_has_its_pixels),
        cmocka_unit_test(sixteen_colours_have_large_modes_too),
        cmocka_unit_test(a_mode_begins_black_unless_told),
        cmocka_unit_test(the_palette_is_read_back),
        cmocka_unit_test(timing_registers_can_be_protected),
        cmocka_unit_test(monochrome_monitors_have_other_ports),
        cmocka_unit_test(the_retrace_comes_once_a_frame),
        cmocka_unit_test(a_machine_has_one_vga),
        cmocka_unit_test(bars_show_memory_registers_and_edid),
        cmocka_unit_test(cards_can_be_taken_away),
        cmocka_unit_test(edid_decode_finds_no_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
