/* Sockets as a back end: one peer at a time, a server goes back to listening when it leaves. */
#include "core/chardev_host.h"
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
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct sock {
    int listener; /* -1: a client */
    bool nodelay;
    char *unlink; /* path of a socket we made */
};

struct sock_options {
    bool server, wait, nodelay;
    int fd; /* -1: none was passed in */
};

static struct error *parse_options(struct options *o, struct sock_options *out)
{
    uint64_t fd;
    *out = (struct sock_options){ .wait = true, .fd = -1 };
    const char *text = options_get(o, "fd");
    struct error *err = options_get_bool(o, "server", &out->server);
    if (!err)
        err = options_get_bool(o, "wait", &out->wait);
    if (!err)
        err = options_get_bool(o, "nodelay", &out->nodelay);
    if (!err && text) {
        struct stat st;
        if (!parse_uint(text, 1 << 20, &fd) || fstat((int)fd, &st) || !S_ISSOCK(st.st_mode))
            err = error_new("fd=%s is not the number of an open socket", text);
        else
            out->fd = (int)fd;
    }
    return err;
}

static void take_peer(struct chardev_host *h, int fd)
{
    struct sock *s = h->kind;
    int on = 1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (s->nodelay)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    chardev_host_connect(h, fd, fd);
}

static void on_knock(void *opaque, uint32_t ready)
{
    struct chardev_host *h = opaque;
    struct sock *s = h->kind;
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    loop_watch(h->vm->loop, s->listener, 0, on_knock, h); /* others wait until this one leaves */
    take_peer(h, fd);
}

static void peer_left(struct chardev_host *h)
{
    struct sock *s = h->kind;
    chardev_host_disconnect(h);
    if (s->listener >= 0)
        loop_watch(h->vm->loop, s->listener, EPOLLIN, on_knock, h);
}

static void sock_close(struct chardev_host *h)
{
    struct sock *s = h->kind;
    if (s->listener >= 0) {
        loop_unwatch(h->vm->loop, s->listener);
        close(s->listener);
    }
    if (s->unlink)
        unlink(s->unlink);
    free(s->unlink);
    free(s);
}

/* False: a signal wants the program to end. Signals are blocked and come by a descriptor. */
static bool wait_for_peer(const struct vm *vm, int fd)
{
    struct pollfd fds[] = { { .fd = fd, .events = POLLIN },
                            { .fd = vm->signal_fd, .events = POLLIN } };
    while (poll(fds, ARRAY_LEN(fds), -1) < 0 && errno == EINTR)
        ;
    return !fds[1].revents;
}

/* Put the listening or connected socket to use. `wait`: a server stands still until a peer comes. */
static struct error *use_socket(struct chardev_host *h, int fd, const struct sock_options *so,
                                char *made_path)
{
    struct sock *s = xcalloc(1, sizeof(*s));
    *s = (struct sock){ .listener = so->server ? fd : -1,
                        .nodelay = so->nodelay,
                        .unlink = made_path };
    h->kind = s;
    h->close = sock_close;
    h->hung_up = peer_left;
    h->server = so->server;
    if (!so->server) {
        take_peer(h, fd);
        return NULL;
    }
    if (so->wait) {
        if (!wait_for_peer(h->vm, fd))
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

static struct error *failed(int fd, const char *what, const char *where)
{
    struct error *err = error_errno("cannot %s %s", what, where);
    if (fd >= 0)
        close(fd);
    return err;
}

/* A socket file that nobody listens on any more is in the way of ours. Other files are left alone. */
static void remove_stale(const char *path, const struct sockaddr_un *at)
{
    struct stat st;
    if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (const struct sockaddr *)at, sizeof(*at)) && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

struct error *chardev_open_unix(struct chardev_host *h, const char *path, struct options *o)
{
    struct sock_options so;
    struct error *err = parse_options(o, &so);
    if (err || so.fd >= 0)
        return err ? err : use_socket(h, so.fd, &so, NULL);
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    if (!path || !*path || strlen(path) >= sizeof(at.sun_path))
        return error_new("a UNIX socket needs a path of 1 to %zu characters",
                         sizeof(at.sun_path) - 1);
    strcpy(at.sun_path, path);
    h->where = xasprintf("unix:%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!so.server) {
        if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)))
            return failed(fd, "connect to", h->where);
        return use_socket(h, fd, &so, NULL);
    }
    remove_stale(path, &at);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1))
        return failed(fd, "listen on", h->where);
    return use_socket(h, fd, &so, xstrdup(path));
}

static struct error *tcp_socket(struct chardev_host *h, const char *host, const char *port,
                                const struct sock_options *so)
{
    struct addrinfo *all,
        hints = { .ai_socktype = SOCK_STREAM, .ai_flags = so->server ? AI_PASSIVE : 0 };
    if (port[strspn(port, "0123456789")] == 0 && (!*port || strlen(port) > 5 || atoi(port) > 65535))
        return error_new("%s: port '%s' is not a number from 0 to 65535", h->where, port);
    int code = getaddrinfo(*host ? host : NULL, port, &hints, &all), fd = -1, on = 1;
    if (code)
        return error_new("cannot find %s: %s", h->where, gai_strerror(code));
    for (struct addrinfo *a = all; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0)
            continue;
        bool ok;
        if (so->server) {
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
            ok = !bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, 1);
        } else {
            ok = !connect(fd, a->ai_addr, a->ai_addrlen);
        }
        if (!ok) {
            int why = errno;
            close(fd);
            errno = why;
            fd = -1;
        }
    }
    freeaddrinfo(all);
    if (fd < 0)
        return failed(-1, so->server ? "listen on" : "connect to", h->where);
    return use_socket(h, fd, so, NULL);
}

static struct error *open_host_port(struct chardev_host *h, const char *host, const char *port,
                                    struct options *o)
{
    struct sock_options so;
    struct error *err = parse_options(o, &so);
    if (err || so.fd >= 0)
        return err ? err : use_socket(h, so.fd, &so, NULL);
    if (!port || !*port)
        return error_new("a TCP socket needs a host and a port: tcp:HOST:PORT");
    h->where = xasprintf("tcp:%s:%s", host ? host : "", port);
    return tcp_socket(h, host ? host : "", port, &so);
}

/* HOST:PORT, [IPv6]:PORT or :PORT. */
struct error *chardev_open_tcp(struct chardev_host *h, const char *path, struct options *o)
{
    if (!path)
        return open_host_port(h, options_get(o, "host"), options_get(o, "port"), o);
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
        err = open_host_port(h, host, colon + 1, o);
    }
    free(text);
    return err;
}

struct error *chardev_open_socket(struct chardev_host *h, const char *path, struct options *o)
{
    if (path)
        return chardev_open_unix(h, path, o);
    return open_host_port(h, options_get(o, "host"), options_get(o, "port"), o);
}
