/* Character back ends. */
#include "core/chardev.h"

#include "board.h"
#include "core/backends.h"
#include "core/error.h"
#include "core/loop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

/* A front end that keeps what it gets, as long as it has room. */
struct front {
    size_t room, n;
    char got[8192];
    unsigned events[8];
    struct board *b;
    struct chardev *to;
};

static size_t front_room(void *opaque)
{
    return ((struct front *)opaque)->room;
}

static void front_receive(void *opaque, const uint8_t *data, size_t n)
{
    struct front *f = opaque;
    assert_true(n <= f->room && f->n + n < sizeof(f->got));
    memcpy(f->got + f->n, data, n);
    f->n += n;
    f->got[f->n] = 0;
    f->room -= n;
}

static void front_event(void *opaque, int event)
{
    ((struct front *)opaque)->events[event]++;
}

static void attach(struct chardev *c, struct front *f)
{
    chardev_attach(c, &(struct chardev_front){ front_room, front_receive, front_event, f });
}

static struct chardev *open_it(struct board *b, const char *spec)
{
    struct chardev *c;
    struct error *err = chardev_open(b->vm, "t", spec, &c);
    if (err)
        print_error("%s\n", error_text(err));
    assert_null(err);
    return c;
}

static void put(struct chardev *c, const char *text)
{
    chardev_write(c, (const uint8_t *)text, strlen(text));
}

static void feed(struct chardev *c, const char *text)
{
    chardev_feed(c, (const uint8_t *)text, strlen(text));
}

/* Let the loop run until the output's delay is over. */
static void settle(struct board *b)
{
    for (int i = 0; i < 4; i++) {
        board_step(b);
        usleep(1000);
    }
    board_step(b);
}

static void a_file_gets_what_is_written(void **unused)
{
    struct board *b = board_new();
    char dir[] = "/tmp/chardev-XXXXXX", path[64], spec[80], got[64] = { 0 };
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a,b", dir);
    snprintf(spec, sizeof(spec), "file:%s/a,,b", dir);
    struct chardev *c = open_it(b, spec);
    put(c, "hello ");
    settle(b);
    put(c, "world"); /* flushed by closing */
    chardev_close(c);
    int fd = open(path, O_RDONLY);
    assert_int_equal(read(fd, got, sizeof(got)), 11);
    assert_string_equal(got, "hello world");
    close(fd);
    unlink(path);
    rmdir(dir);
    board_free(b);
}

static void a_ringbuf_keeps_the_newest(void **unused)
{
    struct board *b = board_new();
    struct chardev *c = open_it(b, "ringbuf,size=8");
    uint8_t got[16];
    put(c, "0123456789");
    assert_int_equal(chardev_ringbuf_read(c, got, 3), 3);
    assert_memory_equal(got, "234", 3);
    assert_int_equal(chardev_ringbuf_read(c, got, sizeof(got)), 5);
    assert_memory_equal(got, "56789", 5);
    assert_int_equal(chardev_ringbuf_read(c, got, sizeof(got)), 0);
    chardev_close(c);
    board_free(b);
}

static void input_waits_for_room(void **unused)
{
    struct board *b = board_new();
    struct chardev *c = open_it(b, "null");
    struct front f = { .room = 2 };
    attach(c, &f);
    assert_int_equal(f.events[CHARDEV_OPENED], 1);
    feed(c, "abcdef");
    assert_string_equal(f.got, "ab");
    f.room = 3;
    chardev_accept(c);
    board_step(b);
    assert_string_equal(f.got, "abcde");
    chardev_detach(c);
    chardev_close(c);
    board_free(b);
}

