/* From guest code to a unit: find its instructions, build IR, compile, publish. */
#include "core/clock.h"
#include "core/disas.h"
#include "core/util.h"
#include "tcg/inline.h"
#include "tcg/persist.h"
#include "tcg/tcg.h"

#include <assert.h>
#include <stdlib.h>

enum {
    MAX_UNIT_INSNS = 256,
    SCAN_BYTES = 16, /* the longest instruction of any target */
    FOLLOW_CALLS =
        8, /* what is behind a later call is a unit of its own if it runs, until it is hot */
};

/* The instructions of a unit to be. */
struct plan {
    struct tcg_cpu *t;
    const uint8_t *page, *page2; /* host bytes; page2 only for an instruction across the end */
    const uint8_t *bytes;        /* where those of page are read: page, or a copy */
    uint64_t pc_page;            /* its guest address, for the log */
    uint32_t flags;
    uint16_t guess;
    bool forward_only; /* no loops */
    bool hot; /* has copies of short functions behind their calls, and all that is behind calls */
    unsigned n, limit;
    int32_t seen_end; /* behind the highest instruction */
    struct found insns[MAX_UNIT_INSNS];
    int16_t at[4096];               /* by off: index + 1 into insns, or 0 */
    uint16_t order[MAX_UNIT_INSNS]; /* of insns, by address */
    int32_t targets[MAX_UNIT_INSNS];
    unsigned n_targets;
    struct inlined inlined;
};

static unsigned plan_index(const struct plan *p, int32_t off)
{
    return (unsigned)p->at[off];
}

static bool is_planned(const struct plan *p, int32_t off)
{
    return off >= 0 && off < 4096 && plan_index(p, off);
}

/* The k'th instruction by address. */
static const struct found *plan_at(const struct plan *p, unsigned k)
{
    return &p->insns[p->order[k]];
}

static bool scan_one(struct plan *p, int32_t off, struct insn_scan *out)
{
    const struct tcg_target *target = p->t->target;
    uint8_t bytes[SCAN_BYTES]; /* a copy: the guest may write while we look */
    size_t n = target->max_insn_len;
    if (off <= 4096 - SCAN_BYTES) {
        memcpy(bytes, p->bytes + off, SCAN_BYTES);
    } else {
        n = MIN((size_t)(4096 - off), n);
        memcpy(bytes, p->bytes + off, n);
    }
    if (p->page2 && n < target->max_insn_len) {
        memcpy(bytes + n, p->page2, target->max_insn_len - n);
        n = target->max_insn_len;
    }
    target->scan(p->t->cpu, p->flags & UNIT_STATE, bytes, n, off, out);
    return out->len;
}

static bool scan_leaf(void *plan, int32_t off, struct insn_scan *out)
{
    return scan_one(plan, off, out);
}

static void make_target(struct plan *p, int32_t off)
{
    struct found *f = &p->insns[plan_index(p, off) - 1];
    f->leader = f->target = true;
}

/* A breakpoint of a debugger: what is there begins a unit. */
static bool stops_at(const struct plan *p, int32_t off)
{
    return p->flags & UNIT_DEBUG && p->n && debug_stops_unit(p->t->tcg, off);
}

/* Follow code from off until it leaves the page or what is known, or the limit is reached. */
static void trace(struct plan *p, int32_t off)
{
    bool after_call = false;
    bool leader = true;
    while (off >= 0 && off < 4096 && p->n < p->limit && !plan_index(p, off) && !stops_at(p, off)) {
        struct found *f = &p->insns[p->n];
        if (!scan_one(p, off, &f->scan))
            return;
        f->off = off;
        f->leader = leader;
        f->after_call = after_call;
        f->target = false;
        f->inlined = 0;
        p->at[off] = (int16_t)++p->n;
        leader = after_call = false;
        int32_t next = off + f->scan.len;
        p->seen_end = MAX(p->seen_end, next);
        switch (f->scan.kind) {
        case INSN_END:
        case INSN_RETURN: return;
        case INSN_BRANCH:
            p->targets[p->n_targets++] = f->scan.target;
            leader = true;
            break;
        case INSN_JUMP:
            if (f->scan.target <= off) { /* a loop's end, or code further up */
                p->targets[p->n_targets++] = f->scan.target;
                return;
            }
            next = f->scan.target;
            leader = true;
            break;
        case INSN_CALL:
            if (p->hot)
                f->inlined = inline_find(&p->inlined, p->limit, scan_leaf, p, f);
            /* fall through */
        case INSN_CALL_INDIRECT:
            if (p->n >= FOLLOW_CALLS && !p->hot)
                return;
            leader = after_call = true;
            break;
        default: break;
        }
        off = next;
    }
    if (off >= 0 && off < 4096 && plan_index(p, off))
        make_target(p, off);
}

