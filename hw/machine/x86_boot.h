/* How a PC boots what -kernel names: entered directly, without firmware, or offered to the firmware.
 *
 * Kinds (told by contents): Linux bzImage (Linux's Documentation/arch/x86/boot.rst), ELF with a PVH note
 * (Xen's docs/misc/pvh), Multiboot 1 and 2 (GNU's specifications 0.6.96 and 2.0), and any other 64-bit ELF,
 * entered as Linux's boot.rst says under "64-bit boot protocol". Files are opened and checked once; their
 * contents are hostile.
 *
 *   init:   x86_boot_open
 *   ready:  x86_boot_add_table for what firmware would have put into memory, then x86_boot_direct;
 *           or with firmware x86_boot_offer
 *   reset:  x86_boot_place, from the board's vm_on_reset hook
 *   free:   x86_boot_free */
#pragma once

#include "core/util.h"

#include <stdbool.h>

struct device;
struct error;
struct image;
struct vm;
struct x86_boot;

/* ---- what memory there is ----------------------------------------------------------------------- */
enum { /* address range types, ACPI 6.5, 15.1 */
       X86_MEMORY_RAM = 1,
       X86_MEMORY_RESERVED = 2,
       X86_MEMORY_ACPI = 3,
       X86_MEMORY_NVS = 4,
};
enum { X86_MAX_RANGES = 32 };
struct x86_memory_map {
    struct x86_memory_range {
        gpa at;
        uint64_t size;
        uint32_t type;
    } ranges[X86_MAX_RANGES];
    unsigned n;
};
/* Add a range behind the others (ascending, disjoint); one of size 0 is left out. */
void x86_memory_add(struct x86_memory_map *map, gpa at, uint64_t size, uint32_t type);
/* The first megabyte of a PC without firmware (639 KiB of RAM, the rest reserved), then [1 MiB, below) and
 * `above` bytes from 4 GiB. */
void x86_memory_standard(struct x86_memory_map *map, uint64_t below, uint64_t above);

/* ---- places below 1 MiB, when there is no firmware --------------------------------------------------- */
enum {
    /* What boot protocols hand over lies in between. Page 0 is no memory to Linux. */
    X86_BOOT_LOW = 0x1000,
    X86_BOOT_LOW_END = 0x90000,
    X86_LOW_RAM_END = 0x9fc00, /* conventional memory; behind it 1 KiB for an MP table */
    X86_TABLES = 0xe0000,      /* ACPI and SMBIOS tables: the board has RAM or ROM there */
    X86_TABLES_END = 0xffff0,  /* behind it 16 bytes: who jumps to the BIOS resets the machine */
};

/* ---- the image --------------------------------------------------------------------------------------- */
struct x86_boot_options {
    const char *kernel, *initrd,
        *append;        /* as typed; NULL: none. All NULL is fine: then nothing boots here */
    uint64_t ram_below; /* RAM in [0, ram_below): everything is put there */
};
/* Strings are copied. initrd: for Multiboot "file args,file2 args" (",," is a comma). */
struct error *x86_boot_open(struct vm *vm, const struct x86_boot_options *o, struct x86_boot **out);
void x86_boot_free(struct x86_boot *b); /* NULL is fine */
bool x86_boot_has_kernel(const struct x86_boot *b);
/* Can the kernel only be entered directly (everything but Linux's bzImage)? Firmware cannot load it. */
bool x86_boot_needs_direct(const struct x86_boot *b);
/* More text for the kernel's command line, behind a blank. Before x86_boot_direct and _offer. */
void x86_boot_append(struct x86_boot *b, const char *text);

/* Bytes that lie in memory after each reset: tables, a firmware image. Copied. Errors: overlaps something.
 * `name` is static text. */
struct error *x86_boot_add_table(struct x86_boot *b, const char *name, gpa at, const void *bytes,
                                 uint64_t n);

/* The same for an image that was placed; it belongs to b from now on. NULL is fine. */
void x86_boot_add_image(struct x86_boot *b, struct image *img);

/* Enter the kernel directly: decide where everything goes and what the CPU starts with. rsdp: address of
 * ACPI's root pointer or 0. */
struct error *x86_boot_direct(struct x86_boot *b, const struct x86_memory_map *map, gpa rsdp);
/* Leave it to firmware: kernel, initrd and command line in fw_cfg, where OVMF finds them, and an option ROM
 * by which SeaBIOS boots them first. Nothing happens without a kernel. */
struct error *x86_boot_offer(struct x86_boot *b, struct device *fw_cfg);
/* After each reset, vCPUs stopped: tables and images are copied anew, and the first vCPU stands at the
 * kernel's entry if it is entered directly. An image that cannot be read any more ends the run. */
void x86_boot_place(struct x86_boot *b);
