/* virtio block device (VIRTIO 1.3, 5.2). A request is started by whoever serves its queue: the vCPU
 * that rang, the main loop (ioeventfd=on, KVM) or an I/O thread (iothread=). What the host can do at once
 * is finished there and then; the rest completes on the loop. */
#include "block/block.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/object.h"
#include "core/vm.h"
#include "hw/virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>

/* Feature bits, 5.2.3 */
enum {
    BLK_F_SEG_MAX = 2,
    BLK_F_GEOMETRY = 4,
    BLK_F_RO = 5,
    BLK_F_BLK_SIZE = 6,
    BLK_F_FLUSH = 9,
    BLK_F_TOPOLOGY = 10,
    BLK_F_CONFIG_WCE = 11,
    BLK_F_MQ = 12,
    BLK_F_DISCARD = 13,
    BLK_F_WRITE_ZEROES = 14,
};

/* Request types and status, 5.2.6 */
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { HEADER_SIZE = 16, ID_SIZE = 20, RANGE_SIZE = 16, RANGE_UNMAP = 1 };

enum {
    MAX_RANGES = 16, /* in one discard or write-zeroes request */
    MAX_RANGE_SECTORS = 0x3fffff,
    MAX_QUEUES = 64,
    AUTO_QUEUES = 0xffff,
    CONFIG_SIZE = 60,
    CONFIG_WCE = 32, /* offset of `writeback` */
};

/* One request from pop to push. */
struct io {
    struct blk_request req;
    struct virtio_blk *d;
    struct virtq_chain *chain;
    struct iovec *own_iov; /* where the guest's pieces do not end with the header or status */
    struct range {
        uint64_t sector;
        uint32_t n_sectors, flags;
    } ranges[MAX_RANGES];
    unsigned n_ranges, next_range;
    struct io *next_free;
};

struct virtio_blk {
    struct virtio_device v;
    /* properties */
    struct blk *blk;
    struct object *iothread;
    char *serial;
    uint16_t n_queues, queue_size;
    uint32_t logical_block, physical_block, min_io, opt_io, discard_granularity;
    uint32_t max_discard_sectors, max_zero_sectors;
    uint32_t write_cache; /* auto, on, off */
    uint32_t bootindex;
    bool config_wce, discard, write_zeroes;
    uint32_t ioeventfd;

    bool writeback; /* state: writes may linger in the host's cache until a flush */

    /* derived */
    struct io *free;
    uint64_t to_notify; /* queues with pushes the driver was not told of */
};

static struct virtio_blk *blk_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_blk, v);
}

/* ---- requests ------------------------------------------------------------------------------- */
static struct io *io_new(struct virtio_blk *d, struct virtq_chain *c)
{
    struct io *io = d->free;
    if (io)
        d->free = io->next_free;
    else
        io = xmalloc(sizeof(*io));
    io->req = (struct blk_request){ 0 };
    io->d = d;
    io->chain = c;
    io->own_iov = NULL;
    io->n_ranges = io->next_range = 0;
    return io;
}

/* The request is done: status byte, back to the driver. Device lock held. */
static void io_finish(struct io *io, int result)
{
    struct virtio_blk *d = io->d;
    struct virtq_chain *c = io->chain;
    uint8_t status = !result ? S_OK : result == -EOPNOTSUPP ? S_UNSUPP : S_IOERR;
    chain_write(c, c->writable_len - 1, &status, 1);
    d->to_notify |= (uint64_t)1 << c->q->index;
    virtq_push(c, (uint32_t)c->writable_len);
    free(io->own_iov);
    io->next_free = d->free;
    d->free = io;
}

static void notify_all(struct virtio_blk *d)
{
    for (; d->to_notify; d->to_notify &= d->to_notify - 1)
        virtq_notify(&d->v.queues[__builtin_ctzll(d->to_notify)]);
}

static void io_start(struct io *io);

