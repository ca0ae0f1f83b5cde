/* A viewer that says anything: raw bytes, or messages whose fields are anything, before its login and behind it, while
 * the guest's screen changes, and whether or not it reads what it gets. */
#include "tape.h"

#include "core/device.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/display.h"
#include "ui/faces.h"
#include "ui/vnc.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_ROUNDS = 60, MOST_SIDE = 200, HOSTILE_SIDE = 512 };

struct scene {
    struct vm *vm;
    struct device dev;
    struct head *head;
    int fd;
};

static void wish(struct device *dev, struct head *head, unsigned width, unsigned height)
{
    head_resize(head, MIN(width, (unsigned)HOSTILE_SIDE), MIN(height, (unsigned)HOSTILE_SIDE));
}

static const struct head_ops ops = { NULL, wish };

static void say(struct scene *s, const uint8_t *data, size_t n)
{
    (void)!send(s->fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void say_raw(struct scene *s, struct tape *t)
{
    size_t want = tape_u8(t), n = MIN(want, tape_left(t));
    say(s, t->at, n);
    t->at += n;
    t->n -= n;
}

/* A message of a known kind and length; SetPixelFormat mostly one that makes sense. */
static void say_message(struct scene *s, struct tape *t)
{
    static const uint8_t kinds[] = { 0, 2, 3, 3, 3, 4, 5, 6, 251, 255 };
    static const int16_t encodings[] = { 0,    1,    2,    4,    5,    6,    7,    16,   -223,
                                         -224, -239, -240, -257, -258, -261, -308, -247, -26 };
    uint8_t m[20 + 4 * 16] = { kinds[tape_u8(t) % sizeof(kinds)] };
    size_t n = m[0] == 0 ? 20 : m[0] == 3 ? 10 : m[0] == 5 ? 6 : m[0] == 255 ? 12 : 8;
    for (size_t i = 1; i < n; i++)
        m[i] = tape_u8(t);
    if (m[0] == 0 && m[1] & 1)
        memcpy(m + 4,
               m[2] & 1 ? "\x20\x18\0\1\0\377\0\377\0\377\20\10\0\0\0\0"
                        : "\x10\x10\1\1\0\37\0\77\0\37\13\5\0\0\0\0",
               16);
    if (m[0] == 2) {
        unsigned count = m[1] % 17;
        store_be(m + 2, 2, count);
        for (unsigned i = 0; i < count; i++)
            store_be(m + 4 + 4 * i, 4, (uint32_t)encodings[tape_u8(t) % ARRAY_LEN(encodings)]);
        n = 4 + 4 * count;
    }
    if (m[0] == 6)
        store_be(m + 4, 4, m[4] % 8);
    if (m[0] == 251)
        m[6] = 0;
    if (m[0] == 255)
        m[1] = 0;
    say(s, m, n);
}

static void change_screen(struct scene *s, struct tape *t)
{
    struct cursor_shape shape = { .width = tape_u8(t) % 65, .height = tape_u8(t) % 65 };
    switch (tape_u8(t) % 4) {
    case 0: head_resize(s->head, 1 + tape_u8(t) % MOST_SIDE, 1 + tape_u8(t) % MOST_SIDE); break;
    case 1:
        head_damage(s->head, (struct rect){ tape_u8(t), tape_u8(t), tape_u8(t), tape_u8(t) });
        break;
    case 2:
        memset(shape.argb, tape_u8(t), sizeof(shape.argb));
        shape.hot_x = tape_u8(t) % 64;
        head_set_cursor(s->head, tape_u8(t) & 1 ? &shape : NULL);
        break;
    case 3: head_move_cursor(s->head, (int16_t)tape_u16(t), (int16_t)tape_u16(t)); break;
    }
}

static void listen_a_while(struct scene *s)
{
    static uint8_t bytes[1 << 16];
    while (recv(s->fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        loop_once(s->vm->loop, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct scene s = { 0 };
    int pair[2];
    struct error *err = vm_new(&s.vm);
    assert(!err);
    s.dev = (struct device){ .vm = s.vm };
    s.head = head_new(&s.dev, 0, &ops);
    head_resize(s.head, 64, 48);
    uint8_t how = tape_u8(&t);
    err = vnc_add(s.vm, how & 1 ? "none,password=on,lossy=on" : "none,lossy=on");
    if (!err && !socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair)) {
        s.fd = pair[0];
        error_free(vnc_add_client(s.vm, NULL, pair[1], how & 2));
        if (how & 12)
            say(&s, (const uint8_t *)"RFB 003.008\n\1\1", 14);
        for (int i = 0; i < MOST_ROUNDS && tape_left(&t); i++) {
            uint8_t what = tape_u8(&t) % 8;
            if (what == 0)
                say_raw(&s, &t);
            else if (what < 5)
                say_message(&s, &t);
            else if (what < 7)
                change_screen(&s, &t);
            else
                listen_a_while(&s);
            loop_once(s.vm->loop, what == 7);
        }
        close(s.fd);
        loop_once(s.vm->loop, 0);
    }
    error_free(err); /* built without the server */
    faces_free(s.vm);
    head_free(s.head);
    vm_free(s.vm);
    return 0;
}
