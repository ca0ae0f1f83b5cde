/* Linear to physical: no paging, 32-bit, PAE, 4- and 5-level paging (SDM 3-4), protection keys, and which of it
 * is remembered under what name. */
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

#define PTE_P     ((uint64_t)1 << 0)
#define PTE_W     ((uint64_t)1 << 1)
#define PTE_U     ((uint64_t)1 << 2)
#define PTE_A     ((uint64_t)1 << 5)
#define PTE_D     ((uint64_t)1 << 6)
#define PTE_PS    ((uint64_t)1 << 7)
#define PTE_G     ((uint64_t)1 << 8)
#define PTE_NX    ((uint64_t)1 << 63)
#define PTE_FRAME ((uint64_t)0xffffffffff << 12) /* bits 51..12 */
#define CR3_BASE  PTE_FRAME
enum { PTE_PKEY_AT = 59 };

/* #PF's error code, SDM 3-4.7 */
enum {
    PF_P = 1,
    PF_WRITE = 2,
    PF_USER = 4,
    PF_RESERVED = 8,
    PF_FETCH = 16,
    PF_PKEY = 32,
    PF_SHADOW = 64
};
enum { MAX_LEVELS = 5, NO_FAULT = -1, LOOK_AGAIN = -2 };

/* context_key. LOCAL: bits 51..12 are CR3's base, 11..0 its PCID. A supervisor's mappings that matter are global
 * with most systems: then its key says nothing of CR3 (SHARED), and stays known when the process changes. What
 * it remembers of this process alone is forgotten then: user pages, which it borrows (user_key), and pages that
 * are not global (local_filled). Where there are many of those, as with page-table isolation, its key says CR3, too
 * (keys_say_cr3). */
#define KEY_USER   ((uint64_t)1 << 63)
#define KEY_SHARED ((uint64_t)1 << 62)
#define KEY_OFF    ((uint64_t)1 << 60)
#define KEY_LOCAL  ((uint64_t)1 << 59)
#define KEY_GUEST  ((uint64_t)1 << 56) /* of a guest's guest */
#define KEY_SHADOW ((uint64_t)1 << 57) /* of shadow stack accesses */
#define KEY_SMM    ((uint64_t)1 << 58) /* with all of them: physical memory is another one */
enum { PCID_MASK = 0xfff, LOCAL_SWITCHES = 8 };

static bool shares_supervisor(const struct x86_cpu *x)
{
    return x->cr4 & X86_CR4_PGE && !x->keys_say_cr3;
}

static uint64_t kind_of(const struct x86_cpu *x)
{
    return (x->events.in_smm ? KEY_SMM : 0) | (x->svm.in_guest ? KEY_GUEST : 0);
}

uint64_t x86_context_key(struct vcpu *cpu, int mode)
{
    const struct x86_cpu *x = x86_of(cpu);
    bool user = x86_cpl(x) == 3 && mode != X86_MMU_SYSTEM;
    uint64_t kind = kind_of(x);
    if (!(x->cr0 & X86_CR0_PG))
        return kind | KEY_OFF;
    if (mode == X86_MMU_SHADOW && x->cr4 & X86_CR4_CET)
        kind |= KEY_SHADOW;
    if (!user && shares_supervisor(x))
        return kind | KEY_SHARED;
    return kind | KEY_LOCAL | (user ? KEY_USER : 0) | (x->cr3 & (CR3_BASE | PCID_MASK));
}

/* User pages have the same rights for a supervisor with CR0.WP that may use them at all. */
bool x86_user_key(struct vcpu *cpu, uint64_t *key)
{
    const struct x86_cpu *x = x86_of(cpu);
    if (x86_cpl(x) == 3 || !(x->cr0 & X86_CR0_PG) || !(x->cr0 & X86_CR0_WP) ||
        (x->cr4 & X86_CR4_SMAP && !(x->rflags & X86_FLAG_AC)))
        return false;
    *key = kind_of(x) | KEY_LOCAL | KEY_USER | (x->cr3 & (CR3_BASE | PCID_MASK));
    return true;
}

bool x86_is_canonical(const struct x86_cpu *x, uint64_t va)
{
    return sext(va, x->cr4 & X86_CR4_LA57 ? 57 : 48) == (int64_t)va;
}

