/* From the options to a machine: back ends first, then the board, then the user's devices. */
#include "cli/cli.h"
#include "cli/stats.h"

#include "block/block.h"
#include "core/accel.h"
#include "core/backends.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/fdset.h"
#include "core/log.h"
#include "core/object.h"
#include "core/vm.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/smbios.h"
#include "hw/machine/machine.h"
#include "hw/machine/numa.h"
#include "hw/pci/pci.h"
#include "hw/storage/ide.h"
#include "net/net.h"
#include "ui/audio.h"
#include "ui/display.h"
#include "ui/faces.h"
#include "ui/gdb.h"
#include "ui/keys.h"
#include "ui/monitor.h"
#include "ui/run.h"
#include "ui/vnc.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* What goes from one step to the next. */
struct build {
    struct cli *cli;
    struct built *out;
    struct vm *vm;
    struct machine_options machine;
    unsigned n_pflash;
    struct text_list disks; /* ids of drives that wait for a virtio-blk */
    struct drive_info *ide; /* those that wait for a port of an AHCI controller */
    size_t n_ide;
    const char *drive_if; /* what -drive means without if= */
    struct nic_info *nics;
    size_t n_nics;
    const char *irqchip; /* -M kernel-irqchip=, which is the engine's */
};

/* An error about one option's text: "-device: ...", and before it where that stands if it is in a file. */
static struct error *blame(const struct build *b, struct error *err, const char *option,
                           const char *text)
{
    const char *place = cli_place_of(b->cli, text);
    err = error_in(err, "%s", option);
    return place ? error_in(err, "%s", place) : err;
}

/* ---- log, memory, engine --------------------------------------------------------------------- */
/* "FROM..TO", "FROM+SIZE", "END-SIZE", each number decimal or hex. */
static bool parse_range(char *text, uint64_t *from, uint64_t *to)
{
    char *second = strpbrk(text, ".+-");
    char kind = second ? *second : 0;
    uint64_t a, b;
    if (!second || (kind == '.' && second[1] != '.'))
        return false;
    *second = 0;
    second += kind == '.' ? 2 : 1;
    if (!parse_uint(text, UINT64_MAX, &a) || !parse_uint(second, UINT64_MAX, &b))
        return false;
    if (kind != '.' && !b)
        return false;
    *from = kind == '-' ? a - b + 1 : a;
    *to = kind == '.' ? b : kind == '+' ? a + b - 1 : a;
    return *from <= *to;
}

static struct error *set_filter(struct log *log, const char *text)
{
    struct error *err = NULL;
    char *copy = xstrdup(text), *rest = copy, *item;
    while ((item = strsep(&rest, ",")) && !err) {
        log->filter = xrealloc(log->filter, (log->n_filter + 1) * sizeof(*log->filter));
        char *word = xstrdup(item);
        if (parse_range(item, &log->filter[log->n_filter].from, &log->filter[log->n_filter].to))
            log->n_filter++;
        else
            err = error_new("-dfilter: '%s' is not a range; write FROM..TO or FROM+SIZE", word);
        free(word);
    }
    free(copy);
    return err;
}

static struct error *open_log(struct build *b)
{
    struct cli *cli = b->cli;
    struct log *log = &b->vm->log;
    struct error *err = NULL;
    if (cli->log_items)
        err = error_in(log_parse(cli->log_items, &log->kinds), "-d");
    if (!err && cli->log_filter)
        err = set_filter(log, cli->log_filter);
    if (err || !cli->log_file)
        return err;
    int fd = open(cli->log_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0644);
    if (fd < 0)
        return error_errno("-D: cannot write '%s'", cli->log_file);
    log->fd = fd;
    return NULL;
}

static struct error *open_stats(struct build *b)
{
    b->out->stats_fd = 2;
    b->out->stats = (struct stats_of){ b->vm, open("/proc/self/status", O_RDONLY | O_CLOEXEC) };
    if (!b->cli->stats_file)
        return NULL;
    int fd = open(b->cli->stats_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_errno("-stats: cannot write '%s'", b->cli->stats_file);
    b->out->stats_fd = fd;
    return NULL;
}

/* Guest memory takes host memory only as it is touched, so what the host can never give is an
 * error, and what it cannot give now is worth a word. */
static struct error *check_memory(struct build *b)
{
    struct sysinfo host;
    uint64_t size = b->cli->ram_size;
    if (!size || sysinfo(&host))
        return NULL;
    uint64_t most = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
    if (size > most)
        return error_new("-m: %llu MiB of guest memory do not fit into this host's %llu MiB of "
                         "memory and swap",
                         (unsigned long long)(size / MIB), (unsigned long long)(most / MIB));
    return NULL;
}

static const struct accel *accel_named(const char *text)
{
    size_t n = strcspn(text, ",");
    for (size_t i = 0; i < n_accels; i++)
        if (!strncmp(accels[i]->name, text, n) && !accels[i]->name[n])
            return accels[i];
    return NULL;
}

static struct error *unknown_accel(const char *text)
{
    const char *names[8];
    char name[64];
    size_t n = 0;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, ","), text);
    if (!strcmp(name, "kvm"))
        return error_new("-accel: this build has no KVM engine (it is for Linux on the guest's own "
                         "instruction set); use -accel tcg");
    for (; n < n_accels && n < ARRAY_LEN(names); n++)
        names[n] = accels[n]->name;
    char *hint = nearest_hint(name, names, n);
    struct error *err =
        error_new("-accel: unknown engine '%s'%s; -accel help lists them", name, hint);
    free(hint);
    return err;
}

