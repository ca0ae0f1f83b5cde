/* What all USB devices do: standard requests, descriptors from tables, coming and going. */
#include "hw/usb/usb.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/usb/xhci.h"

#include <stdio.h>
#include <stdlib.h>

/* bmRequestType and bRequest, 9.3 and 9.4; 3.2, 9.4 */
enum { TYPE_MASK = 0x60, TO_DEVICE = 0, TO_INTERFACE = 1, TO_ENDPOINT = 2 };
enum {
    GET_STATUS = 0,
    CLEAR_FEATURE = 1,
    SET_FEATURE = 3,
    SET_ADDRESS = 5,
    GET_DESCRIPTOR = 6,
    GET_CONFIGURATION = 8,
    SET_CONFIGURATION = 9,
    GET_INTERFACE = 10,
    SET_INTERFACE = 11,
    SET_SEL = 48,
    SET_ISOCH_DELAY = 49,
};
enum { ENDPOINT_HALT = 0, REMOTE_WAKEUP = 1, U1_ENABLE = 48, LTM_ENABLE = 50 };
enum {
    D_DEVICE = 1,
    D_CONFIG = 2,
    D_STRING = 3,
    D_INTERFACE = 4,
    D_ENDPOINT = 5,
    D_QUALIFIER = 6,
    D_OTHER_SPEED = 7,
    D_BOS = 15,
    D_CAPABILITY = 16,
    D_COMPANION = 48,
};
enum { TEXT_MANUFACTURER = 1, TEXT_PRODUCT, TEXT_SERIAL };
enum { MAX_DESCRIPTOR = 256 };
#define NAMELESS "usb-bus." /* a number follows */

/* ---- packets -------------------------------------------------------------------------------------------- */
uint32_t usb_move(struct usb_packet *p, void *data, uint32_t n)
{
    n = MIN(n, p->size - p->actual);
    if (!n)
        return 0;
    if (p->in)
        memcpy(p->data + p->actual, data, n);
    else
        memcpy(data, p->data + p->actual, n);
    p->actual += n;
    return n;
}

/* ---- descriptors ---------------------------------------------------------------------------------------- */
static uint32_t put_device(const struct usb_device *u, uint8_t *to)
{
    const struct usb_model *m = u->model;
    uint16_t version = u->speed == USB_SUPER ? 0x0300 : 0x0200;
    uint8_t packet = u->speed == USB_SUPER ? 9 : u->speed == USB_LOW ? 8 : 64;
    uint8_t d[18] = { 18, D_DEVICE, [4] = m->class, m->subclass, m->protocol, packet };
    store_le(d + 2, 2, version);
    store_le(d + 8, 2, m->vendor);
    store_le(d + 10, 2, m->product);
    store_le(d + 12, 2, m->release);
    d[14] = TEXT_MANUFACTURER;
    d[15] = TEXT_PRODUCT;
    d[16] = u->serial || m->serial ? TEXT_SERIAL : 0;
    d[17] = 1;
    memcpy(to, d, sizeof(d));
    return sizeof(d);
}

static uint32_t put_endpoint(const struct usb_endpoint *e, unsigned speed, uint8_t *to)
{
    uint8_t d[] = { 7, D_ENDPOINT, e->address, e->attributes, 0, 0, e->interval[speed] };
    uint8_t companion[] = { 6, D_COMPANION, e->burst, 0, 0, 0 };
    store_le(d + 4, 2, e->size[speed]);
    memcpy(to, d, sizeof(d));
    if (speed != USB_SUPER)
        return sizeof(d);
    if ((e->attributes & 3) == 3) /* bytes an interval */
        store_le(companion + 4, 2, e->size[speed] * (1u + e->burst));
    memcpy(to + sizeof(d), companion, sizeof(companion));
    return sizeof(d) + sizeof(companion);
}

