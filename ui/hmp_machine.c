/* The machine's insides for a person: PCI, interrupt controllers, what engine and devices counted, the log. */
#include "core/accel.h"
#include "core/backends.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/error.h"
#include "core/log.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "hw/machine/numa.h"
#include "hw/pci/pci.h"
#include "hw/usb/usb.h"
#include "tandem-config.h"
#include "ui/audio.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"
#include "ui/monitor.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- who we are ------------------------------------------------------------------------------------------- */
static void info_version(struct hmp_call *c)
{
    hmp_say(c, "Tandem %s (QMP as QEMU %d.%d.%d)", TANDEM_VERSION, QMP_MAJOR, QMP_MINOR, QMP_MICRO);
}

static void info_accel(struct hmp_call *c)
{
    hmp_say(c, "engine: %s, guest: %s", c->vm->accel->name, c->vm->target->name);
}

static void info_kvm(struct hmp_call *c)
{
    hmp_say(c, "kvm support: %s", !strcmp(c->vm->accel->name, "kvm") ? "enabled" : "disabled");
}

static void info_memory_size(struct hmp_call *c)
{
    hmp_say(c, "base memory: %" PRIu64, c->vm->ram_size);
    hmp_say(c, "plugged memory: 0");
}

static void say_block(void *opaque, struct mem_region *r)
{
    const struct ram_block *ram = mem_region_ram(r);
    if (ram && !strcmp(ram->name, mem_region_name(r))) /* an alias has a name of its own */
        hmp_say(opaque, "%-24s %10" PRIu64 " KiB%s", ram->name, ram->size / KIB,
                ram->rom ? ", read-only" : "");
}

static void info_ramblock(struct hmp_call *c)
{
    mem_each_region(c->vm, say_block, c);
}

/* ---- devices ------------------------------------------------------------------------------------------------ */
static void info_qom_tree(struct hmp_call *c)
{
    hmp_say(c, "/machine (%s)", ((struct machine *)c->vm->machine)->name);
    for (unsigned i = 0; i < c->vm->n_vcpus; i++)
        hmp_say(c, "  unattached/device[%u] (%s CPU)", i, c->vm->target->name);
    for (const struct device *d = c->vm->devices; d; d = d->next) {
        char path[DEVICE_QOM_PATH];
        device_qom_path(d, path);
        hmp_say(c, "  %s (%s)", path + strlen("/machine/"), d->cls->name);
    }
}

/* Its state list, by id or path. */
static void info_state(struct hmp_call *c)
{
    char name[120];
    if (!hmp_word(c, "the device", name, sizeof(name)))
        return;
    for (struct device *d = c->vm->devices; d; d = d->next) {
        if (strcmp(d->path, name) && (!d->id || strcmp(d->id, name)))
            continue;
        device_lock(d);
        state_print(&d->cls->state, d, c->print, c->to);
        device_unlock(d);
        return;
    }
    hmp_say(c, "there is no device '%s'; info qtree lists ids and paths", name);
}

static bool is_one_of(const struct device *d, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(d->cls->name, names[i]))
            return true;
    return false;
}

/* The controllers of CPUs that are not there are left out: "cpus[7]...". */
static void say_if_there(void *opaque, const char *line)
{
    struct hmp_call *c = opaque;
    unsigned cpu;
    if (sscanf(line, "cpus[%u]", &cpu) != 1 || cpu < c->vm->n_vcpus)
        c->print(c->to, line);
}

static void print_states(struct hmp_call *c, const char *const *names, size_t n)
{
    bool any = false;
    for (struct device *d = c->vm->devices; d; d = d->next) {
        if (!is_one_of(d, names, n))
            continue;
        any = true;
        hmp_say(c, "%s, at %s", d->cls->name, d->path);
        device_lock(d);
        state_print(&d->cls->state, d, say_if_there, c);
        device_unlock(d);
    }
    if (!any)
        hmp_say(c, "no such controller is a device here: the engine models it, or there is none");
}

static void info_pic(struct hmp_call *c)
{
    static const char *const names[] = { "isa-i8259", "ioapic", "sifive-plic", "riscv-aplic",
                                         "riscv-imsic" };
    print_states(c, names, ARRAY_LEN(names));
}

static void info_lapic(struct hmp_call *c)
{
    static const char *const names[] = { "apic" };
    print_states(c, names, ARRAY_LEN(names));
}

