/* Control and status registers: what csrs.h names, and access checks. Sections of the privileged
 * architecture. */
#include "core/tape.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"
#include "target/riscv/rv_priv.h"

/* ---- conditions for an access ------------------------------------------------------------------ */

static bool check_any(struct riscv_cpu *r, unsigned csr, bool write)
{
    return true;
}

static bool check_fs(struct riscv_cpu *r, unsigned csr, bool write)
{
    return r->mstatus & RV_MSTATUS_FS;
}

/* Counters for less privileged modes: 3.1.11, 4.1.5. */
static bool check_counter(struct riscv_cpu *r, unsigned csr, bool write)
{
    uint64_t bit = (uint64_t)1 << (csr & 31);
    return r->priv == RV_M || ((r->mcounteren & bit) && (r->priv == RV_S || (r->scounteren & bit)));
}

/* Sstc 2: STCE and TM open it to S-mode. */
static bool check_stimecmp(struct riscv_cpu *r, unsigned csr, bool write)
{
    return r->priv == RV_M || ((r->menvcfg & RV_ENVCFG_STCE) && (r->mcounteren & 2));
}

/* 3.1.6.5: TVM */
static bool check_satp(struct riscv_cpu *r, unsigned csr, bool write)
{
    return r->priv == RV_M || !(r->mstatus & RV_MSTATUS_TVM);
}

/* 3.7: RV64 has the even pmpcfg only. */
static bool check_pmp(struct riscv_cpu *r, unsigned csr, bool write)
{
    unsigned n = r->model->n_pmp;
    return csr < 0x3b0 ? !(csr & 1) && (csr - 0x3a0) * 4 < n : csr - 0x3b0 < n;
}

/* Zkr: only accesses that write; other modes than M by mseccfg.SSEED and USEED. */
static bool check_seed(struct riscv_cpu *r, unsigned csr, bool write)
{
    return write && (r->priv == RV_M ||
                     r->mseccfg & (r->priv == RV_S ? RV_MSECCFG_SSEED : RV_MSECCFG_USEED));
}

static bool is_machine_csr(unsigned csr)
{
    return (csr >> 8 & 3) == RV_M;
}

/* AIA 2.1 and 3.8: priorities (RV64: even numbers), then the registers of the interrupt file. */
static bool check_ireg(struct riscv_cpu *r, unsigned csr, bool write)
{
    bool machine = is_machine_csr(csr);
    unsigned select = machine ? r->miselect : r->siselect;
    uint64_t old;
    if (select >= 0x30 && select < 0x40)
        return !(select & 1);
    return select >= 0x70 && r->imsic &&
           r->imsic->access(r->imsic_opaque, machine, select, 0, 0, &old);
}

static bool check_topei(struct riscv_cpu *r, unsigned csr, bool write)
{
    return r->imsic != NULL;
}

/* ---- reads and writes --------------------------------------------------------------------------- */

static uint64_t read_zero(struct riscv_cpu *r, unsigned csr)
{
    return 0;
}

static void set_fs_dirty(struct riscv_cpu *r)
{
    r->mstatus |= RV_MSTATUS_FS | RV_MSTATUS_SD;
}

static uint64_t read_fflags(struct riscv_cpu *r, unsigned csr)
{
    return tcg_fp_flags(r->cpu) & 31;
}

static uint64_t read_frm(struct riscv_cpu *r, unsigned csr)
{
    return r->frm;
}

static uint64_t read_fcsr(struct riscv_cpu *r, unsigned csr)
{
    return r->frm << 5 | read_fflags(r, csr);
}

static void write_fflags(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->fflags = v & 31;
    tcg_fp_set_flags(r->cpu, v & 31);
    set_fs_dirty(r);
}

static void write_frm(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->frm = v & 7;
    tcg_rounding_changed(r->cpu);
    set_fs_dirty(r);
}

static void write_fcsr(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    write_fflags(r, csr, v);
    write_frm(r, csr, v >> 5);
}

