/* Options that only print: -help, -version, and "help" as the value of others. */
#include "cli/cli.h"

#include "core/accel.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/log.h"
#include "core/object.h"
#include "core/vcpu.h"
#include "hw/machine/machine.h"
#include "target/riscv/riscv.h"
#include "target/x86_64/x86.h"
#include "ui/audio.h"
#include "ui/faces.h"
#include "ui/qmp_session.h"

#include "tandem-config.h"

#include <stdio.h>
#include <stdlib.h>

static void print_line(void *opaque, const char *line)
{
    puts(line);
}

static void help_options(struct cli *cli)
{
    bool page = cli->print == PRINT_OPTIONS_PAGE;
    if (page)
        puts("# Options\n\nMade by `tandem -help-page` from `cli/table.c`; examples are in "
             "[user-guide.md](user-guide.md).");
    else
        puts(
            "usage: tandem [OPTION...] [FILE]\n"
            "FILE is a kernel or a disk image to boot with good defaults. Options are QEMU's, with "
            "one dash or two:");
    options_help(&cli_options, page, print_line, NULL);
}

/* ---- -device help ------------------------------------------------------------------------------- */
static void help_devices(void)
{
    for (size_t i = 0; i < n_device_classes; i++) {
        const struct device_class *cls = device_classes[i];
        if (cls->user_creatable)
            printf("name \"%s\", bus %s, desc \"%s\"\n", cls->name, cls->bus, cls->desc);
    }
}

static const char *const kind_names[] = {
    [PROP_BOOL] = "on|off",    [PROP_UINT] = "number",     [PROP_SIZE] = "size",
    [PROP_STRING] = "text",    [PROP_ENUM] = "word",       [PROP_MAC] = "MAC address",
    [PROP_DRIVE] = "-drive",   [PROP_NETDEV] = "-netdev",  [PROP_CHARDEV] = "-chardev",
    [PROP_OBJECT] = "-object", [PROP_AUDIO] = "-audiodev",
};

static void help_property(const struct prop *p)
{
    printf("  %s=<", p->name);
    if (p->kind == PROP_ENUM)
        for (size_t i = 0; p->names[i]; i++)
            printf("%s%s", i ? "|" : "", p->names[i]);
    else
        printf("%s", kind_names[p->kind]);
    printf(">");
    if (p->help)
        printf(" - %s", p->help);
    if (p->def && *p->def)
        printf(" (default: %s)", p->def);
    puts("");
}

static struct error *help_device(const char *name)
{
    const struct device_class *cls = device_class_find(name);
    const char *names[256];
    size_t n = 0;
    if (cls) {
        printf("%s options:\n", name);
        for (size_t i = 0; i < cls->props.n; i++)
            help_property(&cls->props.at[i]);
        return NULL;
    }
    for (size_t i = 0; i < n_device_classes && n < ARRAY_LEN(names); i++)
        names[n++] = device_classes[i]->name;
    char *hint = nearest_hint(name, names, n);
    struct error *err = error_new("-device: unknown device '%s'%s", name, hint);
    free(hint);
    return err;
}

/* ---- the rest ------------------------------------------------------------------------------------- */
static void help_accels(void)
{
    for (size_t i = 0; i < n_accels; i++)
        puts(accels[i]->name);
}

static void help_log(void)
{
    for (unsigned i = 0; i < n_log_items; i++)
        printf("%-14s %s\n", log_items[i].name, log_items[i].help);
}

/* "help" or "?", alone or as one of the values of a list: "virt,help". */
static bool asks_help(const char *text, char *name, size_t room)
{
    struct options list;
    struct error *err = options_split(text, "name", &list);
    if (err) {
        error_free(err);
        return false;
    }
    bool asked = false;
    const char *first = options_get(&list, "name");
    for (size_t i = 0; i < list.n; i++) {
        bool is_name = !strcmp(list.at[i].name, "name");
        const char *word = is_name ? list.at[i].value : list.at[i].name;
        asked |= !strcmp(word, "help") || !strcmp(word, "?");
    }
    snprintf(name, room, "%s", first && strcmp(first, "help") && strcmp(first, "?") ? first : "");
    options_free(&list);
    return asked;
}

