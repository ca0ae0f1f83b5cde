/* virtio, the part that all devices share (VIRTIO 1.3). A device model says what it is (struct
 * virtio_model) and handles chains of buffers; the core owns rings, features, status and interrupts;
 * a transport (PCI, MMIO) carries registers. A model includes only this header.
 *
 * Locks and threads: everything below is called with the device's lock held unless it says otherwise;
 * hooks are called with it held. handle_queue runs on the thread of the loop that serves the queue
 * (virtq_serve_on), or on the vCPU that rang. A model completes a request later by taking the device
 * lock, virtq_push, virtq_notify.
 *
 * Reset may come at any moment. The model's reset hook drops (virtq_drop) chains it merely keeps. One
 * whose memory host I/O still uses stays with the model until that ends and is then pushed as always:
 * the core sees that it is stale and discards it. The driver reads "not yet reset" until the last
 * one is back. */
#pragma once

#include "hw/pci/pci.h"

struct loop;
struct virtio_device;
struct virtio_transport;
struct virtq;

enum {
    VIRTIO_MAX_QUEUES = 66,
    VIRTIO_MAX_QUEUE_SIZE = 1024, /* also the most descriptors in one chain */
    VIRTIO_MAX_CONFIG = 256,
};

/* Feature bit numbers of the core (VIRTIO 1.3, 6); a model has 0 to 23 and 50 to 63. */
enum {
    VIRTIO_F_NOTIFY_ON_EMPTY = 24,
    VIRTIO_F_ANY_LAYOUT = 27,
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
    VIRTIO_F_ACCESS_PLATFORM = 33,
    VIRTIO_F_RING_PACKED = 34,
    VIRTIO_F_IN_ORDER = 35,
    VIRTIO_F_ORDER_PLATFORM = 36,
    VIRTIO_F_NOTIFICATION_DATA = 38,
    VIRTIO_F_RING_RESET = 40,
};
#define VIRTIO_BIT(n) ((uint64_t)1 << (n))

/* ---- a device model ------------------------------------------------------------------------- */
struct virtio_model {
    uint16_t device_id;       /* VIRTIO 1.3, 5: 1 network, 2 block, ... */
    uint16_t transitional_id; /* PCI device id of the transitional device, 0x1000...; 0: modern only */
    uint32_t pci_class;       /* 0xccssii */
    const char *option_rom;   /* struct pci_identity's rom */
    uint32_t config_size;     /* bytes of device configuration, at most VIRTIO_MAX_CONFIG */
    /* Properties are set. Add queues (virtio_add_queue), set v->features to what is offered (device
     * bits only). No lock held. On error undo what was done. */
    struct error *(*realize)(struct virtio_device *v);
    /* All below may be NULL. */
    void (*unrealize)(struct virtio_device *v); /* no lock held; drop what is kept */
    /* Fill config[0..config_size), little-endian. */
    void (*get_config)(struct virtio_device *v, uint8_t *config);
    /* The guest wrote n bytes at off, which lie inside config_size. */
    void (*set_config)(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n);
    /* The driver accepted these features (FEATURES_OK; legacy: at DRIVER_OK at the latest). False
     * refuses the combination. */
    bool (*set_features)(struct virtio_device *v, uint64_t features);
    void (*started)(struct virtio_device *v); /* DRIVER_OK was set: queues may be used from now on */
    /* There may be chains in q: pop them until NULL. */
    void (*handle_queue)(struct virtio_device *v, struct virtq *q);
    /* The driver reset only this queue (RING_RESET): drop its chains. NULL: `reset` is not needed for
     * the queue because the model never keeps chains. */
    void (*reset_queue)(struct virtio_device *v, struct virtq *q);
    void (*reset)(struct virtio_device *v); /* to power-on state */
    struct error *(*loaded)(struct virtio_device *v);
};

/* ---- chains: what the guest put into a queue ------------------------------------------------- */
/* Descriptors were copied, checked and resolved to host memory. `readable` comes from the guest,
 * `writable` goes to it. The guest can still change the bytes: parse a copy (chain_read). */
struct virtq_chain {
    const struct iovec *readable, *writable;
    unsigned n_readable, n_writable;
    uint64_t readable_len, writable_len; /* bytes */
    struct virtq *q;
    void *user; /* the model's */

    /* the core's */
    struct iovec *iov;
    gpa *at; /* guest address of each iov */
    unsigned n_iov, room;
    uint16_t id, n_descs;
    uint32_t generation, written;
    uint64_t touched; /* writable bytes that chain_write reached */
    bool done; /* IN_ORDER: pushed, waits for older ones */
    struct virtq_chain *next;
};

