/* -readconfig: options from a file, in the form of QEMU's.
 *
 *   # a comment
 *   [drive "d0"]                 -drive id=d0,file=disk.img,format=raw
 *     file = "disk.img"
 *     format = "raw"
 *   [options]                    for options that take no list: -kernel Image -nographic
 *     kernel = "Image"
 *     nographic = "on"
 *
 * A section acts where the next one begins, as if it stood on the command line in place of -readconfig. */
#include "cli/cli.h"

#include "core/error.h"

#include <stdio.h>
#include <stdlib.h>

/* What a section's name is for, and the key whose value stands first on the command line. */
static const struct section {
    const char *name, *option, *first;
} sections[] = {
    { "options", NULL, NULL },
    { "machine", "machine", "type" },
    { "accel", "accel", "accel" },
    { "memory", "m", "size" },
    { "smp-opts", "smp", "cpus" },
    { "boot-opts", "boot", "order" },
    { "name", "name", "guest" },
    { "rtc", "rtc", "base" },
    { "numa", "numa", "type" },
    { "smbios", "smbios", NULL },
    { "overcommit", "overcommit", NULL },
    { "global", "global", NULL },
    { "object", "object", "qom-type" },
    { "device", "device", "driver" },
    { "drive", "drive", NULL },
    { "blockdev", "blockdev", "driver" },
    { "netdev", "netdev", "type" },
    { "nic", "nic", "type" },
    { "chardev", "chardev", "backend" },
    { "mon", "mon", "chardev" },
    { "vnc", "vnc", "vnc" },
    { "audiodev", "audiodev", "driver" },
    { "fw_cfg", "fw_cfg", "name" },
    { "action", "action", NULL },
    { "sandbox", "sandbox", "enable" },
    { "msg", "msg", NULL },
};

struct config {
    struct cli *cli;
    const char *path;
    unsigned line;
    /* The section under way: */
    const struct section *section; /* NULL: none yet */
    unsigned section_line;
    const char *first, *rest;
};

static struct error *no_such_section(const char *name)
{
    const char *names[ARRAY_LEN(sections)];
    for (size_t i = 0; i < ARRAY_LEN(sections); i++)
        names[i] = sections[i].name;
    char *hint = nearest_hint(name, names, ARRAY_LEN(names));
    struct error *err =
        error_new("there is no section [%s]%s; docs/user-guide.md lists them", name, hint);
    free(hint);
    return err;
}

/* Hand the option to its handler, which may keep the text. */
static struct error *handle(struct config *c, const char *name, const char *arg, unsigned line)
{
    const struct option *o = option_find(&cli_options, name);
    bool on = true;
    if (!o || !strcmp(name, "readconfig"))
        return error_new("there is no option '%s' for configuration files", name);
    if (!o->handle)
        return error_new("option '%s' is not supported: %s", name, o->help);
    if (!o->arg) {
        int b = parse_bool(arg);
        if (b < 0)
            return error_new("%s = \"%s\": it is on or off", name, arg);
        on = b;
        arg = NULL;
    }
    c->cli->origin = cli_text(c->cli, "%s:%u", c->path, line);
    struct error *err = on ? o->handle(c->cli, o, arg) : NULL;
    c->cli->origin = NULL;
    return error_in(err, "-%s", o->name);
}

static struct error *end_section(struct config *c)
{
    const struct section *s = c->section;
    c->section = NULL;
    if (!s || !s->option)
        return NULL;
    const char *rest = c->rest;
    if (!*c->first && *rest)
        rest++; /* its comma */
    struct error *err =
        handle(c, s->option, cli_text(c->cli, "%s%s", c->first, rest), c->section_line);
    return error_in(err, "%s:%u", c->path, c->section_line);
}

static struct error *take_value(struct config *c, const char *key, const char *value)
{
    const struct section *s = c->section;
    if (!s)
        return error_new("'%s' stands in no section; [machine] begins one", key);
    if (!s->option)
        return handle(c, key, cli_text(c->cli, "%s", value), c->line);
    value = cli_quoted(c->cli, value);
    if (s->first && !strcmp(s->first, key))
        c->first = value;
    else
        c->rest = cli_text(c->cli, "%s,%s=%s", c->rest, key, value);
    return NULL;
}

/* ---- lines ---------------------------------------------------------------------------------------- */
/* Cut a text in quotes off *at; NULL: there is none. */
static char *quoted_text(char **at)
{
    char *start = *at, *end = *start == '"' ? strchr(start + 1, '"') : NULL;
    if (!end)
        return NULL;
    *end = 0;
    *at = end + 1;
    return start + 1;
}

static char *skip_blanks(char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* [NAME] or [NAME "ID"]; `at` is behind the bracket. */
static struct error *begin_section(struct config *c, char *at)
{
    char *name = at = skip_blanks(at), *id = NULL;
    at += strcspn(at, " \t]\"\r\n");
    char *end = at;
    at = skip_blanks(at);
    if (*at == '"')
        id = quoted_text(&at);
    at = skip_blanks(at);
    if (*at != ']' || *skip_blanks(at + 1) || end == name)
        return error_new("a section begins with [NAME] or [NAME \"ID\"]");
    *end = 0;
    for (size_t i = 0; i < ARRAY_LEN(sections); i++)
        if (!strcmp(sections[i].name, name))
            c->section = &sections[i];
    if (!c->section)
        return no_such_section(name);
    c->section_line = c->line;
    c->first = "";
    c->rest = id ? cli_text(c->cli, ",id=%s", cli_quoted(c->cli, id)) : "";
    return NULL;
}

/* NAME = "VALUE" */
static struct error *read_value(struct config *c, char *at)
{
    char *key = at, *end = at + strcspn(at, " \t=\r\n");
    at = skip_blanks(end);
    bool equals = *at == '=';
    if (equals)
        at = skip_blanks(at + 1);
    char *value = equals && end != key ? quoted_text(&at) : NULL;
    if (!value || *skip_blanks(at))
        return error_new("a line reads NAME = \"VALUE\", or [SECTION], or # comment");
    *end = 0;
    return take_value(c, key, value);
}

static struct error *read_line(struct config *c, char *line)
{
    char *at = skip_blanks(line);
    if (!*at || *at == '#')
        return NULL;
    if (*at != '[')
        return error_in(read_value(c, at), "%s:%u", c->path, c->line);
    struct error *err = end_section(c);
    return err ? err : error_in(begin_section(c, at + 1), "%s:%u", c->path, c->line);
}

struct error *cli_read_config(struct cli *cli, const char *path)
{
    struct config c = { .cli = cli, .path = path };
    struct error *err = NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    FILE *file = fopen(path, "re");
    if (!file)
        return error_errno("cannot read '%s'", path);
    while (!err && (n = getline(&line, &room, file)) >= 0) {
        c.line++;
        err = strlen(line) != (size_t)n ? error_new("%s:%u: this is no text", path, c.line)
                                        : read_line(&c, line);
    }
    if (!err && ferror(file))
        err = error_errno("cannot read '%s'", path);
    if (!err)
        err = end_section(&c);
    free(line);
    fclose(file);
    return err;
}
