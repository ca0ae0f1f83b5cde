/* Rings: split (VIRTIO 1.3, 2.7) and packed (2.8). Ring memory is resolved to host memory when a queue
 * is enabled and again when the physical map changed. Every index and descriptor is read once into
 * private memory and checked there. */
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "hw/virtio/core.h"

#include <assert.h>
#include <endian.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    DESC_NEXT = 1 << 0,
    DESC_WRITE = 1 << 1,
    DESC_INDIRECT = 1 << 2,
    DESC_AVAIL = 1 << 7, /* packed */
    DESC_USED = 1 << 15,

    DESC_SIZE = 16,
    NO_NOTIFY = 1, /* split: flags of the used ring; NO_INTERRUPT in the available ring */

    EVENT_ENABLE = 0, /* packed, 2.8.10 */
    EVENT_DISABLE = 1,
    EVENT_DESC = 2,

    MAX_IOV = VIRTIO_MAX_QUEUE_SIZE + 64,
    KEPT_IOV = 128, /* longer lists are not kept for reuse */
};

/* A descriptor in host order. id is `next` in a split ring. */
struct virtq_desc {
    uint64_t at;
    uint32_t len;
    uint16_t id, flags;
};

/* ---- ring memory -------------------------------------------------------------------------------- */

static uint16_t area_load16(const struct virtq_area *a, uint64_t off)
{
    return le16toh(__atomic_load_n((uint16_t *)(a->host + off), __ATOMIC_RELAXED));
}

static uint16_t area_load16_acquire(const struct virtq_area *a, uint64_t off)
{
    return le16toh(__atomic_load_n((uint16_t *)(a->host + off), __ATOMIC_ACQUIRE));
}

/* Dirty log and translated code: both are rare, the flags say so. */
static void area_written(const struct virtq *q, const struct virtq_area *a, uint64_t off,
                         unsigned n)
{
    uint64_t first = (a->ram_off + off) >> 12, last = (a->ram_off + off + n - 1) >> 12;
    if (atomic_load_explicit(&a->page_flags[first], memory_order_relaxed) ||
        atomic_load_explicit(&a->page_flags[last], memory_order_relaxed))
        mem_mark_written(q->v->dev.vm, a->at + off, n);
}

static void area_store16(const struct virtq *q, const struct virtq_area *a, uint64_t off,
                         uint16_t v)
{
    __atomic_store_n((uint16_t *)(a->host + off), htole16(v), __ATOMIC_RELEASE);
    area_written(q, a, off, 2);
}

static void area_store32(const struct virtq *q, const struct virtq_area *a, uint64_t off,
                         uint32_t v)
{
    __atomic_store_n((uint32_t *)(a->host + off), htole32(v), __ATOMIC_RELAXED);
    area_written(q, a, off, 4);
}

/* The 16 bytes at p, each read once. */
static struct virtq_desc desc_load(const uint8_t *p, bool packed)
{
    uint64_t lo = le64toh(__atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED));
    uint64_t hi = le64toh(__atomic_load_n((const uint64_t *)(p + 8), __ATOMIC_RELAXED));
    struct virtq_desc d = { .at = lo, .len = (uint32_t)hi };
    d.id = packed ? hi >> 32 : hi >> 48;
    d.flags = packed ? hi >> 48 : hi >> 32;
    return d;
}

static bool area_map(struct virtq *q, const char *name, struct virtq_area *a, gpa at, uint64_t size,
                     unsigned align)
{
    struct vm *vm = q->v->dev.vm;
    struct iovec iov;
    unsigned n = 1;
    if (at % align)
        return virtio_broken(q->v, "queue %u: %s at %#" PRIx64 " is not aligned to %u", q->index,
                             name, at, align);
    const struct mem_range *r = mem_view_find(mem_view_now(vm), at);
    if (!r || !r->ram || !mem_pin(vm, at, size, true, &iov, &n) || n != 1)
        return virtio_broken(q->v, "queue %u: %s at %#" PRIx64 " is not in memory", q->index, name,
                             at);
    *a = (struct virtq_area){
        .host = iov.iov_base,
        .at = at,
        .page_flags = r->ram->page_flags,
        .ram_off = r->region_off + (at - r->start),
    };
    return true;
}

