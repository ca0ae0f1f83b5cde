/* Where values are while a block is generated: registers, slots, spills; and the code off the straight
 * way that brings them back. */
#include "tcg/host/x86_64/gen.h"

/* ---- values in registers ----------------------------------------------------------------------- */

void put_value(struct gen *g, ir_val v, unsigned r)
{
    g->loc[v] = (struct loc){ .kind = LOC_REG, .reg = r };
    g->held[r] = v;
    if (r >= XMM0 && ir_type_of(g->ir, v) == IR_V256)
        g->wide = true;
}

/* From one vector register to another. */
void copy_vector(struct gen *g, enum ir_type type, unsigned to, unsigned from)
{
    if (type == IR_V256)
        move_ymm(&g->b, to, from);
    else
        movaps(&g->b, to, from);
}

/* Between a vector register and memory. What is neither V128 nor V256 is moved as 64 bits. */
void move_vector(struct gen *g, enum ir_type type, unsigned x, struct mem m, bool store)
{
    if (type == IR_V256)
        move_ymm_rm(&g->b, x, m, store);
    else if (type == IR_V128)
        move_rm(&g->b, 0, store ? 0x11 : 0x10, x, m); /* movups */
    else if (store)
        movs_mx(&g->b, true, m, x);
    else
        movs_xm(&g->b, true, x, m);
}

/* Is a slot to become this value? */
static bool is_owed(const struct gen *g, ir_val v)
{
    for (unsigned k = 0; k < g->n_owed; k++)
        if (g->owed[k].v == v)
            return true;
    return false;
}

/* Slot `slot` becomes v, which slow ways store from where v is then. False: there is no room. */
bool owe(struct gen *g, ir_val v, unsigned slot, uint16_t end)
{
    if (g->n_owed == MAX_OWED)
        return false;
    g->owed[g->n_owed++] = (struct owed){ v, end, (uint8_t)slot };
    return true;
}

/* Slot `slot`, which is in memory, holds v, too: its register can be given up for nothing. */
void also_in(struct gen *g, ir_val v, unsigned slot)
{
    g->copy[slot] = v;
    g->copy_in[v] = (uint8_t)(slot + 1);
}

/* The value in register r is stored to the slots that are to become it; the last one is its place now, unless they take
 * but its upper half. */
static void pay(struct gen *g, unsigned r)
{
    ir_val v = g->held[r];
    unsigned n = 0;
    for (unsigned k = 0; k < g->n_owed; k++) {
        if (g->owed[k].v != v) {
            g->owed[n++] = g->owed[k];
            continue;
        }
        unsigned slot = g->owed[k].slot;
        if (r >= XMM0) {
            extract_upper_m(&g->b, slot_mem(g, slot), r - XMM0);
            continue;
        }
        mov_mr(&g->b, true, slot_mem(g, slot), r);
        g->copy[slot] = IR_NONE;
        if (g->loc[v].kind == LOC_SLOT)
            g->lazy[g->loc[v].n] = IR_NONE;
        g->loc[v] = (struct loc){ .kind = LOC_SLOT, .n = (uint16_t)slot };
        g->lazy[slot] = v;
    }
    g->n_owed = n;
}

/* Behind an operation: what it set anew is no longer owed. */
void forget_owed(struct gen *g)
{
    for (unsigned k = 0; k < g->n_owed;) {
        struct owed o = g->owed[k];
        if (o.end > g->i) {
            k++;
            continue;
        }
        g->owed[k] = g->owed[--g->n_owed];
        release(g, o.v);
    }
}

/* The addend of a shared check in register r goes to memory, if it is wanted again and not there already. */
static void save_addend(struct gen *g, unsigned n, unsigned r)
{
    uint32_t used = 0;
    g->groups[n].reg = -1;
    if (g->groups[n].saved >= 0 || g->groups[n].last <= g->i)
        return;
    for (unsigned q = 0; q < g->n_groups; q++)
        if (g->groups[q].saved >= 0 && g->groups[q].last >= g->i)
            used |= 1u << g->groups[q].saved;
    unsigned free = (unsigned)__builtin_ctz(~used);
    if (free >= ADDENDS)
        return;
    mov_mr(&g->b, true, saved_addend_mem((int)free), r);
    g->groups[n].saved = (int8_t)free;
}

