/* Linux on x86: bzImage by its boot protocol (Documentation/arch/x86/boot.rst, whose field names are used
 * below; zero-page.rst), and ELF files entered as its "64-bit boot protocol" says. */
#include "core/error.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/linux_rom.h"
#include "hw/machine/x86_boot_kinds.h"

#include <inttypes.h>
#include <stdlib.h>

enum { /* the setup header, by its offset in file and zero page */
       SETUP_SECTS = 0x1f1,
       SYSSIZE = 0x1f4,
       BOOT_FLAG = 0x1fe,
       JUMP_LENGTH = 0x201,
       HEADER = 0x202,
       VERSION = 0x206,
       TYPE_OF_LOADER = 0x210,
       LOADFLAGS = 0x211,
       CODE32_START = 0x214,
       RAMDISK_IMAGE = 0x218,
       RAMDISK_SIZE = 0x21c,
       HEAP_END_PTR = 0x224,
       CMD_LINE_PTR = 0x228,
       INITRD_ADDR_MAX = 0x22c,
       KERNEL_ALIGNMENT = 0x230,
       RELOCATABLE_KERNEL = 0x234,
       XLOADFLAGS = 0x236,
       CMDLINE_SIZE = 0x238,
       PAYLOAD_OFFSET = 0x248,
       PAYLOAD_LENGTH = 0x24c,
       SETUP_DATA = 0x250,
       PREF_ADDRESS = 0x258,
       INIT_SIZE = 0x260,
       HEADER_MOST = 0x290, /* the zero page goes on with other things there */
};
enum { /* the rest of the zero page */
       ACPI_RSDP_ADDR = 0x070,
       E820_ENTRIES = 0x1e8,
       E820_TABLE = 0x2d0,
       E820_ENTRY_SIZE = 20,
       ZERO_PAGE_SIZE = 4096,
};
enum { LOADED_HIGH = 1 << 0, CAN_USE_HEAP = 1 << 7 }; /* loadflags */
enum { XLF_KERNEL_64 = 1 << 0 };
enum { LOADER_UNKNOWN = 0xff };
enum { SETUP_RNG_SEED = 9, SEED_SIZE = 32, SEED_DATA_AT = 16 };
enum { ENTRY_64 = 0x200, HIGH_ADDRESS = 0x100000, OLD_CMDLINE_SIZE = 255, PAGE = 4096 };
#define OLD_INITRD_ADDR_MAX 0x37ffffff
#define BOOT_FLAG_VALUE     0xaa55

/* ---- the header, checked against the file --------------------------------------------------------- */
struct linux_header {
    unsigned version; /* 0x0206: 2.06 */
    uint64_t setup_n; /* bytes of the real-mode part; the protected-mode part is the rest */
    uint64_t initrd_max, cmdline_max, alignment, preferred, init_size;
    bool relocatable, wide;
};

static uint64_t field(struct x86_boot *b, unsigned at, unsigned size)
{
    return x86_kernel_peek(b, at, size);
}

static struct error *check_sizes(struct x86_boot *b, struct linux_header *h)
{
    uint64_t sects = field(b, SETUP_SECTS, 1), n = b->kernel->n;
    h->setup_n = ((sects ? sects : 4) + 1) * 512;
    if (h->setup_n >= n)
        return error_new("it is truncated: %" PRIu64 " bytes, the setup code alone has %" PRIu64, n,
                         h->setup_n);
    uint64_t code_n = field(b, SYSSIZE, h->version >= 0x204 ? 4 : 2) * 16;
    if (code_n > align_up(n - h->setup_n, 16))
        return error_new("it is truncated: it should have %" PRIu64 " bytes, the file has %" PRIu64,
                         h->setup_n + code_n, n);
    uint64_t payload = field(b, PAYLOAD_OFFSET, 4), payload_n = field(b, PAYLOAD_LENGTH, 4);
    if (h->version >= 0x208 && payload + payload_n > n - h->setup_n)
        return error_new("it is truncated: its compressed part ends at byte %" PRIu64
                         ", the file has %" PRIu64,
                         h->setup_n + payload + payload_n, n);
    return NULL;
}

