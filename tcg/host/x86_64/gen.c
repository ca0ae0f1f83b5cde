/* IR to x86-64, one pass per block with registers allocated on the way. */
#include "tcg/host/x86_64/gen.h"

#include <stdlib.h>

struct gen *gen_new(void)
{
    return xcalloc(1, sizeof(struct gen));
}

/* ---- state, calls --------------------------------------------------------------------------------------- */

/* A value that is only in a slot's memory, which stands for another one from now on. */
static void save_lazy(struct gen *g, unsigned slot)
{
    ir_val v = g->lazy[slot];
    if (v != IR_NONE && g->last_use[v] > g->i)
        use(g, v);
    g->lazy[slot] = IR_NONE;
}

static void gen_get(struct gen *g, const struct ir_op *op)
{
    int r = g->host->slot_reg[op->imm];
    if (r >= 0) {
        save_alias(g, r); /* a register stands for one value */
        put_value(g, g->i, r);
    } else {
        save_lazy(g, op->imm);
        g->loc[g->i] = (struct loc){ .kind = LOC_SLOT, .n = (uint16_t)op->imm };
        g->lazy[op->imm] = g->i;
    }
}

/* A slot of upper halves becomes v: does the register of the lower one have it above? */
static void note_upper(struct gen *g, unsigned slot, ir_val v)
{
    int r = g->keeps_uppers ? g->host->below[slot] : -1;
    if (r < 0)
        return;
    const struct ir_op *op = &g->ir->ops[v];
    bool there = op->code == IR_high && is_in(g, op->a, (unsigned)r);
    g->uppers = there ? g->uppers | 1u << r : g->uppers & ~(1u << r);
}

static void gen_set(struct gen *g, const struct ir_op *op)
{
    ir_val v = resolve(g->ir, op->a);
    int r = g->host->slot_reg[op->imm];
    note_upper(g, (unsigned)op->imm, v);
    if (r >= 0) {
        if (is_in(g, v, r)) {
            g->held[r] = v;
            return;
        }
        g->uppers &= ~(1u << r);
        save_alias(g, r);
        int64_t c;
        if (r >= XMM0 && const_of(g, v, &c) && op->type != IR_V128)
            use(g, v);
        load_into(g, v, r);
        if (g->loc[v].kind == LOC_SLOT)
            g->lazy[g->loc[v].n] = IR_NONE;
        if (g->loc[v].kind == LOC_SPILL)
            g->spill_used &= ~((uint64_t)1 << g->loc[v].n);
        if (g->loc[v].kind == LOC_REG && is_temp(g->loc[v].reg))
            g->held[g->loc[v].reg] = IR_NONE;
        if (g->loc[v].kind != LOC_CONST && !(g->loc[v].kind == LOC_REG && !is_temp(g->loc[v].reg)))
            put_value(g, v, r); /* the pinned register is as good a place */
        return;
    }
    ir_val old = g->lazy[op->imm];
    if (old != IR_NONE && g->last_use[old] > g->i && old != v)
        use(g, old);
    g->lazy[op->imm] = g->copy[op->imm] = IR_NONE;
    uint16_t owed_end = g->owed_end[g->i];
    if (g->fused[v]) {
        ir_val whole = resolve(g->ir, g->ir->ops[v].a);
        unsigned rw = use(g, whole);
        if (owed_end && g->ir->ops[whole].code != IR_const &&
            owe(g, whole, (unsigned)op->imm, owed_end))
            return;
        extract_upper_m(&g->b, slot_mem(g, (unsigned)op->imm), rw - XMM0);
        release(g, whole);
        return;
    }
    int64_t c;
    /* What slots that are often read hold is wanted: to keep it longer than that costs more than a store. */
    if (owed_end && op->type == IR_I64 && !g->ir->slots[op->imm].heat &&
        (const32_of(g, v, &c) || !const_of(g, v, &c)) && owe(g, v, (unsigned)op->imm, owed_end)) {
        if (!const_of(g, v, &c))
            use(g, v);
        return;
    }
    if (op->type == IR_I64 && const32_of(g, v, &c)) {
        mov_mi(&g->b, true, slot_mem(g, op->imm), (int32_t)c);
        return;
    }
    unsigned rv = use(g, v);
    if (rv >= XMM0)
        move_vector(g, op->type, rv - XMM0, slot_mem(g, op->imm), true);
    else
        mov_mr(&g->b, true, slot_mem(g, op->imm), rv);
    if (ir_type_of(g->ir, v) != IR_V256) /* of which the slot has but half */
        also_in(g, v, (unsigned)op->imm);
}

