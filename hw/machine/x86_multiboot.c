/* Multiboot 1 (GNU Multiboot Specification 0.6.96) and 2 (2.0): a header in the kernel file says what it
 * needs; it is entered in 32-bit mode with the address of a description of the machine. Section numbers are
 * those of the specification that the code around is about. */
#include "core/error.h"
#include "hw/machine/x86_boot_kinds.h"

#include <inttypes.h>
#include <stdlib.h>

/* Where a flat file says it goes (1: 3.1.3, 2: 3.1.5); all zero when the file's ELF headers say it. */
struct multiboot_flat {
    uint64_t header_off; /* in the file */
    uint64_t header, load, load_end, bss_end, entry;
    bool given;
};

/* ---- placing ---------------------------------------------------------------------------------------- */
static struct error *flat_part(struct x86_boot *b, const struct multiboot_flat *f,
                               struct image_part *part)
{
    uint64_t before = f->header - f->load;
    if (f->header < f->load || before > f->header_off)
        return error_new("its load address %#" PRIx64 " and header address %#" PRIx64
                         " do not fit the header's place in the file, byte %" PRIu64,
                         f->load, f->header, f->header_off);
    uint64_t off = f->header_off - before, n = b->kernel->n - off;
    if (f->load_end) {
        if (f->load_end < f->load || f->load_end - f->load > n)
            return error_new("it is truncated: its load end address %#" PRIx64
                             " lies behind the file's %" PRIu64 " bytes",
                             f->load_end, b->kernel->n);
        n = f->load_end - f->load;
    }
    if (f->bss_end && f->bss_end < f->load)
        return error_new("its bss end address %#" PRIx64 " lies before its load address %#" PRIx64,
                         f->bss_end, f->load);
    *part = (struct image_part){ f->load, off, n, MAX(n, f->bss_end ? f->bss_end - f->load : 0) };
    return NULL;
}

static struct error *place_kernel(struct x86_boot *b, const struct multiboot_flat *f)
{
    struct image_part part;
    if (!f->given) {
        if (b->kernel->kind != IMAGE_ELF)
            return error_new("kernel '%s': it is no ELF file and its Multiboot header has no load "
                             "address",
                             b->kernel->path);
        return image_place(b->kernel, 0, 0, b->ram_below);
    }
    struct error *err = error_in(flat_part(b, f, &part), "kernel '%s'", b->kernel->path);
    if (err)
        return err;
    b->kernel->entry = f->entry;
    return image_place_part(b->kernel, &part, 0, b->ram_below);
}

static struct error *place_all(struct x86_boot *b, const struct multiboot_flat *f)
{
    struct error *err = place_kernel(b, f);
    if (!err && b->kernel->entry >= 4 * GIB)
        err = error_new("kernel '%s': its entry is not below 4 GiB", b->kernel->path);
    return err ? err : x86_place_modules(b);
}

/* Memory below 1 MiB and from there to the first hole, in KiB. */
static void basic_memory(const struct x86_memory_map *map, uint32_t *lower, uint32_t *upper)
{
    *lower = X86_LOW_RAM_END / 1024;
    *upper = 0;
    for (unsigned i = 0; i < map->n; i++)
        if (map->ranges[i].at == MIB && map->ranges[i].type == X86_MEMORY_RAM)
            *upper = (uint32_t)(map->ranges[i].size / 1024);
}

/* The kernel's command line starts with its name. */
static char *command_line(const struct x86_boot *b)
{
    return *b->append ? xasprintf("%s %s", b->kernel->path, b->append) : xstrdup(b->kernel->path);
}

