/* virtio-gpu and ramfb: what a driver shows is what the head has; wrong commands are refused and change nothing. */
#include "core/loop.h"
#include "hw/display/edid.h"
#include "hw/display/virtio_gpu.h"
#include "hw/firmware/fw_cfg.h"
#include "ui/display.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

extern const struct device_class virtio_gpu_pci_class, virtio_gpu_device_class, virtio_vga_class;

enum { /* VIRTIO 1.3, 5.7.6.7 */
       DISPLAY_INFO = 0x100,
       CREATE,
       UNREF,
       SET_SCANOUT,
       FLUSH,
       TRANSFER,
       ATTACH,
       DETACH,
       EDID = 0x10a,
       UUID,
       BLOB,
       CURSOR_UPDATE = 0x300,
       CURSOR_MOVE,
       OK = 0x1100,
       OK_INFO,
       OK_EDID = 0x1104,
       UNSPEC = 0x1200,
       NO_MEMORY,
       BAD_SCANOUT,
       BAD_RESOURCE,
       BAD_CONTEXT,
       BAD_PARAMETER,
};
enum { HEADER = 24, BGRX = 2, BGRA = 1, RGBX = 134 };
enum { PAGES = 0x200000 }; /* in the board's RAM: where pictures come from */

static struct guest *g;
static struct ring control, cursor;
static uint8_t answer[2048];
static struct used last;

static struct used wait_used(struct ring *r)
{
    struct used u;
    for (int i = 0; i < 2000; i++) {
        if (ring_take(r, &u))
            return u;
        loop_once(g->b->vm->loop, 5);
    }
    fail_msg("nothing came back in queue %u", r->queue);
    return (struct used){ 0 };
}

static void start(const struct device_class *cls, const char *prop, const char *value)
{
    g = guest_with(cls, prop, value, NULL);
    assert_true(guest_negotiate(g, guest_offered(g) & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED)));
    control = ring_new(g, 0, 16, false);
    cursor = ring_new(g, 1, 16, false);
    guest_driver_ok(g);
}

static void stop(void)
{
    board_step(g->b);
    board_check(g->b);
    guest_free(g);
}

/* One command of n 32-bit words behind the header, then `more` bytes: the answer's type. */
static uint32_t run(struct ring *r, uint32_t type, const uint32_t *words, unsigned n,
                    const void *more, unsigned n_more)
{
    uint8_t raw[1024] = { 0 };
    uint64_t start_of = g->next_ram, at = guest_alloc(g, sizeof(raw), 16);
    uint64_t back = guest_alloc(g, sizeof(answer), 16);
    store_le(raw, 4, type);
    for (unsigned i = 0; i < n; i++)
        store_le(raw + HEADER + 4 * i, 4, words[i]);
    if (n_more)
        memcpy(raw + HEADER + 4 * n, more, n_more);
    board_ram_write(g->b, at, raw, sizeof(raw));
    struct buffer b[] = { { at, HEADER + 4 * n + n_more, false }, { back, sizeof(answer), true } };
    ring_add(r, b, 2, false);
    guest_kick(g, r->queue);
    last = wait_used(r);
    board_step(g->b); /* what the heads are told */
    board_ram_read(g->b, back, answer, sizeof(answer));
    g->next_ram = start_of;
    return (uint32_t)load_le(answer, 4);
}

#define COMMAND(type, ...)                                 \
    run(&control, type, (const uint32_t[]){ __VA_ARGS__ }, \
        sizeof((const uint32_t[]){ __VA_ARGS__ }) / 4, NULL, 0)

static uint32_t attach(uint32_t id, uint64_t at, uint32_t n)
{
    uint8_t entry[16] = { 0 };
    store_le(entry, 8, at);
    store_le(entry + 8, 4, n);
    return run(&control, ATTACH, (const uint32_t[]){ id, 1 }, 2, entry, sizeof(entry));
}

static void picture(uint32_t id, uint32_t format, unsigned width, unsigned height)
{
    assert_int_equal(COMMAND(CREATE, id, format, width, height), OK);
    assert_int_equal(attach(id, BOARD_RAM + PAGES, width * height * 4), OK);
}

static void paint(unsigned offset, uint32_t v)
{
    uint8_t raw[4];
    store_le(raw, 4, v);
    board_ram_write(g->b, PAGES + offset, raw, 4);
}

