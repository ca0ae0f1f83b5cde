#include "core/object.h"

#include "core/backends.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static void object_free(void *opaque)
{
    struct object *o = opaque;
    if (o->loop) {
        loop_stop_thread(o->loop);
        loop_free(o->loop);
    }
    if (o->fd >= 0)
        close(o->fd);
    free(o->id);
    free(o);
}

bool object_get_number(const struct object *o, const char *name, uint64_t *value)
{
    bool known = o->kind == OBJECT_IOTHREAD && !strcmp(name, "poll-max-ns");
    if (known)
        *value = loop_poll_ns(o->loop);
    return known;
}

struct error *object_set_number(struct object *o, const char *name, uint64_t value)
{
    if (o->kind != OBJECT_IOTHREAD || strcmp(name, "poll-max-ns"))
        return error_new("Property '%s.%s' cannot be set", o->type, name);
    if (value > LOOP_MAX_POLL_NS)
        return error_new("poll-max-ns=%llu is over %llu", (unsigned long long)value,
                         (unsigned long long)LOOP_MAX_POLL_NS);
    loop_set_poll_ns(o->loop, value);
    return NULL;
}

static struct error *make_iothread(struct object *o, struct options *args)
{
    const char *poll = options_get(args, "poll-max-ns");
    uint64_t ns = 0;
    if (poll && !parse_uint(poll, LOOP_MAX_POLL_NS, &ns))
        return error_new("poll-max-ns='%s' is not a number up to %llu", poll,
                         (unsigned long long)LOOP_MAX_POLL_NS);
    struct error *err =
        loop_new(&o->loop); /* its thread starts when all is well, see object_make */
    if (!err)
        loop_set_poll_ns(o->loop, ns);
    return err;
}

static struct error *make_rng_builtin(struct object *o, struct options *args)
{
    return NULL;
}

static struct error *make_rng_random(struct object *o, struct options *args)
{
    const char *name = options_get(args, "filename");
    if (!name)
        name = "/dev/urandom";
    o->fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return o->fd < 0 ? error_errno("cannot open '%s'", name) : NULL;
}

/* A memfd is there to be shared; other memory is if that is asked for. */
static struct error *make_memory(struct object *o, struct options *args)
{
    const char *size = options_get(args, "size");
    bool share = !strcmp(o->type, "memory-backend-memfd"), prealloc = false, dump = true,
         merge = false;
    if (!size)
        return error_new("size= is missing");
    if (!parse_size(size, 1, &o->size) || !o->size || o->size & 4095)
        return error_new("size='%s' is not a multiple of 4K", size);
    struct error *err = options_get_bool(args, "prealloc", &prealloc);
    if (!err)
        err = options_get_bool(args, "share", &share);
    if (!err)
        err = options_get_bool(args, "dump", &dump);
    if (!err)
        err = options_get_bool(args, "merge", &merge);
    o->ram_flags = (share ? RAM_SHARED : 0) | (prealloc ? RAM_PREALLOC : 0) |
                   (merge ? RAM_MERGE : 0) | (dump ? 0 : RAM_NO_DUMP);
    return err;
}

/* Nothing of what is supported now asks for a secret; it is checked and kept for what will. */
static struct error *make_secret(struct object *o, struct options *args)
{
    const char *data = options_get(args, "data"), *file = options_get(args, "file");
    const char *format = options_get(args, "format");
    if (!data == !file)
        return error_new("one of data= and file= is needed");
    if (format && strcmp(format, "raw") && strcmp(format, "base64"))
        return error_new("format='%s' is neither raw nor base64", format);
    if (file && access(file, R_OK))
        return error_errno("cannot read '%s'", file);
    return NULL;
}