static void gen_pc(struct gen *g, const struct ir_op *op)
{
    unsigned d = def(g, IR_NONE);
    mov_rm(&g->b, true, d, MEM(RBP, TCG_DISP(pc_page)));
    if (op->imm)
        alu_ri(&g->b, true, ALU_ADD, d, (int32_t)op->imm);
}

/* A helper that touches neither guest state nor vector registers is called right here. All scratch
 * registers are the callee's, and some of the pinned ones. */
static void gen_call_pure(struct gen *g, const struct ir_op *op, const struct ir_helper *h)
{
    static const uint8_t args[] = { RDI, RSI, RDX, RCX }, lost[] = { R8, R9, R10, R11 };
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    for (unsigned k = 0; k < ARRAY_LEN(temp_gprs); k++)
        evict(g, temp_gprs[k]);
    for (unsigned k = 0; k < h->n_args; k++)
        load_into(g, resolve(g->ir, v[k]), args[k]);
    for (unsigned k = 0; k < ARRAY_LEN(lost); k++)
        if (g->host->reg_slot[lost[k]] >= 0)
            mov_mr(&g->b, true, slot_mem(g, (unsigned)g->host->reg_slot[lost[k]]), lost[k]);
    mov_address(g, RAX, (const void *)h->fn, RELOC_PROGRAM);
    op_rr(&g->b, false, 0xff, 2, RAX);
    for (unsigned k = 0; k < ARRAY_LEN(lost); k++)
        if (g->host->reg_slot[lost[k]] >= 0)
            mov_rm(&g->b, true, lost[k], slot_mem(g, (unsigned)g->host->reg_slot[lost[k]]));
    g->locked = 1u << RAX;
    unsigned d = def(g, IR_NONE);
    mov_rr(&g->b, true, d, RAX);
}

/* Pinned registers to their slots or back, as far as `which` (one bit a register) says. */
static void move_pinned(struct gen *g, uint32_t which, bool store)
{
    for (unsigned r = 0; r < 32; r++) {
        int slot = g->host->reg_slot[r];
        if (slot < 0 || !(which >> r & 1))
            continue;
        if (r >= XMM0)
            move_vector(g, g->ir->slots[slot].type, r - XMM0, slot_mem(g, (unsigned)slot), store);
        else if (store)
            mov_mr(&g->b, true, slot_mem(g, (unsigned)slot), r);
        else
            mov_rm(&g->b, true, r, slot_mem(g, (unsigned)slot));
    }
}

/* What tcg_insn_pc, tcg_instructions and a helper that leaves need: as host_slow_call has it. */
static void gen_call_site(struct gen *g)
{
    struct cold *c = cold_slow(g, SLOW_CALL, ARG_NONE);
    c->kind = COLD_SITE;
    put8(&g->b, 0x48); /* lea rax, [rip + disp32] */
    put8(&g->b, 0x8d);
    put8(&g->b, 0x05);
    put32(&g->b, 0);
    cold_from(c, g->b.p - 4);
    mov_mr(&g->b, true, MEM(RBP, TCG_DISP(site)), RAX);
    mov_mi(&g->b, true, MEM(RBP, TCG_DISP(undo)), c->site.undo);
}

