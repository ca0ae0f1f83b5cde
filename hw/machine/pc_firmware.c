/* A PC's firmware: one or two flash chips or a file, whose end is at 4 GiB and once more at 1 MiB. */
#include "hw/machine/pc.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/firmware/loader.h"
#include "hw/storage/cfi_flash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tandem-config.h"

enum { UNIT = 64 * 1024, ISA_PART = 128 * 1024 };
#define USUAL_MOST (8 * MIB)
#define END        (4 * GIB)
/* Over the hole that the host bridge shows, under its shadows. */
enum { ISA_PRIORITY = 2 };

static const char *const bios_paths[] = {
    TANDEM_DATADIR "/bios-256k.bin",
    "/usr/share/seabios/bios-256k.bin",
    "/usr/share/qemu/bios-256k.bin",
};
/* A file without a path that is not here is looked for where firmware lives. */
static const char *const folders[] = {
    TANDEM_DATADIR, "/usr/share/seabios", "/usr/share/qemu", "/usr/share/ovmf", "/usr/share/OVMF",
};

static char *find_bios(const char *name)
{
    if (!name || !strcmp(name, "default")) {
        for (size_t i = 0; i < ARRAY_LEN(bios_paths); i++)
            if (access(bios_paths[i], R_OK) == 0)
                return xstrdup(bios_paths[i]);
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(folders) && !strchr(name, '/') && access(name, F_OK); i++) {
        char *path = xasprintf("%s/%s", folders[i], name);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return xstrdup(name);
}

bool pc_has_bios(void)
{
    char *path = find_bios(NULL);
    free(path);
    return path != NULL;
}

static uint64_t most_of(const struct pc *pc)
{
    return pc->max_firmware ? pc->max_firmware : USUAL_MOST;
}

/* The end of it once more, where 16-bit code finds it. */
static void show_below_1m(struct pc *pc, struct mem_region *of, uint64_t size)
{
    uint64_t part = MIN(size, ISA_PART);
    pc->isa_bios = mem_add_alias(pc->m.vm, "isa-bios", of, size - part, part, true);
    mem_map(pc->isa_bios, MIB - part, ISA_PRIORITY);
}

/* An EFI firmware volume has its signature here (PI 1.8, volume 3, 3.2.1). Which firmware it is decides where power
 * management will be, which the tables have to say. */
static bool is_efi(struct mem_region *of)
{
    enum { STEP = 4096, SIGNATURE_AT = 40 };
    const struct ram_block *rom = mem_region_ram(of);
    for (uint64_t at = 0; at + STEP <= rom->size; at += STEP)
        if (!memcmp(rom->host + at + SIGNATURE_AT, "_FVH", 4))
            return true;
    return false;
}

/* ---- a file -------------------------------------------------------------------------------------- */
static struct error *load_file(struct pc *pc, const char *path)
{
    struct image *img;
    struct error *err = image_open("firmware", path, NULL, most_of(pc), &img);
    if (err)
        return error_in(err, "-bios");
    uint64_t n = img->n;
    if (n % UNIT || n > most_of(pc))
        err = error_new("-bios '%s': %" PRIu64 " bytes are not a multiple of 64 KiB up to %" PRIu64
                        " MiB (-M max-fw-size=)",
                        path, n, most_of(pc) / MIB);
    if (!err)
        err = mem_add_ram(pc->m.vm, "pc.bios", n, true, &pc->firmware);
    if (!err)
        err = image_read(img, 0, mem_region_ram(pc->firmware)->host, n);
    image_free(img);
    if (err)
        return err;
    pc->is_efi = is_efi(pc->firmware);
    mem_map(pc->firmware, END - n, 0);
    show_below_1m(pc, pc->firmware, n);
    return NULL;
}

static struct error *make_bios(struct pc *pc)
{
    if (pc->bios && !strcmp(pc->bios, "none"))
        return error_new("-bios none: machine '%s' starts by firmware; -M microvm does without",
                         pc->m.name);
    char *path = find_bios(pc->bios);
    struct error *err =
        path ? load_file(pc, path)
             : error_new("there is no SeaBIOS at '%s' (package seabios); give -bios FILE",
                         bios_paths[1]);
    free(path);
    return err;
}

/* ---- flash chips ----------------------------------------------------------------------------------- */
/* The first ends at 4 GiB, the second below it. */
static struct error *make_flash(struct pc *pc, const char *const drives[PC_N_FLASH])
{
    static const char *const names[PC_N_FLASH] = { "system.flash0", "system.flash1" };
    uint64_t total = 0;
    for (unsigned i = 0; i < PC_N_FLASH && drives[i]; i++) {
        struct error *err = PC_MAKE(pc, "cfi.pflash01", &pc->flash[i], "name", names[i], "drive",
                                    drives[i], "size", "0", "block", "4K", "width", "1");
        if (err)
            return error_in(err, "-drive if=pflash: flash chip %u", i);
        uint64_t size = cfi_flash_size(pc->flash[i]);
        total += size;
        if (total > most_of(pc))
            return error_new("-drive if=pflash: chips of %" PRIu64 " KiB: at most %" PRIu64
                             " MiB are possible (-M max-fw-size=)",
                             total / KIB, most_of(pc) / MIB);
        cfi_flash_map(pc->flash[i], END - total);
        if (i > 0)
            continue;
        pc->is_efi = is_efi(cfi_flash_region(pc->flash[i]));
        show_below_1m(pc, cfi_flash_region(pc->flash[i]), size);
    }
    return NULL;
}

struct error *pc_make_firmware(struct pc *pc, const struct machine_options *o)
{
    const char *drives[PC_N_FLASH];
    for (unsigned i = 0; i < PC_N_FLASH; i++) {
        drives[i] = pc->pflash[i] ? pc->pflash[i] : o->pflash[i];
        if (pc->pflash[i] && o->pflash[i])
            return error_new("-M pflash%u=%s: flash chip %u has a drive already", i, pc->pflash[i],
                             i);
    }
    if (drives[1] && !drives[0])
        return error_new("-drive if=pflash: chip 1 is given, chip 0 (where the code is) is not");
    if (drives[0] && pc->bios)
        return error_new("-bios and flash chips cannot both be the firmware");
    return drives[0] ? make_flash(pc, drives) : make_bios(pc);
}
