/* Inside the console device: the port devices on a virtio-serial bus, and what they ask of it. */
#pragma once

#include "core/device.h"

struct chardev;
struct virtio_serial;

enum { PORT_BUFFER = 4096 };

struct virtio_port {
    struct device dev;
    /* properties */
    struct chardev *chardev;
    char *name, *bus_name;
    uint32_t nr; /* UINT32_MAX: the first free one */

    /* state; guarded by the lock of the virtio-serial device */
    bool guest_open;         /* somebody in the guest has it open */
    bool host_open;          /* somebody is at the other end of the chardev */
    uint32_t owed;           /* control messages still to be sent, by enum of virtio_serial.c */
    uint8_t in[PORT_BUFFER]; /* for the guest */
    uint32_t n_in;
    uint32_t out_at; /* bytes of the first chain in the output queue that are out already */

    struct virtio_serial *serial; /* NULL: the device went first */
};

/* The port's class is a console: the guest may offer a login on it. */
bool virtio_port_is_console(const struct virtio_port *p);
/* Take a place on the bus; NULL serial until then. */
struct error *virtio_serial_plug(struct virtio_port *p);
void virtio_serial_unplug(struct virtio_port *p);
/* From the chardev; no locks held. */
size_t virtio_serial_room(struct virtio_port *p);
void virtio_serial_receive(struct virtio_port *p, const uint8_t *data, size_t n);
void virtio_serial_host_open(struct virtio_port *p, bool open);
void virtio_serial_writable(struct virtio_port *p);
