/* The test device of kvm-unit-tests; its ports are listed in that project's x86 README and tests. */
#include "hw/misc/pc_testdev.h"

#include "core/error.h"
#include "hw/isa.h"
#include "hw/place.h"

#include <assert.h>

enum {
    STORE_AT = 0xe0, /* four bytes that keep what is written */
    FLUSH_AT = 0xe4, /* a page number: QEMU drops its host mapping; there is nothing to drop here */
    STORE_BYTE_AT = 0xe8, /* as at 0xe0, a byte at a time */
    LINES_AT = 0x2000,
    MEMORY_SIZE = 0x10000,
};
#define MEMORY_AT ((gpa)0xff000000)

struct testdev {
    struct device dev;
    struct mem_region *store, *flush, *store_bytes, *lines, *memory;
    uint8_t stored[4], bytes[MEMORY_SIZE];
    struct irq out[PC_TESTDEV_N_LINES];
};

static uint64_t read_from(struct testdev *t, const uint8_t *at, unsigned size)
{
    device_lock(&t->dev);
    uint64_t value = load_le(at, size);
    device_unlock(&t->dev);
    return value;
}

static void write_to(struct testdev *t, uint8_t *at, unsigned size, uint64_t value)
{
    device_lock(&t->dev);
    store_le(at, size, value);
    device_unlock(&t->dev);
}

static uint64_t store_read(void *opaque, uint64_t off, unsigned size)
{
    struct testdev *t = opaque;
    return read_from(t, t->stored + off, size);
}

static void store_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct testdev *t = opaque;
    write_to(t, t->stored + off, size, value);
}

static uint64_t memory_read(void *opaque, uint64_t off, unsigned size)
{
    struct testdev *t = opaque;
    return read_from(t, t->bytes + off, size);
}

static void memory_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct testdev *t = opaque;
    write_to(t, t->bytes + off, size, value);
}

static uint64_t nothing_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void nothing_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
}

static void lines_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    irq_set(&((struct testdev *)opaque)->out[off], value);
}

static const struct mmio_ops store_ops = { store_read, store_write, 1, 4, NULL };
static const struct mmio_ops store_byte_ops = { store_read, store_write, 1, 1, NULL };
static const struct mmio_ops memory_ops = { memory_read, memory_write, 1, 8, NULL };
static const struct mmio_ops flush_ops = { nothing_read, nothing_write, 1, 4, NULL };
static const struct mmio_ops lines_ops = { nothing_read, lines_write, 1, 1, NULL };

struct irq *pc_testdev_output(struct device *dev, unsigned n)
{
    assert(n < PC_TESTDEV_N_LINES);
    return &((struct testdev *)dev)->out[n];
}

static struct error *testdev_realize(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    struct vm *vm = dev->vm;
    struct error *err = isa_check(dev);
    if (err)
        return err;
    t->store = mem_add_mmio(vm, "testdev-ioport", 4, &store_ops, t);
    t->flush = mem_add_mmio(vm, "testdev-flush", 4, &flush_ops, t);
    t->store_bytes = mem_add_mmio(vm, "testdev-ioport-byte", 4, &store_byte_ops, t);
    t->lines = mem_add_mmio(vm, "testdev-irq", PC_TESTDEV_N_LINES, &lines_ops, t);
    t->memory = mem_add_mmio(vm, "testdev-memory", MEMORY_SIZE, &memory_ops, t);
    mem_map_ports(t->store, STORE_AT, 0);
    mem_map_ports(t->flush, FLUSH_AT, 0);
    mem_map_ports(t->store_bytes, STORE_BYTE_AT, 0);
    mem_map_ports(t->lines, LINES_AT, 0);
    mem_map(t->memory, MEMORY_AT, 0);
    return NULL;
}

static void testdev_unrealize(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    mem_free_region(t->store);
    mem_free_region(t->flush);
    mem_free_region(t->store_bytes);
    mem_free_region(t->lines);
    mem_free_region(t->memory);
}

static const struct field testdev_state[] = {
    FIELD_RAW(struct testdev, stored),
    FIELD_RAW(struct testdev, bytes),
};

const struct device_class pc_testdev_class = {
    .name = "pc-testdev",
    .desc = "what kvm-unit-tests expects",
    .bus = "system",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct testdev),
    .state = TABLE(testdev_state),
    .realize = testdev_realize,
    .unrealize = testdev_unrealize,
};