static bool ring_map(struct virtq *q)
{
    bool packed = q->packed;
    uint64_t size = q->size, view = mem_view_now(q->v->dev.vm)->generation;
    q->view = 0;
    bool ok = area_map(q, "descriptors", &q->desc_map, q->desc, DESC_SIZE * size, DESC_SIZE) &&
              area_map(q, "driver area", &q->driver_map, q->driver, packed ? 4 : 6 + 2 * size,
                       packed ? 4 : 2) &&
              area_map(q, "device area", &q->device_map, q->device, packed ? 4 : 6 + 8 * size, 4);
    if (ok)
        q->view = view;
    return ok;
}

/* May the ring be looked at? Maps it anew after the physical map changed. */
static bool ring_usable(struct virtq *q)
{
    if (!q->enabled || q->v->dma_off || !virtio_running(q->v))
        return false;
    return q->view == mem_view_now(q->v->dev.vm)->generation || ring_map(q);
}

/* ---- set up by the driver ------------------------------------------------------------------------- */

void virtq_set_size(struct virtq *q, uint32_t size)
{
    if (!q->enabled && !q->v->resetting)
        q->size = MIN(size, 0xffff);
}

bool virtq_fits(const struct virtq *q)
{
    if (q->size == 0 || q->size > q->max_size)
        return false;
    if (q->packed)
        return q->last_avail < q->size && q->used < q->size;
    return !(q->size & (q->size - 1)); /* 2.7 */
}

void virtq_enable(struct virtq *q)
{
    if (q->v->resetting || q->enabled)
        return;
    if (!q->v->legacy && !q->v->features_set) {
        virtio_broken(q->v, "queue %u: enabled before FEATURES_OK", q->index);
        return;
    }
    q->packed = virtio_has(q->v, VIRTIO_F_RING_PACKED);
    if (!virtq_fits(q)) {
        virtio_broken(q->v, "queue %u: size %u", q->index, q->size);
        return;
    }
    q->enabled = ring_map(q);
    if (q->enabled && virtio_running(q->v))
        virtq_kick(q);
}

void virtq_enable_legacy(struct virtq *q, uint64_t at, uint32_t align)
{
    if (q->v->resetting)
        return;
    if (!at) {
        virtq_reset(q);
        return;
    }
    if (q->enabled)
        return;
    if (!align || align & (align - 1)) {
        virtio_broken(q->v, "queue %u: alignment %u", q->index, align);
        return;
    }
    q->desc = at;
    q->driver = at + (uint64_t)DESC_SIZE * q->size;
    q->device = align_up(q->driver + 6 + 2 * (uint64_t)q->size, align);
    virtq_enable(q);
}

static void chain_recycle(struct virtq *q, struct virtq_chain *c)
{
    if (c->room > KEPT_IOV) {
        free(c->iov);
        free(c->at);
        c->iov = NULL;
        c->at = NULL;
        c->room = 0;
    }
    c->next = q->spare;
    q->spare = c;
}

void virtq_reset(struct virtq *q)
{
    /* Chains that wait for older ones are with us; all others come back from the model. */
    q->stale += q->in_flight;
    while (q->oldest) {
        struct virtq_chain *c = q->oldest;
        q->oldest = c->next;
        if (c->done) {
            chain_recycle(q, c);
            q->stale--;
        }
    }
    q->newest = NULL;
    q->generation++;
    q->in_flight = q->descs_in_flight = q->n_pushed = q->descs_pushed = 0;
    q->size = q->max_size;
    q->vector = VIRTIO_NO_VECTOR;
    q->enabled = false;
    q->desc = q->driver = q->device = 0;
    q->last_avail = q->used = q->signalled = 0;
    q->avail_wrap = q->used_wrap = true;
    q->signalled_valid = false;
    q->kicks_wanted = true;
    q->view = 0;
}

void virtq_reset_by_driver(struct virtq *q)
{
    virtq_reset(q);
    if (q->v->model->reset_queue)
        q->v->model->reset_queue(q->v, q);
}

