/* The run loop, and the engine behind core/accel.h. */
#include "core/clock.h"
#include "core/disas.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/util.h"
#include "tcg/persist.h"
#include "tcg/tcg.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    DEFAULT_CACHE_MIB = 256,
    MAX_CACHE_MIB = 1024,
    HELPERS_CACHE_MIB = 1,
    DEFAULT_KEPT_MIB = 128,
    MAX_KEPT_MIB = 4096
};

/* ---- standing outside generated code ------------------------------------------------------------ */

/* Who waits here holds no memory view: whoever stands alone may in turn be waiting for a vCPU that
 * changes the memory map. */
void run_begin(struct tcg_cpu *t)
{
    struct tcg *tcg = t->tcg;
    mem_reader_idle(t->cpu->reader);
    pthread_mutex_lock(&tcg->run_lock);
    while (atomic_load(&tcg->exclusive))
        pthread_cond_wait(&tcg->run_changed, &tcg->run_lock);
    tcg->n_running++;
    pthread_mutex_unlock(&tcg->run_lock);
    mem_reader_quiesce(t->cpu->reader);
}

void run_end(struct tcg_cpu *t)
{
    struct tcg *tcg = t->tcg;
    pthread_mutex_lock(&tcg->run_lock);
    tcg->n_running--;
    pthread_cond_broadcast(&tcg->run_changed);
    pthread_mutex_unlock(&tcg->run_lock);
}

/* The caller is between run_begin and run_end, and comes back the same way; all others are
 * stopped in between. */
void run_enter_exclusive(struct tcg_cpu *t)
{
    struct tcg *tcg = t->tcg;
    if (t->alone)
        return;
    mem_reader_idle(t->cpu->reader);
    pthread_mutex_lock(&tcg->run_lock);
    tcg->n_running--;
    pthread_cond_broadcast(&tcg->run_changed);
    while (atomic_load(&tcg->exclusive))
        pthread_cond_wait(&tcg->run_changed, &tcg->run_lock);
    atomic_store(&tcg->exclusive, true);
    for (unsigned i = 0; i < tcg->vm->n_vcpus; i++)
        if (tcg->vm->vcpus[i] != t->cpu)
            vcpu_kick(tcg->vm->vcpus[i]);
    while (tcg->n_running)
        pthread_cond_wait(&tcg->run_changed, &tcg->run_lock);
    pthread_mutex_unlock(&tcg->run_lock);
}

void run_leave_exclusive(struct tcg_cpu *t)
{
    struct tcg *tcg = t->tcg;
    if (t->alone)
        return;
    pthread_mutex_lock(&tcg->run_lock);
    atomic_store(&tcg->exclusive, false);
    tcg->n_running++;
    pthread_cond_broadcast(&tcg->run_changed);
    pthread_mutex_unlock(&tcg->run_lock);
    mem_reader_quiesce(t->cpu->reader);
}

/* ---- the loop -------------------------------------------------------------------------------------- */

/* Does nobody want the run loop to look at everything between units? */
static bool may_go_on(const struct tcg_cpu *t)
{
    return !t->stepping && !atomic_load_explicit(&t->exit_flag, memory_order_relaxed) &&
           !log_on(&t->tcg->vm->log, LOG_EXEC);
}

/* Both translate only what takes no waiting: that may need every vCPU outside generated code. */
const void *run_lookup(void *arch, uint64_t pc)
{
    struct tcg_cpu *t = tcg_of(arch);
    t->counts.indirect_misses++;
    *tcg_pc(t) = pc;
    if (!may_go_on(t))
        return NULL;
    if (t->debug && debug_is_point(t, pc)) {
        t->why = LEFT_POINT;
        return NULL;
    }
    const void *code = translate_lookup(t, pc);
    if (!code)
        t->why = LEFT_LOOKUP;
    return code;
}

const void *run_link(void *arch, struct link *l)
{
    struct tcg_cpu *t = tcg_of(arch);
    if (!l->jump_at || t->debug || !may_go_on(t))
        return NULL;
    uint64_t pc = *tcg_pc(t) = t->pc_page + (uint64_t)(int64_t)l->off;
    struct unit *u = translate_link(t, l, pc);
    if (!u)
        return NULL;
    cache_link(t->tcg, l, u);
    return u->entry;
}

