/* The guest's side of virtio; see virtio_guest.h. */
#include "virtio_guest.h"

#include "core/error.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MMIO_SLOTS = 8, MMIO_AT = 0x0f000000, RINGS_AT = 0x10000 };

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

struct guest *guest_new(void)
{
    return guest_new_ram(0);
}

struct guest *guest_new_ram(unsigned flags)
{
    struct guest *g = xcalloc(1, sizeof(*g));
    static const struct pci_windows windows = {
        .io_base = GUEST_PIO,
        .io_size = 64 * KIB,
        .mem32_base = GUEST_MEM,
        .mem32_size = GIB,
        .mem64_base = 16 * GIB,
        .mem64_size = 16 * GIB,
    };
    g->b = board_new_ram(flags);
    g->next_ram = RINGS_AT;
    struct irq lines[PCI_N_INTX];
    for (unsigned i = 0; i < PCI_N_INTX; i++)
        lines[i] = board_irq(g->b, i);
    must(gpex_create(g->b->vm, GUEST_ECAM, 256 * MIB, &windows, lines, &g->host));
    for (unsigned i = 0; i < MMIO_SLOTS; i++) {
        struct irq line = board_irq(g->b, 8 + i);
        must(virtio_mmio_slot_create(g->b->vm, i, MMIO_AT + 0x1000 * i, &line));
    }
    return g;
}

static struct error *make(struct guest *g, const struct device_class *cls, va_list ap,
                          struct device **out)
{
    struct device *dev = device_new(g->b->vm, cls);
    struct error *err = NULL;
    const char *name;
    while ((name = va_arg(ap, const char *))) {
        const char *value = va_arg(ap, const char *);
        if (err)
            continue;
        if (!strcmp(name, "id"))
            dev->id = xstrdup(value);
        else
            err = device_set(dev, name, value);
    }
    if (!err)
        err = device_realize(dev, NULL, NULL);
    if (err)
        device_free(dev);
    *out = err ? NULL : dev;
    return err;
}

struct device *guest_add(struct guest *g, const struct device_class *cls, ...)
{
    va_list ap;
    struct device *dev;
    va_start(ap, cls);
    must(make(g, cls, ap, &dev));
    va_end(ap);
    return dev;
}

char *guest_refuses(struct guest *g, const struct device_class *cls, ...)
{
    va_list ap;
    struct device *dev;
    va_start(ap, cls);
    struct error *err = make(g, cls, ap, &dev);
    va_end(ap);
    assert(err);
    char *text = xstrdup(error_text(err));
    error_free(err);
    return text;
}

struct guest *guest_with(const struct device_class *cls, ...)
{
    struct guest *g = guest_new();
    va_list ap;
    va_start(ap, cls);
    must(make(g, cls, ap, &g->dev));
    va_end(ap);
    guest_find(g);
    return g;
}

void guest_find(struct guest *g)
{
    g->v = container_of(g->dev, struct virtio_device, dev);
    if (strcmp(g->dev->cls->bus, "pci")) {
        g->mmio = MMIO_AT + 0x1000 * (MMIO_SLOTS - 1);
        return;
    }
    g->devfn = g->v->pci.fn.devfn;
    guest_place_bars(g, g->devfn);
    g->modern = g->v->pci.has_modern ? g->v->pci.fn.bars[4].mapped_at : 0;
    g->legacy = g->v->pci.has_legacy ? g->v->pci.fn.bars[0].mapped_at : 0;
    g->msix = g->v->pci.fn.bars[1].mapped_at;
}

void guest_free(struct guest *g)
{
    board_free(g->b);
    free(g);
}

/* ---- configuration space ------------------------------------------------------------------------ */

uint32_t guest_config_read(struct guest *g, unsigned devfn, unsigned off, unsigned n)
{
    return board_peek(g->b, GUEST_ECAM + (devfn << 12) + off, n);
}