/* On the loop that blk_use_loop was given. */
static void io_done(struct blk_request *req, int result)
{
    struct io *io = container_of(req, struct io, req);
    struct virtio_blk *d = io->d;
    bool last_of_batch = !req->next;
    device_lock(&d->v.dev);
    if (!result && io->next_range < io->n_ranges)
        io_start(io);
    else
        io_finish(io, result);
    if (last_of_batch)
        notify_all(d);
    device_unlock(&d->v.dev);
}

/* Start the request, or the next range of it. Device lock held. */
static void io_start(struct io *io)
{
    struct virtio_blk *d = io->d;
    do {
        if (io->n_ranges) {
            const struct range *r = &io->ranges[io->next_range++];
            io->req.offset = r->sector * BLK_SECTOR;
            io->req.length = (uint64_t)r->n_sectors * BLK_SECTOR;
            io->req.may_unmap = r->flags & RANGE_UNMAP;
        }
        if (!blk_try(d->blk, &io->req)) {
            io->req.done = io_done;
            blk_submit(d->blk, &io->req);
            return;
        }
    } while (!io->req.result && io->next_range < io->n_ranges);
    io_finish(io, io->req.result);
}

/* The n bytes at `skip` of a vector, as they are when pieces end there, else as a copy. */
static void io_set_data(struct io *io, const struct iovec *iov, unsigned n_iov, uint64_t skip,
                        uint64_t n)
{
    uint64_t got = 0;
    io->req.length = n;
    for (; n_iov && skip >= iov->iov_len; n_iov--)
        skip -= iov++->iov_len;
    unsigned k = 0;
    while (!skip && k < n_iov && got < n)
        got += iov[k++].iov_len;
    io->req.iov = iov;
    io->req.n_iov = k;
    if (!skip && got == n)
        return;
    io->own_iov = xmalloc(n_iov * sizeof(*iov));
    io->req.n_iov = iov_slice(iov, n_iov, skip, n, io->own_iov, n_iov, &got);
    io->req.iov = io->own_iov;
}

/* Ranges of a discard or write-zeroes request, 5.2.6.2: 0, or -errno. */
static int io_set_ranges(struct io *io, bool zero)
{
    const struct virtio_blk *d = io->d;
    const struct virtq_chain *c = io->chain;
    uint8_t raw[MAX_RANGES * RANGE_SIZE];
    uint64_t n = c->readable_len - HEADER_SIZE;
    uint32_t most = zero ? d->max_zero_sectors : d->max_discard_sectors;
    if (!virtio_has(&d->v, zero ? BLK_F_WRITE_ZEROES : BLK_F_DISCARD))
        return -EOPNOTSUPP;
    if (!n || n % RANGE_SIZE || n > sizeof(raw))
        return -EINVAL;
    chain_read(c, HEADER_SIZE, raw, n);
    for (const uint8_t *p = raw; p < raw + n; p += RANGE_SIZE) {
        struct range *r = &io->ranges[io->n_ranges++];
        *r = (struct range){ load_le(p, 8), (uint32_t)load_le(p + 8, 4),
                             (uint32_t)load_le(p + 12, 4) };
        if (r->flags & ~(zero ? RANGE_UNMAP : 0u))
            return -EOPNOTSUPP;
        if (r->n_sectors > most || r->sector > blk_size(d->blk) / BLK_SECTOR)
            return -EINVAL;
    }
    return 0;
}

static int io_get_id(struct io *io)
{
    struct virtq_chain *c = io->chain;
    const char *serial = *io->d->serial ? io->d->serial : blk_serial(io->d->blk);
    char id[ID_SIZE] = "";
    memcpy(id, serial, strnlen(serial, sizeof(id)));
    chain_write(c, 0, id, MIN(sizeof(id), c->writable_len - 1));
    return 0;
}

