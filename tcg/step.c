/* One unit at a time, for lock-step: no links, no jump caches, no loops inside. */
#include "core/util.h"
#include "tcg/tcg.h"

static void begin(struct tcg_cpu *t)
{
    run_begin(t);
    if (t->target->resume)
        t->target->resume(t->cpu);
    if (atomic_exchange(&t->flush_wanted, false))
        tlb_flush_everything(t);
    atomic_store(&t->exit_flag, 0);
    t->stepping = true;
    t->halt = false;
}

static void end(struct tcg_cpu *t)
{
    t->stepping = false;
    if (t->target->settle)
        t->target->settle(t->cpu);
    *((uint8_t *)t->cpu->arch + t->target->fp_flags_offset) = t->fp_flags;
    run_end(t);
}

bool step_interrupt(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    begin(t);
    bool taken =
        sigsetjmp(t->leave, 0) || t->target->take_interrupt(cpu); /* a fault of delivery leaves */
    end(t);
    return taken;
}

/* One found before may be too long. False: an exception was raised. */
static bool find(struct tcg_cpu *t)
{
    for (;;) {
        uint64_t traps = t->counts.traps;
        struct unit *u = translate_find(t, *tcg_pc(t));
        t->step_unit = u;
        if (u && u->n_insns <= t->most_insns)
            return true;
        if (!u && t->counts.traps != traps)
            return false;
        if (!u)
            continue;
        pthread_mutex_lock(&t->tcg->lock);
        cache_kill(t->tcg, u);
        pthread_mutex_unlock(&t->tcg->lock);
    }
}

int step_prepare(struct vcpu *cpu, unsigned most, struct vcpu_code *code)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    if (!t->stepping)
        begin(t);
    t->most_insns = most;
    t->single = t->wants_single || t->wants_alone;
    if (t->target->waits && t->target->waits(cpu)) {
        end(t);
        return STEP_WAITS;
    }
    if (sigsetjmp(t->leave, 0) || !find(t)) {
        end(t);
        return 0;
    }
    const struct unit *u = t->step_unit;
    *code =
        (struct vcpu_code){ u->page + u->off, *tcg_pc(t), (unsigned)(MIN(u->end, 4096) - u->off) };
    return u->n_insns;
}

enum vcpu_exit step_run(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    t->alone = t->wants_alone; /* there is no other vCPU */
    t->wants_alone = t->wants_single = false;
    if (!sigsetjmp(t->leave, 0)) {
        t->tcg->backend->fp_resume(t);
        tcg_enter(t, t->step_unit);
    }
    if (t->fp_live)
        t->tcg->backend->fp_suspend(t);
    t->alone = t->single = false;
    enum vcpu_exit exit = t->halt ? EXIT_HALTED : EXIT_KICKED;
    t->halt = false;
    end(t);
    return exit;
}
