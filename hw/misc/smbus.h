/* A SMBus host controller as ICH9 and PIIX4 have it, with the memory modules' EEPROMs on its bus. It is a part of the
 * PCI function that holds its place, whose lock guards it. Each transaction is done at once. Section numbers: 82801I
 * (ICH9) data sheet; the PIIX4's registers (82371AB, 7.3) are the first of these, with less in them. */
#pragma once

#include "core/device.h"

enum { SMBUS_N_MODULES = 8, SMBUS_SPD_SIZE = 256, SMBUS_BLOCK = 32 };
enum { ICH9_SMBUS_SIZE = 32, PIIX4_SMBUS_SIZE = 16 };

struct smbus {
    struct device *dev;
    bool is_ich9;
    bool enabled; /* by the function's register; else no transaction starts */
    struct mem_region *ports;
    struct irq interrupt;                      /* a level; called with the device's lock held */
    uint32_t modules_mib[SMBUS_N_MODULES];     /* at address 0x50 and up; 0: none */

    uint8_t status, control, command, address, data0, data1, pec, aux_status, aux_control;
    uint8_t slave_address, slave_command, pins[2];
    uint8_t block[SMBUS_BLOCK], at; /* the block's next byte, for the guest */
    /* A block that moves byte by byte: how many are left, of which module; the last one is out. */
    uint8_t left, module;
    bool last;
    uint8_t offsets[SMBUS_N_MODULES]; /* what each EEPROM reads next */
};
extern const struct field smbus_fields[19];

/* From the function's realize and unrealize; the caller places `ports`. */
void smbus_init(struct smbus *s, struct device *dev, bool is_ich9);
void smbus_free(struct smbus *s);
void smbus_reset(struct smbus *s);
/* After its state was loaded. Error: a block in the middle of nowhere. */
struct error *smbus_loaded(struct smbus *s);
/* Where its interrupt leads has changed. Lock held. */
void smbus_update(struct smbus *s);
/* As many modules as show this much RAM, the largest first; what is left below 128 MiB has none. */
void smbus_set_ram(struct smbus *s, uint64_t size);

/* Serial presence detect of a DDR3 module without ECC, of 128 MiB to 64 GiB, a power of two. JEDEC standard 21-C,
 * annex K. */
void spd_fill(uint8_t to[SMBUS_SPD_SIZE], uint32_t mib);

/* "ICH9-SMB", q35's 00:1f.3. */
struct smbus *ich9_smbus_of(struct device *dev);