/* Fill io->req from the header. 1: to be started; 0 or -errno: finished with that. */
static int io_parse(struct io *io, uint32_t type, uint64_t sector)
{
    struct virtio_blk *d = io->d;
    const struct virtq_chain *c = io->chain;
    int r;
    if (sector > UINT64_MAX / BLK_SECTOR)
        return -EINVAL;
    io->req.offset = sector * BLK_SECTOR;
    io->req.fua = !d->writeback;
    switch (type) {
    case T_IN:
        io->req.op = BLK_READ;
        io_set_data(io, c->writable, c->n_writable, 0, c->writable_len - 1);
        return 1;
    case T_OUT:
        io->req.op = BLK_WRITE;
        io_set_data(io, c->readable, c->n_readable, HEADER_SIZE, c->readable_len - HEADER_SIZE);
        return 1;
    case T_FLUSH: io->req.op = BLK_FLUSH; return 1;
    case T_GET_ID: return io_get_id(io);
    case T_DISCARD:
    case T_WRITE_ZEROES:
        io->req.op = type == T_DISCARD ? BLK_DISCARD : BLK_WRITE_ZEROES;
        r = io_set_ranges(io, type == T_WRITE_ZEROES);
        return r ? r : 1;
    default: return -EOPNOTSUPP;
    }
}

static void handle_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtio_blk *d = blk_of(v);
    struct virtq_chain *c;
    while ((c = virtq_pop(q))) {
        uint8_t header[HEADER_SIZE];
        if (chain_read(c, 0, header, sizeof(header)) < sizeof(header) || !c->writable_len) {
            virtio_broken(v, "request without header or status byte");
            virtq_push(c, 0);
            break;
        }
        struct io *io = io_new(d, c);
        int r = io_parse(io, (uint32_t)load_le(header, 4), load_le(header + 8, 8));
        if (r > 0)
            io_start(io);
        else
            io_finish(io, r);
    }
    notify_all(d);
}

/* ---- configuration, 5.2.4 ------------------------------------------------------------------- */
static void get_config(struct virtio_device *v, uint8_t *config)
{
    const struct virtio_blk *d = blk_of(v);
    uint64_t sectors = blk_size(d->blk) / BLK_SECTOR;
    uint32_t logical_sectors = d->logical_block / BLK_SECTOR;
    const struct {
        uint8_t at, size;
        uint64_t value;
    } members[] = {
        { 0, 8, sectors },
        { 12, 4, d->queue_size - 2u },
        { 16, 2, MIN(sectors / (16 * 63), 65535) }, /* cylinders, heads, sectors a track */
        { 18, 1, 16 },
        { 19, 1, 63 },
        { 20, 4, d->logical_block },
        { 24, 1, (uint64_t)__builtin_ctz(d->physical_block / d->logical_block) },
        { 26, 2, d->min_io / d->logical_block },
        { 28, 4, d->opt_io / d->logical_block },
        { CONFIG_WCE, 1, d->writeback },
        { 34, 2, d->n_queues },
        { 36, 4, d->max_discard_sectors },
        { 40, 4, MAX_RANGES },
        { 44, 4, MAX(d->discard_granularity / BLK_SECTOR, logical_sectors) },
        { 48, 4, d->max_zero_sectors },
        { 52, 4, MAX_RANGES },
        { 56, 1, blk_can_discard(d->blk) },
    };
    for (size_t i = 0; i < ARRAY_LEN(members); i++)
        store_le(config + members[i].at, members[i].size, members[i].value);
}

static void set_config(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n)
{
    struct virtio_blk *d = blk_of(v);
    if (off <= CONFIG_WCE && CONFIG_WCE < off + n && virtio_has(v, BLK_F_CONFIG_WCE))
        d->writeback = data[CONFIG_WCE - off] & 1;
}

/* A driver that can neither flush nor choose gets write-through, 5.2.5.1. */
static bool set_features(struct virtio_device *v, uint64_t features)
{
    struct virtio_blk *d = blk_of(v);
    if (!(features & (VIRTIO_BIT(BLK_F_FLUSH) | VIRTIO_BIT(BLK_F_CONFIG_WCE))))
        d->writeback = false;
    return true;
}