static void info_irq(struct hmp_call *c)
{
    for (unsigned i = 0; i < c->vm->n_vcpus; i++) {
        const struct vcpu_counts *n = &c->vm->vcpus[i]->counts;
        hmp_say(c, "CPU#%u: %" PRIu64 " interrupts, %" PRIu64 " exceptions, %" PRIu64 " halts", i,
                n->interrupts, n->exceptions, n->halts);
    }
}

/* ---- PCI --------------------------------------------------------------------------------------------------- */
static void print_bar(struct hmp_call *c, const struct pci_function *f, unsigned i)
{
    const struct pci_bar *b = &f->bars[i];
    if (!b->region)
        return;
    const char *kind = b->kind == PCI_BAR_IO      ? "I/O"
                       : b->kind == PCI_BAR_MEM32 ? "32 bit memory"
                                                  : "64 bit memory";
    if (b->mapped)
        hmp_say(c, "      BAR%u: %s at 0x%" PRIx64 " [0x%" PRIx64 "]", i, kind, b->mapped_at,
                b->mapped_at + b->size - 1);
    else
        hmp_say(c, "      BAR%u: %s of 0x%" PRIx64 " bytes, not mapped", i, kind, b->size);
}

static void print_bus(struct hmp_call *c, const struct pci_bus *bus, unsigned number)
{
    for (unsigned devfn = 0; devfn < 256; devfn++) {
        const struct pci_function *f = bus->slots[devfn];
        if (!f)
            continue;
        hmp_say(c, "  Bus %2u, device %3u, function %u:", number, devfn >> 3, devfn & 7);
        hmp_say(c, "    %s (class %06x): PCI device %04x:%04x%s%s", f->dev->cls->name,
                (unsigned)load_le(f->config + PCI_CLASS, 3),
                (unsigned)load_le(f->config + PCI_VENDOR_ID, 2),
                (unsigned)load_le(f->config + PCI_DEVICE_ID, 2), f->dev->id ? ", id " : "",
                f->dev->id ? f->dev->id : "");
        if (f->config[PCI_INTERRUPT_PIN])
            hmp_say(c, "      IRQ %u, pin %c", f->config[PCI_INTERRUPT_LINE],
                    'A' + f->config[PCI_INTERRUPT_PIN] - 1);
        for (unsigned i = 0; i < PCI_N_BARS; i++)
            print_bar(c, f, i);
        if (f->secondary) {
            hmp_say(c, "      bridge to bus %u (%s)", f->config[PCI_SECONDARY_BUS],
                    f->secondary->name);
            print_bus(c, f->secondary, f->config[PCI_SECONDARY_BUS]);
        }
    }
}

static void info_pci(struct hmp_call *c)
{
    const struct pci_bus *root = pci_bus_find(c->vm, NULL);
    if (root)
        print_bus(c, root, 0);
    else
        hmp_say(c, "this machine has no PCI");
}

/* ---- USB --------------------------------------------------------------------------------------------------- */
static void print_usb_bus(struct hmp_call *c, unsigned number, struct usb_bus *bus)
{
    static const char *const speeds[] = { "?", "12", "1.5", "480", "5000" };
    for (unsigned i = 0; i < bus->n_ports; i++) {
        const struct usb_device *u = bus->ports[i].dev; /* comes and goes on this thread */
        char port[USB_PATH_SIZE];
        if (!u)
            continue;
        usb_lock(bus);
        unsigned address = u->address;
        bool configured = usb_configured(u);
        usb_unlock(bus);
        usb_port_path(u, port);
        hmp_say(c, "  Device %u.%u, Port %s, Speed %s Mb/s, Product %s %s%s%s%s", number, address,
                port, speeds[u->speed], u->model->manufacturer, u->model->name,
                u->dev.id ? ", ID: " : "", u->dev.id ? u->dev.id : "",
                configured ? "" : " (not in use)");
        if (u->hub)
            print_usb_bus(c, number, u->hub);
    }
}

static void info_usb(struct hmp_call *c)
{
    unsigned n = 0;
    for (struct device *d = c->vm->devices; d; d = d->next) {
        struct usb_bus *bus = usb_bus_of(d);
        if (!bus)
            continue;
        hmp_say(c, "Bus %u: %s, %s, %u ports", n, bus->name, d->cls->name, bus->n_ports);
        print_usb_bus(c, n++, bus);
    }
    if (!n)
        hmp_say(c, "no USB controller; -usb or device_add qemu-xhci makes one");
}

