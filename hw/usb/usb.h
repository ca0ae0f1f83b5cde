/* USB: a bus with ports, which a host controller has; devices, whose descriptors are tables; packets,
 * which are private copies of what a guest sends and gets. Section numbers: USB 2.0; "3.2" ones: USB 3.2.
 *
 * Locks: everything about devices on a bus, their state included, is guarded by the lock of the host
 * controller's device (usb_lock). Functions of a class and of usb_host_ops are called with it held. A
 * device's own lock is taken by core alone, outside of it. */
#pragma once

#include "core/device.h"

struct usb_bus;
struct usb_device;

enum {
    USB_MAX_PORTS = 15,
    USB_MAX_ENDPOINT = 16,  /* numbers 0 to 15 */
    USB_MAX_CONTROL = 4096, /* bytes of a control transfer's data */
    USB_MAX_HUBS = 5,   /* in a row, 4.1.1 */
    USB_PATH_SIZE = 24, /* "1.2.15" */
};
/* As xHCI numbers them (7.2.1). */
enum usb_speed { USB_NONE, USB_FULL, USB_LOW, USB_HIGH, USB_SUPER };

/* How a packet ended; USB_NAK: nothing happened, again when usb_wakeup says so; USB_PENDING: usb_done
 * will tell. */
enum usb_result { USB_OK, USB_NAK, USB_STALL, USB_GONE, USB_PENDING };

/* One transfer: control with its setup packet, or a piece of what goes through a bulk or interrupt
 * endpoint. `data` belongs to the host controller until the packet ended or was cancelled. */
struct usb_packet {
    struct usb_device *dev;
    uint8_t endpoint; /* number */
    bool in;
    uint8_t setup[8]; /* endpoint 0 */
    uint8_t *data;
    uint32_t size, actual; /* bytes there is room for or that are there; that were used */
    enum usb_result result;
};
/* For devices: append to an IN packet, or take from an OUT packet, up to n bytes: how many. */
uint32_t usb_move(struct usb_packet *p, void *data, uint32_t n);

/* ---- descriptors: 9.6 -------------------------------------------------------------------------------- */
struct usb_endpoint {
    uint8_t address;              /* 0x80: IN */
    uint8_t attributes;           /* 2 bulk, 3 interrupt */
    uint16_t size[USB_SUPER + 1]; /* wMaxPacketSize by speed */
    uint8_t interval[USB_SUPER + 1];
    uint8_t burst; /* 3.2, 9.6.7: packets beyond the first */
};
struct usb_interface {
    uint8_t class, subclass, protocol;
    const uint8_t *extra; /* descriptors of the class, between interface and endpoints */
    uint8_t n_extra;
    struct {
        const struct usb_endpoint *at;
        size_t n;
    } endpoints;
};
struct usb_model {
    uint16_t vendor, product, release;
    const char *manufacturer, *name, *serial; /* serial: where the device has none of its own */
    uint8_t class, subclass, protocol;
    uint8_t attributes; /* of the only configuration: 0x80, 0x40 own power, 0x20 remote wake-up */
    uint8_t power;      /* in units of 2 mA */
    uint8_t speeds;     /* 1 << enum usb_speed */
    struct {
        const struct usb_interface *at;
        size_t n;
    } interfaces;
    /* All required. control: a request that is not a standard one, or not one of those that every device
     * answers alike; its data are p->data. transfer: bulk or interrupt. cancel: of a pending packet, which the
     * device forgets. reset: by the bus or at power-on. configured: the configuration was chosen anew. */
    enum usb_result (*control)(struct usb_device *u, struct usb_packet *p);
    enum usb_result (*transfer)(struct usb_device *u, struct usb_packet *p);
    void (*cancel)(struct usb_device *u, struct usb_packet *p);
    void (*reset)(struct usb_device *u);
    void (*configured)(struct usb_device *u);
};

