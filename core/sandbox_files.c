/* Files by Landlock: nothing is opened or removed but what user networking and the end of the run need. A kernel
 * without it leaves the system call filter, which refuses whole calls and cannot see names. */
#include "core/sandbox.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rights of files that this version of Landlock knows (linux/landlock.h): 13 from the first, then REFER, TRUNCATE and,
 * with the fifth, IOCTL_DEV. */
static uint64_t all_rights(long version)
{
    return (UINT64_C(1) << (version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13)) - 1;
}

static void allow_beneath(int ruleset, const char *directory, uint64_t rights)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = rights, .parent_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC)
    };
    if (rule.parent_fd < 0)
        return; /* what is not there needs no right */
    syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
}

/* The folder that a path's last name stands in, links followed. */
static void allow_where(int ruleset, const char *path, uint64_t rights)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    if (n >= sizeof(folder))
        return;
    memcpy(folder, path, n);
    folder[n] = 0;
    allow_beneath(ruleset, n ? folder : slash ? "/" : ".", rights);
}

/* libslirp reads it again when it has changed, and it may be a link into a folder of its own. */
static void allow_name_servers(int ruleset)
{
    static const char list[] = "/etc/resolv.conf";
    char real[PATH_MAX];
    allow_where(ruleset, list, LANDLOCK_ACCESS_FS_READ_FILE);
    if (realpath(list, real))
        allow_where(ruleset, real, LANDLOCK_ACCESS_FS_READ_FILE);
}

int sandbox_confine_files(const struct sandbox_needs *needs)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (needs->manage || version < 1)
        return -1;
    uint64_t handled = all_rights(version);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, sizeof(handled), 0);
    if (ruleset < 0)
        return -1;
    if (needs->network)
        allow_name_servers(ruleset);
    for (size_t i = 0; i < needs->n_unlinks; i++)
        allow_where(ruleset, needs->unlinks[i], LANDLOCK_ACCESS_FS_REMOVE_FILE);
    sandbox_join_files(ruleset);
    return ruleset;
}

void sandbox_join_files(int confined)
{
    if (confined >= 0 && !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        syscall(SYS_landlock_restrict_self, confined, 0);
}

void sandbox_close_files(int confined)
{
    if (confined >= 0)
        close(confined);
}
