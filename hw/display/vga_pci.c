/* Graphics cards that Bochs' and QEMU's drivers know, 1234:1111: "VGA", the same without what a second one cannot
 * have ("secondary-vga"), and "bochs-display", which has DISPI's modes alone. */
#include "core/error.h"
#include "hw/display/vga_bars.h"
#include "ui/display.h"

struct vga_pci {
    struct device dev;
    struct pci_function fn;
    uint64_t vgamem; /* bochs-display's own property for its memory */
    struct vga_bars bars;
};

/* What a class is; its bus_class. */
struct card {
    bool has_planes, legacy;
    struct pci_identity identity;
};

#define IDENTITY(class_, rom_)                                                               \
    {                                                                                        \
        .vendor = 0x1234, .device = 0x1111, .subsystem_vendor = 0x1af4, .subsystem = 0x1100, \
        .class_code = (class_), .revision = 2, .rom = (rom_)                                 \
    }
static const struct card vga_card = { true, true, IDENTITY(0x030000, "vgabios-stdvga.bin") };
static const struct card secondary_card = { true, false, IDENTITY(0x038000, NULL) };
static const struct card bochs_card = { false, false,
                                        IDENTITY(0x038000, "vgabios-bochs-display.bin") };

static void refresh(struct device *dev, struct head *head, bool all)
{
    vga_refresh(&((struct vga_pci *)dev)->bars.vga, all);
}

static const struct head_ops head_ops = { refresh, NULL };

static struct error *vga_pci_realize(struct device *dev)
{
    struct vga_pci *p = (struct vga_pci *)dev;
    const struct card *card = dev->cls->bus_class;
    struct error *err = pci_realize(&p->fn, dev, dev->bus, &card->identity);
    if (err)
        return err;
    if (p->vgamem)
        p->bars.vga.vram_mb = (uint32_t)(p->vgamem / MIB);
    err = vga_bars_add(&p->bars, dev, &p->fn, &head_ops, card->has_planes,
                       card->legacy && vga_has_legacy(&p->fn));
    if (err)
        pci_unrealize(&p->fn);
    return err;
}

static void vga_pci_unrealize(struct device *dev)
{
    struct vga_pci *p = (struct vga_pci *)dev;
    vga_bars_remove(&p->bars);
    pci_unrealize(&p->fn);
}

static void vga_pci_reset(struct device *dev)
{
    struct vga_pci *p = (struct vga_pci *)dev;
    pci_reset(&p->fn);
    vga_reset(&p->bars.vga);
}

static struct error *vga_pci_loaded(struct device *dev)
{
    struct vga_pci *p = (struct vga_pci *)dev;
    pci_loaded(&p->fn);
    vga_loaded(&p->bars.vga);
    return NULL;
}

static const struct prop vga_pci_props[] = {
    PCI_PROPS(struct vga_pci, fn),
    VGA_BARS_PROPS(struct vga_pci, bars),
};

static const struct prop bochs_props[] = {
    PCI_PROPS(struct vga_pci, fn),
    VGA_BARS_PROPS(struct vga_pci, bars),
    PROP(struct vga_pci, vgamem, "vgamem", PROP_SIZE, .def = "0", .max = 256 * MIB,
         .help = "framebuffer, instead of vgamem_mb"),
};

static const struct field vga_pci_state[] = {
    FIELD_SUB(struct vga_pci, fn, pci_function_fields, 1),
    VGA_BARS_STATE(struct vga_pci, bars),
};

#define CARD(id_, name_, desc_, card_, props_) \
    const struct device_class id_ = {          \
        .name = name_,                         \
        .desc = desc_,                         \
        .bus = "pci",                          \
        .version = 1,                          \
        .user_creatable = true,                \
        .size = sizeof(struct vga_pci),        \
        .props = TABLE(props_),                \
        .state = TABLE(vga_pci_state),         \
        .bus_class = &(card_),                 \
        .realize = vga_pci_realize,            \
        .unrealize = vga_pci_unrealize,        \
        .reset = vga_pci_reset,                \
        .loaded = vga_pci_loaded,              \
    }
CARD(vga_class, "VGA", "standard VGA with Bochs' modes", vga_card, vga_pci_props);
CARD(secondary_vga_class, "secondary-vga", "standard VGA without ports, beside another",
     secondary_card, vga_pci_props);
CARD(bochs_display_class, "bochs-display", "framebuffer with Bochs' modes, no VGA", bochs_card,
     bochs_props);