/* What exit_flag was set for. */
static enum left flag_cause(const struct tcg_cpu *t)
{
    uint32_t requests = atomic_load_explicit(&t->cpu->requests, memory_order_relaxed);
    return requests & ~(uint32_t)VCPU_REQ_INTERRUPT                         ? LEFT_REQUEST
           : requests                                                       ? LEFT_INTERRUPT
           : atomic_load_explicit(&t->flush_wanted, memory_order_relaxed)   ? LEFT_FLUSH
           : atomic_load_explicit(&t->tcg->exclusive, memory_order_relaxed) ? LEFT_OTHERS
           : atomic_load_explicit(&t->sampled, memory_order_relaxed)        ? LEFT_SAMPLE
                                                                            : LEFT_FLAG;
}

static void count_exit(struct tcg_cpu *t, const struct link *link)
{
    enum left why = t->why;
    if (!why && link && link->jump_at)
        why = LEFT_LINK;
    else if (!why && atomic_load_explicit(&t->exit_flag, memory_order_relaxed))
        why = flag_cause(t);
    else if (!why)
        why = link && link == link->from->links ? LEFT_DEAD : LEFT_INSN;
    t->counts.left[why]++;
    t->entered = false;
    t->why = LEFT_UNKNOWN;
}

struct link *tcg_enter(struct tcg_cpu *t, struct unit *u)
{
    t->why = LEFT_UNKNOWN; /* what the last run ended by is not why this one is to end */
    t->units_dead = atomic_load_explicit(&t->tcg->counts.dead, memory_order_relaxed);
    struct link *link = t->tcg->backend->enter(t, u);
    if (link)
        *tcg_pc(t) = t->pc_page + (uint64_t)(int64_t)link->off;
    return link;
}

static struct link *enter(struct tcg_cpu *t, struct unit *u)
{
    t->entered = true;
    t->counts.unit_entries++;
    struct link *link = tcg_enter(t, u);
    count_exit(t, link);
    return link;
}

/* Counting costs: it ends when nobody has looked for a while. */
static void maybe_stop_counting(struct tcg_cpu *t)
{
    uint64_t now = vm_now_ns(t->cpu->vm);
    if (now - t->counts_wanted_ns < NS_PER_S / 10)
        return;
    t->n_insns -= now;
    t->counting = false;
    tcg_context_changed(t->cpu);
}

/* Somebody asked for attention. True: return to the caller of run. */
static bool answer_requests(struct tcg_cpu *t)
{
    struct vcpu *cpu = t->cpu;
    atomic_store(&t->exit_flag, 0);
    if (atomic_load(&t->tcg->exclusive)) {
        run_end(t);
        run_begin(t);
    }
    if (t->counting)
        maybe_stop_counting(t);
    tier_goes_on(t);
    if (atomic_exchange(&t->flush_wanted, false))
        tlb_flush_everything(t);
    uint32_t req = atomic_fetch_and(&cpu->requests, ~(uint32_t)VCPU_REQ_INTERRUPT);
    return req & ~(uint32_t)VCPU_REQ_INTERRUPT;
}

static void log_entry(struct tcg_cpu *t, const struct unit *u)
{
    const struct log *log = &t->tcg->vm->log;
    if (log_in_filter(log, *tcg_pc(t)))
        log_print(log, "exec %u: %016llx flags %08x, %u instructions\n", t->cpu->index,
                  (unsigned long long)*tcg_pc(t), u->flags, u->n_insns);
}

/* Next time nobody needs to look for u: link is how the last unit was left for it, or NULL. */
static void remember_way(struct tcg_cpu *t, struct link *link, uint64_t pc, struct unit *u)
{
    if (link && link->jump_at && !u->page2 && u->page == link->from->page &&
        u->flags == link->from->flags)
        cache_link(t->tcg, link, u);
    else
        tlb_jump_insert(t, pc, u);
}

