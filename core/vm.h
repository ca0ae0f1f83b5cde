/* The virtual machine: everything hangs from here; there are no globals. */
#pragma once

#include "core/log.h"
#include "core/memory.h"

#include <pthread.h>
#include <stdatomic.h>

struct accel;
struct device;
struct device_global;
struct error;
struct clipboard;
struct faces;
struct events;
struct fds;
struct loop;
struct target;
struct vcpu;
struct mem;
struct timers;
struct vm_hook;
struct tape;

/* How a run ended: each has a name, an exit code and advice (docs/verdicts.md). */
enum verdict {
    VERDICT_NONE,
    VERDICT_POWERED_OFF,     /* the guest switched the machine off: exit 0 */
    VERDICT_GUEST_EXIT,      /* through a test device, with a code of its own */
    VERDICT_RESET,           /* reset with -no-reboot: exit 0 */
    VERDICT_QUIT,            /* the user: Ctrl-A x, quit: exit 0 */
    VERDICT_SIGNAL,          /* SIGTERM, SIGINT, SIGHUP: 128 + signal */
    VERDICT_ALL_HALTED,      /* every vCPU waits for an interrupt that cannot come */
    VERDICT_RESET_LOOP,      /* the guest resets over and over without progress */
    VERDICT_TRAP_LOOP,       /* a trap handler that faults on its own first instruction for ever */
    VERDICT_NO_BOOTABLE,     /* nothing to boot */
    VERDICT_ENGINE_FAILED,   /* the accelerator gave up */
    VERDICT_ENGINES_DIFFER,  /* in lock-step */
    VERDICT_GUEST_PANIC,     /* the guest's system crashed and said so */
    N_VERDICTS
};
struct verdict_info {
    const char *name, *what, *advice;
    int exit_code; /* -1: carried along (guest exit, signal) */
};
extern const struct verdict_info verdict_infos[N_VERDICTS];

/* Where interrupt controllers are modelled. */
enum irqchip {
    IRQCHIP_USER,   /* by devices; every board can do that */
    IRQCHIP_SPLIT,  /* those of the CPUs by the engine, others by devices */
    IRQCHIP_ENGINE, /* all by the engine: accel->irq_line */
};

/* A call to Hyper-V that its guest makes: code and input as TLFS 3 has them. */
struct hv_call {
    uint16_t code;
    bool fast; /* the input itself; else where in guest memory it is, and where the output goes */
    uint64_t input[2];
};

enum run_state { RUN_PRELAUNCH, RUN_RUNNING, RUN_PAUSED, RUN_ENDED };

/* Who wanted a reset or an end; names are QMP's (vm_cause_name). */
enum vm_cause {
    CAUSE_GUEST_RESET,
    CAUSE_GUEST_SHUTDOWN,
    CAUSE_GUEST_PANIC,
    CAUSE_HOST_QUIT,  /* a monitor's quit */
    CAUSE_HOST_RESET, /* a monitor's system_reset */
    CAUSE_HOST_SIGNAL,
    CAUSE_HOST_UI, /* a key or a window */
    CAUSE_HOST_ERROR,
};
const char *vm_cause_name(enum vm_cause cause);
static inline bool vm_cause_is_guest(enum vm_cause cause)
{
    return cause <= CAUSE_GUEST_PANIC;
}

/* Why a VM that is paused stands; it says so to query-status. */
enum vm_stop {
    STOP_USER,
    STOP_SHUTDOWN, /* the guest switched off and -no-shutdown keeps it: only a reset helps */
    STOP_PANIC,
    STOP_WATCHDOG,
    STOP_IO_ERROR,
    STOP_DEBUG,
    STOP_ERROR, /* the engine gave up: only a reset helps */
};

/* What to do when something happens (-action, set-action); the default is the first. no_reboot and
 * no_shutdown of struct vm are the answers to reset and shutdown. */
enum panic_action { PANIC_SHUTDOWN, PANIC_PAUSE, PANIC_EXIT_FAILURE, PANIC_NONE };
enum watchdog_action {
    WATCHDOG_RESET,
    WATCHDOG_SHUTDOWN, /* the power button */
    WATCHDOG_POWEROFF,
    WATCHDOG_PAUSE,
    WATCHDOG_DEBUG, /* only tell */
    WATCHDOG_NONE,
    WATCHDOG_INJECT_NMI,
};