void virtq_free(struct virtq *q)
{
    for (struct virtq_chain *next, *c = q->spare; c; c = next) {
        next = c->next;
        free(c->iov);
        free(c->at);
        free(c);
    }
    q->spare = NULL;
    free(q->table);
    q->table = NULL;
}

void virtq_run(struct virtq *q)
{
    if (q->v->model->handle_queue && ring_usable(q))
        q->v->model->handle_queue(q->v, q);
}

void virtq_kick(struct virtq *q)
{
    uint64_t one = 1;
    if (!q->loop) {
        q->counts.kicks++;
        virtq_run(q);
    } else if (write(q->kick_fd, &one, sizeof(one)) != sizeof(one)) {
        /* The counter is full: the loop will look anyway. */
    }
}

/* ---- collecting a chain ----------------------------------------------------------------------------- */

static struct virtq_chain *chain_new(struct virtq *q)
{
    struct virtq_chain *c = q->spare;
    if (c)
        q->spare = c->next;
    else
        c = xcalloc(1, sizeof(*c));
    *c = (struct virtq_chain){
        .q = q, .iov = c->iov, .at = c->at, .room = c->room, .generation = q->generation
    };
    return c;
}

static bool chain_grow(struct virtq_chain *c)
{
    if (c->room == MAX_IOV)
        return false;
    c->room = c->room ? MIN(c->room * 4, MAX_IOV) : 8;
    c->iov = xrealloc(c->iov, c->room * sizeof(*c->iov));
    c->at = xrealloc(c->at, c->room * sizeof(*c->at));
    return true;
}

/* Resolve a buffer behind the chain's pieces: how many more it takes, 0 if it is not in memory. */
static unsigned chain_pin(struct virtq_chain *c, const struct virtq_desc *d)
{
    for (;;) {
        unsigned n = c->room - c->n_iov;
        if (n &&
            mem_pin(c->q->v->dev.vm, d->at, d->len, d->flags & DESC_WRITE, c->iov + c->n_iov, &n))
            return n;
        if (!chain_grow(c))
            return 0;
    }
}

static bool chain_add(struct virtq_chain *c, const struct virtq_desc *d)
{
    struct virtq *q = c->q;
    bool write = d->flags & DESC_WRITE;
    if (!write && c->n_writable)
        return virtio_broken(q->v, "queue %u: readable buffer behind a writable one", q->index);
    if (!d->len)
        return true;
    unsigned n = chain_pin(c, d);
    if (!n)
        return virtio_broken(q->v, "queue %u: buffer %#" PRIx64 "+%#x is not in memory", q->index,
                             d->at, d->len);
    gpa at = d->at;
    for (unsigned i = c->n_iov; i < c->n_iov + n; i++) {
        c->at[i] = at;
        at += c->iov[i].iov_len;
    }
    c->n_iov += n;
    *(write ? &c->n_writable : &c->n_readable) += n;
    *(write ? &c->writable_len : &c->readable_len) += d->len;
    if (c->readable_len + c->writable_len > UINT32_MAX) /* 2.7.5.2 */
        return virtio_broken(q->v, "queue %u: chain of over 4 GiB", q->index);
    return true;
}

/* Copy the table that d points to into q->table; its number of entries, 0 if it is bad. */
static unsigned table_read(struct virtq *q, const struct virtq_desc *d)
{
    unsigned n = d->len / DESC_SIZE;
    if (!virtio_has(q->v, VIRTIO_F_INDIRECT_DESC) || d->flags & DESC_NEXT || d->len % DESC_SIZE ||
        n == 0 || n > VIRTIO_MAX_QUEUE_SIZE)
        return virtio_broken(q->v, "queue %u: indirect table of %u bytes, flags %#x", q->index,
                             d->len, d->flags);
    uint8_t *raw = xmalloc(d->len);
    bool ok = mem_read(q->v->dev.vm, d->at, raw, d->len);
    if (!q->table)
        q->table = xmalloc(VIRTIO_MAX_QUEUE_SIZE * sizeof(*q->table));
    for (unsigned i = 0; ok && i < n; i++)
        q->table[i] = desc_load(raw + DESC_SIZE * i, q->packed);
    free(raw);
    if (!ok)
        virtio_broken(q->v, "queue %u: indirect table at %#" PRIx64 " is not in memory", q->index,
                      d->at);
    return ok ? n : 0;
}

