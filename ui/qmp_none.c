/* For builds without jansson. */
#include "core/error.h"
#include "ui/qmp_session.h"

struct error *qmp_session_new(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks,
                              bool pretty, struct qmp_session **out)
{
    return error_new("this build has no QMP (it was made without jansson)");
}

void qmp_session_free(struct qmp_session *s)
{
}

void qmp_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    print(opaque, "this build has no QMP (it was made without jansson)");
}
