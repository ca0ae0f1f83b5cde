/* Character back ends by their text; the kinds that need little: null, file, ringbuf, pty. */
#include "core/backends.h"
#include "core/chardev_host.h"
#include "core/error.h"
#include "core/fdset.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* ---- null, file ----------------------------------------------------------------------------- */

static void discard(struct chardev_host *h, const uint8_t *data, size_t n)
{
}

static struct error *open_null(struct chardev_host *h, const char *path, struct options *o)
{
    h->sink = discard;
    return NULL;
}

/* A file to write to, or -1 and errno. */
static int open_output(struct vm *vm, const char *path, bool append)
{
    return fdset_open(vm, path,
                      O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | (append ? O_APPEND : O_TRUNC),
                      0644);
}

static struct error *open_file(struct chardev_host *h, const char *path, struct options *o)
{
    bool append = false;
    const char *input = options_get(o, "input-path");
    struct error *err = options_get_bool(o, "append", &append);
    if (err)
        return err;
    if (!path || !*path)
        return error_new("a file needs a path: file:PATH");
    int in = input ? fdset_open(h->vm, input, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0) : -1;
    if (input && in < 0)
        return error_errno("cannot read '%s'", input);
    int fd = open_output(h->vm, path, append);
    if (fd < 0) {
        err = error_errno("cannot write to '%s'", path);
        if (in >= 0)
            close(in);
        return err;
    }
    chardev_host_connect(h, in, fd);
    return NULL;
}

/* logfile=: what front ends write goes there, too. */
static struct error *open_log(struct chardev_host *h, struct options *o)
{
    bool append = false;
    const char *path = options_get(o, "logfile");
    struct error *err = options_get_bool(o, "logappend", &append);
    if (err || !path)
        return err;
    h->log_fd = open_output(h->vm, path, append);
    return h->log_fd < 0 ? error_errno("cannot write to logfile='%s'", path) : NULL;
}

/* ---- ringbuf -------------------------------------------------------------------------------- */

struct ringbuf {
    uint64_t size, end; /* bytes written so far; the newest `size` of them are kept */
    uint64_t taken;     /* bytes that were read or lost */
    uint8_t *at;
};

static void ringbuf_take(struct chardev_host *h, const uint8_t *data, size_t n)
{
    struct ringbuf *r = h->kind;
    for (size_t i = 0; i < n; i++)
        r->at[r->end++ % r->size] = data[i];
    if (r->end - r->taken > r->size)
        r->taken = r->end - r->size;
}

static void ringbuf_close(struct chardev_host *h)
{
    struct ringbuf *r = h->kind;
    free(r->at);
    free(r);
}

static struct error *open_ringbuf(struct chardev_host *h, const char *path, struct options *o)
{
    uint64_t size = 64 * KIB;
    const char *text = options_get(o, "size");
    if (text && (!parse_size(text, 1, &size) || !size || size > 64 * MIB))
        return error_new("size='%s' is not a size between 1 byte and 64M", text);
    struct ringbuf *r = xcalloc(1, sizeof(*r));
    *r = (struct ringbuf){ .size = size, .at = xcalloc(1, size) };
    h->kind = r;
    h->sink = ringbuf_take;
    h->ringbuf = true;
    h->close = ringbuf_close;
    return NULL;
}

size_t chardev_ringbuf_read(struct chardev *c, uint8_t *buf, size_t n)
{
    struct chardev_host *h = c->host;
    size_t got = 0;
    pthread_mutex_lock(&h->lock);
    if (h->sink == ringbuf_take) {
        struct ringbuf *r = h->kind;
        while (got < n && r->taken < r->end)
            buf[got++] = r->at[r->taken++ % r->size];
    }
    pthread_mutex_unlock(&h->lock);
    return got;
}

/* ---- pty ------------------------------------------------------------------------------------ */

struct pty {
    int slave; /* held open, so that the master never sees a hang-up while nobody is there */
};

static void pty_close(struct chardev_host *h)
{
    struct pty *p = h->kind;
    close(p->slave);
    free(p);
}

struct error *chardev_open_pty(struct chardev_host *h, const char *path, struct options *o)
{
    char name[64];
    struct termios raw;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), slave = -1;
    if (master >= 0 && !grantpt(master) && !unlockpt(master) &&
        !ptsname_r(master, name, sizeof(name)))
        slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0) {
        struct error *err = error_errno("cannot make a pseudo terminal");
        if (master >= 0)
            close(master);
        return err;
    }
    if (tcgetattr(slave, &raw) == 0) {
        cfmakeraw(&raw);
        tcsetattr(slave, TCSANOW, &raw);
    }
    struct pty *p = xcalloc(1, sizeof(*p));
    p->slave = slave;
    h->kind = p;
    h->close = pty_close;
    h->where = xstrdup(name);
    printf("char device redirected to %s (label %s)\n", name, h->label); /* tools read this line */
    fflush(stdout);
    chardev_host_connect(h, master, master);
    return NULL;
}

