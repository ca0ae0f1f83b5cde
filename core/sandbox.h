/* What the process gives up once it is set up: privileges through execve, and every system call a
 * running VM does not need. Applies to all threads, for good. */
#pragma once

#include <stdbool.h>

struct error;

/* What this VM's back ends will still do while it runs. */
struct sandbox_needs {
    bool network; /* open connections, resolve names (user networking) */
    bool unlink;  /* remove a pid file or a socket at the end */
    bool manage;  /* open files, sockets and terminals that QMP names */
};
/* Error when the host refuses the filter. */
struct error *sandbox_enter(const struct sandbox_needs *needs);
/* False in builds without libseccomp: sandbox_enter then only gives up gaining privileges. */
bool sandbox_filters(void);
