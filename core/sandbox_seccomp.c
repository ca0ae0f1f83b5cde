/* The system call filter, by libseccomp. What is listed is allowed; everything else fails with
 * EPERM, and what only an attacker would want ends the process. */
#include "core/error.h"
#include "core/sandbox.h"
#include "core/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

static const char *const allowed[] = {
    /* memory: RAM blocks, code caches, stacks and heaps */
    "brk",
    "madvise",
    "mlock",
    "mremap",
    "msync",
    "munmap",
    "munlock",
    "memfd_create",
    "ftruncate",
    "fallocate",
    "fadvise64",
    "mincore",
    "membarrier",
    "rseq",
    "set_robust_list",
    "get_robust_list",
    "set_tid_address",
    /* threads, waiting, time */
    "futex",
    "futex_waitv",
    "sched_yield",
    "sched_getaffinity",
    "gettid",
    "getpid",
    "getppid",
    "exit",
    "exit_group",
    "restart_syscall",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "getcpu",
    "getrusage",
    "times",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "sigaltstack",
    "timer_create",
    "timer_settime",
    "timer_delete",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "eventfd2",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "signalfd4",
    "pipe2",
    /* files already open, and disk images */
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "lseek",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "fstat",
    "newfstatat",
    "stat",
    "lstat",
    "statx",
    "fstatfs",
    "statfs",
    "copy_file_range",
    "flock",
    /* sockets already open */
    "accept",
    "accept4",
    "getpeername",
    "getsockname",
    "getsockopt",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "sendmsg",
    "sendmmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    /* what the C library asks */
    "getrandom",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "uname",
    "sysinfo",
    "getrlimit",
};
static const char *const allowed_for_network[] = { "bind", "connect", "listen" };
static const char *const allowed_for_clients[] = { "connect" };
static const char *const allowed_for_manage[] = { "open",      "openat",     "bind",
                                                  "connect",   "listen",     "access",
                                                  "faccessat", "faccessat2", "readlink",
                                                  "ftruncate", "fallocate",  "memfd_create",
                                                  "rename",    "renameat",   "renameat2" };
static const char *const allowed_for_unlink[] = { "unlink" };

/* Nothing in a running VM comes near these. */
static const char *const deadly[] = {
    "execve",
    "execveat",
    "fork",
    "vfork",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "mount",
    "umount2",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsmount",
    "pivot_root",
    "chroot",
    "setns",
    "unshare",
    "init_module",
    "finit_module",
    "delete_module",
    "kexec_load",
    "kexec_file_load",
    "reboot",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "setuid",
    "setgid",
    "setresuid",
    "setresgid",
    "setreuid",
    "setregid",
    "setgroups",
    "capset",
    "personality",
    "iopl",
    "ioperm",
    "swapon",
    "swapoff",
    "acct",
    "pidfd_getfd",
    "open_by_handle_at",
    "mknod",
    "mknodat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
};

