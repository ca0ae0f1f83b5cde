/* The VNC server against a viewer that is written out byte by byte. The guest's input is a notebook:
 * input_send_event, input_leds and input_available are wrapped. */
#include "ui/vnc.h"

#include "board.h"
#include "core/chardev.h"
#include "core/clipboard.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "hw/input/input.h"
#include "tandem-config.h"
#include "ui/display.h"
#include "ui/faces.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

bool __wrap_input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                             size_t n);
uint32_t __wrap_input_leds(struct vm *vm);
bool __wrap_input_available(struct vm *vm, enum input_kind kind);

static struct {
    char text[1024];
    uint32_t leds;
    bool tablet;
} guest;

bool __wrap_input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                             size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = strlen(guest.text);
        const struct input_event *e = &events[i];
        if (e->type == INPUT_EV_KEY)
            snprintf(guest.text + at, sizeof(guest.text) - at, "%c%u ", e->value ? '+' : '-',
                     e->code);
        else
            snprintf(guest.text + at, sizeof(guest.text) - at, "%c%d ",
                     (e->type == INPUT_EV_REL ? "xy....h.w" : "XY")[e->code], (int)e->value);
    }
    return true;
}

uint32_t __wrap_input_leds(struct vm *vm)
{
    return guest.leds;
}

bool __wrap_input_available(struct vm *vm, enum input_kind kind)
{
    return kind != INPUT_TABLET || guest.tablet;
}

#ifdef HAVE_VNC
/* ---- a guest with a screen, and a viewer ------------------------------------------------------ */
struct screen {
    struct device dev;
    struct head *head;
    unsigned refreshes, wish_width;
};

static void screen_refresh(struct device *dev, struct head *head, bool all)
{
    struct screen *s = (struct screen *)dev;
    s->refreshes++;
}

static void screen_wish(struct device *dev, struct head *head, unsigned width, unsigned height)
{
    ((struct screen *)dev)->wish_width = width;
}

static const struct head_ops screen_ops = { screen_refresh, screen_wish };

struct scene {
    struct vm *vm;
    struct screen screen;
    int fd; /* the viewer's end */
};

static void paint(struct scene *s, struct rect part, uint32_t colour)
{
    uint32_t *pixels = head_pixels(s->screen.head);
    for (unsigned y = part.y; y < part.y + part.height; y++)
        for (unsigned x = part.x; x < part.x + part.width; x++)
            pixels[y * head_width(s->screen.head) + x] = colour;
    head_damage(s->screen.head, part);
}

static int connect_viewer(struct scene *s)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_null(vnc_add_client(s->vm, NULL, pair[1], false));
    return pair[0];
}

static void new_scene(struct scene *s, const char *options)
{
    *s = (struct scene){ .fd = -1 };
    memset(&guest, 0, sizeof(guest));
    assert_null(vm_new(&s->vm));
    s->screen = (struct screen){ .dev = { .vm = s->vm } };
    s->screen.head = head_new(&s->screen.dev, 0, &screen_ops);
    assert_true(head_resize(s->screen.head, 64, 48));
    paint(s, (struct rect){ 0, 0, 64, 48 }, 0x112233);
    struct error *err = vnc_add(s->vm, options);
    if (err)
        print_message("# %s\n", error_text(err));
    assert_null(err);
    s->fd = connect_viewer(s);
}

static void free_scene(struct scene *s)
{
    close(s->fd);
    for (int i = 0; i < 10; i++)
        loop_once(s->vm->loop, 0);
    faces_free(s->vm);
    head_free(s->screen.head);
    vm_free(s->vm);
}

