/* Traps: exceptions and interrupts in, mret and sret out, waiting (priv 3.1.6 to 3.1.9, 3.3, 4.1). */
#include "core/clock.h"
#include "core/vm.h"
#include "target/riscv/rv_priv.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

/* ---- privilege and the state word -------------------------------------------------------------- */

/* Entries that SUM allowed must not outlive SUM or this data context: they carry its key, which does
 * not say SUM. */
static void drop_user_pages(struct riscv_cpu *r, uint64_t data_key)
{
    if (r->sum_used && (data_key != r->data_key || !(r->mstatus & RV_MSTATUS_SUM)))
        rvh_sum_ends(r);
}

void rvh_sum_ends(struct riscv_cpu *r)
{
    tcg_drop_user_pages(r->cpu);
    r->sum_used = false;
}

void riscv_update_flags(struct riscv_cpu *r)
{
    uint32_t flags = riscv_compute_flags(r);
    uint64_t data_key = riscv_context_key(r->cpu, 0), fetch_key = riscv_context_key(r->cpu, -1);
    drop_user_pages(r, data_key);
    if (flags == r->flags && data_key == r->data_key && fetch_key == r->fetch_key)
        return;
    r->flags = flags;
    r->data_key = data_key;
    r->fetch_key = fetch_key;
    tcg_context_is(r->cpu, fetch_key, &data_key);
}

void riscv_set_priv(struct riscv_cpu *r, unsigned priv)
{
    if (r->pmu_filters && priv != r->priv) {
        riscv_counters_sync(r);
        r->priv = priv;
        riscv_counters_changed(r);
    }
    r->priv = priv;
}

/* ---- entry ------------------------------------------------------------------------------------------ */

enum { FUTILE_TRAPS = 100000 };

static bool is_stuck(struct vcpu *cpu)
{
    struct riscv_cpu *r = riscv_of(cpu);
    return (cpu->halted && !riscv_has_work(cpu)) || cpu->powered_off ||
           r->n_futile_traps >= FUTILE_TRAPS;
}

/* A handler whose first instruction traps to that handler gets nowhere unless another hart helps. */
static void note_futile_trap(struct riscv_cpu *r, uint64_t cause, bool futile)
{
    struct vm *vm = r->cpu->vm;
    char why[120];
    if (!futile) {
        r->n_futile_traps = 0;
        return;
    }
    if (++r->n_futile_traps < FUTILE_TRAPS)
        return;
    r->n_futile_traps = FUTILE_TRAPS;
    for (unsigned i = 0; i < vm->n_vcpus; i++)
        if (vm->vcpus[i] && !is_stuck(vm->vcpus[i]))
            return;
    snprintf(why, sizeof(why),
             "hart %u: the trap handler at %#" PRIx64 " raises exception %" PRIu64, r->cpu->index,
             r->pc, cause);
    vm_request_end(vm, VERDICT_TRAP_LOOP, 0, why);
}

static void enter_machine(struct riscv_cpu *r, uint64_t cause, uint64_t pc, uint64_t tval)
{
    uint64_t s = r->mstatus & ~(RV_MSTATUS_MPP | RV_MSTATUS_MPIE | RV_MSTATUS_MIE);
    s |= (uint64_t)r->priv << 11;
    if (r->mstatus & RV_MSTATUS_MIE)
        s |= RV_MSTATUS_MPIE;
    r->mstatus = s;
    r->mcause = cause;
    r->mepc = pc;
    r->mtval = tval;
}

static void enter_supervisor(struct riscv_cpu *r, uint64_t cause, uint64_t pc, uint64_t tval)
{
    uint64_t s = r->mstatus & ~(RV_MSTATUS_SPP | RV_MSTATUS_SPIE | RV_MSTATUS_SIE);
    if (r->priv == RV_S)
        s |= RV_MSTATUS_SPP;
    if (r->mstatus & RV_MSTATUS_SIE)
        s |= RV_MSTATUS_SPIE;
    r->mstatus = s;
    r->scause = cause;
    r->sepc = pc;
    r->stval = tval;
}

/* 3.1.7: base, or base + 4 * cause for interrupts in vectored mode. */
static uint64_t vector_of(uint64_t tvec, uint64_t cause)
{
    uint64_t base = tvec & ~(uint64_t)3;
    bool vectored = (tvec & 3) == 1 && (cause & RV_CAUSE_INTERRUPT);
    return vectored ? base + 4 * (cause & ~RV_CAUSE_INTERRUPT) : base;
}

