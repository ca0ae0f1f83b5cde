/* A virtual CPU: one host thread, an engine, a target's register state. */
#pragma once

#include "core/state.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct error;
struct mem_reader;
struct target_debug;
struct target_paging;
struct vcpu_work;
struct vm;

/* Why an engine's run() returned. */
enum vcpu_exit {
    EXIT_KICKED,   /* somebody called kick, or a request is pending */
    EXIT_HALTED,   /* waits for an interrupt (WFI); the engine already saw none pending */
    EXIT_DEBUG,    /* breakpoint or single-step finished */
    EXIT_SHUTDOWN, /* the vCPU ended the run itself (vm_request_end was called) */
    EXIT_FAILED,   /* engine failure; vm_request_end was called with the reason */
};

/* What a debugger asks of a vCPU. */
enum { VCPU_MAX_POINTS = 128 };
struct vcpu_debug {
    bool step; /* stop behind each instruction, or where an exception or interrupt leads, */
    uint64_t from, to;    /* but go on while the pc (as target.pc) is in [from, to) */
    bool hold_interrupts; /* while it steps: take none */
    bool before;          /* stop before an access that is watched, and not behind the instruction */
    unsigned n;
    struct vcpu_point {
        enum { POINT_EXECUTE, POINT_WRITE, POINT_ACCESS, POINT_READ } kind;
        uint8_t size; /* of the data watched: 1, 2, 4 or 8, and `at` is a multiple of it */
        uint64_t at;  /* virtual address; for POINT_EXECUTE what target.pc shows */
    } points[VCPU_MAX_POINTS];
};
enum { VCPU_STEPPED = -1 }; /* vcpu.debug_hit: no point, a step */

struct vcpu {
    struct vm *vm;
    unsigned index;
    void *arch; /* the target's state struct; truth while stopped, the engine's while running */
    void *engine; /* engine's per-vCPU state, directly below arch for an engine with headroom */
    pthread_t thread;
    bool thread_started;
    pthread_t self;          /* as the thread sees itself, while is_alive */
    _Atomic bool is_alive;
    int tid;                 /* as the host's kernel numbers it; 0 before its thread was started */

    /* Anything to look at between units or guest entries. Set by any thread, then kick. */
    _Atomic uint32_t requests;
    /* Not zero: leave generated code or the guest soon. In generated code's reach. */
    _Atomic uint32_t *exit_flag;

    pthread_mutex_t lock; /* guards the wait, stopped and the posted work; a leaf */
    pthread_cond_t wake, parked;
    _Atomic bool halted;      /* waits for an interrupt; written by the vCPU's thread or while stopped */
    _Atomic bool sleeping;    /* inside the wait: wants a signal */
    _Atomic bool powered_off; /* waits for a start (SBI HSM, PSCI), whatever is pending */
    bool never_wakes;         /* as of the last halt: no interrupt is enabled that could wake it */
    /* For a halt that there is no reason for (an interrupt is pending): stay asleep for this long all
     * the same, unless something new comes. Set by the target as it halts. */
    uint64_t nap_ns;
    bool stopped;             /* parked: arch is the truth */
    bool held;                /* a debugger keeps it standing while others run. Main loop's thread */
    bool holds_interrupts;    /* a debugger steps: targets take none. vCPU's thread or while stopped */
    _Atomic bool debug_stop;  /* EXIT_DEBUG, which nobody has looked at yet: it stands (vm_on_debug) */
    bool in_smm; /* sees what is mapped by mem_map_smm; follows arch, set on its own thread or while stopped */
    int debug_hit;            /* as of the last EXIT_DEBUG: the number of the point, or VCPU_STEPPED */
    struct vcpu *leader;      /* lock-step: has executed the step that this one is about to; NULL: none */
    struct vcpu_work *work, **work_end;
    struct mem_reader *reader;

    struct vcpu_counts {
        uint64_t runs, halts, halted_ns;
        uint64_t interrupts, exceptions; /* taken by the guest; exceptions where the engine sees them */
    } counts;
};

enum {
    VCPU_REQ_STOP = 1 << 0,      /* park until it is cleared */
    VCPU_REQ_WORK = 1 << 1,      /* vcpu_post */
    VCPU_REQ_INTERRUPT = 1 << 2, /* look at the lines; an engine may clear it before it looks */
    VCPU_REQ_QUIT = 1 << 3,      /* end the thread */
    VCPU_REQ_SYNC = 1 << 4,      /* return from run() once: somebody waits for that (mem_sync) */
};

/* Who is told about a model. */
enum cpu_feature_state {
    CPU_FEATURE_OFF,
    CPU_FEATURE_ON,
    CPU_FEATURE_MISSING, /* the model has it, but the engine cannot give it */
};
struct cpu_feature_sink {
    void (*add)(void *opaque, const char *name, enum cpu_feature_state state);
    void (*add_value)(void *opaque, const char *name, const char *text, int64_t number); /* text NULL: number */
    void *opaque;
};

