/* The server: its options, its sockets, who is there, the password. */
#include "ui/vnc.h"

#include "core/backends.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/audio.h"
#include "ui/display.h"
#include "ui/faces.h"
#include "ui/vnc_client.h"
#include "ui/vnc_encoder.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_PORT = 5900, BACKLOG = 8 };

/* An encoder whose viewer has gone. */
struct ending {
    struct vnc *vnc;
    struct encoder *encoder;
    struct ending *next;
};

/* ---- the screen ------------------------------------------------------------------------------------ */
static bool shows(const struct vnc *v, struct head *head)
{
    return !v->device ? head_index(head) == v->head_index
                      : head == head_find(v->vm, v->device, v->head_index);
}

void vnc_count_changed(struct vnc *v)
{
    bool any = false;
    for (struct vnc_client *c = v->clients; c; c = vnc_client_next(c))
        any |= vnc_client_looks(c);
    if (v->head)
        viewer_watch(v->viewer, v->head, any);
}

static struct head *another_head(const struct vnc *v, const struct head *gone)
{
    struct head *h;
    for (unsigned n = 0; (h = head_at(v->vm, n)); n++)
        if (h != gone && shows(v, h))
            return h;
    return NULL;
}

static void on_changed(void *opaque, struct head *head, bool gone)
{
    struct vnc *v = opaque;
    if (gone && head == v->head) {
        viewer_watch(v->viewer, head, false);
        v->head = another_head(v, head);
    } else if (!gone && !v->head && shows(v, head)) {
        v->head = head;
    } else if (gone || head != v->head) {
        return;
    }
    for (struct vnc_client *c = v->clients; c; c = vnc_client_next(c))
        vnc_client_resized(c);
    if (v->viewer)
        vnc_count_changed(v);
}

static void on_damaged(void *opaque, struct head *head, struct rect part)
{
    struct vnc *v = opaque;
    for (struct vnc_client *c = v->clients; c && head == v->head; c = vnc_client_next(c))
        vnc_client_damaged(c, part);
}

static void on_cursor(void *opaque, struct head *head)
{
    struct vnc *v = opaque;
    for (struct vnc_client *c = v->clients; c && head == v->head; c = vnc_client_next(c))
        vnc_client_cursor(c);
}

static const struct viewer_ops viewer_ops = { on_changed, on_damaged, on_cursor };

/* ---- viewers --------------------------------------------------------------------------------------- */
static uint64_t before_wait(void *opaque)
{
    struct vnc *v = opaque;
    uint64_t wait_ns = UINT64_MAX;
    for (struct vnc_client *c = v->clients, *next; c; c = next) {
        next = vnc_client_next(c);
        uint64_t wants_ns = vnc_client_run(c);
        wait_ns = MIN(wait_ns, wants_ns);
    }
    return wait_ns;
}

static void drop_ending(struct ending *gone)
{
    struct ending **at = &gone->vnc->endings;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    loop_unwatch(gone->vnc->vm->loop, encoder_done(gone->encoder));
    encoder_free(gone->encoder);
    free(gone);
}

static void on_ending_done(void *opaque, uint32_t ready)
{
    struct ending *e = opaque;
    encoder_finish(e->encoder);
    if (encoder_is_gone(e->encoder))
        drop_ending(e);
}

void vnc_add_ending(struct vnc *v, struct encoder *encoder)
{
    struct ending *e = xmalloc(sizeof(*e));
    *e = (struct ending){ v, encoder, v->endings };
    v->endings = e;
    encoder_quit(encoder);
    loop_watch(v->vm->loop, encoder_done(encoder), EPOLLIN, on_ending_done, e);
}

static bool is_full(const struct vnc *v)
{
    unsigned n = v->n_clients;
    for (const struct ending *e = v->endings; e; e = e->next)
        n++;
    return n >= VNC_MAX_CLIENTS;
}

