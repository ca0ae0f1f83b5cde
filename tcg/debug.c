/* A debugger's breakpoints, watchpoints and steps.
 *
 * Breakpoints: on a page with one (of this vCPU, by virtual address), units are of a kind of their own, UNIT_DEBUG,
 * which end before any offset at which some vCPU has a breakpoint; what begins there is UNIT_ALONE, so that no
 * jump leads to it but through the run loop, which compares addresses. Code of other pages runs as ever.
 *
 * Watchpoints: first-level entries of watched pages are not filled, so that all accesses come the slow way. One that
 * hits begins again as a unit of its own, behind which the vCPU stops.
 *
 * Steps are units of one instruction. */
#include "core/util.h"
#include "tcg/tcg.h"

#include <stdlib.h>

enum { NO_HIT = -2 };

struct debug {
    struct vcpu_debug want;
    unsigned n_execute, n_watch;
    int hit;           /* what it is to stop for: a point, VCPU_STEPPED, or NO_HIT */
    bool begun;        /* an instruction that is a step */
    uint64_t traps;    /* counted when it began */
    bool went_on;      /* the step is behind its first instruction: points count */
    bool hit_before;   /* what `hit` watches is still to be done by the instruction at pc, */
    bool passes_watch; /* which is the one that runs now, and does it */
};

/* ---- setting ---------------------------------------------------------------------------------------- */

static bool is_stop(const struct tcg *tcg, int32_t off)
{
    return atomic_load_explicit(&tcg->stops[off >> 6], memory_order_relaxed) >> (off & 63) & 1;
}

bool debug_stops_unit(const struct tcg *tcg, int32_t off)
{
    return is_stop(tcg, off);
}

/* Units that were made before are as they are: who runs over a new breakpoint must not meet them. */
static void add_stops(struct tcg *tcg, const struct vcpu_debug *want)
{
    bool is_new = false;
    pthread_mutex_lock(&tcg->lock);
    for (unsigned i = 0; i < want->n; i++) {
        int32_t off = want->points[i].at & 4095;
        if (want->points[i].kind != POINT_EXECUTE || is_stop(tcg, off))
            continue;
        atomic_fetch_or(&tcg->stops[off >> 6], (uint64_t)1 << (off & 63));
        is_new = true;
    }
    if (is_new)
        cache_kill_flagged(tcg, UNIT_DEBUG);
    pthread_mutex_unlock(&tcg->lock);
}

struct error *debug_set(struct vcpu *cpu, const struct vcpu_debug *want)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    free(t->debug);
    t->debug = NULL;
    cpu->holds_interrupts = false;
    if (want->step || want->n) {
        struct debug *d = t->debug = xcalloc(1, sizeof(*d));
        d->want = *want;
        d->hit = NO_HIT;
        for (unsigned i = 0; i < want->n; i++)
            *(want->points[i].kind == POINT_EXECUTE ? &d->n_execute : &d->n_watch) += 1;
        add_stops(t->tcg, want);
    }
    /* What was remembered of pages and jumps does not know of this. */
    atomic_store(&t->flush_wanted, true);
    atomic_store(&t->exit_flag, 1);
    return NULL;
}

/* ---- breakpoints ------------------------------------------------------------------------------------ */

static int execute_point(const struct debug *d, uint64_t pc)
{
    for (unsigned i = 0; d->n_execute && i < d->want.n; i++)
        if (d->want.points[i].kind == POINT_EXECUTE && d->want.points[i].at == pc)
            return (int)i;
    return NO_HIT;
}

bool debug_is_point(const struct tcg_cpu *t, uint64_t pc)
{
    return execute_point(t->debug, pc) != NO_HIT;
}

uint32_t debug_unit_flag(const struct tcg_cpu *t, uint64_t pc)
{
    const struct debug *d = t->debug;
    for (unsigned i = 0; d->n_execute && i < d->want.n; i++)
        if (d->want.points[i].kind == POINT_EXECUTE && d->want.points[i].at >> 12 == pc >> 12)
            return is_stop(t->tcg, pc & 4095) ? UNIT_ALONE : UNIT_DEBUG;
    return 0;
}

/* ---- watchpoints ------------------------------------------------------------------------------------ */

unsigned debug_watched(const struct tcg_cpu *t, uint64_t page)
{
    const struct debug *d = t->debug;
    unsigned watched = 0;
    for (unsigned i = 0; d->n_watch && i < d->want.n; i++) {
        const struct vcpu_point *p = &d->want.points[i];
        if (p->kind != POINT_EXECUTE &&
            p->at >> 12 == page >> 12) /* atomics read, as writes do not */
            watched |= p->kind == POINT_WRITE ? WATCH_WRITES : WATCH_READS | WATCH_WRITES;
    }
    return watched;
}