/* Zkr: OPST ES16, 16 bits of entropy. WAIT when the host has none to give now. */
static uint64_t read_seed(struct riscv_cpu *r, unsigned csr)
{
    uint16_t random;
    if (!tape_random(r->cpu->vm, &random, sizeof(random)))
        return (uint64_t)1 << 30;
    return (uint64_t)2 << 30 | random;
}

static unsigned counter_of(unsigned csr)
{
    return csr & 31;
}

static uint64_t read_counter(struct riscv_cpu *r, unsigned csr)
{
    return riscv_counter_read(r, counter_of(csr));
}

static void write_counter(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    riscv_counter_write(r, counter_of(csr), v);
}

static uint64_t read_time(struct riscv_cpu *r, unsigned csr)
{
    return riscv_read_time(r);
}

/* 3.1.6: what software may change in mstatus. MPP is WARL: U, S or M. */
static void write_mstatus_bits(struct riscv_cpu *r, uint64_t v, uint64_t mask)
{
    if (!rv_has(r, RV_EXT_F))
        mask &= ~RV_MSTATUS_FS;
    if ((v & RV_MSTATUS_MPP) == (uint64_t)2 << 11)
        mask &= ~RV_MSTATUS_MPP;
    uint64_t now = (r->mstatus & ~mask) | (v & mask);
    now &= ~RV_MSTATUS_SD;
    if ((now & RV_MSTATUS_FS) == RV_MSTATUS_FS)
        now |= RV_MSTATUS_SD;
    r->mstatus = now;
}

#define MSTATUS_WRITABLE                                                                         \
    (RV_SSTATUS_WRITABLE | RV_MSTATUS_MIE | RV_MSTATUS_MPIE | RV_MSTATUS_MPP | RV_MSTATUS_MPRV | \
     RV_MSTATUS_TVM | RV_MSTATUS_TW | RV_MSTATUS_TSR)

static void write_mstatus(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    write_mstatus_bits(r, v, MSTATUS_WRITABLE);
}

static uint64_t read_sstatus(struct riscv_cpu *r, unsigned csr)
{
    return r->mstatus & RV_SSTATUS_VISIBLE;
}

static void write_sstatus(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    write_mstatus_bits(r, v, RV_SSTATUS_WRITABLE);
}

/* 3.1.1: not writable here. */
static uint64_t read_misa(struct riscv_cpu *r, unsigned csr)
{
    static const struct {
        uint8_t ext;
        char letter;
    } letters[] = {
        { RV_EXT_A, 'A' }, { RV_EXT_B, 'B' }, { RV_EXT_C, 'C' },
        { RV_EXT_D, 'D' }, { RV_EXT_F, 'F' }, { RV_EXT_I, 'I' },
        { RV_EXT_M, 'M' }, { RV_EXT_I, 'S' }, { RV_EXT_I, 'U' },
    };
    uint64_t misa = (uint64_t)2 << 62;
    for (size_t i = 0; i < ARRAY_LEN(letters); i++)
        misa |= (uint64_t)rv_has(r, letters[i].ext) << (letters[i].letter - 'A');
    return misa;
}

static uint64_t read_id(struct riscv_cpu *r, unsigned csr)
{
    const struct riscv_model *m = r->model;
    const uint64_t ids[] = { m->mvendorid, m->marchid, m->mimpid, r->cpu->index };
    return ids[csr - 0xf11];
}

/* 3.1.7: with IALIGN=32 bit 1 reads 0. */
static uint64_t read_epc(struct riscv_cpu *r, unsigned csr)
{
    uint64_t epc = csr == 0x341 ? r->mepc : r->sepc;
    return rv_has(r, RV_EXT_C) ? epc : epc & ~(uint64_t)3;
}

/* ---- interrupts: 3.1.8, 3.1.9, 4.1.3 ------------------------------------------------------------ */

