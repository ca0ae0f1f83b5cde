/* usb-hub: ports for more devices, of high speed and slower ones. Section numbers: USB 2.0. Everything behind it
 * does high speed, so its transaction translator has nothing to do. */
#include "core/vm.h"
#include "hw/usb/usb.h"

enum { /* bmRequestType and bRequest, 11.24.2 */
       CLEAR_HUB_FEATURE = 0x2001,
       SET_HUB_FEATURE = 0x2003,
       GET_DESCRIPTOR = 0xa006,
       GET_HUB_STATUS = 0xa000,
       GET_PORT_STATUS = 0xa300,
       CLEAR_PORT_FEATURE = 0x2301,
       SET_PORT_FEATURE = 0x2303,
       CLEAR_TT_BUFFER = 0x2308,
       RESET_TT = 0x2309,
       STOP_TT = 0x230b,
};
/* Features, 11.24.2; those below 16 are bits of a port's status, 11.24.2.7.1, and those from there on of its changes. */
enum {
    CONNECTION = 0,
    ENABLE = 1,
    SUSPEND = 2,
    OVER_CURRENT = 3,
    RESET = 4,
    POWER = 8,
    HIGH_SPEED = 10,
    FIRST_CHANGE = 16,
    TEST = 21,
    INDICATOR = 22,
};
enum { D_HUB = 0x29, MAX_PORTS = 8, ENDPOINT = 0x81, POWER_GOOD = 1 /* in 2 ms */ };
enum { PORT_POWER_SWITCHES = 1, PORT_OVER_CURRENT = 8 }; /* wHubCharacteristics, 11.23.2.1 */

struct usb_hub {
    struct usb_device u;
    struct usb_bus bus;
    uint8_t n_ports; /* property */
    /* state */
    uint16_t status[MAX_PORTS], changes[MAX_PORTS];
};

static struct usb_hub *hub_of(struct usb_device *u)
{
    return container_of(u, struct usb_hub, u);
}

static struct usb_hub *hub_of_bus(struct usb_bus *bus)
{
    return container_of(bus, struct usb_hub, bus);
}

/* ---- ports: 11.24.2.7 -------------------------------------------------------------------------------------------- */
static void port_change(struct usb_hub *h, unsigned port, unsigned what)
{
    h->changes[port] |= (uint16_t)(1u << what);
    usb_wakeup(&h->u, ENDPOINT);
}

/* What is there, as a port sees it that has power. */
static void port_look(struct usb_hub *h, unsigned port)
{
    bool there = h->bus.ports[port].dev, was = h->status[port] >> CONNECTION & 1;
    if (!(h->status[port] >> POWER & 1))
        return;
    h->status[port] = 1u << POWER;
    if (there)
        h->status[port] |= 1u << CONNECTION | 1u << HIGH_SPEED;
    if (there || was)
        port_change(h, port, CONNECTION);
}

static enum usb_result port_set(struct usb_hub *h, unsigned port, unsigned feature)
{
    uint16_t *status = &h->status[port];
    struct usb_device *u = h->bus.ports[port].dev;
    switch (feature) {
    case POWER:
        if (!(*status >> POWER & 1)) {
            *status = 1u << POWER;
            port_look(h, port);
        }
        return USB_OK;
    case RESET:
        if (!u || !(*status >> CONNECTION & 1))
            return USB_OK;
        usb_reset(u);
        *status = (uint16_t)((*status & ~(1u << SUSPEND)) | 1u << ENABLE);
        port_change(h, port, RESET);
        return USB_OK;
    case SUSPEND:
        if (*status >> ENABLE & 1)
            *status |= 1u << SUSPEND;
        return USB_OK;
    case TEST:
    case INDICATOR: return USB_OK;
    default: return USB_STALL;
    }
}

