/* Clocks and timers: a binary heap of deadlines, fired by the main loop before it waits. */
#include "core/clock.h"

#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"

#include <stdlib.h>
#include <time.h>

enum { NOT_QUEUED = -1 };

struct timer {
    struct timers *of;
    uint64_t deadline_ns;
    int at; /* place in the heap */
    void (*fire)(void *opaque);
    void *opaque;
};

struct timers {
    struct vm *vm;
    pthread_mutex_t lock; /* guards all below; a leaf */
    pthread_cond_t fired;
    struct timer **heap; /* heap[0] is the earliest; each is no earlier than its parent */
    int n, room;
    struct timer *firing;       /* its callback runs now, on the main loop's thread */
    uint64_t woken_by_ns;       /* the main loop looks again by then (guest time) */
    _Atomic unsigned n_pending; /* = n, without the lock */
};

uint64_t host_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t vm_now_ns(const struct vm *vm)
{
    uint64_t held = atomic_load_explicit(&vm->clock_held_ns, memory_order_relaxed);
    if (__builtin_expect(held != 0, 0))
        return held;
    if (atomic_load_explicit(&vm->clock_running, memory_order_acquire))
        return host_now_ns() +
               (uint64_t)atomic_load_explicit(&vm->clock_offset_ns, memory_order_relaxed);
    return atomic_load_explicit(&vm->clock_frozen_ns, memory_order_relaxed);
}

static void nothing(void *unused)
{
}

void clock_start(struct vm *vm)
{
    if (vm->clock_running)
        return;
    vm->clock_offset_ns = (int64_t)(vm->clock_frozen_ns - host_now_ns());
    vm->clock_running = true;
    loop_post(vm->loop, nothing, NULL);
}

void clock_stop(struct vm *vm)
{
    if (!vm->clock_running)
        return;
    vm->clock_frozen_ns = vm_now_ns(vm);
    vm->clock_running = false;
}

void clock_set(struct vm *vm, uint64_t now_ns)
{
    vm->clock_frozen_ns = now_ns;
    if (vm->clock_running)
        vm->clock_offset_ns = (int64_t)(now_ns - host_now_ns());
    loop_post(vm->loop, nothing, NULL);
}

/* ---- heap ----------------------------------------------------------------------------------- */

static void put(struct timers *ts, int at, struct timer *t)
{
    ts->heap[at] = t;
    t->at = at;
}

static void sift_up(struct timers *ts, int at, struct timer *t)
{
    while (at > 0 && ts->heap[(at - 1) / 2]->deadline_ns > t->deadline_ns) {
        put(ts, at, ts->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(ts, at, t);
}

static void sift_down(struct timers *ts, int at, struct timer *t)
{
    for (;;) {
        int child = 2 * at + 1;
        if (child >= ts->n)
            break;
        if (child + 1 < ts->n && ts->heap[child + 1]->deadline_ns < ts->heap[child]->deadline_ns)
            child++;
        if (ts->heap[child]->deadline_ns >= t->deadline_ns)
            break;
        put(ts, at, ts->heap[child]);
        at = child;
    }
    put(ts, at, t);
}

static void heap_remove(struct timers *ts, struct timer *t)
{
    if (t->at == NOT_QUEUED)
        return;
    int at = t->at;
    struct timer *last = ts->heap[--ts->n];
    t->at = NOT_QUEUED;
    if (last != t) {
        sift_up(ts, at, last);
        sift_down(ts, last->at, last);
    }
    ts->n_pending = (unsigned)ts->n;
}

static void heap_add(struct timers *ts, struct timer *t)
{
    if (ts->n == ts->room) {
        ts->room = ts->room * 2 + 16;
        ts->heap = xrealloc(ts->heap, (size_t)ts->room * sizeof(*ts->heap));
    }
    sift_up(ts, ts->n++, t);
    ts->n_pending = (unsigned)ts->n;
}

/* ---- timers --------------------------------------------------------------------------------- */

/* Fire what is due now, then tell the loop how long it may sleep. A timer that its callback sets
 * into the past waits for the next round, so that the loop's other work goes on. */
static uint64_t timers_prepare(void *opaque)
{
    struct timers *ts = opaque;
    uint64_t now = vm_now_ns(ts->vm);
    pthread_mutex_lock(&ts->lock);
    for (int left = ts->n; left > 0 && ts->n && ts->heap[0]->deadline_ns <= now; left--) {
        struct timer *t = ts->heap[0];
        heap_remove(ts, t);
        ts->firing = t;
        pthread_mutex_unlock(&ts->lock);
        t->fire(t->opaque);
        pthread_mutex_lock(&ts->lock);
        ts->firing = NULL;
        pthread_cond_broadcast(&ts->fired);
    }
    uint64_t sleep_ns = UINT64_MAX;
    ts->woken_by_ns = UINT64_MAX;
    if (ts->n) {
        uint64_t at = ts->heap[0]->deadline_ns;
        now = vm_now_ns(ts->vm);
        ts->woken_by_ns = at;
        if (at <= now)
            sleep_ns = 0;
        else if (ts->vm->clock_running)
            sleep_ns = at - now;
    }
    pthread_mutex_unlock(&ts->lock);
    return sleep_ns;
}

struct timers *timers_new(struct vm *vm)
{
    struct timers *ts = xcalloc(1, sizeof(*ts));
    ts->vm = vm;
    pthread_mutex_init(&ts->lock, NULL);
    pthread_cond_init(&ts->fired, NULL);
    loop_add_prepare(vm->loop, timers_prepare, ts);
    return ts;
}

void timers_free(struct timers *ts)
{
    if (!ts)
        return;
    loop_remove_prepare(ts->vm->loop, timers_prepare, ts);
    pthread_mutex_destroy(&ts->lock);
    pthread_cond_destroy(&ts->fired);
    free(ts->heap);
    free(ts);
}

unsigned timers_pending(const struct vm *vm)
{
    return vm->timers->n_pending;
}

struct timer *timer_new(struct vm *vm, void (*fire)(void *opaque), void *opaque)
{
    struct timer *t = xcalloc(1, sizeof(*t));
    *t = (struct timer){ .of = vm->timers, .at = NOT_QUEUED, .fire = fire, .opaque = opaque };
    return t;
}

void timer_set(struct timer *t, uint64_t deadline_ns)
{
    struct timers *ts = t->of;
    pthread_mutex_lock(&ts->lock);
    heap_remove(ts, t);
    t->deadline_ns = deadline_ns;
    heap_add(ts, t);
    bool wake = deadline_ns < ts->woken_by_ns;
    if (wake)
        ts->woken_by_ns = deadline_ns;
    pthread_mutex_unlock(&ts->lock);
    if (wake && !loop_is_mine(ts->vm->loop))
        loop_post(ts->vm->loop, nothing, NULL);
}

void timer_cancel(struct timer *t)
{
    pthread_mutex_lock(&t->of->lock);
    heap_remove(t->of, t);
    pthread_mutex_unlock(&t->of->lock);
}

void timer_free(struct timer *t)
{
    if (!t)
        return;
    struct timers *ts = t->of;
    pthread_mutex_lock(&ts->lock);
    heap_remove(ts, t);
    while (ts->firing == t && !loop_is_mine(ts->vm->loop))
        pthread_cond_wait(&ts->fired, &ts->lock);
    heap_remove(ts, t); /* the callback may have set it again */
    pthread_mutex_unlock(&ts->lock);
    free(t);
}