/* An indirect table of a split ring is linked by `next` (2.7.5.3), one of a packed ring is used in full
 * (2.8.8). */
static bool table_collect(struct virtq *q, struct virtq_chain *c, const struct virtq_desc *indirect)
{
    unsigned n = table_read(q, indirect), i = 0;
    if (!n)
        return false;
    for (unsigned taken = 0; taken < n; taken++) {
        const struct virtq_desc *d = &q->table[i];
        if (d->flags & DESC_INDIRECT)
            return virtio_broken(q->v, "queue %u: indirect table inside a table", q->index);
        if (!chain_add(c, d))
            return false;
        if (q->packed) {
            i++;
            continue;
        }
        if (!(d->flags & DESC_NEXT))
            return true;
        i = d->id;
        if (i >= n)
            return virtio_broken(q->v, "queue %u: next %u in a table of %u", q->index, i, n);
    }
    return q->packed || virtio_broken(q->v, "queue %u: loop in an indirect table", q->index);
}

static bool split_collect(struct virtq *q, struct virtq_chain *c)
{
    unsigned i = c->id;
    for (c->n_descs = 1; c->n_descs <= q->size; c->n_descs++) {
        if (i >= q->size)
            return virtio_broken(q->v, "queue %u: descriptor %u of %u", q->index, i, q->size);
        struct virtq_desc d = desc_load(q->desc_map.host + DESC_SIZE * i, false);
        if (d.flags & DESC_INDIRECT)
            return table_collect(q, c, &d);
        if (!chain_add(c, &d))
            return false;
        if (!(d.flags & DESC_NEXT))
            return true;
        i = d.id;
    }
    return virtio_broken(q->v, "queue %u: descriptors form a loop", q->index);
}

static bool packed_collect(struct virtq *q, struct virtq_chain *c)
{
    unsigned i = q->last_avail;
    for (c->n_descs = 1; c->n_descs <= q->size - q->descs_in_flight; c->n_descs++) {
        struct virtq_desc d = desc_load(q->desc_map.host + DESC_SIZE * i, true);
        c->id = d.id;
        if (!(d.flags & DESC_INDIRECT ? table_collect(q, c, &d) : chain_add(c, &d)))
            return false;
        if (!(d.flags & DESC_NEXT))
            return true;
        i = i + 1 == q->size ? 0 : i + 1;
    }
    return virtio_broken(q->v, "queue %u: more descriptors than the queue has", q->index);
}

/* ---- taking chains ------------------------------------------------------------------------------ */

static bool split_available(struct virtq *q)
{
    return area_load16_acquire(&q->driver_map, 2) != q->last_avail;
}

static bool packed_available(struct virtq *q)
{
    uint16_t flags = area_load16_acquire(&q->desc_map, DESC_SIZE * q->last_avail + 14);
    return !!(flags & DESC_AVAIL) == q->avail_wrap && !!(flags & DESC_USED) != q->avail_wrap;
}

static bool available(struct virtq *q)
{
    return q->packed ? packed_available(q) : split_available(q);
}

static uint16_t packed_position(uint16_t i, bool wrap)
{
    return i | (wrap ? 0x8000 : 0);
}

/* Ask the driver to ring, or not to. With the event index a wish is for one position, so that there is
 * nothing to withdraw (2.7.10, 2.8.10). */
static void kicks_want(struct virtq *q, bool want)
{
    bool event_idx = virtio_has(q->v, VIRTIO_F_EVENT_IDX);
    if (want == q->kicks_wanted && !(want && event_idx))
        return;
    q->kicks_wanted = want;
    if (q->packed) {
        if (want && event_idx)
            area_store16(q, &q->device_map, 0, packed_position(q->last_avail, q->avail_wrap));
        area_store16(q, &q->device_map, 2,
                     !want       ? EVENT_DISABLE
                     : event_idx ? EVENT_DESC
                                 : EVENT_ENABLE);
    } else if (!event_idx) {
        area_store16(q, &q->device_map, 0, want ? 0 : NO_NOTIFY);
    } else if (want) {
        area_store16(q, &q->device_map, 4 + 8 * (uint64_t)q->size, q->last_avail);
    }
}

