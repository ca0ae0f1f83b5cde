/* The virtual machine: its life, running and stopping, resets, verdicts. */
#include "core/vm.h"

#include "core/accel.h"
#include "core/backends.h"
#include "core/clipboard.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/error.h"
#include "core/event.h"
#include "core/fdset.h"
#include "core/loop.h"
#include "core/vcpu.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

/* A guest that resets this many times in a row, each within this time of its start, makes no
 * progress: firmware needs longer to get anywhere. */
enum { EARLY_RESETS = 64 };
#define EARLY_NS (NS_PER_S / 4)

const struct verdict_info verdict_infos[N_VERDICTS] = {
    [VERDICT_NONE] = { "none", "the run has not ended", "", 0 },
    [VERDICT_POWERED_OFF] = { "powered off", "the guest switched the machine off", "", 0 },
    [VERDICT_GUEST_EXIT] = { "guest exit", "the guest ended the run with a code of its own", "",
                             -1 },
    [VERDICT_RESET] = { "reset", "the guest asked for a reset, and -no-reboot is given",
                        "leave out -no-reboot to let it start again", 0 },
    [VERDICT_QUIT] = { "quit", "the user ended the run", "", 0 },
    [VERDICT_SIGNAL] = { "signal", "a signal ended the run", "", -1 },
    [VERDICT_ALL_HALTED] = { "all halted",
                             "every vCPU waits for an interrupt, and none can come any more",
                             "-d int shows the last exceptions; the guest's console may say more",
                             30 },
    [VERDICT_RESET_LOOP] = { "reset loop", "the guest resets over and over and gets nowhere",
                             "-no-reboot ends at the first reset, -d int,exec shows what led to it",
                             31 },
    [VERDICT_TRAP_LOOP] = { "trap loop",
                            "a trap handler faults on its own first instruction for ever",
                            "-d int shows the first trap; is the image loaded where it was linked?",
                            32 },
    [VERDICT_NO_BOOTABLE] = { "no bootable disk", "nothing was found to boot",
                              "give a bootable image, or -kernel FILE", 33 },
    [VERDICT_ENGINE_FAILED] = { "engine failed", "the accelerator could not go on",
                                "try the other one with -accel, and please report it", 34 },
    [VERDICT_ENGINES_DIFFER] = { "engines differ",
                                 "two engines in lock-step came to different results",
                                 "the report above says where; a unit test is the next step", 36 },
    [VERDICT_GUEST_PANIC] = { "guest panic", "the guest's system crashed and said so",
                              "its last words are on its console", 35 },
};

/* Something to call at a reset (reset set) or when the VM starts and stops (run set). */
struct vm_hook {
    void (*call)(void *opaque); /* reset, power button */
    void (*run)(void *opaque, bool running);
    void *opaque;
    struct vm_hook *next;
};

/* A route that the main loop serves. */
struct msi_route {
    struct vm *vm;
    int fd;
    gpa address;
    uint32_t data;
    struct msi_route *next;
};

/* ---- life ----------------------------------------------------------------------------------- */

struct error *vm_new(struct vm **out)
{
    struct vm *vm = xcalloc(1, sizeof(*vm));
    vm->log.fd = 2;
    vm->signal_fd = -1;
    struct error *err = loop_new(&vm->loop);
    if (err) {
        free(vm);
        return err;
    }
    pthread_mutex_init(&vm->run_lock, NULL);
    pthread_cond_init(&vm->run_changed, NULL);
    vm->mem = mem_new(vm);
    vm->timers = timers_new(vm);
    vm->events = events_new(vm);
    mem_use_loop(vm, vm->loop);
    *out = vm;
    return NULL;
}

static void free_hooks(struct vm_hook *h)
{
    while (h) {
        struct vm_hook *next = h->next;
        free(h);
        h = next;
    }
}

/* Youngest first: a device may hang from an older one. */
static void free_devices(struct vm *vm)
{
    while (vm->devices) {
        struct device *last = vm->devices;
        while (last->next)
            last = last->next;
        device_free(last);
    }
}

