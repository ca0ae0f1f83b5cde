/* From a machine that is ready to the process's exit status. */
#include "cli/cli.h"
#include "cli/stats.h"

#include "core/error.h"
#include "core/sandbox.h"
#include "core/vm.h"

#include <fcntl.h>
#include <stdio.h>
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

static bool names_socket(const struct text_list *list)
{
    bool found = false;
    for (size_t i = 0; i < list->n; i++)
        found |= strstr(list->at[i], "unix:") || strstr(list->at[i], "socket");
    return found;
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
    bool unlinks = cli->pidfile || names_socket(&cli->serials) || names_socket(&cli->monitors) ||
                   names_socket(&cli->chardevs) || names_socket(&cli->vncs) ||
                   names_socket(&cli->qmps) || names_socket(&cli->pretty_qmps) ||
                   (cli->gdb && !strncmp(cli->gdb, "unix:", 5));
    struct sandbox_needs needs = { .network = b->uses_network,
                                   .unlink = unlinks || b->managed,
                                   .manage = b->managed };
    if (cli->sandbox)
        err = sandbox_enter(&needs);
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
