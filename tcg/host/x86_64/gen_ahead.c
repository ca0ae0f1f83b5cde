/* Before a block is generated: who uses what last, where a value is wanted, which operations become one. */
#include "tcg/host/x86_64/gen.h"

static void note_use(struct gen *g, ir_val v, uint16_t at)
{
    if (v != IR_NONE)
        g->last_use[resolve(g->ir, v)] = at;
}

/* Could somebody look at slots, or pinned registers change, between a value's definition and here? */
static bool blocks_hint(const struct ir_op *op, int64_t slot)
{
    if (op->code == IR_get || op->code == IR_set)
        return op->imm == slot;
    if (op->code == IR_call)
        return true;
    return ir_op_infos[op->code].flags & (IR_MAY_FAULT | IR_END);
}

/* A comparison that only this select looks at is made there. */
static void fuse_select(struct gen *g, uint16_t i)
{
    ir_val cond = g->ir->ops[i].a;
    const struct ir_op *op = &g->ir->ops[cond];
    if (op->code != IR_setc || op->uses != 1)
        return;
    g->fused[cond] = true;
    note_use(g, op->a, i);
    note_use(g, op->b, i);
}

/* A shift by up to three places that only this sum wants is part of it. */
static void fuse_add(struct gen *g, uint16_t i)
{
    const struct ir_op *op = &g->ir->ops[g->ir->ops[i].b];
    int64_t n;
    if (op->code != IR_shl || op->uses != 1 || op->type != g->ir->ops[i].type ||
        g->ir->ops[i].a == g->ir->ops[i].b || !const_of(g, op->b, &n) || n < 1 || n > 3)
        return;
    g->fused[g->ir->ops[i].b] = true;
    note_use(g, op->a, i);
}

/* Until where only the slow ways of accesses, and ways out of the chain, can see what a slot was set to: the last one of
 * them, `looked` (or 1), before it is set anew, or forgotten. Upper halves of vectors are not kept from block to block so. */
static void note_set(struct gen *g, const struct ir_op *set, uint16_t looked, uint16_t first)
{
    uint16_t i = (uint16_t)(set - g->ir->ops), *unseen = &g->unseen_set[set->imm];
    if (*unseen && (set->type == IR_I64 || *unseen >= first))
        g->owed_end[*unseen] = looked;
    g->owed_end[i] = 0;
    *unseen = i;
}

/* An access that shares a check. */
static void note_group(struct gen *g, const struct ir_op *op)
{
    if (op->d == IR_NONE)
        return;
    uint16_t i = (uint16_t)(op - g->ir->ops);
    if (op->d == i && g->n_groups < MAX_GROUPS) {
        g->groups[g->n_groups].reg = g->groups[g->n_groups].saved = -1;
        g->groups[g->n_groups].leader = i;
        g->group_of[i] = ++g->n_groups;
    }
    if (g->group_of[op->d])
        g->groups[g->group_of[op->d] - 1].last = i;
}

/* What a pinned slot is set to is best computed right in its register, if nothing that may look at it comes between. */
static void choose_place(struct gen *g, const struct ir_op *set)
{
    const struct ir *ir = g->ir;
    int r = g->host->slot_reg[set->imm];
    ir_val d = resolve(ir, set->a);
    uint16_t i = (uint16_t)(set - ir->ops);
    if (r < 0 || ir->ops[d].code == IR_get || ir->ops[d].code == IR_const || g->hint[d] != 255 ||
        i - d > 12)
        return;
    for (uint16_t k = d + 1; k < i; k++)
        if (blocks_hint(&ir->ops[k], set->imm))
            return;
    g->hint[d] = (uint8_t)r;
}

/* An upper half that only slots in memory want goes there from the register of the whole. */
static void fuse_high(struct gen *g, const struct ir_op *set)
{
    ir_val high = set->a;
    const struct ir_op *op = &g->ir->ops[high];
    if (op->code != IR_high || g->host->slot_reg[set->imm] >= 0)
        return;
    if (++g->high_sets[high] == op->uses && op->uses < 255)
        g->fused[high] = true;
    note_use(g, op->a, (uint16_t)(set - g->ir->ops));
}

