/* Character back ends: what all kinds share. Ports, output, input, the mux and its escape keys. */
#include "core/chardev_host.h"

#include "core/chardev_telnet.h"
#include "core/clock.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define FLUSH_DELAY_NS (NS_PER_S / 1000)
#define FLUSH_AT       2048     /* bytes that are sent at once */
#define LAST_FLUSH_MS  300      /* patience with a reader when the back end is closed */
#define STALLED_NS     NS_PER_S /* patience of a console with a reader that takes nothing */
#define CTRL_A         0x01

static void on_ready(void *opaque, uint32_t ready);

/* The host that has the other side. */
static struct chardev_host *far_host(const struct chardev *c)
{
    return c->host->base ? c->host->base->host : c->host;
}

/* ---- output --------------------------------------------------------------------------------- */

static void watch(struct chardev_host *h)
{
    struct loop *loop = h->vm->loop;
    bool reads = h->in_fd >= 0 && !h->in_ended && (h->mux || !h->n_held);
    uint32_t in = reads ? EPOLLIN : h->left && !h->peer_gone ? EPOLLRDHUP : 0;
    uint32_t out = h->out_fd >= 0 && h->out_blocked ? EPOLLOUT : 0;
    if (h->in_fd >= 0 && h->in_fd == h->out_fd) {
        loop_watch(loop, h->in_fd, in | out, on_ready, h);
        return;
    }
    if (h->in_fd >= 0)
        loop_watch(loop, h->in_fd, in, on_ready, h);
    if (h->out_fd >= 0)
        loop_watch(loop, h->out_fd, out, on_ready, h);
}

/* Send what is there until the descriptor blocks. False: the other side is gone. Lock held. */
static bool send_some(struct chardev_host *h)
{
    while (h->n_out && h->out_fd >= 0) {
        size_t n = MIN(h->n_out, CHARDEV_BUFFER - h->out_at);
        if (h->datagrams)
            n = MIN(n, CHARDEV_DATAGRAM);
        ssize_t did = write(h->out_fd, h->out + h->out_at, n);
        if (did < 0 && errno == EINTR)
            continue;
        if (did < 0 && h->datagrams && errno != EAGAIN)
            did = (ssize_t)n; /* nobody was there */
        if (did < 0)
            return errno == EAGAIN;
        h->out_at = (h->out_at + (size_t)did) % CHARDEV_BUFFER;
        h->n_out -= (size_t)did;
        h->n_sent += (uint64_t)did;
        h->stalled = false;
        h->blocked_at_ns = 0;
    }
    return true;
}

static void write_log(struct chardev_host *h, const uint8_t *data, size_t n)
{
    while (n) {
        ssize_t did = write(h->log_fd, data, n);
        if (did < 0 && errno == EINTR)
            continue;
        if (did <= 0)
            return; /* a full disk is no reason to stop the guest */
        data += did;
        n -= (size_t)did;
    }
}

/* Lock held. */
static void flush_log(struct chardev_host *h)
{
    write_log(h, h->log, h->n_log);
    h->n_log = 0;
}

/* Lock held. */
static void add_to_log(struct chardev_host *h, const uint8_t *data, size_t n)
{
    if (h->n_log + n > CHARDEV_LOG)
        flush_log(h);
    if (n > CHARDEV_LOG) {
        write_log(h, data, n);
        return;
    }
    if (!h->log)
        h->log = xmalloc(CHARDEV_LOG);
    memcpy(h->log + h->n_log, data, n);
    h->n_log += n;
}

void chardev_host_tell(struct chardev_host *h, int event)
{
    for (struct chardev *c = h->ports, *next; c; c = next) {
        next = c->next;
        if (event == CHARDEV_OPENED || event == CHARDEV_CLOSED)
            c->open = event == CHARDEV_OPENED;
        if (c->attached)
            c->front.event(c->front.opaque, event);
    }
}

