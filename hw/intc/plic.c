/* RISC-V platform-level interrupt controller for level-triggered sources, with SiFive's 3-bit
 * priorities. Section numbers: RISC-V PLIC specification 1.0.0. */
#include "hw/intc/plic.h"

#include "core/error.h"
#include "hw/place.h"

#include <assert.h>

enum {
    WORDS = (PLIC_MAX_SOURCES + 32) / 32,
    MAX_PRIORITY = 7,
    PRIORITY_AT = 0,     /* 4: one word per source */
    PENDING_AT = 0x1000, /* 5: one bit per source */
    ENABLE_AT = 0x2000,  /* 6: 0x80 bytes of bits per context */
    ENABLE_STEP = 0x80,
    CONTEXT_AT = 0x200000, /* 7, 8: threshold and claim, a page per context */
    CONTEXT_STEP = 0x1000,
    THRESHOLD = 0,
    CLAIM = 4,
};

struct plic {
    struct device dev;
    uint64_t addr;
    uint32_t n_contexts, n_sources;
    struct mem_region *mmio;

    uint32_t priority[PLIC_MAX_SOURCES + 1];
    uint32_t level[WORDS];   /* inputs as they stand */
    uint32_t pending[WORDS]; /* accepted by the gateway, not claimed */
    uint32_t
        in_service[WORDS]; /* claimed, not completed: the gateway holds back further requests */
    uint32_t enable[PLIC_MAX_CONTEXTS][WORDS];
    uint32_t threshold[PLIC_MAX_CONTEXTS];

    struct irq out[PLIC_MAX_CONTEXTS];
    bool raised[PLIC_MAX_CONTEXTS]; /* derived: what `out` was last told */
};

static bool bit_get(const uint32_t *words, unsigned n)
{
    return words[n / 32] >> n % 32 & 1;
}

static void bit_put(uint32_t *words, unsigned n, bool on)
{
    uint32_t mask = UINT32_C(1) << n % 32;
    words[n / 32] = on ? words[n / 32] | mask : words[n / 32] & ~mask;
}

/* The pending and enabled source of highest priority above `floor`, lowest number first; or 0. */
static unsigned plic_best(const struct plic *p, unsigned context, uint32_t floor)
{
    unsigned best = 0;
    for (unsigned w = 0; w < WORDS; w++) {
        uint32_t set = p->pending[w] & p->enable[context][w];
        for (; set; set &= set - 1) {
            unsigned source = w * 32 + (unsigned)__builtin_ctz(set);
            if (p->priority[source] > floor) {
                best = source;
                floor = p->priority[source];
            }
        }
    }
    return best;
}

static void plic_update_context(struct plic *p, unsigned context)
{
    bool want = plic_best(p, context, p->threshold[context]) != 0;
    if (want != p->raised[context]) {
        p->raised[context] = want;
        irq_set(&p->out[context], want);
    }
}

static void plic_update(struct plic *p)
{
    for (unsigned c = 0; c < p->n_contexts; c++)
        plic_update_context(p, c);
}

/* A source's request passes its gateway unless an earlier one is still in service (1.4). */
static void plic_accept(struct plic *p, unsigned source)
{
    if (bit_get(p->level, source) && !bit_get(p->in_service, source))
        bit_put(p->pending, source, true);
}

static void plic_set_input(void *opaque, unsigned source, bool level)
{
    struct plic *p = opaque;
    device_lock(&p->dev);
    if (bit_get(p->level, source) != level) {
        bit_put(p->level, source, level);
        plic_accept(p, source);
        plic_update(p);
    }
    device_unlock(&p->dev);
}

/* 8: a claim disregards the threshold, which only gates the notification. */
static uint32_t plic_claim(struct plic *p, unsigned context)
{
    unsigned source = plic_best(p, context, 0);
    if (source) {
        bit_put(p->pending, source, false);
        bit_put(p->in_service, source, true);
        plic_update(p);
    }
    return source;
}

/* 9: a completion for a source that is not enabled for the context is ignored. */
static void plic_complete(struct plic *p, unsigned context, uint32_t source)
{
    if (source == 0 || source > p->n_sources || !bit_get(p->enable[context], source))
        return;
    bit_put(p->in_service, source, false);
    plic_accept(p, source);
    plic_update(p);
}

/* Bits of the sources that exist in word w. */
static uint32_t plic_word_mask(const struct plic *p, unsigned w)
{
    uint32_t mask = w == 0 ? ~UINT32_C(1) : ~UINT32_C(0);
    unsigned last = p->n_sources;
    if (w * 32 > last)
        return 0;
    return last - w * 32 >= 31 ? mask : mask & ((UINT32_C(2) << (last - w * 32)) - 1);
}

/* Where an offset leads: one story for reads and writes. */
struct place {
    enum { NOWHERE, AT_PRIORITY, AT_PENDING, AT_ENABLE, AT_THRESHOLD, AT_CLAIM } kind;
    unsigned context, n; /* n: source, or word of bits */
};