/* Is the result the same whatever NaN an operand is, or a NaN itself, to be replaced then? */
static bool hands_nan_on(const struct ir_op *op)
{
    switch (op->code) {
    case IR_fadd:
    case IR_fsub:
    case IR_fmul:
    case IR_fdiv:
    case IR_fsqrt:
    case IR_fma:
    case IR_fcmp:
    case IR_ftoi:
    case IR_fwiden:
    case IR_fnarrow: return true;
    default: return false;
    }
}

/* What was compared is looked at once more. */
static void note_undone(struct gen *g, uint16_t set_fflags)
{
    uint16_t fcmp = comparison_undone(g, set_fflags);
    if (fcmp == IR_NONE)
        return;
    note_use(g, g->ir->ops[fcmp].a, set_fflags);
    note_use(g, g->ir->ops[fcmp].b, set_fflags);
}

/* The end of block n, if another one follows: may the other way, if there is one, store what is owed? A way back is
 * taken more often than not, and had better not take a turn for that. */
static bool pays_aside(const struct gen *g, const struct ir_op *end, uint16_t n)
{
    const struct ir_block *blocks = g->ir->blocks;
    if (end->code == IR_jump)
        return true;
    ir_val other = end->c == n + 1 ? end->d : end->c;
    int64_t off = end->c == n + 1 ? end->imm2 : end->imm;
    return !g->keeps_uppers &&
           (other == IR_NONE ? off > blocks[n].off : blocks[other].first > blocks[n].first);
}

/* Behind the operations of block n and those that follow. */
static uint16_t chain_end(const struct ir *ir, uint16_t n)
{
    while (n + 1 < ir->n_blocks && ir->blocks[n + 1].follows)
        n++;
    return ir->blocks[n].first + ir->blocks[n].n;
}

/* What there is to do, last uses, groups, and which values are best computed right in a pinned register: of this block
 * and those that follow. */
void look_ahead(struct gen *g, uint16_t block)
{
    const struct ir *ir = g->ir;
    uint16_t looked = 1, first = ir->blocks[block].first, block_first = first,
             end = chain_end(ir, block);
    g->n_groups = 0;
    g->n_live = 0;
    memset(g->unseen_set, 0, ir->n_slots * sizeof(g->unseen_set[0]));
    for (uint16_t i = first; i < end; i++) {
        const struct ir_op *op = &ir->ops[i];
        g->last_use[i] = i;
        g->fused[i] = false;
        g->copy_in[i] = 0;
        g->loc[i].kind = op->code == IR_const ? LOC_CONST : LOC_NONE;
        if (op->code == IR_const)
            continue;
        g->live[g->n_live++] = i;
        g->hint[i] = 255;
        g->group_of[i] = 0;
        const ir_val v[4] = { op->a, op->b, op->c, op->d };
        g->seen[i] = false;
        for (unsigned k = 0, n = ir_n_operands(op); k < n; k++) {
            note_use(g, v[k], i);
            if (v[k] != IR_NONE && !hands_nan_on(op))
                g->seen[v[k]] = true;
        }
        switch (op->code) {
        case IR_set_fflags: note_undone(g, i); break;
        case IR_select:
            if (!is_fp(op->type))
                fuse_select(g, i);
            break;
        case IR_add: fuse_add(g, i); break;
        case IR_load:
        case IR_store: note_group(g, op); /* fall through */
        case IR_rmw:
        case IR_cas: looked = i; break;
        case IR_high: g->high_sets[i] = 0; break;
        case IR_get: g->unseen_set[op->imm] = 0; break;
        case IR_set:
            note_set(g, op, looked, block_first);
            choose_place(g, op);
            fuse_high(g, op);
            break;
        case IR_forget: note_set(g, op, looked, block_first); break;
        case IR_call:
            if (!(((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_PURE))
                memset(g->unseen_set, 0, ir->n_slots * sizeof(g->unseen_set[0]));
            break;
        case IR_jump:
        case IR_branch:
            if (i + 1 == end)
                break;
            if (!pays_aside(g, op, block))
                memset(g->unseen_set, 0, ir->n_slots * sizeof(g->unseen_set[0]));
            looked = op->code == IR_branch ? i : looked;
            block_first = i + 1;
            block++;
            break;
        }
    }
}
