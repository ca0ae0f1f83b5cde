/* -netdev user: a network behind libslirp, which is the gateway, DHCP and DNS server and turns guest
 * connections into host sockets. All of it runs on the main loop's thread. */
#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/loop.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "net/netdev.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define NS_PER_MS 1000000ull

/* A descriptor that libslirp wants to know about. */
struct socket {
    struct user_net *u;
    int fd;
    uint32_t watched; /* epoll events asked of the loop */
    uint32_t ready;   /* seen since libslirp last looked */
    unsigned round;   /* of the last fill that named it */
    struct socket *next;
};

/* One of libslirp's own timers. */
struct slirp_timer {
    SlirpTimerCb fire;
    void *opaque;
    uint64_t at_ns; /* host clock; UINT64_MAX: not set */
    struct slirp_timer *next;
};

struct user_net {
    struct netdev n;
    Slirp *slirp;
    struct socket *sockets;
    struct socket **by_fd; /* the same, indexed by descriptor */
    int n_by_fd;
    int *polled; /* descriptors in the order libslirp named them in the last fill */
    size_t n_polled, room_polled;
    unsigned round;
    bool dirty;           /* libslirp must look at its sockets before the next wait */
    uint64_t deadline_ns; /* ... or at this time (host clock) */
    struct slirp_timer *timers;
};

/* ---- the main loop --------------------------------------------------------------------------
 * libslirp's contract is fill (which descriptors, how long), wait, poll (what is ready). The loop
 * waits for everybody, so poll and fill both happen in the hook before its next wait, and only when
 * something was ready, sent or due. */
static const struct {
    int slirp;
    uint32_t epoll;
} poll_bits[] = {
    { SLIRP_POLL_IN, EPOLLIN },   { SLIRP_POLL_OUT, EPOLLOUT }, { SLIRP_POLL_PRI, EPOLLPRI },
    { SLIRP_POLL_ERR, EPOLLERR }, { SLIRP_POLL_HUP, EPOLLHUP },
};

static uint32_t to_epoll(int events)
{
    uint32_t out = 0;
    for (size_t i = 0; i < ARRAY_LEN(poll_bits); i++)
        out |= events & poll_bits[i].slirp ? poll_bits[i].epoll : 0;
    return out;
}

static int to_slirp(uint32_t events)
{
    int out = 0;
    for (size_t i = 0; i < ARRAY_LEN(poll_bits); i++)
        out |= events & poll_bits[i].epoll ? poll_bits[i].slirp : 0;
    return out;
}

static struct socket *socket_find(struct user_net *u, int fd)
{
    return fd < u->n_by_fd ? u->by_fd[fd] : NULL;
}

static struct socket *socket_add(struct user_net *u, int fd)
{
    struct socket *s = xcalloc(1, sizeof(*s));
    *s = (struct socket){ .u = u, .fd = fd, .next = u->sockets };
    u->sockets = s;
    if (fd >= u->n_by_fd) {
        int n = fd + 64;
        u->by_fd = xrealloc(u->by_fd, (size_t)n * sizeof(*u->by_fd));
        memset(u->by_fd + u->n_by_fd, 0, (size_t)(n - u->n_by_fd) * sizeof(*u->by_fd));
        u->n_by_fd = n;
    }
    return u->by_fd[fd] = s;
}

static void socket_forget(struct user_net *u, struct socket **at)
{
    struct socket *s = *at;
    *at = s->next;
    u->by_fd[s->fd] = NULL;
    loop_unwatch(u->n.vm->loop, s->fd);
    free(s);
}

/* Those that were named in an earlier round only. */
static void forget_older_than(struct user_net *u, unsigned round)
{
    for (struct socket **at = &u->sockets; *at;)
        if ((*at)->round == round)
            at = &(*at)->next;
        else
            socket_forget(u, at);
}

static void socket_ready(void *opaque, uint32_t ready)
{
    struct socket *s = opaque;
    s->ready |= ready;
    s->u->dirty = true;
}

