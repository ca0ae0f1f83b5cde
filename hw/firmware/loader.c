/* Boot images. Formats: ELF (System V ABI, "Object Files"), Linux's Documentation/arch/riscv/
 * boot-image-header.rst and arch/arm64/booting.rst, Linux's x86 boot protocol, PE/COFF (Microsoft's
 * specification), EFI zboot (Linux's drivers/firmware/efi/libstub/zboot-header.S), gzip (RFC 1952),
 * GPT (UEFI 2.10, 5.3). */
#include "hw/firmware/loader.h"

#include "core/error.h"
#include "core/memory.h"

#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEAD = 4096, CHUNK = 256 * 1024 };

/* ---- reading ---------------------------------------------------------------------------------- */
struct error *image_read(struct image *img, uint64_t off, void *buf, uint64_t n)
{
    assert(!img->packed || img->bytes);
    if (off > img->n || n > img->n - off)
        return error_new("it has only %" PRIu64 " bytes", img->n);
    if (img->bytes) {
        memcpy(buf, img->bytes + off, n);
        return NULL;
    }
    for (uint64_t done = 0; done < n;) {
        ssize_t got = pread(img->fd, (char *)buf + done, n - done, (off_t)(off + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_errno("cannot read it");
        if (got == 0)
            return error_new("it became shorter while in use");
        done += (uint64_t)got;
    }
    return NULL;
}

/* A number at `off`, or 0 if the image is shorter: for looking at headers. */
static uint64_t peek(struct image *img, uint64_t off, unsigned size)
{
    uint8_t buf[8];
    if (off > img->n || size > img->n - off)
        return 0;
    struct error *err = image_read(img, off, buf, size);
    error_free(err);
    return err ? 0 : load_le(buf, size);
}

static bool peek_is(struct image *img, uint64_t off, const char *text, unsigned n)
{
    char buf[16];
    if (off > img->n || n > img->n - off)
        return false;
    struct error *err = image_read(img, off, buf, n);
    error_free(err);
    return !err && memcmp(buf, text, n) == 0;
}

/* ---- what is it? ------------------------------------------------------------------------------ */
struct arch_number {
    unsigned number;
    const char *arch;
};

static const struct arch_number elf_machines[] = {
    { 243 /* EM_RISCV */, "riscv64" },
    { EM_X86_64, "x86_64" },
    { EM_AARCH64, "aarch64" },
    { EM_386, "i386" },
    { EM_ARM, "arm" },
    { EM_PPC64, "ppc64" },
    { EM_S390, "s390x" },
    { EM_MIPS, "mips" },
    { 258, "loongarch64" },
    { EM_PPC, "ppc" },
    { EM_68K, "m68k" },
};

static const struct arch_number pe_machines[] = {
    { 0x5064, "riscv64" }, { 0x5032, "riscv32" }, { 0x8664, "x86_64" },      { 0xaa64, "aarch64" },
    { 0x014c, "i386" },    { 0x01c2, "arm" },     { 0x6264, "loongarch64" },
};

static const char *arch_of(const struct arch_number *table, size_t n, unsigned number)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].number == number)
            return table[i].arch;
    return "an unknown CPU";
}

/* Root partition types that name an architecture (UAPI Discoverable Partitions), as on disk. */
static const struct {
    uint8_t type[16];
    const char *arch;
} root_partitions[] = {
    { { 0x6a, 0xc7, 0x70, 0x72, 0x40, 0xcf, 0xe6, 0x4d, 0xbd, 0x49, 0x4b, 0xda, 0x08, 0xe8, 0xf2,
        0x24 },
      "riscv64" },
    { { 0xe3, 0xbc, 0x68, 0x4f, 0xcd, 0xe8, 0xb1, 0x4d, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7,
        0x09 },
      "x86_64" },
    { { 0x45, 0xb0, 0x21, 0xb9, 0xf0, 0x1d, 0xc3, 0x41, 0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f,
        0xae },
      "aarch64" },
};

static void identify_gpt(struct image *img)
{
    uint64_t table = peek(img, 512 + 72, 8), entry_size = peek(img, 512 + 84, 4);
    unsigned entries = (unsigned)peek(img, 512 + 80, 4);
    for (unsigned i = 0; i < MIN(entries, 128) && entry_size >= 128 && entry_size <= 4096; i++)
        for (size_t k = 0; k < ARRAY_LEN(root_partitions) && table < img->n / 512; k++)
            if (peek_is(img, table * 512 + i * entry_size, (const char *)root_partitions[k].type,
                        16))
                img->arch = root_partitions[k].arch;
}

