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

static const struct sandbox_needs nothing, network = { .network = true };

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
static int gate[2];

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
        cmocka_unit_test(a_vm_lives_on),
        cmocka_unit_test(older_threads_are_inside_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