static int add_poll(int fd, int events, void *opaque)
{
    struct user_net *u = opaque;
    struct socket *s = socket_find(u, fd);
    if (!s)
        s = socket_add(u, fd);
    s->round = u->round;
    if (s->watched != to_epoll(events)) {
        s->watched = to_epoll(events);
        loop_watch(u->n.vm->loop, fd, s->watched, socket_ready, s);
    }
    if (u->n_polled == u->room_polled) {
        u->room_polled = u->room_polled * 2 + 16;
        u->polled = xrealloc(u->polled, u->room_polled * sizeof(*u->polled));
    }
    u->polled[u->n_polled] = fd;
    return (int)u->n_polled++;
}

static int get_ready(int index, void *opaque)
{
    struct user_net *u = opaque;
    if (index < 0 || (size_t)index >= u->n_polled)
        return 0;
    struct socket *s = socket_find(u, u->polled[index]);
    return s ? to_slirp(s->ready) : 0;
}

static void fire_timers(struct user_net *u, uint64_t now)
{
    struct slirp_timer *next;
    for (struct slirp_timer *t = u->timers; t; t = next) {
        next = t->next;
        if (t->at_ns > now)
            continue;
        t->at_ns = UINT64_MAX;
        t->fire(t->opaque);
    }
}

static uint64_t fill(struct user_net *u, uint64_t now)
{
    uint32_t timeout_ms = UINT32_MAX;
    for (struct socket *s = u->sockets; s; s = s->next)
        s->ready = 0;
    u->n_polled = 0;
    u->round++;
    slirp_pollfds_fill(u->slirp, &timeout_ms, add_poll, u);
    forget_older_than(u, u->round);
    uint64_t deadline = timeout_ms == UINT32_MAX ? UINT64_MAX : now + timeout_ms * NS_PER_MS;
    for (struct slirp_timer *t = u->timers; t; t = t->next)
        deadline = MIN(deadline, t->at_ns);
    return deadline;
}

static uint64_t before_wait(void *opaque)
{
    struct user_net *u = opaque;
    if (!u->dirty && u->deadline_ns == UINT64_MAX)
        return UINT64_MAX;
    uint64_t now = host_now_ns();
    if (u->dirty || now >= u->deadline_ns) {
        u->dirty = false;
        slirp_pollfds_poll(u->slirp, 0, get_ready, u);
        fire_timers(u, now);
        netdev_delivered(&u->n);
        u->deadline_ns = fill(u, now);
    }
    if (u->dirty)
        return 0;
    return u->deadline_ns == UINT64_MAX ? UINT64_MAX
           : u->deadline_ns > now       ? u->deadline_ns - now
                                        : 0;
}

/* ---- what libslirp calls ---------------------------------------------------------------------- */
static ssize_t send_packet(const void *frame, size_t size, void *opaque)
{
    struct user_net *u = opaque;
    netdev_deliver(&u->n, frame, size);
    return (ssize_t)size;
}

static void guest_error(const char *text, void *opaque)
{
    struct user_net *u = opaque;
    if (log_on(&u->n.vm->log, LOG_GUEST_ERRORS))
        log_print(&u->n.vm->log, "user network: %s\n", text);
}

static int64_t clock_now(void *opaque)
{
    return (int64_t)host_now_ns();
}

static void *make_timer(SlirpTimerCb fire, void *cb_opaque, void *opaque)
{
    struct user_net *u = opaque;
    struct slirp_timer *t = xmalloc(sizeof(*t));
    *t = (struct slirp_timer){ fire, cb_opaque, UINT64_MAX, u->timers };
    u->timers = t;
    return t;
}

static void free_timer(void *timer, void *opaque)
{
    struct user_net *u = opaque;
    struct slirp_timer **at = &u->timers;
    while (*at && *at != timer)
        at = &(*at)->next;
    if (*at)
        *at = (*at)->next;
    free(timer);
}

static void set_timer(void *timer, int64_t at_ms, void *opaque)
{
    struct user_net *u = opaque;
    struct slirp_timer *t = timer;
    t->at_ns = at_ms < 0 ? 0 : (uint64_t)at_ms * NS_PER_MS;
    u->dirty = true;
}