static bool identify_disk(struct image *img)
{
    if (peek_is(img, 512, "EFI PART", 8)) {
        identify_gpt(img);
        return true;
    }
    bool table = peek(img, 510, 2) == 0xaa55 && img->n % 512 == 0 && img->n > 64 * KIB;
    return table || peek_is(img, 0, "QFI\xfb", 4) || peek(img, 1024 + 56, 2) == 0xef53 ||
           peek_is(img, 32769, "CD001", 5);
}

static void identify(struct image *img)
{
    uint64_t pe = peek(img, 0x3c, 4);
    bool efi = peek_is(img, 0, "MZ", 2) && peek_is(img, pe, "PE\0\0", 4);

    img->kind = IMAGE_RAW;
    img->arch = NULL;
    if (peek_is(img, 0, ELFMAG, SELFMAG)) {
        img->kind = IMAGE_ELF;
        img->arch = arch_of(elf_machines, ARRAY_LEN(elf_machines),
                            (unsigned)peek(img, offsetof(Elf64_Ehdr, e_machine), 2));
        if (peek(img, EI_CLASS, 1) == ELFCLASS32 && strcmp(img->arch, "riscv64") == 0)
            img->arch = "riscv32";
    } else if (peek_is(img, 0x30, "RISCV\0\0\0", 8) || peek_is(img, 0x38, "RSC\x05", 4)) {
        img->kind = IMAGE_LINUX;
        img->arch = efi && peek(img, pe + 4, 2) == 0x5032 ? "riscv32" : "riscv64";
    } else if (peek_is(img, 0x38, "ARM\x64", 4)) {
        img->kind = IMAGE_LINUX;
        img->arch = "aarch64";
    } else if (peek_is(img, 0x202, "HdrS", 4)) {
        img->kind = IMAGE_LINUX;
        img->arch = peek(img, 0x236, 2) & 1 ? "x86_64" : "i386"; /* xloadflags: 64-bit entry */
    } else if (efi) {
        img->kind = IMAGE_EFI;
        img->arch = arch_of(pe_machines, ARRAY_LEN(pe_machines), (unsigned)peek(img, pe + 4, 2));
    } else if (identify_disk(img)) {
        img->kind = IMAGE_DISK;
    }
}

/* ---- is it whole? ------------------------------------------------------------------------------- */
/* The sections of a PE file (a Linux Image with EFI stub is one) lie inside it. */
static struct error *check_pe(struct image *img)
{
    uint64_t pe = peek(img, 0x3c, 4);
    if (!peek_is(img, 0, "MZ", 2) || !peek_is(img, pe, "PE\0\0", 4))
        return NULL;
    uint64_t table = pe + 24 + peek(img, pe + 20, 2);
    for (uint64_t i = 0; i < peek(img, pe + 6, 2); i++) {
        uint64_t size = peek(img, table + i * 40 + 16, 4), at = peek(img, table + i * 40 + 20, 4);
        if (table + (i + 1) * 40 > img->n || at + size > img->n)
            return error_new("it is truncated: section %" PRIu64 " ends at byte %" PRIu64
                             ", the file has %" PRIu64,
                             i, at + size, img->n);
    }
    return NULL;
}

static struct error *check_linux(struct image *img)
{
    if (img->n < 64)
        return error_new("it is truncated: %" PRIu64 " bytes, the header alone has 64", img->n);
    return check_pe(img);
}

/* An ELF file's header, whichever class it is. */
struct elf_head {
    bool wide; /* ELFCLASS64 */
    uint64_t entry, phoff;
    unsigned phnum;
};

/* 32-bit files are for PCs, which start in 32-bit mode when they are told to. */
static bool may_be_narrow(const struct image *img)
{
    return !strcmp(img->arch, "i386") || !strcmp(img->arch, "x86_64");
}