bool virtq_has_chain(struct virtq *q)
{
    return ring_usable(q) && available(q);
}

static bool take_ready(struct virtq *q)
{
    if (available(q)) {
        kicks_want(q, false);
        return true;
    }
    kicks_want(q, true);
    /* The driver adds, then reads the wish; we write the wish, then look. One of both sees. */
    atomic_thread_fence(memory_order_seq_cst);
    return available(q);
}

static bool split_head(struct virtq *q, struct virtq_chain *c)
{
    uint16_t waiting = area_load16_acquire(&q->driver_map, 2) - q->last_avail;
    if (waiting > q->size)
        return virtio_broken(q->v, "queue %u: %u chains available in a ring of %u", q->index,
                             waiting, q->size);
    if (q->in_flight >= q->size)
        return virtio_broken(q->v, "queue %u: more chains than descriptors", q->index);
    c->id = area_load16(&q->driver_map, 4 + 2 * (q->last_avail & (q->size - 1)));
    return true;
}

static void position_advance(struct virtq *q, uint16_t *at, bool *wrap, unsigned n)
{
    unsigned next = *at + n;
    *wrap ^= next >= q->size;
    *at = next >= q->size ? next - q->size : next;
}

static void order_append(struct virtq *q, struct virtq_chain *c)
{
    *(q->newest ? &q->newest->next : &q->oldest) = c;
    q->newest = c;
}

struct virtq_chain *virtq_pop(struct virtq *q)
{
    if (!ring_usable(q) || !take_ready(q))
        return NULL;
    struct virtq_chain *c = chain_new(q);
    bool ok = q->packed ? packed_collect(q, c) : split_head(q, c) && split_collect(q, c);
    if (!ok) {
        chain_recycle(q, c);
        return NULL;
    }
    c->readable = c->iov;
    c->writable = c->iov ? c->iov + c->n_readable : NULL; /* no bytes, no array */
    if (q->packed)
        position_advance(q, &q->last_avail, &q->avail_wrap, c->n_descs);
    else
        q->last_avail++;
    q->in_flight++;
    q->descs_in_flight += c->n_descs;
    if (virtio_has(q->v, VIRTIO_F_IN_ORDER))
        order_append(q, c);
    q->counts.chains++;
    return c;
}

static void order_remove_newest(struct virtq *q, struct virtq_chain *c)
{
    struct virtq_chain **link = &q->oldest, *before = NULL;
    assert(q->newest == c);
    while (*link != c) {
        before = *link;
        link = &before->next;
    }
    *link = NULL;
    q->newest = before;
}

void virtq_unpop(struct virtq_chain *c)
{
    struct virtq *q = c->q;
    if (c->generation != q->generation) {
        virtq_drop(c);
        return;
    }
    if (!q->packed) {
        q->last_avail--;
    } else {
        q->avail_wrap ^= q->last_avail < c->n_descs;
        q->last_avail += (q->last_avail < c->n_descs ? q->size : 0) - c->n_descs;
    }
    q->in_flight--;
    q->descs_in_flight -= c->n_descs;
    if (virtio_has(q->v, VIRTIO_F_IN_ORDER))
        order_remove_newest(q, c);
    chain_recycle(q, c);
}

void virtq_drop(struct virtq_chain *c)
{
    struct virtq *q = c->q;
    assert(c->generation != q->generation);
    chain_recycle(q, c);
    virtq_stale_returned(q);
}

/* ---- giving chains back --------------------------------------------------------------------------- */

static void split_store_used(struct virtq *q, const struct virtq_chain *c)
{
    uint64_t off = 4 + 8 * (uint64_t)(q->used & (q->size - 1));
    area_store32(q, &q->device_map, off, c->id);
    area_store32(q, &q->device_map, off + 4, c->written);
    q->used++;
}

/* Flags make an element visible. Those of the first in a batch come last, so that the driver sees all
 * or none. */
