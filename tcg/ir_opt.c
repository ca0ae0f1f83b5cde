/* Passes over a built unit. */
#include "core/util.h"
#include "tcg/ir.h"

#include <string.h>

static uint16_t guest_block_at(const struct ir *ir, const struct ir_block *from, int64_t off)
{
    for (uint16_t i = 0; i < ir->n_blocks; i++)
        if (ir->blocks[i].guest && ir->blocks[i].off == off &&
            (!ir->forward_only || ir->blocks[i].first > from->first))
            return i;
    return IR_NONE;
}

/* Jumps to addresses whose block is in the unit become jumps to that block. Calls leave the unit, so
 * that the callee's return finds its frame. */
void ir_resolve(struct ir *ir)
{
    for (uint16_t i = 0; i < ir->n_blocks; i++) {
        struct ir_block *from = &ir->blocks[i];
        if (!from->n)
            continue;
        struct ir_op *op = &ir->ops[from->first + from->n - 1];
        if (op->code == IR_jump && op->c == IR_NONE && op->x != IR_HINT_CALL)
            op->c = guest_block_at(ir, from, op->imm);
        if (op->code == IR_branch && op->c == IR_NONE && op->d == IR_NONE) {
            op->c = guest_block_at(ir, from, op->imm);
            op->d = guest_block_at(ir, from, op->imm2);
        }
        if (op->code == IR_jump || op->code == IR_branch) {
            if (op->c != IR_NONE && ir->blocks[op->c].first <= from->first)
                ir->blocks[op->c].loops = true;
            if (op->code == IR_branch && op->d != IR_NONE && ir->blocks[op->d].first <= from->first)
                ir->blocks[op->d].loops = true;
        }
    }
}

static void use(struct ir *ir, ir_val v)
{
    if (v != IR_NONE && ir->ops[v].uses < 255)
        ir->ops[v].uses++;
}

/* Can the state of slots be looked at when this operation runs? */
static bool observes_slots(const struct ir_op *op)
{
    if (op->code == IR_call)
        return ((const struct ir_helper *)(intptr_t)op->imm)->flags &
               (IR_CALL_READS | IR_CALL_RAISES | IR_CALL_WRITES);
    return ir_op_infos[op->code].flags & IR_MAY_FAULT;
}

/* Slots that are overwritten before anybody can look, from the start of each block on. */
struct overwritten {
    bool known[IR_MAX_BLOCKS];
    uint64_t from[IR_MAX_BLOCKS][2];
};

/* What a way to block `to` overwrites; at the heads of loops and of the unit somebody may look. */
static void meet(const struct ir *ir, const struct overwritten *o, ir_val to, uint64_t met[2])
{
    bool looks = to == IR_NONE || to == 0 || ir->blocks[to].loops || !o->known[to];
    for (unsigned k = 0; k < 2; k++)
        met[k] = looks ? 0 : met[k] & o->from[to][k];
}

static void overwritten_behind(const struct ir *ir, const struct overwritten *o,
                               const struct ir_block *b, uint64_t met[2])
{
    const struct ir_op *end = &ir->ops[b->first + b->n - 1];
    met[0] = met[1] = ~(uint64_t)0;
    if (end->code != IR_jump && end->code != IR_branch)
        meet(ir, o, IR_NONE, met);
    else
        meet(ir, o, end->c, met);
    if (end->code == IR_branch)
        meet(ir, o, end->d, met);
}

/* Backwards through one block: a set that is overwritten before anybody can look is dead, and so is
 * a value that nobody uses. Dead operations become constants without uses, which back ends skip. */
