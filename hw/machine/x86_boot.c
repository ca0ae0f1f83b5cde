/* What -kernel names: opening it, the memory it is handed, its way back into memory at each reset. What
 * differs between kinds of kernel is in x86_linux.c, x86_pvh.c and x86_multiboot.c. */
#include "hw/machine/x86_boot.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/machine/x86_boot_kinds.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

enum { PAGE = 4096, LOW_ROOM = X86_BOOT_LOW_END - X86_BOOT_LOW };

/* In the order in which they are tried: a file may be of several kinds. */
static const struct x86_kind *const kinds[] = {
    &x86_linux, &x86_multiboot1, &x86_multiboot2, &x86_pvh, &x86_elf64,
};

/* ---- memory map --------------------------------------------------------------------------------- */
void x86_memory_add(struct x86_memory_map *map, gpa at, uint64_t size, uint32_t type)
{
    if (!size)
        return;
    assert(map->n < X86_MAX_RANGES);
    assert(!map->n || at >= map->ranges[map->n - 1].at + map->ranges[map->n - 1].size);
    map->ranges[map->n++] = (struct x86_memory_range){ at, size, type };
}

void x86_memory_standard(struct x86_memory_map *map, uint64_t below, uint64_t above)
{
    x86_memory_add(map, 0, X86_LOW_RAM_END, X86_MEMORY_RAM);
    x86_memory_add(map, X86_LOW_RAM_END, 0xa0000 - X86_LOW_RAM_END, X86_MEMORY_RESERVED);
    x86_memory_add(map, X86_TABLES, MIB - X86_TABLES, X86_MEMORY_RESERVED);
    x86_memory_add(map, MIB, below > MIB ? below - MIB : 0, X86_MEMORY_RAM);
    x86_memory_add(map, 4 * GIB, above, X86_MEMORY_RAM);
}

/* ---- low memory --------------------------------------------------------------------------------- */
gpa x86_low_alloc(struct x86_boot *b, uint64_t n, uint64_t align)
{
    uint64_t at = align_up(X86_BOOT_LOW + b->n_low, align) - X86_BOOT_LOW;
    if (b->n_low > LOW_ROOM || at > LOW_ROOM || n > LOW_ROOM - at) {
        b->n_low = LOW_ROOM + 1; /* and nothing more */
        return 0;
    }
    b->low = xrealloc(b->low, at + n);
    memset(b->low + b->n_low, 0, at + n - b->n_low);
    b->n_low = (uint32_t)(at + n);
    return X86_BOOT_LOW + at;
}

uint8_t *x86_low_bytes(struct x86_boot *b, gpa at)
{
    return b->low + (at - X86_BOOT_LOW);
}

gpa x86_low_put(struct x86_boot *b, const void *bytes, uint64_t n, uint64_t align)
{
    gpa at = x86_low_alloc(b, n, align);
    if (at)
        memcpy(x86_low_bytes(b, at), bytes, n);
    return at;
}

gpa x86_low_text(struct x86_boot *b, const char *text)
{
    return x86_low_put(b, text, strlen(text) + 1, 1);
}

/* ---- opening ------------------------------------------------------------------------------------ */
uint64_t x86_kernel_peek(struct x86_boot *b, uint64_t off, unsigned size)
{
    uint8_t buf[8];
    if (off > b->kernel->n || size > b->kernel->n - off)
        return 0;
    struct error *err = image_read(b->kernel, off, buf, size);
    error_free(err);
    return err ? 0 : load_le(buf, size);
}

static struct error *unknown_kind(const struct image *img)
{
    switch (img->kind) {
    case IMAGE_DISK: return error_new("it is a disk image; attach it with -drive");
    case IMAGE_EFI:
        return error_new("it is an EFI application; OVMF as firmware can start it from a disk");
    case IMAGE_ELF:
        return error_new(
            "it is a 32-bit ELF file without a Multiboot header or PVH note, by which it "
            "could be started");
    default:
        return error_new("it is no kernel that is known here: Linux bzImage, ELF with a PVH note, "
                         "64-bit ELF, Multiboot 1 or 2");
    }
}

static struct error *find_kind(struct x86_boot *b)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        bool is = false;
        struct error *err = kinds[i]->check(b, &is);
        if (err)
            return error_in(err, "%s", kinds[i]->name);
        if (is) {
            b->kind = kinds[i];
            return NULL;
        }
    }
    return unknown_kind(b->kernel);
}

