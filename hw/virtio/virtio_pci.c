/* virtio over PCI (VIRTIO 1.3, 4.1). Modern registers are in BAR 4, the MSI-X table in BAR 1, legacy
 * registers (4.1.4.10) in the I/O BAR 0. */
#include "core/error.h"
#include "hw/virtio/core.h"

#include <stdio.h>

enum {
    VENDOR_ID = 0x1af4,
    MODERN_ID = 0x1040, /* plus the virtio device id */

    CAP_COMMON = 1,
    CAP_NOTIFY = 2,
    CAP_ISR = 3,
    CAP_DEVICE = 4,
    CAP_PCI_CFG = 5,
    CAP_SIZE = 16,

    LEGACY_BAR = 0,
    MSIX_BAR = 1,
    MODERN_BAR = 4,

    /* Parts of the modern BAR, 4 KiB each. */
    AREA_COMMON = 0x0000,
    AREA_ISR = 0x1000,
    AREA_DEVICE = 0x2000,
    AREA_NOTIFY = 0x3000,
    AREAS_SIZE = 0x4000,
    NOTIFY_STEP = 4,

    /* Common configuration (4.1.4.3). */
    C_DEVICE_FEATURE_SELECT = 0x00,
    C_DEVICE_FEATURE = 0x04,
    C_DRIVER_FEATURE_SELECT = 0x08,
    C_DRIVER_FEATURE = 0x0c,
    C_CONFIG_VECTOR = 0x10,
    C_NUM_QUEUES = 0x12,
    C_STATUS = 0x14,
    C_GENERATION = 0x15,
    C_QUEUE_SELECT = 0x16,
    C_QUEUE_SIZE = 0x18,
    C_QUEUE_VECTOR = 0x1a,
    C_QUEUE_ENABLE = 0x1c,
    C_QUEUE_NOTIFY_OFF = 0x1e,
    C_QUEUE_DESC = 0x20,
    C_QUEUE_DRIVER = 0x28,
    C_QUEUE_DEVICE = 0x30,
    C_QUEUE_RESET = 0x3a,
    COMMON_SIZE = 0x40,

    /* Legacy header; the vectors are there while MSI-X is enabled. */
    L_DEVICE_FEATURES = 0x00,
    L_DRIVER_FEATURES = 0x04,
    L_QUEUE_PFN = 0x08,
    L_QUEUE_SIZE = 0x0c,
    L_QUEUE_SELECT = 0x0e,
    L_QUEUE_NOTIFY = 0x10,
    L_STATUS = 0x12,
    L_ISR = 0x13,
    L_CONFIG_VECTOR = 0x14,
    L_QUEUE_VECTOR = 0x16,
    L_SIZE = 0x18,
    LEGACY_PAGE = 4096,
};

const struct field virtio_pci_fields[] = {
    FIELD(struct virtio_pci, feature_select),
    FIELD(struct virtio_pci, driver_feature_select),
    FIELD(struct virtio_pci, queue_select),
    FIELD(struct virtio_pci, config_vector),
};

static struct virtio_device *of_function(struct pci_function *f)
{
    return container_of(f, struct virtio_device, pci.fn);
}

/* ---- interrupts ---------------------------------------------------------------------------------- */

static void interrupt(struct virtio_device *v, uint16_t vector, uint8_t cause)
{
    if (pci_msix_enabled(&v->pci.fn)) {
        if (vector != VIRTIO_NO_VECTOR)
            pci_msix_fire(&v->pci.fn, vector);
        return;
    }
    if (v->isr & cause)
        return;
    v->isr |= cause;
    pci_set_intx(&v->pci.fn, true);
}

static void queue_interrupt(struct virtio_device *v, struct virtq *q)
{
    interrupt(v, q->vector, VIRTIO_ISR_QUEUE);
}

static void config_interrupt(struct virtio_device *v)
{
    interrupt(v, v->pci.config_vector, VIRTIO_ISR_CONFIG);
}

