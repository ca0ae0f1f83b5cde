/* Local APICs, xAPIC and x2APIC. Section numbers: Intel SDM volume 3A, chapter 11 (325462-083). The timer
 * counts nanoseconds. A relocated base moves the page of all local APICs together. */
#include "hw/intc/lapic.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/place.h"

#include <assert.h>

enum { PAGE_SIZE = 0x1000, MESSAGES_SIZE = 0x100000, N_REGS = 64 };
enum { MSR_APIC_BASE = 0x1b, MSR_TSC_DEADLINE = 0x6e0, MSR_X2APIC = 0x800 };
enum { BASE_BSP = 1 << 8, BASE_X2 = 1 << 10, BASE_ON = 1 << 11 }; /* 11.4.4, 11.12.1 */
#define BASE_ADDR UINT64_C(0x000ffffffffff000)

enum { /* 11.4.1: registers, 16 bytes apart; 11.12.1.2: MSRs in a row */
       REG_ID = 0x02,
       REG_VERSION = 0x03,
       REG_TPR = 0x08,
       REG_APR = 0x09,
       REG_PPR = 0x0a,
       REG_EOI = 0x0b,
       REG_LDR = 0x0d,
       REG_DFR = 0x0e,
       REG_SVR = 0x0f,
       REG_ISR = 0x10,
       REG_TMR = 0x18,
       REG_IRR = 0x20,
       REG_ESR = 0x28,
       REG_ICR = 0x30,
       REG_ICR_HIGH = 0x31,
       REG_LVT = 0x32,
       REG_INITIAL = 0x38,
       REG_CURRENT = 0x39,
       REG_DIVIDE = 0x3e,
       REG_SELF_IPI = 0x3f,
};
enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, N_LVT };
enum { /* 11.5.1 */
       LVT_MASKED = 1 << 16,
       LVT_LEVEL = 1 << 15,
       LVT_REMOTE_IRR = 1 << 14,
};
enum { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_DEADLINE };
enum { FIXED, LOWEST, SMI, RESERVED_MODE, NMI, INIT, STARTUP, EXTINT }; /* 11.5.1, 11.6.1 */
enum { SVR_ON = 1 << 8, SVR_QUIET_EOI = 1 << 12 };                      /* 11.9 */
enum { ESR_SENT_VECTOR = 1 << 5, ESR_TOOK_VECTOR = 1 << 6, ESR_REGISTER = 1 << 7 }; /* 11.5.3 */
enum { ICR_LOGICAL = 1 << 11, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15 };
enum { TO_DEST, TO_SELF, TO_ALL, TO_OTHERS };
enum { VERSION = 0x14 | (N_LVT - 1) << 16 | 1 << 24 }; /* 11.4.8 */
enum { READY_EXTINT = 1 << 8 };
enum { MIN_PERIOD_NS = 20000 }; /* faster timers fire this often */

struct lapic {
    /* fixed before the VM starts */
    struct apic *apic;
    uint32_t id;
    struct lapic_cpu cpu;
    pthread_mutex_t lock;
    struct timer *timer;

    /* Atomic ones are also read by senders, without the lock. */
    _Atomic uint64_t base;
    _Atomic uint32_t xapic_id, ldr, dfr, svr;
    uint32_t tpr, esr, errors; /* errors: to be shown by the next write to ESR */
    uint64_t icr;
    uint32_t lvt[N_LVT];
    uint32_t divide, initial;
    uint64_t started_ns;   /* when the count began */
    uint64_t deadline_tsc; /* 0: none */
    bool expired;          /* the one-shot count ended */
    bool message_extint;   /* an ExtINT came as a message */
    uint32_t isr[8], tmr[8], irr[8];

    /* derived */
    _Atomic uint32_t ready;    /* a vector, or READY_EXTINT, or 0 */
    _Atomic uint32_t priority; /* PPR */
    uint64_t due_ns;           /* what the timer is set to; UINT64_MAX: it is not */
};

struct apic {
    struct device dev;
    uint64_t addr;
    uint32_t n_cpus;
    struct mem_region *page, *messages;
    _Atomic uint64_t page_at; /* derived: the base written last */
    struct device *ioapic, *i8259;
    _Atomic bool lint[2];
    struct lapic cpus[LAPIC_MAX];
};

static void lapic_lock(struct lapic *l)
{
    pthread_mutex_lock(&l->lock);
}

static void lapic_unlock(struct lapic *l)
{
    pthread_mutex_unlock(&l->lock);
}

/* ---- what is pending: 11.8.3 ------------------------------------------------------------------ */
static bool bit_get(const uint32_t *words, unsigned n)
{
    return words[n / 32] >> n % 32 & 1;
}

static void bit_put(uint32_t *words, unsigned n, bool on)
{
    uint32_t mask = UINT32_C(1) << n % 32;
    words[n / 32] = on ? words[n / 32] | mask : words[n / 32] & ~mask;
}

/* The highest vector of a set, or 0. */
static unsigned highest(const uint32_t *words)
{
    for (int w = 7; w >= 0; w--)
        if (words[w])
            return (unsigned)w * 32 + 31 - (unsigned)__builtin_clz(words[w]);
    return 0;
}