void run_units(struct tcg_cpu *t)
{
    struct tcg *tcg = t->tcg;
    bool logged = log_on(&tcg->vm->log, LOG_EXEC);
    struct link *link = NULL;
    do {
        uint64_t pc = *tcg_pc(t);
        if (t->debug && debug_is_point(t, pc))
            return;
        struct unit *u = translate_find(t, pc);
        if (!u) /* and the link may be gone */
            return;
        if (logged)
            log_entry(t, u);
        else if (!(u->flags & UNIT_ALONE))
            remember_way(t, link, pc, u);
        link = enter(t, u);
    } while (link && link->jump_at && !atomic_load_explicit(&t->exit_flag, memory_order_relaxed));
    if (link && atomic_load_explicit(&t->sampled, memory_order_relaxed)) {
        atomic_store_explicit(&t->sampled, false, memory_order_relaxed);
        tier_sample(t, link->from);
    }
}

void run_end_alone(struct tcg_cpu *t)
{
    if (!t->alone)
        return;
    t->alone = false;
    run_leave_exclusive(t);
}

/* One instruction. False: not yet, look again. Whatever else comes in between, the flag that is tested at its
 * start included, it just asks for this again. */
static bool run_one(struct tcg_cpu *t)
{
    struct unit *u = translate_find(t, *tcg_pc(t));
    if (!u)
        return false;
    t->lent = u;
    enter(t, u);
    return true;
}

/* Execute the next instruction while every other vCPU stands outside generated code. */
static void run_alone(struct tcg_cpu *t)
{
    t->wants_alone = t->wants_single = false;
    run_enter_exclusive(t);
    t->alone = true;
    t->wants_alone = !run_one(t);
    run_end_alone(t);
}

/* As a unit of its own, so that what it writes is code for the next. */
void run_single(struct tcg_cpu *t)
{
    t->wants_single = false;
    t->single = true;
    t->wants_single = !run_one(t);
    t->single = false;
}

static enum vcpu_exit run(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    run_begin(t);
    if (!t->debug) /* who steps is not to be disturbed */
        tier_running(t);
    enum vcpu_exit exit = EXIT_KICKED;
    if (t->target->resume)
        t->target->resume(cpu);
    (void)!sigsetjmp(t->leave, 0);
    run_end_alone(t);
    t->single = false;
    if (!t->fp_live) /* nothing in the loop computes with floats */
        t->tcg->backend->fp_resume(t);
    for (;;) {
        if (t->debug && debug_stops(t)) {
            exit = EXIT_DEBUG;
            break;
        }
        if (atomic_load_explicit(&t->exit_flag, memory_order_acquire) && answer_requests(t))
            break;
        if (t->target->take_interrupt(cpu)) {
            t->halt = false; /* there is a handler to run */
            if (t->debug)
                debug_took_interrupt(t);
            t->counts.traps++;
            if (t->debug)
                continue;
        }
        bool waits = t->target->waits && t->target->waits(cpu);
        if (t->halt || waits) {
            t->halt = false;
            if (cpu->nap_ns || !t->target->target->has_work(cpu)) {
                exit = EXIT_HALTED;
                break;
            }
        }
        if (cpu->vm->verdict != VERDICT_NONE) {
            exit = EXIT_SHUTDOWN;
            break;
        }
        if (t->wants_alone)
            run_alone(t);
        else if (t->wants_single)
            run_single(t);
        else if (t->debug && !waits)
            debug_run(t);
        else if (!waits)
            run_units(t);
    }
    t->tcg->backend->fp_suspend(t);
    if (t->target->settle)
        t->target->settle(cpu);
    tier_stopped(t);
    run_end(t);
    return exit;
}

static void kick(struct vcpu *cpu)
{
    atomic_store(&tcg_cpu_of(cpu)->exit_flag, 1);
}

/* ---- services for targets ----------------------------------------------------------------------------- */

uint64_t tcg_insn_pc(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    return t->pc_page + (uint64_t)(int64_t)t->tcg->backend->site_off(t);
}

noreturn void tcg_leave(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    if (t->counting)
        t->n_insns -= (uint64_t)t->undo;
    t->undo = 0;
    t->in_windows = false;
    if (t->entered) { /* not a fault of a fetch, or of an interrupt's delivery */
        t->why = t->why ? t->why : LEFT_HELPER;
        count_exit(t, NULL);
    }
    siglongjmp(t->leave, 1);
}

