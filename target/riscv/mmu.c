/* Address translation: Sv39, Sv48, Sv57 (priv 4.3 to 4.6), Svnapot, Svpbmt, Svadu, PMP. */
#include "core/vm.h"
#include "target/riscv/rv_priv.h"

#define PTE_V        ((uint64_t)1 << 0)
#define PTE_R        ((uint64_t)1 << 1)
#define PTE_W        ((uint64_t)1 << 2)
#define PTE_X        ((uint64_t)1 << 3)
#define PTE_U        ((uint64_t)1 << 4)
#define PTE_G        ((uint64_t)1 << 5)
#define PTE_A        ((uint64_t)1 << 6)
#define PTE_D        ((uint64_t)1 << 7)
#define PTE_RESERVED ((uint64_t)0x7f << 54)
#define PTE_PBMT     ((uint64_t)3 << 61)
#define PTE_N        ((uint64_t)1 << 63)
enum { PAGE_BITS = 12, LEVEL_BITS = 9, PPN_AT = 10, PPN_BITS = 44, NAPOT_BITS = 4 };

/* context_key: bits 63..62 the mode (0: no translation), 61 supervisor, 60 MXR, 59..44 ASID, 43..0
 * PPN; without translation bit 0 tells M-mode, whom PMP treats otherwise.
 *
 * A supervisor's key says nothing of ASID and PPN: what its mappings of kernel memory say is global
 * (priv 4.3.1), so that it stays known when the process changes. The exceptions are forgotten then:
 * user pages with SUM, and mappings of its own that are not global (local_filled). */
enum { KEY_MODE_AT = 62, KEY_ASID_AT = 44 };
#define KEY_S    ((uint64_t)1 << 61)
#define KEY_MXR  ((uint64_t)1 << 60)
#define KEY_ASID ((uint64_t)0xffff << KEY_ASID_AT)
#define KEY_MODE ((uint64_t)3 << KEY_MODE_AT)

/* 3.1.6.3: loads and stores run as MPP under MPRV. */
static unsigned data_priv(const struct riscv_cpu *r)
{
    return r->mstatus & RV_MSTATUS_MPRV ? bits(r->mstatus, 11, 2) : r->priv;
}

static unsigned access_priv(const struct riscv_cpu *r, enum access access)
{
    return access == ACCESS_EXEC ? r->priv : data_priv(r);
}

uint64_t riscv_context_key(struct vcpu *cpu, int mode)
{
    const struct riscv_cpu *r = riscv_of(cpu);
    unsigned priv = mode < 0 ? r->priv : data_priv(r);
    unsigned satp_mode = r->satp >> 60;
    if (priv == RV_M || satp_mode == RV_BARE)
        return priv == RV_M;
    uint64_t key = (uint64_t)(satp_mode - RV_SV39 + 1) << KEY_MODE_AT;
    key |= priv == RV_S ? KEY_S : bits(r->satp, 0, 60);
    if (mode >= 0 && (r->mstatus & RV_MSTATUS_MXR))
        key |= KEY_MXR;
    return key;
}

/* What SUM lets a supervisor reach is mapped for U-mode, with the same rights for data. */
bool riscv_user_key(struct vcpu *cpu, uint64_t *key)
{
    struct riscv_cpu *r = riscv_of(cpu);
    unsigned satp_mode = r->satp >> 60;
    if (data_priv(r) != RV_S || satp_mode == RV_BARE || !(r->mstatus & RV_MSTATUS_SUM))
        return false;
    r->sum_used = true;
    *key = (uint64_t)(satp_mode - RV_SV39 + 1) << KEY_MODE_AT | bits(r->satp, 0, 60) |
           (r->mstatus & RV_MSTATUS_MXR ? KEY_MXR : 0);
    return true;
}

static int page_fault(enum access access)
{
    const uint8_t cause[] = { RV_LOAD_PAGE, RV_STORE_PAGE, RV_INSN_PAGE };
    return cause[access];
}

static int access_fault(enum access access)
{
    const uint8_t cause[] = { RV_LOAD_ACCESS, RV_STORE_ACCESS, RV_INSN_ACCESS };
    return cause[access];
}

/* ---- page tables in memory ------------------------------------------------------------------------ */

