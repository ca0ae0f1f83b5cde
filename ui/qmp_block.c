/* Disks: what there is, statistics, making and removing nodes. */
#include "block/block.h"
#include "core/backends.h"
#include "core/device.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/storage/ide.h"
#include "ui/drives.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"
#include "ui/qom.h"

#include <stdlib.h>

/* ---- what there is --------------------------------------------------------------------------------- */
static json_t *image_info(const struct blk *b, const struct blk_info *info)
{
    return json_pack("{sssssIsIsb}", "filename", info->filename, "format", info->driver,
                     "virtual-size", (json_int_t)blk_size(b), "actual-size",
                     (json_int_t)info->allocated, "dirty-flag", 0);
}

static json_t *node_info(const char *id, const struct blk *b)
{
    static const char *const limits[] = { "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr" };
    struct blk_info info;
    blk_info(b, &info);
    json_t *o =
        json_pack("{sssssbsssbsissso}", "file", info.filename, "node-name", id, "ro",
                  blk_readonly(b), "drv", info.driver, "encrypted", 0, "backing_file_depth",
                  (int)info.snapshot, "detect_zeroes", "off", "image", image_info(b, &info));
    json_object_set_new(o, "cache",
                        json_pack("{sbsbsb}", "writeback", !info.writethrough, "direct",
                                  info.no_cache, "no-flush", info.no_flush));
    json_object_set_new(o, "write_threshold", json_integer(0));
    for (size_t i = 0; i < ARRAY_LEN(limits); i++)
        json_object_set_new(o, limits[i], json_integer(0));
    return o;
}

/* As libvirt tells front ends apart: virtio's by the path of the device behind the transport, others by their id. */
static json_t *front_end(const struct device *dev)
{
    char path[QOM_PATH];
    qom_frontend_path(dev, path);
    return json_string(dev->id && !qom_is_virtio(dev->cls) ? dev->id : path);
}

/* The name of a -drive; nodes of -blockdev have none of that kind. */
static const char *drive_name(const struct drive *d)
{
    struct blk_info info;
    if (!d->blk)
        return "";
    blk_info(d->blk, &info);
    return info.is_node ? "" : d->id;
}

static void add_block(void *opaque, const struct drive *d)
{
    if (!d->dev)
        return;
    bool open = false, locked = false;
    if (d->removable)
        ide_tray(d->dev, &open, &locked);
    json_t *o = json_pack("{sssssosbsb}", "device", drive_name(d), "type", "unknown", "qdev",
                          front_end(d->dev), "removable", d->removable, "locked", locked);
    if (d->removable)
        json_object_set_new(o, "tray_open", json_boolean(open));
    json_object_set_new(o, "io-status", json_string("ok"));
    if (d->blk)
        json_object_set_new(o, "inserted", node_info(d->id, d->blk));
    json_array_append_new(opaque, o);
}

static struct error *query_block(struct qmp_call *c)
{
    c->reply = json_array();
    drives_each(c->vm, add_block, c->reply);
    return NULL;
}

static void add_node(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    if (kind == BACKEND_DRIVE)
        json_array_append_new(opaque, node_info(id, backend));
}

static struct error *query_nodes(struct qmp_call *c)
{
    c->reply = json_array();
    backends_each(c->vm, add_node, c->reply);
    return NULL;
}

/* ---- statistics -------------------------------------------------------------------------------------- */
static json_t *stats_of(const struct blk *b)
{
    static const char *const zero[] = { "rd_merged",
                                        "wr_merged",
                                        "unmap_merged",
                                        "wr_highest_offset",
                                        "failed_wr_operations",
                                        "failed_unmap_operations",
                                        "failed_flush_operations",
                                        "invalid_rd_operations",
                                        "invalid_wr_operations",
                                        "invalid_flush_operations",
                                        "invalid_unmap_operations" };
    static const struct {
        const char *bytes, *operations, *time;
        enum blk_op op;
    } kinds[] = {
        { "rd_bytes", "rd_operations", "rd_total_time_ns", BLK_READ },
        { "wr_bytes", "wr_operations", "wr_total_time_ns", BLK_WRITE },
        { "unmap_bytes", "unmap_operations", "unmap_total_time_ns", BLK_DISCARD },
        { NULL, "flush_operations", "flush_total_time_ns", BLK_FLUSH },
    };
    struct blk_counts n = { 0 };
    json_t *o = json_object();
    if (b)
        blk_counts(b, &n);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        enum blk_op op = kinds[i].op;
        uint64_t zeroes = op == BLK_WRITE ? BLK_WRITE_ZEROES : N_BLK_OPS; /* they are writes, too */
        bool two = zeroes != N_BLK_OPS;
        if (kinds[i].bytes)
            json_object_set_new(
                o, kinds[i].bytes,
                json_integer((json_int_t)(n.bytes[op] + (two ? n.bytes[zeroes] : 0))));
        json_object_set_new(o, kinds[i].operations,
                            json_integer((json_int_t)(n.ops[op] + (two ? n.ops[zeroes] : 0))));
        json_object_set_new(o, kinds[i].time,
                            json_integer((json_int_t)(n.ns[op] + (two ? n.ns[zeroes] : 0))));
    }
    for (size_t i = 0; i < ARRAY_LEN(zero); i++)
        json_object_set_new(o, zero[i], json_integer(0));
    json_object_set_new(o, "failed_rd_operations", json_integer((json_int_t)n.errors));
    json_object_set_new(o, "account_invalid", json_false());
    json_object_set_new(o, "account_failed", json_true());
    json_object_set_new(o, "timed_stats", json_array());
    return o;
}

