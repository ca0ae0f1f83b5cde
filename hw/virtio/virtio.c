/* The device side of virtio that all transports share: status, features, configuration, reset
 * (VIRTIO 1.3, 2.1 to 2.5 and 3). Rings are in virtq.c. */
#include "core/accel.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "hw/virtio/core.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

const char *const virtio_off_on_auto[] = { "off", "on", "auto", NULL };

const struct field virtio_fields[] = {
    FIELD(struct virtio_device, driver_features),
    FIELD(struct virtio_device, status, .valid = VIRTIO_DRIVER_BITS | VIRTIO_NEEDS_RESET),
    FIELD(struct virtio_device, isr, .valid = 0x3),
    FIELD(struct virtio_device, config_generation),
    FIELD(struct virtio_device, features_set, .max = 1),
    FIELD(struct virtio_device, legacy, .max = 1),
};

const struct field virtq_fields[] = {
    FIELD(struct virtq, size),
    FIELD(struct virtq, vector),
    FIELD(struct virtq, enabled, .max = 1),
    FIELD(struct virtq, desc),
    FIELD(struct virtq, driver),
    FIELD(struct virtq, device),
    FIELD(struct virtq, last_avail),
    FIELD(struct virtq, used),
    FIELD(struct virtq, signalled),
    FIELD(struct virtq, avail_wrap, .max = 1),
    FIELD(struct virtq, used_wrap, .max = 1),
    FIELD(struct virtq, signalled_valid, .max = 1),
    DERIVED(struct virtq, index),
    DERIVED(struct virtq, max_size),
    DERIVED(struct virtq, view),
    DERIVED(struct virtq, generation),
    DERIVED(struct virtq, stale),
    DERIVED(struct virtq, in_flight),
    DERIVED(struct virtq, descs_in_flight),
    DERIVED(struct virtq, n_pushed),
    DERIVED(struct virtq, descs_pushed),
    DERIVED(struct virtq, first_pushed),
    DERIVED(struct virtq, first_flags),
    DERIVED(struct virtq, kicks_wanted),
    DERIVED(struct virtq, kick_fd),
    DERIVED(struct virtq, counts),
    DERIVED(struct virtq, desc_map),
    DERIVED(struct virtq, driver_map),
    DERIVED(struct virtq, device_map),
};

/* ---- making a device ---------------------------------------------------------------------------- */

/* Core features and the property that offers them. */
static uint64_t core_features(const struct virtio_device *v)
{
    return VIRTIO_BIT(VIRTIO_F_VERSION_1) |
           (v->offer.any_layout ? VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT) : 0) |
           (v->offer.event_idx ? VIRTIO_BIT(VIRTIO_F_EVENT_IDX) : 0) |
           (v->offer.indirect ? VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) : 0) |
           (v->offer.packed ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0) |
           (v->offer.in_order ? VIRTIO_BIT(VIRTIO_F_IN_ORDER) : 0) |
           (v->offer.notification_data ? VIRTIO_BIT(VIRTIO_F_NOTIFICATION_DATA) : 0) |
           (v->offer.ring_reset ? VIRTIO_BIT(VIRTIO_F_RING_RESET) : 0) |
           (v->offer.iommu_platform ? VIRTIO_BIT(VIRTIO_F_ACCESS_PLATFORM) : 0);
}

struct virtq *virtio_add_queue(struct virtio_device *v, uint16_t max_size)
{
    assert(v->n_queues < VIRTIO_MAX_QUEUES);
    assert(max_size && max_size <= VIRTIO_MAX_QUEUE_SIZE && !(max_size & (max_size - 1)));
    struct virtq *q = &v->queues[v->n_queues];
    *q = (struct virtq){ .v = v, .index = v->n_queues++, .max_size = max_size, .kick_fd = -1 };
    virtq_reset(q);
    return q;
}

static void queue_rung(void *opaque, uint32_t ready)
{
    struct virtq *q = opaque;
    uint64_t n;
    if (read(q->kick_fd, &n, sizeof(n)) != sizeof(n))
        return;
    device_lock(&q->v->dev);
    q->counts.kicks++;
    virtq_run(q);
    device_unlock(&q->v->dev);
}

void virtq_serve_on(struct virtq *q, struct loop *loop)
{
    assert(!q->loop);
    q->loop = loop;
    if (!loop)
        return;
    q->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->kick_fd >= 0) /* else virtio_init says so */
        loop_watch(loop, q->kick_fd, EPOLLIN, queue_rung, q);
}

