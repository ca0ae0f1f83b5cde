/* Character back ends. */
#include "core/backends.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/fdset.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/base64.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- what there is ----------------------------------------------------------------------------------- */
static bool is_pty(const struct chardev *c)
{
    return !strcmp(chardev_kind(c), "pty");
}

static void add_info(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    if (kind != BACKEND_CHARDEV)
        return;
    const struct chardev *c = backend;
    const char *where = chardev_where(c);
    char *name = xasprintf(
        "%s%s%s%s", chardev_is_connected(c) ? "" : "disconnected:", is_pty(c) ? "pty:" : "",
        *where ? where : chardev_kind(c), chardev_is_server(c) ? ",server=on" : "");
    json_array_append_new(opaque, json_pack("{sssssb}", "label", id, "filename", name,
                                            "frontend-open", chardev_front_is_open(c)));
    free(name);
}

static struct error *query(struct qmp_call *c)
{
    c->reply = json_array();
    backends_each(c->vm, add_info, c->reply);
    return NULL;
}

static struct error *query_kinds(struct qmp_call *c)
{
    static const char *const kinds[] = { "file",   "memory", "mux",          "null",
                                         "pipe",   "pty",    "qemu-vdagent", "ringbuf",
                                         "serial", "socket", "stdio",        "udp" };
    c->reply = json_array();
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        json_array_append_new(c->reply, json_pack("{ss}", "name", kinds[i]));
    return NULL;
}

/* ---- adding, removing, changing ------------------------------------------------------------------------ */
/* -chardev's text in the making. */
static void put(char **text, const char *name, const char *value)
{
    char *doubled = xmalloc(2 * strlen(value) + 1), *to = doubled;
    for (; *value; value++) {
        if (*value == ',')
            *to++ = ',';
        *to++ = *value;
    }
    *to = 0;
    char *longer = xasprintf("%s,%s=%s", *text, name, doubled);
    free(doubled);
    free(*text);
    *text = longer;
}

static void put_bool(char **text, json_t *data, const char *name)
{
    json_t *value = json_object_get(data, name);
    if (value)
        put(text, name, json_is_true(value) ? "on" : "off");
}

static const char *str(json_t *data, const char *name)
{
    return json_string_value(json_object_get(data, name));
}

static void put_int(char **text, json_t *data, const char *name)
{
    char number[32];
    json_t *value = json_object_get(data, name);
    if (!value)
        return;
    snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
    put(text, name, number);
}

static void put_str(char **text, json_t *data, const char *name, const char *as)
{
    const char *value = str(data, name);
    if (value)
        put(text, as, value);
}

/* An address: {type, data}. */
static struct error *put_address(struct qmp_call *c, char **text, json_t *addr)
{
    char number[16];
    json_t *data = json_object_get(addr, "data");
    const char *type = str(addr, "type");
    if (!strcmp(type, "unix")) {
        put(text, "path", str(data, "path"));
        put_bool(text, data, "abstract");
        put_bool(text, data, "tight");
    } else if (!strcmp(type, "inet")) {
        put(text, "host", str(data, "host"));
        put(text, "port", str(data, "port"));
        put_int(text, data, "to");
        put_bool(text, data, "ipv4");
        put_bool(text, data, "ipv6");
    } else {
        const char *name = str(data, "str");
        int fd = *name >= '0' && *name <= '9' ? atoi(name) : fd_take_named(c->vm, name);
        if (fd < 0)
            return error_new("File descriptor named '%.80s' has not been found", name);
        snprintf(number, sizeof(number), "%d", fd);
        put(text, "fd", number);
    }
    return NULL;
}

static struct error *put_socket(struct qmp_call *c, char **text, json_t *data)
{
    json_t *server = json_object_get(data, "server");
    bool serves = !server || json_is_true(server);
    if (serves && json_is_true(json_object_get(data, "wait")))
        return error_new("'wait' would stop the guest until somebody comes");
    struct error *err = put_address(c, text, json_object_get(data, "addr"));
    put(text, "server", serves ? "on" : "off");
    put(text, "wait", "off");
    put_bool(text, data, "nodelay");
    put_bool(text, data, "telnet");
    put_int(text, data, "reconnect");
    put_int(text, data, "reconnect-ms");
    return err;
}

