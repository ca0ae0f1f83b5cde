/* xHCI host controllers (eXtensible Host Controller Interface 1.2): registers, root ports, life. Rings are in
 * xhci_ring.c, transfers in xhci_transfer.c, commands in xhci_command.c. Without streams, isochronous
 * devices and bandwidth limits; interrupts are not moderated. */
#include "hw/usb/xhci.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/usb/xhci_internal.h"

#include <stdlib.h>

/* The parts of the region, 5.2. */
enum {
    OPERATIONAL_AT = 0x40,
    PORTS_AT = OPERATIONAL_AT + 0x400,
    PORTS_END = PORTS_AT + 16 * N_ROOT_PORTS,
    EXTENDED_AT = 0x20, /* capabilities */
    EXTENDED_END = EXTENDED_AT + 32,
    RUNTIME_AT = 0x1000,
    INTERRUPTERS_AT = RUNTIME_AT + 0x20,
    INTERRUPTERS_END = INTERRUPTERS_AT + 0x20 * N_INTERRUPTERS,
    DOORBELLS_AT = 0x2000,
    DOORBELLS_END = DOORBELLS_AT + 4 * (N_SLOTS + 1),
    REGION_SIZE = 0x4000,
};
enum { /* 5.4, from OPERATIONAL_AT */
       USBCMD = 0x00,
       USBSTS = 0x04,
       PAGESIZE = 0x08,
       DNCTRL = 0x14,
       CRCR = 0x18,
       CRCR_HIGH = 0x1c,
       DCBAAP = 0x30,
       DCBAAP_HIGH = 0x34,
       CONFIG = 0x38,
};
enum { CMD_WRITABLE = 0xc0d, CMD_SAVE = 1 << 8, CMD_RESTORE = 1 << 9 };
enum { STS_W1C = STS_HOST_ERROR | STS_INTERRUPT | STS_PORT | STS_RESTORE_ERROR };
enum { CRCR_CYCLE = 1, CRCR_STOP = 2, CRCR_ABORT = 4, CRCR_RUNS = 8 };
enum { /* 5.5.2 */
       IMAN = 0x00,
       IMOD = 0x04,
       ERSTSZ = 0x08,
       ERSTBA = 0x10,
       ERSTBA_HIGH = 0x14,
       ERDP = 0x18,
       ERDP_HIGH = 0x1c,
};
enum { /* 5.4.8 */
       PORT_CONNECTED = 1 << 0,
       PORT_ENABLED = 1 << 1,
       PORT_RESET = 1 << 4,
       PORT_STATE = 15 << 5,
       PORT_POWER = 1 << 9,
       PORT_SPEED = 15 << 10,
       PORT_STATE_WRITE = 1 << 16,
       PORT_CONNECT_CHANGE = 1 << 17,
       PORT_ENABLE_CHANGE = 1 << 18,
       PORT_WARM_RESET_CHANGE = 1 << 19,
       PORT_RESET_CHANGE = 1 << 21,
       PORT_STATE_CHANGE = 1 << 22,
       PORT_CHANGES = 0x7f << 17,
       PORT_KEPT = 3 << 14 | 7 << 25, /* indicators, wake enables */
};
#define PORT_WARM_RESET (1u << 31)
enum link_state { LINK_U0 = 0, LINK_U3 = 3, LINK_DETECT = 5, LINK_POLLING = 7, LINK_RESUME = 15 };
enum { CONNECTED_USB2 = 1 << USB_LOW | 1 << USB_FULL | 1 << USB_HIGH };

static struct xhci *xhci_of(struct device *dev)
{
    return container_of(dev, struct xhci, dev);
}

static unsigned n_root_ports(const struct xhci *x)
{
    return x->p2 + x->p3;
}

