/* SMBIOS structures. Section numbers: DSP0134, 3.4. */
#include "hw/firmware/smbios.h"

#include "core/error.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/smbios_internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { ENTRY_2_SIZE = 31, ENTRY_3_SIZE = 24, TABLES_AT = 32 };
enum { /* handles, as QEMU's */
       HANDLE_CHASSIS = 0x300,
       HANDLE_MEMORY = 0x1000,
};
#define DIMM_SIZE (16 * GIB)

struct smbios {
    bool entry64;
    struct blob tables;
    unsigned n;     /* structures */
    size_t largest; /* of them */

    /* The structure under way. */
    size_t start;
    struct blob strings;
    unsigned n_strings;
};

/* ---- writing structures ------------------------------------------------------------------------------- */
static void num(struct smbios *s, unsigned size, uint64_t value)
{
    blob_num(&s->tables, size, value);
}

static void begin(struct smbios *s, uint8_t type, unsigned handle)
{
    s->start = s->tables.n;
    s->n_strings = 0;
    s->strings.n = 0;
    num(s, 1, type);
    num(s, 1, 0); /* length: see end */
    num(s, 2, handle);
}

/* 6.1.3: strings lie behind the structure, fields hold their numbers; 0 is none. */
static void text(struct smbios *s, const char *string)
{
    bool any = string && *string;
    num(s, 1, any ? ++s->n_strings : 0);
    if (any)
        blob_add(&s->strings, string, strlen(string) + 1);
}

static void end(struct smbios *s)
{
    s->tables.at[s->start + 1] = (uint8_t)(s->tables.n - s->start);
    blob_add(&s->tables, s->strings.at, s->strings.n);
    num(s, s->n_strings ? 1 : 2, 0);
    s->n++;
    s->largest = MAX(s->largest, s->tables.n - s->start);
}

/* ---- firmware, system, board, chassis -------------------------------------------------------------------- */
static void add_firmware(struct smbios *s, const struct smbios_pc *pc) /* 7.1 */
{
    enum { NO_CHARACTERISTICS = 1 << 3 };
    enum { CAN_BE_PACKAGED = 1 << 2, UEFI = 1 << 3, VIRTUAL_MACHINE = 1 << 4 };
    const struct smbios_values *v = smbios_nth(pc->options, 0, 0);
    uint8_t major = 0, minor = 0;
    if (!v && !pc->no_firmware)
        return;
    smbios_parse_release(smbios_text(v, "release", "0.0"), &major, &minor);
    begin(s, 0, 0);
    text(s, smbios_text(v, "vendor", pc->manufacturer));
    text(s, smbios_text(v, "version", pc->version));
    num(s, 2, 0xe800);
    text(s, smbios_text(v, "date", "01/01/2026"));
    num(s, 1, 0);
    num(s, 8, NO_CHARACTERISTICS);
    num(s, 1, 0);
    num(s, 1, CAN_BE_PACKAGED | VIRTUAL_MACHINE | (smbios_bool(v, "uefi") ? UEFI : 0));
    num(s, 1, major);
    num(s, 1, minor);
    num(s, 2, 0xffff); /* no embedded controller */
    end(s);
}

static void add_system(struct smbios *s, const struct smbios_pc *pc) /* 7.2 */
{
    enum { BY_POWER_SWITCH = 6 };
    const struct smbios_values *v = smbios_nth(pc->options, 1, 0);
    const char *uuid_text = smbios_text(v, "uuid", pc->uuid);
    uint8_t uuid[16] = { 0 };
    if (uuid_text)
        smbios_parse_uuid(uuid_text, uuid);
    begin(s, 1, 0x100);
    text(s, smbios_text(v, "manufacturer", pc->manufacturer));
    text(s, smbios_text(v, "product", pc->product));
    text(s, smbios_text(v, "version", pc->version));
    text(s, smbios_text(v, "serial", NULL));
    blob_add(&s->tables, uuid, sizeof(uuid));
    num(s, 1, BY_POWER_SWITCH);
    text(s, smbios_text(v, "sku", NULL));
    text(s, smbios_text(v, "family", NULL));
    end(s);
}

/* 7.3: only when the user speaks of it. */
static void add_board(struct smbios *s, const struct smbios_pc *pc)
{
    enum { HOSTS_OTHERS = 1, MOTHERBOARD = 0x0a };
    const struct smbios_values *v = smbios_nth(pc->options, 2, 0);
    if (!v)
        return;
    begin(s, 2, 0x200);
    text(s, smbios_text(v, "manufacturer", pc->manufacturer));
    text(s, smbios_text(v, "product", pc->product));
    text(s, smbios_text(v, "version", pc->version));
    text(s, smbios_text(v, "serial", NULL));
    text(s, smbios_text(v, "asset", NULL));
    num(s, 1, HOSTS_OTHERS);
    text(s, smbios_text(v, "location", NULL));
    num(s, 2, HANDLE_CHASSIS);
    num(s, 1, MOTHERBOARD);
    num(s, 1, 0);
    end(s);
}