/* Both ends of UDP are of the internet. */
static struct error *put_udp(struct qmp_call *c, char **text, json_t *data)
{
    json_t *remote = json_object_get(data, "remote"), *local = json_object_get(data, "local");
    if (strcmp(str(remote, "type"), "inet") || (local && strcmp(str(local, "type"), "inet")))
        return error_new("Parameter 'type' of an address for udp expects inet");
    remote = json_object_get(remote, "data");
    put(text, "host", str(remote, "host"));
    put(text, "port", str(remote, "port"));
    local = json_object_get(local, "data");
    if (local) {
        put(text, "localaddr", str(local, "host"));
        put(text, "localport", str(local, "port"));
    }
    return NULL;
}

/* What -chardev would say; the caller frees *text. */
static struct error *describe(struct qmp_call *c, const char *id, json_t *backend, char **text)
{
    const char *type = str(backend, "type");
    json_t *data = json_object_get(backend, "data");
    struct error *err = NULL;
    *text = xstrdup(type);
    put(text, "id", id);
    if (!strcmp(type, "file")) {
        put(text, "path", str(data, "out"));
        put_str(text, data, "in", "input-path");
        put_bool(text, data, "append");
    } else if (!strcmp(type, "socket")) {
        err = put_socket(c, text, data);
    } else if (!strcmp(type, "udp")) {
        err = put_udp(c, text, data);
    } else if (!strcmp(type, "pipe") || !strcmp(type, "serial")) {
        put_str(text, data, "device", "path");
    } else if (!strcmp(type, "mux")) {
        put(text, "chardev", str(data, "chardev"));
    } else if (!strcmp(type, "stdio")) {
        put_bool(text, data, "signal");
    } else if (!strcmp(type, "qemu-vdagent")) {
        put_bool(text, data, "mouse");
        put_bool(text, data, "clipboard");
    } else {
        put_int(text, data, "size");
    }
    put_str(text, data, "logfile", "logfile");
    put_bool(text, data, "logappend");
    return err;
}

static void tell_pty(struct qmp_call *c, const struct chardev *made)
{
    if (is_pty(made))
        c->reply = json_pack("{ss}", "pty", chardev_where(made));
}

static struct error *add(struct qmp_call *c)
{
    char *text;
    const char *id = qmp_str(c, "id");
    struct error *err = describe(c, id, json_object_get(c->args, "backend"), &text);
    if (!err && backend_find(c->vm, BACKEND_CHARDEV, id))
        err = error_new("Chardev with id '%.80s' already exists", id);
    if (!err)
        err = chardev_add_option(c->vm, text);
    free(text);
    if (err)
        return err;
    tell_pty(c, backend_find(c->vm, BACKEND_CHARDEV, id));
    return NULL;
}

static struct error *find(struct qmp_call *c, const char *id, struct chardev **out)
{
    *out = backend_find(c->vm, BACKEND_CHARDEV, id);
    return *out ? NULL : error_new("Chardev '%.80s' not found", id);
}

static struct error *del(struct qmp_call *c)
{
    struct chardev *chardev;
    const char *id = qmp_str(c, "id");
    struct error *err = find(c, id, &chardev);
    if (!err && backend_in_use(c->vm, BACKEND_CHARDEV, id))
        err = error_new("Chardev '%.80s' is busy", id);
    return err ? err : backend_remove(c->vm, BACKEND_CHARDEV, id);
}

static struct error *change(struct qmp_call *c)
{
    struct chardev *now;
    char *text = NULL;
    const char *id = qmp_str(c, "id");
    struct error *err = find(c, id, &now);
    if (!err)
        err = describe(c, id, json_object_get(c->args, "backend"), &text);
    if (!err)
        err = chardev_change(c->vm, id, text);
    if (!err)
        tell_pty(c, now);
    free(text);
    return err;
}