static uint8_t isr_read(struct virtio_device *v)
{
    uint8_t isr = v->isr;
    v->isr = 0;
    pci_set_intx(&v->pci.fn, false);
    return isr;
}

static void transport_reset(struct virtio_device *v)
{
    v->pci.feature_select = v->pci.driver_feature_select = 0;
    v->pci.queue_select = 0;
    v->pci.config_vector = VIRTIO_NO_VECTOR;
    pci_set_intx(&v->pci.fn, false);
}

static const struct virtio_transport pci_transport = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .reset = transport_reset,
};

/* A vector that the device does not have reads back as "none" (4.1.5.1.2). */
static uint16_t vector_checked(const struct virtio_device *v, uint16_t vector)
{
    return vector < v->pci.fn.n_vectors ? vector : VIRTIO_NO_VECTOR;
}

/* A driver of a modern device enables bus mastering first; old legacy drivers do not know of it. */
static void mastering_update(struct virtio_device *v)
{
    virtio_set_dma(v, v->legacy || pci_may_master(&v->pci.fn));
}

static void status_write(struct virtio_device *v, uint8_t status, bool legacy)
{
    if (status) {
        mastering_update(v);
        virtio_set_status(v, status);
    } else if (legacy) {
        virtio_reset_wait(v);
    } else {
        virtio_reset(v);
    }
}

/* ---- modern registers ---------------------------------------------------------------------------- */

static void common_image(const struct virtio_device *v, uint8_t image[COMMON_SIZE])
{
    const struct virtio_pci *p = &v->pci;
    store_le(image + C_DEVICE_FEATURE_SELECT, 4, p->feature_select);
    store_le(image + C_DEVICE_FEATURE, 4, virtio_offered(v, p->feature_select));
    store_le(image + C_DRIVER_FEATURE_SELECT, 4, p->driver_feature_select);
    store_le(image + C_DRIVER_FEATURE, 4, virtio_accepted(v, p->driver_feature_select));
    store_le(image + C_CONFIG_VECTOR, 2, p->config_vector);
    store_le(image + C_NUM_QUEUES, 2, v->n_queues);
    image[C_STATUS] = virtio_status(v);
    image[C_GENERATION] = v->config_generation;
    store_le(image + C_QUEUE_SELECT, 2, p->queue_select);
    if (p->queue_select >= v->n_queues)
        return;
    const struct virtq *q = &v->queues[p->queue_select];
    store_le(image + C_QUEUE_SIZE, 2, q->size);
    store_le(image + C_QUEUE_VECTOR, 2, q->vector);
    store_le(image + C_QUEUE_ENABLE, 2, q->enabled);
    store_le(image + C_QUEUE_NOTIFY_OFF, 2, q->index);
    store_le(image + C_QUEUE_DESC, 8, q->desc);
    store_le(image + C_QUEUE_DRIVER, 8, q->driver);
    store_le(image + C_QUEUE_DEVICE, 8, q->device);
    store_le(image + C_QUEUE_RESET, 2, q->stale != 0);
}

static uint64_t common_read(struct virtio_device *v, unsigned off, unsigned n)
{
    uint8_t image[COMMON_SIZE] = { 0 };
    if (off + n > COMMON_SIZE)
        return 0;
    common_image(v, image);
    return load_le(image + off, n);
}

/* A half or all of a 64-bit address. */
static void address_write(struct virtq *q, uint64_t *to, unsigned off, unsigned n, uint64_t value)
{
    uint8_t bytes[8];
    if (q->enabled || n < 4)
        return;
    store_le(bytes, 8, *to);
    store_le(bytes + off, n, value);
    *to = load_le(bytes, 8);
}

