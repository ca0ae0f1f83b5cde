/* `tandem compare`: each side is this program anew, with the user's options, an engine, and statistics into a
 * file that only we see. What it counted comes back as "name value" lines and is laid side by side. */
#include "cli/compare.h"

#include "cli/cli.h"
#include "core/accel.h"
#include "core/clock.h"
#include "core/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEFAULT_LIMIT_S = 120, GRACE_S = 10, N_SIDES = 2 };

struct figure {
    char *name;
    double value[N_SIDES];
    bool has[N_SIDES];
};
struct side {
    const char *engine; /* as -accel takes it */
    char *said;         /* standard error */
    size_t n_said;
    int status;     /* wait status */
    bool cut_short; /* it ran into the limit */
    uint64_t first_byte_ns, wall_ns;
};
struct compare {
    const char *program; /* argv[0]: its name may choose an architecture */
    bool wants_window;   /* it was asked for */
    char **options;
    int n_options;
    bool json, console;
    uint64_t limit_s;
    struct side side[N_SIDES];
    struct figure *figures;
    size_t n;
};

/* ---- the command line ---------------------------------------------------------------------------- */

static struct error *usage(const char *what)
{
    return error_new("compare: %s; it is: tandem compare [--json] [--console] [--limit SECONDS] "
                     "[-a ENGINE[,OPTION=VALUE]] [-b ENGINE[,...]] -- MACHINE OPTIONS",
                     what);
}

/* With one dash or two. */
static bool is_option(const char *arg, const char *name)
{
    size_t dashes = strspn(arg, "-");
    return (dashes == 1 || dashes == 2) && !strcmp(arg + dashes, name);
}

static struct error *take_arguments(struct compare *c, int argc, char **argv)
{
    int i = 2;
    c->limit_s = DEFAULT_LIMIT_S;
    for (; i < argc && strcmp(argv[i], "--"); i++) {
        bool last = i + 1 >= argc;
        if (is_option(argv[i], "json"))
            c->json = true;
        else if (is_option(argv[i], "console"))
            c->console = true;
        else if (is_option(argv[i], "a") && !last)
            c->side[0].engine = argv[++i];
        else if (is_option(argv[i], "b") && !last)
            c->side[1].engine = argv[++i];
        else if (is_option(argv[i], "limit") && !last &&
                 parse_uint(argv[i + 1], 86400, &c->limit_s))
            i++;
        else
            return usage("unknown or incomplete argument");
    }
    if (i + 1 >= argc)
        return usage("the machine's options are missing");
    c->program = argv[0];
    c->options = argv + i + 1;
    c->n_options = argc - i - 1;
    return NULL;
}

/* The guest's options are looked at first: what is wrong with them is said once, and without an engine. */
static struct error *check_options(struct compare *c, struct cli *cli)
{
    char **argv = xcalloc((size_t)c->n_options + 1, sizeof(*argv));
    argv[0] = (char *)c->program;
    memcpy(argv + 1, c->options, (size_t)c->n_options * sizeof(*argv));
    struct error *err = cli_parse(cli, c->n_options + 1, argv);
    free(argv);
    if (!err)
        err = cli_choose(cli);
    if (!err && (cli->accels.n || (cli->machine && strstr(cli->machine, "accel="))))
        err = error_new("compare: the engines are -a and -b, not -accel");
    c->wants_window = cli->display || cli->full_screen;
    if (!err && (cli->daemonize || cli->stats))
        err =
            error_new("compare: %s does not go with it", cli->daemonize ? "-daemonize" : "-stats");
    return err;
}

/* Nothing said: the two best that can serve; one alone is set against its own interpreter. */
static struct error *choose_engines(struct compare *c, const char *arch)
{
    const char *names[N_SIDES] = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < n_accels && n < N_SIDES; i++) {
        struct error *err = accels[i]->available(arch);
        if (!err)
            names[n++] = accels[i]->name;
        error_free(err);
    }
    if (n == 0)
        return error_new("compare: no engine can run %s guests", arch);
    if (!c->side[0].engine)
        c->side[0].engine = names[0];
    if (!c->side[1].engine)
        c->side[1].engine =
            n > 1 && strcmp(c->side[0].engine, names[1]) ? names[1] : "tcg,backend=interp";
    return NULL;
}

