/* QMP on a character back end: greeting, framing, replies and events in order. docs/monitor.md has the
 * limits that keep a hostile or absent client from costing memory or time. */
#include "ui/qmp_session.h"

#include "core/chardev.h"
#include "core/error.h"
#include "core/event.h"
#include "core/state.h"
#include "core/util.h"
#include "core/vm.h"
#include "tandem-config.h"
#include "ui/monitor.h"
#include "ui/qmp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    CHUNK = 4096,             /* of input, taken while nothing else is to be done */
    MOST_INPUT = 1 << 20,     /* of one command */
    MOST_DEPTH = 64,          /* of brackets in it */
    MOST_REPLIES = 64 * 1024, /* unread beyond that: no further command is run */
    MOST_UNREAD = 4 << 20,    /* unread beyond that: the client is taken for gone */
};

struct qmp_session {
    struct vm *vm;
    struct chardev *chardev;
    struct monitor_hooks hooks;
    bool pretty;

    /* Of this connection. */
    bool negotiated, oob, gone;
    uint8_t todo[CHUNK]; /* input that was not looked at yet */
    size_t todo_at, n_todo;
    struct bytes command; /* as far as it came */
    unsigned depth;
    bool in_string, escaped, skipping; /* skipping: up to the end of the line */
    struct bytes out;
    size_t out_at;
    bool working;
};

/* ---- output ------------------------------------------------------------------------------------ */
static void pump(struct qmp_session *s)
{
    while (s->out_at < s->out.n) {
        size_t n = MIN(chardev_space(s->chardev), s->out.n - s->out_at);
        if (!n)
            return; /* CHARDEV_WRITABLE comes */
        chardev_write(s->chardev, s->out.at + s->out_at, n);
        chardev_flush(s->chardev);
        s->out_at += n;
    }
    bytes_free(&s->out);
    s->out = (struct bytes){ 0 };
    s->out_at = 0;
}

static void put(struct qmp_session *s, const json_t *object)
{
    char *text = json_dumps(object, (s->pretty ? JSON_INDENT(4) : 0) | JSON_ENCODE_ANY);
    if (!text || s->gone) {
        free(text);
        return;
    }
    if (s->out_at > CHUNK && s->out_at > s->out.n / 2) {
        memmove(s->out.at, s->out.at + s->out_at, s->out.n - s->out_at);
        s->out.n -= s->out_at;
        s->out_at = 0;
    }
    bytes_add(&s->out, text, strlen(text));
    bytes_add(&s->out, "\r\n", 2);
    free(text);
    pump(s);
    if (s->out.n - s->out_at > MOST_UNREAD)
        s->gone = true;
}

static void put_new(struct qmp_session *s, json_t *object)
{
    put(s, object);
    json_decref(object);
}

/* ---- events -------------------------------------------------------------------------------------- */
/* "info.slot" leads into the object "info". */
static void set_member(json_t *object, const char *name, json_t *value)
{
    const char *dot = strchr(name, '.');
    if (!dot) {
        json_object_set_new(object, name, value);
        return;
    }
    char *first = xasprintf("%.*s", (int)(dot - name), name);
    json_t *inner = json_object_get(object, first);
    if (!inner) {
        inner = json_object();
        json_object_set_new(object, first, inner);
    }
    set_member(inner, dot + 1, value);
    free(first);
}

static json_t *item_value(const struct event_item *item)
{
    switch (item->kind) {
    case ITEM_TEXT: return json_string(item->text);
    case ITEM_NUMBER: return json_integer(item->number);
    case ITEM_FLAG: return json_boolean(item->number);
    }
    return json_null();
}

static void on_event(void *opaque, const struct event *e)
{
    struct qmp_session *s = opaque;
    if (!s->negotiated)
        return;
    json_t *o = json_pack("{s{sIsI}ss}", "timestamp", "seconds", (json_int_t)(e->at_us / 1000000),
                          "microseconds", (json_int_t)(e->at_us % 1000000), "event",
                          qmp_events[e->kind].name);
    json_t *data = json_object();
    for (size_t i = 0; i < e->n; i++)
        set_member(data, e->items[i].name, item_value(&e->items[i]));
    if (e->n)
        json_object_set(o, "data", data);
    json_decref(data);
    put_new(s, o);
    if (s->gone && !s->working)
        chardev_hang_up(s->chardev);
}

