#include "hw/display/vga_rom.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/loader.h"
#include "hw/pci/pci.h"

#include <stdlib.h>

#define MOST (64 * KIB)

struct device *vga_rom_fw_cfg(struct vm *vm)
{
    struct device *dev = vm->devices;
    while (dev && strcmp(dev->cls->name, "fw_cfg_io") != 0 &&
           strcmp(dev->cls->name, "fw-cfg-mmio") != 0)
        dev = dev->next;
    return dev;
}

static struct error *give(struct device *fw, const char *name, struct image *img)
{
    uint64_t n = MIN(img->n, MOST);
    uint8_t *bytes = xmalloc(MAX(n, 1u));
    char *file = xasprintf("vgaroms/%s", name);
    struct error *err = image_read(img, 0, bytes, n);
    if (!err)
        err = fw_cfg_add_file(fw, file, bytes, (uint32_t)n);
    free(file);
    free(bytes);
    return err;
}

struct error *vga_rom_give(struct vm *vm, const char *name)
{
    struct device *fw = vga_rom_fw_cfg(vm);
    char *path = fw && !strcmp(fw->cls->name, "fw_cfg_io") ? pci_rom_find(name) : NULL;
    struct image *img = NULL;
    if (!path)
        return NULL;
    struct error *err = image_open("option ROM", path, NULL, MOST, &img);
    if (!err)
        err = give(fw, name, img);
    image_free(img);
    free(path);
    return err;
}
