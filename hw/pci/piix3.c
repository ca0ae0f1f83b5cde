/* PIIX3's bridge to ISA: interrupt routing. Section numbers: 82371SB data sheet. */
#include "hw/pci/isa_bridge.h"

#include "hw/pci/internal.h"

enum { PIRQA_ROUT = 0x60 }; /* 2.2.8 */

static const struct {
    uint8_t off, n;
    uint32_t value, writable;
} registers[] = {
    { 0x4c, 1, 0x4d, 0xff },     /* recovery time of 8-bit I/O */
    { 0x4e, 2, 0x0003, 0x01ff }, /* decode enables */
    { PIRQA_ROUT, 4, 0x80808080, 0x8f8f8f8f },
    { 0x69, 1, 0x02, 0xfe },     /* top of memory */
    { 0x70, 1, 0x80, 0xef },     /* motherboard IRQ */
    { 0x76, 2, 0x0c0c, 0x8f8f }, /* motherboard DMA */
    { 0x78, 1, 0x02, 0xff },     /* programmable chip select */
    { 0x82, 1, 0x00, 0x01 },     /* deterministic latency */
    { 0xa0, 1, 0x08, 0x1f },     /* SMI control */
    { 0xa8, 1, 0x0f, 0xff },     /* fast off timer */
};

/* The slots of a board with this chip begin at 1. */
unsigned piix3_pirq_of(unsigned slot, unsigned pin)
{
    return (slot + 3 + pin) % PIIX3_N_PIRQS;
}

static void update_lines(struct isa_bridge *b)
{
    uint32_t wanted = 0;
    for (unsigned n = 0; n < PIIX3_N_PIRQS; n++)
        if (b->route.levels >> n & 1)
            wanted |= isa_route_bit(b->fn.config[PIRQA_ROUT + n]);
    isa_route_drive(&b->route, wanted);
}

static void piix3_written(struct pci_function *f, unsigned off, unsigned n)
{
    update_lines(container_of(f, struct isa_bridge, fn));
}

static void set_registers(struct isa_bridge *b)
{
    config_set(&b->fn, PCI_STATUS, 2, 0x0200); /* medium DEVSEL# */
    for (size_t i = 0; i < ARRAY_LEN(registers); i++)
        config_field(&b->fn, registers[i].off, registers[i].n, registers[i].value,
                     registers[i].writable);
}

static struct error *piix3_realize(struct device *dev)
{
    struct isa_bridge *b = (struct isa_bridge *)dev;
    static const struct pci_identity identity = {
        .vendor = 0x8086,
        .device = 0x7000,
        .class_code = 0x060100,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
    };
    struct error *err = pci_realize(&b->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    b->update = update_lines;
    b->fn.config_written = piix3_written;
    set_registers(b);
    return NULL;
}

static void piix3_unrealize(struct device *dev)
{
    pci_unrealize(&((struct isa_bridge *)dev)->fn);
}

static void piix3_reset(struct device *dev)
{
    struct isa_bridge *b = (struct isa_bridge *)dev;
    pci_reset(&b->fn);
    set_registers(b);
    update_lines(b);
}

static struct error *piix3_loaded(struct device *dev)
{
    struct isa_bridge *b = (struct isa_bridge *)dev;
    pci_loaded(&b->fn);
    update_lines(b);
    return NULL;
}

static const struct prop piix3_props[] = { PCI_PROPS(struct isa_bridge, fn) };
static const struct field piix3_state[] = {
    FIELD_SUB(struct isa_bridge, fn, pci_function_fields, 1),
    DERIVED(struct isa_bridge, route),
};

const struct device_class piix3_class = {
    .name = "PIIX3",
    .desc = "PIIX3's bridge to ISA devices",
    .bus = "pci",
    .version = 1,
    .size = sizeof(struct isa_bridge),
    .props = TABLE(piix3_props),
    .state = TABLE(piix3_state),
    .realize = piix3_realize,
    .unrealize = piix3_unrealize,
    .reset = piix3_reset,
    .loaded = piix3_loaded,
};
