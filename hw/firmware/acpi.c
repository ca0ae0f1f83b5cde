/* ACPI tables as a whole: which there are, how they are linked, how they reach the guest. */
#include "hw/firmware/acpi.h"

#include "core/error.h"
#include "hw/firmware/acpi_internal.h"
#include "hw/firmware/fw_cfg.h"

#include <assert.h>
#include <stdlib.h>

/* ---- tables while they are written -------------------------------------------------------------- */
enum { HEADER_LENGTH = 4, HEADER_SUM = 9, HEADER_OEM = 10 }; /* 5.2.6 */

uint32_t acpi_begin(struct acpi_tables *t, const char *signature, uint8_t revision)
{
    struct blob *b = &t->bytes;
    blob_align(b, 8);
    uint32_t table = (uint32_t)b->n;
    blob_text(b, signature, 4, ' ');
    blob_num(b, 4, 0);
    blob_num(b, 1, revision);
    blob_num(b, 1, 0);
    blob_add(b, t->oem_id, sizeof(t->oem_id));
    blob_add(b, t->oem_table_id, sizeof(t->oem_table_id));
    blob_num(b, 4, 1);
    blob_add(b, "BXPC", 4);
    blob_num(b, 4, 1);
    return table;
}

static void add_sum(struct acpi_tables *t, enum acpi_file file, uint32_t at, uint32_t start,
                    uint32_t n)
{
    assert(t->n_sums < ARRAY_LEN(t->sums));
    t->sums[t->n_sums++] = (struct acpi_sum){ file, at, start, n };
}

void acpi_end(struct acpi_tables *t, uint32_t table)
{
    uint32_t n = (uint32_t)t->bytes.n - table;
    store_le(t->bytes.at + table + HEADER_LENGTH, 4, n);
    t->bytes.at[table + HEADER_SUM] = 0;
    add_sum(t, ACPI_TABLES, table + HEADER_SUM, table, n);
}

void acpi_end_root(struct acpi_tables *t, uint32_t table)
{
    acpi_end(t, table);
    assert(t->n_roots < ARRAY_LEN(t->roots));
    t->roots[t->n_roots++] = table;
}

static void note_pointer(struct acpi_tables *t, enum acpi_file file, uint32_t at, uint32_t size)
{
    assert(t->n_pointers < ARRAY_LEN(t->pointers));
    t->pointers[t->n_pointers++] = (struct acpi_pointer){ file, at, size };
}

void acpi_add_pointer(struct acpi_tables *t, uint32_t to, unsigned size)
{
    note_pointer(t, ACPI_TABLES, (uint32_t)t->bytes.n, size);
    blob_num(&t->bytes, size, to);
}

/* ---- which there are ----------------------------------------------------------------------------- */
/* 5.2.10: what firmware and the system share while awake. Has neither header nor sum. */
static uint32_t add_facs(struct acpi_tables *t)
{
    enum { FACS_SIZE = 64, FACS_VERSION_AT = 32 };
    blob_align(&t->bytes, 64);
    uint32_t facs = (uint32_t)t->bytes.n;
    uint8_t *at = blob_grow(&t->bytes, FACS_SIZE);
    memcpy(at, "FACS", 4);
    store_le(at + HEADER_LENGTH, 4, FACS_SIZE);
    at[FACS_VERSION_AT] = 2;
    return facs;
}

/* 5.2.7, 5.2.8: the lists of all tables, in 32 and 64 bits. */
static uint32_t add_list(struct acpi_tables *t, const char *signature, unsigned size)
{
    uint32_t list = acpi_begin(t, signature, 1);
    for (unsigned i = 0; i < t->n_roots; i++)
        acpi_add_pointer(t, t->roots[i], size);
    acpi_end(t, list);
    return list;
}