/* The configuration with all that belongs to it, as of this speed. */
static uint32_t put_config(const struct usb_device *u, uint8_t kind, unsigned speed, uint8_t *to)
{
    const struct usb_model *m = u->model;
    uint8_t power = speed == USB_SUPER ? (uint8_t)(m->power / 4) : m->power; /* 8 mA there */
    uint8_t head[] = { 9, kind, 0, 0, (uint8_t)m->interfaces.n, 1, 0, m->attributes, power };
    uint32_t n = sizeof(head);
    for (size_t i = 0; i < m->interfaces.n; i++) {
        const struct usb_interface *f = &m->interfaces.at[i];
        uint8_t d[] = { 9,        D_INTERFACE, (uint8_t)i,  0, (uint8_t)f->endpoints.n,
                        f->class, f->subclass, f->protocol, 0 };
        memcpy(to + n, d, sizeof(d));
        n += (uint32_t)sizeof(d);
        if (f->n_extra)
            memcpy(to + n, f->extra, f->n_extra);
        n += f->n_extra;
        for (size_t j = 0; j < f->endpoints.n; j++)
            n += put_endpoint(&f->endpoints.at[j], speed, to + n);
    }
    store_le(head + 2, 2, n);
    memcpy(to, head, sizeof(head));
    return n;
}

static uint32_t put_string(const struct usb_device *u, unsigned index, uint8_t *to)
{
    const char *texts[] = { "", u->model->manufacturer, u->model->name,
                            u->serial ? u->serial : u->model->serial };
    if (index >= ARRAY_LEN(texts) || !texts[index])
        return 0;
    uint32_t n = (uint32_t)strnlen(texts[index], 126);
    for (uint32_t i = 0; i < n; i++)
        store_le(to + 2 + 2 * i, 2, (uint8_t)texts[index][i]);
    if (index == 0) { /* which languages there are: English */
        store_le(to + 2, 2, 0x0409);
        n = 1;
    }
    to[0] = (uint8_t)(2 + 2 * n);
    to[1] = D_STRING;
    return to[0];
}

/* The device at the other of full and high speed, if it can do both. */
static uint32_t put_other(const struct usb_device *u, uint8_t kind, uint8_t *to)
{
    unsigned other = u->speed == USB_HIGH ? USB_FULL : USB_HIGH;
    if (u->speed == USB_SUPER || !(u->model->speeds >> other & 1))
        return 0;
    if (kind == D_OTHER_SPEED)
        return put_config(u, kind, other, to);
    const struct usb_model *m = u->model;
    uint8_t d[] = { 10, kind, 0, 2, m->class, m->subclass, m->protocol, 64, 1, 0 };
    memcpy(to, d, sizeof(d));
    return sizeof(d);
}

/* 3.2, 9.6.2: what a device that knows USB 3 can do. */
static uint32_t put_bos(const struct usb_device *u, uint8_t *to)
{
    static const uint8_t d[] = {
        5,  D_BOS,        22, 0, 2,          /* head */
        7,  D_CAPABILITY, 2,  2, 0,    0, 0, /* USB 2.0 extension: link power management */
        10, D_CAPABILITY, 3,  0, 0x0e, 0, 1, 0, 0,
        0, /* full, high, 5 Gb/s; all it does from full on */
    };
    if (u->speed != USB_SUPER)
        return 0;
    memcpy(to, d, sizeof(d));
    return sizeof(d);
}

static enum usb_result get_descriptor(struct usb_device *u, struct usb_packet *p)
{
    uint8_t buffer[MAX_DESCRIPTOR];
    uint32_t n = 0;
    switch (p->setup[3]) {
    case D_DEVICE: n = put_device(u, buffer); break;
    case D_CONFIG: n = p->setup[2] ? 0 : put_config(u, D_CONFIG, u->speed, buffer); break;
    case D_STRING: n = put_string(u, p->setup[2], buffer); break;
    case D_QUALIFIER:
    case D_OTHER_SPEED: n = put_other(u, p->setup[3], buffer); break;
    case D_BOS: n = put_bos(u, buffer); break;
    default: break;
    }
    if (!n)
        return USB_STALL;
    usb_move(p, buffer, n);
    return USB_OK;
}

/* ---- requests: 9.4 -------------------------------------------------------------------------------------- */
static bool has_endpoint(const struct usb_device *u, uint8_t address)
{
    if (!(address & 0x7f))
        return true;
    for (size_t i = 0; i < u->model->interfaces.n; i++) {
        const struct usb_interface *f = &u->model->interfaces.at[i];
        for (size_t j = 0; j < f->endpoints.n; j++)
            if (f->endpoints.at[j].address == address)
                return true;
    }
    return false;
}