/* The 8259 is heard through LINT0, or past an APIC that is off (11.4.3). */
static bool hears_extint(const struct lapic *l)
{
    uint32_t lint0 = l->lvt[LVT_LINT0];
    if (!(l->base & BASE_ON))
        return l->apic->lint[0];
    return l->message_extint ||
           (l->apic->lint[0] && !(lint0 & LVT_MASKED) && bits(lint0, 8, 3) == EXTINT);
}

static void lapic_update(struct lapic *l)
{
    uint32_t in_service = highest(l->isr) & 0xf0, wanted = highest(l->irr);
    uint32_t ppr = (l->tpr & 0xf0) >= in_service ? l->tpr : in_service;
    uint32_t ready = (wanted & 0xf0) > (ppr & 0xf0) ? wanted : hears_extint(l) ? READY_EXTINT : 0;
    l->priority = ppr;
    uint32_t was = atomic_exchange(&l->ready, ready);
    if (ready && ready != was && l->cpu.changed)
        l->cpu.changed(l->cpu.opaque);
}

bool lapic_pending(const struct lapic *l)
{
    return l->ready;
}

int lapic_accept(struct lapic *l)
{
    lapic_lock(l);
    uint32_t ready = l->ready;
    if (ready == READY_EXTINT) {
        l->message_extint = false;
    } else if (ready) {
        bit_put(l->irr, ready, false);
        bit_put(l->isr, ready, true);
    }
    lapic_update(l);
    lapic_unlock(l);
    if (ready != READY_EXTINT)
        return ready ? (int)ready : -1;
    return l->apic->i8259 ? i8259_acknowledge(l->apic->i8259) : -1;
}

/* ---- an interrupt arrives --------------------------------------------------------------------- */
static void lapic_take(struct lapic *l, unsigned mode, unsigned vector, bool level);

/* 11.5.3: the error's own interrupt is sent when its bit comes up. */
static void set_error(struct lapic *l, uint32_t error)
{
    bool fresh = !(l->errors & error);
    uint32_t lvt = l->lvt[LVT_ERROR];
    l->errors |= error;
    if (fresh && !(lvt & LVT_MASKED))
        lapic_take(l, FIXED, lvt & 0xff, false);
}

static void take_vector(struct lapic *l, unsigned vector, bool level)
{
    if (vector < 16) {
        set_error(l, ESR_TOOK_VECTOR);
        return;
    }
    bit_put(l->irr, vector, true);
    bit_put(l->tmr, vector, level);
}

static void lapic_init_registers(struct lapic *l);

/* Lock held. A software-disabled APIC still takes INIT, NMI, SMI and SIPI (11.4.7.2). */
static void lapic_take(struct lapic *l, unsigned mode, unsigned vector, bool level)
{
    bool on = l->base & BASE_ON && l->svr & SVR_ON;
    switch (mode) {
    case FIXED:
    case LOWEST:
        if (on)
            take_vector(l, vector, level);
        break;
    case SMI:
        if (l->cpu.smi)
            l->cpu.smi(l->cpu.opaque);
        break;
    case NMI:
        if (l->cpu.nmi)
            l->cpu.nmi(l->cpu.opaque);
        break;
    case INIT:
        lapic_init_registers(l);
        if (l->cpu.init)
            l->cpu.init(l->cpu.opaque);
        break;
    case STARTUP:
        if (l->cpu.start)
            l->cpu.start(l->cpu.opaque, (uint8_t)vector);
        break;
    case EXTINT: l->message_extint |= on; break;
    default: break;
    }
    lapic_update(l);
}

/* 11.5.1: a local source interrupts. */
static void lvt_fire(struct lapic *l, unsigned which)
{
    uint32_t lvt = l->lvt[which];
    bool has_mode = which != LVT_TIMER && which != LVT_ERROR;
    if (!(lvt & LVT_MASKED))
        lapic_take(l, has_mode ? bits(lvt, 8, 3) : FIXED, lvt & 0xff, false);
}

static bool lint_is_level(uint32_t lvt)
{
    return lvt & LVT_LEVEL && bits(lvt, 8, 3) == FIXED;
}

/* A level-triggered pin that stands and is not being served. */
static void lint_check_level(struct lapic *l, unsigned which)
{
    uint32_t lvt = l->lvt[which];
    if (!l->apic->lint[which - LVT_LINT0] || !lint_is_level(lvt) ||
        lvt & (LVT_MASKED | LVT_REMOTE_IRR) || !(l->svr & SVR_ON))
        return;
    l->lvt[which] |= LVT_REMOTE_IRR;
    lapic_take(l, FIXED, lvt & 0xff, true);
}

static void lint_changed(struct lapic *l, unsigned which, bool level)
{
    lapic_lock(l);
    if (!(l->base & BASE_ON)) {
        if (which == LVT_LINT1 && level)
            lapic_take(l, NMI, 0, false); /* 11.4.3: the pins are INTR and NMI */
    } else if (lint_is_level(l->lvt[which])) {
        lint_check_level(l, which);
    } else if (level && bits(l->lvt[which], 8, 3) != EXTINT) {
        lvt_fire(l, which);
    }
    lapic_update(l);
    lapic_unlock(l);
}

static void apic_set_lint(void *opaque, unsigned n, bool level)
{
    struct apic *a = opaque;
    device_lock(&a->dev);
    if (atomic_exchange(&a->lint[n], level) != level)
        for (unsigned i = 0; i < a->n_cpus; i++)
            lint_changed(&a->cpus[i], LVT_LINT0 + n, level);
    device_unlock(&a->dev);
}

