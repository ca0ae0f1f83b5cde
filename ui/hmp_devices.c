/* Disks, networks, back ends, keys, for a person. */
#include "block/block.h"
#include "core/backends.h"
#include "core/chardev.h"
#include "core/device.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/object.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/input/input.h"
#include "hw/net/virtio_net.h"
#include "hw/virtio/balloon.h"
#include "net/net.h"
#include "ui/cards.h"
#include "ui/drives.h"
#include "ui/hmp.h"
#include "ui/hmp_tables.h"
#include "ui/keys.h"
#include "ui/plug.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- showing ----------------------------------------------------------------------------------------- */
static void show_drive(void *opaque, const struct drive *d)
{
    struct hmp_call *c = opaque;
    struct blk_info info;
    if (!d->blk) {
        hmp_say(c, "%s: no medium", d->dev->id ? d->dev->id : d->dev->path);
        return;
    }
    blk_info(d->blk, &info);
    hmp_say(c, "%s: %s (%s%s%s)", d->id, info.filename, info.driver,
            blk_readonly(d->blk) ? ", read-only" : "", info.snapshot ? ", snapshot" : "");
    hmp_say(c, "    %" PRIu64 " bytes, %" PRIu64 " KiB on the host", blk_size(d->blk),
            info.allocated / KIB);
    if (d->dev)
        hmp_say(c, "    in %s, at %s%s", d->dev->cls->name, d->dev->path,
                d->removable ? ", removable" : "");
    hmp_say(c, "    cache: %s%s%s", info.writethrough ? "writethrough" : "writeback",
            info.no_cache ? ", direct" : "", info.no_flush ? ", flushes are ignored" : "");
}

static void info_block(struct hmp_call *c)
{
    drives_each(c->vm, show_drive, c);
}

static void show_stats(void *opaque, const struct drive *d)
{
    struct hmp_call *c = opaque;
    struct blk_counts n;
    if (!d->blk)
        return;
    blk_counts(d->blk, &n);
    hmp_say(c,
            "%s: rd_bytes=%" PRIu64 " wr_bytes=%" PRIu64 " rd_operations=%" PRIu64
            " wr_operations=%" PRIu64 " flush_operations=%" PRIu64 " rd_total_time_ns=%" PRIu64
            " wr_total_time_ns=%" PRIu64 " errors=%" PRIu64,
            d->id, n.bytes[BLK_READ], n.bytes[BLK_WRITE], n.ops[BLK_READ], n.ops[BLK_WRITE],
            n.ops[BLK_FLUSH], n.ns[BLK_READ], n.ns[BLK_WRITE], n.errors);
}

static void info_blockstats(struct hmp_call *c)
{
    drives_each(c->vm, show_stats, c);
}

static void show_netdev(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    struct hmp_call *c = opaque;
    struct netdev_counts n;
    if (kind != BACKEND_NETDEV)
        return;
    struct device *card = card_find(c->vm, id);
    netdev_counts(backend, &n);
    hmp_say(c, "%s: %s; %s%s%s", id, netdev_describe(backend), card ? card->cls->name : "no card",
            card ? " at " : "", card ? card->path : "");
    hmp_say(c,
            "    from the guest %" PRIu64 " frames, %" PRIu64 " bytes; to it %" PRIu64 ", %" PRIu64
            "; dropped %" PRIu64 "%s",
            n.sent, n.sent_bytes, n.received, n.received_bytes, n.dropped,
            card && !virtio_net_link(card) ? "; the cable is out" : "");
}

static void info_network(struct hmp_call *c)
{
    backends_each(c->vm, show_netdev, c);
}

static void show_chardev(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    struct hmp_call *c = opaque;
    struct chardev_counts n;
    if (kind != BACKEND_CHARDEV)
        return;
    const char *where = chardev_where(backend);
    chardev_counts(backend, &n);
    hmp_say(c, "%s: %s%s%s; in %" PRIu64 ", out %" PRIu64 ", dropped %" PRIu64 " bytes", id,
            *where ? where : chardev_kind(backend),
            chardev_is_connected(backend) ? "" : " (nobody there)",
            chardev_is_mux(backend) ? " mux" : "", n.in, n.out, n.dropped);
}

static void info_chardev(struct hmp_call *c)
{
    backends_each(c->vm, show_chardev, c);
}

static void show_thread(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    if (kind == BACKEND_IOTHREAD)
        hmp_say(opaque, "%s: thread_id=%d, poll-max-ns=%" PRIu64, id, loop_tid(backend),
                loop_poll_ns(backend));
}

