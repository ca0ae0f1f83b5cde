/* Boot images: what a file is, whether it can run here, and its way into guest memory. A file is
 * opened and checked once, before the guest runs, and copied anew at each reset. Its contents are
 * hostile input. */
#pragma once

#include "core/util.h"

#include <stdbool.h>

struct error;
struct vm;

enum image_kind {
    IMAGE_RAW,   /* nothing that we know */
    IMAGE_ELF,   /* executable */
    IMAGE_LINUX, /* Linux's flat "Image" with its header */
    IMAGE_EFI,   /* PE/COFF that is not a Linux Image */
    IMAGE_DISK,  /* partition table, file system or disk image format */
};

/* What a file is and for which guest CPU ("riscv64", "x86_64", ...; NULL: it does not say). A file
 * compressed with gzip is told by its contents. Errors: cannot be opened, is empty, is broken. */
struct error *image_identify(const char *path, enum image_kind *kind, const char **arch);

struct image_part {
    gpa at;
    uint64_t file_off, file_n, mem_n; /* mem_n >= file_n; the rest is zero */
};

enum { IMAGE_MAX_PARTS = 16 };

struct image {
    char *path;
    const char *role; /* "kernel", "initrd", ... for messages */
    enum image_kind kind;
    const char *arch;
    uint64_t n; /* bytes, unpacked */

    /* Set by image_place. */
    struct image_part parts[IMAGE_MAX_PARTS];
    unsigned n_parts;
    gpa low, high; /* [low, high): all memory it needs */
    gpa entry;
    bool is_32bit; /* ELF's class */

    int fd;
    bool packed; /* gzip: `bytes` or a new unpacking has the contents, not fd */
    uint8_t *bytes;
};

/* Open and identify. `role` is static text. `arch` if not NULL is what the machine runs; a file for
 * another one is an error (x86_64 machines take files for i386), and so is one that unpacks to more than `most` bytes. */
struct error *image_open(const char *role, const char *path, const char *arch, uint64_t most,
                         struct image **out);
/* Bytes held in memory instead of a file; copied. Kind RAW. */
struct image *image_from_bytes(const char *role, const void *bytes, uint64_t n);
void image_free(struct image *img); /* NULL is fine */

/* Contents [off, off+n) into buf. Errors: the file became shorter. */
struct error *image_read(struct image *img, uint64_t off, void *buf, uint64_t n);

/* The number, of 4 or 8 bytes, in an ELF file's note. False: it has no such note. */
bool image_elf_note(struct image *img, const char *owner, uint32_t type, uint64_t *value);

/* Decide where it goes: an ELF file to where it says, everything else to `at`. It must fit into RAM,
 * [ram, ram + ram_size). */
struct error *image_place(struct image *img, gpa at, gpa ram, uint64_t ram_size);
/* The same for files with a layout of their own: this part of the file is all that is loaded. */
struct error *image_place_part(struct image *img, const struct image_part *part, gpa ram,
                               uint64_t ram_size);
/* Refuse images (NULLs allowed) that need the same memory. */
struct error *images_check_overlap(struct image *const *images, size_t n);
/* Does a part of a placed image need some of [at, at + n)? */
bool image_needs(const struct image *img, gpa at, uint64_t n);
/* Copy it to its place. `fresh`: guest RAM is still all zero, as before the first run. */
struct error *image_load(struct image *img, struct vm *vm, bool fresh);

/* Unpack a gzip file of n bytes: at most `most` bytes, allocated. Errors: not gzip, damaged, truncated,
 * too big. */
struct error *gunzip(const uint8_t *in, uint64_t n, uint64_t most, uint8_t **out, uint64_t *out_n);
