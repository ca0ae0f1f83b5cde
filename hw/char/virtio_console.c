/* virtio console device (VIRTIO 1.3, 5.3): up to 32 ports, each a device of its own
 * (hw/char/virtio_port.c). Its lock also guards the ports. With max_ports=1 there is port 0 and no
 * control queues. */
#include "core/chardev.h"
#include "core/error.h"
#include "core/event.h"
#include "core/vm.h"
#include "hw/char/virtio_serial.h"
#include "hw/virtio/virtio.h"

#include <stdio.h>
#include <stdlib.h>

/* Feature bits, 5.3.3 */
enum { CONSOLE_F_MULTIPORT = 1, CONSOLE_F_EMERG_WRITE = 2 };

/* Control events, 5.3.6.2 */
enum {
    DEVICE_READY = 0,
    DEVICE_ADD = 1,
    DEVICE_REMOVE = 2,
    PORT_READY = 3,
    CONSOLE_PORT = 4,
    PORT_OPEN = 6,
    PORT_NAME = 7,
};

/* What a port owes the driver, in the order it is sent. */
enum { OWE_ADD = 1 << 0, OWE_CONSOLE = 1 << 1, OWE_NAME = 1 << 2, OWE_OPEN = 1 << 3 };

enum {
    MAX_PORTS = 32,
    QUEUE_SIZE = 128,
    CONTROL_SIZE = 8,
    NAME_MAX_SIZE = 64,
    CONFIG_SIZE = 12,
    CONFIG_EMERG = 8,
    MAX_WRITE = 1 << 20, /* bytes in one chain from the guest */
    /* queue numbers, 5.3.2 */
    CONTROL_IN = 2,
    CONTROL_OUT = 3,
};

struct virtio_serial {
    struct virtio_device v;
    /* properties */
    uint32_t max_ports;
    bool emergency_write;

    /* state */
    bool driver_ready;
    uint32_t removed; /* ports the driver has to be told are gone */

    struct virtio_port *ports[MAX_PORTS];
};

static const struct virtio_model serial_model;

static struct virtio_serial *serial_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_serial, v);
}

static bool is_multiport(const struct virtio_serial *s)
{
    return virtio_has(&s->v, CONSOLE_F_MULTIPORT);
}

static struct virtq *in_queue(struct virtio_serial *s, unsigned nr)
{
    return &s->v.queues[nr ? 2 * nr + 2 : 0];
}

/* The port a data queue belongs to, or NULL. */
static struct virtio_port *port_of_queue(struct virtio_serial *s, unsigned index)
{
    unsigned nr = index < 2 ? 0 : index / 2 - 1;
    return nr < s->max_ports && (nr == 0 || is_multiport(s)) ? s->ports[nr] : NULL;
}

/* ---- control messages to the driver --------------------------------------------------------------- */
static bool send_control(struct virtio_serial *s, unsigned nr, unsigned event, unsigned value,
                         const char *text)
{
    uint8_t raw[CONTROL_SIZE + NAME_MAX_SIZE];
    size_t n = strnlen(text, NAME_MAX_SIZE);
    struct virtq_chain *c = virtq_pop(&s->v.queues[CONTROL_IN]);
    if (!c)
        return false;
    store_le(raw, 4, nr);
    store_le(raw + 4, 2, event);
    store_le(raw + 6, 2, value);
    memcpy(raw + CONTROL_SIZE, text, n);
    virtq_push(c, (uint32_t)chain_write(c, 0, raw, CONTROL_SIZE + n));
    return true;
}

