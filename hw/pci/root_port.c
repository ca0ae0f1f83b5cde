/* pcie-root-port: 1b36:000c, a type 1 function whose secondary bus is named after the port's id. Its slot has an
 * attention button, a power controller, both indicators and hot-plug interrupts (PCIe 5.0, 6.7 and 7.5.3). Whoever
 * wants a device out presses the button; the guest takes its driver away, switches power off and puts out the power
 * indicator; then the device goes. */
#include "hw/pci/root_port.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "hw/pci/bridge.h"
#include "hw/pci/internal.h"

struct root_port {
    struct device dev;
    struct pci_function fn;
    struct pci_bus link;
    uint32_t port, chassis, slot; /* properties; port and chassis only tell ports apart */
    bool hotplug;                 /* property */

    bool leaving;         /* the user wants what is in the slot out */
    uint64_t asked_at_ns; /* host clock: when */
    uint16_t control;     /* derived: Slot Control as it was before the guest's last write */
    bool event;           /* derived: an enabled event is there */
    bool power_lost;      /* to be done when the lock is given back: the devices are reset */
};

enum {
    LINK_CAPS = 0x0c,
    LINK_CAPS_ACTIVE_REPORTED = 1 << 20,
    LINK_STATUS = 0x12,
    LINK_STATUS_ACTIVE = 1 << 13,

    SLOT_CAPS = 0x14, /* 7.5.3.9 */
    SLOT_CAPS_HOT_PLUG =
        1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 6, /* button, power, indicators, hot-plug */

    SLOT_CONTROL = 0x18, /* 7.5.3.10; the lower bits enable the events of the status */
    CONTROL_EVENTS = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4,
    CONTROL_INTERRUPT = 1 << 5,
    CONTROL_ATTENTION_OFF = 3 << 6,
    CONTROL_INDICATOR = 3 << 8, /* power indicator */
    INDICATOR_ON = 1 << 8,
    INDICATOR_BLINKS = 2 << 8,
    INDICATOR_OFF = 3 << 8,
    CONTROL_POWER_OFF = 1 << 10,
    CONTROL_LINK_EVENT = 1 << 12,
    CONTROL_WRITABLE = CONTROL_EVENTS | CONTROL_INTERRUPT | CONTROL_ATTENTION_OFF |
                       CONTROL_INDICATOR | CONTROL_POWER_OFF | CONTROL_LINK_EVENT,

    SLOT_STATUS = 0x1a, /* 7.5.3.11 */
    STATUS_BUTTON = 1 << 0,
    STATUS_PRESENCE_CHANGED = 1 << 3,
    STATUS_COMMAND_DONE = 1 << 4,
    STATUS_PRESENT = 1 << 6,
    STATUS_LINK_CHANGED = 1 << 8,
    STATUS_W1C = STATUS_BUTTON | 1 << 1 | STATUS_PRESENCE_CHANGED | STATUS_COMMAND_DONE |
                 STATUS_LINK_CHANGED,
};
#define BUTTON_AGAIN_NS (5 * NS_PER_S) /* a guest that did nothing that long may be asked again */

static struct root_port *port_of(struct device *dev)
{
    return container_of(dev, struct root_port, dev);
}

static unsigned reg_get(const struct root_port *p, unsigned reg)
{
    return config_get(&p->fn, p->fn.express_cap + reg, 2);
}

static void reg_set(struct root_port *p, unsigned reg, unsigned value)
{
    config_set(&p->fn, p->fn.express_cap + reg, 2, value);
}

static bool occupied(const struct root_port *p)
{
    return p->link.slots[0];
}

/* As after a reset: a slot that is empty has no power, nor has one whose device is to leave. */
static void control_reset(struct root_port *p)
{
    bool on = occupied(p) && !p->leaving;
    p->control = CONTROL_ATTENTION_OFF | (on ? INDICATOR_ON : INDICATOR_OFF | CONTROL_POWER_OFF);
    reg_set(p, SLOT_CONTROL, p->control);
}

static bool has_power(const struct root_port *p)
{
    return !(reg_get(p, SLOT_CONTROL) & CONTROL_POWER_OFF);
}

/* ---- what the slot shows; lock held ------------------------------------------------------------- */

/* Presence and link, and who answers configuration cycles. True: the link came up or went down. */
static bool slot_show(struct root_port *p)
{
    unsigned status = reg_get(p, SLOT_STATUS) & ~STATUS_PRESENT, link = reg_get(p, LINK_STATUS);
    bool was_active = link & LINK_STATUS_ACTIVE, active = occupied(p) && has_power(p);
    reg_set(p, SLOT_STATUS, status | (occupied(p) ? STATUS_PRESENT : 0));
    if (p->hotplug)
        reg_set(p, LINK_STATUS, (link & ~LINK_STATUS_ACTIVE) | (active ? LINK_STATUS_ACTIVE : 0));
    for (unsigned i = 0; i < 8; i++)
        if (p->link.slots[i])
            p->link.slots[i]->hidden = !has_power(p);
    return p->hotplug && was_active != active;
}