static struct error *check_placement(struct x86_boot *b, struct linux_header *h)
{
    uint64_t code_n = b->kernel->n - h->setup_n;
    h->init_size = MAX(h->version >= 0x20a ? field(b, INIT_SIZE, 4) : 0, code_n);
    h->preferred = h->version >= 0x20a ? field(b, PREF_ADDRESS, 8) : HIGH_ADDRESS;
    h->relocatable = h->version >= 0x205 && field(b, RELOCATABLE_KERNEL, 1);
    h->alignment = h->relocatable ? field(b, KERNEL_ALIGNMENT, 4) : 1;
    h->wide = h->version >= 0x20c && field(b, XLOADFLAGS, 2) & XLF_KERNEL_64;
    h->initrd_max = h->version >= 0x203 ? field(b, INITRD_ADDR_MAX, 4) : OLD_INITRD_ADDR_MAX;
    h->cmdline_max = h->version >= 0x206 ? field(b, CMDLINE_SIZE, 4) : OLD_CMDLINE_SIZE;
    if (!h->alignment || (h->alignment & (h->alignment - 1)))
        return error_new("kernel_alignment %#" PRIx64 " is no power of two", h->alignment);
    if (h->preferred < HIGH_ADDRESS || h->preferred >= 4 * GIB)
        return error_new("pref_address %#" PRIx64 " is not between 1 MiB and 4 GiB", h->preferred);
    if (h->wide && code_n <= ENTRY_64)
        return error_new("it is truncated: its 64-bit entry lies behind its end");
    return NULL;
}

static struct error *read_header(struct x86_boot *b, struct linux_header *h)
{
    h->version = (unsigned)field(b, VERSION, 2);
    if (field(b, BOOT_FLAG, 2) != BOOT_FLAG_VALUE)
        return error_new("boot_flag is %#x instead of 0xaa55", (unsigned)field(b, BOOT_FLAG, 2));
    if (h->version < 0x202)
        return error_new("boot protocol %u.%02u is too old; 2.02 and later are supported",
                         h->version >> 8, h->version & 0xff);
    if (!(field(b, LOADFLAGS, 1) & LOADED_HIGH))
        return error_new(
            "it is a zImage, which is loaded below 1 MiB; only a bzImage is supported");
    struct error *err = check_sizes(b, h);
    return err ? err : check_placement(b, h);
}

static struct error *check_bzimage(struct x86_boot *b, bool *is)
{
    struct linux_header h;
    *is = b->kernel->kind == IMAGE_LINUX;
    return *is ? read_header(b, &h) : NULL;
}

static struct error *check_cmdline(const struct x86_boot *b, const struct linux_header *h)
{
    if (strlen(b->append) <= h->cmdline_max)
        return NULL;
    return error_new("-append: %zu characters; kernel '%s' takes at most %" PRIu64,
                     strlen(b->append), b->kernel->path, h->cmdline_max);
}

/* ---- the zero page ---------------------------------------------------------------------------------- */
/* A setup_data list with one element: random bytes, which x86_boot_place renews. */
static gpa put_seed(struct x86_boot *b)
{
    gpa at = x86_low_alloc(b, SEED_DATA_AT + SEED_SIZE, 16);
    if (!at)
        return 0;
    uint8_t *data = x86_low_bytes(b, at);
    store_le(data + 8, 4, SETUP_RNG_SEED);
    store_le(data + 12, 4, SEED_SIZE);
    b->seed_at = (uint32_t)(at - X86_BOOT_LOW) + SEED_DATA_AT;
    b->n_seed = SEED_SIZE;
    return at;
}

static void put_memory_map(uint8_t *page, const struct x86_memory_map *map)
{
    page[E820_ENTRIES] = (uint8_t)map->n;
    for (unsigned i = 0; i < map->n; i++) {
        uint8_t *e = page + E820_TABLE + i * E820_ENTRY_SIZE;
        store_le(e, 8, map->ranges[i].at);
        store_le(e + 8, 8, map->ranges[i].size);
        store_le(e + 16, 4, map->ranges[i].type);
    }
}

