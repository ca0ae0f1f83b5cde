/* Commands of every kind to a virtio GPU, right and wrong, with well-formed rings (virtqueue.c has the others), while
 * viewers wish. */
#include "../unit/virtio_guest.h"

#include "core/loop.h"
#include "tape.h"
#include "ui/display.h"

#include <stdlib.h>

enum { MAX_STEPS = 300, HEADER = 24, ROOM = 512, ANSWER = 1200, AT = 0x100000 };

extern const struct device_class virtio_gpu_pci_class, virtio_vga_class;

/* A word of a command: mostly small, so that ids and sizes meet. */
static uint32_t word(struct tape *t)
{
    uint8_t v = tape_u8(t);
    if (v >= 250)
        return tape_u32(t);
    return v >= 200 ? (v - 199u) * 64 : v & 31;
}

static void take_all(struct ring *r)
{
    struct used u;
    while (ring_take(r, &u))
        ;
}

static void command(struct guest *g, struct ring *r, struct tape *t)
{
    static const uint16_t types[] = {
        0x100, 0x101, 0x101, 0x102, 0x103, 0x103, 0x104, 0x104, 0x105,
        0x105, 0x106, 0x106, 0x107, 0x10a, 0x10c, 0x300, 0x301, 0x109
    };
    uint8_t raw[ROOM] = { 0 };
    uint8_t kind = tape_u8(t);
    unsigned n = tape_u8(t) % ((ROOM - HEADER) / 4);
    store_le(raw, 4, kind < 250 ? types[kind % ARRAY_LEN(types)] : tape_u32(t));
    raw[4] = tape_u8(t);
    for (unsigned i = 0; i < n && tape_left(t); i++)
        store_le(raw + HEADER + 4 * i, 4, word(t));
    if (load_le(raw, 4) == 0x106) { /* entries that lie in RAM, mostly */
        for (unsigned at = HEADER + 8; at + 16 <= ROOM; at += 16)
            store_le(raw + at, 8, BOARD_RAM + load_le(raw + at, 4) * 64);
    }
    board_ram_write(g->b, AT, raw, sizeof(raw));
    struct buffer b[] = { { AT, HEADER + 4 * n, false }, { AT + 0x1000, ANSWER, true } };
    ring_add(r, b, 2, false);
    guest_kick(g, r->queue);
    loop_once(g->b->vm->loop, 0);
    take_all(r);
}

static void step(struct guest *g, struct ring *rings, struct tape *t)
{
    uint8_t what = tape_u8(t);
    struct head *h = head_at(g->b->vm, what >> 7);
    switch (what & 15) {
    case 0: head_wish(h, tape_u8(t) * 32u, tape_u8(t) * 32u); break;
    case 1: head_refresh(h); break;
    case 2: board_step(g->b); break;
    case 3: board_poke(g->b, g->modern + 0x2000 + tape_u8(t) % 16, 4, tape_u32(t)); break;
    case 4:
    case 5: command(g, &rings[1], t); break;
    default: command(g, &rings[0], t);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    bool vga = tape_u8(&t) & 1;
    struct guest *g = guest_with(vga ? &virtio_vga_class : &virtio_gpu_pci_class, "max_outputs",
                                 "2", "max_hostmem", "4M", NULL);
    struct ring rings[2];
    if (!guest_negotiate(g, guest_offered(g) & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED)))
        abort();
    for (unsigned i = 0; i < ARRAY_LEN(rings); i++)
        rings[i] = ring_new(g, i, 16, false);
    guest_driver_ok(g);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(g, rings, &t);
    board_step(g->b);
    board_check(g->b);
    guest_free(g);
    return 0;
}
