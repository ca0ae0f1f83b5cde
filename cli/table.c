/* The options, one line each. Help, docs/options.md and errors come from here. */
#include "cli/cli.h"

#include "tandem-config.h"

#include "core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void text_add(struct text_list *list, const char *text)
{
    list->at = xrealloc(list->at, (list->n + 1) * sizeof(*list->at));
    list->at[list->n++] = text;
}

const char *cli_text(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    char *text;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        abort();
    text_add(&cli->owned, text);
    return text;
}

const char *cli_quoted(struct cli *cli, const char *value)
{
    char *text = xmalloc(2 * strlen(value) + 1), *to = text;
    for (; *value; value++) {
        if (*value == ',')
            *to++ = ',';
        *to++ = *value;
    }
    *to = 0;
    const char *kept = cli_text(cli, "%s", text);
    free(text);
    return kept;
}

const char *cli_rest(struct cli *cli, struct options *list, const char *first)
{
    const char *value = options_get(list, first), *text = cli_text(cli, "%s", value ? value : "");
    for (size_t i = 0; i < list->n; i++)
        if (!list->used[i])
            text = cli_text(cli, "%s%s%s=%s", text, *text ? "," : "", list->at[i].name,
                            cli_quoted(cli, list->at[i].value));
    return text;
}

static void *member(void *opaque, const struct option *o)
{
    return (char *)opaque + o->offset;
}

const char *cli_place_of(const struct cli *cli, const char *text)
{
    for (size_t i = 0; i < cli->from_files.n; i++)
        if (cli->from_files.at[i] == text)
            return cli->places.at[i];
    return NULL;
}

/* For errors that come later. */
static void note_place(struct cli *cli, const char *text)
{
    if (!cli->origin)
        return;
    text_add(&cli->from_files, text);
    text_add(&cli->places, cli->origin);
}

/* ---- handlers that serve several options ---------------------------------------------------- */
static struct error *set_text(void *opaque, const struct option *o, const char *arg)
{
    *(const char **)member(opaque, o) = arg;
    note_place(opaque, arg);
    return NULL;
}

static struct error *set_flag(void *opaque, const struct option *o, const char *arg)
{
    *(bool *)member(opaque, o) = true;
    return NULL;
}

static struct error *add_text(void *opaque, const struct option *o, const char *arg)
{
    text_add(member(opaque, o), arg);
    note_place(opaque, arg);
    return NULL;
}

static struct error *accept(void *opaque, const struct option *o, const char *arg)
{
    return NULL;
}

/* ---- handlers of one option ----------------------------------------------------------------- */
static struct error *print_help(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->print = PRINT_HELP;
    return NULL;
}

static struct error *print_options_page(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->print = PRINT_OPTIONS_PAGE;
    return NULL;
}

static struct error *print_version(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->print = PRINT_VERSION;
    return NULL;
}

/* What -machine says of the kernel is said by options of their own here. */
static struct error *take_boot_files(struct cli *cli, const char *arg, const char **rest)
{
    const struct {
        const char *name, **to;
    } files[] = { { "kernel", &cli->kernel },
                  { "initrd", &cli->initrd },
                  { "append", &cli->append },
                  { "dtb", &cli->dtb },
                  { "firmware", &cli->bios } };
    struct options list;
    struct error *err = options_split(arg, "type", &list);
    if (err)
        return err;
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const char *value = options_get(&list, files[i].name);
        if (value)
            *files[i].to = cli_text(cli, "%s", value);
        any |= value != NULL;
    }
    if (any)
        *rest = cli_rest(cli, &list, "type");
    options_free(&list);
    return NULL;
}

/* How long the board's name at the beginning is; 0: there is none. */
static size_t board_name(const char *text)
{
    size_t n = strcspn(text, ",=");
    return text[n] == '=' || *text == '{' ? 0 : n;
}

/* Several -machine add up: the later ones' names and options override. */
static struct error *add_machine(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    if (!*arg)
        return error_new("the board's name is missing; -M help lists them");
    struct error *err = take_boot_files(cli, arg, &arg);
    if (!*arg)
        return err;
    size_t n = board_name(arg);
    if (!cli->machine) {
        cli->machine = arg;
    } else if (!n) {
        cli->machine = cli_text(cli, "%s,%s", cli->machine, arg);
    } else {
        const char *rest = cli->machine + board_name(cli->machine);
        cli->machine = cli_text(cli, "%.*s%s%s%s", (int)n, arg, *rest == ',' || !*rest ? "" : ",",
                                rest, arg + n);
    }
    note_place(cli, cli->machine);
    return err;
}

