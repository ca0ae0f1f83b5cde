/* Standard input and output as a back end, and the terminal's state, which is given back whatever
 * happens. The terminal belongs to the process, not to a VM: what is to be restored stands in a
 * static table, because exit and signal handlers have no other way to find it. */
#include "core/chardev_host.h"
#include "core/error.h"
#include "core/options.h"
#include "core/util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

/* One descriptor of the user whose terminal mode or file flags were changed. */
static struct saved {
    _Atomic bool used;
    bool is_tty, flags_changed;
    int fd, flags;
    struct termios before, raw;
    char undo[64]; /* what the terminal is to be told besides */
    size_t n_undo;
} saved[4];

/* Called in signal handlers: async-signal-safe only. */
void chardev_restore_terminals(void)
{
    for (size_t i = 0; i < ARRAY_LEN(saved); i++) {
        struct saved *s = &saved[i];
        if (!atomic_exchange(&s->used, false))
            continue;
        if (s->n_undo && write(s->fd, s->undo, s->n_undo) < 0)
            s->n_undo = 0; /* nothing else can be done */
        if (s->is_tty)
            tcsetattr(s->fd, TCSANOW, &s->before);
        if (s->flags_changed)
            fcntl(s->fd, F_SETFL, s->flags);
    }
}

static void on_fatal(int number)
{
    int keep = errno;
    chardev_restore_terminals();
    errno = keep;
    signal(number, SIG_DFL);
    raise(number);
}

/* The shell gave us the terminal back after Ctrl-Z. */
static void on_continue(int number)
{
    int keep = errno;
    for (size_t i = 0; i < ARRAY_LEN(saved); i++)
        if (saved[i].used && saved[i].is_tty && tcgetpgrp(saved[i].fd) == getpgrp())
            tcsetattr(saved[i].fd, TCSANOW, &saved[i].raw);
    errno = keep;
}

/* Only where nobody else has a handler; those who come later call ours, see sigaction's old action. */
static void catch_signals(void)
{
    static const int fatal[] = { SIGSEGV, SIGBUS,  SIGABRT, SIGILL, SIGFPE, SIGSYS,
                                 SIGQUIT, SIGTERM, SIGINT,  SIGHUP, SIGXCPU };
    struct sigaction old, act = { .sa_handler = on_fatal };
    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        if (!sigaction(fatal[i], NULL, &old) && old.sa_handler == SIG_DFL)
            sigaction(fatal[i], &act, NULL);
    act.sa_handler = on_continue;
    act.sa_flags = SA_RESTART;
    sigaction(SIGCONT, &act, NULL);
}

static struct saved *remember(int fd)
{
    for (size_t i = 0; i < ARRAY_LEN(saved); i++) {
        if (!saved[i].used) {
            saved[i] = (struct saved){ .fd = fd };
            return &saved[i];
        }
    }
    return NULL;
}

void chardev_keep_terminal(const struct termios *before, const char *undo)
{
    struct saved *s = remember(0);
    if (!s || tcgetattr(0, &s->raw))
        return;
    s->before = *before;
    s->n_undo = MIN(strlen(undo), sizeof(s->undo));
    memcpy(s->undo, undo, s->n_undo);
    s->is_tty = true;
    s->used = true;
    atexit(chardev_restore_terminals);
    catch_signals();
}

void chardev_release_terminal(void)
{
    for (size_t i = 0; i < ARRAY_LEN(saved); i++)
        if (saved[i].n_undo)
            saved[i].used = false;
}

static void make_raw(bool signals)
{
    struct termios mode;
    if (tcgetattr(0, &mode))
        return;
    struct saved *s = remember(0);
    if (!s)
        return;
    s->before = mode;
    mode.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    mode.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
    if (!signals)
        mode.c_lflag &= ~(tcflag_t)ISIG;
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
    s->raw = mode;
    s->is_tty = true;
    s->used = true;
    tcsetattr(0, TCSANOW, &mode);
}

/* A nonblocking descriptor for fd 0 or 1. A terminal or pipe is opened anew, so that the flag is ours
 * alone and not that of the shell which shares the open file; else it is set and taken back later. */
static int nonblocking(int fd, int mode)
{
    struct stat st;
    if (fstat(fd, &st))
        return -1;
    if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
        char path[32];
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        int own = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own >= 0)
            return own;
    }
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3), flags = fcntl(fd, F_GETFL);
    struct saved *s = S_ISREG(st.st_mode) || flags < 0 ? NULL : remember(fd);
    if (s) {
        s->flags = flags;
        s->flags_changed = true;
        s->used = true;
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
    return own;
}

/* Nobody reads standard output any more. What is typed still counts: Ctrl-A x ends the run. */
static void stdio_hung_up(struct chardev_host *h)
{
    chardev_host_end_output(h);
}

static void stdio_close(struct chardev_host *h)
{
    chardev_restore_terminals();
}

struct error *chardev_open_stdio(struct chardev_host *h, const char *path, struct options *o)
{
    bool signals = !h->mux;
    struct error *err = options_get_bool(o, "signal", &signals);
    if (err)
        return err;
    for (size_t i = 0; i < ARRAY_LEN(saved); i++)
        if (saved[i].used)
            return error_new("standard input and output are in use by another back end");
    int in = nonblocking(0, O_RDONLY), out = nonblocking(1, O_WRONLY);
    if (out < 0) {
        err = error_errno("cannot use standard output");
        if (in >= 0)
            close(in);
        return err;
    }
    atexit(chardev_restore_terminals);
    catch_signals();
    if (isatty(0))
        make_raw(signals);
    h->hung_up = stdio_hung_up;
    h->close = stdio_close;
    chardev_host_connect(h, in, out);
    return NULL;
}
