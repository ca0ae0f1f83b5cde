/* KVM on x86-64 hosts: registers, CPUID, interrupts into the CPU, exits of this instruction set. The
 * interface's names are in the kernel's Documentation/virt/kvm/api.rst and x86/. */
#include "kvm/x86_64.h"

#include "core/error.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_CPUID = 256, MAX_MSRS = 512, XSAVE_BV = 512, FXSAVE_ST = 32, FXSAVE_XMM = 160 };

/* Three pages that Intel's virtualization wants for real mode, and one before; below the flash of a PC. */
#define IDENTITY_MAP ((uint64_t)0xfeffc000)
#define TASK_STATE   ((uint64_t)0xfeffd000)

/* Per VM. */
struct isa {
    uint32_t msrs[MAX_MSRS]; /* what this KVM lets us read */
    size_t n_msrs;
    bool sregs2, smm, payload, triple_fault;
    struct kvm_irqchip chips[3]; /* as after power-on */
    struct kvm_pit_state2 pit;
    bool has_pit;
    uint64_t clock_ns; /* KVM's clock as of the last stop */
    bool clock_known;
};

/* Per vCPU. */
struct isa_vcpu {
    uint8_t *xsave;           /* KVM_GET_XSAVE's image */
    uint64_t known[MAX_MSRS]; /* what the kernel holds as of the last get or set */
    bool msrs_known;
    struct kvm_x86_synic synic;
    uint8_t cr8; /* as told to the kernel last */
    /* The APIC as it was read: others may change it while this vCPU stands, so that only what somebody
     * else than the kernel changed is written back. */
    uint8_t lapic[X86_LAPIC_PAGE], run_state;
    bool apic_known;
    /* Nested virtualization as of the start, when there was none; NULL: this KVM has none. */
    struct kvm_nested_state *no_nested;
    size_t n_no_nested;
    bool is_nesting; /* the kernel's is another now */
};

struct kvm_x86_synic *kvm_x86_synic_of(struct kvm_vcpu *k)
{
    return &((struct isa_vcpu *)k->isa)->synic;
}

static struct isa *isa_of(const struct kvm_vcpu *k)
{
    return k->kvm->isa;
}
static struct isa_vcpu *mine(const struct kvm_vcpu *k)
{
    return k->isa;
}

/* ---- what this host has -------------------------------------------------------------------------- */

static const struct {
    uint32_t leaf, sub;
    uint8_t reg; /* eax, ebx, ecx, edx */
} word_places[N_X86_WORDS] = {
    [X86_1_EDX] = { 1, 0, 3 },
    [X86_1_ECX] = { 1, 0, 2 },
    [X86_6_EAX] = { 6, 0, 0 },
    [X86_7_EBX] = { 7, 0, 1 },
    [X86_7_ECX] = { 7, 0, 2 },
    [X86_7_EDX] = { 7, 0, 3 },
    [X86_7_1_EAX] = { 7, 1, 0 },
    [X86_7_1_EDX] = { 7, 1, 3 },
    [X86_7_2_EDX] = { 7, 2, 3 },
    [X86_D_1_EAX] = { 0xd, 1, 0 },
    [X86_E1_EDX] = { 0x80000001, 0, 3 },
    [X86_E1_ECX] = { 0x80000001, 0, 2 },
    [X86_E7_EDX] = { 0x80000007, 0, 3 },
    [X86_E8_EBX] = { 0x80000008, 0, 1 },
    [X86_EA_EDX] = { 0x8000000a, 0, 3 },
    [X86_E21_EAX] = { 0x80000021, 0, 0 },
    [X86_KVM_EAX] = { 0x40000001, 0, 0 },
};

static uint32_t reg_of(const struct kvm_cpuid_entry2 *e, unsigned reg)
{
    const uint32_t regs[] = { e->eax, e->ebx, e->ecx, e->edx };
    return regs[reg];
}

static const struct kvm_cpuid_entry2 *find_leaf(const struct kvm_cpuid2 *all, uint32_t leaf,
                                                uint32_t sub)
{
    for (uint32_t i = 0; i < all->nent; i++)
        if (all->entries[i].function == leaf && all->entries[i].index == sub)
            return &all->entries[i];
    return NULL;
}

static void put_name(char *to, uint32_t a, uint32_t b, uint32_t c)
{
    store_le(to, 4, a);
    store_le(to + 4, 4, b);
    store_le(to + 8, 4, c);
    to[12] = 0;
}

static void host_brand(char *to)
{
    uint32_t r[4];
    for (unsigned i = 0; i < 3; i++) {
        if (!__get_cpuid(0x80000002 + i, &r[0], &r[1], &r[2], &r[3]))
            return;
        for (unsigned n = 0; n < 4; n++)
            store_le(to + 16 * i + 4 * n, 4, r[n]);
    }
    to[48] = 0;
}

static void host_features(struct kvm *kvm, const struct kvm_cpuid2 *all, struct x86_engine_cpu *e)
{
    const struct kvm_cpuid_entry2 *leaf;
    for (unsigned w = 0; w < N_X86_WORDS; w++)
        if (word_places[w].leaf && (leaf = find_leaf(all, word_places[w].leaf, word_places[w].sub)))
            e->words[w] = reg_of(leaf, word_places[w].reg);
    e->words[X86_1_ECX] |= 1u << 31;
    /* The timer of the local APIC by TSC is the kernel's APIC's. */
    if (kvm->irqchip != IRQCHIP_USER && kvm_check(kvm, KVM_CAP_TSC_DEADLINE_TIMER))
        e->words[X86_1_ECX] |= 1u << 24;
    else
        e->words[X86_1_ECX] &= ~(1u << 24);
    e->words[X86_6_EAX] |= 1u << 2; /* "arat": its clock never stops */
    if (kvm->irqchip ==
        IRQCHIP_USER) /* what needs the kernel's APIC: PV EOI, unhalt, IPIs, async faults */
        e->words[X86_KVM_EAX] &= ~(1u << 4 | 1u << 6 | 1u << 7 | 1u << 10 | 1u << 11 | 1u << 14);
    e->words[X86_HV] = kvm_x86_hyperv(kvm);
}

