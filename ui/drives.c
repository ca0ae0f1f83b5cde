#include "ui/drives.h"

#include "block/block.h"
#include "core/backends.h"
#include "core/device.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"

/* The drive property of a device; NULL: it takes none. */
static struct blk **slot_of(const struct device *dev)
{
    for (size_t i = 0; i < dev->cls->props.n; i++)
        if (dev->cls->props.at[i].kind == PROP_DRIVE)
            return (struct blk **)((char *)dev + dev->cls->props.at[i].offset);
    return NULL;
}

static bool is_removable(const struct device *dev)
{
    return !strcmp(dev->cls->name, "ide-cd") || !strcmp(dev->cls->name, "scsi-cd");
}

struct visitor {
    struct vm *vm;
    void (*visit)(void *opaque, const struct drive *d);
    void *opaque;
};

static void visit_unused(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    const struct visitor *v = opaque;
    if (kind != BACKEND_DRIVE)
        return;
    for (struct device *dev = v->vm->devices; dev; dev = dev->next) {
        struct blk **slot = slot_of(dev);
        if (slot && *slot == backend)
            return;
    }
    v->visit(v->opaque, &(struct drive){ .id = id, .blk = backend });
}

void drives_each(struct vm *vm, void (*visit)(void *opaque, const struct drive *d), void *opaque)
{
    struct visitor v = { vm, visit, opaque };
    for (struct device *dev = vm->devices; dev; dev = dev->next) {
        struct blk **slot = slot_of(dev);
        if (!slot || (!*slot && !is_removable(dev)))
            continue;
        visit(opaque, &(struct drive){ *slot ? backend_id(vm, *slot) : NULL, *slot, dev,
                                       is_removable(dev) });
    }
    backends_each(vm, visit_unused, &v);
}

struct search {
    const char *name;
    struct drive *out;
    bool found;
};

static void compare(void *opaque, const struct drive *d)
{
    struct search *s = opaque;
    bool is = (d->id && !strcmp(d->id, s->name)) ||
              (d->dev && d->dev->id && !strcmp(d->dev->id, s->name)) ||
              (d->dev && !strcmp(d->dev->path, s->name));
    if (!is || s->found)
        return;
    *s->out = *d;
    s->found = true;
}

bool drive_find(struct vm *vm, const char *name, struct drive *out)
{
    struct search s = { name, out, false };
    drives_each(vm, compare, &s);
    return s.found;
}

struct error *drive_resize(struct vm *vm, const char *name, uint64_t size)
{
    struct drive d;
    if (!drive_find(vm, name, &d) || !d.blk)
        return error_new("Cannot find device='%s' nor node-name='%s'", name, name);
    bool ran = vm->state == RUN_RUNNING;
    vm_pause(vm);
    struct error *err = blk_resize(d.blk, size);
    if (ran)
        vm_start(vm);
    return err;
}