/* Nothing said: every engine, the best first. */
static void default_accels(struct cli *cli)
{
    for (size_t i = 0; i < n_accels; i++)
        if (!accels[i]->only_when_asked)
            text_add(&cli->accels, accels[i]->name);
}

/* Why an engine before the chosen one is not it. A guest of another kind than the host's is the plain case
 * of the translator, and worth a word only to who asked for something else. */
static void tell_choice(struct cli *cli, const struct accel *chosen, const char *reasons,
                        bool asked)
{
    if (*reasons && (asked || cli_is_host_arch(cli->arch)))
        cli->engine_line = cli_text(cli, "using -accel %s%s", chosen->name, reasons);
}

/* Can the engine serve? Where nobody asked for it, and another is left, it must be no makeshift. */
static struct error *try_accel(const struct cli *cli, const struct accel *accel, bool asked,
                               bool last)
{
    struct error *err = accel->available(cli->arch);
    return err || asked || last || !accel->reservation ? err : accel->reservation();
}

/* The first engine of the list that can serve; every one's reason if none can. */
static struct error *choose_accel(struct build *b)
{
    struct cli *cli = b->cli;
    const char *reasons = "";
    bool asked = cli->accels.n;
    if (!asked)
        default_accels(cli);
    for (size_t i = 0; i < cli->accels.n; i++)
        if (!accel_named(cli->accels.at[i]))
            return unknown_accel(cli->accels.at[i]);
    for (size_t i = 0; i < cli->accels.n; i++) {
        const char *text = cli->accels.at[i], *options = strchr(text, ',');
        const struct accel *accel = accel_named(text);
        struct error *err = try_accel(cli, accel, asked, i + 1 == cli->accels.n);
        if (err) {
            reasons = cli_text(cli, "%s; not %s: %s", reasons, accel->name, error_text(err));
            error_free(err);
            continue;
        }
        b->vm->accel = accel;
        b->machine.accel_options = options ? options + 1 : NULL;
        if (b->irqchip && !strcmp(accel->name, "kvm"))
            b->machine.accel_options =
                cli_text(cli, "kernel-irqchip=%s%s", b->irqchip, options ? options : "");
        tell_choice(cli, accel, reasons, asked);
        return NULL;
    }
    return error_new("no engine can run this guest%s", reasons);
}

/* ---- -machine: what is not the board's own ---------------------------------------------------- */
static struct error *use_memory_backend(struct build *b, const char *id)
{
    const struct object *o = backend_hold(b->vm, BACKEND_OBJECT, id);
    if (!o || o->kind != OBJECT_MEMORY)
        return error_new("-M memory-backend=%s: there is no memory of this name; "
                         "-object memory-backend-ram,id=%s,size=SIZE makes one",
                         id, id);
    if (b->cli->ram_size && b->cli->ram_size != o->size)
        return error_new("-M memory-backend=%s: its size (%llu MiB) is not that of -m", id,
                         (unsigned long long)(o->size / MIB));
    b->cli->ram_size = o->size;
    b->vm->ram_flags |= o->ram_flags;
    return NULL;
}

/* Engines of -M accel=A:B go behind those of -accel. */
static void add_accel_list(struct cli *cli, const char *list)
{
    char *copy = xstrdup(list), *rest = copy, *name;
    while ((name = strsep(&rest, ":")))
        text_add(&cli->accels, cli_text(cli, "%s", name));
    free(copy);
}

static struct error *split_machine(struct build *b)
{
    struct cli *cli = b->cli;
    struct options list;
    if (!cli->machine)
        return NULL;
    struct error *err = error_in(options_split(cli->machine, "type", &list), "-M");
    if (err)
        return err;
    const char *accel = options_get(&list, "accel");
    const char *memory = options_get(&list, "memory-backend");
    b->irqchip = options_get(&list, "kernel-irqchip");
    if (!b->irqchip)
        b->irqchip = options_get(&list, "kernel_irqchip");
    b->irqchip = b->irqchip ? cli_text(cli, "%s", b->irqchip) : NULL;
    if (accel)
        add_accel_list(cli, accel);
    if (memory)
        err = use_memory_backend(b, memory);
    b->machine.machine = cli_rest(cli, &list, "type");
    options_free(&list);
    return err;
}

/* ---- descriptors of the caller's -------------------------------------------------------------- */
/* One that is closed on exec is ours. */
static struct error *add_fd(struct vm *vm, const char *text)
{
    static const char *const known[] = { "fd", "set", "opaque" };
    struct options list;
    uint64_t fd, set;
    struct error *err = options_split(text, NULL, &list);
    if (err)
        return err;
    const char *number = options_get(&list, "fd"), *to = options_get(&list, "set");
    const char *opaque = options_get(&list, "opaque");
    int flags = number && parse_uint(number, INT_MAX, &fd) ? fcntl((int)fd, F_GETFD) : -1;
    if (!number || !to)
        err = error_new("%s= is missing", number ? "set" : "fd");
    else if (!parse_uint(to, INT64_MAX, &set))
        err = error_new("set='%s' is not a number", to);
    else if (flags < 0 || flags & FD_CLOEXEC || fd <= STDERR_FILENO)
        err = error_new("fd='%s' is not a descriptor that the caller left open", number);
    else
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    if (!err && !fcntl((int)fd, F_SETFD, FD_CLOEXEC))
        fdset_add(vm, (int64_t)set, (int)fd, opaque);
    options_free(&list);
    return err;
}

static struct error *add_fds(struct build *b)
{
    struct error *err = NULL;
    for (size_t i = 0; i < b->cli->fds.n && !err; i++)
        err = blame(b, add_fd(b->vm, b->cli->fds.at[i]), "-add-fd", b->cli->fds.at[i]);
    return err;
}

