/* Physical memory protection, priv 3.7. Grain 4 bytes. */
#include "target/riscv/rv_priv.h"

enum { CFG_RWX = 7, CFG_A = 3 << 3, CFG_L = 1 << 7, A_OFF = 0, A_TOR = 1, A_NA4 = 2, A_NAPOT = 3 };

static unsigned match_kind(const struct riscv_cpu *r, unsigned i)
{
    return (r->pmpcfg[i] & CFG_A) >> 3;
}

static bool is_locked(const struct riscv_cpu *r, unsigned i)
{
    return r->pmpcfg[i] & CFG_L;
}

/* R=0 W=1 is reserved: such a write gives no rights to write. Bits 5 and 6 read as zeros. */
void riscv_pmp_set_cfg(struct riscv_cpu *r, unsigned i, uint8_t cfg)
{
    if (i >= r->model->n_pmp || is_locked(r, i))
        return;
    if (!(cfg & RV_PMP_R))
        cfg &= ~RV_PMP_W;
    r->pmpcfg[i] = cfg & (CFG_RWX | CFG_A | CFG_L);
}

/* 3.7.1: a locked TOR entry locks the address below it too. */
void riscv_pmp_set_addr(struct riscv_cpu *r, unsigned i, uint64_t addr)
{
    bool above = i + 1 < RV_N_PMP && is_locked(r, i + 1) && match_kind(r, i + 1) == A_TOR;
    if (!is_locked(r, i) && !above)
        r->pmpaddr[i] = bits(addr, 0, 54);
}

void riscv_pmp_count(struct riscv_cpu *r)
{
    r->n_pmp_used = 0;
    for (unsigned i = 0; i < r->model->n_pmp; i++)
        if (match_kind(r, i) != A_OFF)
            r->n_pmp_used = i + 1;
}

void riscv_pmp_changed(struct riscv_cpu *r)
{
    unsigned before = r->n_pmp_used;
    riscv_pmp_count(r);
    if (before || r->n_pmp_used)
        tcg_flush_all(r->cpu);
}

struct range {
    uint64_t first, last; /* first > last: empty */
};

static struct range range_of(const struct riscv_cpu *r, unsigned i)
{
    uint64_t addr = r->pmpaddr[i], ones;
    switch (match_kind(r, i)) {
    case A_TOR: {
        uint64_t from = i ? r->pmpaddr[i - 1] : 0;
        return from < addr ? (struct range){ from << 2, (addr << 2) - 1 } : (struct range){ 1, 0 };
    }
    case A_NA4: return (struct range){ addr << 2, (addr << 2) + 3 };
    case A_NAPOT:
        ones = addr ^ (addr + 1); /* the trailing ones and the zero above them */
        return (struct range){ (addr & ~ones) << 2, ((addr | ones) << 2) + 3 };
    default: return (struct range){ 1, 0 };
    }
}

/* Halve the block around pa until it is inside the range (or outside, if pa is). */
static void shrink(uint64_t *size, uint64_t pa, struct range g)
{
    bool inside = pa >= g.first && pa <= g.last;
    while (*size > 4) {
        uint64_t first = align_down(pa, *size), last = first + *size - 1;
        if (inside ? first >= g.first && last <= g.last : last < g.first || first > g.last)
            return;
        *size >>= 1;
    }
}

/* 3.7.1: the lowest entry that matches decides; M-mode heeds locked ones only. Without a match M-mode
 * may do all, the others nothing (if there are entries at all). */
unsigned riscv_pmp_rights(const struct riscv_cpu *r, uint64_t pa, unsigned priv, uint64_t *size)
{
    for (unsigned i = 0; i < r->n_pmp_used; i++) {
        struct range g = range_of(r, i);
        if (g.first > g.last)
            continue;
        shrink(size, pa, g);
        if (pa >= g.first && pa <= g.last)
            return priv == RV_M && !is_locked(r, i) ? RV_PMP_RWX : r->pmpcfg[i] & CFG_RWX;
    }
    return priv == RV_M || !r->model->n_pmp ? RV_PMP_RWX : 0;
}
