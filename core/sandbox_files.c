/* Files by Landlock: nothing is opened or removed but what user networking and the end of the run need. A kernel
 * without it leaves the system call filter, which refuses whole calls and cannot see names. */
#include "core/sandbox.h"

#include "core/util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
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

/* ---- threads of libraries ------------------------------------------------------------------------- */
/* Landlock is a thread's own affair. Threads that are not ours are asked by a signal, which brings this along. */
struct ask {
    int confined;
    _Atomic unsigned n_joined;
};

static void on_ask(int number, siginfo_t *info, void *context)
{
    struct ask *ask = info->si_value.sival_ptr;
    int keep = errno;
    sandbox_join_files(ask->confined);
    ask->n_joined++;
    errno = keep;
}

static bool blocks_signal(const char *tid, int number)
{
    char path[64], line[128];
    unsigned long long mask = ~0ull;
    snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", tid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (!strncmp(line, "SigBlk:", 7))
            mask = strtoull(line + 7, NULL, 16);
    if (file)
        fclose(file);
    return mask >> (number - 1) & 1;
}

struct asked {
    int tids[256];
    unsigned n;
};

static bool was_asked(const struct asked *a, int tid)
{
    for (unsigned i = 0; i < a->n; i++)
        if (a->tids[i] == tid)
            return true;
    return false;
}

/* Ask those that were not; how many cannot be asked, as they block the signal. */
static unsigned ask_new(struct asked *asked, int number, struct ask *ask)
{
    siginfo_t info = { .si_signo = number, .si_code = SI_QUEUE, .si_value.sival_ptr = ask };
    DIR *tasks = opendir("/proc/self/task");
    unsigned n_deaf = 0;
    for (struct dirent *e; tasks && (e = readdir(tasks));) {
        int tid = atoi(e->d_name);
        if (tid <= 0 || tid == gettid() || was_asked(asked, tid))
            continue;
        if (blocks_signal(e->d_name, number) || asked->n == ARRAY_LEN(asked->tids))
            n_deaf++;
        else if (!syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, number, &info))
            asked->tids[asked->n++] = tid;
    }
    if (tasks)
        closedir(tasks);
    return n_deaf;
}

/* A thread that is new blocks signals until it runs, so ask again for a while; ours (n_own) always do, and join by
 * themselves, and so may those of some libraries, which are left out then. */
static void ask_others(int confined, unsigned n_own)
{
    const int number = SIGRTMAX - 1;
    struct sigaction before, act = { .sa_sigaction = on_ask, .sa_flags = SA_RESTART | SA_SIGINFO };
    struct ask *ask = xcalloc(1, sizeof(*ask));
    struct asked asked = { 0 };
    ask->confined = confined;
    sigaction(number, &act, &before);
    for (unsigned i = 0; ask_new(&asked, number, ask) > n_own && i < 50; i++)
        usleep(2000);
    for (unsigned ms = 0; ask->n_joined < asked.n && ms < 1000; ms++)
        usleep(1000);
    if (ask->n_joined == asked.n) {
        sigaction(number, &before, NULL);
        free(ask); /* else one may still come */
    }
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
    ask_others(ruleset, needs->n_threads); /* first: then /proc can no longer be looked at */
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