static void on_connection(void *opaque, uint32_t ready)
{
    struct vnc *v = opaque;
    for (unsigned i = 0; i < v->n_listeners; i++) {
        int fd = accept4(v->listeners[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            continue;
        if (is_full(v))
            close(fd);
        else
            vnc_client_new(v, fd, false);
    }
}

struct error *vnc_add_client(struct vm *vm, const char *id, int fd, bool skip_auth)
{
    struct vnc *v = vnc_find(vm, id);
    struct error *err = NULL;
    if (!v)
        err = error_new("there is no VNC server '%s'", id ? id : "default");
    else if (is_full(v))
        err = error_new("there are %d viewers already", VNC_MAX_CLIENTS);
    else
        vnc_client_new(v, fd, skip_auth);
    if (err)
        close(fd);
    return err;
}

/* ---- addresses --------------------------------------------------------------------------------------- */
void vnc_socket_end(int fd, bool peer, struct vnc_end *out)
{
    struct sockaddr_storage address = { 0 };
    socklen_t n = sizeof(address);
    *out = (struct vnc_end){ .family = "unix" };
    if (peer ? getpeername(fd, (struct sockaddr *)&address, &n)
             : getsockname(fd, (struct sockaddr *)&address, &n))
        return;
    if (address.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)&address;
        int most = n > offsetof(struct sockaddr_un, sun_path) ? (int)sizeof(un->sun_path) - 1 : 0;
        snprintf(out->service, sizeof(out->service), "%.*s", most, un->sun_path);
        return;
    }
    out->family = address.ss_family == AF_INET6 ? "ipv6" : "ipv4";
    getnameinfo((struct sockaddr *)&address, n, out->host, sizeof(out->host), out->service,
                sizeof(out->service), NI_NUMERICHOST | NI_NUMERICSERV);
}

static struct error *add_listener(struct vnc *v, int fd)
{
    if (listen(fd, BACKLOG)) {
        close(fd);
        return error_errno("cannot listen");
    }
    v->listeners[v->n_listeners++] = fd;
    return NULL;
}

static struct error *listen_unix(struct vnc *v, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat st;
    if (!*path || strlen(path) >= sizeof(address.sun_path))
        return error_new("'%s' is no name for a socket: 1 to %zu bytes", path,
                         sizeof(address.sun_path) - 1);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_errno("cannot make a socket");
    if (!lstat(path, &st) && S_ISSOCK(st.st_mode))
        unlink(path); /* of a run that has ended */
    if (bind(fd, (struct sockaddr *)&address, sizeof(address))) {
        struct error *err = error_errno("cannot make the socket '%s'", path);
        close(fd);
        return err;
    }
    v->unix_path = xstrdup(path);
    v->where = xasprintf("unix:%s", path);
    return add_listener(v, fd);
}

/* One address of a host; the errno of what failed, or 0. */
static int bind_address(struct vnc *v, const struct addrinfo *a, bool both)
{
    int one = 1, off = !both;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, a->ai_addr, a->ai_addrlen)) {
        int why = errno;
        close(fd);
        return why;
    }
    struct error *err = add_listener(v, fd);
    error_free(err);
    return err ? EADDRINUSE : 0;
}

static void close_listeners(struct vnc *v)
{
    while (v->n_listeners)
        close(v->listeners[--v->n_listeners]);
}

/* All addresses of the host on one port; 0, or the errno of the first that fails. */
static int bind_port(struct vnc *v, const char *host, unsigned port, int family)
{
    struct addrinfo hints = { .ai_family = family,
                              .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
    struct addrinfo *list;
    char service[8];
    int why = 0;
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(*host ? host : NULL, service, &hints, &list))
        return EADDRNOTAVAIL;
    bool any = !*host && family == AF_UNSPEC; /* one socket for both */
    for (int six = 1; six >= 0; six--)
        for (struct addrinfo *a = list; a && v->n_listeners < VNC_MAX_LISTENERS; a = a->ai_next) {
            if ((a->ai_family == AF_INET6) != six || (any && v->n_listeners))
                continue;
            int failed = bind_address(v, a, any);
            if (failed == EAFNOSUPPORT || failed == EADDRNOTAVAIL)
                continue; /* no IPv6 here */
            why = why ? why : failed;
        }
    freeaddrinfo(list);
    if (!why && !v->n_listeners)
        why = EADDRNOTAVAIL;
    if (why)
        close_listeners(v);
    return why;
}

