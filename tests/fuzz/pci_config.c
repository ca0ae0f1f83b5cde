/* Configuration space: a host with root ports behind each other, devices on three buses, any access, and
 * BARs wherever that puts them. */
#include "../unit/virtio_guest.h"

#include "hw/pci/root_port.h"
#include "tape.h"

#include <stdlib.h>

enum { MAX_STEPS = 600 };

static struct guest *world_new(void)
{
    struct guest *g = guest_new();
    guest_add(g, &root_port_class, "id", "rp1", "addr", "2", "multifunction", "on", NULL);
    guest_add(g, &root_port_class, "id", "rp2", "addr", "2.1", NULL);
    guest_add(g, &root_port_class, "id", "rp3", "bus", "rp1", NULL);
    const struct device_class *rng = device_class_find("virtio-rng-pci");
    if (!rng)
        abort();
    guest_add(g, rng, "bus", "rp3", NULL);
    guest_add(g, rng, "bus", "rp2", NULL);
    guest_add(g, rng, "bus", "pcie.0", "addr", "3", NULL);
    return g;
}

/* Mostly a function that is there and a register that does something. */
static gpa config_address(struct tape *t)
{
    static const uint8_t devfns[] = { 0x00, 0x10, 0x11, 0x18 };
    uint8_t kind = tape_u8(t);
    gpa at = GUEST_ECAM + (gpa)(tape_u8(t) % 5) * MIB;
    at += (kind & 1 ? tape_u8(t) : devfns[kind / 2 % 4] & (at == GUEST_ECAM ? 0xff : 0)) << 12;
    return at + (kind & 128 ? tape_u16(t) % 4096 : tape_u8(t));
}

static gpa window_address(struct tape *t)
{
    switch (tape_u8(t) % 4) {
    case 0: return GUEST_PIO + tape_u16(t);
    case 1: return 16 * GIB + tape_u32(t);
    default: return GUEST_MEM + tape_u32(t) % GIB;
    }
}

static void step(struct guest *g, struct tape *t)
{
    uint8_t what = tape_u8(t);
    unsigned size = 1 << tape_u8(t) % 4;
    gpa at = what & 8 ? window_address(t) : config_address(t);
    switch (what % 8) {
    case 0: board_peek(g->b, at, size); break;
    case 1: guest_place_bars(g, 3 << 3); break;
    case 2: board_advance_ns(g->b, tape_u32(t)); break;
    case 3: board_poke(g->b, at, size, tape_u8(t) & 1 ? ~0ull : GUEST_MEM | tape_u32(t)); break;
    default: board_poke(g->b, at, size, tape_u64(t));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct guest *g = world_new();
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(g, &t);
    board_check(g->b);
    vm_reset(g->b->vm);
    board_check(g->b);
    guest_free(g);
    return 0;
}