/* ---- back ends -------------------------------------------------------------------------------- */
static struct error *make_objects(struct build *b)
{
    struct error *err = NULL;
    for (size_t i = 0; i < b->cli->objects.n && !err; i++)
        err =
            blame(b, object_create(b->vm, b->cli->objects.at[i]), "-object", b->cli->objects.at[i]);
    return err;
}

static struct error *take_pflash(struct build *b, const struct drive_info *info)
{
    unsigned unit = info->unit == ~0u ? b->n_pflash : info->unit;
    if (unit >= MACHINE_MAX_PFLASH)
        return error_new("there are flash chips 0 to %d, not %u", MACHINE_MAX_PFLASH - 1, unit);
    if (b->machine.pflash[unit])
        return error_new("two drives for flash chip %u", unit);
    b->machine.pflash[unit] = cli_text(b->cli, "%s", info->id);
    b->n_pflash = unit + 1;
    return NULL;
}

/* As -drive takes it. Disks without a word about how are the machine's usual ones; the one that a default boot
 * chose is virtio, which every guest of today has a driver for. */
static const char *drive_text(struct build *b, const struct cli_drive *d)
{
    struct cli *cli = b->cli;
    const char *file = cli_quoted(cli, d->text);
    bool ide = !strcmp(b->drive_if, "ide");
    switch (d->kind) {
    case DRIVE_DRIVE: return cli_text(cli, "if=%s,%s", b->drive_if, d->text);
    case DRIVE_BLOCKDEV: return d->text;
    case DRIVE_PFLASH: return cli_text(cli, "if=pflash,file=%s", file);
    case DRIVE_DISK: return cli_text(cli, "if=virtio,file=%s", file);
    case DRIVE_CDROM:
        return cli_text(cli, "if=%s%s,media=cdrom,file=%s", b->drive_if, ide ? ",index=2" : "",
                        file);
    case DRIVE_HDA:
    case DRIVE_HDB:
    case DRIVE_HDC:
    case DRIVE_HDD: break;
    }
    return ide ? cli_text(cli, "if=ide,index=%d,file=%s", d->kind - DRIVE_HDA, file)
               : cli_text(cli, "if=%s,file=%s", b->drive_if, file);
}

static struct error *make_drive(struct build *b, const struct cli_drive *d)
{
    static const char *const options[] = {
        [DRIVE_DRIVE] = "-drive", [DRIVE_BLOCKDEV] = "-blockdev", [DRIVE_PFLASH] = "-pflash",
        [DRIVE_DISK] = "disk",    [DRIVE_CDROM] = "-cdrom",       [DRIVE_HDA] = "-hda",
        [DRIVE_HDB] = "-hdb",     [DRIVE_HDC] = "-hdc",           [DRIVE_HDD] = "-hdd"
    };
    struct cli *cli = b->cli;
    struct drive_info info;
    const char *text = drive_text(b, d);
    if (d->kind == DRIVE_BLOCKDEV)
        return blame(b, blk_add_blockdev(b->vm, text), "-blockdev", text);
    if (cli->snapshot)
        text = cli_text(cli, "%s,snapshot=on", text);
    struct error *err = blk_add_drive(b->vm, text, &info);
    if (!err && info.iface == DRIVE_IF_PFLASH)
        err = take_pflash(b, &info);
    if (!err && info.iface == DRIVE_IF_VIRTIO)
        text_add(&b->disks, cli_text(cli, "%s", info.id));
    if (!err && info.iface == DRIVE_IF_IDE) {
        b->ide = xrealloc(b->ide, (b->n_ide + 1) * sizeof(*b->ide));
        b->ide[b->n_ide++] = info;
    }
    return blame(b, err, options[d->kind], d->text);
}

static struct error *choose_drive_if(struct build *b)
{
    const struct machine_class *cls;
    struct error *err = machine_find(b->machine.machine, b->cli->arch, &cls);
    if (!err)
        b->drive_if = cls->drive_if ? cls->drive_if : "virtio";
    return err;
}

static struct error *make_drives(struct build *b)
{
    struct error *err = choose_drive_if(b);
    for (size_t i = 0; i < b->cli->n_drives && !err; i++)
        err = make_drive(b, &b->cli->drives[i]);
    return err;
}

static struct error *add_nic(struct build *b, const char *spec, const char *option)
{
    struct nic_info info;
    struct error *err = nic_add(b->vm, spec, &info);
    if (err || info.none)
        return blame(b, err, option, spec);
    b->nics = xrealloc(b->nics, (b->n_nics + 1) * sizeof(*b->nics));
    b->nics[b->n_nics++] = info;
    return NULL;
}

/* -net nic,... and -net user,... are two halves of one -nic. */
static struct error *make_nets(struct build *b)
{
    struct cli *cli = b->cli;
    const char *nic = NULL, *user = NULL;
    for (size_t i = 0; i < cli->nets.n; i++) {
        const char *text = cli->nets.at[i], **half;
        size_t n = strcspn(text, ",");
        half = !strncmp(text, "nic", n) && n == 3 ? &nic : &user;
        if (!strcmp(text, "none"))
            continue;
        if (*half)
            return error_new("-net: '%s' comes twice; use -nic for several networks", text);
        *half = text;
    }
    if (!nic != !user)
        return error_new("-net %s alone connects nothing; use -nic user", nic ? nic : user);
    if (!nic)
        return NULL;
    const char *more = strchr(nic, ',');
    return add_nic(b, cli_text(cli, "%s%s", user, more ? more : ""), "-net");
}