/* A helper that computes with no floats of the host: called right here, with what it may look at in memory. */
static void gen_call_state(struct gen *g, const struct ir_op *op, const struct ir_helper *h)
{
    enum { SEES = IR_CALL_READS | IR_CALL_WRITES | IR_CALL_RAISES };
    static const uint8_t args[] = { RSI, RDX, RCX, R8 };
    const uint32_t lost = TEMP_MASK | 1u << R8 | 1u << R9 | 1u << R10 | 1u << R11 | 0xffffu << XMM0;
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    for (unsigned k = 0; k < ARRAY_LEN(temp_gprs); k++)
        evict(g, temp_gprs[k]);
    for (unsigned k = 0; k < ARRAY_LEN(temp_xmms); k++)
        evict(g, temp_xmms[k]);
    for (unsigned r = XMM0; r < 32 && g->wide; r++) /* of these slots have but half */
        if (g->held[r] != IR_NONE && ir_type_of(g->ir, g->held[r]) == IR_V256) {
            if (g->last_use[g->held[r]] > g->i)
                evict(g, r);
            g->held[r] = IR_NONE;
        }
    move_pinned(g, h->flags & SEES ? UINT32_MAX : lost, true);
    if (g->b.vex)
        vzeroupper(&g->b);
    for (unsigned k = 0; k < h->n_args; k++) /* R8, which may be pinned, is last */
        load_into(g, resolve(g->ir, v[k]), args[k]);
    gen_call_site(g);
    mov_rr(&g->b, true, RDI, RBP);
    mov_address(g, RAX, (const void *)h->fn, RELOC_PROGRAM);
    op_rr(&g->b, false, 0xff, 2, RAX);
    mov_mi(&g->b, true, MEM(RBP, TCG_DISP(undo)), 0);
    move_pinned(g, h->flags & IR_CALL_WRITES ? UINT32_MAX : lost, false);
    g->uppers = 0;
    if (!op->uses) {
        g->loc[g->i].kind = LOC_NONE;
        return;
    }
    if (!h->has_result)
        mov_ri(&g->b, RAX, 0);
    g->locked = 1u << RAX;
    unsigned d = def(g, IR_NONE);
    mov_rr(&g->b, true, d, RAX);
}

/* Called on the slow way, unless the address is known. */
static void gen_call_once(struct gen *g, const struct ir_op *op, const struct ir_helper *h)
{
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    unsigned pc = use(g, op->a);
    struct cold *c = cold_slow(g, SLOW_CALL, ARG_NONE);
    for (unsigned k = 0; k < h->n_args; k++)
        c->site.arg[k] = arg_code(g, c, k, v[k]);
    c->site.helper = (uintptr_t)h;
    unsigned at = take(g, false), key = take(g, false);
    mov_rr(&g->b, false, at, pc); /* eight times checked_index */
    shift_ri(&g->b, false, SHIFT_SHR, at, 1);
    alu_ri(&g->b, false, ALU_AND, at, ((1 << CHECKED_BITS) - 1) << 3);
    mov_rm(&g->b, true, key, MEM(RBP, TCG_DISP(checked_tag)));
    alu_rr(&g->b, true, ALU_XOR, key, pc);
    alu_rm(&g->b, true, ALU_CMP, key, MEMX(RBP, at, 0, TCG_DISP(checked)));
    cold_from(c, jcc32(&g->b, CC_NE));
    c->resume = g->b.p;
    g->loc[g->i].kind = LOC_NONE;
}

/* Values that only slots hold are needed behind an operation that changes those: now registers or spills do. */
static void leave_slots(struct gen *g)
{
    memset(g->copy, 0xff,
           g->ir->n_slots * sizeof(g->copy[0])); /* nor does what gives way go back to one */
    for (unsigned r = 0; r < 32; r++)
        if (g->host->reg_slot[r] >= 0)
            save_alias(g, r);
    for (unsigned s = 0; s < g->ir->n_slots; s++) {
        ir_val v = g->lazy[s];
        if (v == IR_NONE || g->last_use[v] <= g->i)
            continue;
        g->locked &= ~(1u << use(g, v));
        g->copy[s] = IR_NONE;
    }
}