/* What core and boards ask of a guest CPU architecture (target/<isa>/). Engines know more: the
 * translator has struct tcg_target beside this one. */
struct target {
    const char *name;      /* "riscv64" */
    size_t arch_size;      /* of *vcpu->arch */
    struct field_list state;
    uint16_t state_version;
    bool has_ports; /* IN and OUT: memory has a second space (mem_map_ports) */
    /* Parse "-cpu MODEL,flag=on": fills vm->arch. NULL model: default. */
    struct error *(*cpu_model)(struct vm *vm, const char *model);
    void (*cpu_help)(void (*print)(void *opaque, const char *line), void *opaque);
    /* For management (QMP); all of it NULL: there is nothing to tell. cpu_type is what a model's name is followed
     * by as a type: "riscv-cpu". Every model, and the name that it is another one for. */
    const char *cpu_type, *default_cpu;
    void (*cpu_models)(void (*add)(void *opaque, const char *name, const char *alias_of),
                       void *opaque);
    /* Features of -cpu TEXT as the VM's engine can give them; NULL: those of this VM's CPUs. Numbers and texts that
     * make up a model, too, for add_value. Main loop's thread. */
    struct error *(*cpu_features)(struct vm *vm, const char *text, const struct cpu_feature_sink *to);
    void (*vcpu_init)(struct vcpu *cpu);  /* once */
    void (*vcpu_free)(struct vcpu *cpu);
    void (*vcpu_reset)(struct vcpu *cpu); /* to power-on; vCPU stopped */
    /* Its state list was loaded: recompute what follows from it. vCPU stopped. */
    void (*vcpu_loaded)(struct vcpu *cpu);
    /* Is an interrupt pending that would wake (WFI) or be taken? Any thread; takes no lock. */
    bool (*has_work)(struct vcpu *cpu);
    /* The vCPU halted: could any interrupt wake it, or are all disabled at their source? vCPU's
     * thread. NULL: one always could. */
    bool (*can_wake)(struct vcpu *cpu);
    /* Lock-step. What wires drive: to be the same in a second CPU that they do not reach. NULL: nothing. */
    uint64_t (*inputs)(const struct vcpu *cpu);
    void (*set_inputs)(struct vcpu *cpu, uint64_t inputs);
    /* `shadow` is to execute what `real` executes: what `real` gets from devices other than by memory and ports
     * goes by way of the tape (core/tape.h). Error: more than can be followed. NULL: there is no such. */
    struct error *(*follow)(struct vcpu *real, struct vcpu *shadow);
    void (*print)(struct vcpu *cpu, void (*print)(void *opaque, const char *line), void *opaque);
    uint64_t (*pc)(struct vcpu *cpu);
    /* Virtual to physical as the running code's mode sees it, without rights and side effects: for debugging.
     * False: nothing is mapped. vCPU stopped. */
    bool (*translate)(struct vcpu *cpu, uint64_t va, uint64_t *physical);
    const struct target_debug *debug; /* core/debug.h: the registers of a debugger */
    const struct target_paging *paging; /* core/paging.h; NULL: its page tables cannot be shown */
    /* What core/disas.h calls the code that the CPU executes now; NULL: the target's name. vCPU stopped. */
    const char *(*isa)(struct vcpu *cpu);
    void (*vm_free)(struct vm *vm); /* frees vm->arch */
};

/* Make vCPU `index` with the VM's target and engine and put it into vm->vcpus; indices are used in
 * order from 0. Its thread starts with vm_start. */
struct error *vcpu_new(struct vm *vm, unsigned index, struct vcpu **out);
void vcpu_free(struct vcpu *cpu);

/* The vCPU whose thread calls, or NULL. */
struct vcpu *vcpu_current(const struct vm *vm);

/* An interrupt line or other input of this vCPU changed: wake it and make it look. Any thread. */
void vcpu_interrupt(struct vcpu *cpu);
/* Run fn on the vCPU's thread between two instructions, all its registers in arch; do not wait. */
void vcpu_post(struct vcpu *cpu, void (*fn)(struct vcpu *cpu, void *opaque), void *opaque);
/* Come by a quiescent point soon (mem_sync). Any thread. */
void vcpu_ask_sync(struct vcpu *cpu);
/* Make the engine look at the requests soon. Any thread. */
void vcpu_kick(struct vcpu *cpu);
/* Wait until has_work (then it is no longer halted) or a request. The vCPU's own thread. */
void vcpu_wait(struct vcpu *cpu);
/* Power on a vCPU that is powered off, or the reverse, which takes effect when it next leaves the
 * engine. Any thread. */
void vcpu_set_powered(struct vcpu *cpu, bool on);

/* For core/vm.c. Main loop's thread: start the thread; let it run; ask it to park; wait until it has;
 * end the thread. */
struct error *vcpu_start_thread(struct vcpu *cpu);
void vcpu_resume(struct vcpu *cpu);
void vcpu_ask_stop(struct vcpu *cpu);
void vcpu_wait_stopped(struct vcpu *cpu);
void vcpu_end_thread(struct vcpu *cpu);
