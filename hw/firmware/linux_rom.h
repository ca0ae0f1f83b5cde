/* The option ROM by which a BIOS boots the kernel that x86_boot_offer put into fw_cfg (linux_rom.S). */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { LINUX_ROM_SIZE = 1024, LINUX_ROM_STACK = 0xe000 };
/* Its name in fw_cfg, and the line that names it in "bootorder". */
#define LINUX_ROM_NAME       "genroms/linux.bin"
#define LINUX_ROM_BOOT_ORDER "/rom@" LINUX_ROM_NAME

/* What linux_rom.S assembles to. */
extern const uint8_t linux_rom_bytes[];
extern const size_t linux_rom_n;

/* The ROM as firmware wants it: padded, with checksums. */
void linux_rom_make(uint8_t rom[LINUX_ROM_SIZE]);
