/* "isa-vga": the standard VGA of a machine without PCI, or beside it. A BIOS gets its ROM by way of fw_cfg. */
#include "core/error.h"
#include "core/vm.h"
#include "hw/display/vga.h"
#include "hw/display/vga_rom.h"
#include "hw/isa.h"
#include "ui/display.h"

struct isa_vga {
    struct device dev;
    struct vga vga;
};

static void refresh(struct device *dev, struct head *head, bool all)
{
    vga_refresh(&((struct isa_vga *)dev)->vga, all);
}

static const struct head_ops head_ops = { refresh, NULL };

static struct error *isa_vga_realize(struct device *dev)
{
    struct isa_vga *i = (struct isa_vga *)dev;
    struct error *err = isa_check(dev);
    if (!err)
        err = vga_init(&i->vga, dev, &head_ops, true, true);
    if (err)
        return err;
    err = vga_rom_give(dev->vm, "vgabios-isavga.bin");
    if (err)
        vga_exit(&i->vga);
    return err;
}

static void isa_vga_unrealize(struct device *dev)
{
    vga_exit(&((struct isa_vga *)dev)->vga);
}

static void isa_vga_reset(struct device *dev)
{
    vga_reset(&((struct isa_vga *)dev)->vga);
}

static struct error *isa_vga_loaded(struct device *dev)
{
    vga_loaded(&((struct isa_vga *)dev)->vga);
    return NULL;
}

static const struct prop isa_vga_props[] = { VGA_PROPS(struct isa_vga, vga) };
static const struct field isa_vga_state[] = { FIELD_SUB(struct isa_vga, vga, vga_fields, 1) };

const struct device_class isa_vga_class = {
    .name = "isa-vga",
    .desc = "standard VGA on ISA",
    .bus = "system",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct isa_vga),
    .props = TABLE(isa_vga_props),
    .state = TABLE(isa_vga_state),
    .realize = isa_vga_realize,
    .unrealize = isa_vga_unrealize,
    .reset = isa_vga_reset,
    .loaded = isa_vga_loaded,
};
