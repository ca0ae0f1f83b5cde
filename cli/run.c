/* From a machine that is ready to the process's exit status. */
#include "cli/cli.h"
#include "cli/stats.h"

#include "core/accel.h"
#include "core/backends.h"
#include "core/chardev.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/sandbox.h"
#include "core/vm.h"
#include "net/net.h"
#include "ui/audio.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the background ------------------------------------------------------------------------------- */
/* The parent waits until the child says that all is set up, so that errors reach the terminal and
 * the status is right. Before threads are made. Returns in the child. */
struct error *cli_detach(int *ready_fd)
{
    int ends[2];
    char status = 1;
    if (pipe2(ends, O_CLOEXEC))
        return error_errno("-daemonize: cannot make a pipe");
    fflush(NULL);
    pid_t child = fork();
    if (child < 0)
        return error_errno("-daemonize: cannot start a process");
    if (child) {
        close(ends[1]);
        _exit(read(ends[0], &status, 1) == 1 ? status : 1);
    }
    close(ends[0]);
    setsid();
    *ready_fd = ends[1];
    return NULL;
}

static void finish_detach(int ready_fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    close(null);
    if (write(ready_fd, "", 1) == 1)
        close(ready_fd);
}

/* ---- the pid file --------------------------------------------------------------------------------- */
static struct error *write_pidfile(const char *path)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char text[32];
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return error_errno("-pidfile: cannot write '%s'", path);
    if (fcntl(fd, F_SETLK, &lock)) {
        close(fd);
        return error_new("-pidfile: '%s' is in use by another process", path);
    }
    int n = snprintf(text, sizeof(text), "%d\n", getpid());
    if (ftruncate(fd, 0) || write(fd, text, (size_t)n) != n) {
        close(fd);
        return error_errno("-pidfile: cannot write '%s'", path);
    }
    return NULL; /* stays open, and so locked, until the end */
}

/* ---- the run and its end -------------------------------------------------------------------------------------- */
/* Kept, not printed: it is to come behind what the guest still has to say. */
static void note_verdict(struct cli *cli, const struct vm *vm)
{
    const struct verdict_info *info = &verdict_infos[vm->verdict];
    const char *detail = vm->verdict_detail;
    char when[40] = "";
    time_t now = time(NULL);
    if (!cli->verdict || vm->verdict == VERDICT_NONE)
        return;
    if (cli->timestamps)
        strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ ", gmtime(&now));
    bool good = vm->exit_code == 0;
    cli->last_line =
        cli_text(cli, "%standem: %s%s%s%s%s%s%s%s", when, info->name, *detail ? " (" : "", detail,
                 *detail ? ")" : "", good ? "" : ": ", good ? "" : info->what,
                 good || !*info->advice ? "" : "; ", good ? "" : info->advice);
}

/* ---- what is given up ---------------------------------------------------------------------------------- */
struct needs {
    struct sandbox_needs sandbox;
    struct text_list unlinks;
};

static void add_needs(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    struct needs *n = opaque;
    struct chardev_needs c;
    n->sandbox.n_threads += kind == BACKEND_IOTHREAD;
    if (kind == BACKEND_NETDEV)
        n->sandbox.network |= netdev_opens(backend);
    if (kind == BACKEND_AUDIO)
        n->sandbox.sound |= audio_uses_host(backend);
    if (kind != BACKEND_CHARDEV)
        return;
    chardev_needs(backend, &c);
    n->sandbox.connect_inet |= c.connect_inet;
    n->sandbox.connect_unix |= c.connect_unix;
    if (c.unlink)
        text_add(&n->unlinks, c.unlink);
}

/* Of a VNC server: "unix:PATH,..." or "vnc=unix:PATH,...". */
static void add_vnc_path(struct cli *cli, struct needs *n, const char *text)
{
    const char *path = text ? strstr(text, "unix:") : NULL;
    if (path)
        text_add(&n->unlinks, cli_text(cli, "%.*s", (int)strcspn(path + 5, ","), path + 5));
}

static void join_files(void *confined)
{
    sandbox_join_files(*(int *)confined);
}

static void confine_thread(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    if (kind == BACKEND_IOTHREAD)
        loop_call(backend, join_files, opaque);
}

static struct error *give_up(struct cli *cli, const struct built *b)
{
    struct needs n = { .sandbox = { .manage = b->managed, .code = b->vm->accel->makes_code_late } };
    if (cli->pidfile)
        text_add(&n.unlinks, cli->pidfile);
    backends_each(b->vm, add_needs, &n);
    for (size_t i = 0; i < cli->vncs.n; i++)
        add_vnc_path(cli, &n, cli->vncs.at[i]);
    add_vnc_path(cli, &n, cli->display);
    n.sandbox.unlinks = n.unlinks.at;
    n.sandbox.n_unlinks = n.unlinks.n;
    int confined = sandbox_confine_files(&n.sandbox);
    if (confined >= 0)
        backends_each(b->vm, confine_thread, &confined);
    sandbox_close_files(confined);
    struct error *err = sandbox_enter(&n.sandbox);
    free(n.unlinks.at);
    return err;
}

struct error *cli_run(struct cli *cli, struct built *b, int ready_fd, int *status)
{
    struct error *err = NULL;
    *status = 0;
    if (b->only_dumps)
        return NULL;
    if (cli->pidfile)
        err = write_pidfile(cli->pidfile);
    if (err)
        return err;
    if (ready_fd >= 0)
        finish_detach(ready_fd);
    if (cli->sandbox)
        err = give_up(cli, b);
    if (!err)
        *status = vm_run(b->vm);
    if (!err && cli->stats)
        stats_write(&b->stats, b->stats_fd, cli->stats_json);
    if (!err)
        note_verdict(cli, b->vm);
    if (cli->pidfile)
        unlink(cli->pidfile);
    return err;
}