/* ---- root ports: 4.19 ---------------------------------------------------------------------------------------- */
static void port_event(struct xhci *x, unsigned port, uint32_t changes)
{
    uint32_t now = x->portsc[port] & PORT_CHANGES;
    x->portsc[port] |= changes;
    if (!changes || (changes & now) == changes)
        return;
    x->usbsts |= STS_PORT;
    struct trb event = { .parameter = (port + 1) << 24,
                         .status = CODE_SUCCESS << 24,
                         .control = TRB_PORT_EVENT << 10 };
    if (xhci_runs(x))
        xhci_event(x, 0, &event, false);
}

static void port_set_state(struct xhci *x, unsigned port, enum link_state state)
{
    x->portsc[port] = (x->portsc[port] & ~(uint32_t)PORT_STATE) | (uint32_t)state << 5;
}

/* What is plugged in there now, as the guest sees it before it does anything. */
static void port_connect(struct xhci *x, unsigned port)
{
    struct usb_device *u = xhci_device_at(x, port + 1);
    uint32_t *sc = &x->portsc[port];
    *sc &= PORT_KEPT | PORT_CHANGES;
    *sc |= PORT_POWER;
    if (!u) {
        port_set_state(x, port, LINK_DETECT);
        return;
    }
    *sc |= PORT_CONNECTED | u->speed << 10;
    if (u->speed == USB_SUPER)
        *sc |= PORT_ENABLED; /* trained at once */
    port_set_state(x, port, u->speed == USB_SUPER ? LINK_U0 : LINK_POLLING);
}

static void port_reset(struct xhci *x, unsigned port, bool warm)
{
    struct usb_device *u = xhci_device_at(x, port + 1);
    if (u) {
        usb_reset(u);
        x->portsc[port] |= PORT_ENABLED;
        port_set_state(x, port, LINK_U0);
    }
    port_event(x, port, PORT_RESET_CHANGE | (warm ? PORT_WARM_RESET_CHANGE : 0));
}

static void port_write_link(struct xhci *x, unsigned port, enum link_state to)
{
    enum link_state now = (enum link_state)(x->portsc[port] >> 5 & 15);
    if (!(x->portsc[port] & PORT_ENABLED) || now == to)
        return;
    switch (to) {
    case LINK_U0:
        port_set_state(x, port, LINK_U0);
        if (now == LINK_U3 || now == LINK_RESUME)
            port_event(x, port, PORT_STATE_CHANGE);
        break;
    case LINK_U3:
    case LINK_RESUME: port_set_state(x, port, to); break;
    default: break;
    }
}

static void port_write(struct xhci *x, unsigned port, uint32_t v)
{
    uint32_t *sc = &x->portsc[port];
    bool usb3 = port >= x->p2;
    *sc &= ~(v & PORT_CHANGES);
    *sc = (*sc & ~(uint32_t)PORT_KEPT) | (v & PORT_KEPT);
    if (v & PORT_RESET || (usb3 && v & PORT_WARM_RESET)) {
        port_reset(x, port, usb3 && v & PORT_WARM_RESET);
        return;
    }
    if (v & PORT_ENABLED && *sc & PORT_ENABLED) { /* writing 1 disables */
        *sc &= ~(uint32_t)PORT_ENABLED;
        port_set_state(x, port, usb3 ? LINK_DETECT : LINK_POLLING);
    }
    if (v & PORT_STATE_WRITE)
        port_write_link(x, port, (enum link_state)(v >> 5 & 15));
}

static void attached(struct usb_bus *bus, unsigned n)
{
    struct xhci *x = container_of(bus, struct xhci, bus);
    unsigned port = xhci_root_port(bus->ports[n].dev) - 1;
    port_connect(x, port);
    port_event(x, port, PORT_CONNECT_CHANGE);
}

/* Of the two root ports of a connector, the one that had it. */
static void detached(struct usb_bus *bus, unsigned n)
{
    struct xhci *x = container_of(bus, struct xhci, bus);
    for (unsigned port = 0; port < n_root_ports(x); port++) {
        bool here = port == n || port == x->p2 + n;
        if (!here || !(x->portsc[port] & PORT_CONNECTED))
            continue;
        if (xhci_device_at(x, port + 1))
            continue;
        port_connect(x, port);
        port_event(x, port, PORT_CONNECT_CHANGE);
    }
}