static void info_iothreads(struct hmp_call *c)
{
    backends_each(c->vm, show_thread, c);
}

static void show_object(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    if (kind == BACKEND_OBJECT)
        hmp_say(opaque, "%s: %s", id, ((struct object *)backend)->type);
}

static void info_objects(struct hmp_call *c)
{
    backends_each(c->vm, show_object, c);
}

static void show_memory(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    const struct object *o = backend;
    if (kind != BACKEND_OBJECT || o->kind != OBJECT_MEMORY)
        return;
    hmp_say(opaque, "memory backend: %s", id);
    hmp_say(opaque, "  size: %" PRIu64, o->size);
    hmp_say(opaque, "  prealloc: %s", o->ram_flags & RAM_PREALLOC ? "true" : "false");
    hmp_say(opaque, "  share: %s", o->ram_flags & RAM_SHARED ? "true" : "false");
}

static void info_memdev(struct hmp_call *c)
{
    backends_each(c->vm, show_memory, c);
}

static void info_balloon(struct hmp_call *c)
{
    struct balloon_info info;
    if (!hmp_ok(c, balloon_query(c->vm, &info)))
        return;
    hmp_say(c, "balloon: actual=%" PRIu64 " MiB, asked for %" PRIu64 " MiB", info.actual / MIB,
            info.target / MIB);
    for (size_t i = 0; i < BALLOON_N_STATS; i++)
        if (info.stats[i] != UINT64_MAX)
            hmp_say(c, "  %s=%" PRIu64, balloon_stat_names[i], info.stats[i]);
}

/* ---- back ends --------------------------------------------------------------------------------------------- */
static void object_add(struct hmp_call *c)
{
    hmp_ok(c, object_create(c->vm, c->args));
}

static void object_del(struct hmp_call *c)
{
    char id[100];
    if (hmp_word(c, "the id", id, sizeof(id)))
        hmp_ok(c, object_remove(c->vm, id));
}

static void do_netdev_add(struct hmp_call *c)
{
    hmp_ok(c, netdev_add(c->vm, c->args));
}

static void do_netdev_del(struct hmp_call *c)
{
    char id[100];
    if (hmp_word(c, "the id", id, sizeof(id)))
        hmp_ok(c, netdev_remove(c->vm, id));
}

static void do_chardev_add(struct hmp_call *c)
{
    hmp_ok(c, chardev_add_option(c->vm, c->args));
}

/* chardev-change ID TYPE,... */
static void do_chardev_change(struct hmp_call *c)
{
    char id[100];
    if (hmp_word(c, "the id", id, sizeof(id)))
        hmp_ok(c, chardev_change(c->vm, id, c->args + strspn(c->args, " ")));
}

static void do_chardev_remove(struct hmp_call *c)
{
    char id[100];
    if (hmp_word(c, "the id", id, sizeof(id)))
        hmp_ok(c, backend_remove(c->vm, BACKEND_CHARDEV, id));
}

static void do_break(struct hmp_call *c)
{
    char id[100];
    if (!hmp_word(c, "the id", id, sizeof(id)))
        return;
    struct chardev *chardev = backend_find(c->vm, BACKEND_CHARDEV, id);
    if (chardev)
        chardev_break(chardev);
    else
        hmp_say(c, "there is no character back end '%s'", id);
}

static struct chardev *ring(struct hmp_call *c)
{
    char id[100];
    if (!hmp_word(c, "the id", id, sizeof(id)))
        return NULL;
    struct chardev *chardev = backend_find(c->vm, BACKEND_CHARDEV, id);
    if (chardev && chardev_is_ringbuf(chardev))
        return chardev;
    hmp_say(c, "there is no ring buffer '%s'", id);
    return NULL;
}

/* Lines; what a terminal would obey is shown as dots. */
static void do_ring_read(struct hmp_call *c)
{
    uint8_t bytes[4096];
    uint64_t size;
    struct chardev *chardev = ring(c);
    if (!chardev || !hmp_number(c, "the number of bytes", &size))
        return;
    size_t n = chardev_ringbuf_read(chardev, bytes, MIN(size, sizeof(bytes) - 1));
    char *text = (char *)bytes, *line;
    bytes[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != '\n' && (bytes[i] < ' ' || bytes[i] == 0x7f))
            bytes[i] = bytes[i] == '\r' ? ' ' : '.';
    while (n && (line = strsep(&text, "\n")))
        hmp_say(c, "%s", line);
}

