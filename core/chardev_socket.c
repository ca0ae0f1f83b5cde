/* Stream sockets as a back end: one peer at a time. A server goes back to listening when it leaves; a client may try
 * again until somebody answers. */
#include "core/chardev_host.h"
#include "core/chardev_telnet.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST_PLACES = 8, RUNNING_PATIENCE_MS = 100 };

/* One address of the other side, or of ours. */
struct place {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
        struct sockaddr_storage room;
    } at;
    socklen_t n;
};

struct sock {
    int listener; /* -1: a client */
    bool nodelay;
    char *unlink; /* path of a socket we made */
    /* A client's: */
    struct place places[MOST_PLACES];
    unsigned n_places, next;
    int connecting;                   /* -1: nothing is under way */
    uint64_t reconnect_ns, try_at_ns; /* 0: not */
};

struct sock_options {
    bool server, wait, nodelay, telnet, ipv4, ipv6, abstract, tight;
    int fd; /* -1: none was passed in */
    uint64_t reconnect_ns, to;
};

/* ---- options -------------------------------------------------------------------------------------- */
static struct error *get_bools(struct options *o, struct sock_options *out)
{
    const struct {
        const char *name;
        bool *value;
    } bools[] = { { "server", &out->server },     { "wait", &out->wait },
                  { "nodelay", &out->nodelay },   { "telnet", &out->telnet },
                  { "ipv4", &out->ipv4 },         { "ipv6", &out->ipv6 },
                  { "abstract", &out->abstract }, { "tight", &out->tight } };
    struct error *err = NULL;
    for (size_t i = 0; i < ARRAY_LEN(bools) && !err; i++)
        err = options_get_bool(o, bools[i].name, bools[i].value);
    return err;
}

static struct error *get_reconnect(struct options *o, struct sock_options *out)
{
    static const struct {
        const char *name, *unit;
        uint64_t ns;
    } ways[] = { { "reconnect", "seconds", NS_PER_S },
                 { "reconnect-ms", "milliseconds", NS_PER_S / 1000 } };
    bool said = false;
    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        uint64_t n;
        const char *text = options_get(o, ways[i].name);
        if (!text)
            continue;
        if (!parse_uint(text, 86400000, &n))
            return error_new("%s='%s' is not a number of %s", ways[i].name, text, ways[i].unit);
        if (said)
            return error_new("reconnect= and reconnect-ms= say the same; give one");
        out->reconnect_ns = n * ways[i].ns;
        said = true;
    }
    if (out->reconnect_ns && out->server)
        return error_new("reconnect= is for clients: a server waits for the next one anyway");
    return NULL;
}

static struct error *parse_options(struct chardev_host *h, struct options *o, bool telnet,
                                   struct sock_options *out)
{
    uint64_t fd;
    bool runs = loop_is_running(h->vm->loop);
    *out = (struct sock_options){ .wait = !runs, .telnet = telnet, .tight = true, .fd = -1 };
    const char *text = options_get(o, "fd"), *to = options_get(o, "to");
    struct error *err = get_bools(o, out);
    if (!err)
        err = get_reconnect(o, out);
    if (!err && out->server && out->wait && runs)
        err = error_new("wait=on would stop the guest until somebody comes; accepted: wait=off");
    if (!err && to && !parse_uint(to, 65535, &out->to))
        err = error_new("to='%s' is not a number from 0 to 65535", to);
    if (!err && text) {
        struct stat st;
        if (!parse_uint(text, 1 << 20, &fd) || fstat((int)fd, &st) || !S_ISSOCK(st.st_mode))
            err = error_new("fd=%s is not the number of an open socket", text);
        else if (out->reconnect_ns)
            err = error_new("fd= is a connection already; reconnect= needs an address");
        else
            out->fd = (int)fd;
    }
    return err;
}

/* ---- peers ---------------------------------------------------------------------------------------- */
static void take_peer(struct chardev_host *h, int fd)
{
    struct sock *s = h->kind;
    int on = 1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (s->nodelay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); /* one that is no more makes room */
    chardev_host_forget_input(h);
    chardev_host_connect(h, fd, fd);
}

static void on_knock(void *opaque, uint32_t ready)
{
    struct chardev_host *h = opaque;
    struct sock *s = h->kind;
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    chardev_host_disconnect(h);                           /* one that has left, see let_others_in */
    loop_watch(h->vm->loop, s->listener, 0, on_knock, h); /* others wait until this one leaves */
    take_peer(h, fd);
}

