/* Page tables as the monitor shows them, priv 4.3 to 4.5. */
#include "core/paging.h"

#include "core/util.h"
#include "core/vcpu.h"
#include "target/riscv/riscv.h"

#include <stdio.h>

enum { V, R, W, X, U, G, A, D, PPN = 10, PPN_BITS = 44, PBMT = 61, N = 63 };

static bool paging_now(struct vcpu *cpu, struct paging *p)
{
    static const char *const names[] = { "level 4", "level 3", "level 2", "level 1", "level 0" };
    static const char *const schemes[] = { "Sv39", "Sv48", "Sv57" };
    const struct riscv_cpu *r = riscv_of(cpu);
    unsigned mode = r->satp >> 60;
    if (mode < RV_SV39 || mode > RV_SV57)
        return false;
    *p = (struct paging){ .name = schemes[mode - RV_SV39],
                          .levels = mode - RV_SV39 + 3,
                          .entry_size = 8,
                          .sign_extends = true,
                          .root = bits(r->satp, 0, 44) << PAGING_PAGE_BITS };
    for (unsigned i = 0; i < p->levels; i++) {
        p->index_bits[i] = 9;
        p->level_names[i] = names[5 - p->levels + i];
    }
    return true;
}

static void describe_entry(struct vcpu *cpu, const struct paging *p, unsigned level, uint64_t raw,
                           struct paging_entry *e)
{
    static const char *const memory_types[] = { "", " non-cacheable", " I/O", " reserved type" };
    *e = (struct paging_entry){ .present = raw >> V & 1, .leaf = raw >> R & 7 };
    e->next = bits(raw, PPN, PPN_BITS) << PAGING_PAGE_BITS;
    if (raw >> N & 1) /* Svnapot: the low bits of the number say the size, 64 KiB */
        e->next &= ~(uint64_t)0xffff;
    e->may = (struct paging_rights){ true, true, true, true };
    if (e->leaf)
        e->may = (struct paging_rights){ raw >> U & 1, raw >> R & 1, raw >> W & 1, raw >> X & 1 };
    snprintf(e->details, sizeof(e->details), "%s%s%s%s%s", raw >> A & 1 ? " accessed" : "",
             raw >> D & 1 ? " dirty" : "", raw >> G & 1 ? " global" : "",
             memory_types[bits(raw, PBMT, 2)], raw >> N & 1 ? " 64K" : "");
}

const struct target_paging riscv_paging = { paging_now, describe_entry };
