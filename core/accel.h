/* The engine interface. A function marked (may be NULL) is so where an engine has nothing to do there. */
#pragma once

#include "core/util.h"
#include "core/vcpu.h"

struct error;
struct mem_view;
struct ram_block;
struct vm;

/* The code that step is about to execute. */
struct vcpu_code {
    const uint8_t *at;
    uint64_t pc; /* of its first byte */
    unsigned n;  /* bytes */
};
enum { STEP_WAITS = -1 };

/* Hyper-V's synthetic interrupt controllers, inside an engine (TLFS 11). */
struct accel_synic {
    /* NULL, or why this VM's vCPUs have none. */
    struct error *(*available)(struct vm *vm);
    /* Each signal of eventfd `raise` requests source `sint` of vCPU number `vcpu` (on), or no more. The engine signals
     * `ended` (-1: nobody wants to know) when the guest is through with an interrupt or a message. False: it cannot. Any
     * thread. */
    bool (*route)(struct vm *vm, bool on, int raise, int ended, unsigned vcpu, unsigned sint);
    /* Where the guest wants this vCPU's messages and events: whole pages; SYNIC_NOWHERE: it does not. Any thread. */
    void (*pages)(struct vcpu *cpu, gpa *messages, gpa *events);
};
#define SYNIC_NOWHERE UINT64_MAX