static enum usb_result set_configuration(struct usb_device *u, unsigned value)
{
    if (value > 1)
        return USB_STALL;
    u->configuration = (uint8_t)value;
    u->halted[0] = u->halted[1] = 0;
    u->model->configured(u);
    return USB_OK;
}

static enum usb_result set_feature(struct usb_device *u, const uint8_t *setup, bool on)
{
    unsigned feature = setup[2] | setup[3] << 8, to = setup[0] & 0x1f;
    uint8_t endpoint = setup[4];
    if (to == TO_ENDPOINT && feature == ENDPOINT_HALT && has_endpoint(u, endpoint)) {
        uint16_t bit = (uint16_t)(1u << (endpoint & 15)), *halted = &u->halted[endpoint >> 7];
        *halted = on && endpoint & 15 ? *halted | bit : *halted & ~bit;
        return USB_OK;
    }
    if (to == TO_DEVICE && feature == REMOTE_WAKEUP && u->model->attributes & 0x20) {
        u->remote_wakeup = on;
        return USB_OK;
    }
    bool power = to == TO_DEVICE && feature >= U1_ENABLE && feature <= LTM_ENABLE;
    bool suspend = to == TO_INTERFACE && feature == 0;
    return u->speed == USB_SUPER && (power || suspend) ? USB_OK : USB_STALL;
}

static enum usb_result get_status(struct usb_device *u, struct usb_packet *p)
{
    uint8_t status[2] = { 0, 0 }, endpoint = p->setup[4];
    switch (p->setup[0] & 0x1f) {
    case TO_DEVICE: status[0] = (u->model->attributes >> 6 & 1) | u->remote_wakeup << 1; break;
    case TO_INTERFACE: break;
    case TO_ENDPOINT:
        if (!has_endpoint(u, endpoint))
            return USB_STALL;
        status[0] = u->halted[endpoint >> 7] >> (endpoint & 15) & 1;
        break;
    default: return USB_STALL;
    }
    usb_move(p, status, 2);
    return USB_OK;
}

static enum usb_result interface_request(struct usb_device *u, struct usb_packet *p)
{
    uint8_t none = 0;
    if (!u->configuration || p->setup[4] >= u->model->interfaces.n)
        return USB_STALL;
    if (p->setup[1] == GET_INTERFACE) {
        usb_move(p, &none, 1);
        return USB_OK;
    }
    return p->setup[2] ? USB_STALL : USB_OK; /* there is no other setting */
}

static enum usb_result standard_request(struct usb_device *u, struct usb_packet *p)
{
    switch (p->setup[1]) {
    case GET_STATUS: return get_status(u, p);
    case CLEAR_FEATURE:
    case SET_FEATURE: return set_feature(u, p->setup, p->setup[1] == SET_FEATURE);
    case SET_ADDRESS: u->address = p->setup[2] & 0x7f; return USB_OK;
    case GET_DESCRIPTOR:
        /* Descriptors of an interface belong to its class. */
        return (p->setup[0] & 0x1f) == TO_DEVICE ? get_descriptor(u, p) : u->model->control(u, p);
    case GET_CONFIGURATION: usb_move(p, &u->configuration, 1); return USB_OK;
    case SET_CONFIGURATION: return set_configuration(u, p->setup[2]);
    case GET_INTERFACE:
    case SET_INTERFACE: return interface_request(u, p);
    case SET_SEL:
    case SET_ISOCH_DELAY: return u->speed == USB_SUPER ? USB_OK : USB_STALL;
    default: return USB_STALL;
    }
}

static enum usb_result control(struct usb_device *u, struct usb_packet *p)
{
    uint32_t length = (uint32_t)load_le(p->setup + 6, 2);
    bool in = p->setup[0] & 0x80;
    if (length && in != p->in)
        return USB_STALL;
    if (!in && p->size != length)
        return USB_STALL;
    p->in = in;
    p->size = MIN(p->size, length);
    return p->setup[0] & TYPE_MASK ? u->model->control(u, p) : standard_request(u, p);
}