/* ---- devices ------------------------------------------------------------------------------------------ */
struct usb_device {
    struct device dev;
    /* properties (USB_PROPS) */
    char *bus_name, *port_name, *serial;
    /* state */
    uint8_t address, configuration, remote_wakeup;
    uint16_t halted[2]; /* endpoints, OUT and IN */
    /* fixed at realize */
    const struct usb_model *model;
    struct usb_bus *bus; /* a controller's or a hub's; NULL: that went first */
    struct usb_bus *hub; /* what is behind a hub; NULL: it is none */
    unsigned port;       /* of the bus, from 0 */
    uint32_t speed;      /* enum usb_speed */
};
#define USB_PROPS(type, member)                                                                  \
    PROP(type, member.bus_name, "bus", PROP_STRING, .help = "a controller's id and .0: usb0.0"), \
        PROP(type, member.port_name, "port", PROP_STRING,                                        \
             .help = "number, from 1; 1.2: of the hub at 1; default: any free"),                 \
        PROP(type, member.serial, "serial", PROP_STRING,                                         \
             .help = "serial number in the descriptor")
extern const struct field usb_device_fields[6];
#define USB_STATE(type, member) FIELD_SUB(type, member, usb_device_fields, 1)

/* From a class's realize, unrealize and reset. Attach: choose a port of a bus and appear there. */
struct error *usb_attach(struct usb_device *u, const struct usb_model *model);
void usb_detach(struct usb_device *u);
/* By power or by the host, on its port. */
void usb_reset(struct usb_device *u);
/* The endpoint (with 0x80 for IN) has something to say where it said NAK before. Lock held. */
void usb_wakeup(struct usb_device *u, uint8_t endpoint);
/* A pending packet has ended: p->result and p->actual say how. Lock held. */
void usb_done(struct usb_packet *p);
static inline bool usb_configured(const struct usb_device *u)
{
    return u->configuration;
}

/* ---- buses, for host controllers ---------------------------------------------------------------------- */
struct usb_host_ops {
    void (*attached)(struct usb_bus *bus, unsigned port);
    void (*detached)(struct usb_bus *bus, unsigned port);
    /* Packets of a device that goes, here or behind a hub, are cancelled. */
    void (*forget)(struct usb_bus *bus, struct usb_device *u);
    void (*wakeup)(struct usb_bus *bus, struct usb_device *u, uint8_t endpoint);
    void (*done)(struct usb_bus *bus, struct usb_packet *p);
};
struct usb_bus {
    char name[136];         /* of a controller's; those of hubs have none */
    struct device *host;    /* the controller, whose lock guards it */
    struct usb_device *hub; /* that it is behind; NULL: it is the controller's */
    unsigned depth;         /* hubs on the way */
    const struct usb_host_ops *ops;
    unsigned n_ports;
    struct {
        uint8_t speeds; /* 1 << enum usb_speed */
        struct usb_device *dev;
    } ports[USB_MAX_PORTS];
};
/* "ID.0", or "usb-bus.0" where the controller has no id. */
void usb_bus_init(struct usb_bus *bus, struct device *host, const struct usb_host_ops *ops);
/* The bus that a controller carries; NULL: it is none. */
struct usb_bus *usb_bus_of(struct device *dev);
/* NULL: it is no USB device. */
struct usb_device *usb_device_of(struct device *dev);
/* Where it is plugged in: "2", "1.2". */
void usb_port_path(const struct usb_device *u, char path[USB_PATH_SIZE]);
/* The bus goes before what is plugged in. Lock held, or nobody looks any more. */
void usb_orphan(struct usb_bus *bus);
/* Start a packet. */
enum usb_result usb_submit(struct usb_packet *p);
void usb_cancel(struct usb_packet *p);

static inline void usb_lock(struct usb_bus *bus)
{
    device_lock(bus->host);
}
static inline void usb_unlock(struct usb_bus *bus)
{
    device_unlock(bus->host);
}
