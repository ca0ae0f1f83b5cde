/* SiFive's test finisher: one word that ends or resets the machine. Class "sifive-test". Described in
 * SiFive's freedom-u SoC manuals; the reset value is the virt board's addition. */
#include "core/device.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/place.h"

enum { TEST_SIZE = 0x1000, TEST_FAIL = 0x3333, TEST_PASS = 0x5555, TEST_RESET = 0x7777 };

struct finisher {
    struct device dev;
    uint64_t addr;
    struct mem_region *mmio;
};

static void finisher_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct finisher *f = opaque;
    unsigned code = value >> 16 & 0xffff;
    if (off != 0)
        return;
    switch (value & 0xffff) {
    case TEST_PASS: vm_request_end(f->dev.vm, VERDICT_POWERED_OFF, 0, NULL); break;
    case TEST_FAIL: vm_request_end(f->dev.vm, VERDICT_GUEST_EXIT, (int)MIN(code, 255), NULL); break;
    case TEST_RESET: vm_request_reset(f->dev.vm); break;
    default: break;
    }
}

static uint64_t finisher_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static const struct mmio_ops finisher_ops = { finisher_read, finisher_write, 2, 4 };

static struct error *finisher_realize(struct device *dev)
{
    struct finisher *f = (struct finisher *)dev;
    f->mmio = mem_add_mmio(dev->vm, dev->cls->name, TEST_SIZE, &finisher_ops, f);
    place_region(f->mmio, f->addr);
    return NULL;
}

static void finisher_unrealize(struct device *dev)
{
    mem_free_region(((struct finisher *)dev)->mmio);
}

static const struct prop finisher_props[] = {
    ADDR_PROP(struct finisher),
};

const struct device_class sifive_test_class = {
    .name = "sifive-test",
    .desc = "SiFive test finisher: power off, exit code, reset",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct finisher),
    .props = TABLE(finisher_props),
    .realize = finisher_realize,
    .unrealize = finisher_unrealize,
};
