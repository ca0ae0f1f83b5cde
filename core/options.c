#include "core/options.h"

#include "core/error.h"
#include "core/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the option table ----------------------------------------------------------------------- */
const struct option *option_find(const struct option_table *table, const char *name)
{
    size_t n = strcspn(name, "=");
    for (size_t i = 0; i < table->n; i++) {
        const struct option *o = &table->at[i];
        if (o->name && !strncmp(o->name, name, n) && !o->name[n] && (!name[n] || o->joined))
            return o;
    }
    return NULL;
}

static struct error *option_unknown(const struct option_table *table, const char *typed,
                                    const char *name)
{
    const char **names = xcalloc(table->n, sizeof(*names));
    size_t n = 0;
    for (size_t i = 0; i < table->n; i++)
        if (table->at[i].name && table->at[i].handle)
            names[n++] = table->at[i].name;
    const char *near = nearest_name(name, names, n);
    struct error *err = near ? error_new("unknown option '%s'; did you mean '-%s'?", typed, near)
                             : error_new("unknown option '%s'; -help lists all", typed);
    free(names);
    return err;
}

struct error *options_parse(const struct option_table *table, int argc, char **argv,
                            struct error *(*positional)(void *opaque, const char *arg),
                            void *opaque)
{
    struct error *err = NULL;
    for (int i = 1; i < argc && !err; i++) {
        const char *typed = argv[i];
        if (typed[0] != '-' || !typed[1]) {
            err = positional(opaque, typed);
            continue;
        }
        const char *name = typed + (typed[1] == '-' ? 2 : 1);
        const struct option *o = option_find(table, name);
        if (!o)
            return option_unknown(table, typed, name);
        if (!o->handle)
            return error_new("option '%s' is not supported: %s", typed, o->help);
        bool takes_next = o->arg && !o->joined;
        if (takes_next && i + 1 == argc)
            return error_new("option '%s' needs an argument: %s", typed, o->arg);
        const char *equals = o->joined ? strchr(name, '=') : NULL;
        const char *arg = takes_next ? argv[++i] : equals ? equals + 1 : NULL;
        err = error_in(o->handle(opaque, o, arg), "-%s", o->name);
    }
    return err;
}

/* `|` would end a cell of a markdown table. */
static void escape_bars(char *to, size_t room, const char *from)
{
    size_t n = 0;
    for (; *from && n + 3 < room; from++) {
        if (*from == '|')
            to[n++] = '\\';
        to[n++] = *from;
    }
    to[n] = 0;
}

void options_help(const struct option_table *table, bool markdown,
                  void (*print)(void *opaque, const char *line), void *opaque)
{
    char line[1024], usage[256], arg[256], help[512];
    for (size_t i = 0; i < table->n; i++) {
        const struct option *o = &table->at[i];
        const char *no = o->handle ? "" : "not supported: ";
        if (!o->name) {
            print(opaque, "");
            snprintf(line, sizeof(line), markdown ? "### %s" : "%s:", o->help);
            print(opaque, line);
            if (markdown) {
                print(opaque, "");
                print(opaque, "| option | effect |");
                print(opaque, "|---|---|");
            }
            continue;
        }
        if (!markdown && !o->handle)
            continue;
        escape_bars(arg, sizeof(arg), o->arg ? o->arg : "");
        escape_bars(help, sizeof(help), o->help);
        if (markdown) {
            snprintf(line, sizeof(line), "| `-%s%s%s` | %s%s |", o->name,
                     *arg && !o->joined ? " " : "", arg, no, help);
            print(opaque, line);
            continue;
        }
        snprintf(usage, sizeof(usage), "-%s%s%s", o->name, o->arg && !o->joined ? " " : "",
                 o->arg ? o->arg : "");
        if (strlen(usage) > 27) {
            snprintf(line, sizeof(line), "  %s", usage);
            print(opaque, line);
            usage[0] = 0;
        }
        snprintf(line, sizeof(line), "  %-27s %s", usage, o->help);
        print(opaque, line);
    }
}

/* ---- key=value lists ------------------------------------------------------------------------ */
static void options_add(struct options *o, const char *name, const char *value)
{
    o->at = xrealloc(o->at, (o->n + 1) * sizeof(*o->at));
    o->used = xrealloc(o->used, (o->n + 1) * sizeof(*o->used));
    o->at[o->n] = (struct prop_value){ name, value };
    o->used[o->n++] = false;
}

