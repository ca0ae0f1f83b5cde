/* Loops that walk through memory: their TLB checks move out of the loop.
 *
 * In an innermost loop many addresses are sums of slots that a turn leaves alone or moves by a constant. How many
 * turns such an access stays inside one page, its window, is known before they begin. So the loop gets a second
 * copy, whose accesses go to the host's memory without a check, and around both some blocks of our own.
 *
 * Often the number of turns is known as well: the way back compares a value that moves by a constant with one that
 * stays ("counted"). Then windows are looked for at once, if enough turns are left, and the copy need not compare:
 *
 *     look:    exit flag? leave; enough turns left? windows : rest            (on the way in)
 *     windows: turns = as many as are left, at most those that each window is good for; LIMIT = iv + turns * step;
 *              enough? copy : again
 *     again:   COOL = iv + a few turns * step; loop
 *     rest:    COOL = iv + some turns * step; loop
 *     loop:    ...                               as it was, but for its way back, which leads to
 *     cool:    iv != COOL ? loop : look
 *     turn:    iv != LIMIT ? copy : look         the way back of
 *     copy:    ...
 *
 * If not, `look` comes after some turns: `rest` is on the way in, and `windows` has the exit flag. iv is a
 * slot that every turn moves by `step`.
 *
 * Who enters the loop behind its head, as where its condition stands at the end and comes first, sets COOL on
 * the way, too.
 *
 * A counted loop of one block, all of whose accesses are in windows, is "tight": nobody can look at slots
 * before it ends. Its copy has several turns in one, the addresses of the later ones are those of the first
 * and a constant, and what it would store for nobody to see (x86's flags) is computed from other slots on the
 * way out.
 *
 * Slots of 32 bits ("narrow": RISC-V's addiw, x86's add to half a register) count as moved by a constant, too. Then
 * `windows` sees to it that they do not wrap in the turns of the copy.
 *
 * The exit flag is tested some thousand turns apart at most. What a copy accesses otherwise is checked as
 * ever; but a device there leaves the unit first (struct ir_block.windows), since devices may change where windows
 * lead. docs/translator.md. */
#include "tcg/ir_loops.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums ------------------------------------------------------------------------------------------ */

static struct form form_const(int64_t c)
{
    return (struct form){ .known = true, .c = c };
}

static struct form form_slot(unsigned slot)
{
    return (struct form){ .known = true, .n = 1, .slot = { (uint8_t)slot }, .factor = { 1 } };
}