/* Main loop's thread. */
static void flush(struct chardev_host *h)
{
    pthread_mutex_lock(&h->lock);
    if (h->n_log)
        flush_log(h);
    bool alive = send_some(h);
    if (!alive || h->out_fd < 0) {
        h->n_dropped += h->n_out;
        h->n_out = 0;
    }
    bool blocked = h->n_out > 0, changed = blocked != h->out_blocked;
    bool writable = h->was_full && h->n_out <= CHARDEV_BUFFER / 2;
    if (blocked && !h->blocked_at_ns)
        h->blocked_at_ns = host_now_ns();
    h->out_blocked = blocked;
    h->was_full &= !writable;
    h->flush_at_ns = 0;
    pthread_mutex_unlock(&h->lock);
    if (!alive)
        h->hung_up(h);
    else if (changed)
        watch(h);
    if (writable)
        chardev_host_tell(h, CHARDEV_WRITABLE);
}

/* How long a reader that takes nothing has left, until those who write for consoles wait for it no more; UINT64_MAX: it
 * is not so. Lock held. */
static uint64_t patience_left(struct chardev_host *h)
{
    if (!h->out_blocked || h->stalled || !h->blocked_at_ns)
        return UINT64_MAX;
    uint64_t end = h->blocked_at_ns + STALLED_NS, now = host_now_ns();
    return now < end ? end - now : 0;
}

/* The time until something is to be done. */
static uint64_t prepare(void *opaque)
{
    struct chardev_host *h = opaque;
    pthread_mutex_lock(&h->lock);
    uint64_t at = h->flush_at_ns;
    pthread_mutex_unlock(&h->lock);
    uint64_t now = at ? host_now_ns() : 0, until_flush = UINT64_MAX;
    if (at && now < at)
        until_flush = at - now;
    else if (at)
        flush(h);
    pthread_mutex_lock(&h->lock);
    uint64_t left = patience_left(h);
    h->stalled |= left == 0;
    pthread_mutex_unlock(&h->lock);
    if (left)
        return MIN(left, until_flush);
    chardev_host_tell(h, CHARDEV_WRITABLE);
    return until_flush;
}

static void nothing(void *unused)
{
}

static void put_bytes(struct chardev_host *h, const uint8_t *data, size_t n)
{
    if (!h->out)
        h->out = xmalloc(CHARDEV_BUFFER);
    for (size_t done = 0; done < n;) {
        size_t to = (h->out_at + h->n_out) % CHARDEV_BUFFER;
        size_t piece = MIN(n - done, CHARDEV_BUFFER - to);
        memcpy(h->out + to, data + done, piece);
        h->n_out += piece;
        done += piece;
    }
}

static size_t room_for_output(const struct chardev_host *h)
{
    return CHARDEV_BUFFER - h->n_out;
}

/* Into the buffer, as much as finds room; how much. Lock held. */
static size_t append(struct chardev_host *h, const uint8_t *data, size_t n)
{
    size_t take = h->out_fd < 0 ? 0 : MIN(n, room_for_output(h));
    if (!h->telnet) {
        put_bytes(h, data, take);
        return take;
    }
    static const uint8_t twice[] = { TELNET_IAC, TELNET_IAC };
    for (size_t i = 0; i < take; i++) {
        bool is_iac = data[i] == TELNET_IAC;
        if (is_iac && room_for_output(h) < 2)
            return i;
        put_bytes(h, is_iac ? twice : data + i, 1 + is_iac);
        take = MIN(take, i + 1 + room_for_output(h));
    }
    return take;
}

/* Have `added` bytes and the log sent soon. True: the loop is to be woken. Lock held. */
static bool schedule(struct chardev_host *h, size_t added)
{
    bool sends = added && !h->out_blocked;
    if (!sends && !h->n_log)
        return false;
    bool now = sends && h->n_out >= FLUSH_AT;
    bool wake = !h->flush_at_ns || (now && h->n_out - added < FLUSH_AT);
    if (now)
        h->flush_at_ns = 1;
    else if (!h->flush_at_ns)
        h->flush_at_ns = host_now_ns() + FLUSH_DELAY_NS;
    return wake;
}

