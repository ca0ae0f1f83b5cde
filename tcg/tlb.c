/* Remembered address translations of one vCPU.
 *
 * Two levels for data. The first is direct-mapped, looked up by generated code, and adapts its size.
 * The second is set-associative and serves its misses. Both tag entries with a context number, which
 * stands for an address space with rights (the target's context_key). Forgetting a whole address
 * space is giving it a new number; switching between them costs nothing else.
 *
 * For fetches there is a small cache of pages, and per (address space, state word) a jump cache from
 * guest pc to host code that generated code looks up.
 *
 * Only the vCPU's own thread writes here, but for write tags, which a thread that translates code
 * from the page clears in every vCPU (tlb_protect_page). */
#include "core/clock.h"
#include "core/util.h"
#include "tcg/tcg.h"

#include <stdlib.h>

static uint64_t page_of(uint64_t va)
{
    return va & ~(uint64_t)4095;
}

static struct tlb_entry *l1_slot(struct tcg_cpu *t, uint64_t va)
{
    return &t->tlb[(va >> 12) & (t->tlb_mask >> TLB_ENTRY_BITS)];
}

static struct l2_entry *l2_set(struct tcg_cpu *t, uint64_t va)
{
    uint64_t page = va >> 12;
    return t->l2[(page ^ page >> 9 ^ page >> 18) & (L2_SETS - 1)];
}

static void l1_clear_slot(struct tlb_entry *e)
{
    atomic_store_explicit(&e->read, (uint64_t)TLB_NO_MATCH, memory_order_relaxed);
    atomic_store_explicit(&e->write, (uint64_t)TLB_NO_MATCH, memory_order_relaxed);
}

static void l1_clear(struct tcg_cpu *t)
{
    t->tlb_lost = true;
    for (uint64_t i = 0; i <= t->tlb_mask >> TLB_ENTRY_BITS; i++)
        l1_clear_slot(&t->tlb[i]);
    for (unsigned i = 0; i < ARRAY_LEN(t->written); i++)
        atomic_store_explicit(&t->written[i], 0, memory_order_release);
}

static unsigned written_bit(const uint8_t *page)
{
    return ((uintptr_t)page >> 12) * 0x9e3779b97f4a7c15u >> (64 - WRITTEN_BITS);
}

static void set_size(struct tcg_cpu *t, unsigned bits_)
{
    t->tlb_mask = (((uint64_t)1 << bits_) - 1) << TLB_ENTRY_BITS;
    t->conflicts = 0;
    l1_clear(t);
}

static void forget_large_pages(struct tcg_cpu *t)
{
    for (unsigned k = 0; k < N_LARGE; k++) {
        t->large[k].lo = UINT64_MAX;
        t->large[k].hi = 0;
    }
}

static void l2_clear(struct tcg_cpu *t)
{
    for (unsigned i = 0; i < L2_SETS; i++)
        for (unsigned w = 0; w < L2_WAYS; w++)
            t->l2[i][w].tag = (uint64_t)TLB_NO_MATCH;
}

static void large_data_clear(struct tcg_cpu *t)
{
    for (unsigned i = 0; i < LARGE_DATA; i++)
        t->large_data[i].tag = (uint64_t)TLB_NO_MATCH;
}

static void itlb_clear(struct tcg_cpu *t)
{
    for (unsigned i = 0; i < ITLB_SIZE; i++)
        t->itlb[i].va = (uint64_t)TLB_NO_MATCH;
}

static struct itlb_entry *itlb_slot(struct tcg_cpu *t, const struct fetch_context *f, uint64_t va)
{
    return &t->itlb[(va >> 12 ^ (uint64_t)(f - t->fetch) << 5) % ITLB_SIZE];
}

static struct itlb_entry *itlb_find(struct tcg_cpu *t, uint64_t va)
{
    struct itlb_entry *e = itlb_slot(t, t->fetch_now, va);
    return e->va == page_of(va) && e->era == t->fetch_now->era ? e : NULL;
}

/* ---- context numbers --------------------------------------------------------------------------- */

/* All numbers are used up: start over with nothing remembered. (Fetches are remembered by other numbers:
 * so it is still known where large pages are.) */
