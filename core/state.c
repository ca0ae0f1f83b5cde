/* State lists: saving, loading, printing and comparing by the field table. */
#include "core/state.h"

#include "core/error.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void bytes_add(struct bytes *b, const void *p, size_t n)
{
    if (!n)
        return;
    if (b->room - b->n < n) {
        b->room = MAX(b->room * 2, b->n + n + 64);
        b->at = xrealloc(b->at, b->room);
    }
    memcpy(b->at + b->n, p, n);
    b->n += n;
}

void bytes_free(struct bytes *b)
{
    free(b->at);
    *b = (struct bytes){ 0 };
}

static uint64_t uint_get(const void *p, unsigned size)
{
    switch (size) {
    case 1: return *(const uint8_t *)p;
    case 2: return *(const uint16_t *)p;
    case 4: return *(const uint32_t *)p;
    case 8: return *(const uint64_t *)p;
    }
    assert(!"field size is 1, 2, 4 or 8");
    return 0;
}

static void uint_set(void *p, unsigned size, uint64_t v)
{
    switch (size) {
    case 1: *(uint8_t *)p = (uint8_t)v; break;
    case 2: *(uint16_t *)p = (uint16_t)v; break;
    case 4: *(uint32_t *)p = (uint32_t)v; break;
    case 8: *(uint64_t *)p = v; break;
    default: assert(!"field size is 1, 2, 4 or 8");
    }
}

static struct field_list sub_list(const struct field *f)
{
    return (struct field_list){ f->sub, f->n_sub };
}

static const void *buffer_of(const struct field *f, const void *obj, uint32_t *len)
{
    memcpy(len, (const char *)obj + f->len_offset, sizeof(*len));
    void *p;
    memcpy(&p, (const char *)obj + f->offset, sizeof(p));
    return p;
}

static void field_save(struct bytes *out, const struct field *f, uint16_t version, const void *obj)
{
    const char *p = (const char *)obj + f->offset;
    uint32_t len;
    uint8_t le[8];
    switch (f->kind) {
    case FIELD_UINT:
        for (uint32_t i = 0; i < f->count; i++) {
            store_le(le, f->size, uint_get(p + i * f->size, f->size));
            bytes_add(out, le, f->size);
        }
        break;
    case FIELD_DERIVED: break;
    case FIELD_BYTES: bytes_add(out, p, f->count); break;
    case FIELD_STRUCT:
        for (uint32_t i = 0; i < f->count; i++)
            state_save(out, &(struct field_list){ f->sub, f->n_sub }, version, p + i * f->size);
        break;
    case FIELD_BUFFER: {
        const void *data = buffer_of(f, obj, &len);
        store_le(le, 4, len);
        bytes_add(out, le, 4);
        bytes_add(out, data, len);
        break;
    }
    }
}

static bool field_in(const struct field *f, uint16_t version)
{
    return f->since <= version || f->since <= 1;
}

void state_save(struct bytes *out, const struct field_list *list, uint16_t version, const void *obj)
{
    for (size_t i = 0; i < list->n; i++)
        if (field_in(&list->at[i], version))
            field_save(out, &list->at[i], version, obj);
}

static struct error *take(const uint8_t *in, size_t n, size_t *pos, size_t want, const uint8_t **p)
{
    if (*pos > n || n - *pos < want)
        return error_new("the data ends after %zu of %zu bytes", *pos > n ? 0 : n - *pos, want);
    *p = in + *pos;
    *pos += want;
    return NULL;
}

static struct error *uint_load(const struct field *f, const uint8_t *from, void *to)
{
    uint64_t v = load_le(from, f->size);
    if (f->valid && v & ~f->valid)
        return error_new("%#" PRIx64 " has bits outside %#" PRIx64, v, f->valid);
    if (f->max && v > f->max)
        return error_new("%" PRIu64 " is over %" PRIu64, v, f->max);
    uint_set(to, f->size, v);
    return NULL;
}

static struct error *buffer_load(const uint8_t *in, size_t n, size_t *pos, const struct field *f,
                                 void *obj)
{
    const uint8_t *p = NULL;
    struct error *err = take(in, n, pos, 4, &p);
    if (err)
        return err;
    uint32_t len = (uint32_t)load_le(p, 4);
    if (len > f->max)
        return error_new("%u bytes are over %" PRIu64, len, f->max);
    err = take(in, n, pos, len, &p);
    if (err)
        return err;
    void *data = NULL, *old;
    if (len && !(data = malloc(len)))
        return error_new("no memory for %u bytes", len);
    if (len)
        memcpy(data, p, len);
    memcpy(&old, (char *)obj + f->offset, sizeof(old));
    free(old);
    memcpy((char *)obj + f->offset, &data, sizeof(data));
    memcpy((char *)obj + f->len_offset, &len, sizeof(len));
    return NULL;
}