static struct error *read_config(void *opaque, const struct option *o, const char *arg)
{
    return cli_read_config(opaque, arg);
}

/* -no-acpi and -no-hpet, from before they were options of the machine. */
static struct error *leave_out(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->machine = cli_text(cli, "%s%s%s=off", cli->machine ? cli->machine : "",
                            cli->machine ? "," : "", o->name + strlen("no-"));
    return NULL;
}

static struct error *enable_kvm(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    text_add(&cli->accels, "kvm");
    return NULL;
}

static struct error *add_drive(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->drives = xrealloc(cli->drives, (cli->n_drives + 1) * sizeof(*cli->drives));
    cli->drives[cli->n_drives++] = (struct cli_drive){ (enum cli_drive_kind)o->offset, arg };
    note_place(cli, arg);
    return NULL;
}

/* A back end, and the card that uses it. */
static struct error *add_audio(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    struct options list;
    struct error *err = options_split(arg, "driver", &list);
    if (err)
        return err;
    const char *model = options_get(&list, "model"), *id = options_get(&list, "id");
    model = model ? cli_text(cli, "%s", model) : NULL;
    id = cli_text(cli, "%s", id ? id : "audio0");
    text_add(&cli->audiodevs, cli_text(cli, "%s,id=%s", cli_rest(cli, &list, "driver"), id));
    options_free(&list);
    if (!model)
        return NULL;
    if (!strcmp(model, "pcspk"))
        return add_machine(cli, o, cli_text(cli, "pcspk-audiodev=%s", id));
    if (!strcmp(model, "virtio")) {
        text_add(&cli->devices, cli_text(cli, "virtio-sound-pci,audiodev=%s", id));
        return NULL;
    }
    if (strcmp(model, "hda"))
        return error_new("model=%s: accepted are hda, pcspk, virtio", model);
    text_add(&cli->devices, cli_text(cli, "intel-hda,id=%s-hda", id));
    text_add(&cli->devices, cli_text(cli, "hda-duplex,audiodev=%s,bus=%s-hda.0", id, id));
    return NULL;
}

static struct error *set_name(void *opaque, const struct option *o, const char *arg)
{
    static const char *const known[] = { "guest", "process", "debug-threads" };
    struct cli *cli = opaque;
    struct options list;
    struct error *err = options_split(arg, "guest", &list);
    if (err)
        return err;
    const char *guest = options_get(&list, "guest");
    if (guest)
        cli->name = cli_text(cli, "%s", guest);
    if (options_get(&list, "process"))
        err = error_new("process= is not supported; accepted: guest=, debug-threads=");
    if (!err)
        err = options_get_bool(&list, "debug-threads", &cli->debug_threads);
    if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    options_free(&list);
    return err;
}

static struct error *set_uuid(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    size_t n = strspn(arg, "0123456789abcdefABCDEF-");
    bool dashes = n == 36 && arg[8] == '-' && arg[13] == '-' && arg[18] == '-' && arg[23] == '-';
    size_t digits = 0;
    for (size_t i = 0; i < n; i++)
        digits += arg[i] != '-';
    if (arg[n] || !dashes || digits != 32)
        return error_new("'%s' is not a UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx)", arg);
    cli->uuid = arg;
    return NULL;
}

static struct error *set_memory(void *opaque, const struct option *o, const char *arg)
{
    static const char *const known[] = { "size", "slots", "maxmem" };
    struct cli *cli = opaque;
    struct options list;
    struct error *err = options_split(arg, "size", &list);
    if (err)
        return err;
    const char *size = options_get(&list, "size"), *max = options_get(&list, "maxmem");
    const char *slots = options_get(&list, "slots");
    uint64_t max_size, n_slots;
    if (size && (!parse_size(size, MIB, &cli->ram_size) || !cli->ram_size))
        err = error_new("'%s' is not a memory size such as 512M or 4G", size);
    else if (slots && !parse_uint(slots, 256, &n_slots))
        err = error_new("slots='%s' is not a number up to 256", slots);
    else if (max && (!parse_size(max, MIB, &max_size) || max_size < cli->ram_size))
        err = error_new("maxmem='%s' is not a size of at least that of -m", max);
    else if ((max && max_size > cli->ram_size) || (slots && n_slots && !max))
        err = error_new("memory cannot be plugged into a running machine; leave out slots= and "
                        "maxmem=");
    else
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    options_free(&list);
    return err;
}