/* What a loader fills in, wherever the header came from. */
static void put_loader_fields(struct x86_boot *b, uint8_t *header, gpa cmdline)
{
    header[TYPE_OF_LOADER] = LOADER_UNKNOWN;
    store_le(header + CMD_LINE_PTR, 4, cmdline);
    if (b->n_modules) {
        store_le(header + RAMDISK_IMAGE, 4, b->modules[0].image->low);
        store_le(header + RAMDISK_SIZE, 4, b->modules[0].image->n);
    }
}

/* In low memory; its address, or 0. The header from the file, or for an ELF file a new one. */
static gpa put_zero_page(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp,
                         bool from_file, struct error **err)
{
    gpa cmdline = x86_low_text(b, b->append), seed = put_seed(b);
    gpa at = x86_low_alloc(b, ZERO_PAGE_SIZE, PAGE);
    if (!at)
        return 0;
    uint8_t *page = x86_low_bytes(b, at);
    if (from_file) {
        uint64_t end = MIN(HEADER + field(b, JUMP_LENGTH, 1), HEADER_MOST);
        *err = image_read(b->kernel, SETUP_SECTS, page + SETUP_SECTS, end - SETUP_SECTS);
    } else {
        store_le(page + BOOT_FLAG, 2, BOOT_FLAG_VALUE);
        memcpy(page + HEADER, "HdrS", 4);
        store_le(page + VERSION, 2, 0x20c);
        page[LOADFLAGS] = LOADED_HIGH;
        store_le(page + KERNEL_ALIGNMENT, 4, 2 * MIB);
    }
    put_loader_fields(b, page, cmdline);
    if (load_le(page + VERSION, 2) >= 0x209)
        store_le(page + SETUP_DATA, 8, seed);
    store_le(page + ACPI_RSDP_ADDR, 8, rsdp);
    put_memory_map(page, map);
    return at;
}

/* ---- entered directly --------------------------------------------------------------------------------- */
/* Where it wants to be, or as low as it may if memory ends before that. */
static gpa choose_place(const struct x86_boot *b, const struct linux_header *h)
{
    bool fits = h->preferred <= b->ram_below && h->init_size <= b->ram_below - h->preferred;
    if (!h->relocatable || (fits && h->preferred % h->alignment == 0))
        return h->preferred;
    return align_up(HIGH_ADDRESS, h->alignment);
}

static struct error *enter_bzimage(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp)
{
    struct linux_header h;
    struct error *err = read_header(b, &h);
    if (!err)
        err = check_cmdline(b, &h);
    if (err)
        return err;
    gpa at = choose_place(b, &h);
    const struct image_part part = { at, h.setup_n, b->kernel->n - h.setup_n, h.init_size };
    err = image_place_part(b->kernel, &part, 0, b->ram_below);
    if (!err)
        err = x86_place_initrd(b, h.initrd_max + 1);
    if (err)
        return err;
    gpa zero_page = put_zero_page(b, map, rsdp, true, &err);
    b->entry =
        (struct x86_entry){ .rip = h.wide ? at + ENTRY_64 : at, .rsi = zero_page, .wide = h.wide };
    if (zero_page)
        store_le(x86_low_bytes(b, zero_page) + CODE32_START, 4, at);
    return err;
}

static struct error *check_elf64(struct x86_boot *b, bool *is)
{
    *is = b->kernel->kind == IMAGE_ELF && !b->kernel->is_32bit;
    return NULL;
}

static struct error *enter_elf64(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp)
{
    struct error *err = image_place(b->kernel, 0, 0, b->ram_below);
    if (!err)
        err = x86_place_initrd(b, 4 * GIB);
    if (err)
        return err;
    gpa zero_page = put_zero_page(b, map, rsdp, false, &err);
    b->entry = (struct x86_entry){ .rip = b->kernel->entry, .rsi = zero_page, .wide = true };
    return err;
}

/* ---- by firmware ------------------------------------------------------------------------------------------ */
/* Where the option ROM puts things: real-mode code with its stack and heap, the command line, and high up
 * the rest. The BIOS keeps tables of its own at the end of memory. */
enum {
    REAL_MODE_AT = 0x10000,
    REAL_MODE_MOST = 0x9000,
    CMDLINE_AT = 0x20000,
    CMDLINE_MOST = 0x10000,
    BIOS_ROOM = 1024 * 1024
};