void riscv_trap(struct riscv_cpu *r, uint64_t cause, uint64_t pc, uint64_t tval)
{
    bool interrupt = cause & RV_CAUSE_INTERRUPT;
    uint64_t delegated = interrupt ? r->mideleg : r->medeleg;
    r->wfis_in_vain = 0;
    if (interrupt)
        r->cpu->counts.interrupts++;
    else
        r->cpu->counts.exceptions++;
    unsigned from = r->priv, to = r->priv != RV_M && (delegated >> (cause & 63) & 1) ? RV_S : RV_M;
    if (to == RV_M)
        enter_machine(r, cause, pc, tval);
    else
        enter_supervisor(r, cause, pc, tval);
    r->pc = vector_of(to == RV_M ? r->mtvec : r->stvec, cause);
    riscv_set_priv(r, to);
    riscv_update_flags(r);
    if (log_on(&r->cpu->vm->log, LOG_INT))
        log_print(&r->cpu->vm->log,
                  "int: cpu %u %s %" PRIu64 " at %#" PRIx64 " tval %#" PRIx64 " mode %u -> %u\n",
                  r->cpu->index, interrupt ? "interrupt" : "exception", cause & ~RV_CAUSE_INTERRUPT,
                  pc, tval, from, to);
    if (!interrupt)
        note_futile_trap(r, cause, from == to && pc == r->pc);
}

noreturn void riscv_raise(struct riscv_cpu *r, enum rv_cause cause, uint64_t tval)
{
    riscv_trap(r, cause, tcg_insn_pc(r->cpu), tval);
    tcg_leave(r->cpu);
}

/* The instruction's bits as its hart sees them: one half-word, and the next if it is a long one. */
static uint64_t read_opcode(struct riscv_cpu *r, uint64_t pc)
{
    uint32_t opcode = 0;
    for (unsigned at = 0; at < 4; at += 2) {
        struct tlb_fill fill;
        uint8_t half[2];
        if (!riscv_translate_address(r->cpu, pc + at, ACCESS_EXEC, 0, &fill) ||
            !mem_read(r->cpu->vm, fill.gpa, half, 2))
            break;
        opcode |= (uint32_t)load_le(half, 2) << 8 * at;
        if ((opcode & 3) != 3)
            break;
    }
    return opcode;
}

noreturn void riscv_raise_illegal(struct riscv_cpu *r)
{
    riscv_raise(r, RV_ILLEGAL, read_opcode(r, tcg_insn_pc(r->cpu)));
}

void rvh_raise_illegal(struct riscv_cpu *r, uint64_t opcode)
{
    riscv_raise(r, RV_ILLEGAL, opcode);
}

uint64_t rvh_ecall(struct riscv_cpu *r)
{
    riscv_trap(r, RV_ECALL_U + r->priv, tcg_insn_pc(r->cpu), 0);
    return r->pc;
}

void rvh_ebreak(struct riscv_cpu *r)
{
    riscv_raise(r, RV_BREAKPOINT, tcg_insn_pc(r->cpu));
}

void rvh_fs_dirty(struct riscv_cpu *r)
{
    if (!(r->mstatus & RV_MSTATUS_FS))
        riscv_raise_illegal(r);
    r->mstatus |= RV_MSTATUS_FS | RV_MSTATUS_SD;
    r->pc = tcg_insn_pc(r->cpu);
    riscv_update_flags(r);
    tcg_leave(r->cpu);
}

/* ---- return ------------------------------------------------------------------------------------------- */

/* 3.3.2: and a reservation does not survive, so that an sc never pairs with another thread's lr. */
static uint64_t return_to(struct riscv_cpu *r, unsigned priv, uint64_t epc)
{
    if (priv != RV_M)
        r->mstatus &= ~RV_MSTATUS_MPRV;
    r->res_addr = ~(uint64_t)0;
    r->pc = rv_has(r, RV_EXT_C) ? epc : epc & ~(uint64_t)3;
    riscv_set_priv(r, priv);
    riscv_update_flags(r);
    riscv_check_interrupts(r);
    return r->pc;
}

uint64_t rvh_mret(struct riscv_cpu *r)
{
    if (r->priv != RV_M)
        riscv_raise_illegal(r);
    unsigned priv = bits(r->mstatus, 11, 2);
    uint64_t s = r->mstatus & ~(RV_MSTATUS_MIE | RV_MSTATUS_MPP);
    if (s & RV_MSTATUS_MPIE)
        s |= RV_MSTATUS_MIE;
    r->mstatus = s | RV_MSTATUS_MPIE;
    return return_to(r, priv, r->mepc);
}

uint64_t rvh_sret(struct riscv_cpu *r)
{
    if (r->priv == RV_U || (r->priv == RV_S && (r->mstatus & RV_MSTATUS_TSR)))
        riscv_raise_illegal(r);
    unsigned priv = r->mstatus & RV_MSTATUS_SPP ? RV_S : RV_U;
    uint64_t s = r->mstatus & ~(RV_MSTATUS_SIE | RV_MSTATUS_SPP);
    if (s & RV_MSTATUS_SPIE)
        s |= RV_MSTATUS_SIE;
    r->mstatus = s | RV_MSTATUS_SPIE;
    return return_to(r, priv, r->sepc);
}

/* ---- interrupts ------------------------------------------------------------------------------------------ */

