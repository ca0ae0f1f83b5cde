/* What all network back ends share: their queues and the command line. */
#include "net/netdev.h"

#include "core/backends.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define QUEUE_BYTES (1 * MIB) /* each way */
#define MIN_FRAME   14        /* an Ethernet header */

static const struct netdev_type *const types[] = { &user_netdev_type, &null_netdev_type };

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- queues of frames ----------------------------------------------------------------------- */
static size_t entry_size(size_t frame)
{
    return align_up(sizeof(uint32_t) + frame, sizeof(uint32_t));
}

/* Where a frame of this size goes, or NULL: no room. */
static uint8_t *queue_add(struct frame_queue *q, size_t size)
{
    if (q->end + entry_size(size) > QUEUE_BYTES && q->head) {
        memmove(q->at, q->at + q->head, q->end - q->head);
        q->end -= q->head;
        q->head = 0;
    }
    if (q->end + entry_size(size) > QUEUE_BYTES)
        return NULL;
    if (!q->at)
        q->at = xmalloc(QUEUE_BYTES);
    uint32_t n = (uint32_t)size;
    memcpy(q->at + q->end, &n, sizeof(n));
    uint8_t *to = q->at + q->end + sizeof(n);
    q->end += entry_size(size);
    return to;
}

/* The oldest frame, or NULL. */
static const uint8_t *queue_first(const struct frame_queue *q, uint32_t *size)
{
    if (q->head == q->end)
        return NULL;
    memcpy(size, q->at + q->head, sizeof(*size));
    return q->at + q->head + sizeof(*size);
}

static void queue_drop_first(struct frame_queue *q, uint32_t size)
{
    q->head += entry_size(size);
    if (q->head == q->end)
        q->head = q->end = 0;
}

/* ---- from the guest ------------------------------------------------------------------------- */
static size_t total(const struct iovec *iov, unsigned n_iov)
{
    size_t sum = 0;
    for (unsigned i = 0; i < n_iov; i++)
        sum += iov[i].iov_len;
    return sum;
}

static void gather(uint8_t *to, const struct iovec *iov, unsigned n_iov)
{
    for (unsigned i = 0; i < n_iov; i++) {
        if (iov[i].iov_len)
            memcpy(to, iov[i].iov_base, iov[i].iov_len);
        to += iov[i].iov_len;
    }
}

bool netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov)
{
    size_t size = total(iov, n_iov);
    if (size < MIN_FRAME || size > NET_MAX_FRAME) {
        count(&n->counts.dropped, 1);
        return true;
    }
    pthread_mutex_lock(&n->lock);
    bool first = n->from_guest.head == n->from_guest.end;
    uint8_t *to = queue_add(&n->from_guest, size);
    if (to)
        gather(to, iov, n_iov);
    else
        n->blocked = true;
    pthread_mutex_unlock(&n->lock);
    if (first) /* one wake-up for all frames until the loop looks */
        eventfd_write(n->wake_fd, 1);
    return to;
}

/* Take everything there is; senders go on with an empty queue meanwhile. */
static struct frame_queue take_all(struct netdev *n)
{
    pthread_mutex_lock(&n->lock);
    struct frame_queue taken = n->from_guest;
    n->from_guest = (struct frame_queue){ .at = n->spare };
    n->spare = NULL;
    pthread_mutex_unlock(&n->lock);
    return taken;
}

static void give_back(struct netdev *n, uint8_t *buffer, bool *was_blocked)
{
    pthread_mutex_lock(&n->lock);
    if (n->spare)
        free(buffer);
    else
        n->spare = buffer;
    *was_blocked = n->blocked;
    n->blocked = false;
    pthread_mutex_unlock(&n->lock);
}

static void input_all(struct netdev *n)
{
    struct frame_queue taken = take_all(n);
    const uint8_t *frame;
    uint32_t size;
    bool any = false, was_blocked;
    for (; (frame = queue_first(&taken, &size)); any = true) {
        count(&n->counts.sent, 1);
        count(&n->counts.sent_bytes, size);
        n->type->input(n, frame, size);
        queue_drop_first(&taken, size);
    }
    give_back(n, taken.at, &was_blocked);
    if (any)
        n->type->input_done(n);
    if (was_blocked && n->attached)
        n->peer.writable(n->peer.opaque);
}

