/* 8259A pair. Sections are those of Intel's data sheet (order number 231468-003): "ICW1" etc. ELCR: 82371SB
 * (PIIX3) data sheet, 2.5.4. */
#include "hw/intc/i8259.h"

#include "core/error.h"
#include "hw/place.h"

#include <assert.h>

enum { ICW1 = 1 << 4, ICW1_ICW4 = 1 << 0, ICW1_SINGLE = 1 << 1, ICW1_LEVEL = 1 << 3 };
enum { ICW4_AUTO_EOI = 1 << 1, ICW4_FULLY_NESTED = 1 << 4 };
enum { OCW3 = 1 << 3, OCW3_READ = 1 << 1, OCW3_POLL = 1 << 2, OCW3_MASK_SET = 1 << 6 };
enum { CASCADE = 2, POLL_HIT = 0x80 };
/* What the next write to port 1 is. */
enum { EXPECT_MASK, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4 };

struct pic {
    struct device dev;
    uint32_t iobase, iobase2, elcr;
    struct mem_region *ports[2], *elcr_ports;
    struct i8259_chip chips[2]; /* master, slave */
    struct irq out;
};

static uint8_t level_triggered(const struct i8259_chip *c)
{
    return c->icw1 & ICW1_LEVEL ? 0xff : c->elcr;
}

/* The input of highest priority in a mask, as its rank from 0; or 8. */
static unsigned rank_of(const struct i8259_chip *c, uint8_t mask)
{
    unsigned rank = 0;
    while (rank < 8 && !(mask >> ((c->top + rank) & 7) & 1))
        rank++;
    return rank;
}

/* The request that a chip has for whoever listens, or -1. */
static int chip_pending(const struct i8259_chip *c, bool master)
{
    unsigned wants = rank_of(c, c->irr & ~c->imr);
    uint8_t busy = c->isr;
    if (c->special_mask)
        busy &= ~c->imr; /* "Special Mask Mode": what is masked holds back nothing */
    if (master && c->icw4 & ICW4_FULLY_NESTED)
        busy &= ~(1 << CASCADE); /* "Special Fully Nested Mode" */
    return wants < rank_of(c, busy) ? (int)((c->top + wants) & 7) : -1;
}

static void chip_input(struct i8259_chip *c, unsigned n, bool level)
{
    uint8_t bit = 1 << n;
    if (level_triggered(c) & bit)
        c->irr = level ? c->irr | bit : c->irr & ~bit;
    else if (level && !(c->level & bit))
        c->irr |= bit;
    c->level = level ? c->level | bit : c->level & ~bit;
}

static void pic_update(struct pic *p)
{
    chip_input(&p->chips[0], CASCADE, chip_pending(&p->chips[1], false) >= 0);
    irq_set(&p->out, chip_pending(&p->chips[0], true) >= 0);
}

static void pic_set_input(void *opaque, unsigned n, bool level)
{
    struct pic *p = opaque;
    device_lock(&p->dev);
    chip_input(&p->chips[n / 8], n % 8, level);
    pic_update(p);
    device_unlock(&p->dev);
}

/* ---- acknowledge: "Interrupt Sequence" -------------------------------------------------------- */
static void chip_accept(struct i8259_chip *c, unsigned n)
{
    uint8_t bit = 1 << n;
    if (!(level_triggered(c) & bit))
        c->irr &= ~bit;
    if (!(c->icw4 & ICW4_AUTO_EOI))
        c->isr |= bit;
    else if (c->rotate_on_eoi)
        c->top = (n + 1) & 7;
}

uint8_t i8259_acknowledge(struct device *dev)
{
    struct pic *p = (struct pic *)dev;
    device_lock(dev);
    struct i8259_chip *c = &p->chips[0];
    int n = chip_pending(c, true);
    if (n >= 0)
        chip_accept(c, (unsigned)n);
    if (n == CASCADE) {
        c = &p->chips[1];
        n = chip_pending(c, false);
        if (n >= 0)
            chip_accept(c, (unsigned)n);
        chip_input(&p->chips[0], CASCADE, false); /* what else it has is a new edge */
    }
    uint8_t vector = c->vector + (n < 0 ? 7 : (unsigned)n);
    pic_update(p);
    device_unlock(dev);
    return vector;
}

