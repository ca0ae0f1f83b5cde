#include "core/error.h"
#include "core/json.h"
#include "core/util.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

struct flattener {
    void (*add)(void *opaque, const char *name, const char *value);
    void *opaque;
};

static void flatten(const struct flattener *f, const char *prefix, json_t *value);

static void flatten_member(const struct flattener *f, const char *prefix, const char *key,
                           json_t *value)
{
    char *name = *prefix ? xasprintf("%s.%s", prefix, key) : xstrdup(key);
    flatten(f, name, value);
    free(name);
}

/* Depth is bounded by jansson's parser. */
static void flatten(const struct flattener *f, const char *prefix, json_t *value)
{
    char number[40];
    const char *key;
    json_t *member;
    size_t i;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        json_object_foreach(value, key, member)
        {
            flatten_member(f, prefix, key, member);
        }
        break;
    case JSON_ARRAY:
        json_array_foreach(value, i, member)
        {
            snprintf(number, sizeof(number), "%zu", i);
            flatten_member(f, prefix, number, member);
        }
        break;
    case JSON_STRING: f->add(f->opaque, prefix, json_string_value(value)); break;
    case JSON_INTEGER:
        snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        f->add(f->opaque, prefix, number);
        break;
    case JSON_REAL:
        snprintf(number, sizeof(number), "%.17g", json_real_value(value));
        f->add(f->opaque, prefix, number);
        break;
    case JSON_TRUE: f->add(f->opaque, prefix, "on"); break;
    case JSON_FALSE: f->add(f->opaque, prefix, "off"); break;
    case JSON_NULL: break;
    }
}

struct error *json_flatten(const char *text,
                           void (*add)(void *opaque, const char *name, const char *value),
                           void *opaque)
{
    json_error_t where;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!root)
        return error_new("JSON at column %d: %s", where.column, where.text);
    struct error *err = NULL;
    if (json_is_object(root))
        flatten(&(struct flattener){ add, opaque }, "", root);
    else
        err = error_new("a JSON object is expected");
    json_decref(root);
    return err;
}
