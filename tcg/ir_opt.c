/* Passes over a built unit. */
#include "core/util.h"
#include "tcg/ir.h"

#include <string.h>

static uint16_t guest_block_at(const struct ir *ir, const struct ir_block *from, int64_t off)
{
    for (uint16_t i = 0; i < ir->n_blocks; i++)
        if (ir->blocks[i].guest && !ir->blocks[i].inlined && ir->blocks[i].off == off &&
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
        if (op->code == IR_jumpi && op->x == IR_HINT_INLINED)
            op->c = guest_block_at(ir, from, op->imm2);
        if (op->code == IR_jump || op->code == IR_branch || op->code == IR_jumpi) {
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

static unsigned helper_flags(const struct ir_op *call)
{
    return ((const struct ir_helper *)(intptr_t)call->imm)->flags;
}

/* Slots that are overwritten before anybody can look, from the start of each block on; and values whose upper half somebody
 * looks at, of operations that were seen already. */
struct overwritten {
    bool upper[IR_MAX_OPS];
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

/* Does nobody miss this operation, whose result is not used? */
static bool is_idle(const struct ir_op *op)
{
    if (op->code == IR_call)
        return helper_flags(op) & IR_CALL_PURE;
    return !(ir_properties(op) & (IR_EFFECT | IR_END | IR_MAY_FAULT | IR_FP));
}

/* What this operation leaves to be seen of slots set before it: takes it out of `overwritten`, or adds what
 * it sets or forgets. True if that was overwritten already. */
static bool follow_slots(const struct ir_op *op, uint64_t overwritten[2])
{
    uint64_t bit = (uint64_t)1 << (op->imm & 63);
    bool was;
    switch (op->code) {
    case IR_set:
    case IR_forget:
        was = overwritten[op->imm >> 6] & bit;
        overwritten[op->imm >> 6] |= bit;
        return was;
    case IR_get: overwritten[op->imm >> 6] &= ~bit; return false;
    case IR_call:
        if (helper_flags(op) & (IR_CALL_READS | IR_CALL_RAISES | IR_CALL_WRITES))
            overwritten[0] = overwritten[1] = 0;
        return false;
    default:
        if (ir_op_infos[op->code].flags & IR_MAY_FAULT)
            overwritten[0] = overwritten[1] = 0;
        return false;
    }
}

/* Does the k-th operand's upper half matter, if that of the result does or not? */
static bool takes_upper(const struct ir_op *op, unsigned k, bool upper)
{
    switch (op->code) {
    case IR_trunc: return false;
    case IR_and:
    case IR_or:
    case IR_xor:
    case IR_add:
    case IR_sub:
    case IR_mul: return upper;
    case IR_shl: return k || upper;
    case IR_select: return !k || upper;
    default: return true;
    }
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
        if ((!op->uses && is_idle(op)) || follow_slots(op, overwritten)) {
            *op = (struct ir_op){ .code = IR_const,
                                  .type = IR_I64,
                                  .a = IR_NONE,
                                  .b = IR_NONE,
                                  .c = IR_NONE,
                                  .d = IR_NONE };
            continue;
        }
        if (op->code == IR_sext32)
            op->x = o->upper[i] ? 0 : IR_LOW_ONLY;
        const ir_val v[4] = { op->a, op->b, op->c, op->d };
        for (unsigned k = 0, n = ir_n_operands(op); k < n; k++) {
            use(ir, v[k]);
            if (v[k] != IR_NONE && takes_upper(op, k, o->upper[i]))
                o->upper[v[k]] = true;
        }
    }
}

void ir_drop_dead(struct ir *ir)
{
    struct overwritten o;
    memset(o.known, 0, ir->n_blocks);
    memset(o.upper, 0, ir->n_ops);
    for (uint16_t i = ir->n_blocks; i-- > 0;)
        drop_dead(ir, &o, i);
}

void ir_finish(struct ir *ir)
{
    ir_resolve(ir);
    ir_drop_dead(ir);
}

/* ---- chains of blocks ------------------------------------------------------------------------------ */

static void note_way(uint8_t ways[IR_MAX_BLOCKS], ir_val to, unsigned n)
{
    if (to != IR_NONE)
        ways[to] = (uint8_t)MIN(ways[to] + n, 2u);
}

/* Where returns land, by address. */
static void note_return(const struct ir *ir, uint8_t ways[IR_MAX_BLOCKS], const struct ir_op *end)
{
    if ((end->code != IR_jump && end->code != IR_jumpi) || end->x != IR_HINT_CALL)
        return;
    for (uint16_t i = 0; i < ir->n_blocks; i++)
        if (ir->blocks[i].off == end->imm2)
            note_way(ways, i, 2);
}

static bool goes_on(const struct ir *ir, const struct ir_block *before, uint16_t n)
{
    const struct ir_block *b = &ir->blocks[n];
    if (!before->n || !b->n || b->first != before->first + before->n || b->loops || b->after_call ||
        b->windows || before->windows)
        return false;
    const struct ir_op *end = &ir->ops[b->first - 1];
    return (end->code == IR_jump && end->x != IR_HINT_CALL && end->c == n) ||
           (end->code == IR_branch && (end->c == n || end->d == n));
}

void ir_find_chains(struct ir *ir)
{
    uint8_t ways[IR_MAX_BLOCKS];
    memset(ways, 0, ir->n_blocks);
    for (uint16_t i = 0; i < ir->n_blocks; i++) {
        const struct ir_block *b = &ir->blocks[i];
        const struct ir_op *end = &ir->ops[b->first + b->n - 1];
        if (!b->n || (end->code != IR_jump && end->code != IR_branch && end->code != IR_jumpi))
            continue;
        note_way(ways, end->c, 1);
        if (end->code == IR_branch)
            note_way(ways, end->d, 1);
        note_return(ir, ways, end);
    }
    for (uint16_t i = 1; i < ir->n_blocks; i++)
        ir->blocks[i].follows = ways[i] == 1 && goes_on(ir, &ir->blocks[i - 1], i);
}

/* ---- shared TLB checks ---------------------------------------------------------------------------- */

enum { GROUPS = 4, MEMBERS_MAX = 32, SPAN_MAX = 1024, FAR_SPAN_MAX = 64 };

/* An address: a value and how far from it. Values of a chain are told apart by the first operation that had
 * them; what is a sum with a constant is that far from the other one. */
struct place {
    ir_val base;
    int64_t off;
};

struct group {
    ir_val base;
    uint16_t leader;
    int64_t at;     /* the leader, from base; */
    int64_t lo, hi; /* all of it */
    unsigned n;     /* members */
    bool writes;
};

/* Those that may still grow, the oldest first. */
struct groups {
    struct group at[GROUPS];
    unsigned n;
    bool chained;      /* there is more than one block to the chain: then there are */
    uint64_t known[2]; /* slots of which is known */
    struct {
        struct place now, read; /* what they hold, and did when */
        ir_val get;             /* this read them last */
    } slots[128];
};

static void close_group(struct ir *ir, const struct group *g)
{
    struct ir_op *leader = &ir->ops[g->leader];
    if (g->n == 1)
        return;
    leader->imm2 = IR_SPAN(g->lo - g->at, g->hi - g->at);
    if (g->writes)
        leader->x |= IR_SPAN_WRITES;
}

static void close_groups(struct ir *ir, struct groups *all)
{
    for (unsigned k = 0; k < all->n; k++)
        close_group(ir, &all->at[k]);
    all->n = 0;
}

/* What addresses are made of is read often. */
static bool is_tracked(const struct ir *ir, const struct ir_op *slot)
{
    return ir->slots[slot->imm].heat && slot->type == IR_I64;
}

/* Where v is from the value that the chain knows it by. */
static struct place place_of(const struct ir *ir, const struct groups *all, ir_val v)
{
    const struct ir_op *op = &ir->ops[v];
    struct place p = { v, 0 };
    if (!all->chained)
        return p;
    if (op->code == IR_add && ir->ops[op->b].code == IR_const) {
        p = (struct place){ op->a, ir->ops[op->b].imm };
        op = &ir->ops[op->a];
    }
    if (op->code != IR_get || !is_tracked(ir, op) || all->slots[op->imm].get != p.base)
        return p;
    const struct place *read = &all->slots[op->imm].read;
    return (struct place){ read->base, read->off + p.off };
}

/* A slot is read or set. */
static void follow_slot(const struct ir *ir, struct groups *all, uint16_t i)
{
    const struct ir_op *op = &ir->ops[i];
    struct place *now = &all->slots[op->imm].now;
    uint64_t bit = (uint64_t)1 << (op->imm & 63), *known = &all->known[op->imm >> 6];
    if (!all->chained || !is_tracked(ir, op))
        return;
    if (op->code == IR_set)
        *now = place_of(ir, all, op->a);
    else if (!(*known & bit))
        *now = (struct place){ i, 0 };
    if (op->code == IR_get) {
        all->slots[op->imm].get = i;
        all->slots[op->imm].read = *now;
    }
    *known |= bit;
}

/* Whether a block behind the leader's is reached nobody knows: it is not to make the check fail that the
 * leader alone would pass, for a page that may not be written or for the next one. */
static bool joins(struct ir *ir, struct group *g, uint16_t i, int64_t at, bool far)
{
    struct ir_op *op = &ir->ops[i], *leader = &ir->ops[g->leader];
    int64_t lo = MIN(g->lo, at), hi = MAX(g->hi, at + ir_access_bytes(op->shape));
    bool store = op->code == IR_store, grows = lo < g->lo || hi > g->hi;
    if (hi - lo > SPAN_MAX || g->n == MEMBERS_MAX || (leader->x ^ op->x) & IR_MODE_MASK)
        return false;
    if (far && ((store && !g->writes) || (grows && hi - lo > FAR_SPAN_MAX)))
        return false;
    g->lo = lo;
    g->hi = hi;
    g->n++;
    g->writes |= store;
    leader->d = op->d = g->leader;
    return true;
}

static void join_or_open(struct ir *ir, struct groups *all, uint16_t block, uint16_t i)
{
    const struct ir_op *op = &ir->ops[i];
    struct place p = place_of(ir, all, op->a);
    int64_t at = p.off + op->imm;
    unsigned k = 0;
    while (k < all->n && all->at[k].base != p.base)
        k++;
    if (k < all->n && joins(ir, &all->at[k], i, at, all->at[k].leader < block))
        return;
    if (k == GROUPS)
        k = 0; /* the oldest gives way */
    if (k < all->n) {
        close_group(ir, &all->at[k]);
        all->n--;
        memmove(&all->at[k], &all->at[k + 1], (all->n - k) * sizeof(all->at[0]));
    }
    all->at[all->n++] = (struct group){ .base = p.base,
                                        .leader = i,
                                        .at = at,
                                        .lo = at,
                                        .hi = at + ir_access_bytes(op->shape),
                                        .n = 1,
                                        .writes = op->code == IR_store };
}

/* May the TLB or the memory map change while this call runs? */
static bool disturbs_tlb(const struct ir_op *op)
{
    return !(helper_flags(op) & IR_CALL_PURE);
}

static bool can_share(const struct ir_op *op)
{
    return !(op->shape & (IR_ACQUIRE | IR_RELEASE)) &&
           (!(op->shape & IR_ALIGNED) || op->type >= IR_V128);
}

/* Is operation i, of an instruction from *insn on, in one of these pieces of the page? */
static bool is_apart(const struct ir *ir, uint64_t apart, uint16_t *insn, uint16_t i)
{
    while (*insn + 1 < ir->n_insns && ir->insns[*insn + 1].op <= i)
        ++*insn;
    return ir->n_insns && apart >> (ir->insns[*insn].off >> 6 & 63) & 1;
}

/* Nothing is known; blocks from n on. */
static void begin_chain(struct ir *ir, struct groups *all, uint16_t n)
{
    close_groups(ir, all);
    all->chained = n + 1 < ir->n_blocks && ir->blocks[n + 1].follows;
    all->known[0] = all->known[1] = 0;
}

static void group_block(struct ir *ir, struct groups *all, const struct ir_block *b, uint64_t apart,
                        uint16_t *insn)
{
    for (uint16_t i = b->first; i < b->first + b->n; i++) {
        const struct ir_op *op = &ir->ops[i];
        switch (op->code) {
        case IR_load:
        case IR_store:
            if (can_share(op) && !(apart && is_apart(ir, apart, insn, i)))
                join_or_open(ir, all, b->first, i);
            break;
        case IR_get:
        case IR_set: follow_slot(ir, all, i); break;
        case IR_call:
            if (!disturbs_tlb(op))
                break;
            close_groups(ir, all);
            all->known[0] = all->known[1] = 0;
            break;
        }
    }
}

void ir_group_accesses(struct ir *ir, uint64_t apart)
{
    uint16_t insn = 0;
    struct groups all;
    all.n = 0;
    for (uint16_t n = 0; n < ir->n_blocks; n++) {
        if (!ir->blocks[n].follows)
            begin_chain(ir, &all, n);
        group_block(ir, &all, &ir->blocks[n], apart, &insn);
    }
    close_groups(ir, &all);
}