static void restart_contexts(struct tcg_cpu *t)
{
    l1_clear(t);
    l2_clear(t);
    large_data_clear(t);
    for (unsigned i = 0; i < CONTEXTS; i++)
        t->contexts[i].ctx = CTX_NONE;
    t->next_ctx = 0;
}

static uint32_t context_number(struct tcg_cpu *t, uint64_t key)
{
    unsigned h = (key * 0x9e3779b97f4a7c15u) >> 58, oldest = h;
    for (unsigned k = 0; k < 4; k++) {
        unsigned i = (h + k) % CONTEXTS;
        if (t->contexts[i].ctx != CTX_NONE && t->contexts[i].key == key) {
            t->contexts[i].used = ++t->clock;
            return t->contexts[i].ctx;
        }
        if (t->contexts[i].ctx == CTX_NONE ||
            (t->contexts[oldest].ctx != CTX_NONE && t->contexts[i].used < t->contexts[oldest].used))
            oldest = i;
    }
    t->contexts[oldest].key = key;
    t->contexts[oldest].used = ++t->clock;
    return t->contexts[oldest].ctx = t->next_ctx++;
}

/* All ones belong to entry 0, so they match in no other; 2 belongs to entry 1. */
static void clear_jump(struct fetch_context *f, unsigned i)
{
    f->jumps[i].pc = i ? UINT64_MAX : 2;
}

/* As with jumps: what stands in an empty entry belongs to another one. */
static void clear_check(struct tcg_cpu *t, unsigned i)
{
    atomic_store_explicit(&t->checked[i], i ? 0 : UINT64_MAX, memory_order_relaxed);
}

static void clear_checked(struct tcg_cpu *t)
{
    if (atomic_load(&t->any_checked) && atomic_exchange(&t->any_checked, false))
        for (unsigned i = 0; i < ARRAY_LEN(t->checked); i++)
            clear_check(t, i);
}

/* Guests flush again and again before much is remembered. */
static void clear_jumps(struct tcg_cpu *t, struct fetch_context *f)
{
    f->era = ++t->era;
    if (f->n_made <= JUMPS_MADE)
        for (unsigned k = 0; k < f->n_made; k++)
            clear_jump(f, f->made[k]);
    else
        for (unsigned i = 0; i < ARRAY_LEN(f->jumps); i++)
            clear_jump(f, i);
    f->n_made = 0;
    memset(f->pages, 0, sizeof(f->pages));
    clear_checked(t);
}

static bool is_context(const struct fetch_context *f, uint64_t key, uint32_t flags)
{
    return f->valid && f->key == key && f->flags == flags;
}

static struct fetch_context *fetch_context(struct tcg_cpu *t, uint64_t key, uint32_t flags)
{
    uint8_t *hint = &t->fetch_hints[((key ^ flags) * 0x9e3779b97f4a7c15u) >> 58];
    struct fetch_context *oldest = &t->fetch[0];
    if (is_context(&t->fetch[*hint], key, flags))
        return &t->fetch[*hint];
    for (unsigned i = 0; i < FETCH_CONTEXTS; i++) {
        struct fetch_context *f = &t->fetch[i];
        if (is_context(f, key, flags)) {
            *hint = (uint8_t)i;
            return f;
        }
        if (!f->valid || (oldest->valid && f->used < oldest->used))
            oldest = f;
    }
    clear_jumps(t, oldest);
    oldest->key = key;
    oldest->flags = flags;
    oldest->valid = true;
    return oldest;
}

void tcg_context_changed(struct vcpu *cpu)
{
    const struct tcg_target *target = tcg_cpu_of(cpu)->target;
    uint64_t data_keys[N_MODES];
    for (unsigned m = 0; m < target->n_modes; m++)
        data_keys[m] = target->context_key(cpu, (int)m);
    tcg_context_is(cpu, target->context_key(cpu, -1), data_keys);
}