static int connect_to(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(at.sun_path, path);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

static void a_socket_serves_one_peer_after_the_other(void **unused)
{
    struct board *b = board_new();
    char dir[] = "/tmp/chardev-XXXXXX", path[64], spec[128], got[64] = { 0 };
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(spec, sizeof(spec), "socket,path=%s,server=on,wait=off", path);
    struct chardev *c = open_it(b, spec);
    struct front f = { .room = 1000 };
    attach(c, &f);
    assert_int_equal(f.events[CHARDEV_OPENED], 0);
    put(c, "nobody hears this");
    for (unsigned round = 1; round <= 2; round++) {
        int fd = connect_to(path);
        settle(b);
        assert_int_equal(f.events[CHARDEV_OPENED], round);
        assert_int_equal(write(fd, "ping", 4), 4);
        put(c, "pong");
        settle(b);
        assert_int_equal(f.n, 4 * round);
        assert_int_equal(read(fd, got, sizeof(got)), 4);
        assert_memory_equal(got, "pong", 4);
        close(fd);
        settle(b);
        assert_int_equal(f.events[CHARDEV_CLOSED], round);
    }
    chardev_close(c);
    assert_int_equal(access(path, F_OK), -1);
    rmdir(dir);
    board_free(b);
}

static void a_socket_can_be_passed_in(void **unused)
{
    struct board *b = board_new();
    int pair[2];
    char spec[64], got[8] = { 0 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(spec, sizeof(spec), "socket,fd=%d", pair[0]);
    struct chardev *c = open_it(b, spec);
    put(c, "hi");
    settle(b);
    assert_int_equal(read(pair[1], got, sizeof(got)), 2);
    chardev_close(c);
    assert_int_equal(read(pair[1], got, sizeof(got)), 0);
    close(pair[1]);
    board_free(b);
}

static void a_reader_that_stops_costs_64_kib_and_no_time(void **unused)
{
    struct board *b = board_new();
    int pair[2];
    char spec[64], text[1024];
    struct front f = { 0 };
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(spec, sizeof(spec), "socket,fd=%d", pair[0]);
    struct chardev *c = open_it(b, spec);
    attach(c, &f);
    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 1024; i++) {
        chardev_write(c, (uint8_t *)text, sizeof(text));
        board_step(b);
    }
    struct chardev_counts counts;
    chardev_counts(c, &counts);
    assert_int_equal(chardev_space(c), 0);
    assert_int_equal(counts.out + counts.dropped + 65536, MIB);
    assert_true(counts.dropped > 0);
    while (recv(pair[1], text, sizeof(text), MSG_DONTWAIT) > 0)
        continue;
    settle(b);
    assert_true(chardev_space(c) > 0);
    assert_int_equal(f.events[CHARDEV_WRITABLE], 1);
    close(pair[1]);
    settle(b);
    assert_int_equal(f.events[CHARDEV_CLOSED], 1);
    chardev_close(c);
    board_free(b);
}

/* Opens a pty, and tells what that printed on standard output. */
static struct chardev *open_pty(struct board *b, char *said, size_t size)
{
    int fds[2], out = dup(STDOUT_FILENO);
    assert_int_equal(pipe(fds), 0);
    fflush(stdout);
    assert_true(dup2(fds[1], STDOUT_FILENO) >= 0);
    struct chardev *c = open_it(b, "pty");
    fflush(stdout);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    ssize_t n = read(fds[0], said, size - 1);
    said[n > 0 ? n : 0] = 0;
    close(fds[0]);
    close(fds[1]);
    close(out);
    return c;
}

static void a_pty_is_a_terminal_for_somebody_else(void **unused)
{
    struct board *b = board_new();
    char said[128], expected[128], got[16] = { 0 };
    struct chardev *c = open_pty(b, said, sizeof(said));
    struct front f = { .room = 100 };
    snprintf(expected, sizeof(expected), "char device redirected to %s (label t)\n",
             chardev_where(c));
    assert_string_equal(said, expected);
    attach(c, &f);
    int fd = open(chardev_where(c), O_RDWR | O_NOCTTY);
    assert_true(fd >= 0);
    put(c, "login: ");
    settle(b);
    assert_int_equal(read(fd, got, sizeof(got)), 7);
    assert_int_equal(write(fd, "root\r", 5), 5);
    for (int i = 0; i < 5000 && f.n < 5; i++) /* the host's terminal layer takes its time */
        settle(b);
    assert_string_equal(f.got, "root\r");
    close(fd);
    settle(b);
    put(c, "x"); /* nobody there: no hang-up, no spin */
    settle(b);
    chardev_close(c);
    board_free(b);
}

/* ---- the user's terminal ---------------------------------------------------------------------- */

enum { END_BY_EXIT, END_BY_CLOSE, END_BY_ABORT, END_BY_SIGTERM, END_BY_CTRL_A_X, N_ENDS };

/* With the slave as its terminal: open it, say so, end as told. */
static void use_terminal(const char *name, const char *spec, int ready, int how)
{
    setsid();
    int fd = open(name, O_RDWR);
    dup2(fd, 0);
    dup2(fd, 1);
    struct board *b = board_new();
    struct chardev *c;
    signal(SIGABRT, SIG_DFL); /* cmocka's */
    if (chardev_open(b->vm, "t", spec, &c))
        _exit(1);
    put(c, "hello");
    for (int i = 0; i < 10; i++)
        settle(b);
    if (write(ready, "", 1) != 1)
        _exit(1);
    switch (how) {
    case END_BY_EXIT: exit(0);
    case END_BY_CLOSE: chardev_close(c); _exit(0);
    case END_BY_ABORT: abort();
    case END_BY_SIGTERM: raise(SIGTERM); break;
    case END_BY_CTRL_A_X:
        b->vm->start_paused = true;
        vm_run(b->vm);
        chardev_close(c);
        board_free(b);
        _exit(0);
    }
    _exit(1);
}

static void terminal_is_given_back(const char *spec, bool signals, int how)
{
    struct termios before, during, after;
    char name[64], byte;
    int ready[2], status, master = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(master >= 0 && !grantpt(master) && !unlockpt(master) && !pipe(ready));
    assert_int_equal(ptsname_r(master, name, sizeof(name)), 0);
    int slave = open(name, O_RDWR | O_NOCTTY);
    assert_int_equal(tcgetattr(slave, &before), 0);
    pid_t child = fork();
    if (!child)
        use_terminal(name, spec, ready[1], how);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(tcgetattr(slave, &during), 0);
    if (how == END_BY_CTRL_A_X) {
        assert_false(during.c_lflag & (ECHO | ICANON));
        assert_int_equal(!!(during.c_lflag & ISIG), signals);
        assert_int_equal(write(master, "\1x", 2), 2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(tcgetattr(slave, &after), 0);
    assert_int_equal(after.c_lflag, before.c_lflag);
    assert_int_equal(after.c_iflag, before.c_iflag);
    assert_false(fcntl(slave, F_GETFL) & O_NONBLOCK);
    if (how == END_BY_ABORT)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    if (how == END_BY_SIGTERM)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    char said[16];
    assert_true(read(master, said, sizeof(said)) >= 5);
    assert_memory_equal(said, "hello", 5);
    close(slave);
    close(master);
    close(ready[0]);
    close(ready[1]);
}

static void the_terminal_is_given_back_whatever_happens(void **unused)
{
    for (int how = 0; how < N_ENDS; how++)
        terminal_is_given_back("mon:stdio", false, how);
    terminal_is_given_back("stdio", true, END_BY_ABORT);
}

static void what_is_typed_counts_when_nobody_reads_the_output(void **unused)
{
    int in[2], out[2], status;
    assert_true(!pipe(in) && !pipe(out));
    pid_t child = fork();
    if (!child) {
        struct chardev *c;
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        signal(SIGPIPE, SIG_IGN);
        alarm(20);
        struct board *b = board_new();
        if (chardev_open(b->vm, "t", "mon:stdio", &c))
            _exit(1);
        put(c, "nobody reads this");
        for (int i = 0; i < 10; i++)
            settle(b);
        b->vm->start_paused = true;
        if (write(in[1], "\1x", 2) != 2)
            _exit(1);
        vm_run(b->vm);
        _exit(b->vm->verdict == VERDICT_QUIT ? 0 : 1);
    }
    close(out[0]);
    close(out[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(in[0]);
    close(in[1]);
}

static struct chardev *open_mux(struct board *b, struct front *serial, struct front *monitor,
                                struct chardev **port)
{
    struct chardev *c = open_it(b, "ringbuf,mux=on");
    *port = chardev_attach_monitor(
        c, &(struct chardev_front){ front_room, front_receive, front_event, monitor });
    attach(c, serial);
    return c;
}

static void ctrl_a_keys_are_for_the_mux(void **unused)
{
    struct board *b = board_new();
    struct front serial = { .room = 100 }, monitor = { .room = 100 };
    struct chardev *port, *c = open_mux(b, &serial, &monitor, &port);
    uint8_t text[1024] = { 0 };
    feed(c, "ab\1");
    feed(c, "\1c");
    assert_string_equal(serial.got, "ab\1c");
    feed(c, "\1b");
    assert_int_equal(serial.events[CHARDEV_BREAK], 1);
    feed(c, "\1h");
    assert_true(chardev_ringbuf_read(c, text, sizeof(text) - 1) > 0);
    assert_non_null(strstr((char *)text, "Ctrl-A x"));
    assert_int_equal(monitor.events[CHARDEV_OPENED], 0);
    feed(c, "x\1cinfo");
    assert_int_equal(monitor.events[CHARDEV_OPENED], 1);
    assert_string_equal(monitor.got, "info");
    assert_string_equal(serial.got, "ab\1cx");
    feed(c, "\1cy\1c");
    assert_string_equal(serial.got, "ab\1cxy");
    assert_int_equal(monitor.events[CHARDEV_FOCUS], 1);
    assert_int_equal(b->vm->verdict, VERDICT_NONE);
    feed(c, "\1x");
    assert_int_equal(b->vm->verdict, VERDICT_QUIT);
    chardev_close(c);
    board_free(b);
}

static void ctrl_a_x_works_when_the_guest_reads_nothing(void **unused)
{
    struct board *b = board_new();
    struct front serial = { .room = 0 }, monitor = { .room = 100 };
    struct chardev *port, *c = open_mux(b, &serial, &monitor, &port);
    for (int i = 0; i < 100000 / 50; i++)
        feed(c, "much that is typed into a guest that does not read");
    feed(c, "\1x");
    assert_int_equal(b->vm->verdict, VERDICT_QUIT);
    chardev_detach(port);
    chardev_close(c);
    board_free(b);
}

static void a_mux_serves_several_devices(void **unused)
{
    struct board *b = board_new();
    struct chardev *c, *first, *second;
    assert_null(chardev_add(b->vm, "m", "null,mux=on", &c));
    assert_null(backend_take_chardev(b->vm, "m", &first));
    struct front f = { .room = 10 }, g = { .room = 10 };
    attach(first, &f);
    assert_null(backend_take_chardev(b->vm, "m", &second));
    attach(second, &g);
    assert_ptr_not_equal(first, second);
    feed(c, "a\1cb");
    assert_string_equal(f.got, "a");
    assert_string_equal(g.got, "b");
    board_free(b); /* the VM owns it */
}

/* A back end "s" whose other side is pair[1]. */
static struct chardev *add_socket(struct board *b, int *pair)
{
    struct chardev *c;
    char spec[64];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(spec, sizeof(spec), "socket,fd=%d", pair[0]);
    assert_null(chardev_add(b->vm, "s", spec, &c));
    return c;
}

static void say(struct board *b, int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    settle(b);
}

static void a_mux_can_be_made_over_a_back_end(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 100 }, g = { .room = 100 };
    struct chardev *base, *mux, *first, *second;
    char got[16] = { 0 };
    int pair[2];
    base = add_socket(b, pair);
    say(b, pair[1], "early ");
    assert_null(chardev_add(b->vm, "m", "mux,chardev=s", &mux));
    assert_null(backend_take_chardev(b->vm, "m", &first));
    attach(first, &f);
    assert_null(backend_take_chardev(b->vm, "m", &second));
    attach(second, &g);
    assert_int_equal(f.events[CHARDEV_OPENED] + g.events[CHARDEV_OPENED], 2);
    say(b, pair[1], "a\1cb\1\1\1c");
    assert_string_equal(f.got, "early a");
    assert_string_equal(g.got, "b\1");
    put(first, "1");
    put(second, "2");
    settle(b);
    assert_int_equal(read(pair[1], got, sizeof(got)), 2);
    assert_string_equal(got, "12");
    chardev_break(base); /* as telnet has it */
    assert_int_equal(f.events[CHARDEV_BREAK], 1);
    assert_int_equal(g.events[CHARDEV_BREAK], 0);
    assert_true(chardev_is_connected(mux));
    close(pair[1]);
    settle(b);
    assert_false(chardev_is_connected(mux));
    assert_int_equal(f.events[CHARDEV_CLOSED] + g.events[CHARDEV_CLOSED], 2);
    board_free(b);
}

static void who_writes_to_such_a_mux_waits_for_the_same_reader(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 100 };
    struct chardev *mux;
    char text[1024] = { 0 };
    int pair[2];
    add_socket(b, pair);
    assert_null(chardev_add(b->vm, "m", "mux,chardev=s", &mux));
    attach(mux, &f);
    for (size_t n; (n = chardev_space(mux)); settle(b))
        for (; n; n -= MIN(n, sizeof(text)))
            chardev_write(mux, (uint8_t *)text, MIN(n, sizeof(text)));
    unsigned before = f.events[CHARDEV_WRITABLE]; /* while the kernel still took some */
    while (recv(pair[1], text, sizeof(text), MSG_DONTWAIT) > 0)
        continue;
    settle(b);
    assert_int_equal(f.events[CHARDEV_WRITABLE], before + 1);
    assert_true(chardev_space(mux) > 0);
    close(pair[1]);
    board_free(b);
}

/* Its base may be exchanged, its front ends do not notice. */
static void a_base_changes_under_its_mux(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 100 };
    struct chardev *base, *mux;
    uint8_t got[16];
    int pair[2];
    base = add_socket(b, pair);
    assert_null(chardev_add(b->vm, "m", "mux,chardev=s", &mux));
    attach(mux, &f);
    assert_null(chardev_change(b->vm, "s", "ringbuf,id=s"));
    put(mux, "new");
    feed(base, "typed");
    assert_int_equal(chardev_ringbuf_read(base, got, sizeof(got)), 3);
    assert_memory_equal(got, "new", 3);
    assert_string_equal(f.got, "typed");
    assert_int_equal(recv(pair[1], got, sizeof(got), 0), 0); /* hung up, and nothing came */
    close(pair[1]);
    board_free(b);
}

/* A descriptor of `file` with a byte before it. */
static void send_fd(int socket, int file)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
    struct iovec iov = { "x", 1 };
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    *c = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
    memcpy(CMSG_DATA(c), &file, sizeof(file));
    assert_int_equal(sendmsg(socket, &m, 0), 1);
}

/* Who takes descriptors takes them from whatever comes in the socket's place. */
static void descriptors_come_from_a_new_socket_too(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 100 };
    char spec[64];
    int pair[2], other[2];
    struct chardev *c = add_socket(b, pair);
    attach(c, &f);
    chardev_receive_fds(c);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, other), 0);
    snprintf(spec, sizeof(spec), "socket,id=s,fd=%d", other[0]);
    assert_null(chardev_change(b->vm, "s", spec));
    send_fd(other[1], other[1]);
    settle(b);
    assert_string_equal(f.got, "x");
    int fd = chardev_take_fd(c);
    assert_true(fd >= 0);
    close(fd);
    close(other[1]);
    close(pair[1]);
    board_free(b);
}

