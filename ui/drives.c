#include "ui/drives.h"

#include "block/block.h"
#include "core/backends.h"
#include "core/device.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/storage/ide.h"

#include <stdio.h>
#include <stdlib.h>

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
    return ide_is_cd(dev);
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

/* ---- discs --------------------------------------------------------------------------------------------- */
struct device *disc_drive_find(struct vm *vm, const char *name)
{
    struct drive d;
    return drive_find(vm, name, &d) && d.dev && ide_is_cd(d.dev) ? d.dev : NULL;
}

static const char *name_of(const struct device *dev)
{
    return dev->id ? dev->id : dev->path;
}

struct error *disc_open_tray(struct device *dev, bool force)
{
    if (ide_move_tray(dev, true, force))
        return NULL;
    return error_new("Device '%s' is locked and force was not specified, wait for tray to open "
                     "and try again",
                     name_of(dev));
}

void disc_close_tray(struct device *dev)
{
    ide_move_tray(dev, false, false);
}

static struct error *need_open_tray(struct device *dev)
{
    bool open, locked;
    ide_tray(dev, &open, &locked);
    return open ? NULL : error_new("Tray of device '%s' is not open", name_of(dev));
}

static void set_disc(struct device *dev, struct blk *disc)
{
    bool ran = dev->vm->state == RUN_RUNNING;
    vm_pause(dev->vm);
    ide_set_disc(dev, disc);
    if (ran)
        vm_start(dev->vm);
}

struct error *disc_remove(struct device *dev)
{
    struct blk *before = *slot_of(dev);
    struct error *err = need_open_tray(dev);
    if (err || !before)
        return err;
    set_disc(dev, NULL);
    backend_give_back(dev->vm, before);
    return NULL;
}

struct error *disc_insert(struct device *dev, const char *node)
{
    struct blk *disc;
    struct error *err = need_open_tray(dev);
    if (!err && *slot_of(dev))
        err = error_new("There already is a medium in device '%s'", name_of(dev));
    if (!err)
        err = backend_take_drive(dev->vm, node, &disc);
    if (!err)
        set_disc(dev, disc);
    return err;
}

static bool is_node(const struct blk *b)
{
    struct blk_info info;
    blk_info(b, &info);
    return info.is_node;
}

struct error *disc_change(struct device *dev, const char *filename, bool force)
{
    struct drive_info info;
    struct blk *before = *slot_of(dev);
    char *quoted = xmalloc(2 * strlen(filename) + 1), *to = quoted;
    for (const char *c = filename; *c; c++) { /* commas doubled, as -drive wants them */
        if (*c == ',')
            *to++ = ',';
        *to++ = *c;
    }
    *to = 0;
    char *text = xasprintf("if=none,media=cdrom,format=raw,file=%s", quoted);
    struct error *err = blk_add_drive(dev->vm, text, &info);
    free(text);
    free(quoted);
    if (err)
        return err;
    err = disc_open_tray(dev, force);
    if (!err)
        err = disc_remove(dev);
    if (!err)
        err = disc_insert(dev, info.id);
    if (err)
        error_free(blk_remove(dev->vm, info.id));
    else if (before && !is_node(before)) /* of -drive or from here: it was this drive's alone */
        error_free(blk_remove(dev->vm, backend_id(dev->vm, before)));
    if (!err)
        disc_close_tray(dev);
    return err;
}