struct vm {
    char *name, *uuid; /* uuid: NULL if none was given */
    int64_t rtc_offset_ns; /* -rtc base=: real-time clocks show the host's time plus this */
    struct log log;
    struct loop *loop;     /* the main loop */
    struct timers *timers; /* core/clock.c */
    struct events *events; /* core/event.c */
    struct fds *fds;       /* core/fdset.c */
    struct mem *mem;       /* core/memory.c */

    const struct target *target; /* guest CPU architecture */
    const struct accel *accel;   /* engine in charge */
    void *accel_data;            /* engine's per-VM state */
    const struct accel *_Atomic helper; /* another one that executes what it cannot; NULL: nobody yet */
    void *helper_data;           /* that one's */
    size_t helper_headroom;      /* what it would want below vcpu->arch; set by vm_create */
    void *lockstep;              /* the lockstep engine's, beside accel_data of the engine it steps */
    struct tape *tape;           /* core/tape.h: this VM or its shadow is in lock-step; else NULL */
    void *arch;                  /* target's per-VM state (CPU model, ...) or NULL */
    void *machine;               /* board's state */
    unsigned ram_flags;          /* RAM_*: what -object memory-backend-* says of the machine's memory */
    uint64_t ram_size;           /* bytes that the board was given; 0: there is no board */
    void *machine_remains;       /* its memory, freed last: lines of devices lead into it */
    uint8_t irqchips;            /* 1 << enum irqchip: what the board can do; before vm_create */
    enum irqchip irqchip;        /* set by vm_create; the board makes what is left to user space */

    bool can_smm;                /* x86: the engine's CPUs have system management mode; set by vm_create */
    bool has_smm;                /* and the board uses it; else no SMI reaches a CPU */

    struct vcpu **vcpus;
    unsigned n_vcpus;

    struct device *devices; /* list, in order of creation; changed while no vCPU runs */
    bool plugging;          /* devices that are made now are hot-plugged */
    struct device_global *globals; /* core/device.c: -global, in order */
    void *backends;         /* core/backends.c: drives, netdevs, chardevs, objects by id */
    void *display;          /* ui/display.c: screens and who looks at them; NULL: neither */
    struct clipboard *clipboard; /* core/clipboard.c: what guest and viewers share; NULL: nothing yet */
    struct faces *faces;    /* ui/faces.c: VNC servers, windows; NULL: none, and nothing was typed */

    /* Run control, under run_lock. */
    pthread_mutex_t run_lock;
    pthread_cond_t run_changed;
    enum run_state state;
    bool reset_wanted, no_reboot, no_shutdown;
    bool suspend_wanted, wake_wanted;
    bool can_suspend; /* the board's: its guest can sleep with memory kept (S3) */
    bool suspended;   /* it sleeps: vCPUs stand, clock and devices go on. Main loop's thread */
    bool waking;      /* during the reset that ends it: what was to be kept is kept */
    enum vm_cause reset_cause;
    enum vm_stop stopped_for; /* RUN_PAUSED */
    enum panic_action panic_action;
    enum watchdog_action watchdog_action;
    _Atomic enum verdict verdict;
    int exit_code;
    char verdict_detail[160];
    bool start_paused;           /* -S: vm_run does not start it */
    bool is_debugged;            /* who debugs wants to look at a guest that hangs: it does not end */
    bool was_reset;              /* power-on reset is done */
    unsigned n_early_resets;     /* in a row, each soon after the one before */
    uint64_t started_at_ns;      /* host clock */
    struct msi_route *msi_routes; /* those that the engine does not do */
    struct vm_hook *reset_hooks, *run_hooks, *power_hooks, *nmi_hooks, *debug_hooks;
    /* Calls to Hyper-V that the engine leaves to a device: their status. vCPU's thread. Set while no vCPU runs; NULL:
     * there are none. */
    uint16_t (*hv_call)(void *opaque, const struct hv_call *call);
    void *hv_opaque;
    int signal_fd; /* -1: signals are not ours */
    _Atomic unsigned n_asleep;   /* vCPUs that wait for an interrupt */

    /* Guest clock: now = host + offset while running, frozen_ns while not. */
    _Atomic int64_t clock_offset_ns;
    _Atomic uint64_t clock_frozen_ns;
    _Atomic bool clock_running;
    _Atomic uint64_t clock_held_ns; /* not 0: the time, for the moment (a step in lock-step) */