static enum usb_result port_clear(struct usb_hub *h, unsigned port, unsigned feature)
{
    uint16_t *status = &h->status[port];
    if (feature >= FIRST_CHANGE + CONNECTION && feature <= FIRST_CHANGE + RESET) {
        h->changes[port] &= (uint16_t) ~(1u << (feature - FIRST_CHANGE));
        return USB_OK;
    }
    switch (feature) {
    case ENABLE: *status &= (uint16_t) ~(1u << ENABLE | 1u << SUSPEND); return USB_OK;
    case SUSPEND:
        if (*status >> SUSPEND & 1) {
            *status &= (uint16_t) ~(1u << SUSPEND);
            port_change(h, port, SUSPEND);
        }
        return USB_OK;
    case POWER: *status = h->changes[port] = 0; return USB_OK;
    case INDICATOR: return USB_OK;
    default: return USB_STALL;
    }
}

/* ---- requests: 11.24 --------------------------------------------------------------------------------------------- */
static enum usb_result get_descriptor(struct usb_hub *h, struct usb_packet *p)
{
    uint8_t bitmap = (uint8_t)(h->n_ports / 8 + 1); /* bytes for ports from 1 */
    uint8_t d[11] = { (uint8_t)(7 + 2 * bitmap),
                      D_HUB,
                      h->n_ports,
                      PORT_POWER_SWITCHES | PORT_OVER_CURRENT,
                      0,
                      POWER_GOOD };
    memset(d + 7 + bitmap, 0xff, bitmap); /* 11.23.2.1: as USB 1.0 wants it */
    if (p->setup[3] != D_HUB)
        return USB_STALL;
    usb_move(p, d, d[0]);
    return USB_OK;
}

static enum usb_result port_request(struct usb_hub *h, struct usb_packet *p)
{
    unsigned port = p->setup[4], feature = p->setup[2];
    uint8_t status[4];
    if (!port || port > h->n_ports)
        return USB_STALL;
    port--;
    switch (p->setup[0] << 8 | p->setup[1]) {
    case SET_PORT_FEATURE: return port_set(h, port, feature);
    case CLEAR_PORT_FEATURE: return port_clear(h, port, feature);
    default:
        store_le(status, 2, h->status[port]);
        store_le(status + 2, 2, h->changes[port]);
        usb_move(p, status, sizeof(status));
        return USB_OK;
    }
}

static enum usb_result control(struct usb_device *u, struct usb_packet *p)
{
    struct usb_hub *h = hub_of(u);
    uint8_t none[4] = { 0 };
    switch (p->setup[0] << 8 | p->setup[1]) {
    case GET_DESCRIPTOR: return get_descriptor(h, p);
    case GET_HUB_STATUS: usb_move(p, none, sizeof(none)); return USB_OK;
    case CLEAR_HUB_FEATURE:
    case SET_HUB_FEATURE:
        return p->setup[2] <= 1 ? USB_OK : USB_STALL; /* of power that is always good */
    case CLEAR_TT_BUFFER:
    case RESET_TT:
    case STOP_TT: return USB_OK;
    case GET_PORT_STATUS:
    case SET_PORT_FEATURE:
    case CLEAR_PORT_FEATURE: return u->configuration ? port_request(h, p) : USB_STALL;
    default: return USB_STALL;
    }
}

/* 11.12.4: which ports have changed, bit by bit from 1. */
static enum usb_result transfer(struct usb_device *u, struct usb_packet *p)
{
    const struct usb_hub *h = hub_of(u);
    uint32_t changed = 0;
    uint8_t report[2];
    for (unsigned i = 0; i < h->n_ports; i++)
        changed |= (h->changes[i] != 0) << (i + 1);
    if (!changed)
        return USB_NAK;
    store_le(report, 2, changed);
    usb_move(p, report, h->n_ports / 8 + 1u);
    return USB_OK;
}

static void cancel(struct usb_device *u, struct usb_packet *p)
{
}

static void forget_driver(struct usb_device *u)
{
    struct usb_hub *h = hub_of(u);
    memset(h->status, 0, sizeof(h->status));
    memset(h->changes, 0, sizeof(h->changes));
}

