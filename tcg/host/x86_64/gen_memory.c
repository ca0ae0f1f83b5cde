/* Loads, stores and atomic accesses: the inline TLB check, and who shares one. */
#include "tcg/host/x86_64/gen.h"

#include <assert.h>
#include <stdlib.h>

/* ---- guest memory ------------------------------------------------------------------------------------ */

/* Registers for a TLB check. All that a memory operation needs is taken before its first jump to the
 * slow call: what taking moves or spills would be missing behind the call otherwise. */
struct scratch {
    unsigned t0, t1;
};

static struct scratch take_scratch(struct gen *g)
{
    unsigned t0 = take(g, false);
    return (struct scratch){ t0, take(g, false) };
}

static void gen_address(struct gen *g, unsigned d, struct mem m)
{
    if (m.disp || m.index != NOREG)
        lea(&g->b, true, d, m);
    else
        mov_rr(&g->b, true, d, m.base);
}

static_assert(12 + TLB_BITS_MAX <= 32, "the slot is chosen by the low half of an address");

/* Leaves the TLB slot's offset in t0; gives the jump where the slot does not match. [lo, hi] are the first
 * and last byte checked. */
static uint8_t *gen_tlb_compare(struct gen *g, struct scratch s, struct mem lo, struct mem hi,
                                bool write, unsigned mode)
{
    unsigned t0 = s.t0, t1 = s.t1;
    if (g->host->bmi2 && !lo.disp && lo.index == NOREG) {
        rorx(&g->b, false, t0, lo.base, 12 - TLB_ENTRY_BITS);
    } else {
        gen_address(g, t0, lo);
        shift_ri(&g->b, true, SHIFT_SHR, t0, 12 - TLB_ENTRY_BITS);
    }
    alu_rm(&g->b, false, ALU_AND, t0, MEM(RBP, TCG_DISP(tlb_mask)));
    gen_address(g, t1, hi);
    alu_ri(&g->b, true, ALU_AND, t1, -4096);
    alu_rm(&g->b, true, ALU_OR, t1, MEM(RBP, TCG_DISP(ctx) + 8 * (int32_t)mode));
    alu_rm(&g->b, true, ALU_CMP, t1,
           MEMX(RBP, t0, 0,
                TCG_DISP(tlb) + (int32_t)(write ? offsetof(struct tlb_entry, write)
                                                : offsetof(struct tlb_entry, read))));
    return jcc32(&g->b, CC_NE);
}

/* The same; [lo, hi] are relative to base, and what does not match goes to `slow`. */
static void gen_tlb_check(struct gen *g, struct scratch s, unsigned base, int32_t lo, int32_t hi,
                          bool write, unsigned mode, struct cold *slow)
{
    cold_from(slow, gen_tlb_compare(g, s, MEM(base, lo), MEM(base, hi), write, mode));
    if (g->tcg->count_tlb)
        alu_mi(&g->b, true, ALU_ADD, MEM(RBP, TCG_DISP(tlb_checks)), 1);
}

static struct mem addend_mem(unsigned t0)
{
    return MEMX(RBP, t0, 0, TCG_DISP(tlb) + (int32_t)offsetof(struct tlb_entry, addend));
}

static void gen_load_from(struct gen *g, const struct ir_op *op, unsigned d, struct mem m)
{
    unsigned size = op->shape & IR_SIZE_MASK;
    bool sign = op->shape & IR_SIGNED, w = op->type == IR_I64;
    if (op->type == IR_V256) {
        move_ymm_rm(&g->b, d - XMM0, m, false);
        return;
    }
    if (op->type == IR_V128) { /* movss, movq, movups */
        move_rm(&g->b, size == IR_128 ? 0 : 0xf3, size == IR_64 ? 0x7e : 0x10, d - XMM0, m);
        return;
    }
    if (is_fp(op->type)) {
        movs_xm(&g->b, op->type == IR_F64, d - XMM0, m);
        return;
    }
    switch (size) {
    case IR_8: op_rm(&g->b, sign && w, sign ? 0x0fbe : 0x0fb6, d, m); break;
    case IR_16: op_rm(&g->b, sign && w, sign ? 0x0fbf : 0x0fb7, d, m); break;
    case IR_32:
        if (sign && w)
            op_rm(&g->b, true, 0x63, d, m);
        else
            mov_rm(&g->b, false, d, m);
        break;
    default: mov_rm(&g->b, true, d, m);
    }
}