static void common_queue_write(struct virtio_device *v, struct virtq *q, unsigned off, unsigned n,
                               uint64_t value)
{
    switch (off) {
    case C_QUEUE_SIZE: virtq_set_size(q, value); break;
    case C_QUEUE_VECTOR: q->vector = vector_checked(v, value); break;
    case C_QUEUE_ENABLE:
        if (value == 1)
            virtq_enable(q);
        break;
    case C_QUEUE_DESC:
    case C_QUEUE_DESC + 4: address_write(q, &q->desc, off % 8, n, value); break;
    case C_QUEUE_DRIVER:
    case C_QUEUE_DRIVER + 4: address_write(q, &q->driver, off % 8, n, value); break;
    case C_QUEUE_DEVICE:
    case C_QUEUE_DEVICE + 4: address_write(q, &q->device, off % 8, n, value); break;
    case C_QUEUE_RESET:
        if (value == 1 && virtio_has(v, VIRTIO_F_RING_RESET))
            virtq_reset_by_driver(q);
        break;
    default: break;
    }
}

static void common_write(struct virtio_device *v, unsigned off, unsigned n, uint64_t value)
{
    struct virtq *q = virtio_queue(v, v->pci.queue_select);
    switch (off) {
    case C_DEVICE_FEATURE_SELECT: v->pci.feature_select = value; break;
    case C_DRIVER_FEATURE_SELECT: v->pci.driver_feature_select = value; break;
    case C_DRIVER_FEATURE: virtio_accept(v, v->pci.driver_feature_select, value); break;
    case C_CONFIG_VECTOR: v->pci.config_vector = vector_checked(v, value); break;
    case C_STATUS: status_write(v, value, false); break;
    case C_QUEUE_SELECT: v->pci.queue_select = value; break;
    default:
        if (q)
            common_queue_write(v, q, off, n, value);
    }
}

static uint64_t modern_read_locked(struct virtio_device *v, unsigned off, unsigned n)
{
    switch (off & ~0xfff) {
    case AREA_COMMON: return common_read(v, off, n);
    case AREA_ISR: return off == AREA_ISR ? isr_read(v) : 0;
    case AREA_DEVICE: return virtio_config_read(v, off - AREA_DEVICE, n);
    default: return 0;
    }
}

static void modern_write_locked(struct virtio_device *v, unsigned off, unsigned n, uint64_t value)
{
    struct virtq *q;
    switch (off & ~0xfff) {
    case AREA_COMMON: common_write(v, off, n, value); break;
    case AREA_DEVICE: virtio_config_write(v, off - AREA_DEVICE, n, value); break;
    case AREA_NOTIFY:
        q = virtio_queue(v, (off - AREA_NOTIFY) / NOTIFY_STEP);
        if (q)
            virtq_kick(q);
        break;
    default: break;
    }
}

static uint64_t modern_read(void *opaque, uint64_t off, unsigned size)
{
    struct virtio_device *v = opaque;
    device_lock(&v->dev);
    uint64_t value = modern_read_locked(v, off, size);
    device_unlock(&v->dev);
    return value;
}

static void modern_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct virtio_device *v = opaque;
    device_lock(&v->dev);
    modern_write_locked(v, off, size, value);
    device_unlock(&v->dev);
}

static const struct mmio_ops modern_ops = { modern_read, modern_write, 1, 4 };

/* ---- legacy registers ---------------------------------------------------------------------------- */

static unsigned legacy_header_size(const struct virtio_device *v)
{
    return pci_msix_enabled(&v->pci.fn) ? L_SIZE : L_CONFIG_VECTOR;
}

static uint64_t legacy_register_read(struct virtio_device *v, unsigned off)
{
    struct virtq *q = virtio_queue(v, v->pci.queue_select);
    switch (off) {
    case L_DEVICE_FEATURES: return virtio_offered(v, 0);
    case L_DRIVER_FEATURES: return virtio_accepted(v, 0);
    case L_QUEUE_PFN: return q && q->enabled ? q->desc / LEGACY_PAGE : 0;
    case L_QUEUE_SIZE: return q ? q->max_size : 0;
    case L_QUEUE_SELECT: return v->pci.queue_select;
    case L_STATUS: return virtio_status(v);
    case L_ISR: return isr_read(v);
    case L_CONFIG_VECTOR: return v->pci.config_vector;
    case L_QUEUE_VECTOR: return q ? q->vector : VIRTIO_NO_VECTOR;
    default: return 0;
    }
}