static struct error *host_cpu(struct kvm *kvm, struct x86_engine_cpu *e)
{
    struct kvm_cpuid2 *all = xcalloc(1, sizeof(*all) + MAX_CPUID * sizeof(struct kvm_cpuid_entry2));
    const struct kvm_cpuid_entry2 *leaf;
    all->nent = MAX_CPUID;
    if (ioctl(kvm->sys_fd, KVM_GET_SUPPORTED_CPUID, all) < 0) {
        free(all);
        return error_errno("KVM does not tell the CPU's features");
    }
    host_features(kvm, all, e);
    if ((leaf = find_leaf(all, 0, 0))) {
        e->level = leaf->eax;
        put_name(e->vendor, leaf->ebx, leaf->edx, leaf->ecx);
    }
    if ((leaf = find_leaf(all, 1, 0))) {
        e->family = (uint16_t)(bits(leaf->eax, 8, 4) + bits(leaf->eax, 20, 8));
        e->model = (uint16_t)(bits(leaf->eax, 4, 4) | bits(leaf->eax, 16, 4) << 4);
        e->stepping = leaf->eax & 15;
    }
    if ((leaf = find_leaf(all, 0x80000000, 0)))
        e->xlevel = leaf->eax;
    e->phys_bits = 36;
    e->virt_bits = 48;
    if ((leaf = find_leaf(all, 0x80000008, 0))) {
        e->phys_bits = (uint8_t)leaf->eax;
        e->virt_bits = (uint8_t)(leaf->eax >> 8);
    }
    if ((leaf = find_leaf(all, 0xd, 0)))
        e->xcr0 = leaf->eax | (uint64_t)leaf->edx << 32;
    for (unsigned i = 2; i < X86_N_XSAVE; i++)
        if ((leaf = find_leaf(all, 0xd, i)))
            e->xsave[i] = (struct x86_xsave_area){ leaf->ebx, leaf->eax };
    host_brand(e->brand);
    free(all);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------ */

static void print_line(void *opaque, const char *line)
{
    log_print(opaque, "%s\n", line);
}

static struct error *reserve_for_real_mode(struct kvm *kvm)
{
    uint64_t at = IDENTITY_MAP;
    if (kvm_check(kvm, KVM_CAP_SET_IDENTITY_MAP_ADDR) &&
        ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &at) < 0)
        return error_errno("KVM does not take a page for real mode");
    if (kvm_check(kvm, KVM_CAP_SET_TSS_ADDR) && ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, TASK_STATE) < 0)
        return error_errno("KVM does not take pages for real mode");
    return NULL;
}

/* All of these are better to have; the state tells which there are. */
static void enable_extras(struct kvm *kvm, struct isa *isa)
{
    const struct {
        int capability;
        uint64_t arg;
        bool *has;
    } extras[] = {
        { KVM_CAP_EXCEPTION_PAYLOAD, 1, &isa->payload },
        { KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1, &isa->triple_fault },
        { KVM_CAP_X86_USER_SPACE_MSR,
          KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_FILTER,
          NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(extras); i++) {
        struct error *err = kvm_check(kvm, extras[i].capability)
                                ? kvm_enable(kvm, extras[i].capability, extras[i].arg, "")
                                : error_new("not there");
        if (extras[i].has)
            *extras[i].has = !err;
        error_free(err);
    }
    if (kvm->takeover && kvm_check(kvm, KVM_CAP_EXIT_ON_EMULATION_FAILURE)) /* user mode's, too */
        error_free(kvm_enable(kvm, KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1, ""));
    isa->sregs2 = kvm_check(kvm, KVM_CAP_SREGS2);
    isa->smm = kvm_check(kvm, KVM_CAP_X86_SMM);
    kvm->vm->can_smm = isa->smm && kvm_check(kvm, KVM_CAP_MULTI_ADDRESS_SPACE) > 1;
}

static struct error *vm_init(struct kvm *kvm)
{
    struct x86_engine_cpu cpu = { 0 };
    struct isa *isa = kvm->isa ? kvm->isa : xcalloc(1, sizeof(*isa));
    kvm->isa = isa;
    if (!kvm_check(kvm, KVM_CAP_XSAVE) || !kvm_check(kvm, KVM_CAP_XCRS) ||
        !kvm_check(kvm, KVM_CAP_VCPU_EVENTS) || !kvm_check(kvm, KVM_CAP_DEBUGREGS))
        return error_new("this host's KVM cannot hand out a CPU's whole state; a newer kernel can");
    kvm->xsave_size = MAX(4096, kvm_check(kvm, KVM_CAP_XSAVE2));
    struct error *err = reserve_for_real_mode(kvm);
    if (!err)
        err = host_cpu(kvm, &cpu);
    if (err)
        return err;
    enable_extras(kvm, isa);
    err = x86_model_fit(kvm->vm, &cpu, print_line, &kvm->vm->log);
    return err || !kvm->msr_filter ? err : kvm_x86_filter_msrs(kvm);
}

static void reset_chips(void *opaque)
{
    struct kvm *kvm = opaque;
    struct isa *isa = kvm->isa;
    for (unsigned i = 0; i < 3; i++)
        ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &isa->chips[i]);
    if (isa->has_pit)
        ioctl(kvm->vm_fd, KVM_SET_PIT2, &isa->pit);
}

static struct error *irq_create(struct kvm *kvm)
{
    struct isa *isa = kvm->isa = xcalloc(1, sizeof(*isa));
    struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
    struct error *err = NULL;
    if (kvm_check(kvm, KVM_CAP_X2APIC_API)) /* 32-bit IDs, 0xff is no broadcast in x2APIC mode */
        error_free(kvm_enable(kvm, KVM_CAP_X2APIC_API, 3, "x2APIC interface"));
    if (kvm->irqchip == IRQCHIP_SPLIT)
        return kvm_enable(kvm, KVM_CAP_SPLIT_IRQCHIP, kvm_isa.n_pins,
                          "split interrupt controllers");
    if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) < 0)
        return error_errno("KVM cannot make interrupt controllers");
    if (kvm->pit && ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) < 0)
        return error_errno("KVM cannot make a timer 8254");
    isa->has_pit = kvm->pit && ioctl(kvm->vm_fd, KVM_GET_PIT2, &isa->pit) >= 0;
    for (unsigned i = 0; i < 3 && !err; i++) {
        isa->chips[i].chip_id = i;
        if (ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &isa->chips[i]) < 0)
            err = error_errno("KVM does not show its interrupt controllers");
    }
    vm_on_reset(kvm->vm, reset_chips, kvm);
    return err;
}

static void timer_taken(struct kvm *kvm, bool taken)
{
    struct isa *isa = kvm->isa;
    struct kvm_pit_state2 pit;
    if (!isa->has_pit || ioctl(kvm->vm_fd, KVM_GET_PIT2, &pit) < 0)
        return;
    pit.flags = taken ? pit.flags | KVM_PIT_FLAGS_HPET_LEGACY
                      : pit.flags & ~(uint32_t)KVM_PIT_FLAGS_HPET_LEGACY;
    ioctl(kvm->vm_fd, KVM_SET_PIT2, &pit);
}

/* A PC's wiring: ISA interrupts reach the 8259s and the I/O APIC, interrupt 0 its pin 2. */
static uint32_t pin_routes(struct kvm_irq_routing_entry *to)
{
    uint32_t n = 0;
    for (uint32_t gsi = 0; gsi < KVM_IOAPIC_NUM_PINS; gsi++) {
        if (gsi < 16)
            to[n++] = (struct kvm_irq_routing_entry){
                .gsi = gsi,
                .type = KVM_IRQ_ROUTING_IRQCHIP,
                .u.irqchip = { gsi < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % 8 },
            };
        if (gsi != 2)
            to[n++] = (struct kvm_irq_routing_entry){
                .gsi = gsi,
                .type = KVM_IRQ_ROUTING_IRQCHIP,
                .u.irqchip = { KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi },
            };
    }
    return n;
}