noreturn void tcg_halt(struct vcpu *cpu)
{
    tcg_cpu_of(cpu)->halt = true;
    tcg_cpu_of(cpu)->why = LEFT_HALT;
    tcg_leave(cpu);
}

void tcg_pause(struct vcpu *cpu)
{
    enum { SOON_NS = 10000, PATIENCE = 16, NAP_NS = 20000 };
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    t->pauses = host_now_ns() - t->paused_ns < SOON_NS ? t->pauses + 1 : 0;
    if (cpu->vm->n_vcpus == 1 && t->pauses > PATIENCE)
        nanosleep(&(struct timespec){ .tv_nsec = NAP_NS }, NULL);
    else
        sched_yield();
    t->paused_ns = host_now_ns();
}

uint8_t tcg_fp_flags(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    if (t->fp_live) {
        t->tcg->backend->fp_suspend(t);
        t->tcg->backend->fp_resume(t);
    }
    return t->fp_flags;
}

void tcg_fp_set_flags(struct vcpu *cpu, uint8_t flags)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    bool live = t->fp_live;
    if (live)
        t->tcg->backend->fp_suspend(t);
    t->fp_flags = flags;
    if (live)
        t->tcg->backend->fp_resume(t);
}

static void set_fp_modes(struct tcg_cpu *t)
{
    uint8_t modes = t->target->rounding(t->cpu);
    t->fp_rounding = modes & TCG_FP_ROUNDING;
    t->fp_flush = modes & (uint8_t)~TCG_FP_ROUNDING;
}

void tcg_rounding_changed(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    bool live = t->fp_live;
    if (live)
        t->tcg->backend->fp_suspend(t);
    set_fp_modes(t);
    if (live)
        t->tcg->backend->fp_resume(t);
}

uint64_t tcg_instructions(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    uint64_t now = vm_now_ns(cpu->vm);
    if (!t->counting)
        return t->n_insns + now; /* one a nanosecond */
    t->counts_wanted_ns = now;
    return t->n_insns - (uint64_t)t->undo;
}

void tcg_count_instructions(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    if (t->counting)
        return;
    t->counts_wanted_ns = vm_now_ns(cpu->vm);
    t->n_insns += t->counts_wanted_ns;
    t->counting = true;
    tcg_context_changed(cpu);
}

bool tcg_is_counting(struct vcpu *cpu)
{
    return tcg_cpu_of(cpu)->counting;
}

/* ---- the engine ------------------------------------------------------------------------------------------ */

static struct error *available(const char *target_name)
{
    for (size_t i = 0; i < n_tcg_targets; i++)
        if (!strcmp(tcg_targets[i]->target->name, target_name))
            return NULL;
    return error_new("the translator has no '%s' guest", target_name);
}

