#include "tests/unit/host_steps.h"

#include "tcg/host/x86_64/host.h"

#include <signal.h>
#include <ucontext.h>

enum { INT3 = 0xcc, BREAKPOINT = 3, TRAP_FLAG = 0x100, NOWHERE = 0 };

/* An INT3 in place of a byte of code. */
struct plant {
    uint32_t at;
    uint8_t byte;
};

/* What the handler works for. */
static struct {
    struct tcg *tcg;
    void *opaque;
    bool (*step)(void *opaque, uint32_t where);
    void (*hit)(void *opaque);
    uint32_t where;
    unsigned left; /* until the hit */
    struct plant enter, back;
} now;

static void plant(struct plant *p, uint32_t at)
{
    uint8_t *byte = now.tcg->rw + at;
    if (*byte == INT3 || p->at)
        return;
    *p = (struct plant){ at, *byte };
    *byte = INT3;
}

static void take_back(struct plant *p)
{
    if (p->at && now.tcg->rw[p->at] == INT3)
        now.tcg->rw[p->at] = p->byte;
    p->at = NOWHERE;
}

/* Is each next instruction to be seen, too? Outside, none until the way back, or until generated code is entered anew. */
static bool see(uint64_t where, const uint64_t *stack)
{
    const struct host *h = now.tcg->backend_data;
    if (where < now.tcg->size)
        return now.step(now.opaque, (uint32_t)where);
    plant(&now.enter, h->enter);
    uint64_t back = *stack - (uintptr_t)now.tcg->rx;
    if (back < now.tcg->size)
        plant(&now.back, (uint32_t)back);
    return false;
}

/* At the instruction, or one behind it. */
static bool count_down(bool is_there)
{
    if (!is_there)
        plant(&now.enter, now.where);
    else if (!--now.left)
        now.hit(now.opaque);
    return is_there && now.left;
}

static void on_trap(int signo, siginfo_t *info, void *context)
{
    greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
    bool planted = r[REG_TRAPNO] == BREAKPOINT;
    (void)signo;
    (void)info;
    if (planted) {
        r[REG_RIP]--;
        take_back(&now.enter);
        take_back(&now.back);
    }
    bool more = now.hit ? count_down(planted)
                        : see((uint64_t)r[REG_RIP] - (uintptr_t)now.tcg->rx,
                              (const uint64_t *)(uintptr_t)r[REG_RSP]);
    r[REG_EFL] = more ? r[REG_EFL] | TRAP_FLAG : r[REG_EFL] & ~(greg_t)TRAP_FLAG;
}

static void run_with_traps(uint32_t first, void (*run)(void *opaque))
{
    struct sigaction how = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO }, before;
    sigaction(SIGTRAP, &how, &before);
    plant(&now.enter, first);
    run(now.opaque);
    take_back(&now.enter);
    take_back(&now.back);
    sigaction(SIGTRAP, &before, NULL);
}

void host_steps(struct tcg *tcg, void (*run)(void *opaque),
                bool (*step)(void *opaque, uint32_t where), void *opaque)
{
    const struct host *h = tcg->backend_data;
    memset(&now, 0, sizeof(now));
    now.tcg = tcg;
    now.opaque = opaque;
    now.step = step;
    run_with_traps(h->enter, run);
}

bool host_break(struct tcg *tcg, uint32_t where, unsigned nth, void (*run)(void *opaque),
                void (*hit)(void *opaque), void *opaque)
{
    memset(&now, 0, sizeof(now));
    now.tcg = tcg;
    now.opaque = opaque;
    now.hit = hit;
    now.where = where;
    now.left = nth;
    run_with_traps(where, run);
    return !now.left;
}
