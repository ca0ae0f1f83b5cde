/* Time and performance counters: mtime as the board gives it, stimecmp (Sstc), cycle, instret and the
 * programmable counters with overflow interrupts and filters by mode (priv 3.1.10, Sscofpmf).
 *
 * Cycles are nanoseconds of guest time. Events of mhpmevent: 1 cycles, 2 instructions. */
#include "core/clock.h"
#include "core/vm.h"
#include "target/riscv/rv_priv.h"

enum { EVENT_CYCLES = 1, EVENT_INSTRUCTIONS = 2, FIRST_HPM = 3 };

#define EVENT_OF   ((uint64_t)1 << 63)
#define EVENT_MINH ((uint64_t)1 << 62)
#define EVENT_SINH ((uint64_t)1 << 61)
#define EVENT_UINH ((uint64_t)1 << 60)
#define EVENT_CODE ((uint64_t)0xffff)

/* ---- time and stimecmp ------------------------------------------------------------------------- */

static struct riscv_vm *vm_of(const struct riscv_cpu *r)
{
    return r->cpu->vm->arch;
}

uint64_t riscv_read_time(const struct riscv_cpu *r)
{
    const struct riscv_vm *v = vm_of(r);
    return v->read_time(v->time_opaque);
}

bool riscv_has_stimecmp(const struct riscv_cpu *r)
{
    return rv_has(r, RV_EXT_SSTC) && (r->menvcfg & RV_ENVCFG_STCE);
}

/* When `ticks` of mtime have passed; far ones are looked at again in a year. */
static uint64_t deadline_in(const struct riscv_cpu *r, uint64_t ticks)
{
    const uint64_t ns_per_tick = NS_PER_S / RV_TIMEBASE_HZ;
    const uint64_t year = (uint64_t)365 * 86400 * RV_TIMEBASE_HZ;
    return vm_now_ns(r->cpu->vm) + MIN(ticks, year) * ns_per_tick;
}

/* Sstc 2.1: STIP is time >= stimecmp, all unsigned. */
void riscv_stimecmp_changed(struct vcpu *cpu)
{
    struct riscv_cpu *r = riscv_of(cpu);
    bool due = false;
    pthread_mutex_lock(&r->timer_lock);
    if (riscv_has_stimecmp(r)) {
        uint64_t now = riscv_read_time(r);
        due = now >= r->stimecmp;
        if (!due && r->stimecmp != ~(uint64_t)0)
            timer_set(r->stimecmp_timer, deadline_in(r, r->stimecmp - now));
        else
            timer_cancel(r->stimecmp_timer);
    }
    riscv_set_irq(cpu, RV_STI, due);
    pthread_mutex_unlock(&r->timer_lock);
}

static void stimecmp_fired(void *opaque)
{
    riscv_stimecmp_changed(opaque);
}

void riscv_time_changed(struct vm *vm)
{
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        if (vm->vcpus[i])
            riscv_stimecmp_changed(vm->vcpus[i]);
}

void riscv_set_time_source(struct vm *vm, uint64_t (*read_time)(void *opaque), void *opaque)
{
    struct riscv_vm *v = vm->arch;
    v->read_time = read_time;
    v->time_opaque = opaque;
}

/* ---- counters ------------------------------------------------------------------------------------- */

static unsigned source_of(const struct riscv_cpu *r, unsigned i)
{
    if (i == 0)
        return EVENT_CYCLES;
    if (i == 2)
        return EVENT_INSTRUCTIONS;
    return r->counters[i].event & EVENT_CODE;
}

static uint64_t source_now(const struct riscv_cpu *r, unsigned i)
{
    return source_of(r, i) == EVENT_CYCLES ? vm_now_ns(r->cpu->vm) : tcg_instructions(r->cpu);
}

static bool is_there(const struct riscv_cpu *r, unsigned i)
{
    return i == 0 || i == 2 || (i >= FIRST_HPM && i < FIRST_HPM + (unsigned)r->model->n_hpm);
}

bool riscv_counter_counts_instructions(const struct riscv_cpu *r, unsigned i)
{
    return is_there(r, i) && source_of(r, i) == EVENT_INSTRUCTIONS;
}

void riscv_start_counting(struct riscv_cpu *r)
{
    r->counting = true;
    tcg_count_instructions(r->cpu);
    riscv_update_flags(r);
}

/* Sscofpmf 2: mhpmevent says in which modes it does not count. */
static bool is_filtered(const struct riscv_cpu *r, uint64_t event)
{
    const uint64_t inhibit[] = { [RV_U] = EVENT_UINH, [RV_S] = EVENT_SINH, [RV_M] = EVENT_MINH };
    return event & inhibit[r->priv];
}

static bool should_run(const struct riscv_cpu *r, unsigned i)
{
    return is_there(r, i) && source_of(r, i) && !(r->mcountinhibit >> i & 1) &&
           !is_filtered(r, r->counters[i].event);
}

/* Sscofpmf 2.1: the interrupt comes with OF's change to 1 only. */
static void overflowed(struct riscv_cpu *r, unsigned i)
{
    struct riscv_counter *c = &r->counters[i];
    if (i < FIRST_HPM || !rv_has(r, RV_EXT_SSCOFPMF) || (c->event & EVENT_OF))
        return;
    c->event |= EVENT_OF;
    atomic_fetch_or(&r->mip, RV_BIT(RV_LCOFI));
    riscv_check_interrupts(r);
}

