/* The clipboard between a guest's agent, written out byte by byte, and a viewer. */
#include "core/clipboard.h"

#include "board.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { CLIPBOARD = 4, ANNOUNCE = 6, GRAB = 7, REQUEST = 8 }; /* SPICE's vd_agent.h */
enum { BY_DEMAND = 1 << 5, SELECTION = 1 << 6, UTF8 = 1 };

struct scene {
    struct board *b;
    struct chardev *c;
    uint8_t got[4096]; /* by the guest */
    size_t n, room;
    struct clipboard_peer viewer;
    unsigned n_changes;
};

static size_t room(void *opaque)
{
    struct scene *s = opaque;
    return s->room;
}

static void receive(void *opaque, const uint8_t *data, size_t n)
{
    struct scene *s = opaque;
    for (size_t i = 0; i < n && s->n < sizeof(s->got); i++)
        s->got[s->n++] = data[i];
}

static void event(void *opaque, int what)
{
}

static void on_changed(struct clipboard_peer *peer)
{
    container_of(peer, struct scene, viewer)->n_changes++;
}

static void settle(struct scene *s)
{
    for (int i = 0; i < 8; i++) {
        board_step(s->b);
        usleep(1000);
    }
}

static void start(struct scene *s, const char *spec)
{
    *s = (struct scene){ .b = board_new(), .room = 4096, .viewer = { .changed = on_changed } };
    struct error *err = chardev_open(s->b->vm, "t", spec, &s->c);
    assert_null(err);
    chardev_attach(s->c, &(struct chardev_front){ room, receive, event, s });
    clipboard_join(s->b->vm, &s->viewer);
}

static void stop(struct scene *s)
{
    clipboard_leave(s->b->vm, &s->viewer);
    chardev_close(s->c);
    board_free(s->b);
}

/* The guest says a message of words with text behind them, in chunks of that size. */
static void say(struct scene *s, uint32_t type, const uint32_t *words, size_t n_words,
                const char *text, size_t chunk)
{
    size_t n = 20 + 4 * n_words + strlen(text);
    uint8_t *m = calloc(1, n);
    store_le(m, 4, 1);
    store_le(m + 4, 4, type);
    store_le(m + 16, 4, n - 20);
    for (size_t i = 0; i < n_words; i++)
        store_le(m + 20 + 4 * i, 4, words[i]);
    memcpy(m + 20 + 4 * n_words, text, strlen(text));
    for (size_t at = 0; at < n; at += chunk) {
        uint8_t head[8];
        store_le(head, 4, 1);
        store_le(head + 4, 4, MIN(chunk, n - at));
        chardev_write(s->c, head, sizeof(head));
        chardev_write(s->c, m + at, MIN(chunk, n - at));
    }
    free(m);
    settle(s);
}
#define SAY(s, type, text, ...)                         \
    say((s), (type), (const uint32_t[]){ __VA_ARGS__ }, \
        sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t), (text), 65536)

/* The guest is told just this. */
static void expect(struct scene *s, uint32_t type, const uint32_t *words, size_t n_words,
                   const char *text)
{
    size_t n = 4 * n_words + strlen(text);
    settle(s);
    assert_int_equal(s->n, 28 + n);
    assert_int_equal(load_le(s->got, 4), 1);
    assert_int_equal(load_le(s->got + 4, 4), 20 + n);
    assert_int_equal(load_le(s->got + 8, 4), 1);
    assert_int_equal(load_le(s->got + 12, 4), type);
    assert_int_equal(load_le(s->got + 24, 4), n);
    for (size_t i = 0; i < n_words; i++)
        assert_int_equal(load_le(s->got + 28 + 4 * i, 4), words[i]);
    assert_memory_equal(s->got + 28 + 4 * n_words, text, strlen(text));
    s->n = 0;
}
#define EXPECT(s, type, text, ...)                         \
    expect((s), (type), (const uint32_t[]){ __VA_ARGS__ }, \
           sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t), (text))

static void expect_text(struct scene *s, const char *wanted)
{
    size_t n;
    const char *text = clipboard_text(s->b->vm, &n);
    assert_non_null(text);
    assert_string_equal(text, wanted);
    assert_int_equal(n, strlen(wanted));
}

static void greet(struct scene *s, uint32_t capabilities)
{
    SAY(s, ANNOUNCE, "", 1, capabilities);
    EXPECT(s, ANNOUNCE, "", 0, BY_DEMAND | SELECTION);
}

