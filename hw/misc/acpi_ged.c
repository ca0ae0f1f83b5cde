/* Generic event device. */
#include "hw/misc/acpi_ged.h"

#include "core/vm.h"
#include "hw/place.h"

enum { SLEEP_ENABLE = 1 << 5 };

struct acpi_ged {
    struct device dev;
    uint64_t addr;
    struct mem_region *mmio;
    struct irq out;
    uint32_t events;
};

static void power_button(void *opaque)
{
    struct acpi_ged *g = opaque;
    device_lock(&g->dev);
    g->events |= ACPI_GED_POWER_BUTTON;
    irq_set(&g->out, true);
    irq_set(&g->out, false);
    device_unlock(&g->dev);
}

static uint64_t ged_read(void *opaque, uint64_t off, unsigned size)
{
    struct acpi_ged *g = opaque;
    uint32_t events = 0;
    if (off != ACPI_GED_EVENTS || size != 4)
        return 0;
    device_lock(&g->dev);
    events = g->events;
    g->events = 0;
    device_unlock(&g->dev);
    return events;
}

static void go_to_sleep(struct acpi_ged *g, unsigned type)
{
    if (type == ACPI_GED_S5)
        vm_request_end(g->dev.vm, VERDICT_POWERED_OFF, 0, NULL);
    else
        device_broken(&g->dev, "sleep type %u is none of this machine's", type);
}

static void ged_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct acpi_ged *g = opaque;
    device_lock(&g->dev);
    if (off == ACPI_GED_SLEEP && size == 1 && value & SLEEP_ENABLE)
        go_to_sleep(g, value >> 2 & 7);
    else if (off == ACPI_GED_RESET && size == 1 && value == ACPI_GED_RESET_VALUE)
        vm_request_reset(g->dev.vm);
    device_unlock(&g->dev);
}

static const struct mmio_ops ged_ops = { ged_read, ged_write, 1, 4, NULL };

struct irq *acpi_ged_output(struct device *dev)
{
    return &((struct acpi_ged *)dev)->out;
}

static struct error *ged_realize(struct device *dev)
{
    struct acpi_ged *g = (struct acpi_ged *)dev;
    g->mmio = mem_add_mmio(dev->vm, dev->cls->name, ACPI_GED_SIZE, &ged_ops, g);
    place_region(g->mmio, g->addr);
    vm_on_power_button(dev->vm, power_button, g);
    return NULL;
}

static void ged_unrealize(struct device *dev)
{
    struct acpi_ged *g = (struct acpi_ged *)dev;
    vm_forget(dev->vm, g);
    mem_free_region(g->mmio);
}

static void ged_reset(struct device *dev)
{
    ((struct acpi_ged *)dev)->events = 0;
}

static const struct prop ged_props[] = {
    ADDR_PROP(struct acpi_ged),
};

static const struct field ged_state[] = {
    FIELD(struct acpi_ged, events, .valid = ACPI_GED_POWER_BUTTON),
};

const struct device_class acpi_ged_class = {
    .name = "acpi-ged",
    .desc = "power button, sleep and reset of a hardware-reduced ACPI machine",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct acpi_ged),
    .props = TABLE(ged_props),
    .state = TABLE(ged_state),
    .realize = ged_realize,
    .unrealize = ged_unrealize,
    .reset = ged_reset,
};