static struct error *read_elf_header(struct image *img, struct elf_head *h)
{
    union {
        Elf64_Ehdr wide;
        Elf32_Ehdr narrow;
    } eh;
    if (img->n < sizeof(eh.narrow))
        return error_new("it is truncated inside the ELF header");
    struct error *err = image_read(img, 0, &eh, MIN(img->n, sizeof(eh)));
    if (err)
        return err;
    const unsigned char *ident = eh.wide.e_ident;
    h->wide = ident[EI_CLASS] == ELFCLASS64;
    if ((!h->wide && (ident[EI_CLASS] != ELFCLASS32 || !may_be_narrow(img))) ||
        ident[EI_DATA] != ELFDATA2LSB)
        return error_new("it is not a 64-bit little-endian ELF file");
    if (h->wide && img->n < sizeof(eh.wide))
        return error_new("it is truncated inside the ELF header");
    if (eh.wide.e_type != ET_EXEC && eh.wide.e_type != ET_DYN)
        return error_new("it is not an executable ELF file (type %u)", eh.wide.e_type);

    h->entry = h->wide ? eh.wide.e_entry : eh.narrow.e_entry;
    h->phoff = h->wide ? eh.wide.e_phoff : eh.narrow.e_phoff;
    h->phnum = h->wide ? eh.wide.e_phnum : eh.narrow.e_phnum;
    uint64_t size = h->wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if ((h->wide ? eh.wide.e_phentsize : eh.narrow.e_phentsize) != size || h->phnum == 0)
        return error_new("it has no ELF program headers that we know");
    if (h->phoff > img->n || h->phnum * size > img->n - h->phoff)
        return error_new("it is truncated: program headers end at byte %" PRIu64
                         ", the file has %" PRIu64,
                         h->phoff + h->phnum * size, img->n);
    return NULL;
}

static struct error *read_program_header(struct image *img, const struct elf_head *h, unsigned i,
                                         Elf64_Phdr *ph)
{
    Elf32_Phdr narrow;
    if (h->wide)
        return image_read(img, h->phoff + i * sizeof(*ph), ph, sizeof(*ph));
    struct error *err = image_read(img, h->phoff + i * sizeof(narrow), &narrow, sizeof(narrow));
    if (!err)
        *ph = (Elf64_Phdr){ .p_type = narrow.p_type,
                            .p_offset = narrow.p_offset,
                            .p_vaddr = narrow.p_vaddr,
                            .p_paddr = narrow.p_paddr,
                            .p_filesz = narrow.p_filesz,
                            .p_memsz = narrow.p_memsz,
                            .p_align = narrow.p_align };
    return err;
}

/* Take the loadable segments as parts. */
static struct error *parse_elf(struct image *img)
{
    struct elf_head h;
    Elf64_Phdr ph;
    struct error *err = read_elf_header(img, &h);
    if (err)
        return err;
    img->n_parts = 0;
    img->entry = h.entry;
    img->is_32bit = !h.wide;
    for (unsigned i = 0; !err && i < h.phnum; i++) {
        err = read_program_header(img, &h, i, &ph);
        if (err || ph.p_type != PT_LOAD || ph.p_memsz == 0)
            continue;
        if (ph.p_filesz > ph.p_memsz)
            return error_new("ELF segment %u has more bytes in the file than in memory", i);
        if (ph.p_offset > img->n || ph.p_filesz > img->n - ph.p_offset)
            return error_new("it is truncated: ELF segment %u ends beyond the file's %" PRIu64
                             " bytes",
                             i, img->n);
        if (img->n_parts == IMAGE_MAX_PARTS)
            return error_new("it has more than %d loadable ELF segments", IMAGE_MAX_PARTS);
        img->parts[img->n_parts++] =
            (struct image_part){ ph.p_paddr, ph.p_offset, ph.p_filesz, ph.p_memsz };
        /* e_entry is a virtual address */
        if (h.entry >= ph.p_vaddr && h.entry - ph.p_vaddr < ph.p_memsz)
            img->entry = h.entry - ph.p_vaddr + ph.p_paddr;
    }
    if (!err && img->n_parts == 0)
        err = error_new("it has no loadable ELF segment");
    return err;
}