static void free_vcpus(struct vm *vm)
{
    while (vm->n_vcpus)
        vcpu_free(vm->vcpus[--vm->n_vcpus]);
    free(vm->vcpus);
    vm->vcpus = NULL;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    vm_pause(vm);
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        vcpu_end_thread(vm->vcpus[i]);
    free_devices(vm);
    device_free_globals(vm);
    if (vm->helper)
        vm->helper->help_end(vm);
    free_vcpus(vm);
    if (vm->accel)
        vm->accel->vm_destroy(vm);
    if (vm->target)
        vm->target->vm_free(vm);
    backends_free(vm);
    clipboard_free(vm);
    if (vm->signal_fd >= 0)
        close(vm->signal_fd);
    loop_sync(vm->loop); /* what was posted may still look at the VM */
    timers_free(vm->timers);
    events_free(vm->events);
    fds_free(vm);
    mem_free(vm->mem);
    loop_free(vm->loop);
    free_hooks(vm->reset_hooks);
    while (vm->msi_routes) {
        struct msi_route *r = vm->msi_routes;
        vm->msi_routes = r->next;
        free(r);
    }
    free_hooks(vm->run_hooks);
    free_hooks(vm->power_hooks);
    free_hooks(vm->nmi_hooks);
    free_hooks(vm->debug_hooks);
    pthread_mutex_destroy(&vm->run_lock);
    pthread_cond_destroy(&vm->run_changed);
    if (vm->log.fd > 2)
        close(vm->log.fd);
    free(vm->machine_remains);
    free(vm->log.filter);
    free(vm->name);
    free(vm->uuid);
    free(vm);
}

/* ---- hooks ---------------------------------------------------------------------------------- */

static void hook_add(struct vm_hook **list, struct vm_hook hook)
{
    struct vm_hook *h = xmalloc(sizeof(*h));
    *h = hook;
    while (*list)
        list = &(*list)->next;
    *list = h;
}

void vm_on_reset(struct vm *vm, void (*fn)(void *opaque), void *opaque)
{
    hook_add(&vm->reset_hooks, (struct vm_hook){ .call = fn, .opaque = opaque });
}

void vm_on_run(struct vm *vm, void (*fn)(void *opaque, bool running), void *opaque)
{
    hook_add(&vm->run_hooks, (struct vm_hook){ .run = fn, .opaque = opaque });
}

void vm_on_power_button(struct vm *vm, void (*fn)(void *opaque), void *opaque)
{
    hook_add(&vm->power_hooks, (struct vm_hook){ .call = fn, .opaque = opaque });
}

bool vm_press_power_button(struct vm *vm)
{
    event_tell(vm, EVENT_POWERDOWN);
    for (struct vm_hook *h = vm->power_hooks; h; h = h->next)
        h->call(h->opaque);
    return vm->power_hooks;
}

void vm_on_nmi(struct vm *vm, void (*fn)(void *opaque), void *opaque)
{
    hook_add(&vm->nmi_hooks, (struct vm_hook){ .call = fn, .opaque = opaque });
}

bool vm_inject_nmi(struct vm *vm)
{
    for (struct vm_hook *h = vm->nmi_hooks; h; h = h->next)
        h->call(h->opaque);
    return vm->nmi_hooks;
}

static void hooks_forget(struct vm_hook **list, void *opaque)
{
    while (*list) {
        struct vm_hook *h = *list;
        if (h->opaque == opaque) {
            *list = h->next;
            free(h);
        } else {
            list = &h->next;
        }
    }
}

void vm_forget(struct vm *vm, void *opaque)
{
    hooks_forget(&vm->reset_hooks, opaque);
    hooks_forget(&vm->run_hooks, opaque);
    hooks_forget(&vm->power_hooks, opaque);
    hooks_forget(&vm->nmi_hooks, opaque);
    hooks_forget(&vm->debug_hooks, opaque);
}

static void tell_run(struct vm *vm, bool running)
{
    for (struct vm_hook *h = vm->run_hooks, *next; h; h = next) {
        next = h->next;
        h->run(h->opaque, running);
    }
}

/* ---- running and stopping ------------------------------------------------------------------- */

static void set_state(struct vm *vm, enum run_state state)
{
    pthread_mutex_lock(&vm->run_lock);
    vm->state = state;
    pthread_cond_broadcast(&vm->run_changed);
    pthread_mutex_unlock(&vm->run_lock);
}