static void refused(struct error *err, const char *says)
{
    assert_non_null(err);
    if (!strstr(error_text(err), says))
        fail_msg("'%s' lacks '%s'", error_text(err), says);
    error_free(err);
}

static void a_mux_takes_an_unused_back_end_and_gives_it_back(void **unused)
{
    struct board *b = board_new();
    struct vm *vm = b->vm;
    struct front f = { .room = 100 };
    struct chardev *c, *mux, *port;
    const struct chardev_front monitor = { front_room, front_receive, front_event, &f };
    assert_null(chardev_add(vm, "c", "ringbuf", &c));
    refused(chardev_add(vm, "m", "mux", &mux), "chardev=ID");
    refused(chardev_add(vm, "m", "mux,chardev=d", &mux), "there is no character back end 'd'");
    refused(chardev_add(vm, "m", "mux,chardev=c,wait=off", &mux), "wait");
    refused(chardev_add(vm, "c", "mux,chardev=c", &mux), "already");
    assert_false(backend_in_use(vm, BACKEND_CHARDEV, "c"));
    assert_null(backend_take_chardev(vm, "c", &c));
    refused(chardev_add(vm, "m", "mux,chardev=c", &mux), "'c' is already in use");
    backend_give_back(vm, c);
    attach(c, &f); /* a front end that nobody counts */
    refused(chardev_add(vm, "m", "mux,chardev=c", &mux), "'c' is already in use");
    chardev_detach(c);
    assert_null(chardev_add(vm, "m", "mux,chardev=c", &mux));
    refused(chardev_add(vm, "m2", "mux,chardev=c", &port), "'c' is already in use");
    refused(chardev_add(vm, "m2", "mux,chardev=m", &port), "is a mux itself");
    refused(chardev_change(vm, "c", "mux,chardev=m"), "is a mux itself");
    refused(chardev_change(vm, "m", "null"), "cannot be changed");
    refused(backend_remove(vm, BACKEND_CHARDEV, "c"), "in use");
    port = chardev_attach_monitor(mux, &monitor); /* counted by nobody, but there */
    refused(backend_remove(vm, BACKEND_CHARDEV, "m"), "in use");
    chardev_detach(port);
    assert_null(backend_take_chardev(vm, "m", &port));
    refused(backend_remove(vm, BACKEND_CHARDEV, "m"), "in use");
    backend_give_back(vm, port);
    assert_null(backend_remove(vm, BACKEND_CHARDEV, "m"));
    attach(c, &f);
    feed(c, "\1c");
    assert_string_equal(f.got, "\1c"); /* its own again */
    chardev_detach(c);
    assert_null(chardev_add(vm, "m", "mux,chardev=c", &mux));
    board_free(b);
}