/* ---- interrupts between processors and from devices: 11.6, 11.11 ------------------------------ */
struct message {
    uint32_t dest;
    bool logical, wide; /* wide: dest has 32 bits, x2APIC's */
    uint8_t mode, vector;
    bool level;
};

/* 11.12.10.2 */
static uint32_t x2apic_ldr(const struct lapic *l)
{
    return l->id >> 4 << 16 | 1u << (l->id & 15);
}

/* 11.6.2; no lock. */
static bool is_addressed(const struct lapic *l, const struct message *m)
{
    bool x2 = l->base & BASE_X2;
    if (!(l->base & BASE_ON))
        return false;
    if (m->dest == (m->wide ? UINT32_MAX : 0xff))
        return true;
    if (!m->logical)
        return m->dest == (x2 ? l->id : l->xapic_id);
    if (x2)
        return m->dest >> 16 == x2apic_ldr(l) >> 16 && m->dest & x2apic_ldr(l) & 0xffff;
    if (m->dest > 0xff)
        return false;
    uint32_t ldr = l->ldr >> 24;
    if (l->dfr >> 28 == 0xf)
        return ldr & m->dest;
    return ldr >> 4 == m->dest >> 4 && ldr & m->dest & 0xf;
}

static void deliver(struct lapic *l, const struct message *m)
{
    lapic_lock(l);
    lapic_take(l, m->mode, m->vector, m->level);
    lapic_unlock(l);
}

/* 11.6.2.4: one of those with the lowest priority; the vector spreads ties. */
static void deliver_lowest(struct apic *a, const struct message *m)
{
    struct lapic *ties[LAPIC_MAX];
    unsigned n = 0;
    uint32_t lowest = UINT32_MAX;
    for (unsigned i = 0; i < a->n_cpus; i++) {
        struct lapic *l = &a->cpus[i];
        if (!is_addressed(l, m) || !(l->svr & SVR_ON))
            continue;
        uint32_t priority = l->priority >> 4;
        if (priority < lowest)
            n = 0;
        lowest = MIN(lowest, priority);
        if (priority == lowest)
            ties[n++] = l;
    }
    if (n)
        deliver(ties[m->vector % n], m);
}

static void apic_deliver(struct apic *a, const struct message *m)
{
    if (m->mode == LOWEST) {
        deliver_lowest(a, m);
        return;
    }
    for (unsigned i = 0; i < a->n_cpus; i++)
        if (is_addressed(&a->cpus[i], m))
            deliver(&a->cpus[i], m);
}

/* No lock held. */
static void send_ipi(struct lapic *from, uint64_t icr)
{
    struct apic *a = from->apic;
    bool x2 = from->base & BASE_X2;
    unsigned whom = (unsigned)bits(icr, 18, 2);
    struct message m = {
        .dest = x2 ? (uint32_t)(icr >> 32) : (uint32_t)(icr >> 56),
        .wide = x2,
        .logical = icr & ICR_LOGICAL,
        .mode = (uint8_t)bits(icr, 8, 3),
        .vector = (uint8_t)icr,
    };
    if (m.mode == INIT && icr & ICR_LEVEL && !(icr & ICR_ASSERT))
        return; /* INIT level de-assert: nothing to do since the Pentium 4 */
    if (m.mode == RESERVED_MODE || m.mode == EXTINT)
        return;
    if (m.mode <= LOWEST && m.vector < 16) {
        lapic_lock(from);
        set_error(from, ESR_SENT_VECTOR);
        lapic_unlock(from);
        return;
    }
    if (whom == TO_DEST) {
        apic_deliver(a, &m);
        return;
    }
    for (unsigned i = 0; i < a->n_cpus; i++)
        if (whom == TO_SELF ? &a->cpus[i] == from : whom == TO_ALL || &a->cpus[i] != from)
            deliver(&a->cpus[i], &m);
}

/* 11.11; address bits 11:5 extend the destination for guests that know. */
static void apic_message(struct apic *a, uint64_t address, uint32_t data)
{
    struct message m = {
        .dest = (uint32_t)(bits(address, 12, 8) | bits(address, 5, 7) << 8),
        .logical = bits(address, 2, 1),
        .mode = (uint8_t)bits(data, 8, 3),
        .vector = (uint8_t)data,
        .level = bits(data, 15, 1),
    };
    bool one_of_many = bits(address, 3, 1) && m.logical;
    if (m.mode == FIXED && one_of_many)
        m.mode = LOWEST;
    if (m.mode != STARTUP && m.mode != RESERVED_MODE)
        apic_deliver(a, &m);
}

/* ---- the timer: 11.5.4 ------------------------------------------------------------------------ */
static unsigned timer_mode(const struct lapic *l)
{
    return (unsigned)bits(l->lvt[LVT_TIMER], 17, 2);
}

static unsigned divide_shift(const struct lapic *l)
{
    return (((l->divide & 3) | (l->divide >> 1 & 4)) + 1) & 7;
}

static uint64_t period_ns(const struct lapic *l)
{
    return (uint64_t)l->initial << divide_shift(l);
}