static struct error *offer_bytes(struct device *fw_cfg, uint16_t size_key, uint16_t data_key,
                                 struct image *img, uint64_t off, uint64_t n)
{
    uint8_t *bytes = n <= UINT32_MAX ? malloc(MAX(n, 1)) : NULL;
    struct error *err = bytes ? image_read(img, off, bytes, n)
                              : error_new("it is too large to be offered to firmware");
    if (!err) {
        fw_cfg_add_u32(fw_cfg, size_key, (uint32_t)n);
        fw_cfg_add(fw_cfg, data_key, bytes, (uint32_t)n);
    }
    free(bytes);
    return error_in(err, "%s '%s'", img->role, img->path);
}

/* The real-mode part, its header filled in for the option ROM. */
static struct error *offer_setup(struct x86_boot *b, const struct linux_header *h,
                                 struct device *fw_cfg)
{
    uint8_t *setup = xcalloc(1, h->setup_n);
    struct error *err = image_read(b->kernel, 0, setup, h->setup_n);
    if (!err) {
        put_loader_fields(b, setup, CMDLINE_AT);
        setup[LOADFLAGS] |= CAN_USE_HEAP;
        store_le(setup + HEAP_END_PTR, 2, LINUX_ROM_STACK - 0x200);
        fw_cfg_add_u32(fw_cfg, FW_CFG_SETUP_ADDR, REAL_MODE_AT);
        fw_cfg_add_u32(fw_cfg, FW_CFG_SETUP_SIZE, (uint32_t)h->setup_n);
        fw_cfg_add(fw_cfg, FW_CFG_SETUP_DATA, setup, (uint32_t)h->setup_n);
    }
    free(setup);
    return err;
}

static struct error *offer_rom(struct device *fw_cfg)
{
    uint8_t rom[LINUX_ROM_SIZE];
    linux_rom_make(rom);
    return fw_cfg_add_file(fw_cfg, LINUX_ROM_NAME, rom, sizeof(rom));
}

static struct error *offer_bzimage(struct x86_boot *b, struct device *fw_cfg)
{
    struct linux_header h;
    uint32_t cmdline_n = (uint32_t)strlen(b->append) + 1;
    struct error *err = read_header(b, &h);
    if (!err)
        err = check_cmdline(b, &h);
    if (err)
        return err;
    if (h.setup_n > REAL_MODE_MOST || cmdline_n > CMDLINE_MOST)
        return error_new("kernel '%s': its setup code or command line is too long for firmware",
                         b->kernel->path);
    const struct image_part part = { HIGH_ADDRESS, h.setup_n, b->kernel->n - h.setup_n,
                                     h.init_size };
    err = image_place_part(b->kernel, &part, 0, b->ram_below);
    if (!err)
        err =
            x86_place_initrd(b, MIN(h.initrd_max + 1, b->ram_below - MIN(b->ram_below, BIOS_ROOM)));
    if (!err)
        err = offer_setup(b, &h, fw_cfg);
    if (!err)
        err = offer_bytes(fw_cfg, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, b->kernel, h.setup_n,
                          b->kernel->n - h.setup_n);
    if (!err && b->n_modules)
        err = offer_bytes(fw_cfg, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA, b->modules[0].image, 0,
                          b->modules[0].image->n);
    if (err)
        return err;
    fw_cfg_add_u32(fw_cfg, FW_CFG_KERNEL_ADDR, HIGH_ADDRESS);
    fw_cfg_add_u32(fw_cfg, FW_CFG_CMDLINE_ADDR, CMDLINE_AT);
    fw_cfg_add_u32(fw_cfg, FW_CFG_CMDLINE_SIZE, cmdline_n);
    fw_cfg_add(fw_cfg, FW_CFG_CMDLINE_DATA, b->append, cmdline_n);
    if (b->n_modules)
        fw_cfg_add_u32(fw_cfg, FW_CFG_INITRD_ADDR, (uint32_t)b->modules[0].image->low);
    return offer_rom(fw_cfg);
}

const struct x86_kind x86_linux = {
    .name = "Linux bzImage",
    .check = check_bzimage,
    .enter = enter_bzimage,
    .offer = offer_bzimage,
};

const struct x86_kind x86_elf64 = {
    .name = "64-bit ELF",
    .check = check_elf64,
    .enter = enter_elf64,
};
