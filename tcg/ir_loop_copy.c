/* The second copy of a loop, and the blocks around both: ir_loops.c has the picture. */
#include "tcg/ir_loops.h"

#include <stdlib.h>
#include <string.h>

/* Of turns: in the copy without a look at the exit flag; that pay for a look at windows; before the first
 * look if nobody knows how many there will be, and before the next one. */
enum { MOST_TURNS = 1024, LEAST_TURNS = 8, COOL_TURNS = 12, AGAIN_TURNS = 4, REST_TURNS = 40 };
enum { WAY_IN_OPS = 12 };

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

static ir_val append_const(struct ir *ir, int64_t c)
{
    return append_imm(ir, IR_const, c);
}

static ir_val append_trunc(struct ir *ir, ir_val v)
{
    append(ir, IR_trunc, IR_I64)->a = v;
    return ir->n_ops - 1;
}

static ir_val append_extended(struct ir *ir, enum ir_code code, ir_val v)
{
    append(ir, code, IR_I32)->a = v;
    return ir->n_ops - 1;
}

/* One of two i64, as a comparison says. */
static ir_val append_select(struct ir *ir, enum ir_type type, enum ir_cc cc, ir_val a, ir_val b,
                            ir_val if_so, ir_val if_not)
{
    ir_val cond = append_2(ir, IR_setc, a, b);
    ir->ops[cond].type = (uint8_t)type;
    ir->ops[cond].cc = (uint8_t)cc;
    ir_val r = append_2(ir, IR_select, cond, if_so);
    ir->ops[r].c = if_not;
    return r;
}

static void append_jump(struct ir *ir, uint16_t to)
{
    append(ir, IR_jump, IR_VOID)->c = to;
}

static void append_count(struct ir *ir, int64_t word)
{
    ir_val n = append_imm(ir, IR_word, word);
    append_set_word(ir, word, append_2(ir, IR_add, n, append_const(ir, 1)));
}

/* A way into the loop as it was, to the k-th block of its body, which will look for windows after so many turns. */
static uint16_t append_way_in(struct ir_loop *l, unsigned k, int64_t turns, bool refused)
{
    struct ir *ir = l->ir;
    uint16_t block = open_block(ir, l->body[k]);
    int64_t moved = l->entry[k][l->iv].c; /* in this turn */
    ir_val iv = append_imm(ir, IR_get, l->iv);
    ir_val by = append_const(ir, plus(times(turns, l->step), -moved));
    ir_val at = append_2(ir, IR_add, iv, by);
    const struct narrow *narrow = loop_narrow(l, l->iv);
    if (narrow) /* here it may wrap */
        at = append_extended(ir, narrow->width == SIGNED_HALF ? IR_sext32 : IR_zext32,
                             append_trunc(ir, at));
    append_set_word(ir, IR_WORD_COOL, at);
    if (refused)
        append_count(ir, IR_WORD_REFUSED);
    append_jump(ir, l->body[k]);
    close_block(ir);
    return block;
}

/* A way back that goes elsewhere when iv has become a word's value. */
static uint16_t append_way_back(struct ir_loop *l, int64_t word, uint16_t to, uint16_t elsewhere)
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

/* Turns that are certain to come behind the next one or, if nobody knows, many. */
static ir_val append_turns_left(struct ir_loop *l)
{
    struct ir *ir = l->ir;
    ir_val most = append_const(ir, MOST_TURNS);
    if (!l->counted)
        return most;
    unsigned shift = (unsigned)__builtin_ctzll((uint64_t)llabs(l->by));
    ir_val at = append_form(ir, &l->moving), bound = append_form(ir, &l->bound);
    ir_val n = l->by > 0 ? append_2(ir, IR_sub, bound, at) : append_2(ir, IR_sub, at, bound);
    if (l->moving.width != WHOLE)
        n = append_extended(ir, IR_zext32, append_trunc(ir, n));
    if (shift)
        n = append_2(ir, IR_shr, n, append_const(ir, shift));
    if (l->cc != IR_NE) {
        if (l->half) {
            at = append_trunc(ir, at);
            bound = append_trunc(ir, bound);
        } else if (l->moving.width != WHOLE) {
            at = append_extended(ir, IR_sext32, append_trunc(ir, at));
        }
        n = append_select(ir, l->half ? IR_I32 : IR_I64, l->cc, at, bound, n, append_const(ir, 0));
    }
    return append_select(ir, IR_I64, IR_LTU, n, most, n, most);
}