/* When the timer ends next, seen from now; UINT64_MAX if never. */
static uint64_t timer_end_ns(const struct lapic *l, uint64_t now)
{
    uint64_t period = period_ns(l);
    switch (timer_mode(l)) {
    case TIMER_DEADLINE:
        if (!l->deadline_tsc)
            return UINT64_MAX;
        return l->cpu.tsc_at_ns ? l->cpu.tsc_at_ns(l->cpu.opaque, l->deadline_tsc)
                                : l->deadline_tsc;
    case TIMER_PERIODIC:
        if (!period)
            return UINT64_MAX;
        now += period < MIN_PERIOD_NS ? MIN_PERIOD_NS : 0;
        return l->started_ns + ((now - l->started_ns) / period + 1) * period;
    case TIMER_ONE_SHOT: return period && !l->expired ? l->started_ns + period : UINT64_MAX;
    default: return UINT64_MAX;
    }
}

static void timer_done(struct lapic *l)
{
    if (timer_mode(l) == TIMER_ONE_SHOT)
        l->expired = true;
    else if (timer_mode(l) == TIMER_DEADLINE)
        l->deadline_tsc = 0;
}

/* Before a register of the timer is read or written: what ended unseen has ended. */
static void timer_settle(struct lapic *l)
{
    uint64_t now = vm_now_ns(l->apic->dev.vm);
    if (l->lvt[LVT_TIMER] & LVT_MASKED && timer_mode(l) != TIMER_PERIODIC &&
        timer_end_ns(l, now) <= now)
        timer_done(l);
}

/* A masked timer needs no help from the host. */
static void timer_arm(struct lapic *l)
{
    bool masked = l->lvt[LVT_TIMER] & LVT_MASKED;
    l->due_ns = masked ? UINT64_MAX : timer_end_ns(l, vm_now_ns(l->apic->dev.vm));
    if (l->due_ns != UINT64_MAX)
        timer_set(l->timer, l->due_ns);
    else if (l->timer)
        timer_cancel(l->timer);
}

static void timer_fired(void *opaque)
{
    struct lapic *l = opaque;
    lapic_lock(l);
    if (vm_now_ns(l->apic->dev.vm) >= l->due_ns) {
        timer_done(l);
        lvt_fire(l, LVT_TIMER);
        timer_arm(l);
    }
    lapic_unlock(l);
}

static uint32_t current_count(const struct lapic *l)
{
    uint64_t gone = (vm_now_ns(l->apic->dev.vm) - l->started_ns) >> divide_shift(l);
    if (!l->initial || timer_mode(l) >= TIMER_DEADLINE)
        return 0;
    if (timer_mode(l) == TIMER_PERIODIC)
        return l->initial - (uint32_t)(gone % l->initial);
    return gone < l->initial ? l->initial - (uint32_t)gone : 0;
}

static void write_initial(struct lapic *l, uint32_t value)
{
    if (timer_mode(l) == TIMER_DEADLINE)
        return; /* 11.5.4.1 */
    l->initial = value;
    l->started_ns = vm_now_ns(l->apic->dev.vm);
    l->expired = false;
}

/* The count goes on from where it is. */
static void write_divide(struct lapic *l, uint32_t value)
{
    uint64_t now = vm_now_ns(l->apic->dev.vm), gone = (now - l->started_ns) >> divide_shift(l);
    if (timer_mode(l) == TIMER_PERIODIC && l->initial)
        gone %= l->initial;
    l->divide = value & 0xb;
    gone <<= divide_shift(l);
    l->started_ns = now > gone ? now - gone : 0;
}

void lapic_tsc_changed(struct lapic *l)
{
    lapic_lock(l);
    timer_arm(l);
    lapic_unlock(l);
}

/* ---- registers -------------------------------------------------------------------------------- */
/* What a register write asks for beyond this APIC, done when its lock is released. */
struct after {
    bool eoi, ipi;
    uint8_t vector;
    uint64_t icr;
};

static const uint32_t lvt_writable[N_LVT] = {
    0x700ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff
};

static void write_lvt(struct lapic *l, unsigned which, uint32_t value)
{
    unsigned was_mode = timer_mode(l);
    uint32_t kept = l->lvt[which] & LVT_REMOTE_IRR;
    if (which == LVT_TIMER)
        timer_settle(l);
    l->lvt[which] = value & lvt_writable[which];
    if (!(l->svr & SVR_ON))
        l->lvt[which] |= LVT_MASKED; /* 11.4.7.2 */
    if (lint_is_level(l->lvt[which]))
        l->lvt[which] |= kept;
    if (which == LVT_LINT0 || which == LVT_LINT1)
        lint_check_level(l, which);
    if (which != LVT_TIMER)
        return;
    if ((was_mode == TIMER_DEADLINE) != (timer_mode(l) == TIMER_DEADLINE)) {
        l->initial = 0; /* 11.5.4.1: changing between the kinds disarms */
        l->deadline_tsc = 0;
    }
    timer_arm(l);
}

static void write_svr(struct lapic *l, uint32_t value)
{
    l->svr = value & (SVR_QUIET_EOI | 0x1ff);
    if (l->svr & SVR_ON)
        return;
    for (unsigned i = 0; i < N_LVT; i++)
        l->lvt[i] |= LVT_MASKED;
    timer_arm(l);
}