/* A connection under way, or -1 and errno. Never blocks. */
static int start_connect(const struct place *p)
{
    int fd = socket(p->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || !connect(fd, &p->at.any, p->n) || errno == EINPROGRESS)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int connect_result(int fd)
{
    int why = 0;
    socklen_t n = sizeof(why);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &n) ? errno : why;
}

static void try_next(struct chardev_host *h);

static void on_connected(void *opaque, uint32_t ready)
{
    struct chardev_host *h = opaque;
    struct sock *s = h->kind;
    int fd = s->connecting;
    s->connecting = -1;
    loop_unwatch(h->vm->loop, fd);
    if (!connect_result(fd)) {
        take_peer(h, fd);
        return;
    }
    close(fd);
    try_next(h);
}

/* The next address; after the last one a while later the first, or never again. */
static void try_next(struct chardev_host *h)
{
    struct sock *s = h->kind;
    while (s->next < s->n_places) {
        int fd = start_connect(&s->places[s->next++]);
        if (fd < 0)
            continue;
        s->connecting = fd;
        loop_watch(h->vm->loop, fd, EPOLLOUT, on_connected, h);
        return;
    }
    if (s->reconnect_ns)
        s->try_at_ns = host_now_ns() + s->reconnect_ns;
}

static uint64_t prepare(void *opaque)
{
    struct chardev_host *h = opaque;
    struct sock *s = h->kind;
    if (!s->try_at_ns)
        return UINT64_MAX;
    uint64_t now = host_now_ns();
    if (now < s->try_at_ns)
        return s->try_at_ns - now;
    s->try_at_ns = 0;
    s->next = 0;
    try_next(h);
    return s->try_at_ns ? s->reconnect_ns : UINT64_MAX;
}

static void peer_left(struct chardev_host *h)
{
    struct sock *s = h->kind;
    chardev_host_disconnect(h);
    if (s->listener >= 0)
        loop_watch(h->vm->loop, s->listener, EPOLLIN, on_knock, h);
    else if (s->reconnect_ns && s->connecting < 0)
        s->try_at_ns = host_now_ns() + s->reconnect_ns;
}

static void let_others_in(struct chardev_host *h)
{
    struct sock *s = h->kind;
    if (s->listener >= 0)
        loop_watch(h->vm->loop, s->listener, EPOLLIN, on_knock, h);
}

static void sock_close(struct chardev_host *h)
{
    struct sock *s = h->kind;
    if (s->reconnect_ns)
        loop_remove_prepare(h->vm->loop, prepare, h);
    if (s->connecting >= 0) {
        loop_unwatch(h->vm->loop, s->connecting);
        close(s->connecting);
    }
    if (s->listener >= 0) {
        loop_unwatch(h->vm->loop, s->listener);
        close(s->listener);
    }
    if (s->unlink)
        unlink(s->unlink);
    telnet_free(h->telnet);
    h->telnet = NULL;
    free(s->unlink);
    free(s);
}

static void sock_needs(struct chardev_host *h, struct chardev_needs *needs)
{
    const struct sock *s = h->kind;
    needs->unlink = s->unlink;
    for (unsigned i = 0; s->reconnect_ns && i < s->n_places; i++) {
        bool is_unix = s->places[i].at.any.sa_family == AF_UNIX;
        needs->connect_unix |= is_unix;
        needs->connect_inet |= !is_unix;
    }
}

/* ---- at the start --------------------------------------------------------------------------------- */
static struct sock *sock_new(struct chardev_host *h, const struct sock_options *so)
{
    struct sock *s = xcalloc(1, sizeof(*s));
    *s = (struct sock){
        .listener = -1, .connecting = -1, .nodelay = so->nodelay, .reconnect_ns = so->reconnect_ns
    };
    h->kind = s;
    h->close = sock_close;
    h->hung_up = peer_left;
    h->left = let_others_in;
    h->add_needs = sock_needs;
    h->server = so->server;
    if (so->telnet)
        h->telnet = telnet_new();
    if (s->reconnect_ns)
        loop_add_prepare(h->vm->loop, prepare, h);
    return s;
}

/* False: a signal wants the program to end, or nothing came in time (-1: whenever it comes). Signals are blocked and
 * come by a descriptor. */
static bool wait_for(const struct vm *vm, int fd, short what, int timeout_ms)
{
    struct pollfd fds[] = { { .fd = fd, .events = what },
                            { .fd = vm->signal_fd, .events = POLLIN } };
    while (poll(fds, ARRAY_LEN(fds), timeout_ms) < 0 && errno == EINTR)
        ;
    return fds[0].revents && !fds[1].revents;
}

