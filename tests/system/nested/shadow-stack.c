/* A program that asks Linux for a shadow stack. Its child calls, forks and takes signals with it; another one
 * changes where it returns to. Prints what became of both. */
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARCH_SHSTK_ENABLE = 0x5001, SHSTK = 1, WELL = 42 };
static volatile sig_atomic_t got;

static void on_signal(int number)
{
    got = number;
}

static long control(long op, unsigned long what)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"((long)SYS_arch_prctl), "D"(op), "S"(what)
                     : "rcx", "r11", "memory");
    return result;
}

__attribute__((noinline)) static int fibonacci(int n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

void smash(void);
__asm__(".globl smash\nsmash: incq (%rsp)\n ret\n");

/* Who asked for it must not return from here: its callers are not written down. */
static void child(int bad)
{
    int status;
    if (control(ARCH_SHSTK_ENABLE, SHSTK))
        _exit(1);
    if (bad)
        smash();
    if (bad || fibonacci(20) != 6765)
        _exit(2);
    signal(SIGUSR1, on_signal);
    raise(SIGUSR1);
    int pid = fork();
    if (pid == 0)
        _exit(fibonacci(10) == 55 ? 0 : 1);
    waitpid(pid, &status, 0);
    _exit(got == SIGUSR1 && !status ? WELL : 3);
}

int main(void)
{
    for (int bad = 0; bad < 2; bad++) {
        int status, pid = fork();
        if (pid == 0)
            child(bad);
        waitpid(pid, &status, 0);
        printf("%s: %s %d\n", bad ? "smashed" : "well", WIFSIGNALED(status) ? "signal" : "status",
               WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    return 0;
}