static void what_the_guest_copies_a_viewer_has(void **unused)
{
    struct scene s;
    start(&s, "qemu-vdagent,clipboard=on,name=vdagent");
    greet(&s, BY_DEMAND | SELECTION);
    SAY(&s, GRAB, "", 0, 2, UTF8); /* as a picture, too */
    EXPECT(&s, REQUEST, "", 0, UTF8);
    const uint32_t words[] = { 0, UTF8 };
    say(&s, CLIPBOARD, words, 2,
        "gr\xc3\xbc\xc3\x9f"
        "e",
        3); /* cut anywhere */
    expect_text(&s, "gr\xc3\xbc\xc3\x9f"
                    "e");
    assert_int_equal(s.n_changes, 1);
    SAY(&s, CLIPBOARD, "not asked for", 0, UTF8);
    assert_int_equal(s.n_changes, 1);
    SAY(&s, GRAB, "", 1, UTF8); /* another selection */
    assert_int_equal(s.n, 0);
    stop(&s);
}

static void what_a_viewer_copies_the_guest_has(void **unused)
{
    struct scene s;
    start(&s, "qemu-vdagent,clipboard=on");
    greet(&s, BY_DEMAND); /* knows no selections */
    clipboard_set(s.b->vm, &s.viewer, "hello", 5);
    assert_int_equal(s.n_changes, 0);
    EXPECT(&s, GRAB, "", UTF8);
    SAY(&s, REQUEST, "", UTF8);
    EXPECT(&s, CLIPBOARD, "hello", UTF8);
    SAY(&s, REQUEST, "", 2);
    EXPECT(&s, CLIPBOARD, "", 0);
    clipboard_set(s.b->vm, &s.viewer, "hello", 5); /* nothing new */
    settle(&s);
    assert_int_equal(s.n, 0);
    SAY(&s, ANNOUNCE, "", 0, BY_DEMAND | SELECTION); /* an agent that was started anew */
    EXPECT(&s, GRAB, "", 0, UTF8);
    stop(&s);
}

static void text_is_utf8_and_not_too_long(void **unused)
{
    struct scene s;
    char *much = calloc(1, CLIPBOARD_MOST + 1);
    memset(much, 'x', CLIPBOARD_MOST + 1);
    start(&s, "qemu-vdagent,clipboard=on");
    clipboard_set(s.b->vm, NULL, "a\xff\xc3\xed\xa0\x80\xf4\x8f\xbf\xbf\xe2\x82", 12);
    expect_text(&s, "a?????\xf4\x8f\xbf\xbf??");
    clipboard_set(s.b->vm, NULL, "one\0two", 7);
    expect_text(&s, "one");
    clipboard_set(s.b->vm, NULL, much, CLIPBOARD_MOST + 1);
    expect_text(&s, "one");
    free(much);
    stop(&s);
}

static void without_a_guest_nothing_is_shared(void **unused)
{
    struct scene s;
    size_t n;
    start(&s, "qemu-vdagent");
    clipboard_set(s.b->vm, NULL, "hello", 5);
    assert_null(clipboard_text(s.b->vm, &n));
    assert_int_equal(s.n_changes, 0);
    stop(&s);
}

static void garbage_and_long_messages_are_skipped(void **unused)
{
    struct scene s;
    uint8_t bytes[4096] = { 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 1 };
    start(&s, "qemu-vdagent,clipboard=on");
    memset(bytes + 20, 0xff, 4); /* no chunk goes to that port */
    store_le(bytes + 4, 4, 20 + 2 * CLIPBOARD_MOST);
    store_le(bytes + 12, 4, CLIPBOARD);
    store_le(bytes + 24, 4, 2 * CLIPBOARD_MOST);
    chardev_write(s.c, bytes, 28);
    memset(bytes, 7, sizeof(bytes));
    for (size_t left = 2 * CLIPBOARD_MOST; left; left -= sizeof(bytes)) {
        chardev_write(s.c, bytes, sizeof(bytes));
        while (chardev_space(s.c) < sizeof(bytes))
            settle(&s);
    }
    settle(&s);
    greet(&s, BY_DEMAND);
    chardev_write(s.c, bytes, 8);
    settle(&s);
    greet(&s, BY_DEMAND);
    stop(&s);
}

static void a_guest_that_asks_and_does_not_read_gets_no_more(void **unused)
{
    struct scene s;
    char *much = calloc(1, CLIPBOARD_MOST);
    memset(much, 'x', CLIPBOARD_MOST);
    start(&s, "qemu-vdagent,clipboard=on");
    clipboard_set(s.b->vm, NULL, much, CLIPBOARD_MOST);
    s.room = 0;
    SAY(&s, ANNOUNCE, "", 0, BY_DEMAND);
    for (int i = 0; i < 100; i++)
        SAY(&s, REQUEST, "", UTF8);
    assert_true(chardev_space(s.c) > 0);
    free(much);
    stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_guest_copies_a_viewer_has),
        cmocka_unit_test(what_a_viewer_copies_the_guest_has),
        cmocka_unit_test(text_is_utf8_and_not_too_long),
        cmocka_unit_test(without_a_guest_nothing_is_shared),
        cmocka_unit_test(garbage_and_long_messages_are_skipped),
        cmocka_unit_test(a_guest_that_asks_and_does_not_read_gets_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