/* ---- page tables in memory ------------------------------------------------------------------------ */

/* The range of RAM that holds an entry, and the entry's place in the block; or NULL. */
static const struct mem_range *entry_at(struct vcpu *cpu, uint64_t pa, unsigned size, bool write,
                                        uint64_t *off)
{
    const struct mem_range *m = mem_view_find(mem_view_of(cpu), pa);
    if (!m || !m->ram || (write && m->ram->rom) || m->start + m->size - pa < size)
        return NULL;
    *off = m->region_off + (pa - m->start);
    return m;
}

/* What is not RAM is read as zero: not present. */
static uint64_t read_entry(struct vcpu *cpu, uint64_t pa, unsigned size)
{
    uint64_t off;
    const struct mem_range *m = entry_at(cpu, pa, size, false, &off);
    if (!m)
        return 0;
    void *at = m->ram->host + off;
    return size == 8 ? atomic_load_explicit((_Atomic uint64_t *)at, memory_order_acquire)
                     : atomic_load_explicit((_Atomic uint32_t *)at, memory_order_acquire);
}

/* Set bits of an entry if it is still what was looked at. In ROM the attempt is lost, and nothing else. */
static bool mark_entry(struct vcpu *cpu, uint64_t pa, unsigned size, uint64_t seen, uint64_t now)
{
    uint64_t off;
    const struct mem_range *m = entry_at(cpu, pa, size, true, &off);
    if (!m)
        return true;
    void *at = m->ram->host + off;
    uint32_t seen32 = (uint32_t)seen;
    bool ok = size == 8
                  ? atomic_compare_exchange_strong((_Atomic uint64_t *)at, &seen, now)
                  : atomic_compare_exchange_strong((_Atomic uint32_t *)at, &seen32, (uint32_t)now);
    if (ok)
        mem_mark_ram_written(cpu->vm, m->ram, off, size);
    return ok;
}

struct walk {
    struct {
        uint64_t at, entry;
    } way[MAX_LEVELS];
    unsigned n;          /* entries on the way, the leaf is the last */
    unsigned entry_size; /* 4 or 8 */
    unsigned span;       /* log2 of the page's size */
    bool user, write, nx, global;
    uint8_t pkey;
    uint64_t pa; /* of the page */
};

static uint64_t reserved_address_bits(const struct x86_cpu *x)
{
    return PTE_FRAME & ~(((uint64_t)1 << x->model->phys_bits) - 1);
}

/* The bits that must be zero in a present 8-byte entry of this level (1: the last), SDM 3-4.4.2, 4.5.4. */
static uint64_t reserved_bits(const struct x86_cpu *x, unsigned level, bool leaf)
{
    uint64_t reserved = reserved_address_bits(x);
    if (!(x->efer & X86_EFER_NXE))
        reserved |= PTE_NX;
    if (!x86_in_long_mode(x))
        reserved |= (uint64_t)0x7ff << 52;
    if (leaf && level > 1)
        reserved |= (((uint64_t)1 << (12 + 9 * (level - 1))) - 1) & ~(uint64_t)0x1fff;
    else if (level >= 4 || (level == 3 && !x86_model_has(x->model, X86_E1_EDX, 26)))
        reserved |= PTE_PS;
    return reserved;
}

/* One more entry. False: `*fault` says why. */
static bool take_entry(struct walk *w, uint64_t at, uint64_t entry, uint64_t reserved, int *fault)
{
    w->way[w->n].at = at;
    w->way[w->n++].entry = entry;
    *fault = 0;
    if (!(entry & PTE_P))
        return false;
    *fault = PF_P | PF_RESERVED;
    if (entry & reserved)
        return false;
    w->user &= (entry & PTE_U) != 0;
    w->write &= (entry & PTE_W) != 0;
    w->nx |= (entry & PTE_NX) != 0;
    return true;
}

static void take_leaf(struct walk *w, uint64_t entry, uint64_t frame, unsigned span)
{
    w->span = span;
    w->global = entry & PTE_G;
    w->pa = frame & ~(((uint64_t)1 << span) - 1);
}