static struct error *open_kernel(struct x86_boot *b, const char *path)
{
    struct error *err = image_open("kernel", path, "x86_64", b->ram_below, &b->kernel);
    return err ? err : error_in(find_kind(b), "kernel '%s'", path);
}

static struct error *open_module(struct x86_boot *b, const char *role, char *path, char *text)
{
    struct image *img;
    struct error *err = b->n_modules == X86_MAX_MODULES
                            ? error_new("-initrd: there are more than %d modules", X86_MAX_MODULES)
                            : image_open(role, path, NULL, b->ram_below, &img);
    if (err) {
        free(text);
        return err;
    }
    b->modules[b->n_modules++] = (struct x86_module){ img, text };
    return NULL;
}

/* "file args,file2": up to a comma that is not doubled. Caller frees; *at moves behind it. */
static char *next_item(const char **at)
{
    char *item = xmalloc(strlen(*at) + 1), *to = item;
    for (; **at && !(**at == ',' && (*at)[1] != ','); (*at)++) {
        *to++ = **at;
        *at += **at == ',';
    }
    *to = 0;
    *at += **at == ',';
    return item;
}

static struct error *open_modules(struct x86_boot *b, const char *list)
{
    struct error *err = NULL;
    while (*list && !err) {
        char *text = next_item(&list), *path = xstrdup(text);
        path[strcspn(path, " ")] = 0;
        err = open_module(b, "module", path, text);
        free(path);
    }
    return err;
}

static struct error *open_initrd(struct x86_boot *b, const char *initrd)
{
    if (!b->kind)
        return error_new("-initrd needs -kernel");
    if (b->kind->has_modules)
        return open_modules(b, initrd);
    char *path = xstrdup(initrd);
    struct error *err = open_module(b, "initrd", path, xstrdup(""));
    free(path);
    return err;
}

struct error *x86_boot_open(struct vm *vm, const struct x86_boot_options *o, struct x86_boot **out)
{
    struct x86_boot *b = xcalloc(1, sizeof(*b));
    struct error *err = NULL;
    b->vm = vm;
    b->append = xstrdup(o->append ? o->append : "");
    b->ram_below = o->ram_below;
    if (o->kernel)
        err = open_kernel(b, o->kernel);
    if (!err && o->initrd)
        err = open_initrd(b, o->initrd);
    if (err) {
        x86_boot_free(b);
        return err;
    }
    *out = b;
    return NULL;
}

void x86_boot_free(struct x86_boot *b)
{
    if (!b)
        return;
    for (unsigned i = 0; i < b->n_modules; i++) {
        image_free(b->modules[i].image);
        free(b->modules[i].text);
    }
    for (unsigned i = 0; i < b->n_tables; i++)
        image_free(b->tables[i]);
    image_free(b->kernel);
    image_free(b->low_image);
    free(b->low);
    free(b->append);
    free(b);
}

bool x86_boot_has_kernel(const struct x86_boot *b)
{
    return b->kind != NULL;
}

bool x86_boot_needs_direct(const struct x86_boot *b)
{
    return b->kind && !b->kind->offer;
}

void x86_boot_append(struct x86_boot *b, const char *text)
{
    char *both = *b->append ? xasprintf("%s %s", b->append, text) : xstrdup(text);
    free(b->append);
    b->append = both;
}

void x86_boot_add_image(struct x86_boot *b, struct image *img)
{
    assert(b->n_tables < X86_MAX_TABLES);
    if (img)
        b->tables[b->n_tables++] = img;
}

struct error *x86_boot_add_table(struct x86_boot *b, const char *name, gpa at, const void *bytes,
                                 uint64_t n)
{
    struct image *img = image_from_bytes(name, bytes, n);
    x86_boot_add_image(b, img);
    return image_place(img, at, 0, b->ram_below);
}

/* ---- placing ------------------------------------------------------------------------------------ */
static struct error *no_room(const struct x86_boot *b, const struct image *img)
{
    return error_new("%s '%s': its %" PRIu64
                     " bytes do not fit into memory beside the kernel (see -m)",
                     img->role, img->path, img->n);
}