void tcg_context_is(struct vcpu *cpu, uint64_t key, const uint64_t *data_keys)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    if (t->next_ctx + t->target->n_modes > CTX_LAST + 1) /* before the first: all get new ones */
        restart_contexts(t);
    for (unsigned m = 0; m < t->target->n_modes; m++)
        t->ctx[m] = context_number(t, data_keys[m]);
    uint32_t flags = tcg_flags(t) | (t->counting ? UNIT_COUNTS : 0);
    struct fetch_context *f = t->fetch_now;
    if (!f || !is_context(f, key, flags)) {
        f = fetch_context(t, key, flags);
        t->fetch_now = f;
        t->jumps = f->jumps;
        t->checked_tag = (uint64_t)(f - t->fetch) << CHECKED_TAG;
        t->itlb_salt = (uint64_t)(f - t->fetch) << (5 + ITLB_ENTRY_BITS);
        t->counts.context_switches++;
    }
    f->used = ++t->clock;
}

/* ---- forgetting ----------------------------------------------------------------------------------- */

void tlb_forget_checked(struct tcg *tcg)
{
    for (unsigned i = 0; i < tcg->vm->n_vcpus; i++)
        if (tcg->vm->vcpus[i] && tcg->vm->vcpus[i]->engine)
            clear_checked(tcg_cpu_of(tcg->vm->vcpus[i]));
}

void tlb_forget_jumps(struct tcg_cpu *t)
{
    t->world++;
    for (unsigned i = 0; i < FETCH_CONTEXTS; i++)
        if (t->fetch[i].valid)
            clear_jumps(t, &t->fetch[i]);
}

void tlb_flush_everything(struct tcg_cpu *t)
{
    t->counts.tlb_flushes++;
    restart_contexts(t);
    forget_large_pages(t);
    itlb_clear(t);
    tlb_forget_jumps(t);
    tcg_context_changed(t->cpu);
}

void tcg_flush_all(struct vcpu *cpu)
{
    tcg_flush_contexts(cpu, 0, 0);
    forget_large_pages(tcg_cpu_of(cpu));
}

void tcg_flush_contexts(struct vcpu *cpu, uint64_t mask, uint64_t value)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    t->counts.tlb_flushes++;
    for (unsigned i = 0; i < CONTEXTS; i++)
        if ((t->contexts[i].key & mask) == value)
            t->contexts[i].ctx = CTX_NONE; /* its entries match nothing from now on */
    for (unsigned i = 0; i < FETCH_CONTEXTS; i++) {
        struct fetch_context *f = &t->fetch[i];
        if (f->valid && (f->key & mask) == value)
            clear_jumps(t, f);
    }
    tcg_context_changed(cpu);
}

static unsigned filter_bit(uint64_t va)
{
    uint64_t page = va >> 12;
    return (page ^ page >> 12 ^ page >> 24) & 4095;
}

void tcg_flush_page(struct vcpu *cpu, uint64_t va)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    for (unsigned k = 0; k < N_LARGE; k++)
        if (va >= t->large[k].lo && va <= t->large[k].hi) {
            tcg_flush_all(cpu);
            return;
        }
    l1_clear_slot(l1_slot(t, va));
    struct l2_entry *set = l2_set(t, va);
    for (unsigned w = 0; w < L2_WAYS; w++)
        if (page_of(set[w].tag) == page_of(va))
            set[w].tag = (uint64_t)TLB_NO_MATCH;
    for (unsigned i = 0; i < FETCH_CONTEXTS; i++) {
        unsigned bit = filter_bit(va);
        struct fetch_context *f = &t->fetch[i];
        if (f->valid && f->pages[bit >> 6] >> (bit & 63) & 1)
            clear_jumps(t, f);
        struct itlb_entry *e = itlb_slot(t, f, va);
        if (e->va == page_of(va))
            e->va = (uint64_t)TLB_NO_MATCH;
    }
}

/* What was borrowed is the user's own entry again. Somebody else may be taking the right to write away. */
static void give_back_slot(struct tlb_entry *e)
{
    uint64_t own = ~e->user;
    uint64_t write = atomic_load_explicit(&e->write, memory_order_relaxed);
    if (!e->user)
        return;
    if (e->read != (uint64_t)TLB_NO_MATCH)
        atomic_store_explicit(&e->read, own, memory_order_relaxed);
    if (write != (uint64_t)TLB_NO_MATCH)
        atomic_compare_exchange_strong(&e->write, &write, own);
    e->user = 0;
}