static struct error *parse_options(struct tcg *tcg, const char *text, uint64_t *mib, bool *tier2)
{
    static const char *const known[] = { "tb-size",       "backend",    "thread",
                                         "group",         "unit-insns", "one-insn-per-tb",
                                         "host-features", "count-tlb",  "cache",
                                         "cache-size",    "tier2" };
    struct options o;
    struct error *err = options_split(text ? text : "", NULL, &o);
    if (err)
        return err;
    const char *v;
    uint64_t n;
    if ((v = options_get(&o, "tb-size")) && (!parse_uint(v, MAX_CACHE_MIB, mib) || !*mib))
        err = error_new("tb-size=%s: a number of MiB from 1 to %d is expected", v, MAX_CACHE_MIB);
    if (!err && (v = options_get(&o, "thread")) && strcmp(v, "multi"))
        err = error_new("thread=%s: only thread=multi (a host thread per vCPU) is there", v);
    if (!err && (v = options_get(&o, "unit-insns"))) {
        if (parse_uint(v, 256, &n) && n)
            tcg->max_insns = (unsigned)n;
        else
            err = error_new("unit-insns=%s: a number from 1 to 256 is expected", v);
    }
    if (!err)
        err = options_get_bool(&o, "group", &tcg->group_accesses);
    if (!err)
        err = options_get_bool(&o, "one-insn-per-tb", &tcg->single_insn);
    if (!err)
        err = options_get_bool(&o, "count-tlb", &tcg->count_tlb);
    tcg->persist_bytes = DEFAULT_KEPT_MIB * MIB;
    if (!err && (v = options_get(&o, "cache-size"))) {
        if (!parse_uint(v, MAX_KEPT_MIB, &n) || !n)
            err = error_new("cache-size=%s: a number of MiB from 1 to %d is expected", v,
                            MAX_KEPT_MIB);
        else if (!options_get(&o, "cache"))
            err = error_new(
                "cache-size= says how large the file of cache= may become, which is not there");
        tcg->persist_bytes = n * MIB;
    }
    if (!err && (v = options_get(&o, "cache"))) {
        if (!*v)
            err = error_new("cache=: the name of a file is expected");
        tcg->persist_path = xstrdup(v);
        if (tcg->target && !options_get(&o, "unit-insns")) /* the work is done once */
            tcg->max_insns = tcg->target->hot_insns;
    }
    if (!err && (v = options_get(&o, "tier2"))) {
        tcg->always_tier2 = !strcmp(v, "always");
        *tier2 = !strcmp(v, "on");
        if (!tcg->always_tier2 && !*tier2 && strcmp(v, "off"))
            err = error_new("tier2=%s: on, off or always is expected", v);
    }
    if (!err && (v = options_get(&o, "host-features"))) {
        tcg->baseline_host = !strcmp(v, "baseline");
        if (!tcg->baseline_host && strcmp(v, "all"))
            err = error_new("host-features=%s: all or baseline is expected", v);
    }
    if (!err && (v = options_get(&o, "backend"))) {
        tcg->backend = NULL;
        for (size_t i = 0; i < n_backends; i++)
            if (!strcmp(backends[i]->name, v))
                tcg->backend = backends[i];
        if (!tcg->backend)
            err = error_new("backend=%s: this build has %s", v, backend_names);
    }
    if (!err)
        err = options_refuse_rest(&o, known, ARRAY_LEN(known));
    if (!err && tcg->persist_path && strcmp(tcg->backend->name, "jit"))
        err = error_new("cache=: only what backend=jit makes can be kept");
    options_free(&o);
    return err;
}

static void free_tcg(struct tcg *tcg)
{
    tier_free(tcg->tier);
    persist_close(tcg);
    free(tcg->persist_path);
    cache_free(tcg);
    tcg->backend->fini(tcg);
    if (tcg->disas_guest)
        disas_free(tcg->disas_guest);
    if (tcg->disas_host)
        disas_free(tcg->disas_host);
    free(tcg);
}

static void vm_destroy(struct vm *vm)
{
    if (vm->accel_data)
        free_tcg(vm->accel_data);
    vm->accel_data = NULL;
}

static struct tcg *new_tcg(struct vm *vm)
{
    struct tcg *tcg = xcalloc(1, sizeof(*tcg));
    tcg->vm = vm;
    tcg->group_accesses = true;
    tcg->has_cas16 = host_has_cas16();
    tcg->backend = backends[0];
    for (size_t i = 0; i < n_tcg_targets; i++)
        if (tcg_targets[i]->target == vm->target)
            tcg->target = tcg_targets[i];
    if (tcg->target)
        tcg->max_insns = tcg->target->unit_insns;
    return tcg;
}

static struct error *vm_create(struct vm *vm, const char *options)
{
    struct tcg *tcg = new_tcg(vm);
    uint64_t mib = DEFAULT_CACHE_MIB;
    bool tier2 = true;
    struct error *err = parse_options(tcg, options, &mib, &tier2);
    if (!err && tcg->target->fit)
        err = tcg->target->fit(vm);
    if (!err)
        err = cache_init(tcg, mib * MIB);
    if (err) {
        free(tcg->persist_path);
        free(tcg);
        return error_in(err, "-accel tcg");
    }
    err = tcg->backend->init(tcg);
    cache_start(tcg);
    if (tier2)
        tcg->tier = tier_new(tcg);
    vm->accel_data = tcg;
    return err;
}