static const struct usb_endpoint endpoints[] = {
    { .address = ENDPOINT,
      .attributes = 3,
      .size = { [USB_HIGH] = 2 },
      .interval = { [USB_HIGH] = 12 } },
};
static const struct usb_interface interfaces[] = {
    { 9, 0, 0, NULL, 0, TABLE(endpoints) },
};
static const struct usb_model model = {
    .vendor = 0x0409,
    .product = 0x55aa,
    .release = 0x0101,
    .manufacturer = "Tandem",
    .name = "USB Hub",
    .class = 9,
    .protocol = 1, /* one transaction translator, 11.23.1 */
    .attributes = 0xe0,
    .speeds = 1 << USB_HIGH,
    .interfaces = TABLE(interfaces),
    .control = control,
    .transfer = transfer,
    .cancel = cancel,
    .reset = forget_driver,
    .configured = forget_driver,
};

/* ---- what is behind it ------------------------------------------------------------------------------------------- */
static void attached(struct usb_bus *bus, unsigned port)
{
    port_look(hub_of_bus(bus), port);
}

static void forget(struct usb_bus *bus, struct usb_device *u)
{
    struct usb_bus *up = bus->hub->bus;
    if (up)
        up->ops->forget(up, u);
}

/* 11.9: a device that may wakes its port, and that the hub's. */
static void wakeup(struct usb_bus *bus, struct usb_device *u, uint8_t endpoint)
{
    struct usb_hub *h = hub_of_bus(bus);
    struct usb_bus *up = bus->hub->bus;
    if (u->bus == bus && u->remote_wakeup && h->status[u->port] >> SUSPEND & 1) {
        h->status[u->port] &= (uint16_t) ~(1u << SUSPEND);
        port_change(h, u->port, SUSPEND);
    }
    if (up)
        up->ops->wakeup(up, u, endpoint);
}

static void done(struct usb_bus *bus, struct usb_packet *p)
{
    struct usb_bus *up = bus->hub->bus;
    if (up)
        up->ops->done(up, p);
}

static const struct usb_host_ops ops = { attached, attached, forget, wakeup, done };

/* ---- life -------------------------------------------------------------------------------------------------------- */
static struct error *hub_realize(struct device *dev)
{
    struct usb_hub *h = container_of(dev, struct usb_hub, u.dev);
    h->bus.ops = &ops;
    h->bus.n_ports = h->n_ports;
    for (unsigned i = 0; i < h->n_ports; i++)
        h->bus.ports[i].speeds = 1 << USB_LOW | 1 << USB_FULL | 1 << USB_HIGH;
    h->u.hub = &h->bus;
    return usb_attach(&h->u, &model);
}

static void hub_unrealize(struct device *dev)
{
    usb_detach(&container_of(dev, struct usb_hub, u.dev)->u);
}

static void hub_reset(struct device *dev)
{
    usb_reset(&container_of(dev, struct usb_hub, u.dev)->u);
}

static const struct prop hub_props[] = {
    USB_PROPS(struct usb_hub, u),
    PROP(struct usb_hub, n_ports, "ports", PROP_UINT, .def = "8", .min = 1, .max = MAX_PORTS,
         .help = "how many"),
};
static const struct field hub_state[] = {
    USB_STATE(struct usb_hub, u),
    FIELD_ARRAY(struct usb_hub, status),
    FIELD_ARRAY(struct usb_hub, changes),
    DERIVED(struct usb_hub, bus),
};

const struct device_class usb_hub_class = {
    .name = "usb-hub",
    .desc = "USB hub",
    .bus = "usb-bus",
    .version = 1,
    .user_creatable = true,
    .can_hot_plug = true,
    .size = sizeof(struct usb_hub),
    .props = TABLE(hub_props),
    .state = TABLE(hub_state),
    .realize = hub_realize,
    .unrealize = hub_unrealize,
    .reset = hub_reset,
};
