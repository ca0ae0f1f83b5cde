/* The second tier: finds units in which time is spent, and has them translated once more, better.
 *
 * A thread of its own makes running vCPUs leave generated code for a moment now and then: the exit flag that loops and
 * units test anyway costs first-tier code nothing more. Where a vCPU came out is a sample. A unit with some samples is
 * hot: this thread translates it again, from a copy of its page, while everybody runs; with tcg->lock held it then
 * looks whether the copy is still true, generates code and lets the new unit take the old one's place.
 *
 * The thread is AWAKE while vCPUs compute. When it finds none that runs, it is DOZING: a vCPU that has
 * computed for a while wakes it, as it begins to run or at its next interrupt; and a look every quarter of a
 * second finds the one that gets none. So a guest that does little more than tick leaves it alone. When
 * nobody has run for that long, it is ASLEEP until somebody does. */
#include "core/clock.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "tcg/tcg.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    HOT_SAMPLES = 2,
    QUEUE = 64,
    EAGER_NS = 1000000, /* between samples, while new units get hot, */
    CALM_NS = 3000000,  /* and when that is long ago */
    EAGER_LOOKS = 8,
    DOZE_NS = 250000000,
    WORTH_NS = 1000000, /* of computing: the thread is woken for it */
    MOST_BUSY_NS = 16000000,
    IDLE_SHARE = 8, /* who computes for less than one part in so many is idle */
};

enum state { NOT_STARTED, AWAKE, DOZING, ASLEEP, FAILED };

struct tier {
    struct tcg *tcg;
    pthread_t thread;
    bool stop;
    unsigned looks;       /* since units got hot */
    _Atomic int state;    /* changed with the lock held */
    _Atomic bool stirred; /* a vCPU began to run */
    pthread_mutex_t lock; /* a leaf */
    pthread_cond_t changed;
    struct hot queue[QUEUE];
    unsigned n;
    struct again *again;
};

struct tier *tier_new(struct tcg *tcg)
{
    struct tier *r = xcalloc(1, sizeof(*r));
    pthread_condattr_t attr;
    r->tcg = tcg;
    r->again = again_new();
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    return r;
}

void tier_free(struct tier *r)
{
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (atomic_load(&r->state) != NOT_STARTED && atomic_load(&r->state) != FAILED)
        pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r->again);
    free(r);
}

/* ---- its thread --------------------------------------------------------------------------------------- */

static struct tcg_cpu *engine_of(struct tcg *tcg, unsigned i)
{
    struct vcpu *cpu = tcg->vm->vcpus[i];
    return cpu && cpu->engine ? tcg_cpu_of(cpu) : NULL;
}

/* False: nobody runs. */
static bool sample_all(struct tcg *tcg)
{
    bool any = false;
    for (unsigned i = 0; i < tcg->vm->n_vcpus; i++) {
        struct tcg_cpu *t = engine_of(tcg, i);
        if (!t || !atomic_load(&t->running))
            continue;
        any = true;
        atomic_store_explicit(&t->sampled, true, memory_order_relaxed);
        atomic_store_explicit(&t->exit_flag, 1, memory_order_relaxed);
    }
    return any;
}

static struct timespec after(uint64_t ns)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    ns += (uint64_t)at.tv_nsec;
    at.tv_sec += (time_t)(ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    return at;
}

/* Is a vCPU running for a while already? */
static bool anybody_computes(struct tcg *tcg)
{
    uint64_t now = host_now_ns();
    for (unsigned i = 0; i < tcg->vm->n_vcpus; i++) {
        struct tcg_cpu *t = engine_of(tcg, i);
        if (t && atomic_load(&t->running) && now - atomic_load(&t->began_ns) >= WORTH_NS)
            return true;
    }
    return false;
}

/* What follows has the lock, and lets it go while it waits or translates. */

static void look(struct tier *r)
{
    struct hot hot[QUEUE];
    unsigned n = r->n;
    memcpy(hot, r->queue, n * sizeof(hot[0]));
    r->n = 0;
    pthread_mutex_unlock(&r->lock);
    for (unsigned k = 0; k < n; k++)
        translate_hot(r->tcg, &hot[k], r->again);
    pthread_mutex_lock(&r->lock);
    r->looks = n ? 0 : r->looks + 1;
    r->tcg->counts.hot_looks++;
    atomic_store(&r->state, DOZING); /* either we see a vCPU begin to run or it sees this */
    if (!sample_all(r->tcg))
        return;
    atomic_store(&r->state, AWAKE);
    struct timespec at = after(r->looks < EAGER_LOOKS ? EAGER_NS : CALM_NS);
    if (!r->stop)
        pthread_cond_timedwait(&r->changed, &r->lock, &at);
}