/* No more turns than a narrow slot can be moved without wrapping; none if it is not what an extension gives. */
static ir_val append_narrow_limit(struct ir_loop *l, const struct narrow *n, ir_val turns)
{
    struct ir *ir = l->ir;
    int64_t step = l->back[n->slot].c, least = n->width == SIGNED_HALF ? INT32_MIN : 0;
    unsigned shift = 0;
    while (llabs(step) > (int64_t)1 << shift)
        shift++;
    ir_val at = append_imm(ir, IR_get, n->slot);
    ir_val room = step > 0 ? append_2(ir, IR_sub, append_const(ir, least + UINT32_MAX - n->hi), at)
                           : append_2(ir, IR_add, at, append_const(ir, n->lo - least));
    ir_val n_values = append_const(ir, (int64_t)UINT32_MAX + 1 - (n->hi - n->lo));
    ir_val most = append_2(ir, IR_shr, room, append_const(ir, shift));
    turns = append_select(ir, IR_I64, IR_LTU, most, turns, most, turns);
    return append_select(ir, IR_I64, IR_LTU, room, n_values, turns, append_const(ir, 0));
}

/* The exit flag is tested here: the loop as it was comes here now and then. */
static uint16_t open_look(struct ir_loop *l)
{
    uint16_t block = open_block(l->ir, l->head);
    l->ir->blocks[block].loops = l->ir->blocks[block].guest = true;
    return block;
}

static void append_look(struct ir_loop *l, uint16_t rest)
{
    struct ir *ir = l->ir;
    open_look(l);
    ir_val turns = append_turns_left(l);
    append_branch(ir, IR_GEU, turns, append_const(ir, LEAST_TURNS), l->windows_block, rest);
    close_block(ir);
}

static void append_windows(struct ir_loop *l, uint16_t again)
{
    struct ir *ir = l->ir;
    if (l->counted)
        open_block(ir, l->head);
    else
        open_look(l);
    append_count(ir, IR_WORD_LOOKS);
    ir_val turns = append_turns_left(l);
    for (unsigned k = 0; k < l->n_narrow; k++)
        turns = append_narrow_limit(l, &l->narrow[k], turns);
    for (unsigned k = 0; k < l->n_windows; k++) {
        const struct window *w = &l->windows[k];
        turns = append_2(ir, IR_window, append_form(ir, &w->from), turns);
        ir->ops[turns].imm = ir_window_code((struct ir_window){ .n = k,
                                                                .span = (unsigned)w->span,
                                                                .mode = w->mode,
                                                                .align = w->align,
                                                                .stride = (int)w->stride,
                                                                .writes = w->writes });
    }
    if (l->turns > 1)
        turns = append_2(ir, IR_and, turns, append_const(ir, -(int64_t)l->turns));
    ir_val moved = append_2(ir, IR_mul, turns, append_const(ir, l->step));
    append_set_word(ir, IR_WORD_LIMIT, append_2(ir, IR_add, moved, append_imm(ir, IR_get, l->iv)));
    append_branch(ir, IR_GEU, turns, append_const(ir, LEAST_TURNS), l->copy[0], again);
    close_block(ir);
}

static const struct access *window_access(const struct ir_loop *l, uint16_t i)
{
    for (unsigned k = 0; k < l->n_accesses; k++)
        if (l->accesses[k].op == i && l->accesses[k].window >= 0)
            return &l->accesses[k];
    return NULL;
}

static uint16_t copied_target(const struct ir_loop *l, uint16_t to)
{
    if (to == IR_NONE || l->place[to] < 0)
        return to;
    return to == l->head ? l->turn_block : l->copy[l->place[to]];
}

/* v + c, of one addition if v is a sum of that kind. */
static ir_val append_sum(struct ir *ir, enum ir_type type, ir_val v, int64_t c)
{
    const struct ir_op *sum = &ir->ops[v];
    int64_t before;
    if (sum->code == IR_add && ir_is_const(ir, sum->b, &before)) {
        v = sum->a;
        c = plus(c, before);
    }
    ir_val with = append_const(ir, type == IR_I32 ? (int32_t)c : c);
    ir->ops[with].type = (uint8_t)type;
    ir_val r = append_2(ir, IR_add, v, with);
    ir->ops[r].type = (uint8_t)type;
    return r;
}

/* The address of an access in a window, a turn's of several: operands and offset of *op. */
static void place_in_window(struct ir_loop *l, const struct access *a, unsigned turn,
                            struct ir_op *op)
{
    struct ir *ir = l->ir;
    struct window *w = &l->windows[a->window];
    ir_val *addend = op->code == IR_load_w ? &op->b : &op->c;
    if (w->addend == IR_NONE)
        w->addend = append_imm(ir, IR_word, IR_WORD_ADDEND + a->window);
    *addend = w->addend;
    if (l->turns == 1)
        return;
    if (w->host == IR_NONE) {
        w->host = append_2(ir, IR_add, op->a, w->addend);
        w->host_c = plus(a->at.c, -op->imm);
    }
    op->a = w->host;
    op->imm = plus(plus(a->at.c, -w->host_c), times(turn, w->stride));
    *addend = append_const(ir, 0);
}