static void legacy_register_write(struct virtio_device *v, unsigned off, uint64_t value)
{
    struct virtq *q = virtio_queue(v, v->pci.queue_select);
    switch (off) {
    case L_DRIVER_FEATURES: virtio_accept(v, 0, value); break;
    case L_QUEUE_PFN:
        if (q) {
            virtq_set_size(q, q->max_size); /* not for a legacy driver to choose */
            virtq_enable_legacy(q, value * LEGACY_PAGE, LEGACY_PAGE);
        }
        break;
    case L_QUEUE_SELECT: v->pci.queue_select = value; break;
    case L_QUEUE_NOTIFY:
        q = virtio_queue(v, value & 0xffff);
        if (q)
            virtq_kick(q);
        break;
    case L_STATUS: status_write(v, value, true); break;
    case L_CONFIG_VECTOR: v->pci.config_vector = vector_checked(v, value); break;
    case L_QUEUE_VECTOR:
        if (q)
            q->vector = vector_checked(v, value);
        break;
    default: break;
    }
}

/* Whoever touches these registers before a driver is known (status 0) is a legacy driver. */
static void legacy_enter(struct virtio_device *v)
{
    if (!v->status && !v->resetting && !v->legacy) {
        v->legacy = true;
        v->driver_features = 0;
        mastering_update(v);
    }
}

static uint64_t legacy_read(void *opaque, uint64_t off, unsigned size)
{
    struct virtio_device *v = opaque;
    device_lock(&v->dev);
    legacy_enter(v);
    unsigned header = legacy_header_size(v);
    uint64_t value =
        off < header ? legacy_register_read(v, off) : virtio_config_read(v, off - header, size);
    device_unlock(&v->dev);
    return value;
}

static void legacy_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct virtio_device *v = opaque;
    device_lock(&v->dev);
    legacy_enter(v);
    unsigned header = legacy_header_size(v);
    if (off < header)
        legacy_register_write(v, off, value);
    else
        virtio_config_write(v, off - header, size, value);
    device_unlock(&v->dev);
}

static const struct mmio_ops legacy_ops = { legacy_read, legacy_write, 1, 4 };

/* ---- access through configuration space (4.1.4.9) ------------------------------------------------- */

/* What the capability points at; false if that is not in the modern BAR or not 1, 2 or 4 aligned bytes. */
static bool window_parse(const struct pci_function *f, unsigned *off, unsigned *n)
{
    const uint8_t *cap = f->config + of_function((struct pci_function *)f)->pci.cfg_cap;
    *off = load_le(cap + 8, 4);
    *n = load_le(cap + 12, 4);
    return cap[4] == MODERN_BAR && (*n == 1 || *n == 2 || *n == 4) && *off < AREAS_SIZE &&
           *off % *n == 0;
}

static void function_reading(struct pci_function *f, unsigned off, unsigned n)
{
    struct virtio_device *v = of_function(f);
    unsigned data = v->pci.cfg_cap + CAP_SIZE, at, size;
    if (v->pci.cfg_cap && off < data + 4 && off + n > data && window_parse(f, &at, &size))
        store_le(f->config + data, size, modern_read_locked(v, at, size));
}

static void function_written(struct pci_function *f, unsigned off, unsigned n)
{
    struct virtio_device *v = of_function(f);
    unsigned data = v->pci.cfg_cap + CAP_SIZE, at, size;
    if (v->pci.cfg_cap && off < data + 4 && off + n > data && window_parse(f, &at, &size))
        modern_write_locked(v, at, size, load_le(f->config + data, size));
    if (off < PCI_COMMAND + 2 && off + n > PCI_COMMAND)
        mastering_update(v);
}

/* ---- doorbells ------------------------------------------------------------------------------------ */