/* The next chain, or NULL: the queue is empty (then the driver was told to ring when it adds one), not
 * running, or broken. The chain is the caller's until push, unpop or drop. Who stops popping before
 * NULL goes on by itself later: the driver may not ring again. */
struct virtq_chain *virtq_pop(struct virtq *q);
/* The request is done; `written` bytes at the start of `writable` hold data. The guest sees it after
 * virtq_notify, which covers all pushes before it. */
void virtq_push(struct virtq_chain *c, uint32_t written);
/* Publish what was pushed and interrupt the driver if it wants that. */
void virtq_notify(struct virtq *q);
/* Put back chains as if they were not popped: the newest first, and none pushed meanwhile. */
void virtq_unpop(struct virtq_chain *c);
/* Forget a chain, in reset hooks. */
void virtq_drop(struct virtq_chain *c);
/* Would virtq_pop give a chain? Does not arm the driver's notification. */
bool virtq_has_chain(struct virtq *q);

/* Copy from `readable` or to `writable` at byte off: returns the bytes copied, fewer at the end. */
size_t chain_read(const struct virtq_chain *c, uint64_t off, void *buf, size_t n);
size_t chain_write(struct virtq_chain *c, uint64_t off, const void *buf, size_t n);
/* The part [off, off+n) of iov as iovecs in out[0..max): their number; `*got` gets the bytes. */
unsigned iov_slice(const struct iovec *iov, unsigned n_iov, uint64_t off, uint64_t n,
                   struct iovec *out, unsigned max, uint64_t *got);

/* ---- the device ------------------------------------------------------------------------------ */
struct virtq {
    struct virtio_device *v;
    uint16_t index, max_size;
    struct loop *loop; /* serves the queue; NULL: the vCPU that rings */

    /* Set by the driver. */
    uint16_t size, vector;
    bool enabled;
    gpa desc, driver, device; /* VIRTIO 1.3, 2.6: descriptor, driver and device area */

    /* Ring position: the core's. */
    uint16_t last_avail, used, signalled;
    bool avail_wrap, used_wrap, signalled_valid;

    /* Derived. */
    struct virtq_area {
        uint8_t *host;
        gpa at;
        _Atomic uint8_t *page_flags; /* of the RAM block, and where in it the area starts */
        uint64_t ram_off;
    } desc_map, driver_map, device_map;
    uint64_t view;       /* generation of the memory view that the maps were made from; 0: none */
    uint32_t generation; /* chains of an older one are stale */
    uint32_t stale;      /* such chains that did not come back yet */
    uint32_t in_flight, descs_in_flight;
    uint32_t n_pushed, descs_pushed; /* since the last virtq_notify */
    uint16_t first_pushed, first_flags; /* packed: what makes all of them visible */
    bool packed;         /* what it was enabled as */
    bool kicks_wanted;
    int kick_fd; /* -1 unless a loop serves the queue */
    struct virtq_chain *oldest, *newest; /* IN_ORDER: all in flight */
    struct virtq_chain *spare;           /* for reuse */
    struct virtq_desc *table;            /* private copy of an indirect table */
    struct virtq_counts {
        uint64_t kicks, chains, interrupts, interrupts_saved;
    } counts;
};

struct virtio_pci {
    /* properties */
    uint32_t disable_legacy; /* off, on, auto */
    bool disable_modern;
    uint32_t n_vectors; /* UINT32_MAX: one per queue and one for configuration */

    /* state */
    struct pci_function fn;
    uint32_t feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;

    /* derived */
    bool has_legacy, has_modern;
    uint16_t cfg_cap; /* VIRTIO_PCI_CAP_PCI_CFG */
    struct mem_region *io, *mem;
};

struct virtio_mmio {
    bool force_legacy; /* property */
    char *bus_name;    /* property */
    uint32_t feature_select, driver_feature_select, queue_select;
    uint32_t guest_page_size, queue_align; /* legacy */
    struct virtio_mmio_slot *slot;
};

/* First member of every virtio device's struct. */
struct virtio_device {
    struct device dev;
    const struct virtio_model *model;
    const struct virtio_transport *transport;
    struct {
        bool event_idx, indirect, packed, in_order, notification_data, ring_reset, any_layout;
        bool iommu_platform;
    } offer; /* properties */

    uint64_t features; /* offered: the model's bits, then the core's as well */
    uint64_t driver_features;
    uint8_t status, isr;
    uint32_t config_generation;
    bool features_set; /* the model was told */