static void copy_op(struct ir_loop *l, uint16_t i, unsigned turn)
{
    struct ir *ir = l->ir;
    const struct access *a = window_access(l, i);
    struct ir_op op = ir->ops[i];
    ir_val *v[4] = { &op.a, &op.b, &op.c, &op.d };
    int64_t c;
    for (unsigned k = 0; k < ir_n_operands(&op); k++)
        if (*v[k] != IR_NONE)
            *v[k] = l->map[*v[k]];
    if (op.code == IR_get && l->now[op.imm] != IR_NONE) {
        l->map[i] = l->now[op.imm];
        return;
    }
    if (op.code == IR_forget)
        return; /* of a tight loop find_sunk leaves its sets out; other copies store what they need not */
    if (op.code == IR_set) {
        l->now[op.imm] = op.a;
        if (loop_is_sunk(l, op.imm))
            return;
    } else if (op.code == IR_add && turn && ir_is_const(ir, op.b, &c)) {
        l->map[i] = append_sum(ir, (enum ir_type)op.type, op.a, c);
        return;
    } else if (op.code == IR_trunc && turn &&
               (ir->ops[op.a].code == IR_sext32 || ir->ops[op.a].code == IR_zext32)) {
        l->map[i] = ir->ops[op.a].a;
        return;
    } else if (op.code == IR_jump || op.code == IR_branch || op.code == IR_jumpi) {
        op.c = copied_target(l, op.c);
        if (op.code == IR_branch)
            op.d = copied_target(l, op.d);
        if (op.code == IR_branch && l->counted &&
            (op.c == l->turn_block || op.d == l->turn_block)) {
            append_jump(ir, l->turn_block);
            return;
        }
    } else if (a) {
        op.code = op.code == IR_load ? IR_load_w : IR_store_w;
        place_in_window(l, a, turn, &op);
    }
    ir->ops[ir->n_ops] = op;
    l->map[i] = ir->n_ops++;
    if (op.code == IR_get)
        l->now[op.imm] = l->map[i];
}

/* Operations [first, end) of a block, and the guest instructions that they belong to. */
static void copy_ops(struct ir_loop *l, uint16_t from, uint16_t block, uint16_t end, unsigned turn)
{
    struct ir *ir = l->ir;
    uint16_t insn = 0, n_insns = ir->n_insns;
    for (uint16_t i = ir->blocks[from].first; i < end; i++) {
        for (; insn < n_insns && ir->insns[insn].op <= i; insn++) {
            if (ir->insns[insn].block != from)
                continue;
            struct ir_insn *to = &ir->insns[ir->n_insns++];
            *to = ir->insns[insn];
            to->op = ir->n_ops;
            to->block = block;
        }
        copy_op(l, i, turn);
    }
}

static uint16_t open_copy(struct ir_loop *l, uint16_t from)
{
    struct ir *ir = l->ir;
    uint16_t block = open_block(ir, from);
    ir->blocks[block].n_insns = (uint16_t)(ir->blocks[from].n_insns * l->turns);
    ir->blocks[block].windows = true;
    memset(l->now, 0xff, sizeof(l->now));
    for (unsigned k = 0; k < l->n_windows; k++)
        l->windows[k].addend = l->windows[k].host = IR_NONE;
    return block;
}

static void copy_block(struct ir_loop *l, uint16_t from)
{
    const struct ir_block *b = &l->ir->blocks[from];
    uint16_t block = open_copy(l, from);
    copy_ops(l, from, block, b->first + b->n, 0);
    close_block(l->ir);
}

static ir_val rebuild(struct ir_loop *l, ir_val v)
{
    struct ir *ir = l->ir;
    struct ir_op op = ir->ops[v];
    int slot = op.code == IR_const || op.type != IR_I64 ? -1 : loop_holder_of(l, v);
    if (slot >= 0)
        return append_imm(ir, IR_get, slot);
    if (op.code != IR_const)
        op.a = rebuild(l, op.a);
    if (op.code != IR_const && ir_n_operands(&op) > 1)
        op.b = rebuild(l, op.b);
    ir->ops[ir->n_ops] = op;
    return ir->n_ops++;
}