static uint64_t lcofi(const struct riscv_cpu *r)
{
    return rv_has(r, RV_EXT_SSCOFPMF) ? RV_BIT(RV_LCOFI) : 0;
}

static void write_mideleg(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->mideleg = v & (RV_BIT(RV_SSI) | RV_BIT(RV_STI) | RV_BIT(RV_SEI) | lcofi(r));
}

static void write_mie(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->mie = v & (RV_BIT(RV_SSI) | RV_BIT(RV_MSI) | RV_BIT(RV_STI) | RV_BIT(RV_MTI) |
                  RV_BIT(RV_SEI) | RV_BIT(RV_MEI) | lcofi(r));
}

static uint64_t read_sie(struct riscv_cpu *r, unsigned csr)
{
    return r->mie & r->mideleg;
}

static void write_sie(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    write_mie(r, csr, (r->mie & ~r->mideleg) | (v & r->mideleg));
}

static uint64_t read_mip(struct riscv_cpu *r, unsigned csr)
{
    return riscv_pending(r);
}

static uint64_t read_sip(struct riscv_cpu *r, unsigned csr)
{
    return riscv_pending(r) & r->mideleg;
}

/* The bits that software keeps: other threads may set some at the same time, so only what changes is
 * touched. SEIP's own bit is apart from its wire (3.1.9). */
static void write_pending(struct riscv_cpu *r, uint64_t v, uint64_t mask)
{
    uint64_t old = r->mip;
    if (riscv_has_stimecmp(r))
        mask &= ~RV_BIT(RV_STI);
    atomic_fetch_or(&r->mip, v & ~old & mask);
    atomic_fetch_and(&r->mip, ~(old & ~v & mask));
}

static void write_mip(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    write_pending(r, v, RV_BIT(RV_SSI) | RV_BIT(RV_STI) | RV_BIT(RV_SEI) | lcofi(r));
}

static void write_sip(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    write_pending(r, v, (RV_BIT(RV_SSI) | lcofi(r)) & r->mideleg);
}

/* AIA 5.3, with mvien all zero: the bits are those of mip. */
static uint64_t read_mvip(struct riscv_cpu *r, unsigned csr)
{
    return r->mip & (RV_BIT(RV_SSI) | RV_BIT(RV_STI) | RV_BIT(RV_SEI));
}

static void write_mvip(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    write_pending(r, v, RV_BIT(RV_SSI) | RV_BIT(RV_STI) | RV_BIT(RV_SEI));
}

static uint64_t read_topi(struct riscv_cpu *r, unsigned csr)
{
    uint64_t delegated = is_machine_csr(csr) ? ~r->mideleg : r->mideleg;
    int irq = riscv_first_interrupt(riscv_pending(r) & r->mie & delegated);
    return irq < 0 ? 0 : (uint64_t)irq << 16 | 1;
}

/* The priority array reads as zeros (AIA 2.3 allows it). In the interrupt file other threads set bits,
 * so a change of some must not rewrite the rest. Gives the old value. */
static uint64_t change_ireg(struct riscv_cpu *r, unsigned csr, uint64_t mask, uint64_t v)
{
    bool machine = is_machine_csr(csr);
    unsigned select = machine ? r->miselect : r->siselect;
    uint64_t old = 0;
    if (select >= 0x70)
        r->imsic->access(r->imsic_opaque, machine, select, mask, v, &old);
    return old;
}

static uint64_t read_ireg(struct riscv_cpu *r, unsigned csr)
{
    return change_ireg(r, csr, 0, 0);
}

static void write_ireg(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    change_ireg(r, csr, ~(uint64_t)0, v);
}

static uint64_t read_topei(struct riscv_cpu *r, unsigned csr)
{
    return r->imsic->topei(r->imsic_opaque, is_machine_csr(csr), false);
}

/* Any write claims what it reads as, in one step (AIA 3.10). */
static uint64_t claim_topei(struct riscv_cpu *r, unsigned csr)
{
    return r->imsic->topei(r->imsic_opaque, is_machine_csr(csr), true);
}

