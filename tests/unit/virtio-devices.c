/* virtio devices driven as a guest does, over both transports. */
#include "block/block.h"
#include "core/backends.h"
#include "core/chardev.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/object.h"
#include "hw/input/input.h"
#include "hw/virtio/balloon.h"
#include "net/net.h"
#include "virtio_guest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- kit ---------------------------------------------------------------------------------------- */
#define V1 VIRTIO_BIT(VIRTIO_F_VERSION_1)

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static const struct device_class *class_of(const char *name)
{
    const struct device_class *cls = device_class_find(name);
    assert_non_null(cls);
    return cls;
}

/* Point the kit's driver at a device made after guest_new; the newest MMIO device sits in the free
 * slot with the highest number. */
static void use_device(struct guest *g, struct device *dev, unsigned n_mmio_before)
{
    g->dev = dev;
    g->v = container_of(dev, struct virtio_device, dev);
    g->mmio = g->modern = 0;
    if (!strcmp(dev->cls->bus, "pci")) {
        g->devfn = g->v->pci.fn.devfn;
        guest_place_bars(g, g->devfn);
        g->modern = g->v->pci.fn.bars[4].mapped_at;
    } else {
        g->mmio = 0x0f000000 + 0x1000 * (7 - n_mmio_before);
    }
}

static uint64_t config_read(struct guest *g, unsigned off, unsigned n)
{
    return board_peek(g->b, (g->mmio ? g->mmio + 0x100 : g->modern + 0x2000) + off, n);
}

static void config_write(struct guest *g, unsigned off, unsigned n, uint64_t v)
{
    board_poke(g->b, (g->mmio ? g->mmio + 0x100 : g->modern + 0x2000) + off, n, v);
}

/* Wait for a used chain, letting the main loop work, for some seconds at most. */
static struct used wait_used(struct ring *r)
{
    struct used u;
    for (int i = 0; i < 2000; i++) {
        if (ring_take(r, &u))
            return u;
        loop_once(r->g->b->vm->loop, 5);
    }
    fail_msg("nothing came back in queue %u", r->queue);
    return (struct used){ 0 };
}

static bool needs_reset(struct guest *g)
{
    return guest_status(g) & 0x40;
}

/* Space in guest RAM, filled. */
static uint64_t place(struct guest *g, const void *p, size_t n)
{
    uint64_t at = guest_alloc(g, n, 4);
    board_ram_write(g->b, at, p, n);
    return at;
}

static uint8_t ram8(struct guest *g, uint64_t off)
{
    uint8_t v;
    board_ram_read(g->b, off, &v, 1);
    return v;
}

/* ---- disk ----------------------------------------------------------------------------------------- */
enum { DISK_BYTES = 256 * 1024, IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };

struct disk_guest {
    struct guest *g;
    struct ring ring;
    char path[64];
};

static uint8_t byte_at(uint64_t at)
{
    return (uint8_t)(at * 11 + at / 512 * 3 + 5);
}

/* `drive` and `props` ("name", "value", ... NULL) go behind what every disk has. */
static struct disk_guest disk_with(const char *class_name, bool packed, const char *drive,
                                   const char *prop, const char *value)
{
    struct disk_guest d = { .g = guest_new() };
    struct drive_info info;
    char text[200];
    uint8_t bytes[4096];
    strcpy(d.path, "virtio-disk-XXXXXX");
    int fd = mkstemp(d.path);
    assert_true(fd >= 0);
    for (uint64_t at = 0; at < DISK_BYTES; at += sizeof(bytes)) {
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = byte_at(at + i);
        assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
    }
    close(fd);
    snprintf(text, sizeof(text), "file=%s,if=none,id=d0,format=raw%s", d.path, drive);
    must(blk_add_drive(d.g->b->vm, text, &info));
    must(object_create(d.g->b->vm, "iothread,id=t0"));
    use_device(
        d.g,
        guest_add(d.g, class_of(class_name), "drive", "d0", "serial", "S-123", prop, value, NULL),
        0);
    uint64_t features = guest_offered(d.g) & ~(packed ? 0 : VIRTIO_BIT(VIRTIO_F_RING_PACKED));
    assert_true(guest_negotiate(d.g, features));
    d.ring = ring_new(d.g, 0, 64, packed);
    guest_driver_ok(d.g);
    return d;
}

static void disk_free(struct disk_guest *d)
{
    guest_free(d->g);
    unlink(d->path);
}

static uint64_t disk_header(struct guest *g, uint32_t type, uint64_t sector)
{
    uint8_t raw[16] = { 0 };
    store_le(raw, 4, type);
    store_le(raw + 8, 8, sector);
    return place(g, raw, sizeof(raw));
}

/* One request and its status byte; `data` holds n bytes to write, or gets them. */
static uint8_t disk_run(struct disk_guest *d, uint32_t type, uint64_t sector, void *data,
                        uint32_t n, bool read)
{
    struct guest *g = d->g;
    uint64_t at = guest_alloc(g, n, 16);
    uint64_t status = place(g, "\x77", 1);
    struct buffer b[3] = { { disk_header(g, type, sector), 16, false },
                           { at, n, read },
                           { status, 1, true } };
    if (!read && n)
        board_ram_write(g->b, at, data, n);
    if (n) {
        ring_add(&d->ring, b, 3, sector & 1 && guest_offered(g) >> VIRTIO_F_INDIRECT_DESC & 1);
    } else {
        b[1] = b[2];
        ring_add(&d->ring, b, 2, false);
    }
    guest_kick(g, d->ring.queue);
    wait_used(&d->ring);
    if (read && n)
        board_ram_read(g->b, at, data, n);
    g->next_ram = at;
    return ram8(g, status);
}

