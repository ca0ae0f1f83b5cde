/* virtio memory balloon (VIRTIO 1.3, 5.5): pages the guest gives up, or reports as free, go back to
 * the host; used again they read as zero. */
#include "hw/virtio/balloon.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/vm.h"
#include "hw/virtio/virtio.h"

#include <sys/mman.h>
#include <unistd.h>

/* Feature bits, 5.5.3 */
enum { BALLOON_F_STATS_VQ = 1, BALLOON_F_DEFLATE_ON_OOM = 2, BALLOON_F_REPORTING = 5 };
enum {
    PAGE = 4096,        /* what page numbers count, 5.5.6 */
    BATCH = 256,        /* page numbers read at a time */
    MAX_LIST = 1 << 20, /* bytes of page numbers in one chain; drivers send 1 KiB */
    QUEUE_SIZE = 128,
    STAT_SIZE = 10,
    CONFIG_SIZE = 8,
    CONFIG_ACTUAL = 4,
};
enum role { INFLATE, DEFLATE, STATS, REPORTING, NOTHING };

const char *const balloon_stat_names[BALLOON_N_STATS] = {
    "stat-swap-in",      "stat-swap-out",     "stat-major-faults",     "stat-minor-faults",
    "stat-free-memory",  "stat-total-memory", "stat-available-memory", "stat-disk-caches",
    "stat-htlb-pgalloc", "stat-htlb-pgfail",
};

struct virtio_balloon {
    struct virtio_device v;
    /* properties */
    bool deflate_on_oom, reporting;
    uint32_t poll_s;

    /* state, in pages */
    uint32_t wanted, actual;

    /* derived */
    struct virtq_chain *stats_buffer; /* the driver's; giving it back asks for new numbers */
    uint64_t stats[BALLOON_N_STATS], stats_at_ns;
    struct timer *poll;
    uint64_t host_page;
};

static struct virtio_balloon *balloon_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_balloon, v);
}

/* Queues the driver did not ask for are not there, and those behind them move up. */
static enum role role_of(const struct virtio_balloon *d, const struct virtq *q)
{
    const enum role roles[] = {
        INFLATE,
        DEFLATE,
        virtio_has(&d->v, BALLOON_F_STATS_VQ) ? STATS : REPORTING,
        virtio_has(&d->v, BALLOON_F_STATS_VQ) ? REPORTING : NOTHING,
    };
    return q->index < ARRAY_LEN(roles) ? roles[q->index] : NOTHING;
}

/* ---- giving memory back ----------------------------------------------------------------------- */
/* The whole host pages inside [at, at + n). Of a memfd (RAM_SHARED) they have to be removed; anonymous ones cannot be. */
static void discard(const struct virtio_balloon *d, void *at, uint64_t n)
{
    uintptr_t start = align_up((uintptr_t)at, d->host_page);
    uintptr_t end = align_down((uintptr_t)at + n, d->host_page);
    if (start < end && madvise((void *)start, end - start, MADV_REMOVE))
        madvise((void *)start, end - start, MADV_DONTNEED);
}

static void discard_guest(struct virtio_balloon *d, gpa at, uint64_t n)
{
    struct iovec iov;
    unsigned n_iov = 1;
    if (!mem_pin(d->v.dev.vm, at, n, true, &iov, &n_iov)) {
        if (n == PAGE) {
            device_broken(&d->v.dev, "page %#llx is not RAM", (unsigned long long)at);
            return;
        }
        for (uint64_t off = 0; off < n; off += PAGE) /* a run may cross blocks: page by page */
            discard_guest(d, at + off, PAGE);
        return;
    }
    discard(d, iov.iov_base, n);
    mem_mark_written(d->v.dev.vm, at, n);
}

/* Page numbers; neighbours, up or down, go together. */
static void inflate(struct virtio_balloon *d, const struct virtq_chain *c)
{
    uint8_t raw[BATCH * 4];
    uint64_t off = 0, first = 0, n = 0;
    for (size_t got; (got = chain_read(c, off, raw, sizeof(raw)) / 4); off += got * 4)
        for (size_t i = 0; i < got; i++) {
            uint64_t page = load_le(raw + i * 4, 4);
            if (n && (page == first + n || page + 1 == first)) {
                first = MIN(first, page);
                n++;
                continue;
            }
            if (n)
                discard_guest(d, first * PAGE, n * PAGE);
            first = page;
            n = 1;
        }
    if (n)
        discard_guest(d, first * PAGE, n * PAGE);
}

static void report_free(struct virtio_balloon *d, const struct virtq_chain *c)
{
    for (unsigned i = 0; i < c->n_writable; i++)
        discard(d, c->writable[i].iov_base, c->writable[i].iov_len);
}