static struct error *make_networks(struct build *b)
{
    struct cli *cli = b->cli;
    struct error *err = NULL;
    for (size_t i = 0; i < cli->audiodevs.n && !err; i++)
        err = blame(b, audio_add(b->vm, cli->audiodevs.at[i]), "-audiodev", cli->audiodevs.at[i]);
    for (size_t i = 0; i < cli->netdevs.n && !err; i++) {
        err = blame(b, netdev_add(b->vm, cli->netdevs.at[i]), "-netdev", cli->netdevs.at[i]);
    }
    for (size_t i = 0; i < cli->nics.n && !err; i++)
        err = add_nic(b, cli->nics.at[i], "-nic");
    return err ? err : make_nets(b);
}

/* ---- terminals -------------------------------------------------------------------------------- */
static void print_stats(void *opaque, void (*print)(void *opaque, const char *line), void *to)
{
    stats_print(opaque, print, to);
}

/* How one of -monitor, -qmp and -mon talks. */
enum monitor_kind { MONITOR_HUMAN, MONITOR_QMP, MONITOR_QMP_PRETTY };

static struct error *add_monitor(struct build *b, struct chardev *c, enum monitor_kind kind)
{
    struct built *out = b->out;
    struct monitor_hooks hooks = { print_stats, &out->stats, &cli_options, &out->gdb };
    struct error *err = NULL;
    if (out->n_monitors == MAX_MONITORS)
        return error_new("there can be %d monitors", MAX_MONITORS);
    if (kind == MONITOR_HUMAN)
        out->monitors[out->n_monitors] = monitor_new(b->vm, c, &hooks);
    else
        err = monitor_new_qmp(b->vm, c, &hooks, kind == MONITOR_QMP_PRETTY,
                              &out->monitors[out->n_monitors]);
    out->n_monitors += !err;
    out->managed |= kind != MONITOR_HUMAN;
    return err;
}

/* The back end of one of -serial and -monitor: an own one called `id`, or one named by chardev:ID.
 * *id_out is what it is called, NULL for "none". */
static struct error *open_terminal(struct build *b, const char *id, const char *spec,
                                   const char **id_out, struct chardev **out)
{
    bool named = !strncmp(spec, "chardev:", 8);
    *id_out = NULL;
    *out = NULL;
    if (!strcmp(spec, "none"))
        return NULL;
    *id_out = cli_text(b->cli, "%s", named ? spec + 8 : id);
    return chardev_add(b->vm, id, spec, out);
}

static struct error *add_serial(struct build *b, unsigned index, const char *spec)
{
    struct chardev *c;
    char id[16];
    if (index >= MACHINE_MAX_SERIAL)
        return error_new("there are at most %d serial ports", MACHINE_MAX_SERIAL);
    snprintf(id, sizeof(id), "serial%u", index);
    struct error *err = open_terminal(b, id, spec, &b->machine.serial[index], &c);
    if (!err && !strncmp(spec, "mon:", 4))
        err = add_monitor(b, c, MONITOR_HUMAN);
    return err;
}

/* -monitor, -qmp and -qmp-pretty. */
static struct error *add_monitor_option(struct build *b, const char *prefix, unsigned index,
                                        const char *spec, enum monitor_kind kind)
{
    struct chardev *c;
    char name[32];
    const char *id;
    snprintf(name, sizeof(name), "%s%u", prefix, index);
    struct error *err = open_terminal(b, name, spec, &id, &c);
    if (err || !id)
        return err;
    if (!chardev_is_mux(c))
        err = backend_take_chardev(b->vm, id, &c);
    return err ? err : add_monitor(b, c, kind);
}

static struct error *add_monitor_options(struct build *b, const struct text_list *list,
                                         const char *option, enum monitor_kind kind)
{
    struct error *err = NULL;
    for (size_t i = 0; i < list->n && !err; i++)
        err = blame(b, add_monitor_option(b, option + 1, (unsigned)i, list->at[i], kind), option,
                    list->at[i]);
    return err;
}

static struct error *mon_kind(struct options *list, enum monitor_kind *kind)
{
    const char *mode = options_get(list, "mode");
    bool pretty = false;
    struct error *err = options_get_bool(list, "pretty", &pretty);
    if (err)
        return err;
    *kind = !mode || !strcmp(mode, "readline") ? MONITOR_HUMAN
            : pretty                           ? MONITOR_QMP_PRETTY
                                               : MONITOR_QMP;
    if (mode && strcmp(mode, "readline") && strcmp(mode, "control"))
        return error_new("mode='%s' is not known; accepted: readline, control", mode);
    return NULL;
}

static struct error *add_mon(struct build *b, const char *text)
{
    static const char *const known[] = { "chardev", "mode", "pretty", "id" };
    struct options list;
    struct chardev *c = NULL;
    enum monitor_kind kind;
    struct error *err = options_split(text, "chardev", &list);
    if (err)
        return err;
    const char *id = options_get(&list, "chardev");
    options_get(&list, "id");
    err = mon_kind(&list, &kind);
    if (!err && !id)
        err = error_new("chardev= is missing");
    if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    if (!err)
        c = backend_find(b->vm, BACKEND_CHARDEV, id);
    if (!err && (!c || !chardev_is_mux(c)))
        err = backend_take_chardev(b->vm, id, &c);
    if (!err)
        err = add_monitor(b, c, kind);
    options_free(&list);
    return err;
}

/* What -serial and -monitor are when nothing is said: a guest's serial port is on the terminal, also beside a window,
 * unless -display none or curses, a daemon or -nodefaults say otherwise. */