/* 11.8.5 */
static void write_eoi(struct lapic *l, struct after *after)
{
    unsigned vector = highest(l->isr);
    if (!vector)
        return;
    bit_put(l->isr, vector, false);
    if (!bit_get(l->tmr, vector))
        return;
    after->eoi = !(l->svr & SVR_QUIET_EOI);
    after->vector = (uint8_t)vector;
    for (unsigned i = LVT_LINT0; i <= LVT_LINT1; i++)
        if ((l->lvt[i] & 0xff) == vector) {
            l->lvt[i] &= ~(uint32_t)LVT_REMOTE_IRR;
            lint_check_level(l, i);
        }
}

static uint32_t read_id(const struct lapic *l)
{
    return l->base & BASE_X2 ? l->id : l->xapic_id << 24;
}

/* False: there is no such register. Those that only x2APIC has or has not are the callers' affair. */
static bool register_read(struct lapic *l, unsigned reg, uint32_t *value)
{
    if (reg >= REG_ISR && reg < REG_ESR) {
        const uint32_t *set = reg < REG_TMR ? l->isr : reg < REG_IRR ? l->tmr : l->irr;
        *value = set[reg % 8];
        return true;
    }
    if (reg >= REG_LVT && reg < REG_LVT + N_LVT) {
        *value = l->lvt[reg - REG_LVT];
        return true;
    }
    switch (reg) {
    case REG_ID: *value = read_id(l); return true;
    case REG_VERSION: *value = VERSION; return true;
    case REG_TPR: *value = l->tpr; return true;
    case REG_APR:
    case REG_PPR: *value = l->priority; return true;
    case REG_EOI: *value = 0; return true;
    case REG_LDR: *value = l->base & BASE_X2 ? x2apic_ldr(l) : l->ldr; return true;
    case REG_DFR: *value = l->dfr; return true;
    case REG_SVR: *value = l->svr; return true;
    case REG_ESR: *value = l->esr; return true;
    case REG_ICR: *value = (uint32_t)l->icr; return true;
    case REG_ICR_HIGH: *value = (uint32_t)(l->icr >> 32); return true;
    case REG_INITIAL: *value = l->initial; return true;
    case REG_CURRENT: *value = current_count(l); return true;
    case REG_DIVIDE: *value = l->divide; return true;
    default: return false;
    }
}

static bool register_write(struct lapic *l, unsigned reg, uint32_t value, struct after *after)
{
    if (reg >= REG_LVT && reg < REG_LVT + N_LVT) {
        write_lvt(l, reg - REG_LVT, value);
        return true;
    }
    switch (reg) {
    case REG_ID: l->xapic_id = value >> 24; return true;
    case REG_TPR: l->tpr = value & 0xff; return true;
    case REG_EOI: write_eoi(l, after); return true;
    case REG_LDR: l->ldr = value & 0xff000000; return true;
    case REG_DFR: l->dfr = value | 0x0fffffff; return true;
    case REG_SVR: write_svr(l, value); return true;
    case REG_ESR:
        l->esr = l->errors;
        l->errors = 0;
        return true;
    case REG_ICR:
        l->icr = (l->icr & ~UINT64_C(0xffffffff)) | (value & 0xccfff);
        *after = (struct after){ .ipi = true, .icr = l->icr };
        return true;
    case REG_ICR_HIGH: l->icr = (uint32_t)l->icr | (uint64_t)value << 32; return true;
    case REG_INITIAL:
        write_initial(l, value);
        timer_arm(l);
        return true;
    case REG_DIVIDE:
        write_divide(l, value);
        timer_arm(l);
        return true;
    default: return reg >= REG_VERSION && reg < REG_INITIAL + 2 && register_read(l, reg, &value);
    }
}

/* No lock held. */
static void do_after(struct lapic *l, const struct after *after)
{
    if (after->eoi && l->apic->ioapic)
        ioapic_eoi(l->apic->ioapic, after->vector);
    if (after->ipi)
        send_ipi(l, after->icr);
}

/* ---- the page --------------------------------------------------------------------------------- */
static struct lapic *callers(struct apic *a)
{
    struct vcpu *cpu = vcpu_current(a->dev.vm);
    return &a->cpus[cpu && cpu->index < a->n_cpus ? cpu->index : 0];
}

/* 11.4.1: aligned 32-bit accesses; the page answers in xAPIC mode. */
static uint64_t page_read(void *opaque, uint64_t off, unsigned size)
{
    struct lapic *l = callers(opaque);
    uint32_t value = 0;
    if (off % 16 || (l->base & (BASE_ON | BASE_X2)) != BASE_ON)
        return 0;
    lapic_lock(l);
    if (off / 16 >= N_REGS || !register_read(l, off / 16, &value))
        set_error(l, ESR_REGISTER);
    lapic_unlock(l);
    return value;
}

static void page_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct lapic *l = callers(opaque);
    struct after after = { 0 };
    if (off % 16 || (l->base & (BASE_ON | BASE_X2)) != BASE_ON)
        return;
    lapic_lock(l);
    if (off / 16 >= N_REGS || !register_write(l, off / 16, (uint32_t)value, &after))
        set_error(l, ESR_REGISTER);
    lapic_update(l);
    lapic_unlock(l);
    do_after(l, &after);
}

static uint64_t messages_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void messages_msi(void *opaque, uint64_t off, uint32_t data)
{
    apic_message(opaque, LAPIC_ADDR + off, data);
}

/* A processor's write beside its own APIC's page is a message like a device's. */
static void messages_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    apic_message(opaque, LAPIC_ADDR + off, (uint32_t)value);
}