void chardev_write(struct chardev *c, const uint8_t *data, size_t n)
{
    struct chardev_host *h = c->host;
    pthread_mutex_lock(&h->lock);
    size_t before = h->n_out;
    if (h->log_fd >= 0)
        add_to_log(h, data, n);
    if (h->sink) {
        h->sink(h, data, n);
        h->n_sent += n;
    } else {
        h->n_dropped += n - append(h, data, n);
        h->was_full |= h->n_out == CHARDEV_BUFFER;
    }
    bool wake = schedule(h, h->n_out - before);
    pthread_mutex_unlock(&h->lock);
    if (wake && !loop_is_mine(h->vm->loop))
        loop_post(h->vm->loop, nothing, NULL);
}

void chardev_host_send(struct chardev_host *h, const uint8_t *data, size_t n)
{
    pthread_mutex_lock(&h->lock);
    if (h->out_fd >= 0 && n <= room_for_output(h)) {
        put_bytes(h, data, n);
        schedule(h, n);
    }
    pthread_mutex_unlock(&h->lock);
}

void chardev_flush(struct chardev *c)
{
    struct chardev_host *h = far_host(c);
    pthread_mutex_lock(&h->lock);
    if (h->n_out && !h->out_blocked)
        send_some(h);
    if (h->n_out || h->was_full)
        h->flush_at_ns = 1; /* the loop sees to the rest, and tells */
    else
        h->flush_at_ns = 0;
    pthread_mutex_unlock(&h->lock);
}

void chardev_hang_up(struct chardev *c)
{
    struct chardev_host *h = far_host(c);
    h->hung_up(h);
}

size_t chardev_space(struct chardev *c)
{
    struct chardev_host *h = far_host(c);
    pthread_mutex_lock(&h->lock);
    size_t space = h->sink || h->out_fd < 0 ? CHARDEV_BUFFER : room_for_output(h);
    if (h->telnet)
        space /= 2;
    h->was_full |= space == 0;
    pthread_mutex_unlock(&h->lock);
    return space;
}

size_t chardev_console_space(struct chardev *c)
{
    struct chardev_host *h = far_host(c);
    pthread_mutex_lock(&h->lock);
    bool stalled = h->stalled;
    pthread_mutex_unlock(&h->lock);
    return stalled ? CHARDEV_BUFFER : chardev_space(c);
}

/* ---- input ---------------------------------------------------------------------------------- */

static bool is_open(const struct chardev_host *h)
{
    if (h->base)
        h = h->base->host;
    return h->sink || h->in_fd >= 0 || h->out_fd >= 0;
}

static size_t room_of(struct chardev *c)
{
    return c->attached ? c->front.room(c->front.opaque) : 0;
}

static void hold(struct chardev_host *h, const uint8_t *data, size_t n)
{
    if (!h->held)
        h->held = xmalloc(CHARDEV_BUFFER);
    if (h->held_at) {
        memmove(h->held, h->held + h->held_at, h->n_held);
        h->held_at = 0;
    }
    size_t take = MIN(n, CHARDEV_BUFFER - h->n_held);
    memcpy(h->held + h->n_held, data, take);
    h->n_held += take;
    h->n_dropped += n - take;
}

static void focus_next(struct chardev_host *h);

