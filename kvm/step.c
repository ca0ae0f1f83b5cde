/* Lock-step: a vCPU behind a leader that has executed the step already (cpu->leader). It goes to where that one is now, by
 * a breakpoint there: unlike a single step that shows in no flags the guest could see, and exceptions end there, too. */
#include "core/clock.h"
#include "core/error.h"
#include "kvm/kvm.h"

#include <pthread.h>
#include <stdlib.h>

enum { MOST_REPEATS = 1 << 17 };
enum { LATE_NS = 2 * 1000 * 1000 * 1000 };

/* A thread that brings the vCPU back if it went elsewhere. */
struct kvm_watch {
    struct kvm_vcpu *k;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool quits, late; /* under the lock, as the next */
    uint64_t late_at; /* 0: no step is being done */
};

static void *watch(void *opaque)
{
    struct kvm_watch *w = opaque;
    pthread_mutex_lock(&w->lock);
    while (!w->quits) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        pthread_cond_timedwait(&w->changed, &w->lock, &until);
        if (!w->late_at || host_now_ns() < w->late_at)
            continue;
        w->late = true;
        kvm_accel.kick(w->k->cpu);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static struct kvm_watch *watch_of(struct kvm_vcpu *k)
{
    if (k->watch)
        return k->watch;
    struct kvm_watch *w = k->watch = xcalloc(1, sizeof(*w));
    w->k = k;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    if (pthread_create(&w->thread, NULL, watch, w))
        w->quits = true; /* without it a wrong way is taken for ever */
    return w;
}

void kvm_watch_free(struct kvm_vcpu *k)
{
    struct kvm_watch *w = k->watch;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    bool runs = !w->quits;
    w->quits = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (runs)
        pthread_join(w->thread, NULL);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
    free(w);
    k->watch = NULL;
}

static bool watch_until(struct kvm_watch *w, uint64_t late_at)
{
    pthread_mutex_lock(&w->lock);
    bool late = w->late;
    w->late = false;
    w->late_at = late_at;
    pthread_mutex_unlock(&w->lock);
    return late;
}

static bool failed(struct kvm_vcpu *k, struct error *err)
{
    if (!err)
        return false;
    vm_request_end(k->cpu->vm, VERDICT_ENGINE_FAILED, 0, error_text(err));
    error_free(err);
    return true;
}

/* The registers are the kernel's from here to end(). */
static bool begin(struct kvm_vcpu *k)
{
    if (!kvm_isa.step_ends)
        return !failed(k, error_new("KVM follows no other engine on this kind of host"));
    kvm_use_thread(k);
    if (!k->kvm->started)
        kvm_memory_start(k->kvm);
    k->unfinished = k->down = k->passes_point = false;
    k->undefined = 0;
    return !failed(k, kvm_isa.set(k));
}

static void end(struct kvm_vcpu *k, bool by_helper)
{
    failed(k, kvm_isa.get(k));
    kvm_isa.step_ends(k, by_helper);
}

/* To where the leader is; a string instruction that stays there, as often as that one's. */
static enum vcpu_exit follow(struct kvm_vcpu *k)
{
    const struct target *target = k->cpu->vm->target;
    uint64_t from = target->pc(k->cpu), to = target->pc(k->cpu->leader);
    struct vcpu_debug want = { .step = to == from,
                               .hold_interrupts = true,
                               .n = to != from,
                               .points = { { POINT_EXECUTE, 1, to } } };
    struct kvm_watch *w = watch_of(k);
    enum kvm_verdict verdict = KVM_GO_ON;
    if (failed(k, kvm_isa.set_debug(k, &want)))
        return EXIT_FAILED;
    k->debug = want;
    watch_until(w, host_now_ns() + LATE_NS);
    for (unsigned n = 0;
         verdict == KVM_GO_ON && n < MOST_REPEATS && k->cpu->vm->verdict == VERDICT_NONE; n++) {
        __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        verdict = kvm_enter(k);
        if (verdict == KVM_DEBUG && want.step && !kvm_isa.is_as_far(k))
            verdict = KVM_GO_ON;
        pthread_mutex_lock(&w->lock);
        bool late = w->late;
        pthread_mutex_unlock(&w->lock);
        if (late)
            break; /* elsewhere: the comparison shows it */
    }
    watch_until(w, 0);
    k->passes_point = false;
    return verdict == KVM_HALTED    ? EXIT_HALTED
           : verdict == KVM_STOPPED ? EXIT_SHUTDOWN
                                    : EXIT_KICKED;
}

bool kvm_step_interrupt(struct vcpu *cpu)
{
    struct kvm_vcpu *k = kvm_vcpu_of(cpu);
    bool taken = begin(k) && kvm_isa.step_interrupt(k);
    if (taken)
        follow(k);
    if (taken)
        end(k, false);
    else
        kvm_isa.step_ends(k, false);
    return taken;
}

enum vcpu_exit kvm_step(struct vcpu *cpu)
{
    struct kvm_vcpu *k = kvm_vcpu_of(cpu);
    if (!begin(k))
        return EXIT_FAILED;
    uint64_t takeovers = k->counts.takeovers;
    bool tried = kvm_isa.is_helpers(k);
    enum vcpu_exit exit = tried && kvm_takeover(k) ? EXIT_KICKED : follow(k);
    end(k, tried || k->counts.takeovers != takeovers);
    return exit;
}
