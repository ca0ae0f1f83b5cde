/* "qemu-vdagent": what a guest's spice-vdagent finds behind its port, com.redhat.spice.0. It shares the clipboard;
 * names are those of SPICE's agent protocol (spice-protocol, vd_agent.h). The guest's bytes come through a socket pair,
 * so that they are taken apart on the main loop, as fast as it likes. */
#include "core/chardev_host.h"
#include "core/clipboard.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { /* layout of headers, little-endian: a chunk's port, size; a message's protocol, type, opaque, size */
       CHUNK_HEADER = 8,
       CHUNK_SIZE = 4,
       HEADER = 20,
       HEADER_TYPE = 4,
       HEADER_SIZE = 16,
       CHUNK_MOST = 2048, /* bytes in one of ours */
       CLIENT_PORT = 1,
       N_PORTS = 2, /* client, server */
       PROTOCOL = 1,
};
enum { /* types of messages */
       CLIPBOARD = 4,
       ANNOUNCE_CAPABILITIES = 6,
       CLIPBOARD_GRAB = 7,
       CLIPBOARD_REQUEST = 8,
};
enum { /* capabilities, as bits of the first word */
       CAP_BY_DEMAND = 1 << 5,
       CAP_SELECTION = 1 << 6,
};
enum { TYPE_NONE = 0, TYPE_UTF8 = 1, SELECTION_CLIPBOARD = 0 };
/* The largest message that is kept: a clipboard with its selection and type. */
enum { MESSAGE_MOST = HEADER + 8 + CLIPBOARD_MOST };
/* With more than this for it to read, a guest gets no answers. */
enum { OUT_MOST = 64 * 1024 };

/* A message as its pieces come. */
struct incoming {
    uint8_t *bytes; /* with its header; NULL: nothing of one yet */
    size_t n;
    uint64_t size; /* of all, once the header is there */
};

struct vdagent {
    struct chardev_host *host;
    struct clipboard_peer peer;
    int fd; /* our end of the pair */
    uint8_t chunk[CHUNK_HEADER];
    unsigned n_chunk;
    uint32_t chunk_left;
    struct incoming incoming[N_PORTS];
    uint32_t capabilities; /* the guest's */
    bool asked;            /* for its text */
    bool offers_later;     /* ours is new, and something still waits to be read */
    uint8_t *out;
    size_t out_at, n_out;
};

static void on_socket(void *opaque, uint32_t ready);
static void offer(struct vdagent *v);

/* ---- to the guest ---------------------------------------------------------------------------------- */
/* While something waits to be read by the guest nothing more is read from it, so requests do not pile up. */
static void watch(struct vdagent *v)
{
    loop_watch(v->host->vm->loop, v->fd, v->n_out ? EPOLLOUT : EPOLLIN, on_socket, v);
}