static struct error *send_break(struct qmp_call *c)
{
    struct chardev *chardev;
    struct error *err = find(c, qmp_str(c, "id"), &chardev);
    if (!err)
        chardev_break(chardev);
    return err;
}

/* ---- ring buffers -------------------------------------------------------------------------------------- */
static struct error *find_ring(struct qmp_call *c, struct chardev **out)
{
    struct error *err = find(c, qmp_str(c, "device"), out);
    if (!err && !chardev_is_ringbuf(*out))
        err = error_new("%.80s is not a ringbuf device", qmp_str(c, "device"));
    return err;
}

static bool wants_base64(const struct qmp_call *c)
{
    const char *format = qmp_str(c, "format");
    return format && !strcmp(format, "base64");
}

static struct error *ring_write(struct qmp_call *c)
{
    struct chardev *chardev;
    const char *data = qmp_str(c, "data");
    struct error *err = find_ring(c, &chardev);
    if (err || !wants_base64(c)) {
        if (!err)
            chardev_write(chardev, (const uint8_t *)data, strlen(data));
        return err;
    }
    size_t n;
    uint8_t *bytes = base64_decode(data, &n);
    if (!bytes)
        return error_new("Parameter 'data' expects base64");
    chardev_write(chardev, bytes, n);
    free(bytes);
    return NULL;
}

/* UTF-8 or nothing: other bytes become question marks. */
static void make_text(uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!bytes[i] || bytes[i] >= 0x80)
            bytes[i] = '?';
    bytes[n] = 0;
}

static struct error *ring_read(struct qmp_call *c)
{
    struct chardev *chardev;
    int64_t size = qmp_int(c, "size", 0);
    struct error *err = find_ring(c, &chardev);
    if (err)
        return err;
    if (size <= 0)
        return error_new("size must be greater than zero");
    size_t room = (size_t)MIN(size, (int64_t)(1 * MIB));
    uint8_t *bytes = xmalloc(room + 1);
    size_t n = chardev_ringbuf_read(chardev, bytes, room);
    bytes[n] = 0;
    if (wants_base64(c)) {
        char *text = base64_encode(bytes, n);
        c->reply = json_string(text);
        free(text);
    } else {
        c->reply = json_stringn((char *)bytes, n);
        if (!c->reply) {
            make_text(bytes, n);
            c->reply = json_stringn((char *)bytes, n);
        }
    }
    free(bytes);
    return NULL;
}

static const struct qmp_command commands[] = {
    { "query-chardev", "", "[ChardevInfo]", "every character back end", query, QMP_PRECONFIG },
    { "query-chardev-backends", "", "[ChardevBackendInfo]", "the kinds there are", query_kinds },
    { "chardev-add", "id:str backend:ChardevBackend", "ChardevReturn", "make one, as -chardev does",
      add },
    { "chardev-change", "id:str backend:ChardevBackend", "ChardevReturn",
      "put another in its place, the device does not notice", change },
    { "chardev-remove", "id:str", "", "close one that nobody uses", del },
    { "chardev-send-break", "id:str", "", "a break on the line", send_break },
    { "ringbuf-write", "device:str data:str *format:DataFormat", "", "put bytes into a ring buffer",
      ring_write },
    { "ringbuf-read", "device:str size:int *format:DataFormat", "str",
      "take bytes out of one, at most 1 MiB", ring_read },
};