/* Calls allowed for some values of one or two arguments: (argument & mask) == value each. */
struct conditional {
    const char *name;
    struct {
        unsigned arg;
        uint64_t mask, value;
    } is[2]; /* mask 0: no second condition */
};
#define SOCK_KIND  UINT64_C(0xf)
#define LOW32      UINT64_C(0xffffffff)
#define KVM_IOCTLS UINT64_C(0xae) /* KVMIO of linux/kvm.h: what they reach is open already */
static const struct conditional allowed_if[] = {
    { "clone", { { 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM } } }, /* no processes */
    /* memory may be writable or executable, never both (DESIGN 3.9), nor become executable */
    { "mmap", { { 2, PROT_EXEC, 0 } } },
    { "mprotect", { { 2, PROT_EXEC, 0 } } },
    { "ioctl", { { 1, LOW32, TCGETS } } },
    { "ioctl", { { 1, LOW32, TCSETS } } },
    { "ioctl", { { 1, LOW32, TCSETSW } } },
    { "ioctl", { { 1, LOW32, TCSETSF } } },
    { "ioctl", { { 1, LOW32, TIOCGPGRP } } },
    { "ioctl", { { 1, LOW32, TIOCGWINSZ } } },
    { "ioctl", { { 1, LOW32, FIONREAD } } },
    { "ioctl", { { 1, LOW32, FIONBIO } } },
    { "ioctl", { { 1, LOW32, BLKDISCARD } } },
    { "ioctl", { { 1, LOW32, BLKZEROOUT } } },
    { "ioctl", { { 1, 0xff00, KVM_IOCTLS << 8 } } },
    { "fcntl", { { 1, LOW32, F_GETFD } } },
    { "fcntl", { { 1, LOW32, F_SETFD } } },
    { "fcntl", { { 1, LOW32, F_GETFL } } },
    { "fcntl", { { 1, LOW32, F_SETFL } } },
    { "fcntl", { { 1, LOW32, F_DUPFD } } },
    { "fcntl", { { 1, LOW32, F_DUPFD_CLOEXEC } } },
    { "fcntl", { { 1, LOW32, F_OFD_SETLK } } },
    { "fcntl", { { 1, LOW32, F_ADD_SEALS } } },
    { "prctl", { { 0, LOW32, PR_SET_NAME } } },
    /* a pair of datagram sockets could send to others' */
    { "socketpair", { { 0, LOW32, AF_UNIX }, { 1, SOCK_KIND, SOCK_STREAM } } },
    { "prlimit64", { { 2, ~UINT64_C(0), 0 } } }, /* ask, not set */
};
/* The second mapping of a code cache that is made later: what KVM cannot execute is translated. */
static const struct conditional allowed_if_code[] = {
    { "mmap", { { 2, PROT_WRITE | PROT_EXEC, PROT_EXEC }, { 3, MAP_ANONYMOUS, 0 } } },
};
/* ALSA's of PCM devices (sound/asound.h: type 'A'); other sound servers are talked to over sockets. */
static const struct conditional allowed_if_sound[] = {
    { "ioctl", { { 1, 0xff00, (uint64_t)'A' << 8 } } },
};
static const struct conditional allowed_if_unlink[] = {
    { "unlinkat", { { 2, LOW32, 0 } } }, /* no folders */
};
#define WRITES (uint64_t)(O_ACCMODE | O_CREAT | O_TRUNC)
static const struct conditional allowed_if_network[] = {
    { "open", { { 1, WRITES, O_RDONLY } } }, /* resolv.conf */
    { "openat", { { 2, WRITES, O_RDONLY } } },
    { "socket", { { 0, LOW32, AF_INET }, { 1, SOCK_KIND, SOCK_STREAM } } },
    { "socket", { { 0, LOW32, AF_INET }, { 1, SOCK_KIND, SOCK_DGRAM } } },
    { "socket", { { 0, LOW32, AF_INET6 }, { 1, SOCK_KIND, SOCK_STREAM } } },
    { "socket", { { 0, LOW32, AF_INET6 }, { 1, SOCK_KIND, SOCK_DGRAM } } },
};

static const struct conditional allowed_if_inet[] = {
    { "socket", { { 0, LOW32, AF_INET }, { 1, SOCK_KIND, SOCK_STREAM } } },
    { "socket", { { 0, LOW32, AF_INET6 }, { 1, SOCK_KIND, SOCK_STREAM } } },
};
static const struct conditional allowed_if_unix[] = {
    { "socket", { { 0, LOW32, AF_UNIX }, { 1, SOCK_KIND, SOCK_STREAM } } },
};
static const struct conditional allowed_if_manage[] = {
    { "socket", { { 0, LOW32, AF_INET }, { 1, SOCK_KIND, SOCK_STREAM } } },
    { "socket", { { 0, LOW32, AF_INET6 }, { 1, SOCK_KIND, SOCK_STREAM } } },
    { "socket", { { 0, LOW32, AF_INET }, { 1, SOCK_KIND, SOCK_DGRAM } } },
    { "socket", { { 0, LOW32, AF_INET6 }, { 1, SOCK_KIND, SOCK_DGRAM } } },
    { "socket", { { 0, LOW32, AF_UNIX }, { 1, SOCK_KIND, SOCK_STREAM } } },
    { "ioctl", { { 1, LOW32, TIOCGPTN } } },
    { "ioctl", { { 1, LOW32, TIOCSPTLCK } } },
    { "ioctl", { { 1, LOW32, BLKGETSIZE64 } } },
    { "ioctl", { { 1, LOW32, BLKSSZGET } } },
    { "ioctl", { { 1, LOW32, BLKPBSZGET } } },
};

