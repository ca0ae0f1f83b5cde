/* -smbios: one table of what may be said about which structure. */
#include "core/error.h"
#include "core/options.h"
#include "hw/firmware/smbios_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_FILE = 64 * 1024 };
enum kind { TEXT, BOOL, UUID, RELEASE, NUMBER_8 = 8, NUMBER_16 = 16, NUMBER_64 = 64 };

static const struct smbios_type {
    uint8_t type;
    bool repeats; /* each option is one more structure */
    struct smbios_key {
        const char *name;
        enum kind kind;
    } keys[SMBIOS_MAX_KEYS];
} types[] = {
    { 0,
      false,
      { { "vendor" }, { "version" }, { "date" }, { "release", RELEASE }, { "uefi", BOOL } } },
    { 1,
      false,
      { { "manufacturer" },
        { "product" },
        { "version" },
        { "serial" },
        { "uuid", UUID },
        { "sku" },
        { "family" } } },
    { 2,
      false,
      { { "manufacturer" },
        { "product" },
        { "version" },
        { "serial" },
        { "asset" },
        { "location" } } },
    { 3, false, { { "manufacturer" }, { "version" }, { "serial" }, { "asset" }, { "sku" } } },
    { 4,
      false,
      { { "sock_pfx" },
        { "manufacturer" },
        { "version" },
        { "serial" },
        { "asset" },
        { "part" },
        { "max-speed", NUMBER_16 },
        { "current-speed", NUMBER_16 },
        { "processor-family", NUMBER_16 },
        { "processor-id", NUMBER_64 } } },
    { 8,
      true,
      { { "internal_reference" },
        { "external_reference" },
        { "connector_type", NUMBER_8 },
        { "port_type", NUMBER_8 } } },
    { 9,
      true,
      { { "slot_designation" },
        { "slot_type", NUMBER_8 },
        { "slot_data_bus_width", NUMBER_8 },
        { "current_usage", NUMBER_8 },
        { "slot_length", NUMBER_8 },
        { "slot_id", NUMBER_16 },
        { "slot_characteristics1", NUMBER_8 },
        { "slot_characteristics2", NUMBER_8 } } },
    { 17,
      false,
      { { "loc_pfx" },
        { "bank" },
        { "manufacturer" },
        { "serial" },
        { "asset" },
        { "part" },
        { "speed", NUMBER_16 } } },
};

static const struct smbios_type *type_of(unsigned type)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (types[i].type == type)
            return &types[i];
    return NULL;
}

static unsigned n_keys(const struct smbios_type *type)
{
    unsigned n = 0;
    while (n < SMBIOS_MAX_KEYS && type->keys[n].name)
        n++;
    return n;
}

/* ---- asking ------------------------------------------------------------------------------------------ */
const char *smbios_text(const struct smbios_values *v, const char *key, const char *fallback)
{
    const struct smbios_type *type = v ? type_of(v->type) : NULL;
    for (unsigned i = 0; i < (type ? n_keys(type) : 0); i++)
        if (!strcmp(type->keys[i].name, key))
            return v->at[i] ? v->at[i] : fallback;
    assert(!type); /* a key that is not in the table */
    return fallback;
}

uint64_t smbios_number(const struct smbios_values *v, const char *key, uint64_t fallback)
{
    const char *text = smbios_text(v, key, NULL);
    if (text)
        parse_uint(text, UINT64_MAX, &fallback);
    return fallback;
}

bool smbios_bool(const struct smbios_values *v, const char *key)
{
    const char *text = smbios_text(v, key, NULL);
    return text && parse_bool(text) > 0;
}

const struct smbios_values *smbios_nth(const struct smbios_options *o, unsigned type, unsigned nth)
{
    for (unsigned i = 0; i < (o ? o->n_values : 0); i++)
        if (o->values[i].type == type && nth-- == 0)
            return &o->values[i];
    return NULL;
}