void tcg_drop_user_pages(struct vcpu *cpu)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    if (t->n_user_pages > ARRAY_LEN(t->user_pages)) { /* more than were noted down */
        for (uint64_t i = 0; i <= t->tlb_mask >> TLB_ENTRY_BITS; i++)
            give_back_slot(&t->tlb[i]);
        t->n_user_pages = 0;
        return;
    }
    while (t->n_user_pages)
        give_back_slot(l1_slot(t, t->user_pages[--t->n_user_pages]));
}

/* Is a loop under way that writes there without looking? */
static bool writes_through_window(const struct tcg_cpu *t, const uint8_t *page)
{
    for (unsigned k = 0; k < IR_WINDOWS; k++)
        if (atomic_load_explicit(&t->windows[k], memory_order_relaxed) == page)
            return true;
    return false;
}

bool tlb_protect_page(struct tcg *tcg, const uint8_t *page, const struct tcg_cpu *self)
{
    bool others = false;
    for (unsigned i = 0; i < tcg->vm->n_vcpus; i++) {
        struct vcpu *cpu = tcg->vm->vcpus[i];
        if (!cpu || !cpu->engine)
            continue;
        struct tcg_cpu *t = tcg_cpu_of(cpu);
        unsigned bit = written_bit(page);
        bool had_tags = atomic_load(&t->written[bit >> 6]) >> (bit & 63) & 1;
        for (uint64_t k = 0; had_tags && k <= t->tlb_mask >> TLB_ENTRY_BITS; k++) {
            struct tlb_entry *e = &t->tlb[k];
            uint64_t tag = atomic_load_explicit(&e->write, memory_order_acquire);
            if (tag == (uint64_t)TLB_NO_MATCH || page_of(tag) + e->addend != (uintptr_t)page)
                continue;
            atomic_store_explicit(&e->write, (uint64_t)TLB_NO_MATCH, memory_order_relaxed);
            others |= t != self;
        }
        atomic_thread_fence(
            memory_order_seq_cst); /* either we see the window or who opens it sees no tag */
        others |= t != self && writes_through_window(t, page);
    }
    return others;
}

/* ---- filling ------------------------------------------------------------------------------------------ */

/* The RAM that a whole page shows, page for page. Where the map changes within the page, or RAM lies
 * askew in it, each access goes through the dispatch. */
static struct ram_block *ram_at(struct vcpu *cpu, uint64_t page, uint8_t **host, bool *rom)
{
    const struct mem_range *r = mem_view_find(mem_view_of(cpu), page);
    if (!r || !r->ram || r->start + r->size - page < 4096 || (r->region_off - r->start) & 4095)
        return NULL;
    *host = r->ram->host + r->region_off + (page - r->start);
    *rom = r->rom;
    mem_about_to_use(r->ram, *host);
    return r->ram;
}

/* A range that holds the page grows by nothing, a free one by little; else the one that grows least takes it. So
 * small pages between areas of large ones stay outside. */
static void note_large_page(struct tcg_cpu *t, uint64_t va, uint64_t size)
{
    const uint64_t near = 64 * MIB;
    uint64_t lo = va & -size, hi = va | (size - 1), least = UINT64_MAX;
    unsigned best = 0;
    for (unsigned k = 0; k < N_LARGE; k++) {
        bool is_free = t->large[k].lo > t->large[k].hi;
        uint64_t below = lo < t->large[k].lo ? t->large[k].lo - lo : 0;
        uint64_t above = hi > t->large[k].hi ? hi - t->large[k].hi : 0;
        uint64_t growth = is_free ? near : MAX(below, above);
        if (growth < least) {
            least = growth;
            best = k;
        }
    }
    t->large[best].lo = MIN(t->large[best].lo, lo);
    t->large[best].hi = MAX(t->large[best].hi, hi);
}

static void note_page_size(struct tcg_cpu *t, uint64_t va, const struct tlb_fill *fill)
{
    uint64_t size = MAX(fill->page_size, fill->flush_size);
    if (size > 4096)
        note_large_page(t, va, size);
}

/* Pieces of large pages. Guests flush again and again, and then most of what they use lies in a few of those: so they
 * spare most walks. They live as long as what was made of them: by context number and by era. */
#define PIECE ((uint64_t)1 << LARGE_BITS)

static struct large_data *large_data(struct tcg_cpu *t, uint64_t tag)
{
    return &t->large_data[(tag >> LARGE_BITS ^ tag >> (LARGE_BITS + 7) ^ tag) % LARGE_DATA];
}