static void forget(struct usb_bus *bus, struct usb_device *u)
{
    struct xhci *x = container_of(bus, struct xhci, bus);
    for (unsigned slot = 1; slot <= N_SLOTS; slot++)
        if (xhci_slot_device(x, slot) == u)
            for (unsigned i = 1; i < N_ENDPOINTS; i++)
                endpoint_drop(x, slot, i, true);
}

/* 4.15.2: a device whose port sleeps, and which may, asks for it to be resumed. */
static void wakeup(struct usb_bus *bus, struct usb_device *u, uint8_t endpoint)
{
    struct xhci *x = container_of(bus, struct xhci, bus);
    if (u->bus == bus && u->remote_wakeup) {
        unsigned port = xhci_root_port(u) - 1;
        if ((x->portsc[port] >> 5 & 15) == LINK_U3) {
            port_set_state(x, port, u->speed == USB_SUPER ? LINK_U0 : LINK_RESUME);
            port_event(x, port, PORT_STATE_CHANGE);
        }
    }
    xhci_wakeup(x, u, endpoint);
}

static const struct usb_host_ops host_ops = { attached, detached, forget, wakeup, xhci_done };

/* ---- registers: 5.3 to 5.6 ------------------------------------------------------------------------------------ */
/* 4.2, 5.4.1.1: all but the registers of PCI. What is plugged in stays. */
static void controller_reset(struct xhci *x)
{
    for (unsigned slot = 1; slot <= N_SLOTS; slot++) {
        slot_drop_all(x, slot);
        x->slots[slot] = (struct xhci_slot){ 0 };
    }
    timer_cancel(x->again);
    x->usbcmd = x->dnctrl = x->config = 0;
    x->usbsts = STS_HALTED;
    x->dcbaap = x->crcr = 0;
    x->commands = (struct ring){ 0 };
    x->commands_run = false;
    memset(x->interrupter, 0, sizeof(x->interrupter));
    for (unsigned port = 0; port < n_root_ports(x); port++) {
        x->portsc[port] = x->portpmsc[port] = x->portlpm[port] = 0;
        port_connect(x, port);
        if (x->portsc[port] & PORT_CONNECTED)
            x->portsc[port] |= PORT_CONNECT_CHANGE;
    }
    xhci_interrupts(x);
}

static uint32_t capability_read(const struct xhci *x, unsigned at)
{
    const uint32_t extended[] = { /* 7.2: supported protocols */
                                  0x02000402, 0x20425355, 1u | x->p2 << 8,           0,
                                  0x03000002, 0x20425355, (x->p2 + 1u) | x->p3 << 8, 0
    };
    switch (at) {
    case 0x00: return 0x01000000 | OPERATIONAL_AT; /* HCIVERSION 1.0, CAPLENGTH */
    case 0x04: return x->slots_max | x->interrupters << 8 | n_root_ports(x) << 24;
    case 0x08: return ERST_MAX_LOG << 4;
    case 0x10: return (EXTENDED_AT / 4) << 16 | 1; /* 64-bit addresses */
    case 0x14: return DOORBELLS_AT;
    case 0x18: return RUNTIME_AT;
    default: return at >= EXTENDED_AT && at < EXTENDED_END ? extended[(at - EXTENDED_AT) / 4] : 0;
    }
}

static uint32_t operational_read(const struct xhci *x, unsigned at)
{
    switch (at) {
    case USBCMD: return x->usbcmd;
    case USBSTS: return x->usbsts;
    case PAGESIZE: return 1; /* 4 KiB */
    case DNCTRL: return x->dnctrl;
    case CRCR: return x->commands_run ? CRCR_RUNS : 0;
    case DCBAAP: return (uint32_t)x->dcbaap;
    case DCBAAP_HIGH: return x->dcbaap >> 32;
    case CONFIG: return x->config;
    default: return 0;
    }
}

