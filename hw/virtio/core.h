/* Between the core of virtio and its transports; models do not include this. Device lock held unless
 * said otherwise. */
#pragma once

#include "hw/virtio/virtio.h"

enum {
    VIRTIO_ACKNOWLEDGE = 1 << 0,
    VIRTIO_DRIVER = 1 << 1,
    VIRTIO_DRIVER_OK = 1 << 2,
    VIRTIO_FEATURES_OK = 1 << 3,
    VIRTIO_NEEDS_RESET = 1 << 6,
    VIRTIO_FAILED = 1 << 7,
    VIRTIO_DRIVER_BITS = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK |
                         VIRTIO_FEATURES_OK | VIRTIO_FAILED,

    VIRTIO_ISR_QUEUE = 1 << 0,
    VIRTIO_ISR_CONFIG = 1 << 1,
    VIRTIO_NO_VECTOR = 0xffff,
};

struct virtio_transport {
    void (*queue_interrupt)(struct virtio_device *v, struct virtq *q);
    void (*config_interrupt)(struct virtio_device *v);
    void (*reset)(struct virtio_device *v); /* the transport's own registers */
};

/* Realize and unrealize the common part; no lock held. The transport's realize goes around. */
struct error *virtio_init(struct virtio_device *v, const struct virtio_transport *transport);
void virtio_exit(struct virtio_device *v);
/* Power-on state. True when no chain is out; else the device is resetting until they are back. */
bool virtio_reset(struct virtio_device *v);
/* As virtio_reset; waits, releasing the lock meanwhile, for chains in host I/O, but not for ever. For
 * drivers that do not know that a reset takes time. */
void virtio_reset_wait(struct virtio_device *v);
struct error *virtio_loaded(struct virtio_device *v);

uint32_t virtio_offered(const struct virtio_device *v, uint32_t select);
uint32_t virtio_accepted(const struct virtio_device *v, uint32_t select);
void virtio_accept(struct virtio_device *v, uint32_t select, uint32_t bits);
uint8_t virtio_status(const struct virtio_device *v);
void virtio_set_status(struct virtio_device *v, uint8_t status); /* not 0 */
uint64_t virtio_config_read(struct virtio_device *v, uint32_t off, unsigned n);
void virtio_config_write(struct virtio_device *v, uint32_t off, unsigned n, uint64_t value);
/* The bus lets the device reach memory, or not any more. */
void virtio_set_dma(struct virtio_device *v, bool on);

/* Queues, by the driver. NULL if there is none of that number. */
static inline struct virtq *virtio_queue(struct virtio_device *v, uint32_t n)
{
    return n < v->n_queues ? &v->queues[n] : NULL;
}
void virtq_set_size(struct virtq *q, uint32_t size);
void virtq_enable(struct virtq *q); /* checks and maps; a bad layout breaks the device */
/* A legacy page number: lays out the three areas behind each other; 0 disables. */
void virtq_enable_legacy(struct virtq *q, uint64_t at, uint32_t align);
/* Do size and positions suit the kind of ring? For what comes from a stream. */
bool virtq_fits(const struct virtq *q);
void virtq_reset(struct virtq *q);
/* RING_RESET of this one by the driver. */
void virtq_reset_by_driver(struct virtq *q);
/* A chain of an older generation came back. */
void virtq_stale_returned(struct virtq *q);
void virtq_free(struct virtq *q);
/* Let the model look at the queue if that is allowed now. */
void virtq_run(struct virtq *q);
