/* The child lives in a signal handler: each request becomes the context that the handler returns to, and
 * the fault or INT3 that ends it brings the state back. So the kernel loads and stores every register. */
#include "tests/unit/x86_native.h"

#include "core/util.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { IDLE, ASKED, DONE };
enum {
    CS64 = 0x33,
    CS32 = 0x23,
    DATA_SELECTOR = 0x2b,
    INT3 = 0xcc,
    FP_HEADER = 512,
    FP_YMM = 576,
    FP_SW = 464
};
enum { USER_FLAGS = 0x40dd5 }; /* CF PF AF ZF SF TF DF OF AC */

struct shared {
    _Atomic uint32_t stage;
    unsigned bits;
    size_t n_code;
    uint8_t code[256];
    struct x86_world world;
    struct x86_end end;
};

struct x86_native {
    struct shared *shared;
    pid_t child; /* 0: none now */
    bool has_32;
};

static const int of_gpr[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                REG_R12, REG_R13, REG_R14, REG_R15 };

static long wait_on(_Atomic uint32_t *word, uint32_t value, const struct timespec *limit)
{
    return syscall(SYS_futex, word, FUTEX_WAIT, value, limit, NULL, 0);
}

static void set_stage(struct shared *s, uint32_t stage)
{
    atomic_store(&s->stage, stage);
    syscall(SYS_futex, &s->stage, FUTEX_WAKE, 1, NULL, NULL, 0);
}

/* ---- in the child ------------------------------------------------------------------------------ */

/* What the handler finds its request by; the child has one thread. */
static struct shared *of_child;
static bool in_request;

static void take_end(struct shared *s, const ucontext_t *uc)
{
    const greg_t *r = uc->uc_mcontext.gregs;
    const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;
    struct x86_world *w = &s->world;
    for (unsigned i = 0; i < 16; i++)
        w->gpr[i] = (uint64_t)r[of_gpr[i]];
    w->rip = (uint64_t)r[REG_RIP] - (r[REG_TRAPNO] == X86_NATIVE_ENDED);
    w->rflags = (uint64_t)r[REG_EFL];
    memcpy(&w->fp, fp, sizeof(w->fp));
    memset(w->fp.rest, 0, sizeof(w->fp.rest)); /* the kernel's own notes */
    memcpy(w->data, (void *)X86_NATIVE_DATA, sizeof(w->data));
    s->end = (struct x86_end){ .vector = (int)r[REG_TRAPNO] };
    if (s->end.vector == 8 || (s->end.vector >= 10 && s->end.vector <= 14) || s->end.vector == 17)
        s->end.error = (uint32_t)r[REG_ERR];
    if (s->end.vector == 14)
        s->end.address = (uint64_t)r[REG_CR2];
}

static void place_request(struct shared *s, ucontext_t *uc)
{
    greg_t *r = uc->uc_mcontext.gregs;
    uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
    const struct x86_world *w = &s->world;
    size_t at = w->rip - X86_NATIVE_CODE;
    for (unsigned i = 0; i < 16; i++)
        r[of_gpr[i]] = (greg_t)w->gpr[i];
    r[REG_RIP] = (greg_t)w->rip;
    r[REG_EFL] = (greg_t)((w->rflags & USER_FLAGS) | 0x202);
    r[REG_CSGSFS] = (r[REG_CSGSFS] & ~(greg_t)0xffff) | (s->bits == 32 ? CS32 : CS64);
    memcpy(fp, &w->fp, FP_SW);
    memcpy(fp + FP_HEADER, &w->fp.xstate_bv, sizeof(w->fp) - FP_HEADER);
    memcpy((void *)X86_NATIVE_DATA, w->data, sizeof(w->data));
    memset((void *)X86_NATIVE_CODE, INT3, X86_NATIVE_CODE_SIZE);
    if (at < X86_NATIVE_CODE_SIZE) /* what does not fit would be in a page that is not there */
        memcpy((uint8_t *)X86_NATIVE_CODE + at, s->code, MIN(s->n_code, X86_NATIVE_CODE_SIZE - at));
}

static void between_requests(int signo, siginfo_t *info, void *context)
{
    struct shared *s = of_child;
    __asm__ volatile("pushfq; andl $~0x40000, (%%rsp); popfq" ::
                         : "memory", "cc"); /* AC is the code's */
    if (in_request) {
        take_end(s, context);
        set_stage(s, DONE);
    }
    while (atomic_load(&s->stage) != ASKED)
        wait_on(&s->stage, atomic_load(&s->stage), NULL);
    in_request = true;
    place_request(s, context);
}