enum usb_result usb_submit(struct usb_packet *p)
{
    struct usb_device *u = p->dev;
    p->actual = 0;
    if (!p->endpoint)
        return p->result = control(u, p);
    if (!u->configuration || u->halted[p->in] >> p->endpoint & 1 ||
        !has_endpoint(u, p->endpoint | (p->in ? 0x80 : 0)))
        return p->result = USB_STALL;
    p->result = u->model->transfer(u, p);
    if (p->result == USB_STALL)
        u->halted[p->in] |= (uint16_t)(1u << p->endpoint);
    return p->result;
}

void usb_cancel(struct usb_packet *p)
{
    p->dev->model->cancel(p->dev, p);
}

void usb_done(struct usb_packet *p)
{
    if (p->result == USB_STALL)
        p->dev->halted[p->in] |= (uint16_t)(1u << p->endpoint);
    if (p->dev->bus)
        p->dev->bus->ops->done(p->dev->bus, p);
}

void usb_wakeup(struct usb_device *u, uint8_t endpoint)
{
    if (u->bus)
        u->bus->ops->wakeup(u->bus, u, endpoint);
}

void usb_reset(struct usb_device *u)
{
    u->address = u->configuration = u->remote_wakeup = 0;
    u->halted[0] = u->halted[1] = 0;
    u->model->reset(u);
}

/* ---- coming and going ----------------------------------------------------------------------------------- */
void usb_bus_init(struct usb_bus *bus, struct device *host, const struct usb_host_ops *ops)
{
    unsigned n = 0;
    for (struct device *d = host->vm->devices; d && d != host; d = d->next)
        n += !d->id && usb_bus_of(d);
    if (host->id)
        snprintf(bus->name, sizeof(bus->name), "%.130s.0", host->id);
    else
        snprintf(bus->name, sizeof(bus->name), NAMELESS "%u", n);
    bus->host = host;
    bus->ops = ops;
}

struct usb_bus *usb_bus_of(struct device *dev)
{
    return dev->realized ? xhci_bus(dev) : NULL;
}

/* The fastest that both can do; USB_NONE: they have nothing in common. */
static uint32_t common_speed(const struct usb_model *m, const struct usb_bus *bus, unsigned port)
{
    static const uint8_t fastest_first[] = { USB_SUPER, USB_HIGH, USB_FULL, USB_LOW };
    for (size_t i = 0; i < ARRAY_LEN(fastest_first); i++)
        if (m->speeds & bus->ports[port].speeds & 1u << fastest_first[i])
            return fastest_first[i];
    return USB_NONE;
}

static bool take_port(struct usb_device *u, struct usb_bus *bus, unsigned port)
{
    if (bus->ports[port].dev)
        return false;
    u->speed = common_speed(u->model, bus, port);
    u->port = port;
    u->bus = bus;
    return u->speed != USB_NONE && (!u->hub || bus->depth < USB_MAX_HUBS);
}

/* "1.2": port 2 of the hub at port 1. */
static bool find_named_port(struct usb_device *u, struct usb_bus *bus, const char *name)
{
    char *end;
    unsigned long n = *name >= '1' && *name <= '9' ? strtoul(name, &end, 10) : 0;
    if (!n || n > bus->n_ports)
        return false;
    if (!*end)
        return take_port(u, bus, (unsigned)n - 1);
    const struct usb_device *hub = bus->ports[n - 1].dev;
    return *end == '.' && hub && hub->hub && find_named_port(u, hub->hub, end + 1);
}

/* Those of the controller before those of hubs. */
static bool find_any_port(struct usb_device *u, struct usb_bus *bus)
{
    for (unsigned i = 0; i < bus->n_ports; i++)
        if (take_port(u, bus, i))
            return true;
    for (unsigned i = 0; i < bus->n_ports; i++) {
        const struct usb_device *hub = bus->ports[i].dev;
        if (hub && hub->hub && find_any_port(u, hub->hub))
            return true;
    }
    return false;
}

/* libvirt has "usb.0" for the bus of -usb. Nothing is named so but by a controller's id. */
static bool is_bus(const struct usb_bus *bus, const char *name)
{
    if (!name || !strcmp(bus->name, name))
        return true;
    return !bus->host->id && !strncmp(name, "usb.", 4) &&
           !strcmp(name + 4, bus->name + strlen(NAMELESS)) && !device_find(bus->host->vm, "usb");
}