static struct error *vcpu_create(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    t->cpu = cpu;
    t->tcg = tcg_of_vm(cpu->vm);
    if (t->tcg->persist_path && !t->tcg->persist) { /* the CPU model is settled now */
        struct error *err = persist_open(t->tcg, t->tcg->persist_path, t->tcg->persist_bytes);
        if (err)
            return error_in(err, "-accel tcg,cache=%s", t->tcg->persist_path);
    }
    t->target = t->tcg->target;
    t->ir = xcalloc(1, sizeof(*t->ir));
    t->plan = plan_new();
    t->canonical_nan[0] = 0x7ff8000000000000;
    t->canonical_nan[1] = 0x7fc00000;
    t->sign_mask[0] = (uint64_t)1 << 63;
    t->sign_mask[1] = (uint64_t)1 << 31;
    t->abs_mask[0] = ~t->sign_mask[0];
    t->abs_mask[1] = 0x7fffffff;
    cpu->exit_flag = &t->exit_flag;
    tlb_init(t);
    return NULL;
}

static void vcpu_destroy(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    tier_free(t->tcg->tier); /* it looks at vCPUs, which go now */
    t->tcg->tier = NULL;
    tlb_free(t);
    free(t->ir);
    free(t->plan);
    free(t->debug);
}

/* Registers are in arch whenever run is not under way; sticky flags are not. */
static void get_state(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    *((uint8_t *)cpu->arch + t->target->fp_flags_offset) = t->fp_flags;
}

static void set_state(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    t->fp_flags = *((uint8_t *)cpu->arch + t->target->fp_flags_offset);
    t->halt = false; /* the state may be another one now; waiting is for nobody to rely on */
    set_fp_modes(t);
    tlb_flush_everything(t);
}

/* vCPUs forget addresses at their next look; until then they may use RAM at its old place, which stays
 * allocated. Devices are reached through the view of the moment. */
static void memory_changed(struct vm *vm, const struct mem_view *now)
{
    (void)now;
    for (unsigned i = 0; i < vm->n_vcpus; i++) {
        atomic_store(&tcg_cpu_of(vm->vcpus[i])->flush_wanted, true);
        kick(vm->vcpus[i]);
    }
}

static void code_written(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
    cache_code_written(tcg_of_vm(vm), ram, off, n);
}

static void dirty_log_started(struct vm *vm, struct ram_block *ram)
{
    (void)ram;
    memory_changed(vm, NULL);
}

/* ---- helping another engine ------------------------------------------------------------------------------ */

static struct error *help_start(struct vm *vm)
{
    struct tcg *tcg = new_tcg(vm);
    if (!tcg->target || !tcg->target->borrow) {
        free(tcg);
        return error_new("the translator executes no single instructions of this guest");
    }
    tcg->helps = true;
    tcg->backend =
        backends[n_backends - 1]; /* the interpreter, where it is there: it starts sooner */
    struct error *err = cache_init(tcg, HELPERS_CACHE_MIB * MIB);
    if (err) {
        free(tcg);
        return err;
    }
    err = tcg->backend->init(tcg);
    if (err) {
        free_tcg(tcg);
        return err;
    }
    cache_start(tcg);
    vm->helper_data = tcg;
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        error_free(vcpu_create(vm->vcpus[i]));
    atomic_store(&vm->helper, &tcg_accel);
    return NULL;
}

static void help_end(struct vm *vm)
{
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        vcpu_destroy(vm->vcpus[i]);
    free_tcg(vm->helper_data);
    vm->helper_data = NULL;
    vm->helper = NULL;
}

/* The next instruction, or delivery of the exception that it raises. */
static void run_next(struct tcg_cpu *t)
{
    uint64_t traps = t->counts.traps;
    if (sigsetjmp(t->leave, 0) == 0)
        t->wants_single = true;
    run_end_alone(t);
    t->single = false;
    if (!t->fp_live)
        t->tcg->backend->fp_resume(t);
    while ((t->wants_alone || t->wants_single) && t->counts.traps == traps)
        if (t->wants_alone)
            run_alone(t);
        else
            run_single(t);
    t->tcg->backend->fp_suspend(t);
}