static void add_stats(void *opaque, const struct drive *d)
{
    if (!d->dev)
        return;
    json_t *o = json_pack("{sssoso}", "device", drive_name(d), "qdev", front_end(d->dev), "stats",
                          stats_of(d->blk));
    if (d->blk)
        json_object_set_new(o, "node-name", json_string(d->id));
    json_array_append_new(opaque, o);
}

static void add_node_stats(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    if (kind == BACKEND_DRIVE)
        json_array_append_new(opaque,
                              json_pack("{ssso}", "node-name", id, "stats", stats_of(backend)));
}

static struct error *query_stats(struct qmp_call *c)
{
    c->reply = json_array();
    if (qmp_bool(c, "query-nodes", false))
        backends_each(c->vm, add_node_stats, c->reply);
    else
        drives_each(c->vm, add_stats, c->reply);
    return NULL;
}

/* ---- changing ------------------------------------------------------------------------------------------ */
static struct error *resize(struct qmp_call *c)
{
    const char *device = qmp_str(c, "device"), *node = qmp_str(c, "node-name");
    int64_t size = qmp_int(c, "size", 0);
    if (!device == !node)
        return error_new("one of device and node-name is needed");
    if (size < 0)
        return error_new("Parameter 'size' expects a >0 size");
    return drive_resize(c->vm, node ? node : device, (uint64_t)size);
}

static struct error *add(struct qmp_call *c)
{
    char *text = qmp_args_text(c);
    struct error *err = blk_add_blockdev(c->vm, text);
    free(text);
    return err;
}

static struct error *del(struct qmp_call *c)
{
    return blk_remove(c->vm, qmp_str(c, "node-name"));
}

/* ---- discs ------------------------------------------------------------------------------------------------- */
static struct error *find_disc_drive(struct qmp_call *c, struct device **dev)
{
    const char *id = qmp_str(c, "id"), *device = qmp_str(c, "device");
    struct drive d;
    if (!id == !device)
        return error_new("Need exactly one of 'device' and 'id'");
    const char *name = id ? id : device;
    *dev = disc_drive_find(c->vm, name);
    if (*dev)
        return NULL;
    if (drive_find(c->vm, name, &d) && d.dev)
        return error_new("Device '%.80s' is not removable", name);
    return qmp_fail(c, "DeviceNotFound", "Device '%.80s' not found", name);
}

static struct error *open_tray(struct qmp_call *c)
{
    struct device *dev;
    struct error *err = find_disc_drive(c, &dev);
    return err ? err : disc_open_tray(dev, qmp_bool(c, "force", false));
}

static struct error *close_tray(struct qmp_call *c)
{
    struct device *dev;
    struct error *err = find_disc_drive(c, &dev);
    if (!err)
        disc_close_tray(dev);
    return err;
}

static struct error *remove_medium(struct qmp_call *c)
{
    struct device *dev;
    struct error *err = find_disc_drive(c, &dev);
    return err ? err : disc_remove(dev);
}

static struct error *insert_medium(struct qmp_call *c)
{
    struct device *dev;
    struct error *err = find_disc_drive(c, &dev);
    return err ? err : disc_insert(dev, qmp_str(c, "node-name"));
}

static struct error *eject(struct qmp_call *c)
{
    struct device *dev;
    struct error *err = find_disc_drive(c, &dev);
    if (!err)
        err = disc_open_tray(dev, qmp_bool(c, "force", false));
    return err ? err : disc_remove(dev);
}

static struct error *change_medium(struct qmp_call *c)
{
    struct device *dev;
    struct error *err = find_disc_drive(c, &dev);
    return err ? err : disc_change(dev, qmp_str(c, "filename"), qmp_bool(c, "force", false));
}

static struct error *no_jobs(struct qmp_call *c)
{
    c->reply = json_array();
    return NULL;
}