static void disk_is_read_and_written(void **unused)
{
    static const struct {
        const char *class_name, *prop, *value;
        bool packed;
    } variants[] = {
        { "virtio-blk-pci", "packed", "on", true },
        { "virtio-blk-pci", "packed", "off", false },
        { "virtio-blk-device", "ioeventfd", "off", false },
        { "virtio-blk-device", "ioeventfd", "on", false },
        { "virtio-blk-pci", "iothread", "t0", false },
    };
    for (size_t v = 0; v < ARRAY_LEN(variants); v++) {
        struct disk_guest d = disk_with(variants[v].class_name, variants[v].packed, "",
                                        variants[v].prop, variants[v].value);
        uint8_t buf[4096];
        assert_int_equal(config_read(d.g, 0, 4), DISK_BYTES / 512);
        assert_int_equal(disk_run(&d, IN, 3, buf, sizeof(buf), true), 0);
        for (unsigned i = 0; i < sizeof(buf); i++)
            assert_int_equal(buf[i], byte_at(3 * 512 + i));
        memset(buf, 0x42, sizeof(buf));
        assert_int_equal(disk_run(&d, OUT, 100, buf, 1024, false), 0);
        assert_int_equal(disk_run(&d, FLUSH, 0, NULL, 0, false), 0);
        memset(buf, 0, sizeof(buf));
        assert_int_equal(disk_run(&d, IN, 99, buf, 2048, true), 0);
        for (unsigned i = 0; i < 2048; i++)
            assert_int_equal(buf[i], i >= 512 && i < 1536 ? 0x42 : byte_at(99 * 512 + i));
        board_check(d.g->b);
        disk_free(&d);
    }
}

static void disk_answers_what_it_cannot_do(void **unused)
{
    struct disk_guest d = disk_with("virtio-blk-device", false, "", "num-queues", "1");
    uint8_t buf[1024] = { 0 };
    assert_int_equal(disk_run(&d, IN, DISK_BYTES / 512, buf, 512, true), 1);
    assert_int_equal(disk_run(&d, IN, DISK_BYTES / 512 - 1, buf, 1024, true), 1);
    assert_int_equal(disk_run(&d, OUT, UINT64_MAX, buf, 512, false), 1);
    assert_int_equal(disk_run(&d, OUT, UINT64_MAX / 512, buf, 512, false), 1);
    assert_int_equal(disk_run(&d, IN, 0, buf, 100, true), 1);
    assert_int_equal(disk_run(&d, 99, 0, buf, 512, true), 2);
    assert_int_equal(disk_run(&d, DISCARD, 0, buf, 15, false), 1);
    assert_int_equal(disk_run(&d, ZEROES, 0, buf, 1024, false), 1);
    assert_false(needs_reset(d.g));
    assert_int_equal(disk_run(&d, IN, 0, buf, 512, true), 0);
    disk_free(&d);
}

static void disk_without_a_status_byte_wants_a_reset(void **unused)
{
    struct disk_guest d = disk_with("virtio-blk-pci", false, "", "num-queues", "1");
    struct buffer b = { disk_header(d.g, OUT, 0), 16, false };
    ring_add(&d.ring, &b, 1, false);
    guest_kick(d.g, 0);
    assert_true(needs_reset(d.g));
    assert_true(guest_negotiate(d.g, guest_offered(d.g)));
    disk_free(&d);
}

static void disk_takes_a_header_in_pieces(void **unused)
{
    struct disk_guest d = disk_with("virtio-blk-device", false, "", "num-queues", "1");
    struct guest *g = d.g;
    uint64_t header = disk_header(g, OUT, 8), data = guest_alloc(g, 1024, 4);
    uint64_t status = place(g, "\x77", 1);
    uint8_t buf[1024];
    memset(buf, 0x99, sizeof(buf));
    board_ram_write(g->b, data, buf, sizeof(buf));
    /* 5 + 11 bytes of header, 7 of data with the header's end, the rest in two */
    board_ram_read(g->b, header, buf, 16);
    uint64_t joined = guest_alloc(g, 18, 4);
    board_ram_write(g->b, joined, buf + 5, 11);
    memset(buf, 0x99, 7);
    board_ram_write(g->b, joined + 11, buf, 7);
    struct buffer b[] = { { header, 5, false },
                          { joined, 18, false },
                          { data, 500, false },
                          { data + 500, 517, false },
                          { status, 1, true } };
    ring_add(&d.ring, b, 5, false);
    guest_kick(g, 0);
    wait_used(&d.ring);
    assert_int_equal(ram8(g, status), 0);
    assert_int_equal(disk_run(&d, IN, 8, buf, 1024, true), 0);
    for (unsigned i = 0; i < 1024; i++)
        assert_int_equal(buf[i], 0x99);
    disk_free(&d);
}

static void disk_tells_its_serial_number(void **unused)
{
    struct disk_guest d = disk_with("virtio-blk-pci", false, "", "num-queues", "1");
    char id[20];
    assert_int_equal(disk_run(&d, GET_ID, 0, id, sizeof(id), true), 0);
    assert_string_equal(id, "S-123");
    disk_free(&d);
}

static void ranges_are_zeroed_and_discarded(void **unused)
{
    struct disk_guest d = disk_with("virtio-blk-pci", false, ",discard=unmap", "num-queues", "1");
    uint8_t ranges[3][16], buf[512 * 8];
    memset(ranges, 0, sizeof(ranges));
    for (unsigned i = 0; i < 3; i++) {
        store_le(ranges[i], 8, 10 + 20 * i);
        store_le(ranges[i] + 8, 4, 4);
        store_le(ranges[i] + 12, 4, i & 1); /* may unmap */
    }
    assert_int_equal(disk_run(&d, ZEROES, 0, ranges, sizeof(ranges), false), 0);
    for (unsigned k = 0; k < 3; k++) {
        assert_int_equal(disk_run(&d, IN, 8 + 20 * k, buf, sizeof(buf), true), 0);
        for (unsigned i = 0; i < sizeof(buf); i++)
            assert_int_equal(buf[i],
                             i / 512 >= 2 && i / 512 < 6 ? 0 : byte_at((8 + 20 * k) * 512 + i));
    }
    store_le(ranges[0] + 12, 4, 0);
    assert_int_equal(disk_run(&d, DISCARD, 0, ranges, 16, false), 0);
    store_le(ranges[0] + 12, 4, 1);
    assert_int_equal(disk_run(&d, DISCARD, 0, ranges, 16, false), 2); /* unknown flag */
    store_le(ranges[0] + 12, 4, 0);
    store_le(ranges[0], 8, DISK_BYTES / 512 - 1);
    assert_int_equal(disk_run(&d, DISCARD, 0, ranges, 16, false), 1);
    assert_int_equal(disk_run(&d, ZEROES, 0, ranges, 16, false), 1);
    disk_free(&d);
}

