/* Reset control register, port 0xcf9: 82801I (ICH9) data sheet, 13.7.5. It lies inside the PCI configuration
 * ports, which answer accesses that begin at 0xcf8. */
#include "core/device.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/place.h"

enum { SYSTEM_RESET = 1 << 1, RESET_CPU = 1 << 2, FULL_RESET = 1 << 3 };

struct reset_control {
    struct device dev;
    uint32_t iobase;
    struct mem_region *port;
    uint8_t value;
};

static uint64_t control_read(void *opaque, uint64_t off, unsigned size)
{
    struct reset_control *r = opaque;
    device_lock(&r->dev);
    uint8_t value = r->value;
    device_unlock(&r->dev);
    return value;
}

/* A rising bit 2 resets; soft and hard are the same here. */
static void control_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct reset_control *r = opaque;
    device_lock(&r->dev);
    if (value & RESET_CPU && !(r->value & RESET_CPU))
        vm_request_reset(r->dev.vm);
    r->value = value & (SYSTEM_RESET | RESET_CPU | FULL_RESET);
    device_unlock(&r->dev);
}

static const struct mmio_ops control_ops = { control_read, control_write, 1, 1, NULL };

static struct error *control_realize(struct device *dev)
{
    struct reset_control *r = (struct reset_control *)dev;
    r->port = mem_add_mmio(dev->vm, dev->cls->name, 1, &control_ops, r);
    if (r->iobase < NO_PORT)
        mem_map_ports(r->port, (uint16_t)r->iobase, 1);
    return NULL;
}

static void control_unrealize(struct device *dev)
{
    mem_free_region(((struct reset_control *)dev)->port);
}

static void control_reset(struct device *dev)
{
    ((struct reset_control *)dev)->value = 0;
}

static const struct prop control_props[] = {
    PORT_PROP(struct reset_control, iobase, "iobase"),
};

static const struct field control_state[] = {
    FIELD(struct reset_control, value, .valid = SYSTEM_RESET | RESET_CPU | FULL_RESET),
};

const struct device_class reset_control_class = {
    .name = "reset-control",
    .desc = "reset control register",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct reset_control),
    .props = TABLE(control_props),
    .state = TABLE(control_state),
    .realize = control_realize,
    .unrealize = control_unrealize,
    .reset = control_reset,
};