static void default_terminals(struct cli *cli)
{
    bool no_terminal = cli->display && (faces_display_is(cli->display, "none") ||
                                        faces_display_is(cli->display, "curses"));
    bool hidden = cli->nodefaults || cli->daemonize || (no_terminal && !cli->nographic);
    bool no_serial = !cli->serials.n, no_monitor = !cli->monitors.n && !cli->mons.n;
    for (size_t i = 0; i < cli->serials.n; i++)
        no_monitor &= strncmp(cli->serials.at[i], "mon:", 4) != 0;
    if (hidden)
        return;
    cli->sercon = cli->nographic || no_serial;
    if (no_serial && no_monitor) {
        text_add(&cli->serials, "mon:stdio");
    } else if (no_serial) {
        bool taken = false;
        for (size_t i = 0; i < cli->monitors.n; i++)
            taken |= !strcmp(cli->monitors.at[i], "stdio");
        text_add(&cli->serials, taken ? "null" : "stdio");
    }
}

static struct error *add_debugcon(struct build *b)
{
    struct cli *cli = b->cli;
    struct chardev *c;
    const char *id;
    struct error *err = open_terminal(b, "debugcon", cli->debugcon, &id, &c);
    if (!err && id)
        text_add(&cli->devices, cli_text(cli, "isa-debugcon,chardev=%s", id));
    return error_in(err, "-debugcon");
}

static struct error *make_terminals(struct build *b)
{
    struct cli *cli = b->cli;
    struct error *err = NULL;
    for (size_t i = 0; i < cli->chardevs.n && !err; i++)
        err = blame(b, chardev_add_option(b->vm, cli->chardevs.at[i]), "-chardev",
                    cli->chardevs.at[i]);
    if (!err && cli->debugcon)
        err = add_debugcon(b);
    default_terminals(cli);
    for (size_t i = 0; i < cli->serials.n && !err; i++)
        err =
            blame(b, add_serial(b, (unsigned)i, cli->serials.at[i]), "-serial", cli->serials.at[i]);
    if (!err)
        err = add_monitor_options(b, &cli->monitors, "-monitor", MONITOR_HUMAN);
    if (!err)
        err = add_monitor_options(b, &cli->qmps, "-qmp", MONITOR_QMP);
    if (!err)
        err = add_monitor_options(b, &cli->pretty_qmps, "-qmp-pretty", MONITOR_QMP_PRETTY);
    for (size_t i = 0; i < cli->mons.n && !err; i++)
        err = blame(b, add_mon(b, cli->mons.at[i]), "-mon", cli->mons.at[i]);
    return err;
}

/* ---- the board and the devices ---------------------------------------------------------------- */
/* Said of devices of QEMU's that are not devices here, and true of what stands in their place. */
static bool is_true_anyway(const char *text)
{
    static const char *const globals[] = { "kvm-pit.lost_tick_policy=delay" };
    for (size_t i = 0; i < ARRAY_LEN(globals); i++)
        if (!strcmp(text, globals[i]))
            return true;
    return false;
}

static bool is_long_global(const char *text)
{
    return !strncmp(text, "driver=", 7) || !strncmp(text, "property=", 9) ||
           !strncmp(text, "value=", 6);
}

/* driver=NAME,property=NAME,value=TEXT: for drivers with a dot in their names. */
static struct error *add_long_global(struct build *b, const char *text)
{
    static const char *const known[] = { "driver", "property", "value" };
    const char *part[ARRAY_LEN(known)];
    struct options o = { 0 };
    struct error *err = options_split(text, NULL, &o);
    for (size_t i = 0; !err && i < ARRAY_LEN(known); i++) {
        const char *value = options_get(&o, known[i]);
        if (!value)
            err = error_new("'%s' has no %s=", text, known[i]);
        else
            part[i] = cli_text(b->cli, "%s", value);
    }
    if (!err)
        err = options_refuse_rest(&o, known, ARRAY_LEN(known));
    if (!err)
        err = device_add_global(b->vm, part[0], part[1], part[2]);
    options_free(&o);
    return blame(b, err, "-global", text);
}

static struct error *add_globals(struct build *b)
{
    for (size_t i = 0; i < b->cli->globals.n; i++) {
        const char *text = b->cli->globals.at[i];
        if (is_true_anyway(text))
            continue;
        const char *equals = strchr(text, '='), *dot = strchr(text, '.');
        if (is_long_global(text)) {
            struct error *err = add_long_global(b, text);
            if (err)
                return err;
            continue;
        }
        if (!equals || !dot || dot > equals || dot == text)
            return error_new("-global: '%s' is not DRIVER.PROPERTY=VALUE", text);
        const char *driver = cli_text(b->cli, "%.*s", (int)(dot - text), text);
        const char *prop = cli_text(b->cli, "%.*s", (int)(equals - dot - 1), dot + 1);
        struct error *err = device_add_global(b->vm, driver, prop, equals + 1);
        if (err)
            return blame(b, err, "-global", text);
    }
    return NULL;
}

static bool shows_vga(struct build *b);

/* Boards have one block of memory, whose parts have what is said of any. (Names of no memory are refused elsewhere.) */
static void heed_node_memory(struct vm *vm, const struct numa *numa)
{
    for (unsigned i = 0; numa && i < numa->n_nodes; i++) {
        const char *id = numa->nodes[i].memdev;
        const struct object *o = id ? backend_find(vm, BACKEND_OBJECT, id) : NULL;
        if (o && o->kind == OBJECT_MEMORY)
            vm->ram_flags |= o->ram_flags;
    }
}