static void read_only_disk_says_so_and_refuses_writes(void **unused)
{
    struct disk_guest d = disk_with("virtio-blk-pci", false, ",readonly=on", "num-queues", "1");
    uint8_t buf[512] = { 0 };
    assert_true(guest_offered(d.g) & VIRTIO_BIT(5));
    assert_false(guest_offered(d.g) & (VIRTIO_BIT(13) | VIRTIO_BIT(14)));
    assert_int_equal(disk_run(&d, OUT, 0, buf, 512, false), 1);
    assert_int_equal(disk_run(&d, IN, 0, buf, 512, true), 0);
    assert_int_equal(buf[1], byte_at(1));
    disk_free(&d);
}

static void write_caching_follows_the_driver(void **unused)
{
    struct disk_guest d = disk_with("virtio-blk-device", false, "", "num-queues", "1");
    assert_int_equal(config_read(d.g, 32, 1), 1);
    config_write(d.g, 32, 1, 0);
    assert_int_equal(config_read(d.g, 32, 1), 0);
    assert_true(guest_negotiate(d.g, V1)); /* no flush: write-through */
    assert_int_equal(config_read(d.g, 32, 1), 0);
    guest_set_status(d.g, 0);
    assert_int_equal(config_read(d.g, 32, 1), 1);
    disk_free(&d);
}

static void every_queue_of_a_disk_works(void **unused)
{
    struct disk_guest d = disk_with("virtio-blk-pci", false, "", "num-queues", "4");
    assert_int_equal(config_read(d.g, 34, 2), 4);
    assert_true(guest_negotiate(d.g, guest_offered(d.g) & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED)));
    struct ring rings[4];
    for (unsigned i = 0; i < 4; i++)
        rings[i] = ring_new(d.g, i, 16, false);
    guest_driver_ok(d.g);
    for (unsigned i = 0; i < 4; i++) {
        uint8_t buf[512];
        d.ring = rings[i];
        assert_int_equal(disk_run(&d, IN, i, buf, 512, true), 0);
        assert_int_equal(buf[7], byte_at(i * 512 + 7));
    }
    disk_free(&d);
}

/* Many requests under way while the driver resets: nothing is lost, nothing is touched afterwards. */
static void reset_amid_requests_ends_clean(void **unused)
{
    static const char *const values[] = { "on", "off" };
    for (unsigned v = 0; v < 2; v++)
        for (unsigned round = 0; round < 20; round++) {
            struct disk_guest d =
                disk_with("virtio-blk-pci", false, ",cache=writethrough", "ioeventfd", values[v]);
            for (unsigned i = 0; i < 16; i++) {
                uint64_t data = guest_alloc(d.g, 8192, 16), status = place(d.g, "\x77", 1);
                struct buffer b[3] = { { disk_header(d.g, i & 1 ? IN : OUT, i * 16), 16, false },
                                       { data, 8192, i & 1 },
                                       { status, 1, true } };
                ring_add(&d.ring, b, 3, false);
                guest_kick(d.g, 0);
            }
            guest_set_status(d.g, 0);
            for (int i = 0; i < 1000 && guest_status(d.g); i++)
                loop_once(d.g->b->vm->loop, 5);
            assert_int_equal(guest_status(d.g), 0);
            uint8_t buf[512];
            assert_true(guest_negotiate(d.g, V1));
            d.ring = ring_new(d.g, 0, 16, false);
            guest_driver_ok(d.g);
            assert_int_equal(disk_run(&d, IN, 510, buf, 512, true), 0);
            assert_int_equal(buf[0], byte_at(510 * 512));
            disk_free(&d);
        }
}

static void disk_with_wrong_properties_is_refused(void **unused)
{
    static const struct {
        const char *prop, *value, *says;
    } cases[] = {
        { "num-queues", "65", "num-queues=65" },
        { "queue-size", "100", "queue-size=100" },
        { "logical_block_size", "1000", "logical_block_size=1000" },
        { "serial", "123456789012345678901", "longer than 20" },
        { "drive", "nix", "'nix'" },
        { "iothread", "nix", "'nix'" },
        { "driive", "d0", "did you mean 'drive'" },
    };
    struct guest *g = guest_new();
    struct drive_info info;
    char path[64] = "virtio-disk-XXXXXX", text[128];
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, 65536), 0);
    close(fd);
    snprintf(text, sizeof(text), "file=%s,if=none,id=d0", path);
    must(blk_add_drive(g->b->vm, text, &info));
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *says = guest_refuses(g, class_of("virtio-blk-pci"), "drive", "d0", cases[i].prop,
                                   cases[i].value, NULL);
        if (!strstr(says, cases[i].says))
            fail_msg("'%s' does not say '%s'", says, cases[i].says);
        free(says);
    }
    char *says = guest_refuses(g, class_of("virtio-blk-device"), NULL);
    assert_non_null(strstr(says, "drive= is missing"));
    free(says);
    guest_add(g, class_of("virtio-blk-pci"), "drive", "d0", NULL); /* given back each time */
    says = guest_refuses(g, class_of("virtio-blk-pci"), "drive", "d0", NULL);
    assert_non_null(strstr(says, "in use"));
    free(says);
    guest_free(g);
    unlink(path);
}

/* ---- network card ----------------------------------------------------------------------------------- */
enum { F_MRG = 15, F_CTRL_VQ = 17, F_CTRL_RX = 18, F_CTRL_VLAN = 19, F_MQ = 22, F_CTRL_MAC = 23 };

struct net_guest {
    struct guest *g;
    struct netdev *n;
    struct ring rx, tx, ctrl;
};

static struct net_guest net_with(const char *class_name, const char *spec, uint64_t features,
                                 const char *prop, const char *value)
{
    struct net_guest n = { .g = guest_new() };
    must(netdev_add(n.g->b->vm, spec));
    n.n = backend_find(n.g->b->vm, BACKEND_NETDEV, "n0");
    use_device(n.g, guest_add(n.g, class_of(class_name), "netdev", "n0", prop, value, NULL), 0);
    assert_int_equal(features & ~guest_offered(n.g), 0);
    assert_true(guest_negotiate(n.g, features | V1));
    n.rx = ring_new(n.g, 0, 64, false);
    n.tx = ring_new(n.g, 1, 64, false);
    return n;
}

static void net_send(struct net_guest *n, const uint8_t *frame, unsigned size)
{
    uint8_t header[12] = { 0 };
    struct buffer b[2] = { { place(n->g, header, 12), 12, false },
                           { place(n->g, frame, size), size, false } };
    ring_add(&n->tx, b, 2, false);
    guest_kick(n->g, 1);
}