static uint64_t large_tag(uint64_t tag)
{
    return tag & ~(PIECE - 4096);
}

static const struct large_data *large_data_find(struct tcg_cpu *t, uint64_t tag, enum access access)
{
    const struct large_data *e = large_data(t, tag);
    return e->tag == large_tag(tag) && (access == ACCESS_WRITE ? e->w : e->r) ? e : NULL;
}

static struct large_code *large_code(struct tcg_cpu *t, uint64_t va)
{
    return &t->large_code[(va >> LARGE_BITS ^ (uint64_t)(t->fetch_now - t->fetch) << 2) %
                          LARGE_CODE];
}

static bool page_needs_attention(const struct l2_entry *e)
{
    uint64_t n = (uint64_t)(e->host - e->ram->host) >> 12;
    return atomic_load_explicit(&e->ram->page_flags[n], memory_order_seq_cst);
}

static void note_user_page(struct tcg_cpu *t, uint64_t va)
{
    for (unsigned i = 0; i < t->n_user_pages && i < ARRAY_LEN(t->user_pages); i++)
        if (page_of(t->user_pages[i]) == page_of(va))
            return;
    if (t->n_user_pages < ARRAY_LEN(t->user_pages))
        t->user_pages[t->n_user_pages] = va;
    if (t->n_user_pages <= ARRAY_LEN(t->user_pages))
        t->n_user_pages++;
}

/* Let generated code find the page under `tag` from now on. */
static void l1_fill(struct tcg_cpu *t, uint64_t va, uint64_t tag, const struct l2_entry *e)
{
    struct tlb_entry *slot = l1_slot(t, va);
    uint64_t old = slot->read == (uint64_t)TLB_NO_MATCH ? slot->write : slot->read;
    if (old != (uint64_t)TLB_NO_MATCH && old != tag && (old & 4095) == (tag & 4095)) {
        unsigned n = (t->tlb_mask >> TLB_ENTRY_BITS) + 1;
        if (++t->conflicts > 2 * n && n < 1u << TLB_BITS_MAX) {
            set_size(t, (unsigned)__builtin_ctz(n) + 1);
            slot = l1_slot(t, va);
        }
    }
    t->tlb_lost |= slot->write != (uint64_t)TLB_NO_MATCH && slot->write != tag;
    l1_clear_slot(slot);
    atomic_store_explicit(&slot->addend, (uintptr_t)e->host - page_of(va), memory_order_relaxed);
    slot->user = tag != e->tag ? ~e->tag : 0;
    if (slot->user)
        note_user_page(t, va);
    unsigned watched = t->debug ? debug_watched(t, va) : 0;
    if (e->r && !(watched & WATCH_READS))
        atomic_store_explicit(&slot->read, tag, memory_order_relaxed);
    if (e->w && e->r && !e->rom && !t->tcg->helps &&
        !watched) { /* nobody would take the tag back */
        /* Either we see the page's flags or who sets them sees our bit and tag and clears it. */
        unsigned bit = written_bit(e->host);
        if (!(atomic_load(&t->written[bit >> 6]) >> (bit & 63) & 1))
            atomic_fetch_or(&t->written[bit >> 6], (uint64_t)1 << (bit & 63));
        atomic_store_explicit(&slot->write, tag, memory_order_seq_cst);
        if (page_needs_attention(e))
            atomic_store_explicit(&slot->write, (uint64_t)TLB_NO_MATCH, memory_order_relaxed);
    }
}

static struct l2_entry *l2_find(struct l2_entry *set, uint64_t tag, enum access access)
{
    for (unsigned w = 0; w < L2_WAYS; w++)
        if (set[w].tag == tag && (access == ACCESS_WRITE ? set[w].w : set[w].r))
            return &set[w];
    return NULL;
}

/* A way for the tag: the one that holds it with fewer rights, a free one, or somebody else's. */
static struct l2_entry *l2_victim(struct tcg_cpu *t, struct l2_entry *set, uint64_t tag)
{
    struct l2_entry *free_way = NULL;
    for (unsigned w = 0; w < L2_WAYS; w++) {
        if (set[w].tag == tag)
            return &set[w];
        if (set[w].tag == (uint64_t)TLB_NO_MATCH)
            free_way = &set[w];
    }
    return free_way ? free_way : &set[t->clock++ % L2_WAYS];
}