/* As high as possible; below the kernel if it is in the way. */
struct error *x86_place_initrd(struct x86_boot *b, uint64_t limit)
{
    const struct image *kernel = b->kernel;
    if (!b->n_modules)
        return NULL;
    struct image *img = b->modules[0].image;
    limit = MIN(limit, b->ram_below);
    for (int attempt = 0; attempt < 2 && img->n <= limit; attempt++) {
        gpa at = align_down(limit - img->n, PAGE);
        if (at < MIB)
            break;
        if (at >= kernel->high || at + img->n <= kernel->low)
            return image_place(img, at, 0, b->ram_below);
        limit = kernel->low;
    }
    return no_room(b, img);
}

struct error *x86_place_modules(struct x86_boot *b)
{
    gpa at = align_up(MAX(b->kernel->high, MIB), PAGE);
    struct error *err = NULL;
    for (unsigned i = 0; !err && i < b->n_modules; i++) {
        struct image *img = b->modules[i].image;
        err = at > b->ram_below || img->n > b->ram_below - at
                  ? no_room(b, img)
                  : image_place(img, at, 0, b->ram_below);
        at = align_up(at + img->n, PAGE);
    }
    return err;
}

/* ---- direct entry ------------------------------------------------------------------------------- */
/* Selectors as boot.rst has them: 0x10 code, 0x18 data; 0x20 is the task segment that x86_place_flat sets. */
static void make_gdt(struct x86_boot *b)
{
    const uint64_t gdt[] = {
        0,
        0,
        b->entry.wide ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
        0x00cf93000000ffff,
        0x00008b0000000067,
        0,
    };
    uint8_t bytes[sizeof(gdt)];
    for (size_t i = 0; i < ARRAY_LEN(gdt); i++)
        store_le(bytes + 8 * i, 8, gdt[i]);
    b->gdt = x86_low_put(b, bytes, sizeof(bytes), 16);
}

/* The first 4 GiB in pages of 2 MiB, SDM 3-4.5. */
static void make_page_tables(struct x86_boot *b)
{
    enum { PRESENT_WRITABLE = 3, LARGE = 1 << 7, N_GIB = 4, ENTRIES = 512 };
    gpa at = x86_low_alloc(b, (2 + N_GIB) * PAGE, PAGE);
    b->page_tables = at;
    if (!at)
        return;
    uint8_t *root = x86_low_bytes(b, at), *gibs = root + PAGE, *leaves = root + 2 * PAGE;
    store_le(root, 8, (at + PAGE) | PRESENT_WRITABLE);
    for (unsigned i = 0; i < N_GIB; i++)
        store_le(gibs + 8 * i, 8, (at + (2 + i) * PAGE) | PRESENT_WRITABLE);
    for (unsigned i = 0; i < N_GIB * ENTRIES; i++)
        store_le(leaves + 8 * i, 8, 2 * MIB * i | LARGE | PRESENT_WRITABLE);
}

/* Linux with hardware-reduced ACPI resets by a jump to where a BIOS starts, f000:fff0 in real mode. An interrupt
 * table without entries and an exception shut the processor down, which resets every board. A kernel that wants the
 * place for itself (ELF headers in front of 1 MiB) has it. */
static struct error *add_bios_entry(struct x86_boot *b)
{
    static const uint8_t code[16] = {
        0x2e, 0x0f, 0x01, 0x1e, 0xf8, 0xff, /* lidt %cs:0xfff8 */
        0x0f, 0x0b,                         /* ud2 */
    };
    if (image_needs(b->kernel, X86_TABLES_END, sizeof(code)))
        return NULL;
    return x86_boot_add_table(b, "BIOS entry", X86_TABLES_END, code, sizeof(code));
}

static struct error *check_overlap(struct x86_boot *b)
{
    struct image *all[2 + X86_MAX_TABLES + X86_MAX_MODULES] = { b->kernel, b->low_image };
    unsigned n = 2;
    for (unsigned i = 0; i < b->n_tables; i++)
        all[n++] = b->tables[i];
    for (unsigned i = 0; i < b->n_modules; i++)
        all[n++] = b->modules[i].image;
    return images_check_overlap(all, n);
}

struct error *x86_boot_direct(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp)
{
    assert(b->kind);
    struct error *err = b->kind->enter(b, map, rsdp);
    if (!err)
        err = add_bios_entry(b);
    if (err)
        return err;
    make_gdt(b);
    if (b->entry.wide)
        make_page_tables(b);
    if (b->n_low > LOW_ROOM)
        return error_new(
            "-append: the command line is too long: all that the kernel is handed must fit "
            "into %u KiB",
            LOW_ROOM / 1024);
    b->low_image = image_from_bytes("boot information", b->low, b->n_low);
    b->direct = true;
    err = image_place(b->low_image, X86_BOOT_LOW, 0, b->ram_below);
    return err ? err : check_overlap(b);
}

