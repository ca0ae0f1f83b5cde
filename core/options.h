/* The command line's grammar: a table with one line an option, from which parsing, -help and the
 * docs come; and "key=value,key=value" lists (or the same as JSON). What an option means is told by
 * its handler; this file knows none of them. */
#pragma once

#include "core/device.h"

#include <stdbool.h>
#include <stddef.h>

struct error;

struct option {
    const char *name; /* without the dash; NULL: a heading, its text in `help` */
    const char *arg;  /* what the argument looks like; NULL: takes none */
    const char *help; /* one line */
    /* NULL: not supported, help says why. `o` is this line, for handlers that serve several. */
    struct error *(*handle)(void *opaque, const struct option *o, const char *arg);
    size_t offset; /* of the member of *opaque that a common handler sets */
    bool joined;   /* the argument may be left out, and is joined by '=': "-stats=json" */
};
struct option_table {
    const struct option *at;
    size_t n;
};

/* By its name, which may go on with "=..." where the option takes its argument that way. NULL: there is none. */
const struct option *option_find(const struct option_table *table, const char *name);
/* Handle argv[1..argc): "-opt arg" and "--opt arg" by the table, everything else by `positional`.
 * The first error ends it; an unknown option's names the nearest one. */
struct error *options_parse(const struct option_table *table, int argc, char **argv,
                            struct error *(*positional)(void *opaque, const char *arg),
                            void *opaque);
/* One line an option, under headings; `markdown` gives the table of docs/options.md instead. */
void options_help(const struct option_table *table, bool markdown,
                  void (*print)(void *opaque, const char *line), void *opaque);

/* A list as typed, values unescaped: "a=b,c,d=e,,f" is a="b", c="on", d="e,f"; a bare "noc" is
 * c="off" when the list's user asks for "c". JSON objects give the same, nested names joined by dots. */
struct options {
    struct prop_value *at;
    bool *used;
    size_t n;
    char *text; /* what the strings point into */
};
/* `implied` names the first value when it comes without a key ("virt,aia=none"); NULL: none may. */
struct error *options_split(const char *text, const char *implied, struct options *out);
void options_free(struct options *o);
/* The last value under this name, or NULL; marks it used. */
const char *options_get(struct options *o, const char *name);
/* As options_get, but the value is to be on|off|yes|no|true|false; *value stays if it is not there. */
struct error *options_get_bool(struct options *o, const char *name, bool *value);
/* 1 on, 0 off, -1 neither. */
int parse_bool(const char *s);
/* Decimal or 0x hex; false if malformed or over max. */
bool parse_uint(const char *s, uint64_t max, uint64_t *value);
/* An error naming the first entry nobody asked for; `known` (n names) is what would be accepted. */
struct error *options_refuse_rest(const struct options *o, const char *const *known, size_t n);
/* "; did you mean 'x'?" or "" for error texts; the caller frees it. */
char *nearest_hint(const char *name, const char *const *names, size_t n);