    unsigned n_queues;
    struct virtq queues[VIRTIO_MAX_QUEUES];
    bool legacy;    /* the driver uses the transport's legacy interface */
    bool resetting; /* waits for stale chains */
    bool dma_off;   /* the bus does not let the device reach memory */
    pthread_cond_t reset_done;

    struct virtio_pci pci;
    struct virtio_mmio mmio;
};

/* From realize: queues are numbered in the order added. max_size is a power of two. */
struct virtq *virtio_add_queue(struct virtio_device *v, uint16_t max_size);
/* From realize: the loop's thread handles this queue (an I/O thread, or vm->loop). */
void virtq_serve_on(struct virtq *q, struct loop *loop);
/* The property ioeventfd=auto|on|off: is the queue to be rung for the main loop, rather than be handled on the
 * vCPU's thread? Auto: where the engine's exits are dear. */
enum { IOEVENTFD_AUTO, IOEVENTFD_ON, IOEVENTFD_OFF };
extern const char *const virtio_ioeventfd_names[];
bool virtio_rings_main_loop(const struct virtio_device *v, uint32_t ioeventfd);
/* As if the driver had rung. */
void virtq_kick(struct virtq *q);

/* Did the driver accept this feature? VIRTIO_F_VERSION_1 tells modern from legacy. */
static inline bool virtio_has(const struct virtio_device *v, unsigned feature)
{
    return v->driver_features >> feature & 1;
}
/* DRIVER_OK and neither broken nor being reset. */
bool virtio_running(const struct virtio_device *v);
/* Device configuration changed: next generation, and an interrupt. */
void virtio_config_changed(struct virtio_device *v);
/* The driver broke the rules: count and log, DEVICE_NEEDS_RESET. Returns false. */
bool virtio_broken(struct virtio_device *v, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- classes: one model, a class per transport ----------------------------------------------- */
#define VIRTIO_PROPS(T)                                                                            \
    PROP(T, v.offer.event_idx, "event_idx", PROP_BOOL, .def = "on"),                               \
    PROP(T, v.offer.indirect, "indirect_desc", PROP_BOOL, .def = "on"),                            \
    PROP(T, v.offer.packed, "packed", PROP_BOOL, .def = "off"),                                    \
    PROP(T, v.offer.in_order, "in_order", PROP_BOOL, .def = "off"),                                \
    PROP(T, v.offer.notification_data, "notification_data", PROP_BOOL, .def = "off"),              \
    PROP(T, v.offer.ring_reset, "queue_reset", PROP_BOOL, .def = "on"),                            \
    PROP(T, v.offer.any_layout, "any_layout", PROP_BOOL, .def = "on"),                             \
    PROP(T, v.offer.iommu_platform, "iommu_platform", PROP_BOOL, .def = "off")
#define VIRTIO_PCI_PROPS(T)                                                                        \
    PCI_PROPS(T, v.pci.fn),                                                                        \
    PROP(T, v.pci.disable_legacy, "disable-legacy", PROP_ENUM, .def = "auto",                      \
         .names = virtio_off_on_auto, .help = "no transitional interface; auto: behind ports"),    \
    PROP(T, v.pci.disable_modern, "disable-modern", PROP_BOOL, .def = "off"),                      \
    PROP(T, v.pci.n_vectors, "vectors", PROP_UINT, .def = "0xffffffff",                            \
         .help = "MSI-X vectors; default: one per queue and one"), VIRTIO_PROPS(T)
#define VIRTIO_MMIO_PROPS(T)                                                                       \
    PROP(T, v.mmio.bus_name, "bus", PROP_STRING, .help = "virtio-mmio-bus.N"),                     \
    PROP(T, v.mmio.force_legacy, "force-legacy", PROP_BOOL, .def = "off",                          \
         .help = "register layout version 1"), VIRTIO_PROPS(T)

#define VIRTIO_STATE(T)                                                                            \
    FIELD_SUB(T, v, virtio_fields, 1),                                                             \
    FIELD_SUB(T, v.queues, virtq_fields, VIRTIO_MAX_QUEUES)
#define VIRTIO_PCI_STATE(T)                                                                        \
    VIRTIO_STATE(T), FIELD_SUB(T, v.pci, virtio_pci_fields, 1),                                    \
    FIELD_SUB(T, v.pci.fn, pci_function_fields, 1)
#define VIRTIO_MMIO_STATE(T) VIRTIO_STATE(T), FIELD_SUB(T, v.mmio, virtio_mmio_fields, 1)

/* Initialiser of a class on PCI. */
#define VIRTIO_PCI_CLASS(ID, NAME, DESC, T, MODEL, REALIZE)                                        \
    {                                                                                              \
        .name = NAME,                                                                              \
        .desc = DESC,                                                                              \
        .bus = "pci",                                                                              \
        .version = 1,                                                                              \
        .user_creatable = true,                                                                    \
        .can_hot_plug = true,                                                                      \
        .inner = "virtio-backend",                                                                 \
        .size = sizeof(T),                                                                         \
        .props = TABLE(ID##_pci_props),                                                            \
        .state = TABLE(ID##_pci_state),                                                            \
        .bus_class = &(MODEL),                                                                     \
        .realize = REALIZE,                                                                        \
        .unrealize = virtio_pci_unrealize,                                                         \
        .reset = virtio_pci_reset,                                                                 \
        .loaded = virtio_pci_loaded,                                                               \
    }

/* Two classes for model struct T (`struct virtio_device v` first): const struct device_class
 * ID_pci_class, "NAME-pci", and ID_device_class, "NAME-device" (virtio-mmio). PROPS and STATE are
 * macros that expand to a list's elements, or nothing:
 *
 *     #define RNG_PROPS , PROP(struct virtio_rng, max_bytes, "max-bytes", PROP_UINT)
 *     #define RNG_STATE , FIELD(struct virtio_rng, quota_left)
 *     VIRTIO_CLASSES(virtio_rng, "virtio-rng", "random numbers", struct virtio_rng, rng_model,
 *                    RNG_PROPS, RNG_STATE)
 *
 * A non-empty list starts with a comma. The class list (hw/classes.c) names both. */
#define VIRTIO_CLASSES(ID, NAME, DESC, T, MODEL, PROPS, STATE)                                     \
    static const struct prop ID##_pci_props[] = { VIRTIO_PCI_PROPS(T) PROPS };                     \
    static const struct prop ID##_device_props[] = { VIRTIO_MMIO_PROPS(T) PROPS };                 \
    static const struct field ID##_pci_state[] = { VIRTIO_PCI_STATE(T) STATE };                    \
    static const struct field ID##_device_state[] = { VIRTIO_MMIO_STATE(T) STATE };                \
    const struct device_class ID##_pci_class =                                                     \
        VIRTIO_PCI_CLASS(ID, NAME "-pci", DESC, T, MODEL, virtio_pci_realize);                     \
    const struct device_class ID##_device_class = {                                                \
        .name = NAME "-device",                                                                    \
        .desc = DESC,                                                                              \
        .bus = "virtio-mmio",                                                                      \
        .version = 1,                                                                              \
        .user_creatable = true,                                                                    \
        .size = sizeof(T),                                                                         \
        .props = TABLE(ID##_device_props),                                                         \
        .state = TABLE(ID##_device_state),                                                         \
        .bus_class = &(MODEL),                                                                     \
        .realize = virtio_mmio_realize,                                                            \
        .unrealize = virtio_mmio_unrealize,                                                        \
        .reset = virtio_mmio_reset,                                                                \
        .loaded = virtio_mmio_loaded,                                                              \
    };

/* Behind VIRTIO_CLASSES, for a model with a legacy interface: classes whose names say whether it is there, as management
 * asks for them: ID_pci_transitional_class, "NAME-pci-transitional", and ID_pci_modern_class,
 * "NAME-pci-non-transitional". */
#define VIRTIO_LEGACY_CLASSES(ID, NAME, DESC, T, MODEL)                                            \
    const struct device_class ID##_pci_transitional_class =                                        \
        VIRTIO_PCI_CLASS(ID, NAME "-pci-transitional", DESC ", with the legacy interface", T,      \
                         MODEL, virtio_pci_transitional_realize);                                  \
    const struct device_class ID##_pci_modern_class =                                              \
        VIRTIO_PCI_CLASS(ID, NAME "-pci-non-transitional", DESC ", without a legacy interface",    \
                         T, MODEL, virtio_pci_modern_realize);

extern const char *const virtio_off_on_auto[];
extern const struct field virtio_fields[6];
extern const struct field virtq_fields[29];
extern const struct field virtio_pci_fields[4];
extern const struct field virtio_mmio_fields[5];
struct error *virtio_pci_realize(struct device *dev);
struct error *virtio_pci_transitional_realize(struct device *dev);
struct error *virtio_pci_modern_realize(struct device *dev);
void virtio_pci_unrealize(struct device *dev);
void virtio_pci_reset(struct device *dev);
struct error *virtio_pci_loaded(struct device *dev);
struct error *virtio_mmio_realize(struct device *dev);
void virtio_mmio_unrealize(struct device *dev);
void virtio_mmio_reset(struct device *dev);
struct error *virtio_mmio_loaded(struct device *dev);