/* ---- statistics, 5.5.6.3 ----------------------------------------------------------------------- */
static void forget_stats(struct virtio_balloon *d)
{
    for (unsigned i = 0; i < BALLOON_N_STATS; i++)
        d->stats[i] = UINT64_MAX;
    d->stats_at_ns = 0;
}

static void read_stats(struct virtio_balloon *d, const struct virtq_chain *c)
{
    uint8_t raw[STAT_SIZE];
    forget_stats(d);
    /* More entries than there are tags say nothing new. */
    for (unsigned i = 0; i < 2 * BALLOON_N_STATS; i++) {
        if (chain_read(c, i * STAT_SIZE, raw, STAT_SIZE) < STAT_SIZE)
            break;
        uint64_t tag = load_le(raw, 2);
        if (tag < BALLOON_N_STATS)
            d->stats[tag] = load_le(raw + 2, 8);
    }
    d->stats_at_ns = vm_now_ns(d->v.dev.vm);
}

static void take_stats(struct virtio_balloon *d, struct virtq_chain *c)
{
    if (d->stats_buffer)
        virtq_push(d->stats_buffer, 0);
    read_stats(d, c);
    d->stats_buffer = c;
}

static void poll_stats(void *opaque)
{
    struct virtio_balloon *d = opaque;
    device_lock(&d->v.dev);
    struct virtq_chain *c = d->stats_buffer;
    d->stats_buffer = NULL;
    if (c) {
        struct virtq *q = c->q;
        virtq_push(c, 0);
        virtq_notify(q);
    }
    timer_set(d->poll, vm_now_ns(d->v.dev.vm) + d->poll_s * NS_PER_S);
    device_unlock(&d->v.dev);
}

/* ---- queues ------------------------------------------------------------------------------------ */
static void handle_chain(struct virtio_balloon *d, enum role role, struct virtq_chain *c)
{
    switch (role) {
    case INFLATE:
        if (c->readable_len > MAX_LIST)
            virtio_broken(&d->v, "list of %llu bytes", (unsigned long long)c->readable_len);
        else
            inflate(d, c);
        break;
    case STATS: take_stats(d, c); return;
    case REPORTING:
        report_free(d, c);
        virtq_push(c, (uint32_t)MIN(c->writable_len, UINT32_MAX)); /* they read as zero now */
        return;
    default: break; /* deflated pages come back when they are touched */
    }
    virtq_push(c, 0);
}

static void handle_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtio_balloon *d = balloon_of(v);
    struct virtq_chain *c;
    while ((c = virtq_pop(q)))
        handle_chain(d, role_of(d, q), c);
    virtq_notify(q);
}

static void drop_stats_buffer(struct virtio_balloon *d)
{
    if (d->stats_buffer)
        virtq_drop(d->stats_buffer);
    d->stats_buffer = NULL;
}

static void reset_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtio_balloon *d = balloon_of(v);
    if (d->stats_buffer && d->stats_buffer->q == q)
        drop_stats_buffer(d);
}

/* ---- configuration, 5.5.4 ------------------------------------------------------------------------ */
static void get_config(struct virtio_device *v, uint8_t *config)
{
    const struct virtio_balloon *d = balloon_of(v);
    store_le(config, 4, d->wanted);
    store_le(config + CONFIG_ACTUAL, 4, d->actual);
}

static uint64_t ram_bytes(struct vm *vm)
{
    const struct mem_view *view = mem_view_now(vm);
    uint64_t sum = vm->ram_size;
    if (sum)
        return sum;
    for (size_t i = 0; i < view->n; i++)
        if (view->ranges[i].ram && !view->ranges[i].rom)
            sum += view->ranges[i].size;
    return sum;
}

static void set_config(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n)
{
    struct virtio_balloon *d = balloon_of(v);
    uint8_t raw[4];
    store_le(raw, 4, d->actual);
    for (uint32_t i = 0; i < n; i++)
        if (off + i >= CONFIG_ACTUAL)
            raw[off + i - CONFIG_ACTUAL] = data[i];
    uint32_t actual = (uint32_t)load_le(raw, 4);
    if (actual == d->actual)
        return;
    d->actual = actual;
    uint64_t ram = ram_bytes(v->dev.vm);
    event_tell(v->dev.vm, EVENT_BALLOON_CHANGE,
               EVENT_NUMBER("actual", (int64_t)(ram - MIN(ram, (uint64_t)actual * PAGE))));
}

/* ---- the monitor -------------------------------------------------------------------------------- */
static const struct virtio_model balloon_model;

static struct virtio_balloon *find_balloon(struct vm *vm)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next)
        if (dev->realized && dev->cls->bus_class == &balloon_model)
            return container_of(dev, struct virtio_balloon, v.dev);
    return NULL;
}

