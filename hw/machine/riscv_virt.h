/* The riscv64 "virt" board, between its files: memory map, options, boot layout. */
#pragma once

#include "core/util.h"
#include "hw/machine/machine.h"

enum virt_place {
    VIRT_ROM,
    VIRT_TEST,
    VIRT_RTC,
    VIRT_CLINT,
    VIRT_SSWI,
    VIRT_PCI_IO,
    VIRT_PLATFORM_BUS,
    VIRT_INTC_M, /* the PLIC, or the machine-level APLIC */
    VIRT_INTC_S, /* the supervisor-level APLIC */
    VIRT_UART,
    VIRT_VIRTIO,
    VIRT_FW_CFG,
    VIRT_FLASH,
    VIRT_IMSIC_M,
    VIRT_IMSIC_S,
    VIRT_PCI_ECAM,
    VIRT_PCI_MEM,
    VIRT_RAM,
    N_VIRT_PLACES
};
struct virt_map_entry {
    gpa at;
    uint64_t size;
};
extern const struct virt_map_entry virt_map[N_VIRT_PLACES];

enum { /* interrupt sources */
    VIRT_IRQ_VIRTIO = 1, /* 1 to 8 */
    VIRT_IRQ_UART = 10,
    VIRT_IRQ_RTC = 11,
    VIRT_IRQ_PCI = 0x20, /* four lines */
    VIRT_N_SOURCES = 95,
    VIRT_N_APLIC_SOURCES = 96,
    VIRT_N_VIRTIO = 8,
    VIRT_N_FLASH = 2,
    VIRT_IMSIC_IDS = 255,
};

enum virt_aia { VIRT_PLIC, VIRT_APLIC, VIRT_APLIC_IMSIC };

struct virt {
    struct machine m;
    bool aclint;
    enum virt_aia aia;
    char *dumpdtb;
    unsigned n_harts;
    char *kernel_path, *initrd_path, *append, *dtb_path, *bios;
    gpa pci_mem64; /* window of 16 GiB above RAM */

    struct virt_imsic {
        struct device *m, *s;
    } *imsics; /* per hart */
    struct device *mtimer, *intc_m, *intc_s, *fw_cfg, *flash[VIRT_N_FLASH];

    /* Set by ready. */
    struct image *firmware, *kernel, *initrd, *rom, *dtb;
    bool loaded; /* images were placed once: RAM is not zero any more */
};

/* "[machine and devices]" as a flattened device tree with some room to grow; caller frees. */
struct error *virt_make_dtb(struct virt *v, void **fdt);
/* Put boot arguments into /chosen of our tree or the user's. initrd_n 0: none. */
struct error *virt_dtb_set_boot(void *fdt, const char *append, gpa initrd, uint64_t initrd_n);
/* A user's device tree, checked, with some room to grow; caller frees. */
struct error *virt_read_dtb(const char *path, void **fdt);
/* New random numbers for the guest's kernel, if the tree has room for them. */
void virt_dtb_reseed(void *fdt);
