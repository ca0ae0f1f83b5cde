/* The devices that no other target has in its hands: those for tests, displays, one with MSI-X, VMware's port with the
 * mouse behind it, SMBus hosts, and what switches a machine off or tells of its state. Whatever is mapped is read and
 * written, with all widths; beside that the outside world does its part: keys and pointers, wires, hypercalls, time. */
#include "../unit/virtio_guest.h"

#include "core/accel.h"
#include "core/chardev.h"
#include "core/error.h"
#include "hw/input/i8042.h"
#include "hw/input/vmport.h"
#include "hw/misc/isa_ferr.h"
#include "hw/misc/pc_testdev.h"
#include "hw/misc/smbus.h"
#include "hw/pci/isa_bridge.h"
#include "tape.h"

#include <stdlib.h>
#include <unistd.h>

enum { MAX_STEPS = 500, DEVFN = 3 << 3, SYNIC_PAGES = 0x2000 };

static const char *const classes[] = {
    "edu",     "pci-testdev",    "ICH9-SMB",      "PIIX4_PM",     "virtio-rng-pci",
    "VGA",     "secondary-vga",  "bochs-display", "pc-testdev",   "vmport",
    "i8042",   "hyperv-testdev", "isa-debugcon",  "isa-ferr",     "isa-debug-exit",
    "pvpanic", "acpi-ged",       "reset-control", "isa-parallel", "isa-vga",
};
enum { SMB = 2, PIIX4, LAST_PCI = 7, PC_TESTDEV, VMPORT, I8042, HYPERV, DEBUGCON, FERR };

struct world {
    struct guest *g; /* NULL: no PCI */
    struct board *b;
    unsigned which;
    struct device *dev;
    uint32_t cpu[VMPORT_N_REGISTERS]; /* of the CPU that accesses VMware's port */
};

static bool get_registers(struct vm *vm, uint32_t r[VMPORT_N_REGISTERS])
{
    const struct board *b = vm->machine;
    const struct world *w = b->opaque;
    memcpy(r, w->cpu, sizeof(w->cpu));
    return true;
}

static void set_registers(struct vm *vm, const uint32_t r[VMPORT_N_REGISTERS])
{
}

static const struct vmport_cpu cpu = { get_registers, set_registers };

static struct device *add_debugcon(struct world *w)
{
    struct chardev *line;
    if (chardev_add(w->b->vm, "c0", "ringbuf", &line))
        abort();
    return board_add(w->b, "isa-debugcon", "chardev", "c0", NULL);
}

/* What a board does with it. */
static void wire(struct world *w)
{
    switch (w->which) {
    case SMB: smbus_set_ram(ich9_smbus_of(w->dev), 3 * GIB); break;
    case PIIX4: piix4_pm_attach_smbus(w->dev, 3 * GIB, board_irq(w->b, 9)); break;
    case VMPORT:
        vmport_attach(w->dev, &cpu, 3 * GIB, board_add(w->b, "i8042", "iobase", "0x60", NULL));
        break;
    case FERR: *isa_ferr_output(w->dev) = board_irq(w->b, 13); break;
    case PC_TESTDEV:
        for (unsigned i = 0; i < PC_TESTDEV_N_LINES; i++)
            *pc_testdev_output(w->dev, i) = board_irq(w->b, i);
        break;
    default: break;
    }
}

static struct world *world_new(unsigned which)
{
    struct world *w = xcalloc(1, sizeof(*w));
    const struct device_class *cls = device_class_find(classes[which]);
    if (!cls)
        abort();
    w->which = which;
    w->g = which <= LAST_PCI ? guest_new() : NULL;
    w->b = w->g ? w->g->b : board_new();
    w->b->opaque = w;
    w->b->vm->no_reboot = true;
    board_add_vcpu(w->b);
    w->b->sint_messages = BOARD_RAM + SYNIC_PAGES;
    w->b->sint_events = BOARD_RAM + SYNIC_PAGES + 4096;
    w->dev = which == DEBUGCON   ? add_debugcon(w)
             : which == VMPORT   ? board_add(w->b, cls->name, "iobase", "0x5658", NULL)
             : which <= LAST_PCI ? guest_add(w->g, cls, "addr", "3", NULL)
                                 : board_add(w->b, cls->name, NULL);
    wire(w);
    board_map_regions(w->b);
    device_reset(w->dev);
    if (which <= LAST_PCI)
        guest_place_bars(w->g, DEVFN);
    return w;
}

/* ---- steps ----------------------------------------------------------------------------------------- */