static struct error *field_load(const uint8_t *in, size_t n, size_t *pos, const struct field *f,
                                uint16_t version, void *obj)
{
    char *to = (char *)obj + f->offset;
    const uint8_t *p = NULL;
    struct error *err = NULL;
    struct field_list sub = sub_list(f);
    switch (f->kind) {
    case FIELD_UINT:
        for (uint32_t i = 0; i < f->count && !err; i++) {
            err = take(in, n, pos, f->size, &p);
            if (!err)
                err = uint_load(f, p, to + i * f->size);
        }
        break;
    case FIELD_BYTES:
        err = take(in, n, pos, f->count, &p);
        if (!err)
            memcpy(to, p, f->count);
        break;
    case FIELD_STRUCT:
        for (uint32_t i = 0; i < f->count && !err; i++)
            err = error_in(state_load(in, n, pos, &sub, version, to + i * f->size), "[%u]", i);
        break;
    case FIELD_DERIVED: break;
    case FIELD_BUFFER: err = buffer_load(in, n, pos, f, obj); break;
    }
    return error_in(err, "%s", f->name);
}

struct error *state_load(const uint8_t *in, size_t n, size_t *pos, const struct field_list *list,
                         uint16_t version, void *obj)
{
    struct error *err = NULL;
    for (size_t i = 0; i < list->n && !err; i++)
        if (field_in(&list->at[i], version))
            err = field_load(in, n, pos, &list->at[i], version, obj);
    return err;
}

struct printer {
    void (*print)(void *opaque, const char *line);
    void *opaque;
};

static void print_bytes(const struct printer *out, const char *name, const uint8_t *p, size_t n)
{
    char line[256];
    for (size_t at = 0; at < n; at += 32) {
        int len = snprintf(line, sizeof(line), "%.100s[%zu] =", name, at);
        for (size_t i = at; i < n && i < at + 32; i++)
            len += snprintf(line + len, sizeof(line) - (size_t)len, " %02x", p[i]);
        out->print(out->opaque, line);
    }
}

static void list_print(const struct printer *out, const char *prefix, const struct field_list *list,
                       const void *obj)
{
    char line[256], name[192];
    for (size_t i = 0; i < list->n; i++) {
        const struct field *f = &list->at[i];
        const char *p = (const char *)obj + f->offset;
        uint32_t len;
        if (f->kind == FIELD_DERIVED)
            continue;
        for (uint32_t j = 0; j < (f->kind == FIELD_UINT || f->kind == FIELD_STRUCT ? f->count : 1);
             j++) {
            if (f->count > 1 && (f->kind == FIELD_UINT || f->kind == FIELD_STRUCT))
                snprintf(name, sizeof(name), "%.120s%.50s[%u]", prefix, f->name, j);
            else
                snprintf(name, sizeof(name), "%.120s%.50s", prefix, f->name);
            if (f->kind == FIELD_UINT) {
                snprintf(line, sizeof(line), "%s = %#" PRIx64, name,
                         uint_get(p + j * f->size, f->size));
                out->print(out->opaque, line);
            } else if (f->kind == FIELD_STRUCT) {
                struct field_list sub = sub_list(f);
                strcat(name, ".");
                list_print(out, name, &sub, p + j * f->size);
            } else if (f->kind == FIELD_BYTES) {
                print_bytes(out, name, (const uint8_t *)p, f->count);
            } else {
                const uint8_t *data = buffer_of(f, obj, &len);
                print_bytes(out, name, data, len);
            }
        }
    }
}

void state_print(const struct field_list *list, const void *obj,
                 void (*print)(void *opaque, const char *line), void *opaque)
{
    list_print(&(struct printer){ print, opaque }, "", list, obj);
}

static bool field_differs(const struct field *f, const void *a, const void *b)
{
    const char *p = (const char *)a + f->offset, *q = (const char *)b + f->offset;
    struct field_list sub = sub_list(f);
    uint32_t n_a, n_b;
    switch (f->kind) {
    case FIELD_UINT: return memcmp(p, q, (size_t)f->size * f->count);
    case FIELD_DERIVED: return false;
    case FIELD_BYTES: return memcmp(p, q, f->count);
    case FIELD_STRUCT:
        if (!memcmp(p, q, (size_t)f->size * f->count)) /* as is common, in lock-step */
            return false;
        for (uint32_t i = 0; i < f->count; i++)
            if (state_differ(&sub, p + i * f->size, q + i * f->size))
                return true;
        return false;
    case FIELD_BUFFER: {
        const void *data_a = buffer_of(f, a, &n_a), *data_b = buffer_of(f, b, &n_b);
        return n_a != n_b || (n_a && memcmp(data_a, data_b, n_a));
    }
    }
    return false;
}

const char *state_differ(const struct field_list *list, const void *a, const void *b)
{
    for (size_t i = 0; i < list->n; i++)
        if (field_differs(&list->at[i], a, b))
            return list->at[i].name;
    return NULL;
}
