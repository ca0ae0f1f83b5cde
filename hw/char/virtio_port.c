/* Ports of a virtio-serial device: virtconsole (a terminal) and virtserialport (a named pipe). */
#include "core/chardev.h"
#include "core/error.h"
#include "hw/char/virtio_serial.h"

extern const struct device_class virtconsole_class, virtserialport_class;

static struct virtio_port *port_of(struct device *dev)
{
    return container_of(dev, struct virtio_port, dev);
}

bool virtio_port_is_console(const struct virtio_port *p)
{
    return p->dev.cls == &virtconsole_class;
}

static size_t port_room(void *opaque)
{
    return virtio_serial_room(opaque);
}

static void port_receive(void *opaque, const uint8_t *data, size_t n)
{
    virtio_serial_receive(opaque, data, n);
}

static void port_event(void *opaque, int event)
{
    if (event == CHARDEV_OPENED || event == CHARDEV_CLOSED)
        virtio_serial_host_open(opaque, event == CHARDEV_OPENED);
    if (event == CHARDEV_WRITABLE || event == CHARDEV_CLOSED)
        virtio_serial_writable(opaque);
}

/* The guest was told by realize, and will be by unrealize: it has no say. */
static void port_plugged(struct device *dev)
{
}

static struct error *port_unplug(struct device *dev)
{
    device_unplugged(dev);
    return NULL;
}

static const struct hot_plug port_hot_plug = { port_plugged, port_unplug };

static struct error *realize(struct device *dev)
{
    struct virtio_port *p = port_of(dev);
    dev->hot_plug = &port_hot_plug;
    /* A terminal is always there; a pipe opens with the first CHARDEV_OPENED. */
    p->host_open = virtio_port_is_console(p) || !p->chardev;
    struct error *err = virtio_serial_plug(p);
    if (!err && p->chardev)
        chardev_attach(p->chardev,
                       &(struct chardev_front){ port_room, port_receive, port_event, p });
    if (!err && p->chardev && !virtio_port_is_console(p))
        chardev_set_front_open(p->chardev, false);
    return err;
}

static void unrealize(struct device *dev)
{
    struct virtio_port *p = port_of(dev);
    if (p->chardev)
        chardev_detach(p->chardev);
    virtio_serial_unplug(p);
}

#define P(member, name, kind, ...) PROP(struct virtio_port, member, name, kind, __VA_ARGS__)
static const struct prop port_props[] = {
    P(chardev, "chardev", PROP_CHARDEV, .help = "id of a -chardev"),
    P(name, "name", PROP_STRING, .help = "what the guest finds it by"),
    P(nr, "nr", PROP_UINT, .def = "0xffffffff", .help = "port number; default: the first free"),
    P(bus_name, "bus", PROP_STRING, .help = "ID.0 of a virtio-serial device"),
};
static const struct field port_state[] = {
    FIELD(struct virtio_port, guest_open, .max = 1),
    FIELD(struct virtio_port, host_open, .max = 1),
    FIELD(struct virtio_port, owed),
    FIELD(struct virtio_port, n_in, .max = PORT_BUFFER),
    FIELD(struct virtio_port, out_at),
    FIELD_RAW(struct virtio_port, in),
};

#define PORT_CLASS(name_, desc_)                                                          \
    {                                                                                     \
        .name = (name_), .desc = (desc_), .bus = "virtio-serial", .version = 1,           \
        .user_creatable = true, .can_hot_plug = true, .size = sizeof(struct virtio_port), \
        .props = TABLE(port_props), .state = TABLE(port_state), .realize = realize,       \
        .unrealize = unrealize,                                                           \
    }
const struct device_class virtconsole_class =
    PORT_CLASS("virtconsole", "console port of a virtio-serial device");
const struct device_class virtserialport_class =
    PORT_CLASS("virtserialport", "named port of a virtio-serial device");