#define LOGGED "*logfile:str *logappend:bool"
static const struct qmp_type types[] = {
    QMP_STRUCT_TYPE("ChardevInfo", "label:str filename:str frontend-open:bool"),
    QMP_STRUCT_TYPE("ChardevBackendInfo", "name:str"),
    QMP_STRUCT_TYPE("ChardevReturn", "*pty:str"),
    QMP_ENUM_TYPE("DataFormat", "utf8 base64"),
    QMP_ENUM_TYPE("ChardevBackendKind",
                  "file serial pipe socket udp pty null mux ringbuf memory stdio qemu-vdagent"),
    QMP_UNION_TYPE(
        "ChardevBackend", "type:ChardevBackendKind", "type",
        "file:ChardevFileWrapper serial:ChardevHostdevWrapper pipe:ChardevHostdevWrapper "
        "socket:ChardevSocketWrapper udp:ChardevUdpWrapper pty:ChardevCommonWrapper "
        "null:ChardevCommonWrapper mux:ChardevMuxWrapper ringbuf:ChardevRingbufWrapper "
        "memory:ChardevRingbufWrapper stdio:ChardevStdioWrapper "
        "qemu-vdagent:ChardevQemuVDAgentWrapper"),
    QMP_STRUCT_TYPE("ChardevFileWrapper", "data:ChardevFile"),
    QMP_STRUCT_TYPE("ChardevHostdevWrapper", "data:ChardevHostdev"),
    QMP_STRUCT_TYPE("ChardevSocketWrapper", "data:ChardevSocket"),
    QMP_STRUCT_TYPE("ChardevUdpWrapper", "data:ChardevUdp"),
    QMP_STRUCT_TYPE("ChardevCommonWrapper", "*data:ChardevCommon"),
    QMP_STRUCT_TYPE("ChardevMuxWrapper", "data:ChardevMux"),
    QMP_STRUCT_TYPE("ChardevRingbufWrapper", "data:ChardevRingbuf"),
    QMP_STRUCT_TYPE("ChardevStdioWrapper", "data:ChardevStdio"),
    QMP_STRUCT_TYPE("ChardevQemuVDAgentWrapper", "data:ChardevQemuVDAgent"),
    QMP_STRUCT_TYPE("ChardevQemuVDAgent", "*mouse:bool *clipboard:bool " LOGGED),
    QMP_STRUCT_TYPE("ChardevCommon", LOGGED),
    QMP_STRUCT_TYPE("ChardevFile", "*in:str out:str *append:bool " LOGGED),
    QMP_STRUCT_TYPE("ChardevHostdev", "device:str " LOGGED),
    QMP_STRUCT_TYPE("ChardevMux", "chardev:str " LOGGED),
    QMP_STRUCT_TYPE("ChardevRingbuf", "*size:int " LOGGED),
    QMP_STRUCT_TYPE("ChardevStdio", "*signal:bool " LOGGED),
    QMP_STRUCT_TYPE("ChardevUdp", "remote:SocketAddressLegacy *local:SocketAddressLegacy " LOGGED),
    QMP_STRUCT_TYPE("ChardevSocket",
                    "addr:SocketAddressLegacy *server:bool *wait:bool *nodelay:bool *telnet:bool "
                    "*reconnect:int *reconnect-ms:int " LOGGED),
    QMP_ENUM_TYPE("SocketAddressType", "inet unix fd"),
    QMP_UNION_TYPE("SocketAddressLegacy", "type:SocketAddressType", "type",
                   "inet:InetSocketAddressWrapper unix:UnixSocketAddressWrapper "
                   "fd:FdSocketAddressWrapper"),
    QMP_STRUCT_TYPE("InetSocketAddressWrapper", "data:InetSocketAddress"),
    QMP_STRUCT_TYPE("UnixSocketAddressWrapper", "data:UnixSocketAddress"),
    QMP_STRUCT_TYPE("FdSocketAddressWrapper", "data:FdSocketAddress"),
    QMP_STRUCT_TYPE("InetSocketAddress", "host:str port:str *to:uint16 *ipv4:bool *ipv6:bool"),
    QMP_STRUCT_TYPE("UnixSocketAddress", "path:str *abstract:bool *tight:bool"),
    QMP_STRUCT_TYPE("FdSocketAddress", "str:str"),
};

const struct qmp_table qmp_char_table = { "Character back ends", TABLE(commands), TABLE(types) };
