/* The protocol on one character back end, for ui/monitor.c. Main loop's thread. */
#pragma once

#include <stdbool.h>

struct chardev;
struct error;
struct monitor_hooks;
struct qmp_session;
struct vm;

/* Error: this build has no JSON. */
struct error *qmp_session_new(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks,
                              bool pretty, struct qmp_session **out);
void qmp_session_free(struct qmp_session *s); /* NULL is allowed */
/* The page docs/qmp.md, or a line that there is none. */
void qmp_help(void (*print)(void *opaque, const char *line), void *opaque);
