/* Interrupt files. Section numbers: RISC-V Advanced Interrupt Architecture 1.0, chapter 3. */
#include "hw/intc/imsic.h"

#include "core/error.h"
#include "hw/place.h"

enum { WORDS = (IMSIC_MAX_IDS + 64) / 64 };
enum { SETEIPNUM_LE = 0x000, SETEIPNUM_BE = 0x004 };                      /* 3.5 */
enum { EIDELIVERY = 0x70, EITHRESHOLD = 0x72, EIP0 = 0x80, EIE0 = 0xc0 }; /* 3.8 */

struct imsic {
    struct device dev;
    uint64_t addr;
    uint32_t n_ids; /* identities 1..n_ids; 2^k - 1 */
    struct mem_region *mmio;

    uint64_t pending[WORDS], enabled[WORDS];
    uint32_t threshold;
    bool delivery;

    struct irq out;
};

/* The lowest pending and enabled identity below the threshold, or 0 (3.9). */
static unsigned imsic_top(const struct imsic *m)
{
    for (unsigned w = 0; w < WORDS; w++) {
        uint64_t set = m->pending[w] & m->enabled[w];
        unsigned id = set ? w * 64 + (unsigned)__builtin_ctzll(set) : 0;
        if (id)
            return m->threshold == 0 || id < m->threshold ? id : 0;
    }
    return 0;
}

static void imsic_update(struct imsic *m)
{
    irq_set(&m->out, m->delivery && imsic_top(m) != 0);
}

static void imsic_put_pending(struct imsic *m, unsigned id, bool on)
{
    uint64_t mask = UINT64_C(1) << id % 64;
    if (id == 0 || id > m->n_ids)
        return;
    m->pending[id / 64] = on ? m->pending[id / 64] | mask : m->pending[id / 64] & ~mask;
    imsic_update(m);
}

static uint64_t imsic_read(void *opaque, uint64_t off, unsigned size)
{
    return 0; /* 3.5: both registers read 0 */
}

static void imsic_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct imsic *m = opaque;
    uint32_t id = off == SETEIPNUM_BE ? __builtin_bswap32((uint32_t)value) : (uint32_t)value;
    if (off > SETEIPNUM_BE)
        return;
    device_lock(&m->dev);
    imsic_put_pending(m, id, true);
    device_unlock(&m->dev);
}

static void imsic_msi(void *opaque, uint64_t off, uint32_t data)
{
    imsic_write(opaque, off, 4, data);
}

static const struct mmio_ops imsic_ops = { imsic_read, imsic_write, 4, 4, imsic_msi };

/* Bits of the identities that exist in 64-bit word w. */
static uint64_t imsic_word_mask(const struct imsic *m, unsigned w)
{
    uint64_t mask = w * 64 > m->n_ids         ? 0
                    : m->n_ids - w * 64 >= 63 ? ~UINT64_C(0)
                                              : (UINT64_C(2) << (m->n_ids - w * 64)) - 1;
    return w == 0 ? mask & ~UINT64_C(1) : mask;
}

static uint64_t merge(uint64_t old, uint64_t mask, uint64_t v)
{
    return (old & ~mask) | (v & mask);
}

/* 3.8: arrays have a register for each 32 identities; with 64-bit CSRs only even numbers exist. */
static bool imsic_array_access(struct imsic *m, uint64_t *words, unsigned index, uint64_t mask,
                               uint64_t v, uint64_t *old)
{
    unsigned w = index / 2;
    if (index % 2)
        return false;
    *old = w < WORDS ? words[w] : 0;
    if (w < WORDS)
        words[w] = merge(words[w], mask, v) & imsic_word_mask(m, w);
    return true;
}

static bool imsic_access_locked(struct imsic *m, unsigned select, uint64_t mask, uint64_t v,
                                uint64_t *old)
{
    if (select >= EIE0 && select < EIE0 + 64)
        return imsic_array_access(m, m->enabled, select - EIE0, mask, v, old);
    if (select >= EIP0 && select < EIP0 + 64)
        return imsic_array_access(m, m->pending, select - EIP0, mask, v, old);
    if (select == EIDELIVERY) {
        *old = m->delivery;
        m->delivery = merge(*old, mask, v) == 1; /* 3.8.1: 0x40000000 is for the PLIC we lack */
        return true;
    }
    if (select == EITHRESHOLD) {
        *old = m->threshold;
        m->threshold = (uint32_t)merge(*old, mask, v) & m->n_ids;
        return true;
    }
    return false;
}

bool imsic_access(struct device *dev, unsigned select, uint64_t mask, uint64_t v, uint64_t *old)
{
    struct imsic *m = (struct imsic *)dev;
    device_lock(dev);
    bool there = imsic_access_locked(m, select, mask, v, old);
    if (there && mask)
        imsic_update(m);
    device_unlock(dev);
    return there;
}

uint64_t imsic_topei(struct device *dev, bool claim)
{
    struct imsic *m = (struct imsic *)dev;
    device_lock(dev);
    unsigned id = imsic_top(m);
    if (claim)
        imsic_put_pending(m, id, false);
    device_unlock(dev);
    return (uint64_t)id << 16 | id;
}

struct irq *imsic_output(struct device *dev)
{
    return &((struct imsic *)dev)->out;
}

static struct error *imsic_realize(struct device *dev)
{
    struct imsic *m = (struct imsic *)dev;
    if ((m->n_ids & (m->n_ids + 1)) != 0)
        return error_new("num-ids=%u is not one of 63, 127, 255", m->n_ids);
    m->mmio = mem_add_mmio(dev->vm, dev->cls->name, IMSIC_SIZE, &imsic_ops, m);
    place_region(m->mmio, m->addr);
    return NULL;
}

static void imsic_unrealize(struct device *dev)
{
    mem_free_region(((struct imsic *)dev)->mmio);
}

static void imsic_reset(struct device *dev)
{
    struct imsic *m = (struct imsic *)dev;
    memset(m->pending, 0, sizeof(m->pending));
    memset(m->enabled, 0, sizeof(m->enabled));
    m->threshold = 0;
    m->delivery = false;
    imsic_update(m);
}

static struct error *imsic_loaded(struct device *dev)
{
    struct imsic *m = (struct imsic *)dev;
    for (unsigned w = 0; w < WORDS; w++)
        if ((m->pending[w] | m->enabled[w]) & ~imsic_word_mask(m, w))
            return error_new("state for an identity that does not exist");
    imsic_update(m);
    return NULL;
}

static const struct prop imsic_props[] = {
    ADDR_PROP(struct imsic),
    PROP(struct imsic, n_ids, "num-ids", PROP_UINT, .def = "255", .min = 63, .max = IMSIC_MAX_IDS,
         .help = "interrupt identities: 63, 127 or 255"),
};

static const struct field imsic_state[] = {
    FIELD_ARRAY(struct imsic, pending),
    FIELD_ARRAY(struct imsic, enabled),
    FIELD(struct imsic, threshold, .max = IMSIC_MAX_IDS),
    FIELD(struct imsic, delivery),
};

const struct device_class imsic_class = {
    .name = "riscv-imsic",
    .desc = "RISC-V incoming MSI controller, one interrupt file",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct imsic),
    .props = TABLE(imsic_props),
    .state = TABLE(imsic_state),
    .realize = imsic_realize,
    .unrealize = imsic_unrealize,
    .reset = imsic_reset,
    .loaded = imsic_loaded,
};
