/* Copies of short functions behind calls of them.
 *
 *     call f          store the return address as ever; no jump: the block goes on, if the function does not branch
 *       f's code      blocks of its own for this call (ir_block.inlined), which only ways inside this copy lead to
 *       return        by an address that nobody changed: nothing; else compared with the call's: equal: on behind the call,
 *                     not equal: a return like any other (IR_HINT_INLINED)
 *     behind
 *
 * Nobody but the copy's own return depends on where it was called from, so what goes elsewhere (a fault, a
 * changed return address, code that was written) finds all registers and memory as without. But no frame was
 * pushed for a predicted return: who gets into the function's middle otherwise returns by the jump cache. */
#include "tcg/inline.h"

#include "core/util.h"

#include <string.h>

void inline_start(struct inlined *all)
{
    all->n_insns = all->n_calls = all->n_spans = 0;
}

unsigned inline_count(const struct inlined *all)
{
    unsigned n = 0;
    for (unsigned k = 0; k < all->n_calls; k++)
        n += all->calls[k].made;
    return n;
}

void inline_cover(const struct inlined *all, struct unit *u)
{
    u->n_inlined = (uint8_t)all->n_spans;
    memcpy(u->inlined, all->spans, all->n_spans * sizeof(u->inlined[0]));
}

/* ---- finding ------------------------------------------------------------------------------------------ */

struct leaf {
    struct inlined *all;
    unsigned first, most;          /* in all->insns */
    int32_t pending[INLINE_INSNS]; /* addresses that something before leads to */
    unsigned n_pending;
};

static bool leads_to(struct leaf *l, int32_t to, int32_t from)
{
    if (to <= from || to >= 4096 || l->n_pending == INLINE_INSNS)
        return false;
    l->pending[l->n_pending++] = to;
    return true;
}

/* The least address that is pending, or 4096; it, and what equals it, no longer is if `off` is that. */
static int32_t next_pending(struct leaf *l, int32_t off, bool *was)
{
    int32_t least = 4096;
    *was = false;
    for (unsigned k = 0; k < l->n_pending; k++) {
        if (l->pending[k] == off) {
            *was = true;
            l->pending[k--] = l->pending[--l->n_pending];
        } else {
            least = MIN(least, l->pending[k]);
        }
    }
    return least;
}

/* The instructions from `to` on, all ways through them: forwards, within the page, without calls, to returns. */
static bool find_leaf(struct leaf *l, inline_scan *scan, void *opaque, const struct found *call)
{
    struct inlined *all = l->all;
    int32_t off = call->scan.target, behind = call->off + call->scan.len;
    while (off < 4096) {
        struct found *f = &all->insns[all->n_insns];
        bool was;
        int32_t next = next_pending(l, off, &was);
        if (all->n_insns == l->most || off == call->off || off == behind)
            return false;
        if (!scan(opaque, off, &f->scan) || off + f->scan.len > 4096)
            return false;
        f->off = off;
        f->leader = f->target = was;
        f->after_call = false;
        f->inlined = 0;
        all->n_insns++;
        switch ((enum insn_kind)f->scan.kind) {
        case INSN_PLAIN: off += f->scan.len; break;
        case INSN_BRANCH:
            if (!leads_to(l, f->scan.target, off))
                return false;
            off += f->scan.len;
            break;
        case INSN_JUMP:
            if (!leads_to(l, f->scan.target, off))
                return false;
            off = MIN(next, f->scan.target);
            break;
        case INSN_RETURN:
            if (next == 4096)
                return true;
            off = next;
            break;
        default: return false;
        }
        if (f->scan.kind == INSN_BRANCH)
            next = MIN(next, f->scan.target);
        if (next < off) /* into the middle of an instruction */
            return false;
    }
    return false;
}

/* Notes where the instructions from `first` on lie; spans that touch become one. False: there is no room. */
static bool note_span(struct inlined *all, unsigned first)
{
    const struct found *last = &all->insns[all->n_insns - 1];
    struct span s = { (int16_t)all->insns[first].off, (int16_t)(last->off + last->scan.len) };
    unsigned k = 0;
    while (k < all->n_spans && (all->spans[k].to < s.from || all->spans[k].from > s.to))
        k++;
    if (k == UNIT_SPANS)
        return false;
    if (k < all->n_spans) {
        s.from = MIN(s.from, all->spans[k].from);
        s.to = MAX(s.to, all->spans[k].to);
    } else {
        all->n_spans++;
    }
    all->spans[k] = s;
    return true;
}

unsigned inline_find(struct inlined *all, unsigned limit, inline_scan *scan, void *opaque,
                     const struct found *call)
{
    struct leaf l = { .all = all,
                      .first = all->n_insns,
                      .most = MIN(MIN(limit, (unsigned)INLINE_MOST_INSNS),
                                  all->n_insns + INLINE_INSNS) };
    int32_t to = call->scan.target;
    if (to < 0 || to >= 4096 || all->n_calls == INLINE_MOST_CALLS)
        return 0;
    if (!find_leaf(&l, scan, opaque, call) || !note_span(all, l.first)) {
        all->n_insns = l.first;
        return 0;
    }
    struct inlined_call *c = &all->calls[all->n_calls++];
    *c = (struct inlined_call){ .off = call->off,
                                .to = to,
                                .return_to = call->off + call->scan.len,
                                .first = (uint16_t)l.first,
                                .n = (uint16_t)(all->n_insns - l.first) };
    return all->n_calls;
}

