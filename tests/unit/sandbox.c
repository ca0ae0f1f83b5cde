/* The system call filter, each fact in a child process of its own. */
#include "core/sandbox.h"
#include "core/error.h"
#include "core/util.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static const struct sandbox_needs nothing, network = { .network = true }, code = { .code = true },
                                           clients = { .connect_unix = true };

/* The wait status of a child that enters the sandbox and then runs fn, whose result is its exit
 * status. */
static int run_inside(const struct sandbox_needs *needs, int (*fn)(void))
{
    int status;
    pid_t child = fork();
    if (!child)
        _exit(sandbox_enter(needs) ? 99 : fn());
    assert_true(waitpid(child, &status, 0) == child);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 99);
    return status;
}

static int try_execve(void)
{
    execl("/bin/true", "true", NULL);
    return 0;
}

static int try_vfork(void)
{
    return (int)(syscall(SYS_fork) < 0);
}

static int try_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, 0, 0) != 0;
}

static int try_mount(void)
{
    return mount("none", "/mnt", "tmpfs", 0, NULL) != 0;
}

static int try_chmod(void)
{
    return fchmodat(AT_FDCWD, "/nonexistent", 0777, 0) != 0;
}

static void what_only_attackers_want_kills(void **unused)
{
    static int (*const tries[])(void) = { try_execve, try_vfork, try_ptrace, try_mount, try_chmod };
    if (!sandbox_filters())
        skip();
    for (size_t i = 0; i < ARRAY_LEN(tries); i++) {
        int status = run_inside(&network, tries[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
    }
}

static int open_to_write(void)
{
    return open("/tmp/tandem-sandbox-test", O_WRONLY | O_CREAT, 0600) < 0 ? errno : 0;
}

static int open_to_read(void)
{
    return open("/dev/null", O_RDONLY) < 0 ? errno : 0;
}

static int raw_socket(void)
{
    return socket(AF_INET, SOCK_RAW, 1) < 0 ? errno : 0;
}

static int unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static int tcp_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) < 0 ? errno : 0;
}

static int writable_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) == MAP_FAILED
               ? errno
               : 0;
}

static int data_to_code(void)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return mprotect(p, 4096, PROT_READ | PROT_EXEC) ? errno : 0;
}

/* A second mapping of memory that is written by the first. */
static int code_by_two_mappings(void)
{
    int fd = memfd_create("x", MFD_CLOEXEC);
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0) == MAP_FAILED ? errno : 0;
}

static int signal_a_stranger(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0) ? errno : 0;
}

static int signal_ourselves(void)
{
    return syscall(SYS_tgkill, getpid(), gettid(), 0) ? errno : 0;
}

/* Its operations would pass the filter. */
static int set_up_a_ring(void)
{
    char params[256] = { 0 };
    return syscall(SYS_io_uring_setup, 1, params) < 0 ? errno : 0;
}

static int datagrams(void)
{
    int pair[2];
    return socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) ? errno : 0;
}

static int streams(void)
{
    int pair[2];
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ? errno : 0;
}

static void assert_fails(const struct sandbox_needs *needs, int (*fn)(void), int error)
{
    int status = run_inside(needs, fn);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), error);
}

static void the_rest_fails_with_eperm(void **unused)
{
    if (!sandbox_filters())
        skip();
    assert_fails(&network, open_to_write, EPERM);
    assert_fails(&nothing, open_to_read, EPERM);
    assert_fails(&network, open_to_read, 0);
    assert_fails(&network, raw_socket, EPERM);
    assert_fails(&network, unix_socket, EPERM);
    assert_fails(&nothing, tcp_socket, EPERM);
    assert_fails(&network, tcp_socket, 0);
    assert_fails(&nothing, writable_code, EPERM);
    assert_fails(&nothing, data_to_code, EPERM);
    assert_fails(&nothing, code_by_two_mappings, EPERM);
    assert_fails(&code, code_by_two_mappings, 0);
    assert_fails(&code, writable_code, EPERM);
    assert_fails(&code, data_to_code, EPERM);
    assert_fails(&network, signal_a_stranger, EPERM);
    assert_fails(&nothing, signal_ourselves, 0);
    assert_fails(&network, set_up_a_ring, EPERM);
    assert_fails(&network, datagrams, EPERM);
    assert_fails(&nothing, streams, 0);
    assert_fails(&clients, unix_socket, 0);
    assert_fails(&clients, tcp_socket, EPERM);
}

static int gate[2];

/* ---- files ---------------------------------------------------------------------------------------- */
static char ours[64], theirs[64];

static int touch(const char *folder, const char *name)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    return fd < 0 ? -1 : close(fd);
}

static int remove_at(const char *folder)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/x", folder);
    return unlink(path) ? errno : 0;
}

static int remove_ours(void)
{
    return remove_at(ours);
}

static int remove_theirs(void)
{
    return remove_at(theirs);
}

static int read_theirs(void)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/x", theirs);
    return open(path, O_RDONLY) < 0 ? errno : 0;
}

static int read_name_servers(void)
{
    return open("/etc/resolv.conf", O_RDONLY) < 0 ? errno : 0;
}

static int make_ours(void)
{
    return touch(ours, "y") ? errno : 0;
}