/* Asked before anything runs: is there such an engine, and can it serve? */
static struct error *check_engine(const char *text, const char *arch)
{
    size_t n = strcspn(text, ",");
    for (size_t i = 0; i < n_accels; i++)
        if (strlen(accels[i]->name) == n && !strncmp(accels[i]->name, text, n))
            return error_in(accels[i]->available(arch), "compare: %s cannot serve",
                            accels[i]->name);
    return error_new("compare: there is no engine '%.*s'; tandem -accel help lists them", (int)n,
                     text);
}

/* ---- one run ----------------------------------------------------------------------------------------- */

/* No windows unless they were asked for: that somebody sits at a screen is no reason for two. */
static void become_guest(const struct compare *c, const char *engine, int stats_fd, int out,
                         int err)
{
    size_t n = 0;
    char **argv = xcalloc((size_t)c->n_options + 6, sizeof(*argv));
    argv[n++] = (char *)c->program;
    argv[n++] = xasprintf("-stats=text,file=/proc/self/fd/%d", stats_fd);
    argv[n++] = "-accel";
    argv[n++] = (char *)engine;
    memcpy(argv + n, c->options, (size_t)c->n_options * sizeof(*argv));
    if (!c->wants_window) {
        unsetenv("DISPLAY");
        unsetenv("WAYLAND_DISPLAY");
    }
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(out, 1);
    dup2(err, 2);
    fcntl(stats_fd, F_SETFD, 0);
    execv("/proc/self/exe", argv);
    dprintf(2, "tandem: cannot start again: %s\n", strerror(errno));
    _exit(1);
}

static void keep(struct side *s, const char *text, size_t n)
{
    s->said = xrealloc(s->said, s->n_said + n + 1);
    memcpy(s->said + s->n_said, text, n);
    s->n_said += n;
    s->said[s->n_said] = 0;
}

/* A pipe's bytes; false at its end. */
static bool drain(const struct compare *c, struct side *s, int fd, bool is_console, uint64_t from)
{
    char buf[4096];
    ssize_t n = read(fd, buf, sizeof(buf));
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (is_console && n && !s->first_byte_ns)
        s->first_byte_ns = host_now_ns() - from;
    if (is_console && c->console)
        fwrite(buf, 1, (size_t)n, stderr);
    if (!is_console)
        keep(s, buf, (size_t)n);
    return n;
}

/* Until both pipes are closed, which the guest's end does; at the limit it is asked to end, later made to. */
static void watch(const struct compare *c, struct side *s, pid_t child, const int pipes[2],
                  uint64_t from)
{
    struct pollfd fds[2] = { { pipes[0], POLLIN, 0 }, { pipes[1], POLLIN, 0 } };
    uint64_t limit = from + c->limit_s * NS_PER_S;
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        uint64_t now = host_now_ns();
        if (now >= limit) {
            kill(child, s->cut_short ? SIGKILL : SIGTERM);
            s->cut_short = true;
            limit = now + GRACE_S * NS_PER_S;
        }
        if (poll(fds, 2, (int)MIN((limit - now) / 1000000 + 1, UINT64_C(1000))) <= 0)
            continue;
        for (unsigned i = 0; i < 2; i++)
            if (fds[i].fd >= 0 && fds[i].revents && !drain(c, s, fds[i].fd, i == 0, from))
                fds[i].fd = -1;
    }
}

static void add_figure(struct compare *c, unsigned which, const char *name, double value)
{
    size_t i = 0;
    while (i < c->n && strcmp(c->figures[i].name, name))
        i++;
    if (i == c->n) {
        c->figures = xrealloc(c->figures, (i + 1) * sizeof(*c->figures));
        c->figures[c->n++] = (struct figure){ .name = xstrdup(name) };
    }
    c->figures[i].value[which] += value; /* what several have adds up */
    c->figures[i].has[which] = true;
}