static void arp_frame(uint8_t f[60])
{
    memset(f, 0, 60);
    memset(f, 0xff, 6);
    store_be(f + 6, 6, 0x525400123456);
    store_be(f + 12, 2, 0x0806);
    store_be(f + 14, 8, 0x0001080006040001);
    store_be(f + 22, 6, 0x525400123456);
    store_be(f + 28, 4, 0x0a00020f);
    store_be(f + 38, 4, 0x0a000202);
}

static void have_user_network(void)
{
    struct board *b = board_new();
    struct netdev *n;
    struct error *err = netdev_open(b->vm, "user", &n);
    bool have = !err;
    error_free(err);
    if (have)
        netdev_close(n);
    board_free(b);
    if (!have) {
        print_message("# built without libslirp\n");
        skip();
    }
}

/* The reply to a question comes in one buffer, or spread over many that merge. */
static void frames_go_out_and_come_in(void **unused)
{
    have_user_network();
    static const struct {
        const char *class_name;
        uint64_t features;
        unsigned size, buffers; /* of each buffer; how many a 42-byte frame and 12 of header take */
    } variants[] = {
        { "virtio-net-pci", VIRTIO_BIT(F_MRG), 1536, 1 },
        { "virtio-net-device", 0, 1536, 1 },
        { "virtio-net-pci", VIRTIO_BIT(F_MRG), 20, 0 },
    };
    for (size_t v = 0; v < ARRAY_LEN(variants); v++) {
        struct net_guest n = net_with(variants[v].class_name, "user,id=n0,ipv6=off",
                                      variants[v].features, "ioeventfd", "off");
        uint64_t at[16];
        uint8_t f[60], in[64 * 16];
        for (unsigned i = 0; i < 16; i++) {
            at[i] = guest_alloc(n.g, variants[v].size, 4);
            struct buffer b = { at[i], variants[v].size, true };
            ring_add(&n.rx, &b, 1, false);
        }
        guest_driver_ok(n.g);
        guest_kick(n.g, 0);
        arp_frame(f);
        net_send(&n, f, sizeof(f));
        wait_used(&n.tx);
        struct used u = wait_used(&n.rx);
        board_ram_read(n.g->b, at[0], in, 12);
        unsigned k = (unsigned)load_le(in + 10, 2), got = 0;
        assert_true(k >= 1 && (!variants[v].buffers || k == variants[v].buffers));
        for (unsigned i = 0; i < k; i++) {
            board_ram_read(n.g->b, at[i], in + got, u.len);
            got += u.len;
            if (i + 1 < k)
                u = wait_used(&n.rx);
        }
        assert_true(got >= 12 + 42);
        assert_int_equal(load_be(in + 12 + 20, 2), 2); /* a reply */
        assert_int_equal(load_be(in + 12 + 28, 4), 0x0a000202);
        assert_int_equal(load_be(in + 12, 6), 0x525400123456);
        board_check(n.g->b);
        guest_free(n.g);
    }
}

static void frames_wait_until_there_are_buffers(void **unused)
{
    have_user_network();
    struct net_guest n =
        net_with("virtio-net-pci", "user,id=n0,ipv6=off", VIRTIO_BIT(F_MRG), "mq", "off");
    uint8_t f[60];
    guest_driver_ok(n.g);
    arp_frame(f);
    net_send(&n, f, sizeof(f));
    for (int i = 0; i < 10; i++)
        loop_once(n.g->b->vm->loop, 2);
    struct buffer b = { guest_alloc(n.g, 1536, 4), 1536, true };
    ring_add(&n.rx, &b, 1, false);
    guest_kick(n.g, 0);
    assert_true(wait_used(&n.rx).len >= 54);
    guest_free(n.g);
}

static void full_network_holds_the_guest_back(void **unused)
{
    struct net_guest n = net_with("virtio-net-device", "null,id=n0", 0, "mq", "off");
    static uint8_t frame[60000];
    guest_driver_ok(n.g);
    uint64_t at = place(n.g, frame, sizeof(frame)), header = place(n.g, frame, 12);
    unsigned sent = 0;
    for (; sent < 30; sent++) {
        struct buffer b[2] = { { header, 12, false }, { at, sizeof(frame), false } };
        ring_add(&n.tx, b, 2, false);
        guest_kick(n.g, 1);
    }
    for (unsigned i = 0; i < sent; i++)
        wait_used(&n.tx); /* all of them in the end: none was lost */
    struct netdev_counts c;
    netdev_counts(n.n, &c);
    board_step(n.g->b);
    netdev_counts(n.n, &c);
    assert_int_equal(c.sent, sent);
    assert_int_equal(c.sent_bytes, sent * sizeof(frame));
    guest_free(n.g);
}

static uint8_t net_control(struct net_guest *n, unsigned class_and_command, const void *data,
                           unsigned size)
{
    uint8_t head[2];
    store_be(head, 2, class_and_command);
    uint64_t ack = place(n->g, "\x77", 1);
    struct buffer b[3] = { { place(n->g, head, 2), 2, false },
                           { place(n->g, data, size), size, false },
                           { ack, 1, true } };
    ring_add(&n->ctrl, b, 3, false);
    guest_kick(n->g, n->ctrl.queue);
    wait_used(&n->ctrl);
    return ram8(n->g, ack);
}

