/* Commands of every kind to a virtio sound device, right and wrong, and buffers to play and to fill, with well-formed
 * rings (virtqueue.c has the others), while time passes. */
#include "../unit/virtio_guest.h"

#include "core/error.h"
#include "tape.h"
#include "ui/audio.h"

#include <stdlib.h>

enum {
    MAX_STEPS = 300,
    ROOM = 64,
    ANSWER = 256,
    CONTROL = 0x100000,
    DATA = 0x200000,
    MOST_OUT = 6
};
enum { CONTROLQ, EVENTQ, TXQ, RXQ, N_QUEUES, NS_PER_MS = 1000000 };

extern const struct device_class virtio_snd_pci_class;

struct world {
    struct guest *g;
    struct tape *t;
    struct ring rings[N_QUEUES];
    unsigned out[N_QUEUES], n_data; /* chains that the device has */
};

static void take_all(struct world *w)
{
    struct used u;
    for (unsigned i = 0; i < N_QUEUES; i++)
        while (ring_take(&w->rings[i], &u))
            w->out[i]--;
}

static void send(struct world *w, const uint8_t *raw, unsigned n, unsigned room)
{
    board_ram_write(w->g->b, CONTROL, raw, ROOM);
    const struct buffer b[] = { { CONTROL, n, false }, { CONTROL + 0x1000, room, true } };
    ring_add(&w->rings[CONTROLQ], b, 2, false);
    w->out[CONTROLQ]++;
    guest_kick(w->g, CONTROLQ);
    take_all(w);
}

static void command(struct world *w)
{
    static const uint16_t codes[] = {
        1, 2, 0x100, 0x101, 0x101, 0x102, 0x103, 0x104, 0x105, 0x200
    };
    uint8_t raw[ROOM] = { 0 }, kind = tape_u8(w->t);
    store_le(raw, 4, kind < 250 ? codes[kind % ARRAY_LEN(codes)] : tape_u32(w->t));
    for (unsigned at = 4; at < 32; at += 4) {
        uint8_t v = tape_u8(w->t);
        store_le(raw + at, 4, v < 240 ? v : tape_u32(w->t));
    }
    send(w, raw, kind & 1 ? 24 : tape_u8(w->t) % ROOM + 1, tape_u8(w->t) + 1);
}

/* A stream as a driver starts it. */
static void start_stream(struct world *w)
{
    static const uint8_t formats[] = { 3, 4, 5, 6, 17, 18, 19 };
    uint8_t how = tape_u8(w->t), raw[ROOM] = { 0 };
    store_le(raw + 4, 4, how & 1);
    store_le(raw + 8, 4, 4096);
    store_le(raw + 12, 4, 1024);
    raw[20] = 1 + (how >> 1 & 1);
    raw[21] = formats[(how >> 2) % sizeof(formats)];
    raw[22] = tape_u8(w->t) % 14;
    for (uint16_t code = 0x101; code <= 0x104; code++) {
        store_le(raw, 4, code);
        if (code != 0x103)
            send(w, raw, 24, 4);
    }
}

static void buffer(struct world *w)
{
    uint8_t how = tape_u8(w->t), raw[4];
    unsigned queue = how & 1 ? RXQ : TXQ, n = how & 2 ? tape_u8(w->t) : tape_u16(w->t) & 0x3fff;
    uint64_t at = DATA + 0x8000 * (w->n_data++ % 8);
    if (w->out[queue] >= MOST_OUT)
        return;
    store_le(raw, 4, how < 240 ? how & 1 : how & 7);
    board_ram_write(w->g->b, at, raw, sizeof(raw));
    const struct buffer out[] = { { at, 4, false },
                                  { at + 4, n + 1, false },
                                  { at + 0x6000, how < 248 ? 8 : how & 7, true } };
    const struct buffer in[] = { { at, how < 248 ? 4 : 1, false },
                                 { at + 4, n + 1, true },
                                 { at + 0x6000, 8, true } };
    ring_add(&w->rings[queue], queue == TXQ ? out : in, 3, how >> 2 & 1);
    w->out[queue]++;
    if (how >> 3 & 1)
        guest_kick(w->g, queue);
}

static void step(struct world *w)
{
    uint8_t what = tape_u8(w->t);
    switch (what & 7) {
    case 0: command(w); break;
    case 1: start_stream(w); break;
    case 2:
    case 3:
    case 4: buffer(w); break;
    default: board_advance_ns(w->g->b, (what >> 3) * UINT64_C(1) * NS_PER_MS); take_all(w);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct guest *g = guest_new();
    struct world w = { .g = g, .t = &t };
    if (audio_add(g->b->vm,
                  tape_u8(&t) & 1 ? "none,id=a0" : "none,id=a0,out.frequency=8000,in.channels=1"))
        abort();
    g->dev = guest_add(g, &virtio_snd_pci_class, "audiodev", "a0", NULL);
    guest_find(g);
    if (!guest_negotiate(g, guest_offered(g) & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED)))
        abort();
    for (unsigned i = 0; i < N_QUEUES; i++)
        w.rings[i] = ring_new(g, i, 32, false);
    guest_driver_ok(g);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(&w);
    board_check(g->b);
    guest_free(g);
    return 0;
}
