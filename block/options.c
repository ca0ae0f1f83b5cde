/* -drive and -blockdev. One table says which key means what; the two options differ in which keys
 * they accept and in their defaults. */
#include "core/options.h"
#include "block/blk.h"
#include "block/block.h"
#include "core/backends.h"
#include "core/error.h"
#include "core/util.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const drive_keys[] = {
    "file",          "if",           "id",           "format",         "readonly",
    "read-only",     "cache",        "snapshot",     "serial",         "index",
    "unit",          "media",        "discard",      "locking",        "aio",
    "werror",        "rerror",       "cache.direct", "cache.no-flush", "cache.writeback",
    "detect-zeroes", "file.locking", "bus",          "file.filename",  "file.driver",
    "driver",        "node-name",    "copy-on-read",
};
static const char *const blockdev_keys[] = {
    "driver",         "node-name",     "filename",       "read-only",
    "auto-read-only", "cache.direct",  "cache.no-flush", "discard",
    "locking",        "aio",           "detect-zeroes",  "file",
    "file.driver",    "file.filename", "file.locking",   "file.aio",
};

/* Keys whose value is one of a few words; the first words are the ones that change nothing. */
static const struct choice {
    const char *name;
    const char *const *words;
} fixed_choices[] = {
    { "werror", (const char *const[]){ "report", NULL } },
    { "rerror", (const char *const[]){ "report", NULL } },
    { "aio", (const char *const[]){ "threads", NULL } },
    { "file.aio", (const char *const[]){ "threads", NULL } },
    { "media", (const char *const[]){ "disk", "cdrom", NULL } },
    { "detect-zeroes", (const char *const[]){ "off", NULL } },
    { "copy-on-read", (const char *const[]){ "off", NULL } },
    { "file.driver", (const char *const[]){ "file", "host_device", NULL } },
};

/* What QEMU knows of a disk and we do not: keys that begin so, and why they are refused. */
static const char *const lacking[][2] = {
    { "throttling.", "there is no I/O throttling yet" },
    { "throttle-group", "there is no I/O throttling yet" },
    { "bps", "there is no I/O throttling yet" },
    { "iops", "there is no I/O throttling yet" },
    { "group", "there is no I/O throttling yet" },
    { "copy-on-read", "images have no backing files" },
    { "backing", "images have no backing files" },
    { "encrypt", "images are not encrypted" },
    { "key-secret", "images are not encrypted" },
    { "l2-cache", "images are raw" },
    { "refcount-cache", "images are raw" },
    { "lazy-refcounts", "images are raw" },
    { "pr-manager", "SCSI reservations are not passed on" },
};

static struct error *refuse_lacking(const struct options *o)
{
    for (size_t i = 0; i < o->n; i++)
        for (size_t k = 0; !o->used[i] && k < ARRAY_LEN(lacking); k++)
            if (!strncmp(o->at[i].name, lacking[k][0], strlen(lacking[k][0])))
                return error_new("%s is not supported: %s", o->at[i].name, lacking[k][1]);
    return NULL;
}

/* What nobody has asked for is refused. */
static struct error *refuse_rest(const struct options *o, const char *const *keys, size_t n)
{
    struct error *err = refuse_lacking(o);
    return err ? err : options_refuse_rest(o, keys, n);
}

/* The value of `name` as its index in words; `def` if it is not there. */
static struct error *get_choice(struct options *o, const char *name, const char *const *words,
                                unsigned def, unsigned *index)
{
    *index = def;
    const char *value = options_get(o, name);
    if (!value)
        return NULL;
    char list[120] = "";
    for (unsigned i = 0; words[i]; i++) {
        if (!strcmp(value, words[i])) {
            *index = i;
            return NULL;
        }
        size_t n = strlen(list);
        snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", words[i]);
    }
    return error_new("%s='%s' is not supported (accepted: %s)", name, value, list);
}

static struct error *check_fixed_choices(struct options *o)
{
    struct error *err = NULL;
    unsigned ignored;
    for (size_t i = 0; i < ARRAY_LEN(fixed_choices) && !err; i++)
        err = get_choice(o, fixed_choices[i].name, fixed_choices[i].words, 0, &ignored);
    return err;
}