static void packed_store_used(struct virtq *q, const struct virtq_chain *c)
{
    uint64_t off = DESC_SIZE * (uint64_t)q->used;
    uint16_t flags = (q->used_wrap ? DESC_AVAIL | DESC_USED : 0) | (c->written ? DESC_WRITE : 0);
    area_store32(q, &q->desc_map, off + 8, c->written);
    __atomic_store_n((uint16_t *)(q->desc_map.host + off + 12), htole16(c->id), __ATOMIC_RELAXED);
    if (q->n_pushed == 0) {
        q->first_pushed = q->used;
        q->first_flags = flags;
    } else {
        area_store16(q, &q->desc_map, off + 14, flags);
    }
    position_advance(q, &q->used, &q->used_wrap, c->n_descs);
}

/* What the device wrote into the chain's buffers, for dirty log and translated code. */
static void chain_mark_written(const struct virtq_chain *c)
{
    uint64_t left = MIN(MAX(c->written, c->touched), c->writable_len);
    for (unsigned i = c->n_readable; left && i < c->n_iov; i++) {
        uint64_t n = MIN(left, c->iov[i].iov_len);
        mem_mark_written(c->q->v->dev.vm, c->at[i], n);
        left -= n;
    }
}

static void used_store(struct virtq *q, struct virtq_chain *c)
{
    if (ring_usable(q)) {
        if (q->packed)
            packed_store_used(q, c);
        else
            split_store_used(q, c);
        q->n_pushed++;
        q->descs_pushed += c->n_descs;
    }
    q->in_flight--;
    q->descs_in_flight -= c->n_descs;
    chain_recycle(q, c);
}

/* IN_ORDER (2.7.9): as they were made available, whatever order the model finishes in. */
static void order_store(struct virtq *q, struct virtq_chain *c)
{
    c->done = true;
    while (q->oldest && q->oldest->done) {
        struct virtq_chain *first = q->oldest;
        q->oldest = first->next;
        if (!q->oldest)
            q->newest = NULL;
        used_store(q, first);
    }
}

void virtq_push(struct virtq_chain *c, uint32_t written)
{
    struct virtq *q = c->q;
    c->written = MIN(written, c->writable_len);
    chain_mark_written(c);
    if (c->generation != q->generation) {
        virtq_drop(c);
        return;
    }
    if (virtio_has(q->v, VIRTIO_F_IN_ORDER))
        order_store(q, c);
    else
        used_store(q, c);
}

/* Did a counter that went from `old` to `now` pass `event`? (2.7.10.1) */
static bool event_passed(uint16_t event, uint16_t now, uint16_t old)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

static bool split_interrupt_wanted(struct virtq *q)
{
    if (!virtio_has(q->v, VIRTIO_F_EVENT_IDX))
        return !(area_load16(&q->driver_map, 0) & NO_NOTIFY);
    uint16_t event = area_load16(&q->driver_map, 4 + 2 * (uint64_t)q->size);
    uint16_t old = q->signalled;
    bool first = !q->signalled_valid;
    q->signalled = q->used;
    q->signalled_valid = true;
    return first || event_passed(event, q->used, old);
}

static bool packed_interrupt_wanted(struct virtq *q)
{
    uint16_t flags = area_load16_acquire(&q->driver_map, 2);
    if (flags != EVENT_DESC || !virtio_has(q->v, VIRTIO_F_EVENT_IDX))
        return flags != EVENT_DISABLE;
    uint16_t position = area_load16(&q->driver_map, 0), event = position & 0x7fff;
    if (position >> 15 != q->used_wrap)
        event -= q->size;
    return event_passed(event, q->used, q->used - q->descs_pushed);
}

void virtq_notify(struct virtq *q)
{
    if (!q->n_pushed || !ring_usable(q))
        return;
    if (q->packed)
        area_store16(q, &q->desc_map, DESC_SIZE * (uint64_t)q->first_pushed + 14, q->first_flags);
    else
        area_store16(q, &q->device_map, 2, q->used);
    /* The driver writes what it wants, then looks for used buffers; we do it the other way round. */
    atomic_thread_fence(memory_order_seq_cst);
    bool wanted = q->packed ? packed_interrupt_wanted(q) : split_interrupt_wanted(q);
    q->n_pushed = q->descs_pushed = 0;
    q->counts.interrupts += wanted;
    q->counts.interrupts_saved += !wanted;
    if (wanted)
        q->v->transport->queue_interrupt(q->v, q);
}