/* A call this architecture does not have is no reason to fail. */
static int add_rule(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned n,
                    const struct scmp_arg_cmp *compare)
{
    int call = seccomp_syscall_resolve_name(name);
    if (call == __NR_SCMP_ERROR || call < 0)
        return 0;
    return seccomp_rule_add_array(filter, action, call, n, compare);
}

static int add_names(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n)
{
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = add_rule(filter, action, names[i], 0, NULL);
    return rc;
}

static int add_conditionals(scmp_filter_ctx filter, const struct conditional *c, size_t n)
{
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        struct scmp_arg_cmp compare[2];
        unsigned k = 0;
        for (; k < 2 && c[i].is[k].mask; k++)
            compare[k] = (struct scmp_arg_cmp){ c[i].is[k].arg, SCMP_CMP_MASKED_EQ, c[i].is[k].mask,
                                                c[i].is[k].value };
        rc = add_rule(filter, SCMP_ACT_ALLOW, c[i].name, k, compare);
    }
    return rc;
}

/* Signals for threads of this process, not for others of the user's. */
static int add_tgkill(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp us = { 0, SCMP_CMP_MASKED_EQ, LOW32, (uint32_t)getpid() };
    return add_rule(filter, SCMP_ACT_ALLOW, "tgkill", 1, &us);
}

static int fill(scmp_filter_ctx filter, const struct sandbox_needs *n)
{
    const struct {
        bool wanted;
        const char *const *names;
        size_t n_names;
        const struct conditional *conditionals;
        size_t n_conditionals;
    } parts[] = {
        { true, allowed, ARRAY_LEN(allowed), allowed_if, ARRAY_LEN(allowed_if) },
        { n->network, allowed_for_network, ARRAY_LEN(allowed_for_network), allowed_if_network,
          ARRAY_LEN(allowed_if_network) },
        { n->manage, allowed_for_manage, ARRAY_LEN(allowed_for_manage), allowed_if_manage,
          ARRAY_LEN(allowed_if_manage) },
        { n->n_unlinks || n->manage, allowed_for_unlink, ARRAY_LEN(allowed_for_unlink),
          allowed_if_unlink, ARRAY_LEN(allowed_if_unlink) },
        { n->connect_inet, allowed_for_clients, ARRAY_LEN(allowed_for_clients), allowed_if_inet,
          ARRAY_LEN(allowed_if_inet) },
        { n->connect_unix, allowed_for_clients, ARRAY_LEN(allowed_for_clients), allowed_if_unix,
          ARRAY_LEN(allowed_if_unix) },
        { n->code, NULL, 0, allowed_if_code, ARRAY_LEN(allowed_if_code) },
        { n->sound, NULL, 0, allowed_if_sound, ARRAY_LEN(allowed_if_sound) },
    };
    int rc = add_names(filter, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_LEN(deadly));
    for (size_t i = 0; i < ARRAY_LEN(parts) && !rc; i++) {
        if (!parts[i].wanted)
            continue;
        rc = add_names(filter, SCMP_ACT_ALLOW, parts[i].names, parts[i].n_names);
        if (!rc)
            rc = add_conditionals(filter, parts[i].conditionals, parts[i].n_conditionals);
    }
    if (!rc)
        rc = add_tgkill(filter);
    /* clone3 hides its flags behind a pointer; the C library falls back to clone. */
    return rc ? rc : add_rule(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3", 0, NULL);
}

struct error *sandbox_enter(const struct sandbox_needs *needs)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (!filter)
        return error_new("cannot make a system call filter (use -sandbox off)");
    /* All threads; and not at the price of switching off speculative store bypass, which would
     * slow every guest down: the guest shares no address space with anybody else's secrets. */
    int rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    if (!rc)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
    if (!rc)
        rc = fill(filter, needs);
    if (!rc)
        rc = seccomp_load(filter);
    seccomp_release(filter);
    if (rc) {
        errno = -rc;
        return error_errno("cannot enter the system call filter (use -sandbox off)");
    }
    return NULL;
}

bool sandbox_filters(void)
{
    return true;
}