static void socket_opened(int fd, void *opaque)
{
}

/* Called right before libslirp closes it: the number may come back as another socket. */
static void socket_closing(int fd, void *opaque)
{
    struct user_net *u = opaque;
    struct socket **at = &u->sockets;
    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    if (*at)
        socket_forget(u, at);
}

static void look_again(void *opaque)
{
    struct user_net *u = opaque;
    u->dirty = true;
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_now,
    .timer_new = make_timer,
    .timer_free = free_timer,
    .timer_mod = set_timer,
    .register_poll_fd = socket_opened,
    .unregister_poll_fd = socket_closing,
    .notify = look_again,
};

/* ---- options ---------------------------------------------------------------------------------- */
static const char *const user_keys[] = {
    "net",        "host",      "dhcpstart", "dns",      "restrict",    "hostname",       "ipv4",
    "ipv6",       "ipv6-net",  "ipv6-host", "ipv6-dns", "ipv6-prefix", "ipv6-prefixlen", "hostfwd",
    "domainname", "dnssearch", "tftp",      "bootfile", NULL,
};

static struct error *get_address(struct options *o, const char *name, struct in_addr *out)
{
    const char *text = options_get(o, name);
    if (text && !inet_aton(text, out))
        return error_new("%s='%s' is not an IPv4 address", name, text);
    return NULL;
}

static struct error *get_address6(struct options *o, const char *name, struct in6_addr *out)
{
    const char *text = options_get(o, name);
    if (text && inet_pton(AF_INET6, text, out) != 1)
        return error_new("%s='%s' is not an IPv6 address", name, text);
    return NULL;
}

/* "10.0.2.0/24", or a mask behind the slash, or nothing: by class as of old. */
static struct error *get_network(struct options *o, SlirpConfig *c)
{
    const char *text = options_get(o, "net");
    if (!text)
        return NULL;
    char address[64];
    const char *slash = strchr(text, '/');
    uint64_t bits_set;
    snprintf(address, sizeof(address), "%.*s", slash ? (int)(slash - text) : 63, text);
    struct in_addr mask;
    bool ok = inet_aton(address, &c->vnetwork);
    uint32_t net = ntohl(c->vnetwork.s_addr);
    if (!slash)
        mask.s_addr = htonl(net >> 31 == 0 ? 0xff000000 : net >> 30 == 2 ? 0xffff0000 : 0xffffff00);
    else if (parse_uint(slash + 1, 30, &bits_set) && bits_set >= 4)
        mask.s_addr = htonl(~(uint32_t)0 << (32 - bits_set));
    else
        ok = ok && strchr(slash, '.') && inet_aton(slash + 1, &mask);
    if (!ok)
        return error_new("net='%s' is not a network; write ADDRESS/BITS with 4 to 30 bits", text);
    uint32_t m = ntohl(mask.s_addr);
    net &= m;
    c->vnetmask = mask;
    c->vnetwork.s_addr = htonl(net);
    /* The customary numbers, as far as the network reaches. */
    uint32_t last = ~m - 1;
    c->vhost.s_addr = htonl(net | MIN(2u, last));
    c->vnameserver.s_addr = htonl(net | MIN(3u, last));
    c->vdhcp_start.s_addr = htonl(net | MIN(15u, last));
    return NULL;
}

static struct error *check_inside(const SlirpConfig *c, const char *name, struct in_addr a)
{
    char text[INET_ADDRSTRLEN];
    if ((a.s_addr & c->vnetmask.s_addr) == c->vnetwork.s_addr)
        return NULL;
    return error_new("%s='%s' lies outside the network", name,
                     inet_ntop(AF_INET, &a, text, sizeof(text)));
}

