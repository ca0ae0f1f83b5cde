/* Back ends by id. */
#include "core/backends.h"

#include "core/chardev.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"

#include <stdlib.h>

struct backend {
    char *id;
    void *at;
    void (*free)(void *backend);
    struct backend *next;
    enum backend_kind kind;
    unsigned users;
};

static const struct {
    const char *name, *option;
} kinds[] = {
    [BACKEND_DRIVE] = { "drive", "-drive " },
    [BACKEND_NETDEV] = { "network back end", "-netdev TYPE," },
    [BACKEND_CHARDEV] = { "character back end", "-chardev TYPE," },
    [BACKEND_OBJECT] = { "object", "-object TYPE," },
    [BACKEND_IOTHREAD] = { "I/O thread", "-object iothread," },
    [BACKEND_AUDIO] = { "sound back end", "-audiodev DRIVER," },
};

static struct backend *find(struct vm *vm, enum backend_kind kind, const char *id)
{
    for (struct backend *b = vm->backends; b; b = b->next)
        if (b->kind == kind && !strcmp(b->id, id))
            return b;
    return NULL;
}

static struct error *none_such(struct vm *vm, enum backend_kind kind, const char *id)
{
    size_t n = 0;
    for (struct backend *b = vm->backends; b; b = b->next)
        n += b->kind == kind;
    const char **names = xcalloc(n, sizeof(*names));
    n = 0;
    for (struct backend *b = vm->backends; b; b = b->next)
        if (b->kind == kind)
            names[n++] = b->id;
    const char *near = nearest_name(id, names, n);
    struct error *err =
        near ? error_new("there is no %s '%s'; did you mean '%s'?", kinds[kind].name, id, near)
             : error_new("there is no %s '%s'; %sid=%s makes one", kinds[kind].name, id,
                         kinds[kind].option, id);
    free(names);
    return err;
}

/* Not all who are attached are counted: monitors at a mux are not. */
static bool in_use(const struct backend *b)
{
    return b->users || (b->kind == BACKEND_CHARDEV && chardev_has_front(b->at));
}

static bool is_mux(const struct backend *b)
{
    return b->kind == BACKEND_CHARDEV && chardev_is_mux(b->at);
}

static struct error *take(struct vm *vm, enum backend_kind kind, const char *id, void **out)
{
    struct backend *b = find(vm, kind, id);
    if (!b)
        return none_such(vm, kind, id);
    if (in_use(b) && !is_mux(b))
        return error_new("the %s '%s' is already in use by another device", kinds[kind].name, id);
    b->users = 1;
    *out = b->at;
    return NULL;
}

struct error *backend_take_drive(struct vm *vm, const char *id, struct blk **out)
{
    return take(vm, BACKEND_DRIVE, id, (void **)out);
}

struct error *backend_take_netdev(struct vm *vm, const char *id, struct netdev **out)
{
    return take(vm, BACKEND_NETDEV, id, (void **)out);
}

/* A mux takes any number of front ends, each at a port of its own. */
struct error *backend_take_chardev(struct vm *vm, const char *id, struct chardev **out)
{
    struct backend *b = find(vm, BACKEND_CHARDEV, id);
    if (b && b->users && is_mux(b)) {
        b->users++;
        *out = chardev_share(b->at);
        return NULL;
    }
    return take(vm, BACKEND_CHARDEV, id, (void **)out);
}

void backend_give_back(struct vm *vm, void *backend)
{
    for (struct backend *b = vm->backends; b; b = b->next) {
        bool port = b->kind == BACKEND_CHARDEV && chardev_is_port(b->at, backend);
        if ((b->at == backend || port) && b->users)
            b->users--;
    }
}

void *backend_hold(struct vm *vm, enum backend_kind kind, const char *id)
{
    struct backend *b = find(vm, kind, id);
    if (!b)
        return NULL;
    b->users++;
    return b->at;
}

bool backend_in_use(struct vm *vm, enum backend_kind kind, const char *id)
{
    struct backend *b = find(vm, kind, id);
    return b && in_use(b);
}

struct error *backend_remove(struct vm *vm, enum backend_kind kind, const char *id)
{
    struct backend *b = find(vm, kind, id), **at = (struct backend **)&vm->backends;
    if (!b)
        return none_such(vm, kind, id);
    if (in_use(b))
        return error_new("the %s '%s' is in use", kinds[kind].name, id);
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    if (b->free)
        b->free(b->at);
    free(b->id);
    free(b);
    return NULL;
}

const char *backend_id(struct vm *vm, const void *backend)
{
    for (struct backend *b = vm->backends; b; b = b->next)
        if (b->at == backend || (b->kind == BACKEND_CHARDEV && chardev_is_port(b->at, backend)))
            return b->id;
    return NULL;
}

struct error *backend_add(struct vm *vm, enum backend_kind kind, const char *id, void *backend,
                          void (*free_fn)(void *backend))
{
    if (find(vm, kind, id))
        return error_new("there is a %s '%s' already; choose another id", kinds[kind].name, id);
    struct backend *b = xcalloc(1, sizeof(*b)), **end = (struct backend **)&vm->backends;
    *b = (struct backend){ .id = xstrdup(id), .at = backend, .free = free_fn, .kind = kind };
    while (*end)
        end = &(*end)->next;
    *end = b;
    return NULL;
}

void *backend_find(struct vm *vm, enum backend_kind kind, const char *id)
{
    struct backend *b = find(vm, kind, id);
    return b ? b->at : NULL;
}

bool backends_any(const struct vm *vm)
{
    return vm->backends != NULL;
}

void backends_each(struct vm *vm,
                   void (*visit)(void *opaque, enum backend_kind kind, const char *id,
                                 void *backend),
                   void *opaque)
{
    for (struct backend *b = vm->backends; b; b = b->next)
        visit(opaque, b->kind, b->id, b->at);
}

static void free_all(struct backend *b)
{
    if (!b)
        return;
    free_all(b->next); /* youngest first: a mux before what it shares */
    if (b->free)
        b->free(b->at);
    free(b->id);
    free(b);
}

void backends_free(struct vm *vm)
{
    struct backend *all = vm->backends;
    vm->backends = NULL;
    free_all(all);
}