static const struct object_type {
    const char *name, *help;
    enum object_kind kind;
    const char *known[8]; /* names it accepts beside id */
    struct error *(*make)(struct object *o, struct options *args);
} types[] = {
    { "iothread",
      "a thread that serves queues of virtio devices; poll-max-ns=0 before it sleeps",
      OBJECT_IOTHREAD,
      { "id", "poll-max-ns" },
      make_iothread },
    { "rng-builtin",
      "random numbers of the host's kernel",
      OBJECT_RNG,
      { "id" },
      make_rng_builtin },
    { "rng-random",
      "random numbers from a file; filename=/dev/urandom",
      OBJECT_RNG,
      { "id", "filename" },
      make_rng_random },
    { "memory-backend-ram",
      "guest memory for -M memory-backend=ID; size=, prealloc=, share=, merge=, dump=on|off",
      OBJECT_MEMORY,
      { "id", "size", "prealloc", "share", "dump", "merge" },
      make_memory },
    { "memory-backend-memfd",
      "as memory-backend-ram, with share=on",
      OBJECT_MEMORY,
      { "id", "size", "prealloc", "share", "dump", "merge" },
      make_memory },
    { "secret",
      "a password or key; data=TEXT or file=FILE, format=raw|base64",
      OBJECT_SECRET,
      { "id", "data", "file", "format" },
      make_secret },
};

static const struct object_type *type_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (!strcmp(types[i].name, name))
            return &types[i];
    return NULL;
}

static struct error *type_unknown(const char *name)
{
    const char *names[ARRAY_LEN(types)];
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        names[i] = types[i].name;
    if (!strcmp(name, "throttle-group"))
        return error_new("object type '%s' is not supported: there is no I/O throttling yet", name);
    char *hint = nearest_hint(name, names, ARRAY_LEN(types));
    struct error *err =
        error_new("unknown object type '%s'%s; -object help lists all", name, *hint ? hint : "");
    free(hint);
    return err;
}

static struct error *object_make(struct vm *vm, const struct object_type *type,
                                 struct options *args)
{
    const char *id = options_get(args, "id");
    size_t n_known = 0;
    if (!id || !*id)
        return error_new("id= is missing");
    while (n_known < ARRAY_LEN(type->known) && type->known[n_known])
        n_known++;
    struct object *o = xcalloc(1, sizeof(*o));
    *o = (struct object){ .type = type->name, .kind = type->kind, .id = xstrdup(id), .fd = -1 };
    struct error *err = type->make(o, args);
    if (!err)
        err = options_refuse_rest(args, type->known, n_known);
    if (!err && o->loop) {
        mem_use_loop(vm, o->loop);
        err = loop_start_thread(o->loop, o->id);
    }
    if (!err)
        err = backend_add(vm, BACKEND_OBJECT, o->id, o, object_free);
    if (err) {
        object_free(o);
        return err;
    }
    return o->loop ? backend_add(vm, BACKEND_IOTHREAD, o->id, o->loop, NULL) : NULL;
}

struct error *object_create(struct vm *vm, const char *text)
{
    struct options args;
    struct error *err = options_split(text, "qom-type", &args);
    if (err)
        return err;
    const char *name = options_get(&args, "qom-type");
    const struct object_type *type = name ? type_find(name) : NULL;
    if (type)
        err = error_in(object_make(vm, type, &args), "%s", name);
    else
        err = name ? type_unknown(name) : error_new("the type is missing; -object help lists all");
    options_free(&args);
    return err;
}

struct error *object_remove(struct vm *vm, const char *id)
{
    const struct object *o = backend_find(vm, BACKEND_OBJECT, id);
    if (!o)
        return error_new("object '%s' not found", id);
    if (backend_in_use(vm, BACKEND_OBJECT, id) || backend_in_use(vm, BACKEND_IOTHREAD, id))
        return error_new("object '%s' is in use, can not be deleted", id);
    struct error *err = o->loop ? backend_remove(vm, BACKEND_IOTHREAD, id) : NULL;
    return err ? err : backend_remove(vm, BACKEND_OBJECT, id);
}

const char *object_type_name(size_t n)
{
    return n < ARRAY_LEN(types) ? types[n].name : NULL;
}

const char *object_type_property(size_t n, size_t i)
{
    return i < ARRAY_LEN(types[n].known) ? types[n].known[i] : NULL;
}

void object_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        char *line = xasprintf("%-22s %s", types[i].name, types[i].help);
        print(opaque, line);
        free(line);
    }
}

size_t object_random(struct object *o, void *buf, size_t n)
{
    ssize_t got = o->fd < 0 ? getrandom(buf, MIN(n, 256), 0) : read(o->fd, buf, n);
    return got < 0 ? 0 : (size_t)got;
}