static struct error *get_ipv4(struct options *o, SlirpConfig *c)
{
    c->vnetwork.s_addr = htonl(0x0a000200);
    c->vnetmask.s_addr = htonl(0xffffff00);
    c->vhost.s_addr = htonl(0x0a000202);
    c->vnameserver.s_addr = htonl(0x0a000203);
    c->vdhcp_start.s_addr = htonl(0x0a00020f);
    struct error *err = get_network(o, c);
    const struct {
        const char *name;
        struct in_addr *at;
    } addresses[] = { { "host", &c->vhost },
                      { "dns", &c->vnameserver },
                      { "dhcpstart", &c->vdhcp_start } };
    for (size_t i = 0; i < ARRAY_LEN(addresses) && !err; i++) {
        err = get_address(o, addresses[i].name, addresses[i].at);
        if (!err)
            err = check_inside(c, addresses[i].name, *addresses[i].at);
    }
    if (!err &&
        (c->vhost.s_addr == c->vnameserver.s_addr || c->vhost.s_addr == c->vdhcp_start.s_addr ||
         c->vnameserver.s_addr == c->vdhcp_start.s_addr))
        err = error_new("host=, dns= and dhcpstart= must be three different addresses");
    return err;
}

/* "fec0::/64" as ipv6-net, or in two options. */
static struct error *get_ipv6(struct options *o, SlirpConfig *c)
{
    const char *net = options_get(o, "ipv6-net"), *prefix = options_get(o, "ipv6-prefix");
    const char *length = options_get(o, "ipv6-prefixlen");
    char address[64];
    uint64_t n = 64;
    if (net) {
        const char *slash = strchr(net, '/');
        snprintf(address, sizeof(address), "%.*s", slash ? (int)(slash - net) : 63, net);
        prefix = address;
        length = slash ? slash + 1 : length;
    }
    if (inet_pton(AF_INET6, prefix ? prefix : "fec0::", &c->vprefix_addr6) != 1 ||
        (length && !parse_uint(length, 126, &n)))
        return error_new("ipv6-net='%s' is not a network; write ADDRESS/BITS", net ? net : prefix);
    c->vprefix_len = (uint8_t)n;
    c->vhost6 = c->vnameserver6 = c->vprefix_addr6;
    c->vhost6.s6_addr[15] |= 2;
    c->vnameserver6.s6_addr[15] |= 3;
    struct error *err = get_address6(o, "ipv6-host", &c->vhost6);
    return err ? err : get_address6(o, "ipv6-dns", &c->vnameserver6);
}

static struct error *get_switches(struct options *o, SlirpConfig *c)
{
    bool restricted = false;
    c->in_enabled = c->in6_enabled = true;
    struct error *err = options_get_bool(o, "restrict", &restricted);
    if (!err)
        err = options_get_bool(o, "ipv4", &c->in_enabled);
    if (!err)
        err = options_get_bool(o, "ipv6", &c->in6_enabled);
    if (!err && !c->in_enabled && !c->in6_enabled)
        err = error_new("ipv4=off and ipv6=off together leave no network");
    c->restricted = restricted;
    return err;
}

static struct error *get_names(struct options *o, SlirpConfig *c, const char *search[2])
{
    c->vhostname = options_get(o, "hostname");
    c->vdomainname = options_get(o, "domainname");
    c->tftp_path = options_get(o, "tftp");
    c->bootfile = options_get(o, "bootfile");
    search[0] = options_get(o, "dnssearch");
    c->vdnssearch = search[0] ? search : NULL;
    if (c->vhostname && (!*c->vhostname || strlen(c->vhostname) > 32))
        return error_new("hostname='%s' is not a name of up to 32 characters", c->vhostname);
    return NULL;
}

/* ---- forwarded ports -------------------------------------------------------------------------- */
struct forward {
    bool udp;
    struct in_addr host, guest;
    int host_port, guest_port;
};

/* The text up to `end`, which is left behind; NULL if `end` does not come. */
static char *cut(char **at, char end)
{
    char *start = *at, *stop = start ? strchr(start, end) : NULL;
    if (!stop)
        return NULL;
    *stop = 0;
    *at = stop + 1;
    return start;
}