static bool confine(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 4),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = { .len = ARRAY_LEN(rules), .filter = rules };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static bool map_at(uint64_t at, size_t size, int rights)
{
    void *want = (void *)at;
    return mmap(want, size, rights, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
           want;
}

static void live(struct shared *s)
{
    static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGTRAP };
    struct sigaction how = { .sa_sigaction = between_requests,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    stack_t stack = { .ss_size = 1 << 16 };
    stack.ss_sp =
        mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    of_child = s;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL) < 0 ||
        !map_at(X86_NATIVE_CODE, X86_NATIVE_CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC) ||
        !map_at(X86_NATIVE_DATA, X86_NATIVE_DATA_SIZE, PROT_READ | PROT_WRITE))
        _exit(1);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &how, NULL);
    syscall(SYS_arch_prctl, ARCH_SET_GS, X86_NATIVE_DATA);
    __asm__ volatile(
        "mov %0, %%ds; mov %0, %%es" ::"r"(DATA_SELECTOR)); /* 32-bit code needs them */
    for (int fd = 0; fd < 1024; fd++)
        if (fd != 2)
            close(fd);
    if (!confine())
        _exit(1);
    __asm__ volatile("int3" ::: "memory");
}

/* ---- in the parent ----------------------------------------------------------------------------- */

static bool host_has_avx(void)
{
    unsigned a, b, c, d, low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX))
        return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 7) == 7;
}

static void end_child(struct x86_native *n)
{
    if (!n->child)
        return;
    kill(n->child, SIGKILL);
    while (waitpid(n->child, NULL, 0) < 0 && errno == EINTR)
        ;
    n->child = 0;
}

static bool start_child(struct x86_native *n)
{
    atomic_store(&n->shared->stage, IDLE);
    n->child = fork();
    if (n->child == 0) {
        live(n->shared);
        _exit(1);
    }
    if (n->child < 0)
        n->child = 0;
    return n->child;
}

/* The child's answer within a second. */
static bool await_answer(struct x86_native *n)
{
    const struct timespec slice = { .tv_nsec = 20 * 1000 * 1000 };
    for (int i = 0; i < 50; i++) {
        if (atomic_load(&n->shared->stage) == DONE)
            return true;
        wait_on(&n->shared->stage, ASKED, &slice);
        if (atomic_load(&n->shared->stage) != DONE &&
            waitpid(n->child, NULL, WNOHANG) == n->child) {
            n->child = 0;
            return false;
        }
    }
    return atomic_load(&n->shared->stage) == DONE;
}

struct x86_end x86_native_run(struct x86_native *n, unsigned bits, const uint8_t *code,
                              size_t n_code, struct x86_world *w)
{
    struct shared *s = n->shared;
    if (!n->child && !start_child(n))
        return (struct x86_end){ .vector = X86_NATIVE_LOST };
    s->bits = bits;
    s->n_code = MIN(n_code, sizeof(s->code));
    memcpy(s->code, code, s->n_code);
    s->world = *w;
    set_stage(s, ASKED);
    if (!await_answer(n)) {
        end_child(n);
        return (struct x86_end){ .vector = X86_NATIVE_LOST };
    }
    *w = s->world;
    return s->end;
}

void x86_world_init(struct x86_world *w)
{
    memset(w, 0, sizeof(*w));
    w->rip = X86_NATIVE_CODE;
    w->rflags = 0x202;
    w->fp.fcw = 0x37f;
    w->fp.mxcsr = 0x1f80;
    w->fp.xstate_bv = 7;
}

struct x86_native *x86_native_new(const char **why)
{
    static const uint8_t inc_eax = 0x40, nop = 0x90;
    if (!host_has_avx()) {
        *why = "the host has no AVX";
        return NULL;
    }
    struct x86_native *n = xcalloc(1, sizeof(*n));
    n->shared =
        mmap(NULL, sizeof(*n->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct x86_world w;
    x86_world_init(&w);
    if (n->shared == MAP_FAILED || x86_native_run(n, 64, &nop, 1, &w).vector != X86_NATIVE_ENDED) {
        x86_native_free(n);
        *why = "a confined child process does not start here";
        return NULL;
    }
    x86_world_init(&w);
    n->has_32 = x86_native_run(n, 32, &inc_eax, 1, &w).vector == X86_NATIVE_ENDED && w.gpr[0] == 1;
    return n;
}

void x86_native_free(struct x86_native *n)
{
    if (!n)
        return;
    end_child(n);
    if (n->shared != MAP_FAILED)
        munmap(n->shared, sizeof(*n->shared));
    free(n);
}

bool x86_native_has_32(const struct x86_native *n)
{
    return n->has_32;
}