struct error *vm_start_threads(struct vm *vm)
{
    struct error *err = NULL;
    for (unsigned i = 0; i < vm->n_vcpus && !err; i++)
        if (!vm->vcpus[i]->thread_started)
            err = vcpu_start_thread(vm->vcpus[i]);
    return err;
}

void vm_start(struct vm *vm)
{
    assert(loop_is_mine(vm->loop));
    if (vm->state == RUN_RUNNING || vm->state == RUN_ENDED)
        return;
    if (!vm->was_reset)
        vm_reset(vm);
    struct error *err = vm_start_threads(vm);
    if (err) {
        vm_request_end(vm, VERDICT_ENGINE_FAILED, 0, error_text(err));
        error_free(err);
        return;
    }
    set_state(vm, RUN_RUNNING);
    vm->started_at_ns = host_now_ns();
    clock_start(vm);
    tell_run(vm, true);
    for (unsigned i = 0; i < vm->n_vcpus && !vm->suspended; i++)
        if (!vm->vcpus[i]->held && !vm->vcpus[i]->debug_stop)
            vcpu_resume(vm->vcpus[i]);
}

static void stop_vcpus(struct vm *vm)
{
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        vcpu_ask_stop(vm->vcpus[i]);
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        vcpu_wait_stopped(vm->vcpus[i]);
}

void vm_pause(struct vm *vm)
{
    assert(loop_is_mine(vm->loop));
    if (vm->state != RUN_RUNNING)
        return;
    stop_vcpus(vm);
    clock_stop(vm);
    set_state(vm, RUN_PAUSED);
    tell_run(vm, false);
}

void vm_stop(struct vm *vm, enum vm_stop why)
{
    if (vm->state != RUN_RUNNING)
        return;
    vm_pause(vm);
    vm->stopped_for = why;
    event_tell(vm, EVENT_STOP);
}

void vm_on_debug(struct vm *vm, void (*fn)(void *opaque), void *opaque)
{
    hook_add(&vm->debug_hooks, (struct vm_hook){ .call = fn, .opaque = opaque });
}

/* What a vCPU told of may have been dealt with before this comes: there was another one, too. */
void vm_debug_stopped(struct vm *vm)
{
    bool any = false;
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        any |= vm->vcpus[i]->debug_stop;
    if (!any || vm->state == RUN_ENDED)
        return;
    vm_stop(vm, STOP_DEBUG);
    for (struct vm_hook *h = vm->debug_hooks; h; h = h->next)
        h->call(h->opaque);
    for (unsigned i = 0; i < vm->n_vcpus && !vm->debug_hooks; i++)
        vm->vcpus[i]->debug_stop = false;
}

struct error *vm_continue(struct vm *vm)
{
    bool needs_reset = vm->stopped_for == STOP_SHUTDOWN || vm->stopped_for == STOP_ERROR;
    if (vm->state == RUN_ENDED || (vm->state == RUN_PAUSED && needs_reset))
        return error_new("Resetting the Virtual Machine is required");
    if (vm->state == RUN_RUNNING)
        return NULL;
    vm_start(vm);
    if (vm->state == RUN_RUNNING)
        event_tell(vm, EVENT_RESUME);
    return NULL;
}

void vm_reset(struct vm *vm)
{
    assert(loop_is_mine(vm->loop) && vm->state != RUN_RUNNING);
    for (struct device *d = vm->devices; d; d = d->next)
        if (d->realized)
            device_reset(d);
    for (unsigned i = 0; i < vm->n_vcpus; i++) {
        struct vcpu *cpu = vm->vcpus[i];
        cpu->halted = false;
        cpu->nap_ns = 0;
        cpu->powered_off = false;
        vm->target->vcpu_reset(cpu);
    }
    vm->was_reset = true;
    vm->suspended = false;
    for (struct vm_hook *h = vm->reset_hooks, *next; h; h = next) {
        next = h->next;
        h->call(h->opaque);
    }
}

/* ---- what others ask for -------------------------------------------------------------------- */

static bool loops_in_resets(struct vm *vm)
{
    bool early = host_now_ns() - vm->started_at_ns < EARLY_NS;
    vm->n_early_resets = early ? vm->n_early_resets + 1 : 0;
    return vm->n_early_resets >= EARLY_RESETS;
}

