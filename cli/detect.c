#include "cli/detect.h"

#include "core/error.h"
#include "core/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* One line an architecture: how it is called where. */
static const struct arch_names {
    const char *name;
    uint16_t elf, pe;       /* machine numbers of ELF and PE */
    const char *image;      /* magic at byte 56 of the kernel's Image, NULL: has none */
    const char *efi_loader; /* removable media path, UEFI 2.10, 3.5.1.1 */
    const char *libraries;  /* a folder that its Debian systems have */
    const char *loader;     /* the dynamic loader elsewhere */
} archs[] = {
    { "riscv64", 243, 0x5064, "RSC\005", "EFI/BOOT/BOOTRISCV64.EFI", "usr/lib/riscv64-linux-gnu",
      "lib/ld-linux-riscv64-lp64d.so.1" },
    { "x86_64", 62, 0x8664, NULL, "EFI/BOOT/BOOTX64.EFI", "usr/lib/x86_64-linux-gnu",
      "lib64/ld-linux-x86-64.so.2" },
    { "aarch64", 183, 0xaa64, "ARM\x64", "EFI/BOOT/BOOTAA64.EFI", "usr/lib/aarch64-linux-gnu",
      "lib/ld-linux-aarch64.so.1" },
};

static struct error *disk_open(const char *path, struct disk *d)
{
    struct stat st;
    d->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (d->fd < 0)
        return error_errno("cannot open '%s'", path);
    if (fstat(d->fd, &st)) {
        struct error *err = error_errno("cannot read '%s'", path);
        close(d->fd);
        return err;
    }
    d->size = (uint64_t)st.st_size;
    if (S_ISBLK(st.st_mode) && ioctl(d->fd, BLKGETSIZE64, &d->size))
        d->size = 0;
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
        close(d->fd);
        return error_new("'%s' is neither a file nor a block device", path);
    }
    return NULL;
}

/* ---- kernels --------------------------------------------------------------------------------- */
static bool is_found(struct file_info *out, const struct arch_names *a, const char *why)
{
    out->kind = FILE_KERNEL;
    out->arch = a->name;
    snprintf(out->why, sizeof(out->why), "%s", why);
    return true;
}

/* What only a PC starts: Linux's bzImage by its boot protocol, and 32-bit ELF files (Multiboot). */
static bool detect_pc_kernel(const uint8_t *head, size_t n, struct file_info *out)
{
    enum { EM_386 = 3 };
    for (size_t i = 0; i < ARRAY_LEN(archs); i++) {
        if (strcmp(archs[i].name, "x86_64") != 0)
            continue;
        if (n >= 0x206 && !memcmp(head + 0x202, "HdrS", 4))
            return is_found(out, &archs[i], "bzImage header");
        if (n >= 20 && !memcmp(head, "\177ELF", 4) && load_le(head + 18, 2) == EM_386)
            return is_found(out, &archs[i], "ELF header for i386");
    }
    return false;
}

static bool detect_kernel(const uint8_t *head, size_t n, struct file_info *out)
{
    uint64_t pe = n >= 64 && !memcmp(head, "MZ", 2) ? load_le(head + 60, 4) : n;
    bool is_pe = pe + 6 <= n && !memcmp(head + pe, "PE\0\0", 4);
    for (size_t i = 0; i < ARRAY_LEN(archs); i++) {
        const struct arch_names *a = &archs[i];
        if (n >= 20 && !memcmp(head, "\177ELF", 4) && load_le(head + 18, 2) == a->elf)
            return is_found(out, a, "ELF header");
        if (n >= 60 && a->image && !memcmp(head + 56, a->image, 4))
            return is_found(out, a, "Image header");
        if (is_pe && load_le(head + pe + 4, 2) == a->pe)
            return is_found(out, a, "EFI header");
    }
    return detect_pc_kernel(head, n, out);
}

/* ---- disks ----------------------------------------------------------------------------------- */
struct newest {
    const char *prefixes[3];
    char name[64];
};

/* The kernel with the highest version, the way versions sort. */
static bool pick_newest(void *opaque, const char *name, const struct fs_node *node)
{
    struct newest *best = opaque;
    for (size_t i = 0; i < ARRAY_LEN(best->prefixes) && best->prefixes[i]; i++) {
        size_t n = strlen(best->prefixes[i]);
        if (!strncmp(name, best->prefixes[i], n) && strlen(name) < sizeof(best->name) &&
            (!best->name[0] || strverscmp(name + n, best->name + n) > 0))
            snprintf(best->name, sizeof(best->name), "%s", name);
    }
    return true;
}