/* ---- registers -------------------------------------------------------------------------------- */
static void write_icw1(struct i8259_chip *c, uint8_t value)
{
    c->icw1 = value;
    c->irr = c->level & level_triggered(c); /* a: an edge must come anew */
    c->imr = c->isr = c->icw4 = 0;
    c->top = 0;
    c->special_mask = c->read_isr = c->rotate_on_eoi = c->poll = false;
    c->expect = EXPECT_ICW2;
}

/* "OCW2": end of interrupt and rotation. */
static void write_ocw2(struct i8259_chip *c, uint8_t value)
{
    unsigned n = value & 7, first = (c->top + rank_of(c, c->isr)) & 7;
    switch (value >> 5) {
    case 0: c->rotate_on_eoi = false; break;
    case 4: c->rotate_on_eoi = true; break;
    case 1: /* non-specific */
    case 5:
        if (!c->isr)
            break;
        c->isr &= ~(1 << first);
        if (value >> 5 == 5)
            c->top = (first + 1) & 7;
        break;
    case 3: c->isr &= ~(1 << n); break;
    case 7: c->isr &= ~(1 << n); /* fall through */
    case 6: c->top = (n + 1) & 7; break;
    default: break;
    }
}

static void write_ocw3(struct i8259_chip *c, uint8_t value)
{
    c->poll = value & OCW3_POLL;
    if (value & OCW3_READ)
        c->read_isr = value & 1;
    if (value & OCW3_MASK_SET)
        c->special_mask = value >> 5 & 1;
}

static void write_port1(struct i8259_chip *c, uint8_t value)
{
    bool wants_icw4 = c->icw1 & ICW1_ICW4;
    switch (c->expect) {
    case EXPECT_MASK: c->imr = value; return;
    case EXPECT_ICW2:
        c->vector = value & 0xf8;
        c->expect = !(c->icw1 & ICW1_SINGLE) ? EXPECT_ICW3 : wants_icw4 ? EXPECT_ICW4 : EXPECT_MASK;
        return;
    case EXPECT_ICW3:
        c->icw3 = value; /* the wiring is fixed */
        c->expect = wants_icw4 ? EXPECT_ICW4 : EXPECT_MASK;
        return;
    default: c->icw4 = value; c->expect = EXPECT_MASK;
    }
}

/* "Poll Command": the next read acknowledges. */
static uint8_t chip_poll(struct i8259_chip *c, bool master)
{
    int n = chip_pending(c, master);
    c->poll = false;
    if (n < 0)
        return 0;
    chip_accept(c, (unsigned)n);
    return POLL_HIT | n;
}

static uint64_t chip_read(struct pic *p, unsigned which, uint64_t off)
{
    struct i8259_chip *c = &p->chips[which];
    device_lock(&p->dev);
    uint8_t value = c->poll       ? chip_poll(c, which == 0)
                    : off         ? c->imr
                    : c->read_isr ? c->isr
                                  : c->irr;
    pic_update(p);
    device_unlock(&p->dev);
    return value;
}

static void chip_write(struct pic *p, unsigned which, uint64_t off, uint8_t value)
{
    struct i8259_chip *c = &p->chips[which];
    device_lock(&p->dev);
    if (off)
        write_port1(c, value);
    else if (value & ICW1)
        write_icw1(c, value);
    else if (value & OCW3)
        write_ocw3(c, value);
    else
        write_ocw2(c, value);
    pic_update(p);
    device_unlock(&p->dev);
}

static uint64_t master_read(void *opaque, uint64_t off, unsigned size)
{
    return chip_read(opaque, 0, off);
}

static uint64_t slave_read(void *opaque, uint64_t off, unsigned size)
{
    return chip_read(opaque, 1, off);
}

static void master_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    chip_write(opaque, 0, off, (uint8_t)value);
}

static void slave_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    chip_write(opaque, 1, off, (uint8_t)value);
}

/* The timer, the keyboard, the cascade, the clock and the coprocessor are edges for ever. */
static const uint8_t elcr_valid[2] = { 0xf8, 0xde };

static uint64_t elcr_read(void *opaque, uint64_t off, unsigned size)
{
    struct pic *p = opaque;
    device_lock(&p->dev);
    uint8_t value = p->chips[off].elcr;
    device_unlock(&p->dev);
    return value;
}

static void elcr_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pic *p = opaque;
    device_lock(&p->dev);
    p->chips[off].elcr = value & elcr_valid[off];
    pic_update(p);
    device_unlock(&p->dev);
}