/* KVM's clock stands while the VM does; vCPUs are told, so that a pause looks like no lockup. */
static void vm_clock(struct kvm *kvm, bool running)
{
    struct isa *isa = kvm->isa;
    struct kvm_clock_data now = { 0 };
    if (!kvm_check(kvm, KVM_CAP_ADJUST_CLOCK))
        return;
    if (!running) {
        isa->clock_known = ioctl(kvm->vm_fd, KVM_GET_CLOCK, &now) >= 0;
        isa->clock_ns = now.clock;
        for (unsigned i = 0; i < kvm->vm->n_vcpus;
             i++) /* refused by a guest that has no such clock */
            ioctl(kvm_vcpu_of(kvm->vm->vcpus[i])->fd, KVM_KVMCLOCK_CTRL);
    } else if (isa->clock_known) {
        now.clock = isa->clock_ns;
        ioctl(kvm->vm_fd, KVM_SET_CLOCK, &now);
    }
}

static void isa_free(struct kvm *kvm)
{
    vm_forget(kvm->vm, kvm);
    free(kvm->isa);
}

static void add_cpuid(void *opaque, uint32_t leaf, uint32_t sub, bool has_subs, const uint32_t r[4])
{
    struct kvm_cpuid2 *all = opaque;
    assert(all->nent < MAX_CPUID);
    all->entries[all->nent++] = (struct kvm_cpuid_entry2){
        .function = leaf,
        .index = sub,
        .flags = has_subs ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
        .eax = r[0],
        .ebx = r[1],
        .ecx = r[2],
        .edx = r[3],
    };
}

static struct error *set_cpuid(struct kvm_vcpu *k)
{
    struct kvm_cpuid2 *all = xcalloc(1, sizeof(*all) + MAX_CPUID * sizeof(struct kvm_cpuid_entry2));
    x86_cpuid_each(x86_of(k->cpu), add_cpuid, all);
    int rc = ioctl(k->fd, KVM_SET_CPUID2, all);
    free(all);
    return rc < 0 ? error_errno("KVM does not take the CPU model") : NULL;
}

struct msr_batch {
    __u32 nmsrs, pad;
    struct kvm_msr_entry entries[MAX_MSRS];
};

/* The kernel stops at the first one it refuses; go on behind that. */
static void move_msrs(struct kvm_vcpu *k, unsigned long request, struct msr_batch *b, size_t n,
                      bool *done)
{
    size_t at = 0;
    struct msr_batch *part = xcalloc(1, sizeof(*part));
    while (at < n) {
        memcpy(part->entries, b->entries + at, (n - at) * sizeof(b->entries[0]));
        part->nmsrs = (uint32_t)(n - at);
        int moved = ioctl(k->fd, request, part);
        moved = MAX(moved, 0);
        memcpy(b->entries + at, part->entries, (size_t)moved * sizeof(b->entries[0]));
        for (int i = 0; i < moved; i++)
            done[at + (size_t)i] = true;
        at += (size_t)moved;
        if (at < n)
            done[at++] = false;
    }
    free(part);
}

static bool is_in(const uint32_t *list, size_t n, uint32_t index)
{
    for (size_t i = 0; i < n; i++)
        if (list[i] == index)
            return true;
    return false;
}

/* Keep of n candidates those that can be read. Each ioctl loads the vCPU, so there are to be few: `run` says
 * that behind the first one that this KVM lacks there are no others. */
static void keep_readable(struct kvm_vcpu *k, const uint32_t *indices, size_t n, bool run)
{
    struct isa *isa = isa_of(k);
    struct msr_batch *b = xcalloc(1, sizeof(*b));
    bool done[MAX_MSRS] = { 0 };
    for (size_t i = 0; i < n; i++)
        b->entries[i].index = indices[i];
    if (run) {
        b->nmsrs = (uint32_t)n;
        int moved = ioctl(k->fd, KVM_GET_MSRS, b);
        for (int i = 0; i < moved; i++)
            done[i] = true;
    } else if (n) {
        move_msrs(k, KVM_GET_MSRS, b, n, done);
    }
    for (size_t i = 0; i < n && isa->n_msrs < MAX_MSRS; i++)
        if (done[i] && !is_in(isa->msrs, isa->n_msrs, indices[i]))
            isa->msrs[isa->n_msrs++] = indices[i];
    free(b);
}

/* What is in the state although the kernel does not list it. */
static void find_unlisted(struct kvm_vcpu *k)
{
    static const uint32_t runs[][2] = { { 0x8b, 0x8b },   { 0x1d9, 0x1d9 }, { 0x200, 0x20f },
                                        { 0x250, 0x26f }, { 0x277, 0x277 }, { 0x2ff, 0x2ff },
                                        { 0x400, 0x4ff } };
    uint32_t found[MAX_MSRS];
    uint64_t *slot;
    for (size_t r = 0; r < ARRAY_LEN(runs); r++) {
        size_t n = 0;
        for (uint32_t at = runs[r][0]; at <= runs[r][1]; at++)
            if (x86_msr_slot(x86_of(k->cpu), at, &slot))
                found[n++] = at;
        keep_readable(k, found, n, true);
    }
}

/* The kernel's list first. */
static void find_msrs(struct kvm_vcpu *k)
{
    enum { HV_VP_INDEX = 0x40000002 }; /* the kernel's own number for the vCPU */
    struct kvm_msr_list *list = xcalloc(1, sizeof(*list) + MAX_MSRS * 4);
    size_t n = 0;
    list->nmsrs = MAX_MSRS;
    if (ioctl(k->kvm->sys_fd, KVM_GET_MSR_INDEX_LIST, list) >= 0)
        for (uint32_t i = 0; i < list->nmsrs; i++)
            if (list->indices[i] != HV_VP_INDEX)
                list->indices[n++] = list->indices[i];
    keep_readable(k, list->indices, n, false);
    find_unlisted(k);
    free(list);
}

/* The pace asked for, else the host's. */
static struct error *set_tsc_pace(struct kvm_vcpu *k, uint32_t khz)
{
    int has = kvm_check(k->kvm, KVM_CAP_GET_TSC_KHZ) ? ioctl(k->fd, KVM_GET_TSC_KHZ, 0) : 0;
    if (!khz && has > 0)
        x86_set_tsc_khz(k->cpu->vm, (uint32_t)has);
    bool follows = k->cpu->vm->tape; /* the leader's clock counts */
    if (!khz || (int)khz == has || ioctl(k->fd, KVM_SET_TSC_KHZ, (unsigned long)khz) >= 0 ||
        follows)
        return NULL;
    return error_errno("this host's KVM runs the clock at %d kHz and not at tsc-frequency=%" PRIu64,
                       has, (uint64_t)khz * 1000);
}