static void add_chassis(struct smbios *s, const struct smbios_pc *pc) /* 7.4 */
{
    enum { OTHER = 1, UNKNOWN = 2, SAFE = 3 };
    const struct smbios_values *v = smbios_nth(pc->options, 3, 0);
    begin(s, 3, HANDLE_CHASSIS);
    text(s, smbios_text(v, "manufacturer", pc->manufacturer));
    num(s, 1, OTHER);
    text(s, smbios_text(v, "version", pc->version));
    text(s, smbios_text(v, "serial", NULL));
    text(s, smbios_text(v, "asset", NULL));
    num(s, 1, SAFE);
    num(s, 1, SAFE);
    num(s, 1, SAFE);
    num(s, 1, UNKNOWN);
    num(s, 4, 0);
    num(s, 4, 0); /* height, power cords, contained elements */
    text(s, smbios_text(v, "sku", NULL));
    end(s);
}

/* ---- processors, 7.5 ------------------------------------------------------------------------------------ */
static void add_processor(struct smbios *s, const struct smbios_pc *pc, unsigned socket)
{
    enum { CENTRAL = 3, POPULATED_ENABLED = 0x41, OTHER = 1, FAMILY_2 = 0xfe, NONE = 0xffff };
    enum { IS_64_BIT = 1 << 2, MULTI_CORE = 1 << 3, HARDWARE_THREAD = 1 << 4 };
    const struct smbios_values *v = smbios_nth(pc->options, 4, 0);
    uint64_t id = (uint64_t)pc->cpuid_edx << 32 | pc->cpuid_eax;
    unsigned family = (unsigned)smbios_number(v, "processor-family", OTHER);
    unsigned threads = pc->cores * pc->threads;
    char designation[80];
    snprintf(designation, sizeof(designation), "%.60s%2x", smbios_text(v, "sock_pfx", "CPU"),
             socket);
    begin(s, 4, 0x400 + socket);
    text(s, designation);
    num(s, 1, CENTRAL);
    num(s, 1, MIN(family, FAMILY_2));
    text(s, smbios_text(v, "manufacturer", pc->manufacturer));
    num(s, 8, smbios_number(v, "processor-id", id));
    text(s, smbios_text(v, "version", pc->cpu_model ? pc->cpu_model : pc->version));
    num(s, 1, 0);
    num(s, 2, 0);
    num(s, 2, smbios_number(v, "max-speed", 2000));
    num(s, 2, smbios_number(v, "current-speed", 2000));
    num(s, 1, POPULATED_ENABLED);
    num(s, 1, OTHER);
    num(s, 2, NONE); /* caches */
    num(s, 2, NONE);
    num(s, 2, NONE);
    text(s, smbios_text(v, "serial", NULL));
    text(s, smbios_text(v, "asset", NULL));
    text(s, smbios_text(v, "part", NULL));
    num(s, 1, MIN(pc->cores, 255)); /* 255: the longer field counts */
    num(s, 1, MIN(pc->cores, 255));
    num(s, 1, MIN(threads, 255));
    num(s, 2,
        IS_64_BIT | (pc->cores > 1 ? MULTI_CORE : 0) | (pc->threads > 1 ? HARDWARE_THREAD : 0));
    num(s, 2, family);
    num(s, 2, pc->cores);
    num(s, 2, pc->cores);
    num(s, 2, threads);
    end(s);
}

/* ---- connectors, slots, strings: the user's -------------------------------------------------------------- */
static void add_connectors(struct smbios *s, const struct smbios_options *o) /* 7.9 */
{
    const struct smbios_values *v;
    for (unsigned i = 0; (v = smbios_nth(o, 8, i)); i++) {
        begin(s, 8, 0x800 + i);
        text(s, smbios_text(v, "internal_reference", NULL));
        num(s, 1, 0);
        text(s, smbios_text(v, "external_reference", NULL));
        num(s, 1, smbios_number(v, "connector_type", 0));
        num(s, 1, smbios_number(v, "port_type", 0));
        end(s);
    }
}

static void add_slots(struct smbios *s, const struct smbios_options *o) /* 7.10 */
{
    const struct smbios_values *v;
    for (unsigned i = 0; (v = smbios_nth(o, 9, i)); i++) {
        begin(s, 9, 0x900 + i);
        text(s, smbios_text(v, "slot_designation", NULL));
        num(s, 1, smbios_number(v, "slot_type", 0));
        num(s, 1, smbios_number(v, "slot_data_bus_width", 0));
        num(s, 1, smbios_number(v, "current_usage", 0));
        num(s, 1, smbios_number(v, "slot_length", 0));
        num(s, 2, smbios_number(v, "slot_id", 0));
        num(s, 1, smbios_number(v, "slot_characteristics1", 0));
        num(s, 1, smbios_number(v, "slot_characteristics2", 0));
        num(s, 4, UINT32_MAX); /* of no PCI device */
        end(s);
    }
}