static void gen_store_to(struct gen *g, const struct ir_op *op, struct mem m, int value_reg,
                         int64_t c)
{
    unsigned size = op->shape & IR_SIZE_MASK;
    if (value_reg < 0) {
        switch (size) {
        case IR_8:
            op_rm(&g->b, false, 0xc6, 0, m);
            put8(&g->b, (uint8_t)c);
            break;
        case IR_16:
            op_rm_full(&g->b, 0x66, false, false, 0xc7, 0, m);
            put8(&g->b, (uint8_t)c);
            put8(&g->b, (uint8_t)(c >> 8));
            break;
        default: mov_mi(&g->b, size == IR_64, m, (int32_t)c);
        }
        return;
    }
    if (op->type == IR_V256) {
        move_ymm_rm(&g->b, (unsigned)value_reg - XMM0, m, true);
        return;
    }
    if (op->type == IR_V128) { /* movss, movsd, movups */
        move_rm(&g->b, size == IR_128 ? 0 : size == IR_64 ? 0xf2 : 0xf3, 0x11, value_reg - XMM0, m);
        return;
    }
    if (is_fp(op->type)) {
        movs_mx(&g->b, op->type == IR_F64, m, value_reg - XMM0);
        return;
    }
    switch (size) {
    case IR_8: op_rm_full(&g->b, 0, false, true, 0x88, value_reg, m); break;
    case IR_16: op_rm_full(&g->b, 0x66, false, false, 0x89, value_reg, m); break;
    default: mov_mr(&g->b, size == IR_64, m, value_reg);
    }
}

/* Jump to `slow` unless base + off is a multiple of the access's size. */
static void gen_align_check(struct gen *g, const struct ir_op *op, struct scratch s, unsigned base,
                            struct cold *slow)
{
    unsigned mask = ir_access_bytes(op->shape) - 1, r = base;
    if (!(op->shape & IR_ALIGNED) || !mask)
        return;
    if (g->ir->ops[op->a].code == IR_pc && !((g->ir->ops[op->a].imm + op->imm) & mask))
        return; /* of a page's address nothing is left */
    if (op->imm & mask) {
        r = s.t0;
        lea(&g->b, true, r, MEM(base, (int32_t)op->imm));
    }
    op_rr_full(&g->b, 0, false, true, 0xf6, 0, r); /* test r8, imm8 */
    put8(&g->b, mask);
    cold_from(slow, jcc32(&g->b, CC_NE));
}

/* Does the constant fit a store's immediate? */
static bool store_const(const struct gen *g, const struct ir_op *op, int64_t *c)
{
    return !is_fp(op->type) && const_of(g, op->b, c) &&
           ((op->shape & IR_SIZE_MASK) < IR_64 || *c == (int32_t)*c);
}

/* Does the leader's check say that this one is aligned? */
static bool is_aligned(const struct gen *g, const struct ir_op *op)
{
    const struct ir_op *leader = &g->ir->ops[op->d];
    unsigned size = ir_access_bytes(op->shape);
    return !(op->shape & IR_ALIGNED) ||
           (leader->a == op->a && leader->shape & IR_ALIGNED &&
            (op->imm - leader->imm) % size == 0 && ir_access_bytes(leader->shape) >= size);
}

void gen_load_store(struct gen *g, const struct ir_op *op)
{
    bool store = op->code == IR_store, grouped = op->d != IR_NONE, leads = op->d == g->i;
    unsigned mode = op->x & IR_MODE_MASK;
    int32_t off = (int32_t)op->imm, last = off + (int32_t)ir_access_bytes(op->shape) - 1;
    int64_t imm = 0;
    unsigned base = use(g, op->a);
    int value = -1;
    if (store && !store_const(g, op, &imm))
        value = use(g, op->b);

    int n = grouped ? g->group_of[op->d] - 1 : -1;
    int addend = n >= 0 && !leads ? use_addend(g, (unsigned)n) : -1;
    struct cold *slow = cold_slow(g, store ? SLOW_STORE : SLOW_LOAD, ARG_NONE);
    slow->site.arg[0] = base;
    if (store)
        slow->site.arg[1] = arg_code(g, slow, 1, op->b);

    unsigned d = 0, t0;
    if (!store)
        slow->site.dst = d = def(g, op->a);
    if (addend >= 0) {
        t0 = addend;
        if (!is_aligned(g, op)) {
            struct scratch s = { take(g, false), 0 };
            gen_align_check(g, op, s, base, slow);
        }
        test_rr(&g->b, true, t0, t0);
        cold_from(slow, jcc32(&g->b, CC_E));
    } else {
        int32_t lo = off, hi = last;
        bool write = store;
        if (leads) {
            lo = off + IR_SPAN_LO(op->imm2);
            hi = off + IR_SPAN_HI(op->imm2) - 1;
            write = op->x & IR_SPAN_WRITES;
        }
        struct scratch s = take_scratch(g);
        t0 = s.t0;
        gen_align_check(g, op, s, base, slow);
        gen_tlb_check(g, s, base, lo, hi, write, mode, slow);
        mov_rm(&g->b, true, t0, addend_mem(t0));
        if (leads && n >= 0) {
            g->groups[n].reg = t0;
            g->held[t0] = GROUP_VALUE + n;
            slow->site.group = t0;
            slow->site.span = op->imm2;
            slow->site.writes = write;
        }
    }
    struct mem at = MEMX(base, t0, 0, off);
    if (store)
        gen_store_to(g, op, at, value, imm);
    else
        gen_load_from(g, op, d, at);
    slow_resumes(g, slow);
}

