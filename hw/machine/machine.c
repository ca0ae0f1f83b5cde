/* The list of boards, and what all of them share: finding one, its options, its life. */
#include "hw/machine/machine.h"

#include "core/accel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/vm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

extern const struct machine_class q35_machine, i440fx_machine;
extern const struct machine_class riscv_virt_machine;
extern const struct machine_class microvm_machine;
extern const struct machine_class none_machine;

const struct machine_class *const machine_classes[] = {
    &riscv_virt_machine, &q35_machine, &i440fx_machine, &microvm_machine, &none_machine,
};
const size_t n_machine_classes = ARRAY_LEN(machine_classes);

/* ---- finding one ------------------------------------------------------------------------------- */
static bool serves(const struct machine_class *cls, const char *arch)
{
    return !arch || !cls->arch || strcmp(cls->arch, arch) == 0;
}

/* Is `name` "pc-q35-" and a version? *family: it begins like that. */
static bool is_version_of(const struct machine_class *cls, const char *name, bool *family)
{
    size_t n = cls->versioned ? strlen(cls->versioned) : 0;
    *family = n && strncmp(name, cls->versioned, n) == 0;
    for (size_t i = 0; *family && cls->versions[i]; i++)
        if (strcmp(name + n, cls->versions[i]) == 0)
            return true;
    return false;
}

static bool is_called(const struct machine_class *cls, const char *name)
{
    bool family;
    return name ? strcmp(cls->name, name) == 0 || is_version_of(cls, name, &family)
                : cls->is_default;
}

static struct error *unknown_version(const struct machine_class *cls, const char *name)
{
    size_t n = 0;
    while (cls->versions[n + 1])
        n++;
    return error_new("unknown machine '%s': %s goes from %s%s to %s%s", name, cls->name,
                     cls->versioned, cls->versions[n], cls->versioned, cls->versions[0]);
}

static struct error *find_by_name(const char *name, const char *arch,
                                  const struct machine_class **out)
{
    const char *names[ARRAY_LEN(machine_classes)];
    size_t n = 0;
    for (size_t i = 0; i < n_machine_classes; i++) {
        const struct machine_class *cls = machine_classes[i];
        if (!serves(cls, arch))
            continue;
        names[n++] = cls->name;
        if (is_called(cls, name)) {
            *out = cls;
            return NULL;
        }
        bool family = false;
        if (name && !is_version_of(cls, name, &family) && family)
            return unknown_version(cls, name);
    }
    char *hint = nearest_hint(name ? name : "", names, n);
    struct error *err =
        name ? error_new("unknown machine '%s' for %s%s (see -M help)", name,
                         arch ? arch : "any guest", hint)
             : error_new("there is no machine for guests of architecture '%s'", arch ? arch : "");
    free(hint);
    return err;
}

struct error *machine_find(const char *machine, const char *arch, const struct machine_class **out)
{
    struct options o = { 0 };
    struct error *err = machine ? options_split(machine, "type", &o) : NULL;
    if (!err)
        err = find_by_name(options_get(&o, "type"), arch, out);
    options_free(&o);
    return error_in(err, "-machine");
}

/* ---- help --------------------------------------------------------------------------------------- */
void machine_help(const char *arch, void (*print)(void *opaque, const char *line), void *opaque)
{
    char line[160];
    print(opaque, "Supported machines are:");
    for (size_t i = 0; i < n_machine_classes; i++) {
        const struct machine_class *cls = machine_classes[i];
        if (!serves(cls, arch))
            continue;
        char alias[48] = "";
        if (cls->versioned)
            snprintf(alias, sizeof(alias), " (alias of %s%s)", cls->versioned, cls->versions[0]);
        snprintf(line, sizeof(line), "%-20s %s%s%s", cls->name, cls->desc, alias,
                 cls->is_default ? " (default)" : "");
        print(opaque, line);
        for (size_t v = 0; cls->versioned && cls->versions[v]; v++) {
            char name[40];
            snprintf(name, sizeof(name), "%s%s", cls->versioned, cls->versions[v]);
            snprintf(line, sizeof(line), "%-20s %s", name, cls->desc);
            print(opaque, line);
        }
    }
}

void machine_option_help(const struct machine_class *cls,
                         void (*print)(void *opaque, const char *line), void *opaque)
{
    char line[200];
    for (size_t i = 0; i < cls->options.n; i++) {
        const struct machine_option *o = &cls->options.at[i];
        snprintf(line, sizeof(line), "  %s=<%s> - %s", o->name, o->values, o->help);
        print(opaque, line);
    }
}

/* ---- options ------------------------------------------------------------------------------------ */
/* Is value one of the words of "on|off"? A list without '|' and in capitals takes anything. */
static bool value_allowed(const char *values, const char *value)
{
    size_t n = strlen(value);
    if (values[0] >= 'A' && values[0] <= 'Z')
        return true;
    for (const char *at = values; *at; at += strcspn(at, "|"), at += *at == '|')
        if (strcspn(at, "|") == n && strncmp(at, value, n) == 0)
            return true;
    return false;
}