/* Give up register r: its value goes to where it can be found again. */
void evict(struct gen *g, unsigned r)
{
    ir_val v = g->held[r];
    g->held[r] = IR_NONE;
    if (v == IR_NONE)
        return;
    if (v >= GROUP_VALUE) {
        save_addend(g, v - GROUP_VALUE, r);
        return;
    }
    if (g->ir->ops[v].code == IR_const) {
        g->loc[v].kind = LOC_CONST;
        return;
    }
    if (is_owed(g, v)) {
        g->held[r] = v;
        pay(g, r);
        g->held[r] = IR_NONE;
        if (r < XMM0 || g->last_use[v] < g->i)
            return;
    }
    unsigned slot = g->copy_in[v] - 1u;
    if (g->copy_in[v] && g->copy[slot] == v && g->lazy[slot] == IR_NONE) {
        g->loc[v] = (struct loc){ .kind = LOC_SLOT, .n = (uint16_t)slot };
        g->lazy[slot] = v;
        return;
    }
    unsigned n = __builtin_ctzll(~g->spill_used);
    if (n >= SPILLS) {
        g->failed = true;
        return;
    }
    g->spill_used |= (uint64_t)1 << n;
    if (r >= XMM0)
        move_vector(g, ir_type_of(g->ir, v), r - XMM0, spill_mem(n), true);
    else
        mov_mr(&g->b, true, spill_mem(n), r);
    g->loc[v] = (struct loc){ .kind = LOC_SPILL, .n = n };
}

static uint32_t value_end(const struct gen *g, ir_val v)
{
    return v >= GROUP_VALUE ? g->groups[v - GROUP_VALUE].last : g->last_use[v];
}

/* A free scratch register, locked. If there is none, the value used latest gives way. */
unsigned take(struct gen *g, bool fp)
{
    const uint8_t *regs = fp ? temp_xmms : temp_gprs;
    unsigned n = fp ? ARRAY_LEN(temp_xmms) : ARRAY_LEN(temp_gprs);
    int best = -1;
    uint32_t best_end = 0;
    for (unsigned k = 0; k < n; k++) {
        unsigned r = regs[k];
        if (g->locked >> r & 1)
            continue;
        if (g->held[r] == IR_NONE) {
            best = r;
            break;
        }
        uint32_t end = value_end(g, g->held[r]) + 1;
        if (g->held[r] >= GROUP_VALUE)
            end += 8; /* cheap to lose */
        if (end > best_end) {
            best_end = end;
            best = r;
        }
    }
    if (best < 0) {
        g->failed = true;
        return regs[0];
    }
    evict(g, best);
    g->locked |= 1u << best;
    return best;
}

/* The addend of a shared check in some register, locked; -1: it is nowhere. */
int use_addend(struct gen *g, unsigned n)
{
    if (g->groups[n].reg < 0 && g->groups[n].saved >= 0) {
        unsigned r = take(g, false);
        mov_rm(&g->b, true, r, saved_addend_mem(g->groups[n].saved));
        g->groups[n].reg = (int8_t)r;
        g->held[r] = (ir_val)(GROUP_VALUE + n);
    }
    if (g->groups[n].reg >= 0)
        g->locked |= 1u << g->groups[n].reg;
    return g->groups[n].reg;
}

/* Exactly this register, emptied and locked. What it held moves to another. */
void take_exact(struct gen *g, unsigned r)
{
    ir_val v = g->held[r];
    g->locked |= 1u << r;
    if (v == IR_NONE)
        return;
    if (v >= GROUP_VALUE || g->ir->ops[v].code == IR_const ||
        (g->last_use[v] < g->i && is_owed(g, v))) {
        evict(g, r);
        return;
    }
    unsigned to = take(g, r >= XMM0);
    g->locked &= ~(1u << to);
    g->held[r] = IR_NONE;
    if (r >= XMM0)
        copy_vector(g, ir_type_of(g->ir, v), to - XMM0, r - XMM0);
    else
        mov_rr(&g->b, true, to, r);
    put_value(g, v, to);
}

