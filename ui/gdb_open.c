/* -gdb DEV: from the option's text to a server. */
#include "core/backends.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "ui/gdb_session.h"

#include <stdio.h>
#include <stdlib.h>

/* A socket is a server's that stands still for nobody, unless the text says otherwise; without a host it is this
 * one's own. Freed by the caller. */
static char *complete(const char *spec)
{
    bool tcp = !strncmp(spec, "tcp:", 4), unix_socket = !strncmp(spec, "unix:", 5);
    const char *host = tcp && spec[4] == ':' ? "127.0.0.1" : "";
    if (!tcp && !unix_socket)
        return xstrdup(spec);
    bool says = strstr(spec, "server");
    return xasprintf("%s%s%s%s%s", tcp ? "tcp:" : "unix:", host, spec + (tcp ? 4 : 5),
                     says ? "" : ",server=on,wait=off", tcp && !says ? ",nodelay=on" : "");
}

struct error *gdb_open(struct vm *vm, const char *spec, const struct gdb_hooks *hooks,
                       struct gdb **out)
{
    struct chardev *c;
    bool named = !strncmp(spec, "chardev:", 8);
    *out = NULL;
    if (!strcmp(spec, "none"))
        return NULL;
    if (!vm->n_vcpus || !vm->target->debug)
        return error_new("there is no debugger for this guest's CPU");
    char *full = complete(spec);
    struct error *err = chardev_add(vm, "gdb", full, &c);
    free(full);
    if (!err)
        err = backend_take_chardev(vm, named ? spec + 8 : "gdb", &c);
    if (!err)
        *out = gdb_new(vm, c, hooks);
    return err;
}

const char *gdb_where(const struct gdb *g)
{
    return chardev_where(g->link.chardev);
}

bool gdb_has_client(const struct gdb *g)
{
    return g->attached;
}

void gdb_close(struct gdb *g)
{
    struct vm *vm = g->vm;
    struct chardev *c = g->link.chardev;
    const char *id = backend_id(vm, c);
    bool own = id && !strcmp(id, "gdb");
    gdb_detach(g, true);
    g->waits = false; /* the run has not ended */
    gdb_free(g);
    backend_give_back(vm, c);
    if (own)
        error_free(backend_remove(vm, BACKEND_CHARDEV, "gdb"));
}