/* Memory may be another at the next time. */
static void forget_lent(struct tcg_cpu *t)
{
    pthread_mutex_lock(&t->tcg->lock);
    if (t->lent)
        cache_kill(t->tcg, t->lent);
    pthread_mutex_unlock(&t->tcg->lock);
    t->lent = NULL;
}

static const char *execute_one(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    set_state(cpu);
    atomic_store(&t->exit_flag, 0);
    atomic_store(&t->flush_wanted, false);
    run_begin(t);
    t->target->resume(cpu);
    const char *name = t->target->borrow(cpu);
    if (name) {
        run_next(t);
        forget_lent(t);
    }
    t->target->settle(cpu);
    t->target->give_back(cpu);
    run_end(t);
    t->wants_alone = t->wants_single = false;
    cpu->halted = t->halt;
    t->halt = false;
    get_state(cpu);
    return name;
}

static void print_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    print(opaque, "tcg: the dynamic binary translator, any guest on any host");
    print(opaque, "  tb-size=MIB           size of the translation cache (default 256)");
    print(opaque, "  backend=jit|interp    generate host code, or interpret the IR");
    print(opaque, "  thread=multi          a host thread per vCPU (the only kind)");
    print(
        opaque,
        "  unit-insns=N          most guest instructions in a unit, 1 to 256 (default by target)");
    print(opaque,
          "  tier2=on|off|always   translate hot code again, better (always: all code, at once)");
    print(opaque, "  one-insn-per-tb=on    units of one instruction, for debugging");
    print(opaque, "  group=off             a TLB check for every memory access");
    print(opaque,
          "  count-tlb=on          count TLB hits too, for -stats (costs an addition an access)");
    print(opaque, "  host-features=baseline   use plain x86-64 instructions only");
    print(opaque, "  cache=FILE            keep translations in FILE for the next run");
    print(opaque, "  cache-size=MIB        how large FILE may become (default 128)");
}

static const char *const left_names[N_LEFT] = {
    [LEFT_LINK] = "link",         [LEFT_LOOKUP] = "lookup",    [LEFT_DEAD] = "dead",
    [LEFT_INSN] = "instruction",  [LEFT_REQUEST] = "request",  [LEFT_INTERRUPT] = "interrupt",
    [LEFT_FLUSH] = "flush",       [LEFT_OTHERS] = "others",    [LEFT_SAMPLE] = "sample",
    [LEFT_FLAG] = "flag",         [LEFT_POINT] = "breakpoint", [LEFT_FAULT] = "fault",
    [LEFT_HELPER] = "helper",     [LEFT_HALT] = "halt",        [LEFT_WINDOW] = "window",
    [LEFT_OWN_CODE] = "own_code", [LEFT_ALONE] = "alone",      [LEFT_WATCH] = "watchpoint",
};

static const char *const refusal_names[N_REFUSALS] = {
    [REFUSED_ABSENT] = "absent",
    [REFUSED_NO_RAM] = "no_ram",
    [REFUSED_WATCHED] = "watched",
    [REFUSED_MISALIGNED] = "misaligned",
};

static void add_one(void (*add)(void *opaque, const char *name, double value), void *opaque,
                    const char *group, const char *name, uint64_t n)
{
    char whole[64];
    snprintf(whole, sizeof(whole), "%s.%s", group, name);
    add(opaque, whole, (double)n);
}