/* x = op(x, x): of all of the register or, with zeros above, of 16 bytes. */
static void vector_own(struct gen *g, uint8_t prefix, uint8_t op, unsigned x, bool all)
{
    if (g->b.vex)
        vex_rr(&g->b, vex_prefix(prefix) | (all ? VEX_256 : 0), 1, false, op, x, x, x);
    else
        sse_rr(&g->b, prefix, op, x, x);
}

static void vector_const(struct gen *g, ir_val v, unsigned x)
{
    const struct ir_op *op = &g->ir->ops[v];
    bool all = op->type == IR_V256;
    if (op->imm == 0) {
        vector_own(g, 0, 0x57, x, false); /* xorps */
    } else if (op->imm == -1) {
        vector_own(g, 0x66, 0x76, x, all); /* pcmpeqd */
    } else {
        unsigned t = take(g, false);
        mov_ri(&g->b, t, op->imm);
        mov_xr(&g->b, true, x, t);
        g->locked &= ~(1u << t);
        if (op->type == IR_V128)
            vector_own(g, 0x66, 0x6c, x, false); /* punpcklqdq */
        else if (all)
            vex_rr(&g->b, 1 | VEX_256, 2, false, 0x59, x, 0, x); /* vpbroadcastq */
    }
}

void load_into(struct gen *g, ir_val v, unsigned r)
{
    struct loc l = g->loc[v];
    switch (l.kind) {
    case LOC_CONST:
        if (r >= XMM0)
            vector_const(g, v, r - XMM0);
        else
            mov_ri(&g->b, r, g->ir->ops[v].imm);
        break;
    case LOC_REG:
        if (r >= XMM0)
            copy_vector(g, ir_type_of(g->ir, v), r - XMM0, l.reg - XMM0);
        else
            mov_rr(&g->b, true, r, l.reg);
        break;
    case LOC_SLOT:
    case LOC_SPILL: {
        struct mem m = l.kind == LOC_SLOT ? slot_mem(g, l.n) : spill_mem(l.n);
        if (r >= XMM0)
            move_vector(g, ir_type_of(g->ir, v), r - XMM0, m, false);
        else
            mov_rm(&g->b, true, r, m);
        break;
    }
    default: g->failed = true;
    }
}

/* The value in some register, locked for this operation. */
unsigned use(struct gen *g, ir_val v)
{
    v = resolve(g->ir, v);
    struct loc l = g->loc[v];
    if (l.kind == LOC_REG) {
        g->locked |= 1u << l.reg;
        return l.reg;
    }
    bool fp = is_fp(ir_type_of(g->ir, v));
    unsigned r = take(g, fp);
    load_into(g, v, r);
    if (l.kind == LOC_SPILL)
        g->spill_used &= ~((uint64_t)1 << l.n);
    if (l.kind == LOC_SLOT) {
        g->lazy[l.n] = IR_NONE;
        also_in(g, v, l.n);
    }
    put_value(g, v, r);
    return r;
}

static bool dies_here(const struct gen *g, ir_val v)
{
    return g->last_use[v] <= g->i && !is_owed(g, v);
}

/* Nobody needs it behind the current operation. */
bool is_last_use(const struct gen *g, ir_val v)
{
    return dies_here(g, v);
}

static bool has_free_temp(const struct gen *g)
{
    for (unsigned k = 0; k < ARRAY_LEN(temp_gprs); k++)
        if (g->held[temp_gprs[k]] == IR_NONE && !(g->locked >> temp_gprs[k] & 1))
            return true;
    return false;
}

/* A value in a pinned register that is about to change and is still needed moves to scratch. */
void save_alias(struct gen *g, unsigned r)
{
    ir_val v = g->held[r];
    if (v == IR_NONE)
        return;
    if (g->last_use[v] <= g->i && is_owed(g, v) && (r >= XMM0 || !has_free_temp(g)))
        pay(g, r);
    g->held[r] = IR_NONE;
    if (dies_here(g, v))
        return;
    unsigned t = take(g, r >= XMM0);
    g->locked &= ~(1u << t);
    g->loc[v].kind = LOC_REG;
    g->loc[v].reg = r;
    load_into(g, v, t);
    put_value(g, v, t);
}

