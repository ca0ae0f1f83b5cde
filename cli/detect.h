/* What a file is: a kernel or a disk image, for which architecture, and how it boots. */
#pragma once

#include "cli/fs.h"

struct error;

enum file_kind { FILE_KERNEL, FILE_DISK, FILE_CD };
enum disk_boot {
    BOOT_UNKNOWN,  /* the architecture may be known all the same */
    BOOT_EFI,      /* EFI/BOOT/BOOT<arch>.EFI */
    BOOT_EXTLINUX, /* an extlinux.conf or boot.scr for U-Boot */
    BOOT_KERNEL,   /* kernel and perhaps initrd stand in the root file system */
};
struct file_info {
    enum file_kind kind;
    const char *arch; /* "riscv64", "x86_64", "aarch64"; NULL: could not be told */
    char why[128];    /* what told: "ELF header", "EFI/BOOT/BOOTRISCV64.EFI on partition 1" */
    enum disk_boot boot;
    bool bios_boots; /* its first sector or boot catalog has code for a PC's BIOS */
    unsigned partition; /* BOOT_KERNEL: where the root is, as in struct partition */
    char kernel_path[64], initrd_path[64]; /* inside that partition; "" if there is none */
};
/* Error: cannot be read, is empty, is in a format that is not supported. */
struct error *file_detect(const char *path, struct file_info *out);
/* Copy a file from a partition of an image into a memfd; its name for open(2) goes to `path`. The
 * descriptor stays open for the life of the process. */
struct error *file_extract(const char *image, unsigned partition, const char *inside, char *path,
                           size_t room);