/* The tag under which a user's own accesses find the page, if mode 0 may use that now. */
static uint64_t user_tag(struct tcg_cpu *t, uint64_t va, unsigned mode)
{
    uint64_t key;
    if (mode != 0 || !t->target->user_key || t->next_ctx > CTX_LAST ||
        !t->target->user_key(t->cpu, &key))
        return (uint64_t)TLB_NO_MATCH;
    return page_of(va) | context_number(t, key);
}

/* The second level's entry for a page that it does not have, or `once` if it is not to be remembered. NULL: *fault. */
static struct l2_entry *l2_fill(struct tcg_cpu *t, uint64_t va, enum access access, unsigned mode,
                                uint64_t lent, struct l2_entry *once, int *fault)
{
    uint64_t own = page_of(va) | t->ctx[mode];
    const struct large_data *piece = large_data_find(t, own, access);
    struct tlb_fill fill = { 0 };
    if (!piece && (piece = large_data_find(t, lent, access)))
        own = lent;
    if (piece) {
        fill = (struct tlb_fill){
            .gpa = piece->gpa | (va & (PIECE - 1)), .page_size = PIECE, .r = piece->r, .w = piece->w
        };
    } else {
        t->counts.tlb_walks++;
        if (!t->target->translate_address(t->cpu, va, access, mode, &fill)) {
            *fault = fill.fault;
            return NULL;
        }
        own = fill.user ? lent : own;
        note_page_size(t, va, &fill);
    }
    bool remember = fill.page_size >= 4096 && own != (uint64_t)TLB_NO_MATCH;
    struct l2_entry *e = remember ? l2_victim(t, l2_set(t, va), own) : once;
    *e = (struct l2_entry){ .tag = own, .gpa = page_of(fill.gpa), .r = fill.r, .w = fill.w };
    e->ram = ram_at(t->cpu, e->gpa, &e->host, &e->rom);
    if (!piece && remember && fill.page_size >= PIECE)
        *large_data(t, own) = (struct large_data){
            .tag = large_tag(own), .gpa = fill.gpa & -PIECE, .r = fill.r, .w = fill.w
        };
    return e;
}

bool tlb_translate(struct tcg_cpu *t, uint64_t va, enum access access, unsigned mode,
                   struct tlb_place *out, int *fault)
{
    uint64_t tag = page_of(va) | t->ctx[mode];
    struct l2_entry *set = l2_set(t, va), *e = l2_find(set, tag, access), once;
    t->counts.tlb_misses++;
    if (!e) {
        uint64_t lent = user_tag(t, va, mode);
        if (lent != (uint64_t)TLB_NO_MATCH)
            e = l2_find(set, lent, access);
        if (!e && !(e = l2_fill(t, va, access, mode, lent, &once, fault)))
            return false;
    }
    if (e->ram && e != &once)
        l1_fill(t, va, tag, e);
    *out = (struct tlb_place){ .gpa = e->gpa | (va & 4095),
                               .ram = e->ram,
                               .rom = e->rom,
                               .host = e->ram ? e->host + (va & 4095) : NULL };
    out->partial = e == &once;
    return true;
}

uint64_t tlb_addend(struct tcg_cpu *t, uint64_t first, uint64_t last, bool write, unsigned mode)
{
    const struct tlb_entry *e = l1_slot(t, first);
    uint64_t tag = page_of(last) | t->ctx[mode];
    return (write ? e->write : e->read) == tag && page_of(first) == page_of(last) ? e->addend : 0;
}

/* ---- windows ------------------------------------------------------------------------------------------- */

/* What keeps generated code from accessing the page. */
static enum refusal refusal(struct tcg_cpu *t, const struct ir_window *w, uint64_t va)
{
    uint64_t tag = page_of(va) | t->ctx[w->mode];
    const struct tlb_entry *slot = l1_slot(t, va);
    bool readable = slot->read == tag;
    const struct l2_entry *e =
        l2_find(l2_set(t, va), readable && slot->user ? ~slot->user : tag, ACCESS_READ);
    if (e && (!e->ram || (w->writes && e->rom)))
        return REFUSED_NO_RAM;
    return w->writes && readable && (!e || e->w) ? REFUSED_WATCHED : REFUSED_ABSENT;
}