/* No check, and no slow way: the page was looked up before the loop. */
void gen_load_store_window(struct gen *g, const struct ir_op *op)
{
    bool store = op->code == IR_store_w;
    ir_val addend = store ? op->c : op->b;
    int64_t imm = 0, none;
    unsigned base = use(g, op->a);
    struct mem at = const_of(g, addend, &none) && !none
                        ? MEM(base, (int32_t)op->imm)
                        : MEMX(base, use(g, addend), 0, (int32_t)op->imm);
    if (!store)
        gen_load_from(g, op, def(g, op->a), at);
    else if (store_const(g, op, &imm))
        gen_store_to(g, op, at, -1, imm);
    else
        gen_store_to(g, op, at, (int)use(g, op->b), 0);
}

/* The page at t (its address in the guest) + d becomes known as one that this vCPU may write without a look; jumps away
 * where somebody began to watch it before that could be seen. What was known before still is: then there is nothing to
 * wait for. tlb_protect_page. */
static uint8_t *gen_publish_window(struct gen *g, struct scratch s, unsigned n, unsigned first,
                                   unsigned d)
{
    struct mem known = MEM(RBP, TCG_DISP(windows) + 8 * (int32_t)n);
    alu_rr(&g->b, true, ALU_ADD, d, first);
    alu_ri(&g->b, true, ALU_AND, d, -4096);
    alu_rm(&g->b, true, ALU_CMP, d, known);
    uint8_t *over = jcc32(&g->b, CC_E);
    op_rm(&g->b, true, 0x87, d, known); /* xchg, a barrier */
    alu_rm(&g->b, true, ALU_CMP, s.t1,
           MEMX(RBP, s.t0, 0, TCG_DISP(tlb) + (int32_t)offsetof(struct tlb_entry, write)));
    uint8_t *miss = jcc32(&g->b, CC_NE);
    patch_to(over, g->b.p);
    mov_rm(&g->b, true, d, addend_mem(s.t0));
    return miss;
}

/* t = for how many turns what begins at `first` stays inside its page. */
static void gen_turns(struct gen *g, const struct ir_window *w, unsigned first, unsigned t)
{
    unsigned by = (unsigned)abs(w->stride);
    if (w->stride > 0) {
        gen_address(g, t, MEM(first, (int32_t)w->span - 1));
        op_rr(&g->b, false, 0xf7, 2, t); /* not */
    } else {
        mov_rr(&g->b, false, t, first);
    }
    alu_ri(&g->b, false, ALU_AND, t, 4095);
    if (by & (by - 1)) { /* 12 bits by less than 12: exact */
        op_rr(&g->b, true, 0x69, t, t);
        put32(&g->b, (1u << 24) / by + 1);
        shift_ri(&g->b, true, SHIFT_SHR, t, 24);
    } else if (by > 1) {
        shift_ri(&g->b, false, SHIFT_SHR, t, (uint8_t)__builtin_ctz(by));
    }
    alu_ri(&g->b, false, ALU_ADD, t, 1);
}

/* Where a window is refused: C counts why, and there are 0 turns. */
static struct cold *cold_window(struct gen *g, const struct ir_op *op, unsigned d, unsigned first,
                                unsigned most)
{
    struct cold *c = cold_slow(g, SLOW_WINDOW, d);
    c->site.x = (uint8_t)bits((uint64_t)op->imm, 32, 8);
    c->site.shape = (uint8_t)bits((uint64_t)op->imm, 40, 8);
    c->site.arg[0] = (uint8_t)first;
    c->site.arg[1] = (uint8_t)most;
    return c;
}