static const struct mmio_ops page_ops = { page_read, page_write, 4, 4, messages_msi };
static const struct mmio_ops messages_ops = { messages_read, messages_write, 4, 4, messages_msi };

/* ---- MSRs ------------------------------------------------------------------------------------- */
/* 11.4.7.1, 11.4.7.3: what INIT leaves alone are the APIC's ID and base. */
static void lapic_init_registers(struct lapic *l)
{
    bool bsp = l->base & BASE_BSP;
    l->ldr = 0;
    l->dfr = UINT32_MAX;
    l->svr = 0xff;
    l->tpr = l->esr = l->errors = l->divide = l->initial = 0;
    l->icr = l->started_ns = l->deadline_tsc = 0;
    l->expired = l->message_extint = false;
    memset(l->isr, 0, sizeof(l->isr));
    memset(l->tmr, 0, sizeof(l->tmr));
    memset(l->irr, 0, sizeof(l->irr));
    for (unsigned i = 0; i < N_LVT; i++)
        l->lvt[i] = LVT_MASKED;
    if (bsp)
        l->lvt[LVT_LINT0] = EXTINT << 8; /* as BIOSes leave it: the 8259 is heard at once */
    timer_arm(l);
}

/* 11.12.5: which state may follow which. */
static bool base_is_reachable(uint64_t now, uint64_t next)
{
    bool on = now & BASE_ON, x2 = now & BASE_X2, next_on = next & BASE_ON, next_x2 = next & BASE_X2;
    if (next_x2 && !next_on)
        return false;
    if (next_x2 && !on)
        return false;
    return !(x2 && next_on && !next_x2);
}

/* No lock held. A device that the board did not place stays where its creator put it. */
static void place_page(struct apic *a, gpa at)
{
    if (a->addr != UINT64_MAX && atomic_exchange(&a->page_at, at) != at)
        mem_map(a->page, at, 1);
}

/* Before vCPUs go on: a reset or a load may have changed the base. */
static void apic_runs(void *opaque, bool running)
{
    struct apic *a = opaque;
    if (running)
        place_page(a, a->cpus[0].base & BASE_ADDR);
}

static bool write_base(struct lapic *l, uint64_t value)
{
    if (value & ~(BASE_ADDR | BASE_BSP | BASE_X2 | BASE_ON))
        return false;
    lapic_lock(l);
    uint64_t was = l->base;
    bool ok = base_is_reachable(was, value);
    if (ok) {
        l->base = value;
        if (!(value & BASE_ON) && was & BASE_ON)
            lapic_init_registers(l); /* 11.4.3 */
        if (value & ~was & BASE_ON)
            l->xapic_id = l->id & 0xff;
        lapic_update(l);
    }
    lapic_unlock(l);
    if (ok && value & BASE_ON)
        place_page(l->apic, value & BASE_ADDR);
    return ok;
}

/* 11.12.1.2: MSRs and the bits that may be written; what is not listed does not exist. */
static const struct x2_register {
    uint8_t reg;
    bool readable, writable;
    uint32_t valid;
} x2_registers[] = {
    { REG_ID, true, false, 0 },
    { REG_VERSION, true, false, 0 },
    { REG_TPR, true, true, 0xff },
    { REG_PPR, true, false, 0 },
    { REG_EOI, false, true, 0 },
    { REG_LDR, true, false, 0 },
    { REG_SVR, true, true, SVR_QUIET_EOI | 0x1ff },
    { REG_ESR, true, true, 0 },
    { REG_ICR, true, true, 0xccfff },
    { REG_LVT + LVT_TIMER, true, true, 0x710ff },
    { REG_LVT + LVT_THERMAL, true, true, 0x117ff },
    { REG_LVT + LVT_PERF, true, true, 0x117ff },
    { REG_LVT + LVT_LINT0, true, true, 0x1f7ff },
    { REG_LVT + LVT_LINT1, true, true, 0x1f7ff },
    { REG_LVT + LVT_ERROR, true, true, 0x110ff },
    { REG_INITIAL, true, true, UINT32_MAX },
    { REG_CURRENT, true, false, 0 },
    { REG_DIVIDE, true, true, 0xb },
    { REG_SELF_IPI, false, true, 0xff },
};

static bool x2_may(unsigned reg, bool write, uint64_t value)
{
    if (reg >= REG_ISR && reg < REG_ESR)
        return !write;
    for (size_t i = 0; i < ARRAY_LEN(x2_registers); i++) {
        const struct x2_register *r = &x2_registers[i];
        if (r->reg != reg)
            continue;
        if (!write)
            return r->readable;
        return r->writable && !((uint32_t)value & ~r->valid) && (reg == REG_ICR || !(value >> 32));
    }
    return false;
}

static bool x2_read(struct lapic *l, unsigned reg, uint64_t *value)
{
    uint32_t low = 0;
    if (!(l->base & BASE_X2) || !x2_may(reg, false, 0))
        return false;
    lapic_lock(l);
    register_read(l, reg, &low);
    *value = reg == REG_ICR ? l->icr : low;
    lapic_unlock(l);
    return true;
}

static bool x2_write(struct lapic *l, unsigned reg, uint64_t value)
{
    struct after after = { 0 };
    if (!(l->base & BASE_X2) || !x2_may(reg, true, value))
        return false;
    lapic_lock(l);
    if (reg == REG_SELF_IPI) {
        after = (struct after){ .ipi = true, .icr = (value & 0xff) | TO_SELF << 18 };
    } else {
        if (reg == REG_ICR)
            l->icr = value;
        register_write(l, reg, (uint32_t)value, &after);
    }
    lapic_update(l);
    lapic_unlock(l);
    do_after(l, &after);
    return true;
}

