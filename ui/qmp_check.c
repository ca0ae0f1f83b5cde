/* Reading the type texts, and checking arguments against them. */
#include "ui/qmp.h"

#include "core/error.h"
#include "core/options.h"
#include "core/util.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- texts ----------------------------------------------------------------------------------- */
bool qmp_next_word(const char **text, char *word)
{
    const char *at = *text + strspn(*text, " ");
    size_t n = strcspn(at, " ");
    *text = at + n;
    snprintf(word, 64, "%.*s", (int)n, at);
    return n;
}

bool qmp_next_member(const char **text, struct qmp_member *m)
{
    char word[140];
    const char *at = *text + strspn(*text, " ");
    size_t n = strcspn(at, " ");
    *text = at + n;
    if (!n)
        return false;
    snprintf(word, sizeof(word), "%.*s", (int)n, at);
    m->optional = word[0] == '*';
    char *name = word + m->optional, *type = strchr(name, ':');
    *type++ = 0;
    m->list = *type == '[';
    if (m->list) {
        type++;
        type[strcspn(type, "]")] = 0;
    }
    snprintf(m->name, sizeof(m->name), "%s", name);
    snprintf(m->type, sizeof(m->type), "%s", type);
    return true;
}

const struct qmp_type *qmp_type_find(const char *name)
{
    for (size_t i = 0; i < n_qmp_tables; i++)
        for (size_t j = 0; j < qmp_tables[i]->types.n; j++)
            if (!strcmp(qmp_tables[i]->types.at[j].name, name))
                return &qmp_tables[i]->types.at[j];
    return NULL;
}

const struct qmp_command *qmp_command_find(const char *name)
{
    for (size_t i = 0; i < n_qmp_tables; i++)
        for (size_t j = 0; j < qmp_tables[i]->commands.n; j++)
            if (!strcmp(qmp_tables[i]->commands.at[j].name, name))
                return &qmp_tables[i]->commands.at[j];
    return NULL;
}

/* ---- checks ---------------------------------------------------------------------------------- */
/* Where in the arguments: "keys[0].data". */
struct place {
    const struct place *above;
    const char *name;
    size_t index;
    bool is_index;
};

static void put_place(const struct place *p, char *buf, size_t n)
{
    buf[0] = 0;
    if (!p)
        return;
    put_place(p->above, buf, n);
    size_t at = strlen(buf);
    if (p->is_index)
        snprintf(buf + at, n - at, "[%zu]", p->index);
    else
        snprintf(buf + at, n - at, "%s%s", at ? "." : "", p->name);
}

static struct error *wrong_type(const struct place *at, const char *expected)
{
    char name[256];
    put_place(at, name, sizeof(name));
    return error_new("Invalid parameter type for '%s', expected: %s", name, expected);
}

static const struct {
    const char *name;
    int64_t min, max;
} int_types[] = {
    { "int", INT64_MIN, INT64_MAX },   { "int8", INT8_MIN, INT8_MAX },
    { "int16", INT16_MIN, INT16_MAX }, { "int32", INT32_MIN, INT32_MAX },
    { "int64", INT64_MIN, INT64_MAX }, { "uint8", 0, UINT8_MAX },
    { "uint16", 0, UINT16_MAX },       { "uint32", 0, UINT32_MAX },
    { "uint64", 0, INT64_MAX },        { "size", 0, INT64_MAX },
};

static struct error *check_int(size_t type, json_t *value, const struct place *at)
{
    char name[256];
    json_int_t v = json_integer_value(value);
    if (!json_is_integer(value))
        return wrong_type(at, "integer");
    if (v >= int_types[type].min && v <= int_types[type].max)
        return NULL;
    put_place(at, name, sizeof(name));
    return error_new("Parameter '%s' expects %s", name, int_types[type].name);
}

/* False: it is no built-in type. */
static bool check_builtin(const char *type, json_t *value, const struct place *at,
                          struct error **err)
{
    *err = NULL;
    for (size_t i = 0; i < ARRAY_LEN(int_types); i++)
        if (!strcmp(type, int_types[i].name)) {
            *err = check_int(i, value, at);
            return true;
        }
    if (!strcmp(type, "any"))
        return true;
    if (!strcmp(type, "str"))
        *err = json_is_string(value) ? NULL : wrong_type(at, "string");
    else if (!strcmp(type, "bool"))
        *err = json_is_boolean(value) ? NULL : wrong_type(at, "boolean");
    else if (!strcmp(type, "number"))
        *err = json_is_number(value) ? NULL : wrong_type(at, "number");
    else if (!strcmp(type, "null"))
        *err = json_is_null(value) ? NULL : wrong_type(at, "null");
    else
        return false;
    return true;
}

static struct error *check_value(const char *type, bool list, json_t *value,
                                 const struct place *at);

static struct error *check_enum(const struct qmp_type *type, json_t *value, const struct place *at)
{
    char word[64], name[256], accepted[600] = "";
    const char *text = type->text;
    if (!json_is_string(value))
        return wrong_type(at, "string");
    while (qmp_next_word(&text, word)) {
        size_t n = strlen(accepted);
        if (!strcmp(word, json_string_value(value)))
            return NULL;
        snprintf(accepted + n, sizeof(accepted) - n, "%s%s", n ? ", " : "", word);
    }
    put_place(at, name, sizeof(name));
    return error_new("Parameter '%s' does not accept value '%.80s'; accepted: %s", name,
                     json_string_value(value), accepted);
}