/* ---- by text -------------------------------------------------------------------------------- */

#define SOCKET_OPTIONS "server", "wait", "reconnect", "reconnect-ms"
#define TCP_OPTIONS    "host", "port", "to", "ipv4", "ipv6", "nodelay"
static const struct kind {
    const char *name, *help;
    struct error *(*open)(struct chardev_host *h, const char *path, struct options *o);
    const char *known[20]; /* options it takes */
} kinds[] = {
    { "null", "takes everything, gives nothing", open_null, { 0 } },
    { "stdio", "this terminal", chardev_open_stdio, { "signal" } },
    { "file", "writes to a file", open_file, { "path", "append", "input-path" } },
    { "pipe", "PATH.in is read, PATH.out written; or PATH both", chardev_open_pipe, { "path" } },
    { "pty", "a new pseudo terminal", chardev_open_pty, { 0 } },
    { "serial", "a serial port or terminal of the host's", chardev_open_serial, { "path" } },
    { "tty", "the same", chardev_open_serial, { "path" } },
    { "unix",
      "a UNIX socket",
      chardev_open_unix,
      { "path", "abstract", "tight", "fd", "telnet", SOCKET_OPTIONS } },
    { "tcp", "a TCP socket", chardev_open_tcp, { TCP_OPTIONS, "fd", "telnet", SOCKET_OPTIONS } },
    { "telnet", "a TCP socket for telnet", chardev_open_telnet, { TCP_OPTIONS, SOCKET_OPTIONS } },
    { "socket",
      "either socket",
      chardev_open_socket,
      { "path", "abstract", "tight", TCP_OPTIONS, "fd", "telnet", SOCKET_OPTIONS } },
    { "udp",
      "datagrams to and from one address",
      chardev_open_udp,
      { "host", "port", "localaddr", "localport" } },
    { "mux", "shares another back end, as mux=on does", chardev_open_mux, { "chardev" } },
    { "qemu-vdagent",
      "for spice-vdagent in the guest: a clipboard that viewers share",
      chardev_open_vdagent,
      { "name", "clipboard", "mouse" } },
    { "ringbuf", "keeps the newest bytes in memory", open_ringbuf, { "size" } },
    { "memory", "the same", open_ringbuf, { "size" } },
};
static const char *const shared[] = { "mux", "logfile", "logappend" };

static const struct kind *kind_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (!strcmp(kinds[i].name, name))
            return &kinds[i];
    return NULL;
}

static struct error *no_such_kind(const char *name)
{
    const char *names[ARRAY_LEN(kinds)];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        names[i] = kinds[i].name;
    char *hint = nearest_hint(name, names, ARRAY_LEN(kinds));
    char list[256] = "";
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        strcat(list, kinds[i].name);
        strcat(list, ", ");
    }
    struct error *err = error_new("there is no character back end '%s'%s (accepted: %schardev:ID)",
                                  name, hint, list);
    free(hint);
    return err;
}

/* Cut "kind:path" off the front of text; the options behind it stay. "kind,..." has no path. */
static void split_head(char *text, const char **kind, const char **path, const char **rest)
{
    char *colon = strchr(text, ':'), *comma = strchr(text, ',');
    *kind = text;
    *path = NULL;
    *rest = "";
    if (colon && (!comma || colon < comma)) {
        *colon = 0;
        *path = colon + 1;
        char *to = colon + 1;
        for (char *from = colon + 1;; from++) {
            if (*from == ',' && from[1] == ',')
                from++;
            else if (*from == ',' || !*from) {
                if (*from)
                    *rest = from + 1;
                break;
            }
            *to++ = *from;
        }
        *to = 0;
    } else if (comma) {
        *comma = 0;
        *rest = comma + 1;
    }
}