static void bad_texts_are_refused_by_name(void **unused)
{
    static const struct {
        const char *spec, *says;
    } bad[] = {
        { "stdoi", "did you mean 'stdio'?" },
        { "file:", "needs a path" },
        { "file:/nowhere/at/all", "cannot write to '/nowhere/at/all'" },
        { "file:/tmp/x,sever=on", "sever" },
        { "ringbuf,size=0", "size" },
        { "tcp:localhost", "HOST:PORT" },
        { "unix:/nowhere/at/all", "cannot connect to unix:/nowhere/at/all" },
        { "unix:/nowhere/at/all,server=on,wait=off", "cannot listen on" },
        { "socket,fd=0x99999", "fd=" },
        { "socket,fd=999", "fd=" },
        { "unix:/tmp/x,server=maybe", "neither on nor off" },
        { "chardev:c7", "'c7'" },
        { "tcp:127.0.0.1:1,server,nowait,reconnect=1", "for clients" },
        { "tcp:127.0.0.1:1,reconnect=soon", "number of seconds" },
        { "tcp:127.0.0.1:1,reconnect=1,reconnect-ms=1", "give one" },
        { "udp:127.0.0.1", "port" },
        { "pipe:/nowhere/at/all", "/nowhere/at/all" },
        { "/dev/null", "no serial port" },
        { "null,logfile=/nowhere/at/all", "logfile='/nowhere/at/all'" },
    };
    struct board *b = board_new();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct chardev *c;
        struct error *err = chardev_open(b->vm, NULL, bad[i].spec, &c);
        assert_non_null(err);
        if (!strstr(error_text(err), bad[i].says))
            fail_msg("'%s' lacks '%s'", error_text(err), bad[i].says);
        error_free(err);
    }
    struct error *err = chardev_add_option(b->vm, "null");
    assert_non_null(strstr(error_text(err), "id="));
    error_free(err);
    board_free(b);
}

