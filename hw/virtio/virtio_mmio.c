/* virtio over MMIO (VIRTIO 1.3, 4.2): version 2, or the legacy version 1 (4.2.4). */
#include "hw/virtio/virtio_mmio.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/virtio/core.h"

#include <stdio.h>

enum {
    MAGIC = 0x000,
    VERSION = 0x004,
    DEVICE_ID = 0x008,
    VENDOR_ID = 0x00c,
    DEVICE_FEATURES = 0x010,
    DEVICE_FEATURES_SEL = 0x014,
    DRIVER_FEATURES = 0x020,
    DRIVER_FEATURES_SEL = 0x024,
    GUEST_PAGE_SIZE = 0x028, /* legacy */
    QUEUE_SEL = 0x030,
    QUEUE_SIZE_MAX = 0x034,
    QUEUE_SIZE = 0x038,
    QUEUE_ALIGN = 0x03c, /* legacy */
    QUEUE_PFN = 0x040,   /* legacy */
    QUEUE_READY = 0x044,
    QUEUE_NOTIFY = 0x050,
    INTERRUPT_STATUS = 0x060,
    INTERRUPT_ACK = 0x064,
    STATUS = 0x070,
    QUEUE_DESC = 0x080,
    QUEUE_DRIVER = 0x090,
    QUEUE_DEVICE = 0x0a0,
    SHM_LEN_LOW = 0x0b0,
    SHM_BASE_HIGH = 0x0bc,
    QUEUE_RESET = 0x0c0,
    CONFIG_GENERATION = 0x0fc,
    CONFIG = 0x100,
};

struct virtio_mmio_slot {
    struct device dev;
    unsigned n;
    gpa at;
    struct irq irq;
    struct mem_region *region;
    bool force_legacy;               /* property: of whatever is plugged in */
    struct virtio_device *_Atomic v; /* NULL: empty */
};

const struct field virtio_mmio_fields[] = {
    FIELD(struct virtio_mmio, feature_select), FIELD(struct virtio_mmio, driver_feature_select),
    FIELD(struct virtio_mmio, queue_select),   FIELD(struct virtio_mmio, guest_page_size),
    FIELD(struct virtio_mmio, queue_align),
};

/* ---- what the core calls ------------------------------------------------------------------------- */

static void line_update(struct virtio_device *v)
{
    irq_set(&v->mmio.slot->irq, v->isr != 0);
}

static void interrupt(struct virtio_device *v, uint8_t cause)
{
    if (v->isr & cause)
        return;
    v->isr |= cause;
    line_update(v);
}

static void queue_interrupt(struct virtio_device *v, struct virtq *q)
{
    interrupt(v, VIRTIO_ISR_QUEUE);
}

static void config_interrupt(struct virtio_device *v)
{
    interrupt(v, VIRTIO_ISR_CONFIG);
}

static void transport_reset(struct virtio_device *v)
{
    struct virtio_mmio *m = &v->mmio;
    m->feature_select = m->driver_feature_select = m->queue_select = 0;
    m->queue_align = 0; /* Linux tells its page size once, and resets the device after that */
    v->legacy = m->force_legacy;
    line_update(v);
}

static const struct virtio_transport mmio_transport = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .reset = transport_reset,
};

/* ---- registers ------------------------------------------------------------------------------------ */

/* The same for every slot, taken or not. */
static uint64_t identity_read(const struct virtio_device *v, unsigned off)
{
    switch (off) {
    case MAGIC: return 0x74726976;
    case VERSION: return v && v->mmio.force_legacy ? 1 : 2;
    case DEVICE_ID: return v ? v->model->device_id : 0;
    case VENDOR_ID: return 0x554d4551;
    default: return 0;
    }
}

static uint64_t register_read(struct virtio_device *v, unsigned off)
{
    struct virtq *q = virtio_queue(v, v->mmio.queue_select);
    switch (off) {
    case DEVICE_FEATURES: return virtio_offered(v, v->mmio.feature_select);
    case QUEUE_SIZE_MAX: return q ? q->max_size : 0;
    case QUEUE_PFN:
        return v->legacy && q && q->enabled && v->mmio.guest_page_size
                   ? q->desc / v->mmio.guest_page_size
                   : 0;
    case QUEUE_READY: return !v->legacy && q && q->enabled;
    case QUEUE_RESET: return q && q->stale;
    case INTERRUPT_STATUS: return v->isr;
    case STATUS: return virtio_status(v);
    case CONFIG_GENERATION: return v->legacy ? 0 : v->config_generation;
    default:
        /* There is no shared memory: length and base are all ones (4.2.2). */
        return off >= SHM_LEN_LOW && off <= SHM_BASE_HIGH ? 0xffffffff : identity_read(v, off);
    }
}

