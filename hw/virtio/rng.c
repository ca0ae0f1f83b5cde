/* virtio entropy device (VIRTIO 1.3, 5.4): fills what the driver offers with random bytes from the
 * host kernel or an rng object, at most max-bytes in each period. */
#include "core/clock.h"
#include "core/error.h"
#include "core/object.h"
#include "core/vm.h"
#include "hw/virtio/virtio.h"

#include <sys/random.h>

#define NS_PER_MS  1000000ull
#define QUEUE_SIZE 8

enum {
    STEP = 256,       /* getrandom gives this many without interruption */
    MOST = 64 * 1024, /* in one chain: the driver waits meanwhile */
    RETRY_MS = 100,   /* when a source has nothing */
};

struct virtio_rng {
    struct virtio_device v;
    /* properties */
    struct object *source;
    uint64_t max_bytes;
    uint32_t period_ms;

    /* state */
    uint64_t quota;         /* bytes left in this period */
    uint64_t period_end_ns; /* guest clock; 0: no period has begun */

    struct timer *refill; /* derived from period_end_ns */
};

static struct virtio_rng *rng_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_rng, v);
}

static size_t random_bytes(struct virtio_rng *d, uint8_t *buf, size_t n)
{
    if (d->source)
        return object_random(d->source, buf, n);
    ssize_t got = getrandom(buf, n, 0);
    return got < 0 ? 0 : (size_t)got;
}

/* Bytes that may be given out now; begins a period. */
static uint64_t quota_now(struct virtio_rng *d)
{
    if (!d->max_bytes)
        return UINT64_MAX;
    uint64_t now = vm_now_ns(d->v.dev.vm);
    if (now >= d->period_end_ns) {
        d->quota = d->max_bytes;
        d->period_end_ns = now + d->period_ms * NS_PER_MS;
    }
    return d->quota;
}

/* How many bytes were put into the chain; 0: the source has none, or the quota is used up. */
static uint64_t fill(struct virtio_rng *d, struct virtq_chain *c)
{
    uint8_t buf[STEP];
    uint64_t done = 0, most = MIN(MIN(c->writable_len, MOST), quota_now(d));
    while (done < most) {
        size_t got = random_bytes(d, buf, MIN(sizeof(buf), most - done));
        if (!got)
            break;
        done += chain_write(c, done, buf, got);
    }
    d->quota -= d->max_bytes ? done : 0;
    return done;
}

static void handle_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtio_rng *d = rng_of(v);
    struct virtq_chain *c;
    while ((c = virtq_pop(q))) {
        uint64_t n = fill(d, c);
        if (!n && c->writable_len) {
            virtq_unpop(c);
            uint64_t retry_ns = vm_now_ns(v->dev.vm) + RETRY_MS * NS_PER_MS;
            timer_set(d->refill, quota_now(d) ? retry_ns : d->period_end_ns);
            break;
        }
        virtq_push(c, (uint32_t)n);
    }
    virtq_notify(q);
}

static void refill(void *opaque)
{
    struct virtio_rng *d = opaque;
    device_lock(&d->v.dev);
    handle_queue(&d->v, &d->v.queues[0]);
    device_unlock(&d->v.dev);
}

static void reset(struct virtio_device *v)
{
    struct virtio_rng *d = rng_of(v);
    timer_cancel(d->refill); /* the quota goes on: a reset must not be a way around it */
}

static struct error *loaded(struct virtio_device *v)
{
    struct virtio_rng *d = rng_of(v);
    d->quota = MIN(d->quota, d->max_bytes);
    if (d->max_bytes)
        timer_set(d->refill, d->period_end_ns);
    return NULL;
}

static struct error *realize(struct virtio_device *v)
{
    struct virtio_rng *d = rng_of(v);
    if (d->source && d->source->kind != OBJECT_RNG)
        return error_new("rng='%s' is a %s object", d->source->id, d->source->type);
    d->refill = timer_new(v->dev.vm, refill, d);
    virtio_add_queue(v, QUEUE_SIZE);
    return NULL;
}

static void unrealize(struct virtio_device *v)
{
    timer_free(rng_of(v)->refill);
}

static const struct virtio_model rng_model = {
    .device_id = 4,
    .transitional_id = 0x1005,
    .pci_class = 0x00ff00,
    .realize = realize,
    .unrealize = unrealize,
    .handle_queue = handle_queue,
    .reset = reset,
    .loaded = loaded,
};

#define P(member, name, kind, ...) PROP(struct virtio_rng, member, name, kind, __VA_ARGS__)
#define RNG_PROPS                                                                             \
    , P(source, "rng", PROP_OBJECT, .help = "id of an rng object; default: the host kernel"), \
        P(max_bytes, "max-bytes", PROP_UINT, .help = "in each period; default: no bound"),    \
        P(period_ms, "period", PROP_UINT, .def = "65536", .min = 1, .help = "milliseconds")
#define RNG_STATE , FIELD(struct virtio_rng, quota), FIELD(struct virtio_rng, period_end_ns)
VIRTIO_CLASSES(virtio_rng, "virtio-rng", "random numbers", struct virtio_rng, rng_model, RNG_PROPS,
               RNG_STATE)
VIRTIO_LEGACY_CLASSES(virtio_rng, "virtio-rng", "random numbers", struct virtio_rng, rng_model)