static uint32_t port_read(const struct xhci *x, unsigned at)
{
    unsigned port = at / 16;
    if (port >= n_root_ports(x))
        return 0;
    switch (at % 16) {
    case 0: return x->portsc[port];
    case 4: return x->portpmsc[port];
    case 12: return x->portlpm[port];
    default: return 0;
    }
}

static uint32_t interrupter_read(const struct xhci *x, unsigned at)
{
    const struct xhci_interrupter *n = &x->interrupter[at / 32];
    switch (at % 32) {
    case IMAN: return n->iman;
    case IMOD: return n->imod;
    case ERSTSZ: return n->erstsz;
    case ERSTBA: return (uint32_t)n->erstba;
    case ERSTBA_HIGH: return n->erstba >> 32;
    case ERDP: return (uint32_t)n->erdp;
    case ERDP_HIGH: return n->erdp >> 32;
    default: return 0;
    }
}

static uint32_t register_read(const struct xhci *x, unsigned at)
{
    if (at < OPERATIONAL_AT)
        return capability_read(x, at);
    if (at < PORTS_AT)
        return operational_read(x, at - OPERATIONAL_AT);
    if (at < PORTS_END)
        return port_read(x, at - PORTS_AT);
    if (at == RUNTIME_AT) /* MFINDEX: units of 125 us */
        return x->usbcmd & CMD_RUN ? vm_now_ns(x->dev.vm) / 125000 & 0x3fff : 0;
    if (at >= INTERRUPTERS_AT && at < INTERRUPTERS_END)
        return interrupter_read(x, at - INTERRUPTERS_AT);
    return 0;
}

static uint64_t with_half(uint64_t whole, bool high, uint32_t v)
{
    return high ? (uint32_t)whole | (uint64_t)v << 32 : (whole & ~UINT64_C(0xffffffff)) | v;
}

static void write_usbcmd(struct xhci *x, uint32_t v)
{
    if (v & CMD_RESET) {
        controller_reset(x);
        return;
    }
    bool broken = x->usbsts & (STS_HOST_ERROR | STS_CONTROLLER_ERROR);
    x->usbcmd = v & CMD_WRITABLE & (broken ? ~(uint32_t)CMD_RUN : UINT32_MAX);
    if (x->usbcmd & CMD_RUN) {
        x->usbsts &= ~(uint32_t)STS_HALTED;
    } else {
        x->usbsts |= STS_HALTED;
        x->commands_run = false;
    }
    if (v & CMD_RESTORE) /* nothing is kept outside: the driver starts anew, 4.23.2 */
        x->usbsts |= STS_RESTORE_ERROR;
    xhci_interrupts(x);
    xhci_kick_all(x);
}

static void write_crcr(struct xhci *x, bool high, uint32_t v)
{
    if (!high && x->commands_run) {
        if (v & (CRCR_STOP | CRCR_ABORT))
            xhci_stop_commands(x);
        return;
    }
    if (x->commands_run)
        return;
    x->crcr = with_half(x->crcr, high, v);
    x->commands = (struct ring){ x->crcr & ~UINT64_C(63), x->crcr & CRCR_CYCLE };
}

static void operational_write(struct xhci *x, unsigned at, uint32_t v)
{
    switch (at) {
    case USBCMD: write_usbcmd(x, v); break;
    case USBSTS: x->usbsts &= ~(v & STS_W1C); break;
    case DNCTRL: x->dnctrl = v & 0xffff; break;
    case CRCR:
    case CRCR_HIGH: write_crcr(x, at == CRCR_HIGH, v); break;
    case DCBAAP:
    case DCBAAP_HIGH: x->dcbaap = with_half(x->dcbaap, at == DCBAAP_HIGH, v) & ~UINT64_C(63); break;
    case CONFIG: x->config = v & 0x3ff; break;
    default: break;
    }
}