static void add_oem_strings(struct smbios *s, const struct smbios_options *o) /* 7.12 */
{
    if (!o || !o->n_texts)
        return;
    begin(s, 11, 0xe00);
    num(s, 1, o->n_texts);
    for (unsigned i = 0; i < o->n_texts; i++)
        blob_add(&s->strings, o->texts[i], strlen(o->texts[i]) + 1);
    s->n_strings = o->n_texts;
    end(s);
}

/* ---- memory ----------------------------------------------------------------------------------------------- */
static void add_memory_array(struct smbios *s, uint64_t size) /* 7.17 */
{
    enum { MOTHERBOARD = 3, SYSTEM_MEMORY = 3, MULTI_BIT_ECC = 6, NO_ERRORS = 0xfffe };
    bool extended = size >= 2 * GIB * KIB;
    begin(s, 16, HANDLE_MEMORY);
    num(s, 1, MOTHERBOARD);
    num(s, 1, SYSTEM_MEMORY);
    num(s, 1, MULTI_BIT_ECC);
    num(s, 4, extended ? 0x80000000 : size / KIB);
    num(s, 2, NO_ERRORS);
    num(s, 2, (size + DIMM_SIZE - 1) / DIMM_SIZE);
    num(s, 8, extended ? size : 0);
    end(s);
}

static void add_dimm(struct smbios *s, const struct smbios_pc *pc, unsigned index, uint64_t size)
{
    enum { NO_ERRORS = 0xfffe, UNKNOWN = 0xffff, FORM_DIMM = 9, TYPE_RAM = 7, DETAIL_OTHER = 2 };
    enum { IN_KIB = 0x8000 };
    const struct smbios_values *v = smbios_nth(pc->options, 17, 0); /* 7.18 */
    char locator[80];
    snprintf(locator, sizeof(locator), "%.60s %u", smbios_text(v, "loc_pfx", "DIMM"), index);
    begin(s, 17, 0x1100 + index);
    num(s, 2, HANDLE_MEMORY);
    num(s, 2, NO_ERRORS);
    num(s, 2, UNKNOWN);
    num(s, 2, UNKNOWN);
    num(s, 2, size < 32 * MIB ? IN_KIB | size / KIB : size / MIB);
    num(s, 1, FORM_DIMM);
    num(s, 1, 0);
    text(s, locator);
    text(s, smbios_text(v, "bank", NULL));
    num(s, 1, TYPE_RAM);
    num(s, 2, DETAIL_OTHER);
    num(s, 2, smbios_number(v, "speed", 0));
    text(s, smbios_text(v, "manufacturer", pc->manufacturer));
    text(s, smbios_text(v, "serial", NULL));
    text(s, smbios_text(v, "asset", NULL));
    text(s, smbios_text(v, "part", NULL));
    num(s, 1, 0);
    num(s, 4, 0); /* extended size: none has 32 GiB */
    num(s, 2, smbios_number(v, "speed", 0));
    num(s, 6, 0); /* voltages */
    end(s);
}

static void add_memory_range(struct smbios *s, unsigned index, gpa at, uint64_t size) /* 7.20 */
{
    uint64_t last = at + size - 1;
    bool extended = last / KIB >= UINT32_MAX;
    begin(s, 19, HANDLE_MEMORY + 1 + index);
    num(s, 4, extended ? UINT32_MAX : at / KIB);
    num(s, 4, extended ? UINT32_MAX : last / KIB);
    num(s, 2, HANDLE_MEMORY);
    num(s, 1, 1);
    num(s, 8, extended ? at : 0);
    num(s, 8, extended ? last : 0);
    end(s);
}

static void add_dimms(struct smbios *s, const struct smbios_pc *pc, uint64_t size)
{
    for (unsigned i = 0; size; i++) {
        uint64_t n = MIN(size, DIMM_SIZE);
        add_dimm(s, pc, i, n);
        size -= n;
    }
}

static void add_memory_ranges(struct smbios *s, const struct smbios_pc *pc)
{
    add_memory_range(s, 0, 0, pc->ram_below_4g);
    if (pc->ram_above_4g)
        add_memory_range(s, 1, 4 * GIB, pc->ram_above_4g);
}

static void add_empty(struct smbios *s, uint8_t type, unsigned handle, unsigned n)
{
    begin(s, type, handle);
    blob_grow(&s->tables, n);
    end(s);
}