/* cache=MODE is a name for three switches. */
static struct error *get_cache(struct options *o, struct blk_options *b)
{
    static const char *const modes[] = { "writeback",  "none",   "writethrough",
                                         "directsync", "unsafe", NULL };
    static const struct {
        bool direct, writethrough, no_flush;
    } means[] = { { 0, 0, 0 }, { 1, 0, 0 }, { 0, 1, 0 }, { 1, 1, 0 }, { 0, 0, 1 } };
    unsigned mode;
    struct error *err = get_choice(o, "cache", modes, 0, &mode);
    if (err)
        return err;
    b->no_cache = means[mode].direct;
    b->writethrough = means[mode].writethrough;
    b->no_flush = means[mode].no_flush;
    bool writeback = !b->writethrough;
    err = options_get_bool(o, "cache.direct", &b->no_cache);
    if (!err)
        err = options_get_bool(o, "cache.no-flush", &b->no_flush);
    if (!err)
        err = options_get_bool(o, "cache.writeback", &writeback);
    b->writethrough = !writeback;
    return err;
}

static struct error *get_discard(struct options *o, struct blk_options *b)
{
    static const char *const words[] = { "ignore", "off", "unmap", "on", NULL };
    unsigned choice;
    struct error *err = get_choice(o, "discard", words, 0, &choice);
    b->discard = choice >= 2;
    return err;
}

static struct error *get_locking(struct options *o, struct blk_options *b)
{
    static const char *const words[] = { "auto", "on", "off", NULL };
    unsigned a, f;
    struct error *err = get_choice(o, "locking", words, 0, &a);
    if (!err)
        err = get_choice(o, "file.locking", words, 0, &f);
    b->no_lock = !err && (a == 2 || f == 2);
    return err;
}

/* The keys -drive and -blockdev have in common. */
static struct error *get_common(struct options *o, struct blk_options *b)
{
    struct error *err = check_fixed_choices(o);
    if (!err)
        err = get_cache(o, b);
    if (!err)
        err = get_discard(o, b);
    if (!err)
        err = get_locking(o, b);
    if (!err)
        err = options_get_bool(o, "read-only", &b->readonly);
    return err;
}

static void close_blk(void *b)
{
    blk_close(b);
}

static struct error *open_and_add(struct vm *vm, const struct blk_options *b, const char *id)
{
    struct blk *blk;
    if (backend_find(vm, BACKEND_DRIVE, id))
        return error_new("the name '%s' is in use", id);
    struct error *err = blk_open(vm, b, &blk);
    if (err)
        return err;
    blk_set_name(blk, id);
    err = backend_add(vm, BACKEND_DRIVE, id, blk, close_blk);
    if (err)
        blk_close(blk);
    return err;
}

/* ---- -drive ------------------------------------------------------------------------------------- */
static struct error *get_unit(struct options *o, struct drive_info *info)
{
    static const char *const names[] = { "bus", "unit", "index" };
    info->unit = info->bus = ~0u;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *text = options_get(o, names[i]);
        uint64_t unit;
        if (!text)
            continue;
        if (!parse_uint(text, 255, &unit))
            return error_new("%s='%s' is not a number up to 255", names[i], text);
        *(i ? &info->unit : &info->bus) = (unsigned)unit;
    }
    return NULL;
}

static struct error *get_drive_id(struct vm *vm, struct options *o, struct drive_info *info)
{
    const char *id = options_get(o, "id"), *node = options_get(o, "node-name");
    id = id ? id : node;
    if (id && (!*id || strlen(id) >= sizeof(info->id)))
        return error_new("id='%s' is not a name of up to %zu characters", id, sizeof(info->id) - 1);
    snprintf(info->id, sizeof(info->id), "%s", id ? id : "");
    for (unsigned i = 0; !id && (!i || backend_find(vm, BACKEND_DRIVE, info->id)); i++)
        snprintf(info->id, sizeof(info->id), "drive%u", i);
    return NULL;
}