bool smbios_parse_uuid(const char *text, uint8_t *uuid)
{
    static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
    static const char shape[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    unsigned n = 0;
    if (strlen(text) != sizeof(shape) - 1)
        return false;
    for (size_t i = 0; shape[i]; i++)
        if (shape[i] == '-' ? text[i] != '-' : !strchr("0123456789abcdefABCDEF", text[i]))
            return false;
    for (const char *at = text; *at; at += 2) {
        unsigned byte;
        at += *at == '-';
        sscanf(at, "%2x", &byte);
        uuid[order[n++]] = (uint8_t)byte;
    }
    return true;
}

bool smbios_parse_release(const char *text, uint8_t *major, uint8_t *minor)
{
    uint64_t a, b;
    char first[8];
    size_t n = strcspn(text, ".");
    if (n >= sizeof(first) || !text[n])
        return false;
    snprintf(first, sizeof(first), "%.*s", (int)n, text);
    if (!parse_uint(first, 255, &a) || !parse_uint(text + n + 1, 255, &b))
        return false;
    *major = (uint8_t)a;
    *minor = (uint8_t)b;
    return true;
}

/* ---- telling ------------------------------------------------------------------------------------------ */
struct smbios_options *smbios_options_new(void)
{
    return xcalloc(1, sizeof(struct smbios_options));
}

void smbios_options_free(struct smbios_options *o)
{
    if (!o)
        return;
    for (unsigned i = 0; i < o->n_values; i++)
        for (unsigned k = 0; k < SMBIOS_MAX_KEYS; k++)
            free(o->values[i].at[k]);
    for (unsigned i = 0; i < o->n_texts; i++)
        free(o->texts[i]);
    free(o->values);
    free(o->texts);
    blob_free(&o->files);
    free(o);
}

static struct error *check_value(const struct smbios_key *key, const char *value)
{
    uint8_t bytes[16];
    uint64_t number;
    switch (key->kind) {
    case TEXT: return NULL;
    case BOOL:
        return parse_bool(value) >= 0
                   ? NULL
                   : error_new("%s='%s' is neither on nor off", key->name, value);
    case UUID:
        return smbios_parse_uuid(value, bytes)
                   ? NULL
                   : error_new("%s='%s' is not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)",
                               key->name, value);
    case RELEASE:
        return smbios_parse_release(value, bytes, bytes + 1)
                   ? NULL
                   : error_new("%s='%s' is not MAJOR.MINOR, each up to 255", key->name, value);
    case NUMBER_8:
    case NUMBER_16:
    case NUMBER_64: break;
    }
    uint64_t most = UINT64_MAX >> (64 - (unsigned)key->kind);
    return parse_uint(value, most, &number) ? NULL
                                            : error_new("%s='%s' is not a number up to %llu",
                                                        key->name, value, (unsigned long long)most);
}

static void add_text(struct smbios_options *o, const char *text)
{
    o->texts = xrealloc(o->texts, (o->n_texts + 1) * sizeof(*o->texts));
    o->texts[o->n_texts++] = xstrdup(text);
}

/* A string of type 11 from a file, up to its end or that of its last line. */
static struct error *add_text_file(struct smbios_options *o, const char *path)
{
    struct blob b = { 0 };
    struct error *err = blob_add_file(&b, path, MAX_FILE);
    while (!err && b.n && b.at[b.n - 1] == '\n')
        b.n--;
    if (!err && memchr(b.at, 0, b.n))
        err = error_new("'%s' is not text: it has a byte of 0", path);
    blob_num(&b, 1, 0);
    if (!err)
        add_text(o, (char *)b.at);
    blob_free(&b);
    return err;
}

static struct error *add_oem_strings(struct smbios_options *o, struct options *list)
{
    static const char *const known[] = { "type", "value", "path" };
    struct error *err = NULL;
    for (size_t i = 0; i < list->n && !err; i++) {
        const char *name = list->at[i].name, *value = list->at[i].value;
        bool is_value = !strcmp(name, "value"), is_path = !strcmp(name, "path");
        if (is_value)
            add_text(o, value);
        if (is_path)
            err = add_text_file(o, value);
        list->used[i] |= is_value || is_path;
    }
    if (!err && o->n_texts > 255)
        err = error_new("there can be 255 strings");
    return err ? err : options_refuse_rest(list, known, ARRAY_LEN(known));
}

static struct smbios_values *values_for(struct smbios_options *o, const struct smbios_type *type)
{
    for (unsigned i = 0; i < o->n_values && !type->repeats; i++)
        if (o->values[i].type == type->type)
            return &o->values[i];
    o->values = xrealloc(o->values, (o->n_values + 1) * sizeof(*o->values));
    o->values[o->n_values] = (struct smbios_values){ .type = type->type };
    return &o->values[o->n_values++];
}

static struct error *add_values(struct smbios_options *o, const struct smbios_type *type,
                                struct options *list)
{
    const char *known[SMBIOS_MAX_KEYS + 1] = { "type" };
    struct smbios_values *v = values_for(o, type);
    unsigned n = n_keys(type);
    for (unsigned i = 0; i < n; i++) {
        const char *value = options_get(list, type->keys[i].name);
        struct error *err = value ? check_value(&type->keys[i], value) : NULL;
        known[1 + i] = type->keys[i].name;
        if (err)
            return err;
        if (value) {
            free(v->at[i]);
            v->at[i] = xstrdup(value);
        }
    }
    return options_refuse_rest(list, known, n + 1);
}

static struct error *add_type(struct smbios_options *o, struct options *list, const char *text)
{
    uint64_t number;
    bool is_number = parse_uint(text, 255, &number);
    const struct smbios_type *type = is_number ? type_of((unsigned)number) : NULL;
    if (!type && !(is_number && number == 11))
        return error_new("type=%s is not supported (accepted: 0, 1, 2, 3, 4, 8, 9, 11, 17)", text);
    if (o->has_file[number])
        return error_new("type=%s comes from a file already", text);
    return error_in(type ? add_values(o, type, list) : add_oem_strings(o, list), "type=%s", text);
}

/* ---- files: one structure each (6.1.2) ------------------------------------------------------------------ */
static bool is_structure(const uint8_t *at, size_t n)
{
    if (n < 6 || at[1] < 4 || (size_t)at[1] + 2 > n)
        return false;
    const uint8_t *end = memmem(at + at[1], n - at[1], "\0", 2);
    return end && end + 2 == at + n;
}

static struct error *check_file(const struct smbios_options *o, const uint8_t *at, size_t n)
{
    if (!is_structure(at, n))
        return error_new(
            "it is not one SMBIOS structure with its strings and two zeros behind them");
    if (at[0] >= SMBIOS_N_TYPES - 1)
        return error_new("structures of type %u cannot be given", at[0]);
    if (smbios_nth(o, at[0], 0) || (at[0] == 11 && o->n_texts))
        return error_new("type=%u was given already", at[0]);
    return NULL;
}

static struct error *add_file(struct smbios_options *o, struct options *list, const char *path)
{
    static const char *const known[] = { "file" };
    size_t old = o->files.n;
    struct error *err = options_refuse_rest(list, known, 1);
    if (err)
        return err;
    err = blob_add_file(&o->files, path, old + MAX_FILE);
    size_t n = o->files.n - old;
    if (!err)
        err = error_in(check_file(o, o->files.at + old, n), "'%s'", path);
    if (err) {
        o->files.n = old;
        return err;
    }
    o->has_file[o->files.at[old]] = true;
    o->n_files++;
    o->largest_file = (uint16_t)MIN(MAX(o->largest_file, n), UINT16_MAX);
    return NULL;
}

struct error *smbios_options_add(struct smbios_options *o, const char *text)
{
    struct options list;
    struct error *err = options_split(text, NULL, &list);
    if (err)
        return err;
    const char *file = options_get(&list, "file"), *type = file ? NULL : options_get(&list, "type");
    if (file)
        err = add_file(o, &list, file);
    else
        err = type ? add_type(o, &list, type) : error_new("one of type= and file= is needed");
    options_free(&list);
    return err;
}