void tlb_window_refused(struct tcg_cpu *t, int64_t what, uint64_t first, uint64_t most)
{
    const struct ir_window w = ir_window_of(what);
    if (!most || page_of(first) != page_of(first + w.span - 1))
        return;
    bool aligned = !(first & (((uint64_t)1 << w.align) - 1));
    t->counts.windows_refused[aligned ? refusal(t, &w, first) : REFUSED_MISALIGNED]++;
}

static uint64_t open_window(struct tcg_cpu *t, int64_t what, uint64_t first, uint64_t most)
{
    const struct ir_window w = ir_window_of(what);
    uint64_t last = first + w.span - 1;
    if (page_of(first) != page_of(last) || first & (((uint64_t)1 << w.align) - 1))
        return 0;
    uint64_t addend = tlb_addend(t, first, last, w.writes, w.mode);
    if (!addend)
        return 0;
    if (w.writes) {
        atomic_store_explicit(&t->windows[w.n],
                              (const uint8_t *)(uintptr_t)(page_of(first) + addend),
                              memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        if (!tlb_addend(t, first, last, true, w.mode)) /* somebody began to watch the page */
            return 0;
    }
    t->words[IR_WORD_ADDEND + w.n] = addend;
    uint64_t left = w.stride > 0 ? 4095 - (last & 4095) : first & 4095;
    return w.stride ? MIN(most, left / (uint64_t)llabs(w.stride) + 1) : most;
}

uint64_t tlb_open_window(struct tcg_cpu *t, int64_t what, uint64_t first, uint64_t most)
{
    uint64_t turns = open_window(t, what, first, most);
    if (!turns)
        tlb_window_refused(t, what, first, most);
    return turns;
}

/* A stack frame across two pages, in a loop, would otherwise stay slow for as long as it lives. Vector loops over
 * data cross a page now and then as well, and have much more to lose. */
void tlb_group_failed(struct tcg_cpu *t, int32_t off, bool vector)
{
    enum { OFTEN = 64, SOON_NS = 10000000, VECTOR_SOON_NS = 100000 };
    uint64_t pc = t->pc_page + (uint64_t)(int64_t)off;
    struct failing *f = &t->failing[(pc >> 1) % ARRAY_LEN(t->failing)];
    if (f->pc != pc)
        *f = (struct failing){ .pc = pc, .since_ns = host_now_ns() };
    if (++f->n < OFTEN)
        return;
    uint64_t now = host_now_ns();
    const struct itlb_entry *e = itlb_find(t, pc);
    if (now - f->since_ns < (vector ? VECTOR_SOON_NS : SOON_NS) && e && off >= 0 && off < 4096) {
        cache_set_apart(t->tcg, e->page, off);
        atomic_store_explicit(&t->exit_flag, 1,
                              memory_order_relaxed); /* out of the old unit's loop */
    }
    f->n = 0;
    f->since_ns = now;
}

const uint8_t *tlb_code_page(struct tcg_cpu *t, uint64_t pc)
{
    const struct itlb_entry *e = itlb_find(t, pc);
    return e ? e->page : NULL;
}

static void note_page(struct fetch_context *f, uint64_t pc)
{
    unsigned bit = filter_bit(pc);
    f->pages[bit >> 6] |= (uint64_t)1 << (bit & 63);
}

/* Who writes to a watched page, or stops watching it, takes away what is known afterwards: so it is known first, then
 * looked at. */
bool tcg_code_is(struct vcpu *cpu, uint64_t pc, uint32_t bytes)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    const struct itlb_entry *e = itlb_find(t, pc);
    if (!e || (pc & 4095) > 4096 - sizeof(bytes))
        return false;
    note_page(t->fetch_now, pc);
    atomic_store_explicit(&t->checked[checked_index(pc)], pc ^ t->checked_tag,
                          memory_order_relaxed);
    atomic_store(&t->any_checked, true);
    bool watched = tcg_sees_writes(t->tcg, e->ram, e->page);
    bool right = load_le(e->page + (pc & 4095), sizeof(bytes)) == bytes;
    if (!watched || !right)
        clear_check(t, checked_index(pc));
    return right;
}