    _Atomic uint64_t n_guest_errors;
};

struct error *vm_new(struct vm **out);
/* Stops vCPUs and threads, frees devices in reverse order, memory, loop. */
void vm_free(struct vm *vm);

/* Start or continue, and stop: when vm_pause returns every vCPU stands at a safe point and the
 * clock stands. Main loop's thread. */
void vm_start(struct vm *vm);
/* vm_start's first step alone: the vCPUs have threads, parked. */
struct error *vm_start_threads(struct vm *vm);
void vm_pause(struct vm *vm);
/* The same as an act that is told to listeners (RESUME, STOP) and shown by query-status, in contrast to a
 * moment's halt for looking at something. vm_continue: error if only a reset can bring it back. */
void vm_stop(struct vm *vm, enum vm_stop why);
struct error *vm_continue(struct vm *vm);

/* Asked by devices, signals and users; any thread, device locks may be held. The main loop acts. */
void vm_request_reset(struct vm *vm); /* CAUSE_GUEST_RESET */
void vm_request_reset_for(struct vm *vm, enum vm_cause cause);
/* vm_stop, from any thread. */
void vm_request_stop(struct vm *vm, enum vm_stop why);
/* A watchdog expired: tell it and do what watchdog_action says. Any thread. */
void vm_watchdog_expired(struct vm *vm);
/* The guest falls asleep with memory kept, if the board has that; and it wakes, which is a reset but for memory
 * (vm->waking). Who does not sleep is not woken. */
void vm_request_suspend(struct vm *vm);
void vm_request_wake(struct vm *vm);
/* The first request counts. `detail` may be NULL. */
void vm_request_end(struct vm *vm, enum verdict verdict, int exit_code, const char *detail);

/* Run the main loop until the run ends; returns the verdict's exit code. Prints nothing. */
int vm_run(struct vm *vm);
/* Reset all devices and vCPUs (main loop, vCPUs stopped). The board's reset hook reloads images. */
void vm_reset(struct vm *vm);
/* Called by vm_reset after the devices: the board's chance to load images and place vCPUs. */
void vm_on_reset(struct vm *vm, void (*fn)(void *opaque), void *opaque);

/* Told when the VM starts (true) and when it was stopped (false: vCPUs stand; finish what is under way
 * and touch guest memory no more). Main loop's thread. */
void vm_on_run(struct vm *vm, void (*fn)(void *opaque, bool running), void *opaque);
/* A board's power button: called when the user presses it. Main loop's thread. */
void vm_on_power_button(struct vm *vm, void (*fn)(void *opaque), void *opaque);
/* Inject a non-maskable interrupt as the board does it (inject-nmi). Main loop's thread. */
void vm_on_nmi(struct vm *vm, void (*fn)(void *opaque), void *opaque);
bool vm_inject_nmi(struct vm *vm); /* false: this board has none */
/* Press it. False if this board has none. Main loop's thread. */
bool vm_press_power_button(struct vm *vm);
/* A vCPU stopped at a point or behind a step (vcpu.debug_stop says which), and so did the VM: STOP_DEBUG. Who
 * looks at it clears debug_stop; until then the vCPU stands, whatever the others do. Main loop's thread. */
void vm_on_debug(struct vm *vm, void (*fn)(void *opaque), void *opaque);
void vm_debug_stopped(struct vm *vm); /* for core/vcpu.c */
/* Forget the hooks with this opaque. */
void vm_forget(struct vm *vm, void *opaque);
/* SIGTERM, SIGINT and SIGHUP end this VM's run with a verdict from now on. Before other threads are
 * made: they inherit the mask. */
struct error *vm_catch_signals(struct vm *vm);
/* A vCPU fell asleep and nothing is seen that could wake it: have the main loop look. Any thread. */
void vm_check_all_halted(struct vm *vm);
/* Could something other than a vCPU still raise an interrupt? Any thread, conservative. */
bool vm_has_wake_source(const struct vm *vm);

/* Send a message-signalled interrupt: a 32-bit write by a device. Any thread. */
void vm_send_msi(struct vm *vm, gpa address, uint32_t data);
/* Each signal of eventfd `fd` (EFD_NONBLOCK) sends this MSI until vm_unroute_msi. Any thread. */
void vm_route_msi(struct vm *vm, int fd, gpa address, uint32_t data);
void vm_unroute_msi(struct vm *vm, int fd);