/* Give held bytes to the front end with the focus, as much as it takes. */
static void deliver(struct chardev_host *h)
{
    if (h->mux && !h->focus->attached)
        focus_next(h);
    while (h->n_held) {
        struct chardev *c = h->focus;
        /* Ask again after announcing that we wait: room may have come in between. */
        size_t room = room_of(c);
        if (!room) {
            h->wants_room = true;
            room = room_of(c);
        }
        if (!room)
            break;
        h->wants_room = false;
        size_t n = MIN(room, h->n_held);
        h->n_held -= n;
        h->held_at += n;
        bool outer = h->delivering;
        h->delivering = true;
        c->front.receive(c->front.opaque, h->held + h->held_at - n, n);
        h->delivering = outer;
    }
    if (!h->n_held)
        h->held_at = 0;
}

static void say(struct chardev_host *h, const char *text)
{
    chardev_write(h->ports, (const uint8_t *)text, strlen(text));
}

static void focus_next(struct chardev_host *h)
{
    struct chardev *c = h->focus;
    do
        c = c && c->next ? c->next : h->ports;
    while (c != h->focus && !c->attached);
    if (c == h->focus)
        return;
    h->focus = c;
    h->n_held = h->held_at = 0; /* typed for the other one */
    if (!c->attached)
        return;
    int event = c->open || !is_open(h) ? CHARDEV_FOCUS : CHARDEV_OPENED;
    c->open |= event == CHARDEV_OPENED;
    c->front.event(c->front.opaque, event);
}

static void escape_key(struct chardev_host *h, uint8_t key)
{
    const uint8_t ctrl_a = CTRL_A;
    switch (key) {
    case CTRL_A: hold(h, &ctrl_a, 1); break;
    case 'x':
    case 'X': vm_request_end(h->vm, VERDICT_QUIT, 0, "Ctrl-A x"); break;
    case 'c':
    case 'C': focus_next(h); break;
    case 'b':
    case 'B':
        if (h->focus->attached)
            h->focus->front.event(h->focus->front.opaque, CHARDEV_BREAK);
        break;
    case 'h':
    case 'H':
    case '?':
        say(h, "\r\nCtrl-A h       this help\r\n"
               "Ctrl-A x       end the emulator\r\n"
               "Ctrl-A c       switch between console and monitor\r\n"
               "Ctrl-A b       send a break\r\n"
               "Ctrl-A Ctrl-A  send a Ctrl-A\r\n");
        break;
    }
}

static void filter(struct chardev_host *h, const uint8_t *data, size_t n)
{
    size_t plain = 0; /* data[plain..i) goes to the front end */
    for (size_t i = 0; i < n; i++) {
        if (h->escape) {
            h->escape = false;
            escape_key(h, data[i]);
            plain = i + 1;
        } else if (data[i] == CTRL_A) {
            hold(h, data + plain, i - plain);
            deliver(h);
            h->escape = true;
            plain = i + 1;
        }
    }
    hold(h, data + plain, n - plain);
}

void chardev_host_forget_input(struct chardev_host *h)
{
    h->n_held = h->held_at = 0;
    h->escape = false;
}

static void take_input(struct chardev_host *h, const uint8_t *data, size_t n)
{
    h->n_in += n;
    if (h->mux)
        filter(h, data, n);
    else
        hold(h, data, n);
    deliver(h);
}

static void end_of_input(struct chardev_host *h)
{
    h->in_ended = true;
    if (h->in_fd == h->out_fd)
        h->hung_up(h);
    else
        watch(h);
}

static void drop_fds(struct chardev_host *h)
{
    for (unsigned i = 0; i < h->n_fds; i++)
        close(h->fds[i]);
    h->n_fds = 0;
}

static void keep_fds(struct chardev_host *h, struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        drop_fds(h);
        h->n_fds = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(h->fds, CMSG_DATA(c), h->n_fds * sizeof(int)); /* the buffer holds no more */
    }
}

static ssize_t read_with_fds(struct chardev_host *h, void *data, size_t n)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(CHARDEV_MOST_FDS * sizeof(int))];
    struct iovec iov = { data, n };
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    ssize_t got = recvmsg(h->in_fd, &m, MSG_CMSG_CLOEXEC);
    if (got < 0 && errno == ENOTSOCK)
        return read(h->in_fd, data, n);
    if (got > 0)
        keep_fds(h, &m);
    return got;
}