static void control_queue_takes_what_was_negotiated(void **unused)
{
    uint64_t features = VIRTIO_BIT(F_CTRL_VQ) | VIRTIO_BIT(F_CTRL_RX) | VIRTIO_BIT(F_CTRL_VLAN) |
                        VIRTIO_BIT(F_CTRL_MAC);
    struct net_guest n =
        net_with("virtio-net-pci", "null,id=n0", features, "mac", "52:54:00:aa:bb:cc");
    n.ctrl = ring_new(n.g, 2, 16, false);
    guest_driver_ok(n.g);
    assert_int_equal(config_read(n.g, 0, 1), 0x52);
    assert_int_equal(config_read(n.g, 5, 1), 0xcc);
    assert_int_equal(config_read(n.g, 6, 2), 1); /* link is up */
    uint8_t on = 1, mac[6] = { 2, 3, 4, 5, 6, 7 }, vlan[2] = { 5, 0 };
    assert_int_equal(net_control(&n, 0x0000, &on, 1), 0);
    assert_int_equal(net_control(&n, 0x0101, mac, 6), 0);
    assert_int_equal(config_read(n.g, 5, 1), 7);
    assert_int_equal(net_control(&n, 0x0101, mac, 5), 1);
    assert_int_equal(net_control(&n, 0x0200, vlan, 2), 0);
    vlan[1] = 0x10;
    assert_int_equal(net_control(&n, 0x0200, vlan, 2), 1); /* 4101 */
    assert_int_equal(net_control(&n, 0x0400, vlan, 2), 1); /* one pair only */
    assert_int_equal(net_control(&n, 0x7777, vlan, 2), 1);
    uint8_t table[4 + 12 + 4] = { 2 };
    assert_int_equal(net_control(&n, 0x0100, table, sizeof(table)), 0);
    table[0] = 200; /* says more than it brings */
    assert_int_equal(net_control(&n, 0x0100, table, sizeof(table)), 1);
    store_le(table, 4, 0xffffffff);
    assert_int_equal(net_control(&n, 0x0100, table, sizeof(table)), 1);
    board_check(n.g->b);
    guest_free(n.g);
}

static void queue_pairs_are_set_by_the_driver(void **unused)
{
    struct guest *g = guest_new();
    must(netdev_add(g->b->vm, "null,id=n0"));
    use_device(
        g,
        guest_add(g, class_of("virtio-net-pci"), "netdev", "n0", "mq", "on", "queues", "4", NULL),
        0);
    struct net_guest n = { .g = g };
    assert_true(guest_negotiate(g, V1 | VIRTIO_BIT(F_CTRL_VQ) | VIRTIO_BIT(F_MQ)));
    assert_int_equal(config_read(g, 8, 2), 4);
    n.ctrl = ring_new(g, 8, 16, false);
    n.tx = ring_new(g, 7, 16, false);
    guest_driver_ok(g);
    uint8_t pairs[2] = { 4, 0 };
    assert_int_equal(net_control(&n, 0x0400, pairs, 2), 0);
    pairs[0] = 5;
    assert_int_equal(net_control(&n, 0x0400, pairs, 2), 1);
    pairs[0] = 0;
    assert_int_equal(net_control(&n, 0x0400, pairs, 2), 1);
    uint8_t f[60], header[12] = { 0 };
    arp_frame(f);
    struct buffer b[2] = { { place(g, header, 12), 12, false }, { place(g, f, 60), 60, false } };
    ring_add(&n.tx, b, 2, false);
    guest_kick(g, 7);
    wait_used(&n.tx);
    assert_false(guest_negotiate(g, V1 | VIRTIO_BIT(F_MQ))); /* needs the control queue */
    guest_free(g);
}

/* ---- consoles --------------------------------------------------------------------------------------- */
struct serial_guest {
    struct guest *g;
    struct chardev *c0, *c1;
    struct ring ctrl_in, ctrl_out, in[2], out[2];
    uint64_t ctrl_at[32], in_at[2][32];
};

/* A console on port 0 and a named port 1. */
static struct serial_guest serial_with(bool multiport)
{
    struct serial_guest s = { .g = guest_new() };
    struct guest *g = s.g;
    must(chardev_add(g->b->vm, "c0", "ringbuf", &s.c0));
    must(chardev_add(g->b->vm, "c1", "ringbuf", &s.c1));
    use_device(g, guest_add(g, class_of("virtio-serial-pci"), "id", "vs", "max_ports", "4", NULL),
               0);
    guest_add(g, class_of("virtconsole"), "chardev", "c0", NULL);
    guest_add(g, class_of("virtserialport"), "chardev", "c1", "name", "org.test.0", "bus", "vs.0",
              NULL);
    assert_true(guest_negotiate(g, V1 | (multiport ? VIRTIO_BIT(1) : 0)));
    s.ctrl_in = ring_new(g, 2, 32, false);
    s.ctrl_out = ring_new(g, 3, 32, false);
    for (unsigned p = 0; p < 2; p++) {
        s.in[p] = ring_new(g, p ? 4 : 0, 32, false);
        s.out[p] = ring_new(g, p ? 5 : 1, 32, false);
        for (unsigned i = 0; i < 8; i++) {
            s.in_at[p][i] = guest_alloc(g, 16, 4);
            struct buffer b = { s.in_at[p][i], 16, true };
            ring_add(&s.in[p], &b, 1, false);
        }
    }
    guest_driver_ok(g);
    return s;
}

static void control_send(struct serial_guest *s, unsigned port, unsigned event, unsigned value)
{
    uint8_t raw[8];
    store_le(raw, 4, port);
    store_le(raw + 4, 2, event);
    store_le(raw + 6, 2, value);
    struct buffer b = { place(s->g, raw, 8), 8, false };
    ring_add(&s->ctrl_out, &b, 1, false);
    guest_kick(s->g, 3);
}

static void control_buffers(struct serial_guest *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = guest_alloc(s->g, 128, 4);
        struct buffer b = { at, 128, true };
        s->ctrl_at[ring_add(&s->ctrl_in, &b, 1, false)] = at;
    }
    guest_kick(s->g, 2);
}

/* The next control message: port << 16 | event << 8 | value; its text. */
static unsigned control_next(struct serial_guest *s, char text[128])
{
    struct used u;
    uint8_t raw[128] = { 0 };
    if (!ring_take(&s->ctrl_in, &u))
        return ~0u;
    board_ram_read(s->g->b, s->ctrl_at[u.id], raw, u.len);
    memcpy(text, raw + 8, 120);
    return (unsigned)(load_le(raw, 4) << 16 | load_le(raw + 4, 2) << 8 | load_le(raw + 6, 2));
}

static void ports_introduce_themselves(void **unused)
{
    struct serial_guest s = serial_with(true);
    char text[128];
    assert_int_equal(config_read(s.g, 4, 4), 4);
    control_send(&s, 0, 0, 1); /* ready, but there are no buffers yet */
    assert_int_equal(control_next(&s, text), ~0u);
    control_buffers(&s, 16);
    assert_int_equal(control_next(&s, text), 0 << 16 | 1 << 8 | 1);
    assert_int_equal(control_next(&s, text), 1 << 16 | 1 << 8 | 1);
    assert_int_equal(control_next(&s, text), ~0u);
    control_send(&s, 0, 3, 1);
    assert_int_equal(control_next(&s, text), 0 << 16 | 4 << 8 | 1); /* a console */
    assert_int_equal(control_next(&s, text), 0 << 16 | 6 << 8 | 1); /* open */
    control_send(&s, 1, 3, 1);
    assert_int_equal(control_next(&s, text), 1 << 16 | 7 << 8 | 1);
    assert_string_equal(text, "org.test.0");
    control_send(&s, 99, 3, 1); /* no such port: nothing happens */
    control_send(&s, 0x10001, 6, 1);
    assert_false(needs_reset(s.g));
    board_check(s.g->b);
    guest_free(s.g);
}