static void port_register_write(struct xhci *x, unsigned at, uint32_t v)
{
    unsigned port = at / 16;
    if (port >= n_root_ports(x))
        return;
    switch (at % 16) {
    case 0: port_write(x, port, v); break;
    case 4: x->portpmsc[port] = v; break;
    case 12: x->portlpm[port] = v; break;
    default: break;
    }
}

static void interrupter_write(struct xhci *x, unsigned at, uint32_t v)
{
    unsigned i = at / 32;
    struct xhci_interrupter *n = &x->interrupter[i];
    switch (at % 32) {
    case IMAN:
        n->iman = (n->iman & ~(v & 1) & 1) | (v & 2);
        xhci_interrupts(x);
        break;
    case IMOD: n->imod = v; break;
    case ERSTSZ:
        n->erstsz = MIN(v & 0xffff, 1u << ERST_MAX_LOG);
        n->started = false;
        break;
    case ERSTBA:
    case ERSTBA_HIGH:
        n->erstba = with_half(n->erstba, at % 32 == ERSTBA_HIGH, v) & ~UINT64_C(63);
        n->started = false;
        break;
    case ERDP: xhci_events_taken(x, i, with_half(n->erdp, false, v)); break;
    case ERDP_HIGH: /* bit 3 is that of the lower half */
        n->erdp = with_half(n->erdp, true, v);
        n->full = false;
        break;
    default: break;
    }
}

/* 4.7, 5.6 */
static void ring_doorbell(struct xhci *x, unsigned slot, uint32_t v)
{
    unsigned endpoint = v & 0xff;
    if (!xhci_runs(x) || slot > x->slots_max)
        return;
    if (slot == 0) {
        if (endpoint == 0)
            xhci_run_commands(x);
        return;
    }
    if (!x->slots[slot].enabled || endpoint == 0 || endpoint >= N_ENDPOINTS)
        return;
    if (x->slots[slot].endpoints[endpoint].state == EP_STOPPED)
        endpoint_set(x, slot, endpoint, EP_RUNNING);
    xhci_kick(x, slot, endpoint);
}

static uint64_t region_read(void *opaque, uint64_t off, unsigned size)
{
    struct xhci *x = opaque;
    device_lock(&x->dev);
    uint32_t v = register_read(x, (unsigned)off & ~3u);
    device_unlock(&x->dev);
    return bits(v, 8 * (off & 3), 8 * size);
}

static void region_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct xhci *x = opaque;
    unsigned at = (unsigned)off;
    uint32_t v = (uint32_t)value;
    if (size != 4)
        return; /* 5.1: registers are written whole */
    device_lock(&x->dev);
    if (at >= DOORBELLS_AT && at < DOORBELLS_END)
        ring_doorbell(x, (at - DOORBELLS_AT) / 4, v);
    else if (at >= INTERRUPTERS_AT && at < INTERRUPTERS_END)
        interrupter_write(x, at - INTERRUPTERS_AT, v);
    else if (at >= PORTS_AT && at < PORTS_END)
        port_register_write(x, at - PORTS_AT, v);
    else if (at >= OPERATIONAL_AT && at < PORTS_AT)
        operational_write(x, at - OPERATIONAL_AT, v);
    device_unlock(&x->dev);
}

static const struct mmio_ops region_ops = { region_read, region_write, 1, 4, NULL };

/* ---- life ------------------------------------------------------------------------------------------------------ */
extern const struct device_class qemu_xhci_class, nec_usb_xhci_class;

struct usb_bus *xhci_bus(struct device *dev)
{
    bool is_one = dev->cls == &qemu_xhci_class || dev->cls == &nec_usb_xhci_class;
    return is_one ? &xhci_of(dev)->bus : NULL;
}

unsigned xhci_root_port(const struct usb_device *u)
{
    return 1 + u->port + (u->speed == USB_SUPER ? xhci_of(u->bus->host)->p2 : 0);
}