/* Send what port nr owes until the driver has no buffers. */
static bool send_owed(struct virtio_serial *s, struct virtio_port *p)
{
    const struct {
        uint32_t bit;
        unsigned event, value;
        const char *text;
    } messages[] = {
        { OWE_ADD, DEVICE_ADD, 1, "" },
        { OWE_CONSOLE, CONSOLE_PORT, 1, "" },
        { OWE_NAME, PORT_NAME, 1, p->name ? p->name : "" },
        { OWE_OPEN, PORT_OPEN, p->host_open, "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        if (!(p->owed & messages[i].bit))
            continue;
        if (!send_control(s, p->nr, messages[i].event, messages[i].value, messages[i].text))
            return false;
        p->owed &= ~messages[i].bit;
    }
    return true;
}

static void flush_control(struct virtio_serial *s)
{
    if (!s->driver_ready || !is_multiport(s))
        return;
    bool room = true;
    for (; s->removed && room; s->removed &= room ? s->removed - 1 : ~0u)
        room = send_control(s, (unsigned)__builtin_ctz(s->removed), DEVICE_REMOVE, 1, "");
    for (unsigned nr = 0; nr < s->max_ports && room; nr++)
        if (s->ports[nr])
            room = send_owed(s, s->ports[nr]);
    virtq_notify(&s->v.queues[CONTROL_IN]);
}

/* ---- control messages from the driver --------------------------------------------------------------- */
static void driver_is_ready(struct virtio_serial *s, bool ready)
{
    s->driver_ready = ready;
    for (unsigned nr = 0; nr < s->max_ports; nr++)
        if (s->ports[nr])
            s->ports[nr]->owed = ready ? OWE_ADD : 0;
}

static void port_is_ready(struct virtio_port *p)
{
    p->owed |= virtio_port_is_console(p) ? OWE_CONSOLE : 0;
    p->owed |= p->name && *p->name ? OWE_NAME : 0;
    p->owed |= p->host_open ? OWE_OPEN : 0;
}

static void flush_input(struct virtio_serial *s, struct virtio_port *p);

static void set_guest_open(struct virtio_port *p, bool open)
{
    if (p->guest_open == open)
        return;
    p->guest_open = open;
    if (virtio_port_is_console(p))
        return;
    if (p->chardev)
        chardev_set_front_open(p->chardev, open);
    event_tell(p->dev.vm, EVENT_VSERPORT_CHANGE, EVENT_TEXT("id", p->dev.id ? p->dev.id : ""),
               EVENT_FLAG("open", open));
}

static void take_control(struct virtio_serial *s, const struct virtq_chain *c)
{
    uint8_t raw[CONTROL_SIZE];
    if (chain_read(c, 0, raw, sizeof(raw)) < sizeof(raw))
        return;
    uint32_t nr = (uint32_t)load_le(raw, 4);
    unsigned event = (unsigned)load_le(raw + 4, 2), value = (unsigned)load_le(raw + 6, 2);
    if (event == DEVICE_READY) {
        driver_is_ready(s, value);
        return;
    }
    struct virtio_port *p = nr < s->max_ports ? s->ports[nr] : NULL;
    if (!p) {
        device_broken(&s->v.dev, "control event %u for port %u, which is not there", event, nr);
        return;
    }
    if (event == PORT_READY && value) {
        port_is_ready(p);
    } else if (event == PORT_OPEN) {
        set_guest_open(p, value);
        flush_input(s, p);
    }
}

/* ---- data ---------------------------------------------------------------------------------------------- */
static void flush_input(struct virtio_serial *s, struct virtio_port *p)
{
    struct virtq *q = in_queue(s, p->nr);
    uint32_t sent = 0;
    if (is_multiport(s) ? !p->guest_open : p->nr != 0)
        return;
    while (sent < p->n_in) {
        struct virtq_chain *c = virtq_pop(q);
        if (!c)
            break;
        size_t n = chain_write(c, 0, p->in + sent, p->n_in - sent);
        virtq_push(c, (uint32_t)n);
        sent += (uint32_t)n;
    }
    if (!sent)
        return;
    memmove(p->in, p->in + sent, p->n_in - sent);
    p->n_in -= sent;
    virtq_notify(q);
    if (p->chardev)
        chardev_accept(p->chardev);
}

/* False: the chardev is full; p->out_at says how far it got. */
static bool write_chain(struct virtio_port *p, const struct virtq_chain *c)
{
    uint8_t buf[4096];
    for (;;) {
        size_t space = virtio_port_is_console(p) ? chardev_console_space(p->chardev)
                                                 : chardev_space(p->chardev);
        space = MIN(space, sizeof(buf));
        if (!space)
            return false;
        size_t n = chain_read(c, p->out_at, buf, space);
        if (!n)
            break;
        chardev_write(p->chardev, buf, n);
        p->out_at += (uint32_t)n;
    }
    p->out_at = 0;
    return true;
}

static void handle_output(struct virtio_serial *s, struct virtq *q)
{
    struct virtio_port *p = port_of_queue(s, q->index);
    struct virtq_chain *c;
    while ((c = virtq_pop(q))) {
        if (c->readable_len > MAX_WRITE) {
            virtio_broken(&s->v, "write of %llu bytes", (unsigned long long)c->readable_len);
        } else if (p && p->chardev && !write_chain(p, c)) {
            virtq_unpop(c); /* virtio_serial_writable goes on */
            break;
        }
        virtq_push(c, 0);
    }
    virtq_notify(q);
}

static void handle_control(struct virtio_serial *s, struct virtq *q)
{
    struct virtq_chain *c;
    while ((c = virtq_pop(q))) {
        take_control(s, c);
        virtq_push(c, 0);
    }
    virtq_notify(q);
    flush_control(s);
}

static void handle_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtio_serial *s = serial_of(v);
    struct virtio_port *p = port_of_queue(s, q->index);
    if (q->index == CONTROL_OUT)
        handle_control(s, q);
    else if (q->index & 1)
        handle_output(s, q);
    else if (q->index == CONTROL_IN)
        flush_control(s);
    else if (p)
        flush_input(s, p);
}