static void console_carries_bytes_both_ways(void **unused)
{
    for (int multiport = 0; multiport < 2; multiport++) {
        struct serial_guest s = serial_with(multiport);
        uint8_t buf[64] = { 0 };
        if (multiport) {
            control_send(&s, 0, 0, 1);
            control_send(&s, 0, 3, 1);
            control_send(&s, 0, 6, 1);
        }
        struct buffer b = { place(s.g, "login: ", 7), 7, false };
        ring_add(&s.out[0], &b, 1, false);
        guest_kick(s.g, 1);
        wait_used(&s.out[0]);
        assert_int_equal(chardev_ringbuf_read(s.c0, buf, sizeof(buf)), 7);
        assert_memory_equal(buf, "login: ", 7);
        chardev_feed(s.c0, (const uint8_t *)"root, and then some more\n", 25);
        assert_int_equal(wait_used(&s.in[0]).len, 16);
        assert_int_equal(wait_used(&s.in[0]).len, 9);
        board_ram_read(s.g->b, s.in_at[0][1], buf, 9);
        assert_memory_equal(buf, "ome more\n", 9);
        guest_free(s.g);
    }
}

static void named_port_waits_until_it_is_opened(void **unused)
{
    struct serial_guest s = serial_with(true);
    struct used u;
    control_send(&s, 0, 0, 1);
    chardev_feed(s.c1, (const uint8_t *)"hello", 5);
    assert_false(ring_take(&s.in[1], &u));
    control_send(&s, 1, 6, 1);
    assert_int_equal(wait_used(&s.in[1]).len, 5);
    control_send(&s, 1, 6, 0);
    chardev_feed(s.c1, (const uint8_t *)"again", 5);
    assert_false(ring_take(&s.in[1], &u));
    guest_free(s.g);
}

static void ports_have_their_places(void **unused)
{
    struct guest *g = guest_new();
    char *says = guest_refuses(g, class_of("virtconsole"), NULL);
    assert_non_null(strstr(says, "there is no virtio-serial device"));
    free(says);
    guest_add(g, class_of("virtio-serial-device"), "max_ports", "2", NULL);
    guest_add(g, class_of("virtserialport"), NULL);
    says = guest_refuses(g, class_of("virtserialport"), NULL);
    assert_non_null(strstr(says, "all ports"));
    free(says);
    says = guest_refuses(g, class_of("virtserialport"), "nr", "1", NULL);
    assert_non_null(strstr(says, "nr=1 is taken"));
    free(says);
    says = guest_refuses(g, class_of("virtserialport"), "nr", "2", NULL);
    assert_non_null(strstr(says, "max_ports=2"));
    free(says);
    guest_add(g, class_of("virtconsole"), NULL);
    says = guest_refuses(g, class_of("virtconsole"), "bus", "xx.0", NULL);
    assert_non_null(strstr(says, "bus='xx.0'"));
    free(says);
    guest_free(g);
}

/* ---- random numbers ------------------------------------------------------------------------------------ */
static void random_bytes_keep_to_their_rate(void **unused)
{
    struct guest *g = guest_new();
    use_device(
        g, guest_add(g, class_of("virtio-rng-device"), "max-bytes", "100", "period", "1000", NULL),
        0);
    assert_true(guest_negotiate(g, V1));
    struct ring r = ring_new(g, 0, 8, false);
    guest_driver_ok(g);
    uint64_t at = guest_alloc(g, 64, 4);
    struct buffer b = { at, 64, true };
    uint8_t bytes[64], zero[64] = { 0 };
    struct used u;
    ring_add(&r, &b, 1, false);
    guest_kick(g, 0);
    assert_int_equal(wait_used(&r).len, 64);
    board_ram_read(g->b, at, bytes, 64);
    assert_memory_not_equal(bytes, zero, 64);
    ring_add(&r, &b, 1, false);
    guest_kick(g, 0);
    assert_int_equal(wait_used(&r).len, 36);
    ring_add(&r, &b, 1, false);
    guest_kick(g, 0);
    board_step(g->b);
    assert_false(ring_take(&r, &u));
    board_advance_ns(g->b, 999 * 1000000ull);
    assert_false(ring_take(&r, &u));
    board_advance_ns(g->b, 2 * 1000000ull);
    assert_int_equal(wait_used(&r).len, 64);
    board_check(g->b);
    guest_free(g);
}

static void random_bytes_come_from_an_object(void **unused)
{
    struct guest *g = guest_new();
    must(object_create(g->b->vm, "rng-random,id=r0,filename=/dev/zero"));
    must(object_create(g->b->vm, "iothread,id=t0"));
    char *says = guest_refuses(g, class_of("virtio-rng-pci"), "rng", "t0", NULL);
    assert_non_null(strstr(says, "'t0' is a iothread object"));
    free(says);
    use_device(g, guest_add(g, class_of("virtio-rng-pci"), "rng", "r0", NULL), 0);
    assert_true(guest_negotiate(g, V1));
    struct ring r = ring_new(g, 0, 8, false);
    guest_driver_ok(g);
    uint64_t at = place(g, "12345678", 8);
    struct buffer b = { at, 8, true };
    ring_add(&r, &b, 1, false);
    guest_kick(g, 0);
    assert_int_equal(wait_used(&r).len, 8);
    assert_int_equal(ram8(g, at) | ram8(g, at + 7), 0);
    guest_free(g);
}