/* ---- building ------------------------------------------------------------------------------------------ */

struct building {
    struct ir *ir;
    const struct inlined_call *call;
    uint16_t first_op, first_block;
    uint8_t links[4]; /* slots that the call left its return address in */
    unsigned n_links, n_returns;
};

/* The call is the jump that was built last? */
static bool is_direct_call(const struct ir *ir, const struct inlined_call *c)
{
    const struct ir_op *end = &ir->ops[ir->n_ops - 1];
    return !ir->overflow && ir->ended && end->code == IR_jump && end->x == IR_HINT_CALL &&
           end->imm == c->to && end->imm2 == c->return_to;
}

static void find_links(struct building *b)
{
    const struct ir *ir = b->ir;
    for (unsigned s = 0; s < ir->n_slots && b->n_links < ARRAY_LEN(b->links); s++) {
        ir_val v = ir->slot_value[s];
        if (v != IR_NONE && ir->ops[v].code == IR_pc && ir->ops[v].imm == b->call->return_to)
            b->links[b->n_links++] = (uint8_t)s;
    }
}

/* Has the copy so far left this slot alone? All ways in it lead forwards. */
static bool is_kept(const struct building *b, unsigned slot)
{
    for (uint16_t i = b->first_op; i < b->ir->n_ops; i++) {
        const struct ir_op *op = &b->ir->ops[i];
        if (op->code == IR_set && op->imm == slot)
            return false;
        if (op->code == IR_call &&
            ((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_WRITES)
            return false;
    }
    return true;
}

static void begin_block(struct building *b, int32_t off)
{
    struct ir *ir = b->ir;
    ir_begin_block(ir, off);
    ir->blocks[ir->block].inlined = true;
    for (unsigned k = 0; k < b->n_links; k++)
        if (is_kept(b, b->links[k]))
            ir_know(ir, b->links[k], ir_pc(ir, b->call->return_to));
}

/* What has just been built is a return: where does it lead? */
static void end_return(struct building *b)
{
    struct ir_op *end = &b->ir->ops[b->ir->n_ops - 1];
    b->n_returns++;
    if (end->code != IR_jumpi || end->x != IR_HINT_RETURN)
        return;
    end->x = IR_HINT_INLINED;
    end->imm2 = b->call->return_to;
}

static uint16_t block_at(const struct building *b, int64_t off)
{
    for (uint16_t k = b->first_block; k < b->ir->n_blocks; k++)
        if (b->ir->blocks[k].guest && b->ir->blocks[k].off == off)
            return k;
    return IR_NONE;
}

/* Jumps inside the copy. */
static void resolve(struct building *b)
{
    for (uint16_t i = b->first_op; i < b->ir->n_ops; i++) {
        struct ir_op *op = &b->ir->ops[i];
        bool jumps = op->code == IR_jump && op->x != IR_HINT_CALL;
        if ((!jumps && op->code != IR_branch) || op->c != IR_NONE || op->d != IR_NONE)
            continue;
        op->c = block_at(b, op->imm);
        if (op->code == IR_branch)
            op->d = block_at(b, op->imm2);
    }
}

enum inline_done inline_build(struct inlined *all, unsigned which, struct tr *tr,
                              inline_translate *translate, void *opaque)
{
    struct inlined_call *c = &all->calls[which - 1];
    struct ir *ir = tr->ir;
    struct building b = { .ir = ir, .call = c };
    c->made = is_direct_call(ir, c);
    if (!c->made)
        return INLINE_NOT;
    find_links(&b);
    ir_continue(ir);
    b.first_op = ir->n_ops;
    b.first_block = ir->n_blocks;
    for (unsigned k = 0; k < c->n && !ir->overflow; k++) {
        const struct found *f = &all->insns[c->first + k], *before = k ? f - 1 : NULL;
        bool follows = !before || before->off + before->scan.len == f->off;
        if (!ir->ended && !follows)
            ir_jump(ir, before->off + before->scan.len);
        if (ir->ended || f->leader || (before && before->scan.kind == INSN_BRANCH))
            begin_block(&b, f->off);
        if (!follows || f->target || (before && before->scan.kind > INSN_BRANCH))
            tr->note = 0;
        translate(opaque, tr, f);
        if (f->scan.kind == INSN_RETURN && ir->ended)
            end_return(&b);
    }
    if (ir->overflow)
        return INLINE_NOT;
    resolve(&b);
    const struct ir_op *end = &ir->ops[ir->n_ops - 1];
    if (ir->ended && end->code == IR_jump && end->x == IR_HINT_JUMP && end->c == IR_NONE &&
        end->imm == c->return_to)
        ir_continue(ir);
    tr->next = c->return_to;
    return b.n_returns == 1 ? INLINE_ONE_WAY : INLINE_SEVERAL_WAYS;
}