static void touch(struct world *w, struct tape *t, uint8_t what)
{
    struct vm *vm = w->b->vm;
    bool ports = what & 0x10;
    const struct mem_view *view = ports ? mem_ports_now(vm) : mem_view_now(vm);
    if (!view->n)
        return;
    const struct mem_range *r = &view->ranges[tape_u8(t) % view->n];
    uint64_t off = (what & 0x20 ? tape_u32(t) : tape_u8(t)) % r->size, value = tape_u64(t);
    unsigned size = 1u << (what >> 6) % 4;
    if (what & 0x08)
        value &= 0xff;
    if (r->ram)
        return;
    if (ports) {
        uint32_t v = (uint32_t)value;
        if (what & 1)
            mem_port_write(vm, (uint32_t)(r->start + off), MIN(size, 4u), v);
        else
            mem_port_read(vm, (uint32_t)(r->start + off), MIN(size, 4u), &v);
    } else if (what & 1) {
        board_poke(w->b, r->start + off, size, value);
    } else {
        board_peek(w->b, r->start + off, size);
    }
}

static void set_cpu(struct world *w, struct tape *t)
{
    static const uint32_t arguments[] = { 0x45414552, 0xf5, 0x4c455252, 0x53424152 };
    uint8_t command = tape_u8(t), argument = tape_u8(t);
    uint32_t v;
    w->cpu[VMPORT_EAX] = 0x564d5868;
    w->cpu[VMPORT_ECX] = command < 128 ? 39u + command % 3 : command % 64u;
    w->cpu[VMPORT_EBX] = argument < 128 ? arguments[argument % 4] : argument % 16u;
    mem_port_read(w->b->vm, 0x5658, 4, &v);
}

static void send_input(struct world *w, struct tape *t)
{
    struct input_event events[4];
    enum input_kind kind = tape_u8(t) % N_INPUT_KINDS;
    size_t n = 1 + tape_u8(t) % 4;
    for (size_t i = 0; i < n; i++) {
        uint8_t type = tape_u8(t), code = tape_u8(t);
        events[i] =
            (struct input_event){ type % 4, code, tape_u8(t) & 1 ? tape_u32(t) : tape_u8(t) };
        if (type & 0x80 && events[i].type == INPUT_EV_KEY)
            events[i].code = 0x110 + code % 8;
    }
    input_send_event(w->b->vm, kind, events, n);
    input_leds(w->b->vm);
}

/* Routes, connections and calls that are right in most of their bits. */
static void hyperv(struct world *w, struct tape *t)
{
    struct vm *vm = w->b->vm;
    uint8_t what = tape_u8(t), id = tape_u8(t) % 4;
    mem_port_write(vm, 0x3000, 4,
                   (uint32_t)id << 24 | (uint32_t)(what % 9) << 16 | (uint32_t)(what & 0x80) << 1 |
                       (tape_u8(t) & 0x13));
    struct hv_call call = { what & 1 ? 0x5c : 0x5c + what % 4, what & 0x20, { id } };
    if (!call.fast)
        call.input[0] = BOARD_RAM + (what & 0x40 ? tape_u32(t) : 0);
    const uint32_t post[4] = { id, 0, 1 + tape_u8(t), tape_u8(t) };
    board_ram_write(w->b, 0, post, what & 0x10 ? 16 : 4);
    if (vm->hv_call)
        vm->hv_call(vm->hv_opaque, &call);
    uint64_t one = 1;
    for (unsigned i = 0; i < BOARD_N_SINTS; i++)
        if (w->b->sints[i].ended >= 0 && tape_u8(t) & 1 && write(w->b->sints[i].ended, &one, 8) < 0)
            abort();
    board_step(w->b);
}

static void step(struct world *w, struct tape *t)
{
    uint8_t what = tape_u8(t), bytes[16];
    switch (what % 16) {
    case 0: board_advance_ns(w->b, tape_u32(t)); break;
    case 1: device_reset(w->dev); break;
    case 2:
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = tape_u8(t);
        board_ram_write(w->b, tape_u16(t) & 0x3fff, bytes, sizeof(bytes));
        break;
    case 3:
        if (w->which <= LAST_PCI)
            guest_config_write(w->g, DEVFN, tape_u8(t), 1u << what / 16 % 3, tape_u32(t));
        else
            w->b->sint_messages = what & 16 ? SYNIC_NOWHERE : BOARD_RAM + (tape_u32(t) & ~0xfffu);
        break;
    case 4:
        if (w->which == VMPORT)
            set_cpu(w, t);
        else if (w->which == HYPERV)
            hyperv(w, t);
        else if (w->which == FERR)
            isa_ferr_set(w->dev, what & 16);
        else if (w->which <= LAST_PCI)
            guest_place_bars(w->g, DEVFN);
        break;
    case 5:
        if (w->which == VMPORT || w->which == I8042)
            send_input(w, t);
        else if (w->which == HYPERV)
            hyperv(w, t);
        break;
    default: touch(w, t, tape_u8(t)); break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct world *w = world_new(tape_u8(&t) % ARRAY_LEN(classes));
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(w, &t);
    board_check(w->b);
    if (w->g)
        guest_free(w->g);
    else
        board_free(w->b);
    free(w);
    return 0;
}