/* NULL: this KVM has none. *n are the bytes that count. */
static struct kvm_nested_state *nested_now(struct kvm_vcpu *k, size_t *n)
{
    size_t size = (size_t)kvm_check(k->kvm, KVM_CAP_NESTED_STATE);
    if (size < sizeof(struct kvm_nested_state))
        return NULL;
    struct kvm_nested_state *s = xcalloc(1, size);
    s->size = (uint32_t)size;
    if (ioctl(k->fd, KVM_GET_NESTED_STATE, s) < 0 || s->size > size ||
        s->size < sizeof(struct kvm_nested_state)) {
        free(s);
        return NULL;
    }
    *n = s->size;
    return s;
}

static struct error *isa_vcpu_init(struct kvm_vcpu *k)
{
    struct isa_vcpu *m = xcalloc(1, sizeof(*m));
    m->xsave = xcalloc(1, k->kvm->xsave_size);
    k->isa = m;
    struct error *err = set_tsc_pace(k, x86_model_of(k->cpu->vm)->tsc_khz);
    if (!err)
        err = kvm_x86_enable_paravirt(k);
    if (!err)
        err = set_cpuid(k);
    if (!err && k->cpu->index == 0)
        find_msrs(k);
    if (!err)
        m->no_nested = nested_now(k, &m->n_no_nested);
    if (err) {
        free(m->xsave);
        free(m);
    }
    return err;
}

static void isa_vcpu_free(struct kvm_vcpu *k)
{
    free(mine(k)->no_nested);
    free(mine(k)->xsave);
    free(mine(k));
}

static uint32_t vcpu_id(const struct vcpu *cpu)
{
    return ((struct x86_cpu *)cpu->arch)->apic_id;
}

/* ---- general and system registers ------------------------------------------------------------------ */

#define GPRS(X) \
    X(0, rax)   \
    X(1, rcx)   \
    X(2, rdx)   \
    X(3, rbx)   \
    X(4, rsp)   \
    X(5, rbp)   \
    X(6, rsi)   \
    X(7, rdi) X(8, r8) X(9, r9) X(10, r10) X(11, r11) X(12, r12) X(13, r13) X(14, r14) X(15, r15)

static struct error *get_gprs(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct kvm_regs r;
    if (ioctl(k->fd, KVM_GET_REGS, &r) < 0)
        return error_errno("KVM_GET_REGS");
#define X(n, name) x->gpr[n] = r.name;
    GPRS(X)
#undef X
    x->rip = r.rip;
    x->rflags = r.rflags;
    return NULL;
}

static struct error *set_gprs(struct kvm_vcpu *k, const struct x86_cpu *x)
{
    struct kvm_regs r = { .rip = x->rip, .rflags = x->rflags };
#define X(n, name) r.name = x->gpr[n];
    GPRS(X)
#undef X
    return ioctl(k->fd, KVM_SET_REGS, &r) < 0 ? error_errno("KVM_SET_REGS") : NULL;
}

/* In the middle of IN and OUT the kernel takes them back, too (it has such devices in mind), if RIP stays. */
static void get_general(struct kvm_vcpu *k)
{
    error_free(get_gprs(k, x86_of(k->cpu)));
}
static void set_general(struct kvm_vcpu *k)
{
    error_free(set_gprs(k, x86_of(k->cpu)));
}

static struct x86_segment segment_from(const struct kvm_segment *s)
{
    return (struct x86_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .rights = (s->type & 15u) | (s->s & 1u) << 4 | (s->dpl & 3u) << 5 | (s->present & 1u) << 7 |
                  (s->avl & 1u) << 12 | (s->l & 1u) << 13 | (s->db & 1u) << 14 | (s->g & 1u) << 15 |
                  (s->unusable ? X86_AR_UNUSABLE : 0u),
    };
}

static struct kvm_segment segment_to(const struct x86_segment *s)
{
    uint32_t r = s->rights;
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = r & 15,
        .s = r >> 4 & 1,
        .dpl = r >> 5 & 3,
        .present = r >> 7 & 1,
        .avl = r >> 12 & 1,
        .l = r >> 13 & 1,
        .db = r >> 14 & 1,
        .g = r >> 15 & 1,
        .unusable = r >> 16 & 1,
    };
}

/* Both versions of the structure begin alike; the older has no pdptrs. */
#define SEGMENTS(X)    \
    X(es, seg[X86_ES]) \
    X(cs, seg[X86_CS]) \
    X(ss, seg[X86_SS]) \
    X(ds, seg[X86_DS]) X(fs, seg[X86_FS]) X(gs, seg[X86_GS]) X(tr, tr) X(ldt, ldt)
#define SYSTEM(X) X(cr0) X(cr2) X(cr3) X(cr4) X(cr8) X(efer) X(apic_base)

static struct error *get_system(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct kvm_sregs2 s = { 0 };
    struct kvm_sregs old;
    if (isa_of(k)->sregs2) {
        if (ioctl(k->fd, KVM_GET_SREGS2, &s) < 0)
            return error_errno("KVM_GET_SREGS2");
    } else {
        if (ioctl(k->fd, KVM_GET_SREGS, &old) < 0)
            return error_errno("KVM_GET_SREGS");
        memcpy(&s, &old, offsetof(struct kvm_sregs, interrupt_bitmap));
    }
#define X(name, member) x->member = segment_from(&s.name);
    SEGMENTS(X)
#undef X
#define X(name) x->name = s.name;
    SYSTEM(X)
#undef X
    x->gdt = (struct x86_table){ s.gdt.base, s.gdt.limit };
    x->idt = (struct x86_table){ s.idt.base, s.idt.limit };
    x->pdptrs_valid = s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
    memset(x->pdptr, 0, sizeof(x->pdptr));
    if (x->pdptrs_valid)
        memcpy(x->pdptr, s.pdptrs, sizeof(x->pdptr));
    return NULL;
}

static struct error *set_system(struct kvm_vcpu *k, const struct x86_cpu *x)
{
    struct kvm_sregs2 s = { 0 };
    struct kvm_sregs old = { 0 };
#define X(name, member) s.name = segment_to(&x->member);
    SEGMENTS(X)
#undef X
#define X(name) s.name = x->name;
    SYSTEM(X)
#undef X
    s.gdt = (struct kvm_dtable){ .base = x->gdt.base, .limit = x->gdt.limit };
    s.idt = (struct kvm_dtable){ .base = x->idt.base, .limit = x->idt.limit };
    if (x->pdptrs_valid) {
        s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
        memcpy(s.pdptrs, x->pdptr, sizeof(s.pdptrs));
    }
    if (isa_of(k)->sregs2)
        return ioctl(k->fd, KVM_SET_SREGS2, &s) < 0 ? error_errno("KVM_SET_SREGS2") : NULL;
    memcpy(&old, &s, offsetof(struct kvm_sregs, interrupt_bitmap));
    return ioctl(k->fd, KVM_SET_SREGS, &old) < 0 ? error_errno("KVM_SET_SREGS") : NULL;
}

