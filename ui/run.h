/* What both monitors do with a VM as a whole. Main loop's thread. */
#pragma once

struct error;
struct vm;

/* QMP's RunState. */
const char *run_status(const struct vm *vm);
/* system_wakeup. */
struct error *run_wake(struct vm *vm);
/* -action and set-action: values of QMP's enumerations, checked before; NULL: as it is. */
struct error *run_set_actions(struct vm *vm, const char *reboot, const char *shutdown,
                              const char *panic, const char *watchdog);