/* ---- commands ------------------------------------------------------------------------------------ */
static json_t *refuse(const char *error_class, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static json_t *refuse(const char *error_class, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return qmp_error_reply(error_class, error_new("%s", text));
}

/* The first command of a connection. */
static json_t *negotiate(struct qmp_session *s, json_t *args)
{
    const struct qmp_command *cmd = qmp_command_find("qmp_capabilities");
    json_t *none = json_object(), *item;
    struct error *err = qmp_check_args(cmd, args ? args : none);
    size_t i;
    json_decref(none);
    if (err)
        return qmp_error_reply(NULL, err);
    json_array_foreach(json_object_get(args, "enable"), i, item)
    {
        s->oob = true; /* the only capability */
    }
    s->negotiated = true;
    return json_pack("{s{}}", "return");
}

static json_t *dispatch(struct qmp_session *s, json_t *object)
{
    const char *key;
    json_t *value, *args = NULL, *name = NULL;
    bool out_of_band = false;
    if (!json_is_object(object))
        return refuse(NULL, "QMP input must be a JSON object");
    json_object_foreach(object, key, value)
    {
        bool is_oob = !strcmp(key, "exec-oob") && s->oob;
        if (!strcmp(key, "execute") || is_oob) {
            if (!json_is_string(value))
                return refuse(NULL, "QMP input member '%s' must be a string", key);
            if (name)
                return refuse(NULL, "QMP input member '%s' clashes with 'execute'", key);
            name = value;
            out_of_band = is_oob;
        } else if (!strcmp(key, "arguments")) {
            if (!json_is_object(value))
                return refuse(NULL, "QMP input member 'arguments' must be an object");
            args = value;
        } else if (strcmp(key, "id")) {
            return refuse(NULL, "QMP input member '%.80s' is unexpected", key);
        }
    }
    if (!name)
        return refuse(NULL, "QMP input lacks member 'execute'");
    const char *command = json_string_value(name);
    if (!s->negotiated && !strcmp(command, "qmp_capabilities"))
        return negotiate(s, args);
    if (!s->negotiated)
        return refuse("CommandNotFound",
                      "Expecting capabilities negotiation with 'qmp_capabilities'");
    if (!strcmp(command, "qmp_capabilities"))
        return refuse("CommandNotFound",
                      "Capabilities negotiation is already complete, command ignored");
    const struct qmp_command *cmd = qmp_command_find(command);
    if (out_of_band && cmd && !(cmd->flags & QMP_OOB))
        return refuse(NULL, "The command %s does not support OOB", command);
    struct qmp_call call = { .vm = s->vm, .hooks = &s->hooks, .chardev = s->chardev };
    return qmp_run(&call, command, args);
}

static void execute(struct qmp_session *s)
{
    json_error_t where;
    json_t *object = json_loadb((const char *)s->command.at, s->command.n,
                                JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where);
    json_t *id = json_object_get(object, "id");
    json_t *reply =
        object ? dispatch(s, object) : refuse(NULL, "JSON parse error, %.200s", where.text);
    if (id)
        json_object_set(reply, "id", id);
    put_new(s, reply);
    json_decref(object);
}

/* ---- input --------------------------------------------------------------------------------------- */
static void start_over(struct qmp_session *s)
{
    bytes_free(&s->command);
    s->command = (struct bytes){ 0 };
    s->depth = 0;
    s->in_string = s->escaped = false;
}

/* Nobody can tell where the next command begins, but a new line is a good guess. */
static void give_up(struct qmp_session *s, const char *what)
{
    put_new(s, refuse(NULL, "JSON parse error, %s", what));
    start_over(s);
    s->skipping = true;
}

static void end_of_command(struct qmp_session *s)
{
    execute(s);
    start_over(s);
}

static void take_byte(struct qmp_session *s, uint8_t c)
{
    bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (s->skipping) {
        s->skipping = c != '\n';
        return;
    }
    if (c == 0xff) { /* in no UTF-8: a client that wants to be understood from here on */
        start_over(s);
        return;
    }
    if (blank && !s->command.n)
        return;
    if (blank && !s->depth) { /* a word outside of brackets ended */
        end_of_command(s);
        return;
    }
    if (s->command.n == MOST_INPUT) {
        give_up(s, "the command is too long");
        return;
    }
    bytes_add(&s->command, &c, 1);
    if (s->in_string) {
        bool ends = c == '"' && !s->escaped;
        s->escaped = c == '\\' && !s->escaped;
        s->in_string = !ends;
        return;
    }
    if (c == '"') {
        s->in_string = true;
    } else if (c == '{' || c == '[') {
        if (++s->depth > MOST_DEPTH)
            give_up(s, "brackets are nested too deep");
    } else if (c == '}' || c == ']') {
        if (s->depth)
            s->depth--;
        if (!s->depth)
            end_of_command(s);
    }
}

/* Commands of what has come, as long as their replies are read. */
static void work(struct qmp_session *s)
{
    if (s->working)
        return;
    s->working = true;
    while (s->n_todo && s->out.n - s->out_at <= MOST_REPLIES && !s->gone) {
        uint8_t c = s->todo[s->todo_at++];
        s->n_todo--;
        take_byte(s, c);
    }
    s->working = false;
    if (!s->n_todo)
        s->todo_at = 0;
    if (s->gone)
        chardev_hang_up(s->chardev);
}

static size_t front_room(void *opaque)
{
    struct qmp_session *s = opaque;
    return s->n_todo || s->gone ? 0 : CHUNK;
}

static void front_receive(void *opaque, const uint8_t *data, size_t n)
{
    struct qmp_session *s = opaque;
    memcpy(s->todo, data, n);
    s->todo_at = 0;
    s->n_todo = n;
    work(s);
}

static void forget_connection(struct qmp_session *s)
{
    start_over(s);
    bytes_free(&s->out);
    s->out = (struct bytes){ 0 };
    s->out_at = 0;
    s->n_todo = 0;
    s->negotiated = s->oob = s->gone = s->skipping = false;
}

static void greet(struct qmp_session *s)
{
    forget_connection(s);
    put_new(s, json_pack("{s{s{s{sisisi}ss}s[s]}}", "QMP", "version", "qemu", "major", QMP_MAJOR,
                         "minor", QMP_MINOR, "micro", QMP_MICRO, "package",
                         "tandem-" TANDEM_VERSION, "capabilities", "oob"));
}

static void front_event(void *opaque, int event)
{
    struct qmp_session *s = opaque;
    switch (event) {
    case CHARDEV_OPENED: greet(s); break;
    case CHARDEV_CLOSED: forget_connection(s); break;
    case CHARDEV_WRITABLE:
        pump(s);
        work(s);
        chardev_accept(s->chardev);
        break;
    }
}

/* ---- life ---------------------------------------------------------------------------------------- */
struct error *qmp_session_new(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks,
                              bool pretty, struct qmp_session **out)
{
    struct qmp_session *s = xcalloc(1, sizeof(*s));
    json_object_seed(0); /* now: later the sandbox is in the way of its source */
    *s = (struct qmp_session){ .vm = vm, .chardev = c, .hooks = *hooks, .pretty = pretty };
    event_listen(vm, on_event, s);
    s->chardev = chardev_attach_monitor(
        c, &(struct chardev_front){ front_room, front_receive, front_event, s });
    chardev_receive_fds(s->chardev);
    *out = s;
    return NULL;
}

void qmp_session_free(struct qmp_session *s)
{
    if (!s)
        return;
    event_unlisten(s->vm, s);
    chardev_detach(s->chardev);
    bytes_free(&s->command);
    bytes_free(&s->out);
    free(s);
}

void qmp_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    qmp_print_page(print, opaque);
}