/* The copy of a tight loop: some turns, the way back, the way out. */
static void copy_tight(struct ir_loop *l)
{
    struct ir *ir = l->ir;
    const struct ir_block *b = &ir->blocks[l->head];
    uint16_t block = open_copy(l, l->head);
    for (unsigned turn = 0; turn < l->turns; turn++)
        copy_ops(l, l->head, block, b->first + b->n - 1, turn);
    append_branch(ir, IR_NE, l->now[l->iv], append_imm(ir, IR_word, IR_WORD_LIMIT), block,
                  l->n_sunk ? block + 1 : l->look_block);
    close_block(ir);
    if (!l->n_sunk)
        return;
    open_block(ir, l->head);
    for (unsigned k = 0; k < l->n_sunk; k++) {
        const struct ir_op *last = &ir->ops[loop_last_set(l, l->sunk[k])];
        if (last->code == IR_forget)
            continue;
        ir_val v = rebuild(l, last->a);
        struct ir_op *set = append(ir, IR_set, IR_I64);
        set->imm = l->sunk[k];
        set->a = v;
    }
    append_jump(ir, l->look_block);
    close_block(ir);
}

/* Who leads to the head from inside goes `back` now; from outside every block is entered by its way in. */
static void lead_elsewhere(struct ir_loop *l, uint16_t n_blocks, uint16_t back)
{
    struct ir *ir = l->ir;
    for (uint16_t b = 0; b < n_blocks; b++) {
        struct ir_op *end = &ir->ops[ir->blocks[b].first + ir->blocks[b].n - 1];
        for (unsigned k = 0; k < 2; k++) {
            uint16_t to = loop_successor(ir, b, k);
            if (to == IR_NONE || l->place[to] < 0 || (l->place[b] >= 0 && to != l->head))
                continue;
            *(k ? &end->d : &end->c) = l->place[b] >= 0 ? back : l->way_in[l->place[to]];
        }
    }
}

bool loop_has_room(struct ir_loop *l)
{
    const struct ir *ir = l->ir;
    unsigned ops = 128 + 24 * IR_WINDOWS + 16 * MAX_NARROW, insns = 0;
    for (unsigned i = 0; i < l->n_body; i++) {
        ops += ir->blocks[l->body[i]].n + IR_WINDOWS + WAY_IN_OPS;
        insns += ir->blocks[l->body[i]].n_insns;
    }
    if (l->n_body == 1) { /* perhaps several turns of it */
        ops += UNROLLED_OPS * 3 + MAX_SUNK * (2 << REBUILD_DEPTH);
        insns *= MAX_UNROLL;
    }
    l->why = IR_NO_WINDOWS_ROOM;
    return ir->n_ops + ops <= IR_MAX_OPS && ir->n_insns + insns <= IR_MAX_INSNS &&
           ir->n_blocks + 2 * l->n_body + 6 <= IR_MAX_BLOCKS;
}

void loop_make_copy(struct ir_loop *l)
{
    struct ir *ir = l->ir;
    uint16_t n_blocks = ir->n_blocks;
    /* Short loops come so as often as long ones: most are over before they look. */
    for (unsigned k = 1; k < l->n_body; k++)
        if (l->entered[k])
            l->way_in[k] = append_way_in(l, k, COOL_TURNS, false);
    uint16_t rest = ir->n_blocks, again = rest + 1, back = rest + 2, at = rest + 3;
    ir->blocks[l->head].loops = false; /* the exit flag is tested elsewhere */
    l->look_block = at;
    at += l->counted;
    l->windows_block = at++;
    l->turn_block = l->tight ? IR_NONE : at++;
    l->way_in[0] = l->counted ? l->look_block : rest;
    for (unsigned i = 0; i < l->n_body; i++)
        l->copy[i] = at + (uint16_t)i;
    append_way_in(l, 0, l->counted ? REST_TURNS : COOL_TURNS, false);
    append_way_in(l, 0, AGAIN_TURNS, true);
    append_way_back(l, IR_WORD_COOL, l->head, l->look_block);
    if (l->counted)
        append_look(l, rest);
    append_windows(l, again);
    if (l->tight) {
        copy_tight(l);
    } else {
        append_way_back(l, IR_WORD_LIMIT, l->copy[0], l->look_block);
        for (unsigned i = 0; i < l->n_body; i++)
            copy_block(l, l->body[i]);
    }
    lead_elsewhere(l, n_blocks, back);
}

void loop_put_in_front(struct ir *ir)
{
    memmove(&ir->blocks[1], &ir->blocks[0], ir->n_blocks++ * sizeof(ir->blocks[0]));
    for (uint16_t i = 0; i < ir->n_ops; i++) {
        struct ir_op *op = &ir->ops[i];
        if (op->code == IR_jump || op->code == IR_branch || op->code == IR_jumpi)
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