/* The instructions reached from `start` without leaving the page, in order of address. */
static void make_plan(struct plan *p, int32_t start)
{
    for (unsigned k = 0; k < p->n; k++) /* of the last plan */
        p->at[p->insns[k].off] = 0;
    p->n = p->n_targets = 0;
    inline_start(&p->inlined);
    p->seen_end = start;
    trace(p, start);
    for (unsigned k = 0; k < p->n_targets; k++) {
        int32_t to = p->targets[k];
        /* Only what lies between: code further away may well never run. */
        if (to > start && to < p->seen_end && to < 4096 && p->n < p->limit && !plan_index(p, to))
            trace(p, to);
        if (to >= start && to < 4096 && plan_index(p, to))
            make_target(p, to);
    }
    unsigned n = 0;
    for (int32_t off = start; n < p->n; off++)
        if (plan_index(p, off))
            p->order[n++] = (uint16_t)(plan_index(p, off) - 1);
}

static void translate_insn(void *plan, struct tr *tr, const struct found *f)
{
    struct plan *p = plan;
    tr->off = f->off;
    tr->len = f->scan.len;
    tr->next = f->off + f->scan.len;
    ir_begin_insn(tr->ir, f->off, f->scan.len);
    if (f == plan_at(p, 0))
        p->t->target->begin_unit(tr);
    p->t->target->translate(tr, &f->scan);
}

static void build(struct plan *p, struct ir *ir)
{
    struct tcg_cpu *t = p->t;
    struct tr tr = { .ir = ir, .cpu = t->cpu, .flags = p->flags & UNIT_STATE, .guess = p->guess };
    enum inline_done done = INLINE_NOT; /* with the instruction before */
    ir_start(ir, t->target->slots, t->target->n_slots);
    ir->wide = t->tcg->wide;
    ir->forward_only = p->forward_only;
    for (unsigned k = 0; k < p->n && !ir->overflow; k++) {
        const struct found *f = plan_at(p, k), *before = k ? plan_at(p, k - 1) : NULL;
        bool follows = before && before->off + before->scan.len == f->off;
        bool returns = f->after_call && done == INLINE_NOT;
        if (!ir->ended && !follows)
            ir_jump(ir, before->off + before->scan.len);
        if (f->target || returns || (f->leader && !f->after_call) || ir->ended) {
            ir_begin_block(ir, f->off);
            ir->blocks[ir->block].after_call = returns;
        }
        if (!follows || f->target || returns ||
            (before->scan.kind > INSN_BRANCH && done != INLINE_ONE_WAY))
            tr.note = 0;
        translate_insn(p, &tr, f);
        done = INLINE_NOT;
        if (f->inlined && is_planned(p, tr.next)) /* else its return would be no predicted one */
            done = inline_build(&p->inlined, f->inlined, &tr, translate_insn, p);
    }
    if (!ir->ended)
        ir_jump(ir, tr.next);
}

/* ---- logging --------------------------------------------------------------------------------------- */

struct printer {
    const struct log *log;
};

static void print_line(void *opaque, const char *line)
{
    log_print(((struct printer *)opaque)->log, "%s\n", line);
}

static void log_ir(const struct tcg_cpu *t, const struct ir *ir, const char *what)
{
    struct printer pr = { &t->tcg->vm->log };
    log_print(pr.log, "%s:\n", what);
    ir_print(ir, print_line, &pr);
}