static struct error *get_debug(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct kvm_debugregs d;
    if (ioctl(k->fd, KVM_GET_DEBUGREGS, &d) < 0)
        return error_errno("KVM_GET_DEBUGREGS");
    memcpy(x->dr, d.db, sizeof(x->dr));
    x->dr6 = d.dr6;
    x->dr7 = d.dr7;
    return NULL;
}

static struct error *set_debug(struct kvm_vcpu *k, const struct x86_cpu *x)
{
    struct kvm_debugregs d = { .dr6 = x->dr6, .dr7 = x->dr7 };
    memcpy(d.db, x->dr, sizeof(d.db));
    return ioctl(k->fd, KVM_SET_DEBUGREGS, &d) < 0 ? error_errno("KVM_SET_DEBUGREGS") : NULL;
}

static struct error *get_xcr0(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct kvm_xcrs xcrs = { 0 };
    x->xcr0 = 1;
    if (ioctl(k->fd, KVM_GET_XCRS, &xcrs) < 0)
        return error_errno("KVM_GET_XCRS");
    for (uint32_t i = 0; i < MIN(xcrs.nr_xcrs, (uint32_t)KVM_MAX_XCRS); i++)
        if (xcrs.xcrs[i].xcr == 0)
            x->xcr0 = xcrs.xcrs[i].value;
    return NULL;
}

/* A CPU without XSAVE has no such register, and KVM may refuse even its initial value. */
static struct error *set_xcr0(struct kvm_vcpu *k, const struct x86_cpu *x)
{
    struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .value = x->xcr0 } };
    if (ioctl(k->fd, KVM_SET_XCRS, &xcrs) < 0 && x->xcr0 != 1)
        return error_errno("KVM_SET_XCRS");
    return NULL;
}

/* ---- x87, SSE and up (SDM 1-13.4) ----------------------------------------------------------------------- */

/* Components with fields of their own: where they go. */
static void each_named(struct x86_cpu *x, uint8_t *image,
                       void (*move)(void *field, void *image, size_t n))
{
    uint32_t at, size;
    for (unsigned i = 0; i < 16; i++)
        move(x->zmm[i], image + FXSAVE_XMM + 16 * i, 16);
    if (x86_xsave_component(x->model, 2, &at, &size))
        for (unsigned i = 0; i < 16; i++)
            move(x->zmm[i] + 16, image + at + 16 * i, 16);
    if (x86_xsave_component(x->model, 5, &at, &size))
        move(x->k, image + at, sizeof(x->k));
    if (x86_xsave_component(x->model, 6, &at, &size))
        for (unsigned i = 0; i < 16; i++)
            move(x->zmm[i] + 32, image + at + 32 * i, 32);
    if (x86_xsave_component(x->model, 7, &at, &size))
        for (unsigned i = 0; i < 16; i++)
            move(x->zmm[16 + i], image + at + 64 * i, 64);
    if (x86_xsave_component(x->model, 9, &at, &size))
        move(&x->pkru, image + at, 4);
}

static void from_image(void *field, void *image, size_t n)
{
    memcpy(field, image, n);
}
static void to_image(void *field, void *image, size_t n)
{
    memcpy(image, field, n);
}

static void clear_component(const struct x86_model *m, uint8_t *image, unsigned i)
{
    uint32_t at, size;
    if (x86_xsave_component(m, i, &at, &size))
        memset(image + at, 0, size);
}

/* Components that are not in use hold anything; the architecture says that they are zero. */
static void clear_unused(const struct x86_cpu *x, uint8_t *image, uint64_t in_use)
{
    for (unsigned i = 2; i < X86_N_XSAVE; i++)
        if (!(in_use >> i & 1))
            clear_component(x->model, image, i);
    if (!(in_use & X86_XSAVE_SSE))
        memset(image + FXSAVE_XMM, 0, 256);
}

static void keep_rest(struct x86_cpu *x, const uint8_t *image, size_t n)
{
    free(x->xsave_rest);
    x->xsave_rest = NULL;
    x->n_xsave_rest = 0;
    if (!(x->xinuse & ~(uint64_t)X86_XSAVE_NAMED))
        return;
    x->xsave_rest = xmalloc(n);
    x->n_xsave_rest = (uint32_t)n;
    memcpy(x->xsave_rest, image, n);
    memset(x->xsave_rest, 0, 576);
    for (unsigned i = 2; i < X86_N_XSAVE; i++)
        if (X86_XSAVE_NAMED >> i & 1)
            clear_component(x->model, x->xsave_rest, i);
}

static struct error *get_vectors(struct kvm_vcpu *k, struct x86_cpu *x)
{
    uint8_t *image = mine(k)->xsave;
    bool large = k->kvm->xsave_size > 4096;
    if (ioctl(k->fd, large ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, image) < 0)
        return error_errno("KVM_GET_XSAVE");
    x->xinuse = load_le(image + XSAVE_BV, 8);
    clear_unused(x, image, x->xinuse);
    x->fcw = (uint16_t)load_le(image, 2);
    x->fsw = (uint16_t)load_le(image + 2, 2);
    x->ftw = image[4];
    x->fop = (uint16_t)load_le(image + 6, 2);
    x->fip = load_le(image + 8, 8);
    x->fdp = load_le(image + 16, 8);
    x->mxcsr = (uint32_t)load_le(image + 24, 4);
    for (unsigned i = 0; i < 8; i++) {
        memset(x->st[i], 0, sizeof(x->st[i]));
        memcpy(x->st[i], image + FXSAVE_ST + 16 * i, 10);
    }
    each_named(x, image, from_image);
    keep_rest(x, image, k->kvm->xsave_size);
    return NULL;
}

static bool is_zero(const void *p, size_t n)
{
    const uint8_t *b = p;
    for (size_t i = 0; i < n; i++)
        if (b[i])
            return false;
    return true;
}

/* Components that hold something are in use whatever the state says. */
static uint64_t in_use(const struct x86_cpu *x, const uint8_t *image)
{
    uint64_t use = x->xinuse & (x->model->xcr0 | 3);
    uint32_t at, size;
    bool x87 = x->fcw != 0x37f || x->fsw || x->ftw || x->fop || x->fip || x->fdp;
    if (x87 || !is_zero(x->st, sizeof(x->st)))
        use |= X86_XSAVE_X87;
    if (x->mxcsr != 0x1f80 || !is_zero(image + FXSAVE_XMM, 256))
        use |= X86_XSAVE_SSE;
    for (unsigned i = 2; i < X86_N_XSAVE; i++)
        if (x86_xsave_component(x->model, i, &at, &size) && !is_zero(image + at, size))
            use |= (uint64_t)1 << i;
    return use;
}