static struct head *head_of(unsigned i)
{
    struct head *h = head_at(g->b->vm, i);
    assert_non_null(h);
    return h;
}

static uint32_t pixel(unsigned i, unsigned x, unsigned y)
{
    struct head *h = head_of(i);
    assert_true(x < head_width(h) && y < head_height(h));
    return head_pixels(h)[(size_t)y * head_width(h) + x];
}

/* ---- showing ----------------------------------------------------------------------------------------- */
static void what_is_transferred_and_flushed_is_seen(void **unused)
{
    const struct device_class *const classes[] = { &virtio_gpu_pci_class, &virtio_gpu_device_class,
                                                   &virtio_vga_class };
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        start(classes[i], NULL, NULL);
        picture(5, BGRX, 64, 48);
        paint(4 * (64 * 3 + 2), 0xff123456);
        assert_int_equal(COMMAND(TRANSFER, 0, 0, 64, 48, 0, 0, 5, 0), OK);
        assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 64, 48, 0, 5), OK);
        assert_int_equal(head_width(head_of(0)), 64);
        assert_int_equal(head_height(head_of(0)), 48);
        assert_int_equal(COMMAND(FLUSH, 0, 0, 64, 48, 5, 0), OK);
        assert_int_equal(pixel(0, 2, 3), 0x123456);
        paint(4 * (64 * 5 + 7), 0xabcdef); /* a part, from its own offset */
        assert_int_equal(COMMAND(TRANSFER, 6, 5, 3, 2, 4 * (64 * 5 + 6), 0, 5, 0), OK);
        assert_int_equal(pixel(0, 7, 5), 0);
        assert_int_equal(COMMAND(FLUSH, 6, 5, 3, 2, 5, 0), OK);
        assert_int_equal(pixel(0, 7, 5), 0xabcdef);
        assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 0, 0, 0, 0), OK);
        assert_int_equal(pixel(0, 7, 5), 0);
        stop();
    }
}

static void formats_name_bytes_in_memory(void **unused)
{
    static const struct {
        uint32_t format, word, rgb;
    } cases[] = {
        { 1, 0x80112233, 0x112233 },   { 2, 0x00112233, 0x112233 },   { 3, 0x33221180, 0x112233 },
        { 4, 0x33221100, 0x112233 },   { 67, 0x80332211, 0x112233 },  { 68, 0x11223300, 0x112233 },
        { 121, 0x11223380, 0x112233 }, { 134, 0x00332211, 0x112233 },
    };
    start(&virtio_gpu_pci_class, NULL, NULL);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        picture(1, cases[i].format, 16, 16);
        paint(0, cases[i].word);
        assert_int_equal(COMMAND(TRANSFER, 0, 0, 16, 16, 0, 0, 1, 0), OK);
        assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 16, 16, 0, 1), OK);
        assert_int_equal(pixel(0, 0, 0), cases[i].rgb);
        assert_int_equal(COMMAND(UNREF, 1, 0), OK);
    }
    stop();
}

static void two_heads_show_parts_of_one_picture(void **unused)
{
    start(&virtio_gpu_pci_class, "max_outputs", "2");
    picture(9, BGRX, 100, 50);
    paint(4 * (100 * 10 + 60), 0x010203);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 100, 50, 0, 0, 9, 0), OK);
    assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 50, 50, 0, 9), OK);
    assert_int_equal(COMMAND(SET_SCANOUT, 50, 0, 50, 50, 1, 9), OK);
    assert_int_equal(pixel(1, 10, 10), 0x010203);
    assert_int_equal(head_width(head_of(0)), 50);
    assert_int_equal(COMMAND(UNREF, 9, 0), OK);
    assert_int_equal(pixel(1, 10, 10), 0);
    stop();
}

