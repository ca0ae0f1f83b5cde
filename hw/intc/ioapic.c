/* I/O APIC. Section numbers: Intel 82093AA data sheet (290566-001); the EOI register and the version are
 * those of later chips: 82801I (ICH9) data sheet, 13.5. An interrupt leaves as a message to the local APICs'
 * addresses, so it takes the same way whoever models those. */
#include "hw/intc/ioapic.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/place.h"

#include <assert.h>

enum { IOREGSEL = 0x00, IOWIN = 0x10, IOEOI = 0x40 };
enum { IOAPICID = 0, IOAPICVER = 1, IOAPICARB = 2, IOREDTBL = 0x10 };
enum { VERSION = 0x20 };
#define REDIR_MASKED     (UINT64_C(1) << 16)
#define REDIR_LEVEL      (UINT64_C(1) << 15)
#define REDIR_REMOTE_IRR (UINT64_C(1) << 14)
#define REDIR_WRITABLE   (UINT64_C(0xfffe00000001afff)) /* 3.2.4; 55:49 extend the destination */
enum { DELIVER_FIXED = 0, DELIVER_LOWEST = 1 };

struct ioapic {
    struct device dev;
    uint64_t addr;
    struct mem_region *mmio;
    uint32_t select, id;
    uint32_t level; /* inputs as they stand */
    uint64_t redir[IOAPIC_N_PINS];
    void (*on_change)(void *opaque, unsigned pin);
    void *on_change_opaque;
};

/* SDM 3A 11.11 gives the message's layout; 3.2.4 that of the entry. */
static struct ioapic_message message_of(uint64_t entry)
{
    uint64_t low = bits(entry, 56, 8), high = bits(entry, 49, 7), logical = bits(entry, 11, 1);
    bool level = entry & REDIR_LEVEL;
    return (struct ioapic_message){
        .address = 0xfee00000 | low << 12 | high << 5 | logical << 2,
        .data = (uint32_t)(entry & 0x7ff) | (uint32_t)level << 15 | (uint32_t)level << 14,
        .masked = entry & REDIR_MASKED,
        .level = level,
    };
}

static void pin_send(struct ioapic *io, unsigned pin)
{
    struct ioapic_message m = message_of(io->redir[pin]);
    vm_send_msi(io->dev.vm, m.address, m.data);
}

/* Only fixed and lowest priority interrupts are levels (3.2.4); others are always edges. */
static bool is_level(uint64_t entry)
{
    return entry & REDIR_LEVEL && bits(entry, 8, 3) <= DELIVER_LOWEST;
}

/* A level that stands and that no APIC works on is sent. */
static void pin_check_level(struct ioapic *io, unsigned pin)
{
    uint64_t entry = io->redir[pin];
    if (!(io->level >> pin & 1) || !is_level(entry) || entry & (REDIR_MASKED | REDIR_REMOTE_IRR))
        return;
    io->redir[pin] |= REDIR_REMOTE_IRR;
    pin_send(io, pin);
}

static void ioapic_set_input(void *opaque, unsigned pin, bool level)
{
    struct ioapic *io = opaque;
    device_lock(&io->dev);
    bool rises = level && !(io->level >> pin & 1);
    io->level = (io->level & ~(1u << pin)) | (uint32_t)level << pin;
    if (is_level(io->redir[pin]))
        pin_check_level(io, pin);
    else if (rises && !(io->redir[pin] & REDIR_MASKED)) /* 3.2.4: a masked edge is lost */
        pin_send(io, pin);
    device_unlock(&io->dev);
}

static void ioapic_end(struct ioapic *io, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_N_PINS; pin++)
        if (is_level(io->redir[pin]) && (uint8_t)io->redir[pin] == vector) {
            io->redir[pin] &= ~REDIR_REMOTE_IRR;
            pin_check_level(io, pin);
        }
}

void ioapic_eoi(struct device *dev, uint8_t vector)
{
    device_lock(dev);
    ioapic_end((struct ioapic *)dev, vector);
    device_unlock(dev);
}

/* ---- registers -------------------------------------------------------------------------------- */
static uint32_t window_read(const struct ioapic *io)
{
    unsigned pin = (io->select - IOREDTBL) / 2;
    switch (io->select) {
    case IOAPICID:
    case IOAPICARB: return io->id;
    case IOAPICVER: return VERSION | (IOAPIC_N_PINS - 1) << 16;
    default:
        if (io->select < IOREDTBL || pin >= IOAPIC_N_PINS)
            return 0;
        return (uint32_t)(io->redir[pin] >> (io->select & 1 ? 32 : 0));
    }
}

/* The pin that changed, or IOAPIC_N_PINS. */
static unsigned window_write(struct ioapic *io, uint32_t value)
{
    unsigned pin = (io->select - IOREDTBL) / 2, shift = io->select & 1 ? 32 : 0;
    if (io->select == IOAPICID)
        io->id = value & 0x0f000000;
    if (io->select < IOREDTBL || pin >= IOAPIC_N_PINS)
        return IOAPIC_N_PINS;
    uint64_t writable = REDIR_WRITABLE & UINT64_C(0xffffffff) << shift;
    io->redir[pin] = (io->redir[pin] & ~writable) | ((uint64_t)value << shift & writable);
    if (!is_level(io->redir[pin]))
        io->redir[pin] &= ~REDIR_REMOTE_IRR; /* how guests without an EOI register end a level */
    pin_check_level(io, pin);
    return pin;
}