/* Where the result of the current operation goes: the pinned register it is wanted in, an operand's
 * register that is free from now on (reuse), or a fresh one. Becomes the value's place at once, so
 * operands that share it must have been read into the instruction already or be equal to it. */
unsigned def(struct gen *g, ir_val reuse)
{
    bool fp = is_fp(ir_type_of(g->ir, g->i));
    unsigned r;
    if (g->hint[g->i] != 255) {
        r = g->hint[g->i];
        save_alias(g, r);
        g->uppers &= ~(1u << r);
    } else {
        r = 255;
        if (reuse != IR_NONE) {
            ir_val v = resolve(g->ir, reuse);
            if (g->loc[v].kind == LOC_REG && is_temp(g->loc[v].reg) && dies_here(g, v) &&
                (g->loc[v].reg >= XMM0) == fp)
                r = g->loc[v].reg;
        }
        if (r == 255)
            r = take(g, fp);
    }
    g->locked |= 1u << r;
    put_value(g, g->i, r);
    return r;
}

/* The result of the current operation is in r, an integer register locked for it: it stays there or
 * moves to where it is wanted. */
void result_in(struct gen *g, unsigned r)
{
    if (g->hint[g->i] == 255)
        put_value(g, g->i, r);
    else
        mov_rr(&g->b, true, def(g, IR_NONE), r);
}

void release(struct gen *g, ir_val v)
{
    if (v == IR_NONE)
        return;
    v = resolve(g->ir, v);
    if (!dies_here(g, v))
        return;
    struct loc l = g->loc[v];
    if (l.kind == LOC_REG && g->held[l.reg] == v)
        g->held[l.reg] = IR_NONE;
    if (l.kind == LOC_SPILL)
        g->spill_used &= ~((uint64_t)1 << l.n);
    if (l.kind == LOC_SLOT && g->lazy[l.n] == v)
        g->lazy[l.n] = IR_NONE;
    g->loc[v].kind = g->ir->ops[v].code == IR_const ? LOC_CONST : LOC_NONE;
}

bool const_of(const struct gen *g, ir_val v, int64_t *c)
{
    return ir_is_const(g->ir, resolve(g->ir, v), c);
}

bool const32_of(const struct gen *g, ir_val v, int64_t *c)
{
    return const_of(g, v, c) && *c == (int32_t)*c;
}

/* A value that can be a memory operand: in its slot or spilled, and not needed in a register later. */
bool in_memory(const struct gen *g, ir_val v, struct mem *m)
{
    v = resolve(g->ir, v);
    struct loc l = g->loc[v];
    if (g->last_use[v] > g->i)
        return false;
    if (l.kind == LOC_SLOT)
        *m = slot_mem(g, l.n);
    else if (l.kind == LOC_SPILL)
        *m = spill_mem(l.n);
    else
        return false;
    return true;
}

/* ---- cold code ----------------------------------------------------------------------------------- */

struct cold *cold_new(struct gen *g, enum cold_kind kind)
{
    if (g->n_cold == MAX_COLD) {
        g->failed = true;
        g->n_cold--;
    }
    struct cold *c = &g->cold[g->n_cold++];
    c->kind = kind;
    c->n_from = c->n_owed = 0;
    c->wide = g->wide;
    c->resume = NULL;
    return c;
}

void cold_from(struct cold *c, uint8_t *at)
{
    c->from[c->n_from++] = at;
}

static const struct ir_insn *current_insn(const struct gen *g)
{
    return &g->ir->insns[g->insn];
}

uint8_t arg_code(struct gen *g, struct cold *c, unsigned k, ir_val v)
{
    if (v == IR_NONE)
        return ARG_NONE;
    v = resolve(g->ir, v);
    switch (g->loc[v].kind) {
    case LOC_CONST:
        if (c->site.kind == SLOW_CALL)
            c->site.consts[k] = g->ir->ops[v].imm;
        else
            c->site.helper = (uint64_t)g->ir->ops[v].imm; /* the value of a store */
        return ARG_CONST + k;
    case LOC_SPILL: return ARG_SPILL + g->loc[v].n;
    default: return use(g, v);
    }
}

