/* The server of gdb's remote protocol: docs/debugger.md. */
#pragma once

#include <stdbool.h>

struct chardev;
struct error;
struct gdb;
struct vm;

struct gdb_hooks {
    /* A line for the monitor ("monitor info registers"); NULL: there is none. */
    void (*command)(void *opaque, const char *line, void (*print)(void *to, const char *line),
                    void *to);
    void *opaque;
};

/* Serves who connects to c, one at a time. Main loop's thread, as all of it. */
struct gdb *gdb_new(struct vm *vm, struct chardev *c, const struct gdb_hooks *hooks);
/* The same on a back end of its own, as -gdb takes it: tcp:HOST:PORT, unix:PATH, chardev:ID, stdio, none (then *out
 * is NULL), ... With the board's vCPUs made. */
struct error *gdb_open(struct vm *vm, const char *spec, const struct gdb_hooks *hooks,
                       struct gdb **out);
/* Where it is served; is a client there? */
const char *gdb_where(const struct gdb *g);
bool gdb_has_client(const struct gdb *g);
/* Under a running VM: a client is cut off as if it had detached, and the back end goes if it was made by gdb_open. Not
 * from gdb's own commands. */
void gdb_close(struct gdb *g);
/* A client learns how the run ended. Before vm_free. */
void gdb_free(struct gdb *g);

/* Where the program keeps its server; a monitor's gdbserver replaces it. */
struct gdb_place {
    struct gdb *gdb; /* NULL: there is none */
    struct gdb_hooks hooks;
};