static void make_rsdp(struct acpi_tables *t, uint32_t rsdt, uint32_t xsdt) /* 5.2.5.3 */
{
    enum { SUM = 8, OEM = 9, REVISION = 15, RSDT = 16, LENGTH = 20, XSDT = 24, FULL_SUM = 32 };
    memcpy(t->rsdp, "RSD PTR ", 8);
    memcpy(t->rsdp + OEM, t->oem_id, sizeof(t->oem_id));
    t->rsdp[REVISION] = 2;
    store_le(t->rsdp + RSDT, 4, rsdt);
    store_le(t->rsdp + LENGTH, 4, ACPI_RSDP_SIZE);
    store_le(t->rsdp + XSDT, 8, xsdt);
    note_pointer(t, ACPI_RSDP, RSDT, 4);
    note_pointer(t, ACPI_RSDP, XSDT, 8);
    add_sum(t, ACPI_RSDP, SUM, 0, LENGTH);
    add_sum(t, ACPI_RSDP, FULL_SUM, 0, ACPI_RSDP_SIZE);
}

/* ---- the user's ---------------------------------------------------------------------------------- */
static bool has_table(const struct acpi_tables *t, const uint8_t *signature)
{
    for (unsigned i = 0; i < t->n_roots; i++)
        if (!memcmp(t->bytes.at + t->roots[i], signature, 4))
            return true;
    return false;
}

/* Of these there may be several (5.2.11.2); others are looked up by their signature. */
static bool may_repeat(const uint8_t *signature)
{
    return !memcmp(signature, "SSDT", 4) || !memcmp(signature, "OEM", 3) ||
           !memcmp(signature, "UEFI", 4);
}

static struct error *add_user_tables(struct acpi_tables *t, const struct acpi_options *o)
{
    for (unsigned i = 0; i < (o ? o->n : 0); i++) {
        const struct blob *user = &o->at[i].bytes;
        if (!may_repeat(user->at) && has_table(t, user->at))
            return error_new("-acpitable: there is a table %.4s already", (char *)user->at);
        if (t->n_roots == ACPI_MAX_TABLES - 4)
            return error_new("-acpitable: %u tables are more than there is room for", o->n);
        blob_align(&t->bytes, 8);
        uint32_t table = (uint32_t)t->bytes.n;
        blob_add(&t->bytes, user->at, user->n);
        acpi_end_root(t, table);
    }
    return NULL;
}

/* A software licensing table only counts when RSDT and FADT name the same owner. */
static void take_owner(struct acpi_tables *t, const struct acpi_pc *pc)
{
    const struct acpi_options *o = pc->options;
    struct blob owner = { 0 };
    blob_text(&owner, pc->oem_id ? pc->oem_id : "BOCHS", sizeof(t->oem_id), ' ');
    blob_text(&owner, pc->oem_table_id ? pc->oem_table_id : "BXPC", sizeof(t->oem_table_id), ' ');
    const uint8_t *from = owner.at;
    for (unsigned i = 0; i < (o ? o->n : 0); i++)
        if (!memcmp(o->at[i].bytes.at, "SLIC", 4))
            from = o->at[i].bytes.at + HEADER_OEM;
    memcpy(t->oem_id, from, sizeof(t->oem_id));
    memcpy(t->oem_table_id, from + sizeof(t->oem_id), sizeof(t->oem_table_id));
    blob_free(&owner);
}

bool acpi_is_built(void)
{
    return acpi_aml_q35.n;
}

struct error *acpi_build(const struct acpi_pc *pc, struct acpi_tables **out)
{
    *out = NULL;
    if (!acpi_is_built())
        return error_new(
            "this build has no ACPI tables: iasl (package acpica-tools) was missing when "
            "it was configured; use -machine acpi=off");
    struct acpi_tables *t = xcalloc(1, sizeof(*t));
    take_owner(t, pc);
    uint32_t facs = pc->board == ACPI_MICROVM ? 0 : add_facs(t);
    acpi_add_fadt(t, pc, facs, acpi_add_dsdt(t, pc));
    acpi_add_fixed(t, pc);
    struct error *err = add_user_tables(t, pc->options);
    if (err) {
        acpi_free(t);
        return err;
    }
    uint32_t rsdt = add_list(t, "RSDT", 4);
    make_rsdp(t, rsdt, add_list(t, "XSDT", 8));
    *out = t;
    return NULL;
}