/* Host address of a PTE in RAM, or NULL. */
static _Atomic uint64_t *pte_at(struct vm *vm, uint64_t pa, bool write)
{
    const struct mem_range *m = mem_view_find(mem_view_now(vm), pa);
    if (!m || !m->ram || (write && m->rom) || m->start + m->size - pa < 8)
        return NULL;
    return (_Atomic uint64_t *)(m->ram->host + m->region_off + (pa - m->start));
}

/* Page tables are read and written with S-mode's rights (3.7.1). */
static bool pmp_allows_pte(const struct riscv_cpu *r, uint64_t pa, unsigned need)
{
    uint64_t size = 8;
    return !r->model->n_pmp || (need & ~riscv_pmp_rights(r, pa, RV_S, &size)) == 0;
}

struct leaf {
    uint64_t pte, pte_pa;
    unsigned level;
    bool global; /* it or a table on the way says so */
};

static bool may(const struct riscv_cpu *r, uint64_t pte, enum access access, unsigned priv)
{
    if (access == ACCESS_EXEC)
        return (pte & PTE_X) && !(pte & PTE_U) == (priv == RV_S);
    if (priv == RV_U ? !(pte & PTE_U) : (pte & PTE_U) && !(r->mstatus & RV_MSTATUS_SUM))
        return false;
    if (access == ACCESS_WRITE)
        return pte & PTE_W;
    return (pte & PTE_R) || ((pte & PTE_X) && (r->mstatus & RV_MSTATUS_MXR));
}

/* Encodings that fault whatever the access (4.3.2 steps 3 to 6, Svnapot, Svpbmt). */
static bool leaf_is_valid(const struct riscv_cpu *r, uint64_t pte, unsigned level)
{
    uint64_t ppn = bits(pte, PPN_AT, PPN_BITS);
    if (pte & PTE_N)
        return rv_has(r, RV_EXT_SVNAPOT) && level == 0 && bits(ppn, 0, NAPOT_BITS) == 8;
    return level == 0 || !bits(ppn, 0, LEVEL_BITS * level);
}

static bool pbmt_is_valid(const struct riscv_cpu *r, uint64_t pte)
{
    return !(pte & PTE_PBMT) || ((r->menvcfg & RV_ENVCFG_PBMTE) && (pte & PTE_PBMT) != PTE_PBMT);
}

/* 4.3.2 steps 1 to 4: 0 and the leaf, or the exception. `pmp`: heed it. */
static int find_leaf(struct riscv_cpu *r, uint64_t va, enum access access, bool pmp,
                     struct leaf *leaf)
{
    int levels = 3 + (int)(r->satp >> 60) - RV_SV39;
    unsigned va_bits = PAGE_BITS + LEVEL_BITS * levels;
    uint64_t table = bits(r->satp, 0, PPN_BITS) << PAGE_BITS;
    bool global = false;
    if (sext(va, va_bits) != (int64_t)va)
        return page_fault(access);
    for (int level = levels - 1; level >= 0; level--) {
        uint64_t pa = table + bits(va, PAGE_BITS + LEVEL_BITS * level, LEVEL_BITS) * 8;
        _Atomic uint64_t *at = pte_at(r->cpu->vm, pa, false);
        if (!at || (pmp && !pmp_allows_pte(r, pa, RV_PMP_R)))
            return access_fault(access);
        uint64_t pte = atomic_load_explicit(at, memory_order_acquire);
        global |= (pte & PTE_G) != 0;
        if (!(pte & PTE_V) || (pte & (PTE_R | PTE_W)) == PTE_W || (pte & PTE_RESERVED) ||
            !pbmt_is_valid(r, pte))
            return page_fault(access);
        if (pte & (PTE_R | PTE_X)) {
            *leaf = (struct leaf){ pte, pa, level, global };
            return leaf_is_valid(r, pte, level) ? 0 : page_fault(access);
        }
        if (pte & (PTE_D | PTE_A | PTE_U | PTE_N | PTE_PBMT))
            return page_fault(access);
        table = bits(pte, PPN_AT, PPN_BITS) << PAGE_BITS;
    }
    return page_fault(access);
}

