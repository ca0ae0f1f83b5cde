/* Instructions that KVM cannot execute: another engine does, on the same vCPU, which then returns to KVM. */
#include "core/error.h"
#include "kvm/kvm.h"

/* Made when it is needed first: most guests never do. */
static const struct accel *helper(struct kvm *kvm)
{
    struct vm *vm = kvm->vm;
    pthread_mutex_lock(&kvm->takeover_lock);
    for (size_t i = 0; i < n_accels && !vm->helper; i++)
        if (accels[i]->help_start)
            error_free(accels[i]->help_start(vm));
    pthread_mutex_unlock(&kvm->takeover_lock);
    return vm->helper;
}

static void count(struct kvm_vcpu *k, const char *name)
{
    struct kvm_takeover *t = k->kvm->takeovers;
    k->counts.takeovers++;
    pthread_mutex_lock(&k->kvm->takeover_lock);
    for (; t < &k->kvm->takeovers[KVM_N_TAKEOVERS - 1]; t++)
        if (!t->name || !strcmp(t->name, name))
            break;
    t->name = t < &k->kvm->takeovers[KVM_N_TAKEOVERS - 1] ? name : "others";
    t->n++;
    pthread_mutex_unlock(&k->kvm->takeover_lock);
}

/* A breakpoint that was to be passed is behind us. */
static void pass_point(struct kvm_vcpu *k)
{
    if (!k->passes_point)
        return;
    k->passes_point = false;
    error_free(kvm_isa.set_debug(k, &k->debug));
}

bool kvm_takeover(struct kvm_vcpu *k)
{
    const struct accel *by = k->kvm->takeover ? helper(k->kvm) : NULL;
    struct error *err = by ? kvm_isa.get(k) : NULL;
    if (!by || err) {
        error_free(err);
        return false;
    }
    bool lent = !kvm_isa.may_lend || kvm_isa.may_lend(k);
    k->lent = true;
    const char *name = lent ? by->execute_one(k->cpu) : NULL;
    k->lent = false;
    if (lent && !name)
        return false;
    k->down = k->cpu->halted;
    err = kvm_isa.set(k);
    if (name && !err) {
        count(k, name);
        pass_point(k);
    }
    bool done = !err;
    error_free(err);
    return done;
}