void chardev_receive_fds(struct chardev *c)
{
    far_host(c)->receives_fds = true;
}

int chardev_take_fd(struct chardev *c)
{
    struct chardev_host *h = far_host(c);
    if (!h->n_fds)
        return -1;
    int fd = h->fds[0];
    memmove(h->fds, h->fds + 1, --h->n_fds * sizeof(int));
    return fd;
}

static void read_some(struct chardev_host *h)
{
    uint8_t data[CHARDEV_CHUNK];
    ssize_t n =
        h->receives_fds ? read_with_fds(h, data, sizeof(data)) : read(h->in_fd, data, sizeof(data));
    if (n > 0) {
        if (h->telnet)
            telnet_receive(h->telnet, h, data, (size_t)n);
        else
            take_input(h, data, (size_t)n);
        if (h->in_fd >= 0)
            watch(h);
    } else if (h->datagrams) {
        return;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        end_of_input(h);
    }
}

/* It has left, but what it said has not all been heard: that is not thrown away, unless somebody else comes. */
static void leave(struct chardev_host *h)
{
    h->peer_gone = true;
    h->out_blocked = false;
    watch(h);
    h->left(h);
}

static void on_ready(void *opaque, uint32_t ready)
{
    struct chardev_host *h = opaque;
    if (ready & EPOLLOUT && h->out_fd >= 0)
        flush(h);
    if (ready & (EPOLLIN | EPOLLHUP | EPOLLERR) && h->in_fd >= 0 && !h->in_ended &&
        (h->mux || !h->n_held))
        read_some(h);
    else if (ready & (EPOLLHUP | EPOLLERR | EPOLLRDHUP) && h->left && h->in_fd >= 0 && h->n_held)
        leave(h);
    else if (ready & (EPOLLHUP | EPOLLERR) && h->out_fd >= 0 && !h->datagrams)
        h->hung_up(h);
}

void chardev_host_input(struct chardev_host *h, const uint8_t *data, size_t n)
{
    take_input(h, data, n);
}

void chardev_feed(struct chardev *c, const uint8_t *data, size_t n)
{
    take_input(c->host, data, n);
}

static void accept_now(void *opaque)
{
    struct chardev_host *h = opaque;
    pthread_mutex_lock(&h->lock);
    h->accept_posted = false;
    pthread_mutex_unlock(&h->lock);
    deliver(h);
    watch(h);
}

void chardev_accept(struct chardev *c)
{
    struct chardev_host *h = c->host;
    if (!atomic_load(&h->wants_room))
        return;
    pthread_mutex_lock(&h->lock);
    bool first = !h->accept_posted;
    h->accept_posted = true;
    pthread_mutex_unlock(&h->lock);
    if (first)
        loop_post(h->vm->loop, accept_now, h);
}

/* ---- ports ---------------------------------------------------------------------------------- */

void chardev_attach(struct chardev *c, const struct chardev_front *front)
{
    struct chardev_host *h = c->host;
    c->front = *front;
    c->attached = true;
    if (!h->focus->attached)
        h->focus = c;
    c->open = is_open(h);
    if (c->open)
        front->event(front->opaque, CHARDEV_OPENED);
    if (h->n_held) /* not at once: others may be about to attach, and one gets it */
        h->wants_room = true;
    chardev_accept(c);
    watch(h);
}

void chardev_detach(struct chardev *c)
{
    struct chardev_host *h = c->host;
    c->attached = false;
    c->front_open = FRONT_AS_ATTACHED;
    if (h->focus == c && h->mux)
        focus_next(h);
}

struct chardev *chardev_attach_monitor(struct chardev *c, const struct chardev_front *front)
{
    struct chardev_host *h = c->host;
    if (!h->mux) {
        chardev_attach(c, front);
        return c;
    }
    struct chardev *port = chardev_share(c); /* opens when it gets the focus for the first time */
    port->front = *front;
    port->attached = true;
    port->open = false;
    return port;
}