static void log_guest(const struct plan *p)
{
    struct tcg *tcg = p->t->tcg;
    uint8_t bytes[32];
    int32_t off;
    struct printer pr = { &tcg->vm->log };
    if (!tcg->disas_guest) /* the library is large: only for who wants it */
        tcg->disas_guest = disas_new(tcg->target->target->name);
    log_print(pr.log, "guest code:\n");
    for (unsigned k = 0, n; (n = plan_insn(p, k, &off, bytes)); k++)
        disas_block(tcg->disas_guest, bytes, n, p->pc_page + (uint64_t)(int64_t)off, print_line,
                    &pr);
}

static void log_host(const struct tcg_cpu *t, const struct unit *u)
{
    struct printer pr = { &t->tcg->vm->log };
    if (!t->tcg->disas_host)
        t->tcg->disas_host = disas_new("x86_64");
    log_print(pr.log, "host code, %u bytes:\n", u->code_size);
    disas_block(t->tcg->disas_host, t->tcg->rw + u->code_at, u->code_size,
                (uintptr_t)t->tcg->rx + u->code_at, print_line, &pr);
}

/* ---- translating -------------------------------------------------------------------------------------- */

/* A compiled unit moves from the scratch area to a place of its size. */
static struct unit *keep_unit(struct tcg *tcg, const struct unit *made)
{
    size_t n = sizeof(*made) + made->n_links * sizeof(struct link);
    struct unit *u = cache_unit(tcg, n);
    memcpy(u, made, n);
    for (unsigned i = 0; i < u->n_links; i++)
        u->links[i].from = u;
    tcg->backend->place_links(tcg, u);
    return u;
}

/* What the second tier does more; off for code that another engine or a debugger looks at closely. */
static bool wants_copies(const struct plan *p)
{
    return !p->forward_only && !(p->flags & (UNIT_ALONE | UNIT_DEBUG));
}

static struct ir_loop_counts optimise(const struct tcg *tcg, const struct plan *p, struct ir *ir,
                                      bool hot, uint64_t apart, const struct ir_teller *tell)
{
    struct ir_loop_counts loops = { 0 };
    ir_resolve(ir);
    if (hot && wants_copies(p))
        loops = ir_copy_loops(ir, tell);
    ir_drop_dead(ir);
    ir_find_chains(ir);
    if (tcg->group_accesses)
        ir_group_accesses(ir, apart);
    return loops;
}

/* With the lock held. */
static void count_loops(struct tcg *tcg, const struct ir_loop_counts *loops)
{
    for (unsigned k = 0; k < N_IR_NO_WINDOWS; k++)
        tcg->counts.hot_loops[k] += loops->n[k];
}

/* With the lock held: host code for a unit, published if all goes well. `old` is what it takes the place of,
 * or NULL. */
static enum compiled make_unit(struct plan *p, int32_t off, const struct ir *ir, struct unit *old,
                               struct unit **made)
{
    struct tcg *tcg = p->t->tcg;
    const struct log *log = &tcg->vm->log;
    bool logged = log->kinds && log_in_filter(log, p->pc_page + (uint64_t)(int64_t)off);
    struct unit *u = tcg->scratch;
    if (logged && log_on(log, LOG_IN_ASM))
        log_guest(p);
    if (logged && log_on(log, LOG_OP_OPT))
        log_ir(p->t, ir, old ? "IR, second tier" : "IR, optimised");
    *u = (struct unit){ .page = p->page,
                        .page2 = p->page2,
                        .off = off,
                        .flags = p->flags,
                        .end = p->seen_end,
                        .hot = old || tcg->always_tier2,
                        .hot_plan = p->hot,
                        .n_insns = (uint16_t)p->n,
                        .guess = p->guess };
    inline_cover(&p->inlined, u);
    enum compiled c = tcg->backend->compile(tcg, u, ir);
    if (c != COMPILE_OK)
        return c;
    if (old)
        cache_kill(tcg, old);
    *made = u = keep_unit(tcg, u);
    if (logged && log_on(log, LOG_OUT_ASM) && !u->ir)
        log_host(p->t, u);
    if (p->bytes != p->page && !old)
        persist_keep(tcg, u, p->bytes);
    cache_publish(tcg, u);
    tcg->counts.host_bytes += u->code_size;
    return c;
}

