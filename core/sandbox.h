/* What the process gives up once it is set up: privileges through execve, every system call a running VM does not need,
 * and, where the host has Landlock, files that it will not open or remove. For good. docs/sandbox.md tells which calls
 * are left, and why. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct error;

/* What this VM's back ends will still do while it runs. */
struct sandbox_needs {
    bool network;                    /* user networking: connect anywhere, read the names of name servers */
    bool connect_inet, connect_unix; /* clients that connect again */
    bool manage;                     /* open files, sockets and terminals that QMP names */
    bool sound;                      /* play and record at the host's sound cards, which are open */
    bool code;                       /* map more memory for translated code */
    const char *const *unlinks;      /* files of ours that are removed at the end */
    size_t n_unlinks;
    unsigned n_threads; /* that call sandbox_join_files */
};
/* All threads, those of libraries, too. Error when the host refuses the filter. */
struct error *sandbox_enter(const struct sandbox_needs *needs);
/* False in builds without libseccomp: sandbox_enter then only gives up gaining privileges. */
bool sandbox_filters(void);

/* Files, before sandbox_enter: what this thread, others that take signals, and those they start from now on may open and
 * remove. Threads that block signals join by themselves. A number to join with, or -1: the host has no such thing, or QMP may name any file. */
int sandbox_confine_files(const struct sandbox_needs *needs);
void sandbox_join_files(int confined); /* any other thread */
void sandbox_close_files(int confined);
