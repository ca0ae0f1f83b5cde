/* The firmware configuration device: numbered and named blobs that firmware and kernels read. Class
 * "fw-cfg-mmio", or at I/O ports "fw_cfg_io" ("iobase": 0x510). Layout as in QEMU's docs/specs/fw_cfg; blobs are
 * read-only to the guest. */
#pragma once

#include "core/device.h"

enum { FW_CFG_SIZE = 0x18, FW_CFG_N_PORTS = 12 };

enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NB_CPUS = 0x05,
    FW_CFG_KERNEL_ADDR = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_INITRD_ADDR = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_CMDLINE_ADDR = 0x13,
    FW_CFG_CMDLINE_SIZE = 0x14,
    FW_CFG_CMDLINE_DATA = 0x15,
    FW_CFG_SETUP_ADDR = 0x16, /* of a bzImage: its real-mode part */
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIR = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ARCH = 0x8000, /* what each architecture has of its own */
    FW_CFG_N_ARCH = 16,
};

/* Give the guest a blob under a key, or replace it; `data` is copied. Before vm_start. */
void fw_cfg_add(struct device *fw, uint16_t key, const void *data, uint32_t n);
void fw_cfg_add_u16(struct device *fw, uint16_t key, uint16_t value);
void fw_cfg_add_u32(struct device *fw, uint16_t key, uint32_t value);
void fw_cfg_add_u64(struct device *fw, uint16_t key, uint64_t value);
/* A blob with a name of at most 55 characters in the directory, "etc/…" or "opt/…". Error: the name
 * is too long or taken, or the directory is full. */
struct error *fw_cfg_add_file(struct device *fw, const char *name, const void *data, uint32_t n);
/* A file whose bytes are their owner's state. `looked_at` comes before the guest reads it from its start; it may be
 * written, by DMA, if `is_open` says so at the time (NULL: never). Both are called under fw_cfg's lock. */
struct fw_cfg_live {
    uint8_t *bytes;
    uint32_t n;
    void (*looked_at)(void *opaque);
    bool (*is_open)(void *opaque);
    void *opaque;
};
struct error *fw_cfg_add_live(struct device *fw, const char *name, const struct fw_cfg_live *live);
/* Files of the user: -fw_cfg [name=]NAME,file=FILE or string=TEXT, n of them. Errors name the file. */
struct error *fw_cfg_add_options(struct device *fw, const char *const *texts, size_t n);