bool chardev_is_port(const struct chardev *c, const void *port)
{
    for (const struct chardev *p = c->host->ports; p; p = p->next)
        if (p == port)
            return true;
    return false;
}

bool chardev_has_front(const struct chardev *c)
{
    for (const struct chardev *p = c->host->ports; p; p = p->next)
        if (p->attached)
            return true;
    return false;
}

bool chardev_is_connected(const struct chardev *c)
{
    return is_open(c->host);
}

bool chardev_is_server(const struct chardev *c)
{
    return far_host(c)->server;
}

bool chardev_is_ringbuf(const struct chardev *c)
{
    return c->host->ringbuf;
}

bool chardev_front_is_open(const struct chardev *c)
{
    bool any = false;
    for (struct chardev *p = c->host->ports; p; p = p->next)
        any |= p->front_open == FRONT_OPEN || (p->front_open == FRONT_AS_ATTACHED && p->attached);
    return any;
}

void chardev_set_front_open(struct chardev *c, bool open)
{
    c->front_open = open ? FRONT_OPEN : FRONT_CLOSED;
}

void chardev_break(struct chardev *c)
{
    struct chardev *focus = c->host->focus;
    if (focus->attached)
        focus->front.event(focus->front.opaque, CHARDEV_BREAK);
}

static void adopt(struct chardev *c, struct chardev_host *h)
{
    c->host = h;
    h->ports = h->focus = c;
    bool open = is_open(h);
    if (c->attached && open != c->open)
        c->front.event(c->front.opaque, open ? CHARDEV_OPENED : CHARDEV_CLOSED);
    c->open = open;
    if (h->in_fd >= 0 || h->out_fd >= 0)
        watch(h);
}

void chardev_swap(struct chardev *a, struct chardev *b)
{
    struct chardev_host *of_a = a->host;
    bool receives = of_a->receives_fds; /* the front end wants it, wherever its bytes come from */
    of_a->receives_fds = b->host->receives_fds;
    b->host->receives_fds = receives;
    adopt(a, b->host);
    adopt(b, of_a);
    struct chardev *both[] = { a, b };
    for (size_t i = 0; i < ARRAY_LEN(both); i++) /* who waited for the other host waits no more */
        if (both[i]->attached)
            both[i]->front.event(both[i]->front.opaque, CHARDEV_WRITABLE);
}

bool chardev_is_delivering(const struct chardev *c)
{
    return c->host->delivering;
}

bool chardev_is_mux(const struct chardev *c)
{
    return c->host->mux;
}

struct chardev *chardev_share(struct chardev *c)
{
    struct chardev **end = &c->host->ports;
    for (; *end; end = &(*end)->next)
        if (!(*end)->attached && *end != c)
            return *end;
    struct chardev *port = xcalloc(1, sizeof(*port));
    port->host = c->host;
    *end = port;
    return port;
}

const char *chardev_where(const struct chardev *c)
{
    const char *where = far_host(c)->where;
    return where ? where : "";
}

const char *chardev_kind(const struct chardev *c)
{
    return c->host->kind_name;
}

void chardev_needs(const struct chardev *c, struct chardev_needs *out)
{
    *out = (struct chardev_needs){ 0 };
    if (c->host->add_needs)
        c->host->add_needs(c->host, out);
}