/* Queues that a loop serves are rung without a way through the device. */
static struct error *doorbells_hang(struct virtio_device *v)
{
    struct error *err = NULL;
    for (unsigned i = 0; i < v->n_queues && !err; i++) {
        struct virtq *q = &v->queues[i];
        if (!q->loop)
            continue;
        if (v->pci.has_modern) {
            uint64_t at = AREA_NOTIFY + NOTIFY_STEP * i;
            err = mem_add_doorbell(v->pci.mem, at, 2, false, 0, q->kick_fd);
            if (!err && v->offer.notification_data)
                err = mem_add_doorbell(v->pci.mem, at, 4, false, 0, q->kick_fd);
        }
        if (v->pci.has_legacy && !err)
            err = mem_add_doorbell(v->pci.io, L_QUEUE_NOTIFY, 2, true, i, q->kick_fd);
    }
    return err;
}

static void doorbells_take_down(struct virtio_device *v)
{
    for (unsigned i = 0; i < v->n_queues; i++) {
        struct virtq *q = &v->queues[i];
        if (!q->loop)
            continue;
        if (v->pci.has_modern) {
            uint64_t at = AREA_NOTIFY + NOTIFY_STEP * i;
            mem_remove_doorbell(v->pci.mem, at, 2, false, 0, q->kick_fd);
            if (v->offer.notification_data)
                mem_remove_doorbell(v->pci.mem, at, 4, false, 0, q->kick_fd);
        }
        if (v->pci.has_legacy)
            mem_remove_doorbell(v->pci.io, L_QUEUE_NOTIFY, 2, true, i, q->kick_fd);
    }
}

/* ---- making the function ---------------------------------------------------------------------------- */

static unsigned vendor_cap(struct virtio_device *v, unsigned type, unsigned size, unsigned area,
                           unsigned len)
{
    uint8_t *config = v->pci.fn.config;
    unsigned at = pci_add_capability(&v->pci.fn, PCI_CAP_VENDOR, size);
    config[at + 2] = size;
    config[at + 3] = type;
    config[at + 4] = type == CAP_PCI_CFG ? 0 : MODERN_BAR;
    store_le(config + at + 8, 4, area);
    store_le(config + at + 12, 4, len);
    return at;
}

static void modern_add(struct virtio_device *v)
{
    struct pci_function *f = &v->pci.fn;
    v->pci.mem = mem_add_mmio(v->dev.vm, v->dev.path, AREAS_SIZE, &modern_ops, v);
    pci_add_bar(f, MODERN_BAR, PCI_BAR_MEM64_PREFETCH, v->pci.mem, AREAS_SIZE);
    vendor_cap(v, CAP_COMMON, CAP_SIZE, AREA_COMMON, COMMON_SIZE);
    vendor_cap(v, CAP_ISR, CAP_SIZE, AREA_ISR, 1);
    if (v->model->config_size)
        vendor_cap(v, CAP_DEVICE, CAP_SIZE, AREA_DEVICE, v->model->config_size);
    unsigned notify =
        vendor_cap(v, CAP_NOTIFY, CAP_SIZE + 4, AREA_NOTIFY, NOTIFY_STEP * MAX(v->n_queues, 1u));
    store_le(f->config + notify + CAP_SIZE, 4, NOTIFY_STEP);
    unsigned cfg = v->pci.cfg_cap = vendor_cap(v, CAP_PCI_CFG, CAP_SIZE + 4, 0, 0);
    f->writable[cfg + 4] = 0xff;
    memset(f->writable + cfg + 8, 0xff, 12);
}

static void legacy_add(struct virtio_device *v)
{
    uint64_t size = 32;
    while (size < L_SIZE + v->model->config_size)
        size *= 2;
    v->pci.io = mem_add_mmio(v->dev.vm, v->dev.path, size, &legacy_ops, v);
    pci_add_bar(&v->pci.fn, LEGACY_BAR, PCI_BAR_IO, v->pci.io, size);
}

enum { OFF, ON, AUTO }; /* disable-legacy= */