void acpi_free(struct acpi_tables *t)
{
    if (t)
        blob_free(&t->bytes);
    free(t);
}

/* ---- to firmware: QEMU's docs/specs, "table loader" commands of 128 bytes --------------------------- */
enum { COMMAND_SIZE = 128, FILE_NAME_SIZE = 56 };
enum { COMMAND_ALLOCATE = 1, COMMAND_ADD_POINTER = 2, COMMAND_ADD_CHECKSUM = 3 };
enum { ZONE_HIGH = 1, ZONE_F_SEGMENT = 2 };
static const char *const file_names[] = {
    [ACPI_TABLES] = "etc/acpi/tables",
    [ACPI_RSDP] = "etc/acpi/rsdp",
};

static uint8_t *add_command(struct blob *script, unsigned command, enum acpi_file file)
{
    uint8_t *at = blob_grow(script, COMMAND_SIZE);
    store_le(at, 4, command);
    memcpy(at + 4, file_names[file], strlen(file_names[file]));
    return at + 4 + FILE_NAME_SIZE;
}

static void command_allocate(struct blob *script, enum acpi_file file, uint32_t align,
                             unsigned zone)
{
    uint8_t *at = add_command(script, COMMAND_ALLOCATE, file);
    store_le(at, 4, align);
    at[4] = (uint8_t)zone;
}

static void command_pointer(struct blob *script, const struct acpi_pointer *p)
{
    const char *target = file_names[ACPI_TABLES];
    uint8_t *at = add_command(script, COMMAND_ADD_POINTER, p->file);
    memcpy(at, target, strlen(target));
    store_le(at + FILE_NAME_SIZE, 4, p->at);
    at[FILE_NAME_SIZE + 4] = (uint8_t)p->size;
}

static void command_sum(struct blob *script, const struct acpi_sum *s)
{
    uint8_t *at = add_command(script, COMMAND_ADD_CHECKSUM, s->file);
    store_le(at, 4, s->at);
    store_le(at + 4, 4, s->start);
    store_le(at + 8, 4, s->n);
}

struct error *acpi_offer(const struct acpi_tables *t, struct device *fw_cfg)
{
    struct blob script = { 0 };
    command_allocate(&script, ACPI_RSDP, 16, ZONE_F_SEGMENT);
    command_allocate(&script, ACPI_TABLES, 64, ZONE_HIGH);
    for (unsigned i = 0; i < t->n_pointers; i++)
        command_pointer(&script, &t->pointers[i]);
    for (unsigned i = 0; i < t->n_sums; i++)
        command_sum(&script, &t->sums[i]);
    struct error *err =
        fw_cfg_add_file(fw_cfg, file_names[ACPI_TABLES], t->bytes.at, (uint32_t)t->bytes.n);
    if (!err)
        err = fw_cfg_add_file(fw_cfg, file_names[ACPI_RSDP], t->rsdp, sizeof(t->rsdp));
    if (!err)
        err = fw_cfg_add_file(fw_cfg, "etc/table-loader", script.at, (uint32_t)script.n);
    blob_free(&script);
    return err;
}

/* ---- without firmware ------------------------------------------------------------------------------ */
uint64_t acpi_size(const struct acpi_tables *t)
{
    return t->bytes.n;
}

void acpi_link(const struct acpi_tables *t, gpa at, uint8_t *buf, uint8_t *rsdp)
{
    uint8_t *const files[] = { [ACPI_TABLES] = buf, [ACPI_RSDP] = rsdp };
    memcpy(buf, t->bytes.at, t->bytes.n);
    memcpy(rsdp, t->rsdp, sizeof(t->rsdp));
    for (unsigned i = 0; i < t->n_pointers; i++) {
        const struct acpi_pointer *p = &t->pointers[i];
        uint8_t *field = files[p->file] + p->at;
        store_le(field, p->size, load_le(field, p->size) + at);
    }
    for (unsigned i = 0; i < t->n_sums; i++) {
        const struct acpi_sum *s = &t->sums[i];
        files[s->file][s->at] = blob_checksum(files[s->file] + s->start, s->n);
    }
}
