/* Virtual CPUs: their threads, requests from others, sleeping and parking.
 *
 * A vCPU's thread alternates between requests, the engine, and sleep. Two races decide the order of
 * things here. Whoever changes an interrupt line does so before it sets VCPU_REQ_INTERRUPT, and the
 * bit is cleared before the lines are looked at. A sleeper announces itself before it looks a last
 * time; a caller sets its request before it asks whether somebody sleeps. */
#include "core/vcpu.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/memory.h"
#include "core/vm.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct vcpu_work {
    void (*fn)(struct vcpu *cpu, void *opaque);
    void *opaque;
    struct vcpu_work *next;
};

/* ---- life ----------------------------------------------------------------------------------- */

/* Below arch: room for the engine in charge, and for one that may come to its help. */
static size_t headroom(const struct vm *vm)
{
    return MAX(vm->accel->vcpu_headroom, vm->helper_headroom);
}

static size_t arch_area(const struct vm *vm)
{
    return headroom(vm) + align_up(vm->target->arch_size, 4096);
}

struct error *vcpu_new(struct vm *vm, unsigned index, struct vcpu **out)
{
    assert(index == vm->n_vcpus);
    uint8_t *area = mmap(NULL, arch_area(vm), PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return error_errno("no memory for vCPU %u", index);
    struct vcpu *cpu = xcalloc(1, sizeof(*cpu));
    cpu->vm = vm;
    cpu->index = index;
    cpu->arch = area + headroom(vm);
    cpu->engine = vm->accel->vcpu_headroom ? (uint8_t *)cpu->arch - vm->accel->vcpu_headroom : NULL;
    cpu->requests = VCPU_REQ_STOP;
    cpu->stopped = true;
    cpu->work_end = &cpu->work;
    pthread_mutex_init(&cpu->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&cpu->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_cond_init(&cpu->parked, NULL);
    cpu->reader = mem_reader_new(vm, cpu);
    vm->target->vcpu_init(cpu);
    struct error *err = vm->accel->vcpu_create(cpu);
    vm->vcpus = xrealloc(vm->vcpus, (index + 1) * sizeof(*vm->vcpus));
    vm->vcpus[vm->n_vcpus++] = cpu;
    if (err) {
        vm->n_vcpus--;
        vm->target->vcpu_free(cpu);
        mem_reader_free(cpu->reader);
        munmap(area, arch_area(vm));
        free(cpu);
        return err;
    }
    *out = cpu;
    return NULL;
}

void vcpu_free(struct vcpu *cpu)
{
    struct vm *vm = cpu->vm;
    vcpu_end_thread(cpu);
    vm->accel->vcpu_destroy(cpu);
    vm->target->vcpu_free(cpu);
    mem_reader_free(cpu->reader);
    munmap((uint8_t *)cpu->arch - headroom(vm), arch_area(vm));
    while (cpu->work) {
        struct vcpu_work *w = cpu->work;
        cpu->work = w->next;
        free(w);
    }
    pthread_mutex_destroy(&cpu->lock);
    pthread_cond_destroy(&cpu->wake);
    pthread_cond_destroy(&cpu->parked);
    free(cpu);
}

/* ---- requests, from any thread -------------------------------------------------------------- */

void vcpu_kick(struct vcpu *cpu)
{
    cpu->vm->accel->kick(cpu);
}

/* A request was set: the vCPU sees it soon, wherever it is. */
static void rouse(struct vcpu *cpu)
{
    if (atomic_load(&cpu->sleeping)) {
        pthread_mutex_lock(&cpu->lock);
        pthread_cond_broadcast(&cpu->wake);
        pthread_mutex_unlock(&cpu->lock);
    } else {
        vcpu_kick(cpu);
    }
}

static void request(struct vcpu *cpu, uint32_t bit)
{
    if (!(atomic_fetch_or(&cpu->requests, bit) & bit))
        rouse(cpu); /* else whoever set it does */
}

void vcpu_interrupt(struct vcpu *cpu)
{
    request(cpu, VCPU_REQ_INTERRUPT);
}

void vcpu_ask_sync(struct vcpu *cpu)
{
    request(cpu, VCPU_REQ_SYNC);
}

void vcpu_post(struct vcpu *cpu, void (*fn)(struct vcpu *cpu, void *opaque), void *opaque)
{
    struct vcpu_work *w = xmalloc(sizeof(*w));
    *w = (struct vcpu_work){ fn, opaque, NULL };
    pthread_mutex_lock(&cpu->lock);
    *cpu->work_end = w;
    cpu->work_end = &w->next;
    pthread_mutex_unlock(&cpu->lock);
    request(cpu, VCPU_REQ_WORK);
}

void vcpu_set_powered(struct vcpu *cpu, bool on)
{
    cpu->powered_off = !on;
    atomic_fetch_or(&cpu->requests, VCPU_REQ_INTERRUPT);
    rouse(cpu);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void run_work(struct vcpu *cpu, bool stopped)
{
    pthread_mutex_lock(&cpu->lock);
    atomic_fetch_and(&cpu->requests, ~(uint32_t)VCPU_REQ_WORK);
    struct vcpu_work *all = cpu->work;
    cpu->work = NULL;
    cpu->work_end = &cpu->work;
    pthread_mutex_unlock(&cpu->lock);
    if (!all)
        return;
    if (!stopped)
        cpu->vm->accel->get_state(cpu);
    while (all) {
        struct vcpu_work *w = all;
        all = w->next;
        w->fn(cpu, w->opaque);
        free(w);
    }
    if (!stopped)
        cpu->vm->accel->set_state(cpu);
}

/* Stand still with all state in arch until the request to stop is taken back. */
static void park(struct vcpu *cpu)
{
    if (!cpu->stopped) /* only this thread changes it */
        cpu->vm->accel->get_state(cpu);
    mem_reader_idle(cpu->reader);
    pthread_mutex_lock(&cpu->lock);
    cpu->stopped = true;
    cpu->sleeping = true;
    pthread_cond_broadcast(&cpu->parked);
    for (;;) {
        uint32_t req = atomic_load(&cpu->requests);
        if (req & VCPU_REQ_QUIT || !(req & VCPU_REQ_STOP))
            break;
        if (req & VCPU_REQ_WORK) {
            pthread_mutex_unlock(&cpu->lock);
            run_work(cpu, true);
            pthread_mutex_lock(&cpu->lock);
        } else {
            pthread_cond_wait(&cpu->wake, &cpu->lock);
        }
    }
    cpu->sleeping = false;
    bool go = !(atomic_load(&cpu->requests) & VCPU_REQ_QUIT);
    if (go)
        cpu->stopped = false;
    pthread_mutex_unlock(&cpu->lock);
    if (go)
        cpu->vm->accel->set_state(cpu);
}

/* The last look before sleep: is there a reason to stay awake? The lock is held. */
static bool may_sleep(struct vcpu *cpu)
{
    uint32_t req = atomic_fetch_and(&cpu->requests, ~(uint32_t)VCPU_REQ_INTERRUPT);
    if (req & ~(uint32_t)VCPU_REQ_INTERRUPT)
        return false;
    if (cpu->powered_off)
        return true;
    if (cpu->halted && !cpu->vm->target->has_work(cpu))
        return true;
    cpu->halted = false;
    return false;
}

static void fell_asleep(struct vcpu *cpu)
{
    struct vm *vm = cpu->vm;
    unsigned asleep = atomic_fetch_add(&vm->n_asleep, 1) + 1;
    bool never = cpu->never_wakes || cpu->powered_off;
    if (asleep == vm->n_vcpus && (never || !vm_has_wake_source(vm)))
        vm_check_all_halted(vm);
}

/* With the lock, and `sleeping` set. */
static void nap(struct vcpu *cpu)
{
    uint64_t until = host_now_ns() + cpu->nap_ns;
    struct timespec at = { .tv_sec = (time_t)(until / NS_PER_S),
                           .tv_nsec = (long)(until % NS_PER_S) };
    if (!atomic_load(&cpu->requests))
        pthread_cond_timedwait(&cpu->wake, &cpu->lock, &at);
    cpu->nap_ns = 0;
}

void vcpu_wait(struct vcpu *cpu)
{
    uint64_t from = 0;
    mem_reader_idle(cpu->reader);
    pthread_mutex_lock(&cpu->lock);
    atomic_store(&cpu->sleeping, true);
    if (cpu->nap_ns)
        nap(cpu);
    while (may_sleep(cpu)) {
        if (!from) {
            from = host_now_ns();
            fell_asleep(cpu);
        }
        pthread_cond_wait(&cpu->wake, &cpu->lock);
    }
    atomic_store(&cpu->sleeping, false);
    pthread_mutex_unlock(&cpu->lock);
    if (from) {
        atomic_fetch_sub(&cpu->vm->n_asleep, 1);
        cpu->counts.halts++;
        cpu->counts.halted_ns += host_now_ns() - from;
    }
}

static void pause_for_debug(void *opaque)
{
    vm_debug_stopped(opaque);
}

static void run_engine(struct vcpu *cpu)
{
    struct vm *vm = cpu->vm;
    cpu->counts.runs++;
    switch (vm->accel->run(cpu)) {
    case EXIT_KICKED: break;
    case EXIT_HALTED:
        cpu->never_wakes = vm->target->can_wake && !vm->target->can_wake(cpu);
        cpu->halted = true;
        break;
    case EXIT_DEBUG:
        cpu->debug_stop = true;
        atomic_fetch_or(&cpu->requests, VCPU_REQ_STOP);
        loop_post(vm->loop, pause_for_debug, vm);
        break;
    case EXIT_SHUTDOWN:
    case EXIT_FAILED: atomic_fetch_or(&cpu->requests, VCPU_REQ_STOP); break;
    }
}

static void *thread_main(void *opaque)
{
    struct vcpu *cpu = opaque;
    char name[16];
    snprintf(name, sizeof(name), "vcpu%u", cpu->index);
    pthread_setname_np(pthread_self(), name);
    cpu->self = pthread_self();
    pthread_mutex_lock(&cpu->lock);
    cpu->tid = gettid();
    pthread_cond_broadcast(&cpu->parked);
    pthread_mutex_unlock(&cpu->lock);
    atomic_store(&cpu->is_alive, true);
    for (;;) {
        /* Cleared before what it asks for: one set in between makes run() return at once. */
        uint32_t req =
            atomic_fetch_and(&cpu->requests, ~(uint32_t)(VCPU_REQ_INTERRUPT | VCPU_REQ_SYNC));
        mem_reader_quiesce(cpu->reader);
        if (req & VCPU_REQ_QUIT)
            break;
        if (req & VCPU_REQ_WORK && !cpu->stopped)
            run_work(cpu, false);
        if (req & VCPU_REQ_STOP || cpu->stopped) /* a new thread is parked, even if it may go on */
            park(cpu);
        else if (cpu->halted || cpu->powered_off)
            vcpu_wait(cpu);
        else
            run_engine(cpu);
    }
    mem_reader_idle(cpu->reader);
    atomic_store(&cpu->is_alive, false);
    return NULL;
}

struct vcpu *vcpu_current(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->n_vcpus; i++) {
        struct vcpu *cpu = vm->vcpus[i];
        if (atomic_load(&cpu->is_alive) && pthread_equal(cpu->self, pthread_self()))
            return cpu;
    }
    return NULL;
}

/* ---- for core/vm.c -------------------------------------------------------------------------- */

struct error *vcpu_start_thread(struct vcpu *cpu)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&cpu->thread, NULL, thread_main, cpu);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errno)
        return error_errno("cannot start the thread of vCPU %u", cpu->index);
    cpu->thread_started = true;
    pthread_mutex_lock(&cpu->lock);
    while (!cpu->tid)
        pthread_cond_wait(&cpu->parked, &cpu->lock);
    pthread_mutex_unlock(&cpu->lock);
    return NULL;
}

void vcpu_resume(struct vcpu *cpu)
{
    pthread_mutex_lock(&cpu->lock);
    atomic_fetch_and(&cpu->requests, ~(uint32_t)VCPU_REQ_STOP);
    pthread_cond_broadcast(&cpu->wake);
    pthread_mutex_unlock(&cpu->lock);
}

void vcpu_ask_stop(struct vcpu *cpu)
{
    atomic_fetch_or(&cpu->requests, VCPU_REQ_STOP);
    rouse(cpu);
}

void vcpu_wait_stopped(struct vcpu *cpu)
{
    pthread_mutex_lock(&cpu->lock);
    while (!cpu->stopped)
        pthread_cond_wait(&cpu->parked, &cpu->lock);
    pthread_mutex_unlock(&cpu->lock);
}

void vcpu_end_thread(struct vcpu *cpu)
{
    if (!cpu->thread_started)
        return;
    atomic_fetch_or(&cpu->requests, VCPU_REQ_QUIT);
    pthread_mutex_lock(&cpu->lock);
    pthread_cond_broadcast(&cpu->wake);
    pthread_mutex_unlock(&cpu->lock);
    vcpu_kick(cpu);
    pthread_join(cpu->thread, NULL);
    cpu->thread_started = false;
}