bool lapic_read_msr(struct lapic *l, uint32_t msr, uint64_t *value)
{
    switch (msr) {
    case MSR_APIC_BASE: *value = l->base; return true;
    case MSR_TSC_DEADLINE:
        lapic_lock(l);
        timer_settle(l);
        *value = timer_mode(l) == TIMER_DEADLINE ? l->deadline_tsc : 0;
        lapic_unlock(l);
        return true;
    default: return msr - MSR_X2APIC < N_REGS && x2_read(l, msr - MSR_X2APIC, value);
    }
}

bool lapic_write_msr(struct lapic *l, uint32_t msr, uint64_t value)
{
    switch (msr) {
    case MSR_APIC_BASE: return write_base(l, value);
    case MSR_TSC_DEADLINE:
        lapic_lock(l);
        if (timer_mode(l) == TIMER_DEADLINE) {
            l->deadline_tsc = value;
            timer_arm(l);
        }
        lapic_unlock(l);
        return true;
    default: return msr - MSR_X2APIC < N_REGS && x2_write(l, msr - MSR_X2APIC, value);
    }
}

uint8_t lapic_read_cr8(struct lapic *l)
{
    lapic_lock(l);
    uint8_t value = (uint8_t)(l->tpr >> 4);
    lapic_unlock(l);
    return value;
}

void lapic_write_cr8(struct lapic *l, uint8_t value)
{
    lapic_lock(l);
    l->tpr = (value & 0xfu) << 4; /* 11.8.6 */
    lapic_update(l);
    lapic_unlock(l);
}

/* ---- handing over ----------------------------------------------------------------------------- */
void lapic_get(struct lapic *l, struct lapic_regs *regs)
{
    uint32_t value;
    memset(regs, 0, sizeof(*regs));
    lapic_lock(l);
    timer_settle(l);
    for (unsigned reg = 0; reg < N_REGS; reg++)
        if (register_read(l, reg, &value))
            store_le(regs->page + 16 * reg, 4, value);
    regs->base = l->base;
    regs->deadline_tsc = timer_mode(l) == TIMER_DEADLINE ? l->deadline_tsc : 0;
    lapic_unlock(l);
}

static uint32_t from_page(const struct lapic_regs *regs, unsigned reg)
{
    return (uint32_t)load_le(regs->page + 16 * reg, 4);
}

/* When a count that now stands at `current` began. */
static void set_timer(struct lapic *l, const struct lapic_regs *regs)
{
    uint64_t now = vm_now_ns(l->apic->dev.vm);
    uint32_t current = from_page(regs, REG_CURRENT);
    l->divide = from_page(regs, REG_DIVIDE) & 0xb;
    l->initial = from_page(regs, REG_INITIAL);
    uint64_t gone = (uint64_t)(l->initial - MIN(current, l->initial)) << divide_shift(l);
    l->started_ns = now - MIN(now, gone);
    l->expired = timer_mode(l) == TIMER_ONE_SHOT && l->initial && !current;
    l->deadline_tsc = timer_mode(l) == TIMER_DEADLINE ? regs->deadline_tsc : 0;
}

bool lapic_set(struct lapic *l, const struct lapic_regs *regs)
{
    bool x2 = regs->base & BASE_X2;
    if (regs->base & ~(BASE_ADDR | BASE_BSP | BASE_X2 | BASE_ON) ||
        (x2 && !(regs->base & BASE_ON)) ||
        (from_page(regs, REG_IRR) | from_page(regs, REG_ISR)) & 0xffff)
        return false;
    lapic_lock(l);
    l->base = regs->base;
    l->xapic_id = x2 ? l->id & 0xff : from_page(regs, REG_ID) >> 24;
    l->tpr = from_page(regs, REG_TPR) & 0xff;
    l->ldr = x2 ? 0 : from_page(regs, REG_LDR) & 0xff000000;
    l->dfr = from_page(regs, REG_DFR) | 0x0fffffff;
    l->svr = from_page(regs, REG_SVR) & (SVR_QUIET_EOI | 0x1ff);
    l->esr = from_page(regs, REG_ESR) & 0xff;
    l->errors = 0;
    l->icr = from_page(regs, REG_ICR) | (uint64_t)from_page(regs, REG_ICR_HIGH) << 32;
    l->message_extint = false;
    for (unsigned i = 0; i < N_LVT; i++)
        l->lvt[i] = from_page(regs, REG_LVT + i) & 0x7f7ff;
    for (unsigned i = 0; i < 8; i++) {
        l->isr[i] = from_page(regs, REG_ISR + i);
        l->tmr[i] = from_page(regs, REG_TMR + i);
        l->irr[i] = from_page(regs, REG_IRR + i);
    }
    set_timer(l, regs);
    timer_arm(l);
    lapic_update(l);
    lapic_unlock(l);
    return true;
}

/* ---- wiring and life -------------------------------------------------------------------------- */
struct lapic *lapic_of(struct device *dev, unsigned vcpu)
{
    struct apic *a = (struct apic *)dev;
    assert(vcpu < a->n_cpus);
    return &a->cpus[vcpu];
}