/* Cut the next item off *at, undoing ",,"; NULL at the end. */
static char *next_item(char **at)
{
    char *start = *at, *to = start, *from = start;
    if (!start)
        return NULL;
    *at = NULL;
    for (; *from; from++) {
        if (*from == ',') {
            if (from[1] != ',') {
                *at = from + 1;
                break;
            }
            from++;
        }
        *to++ = *from;
    }
    *to = 0;
    return start;
}

/* Values are collected in one growing text; pointers into it are made when it stops moving. */
static void collect(void *opaque, const char *name, const char *value)
{
    struct bytes *text = opaque;
    bytes_add(text, name, strlen(name) + 1);
    bytes_add(text, value, strlen(value) + 1);
}

static struct error *options_split_json(const char *json, struct options *out)
{
    struct bytes text = { 0 };
    struct error *err = json_flatten(json, collect, &text);
    out->text = (char *)text.at;
    for (size_t at = 0; at < text.n;) {
        const char *name = out->text + at, *value = name + strlen(name) + 1;
        options_add(out, name, value);
        at = (size_t)(value - out->text) + strlen(value) + 1;
    }
    return err;
}

struct error *options_split(const char *text, const char *implied, struct options *out)
{
    *out = (struct options){ 0 };
    if (text[0] == '{') {
        struct error *err = options_split_json(text, out);
        if (err)
            options_free(out);
        return err;
    }
    out->text = xstrdup(text);
    char *rest = out->text, *item;
    for (bool first = true; (item = next_item(&rest)); first = false) {
        char *equals = strchr(item, '=');
        if (first && implied && !equals && *item) {
            options_add(out, implied, item);
        } else if (!*item) {
            if (!first || rest) {
                struct error *err = error_new("empty item in '%s'; write name=value", text);
                options_free(out);
                return err;
            }
        } else if (equals) {
            *equals = 0;
            options_add(out, item, equals + 1);
        } else {
            options_add(out, item, "on");
        }
    }
    return NULL;
}

void options_free(struct options *o)
{
    free(o->at);
    free(o->used);
    free(o->text);
    *o = (struct options){ 0 };
}

const char *options_get(struct options *o, const char *name)
{
    const char *value = NULL;
    for (size_t i = 0; i < o->n; i++) {
        const char *key = o->at[i].name;
        bool is_no =
            !strncmp(key, "no", 2) && !strcmp(key + 2, name) && !strcmp(o->at[i].value, "on");
        if (strcmp(key, name) && !is_no)
            continue;
        value = is_no ? "off" : o->at[i].value;
        o->used[i] = true;
    }
    return value;
}

int parse_bool(const char *s)
{
    static const char *const words[] = { "off", "on", "no", "yes", "false", "true", "n", "y" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (!strcmp(s, words[i]))
            return i & 1;
    return -1;
}

bool parse_uint(const char *s, uint64_t max, uint64_t *value)
{
    char *end;
    if (*s < '0' || *s > '9')
        return false;
    errno = 0;
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
    unsigned long long v = strtoull(s, &end, hex ? 16 : 10);
    if (errno || *end || v > max)
        return false;
    *value = v;
    return true;
}

struct error *options_get_bool(struct options *o, const char *name, bool *value)
{
    const char *text = options_get(o, name);
    if (!text)
        return NULL;
    int b = parse_bool(text);
    if (b < 0)
        return error_new("%s='%s' is neither on nor off", name, text);
    *value = b;
    return NULL;
}

char *nearest_hint(const char *name, const char *const *names, size_t n)
{
    const char *near = nearest_name(name, names, n);
    return near ? xasprintf("; did you mean '%s'?", near) : xstrdup("");
}

struct error *options_refuse_rest(const struct options *o, const char *const *known, size_t n)
{
    for (size_t i = 0; i < o->n; i++) {
        if (o->used[i])
            continue;
        char list[400] = "";
        for (size_t k = 0; k < n; k++)
            if (strlen(list) + strlen(known[k]) + 3 < sizeof(list)) {
                strcat(list, k ? ", " : "");
                strcat(list, known[k]);
            }
        char *hint = nearest_hint(o->at[i].name, known, n);
        struct error *err = error_new("unknown name '%s'%s (accepted: %s)", o->at[i].name, hint,
                                      *list ? list : "none");
        free(hint);
        return err;
    }
    return NULL;
}