/* ---- balloon --------------------------------------------------------------------------------------------- */
static void take_pages(unsigned ram_flags)
{
    struct guest *g = guest_new_ram(ram_flags);
    struct balloon_info info;
    use_device(g,
               guest_add(g, class_of("virtio-balloon-pci"), "free-page-reporting", "on",
                         "guest-stats-polling-interval", "2", NULL),
               0);
    assert_true(guest_negotiate(g, V1 | VIRTIO_BIT(1) | VIRTIO_BIT(5)));
    struct ring inflate = ring_new(g, 0, 16, false), stats = ring_new(g, 2, 16, false);
    struct ring report = ring_new(g, 3, 16, false);
    must(balloon_set(g->b->vm, MIB)); /* no driver yet: the next one is asked */
    guest_driver_ok(g);

    must(balloon_set(g->b->vm, BOARD_RAM_SIZE - 3 * 4096));
    assert_int_equal(config_read(g, 0, 4), 3);
    uint64_t page = 3 * MIB;
    uint8_t list[5 * 4], full[4096];
    memset(full, 0xaa, sizeof(full));
    for (unsigned i = 0; i < 4; i++)
        board_ram_write(g->b, page + i * 4096, full, 4096);
    const uint32_t pages[5] = { (uint32_t)((BOARD_RAM + page) / 4096) + 1,
                                (uint32_t)((BOARD_RAM + page) / 4096),
                                (uint32_t)((BOARD_RAM + page) / 4096) + 2, 0xffffffff, /* nowhere */
                                (uint32_t)(BOARD_MSI / 4096) };                        /* not RAM */
    for (unsigned i = 0; i < 5; i++)
        store_le(list + 4 * i, 4, pages[i]);
    struct buffer b = { place(g, list, sizeof(list)), sizeof(list), false };
    ring_add(&inflate, &b, 1, false);
    guest_kick(g, 0);
    wait_used(&inflate);
    assert_int_equal(ram8(g, page) | ram8(g, page + 3 * 4096 - 1), 0);
    assert_int_equal(ram8(g, page + 3 * 4096), 0xaa);
    assert_int_equal(ram8(g, page - 1), 0);
    config_write(g, 4, 4, 3);
    must(balloon_query(g->b->vm, &info));
    assert_int_equal(info.actual, BOARD_RAM_SIZE - 3 * 4096);
    assert_int_equal(info.stats[4], UINT64_MAX);

    struct buffer r = { page + 3 * 4096, 4096, true };
    ring_add(&report, &r, 1, false);
    guest_kick(g, 3);
    wait_used(&report);
    assert_int_equal(ram8(g, page + 3 * 4096), 0);

    uint8_t stat[20];
    store_le(stat, 2, 4);
    store_le(stat + 2, 8, 12345);
    store_le(stat + 10, 2, 999);
    store_le(stat + 12, 8, 1);
    struct buffer s = { place(g, stat, 20), 20, false };
    struct used u;
    ring_add(&stats, &s, 1, false);
    guest_kick(g, 2);
    must(balloon_query(g->b->vm, &info));
    assert_int_equal(info.stats[4], 12345);
    assert_false(ring_take(&stats, &u));
    board_advance_ns(g->b, 2100000000);
    wait_used(&stats); /* asked for new ones */
    ring_add(&stats, &s, 1, false);
    guest_kick(g, 2);
    board_check(g->b);
    guest_set_status(g, 0);
    assert_int_equal(guest_status(g), 0);
    guest_free(g);
}

static void balloon_takes_pages_and_nothing_else(void **unused)
{
    take_pages(0);
    take_pages(RAM_SHARED);
}

/* ---- input ------------------------------------------------------------------------------------------------- */
static void input_devices_tell_what_they_have(void **unused)
{
    struct guest *g = guest_new();
    use_device(g, guest_add(g, class_of("virtio-tablet-pci"), "serial", "T1", NULL), 0);
    config_write(g, 0, 1, 0x01);
    assert_true(config_read(g, 2, 1) > 4);
    assert_int_equal(config_read(g, 8, 1), 'V');
    config_write(g, 0, 1, 0x02);
    assert_int_equal(config_read(g, 2, 1), 2);
    assert_int_equal(config_read(g, 9, 1), '1');
    config_write(g, 0, 1, 0x11);
    config_write(g, 1, 1, INPUT_EV_ABS);
    assert_int_equal(config_read(g, 2, 1), 1);
    assert_int_equal(config_read(g, 8, 1), 3);
    config_write(g, 0, 1, 0x12);
    config_write(g, 1, 1, 1);
    assert_int_equal(config_read(g, 2, 1), 20);
    assert_int_equal(config_read(g, 12, 4), INPUT_ABS_MAX);
    config_write(g, 1, 1, 200);
    assert_int_equal(config_read(g, 2, 1), 0);
    config_write(g, 0, 1, 0x99);
    assert_int_equal(config_read(g, 2, 1), 0);
    guest_free(g);
}

static void keys_reach_the_guest_whole_or_not_at_all(void **unused)
{
    struct guest *g = guest_new();
    struct vm *vm = g->b->vm;
    const struct input_event a_down = { INPUT_EV_KEY, 30, 1 }, move = { INPUT_EV_REL, 0, 5 };
    use_device(g, guest_add(g, class_of("virtio-keyboard-device"), NULL), 0);
    assert_false(input_available(vm, INPUT_KEYBOARD));
    assert_true(guest_negotiate(g, V1));
    struct ring events = ring_new(g, 0, 16, false), status = ring_new(g, 1, 16, false);
    guest_driver_ok(g);
    assert_true(input_available(vm, INPUT_KEYBOARD));
    assert_false(input_send_event(vm, INPUT_MOUSE, &move, 1));
    assert_false(input_send_event(vm, INPUT_KEYBOARD, &move, 1)); /* keyboards do not move */
    uint64_t at[16];
    struct buffer b = { guest_alloc(g, 8, 4), 8, true };
    at[0] = b.at;
    ring_add(&events, &b, 1, false);
    assert_false(input_send_event(vm, INPUT_KEYBOARD, &a_down, 1)); /* one buffer, two needed */
    b.at = at[1] = guest_alloc(g, 8, 4);
    ring_add(&events, &b, 1, false);
    assert_true(input_send_event(vm, INPUT_KEYBOARD, &a_down, 1));
    uint8_t raw[8];
    assert_int_equal(wait_used(&events).len, 8);
    assert_int_equal(wait_used(&events).len, 8);
    board_ram_read(g->b, at[0], raw, 8);
    assert_int_equal(load_le(raw, 8), INPUT_EV_KEY | 30 << 16 | (uint64_t)1 << 32);
    board_ram_read(g->b, at[1], raw, 8);
    assert_int_equal(load_le(raw, 8), 0);

    store_le(raw, 8, INPUT_EV_LED | 1 << 16 | (uint64_t)1 << 32);
    struct buffer led = { place(g, raw, 8), 8, false };
    ring_add(&status, &led, 1, false);
    guest_kick(g, 1);
    wait_used(&status);
    assert_int_equal(input_leds(vm), 2);
    board_check(g->b);
    guest_free(g);
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */
static const char *const models[] = { "virtio-blk",   "virtio-net",     "virtio-serial",
                                      "virtio-rng",   "virtio-balloon", "virtio-keyboard",
                                      "virtio-mouse", "virtio-tablet" };

static struct guest *any_device(const char *model, const char *transport, char path[64])
{
    char name[64], text[128];
    struct guest *g = guest_new();
    struct drive_info info;
    struct chardev *c;
    bool disk = !strcmp(model, "virtio-blk"), net = !strcmp(model, "virtio-net");
    bool serial = !strcmp(model, "virtio-serial");
    strcpy(path, "virtio-disk-XXXXXX");
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, 65536), 0);
    close(fd);
    snprintf(text, sizeof(text), "file=%s,if=none,id=b0,discard=on", path);
    must(blk_add_drive(g->b->vm, text, &info));
    must(netdev_add(g->b->vm, "null,id=b0"));
    must(chardev_add(g->b->vm, "b0", "ringbuf", &c));
    snprintf(name, sizeof(name), "%s-%s", model, transport);
    use_device(
        g,
        guest_add(g, class_of(name), disk || net ? (disk ? "drive" : "netdev") : "id", "b0", NULL),
        0);
    if (serial)
        guest_add(g, class_of("virtconsole"), "chardev", "b0", NULL);
    return g;
}