/* ---- telnet, clients that come back, pipes, logs -------------------------------------------------- */

static int connect_to_port(struct chardev *c)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    at.sin_port = htons((uint16_t)atoi(strrchr(chardev_where(c), ':') + 1));
    assert_int_not_equal(at.sin_port, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

/* A server on a port of its own, and a client of it. */
static struct chardev *serve_tcp(struct board *b, const char *kind, int *peer)
{
    char spec[96];
    snprintf(spec, sizeof(spec), "%s:127.0.0.1:0,server,nowait,nodelay", kind);
    struct chardev *c = open_it(b, spec);
    *peer = connect_to_port(c);
    for (int i = 0; i < 5000 && !chardev_is_connected(c); i++)
        settle(b);
    assert_true(chardev_is_connected(c));
    return c;
}

/* What comes, until `n` bytes are there. */
static void assert_receives(struct board *b, int fd, const char *bytes, size_t n)
{
    char got[256];
    size_t have = 0;
    for (int i = 0; i < 5000 && have < n; i++) {
        ssize_t did = recv(fd, got + have, sizeof(got) - have, MSG_DONTWAIT);
        have += did > 0 ? (size_t)did : 0;
        settle(b);
    }
    assert_int_equal(have, n);
    assert_memory_equal(got, bytes, n);
}

static void expect_input(struct board *b, struct front *f, const char *text)
{
    for (int i = 0; i < 5000 && f->n < strlen(text); i++)
        settle(b);
    assert_string_equal(f->got, text);
}

#define TELNET_GREETING "\377\373\1\377\373\3\377\373\0\377\375\0"

static void telnet_negotiates_and_escapes(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 1000 };
    int fd;
    struct chardev *c = serve_tcp(b, "telnet", &fd);
    attach(c, &f);
    assert_receives(b, fd, TELNET_GREETING, 12);
    put(c, "a\377b");
    assert_receives(b, fd, "a\377\377b", 4);
    /* Agreeing is not answered; unknown wishes are refused; what is no longer wanted is confirmed. */
    assert_int_equal(write(fd, "\377\375\1\377\375\3x", 7), 7);
    expect_input(b, &f, "x");
    assert_int_equal(write(fd, "\377\375\30\377\373\37\377\376\1\377\374\42", 12), 12);
    assert_receives(b, fd, "\377\374\30\377\376\37\377\374\1", 9);
    assert_int_equal(write(fd, "\377\366", 2), 2); /* are you there? */
    assert_receives(b, fd, "\r\n[yes]\r\n", 9);
    close(fd);
    chardev_close(c);
    board_free(b);
}

static void greet(void *opaque, int event)
{
    struct front *f = opaque;
    if (event == CHARDEV_OPENED)
        put(f->to, "login: ");
}

static void telnet_negotiates_before_anything_is_said(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 10 };
    struct chardev *c = open_it(b, "telnet:127.0.0.1:0,server,nowait");
    f.to = c;
    chardev_attach(c, &(struct chardev_front){ front_room, front_receive, greet, &f });
    int fd = connect_to_port(c);
    assert_receives(b, fd, TELNET_GREETING "login: ", 19);
    close(fd);
    chardev_close(c);
    board_free(b);
}

