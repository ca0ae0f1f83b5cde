#include "ui/run.h"

#include "core/error.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"

const char *run_status(const struct vm *vm)
{
    static const char *const paused[] = {
        [STOP_USER] = "paused",          [STOP_SHUTDOWN] = "shutdown",
        [STOP_PANIC] = "guest-panicked", [STOP_WATCHDOG] = "watchdog",
        [STOP_IO_ERROR] = "io-error",    [STOP_DEBUG] = "debug",
        [STOP_ERROR] = "internal-error",
    };
    switch (vm->state) {
    case RUN_PRELAUNCH: return "prelaunch";
    case RUN_RUNNING: return vm->suspended ? "suspended" : "running";
    case RUN_PAUSED: return paused[vm->stopped_for];
    case RUN_ENDED: return "shutdown";
    }
    return "paused";
}

struct error *run_wake(struct vm *vm)
{
    if (!vm->can_suspend)
        return error_new("wake-up from suspend is not supported by this guest");
    if (!vm->suspended)
        return error_new("Unable to wake up: guest is not in suspended state");
    vm_request_wake(vm);
    return NULL;
}

static int number_of(const char *value, const char *const *names)
{
    int i = 0;
    while (names[i] && strcmp(names[i], value))
        i++;
    return names[i] ? i : -1;
}

/* As if not said if `value` is NULL. */
static struct error *choose(const char *what, const char *value, const char *const *names, int *to)
{
    size_t n = 0;
    if (!value)
        return NULL;
    int i = number_of(value, names);
    if (i >= 0) {
        *to = i;
        return NULL;
    }
    char list[160] = "";
    for (; names[n]; n++)
        strncat(strncat(list, n ? ", " : "", 3), names[n], 20);
    return error_new("%s='%s' is not known; accepted: %s", what, value, list);
}

struct error *run_set_actions(struct vm *vm, const char *reboot, const char *shutdown,
                              const char *panic, const char *watchdog)
{
    static const char *const reboots[] = { "reset", "shutdown", NULL };
    static const char *const shutdowns[] = { "poweroff", "pause", NULL };
    static const char *const panics[] = { "shutdown", "pause", "exit-failure", "none", NULL };
    static const char *const watchdogs[] = { "reset", "shutdown", "poweroff",   "pause",
                                             "debug", "none",     "inject-nmi", NULL };
    int on_reboot = vm->no_reboot, on_shutdown = vm->no_shutdown;
    int on_panic = (int)vm->panic_action, on_watchdog = (int)vm->watchdog_action;
    struct error *err = choose("reboot", reboot, reboots, &on_reboot);
    if (!err)
        err = choose("shutdown", shutdown, shutdowns, &on_shutdown);
    if (!err)
        err = choose("panic", panic, panics, &on_panic);
    if (!err)
        err = choose("watchdog", watchdog, watchdogs, &on_watchdog);
    if (err)
        return err;
    vm->no_reboot = on_reboot;
    vm->no_shutdown = on_shutdown;
    vm->panic_action = (enum panic_action)on_panic;
    vm->watchdog_action = (enum watchdog_action)on_watchdog;
    return NULL;
}