/* vCPUs are added up: "vcpu3.halts" is "vcpu.halts". */
static void add_line(struct compare *c, unsigned which, char *line)
{
    char name[512], *end = line + strcspn(line, " ");
    if (!*line || !*end)
        return;
    *end = 0;
    if (!strncmp(line, "vcpu", 4))
        snprintf(name, sizeof(name), "vcpu%s", line + 4 + strspn(line + 4, "0123456789"));
    else
        snprintf(name, sizeof(name), "%s", line);
    add_figure(c, which, name, strtod(end + 1, NULL));
}

/* False if there are none: the guest never started. */
static bool read_stats(struct compare *c, unsigned which, int fd)
{
    FILE *f = fdopen(dup(fd), "r");
    char line[512];
    bool any = false;
    if (!f)
        return false;
    for (rewind(f); fgets(line, sizeof(line), f); any = true)
        add_line(c, which, line);
    fclose(f);
    return any;
}

/* The text behind the last "tandem: " of what a run said. */
static void last_words(const struct side *s, char *to, size_t room)
{
    const char *at = s->said ? s->said : "", *from = at;
    for (const char *p = at; (p = strstr(p, "tandem: ")); p++)
        from = p + strlen("tandem: ");
    snprintf(to, room, "%.*s", (int)strcspn(from, "\n"), from);
}