/* Step 7 with Svadu: set A and D if the PTE is still what was looked at. 0, an exception, or -1: look
 * again. */
static int set_accessed(struct riscv_cpu *r, struct leaf *leaf, uint64_t want, enum access access)
{
    if (!(r->menvcfg & RV_ENVCFG_ADUE))
        return page_fault(access);
    _Atomic uint64_t *at = pte_at(r->cpu->vm, leaf->pte_pa, true);
    if (!at || !pmp_allows_pte(r, leaf->pte_pa, RV_PMP_R | RV_PMP_W))
        return access_fault(access);
    uint64_t seen = leaf->pte;
    if (!atomic_compare_exchange_strong(at, &seen, leaf->pte | want))
        return -1;
    leaf->pte |= want;
    mem_mark_written(r->cpu->vm, leaf->pte_pa, 8);
    return 0;
}

static int walk(struct riscv_cpu *r, uint64_t va, enum access access, unsigned priv,
                struct leaf *leaf)
{
    int fault;
    do {
        fault = find_leaf(r, va, access, true, leaf);
        if (fault)
            return fault;
        if (!may(r, leaf->pte, access, priv))
            return page_fault(access);
        uint64_t want = PTE_A | (access == ACCESS_WRITE ? PTE_D : 0);
        fault = (leaf->pte & want) == want ? 0 : set_accessed(r, leaf, want, access);
    } while (fault < 0);
    return fault;
}

/* ---- results --------------------------------------------------------------------------------------- */

static void fill_from_leaf(const struct riscv_cpu *r, const struct leaf *leaf, uint64_t va,
                           unsigned priv, struct tlb_fill *out)
{
    unsigned span = PAGE_BITS + LEVEL_BITS * leaf->level;
    uint64_t ppn = bits(leaf->pte, PPN_AT, PPN_BITS);
    if (leaf->pte & PTE_N) {
        span += NAPOT_BITS;
        ppn &= ~(uint64_t)((1 << NAPOT_BITS) - 1);
    }
    out->page_size = (uint64_t)1 << span;
    out->gpa = ppn << PAGE_BITS | bits(va, 0, span);
    out->r = may(r, leaf->pte, ACCESS_READ, priv);
    out->w = (leaf->pte & PTE_D) && may(r, leaf->pte, ACCESS_WRITE, priv);
    out->x = may(r, leaf->pte, ACCESS_EXEC, priv);
    out->user = priv == RV_S && (leaf->pte & PTE_U);
    out->global = leaf->global;
}

/* Take away what PMP forbids; 0 or the exception. */
static int apply_pmp(const struct riscv_cpu *r, enum access access, unsigned priv,
                     struct tlb_fill *out)
{
    out->flush_size = out->page_size;
    unsigned rights = riscv_pmp_rights(r, out->gpa, priv, &out->page_size);
    const uint8_t need[] = { RV_PMP_R, RV_PMP_W, RV_PMP_X };
    out->r &= (rights & RV_PMP_R) != 0;
    out->w &= (rights & RV_PMP_W) != 0;
    out->x &= (rights & RV_PMP_X) != 0;
    if (out->page_size < 4096)
        out->page_size = 1;
    return rights & need[access] ? 0 : access_fault(access);
}

bool riscv_translate_address(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                             struct tlb_fill *out)
{
    struct riscv_cpu *r = riscv_of(cpu);
    unsigned priv = access_priv(r, access);
    *out = (struct tlb_fill){ .gpa = va, .page_size = 4096, .r = true, .w = true, .x = true };
    if (priv != RV_M && r->satp >> 60 != RV_BARE) {
        struct leaf leaf = { 0 };
        out->fault = walk(r, va, access, priv, &leaf);
        if (!out->fault) {
            fill_from_leaf(r, &leaf, va, priv, out);
            r->local_filled |= priv == RV_S && !out->user && !out->global;
        }
    }
    if (!out->fault && r->model->n_pmp)
        out->fault = apply_pmp(r, access, priv, out);
    if (log_on(&cpu->vm->log, LOG_MMU))
        log_print(&cpu->vm->log, "mmu: cpu %u va %#llx access %d priv %u -> pa %#llx fault %d\n",
                  cpu->index, (unsigned long long)va, (int)access, priv,
                  (unsigned long long)out->gpa, out->fault);
    return !out->fault;
}