void lapic_attach(struct device *dev, unsigned vcpu, uint32_t apic_id, const struct lapic_cpu *cpu)
{
    struct lapic *l = lapic_of(dev, vcpu);
    lapic_lock(l);
    l->id = apic_id;
    l->xapic_id = apic_id & 0xff;
    l->cpu = *cpu;
    lapic_unlock(l);
}

void apic_wire(struct device *dev, struct device *ioapic, struct device *i8259)
{
    ((struct apic *)dev)->ioapic = ioapic;
    ((struct apic *)dev)->i8259 = i8259;
}

struct irq apic_lint(struct device *dev, unsigned n)
{
    assert(n < 2);
    return (struct irq){ apic_set_lint, dev, n };
}

static struct error *apic_realize(struct device *dev)
{
    struct apic *a = (struct apic *)dev;
    for (unsigned i = 0; i < LAPIC_MAX; i++) {
        struct lapic *l = &a->cpus[i];
        l->apic = a;
        l->id = i;
        l->due_ns = UINT64_MAX;
        pthread_mutex_init(&l->lock, NULL);
        if (i < a->n_cpus)
            l->timer = timer_new(dev->vm, timer_fired, l);
    }
    a->page = mem_add_mmio(dev->vm, "apic", PAGE_SIZE, &page_ops, a);
    a->messages = mem_add_mmio(dev->vm, "apic-msi", MESSAGES_SIZE, &messages_ops, a);
    place_region(a->messages, a->addr);
    a->page_at = UINT64_MAX;
    place_page(a, a->addr);
    vm_on_run(dev->vm, apic_runs, a);
    return NULL;
}

static void apic_unrealize(struct device *dev)
{
    struct apic *a = (struct apic *)dev;
    vm_forget(dev->vm, a);
    mem_free_region(a->page);
    mem_free_region(a->messages);
    for (unsigned i = 0; i < LAPIC_MAX; i++) {
        timer_free(a->cpus[i].timer);
        pthread_mutex_destroy(&a->cpus[i].lock);
    }
}

/* `lint` stays: it belongs to the sources. */
static void apic_reset(struct device *dev)
{
    struct apic *a = (struct apic *)dev;
    for (unsigned i = 0; i < LAPIC_MAX; i++) {
        struct lapic *l = &a->cpus[i];
        lapic_lock(l);
        l->base = LAPIC_ADDR | BASE_ON | (i == 0 ? BASE_BSP : 0);
        l->xapic_id = l->id & 0xff;
        lapic_init_registers(l);
        lapic_update(l);
        lapic_unlock(l);
    }
}

static struct error *apic_loaded(struct device *dev)
{
    struct apic *a = (struct apic *)dev;
    for (unsigned i = 0; i < a->n_cpus; i++) {
        struct lapic *l = &a->cpus[i];
        if ((l->base & (BASE_ON | BASE_X2)) == BASE_X2)
            return error_new("apic: vCPU %u is in x2APIC mode with its APIC off", i);
        if ((l->irr[0] | l->isr[0]) & 0xffff)
            return error_new("apic: vCPU %u has an interrupt of a vector below 16", i);
        lapic_lock(l);
        timer_arm(l);
        lapic_update(l);
        lapic_unlock(l);
    }
    return NULL;
}

static const struct prop apic_props[] = {
    ADDR_PROP(struct apic),
    PROP(struct apic, n_cpus, "num-cpus", PROP_UINT, .def = "1", .min = 1, .max = LAPIC_MAX),
};

static const struct field lapic_state[] = {
    FIELD(struct lapic, base, .valid = BASE_ADDR | BASE_BSP | BASE_X2 | BASE_ON),
    FIELD(struct lapic, xapic_id, .max = 0xff),
    FIELD(struct lapic, ldr, .valid = 0xff000000),
    FIELD(struct lapic, dfr),
    FIELD(struct lapic, svr, .valid = SVR_QUIET_EOI | 0x1ff),
    FIELD(struct lapic, tpr, .max = 0xff),
    FIELD(struct lapic, esr, .max = 0xff),
    FIELD(struct lapic, errors, .max = 0xff),
    FIELD(struct lapic, icr),
    FIELD_ARRAY(struct lapic, lvt, .valid = 0x7f7ff),
    FIELD(struct lapic, divide, .valid = 0xb),
    FIELD(struct lapic, initial),
    FIELD(struct lapic, started_ns),
    FIELD(struct lapic, deadline_tsc),
    FIELD(struct lapic, expired),
    FIELD(struct lapic, message_extint),
    FIELD_ARRAY(struct lapic, isr),
    FIELD_ARRAY(struct lapic, tmr),
    FIELD_ARRAY(struct lapic, irr),
    DERIVED(struct lapic, ready),
    DERIVED(struct lapic, priority),
    DERIVED(struct lapic, due_ns),
};
static const struct field apic_state[] = {
    FIELD_SUB(struct apic, cpus, lapic_state, LAPIC_MAX),
    FIELD_ARRAY(struct apic, lint),
    DERIVED(struct apic, page_at),
};

const struct device_class apic_class = {
    .name = "apic",
    .desc = "local APICs",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct apic),
    .props = TABLE(apic_props),
    .state = TABLE(apic_state),
    .realize = apic_realize,
    .unrealize = apic_unrealize,
    .reset = apic_reset,
    .loaded = apic_loaded,
};