/* Put the listening socket to use. With `wait` everything stands still until a peer comes. */
static struct error *use_listener(struct chardev_host *h, int fd, const struct sock_options *so,
                                  const char *made_path)
{
    struct sock *s = sock_new(h, so);
    s->listener = fd;
    s->unlink = made_path ? xstrdup(made_path) : NULL;
    if (so->wait) {
        if (!wait_for(h->vm, fd, POLLIN, -1))
            return error_new("a signal came before a peer did");
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (peer < 0)
            return error_errno("no peer could be accepted");
        loop_watch(h->vm->loop, fd, 0, on_knock, h);
        take_peer(h, peer);
    } else {
        loop_watch(h->vm->loop, fd, EPOLLIN, on_knock, h);
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return NULL;
}

static struct error *use_fd(struct chardev_host *h, const struct sock_options *so)
{
    if (so->server)
        return use_listener(h, so->fd, so, NULL);
    sock_new(h, so);
    take_peer(h, so->fd);
    return NULL;
}

/* Without reconnect= somebody has to be there now. A running machine does not wait for an answer that takes long: it
 * comes later, or never. */
static struct error *use_places(struct chardev_host *h, const struct sock_options *so)
{
    struct sock *s = h->kind;
    int patience = loop_is_running(h->vm->loop) ? RUNNING_PATIENCE_MS : -1, why = 0;
    if (so->reconnect_ns) {
        try_next(h);
        return NULL;
    }
    while (s->next < s->n_places) {
        int fd = start_connect(&s->places[s->next++]);
        if (fd < 0) {
            why = errno;
            continue;
        }
        if (!wait_for(h->vm, fd, POLLOUT, patience)) {
            s->connecting = fd;
            if (patience < 0)
                return error_new("a signal came before an answer from %s did", h->where);
            loop_watch(h->vm->loop, fd, EPOLLOUT, on_connected, h);
            return NULL;
        }
        why = connect_result(fd);
        if (!why) {
            take_peer(h, fd);
            return NULL;
        }
        close(fd);
    }
    errno = why;
    return error_errno("cannot connect to %s", h->where);
}

static int listen_at(const struct place *p)
{
    int on = 1, fd = socket(p->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (p->at.any.sa_family != AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (!bind(fd, &p->at.any, p->n) && !listen(fd, 1))
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* A socket file that nobody listens on any more is in the way of ours. Other files are left alone. */
static void remove_stale(const char *path, const struct place *p)
{
    struct stat st;
    if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
        return;
    int fd = start_connect(p);
    if (fd < 0 && errno == ECONNREFUSED)
        unlink(path);
    if (fd >= 0)
        close(fd);
}

static struct error *open_path(struct chardev_host *h, const char *path,
                               const struct sock_options *so)
{
    struct place p = { .at.un = { .sun_family = AF_UNIX } };
    size_t n = path ? strlen(path) : 0, at = so->abstract;
    if (!n || n + at >= sizeof(p.at.un.sun_path))
        return error_new("a UNIX socket needs a path of 1 to %zu characters",
                         sizeof(p.at.un.sun_path) - 1);
    memcpy(p.at.un.sun_path + at, path, n);
    p.n = so->abstract && so->tight ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)
                                    : sizeof(p.at.un);
    h->where = xasprintf("unix:%s", path);
    if (!so->server) {
        struct sock *s = sock_new(h, so);
        s->places[s->n_places++] = p;
        return use_places(h, so);
    }
    if (!so->abstract)
        remove_stale(path, &p);
    int fd = listen_at(&p);
    return fd < 0 ? error_errno("cannot listen on %s", h->where)
                  : use_listener(h, fd, so, so->abstract ? NULL : path);
}

/* ---- TCP ------------------------------------------------------------------------------------------ */
static struct error *find_places(struct chardev_host *h, const char *host, const char *port,
                                 const struct sock_options *so, struct sock *s)
{
    struct addrinfo *all, hints = { .ai_socktype = SOCK_STREAM,
                                    .ai_family = so->ipv4 == so->ipv6 ? AF_UNSPEC
                                                 : so->ipv4           ? AF_INET
                                                                      : AF_INET6,
                                    .ai_flags = so->server ? AI_PASSIVE : 0 };
    bool is_number = !port[strspn(port, "0123456789")];
    if (is_number && (!*port || strlen(port) > 5 || atoi(port) > 65535))
        return error_new("%s: port '%s' is not a number from 0 to 65535", h->where, port);
    if (loop_is_running(h->vm->loop)) { /* a name server would be waited for */
        host = !strcmp(host, "localhost") ? (so->ipv6 ? "::1" : "127.0.0.1") : host;
        hints.ai_flags |= AI_NUMERICHOST | AI_NUMERICSERV;
    }
    int code = getaddrinfo(*host ? host : NULL, port, &hints, &all);
    if (code)
        return error_new(
            "cannot find %s: %s%s", h->where, gai_strerror(code),
            hints.ai_flags & AI_NUMERICHOST ? " (a running machine takes addresses only)" : "");
    for (struct addrinfo *a = all; a && s->n_places < MOST_PLACES; a = a->ai_next) {
        struct place *p = &s->places[s->n_places++];
        memcpy(&p->at, a->ai_addr, a->ai_addrlen);
        p->n = a->ai_addrlen;
    }
    freeaddrinfo(all);
    return NULL;
}

static void set_port(struct place *p, unsigned port)
{
    if (p->at.any.sa_family == AF_INET)
        ((struct sockaddr_in *)&p->at.any)->sin_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in6 *)&p->at.any)->sin6_port = htons((uint16_t)port);
}

/* The first port of PORT..to= that is free, at the first address that will do. */
static int listen_tcp(struct sock *s, const char *port, uint64_t to)
{
    unsigned first = (unsigned)atoi(port), last = MAX(first, (unsigned)to);
    int fd = -1;
    for (unsigned at = first; at <= last && fd < 0; at++)
        for (unsigned i = 0; i < s->n_places && fd < 0; i++) {
            if (at != first)
                set_port(&s->places[i], at);
            fd = listen_at(&s->places[i]);
        }
    return fd;
}

/* Which port it became. */
static void name_listener(struct chardev_host *h, int fd, const char *host, bool telnet)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof(at);
    char port[8];
    if (getsockname(fd, (struct sockaddr *)&at, &n) ||
        getnameinfo((struct sockaddr *)&at, n, NULL, 0, port, sizeof(port), NI_NUMERICSERV))
        return;
    free(h->where);
    h->where = xasprintf("%s:%s:%s", telnet ? "telnet" : "tcp", host, port);
}