/* ---- all of them ------------------------------------------------------------------------------------------- */
static void add_structures(struct smbios *s, const struct smbios_pc *pc)
{
    static const bool no_files[SMBIOS_N_TYPES];
    const struct smbios_options *o = pc->options;
    const bool *from_file = o ? o->has_file : no_files;
    uint64_t ram = pc->ram_below_4g + pc->ram_above_4g;
    if (!from_file[0])
        add_firmware(s, pc);
    if (!from_file[1])
        add_system(s, pc);
    if (!from_file[2])
        add_board(s, pc);
    if (!from_file[3])
        add_chassis(s, pc);
    for (unsigned i = 0; i < pc->sockets && !from_file[4]; i++)
        add_processor(s, pc, i);
    add_connectors(s, o);
    add_slots(s, o);
    add_oem_strings(s, o);
    if (!from_file[16])
        add_memory_array(s, ram);
    if (!from_file[17])
        add_dimms(s, pc, ram);
    if (!from_file[19])
        add_memory_ranges(s, pc);
    if (!from_file[32])
        add_empty(s, 32, 0x2000, 7); /* 7.33: boot went well */
    if (o) {
        blob_add(&s->tables, o->files.at, o->files.n);
        s->n += o->n_files;
        s->largest = MAX(s->largest, o->largest_file);
    }
    add_empty(s, 127, 0x7f00, 0); /* 7.45 */
}

struct error *smbios_build(const struct smbios_pc *pc, struct smbios **out)
{
    struct smbios *s = xcalloc(1, sizeof(*s));
    s->entry64 = pc->entry64;
    add_structures(s, pc);
    blob_free(&s->strings);
    *out = s;
    if (s->entry64 || (s->tables.n <= UINT16_MAX && s->largest <= UINT16_MAX))
        return NULL;
    *out = NULL;
    struct error *err =
        error_new("-smbios: %zu bytes of structures are over 64 KiB, more than a 32-bit "
                  "entry point can tell",
                  s->tables.n);
    smbios_free(s);
    return err;
}

void smbios_free(struct smbios *s)
{
    if (s)
        blob_free(&s->tables);
    free(s);
}

/* ---- entry points, 5.2 ---------------------------------------------------------------------------------------- */
static size_t entry_size(const struct smbios *s)
{
    return s->entry64 ? ENTRY_3_SIZE : ENTRY_2_SIZE;
}

static void make_entry_2(const struct smbios *s, gpa tables, uint8_t *at)
{
    enum { SUM = 4, MIDDLE = 0x10, MIDDLE_SUM = 0x15 };
    memcpy(at, "_SM_", 4);
    at[5] = ENTRY_2_SIZE;
    at[6] = 2; /* version 2.8 */
    at[7] = 8;
    store_le(at + 8, 2, s->largest);
    memcpy(at + MIDDLE, "_DMI_", 5);
    store_le(at + 0x16, 2, s->tables.n);
    store_le(at + 0x18, 4, tables);
    store_le(at + 0x1c, 2, s->n);
    at[0x1e] = 0x28;
    at[MIDDLE_SUM] = blob_checksum(at + MIDDLE, ENTRY_2_SIZE - MIDDLE);
    at[SUM] = blob_checksum(at, ENTRY_2_SIZE);
}

static void make_entry_3(const struct smbios *s, gpa tables, uint8_t *at)
{
    enum { SUM = 5 };
    memcpy(at, "_SM3_", 5);
    at[6] = ENTRY_3_SIZE;
    at[7] = 3; /* version 3.0.0 */
    at[10] = 1;
    store_le(at + 0x0c, 4, s->tables.n);
    store_le(at + 0x10, 8, tables);
    at[SUM] = blob_checksum(at, ENTRY_3_SIZE);
}

static void make_entry(const struct smbios *s, gpa tables, uint8_t *at)
{
    memset(at, 0, entry_size(s));
    if (s->entry64)
        make_entry_3(s, tables, at);
    else
        make_entry_2(s, tables, at);
}

/* ---- to the guest ------------------------------------------------------------------------------------------------ */
struct error *smbios_offer(const struct smbios *s, struct device *fw_cfg)
{
    uint8_t entry[MAX(ENTRY_2_SIZE, ENTRY_3_SIZE)];
    make_entry(s, 0, entry);
    struct error *err =
        fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-tables", s->tables.at, (uint32_t)s->tables.n);
    return err ? err
               : fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-anchor", entry,
                                 (uint32_t)entry_size(s));
}

uint64_t smbios_size(const struct smbios *s)
{
    return TABLES_AT + s->tables.n;
}

void smbios_link(const struct smbios *s, gpa at, uint8_t *buf)
{
    memset(buf, 0, TABLES_AT);
    make_entry(s, at + TABLES_AT, buf);
    memcpy(buf + TABLES_AT, s->tables.at, s->tables.n);
}
