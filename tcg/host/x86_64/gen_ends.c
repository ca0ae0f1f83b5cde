/* How a block ends: into another block, another unit, or out of generated code. */
#include "tcg/host/x86_64/gen.h"

/* Upper halves from their slots into the registers of the lower ones. */
void put_uppers(struct gen *g, uint32_t regs)
{
    for (unsigned s = 0; regs && s < g->ir->n_slots; s++) {
        int r = g->host->below[s];
        if (r >= 0 && regs >> r & 1)
            insert_upper_m(&g->b, (unsigned)r - XMM0, (unsigned)r - XMM0, slot_mem(g, s));
    }
}

/* On the way to a block: which upper halves are missing there? */
static uint32_t missing_uppers(struct gen *g, uint16_t block)
{
    uint32_t missing = 0;
    if (!g->keeps_uppers)
        return 0;
    if (g->head[block] || g->label[block])
        return g->uppers_at[block] & ~g->uppers;
    if (g->loop_of[block] != IR_NONE &&
        g->block < g->loop_of[block]) /* into a loop, past its head */
        missing = g->uppers_at[g->loop_of[block]] & ~g->uppers;
    g->uppers_at[block] &= g->uppers | missing;
    return missing & g->uppers_at[block];
}

/* It stands behind this one. */
static void fall_to_block(struct gen *g, uint16_t block)
{
    put_uppers(g, missing_uppers(g, block));
}

static void jump_to_block(struct gen *g, uint8_t *at, uint16_t block)
{
    uint32_t missing = missing_uppers(g, block);
    if (missing) {
        struct cold *c = cold_new(g, COLD_UPPERS);
        cold_from(c, at);
        c->uppers = missing;
        c->block = block;
        return;
    }
    if (g->label[block]) {
        patch_to(at, g->label[block]);
        return;
    }
    if (g->n_fixups == MAX_FIXUPS) {
        g->failed = true;
        return;
    }
    g->fixups[g->n_fixups++] = (struct fixup){ at, block };
}

static void gen_to_block(struct gen *g, uint16_t block)
{
    if (block != g->block + 1)
        jump_to_block(g, jmp32(&g->b), block);
    else
        fall_to_block(g, block);
}

/* rax = guest pc; jumps (or calls) through the jump cache. */
static void gen_lookup_jump(struct gen *g, bool call)
{
    mov_rm(&g->b, true, RDX, MEM(RBP, TCG_DISP(jumps)));
    put_jump_index(&g->b, g->host);
    alu_rm(&g->b, true, ALU_CMP, RAX, MEMX(RDX, RCX, 3, 0));
    if (!call) {
        to_shared(g, jcc32(&g->b, CC_NE), g->host->indirect);
        jmp_mem(&g->b, MEMX(RDX, RCX, 3, 8));
        return;
    }
    put8(&g->b, 0x74); /* je: over the slow call */
    put8(&g->b, 7);
    to_shared(g, call32(&g->b), g->host->indirect);
    put8(&g->b, 0xeb);
    put8(&g->b, 4);
    call_mem(&g->b, MEMX(RDX, RCX, 3, 8));
}

/* Before a host call: the guest return address for the callee's return to compare with. */
static void gen_push_return(struct gen *g, int32_t return_to)
{
    struct cold *c = cold_new(g, COLD_DROP_RETURNS);
    alu_rm(&g->b, true, ALU_CMP, RSP, MEM(RBP, TCG_DISP(stack_limit)));
    cold_from(c, jcc32(&g->b, CC_B));
    c->resume = g->b.p;
    mov_rm(&g->b, true, RCX, MEM(RBP, TCG_DISP(pc_page)));
    alu_ri(&g->b, true, ALU_ADD, RCX, return_to);
    push_r(&g->b, RCX);
}

/* rax = address relative to the unit's page. */
static void gen_target_pc(struct gen *g, int32_t off)
{
    mov_rm(&g->b, true, RAX, MEM(RBP, TCG_DISP(pc_page)));
    alu_ri(&g->b, true, ALU_ADD, RAX, off);
}

static void gen_jump_out(struct gen *g, int32_t off)
{
    if (!can_link(g, off)) {
        gen_target_pc(g, off);
        gen_lookup_jump(g, false);
        return;
    }
    align_patch(g, 1);
    put_link(g, jmp32(&g->b), new_link(g, off, true));
}

/* Where the callee's host return lands, with the guest pc in rax. No frame outlives a change of what its page maps to, so what
 * is on it may be linked. */
