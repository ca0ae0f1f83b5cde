/* pvpanic: a guest's crash handler tells about it through one I/O port. Facts: QEMU's docs/specs/pvpanic. */
#include "core/device.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/isa.h"
#include "hw/place.h"

enum { PANICKED = 1 << 0, CRASH_LOADED = 1 << 1, SHUT_DOWN = 1 << 2, EVENTS = 7 };

struct pvpanic {
    struct device dev;
    uint32_t iobase;
    struct mem_region *ports;
};

static uint64_t pvpanic_read(void *opaque, uint64_t off, unsigned size)
{
    return EVENTS; /* what is understood */
}

/* A crash kernel that takes over goes on running. */
static void pvpanic_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pvpanic *p = opaque;
    if (value & CRASH_LOADED)
        log_print(&p->dev.vm->log, "the guest panicked; its crash kernel takes over\n");
    else if (value & PANICKED)
        vm_request_end(p->dev.vm, VERDICT_GUEST_PANIC, 0, NULL);
    else if (value & SHUT_DOWN)
        vm_request_end(p->dev.vm, VERDICT_POWERED_OFF, 0, NULL);
}

static const struct mmio_ops pvpanic_ops = { pvpanic_read, pvpanic_write, 1, 1, NULL };

static struct error *pvpanic_realize(struct device *dev)
{
    struct pvpanic *p = (struct pvpanic *)dev;
    struct error *err = isa_check(dev);
    if (err)
        return err;
    p->ports = mem_add_mmio(dev->vm, dev->cls->name, 1, &pvpanic_ops, p);
    place_ports(p->ports, p->iobase);
    return NULL;
}

static void pvpanic_unrealize(struct device *dev)
{
    mem_free_region(((struct pvpanic *)dev)->ports);
}

static const struct prop pvpanic_props[] = {
    PROP(struct pvpanic, iobase, "ioport", PROP_UINT, .def = "0x505", .max = NO_PORT),
};

const struct device_class pvpanic_class = {
    .name = "pvpanic",
    .desc = "tells that the guest panicked",
    .bus = "system",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct pvpanic),
    .props = TABLE(pvpanic_props),
    .realize = pvpanic_realize,
    .unrealize = pvpanic_unrealize,
};