static struct error *set_vectors(struct kvm_vcpu *k, struct x86_cpu *x)
{
    uint8_t *image = mine(k)->xsave;
    memset(image, 0, k->kvm->xsave_size);
    if (x->xsave_rest)
        memcpy(image, x->xsave_rest, MIN(x->n_xsave_rest, k->kvm->xsave_size));
    store_le(image, 2, x->fcw);
    store_le(image + 2, 2, x->fsw);
    image[4] = x->ftw;
    store_le(image + 6, 2, x->fop);
    store_le(image + 8, 8, x->fip);
    store_le(image + 16, 8, x->fdp);
    store_le(image + 24, 4, x->mxcsr);
    store_le(image + 28, 4, 0xffff); /* of MXCSR, all bits there are */
    for (unsigned i = 0; i < 8; i++)
        memcpy(image + FXSAVE_ST + 16 * i, x->st[i], 10);
    each_named(x, image, to_image);
    store_le(image + XSAVE_BV, 8, in_use(x, image));
    return ioctl(k->fd, KVM_SET_XSAVE, image) < 0 ? error_errno("KVM_SET_XSAVE") : NULL;
}

/* ---- model-specific registers ----------------------------------------------------------------------------- */

static uint64_t *place_of(struct x86_cpu *x, uint32_t index, bool make)
{
    uint64_t *slot;
    if (x86_msr_slot(x, index, &slot))
        return slot;
    for (uint32_t i = 0; i < x->n_other_msrs; i++)
        if (x->other_msrs[i].index == index)
            return &x->other_msrs[i].value;
    if (!make || x->n_other_msrs == X86_N_OTHER_MSRS)
        return NULL;
    x->other_msrs[x->n_other_msrs] = (struct x86_other_msr){ index, 0 };
    return &x->other_msrs[x->n_other_msrs++].value;
}

/* As struct kvm_msrs, with a size. */
static void get_msrs(struct kvm_vcpu *k, struct x86_cpu *x)
{
    const struct isa *isa = isa_of(k);
    struct msr_batch *b = xcalloc(1, sizeof(*b));
    bool done[MAX_MSRS];
    for (size_t i = 0; i < isa->n_msrs; i++)
        b->entries[i].index = isa->msrs[i];
    move_msrs(k, KVM_GET_MSRS, b, isa->n_msrs, done);
    for (size_t i = 0; i < isa->n_msrs; i++) {
        uint64_t *to = done[i] ? place_of(x, isa->msrs[i], true) : NULL;
        if (to)
            *to = b->entries[i].data;
        if (done[i])
            mine(k)->known[i] = b->entries[i].data;
    }
    mine(k)->msrs_known = true;
    free(b);
}

/* Only what differs from what the kernel holds: a clock that was stopped with the VM goes on by itself, and
 * registers that only the kernel writes are left to it. */
static void set_msrs(struct kvm_vcpu *k, struct x86_cpu *x)
{
    const struct isa *isa = isa_of(k);
    struct isa_vcpu *m = mine(k);
    struct msr_batch *b = xcalloc(1, sizeof(*b));
    bool done[MAX_MSRS];
    size_t n = 0;
    for (size_t i = 0; i < isa->n_msrs; i++) {
        const uint64_t *from = place_of(x, isa->msrs[i], false);
        uint64_t value = from ? *from : 0; /* after reset the others are zero */
        if ((!from && !m->msrs_known) || (m->msrs_known && value == m->known[i]))
            continue;
        b->entries[n++] = (struct kvm_msr_entry){ .index = isa->msrs[i], .data = value };
    }
    if (n)
        move_msrs(k, KVM_SET_MSRS, b, n, done);
    for (size_t i = 0, e = 0; i < isa->n_msrs && e < n; i++)
        if (b->entries[e].index == isa->msrs[i]) {
            if (done[e])
                m->known[i] = b->entries[e].data;
            e++;
        }
    free(b);
}

/* ---- events and run state ---------------------------------------------------------------------------------- */

static struct error *get_events(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct kvm_vcpu_events e;
    if (ioctl(k->fd, KVM_GET_VCPU_EVENTS, &e) < 0)
        return error_errno("KVM_GET_VCPU_EVENTS");
    bool payload = e.flags & KVM_VCPUEVENT_VALID_PAYLOAD;
    x->events = (struct x86_events){
        .exception_injected = e.exception.injected,
        .exception_pending = payload && e.exception.pending,
        .exception = e.exception.nr & 31,
        .exception_has_error = e.exception.has_error_code,
        .exception_error = e.exception.error_code,
        .exception_has_payload = payload && e.exception_has_payload,
        .exception_payload = payload ? e.exception_payload : 0,
        .interrupt_injected = e.interrupt.injected,
        .interrupt_soft = e.interrupt.soft,
        .interrupt = e.interrupt.nr,
        .shadow_sti = e.interrupt.shadow & KVM_X86_SHADOW_INT_STI,
        .shadow_mov_ss = e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS,
        .nmi_injected = e.nmi.injected,
        .nmi_pending = e.nmi.pending,
        .nmi_masked = e.nmi.masked,
        .in_smm = e.smi.smm,
        .smi_pending = e.smi.pending,
        .smi_inside_nmi = e.smi.smm_inside_nmi,
        .latched_init = e.smi.latched_init,
        .triple_fault = e.flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT && e.triple_fault.pending,
        .sipi_vector = (uint8_t)e.sipi_vector,
    };
    k->cpu->in_smm = x->events.in_smm;
    return NULL;
}

static struct error *set_events(struct kvm_vcpu *k, const struct x86_cpu *x)
{
    const struct isa *isa = isa_of(k);
    const struct x86_events *s = &x->events;
    struct kvm_vcpu_events e = {
        .exception = { .injected = s->exception_injected,
                       .nr = s->exception,
                       .has_error_code = s->exception_has_error,
                       .pending = s->exception_pending,
                       .error_code = s->exception_error },
        .interrupt = { .injected = s->interrupt_injected,
                       .nr = s->interrupt,
                       .soft = s->interrupt_soft,
                       .shadow = (s->shadow_sti ? KVM_X86_SHADOW_INT_STI : 0) |
                                 (s->shadow_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0) },
        .nmi = { s->nmi_injected, s->nmi_pending, s->nmi_masked, 0 },
        .sipi_vector = s->sipi_vector,
        .smi = { s->in_smm, s->smi_pending, s->smi_inside_nmi, s->latched_init },
        .triple_fault.pending = s->triple_fault,
        .exception_has_payload = s->exception_has_payload,
        .exception_payload = s->exception_payload,
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
    };
    if (k->kvm->irqchip != IRQCHIP_USER)
        e.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
    if (isa->smm)
        e.flags |= KVM_VCPUEVENT_VALID_SMM;
    if (isa->payload)
        e.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
    if (isa->triple_fault)
        e.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
    return ioctl(k->fd, KVM_SET_VCPU_EVENTS, &e) < 0 ? error_errno("KVM_SET_VCPU_EVENTS") : NULL;
}

