/* The tree of objects that management sees: /machine/peripheral/ID, /machine/unattached/device[N], /objects/ID,
 * /chardevs/ID. It is a view: names and properties of what core has. Main loop's thread. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct device;
struct device_class;
struct error;
struct object;
struct prop;
struct vcpu;
struct vm;

enum qom_kind {
    QOM_ROOT,
    QOM_MACHINE,
    QOM_PERIPHERAL,      /* devices with an id */
    QOM_PERIPHERAL_ANON, /* the user's without one */
    QOM_UNATTACHED,      /* CPUs, then the board's devices */
    QOM_OBJECTS,
    QOM_CHARDEVS,
    QOM_DEVICE,
    QOM_VIRTIO_BACKEND, /* the device behind virtio's transport: PATH/virtio-backend */
    QOM_OBJECT,
    QOM_CHARDEV,
    QOM_CPU,
};
struct qom {
    enum qom_kind kind;
    struct device *dev; /* DEVICE, VIRTIO_BACKEND */
    struct vcpu *cpu;
    struct object *object;
    const char *id; /* CHARDEV */
};

enum { QOM_PATH = 160 }; /* as DEVICE_QOM_PATH */
/* By an absolute path, or a device's or object's id alone. False: there is nothing. */
bool qom_find(struct vm *vm, const char *path, struct qom *out);
/* As query-block and block_set_io_throttle name the front end of a disk: a virtio device's backend. */
void qom_frontend_path(const struct device *dev, char path[QOM_PATH]);
void qom_cpu_path(const struct vcpu *cpu, char path[QOM_PATH]);
bool qom_is_virtio(const struct device_class *cls);
/* QMP's word for a property's type: "bool", "uint32", "str". */
const char *qom_prop_type(const struct prop *p);

/* Children, then properties, as {name, type}. */
json_t *qom_list(struct vm *vm, const struct qom *q);
/* Error: there is no such property. The caller owns *value. */
struct error *qom_get(struct vm *vm, const struct qom *q, const char *name, json_t **value);
struct error *qom_set(struct vm *vm, const struct qom *q, const char *name, json_t *value);