/* Options of any board's memory. */
static bool set_memory_option(struct vm *vm, const char *name, const char *value)
{
    bool on = !strcmp(value, "on");
    if (!strcmp(name, "dump-guest-core"))
        vm->ram_flags |= on ? 0 : RAM_NO_DUMP;
    else if (!strcmp(name, "mem-merge"))
        vm->ram_flags |= on ? RAM_MERGE : 0;
    else
        return false;
    return true;
}

static struct error *set_option(struct machine *m, const struct machine_option *o,
                                const char *value)
{
    if (!strcmp(o->values, "on|off") && parse_bool(value) >= 0)
        value = parse_bool(value) ? "on" : "off";
    if (!value_allowed(o->values, value))
        return error_new("%s='%s' is not supported (accepted: %s)", o->name, value, o->values);
    return set_memory_option(m->vm, o->name, value) ? NULL : m->cls->set_option(m, o->name, value);
}

static struct error *parse_options(struct machine *m, const char *text)
{
    const char *name;
    const struct machine_class *cls = m->cls;
    const char **names = xcalloc(cls->options.n, sizeof(*names));
    struct options list = { 0 };
    struct error *err = text ? options_split(text, "type", &list) : NULL;
    name = options_get(&list, "type");
    m->name = xstrdup(name ? name : cls->name);
    for (size_t i = 0; !err && i < cls->options.n; i++) {
        names[i] = cls->options.at[i].name;
        const char *value = options_get(&list, names[i]);
        if (value)
            err = set_option(m, &cls->options.at[i], value);
    }
    if (!err)
        err = options_refuse_rest(&list, names, cls->options.n);
    options_free(&list);
    free(names);
    return error_in(err, "-machine %s", cls->name);
}

/* ---- life ---------------------------------------------------------------------------------------- */
static struct error *fill_in_defaults(const struct machine_class *cls, struct machine_options *o)
{
    o->ram_size = o->ram_size ? o->ram_size : cls->default_ram_size;
    o->smp = o->smp ? o->smp : cls->default_cpus;
    if (o->smp > cls->max_cpus)
        return error_new("-smp %u: machine '%s' has at most %u CPUs", o->smp, cls->name,
                         cls->max_cpus);
    if (!cls->has_tables && (o->numa || o->smbios || o->acpi))
        return error_new("%s: machine '%s' does not take it",
                         o->numa     ? "-numa"
                         : o->smbios ? "-smbios"
                                     : "-acpitable",
                         cls->name);
    if (!cls->has_tables && o->boot_said)
        return error_new(
            "-boot: the firmware of machine '%s' chooses by itself; use -kernel, or give only "
            "the disk to boot",
            cls->name);
    if (o->ram_size % 4096)
        return error_new("-m: %llu bytes are not a multiple of 4096",
                         (unsigned long long)o->ram_size);
    return NULL;
}

struct error *machine_create(struct vm *vm, const struct machine_options *options)
{
    struct machine_options o = *options;
    const struct machine_class *cls;
    struct error *err = machine_find(o.machine, o.arch, &cls);
    if (!err)
        err = fill_in_defaults(cls, &o);
    if (err)
        return err;

    assert(cls->size >= sizeof(struct machine));
    struct machine *m = xcalloc(1, cls->size);
    m->cls = cls;
    m->vm = vm;
    m->ram_size = vm->ram_size = o.ram_size;
    m->numa = o.numa;
    m->cores = o.cores ? o.cores : 1;
    m->threads = o.threads ? o.threads : 1;
    if (!o.cores && !o.sockets) /* as QEMU's newer machines: cores before sockets */
        m->cores = o.smp / m->threads ? o.smp / m->threads : 1;
    else if (!o.cores)
        m->cores = o.smp / (o.sockets * m->threads) ? o.smp / (o.sockets * m->threads) : 1;
    vm->machine = m;
    err = parse_options(m, o.machine);
    return err ? err : cls->init(m, &o);
}

struct error *machine_ready(struct vm *vm)
{
    struct machine *m = vm->machine;
    return m->cls->ready(m);
}

bool machine_wants_usb(const struct vm *vm)
{
    const struct machine *m = vm->machine;
    return m && m->wants_usb;
}

const char *machine_usb_addr(const struct vm *vm)
{
    const struct machine *m = vm->machine;
    return m ? m->cls->usb_addr : NULL;
}

bool machine_only_dumps(const struct vm *vm)
{
    const struct machine *m = vm->machine;
    return m && m->only_dump;
}

void machine_free(struct vm *vm)
{
    struct machine *m = vm->machine;
    if (!m)
        return;
    vm->machine = NULL;
    m->cls->free(m);
    free(m->name);
    vm->machine_remains = m;
}
