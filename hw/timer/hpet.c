/* HPET. Section numbers: IA-PC HPET specification 1.0a. */
#include "hw/timer/hpet.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/place.h"

#include <assert.h>

enum { /* 2.3.1 */
       CAPABILITIES = 0x00,
       CONFIG = 0x10,
       STATUS = 0x20,
       COUNTER = 0xf0,
       TIMERS = 0x100,
       TIMER_STEP = 0x20,
       TIMER_CONFIG = 0x00,
       TIMER_COMPARATOR = 0x08,
       TIMER_FSB = 0x10,
};
enum { CONFIG_ON = 1 << 0, CONFIG_LEGACY = 1 << 1 }; /* 2.3.5 */
enum {                                               /* 2.3.8 */
       T_LEVEL = 1 << 1,
       T_INTERRUPT = 1 << 2,
       T_PERIODIC = 1 << 3,
       T_CAN_PERIODIC = 1 << 4,
       T_IS_64 = 1 << 5,
       T_SET_VALUE = 1 << 6,
       T_32_BIT = 1 << 8,
       T_FSB = 1 << 14,
       T_CAN_FSB = 1 << 15,
       T_WRITABLE = 0x7f4e,
       N_LINES = 32,
};
#define TICK_FS (UINT64_C(1000000) * HPET_TICK_NS)
enum { MIN_PERIOD_NS = 20000 };

struct hpet_timer {
    uint32_t config;     /* without the read-only bits */
    uint64_t comparator; /* when it fires next */
    uint64_t period;     /* ticks, 0 for none */
    uint64_t fsb;
    uint64_t checked; /* counter up to which matches were seen */
};

struct hpet {
    struct device dev;
    uint64_t addr;
    uint32_t intcap;
    bool msi;
    struct mem_region *mmio;

    uint64_t config, status;
    uint64_t counter; /* while it stands: its value; while it runs: that at time 0, modulo 2^64 */
    struct hpet_timer timers[HPET_N_TIMERS];
    bool legacy_in[2];

    struct irq out[N_LINES], legacy_out[2], legacy_mode;
    struct bell {
        struct hpet *h;
        struct timer *timer;
    } bells[HPET_N_TIMERS];
};

static uint64_t ticks_now(const struct hpet *h)
{
    return vm_now_ns(h->dev.vm) / HPET_TICK_NS;
}

static bool is_on(const struct hpet *h)
{
    return h->config & CONFIG_ON;
}

static uint64_t counter_now(const struct hpet *h)
{
    return h->counter + (is_on(h) ? ticks_now(h) : 0);
}

static bool is_legacy(const struct hpet *h, unsigned n)
{
    return h->config & CONFIG_LEGACY && n < 2;
}

static unsigned route(const struct hpet_timer *t)
{
    return t->config >> 9 & 31;
}

/* ---- lines ------------------------------------------------------------------------------------ */
static void set_line(struct hpet *h, unsigned n, bool level)
{
    irq_set(is_legacy(h, n) ? &h->legacy_out[n] : &h->out[route(&h->timers[n])], level);
}

/* 2.3.6: only a level is held. */
static void update_line(struct hpet *h, unsigned n)
{
    const struct hpet_timer *t = &h->timers[n];
    if (t->config & T_LEVEL && !(t->config & T_FSB))
        set_line(h, n, h->status >> n & 1 && t->config & T_INTERRUPT && is_on(h));
}

static void interrupt(struct hpet *h, unsigned n)
{
    struct hpet_timer *t = &h->timers[n];
    bool wanted = t->config & T_INTERRUPT;
    if (t->config & T_LEVEL)
        h->status |= UINT64_C(1) << n;
    if (t->config & T_FSB && h->msi && wanted) {
        vm_send_msi(h->dev.vm, t->fsb >> 32, (uint32_t)t->fsb);
    } else if (t->config & T_LEVEL) {
        update_line(h, n);
    } else if (wanted) {
        set_line(h, n, true);
        set_line(h, n, false);
    }
}