static struct error *listen_tcp(struct vnc *v, const char *host, unsigned first, unsigned last,
                                int family)
{
    for (unsigned display = first; display <= last; display++) {
        int why = bind_port(v, host, FIRST_PORT + display, family);
        if (!why) {
            v->where = xasprintf("%s:%u", *host ? host : "*", FIRST_PORT + display);
            return NULL;
        }
        errno = why;
        if (why != EADDRINUSE)
            break;
    }
    return error_errno("cannot listen on %s port %u", *host ? host : "any address",
                       FIRST_PORT + first);
}

/* "HOST:D", "[ADDRESS]:D", ":D". */
static struct error *split_display(const char *text, char *host, size_t room, unsigned *display)
{
    const char *colon = strrchr(text, ':');
    uint64_t number;
    if (!colon || !parse_uint(colon + 1, 65535 - FIRST_PORT, &number))
        return error_new("'%s' is no display; accepted: none, :N, HOST:N, unix:PATH", text);
    size_t n = (size_t)(colon - text);
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n >= room)
        return error_new("'%s': the host's name is too long", text);
    snprintf(host, room, "%.*s", (int)n, text);
    *display = (unsigned)number;
    return NULL;
}

/* ---- options --------------------------------------------------------------------------------------------- */
static const char *const known[] = { "vnc",  "id",   "password", "to",      "share",   "lossy",
                                     "ipv4", "ipv6", "head",     "display", "audiodev" };

static struct error *refuse_unsupported(struct options *o)
{
    static const struct {
        const char *name, *why;
    } refused[] = {
        { "websocket", "connect a viewer that speaks VNC itself, or a proxy such as websockify" },
        { "tls-creds", "use password=on on localhost or a unix socket, and an SSH tunnel" },
        { "tls-authz", "there is no TLS" },
        { "sasl", "accepted: password=on" },
        { "sasl-authz", "accepted: password=on" },
        { "password-secret", "use password=on and set_password in the monitor" },
        { "reverse", "the server waits for viewers" },
    };
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        const char *value = options_get(o, refused[i].name);
        if (value && parse_bool(value) != 0)
            return error_new("%s= is not supported; %s", refused[i].name, refused[i].why);
    }
    return NULL;
}

static struct error *read_share(struct options *o, enum vnc_share *share)
{
    static const char *const names[] = { "allow-exclusive", "force-shared", "ignore" };
    const char *text = options_get(o, "share");
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!text || !strcmp(text, names[i])) {
            *share = (enum vnc_share)(text ? i : SHARE_ALLOW_EXCLUSIVE);
            return NULL;
        }
    return error_new("share='%s' is none of allow-exclusive, force-shared, ignore", text);
}

static struct error *read_family(struct options *o, int *family)
{
    bool v4 = true, v6 = true;
    struct error *err = options_get_bool(o, "ipv4", &v4);
    const char *said4 = options_get(o, "ipv4"), *said6 = options_get(o, "ipv6");
    if (!err)
        err = options_get_bool(o, "ipv6", &v6);
    if (!err && !v4 && !v6)
        err = error_new("with neither ipv4 nor ipv6 nobody can connect");
    if (said4 && v4 && !said6)
        v6 = false;
    if (said6 && v6 && !said4)
        v4 = false;
    *family = v4 && v6 ? AF_UNSPEC : v4 ? AF_INET : AF_INET6;
    return err;
}

static struct error *read_number(struct options *o, const char *name, unsigned most,
                                 unsigned *value)
{
    const char *text = options_get(o, name);
    uint64_t number;
    if (!text)
        return NULL;
    if (!parse_uint(text, most, &number))
        return error_new("%s='%s' is not a number up to %u", name, text, most);
    *value = (unsigned)number;
    return NULL;
}

