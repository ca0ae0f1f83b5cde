/* Inside acpi*.c: tables while they are written, and what is still to be linked. */
#pragma once

#include "hw/firmware/acpi.h"
#include "hw/firmware/blob.h"

enum { ACPI_HEADER = 36 };
enum acpi_file { ACPI_TABLES, ACPI_RSDP };

/* A field that holds an offset into the tables, and will hold an address. */
struct acpi_pointer {
    enum acpi_file file;
    uint32_t at, size;
};
/* A byte that makes the sum over [start, start + n) zero; zero itself until then. */
struct acpi_sum {
    enum acpi_file file;
    uint32_t at, start, n;
};
enum { ACPI_MAX_TABLES = 32, ACPI_MAX_POINTERS = 2 * ACPI_MAX_TABLES + 8 };

struct acpi_tables {
    struct blob bytes;
    uint8_t rsdp[ACPI_RSDP_SIZE];
    char oem_id[6], oem_table_id[8];
    struct acpi_pointer pointers[ACPI_MAX_POINTERS];
    unsigned n_pointers;
    struct acpi_sum sums[ACPI_MAX_TABLES + 4]; /* in this order */
    unsigned n_sums;
    uint32_t roots[ACPI_MAX_TABLES]; /* offsets of the tables that RSDT and XSDT list */
    unsigned n_roots;
};

/* Begin a table with its header; returns its offset. acpi_end fills in length, sum and owner. */
uint32_t acpi_begin(struct acpi_tables *t, const char *signature, uint8_t revision);
void acpi_end(struct acpi_tables *t, uint32_t table);
/* acpi_end, and RSDT and XSDT list it. */
void acpi_end_root(struct acpi_tables *t, uint32_t table);
/* A pointer of 4 or 8 bytes to this offset in the tables. */
void acpi_add_pointer(struct acpi_tables *t, uint32_t to, unsigned size);

/* acpi_dsdt.c; returns its offset. */
uint32_t acpi_add_dsdt(struct acpi_tables *t, const struct acpi_pc *pc);
/* acpi_fixed.c: tables that are structs. */
void acpi_add_fadt(struct acpi_tables *t, const struct acpi_pc *pc, uint32_t facs, uint32_t dsdt);
void acpi_add_fixed(struct acpi_tables *t, const struct acpi_pc *pc);

/* -acpitable. */
struct acpi_user_table {
    struct blob bytes; /* with a header; its sum is not right yet */
};
struct acpi_options {
    struct acpi_user_table *at;
    unsigned n;
};

/* Compiled ASL: a whole DSDT each. NULL when this build had no iasl. */
struct acpi_aml {
    const uint8_t *at;
    size_t n;
};
extern const struct acpi_aml acpi_aml_q35, acpi_aml_piix, acpi_aml_microvm, acpi_aml_microvm_pcie;