/* ---- notes -------------------------------------------------------------------------------------- */
/* In the n bytes of a note segment: the wanted note's descriptor, or NULL. */
static const uint8_t *find_note(const uint8_t *at, uint64_t n, uint64_t align, const char *owner,
                                uint32_t type, uint64_t *desc_n)
{
    enum { NOTE_HEAD = 12 };
    uint64_t owner_n = strlen(owner) + 1;
    while (n >= NOTE_HEAD) {
        uint64_t name_n = load_le(at, 4), desc_at = NOTE_HEAD + align_up(name_n, align);
        *desc_n = load_le(at + 4, 4);
        uint64_t next = desc_at + align_up(*desc_n, align);
        if (desc_at > n || *desc_n > n - desc_at)
            return NULL;
        if (load_le(at + 8, 4) == type && name_n == owner_n &&
            memcmp(at + NOTE_HEAD, owner, owner_n) == 0)
            return at + desc_at;
        if (next > n)
            return NULL;
        at += next;
        n -= next;
    }
    return NULL;
}

bool image_elf_note(struct image *img, const char *owner, uint32_t type, uint64_t *value)
{
    enum { MOST = 64 * 1024 };
    struct elf_head h;
    Elf64_Phdr ph;
    bool found = false;
    struct error *err = img->kind == IMAGE_ELF ? read_elf_header(img, &h) : error_new("no ELF");
    for (unsigned i = 0; !err && !found && i < h.phnum; i++) {
        err = read_program_header(img, &h, i, &ph);
        if (err || ph.p_type != PT_NOTE || ph.p_filesz > MOST)
            continue;
        uint8_t *bytes = xmalloc(MAX(ph.p_filesz, 1));
        uint64_t n = 0;
        err = image_read(img, ph.p_offset, bytes, ph.p_filesz);
        const uint8_t *desc =
            err ? NULL : find_note(bytes, ph.p_filesz, ph.p_align == 8 ? 8 : 4, owner, type, &n);
        found = desc && (n == 4 || n == 8);
        if (found)
            *value = load_le(desc, (unsigned)n);
        free(bytes);
    }
    error_free(err);
    return found;
}

/* ---- opening ------------------------------------------------------------------------------------ */
static struct error *read_whole(struct image *img, uint64_t most, uint8_t **out)
{
    if (img->n > most)
        return error_new("it has %" PRIu64 " bytes, more than the %" PRIu64 " there is room for",
                         img->n, most);
    uint8_t *bytes = malloc(img->n);
    if (!bytes)
        return error_new("no memory to read it");
    struct error *err = image_read(img, 0, bytes, img->n);
    if (err)
        free(bytes);
    else
        *out = bytes;
    return err;
}

/* Replace a compressed image by its contents. */
static struct error *unpack(struct image *img, uint64_t most)
{
    uint64_t from = 0, n = img->n;
    bool zboot = peek_is(img, 0, "MZ", 2) && peek_is(img, 4, "zimg", 4);
    char how[9] = "gzip";
    if (zboot) {
        from = peek(img, 8, 4);
        n = peek(img, 12, 4);
        for (unsigned i = 0; i < 8; i++)
            how[i] = (char)peek(img, 24 + i, 1);
        if (from > img->n || n > img->n - from)
            return error_new("it is truncated: its compressed part ends at byte %" PRIu64
                             ", the file has %" PRIu64,
                             from + n, img->n);
        if (strcmp(how, "gzip") != 0)
            return error_new("it is compressed in a way that is not known here (only gzip is); "
                             "unpack it first");
    } else if (!peek_is(img, 0, "\x1f\x8b", 2)) {
        return NULL;
    }

    uint8_t *file = NULL, *bytes;
    uint64_t bytes_n;
    struct error *err = read_whole(img, MAX(most, HEAD), &file);
    if (err)
        return err;
    err = gunzip(file + from, n, most, &bytes, &bytes_n);
    free(file);
    if (err)
        return err;
    img->packed = true;
    img->bytes = bytes;
    img->n = bytes_n;
    return NULL;
}