static void sync_one(struct riscv_cpu *r, unsigned i)
{
    struct riscv_counter *c = &r->counters[i];
    if (!c->running)
        return;
    uint64_t now = source_now(r, i), old = c->value;
    c->value += now - c->since;
    c->since = now;
    if (c->value < old)
        overflowed(r, i);
}

void riscv_counters_sync(struct riscv_cpu *r)
{
    for (unsigned i = 0; i < RV_N_COUNTERS; i++)
        sync_one(r, i);
}

/* ---- when the next overflow can be ---- */

/* At most this many instructions in a nanosecond; and how finely their count is looked at. */
enum { MAX_INSNS_PER_NS = 8, LOOK_AGAIN_NS = 50000 };

static uint64_t overflow_in_ns(const struct riscv_cpu *r, unsigned i)
{
    const struct riscv_counter *c = &r->counters[i];
    uint64_t left = -c->value;
    if (!c->running || (c->event & EVENT_OF) || !left)
        return UINT64_MAX;
    return source_of(r, i) == EVENT_CYCLES ? left : MAX(left / MAX_INSNS_PER_NS, LOOK_AGAIN_NS);
}

static void arm_timer(struct riscv_cpu *r)
{
    uint64_t ns = UINT64_MAX;
    if (!rv_has(r, RV_EXT_SSCOFPMF))
        return;
    for (unsigned i = FIRST_HPM; i < RV_N_COUNTERS; i++)
        ns = MIN(ns, overflow_in_ns(r, i));
    if (ns < 3600 * NS_PER_S)
        timer_set(r->pmu_timer, vm_now_ns(r->cpu->vm) + ns);
    else
        timer_cancel(r->pmu_timer);
}

static void look_for_overflows(struct vcpu *cpu, void *unused)
{
    struct riscv_cpu *r = riscv_of(cpu);
    riscv_counters_sync(r);
    arm_timer(r);
}

static void pmu_timer_fired(void *opaque)
{
    vcpu_post(opaque, look_for_overflows, NULL);
}

/* ---- changes ---- */

/* A counter of instructions begins to run: from here on they are counted. Until then nobody can see what it costs all
 * code to count them (firmware and kernels set events up, and try them, to see what there is). */
static void begins_to_run(struct riscv_cpu *r, unsigned i)
{
    if (i >= FIRST_HPM && source_of(r, i) == EVENT_INSTRUCTIONS && !tcg_is_counting(r->cpu))
        riscv_start_counting(r);
}

void riscv_counters_changed(struct riscv_cpu *r)
{
    r->pmu_filters = false;
    for (unsigned i = 0; i < RV_N_COUNTERS; i++) {
        struct riscv_counter *c = &r->counters[i];
        sync_one(r, i);
        if (!c->running && should_run(r, i))
            begins_to_run(r, i);
        c->running = should_run(r, i);
        if (c->running)
            c->since = source_now(r, i);
        r->pmu_filters |= (c->event & (EVENT_MINH | EVENT_SINH | EVENT_UINH)) && source_of(r, i);
    }
    arm_timer(r);
}

/* Guest time goes on where it was; the engine's count of instructions starts anew. */
void riscv_counters_loaded(struct riscv_cpu *r)
{
    for (unsigned i = 0; i < RV_N_COUNTERS; i++)
        if (source_of(r, i) == EVENT_INSTRUCTIONS)
            r->counters[i].since = source_now(r, i);
    if (r->counting)
        tcg_count_instructions(r->cpu);
    riscv_counters_changed(r);
}

uint64_t riscv_counter_read(struct riscv_cpu *r, unsigned i)
{
    sync_one(r, i);
    return r->counters[i].value;
}

void riscv_counter_write(struct riscv_cpu *r, unsigned i, uint64_t v)
{
    if (!is_there(r, i))
        return;
    sync_one(r, i);
    r->counters[i].value = v;
    if (i >= FIRST_HPM)
        arm_timer(r);
}

void riscv_counter_set_event(struct riscv_cpu *r, unsigned i, uint64_t event)
{
    if (!is_there(r, i))
        return;
    uint64_t code = event & EVENT_CODE, flags = EVENT_OF | EVENT_MINH | EVENT_SINH | EVENT_UINH;
    if (code > EVENT_INSTRUCTIONS)
        code = 0;
    sync_one(r, i);
    r->counters[i].running = false;
    r->counters[i].event = code | (rv_has(r, RV_EXT_SSCOFPMF) ? event & flags : 0);
    riscv_counters_changed(r);
}

void riscv_counters_init(struct riscv_cpu *r)
{
    pthread_mutex_init(&r->timer_lock, NULL);
    r->stimecmp_timer = timer_new(r->cpu->vm, stimecmp_fired, r->cpu);
    r->pmu_timer = timer_new(r->cpu->vm, pmu_timer_fired, r->cpu);
}

void riscv_counters_free(struct riscv_cpu *r)
{
    timer_free(r->stimecmp_timer);
    timer_free(r->pmu_timer);
    pthread_mutex_destroy(&r->timer_lock);
}