static struct error *make_machine(struct build *b)
{
    struct cli *cli = b->cli;
    struct machine_options *m = &b->machine;
    m->arch = cli->arch;
    m->cpu = cli->cpu;
    m->kernel = cli->kernel;
    m->initrd = cli->initrd;
    m->append = cli->append;
    m->dtb = cli->dtb;
    m->bios = cli->bios;
    m->ram_size = cli->ram_size;
    m->smp = cli->smp_cpus;
    m->sockets = cli->smp_sockets;
    m->cores = cli->smp_cores;
    m->threads = cli->smp_threads;
    m->parallel = cli->parallel ? !strcmp(cli->parallel, "null") : !cli->nodefaults;
    m->boot = cli->boot;
    m->fw_cfg = cli->fw_cfgs.at;
    m->n_fw_cfg = cli->fw_cfgs.n;
    m->boot_said = cli->boot_said;
    m->sercon = cli->sercon;
    m->vga = shows_vga(b);
    if (cli->append && !cli->kernel)
        return error_new("-append is for a kernel; give one with -kernel");
    if (cli->initrd && !cli->kernel)
        return error_new("-initrd is for a kernel; give one with -kernel");
    heed_node_memory(b->vm, m->numa);
    return machine_create(b->vm, m);
}

static struct error *make_device(struct build *b, const char *text)
{
    struct options list;
    struct device *dev;
    struct error *err = options_split(text, "driver", &list);
    if (err)
        return blame(b, err, "-device", text);
    const char *driver = options_get(&list, "driver");
    const struct device_class *cls = driver ? device_class_find(driver) : NULL;
    struct prop_value *props = xcalloc(list.n, sizeof(*props));
    size_t n = 0;
    for (size_t i = 0; i < list.n; i++)
        if (strcmp(list.at[i].name, "driver"))
            props[n++] = list.at[i];
    if (!driver)
        err = error_new("the device's name is missing; -device help lists all");
    else if (cls && !cls->user_creatable)
        err = error_new("'%s' is part of a board and cannot be added", driver);
    else
        err = device_create(b->vm, driver, props, n, &dev);
    free(props);
    options_free(&list);
    return blame(b, err, "-device", text);
}

/* The controller whose ports are called ide.0 and so on: the machine's own, or one for these drives. */
static struct error *need_ide(struct vm *vm)
{
    struct device *dev;
    return ide_find_controller(vm) ? NULL : device_create(vm, "ich9-ahci", NULL, 0, &dev);
}

/* An index counts places, bus by bus; bus= and unit= name one. */
static struct error *make_ide_drive(struct vm *vm, const struct drive_info *info)
{
    struct device *dev;
    char bus[24], unit[16];
    unsigned n_units = ide_find_controller(vm)->n_units, index = info->unit == ~0u ? 0 : info->unit;
    bool anywhere = info->unit == ~0u && info->bus == ~0u;
    snprintf(bus, sizeof(bus), "ide.%u", info->bus == ~0u ? index / n_units : info->bus);
    snprintf(unit, sizeof(unit), "%u", info->bus == ~0u ? index % n_units : index);
    const struct prop_value props[] = { { "drive", info->id }, { "bus", bus }, { "unit", unit } };
    struct error *err =
        device_create(vm, info->is_cd ? "ide-cd" : "ide-hd", props, anywhere ? 1 : 3, &dev);
    return error_in(err, "-drive if=ide");
}

/* Those with a place of their own first. */
static struct error *make_ide_drives(struct build *b)
{
    struct error *err = b->n_ide ? need_ide(b->vm) : NULL;
    for (int anywhere = 0; anywhere < 2; anywhere++)
        for (size_t i = 0; i < b->n_ide && !err; i++)
            if ((b->ide[i].unit == ~0u && b->ide[i].bus == ~0u) == anywhere)
                err = make_ide_drive(b->vm, &b->ide[i]);
    return err;
}

/* The name of a virtio device on this machine: PCI, or where there is none a slot of the board. */
static const char *virtio_name(struct build *b, const char *pci, const char *slot)
{
    return pci_bus_find(b->vm, NULL) ? pci : slot;
}

/* ---- the graphics card ------------------------------------------------------------------------------ */
enum { N_VGAS = 3 }; /* the first of them have a VGA's registers */
static const char *const graphics_cards[] = { "VGA", "isa-vga", "virtio-vga", "bochs-display",
                                              "ramfb" };

/* Does -device say one of the first n cards? */
static bool is_card(const char *text, size_t n_cards)
{
    size_t n = strcspn(text, ",");
    if (!strncmp(text, "driver=", 7)) {
        text += 7;
        n = strcspn(text, ",");
    }
    for (size_t i = 0; i < n_cards; i++)
        if (!strncmp(text, graphics_cards[i], n) && !graphics_cards[i][n])
            return true;
    return false;
}

static bool has_card(const struct cli *cli, size_t n_cards)
{
    for (size_t i = 0; i < cli->devices.n; i++)
        if (is_card(cli->devices.at[i], n_cards))
            return true;
    return false;
}

/* The machine's usual one unless the user brings one, or has none at all to look at. */
static const char *default_card(struct build *b, const struct machine_class *cls)
{
    const struct cli *cli = b->cli;
    bool none = cli->nodefaults || cli->nographic || has_card(cli, ARRAY_LEN(graphics_cards));
    return none ? NULL : cls->vga;
}

