/* PVH: an ELF file with a note that names its 32-bit entry. Xen's docs/misc/pvh.pandoc and its public header
 * arch-x86/hvm/start_info.h. */
#include "core/error.h"
#include "hw/machine/x86_boot_kinds.h"

enum { PHYS32_ENTRY = 18 }; /* XEN_ELFNOTE_PHYS32_ENTRY */
enum { START_INFO_SIZE = 56, MODULE_SIZE = 32, RANGE_SIZE = 24, VERSION_WITH_MEMORY_MAP = 1 };
#define START_INFO_MAGIC 0x336ec578

static struct error *check(struct x86_boot *b, bool *is)
{
    uint64_t entry;
    *is = image_elf_note(b->kernel, "Xen", PHYS32_ENTRY, &entry);
    if (*is && entry >= 4 * GIB)
        return error_new("its entry is not below 4 GiB");
    return NULL;
}

static gpa put_module(struct x86_boot *b)
{
    uint8_t module[MODULE_SIZE] = { 0 };
    if (!b->n_modules)
        return 0;
    store_le(module, 8, b->modules[0].image->low);
    store_le(module + 8, 8, b->modules[0].image->n);
    return x86_low_put(b, module, sizeof(module), 8);
}

static gpa put_memory_map(struct x86_boot *b, const struct x86_memory_map *map)
{
    uint8_t ranges[X86_MAX_RANGES * RANGE_SIZE] = { 0 };
    for (unsigned i = 0; i < map->n; i++) {
        uint8_t *r = ranges + i * RANGE_SIZE;
        store_le(r, 8, map->ranges[i].at);
        store_le(r + 8, 8, map->ranges[i].size);
        store_le(r + 16, 4, map->ranges[i].type);
    }
    return x86_low_put(b, ranges, map->n * RANGE_SIZE, 8);
}

static gpa put_start_info(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp)
{
    uint8_t info[START_INFO_SIZE] = { 0 };
    store_le(info, 4, START_INFO_MAGIC);
    store_le(info + 4, 4, VERSION_WITH_MEMORY_MAP);
    store_le(info + 12, 4, b->n_modules);
    store_le(info + 16, 8, put_module(b));
    store_le(info + 24, 8, x86_low_text(b, b->append));
    store_le(info + 32, 8, rsdp);
    store_le(info + 40, 8, put_memory_map(b, map));
    store_le(info + 48, 4, map->n);
    return x86_low_put(b, info, sizeof(info), 8);
}

static struct error *enter(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp)
{
    uint64_t entry;
    if (!image_elf_note(b->kernel, "Xen", PHYS32_ENTRY, &entry))
        return error_new("kernel '%s': it changed while in use", b->kernel->path);
    struct error *err = image_place(b->kernel, 0, 0, b->ram_below);
    if (!err)
        err = x86_place_initrd(b, 4 * GIB);
    b->entry = (struct x86_entry){ .rip = entry, .rbx = put_start_info(b, map, rsdp) };
    return err;
}

const struct x86_kind x86_pvh = {
    .name = "ELF with a PVH note",
    .check = check,
    .enter = enter,
};