/* Rings full of noise: the device may want a reset, but nothing else happens. */
static void noise_in_every_queue_does_no_harm(void **unused)
{
    uint32_t seed = 99;
    for (size_t m = 0; m < ARRAY_LEN(models); m++)
        for (unsigned round = 0; round < 60; round++) {
            char path[64];
            struct guest *g = any_device(models[m], round & 1 ? "pci" : "device", path);
            assert_true(guest_negotiate(g, guest_offered(g) & ~VIRTIO_BIT(VIRTIO_F_RING_PACKED)));
            unsigned n = MIN(g->v->n_queues, 6u);
            struct ring rings[6];
            for (unsigned i = 0; i < n; i++)
                rings[i] = ring_new(g, i, 16, false);
            guest_driver_ok(g);
            for (unsigned k = 0; k < 40; k++) {
                struct buffer b[3];
                struct ring *r = &rings[k % n];
                uint8_t noise[64];
                unsigned pieces = 1 + (seed >> 20) % 3;
                for (unsigned i = 0; i < sizeof(noise); i++) {
                    seed = seed * 1664525 + 1013904223;
                    noise[i] = (uint8_t)(seed >> 24) & (seed & 0x10000 ? 0xff : 0x0f);
                }
                if (seed & 0x20000)
                    memset(noise + 1, 0, 15);
                uint64_t at = place(g, noise, sizeof(noise));
                for (unsigned i = 0; i < pieces; i++)
                    b[i] = (struct buffer){ at + i * 16, 1 + (seed >> (i + 3)) % 600,
                                            i && seed >> (i + 12) & 1 };
                if (k % 7 == 0)
                    b[0].write = true;
                for (unsigned i = 1; i < pieces; i++)
                    b[i].write |= b[i - 1].write;
                if (k < 5 * n) /* the rings have room */
                    ring_add(r, b, pieces, seed & 1);
                guest_kick(g, r->queue);
                config_write(g, seed >> 8 & 63, 1, seed >> 16);
                if (k % 8 == 0)
                    board_step(g->b);
            }
            board_step(g->b);
            guest_set_status(g, 0);
            for (int i = 0; i < 500 && guest_status(g); i++)
                loop_once(g->b->vm->loop, 5);
            assert_int_equal(guest_status(g), 0);
            board_check(g->b);
            guest_free(g);
            unlink(path);
        }
}

static void every_device_survives_two_resets_and_a_snapshot(void **unused)
{
    for (size_t m = 0; m < ARRAY_LEN(models); m++)
        for (unsigned t = 0; t < 2; t++) {
            char path[64];
            struct guest *g = any_device(models[m], t ? "pci" : "device", path);
            device_reset(g->dev);
            device_reset(g->dev);
            board_check(g->b);
            assert_true(guest_negotiate(g, guest_offered(g)));
            board_check(g->b);
            guest_free(g);
            unlink(path);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_is_read_and_written),
        cmocka_unit_test(disk_answers_what_it_cannot_do),
        cmocka_unit_test(disk_without_a_status_byte_wants_a_reset),
        cmocka_unit_test(disk_takes_a_header_in_pieces),
        cmocka_unit_test(disk_tells_its_serial_number),
        cmocka_unit_test(ranges_are_zeroed_and_discarded),
        cmocka_unit_test(read_only_disk_says_so_and_refuses_writes),
        cmocka_unit_test(write_caching_follows_the_driver),
        cmocka_unit_test(every_queue_of_a_disk_works),
        cmocka_unit_test(reset_amid_requests_ends_clean),
        cmocka_unit_test(disk_with_wrong_properties_is_refused),
        cmocka_unit_test(frames_go_out_and_come_in),
        cmocka_unit_test(frames_wait_until_there_are_buffers),
        cmocka_unit_test(full_network_holds_the_guest_back),
        cmocka_unit_test(control_queue_takes_what_was_negotiated),
        cmocka_unit_test(queue_pairs_are_set_by_the_driver),
        cmocka_unit_test(ports_introduce_themselves),
        cmocka_unit_test(console_carries_bytes_both_ways),
        cmocka_unit_test(named_port_waits_until_it_is_opened),
        cmocka_unit_test(ports_have_their_places),
        cmocka_unit_test(random_bytes_keep_to_their_rate),
        cmocka_unit_test(random_bytes_come_from_an_object),
        cmocka_unit_test(balloon_takes_pages_and_nothing_else),
        cmocka_unit_test(input_devices_tell_what_they_have),
        cmocka_unit_test(keys_reach_the_guest_whole_or_not_at_all),
        cmocka_unit_test(noise_in_every_queue_does_no_harm),
        cmocka_unit_test(every_device_survives_two_resets_and_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
