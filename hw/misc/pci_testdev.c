/* pci-testdev: counts writes to its BARs, by the device or by a doorbell, so that a guest can time and compare
 * the ways. Facts: QEMU's docs/specs/pci-testdev. */
#include "core/error.h"
#include "hw/pci/pci.h"

#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {                /* the header at the start of each BAR, about the test that was chosen */
       AT_TEST = 0,   /* write: choose */
       AT_WIDTH = 1,  /* of the accesses to make, in bytes */
       AT_OFFSET = 4, /* where */
       AT_DATA = 8,   /* what to write */
       AT_COUNT = 12, /* how many came */
       AT_NAME = 16,
       NAME_SIZE = 32,
       HEADER_SIZE = AT_NAME + NAME_SIZE,
};
enum { MEM_SIZE = 4096, IO_SIZE = 256, WIDTH = 4, MATCHING = 0xfa, NO_TEST = 0xff };

/* The tests; each exists once per BAR. */
static const struct test_kind {
    const char *name;
    bool doorbell, match;
    uint8_t offset;
} kinds[] = {
    { "no-eventfd", false, false, 0x80 },
    { "wildcard-eventfd", true, false, 0x84 },
    { "datamatch-eventfd", true, true, 0x88 },
};
enum { N_KINDS = ARRAY_LEN(kinds), N_BARS = 2 };

struct testdev {
    struct device dev;
    struct pci_function fn;
    struct testdev_bar {
        struct testdev *owner;
        struct mem_region *region;
        int fds[N_KINDS]; /* of the doorbells, or -1 */
        uint8_t test;     /* chosen: an index of kinds, or NO_TEST */
        uint32_t count;
    } bars[N_BARS]; /* memory, I/O */
};

static const struct test_kind *chosen(const struct testdev_bar *b)
{
    return b->test < N_KINDS ? &kinds[b->test] : NULL;
}

/* Rings since last time. */
static void take_rings(struct testdev_bar *b)
{
    uint64_t rings;
    if (chosen(b) && chosen(b)->doorbell && read(b->fds[b->test], &rings, sizeof(rings)) > 0)
        b->count += (uint32_t)rings;
}

static void header_fill(struct testdev_bar *b, uint8_t *header)
{
    const struct test_kind *k = chosen(b);
    memset(header, 0, HEADER_SIZE);
    header[AT_TEST] = b->test;
    if (!k)
        return;
    take_rings(b);
    header[AT_WIDTH] = WIDTH;
    store_le(header + AT_OFFSET, 4, k->offset);
    store_le(header + AT_DATA, 4, MATCHING);
    store_le(header + AT_COUNT, 4, b->count);
    snprintf((char *)header + AT_NAME, NAME_SIZE, "%s:%s", b == b->owner->bars ? "mmio" : "portio",
             k->name);
}

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
    struct testdev_bar *b = opaque;
    uint8_t header[HEADER_SIZE];
    if (off + size > sizeof(header))
        return 0;
    device_lock(&b->owner->dev);
    header_fill(b, header);
    device_unlock(&b->owner->dev);
    return load_le(header + off, size);
}

static void bar_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct testdev_bar *b = opaque;
    device_lock(&b->owner->dev);
    if (off == AT_TEST) {
        take_rings(b); /* of the test before: they are not this one's */
        b->test = value < N_KINDS ? (uint8_t)value : NO_TEST;
        take_rings(b);
        b->count = 0;
    } else if (chosen(b) && off == chosen(b)->offset && size == WIDTH) {
        b->count++;
    }
    device_unlock(&b->owner->dev);
}

static const struct mmio_ops bar_ops = { bar_read, bar_write, 1, 4, NULL };

static struct error *add_doorbells(struct testdev_bar *b)
{
    for (unsigned i = 0; i < N_KINDS; i++) {
        if (!kinds[i].doorbell)
            continue;
        b->fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (b->fds[i] < 0)
            return error_errno("cannot make a doorbell");
        struct error *err = mem_add_doorbell(b->region, kinds[i].offset, WIDTH, kinds[i].match,
                                             MATCHING, b->fds[i]);
        if (err)
            return err;
    }
    return NULL;
}

static void testdev_unrealize(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    pci_unrealize(&t->fn);
    for (unsigned i = 0; i < N_BARS * N_KINDS; i++)
        if (t->bars[i / N_KINDS].fds[i % N_KINDS] >= 0)
            close(t->bars[i / N_KINDS].fds[i % N_KINDS]);
}

static struct error *testdev_realize(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    static const struct pci_identity identity = {
        .vendor = 0x1b36,
        .device = 0x0005,
        .class_code = 0xff0000,
    };
    for (unsigned i = 0; i < N_BARS; i++) {
        t->bars[i].owner = t;
        memset(t->bars[i].fds, -1, sizeof(t->bars[i].fds));
    }
    struct error *err = pci_realize(&t->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    for (unsigned i = 0; i < N_BARS; i++) {
        struct testdev_bar *b = &t->bars[i];
        uint64_t size = i ? IO_SIZE : MEM_SIZE;
        b->region = mem_add_mmio(dev->vm, i ? "pci-testdev-io" : "pci-testdev", size, &bar_ops, b);
        pci_add_bar(&t->fn, i, i ? PCI_BAR_IO : PCI_BAR_MEM32, b->region, size);
    }
    for (unsigned i = 0; i < N_BARS && !err; i++)
        err = add_doorbells(&t->bars[i]);
    if (err)
        testdev_unrealize(dev);
    return err;
}

static void testdev_reset(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    pci_reset(&t->fn);
    for (unsigned i = 0; i < N_BARS; i++) {
        t->bars[i].test = NO_TEST;
        t->bars[i].count = 0;
    }
}

static struct error *testdev_loaded(struct device *dev)
{
    pci_loaded(&((struct testdev *)dev)->fn);
    return NULL;
}

static const struct prop testdev_props[] = { PCI_PROPS(struct testdev, fn) };

static const struct field bar_state[] = {
    FIELD(struct testdev_bar, test),
    FIELD(struct testdev_bar, count),
    DERIVED(struct testdev_bar, fds),
};
static const struct field testdev_state[] = {
    FIELD_SUB(struct testdev, fn, pci_function_fields, 1),
    FIELD_SUB(struct testdev, bars, bar_state, N_BARS),
};

const struct device_class pci_testdev_class = {
    .name = "pci-testdev",
    .desc = "counts writes, for tests of doorbells",
    .bus = "pci",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct testdev),
    .props = TABLE(testdev_props),
    .state = TABLE(testdev_state),
    .realize = testdev_realize,
    .unrealize = testdev_unrealize,
    .reset = testdev_reset,
    .loaded = testdev_loaded,
};
