/* SMBIOS tables (DSP0134, 3.4): what a PC says about itself, for dmidecode and the like. A board gives a struct
 * smbios_pc, the user may override by -smbios; the result goes to firmware through fw_cfg or directly into
 * memory. */
#pragma once

#include "core/util.h"

#include <stdbool.h>

struct device;
struct error;

/* ---- -smbios ------------------------------------------------------------------------------------ */
struct smbios_options;
struct smbios_options *smbios_options_new(void);
void smbios_options_free(struct smbios_options *o); /* NULL is fine */
/* One -smbios, "type=1,serial=7" or "file=structure.bin": files are read now. */
struct error *smbios_options_add(struct smbios_options *o, const char *text);

/* ---- tables ------------------------------------------------------------------------------------- */
struct smbios_pc {
    const char *manufacturer;         /* of everything unless the user says otherwise: "QEMU" */
    const char *product;              /* "Standard PC (Q35 + ICH9, 2009)" */
    const char *version;              /* "pc-q35-9.0" */
    const char *uuid;                 /* text, as vm->uuid; NULL: none */
    const char *cpu_model;            /* NULL: "manufacturer" alone */
    uint32_t cpuid_eax, cpuid_edx;    /* of leaf 1 */
    unsigned sockets, cores, threads; /* cores per socket, threads per core; at least 1 */
    uint64_t ram_below_4g, ram_above_4g;
    bool no_firmware;                     /* nobody else adds type 0 */
    bool entry64;                         /* SMBIOS 3's 64-bit entry point instead of 2.1's */
    const struct smbios_options *options; /* NULL: none */
};

struct smbios;
/* Error: what the user gave does not fit (a structure twice, tables over 64 KiB with a 32-bit entry point). */
struct error *smbios_build(const struct smbios_pc *pc, struct smbios **out);
void smbios_free(struct smbios *s); /* NULL is fine */

/* etc/smbios/smbios-anchor and etc/smbios/smbios-tables. Before vm_start. */
struct error *smbios_offer(const struct smbios *s, struct device *fw_cfg);

/* Without firmware: the bytes for `at`, entry point first, into buf (smbios_size). `at` is a multiple of 16 below
 * 4 GiB; guests without EFI search 0xf0000 to 0xfffff. */
uint64_t smbios_size(const struct smbios *s);
void smbios_link(const struct smbios *s, gpa at, uint8_t *buf);