/* ---- what was counted -------------------------------------------------------------------------------------- */
struct filter {
    struct hmp_call *c;
    const char *part;
};

static void say_stat(void *opaque, const char *name, double value)
{
    const struct filter *f = opaque;
    if (!f->part || strstr(name, f->part))
        hmp_say(f->c, "%-40s %.15g", name, value);
}

static void info_jit(struct hmp_call *c)
{
    struct filter f = { c, "tcg." };
    if (!strcmp(c->vm->accel->name, "kvm"))
        hmp_say(
            c,
            "the engine is KVM: nothing is translated, but for what -accel kvm,takeover=on says");
    c->vm->accel->stats(c->vm, say_stat, &f);
}

static void say_region(void *opaque, struct mem_region *r)
{
    struct hmp_call *c = opaque;
    const struct mem_counts *n = mem_region_counts(r);
    if (n->reads || n->writes)
        hmp_say(c, "%-40s %10" PRIu64 " reads %10" PRIu64 " writes", mem_region_name(r),
                (uint64_t)n->reads, (uint64_t)n->writes);
}

/* Why the guest was left, and for whom. */
static void info_exits(struct hmp_call *c)
{
    struct filter f = { c, "exit" };
    for (unsigned i = 0; i < c->vm->n_vcpus; i++)
        hmp_say(c, "CPU#%u: run %" PRIu64 " times, halted %" PRIu64 " times", i,
                c->vm->vcpus[i]->counts.runs, c->vm->vcpus[i]->counts.halts);
    c->vm->accel->stats(c->vm, say_stat, &f);
    mem_each_region(c->vm, say_region, c);
}

/* ---- not there ---------------------------------------------------------------------------------------------- */
static void no_snapshots(struct hmp_call *c)
{
    hmp_say(c, "Error: there are no snapshots yet");
}

static void no_migration(struct hmp_call *c)
{
    hmp_say(c, "Error: there is no migration yet");
}

static void info_numa(struct hmp_call *c)
{
    const struct numa *numa = ((struct machine *)c->vm->machine)->numa;
    hmp_say(c, "%u nodes", numa ? numa->n_nodes : 0);
    for (unsigned n = 0; numa && n < numa->n_nodes; n++) {
        char cpus[400] = "";
        for (unsigned i = 0; i < c->vm->n_vcpus; i++) {
            size_t at = strlen(cpus);
            if (numa_node_of(numa, i) == n)
                snprintf(cpus + at, sizeof(cpus) - at, " %u", i);
        }
        hmp_say(c, "node %u cpus:%s", n, cpus);
        hmp_say(c, "node %u size: %" PRIu64 " MB", n, numa->nodes[n].mem / MIB);
    }
}

/* Memory that the guest cannot write. */
static void info_roms(struct hmp_call *c)
{
    const struct mem_view *view = mem_view_now(c->vm);
    for (size_t i = 0; i < view->n; i++)
        if (view->ranges[i].ram && view->ranges[i].rom)
            hmp_say(c, "addr=%016" PRIx64 " size=0x%06" PRIx64 " mem=rom name=\"%s\"",
                    view->ranges[i].start, view->ranges[i].size,
                    mem_region_name(view->ranges[i].region));
}

static void say_stream(void *opaque, const struct audio_stream_info *s)
{
    const char *what = s->direction == AUDIO_OUT ? "plays" : "records";
    if (s->on)
        hmp_say(opaque, "  %s %s %u Hz, %u channels, %s; %" PRIu64 " frames until now",
                s->dev->path, what, s->settings.rate, s->settings.channels,
                audio_format_names[s->settings.format], s->frames);
    else
        hmp_say(opaque, "  %s %s nothing; %" PRIu64 " frames until now", s->dev->path, what,
                s->frames);
}

static void say_audio(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    struct audio_info info;
    if (kind != BACKEND_AUDIO)
        return;
    audio_query(backend, &info);
    const struct audio_settings *out = &info.of[AUDIO_OUT], *in = &info.of[AUDIO_IN];
    hmp_say(opaque, "%s: %s%s%s: out %u Hz, %u channels, %s; in %u Hz, %u channels, %s", id,
            info.driver, info.path ? " " : "", info.path ? info.path : "", out->rate, out->channels,
            audio_format_names[out->format], in->rate, in->channels,
            audio_format_names[in->format]);
    audio_each_stream(backend, say_stream, opaque);
}