static void flush(struct vdagent *v)
{
    while (v->out_at < v->n_out) {
        ssize_t n = send(v->fd, v->out + v->out_at, v->n_out - v->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        v->out_at += (size_t)n;
    }
    if (v->out_at == v->n_out || errno != EAGAIN) {
        free(v->out);
        v->out = NULL;
        v->out_at = v->n_out = 0;
    }
    watch(v);
    if (!v->n_out && v->offers_later)
        offer(v);
}

static void put(struct vdagent *v, const uint8_t *message, size_t n)
{
    for (size_t at = 0; at < n; at += CHUNK_MOST) {
        size_t part = MIN(n - at, (size_t)CHUNK_MOST);
        v->out = xrealloc(v->out, v->n_out + CHUNK_HEADER + part);
        store_le(v->out + v->n_out, 4, CLIENT_PORT);
        store_le(v->out + v->n_out + CHUNK_SIZE, 4, part);
        memcpy(v->out + v->n_out + CHUNK_HEADER, message + at, part);
        v->n_out += CHUNK_HEADER + part;
    }
}

/* The words, little-endian, and the text behind them. */
static void send_message(struct vdagent *v, uint32_t type, const uint32_t *words, size_t n_words,
                         const char *text, size_t n_text)
{
    size_t n = HEADER + 4 * n_words + n_text;
    if (v->n_out > OUT_MOST)
        return;
    uint8_t *message = xcalloc(1, n);
    store_le(message, 4, PROTOCOL);
    store_le(message + HEADER_TYPE, 4, type);
    store_le(message + HEADER_SIZE, 4, n - HEADER);
    for (size_t i = 0; i < n_words; i++)
        store_le(message + HEADER + 4 * i, 4, words[i]);
    if (n_text)
        memcpy(message + HEADER + 4 * n_words, text, n_text);
    put(v, message, n);
    free(message);
    flush(v);
}

/* About the clipboard: which selection goes in front if the guest knows them. */
static void send_about(struct vdagent *v, uint32_t type, uint32_t what, const char *text, size_t n)
{
    const uint32_t words[] = { SELECTION_CLIPBOARD, what };
    bool selects = v->capabilities & CAP_SELECTION;
    send_message(v, type, selects ? words : words + 1, selects ? 2 : 1, text, n);
}

static void offer(struct vdagent *v)
{
    size_t n;
    v->offers_later = false;
    if (v->capabilities & CAP_BY_DEMAND && clipboard_text(v->host->vm, &n))
        send_about(v, CLIPBOARD_GRAB, TYPE_UTF8, NULL, 0);
}

static void on_changed(struct clipboard_peer *peer)
{
    struct vdagent *v = container_of(peer, struct vdagent, peer);
    v->asked = false; /* what it had is old */
    if (v->n_out)
        v->offers_later = true;
    else
        offer(v);
}

/* ---- from the guest ------------------------------------------------------------------------------------ */
static void take_capabilities(struct vdagent *v, const uint8_t *data, size_t n)
{
    static const uint32_t ours[] = { 0, CAP_BY_DEMAND | CAP_SELECTION };
    if (n < 8)
        return;
    v->capabilities = (uint32_t)load_le(data + 4, 4);
    v->asked = false;
    if (load_le(data, 4))
        send_message(v, ANNOUNCE_CAPABILITIES, ours, ARRAY_LEN(ours), NULL, 0);
    offer(v);
}

static void answer(struct vdagent *v, uint32_t type)
{
    size_t n;
    const char *text = clipboard_text(v->host->vm, &n);
    if (type == TYPE_UTF8 && text)
        send_about(v, CLIPBOARD, TYPE_UTF8, text, n);
    else
        send_about(v, CLIPBOARD, TYPE_NONE, NULL, 0);
}

static void take_grab(struct vdagent *v, const uint8_t *types, size_t n)
{
    for (size_t i = 0; i + 4 <= n; i += 4) {
        if (load_le(types + i, 4) != TYPE_UTF8)
            continue;
        v->asked = true;
        send_about(v, CLIPBOARD_REQUEST, TYPE_UTF8, NULL, 0);
        return;
    }
}

static void take_message(struct vdagent *v, uint32_t type, const uint8_t *data, size_t n)
{
    if (type == ANNOUNCE_CAPABILITIES) {
        take_capabilities(v, data, n);
        return;
    }
    if (type != CLIPBOARD && type != CLIPBOARD_GRAB && type != CLIPBOARD_REQUEST)
        return;
    if (v->capabilities & CAP_SELECTION) {
        if (n < 4 || data[0] != SELECTION_CLIPBOARD)
            return;
        data += 4;
        n -= 4;
    }
    if (type == CLIPBOARD_GRAB) {
        take_grab(v, data, n);
    } else if (n < 4) {
        return;
    } else if (type == CLIPBOARD_REQUEST) {
        answer(v, (uint32_t)load_le(data, 4));
    } else if (v->asked && load_le(data, 4) == TYPE_UTF8) {
        v->asked = false;
        clipboard_set(v->host->vm, &v->peer, (const char *)data + 4, n - 4);
    }
}

static void forget(struct incoming *in)
{
    free(in->bytes);
    *in = (struct incoming){ 0 };
}

/* Some bytes of a message, at most to its end: how many. Of one that is too long only the header is kept. */
static size_t take_part(struct vdagent *v, struct incoming *in, const uint8_t *data, size_t n)
{
    uint64_t end = in->n < HEADER ? HEADER : in->size;
    size_t part = (size_t)MIN(n, end - in->n);
    if (!in->bytes)
        in->bytes = xmalloc(HEADER);
    if (in->n < HEADER || in->size <= MESSAGE_MOST)
        memcpy(in->bytes + in->n, data, part);
    in->n += part;
    if (in->n == HEADER && part) {
        in->size = HEADER + load_le(in->bytes + HEADER_SIZE, 4);
        if (in->size <= MESSAGE_MOST)
            in->bytes = xrealloc(in->bytes, in->size);
    }
    if (in->n >= HEADER && in->n == in->size) {
        if (in->size <= MESSAGE_MOST && load_le(in->bytes, 4) == PROTOCOL)
            take_message(v, (uint32_t)load_le(in->bytes + HEADER_TYPE, 4), in->bytes + HEADER,
                         in->size - HEADER);
        forget(in);
    }
    return part;
}

/* What is no chunk cannot be told from what follows: all that came is dropped. */
static void start_over(struct vdagent *v)
{
    v->n_chunk = v->chunk_left = 0;
    for (unsigned i = 0; i < N_PORTS; i++)
        forget(&v->incoming[i]);
}

static void take(struct vdagent *v, const uint8_t *data, size_t n)
{
    while (n) {
        size_t part;
        if (v->n_chunk < CHUNK_HEADER) {
            v->chunk[v->n_chunk++] = *data;
            part = 1;
            v->chunk_left = (uint32_t)load_le(v->chunk + CHUNK_SIZE, 4);
        } else {
            struct incoming *in = &v->incoming[load_le(v->chunk, 4) - CLIENT_PORT];
            part = take_part(v, in, data, MIN(n, v->chunk_left));
            v->chunk_left -= (uint32_t)part;
        }
        data += part;
        n -= part;
        if (v->n_chunk < CHUNK_HEADER)
            continue;
        if (load_le(v->chunk, 4) - CLIENT_PORT >= N_PORTS) {
            start_over(v);
            return;
        }
        if (!v->chunk_left)
            v->n_chunk = 0;
    }
}

static void on_socket(void *opaque, uint32_t ready)
{
    struct vdagent *v = opaque;
    uint8_t data[CHARDEV_CHUNK];
    if (v->n_out) {
        flush(v);
        return;
    }
    ssize_t n = recv(v->fd, data, sizeof(data), 0);
    if (n > 0)
        take(v, data, (size_t)n);
    else if (n == 0)
        loop_unwatch(v->host->vm->loop, v->fd);
}

/* ---- coming and going ----------------------------------------------------------------------------------- */
static void vdagent_close(struct chardev_host *h)
{
    struct vdagent *v = h->kind;
    clipboard_leave(h->vm, &v->peer);
    loop_unwatch(h->vm->loop, v->fd);
    close(v->fd);
    start_over(v);
    free(v->out);
    free(v);
}

struct error *chardev_open_vdagent(struct chardev_host *h, const char *path, struct options *o)
{
    bool clipboard = false, mouse = false;
    int pair[2];
    options_get(o, "name");
    struct error *err = options_get_bool(o, "clipboard", &clipboard);
    if (!err)
        err = options_get_bool(o, "mouse", &mouse);
    if (err)
        return err;
    if (mouse)
        return error_new(
            "mouse=on is not supported; -device virtio-tablet-pci follows the pointer");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return error_errno("cannot make a socket pair");
    struct vdagent *v = xcalloc(1, sizeof(*v));
    v->host = h;
    v->fd = pair[1];
    v->peer = (struct clipboard_peer){ .changed = on_changed, .is_guest = true };
    h->kind = v;
    h->close = vdagent_close;
    if (clipboard)
        clipboard_join(h->vm, &v->peer);
    chardev_host_connect(h, pair[0], pair[0]);
    watch(v);
    return NULL;
}