/* The header's place: at multiples of `align` in the first `most` bytes, `words` of which sum to zero. */
static bool find_header(struct x86_boot *b, uint32_t magic, unsigned most, unsigned align,
                        unsigned words, uint64_t *at)
{
    uint8_t *head = xcalloc(1, most);
    struct error *err = image_read(b->kernel, 0, head, MIN(b->kernel->n, most));
    bool found = false;
    for (unsigned i = 0; !err && !found && i + 4 * words <= MIN(b->kernel->n, most); i += align) {
        uint32_t sum = 0;
        for (unsigned w = 0; w < words; w++)
            sum += (uint32_t)load_le(head + i + 4 * w, 4);
        found = load_le(head + i, 4) == magic && sum == 0;
        *at = i;
    }
    error_free(err);
    free(head);
    return found;
}

/* ---- Multiboot 1 -------------------------------------------------------------------------------------- */
#define MB1_HEADER_MAGIC 0x1badb002
#define MB1_MAGIC        0x2badb002
enum { MB1_SEARCH = 8192, MB1_INFO_SIZE = 116, MB1_MODULE_SIZE = 16, MB1_RANGE_SIZE = 24 };
enum { /* 3.1.2 */
       MB1_ALIGN = 1 << 0,
       MB1_MEMORY = 1 << 1,
       MB1_VIDEO = 1 << 2,
       MB1_REQUIRED = 0xffff,
       MB1_FLAT = 1 << 16,
};
enum { /* 3.3: what the information has */
       MB1_HAS_MEMORY = 1 << 0,
       MB1_HAS_CMDLINE = 1 << 2,
       MB1_HAS_MODULES = 1 << 3,
       MB1_HAS_MAP = 1 << 6,
       MB1_HAS_LOADER = 1 << 9,
};

static bool mb1_read(struct x86_boot *b, uint32_t *flags, struct multiboot_flat *f)
{
    uint64_t at;
    if (!find_header(b, MB1_HEADER_MAGIC, MB1_SEARCH, 4, 3, &at))
        return false;
    *flags = (uint32_t)x86_kernel_peek(b, at + 4, 4);
    *f = (struct multiboot_flat){ .header_off = at, .given = *flags & MB1_FLAT };
    if (f->given) {
        f->header = x86_kernel_peek(b, at + 12, 4);
        f->load = x86_kernel_peek(b, at + 16, 4);
        f->load_end = x86_kernel_peek(b, at + 20, 4);
        f->bss_end = x86_kernel_peek(b, at + 24, 4);
        f->entry = x86_kernel_peek(b, at + 28, 4);
    }
    return true;
}

static struct error *mb1_check(struct x86_boot *b, bool *is)
{
    struct multiboot_flat f;
    uint32_t flags;
    *is = mb1_read(b, &flags, &f);
    if (*is && flags & MB1_REQUIRED & ~(MB1_ALIGN | MB1_MEMORY | MB1_VIDEO))
        return error_new("its header requires what is not known, flags %#" PRIx32, flags);
    return NULL;
}

static gpa mb1_put_modules(struct x86_boot *b)
{
    uint8_t list[X86_MAX_MODULES * MB1_MODULE_SIZE] = { 0 };
    for (unsigned i = 0; i < b->n_modules; i++) {
        uint8_t *m = list + i * MB1_MODULE_SIZE;
        store_le(m, 4, b->modules[i].image->low);
        store_le(m + 4, 4, b->modules[i].image->high);
        store_le(m + 8, 4, x86_low_text(b, b->modules[i].text));
    }
    return x86_low_put(b, list, b->n_modules * MB1_MODULE_SIZE, 16);
}

static gpa mb1_put_map(struct x86_boot *b, const struct x86_memory_map *map)
{
    uint8_t list[X86_MAX_RANGES * MB1_RANGE_SIZE] = { 0 };
    for (unsigned i = 0; i < map->n; i++) {
        uint8_t *r = list + i * MB1_RANGE_SIZE;
        store_le(r, 4, MB1_RANGE_SIZE - 4);
        store_le(r + 4, 8, map->ranges[i].at);
        store_le(r + 12, 8, map->ranges[i].size);
        store_le(r + 20, 4, map->ranges[i].type);
    }
    return x86_low_put(b, list, map->n * MB1_RANGE_SIZE, 16);
}

