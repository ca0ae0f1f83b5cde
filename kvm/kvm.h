/* Inside the KVM engine. The interface is the kernel's Documentation/virt/kvm/api.rst; its section numbers
 * are not stable, so names are cited. */
#pragma once

#include "core/accel.h"
#include "core/memory.h"
#include "core/vm.h"

#include <linux/kvm.h>
#include <sys/ioctl.h>

enum { KVM_N_TAKEOVERS = 64, KVM_N_REASONS = 64, KVM_MAX_LINES = 4096, KVM_MAX_PINS = 24 };

enum kvm_verdict {
    KVM_GO_ON, /* enter the guest again */
    KVM_LEAVE, /* return EXIT_KICKED: requests are to be looked at */
    KVM_HALTED,
    KVM_DEBUG,   /* a breakpoint or step of ours */
    KVM_STOPPED, /* the run is over; vm_request_end was called */
};

struct kvm_slot {
    bool used;
    uint8_t space; /* of addresses: 1 is that of system management mode */
    gpa at;
    uint64_t size;
    struct ram_block *ram;
    uint64_t off; /* in ram */
    uint32_t flags;
};
struct kvm_bell {
    gpa at;
    uint64_t value;
    unsigned size;
    bool match, is_port;
    int fd;
};
struct kvm_route {
    int fd; /* -1: unused */
    gpa at;
    uint32_t data;
    bool is_sint; /* of vCPU `at`, number `data`; else a message */
};

/* Behind vm->accel_data. */
struct kvm {
    struct vm *vm;
    int sys_fd, vm_fd;
    size_t run_size; /* of a vCPU's shared page(s) */

    pthread_mutex_t lock; /* slots, bells, routes */
    struct kvm_slot *slots;
    size_t n_slots;
    struct kvm_bell *bells;
    size_t n_bells;
    struct kvm_route pins[KVM_MAX_PINS]; /* split: what the I/O APIC's pins send; fd -1: nothing */
    struct kvm_route *routes;
    size_t n_routes;
    uint64_t generation[2]; /* of the memory views that the slots follow, by space */
    bool started; /* slots follow every change; before, the map of the start is all that counts */
    uint64_t ring_entries; /* of each vCPU's ring of written pages; 0: bitmaps tell */
    struct ram_block **logged; /* blocks whose writes are logged */
    size_t n_logged;

    /* Writes that the kernel collects instead of leaving the guest (mem_batch_writes). The lock is held
     * while devices are told of them: it comes before any device's. */
    pthread_mutex_t batch_lock;
    struct kvm_coalesced_mmio_ring *batch; /* in the first vCPU's shared pages; NULL: none */
    bool batches_ports;
    struct kvm_batch {
        gpa at;
        uint32_t size;
        bool is_port;
    } *batches;
    size_t n_batches;

    /* Keeping vCPUs out of the guest for a moment. */
    pthread_mutex_t pause_lock;
    pthread_cond_t pause_changed;
    _Atomic bool pausing;

    /* -accel kvm,... */
    bool pit, msr_filter, takeover;
    int irqchip;            /* enum irqchip, or -1: the best the board can do */
    struct mem_region *msi; /* where MSIs for in-kernel APICs go */

    /* Instructions that another engine executed, by name; the last entry takes all names that found no place. */
    pthread_mutex_t takeover_lock;
    struct kvm_takeover {
        const char *name;
        uint64_t n;
    } takeovers[KVM_N_TAKEOVERS];

    size_t xsave_size; /* x86 */
    void *isa;         /* the host instruction set's own */
    _Atomic uint64_t n_slot_changes, n_pauses, n_kicks, n_signals, n_batched;
};

/* Behind vcpu->engine. */
struct kvm_vcpu {
    struct vcpu *cpu;
    struct kvm *kvm;
    int fd;
    struct kvm_run *run; /* shared with the kernel */
    pthread_t thread;    /* the one that called run last */
    bool thread_ready;
    _Atomic bool in_guest;
    bool placed;     /* the kernel has arch's state already: place_all */
    bool down;       /* triple fault: waits for the reset */
    bool lent;       /* to another engine: arch is the truth */
    bool unfinished; /* the last exit's instruction ends with the next entry */
    struct kvm_dirty_gfn *ring; /* NULL: there is none */
    uint64_t ring_next;         /* under kvm->lock */
    struct vcpu_debug debug; /* as asked for */
    uint64_t undefined;      /* lock-step: flags of the step's instruction that may be anything */
    struct kvm_watch *watch; /* of the steps behind a leader; NULL: there were none */
    bool passes_point;       /* stopped at a breakpoint, and is to get over it */
    void *isa;

