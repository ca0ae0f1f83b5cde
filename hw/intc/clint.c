/* Software interrupts and the machine timer. Section numbers: RISC-V ACLINT specification 1.0-rc4. */
#include "hw/intc/clint.h"

#include "core/clock.h"
#include "core/error.h"
#include "hw/place.h"

#include <assert.h>

/* ---- MSWI (3) and SSWI (4): one word per hart, bit 0 counts --------------------------------- */
enum { MAX_HARTS = 512 };

struct swi {
    struct device dev;
    uint64_t addr;
    uint32_t n_harts;
    bool supervisor;
    struct mem_region *mmio;

    bool msip[MAX_HARTS];
    struct irq out[MAX_HARTS];
};

static uint64_t swi_read(void *opaque, uint64_t off, unsigned size)
{
    struct swi *s = opaque;
    device_lock(&s->dev);
    /* setssip reads 0 (4.1) */
    uint64_t value = off / 4 < s->n_harts && !s->supervisor ? s->msip[off / 4] : 0;
    device_unlock(&s->dev);
    return value;
}

static void swi_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct swi *s = opaque;
    unsigned hart = off / 4;
    bool on = value & 1;
    if (hart >= s->n_harts || (s->supervisor && !on))
        return;
    device_lock(&s->dev);
    s->msip[hart] = on && !s->supervisor;
    irq_set(&s->out[hart], on);
    device_unlock(&s->dev);
}

static const struct mmio_ops swi_ops = { swi_read, swi_write, 4, 4 };

struct irq *aclint_swi_output(struct device *dev, unsigned hart)
{
    struct swi *s = (struct swi *)dev;
    assert(hart < s->n_harts);
    return &s->out[hart];
}

static struct error *swi_realize(struct device *dev)
{
    struct swi *s = (struct swi *)dev;
    s->mmio = mem_add_mmio(dev->vm, s->supervisor ? "riscv-aclint-sswi" : "riscv-aclint-mswi",
                           ACLINT_SWI_SIZE, &swi_ops, s);
    place_region(s->mmio, s->addr);
    return NULL;
}

static void swi_unrealize(struct device *dev)
{
    mem_free_region(((struct swi *)dev)->mmio);
}

static struct error *swi_loaded(struct device *dev)
{
    struct swi *s = (struct swi *)dev;
    for (unsigned h = 0; !s->supervisor && h < s->n_harts; h++)
        irq_set(&s->out[h], s->msip[h]);
    return NULL;
}

static void swi_reset(struct device *dev)
{
    memset(((struct swi *)dev)->msip, 0, sizeof(((struct swi *)dev)->msip));
    swi_loaded(dev);
}

static const struct prop swi_props[] = {
    ADDR_PROP(struct swi),
    PROP(struct swi, n_harts, "num-harts", PROP_UINT, .def = "1", .min = 1, .max = MAX_HARTS),
    PROP(struct swi, supervisor, "sswi", PROP_BOOL, .def = "off",
         .help = "supervisor instead of machine software interrupts"),
};

static const struct field swi_state[] = {
    FIELD_ARRAY(struct swi, msip, .max = 1),
};

const struct device_class aclint_swi_class = {
    .name = "riscv-aclint-swi",
    .desc = "RISC-V ACLINT software interrupts",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct swi),
    .props = TABLE(swi_props),
    .state = TABLE(swi_state),
    .realize = swi_realize,
    .unrealize = swi_unrealize,
    .reset = swi_reset,
    .loaded = swi_loaded,
};

/* ---- MTIMER (2) -------------------------------------------------------------------------------
 * mtime counts the guest clock in steps of 100 ns. */
enum { TICK_NS = NS_PER_S / ACLINT_TIMEBASE_HZ };

struct mtimer {
    struct device dev;
    uint64_t addr;
    uint32_t n_harts;
    struct mem_region *mmio;

    _Atomic uint64_t ahead; /* mtime - guest clock, in ticks, modulo 2^64 */
    uint64_t mtimecmp[MAX_HARTS];

    struct irq out[MAX_HARTS];
    struct hart_timer {
        struct mtimer *m;
        struct timer *timer; /* runs exactly while mtimecmp lies ahead */
    } harts[MAX_HARTS];
    void (*on_jump)(void *opaque);
    void *on_jump_opaque;
};

static uint64_t mtimer_now(const struct mtimer *m)
{
    return vm_now_ns(m->dev.vm) / TICK_NS + m->ahead;
}

/* 2.2: MTIP is mtime >= mtimecmp, whatever was before. */
static void mtimer_update(struct mtimer *m, unsigned hart)
{
    uint64_t ticks_now = vm_now_ns(m->dev.vm) / TICK_NS;
    uint64_t now = ticks_now + m->ahead, cmp = m->mtimecmp[hart];
    irq_set(&m->out[hart], now >= cmp);
    if (now >= cmp || cmp - now > UINT64_MAX / TICK_NS - ticks_now)
        timer_cancel(m->harts[hart].timer); /* fired, or more than 500 years ahead */
    else
        timer_set(m->harts[hart].timer, (ticks_now + (cmp - now)) * TICK_NS);
}

