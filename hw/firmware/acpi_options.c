/* -acpitable: tables that the user brings along, from files that are whole tables (file=) or only what is behind
 * the header (data=). */
#include "core/error.h"
#include "core/options.h"
#include "hw/firmware/acpi_internal.h"

#include <stdlib.h>

enum { MAX_SIZE = 4 * 1024 * 1024 }; /* of all tables of one option */

/* The header (ACPI 6.4, 5.2.6), and which option sets what. */
static const struct header_field {
    const char *name;
    uint8_t at, size;
    bool is_text;
} fields[] = {
    { "sig", 0, 4, true },
    { "rev", 8, 1, false },
    { "oem_id", 10, 6, true },
    { "oem_table_id", 16, 8, true },
    { "oem_rev", 24, 4, false },
    { "asl_compiler_id", 28, 4, true },
    { "asl_compiler_rev", 32, 4, false },
};

struct acpi_options *acpi_options_new(void)
{
    return xcalloc(1, sizeof(struct acpi_options));
}

void acpi_options_free(struct acpi_options *o)
{
    for (unsigned i = 0; i < (o ? o->n : 0); i++)
        blob_free(&o->at[i].bytes);
    if (o)
        free(o->at);
    free(o);
}

static struct error *set_field(uint8_t *header, const struct header_field *f, const char *value)
{
    uint64_t number, most = f->size == 1 ? UINT8_MAX : UINT32_MAX;
    if (!f->is_text) {
        if (!parse_uint(value, most, &number))
            return error_new("%s='%s' is not a number up to %llu", f->name, value,
                             (unsigned long long)most);
        store_le(header + f->at, f->size, number);
        return NULL;
    }
    if (strlen(value) > f->size || !*value)
        return error_new("%s='%s' does not have 1 to %u characters", f->name, value, f->size);
    memset(header + f->at, ' ', f->size);
    memcpy(header + f->at, value, strlen(value));
    return NULL;
}

/* Files one after the other: "a.bin:b.bin". */
static struct error *read_files(struct blob *b, const char *list)
{
    struct error *err = NULL;
    char *copy = xstrdup(list), *rest = copy, *path;
    while (!err && (path = strsep(&rest, ":")))
        err = blob_add_file(b, path, MAX_SIZE);
    free(copy);
    return err;
}

static struct error *check_table(const struct blob *b, bool whole)
{
    /* What a board writes itself, and what is no table like others. */
    static const char *const refused[] = { "RSDT", "XSDT", "FACP", "FACS", "DSDT", "APIC" };
    if (b->n < ACPI_HEADER)
        return error_new("%zu bytes are less than a table's header", b->n);
    if (whole && load_le(b->at + 4, 4) != b->n)
        return error_new("the header says %u bytes, but there are %zu",
                         (unsigned)load_le(b->at + 4, 4), b->n);
    for (unsigned i = 0; i < 4; i++)
        if (b->at[i] < ' ' || b->at[i] > '~')
            return error_new("its signature is not text; is it a table?");
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (!memcmp(b->at, refused[i], 4))
            return error_new("the machine makes table %s itself", refused[i]);
    return NULL;
}

static struct error *make_table(struct blob *b, struct options *list)
{
    const char *file = options_get(list, "file"), *data = options_get(list, "data");
    if (!file == !data)
        return error_new("one of file= and data= is needed");
    if (data) {
        blob_add(b, "QEMU\0\0\0\0\1\0QEMUQEQEMUQEMU\1\0\0\0QEMU\1\0\0\0", ACPI_HEADER);
        if (!options_get(list, "sig"))
            return error_new("data= needs sig=, which is not in the file");
    }
    struct error *err = read_files(b, file ? file : data);
    if (err)
        return err;
    err = check_table(b, file);
    for (size_t i = 0; i < ARRAY_LEN(fields) && !err; i++) {
        const char *value = options_get(list, fields[i].name);
        if (value)
            err = set_field(b->at, &fields[i], value);
    }
    return err ? err : check_table(b, false);
}

struct error *acpi_options_add(struct acpi_options *o, const char *text)
{
    const char *known[ARRAY_LEN(fields) + 2] = { "file", "data" };
    struct blob bytes = { 0 };
    struct options list;
    struct error *err = options_split(text, NULL, &list);
    if (err)
        return err;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        known[2 + i] = fields[i].name;
    err = make_table(&bytes, &list);
    if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    options_free(&list);
    if (err) {
        blob_free(&bytes);
        return err;
    }
    o->at = xrealloc(o->at, (o->n + 1) * sizeof(*o->at));
    o->at[o->n++].bytes = bytes;
    return NULL;
}
