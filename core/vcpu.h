/* A virtual CPU: one host thread, an engine, a target's register state. */
#pragma once

#include "core/state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct error;
struct vm;

/* Why an engine's run() returned. */
enum vcpu_exit {
    EXIT_KICKED,   /* somebody called kick, or a request is pending */
    EXIT_HALTED,   /* waits for an interrupt (WFI); the engine already saw none pending */
    EXIT_DEBUG,    /* breakpoint or single-step finished */
    EXIT_SHUTDOWN, /* the vCPU ended the run itself (vm_request_end was called) */
    EXIT_FAILED,   /* engine failure; vm_request_end was called with the reason */
};

struct vcpu {
    struct vm *vm;
    unsigned index;
    void *arch; /* the target's state struct; truth while stopped, the engine's while running */
    void *engine; /* engine's per-vCPU state, directly below arch for an engine with headroom */
    pthread_t thread;
    bool thread_started;

    /* Anything to look at between units or guest entries. Set by any thread, then kick. */
    _Atomic uint32_t requests;
    /* Not zero: leave generated code or the guest soon. In generated code's reach. */
    _Atomic uint32_t *exit_flag;

    pthread_mutex_t lock; /* guards halted and the wait */
    pthread_cond_t wake;
    bool halted, stopped, powered_off; /* powered_off: waits for a start (SBI HSM, PSCI) */

    struct vcpu_counts {
        uint64_t runs, halts, halted_ns;
    } counts;
};

enum { VCPU_REQ_STOP = 1 << 0, VCPU_REQ_WORK = 1 << 1, VCPU_REQ_INTERRUPT = 1 << 2 };

/* What core and boards ask of a guest CPU architecture (target/<isa>/). Engines know more: the
 * translator has struct tcg_target beside this one. */
struct target {
    const char *name;      /* "riscv64" */
    size_t arch_size;      /* of *vcpu->arch */
    struct field_list state;
    uint16_t state_version;
    /* Parse "-cpu MODEL,flag=on": fills vm->arch. NULL model: default. */
    struct error *(*cpu_model)(struct vm *vm, const char *model);
    void (*cpu_help)(void (*print)(void *opaque, const char *line), void *opaque);
    void (*vcpu_init)(struct vcpu *cpu);  /* once */
    void (*vcpu_free)(struct vcpu *cpu);
    void (*vcpu_reset)(struct vcpu *cpu); /* to power-on; vCPU stopped */
    /* Is an interrupt pending that would wake (WFI) or be taken? Any thread. */
    bool (*has_work)(struct vcpu *cpu);
    void (*print)(struct vcpu *cpu, void (*print)(void *opaque, const char *line), void *opaque);
    uint64_t (*pc)(struct vcpu *cpu);
    void (*vm_free)(struct vm *vm); /* frees vm->arch */
};

/* Make vCPU `index` with the VM's target and engine. Its thread starts with vm_start. */
struct error *vcpu_new(struct vm *vm, unsigned index, struct vcpu **out);
void vcpu_free(struct vcpu *cpu);

/* An interrupt line or other input of this vCPU changed: wake it and make it look. Any thread. */
void vcpu_interrupt(struct vcpu *cpu);
/* Run fn on the vCPU's thread between two instructions, all its registers in arch; do not wait. */
void vcpu_post(struct vcpu *cpu, void (*fn)(struct vcpu *cpu, void *opaque), void *opaque);
/* Leave the engine soon; requests stay as they are. Any thread. */
void vcpu_kick(struct vcpu *cpu);
/* Wait until has_work, a request, or stop. The vCPU's own thread. */
void vcpu_wait(struct vcpu *cpu);
