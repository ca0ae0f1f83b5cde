/* "isa-vga": the standard VGA of a machine without PCI, or beside it. A BIOS gets its ROM by way of fw_cfg. */
#include "core/error.h"
#include "core/vm.h"
#include "hw/display/vga.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/loader.h"
#include "hw/isa.h"
#include "hw/pci/pci.h"
#include "ui/display.h"

#include <stdlib.h>

struct isa_vga {
    struct device dev;
    struct vga vga;
};

#define ROM      "vgabios-isavga.bin"
#define ROM_MOST (64 * KIB)

static void refresh(struct device *dev, struct head *head, bool all)
{
    vga_refresh(&((struct isa_vga *)dev)->vga, all);
}

static const struct head_ops head_ops = { refresh, NULL };

static struct device *find_fw_cfg(struct vm *vm)
{
    struct device *dev = vm->devices;
    while (dev && strcmp(dev->cls->name, "fw_cfg_io") != 0)
        dev = dev->next;
    return dev;
}

static struct error *give_rom(struct device *dev)
{
    struct device *fw = find_fw_cfg(dev->vm);
    char *path = fw ? pci_rom_find(ROM) : NULL;
    struct image *img = NULL;
    if (!path)
        return NULL;
    struct error *err = image_open("option ROM", path, NULL, ROM_MOST, &img);
    uint64_t n = err ? 0 : MIN(img->n, ROM_MOST);
    uint8_t *bytes = xmalloc(MAX(n, 1u));
    if (!err)
        err = image_read(img, 0, bytes, n);
    if (!err)
        err = fw_cfg_add_file(fw, "vgaroms/" ROM, bytes, (uint32_t)n);
    image_free(img);
    free(bytes);
    free(path);
    return err;
}

static struct error *isa_vga_realize(struct device *dev)
{
    struct isa_vga *i = (struct isa_vga *)dev;
    struct error *err = isa_check(dev);
    if (!err)
        err = vga_init(&i->vga, dev, &head_ops, true, true);
    if (err)
        return err;
    err = give_rom(dev);
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
