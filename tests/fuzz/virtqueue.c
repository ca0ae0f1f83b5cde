/* Everything a guest can do to a virtio device: each device of the class list, on both transports, with
 * rings right and wrong. The first byte chooses the device. */
#include "../unit/virtio_guest.h"

#include "block/block.h"
#include "core/backends.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "net/net.h"
#include "tape.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DISK_SIZE = 256 * 1024, N_RINGS = 8, MAX_STEPS = 400 };

/* Devices and what they need to exist; the class "-pci" or "-device" of each is made. */
static const struct {
    const char *name, *prop, *value;
} kinds[] = {
    { "virtio-blk", "drive", "d0" },  { "virtio-net", "netdev", "n0" },
    { "virtio-serial", NULL, NULL },  { "virtio-rng", NULL, NULL },
    { "virtio-balloon", NULL, NULL }, { "virtio-keyboard", NULL, NULL },
    { "virtio-mouse", NULL, NULL },   { "virtio-tablet", NULL, NULL },
    { "virtio-gpu", NULL, NULL },     { "virtio-sound", NULL, NULL },
};

struct world {
    struct guest *g;
    struct tape tape;
    int disk_fd;
    uint64_t features;
    struct ring rings[N_RINGS];
    unsigned n_rings;
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static void drive_add(struct world *w)
{
    char text[128];
    w->disk_fd = memfd_create("disk", MFD_CLOEXEC);
    if (w->disk_fd < 0 || ftruncate(w->disk_fd, DISK_SIZE))
        abort();
    snprintf(text, sizeof(text), "file=/proc/self/fd/%d,if=none,id=d0,format=raw", w->disk_fd);
    struct drive_info info;
    must(blk_add_drive(w->g->b->vm, text, &info));
}

static void world_new(struct world *w, unsigned which)
{
    char name[64];
    bool mmio = which & 1;
    unsigned kind = which / 2 % ARRAY_LEN(kinds);
    struct guest *g = w->g = guest_new();
    w->disk_fd = -1;
    if (!strcmp(kinds[kind].name, "virtio-blk"))
        drive_add(w);
    if (!strcmp(kinds[kind].name, "virtio-net"))
        must(netdev_add(g->b->vm, "null,id=n0"));
    snprintf(name, sizeof(name), "%s-%s", kinds[kind].name, mmio ? "device" : "pci");
    const struct device_class *cls = device_class_find(name);
    if (!cls)
        abort();
    g->dev = guest_add(g, cls, "packed", "on", "in_order", "on", "notification_data", "on",
                       kinds[kind].prop, kinds[kind].value, NULL);
    if (!strcmp(kinds[kind].name, "virtio-serial"))
        guest_add(g, device_class_find("virtconsole"), NULL);
    guest_find(g);
}

static void world_free(struct world *w)
{
    guest_free(w->g);
    if (w->disk_fd >= 0)
        close(w->disk_fd);
}

/* ---- steps ---------------------------------------------------------------------------------------- */

/* Bring the device up as a driver does, with a choice of features. */
static void bring_up(struct world *w)
{
    struct guest *g = w->g;
    uint8_t which = tape_u8(&w->tape);
    uint64_t offered = guest_offered(g), wanted = which & 1 ? tape_u64(&w->tape) : UINT64_MAX;
    w->features = (wanted & offered) | VIRTIO_BIT(VIRTIO_F_VERSION_1);
    if (which & 2)
        w->features &= ~VIRTIO_BIT(VIRTIO_F_RING_PACKED);
    guest_negotiate(g, w->features);
    g->next_ram = 0x10000;
    w->n_rings = MIN(N_RINGS, g->v->n_queues);
    for (unsigned i = 0; i < w->n_rings; i++)
        w->rings[i] = ring_new(g, i, 8, w->features >> VIRTIO_F_RING_PACKED & 1);
    guest_driver_ok(g);
}

static struct ring *some_ring(struct world *w)
{
    return w->n_rings ? &w->rings[tape_u8(&w->tape) % w->n_rings] : NULL;
}

/* An address: mostly in RAM, at times anywhere. */
static gpa some_address(struct tape *t)
{
    uint8_t kind = tape_u8(t);
    if (kind < 8)
        return tape_u64(t);
    if (kind < 16)
        return BOARD_RAM + BOARD_RAM_SIZE - tape_u8(t);
    return BOARD_RAM + 16 * (uint64_t)tape_u16(t);
}

static void write_descriptor(struct world *w, struct ring *r)
{
    struct tape *t = &w->tape;
    unsigned i = tape_u8(t) % r->size;
    gpa at = some_address(t);
    uint32_t len = tape_u8(t) < 8 ? tape_u32(t) : tape_u16(t);
    uint16_t flags = tape_u8(t) & 7, next = tape_u8(t);
    if (r->packed)
        flags |= (tape_u8(t) & 1 ? 1 << 7 : 0) | (tape_u8(t) & 1 ? 1 << 15 : 0);
    ring_desc(r, i, at, len, flags, next);
}

static void publish(struct world *w, struct ring *r)
{
    struct tape *t = &w->tape;
    guest_ram16_set(w->g, r->driver + 4 + 2 * (r->avail % r->size), tape_u8(t) % (r->size + 1));
    r->avail += tape_u8(t) % 3;
    guest_ram16_set(w->g, r->driver + 2, r->avail);
    guest_kick(w->g, r->queue);
}

/* Descriptors of `n` buffers, the first n_out of them readable, behind each other at `at`. */
static void lay_out(struct ring *r, unsigned first, unsigned n_out, unsigned n, gpa at, bool table)
{
    for (unsigned i = 0; i < n; i++) {
        uint16_t flags = (i >= n_out ? 2 : 0) | (i + 1 < n && !(table && r->packed) ? 1 : 0);
        uint32_t len = i == 0 && n_out ? 16 : i + 1 == n ? 1 : 512;
        if (r->packed && !table)
            flags |= r->avail_wrap ? 1 << 7 : 1 << 15;
        ring_desc(r, table ? i : (first + i) % r->size, at + 16 * i, len, flags, i + 1);
        if (r->packed && !table && ++r->avail == r->size) {
            r->avail = 0;
            r->avail_wrap = !r->avail_wrap;
        }
    }
}

/* A chain as drivers build them: what it says comes from the tape, the answer has room. */
static void proper_chain(struct world *w, struct ring *r)
{
    struct tape *t = &w->tape;
    uint8_t bytes[64], shape = tape_u8(t);
    unsigned n_out = shape % 3, n = n_out + shape / 3 % 3;
    unsigned at = 0x8000 + (tape_u8(t) % 64) * 256;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = i < n_out * 20 ? tape_u8(t) : 0;
    board_ram_write(w->g->b, at, bytes, sizeof(bytes));
    if (n && shape & 64) {
        struct ring table = *r;
        table.desc = 0x7000;
        lay_out(&table, 0, n_out, n, BOARD_RAM + at, true);
        uint16_t flags = 4 | (!r->packed ? 0 : r->avail_wrap ? 1 << 7 : 1 << 15);
        ring_desc(r, r->packed ? r->avail : 0, BOARD_RAM + table.desc, 16 * n, flags, 0);
        if (r->packed && ++r->avail == r->size) {
            r->avail = 0;
            r->avail_wrap = !r->avail_wrap;
        }
    } else {
        lay_out(r, r->packed ? r->avail : 0, n_out, n, BOARD_RAM + at, false);
    }
    if (!r->packed) {
        guest_ram16_set(w->g, r->driver + 4 + 2 * (r->avail % r->size), 0);
        guest_ram16_set(w->g, r->driver + 2, ++r->avail);
    }
    guest_kick(w->g, r->queue);
}

static void poke_registers(struct world *w)
{
    struct tape *t = &w->tape;
    const struct guest *g = w->g;
    const gpa bases[] = {
        g->mmio,   g->mmio + 0x100, g->modern, g->modern + 0x2000, g->modern + 0x3000,
        g->legacy, g->msix
    };
    unsigned which = g->mmio ? tape_u8(t) % 2 : 2 + tape_u8(t) % 5;
    gpa at = bases[which] + tape_u8(t);
    unsigned size = 1 << tape_u8(t) % 4;
    if (!bases[which])
        return;
    if (tape_u8(t) & 1)
        board_poke(g->b, at, size, tape_u64(t));
    else
        board_peek(g->b, at, size);
}

static void poke_ram(struct world *w)
{
    uint8_t bytes[16];
    uint64_t at = tape_u8(&w->tape) & 1 ? 0x10000 + (uint64_t)tape_u16(&w->tape) % 0x4000
                                        : 16 * (uint64_t)tape_u16(&w->tape);
    unsigned n = tape_u8(&w->tape) % sizeof(bytes);
    for (unsigned i = 0; i < n; i++)
        bytes[i] = tape_u8(&w->tape);
    board_ram_write(w->g->b, at, bytes, n);
}

static void step(struct world *w)
{
    struct tape *t = &w->tape;
    struct ring *r = some_ring(w);
    if (w->g->v->status & VIRTIO_NEEDS_RESET && tape_u8(t) % 4 == 0)
        bring_up(w);
    switch (tape_u8(t) % 16) {
    case 0:
    case 1:
        if (r)
            write_descriptor(w, r);
        break;
    case 2:
    case 3:
        if (r)
            publish(w, r);
        break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8:
        if (r)
            proper_chain(w, r);
        break;
    case 9: poke_ram(w); break;
    case 10: poke_registers(w); break;
    case 11: bring_up(w); break;
    case 12: board_step(w->g->b); break;
    case 13: board_advance_ns(w->g->b, tape_u32(t)); break;
    case 14:
        if (!w->g->mmio)
            guest_config_write(w->g, w->g->devfn, tape_u8(t), 1 << tape_u8(t) % 3, tape_u32(t));
        break;
    case 15: guest_kick(w->g, tape_u8(t) % 16); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct world w = { .tape = { bytes, n } };
    world_new(&w, tape_u8(&w.tape));
    bring_up(&w);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&w.tape); i++)
        step(&w);
    board_step(w.g->b);
    vm_reset(w.g->b->vm);
    board_check(w.g->b);
    world_free(&w);
    return 0;
}