/* ---- to the guest --------------------------------------------------------------------------- */
static bool offer(struct netdev *n, const uint8_t *frame, size_t size)
{
    if (!n->peer.receive(n->peer.opaque, frame, size))
        return false;
    n->offered = true;
    count(&n->counts.received, 1);
    count(&n->counts.received_bytes, size);
    return true;
}

/* Hand over what waits, until the device has no room. */
static void flush_to_guest(struct netdev *n)
{
    const uint8_t *frame;
    uint32_t size;
    while (n->attached && (frame = queue_first(&n->to_guest, &size))) {
        if (!offer(n, frame, size)) {
            /* The device may have found room before it could see that we wait: ask once more. */
            if (atomic_exchange(&n->waiting, true) || !offer(n, frame, size))
                return;
        }
        queue_drop_first(&n->to_guest, size);
    }
    atomic_store(&n->waiting, false);
}

void netdev_deliver(struct netdev *n, const uint8_t *frame, size_t size)
{
    if (!n->attached || size > NET_MAX_FRAME) {
        count(&n->counts.dropped, 1);
        return;
    }
    bool empty = n->to_guest.head == n->to_guest.end;
    if (empty && offer(n, frame, size))
        return;
    uint8_t *to = queue_add(&n->to_guest, size);
    if (!to) {
        count(&n->counts.refused, 1);
        return;
    }
    memcpy(to, frame, size);
    if (empty)
        flush_to_guest(n);
}

void netdev_delivered(struct netdev *n)
{
    if (n->offered && n->attached)
        n->peer.received(n->peer.opaque);
    n->offered = false;
}

void netdev_ready(struct netdev *n)
{
    if (atomic_exchange(&n->waiting, false))
        eventfd_write(n->wake_fd, 1);
}

static void wake(void *opaque, uint32_t ready)
{
    struct netdev *n = opaque;
    eventfd_t ignored;
    eventfd_read(n->wake_fd, &ignored);
    flush_to_guest(n);
    input_all(n);
    netdev_delivered(n);
}

void netdev_attach(struct netdev *n, const struct netdev_peer *peer)
{
    n->peer = *peer;
    n->attached = true;
}

void netdev_detach(struct netdev *n)
{
    n->attached = false;
    n->to_guest.head = n->to_guest.end = 0;
    atomic_store(&n->waiting, false);
}

const char *netdev_describe(const struct netdev *n)
{
    return n->description;
}

bool netdev_opens(const struct netdev *n)
{
    return n->type->opens;
}

void netdev_counts(struct netdev *n, struct netdev_counts *out)
{
    *out = (struct netdev_counts){
        .sent = n->counts.sent,
        .sent_bytes = n->counts.sent_bytes,
        .received = n->counts.received,
        .received_bytes = n->counts.received_bytes,
        .refused = n->counts.refused,
        .dropped = n->counts.dropped,
    };
}

/* ---- opening -------------------------------------------------------------------------------- */
static struct error *find_type(const char *name, const struct netdev_type **out)
{
    const char *names[ARRAY_LEN(types)];
    char list[120] = "";
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        names[i] = types[i]->name;
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);
        if (name && !strcmp(name, names[i])) {
            *out = types[i];
            return NULL;
        }
    }
    if (!name)
        return error_new("the kind of network is missing (accepted: %s)", list);
    char *hint = nearest_hint(name, names, ARRAY_LEN(names));
    struct error *err =
        error_new("network kind '%s' is not known%s (accepted: %s)", name, hint, list);
    free(hint);
    return err;
}

static struct error *refuse_rest(const struct netdev_type *type, struct options *o, bool nic)
{
    const char *known[48] = { "id" };
    size_t n = 1;
    for (size_t i = 0; type->keys[i] && n < ARRAY_LEN(known) - 2; i++)
        known[n++] = type->keys[i];
    if (nic) {
        known[n++] = "model";
        known[n++] = "mac";
    }
    return options_refuse_rest(o, known, n);
}