const char *const virtio_ioeventfd_names[] = { "auto", "on", "off", NULL };

bool virtio_rings_main_loop(const struct virtio_device *v, uint32_t ioeventfd)
{
    return ioeventfd == IOEVENTFD_ON ||
           (ioeventfd == IOEVENTFD_AUTO && v->dev.vm->accel->dear_exits);
}

/* After a stop or a load: rings may hold what nobody rang for. */
static void queues_look(void *opaque, bool running)
{
    struct virtio_device *v = opaque;
    device_lock(&v->dev);
    for (unsigned i = 0; running && i < v->n_queues; i++)
        virtq_kick(&v->queues[i]);
    device_unlock(&v->dev);
}

static void queues_free(struct virtio_device *v)
{
    for (unsigned i = 0; i < v->n_queues; i++) {
        struct virtq *q = &v->queues[i];
        if (q->kick_fd >= 0) {
            loop_unwatch(q->loop, q->kick_fd);
            loop_sync(q->loop);
            close(q->kick_fd);
        }
        virtq_free(q);
    }
    v->n_queues = 0;
    pthread_cond_destroy(&v->reset_done);
}

static void cond_init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

struct error *virtio_init(struct virtio_device *v, const struct virtio_transport *transport)
{
    v->model = v->dev.cls->bus_class;
    v->transport = transport;
    v->n_queues = 0;
    v->features = 0;
    assert(v->model->config_size <= VIRTIO_MAX_CONFIG);
    cond_init_monotonic(&v->reset_done);
    struct error *err = v->model->realize(v);
    if (err) {
        queues_free(v);
        return err;
    }
    v->features |= core_features(v);
    vm_on_run(v->dev.vm, queues_look, v);
    for (unsigned i = 0; i < v->n_queues; i++) {
        if (v->queues[i].loop && v->queues[i].kick_fd < 0 && !err)
            err = error_errno("cannot make an event for queue %u", i);
    }
    if (err)
        virtio_exit(v);
    return err;
}

void virtio_exit(struct virtio_device *v)
{
    vm_forget(v->dev.vm, v);
    device_lock(&v->dev);
    virtio_reset(v);
    device_unlock(&v->dev);
    if (v->model->unrealize)
        v->model->unrealize(v);
    queues_free(v);
}

/* ---- status and features -------------------------------------------------------------------------- */

bool virtio_running(const struct virtio_device *v)
{
    return (v->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK &&
           !v->resetting;
}

bool virtio_broken(struct virtio_device *v, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    device_broken(&v->dev, "%s", text);
    if (!(v->status & VIRTIO_NEEDS_RESET)) {
        bool tell = v->status & VIRTIO_DRIVER_OK;
        v->status |= VIRTIO_NEEDS_RESET;
        if (tell) /* 2.1.2 */
            virtio_config_changed(v);
    }
    return false;
}

void virtio_config_changed(struct virtio_device *v)
{
    v->config_generation++;
    if (v->status & VIRTIO_DRIVER_OK)
        v->transport->config_interrupt(v);
}

/* What the interface in use shows: a legacy driver has 32 bits (6.3), ANY_LAYOUT is only for it. */
static uint64_t visible_features(const struct virtio_device *v)
{
    if (v->legacy)
        return v->features & 0xffffffff;
    return v->features & ~VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT);
}

uint32_t virtio_offered(const struct virtio_device *v, uint32_t select)
{
    return select < 2 ? visible_features(v) >> 32 * select : 0;
}

uint32_t virtio_accepted(const struct virtio_device *v, uint32_t select)
{
    return select < 2 ? v->driver_features >> 32 * select : 0;
}

void virtio_accept(struct virtio_device *v, uint32_t select, uint32_t accepted)
{
    if (v->features_set || v->resetting || v->status & VIRTIO_FEATURES_OK)
        return;
    if (select >= 2) {
        if (accepted)
            virtio_broken(v, "features above bit 63 accepted");
        return;
    }
    uint64_t mask = 0xffffffffull << 32 * select;
    v->driver_features = (v->driver_features & ~mask) | ((uint64_t)accepted << 32 * select);
    if (v->legacy)
        v->driver_features &= visible_features(v);
}

static bool features_acceptable(const struct virtio_device *v)
{
    if (v->driver_features & ~visible_features(v))
        return false;
    return v->legacy || virtio_has(v, VIRTIO_F_VERSION_1);
}

static bool features_settle(struct virtio_device *v)
{
    if (!features_acceptable(v))
        return false;
    if (v->model->set_features && !v->model->set_features(v, v->driver_features))
        return false;
    v->features_set = true;
    return true;
}

