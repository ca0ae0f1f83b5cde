/* Makes a running process try system calls: inject PID, with one call a line on standard input:
 *
 *     openat -100 "/etc/passwd" 0
 *     mmap 0 4096 3 34 -1 0
 *     mprotect $ 4096 5              $: what the last call gave
 *
 * Numbers are decimal or hex, texts have no quotes inside. Prints a line for each: the result, or "killed SIGNAL" and
 * ends. The process goes on where it was. For x86-64 hosts. */
#include <ctype.h>
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

/* Where the process has a syscall instruction. */
static unsigned long find_syscall(int pid)
{
    char name[64], line[512];
    snprintf(name, sizeof(name), "/proc/%d/maps", pid);
    FILE *maps = fopen(name, "re");
    unsigned long start, end;
    while (maps && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx", &start, &end) != 2 || !strstr(line, " r-xp ") ||
            !strstr(line, "libc.so"))
            continue;
        for (unsigned long at = start; at + 8 <= end; at += 7) { /* steps overlap by a byte */
            errno = 0;
            unsigned long word = (unsigned long)ptrace(PTRACE_PEEKTEXT, pid, at, 0);
            for (int i = 0; i < 7 && !errno; i++)
                if ((word >> 8 * i & 0xffff) == 0x050f) {
                    fclose(maps);
                    return at + (unsigned long)i;
                }
        }
    }
    fprintf(stderr, "no syscall instruction found\n");
    exit(2);
}

static void put_text(int pid, unsigned long at, const char *text)
{
    size_t n = strlen(text) + 1;
    for (size_t i = 0; i < n; i += 8) {
        char word[8] = { 0 };
        memcpy(word, text + i, n - i < 8 ? n - i : 8);
        unsigned long value;
        memcpy(&value, word, 8);
        if (ptrace(PTRACE_POKEDATA, pid, at + i, value))
            fail("poke");
    }
}

/* Arguments from the line; texts go on the stack from *room on. */
static void parse(int pid, char *line, unsigned long *args, unsigned long last, unsigned long *room)
{
    for (int i = 0; i < 6; i++) {
        line += strspn(line, " \n");
        if (*line == '"') {
            char *end = strchr(line + 1, '"');
            *end = 0;
            put_text(pid, *room, line + 1);
            args[i] = *room;
            *room += 512;
            line = end + 1;
        } else if (*line == '$') {
            args[i] = last;
            line++;
        } else if (*line) {
            args[i] = strtoul(line, &line, 0);
        }
    }
}

int main(int argc, char **argv)
{
    char line[1024];
    int pid = argc > 1 ? atoi(argv[1]) : 0, status;
    struct user_regs_struct before, regs;
    long last = 0;
    if (ptrace(PTRACE_ATTACH, pid, 0, 0) || waitpid(pid, &status, __WALL) != pid)
        fail("attach");
    if (ptrace(PTRACE_GETREGS, pid, 0, &before))
        fail("registers");
    unsigned long at = find_syscall(pid);
    while (fgets(line, sizeof(line), stdin)) {
        size_t n = strcspn(line, " \n");
        unsigned long args[6] = { 0 }, room = (before.rsp - 8192) & ~15ul;
        bool ends = line[n] != ' ';
        line[n] = 0;
        int number = seccomp_syscall_resolve_name(line);
        parse(pid, ends ? line + n : line + n + 1, args, (unsigned long)last, &room);
        regs = before;
        regs.rip = at;
        regs.rax = (unsigned long)number;
        regs.orig_rax = (unsigned long)-1;
        regs.rdi = args[0], regs.rsi = args[1], regs.rdx = args[2];
        regs.r10 = args[3], regs.r8 = args[4], regs.r9 = args[5];
        if (ptrace(PTRACE_SETREGS, pid, 0, &regs))
            fail("registers");
        if (ptrace(PTRACE_SINGLESTEP, pid, 0, 0) || waitpid(pid, &status, __WALL) != pid)
            fail("step");
        if (WIFSIGNALED(status)) {
            printf("killed %d\n", WTERMSIG(status));
            return 0;
        }
        if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, pid, 0, &regs))
            fail("stop");
        if (regs.rip != at + 2) {
            fprintf(stderr, "signal %d at %llx, not behind %lx\n", WSTOPSIG(status), regs.rip, at);
            return 2;
        }
        last = (long)regs.rax;
        printf("%ld\n", last);
        fflush(stdout);
    }
    if (ptrace(PTRACE_SETREGS, pid, 0, &before) || ptrace(PTRACE_DETACH, pid, 0, 0))
        fail("detach");
    return 0;
}