static struct error *parse_drive(struct vm *vm, struct options *o, struct blk_options *b,
                                 struct drive_info *info)
{
    static const char *const interfaces[] = { "none", "virtio", "pflash", "ide", NULL };
    unsigned iface;
    struct error *err = get_choice(o, "if", interfaces, DRIVE_IF_VIRTIO, &iface);
    if (!err)
        err = get_common(o, b);
    if (!err)
        err = options_get_bool(o, "readonly", &b->readonly);
    if (!err)
        err = options_get_bool(o, "snapshot", &b->snapshot);
    if (!err)
        err = get_unit(o, info);
    if (!err)
        err = get_drive_id(vm, o, info);
    if (err)
        return err;
    info->iface = iface;
    const char *media = options_get(o, "media");
    info->is_cd = media && !strcmp(media, "cdrom");
    b->readonly |= info->is_cd;
    const char *file = options_get(o, "file"), *filename = options_get(o, "file.filename");
    const char *format = options_get(o, "format"), *driver = options_get(o, "driver");
    b->file = file ? file : filename;
    b->format = format ? format : driver;
    b->serial = options_get(o, "serial");
    return refuse_rest(o, drive_keys, ARRAY_LEN(drive_keys));
}

struct error *blk_add_drive(struct vm *vm, const char *text, struct drive_info *info)
{
    struct options o;
    struct blk_options b = { 0 };
    struct error *err = options_split(text, NULL, &o);
    if (err)
        return err;
    err = parse_drive(vm, &o, &b, info);
    if (!err)
        err = open_and_add(vm, &b, info->id);
    options_free(&o);
    return err;
}

/* ---- -blockdev ---------------------------------------------------------------------------------- */
/* driver=raw,file=NODE: the raw layer takes over what the node has open. */
static struct error *add_raw_over(struct vm *vm, const char *node, const char *below,
                                  const struct blk_options *b)
{
    struct blk *from;
    if (backend_find(vm, BACKEND_DRIVE, node))
        return error_new("the name '%s' is in use", node);
    struct error *err = error_in(backend_take_drive(vm, below, &from), "file='%s'", below);
    if (err)
        return err;
    struct blk *blk = blk_take_over(from);
    blk_restrict(blk, b->readonly, b->discard);
    blk_set_name(blk, node);
    err = backend_add(vm, BACKEND_DRIVE, node, blk, close_blk);
    if (err)
        blk_close(blk);
    return err;
}

static struct error *add_node(struct vm *vm, struct options *o)
{
    static const char *const drivers[] = { "file", "host_device", "raw", NULL };
    struct blk_options b = { 0 };
    unsigned driver;
    bool auto_readonly = false;
    const char *node = options_get(o, "node-name");
    if (!node || !*node)
        return error_new("node-name= is missing");
    if (!options_get(o, "driver"))
        return error_new("driver= is missing (accepted: file, host_device, raw)");
    if (!strcmp(options_get(o, "driver"), "throttle"))
        return error_new("driver='throttle' is not supported: there is no I/O throttling yet");
    struct error *err = get_choice(o, "driver", drivers, 0, &driver);
    if (!err)
        err = get_common(o, &b);
    if (!err)
        err = options_get_bool(o, "auto-read-only", &auto_readonly);
    if (err)
        return err;
    bool raw = driver == 2;
    const char *below = raw ? options_get(o, "file") : NULL;
    const char *below_driver = options_get(o, "file.driver");
    b.file = options_get(o, raw ? "file.filename" : "filename");
    b.format = raw && below_driver && !strcmp(below_driver, "host_device") ? "host_device" : "raw";
    b.format = driver == 1 ? "host_device" : b.format;
    b.node_driver = drivers[driver];
    err = refuse_rest(o, blockdev_keys, ARRAY_LEN(blockdev_keys));
    if (err)
        return err;
    if (below)
        return add_raw_over(vm, node, below, &b);
    if (!b.file)
        return error_new(raw ? "file= is missing" : "filename= is missing");
    if (auto_readonly && !b.readonly && access(b.file, W_OK) && (errno == EACCES || errno == EROFS))
        b.readonly = true;
    return open_and_add(vm, &b, node);
}

struct error *blk_add_blockdev(struct vm *vm, const char *text)
{
    struct options o;
    struct error *err = options_split(text, NULL, &o);
    if (err)
        return err;
    err = add_node(vm, &o);
    options_free(&o);
    return err;
}

struct error *blk_remove(struct vm *vm, const char *name)
{
    if (!backend_find(vm, BACKEND_DRIVE, name))
        return error_new("Failed to find node with node-name='%s'", name);
    if (backend_in_use(vm, BACKEND_DRIVE, name))
        return error_new("Node %s is in use", name);
    return backend_remove(vm, BACKEND_DRIVE, name);
}