static void write_topei(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    claim_topei(r, csr);
}

/* ---- environment, counters, address translation ------------------------------------------------- */

/* CBIE = 2 is reserved (CMO 4): the field keeps its value. */
static uint64_t legal_envcfg(const struct riscv_cpu *r, uint64_t old, uint64_t v)
{
    uint64_t mask = RV_ENVCFG_FIOM;
    if (rv_has(r, RV_EXT_ZICBOM))
        mask |= RV_ENVCFG_CBCFE | ((v & RV_ENVCFG_CBIE) == (uint64_t)2 << 4 ? 0 : RV_ENVCFG_CBIE);
    if (rv_has(r, RV_EXT_ZICBOZ))
        mask |= RV_ENVCFG_CBZE;
    return (old & ~mask) | (v & mask);
}

static void write_senvcfg(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->senvcfg = legal_envcfg(r, r->senvcfg, v);
}

static void write_menvcfg(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    uint64_t mask = (rv_has(r, RV_EXT_SVPBMT) ? RV_ENVCFG_PBMTE : 0) |
                    (rv_has(r, RV_EXT_SVADU) ? RV_ENVCFG_ADUE : 0) |
                    (rv_has(r, RV_EXT_SSTC) ? RV_ENVCFG_STCE : 0);
    uint64_t old = r->menvcfg;
    r->menvcfg = (legal_envcfg(r, old, v) & ~mask) | (v & mask);
    if ((old ^ r->menvcfg) & (RV_ENVCFG_PBMTE | RV_ENVCFG_ADUE))
        tcg_flush_all(r->cpu);
    if ((old ^ r->menvcfg) & RV_ENVCFG_STCE)
        riscv_stimecmp_changed(r->cpu);
}

static uint64_t counters_there(const struct riscv_cpu *r)
{
    return 7 | (((uint64_t)1 << r->model->n_hpm) - 1) << 3;
}

static void write_scounteren(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->scounteren = v & counters_there(r);
}

static void write_mcounteren(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->mcounteren = v & counters_there(r);
}

static void write_mcountinhibit(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->mcountinhibit = v & counters_there(r) & ~(uint64_t)2;
    riscv_counters_changed(r);
}

static uint64_t read_mhpmevent(struct riscv_cpu *r, unsigned csr)
{
    riscv_counters_sync(r);
    return r->counters[counter_of(csr)].event;
}

static void write_mhpmevent(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    riscv_counter_set_event(r, counter_of(csr), v);
}

/* Sscofpmf 2.1 */
static uint64_t read_scountovf(struct riscv_cpu *r, unsigned csr)
{
    uint64_t of = 0;
    riscv_counters_sync(r);
    for (unsigned i = 3; i < RV_N_COUNTERS; i++)
        of |= r->counters[i].event >> 63 << i;
    return r->priv == RV_M ? of : of & r->mcounteren;
}

static void write_stimecmp(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    pthread_mutex_lock(&r->timer_lock);
    r->stimecmp = v;
    pthread_mutex_unlock(&r->timer_lock);
    riscv_stimecmp_changed(r->cpu);
}

/* 4.1.11: an unsupported MODE leaves satp as it was. */
static void write_satp(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    unsigned mode = v >> 60;
    if (mode != RV_BARE && (mode < RV_SV39 || mode > r->model->satp_mode))
        return;
    if (v != r->satp)
        tcg_drop_user_pages(r->cpu);
    if (v != r->satp && r->local_filled)
        riscv_forget_local(r);
    r->satp = v;
}

static uint64_t read_pmpcfg(struct riscv_cpu *r, unsigned csr)
{
    return load_le(&r->pmpcfg[(csr - 0x3a0) * 4], 8);
}

static void write_pmpcfg(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        riscv_pmp_set_cfg(r, (csr - 0x3a0) * 4 + i, v >> 8 * i);
    riscv_pmp_changed(r);
}

