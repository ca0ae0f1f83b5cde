/* Running one command, and what its handler finds convenient. */
#include "ui/qmp.h"

#include "core/error.h"
#include "core/util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct error *qmp_fail(struct qmp_call *c, const char *error_class, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    c->error_class = error_class;
    return error_new("%s", text);
}

const char *qmp_str(const struct qmp_call *c, const char *name)
{
    return json_string_value(json_object_get(c->args, name));
}

int64_t qmp_int(const struct qmp_call *c, const char *name, int64_t def)
{
    json_t *value = json_object_get(c->args, name);
    return value ? json_integer_value(value) : def;
}

bool qmp_bool(const struct qmp_call *c, const char *name, bool def)
{
    json_t *value = json_object_get(c->args, name);
    return value ? json_is_true(value) : def;
}

char *qmp_args_text(const struct qmp_call *c)
{
    return json_dumps(c->args, 0);
}

json_t *qmp_error_reply(const char *error_class, struct error *err)
{
    json_t *text = json_string(error_text(err));
    if (!text) /* a name that is no UTF-8 */
        text = json_string("the command failed");
    error_free(err);
    return json_pack("{s{ssso}}", "error", "class", error_class ? error_class : "GenericError",
                     "desc", text);
}

json_t *qmp_run(struct qmp_call *c, const char *name, json_t *args)
{
    const struct qmp_command *cmd = qmp_command_find(name);
    if (!cmd)
        return qmp_error_reply("CommandNotFound",
                               error_new("The command %.80s has not been found", name));
    c->args = args ? json_incref(args) : json_object();
    c->reply = NULL;
    c->error_class = NULL;
    struct error *err = qmp_check_args(cmd, c->args);
    if (!err)
        err = cmd->run(c);
    json_decref(c->args);
    c->args = NULL;
    if (err) {
        json_decref(c->reply);
        return qmp_error_reply(c->error_class, err);
    }
    return json_pack("{so}", "return", c->reply ? c->reply : json_object());
}