static void mtimer_fired(void *opaque)
{
    struct hart_timer *h = opaque;
    device_lock(&h->m->dev);
    mtimer_update(h->m, (unsigned)(h - h->m->harts));
    device_unlock(&h->m->dev);
}

static void mtimer_update_all(struct mtimer *m)
{
    if (m->on_jump)
        m->on_jump(m->on_jump_opaque);
    for (unsigned h = 0; h < m->n_harts; h++)
        mtimer_update(m, h);
}

static uint64_t mtimer_read(void *opaque, uint64_t off, unsigned size)
{
    struct mtimer *m = opaque;
    uint64_t whole = 0;
    device_lock(&m->dev);
    if (off >= ACLINT_MTIME_AT)
        whole = mtimer_now(m);
    else if (off / 8 < m->n_harts)
        whole = m->mtimecmp[off / 8];
    device_unlock(&m->dev);
    return size == 8 ? whole : (uint32_t)(whole >> off % 8 * 8);
}

/* `whole` with the 4 or 8 bytes at `off` replaced. */
static uint64_t put_part(uint64_t whole, uint64_t off, unsigned size, uint64_t value)
{
    if (size == 8)
        return value;
    return off & 4 ? (uint32_t)whole | value << 32
                   : (whole & ~UINT64_C(0xffffffff)) | (uint32_t)value;
}

static void mtimer_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct mtimer *m = opaque;
    device_lock(&m->dev);
    if (off >= ACLINT_MTIME_AT) {
        uint64_t now = mtimer_now(m);
        m->ahead += put_part(now, off, size, value) - now;
        mtimer_update_all(m);
    } else if (off / 8 < m->n_harts) {
        unsigned hart = off / 8;
        m->mtimecmp[hart] = put_part(m->mtimecmp[hart], off, size, value);
        mtimer_update(m, hart);
    }
    device_unlock(&m->dev);
}

static const struct mmio_ops mtimer_ops = { mtimer_read, mtimer_write, 4, 8 };

struct irq *aclint_mtimer_output(struct device *dev, unsigned hart)
{
    struct mtimer *m = (struct mtimer *)dev;
    assert(hart < m->n_harts);
    return &m->out[hart];
}

uint64_t aclint_mtime(const struct device *dev)
{
    return mtimer_now((const struct mtimer *)dev);
}

void aclint_mtimer_on_jump(struct device *dev, void (*fn)(void *opaque), void *opaque)
{
    struct mtimer *m = (struct mtimer *)dev;
    m->on_jump = fn;
    m->on_jump_opaque = opaque;
}

static struct error *mtimer_realize(struct device *dev)
{
    struct mtimer *m = (struct mtimer *)dev;
    for (unsigned h = 0; h < m->n_harts; h++) {
        m->harts[h].m = m;
        m->harts[h].timer = timer_new(dev->vm, mtimer_fired, &m->harts[h]);
        m->mtimecmp[h] = UINT64_MAX;
    }
    m->mmio = mem_add_mmio(dev->vm, dev->cls->name, ACLINT_MTIMER_SIZE, &mtimer_ops, m);
    place_region(m->mmio, m->addr);
    return NULL;
}

static void mtimer_unrealize(struct device *dev)
{
    struct mtimer *m = (struct mtimer *)dev;
    mem_free_region(m->mmio);
    for (unsigned h = 0; h < m->n_harts; h++)
        timer_free(m->harts[h].timer);
}

/* 2.1: mtime is 0 after a reset. mtimecmp may be anything; the largest value keeps MTIP low. */
static void mtimer_reset(struct device *dev)
{
    struct mtimer *m = (struct mtimer *)dev;
    m->ahead = -(vm_now_ns(dev->vm) / TICK_NS);
    for (unsigned h = 0; h < MAX_HARTS; h++)
        m->mtimecmp[h] = UINT64_MAX;
    mtimer_update_all(m);
}

static struct error *mtimer_loaded(struct device *dev)
{
    mtimer_update_all((struct mtimer *)dev);
    return NULL;
}

static const struct prop mtimer_props[] = {
    ADDR_PROP(struct mtimer),
    PROP(struct mtimer, n_harts, "num-harts", PROP_UINT, .def = "1", .min = 1, .max = MAX_HARTS),
};

static const struct field mtimer_state[] = {
    FIELD(struct mtimer, ahead),
    FIELD_ARRAY(struct mtimer, mtimecmp),
};

const struct device_class aclint_mtimer_class = {
    .name = "riscv-aclint-mtimer",
    .desc = "RISC-V ACLINT machine timer",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct mtimer),
    .props = TABLE(mtimer_props),
    .state = TABLE(mtimer_state),
    .realize = mtimer_realize,
    .unrealize = mtimer_unrealize,
    .reset = mtimer_reset,
    .loaded = mtimer_loaded,
};