/* a + b * k */
static struct form form_sum(const struct form *a, const struct form *b, int64_t k)
{
    struct form r = { .known = a->known && b->known,
                      .width = (uint8_t)MAX(a->width, b->width),
                      .c = plus(a->c, times(b->c, k)) };
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

static struct form form_half(const struct form *a, enum width width)
{
    struct form r = *a;
    r.width = (uint8_t)width;
    return r;
}

static bool same_terms(const struct form *a, const struct form *b)
{
    if (!a->known || !b->known || a->n != b->n || a->width != b->width)
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

/* By the low halves of operands, if the operation is an i32's. */
static struct form form_of_sum(const struct ir_op *op, const struct form *a, const struct form *b)
{
    const struct form none = { 0 }, zero = form_const(0);
    bool half = op->type == IR_I32, b_const = b->known && !b->n, a_const = a->known && !a->n;
    struct form r = none;
    if (!half && (a->width != WHOLE || b->width != WHOLE))
        return none;
    switch (op->code) {
    case IR_add: r = form_sum(a, b, 1); break;
    case IR_sub: r = form_sum(a, b, -1); break;
    case IR_shl:
        r = b_const ? form_sum(&zero, a, (int64_t)((uint64_t)1 << (b->c & (half ? 31 : 63))))
                    : none;
        break;
    default: r = b_const ? form_sum(&zero, a, b->c) : a_const ? form_sum(&zero, b, a->c) : none;
    }
    return form_half(&r, half ? SIGNED_HALF : WHOLE);
}

struct narrow *loop_narrow(struct ir_loop *l, int slot)
{
    for (unsigned k = 0; k < l->n_narrow; k++)
        if (l->narrow[k].slot == slot)
            return &l->narrow[k];
    return NULL;
}

/* An i32 made 64 bits wide: all of a sum if that is a narrow slot and a constant. */
static struct form form_extended(struct ir_loop *l, const struct form *a, enum width width)
{
    struct form r = form_half(a, width);
    struct narrow *n = a->known && a->n == 1 ? loop_narrow(l, a->slot[0]) : NULL;
    int64_t c = (int32_t)a->c;
    if (!n || n->width != width || a->factor[0] != 1 || llabs(c) > NARROW_LIMIT)
        return r;
    n->lo = MIN(n->lo, c);
    n->hi = MAX(n->hi, c);
    r.width = WHOLE;
    r.c = c;
    return r;
}

static struct form form_of_op(struct ir_loop *l, const struct ir_op *op)
{
    const struct form none = { 0 };
    const struct form *a = op->a == IR_NONE ? &none : &l->value[op->a];
    const struct form *b = op->b == IR_NONE ? &none : &l->value[op->b];
    if (op->type != IR_I64 && op->type != IR_I32)
        return none;
    struct form c = form_const(op->imm);
    switch (op->code) {
    case IR_const: return form_half(&c, op->type == IR_I32 ? SIGNED_HALF : WHOLE);
    case IR_get: return l->slots[op->imm];
    case IR_add:
    case IR_sub:
    case IR_shl:
    case IR_mul: return form_of_sum(op, a, b);
    case IR_trunc: return form_half(a, SIGNED_HALF);
    case IR_sext32: return form_extended(l, a, SIGNED_HALF);
    case IR_zext32: return form_extended(l, a, UNSIGNED_HALF);
    default: return none;
    }
}

/* ---- which blocks ------------------------------------------------------------------------------------- */

static const struct ir_op *end_of(const struct ir *ir, uint16_t block)
{
    return &ir->ops[ir->blocks[block].first + ir->blocks[block].n - 1];
}

uint16_t loop_successor(const struct ir *ir, uint16_t block, unsigned k)
{
    const struct ir_op *end = end_of(ir, block);
    bool leads = end->code == IR_jump || end->code == IR_branch || end->code == IR_jumpi;
    if (!ir->blocks[block].n || !leads || (k == 1 && end->code != IR_branch))
        return IR_NONE;
    return k ? end->d : end->c;
}

static bool add_to_body(struct ir_loop *l, uint16_t block)
{
    if (l->place[block] >= 0)
        return true;
    if (l->n_body == MAX_BODY) {
        l->why = IR_NO_WINDOWS_BLOCKS;
        return false;
    }
    l->place[block] = (int8_t)l->n_body;
    l->body[l->n_body++] = block;
    return true;
}

/* Blocks that the head does not lead to are none of the loop's: somebody behind it who jumps there. */
static void drop_unreached(struct ir_loop *l)
{
    bool reached[MAX_BODY] = { [0] = true };
    unsigned n = 0, before;
    do {
        before = n;
        n = 0;
        for (unsigned i = 0; i < l->n_body; i++)
            for (unsigned k = 0; k < 2 && reached[i]; k++) {
                uint16_t to = loop_successor(l->ir, l->body[i], k);
                n += !k;
                if (to != IR_NONE && l->place[to] >= 0)
                    reached[l->place[to]] = true;
            }
    } while (n != before);
    n = 0;
    for (unsigned i = 0; i < l->n_body; i++) {
        uint16_t b = l->body[i];
        bool stays = reached[i];
        l->place[b] = stays ? (int8_t)n : -1;
        if (stays)
            l->body[n++] = b;
    }
    l->n_body = n;
}

/* The head, and the blocks behind it that it leads to and from which it is reached again. False: too many. */
static bool find_body(struct ir_loop *l)
{
    const struct ir *ir = l->ir;
    memset(l->place, -1, sizeof(l->place));
    l->n_body = 0;
    add_to_body(l, l->head);
    for (unsigned before = 0; before != l->n_body;) {
        before = l->n_body;
        for (uint16_t b = l->first; b < l->n_original; b++)
            for (unsigned k = 0; k < 2; k++) {
                uint16_t to = loop_successor(ir, b, k);
                if (to != IR_NONE && l->place[to] >= 0 &&
                    ir->blocks[b].first >= ir->blocks[l->head].first && !add_to_body(l, b))
                    return false;
            }
    }
    drop_unreached(l);
    for (unsigned i = 1; i < l->n_body; i++) /* few, and almost in order */
        for (unsigned k = i; k && ir->blocks[l->body[k]].first < ir->blocks[l->body[k - 1]].first;
             k--) {
            uint16_t b = l->body[k];
            l->body[k] = l->body[k - 1];
            l->body[k - 1] = b;
        }
    for (unsigned i = 0; i < l->n_body; i++)
        l->place[l->body[i]] = (int8_t)i;
    return true;
}

static void find_entered(struct ir_loop *l)
{
    memset(l->entered, 0, sizeof(l->entered));
    for (uint16_t b = 0; b < l->ir->n_blocks; b++)
        for (unsigned k = 0; k < 2 && l->place[b] < 0; k++) {
            uint16_t to = loop_successor(l->ir, b, k);
            if (to != IR_NONE && l->place[to] >= 0)
                l->entered[l->place[to]] = true;
        }
}

/* Why a loop with this operation gets no copy. */
static enum ir_no_windows obstacle(const struct ir_op *op)
{
    switch (op->code) {
    case IR_call:
        return ((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_PURE
                   ? IR_HAS_WINDOWS
                   : IR_NO_WINDOWS_HELPER;
    case IR_copy:
    case IR_fill: return IR_NO_WINDOWS_REPEAT;
    case IR_rmw:
    case IR_cas: return IR_NO_WINDOWS_ATOMIC;
    case IR_fence: return IR_NO_WINDOWS_FENCE;
    case IR_fflags:
    case IR_set_fflags: return IR_NO_WINDOWS_FFLAGS;
    default: return IR_HAS_WINDOWS;
    }
}

/* Does the body do nothing but compute and access, with no loop inside? */
static bool is_simple(struct ir_loop *l)
{
    const struct ir *ir = l->ir;
    for (unsigned i = 0; i < l->n_body; i++) {
        const struct ir_block *b = &ir->blocks[l->body[i]];
        l->why = (i && b->loops) || !l->body[i] ? IR_NO_WINDOWS_LOOP
                 : b->after_call                ? IR_NO_WINDOWS_CALL
                                                : IR_HAS_WINDOWS;
        for (uint16_t k = b->first; !l->why && k < b->first + b->n; k++)
            l->why = obstacle(&ir->ops[k]);
        if (l->why)
            return false;
    }
    return true;
}

/* ---- what a turn does to the slots ----------------------------------------------------------------------- */

static void note_access(struct ir_loop *l, uint16_t i)
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
static void flow(struct ir_loop *l, uint16_t to)
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

static void analyse(struct ir_loop *l)
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
            uint16_t to = loop_successor(ir, l->body[i], k);
            if (to != IR_NONE && l->place[to] >= 0)
                flow(l, to);
        }
    }
}

/* By how much a turn moves the slot, or its low half. False: who knows. */
static bool step_of(const struct ir_loop *l, unsigned slot, bool half, int64_t *step)
{
    const struct form *f = &l->back[slot];
    *step = half ? (int32_t)f->c : f->c;
    return f->known && (half || f->width == WHOLE) && f->n == 1 && f->slot[0] == slot &&
           f->factor[0] == 1;
}

/* Slots that a turn moves by a constant, but for their upper halves. Behind analyse. */
static void find_narrow(struct ir_loop *l)
{
    for (unsigned s = 0; s < l->ir->n_slots && l->n_narrow < MAX_NARROW; s++) {
        int64_t step;
        if (l->back[s].width != WHOLE && step_of(l, s, true, &step) && step &&
            llabs(step) <= IR_STRIDE_MAX)
            l->narrow[l->n_narrow++] =
                (struct narrow){ .slot = (uint8_t)s, .width = l->back[s].width };
    }
}

static bool stride_of(const struct ir_loop *l, const struct form *f, int64_t *stride)
{
    bool half = f->width != WHOLE;
    *stride = 0;
    for (unsigned k = 0; k < f->n; k++) {
        int64_t step;
        if (!step_of(l, f->slot[k], half, &step))
            return false;
        *stride = plus(*stride, times(step, f->factor[k]));
        if (half)
            *stride = (int32_t)*stride;
    }
    return f->known && *stride >= -IR_STRIDE_MAX && *stride <= IR_STRIDE_MAX;
}

/* The window of an access: one that is there already, made wider, or a new one. */
static int window_for(struct ir_loop *l, const struct access *a)
{
    const struct ir_op *op = &l->ir->ops[a->op];
    unsigned bytes = ir_access_bytes(op->shape);
    unsigned align = op->shape & IR_ALIGNED ? (unsigned)__builtin_ctz(bytes) : 0;
    int64_t stride;
    if (a->at.width != WHOLE || !stride_of(l, &a->at, &stride) ||
        stride & (((int64_t)1 << align) - 1))
        return -1;
    for (unsigned k = 0; k < l->n_windows; k++) {
        struct window *w = &l->windows[k];
        if (!same_terms(&w->from, &a->at) || w->mode != (op->x & IR_MODE_MASK) || w->align != align)
            continue;
        int64_t off = (int64_t)((uint64_t)a->at.c - (uint64_t)w->from.c);
        int64_t lo = MIN(off, 0), hi = MAX(off + bytes, w->span);
        if (off < -IR_SPAN_MAX || off > IR_SPAN_MAX || hi - lo > IR_SPAN_MAX ||
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

/* Is it known where in its turn the slot stands, wherever the loop is entered? */
static bool is_known_on_entry(const struct ir_loop *l, unsigned slot)
{
    for (unsigned i = 1; i < l->n_body; i++) {
        const struct form *f = &l->entry[i][slot];
        if (l->entered[i] && !(f->known && f->width == WHOLE && f->n == 1 && f->slot[0] == slot &&
                               f->factor[0] == 1))
            return false;
    }
    return true;
}

/* The slot that tells turns: one that is 64 bits wide, one in a register. False: there is none. */
static bool choose_iv(struct ir_loop *l)
{
    int best = -1;
    l->iv = -1;
    l->why = IR_NO_WINDOWS_STEP;
    for (unsigned s = 0; s < l->ir->n_slots; s++) {
        int64_t step;
        int good = l->ir->slots[s].heat + (loop_narrow(l, (int)s) ? 0 : 256);
        if (l->ir->slots[s].type != IR_I64 || !step_of(l, s, false, &step) || !step || good <= best)
            continue;
        if (!is_known_on_entry(l, s)) {
            l->why = IR_NO_WINDOWS_MIDDLE;
            continue;
        }
        best = good;
        l->iv = (int)s;
        l->step = step;
    }
    return l->iv >= 0;
}

/* True: it pays. */
static bool find_windows(struct ir_loop *l)
{
    l->n_narrow = 0;
    find_entered(l);
    analyse(l);
    find_narrow(l);
    if (l->n_narrow)
        analyse(l);
    l->n_windows = 0;
    if (!choose_iv(l))
        return false;
    for (unsigned k = 0; k < l->n_accesses; k++)
        l->accesses[k].window = (int8_t)window_for(l, &l->accesses[k]);
    l->why = l->n_accesses ? IR_NO_WINDOWS_STEADY : IR_NO_WINDOWS_ACCESS;
    return l->n_windows;
}

/* ---- how many turns ---------------------------------------------------------------------------------------- */

/* The only way back to the head, or NULL. */
static const struct ir_op *way_back(const struct ir_loop *l)
{
    const struct ir_op *end = NULL;
    for (unsigned i = 0; i < l->n_body; i++)
        for (unsigned k = 0; k < 2; k++) {
            if (loop_successor(l->ir, l->body[i], k) != l->head)
                continue;
            if (end)
                return NULL;
            end = end_of(l->ir, l->body[i]);
        }
    return end;
}

/* Does a comparison say before a turn begins how many will come? */
static bool find_count(struct ir_loop *l)
{
    const struct ir_op *end = way_back(l);
    int64_t by_a, by_b;
    if (!end || end->code != IR_branch)
        return false;
    l->cc = (enum ir_cc)(end->c == l->head ? end->cc : end->cc ^ 1);
    l->moving = l->value[end->a];
    l->bound = l->value[end->b];
    if (!stride_of(l, &l->moving, &by_a) || !stride_of(l, &l->bound, &by_b) || !by_a == !by_b)
        return false;
    if (by_b) {
        l->cc = ir_swapped_cc(l->cc);
        l->moving = l->value[end->b];
        l->bound = l->value[end->a];
    }
    l->by = by_a + by_b;
    l->half = end->type == IR_I32;
    uint64_t each = (uint64_t)llabs(l->by);
    bool up = l->by > 0, is_signed = l->cc >= IR_LT && l->cc <= IR_GT;
    if (each & (each - 1))
        return false;
    if (!l->half && l->bound.width != WHOLE)
        return false;
    /* What wraps at 32 bits never gets beyond a bound that is wider, if the order is its own. */
    if (!l->half && l->moving.width != WHOLE && l->cc != IR_NE &&
        (l->moving.width != SIGNED_HALF || !is_signed))
        return false;
    switch (l->cc) {
    case IR_NE: return true;
    case IR_LT:
    case IR_LE:
    case IR_LTU:
    case IR_LEU: return up;
    case IR_GT:
    case IR_GE:
    case IR_GTU:
    case IR_GEU: return !up;
    default: return false;
    }
}

static bool depends_on(const struct form *f, unsigned slot)
{
    for (unsigned k = 0; k < f->n; k++)
        if (f->slot[k] == slot)
            return true;
    return false;
}

/* Keeps those narrow slots that must not wrap. */
static void drop_idle_narrow(struct ir_loop *l)
{
    unsigned n = 0;
    for (unsigned i = 0; i < l->n_narrow; i++) {
        unsigned slot = l->narrow[i].slot;
        bool needed = l->iv == (int)slot;
        for (unsigned k = 0; k < l->n_windows; k++)
            needed |= depends_on(&l->windows[k].from, slot);
        needed |= l->counted && (depends_on(&l->moving, slot) || depends_on(&l->bound, slot));
        if (needed)
            l->narrow[n++] = l->narrow[i];
    }
    l->n_narrow = n;
}

/* ---- tight loops ------------------------------------------------------------------------------------------- */

uint16_t loop_last_set(const struct ir_loop *l, unsigned slot)
{
    const struct ir_block *b = &l->ir->blocks[l->head];
    for (uint16_t i = b->first + b->n; i-- > b->first;) {
        const struct ir_op *op = &l->ir->ops[i];
        if ((op->code == IR_set || op->code == IR_forget) && op->imm == slot)
            return i;
    }
    return IR_NONE;
}

int loop_holder_of(const struct ir_loop *l, ir_val v)
{
    for (unsigned s = 0; s < l->ir->n_slots; s++) {
        uint16_t set = loop_last_set(l, s);
        if (!l->ir->slots[s].heat || l->ir->slots[s].type != IR_I64)
            continue;
        if (set != IR_NONE ? l->ir->ops[set].code == IR_set && l->ir->ops[set].a == v
                           : l->ir->ops[v].code == IR_get && l->ir->ops[v].imm == s)
            return (int)s;
    }
    return -1;
}

/* Can v be computed again behind the loop? */
static bool can_rebuild(const struct ir_loop *l, ir_val v, unsigned depth)
{
    const struct ir_op *op = &l->ir->ops[v];
    if (op->code == IR_const || (op->type == IR_I64 && loop_holder_of(l, v) >= 0))
        return true;
    switch (op->code) {
    case IR_add:
    case IR_sub:
    case IR_and:
    case IR_or:
    case IR_xor:
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_setc:
        return depth && can_rebuild(l, op->a, depth - 1) && can_rebuild(l, op->b, depth - 1);
    case IR_trunc:
    case IR_sext32:
    case IR_zext32: return depth && can_rebuild(l, op->a, depth - 1);
    default: return false;
    }
}

/* Slots that no turn reads, of those that are seldom in a register: what a turn forgets is stored nowhere. */
static void find_sunk(struct ir_loop *l)
{
    const struct ir_block *b = &l->ir->blocks[l->head];
    bool read[MOST_SLOTS] = { false };
    l->n_sunk = 0;
    for (uint16_t i = b->first; i < b->first + b->n; i++)
        if (l->ir->ops[i].code == IR_get)
            read[l->ir->ops[i].imm] = true;
    for (unsigned s = 0; s < l->ir->n_slots && l->n_sunk < MAX_SUNK; s++) {
        uint16_t set = loop_last_set(l, s);
        if (set != IR_NONE && !read[s] && !l->ir->slots[s].heat && l->ir->slots[s].type == IR_I64 &&
            (l->ir->ops[set].code == IR_forget || can_rebuild(l, l->ir->ops[set].a, REBUILD_DEPTH)))
            l->sunk[l->n_sunk++] = (uint8_t)s;
    }
}

bool loop_is_sunk(const struct ir_loop *l, int64_t slot)
{
    for (unsigned k = 0; k < l->n_sunk; k++)
        if (l->sunk[k] == slot)
            return true;
    return false;
}

static bool is_tight(const struct ir_loop *l)
{
    const struct ir_block *b = &l->ir->blocks[l->head];
    unsigned n_accesses = 0;
    if (!l->counted || l->n_body != 1)
        return false;
    for (uint16_t i = b->first; i < b->first + b->n; i++)
        n_accesses += (ir_op_infos[l->ir->ops[i].code].flags & IR_MAY_FAULT) != 0;
    for (unsigned k = 0; k < l->n_accesses; k++)
        if (l->accesses[k].window < 0)
            return false;
    return n_accesses == l->n_accesses;
}

/* How many operations of a turn are copied. */
static unsigned turn_ops(const struct ir_loop *l)
{
    const struct ir_block *b = &l->ir->blocks[l->head];
    unsigned n = b->n;
    for (uint16_t i = b->first; i < b->first + b->n; i++)
        n -= l->ir->ops[i].code == IR_forget;
    return n;
}

/* What shape the copy will have. */
static void choose_shape(struct ir_loop *l)
{
    l->counted = find_count(l);
    drop_idle_narrow(l);
    l->tight = is_tight(l);
    l->turns = 1;
    l->n_sunk = 0;
    if (!l->tight)
        return;
    find_sunk(l);
    while (l->turns < MAX_UNROLL && 2 * l->turns * turn_ops(l) <= (unsigned)UNROLLED_OPS)
        l->turns *= 2;
}

/* ---- for people ---------------------------------------------------------------------------------------------- */

static void say_form(FILE *f, const struct ir_loop *l, const struct form *form)
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
static void say_window(FILE *f, const struct ir_loop *l, const struct window *w)
{
    fprintf(f, "%s ", w->writes ? "write" : "read");
    say_form(f, l, &w->from);
    fprintf(f, ", %" PRId64 " bytes, %+" PRId64 " a turn", w->span, w->stride);
}

#define NAME(name, word, text) [IR_NO_WINDOWS_##name] = word,
#define TEXT(name, word, text) [IR_NO_WINDOWS_##name] = text,
const char *const ir_no_windows_names[] = { IR_NO_WINDOWS_LIST(NAME) };

static void tell_loop(const struct ir_loop *l, const struct ir_teller *tell)
{
    static const char *const reasons[] = { IR_NO_WINDOWS_LIST(TEXT) };
    char *text = NULL;
    size_t n;
    FILE *f = open_memstream(&text, &n);
    if (l->why) {
        fprintf(f, "no windows: %s", reasons[l->why]);
    } else {
        unsigned rest = l->n_accesses;
        for (unsigned k = 0; k < l->n_accesses; k++)
            rest -= l->accesses[k].window >= 0;
        fprintf(f, "%u window%s, %u of %u accesses checked at each turn", l->n_windows,
                l->n_windows > 1 ? "s" : "", rest, l->n_accesses);
        if (l->counted)
            fprintf(f, ", counted");
        if (l->turns > 1)
            fprintf(f, ", %u turns in one", l->turns);
    }
    for (unsigned k = 0; !l->why && k < l->n_windows; k++) {
        fprintf(f, "; ");
        say_window(f, l, &l->windows[k]);
    }
    fclose(f);
    tell->say(tell->opaque, l->ir->blocks[l->head].off, text);
    free(text);
}

struct ir_loop_counts ir_copy_loops(struct ir *ir, const struct ir_teller *tell)
{
    struct ir_loop_counts counts = { 0 };
    struct ir_loop *l = xmalloc(sizeof(*l));
    l->ir = ir;
    l->first = ir->blocks[0].loops && ir->n_blocks < IR_MAX_BLOCKS && ir->n_ops < IR_MAX_OPS;
    if (l->first)
        loop_put_in_front(ir);
    l->n_original = ir->n_blocks;
    for (uint16_t b = l->first; b < l->n_original; b++) {
        l->head = b;
        if (!ir->blocks[b].loops || !ir->blocks[b].guest)
            continue;
        if (find_body(l) && is_simple(l) && loop_has_room(l) && find_windows(l)) {
            l->why = IR_HAS_WINDOWS;
            choose_shape(l);
            loop_make_copy(l);
        }
        counts.n[l->why]++;
        if (tell)
            tell_loop(l, tell);
    }
    free(l);
    return counts;
}

int64_t ir_window_code(struct ir_window w)
{
    return (int64_t)(w.span | (uint64_t)(w.stride + IR_STRIDE_MAX) << 16 | (uint64_t)w.mode << 32 |
                     (uint64_t)w.align << 40 | (uint64_t)w.writes << 44 | (uint64_t)w.n << 48);
}

struct ir_window ir_window_of(int64_t code)
{
    uint64_t c = (uint64_t)code;
    return (struct ir_window){ .span = (unsigned)bits(c, 0, 16),
                               .stride = (int)bits(c, 16, 16) - IR_STRIDE_MAX,
                               .mode = (unsigned)bits(c, 32, 8),
                               .align = (unsigned)bits(c, 40, 4),
                               .writes = bits(c, 44, 1),
                               .n = (unsigned)bits(c, 48, 8) };
}