static gpa mb1_put_info(struct x86_boot *b, const struct x86_memory_map *map)
{
    uint8_t info[MB1_INFO_SIZE] = { 0 };
    uint32_t lower, upper;
    char *cmdline = command_line(b);
    basic_memory(map, &lower, &upper);
    store_le(info, 4,
             MB1_HAS_MEMORY | MB1_HAS_CMDLINE | MB1_HAS_MODULES | MB1_HAS_MAP | MB1_HAS_LOADER);
    store_le(info + 4, 4, lower);
    store_le(info + 8, 4, upper);
    store_le(info + 16, 4, x86_low_text(b, cmdline));
    store_le(info + 20, 4, b->n_modules);
    store_le(info + 24, 4, mb1_put_modules(b));
    store_le(info + 44, 4, map->n * MB1_RANGE_SIZE);
    store_le(info + 48, 4, mb1_put_map(b, map));
    store_le(info + 64, 4, x86_low_text(b, "tandem"));
    free(cmdline);
    return x86_low_put(b, info, sizeof(info), 16);
}

static struct error *mb1_enter(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp)
{
    struct multiboot_flat f;
    uint32_t flags;
    (void)rsdp; /* is found by its signature */
    if (!mb1_read(b, &flags, &f))
        return error_new("kernel '%s': it changed while in use", b->kernel->path);
    struct error *err = place_all(b, &f);
    if (err)
        return err;
    b->entry = (struct x86_entry){ .rip = b->kernel->entry,
                                   .rax = MB1_MAGIC,
                                   .rbx = mb1_put_info(b, map) };
    return NULL;
}

const struct x86_kind x86_multiboot1 = {
    .name = "Multiboot",
    .has_modules = true,
    .check = mb1_check,
    .enter = mb1_enter,
};

/* ---- Multiboot 2 -------------------------------------------------------------------------------------- */
#define MB2_HEADER_MAGIC 0xe85250d6
#define MB2_MAGIC        0x36d76289
enum { MB2_SEARCH = 32768, MB2_HEADER_SIZE = 16, MB2_I386 = 0, MB2_ALIGN = 8 };
enum { /* 3.1.3 to 3.1.13: tags of the header */
       TAG_END = 0,
       TAG_REQUEST = 1,
       TAG_ADDRESS = 2,
       TAG_ENTRY = 3,
       TAG_CONSOLE = 4,
       TAG_FRAMEBUFFER = 5,
       TAG_MODULE_ALIGN = 6,
       TAG_EFI_BOOT_SERVICES = 7,
       TAG_ENTRY_EFI32 = 8,
       TAG_ENTRY_EFI64 = 9,
       TAG_RELOCATABLE = 10,
       TAG_OPTIONAL = 1 << 0,
};
enum { /* 3.6: tags of the information */
       INFO_END = 0,
       INFO_CMDLINE = 1,
       INFO_LOADER = 2,
       INFO_MODULE = 3,
       INFO_MEMORY = 4,
       INFO_MAP = 6,
       INFO_OLD_RSDP = 14,
       INFO_NEW_RSDP = 15,
};
/* What a kernel may require to be told. */
static const uint8_t mb2_known_infos[] = { INFO_CMDLINE, INFO_LOADER,   INFO_MODULE,  INFO_MEMORY,
                                           INFO_MAP,     INFO_OLD_RSDP, INFO_NEW_RSDP };

static struct error *mb2_check_request(struct x86_boot *b, uint64_t at, uint64_t size)
{
    for (uint64_t i = 8; i + 4 <= size; i += 4) {
        uint32_t want = (uint32_t)x86_kernel_peek(b, at + i, 4);
        bool known = false;
        for (size_t k = 0; k < ARRAY_LEN(mb2_known_infos); k++)
            known |= mb2_known_infos[k] == want;
        if (!known)
            return error_new("it requires information of type %" PRIu32 ", which there is none of",
                             want);
    }
    return NULL;
}