/* With the lock held. NULL: there is no room, or the first instruction reaches further than it did. */
static struct unit *translate(struct tcg_cpu *t, struct plan *p, int32_t off, bool *room)
{
    struct tcg *tcg = t->tcg;
    const struct log *log = &tcg->vm->log;
    enum { TIMED = 16 }; /* a load takes a microsecond: looking at the clock is felt */
    bool timed = tcg->counts.loaded % TIMED == 0;
    uint64_t begin = timed ? host_now_ns() : 0;
    struct ir *ir = t->ir;
    bool logged = log->kinds && log_in_filter(log, t->pc_page + (uint64_t)(int64_t)off);
    bool keeps = tcg->persist && !logged && !t->stepping && !p->page2 &&
                 !(p->flags & (UNIT_ALONE | UNIT_DEBUG));
    if (keeps && persist_load(tcg, p->page, off, p->flags, room)) {
        struct unit *u = keep_unit(tcg, tcg->scratch);
        cache_publish(tcg, u);
        tcg->counts.loaded++;
        if (timed)
            tcg->counts.load_ns += TIMED * (host_now_ns() - begin);
        return u;
    }
    if (!*room)
        return NULL;
    begin = host_now_ns();
    if (keeps)
        p->bytes = persist_copy(tcg, p->page);
    p->guess = t->target->guess ? t->target->guess(t->cpu) : 0;
    bool one = tcg->single_insn || p->page2 || p->flags & UNIT_ALONE;
    p->limit = one ? 1 : t->stepping ? MIN(t->most_insns, tcg->max_insns) : tcg->max_insns;
    p->hot = tcg->always_tier2 && !one && !keeps && wants_copies(p);
    for (;; p->limit = (p->limit + 1) / 2) {
        make_plan(p, off);
        if (!p->n)
            return NULL;
        build(p, ir);
        if (!ir->overflow) {
            struct unit *u;
            if (logged && log_on(log, LOG_OP))
                log_ir(t, ir, "IR");
            struct ir_loop_counts loops =
                optimise(tcg, p, ir, tcg->always_tier2, cache_apart(tcg, p->page), NULL);
            enum compiled c = make_unit(p, off, ir, NULL, &u);
            if (c == COMPILE_OK) {
                tcg->counts.units++;
                tcg->counts.guest_insns += p->n;
                tcg->counts.guest_bytes += (uint64_t)(u->end - u->off);
                count_loops(tcg, &loops);
                tcg->counts.hot_calls += inline_count(&p->inlined);
                tcg->counts.translate_ns += host_now_ns() - begin;
                return u;
            }
            if (c == COMPILE_NO_ROOM) {
                *room = false;
                return NULL;
            }
        }
        assert(p->limit > 1); /* one instruction always fits */
    }
}

/* ---- the second tier -------------------------------------------------------------------------------------- */

struct again {
    struct plan plan;
    struct ir ir;
    uint8_t page[4096];
};

struct again *again_new(void)
{
    return xcalloc(1, sizeof(struct again));
}

/* Are the bytes that the plan was made of still those of the page? */
static bool is_true(const struct plan *p, const struct found *insns, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        if (memcmp(p->bytes + insns[k].off, p->page + insns[k].off, insns[k].scan.len))
            return false;
    return true;
}

static bool is_true_copy(const struct plan *p)
{
    return is_true(p, p->insns, p->n) && is_true(p, p->inlined.insns, p->inlined.n_insns);
}

/* With the lock held: the first tier's unit, if it lives. */
static struct unit *first_tier(struct tcg *tcg, const struct hot *hot)
{
    struct unit *u = cache_find(tcg, hot->page, hot->off, hot->flags);
    return u && !u->hot && !u->page2 ? u : NULL;
}

