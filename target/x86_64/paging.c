/* Page tables as the monitor shows them, SDM 3-4.3 to 4.5. */
#include "core/paging.h"

#include "core/util.h"
#include "core/vcpu.h"
#include "target/x86_64/sys.h"
#include "target/x86_64/x86.h"

#include <stdio.h>

enum { P, W, U, PWT, PCD, A, D, PS, G, NX = 63 };

static bool paging_now(struct vcpu *cpu, struct paging *p)
{
    static const char *const names[] = { "PML5", "PML4", "PDPT", "PD", "PT" };
    const struct x86_cpu *x = x86_of(cpu);
    bool pae = x->cr4 & X86_CR4_PAE, is_long = x->efer & X86_EFER_LMA;
    if (!(x->cr0 & X86_CR0_PG))
        return false;
    unsigned levels = is_long ? (x->cr4 & X86_CR4_LA57 ? 5 : 4) : pae ? 3 : 2;
    *p = (struct paging){
        .name = levels == 5   ? "5-level paging"
                : levels == 4 ? "4-level paging"
                : levels == 3 ? "PAE paging"
                              : "32-bit paging",
        .levels = levels,
        .entry_size = pae ? 8 : 4,
        .sign_extends = is_long,
        .root = x->cr3 & (is_long ? 0xffffffffff000
                          : pae   ? 0xffffffe0
                                  : 0xfffff000),
    };
    for (unsigned i = 0; i < levels; i++) {
        p->index_bits[i] = levels == 3 && i == 0 ? 2 : pae ? 9 : 10;
        p->level_names[i] = names[5 - levels + i];
    }
    return true;
}

static void describe_entry(struct vcpu *cpu, const struct paging *p, unsigned level, uint64_t raw,
                           struct paging_entry *e)
{
    unsigned below = p->levels - 1 - level; /* levels below this one */
    bool pointer_only = p->levels == 3 && level == 0;
    bool large = below > 0 && below <= 2 && raw >> PS & 1 && !pointer_only &&
                 (p->entry_size == 8 || x86_of(cpu)->cr4 & X86_CR4_PSE);
    bool nx = p->entry_size == 8 && raw >> NX & 1;
    *e = (struct paging_entry){ .present = raw >> P & 1, .leaf = !below || large };
    e->next = raw & (p->entry_size == 8 ? 0xffffffffff000 : 0xfffff000);
    if (large && p->entry_size == 8)
        e->next &= ~(((uint64_t)1 << (PAGING_PAGE_BITS + 9 * below)) - 1);
    else if (large) /* bits 39..32 of the address are in 20..13 */
        e->next = (raw & 0xffc00000) | bits(raw, 13, 8) << 32;
    e->may = (struct paging_rights){ raw >> U & 1, true, raw >> W & 1, !nx };
    if (pointer_only) /* with PAE the first level's entries have no rights */
        e->may = (struct paging_rights){ true, true, true, true };
    snprintf(e->details, sizeof(e->details), "%s%s%s%s%s%s", raw >> A & 1 ? " accessed" : "",
             e->leaf && raw >> D & 1 ? " dirty" : "", e->leaf && raw >> G & 1 ? " global" : "",
             raw >> PWT & 1 ? " write-through" : "", raw >> PCD & 1 ? " uncached" : "",
             large ? " large" : "");
}

const struct target_paging x86_paging = { paging_now, describe_entry };

const char *x86_isa(struct vcpu *cpu)
{
    switch (x86_code_bits(x86_of(cpu))) {
    case 64: return "x86_64";
    case 32: return "i386";
    default: return "i8086";
    }
}