void gen_window(struct gen *g, const struct ir_op *op)
{
    const struct ir_window w = ir_window_of(op->imm);
    unsigned first = use(g, op->a), most = use(g, op->b), d = def(g, IR_NONE);
    struct scratch s = take_scratch(g);
    struct cold *refused = cold_window(g, op, d, first, most);
    if (w.align) {
        op_rr_full(&g->b, 0, false, true, 0xf6, 0, first); /* test r8, imm8 */
        put8(&g->b, (uint8_t)((1u << w.align) - 1));
        cold_from(refused, jcc32(&g->b, CC_NE));
    }
    cold_from(refused, gen_tlb_compare(g, s, MEM(first, 0), MEM(first, (int32_t)w.span - 1),
                                       w.writes, w.mode));
    mov_rm(&g->b, true, d, addend_mem(s.t0));
    if (w.writes)
        cold_from(refused, gen_publish_window(g, s, w.n, first, d));
    mov_mr(&g->b, true, word_mem(IR_WORD_ADDEND + w.n), d);
    mov_rr(&g->b, true, d, most);
    if (w.stride) {
        gen_turns(g, &w, first, s.t0);
        alu_rr(&g->b, true, ALU_CMP, s.t0, d);
        op_rr(&g->b, true, 0x0f42, d, s.t0); /* cmovb */
    }
    refused->resume = g->b.p;
}

/* The host address of an atomic access in a scratch register. */
static unsigned gen_atomic_address(struct gen *g, const struct ir_op *op, struct scratch s,
                                   unsigned base, struct cold *slow)
{
    struct ir_op aligned = *op;
    aligned.shape |= IR_ALIGNED;
    aligned.imm = 0;
    if (!g->tcg->target->misaligned_atomics) /* the host's are */
        gen_align_check(g, &aligned, s, base, slow);
    gen_tlb_check(g, s, base, 0, (1 << (op->shape & IR_SIZE_MASK)) - 1, true, op->x & IR_MODE_MASK,
                  slow);
    mov_rm(&g->b, true, s.t0, addend_mem(s.t0));
    alu_rr(&g->b, true, ALU_ADD, s.t0, base);
    return s.t0;
}

/* d = the old value in s, extended by the access's shape to the operation's type. */
static void gen_extend_old(struct gen *g, const struct ir_op *op, unsigned d, unsigned s)
{
    bool sign = op->shape & IR_SIGNED, w = op->type == IR_I64;
    switch (op->shape & IR_SIZE_MASK) {
    case IR_8: op_rr_full(&g->b, 0, sign && w, true, sign ? 0x0fbe : 0x0fb6, d, s); break;
    case IR_16: op_rr(&g->b, sign && w, sign ? 0x0fbf : 0x0fb7, d, s); break;
    case IR_32:
        if (sign && w)
            op_rr(&g->b, true, 0x63, d, s);
        else
            mov_rr(&g->b, false, d, s);
        break;
    default: mov_rr(&g->b, true, d, s);
    }
}

/* An instruction that has a byte form one below its opcode, in the access's size. */
static void op_sized(struct gen *g, unsigned size, uint32_t code, unsigned reg, struct mem m)
{
    op_rm_full(&g->b, size == IR_16 ? 0x66 : 0, size == IR_64, size == IR_8,
               size == IR_8 ? code & ~1u : code, reg, m);
}

static const uint8_t rmw_alus[] = {
    [IR_RMW_ADD] = ALU_ADD, [IR_RMW_AND] = ALU_AND, [IR_RMW_OR] = ALU_OR, [IR_RMW_XOR] = ALU_XOR
};

/* What no single instruction gives the old value of: until nobody came in between. */
static void gen_rmw_loop(struct gen *g, const struct ir_op *op)
{
    unsigned size = op->shape & IR_SIZE_MASK;
    take_exact(g, RAX);
    unsigned base = use(g, op->a), v = use(g, op->b), d = RAX;
    struct cold *slow = cold_slow(g, SLOW_RMW, ARG_NONE);
    slow->site.arg[0] = base;
    slow->site.arg[1] = v;
    if (g->hint[g->i] != 255)
        d = def(g, IR_NONE);
    else
        put_value(g, g->i, RAX);
    slow->site.dst = d;
    struct scratch s = take_scratch(g);
    unsigned t = gen_atomic_address(g, op, s, base, slow), now = s.t1;
    op_sized(g, size, 0x8b, RAX, MEM(t, 0));
    uint8_t *again = g->b.p;
    mov_rr(&g->b, true, now, RAX);
    alu_rr(&g->b, true, rmw_alus[op->cc], now, v);
    put8(&g->b, 0xf0);
    op_sized(g, size, 0x0fb1, now, MEM(t, 0));
    patch_to(jcc32(&g->b, CC_NE), again);
    gen_extend_old(g, op, d, RAX);
    slow_resumes(g, slow);
}

