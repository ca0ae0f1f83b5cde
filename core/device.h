/* Devices: a class is data plus a few functions; an instance hangs from its VM. The class list is a
 * plain array in hw/classes.c. Creating one by name and properties is one call for the command line,
 * hot-plug and tests. */
#pragma once

#include "core/memory.h"
#include "core/state.h"

#include <pthread.h>

struct device;
struct vm;
struct error;

/* ---- interrupt lines ------------------------------------------------------------------------
 * An output is a struct irq; whoever receives it fills in set/opaque/n when wiring. irq_set may be
 * called from any thread and with the source device's lock held: a receiver takes only its own
 * lock (and then the vCPU's), and never calls back. An unwired line does nothing. */
struct irq {
    void (*set)(void *opaque, unsigned n, bool level);
    void *opaque;
    unsigned n;
};
static inline void irq_set(const struct irq *irq, bool level)
{
    if (irq->set)
        irq->set(irq->opaque, irq->n, level);
}

/* ---- properties ----------------------------------------------------------------------------- */
enum prop_kind {
    PROP_BOOL,   /* on|off|yes|no|true|false -> bool */
    PROP_UINT,   /* decimal or 0x hex -> uint8_t..uint64_t by size */
    PROP_SIZE,   /* 64K, 1M -> uint64_t */
    PROP_STRING, /* -> char * (owned by the device) */
    PROP_ENUM,   /* one of `names` -> uint32_t index */
    PROP_MAC,    /* 52:54:00:12:34:56 -> uint8_t[6] */
    PROP_DRIVE,  /* -drive/-blockdev id -> struct blk * */
    PROP_NETDEV, /* -netdev id -> struct netdev * */
    PROP_CHARDEV, /* -chardev id -> struct chardev * */
    PROP_AUDIO,  /* -audiodev id -> struct audio *; several devices may use one */
    PROP_OBJECT, /* -object id -> struct object * (core/object.h) */
};
struct prop {
    const char *name;
    enum prop_kind kind;
    uint32_t offset, size;
    const char *def;              /* as the user would type it; NULL: zero */
    uint64_t min, max;            /* UINT and SIZE; max 0 means no bound */
    const char *const *names;     /* ENUM: NULL-terminated */
    const char *help;
};
#define PROP(type, member, name_, kind_, ...)                                                      \
    {                                                                                              \
        .name = (name_), .kind = (kind_), .offset = offsetof(type, member),                        \
        .size = sizeof(FIELD_OF(type, member)), __VA_ARGS__                                        \
    }

/* ---- registers ------------------------------------------------------------------------------
 * A register that only stores bits needs no code. Reads give the stored value (or on_read's);
 * writes change the `writable` bits, then call on_write with the value before. `w1c` bits are
 * cleared by writing 1. All with the device's lock held. */
struct reg {
    uint32_t at; /* byte offset in the block */
    uint8_t size;
    const char *name;
    uint32_t offset; /* of the member in the device; ignored when computed */
    uint64_t writable, w1c;
    bool computed;
    uint64_t (*on_read)(struct device *dev, const struct reg *reg);
    void (*on_write)(struct device *dev, const struct reg *reg, uint64_t old, uint64_t written);
};
#define REG32(at_, name_, type, member, ...)                                                       \
    { .at = (at_), .size = 4, .name = (name_), .offset = offsetof(type, member), __VA_ARGS__ }
#define REG32_COMPUTED(at_, name_, ...)                                                            \
    { .at = (at_), .size = 4, .name = (name_), .computed = true, __VA_ARGS__ }

/* ---- classes and instances ------------------------------------------------------------------ */
struct device_class {
    const char *name; /* "virtio-blk-pci" */
    const char *desc;
    const char *bus; /* what it plugs into: "system", "pci", "virtio", "serial"... */
    uint16_t version;
    bool user_creatable; /* by -device; others belong to a board */
    size_t size;         /* of the instance struct, whose first member is struct device */
    struct {
        const struct prop *at;
        size_t n;
    } props;
    struct {
        const struct reg *at;
        size_t n;
    } regs;
    struct field_list state;
    const void *bus_class; /* what the bus asks of the class: struct pci_class, ... */
    bool can_hot_plug;     /* if its bus lets it (struct device.hot_plug) */
    const char *inner;     /* a part that management sees as an object of its own, or NULL */
    /* All may be NULL. realize: properties are set, bus is known; take resources, map regions. On
     * error undo what was done. unrealize: the guest can no longer reach it. reset: to power-on
     * state, lock held. loaded: derive what is not in `state`, lock held. */
    struct error *(*realize)(struct device *dev);
    void (*unrealize)(struct device *dev);
    void (*reset)(struct device *dev);
    struct error *(*loaded)(struct device *dev);
};

/* How a bus lets devices come and go under a guest. Main loop's thread, no lock held. */
struct hot_plug {
    void (*plugged)(struct device *dev);         /* realized while vCPUs stood: tell the guest */
    struct error *(*unplug)(struct device *dev); /* ask the guest; device_unplugged when it let go */
};