/* Which interfaces: a transitional device on the root bus and behind bridges, modern only in a port, as users know it. */
static struct error *interfaces_choose(struct virtio_device *v)
{
    struct virtio_pci *p = &v->pci;
    p->has_modern = !p->disable_modern;
    p->has_legacy = p->disable_legacy == OFF || (p->disable_legacy == AUTO && !pci_at_link(&p->fn));
    if (!v->model->transitional_id && p->disable_legacy == OFF)
        return error_new("disable-legacy=off: this device has no legacy interface");
    if (!v->model->transitional_id)
        p->has_legacy = false;
    if (v->offer.iommu_platform && p->has_legacy && p->disable_legacy == OFF)
        return error_new("iommu_platform=on needs disable-legacy=on");
    if (v->offer.iommu_platform)
        p->has_legacy = false;
    if (!p->has_modern && !p->has_legacy)
        return error_new("neither modern nor legacy interface: check disable-modern and "
                         "disable-legacy");
    return NULL;
}

static void identity_fix(struct virtio_device *v)
{
    struct pci_function *f = &v->pci.fn;
    uint16_t id = v->pci.has_legacy ? v->model->transitional_id : MODERN_ID + v->model->device_id;
    store_le(f->config + PCI_DEVICE_ID, 2, id);
    f->config[PCI_REVISION] = v->pci.has_legacy ? 0 : 1;
    store_le(f->config + PCI_SUBSYSTEM_ID, 2, v->pci.has_legacy ? v->model->device_id : 0x1100);
}

static struct error *function_make(struct virtio_device *v)
{
    struct error *err = interfaces_choose(v);
    if (err)
        return err;
    identity_fix(v);
    if (pci_at_link(&v->pci.fn))
        pci_add_express(&v->pci.fn, 0, 0);
    unsigned n = v->pci.n_vectors == UINT32_MAX ? v->n_queues + 1 : v->pci.n_vectors;
    if (n && (err = pci_add_msix(&v->pci.fn, MSIX_BAR, n)))
        return err;
    if (v->pci.has_legacy)
        legacy_add(v);
    if (v->pci.has_modern)
        modern_add(v);
    v->pci.fn.config_reading = function_reading;
    v->pci.fn.config_written = function_written;
    err = doorbells_hang(v);
    if (err)
        doorbells_take_down(v);
    return err;
}

struct error *virtio_pci_realize(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);
    const struct virtio_model *model = dev->cls->bus_class;
    const struct pci_identity identity = {
        .vendor = VENDOR_ID,
        .class_code = model->pci_class,
        .subsystem_vendor = VENDOR_ID,
        .interrupt_pin = 1,
        .rom = model->option_rom,
    };
    struct error *err = pci_realize(&v->pci.fn, dev, dev->bus, &identity);
    if (err)
        return err;
    err = virtio_init(v, &pci_transport);
    if (!err) {
        err = function_make(v);
        if (err)
            virtio_exit(v);
    }
    if (err)
        pci_unrealize(&v->pci.fn);
    return err;
}

static struct error *realize_as(struct device *dev, uint32_t disable_legacy)
{
    struct virtio_pci *p = &container_of(dev, struct virtio_device, dev)->pci;
    if ((p->disable_legacy != AUTO && p->disable_legacy != disable_legacy) || p->disable_modern)
        return error_new("a %s has %s", dev->cls->name,
                         disable_legacy == ON ? "disable-legacy=on and disable-modern=off"
                                              : "disable-legacy=off and disable-modern=off");
    p->disable_legacy = disable_legacy;
    return virtio_pci_realize(dev);
}

struct error *virtio_pci_transitional_realize(struct device *dev)
{
    return realize_as(dev, OFF);
}

struct error *virtio_pci_modern_realize(struct device *dev)
{
    return realize_as(dev, ON);
}

void virtio_pci_unrealize(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);
    doorbells_take_down(v);
    virtio_exit(v);
    pci_unrealize(&v->pci.fn);
}

void virtio_pci_reset(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);
    virtio_reset(v);
    pci_reset(&v->pci.fn);
    mastering_update(v);
}

struct error *virtio_pci_loaded(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);
    pci_loaded(&v->pci.fn);
    v->dma_off = !v->legacy && !pci_may_master(&v->pci.fn);
    return virtio_loaded(v);
}