static struct place plic_place(const struct plic *p, uint64_t off)
{
    struct place at = { NOWHERE, 0, 0 };
    if (off >= CONTEXT_AT) {
        at.context = (off - CONTEXT_AT) / CONTEXT_STEP;
        uint64_t in_page = (off - CONTEXT_AT) % CONTEXT_STEP;
        if (at.context < p->n_contexts && in_page <= CLAIM)
            at.kind = in_page == THRESHOLD ? AT_THRESHOLD : AT_CLAIM;
    } else if (off >= ENABLE_AT) {
        at.context = (off - ENABLE_AT) / ENABLE_STEP;
        at.n = (off - ENABLE_AT) % ENABLE_STEP / 4;
        if (at.context < p->n_contexts && at.n < WORDS)
            at.kind = AT_ENABLE;
    } else if (off >= PENDING_AT) {
        at.n = (off - PENDING_AT) / 4;
        if (at.n < WORDS)
            at.kind = AT_PENDING;
    } else {
        at.n = (off - PRIORITY_AT) / 4;
        if (at.n >= 1 && at.n <= p->n_sources)
            at.kind = AT_PRIORITY;
    }
    return at;
}

static uint64_t plic_read(void *opaque, uint64_t off, unsigned size)
{
    struct plic *p = opaque;
    uint32_t value = 0;
    device_lock(&p->dev);
    struct place at = plic_place(p, off);
    switch (at.kind) {
    case NOWHERE: break;
    case AT_PRIORITY: value = p->priority[at.n]; break;
    case AT_PENDING: value = p->pending[at.n]; break;
    case AT_ENABLE: value = p->enable[at.context][at.n]; break;
    case AT_THRESHOLD: value = p->threshold[at.context]; break;
    case AT_CLAIM: value = plic_claim(p, at.context); break;
    }
    device_unlock(&p->dev);
    return value;
}

static void plic_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct plic *p = opaque;
    device_lock(&p->dev);
    struct place at = plic_place(p, off);
    switch (at.kind) {
    case NOWHERE:
    case AT_PENDING: break;
    case AT_PRIORITY:
        p->priority[at.n] = value & MAX_PRIORITY;
        plic_update(p);
        break;
    case AT_ENABLE:
        p->enable[at.context][at.n] = value & plic_word_mask(p, at.n);
        plic_update_context(p, at.context);
        break;
    case AT_THRESHOLD:
        p->threshold[at.context] = value & MAX_PRIORITY;
        plic_update_context(p, at.context);
        break;
    case AT_CLAIM: plic_complete(p, at.context, value); break;
    }
    device_unlock(&p->dev);
}

static const struct mmio_ops plic_ops = { plic_read, plic_write, 4, 4 };

struct irq plic_input(struct device *dev, unsigned source)
{
    struct plic *p = (struct plic *)dev;
    assert(source >= 1 && source <= p->n_sources);
    return (struct irq){ plic_set_input, p, source };
}

struct irq *plic_output(struct device *dev, unsigned context)
{
    struct plic *p = (struct plic *)dev;
    assert(context < p->n_contexts);
    return &p->out[context];
}

static struct error *plic_realize(struct device *dev)
{
    struct plic *p = (struct plic *)dev;
    p->mmio = mem_add_mmio(dev->vm, dev->cls->name, PLIC_SIZE, &plic_ops, p);
    place_region(p->mmio, p->addr);
    return NULL;
}

static void plic_unrealize(struct device *dev)
{
    mem_free_region(((struct plic *)dev)->mmio);
}

/* `level` stays: it belongs to the sources, whose own reset lowers it. */
static void plic_reset(struct device *dev)
{
    struct plic *p = (struct plic *)dev;
    memset(p->priority, 0, sizeof(p->priority));
    memset(p->pending, 0, sizeof(p->pending));
    memset(p->in_service, 0, sizeof(p->in_service));
    memset(p->enable, 0, sizeof(p->enable));
    memset(p->threshold, 0, sizeof(p->threshold));
    for (unsigned s = 1; s <= p->n_sources; s++)
        plic_accept(p, s);
    plic_update(p);
}

static struct error *plic_loaded(struct device *dev)
{
    struct plic *p = (struct plic *)dev;
    for (unsigned w = 0; w < WORDS; w++)
        if ((p->pending[w] | p->in_service[w] | p->level[w]) & ~plic_word_mask(p, w))
            return error_new("%s: state for a source that does not exist", dev->cls->name);
    for (unsigned c = 0; c < p->n_contexts; c++) {
        p->raised[c] = plic_best(p, c, p->threshold[c]) != 0;
        irq_set(&p->out[c], p->raised[c]);
    }
    return NULL;
}

static const struct prop plic_props[] = {
    ADDR_PROP(struct plic),
    PROP(struct plic, n_contexts, "num-contexts", PROP_UINT, .def = "2", .min = 1,
         .max = PLIC_MAX_CONTEXTS, .help = "two per hart: machine, supervisor"),
    PROP(struct plic, n_sources, "num-sources", PROP_UINT, .def = "95", .min = 1,
         .max = PLIC_MAX_SOURCES, .help = "interrupt sources, numbered from 1"),
};

static const struct field plic_state[] = {
    FIELD_ARRAY(struct plic, priority, .valid = MAX_PRIORITY),
    FIELD_ARRAY(struct plic, level),
    FIELD_ARRAY(struct plic, pending),
    FIELD_ARRAY(struct plic, in_service),
    { .name = "enable",
      .kind = FIELD_UINT,
      .offset = offsetof(struct plic, enable),
      .size = 4,
      .count = PLIC_MAX_CONTEXTS * WORDS },
    FIELD_ARRAY(struct plic, threshold, .valid = MAX_PRIORITY),
};

const struct device_class plic_class = {
    .name = "sifive-plic",
    .desc = "RISC-V platform-level interrupt controller",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct plic),
    .props = TABLE(plic_props),
    .state = TABLE(plic_state),
    .realize = plic_realize,
    .unrealize = plic_unrealize,
    .reset = plic_reset,
    .loaded = plic_loaded,
};