/* A slow call standing for the current operation. Operands must have their final places. */
struct cold *cold_slow(struct gen *g, enum slow_kind kind, unsigned dst)
{
    const struct ir_op *op = &g->ir->ops[g->i];
    struct cold *c = cold_new(g, COLD_SLOW);
    const struct ir_insn *insn = current_insn(g);
    c->site = (struct slow_site){
        .kind = kind,
        .code = op->code,
        .type = op->type,
        .cc = op->cc,
        .x = op->x,
        .shape = op->shape,
        .dst = dst,
        .group = ARG_NONE,
        .windows = g->ir->blocks[g->block].windows,
        .off = insn->off,
        .undo = g->ir->blocks[g->block].n_insns - g->insns_done,
        .imm = (int32_t)op->imm,
        .arg = { ARG_NONE, ARG_NONE, ARG_NONE, ARG_NONE },
    };
    if (op->code != IR_call)
        c->site.x &= ~IR_SPAN_WRITES;
    return c;
}

/* What is owed now this cold code is to pay. */
void note_owed(const struct gen *g, struct cold *c)
{
    for (unsigned k = 0; k < g->n_owed; k++) {
        struct loc l = g->loc[g->owed[k].v];
        c->owed[k].slot = g->owed[k].slot;
        c->owed[k].reg = l.kind == LOC_REG ? (int8_t)l.reg : NOREG;
        c->owed[k].value = (int32_t)g->ir->ops[g->owed[k].v].imm;
    }
    c->n_owed = (uint8_t)g->n_owed;
}

/* Behind the slow call of a memory access: what is owed now it pays. It may push out of the TLB what a shared check relies on:
 * then another vCPU could begin to watch the page for writes and not know that we may still write. */
void slow_resumes(struct gen *g, struct cold *c)
{
    c->wide = g->wide;
    for (unsigned q = 0; q < g->n_groups; q++)
        if (g->groups[q].reg >= 0)
            c->site.live_groups |= 1u << g->groups[q].reg;
    note_owed(g, c);
    c->resume = g->b.p;
}

/* Only to code on the same guest page: elsewhere the mapping may change under the link. */
bool can_link(const struct gen *g, int32_t off)
{
    return may_link(g->tcg->target, off);
}

struct link *new_link(struct gen *g, int32_t off, bool linkable)
{
    struct link *l = &g->unit->links[g->n_links++];
    *l = (struct link){ .from = g->unit, .off = off };
    l->jump_at = linkable;
    return l;
}

void put_link(struct gen *g, uint8_t *at, struct link *l)
{
    struct cold *c = cold_new(g, COLD_EXIT);
    cold_from(c, at);
    c->link = l;
    if (l->jump_at)
        l->jump_at = at - g->tcg->rw;
}

/* The displacement of the next jump must be aligned, so that a patch is one store to all who execute
 * it meanwhile. `skip`: bytes before the displacement. */
void align_patch(struct gen *g, unsigned skip)
{
    static const char nops[][4] = { "", "\x90", "\x66\x90", "\x0f\x1f\x00" };
    unsigned n = -(uintptr_t)(g->b.p + skip) & 3;
    put_bytes(&g->b, nops[n], n);
}

/* ---- what depends on where the unit, or this program, stands -------------------------------------- */

void note_reloc(struct gen *g, const uint8_t *at, enum reloc_kind kind)
{
    struct relocs *r = &g->tcg->relocs;
    if (r->n < MAX_RELOCS)
        r->at[r->n] = (struct reloc){ (uint32_t)(at - g->tcg->rw) - g->unit->code_at, kind };
    r->n++;
}

/* The jump or call with its displacement at `at` goes to a piece that all units share. */
void to_shared(struct gen *g, uint8_t *at, uint32_t piece)
{
    patch_to(at, g->tcg->rw + piece);
    note_reloc(g, at, RELOC_SHARED);
}

/* Always with 64 bits, so that it can become another one. */
void mov_address(struct gen *g, unsigned r, const void *p, enum reloc_kind kind)
{
    put8(&g->b, 0x48 | r >> 3);
    put8(&g->b, 0xb8 | (r & 7));
    note_reloc(g, g->b.p, kind);
    put64(&g->b, (uintptr_t)p);
}
