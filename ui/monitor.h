/* Monitors on character back ends: the human one, a line editor over the commands of ui/hmp.h, and QMP, JSON
 * over those of ui/qmp.h. docs/monitor.md is about both. */
#pragma once

#include <stdbool.h>

struct chardev;
struct error;
struct gdb_place;
struct monitor;
struct option_table;
struct vm;

/* The QEMU that QMP says it is like: the one whose newest machine types there are. */
enum { QMP_MAJOR = 11, QMP_MINOR = 1, QMP_MICRO = 0 };

/* What a monitor can only ask of the program around it. */
struct monitor_hooks {
    /* "info stats". */
    void (*stats)(void *opaque, void (*print)(void *opaque, const char *line), void *to);
    void *opaque;
    const struct option_table *options; /* for query-command-line-options; NULL: none */
    struct gdb_place *gdb; /* for gdbserver; NULL: it is gdb that asks, or there can be none */
};

/* Attaches to c, or to a port of its own of a mux. Main loop's thread, as all of it. */
struct monitor *monitor_new(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks);
/* The same for QMP. Error: this build has none. */
struct error *monitor_new_qmp(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks,
                              bool pretty, struct monitor **out);
void monitor_free(struct monitor *m);
/* One human command, its output line by line; for QMP, the debugger, tests. */
void monitor_execute(struct vm *vm, const struct monitor_hooks *hooks, const char *command,
                     void (*print)(void *opaque, const char *line), void *opaque);