/* A topology has to multiply out; what is not given is 1, except that sockets (or, when those are
 * given, cores) take what is left. */
static struct error *check_topology(struct cli *cli, uint64_t cpus, uint64_t max, uint64_t rest,
                                    uint64_t sockets, uint64_t cores, uint64_t threads)
{
    uint64_t given = rest * (sockets ? sockets : 1) * (cores ? cores : 1);
    if (!cpus && !max)
        cpus = max = given;
    cpus = cpus ? cpus : max;
    max = max ? max : cpus;
    if (!sockets || !cores)
        given *= max % given ? 1 : max / given;
    if (given != max)
        return error_new("sockets x cores x threads gives %llu, not %llu",
                         (unsigned long long)given, (unsigned long long)max);
    if (max != cpus)
        return error_new("maxcpus=%llu: CPUs cannot be plugged into a running machine; accepted: "
                         "maxcpus=%llu",
                         (unsigned long long)max, (unsigned long long)cpus);
    cli->smp_cpus = (unsigned)cpus;
    cli->smp_threads = (unsigned)(threads ? threads : 1);
    cli->smp_sockets = (unsigned)(sockets ? sockets : cores ? cpus / (rest * cores) : 1);
    cli->smp_cores = (unsigned)(cpus / cli->smp_sockets / cli->smp_threads);
    return NULL;
}

static struct error *set_smp(void *opaque, const struct option *o, const char *arg)
{
    static const char *const names[] = { "cpus", "maxcpus",  "sockets", "cores", "threads",
                                         "dies", "clusters", "modules", "books", "drawers" };
    struct cli *cli = opaque;
    struct options list;
    uint64_t v[ARRAY_LEN(names)] = { 0 }, rest = 1;
    struct error *err = options_split(arg, "cpus", &list);
    for (size_t i = 0; i < ARRAY_LEN(names) && !err; i++) {
        const char *text = options_get(&list, names[i]);
        if (text && (!parse_uint(text, 4096, &v[i]) || !v[i]))
            err = error_new("%s='%s' is not a number from 1 to 4096", names[i], text);
        if (i >= 4 && v[i])
            rest *= v[i];
    }
    if (!err)
        err = options_refuse_rest(&list, names, ARRAY_LEN(names));
    if (!err)
        err = check_topology(cli, v[0], v[1], rest, v[2], v[3], v[4]);
    options_free(&list);
    return err;
}

static struct error *set_nographic(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->nographic = true;
    return NULL;
}

/* Options of which one or a few values are a matter of course and all others not supported. */
static struct error *expect(const char *arg, const char *const *words, const char *why)
{
    char list[200] = "";
    for (; *words; words++) {
        if (!strcmp(arg, *words))
            return NULL;
        strcat(list, *list ? ", " : "");
        strcat(list, *words);
    }
    return error_new("'%s' is not supported: %s; accepted: %s", arg, why, list);
}

static struct error *set_gdb_default(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->gdb = "tcp::1234";
    return NULL;
}

static struct error *set_parallel(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->parallel = arg;
    return expect(arg, (const char *const[]){ "none", "null", NULL },
                  "nothing can be connected to a parallel port");
}

static struct error *add_usb_device(void *opaque, const struct option *o, const char *arg)
{
    struct error *err =
        expect(arg, (const char *const[]){ "tablet", "kbd", "keyboard", "mouse", NULL },
               "other USB devices are made by -device");
    return err ? err : add_text(opaque, o, arg);
}

static struct error *set_vga(void *opaque, const struct option *o, const char *arg)
{
    struct cli *cli = opaque;
    cli->vga = arg;
    return expect(arg, (const char *const[]){ "none", "std", "virtio", NULL },
                  "there is no such graphics card here");
}