/* ---- what the ports ask ---------------------------------------------------------------------------------- */
size_t virtio_serial_room(struct virtio_port *p)
{
    if (!p->serial)
        return 0;
    struct device *dev = &p->serial->v.dev;
    device_lock(dev);
    size_t room = PORT_BUFFER - p->n_in;
    device_unlock(dev);
    return room;
}

void virtio_serial_receive(struct virtio_port *p, const uint8_t *data, size_t n)
{
    if (!p->serial)
        return;
    struct device *dev = &p->serial->v.dev;
    device_lock(dev);
    n = MIN(n, PORT_BUFFER - p->n_in);
    memcpy(p->in + p->n_in, data, n);
    p->n_in += (uint32_t)n;
    flush_input(p->serial, p);
    device_unlock(dev);
}

void virtio_serial_writable(struct virtio_port *p)
{
    if (!p->serial)
        return;
    struct device *dev = &p->serial->v.dev;
    device_lock(dev);
    if (virtio_running(&p->serial->v))
        handle_output(p->serial, in_queue(p->serial, p->nr) + 1);
    device_unlock(dev);
}

void virtio_serial_host_open(struct virtio_port *p, bool open)
{
    if (!p->serial || virtio_port_is_console(p))
        return;
    struct device *dev = &p->serial->v.dev;
    device_lock(dev);
    if (p->host_open != open) {
        p->host_open = open;
        p->owed |= OWE_OPEN;
        flush_control(p->serial);
    }
    device_unlock(dev);
}

/* Does this device go by that bus name: its id or "virtio-serial-bus", with or without ".0"? */
static bool goes_by(const struct device *dev, const char *bus)
{
    size_t n = strlen(bus);
    if (n > 2 && !strcmp(bus + n - 2, ".0"))
        n -= 2;
    const char *names[] = { dev->id, "virtio-serial-bus" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (names[i] && strlen(names[i]) == n && !strncmp(names[i], bus, n))
            return true;
    return false;
}

static struct virtio_serial *find_serial(struct vm *vm, const char *bus)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next)
        if (dev->realized && dev->cls->bus_class == &serial_model && (!bus || goes_by(dev, bus)))
            return container_of(dev, struct virtio_serial, v.dev);
    return NULL;
}

/* Port 0 is where guests expect a console, so only consoles take it unasked. */
static struct error *choose_nr(const struct virtio_serial *s, struct virtio_port *p)
{
    uint32_t nr = p->nr;
    if (nr == UINT32_MAX)
        for (nr = virtio_port_is_console(p) || s->max_ports == 1 ? 0 : 1;
             nr < s->max_ports && s->ports[nr];)
            nr++;
    else if (nr >= s->max_ports)
        return error_new("nr=%u is not under max_ports=%u", nr, s->max_ports);
    if (nr >= s->max_ports)
        return error_new("all ports of '%s' are taken; max_ports= gives more", s->v.dev.path);
    if (s->ports[nr])
        return error_new("nr=%u is taken", nr);
    p->nr = nr;
    return NULL;
}

