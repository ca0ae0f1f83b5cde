/* Between x86_boot.c and the files for each kind of kernel. */
#pragma once

#include "hw/firmware/loader.h"
#include "hw/machine/x86_boot.h"

enum { X86_MAX_MODULES = 64, X86_MAX_TABLES = 16 };

/* What the first CPU starts with. */
struct x86_entry {
    uint64_t rip;
    uint64_t rax, rbx, rsi;
    bool wide; /* 64-bit mode, the first 4 GiB mapped as they are; else 32-bit without paging */
};

struct x86_module {
    struct image *image;
    char *text; /* its command line as typed, the file's name included */
};

struct x86_kind;

struct x86_boot {
    struct vm *vm;
    char *append; /* never NULL */
    uint64_t ram_below;
    const struct x86_kind *kind; /* NULL: no kernel */
    struct image *kernel;
    struct x86_module modules[X86_MAX_MODULES];
    unsigned n_modules;
    struct image *tables[X86_MAX_TABLES];
    unsigned n_tables;

    bool direct;
    struct x86_entry entry;
    uint8_t *low; /* what will lie at X86_BOOT_LOW; becomes low_image */
    uint32_t n_low;
    struct image *low_image;
    uint32_t seed_at, n_seed; /* in low: new random bytes at each reset; 0: none */
    gpa gdt, page_tables;
    bool loaded;
};

struct x86_kind {
    const char *name;
    bool has_modules; /* -initrd is a list */
    /* Is the kernel of this kind? An error if it is and cannot be used. */
    struct error *(*check)(struct x86_boot *b, bool *is);
    /* Place kernel and modules, make what the kernel is handed, set the entry. */
    struct error *(*enter)(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp);
    /* Leave it to firmware; NULL: firmware cannot start such kernels. */
    struct error *(*offer)(struct x86_boot *b, struct device *fw_cfg);
};

extern const struct x86_kind x86_linux, x86_elf64, x86_pvh, x86_multiboot1, x86_multiboot2;

/* Room for n bytes, zeros, in low memory, at a multiple of `align`: its address, or 0 when there is none
 * left, which x86_boot_direct reports. */
gpa x86_low_alloc(struct x86_boot *b, uint64_t n, uint64_t align);
/* The bytes behind an address from x86_low_alloc; valid until the next call of it. */
uint8_t *x86_low_bytes(struct x86_boot *b, gpa at);
/* Both in one; text includes its NUL. */
gpa x86_low_put(struct x86_boot *b, const void *bytes, uint64_t n, uint64_t align);
gpa x86_low_text(struct x86_boot *b, const char *text);

/* A number in the kernel file; 0 behind its end. */
uint64_t x86_kernel_peek(struct x86_boot *b, uint64_t off, unsigned size);
/* Place the first module as high as possible below `limit`, all modules one after another behind the
 * kernel. Page-aligned. */
struct error *x86_place_initrd(struct x86_boot *b, uint64_t limit);
struct error *x86_place_modules(struct x86_boot *b);