    struct kvm_counts {
        uint64_t exits[KVM_N_REASONS], ns[KVM_N_REASONS], guest_ns, interrupted, takeovers;
    } counts;
};

static inline struct kvm *kvm_of(const struct vm *vm)
{
    return vm->accel_data;
}
static inline struct kvm_vcpu *kvm_vcpu_of(const struct vcpu *cpu)
{
    return cpu->engine;
}

/* A step that ended at pc: is it to go on? */
static inline bool kvm_steps_on(const struct vcpu_debug *want, uint64_t pc)
{
    return pc - want->from < want->to - want->from;
}

int kvm_check(const struct kvm *kvm, int capability); /* 0: not there */
struct error *kvm_enable(struct kvm *kvm, int capability, uint64_t arg, const char *what);

void kvm_mutexes_init(struct kvm *kvm);
void kvm_mutexes_destroy(struct kvm *kvm);

/* slots.c */
void kvm_memory_changed(struct vm *vm, const struct mem_view *now);
/* Behind KVM_CREATE_VM, before all else: the RAM that is mapped already. */
struct error *kvm_memory_begin(struct kvm *kvm);
/* Before the first vCPU runs, and at each start: from now on the kernel's picture is kept up. */
void kvm_memory_start(struct kvm *kvm);
void kvm_dirty_log_started(struct vm *vm, struct ram_block *ram);
void kvm_dirty_log_sync(struct vm *vm, struct ram_block *ram);

/* Written pages by rings, where asked for and there; else bitmaps serve. Before vCPUs are made. */
struct error *kvm_dirty_ring_enable(struct kvm *kvm);
void kvm_dirty_ring_full(struct kvm_vcpu *k);
/* Tell devices of the writes that the kernel collected. vCPU's or main loop's thread, no lock held. */
void kvm_batch_flush(struct kvm *kvm);

/* stats.c */
void kvm_stats(struct vm *vm, void (*add)(void *opaque, const char *name, double value),
               void *opaque);

/* takeover.c */
/* Let another engine execute the instruction at which KVM gave up. False: none can, and nothing was done. vCPU's
 * thread. */
bool kvm_takeover(struct kvm_vcpu *k);

/* kvm.c: one stay in the guest and what follows from it. */
enum kvm_verdict kvm_enter(struct kvm_vcpu *k);
void kvm_use_thread(struct kvm_vcpu *k);

/* step.c: for lock-step, to where cpu->leader went. */
bool kvm_step_interrupt(struct vcpu *cpu);
enum vcpu_exit kvm_step(struct vcpu *cpu);
void kvm_watch_free(struct kvm_vcpu *k);

/* kvm.c: between these no vCPU is inside the guest. Not from inside run's entry. */
void kvm_pause_vcpus(struct kvm *kvm);
void kvm_continue_vcpus(struct kvm *kvm);

/* irq.c */
struct error *kvm_irq_create(struct kvm *kvm);
void kvm_pin_message(struct vm *vm, unsigned gsi, bool valid, gpa at, uint32_t data);
void kvm_irq_line(struct vm *vm, unsigned gsi, bool level);
void kvm_timer_taken(struct vm *vm, bool taken);
struct error *kvm_irq_update_routes(struct kvm *kvm);
struct error *kvm_get_chips(struct vm *vm, void *chips);
struct error *kvm_set_chips(struct vm *vm, const void *chips);
bool kvm_route_msi(struct vm *vm, int fd, bool on, gpa at, uint32_t data);
bool kvm_route_sint(struct vm *vm, bool on, int raise, int ended, unsigned vcpu, unsigned sint);