struct error *virtio_serial_plug(struct virtio_port *p)
{
    struct virtio_serial *s = find_serial(p->dev.vm, p->bus_name);
    if (!s && p->bus_name)
        return error_new("bus='%s' is not that of a virtio-serial device", p->bus_name);
    if (!s)
        return error_new("there is no virtio-serial device; -device virtio-serial-pci before it "
                         "makes one");
    if (p->name && strlen(p->name) >= NAME_MAX_SIZE)
        return error_new("name='%s' is longer than %d characters", p->name, NAME_MAX_SIZE - 1);
    device_lock(&s->v.dev);
    struct error *err = choose_nr(s, p);
    if (!err) {
        p->serial = s;
        p->dev.parent = &s->v.dev;
        s->ports[p->nr] = p;
        p->owed = s->driver_ready ? OWE_ADD : 0;
        flush_control(s);
    }
    device_unlock(&s->v.dev);
    return err;
}

void virtio_serial_unplug(struct virtio_port *p)
{
    struct virtio_serial *s = p->serial;
    if (!s)
        return;
    device_lock(&s->v.dev);
    s->ports[p->nr] = NULL;
    p->serial = NULL;
    if (s->driver_ready) {
        s->removed |= 1u << p->nr;
        flush_control(s);
    }
    device_unlock(&s->v.dev);
}

/* ---- configuration, 5.3.4 ----------------------------------------------------------------------------------- */
static void get_config(struct virtio_device *v, uint8_t *config)
{
    store_le(config + 4, 4, serial_of(v)->max_ports);
}

/* A character written before anything is set up, 5.3.4 emerg_wr. */
static void set_config(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n)
{
    struct virtio_serial *s = serial_of(v);
    struct virtio_port *p = s->ports[0];
    if (s->emergency_write && off == CONFIG_EMERG && p && p->chardev)
        chardev_write(p->chardev, data, 1);
}

/* ---- life ---------------------------------------------------------------------------------------------------- */
static void started(struct virtio_device *v)
{
    struct virtio_serial *s = serial_of(v);
    if (s->ports[0])
        flush_input(s, s->ports[0]);
}

static void reset(struct virtio_device *v)
{
    struct virtio_serial *s = serial_of(v);
    s->driver_ready = false;
    s->removed = 0;
    for (unsigned nr = 0; nr < s->max_ports; nr++)
        if (s->ports[nr]) {
            set_guest_open(s->ports[nr], false);
            s->ports[nr]->owed = 0;
            s->ports[nr]->out_at = 0;
        }
}

static struct error *realize(struct virtio_device *v)
{
    struct virtio_serial *s = serial_of(v);
    unsigned n_queues = s->max_ports == 1 ? 2 : 2 * (s->max_ports + 1);
    for (unsigned i = 0; i < n_queues; i++)
        virtio_add_queue(v, QUEUE_SIZE);
    v->features = (uint64_t)(s->max_ports > 1) << CONSOLE_F_MULTIPORT |
                  (uint64_t)s->emergency_write << CONSOLE_F_EMERG_WRITE;
    return NULL;
}

static void unrealize(struct virtio_device *v)
{
    struct virtio_serial *s = serial_of(v);
    for (unsigned nr = 0; nr < s->max_ports; nr++)
        if (s->ports[nr])
            s->ports[nr]->serial = NULL;
}

static const struct virtio_model serial_model = {
    .device_id = 3,
    .transitional_id = 0x1003,
    .pci_class = 0x078000,
    .config_size = CONFIG_SIZE,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .set_config = set_config,
    .started = started,
    .handle_queue = handle_queue,
    .reset = reset,
};

#define P(member, name, kind, ...) PROP(struct virtio_serial, member, name, kind, __VA_ARGS__)
#define SERIAL_PROPS                                                                  \
    ,                                                                                 \
        P(max_ports, "max_ports", PROP_UINT, .def = "31", .min = 1, .max = MAX_PORTS, \
          .help = "ports the guest may see"),                                         \
        P(emergency_write, "emergency-write", PROP_BOOL, .def = "on",                 \
          .help = "a character can be written through the configuration")
#define SERIAL_STATE \
    , FIELD(struct virtio_serial, driver_ready, .max = 1), FIELD(struct virtio_serial, removed)
VIRTIO_CLASSES(virtio_serial, "virtio-serial", "consoles and named ports", struct virtio_serial,
               serial_model, SERIAL_PROPS, SERIAL_STATE)
VIRTIO_LEGACY_CLASSES(virtio_serial, "virtio-serial", "consoles and named ports",
                      struct virtio_serial, serial_model)