void gen_rmw(struct gen *g, const struct ir_op *op)
{
    unsigned size = op->shape & IR_SIZE_MASK;
    bool simple =
        op->cc == IR_RMW_ADD || op->cc == IR_RMW_AND || op->cc == IR_RMW_OR || op->cc == IR_RMW_XOR;
    if (simple && op->cc != IR_RMW_ADD && op->uses) {
        gen_rmw_loop(g, op);
        return;
    }
    bool inline_ = op->cc == IR_RMW_SWAP || op->cc == IR_RMW_ADD || (simple && !op->uses);
    unsigned base = use(g, op->a), v = use(g, op->b);
    struct cold *slow = cold_slow(g, SLOW_RMW, ARG_NONE);
    slow->site.arg[0] = base;
    slow->site.arg[1] = v;
    if (!inline_) {
        slow->site.dst = def(g, IR_NONE);
        cold_from(slow, jmp32(&g->b));
        slow_resumes(g, slow);
        return;
    }
    if (!op->uses && simple) {
        unsigned t = gen_atomic_address(g, op, take_scratch(g), base, slow);
        put8(&g->b, 0xf0);
        op_sized(g, size, rmw_alus[op->cc] << 3 | 1, v, MEM(t, 0));
        slow_resumes(g, slow);
        return;
    }
    unsigned d = slow->site.dst = def(g, IR_NONE);
    unsigned t = gen_atomic_address(g, op, take_scratch(g), base, slow);
    mov_rr(&g->b, true, d, v);
    if (op->cc == IR_RMW_ADD) {
        put8(&g->b, 0xf0);
        op_sized(g, size, 0x0fc1, d, MEM(t, 0));
    } else {
        op_sized(g, size, 0x87, d, MEM(t, 0));
    }
    gen_extend_old(g, op, d, d);
    slow_resumes(g, slow);
}

void gen_cas(struct gen *g, const struct ir_op *op)
{
    unsigned size = op->shape & IR_SIZE_MASK;
    take_exact(g, RAX);
    unsigned base = use(g, op->a), desired = use(g, op->c), d = RAX;
    struct cold *slow = cold_slow(g, SLOW_CAS, ARG_NONE);
    slow->site.arg[0] = base;
    load_into(g, resolve(g->ir, op->b), RAX);
    slow->site.arg[1] = RAX;
    slow->site.arg[2] = desired;
    if (g->hint[g->i] != 255)
        d = def(g, IR_NONE);
    else
        put_value(g, g->i, RAX);
    slow->site.dst = d;
    unsigned t = gen_atomic_address(g, op, take_scratch(g), base, slow);
    put8(&g->b, 0xf0);
    op_sized(g, size, 0x0fb1, desired, MEM(t, 0));
    gen_extend_old(g, op, d, RAX);
    slow_resumes(g, slow);
}

/* The host's own string instructions, on host addresses. What is left is in RCX: all, or nothing. */
void gen_repeat(struct gen *g, const struct ir_op *op)
{
    bool copies = op->code == IR_copy;
    unsigned size = op->shape & IR_SIZE_MASK, mode = op->x & IR_MODE_MASK;
    const struct scratch s = { RDX, copies ? RAX : RSI };
    uint8_t *unfit[3];
    unsigned n = 0;
    for (unsigned k = 0; k < ARRAY_LEN(temp_gprs); k++)
        evict(g, temp_gprs[k]);
    load_into(g, resolve(g->ir, op->a), RDI);
    load_into(g, resolve(g->ir, op->b), copies ? RSI : RAX);
    load_into(g, resolve(g->ir, op->c), RCX);
    alu_ri(&g->b, true, ALU_CMP, RCX, 4096 >> size);
    unfit[n++] = jcc32(&g->b, CC_A);
    unfit[n++] = gen_tlb_compare(g, s, MEM(RDI, 0), MEMX(RDI, RCX, size, -1), true, mode);
    alu_rm(&g->b, true, ALU_ADD, RDI, addend_mem(s.t0));
    if (copies) {
        unfit[n++] = gen_tlb_compare(g, s, MEM(RSI, 0), MEMX(RSI, RCX, size, -1), false, mode);
        alu_rm(&g->b, true, ALU_ADD, RSI, addend_mem(s.t0));
    }
    if (size == IR_16)
        put8(&g->b, 0x66);
    put8(&g->b, 0xf3); /* rep */
    if (size == IR_64)
        put8(&g->b, 0x48);
    put8(&g->b, (copies ? 0xa4 : 0xaa) | (size != IR_8));
    while (n)
        patch_to(unfit[--n], g->b.p);
    g->locked = 1u << RCX;
    result_in(g, RCX);
}