/* 3.1.9, and Sscofpmf's last. */
int riscv_first_interrupt(uint64_t set)
{
    static const uint8_t order[] = { RV_MEI, RV_MSI, RV_MTI, RV_SEI, RV_SSI, RV_STI, RV_LCOFI };
    for (size_t i = 0; i < ARRAY_LEN(order); i++)
        if (set & RV_BIT(order[i]))
            return order[i];
    return -1;
}

/* STIP belongs to software or, with Sstc enabled, to the comparator. */
uint64_t riscv_pending(const struct riscv_cpu *r)
{
    uint64_t soft = atomic_load_explicit(&r->mip, memory_order_relaxed);
    uint64_t lines = atomic_load_explicit(&r->mip_lines, memory_order_acquire);
    if (riscv_has_stimecmp(r))
        soft &= ~RV_BIT(RV_STI);
    else
        lines &= ~RV_BIT(RV_STI);
    return soft | lines;
}

int riscv_interrupt_due(const struct riscv_cpu *r)
{
    uint64_t enabled = riscv_pending(r) & r->mie;
    if (!enabled)
        return -1;
    if (r->priv != RV_M || (r->mstatus & RV_MSTATUS_MIE)) {
        int irq = riscv_first_interrupt(enabled & ~r->mideleg);
        if (irq >= 0)
            return irq;
    }
    if (r->priv == RV_U || (r->priv == RV_S && (r->mstatus & RV_MSTATUS_SIE)))
        return riscv_first_interrupt(enabled & r->mideleg);
    return -1;
}

void riscv_check_interrupts(struct riscv_cpu *r)
{
    if (riscv_interrupt_due(r) >= 0)
        vcpu_interrupt(r->cpu);
}

bool riscv_take_interrupt(struct vcpu *cpu)
{
    struct riscv_cpu *r = riscv_of(cpu);
    int irq = cpu->holds_interrupts ? -1 : riscv_interrupt_due(r);
    if (irq < 0)
        return false;
    riscv_trap(r, RV_CAUSE_INTERRUPT | (uint64_t)irq, r->pc, 0);
    return true;
}

/* 3.3.3: WFI ends for anything that mie lets through, whatever the global enables say. */
bool riscv_has_work(struct vcpu *cpu)
{
    const struct riscv_cpu *r = riscv_of(cpu);
    return riscv_pending(r) & r->mie;
}

void riscv_set_irq(struct vcpu *cpu, unsigned bit, bool level)
{
    struct riscv_cpu *r = riscv_of(cpu);
    if (!level)
        atomic_fetch_and(&r->mip_lines, ~RV_BIT(bit));
    else if (!(atomic_fetch_or(&r->mip_lines, RV_BIT(bit)) & RV_BIT(bit)) || bit == RV_MSI)
        vcpu_interrupt(cpu); /* a second message between harts may have more to say: see nap_ns */
}

void riscv_raise_pending(struct vcpu *cpu, unsigned bit)
{
    atomic_fetch_or(&riscv_of(cpu)->mip, RV_BIT(bit));
    vcpu_interrupt(cpu);
}

/* ---- waiting ---------------------------------------------------------------------------------------------- */

/* 3.1.6.5: TW traps S-mode's; U-mode's always trap here. */
static void check_wait(struct riscv_cpu *r, bool bounded)
{
    if (r->priv != RV_M && (r->mstatus & RV_MSTATUS_TW))
        riscv_raise_illegal(r);
    if (r->priv == RV_U && !bounded)
        riscv_raise_illegal(r);
}

/* How long to sleep in a WFI that need not wait. OpenSBI's harts wait for their start with an interrupt
 * pending: spinning, they would keep the first hart from working on a busy host. And before version
 * 1.3 they must not see that they are to start before the interrupt that tells them, because their
 * start address is written in between: so they sleep until then, or for much longer than that takes. */
static uint64_t nap_ns(unsigned in_vain)
{
    enum { AWAKE = 8, LONGEST = 5 };
    const uint64_t first = NS_PER_S / 1000;
    return in_vain > AWAKE ? first << 2 * MIN(in_vain - AWAKE - 1, LONGEST - 1u) : 0;
}

void rvh_wfi(struct riscv_cpu *r)
{
    check_wait(r, false);
    r->pc = tcg_insn_pc(r->cpu) + 4;
    if (!riscv_has_work(r->cpu)) {
        r->wfis_in_vain = 0;
        tcg_halt(r->cpu);
    }
    if (r->wfis_in_vain < UINT8_MAX)
        r->wfis_in_vain++;
    r->cpu->nap_ns = nap_ns(r->wfis_in_vain);
    if (r->cpu->nap_ns)
        tcg_halt(r->cpu);
    tcg_leave(r->cpu);
}

/* Zawrs: a stall may end for any reason, so it lasts as long as somebody else wants the processor.
 * wrs.sto does not heed TW. */
void rvh_wrs(struct riscv_cpu *r, uint64_t until)
{
    if (until)
        check_wait(r, true);
    if (!riscv_has_work(r->cpu))
        sched_yield();
}

void rvh_pause(struct riscv_cpu *r)
{
    tcg_pause(r->cpu);
}