bool riscv_debug_translate(struct vcpu *cpu, uint64_t va, uint64_t *physical)
{
    struct riscv_cpu *r = riscv_of(cpu);
    struct leaf leaf = { 0 };
    struct tlb_fill fill;
    *physical = va;
    if (r->priv == RV_M || r->satp >> 60 == RV_BARE)
        return true;
    if (find_leaf(r, va, ACCESS_READ, false, &leaf))
        return false;
    fill_from_leaf(r, &leaf, va, r->priv, &fill);
    *physical = fill.gpa;
    return true;
}

void riscv_raise_memory(struct vcpu *cpu, uint64_t va, enum access access, int kind, int fault)
{
    const uint8_t misaligned[] = { RV_LOAD_MISALIGNED, RV_STORE_MISALIGNED, RV_INSN_MISALIGNED };
    struct riscv_cpu *r = riscv_of(cpu);
    int cause = kind == MEM_FAULT_TRANSLATION ? fault
                : kind == MEM_FAULT_NO_MEMORY ? access_fault(access)
                                              : misaligned[access];
    riscv_trap(r, cause, r->pc, va);
}

void riscv_forget_local(struct riscv_cpu *r)
{
    tcg_flush_contexts(r->cpu, KEY_S, KEY_S);
    r->local_filled = false;
}

/* ---- fences ------------------------------------------------------------------------------------------ */

/* 4.2.1. Over-flushing global mappings is allowed. */
void rvh_sfence_vma(struct riscv_cpu *r, uint64_t va, uint64_t asid, uint64_t given)
{
    if (r->priv == RV_U || (r->priv == RV_S && (r->mstatus & RV_MSTATUS_TVM)))
        riscv_raise_illegal(r);
    if (given & 1)
        tcg_flush_page(r->cpu, va);
    else if (!(given & 2))
        tcg_flush_all(r->cpu);
    else {
        if (r->local_filled)
            riscv_forget_local(r);
        tcg_drop_user_pages(r->cpu);
        for (unsigned mode = RV_SV39; mode <= RV_SV57; mode++)
            tcg_flush_contexts(r->cpu, KEY_MODE | KEY_ASID,
                               (uint64_t)(mode - RV_SV39 + 1) << KEY_MODE_AT | bits(asid, 0, 16)
                                                                                   << KEY_ASID_AT);
    }
}

void rvh_sfence_inval(struct riscv_cpu *r)
{
    if (r->priv == RV_U)
        riscv_raise_illegal(r);
}

/* ---- cache blocks (CMO 2.5) ---------------------------------------------------------------------------- */

/* menvcfg and senvcfg open the operations to lower modes (CMO 4); CBIE 1 makes inval a flush, which is
 * what it is here in any case. */
static bool cbo_is_enabled(const struct riscv_cpu *r, enum rv_cbo kind)
{
    uint64_t bit = kind == RV_CBO_ZERO    ? RV_ENVCFG_CBZE
                   : kind == RV_CBO_INVAL ? RV_ENVCFG_CBIE
                                          : RV_ENVCFG_CBCFE;
    return r->priv == RV_M || ((r->menvcfg & bit) && (r->priv == RV_S || (r->senvcfg & bit)));
}

/* Management operations need the right to load or to store; what is missing is reported as a store's. */
static void check_block(struct riscv_cpu *r, uint64_t va)
{
    struct tlb_fill fill;
    if (riscv_translate_address(r->cpu, va, ACCESS_READ, 0, &fill) ||
        riscv_translate_address(r->cpu, va, ACCESS_WRITE, 0, &fill))
        return;
    riscv_raise(r, fill.fault, va);
}

void rvh_cbo(struct riscv_cpu *r, uint64_t va, uint64_t kind)
{
    if (!cbo_is_enabled(r, kind))
        riscv_raise_illegal(r);
    if (kind != RV_CBO_ZERO) {
        check_block(r, va);
        return;
    }
    uint64_t block = r->model->cboz_block, first = align_down(va, block);
    tcg_zero(r->cpu, first, (unsigned)block, 0);
}