static void half_write(struct virtq *q, uint64_t *to, unsigned off, uint32_t value)
{
    unsigned shift = off & 4 ? 32 : 0;
    if (!q->enabled)
        *to = (*to & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static void queue_ready_write(struct virtq *q, uint32_t value)
{
    if (value == 1)
        virtq_enable(q);
    else if (value == 0 && q->enabled)
        virtq_reset_by_driver(q);
}

static void legacy_write(struct virtio_device *v, struct virtq *q, unsigned off, uint32_t value)
{
    struct virtio_mmio *m = &v->mmio;
    switch (off) {
    case GUEST_PAGE_SIZE:
        if (!(value & (value - 1)))
            m->guest_page_size = value;
        break;
    case QUEUE_ALIGN: m->queue_align = value; break;
    case QUEUE_PFN:
        if (q)
            virtq_enable_legacy(q, (uint64_t)value * m->guest_page_size, m->queue_align);
        break;
    default: break;
    }
}

static void modern_write(struct virtio_device *v, struct virtq *q, unsigned off, uint32_t value)
{
    switch (q ? off : 0) {
    case QUEUE_READY: queue_ready_write(q, value); break;
    case QUEUE_DESC:
    case QUEUE_DESC + 4: half_write(q, &q->desc, off, value); break;
    case QUEUE_DRIVER:
    case QUEUE_DRIVER + 4: half_write(q, &q->driver, off, value); break;
    case QUEUE_DEVICE:
    case QUEUE_DEVICE + 4: half_write(q, &q->device, off, value); break;
    case QUEUE_RESET:
        if (value == 1 && virtio_has(v, VIRTIO_F_RING_RESET))
            virtq_reset_by_driver(q);
        break;
    default: break;
    }
}

static void notify_write(struct virtio_device *v, uint32_t value)
{
    bool data = virtio_has(v, VIRTIO_F_NOTIFICATION_DATA);
    struct virtq *q = virtio_queue(v, data ? value & 0xffff : value);
    if (q)
        virtq_kick(q);
}

static void register_write(struct virtio_device *v, unsigned off, uint32_t value)
{
    struct virtq *q = virtio_queue(v, v->mmio.queue_select);
    switch (off) {
    case DEVICE_FEATURES_SEL: v->mmio.feature_select = value; break;
    case DRIVER_FEATURES: virtio_accept(v, v->mmio.driver_feature_select, value); break;
    case DRIVER_FEATURES_SEL: v->mmio.driver_feature_select = value; break;
    case QUEUE_SEL: v->mmio.queue_select = value; break;
    case QUEUE_SIZE:
        if (q)
            virtq_set_size(q, value);
        break;
    case QUEUE_NOTIFY: notify_write(v, value); break;
    case INTERRUPT_ACK:
        v->isr &= ~value;
        line_update(v);
        break;
    case STATUS:
        if (value & 0xff)
            virtio_set_status(v, value);
        else
            virtio_reset_wait(v);
        break;
    default:
        if (v->legacy)
            legacy_write(v, q, off, value);
        else
            modern_write(v, q, off, value);
    }
}

static uint64_t slot_read(void *opaque, uint64_t off, unsigned size)
{
    struct virtio_mmio_slot *s = opaque;
    struct virtio_device *v = s->v;
    if (off < CONFIG && size != 4)
        return 0;
    if (!v)
        return off < CONFIG ? identity_read(NULL, off) : 0;
    device_lock(&v->dev);
    uint64_t value =
        off < CONFIG ? register_read(v, off) : virtio_config_read(v, off - CONFIG, size);
    device_unlock(&v->dev);
    return value;
}

static void slot_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct virtio_mmio_slot *s = opaque;
    struct virtio_device *v = s->v;
    if (!v || (off < CONFIG && size != 4))
        return;
    device_lock(&v->dev);
    if (off < CONFIG)
        register_write(v, off, value);
    else
        virtio_config_write(v, off - CONFIG, size, value);
    device_unlock(&v->dev);
}

static const struct mmio_ops slot_ops = { slot_read, slot_write, 1, 4 };

/* ---- slots ---------------------------------------------------------------------------------------- */

static struct error *slot_realize(struct device *dev)
{
    struct virtio_mmio_slot *s = container_of(dev, struct virtio_mmio_slot, dev);
    snprintf(dev->path, sizeof(dev->path), "virtio-mmio.%u", s->n);
    s->region = mem_add_mmio(dev->vm, dev->path, VIRTIO_MMIO_SIZE, &slot_ops, s);
    mem_map(s->region, s->at, 0);
    return NULL;
}

static void slot_unrealize(struct device *dev)
{
    mem_free_region(container_of(dev, struct virtio_mmio_slot, dev)->region);
}

static const struct prop slot_props[] = {
    PROP(struct virtio_mmio_slot, force_legacy, "force-legacy", PROP_BOOL, .def = "off",
         .help = "register layout version 1"),
};

const struct device_class virtio_mmio_slot_class = {
    .name = "virtio-mmio",
    .desc = "place for a virtio device on the system bus",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct virtio_mmio_slot),
    .props = TABLE(slot_props),
    .realize = slot_realize,
    .unrealize = slot_unrealize,
};