/* Set accessed and dirty on the way (3-4.8). False: an entry is another one now. */
static bool mark_way(struct x86_cpu *x, struct walk *w, enum access access)
{
    for (unsigned i = 0; i < w->n; i++) {
        uint64_t now = w->way[i].entry | PTE_A;
        if (i == w->n - 1 && access == ACCESS_WRITE)
            now |= PTE_D;
        if (now == w->way[i].entry)
            continue;
        if (!mark_entry(x->cpu, w->way[i].at, w->entry_size, w->way[i].entry, now))
            return false;
        w->way[i].entry = now;
    }
    return true;
}

/* ---- nested paging (APM 2-15.25) ------------------------------------------------------------------------ */

/* The bits that must be zero in an entry of the host's tables for its guest. */
static uint64_t reserved_nested(const struct x86_cpu *x, unsigned level, bool leaf)
{
    uint64_t reserved = reserved_address_bits(x) | (x->svm.efer & X86_EFER_NXE ? 0 : PTE_NX);
    if (leaf && level > 1)
        reserved |= (((uint64_t)1 << (12 + 9 * (level - 1))) - 1) & ~(uint64_t)0x1fff;
    else if (level >= 4)
        reserved |= PTE_PS;
    return reserved;
}

static bool find_nested(struct x86_cpu *x, uint64_t at, struct walk *w, int *why)
{
    unsigned level = x->svm.cr4 & X86_CR4_LA57 ? 5 : 4;
    uint64_t table = x->svm.ncr3 & CR3_BASE;
    *w = (struct walk){ .user = true, .write = true, .entry_size = 8 };
    *why = 0;
    if (at >> (12 + 9 * level))
        return false;
    for (;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t entry_pa = table + bits(at, shift, 9) * 8;
        uint64_t entry = read_entry(x->cpu, entry_pa, 8);
        bool leaf = level == 1 || (level <= 3 && entry & PTE_PS);
        if (!take_entry(w, entry_pa, entry, reserved_nested(x, level, leaf), why))
            return false;
        if (leaf) {
            take_leaf(w, entry, entry & PTE_FRAME, shift);
            return true;
        }
        table = entry & PTE_FRAME;
    }
}

/* Guest-physical `at`; all accesses are a user's, tables are written. False: nested_error says why. */
static bool translate_nested(struct x86_cpu *x, uint64_t at, enum access access, bool table,
                             struct walk *w)
{
    int why;
    bool may;
    do {
        may = find_nested(x, at, w, &why);
        if (may) {
            may = w->user && (access == ACCESS_READ || (access == ACCESS_EXEC ? !w->nx : w->write));
            why = PF_P;
        }
    } while (may && !mark_way(x, w, access));
    if (may)
        return true;
    x->nested_error = (uint64_t)why | PF_USER | (access == ACCESS_WRITE ? PF_WRITE : 0) |
                      (access == ACCESS_EXEC ? PF_FETCH : 0) | (uint64_t)1 << (table ? 33 : 32);
    x->nested_gpa = at;
    return false;
}

static bool is_nested(const struct x86_cpu *x)
{
    return x->svm.in_guest && x->svm.np;
}

/* Where an entry of the CPU's own tables is. */
static bool place_entry(struct x86_cpu *x, uint64_t *at, int *fault)
{
    struct walk w;
    if (!is_nested(x))
        return true;
    *fault = X86_NESTED_FAULT;
    if (!translate_nested(x, *at, ACCESS_WRITE, true, &w))
        return false;
    *at = w.pa | bits(*at, 0, w.span);
    return true;
}

/* SDM 3-4.3, figure 4-4 */
static bool find_legacy(struct x86_cpu *x, uint64_t va, struct walk *w, int *fault)
{
    w->entry_size = 4;
    uint64_t at = (x->cr3 & 0xfffff000) + bits(va, 22, 10) * 4;
    if (!place_entry(x, &at, fault))
        return false;
    uint64_t entry = read_entry(x->cpu, at, 4);
    bool large = entry & PTE_PS && x->cr4 & X86_CR4_PSE;
    uint64_t high = bits(entry, 13, 8) << 32; /* PSE-36 */
    if (!take_entry(w, at, entry, large ? (uint64_t)1 << 21 : 0, fault))
        return false;
    if (large && high & reserved_address_bits(x))
        return false;
    if (large) {
        take_leaf(w, entry, (entry & 0xffc00000) | high, 22);
        return true;
    }
    at = (entry & 0xfffff000) + bits(va, 12, 10) * 4;
    if (!place_entry(x, &at, fault))
        return false;
    entry = read_entry(x->cpu, at, 4);
    if (!take_entry(w, at, entry, 0, fault))
        return false;
    take_leaf(w, entry, entry & 0xfffff000, 12);
    return true;
}