static void do_reset(struct vm *vm, enum vm_cause cause)
{
    bool was_running = vm->state == RUN_RUNNING, guest = vm_cause_is_guest(cause);
    if (vm->no_reboot) {
        vm_request_end(vm, VERDICT_RESET, 0, NULL);
        return;
    }
    if (was_running && guest && loops_in_resets(vm)) {
        vm_request_end(vm, VERDICT_RESET_LOOP, 0, NULL);
        return;
    }
    vm_pause(vm);
    vm_reset(vm);
    event_tell(vm, EVENT_RESET, EVENT_FLAG("guest", guest),
               EVENT_TEXT("reason", vm_cause_name(cause)));
    if (was_running)
        vm_start(vm);
    else if (vm->state == RUN_PAUSED)
        set_state(vm, RUN_PRELAUNCH);
}

static void do_suspend(struct vm *vm)
{
    vm->suspended = true;
    if (vm->state == RUN_RUNNING)
        stop_vcpus(vm);
    event_tell(vm, EVENT_SUSPEND);
}

static void do_wake(struct vm *vm)
{
    bool was_running = vm->state == RUN_RUNNING;
    if (!vm->suspended)
        return;
    vm_pause(vm);
    vm->waking = true;
    vm_reset(vm);
    vm->waking = false;
    event_tell(vm, EVENT_WAKEUP);
    if (was_running)
        vm_start(vm);
}

const char *vm_cause_name(enum vm_cause cause)
{
    static const char *const names[] = {
        [CAUSE_GUEST_RESET] = "guest-reset",
        [CAUSE_GUEST_SHUTDOWN] = "guest-shutdown",
        [CAUSE_GUEST_PANIC] = "guest-panic",
        [CAUSE_HOST_QUIT] = "host-qmp-quit",
        [CAUSE_HOST_RESET] = "host-qmp-system-reset",
        [CAUSE_HOST_SIGNAL] = "host-signal",
        [CAUSE_HOST_UI] = "host-ui",
        [CAUSE_HOST_ERROR] = "host-error",
    };
    return names[cause];
}

static enum vm_cause cause_of(const struct vm *vm, enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_POWERED_OFF:
    case VERDICT_GUEST_EXIT: return CAUSE_GUEST_SHUTDOWN;
    case VERDICT_RESET: return vm->reset_cause;
    case VERDICT_GUEST_PANIC: return CAUSE_GUEST_PANIC;
    case VERDICT_SIGNAL: return CAUSE_HOST_SIGNAL;
    case VERDICT_QUIT:
        return strcmp(vm->verdict_detail, "monitor") ? CAUSE_HOST_UI : CAUSE_HOST_QUIT;
    default: return CAUSE_HOST_ERROR;
    }
}

static void forget_verdict(struct vm *vm)
{
    pthread_mutex_lock(&vm->run_lock);
    vm->verdict = VERDICT_NONE;
    pthread_mutex_unlock(&vm->run_lock);
}

/* The guest's system crashed. True: that does not end the run. */
static bool survives_panic(struct vm *vm)
{
    static const char *const told[] = { "poweroff", "pause", "poweroff", "run" };
    event_tell(vm, EVENT_GUEST_PANICKED, EVENT_TEXT("action", told[vm->panic_action]));
    if (vm->panic_action == PANIC_PAUSE)
        vm_stop(vm, STOP_PANIC);
    bool survives = vm->panic_action == PANIC_PAUSE || vm->panic_action == PANIC_NONE;
    if (survives)
        forget_verdict(vm);
    return survives;
}

/* -no-shutdown keeps a VM whose guest ended the run, but not one that its user wants gone. */
static void do_end(struct vm *vm, enum verdict verdict)
{
    enum vm_cause cause = cause_of(vm, verdict);
    if (verdict == VERDICT_GUEST_PANIC && survives_panic(vm))
        return;
    bool fails = verdict == VERDICT_GUEST_PANIC && vm->panic_action == PANIC_EXIT_FAILURE;
    event_tell(vm, EVENT_SHUTDOWN, EVENT_FLAG("guest", vm_cause_is_guest(cause)),
               EVENT_TEXT("reason", vm_cause_name(cause)));
    if (vm->no_shutdown && verdict != VERDICT_QUIT && verdict != VERDICT_SIGNAL && !fails) {
        vm_stop(vm, cause == CAUSE_HOST_ERROR ? STOP_ERROR : STOP_SHUTDOWN);
        forget_verdict(vm);
        return;
    }
    vm_pause(vm);
    set_state(vm, RUN_ENDED);
    loop_quit(vm->loop);
}

