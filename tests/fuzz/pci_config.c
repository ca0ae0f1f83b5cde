/* Configuration space: a host with root ports and bridges behind each other, devices on three buses, any access, and
 * BARs wherever that puts them; devices that come and go meanwhile. */
#include "../unit/virtio_guest.h"

#include "core/error.h"
#include "hw/pci/bridge.h"
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
    guest_add(g, rng, "bus", "rp2", "id", "h3", NULL);
    guest_add(g, &root_port_class, "id", "rp4", "addr", "2.2", NULL);
    guest_add(g, rng, "bus", "pcie.0", "addr", "3", NULL);
    guest_add(g, &i82801b11_bridge_class, "id", "br1", "addr", "4", NULL);
    guest_add(g, &pci_bridge_class, "id", "br2", "bus", "br1", "addr", "0", "chassis_nr", "1",
              NULL);
    guest_add(g, rng, "bus", "br2", "addr", "0", NULL);
    vm_reset(g->b->vm);
    return g;
}

/* Mostly a function that is there and a register that does something. */
static gpa config_address(struct tape *t)
{
    static const uint8_t devfns[] = { 0x00, 0x10, 0x11, 0x18, 0x12, 0x20 };
    uint8_t kind = tape_u8(t);
    gpa at = GUEST_ECAM + (gpa)(tape_u8(t) % 5) * MIB;
    at += (kind & 1 ? tape_u8(t) : devfns[kind / 2 % 6] & (at == GUEST_ECAM ? 0xff : 0)) << 12;
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

/* Plug into a port, ask for what is there, or let the main loop do what was asked for. */
static void hot_plug(struct guest *g, struct tape *t)
{
    static const char *const classes[] = { "virtio-rng-pci", "virtio-serial-pci" };
    static const char *const ids[] = { "h1", "h2", "h3" };
    static const char *const ports[] = { "rp2", "rp3", "rp4", "pcie.0" };
    static const char *const places[] = { "0.0", "0.1" };
    uint8_t what = tape_u8(t);
    const char *id = ids[what % ARRAY_LEN(ids)];
    struct device *dev = device_find(g->b->vm, id);
    struct error *err = NULL;
    if (what & 0x80)
        board_step(g->b);
    else if (dev)
        err = device_unplug(dev);
    else
        err = device_plug(
            g->b->vm, classes[what >> 2 & 1],
            (const struct prop_value[]){ { "id", id },
                                         { "bus", ports[what >> 3 & 3] },
                                         { "addr", places[what >> 5 & 1] },
                                         { "multifunction", what & 0x40 ? "on" : "off" } },
            4);
    error_free(err);
}

static void step(struct guest *g, struct tape *t)
{
    uint8_t what = tape_u8(t);
    if ((what & 0xf0) == 0xf0) {
        hot_plug(g, t);
        return;
    }
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