static bool find_wide(struct x86_cpu *x, uint64_t va, struct walk *w, int *fault)
{
    unsigned level = x->cr4 & X86_CR4_LA57 ? 5 : 4;
    uint64_t table = x->cr3 & CR3_BASE;
    w->entry_size = 8;
    if (!x86_in_long_mode(x)) {
        uint64_t pdpte = x->pdptr[bits(va, 30, 2)];
        *fault = 0;
        if (!(pdpte & PTE_P))
            return false;
        table = pdpte & PTE_FRAME;
        level = 2;
    }
    for (;; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t at = table + bits(va, shift, 9) * 8;
        if (!place_entry(x, &at, fault))
            return false;
        uint64_t entry = read_entry(x->cpu, at, 8);
        bool leaf = level == 1 || (level <= 3 && entry & PTE_PS &&
                                   (level == 2 || x86_model_has(x->model, X86_E1_EDX, 26)));
        if (!take_entry(w, at, entry, reserved_bits(x, level, leaf), fault))
            return false;
        if (leaf) {
            take_leaf(w, entry, entry & PTE_FRAME, shift);
            w->pkey = (uint8_t)bits(entry, PTE_PKEY_AT, 4);
            return true;
        }
        table = entry & PTE_FRAME;
    }
}

/* ---- rights (SDM 3-4.6) ------------------------------------------------------------------------------ */

struct rights {
    bool r, w, x;
    bool pkey; /* a protection key took something away */
};

/* How an access looks at rights. */
struct as {
    bool user, implicit, shadow;
};

/* A page of a shadow stack: dirty but not writable, under tables that are (3-4.6). */
static bool is_shadow_page(const struct walk *w)
{
    uint64_t leaf = w->way[w->n - 1].entry;
    for (unsigned i = 0; i + 1 < w->n; i++)
        if (!(w->way[i].entry & PTE_W))
            return false;
    return !(leaf & PTE_W) && leaf & PTE_D;
}

static struct rights rights_of(const struct x86_cpu *x, const struct walk *w, struct as as)
{
    struct rights may = { .r = true };
    bool user = as.user;
    if (as.shadow) {
        may.r = may.w = is_shadow_page(w) && w->user == user;
    } else if (user) {
        may.r = w->user;
        may.w = w->user && w->write;
        may.x = w->user && !w->nx;
    } else {
        may.w = w->write || !(x->cr0 & X86_CR0_WP);
        may.x = !w->nx && !(w->user && x->cr4 & X86_CR4_SMEP);
        if (w->user && x->cr4 & X86_CR4_SMAP && (as.implicit || !(x->rflags & X86_FLAG_AC)))
            may.r = may.w = false;
    }
    if (w->user && x->cr4 & X86_CR4_PKE && x86_in_long_mode(x)) {
        unsigned key = x->pkru >> 2 * w->pkey & 3;
        bool no_write = key & 1 || (key & 2 && (user || x->cr0 & X86_CR0_WP));
        may.pkey = (may.r && key & 1) || (may.w && no_write);
        may.r &= !(key & 1);
        may.w &= !no_write;
    }
    return may;
}

static bool allows(const struct rights *may, enum access access)
{
    return access == ACCESS_READ ? may->r : access == ACCESS_WRITE ? may->w && may->r : may->x;
}

static int error_code(const struct x86_cpu *x, int why, enum access access, struct as as)
{
    if (why == X86_NESTED_FAULT)
        return why;
    bool tells_fetch = x->cr4 & X86_CR4_SMEP || (x->efer & X86_EFER_NXE && x->cr4 & X86_CR4_PAE);
    return why | (access == ACCESS_WRITE ? PF_WRITE : 0) | (as.user ? PF_USER : 0) |
           (as.shadow ? PF_SHADOW : 0) | (access == ACCESS_EXEC && tells_fetch ? PF_FETCH : 0);
}

