/* The second tier: finds units in which time is spent, and has them translated once more, better.
 *
 * A thread of its own, asleep while no vCPU runs, makes running vCPUs leave generated code for a moment now and then:
 * the exit flag that loops and units test anyway costs first-tier code nothing more. Where a vCPU came out is a
 * sample. A unit with some samples is hot: this thread translates it again, from a copy of its page, while
 * everybody runs; with tcg->lock held it then looks whether the copy is still true, generates code and lets the new
 * unit take the old one's place. */
#include "core/util.h"
#include "core/vcpu.h"
#include "tcg/tcg.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
    HOT_SAMPLES = 2,
    QUEUE = 64,
    EAGER_NS = 1000000, /* between samples, while new units get hot, */
    CALM_NS = 3000000,  /* and when that is long ago */
    EAGER_LOOKS = 64,
};

struct tier {
    struct tcg *tcg;
    pthread_t thread;
    bool started, stop;
    _Atomic bool asleep;
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
    if (r->started)
        pthread_join(r->thread, NULL);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r->again);
    free(r);
}

/* ---- its thread --------------------------------------------------------------------------------------- */

/* False: nobody runs. */
static bool sample_all(struct tcg *tcg)
{
    bool any = false;
    for (unsigned i = 0; i < tcg->vm->n_vcpus; i++) {
        struct vcpu *cpu = tcg->vm->vcpus[i];
        struct tcg_cpu *t = cpu && cpu->engine ? tcg_cpu_of(cpu) : NULL;
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

static void *run_tier(void *opaque)
{
    struct tier *r = opaque;
    unsigned looks = 0;
    pthread_setname_np(pthread_self(), "tier2");
    pthread_mutex_lock(&r->lock);
    while (!r->stop) {
        struct hot hot[QUEUE];
        unsigned n = r->n;
        memcpy(hot, r->queue, n * sizeof(hot[0]));
        r->n = 0;
        pthread_mutex_unlock(&r->lock);
        for (unsigned k = 0; k < n; k++)
            translate_hot(r->tcg, &hot[k], r->again);
        looks = n ? 0 : looks + 1;
        atomic_store(&r->asleep, true); /* either we see a vCPU begin to run or it sees this */
        bool any = sample_all(r->tcg);
        if (any)
            atomic_store(&r->asleep, false);

        struct timespec at = after(looks < EAGER_LOOKS ? EAGER_NS : CALM_NS);
        pthread_mutex_lock(&r->lock);
        while (!r->stop && atomic_load(&r->asleep))
            pthread_cond_wait(&r->changed, &r->lock);
        if (any && !r->stop)
            pthread_cond_timedwait(&r->changed, &r->lock, &at);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void start(struct tier *r)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r->started = !pthread_create(&r->thread, NULL, run_tier, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the vCPUs' side --------------------------------------------------------------------------------------- */

void tier_running(struct tcg_cpu *t)
{
    struct tier *r = t->tcg->tier;
    atomic_store(&t->running, true);
    if (!r || (r->started && !atomic_load(&r->asleep)))
        return;
    pthread_mutex_lock(&r->lock);
    if (!r->started) /* without it, all stays first tier */
        start(r);
    atomic_store(&r->asleep, false);
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void tier_stopped(struct tcg_cpu *t)
{
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