static void backing_may_be_in_pieces(void **unused)
{
    uint8_t entries[3 * 16] = { 0 };
    start(&virtio_gpu_pci_class, NULL, NULL);
    assert_int_equal(COMMAND(CREATE, 1, BGRX, 16, 16), OK);
    for (unsigned i = 0; i < 3; i++) { /* 100, 100 and 824 bytes, the other way round */
        store_le(entries + 16 * i, 8, BOARD_RAM + PAGES + 0x1000 * (2 - i));
        store_le(entries + 16 * i + 8, 4, i < 2 ? 100 : 824);
    }
    assert_int_equal(run(&control, ATTACH, (const uint32_t[]){ 1, 3 }, 2, entries, sizeof(entries)),
                     OK);
    paint(0x2000 + 4, 0x111111);
    paint(0x1000 + 4, 0x222222);
    paint(0x0000 + 4, 0x333333);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 16, 16, 0, 0, 1, 0), OK);
    assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 16, 16, 0, 1), OK);
    assert_int_equal(pixel(0, 1, 0), 0x111111);
    assert_int_equal(pixel(0, 26 % 16, 26 / 16), 0x222222);
    assert_int_equal(pixel(0, 51 % 16, 51 / 16), 0x333333);
    stop();
}

/* ---- modes ------------------------------------------------------------------------------------------- */
static void display_info_and_edid_say_what_a_viewer_wishes(void **unused)
{
    start(&virtio_gpu_pci_class, "max_outputs", "3");
    assert_int_equal(COMMAND(DISPLAY_INFO, 0), OK_INFO);
    assert_int_equal(last.len, HEADER + 16 * 24);
    assert_int_equal(load_le(answer + HEADER + 8, 4), 1280);
    assert_int_equal(load_le(answer + HEADER + 12, 4), 800);
    assert_int_equal(load_le(answer + HEADER + 16, 4), 1);
    assert_int_equal(load_le(answer + HEADER + 24 + 16, 4), 0);
    assert_int_equal(board_peek(g->b, g->modern + 0x2000, 4), 0);
    assert_int_equal(board_peek(g->b, g->modern + 0x2008, 4), 3);

    head_wish(head_of(1), 1920, 1080);
    assert_int_equal(board_peek(g->b, g->modern + 0x2000, 4), 1);
    board_poke(g->b, g->modern + 0x2004, 4, 1);
    assert_int_equal(board_peek(g->b, g->modern + 0x2000, 4), 0);
    assert_int_equal(COMMAND(DISPLAY_INFO, 0), OK_INFO);
    assert_int_equal(load_le(answer + HEADER + 24, 4), 1280); /* beside the first */
    assert_int_equal(load_le(answer + HEADER + 24 + 8, 4), 1920);
    assert_int_equal(load_le(answer + HEADER + 24 + 16, 4), 1);

    uint8_t expected[EDID_SIZE];
    edid_make(&(struct edid_info){ .width = 1920, .height = 1080, .serial = 2 }, expected);
    assert_int_equal(COMMAND(EDID, 1, 0), OK_EDID);
    assert_int_equal(load_le(answer + HEADER, 4), EDID_SIZE);
    assert_memory_equal(answer + HEADER + 8, expected, EDID_SIZE);
    assert_int_equal(COMMAND(EDID, 3, 0), BAD_SCANOUT);

    head_wish(head_of(1), 0, 0);
    assert_int_equal(COMMAND(DISPLAY_INFO, 0), OK_INFO);
    assert_int_equal(load_le(answer + HEADER + 24 + 16, 4), 0);
    stop();
}

static void fences_come_back(void **unused)
{
    uint8_t raw[HEADER] = { 0 };
    start(&virtio_gpu_pci_class, NULL, NULL);
    uint64_t at = guest_alloc(g, sizeof(raw), 16), back = guest_alloc(g, 512, 16);
    store_le(raw, 4, DISPLAY_INFO);
    raw[4] = 1;
    store_le(raw + 8, 8, 0x1122334455667788);
    board_ram_write(g->b, at, raw, sizeof(raw));
    struct buffer b[] = { { at, sizeof(raw), false }, { back, 512, true } };
    ring_add(&control, b, 2, false);
    guest_kick(g, 0);
    wait_used(&control);
    board_ram_read(g->b, back, raw, sizeof(raw));
    assert_int_equal(raw[4], 1);
    assert_int_equal(load_le(raw + 8, 8), 0x1122334455667788);
    stop();
}