static struct error *open_file(struct image *img)
{
    struct stat st;
    img->fd = open(img->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe nobody writes to */
    if (img->fd < 0)
        return error_errno("cannot open it");
    if (fstat(img->fd, &st) < 0)
        return error_errno("cannot look at it");
    if (S_ISDIR(st.st_mode))
        return error_new("it is a directory");
    off_t end = lseek(img->fd, 0, SEEK_END); /* block devices have a size too */
    if (end < 0)
        return error_new("it is not a file");
    img->n = (uint64_t)end;
    if (img->n == 0)
        return error_new("it is empty");
    return NULL;
}

static bool runs_on(const char *machine, const char *arch)
{
    return !strcmp(machine, arch) || (!strcmp(machine, "x86_64") && !strcmp(arch, "i386"));
}

static struct error *check(struct image *img, const char *arch)
{
    if (arch && img->arch && !runs_on(arch, img->arch))
        return error_new("it is made for %s, this machine is %s", img->arch, arch);
    if (img->kind == IMAGE_LINUX)
        return check_linux(img);
    if (img->kind == IMAGE_EFI)
        return check_pe(img);
    return img->kind == IMAGE_ELF ? parse_elf(img) : NULL;
}

static struct error *open_named(const char *role, const char *path, const char *arch, uint64_t most,
                                bool look_inside, struct image **out)
{
    struct image *img = xcalloc(1, sizeof(*img));
    img->role = role;
    img->path = xstrdup(path);
    struct error *err = open_file(img);
    if (!err && look_inside)
        err = unpack(img, most);
    if (!err && look_inside) {
        identify(img);
        err = check(img, arch);
    }
    if (err) {
        image_free(img);
        return error_in(err, "%s '%s'", role, path);
    }
    *out = img;
    return NULL;
}

struct error *image_open(const char *role, const char *path, const char *arch, uint64_t most,
                         struct image **out)
{
    return open_named(role, path, arch, most, arch != NULL, out);
}

struct error *image_identify(const char *path, enum image_kind *kind, const char **arch)
{
    struct image *img;
    struct error *err = open_named("image", path, NULL, GIB, true, &img);
    if (err)
        return err;
    *kind = img->kind;
    *arch = img->arch;
    image_free(img);
    return NULL;
}

struct image *image_from_bytes(const char *role, const void *bytes, uint64_t n)
{
    struct image *img = xcalloc(1, sizeof(*img));
    img->role = role;
    img->path = xstrdup("");
    img->fd = -1;
    img->n = n;
    img->bytes = xmalloc(MAX(n, 1));
    memcpy(img->bytes, bytes, n);
    return img;
}

void image_free(struct image *img)
{
    if (!img)
        return;
    if (img->fd >= 0)
        close(img->fd);
    free(img->bytes);
    free(img->path);
    free(img);
}

/* ---- placing ------------------------------------------------------------------------------------ */
/* Linkers may put the ELF headers in front of a program that starts where RAM does: drop what lies
 * below, which only the file's readers want. */
static void drop_headers_below(struct image_part *p, gpa ram)
{
    enum { MOST = 64 * 1024 };
    if (p->at >= ram || ram - p->at > MOST || p->file_off != 0 || ram - p->at >= p->file_n)
        return;
    uint64_t n = ram - p->at;
    *p = (struct image_part){ ram, n, p->file_n - n, p->mem_n - n };
}

/* Every part lies in RAM: note what it takes together. */
static struct error *check_parts(struct image *img, gpa ram, uint64_t ram_size)
{
    img->low = UINT64_MAX;
    img->high = 0;
    for (unsigned i = 0; i < img->n_parts; i++) {
        struct image_part *p = &img->parts[i];
        if (p->at < ram || p->at - ram > ram_size || p->mem_n > ram_size - (p->at - ram))
            return error_in(error_new("%" PRIu64 " bytes at %#" PRIx64
                                      " do not fit into memory, %#" PRIx64 " to %#" PRIx64
                                      " (see -m)",
                                      p->mem_n, p->at, ram, ram + ram_size - 1),
                            "%s '%s'", img->role, img->path);
        img->low = MIN(img->low, p->at);
        img->high = MAX(img->high, p->at + p->mem_n);
    }
    return NULL;
}

struct error *image_place(struct image *img, gpa at, gpa ram, uint64_t ram_size)
{
    for (unsigned i = 0; img->kind == IMAGE_ELF && i < img->n_parts; i++)
        drop_headers_below(&img->parts[i], ram);
    if (img->kind != IMAGE_ELF) {
        uint64_t mem_n = img->n;
        if (img->kind == IMAGE_LINUX && img->arch && strcmp(img->arch, "riscv64") == 0)
            mem_n = MAX(mem_n, peek(img, 16, 8)); /* image_size: with what it clears */
        img->n_parts = 1;
        img->parts[0] = (struct image_part){ at, 0, img->n, mem_n };
        img->entry = at;
    }
    return check_parts(img, ram, ram_size);
}

struct error *image_place_part(struct image *img, const struct image_part *part, gpa ram,
                               uint64_t ram_size)
{
    assert(part->file_off <= img->n && part->file_n <= img->n - part->file_off);
    assert(part->mem_n >= part->file_n);
    img->n_parts = 1;
    img->parts[0] = *part;
    return check_parts(img, ram, ram_size);
}

/* Parts of a and b that need the same memory, the first such pair. */
static bool find_overlap(const struct image *a, const struct image *b, struct image_part *in_a,
                         struct image_part *in_b)
{
    for (unsigned i = 0; i < a->n_parts; i++) {
        for (unsigned k = 0; k < b->n_parts; k++) {
            *in_a = a->parts[i];
            *in_b = b->parts[k];
            if (in_a->at < in_b->at + in_b->mem_n && in_b->at < in_a->at + in_a->mem_n)
                return true;
        }
    }
    return false;
}

bool image_needs(const struct image *img, gpa at, uint64_t n)
{
    const struct image range = { .n_parts = 1, .parts = { { .at = at, .mem_n = n } } };
    struct image_part a, b;
    return find_overlap(img, &range, &a, &b);
}

struct error *images_check_overlap(struct image *const *images, size_t n)
{
    struct image_part a, b;
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; images[i] && k < n; k++)
            if (images[k] && find_overlap(images[k], images[i], &a, &b))
                return error_new("%s '%s' at %#" PRIx64 "..%#" PRIx64
                                 " overlaps %s '%s' at %#" PRIx64 "..%#" PRIx64
                                 "; more memory (-m) may help",
                                 images[k]->role, images[k]->path, a.at, a.at + a.mem_n - 1,
                                 images[i]->role, images[i]->path, b.at, b.at + b.mem_n - 1);
    return NULL;
}