struct error *virtio_mmio_slot_create(struct vm *vm, unsigned n, gpa at, const struct irq *irq)
{
    struct device *dev = device_new(vm, &virtio_mmio_slot_class);
    struct virtio_mmio_slot *s = container_of(dev, struct virtio_mmio_slot, dev);
    s->n = n;
    s->at = at;
    s->irq = *irq;
    struct error *err = device_realize(dev, NULL, NULL);
    if (err)
        device_free(dev);
    return err;
}

/* The slot called `name`, or without a name the free one with the highest number. */
static struct virtio_mmio_slot *slot_find(struct vm *vm, const char *name)
{
    struct virtio_mmio_slot *best = NULL;
    for (struct device *dev = vm->devices; dev; dev = dev->next) {
        if (dev->cls != &virtio_mmio_slot_class || !dev->realized)
            continue;
        struct virtio_mmio_slot *s = container_of(dev, struct virtio_mmio_slot, dev);
        char own[32];
        snprintf(own, sizeof(own), "virtio-mmio-bus.%u", s->n);
        if (name ? !strcmp(name, own) : !s->v && (!best || s->n > best->n))
            best = s;
    }
    return best;
}

bool virtio_mmio_slot_used(struct vm *vm, unsigned n)
{
    char name[32];
    snprintf(name, sizeof(name), "virtio-mmio-bus.%u", n);
    const struct virtio_mmio_slot *s = slot_find(vm, name);
    return s && s->v;
}

static struct error *slot_choose(struct virtio_device *v)
{
    const char *name = v->mmio.bus_name && *v->mmio.bus_name ? v->mmio.bus_name : NULL;
    struct virtio_mmio_slot *s = v->dev.bus ? v->dev.bus : slot_find(v->dev.vm, name);
    if (!s && name)
        return error_new(
            "no bus '%s': this machine's are called virtio-mmio-bus.0 and so on, if it "
            "has any",
            name);
    if (!s)
        return error_new("this machine has no free virtio-mmio slot");
    if (s->v)
        return error_new("bus 'virtio-mmio-bus.%u' is taken by %s", s->n, s->v->dev.cls->name);
    v->mmio.slot = s;
    v->mmio.force_legacy |= s->force_legacy;
    v->dev.bus = s;
    return NULL;
}

/* ---- the device in a slot --------------------------------------------------------------------------- */

static struct error *doorbells_hang(struct virtio_device *v)
{
    struct error *err = NULL;
    for (unsigned i = 0; i < v->n_queues && !err; i++) {
        struct virtq *q = &v->queues[i];
        if (q->loop)
            err = mem_add_doorbell(v->mmio.slot->region, QUEUE_NOTIFY, 4, true, i, q->kick_fd);
    }
    return err;
}

static void doorbells_take_down(struct virtio_device *v)
{
    for (unsigned i = 0; i < v->n_queues; i++) {
        struct virtq *q = &v->queues[i];
        if (q->loop)
            mem_remove_doorbell(v->mmio.slot->region, QUEUE_NOTIFY, 4, true, i, q->kick_fd);
    }
}

struct error *virtio_mmio_realize(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);
    struct error *err = slot_choose(v);
    if (err)
        return err;
    snprintf(dev->path, sizeof(dev->path), "virtio-mmio.%u/%s", v->mmio.slot->n, dev->cls->name);
    err = virtio_init(v, &mmio_transport);
    if (err)
        return err;
    err = doorbells_hang(v);
    if (err) {
        doorbells_take_down(v);
        virtio_exit(v);
        return err;
    }
    v->mmio.slot->v = v;
    return NULL;
}

void virtio_mmio_unrealize(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);
    doorbells_take_down(v);
    v->mmio.slot->v = NULL;
    virtio_exit(v);
}

void virtio_mmio_reset(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);
    v->mmio.guest_page_size = 0;
    virtio_reset(v);
}

struct error *virtio_mmio_loaded(struct device *dev)
{
    struct virtio_device *v = container_of(dev, struct virtio_device, dev);
    v->legacy = v->mmio.force_legacy;
    line_update(v);
    return virtio_loaded(v);
}
