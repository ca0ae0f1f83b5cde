/* The human monitor: a line editor of a few commands on a character back end. QMP comes later. */
#pragma once

struct chardev;
struct error;
struct monitor;
struct vm;

/* What the monitor can only ask of the program around it. */
struct monitor_hooks {
    /* "info stats". */
    void (*stats)(void *opaque, void (*print)(void *opaque, const char *line), void *to);
    void *opaque;
};

/* Attaches to c, or to a port of its own of a mux. Main loop's thread, as all of it. */
struct monitor *monitor_new(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks);
void monitor_free(struct monitor *m);
/* One command, its output line by line; for tests and other front ends. */
void monitor_execute(struct vm *vm, const struct monitor_hooks *hooks, const char *command,
                     void (*print)(void *opaque, const char *line), void *opaque);