static void info_audio(struct hmp_call *c)
{
    backends_each(c->vm, say_audio, c);
}

/* ---- the log ------------------------------------------------------------------------------------------------ */
static void do_log(struct hmp_call *c)
{
    char items[200];
    uint32_t kinds = 0;
    if (!hmp_word(c, "what to log, or none", items, sizeof(items)))
        return;
    if (!strcmp(items, "none") || hmp_ok(c, log_parse(items, &kinds)))
        c->vm->log.kinds = kinds;
}

static void do_logfile(struct hmp_call *c)
{
    char path[512];
    if (!hmp_word(c, "the file", path, sizeof(path)))
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0644);
    if (fd < 0) {
        hmp_ok(c, error_errno("cannot write '%s'", path));
        return;
    }
    if (c->vm->log.fd <= STDERR_FILENO) { /* it stays for others */
        c->vm->log.fd = fd;
        return;
    }
    dup3(fd, c->vm->log.fd, O_CLOEXEC); /* who prints meanwhile goes to one or the other */
    close(fd);
}

static void info_log(struct hmp_call *c)
{
    const struct log *log = &c->vm->log;
    for (unsigned i = 0; i < n_log_items; i++)
        hmp_say(c, "%s %-14s %s", log->kinds & log_items[i].kind ? "*" : " ", log_items[i].name,
                log_items[i].help);
    for (unsigned i = 0; i < log->n_filter; i++)
        hmp_say(c, "only code at 0x%" PRIx64 " to 0x%" PRIx64, log->filter[i].from,
                log->filter[i].to);
}

static void info_clock(struct hmp_call *c)
{
    uint64_t now = vm_now_ns(c->vm);
    hmp_say(c, "guest time %" PRIu64 ".%09" PRIu64 " s, %s; %u timers are set",
            (uint64_t)(now / NS_PER_S), (uint64_t)(now % NS_PER_S),
            c->vm->state == RUN_RUNNING ? "running" : "standing still", timers_pending(c->vm));
}

static const struct hmp_command commands[] = {
    { "log", NULL, "ITEM,ITEM...|none", "what is logged from now on; -d help lists it", do_log },
    { "logfile", NULL, "FILE", "where to", do_logfile },
    { "savevm", NULL, "[TAG]", "refused: there are no snapshots yet", no_snapshots },
    { "loadvm", NULL, "TAG", "refused: there are no snapshots yet", no_snapshots },
    { "delvm", NULL, "TAG", "refused: there are no snapshots yet", no_snapshots },
    { "migrate", NULL, "URI", "refused: there is no migration yet", no_migration },
};
static const struct hmp_command infos[] = {
    { "version", NULL, "", "which program this is", info_version },
    { "accel", NULL, "", "the engine, and the guest's architecture", info_accel },
    { "kvm", NULL, "", "is KVM in use", info_kvm },
    { "memory_size_summary", NULL, "", "guest memory", info_memory_size },
    { "ramblock", NULL, "", "pieces of host memory that the guest's is made of", info_ramblock },
    { "qom-tree", NULL, "", "devices by the names that QMP has for them", info_qom_tree },
    { "state", NULL, "DEVICE", "everything that a device would save, by id or path", info_state,
      HMP_DEVICES },
    { "irq", NULL, "", "interrupts that the CPUs took", info_irq },
    { "pic", NULL, "", "interrupt controllers of the board", info_pic },
    { "lapic", NULL, "", "local interrupt controllers", info_lapic },
    { "pci", NULL, "", "PCI functions and where they are mapped", info_pci },
    { "usb", NULL, "", "USB controllers and what is plugged in", info_usb },
    { "audio", NULL, "", "where sound goes, and what plays and records", info_audio },
    { "jit", NULL, "", "what the translator counted", info_jit },
    { "exits", NULL, "", "why the guest was left, and for which device", info_exits },
    { "numa", NULL, "", "NUMA nodes", info_numa },
    { "roms", NULL, "", "read-only memory", info_roms },
    { "log", NULL, "", "what is logged", info_log },
    { "clock", NULL, "", "the guest's time, and timers", info_clock },
    { "snapshots", NULL, "", "refused: there are none yet", no_snapshots },
    { "migrate", NULL, "", "refused: there is none yet", no_migration },
};
const struct hmp_table hmp_machine_table = { TABLE(commands), TABLE(infos) };