struct device {
    const struct device_class *cls;
    struct vm *vm;
    char *id;             /* -device id=, or NULL */
    char path[96];        /* stable name, e.g. "pci.0/03.0/virtio-blk" for messages and streams */
    struct device *parent; /* the device whose bus it sits on; NULL for the board */
    void *bus;            /* the bus object, as its kind defines it */
    pthread_mutex_t lock; /* recursive: no. Guards the state below the class's struct */
    bool realized, broken;
    bool hotplugged;                 /* made by device_plug */
    const struct hot_plug *hot_plug; /* set by the bus in realize; NULL: it stays */
    struct device *next; /* vm->devices, oldest first */
    struct error *bad_global; /* a -global that did not fit: device_realize says so */
};

/* A name=value list as typed: "drive=d0,bus=pci.0,addr=3". */
struct prop_value {
    const char *name, *value;
};

const struct device_class *device_class_find(const char *name); /* NULL if unknown */
/* The array of all classes, for help, tests and fuzzers. */
extern const struct device_class *const device_classes[];
extern const size_t n_device_classes;

/* Names that command lines for other emulators have: none of them is a class here, something else serves. */
struct device_absent {
    const char *name, *instead;
};
extern const struct device_absent device_absents[];
extern const size_t n_device_absents;

/* Allocate an instance with its defaults; then set properties; then realize. device_create does all
 * three: for unknown names the error carries the nearest. `bus` NULL lets the class choose one. */
struct device *device_new(struct vm *vm, const struct device_class *cls);
struct error *device_set(struct device *dev, const char *name, const char *value);
struct error *device_realize(struct device *dev, struct device *parent, void *bus);
struct error *device_create(struct vm *vm, const char *class_name, const struct prop_value *props,
                            size_t n, struct device **out);
/* The same under a guest, which is told. Error also: class or bus do not let devices come and go. Main loop's
 * thread; vCPUs stand meanwhile. */
struct error *device_plug(struct vm *vm, const char *class_name, const struct prop_value *props, size_t n);
/* Ask the guest to let it go. It goes, and what is plugged into it, when the guest has, or with the next reset;
 * DEVICE_DELETED tells. Error: it cannot go, or the guest is busy. */
struct error *device_unplug(struct device *dev);
/* By id or path ("/machine/peripheral/ID"); NULL: there is none. */
struct device *device_at(struct vm *vm, const char *name);
/* For buses: it goes now, and children with it. vCPUs stand meanwhile. Not from one's own callbacks: post it. */
void device_unplugged(struct device *dev);
/* For buses: the guest keeps it (DEVICE_UNPLUG_GUEST_ERROR). Any thread. */
void device_kept(struct device *dev);
/* -global: devices of this class made from now on start with this value; an explicit one wins. The
 * value is checked when the first such device is realized, the names here. */
struct error *device_add_global(struct vm *vm, const char *class_name, const char *prop,
                                const char *value);
void device_free_globals(struct vm *vm);
/* Unrealizes if that is due, frees everything and takes it out of vm->devices. */
void device_free(struct device *dev);
struct device *device_find(struct vm *vm, const char *id); /* by -device id=; NULL if there is none */
/* Its place in the tree that management sees: "/machine/peripheral/net0", "/machine/unattached/device[3]". */
enum { DEVICE_QOM_PATH = 160 };
void device_qom_path(const struct device *dev, char path[DEVICE_QOM_PATH]);
enum device_home { HOME_PERIPHERAL, HOME_PERIPHERAL_ANON, HOME_UNATTACHED };
enum device_home device_home(const struct device *dev);
unsigned device_home_number(const struct device *dev); /* device[N] there; CPUs are the first of the unattached */
void device_reset(struct device *dev);
/* The stream of one device: its class's version, then the fields. Loading is reset, fields, .loaded;
 * after an error the device is reset. Main loop's thread, VM stopped. */
void device_save(struct device *dev, struct bytes *out);
struct error *device_load(struct device *dev, const uint8_t *in, size_t n, size_t *pos);
/* A property's value as the user would type it, into buf. False if there is no such property. */
bool device_get(struct device *dev, const char *name, char *buf, size_t n);

/* The guest did something wrong: counts and logs (-d guest_errors) once; returns false so that
 * callers can `return device_broken(...)`. Putting the device into its error state is the caller's. */
bool device_broken(struct device *dev, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* MMIO by the register table: lock, look up, read or write. `off` without a register reads 0. */
uint64_t regs_read(struct device *dev, uint64_t off, unsigned size);
void regs_write(struct device *dev, uint64_t off, unsigned size, uint64_t value);
/* Ops for a region whose opaque is a struct device with a register table. */
extern const struct mmio_ops regs_mmio_ops;

#define device_lock(dev)   pthread_mutex_lock(&(dev)->lock)
#define device_unlock(dev) pthread_mutex_unlock(&(dev)->lock)
