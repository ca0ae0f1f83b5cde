/* Loops that walk through memory: their TLB checks move out of the loop.
 *
 * In an innermost loop many addresses are sums of slots that a turn leaves alone or moves by a constant. How many
 * turns such an access stays inside one page, its window, is known before they begin. So the loop gets a second
 * copy, whose accesses go to the host's memory without a check, and around both some blocks of our own:
 *
 *     start:   COOL = iv + some turns * step     (on the way in)
 *     loop:    ...                               as it was, but for its way back, which leads to
 *     cool:    iv != COOL ? loop : windows
 *     windows: turns = call ...; LIMIT = iv + turns * step; turns ? copy : again
 *     again:   exit flag? leave; COOL = iv + fewer turns * step; loop
 *     turn:    iv != LIMIT ? copy : windows      the way back of
 *     copy:    ...
 *
 * iv is a slot that every turn moves by `step`. Short loops never reach `windows`. The exit flag is tested in `again`
 * and by the helper of `windows`, some thousand turns apart at most. What the copy accesses otherwise is checked as
 * ever; but a device there leaves the unit first (struct ir_block.windows), since devices may change where windows
 * lead. docs/translator.md. */
#include "core/util.h"
#include "tcg/ir.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BODY = 16, MAX_TERMS = 3, MAX_ACCESSES = 64, MOST_SLOTS = 128 };

/* c + the sum of slots times factors, as the slots are at the loop's head. */
struct form {
    bool known;
    uint8_t n;
    uint8_t slot[MAX_TERMS]; /* ascending */
    int64_t factor[MAX_TERMS];
    int64_t c;
};

struct window {
    struct form from; /* its first byte */
    int64_t stride, span;
    unsigned mode, align; /* log2 */
    bool writes;
};

struct access {
    uint16_t op;
    int8_t window; /* -1: none */
    struct form at;
};

struct loop {
    struct ir *ir;
    uint16_t head;
    uint16_t first, n_original; /* blocks that were there before any copy was made */
    /* In the order of their operations: a block follows all that lead to it. */
    uint16_t body[MAX_BODY];
    unsigned n_body;
    int8_t place[IR_MAX_BLOCKS]; /* in body, or -1 */
    struct form entry[MAX_BODY][MOST_SLOTS], slots[MOST_SLOTS], back[MOST_SLOTS];
    bool reached[MAX_BODY], back_known;
    struct form value[IR_MAX_OPS];
    struct access accesses[MAX_ACCESSES];
    unsigned n_accesses;
    const char *why; /* there are no windows */
    struct window windows[IR_WINDOWS];
    unsigned n_windows;
    int iv; /* a slot that every turn moves, by */
    int64_t step;
    ir_val map[IR_MAX_OPS];
    uint16_t copy[MAX_BODY], windows_block, turn_block;
};

/* ---- sums ------------------------------------------------------------------------------------------ */

static struct form form_const(int64_t c)
{
    return (struct form){ .known = true, .c = c };
}

static struct form form_slot(unsigned slot)
{
    return (struct form){ .known = true, .n = 1, .slot = { (uint8_t)slot }, .factor = { 1 } };
}