void chardev_counts(struct chardev *c, struct chardev_counts *out)
{
    struct chardev_host *h = c->host;
    pthread_mutex_lock(&h->lock);
    *out = (struct chardev_counts){ h->n_in, h->n_sent, h->n_dropped };
    pthread_mutex_unlock(&h->lock);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void stay(struct chardev_host *h)
{
    chardev_host_disconnect(h);
}

static void no_kind(struct chardev_host *h)
{
}

struct chardev_host *chardev_host_new(struct vm *vm, const char *label)
{
    struct chardev_host *h = xcalloc(1, sizeof(*h));
    h->vm = vm;
    h->label = xstrdup(label ? label : "");
    h->in_fd = h->out_fd = h->log_fd = -1;
    h->kind_name = "null";
    h->hung_up = stay;
    h->close = no_kind;
    pthread_mutex_init(&h->lock, NULL);
    h->ports = h->focus = xcalloc(1, sizeof(*h->ports));
    h->ports->host = h;
    loop_add_prepare(vm->loop, prepare, h);
    return h;
}

void chardev_host_connect(struct chardev_host *h, int in_fd, int out_fd)
{
    pthread_mutex_lock(&h->lock);
    h->in_fd = in_fd;
    h->out_fd = out_fd;
    h->in_ended = h->peer_gone = false;
    h->out_blocked = h->stalled = false;
    h->blocked_at_ns = 0;
    pthread_mutex_unlock(&h->lock);
    watch(h);
    if (h->telnet)
        telnet_start(h->telnet, h);
    chardev_host_tell(h, CHARDEV_OPENED);
}

void chardev_host_disconnect(struct chardev_host *h)
{
    int in = h->in_fd, out = h->out_fd;
    if (in < 0 && out < 0)
        return;
    if (in >= 0)
        loop_unwatch(h->vm->loop, in);
    if (out >= 0)
        loop_unwatch(h->vm->loop, out);
    pthread_mutex_lock(&h->lock);
    h->in_fd = h->out_fd = -1;
    h->n_dropped += h->n_out;
    h->n_out = 0;
    h->out_blocked = h->stalled = false;
    h->blocked_at_ns = 0;
    pthread_mutex_unlock(&h->lock);
    if (in >= 0)
        close(in);
    if (out >= 0 && out != in)
        close(out);
    drop_fds(h);
    chardev_host_tell(h, CHARDEV_CLOSED);
}

void chardev_host_end_output(struct chardev_host *h)
{
    int out = h->out_fd;
    loop_unwatch(h->vm->loop, out);
    pthread_mutex_lock(&h->lock);
    h->out_fd = -1;
    h->n_dropped += h->n_out;
    h->n_out = 0;
    h->out_blocked = h->stalled = false;
    h->blocked_at_ns = 0;
    pthread_mutex_unlock(&h->lock);
    close(out);
}

/* A reader that has stopped reading does not keep us. */
static void flush_last(struct chardev_host *h)
{
    uint64_t end = host_now_ns() + LAST_FLUSH_MS * (NS_PER_S / 1000);
    pthread_mutex_lock(&h->lock);
    if (h->n_log)
        flush_log(h);
    while (h->n_out && h->out_fd >= 0 && send_some(h) && h->n_out) {
        uint64_t now = host_now_ns();
        struct pollfd p = { .fd = h->out_fd, .events = POLLOUT };
        if (now >= end || poll(&p, 1, (int)((end - now) / 1000000) + 1) <= 0)
            break;
    }
    pthread_mutex_unlock(&h->lock);
}

void chardev_close(struct chardev *c)
{
    if (!c)
        return;
    struct chardev_host *h = c->host;
    flush_last(h);
    for (struct chardev *p = h->ports; p; p = p->next)
        p->attached = false;
    chardev_host_disconnect(h);
    h->close(h);
    loop_remove_prepare(h->vm->loop, prepare, h);
    if (h->accept_posted)
        loop_sync(h->vm->loop);
    while (h->ports) {
        struct chardev *p = h->ports;
        h->ports = p->next;
        free(p);
    }
    pthread_mutex_destroy(&h->lock);
    if (h->log_fd >= 0)
        close(h->log_fd);
    free(h->log);
    free(h->out);
    free(h->held);
    free(h->label);
    free(h->where);
    free(h);
}