static void telnet_commands_may_be_cut_anywhere(void **unused)
{
    static const char sent[] =
        "1\377\3772\377\372\30\0junk\377\377more\377\3603\r\0004\377\3615\377\3646";
    struct board *b = board_new();
    struct front f = { .room = 1000 };
    int fd;
    struct chardev *c = serve_tcp(b, "telnet", &fd);
    attach(c, &f);
    for (size_t i = 0; i < sizeof(sent) - 1; i++) {
        assert_int_equal(write(fd, sent + i, 1), 1);
        settle(b);
    }
    expect_input(b, &f,
                 "1\3772"
                 "3\r4"
                 "5\0036");
    close(fd);
    chardev_close(c);
    board_free(b);
}

static void a_break_of_telnet_comes_between_what_was_typed(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 1000 };
    int fd;
    struct chardev *c = serve_tcp(b, "telnet", &fd);
    attach(c, &f);
    assert_int_equal(write(fd, "x\377\363y", 4), 4);
    expect_input(b, &f, "xy");
    assert_int_equal(f.events[CHARDEV_BREAK], 1);
    close(fd);
    chardev_close(c);
    board_free(b);
}

/* A peer that asks for ever and reads nothing: no memory, no loop. */
static void telnet_garbage_costs_nothing(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 0 };
    int fd;
    uint8_t junk[4096];
    struct chardev *c = serve_tcp(b, "telnet", &fd);
    attach(c, &f);
    for (size_t i = 0; i < sizeof(junk); i += 4)
        memcpy(junk + i, "\377\375\377\377", 4); /* DO 255, IAC */
    for (int i = 0; i < 2000; i++) {
        if (send(fd, junk, sizeof(junk), MSG_DONTWAIT) < 0)
            usleep(10);
        board_step(b);
    }
    assert_true(chardev_is_connected(c));
    assert_int_equal(f.n, 0);
    close(fd);
    chardev_close(c);
    board_free(b);
}

/* What a peer said before it left is not lost while the guest is slow; one whose guest never reads is no reason to
 * turn away the next. */
static void a_peer_that_left_makes_room(void **unused)
{
    struct board *b = board_new();
    char dir[] = "/tmp/chardev-XXXXXX", path[64], spec[128];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(spec, sizeof(spec), "socket,path=%s,server=on,wait=off", path);
    struct chardev *c = open_it(b, spec);
    struct front f = { .room = 1 };
    attach(c, &f);
    int fd = connect_to(path);
    assert_int_equal(write(fd, "abc", 3), 3);
    settle(b);
    assert_int_equal(write(fd, "def", 3), 3);
    close(fd);
    settle(b);
    assert_true(chardev_is_connected(c));
    f.room = 3;
    chardev_accept(c);
    settle(b);
    assert_string_equal(f.got, "abcd");
    f.room = 2;
    chardev_accept(c);
    settle(b);
    assert_int_equal(f.events[CHARDEV_CLOSED], 1);

    fd = connect_to(path);
    assert_int_equal(write(fd, "x", 1), 1);
    settle(b);
    close(fd);
    settle(b);
    fd = connect_to(path);
    settle(b);
    assert_int_equal(f.events[CHARDEV_CLOSED], 2);
    assert_int_equal(f.events[CHARDEV_OPENED], 3);
    put(c, "hello");
    assert_receives(b, fd, "hello", 5);
    assert_int_equal(write(fd, "y", 1), 1);
    f.room = 9; /* for the second one's "x", which nobody wants any more, and the third one's */
    chardev_accept(c);
    settle(b);
    assert_string_equal(f.got, "abcdefy");
    close(fd);
    chardev_close(c);
    rmdir(dir);
    board_free(b);
}

static void a_client_comes_back(void **unused)
{
    struct board *b = board_new();
    char dir[] = "/tmp/chardev-XXXXXX", path[64], spec[160];
    struct front f = { .room = 1000 };
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    snprintf(spec, sizeof(spec), "socket,path=%s,reconnect-ms=5", path);
    struct chardev *c = open_it(b, spec); /* nobody is there yet */
    attach(c, &f);
    settle(b);
    assert_int_equal(f.events[CHARDEV_OPENED], 0);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    strcpy(at.sun_path, path);
    assert_true(!bind(listener, (struct sockaddr *)&at, sizeof(at)) && !listen(listener, 1));
    for (unsigned round = 1; round <= 3; round++) {
        for (int i = 0; i < 5000 && f.events[CHARDEV_OPENED] < round; i++)
            settle(b);
        int fd = accept(listener, NULL, NULL);
        put(c, "hello");
        assert_receives(b, fd, "hello", 5);
        close(fd);
        for (int i = 0; i < 5000 && f.events[CHARDEV_CLOSED] < round; i++)
            settle(b);
    }
    assert_int_equal(f.events[CHARDEV_CLOSED], 3);
    struct chardev_needs needs;
    chardev_needs(c, &needs);
    assert_true(needs.connect_unix && !needs.connect_inet && !needs.unlink);
    chardev_close(c);
    close(listener);
    unlink(path);
    rmdir(dir);
    board_free(b);
}