/* ---- by firmware -------------------------------------------------------------------------------- */
struct error *x86_boot_offer(struct x86_boot *b, struct device *fw_cfg)
{
    if (!b->kind)
        return NULL;
    if (!b->kind->offer)
        return error_new("kernel '%s': it is %s, which no firmware starts: leave out -bios and "
                         "-drive if=pflash",
                         b->kernel->path, b->kind->name);
    return b->kind->offer(b, fw_cfg);
}

/* ---- each reset --------------------------------------------------------------------------------- */
/* Fresh random bytes for the guest; without any it does without. */
static void reseed(struct x86_boot *b)
{
    if (b->n_seed &&
        getrandom(b->low_image->bytes + b->seed_at, b->n_seed, 0) != (ssize_t)b->n_seed)
        memset(b->low_image->bytes + b->seed_at, 0, b->n_seed);
}

static struct error *load_all(struct x86_boot *b)
{
    struct error *err = NULL;
    for (unsigned i = 0; !err && i < b->n_tables; i++)
        err = image_load(b->tables[i], b->vm, !b->loaded);
    if (!err && b->direct)
        err = image_load(b->low_image, b->vm, !b->loaded);
    if (!err && b->direct)
        err = image_load(b->kernel, b->vm, !b->loaded);
    for (unsigned i = 0; !err && b->direct && i < b->n_modules; i++)
        err = image_load(b->modules[i].image, b->vm, !b->loaded);
    return err;
}

/* Memory is cached, as firmware would have it (SDM 3-12.11.2.1): with the MTRRs off it would not be. */
static void enable_mtrrs(struct vcpu *cpu)
{
    enum { MTRR = 12, ENABLED = 1 << 11, WRITE_BACK = 6 };
    struct x86_cpu *x = x86_of(cpu);
    if (x86_model_has(x->model, X86_1_EDX, MTRR))
        x->mtrr_def_type = ENABLED | WRITE_BACK;
}

static void place_cpu(struct x86_boot *b)
{
    struct vcpu *cpu = b->vm->vcpus[0];
    struct x86_cpu *x = x86_of(cpu);
    x86_place_flat(cpu, b->entry.rip, b->entry.wide ? b->page_tables : 0);
    x->gdt = (struct x86_table){ b->gdt, 6 * 8 - 1 };
    x->gpr[X86_RAX] = b->entry.rax;
    x->gpr[X86_RBX] = b->entry.rbx;
    x->gpr[X86_RSI] = b->entry.rsi;
}

/* The 8259 pair as firmware leaves it: vectors 0x08 and 0x70, everything masked. A kernel on a hardware-reduced
 * machine never touches it, and would take an interrupt of vector 0 for a fault. Nobody is there to hear it when
 * the engine has these controllers; those begin silent. */
static void mask_pic(struct vm *vm)
{
    enum { INIT = 0x11, LINE_2 = 1 << 2, CASCADE = 2, MODE_8086 = 1, ALL = 0xff };
    static const struct {
        uint8_t port, value;
    } writes[] = {
        { 0x20, INIT }, { 0x21, 0x08 }, { 0x21, LINE_2 },  { 0x21, MODE_8086 }, { 0x21, ALL },
        { 0xa0, INIT }, { 0xa1, 0x70 }, { 0xa1, CASCADE }, { 0xa1, MODE_8086 }, { 0xa1, ALL },
    };
    for (size_t i = 0; i < ARRAY_LEN(writes); i++)
        mem_port_write(vm, writes[i].port, 1, writes[i].value);
}

void x86_boot_place(struct x86_boot *b)
{
    if (b->direct)
        reseed(b);
    struct error *err = load_all(b);
    b->loaded = true;
    if (err) {
        vm_request_end(b->vm, VERDICT_ENGINE_FAILED, 1, error_text(err));
        error_free(err);
    }
    if (!b->direct)
        return;
    place_cpu(b);
    mask_pic(b->vm);
    for (unsigned i = 0; i < b->vm->n_vcpus; i++)
        enable_mtrrs(b->vm->vcpus[i]);
}