/* Is there a VGA that somebody looks at: one that was asked for, or the machine's usual one and a face for it? */
static bool shows_vga(struct build *b)
{
    const struct cli *cli = b->cli;
    const struct machine_class *cls;
    struct error *err = machine_find(b->machine.machine, cli->arch, &cls);
    bool none = err || cli->nographic;
    error_free(err);
    if (none)
        return false;
    if (has_card(cli, N_VGAS) || (cli->vga && strcmp(cli->vga, "none") != 0))
        return true;
    if (cli->vga || !default_card(b, cls))
        return false;
    for (size_t i = 0; i < cli->vncs.n; i++)
        if (strcmp(cli->vncs.at[i], "none") != 0)
            return true;
    if (cli->display)
        return !faces_display_is(cli->display, "none");
    return !cli->vncs.n && !cli->daemonize && !faces_no_window();
}

static struct error *make_card(struct build *b)
{
    static const struct {
        const char *word, *cls, *without_ports;
    } cards[] = { { "std", "VGA", "VGA" }, { "virtio", "virtio-vga", "virtio-gpu-pci" } };
    const struct machine_class *cls;
    struct device *dev;
    struct error *err = machine_find(b->machine.machine, b->cli->arch, &cls);
    if (err)
        return err;
    const char *name = b->cli->vga ? NULL : default_card(b, cls);
    for (size_t i = 0; b->cli->vga && i < ARRAY_LEN(cards); i++)
        if (!strcmp(b->cli->vga, cards[i].word))
            name = b->vm->target->has_ports ? cards[i].cls : cards[i].without_ports;
    if (!name)
        return NULL;
    if (!pci_bus_find(b->vm, NULL))
        return error_new("-vga %s: machine '%s' has no PCI", b->cli->vga, cls->name);
    return error_in(device_create(b->vm, name, NULL, 0, &dev), "-vga");
}

static struct error *make_default_devices(struct build *b)
{
    struct error *err = make_card(b);
    if (!err)
        err = make_ide_drives(b);
    for (size_t i = 0; i < b->disks.n && !err; i++) {
        struct prop_value props[] = { { "drive", b->disks.at[i] } };
        struct device *dev;
        err = device_create(b->vm, virtio_name(b, "virtio-blk-pci", "virtio-blk-device"), props, 1,
                            &dev);
    }
    for (size_t i = 0; i < b->n_nics && !err; i++) {
        const struct nic_info *nic = &b->nics[i];
        bool alias = !*nic->model || !strcmp(nic->model, "virtio");
        struct prop_value props[] = { { "netdev", nic->id }, { "mac", nic->mac } };
        struct device *dev;
        const char *name =
            alias ? virtio_name(b, "virtio-net-pci", "virtio-net-device") : nic->model;
        err = device_create(b->vm, name, props, *nic->mac ? 2 : 1, &dev);
        err = error_in(err, "-nic");
    }
    return err;
}

/* -usb, -machine usb=on and -usbdevice. Before -device, which may want its ports. */
static struct error *make_usb(struct build *b)
{
    const struct cli *cli = b->cli;
    struct device *dev;
    struct error *err = NULL;
    bool wanted = cli->usb || cli->usb_devices.n || machine_wants_usb(b->vm);
    if (wanted && !pci_bus_find(b->vm, NULL))
        return error_new("-usb: this machine has no PCI, which USB controllers sit on");
    if (wanted) {
        struct prop_value at = { "addr", machine_usb_addr(b->vm) };
        err = error_in(device_create(b->vm, "qemu-xhci", &at, at.value != NULL, &dev), "-usb");
    }
    for (size_t i = 0; i < cli->usb_devices.n && !err; i++) {
        const char *name = cli->usb_devices.at[i];
        char *cls = xasprintf("usb-%s", strcmp(name, "keyboard") ? name : "kbd");
        err = error_in(device_create(b->vm, cls, NULL, 0, &dev), "-usbdevice");
        free(cls);
    }
    return err;
}

static struct error *make_devices(struct build *b)
{
    struct error *err = make_default_devices(b);
    if (!err)
        err = make_usb(b);
    for (size_t i = 0; i < b->cli->devices.n && !err; i++)
        err = make_device(b, b->cli->devices.at[i]);
    return err;
}

/* ---- faces -------------------------------------------------------------------------------------- */
/* Nothing said, and the guest has a screen: a window where there can be one. */
static struct error *make_default_face(struct build *b)
{
    struct cli *cli = b->cli;
    if (!head_at(b->vm, 0) || cli->nographic || cli->nodefaults || cli->daemonize || cli->vncs.n)
        return NULL;
    const char *why = faces_no_window();
    struct error *err = why ? error_new("%s", why) : faces_add_display(b->vm, "sdl", false);
    if (err)
        cli->display_line =
            cli_text(cli,
                     "the guest's screen is not shown (%s), its serial port is on this terminal; "
                     "-vnc :0 serves the screen to viewers",
                     error_text(err));
    error_free(err);
    return NULL;
}

/* One reader of the terminal. */
static struct error *check_terminal(const struct cli *cli)
{
    const struct text_list *lists[] = { &cli->serials, &cli->monitors, &cli->chardevs, &cli->qmps };
    if (!cli->display || cli->nographic || !faces_display_is(cli->display, "curses"))
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        for (size_t k = 0; k < lists[i]->n; k++)
            if (strstr(lists[i]->at[k], "stdio"))
                return error_new("-display: curses draws on the terminal, which '%s' takes, too",
                                 lists[i]->at[k]);
    return NULL;
}

static struct error *make_faces(struct build *b)
{
    struct cli *cli = b->cli;
    struct error *err = check_terminal(cli);
    if (!err && cli->layout)
        err = keys_set_layout(b->vm, cli->layout);
    for (size_t i = 0; i < cli->vncs.n && !err; i++)
        if (strcmp(cli->vncs.at[i], "none") != 0)
            err = blame(b, vnc_add(b->vm, cli->vncs.at[i]), "-vnc", cli->vncs.at[i]);
    if (!err && cli->display && !cli->nographic)
        err = error_in(faces_add_display(b->vm, cli->display, cli->full_screen), "-display");
    else if (!err && cli->full_screen && !cli->display)
        err = error_in(faces_add_display(b->vm, "sdl", true), "-full-screen");
    else if (!err)
        err = make_default_face(b);
    return err;
}