/* Takes the place of the unit it is about: whatever the guest writes in the page meanwhile is seen, as that unit keeps
 * it watched. False: it was too much. */
static bool replace_hot(struct tcg *tcg, const struct hot *hot, struct plan *p, struct ir *ir,
                        const struct ir_loop_counts *loops)
{
    struct unit *u;
    enum compiled c = COMPILE_OK;
    pthread_mutex_lock(&tcg->lock);
    struct unit *old = first_tier(tcg, hot);
    bool good = old && is_true_copy(p);
    if (good)
        c = make_unit(p, hot->off, ir, old, &u);
    tcg->counts.hot_gone += !good || c == COMPILE_NO_ROOM;
    if (good && c == COMPILE_OK) {
        tcg->counts.hot_units++;
        tcg->counts.hot_insns += p->n;
        tcg->counts.hot_bytes += u->code_size;
        count_loops(tcg, loops);
        tcg->counts.hot_calls += inline_count(&p->inlined);
    }
    pthread_mutex_unlock(&tcg->lock);
    return c != COMPILE_TOO_COMPLEX;
}

void translate_hot(struct tcg *tcg, const struct hot *hot, struct again *again)
{
    uint64_t begin = host_now_ns(), apart = 0;
    struct plan *p = &again->plan;
    pthread_mutex_lock(&tcg->lock);
    const struct unit *there = first_tier(tcg, hot);
    if (there) {
        p->guess = there->guess;
        memcpy(again->page, hot->page, sizeof(again->page));
        apart = cache_apart(tcg, hot->page);
    }
    pthread_mutex_unlock(&tcg->lock);
    p->t = tcg_cpu_of(tcg->vm->vcpus[0]); /* any will do: instructions look at the VM only */
    p->page = hot->page;
    p->bytes = again->page;
    p->page2 = NULL;
    p->pc_page = hot->pc & ~(uint64_t)4095;
    p->flags = hot->flags;
    p->forward_only = false;
    p->hot = wants_copies(p) && !tcg->single_insn;
    bool done = !there;
    for (p->limit = tcg->target->hot_insns; !done && p->limit > 1; p->limit /= 2) {
        make_plan(p, hot->off);
        build(p, &again->ir);
        if (!p->n || again->ir.overflow)
            continue;
        struct ir_loop_counts loops = optimise(tcg, p, &again->ir, true, apart, NULL);
        done = replace_hot(tcg, hot, p, &again->ir, &loops);
    }
    tcg->counts.hot_ns += host_now_ns() - begin;
}

static _Atomic uint8_t *page_flags(const struct fetch_place *at)
{
    return &at->ram->page_flags[(uint64_t)(at->page - at->ram->host) >> 12];
}

/* Mark a page as holding code, so that writes are seen; afterwards no vCPU writes it unseen. True if
 * others had to be waited for. */
static bool watch_page(struct tcg_cpu *t, const struct fetch_place *at)
{
    struct tcg *tcg = t->tcg;
    _Atomic uint8_t *flags = page_flags(at);
    bool marks = !(atomic_load(flags) & PAGE_HAS_CODE), waits;
    if (marks) {
        atomic_fetch_add(&tcg->n_watching, 1);
        atomic_fetch_or(flags, PAGE_HAS_CODE);
        waits = tlb_protect_page(tcg, at->page, t);
    } else {
        waits = atomic_load(&tcg->n_watching); /* maybe for this page, by another vCPU */
    }
    if (waits) {
        run_enter_exclusive(t); /* whoever was between check and store is done now */
        run_leave_exclusive(t);
    }
    if (marks)
        atomic_fetch_sub(&tcg->n_watching, 1);
    return waits;
}

/* Behind watch_page, which may be some time ago: since then a write may have found no code there, and another vCPU
 * have begun to watch the page anew. */
static bool is_watched(const struct tcg *tcg, const struct fetch_place *at)
{
    return tcg_sees_writes(tcg, at->ram, at->page);
}