/* What legacy replacement does not take away comes through. */
static void update_legacy(struct hpet *h, unsigned n)
{
    if (!is_legacy(h, n))
        irq_set(&h->legacy_out[n], h->legacy_in[n]);
}

static void legacy_set(void *opaque, unsigned n, bool level)
{
    struct hpet *h = opaque;
    device_lock(&h->dev);
    h->legacy_in[n] = level;
    update_legacy(h, n);
    device_unlock(&h->dev);
}

/* ---- matches: 2.3.9 ---------------------------------------------------------------------------- */
static uint64_t width_mask(const struct hpet_timer *t)
{
    return t->config & T_32_BIT ? UINT32_MAX : UINT64_MAX;
}

/* Ticks from `from` until the counter meets the comparator. */
static uint64_t distance(const struct hpet_timer *t, uint64_t from)
{
    return (t->comparator - from) & width_mask(t);
}

/* Has it matched since it was looked at last? Then a periodic one moves on. */
static bool timer_take_match(struct hpet_timer *t, uint64_t now)
{
    uint64_t passed = now - t->checked, away = distance(t, t->checked + 1);
    bool hit = passed && away < passed;
    if (hit && t->config & T_PERIODIC && t->period) {
        uint64_t beyond = now - (t->checked + 1 + away);
        t->comparator = (t->comparator + (beyond / t->period + 1) * t->period) & width_mask(t);
    }
    t->checked = now;
    return hit;
}

static void timer_arm(struct hpet *h, unsigned n)
{
    const struct hpet_timer *t = &h->timers[n];
    uint64_t ticks = ticks_now(h), away = distance(t, t->checked + 1) + 1;
    if (t->config & T_PERIODIC && t->period < MIN_PERIOD_NS / HPET_TICK_NS)
        away = MAX(away, MIN_PERIOD_NS / HPET_TICK_NS);
    bool wanted = is_on(h) && t->config & T_INTERRUPT && away && away < UINT64_MAX / 32 - ticks;
    if (wanted)
        timer_set(h->bells[n].timer, (ticks + away) * HPET_TICK_NS);
    else
        timer_cancel(h->bells[n].timer);
}

/* Everything up to now; before any register changes. */
static void hpet_catch_up(struct hpet *h)
{
    uint64_t now = counter_now(h);
    for (unsigned n = 0; is_on(h) && n < HPET_N_TIMERS; n++)
        if (timer_take_match(&h->timers[n], now))
            interrupt(h, n);
}

static void hpet_arm(struct hpet *h)
{
    for (unsigned n = 0; n < HPET_N_TIMERS; n++)
        timer_arm(h, n);
}

static void bell_rings(void *opaque)
{
    struct bell *bell = opaque;
    struct hpet *h = bell->h;
    device_lock(&h->dev);
    hpet_catch_up(h);
    timer_arm(h, (unsigned)(bell - h->bells));
    device_unlock(&h->dev);
}

/* ---- registers -------------------------------------------------------------------------------- */
static void restart(struct hpet *h)
{
    uint64_t now = counter_now(h);
    for (unsigned n = 0; n < HPET_N_TIMERS; n++)
        h->timers[n].checked = now;
}

static void write_config(struct hpet *h, uint64_t value)
{
    uint64_t now = counter_now(h), was = h->config;
    for (unsigned n = 0; n < HPET_N_TIMERS; n++)
        if (h->timers[n].config & T_LEVEL)
            set_line(h, n, false); /* where it went until now */
    h->config = value & (CONFIG_ON | CONFIG_LEGACY);
    h->counter = now - (is_on(h) ? ticks_now(h) : 0);
    if ((was ^ h->config) & CONFIG_ON)
        restart(h);
    if ((was ^ h->config) & CONFIG_LEGACY)
        irq_set(&h->legacy_mode, h->config & CONFIG_LEGACY);
    for (unsigned n = 0; n < 2; n++) {
        if (is_legacy(h, n))
            irq_set(&h->legacy_out[n], false);
        update_legacy(h, n);
    }
    for (unsigned n = 0; n < HPET_N_TIMERS; n++)
        update_line(h, n);
}