struct accel {
    const char *name;     /* "tcg", "kvm" */
    bool dear_exits;      /* leaving the guest costs more than waking another thread: ring doorbells */
    bool can_step;        /* step_interrupt, step_prepare and step are there */
    bool can_follow;      /* step_interrupt and step are there, for a vCPU with a leader, one instruction at a time */
    /* can_follow: fields of target.state that the engine keeps in a way of its own; NULL ends them. */
    const char *const *own_fields;
    bool makes_code_late; /* it may ask for memory that runs when the machine does: the sandbox leaves that */
    bool only_when_asked; /* never chosen by who names no engine */
    const struct accel_synic *synic; /* NULL: there are none */
    size_t vcpu_headroom; /* bytes the engine wants directly below vcpu->arch, 4 KiB multiple */
    /* Can this host serve a guest of this architecture? NULL, or the reason why not. */
    struct error *(*available)(const char *target_name);
    /* NULL, or why an engine that can serve is better not chosen by who names none (may be NULL: no reason). */
    struct error *(*reservation)(void);
    /* `options` is the text behind the name in -accel NAME,key=value,...; may be NULL. */
    struct error *(*vm_create)(struct vm *vm, const char *options);
    void (*vm_destroy)(struct vm *vm);
    struct error *(*vcpu_create)(struct vcpu *cpu); /* any thread, before its thread runs */
    void (*vcpu_destroy)(struct vcpu *cpu);
    enum vcpu_exit (*run)(struct vcpu *cpu); /* vCPU's thread: until somebody else must decide */
    void (*kick)(struct vcpu *cpu);          /* any thread: make run() return soon */
    void (*get_state)(struct vcpu *cpu);     /* engine -> arch; vCPU is stopped */
    void (*set_state)(struct vcpu *cpu);     /* arch -> engine; vCPU is stopped */
    /* While a device answers an access by this vCPU: its general registers, engine -> arch and back. vCPU's
     * thread. (May be NULL: then they are in arch.) */
    void (*get_general)(struct vcpu *cpu);
    void (*set_general)(struct vcpu *cpu);
    /* The flat view or a doorbell was changed, on any thread, a vCPU's own included: forget what was
     * cached of the old view before a vCPU goes on (at the latest when run() is entered again). Need
     * not wait: core kicks the vCPUs and waits until each has returned from run() or sleeps. */
    void (*memory_changed)(struct vm *vm, const struct mem_view *now);
    /* Guest RAM that holds translated code (PAGE_HAS_CODE) was written from outside the engine.
     * (May be NULL: it never sets that flag.) */
    void (*code_written)(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n);
    /* Somebody set PAGE_LOG_DIRTY on pages: writes are seen once every vCPU has passed a quiescent point, for which
     * the caller waits (mem_sync). */
    void (*dirty_log_started)(struct vm *vm, struct ram_block *ram);
    /* Before somebody reads which PAGE_LOG_DIRTY bits are left: clear those of pages that were written,
     * where that is not done at once. Any thread. (May be NULL: it always is.) */
    void (*dirty_log_sync)(struct vm *vm, struct ram_block *ram);
    /* The next six may be NULL in an engine without interrupt controllers: vm->irqchip is then neither.
     * With vm->irqchip IRQCHIP_ENGINE: drive an input of its controllers. Any thread, device locks may
     * be held. */
    void (*irq_line)(struct vm *vm, unsigned gsi, bool level);
    /* With IRQCHIP_ENGINE on a PC: an HPET has taken the place of the engine's 8254, which raises no interrupt 0
     * meanwhile, or gives it back. Any thread, device locks may be held. */
    void (*timer_taken)(struct vm *vm, bool taken);
    /* With IRQCHIP_SPLIT: what pin `gsi` of the I/O APIC sends now (valid), or that it sends nothing, so that
     * the CPUs' controllers know whose end of interrupt is asked for. Any thread, no device lock held. */
    void (*pin_message)(struct vm *vm, unsigned gsi, bool valid, gpa at, uint32_t data);
    /* Signal of eventfd `fd` sends this MSI (on), or no more. False: the engine cannot, core does. */
    bool (*route_msi)(struct vm *vm, int fd, bool on, gpa at, uint32_t data);
    /* With IRQCHIP_SPLIT and IRQCHIP_ENGINE: the registers of the engine's controllers that belong to no one
     * CPU, in the target's struct (x86: struct x86_chips), to and fro. Main loop's thread, VM stopped. */
    struct error *(*get_chips)(struct vm *vm, void *chips);
    struct error *(*set_chips)(struct vm *vm, const void *chips);
    /* Where a debugger wants this vCPU to stop from now on (run then returns EXIT_DEBUG); `want` replaces
     * what was before. Error: more than the engine can. vCPU stopped. */
    struct error *(*set_debug)(struct vcpu *cpu, const struct vcpu_debug *want);
    /* How this engine executes the code at pc, line by line, for people. All vCPUs stopped. */
    void (*explain)(struct vcpu *cpu, uint64_t pc, void (*print)(void *opaque, const char *line),
                    void *opaque);
    /* Helping another engine, which is in charge, with what it cannot execute: get ready for that (once; sets
     * vm->helper and helper_data), or say why not; and let go of it all (no vCPU runs). Meanwhile only
     * execute_one, kick and stats are called. (All three may be NULL: it helps nobody.) */
    struct error *(*help_start)(struct vm *vm);
    void (*help_end)(struct vm *vm);
    /* The instruction at which that engine gave up: execute it, from arch to arch, with whatever it does to memory
     * and devices, or deliver the exception that it raises. Gives its name, a constant. NULL: this engine cannot
     * either, and changed nothing. cpu->halted: the CPU shut itself down. vCPU's thread, all vCPUs at a time. */
    const char *(*execute_one)(struct vcpu *cpu);
    /* For lock-step; vCPU's thread, arch is the truth before and after each. Take an interrupt if one is to be
     * taken: then true. */
    bool (*step_interrupt)(struct vcpu *cpu);
    /* Find what to execute next: at most `most` instructions, straight on or forwards. Their number, and where
     * they are; 0: an exception was raised instead, which is a step of its own; STEP_WAITS: the CPU stands
     * still. May be repeated with fewer. */
    int (*step_prepare)(struct vcpu *cpu, unsigned most, struct vcpu_code *code);
    /* Execute that, heeding no kick. EXIT_KICKED, or EXIT_HALTED behind an instruction that waits. */
    enum vcpu_exit (*step)(struct vcpu *cpu);
    void (*print_help)(void (*print)(void *opaque, const char *line), void *opaque);
    /* Lines for -stats: name, value. */
    void (*stats)(struct vm *vm, void (*add)(void *opaque, const char *name, double value),
                  void *opaque);
};

extern const struct accel tcg_accel, kvm_accel; /* kvm_accel: Linux on some hosts */
extern const struct accel lockstep_accel;         /* two of the others */

/* Every engine of this build, in order of preference (core knows only the list). */
extern const struct accel *const accels[];
extern const size_t n_accels;