/* Management always names one, which nobody hears unless somebody was to. */
static struct error *check_audiodev(struct vm *vm, struct options *o)
{
    const char *id = options_get(o, "audiodev");
    const struct audio *audio = id ? backend_find(vm, BACKEND_AUDIO, id) : NULL;
    struct audio_info info;
    if (!id)
        return NULL;
    if (!audio)
        return error_new("audiodev='%s': there is no -audiodev of this id", id);
    audio_query(audio, &info);
    return strcmp(info.driver, "none") ? error_new("audiodev='%s': sound does not go to VNC "
                                                   "viewers; accepted: an -audiodev none",
                                                   id)
                                       : NULL;
}

static struct error *read_options(struct vnc *v, struct options *o, int *family)
{
    struct error *err = refuse_unsupported(o);
    const char *id = options_get(o, "id"), *device = options_get(o, "display");
    if (!err)
        err = check_audiodev(v->vm, o);
    if (!err)
        err = options_get_bool(o, "password", &v->wants_password);
    if (!err)
        err = options_get_bool(o, "lossy", &v->lossy);
    if (!err)
        err = read_share(o, &v->share);
    if (!err)
        err = read_family(o, family);
    if (!err)
        err = read_number(o, "head", 255, &v->head_index);
    v->id = xstrdup(id ? id : "default");
    v->device = device ? xstrdup(device) : NULL;
    if (!err && vnc_find(v->vm, v->id))
        err = error_new("there are two servers '%s'; give them ids (id=)", v->id);
    return err;
}

static struct error *open_sockets(struct vnc *v, const char *text, struct options *o, int family)
{
    char host[256];
    unsigned display = 0, last;
    options_get(o, "to");
    struct error *err = options_refuse_rest(o, known, ARRAY_LEN(known));
    if (err || !strncmp(text, "unix:", 5))
        return err ? err : listen_unix(v, text + 5);
    err = split_display(text, host, sizeof(host), &display);
    last = display;
    if (!err)
        err = read_number(o, "to", 65535 - FIRST_PORT, &last);
    return err ? err : listen_tcp(v, host, display, MAX(display, last), family);
}

static void vnc_free(struct vnc *v)
{
    loop_remove_prepare(v->vm->loop, before_wait, v);
    while (v->clients)
        vnc_client_free(v->clients);
    while (v->endings)
        drop_ending(v->endings);
    viewer_free(v->viewer);
    for (unsigned i = 0; i < v->n_listeners; i++)
        loop_unwatch(v->vm->loop, v->listeners[i]);
    close_listeners(v);
    if (v->unix_path)
        unlink(v->unix_path);
    encoder_library_free(v->lib);
    explicit_bzero(v->password, sizeof(v->password));
    free(v->unix_path);
    free(v->where);
    free(v->name);
    free(v->device);
    free(v->id);
    free(v);
}

static void start(struct vnc *v)
{
    struct faces *f = faces_of(v->vm);
    struct vnc **end = &f->vncs;
    while (*end)
        end = &(*end)->next;
    *end = v;
    struct viewer *viewer = viewer_new(v->vm, &viewer_ops, v);
    v->viewer = viewer;
    for (unsigned i = 0; i < v->n_listeners; i++)
        loop_watch(v->vm->loop, v->listeners[i], EPOLLIN, on_connection, v);
    loop_add_prepare(v->vm->loop, before_wait, v);
}

struct error *vnc_add(struct vm *vm, const char *text)
{
    struct options list;
    struct error *err = options_split(text, "vnc", &list);
    const char *where = err ? NULL : options_get(&list, "vnc");
    if (err)
        return err;
    struct vnc *v = xcalloc(1, sizeof(*v));
    v->vm = vm;
    v->expires = INT64_MAX;
    v->name = xasprintf("Tandem (%s)", vm->name ? vm->name : "guest");
    int family = AF_UNSPEC;
    if (!where)
        err = error_new("what to listen on is missing; accepted: none, :N, HOST:N, unix:PATH");
    if (!err)
        err = read_options(v, &list, &family);
    if (!err)
        err = encoder_library_open(&v->lib);
    bool none = where && !strcmp(where, "none"); /* for viewers that the monitor brings */
    if (!err && !none)
        err = open_sockets(v, where, &list, family);
    else if (!err)
        err = options_refuse_rest(&list, known, ARRAY_LEN(known));
    options_free(&list);
    if (err) {
        vnc_free(v);
        return err;
    }
    start(v);
    return NULL;
}