static void go_on(void *opaque)
{
    struct xhci *x = opaque;
    device_lock(&x->dev);
    xhci_go_on(x);
    device_unlock(&x->dev);
}

/* What a device did not want before the VM stood, or was loaded, is offered again. */
static void vm_runs(void *opaque, bool running)
{
    struct xhci *x = opaque;
    if (!running)
        return;
    device_lock(&x->dev);
    xhci_kick_all(x);
    device_unlock(&x->dev);
}

static struct error *xhci_realize(struct device *dev)
{
    struct xhci *x = xhci_of(dev);
    const struct pci_identity *identity = dev->cls->bus_class;
    if (!x->p2 && !x->p3)
        return error_new("p2=0,p3=0: a controller needs a port");
    struct error *err = pci_realize(&x->fn, dev, dev->bus, identity);
    if (err)
        return err;
    pci_add_bar(&x->fn, 0, PCI_BAR_MEM64,
                mem_add_mmio(dev->vm, dev->cls->name, REGION_SIZE, &region_ops, x), REGION_SIZE);
    err = pci_add_msix(&x->fn, 2, x->interrupters);
    if (err) {
        pci_unrealize(&x->fn);
        return err;
    }
    pci_add_msi(&x->fn);
    if (pci_at_link(&x->fn))
        pci_add_express(&x->fn, 0, 0);
    usb_bus_init(&x->bus, dev, &host_ops);
    x->bus.n_ports = MAX(x->p2, x->p3);
    for (unsigned i = 0; i < x->bus.n_ports; i++)
        x->bus.ports[i].speeds =
            (i < x->p2 ? CONNECTED_USB2 : 0) | (i < x->p3 ? 1 << USB_SUPER : 0);
    x->again = timer_new(dev->vm, go_on, x);
    vm_on_run(dev->vm, vm_runs, x);
    return NULL;
}

static void xhci_unrealize(struct device *dev)
{
    struct xhci *x = xhci_of(dev);
    vm_forget(dev->vm, x);
    timer_free(x->again);
    for (unsigned slot = 1; slot <= N_SLOTS; slot++)
        slot_drop_all(x, slot);
    usb_orphan(&x->bus);
    pci_unrealize(&x->fn);
}

static void xhci_reset(struct device *dev)
{
    struct xhci *x = xhci_of(dev);
    pci_reset(&x->fn);
    controller_reset(x);
}

static struct error *xhci_loaded(struct device *dev)
{
    struct xhci *x = xhci_of(dev);
    for (unsigned slot = 1; slot <= N_SLOTS; slot++)
        if (x->slots[slot].enabled && x->slots[slot].port > n_root_ports(x))
            return error_new("slot %u has a device at port %u of %u", slot, x->slots[slot].port,
                             n_root_ports(x));
    pci_loaded(&x->fn);
    return NULL;
}

static const struct prop xhci_props[] = {
    PCI_PROPS(struct xhci, fn),
    PROP(struct xhci, p2, "p2", PROP_UINT, .def = "4", .max = USB_MAX_PORTS,
         .help = "ports that know USB 2"),
    PROP(struct xhci, p3, "p3", PROP_UINT, .def = "4", .max = USB_MAX_PORTS,
         .help = "ports that know USB 3"),
    PROP(struct xhci, slots_max, "slots", PROP_UINT, .def = "64", .min = 1, .max = N_SLOTS,
         .help = "devices at the same time"),
    PROP(struct xhci, interrupters, "intrs", PROP_UINT, .def = "16", .min = 1,
         .max = N_INTERRUPTERS, .help = "interrupters"),
};

