/* Expansion ROMs (PCI Local Bus 3.0, 6.2.5.2 and 6.3): a file that a BIOS finds behind a register of its own. */
#include "core/error.h"
#include "hw/firmware/loader.h"
#include "hw/pci/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "tandem-config.h"

#define SMALLEST ((uint64_t)4096) /* a page; the specification asks for 2 KiB */
#define LARGEST  (16 * MIB)

static const char *const folders[] = {
    FIRMWARE_FOLDER,
    "/usr/share/seabios",
    "/usr/share/qemu",
    "/usr/share/vgabios",
};

char *pci_rom_find(const char *name)
{
    if (access(name, R_OK) == 0)
        return xstrdup(name);
    for (size_t i = 0; i < ARRAY_LEN(folders) && !strchr(name, '/'); i++) {
        char *path = xasprintf("%s/%s", folders[i], name);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

unsigned pci_rom_register(const struct pci_function *f)
{
    return f->config[PCI_HEADER_TYPE] & 1 ? PCI_ROM_BRIDGE : PCI_ROM;
}

static struct error *read_rom(struct pci_function *f, struct image *img)
{
    uint8_t signature[2];
    uint64_t size = SMALLEST;
    if (img->n < sizeof(signature) || img->n > LARGEST)
        return error_new("it has %" PRIu64 " bytes; an option ROM has 2 bytes to 16 MiB", img->n);
    struct error *err = image_read(img, 0, signature, sizeof(signature));
    if (!err && load_le(signature, 2) != 0xaa55)
        err = error_new("it is no option ROM, which begins with the bytes 55 aa");
    while (size < img->n)
        size *= 2;
    if (!err)
        err = mem_add_ram(f->dev->vm, "pci-rom", size, true, &f->rom.region);
    if (!err)
        err = image_read(img, 0, mem_region_ram(f->rom.region)->host, img->n);
    f->rom.size = size;
    return err;
}

static struct error *open_file(struct pci_function *f, const char *path)
{
    struct image *img;
    struct error *err = image_open("option ROM", path, NULL, LARGEST, &img);
    if (err)
        return error_in(err, "romfile");
    err = read_rom(f, img);
    image_free(img);
    if (err)
        pci_rom_close(f);
    return error_in(err, "romfile '%s'", path);
}

struct error *pci_rom_open(struct pci_function *f, const char *usual)
{
    bool said = f->romfile; /* an empty name: none */
    const char *name = said ? f->romfile : usual;
    if (!name || !*name || !f->rombar)
        return NULL;
    char *path = pci_rom_find(name);
    struct error *err = path || said ? open_file(f, path ? path : name) : NULL;
    free(path);
    return err;
}

void pci_rom_show(struct pci_function *f)
{
    if (f->rom.region)
        config_field(f, pci_rom_register(f), 4, 0, (uint32_t)-f->rom.size | PCI_ROM_ENABLE);
}

void pci_rom_close(struct pci_function *f)
{
    if (f->rom.region)
        mem_free_region(f->rom.region);
    f->rom = (struct pci_bar){ 0 };
}

bool pci_rom_is_register(const struct pci_function *f, unsigned off, unsigned n)
{
    unsigned at = pci_rom_register(f);
    return f->rom.region && off < at + 4 && at < off + n;
}