static struct error *help_machine(struct cli *cli, const char *name)
{
    const struct machine_class *cls;
    struct error *err = NULL;
    if (*name || cli->arch)
        err = machine_find(*name ? name : NULL, cli->arch, &cls);
    if (!err && !*name)
        machine_help(cli->arch, print_line, NULL);
    else if (!err)
        machine_option_help(cls, print_line, NULL);
    return err;
}

static const struct target *const targets[] = { &riscv64_target, &x86_64_target };

static struct error *help_cpu(struct cli *cli)
{
    cli->cpu = NULL;
    struct error *err = cli->image || cli->kernel || cli->machine ? cli_choose(cli) : NULL;
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(targets) && !err; i++)
        if (!cli->arch || !strcmp(targets[i]->name, cli->arch)) {
            targets[i]->cpu_help(print_line, NULL);
            known = true;
        }
    return err || known ? err : error_new("-cpu: there are no models for '%s'", cli->arch);
}

static struct error *help_accel(const char *name)
{
    if (!*name) {
        help_accels();
        return NULL;
    }
    for (size_t i = 0; i < n_accels; i++)
        if (!strcmp(accels[i]->name, name)) {
            accels[i]->print_help(print_line, NULL);
            return NULL;
        }
    return error_new("-accel: unknown engine '%s'; -accel help lists them", name);
}

struct error *cli_print_help(struct cli *cli, bool *printed)
{
    char name[64];
    *printed = true;
    if (cli->print == PRINT_VERSION) {
        puts("Tandem " TANDEM_VERSION);
        return NULL;
    }
    if (cli->print != PRINT_NOTHING) {
        help_options(cli);
        return NULL;
    }
    if (cli->machine && asks_help(cli->machine, name, sizeof(name)))
        return help_machine(cli, name);
    if (cli->cpu && asks_help(cli->cpu, name, sizeof(name)))
        return help_cpu(cli);
    if (cli->log_items && asks_help(cli->log_items, name, sizeof(name))) {
        help_log();
        return NULL;
    }
    if (cli->display && asks_help(cli->display, name, sizeof(name))) {
        faces_help(print_line, NULL);
        return NULL;
    }
    for (size_t i = 0; i < cli->accels.n; i++)
        if (asks_help(cli->accels.at[i], name, sizeof(name)))
            return help_accel(name);
    for (size_t i = 0; i < cli->devices.n; i++)
        if (asks_help(cli->devices.at[i], name, sizeof(name))) {
            struct error *err = *name ? help_device(name) : NULL;
            if (!*name)
                help_devices();
            return err;
        }
    for (size_t i = 0; i < cli->objects.n; i++)
        if (asks_help(cli->objects.at[i], name, sizeof(name))) {
            object_help(print_line, NULL);
            return NULL;
        }
    for (size_t i = 0; i < cli->chardevs.n; i++)
        if (asks_help(cli->chardevs.at[i], name, sizeof(name))) {
            chardev_help(print_line, NULL);
            return NULL;
        }
    for (size_t i = 0; i < cli->qmps.n; i++)
        if (asks_help(cli->qmps.at[i], name, sizeof(name))) {
            qmp_help(print_line, NULL);
            return NULL;
        }
    for (size_t i = 0; i < cli->audiodevs.n; i++)
        if (asks_help(cli->audiodevs.at[i], name, sizeof(name))) {
            audio_help(print_line, NULL);
            return NULL;
        }
    for (size_t i = 0; i < cli->netdevs.n; i++)
        if (asks_help(cli->netdevs.at[i], name, sizeof(name))) {
            puts("user,id=ID[,hostfwd=tcp|udp:[ADDR]:PORT-[ADDR]:PORT]... - the host's network, "
                 "without privileges");
            return NULL;
        }
    *printed = false;
    return NULL;
}
