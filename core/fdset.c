#include "core/fdset.h"

#include "core/util.h"
#include "core/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct named {
    char *name;
    int fd;
    struct named *next;
};
struct member {
    struct fdset_fd f;
    struct member *next;
};
struct fds {
    struct named *named;
    struct member *members; /* by set, then in order of arrival */
};

static struct fds *fds_of(struct vm *vm)
{
    if (!vm->fds)
        vm->fds = xcalloc(1, sizeof(*vm->fds));
    return vm->fds;
}

/* ---- by name ---------------------------------------------------------------------------------- */
int fd_take_named(struct vm *vm, const char *name)
{
    for (struct named **at = &fds_of(vm)->named; *at; at = &(*at)->next) {
        struct named *n = *at;
        if (strcmp(n->name, name))
            continue;
        int fd = n->fd;
        *at = n->next;
        free(n->name);
        free(n);
        return fd;
    }
    return -1;
}

void fd_keep_named(struct vm *vm, const char *name, int fd)
{
    int old = fd_take_named(vm, name);
    struct named *n = xmalloc(sizeof(*n));
    if (old >= 0)
        close(old);
    *n = (struct named){ xstrdup(name), fd, fds_of(vm)->named };
    fds_of(vm)->named = n;
}

/* ---- sets ------------------------------------------------------------------------------------- */
/* The lowest number without a set; members are sorted by theirs. */
static int64_t free_number(const struct fds *fds)
{
    int64_t n = 0;
    for (const struct member *m = fds->members; m; m = m->next)
        if (m->f.set == n)
            n = m->f.set + 1;
    return n;
}

int64_t fdset_add(struct vm *vm, int64_t set, int fd, const char *opaque)
{
    struct fds *fds = fds_of(vm);
    struct member *m = xcalloc(1, sizeof(*m)), **at = &fds->members;
    set = set < 0 ? free_number(fds) : set;
    m->f = (struct fdset_fd){ set, fd, opaque ? xstrdup(opaque) : NULL };
    while (*at && (*at)->f.set <= set)
        at = &(*at)->next;
    m->next = *at;
    *at = m;
    return set;
}

static void free_member(struct member *m)
{
    close(m->f.fd);
    free(m->f.opaque);
    free(m);
}

bool fdset_remove(struct vm *vm, int64_t set, int fd)
{
    bool any = false;
    for (struct member **at = &fds_of(vm)->members; *at;) {
        struct member *m = *at;
        if (m->f.set != set || (fd >= 0 && m->f.fd != fd)) {
            at = &m->next;
            continue;
        }
        any = true;
        *at = m->next;
        free_member(m);
    }
    return any;
}

void fdset_each(struct vm *vm, void (*visit)(void *opaque, const struct fdset_fd *f), void *opaque)
{
    for (struct member *m = fds_of(vm)->members; m; m = m->next)
        visit(opaque, &m->f);
}

int fdset_open(struct vm *vm, const char *path, int flags, int mode)
{
    static const char folder[] = "/dev/fdset/";
    char *end;
    if (strncmp(path, folder, sizeof(folder) - 1))
        return open(path, flags, mode);
    long long set = strtoll(path + sizeof(folder) - 1, &end, 10);
    errno = ENOENT;
    for (struct member *m = fds_of(vm)->members; m && !*end; m = m->next) {
        if (m->f.set != set)
            continue;
        int has = fcntl(m->f.fd, F_GETFL);
        if (has >= 0 && (has & O_ACCMODE) == (flags & O_ACCMODE))
            return fcntl(m->f.fd, F_DUPFD_CLOEXEC, 0);
        errno = EACCES;
    }
    return -1;
}

void fds_free(struct vm *vm)
{
    struct fds *fds = vm->fds;
    if (!fds)
        return;
    while (fds->named)
        close(fd_take_named(vm, fds->named->name));
    while (fds->members) {
        struct member *m = fds->members;
        fds->members = m->next;
        free_member(m);
    }
    free(fds);
    vm->fds = NULL;
}