/* Without the kernel's APIC it knows nothing of HLT and start-up: core and before_run do. */
static struct error *get_run_state(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct kvm_mp_state s;
    struct kvm_lapic_state apic;
    if (k->kvm->irqchip == IRQCHIP_USER) {
        if (x->run_state == X86_RUNNABLE && k->cpu->halted)
            x->run_state = X86_HLT;
        return NULL;
    }
    if (ioctl(k->fd, KVM_GET_MP_STATE, &s) < 0)
        return error_errno("KVM_GET_MP_STATE");
    if (ioctl(k->fd, KVM_GET_LAPIC, &apic) < 0)
        return error_errno("KVM_GET_LAPIC");
    x->run_state = (uint8_t)MIN(s.mp_state, (uint32_t)X86_SIPI_TAKEN);
    memcpy(x->lapic, apic.regs, sizeof(x->lapic));
    memcpy(mine(k)->lapic, apic.regs, sizeof(x->lapic));
    mine(k)->run_state = x->run_state;
    mine(k)->apic_known = true;
    return NULL;
}

static struct error *set_run_state(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct kvm_mp_state s = { x->run_state };
    if (k->kvm->irqchip == IRQCHIP_USER) {
        if (x->run_state == X86_HLT) {
            k->cpu->halted = true;
            x->run_state = X86_RUNNABLE;
        }
        return NULL;
    }
    if (mine(k)->apic_known && mine(k)->run_state == x->run_state)
        return NULL;
    return ioctl(k->fd, KVM_SET_MP_STATE, &s) < 0 ? error_errno("KVM_SET_MP_STATE") : NULL;
}

/* Before the MSRs, which include its timer. */
static struct error *set_lapic(struct kvm_vcpu *k, const struct x86_cpu *x)
{
    struct kvm_lapic_state apic;
    if (k->kvm->irqchip == IRQCHIP_USER)
        return NULL;
    if (mine(k)->apic_known && !memcmp(mine(k)->lapic, x->lapic, sizeof(x->lapic)))
        return NULL;
    memcpy(apic.regs, x->lapic, sizeof(apic.regs));
    return ioctl(k->fd, KVM_SET_LAPIC, &apic) < 0 ? error_errno("KVM_SET_LAPIC") : NULL;
}

/* A guest hypervisor's affairs, in the kernel's form; nothing while it has none. */
static void get_nested(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct isa_vcpu *m = mine(k);
    size_t n = 0;
    struct kvm_nested_state *s = m->no_nested ? nested_now(k, &n) : NULL;
    free(x->nested);
    x->nested = NULL;
    x->n_nested = 0;
    m->is_nesting = s && (n != m->n_no_nested || memcmp(s, m->no_nested, n) != 0);
    if (m->is_nesting) {
        x->nested = (uint8_t *)s;
        x->n_nested = (uint32_t)n;
    } else {
        free(s);
    }
}

static struct error *set_nested(struct kvm_vcpu *k, const struct x86_cpu *x)
{
    struct isa_vcpu *m = mine(k);
    const struct kvm_nested_state *s = x->nested ? (void *)x->nested : m->no_nested;
    if (!x->nested && !m->is_nesting)
        return NULL;
    if (!m->no_nested || (x->nested && (x->n_nested < sizeof(*s) || s->size > x->n_nested)))
        return error_new("nested virtualization in this state is none that this host's KVM has");
    m->is_nesting = x->nested;
    return ioctl(k->fd, KVM_SET_NESTED_STATE, s) < 0 ? error_errno("KVM_SET_NESTED_STATE") : NULL;
}

static struct error *get(struct kvm_vcpu *k)
{
    struct x86_cpu *x = x86_of(k->cpu);
    struct error *err = get_gprs(k, x);
    err = err ? err : get_system(k, x);
    err = err ? err : get_debug(k, x);
    err = err ? err : get_xcr0(k, x);
    err = err ? err : get_vectors(k, x);
    err = err ? err : get_events(k, x);
    err = err ? err : get_run_state(k, x);
    if (!err)
        get_msrs(k, x);
    if (!err)
        get_nested(k, x);
    return err;
}

/* CR4 before XCR0, the APIC's base before its registers, these before its timer's MSR, events last: other
 * registers being set would discard them. */
static struct error *set(struct kvm_vcpu *k)
{
    struct x86_cpu *x = x86_of(k->cpu);
    struct error *err = set_system(k, x);
    err = err ? err : set_gprs(k, x);
    err = err ? err : set_xcr0(k, x);
    err = err ? err : set_vectors(k, x);
    err = err ? err : set_lapic(k, x);
    if (!err)
        set_msrs(k, x);
    err = err ? err : set_nested(k, x);
    err = err ? err : set_debug(k, x);
    err = err ? err : set_run_state(k, x);
    err = err ? err : set_events(k, x);
    kvm_x86_synic_changed(k, x->hv_scontrol, x->hv_simp, x->hv_siefp);
    mine(k)->apic_known = false;               /* the kernel goes on from here */
    k->run->ready_for_interrupt_injection = 0; /* of the last exit, which this is not */
    k->run->apic_base = x->apic_base;
    k->run->cr8 = mine(k)->cr8 = (uint8_t)x->cr8;
    return err;
}

/* Some kernels also make the guest see an invalid opcode. A guest's guest has memory of its own, which only KVM
 * knows: there that is all it gets. */
static bool may_lend(struct kvm_vcpu *k)
{
    enum { INVALID_OPCODE = 6 };
    const struct x86_cpu *x = x86_of(k->cpu);
    struct x86_events *e = &x86_of(k->cpu)->events;
    bool inner = x->nested && x->n_nested >= sizeof(struct kvm_nested_state) &&
                 ((struct kvm_nested_state *)x->nested)->flags & KVM_STATE_NESTED_GUEST_MODE;
    if (e->exception == INVALID_OPCODE || inner)
        e->exception_injected = e->exception_pending = false;
    if (!inner)
        return true;
    e->exception = INVALID_OPCODE;
    e->exception_pending = isa_of(k)->payload;
    e->exception_injected = !e->exception_pending;
    e->exception_has_error = e->exception_has_payload = false;
    return false;
}

/* ---- interrupts into the CPU ------------------------------------------------------------------------------- */

static void take_edges(struct kvm_vcpu *k, struct x86_cpu *x)
{
    uint32_t edges = atomic_fetch_and(&x->lines, ~(uint32_t)(X86_NMI | X86_SMI));
    if (edges & X86_NMI)
        ioctl(k->fd, KVM_NMI);
    if (edges & X86_SMI && isa_of(k)->smm)
        ioctl(k->fd, KVM_SMI);
}