static uint32_t timer_caps(const struct hpet *h)
{
    return T_CAN_PERIODIC | T_IS_64 | (h->msi ? T_CAN_FSB : 0);
}

static void write_timer_config(struct hpet *h, unsigned n, uint32_t value)
{
    struct hpet_timer *t = &h->timers[n];
    if (t->config & T_LEVEL)
        set_line(h, n, false);
    t->config = value & T_WRITABLE;
    if (!h->msi)
        t->config &= ~(uint32_t)T_FSB;
    if (!(h->intcap >> route(t) & 1))
        t->config &= ~(31u << 9); /* 2.3.8: a route that is not allowed is not taken */
    if (t->config & T_32_BIT) {
        t->comparator = (uint32_t)t->comparator;
        t->period = (uint32_t)t->period;
    }
    update_line(h, n);
}

/* 2.3.9: for a periodic timer a write sets the period, and the comparator too if it is let. */
static void write_comparator(struct hpet *h, unsigned n, uint64_t value, uint64_t mask)
{
    struct hpet_timer *t = &h->timers[n];
    mask &= width_mask(t);
    if (!(t->config & T_PERIODIC) || t->config & T_SET_VALUE)
        t->comparator = (t->comparator & ~mask) | (value & mask);
    if (t->config & T_PERIODIC)
        t->period = (t->period & ~mask) | (value & mask);
    t->config &= ~(uint32_t)T_SET_VALUE;
    t->checked = counter_now(h);
}

static uint64_t register_read(struct hpet *h, uint64_t at)
{
    if (at >= TIMERS) {
        unsigned n = (unsigned)(at - TIMERS) / TIMER_STEP;
        if (n >= HPET_N_TIMERS)
            return 0;
        switch (at % TIMER_STEP) {
        case TIMER_CONFIG: return (uint64_t)h->intcap << 32 | h->timers[n].config | timer_caps(h);
        case TIMER_COMPARATOR: return h->timers[n].comparator;
        case TIMER_FSB: return h->timers[n].fsb;
        default: return 0;
        }
    }
    switch (at) {
    case CAPABILITIES: /* 2.3.4: revision 1, 64 bits, legacy replacement, Intel */
        return TICK_FS << 32 | 0x8086u << 16 | 1 << 15 | 1 << 13 | (HPET_N_TIMERS - 1) << 8 | 1;
    case CONFIG: return h->config;
    case STATUS: return h->status;
    case COUNTER: return counter_now(h);
    default: return 0;
    }
}

/* `value` replaces the bits in `mask` of the 64-bit register at `at`. */
static void register_write(struct hpet *h, uint64_t at, uint64_t value, uint64_t mask)
{
    uint64_t merged = (register_read(h, at) & ~mask) | (value & mask);
    unsigned n = (unsigned)(at - TIMERS) / TIMER_STEP;
    if (at >= TIMERS && n < HPET_N_TIMERS) {
        switch (at % TIMER_STEP) {
        case TIMER_CONFIG: write_timer_config(h, n, (uint32_t)merged); break;
        case TIMER_COMPARATOR: write_comparator(h, n, value, mask); break;
        case TIMER_FSB: h->timers[n].fsb = merged; break;
        default: break;
        }
    } else if (at == CONFIG) {
        write_config(h, merged);
    } else if (at == STATUS) {
        h->status &= ~(value & mask);
        for (n = 0; n < HPET_N_TIMERS; n++)
            update_line(h, n);
    } else if (at == COUNTER) {
        h->counter = merged - (is_on(h) ? ticks_now(h) : 0);
        restart(h);
    }
}

static uint64_t hpet_read(void *opaque, uint64_t off, unsigned size)
{
    struct hpet *h = opaque;
    device_lock(&h->dev);
    hpet_catch_up(h);
    uint64_t value = register_read(h, off & ~UINT64_C(7)) >> off % 8 * 8;
    device_unlock(&h->dev);
    return size == 4 ? (uint32_t)value : value;
}