/* "[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport"; `text` is changed. */
static bool parse_forward(char *text, const SlirpConfig *c, struct forward *f)
{
    char *proto = cut(&text, ':'), *host = cut(&text, ':'), *host_port = cut(&text, '-');
    char *guest = cut(&text, ':');
    uint64_t from, to;
    *f = (struct forward){ .guest = c->vdhcp_start };
    if (!proto || !host || !host_port || !guest)
        return false;
    f->udp = !strcmp(proto, "udp");
    if (*proto && !f->udp && strcmp(proto, "tcp"))
        return false;
    if ((*host && !inet_aton(host, &f->host)) || (*guest && !inet_aton(guest, &f->guest)))
        return false;
    if (!parse_uint(host_port, 65535, &from) || !parse_uint(text, 65535, &to) || !to)
        return false;
    f->host_port = (int)from;
    f->guest_port = (int)to;
    return true;
}

static struct error *add_forward(struct user_net *u, const SlirpConfig *c, const char *text)
{
    struct forward f;
    char *copy = xstrdup(text);
    bool ok = parse_forward(copy, c, &f);
    free(copy);
    if (!ok)
        return error_new("hostfwd='%s' is not understood; write "
                         "tcp|udp:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT",
                         text);
    errno = 0;
    if (slirp_add_hostfwd(u->slirp, f.udp, f.host, f.host_port, f.guest, f.guest_port) < 0)
        return error_errno("hostfwd='%s': cannot listen on %s port %d", text, f.udp ? "udp" : "tcp",
                           f.host_port);
    return NULL;
}

/* hostfwd= may be given several times; as JSON it is a list of {"str": "..."}. */
static struct error *add_forwards(struct user_net *u, const SlirpConfig *c, struct options *o)
{
    struct error *err = NULL;
    for (size_t i = 0; i < o->n && !err; i++) {
        const char *name = o->at[i].name;
        if (strcmp(name, "hostfwd") && strncmp(name, "hostfwd.", 8))
            continue;
        o->used[i] = true;
        err = add_forward(u, c, o->at[i].value);
    }
    return err;
}

/* ---- the back end ----------------------------------------------------------------------------- */
static void describe(struct user_net *u, const SlirpConfig *c)
{
    char text[INET_ADDRSTRLEN];
    uint32_t mask = ntohl(c->vnetmask.s_addr);
    inet_ntop(AF_INET, &c->vnetwork, text, sizeof(text));
    snprintf(u->n.description, sizeof(u->n.description), "user, %s/%d%s", text,
             __builtin_popcount(mask), c->restricted ? ", restricted" : "");
}

static struct error *user_open(struct netdev *n, struct options *o)
{
    struct user_net *u = container_of(n, struct user_net, n);
    SlirpConfig c = { .version = 1 };
    const char *search[2] = { NULL, NULL };
    struct error *err = get_switches(o, &c);
    if (!err)
        err = get_ipv4(o, &c);
    if (!err)
        err = get_ipv6(o, &c);
    if (!err)
        err = get_names(o, &c, search);
    if (err)
        return err;
    u->deadline_ns = UINT64_MAX;
    u->dirty = true;
    u->slirp = slirp_new(&c, &callbacks, u);
    if (!u->slirp)
        return error_new("the user network cannot be set up with these addresses");
    loop_add_prepare(n->vm->loop, before_wait, u);
    describe(u, &c);
    return add_forwards(u, &c, o);
}

static void user_close(struct netdev *n)
{
    struct user_net *u = container_of(n, struct user_net, n);
    if (u->slirp) {
        loop_remove_prepare(n->vm->loop, before_wait, u);
        slirp_cleanup(u->slirp);
    }
    forget_older_than(u, u->round + 1);
    while (u->timers)
        free_timer(u->timers, u);
    free(u->polled);
    free(u->by_fd);
}

static void user_input(struct netdev *n, const uint8_t *frame, size_t size)
{
    slirp_input(container_of(n, struct user_net, n)->slirp, frame, (int)size);
}

static void user_input_done(struct netdev *n)
{
    container_of(n, struct user_net, n)->dirty = true;
}

const struct netdev_type user_netdev_type = {
    .name = "user",
    .desc = "a private network with the host as its gateway; needs no privilege",
    .opens = true,
    .keys = user_keys,
    .size = sizeof(struct user_net),
    .open = user_open,
    .close = user_close,
    .input = user_input,
    .input_done = user_input_done,
};
