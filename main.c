/* The command `tandem`: the only place that prints errors and exits. */
#include "cli/cli.h"
#include "cli/compare.h"
#include "core/chardev.h"
#include "core/error.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct error *run(struct cli *cli, int argc, char **argv, int *status)
{
    struct built built = { 0 };
    bool printed;
    int ready_fd = -1;
    struct error *err = cli_parse(cli, argc, argv);
    if (!err)
        err = cli_print_help(cli, &printed);
    if (err || printed)
        return err;
    err = cli_choose(cli);
    if (!err && cli->daemonize)
        err = cli_detach(&ready_fd);
    if (err)
        return err;
    if (cli->chosen)
        fprintf(stderr, "tandem: %s\n", cli->chosen);
    err = cli_build(cli, &built);
    if (cli->engine_line && !err)
        fprintf(stderr, "tandem: %s\n", cli->engine_line);
    if (cli->display_line && !err)
        fprintf(stderr, "tandem: %s\n", cli->display_line);
    if (!err)
        err = cli_run(cli, &built, ready_fd, status);
    cli_unbuild(&built); /* the last output leaves, terminals are restored */
    if (cli->last_line)
        fprintf(stderr, "%s\n", cli->last_line);
    return err;
}

/* A mistake of ours is to leave the user's terminal usable, too. */
static void on_crash(int number)
{
    chardev_restore_terminals();
    signal(number, SIG_DFL);
    raise(number);
}

int main(int argc, char **argv)
{
    static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT };
    struct cli cli;
    int status = 0;
    for (size_t i = 0; i < ARRAY_LEN(crashes); i++)
        sigaction(crashes[i], &(struct sigaction){ .sa_handler = on_crash }, NULL);
    cli_init(&cli);
    bool compares = argc > 1 && !strcmp(argv[1], "compare");
    struct error *err = compares ? compare_run(argc, argv) : run(&cli, argc, argv, &status);
    if (err) {
        chardev_restore_terminals();
        fprintf(stderr, "tandem: %s\n", error_text(err));
        error_free(err);
        status = 1;
    }
    cli_free(&cli);
    return status;
}