/* ---- a walk ------------------------------------------------------------------------------------------- */

static int walk_once(struct x86_cpu *x, uint64_t va, enum access access, struct as as,
                     struct walk *w, struct rights *may)
{
    int why = 0;
    *w = (struct walk){ .user = true, .write = true };
    bool found = x->cr4 & X86_CR4_PAE ? find_wide(x, va, w, &why) : find_legacy(x, va, w, &why);
    if (!found)
        return error_code(x, why, access, as);
    *may = rights_of(x, w, as);
    if (!allows(may, access))
        return error_code(x, PF_P | (may->pkey && access != ACCESS_EXEC ? PF_PKEY : 0), access, as);
    return mark_way(x, w, access) ? NO_FAULT : LOOK_AGAIN;
}

static void fill_from_walk(struct x86_cpu *x, const struct walk *w, uint64_t va, struct as as,
                           const struct rights *may, enum access access, struct tlb_fill *out)
{
    bool dirty = w->way[w->n - 1].entry & PTE_D;
    out->page_size = (uint64_t)1 << w->span;
    out->gpa = w->pa | bits(va, 0, w->span);
    out->r = may->r;
    out->w = may->w && dirty;
    out->x = may->x;
    out->global = w->global;
    out->user = !as.user && !as.shadow && w->user && access != ACCESS_EXEC;
    x->local_filled |= !as.user && !out->user && !w->global && shares_supervisor(x);
    if (w->user)
        x->pkeys_filled |= (uint16_t)(1u << w->pkey);
}

static void log_walk(const struct x86_cpu *x, uint64_t va, enum access access, unsigned mode,
                     const struct tlb_fill *out)
{
    const struct log *log = &x->cpu->vm->log;
    if (x->cr0 & X86_CR0_PG && log_on(log, LOG_MMU))
        log_print(log, "mmu: cpu %u va %#llx access %d mode %u cpl %u -> pa %#llx fault %#x\n",
                  x->cpu->index, (unsigned long long)va, (int)access, mode, x86_cpl(x),
                  (unsigned long long)out->gpa, (unsigned)out->fault);
}

/* What is the guest's physical address becomes the machine's; rights are those of both. */
static bool leave_nested(struct x86_cpu *x, enum access access, struct tlb_fill *out)
{
    struct walk w;
    if (!translate_nested(x, out->gpa, access, false, &w)) {
        out->fault = X86_NESTED_FAULT;
        return false;
    }
    out->flush_size = out->page_size;
    out->page_size = MIN(out->page_size, (uint64_t)1 << w.span);
    out->gpa = w.pa | bits(out->gpa, 0, w.span);
    out->w &= w.write && w.way[w.n - 1].entry & PTE_D;
    out->x &= !w.nx;
    return true;
}

static bool translate(struct x86_cpu *x, uint64_t va, enum access access, struct as as,
                      struct tlb_fill *out)
{
    struct walk w;
    struct rights may = { 0 };
    int fault;
    *out = (struct tlb_fill){ .page_size = 4096, .r = true, .w = true, .x = true };
    if (!x86_in_long_mode(x)) {
        va = (uint32_t)va;
    } else if (!x86_is_canonical(x, va)) {
        out->fault = X86_NOT_CANONICAL;
        return false;
    }
    if (!(x->cr0 & X86_CR0_PG)) {
        out->gpa = va;
        return !is_nested(x) || leave_nested(x, access, out);
    }
    do
        fault = walk_once(x, va, access, as, &w, &may);
    while (fault == LOOK_AGAIN);
    out->fault = fault;
    if (fault != NO_FAULT)
        return false;
    fill_from_walk(x, &w, va, as, &may, access, out);
    return !is_nested(x) || leave_nested(x, access, out);
}

/* Of a fetch that found no page: was it beyond the limit of CS already? */
static bool leaves_code(const struct x86_cpu *x, uint64_t va)
{
    const struct x86_segment *cs = &x->seg[X86_CS];
    return !x86_in_code64(x) && (uint32_t)(va - cs->base) > cs->limit;
}