/* ---- one host instruction set ----------------------------------------------------------------- */
/* Functions may be NULL where that is said. All run on the vCPU's thread, or while it is stopped. */
struct kvm_isa {
    const char *target;
    /* Words of /proc/cpuinfo of which one is there where the processor does the work; NULL: always. */
    const char *const *hardware;
    struct error *(*vm_init)(struct kvm *kvm); /* after KVM_CREATE_VM, model chosen */
    void (*vm_free)(struct kvm *kvm);
    /* The paravirtual clock goes on from where it was (running), or its time is noted. */
    void (*clock)(struct kvm *kvm, bool running);
    uint32_t (*vcpu_id)(const struct vcpu *cpu); /* for KVM_CREATE_VCPU */
    struct error *(*vcpu_init)(struct kvm_vcpu *k);
    void (*vcpu_free)(struct kvm_vcpu *k);
    struct error *(*get)(struct kvm_vcpu *k);           /* kernel -> arch */
    struct error *(*set)(struct kvm_vcpu *k);           /* arch -> kernel */
    /* accel.get_general: in the middle of an access to a device. (May be NULL.) */
    void (*get_general)(struct kvm_vcpu *k);
    void (*set_general)(struct kvm_vcpu *k);
    /* Behind get, where KVM gave up at an instruction: take from arch what it did about that. False: this CPU is to
     * be lent to nobody, and arch says what the guest gets instead. (May be NULL: true.) */
    bool (*may_lend)(struct kvm_vcpu *k);
    enum kvm_verdict (*before_run)(struct kvm_vcpu *k); /* inject what waits */
    void (*after_run)(struct kvm_vcpu *k);
    /* An exit that kvm.c does not know; false: neither does this. */
    bool (*handle)(struct kvm_vcpu *k, enum kvm_verdict *verdict);
    /* What a KVM_EXIT_FAIL_ENTRY's reason means, or NULL. */
    const char *(*entry_failure)(uint64_t reason);
    struct error *(*set_debug)(struct kvm_vcpu *k, const struct vcpu_debug *want);
    /* For lock-step; all of it may be NULL: no follower. Behind get, what else belongs to a step's end, unless the
     * helper did that, too. An interrupt that is to be taken, acknowledged and queued: true. Instructions that are left to the helper, since what they
     * give is different each time or under a debugger. Whether a string instruction is where its leader's is. */
    void (*step_ends)(struct kvm_vcpu *k, bool by_helper);
    bool (*step_interrupt)(struct kvm_vcpu *k);
    bool (*is_helpers)(struct kvm_vcpu *k);
    bool (*is_as_far)(struct kvm_vcpu *k);
    /* For verdicts: where the instruction at pc is in memory; how to read it. */
    bool (*code_address)(struct vcpu *cpu, uint64_t pc, gpa *at);
    const char *(*disassembler)(struct vcpu *cpu);
    /* Interrupt controllers in the kernel, by kvm->irqchip; what their pins' numbers (GSIs) reach: fills
     * at most 3 * n_pins entries. */
    struct error *(*irq_create)(struct kvm *kvm);
    struct error *(*get_chips)(struct kvm *kvm, void *chips); /* the target's struct */
    struct error *(*set_chips)(struct kvm *kvm, const void *chips);
    void (*timer_taken)(struct kvm *kvm, bool taken); /* accel.timer_taken */
    uint32_t (*pin_routes)(struct kvm_irq_routing_entry *to);
    uint32_t n_pins;
    /* Where MSIs go that in-kernel controllers take; 0 size: none. */
    gpa msi_at;
    uint64_t msi_size;
    unsigned dirty_ring_page; /* where a vCPU's descriptor shows its ring; 0: nowhere */
};
extern const struct kvm_isa kvm_isa;
extern const char *const kvm_isa_own_fields[]; /* accel.own_fields */
extern const struct accel_synic kvm_synic;

/* kvm.c: do what the exit in k->run asks for; `from` is when the guest was left. vCPU's thread. */
enum kvm_verdict kvm_exit(struct kvm_vcpu *k, uint64_t from);

/* For kvm_isa.handle: the guest cannot go on; prints registers and code. */
enum kvm_verdict kvm_failed(struct kvm_vcpu *k, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