uint8_t virtio_status(const struct virtio_device *v)
{
    return v->status;
}

static void driver_ok(struct virtio_device *v)
{
    if (!v->features_set && v->legacy)
        features_settle(v);
    if (!v->features_set) {
        virtio_broken(v, "DRIVER_OK before FEATURES_OK");
        return;
    }
    if (v->model->started)
        v->model->started(v);
    for (unsigned i = 0; i < v->n_queues; i++)
        virtq_kick(&v->queues[i]);
}

/* 2.1: bits are only ever added; FEATURES_OK stays clear if the combination is refused. */
void virtio_set_status(struct virtio_device *v, uint8_t status)
{
    if (v->resetting)
        return;
    uint8_t added = status & ~v->status & VIRTIO_DRIVER_BITS;
    if (added & VIRTIO_FEATURES_OK && !v->features_set && !features_settle(v))
        added &= ~VIRTIO_FEATURES_OK;
    v->status |= added;
    if (added & VIRTIO_DRIVER_OK && !(v->status & VIRTIO_NEEDS_RESET))
        driver_ok(v);
}

void virtio_set_dma(struct virtio_device *v, bool on)
{
    bool was_off = v->dma_off;
    v->dma_off = !on;
    if (was_off && on && virtio_running(v)) {
        for (unsigned i = 0; i < v->n_queues; i++)
            virtq_kick(&v->queues[i]);
    }
}

/* ---- reset ------------------------------------------------------------------------------------- */

static bool chains_out(const struct virtio_device *v)
{
    for (unsigned i = 0; i < v->n_queues; i++) {
        if (v->queues[i].stale)
            return true;
    }
    return false;
}

static void reset_finish(struct virtio_device *v)
{
    v->resetting = false;
    v->status = 0;
    pthread_cond_broadcast(&v->reset_done);
}

bool virtio_reset(struct virtio_device *v)
{
    v->resetting = true;
    for (unsigned i = 0; i < v->n_queues; i++)
        virtq_reset(&v->queues[i]);
    v->driver_features = 0;
    v->features_set = false;
    v->isr = 0;
    v->legacy = false;
    v->dev.broken = false;
    if (v->model->reset)
        v->model->reset(v);
    v->transport->reset(v);
    if (!chains_out(v))
        reset_finish(v);
    return !v->resetting;
}

void virtio_reset_wait(struct virtio_device *v)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    if (virtio_reset(v))
        return;
    while (v->resetting &&
           pthread_cond_timedwait(&v->reset_done, &v->dev.lock, &until) != ETIMEDOUT)
        ;
}

void virtq_stale_returned(struct virtq *q)
{
    assert(q->stale);
    q->stale--;
    if (q->v->resetting && !chains_out(q->v))
        reset_finish(q->v);
}

/* Nothing is looked up or served here: memory may be loaded later, and the VM does not run. */
struct error *virtio_loaded(struct virtio_device *v)
{
    if ((v->features_set && !features_acceptable(v)) || (virtio_running(v) && !v->features_set))
        return error_new("features %#" PRIx64 " with status %#x do not suit this device",
                         v->driver_features, v->status);
    for (unsigned i = 0; i < v->n_queues; i++) {
        struct virtq *q = &v->queues[i];
        q->view = 0;
        q->packed = virtio_has(v, VIRTIO_F_RING_PACKED);
        if (q->enabled && (!virtq_fits(q) || (!v->features_set && !v->legacy)))
            return error_new("queue %u: size %u, positions %u and %u do not fit together", i,
                             q->size, q->last_avail, q->used);
    }
    return v->model->loaded ? v->model->loaded(v) : NULL;
}

/* ---- device configuration ------------------------------------------------------------------------ */

uint64_t virtio_config_read(struct virtio_device *v, uint32_t off, unsigned n)
{
    uint8_t config[VIRTIO_MAX_CONFIG + 8] = { 0 };
    if (off >= v->model->config_size || !v->model->get_config)
        return 0;
    v->model->get_config(v, config);
    memset(config + v->model->config_size, 0, 8);
    return load_le(config + off, n);
}

void virtio_config_write(struct virtio_device *v, uint32_t off, unsigned n, uint64_t value)
{
    uint8_t data[8];
    if (!v->model->set_config || off > v->model->config_size || n > v->model->config_size - off)
        return;
    store_le(data, n, value);
    v->model->set_config(v, off, data, n);
}