static void hpet_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct hpet *h = opaque;
    uint64_t mask = (size == 4 ? UINT32_MAX : UINT64_MAX) << off % 8 * 8;
    device_lock(&h->dev);
    hpet_catch_up(h);
    register_write(h, off & ~UINT64_C(7), value << off % 8 * 8, mask);
    hpet_arm(h);
    device_unlock(&h->dev);
}

static const struct mmio_ops hpet_ops = { hpet_read, hpet_write, 4, 8, NULL };

/* ---- wiring and life -------------------------------------------------------------------------- */
struct irq *hpet_output(struct device *dev, unsigned n)
{
    assert(n < N_LINES);
    return &((struct hpet *)dev)->out[n];
}

struct irq hpet_legacy_input(struct device *dev, unsigned n)
{
    assert(n < 2);
    return (struct irq){ legacy_set, dev, n };
}

struct irq *hpet_legacy_output(struct device *dev, unsigned n)
{
    assert(n < 2);
    return &((struct hpet *)dev)->legacy_out[n];
}

struct irq *hpet_legacy_mode(struct device *dev)
{
    return &((struct hpet *)dev)->legacy_mode;
}

static struct error *hpet_realize(struct device *dev)
{
    struct hpet *h = (struct hpet *)dev;
    for (unsigned n = 0; n < HPET_N_TIMERS; n++) {
        h->bells[n].h = h;
        h->bells[n].timer = timer_new(dev->vm, bell_rings, &h->bells[n]);
    }
    h->mmio = mem_add_mmio(dev->vm, dev->cls->name, HPET_SIZE, &hpet_ops, h);
    place_region(h->mmio, h->addr);
    return NULL;
}

static void hpet_unrealize(struct device *dev)
{
    struct hpet *h = (struct hpet *)dev;
    mem_free_region(h->mmio);
    for (unsigned n = 0; n < HPET_N_TIMERS; n++)
        timer_free(h->bells[n].timer);
}

/* `legacy_in` stays: it belongs to the sources. */
static void hpet_reset(struct device *dev)
{
    struct hpet *h = (struct hpet *)dev;
    write_config(h, 0);
    h->status = h->counter = 0;
    for (unsigned n = 0; n < HPET_N_TIMERS; n++)
        h->timers[n] = (struct hpet_timer){ .comparator = UINT64_MAX };
    hpet_arm(h);
}

static struct error *hpet_loaded(struct device *dev)
{
    struct hpet *h = (struct hpet *)dev;
    irq_set(&h->legacy_mode, h->config & CONFIG_LEGACY);
    for (unsigned n = 0; n < HPET_N_TIMERS; n++)
        update_line(h, n);
    update_legacy(h, 0);
    update_legacy(h, 1);
    hpet_arm(h);
    return NULL;
}

static const struct prop hpet_props[] = {
    ADDR_PROP(struct hpet),
    PROP(struct hpet, intcap, "intcap", PROP_UINT, .def = "0xff0104",
         .help = "inputs of the I/O APIC that the guest may choose, one bit each"),
    PROP(struct hpet, msi, "msi", PROP_BOOL, .def = "off"),
};

static const struct field timer_state[] = {
    FIELD(struct hpet_timer, config, .valid = T_WRITABLE),
    FIELD(struct hpet_timer, comparator),
    FIELD(struct hpet_timer, period),
    FIELD(struct hpet_timer, fsb),
    FIELD(struct hpet_timer, checked),
};
static const struct field hpet_state[] = {
    FIELD(struct hpet, config, .valid = CONFIG_ON | CONFIG_LEGACY),
    FIELD(struct hpet, status, .valid = (1 << HPET_N_TIMERS) - 1),
    FIELD(struct hpet, counter),
    FIELD_SUB(struct hpet, timers, timer_state, HPET_N_TIMERS),
    FIELD_ARRAY(struct hpet, legacy_in),
};

const struct device_class hpet_class = {
    .name = "hpet",
    .desc = "high precision event timer",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct hpet),
    .props = TABLE(hpet_props),
    .state = TABLE(hpet_state),
    .realize = hpet_realize,
    .unrealize = hpet_unrealize,
    .reset = hpet_reset,
    .loaded = hpet_loaded,
};
