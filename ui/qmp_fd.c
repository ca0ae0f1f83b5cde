/* Descriptors handed in. */
#include "core/chardev.h"
#include "core/error.h"
#include "core/fdset.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"

#include <ctype.h>
#include <unistd.h>

static struct error *take(struct qmp_call *c, int *fd)
{
    *fd = c->chardev ? chardev_take_fd(c->chardev) : -1;
    return *fd >= 0 ? NULL : error_new("No file descriptor supplied via SCM_RIGHTS");
}

static struct error *getfd(struct qmp_call *c)
{
    int fd;
    const char *name = qmp_str(c, "fdname");
    struct error *err = take(c, &fd);
    if (err)
        return err;
    if (isdigit((unsigned char)*name)) {
        close(fd);
        return error_new("Parameter 'fdname' expects a name not starting with a digit");
    }
    fd_keep_named(c->vm, name, fd);
    return NULL;
}

static struct error *closefd(struct qmp_call *c)
{
    int fd = fd_take_named(c->vm, qmp_str(c, "fdname"));
    if (fd < 0)
        return error_new("File descriptor named '%.80s' not found", qmp_str(c, "fdname"));
    close(fd);
    return NULL;
}

static struct error *add_fd(struct qmp_call *c)
{
    int fd;
    int64_t set = qmp_int(c, "fdset-id", -1);
    if (json_object_get(c->args, "fdset-id") && set < 0)
        return error_new("Parameter 'fdset-id' expects a non-negative value");
    struct error *err = take(c, &fd);
    if (err)
        return err;
    set = fdset_add(c->vm, set, fd, qmp_str(c, "opaque"));
    c->reply = json_pack("{sIsi}", "fdset-id", (json_int_t)set, "fd", fd);
    return NULL;
}

static struct error *remove_fd(struct qmp_call *c)
{
    int64_t set = qmp_int(c, "fdset-id", -1), fd = qmp_int(c, "fd", -1);
    if (!fdset_remove(c->vm, set, (int)fd))
        return error_new("File descriptor named 'fdset-id:%lld, fd:%lld' not found", (long long)set,
                         (long long)fd);
    return NULL;
}

static void add_to_list(void *opaque, const struct fdset_fd *f)
{
    json_t *list = opaque, *set = json_array_get(list, json_array_size(list) - 1);
    if (!set || json_integer_value(json_object_get(set, "fdset-id")) != f->set) {
        set = json_pack("{sIs[]}", "fdset-id", (json_int_t)f->set, "fds");
        json_array_append_new(list, set);
    }
    json_t *o = json_pack("{si}", "fd", f->fd);
    if (f->opaque)
        json_object_set_new(o, "opaque", json_string(f->opaque));
    json_array_append_new(json_object_get(set, "fds"), o);
}

static struct error *query_fdsets(struct qmp_call *c)
{
    c->reply = json_array();
    fdset_each(c->vm, add_to_list, c->reply);
    return NULL;
}

static const struct qmp_command commands[] = {
    { "getfd", "fdname:str", "", "keep the descriptor that came along under a name", getfd },
    { "closefd", "fdname:str", "", "close it", closefd },
    { "add-fd", "*fdset-id:int *opaque:str", "AddfdInfo",
      "put the descriptor that came along into a set, which /dev/fdset/N opens", add_fd },
    { "remove-fd", "fdset-id:int *fd:int", "", "take one out of a set, or all", remove_fd },
    { "query-fdsets", "", "[FdsetInfo]", "the sets", query_fdsets },
};

static const struct qmp_type types[] = {
    QMP_STRUCT_TYPE("AddfdInfo", "fdset-id:int fd:int"),
    QMP_STRUCT_TYPE("FdsetFdInfo", "fd:int *opaque:str"),
    QMP_STRUCT_TYPE("FdsetInfo", "fdset-id:int fds:[FdsetFdInfo]"),
};

const struct qmp_table qmp_fd_table = { "Descriptors", TABLE(commands), TABLE(types) };