static void do_ring_write(struct hmp_call *c)
{
    struct chardev *chardev = ring(c);
    if (chardev)
        chardev_feed(chardev, (const uint8_t *)c->args, strlen(c->args));
}

static void do_drive_add(struct hmp_call *c)
{
    hmp_ok(c, blk_add_blockdev(c->vm, c->args));
}

static void do_drive_del(struct hmp_call *c)
{
    char id[100];
    if (hmp_word(c, "the id", id, sizeof(id)))
        hmp_ok(c, blk_remove(c->vm, id));
}

static void do_resize(struct hmp_call *c)
{
    char id[100], text[40];
    uint64_t size;
    if (!hmp_word(c, "the drive", id, sizeof(id)) || !hmp_word(c, "the size", text, sizeof(text)))
        return;
    if (parse_size(text, MIB, &size))
        hmp_ok(c, drive_resize(c->vm, id, size));
    else
        hmp_say(c, "'%s' is not a size such as 512M or 2G", text);
}

static struct device *disc_drive(struct hmp_call *c)
{
    char name[100];
    if (!hmp_word(c, "the drive", name, sizeof(name)))
        return NULL;
    struct device *dev = disc_drive_find(c->vm, name);
    if (!dev)
        hmp_say(c, "there is no CD-ROM drive '%s'", name);
    return dev;
}

static void do_eject(struct hmp_call *c)
{
    bool force = !strncmp(c->args, "-f", 2);
    c->args += force ? 2 : 0;
    struct device *dev = disc_drive(c);
    if (dev && hmp_ok(c, disc_open_tray(dev, force)))
        hmp_ok(c, disc_remove(dev));
}

static void do_change(struct hmp_call *c)
{
    char path[512];
    struct device *dev = disc_drive(c);
    if (dev && hmp_word(c, "the image", path, sizeof(path)))
        hmp_ok(c, disc_change(dev, path, false));
}

static void do_set_link(struct hmp_call *c)
{
    char name[100], word[8];
    if (!hmp_word(c, "the card", name, sizeof(name)) ||
        !hmp_word(c, "on or off", word, sizeof(word)))
        return;
    struct device *card = card_find(c->vm, name);
    int on = parse_bool(word);
    if (!card)
        hmp_say(c, "there is no network card '%s'", name);
    else if (on < 0)
        hmp_say(c, "'%s' is neither on nor off", word);
    else
        virtio_net_set_link(card, on);
}

static void do_device_add(struct hmp_call *c)
{
    char text[1024];
    if (hmp_word(c, "the device (NAME,id=ID,...)", text, sizeof(text)))
        hmp_ok(c, plug_device(c->vm, text));
}

static void do_device_del(struct hmp_call *c)
{
    char name[DEVICE_QOM_PATH];
    if (!hmp_word(c, "the device's id", name, sizeof(name)))
        return;
    struct device *dev = device_at(c->vm, name);
    if (dev)
        hmp_ok(c, device_unplug(dev));
    else
        hmp_say(c, "there is no device '%s'; info qtree lists ids", name);
}

static void do_balloon(struct hmp_call *c)
{
    uint64_t size;
    char text[40];
    if (!hmp_word(c, "the size", text, sizeof(text)))
        return;
    if (parse_size(text, MIB, &size))
        hmp_ok(c, balloon_set(c->vm, size));
    else
        hmp_say(c, "'%s' is not a size in MiB", text);
}

/* ---- keys and pointers ----------------------------------------------------------------------------------- */
static void do_sendkey(struct hmp_call *c)
{
    char names[200];
    uint64_t hold = 0;
    if (!hmp_word(c, "the keys", names, sizeof(names)))
        return;
    if (*c->args && !hmp_number(c, "milliseconds", &hold))
        return;
    hmp_ok(c, keys_send_names(c->vm, names, (unsigned)MIN(hold, 60000)));
}

enum { REL_X, REL_Y, REL_WHEEL = 8, BTN_LEFT = 0x110 };

static void do_mouse_move(struct hmp_call *c)
{
    uint64_t dx, dy, dz = 0;
    if (!hmp_number(c, "dx", &dx) || !hmp_number(c, "dy", &dy) ||
        (*c->args && !hmp_number(c, "dz", &dz)))
        return;
    const struct input_event events[] = { { INPUT_EV_REL, REL_X, (uint32_t)dx },
                                          { INPUT_EV_REL, REL_Y, (uint32_t)dy },
                                          { INPUT_EV_REL, REL_WHEEL, (uint32_t)dz } };
    if (!input_send_event(c->vm, INPUT_MOUSE, events, ARRAY_LEN(events)))
        hmp_say(c, "the guest has no driver for a mouse");
}