/* ---- the cursor -------------------------------------------------------------------------------------- */
static void the_cursor_has_shape_and_place(void **unused)
{
    int x, y;
    start(&virtio_gpu_pci_class, NULL, NULL);
    picture(3, BGRA, 64, 64);
    paint(4 * 65, 0x80ff0000);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 64, 64, 0, 0, 3, 0), OK);
    run(&cursor, CURSOR_UPDATE, (const uint32_t[]){ 0, 100, 50, 0, 3, 4, 5, 0 }, 8, NULL, 0);
    const struct cursor_shape *shape = head_cursor(head_of(0));
    assert_non_null(shape);
    assert_int_equal(shape->width, 64);
    assert_int_equal(shape->hot_x, 4);
    assert_int_equal(shape->hot_y, 5);
    assert_int_equal(shape->argb[65], 0x80ff0000);
    run(&cursor, CURSOR_MOVE, (const uint32_t[]){ 0, 101, 49, 0, 0, 0, 0, 0 }, 8, NULL, 0);
    head_cursor_place(head_of(0), &x, &y);
    assert_int_equal(x, 101);
    assert_int_equal(y, 49);
    run(&cursor, CURSOR_UPDATE, (const uint32_t[]){ 0, 0, 0, 0, 0, 0, 0, 0 }, 8, NULL, 0);
    assert_null(head_cursor(head_of(0)));
    run(&cursor, CURSOR_UPDATE, (const uint32_t[]){ 7, 0, 0, 0, 3, 0, 0, 0 }, 8, NULL, 0);
    assert_null(head_cursor(head_of(0)));
    stop();
}

static void a_cursor_without_alpha_in_its_format_has_it(void **unused)
{
    start(&virtio_gpu_pci_class, NULL, NULL);
    picture(3, BGRX, 64, 64);
    paint(0, 0xff00ff00);
    paint(4, 0x00000000);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 64, 64, 0, 0, 3, 0), OK);
    run(&cursor, CURSOR_UPDATE, (const uint32_t[]){ 0, 0, 0, 0, 3, 0, 0, 0 }, 8, NULL, 0);
    const struct cursor_shape *shape = head_cursor(head_of(0));
    assert_int_equal(shape->argb[0], 0xff00ff00);
    assert_int_equal(shape->argb[1], 0);
    stop();
}

/* ---- what is refused ----------------------------------------------------------------------------------- */
static void wrong_commands_are_refused(void **unused)
{
    start(&virtio_gpu_pci_class, NULL, NULL);
    assert_int_equal(COMMAND(CREATE, 0, BGRX, 16, 16), BAD_RESOURCE);
    assert_int_equal(COMMAND(CREATE, 1, 99, 16, 16), BAD_PARAMETER);
    assert_int_equal(COMMAND(CREATE, 1, BGRX, 0, 16), BAD_PARAMETER);
    assert_int_equal(COMMAND(CREATE, 1, BGRX, 0xffffffff, 0xffffffff), BAD_PARAMETER);
    assert_int_equal(COMMAND(CREATE, 1, BGRX), BAD_PARAMETER);
    assert_int_equal(COMMAND(CREATE, 1, BGRX, 16, 16), OK);
    assert_int_equal(COMMAND(CREATE, 1, BGRX, 16, 16), BAD_RESOURCE);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 16, 16, 0, 0, 1, 0), UNSPEC); /* no backing */
    assert_int_equal(COMMAND(DETACH, 1, 0), UNSPEC);
    assert_int_equal(attach(2, BOARD_RAM, 4096), BAD_RESOURCE);
    assert_int_equal(COMMAND(ATTACH, 1, 0x10000000), BAD_PARAMETER);
    assert_int_equal(COMMAND(ATTACH, 1, 5), BAD_PARAMETER); /* without the entries */
    assert_int_equal(attach(1, BOARD_RAM + BOARD_RAM_SIZE - 512, 4096), OK);
    assert_int_equal(attach(1, BOARD_RAM, 4096), UNSPEC);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 16, 16, 0, 0, 1, 0), UNSPEC); /* beyond RAM */
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 16, 8, 0, 0, 1, 0), OK);
    assert_int_equal(COMMAND(TRANSFER, 8, 8, 9, 8, 0, 0, 1, 0), BAD_PARAMETER);
    assert_int_equal(COMMAND(TRANSFER, 0xffffffff, 0, 2, 1, 0, 0, 1, 0), BAD_PARAMETER);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 1, 1, 0xfffffff0, 0xffffffff, 1, 0), BAD_PARAMETER);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 1, 1, 0xfffffff0, 0, 1, 0), UNSPEC);
    assert_int_equal(COMMAND(FLUSH, 0, 0, 17, 1, 1, 0), BAD_PARAMETER);
    assert_int_equal(COMMAND(FLUSH, 0, 0, 1, 1, 2, 0), BAD_RESOURCE);
    assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 16, 16, 1, 1), BAD_SCANOUT);
    assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 16, 17, 0, 1), BAD_PARAMETER);
    assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 16, 16, 0, 2), BAD_RESOURCE);
    assert_int_equal(COMMAND(UNREF, 2, 0), BAD_RESOURCE);
    assert_int_equal(COMMAND(UUID, 1, 0), UNSPEC);
    assert_int_equal(COMMAND(BLOB, 1, 0, 0, 0), UNSPEC);
    assert_int_equal(COMMAND(0xdeadbeef, 0), UNSPEC);
    stop();
}

