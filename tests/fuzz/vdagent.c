/* A guest's agent that says anything: raw bytes, or messages whose fields are anything, while a viewer copies, and
 * whether or not it reads what it gets. */
#include "tape.h"

#include "core/chardev.h"
#include "core/clipboard.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"

#include <assert.h>

enum { MOST_ROUNDS = 100 };

struct scene {
    struct vm *vm;
    struct chardev *c;
    struct clipboard_peer viewer;
    size_t room;
};

static size_t room(void *opaque)
{
    return ((struct scene *)opaque)->room;
}

static void receive(void *opaque, const uint8_t *data, size_t n)
{
}

static void event(void *opaque, int what)
{
}

static void changed(struct clipboard_peer *peer)
{
}

static void say_message(struct scene *s, struct tape *t)
{
    static const uint8_t types[] = { 4, 6, 7, 8, 9, 1 };
    uint8_t m[8 + 20 + 64] = { 1 };
    size_t n = tape_u8(t) % 65;
    store_le(m + 4, 4, 20 + n);
    m[8] = 1;
    m[12] = types[tape_u8(t) % sizeof(types)];
    store_le(m + 24, 4, n + (tape_u8(t) == 0xff ? tape_u32(t) : 0));
    for (size_t i = 0; i < n; i++)
        m[28 + i] = tape_u8(t);
    chardev_write(s->c, m, 28 + n);
}

static void say_raw(struct scene *s, struct tape *t)
{
    size_t want = tape_u8(t), n = MIN(want, tape_left(t));
    chardev_write(s->c, t->at, n);
    t->at += n;
    t->n -= n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct scene s = { .viewer = { .changed = changed } };
    struct tape t = { bytes, n };
    struct error *err = vm_new(&s.vm);
    assert(!err && !chardev_open(s.vm, NULL, "qemu-vdagent,clipboard=on", &s.c));
    chardev_attach(s.c, &(struct chardev_front){ room, receive, event, &s });
    clipboard_join(s.vm, &s.viewer);
    for (int i = 0; i < MOST_ROUNDS && tape_left(&t); i++) {
        size_t copied = 0;
        switch (tape_u8(&t) % 6) {
        case 0: say_raw(&s, &t); break;
        case 1:
        case 2: say_message(&s, &t); break;
        case 3:
            copied = tape_u8(&t);
            copied = MIN(copied, tape_left(&t));
            clipboard_set(s.vm, &s.viewer, (const char *)t.at, copied);
            break;
        case 4:
            s.room = tape_u8(&t);
            chardev_accept(s.c);
            break;
        case 5: chardev_flush(s.c); break;
        }
        loop_once(s.vm->loop, 0);
    }
    clipboard_leave(s.vm, &s.viewer);
    chardev_close(s.c);
    vm_free(s.vm);
    return 0;
}