/* The first kind of type that the value could be of decides. */
static struct error *check_alternate(const struct qmp_type *type, json_t *value,
                                     const struct place *at)
{
    char word[64];
    const char *text = type->text;
    while (qmp_next_word(&text, word)) {
        const struct qmp_type *t = qmp_type_find(word);
        struct error *err = NULL;
        if (t && (t->kind == QMP_ENUM ? json_is_string(value) : json_is_object(value)))
            return check_value(word, false, value, at);
        if (!t && word[0] == '[' && json_is_array(value))
            return check_value(strtok(word + 1, "]"), true, value, at);
        if (!t && check_builtin(word, value, at, &err) && !err)
            return NULL;
        error_free(err);
    }
    return wrong_type(at, type->name);
}

/* Members known so far: the texts that were looked at. */
struct seen {
    const char *texts[4];
    size_t n;
};

static struct error *check_members(const char *text, json_t *object, const struct place *at,
                                   struct seen *seen)
{
    struct qmp_member m;
    struct error *err = NULL;
    if (seen->n < ARRAY_LEN(seen->texts))
        seen->texts[seen->n++] = text;
    while (!err && qmp_next_member(&text, &m)) {
        const struct place here = { at, m.name, 0, false };
        json_t *value = json_object_get(object, m.name);
        char name[256];
        put_place(&here, name, sizeof(name));
        if (value)
            err = check_value(m.type, m.list, value, &here);
        else if (!m.optional)
            err = error_new("Parameter '%s' is missing", name);
    }
    return err;
}

static struct error *refuse_rest(json_t *object, const struct place *at, const struct seen *seen)
{
    const char *key;
    json_t *unused;
    json_object_foreach(object, key, unused)
    {
        struct qmp_member m;
        bool known = false;
        char names[32][64];
        const char *list[32];
        size_t n = 0;
        for (size_t i = 0; i < seen->n; i++) {
            const char *text = seen->texts[i];
            while (qmp_next_member(&text, &m)) {
                known |= !strcmp(m.name, key);
                if (n < ARRAY_LEN(names)) {
                    strcpy(names[n], m.name);
                    list[n] = names[n];
                    n++;
                }
            }
        }
        if (known)
            continue;
        char name[256], *hint = nearest_hint(key, list, n);
        const struct place here = { at, key, 0, false };
        put_place(&here, name, sizeof(name));
        struct error *err = error_new("Parameter '%s' is unexpected%s", name, hint);
        free(hint);
        return err;
    }
    return NULL;
}

/* The struct that a union's tag selects, or NULL. */
static const struct qmp_type *union_case(const struct qmp_type *type, json_t *object)
{
    struct qmp_member m;
    const char *tag = json_string_value(json_object_get(object, type->tag)), *text = type->cases;
    while (tag && qmp_next_member(&text, &m))
        if (!strcmp(m.name, tag))
            return qmp_type_find(m.type);
    return NULL;
}

static struct error *check_object(const struct qmp_type *type, json_t *object,
                                  const struct place *at, bool any)
{
    struct seen seen = { .n = 0 };
    struct error *err = check_members(type->text, object, at, &seen);
    if (!err && type->kind == QMP_UNION) {
        const struct qmp_type *branch = union_case(type, object);
        if (branch)
            err = check_members(branch->text, object, at, &seen);
        if (!err && branch && branch->kind == QMP_UNION) {
            branch = union_case(branch, object);
            if (branch)
                err = check_members(branch->text, object, at, &seen);
        }
    }
    return err || any ? err : refuse_rest(object, at, &seen);
}

static struct error *check_value(const char *type, bool list, json_t *value, const struct place *at)
{
    struct error *err = NULL;
    size_t i;
    json_t *item;
    if (list) {
        if (!json_is_array(value))
            return wrong_type(at, "array");
        json_array_foreach(value, i, item)
        {
            const struct place here = { at, NULL, i, true };
            err = check_value(type, false, item, &here);
            if (err)
                return err;
        }
        return NULL;
    }
    if (check_builtin(type, value, at, &err))
        return err;
    const struct qmp_type *t = qmp_type_find(type);
    if (t->kind == QMP_ENUM)
        return check_enum(t, value, at);
    if (t->kind == QMP_ALTERNATE)
        return check_alternate(t, value, at);
    if (!json_is_object(value))
        return wrong_type(at, "object");
    return check_object(t, value, at, false);
}

struct error *qmp_check_args(const struct qmp_command *cmd, json_t *args)
{
    bool named = *cmd->args && !strchr(cmd->args, ':');
    const struct qmp_type inline_type = { cmd->name, QMP_STRUCT, cmd->args, NULL, NULL };
    return check_object(named ? qmp_type_find(cmd->args) : &inline_type, args, NULL,
                        cmd->flags & QMP_ANY_ARGS);
}

struct error *qmp_check_reply(const struct qmp_command *cmd, json_t *reply)
{
    const struct place here = { NULL, "return", 0, false };
    char type[64];
    bool list = cmd->returns[0] == '[';
    if (!*cmd->returns)
        return json_object_size(reply) ? error_new("'return' is not empty") : NULL;
    snprintf(type, sizeof(type), "%s", cmd->returns + list);
    type[strcspn(type, "]")] = 0;
    return check_value(type, list, reply, &here);
}