static int64_t times(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* a + b * k */
static struct form form_sum(const struct form *a, const struct form *b, int64_t k)
{
    struct form r = { .known = a->known && b->known, .c = plus(a->c, times(b->c, k)) };
    for (unsigned i = 0, j = 0; r.known && (i < a->n || j < b->n);) {
        bool from_a = i < a->n && (j == b->n || a->slot[i] <= b->slot[j]);
        bool from_b = j < b->n && (i == a->n || b->slot[j] <= a->slot[i]);
        uint8_t slot = from_a ? a->slot[i] : b->slot[j];
        int64_t f = plus(from_a ? a->factor[i] : 0, from_b ? times(b->factor[j], k) : 0);
        i += from_a;
        j += from_b;
        if (!f)
            continue;
        if (r.n == MAX_TERMS)
            return (struct form){ 0 };
        r.slot[r.n] = slot;
        r.factor[r.n++] = f;
    }
    return r;
}

static bool same_terms(const struct form *a, const struct form *b)
{
    if (!a->known || !b->known || a->n != b->n)
        return false;
    for (unsigned k = 0; k < a->n; k++)
        if (a->slot[k] != b->slot[k] || a->factor[k] != b->factor[k])
            return false;
    return true;
}

static bool same_form(const struct form *a, const struct form *b)
{
    return same_terms(a, b) && a->c == b->c;
}

static struct form form_of_op(const struct loop *l, const struct ir_op *op)
{
    const struct form none = { 0 }, *a = op->a == IR_NONE ? &none : &l->value[op->a];
    const struct form *b = op->b == IR_NONE ? &none : &l->value[op->b];
    const struct form zero = form_const(0);
    if (op->type != IR_I64)
        return none;
    switch (op->code) {
    case IR_const: return form_const(op->imm);
    case IR_get: return l->slots[op->imm];
    case IR_add: return form_sum(a, b, 1);
    case IR_sub: return form_sum(a, b, -1);
    case IR_shl: return b->known && !b->n ? form_sum(&zero, a, (int64_t)1 << (b->c & 63)) : none;
    case IR_mul:
        if (b->known && !b->n)
            return form_sum(&zero, a, b->c);
        return a->known && !a->n ? form_sum(&zero, b, a->c) : none;
    default: return none;
    }
}

/* ---- which blocks ------------------------------------------------------------------------------------- */

static const struct ir_op *end_of(const struct ir *ir, uint16_t block)
{
    return &ir->ops[ir->blocks[block].first + ir->blocks[block].n - 1];
}

/* The k-th block that may follow inside the unit, or IR_NONE. */
static uint16_t successor(const struct ir *ir, uint16_t block, unsigned k)
{
    const struct ir_op *end = end_of(ir, block);
    if (!ir->blocks[block].n || (end->code != IR_jump && end->code != IR_branch) ||
        (k == 1 && end->code == IR_jump))
        return IR_NONE;
    return k ? end->d : end->c;
}

static bool add_to_body(struct loop *l, uint16_t block)
{
    if (l->place[block] >= 0)
        return true;
    if (l->n_body == MAX_BODY) {
        l->why = "it has too many blocks";
        return false;
    }
    l->place[block] = (int8_t)l->n_body;
    l->body[l->n_body++] = block;
    return true;
}

/* The blocks from which the head is reached again. False: too many. */
static bool find_body(struct loop *l)
{
    struct ir *ir = l->ir;
    memset(l->place, -1, sizeof(l->place));
    l->n_body = 0;
    add_to_body(l, l->head);
    for (unsigned before = 0; before != l->n_body;) {
        before = l->n_body;
        for (uint16_t b = l->first; b < l->n_original; b++)
            for (unsigned k = 0; k < 2; k++) {
                uint16_t to = successor(ir, b, k);
                if (to == IR_NONE || l->place[to] < 0)
                    continue;
                bool back = ir->blocks[to].first <= ir->blocks[b].first;
                if (to == l->head && !back) /* a way in */
                    continue;
                if (!add_to_body(l, b))
                    return false;
            }
    }
    for (unsigned i = 1; i < l->n_body; i++) /* few, and almost in order */
        for (unsigned k = i; k && ir->blocks[l->body[k]].first < ir->blocks[l->body[k - 1]].first;
             k--) {
            uint16_t b = l->body[k];
            l->body[k] = l->body[k - 1];
            l->body[k - 1] = b;
        }
    for (unsigned i = 0; i < l->n_body; i++)
        l->place[l->body[i]] = (int8_t)i;
    l->why = "it is entered in the middle";
    return l->body[0] == l->head;
}

/* Why a loop with this operation gets no copy, or NULL. */
static const char *obstacle(const struct ir_op *op)
{
    switch (op->code) {
    case IR_call:
        return ((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_PURE
                   ? NULL
                   : "it calls a helper";
    case IR_copy:
    case IR_fill: return "it has a repeated instruction";
    case IR_rmw:
    case IR_cas: return "it has an atomic access";
    case IR_fence: return "it has a fence";
    case IR_fflags:
    case IR_set_fflags: return "it looks at floating-point flags";
    default: return NULL;
    }
}

/* Does the body do nothing but compute and access, with no way in but its head and no loop inside? */
static bool is_simple(struct loop *l)
{
    const struct ir *ir = l->ir;
    for (unsigned i = 0; i < l->n_body; i++) {
        const struct ir_block *b = &ir->blocks[l->body[i]];
        l->why = (i && b->loops) || !l->body[i] ? "there is a loop inside"
                 : b->after_call                ? "there is a call inside"
                                                : NULL;
        for (uint16_t k = b->first; !l->why && k < b->first + b->n; k++)
            l->why = obstacle(&ir->ops[k]);
        if (l->why)
            return false;
    }
    return true; /* find_body took in all that leads to a block but the head */
}

/* ---- what a turn does to the slots ----------------------------------------------------------------------- */

static void note_access(struct loop *l, uint16_t i)
{
    const struct ir_op *op = &l->ir->ops[i];
    const struct form offset = form_const(op->imm);
    if (l->n_accesses == MAX_ACCESSES)
        return;
    struct access *a = &l->accesses[l->n_accesses++];
    *a = (struct access){ .op = i, .window = -1, .at = form_sum(&l->value[op->a], &offset, 1) };
    if (op->shape & (IR_ACQUIRE | IR_RELEASE))
        a->at.known = false;
}

/* What block `to` (the back edge, if that is the head) finds in the slots: what all ways to it agree on. */
static void flow(struct loop *l, uint16_t to)
{
    bool back = to == l->head;
    struct form *into = back ? l->back : l->entry[l->place[to]];
    bool *reached = back ? &l->back_known : &l->reached[l->place[to]];
    for (unsigned s = 0; s < l->ir->n_slots; s++) {
        if (!*reached)
            into[s] = l->slots[s];
        else if (!same_form(&into[s], &l->slots[s]))
            into[s].known = false;
    }
    *reached = true;
}

static void analyse(struct loop *l)
{
    struct ir *ir = l->ir;
    memset(l->reached, 0, sizeof(l->reached));
    l->back_known = false;
    l->n_accesses = 0;
    for (unsigned s = 0; s < ir->n_slots; s++)
        l->entry[0][s] = form_slot(s);
    for (unsigned i = 0; i < l->n_body; i++) {
        const struct ir_block *b = &ir->blocks[l->body[i]];
        memcpy(l->slots, l->entry[i], ir->n_slots * sizeof(l->slots[0]));
        for (uint16_t k = b->first; k < b->first + b->n; k++) {
            const struct ir_op *op = &ir->ops[k];
            l->value[k] = form_of_op(l, op);
            if (op->code == IR_set)
                l->slots[op->imm] = l->value[op->a];
            else if (op->code == IR_load || op->code == IR_store)
                note_access(l, k);
        }
        for (unsigned k = 0; k < 2; k++) {
            uint16_t to = successor(ir, l->body[i], k);
            if (to != IR_NONE && l->place[to] >= 0)
                flow(l, to);
        }
    }
}

/* By how much a turn moves the slot. False: who knows. */
static bool step_of(const struct loop *l, unsigned slot, int64_t *step)
{
    const struct form *f = &l->back[slot];
    *step = f->c;
    return f->known && f->n == 1 && f->slot[0] == slot && f->factor[0] == 1;
}

static bool stride_of(const struct loop *l, const struct form *f, int64_t *stride)
{
    *stride = 0;
    for (unsigned k = 0; k < f->n; k++) {
        int64_t step;
        if (!step_of(l, f->slot[k], &step))
            return false;
        *stride = plus(*stride, times(step, f->factor[k]));
    }
    return f->known && *stride >= -IR_STRIDE_MAX && *stride <= IR_STRIDE_MAX;
}

/* The window of an access: one that is there already, made wider, or a new one. */
static int window_for(struct loop *l, const struct access *a)
{
    const struct ir_op *op = &l->ir->ops[a->op];
    unsigned bytes = ir_access_bytes(op->shape);
    unsigned align = op->shape & IR_ALIGNED ? (unsigned)__builtin_ctz(bytes) : 0;
    int64_t stride;
    if (!stride_of(l, &a->at, &stride) || stride & (((int64_t)1 << align) - 1))
        return -1;
    for (unsigned k = 0; k < l->n_windows; k++) {
        struct window *w = &l->windows[k];
        if (!same_terms(&w->from, &a->at) || w->mode != (op->x & IR_MODE_MASK) || w->align != align)
            continue;
        int64_t off = (int64_t)((uint64_t)a->at.c - (uint64_t)w->from.c);
        int64_t lo = MIN(off, 0), hi = MAX(off + bytes, w->span);
        if (off < -IR_STRIDE_MAX || off > IR_STRIDE_MAX || hi - lo > IR_STRIDE_MAX ||
            off & (((int64_t)1 << align) - 1))
            continue;
        w->from.c = plus(w->from.c, lo);
        w->span = hi - lo;
        w->writes |= op->code == IR_store;
        return (int)k;
    }
    if (l->n_windows == IR_WINDOWS)
        return -1;
    l->windows[l->n_windows] = (struct window){ .from = a->at,
                                                .stride = stride,
                                                .span = bytes,
                                                .mode = op->x & IR_MODE_MASK,
                                                .align = align,
                                                .writes = op->code == IR_store };
    return (int)l->n_windows++;
}

/* True: it pays. */
static bool find_windows(struct loop *l)
{
    analyse(l);
    l->iv = -1;
    l->n_windows = 0;
    for (unsigned s = 0; s < l->ir->n_slots; s++) {
        int64_t step;
        if (l->ir->slots[s].type == IR_I64 && step_of(l, s, &step) && step) {
            l->iv = (int)s;
            l->step = step;
        }
    }
    l->why = "each turn moves no register by a constant";
    if (l->iv < 0)
        return false;
    for (unsigned k = 0; k < l->n_accesses; k++)
        l->accesses[k].window = (int8_t)window_for(l, &l->accesses[k]);
    l->why = l->n_accesses ? "no access stays where it is or moves by a small constant"
                           : "it accesses no memory";
    return l->n_windows;
}

/* ---- making the second copy -------------------------------------------------------------------------------- */

static struct ir_op *append(struct ir *ir, enum ir_code code, enum ir_type type)
{
    struct ir_op *op = &ir->ops[ir->n_ops++];
    *op = (struct ir_op){
        .code = code, .type = type, .a = IR_NONE, .b = IR_NONE, .c = IR_NONE, .d = IR_NONE
    };
    return op;
}

static ir_val append_imm(struct ir *ir, enum ir_code code, int64_t imm)
{
    append(ir, code, IR_I64)->imm = imm;
    return ir->n_ops - 1;
}

static ir_val append_2(struct ir *ir, enum ir_code code, ir_val a, ir_val b)
{
    struct ir_op *op = append(ir, code, IR_I64);
    op->a = a;
    op->b = b;
    return ir->n_ops - 1;
}

static void append_set_word(struct ir *ir, int64_t word, ir_val v)
{
    struct ir_op *op = append(ir, IR_set_word, IR_I64);
    op->imm = word;
    op->a = v;
}

static void append_branch(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b, uint16_t if_so,
                          uint16_t if_not)
{
    struct ir_op *op = append(ir, IR_branch, IR_I64);
    op->cc = (uint8_t)cc;
    op->a = a;
    op->b = b;
    op->c = if_so;
    op->d = if_not;
}

static uint16_t open_block(struct ir *ir, uint16_t like)
{
    ir->blocks[ir->n_blocks] = (struct ir_block){ .first = ir->n_ops, .off = ir->blocks[like].off };
    return ir->n_blocks++;
}

static void close_block(struct ir *ir)
{
    struct ir_block *b = &ir->blocks[ir->n_blocks - 1];
    b->n = ir->n_ops - b->first;
}

/* A way into the loop, which will look for windows after so many turns. */
static uint16_t append_way_in(struct loop *l, int64_t turns)
{
    struct ir *ir = l->ir;
    uint16_t block = open_block(ir, l->head);
    ir_val iv = append_imm(ir, IR_get, l->iv);
    ir_val by = append_imm(ir, IR_const, times(turns, l->step));
    append_set_word(ir, IR_WORD_COOL, append_2(ir, IR_add, iv, by));
    append(ir, IR_jump, IR_VOID)->c = l->head;
    close_block(ir);
    return block;
}

/* A way back that goes elsewhere when iv has become a word's value. */
static uint16_t append_way_back(struct loop *l, int64_t word, uint16_t to, uint16_t elsewhere)
{
    struct ir *ir = l->ir;
    uint16_t block = open_block(ir, l->head);
    ir_val iv = append_imm(ir, IR_get, l->iv);
    append_branch(ir, IR_NE, iv, append_imm(ir, IR_word, word), to, elsewhere);
    close_block(ir);
    return block;
}

static ir_val append_form(struct ir *ir, const struct form *f)
{
    ir_val sum = append_imm(ir, IR_const, f->c);
    for (unsigned k = 0; k < f->n; k++) {
        ir_val v = append_imm(ir, IR_get, f->slot[k]);
        if (f->factor[k] != 1)
            v = append_2(ir, IR_mul, v, append_imm(ir, IR_const, f->factor[k]));
        sum = append_2(ir, IR_add, v, sum);
    }
    return sum;
}

static int64_t describe(const struct window *w)
{
    return IR_WINDOW(w->span, w->stride, w->mode, w->align, w->writes);
}

/* Two windows a call: the last result is good for all. */
static void append_windows(struct loop *l, const struct ir_helper *helper, uint16_t again)
{
    struct ir *ir = l->ir;
    ir_val turns = IR_NONE;
    open_block(ir, l->head);
    for (unsigned k = 0; k < l->n_windows; k += 2) {
        bool second = k + 1 < l->n_windows;
        ir_val a = append_form(ir, &l->windows[k].from);
        ir_val b = second ? append_form(ir, &l->windows[k + 1].from) : a;
        ir_val what = append_imm(ir, IR_const, k);
        ir_val d0 = append_imm(ir, IR_const,
                               describe(&l->windows[k]) |
                                   (second ? describe(&l->windows[k + 1]) << 32 : 0));
        struct ir_op *op = append(ir, IR_call, IR_I64);
        op->imm = (intptr_t)helper;
        op->x = 4;
        op->a = what;
        op->b = d0;
        op->c = a;
        op->d = b;
        turns = ir->n_ops - 1;
    }
    ir_val moved = append_2(ir, IR_mul, turns, append_imm(ir, IR_const, l->step));
    append_set_word(ir, IR_WORD_LIMIT, append_2(ir, IR_add, moved, append_imm(ir, IR_get, l->iv)));
    append_branch(ir, IR_NE, turns, append_imm(ir, IR_const, 0), l->copy[0], again);
    close_block(ir);
}

static const struct access *window_access(const struct loop *l, uint16_t i)
{
    for (unsigned k = 0; k < l->n_accesses; k++)
        if (l->accesses[k].op == i && l->accesses[k].window >= 0)
            return &l->accesses[k];
    return NULL;
}

static uint16_t copied_target(const struct loop *l, uint16_t to)
{
    if (to == IR_NONE || l->place[to] < 0)
        return to;
    return to == l->head ? l->turn_block : l->copy[l->place[to]];
}

static void copy_op(struct loop *l, uint16_t i, ir_val addends[IR_WINDOWS])
{
    struct ir *ir = l->ir;
    const struct access *a = window_access(l, i);
    if (a && addends[a->window] == IR_NONE)
        addends[a->window] = append_imm(ir, IR_word, IR_WORD_ADDEND + a->window);
    struct ir_op *op = &ir->ops[ir->n_ops];
    *op = ir->ops[i];
    ir_val *v[4] = { &op->a, &op->b, &op->c, &op->d };
    for (unsigned k = 0; k < ir_n_operands(op); k++)
        if (*v[k] != IR_NONE)
            *v[k] = l->map[*v[k]];
    if (op->code == IR_jump || op->code == IR_branch) {
        op->c = copied_target(l, op->c);
        if (op->code == IR_branch)
            op->d = copied_target(l, op->d);
    } else if (a && op->code == IR_load) {
        op->code = IR_load_w;
        op->b = addends[a->window];
    } else if (a) {
        op->code = IR_store_w;
        op->c = addends[a->window];
    }
    l->map[i] = ir->n_ops++;
}

static void copy_block(struct loop *l, uint16_t from)
{
    struct ir *ir = l->ir;
    const struct ir_block *b = &ir->blocks[from];
    uint16_t block = open_block(ir, from), insn = 0, n_insns = ir->n_insns;
    ir->blocks[block].n_insns = b->n_insns;
    ir->blocks[block].windows = true;
    ir_val addends[IR_WINDOWS];
    memset(addends, 0xff, sizeof(addends));
    for (uint16_t i = b->first; i < b->first + b->n; i++) {
        for (; insn < n_insns && ir->insns[insn].op <= i; insn++) {
            if (ir->insns[insn].block != from)
                continue;
            struct ir_insn *to = &ir->insns[ir->n_insns++];
            *to = ir->insns[insn];
            to->op = ir->n_ops;
            to->block = block;
        }
        copy_op(l, i, addends);
    }
    close_block(ir);
}

/* Who leads to the head goes to `in`, if from outside, or `back` now. */
static void lead_elsewhere(struct loop *l, uint16_t n_blocks, uint16_t in, uint16_t back)
{
    struct ir *ir = l->ir;
    for (uint16_t b = 0; b < n_blocks; b++) {
        if (successor(ir, b, 0) == IR_NONE && successor(ir, b, 1) == IR_NONE)
            continue;
        struct ir_op *end = &ir->ops[ir->blocks[b].first + ir->blocks[b].n - 1];
        uint16_t to = l->place[b] >= 0 ? back : in;
        if (end->c == l->head)
            end->c = to;
        if (end->code == IR_branch && end->d == l->head)
            end->d = to;
    }
}

static bool has_room(struct loop *l)
{
    const struct ir *ir = l->ir;
    unsigned ops = 32 + 16 * IR_WINDOWS, insns = 0;
    for (unsigned i = 0; i < l->n_body; i++) {
        ops += ir->blocks[l->body[i]].n + IR_WINDOWS;
        insns += ir->blocks[l->body[i]].n_insns;
    }
    l->why = "there is no room in the unit";
    return ir->n_ops + ops <= IR_MAX_OPS && ir->n_insns + insns <= IR_MAX_INSNS &&
           ir->n_blocks + l->n_body + 5 <= IR_MAX_BLOCKS;
}

static void make_copy(struct loop *l, const struct ir_helper *helper)
{
    struct ir *ir = l->ir;
    uint16_t n_blocks = ir->n_blocks;
    uint16_t in = append_way_in(l, IR_COOL_TURNS), again = append_way_in(l, IR_AGAIN_TURNS);
    ir->blocks[again].loops = ir->blocks[again].guest = true; /* the exit flag is tested there, */
    ir->blocks[l->head].loops = false;                        /* no longer here */
    l->windows_block = ir->n_blocks + 1;
    l->turn_block = ir->n_blocks + 2;
    for (unsigned i = 0; i < l->n_body; i++)
        l->copy[i] = l->turn_block + 1 + (uint16_t)i;
    uint16_t back = append_way_back(l, IR_WORD_COOL, l->head, l->windows_block);
    append_windows(l, helper, again);
    append_way_back(l, IR_WORD_LIMIT, l->copy[0], l->windows_block);
    for (unsigned i = 0; i < l->n_body; i++)
        copy_block(l, l->body[i]);
    lead_elsewhere(l, n_blocks, in, back);
}

/* A unit that begins with a loop gets a block before it. */
static void put_in_front(struct ir *ir)
{
    memmove(&ir->blocks[1], &ir->blocks[0], ir->n_blocks++ * sizeof(ir->blocks[0]));
    for (uint16_t i = 0; i < ir->n_ops; i++) {
        struct ir_op *op = &ir->ops[i];
        if (op->code == IR_jump || op->code == IR_branch)
            op->c += op->c != IR_NONE;
        if (op->code == IR_branch)
            op->d += op->d != IR_NONE;
    }
    for (uint16_t k = 0; k < ir->n_insns; k++)
        ir->insns[k].block++;
    ir->block++;
    ir->blocks[0] = (struct ir_block){ .first = ir->n_ops, .n = 1, .off = ir->blocks[1].off };
    append(ir, IR_jump, IR_VOID)->c = 1;
}

/* ---- for people ---------------------------------------------------------------------------------------------- */

static void say_form(FILE *f, const struct loop *l, const struct form *form)
{
    for (unsigned k = 0; k < form->n; k++) {
        fprintf(f, "%s%s", k ? " + " : "", l->ir->slots[form->slot[k]].name);
        if (form->factor[k] != 1)
            fprintf(f, " * %" PRId64, form->factor[k]);
    }
    if (form->c || !form->n)
        fprintf(f, form->n ? "%+" PRId64 : "%" PRId64, form->c);
}

/* A window as "read x11 + x5 * 8, 8 bytes, + 8 a turn". */
static void say_window(FILE *f, const struct loop *l, const struct window *w)
{
    fprintf(f, "%s ", w->writes ? "write" : "read");
    say_form(f, l, &w->from);
    fprintf(f, ", %" PRId64 " bytes, %+" PRId64 " a turn", w->span, w->stride);
}

static void tell_loop(const struct loop *l, const struct ir_teller *tell)
{
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (l->why) {
        fprintf(f, "no windows: %s", l->why);
    } else {
        unsigned rest = l->n_accesses;
        for (unsigned k = 0; k < l->n_accesses; k++)
            rest -= l->accesses[k].window >= 0;
        fprintf(f, "%u window%s, %u of %u accesses checked at each turn", l->n_windows,
                l->n_windows > 1 ? "s" : "", rest, l->n_accesses);
    }
    for (unsigned k = 0; !l->why && k < l->n_windows; k++) {
        fprintf(f, "; ");
        say_window(f, l, &l->windows[k]);
    }
    fclose(f);
    tell->say(tell->opaque, l->ir->blocks[l->head].off, text);
    free(text);
}

unsigned ir_copy_loops(struct ir *ir, const struct ir_helper *helper, const struct ir_teller *tell)
{
    unsigned n = 0;
    struct loop *l = xmalloc(sizeof(*l));
    l->ir = ir;
    l->first = ir->blocks[0].loops && ir->n_blocks < IR_MAX_BLOCKS && ir->n_ops < IR_MAX_OPS;
    if (l->first)
        put_in_front(ir);
    l->n_original = ir->n_blocks;
    for (uint16_t b = l->first; b < l->n_original; b++) {
        l->head = b;
        if (!ir->blocks[b].loops || !ir->blocks[b].guest)
            continue;
        if (find_body(l) && is_simple(l) && has_room(l) && find_windows(l)) {
            l->why = NULL;
            make_copy(l, helper);
            n++;
        }
        if (tell)
            tell_loop(l, tell);
    }
    free(l);
    return n;
}
