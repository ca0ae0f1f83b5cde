/* Test kit: the guest's side of virtio. A driver that brings up a device over PCI or MMIO and lays out
 * rings in the board's RAM, well or badly as the test wants. */
#pragma once

#include "board.h"
#include "hw/pci/gpex.h"
#include "hw/virtio/core.h"
#include "hw/virtio/virtio_mmio.h"

#define GUEST_ECAM ((gpa)0x30000000)
#define GUEST_MEM  ((gpa)0x40000000)
#define GUEST_PIO  ((gpa)0x03000000)

struct guest {
    struct board *b;
    struct pci_host *host;
    struct device *dev;
    struct virtio_device *v;
    unsigned devfn;                /* PCI, on bus 0 */
    gpa modern, legacy, msix, mmio; /* where the registers are; 0: not there */
    uint64_t next_ram;             /* offset in RAM of what is not used yet */
};

enum { GUEST_PCI, GUEST_MMIO };

/* A board with a PCI host (lines 0 to 3) and eight MMIO slots (lines 8 to 15). */
struct guest *guest_new(void);
struct guest *guest_new_ram(unsigned flags); /* as board_new_ram */
/* The device of this class, properties as in board_with; then BARs are placed and enabled. */
struct guest *guest_with(const struct device_class *cls, ...);
struct device *guest_add(struct guest *g, const struct device_class *cls, ...);
/* g->dev is a virtio device: place its registers. guest_with has done it. */
void guest_find(struct guest *g);
char *guest_refuses(struct guest *g, const struct device_class *cls, ...);
/* Program all BARs of a function on bus 0 and enable it; device_classes or not. */
void guest_place_bars(struct guest *g, unsigned devfn);
void guest_free(struct guest *g);

uint32_t guest_config_read(struct guest *g, unsigned devfn, unsigned off, unsigned n);
void guest_config_write(struct guest *g, unsigned devfn, unsigned off, unsigned n, uint32_t v);
/* Offset of the n-th capability of this id, or 0. */
unsigned guest_capability(struct guest *g, unsigned devfn, unsigned id, unsigned n);

/* The driver; works on whichever transport the device has. */
uint8_t guest_status(struct guest *g);
void guest_set_status(struct guest *g, uint8_t status);
uint64_t guest_offered(struct guest *g);
void guest_accept(struct guest *g, uint64_t features);
/* Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK: true if that bit stayed. */
bool guest_negotiate(struct guest *g, uint64_t features);
void guest_driver_ok(struct guest *g);
void guest_kick(struct guest *g, unsigned queue);

/* ---- rings ------------------------------------------------------------------------------------ */
struct ring {
    struct guest *g;
    unsigned queue, size;
    bool packed;
    uint64_t desc, driver, device; /* offsets in RAM */
    uint16_t avail, used, next;    /* counters; packed: positions */
    bool avail_wrap, used_wrap;
    uint16_t next_id;
    unsigned char taken[1024]; /* by descriptor or id: descriptors of the chain that begins there */
};
struct buffer {
    uint64_t at; /* offset in RAM */
    uint32_t len;
    bool write;
};
struct used {
    uint16_t id;
    uint32_t len;
};

uint64_t guest_alloc(struct guest *g, uint64_t n, uint64_t align);
/* Lay out and enable queue n with `size` entries. */
struct ring ring_new(struct guest *g, unsigned queue, unsigned size, bool packed);
void ring_enable(struct ring *r);
/* Make a chain available: its id. `indirect` puts it in a table. */
uint16_t ring_add(struct ring *r, const struct buffer *buffers, unsigned n, bool indirect);
/* The next used element, if there is one. */
bool ring_take(struct ring *r, struct used *out);
void ring_desc(struct ring *r, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t id);
uint16_t guest_ram16(struct guest *g, uint64_t off);
void guest_ram16_set(struct guest *g, uint64_t off, uint16_t v);