/* 6.7.3.4: a message when the first enabled event comes, a level as long as there is one. */
static void slot_interrupt(struct root_port *p)
{
    unsigned control = reg_get(p, SLOT_CONTROL), status = reg_get(p, SLOT_STATUS);
    unsigned enabled =
        (control & CONTROL_EVENTS) | (control & CONTROL_LINK_EVENT ? STATUS_LINK_CHANGED : 0);
    bool event = control & CONTROL_INTERRUPT && status & enabled;
    bool by_message = config_get(&p->fn, p->fn.msi_cap + 2, 2) & 1;
    if (by_message && event && !p->event)
        pci_msi_fire(&p->fn);
    p->event = event;
    if (p->hotplug)
        pci_set_intx(&p->fn, event && !by_message);
}

static void slot_tell(struct root_port *p, unsigned events)
{
    if (slot_show(p))
        events |= STATUS_LINK_CHANGED;
    reg_set(p, SLOT_STATUS, reg_get(p, SLOT_STATUS) | events);
    slot_interrupt(p);
}

/* ---- coming and going; main loop's thread -------------------------------------------------------- */

static bool may_go(const struct root_port *p)
{
    unsigned off = CONTROL_POWER_OFF | INDICATOR_OFF;
    return p->leaving && (reg_get(p, SLOT_CONTROL) & off) == off;
}

static void slot_empty(void *opaque)
{
    struct root_port *p = opaque;
    device_lock(&p->dev);
    bool go = may_go(p);
    p->leaving &= !go;
    device_unlock(&p->dev);
    if (!go)
        return;
    for (unsigned i = 8; i-- > 0;) {
        struct pci_function *f = p->link.slots[i];
        if (f && f->dev->realized)
            device_unplugged(f->dev);
    }
    device_lock(&p->dev);
    slot_tell(p, STATUS_PRESENCE_CHANGED);
    device_unlock(&p->dev);
}

/* Function 0 comes last. */
static void slot_plugged(struct device *dev)
{
    struct pci_bus *link = dev->bus;
    struct root_port *p = container_of(link, struct root_port, link);
    device_lock(&p->dev);
    if (occupied(p))
        slot_tell(p, STATUS_PRESENCE_CHANGED | STATUS_BUTTON);
    device_unlock(&p->dev);
}

static struct error *slot_unplug(struct device *dev)
{
    struct pci_bus *link = dev->bus;
    struct root_port *p = container_of(link, struct root_port, link);
    struct error *err = NULL;
    if (!occupied(p)) { /* the guest never saw it */
        device_unplugged(dev);
        return NULL;
    }
    device_lock(&p->dev);
    uint64_t now = host_now_ns();
    if (p->leaving && now - p->asked_at_ns < BUTTON_AGAIN_NS)
        err = error_new("Device %s is already in the process of unplug", dev->id ? dev->id : "");
    else if ((reg_get(p, SLOT_CONTROL) & CONTROL_INDICATOR) == INDICATOR_BLINKS)
        err = error_new("the guest is busy with the slot of '%s': its power indicator blinks; try "
                        "again later",
                        p->link.name);
    if (!err) {
        p->leaving = true;
        p->asked_at_ns = now;
        if (may_go(p))
            loop_post(dev->vm->loop, slot_empty, p);
        else
            slot_tell(p, STATUS_BUTTON);
    }
    device_unlock(&p->dev);
    return err;
}

static const struct hot_plug slot_hot_plug = { slot_plugged, slot_unplug };

/* What is there before there is a guest has power. */
static void slot_changed(struct pci_bus *link)
{
    struct root_port *p = container_of(link, struct root_port, link);
    device_lock(&p->dev);
    if (p->hotplug && occupied(p) && !link->slots[0]->dev->hotplugged)
        control_reset(p);
    slot_show(p);
    device_unlock(&p->dev);
}

/* ---- the guest's part ------------------------------------------------------------------------------ */

static bool touches(const struct root_port *p, unsigned off, unsigned n, unsigned reg)
{
    unsigned at = p->fn.express_cap + reg;
    return off < at + 2 && at < off + n;
}

/* Lock held. An indicator that stops to blink while power stays on: the guest keeps the device (6.7.1.1.2). */
static void control_written(struct root_port *p)
{
    unsigned before = p->control, now = p->control = reg_get(p, SLOT_CONTROL);
    p->power_lost |= occupied(p) && now & ~before & CONTROL_POWER_OFF;
    slot_tell(p, STATUS_COMMAND_DONE);
    bool kept = p->leaving && !(now & CONTROL_POWER_OFF) &&
                (before & CONTROL_INDICATOR) == INDICATOR_BLINKS &&
                (now & CONTROL_INDICATOR) == INDICATOR_ON;
    if (!kept)
        return;
    p->leaving = false;
    if (occupied(p))
        device_kept(p->link.slots[0]->dev);
}