static int watch_point(const struct debug *d, uint64_t va, uint64_t n, enum access access)
{
    for (unsigned i = 0; d->n_watch && i < d->want.n; i++) {
        const struct vcpu_point *p = &d->want.points[i];
        bool meant = p->kind == POINT_ACCESS ||
                     p->kind == (access == ACCESS_WRITE ? POINT_WRITE : POINT_READ);
        if (meant && (va - p->at < p->size || p->at - va < n))
            return (int)i;
    }
    return NO_HIT;
}

static noreturn void leave_before(struct tcg_cpu *t)
{
    *tcg_pc(t) = tcg_insn_pc(t->cpu);
    t->undo++;
    t->why = LEFT_WATCH;
    tcg_leave(t->cpu);
}

static int find_watch(const struct tcg_cpu *t, uint64_t va, uint64_t n, enum access access)
{
    return t->debug->passes_watch ? NO_HIT : watch_point(t->debug, va, n, access);
}

void debug_note(struct tcg_cpu *t, uint64_t va, uint64_t n, enum access access)
{
    struct debug *d = t->debug;
    int hit = d->hit == NO_HIT ? find_watch(t, va, n, access) : NO_HIT;
    if (hit == NO_HIT)
        return;
    d->hit = hit;
    atomic_store(&t->exit_flag, 1);
}

void debug_check(struct tcg_cpu *t, uint64_t va, uint64_t n, enum access access)
{
    struct debug *d = t->debug;
    int hit = find_watch(t, va, n, access);
    if (hit == NO_HIT)
        return;
    if (d->want.before) {
        d->hit = hit;
        d->hit_before = true;
        leave_before(t);
    }
    if (!t->single && !t->alone) {
        t->wants_single = true;
        leave_before(t);
    }
}

void debug_access(struct tcg_cpu *t, uint64_t va, uint64_t n, enum access access)
{
    debug_check(t, va, n, access);
    debug_note(t, va, n, access);
}

void debug_forget_access(struct tcg_cpu *t)
{
    t->debug->hit = NO_HIT;
}

/* ---- running ---------------------------------------------------------------------------------------- */

static bool stands_at_point(struct tcg_cpu *t)
{
    return t->at_point && t->point_pc == *tcg_pc(t);
}

/* The instruction that is a step is done, or raised an exception. */
static void end_step(struct tcg_cpu *t)
{
    struct debug *d = t->debug;
    if (t->counts.traps != d->traps)
        t->wants_single = t->wants_alone = false;
    if (t->wants_single || t->wants_alone)
        return;
    d->begun = false;
    d->went_on = true;
    if (d->hit == NO_HIT && *tcg_pc(t) - d->want.from >= d->want.to - d->want.from)
        d->hit = VCPU_STEPPED;
}

bool debug_stops(struct tcg_cpu *t)
{
    struct debug *d = t->debug;
    if (d->begun)
        end_step(t);
    if (d->hit == NO_HIT) {
        bool passes = stands_at_point(t);
        t->cpu->holds_interrupts = passes || (d->want.step && d->want.hold_interrupts);
        return false;
    }
    t->cpu->debug_hit = d->hit;
    t->at_watch = d->hit_before;
    t->at_point = d->hit_before || (d->hit >= 0 && d->want.points[d->hit].kind == POINT_EXECUTE);
    t->point_pc = *tcg_pc(t);
    t->cpu->holds_interrupts = false;
    d->hit = NO_HIT;
    d->hit_before = false;
    return true;
}

static void begin_step(struct tcg_cpu *t)
{
    t->debug->begun = true;
    t->debug->traps = t->counts.traps;
}

void debug_took_interrupt(struct tcg_cpu *t)
{
    t->wants_single = t->wants_alone = false;
    if (t->debug->want.step)
        begin_step(t);
}

void debug_run(struct tcg_cpu *t)
{
    struct debug *d = t->debug;
    bool passes = stands_at_point(t);
    d->passes_watch = passes && t->at_watch;
    t->at_point = false;
    if (!passes && (!d->want.step || d->went_on))
        d->hit = execute_point(d, *tcg_pc(t));
    if (d->hit != NO_HIT)
        return;
    if (d->want.step)
        begin_step(t);
    if (d->want.step || passes)
        run_single(t);
    else
        run_units(t);
}

bool tcg_one_turn(struct vcpu *cpu)
{
    const struct tcg_cpu *t = tcg_cpu_of(cpu);
    return t->debug && t->single;
}

void tcg_watch(struct vcpu *cpu, uint64_t va, unsigned size, enum access access)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    if (t->debug)
        debug_check(t, va, size, access);
}