static void do_mouse_button(struct hmp_call *c)
{
    uint64_t state;
    if (!hmp_number(c, "the buttons (1 left, 2 right, 4 middle)", &state))
        return;
    enum input_kind kind = input_available(c->vm, INPUT_TABLET) ? INPUT_TABLET : INPUT_MOUSE;
    struct input_event events[3];
    for (unsigned i = 0; i < 3; i++)
        events[i] = (struct input_event){ INPUT_EV_KEY, (uint16_t)(BTN_LEFT + i), state >> i & 1 };
    if (!input_send_event(c->vm, kind, events, ARRAY_LEN(events)))
        hmp_say(c, "the guest has no driver for a pointer");
}

static const struct hmp_command commands[] = {
    { "device_add", NULL, "NAME,id=ID...", "plug a device in, as -device does", do_device_add,
      HMP_DRIVERS },
    { "device_del", NULL, "ID", "ask the guest to let a device go", do_device_del, HMP_DEVICES },
    { "object_add", NULL, "TYPE,id=ID...", "make an object, as -object does", object_add },
    { "object_del", NULL, "ID", "remove one that nobody uses", object_del, HMP_OBJECTS },
    { "netdev_add", NULL, "TYPE,id=ID...", "make a network back end, as -netdev does",
      do_netdev_add },
    { "netdev_del", NULL, "ID", "close one that no device uses", do_netdev_del, HMP_NETDEVS },
    { "chardev-add", NULL, "TYPE,id=ID...", "make a character back end, as -chardev does",
      do_chardev_add },
    { "chardev-change", NULL, "ID TYPE...", "put another in its place, the device does not notice",
      do_chardev_change, HMP_CHARDEVS },
    { "chardev-remove", NULL, "ID", "close one that nobody uses", do_chardev_remove, HMP_CHARDEVS },
    { "chardev-send-break", NULL, "ID", "a break on the line", do_break, HMP_CHARDEVS },
    { "ringbuf_read", NULL, "ID SIZE", "the newest bytes that the guest wrote to a ring buffer",
      do_ring_read, HMP_CHARDEVS },
    { "ringbuf_write", NULL, "ID TEXT", "what the guest reads from it", do_ring_write,
      HMP_CHARDEVS },
    { "blockdev_add", NULL, "driver=raw,node-name=ID...", "open an image, as -blockdev does",
      do_drive_add },
    { "drive_del", NULL, "ID", "close one that no device uses", do_drive_del, HMP_DRIVES },
    { "block_resize", NULL, "ID SIZE", "make an image longer or shorter", do_resize, HMP_DRIVES },
    { "eject", NULL, "[-f] ID", "open a CD-ROM drive's tray and take the disc off", do_eject,
      HMP_DEVICES },
    { "change", NULL, "ID FILE", "another image in a CD-ROM drive", do_change, HMP_DEVICES },
    { "set_link", NULL, "ID on|off", "plug a network card's cable in or pull it out", do_set_link,
      HMP_DEVICES },
    { "balloon", NULL, "SIZE", "ask the guest to make do with so many MiB", do_balloon },
    { "sendkey", NULL, "KEY-KEY... [MS]", "press keys together: sendkey ctrl-alt-f1", do_sendkey },
    { "mouse_move", NULL, "DX DY [DZ]", "move the mouse", do_mouse_move },
    { "mouse_button", NULL, "STATE", "press buttons: 1 left, 2 right, 4 middle; 0 lets go",
      do_mouse_button },
};
static const struct hmp_command infos[] = {
    { "block", NULL, "", "drives and the devices they are in", info_block },
    { "blockstats", NULL, "", "what was read and written", info_blockstats },
    { "network", NULL, "", "network back ends and cards", info_network },
    { "chardev", NULL, "", "character back ends", info_chardev },
    { "iothreads", NULL, "", "I/O threads", info_iothreads },
    { "memdev", NULL, "", "memory that -object made", info_memdev },
    { "objects", NULL, "", "what -object made", info_objects },
    { "balloon", NULL, "", "memory the guest has, and its statistics", info_balloon },
};
const struct hmp_table hmp_devices_table = { TABLE(commands), TABLE(infos) };