static struct error *run_side(struct compare *c, unsigned which)
{
    struct side *s = &c->side[which];
    int out[2], err[2], stats = memfd_create("stats", MFD_CLOEXEC);
    if (stats < 0 || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
        return error_errno("compare: cannot make a pipe");
    fflush(NULL);
    uint64_t from = host_now_ns();
    pid_t child = fork();
    if (child < 0)
        return error_errno("compare: cannot start a process");
    if (!child)
        become_guest(c, s->engine, stats, out[1], err[1]);
    close(out[1]);
    close(err[1]);
    watch(c, s, child, (const int[]){ out[0], err[0] }, from);
    struct rusage used;
    while (wait4(child, &s->status, 0, &used) < 0 && errno == EINTR)
        continue;
    s->wall_ns = host_now_ns() - from;
    close(out[0]);
    close(err[0]);
    add_figure(c, which, "time.wall_s", (double)s->wall_ns / 1e9);
    if (s->first_byte_ns)
        add_figure(c, which, "time.first_byte_s", (double)s->first_byte_ns / 1e9);
    bool ran = read_stats(c, which, stats);
    close(stats);
    char words[200];
    last_words(s, words, sizeof(words));
    if (WIFEXITED(s->status) && WEXITSTATUS(s->status) == 1 && !ran)
        return error_new("compare: %s: %s", s->engine, words);
    return NULL;
}

/* ---- the comparison -------------------------------------------------------------------------------------- */

/* Figures in groups, by how their names begin. */
static const struct group {
    const char *title, *prefix;
    bool strip; /* the prefix says nothing that the title does not */
} groups[] = {
    { "time and memory", "time.", true },
    { "", "process.", true },
    { "vCPUs", "vcpu.", true },
    { "", "guest.", true },
    { "devices, as the guest sees them", "mmio.", true },
    { "disks, networks, terminals", "drive.", false },
    { "", "net.", false },
    { "", "char.", false },
    { "only KVM", "kvm.", true },
    { "only the translator", "tcg.", true },
};

static void format_value(char *to, size_t room, const struct figure *f, unsigned which)
{
    double v = f->value[which];
    if (!f->has[which])
        snprintf(to, room, "-");
    else if (v == (double)(int64_t)v)
        snprintf(to, room, "%" PRId64, (int64_t)v);
    else
        snprintf(to, room, "%.4f", v);
}

static bool is_worth_a_line(const struct figure *f)
{
    return f->value[0] != 0 || f->value[1] != 0;
}

static void print_figure(const struct figure *f, const char *name)
{
    char a[32], b[32], ratio[32] = "";
    format_value(a, sizeof(a), f, 0);
    format_value(b, sizeof(b), f, 1);
    if (f->has[0] && f->has[1] && f->value[0] != 0)
        snprintf(ratio, sizeof(ratio), "%.2f", f->value[1] / f->value[0]);
    printf("  %-38s %16s %16s %9s\n", name, a, b, ratio);
}

static void print_group(const struct compare *c, const struct group *g, bool *titled)
{
    size_t n = strlen(g->prefix);
    *titled &= !*g->title;
    for (size_t i = 0; i < c->n; i++) {
        if (strncmp(c->figures[i].name, g->prefix, n) || !is_worth_a_line(&c->figures[i]))
            continue;
        if (!*titled && *g->title)
            printf("%s\n", g->title);
        *titled = true;
        print_figure(&c->figures[i], c->figures[i].name + (g->strip ? n : 0));
    }
}

static const char *end_of(const struct side *s, char *buf, size_t room)
{
    last_words(s, buf, room);
    if (s->cut_short)
        snprintf(buf, room, "stopped at the limit");
    else if (WIFSIGNALED(s->status))
        snprintf(buf, room, "killed by signal %d", WTERMSIG(s->status));
    buf[strcspn(buf, ":(")] = 0; /* "verdict: what it means" */
    return buf;
}

static void print_text(const struct compare *c)
{
    char a[200], b[200];
    bool titled = false;
    printf("  %-38s %16s %16s %9s\n", "", c->side[0].engine, c->side[1].engine, "b / a");
    printf("  %-38s %16s %16s\n", "the run ended:", end_of(&c->side[0], a, sizeof(a)),
           end_of(&c->side[1], b, sizeof(b)));
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        print_group(c, &groups[i], &titled);
}

static void print_json_text(const char *s)
{
    putchar('"');
    for (; *s; s++)
        if (*s == '"' || *s == '\\' || (unsigned char)*s < ' ')
            printf("\\u%04x", (unsigned char)*s);
        else
            putchar(*s);
    putchar('"');
}

static void print_json_side(const struct compare *c, unsigned which)
{
    const struct side *s = &c->side[which];
    char end[200];
    printf("  \"%c\": {\n    \"engine\": ", "ab"[which]);
    print_json_text(s->engine);
    printf(",\n    \"end\": ");
    print_json_text(end_of(s, end, sizeof(end)));
    printf(",\n    \"status\": %d,\n    \"figures\": {",
           WIFEXITED(s->status) ? WEXITSTATUS(s->status) : 128 + WTERMSIG(s->status));
    bool first = true;
    for (size_t i = 0; i < c->n; i++) {
        if (!c->figures[i].has[which])
            continue;
        printf("%s\n      ", first ? "" : ",");
        print_json_text(c->figures[i].name);
        printf(": %.15g", c->figures[i].value[which]);
        first = false;
    }
    printf("\n    }\n  }");
}

static void print_json(const struct compare *c)
{
    printf("{\n  \"options\": [");
    for (int i = 0; i < c->n_options; i++) {
        printf("%s", i ? ", " : "");
        print_json_text(c->options[i]);
    }
    printf("],\n");
    print_json_side(c, 0);
    printf(",\n");
    print_json_side(c, 1);
    printf("\n}\n");
}

struct error *compare_run(int argc, char **argv)
{
    struct compare c = { 0 };
    struct cli cli;
    cli_init(&cli);
    struct error *err = take_arguments(&c, argc, argv);
    if (!err)
        err = check_options(&c, &cli);
    if (!err)
        err = choose_engines(&c, cli.arch);
    for (unsigned i = 0; i < N_SIDES && !err; i++)
        err = check_engine(c.side[i].engine, cli.arch);
    for (unsigned i = 0; i < N_SIDES && !err; i++)
        err = run_side(&c, i);
    if (!err)
        (c.json ? print_json : print_text)(&c);
    for (size_t i = 0; i < c.n; i++)
        free(c.figures[i].name);
    free(c.figures);
    for (unsigned i = 0; i < N_SIDES; i++)
        free(c.side[i].said);
    cli_free(&cli);
    return err;
}
