/* The coprocessor's error latch. */
#include "hw/misc/isa_ferr.h"

#include "core/vm.h"
#include "hw/place.h"

struct isa_ferr {
    struct device dev;
    uint32_t iobase;
    struct mem_region *ports;
    struct irq out;
    bool latched;
};

static void set_latch(struct isa_ferr *f, bool latched)
{
    device_lock(&f->dev);
    f->latched = latched;
    irq_set(&f->out, latched);
    device_unlock(&f->dev);
}

void isa_ferr_set(void *dev, bool level)
{
    set_latch(dev, level);
}

struct irq *isa_ferr_output(struct device *dev)
{
    return &((struct isa_ferr *)dev)->out;
}

static uint64_t ferr_read(void *opaque, uint64_t off, unsigned size)
{
    return 0xff;
}

/* Whatever is written. */
static void ferr_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    set_latch(opaque, false);
}

static const struct mmio_ops ferr_ops = { ferr_read, ferr_write, 1, 1, NULL };

static struct error *ferr_realize(struct device *dev)
{
    struct isa_ferr *f = (struct isa_ferr *)dev;
    f->ports = mem_add_mmio(dev->vm, dev->cls->name, 2, &ferr_ops, f);
    place_ports(f->ports, f->iobase);
    return NULL;
}

static void ferr_unrealize(struct device *dev)
{
    mem_free_region(((struct isa_ferr *)dev)->ports);
}

static void ferr_reset(struct device *dev)
{
    struct isa_ferr *f = (struct isa_ferr *)dev;
    f->latched = false;
    irq_set(&f->out, false);
}

static struct error *ferr_loaded(struct device *dev)
{
    struct isa_ferr *f = (struct isa_ferr *)dev;
    irq_set(&f->out, f->latched);
    return NULL;
}

static const struct prop ferr_props[] = {
    PORT_PROP(struct isa_ferr, iobase, "iobase"),
};

static const struct field ferr_state[] = {
    FIELD(struct isa_ferr, latched),
};

const struct device_class isa_ferr_class = {
    .name = "isa-ferr",
    .desc = "x87 exceptions as interrupts",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct isa_ferr),
    .props = TABLE(ferr_props),
    .state = TABLE(ferr_state),
    .realize = ferr_realize,
    .unrealize = ferr_unrealize,
    .reset = ferr_reset,
    .loaded = ferr_loaded,
};