static void doze(struct tier *r)
{
    struct timespec at = after(DOZE_NS);
    while (!r->stop && atomic_load(&r->state) == DOZING)
        if (pthread_cond_timedwait(&r->changed, &r->lock, &at) == ETIMEDOUT)
            break;
    if (atomic_load(&r->state) != DOZING)
        return;
    atomic_store(&r->state, anybody_computes(r->tcg) ? AWAKE : ASLEEP);
    if (atomic_exchange(&r->stirred, false) && atomic_load(&r->state) == ASLEEP)
        atomic_store(&r->state, DOZING);
}

static void *run_tier(void *opaque)
{
    struct tier *r = opaque;
    pthread_setname_np(pthread_self(), "tier2");
    pthread_mutex_lock(&r->lock);
    while (!r->stop)
        switch ((enum state)atomic_load(&r->state)) {
        case AWAKE: look(r); break;
        case DOZING: doze(r); break;
        default: pthread_cond_wait(&r->changed, &r->lock);
        }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* With the lock. Without the thread all stays first tier. */
static void start(struct tier *r)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_store(&r->state, AWAKE);
    int err = pthread_create(&r->thread, NULL, run_tier, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!err)
        return;
    atomic_store(&r->state, FAILED);
    fprintf(stderr,
            "tandem: -accel tcg: no thread for the second tier, hot code stays as it is: %s\n",
            strerror(err));
}

/* ---- the vCPUs' side --------------------------------------------------------------------------------------- */

static void wake(struct tier *r, enum state to)
{
    pthread_mutex_lock(&r->lock);
    if (atomic_load(&r->state) == NOT_STARTED)
        start(r);
    else if (atomic_load(&r->state) == DOZING || atomic_load(&r->state) == ASLEEP)
        atomic_store(&r->state, to);
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void tier_running(struct tcg_cpu *t)
{
    struct tier *r = t->tcg->tier;
    if (!r)
        return;
    uint64_t now = host_now_ns(), idle = (now - t->stopped_ns) / IDLE_SHARE;
    t->busy_ns -= MIN(t->busy_ns, idle);
    atomic_store(&t->began_ns, now);
    atomic_store(&t->running, true);
    atomic_store(&r->stirred, true);
    int state = atomic_load(&r->state);
    if (state == NOT_STARTED || state == ASLEEP || (state == DOZING && t->busy_ns >= WORTH_NS))
        wake(r, t->busy_ns >= WORTH_NS ? AWAKE : DOZING);
}

void tier_goes_on(struct tcg_cpu *t)
{
    struct tier *r = t->tcg->tier;
    if (r && atomic_load(&t->running) && atomic_load(&r->state) == DOZING &&
        t->busy_ns + (host_now_ns() - atomic_load(&t->began_ns)) >= WORTH_NS)
        wake(r, AWAKE);
}

void tier_stopped(struct tcg_cpu *t)
{
    if (!atomic_load(&t->running))
        return;
    t->stopped_ns = host_now_ns();
    t->busy_ns =
        MIN(t->busy_ns + (t->stopped_ns - atomic_load(&t->began_ns)), (uint64_t)MOST_BUSY_NS);
    atomic_store(&t->running, false);
    atomic_store_explicit(&t->sampled, false, memory_order_relaxed);
}

void tier_sample(struct tcg_cpu *t, struct unit *u)
{
    struct tier *r = t->tcg->tier;
    if (!r || u->hot || u->page2 || u->flags & (UNIT_ALONE | UNIT_DEBUG) ||
        atomic_fetch_add_explicit(&u->samples, 1, memory_order_relaxed) + 1 != HOT_SAMPLES)
        return;
    pthread_mutex_lock(&r->lock);
    if (r->n < QUEUE)
        r->queue[r->n++] = (struct hot){ .page = u->page,
                                         .off = u->off,
                                         .flags = u->flags,
                                         .pc = t->pc_page + (uint64_t)(int64_t)u->off };
    pthread_mutex_unlock(&r->lock);
}