static void reset(struct virtio_device *v)
{
    struct virtio_blk *d = blk_of(v);
    d->writeback = d->write_cache ? d->write_cache == 1 : !blk_writethrough(d->blk);
}

/* ---- life ----------------------------------------------------------------------------------- */
static bool is_block_size(uint32_t n)
{
    return n >= BLK_SECTOR && n <= 32768 && !(n & (n - 1));
}

/* One per vCPU where each can have an interrupt of its own. */
static uint16_t default_queues(const struct virtio_blk *d)
{
    bool mmio = !strcmp(d->v.dev.cls->bus, "virtio-mmio");
    unsigned n_vcpus = d->v.dev.vm->n_vcpus;
    return mmio ? 1 : (uint16_t)MAX(1, MIN(n_vcpus, MAX_QUEUES));
}

static struct error *check_properties(struct virtio_blk *d)
{
    if (!d->blk)
        return error_new("drive= is missing");
    d->serial = d->serial ? d->serial : xstrdup("");
    if (strlen(d->serial) > ID_SIZE)
        return error_new("serial='%s' is longer than %d characters", d->serial, ID_SIZE);
    if (d->iothread && d->iothread->kind != OBJECT_IOTHREAD)
        return error_new("iothread='%s' is a %s object", d->iothread->id, d->iothread->type);
    if (d->queue_size < 4 || d->queue_size & (d->queue_size - 1))
        return error_new("queue-size=%u is not a power of two from 4 to %d", d->queue_size,
                         VIRTIO_MAX_QUEUE_SIZE);
    if (d->n_queues == AUTO_QUEUES)
        d->n_queues = default_queues(d);
    if (d->n_queues > MAX_QUEUES)
        return error_new("num-queues=%u is over %d", d->n_queues, MAX_QUEUES);
    if (!d->physical_block)
        d->physical_block = MAX(d->logical_block, blk_block_size(d->blk));
    if (!is_block_size(d->logical_block) || !is_block_size(d->physical_block) ||
        d->physical_block < d->logical_block)
        return error_new("logical_block_size=%u, physical_block_size=%u: powers of two from 512 to "
                         "32768 are expected, the physical one not the smaller",
                         d->logical_block, d->physical_block);
    if (blk_size(d->blk) % d->logical_block)
        return error_new("the disk's size is not a multiple of logical_block_size=%u",
                         d->logical_block);
    return NULL;
}

static uint64_t offered(const struct virtio_blk *d)
{
    bool ro = blk_readonly(d->blk);
    bool wce = d->config_wce || (d->write_cache ? d->write_cache == 1 : !blk_writethrough(d->blk));
    const struct {
        unsigned bit;
        bool offer;
    } list[] = {
        { BLK_F_SEG_MAX, true },
        { BLK_F_GEOMETRY, true },
        { BLK_F_RO, ro },
        { BLK_F_BLK_SIZE, true },
        { BLK_F_FLUSH, wce },
        { BLK_F_TOPOLOGY, true },
        { BLK_F_MQ, d->n_queues > 1 },
        { BLK_F_CONFIG_WCE, d->config_wce },
        { BLK_F_DISCARD, d->discard && !ro },
        { BLK_F_WRITE_ZEROES, d->write_zeroes && !ro },
    };
    uint64_t features = 0;
    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        features |= (uint64_t)list[i].offer << list[i].bit;
    return features;
}

static void resized(void *opaque)
{
    struct virtio_blk *d = opaque;
    device_lock(&d->v.dev);
    if (virtio_running(&d->v))
        virtio_config_changed(&d->v);
    device_unlock(&d->v.dev);
}

static struct error *realize(struct virtio_device *v)
{
    struct virtio_blk *d = blk_of(v);
    struct error *err = check_properties(d);
    if (err)
        return err;
    blk_on_resize(d->blk, resized, d);
    struct loop *loop = d->iothread ? d->iothread->loop : NULL;
    blk_use_loop(d->blk, loop);
    for (unsigned i = 0; i < d->n_queues; i++) {
        struct virtq *q = virtio_add_queue(v, d->queue_size);
        if (loop || virtio_rings_main_loop(v, d->ioeventfd))
            virtq_serve_on(q, loop ? loop : v->dev.vm->loop);
    }
    v->features = offered(d);
    reset(v);
    return NULL;
}