struct error *balloon_set(struct vm *vm, uint64_t bytes)
{
    struct virtio_balloon *d = find_balloon(vm);
    if (!d)
        return error_new("this machine has no memory balloon; -device virtio-balloon-pci adds one");
    uint64_t ram = ram_bytes(vm);
    device_lock(&d->v.dev);
    d->wanted = (uint32_t)MIN((ram - MIN(bytes, ram)) / PAGE, UINT32_MAX);
    if (virtio_running(&d->v)) /* otherwise its driver will read it */
        virtio_config_changed(&d->v);
    device_unlock(&d->v.dev);
    return NULL;
}

struct error *balloon_set_polling(struct device *dev, uint32_t seconds)
{
    if (dev->cls->bus_class != &balloon_model)
        return error_new("'%s' is no memory balloon", dev->cls->name);
    struct virtio_balloon *d = container_of(dev, struct virtio_balloon, v.dev);
    device_lock(dev);
    d->poll_s = seconds;
    if (seconds)
        timer_set(d->poll, vm_now_ns(dev->vm) + seconds * NS_PER_S);
    else
        timer_cancel(d->poll);
    device_unlock(dev);
    return NULL;
}

bool balloon_is(const struct device *dev)
{
    return dev->cls->bus_class == &balloon_model;
}

struct error *balloon_query(struct vm *vm, struct balloon_info *out)
{
    struct virtio_balloon *d = find_balloon(vm);
    if (!d)
        return error_new("this machine has no memory balloon; -device virtio-balloon-pci adds one");
    uint64_t ram = ram_bytes(vm);
    device_lock(&d->v.dev);
    *out = (struct balloon_info){
        .ram = ram,
        .actual = ram - MIN(ram, (uint64_t)d->actual * PAGE),
        .target = ram - MIN(ram, (uint64_t)d->wanted * PAGE),
        .stats_at_ns = d->stats_at_ns,
    };
    memcpy(out->stats, d->stats, sizeof(out->stats));
    device_unlock(&d->v.dev);
    return NULL;
}

/* ---- life --------------------------------------------------------------------------------------- */
static void started(struct virtio_device *v)
{
    struct virtio_balloon *d = balloon_of(v);
    if (d->poll_s)
        timer_set(d->poll, vm_now_ns(v->dev.vm) + d->poll_s * NS_PER_S);
}

static void reset(struct virtio_device *v)
{
    struct virtio_balloon *d = balloon_of(v);
    drop_stats_buffer(d);
    forget_stats(d);
    d->actual = 0;
    timer_cancel(d->poll);
}

static struct error *loaded(struct virtio_device *v)
{
    started(v);
    return NULL;
}

static struct error *realize(struct virtio_device *v)
{
    struct virtio_balloon *d = balloon_of(v);
    d->host_page = (uint64_t)sysconf(_SC_PAGESIZE);
    d->poll = timer_new(v->dev.vm, poll_stats, d);
    forget_stats(d);
    for (unsigned i = 0; i < 3u + d->reporting; i++)
        virtio_add_queue(v, QUEUE_SIZE);
    v->features = VIRTIO_BIT(BALLOON_F_STATS_VQ) |
                  (uint64_t)d->deflate_on_oom << BALLOON_F_DEFLATE_ON_OOM |
                  (uint64_t)d->reporting << BALLOON_F_REPORTING;
    return NULL;
}

static void unrealize(struct virtio_device *v)
{
    struct virtio_balloon *d = balloon_of(v);
    timer_free(d->poll);
    drop_stats_buffer(d);
}

static const struct virtio_model balloon_model = {
    .device_id = 5,
    .transitional_id = 0x1002,
    .pci_class = 0x00ff00,
    .config_size = CONFIG_SIZE,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .set_config = set_config,
    .started = started,
    .handle_queue = handle_queue,
    .reset_queue = reset_queue,
    .reset = reset,
    .loaded = loaded,
};

#define P(member, name, kind, ...) PROP(struct virtio_balloon, member, name, kind, __VA_ARGS__)
#define BALLOON_PROPS                                                      \
    ,                                                                      \
        P(deflate_on_oom, "deflate-on-oom", PROP_BOOL, .def = "off",       \
          .help = "the guest may take pages back when it runs out"),       \
        P(reporting, "free-page-reporting", PROP_BOOL, .def = "off",       \
          .help = "free guest memory goes back to the host by itself"),    \
        P(poll_s, "guest-stats-polling-interval", PROP_UINT, .max = 86400, \
          .help = "seconds; 0: never")
#define BALLOON_STATE , FIELD(struct virtio_balloon, wanted), FIELD(struct virtio_balloon, actual)
VIRTIO_CLASSES(virtio_balloon, "virtio-balloon", "memory balloon", struct virtio_balloon,
               balloon_model, BALLOON_PROPS, BALLOON_STATE)
VIRTIO_LEGACY_CLASSES(virtio_balloon, "virtio-balloon", "memory balloon", struct virtio_balloon,
                      balloon_model)