static void stats(struct vm *vm, void (*add)(void *opaque, const char *name, double value),
                  void *opaque)
{
    struct tcg *tcg = tcg_of_vm(vm);
    struct tcg_counts sum = { 0 };
    uint64_t opened = 0, refused = 0;
    for (unsigned i = 0; i < vm->n_vcpus; i++) {
        const uint64_t *from = (const uint64_t *)&tcg_cpu_of(vm->vcpus[i])->counts;
        for (size_t k = 0; k < sizeof(sum) / 8; k++)
            ((uint64_t *)&sum)[k] += from[k];
        const uint64_t *words = tcg_cpu_of(vm->vcpus[i])->words;
        refused += words[IR_WORD_REFUSED];
        opened += words[IR_WORD_LOOKS] - words[IR_WORD_REFUSED];
    }
    const struct {
        const char *name;
        double value;
    } all[] = {
        { "tcg.units", (double)tcg->counts.units },
        { "tcg.links", (double)tcg->counts.links },
        { "tcg.units_dead", (double)tcg->counts.dead },
        { "tcg.guest_insns_translated", (double)tcg->counts.guest_insns },
        { "tcg.guest_bytes_translated", (double)tcg->counts.guest_bytes },
        { "tcg.host_bytes", (double)tcg->counts.host_bytes },
        { "tcg.translate_seconds", (double)tcg->counts.translate_ns / 1e9 },
        { "tcg.tier2_units", (double)tcg->counts.hot_units },
        { "tcg.tier2_gone", (double)tcg->counts.hot_gone },
        { "tcg.tier2_insns", (double)tcg->counts.hot_insns },
        { "tcg.tier2_calls", (double)tcg->counts.hot_calls },
        { "tcg.tier2_host_bytes", (double)tcg->counts.hot_bytes },
        { "tcg.tier2_loops", (double)tcg->counts.hot_loops[IR_HAS_WINDOWS] },
        { "tcg.tier2_looks", (double)tcg->counts.hot_looks },
        { "tcg.tier2_seconds", (double)tcg->counts.hot_ns / 1e9 },
        { "tcg.windows_opened", (double)opened },
        { "tcg.windows_refused", (double)refused },
        { "tcg.evictions", (double)tcg->counts.evictions },
        { "tcg.units_loaded", (double)tcg->counts.loaded },
        { "tcg.load_seconds", (double)tcg->counts.load_ns / 1e9 },
        { "tcg.unit_entries", (double)sum.unit_entries },
        { "tcg.indirect_misses", (double)sum.indirect_misses },
        { "tcg.tlb_misses", (double)sum.tlb_misses },
        { "tcg.tlb_walks", (double)sum.tlb_walks },
        { "tcg.tlb_flushes", (double)sum.tlb_flushes },
        { "tcg.context_switches", (double)sum.context_switches },
        { "tcg.slow_calls", (double)sum.slow_calls },
        { "tcg.mmio", (double)sum.mmio },
        { "tcg.traps", (double)sum.traps },
    };
    if (tcg->count_tlb) {
        uint64_t hits = 0;
        for (unsigned i = 0; i < vm->n_vcpus; i++)
            hits += tcg_cpu_of(vm->vcpus[i])->tlb_checks;
        add(opaque, "tcg.tlb_hits", (double)hits);
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        add(opaque, all[i].name, all[i].value);
    for (unsigned k = 1; k < N_IR_NO_WINDOWS; k++)
        add_one(add, opaque, "tcg.no_windows", ir_no_windows_names[k], tcg->counts.hot_loops[k]);
    uint64_t near_end = refused;
    for (unsigned k = 0; k < N_REFUSALS; k++) {
        near_end -= MIN(near_end, sum.windows_refused[k]);
        add_one(add, opaque, "tcg.windows_refused", refusal_names[k], sum.windows_refused[k]);
    }
    add_one(add, opaque, "tcg.windows_refused", "near_page_end", near_end);
    for (unsigned k = 1; k < N_LEFT; k++)
        add_one(add, opaque, "tcg.exits", left_names[k], sum.left[k]);
    persist_stats(tcg, add, opaque);
}

const struct accel tcg_accel = {
    .name = "tcg",
    .can_step = true,
    .vcpu_headroom = TCG_HEADROOM,
    .available = available,
    .vm_create = vm_create,
    .vm_destroy = vm_destroy,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .run = run,
    .kick = kick,
    .get_state = get_state,
    .set_state = set_state,
    .memory_changed = memory_changed,
    .code_written = code_written,
    .dirty_log_started = dirty_log_started,
    .set_debug = debug_set,
    .explain = tcg_explain,
    .help_start = help_start,
    .help_end = help_end,
    .execute_one = execute_one,
    .step_interrupt = step_interrupt,
    .step_prepare = step_prepare,
    .step = step_run,
    .print_help = print_help,
    .stats = stats,
};