void guest_config_write(struct guest *g, unsigned devfn, unsigned off, unsigned n, uint32_t v)
{
    board_poke(g->b, GUEST_ECAM + (devfn << 12) + off, n, v);
}

unsigned guest_capability(struct guest *g, unsigned devfn, unsigned id, unsigned n)
{
    unsigned at = guest_config_read(g, devfn, PCI_CAP_POINTER, 1);
    for (unsigned steps = 0; at && steps < 64; steps++) {
        if (guest_config_read(g, devfn, at, 1) == id && n-- == 0)
            return at;
        at = guest_config_read(g, devfn, at + 1, 1);
    }
    return 0;
}

void guest_place_bars(struct guest *g, unsigned devfn)
{
    gpa mem = GUEST_MEM + 0x100000 * (devfn >> 3), io = 0x1000 + 0x100 * (devfn >> 3);
    for (unsigned i = 0; i < PCI_N_BARS; i++) {
        unsigned at = PCI_BAR0 + 4 * i;
        guest_config_write(g, devfn, at, 4, 0xffffffff);
        uint32_t mask = guest_config_read(g, devfn, at, 4);
        if (!mask)
            continue;
        if (mask & 1) {
            guest_config_write(g, devfn, at, 4, io);
            io += 0x80;
            continue;
        }
        uint64_t size = -(mask & ~15u) & 0xffffffff;
        mem = align_up(mem, size);
        guest_config_write(g, devfn, at, 4, mem);
        mem += size;
        if (mask & 4)
            guest_config_write(g, devfn, PCI_BAR0 + 4 * ++i, 4, 0);
    }
    guest_config_write(g, devfn, PCI_COMMAND, 2,
                       PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* ---- the driver ----------------------------------------------------------------------------------- */

uint8_t guest_status(struct guest *g)
{
    return g->mmio ? board_peek(g->b, g->mmio + 0x70, 4) : board_peek(g->b, g->modern + 0x14, 1);
}

void guest_set_status(struct guest *g, uint8_t status)
{
    if (g->mmio)
        board_poke(g->b, g->mmio + 0x70, 4, status);
    else
        board_poke(g->b, g->modern + 0x14, 1, status);
}

uint64_t guest_offered(struct guest *g)
{
    gpa select = g->mmio ? g->mmio + 0x14 : g->modern,
        at = g->mmio ? g->mmio + 0x10 : g->modern + 4;
    board_poke(g->b, select, 4, 1);
    uint64_t high = board_peek(g->b, at, 4);
    board_poke(g->b, select, 4, 0);
    return high << 32 | board_peek(g->b, at, 4);
}

void guest_accept(struct guest *g, uint64_t features)
{
    gpa select = g->mmio ? g->mmio + 0x24 : g->modern + 8;
    gpa at = g->mmio ? g->mmio + 0x20 : g->modern + 12;
    for (unsigned i = 0; i < 2; i++) {
        board_poke(g->b, select, 4, i);
        board_poke(g->b, at, 4, features >> 32 * i & 0xffffffff);
    }
}

bool guest_negotiate(struct guest *g, uint64_t features)
{
    guest_set_status(g, 0);
    guest_set_status(g, VIRTIO_ACKNOWLEDGE);
    guest_set_status(g, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    guest_accept(g, features);
    guest_set_status(g, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    return guest_status(g) & VIRTIO_FEATURES_OK;
}

void guest_driver_ok(struct guest *g)
{
    guest_set_status(g, guest_status(g) | VIRTIO_DRIVER_OK);
}

void guest_kick(struct guest *g, unsigned queue)
{
    if (g->mmio)
        board_poke(g->b, g->mmio + 0x50, 4, queue);
    else
        board_poke(g->b, g->modern + 0x3000 + 4 * queue, 2, queue);
}

/* ---- rings ---------------------------------------------------------------------------------------- */

uint64_t guest_alloc(struct guest *g, uint64_t n, uint64_t align)
{
    uint64_t at = align_up(g->next_ram, align);
    g->next_ram = at + n;
    assert(g->next_ram <= BOARD_RAM_SIZE);
    return at;
}

uint16_t guest_ram16(struct guest *g, uint64_t off)
{
    uint8_t le[2];
    board_ram_read(g->b, off, le, 2);
    return load_le(le, 2);
}

void guest_ram16_set(struct guest *g, uint64_t off, uint16_t v)
{
    uint8_t le[2];
    store_le(le, 2, v);
    board_ram_write(g->b, off, le, 2);
}

static void set_address(struct guest *g, gpa at, uint64_t off)
{
    board_poke(g->b, at, 4, (BOARD_RAM + off) & 0xffffffff);
    board_poke(g->b, at + 4, 4, (BOARD_RAM + off) >> 32);
}

void ring_enable(struct ring *r)
{
    struct guest *g = r->g;
    if (g->mmio) {
        board_poke(g->b, g->mmio + 0x30, 4, r->queue);
        board_poke(g->b, g->mmio + 0x38, 4, r->size);
        set_address(g, g->mmio + 0x80, r->desc);
        set_address(g, g->mmio + 0x90, r->driver);
        set_address(g, g->mmio + 0xa0, r->device);
        board_poke(g->b, g->mmio + 0x44, 4, 1);
    } else {
        board_poke(g->b, g->modern + 0x16, 2, r->queue);
        board_poke(g->b, g->modern + 0x18, 2, r->size);
        set_address(g, g->modern + 0x20, r->desc);
        set_address(g, g->modern + 0x28, r->driver);
        set_address(g, g->modern + 0x30, r->device);
        board_poke(g->b, g->modern + 0x1c, 2, 1);
    }
}

struct ring ring_new(struct guest *g, unsigned queue, unsigned size, bool packed)
{
    struct ring r = { .g = g, .queue = queue, .size = size, .packed = packed };
    r.desc = guest_alloc(g, 16 * size, 16);
    r.driver = guest_alloc(g, 6 + 2 * size, 4);
    r.device = guest_alloc(g, 6 + 8 * size, 4);
    r.avail_wrap = r.used_wrap = true;
    ring_enable(&r);
    return r;
}

static void desc_store(struct guest *g, uint64_t off, bool packed, uint64_t addr, uint32_t len,
                       uint16_t flags, uint16_t id)
{
    uint8_t raw[16];
    store_le(raw, 8, addr);
    store_le(raw + 8, 4, len);
    store_le(raw + (packed ? 14 : 12), 2, flags);
    store_le(raw + (packed ? 12 : 14), 2, id);
    board_ram_write(g->b, off, raw, 16);
}

void ring_desc(struct ring *r, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t id)
{
    desc_store(r->g, r->desc + 16 * i, r->packed, addr, len, flags, id);
}

/* A table in RAM with the buffers; its place. */
static uint64_t table_new(struct ring *r, const struct buffer *buffers, unsigned n)
{
    uint64_t at = guest_alloc(r->g, 16 * n, 16);
    for (unsigned i = 0; i < n; i++)
        desc_store(r->g, at + 16 * i, r->packed, BOARD_RAM + buffers[i].at, buffers[i].len,
                   (buffers[i].write ? 2 : 0) | (!r->packed && i + 1 < n ? 1 : 0), i + 1);
    return at;
}

static unsigned free_desc(struct ring *r)
{
    while (r->taken[r->next])
        r->next = (r->next + 1) % r->size;
    unsigned i = r->next;
    r->next = (r->next + 1) % r->size;
    return i;
}

static uint16_t split_add(struct ring *r, const struct buffer *buffers, unsigned n, bool indirect)
{
    unsigned slots[1024] = { 0 }, count = indirect ? 1 : n;
    for (unsigned i = 0; i < count; i++) {
        slots[i] = free_desc(r);
        r->taken[slots[i]] = 1;
    }
    if (indirect)
        ring_desc(r, slots[0], BOARD_RAM + table_new(r, buffers, n), 16 * n, 4, 0);
    for (unsigned i = 0; i < count && !indirect; i++)
        ring_desc(r, slots[i], BOARD_RAM + buffers[i].at, buffers[i].len,
                  (buffers[i].write ? 2 : 0) | (i + 1 < count ? 1 : 0),
                  i + 1 < count ? slots[i + 1] : 0);
    guest_ram16_set(r->g, r->driver + 4 + 2 * (r->avail % r->size), slots[0]);
    guest_ram16_set(r->g, r->driver + 2, ++r->avail);
    return slots[0];
}

static uint16_t packed_flags(bool wrap)
{
    return wrap ? 1 << 7 : 1 << 15;
}

static uint16_t packed_add(struct ring *r, const struct buffer *buffers, unsigned n, bool indirect)
{
    unsigned count = indirect ? 1 : n, first = r->avail;
    while (r->taken[r->next_id])
        r->next_id = (r->next_id + 1) % r->size;
    uint16_t id = r->next_id, first_flags = 0;
    r->next_id = (r->next_id + 1) % r->size;
    r->taken[id] = count;
    for (unsigned i = 0; i < count; i++) {
        uint64_t addr = indirect ? table_new(r, buffers, n) : buffers[i].at;
        uint16_t flags = packed_flags(r->avail_wrap) | (i + 1 < count ? 1 : 0) |
                         (indirect           ? 4
                          : buffers[i].write ? 2
                                             : 0);
        if (i == 0)
            first_flags = flags;
        ring_desc(r, r->avail, BOARD_RAM + addr, indirect ? 16 * n : buffers[i].len,
                  i ? flags : packed_flags(!r->avail_wrap), id);
        if (++r->avail == r->size) {
            r->avail = 0;
            r->avail_wrap = !r->avail_wrap;
        }
    }
    guest_ram16_set(r->g, r->desc + 16 * first + 14, first_flags);
    return id;
}

uint16_t ring_add(struct ring *r, const struct buffer *buffers, unsigned n, bool indirect)
{
    return r->packed ? packed_add(r, buffers, n, indirect) : split_add(r, buffers, n, indirect);
}

static void split_release(struct ring *r, unsigned i)
{
    for (;;) {
        uint16_t flags = guest_ram16(r->g, r->desc + 16 * i + 12);
        assert(r->taken[i]);
        r->taken[i] = 0;
        if (!(flags & 1))
            return;
        i = guest_ram16(r->g, r->desc + 16 * i + 14);
    }
}

static bool split_take(struct ring *r, struct used *out)
{
    uint8_t raw[8];
    if (guest_ram16(r->g, r->device + 2) == r->used)
        return false;
    board_ram_read(r->g->b, r->device + 4 + 8 * (r->used++ % r->size), raw, 8);
    *out = (struct used){ load_le(raw, 4), load_le(raw + 4, 4) };
    split_release(r, out->id);
    return true;
}

static bool packed_take(struct ring *r, struct used *out)
{
    uint8_t raw[16];
    board_ram_read(r->g->b, r->desc + 16 * r->used, raw, 16);
    uint16_t flags = load_le(raw + 14, 2);
    if (!!(flags & 1 << 7) != r->used_wrap || !!(flags & 1 << 15) != r->used_wrap)
        return false;
    *out = (struct used){ load_le(raw + 12, 2), flags & 2 ? load_le(raw + 8, 4) : 0 };
    assert(out->id < r->size && r->taken[out->id]);
    r->used += r->taken[out->id];
    r->taken[out->id] = 0;
    if (r->used >= r->size) {
        r->used -= r->size;
        r->used_wrap = !r->used_wrap;
    }
    return true;
}

bool ring_take(struct ring *r, struct used *out)
{
    return r->packed ? packed_take(r, out) : split_take(r, out);
}