static void gen_call(struct gen *g, const struct ir_op *op)
{
    const struct ir_helper *h = (const void *)(intptr_t)op->imm;
    if (h->flags & IR_CALL_ONCE) {
        gen_call_once(g, op, h);
        return;
    }
    if (h->flags & IR_CALL_PURE) {
        gen_call_pure(g, op, h);
        return;
    }
    if (h->flags & IR_CALL_WRITES)
        leave_slots(g);
    if (!(h->flags & IR_CALL_FP)) {
        gen_call_state(g, op, h);
        return;
    }
    if (h->flags & IR_CALL_WRITES)
        g->uppers = 0;
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    struct cold *c = cold_slow(g, SLOW_CALL, ARG_NONE);
    for (unsigned k = 0; k < h->n_args; k++)
        c->site.arg[k] = arg_code(g, c, k, v[k]);
    c->site.helper = (uintptr_t)h;
    if (op->uses) {
        unsigned d = def(g, IR_NONE);
        c->site.dst = d;
    } else {
        g->loc[g->i].kind = LOC_NONE;
    }
    cold_from(c, jmp32(&g->b));
    c->resume = g->b.p;
}

/* Are all stores of this block done, because a locked instruction (SDM volume 3, 9.2.3.9) came behind the last? */
static bool is_fenced(const struct gen *g)
{
    for (uint16_t i = g->i; i-- > g->ir->blocks[g->block].first;) {
        const struct ir_op *op = &g->ir->ops[i];
        if (op->code == IR_rmw || op->code == IR_cas ||
            (op->code == IR_fence && op->x & IR_FENCE_WR))
            return true;
        if (op->code == IR_store || op->code == IR_call)
            return false;
    }
    return false;
}

static void gen_fence(struct gen *g, const struct ir_op *op)
{
    static const uint8_t lock_or[] = { 0xf0, 0x83, 0x0c, 0x24, 0x00 }; /* lock or dword [rsp], 0 */
    if (op->x & IR_FENCE_WR && !is_fenced(g)) /* the only order the host does not keep by itself */
        put_bytes(&g->b, lock_or, sizeof(lock_or));
}

/* ---- a unit ------------------------------------------------------------------------------------------------ */