static void drain(void *blk)
{
    blk_drain(blk);
}

static void unrealize(struct virtio_device *v)
{
    struct virtio_blk *d = blk_of(v);
    if (d->iothread)
        loop_call(d->iothread->loop, drain, d->blk);
    else
        blk_drain(d->blk);
    blk_use_loop(d->blk, NULL);
    blk_on_resize(d->blk, NULL, NULL);
    for (struct io *io; (io = d->free);) {
        d->free = io->next_free;
        free(io);
    }
}

static const struct virtio_model blk_model = {
    .device_id = 2,
    .transitional_id = 0x1001,
    .pci_class = 0x010000,
    .config_size = CONFIG_SIZE,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .set_config = set_config,
    .set_features = set_features,
    .handle_queue = handle_queue,
    .reset = reset,
};

static const char *const blk_auto_on_off[] = { "auto", "on", "off", NULL };

#define P(member, name, kind, ...) PROP(struct virtio_blk, member, name, kind, __VA_ARGS__)
#define BLK_PROPS                                                                                \
    , P(blk, "drive", PROP_DRIVE, .help = "id of a -drive or -blockdev"),                        \
        P(serial, "serial", PROP_STRING, .help = "up to 20 characters; default: the drive's"),   \
        P(iothread, "iothread", PROP_OBJECT, .help = "id of an iothread object"),                \
        P(ioeventfd, "ioeventfd", PROP_ENUM, .def = "auto", .names = virtio_ioeventfd_names,     \
          .help = "requests are started by the main loop instead of the vCPU; auto: under KVM"), \
        P(n_queues, "num-queues", PROP_UINT, .def = "0xffff", .min = 1, .max = AUTO_QUEUES,      \
          .help = "default: one per vCPU (PCI), 1 (MMIO)"),                                      \
        P(queue_size, "queue-size", PROP_UINT, .def = "256", .max = VIRTIO_MAX_QUEUE_SIZE),      \
        P(config_wce, "config-wce", PROP_BOOL, .def = "on",                                      \
          .help = "the guest may switch write-back caching"),                                    \
        P(write_cache, "write-cache", PROP_ENUM, .def = "auto", .names = blk_auto_on_off,        \
          .help = "at reset; auto: as the drive's cache="),                                      \
        P(discard, "discard", PROP_BOOL, .def = "on"),                                           \
        P(write_zeroes, "write-zeroes", PROP_BOOL, .def = "on"),                                 \
        P(max_discard_sectors, "max-discard-sectors", PROP_UINT, .def = "0x3fffff", .min = 1,    \
          .max = MAX_RANGE_SECTORS),                                                             \
        P(max_zero_sectors, "max-write-zeroes-sectors", PROP_UINT, .def = "0x3fffff", .min = 1,  \
          .max = MAX_RANGE_SECTORS),                                                             \
        P(logical_block, "logical_block_size", PROP_SIZE, .def = "512"),                         \
        P(physical_block, "physical_block_size", PROP_SIZE, .help = "default: the drive's"),     \
        P(min_io, "min_io_size", PROP_UINT), P(opt_io, "opt_io_size", PROP_UINT),                \
        P(discard_granularity, "discard_granularity", PROP_UINT),                                \
        P(bootindex, "bootindex", PROP_UINT, .def = "0xffffffff",                                \
          .help = "for firmware that asks for a boot order")
#define BLK_STATE , FIELD(struct virtio_blk, writeback, .max = 1)
VIRTIO_CLASSES(virtio_blk, "virtio-blk", "disk", struct virtio_blk, blk_model, BLK_PROPS, BLK_STATE)
VIRTIO_LEGACY_CLASSES(virtio_blk, "virtio-blk", "disk", struct virtio_blk, blk_model)