static void act(void *opaque)
{
    struct vm *vm = opaque;
    pthread_mutex_lock(&vm->run_lock);
    enum verdict verdict = vm->verdict;
    bool reset = vm->reset_wanted;
    enum vm_cause cause = vm->reset_cause;
    bool suspend = vm->suspend_wanted, wake = vm->wake_wanted;
    vm->reset_wanted = vm->suspend_wanted = vm->wake_wanted = false;
    pthread_mutex_unlock(&vm->run_lock);
    if (vm->state == RUN_ENDED)
        return;
    if (verdict != VERDICT_NONE)
        do_end(vm, verdict);
    else if (reset)
        do_reset(vm, cause);
    if (verdict != VERDICT_NONE || reset)
        return;
    if (suspend)
        do_suspend(vm);
    if (wake)
        do_wake(vm);
}

void vm_request_reset_for(struct vm *vm, enum vm_cause cause)
{
    pthread_mutex_lock(&vm->run_lock);
    bool first = !vm->reset_wanted;
    vm->reset_wanted = true;
    if (first)
        vm->reset_cause = cause;
    pthread_mutex_unlock(&vm->run_lock);
    if (first)
        loop_post(vm->loop, act, vm);
}

static void want(struct vm *vm, bool *what)
{
    pthread_mutex_lock(&vm->run_lock);
    bool first = !*what;
    *what = true;
    pthread_mutex_unlock(&vm->run_lock);
    if (first)
        loop_post(vm->loop, act, vm);
}

void vm_request_suspend(struct vm *vm)
{
    if (vm->can_suspend)
        want(vm, &vm->suspend_wanted);
}

void vm_request_wake(struct vm *vm)
{
    want(vm, &vm->wake_wanted);
}

void vm_request_reset(struct vm *vm)
{
    vm_request_reset_for(vm, CAUSE_GUEST_RESET);
}

void vm_request_end(struct vm *vm, enum verdict verdict, int exit_code, const char *detail)
{
    int fixed = verdict_infos[verdict].exit_code;
    pthread_mutex_lock(&vm->run_lock);
    bool first = vm->verdict == VERDICT_NONE;
    if (first) {
        vm->verdict = verdict;
        vm->exit_code = fixed >= 0 ? fixed : exit_code;
        snprintf(vm->verdict_detail, sizeof(vm->verdict_detail), "%s", detail ? detail : "");
    }
    pthread_mutex_unlock(&vm->run_lock);
    if (first)
        loop_post(vm->loop, act, vm);
}

struct stop_request {
    struct vm *vm;
    enum vm_stop why;
};

static void stop_now(void *opaque)
{
    struct stop_request *r = opaque;
    vm_stop(r->vm, r->why);
    free(r);
}

void vm_request_stop(struct vm *vm, enum vm_stop why)
{
    struct stop_request *r = xmalloc(sizeof(*r));
    *r = (struct stop_request){ vm, why };
    loop_post(vm->loop, stop_now, r);
}

static void watchdog_button(void *opaque)
{
    vm_press_power_button(opaque);
}

static void watchdog_nmi(void *opaque)
{
    vm_inject_nmi(opaque);
}

void vm_watchdog_expired(struct vm *vm)
{
    static const char *const names[] = { "reset", "shutdown", "poweroff",  "pause",
                                         "debug", "none",     "inject-nmi" };
    event_tell(vm, EVENT_WATCHDOG, EVENT_TEXT("action", names[vm->watchdog_action]));
    switch (vm->watchdog_action) {
    case WATCHDOG_RESET: vm_request_reset(vm); break;
    case WATCHDOG_SHUTDOWN: loop_post(vm->loop, watchdog_button, vm); break;
    case WATCHDOG_POWEROFF: vm_request_end(vm, VERDICT_POWERED_OFF, 0, "watchdog"); break;
    case WATCHDOG_PAUSE: vm_request_stop(vm, STOP_WATCHDOG); break;
    case WATCHDOG_INJECT_NMI: loop_post(vm->loop, watchdog_nmi, vm); break;
    case WATCHDOG_DEBUG:
    case WATCHDOG_NONE: break;
    }
}

