/* Host bridges of PCs: class "mch" of q35 (82Q35, root bus "pcie.0") and "i440FX" of pc ("pci.0"). Configuration
 * space at ports 0xcf8 and 0xcfc and, on q35, in memory where PCIEXBAR says; shadow RAM below 1 MiB (PAM) and
 * the compatible SMRAM at 0xa0000. */
#pragma once

#include "hw/pci/pci.h"

/* What a board says about it. RAM is mapped by the board; the bridge lays ROM, holes and shadows on top. */
struct pc_host_setup {
    struct mem_region *ram;    /* its first MiB is seen from address 0 on */
    uint64_t ram_below_4g;     /* where the window of PCI begins */
    uint64_t ram_above_4g;     /* where the upper one begins, less 4 GiB */
    bool smm;                  /* there is system management mode: SMRAM and TSEG can be for that alone */
    unsigned phys_bits;        /* of addresses: where the upper one ends */
};

/* Make the bridge with its function 00.0. Then: pc_host_of(dev)->intx[] and, where a bridge to ISA has its own
 * order of pins, line_of. The VM owns it. */
struct error *pc_host_create(struct vm *vm, const struct device_class *cls,
                             const struct pc_host_setup *setup, struct device **out);
struct pci_host *pc_host_of(struct device *dev);
struct pci_bus *pc_host_bus(struct device *dev);

extern const struct device_class q35_host_class, i440fx_host_class; /* not for users */

/* ---- between the files of the bridges ------------------------------------------------------------ */
enum { PC_N_SEGMENTS = 13, PC_PAM_REGS = 7 };

struct pc_host_model {
    const char *bus_name;
    struct pci_identity identity;
    uint16_t pam;     /* seven registers: 0xf0000, then two segments of 16 KiB from 0xc0000 on in each */
    uint16_t smram;   /* SMRAM control */
    uint16_t pciexbar; /* 0: none */
    uint16_t esmramc;  /* extended SMRAM control, with TSEG; 0: none */
    uint16_t ext_tseg; /* where software asks for the size of an extended TSEG */
    uint8_t smram_writable;
    /* Values that are not zero after a reset, once pci_reset has cleared them. */
    struct pc_host_value {
        uint16_t off;
        uint8_t n;
        uint32_t value, writable;
    } values[8];
};

struct pc_host {
    struct device dev;
    struct pci_host host;
    struct pci_function fn;
    uint32_t address; /* CONFIG_ADDRESS */

    struct pc_host_setup setup;
    struct mem_region *address_port, *data_port, *ecam;
    struct mem_region *rom_hole, *vga_hole;
    struct pc_segment {
        struct mem_region *rw, *ro; /* the same RAM */
        uint8_t shown;              /* PAM_READ | PAM_WRITE as mapped; only pc_host_follow looks */
    } segments[PC_N_SEGMENTS];
    struct pc_smram {
        struct mem_region *open, *closed; /* the same RAM: for all, for system management mode */
        uint8_t shown;                    /* enum smram_sight as mapped */
    } smram, high_smram;
    struct mem_region *tseg, *tseg_hole;
    uint64_t tseg_size; /* as mapped */
    uint8_t pam_kept[PC_PAM_REGS], pciexbar_kept[8]; /* during a reset */
    uint64_t ecam_at, ecam_size; /* as mapped; size 0: not */
    _Atomic uint32_t follow_wanted;
};

extern const struct field pc_host_state[2];
struct error *pc_host_realize(struct device *dev);
void pc_host_unrealize(struct device *dev);
void pc_host_reset(struct device *dev);
struct error *pc_host_loaded(struct device *dev);