/* "utc", "localtime", "2026-11-20", "2026-11-20T12:00:00" as the distance from now. */
static bool parse_rtc_base(const char *base, int64_t *offset_ns)
{
    struct tm tm = { 0 }, now_tm;
    time_t now = time(NULL), then = now;
    const char *end = NULL;
    *offset_ns = 0;
    if (!strcmp(base, "utc"))
        return true;
    if (!strcmp(base, "localtime")) {
        localtime_r(&now, &now_tm);
        then = now + now_tm.tm_gmtoff;
    } else {
        end = strptime(base, strchr(base, 'T') ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d", &tm);
        then = end && !*end ? timegm(&tm) : -1;
    }
    const time_t year_2250 = 8835984000; /* beyond it, 64 bits of nanoseconds do not reach */
    if (then < 0 || then >= year_2250)
        return false;
    *offset_ns = (int64_t)(then - now) * 1000000000;
    return true;
}

static struct error *set_rtc(void *opaque, const struct option *o, const char *arg)
{
    static const char *const known[] = { "base", "clock", "driftfix" };
    struct cli *cli = opaque;
    struct options list;
    struct error *err = options_split(arg, "base", &list);
    if (err)
        return err;
    const char *base = options_get(&list, "base"), *clock = options_get(&list, "clock");
    const char *drift = options_get(&list, "driftfix");
    if (base && !parse_rtc_base(base, &cli->rtc_offset_ns))
        err = error_new("base='%s' is none of utc, localtime, YYYY-MM-DD and YYYY-MM-DDTHH:MM:SS",
                        base);
    else if (clock && strcmp(clock, "host"))
        err = error_new("clock='%s' is not supported; accepted: host", clock);
    else if (drift && strcmp(drift, "none") && strcmp(drift, "slew"))
        err = error_new("driftfix='%s' is not supported; accepted: none, slew", drift);
    else
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    if (!err && drift && !strcmp(drift, "slew"))
        text_add(&cli->globals, "mc146818rtc.lost_tick_policy=slew");
    options_free(&list);
    return err;
}

/* Letters of -boot order= and once=, each at most once. */
static struct error *check_boot_order(const char *name, const char *order)
{
    for (const char *c = order; *c; c++)
        if (*c < 'a' || *c > 'p' || strchr(c + 1, *c))
            return error_new(
                "%s='%s': letters are expected, each once: a, b floppy, c disk, d CD-ROM, "
                "n network",
                name, order);
    return NULL;
}

static struct error *set_milliseconds(struct options *list, const char *name, uint64_t most,
                                      int32_t *to)
{
    const char *text = options_get(list, name);
    uint64_t value;
    if (!text)
        return NULL;
    if (!parse_uint(text, most, &value))
        return error_new("%s='%s' is not a number of milliseconds up to %llu", name, text,
                         (unsigned long long)most);
    *to = (int32_t)value;
    return NULL;
}

static struct error *set_boot(void *opaque, const struct option *o, const char *arg)
{
    static const char *const known[] = { "order",  "once",        "menu",          "splash",
                                         "strict", "splash-time", "reboot-timeout" };
    struct cli *cli = opaque;
    struct machine_boot *b = &cli->boot;
    struct options list;
    struct error *err = options_split(arg, "order", &list);
    if (err)
        return err;
    const char **const texts[] = { &b->order, &b->once, NULL, &b->splash };
    for (size_t i = 0; i < ARRAY_LEN(texts) && !err; i++) {
        const char *text = texts[i] ? options_get(&list, known[i]) : NULL;
        if (!text)
            continue;
        *texts[i] = cli_text(cli, "%s", text);
        cli->boot_said = true;
        if (i < 2)
            err = check_boot_order(known[i], text);
    }
    if (!err)
        err = options_get_bool(&list, "strict", &b->strict); /* other firmware is so anyway */
    if (!err)
        err = options_get_bool(&list, "menu", &b->menu);
    if (!err)
        err = set_milliseconds(&list, "splash-time", 0xffff, &b->splash_ms);
    if (!err)
        err = set_milliseconds(&list, "reboot-timeout", 0xffff, &b->reboot_ms);
    if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    cli->boot_said |= b->menu || b->splash_ms >= 0 || b->reboot_ms >= 0;
    options_free(&list);
    return err;
}

static struct error *set_stats(void *opaque, const struct option *o, const char *arg)
{
    static const char *const known[] = { "format", "file" };
    struct cli *cli = opaque;
    struct options list;
    struct error *err = options_split(arg ? arg : "", "format", &list);
    if (err)
        return err;
    const char *format = options_get(&list, "format"), *file = options_get(&list, "file");
    cli->stats = true;
    if (file)
        cli->stats_file = cli_text(cli, "%s", file);
    if (format && strcmp(format, "json") && strcmp(format, "text"))
        err = error_new("'%s' is not a format; accepted: text, json", format);
    else
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    cli->stats_json = format && !strcmp(format, "json");
    options_free(&list);
    return err;
}

static struct error *set_sandbox(void *opaque, const struct option *o, const char *arg)
{
    /* QEMU's finer switches: what they would deny is always denied. */
    static const char *const known[] = { "enable", "obsolete", "elevateprivileges", "spawn",
                                         "resourcecontrol" };
    struct cli *cli = opaque;
    struct options list;
    struct error *err = options_split(arg, "enable", &list);
    if (err)
        return err;
    err = options_get_bool(&list, "enable", &cli->sandbox);
    for (size_t i = 1; i < ARRAY_LEN(known) && !err; i++) {
        const char *value = options_get(&list, known[i]);
        if (value && strcmp(value, "deny"))
            err = error_new("%s=%s is not supported; accepted: deny", known[i], value);
    }
    if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    options_free(&list);
    return err;
}

static struct error *set_msg(void *opaque, const struct option *o, const char *arg)
{
    static const char *const known[] = { "timestamp", "guest-name", "verdict" };
    struct cli *cli = opaque;
    struct options list;
    bool guest_name = false;
    struct error *err = options_split(arg, NULL, &list);
    if (err)
        return err;
    err = options_get_bool(&list, "timestamp", &cli->timestamps);
    if (!err)
        err = options_get_bool(&list, "guest-name", &guest_name);
    if (!err)
        err = options_get_bool(&list, "verdict", &cli->verdict);
    if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    options_free(&list);
    return err;
}

static struct error *set_overcommit(void *opaque, const struct option *o, const char *arg)
{
    static const char *const known[] = { "mem-lock", "cpu-pm" };
    struct cli *cli = opaque;
    struct options list;
    bool cpu_pm = false; /* guests always idle on the host's CPU */
    struct error *err = options_split(arg, NULL, &list);
    if (err)
        return err;
    err = options_get_bool(&list, "mem-lock", &cli->mem_lock);
    if (!err)
        err = options_get_bool(&list, "cpu-pm", &cpu_pm);
    if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    options_free(&list);
    return err;
}

static struct error *set_image(void *opaque, const char *arg)
{
    struct cli *cli = opaque;
    if (cli->image)
        return error_new("both '%s' and '%s' are given as the file to boot; use -drive for more "
                         "disks",
                         cli->image, arg);
    cli->image = arg;
    return NULL;
}

#define AT(m) .offset = offsetof(struct cli, m)
static const struct option table[] = {
    { .help = "Machine" },
    { "machine", "NAME[,OPTION=VALUE...]", "the board; -M help lists them", add_machine },
    { "M", "NAME[,OPTION=VALUE...]", "the same", add_machine },
    { "no-acpi", NULL, "-M acpi=off", leave_out },
    { "no-hpet", NULL, "-M hpet=off", leave_out },
    { "cpu", "MODEL[,EXTENSION=on|off...]", "the CPU; -cpu help lists models and extensions",
      set_text, AT(cpu) },
    { "smp", "N[,cores=,threads=,sockets=,maxcpus=]", "number of CPUs", set_smp },
    { "m", "SIZE", "memory, in MiB unless it ends in K, M, G", set_memory },
    { "numa",
      "node[,nodeid=N][,cpus=FIRST[-LAST]][,mem=SIZE|memdev=ID]|cpu,node-id=N,socket-id=...|"
      "dist,src=N,dst=N,val=DISTANCE",
      "memory and CPUs of a NUMA node; distances between nodes", add_text, AT(numas) },
    { "smbios", "type=N[,KEY=VALUE...]|file=FILE",
      "what SMBIOS tells the guest about the machine (types 0, 1, 2, 3, 4, 8, 9, 11, 17)", add_text,
      AT(smbios) },
    { "acpitable", "file=FILE|sig=NAME,data=FILE[:FILE...][,rev=][,oem_id=]...",
      "one more ACPI table", add_text, AT(acpi_tables) },
    { "accel", "kvm|tcg|lockstep[,OPTION=VALUE...]",
      "the engine; several are tried in order; lockstep: two, compared; -accel help, -accel "
      "tcg,help",
      add_text, AT(accels) },
    { "enable-kvm", NULL, "the same as -accel kvm", enable_kvm },
    { "name", "NAME[,debug-threads=on|off]", "name of the virtual machine", set_name },
    { "uuid", "UUID", "identifier of the virtual machine", set_uuid },
    { "global", "DRIVER.PROPERTY=VALUE", "default of a property for all devices of a class",
      add_text, AT(globals) },
    { "rtc", "base=utc|localtime|DATE[,clock=host][,driftfix=none|slew]",
      "what the real-time clock shows", set_rtc },
    { "boot", "[order=LETTERS][,once=LETTERS][,menu=on|off][,splash=FILE]...",
      "what a PC's firmware boots; better: bootindex= of devices", set_boot },
    { "overcommit", "[mem-lock=on|off][,cpu-pm=on|off]", "lock guest memory into the host's",
      set_overcommit },

    { .help = "What to boot" },
    { "kernel", "FILE", "kernel: Image, bzImage, ELF (PVH, Multiboot)", set_text, AT(kernel) },
    { "initrd", "FILE", "initial RAM disk", set_text, AT(initrd) },
    { "append", "TEXT", "the kernel's command line", set_text, AT(append) },
    { "dtb", "FILE", "device tree, instead of the board's own", set_text, AT(dtb) },
    { "bios", "FILE|none|default", "firmware", set_text, AT(bios) },
    { "fw_cfg", "[name=]NAME,file=FILE|string=TEXT", "a file for firmware; names are opt/...",
      add_text, AT(fw_cfgs) },

    { .help = "Devices" },
    { "device", "NAME[,PROPERTY=VALUE...]",
      "add a device; also as JSON; -device help, -device NAME,help", add_text, AT(devices) },
    { "usb", NULL, "a USB controller (qemu-xhci); so does -machine usb=on", set_flag, AT(usb) },
    { "usbdevice", "tablet|kbd|mouse", "a USB device, and a controller if there is none",
      add_usb_device, AT(usb_devices) },
    { "object", "TYPE,id=ID[,PROPERTY=VALUE...]",
      "thread, random source or memory for others to use; -object help", add_text, AT(objects) },
    { "nodefaults", NULL, "only the devices asked for", set_flag, AT(nodefaults) },
    { "readconfig", "FILE", "more options, from a file: [drive \"d0\"] file = \"disk.img\"",
      read_config },
    { "no-user-config", NULL, "accepted; no configuration file is read unasked", accept },

    { .help = "Disks" },
    { "drive", "file=FILE[,if=none|ide|virtio|pflash][,id=ID][,media=cdrom][,readonly=on]...",
      "a disk image; if=none leaves the device to -device", add_drive, DRIVE_DRIVE },
    { "blockdev", "driver=raw,node-name=ID,file.filename=FILE...", "a disk image by nodes or JSON",
      add_drive, DRIVE_BLOCKDEV },
    { "hda", "FILE", "first disk; -hdb, -hdc, -hdd: more", add_drive, DRIVE_HDA },
    { "hdb", "FILE", "second disk", add_drive, DRIVE_HDB },
    { "hdc", "FILE", "third disk", add_drive, DRIVE_HDC },
    { "hdd", "FILE", "fourth disk", add_drive, DRIVE_HDD },
    { "cdrom", "FILE", "CD image, read-only, in the third place", add_drive, DRIVE_CDROM },
    { "pflash", "FILE", "contents of the next flash chip", add_drive, DRIVE_PFLASH },
    { "snapshot", NULL, "writes to all disks are forgotten at the end", set_flag, AT(snapshot) },

    { .help = "Network" },
    { "netdev", "user,id=ID[,hostfwd=tcp::PORT-:PORT]...", "a network; -netdev help", add_text,
      AT(netdevs) },
    { "nic", "user[,model=NAME][,mac=MAC]...|none", "a network and its device in one", add_text,
      AT(nics) },
    { "net", "none|nic[,model=NAME]|user[,...]", "the same in the old way", add_text, AT(nets) },

    { .help = "Terminal" },
    { "nographic", NULL, "serial port and monitor on this terminal (Ctrl-A h for help)",
      set_nographic },
    { "chardev", "BACKEND,id=ID[,...]", "a character back end; -chardev help", add_text,
      AT(chardevs) },
    { "serial",
      "stdio|mon:stdio|null|pty|file:PATH|pipe:PATH|unix:PATH|tcp:HOST:PORT|telnet:HOST:PORT|udp:"
      "HOST:PORT|/dev/TTY|"
      "chardev:ID|none",
      "what the next serial port is connected to", add_text, AT(serials) },
    { "debugcon", "stdio|file:PATH|...", "a PC's debug console, isa-debugcon", set_text,
      AT(debugcon) },
    { "monitor", "stdio|none|...", "what the monitor is connected to", add_text, AT(monitors) },
    { "mon", "[chardev=]ID[,mode=readline|control][,pretty=on]",
      "a monitor on a character back end; control is QMP", add_text, AT(mons) },
    { "qmp", "unix:PATH,server=on,wait=off|stdio|...", "QMP for programs; -qmp help lists it",
      add_text, AT(qmps) },
    { "qmp-pretty", "unix:PATH|stdio|...", "the same with indented answers", add_text,
      AT(pretty_qmps) },
    { "display", "sdl|curses|vnc=DISPLAY|none[,OPTION=VALUE...]",
      "where the guest's screen is shown; -display help", set_text, AT(display) },
    { "full-screen", NULL, "-display sdl over all of the host's screen", set_flag,
      AT(full_screen) },
    { "vnc", "[HOST]:N|unix:PATH|none[,password=on][,to=N][,share=...]...",
      "show it to VNC viewers, at port 5900 + N", add_text, AT(vncs) },
    { "vga", "std|virtio|none", "graphics card (PCs have std unless -nographic or -nodefaults)",
      set_vga },
    { "parallel", "none|null", "a PC's parallel port: none, or nothing on it", set_parallel },
    { "k", "LAYOUT",
      "the guest's keyboard layout, for viewers that tell letters and not keys: de, en-gb",
      set_text, AT(layout) },

    { .help = "Running" },
    { "S", NULL, "do not start the CPUs (monitor: cont)", set_flag, AT(start_stopped) },
    { "no-reboot", NULL, "end when the guest resets", set_flag, AT(no_reboot) },
    { "no-shutdown", NULL, "stop, but do not end, when the guest powers off", set_flag,
      AT(no_shutdown) },
    { "action", "reboot=..,shutdown=..,panic=..,watchdog=..",
      "what to do when the guest resets, powers off or crashes, or a watchdog expires", add_text,
      AT(actions) },
    { "audiodev", "none|sdl|wav,id=ID[,path=FILE][,out.frequency=HZ]...",
      "where sound goes; -audiodev help lists drivers", add_text, AT(audiodevs) },
    { "audio", "none|sdl|wav[,model=hda|virtio|pcspk][,...]",
      "-audiodev, and the card or loudspeaker whose sound goes there", add_audio },
    { "add-fd", "fd=N,set=M[,opaque=TEXT]", "a file that the caller left open, as /dev/fdset/M",
      add_text, AT(fds) },
    { "daemonize", NULL, "go to the background once everything is set up", set_flag,
      AT(daemonize) },
    { "pidfile", "FILE", "write the process id there", set_text, AT(pidfile) },
    { "sandbox", "on|off", "give up all system calls a running machine does not need (default: on)",
      set_sandbox },
    { "msg", "[timestamp=on|off][,verdict=on|off]", "form of messages; verdict=off: no last line",
      set_msg },

    { .help = "Looking inside" },
    { "d", "ITEM[,...]", "log; -d help lists items", set_text, AT(log_items) },
    { "D", "FILE", "log into this file", set_text, AT(log_file) },
    { "dfilter", "FROM..TO|FROM+SIZE[,...]", "log only code at these guest addresses", set_text,
      AT(log_filter) },
    { "gdb", "tcp:[HOST]:PORT|unix:PATH|chardev:ID|stdio|none",
      "serve gdb's remote protocol there; without HOST for this host only", set_text, AT(gdb) },
    { "s", NULL, "the same as -gdb tcp::1234", set_gdb_default },
    { "stats", "[=text|json[,file=FILE]]", "statistics at the end", set_stats, .joined = true },
    { "version", NULL, "version", print_version },
    { "help", NULL, "this list", print_help },
    { "h", NULL, "the same", print_help },
    { "help-page", NULL, "this list as docs/options.md", print_options_page },

    { .help = "Known from QEMU, not supported" },
    { "fda", "FILE", "there is no floppy drive" },
    { "fdb", "FILE", "there is no floppy drive" },
    { "sd", "FILE", "no board has an SD slot" },
    { "mtdblock", "FILE", "use -pflash" },
    { "L", "DIR", "give firmware by -bios FILE" },
    { "incoming", "URI", "there is no migration yet" },
    { "loadvm", "NAME", "there are no snapshots yet" },
    { "only-migratable", NULL, "there is no migration yet" },
    { "spice", "...", "use -vnc" },
    { "mem-path", "PATH", "use -object memory-backend-memfd and -M memory-backend=ID" },
    { "mem-prealloc", NULL, "use -object memory-backend-ram,prealloc=on and -M memory-backend=ID" },
    { "fsdev", "...", "there is no shared folder yet" },
    { "virtfs", "...", "there is no shared folder yet" },
    { "icount", "...", "guest time is the host's" },
    { "semihosting", NULL, "semihosting would give the guest the host's files" },
    { "semihosting-config", "...", "semihosting would give the guest the host's files" },
    { "singlestep", NULL, "use -accel tcg,max-insns=1" },
    { "plugin", "FILE", "there are no plug-ins" },
    { "trace", "...", "use -d" },
    { "tpmdev", "...", "there is no TPM" },
    { "watchdog-action", "ACTION", "there is no watchdog" },
    { "runas", "USER", "start it as that user" },
    { "run-with", "...", "start it that way" },
    { "chroot", "DIR", "start it there" },
    { "set", "...", "give the property with its device" },
    { "seed", "N", "random numbers come from the host" },
    { "echr", "N", "the escape character is Ctrl-A" },
    { "preconfig", NULL, "there is no QMP yet" },
    { "dump-vmstate", "FILE", "there are no snapshots yet" },
    { "option-rom", "FILE", "the boards load none" },
    { "iscsi", "...", "only files and block devices are supported" },
    { "compat", "...", "there is no QMP yet" },
    { "perfmap", NULL, "use -d out_asm" },
    { "jitdump", NULL, "use -d out_asm" },
};
const struct option_table cli_options = TABLE(table);

void cli_init(struct cli *cli)
{
    *cli = (struct cli){ .sandbox = SANDBOX_BY_DEFAULT,
                         .verdict = true,
                         .boot = { .splash_ms = -1, .reboot_ms = -1 } };
}

/* "qemu-system-ARCH", with or without a folder. i386 is the PC with a CPU that has 32 bits, unless another is asked
 * for. */
static void heed_program_name(struct cli *cli, const char *argv0)
{
    const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;
    const char *prefix = "qemu-system-";
    if (strncmp(name, prefix, strlen(prefix)))
        return;
    cli->arch = name + strlen(prefix);
    if (!strcmp(cli->arch, "i386")) {
        cli->arch = "x86_64";
        cli->cpu = "qemu32";
    }
}

struct error *cli_parse(struct cli *cli, int argc, char **argv)
{
    heed_program_name(cli, argc ? argv[0] : "");
    return options_parse(&cli_options, argc, argv, set_image, cli);
}

void cli_free(struct cli *cli)
{
    struct text_list *lists[] = {
        &cli->vncs,        &cli->accels,     &cli->devices,  &cli->objects, &cli->netdevs,
        &cli->nics,        &cli->nets,       &cli->chardevs, &cli->serials, &cli->monitors,
        &cli->mons,        &cli->fw_cfgs,    &cli->globals,  &cli->numas,   &cli->smbios,
        &cli->acpi_tables, &cli->from_files, &cli->places,   &cli->qmps,    &cli->pretty_qmps,
        &cli->actions,     &cli->audiodevs,  &cli->fds
    };
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        free(lists[i]->at);
    for (size_t i = 0; i < cli->owned.n; i++)
        free((char *)cli->owned.at[i]);
    free(cli->owned.at);
    free(cli->drives);
}