/* ---- what tables say --------------------------------------------------------------------------- */
static struct error *note_numa(struct build *b)
{
    struct error *err = NULL;
    if (b->cli->numas.n)
        b->machine.numa = b->out->numa = xcalloc(1, sizeof(struct numa));
    for (size_t i = 0; i < b->cli->numas.n && !err; i++)
        err = blame(b, numa_add(b->out->numa, b->cli->numas.at[i]), "-numa", b->cli->numas.at[i]);
    return err;
}

static struct error *note_smbios(struct build *b)
{
    struct error *err = NULL;
    if (b->cli->smbios.n)
        b->machine.smbios = b->out->smbios = smbios_options_new();
    for (size_t i = 0; i < b->cli->smbios.n && !err; i++)
        err = blame(b, smbios_options_add(b->out->smbios, b->cli->smbios.at[i]), "-smbios",
                    b->cli->smbios.at[i]);
    return err;
}

static struct error *note_acpi_tables(struct build *b)
{
    struct error *err = NULL;
    if (b->cli->acpi_tables.n)
        b->machine.acpi = b->out->acpi = acpi_options_new();
    for (size_t i = 0; i < b->cli->acpi_tables.n && !err; i++)
        err = blame(b, acpi_options_add(b->out->acpi, b->cli->acpi_tables.at[i]), "-acpitable",
                    b->cli->acpi_tables.at[i]);
    return err;
}

static struct error *make_ready(struct build *b)
{
    struct error *err = machine_ready(b->vm);
    b->out->only_dumps = !err && machine_only_dumps(b->vm);
    if (!err && b->cli->mem_lock && mlockall(MCL_CURRENT | MCL_FUTURE))
        err = error_errno("-overcommit mem-lock=on: cannot lock memory");
    return err;
}

static void run_command(void *opaque, const char *line, void (*print)(void *to, const char *text),
                        void *to)
{
    struct built *out = opaque;
    struct monitor_hooks hooks = { print_stats, &out->stats, &cli_options, NULL };
    monitor_execute(out->vm, &hooks, line, print, to);
}

static struct error *make_debugger(struct build *b)
{
    struct gdb_place *place = &b->out->gdb;
    place->hooks = (struct gdb_hooks){ run_command, b->out };
    if (!b->cli->gdb)
        return NULL;
    return error_in(gdb_open(b->vm, b->cli->gdb, &place->hooks, &place->gdb), "-gdb");
}

static struct error *set_action(struct vm *vm, const char *text)
{
    static const char *const known[] = { "reboot", "shutdown", "panic", "watchdog" };
    struct options list;
    struct error *err = options_split(text, NULL, &list);
    if (err)
        return err;
    const char *values[ARRAY_LEN(known)];
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        values[i] = options_get(&list, known[i]);
    err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    if (!err)
        err = run_set_actions(vm, values[0], values[1], values[2], values[3]);
    options_free(&list);
    return err;
}

static struct error *set_up(struct build *b)
{
    struct vm *vm = b->vm;
    struct cli *cli = b->cli;
    vm->name = xstrdup(cli->name ? cli->name : "tandem");
    vm->uuid = cli->uuid ? xstrdup(cli->uuid) : NULL;
    vm->rtc_offset_ns = cli->rtc_offset_ns;
    vm->no_reboot = cli->no_reboot;
    vm->no_shutdown = cli->no_shutdown;
    vm->start_paused = cli->start_stopped;
    for (size_t i = 0; i < cli->actions.n; i++) {
        struct error *err = set_action(vm, cli->actions.at[i]);
        if (err)
            return blame(b, err, "-action", cli->actions.at[i]);
    }
    return vm_catch_signals(vm);
}

/* Each step relies on those before it; the first error ends it. */
static struct error *(*const steps[])(struct build *b) = {
    set_up,         add_fds,      open_log,     open_stats,       make_objects,
    split_machine,  choose_accel, check_memory, make_drives,      make_networks,
    make_terminals, note_numa,    note_smbios,  note_acpi_tables, add_globals,
    make_machine,   make_devices, make_faces,   make_ready,       make_debugger,
};

struct error *cli_build(struct cli *cli, struct built *out)
{
    struct build b = { .cli = cli, .out = out };
    *out = (struct built){ .stats_fd = -1, .stats.process_fd = -1 };
    struct error *err = vm_new(&out->vm);
    b.vm = out->vm;
    for (size_t i = 0; i < ARRAY_LEN(steps) && !err; i++)
        err = steps[i](&b);
    free(b.disks.at);
    free(b.ide);
    free(b.nics);
    return err;
}

void cli_unbuild(struct built *b)
{
    if (!b->vm)
        return;
    gdb_free(b->gdb.gdb);
    for (size_t i = 0; i < b->n_monitors; i++)
        monitor_free(b->monitors[i]);
    faces_free(b->vm);
    machine_free(b->vm);
    vm_free(b->vm);
    if (b->numa)
        numa_free(b->numa);
    free(b->numa);
    smbios_options_free(b->smbios);
    acpi_options_free(b->acpi);
    if (b->stats_fd > 2)
        close(b->stats_fd);
    if (b->stats.process_fd >= 0)
        close(b->stats.process_fd);
}
