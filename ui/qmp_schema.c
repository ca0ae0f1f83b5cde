/* What the tables say of themselves: query-qmp-schema and the page of the documentation. */
#include "ui/qmp.h"

#include "core/util.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- query-qmp-schema -------------------------------------------------------------------------- */
/* Types are told once, as they are met. */
struct schema {
    json_t *list, *told; /* told: an object whose keys are the names */
};

static bool is_builtin(const char *type)
{
    static const char *const names[] = { "str",   "int",   "number", "bool",   "null",
                                         "any",   "size",  "int8",   "int16",  "int32",
                                         "int64", "uint8", "uint16", "uint32", "uint64" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(names[i], type))
            return true;
    return false;
}

static const char *json_type_of(const char *builtin)
{
    return !strcmp(builtin, "str")      ? "string"
           : !strcmp(builtin, "bool")   ? "boolean"
           : !strcmp(builtin, "number") ? "number"
           : !strcmp(builtin, "null")   ? "null"
           : !strcmp(builtin, "any")    ? "value"
                                        : "int";
}

/* False: it was told before. */
static bool first_time(struct schema *s, const char *name)
{
    if (json_object_get(s->told, name))
        return false;
    json_object_set_new(s->told, name, json_true());
    return true;
}

static const char *tell_type(struct schema *s, const char *type);

/* All kinds of integers are one to a client. */
static const char *type_name(struct schema *s, const char *type)
{
    return is_builtin(type) && !strcmp(json_type_of(type), "int") ? "int" : type;
}

static json_t *type_of_member(struct schema *s, const char *type, bool list)
{
    char name[80];
    const char *element = tell_type(s, type);
    if (!list)
        return json_string(element);
    snprintf(name, sizeof(name), "[%s]", element);
    if (first_time(s, name))
        json_array_append_new(s->list, json_pack("{ssssss}", "name", name, "meta-type", "array",
                                                 "element-type", element));
    return json_string(name);
}

static json_t *members_of(struct schema *s, const char *text)
{
    struct qmp_member m;
    json_t *members = json_array();
    while (qmp_next_member(&text, &m)) {
        json_t *member =
            json_pack("{ssso}", "name", m.name, "type", type_of_member(s, m.type, m.list));
        if (m.optional)
            json_object_set_new(member, "default", json_null());
        json_array_append_new(members, member);
    }
    return members;
}

/* Every value of the tag has a case; those without members of their own an empty one. */
static json_t *variants_of(struct schema *s, const struct qmp_type *type)
{
    struct qmp_member m, v;
    const char *text = type->text;
    char word[64];
    json_t *variants = json_array();
    while (qmp_next_member(&text, &m) && strcmp(m.name, type->tag))
        ;
    const char *values = qmp_type_find(m.type)->text;
    while (qmp_next_word(&values, word)) {
        const char *cases = type->cases, *target = NULL;
        while (!target && qmp_next_member(&cases, &v))
            if (!strcmp(v.name, word))
                target = tell_type(s, v.type);
        json_array_append_new(variants, json_pack("{ssss}", "case", word, "type",
                                                  target ? target : tell_type(s, "")));
    }
    return variants;
}

static void tell_enum(struct schema *s, const struct qmp_type *type)
{
    char word[64];
    const char *text = type->text;
    json_t *values = json_array(), *members = json_array();
    while (qmp_next_word(&text, word)) {
        json_array_append_new(values, json_string(word));
        json_array_append_new(members, json_pack("{ss}", "name", word));
    }
    json_array_append_new(s->list, json_pack("{sssssoso}", "name", type->name, "meta-type", "enum",
                                             "members", members, "values", values));
}

static void tell_alternate(struct schema *s, const struct qmp_type *type)
{
    char word[64];
    const char *text = type->text;
    json_t *members = json_array();
    while (qmp_next_word(&text, word)) {
        bool list = word[0] == '[';
        word[strcspn(word, "]")] = 0;
        json_array_append_new(members,
                              json_pack("{so}", "type", type_of_member(s, word + list, list)));
    }
    json_array_append_new(s->list, json_pack("{ssssso}", "name", type->name, "meta-type",
                                             "alternate", "members", members));
}

static void tell_object(struct schema *s, const char *name, const char *text,
                        const struct qmp_type *type)
{
    json_t *object =
        json_pack("{ssssso}", "name", name, "meta-type", "object", "members", members_of(s, text));
    if (type && type->kind == QMP_UNION) {
        json_object_set_new(object, "tag", json_string(type->tag));
        json_object_set_new(object, "variants", variants_of(s, type));
    }
    json_array_append_new(s->list, object);
}

/* Make sure that it is told; "" is the object without members. Gives the name it goes by. */
static const char *tell_type(struct schema *s, const char *type)
{
    if (is_builtin(type)) {
        const char *name = type_name(s, type);
        if (first_time(s, name))
            json_array_append_new(s->list, json_pack("{ssssss}", "name", name, "meta-type",
                                                     "builtin", "json-type", json_type_of(type)));
        return name;
    }
    if (!*type) {
        if (first_time(s, "nothing"))
            tell_object(s, "nothing", "", NULL);
        return "nothing";
    }
    const struct qmp_type *t = qmp_type_find(type);
    if (!first_time(s, t->name))
        return t->name;
    if (t->kind == QMP_ENUM)
        tell_enum(s, t);
    else if (t->kind == QMP_ALTERNATE)
        tell_alternate(s, t);
    else
        tell_object(s, t->name, t->text, t);
    return t->name;
}

