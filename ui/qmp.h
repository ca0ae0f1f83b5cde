/* QMP commands: one table says a command's name, arguments, reply, help and handler; from it come argument
 * checks, query-commands, query-qmp-schema and docs/qmp.md. docs/monitor.md tells how to add one. */
#pragma once

#include "core/event.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chardev;
struct error;
struct monitor_hooks;
struct vm;

/* One command under way. Main loop's thread. */
struct qmp_call {
    struct vm *vm;
    const struct monitor_hooks *hooks;
    struct chardev *chardev; /* where it came from, for descriptors passed along; may be NULL */
    json_t *args;            /* an object, checked against the command's types */
    json_t *reply;           /* the handler's result, its reference given away; NULL: {} */
    const char *error_class; /* with an error; NULL: GenericError */
};

/* The error travels up as everywhere; qmp_fail gives it a class of its own. */
typedef struct error *qmp_fn(struct qmp_call *c);
struct error *qmp_fail(struct qmp_call *c, const char *error_class, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

enum {
    QMP_OOB = 1 << 0,       /* may be sent out of band */
    QMP_PRECONFIG = 1 << 1, /* also while the machine is being made; nothing depends on it yet */
    QMP_ANY_ARGS = 1 << 2,  /* members beside those listed are let through: device_add */
};

/* `args` and members of types: "name:type *optional:type list:[type]". A type is str, int, number, bool,
 * size, int8 ... uint64, any, null, or the name of one in a table; in brackets: a list of it.
 * `args` may also name a struct or union type. */
struct qmp_command {
    const char *name, *args;
    const char *returns; /* a type; "": nothing */
    const char *doc;     /* one line */
    qmp_fn *run;
    unsigned flags;
    const char *features; /* "json-cli json-cli-hotplug"; NULL: none */
};

struct qmp_type {
    const char *name;
    enum { QMP_STRUCT, QMP_ENUM, QMP_UNION, QMP_ALTERNATE } kind;
    const char *text;  /* STRUCT, UNION: members; ENUM: "value value"; ALTERNATE: "type type" */
    const char *tag;   /* UNION: the member that decides, of an enum type */
    const char *cases; /* UNION: "value:struct value:struct"; values left out add no members */
};
#define QMP_STRUCT_TYPE(name, members)           { name, QMP_STRUCT, members, NULL, NULL }
#define QMP_ENUM_TYPE(name, values)              { name, QMP_ENUM, values, NULL, NULL }
#define QMP_UNION_TYPE(name, members, tag, list) { name, QMP_UNION, members, tag, list }
#define QMP_ALTERNATE_TYPE(name, types)          { name, QMP_ALTERNATE, types, NULL, NULL }

/* A subject: one file with its commands and the types that they bring. */
struct qmp_table {
    const char *title; /* a heading of docs/qmp.md */
    struct {
        const struct qmp_command *at;
        size_t n;
    } commands;
    struct {
        const struct qmp_type *at;
        size_t n;
    } types;
};
/* ui/qmp_tables.c: every subject. A new one is a line there. */
extern const struct qmp_table *const qmp_tables[];
extern const size_t n_qmp_tables;

/* ui/qmp_events.c, indexed by kind. */
struct qmp_event {
    const char *name, *data, *doc; /* data: members, as above */
};
extern const struct qmp_event qmp_events[N_EVENTS];

/* ---- for handlers ---------------------------------------------------------------------------- */
/* Arguments by name. NULL, `def` if it was not given. */
const char *qmp_str(const struct qmp_call *c, const char *name);
int64_t qmp_int(const struct qmp_call *c, const char *name, int64_t def);
bool qmp_bool(const struct qmp_call *c, const char *name, bool def);
/* The arguments as text for what -device, -netdev, ... take, too; the caller frees it. */
char *qmp_args_text(const struct qmp_call *c);

/* ---- what the tables are read with ----------------------------------------------------------- */
const struct qmp_command *qmp_command_find(const char *name); /* NULL: there is none */
const struct qmp_type *qmp_type_find(const char *name);
/* Take one member off *text. False: there is none left. */
struct qmp_member {
    char name[64], type[64];
    bool optional, list; /* list: of `type` */
};
bool qmp_next_member(const char **text, struct qmp_member *m);
/* Take one word off *text into word[64]. */
bool qmp_next_word(const char **text, char *word);
/* Is `args` what the command takes? NULL, or what is wrong with it. */
struct error *qmp_check_args(const struct qmp_command *cmd, json_t *args);
/* For tests: is `reply` what the command says it gives? */
struct error *qmp_check_reply(const struct qmp_command *cmd, json_t *reply);
/* The reply to query-qmp-schema. */
json_t *qmp_schema(void);
/* docs/qmp.md. */
void qmp_print_page(void (*print)(void *opaque, const char *line), void *opaque);

/* Check and run one command; gives the reply object without its id: {"return": ...} or {"error": ...}.
 * `args` NULL: none. */
json_t *qmp_run(struct qmp_call *c, const char *name, json_t *args);
/* {"error": {...}}; frees err. */
json_t *qmp_error_reply(const char *error_class, struct error *err);