/* INIT and start-up requests of a user-space APIC. */
static struct error *take_start_up(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct error *err = NULL;
    if (k->cpu->in_smm) /* they wait for its end */
        return NULL;
    uint32_t was = atomic_fetch_and(&x->lines, ~(uint32_t)(X86_INIT | X86_SIPI));
    if (!(was & (X86_INIT | X86_SIPI)) || (!(was & X86_INIT) && x->run_state != X86_INIT_TAKEN))
        return NULL;
    err = get(k);
    if (!err && was & X86_INIT)
        x86_init_signal(k->cpu);
    if (!err && was & X86_SIPI)
        x86_take_sipi(k->cpu, (uint8_t)x->sipi);
    return err ? err : set(k);
}

/* The vector is asked for only when the CPU can take it at once; else we hear when it can. */
static void offer_interrupt(struct kvm_vcpu *k, struct x86_cpu *x)
{
    struct kvm_run *run = k->run;
    if (x->apic && x86_has_interrupt(x) && run->ready_for_interrupt_injection && run->if_flag) {
        int vector = x->apic->acknowledge(x->apic_opaque);
        struct kvm_interrupt interrupt = { (uint32_t)vector };
        if (vector >= 0)
            ioctl(k->fd, KVM_INTERRUPT, &interrupt);
    }
    run->request_interrupt_window = x86_has_interrupt(x);
    if (k->kvm->irqchip == IRQCHIP_USER)
        run->cr8 = mine(k)->cr8 = x->apic ? x->apic->get_tpr(x->apic_opaque) : mine(k)->cr8;
}

static enum kvm_verdict before_run(struct kvm_vcpu *k)
{
    struct x86_cpu *x = x86_of(k->cpu);
    uint32_t lines = atomic_load(&x->lines);
    if (lines & (X86_NMI | X86_SMI))
        take_edges(k, x);
    if (k->kvm->irqchip != IRQCHIP_USER) {
        if (k->kvm->irqchip == IRQCHIP_SPLIT && x->apic)
            offer_interrupt(k, x);
        return KVM_GO_ON;
    }
    if (lines & (X86_INIT | X86_SIPI)) {
        struct error *err = take_start_up(k, x);
        if (err) {
            enum kvm_verdict verdict = kvm_failed(k, "%s", error_text(err));
            error_free(err);
            return verdict;
        }
    }
    if (x->run_state == X86_WAIT_INIT || x->run_state == X86_INIT_TAKEN)
        return KVM_HALTED;
    offer_interrupt(k, x);
    return KVM_GO_ON;
}

static void after_run(struct kvm_vcpu *k)
{
    k->cpu->in_smm = k->run->flags & KVM_RUN_X86_SMM;
    struct x86_cpu *x = x86_of(k->cpu);
    struct kvm_run *run = k->run;
    if (k->kvm->irqchip != IRQCHIP_USER)
        return;
    if (run->cr8 != mine(k)->cr8 && x->apic)
        x->apic->set_tpr(x->apic_opaque, (uint8_t)run->cr8);
    mine(k)->cr8 = (uint8_t)run->cr8;
    if (run->apic_base != x->apic_base) {
        x->apic_base = run->apic_base;
        if (x->apic)
            x->apic->set_base(x->apic_opaque, x->apic_base);
    }
    x->takes_intr = run->if_flag;
}

/* ---- exits ---------------------------------------------------------------------------------------------------- */

static bool handle(struct kvm_vcpu *k, enum kvm_verdict *verdict)
{
    struct kvm_run *run = k->run;
    switch (run->exit_reason) {
    case KVM_EXIT_HLT:
        if (x86_of(k->cpu)->run_state == X86_HLT)
            x86_of(k->cpu)->run_state = X86_RUNNABLE; /* core's halted says it */
        *verdict = KVM_HALTED;
        return true;
    case KVM_EXIT_X86_RDMSR:
    case KVM_EXIT_X86_WRMSR:
        kvm_x86_do_msr(k, run->exit_reason == KVM_EXIT_X86_WRMSR);
        k->unfinished = true;
        return true;
    case KVM_EXIT_HYPERV: kvm_x86_hyperv_exit(k); return true;
    case KVM_EXIT_IOAPIC_EOI: x86_end_of_interrupt(k->cpu->vm, run->eoi.vector); return true;
    case KVM_EXIT_DEBUG: *verdict = kvm_x86_debug_exit(k); return true;
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_X86_BUS_LOCK:
    case KVM_EXIT_NOTIFY: return true;
    default: return false;
    }
}

/* VMX: SDM 3-28.7 and appendix C, bit 31 marks an entry that failed; SVM: APM 2-15.5.1, all ones. */
static const char *entry_failure(uint64_t reason)
{
    static const struct {
        uint64_t reason;
        const char *what;
    } known[] = {
        { 0x80000021, "the guest's state is not one that a CPU can be in" },
        { 0x80000022, "a register to be loaded at the entry is wrong" },
        { 0x80000029, "a machine check" },
        { UINT64_MAX, "the guest's state is not one that a CPU can be in" },
        { UINT32_MAX, "the guest's state is not one that a CPU can be in" },
        { 7, "its own control fields are wrong" },
        { 8, "its host fields are wrong" },
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].reason == reason)
            return known[i].what;
    return NULL;
}

static const char *disassembler(struct vcpu *cpu)
{
    unsigned n = x86_code_bits(x86_of(cpu));
    return n == 64 ? "x86_64" : n == 32 ? "i386" : "i8086";
}

static const char *const hardware[] = { "vmx", "svm", NULL };

const struct kvm_isa kvm_isa = {
    .hardware = hardware,
    .target = "x86_64",
    .vm_init = vm_init,
    .vm_free = isa_free,
    .clock = vm_clock,
    .vcpu_id = vcpu_id,
    .vcpu_init = isa_vcpu_init,
    .vcpu_free = isa_vcpu_free,
    .get = get,
    .set = set,
    .get_general = get_general,
    .set_general = set_general,
    .may_lend = may_lend,
    .before_run = before_run,
    .after_run = after_run,
    .handle = handle,
    .code_address = x86_debug_translate,
    .disassembler = disassembler,
    .entry_failure = entry_failure,
    .set_debug = kvm_x86_set_debug,
    .step_ends = kvm_x86_step_ends,
    .step_interrupt = kvm_x86_step_interrupt,
    .is_helpers = kvm_x86_is_helpers,
    .is_as_far = kvm_x86_is_as_far,
    .irq_create = irq_create,
    .get_chips = kvm_x86_get_chips,
    .set_chips = kvm_x86_set_chips,
    .timer_taken = timer_taken,
    .pin_routes = pin_routes,
    .n_pins = KVM_IOAPIC_NUM_PINS,
    .msi_at = X86_APIC_BASE_DEFAULT,
    .msi_size = MIB,
    .dirty_ring_page = KVM_DIRTY_LOG_PAGE_OFFSET,
};