static void port_written(struct pci_function *f, unsigned off, unsigned n)
{
    struct root_port *p = container_of(f, struct root_port, fn);
    if (!p->hotplug)
        return;
    if (touches(p, off, n, SLOT_CONTROL))
        control_written(p);
    slot_interrupt(p); /* events were cleared, or messages enabled */
}

static void port_settled(struct pci_function *f, unsigned off, unsigned n)
{
    struct root_port *p = container_of(f, struct root_port, fn);
    if (!p->hotplug || !touches(p, off, n, SLOT_CONTROL))
        return;
    device_lock(&p->dev);
    bool power_lost = p->power_lost, go = may_go(p);
    p->power_lost = false;
    device_unlock(&p->dev);
    if (power_lost) {
        pci_reset_below(&p->link);
        pci_remap(p->link.host);
    }
    if (go)
        loop_post(p->dev.vm->loop, slot_empty, p);
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void add_slot(struct root_port *p)
{
    struct pci_function *f = &p->fn;
    unsigned cap = f->express_cap;
    config_set(f, cap + LINK_CAPS, 4,
               config_get(f, cap + LINK_CAPS, 4) | LINK_CAPS_ACTIVE_REPORTED);
    config_set(f, cap + SLOT_CAPS, 4, config_get(f, cap + SLOT_CAPS, 4) | SLOT_CAPS_HOT_PLUG);
    config_field(f, cap + SLOT_CONTROL, 2, 0, CONTROL_WRITABLE);
    store_le(f->w1c + cap + SLOT_STATUS, 2, STATUS_W1C);
    p->link.hot_plug = &slot_hot_plug;
}

static struct error *root_port_realize(struct device *dev)
{
    struct root_port *p = port_of(dev);
    static const struct pci_identity identity = {
        .vendor = 0x1b36,
        .device = 0x000c,
        .class_code = 0x060400,
        .interrupt_pin = 1,
        .bridge = true,
    };
    struct error *err = pci_bridge_realize(&p->fn, &p->link, dev, &identity);
    if (err)
        return err;
    p->link.only_slot_0 = true;
    p->link.changed = slot_changed;
    p->fn.config_written = port_written;
    p->fn.config_settled = port_settled;
    pci_add_express(&p->fn, 4, p->slot);
    pci_add_msi(&p->fn);
    if (p->hotplug)
        add_slot(p);
    else
        p->link.no_hot_plug = "the port has hotplug=off";
    return NULL;
}

static void root_port_unrealize(struct device *dev)
{
    struct root_port *p = port_of(dev);
    p->leaving = false;
    if (loop_is_mine(dev->vm->loop))
        loop_sync(dev->vm->loop); /* slot_empty may wait there */
    pci_unrealize(&p->fn);
}

/* A device that is to leave goes now. */
static void root_port_reset(struct device *dev)
{
    struct root_port *p = port_of(dev);
    p->event = p->power_lost = false;
    pci_reset(&p->fn);
    if (p->hotplug)
        control_reset(p);
    slot_show(p);
    if (may_go(p))
        loop_post(dev->vm->loop, slot_empty, p);
}

static struct error *root_port_loaded(struct device *dev)
{
    struct root_port *p = port_of(dev);
    pci_loaded(&p->fn);
    p->control = reg_get(p, SLOT_CONTROL);
    slot_show(p);
    p->event = true; /* its message was sent */
    slot_interrupt(p);
    return NULL;
}

struct pci_bus *root_port_bus(struct device *dev)
{
    return &port_of(dev)->link;
}

static const struct prop root_port_props[] = {
    PCI_PROPS(struct root_port, fn),
    PROP(struct root_port, port, "port", PROP_UINT, .max = 255),
    PROP(struct root_port, chassis, "chassis", PROP_UINT, .max = 255),
    PROP(struct root_port, slot, "slot", PROP_UINT, .max = 0x1fff, .help = "physical slot number"),
    PROP(struct root_port, hotplug, "hotplug", PROP_BOOL, .def = "on",
         .help = "devices may come and go under the guest"),
};
static const struct field root_port_state[] = {
    FIELD_SUB(struct root_port, fn, pci_function_fields, 1),
    DERIVED(struct root_port, leaving),
    DERIVED(struct root_port, asked_at_ns),
    DERIVED(struct root_port, control),
    DERIVED(struct root_port, event),
    DERIVED(struct root_port, power_lost),
};

const struct device_class root_port_class = {
    .name = "pcie-root-port",
    .desc = "PCI Express root port",
    .bus = "pci",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct root_port),
    .props = TABLE(root_port_props),
    .state = TABLE(root_port_state),
    .realize = root_port_realize,
    .unrealize = root_port_unrealize,
    .reset = root_port_reset,
    .loaded = root_port_loaded,
};