static struct error *open_kind(struct chardev_host *h, const struct kind *kind, const char *path,
                               struct options *o)
{
    const char *known[ARRAY_LEN(kind->known) + ARRAY_LEN(shared)];
    size_t n = 0;
    for (; kind->known[n]; n++)
        known[n] = kind->known[n];
    for (size_t i = 0; i < ARRAY_LEN(shared); i++)
        known[n++] = shared[i];
    h->kind_name = kind->name;
    options_get(o, "id");
    struct error *err = options_get_bool(o, "mux", &h->mux);
    for (size_t i = 0; i < o->n && !err; i++) {
        bool fits = o->used[i];
        for (size_t k = 0; k < n && !fits; k++)
            fits = !strcmp(o->at[i].name, known[k]) ||
                   (!strncmp(o->at[i].name, "no", 2) && !strcmp(o->at[i].name + 2, known[k]));
        if (!fits)
            err =
                options_refuse_rest(&(struct options){ &o->at[i], &o->used[i], 1, NULL }, known, n);
    }
    if (!err)
        err = open_log(h, o);
    return err ? err : kind->open(h, path, o);
}

static struct error *open_parts(struct vm *vm, const char *id, bool mux, const char *kind_name,
                                const char *path, const char *rest, struct chardev **out)
{
    const struct kind *kind = kind_find(kind_name);
    if (!kind)
        return no_such_kind(kind_name);
    struct options o;
    struct error *err = options_split(rest, NULL, &o);
    if (err)
        return err;
    struct chardev_host *h = chardev_host_new(vm, id);
    h->mux = mux;
    err = open_kind(h, kind, path ? path : options_get(&o, "path"), &o);
    options_free(&o);
    if (err) {
        chardev_close(h->ports);
        return err;
    }
    *out = h->ports;
    return NULL;
}

struct error *chardev_open(struct vm *vm, const char *id, const char *spec, struct chardev **out)
{
    char *text = xasprintf("%s%s", strncmp(spec, "/dev/", 5) ? "" : "serial:", spec);
    const char *kind, *path, *rest;
    bool mux = !strncmp(text, "mon:", 4);
    split_head(text + (mux ? 4 : 0), &kind, &path, &rest);
    struct error *err = NULL;
    if (!strcmp(kind, "chardev") && path) {
        *out = backend_find(vm, BACKEND_CHARDEV, path);
        if (!*out)
            err = error_new("there is no character back end '%s'; -chardev TYPE,id=%s makes one",
                            path, path);
    } else {
        err = open_parts(vm, id, mux, kind, path, rest, out);
    }
    free(text);
    return error_in(err, "'%s'", spec);
}

static void close_owned(void *chardev)
{
    chardev_close(chardev);
}

struct error *chardev_add(struct vm *vm, const char *id, const char *spec, struct chardev **out)
{
    struct error *err = chardev_open(vm, id, spec, out);
    if (err || !strncmp(spec, "chardev:", 8))
        return err;
    err = backend_add(vm, BACKEND_CHARDEV, id, *out, close_owned);
    if (err)
        chardev_close(*out);
    return err;
}

struct error *chardev_add_option(struct vm *vm, const char *text)
{
    struct options o;
    struct chardev *c;
    struct error *err = options_split(text, "backend", &o);
    if (err)
        return err;
    const char *id = options_get(&o, "id");
    if (!id || !*id)
        err = error_new("'%s' has no id=, by which a device could use it", text);
    else
        err = chardev_add(vm, id, text, &c);
    options_free(&o);
    return err;
}

/* The new one is made beside the old one, then they change places. */
struct error *chardev_change(struct vm *vm, const char *id, const char *text)
{
    struct chardev *now = backend_find(vm, BACKEND_CHARDEV, id);
    if (!now)
        return error_new("Chardev '%.80s' not found", id);
    if (chardev_is_mux(now))
        return error_new("Mux chardev '%.80s' cannot be changed", id);
    if (chardev_is_delivering(now))
        return error_new("Chardev '%.80s' is where this was said", id);
    if (!strncmp(text, "chardev:", 8))
        return error_new("'%.80s' is another one; write TYPE,name=value...", text);
    struct chardev *other;
    struct error *err = chardev_open(vm, id, text, &other);
    if (err)
        return err;
    if (chardev_is_mux(other)) {
        chardev_close(other);
        return error_new(
            "a mux takes nobody's place; chardev-add makes one over an unused back end");
    }
    bool ran = vm->state == RUN_RUNNING;
    vm_pause(vm); /* no vCPU writes meanwhile */
    chardev_swap(now, other);
    if (ran)
        vm_start(vm);
    chardev_close(other);
    return NULL;
}

void chardev_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    char line[512];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        int n = snprintf(line, sizeof(line), "%-8s %s", kinds[i].name, kinds[i].help);
        for (size_t k = 0; kinds[i].known[k]; k++)
            n += snprintf(line + n, sizeof(line) - (size_t)n, "%s%s=", k ? ", " : "; ",
                          kinds[i].known[k]);
        print(opaque, line);
    }
}