/* Fetch what the instruction at pc needs besides its first bytes: the rest of it in the next page, or
 * where rights change within the page. False: an exception was raised. */
static bool fetch_rest(struct tcg_cpu *t, struct plan *p, uint64_t pc, bool partial,
                       struct fetch_place *second)
{
    int32_t off = pc & 4095;
    struct insn_scan scan;
    if (!partial && 4096 - off >= (int32_t)t->target->max_insn_len)
        return true;
    bool whole = scan_one(p, off, &scan);
    unsigned n = whole ? scan.len : (unsigned)(4096 - off);
    struct fetch_place ignored;
    for (unsigned i = 4 - (off & 3); partial && i < n; i += 4)
        if (!tlb_fetch_page(t, pc + i, pc, &ignored))
            return false;
    if (whole)
        return true;
    if (!tlb_fetch_page(t, t->pc_page + 4096, pc, second))
        return false;
    p->page2 = second->page;
    return true;
}

/* At t->pc_page. */
static struct plan *start_plan(struct tcg_cpu *t, const struct fetch_place *at, uint32_t flags)
{
    struct plan *p = t->plan;
    p->t = t;
    p->page = p->bytes = at->page;
    p->page2 = NULL;
    p->pc_page = t->pc_page;
    p->flags = flags;
    p->forward_only = t->stepping || flags & UNIT_ALONE;
    return p;
}

struct unit *translate_find(struct tcg_cpu *t, uint64_t pc)
{
    struct tcg *tcg = t->tcg;
    int32_t off = pc & 4095;
    struct fetch_place at, second = { 0 };
    if (!tlb_fetch_page(t, pc, pc, &at))
        return NULL;
    uint32_t flags = t->fetch_now->flags;
    if (at.partial || t->alone || t->single)
        flags |= UNIT_ALONE;
    else if (t->debug)
        flags |= debug_unit_flag(t, pc);
    t->pc_page = pc & ~(uint64_t)4095;
    struct unit *u = cache_find(tcg, at.page, off, flags);
    if (u && !u->page2 && !at.partial)
        return u;

    struct plan *p = start_plan(t, &at, flags);
    if (!fetch_rest(t, p, pc, at.partial, &second))
        return NULL;
    if (u && u->page2 == p->page2)
        return u;
    if (!tcg->helps && (watch_page(t, &at) || (p->page2 && watch_page(t, &second))))
        return NULL;

    bool room = true;
    pthread_mutex_lock(&tcg->lock);
    unsigned part = tcg->part;
    u = cache_find(tcg, at.page, off, flags);
    if (u && u->page2 != p->page2) { /* the second page is another one in this address space */
        cache_kill(tcg, u);
        u = NULL;
    }
    if (!u && (tcg->helps || (is_watched(tcg, &at) && (!p->page2 || is_watched(tcg, &second)))))
        u = translate(t, p, off, &room);
    pthread_mutex_unlock(&tcg->lock);
    if (!room)
        cache_make_room(t, part);
    return u;
}

/* As translate_find, where nobody has to be waited for: on a page that is watched already, if there is room. */
static struct unit *find_now(struct tcg_cpu *t, uint64_t pc, const struct fetch_place *at,
                             uint32_t flags)
{
    struct tcg *tcg = t->tcg;
    int32_t off = pc & 4095;
    bool room = true;
    struct unit *u = cache_find(tcg, at->page, off, flags);
    if (u)
        return u->page2 ? NULL : u;
    if (t->alone || t->single || t->debug || tcg->helps || !is_watched(tcg, at) ||
        4096 - off < (int32_t)t->target->max_insn_len)
        return NULL;
    t->pc_page = pc & ~(uint64_t)4095;
    struct plan *p = start_plan(t, at, flags);
    pthread_mutex_lock(&tcg->lock);
    u = cache_find(tcg, at->page, off, flags);
    if (!u && is_watched(tcg, at))
        u = translate(t, p, off, &room);
    pthread_mutex_unlock(&tcg->lock);
    return u;
}