static void a_server_looks_for_a_free_port(void **unused)
{
    struct board *b = board_new();
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(at);
    char spec[96];
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(!bind(taken, (struct sockaddr *)&at, n) && !listen(taken, 1) &&
                !getsockname(taken, (struct sockaddr *)&at, &n));
    unsigned port = ntohs(at.sin_port), last = port > 65000 ? 65535 : port + 200;
    snprintf(spec, sizeof(spec), "socket,host=127.0.0.1,port=%u,to=%u,server=on,wait=off", port,
             last);
    struct chardev *c = open_it(b, spec);
    unsigned found = (unsigned)atoi(strrchr(chardev_where(c), ':') + 1);
    assert_true(found > port && found <= last);
    chardev_close(c);
    close(taken);
    board_free(b);
}

static void a_name_may_be_in_no_folder(void **unused)
{
    struct board *b = board_new();
    char spec[96];
    for (int tight = 0; tight < 2; tight++) {
        snprintf(spec, sizeof(spec),
                 "socket,path=tandem-%d,abstract=on,tight=%s,server=on,wait=off", getpid(),
                 tight ? "on" : "off");
        struct chardev *server = open_it(b, spec), *client;
        snprintf(spec, sizeof(spec), "socket,path=tandem-%d,abstract=on,tight=%s", getpid(),
                 tight ? "on" : "off");
        struct front f = { .room = 10 };
        client = open_it(b, spec);
        attach(client, &f);
        settle(b);
        put(server, "hello");
        expect_input(b, &f, "hello");
        snprintf(spec, sizeof(spec), "tandem-%d", getpid());
        assert_int_equal(access(spec, F_OK), -1);
        chardev_close(client);
        chardev_close(server);
    }
    board_free(b);
}

static void pipes_go_both_ways(void **unused)
{
    struct board *b = board_new();
    char dir[] = "/tmp/chardev-XXXXXX", path[64], in[80], out[80], spec[128], got[8];
    struct front f = { .room = 1000 };
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/p", dir);
    snprintf(in, sizeof(in), "%s.in", path);
    snprintf(out, sizeof(out), "%s.out", path);
    snprintf(spec, sizeof(spec), "pipe:%s", path);
    struct chardev *c;
    struct error *err = chardev_open(b->vm, "t", spec, &c);
    assert_non_null(strstr(error_text(err), "cannot open the pipe"));
    error_free(err);
    assert_true(!mkfifo(in, 0600) && !mkfifo(out, 0600));
    c = open_it(b, spec);
    attach(c, &f);
    for (int round = 0; round < 2; round++) { /* who is on the other side may come and go */
        int to = open(in, O_WRONLY), from = open(out, O_RDONLY);
        assert_int_equal(write(to, "ab", 2), 2);
        put(c, "hello");
        settle(b);
        assert_int_equal(read(from, got, sizeof(got)), 5);
        close(to);
        close(from);
    }
    expect_input(b, &f, "abab");
    assert_int_equal(f.events[CHARDEV_CLOSED], 0);
    chardev_close(c);
    unlink(in);
    unlink(out);
    rmdir(dir);
    board_free(b);
}

static void udp_sends_and_receives(void **unused)
{
    struct board *b = board_new();
    struct front f = { .room = 1000 };
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(at);
    char spec[64], got[16];
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(!bind(fd, (struct sockaddr *)&at, n) &&
                !getsockname(fd, (struct sockaddr *)&at, &n));
    snprintf(spec, sizeof(spec), "udp:127.0.0.1:%u@127.0.0.1:0", ntohs(at.sin_port));
    struct chardev *c = open_it(b, spec);
    attach(c, &f);
    put(c, "hello");
    settle(b);
    assert_int_equal(recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&at, &n), 5);
    assert_int_equal(sendto(fd, "", 0, 0, (struct sockaddr *)&at, n), 0); /* no end */
    assert_int_equal(sendto(fd, "hi", 2, 0, (struct sockaddr *)&at, n), 2);
    expect_input(b, &f, "hi");
    close(fd);
    for (int i = 0; i < 3; i++) { /* nobody there: no end either */
        put(c, "x");
        settle(b);
    }
    assert_int_equal(f.events[CHARDEV_CLOSED], 0);
    assert_true(chardev_is_connected(c));
    chardev_close(c);
    board_free(b);
}

static void a_log_gets_what_nobody_reads(void **unused)
{
    struct board *b = board_new();
    char dir[] = "/tmp/chardev-XXXXXX", path[64], spec[192], big[40000] = { 0 };
    struct stat st;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    for (int round = 0; round < 2; round++) {
        snprintf(spec, sizeof(spec), "unix:%s/s,server,nowait,logfile=%s,logappend=%s", dir, path,
                 round ? "on" : "off");
        struct chardev *c = open_it(b, spec);
        put(c, "hello");
        settle(b);
        assert_true(!stat(path, &st) && st.st_size == (round ? 40010 : 0) + 5);
        if (!round) {
            put(c, "later");
            chardev_write(c, (uint8_t *)big, sizeof(big));
        }
        chardev_close(c);
    }
    unlink(path);
    rmdir(dir);
    board_free(b);
}

/* Whoever needs every byte waits; a console goes on after a second, until the reader reads again. */
static void a_console_does_not_wait_for_ever(void **unused)
{
    struct board *b = board_new();
    struct front f = { 0 };
    int fd;
    static uint8_t text[65536];
    struct chardev *c = serve_tcp(b, "tcp", &fd);
    attach(c, &f);
    for (int i = 0; i < 5000 && chardev_console_space(c); i++) {
        chardev_write(c, text, sizeof(text));
        settle(b);
    }
    assert_int_equal(chardev_space(c), 0);
    assert_int_equal(chardev_console_space(c), 0);
    for (int i = 0; i < 5000 && !chardev_console_space(c); i++)
        settle(b);
    assert_true(chardev_console_space(c) > 0);
    assert_int_equal(chardev_space(c), 0);
    unsigned before = f.events[CHARDEV_WRITABLE];
    while (recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0 || chardev_space(c) < 65536)
        settle(b);
    assert_true(f.events[CHARDEV_WRITABLE] > before);
    put(c, "x");
    assert_receives(b, fd, "x", 1);
    close(fd);
    chardev_close(c);
    board_free(b);
}