static void say(struct scene *s, const void *data, size_t n)
{
    assert_int_equal(write(s->fd, data, n), n);
}
#define SAY(s, ...) \
    say((s), (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* The next n bytes; false: the server hung up. */
static bool hear_some(struct scene *s, void *data, size_t n)
{
    size_t at = 0;
    uint64_t end = host_now_ns() + 20 * NS_PER_S;
    while (at < n && host_now_ns() < end) {
        ssize_t got = read(s->fd, (uint8_t *)data + at, n - at);
        if (got == 0 || (got < 0 && errno != EAGAIN))
            return false;
        at += (size_t)(got > 0 ? got : 0);
        loop_once(s->vm->loop, got > 0 ? 0 : 1);
    }
    assert_int_equal(at, n);
    return true;
}

static void hear(struct scene *s, void *data, size_t n)
{
    assert_true(hear_some(s, data, n));
}

static void expect(struct scene *s, const char *text, size_t n)
{
    char got[256];
    hear(s, got, n);
    assert_memory_equal(got, text, n);
}

/* What the server sends within a moment. */
static size_t hear_all(struct scene *s, uint8_t *data, size_t room)
{
    size_t n = 0;
    for (int i = 0; i < 40; i++) {
        loop_once(s->vm->loop, 2);
        ssize_t got = read(s->fd, data + n, room - n);
        n += (size_t)(got > 0 ? got : 0);
    }
    return n;
}

static void assert_hung_up(struct scene *s)
{
    char byte;
    while (hear_some(s, &byte, 1))
        continue;
}

static void log_in(struct scene *s)
{
    expect(s, "RFB 003.008\n", 12);
    say(s, "RFB 003.008\n", 12);
    expect(s, "\1\1", 2);
    SAY(s, 1);
    expect(s, "\0\0\0\0", 4);
    SAY(s, 1);
    uint8_t init[24 + 14];
    hear(s, init, sizeof(init));
    assert_int_equal(load_be(init, 2), 64);
    assert_int_equal(load_be(init + 2, 2), 48);
    assert_int_equal(init[4], 32);
    assert_int_equal(init[14], 16); /* red */
    assert_memory_equal(init + 24, "Tandem (guest)", 14);
}

static void ask(struct scene *s, bool incremental)
{
    SAY(s, 3, incremental, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff);
}

/* The next update has one raw rectangle of this place and colour. */
static void expect_raw(struct scene *s, struct rect r, uint32_t colour)
{
    uint8_t head[16];
    hear(s, head, sizeof(head));
    assert_int_equal(head[0], 0);
    assert_int_equal(load_be(head + 2, 2), 1);
    assert_int_equal(load_be(head + 4, 2), r.x);
    assert_int_equal(load_be(head + 6, 2), r.y);
    assert_int_equal(load_be(head + 8, 2), r.width);
    assert_int_equal(load_be(head + 10, 2), r.height);
    assert_int_equal(load_be(head + 12, 4), 0);
    for (unsigned i = 0; i < r.width * r.height; i++) {
        uint8_t pixel[4];
        hear(s, pixel, 4);
        assert_int_equal(load_le(pixel, 4), colour);
    }
}

/* ---- facts ------------------------------------------------------------------------------------ */
static void a_viewer_sees_the_screen_and_then_what_changes(void **unused)
{
    struct scene s;
    new_scene(&s, "none");
    log_in(&s);
    ask(&s, false);
    expect_raw(&s, (struct rect){ 0, 0, 64, 48 }, 0x112233);
    ask(&s, true);
    uint8_t byte[64];
    assert_int_equal(hear_all(&s, byte, sizeof(byte)), 0);
    paint(&s, (struct rect){ 5, 7, 3, 2 }, 0xaabbcc);
    expect_raw(&s, (struct rect){ 5, 7, 3, 2 }, 0xaabbcc);
    paint(&s, (struct rect){ 1, 1, 1, 1 }, 0x445566); /* not asked for: waits */
    assert_int_equal(hear_all(&s, byte, sizeof(byte)), 0);
    ask(&s, true);
    expect_raw(&s, (struct rect){ 1, 1, 1, 1 }, 0x445566);
    free_scene(&s);
}

static void nobody_connected_costs_nothing(void **unused)
{
    struct scene s;
    new_scene(&s, "none");
    uint8_t bytes[64];
    hear_all(&s, bytes, sizeof(bytes));
    assert_int_equal(s.screen.refreshes, 0); /* connected, but not logged in */
    say(&s, "RFB 003.008\n\1\1", 14);
    for (int i = 0; i < 2000 && !s.screen.refreshes; i++)
        loop_once(s.vm->loop, 2);
    assert_true(s.screen.refreshes > 0);
    close(s.fd);
    s.fd = -1;
    struct vnc_end end;
    for (int i = 0; i < 2000 && vnc_viewer(vnc_find(s.vm, NULL), 0, &end); i++)
        loop_once(s.vm->loop, 2);
    unsigned before = s.screen.refreshes;
    for (int i = 0; i < 40; i++)
        loop_once(s.vm->loop, 2);
    assert_int_equal(s.screen.refreshes, before);
    free_scene(&s);
}

static void a_screen_of_another_size_is_told(void **unused)
{
    struct scene s;
    new_scene(&s, "none");
    log_in(&s);
    SAY(&s, 2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21); /* raw, DesktopSize */
    ask(&s, false);
    expect_raw(&s, (struct rect){ 0, 0, 64, 48 }, 0x112233);
    assert_true(head_resize(s.screen.head, 100, 30));
    paint(&s, (struct rect){ 0, 0, 100, 30 }, 0x778899);
    ask(&s, true);
    uint8_t size[16];
    hear(&s, size, sizeof(size));
    assert_int_equal(load_be(size + 8, 2), 100);
    assert_int_equal(load_be(size + 10, 2), 30);
    assert_int_equal((int32_t)load_be(size + 12, 4), -223);
    ask(&s, false);
    expect_raw(&s, (struct rect){ 0, 0, 100, 30 }, 0x778899);
    free_scene(&s);
}

static void other_pixel_formats_are_made(void **unused)
{
    struct scene s;
    uint8_t update[16 + 64 * 48 * 2];
    new_scene(&s, "none");
    log_in(&s);
    SAY(&s, 0, 0, 0, 0, 16, 16, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0); /* RGB 5-6-5 */
    ask(&s, false);
    hear(&s, update, sizeof(update));
    unsigned expected = 0x11 * 31 / 255 << 11 | 0x22 * 63 / 255 << 5 | 0x33 * 31 / 255;
    unsigned got = (unsigned)load_le(update + 16, 2);
    for (unsigned shift = 0; shift < 16; shift += 5) /* give or take one of each colour */
        assert_in_range((got >> shift & 31) + 1, expected >> shift & 31,
                        (expected >> shift & 31) + 2);
    free_scene(&s);
}

static void the_clipboard_goes_both_ways_as_latin_1(void **unused)
{
    struct scene s;
    struct chardev *agent;
    size_t n;
    uint8_t bytes[64];
    new_scene(&s, "none");
    log_in(&s);
    SAY(&s, 6, 0, 0, 0, 0, 0, 0, 2, 'n', 'o');
    assert_int_equal(hear_all(&s, bytes, sizeof(bytes)), 0);
    assert_null(clipboard_text(s.vm, &n)); /* no guest has a use for it */
    assert_null(chardev_add(s.vm, "agent", "qemu-vdagent,clipboard=on", &agent));
    SAY(&s, 6, 0, 0, 0, 0, 0, 0, 3, 'f', 0xfc);
    SAY(&s, 'r', 4, 1, 0, 0, 0, 0, 0, 'a');
    assert_int_equal(hear_all(&s, bytes, sizeof(bytes)), 0);
    assert_string_equal(clipboard_text(s.vm, &n), "f\xc3\xbcr");
    assert_string_equal(guest.text, "+30 "); /* what is behind it is not lost */
    clipboard_set(s.vm, NULL, "\xc3\x9f\xe2\x82\xac!", 6);
    expect(&s, "\3\0\0\0\0\0\0\3\337?!", 11);
    free_scene(&s);
}

static void keys_and_pointer_reach_the_guest(void **unused)
{
    struct scene s;
    uint8_t bytes[64];
    new_scene(&s, "none");
    log_in(&s);
    SAY(&s, 4, 1, 0, 0, 0, 0, 0, 'A' + 0x20, 4, 0, 0, 0, 0, 0, 0, 'a');
    SAY(&s, 255, 0, 0, 1, 0, 0, 0xff, 0x52, 0, 0, 0, 0xc8); /* Up by its scan code */
    SAY(&s, 5, 0, 0, 10, 0, 10, 5, 1, 0, 12, 0, 9, 5, 8, 0, 12, 0, 9);
    hear_all(&s, bytes, sizeof(bytes));
    assert_string_equal(guest.text, "+30 -30 +103 x2 y-1 +272 -272 w1 ");
    guest.text[0] = 0;
    guest.tablet = true;
    SAY(&s, 5, 4, 0, 63, 0, 47);
    hear_all(&s, bytes, sizeof(bytes));
    assert_string_equal(guest.text, "X32767 Y32767 +273 ");
    guest.text[0] = 0;
    close(s.fd); /* what it held is let go */
    s.fd = -1;
    for (int i = 0; i < 20; i++)
        loop_once(s.vm->loop, 1);
    assert_string_equal(guest.text, "-273 -103 ");
    free_scene(&s);
}

static void extensions_are_answered(void **unused)
{
    struct scene s;
    uint8_t bytes[256];
    new_scene(&s, "none");
    log_in(&s);
    guest.leds = 2; /* caps lock */
    SAY(&s, 2, 0, 0, 3, 0xff, 0xff, 0xfe, 0xfe, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xfe, 0xfb);
    size_t n = hear_all(&s, bytes, sizeof(bytes));
    assert_int_equal(n, 16 + 16 + 17);
    assert_int_equal((int32_t)load_be(bytes + 12, 4), -258);
    assert_int_equal((int32_t)load_be(bytes + 28, 4), -257);
    assert_int_equal(load_be(bytes + 20, 2), 0); /* a mouse: relative */
    assert_int_equal((int32_t)load_be(bytes + 44, 4), -261);
    assert_int_equal(bytes[48], 4);
    SAY(&s, 5, 0, 0x7f, 0xfd, 0x80, 0x04);
    hear_all(&s, bytes, sizeof(bytes));
    assert_string_equal(guest.text, "x-2 y5 ");
    free_scene(&s);
}

static void a_viewer_may_wish_for_a_size(void **unused)
{
    struct scene s;
    uint8_t bytes[16 + 64 * 48 * 4 + 256];
    new_scene(&s, "none");
    log_in(&s);
    SAY(&s, 2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xfe, 0xcc); /* raw, ExtendedDesktopSize */
    ask(&s, false);
    size_t n = hear_all(&s, bytes, sizeof(bytes));
    assert_true(n >= 36);
    assert_int_equal((int32_t)load_be(bytes + 12, 4), -308); /* how it knows that it may */
    SAY(&s, 251, 0, 3, 32, 2, 88, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 3, 32, 2, 88, 0, 0, 0, 0);
    n = hear_all(&s, bytes, sizeof(bytes));
    assert_int_equal(s.screen.wish_width, 800);
    assert_true(n >= 36);
    assert_int_equal((int32_t)load_be(bytes + 12, 4), -308);
    assert_int_equal(load_be(bytes + 4, 2), 1);
    assert_int_equal(load_be(bytes + 6, 2), 4); /* forwarded */
    free_scene(&s);
}

static void the_pointers_shape_is_sent(void **unused)
{
    struct scene s;
    uint8_t bytes[16 + 64 * 48 * 4];
    new_scene(&s, "none");
    log_in(&s);
    SAY(&s, 2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x11); /* raw, Cursor */
    ask(&s, false);
    hear(&s, bytes, sizeof(bytes));
    ask(&s, true);
    assert_int_equal(hear_all(&s, bytes, sizeof(bytes)), 0); /* the guest has none */
    struct cursor_shape shape = { .width = 2, .height = 1, .hot_x = 1, .argb = { 0xff010203, 0 } };
    head_set_cursor(s.screen.head, &shape);
    size_t n = hear_all(&s, bytes, sizeof(bytes));
    assert_true(n >= 4 + 12 + 2 * 4 + 1);
    assert_int_equal(load_be(bytes + 4, 2), 1);
    assert_int_equal(load_be(bytes + 8, 2), 2);
    assert_int_equal((int32_t)load_be(bytes + 12, 4), -239);
    assert_int_equal(load_le(bytes + 16, 4) & 0xffffff, 0x010203);
    assert_int_equal(bytes[24], 0x80);
    ask(&s, true);
    head_move_cursor(s.screen.head, 5, 5); /* the viewer knows better */
    assert_int_equal(hear_all(&s, bytes, sizeof(bytes)), 0);
    free_scene(&s);
}

static void passwords_count(void **unused)
{
    /* RFC 6143, 7.2.2, worked out by hand: DES of zeros with each byte of the key mirrored */
    struct scene s;
    uint8_t bytes[64], challenge[16];
    new_scene(&s, "none,password=on");
    struct vnc *v = vnc_find(s.vm, NULL);
    assert_null(vnc_set_password(v, "sesame", VNC_KEEP));
    for (int attempt = 0; attempt < 2; attempt++) {
        expect(&s, "RFB 003.008\n", 12);
        say(&s, "RFB 003.008\n", 12);
        expect(&s, "\1\2", 2);
        SAY(&s, 2);
        hear(&s, challenge, sizeof(challenge));
        say(&s, challenge, sizeof(challenge)); /* not encrypted */
        expect(&s, "\0\0\0\1\0\0\0\16wrong password", 22);
        assert_hung_up(&s);
        close(s.fd);
        s.fd = connect_viewer(&s);
    }
    expect(&s, "RFB 003.008\n", 12);
    say(&s, "RFB 003.008\n", 12);
    expect(&s, "\1\2", 2);
    SAY(&s, 1); /* was not offered */
    assert_hung_up(&s);
    close(s.fd);
    int64_t when;
    assert_null(vnc_parse_expiry("+10", &when));
    assert_in_range(when, time(NULL) + 9, time(NULL) + 10);
    assert_null(vnc_parse_expiry("never", &when));
    assert_int_equal(when, INT64_MAX);
    s.fd = connect_viewer(&s);
    struct error *err = vnc_parse_expiry("soon", &when);
    assert_non_null(err);
    error_free(err);
    err = vnc_set_password(v, "x", VNC_FAIL);
    assert_non_null(err);
    error_free(err);
    assert_null(vnc_set_password(v, NULL, VNC_DISCONNECT));
    hear_some(&s, bytes, sizeof(bytes));
    free_scene(&s);
}

static void old_viewers_log_in(void **unused)
{
    struct scene s;
    uint8_t init[38];
    new_scene(&s, "none");
    expect(&s, "RFB 003.008\n", 12);
    say(&s, "RFB 003.003\n", 12);
    expect(&s, "\0\0\0\1", 4);
    SAY(&s, 0);
    hear(&s, init, sizeof(init));
    assert_int_equal(load_be(init, 2), 64);
    close(s.fd);
    s.fd = connect_viewer(&s);
    expect(&s, "RFB 003.008\n", 12);
    say(&s, "RFB 003.007\n", 12);
    expect(&s, "\1\1", 2);
    SAY(&s, 1, 1);
    hear(&s, init, sizeof(init));
    assert_int_equal(load_be(init, 2), 64);
    free_scene(&s);
}

static void nonsense_hangs_up(void **unused)
{
    static const struct {
        uint8_t n, bytes[24];
    } wrong[] = {
        { 1, { 77 } },
        { 20, { 0, 0, 0, 0, 24, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16 } }, /* 24 bits */
        { 20, { 0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 31 } }, /* beyond them */
        { 20, { 0, 0, 0, 0, 8, 8, 0, 0, 0, 7, 0, 7, 0, 3, 0, 3, 6 } },          /* a palette */
        { 8, { 6, 0, 0, 0, 0xff, 0, 0, 0 } },                                   /* 4 GiB of text */
        { 4, { 2, 0, 0xff, 0xff } },                                            /* encodings */
        { 2, { 255, 1 } },                                                      /* sound */
        { 4, { 150, 1, 0, 0 } },
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct scene s;
        new_scene(&s, "none");
        log_in(&s);
        say(&s, wrong[i].bytes, wrong[i].n);
        assert_hung_up(&s);
        free_scene(&s);
    }
    struct scene s;
    new_scene(&s, "none");
    expect(&s, "RFB 003.008\n", 12);
    say(&s, "GET / HTTP/1", 12);
    assert_hung_up(&s);
    free_scene(&s);
}

/* It asks without end and reads nothing: the main loop goes round, and memory stays as it is. */
static void who_does_not_read_gets_less(void **unused)
{
    struct scene s;
    new_scene(&s, "none");
    log_in(&s);
    assert_true(head_resize(s.screen.head, 1024, 768));
    uint64_t longest = 0;
    for (int i = 0; i < 300; i++) {
        uint8_t request[10] = { 3, 0, 0, 0, 0, 0, 4, 0, 3, 0 };
        (void)!write(s.fd, request, sizeof(request));
        paint(&s, (struct rect){ 0, 0, 1024, 768 }, (uint32_t)i);
        uint64_t before = host_now_ns();
        loop_once(s.vm->loop, 1);
        uint64_t took = host_now_ns() - before;
        longest = took > longest ? took : longest;
    }
    assert_true(longest < NS_PER_S);
    free_scene(&s);
}

static void who_wants_to_be_alone_is(void **unused)
{
    struct scene s;
    new_scene(&s, "none");
    log_in(&s);
    int first = s.fd;
    s.fd = connect_viewer(&s);
    expect(&s, "RFB 003.008\n", 12);
    say(&s, "RFB 003.008\n\1\0", 14);
    char init[4];
    hear(&s, init, 4);
    int second = s.fd;
    s.fd = first;
    assert_hung_up(&s);
    close(first);
    s.fd = second;
    free_scene(&s);
}

static void options_are_checked(void **unused)
{
    static const char *const wrong[][2] = {
        { ":x", "':x' is no display" },
        { "1", "'1' is no display" },
        { ":70000", "is no display" },
        { "none,websocket=on", "websocket= is not supported" },
        { "none,tls-creds=t0", "tls-creds= is not supported" },
        { "none,share=perhaps", "share='perhaps'" },
        { "none,colour=on", "colour" },
        { "unix:", "is no name for a socket" },
        { "unix:/no/such/folder/s", "/no/such/folder/s" },
        { "none,ipv4=off,ipv6=off", "nobody can connect" },
        { "", "accepted" },
    };
    struct vm *vm;
    assert_null(vm_new(&vm));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct error *err = vnc_add(vm, wrong[i][0]);
        assert_non_null(err);
        if (!strstr(error_text(err), wrong[i][1]))
            print_message("# %s\n", error_text(err));
        assert_non_null(strstr(error_text(err), wrong[i][1]));
        error_free(err);
    }
    assert_null(vnc_add(vm, "none"));
    struct error *twice = vnc_add(vm, "none");
    assert_non_null(strstr(error_text(twice), "two servers"));
    error_free(twice);
    faces_free(vm);
    vm_free(vm);
}

static void sockets_are_where_they_were_asked_for(void **unused)
{
    struct vm *vm;
    struct vnc_end end;
    char folder[] = "/tmp/tandem-vnc.XXXXXX", path[64], option[80];
    struct stat st;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/s", folder);
    snprintf(option, sizeof(option), "unix:%s,id=u", path);
    assert_null(vm_new(&vm));
    assert_null(vnc_add(vm, option));
    assert_int_equal(stat(path, &st), 0);
    assert_true(vnc_listener(vnc_find(vm, "u"), 0, &end));
    assert_string_equal(end.family, "unix");
    assert_string_equal(end.service, path);
    assert_null(vnc_add(vm, "127.0.0.1:200,to=300"));
    assert_null(vnc_add(vm, "127.0.0.1:200,to=300,id=next"));
    assert_true(vnc_listener(vnc_find(vm, "next"), 0, &end));
    assert_string_equal(end.host, "127.0.0.1");
    assert_string_equal(end.family, "ipv4");
    assert_in_range(atoi(end.service), 6101, 6200);
    faces_free(vm);
    vm_free(vm);
    assert_int_equal(stat(path, &st), -1);
    rmdir(folder);
}
#endif

static void there_is_a_server_in_this_build(void **unused)
{
#ifndef HAVE_VNC
    print_message("# without libvncserver\n");
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_a_server_in_this_build),
#ifdef HAVE_VNC
        cmocka_unit_test(a_viewer_sees_the_screen_and_then_what_changes),
        cmocka_unit_test(nobody_connected_costs_nothing),
        cmocka_unit_test(a_screen_of_another_size_is_told),
        cmocka_unit_test(other_pixel_formats_are_made),
        cmocka_unit_test(the_clipboard_goes_both_ways_as_latin_1),
        cmocka_unit_test(keys_and_pointer_reach_the_guest),
        cmocka_unit_test(extensions_are_answered),
        cmocka_unit_test(a_viewer_may_wish_for_a_size),
        cmocka_unit_test(the_pointers_shape_is_sent),
        cmocka_unit_test(passwords_count),
        cmocka_unit_test(old_viewers_log_in),
        cmocka_unit_test(nonsense_hangs_up),
        cmocka_unit_test(who_does_not_read_gets_less),
        cmocka_unit_test(who_wants_to_be_alone_is),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(sockets_are_where_they_were_asked_for),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