static struct error *mb2_take_tag(struct x86_boot *b, uint64_t at, uint64_t size,
                                  struct multiboot_flat *f, uint64_t *entry)
{
    bool optional = x86_kernel_peek(b, at + 2, 2) & TAG_OPTIONAL;
    unsigned type = (unsigned)x86_kernel_peek(b, at, 2);
    switch (type) {
    case TAG_REQUEST: return optional ? NULL : mb2_check_request(b, at, size);
    case TAG_ADDRESS:
        f->given = true;
        f->header = x86_kernel_peek(b, at + 8, 4);
        f->load = x86_kernel_peek(b, at + 12, 4);
        f->load_end = x86_kernel_peek(b, at + 16, 4);
        f->bss_end = x86_kernel_peek(b, at + 20, 4);
        return NULL;
    case TAG_ENTRY: *entry = x86_kernel_peek(b, at + 8, 4); return NULL;
    case TAG_CONSOLE:
    case TAG_MODULE_ALIGN:
    case TAG_EFI_BOOT_SERVICES:
    case TAG_ENTRY_EFI32:
    case TAG_ENTRY_EFI64:
    case TAG_RELOCATABLE: return NULL; /* true anyway, or for other machines */
    case TAG_FRAMEBUFFER:
        return optional ? NULL : error_new("it requires a framebuffer, which there is none of");
    default:
        return optional ? NULL : error_new("its header requires what is not known, tag %u", type);
    }
}

static struct error *mb2_read(struct x86_boot *b, bool *is, struct multiboot_flat *f)
{
    uint64_t at, entry = UINT64_MAX;
    struct error *err = NULL;
    *is = find_header(b, MB2_HEADER_MAGIC, MB2_SEARCH, MB2_ALIGN, 4, &at);
    if (!*is)
        return NULL;
    uint64_t end = at + x86_kernel_peek(b, at + 8, 4);
    *f = (struct multiboot_flat){ .header_off = at };
    if (x86_kernel_peek(b, at + 4, 4) != MB2_I386)
        return error_new("it is not for i386");
    if (end > MIN(b->kernel->n, MB2_SEARCH))
        return error_new("its header does not end in the first %d bytes", MB2_SEARCH);
    for (at += MB2_HEADER_SIZE; !err && at + 8 <= end && x86_kernel_peek(b, at, 2) != TAG_END;) {
        uint64_t size = x86_kernel_peek(b, at + 4, 4);
        if (size < 8 || size > end - at)
            return error_new("a tag of its header, at byte %" PRIu64 ", is broken", at);
        err = mb2_take_tag(b, at, size, f, &entry);
        at = align_up(at + size, MB2_ALIGN);
    }
    if (!err && f->given && entry == UINT64_MAX)
        return error_new("its header has a load address and no entry");
    if (entry != UINT64_MAX)
        f->entry = entry;
    return err;
}

static struct error *mb2_check(struct x86_boot *b, bool *is)
{
    struct multiboot_flat f;
    return mb2_read(b, is, &f);
}

/* The information grows tag by tag. */
struct mb2_info {
    uint8_t *bytes;
    uint64_t n;
};

/* A tag of n bytes behind its head; their place, valid until the next tag. */
static uint8_t *mb2_add(struct mb2_info *i, uint32_t type, uint64_t n)
{
    uint64_t at = i->n, size = 8 + n;
    i->n += align_up(size, MB2_ALIGN);
    i->bytes = xrealloc(i->bytes, i->n);
    memset(i->bytes + at, 0, i->n - at);
    store_le(i->bytes + at, 4, type);
    store_le(i->bytes + at + 4, 4, size);
    return i->bytes + at + 8;
}