static void gen_op(struct gen *g, const struct ir_op *op)
{
    switch (op->code) {
    case IR_get: gen_get(g, op); break;
    case IR_set: gen_set(g, op); break;
    case IR_forget: break;
    case IR_pc: gen_pc(g, op); break;
    case IR_add: gen_alu(g, op, ALU_ADD); break;
    case IR_sub: gen_alu(g, op, ALU_SUB); break;
    case IR_and: gen_alu(g, op, ALU_AND); break;
    case IR_or: gen_alu(g, op, ALU_OR); break;
    case IR_xor: gen_alu(g, op, ALU_XOR); break;
    case IR_andn: gen_andn(g, op); break;
    case IR_mul:
        if (g->i + 1 == g->ir->n_ops || !makes_low_too(g->ir, g->i + 1))
            gen_mul(g, op);
        break;
    case IR_addc:
        if (g->i + 1 == g->ir->n_ops || !makes_sum_too(g->ir, g->i + 1))
            gen_add_carry(g, op);
        break;
    case IR_carry: gen_add_carry(g, op); break;
    case IR_mulhu:
    case IR_mulhs:
    case IR_mulhsu: gen_mulh(g, op); break;
    case IR_divu:
    case IR_divs:
    case IR_remu:
    case IR_rems: gen_div(g, op); break;
    case IR_shl:
        if (!g->fused[g->i])
            gen_shift(g, op, SHIFT_SHL);
        break;
    case IR_shr: gen_shift(g, op, SHIFT_SHR); break;
    case IR_sar: gen_shift(g, op, SHIFT_SAR); break;
    case IR_rol: gen_shift(g, op, SHIFT_ROL); break;
    case IR_ror: gen_shift(g, op, SHIFT_ROR); break;
    case IR_clz:
    case IR_ctz:
    case IR_popcnt: gen_bit_count(g, op); break;
    case IR_bswap: gen_bswap(g, op); break;
    case IR_sext8: gen_sext8(g, op); break;
    case IR_zext8: gen_zext8(g, op); break;
    case IR_sext16: gen_unary(g, op, 0, op->type == IR_I64, 0x0fbf, false); break;
    case IR_zext16: gen_unary(g, op, 0, false, 0x0fb7, false); break;
    case IR_sext32:
        if (resolve(g->ir, g->i) == g->i)
            gen_unary(g, op, 0, true, 0x63, false);
        break;
    case IR_zext32:
        if (resolve(g->ir, g->i) == g->i)
            gen_unary(g, op, 0, false, 0x8b, false);
        break;
    case IR_trunc:
    case IR_low: break; /* see resolve */
    case IR_join: gen_join(g, op); break;
    case IR_high:
        if (!g->fused[g->i])
            gen_high(g, op);
        break;
    case IR_setc:
        if (!g->fused[g->i])
            gen_setc(g, op);
        break;
    case IR_select: gen_select(g, op); break;
    case IR_load:
    case IR_store: gen_load_store(g, op); break;
    case IR_load_w:
    case IR_store_w: gen_load_store_window(g, op); break;
    case IR_window: gen_window(g, op); break;
    case IR_word: mov_rm(&g->b, true, def(g, IR_NONE), word_mem(op->imm)); break;
    case IR_set_word: gen_set_word(g, op); break;
    case IR_rmw: gen_rmw(g, op); break;
    case IR_cas: gen_cas(g, op); break;
    case IR_copy:
    case IR_fill: gen_repeat(g, op); break;
    case IR_fence: gen_fence(g, op); break;
    case IR_fadd: gen_fp2(g, op, 0x58); break;
    case IR_fmul: gen_fp2(g, op, 0x59); break;
    case IR_fsub: gen_fp2(g, op, 0x5c); break;
    case IR_fdiv: gen_fp2(g, op, 0x5e); break;
    case IR_fsqrt: gen_fp1(g, op, sse_prefix(op->type), 0x51, op->type); break;
    case IR_fma: gen_fma(g, op); break;
    case IR_fcmp: gen_fcmp(g, op); break;
    case IR_ftoi: gen_ftoi(g, op); break;
    case IR_itof: gen_itof(g, op); break;
    case IR_fwiden: gen_fp1(g, op, 0xf3, 0x5a, IR_F64); break;
    case IR_fnarrow: gen_fp1(g, op, 0xf2, 0x5a, IR_F32); break;
    case IR_fneg:
    case IR_fabs: gen_fsign(g, op); break;
    case IR_fbits: gen_fbits(g, op); break;
    case IR_bitsf: gen_bitsf(g, op); break;
    case IR_fbox: gen_fbox(g, op); break;
    case IR_funbox: gen_funbox(g, op); break;
    case IR_fflags: gen_fflags(g); break;
    case IR_set_fflags: gen_set_fflags(g, op); break;
    case IR_vec: gen_vec(g, op); break;
    case IR_call: gen_call(g, op); break;
    case IR_jump: gen_jump(g, op); break;
    case IR_branch: gen_branch(g, op); break;
    case IR_jumpi: gen_jump_indirect(g, op); break;
    case IR_leave: gen_leave(g, op); break;
    default: g->failed = true;
    }
}