static uint64_t read_pmpaddr(struct riscv_cpu *r, unsigned csr)
{
    return r->pmpaddr[csr - 0x3b0];
}

static void write_pmpaddr(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    riscv_pmp_set_addr(r, csr - 0x3b0, v);
    riscv_pmp_changed(r);
}

/* ---- debug triggers (debug 1.0, 5.7) -------------------------------------------------------------- */

static void write_tselect(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    if (v < RV_N_TRIGGERS)
        r->tselect = v;
}

static uint64_t read_tdata(struct riscv_cpu *r, unsigned csr)
{
    const struct riscv_trigger *t = &r->triggers[r->tselect];
    return csr == 0x7a1 ? t->tdata1 : t->tdata2;
}

static void write_tdata1(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->triggers[r->tselect].tdata1 = riscv_trigger_legal(v);
    riscv_triggers_changed(r);
}

static void write_tdata2(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
    r->triggers[r->tselect].tdata2 = v;
}

/* Version 1; types 2 (mcontrol), 6 (mcontrol6) and 15 (disabled). */
static uint64_t read_tinfo(struct riscv_cpu *r, unsigned csr)
{
    return 1 << 24 | 1 << 15 | 1 << 6 | 1 << 2;
}

/* ---- the table -------------------------------------------------------------------------------------- */

#define RV_MEDELEG 0xb3ffull /* all that can come from below M: 3.1.8 */

enum csr_row {
    CSR_ABSENT,
#define RV_CSR(id, first, count, needs, check, read, write, member, mask, plain) CSR_##id,
#include "target/riscv/csrs.h"
#undef RV_CSR
};

struct csr_info {
    const char *name;
    uint16_t needs, offset;
    bool plain;
    bool (*check)(struct riscv_cpu *r, unsigned csr, bool write);
    uint64_t (*read)(struct riscv_cpu *r, unsigned csr);
    void (*write)(struct riscv_cpu *r, unsigned csr, uint64_t v);
    uint64_t mask;
};

/* Stand-ins in the table: handled by csr_get and csr_put. */
#define read_field  NULL
#define write_field NULL
static void write_none(struct riscv_cpu *r, unsigned csr, uint64_t v)
{
}

static const struct csr_info csrs[] = {
#define RV_CSR(id, first, count, needs, check, read, write, member, mask, plain) \
    [CSR_##id] = { #id,                                                          \
                   RV_EXT_##needs,                                               \
                   offsetof(struct riscv_cpu, member),                           \
                   plain,                                                        \
                   check_##check,                                                \
                   read_##read,                                                  \
                   write_##write,                                                \
                   mask },
#include "target/riscv/csrs.h"
#undef RV_CSR
};

/* Row by number. */
static const uint8_t csr_rows[4096] = {
#define RV_CSR(id, first, count, needs, check, read, write, member, mask, plain) \
    [first...(first) + (count)-1] = CSR_##id,
#include "target/riscv/csrs.h"
#undef RV_CSR
};

/* NULL unless the access is allowed (2.1, and the row's conditions). */
static const struct csr_info *csr_check(struct riscv_cpu *r, unsigned csr, bool write)
{
    const struct csr_info *c = &csrs[csr_rows[csr & 0xfff]];
    bool ok = c->name && rv_has(r, c->needs) && (csr >> 8 & 3) <= r->priv &&
              !(write && csr >> 10 == 3) && c->check(r, csr, write);
    return ok ? c : NULL;
}

static uint64_t csr_get(struct riscv_cpu *r, const struct csr_info *c, unsigned csr)
{
    return c->read ? c->read(r, csr) : *(uint64_t *)((char *)r + c->offset);
}