static void drop_dead(struct ir *ir, struct overwritten *o, uint16_t block)
{
    const struct ir_block *b = &ir->blocks[block];
    uint64_t *overwritten = o->from[block];
    if (!b->n)
        return;
    overwritten_behind(ir, o, b, overwritten);
    o->known[block] = true;
    for (uint16_t i = b->first + b->n; i-- > b->first;) {
        struct ir_op *op = &ir->ops[i];
        if (op->code == IR_const)
            continue;
        unsigned n = ir_n_operands(op);
        bool dead = !(ir_properties(op) & (IR_EFFECT | IR_END | IR_MAY_FAULT | IR_FP)) && !op->uses;
        if (op->code == IR_call && !op->uses)
            dead = ((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_PURE;
        if (op->code == IR_set) {
            uint64_t bit = (uint64_t)1 << (op->imm & 63);
            dead = overwritten[op->imm >> 6] & bit;
            overwritten[op->imm >> 6] |= bit;
        } else if (observes_slots(op)) {
            overwritten[0] = overwritten[1] = 0;
        } else if (op->code == IR_get) {
            overwritten[op->imm >> 6] &= ~((uint64_t)1 << (op->imm & 63));
        }
        if (dead) {
            *op = (struct ir_op){ .code = IR_const,
                                  .type = IR_I64,
                                  .a = IR_NONE,
                                  .b = IR_NONE,
                                  .c = IR_NONE,
                                  .d = IR_NONE };
            continue;
        }
        const ir_val v[4] = { op->a, op->b, op->c, op->d };
        for (unsigned k = 0; k < n; k++)
            use(ir, v[k]);
    }
}

void ir_drop_dead(struct ir *ir)
{
    struct overwritten o;
    memset(o.known, 0, ir->n_blocks);
    for (uint16_t i = ir->n_blocks; i-- > 0;)
        drop_dead(ir, &o, i);
}

void ir_finish(struct ir *ir)
{
    ir_resolve(ir);
    ir_drop_dead(ir);
}

/* ---- shared TLB checks ---------------------------------------------------------------------------- */

enum { GROUPS = 4, SPAN_MAX = 1024 };

struct group {
    ir_val base;
    uint16_t leader;
    int64_t lo, hi; /* from base */
    uint16_t members[32];
    unsigned n;
    bool writes;
};

static void close_group(struct ir *ir, struct group *g)
{
    if (g->n > 1) {
        struct ir_op *leader = &ir->ops[g->leader];
        leader->imm2 = IR_SPAN(g->lo - leader->imm, g->hi - leader->imm);
        if (g->writes)
            leader->x |= IR_SPAN_WRITES;
        for (unsigned i = 0; i < g->n; i++)
            ir->ops[g->members[i]].d = g->leader;
    }
    g->n = 0;
}

static void join_or_open(struct ir *ir, struct group groups[GROUPS], uint16_t i)
{
    struct ir_op *op = &ir->ops[i];
    int64_t lo = op->imm, hi = op->imm + ir_access_bytes(op->shape);
    struct group *g = NULL, *oldest = &groups[0];
    for (unsigned k = 0; k < GROUPS; k++) {
        if (groups[k].n && groups[k].base == op->a)
            g = &groups[k];
        if (!groups[k].n || (oldest->n && groups[k].leader < oldest->leader))
            oldest = &groups[k];
    }
    if (g) {
        int64_t new_lo = MIN(g->lo, lo), new_hi = MAX(g->hi, hi);
        if (new_hi - new_lo <= SPAN_MAX && g->n < ARRAY_LEN(g->members) &&
            ((ir->ops[g->leader].x ^ op->x) & IR_MODE_MASK) == 0) {
            g->lo = new_lo;
            g->hi = new_hi;
            g->members[g->n++] = i;
            g->writes |= op->code == IR_store;
            return;
        }
        oldest = g;
    }
    close_group(ir, oldest);
    *oldest = (struct group){ .base = op->a,
                              .leader = i,
                              .lo = lo,
                              .hi = hi,
                              .members = { i },
                              .n = 1,
                              .writes = op->code == IR_store };
}

/* May the TLB or the memory map change while this operation runs? */
static bool disturbs_tlb(const struct ir_op *op)
{
    return op->code == IR_call &&
           !(((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_PURE);
}

void ir_group_accesses(struct ir *ir, uint64_t apart)
{
    uint16_t insn = 0;
    for (uint16_t n = 0; n < ir->n_blocks; n++) {
        const struct ir_block *b = &ir->blocks[n];
        struct group groups[GROUPS] = { 0 };
        for (uint16_t i = b->first; i < b->first + b->n; i++) {
            const struct ir_op *op = &ir->ops[i];
            while (insn + 1 < ir->n_insns && ir->insns[insn + 1].op <= i)
                insn++;
            if (ir->n_insns && apart >> (ir->insns[insn].off >> 6 & 63) & 1)
                continue;
            if ((op->code == IR_load || op->code == IR_store) &&
                !(op->shape & (IR_ACQUIRE | IR_RELEASE)) &&
                (!(op->shape & IR_ALIGNED) || op->type == IR_V128))
                join_or_open(ir, groups, i);
            else if (disturbs_tlb(op))
                for (unsigned k = 0; k < GROUPS; k++)
                    close_group(ir, &groups[k]);
        }
        for (unsigned k = 0; k < GROUPS; k++)
            close_group(ir, &groups[k]);
    }
}