/* Sets bus, port and speed. */
static struct error *find_place(struct usb_device *u)
{
    bool any = false, named = false;
    for (struct device *d = u->dev.vm->devices; d; d = d->next) {
        struct usb_bus *bus = usb_bus_of(d);
        any |= bus != NULL;
        if (!bus || !is_bus(bus, u->bus_name))
            continue;
        named = true;
        if (u->port_name ? find_named_port(u, bus, u->port_name) : find_any_port(u, bus))
            return NULL;
    }
    u->bus = NULL;
    if (!any)
        return error_new(
            "No 'usb-bus' bus found for device '%s'; -usb or -device qemu-xhci before it makes one",
            u->dev.cls->name);
    if (!named)
        return error_new("bus='%s' is not a USB controller's: its id and .0", u->bus_name);
    if (u->port_name)
        return error_new("port='%s' is not a free port of the bus", u->port_name);
    return error_new(
        "no free port on the bus; -device qemu-xhci,p2=15,p3=15 has more, and so has usb-hub");
}

static void plugged(struct device *dev)
{
}

static struct error *unplug(struct device *dev)
{
    device_unplugged(dev); /* the guest has no say: it is pulled out */
    return NULL;
}

static const struct hot_plug usb_hot_plug = { plugged, unplug };

struct usb_device *usb_device_of(struct device *dev)
{
    return dev->hot_plug == &usb_hot_plug ? container_of(dev, struct usb_device, dev) : NULL;
}

void usb_port_path(const struct usb_device *u, char path[USB_PATH_SIZE])
{
    size_t n = 0;
    path[0] = 0;
    if (u->bus && u->bus->hub) {
        usb_port_path(u->bus->hub, path);
        n = strlen(path);
    }
    snprintf(path + n, USB_PATH_SIZE - n, "%s%u", n ? "." : "", u->port + 1);
}

struct error *usb_attach(struct usb_device *u, const struct usb_model *model)
{
    char path[USB_PATH_SIZE];
    u->model = model;
    if (u->serial && strlen(u->serial) > 126)
        return error_new("serial number '%s' is longer than 126 characters", u->serial);
    struct error *err = find_place(u);
    if (err)
        return err;
    struct usb_bus *bus = u->bus;
    usb_port_path(u, path);
    u->dev.parent = bus->hub ? &bus->hub->dev : bus->host;
    u->dev.hot_plug = &usb_hot_plug;
    snprintf(u->dev.path, sizeof(u->dev.path), "%.46s/%s/%.23s", bus->host->path, path,
             u->dev.cls->name);
    usb_lock(bus);
    if (u->hub) {
        u->hub->host = bus->host;
        u->hub->hub = u;
        u->hub->depth = bus->depth + 1;
    }
    bus->ports[u->port].dev = u;
    usb_reset(u);
    bus->ops->attached(bus, u->port);
    usb_unlock(bus);
    return NULL;
}

void usb_orphan(struct usb_bus *bus)
{
    for (unsigned i = 0; i < bus->n_ports; i++) {
        struct usb_device *u = bus->ports[i].dev;
        if (!u)
            continue;
        u->bus = NULL;
        if (u->hub)
            usb_orphan(u->hub);
    }
}

void usb_detach(struct usb_device *u)
{
    struct usb_bus *bus = u->bus;
    if (!bus)
        return;
    usb_lock(bus);
    bus->ops->forget(bus, u);
    if (u->hub)
        usb_orphan(u->hub);
    bus->ports[u->port].dev = NULL;
    bus->ops->detached(bus, u->port);
    u->bus = NULL;
    usb_unlock(bus);
}

const struct field usb_device_fields[6] = {
    FIELD(struct usb_device, address, .max = 127),
    FIELD(struct usb_device, configuration, .max = 1),
    FIELD(struct usb_device, remote_wakeup, .max = 1),
    FIELD_ARRAY(struct usb_device, halted),
    DERIVED(struct usb_device, port),
    DERIVED(struct usb_device, speed),
};