static const struct mmio_ops chip_ops[2] = {
    { master_read, master_write, 1, 1 },
    { slave_read, slave_write, 1, 1 },
};
static const struct mmio_ops elcr_ops = { elcr_read, elcr_write, 1, 1 };

/* ---- wiring and life -------------------------------------------------------------------------- */
struct irq i8259_input(struct device *dev, unsigned n)
{
    assert(n < I8259_N_IRQS && n != CASCADE);
    return (struct irq){ pic_set_input, dev, n };
}

struct irq *i8259_output(struct device *dev)
{
    return &((struct pic *)dev)->out;
}

void i8259_get(struct device *dev, struct i8259_chip chips[2])
{
    device_lock(dev);
    memcpy(chips, ((struct pic *)dev)->chips, sizeof(((struct pic *)dev)->chips));
    device_unlock(dev);
}

void i8259_set(struct device *dev, const struct i8259_chip chips[2])
{
    struct pic *p = (struct pic *)dev;
    device_lock(dev);
    memcpy(p->chips, chips, sizeof(p->chips));
    for (unsigned i = 0; i < 2; i++)
        p->chips[i].elcr &= elcr_valid[i];
    p->chips[0].level &= ~(1 << CASCADE);
    p->chips[0].level |= (chip_pending(&p->chips[1], false) >= 0) << CASCADE;
    irq_set(&p->out, chip_pending(&p->chips[0], true) >= 0);
    device_unlock(dev);
}

static struct error *pic_realize(struct device *dev)
{
    struct pic *p = (struct pic *)dev;
    static const char *const names[] = { "pic", "pic2" };
    for (unsigned i = 0; i < 2; i++) {
        p->ports[i] = mem_add_mmio(dev->vm, names[i], 2, &chip_ops[i], p);
        place_ports(p->ports[i], i ? p->iobase2 : p->iobase);
    }
    p->elcr_ports = mem_add_mmio(dev->vm, "elcr", 2, &elcr_ops, p);
    place_ports(p->elcr_ports, p->elcr);
    return NULL;
}

static void pic_unrealize(struct device *dev)
{
    struct pic *p = (struct pic *)dev;
    mem_free_region(p->ports[0]);
    mem_free_region(p->ports[1]);
    mem_free_region(p->elcr_ports);
}

/* The levels stay: they belong to the sources. */
static void pic_reset(struct device *dev)
{
    struct pic *p = (struct pic *)dev;
    for (unsigned i = 0; i < 2; i++)
        p->chips[i] = (struct i8259_chip){ .level = p->chips[i].level };
    pic_update(p);
}

static struct error *pic_loaded(struct device *dev)
{
    struct pic *p = (struct pic *)dev;
    for (unsigned i = 0; i < 2; i++)
        if (p->chips[i].elcr & ~elcr_valid[i])
            return error_new("isa-i8259: IRQs %#x cannot be level-triggered", p->chips[i].elcr);
    irq_set(&p->out, chip_pending(&p->chips[0], true) >= 0);
    return NULL;
}

static const struct prop pic_props[] = {
    PORT_PROP(struct pic, iobase, "iobase"),
    PORT_PROP(struct pic, iobase2, "iobase2"),
    PORT_PROP(struct pic, elcr, "elcr"),
};

static const struct field chip_state[] = {
    FIELD(struct i8259_chip, level),         FIELD(struct i8259_chip, irr),
    FIELD(struct i8259_chip, imr),           FIELD(struct i8259_chip, isr),
    FIELD(struct i8259_chip, elcr),          FIELD(struct i8259_chip, vector, .valid = 0xf8),
    FIELD(struct i8259_chip, top, .max = 7), FIELD(struct i8259_chip, expect, .max = EXPECT_ICW4),
    FIELD(struct i8259_chip, icw1),          FIELD(struct i8259_chip, icw3),
    FIELD(struct i8259_chip, icw4),          FIELD(struct i8259_chip, rotate_on_eoi),
    FIELD(struct i8259_chip, special_mask),  FIELD(struct i8259_chip, read_isr),
    FIELD(struct i8259_chip, poll),
};
static const struct field pic_state[] = { FIELD_SUB(struct pic, chips, chip_state, 2) };

const struct device_class i8259_class = {
    .name = "isa-i8259",
    .desc = "8259A interrupt controllers",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct pic),
    .props = TABLE(pic_props),
    .state = TABLE(pic_state),
    .realize = pic_realize,
    .unrealize = pic_unrealize,
    .reset = pic_reset,
    .loaded = pic_loaded,
};