static bool find_in_boot(const struct fs *fs, const char *prefix1, const char *prefix2, char *path,
                         size_t room)
{
    struct fs_node boot;
    struct newest best = { .prefixes = { prefix1, prefix2 } };
    if (!fs_find(fs, "boot", &boot) || !boot.is_dir)
        return false;
    fs_list(fs, &boot, pick_newest, &best);
    int n = snprintf(path, room, "boot/%s", best.name);
    return best.name[0] && n > 0 && (size_t)n < room;
}

static bool has_file(const struct fs *fs, const char *path)
{
    struct fs_node node;
    return fs_find(fs, path, &node) && !node.is_dir;
}

static void find_kernel(const struct fs *fs, unsigned partition, struct file_info *out)
{
    static const char *const kernels[] = { "vmlinuz", "vmlinux", "boot/vmlinuz", "boot/vmlinux",
                                           "boot/Image" };
    static const char *const initrds[] = { "initrd.img", "boot/initrd.img", "boot/initrd" };
    out->kernel_path[0] = out->initrd_path[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(kernels) && !out->kernel_path[0]; i++)
        if (has_file(fs, kernels[i]))
            snprintf(out->kernel_path, sizeof(out->kernel_path), "%s", kernels[i]);
    if (!out->kernel_path[0] &&
        !find_in_boot(fs, "vmlinuz-", "vmlinux-", out->kernel_path, sizeof(out->kernel_path))) {
        out->kernel_path[0] = 0;
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(initrds) && !out->initrd_path[0]; i++)
        if (has_file(fs, initrds[i]))
            snprintf(out->initrd_path, sizeof(out->initrd_path), "%s", initrds[i]);
    if (!out->initrd_path[0] &&
        !find_in_boot(fs, "initrd.img-", NULL, out->initrd_path, sizeof(out->initrd_path)))
        out->initrd_path[0] = 0;
    out->boot = BOOT_KERNEL;
    out->partition = partition;
}

static void detect_system(const struct fs *fs, const struct partition *p, struct file_info *out)
{
    struct fs_node node;
    for (size_t i = 0; i < ARRAY_LEN(archs) && !out->arch; i++) {
        const char *told = fs_find(fs, archs[i].libraries, &node) ? archs[i].libraries
                           : fs_find(fs, archs[i].loader, &node)  ? archs[i].loader
                                                                  : NULL;
        if (!told)
            continue;
        out->arch = archs[i].name;
        snprintf(out->why, sizeof(out->why), "/%s on %s%.0u", told,
                 p->number ? "partition " : "its file system", p->number);
    }
}

static void detect_partition(const struct fs *fs, const struct partition *p, struct file_info *out)
{
    static const char *const extlinux[] = { "boot/extlinux/extlinux.conf", "extlinux/extlinux.conf",
                                            "boot/boot.scr", "boot.scr" };
    for (size_t i = 0; i < ARRAY_LEN(archs) && out->boot != BOOT_EFI; i++) {
        if (!has_file(fs, archs[i].efi_loader))
            continue;
        out->arch = archs[i].name;
        out->boot = BOOT_EFI;
        snprintf(out->why, sizeof(out->why), "%s on partition %u", archs[i].efi_loader, p->number);
    }
    if (out->boot == BOOT_EFI)
        return;
    detect_system(fs, p, out);
    for (size_t i = 0; i < ARRAY_LEN(extlinux) && out->boot != BOOT_EXTLINUX; i++)
        if (has_file(fs, extlinux[i]))
            out->boot = BOOT_EXTLINUX;
    if (out->boot == BOOT_UNKNOWN && fs->kind == FS_EXT)
        find_kernel(fs, p->number, out);
}

static void detect_disk(const struct disk *d, struct file_info *out)
{
    struct partition *parts = xcalloc(DISK_MAX_PARTITIONS, sizeof(*parts));
    unsigned n = disk_partitions(d, parts);
    for (unsigned i = 0; i < n && out->boot != BOOT_EFI; i++) {
        struct fs fs;
        if (fs_open(&fs, d, &parts[i]))
            detect_partition(&fs, &parts[i], out);
    }
    free(parts);
}

/* Formats of disk images and archives that a user may well try. */
static const struct {
    const char *magic;
    size_t n, at;
    const char *what;
} foreign[] = {
    { "QFI\xfb", 4, 0, "a qcow2 image; convert it with: qemu-img convert -O raw" },
    { "KDMV", 4, 0, "a VMDK image; convert it with: qemu-img convert -O raw" },
    { "vhdxfile", 8, 0, "a VHDX image; convert it with: qemu-img convert -O raw" },
    { "conectix", 8, 0, "a VHD image; convert it with: qemu-img convert -O raw" },
    { "\xfd"
      "7zXZ",
      5, 0, "compressed; unpack it with: xz -d" },
    { "\x28\xb5\x2f\xfd", 4, 0, "compressed; unpack it with: zstd -d" },
    { "BZh", 3, 0, "compressed; unpack it with: bzip2 -d" },
};