static void gen_exit_check(struct gen *g, int32_t off)
{
    put8(&g->b, 0x83); /* cmp dword [rbp + disp32], 0: seven bytes, see kill */
    put8(&g->b, 0xbd);
    put32(&g->b, (uint32_t)TCG_DISP(exit_flag));
    put8(&g->b, 0);
    put_link(g, jcc32(&g->b, CC_NE), new_link(g, off, false));
}

/* The first guest instruction at or behind operation i. Blocks need not be in the order of their
 * operations. */
static unsigned insn_from(const struct ir *ir, uint16_t i)
{
    unsigned lo = 0, hi = ir->n_insns;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (ir->insns[mid].op < i)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The current operation belongs to a later guest instruction than the one before. */
static void follow_insns(struct gen *g)
{
    const struct ir *ir = g->ir;
    unsigned next = g->next_insn;
    for (; next < ir->n_insns && ir->insns[next].op <= g->i; next++) {
        g->insn = next;
        g->insns_done += ir->insns[next].block == g->block;
    }
    g->next_insn = next;
    g->insn_end = next < ir->n_insns ? ir->insns[next].op : IR_NONE;
}

/* What the operation was the last to need is free. */
static void end_op(struct gen *g, const struct ir_op *op)
{
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    for (unsigned k = ir_n_operands(op); k--;)
        release(g, v[k]);
    if (g->n_owed)
        forget_owed(g);
    if (!op->uses && ir_op_infos[op->code].result != IR_RES_none)
        release(g, g->i);
    for (unsigned q = 0; q < g->n_groups && op->d != IR_NONE; q++) /* a member may be the last */
        if (g->groups[q].reg >= 0 && g->groups[q].last <= g->i) {
            g->held[(unsigned)g->groups[q].reg] = IR_NONE;
            g->groups[q].reg = -1;
        }
}

/* Blocks that there is a way back to, at most from block `last`. */
static void note_way(struct gen *g, uint16_t last[IR_MAX_BLOCKS], ir_val to, uint16_t from)
{
    if (to == IR_NONE || to > from)
        return;
    g->head[to] = true;
    last[to] = from;
}

/* Pinned registers that a loop takes whole, if it calls nothing. */
static uint32_t joined_in(const struct gen *g, uint16_t first, uint16_t last)
{
    const struct ir *ir = g->ir;
    uint32_t regs = 0;
    for (uint16_t n = first; n <= last; n++)
        for (uint16_t i = ir->blocks[n].first; i < ir->blocks[n].first + ir->blocks[n].n; i++) {
            const struct ir_op *op = &ir->ops[i];
            if (op->code == IR_call &&
                !(((const struct ir_helper *)(intptr_t)op->imm)->flags & IR_CALL_PURE))
                return 0;
            if (op->code != IR_join || !op->uses || ir->ops[op->a].code != IR_get ||
                ir->ops[op->b].code != IR_get)
                continue;
            int r = g->host->below[ir->ops[op->b].imm];
            if (r >= 0 && g->host->slot_reg[ir->ops[op->a].imm] == r)
                regs |= 1u << r;
        }
    return regs;
}

/* Loops find upper halves where they need them; other blocks know what all ways to them have. */
static void plan_uppers(struct gen *g)
{
    const struct ir *ir = g->ir;
    uint16_t last[IR_MAX_BLOCKS];
    g->keeps_uppers = g->host->wide && ir->joins;
    if (!g->keeps_uppers)
        return;
    memset(g->head, 0, ir->n_blocks * sizeof(g->head[0]));
    memset(g->uppers_at, 0xff, ir->n_blocks * sizeof(g->uppers_at[0]));
    for (uint16_t n = 0; n < ir->n_blocks; n++) {
        const struct ir_block *b = &ir->blocks[n];
        if (!b->n)
            continue;
        const struct ir_op *end = &ir->ops[b->first + b->n - 1];
        if (end->code != IR_jump && end->code != IR_branch && end->code != IR_jumpi)
            continue;
        note_way(g, last, end->c, n);
        if (end->code == IR_branch)
            note_way(g, last, end->d, n);
    }
    memset(g->loop_of, 0xff, ir->n_blocks * sizeof(g->loop_of[0]));
    for (uint16_t n = 0; n < ir->n_blocks; n++) {
        if (!g->head[n])
            continue;
        g->uppers_at[n] = joined_in(g, n, last[n]);
        for (uint16_t k = n + 1; k <= last[n]; k++)
            g->loop_of[k] = n; /* inner loops come later */
    }
}

/* Nothing is known of registers but what the convention says. */
static void begin_chain(struct gen *g, uint16_t n)
{
    memset(g->held, 0xff, sizeof(g->held));
    memset(g->lazy, 0xff, g->ir->n_slots * sizeof(g->lazy[0]));
    memset(g->copy, 0xff, g->ir->n_slots * sizeof(g->copy[0]));
    g->spill_used = 0;
    g->n_owed = 0;
    look_ahead(g, n);
    g->at_live = 0;
}

static void gen_block(struct gen *g, uint16_t n)
{
    const struct ir_block *blk = &g->ir->blocks[n];
    uint16_t end = blk->first + blk->n;
    g->next_insn = insn_from(g->ir, blk->first);
    g->insn = g->next_insn ? g->next_insn - 1 : 0;
    g->insn_end = 0;
    g->block = n;
    g->label[n] = n ? g->b.p : g->tcg->rw + g->unit->chain_at; /* loops to the start check too */
    if (!blk->follows)
        begin_chain(g, n);
    g->uppers = !g->keeps_uppers || g->uppers_at[n] == UINT32_MAX ? 0 : g->uppers_at[n];
    g->wide = g->uppers;
    if (!n && g->uppers) { /* who comes in does not bring them */
        put_uppers(g, g->uppers);
        g->label[n] = g->b.p;
        gen_exit_check(g, blk->off);
    }
    g->insns_done = 0;
    if (blk->loops && blk->guest && n)
        gen_exit_check(g, blk->off);
    if (g->unit->flags & UNIT_COUNTS && blk->n_insns)
        alu_mi(&g->b, true, ALU_ADD, MEM(RBP, TCG_DISP(n_insns)), blk->n_insns);
    for (; g->at_live < g->n_live && g->live[g->at_live] < end; g->at_live++) {
        const struct ir_op *op = &g->ir->ops[g->live[g->at_live]];
        g->i = g->live[g->at_live];
        g->locked = 0;
        if (g->i >= g->insn_end)
            follow_insns(g);
        gen_op(g, op);
        end_op(g, op);
    }
}

static void put_owed(struct gen *g, const struct cold *c)
{
    for (unsigned k = 0; k < c->n_owed; k++) {
        struct mem m = slot_mem(g, c->owed[k].slot);
        if (c->owed[k].reg == NOREG)
            mov_mi(&g->b, true, m, c->owed[k].value);
        else if (c->owed[k].reg >= XMM0)
            extract_upper_m(&g->b, m, (unsigned)c->owed[k].reg - XMM0);
        else
            mov_mr(&g->b, true, m, (unsigned)c->owed[k].reg);
    }
}

static void put_site(struct gen *g, struct cold *c)
{
    put_owed(g, c);
    to_shared(g, call32(&g->b), c->wide ? g->host->slow_wide : g->host->slow);
    c->site.resume = (int32_t)(c->resume - g->b.p);
    if (c->site.kind == SLOW_CALL)
        note_reloc(g, g->b.p + offsetof(struct slow_site, helper), RELOC_PROGRAM);
    put_bytes(&g->b, &c->site, slow_site_size(&c->site));
}

static void put_cold(struct gen *g)
{
    for (unsigned k = 0; k < g->n_cold && !g->b.full; k++) {
        struct cold *c = &g->cold[k];
        if (!c->n_from)
            continue;
        for (unsigned f = 0; f < c->n_from; f++)
            patch_to(c->from[f], g->b.p);
        switch (c->kind) {
        case COLD_SLOW: put_site(g, c); break;
        case COLD_SITE: put_bytes(&g->b, &c->site, offsetof(struct slow_site, span)); break;
        case COLD_EXIT:
            c->link->stub_at = g->b.p - g->tcg->rw;
            to_shared(g, call32(&g->b), g->host->leave);
            put64(&g->b, 0); /* the link's address: see place_links */
            break;
        case COLD_NAN:
            movs_xm(&g->b, c->flags, c->reg,
                    MEM(RBP, TCG_DISP(canonical_nan) + (c->flags ? 0 : 8)));
            patch_to(jmp32(&g->b), c->resume);
            break;
        case COLD_DIV: put_cold_div(g, c); break;
        case COLD_UPPERS:
            put_uppers(g, c->uppers);
            patch_to(jmp32(&g->b), g->label[c->block]);
            break;
        case COLD_SIDE:
            put_owed(g, c);
            put_cold_side(g, c);
            break;
        case COLD_RETURN: gen_return(g); break;
        case COLD_DROP_RETURNS:
            mov_rm(&g->b, true, RSP, MEM(RBP, TCG_DISP(host_sp)));
            patch_to(jmp32(&g->b), c->resume);
            break;
        }
    }
}

enum compiled gen_unit(struct tcg *tcg, struct unit *u, const struct ir *ir)
{
    struct host *host = tcg->backend_data;
    struct gen *g = host->gen;
    g->tcg = tcg;
    g->host = host;
    g->unit = u;
    g->ir = ir;
    g->b =
        (struct buf){ .p = tcg->rw + tcg->next, .end = tcg->rw + tcg->part_end, .vex = host->wide };
    g->n_cold = g->n_fixups = g->n_links = 0;
    tcg->relocs.n = 0;
    g->failed = false;
    memset(g->label, 0, ir->n_blocks * sizeof(g->label[0]));

    if (g->b.end - g->b.p < BUF_LEAST)
        return COMPILE_NO_ROOM;
    u->code_at = tcg->next;
    /* Entry with the guest pc in rax; behind it, aligned for kill, the entry for links. */
    while ((uintptr_t)(g->b.p + 14) & 7 && !g->b.full)
        put8(&g->b, 0x90);
    u->entry = tcg->rx + (g->b.p - tcg->rw);
    put8(&g->b, 0x48); /* lea rcx, [rax + disp32] */
    put8(&g->b, 0x8d);
    put8(&g->b, 0x88);
    put32(&g->b, (uint32_t)-u->off);
    put8(&g->b, 0x48); /* mov [rbp + disp32], rcx */
    put8(&g->b, 0x89);
    put8(&g->b, 0x8d);
    put32(&g->b, (uint32_t)TCG_DISP(pc_page));
    u->chain_at = g->b.p - tcg->rw;
    struct link *kill = &u->links[0];
    gen_exit_check(g, u->off);
    plan_uppers(g);

    for (uint16_t n = 0; n < ir->n_blocks && !g->failed && !g->b.full; n++)
        if (ir->blocks[n].n)
            gen_block(g, n);
    for (unsigned k = 0; k < g->n_fixups && !g->failed && !g->b.full; k++) {
        if (!g->label[g->fixups[k].block])
            g->failed = true;
        else
            patch_to(g->fixups[k].at, g->label[g->fixups[k].block]);
    }
    if (!g->failed && !g->b.full)
        put_cold(g);
    if (g->failed)
        return COMPILE_TOO_COMPLEX;
    if (g->b.full) /* a whole part may be too small */
        return tcg->part_end - tcg->next < tcg->part_size ? COMPILE_NO_ROOM : COMPILE_TOO_COMPLEX;
    u->kill_at = kill->stub_at;
    u->code_size = (uint32_t)(g->b.p - tcg->rw) - u->code_at;
    u->n_links = g->n_links;
    return COMPILE_OK;
}
