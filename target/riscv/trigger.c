/* Debug triggers for native debuggers: address matches on execution, loads and stores that raise
 * breakpoint exceptions (debug specification 1.0, 5.7.11 mcontrol and 5.7.12 mcontrol6). */
#include "core/vm.h"
#include "target/riscv/rv_priv.h"

enum { TYPE_MCONTROL = 2, TYPE_MCONTROL6 = 6, TYPE_DISABLED = 15 };
enum { MATCH_EQUAL = 0, MATCH_NAPOT = 1, MATCH_GE = 2, MATCH_LT = 3 };

/* Same places in both types. */
#define T_LOAD           ((uint64_t)1 << 0)
#define T_STORE          ((uint64_t)1 << 1)
#define T_EXECUTE        ((uint64_t)1 << 2)
#define T_U              ((uint64_t)1 << 3)
#define T_S              ((uint64_t)1 << 4)
#define T_M              ((uint64_t)1 << 6)
#define T_MATCH          ((uint64_t)15 << 7)
#define MCONTROL_HIT     ((uint64_t)1 << 20)
#define MCONTROL_MASKMAX ((uint64_t)63 << 53)
#define MCONTROL6_HIT0   ((uint64_t)1 << 22)

static unsigned type_of(uint64_t tdata1)
{
    return tdata1 >> 60;
}

static uint64_t hit_bit(unsigned type)
{
    return type == TYPE_MCONTROL ? MCONTROL_HIT : MCONTROL6_HIT0;
}

/* WARL: no debug mode, so dmode is 0 and the action a breakpoint; no chains, any size. */
uint64_t riscv_trigger_legal(uint64_t v)
{
    unsigned type = type_of(v);
    if (type != TYPE_MCONTROL && type != TYPE_MCONTROL6)
        return (uint64_t)TYPE_DISABLED << 60;
    uint64_t kept = v & (T_LOAD | T_STORE | T_EXECUTE | T_U | T_S | T_M | T_MATCH | hit_bit(type));
    if ((v & T_MATCH) >> 7 > MATCH_LT)
        kept &= ~T_MATCH;
    return (uint64_t)type << 60 | kept | (type == TYPE_MCONTROL ? MCONTROL_MASKMAX : 0);
}

static bool is_for_mode(const struct riscv_cpu *r, uint64_t tdata1)
{
    const uint64_t mode[] = { [RV_U] = T_U, [RV_S] = T_S, [RV_M] = T_M };
    unsigned type = type_of(tdata1);
    return (type == TYPE_MCONTROL || type == TYPE_MCONTROL6) && (tdata1 & mode[r->priv]);
}

void riscv_triggers_changed(struct riscv_cpu *r)
{
    r->trigger_armed = false;
    for (unsigned i = 0; i < RV_N_TRIGGERS; i++)
        r->trigger_armed |= (r->triggers[i].tdata1 & (T_EXECUTE | T_LOAD | T_STORE)) != 0;
}

uint32_t riscv_trigger_flags(const struct riscv_cpu *r)
{
    uint32_t flags = 0;
    for (unsigned i = 0; i < RV_N_TRIGGERS; i++) {
        uint64_t t = r->triggers[i].tdata1;
        if (!is_for_mode(r, t))
            continue;
        if (t & T_EXECUTE)
            flags |= RV_FLAG_TRIGGER_EXEC;
        if (t & (T_LOAD | T_STORE))
            flags |= RV_FLAG_TRIGGER_DATA;
    }
    return flags;
}

/* 5.4: where the breakpoint would trap into the mode it happens in, it needs that mode's interrupts
 * enabled, or handlers could not be re-entered. */
static bool may_fire(const struct riscv_cpu *r)
{
    if (r->priv == RV_M)
        return r->mstatus & RV_MSTATUS_MIE;
    if (r->priv == RV_S && (r->medeleg >> RV_BREAKPOINT & 1))
        return r->mstatus & RV_MSTATUS_SIE;
    return true;
}

/* Does an access to [va, va + size) match? */
static bool matches(const struct riscv_trigger *t, uint64_t va, uint64_t size)
{
    uint64_t last = va + size - 1, span;
    switch ((t->tdata1 & T_MATCH) >> 7) {
    case MATCH_NAPOT:
        span = t->tdata2 ^ (t->tdata2 + 1);
        return (va & ~span) == (t->tdata2 & ~span) || (last & ~span) == (t->tdata2 & ~span);
    case MATCH_GE: return last >= t->tdata2;
    case MATCH_LT: return va < t->tdata2;
    default: return t->tdata2 - va < size;
    }
}

static void look(struct riscv_cpu *r, uint64_t va, uint64_t size, uint64_t kind)
{
    if (!may_fire(r))
        return;
    for (unsigned i = 0; i < RV_N_TRIGGERS; i++) {
        struct riscv_trigger *t = &r->triggers[i];
        if (!(t->tdata1 & kind) || !is_for_mode(r, t->tdata1) || !matches(t, va, size))
            continue;
        t->tdata1 |= hit_bit(type_of(t->tdata1));
        riscv_raise(r, RV_BREAKPOINT, va);
    }
}

void rvh_trigger_exec(struct riscv_cpu *r)
{
    look(r, tcg_insn_pc(r->cpu), 1, T_EXECUTE);
}

void rvh_trigger_data(struct riscv_cpu *r, uint64_t va, uint64_t size, uint64_t store)
{
    look(r, va, size, store ? T_STORE : T_LOAD);
}