static void gen_after_call(struct gen *g, int32_t return_to)
{
    uint16_t block = IR_NONE;
    for (uint16_t k = 0; k < g->ir->n_blocks; k++) {
        const struct ir_block *b = &g->ir->blocks[k];
        if (b->guest && !b->inlined && b->off == return_to && b->n)
            block = k;
    }
    lea(&g->b, true, RSP, MEM(RSP, 8));
    if (block == IR_NONE && !can_link(g, return_to)) {
        gen_lookup_jump(g, false);
        return;
    }
    lea(&g->b, true, RCX, MEM(RAX, -return_to));
    mov_mr(&g->b, true, MEM(RBP, TCG_DISP(pc_page)), RCX);
    g->uppers = 0;
    if (block == IR_NONE)
        gen_jump_out(g, return_to);
    else
        gen_to_block(g, block);
}

void gen_jump(struct gen *g, const struct ir_op *op)
{
    int32_t off = (int32_t)op->imm;
    if (op->c != IR_NONE) {
        gen_to_block(g, op->c);
        return;
    }
    if (op->x != IR_HINT_CALL) {
        gen_jump_out(g, off);
        return;
    }
    gen_push_return(g, op->imm2);
    if (!can_link(g, off)) {
        gen_target_pc(g, off);
        gen_lookup_jump(g, true);
    } else {
        align_patch(g, 1);
        put_link(g, call32(&g->b), new_link(g, off, true));
    }
    gen_after_call(g, op->imm2);
}

/* Of a branch: the way out of its chain of blocks, behind what is owed. */
void put_cold_side(struct gen *g, const struct cold *c)
{
    if (c->block == IR_NONE)
        gen_jump_out(g, c->off);
    else if (g->label[c->block])
        patch_to(jmp32(&g->b), g->label[c->block]);
    else
        g->failed = true;
}

void gen_branch(struct gen *g, const struct ir_op *op)
{
    gen_compare(g, op);
    enum cc_x86 cc = cc_of(op->cc);
    uint16_t to = op->c, other = op->d;
    int32_t to_off = (int32_t)op->imm, other_off = op->imm2;
    if (to != IR_NONE && to == g->block + 1) { /* fall through to the taken side */
        cc ^= 1;
        uint16_t tb = to;
        to = other;
        other = tb;
        int32_t to2 = to_off;
        to_off = other_off;
        other_off = to2;
    }
    if (g->n_owed) {
        struct cold *c = cold_new(g, COLD_SIDE);
        note_owed(g, c);
        c->block = to;
        c->off = to_off;
        cold_from(c, jcc32(&g->b, cc));
    } else if (to != IR_NONE) {
        jump_to_block(g, jcc32(&g->b, cc), to);
    } else if (can_link(g, to_off)) {
        align_patch(g, 2);
        put_link(g, jcc32(&g->b, cc), new_link(g, to_off, true));
    } else {
        uint8_t *over = jcc32(&g->b, cc ^ 1);
        gen_jump_out(g, to_off);
        patch_to(over, g->b.p);
    }
    if (other == IR_NONE)
        gen_jump_out(g, other_off);
    else
        gen_to_block(g, other);
}

void gen_return(struct gen *g)
{
    alu_rm(&g->b, true, ALU_CMP, RAX, MEM(RSP, 8));
    to_shared(g, jcc32(&g->b, CC_NE), g->host->return_miss);
    put8(&g->b, 0xc3);
}

void gen_jump_indirect(struct gen *g, const struct ir_op *op)
{
    ir_val v = resolve(g->ir, op->a);
    if (!is_in(g, v, RAX)) {
        g->locked = 0;
        load_into(g, v, RAX);
    }
    if (op->x == IR_HINT_INLINED && op->c != IR_NONE) {
        struct cold *c = cold_new(g, COLD_RETURN);
        mov_rm(&g->b, true, RCX, MEM(RBP, TCG_DISP(pc_page)));
        alu_ri(&g->b, true, ALU_ADD, RCX, op->imm2);
        alu_rr(&g->b, true, ALU_CMP, RAX, RCX);
        cold_from(c, jcc32(&g->b, CC_NE));
        gen_to_block(g, op->c);
    } else if (op->x == IR_HINT_RETURN || op->x == IR_HINT_INLINED) {
        gen_return(g);
    } else if (op->x == IR_HINT_CALL) {
        gen_push_return(g, op->imm2);
        gen_lookup_jump(g, true);
        gen_after_call(g, op->imm2);
    } else {
        if (op->x == IR_HINT_TRAP) /* predicted returns belong to the state before */
            mov_rm(&g->b, true, RSP, MEM(RBP, TCG_DISP(host_sp)));
        gen_lookup_jump(g, false);
    }
}

void gen_leave(struct gen *g, const struct ir_op *op)
{
    put_link(g, jmp32(&g->b), new_link(g, (int32_t)op->imm, false));
}

void gen_set_word(struct gen *g, const struct ir_op *op)
{
    int64_t c;
    if (const32_of(g, op->a, &c))
        mov_mi(&g->b, true, word_mem(op->imm), (int32_t)c);
    else
        mov_mr(&g->b, true, word_mem(op->imm), use(g, op->a));
}