/* For a fetch. False: fill->fault. */
static bool translate_fetch(struct tcg_cpu *t, uint64_t va, struct tlb_fill *fill)
{
    struct large_code *piece = large_code(t, va);
    uint64_t era = t->fetch_now->era, first = va & -PIECE;
    if (piece->va == first && piece->era == era) {
        *fill = (struct tlb_fill){ .gpa = piece->gpa | (va & (PIECE - 1)), .page_size = PIECE };
        return true;
    }
    if (!t->target->translate_address(t->cpu, va, ACCESS_EXEC, 0, fill))
        return false;
    note_page_size(t, va, fill);
    if (fill->page_size >= PIECE)
        *piece = (struct large_code){ .va = first, .era = era, .gpa = fill->gpa & -PIECE };
    return true;
}

bool tlb_fetch_page(struct tcg_cpu *t, uint64_t va, uint64_t pc, struct fetch_place *out)
{
    const struct itlb_entry *e = itlb_find(t, va);
    if (e) {
        *out = (struct fetch_place){ .page = e->page, .ram = e->ram };
        return true;
    }
    struct tlb_fill fill = { 0 };
    int kind = MEM_FAULT_NO_MEMORY;
    if (translate_fetch(t, va, &fill)) {
        uint8_t *host;
        bool rom;
        struct ram_block *ram = ram_at(t->cpu, page_of(fill.gpa), &host, &rom);
        if (ram) {
            *out =
                (struct fetch_place){ .page = host, .ram = ram, .partial = fill.page_size < 4096 };
            if (!out->partial) {
                note_page(t->fetch_now, va); /* generated code renews jumps by the entry */
                *itlb_slot(t, t->fetch_now, va) = (struct itlb_entry){
                    .va = page_of(va), .era = t->fetch_now->era, .page = host, .ram = ram
                };
            }
            return true;
        }
    } else {
        kind = MEM_FAULT_TRANSLATION;
    }
    *tcg_pc(t) = pc;
    t->counts.traps++;
    t->target->raise_memory(t->cpu, va, ACCESS_EXEC, kind, fill.fault);
    return false;
}

/* In the jump cache and its filter. */
static void note_jump(struct tcg_cpu *t, uint64_t pc, const void *code)
{
    struct fetch_context *f = t->fetch_now;
    unsigned at = jump_index(pc);
    f->jumps[at] = (struct jump_entry){ .pc = pc, .code = code };
    if (f->n_made < JUMPS_MADE)
        f->made[f->n_made] = (uint16_t)at;
    if (f->n_made <= JUMPS_MADE)
        f->n_made++;
    note_page(f, pc);
}

void tlb_jump_insert(struct tcg_cpu *t, uint64_t pc, const struct unit *u)
{
    struct fetch_context *f = t->fetch_now;
    note_jump(t, pc, u->entry);
    t->far_jumps[far_jump_index(pc)] = (struct far_jump){ .pc = pc,
                                                          .era = f->era,
                                                          .code = u->entry,
                                                          .page = u->page2 ? NULL : u->page,
                                                          .world = t->world,
                                                          .flags = u->flags };
    if (u->page2)
        note_page(f, pc + 4096);
}

const void *tlb_jump_renew(struct tcg_cpu *t, uint64_t pc, const uint8_t *page, uint32_t flags)
{
    struct far_jump *e = &t->far_jumps[far_jump_index(pc)];
    if (e->pc != pc || e->page != page || e->flags != flags || e->world != t->world)
        return NULL;
    e->era = t->fetch_now->era;
    note_jump(t, pc, e->code);
    return e->code;
}

void tlb_init(struct tcg_cpu *t)
{
    t->fetch = xcalloc(FETCH_CONTEXTS, sizeof(*t->fetch));
    t->any_checked = true;
    for (unsigned i = 0; i < FETCH_CONTEXTS; i++) {
        t->fetch[i].n_made = UINT32_MAX;
        clear_jumps(t, &t->fetch[i]);
    }
    set_size(t, TLB_BITS_MIN);
    restart_contexts(t);
    forget_large_pages(t);
    itlb_clear(t);
}

void tlb_free(struct tcg_cpu *t)
{
    free(t->fetch);
}
