/* A PC's parallel port with nothing plugged in: drivers find it, and no printer. Class "isa-parallel";
 * "iobase" 0x378. Registers: IBM PC/AT Technical Reference, "Printer Adapter"; the direction bit: PC87312 data
 * sheet, "Parallel Port". */
#include "core/device.h"
#include "core/error.h"
#include "hw/place.h"

enum { DATA = 0, STATUS = 1, CONTROL = 2, N_PORTS = 3 };
enum { NOT_ACKNOWLEDGED = 1 << 6, NO_PAPER = 1 << 5, UNUSED = 7 };
enum { CONTROL_KEPT = 0x3f, CONTROL_INPUT = 1 << 5, CONTROL_UNUSED = 0xc0 };

struct parallel {
    struct device dev;
    uint32_t iobase;
    struct mem_region *ports;
    uint8_t data, control;
};

static uint64_t parallel_read(void *opaque, uint64_t off, unsigned size)
{
    struct parallel *p = opaque;
    uint8_t value;
    device_lock(&p->dev);
    switch (off) {
    case DATA: value = p->control & CONTROL_INPUT ? 0xff : p->data; break;
    case STATUS: value = NOT_ACKNOWLEDGED | NO_PAPER | UNUSED; break;
    default: value = p->control | CONTROL_UNUSED;
    }
    device_unlock(&p->dev);
    return value;
}

static void parallel_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct parallel *p = opaque;
    device_lock(&p->dev);
    if (off == DATA)
        p->data = (uint8_t)value;
    else if (off == CONTROL)
        p->control = value & CONTROL_KEPT;
    device_unlock(&p->dev);
}

static const struct mmio_ops parallel_ops = { parallel_read, parallel_write, 1, 1, NULL };

static struct error *parallel_realize(struct device *dev)
{
    struct parallel *p = (struct parallel *)dev;
    p->ports = mem_add_mmio(dev->vm, dev->cls->name, N_PORTS, &parallel_ops, p);
    place_ports(p->ports, p->iobase);
    return NULL;
}

static void parallel_unrealize(struct device *dev)
{
    mem_free_region(((struct parallel *)dev)->ports);
}

static void parallel_reset(struct device *dev)
{
    struct parallel *p = (struct parallel *)dev;
    p->data = 0;
    p->control = 0x0c;
}

static const struct prop parallel_props[] = {
    PORT_PROP(struct parallel, iobase, "iobase"),
};

static const struct field parallel_state[] = {
    FIELD(struct parallel, data),
    FIELD(struct parallel, control, .valid = CONTROL_KEPT),
};

const struct device_class isa_parallel_class = {
    .name = "isa-parallel",
    .desc = "parallel port without a printer",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct parallel),
    .props = TABLE(parallel_props),
    .state = TABLE(parallel_state),
    .realize = parallel_realize,
    .unrealize = parallel_unrealize,
    .reset = parallel_reset,
};