/* A front end that waits for space in one host goes on with the other. */
static void a_change_wakes_who_waited(void **unused)
{
    struct board *b = board_new();
    struct front f = { 0 };
    int fd;
    static uint8_t text[65536];
    struct chardev *c = serve_tcp(b, "tcp", &fd), *other = open_it(b, "ringbuf");
    attach(c, &f);
    for (int i = 0; i < 5000 && chardev_space(c); i++) {
        chardev_write(c, text, sizeof(text));
        settle(b);
    }
    unsigned before = f.events[CHARDEV_WRITABLE];
    chardev_swap(c, other);
    assert_int_equal(f.events[CHARDEV_WRITABLE], before + 1);
    assert_true(chardev_space(c) > 0);
    close(fd);
    chardev_close(c);
    chardev_close(other);
    board_free(b);
}

static void a_running_machine_waits_for_nobody(void *opaque)
{
    static const char *const specs[] = { "tcp:127.0.0.1:0,server=on,wait=on",
                                         "tcp:a.name.that.is.looked.up:1,server=off" };
    struct board *b = opaque;
    for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
        struct chardev *c;
        struct error *err = chardev_open(b->vm, NULL, specs[i], &c);
        assert_non_null(err);
        assert_non_null(strstr(error_text(err), i ? "addresses only" : "wait=off"));
        error_free(err);
    }
    struct chardev *c =
        open_it(b, "tcp:127.0.0.1:0,server=on"); /* without a word it does not wait */
    chardev_close(c);
    loop_quit(b->vm->loop);
}

static void nobody_is_waited_for_later(void **unused)
{
    struct board *b = board_new();
    loop_post(b->vm->loop, a_running_machine_waits_for_nobody, b);
    loop_run(b->vm->loop);
    board_free(b);
}

static void *write_a_lot(void *opaque)
{
    for (int i = 0; i < 1000; i++)
        put(opaque, "0123456789");
    return NULL;
}

static void any_thread_may_write(void **unused)
{
    struct board *b = board_new();
    int pair[2];
    char spec[64], text[4096];
    size_t n = 0;
    pthread_t threads[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    snprintf(spec, sizeof(spec), "socket,fd=%d", pair[0]);
    struct chardev *c = open_it(b, spec);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_a_lot, c), 0);
    while (n < 20000) {
        loop_once(b->vm->loop, 1);
        ssize_t got = recv(pair[1], text, sizeof(text), MSG_DONTWAIT);
        n += got > 0 ? (size_t)got : 0;
    }
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(n, 20000);
    close(pair[1]);
    chardev_close(c);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gets_what_is_written),
        cmocka_unit_test(a_ringbuf_keeps_the_newest),
        cmocka_unit_test(input_waits_for_room),
        cmocka_unit_test(a_socket_serves_one_peer_after_the_other),
        cmocka_unit_test(a_socket_can_be_passed_in),
        cmocka_unit_test(a_reader_that_stops_costs_64_kib_and_no_time),
        cmocka_unit_test(a_pty_is_a_terminal_for_somebody_else),
        cmocka_unit_test(the_terminal_is_given_back_whatever_happens),
        cmocka_unit_test(what_is_typed_counts_when_nobody_reads_the_output),
        cmocka_unit_test(ctrl_a_keys_are_for_the_mux),
        cmocka_unit_test(ctrl_a_x_works_when_the_guest_reads_nothing),
        cmocka_unit_test(a_mux_serves_several_devices),
        cmocka_unit_test(a_mux_can_be_made_over_a_back_end),
        cmocka_unit_test(who_writes_to_such_a_mux_waits_for_the_same_reader),
        cmocka_unit_test(a_base_changes_under_its_mux),
        cmocka_unit_test(descriptors_come_from_a_new_socket_too),
        cmocka_unit_test(a_mux_takes_an_unused_back_end_and_gives_it_back),
        cmocka_unit_test(bad_texts_are_refused_by_name),
        cmocka_unit_test(any_thread_may_write),
        cmocka_unit_test(telnet_negotiates_and_escapes),
        cmocka_unit_test(telnet_negotiates_before_anything_is_said),
        cmocka_unit_test(telnet_commands_may_be_cut_anywhere),
        cmocka_unit_test(a_break_of_telnet_comes_between_what_was_typed),
        cmocka_unit_test(telnet_garbage_costs_nothing),
        cmocka_unit_test(a_peer_that_left_makes_room),
        cmocka_unit_test(a_client_comes_back),
        cmocka_unit_test(a_server_looks_for_a_free_port),
        cmocka_unit_test(a_name_may_be_in_no_folder),
        cmocka_unit_test(pipes_go_both_ways),
        cmocka_unit_test(udp_sends_and_receives),
        cmocka_unit_test(a_log_gets_what_nobody_reads),
        cmocka_unit_test(a_console_does_not_wait_for_ever),
        cmocka_unit_test(a_change_wakes_who_waited),
        cmocka_unit_test(nobody_is_waited_for_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