static struct error *open_host_port(struct chardev_host *h, const char *host, const char *port,
                                    const struct sock_options *so)
{
    struct sock found = { 0 };
    if (!port || !*port)
        return error_new("a TCP socket needs a host and a port: tcp:HOST:PORT");
    host = host ? host : "";
    h->where = xasprintf("%s:%s:%s", so->telnet ? "telnet" : "tcp", host, port);
    struct error *err = find_places(h, host, port, so, &found);
    if (err)
        return err;
    if (so->server) {
        int fd = listen_tcp(&found, port, so->to);
        if (fd < 0)
            return error_errno("cannot listen on %s", h->where);
        name_listener(h, fd, host, so->telnet);
        return use_listener(h, fd, so, NULL);
    }
    struct sock *s = sock_new(h, so);
    memcpy(s->places, found.places, sizeof(s->places));
    s->n_places = found.n_places;
    return use_places(h, so);
}

/* ---- by text -------------------------------------------------------------------------------------- */
/* HOST:PORT, [IPv6]:PORT or :PORT. */
static struct error *open_colon(struct chardev_host *h, const char *path, struct options *o,
                                const struct sock_options *so)
{
    if (!path)
        return open_host_port(h, options_get(o, "host"), options_get(o, "port"), so);
    char *text = xstrdup(path), *colon = strrchr(text, ':'), *host = text;
    struct error *err;
    if (!colon) {
        err = error_new("a TCP socket needs a host and a port: tcp:HOST:PORT");
    } else {
        *colon = 0;
        if (host[0] == '[' && colon > host + 1 && colon[-1] == ']') {
            colon[-1] = 0;
            host++;
        }
        err = open_host_port(h, host, colon + 1, so);
    }
    free(text);
    return err;
}

struct error *chardev_open_tcp(struct chardev_host *h, const char *path, struct options *o)
{
    struct sock_options so;
    struct error *err = parse_options(h, o, false, &so);
    if (err || so.fd >= 0)
        return err ? err : use_fd(h, &so);
    return open_colon(h, path, o, &so);
}

struct error *chardev_open_telnet(struct chardev_host *h, const char *path, struct options *o)
{
    struct sock_options so;
    struct error *err = parse_options(h, o, true, &so);
    return err ? err : open_colon(h, path, o, &so);
}

struct error *chardev_open_unix(struct chardev_host *h, const char *path, struct options *o)
{
    struct sock_options so;
    struct error *err = parse_options(h, o, false, &so);
    if (err || so.fd >= 0)
        return err ? err : use_fd(h, &so);
    return open_path(h, path, &so);
}

struct error *chardev_open_socket(struct chardev_host *h, const char *path, struct options *o)
{
    if (path)
        return chardev_open_unix(h, path, o);
    return chardev_open_tcp(h, NULL, o);
}