static void memory_is_bounded(void **unused)
{
    start(&virtio_gpu_pci_class, "max_hostmem", "1M");
    assert_int_equal(COMMAND(CREATE, 1, BGRX, 512, 513), NO_MEMORY);
    assert_int_equal(COMMAND(CREATE, 1, BGRX, 512, 256), OK);
    assert_int_equal(COMMAND(CREATE, 2, BGRX, 512, 256), OK);
    assert_int_equal(COMMAND(CREATE, 3, BGRX, 1, 1), NO_MEMORY);
    assert_int_equal(attach(1, BOARD_RAM, 4096), NO_MEMORY);
    assert_int_equal(COMMAND(UNREF, 2, 0), OK);
    assert_int_equal(attach(1, BOARD_RAM, 4096), OK);
    for (unsigned i = 0; i < GPU_MAX_RESOURCES - 1; i++)
        assert_int_equal(COMMAND(CREATE, 10 + i, BGRX, 1, 1), OK);
    assert_int_equal(COMMAND(CREATE, 9, BGRX, 1, 1), NO_MEMORY);
    device_reset(g->dev);
    stop();
}

static void a_saved_gpu_goes_on_showing(void **unused)
{
    struct bytes state = { 0 };
    size_t pos = 0;
    start(&virtio_gpu_pci_class, NULL, NULL);
    picture(5, BGRX, 32, 32);
    paint(4, 0x00ff00);
    assert_int_equal(COMMAND(TRANSFER, 0, 0, 32, 32, 0, 0, 5, 0), OK);
    assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 32, 32, 0, 5), OK);
    device_save(g->dev, &state);
    guest_free(g);
    g = guest_with(&virtio_gpu_pci_class, NULL);
    assert_null(device_load(g->dev, state.at, state.n, &pos));
    board_step(g->b);
    assert_int_equal(pixel(0, 1, 0), 0x00ff00);
    bytes_free(&state);
    stop();
}

/* ---- virtio-vga: both in one ----------------------------------------------------------------------------- */
static void a_vga_shows_until_a_driver_does(void **unused)
{
    start(&virtio_vga_class, NULL, NULL);
    gpa fb = guest_config_read(g, g->devfn, PCI_BAR0, 4) & ~15u;
    gpa regs = guest_config_read(g, g->devfn, PCI_BAR0 + 8, 4) & ~15u;
    assert_null(head_at(g->b->vm, 1));
    board_poke(g->b, regs + 0x502, 2, 320);
    board_poke(g->b, regs + 0x504, 2, 200);
    board_poke(g->b, regs + 0x506, 2, 32);
    board_poke(g->b, regs + 0x508, 2, 0x41);
    board_poke(g->b, regs + 0x400, 1, 0x20);
    board_poke(g->b, fb, 4, 0x777777);
    head_refresh(head_of(0));
    assert_int_equal(pixel(0, 0, 0), 0x777777);
    picture(5, BGRX, 32, 32);
    assert_int_equal(COMMAND(SET_SCANOUT, 0, 0, 32, 32, 0, 5), OK);
    head_refresh(head_of(0));
    assert_int_equal(head_width(head_of(0)), 32);
    guest_set_status(g, 0);
    board_step(g->b);
    head_refresh(head_of(0));
    assert_int_equal(head_width(head_of(0)), 320);
    assert_int_equal(pixel(0, 0, 0), 0x777777);
    stop();
}