bool x86_translate_address(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                           struct tlb_fill *out)
{
    struct x86_cpu *x = x86_of(cpu);
    struct as as = { .user = x86_cpl(x) == 3 && mode != X86_MMU_SYSTEM,
                     .implicit = mode == X86_MMU_SYSTEM,
                     .shadow = mode == X86_MMU_SHADOW };
    bool found = translate(x, va, access, as, out);
    if (!found && mode == X86_MMU_STACK && out->fault == X86_NOT_CANONICAL)
        out->fault = X86_NOT_CANONICAL_STACK;
    else if (!found && access == ACCESS_EXEC && leaves_code(x, va))
        out->fault = X86_NOT_CANONICAL; /* #GP(0), too */
    log_walk(x, va, access, mode, out);
    return found;
}

/* ---- shadow stacks, where CALL and RET are not concerned ---------------------------------------------- */

static uint64_t shadow_address(struct x86_cpu *x, uint64_t va, enum access access, bool user)
{
    struct tlb_fill fill;
    if (!translate(x, va, access, (struct as){ .user = user, .shadow = true }, &fill))
        x86_memory_fault(x, va, fill.fault);
    return fill.gpa;
}

/* Halves of 8 bytes may lie in two pages. What is not RAM holds zeros. */
uint64_t x86_shadow_read(struct x86_cpu *x, uint64_t va, unsigned size, bool user)
{
    uint64_t v = 0;
    if (size == 8 && !(va & 7))
        return read_entry(x->cpu, shadow_address(x, va, ACCESS_READ, user), 8);
    for (unsigned i = 0; i < size; i += 4)
        v |= read_entry(x->cpu, shadow_address(x, va + i, ACCESS_READ, user), 4) << 8 * i;
    return v;
}

void x86_shadow_write(struct x86_cpu *x, uint64_t va, unsigned size, uint64_t v, bool user)
{
    unsigned n = size == 8 && !(va & 7) ? 8 : 4;
    uint64_t at[2] = { shadow_address(x, va, ACCESS_WRITE, user),
                       n < size ? shadow_address(x, va + 4, ACCESS_WRITE, user) : 0 };
    for (unsigned i = 0; i < size; i += n)
        while (!mark_entry(x->cpu, at[i / 4], n, read_entry(x->cpu, at[i / 4], n), v >> 8 * i))
            ;
}

bool x86_shadow_swap(struct x86_cpu *x, uint64_t va, uint64_t seen, uint64_t now, bool user)
{
    uint64_t off, at = shadow_address(x, va, ACCESS_WRITE, user);
    return entry_at(x->cpu, at, 8, true, &off) && mark_entry(x->cpu, at, 8, seen, now);
}

/* ---- forgetting --------------------------------------------------------------------------------------- */

void x86_forget_guest(struct x86_cpu *x)
{
    tcg_flush_contexts(x->cpu, KEY_GUEST, KEY_GUEST);
}

/* In system management mode only that mode's; what is noted of the others stays with them. */
void x86_paging_changed(struct x86_cpu *x)
{
    if (x->events.in_smm) {
        tcg_flush_contexts(x->cpu, KEY_SMM, KEY_SMM);
        return;
    }
    if (x->svm.in_guest) {
        x86_forget_guest(x);
        return;
    }
    x->local_filled = x->keys_say_cr3 = false;
    x->local_switches = 0;
    x->pkeys_filled = 0;
    tcg_flush_all(x->cpu);
}

/* What a supervisor's shared context knows of this address space alone goes. */
static void forget_local(struct x86_cpu *x)
{
    if (!x->local_filled)
        return;
    x->local_filled = false;
    tcg_flush_contexts(x->cpu, KEY_SHARED, KEY_SHARED);
    if (++x->local_switches >= LOCAL_SWITCHES)
        x->keys_say_cr3 = true;
}

void x86_set_cr3(struct x86_cpu *x, uint64_t value, bool keep)
{
    bool pcid = x->cr4 & X86_CR4_PCIDE;
    x->cr3 = value;
    if (!(x->cr0 & X86_CR0_PG))
        return;
    tcg_drop_user_pages(x->cpu);
    if (shares_supervisor(x))
        forget_local(x);
    if (!keep)
        tcg_flush_contexts(x->cpu, KEY_LOCAL | (pcid ? PCID_MASK : 0),
                           KEY_LOCAL | (pcid ? value & PCID_MASK : 0));
}