static struct error *detect_foreign(const uint8_t *head, size_t n, const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++)
        if (foreign[i].at + foreign[i].n <= n &&
            !memcmp(head + foreign[i].at, foreign[i].magic, foreign[i].n))
            return error_new("'%s' is %s", path, foreign[i].what);
    return NULL;
}

/* The first sector of a disk that a PC's BIOS starts: code and a signature. */
static bool has_boot_code(const uint8_t *head, size_t n)
{
    bool any = false;
    for (size_t i = 0; i < 440 && n >= 512; i++)
        any |= head[i] != 0;
    return any && head[510] == 0x55 && head[511] == 0xaa;
}

/* ISO 9660 has its descriptors from sector 16 on; El Torito 1.0, figure 7: the one of a bootable CD leads to a
 * catalog, whose second byte says for which CPUs: 0 is the PC. */
static bool detect_cd(const struct disk *d, const uint8_t *head, size_t n, struct file_info *out)
{
    enum { SECTOR = 2048, VOLUME = 16 * SECTOR, BOOT = 17 * SECTOR };
    static const char boot[] = "\0CD001\1EL TORITO SPECIFICATION";
    uint8_t entry[2];
    if (n < BOOT + SECTOR || memcmp(head + VOLUME + 1, "CD001", 5) != 0)
        return false;
    out->kind = FILE_CD;
    if (memcmp(head + BOOT, boot, sizeof(boot)) != 0)
        return true;
    off_t catalog = (off_t)load_le(head + BOOT + 0x47, 4) * SECTOR;
    if (pread(d->fd, entry, sizeof(entry), catalog) == sizeof(entry) && entry[0] == 1 &&
        entry[1] == 0) {
        out->arch = "x86_64";
        out->bios_boots = true;
        snprintf(out->why, sizeof(out->why), "El Torito boot catalog");
    }
    return true;
}

struct error *file_detect(const char *path, struct file_info *out)
{
    enum { HEAD = 64 << 10 };
    struct disk d;
    *out = (struct file_info){ .kind = FILE_DISK };
    struct error *err = disk_open(path, &d);
    if (err)
        return err;
    uint8_t *head = xmalloc(HEAD);
    ssize_t n = pread(d.fd, head, HEAD, 0);
    if (n <= 0)
        err = n < 0 ? error_errno("cannot read '%s'", path) : error_new("'%s' is empty", path);
    else if (!detect_cd(&d, head, (size_t)n, out) && !detect_kernel(head, (size_t)n, out) &&
             !(err = detect_foreign(head, (size_t)n, path))) {
        detect_disk(&d, out);
        out->bios_boots = has_boot_code(head, (size_t)n);
    }
    free(head);
    close(d.fd);
    return err;
}

/* ---- files inside images --------------------------------------------------------------------- */
static struct error *copy_out(const struct fs *fs, const struct fs_node *node, int to)
{
    enum { CHUNK = 1 << 20 };
    struct error *err = NULL;
    if (node->size > 1 * GIB)
        return error_new("the file is too large (%llu bytes)", (unsigned long long)node->size);
    uint8_t *buf = xmalloc(CHUNK);
    for (uint64_t off = 0; off < node->size && !err;) {
        int64_t n = fs_read(fs, node, off, buf, CHUNK);
        if (n <= 0)
            err = error_new("the file system is damaged");
        else if (write(to, buf, (size_t)n) != n)
            err = error_errno("cannot copy it to memory");
        off += (uint64_t)MAX(n, 0);
    }
    free(buf);
    return err;
}

static struct error *extract_from(const struct disk *d, unsigned partition, const char *inside,
                                  int to)
{
    struct partition *parts = xcalloc(DISK_MAX_PARTITIONS, sizeof(*parts));
    unsigned n = disk_partitions(d, parts);
    struct error *err = error_new("it is not there");
    for (unsigned i = 0; i < n; i++) {
        struct fs fs;
        struct fs_node node;
        if (parts[i].number != partition || !fs_open(&fs, d, &parts[i]) ||
            !fs_find(&fs, inside, &node) || node.is_dir)
            continue;
        error_free(err);
        err = copy_out(&fs, &node, to);
        break;
    }
    free(parts);
    return err;
}

struct error *file_extract(const char *image, unsigned partition, const char *inside, char *path,
                           size_t room)
{
    struct disk d;
    struct error *err = disk_open(image, &d);
    if (err)
        return err;
    int fd = memfd_create(inside, MFD_CLOEXEC);
    if (fd < 0)
        err = error_errno("cannot make a file in memory");
    else
        err = extract_from(&d, partition, inside, fd);
    close(d.fd);
    snprintf(path, room, "/proc/self/fd/%d", fd);
    if (err && fd >= 0)
        close(fd);
    return error_in(err, "'%s' in '%s'", inside, image);
}