static void mb2_add_text(struct mb2_info *i, uint32_t type, const char *text)
{
    memcpy(mb2_add(i, type, strlen(text) + 1), text, strlen(text) + 1);
}

static void mb2_add_modules(struct mb2_info *i, const struct x86_boot *b)
{
    for (unsigned k = 0; k < b->n_modules; k++) {
        const struct x86_module *m = &b->modules[k];
        uint8_t *to = mb2_add(i, INFO_MODULE, 8 + strlen(m->text) + 1);
        store_le(to, 4, m->image->low);
        store_le(to + 4, 4, m->image->high);
        memcpy(to + 8, m->text, strlen(m->text) + 1);
    }
}

static void mb2_add_map(struct mb2_info *i, const struct x86_memory_map *map)
{
    enum { ENTRY_SIZE = 24 };
    uint32_t lower, upper;
    basic_memory(map, &lower, &upper);
    uint8_t *to = mb2_add(i, INFO_MEMORY, 8);
    store_le(to, 4, lower);
    store_le(to + 4, 4, upper);
    to = mb2_add(i, INFO_MAP, 8 + map->n * ENTRY_SIZE);
    store_le(to, 4, ENTRY_SIZE);
    for (unsigned k = 0; k < map->n; k++) {
        uint8_t *e = to + 8 + k * ENTRY_SIZE;
        store_le(e, 8, map->ranges[k].at);
        store_le(e + 8, 8, map->ranges[k].size);
        store_le(e + 16, 4, map->ranges[k].type);
    }
}

/* A copy of the root pointer, which lies in one of the tables (ACPI 6.5, 5.2.5.3). */
static void mb2_add_rsdp(struct mb2_info *i, const struct x86_boot *b, gpa rsdp)
{
    enum { OLD_SIZE = 20, NEW_SIZE = 36, REVISION = 15 };
    for (unsigned k = 0; rsdp && k < b->n_tables; k++) {
        const struct image *t = b->tables[k];
        if (rsdp < t->low || t->high - rsdp < NEW_SIZE || rsdp >= t->high)
            continue;
        const uint8_t *from = t->bytes + (rsdp - t->low);
        bool is_new = from[REVISION] >= 2;
        uint64_t n = is_new ? NEW_SIZE : OLD_SIZE;
        memcpy(mb2_add(i, is_new ? INFO_NEW_RSDP : INFO_OLD_RSDP, n), from, n);
        return;
    }
}

static gpa mb2_put_info(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp)
{
    struct mb2_info i = { xcalloc(1, 8), 8 };
    char *cmdline = command_line(b);
    mb2_add_text(&i, INFO_CMDLINE, cmdline);
    mb2_add_text(&i, INFO_LOADER, "tandem");
    mb2_add_modules(&i, b);
    mb2_add_map(&i, map);
    mb2_add_rsdp(&i, b, rsdp);
    mb2_add(&i, INFO_END, 0);
    store_le(i.bytes, 4, i.n);
    gpa at = x86_low_put(b, i.bytes, i.n, MB2_ALIGN);
    free(cmdline);
    free(i.bytes);
    return at;
}

static struct error *mb2_enter(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp)
{
    struct multiboot_flat f;
    bool is;
    struct error *err = mb2_read(b, &is, &f);
    if (!err && !is)
        err = error_new("kernel '%s': it changed while in use", b->kernel->path);
    if (!err)
        err = place_all(b, &f);
    if (err)
        return err;
    /* An entry tag without a load address counts for ELF files, too (3.1.7). */
    b->entry = (struct x86_entry){ .rip = f.entry ? f.entry : b->kernel->entry,
                                   .rax = MB2_MAGIC,
                                   .rbx = mb2_put_info(b, map, rsdp) };
    return NULL;
}

const struct x86_kind x86_multiboot2 = {
    .name = "Multiboot 2",
    .has_modules = true,
    .check = mb2_check,
    .enter = mb2_enter,
};
