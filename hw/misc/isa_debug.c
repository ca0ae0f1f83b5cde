/* Small ports that firmware and test programs talk to: a debug console (what is written goes to a back end,
 * reading gives a signature), and an exit with a code. Both as QEMU has them: "isa-debugcon" and
 * "isa-debug-exit". */
#include "core/chardev.h"
#include "core/device.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/isa.h"
#include "hw/place.h"

/* ---- isa-debugcon ----------------------------------------------------------------------------- */

struct debugcon {
    struct device dev;
    uint32_t iobase, signature;
    struct chardev *chardev;
    struct mem_region *ports;
};

static uint64_t debugcon_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct debugcon *)opaque)->signature;
}

static void debugcon_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct debugcon *d = opaque;
    uint8_t byte = (uint8_t)value;
    if (d->chardev)
        chardev_write(d->chardev, &byte, 1);
}

static const struct mmio_ops debugcon_ops = { debugcon_read, debugcon_write, 1, 1, NULL };

static struct error *debugcon_realize(struct device *dev)
{
    struct debugcon *d = (struct debugcon *)dev;
    struct error *err = isa_check(dev);
    if (err)
        return err;
    d->ports = mem_add_mmio(dev->vm, dev->cls->name, 1, &debugcon_ops, d);
    place_ports(d->ports, d->iobase);
    return NULL;
}

static void debugcon_unrealize(struct device *dev)
{
    mem_free_region(((struct debugcon *)dev)->ports);
}

static const struct prop debugcon_props[] = {
    PROP(struct debugcon, iobase, "iobase", PROP_UINT, .def = "0xe9", .max = NO_PORT,
         .help = "I/O port; firmware writes to 0x402"),
    PROP(struct debugcon, signature, "readback", PROP_UINT, .def = "0xe9", .max = 0xff,
         .help = "what reading gives"),
    PROP(struct debugcon, chardev, "chardev", PROP_CHARDEV, .help = "where it goes"),
};

const struct device_class isa_debugcon_class = {
    .name = "isa-debugcon",
    .desc = "debug console at an I/O port",
    .bus = "system",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct debugcon),
    .props = TABLE(debugcon_props),
    .realize = debugcon_realize,
    .unrealize = debugcon_unrealize,
};

/* ---- isa-debug-exit --------------------------------------------------------------------------- */
enum { EXIT_PORTS_MOST = 8 };

struct debug_exit {
    struct device dev;
    uint32_t iobase, iosize;
    struct mem_region *ports;
};

static uint64_t exit_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

/* The exit status is odd, so that it cannot be taken for success. */
static void exit_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct debug_exit *d = opaque;
    vm_request_end(d->dev.vm, VERDICT_GUEST_EXIT, (int)(value << 1 & 0xff) | 1, NULL);
}

static const struct mmio_ops exit_ops = { exit_read, exit_write, 1, 4, NULL };

static struct error *exit_realize(struct device *dev)
{
    struct debug_exit *d = (struct debug_exit *)dev;
    struct error *err = isa_check(dev);
    if (err)
        return err;
    d->ports = mem_add_mmio(dev->vm, dev->cls->name, d->iosize, &exit_ops, d);
    place_ports(d->ports, d->iobase);
    return NULL;
}

static void exit_unrealize(struct device *dev)
{
    mem_free_region(((struct debug_exit *)dev)->ports);
}

static const struct prop exit_props[] = {
    PROP(struct debug_exit, iobase, "iobase", PROP_UINT, .def = "0x501", .max = NO_PORT),
    PROP(struct debug_exit, iosize, "iosize", PROP_UINT, .def = "2", .min = 1,
         .max = EXIT_PORTS_MOST, .help = "number of ports"),
};

const struct device_class isa_debug_exit_class = {
    .name = "isa-debug-exit",
    .desc = "ends the run: writing n exits with 2n + 1",
    .bus = "system",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct debug_exit),
    .props = TABLE(exit_props),
    .realize = exit_realize,
    .unrealize = exit_unrealize,
};