int vm_run(struct vm *vm)
{
    if (vm->state == RUN_PRELAUNCH && !vm->start_paused)
        vm_start(vm);
    loop_run(vm->loop);
    return vm->exit_code;
}

void vm_send_msi(struct vm *vm, gpa address, uint32_t data)
{
    mem_send_msi(vm, address, data);
}

static void on_msi_route(void *opaque, uint32_t ready)
{
    struct msi_route *r = opaque;
    uint64_t n;
    if (read(r->fd, &n, sizeof(n)) == sizeof(n))
        vm_send_msi(r->vm, r->address, r->data);
}

void vm_route_msi(struct vm *vm, int fd, gpa address, uint32_t data)
{
    if (vm->accel->route_msi && vm->accel->route_msi(vm, fd, true, address, data))
        return;
    struct msi_route *r = xmalloc(sizeof(*r));
    *r = (struct msi_route){ vm, fd, address, data, NULL };
    pthread_mutex_lock(&vm->run_lock);
    r->next = vm->msi_routes;
    vm->msi_routes = r;
    pthread_mutex_unlock(&vm->run_lock);
    loop_watch(vm->loop, fd, EPOLLIN, on_msi_route, r);
}

static void free_on_loop(void *opaque)
{
    free(opaque);
}

void vm_unroute_msi(struct vm *vm, int fd)
{
    if (vm->accel->route_msi && vm->accel->route_msi(vm, fd, false, 0, 0))
        return;
    pthread_mutex_lock(&vm->run_lock);
    struct msi_route **at = &vm->msi_routes, *r;
    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    r = *at;
    if (r)
        *at = r->next;
    pthread_mutex_unlock(&vm->run_lock);
    if (!r)
        return;
    loop_unwatch(vm->loop, fd);
    loop_post(vm->loop, free_on_loop, r); /* the callback may be under way */
}

/* ---- signals -------------------------------------------------------------------------------- */

static void on_signal(void *opaque, uint32_t ready)
{
    struct vm *vm = opaque;
    struct signalfd_siginfo info;
    if (read(vm->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    char detail[64];
    snprintf(detail, sizeof(detail), "SIG%s", sigabbrev_np((int)info.ssi_signo));
    vm_request_end(vm, VERDICT_SIGNAL, 128 + (int)info.ssi_signo, detail);
}

struct error *vm_catch_signals(struct vm *vm)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    vm->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (vm->signal_fd < 0)
        return error_errno("cannot receive signals");
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN); /* a back end's reader that went away is an error of write() */
    loop_watch(vm->loop, vm->signal_fd, EPOLLIN, on_signal, vm);
    return NULL;
}

/* ---- halted for ever ------------------------------------------------------------------------ */

bool vm_has_wake_source(const struct vm *vm)
{
    return timers_pending(vm) || backends_any(vm) ||
           loop_n_watches(vm->loop) > (unsigned)(vm->signal_fd >= 0);
}

static bool sleeps(struct vcpu *cpu, bool *never_wakes)
{
    pthread_mutex_lock(&cpu->lock);
    bool asleep = cpu->sleeping && !cpu->stopped && !atomic_load(&cpu->requests) &&
                  (cpu->powered_off || (cpu->halted && !cpu->vm->target->has_work(cpu)));
    *never_wakes &= cpu->never_wakes || cpu->powered_off;
    pthread_mutex_unlock(&cpu->lock);
    return asleep;
}

static void check_all_halted(void *opaque)
{
    struct vm *vm = opaque;
    bool never_wakes = true;
    if (vm->state != RUN_RUNNING || vm->is_debugged)
        return;
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        if (!sleeps(vm->vcpus[i], &never_wakes))
            return;
    pthread_mutex_lock(&vm->run_lock);
    bool reset = vm->reset_wanted; /* asked for before they slept: that will wake them */
    pthread_mutex_unlock(&vm->run_lock);
    if (reset)
        return;
    if (never_wakes || !vm_has_wake_source(vm))
        vm_request_end(vm, VERDICT_ALL_HALTED, 0, NULL);
}

void vm_check_all_halted(struct vm *vm)
{
    loop_post(vm->loop, check_all_halted, vm);
}