void vnc_free_all(struct vm *vm)
{
    struct faces *f = faces_of(vm);
    while (f->vncs) {
        struct vnc *v = f->vncs;
        f->vncs = v->next;
        vnc_free(v);
    }
}

/* ---- the password ------------------------------------------------------------------------------------- */
bool vnc_check_password(const struct vnc *v, const uint8_t challenge[16], const uint8_t answer[16])
{
    uint8_t expected[16], differ = 0;
    if (!v->has_password || time(NULL) >= v->expires)
        return false;
    memcpy(expected, challenge, sizeof(expected));
    encoder_library_answer(v->lib, v->password, expected);
    for (size_t i = 0; i < sizeof(expected); i++)
        differ |= expected[i] ^ answer[i];
    return !differ;
}

static struct error *no_password(const struct vnc *v)
{
    return error_new("the VNC server '%s' asks for no password; start it with password=on", v->id);
}

struct error *vnc_set_password(struct vnc *v, const char *password, enum vnc_on_connected connected)
{
    if (!v->wants_password)
        return no_password(v);
    if (connected == VNC_FAIL && v->clients)
        return error_new("viewers are connected");
    while (connected == VNC_DISCONNECT && v->clients)
        vnc_client_free(v->clients);
    memset(v->password, 0, sizeof(v->password));
    v->has_password = password;
    if (password)
        memcpy(v->password, password, strnlen(password, sizeof(v->password) - 1));
    return NULL;
}

struct error *vnc_expire_password(struct vnc *v, int64_t when)
{
    if (!v->wants_password)
        return no_password(v);
    v->expires = when;
    return NULL;
}

struct error *vnc_parse_expiry(const char *text, int64_t *when)
{
    uint64_t seconds;
    int64_t now = time(NULL);
    bool relative = *text == '+';
    if (!strcmp(text, "now"))
        *when = 0;
    else if (!strcmp(text, "never"))
        *when = INT64_MAX;
    else if (parse_uint(text + relative, INT64_MAX / 2, &seconds))
        *when = (int64_t)seconds + (relative ? now : 0);
    else
        return error_new("'%s' is no time; accepted: now, never, +SECONDS, SECONDS since 1970",
                         text);
    return NULL;
}

/* ---- who is there ------------------------------------------------------------------------------------- */
struct vnc *vnc_at(struct vm *vm, size_t n)
{
    struct vnc *v = vm->faces ? vm->faces->vncs : NULL;
    while (v && n--)
        v = v->next;
    return v;
}

struct vnc *vnc_find(struct vm *vm, const char *id)
{
    struct vnc *v = vnc_at(vm, 0);
    while (v && id && strcmp(v->id, id) != 0)
        v = v->next;
    return v;
}

const char *vnc_id(const struct vnc *v)
{
    return v->id;
}

const char *vnc_auth(const struct vnc *v)
{
    return v->wants_password ? "vnc" : "none";
}

bool vnc_listener(const struct vnc *v, size_t n, struct vnc_end *out)
{
    if (n >= v->n_listeners)
        return false;
    vnc_socket_end(v->listeners[n], false, out);
    return true;
}

bool vnc_viewer(const struct vnc *v, size_t n, struct vnc_end *out)
{
    for (struct vnc_client *c = v->clients; c; c = vnc_client_next(c))
        if (vnc_client_looks(c) && !n--) {
            vnc_client_end(c, out);
            return true;
        }
    return false;
}

const char *vnc_where(const struct vnc *v)
{
    return v->where ? v->where : "none";
}