/* ---- ramfb --------------------------------------------------------------------------------------------- */
enum { DIRECTORY = 0x19, DMA_SELECT_WRITE = 8 | 16 };

/* By fw_cfg's DMA, to the file of ramfb, which is the only one. */
static void ramfb_set_up(struct board *b, uint64_t addr, uint32_t fourcc, uint32_t width,
                         uint32_t height, uint32_t stride)
{
    uint8_t setup[28] = { 0 }, request[16];
    store_be(setup, 8, addr);
    store_be(setup + 8, 4, fourcc);
    store_be(setup + 16, 4, width);
    store_be(setup + 20, 4, height);
    store_be(setup + 24, 4, stride);
    board_ram_write(b, 0x100, setup, sizeof(setup));
    store_be(request, 4, (uint32_t)FW_CFG_FILE_FIRST << 16 | DMA_SELECT_WRITE);
    store_be(request + 4, 4, sizeof(setup));
    store_be(request + 8, 8, BOARD_RAM + 0x100);
    board_ram_write(b, 0x200, request, sizeof(request));
    uint8_t address[8];
    store_be(address, 8, BOARD_RAM + 0x200);
    board_write(b, 16, 8, load_le(address, 8));
    board_ram_read(b, 0x200, request, 4);
    assert_int_equal(load_be(request, 4), 0);
}

static void ramfb_shows_guest_memory(void **unused)
{
    enum { XR24 = 0x34325258, RG16 = 0x36314752 };
    struct board *b = board_with("fw-cfg-mmio", NULL);
    board_add(b, "ramfb", NULL);
    struct head *h = head_at(b->vm, 0);
    head_refresh(h);
    ramfb_set_up(b, BOARD_RAM + 0x10000, XR24, 320, 200, 2000);
    board_poke(b, BOARD_RAM + 0x10000 + 2000 * 3 + 4 * 5, 4, 0xff123456);
    head_refresh(h);
    assert_int_equal(head_width(h), 320);
    assert_int_equal(head_pixels(h)[320 * 3 + 5], 0x123456);
    ramfb_set_up(b, BOARD_RAM + 0x10000, RG16, 64, 64, 0);
    board_poke(b, BOARD_RAM + 0x10000 + 128, 2, 0xf800);
    head_refresh(h);
    assert_int_equal(head_width(h), 64);
    assert_int_equal(head_pixels(h)[64], 0xff0000);
    board_check(b);
    board_free(b);
}

static void ramfb_refuses_what_cannot_be_shown(void **unused)
{
    static const uint32_t bad[][4] = { /* fourcc, width, height, stride */
                                       { 0x34325258, 100000, 10, 0 },
                                       { 0x34325258, 10, 0xffffffff, 0 },
                                       { 0x34325258, 0, 0, 0 },
                                       { 0x34325258, 320, 200, 1279 },
                                       { 0x12345678, 320, 200, 0 }
    };
    struct board *b = board_with("fw-cfg-mmio", NULL);
    board_add(b, "ramfb", NULL);
    struct head *h = head_at(b->vm, 0);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ramfb_set_up(b, BOARD_RAM, bad[i][0], bad[i][1], bad[i][2], bad[i][3]);
        head_refresh(h);
        assert_int_equal(head_width(h), 640);
    }
    ramfb_set_up(b, UINT64_MAX - 8, 0x34325258, 320, 200, 0); /* no memory: black */
    head_refresh(h);
    assert_int_equal(head_pixels(h)[0], 0);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_transferred_and_flushed_is_seen),
        cmocka_unit_test(formats_name_bytes_in_memory),
        cmocka_unit_test(two_heads_show_parts_of_one_picture),
        cmocka_unit_test(backing_may_be_in_pieces),
        cmocka_unit_test(display_info_and_edid_say_what_a_viewer_wishes),
        cmocka_unit_test(fences_come_back),
        cmocka_unit_test(the_cursor_has_shape_and_place),
        cmocka_unit_test(a_cursor_without_alpha_in_its_format_has_it),
        cmocka_unit_test(wrong_commands_are_refused),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(a_saved_gpu_goes_on_showing),
        cmocka_unit_test(a_vga_shows_until_a_driver_does),
        cmocka_unit_test(ramfb_shows_guest_memory),
        cmocka_unit_test(ramfb_refuses_what_cannot_be_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