static const struct qmp_command commands[] = {
    { "query-block", "*flat:bool", "[BlockInfo]", "devices with disks, and what is in them",
      query_block },
    { "query-named-block-nodes", "*flat:bool", "[BlockDeviceInfo]", "every drive and node",
      query_nodes },
    { "query-block-jobs", "", "[BlockJobInfo]", "jobs under way: there are none", no_jobs },
    { "query-jobs", "", "[JobInfo]", "the same", no_jobs },
    { "query-blockstats", "*query-nodes:bool", "[BlockStats]", "what was read and written",
      query_stats },
    { "block_resize", "*device:str *node-name:str size:int", "", "make an image longer or shorter",
      resize },
    { "blockdev-add", "BlockdevOptions", "", "open an image, as -blockdev does", add },
    { "blockdev-open-tray", "*device:str *id:str *force:bool", "",
      "open a CD-ROM drive; locked, it only asks the guest", open_tray },
    { "blockdev-close-tray", "*device:str *id:str", "", "close it", close_tray },
    { "blockdev-remove-medium", "id:str", "", "take the disc off an open tray", remove_medium },
    { "blockdev-insert-medium", "id:str node-name:str", "", "lay one on it", insert_medium },
    { "eject", "*device:str *id:str *force:bool", "", "open the tray and take the disc off",
      eject },
    { "blockdev-change-medium",
      "*device:str *id:str filename:str *format:BlockdevDriver *force:bool", "",
      "another image in a CD-ROM drive, tray and all", change_medium },
    { "blockdev-del", "node-name:str", "", "close a node that nobody uses", del },
};

static const struct qmp_type types[] = {
    QMP_ENUM_TYPE("JobType", "commit stream mirror backup create amend snapshot-load "
                             "snapshot-save snapshot-delete"),
    QMP_ENUM_TYPE("JobStatus", "undefined created running paused ready standby waiting pending "
                               "aborting concluded null"),
    QMP_STRUCT_TYPE("JobInfo", "id:str type:JobType status:JobStatus current-progress:int "
                               "total-progress:int *error:str"),
    QMP_STRUCT_TYPE("BlockJobInfo",
                    "device:str type:JobType len:int offset:int busy:bool paused:bool speed:int "
                    "io-status:BlockDeviceIoStatus ready:bool status:JobStatus "
                    "auto-finalize:bool auto-dismiss:bool *error:str"),
    QMP_ENUM_TYPE("BlockDeviceIoStatus", "ok failed nospace"),
    QMP_STRUCT_TYPE("BlockInfo", "device:str type:str *qdev:str removable:bool locked:bool "
                                 "*tray_open:bool *io-status:BlockDeviceIoStatus "
                                 "*inserted:BlockDeviceInfo"),
    QMP_ENUM_TYPE("BlockdevDetectZeroesOptions", "off"),
    QMP_STRUCT_TYPE("BlockdevCacheInfo", "writeback:bool direct:bool no-flush:bool"),
    QMP_STRUCT_TYPE("ImageInfo",
                    "filename:str format:str *dirty-flag:bool *actual-size:int virtual-size:int"),
    QMP_STRUCT_TYPE("BlockDeviceInfo",
                    "file:str node-name:str ro:bool drv:str encrypted:bool backing_file_depth:int "
                    "detect_zeroes:BlockdevDetectZeroesOptions bps:int bps_rd:int bps_wr:int "
                    "iops:int iops_rd:int iops_wr:int image:ImageInfo cache:BlockdevCacheInfo "
                    "write_threshold:int"),
    QMP_STRUCT_TYPE("BlockDeviceStats",
                    "rd_bytes:int wr_bytes:int unmap_bytes:int rd_operations:int "
                    "wr_operations:int flush_operations:int unmap_operations:int "
                    "rd_total_time_ns:int wr_total_time_ns:int flush_total_time_ns:int "
                    "unmap_total_time_ns:int wr_highest_offset:int rd_merged:int wr_merged:int "
                    "unmap_merged:int failed_rd_operations:int failed_wr_operations:int "
                    "failed_flush_operations:int failed_unmap_operations:int "
                    "invalid_rd_operations:int invalid_wr_operations:int "
                    "invalid_flush_operations:int invalid_unmap_operations:int "
                    "account_invalid:bool account_failed:bool timed_stats:[any]"),
    QMP_STRUCT_TYPE("BlockStats", "*device:str *qdev:str *node-name:str stats:BlockDeviceStats"),
    QMP_ENUM_TYPE("BlockdevDriver", "file host_device raw"),
    QMP_ENUM_TYPE("BlockdevDiscardOptions", "ignore unmap"),
    QMP_ENUM_TYPE("BlockdevAioOptions", "threads"),
    QMP_ENUM_TYPE("OnOffAuto", "auto on off"),
    QMP_STRUCT_TYPE("BlockdevCacheOptions", "*direct:bool *no-flush:bool"),
    QMP_UNION_TYPE("BlockdevOptions",
                   "driver:BlockdevDriver *node-name:str *discard:BlockdevDiscardOptions "
                   "*cache:BlockdevCacheOptions *read-only:bool *auto-read-only:bool "
                   "*detect-zeroes:BlockdevDetectZeroesOptions",
                   "driver",
                   "file:BlockdevOptionsFile host_device:BlockdevOptionsFile "
                   "raw:BlockdevOptionsRaw"),
    QMP_STRUCT_TYPE("BlockdevOptionsFile",
                    "filename:str *locking:OnOffAuto *aio:BlockdevAioOptions"),
    QMP_STRUCT_TYPE("BlockdevOptionsRaw", "file:BlockdevRef"),
    QMP_ALTERNATE_TYPE("BlockdevRef", "BlockdevOptions str"),
};

const struct qmp_table qmp_block_table = { "Disks", TABLE(commands), TABLE(types) };