/* ---- loading -------------------------------------------------------------------------------------- */
/* Straight from the file into guest RAM; false if it is not one piece of RAM. */
static bool load_pinned(struct image *img, struct vm *vm, const struct image_part *p,
                        struct error **err)
{
    struct iovec iov[8];
    unsigned n_iov = ARRAY_LEN(iov);
    uint64_t off = p->file_off;
    if (p->file_n == 0 || !mem_pin(vm, p->at, p->file_n, true, iov, &n_iov))
        return false;
    for (unsigned i = 0; !*err && i < n_iov; i++) {
        *err = image_read(img, off, iov[i].iov_base, iov[i].iov_len);
        off += iov[i].iov_len;
    }
    mem_mark_written(vm, p->at, p->file_n);
    return true;
}

static struct error *load_range(struct image *img, struct vm *vm, gpa at, uint64_t off, uint64_t n,
                                bool zeros)
{
    uint8_t *buf = xcalloc(1, MIN(n, CHUNK) + 1);
    struct error *err = NULL;
    for (uint64_t done = 0; !err && done < n;) {
        uint64_t now = MIN(n - done, CHUNK);
        if (!zeros)
            err = image_read(img, off + done, buf, now);
        if (!err && !mem_load(vm, at + done, buf, now))
            err = error_new("there is no memory at %#" PRIx64, at + done);
        done += now;
    }
    free(buf);
    return err;
}

static struct error *load_part(struct image *img, struct vm *vm, const struct image_part *p,
                               bool fresh)
{
    struct error *err = NULL;
    if (!load_pinned(img, vm, p, &err))
        err = load_range(img, vm, p->at, p->file_off, p->file_n, false);
    if (!err && !fresh)
        err = load_range(img, vm, p->at + p->file_n, 0, p->mem_n - p->file_n, true);
    return err;
}

struct error *image_load(struct image *img, struct vm *vm, bool fresh)
{
    struct error *err = NULL;
    if (img->packed && !img->bytes) {
        uint64_t n = img->n;
        off_t end = lseek(img->fd, 0, SEEK_END);
        img->packed = false;
        img->n = end < 0 ? 0 : (uint64_t)end;
        err = unpack(img, n);
        if (!err && img->n != n)
            err = error_new("it changed while in use");
        img->packed = true;
        img->n = n;
    }
    for (unsigned i = 0; !err && i < img->n_parts; i++)
        err = load_part(img, vm, &img->parts[i], fresh);
    if (img->packed) { /* unpacked again when needed: a reset is rarer than memory is dear */
        free(img->bytes);
        img->bytes = NULL;
    }
    return error_in(err, "%s '%s'", img->role, img->path);
}