static void csr_put(struct riscv_cpu *r, const struct csr_info *c, unsigned csr, uint64_t v)
{
    uint64_t *field = (uint64_t *)((char *)r + c->offset);
    if (c->write)
        c->write(r, csr, v);
    else
        *field = (*field & ~c->mask) | (v & c->mask);
    if (!c->plain || c->write == write_fflags) {
        riscv_update_flags(r);
        riscv_check_interrupts(r);
    }
}

/* What set and clear start from: not the wires behind mip (3.1.9). */
static uint64_t csr_base(struct riscv_cpu *r, unsigned csr, uint64_t seen)
{
    return csr == 0x344 || csr == 0x144 ? r->mip : seen;
}

bool riscv_csr_is_plain(unsigned csr)
{
    return csrs[csr_rows[csr & 0xfff]].plain;
}

bool riscv_csr_access(struct riscv_cpu *r, unsigned csr, bool read, bool write, uint64_t v,
                      uint64_t mask, uint64_t *old)
{
    const struct csr_info *c = csr_check(r, csr, write);
    if (!c)
        return false;
    uint64_t seen = 0;
    if (write && (c->write == write_ireg || c->write == write_topei)) {
        *old = c->write == write_ireg ? change_ireg(r, csr, mask, v) : claim_topei(r, csr);
        riscv_check_interrupts(r);
        return true;
    }
    if (read || mask != ~(uint64_t)0)
        seen = csr_get(r, c, csr);
    if (write)
        csr_put(r, c, csr, (csr_base(r, csr, seen) & ~mask) | (v & mask));
    *old = seen;
    return true;
}

/* ---- helpers ------------------------------------------------------------------------------------------ */

/* Software is about to look at a count of instructions: from here on it is exact. */
static void count_exactly(struct riscv_cpu *r, unsigned csr)
{
    unsigned i = csr & 31;
    bool counter = (csr & ~31u) == 0xc00 || (csr & ~31u) == 0xb00;
    if (tcg_is_counting(r->cpu) || !counter || !riscv_counter_counts_instructions(r, i))
        return;
    riscv_start_counting(r);
    r->pc = tcg_insn_pc(r->cpu);
    tcg_leave(r->cpu);
}

/* The unit goes on behind this instruction unless an interrupt is due (priv 3.1.9: at once) or it
 * was translated for another state. */
static void settle(struct riscv_cpu *r, uint64_t how, uint64_t old)
{
    if (!(how >> 17 & 1) || (r->flags == how >> 32 && riscv_interrupt_due(r) < 0))
        return;
    if (how >> 12 & 31)
        r->x[how >> 12 & 31] = old;
    r->pc = tcg_insn_pc(r->cpu) + 4;
    tcg_leave(r->cpu);
}

static uint64_t access_or_trap(struct riscv_cpu *r, uint64_t how, bool read, bool write, uint64_t v,
                               uint64_t mask)
{
    unsigned csr = how & 0xfff;
    uint64_t old;
    if (csr_check(r, csr, write))
        count_exactly(r, csr);
    if (!riscv_csr_access(r, csr, read, write, v, mask, &old))
        riscv_raise_illegal(r);
    settle(r, how, old);
    return old;
}

uint64_t rvh_csr_read(struct riscv_cpu *r, uint64_t csr)
{
    return access_or_trap(r, csr, true, false, 0, 0);
}

void rvh_csr_write(struct riscv_cpu *r, uint64_t csr, uint64_t v)
{
    access_or_trap(r, csr, false, true, v, ~(uint64_t)0);
}

uint64_t rvh_csr_swap(struct riscv_cpu *r, uint64_t csr, uint64_t v)
{
    return access_or_trap(r, csr, true, true, v, ~(uint64_t)0);
}

uint64_t rvh_csr_set(struct riscv_cpu *r, uint64_t csr, uint64_t v)
{
    return access_or_trap(r, csr, true, true, ~(uint64_t)0, v);
}

uint64_t rvh_csr_clear(struct riscv_cpu *r, uint64_t csr, uint64_t v)
{
    return access_or_trap(r, csr, true, true, 0, v);
}
