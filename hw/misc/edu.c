/* edu: a PCI device for courses on driver writing. Facts: QEMU's docs/specs/edu, whose headings the comments
 * name. Factorials and DMA are done at once. */
#include "core/error.h"
#include "hw/pci/pci.h"

enum { /* "MMIO area spec" */
       ID = 0x00,
       LIVENESS = 0x04,
       FACTORIAL = 0x08,
       STATUS = 0x20,
       IRQ_STATUS = 0x24,
       IRQ_RAISE = 0x60,
       IRQ_ACKNOWLEDGE = 0x64,
       DMA_SOURCE = 0x80,
       DMA_DESTINATION = 0x88,
       DMA_COUNT = 0x90,
       DMA_COMMAND = 0x98,
       WIDE_FROM = 0x80, /* from here on 8 bytes may be accessed */
};
enum { IDENTITY = 0x010000ed, STATUS_IRQ = 0x80 };
enum { FACTORIAL_IRQ = 0x01, DMA_IRQ = 0x100 };
enum { DMA_RUN = 1, DMA_FROM_DEVICE = 2, DMA_RAISES = 4, DMA_KEPT = 7 };
enum { BUFFER_AT = 0x40000, BUFFER_SIZE = 4096 };

struct edu {
    struct device dev;
    struct pci_function fn;
    uint64_t dma_mask;
    uint32_t liveness, factorial, status, irq_status;
    uint64_t source, destination, count, command;
    uint8_t buffer[BUFFER_SIZE];
};

static void edu_raise(struct edu *e, uint32_t why)
{
    e->irq_status |= why;
    if (e->irq_status && !pci_msi_fire(&e->fn))
        pci_set_intx(&e->fn, true);
}

static void edu_acknowledge(struct edu *e, uint32_t what)
{
    e->irq_status &= ~what;
    if (!e->irq_status)
        pci_set_intx(&e->fn, false);
}

static uint32_t factorial_of(uint32_t n)
{
    uint32_t product = 1;
    if (n >= 34)
        return 0; /* modulo 2^32 from here on */
    while (n > 1)
        product *= n--;
    return product;
}

/* "DMA controller": between RAM and the buffer, which lies at BUFFER_AT of the device's own addresses. */
static void edu_dma(struct edu *e)
{
    bool out = e->command & DMA_FROM_DEVICE;
    uint64_t mine = (out ? e->source : e->destination) - BUFFER_AT;
    gpa theirs = (out ? e->destination : e->source) & e->dma_mask;
    e->command &= ~(uint64_t)DMA_RUN;
    if (mine > BUFFER_SIZE || e->count > BUFFER_SIZE - mine) {
        device_broken(&e->dev, "DMA of %llu bytes leaves the buffer", (unsigned long long)e->count);
        return;
    }
    bool ok =
        pci_may_master(&e->fn) && (out ? mem_write(e->dev.vm, theirs, e->buffer + mine, e->count)
                                       : mem_read(e->dev.vm, theirs, e->buffer + mine, e->count));
    if (!ok)
        device_broken(&e->dev, "DMA to %#llx is not possible", (unsigned long long)theirs);
    if (e->command & DMA_RAISES)
        edu_raise(e, DMA_IRQ);
}

static uint64_t register_read(const struct edu *e, uint64_t at)
{
    switch (at) {
    case ID: return IDENTITY;
    case LIVENESS: return e->liveness;
    case FACTORIAL: return e->factorial;
    case STATUS: return e->status;
    case IRQ_STATUS: return e->irq_status;
    case DMA_SOURCE: return e->source;
    case DMA_DESTINATION: return e->destination;
    case DMA_COUNT: return e->count;
    case DMA_COMMAND: return e->command;
    default: return 0;
    }
}

static void register_write(struct edu *e, uint64_t at, uint64_t value)
{
    switch (at) {
    case LIVENESS: e->liveness = ~(uint32_t)value; break;
    case FACTORIAL:
        e->factorial = factorial_of((uint32_t)value);
        if (e->status & STATUS_IRQ)
            edu_raise(e, FACTORIAL_IRQ);
        break;
    case STATUS: e->status = value & STATUS_IRQ; break;
    case IRQ_RAISE: edu_raise(e, (uint32_t)value); break;
    case IRQ_ACKNOWLEDGE: edu_acknowledge(e, (uint32_t)value); break;
    case DMA_SOURCE: e->source = value; break;
    case DMA_DESTINATION: e->destination = value; break;
    case DMA_COUNT: e->count = value; break;
    case DMA_COMMAND:
        e->command = value & DMA_KEPT;
        if (value & DMA_RUN)
            edu_dma(e);
        break;
    default: break;
    }
}

static uint64_t edu_read(void *opaque, uint64_t off, unsigned size)
{
    struct edu *e = opaque;
    uint64_t value = 0;
    device_lock(&e->dev);
    if (off >= WIDE_FROM)
        value = register_read(e, off & ~UINT64_C(7)) >> off % 8 * 8;
    else if (size == 4)
        value = register_read(e, off);
    device_unlock(&e->dev);
    return size == 4 ? (uint32_t)value : value;
}

static void edu_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct edu *e = opaque;
    device_lock(&e->dev);
    if (off >= WIDE_FROM ? off % 8 == 0 : size == 4)
        register_write(e, off, value);
    device_unlock(&e->dev);
}

static const struct mmio_ops edu_ops = { edu_read, edu_write, 4, 8, NULL };

static struct error *edu_realize(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    static const struct pci_identity identity = {
        .vendor = 0x1234,
        .device = 0x11e8,
        .revision = 0x10,
        .class_code = 0x00ff00,
        .interrupt_pin = 1,
    };
    struct error *err = pci_realize(&e->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    pci_add_msi(&e->fn);
    pci_add_bar(&e->fn, 0, PCI_BAR_MEM32, mem_add_mmio(dev->vm, "edu", MIB, &edu_ops, e), MIB);
    return NULL;
}

static void edu_unrealize(struct device *dev)
{
    pci_unrealize(&((struct edu *)dev)->fn);
}

static void edu_reset(struct device *dev)
{
    struct edu *e = (struct edu *)dev;
    pci_reset(&e->fn);
    e->liveness = e->factorial = e->status = e->irq_status = 0;
    e->source = e->destination = e->count = e->command = 0;
    memset(e->buffer, 0, sizeof(e->buffer));
}

static struct error *edu_loaded(struct device *dev)
{
    pci_loaded(&((struct edu *)dev)->fn);
    return NULL;
}

static const struct prop edu_props[] = {
    PCI_PROPS(struct edu, fn),
    PROP(struct edu, dma_mask, "dma_mask", PROP_UINT, .def = "0xfffffff",
         .help = "address bits that DMA has"),
};

static const struct field edu_state[] = {
    FIELD_SUB(struct edu, fn, pci_function_fields, 1),
    FIELD(struct edu, liveness),
    FIELD(struct edu, factorial),
    FIELD(struct edu, status, .valid = STATUS_IRQ),
    FIELD(struct edu, irq_status),
    FIELD(struct edu, source),
    FIELD(struct edu, destination),
    FIELD(struct edu, count),
    FIELD(struct edu, command, .valid = DMA_KEPT),
    FIELD_RAW(struct edu, buffer),
};

const struct device_class edu_class = {
    .name = "edu",
    .desc = "PCI device for courses: factorial, interrupts, DMA",
    .bus = "pci",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct edu),
    .props = TABLE(edu_props),
    .state = TABLE(edu_state),
    .realize = edu_realize,
    .unrealize = edu_unrealize,
    .reset = edu_reset,
    .loaded = edu_loaded,
};
