/* Statistics: our own exits by reason, and what the kernel counts itself (KVM_GET_STATS_FD). */
#include "kvm/kvm.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const reason_names[KVM_N_REASONS] = {
    [KVM_EXIT_UNKNOWN] = "unknown",
    [KVM_EXIT_EXCEPTION] = "exception",
    [KVM_EXIT_IO] = "io",
    [KVM_EXIT_HYPERCALL] = "hypercall",
    [KVM_EXIT_DEBUG] = "debug",
    [KVM_EXIT_HLT] = "hlt",
    [KVM_EXIT_MMIO] = "mmio",
    [KVM_EXIT_IRQ_WINDOW_OPEN] = "irq_window",
    [KVM_EXIT_SHUTDOWN] = "shutdown",
    [KVM_EXIT_FAIL_ENTRY] = "fail_entry",
    [KVM_EXIT_INTR] = "interrupted",
    [KVM_EXIT_SET_TPR] = "set_tpr",
    [KVM_EXIT_NMI] = "nmi",
    [KVM_EXIT_INTERNAL_ERROR] = "internal_error",
    [KVM_EXIT_SYSTEM_EVENT] = "system_event",
    [KVM_EXIT_IOAPIC_EOI] = "ioapic_eoi",
    [KVM_EXIT_HYPERV] = "hyperv",
    [KVM_EXIT_ARM_NISV] = "arm_nisv",
    [KVM_EXIT_X86_RDMSR] = "rdmsr",
    [KVM_EXIT_X86_WRMSR] = "wrmsr",
    [KVM_EXIT_DIRTY_RING_FULL] = "dirty_ring_full",
    [KVM_EXIT_X86_BUS_LOCK] = "bus_lock",
    [KVM_EXIT_RISCV_SBI] = "sbi",
    [KVM_EXIT_RISCV_CSR] = "csr",
    [KVM_EXIT_NOTIFY] = "notify",
};

struct sink {
    void (*add)(void *opaque, const char *name, double value);
    void *opaque;
};

static void put(const struct sink *s, const char *group, const char *name, double value)
{
    char full[96];
    snprintf(full, sizeof(full), "kvm.%s%s", group, name);
    s->add(s->opaque, full, value);
}

/* ---- the kernel's ------------------------------------------------------------------------------- */

enum { MAX_STATS = 256, NAME_ROOM = 64 };
struct kernel_stats {
    size_t n;
    struct {
        char name[NAME_ROOM];
        uint64_t value; /* of all vCPUs */
    } at[MAX_STATS];
};

static uint64_t *value_of(struct kernel_stats *all, const char *name)
{
    size_t i = 0;
    while (i < all->n && strcmp(all->at[i].name, name))
        i++;
    if (i == MAX_STATS)
        return NULL;
    if (i == all->n)
        snprintf(all->at[all->n++].name, NAME_ROOM, "%s", name);
    return &all->at[i].value;
}

/* One counter: only plain sums of events, no histograms and no peaks. */
static void read_one(int fd, const struct kvm_stats_header *head, uint32_t i,
                     struct kernel_stats *all, struct vcpu *cpu)
{
    union {
        struct kvm_stats_desc desc;
        char bytes[sizeof(struct kvm_stats_desc) + NAME_ROOM];
    } d;
    size_t size = sizeof(struct kvm_stats_desc) + head->name_size;
    uint64_t v, *to;
    if (size > sizeof(d) ||
        pread(fd, &d, size, head->desc_offset + (off_t)(i * size)) != (ssize_t)size)
        return;
    d.bytes[size - 1] = 0;
    if ((d.desc.flags & KVM_STATS_TYPE_MASK) != KVM_STATS_TYPE_CUMULATIVE || d.desc.size != 1 ||
        pread(fd, &v, sizeof(v), head->data_offset + (off_t)d.desc.offset) != sizeof(v) || !v)
        return;
    to = value_of(all, d.bytes + sizeof(struct kvm_stats_desc));
    if (to)
        *to += v;
    if (!strcmp(d.bytes + sizeof(struct kvm_stats_desc), "irq_injections"))
        cpu->counts.interrupts = v;
}

static void read_kernel(struct kvm_vcpu *k, struct kernel_stats *all)
{
    struct kvm_stats_header head;
    int fd = kvm_check(k->kvm, KVM_CAP_BINARY_STATS_FD) ? ioctl(k->fd, KVM_GET_STATS_FD, 0) : -1;
    if (fd < 0)
        return;
    if (pread(fd, &head, sizeof(head), 0) == sizeof(head))
        for (uint32_t i = 0; i < head.num_desc; i++)
            read_one(fd, &head, i, all, k->cpu);
    close(fd);
}

static void put_kernel(const struct sink *s, struct vm *vm)
{
    struct kernel_stats *all = xcalloc(1, sizeof(*all));
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        read_kernel(kvm_vcpu_of(vm->vcpus[i]), all);
    for (size_t i = 0; i < all->n; i++)
        put(s, "kernel.", all->at[i].name, (double)all->at[i].value);
    free(all);
}

/* ---- ours ----------------------------------------------------------------------------------------- */

static void put_exits(const struct sink *s, const struct kvm_counts *sum)
{
    uint64_t all = 0;
    for (unsigned i = 0; i < KVM_N_REASONS; i++) {
        const char *name = reason_names[i] ? reason_names[i] : "other";
        all += sum->exits[i];
        if (!sum->exits[i])
            continue;
        put(s, "exits.", name, (double)sum->exits[i]);
        put(s, "seconds.", name, (double)sum->ns[i] / 1e9);
    }
    put(s, "", "exits", (double)all);
}

/* By the instruction's name. */
static void put_takeovers(const struct sink *s, struct kvm *kvm)
{
    pthread_mutex_lock(&kvm->takeover_lock);
    for (unsigned i = 0; i < KVM_N_TAKEOVERS; i++)
        if (kvm->takeovers[i].name)
            put(s, "takeovers.", kvm->takeovers[i].name, (double)kvm->takeovers[i].n);
    pthread_mutex_unlock(&kvm->takeover_lock);
}

void kvm_stats(struct vm *vm, void (*add)(void *opaque, const char *name, double value),
               void *opaque)
{
    struct kvm *kvm = kvm_of(vm);
    const struct sink s = { add, opaque };
    struct kvm_counts sum = { 0 };
    for (unsigned i = 0; i < vm->n_vcpus; i++) {
        const uint64_t *from = (const uint64_t *)&kvm_vcpu_of(vm->vcpus[i])->counts;
        for (size_t n = 0; n < sizeof(sum) / 8; n++)
            ((uint64_t *)&sum)[n] += from[n];
    }
    put_exits(&s, &sum);
    put(&s, "", "interrupted", (double)sum.interrupted);
    put(&s, "", "takeovers", (double)sum.takeovers);
    put_takeovers(&s, kvm);
    put(&s, "", "guest_seconds", (double)sum.guest_ns / 1e9);
    put(&s, "", "kicks", (double)atomic_load(&kvm->n_kicks));
    put(&s, "", "signals", (double)atomic_load(&kvm->n_signals));
    put(&s, "", "slot_changes", (double)atomic_load(&kvm->n_slot_changes));
    put(&s, "", "pauses", (double)atomic_load(&kvm->n_pauses));
    put(&s, "", "batched_writes", (double)atomic_load(&kvm->n_batched));
    put_kernel(&s, vm);
}