/* Of a command or an event: a named type, or one made of the members. */
static json_t *tell_args(struct schema *s, const char *owner, const char *text)
{
    if (!strchr(text, ':'))
        return json_string(tell_type(s, text));
    char *name = xasprintf("%s-arg", owner);
    tell_object(s, name, text, NULL);
    json_t *told = json_string(name);
    free(name);
    return told;
}

static json_t *tell_returns(struct schema *s, const char *text)
{
    char name[80];
    bool list = text[0] == '[';
    snprintf(name, sizeof(name), "%s", text + list);
    name[strcspn(name, "]")] = 0;
    return type_of_member(s, name, list);
}

static void tell_command(struct schema *s, const struct qmp_command *cmd)
{
    json_t *o =
        json_pack("{sssssoso}", "name", cmd->name, "meta-type", "command", "arg-type",
                  tell_args(s, cmd->name, cmd->args), "ret-type", tell_returns(s, cmd->returns));
    if (cmd->flags & QMP_OOB)
        json_object_set_new(o, "allow-oob", json_true());
    if (cmd->features) {
        char word[64];
        const char *text = cmd->features;
        json_t *features = json_array();
        while (qmp_next_word(&text, word))
            json_array_append_new(features, json_string(word));
        json_object_set_new(o, "features", features);
    }
    json_array_append_new(s->list, o);
}

json_t *qmp_schema(void)
{
    struct schema s = { json_array(), json_object() };
    for (size_t i = 0; i < n_qmp_tables; i++)
        for (size_t j = 0; j < qmp_tables[i]->commands.n; j++)
            tell_command(&s, &qmp_tables[i]->commands.at[j]);
    for (size_t i = 0; i < N_EVENTS; i++)
        json_array_append_new(
            s.list, json_pack("{ssssso}", "name", qmp_events[i].name, "meta-type", "event",
                              "arg-type", tell_args(&s, qmp_events[i].name, qmp_events[i].data)));
    json_decref(s.told);
    return s.list;
}

/* ---- docs/qmp.md --------------------------------------------------------------------------------- */
struct page {
    void (*print)(void *opaque, const char *line);
    void *opaque;
};

static void row(const struct page *p, const char *a, const char *b, const char *c, const char *d)
{
    char *line = d ? xasprintf("| `%s` | %s%s%s | %s%s%s | %s |", a, *b ? "`" : "", b,
                               *b ? "`" : "", *c ? "`" : "", c, *c ? "`" : "", d)
                   : xasprintf("| `%s` | %s%s%s | %s |", a, *b ? "`" : "", b, *b ? "`" : "", c);
    p->print(p->opaque, line);
    free(line);
}

static void print_types(const struct page *p, const struct qmp_table *t)
{
    if (!t->types.n)
        return;
    p->print(p->opaque, "");
    p->print(p->opaque, "| type | members or values | |");
    p->print(p->opaque, "|---|---|---|");
    for (size_t i = 0; i < t->types.n; i++) {
        const struct qmp_type *type = &t->types.at[i];
        char *cases = type->kind == QMP_UNION
                          ? xasprintf("by `%s`: `%s`", type->tag, type->cases)
                          : xstrdup(type->kind == QMP_ENUM        ? "enumeration"
                                    : type->kind == QMP_ALTERNATE ? "one of these types"
                                                                  : "");
        row(p, type->name, type->text, cases, NULL);
        free(cases);
    }
}

void qmp_print_page(void (*print)(void *opaque, const char *line), void *opaque)
{
    const struct page p = { print, opaque };
    print(opaque, "# QMP: commands, types, events");
    print(opaque, "");
    print(opaque,
          "Made from the tables in ui/qmp_*.c by `tandem -qmp help`; [monitor.md](monitor.md) "
          "explains them. `*` marks what may be left out, `[type]` is a list.");
    for (size_t i = 0; i < n_qmp_tables; i++) {
        const struct qmp_table *t = qmp_tables[i];
        char *title = xasprintf("## %s", t->title);
        print(opaque, "");
        print(opaque, title);
        print(opaque, "");
        free(title);
        print(opaque, "| command | arguments | gives | |");
        print(opaque, "|---|---|---|---|");
        for (size_t j = 0; j < t->commands.n; j++)
            row(&p, t->commands.at[j].name, t->commands.at[j].args, t->commands.at[j].returns,
                t->commands.at[j].doc);
        print_types(&p, t);
    }
    print(opaque, "");
    print(opaque, "## Events");
    print(opaque, "");
    print(opaque, "| event | data | |");
    print(opaque, "|---|---|---|");
    for (size_t i = 0; i < N_EVENTS; i++)
        row(&p, qmp_events[i].name, qmp_events[i].data, qmp_events[i].doc, NULL);
}