static uint64_t ioapic_read(void *opaque, uint64_t off, unsigned size)
{
    struct ioapic *io = opaque;
    device_lock(&io->dev);
    uint32_t value = off == IOREGSEL ? io->select : off == IOWIN ? window_read(io) : 0;
    device_unlock(&io->dev);
    return value;
}

static void ioapic_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct ioapic *io = opaque;
    unsigned changed = IOAPIC_N_PINS;
    device_lock(&io->dev);
    if (off == IOREGSEL)
        io->select = (uint8_t)value;
    else if (off == IOWIN)
        changed = window_write(io, (uint32_t)value);
    else if (off == IOEOI)
        ioapic_end(io, (uint8_t)value);
    device_unlock(&io->dev);
    if (changed < IOAPIC_N_PINS && io->on_change)
        io->on_change(io->on_change_opaque, changed);
}

static const struct mmio_ops ioapic_ops = { ioapic_read, ioapic_write, 1, 4, NULL };

/* ---- wiring and life -------------------------------------------------------------------------- */
struct irq ioapic_input(struct device *dev, unsigned pin)
{
    assert(pin < IOAPIC_N_PINS);
    return (struct irq){ ioapic_set_input, dev, pin };
}

struct ioapic_message ioapic_message(struct device *dev, unsigned pin)
{
    struct ioapic *io = (struct ioapic *)dev;
    assert(pin < IOAPIC_N_PINS);
    device_lock(dev);
    struct ioapic_message m = message_of(io->redir[pin]);
    device_unlock(dev);
    return m;
}

void ioapic_on_change(struct device *dev, void (*fn)(void *opaque, unsigned pin), void *opaque)
{
    struct ioapic *io = (struct ioapic *)dev;
    io->on_change = fn;
    io->on_change_opaque = opaque;
}

void ioapic_get(struct device *dev, struct ioapic_regs *regs)
{
    const struct ioapic *io = (struct ioapic *)dev;
    device_lock(dev);
    *regs = (struct ioapic_regs){ .select = io->select, .id = io->id >> 24, .level = io->level };
    memcpy(regs->redir, io->redir, sizeof(regs->redir));
    device_unlock(dev);
}

void ioapic_set(struct device *dev, const struct ioapic_regs *regs)
{
    struct ioapic *io = (struct ioapic *)dev;
    device_lock(dev);
    io->select = regs->select & 0xff;
    io->id = (regs->id & 15) << 24;
    io->level = regs->level & ((1 << IOAPIC_N_PINS) - 1);
    for (unsigned pin = 0; pin < IOAPIC_N_PINS; pin++) {
        uint64_t entry = regs->redir[pin] & (REDIR_WRITABLE | REDIR_REMOTE_IRR);
        io->redir[pin] = is_level(entry) ? entry : entry & ~REDIR_REMOTE_IRR;
        pin_check_level(io, pin);
    }
    device_unlock(dev);
    for (unsigned pin = 0; pin < IOAPIC_N_PINS && io->on_change; pin++)
        io->on_change(io->on_change_opaque, pin);
}

static struct error *ioapic_realize(struct device *dev)
{
    struct ioapic *io = (struct ioapic *)dev;
    io->mmio = mem_add_mmio(dev->vm, dev->cls->name, IOAPIC_SIZE, &ioapic_ops, io);
    place_region(io->mmio, io->addr);
    return NULL;
}

static void ioapic_unrealize(struct device *dev)
{
    mem_free_region(((struct ioapic *)dev)->mmio);
}

/* `level` stays: it belongs to the sources. */
static void ioapic_reset(struct device *dev)
{
    struct ioapic *io = (struct ioapic *)dev;
    io->select = io->id = 0;
    for (unsigned pin = 0; pin < IOAPIC_N_PINS; pin++)
        io->redir[pin] = REDIR_MASKED;
}

static struct error *ioapic_loaded(struct device *dev)
{
    struct ioapic *io = (struct ioapic *)dev;
    for (unsigned pin = 0; pin < IOAPIC_N_PINS; pin++)
        if (io->redir[pin] & REDIR_REMOTE_IRR && !is_level(io->redir[pin]))
            return error_new("ioapic: pin %u has an edge in service", pin);
    return NULL;
}

static const struct prop ioapic_props[] = {
    ADDR_PROP(struct ioapic),
};

static const struct field ioapic_state[] = {
    FIELD(struct ioapic, select, .max = 0xff),
    FIELD(struct ioapic, id, .valid = 0x0f000000),
    FIELD(struct ioapic, level, .valid = (1 << IOAPIC_N_PINS) - 1),
    FIELD_ARRAY(struct ioapic, redir, .valid = REDIR_WRITABLE | REDIR_REMOTE_IRR),
};

const struct device_class ioapic_class = {
    .name = "ioapic",
    .desc = "I/O APIC",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct ioapic),
    .props = TABLE(ioapic_props),
    .state = TABLE(ioapic_state),
    .realize = ioapic_realize,
    .unrealize = ioapic_unrealize,
    .reset = ioapic_reset,
    .loaded = ioapic_loaded,
};