static const struct field ring_state[] = {
    FIELD(struct ring, dequeue),
    FIELD(struct ring, cycle),
};
static const struct field endpoint_state[] = {
    FIELD(struct xhci_endpoint, state, .max = EP_ERROR),
    FIELD(struct xhci_endpoint, type, .max = 7),
    FIELD_SUB(struct xhci_endpoint, ring, ring_state, 1),
    DERIVED(struct xhci_endpoint, waits),
};
static const struct field slot_state[] = {
    FIELD(struct xhci_slot, enabled),
    FIELD(struct xhci_slot, state, .max = SLOT_CONFIGURED),
    FIELD(struct xhci_slot, port, .max = N_ROOT_PORTS),
    FIELD(struct xhci_slot, route, .max = 0xfffff),
    FIELD(struct xhci_slot, interrupter, .max = 1023),
    FIELD(struct xhci_slot, context),
    FIELD_SUB(struct xhci_slot, endpoints, endpoint_state, N_ENDPOINTS),
    DERIVED(struct xhci_slot, kicked),
};
static const struct field interrupter_state[] = {
    FIELD(struct xhci_interrupter, iman, .valid = 3),
    FIELD(struct xhci_interrupter, imod),
    FIELD(struct xhci_interrupter, erstsz, .max = 1 << ERST_MAX_LOG),
    FIELD(struct xhci_interrupter, erstba),
    FIELD(struct xhci_interrupter, erdp),
    FIELD(struct xhci_interrupter, started),
    FIELD(struct xhci_interrupter, cycle),
    FIELD(struct xhci_interrupter, full),
    FIELD(struct xhci_interrupter, segment, .max = 1 << ERST_MAX_LOG),
    FIELD(struct xhci_interrupter, index, .max = 4096),
    FIELD(struct xhci_interrupter, segment_size, .max = 4096),
    FIELD(struct xhci_interrupter, segment_at),
};
static const struct field xhci_state[] = {
    FIELD_SUB(struct xhci, fn, pci_function_fields, 1),
    FIELD(struct xhci, usbcmd, .valid = CMD_WRITABLE),
    FIELD(struct xhci, usbsts),
    FIELD(struct xhci, dnctrl, .max = 0xffff),
    FIELD(struct xhci, config, .max = 0x3ff),
    FIELD(struct xhci, dcbaap),
    FIELD(struct xhci, crcr),
    FIELD(struct xhci, commands_run),
    FIELD_SUB(struct xhci, commands, ring_state, 1),
    FIELD_ARRAY(struct xhci, portsc),
    FIELD_ARRAY(struct xhci, portpmsc),
    FIELD_ARRAY(struct xhci, portlpm),
    FIELD_SUB(struct xhci, interrupter, interrupter_state, N_INTERRUPTERS),
    FIELD_SUB(struct xhci, slots, slot_state, N_SLOTS + 1),
    DERIVED(struct xhci, bus),
    DERIVED(struct xhci, slots_kicked),
    DERIVED(struct xhci, turn),
    DERIVED(struct xhci, busy),
};

static const struct pci_identity qemu_identity = {
    .vendor = 0x1b36,
    .device = 0x000d,
    .revision = 1,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class_code = 0x0c0330,
    .interrupt_pin = 1,
};
static const struct pci_identity nec_identity = {
    .vendor = 0x1033,
    .device = 0x0194,
    .revision = 3,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class_code = 0x0c0330,
    .interrupt_pin = 1,
};

#define XHCI_CLASS(name_, desc_, identity_)                                                   \
    {                                                                                         \
        .name = (name_), .desc = (desc_), .bus = "pci", .version = 1, .user_creatable = true, \
        .can_hot_plug = true, .size = sizeof(struct xhci), .props = TABLE(xhci_props),        \
        .state = TABLE(xhci_state), .bus_class = (identity_), .realize = xhci_realize,        \
        .unrealize = xhci_unrealize, .reset = xhci_reset, .loaded = xhci_loaded,              \
    }
const struct device_class qemu_xhci_class =
    XHCI_CLASS("qemu-xhci", "USB 3 host controller (xHCI)", &qemu_identity);
const struct device_class nec_usb_xhci_class =
    XHCI_CLASS("nec-usb-xhci", "USB 3 host controller (xHCI), NEC's uPD720200", &nec_identity);