void netdev_close(struct netdev *n)
{
    if (!n)
        return;
    n->attached = false;
    n->type->close(n);
    if (n->wake_fd >= 0) {
        loop_unwatch(n->vm->loop, n->wake_fd);
        close(n->wake_fd);
    }
    pthread_mutex_destroy(&n->lock);
    free(n->from_guest.at);
    free(n->to_guest.at);
    free(n->spare);
    free(n);
}

static struct error *open_type(struct vm *vm, const struct netdev_type *type, struct options *o,
                               bool nic, struct netdev **out)
{
    struct netdev *n = xcalloc(1, type->size);
    n->type = type;
    n->vm = vm;
    pthread_mutex_init(&n->lock, NULL);
    n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct error *err = n->wake_fd < 0 ? error_errno("network") : NULL;
    if (!err)
        err = type->open(n, o);
    if (!err)
        err = refuse_rest(type, o, nic);
    if (err) {
        netdev_close(n);
        return err;
    }
    loop_watch(vm->loop, n->wake_fd, EPOLLIN, wake, n);
    *out = n;
    return NULL;
}

struct error *netdev_open(struct vm *vm, const char *spec, struct netdev **out)
{
    struct options o;
    const struct netdev_type *type;
    struct error *err = options_split(spec, "type", &o);
    if (err)
        return err;
    options_get(&o, "id");
    err = find_type(options_get(&o, "type"), &type);
    if (!err)
        err = open_type(vm, type, &o, false, out);
    options_free(&o);
    return err;
}

static void close_netdev(void *n)
{
    netdev_close(n);
}

static struct error *open_and_add(struct vm *vm, struct options *o, const char *id, bool nic)
{
    const struct netdev_type *type;
    struct netdev *n;
    struct error *err = find_type(options_get(o, "type"), &type);
    if (!err && backend_find(vm, BACKEND_NETDEV, id))
        err = error_new("the name '%s' is in use", id);
    if (!err)
        err = open_type(vm, type, o, nic, &n);
    if (err)
        return err;
    err = backend_add(vm, BACKEND_NETDEV, id, n, close_netdev);
    if (err)
        netdev_close(n);
    return err;
}

struct error *netdev_add(struct vm *vm, const char *spec)
{
    struct options o;
    struct error *err = options_split(spec, "type", &o);
    if (err)
        return err;
    const char *id = options_get(&o, "id");
    err = id && *id ? open_and_add(vm, &o, id, false) : error_new("id= is missing");
    options_free(&o);
    return err;
}

struct error *netdev_remove(struct vm *vm, const char *id)
{
    if (!backend_find(vm, BACKEND_NETDEV, id))
        return error_new("Device '%.80s' not found", id);
    return backend_remove(vm, BACKEND_NETDEV, id);
}

/* ---- -nic ----------------------------------------------------------------------------------- */
static struct error *get_text(struct options *o, const char *name, char *to, size_t room)
{
    const char *value = options_get(o, name);
    if (value && (!*value || strlen(value) >= room))
        return error_new("%s='%s' is not a name of up to %zu characters", name, value, room - 1);
    snprintf(to, room, "%s", value ? value : "");
    return NULL;
}

static struct error *parse_nic(struct vm *vm, struct options *o, struct nic_info *out)
{
    const char *type = options_get(o, "type");
    *out = (struct nic_info){ .none = type && !strcmp(type, "none") };
    if (out->none)
        return options_refuse_rest(o, NULL, 0);
    struct error *err = get_text(o, "model", out->model, sizeof(out->model));
    if (!err)
        err = get_text(o, "mac", out->mac, sizeof(out->mac));
    if (!err)
        err = get_text(o, "id", out->id, sizeof(out->id));
    for (unsigned i = 0; !err && !*out->id; i++) {
        snprintf(out->id, sizeof(out->id), "nic%u", i);
        if (backend_find(vm, BACKEND_NETDEV, out->id))
            *out->id = 0;
    }
    return err ? err : open_and_add(vm, o, out->id, true);
}

struct error *nic_add(struct vm *vm, const char *spec, struct nic_info *out)
{
    struct options o;
    struct error *err = options_split(spec, "type", &o);
    if (err)
        return err;
    err = parse_nic(vm, &o, out);
    options_free(&o);
    return err;
}