/* Which keys mean something else in one and the other value. */
static uint16_t changed_keys(uint32_t a, uint32_t b)
{
    uint32_t differ = a ^ b;
    uint16_t keys = 0;
    for (unsigned i = 0; i < 16; i++)
        keys |= (uint16_t)((differ >> 2 * i & 3 ? 1u : 0u) << i);
    return keys;
}

/* Signals change it and change it back; few pages have another key than 0. */
void x86_set_pkru(struct x86_cpu *x, uint32_t value)
{
    uint16_t keys = changed_keys(x->pkru, value) & x->pkeys_filled;
    x->pkru = value;
    if (!keys || !(x->cr4 & X86_CR4_PKE) || !x86_in_long_mode(x))
        return;
    x->pkeys_filled = 0;
    tcg_flush_all(x->cpu);
}

bool x86_uses_pdptrs(const struct x86_cpu *x)
{
    return x->cr0 & X86_CR0_PG && x->cr4 & X86_CR4_PAE && !x86_in_long_mode(x);
}

/* SDM 3-4.4.1, table 4-8 */
bool x86_load_pdptrs(struct x86_cpu *x, uint64_t cr3)
{
    uint64_t entries[4];
    for (unsigned i = 0; i < 4; i++) {
        int fault;
        uint64_t at = (cr3 & 0xffffffe0) + 8 * i;
        if (!place_entry(x, &at, &fault))
            x86_memory_fault(x, at, fault);
        entries[i] = read_entry(x->cpu, at, 8);
        uint64_t reserved = reserved_address_bits(x) | (uint64_t)0xfff << 52 | 0x1e6;
        if (entries[i] & PTE_P && entries[i] & reserved)
            return false;
    }
    memcpy(x->pdptr, entries, sizeof(entries));
    x->pdptrs_valid = true;
    return true;
}

/* ---- INVLPG, INVPCID ---------------------------------------------------------------------------------- */

static void check_ring_0(struct x86_cpu *x)
{
    if (x86_cpl(x) != 0)
        x86_fault_code(x, X86_GP, 0);
}

void x86h_invlpg(struct x86_cpu *x, uint64_t va)
{
    check_ring_0(x);
    x86_intercept(x, X86_EXIT_INVLPG);
    if (x86_in_long_mode(x) && !x86_is_canonical(x, va))
        return;
    tcg_flush_page(x->cpu, x86_in_long_mode(x) ? va : (uint32_t)va);
}

/* SDM 2-3.3 "INVPCID". What is remembered of global pages may go, too. */
void x86h_invpcid(struct x86_cpu *x, uint64_t type, uint64_t at)
{
    enum { ADDRESS, CONTEXT, ALL, ALL_BUT_GLOBAL };
    check_ring_0(x);
    uint64_t low = x86_read(x, at, 8, X86_MMU_DATA), va = x86_read(x, at + 8, 8, X86_MMU_DATA);
    uint64_t pcid = low & PCID_MASK;
    if (type > ALL_BUT_GLOBAL || (type <= CONTEXT && low >> 12))
        x86_fault_code(x, X86_GP, 0);
    if (type <= CONTEXT && pcid && !(x->cr4 & X86_CR4_PCIDE))
        x86_fault_code(x, X86_GP, 0);
    if (type == ADDRESS) {
        if (!x86_is_canonical(x, va))
            x86_fault_code(x, X86_GP, 0);
        tcg_flush_page(x->cpu, va);
        return;
    }
    tcg_drop_user_pages(x->cpu);
    if (type == CONTEXT && shares_supervisor(x)) {
        bool own = !(x->cr4 & X86_CR4_PCIDE) || (x->cr3 & PCID_MASK) == pcid;
        if (own)
            forget_local(x);
    }
    if (type == CONTEXT && x->cr4 & X86_CR4_PCIDE)
        tcg_flush_contexts(x->cpu, KEY_LOCAL | PCID_MASK, KEY_LOCAL | pcid);
    else if (type == CONTEXT)
        tcg_flush_contexts(x->cpu, KEY_LOCAL, KEY_LOCAL);
    else
        tcg_flush_all(x->cpu);
}