/* The result of fn in a child that is confined, in its first thread or (late) in one that joins; -1: this host cannot. */
static int confined(const struct sandbox_needs *needs, int (*fn)(void), bool joins)
{
    int status;
    pid_t child = fork();
    if (!child) {
        int files = sandbox_confine_files(needs);
        if (files < 0)
            _exit(255);
        if (joins)
            sandbox_join_files(files);
        sandbox_close_files(files);
        _exit(sandbox_enter(needs) ? 99 : fn());
    }
    assert_true(waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

static void files_that_nobody_named_stay_shut(void **unused)
{
    char path[96];
    strcpy(ours, "/tmp/sandbox-XXXXXX");
    strcpy(theirs, "/tmp/sandbox-XXXXXX");
    assert_true(mkdtemp(ours) && mkdtemp(theirs) && !touch(ours, "x") && !touch(theirs, "x"));
    snprintf(path, sizeof(path), "%s/socket", ours);
    const char *unlinks[] = { path };
    struct sandbox_needs needs = { .network = true, .unlinks = unlinks, .n_unlinks = 1 };
    if (!sandbox_filters() || confined(&nothing, signal_ourselves, false) < 0)
        skip(); /* no Landlock */
    assert_int_equal(confined(&needs, remove_theirs, false), EACCES);
    assert_int_equal(confined(&needs, remove_theirs, true), EACCES);
    assert_int_equal(confined(&needs, read_theirs, false), EACCES);
    assert_int_equal(confined(&needs, make_ours, false), EPERM);
    assert_int_equal(confined(&needs, remove_ours, false), 0);
    assert_int_equal(confined(&nothing, read_theirs, false), EPERM);
    if (!access("/etc/resolv.conf", R_OK))
        assert_int_equal(confined(&needs, read_name_servers, false), 0);
    assert_int_equal(remove_at(theirs), 0);
    rmdir(ours);
    rmdir(theirs);
}

/* A library's thread that was there before, and takes signals, and one that has none of it. */
static void *late_look(void *result)
{
    char go;
    *(int *)result = read(gate[0], &go, 1) == 1 ? read_theirs() : -1;
    return NULL;
}

static int looks_of_older_threads(void)
{
    pthread_t threads[2];
    int results[2];
    sigset_t all, before;
    for (int i = 0; i < 2; i++) {
        sigfillset(&all);
        if (i)
            pthread_sigmask(SIG_BLOCK, &all, &before);
        pthread_create(&threads[i], NULL, late_look, &results[i]);
        if (i)
            pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    int files = sandbox_confine_files(&network);
    if (files < 0)
        return 255;
    sandbox_close_files(files);
    if (sandbox_enter(&network) || write(gate[1], "ab", 2) != 2)
        return 99;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return results[0] == EACCES && results[1] == 0 ? 0 : 1;
}

static void threads_that_take_signals_are_confined(void **unused)
{
    int status;
    strcpy(theirs, "/tmp/sandbox-XXXXXX");
    assert_true(!pipe(gate) && mkdtemp(theirs) && !touch(theirs, "x"));
    pid_t child = fork();
    if (!child)
        _exit(looks_of_older_threads());
    assert_true(waitpid(child, &status, 0) == child && WIFEXITED(status));
    remove_theirs();
    rmdir(theirs);
    if (WEXITSTATUS(status) == 255 || !sandbox_filters())
        skip(); /* no Landlock */
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void what_qmp_may_name_is_not_confined(void **unused)
{
    const struct sandbox_needs needs = { .manage = true };
    assert_int_equal(sandbox_confine_files(&needs), -1);
}

static void *idle(void *unused)
{
    return malloc(100000);
}

/* Threads, memory, files in memory, timers: what a VM goes on doing. */
static int live_on(void)
{
    pthread_t thread;
    void *block;
    int fd = memfd_create("x", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 1 << 20))
        return 1;
    if (mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
        return 2;
    if (pthread_create(&thread, NULL, idle, NULL) || pthread_join(thread, &block) || !block)
        return 3;
    return usleep(1) ? 4 : 0;
}

static void a_vm_lives_on(void **unused)
{
    assert_fails(&nothing, live_on, 0);
}

/* The filter holds for threads that were there before. */

static void *late_mount(void *unused)
{
    char go;
    if (read(gate[0], &go, 1) == 1)
        mount("none", "/mnt", "tmpfs", 0, NULL);
    return NULL;
}

static void older_threads_are_inside_too(void **unused)
{
    int status;
    if (!sandbox_filters())
        skip();
    pid_t child = fork();
    if (!child) {
        pthread_t thread;
        if (pipe(gate) || pthread_create(&thread, NULL, late_mount, NULL) ||
            sandbox_enter(&nothing) || write(gate[1], "", 1) != 1)
            _exit(99);
        pthread_join(thread, NULL);
        _exit(0);
    }
    assert_true(waitpid(child, &status, 0) == child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_only_attackers_want_kills),
        cmocka_unit_test(the_rest_fails_with_eperm),
        cmocka_unit_test(files_that_nobody_named_stay_shut),
        cmocka_unit_test(threads_that_take_signals_are_confined),
        cmocka_unit_test(what_qmp_may_name_is_not_confined),
        cmocka_unit_test(a_vm_lives_on),
        cmocka_unit_test(older_threads_are_inside_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