const void *translate_lookup(struct tcg_cpu *t, uint64_t pc)
{
    struct fetch_place at;
    if (!tlb_fetch_page(t, pc, pc, &at) || at.partial)
        return NULL;
    uint32_t flags = t->fetch_now->flags | (t->debug ? debug_unit_flag(t, pc) : 0);
    if (flags & UNIT_ALONE)
        return NULL;
    const void *code = tlb_jump_renew(t, pc, at.page, flags);
    if (code)
        return code;
    const struct unit *u = find_now(t, pc, &at, flags);
    if (!u)
        return NULL;
    tlb_jump_insert(t, pc, u);
    return u->entry;
}

struct unit *translate_link(struct tcg_cpu *t, const struct link *l, uint64_t pc)
{
    struct fetch_place at;
    uint32_t flags = t->fetch_now->flags;
    if (flags != l->from->flags || tlb_code_page(t, pc) != l->from->page ||
        !tlb_fetch_page(t, pc, pc, &at) || at.partial)
        return NULL;
    return find_now(t, pc, &at, flags);
}

unsigned plan_insn(const struct plan *p, unsigned k, int32_t *off, uint8_t bytes[32])
{
    if (k >= p->n + p->inlined.n_insns)
        return 0;
    const struct found *f = k < p->n ? plan_at(p, k) : &p->inlined.insns[k - p->n];
    *off = f->off;
    for (unsigned i = 0; i < f->scan.len; i++) {
        int32_t at = *off + (int32_t)i;
        bytes[i] = at < 4096 ? p->page[at] : p->page2[at - 4096];
    }
    return f->scan.len;
}

/* At most `limit` instructions, and fewer if they are too much. False: there is none. */
static bool build_most(struct plan *p, struct ir *ir, int32_t off, unsigned limit)
{
    p->limit = limit;
    do {
        make_plan(p, off);
        if (!p->n)
            return false;
        build(p, ir);
        p->limit = (p->limit + 1) / 2;
    } while (ir->overflow);
    return true;
}

static void tell_calls(const struct plan *p, const struct ir_teller *tell)
{
    for (unsigned k = 0; k < p->inlined.n_calls; k++) {
        const struct inlined_call *c = &p->inlined.calls[k];
        if (c->made)
            tell->call(tell->opaque, c->off, c->to, c->n);
    }
}

bool translate_again(struct tcg_cpu *t, uint64_t pc, const uint8_t *page, const uint8_t *page2,
                     struct plan *p, struct ir *ir, const struct unit **u,
                     const struct ir_teller *tell)
{
    int32_t off = pc & 4095;
    struct insn_scan scan;
    uint32_t flags = tcg_flags(t) | (t->counting ? UNIT_COUNTS : 0);
    flags |= t->debug ? debug_unit_flag(t, pc) : 0;
    p->t = t;
    p->page = p->bytes = page;
    p->pc_page = pc & ~(uint64_t)4095;
    p->flags = flags;
    p->forward_only = t->stepping || flags & UNIT_ALONE;
    if (!scan_one(p, off, &scan))
        p->page2 = page2;
    *u = cache_find(t->tcg, page, off, flags);
    p->guess = *u ? (*u)->guess : 0;
    bool one = p->page2 || flags & UNIT_ALONE || t->tcg->single_insn;
    bool hot = *u && (*u)->hot;
    unsigned limit = *u ? (*u)->n_insns : one ? 1 : t->tcg->max_insns;
    if (!hot) { /* what would become of it */
        p->hot = !one && wants_copies(p);
        if (!build_most(p, ir, off, limit))
            return false;
        tell_calls(p, tell);
        optimise(t->tcg, p, ir, true, 0, tell);
    }
    p->hot = hot && (*u)->hot_plan;
    if (!build_most(p, ir, off, limit))
        return false;
    if (hot)
        tell_calls(p, tell);
    optimise(t->tcg, p, ir, hot, cache_apart(t->tcg, page), hot ? tell : NULL);
    return true;
}

struct plan *plan_new(void)
{
    return xcalloc(1, sizeof(struct plan));
}
