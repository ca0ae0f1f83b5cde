/* IR to x86-64, one pass per block with registers allocated on the way.
 *
 * A value is in a register, a constant, still in its slot's memory, or spilled. A pinned register
 * holds its slot's value; an SSA value may be an alias of it until the slot is set again. */
#include "tcg/host/x86_64/host.h"

#include "core/util.h"

#include <stdlib.h>

enum loc_kind { LOC_NONE, LOC_CONST, LOC_REG, LOC_SLOT, LOC_SPILL };
struct loc {
    uint8_t kind, reg;
    uint16_t n; /* slot or spill number */
};

enum cold_kind { COLD_SLOW, COLD_EXIT, COLD_NAN, COLD_DIV, COLD_DROP_RETURNS };
struct cold {
    uint8_t kind, n_from, reg, flags;
    uint8_t *from[3];  /* displacements of the jumps that lead here */
    uint8_t *resume;
    struct link *link;
    struct slow_site site;
};

enum { MAX_COLD = 2048, MAX_FIXUPS = 512, MAX_GROUPS = 64, GROUP_VALUE = 0xf000 };

struct fixup {
    uint8_t *at;
    uint16_t block;
};

struct gen {
    struct buf b;
    struct tcg *tcg;
    struct host *host;
    struct unit *unit;
    const struct ir *ir;
    uint16_t block, i;           /* being generated */
    unsigned insn;               /* index into ir->insns of the current instruction */
    uint16_t insns_done;         /* instructions of this block started */
    uint32_t locked;             /* registers in use by the current operation */
    uint64_t spill_used;
    bool failed;
    uint16_t n_cold, n_fixups, n_links, n_groups;
    ir_val held[32];             /* value in each register, IR_NONE, or GROUP_VALUE + n */
    ir_val lazy[128];            /* value whose only home is this slot's memory */
    struct { int8_t reg; uint16_t leader, last; } groups[MAX_GROUPS];
    uint8_t group_of[IR_MAX_OPS]; /* of a leader: index + 1 */
    struct loc loc[IR_MAX_OPS];
    uint16_t last_use[IR_MAX_OPS];
    uint8_t hint[IR_MAX_OPS];    /* pinned register the value is wanted in, or 255 */
    uint8_t *label[IR_MAX_BLOCKS];
    struct cold cold[MAX_COLD];
    struct fixup fixups[MAX_FIXUPS];
};

struct gen *gen_new(void)
{
    return xcalloc(1, sizeof(struct gen));
}

static const uint8_t temp_gprs[] = { RAX, RCX, RDX, RSI, RDI };
static const uint8_t temp_xmms[] = { XMM0, XMM0 + 1, XMM0 + 2, XMM0 + 3, XMM0 + 4, XMM0 + 5 };
#define TEMP_MASK (1u << RAX | 1u << RCX | 1u << RDX | 1u << RSI | 1u << RDI | 0x3fu << XMM0)

static bool is_temp(unsigned r)
{
    return TEMP_MASK >> r & 1;
}

static bool is_fp(enum ir_type t)
{
    return t == IR_F32 || t == IR_F64;
}

/* i32 values are the low half of whatever holds the i64 they were cut from. */
static ir_val resolve(const struct ir *ir, ir_val v)
{
    while (ir->ops[v].code == IR_trunc)
        v = ir->ops[v].a;
    return v;
}

static struct mem slot_mem(const struct gen *g, unsigned slot)
{
    return MEM(RBP, g->ir->slots[slot].offset);
}

static struct mem spill_mem(unsigned n)
{
    return MEM(RBP, TCG_DISP(spills) + 8 * (int32_t)n);
}

/* ---- values in registers ----------------------------------------------------------------------- */

static void put_value(struct gen *g, ir_val v, unsigned r)
{
    g->loc[v] = (struct loc){ .kind = LOC_REG, .reg = r };
    g->held[r] = v;
}

/* Give up register r: its value goes to where it can be found again. */
static void evict(struct gen *g, unsigned r)
{
    ir_val v = g->held[r];
    g->held[r] = IR_NONE;
    if (v == IR_NONE)
        return;
    if (v >= GROUP_VALUE) {
        g->groups[v - GROUP_VALUE].reg = -1;
        return;
    }
    if (g->ir->ops[v].code == IR_const) {
        g->loc[v].kind = LOC_CONST;
        return;
    }
    unsigned n = __builtin_ctzll(~g->spill_used);
    if (n >= SPILLS) {
        g->failed = true;
        return;
    }
    g->spill_used |= (uint64_t)1 << n;
    if (r >= XMM0)
        movs_mx(&g->b, true, spill_mem(n), r - XMM0);
    else
        mov_mr(&g->b, true, spill_mem(n), r);
    g->loc[v] = (struct loc){ .kind = LOC_SPILL, .n = n };
}

static uint32_t value_end(const struct gen *g, ir_val v)
{
    return v >= GROUP_VALUE ? g->groups[v - GROUP_VALUE].last : g->last_use[v];
}

/* A free scratch register, locked. If there is none, the value used latest gives way. */
static unsigned take(struct gen *g, bool fp)
{
    const uint8_t *regs = fp ? temp_xmms : temp_gprs;
    unsigned n = fp ? ARRAY_LEN(temp_xmms) : ARRAY_LEN(temp_gprs);
    int best = -1;
    uint32_t best_end = 0;
    for (unsigned k = 0; k < n; k++) {
        unsigned r = regs[k];
        if (g->locked >> r & 1)
            continue;
        if (g->held[r] == IR_NONE) {
            best = r;
            break;
        }
        uint32_t end = value_end(g, g->held[r]) + 1;
        if (g->held[r] >= GROUP_VALUE)
            end += 8; /* cheap to lose */
        if (end > best_end) {
            best_end = end;
            best = r;
        }
    }
    if (best < 0) {
        g->failed = true;
        return regs[0];
    }
    evict(g, best);
    g->locked |= 1u << best;
    return best;
}

/* Exactly this register, emptied and locked. What it held moves to another. */
static void take_exact(struct gen *g, unsigned r)
{
    ir_val v = g->held[r];
    g->locked |= 1u << r;
    if (v == IR_NONE)
        return;
    if (v >= GROUP_VALUE || g->ir->ops[v].code == IR_const) {
        evict(g, r);
        return;
    }
    unsigned to = take(g, false);
    g->locked &= ~(1u << to);
    g->held[r] = IR_NONE;
    mov_rr(&g->b, true, to, r);
    put_value(g, v, to);
}

static void load_into(struct gen *g, ir_val v, unsigned r)
{
    struct loc l = g->loc[v];
    switch (l.kind) {
    case LOC_CONST:
        mov_ri(&g->b, r, g->ir->ops[v].imm);
        break;
    case LOC_REG:
        if (r >= XMM0)
            movaps(&g->b, r - XMM0, l.reg - XMM0);
        else
            mov_rr(&g->b, true, r, l.reg);
        break;
    case LOC_SLOT:
    case LOC_SPILL: {
        struct mem m = l.kind == LOC_SLOT ? slot_mem(g, l.n) : spill_mem(l.n);
        if (r >= XMM0)
            movs_xm(&g->b, true, r - XMM0, m);
        else
            mov_rm(&g->b, true, r, m);
        break;
    }
    default:
        g->failed = true;
    }
}

/* The value in some register, locked for this operation. */
static unsigned use(struct gen *g, ir_val v)
{
    v = resolve(g->ir, v);
    struct loc l = g->loc[v];
    if (l.kind == LOC_REG) {
        g->locked |= 1u << l.reg;
        return l.reg;
    }
    bool fp = is_fp(ir_type_of(g->ir, v));
    if (fp && l.kind == LOC_CONST) {
        unsigned t = take(g, false), x = take(g, true);
        mov_ri(&g->b, t, g->ir->ops[v].imm);
        mov_xr(&g->b, true, x - XMM0, t);
        g->locked &= ~(1u << t);
        put_value(g, v, x);
        return x;
    }
    unsigned r = take(g, fp);
    load_into(g, v, r);
    if (l.kind == LOC_SPILL)
        g->spill_used &= ~((uint64_t)1 << l.n);
    if (l.kind == LOC_SLOT)
        g->lazy[l.n] = IR_NONE;
    put_value(g, v, r);
    return r;
}

static bool dies_here(const struct gen *g, ir_val v)
{
    return g->last_use[v] <= g->i;
}

/* A value in a pinned register that is about to change and is still needed moves to scratch. */
static void save_alias(struct gen *g, unsigned r)
{
    ir_val v = g->held[r];
    if (v == IR_NONE)
        return;
    g->held[r] = IR_NONE;
    if (g->last_use[v] <= g->i)
        return;
    unsigned t = take(g, r >= XMM0);
    g->locked &= ~(1u << t);
    g->loc[v].kind = LOC_REG;
    g->loc[v].reg = r;
    load_into(g, v, t);
    put_value(g, v, t);
}

/* Where the result of the current operation goes: the pinned register it is wanted in, an operand's
 * register that is free from now on (reuse), or a fresh one. Becomes the value's place at once, so
 * operands that share it must have been read into the instruction already or be equal to it. */
static unsigned def(struct gen *g, ir_val reuse)
{
    bool fp = is_fp(ir_type_of(g->ir, g->i));
    unsigned r;
    if (g->hint[g->i] != 255) {
        r = g->hint[g->i];
        save_alias(g, r);
    } else {
        r = 255;
        if (reuse != IR_NONE) {
            ir_val v = resolve(g->ir, reuse);
            if (g->loc[v].kind == LOC_REG && is_temp(g->loc[v].reg) && dies_here(g, v) &&
                (g->loc[v].reg >= XMM0) == fp)
                r = g->loc[v].reg;
        }
        if (r == 255)
            r = take(g, fp);
    }
    g->locked |= 1u << r;
    put_value(g, g->i, r);
    return r;
}

/* The result of the current operation is in r, an integer register locked for it: it stays there or
 * moves to where it is wanted. */
static void result_in(struct gen *g, unsigned r)
{
    if (g->hint[g->i] == 255)
        put_value(g, g->i, r);
    else
        mov_rr(&g->b, true, def(g, IR_NONE), r);
}

static void release(struct gen *g, ir_val v)
{
    if (v == IR_NONE)
        return;
    v = resolve(g->ir, v);
    if (g->last_use[v] > g->i)
        return;
    struct loc l = g->loc[v];
    if (l.kind == LOC_REG && g->held[l.reg] == v)
        g->held[l.reg] = IR_NONE;
    if (l.kind == LOC_SPILL)
        g->spill_used &= ~((uint64_t)1 << l.n);
    if (l.kind == LOC_SLOT && g->lazy[l.n] == v)
        g->lazy[l.n] = IR_NONE;
    g->loc[v].kind = g->ir->ops[v].code == IR_const ? LOC_CONST : LOC_NONE;
}

static bool const_of(const struct gen *g, ir_val v, int64_t *c)
{
    return ir_is_const(g->ir, resolve(g->ir, v), c);
}

static bool const32_of(const struct gen *g, ir_val v, int64_t *c)
{
    return const_of(g, v, c) && *c == (int32_t)*c;
}

/* A value that can be a memory operand: in its slot or spilled, and not needed in a register later. */
static bool in_memory(const struct gen *g, ir_val v, struct mem *m)
{
    v = resolve(g->ir, v);
    struct loc l = g->loc[v];
    if (g->last_use[v] > g->i)
        return false;
    if (l.kind == LOC_SLOT)
        *m = slot_mem(g, l.n);
    else if (l.kind == LOC_SPILL)
        *m = spill_mem(l.n);
    else
        return false;
    return true;
}

/* ---- cold code ----------------------------------------------------------------------------------- */

static struct cold *cold_new(struct gen *g, enum cold_kind kind)
{
    if (g->n_cold == MAX_COLD) {
        g->failed = true;
        g->n_cold--;
    }
    struct cold *c = &g->cold[g->n_cold++];
    c->kind = kind;
    c->n_from = 0;
    c->resume = NULL;
    return c;
}

static void cold_from(struct cold *c, uint8_t *at)
{
    c->from[c->n_from++] = at;
}

static const struct ir_insn *current_insn(const struct gen *g)
{
    return &g->ir->insns[g->insn];
}

static uint8_t arg_code(struct gen *g, struct cold *c, unsigned k, ir_val v)
{
    if (v == IR_NONE)
        return ARG_NONE;
    v = resolve(g->ir, v);
    switch (g->loc[v].kind) {
    case LOC_CONST:
        if (c->site.kind == SLOW_CALL)
            c->site.consts[k] = g->ir->ops[v].imm;
        else
            c->site.helper = (uint64_t)g->ir->ops[v].imm; /* the value of a store */
        return ARG_CONST + k;
    case LOC_SPILL: return ARG_SPILL + g->loc[v].n;
    default: return use(g, v);
    }
}

/* A slow call standing for the current operation. Operands must have their final places. */
static struct cold *cold_slow(struct gen *g, enum slow_kind kind, unsigned dst)
{
    const struct ir_op *op = &g->ir->ops[g->i];
    struct cold *c = cold_new(g, COLD_SLOW);
    const struct ir_insn *insn = current_insn(g);
    c->site = (struct slow_site){
        .kind = kind, .code = op->code, .type = op->type, .cc = op->cc, .x = op->x,
        .shape = op->shape, .dst = dst, .group = ARG_NONE, .off = insn->off,
        .undo = g->ir->blocks[g->block].n_insns - g->insns_done,
        .imm = (int32_t)op->imm, .arg = { ARG_NONE, ARG_NONE, ARG_NONE, ARG_NONE },
    };
    if (op->code != IR_call)
        c->site.x &= ~IR_SPAN_WRITES;
    return c;
}

/* Behind the slow call of a memory access. It may push out of the TLB what a shared check relies on:
 * then another vCPU could begin to watch the page for writes and not know that we may still write. */
static void slow_resumes(struct gen *g, struct cold *c)
{
    for (unsigned q = 0; q < g->n_groups; q++)
        if (g->groups[q].reg >= 0)
            c->site.live_groups |= 1u << g->groups[q].reg;
    c->resume = g->b.p;
}

/* Only to code on the same guest page: elsewhere the mapping may change under the link. */
static bool can_link(const struct gen *g, int32_t off)
{
    return off >= 0 && off + (int32_t)g->tcg->target->max_insn_len <= 4096;
}

static struct link *new_link(struct gen *g, int32_t off, bool linkable)
{
    struct link *l = &g->unit->links[g->n_links++];
    *l = (struct link){ .from = g->unit, .off = off };
    l->jump_at = linkable;
    return l;
}

static void put_link(struct gen *g, uint8_t *at, struct link *l)
{
    struct cold *c = cold_new(g, COLD_EXIT);
    cold_from(c, at);
    c->link = l;
    if (l->jump_at)
        l->jump_at = at - g->tcg->rw;
}

/* The displacement of the next jump must be aligned, so that a patch is one store to all who execute
 * it meanwhile. `skip`: bytes before the displacement. */
static void align_patch(struct gen *g, unsigned skip)
{
    static const char nops[][4] = { "", "\x90", "\x66\x90", "\x0f\x1f\x00" };
    unsigned n = -(uintptr_t)(g->b.p + skip) & 3;
    put_bytes(&g->b, nops[n], n);
}

/* ---- integer operations ---------------------------------------------------------------------------- */

static void alu_value(struct gen *g, bool w, enum alu alu, unsigned dst, ir_val v)
{
    int64_t c;
    struct mem m = { 0 };
    if (const32_of(g, v, &c))
        alu_ri(&g->b, w, alu, dst, (int32_t)c);
    else if (in_memory(g, v, &m))
        alu_rm(&g->b, w, alu, dst, m);
    else
        alu_rr(&g->b, w, alu, dst, use(g, v));
}

static bool is_in(const struct gen *g, ir_val v, unsigned r)
{
    v = resolve(g->ir, v);
    return g->loc[v].kind == LOC_REG && g->loc[v].reg == r;
}

/* Registers of operands, read before def may rename them. */
static void gen_alu(struct gen *g, const struct ir_op *op, enum alu alu)
{
    bool w = op->type == IR_I64;
    ir_val a = op->a, b = op->b;
    bool commutes = ir_op_infos[op->code].flags & IR_COMMUTES;
    int64_t c;
    struct mem m = { 0 };
    unsigned ra = use(g, a);
    int rb = -1;
    bool imm = const32_of(g, b, &c), mem = !imm && in_memory(g, b, &m);
    if (!imm && !mem)
        rb = use(g, b);
    unsigned d = def(g, a);
    if (d == ra) {
    } else if (rb >= 0 && d == (unsigned)rb) {
        if (commutes) {
            rb = ra;
        } else { /* d = a - d */
            op_rr(&g->b, w, 0xf7, 3, d); /* neg */
            alu = ALU_ADD;
            rb = ra;
        }
    } else if (alu == ALU_ADD && !mem) {
        lea(&g->b, w, d, imm ? MEM(ra, (int32_t)c) : MEMX(ra, rb, 0, 0));
        return;
    } else {
        mov_rr(&g->b, true, d, ra);
    }
    if (imm)
        alu_ri(&g->b, w, alu, d, (int32_t)c);
    else if (mem)
        alu_rm(&g->b, w, alu, d, m);
    else
        alu_rr(&g->b, w, alu, d, rb);
}

static void gen_andn(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    unsigned ra = use(g, op->a), rb = use(g, op->b);
    if (g->host->bmi1) {
        unsigned d = def(g, op->a);
        vex_rr(&g->b, 0, 2, w, 0xf2, d, rb, ra);
        return;
    }
    unsigned t = take(g, false);
    mov_rr(&g->b, true, t, rb);
    op_rr(&g->b, w, 0xf7, 2, t); /* not */
    alu_rr(&g->b, w, ALU_AND, t, ra);
    unsigned d = def(g, op->a);
    mov_rr(&g->b, true, d, t);
}

static void gen_mul(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    int64_t c;
    unsigned ra = use(g, op->a);
    if (const32_of(g, op->b, &c)) {
        unsigned d = def(g, op->a);
        op_rr(&g->b, w, 0x69, d, ra);
        put32(&g->b, (uint32_t)c);
        return;
    }
    unsigned rb = use(g, op->b);
    unsigned d = def(g, op->a);
    if (d == rb) {
        unsigned t = ra;
        ra = rb;
        rb = t;
    }
    if (d != ra)
        mov_rr(&g->b, true, d, ra);
    op_rr(&g->b, w, 0x0faf, d, rb);
}

/* Shifts and rotates; amounts count modulo the width on the host too. */
static void gen_shift(struct gen *g, const struct ir_op *op, enum shift digit)
{
    bool w = op->type == IR_I64;
    int64_t c;
    if (const_of(g, op->b, &c)) {
        unsigned ra = use(g, op->a), d = def(g, op->a);
        if (d != ra)
            mov_rr(&g->b, true, d, ra);
        shift_ri(&g->b, w, digit, d, c & (w ? 63 : 31));
        return;
    }
    bool bmi2 = g->host->bmi2 && digit >= SHIFT_SHL;
    if (bmi2) {
        unsigned ra = use(g, op->a), rb = use(g, op->b), d = def(g, op->a);
        /* shlx 66, sarx f3, shrx f2 */
        unsigned pp = digit == SHIFT_SHL ? 1 : digit == SHIFT_SAR ? 2 : 3;
        vex_rr(&g->b, pp, 2, w, 0xf7, d, rb, ra);
        return;
    }
    take_exact(g, RCX);
    load_into(g, resolve(g->ir, op->b), RCX);
    unsigned t = take(g, false);
    load_into(g, resolve(g->ir, op->a), t);
    shift_cl(&g->b, w, digit, t);
    unsigned d = def(g, IR_NONE);
    mov_rr(&g->b, true, d, t);
}

/* High half of a product: rdx:rax = rax * r. */
static void gen_mulh(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    take_exact(g, RAX);
    take_exact(g, RDX);
    load_into(g, resolve(g->ir, op->a), RAX);
    unsigned rb = use(g, op->b), t = 0;
    if (op->code == IR_mulhsu) { /* unsigned high half, less b where a is negative */
        t = take(g, false);
        mov_rr(&g->b, true, t, RAX);
        shift_ri(&g->b, w, SHIFT_SAR, t, w ? 63 : 31);
        alu_rr(&g->b, w, ALU_AND, t, rb);
    }
    op_rr(&g->b, w, 0xf7, op->code == IR_mulhs ? 5 : 4, rb);
    if (op->code == IR_mulhsu)
        alu_rr(&g->b, w, ALU_SUB, RDX, t);
    result_in(g, RDX);
}

/* Quotient in rax, remainder in rdx; divisors 0 and -1 go a way of their own. */
static void gen_div(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64, is_signed = op->code == IR_divs || op->code == IR_rems;
    bool rem = op->code == IR_remu || op->code == IR_rems;
    take_exact(g, RAX);
    take_exact(g, RDX);
    load_into(g, resolve(g->ir, op->a), RAX);
    unsigned rb = use(g, op->b);
    struct cold *c = cold_new(g, COLD_DIV);
    c->reg = rb;
    c->flags = w | is_signed << 1;
    if (is_signed) {
        lea(&g->b, w, RDX, MEM(rb, 1));
        alu_ri(&g->b, w, ALU_CMP, RDX, 1);
        cold_from(c, jcc32(&g->b, CC_BE));
        if (w)
            put8(&g->b, 0x48);
        put8(&g->b, 0x99); /* cqo, cdq */
    } else {
        test_rr(&g->b, w, rb, rb);
        cold_from(c, jcc32(&g->b, CC_E));
        alu_rr(&g->b, false, ALU_XOR, RDX, RDX);
    }
    op_rr(&g->b, w, 0xf7, is_signed ? 7 : 6, rb);
    c->resume = g->b.p;
    result_in(g, rem ? RDX : RAX);
}

static void put_cold_div(struct gen *g, const struct cold *c)
{
    bool w = c->flags & 1;
    uint8_t *zero = NULL;
    if (c->flags & 2) {
        test_rr(&g->b, w, c->reg, c->reg);
        zero = jcc32(&g->b, CC_E);
        op_rr(&g->b, w, 0xf7, 3, RAX); /* -1: quotient -a, remainder 0 */
        alu_rr(&g->b, false, ALU_XOR, RDX, RDX);
        patch_to(jmp32(&g->b), c->resume);
        patch_to(zero, g->b.p);
    }
    mov_rr(&g->b, true, RDX, RAX);
    mov_ri(&g->b, RAX, -1);
    patch_to(jmp32(&g->b), c->resume);
}

/* One-operand instruction `reg, r/m`. */
static void gen_unary(struct gen *g, const struct ir_op *op, uint8_t prefix, bool w, uint32_t code,
                      bool byte_regs)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, prefix, w, byte_regs, code, d, ra);
}

static void gen_zext8(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, 0, false, ra >= 4, 0x0fb6, d, ra);
}

static void gen_sext8(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    op_rr_full(&g->b, 0, op->type == IR_I64, ra >= 4, 0x0fbe, d, ra);
}

static void gen_bswap(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    unsigned ra = use(g, op->a), d = def(g, op->a);
    if (d != ra)
        mov_rr(&g->b, true, d, ra);
    if (w || d >= 8)
        put8(&g->b, 0x40 | w << 3 | d >> 3);
    put8(&g->b, 0x0f);
    put8(&g->b, 0xc8 | (d & 7));
}

static void gen_bit_count(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    if (op->code == IR_popcnt ? g->host->popcnt : op->code == IR_clz ? g->host->lzcnt : g->host->bmi1) {
        uint32_t code = op->code == IR_popcnt ? 0x0fb8 : op->code == IR_clz ? 0x0fbd : 0x0fbc;
        gen_unary(g, op, 0xf3, w, code, false);
        return;
    }
    unsigned ra = use(g, op->a);
    (void)ra;
    unsigned d = def(g, IR_NONE);
    struct cold *c = cold_slow(g, SLOW_FP, d);
    c->site.arg[0] = arg_code(g, c, 0, op->a);
    cold_from(c, jmp32(&g->b));
    c->resume = g->b.p;
}

static enum cc_x86 cc_of(enum ir_cc cc)
{
    static const uint8_t to[] = { [IR_EQ] = CC_E,  [IR_NE] = CC_NE,  [IR_LT] = CC_L,
                                  [IR_GE] = CC_GE, [IR_LE] = CC_LE,  [IR_GT] = CC_G,
                                  [IR_LTU] = CC_B, [IR_GEU] = CC_AE, [IR_LEU] = CC_BE,
                                  [IR_GTU] = CC_A };
    return to[cc];
}

static void gen_compare(struct gen *g, const struct ir_op *op)
{
    bool w = op->type == IR_I64;
    int64_t c;
    unsigned ra = use(g, op->a);
    if (const_of(g, op->b, &c) && c == 0)
        test_rr(&g->b, w, ra, ra);
    else
        alu_value(g, w, ALU_CMP, ra, op->b);
}

static void gen_setc(struct gen *g, const struct ir_op *op)
{
    gen_compare(g, op);
    unsigned d = def(g, IR_NONE);
    setcc(&g->b, cc_of(op->cc), d);
    op_rr_full(&g->b, 0, false, true, 0x0fb6, d, d);
}

static void gen_select(struct gen *g, const struct ir_op *op)
{
    bool fp = is_fp(op->type);
    if (fp) { /* through a branch: there is no conditional move */
        unsigned rc = use(g, op->a), rb = use(g, op->b), rd = use(g, op->c);
        unsigned t = take(g, true);
        movaps(&g->b, t - XMM0, rb - XMM0);
        test_rr(&g->b, true, rc, rc);
        put8(&g->b, 0x75); /* jne over the move */
        uint8_t *at = g->b.p;
        put8(&g->b, 0);
        movaps(&g->b, t - XMM0, rd - XMM0);
        if (!g->b.full)
            *at = g->b.p - at - 1;
        unsigned d = def(g, IR_NONE);
        movaps(&g->b, d - XMM0, t - XMM0);
        return;
    }
    unsigned rc = use(g, op->a), rb = use(g, op->b), rn = use(g, op->c);
    unsigned d = def(g, op->c);
    if (d == rc && d != rn) { /* the condition is read before d changes */
        test_rr(&g->b, true, rc, rc);
        if (d == rb) {
            op_rr(&g->b, true, 0x0f44, d, rn);
        } else {
            mov_rr(&g->b, true, d, rn);
            op_rr(&g->b, true, 0x0f45, d, rb);
        }
        return;
    }
    test_rr(&g->b, true, rc, rc);
    if (d == rb && d != rn) {
        op_rr(&g->b, true, 0x0f44, d, rn); /* cmove */
    } else {
        mov_rr(&g->b, true, d, rn);
        op_rr(&g->b, true, 0x0f45, d, rb); /* cmovne */
    }
}

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

/* Leaves the TLB slot's offset in t0 if the slot matches; else goes to `slow`. [lo, hi] are the first
 * and last byte checked, relative to base. */
static void gen_tlb_check(struct gen *g, struct scratch s, unsigned base, int32_t lo, int32_t hi,
                          bool write, unsigned mode, struct cold *slow)
{
    unsigned t0 = s.t0, t1 = s.t1;
    if (lo)
        lea(&g->b, true, t0, MEM(base, lo));
    else
        mov_rr(&g->b, true, t0, base);
    shift_ri(&g->b, true, SHIFT_SHR, t0, 12 - TLB_ENTRY_BITS);
    alu_rm(&g->b, false, ALU_AND, t0, MEM(RBP, TCG_DISP(tlb_mask)));
    if (hi)
        lea(&g->b, true, t1, MEM(base, hi));
    else
        mov_rr(&g->b, true, t1, base);
    alu_ri(&g->b, true, ALU_AND, t1, -4096);
    alu_rm(&g->b, true, ALU_OR, t1, MEM(RBP, TCG_DISP(ctx) + 8 * (int32_t)mode));
    alu_rm(&g->b, true, ALU_CMP, t1,
           MEMX(RBP, t0, 0, TCG_DISP(tlb) + (int32_t)(write ? offsetof(struct tlb_entry, write)
                                                           : offsetof(struct tlb_entry, read))));
    cold_from(slow, jcc32(&g->b, CC_NE));
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

static void gen_store_to(struct gen *g, const struct ir_op *op, struct mem m, int value_reg, int64_t c)
{
    unsigned size = op->shape & IR_SIZE_MASK;
    if (value_reg < 0) {
        switch (size) {
        case IR_8: op_rm(&g->b, false, 0xc6, 0, m); put8(&g->b, (uint8_t)c); break;
        case IR_16:
            op_rm_full(&g->b, 0x66, false, false, 0xc7, 0, m);
            put8(&g->b, (uint8_t)c);
            put8(&g->b, (uint8_t)(c >> 8));
            break;
        default: mov_mi(&g->b, size == IR_64, m, (int32_t)c);
        }
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
    unsigned mask = (1u << (op->shape & IR_SIZE_MASK)) - 1, r = base;
    if (!(op->shape & IR_ALIGNED) || !mask)
        return;
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

static void gen_load_store(struct gen *g, const struct ir_op *op)
{
    bool store = op->code == IR_store, grouped = op->d != IR_NONE, leads = op->d == g->i;
    unsigned mode = op->x & IR_MODE_MASK;
    int32_t off = (int32_t)op->imm, last = off + (1 << (op->shape & IR_SIZE_MASK)) - 1;
    int64_t imm = 0;
    unsigned base = use(g, op->a);
    int value = -1;
    if (store && !store_const(g, op, &imm))
        value = use(g, op->b);

    int n = grouped ? g->group_of[op->d] - 1 : -1;
    int addend = n >= 0 && !leads ? g->groups[n].reg : -1;
    if (addend >= 0)
        g->locked |= 1u << addend;
    struct cold *slow = cold_slow(g, store ? SLOW_STORE : SLOW_LOAD, ARG_NONE);
    slow->site.arg[0] = base;
    if (store)
        slow->site.arg[1] = arg_code(g, slow, 1, op->b);

    unsigned d = 0, t0;
    if (!store)
        slow->site.dst = d = def(g, op->a);
    if (addend >= 0) {
        t0 = addend;
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

/* The host address of an atomic access in a scratch register. */
static unsigned gen_atomic_address(struct gen *g, const struct ir_op *op, struct scratch s,
                                   unsigned base, struct cold *slow)
{
    struct ir_op aligned = *op;
    aligned.shape |= IR_ALIGNED;
    aligned.imm = 0;
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

static void gen_rmw(struct gen *g, const struct ir_op *op)
{
    unsigned size = op->shape & IR_SIZE_MASK;
    bool w = size == IR_64, simple = op->cc == IR_RMW_ADD || op->cc == IR_RMW_AND ||
                                     op->cc == IR_RMW_OR || op->cc == IR_RMW_XOR;
    bool inline_ = size >= IR_32 && (op->cc == IR_RMW_SWAP || op->cc == IR_RMW_ADD ||
                                     (simple && !op->uses));
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
        static const uint8_t alus[] = { [IR_RMW_ADD] = ALU_ADD, [IR_RMW_AND] = ALU_AND,
                                        [IR_RMW_OR] = ALU_OR, [IR_RMW_XOR] = ALU_XOR };
        unsigned t = gen_atomic_address(g, op, take_scratch(g), base, slow);
        put8(&g->b, 0xf0);
        op_rm(&g->b, w, alus[op->cc] << 3 | 1, v, MEM(t, 0));
        slow_resumes(g, slow);
        return;
    }
    unsigned d = slow->site.dst = def(g, IR_NONE);
    unsigned t = gen_atomic_address(g, op, take_scratch(g), base, slow);
    mov_rr(&g->b, true, d, v);
    if (op->cc == IR_RMW_ADD) {
        put8(&g->b, 0xf0);
        op_rm(&g->b, w, 0x0fc1, d, MEM(t, 0));
    } else {
        op_rm(&g->b, w, 0x87, d, MEM(t, 0));
    }
    gen_extend_old(g, op, d, d);
    slow_resumes(g, slow);
}

static void gen_cas(struct gen *g, const struct ir_op *op)
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
    if (size < IR_32) {
        cold_from(slow, jmp32(&g->b));
    } else {
        unsigned t = gen_atomic_address(g, op, take_scratch(g), base, slow);
        put8(&g->b, 0xf0);
        op_rm(&g->b, size == IR_64, 0x0fb1, desired, MEM(t, 0));
    }
    gen_extend_old(g, op, d, RAX);
    slow_resumes(g, slow);
}

/* ---- floating point ------------------------------------------------------------------------------------ */

static uint8_t sse_prefix(enum ir_type t)
{
    return t == IR_F64 ? 0xf2 : 0xf3;
}

/* If the result is a NaN it becomes the canonical one, out of line. */
static void gen_fix_nan(struct gen *g, enum ir_type type, unsigned d)
{
    if (!g->tcg->target->canonical_nan)
        return;
    sse_rr(&g->b, type == IR_F64 ? 0x66 : 0, 0x2e, d - XMM0, d - XMM0); /* ucomis */
    struct cold *c = cold_new(g, COLD_NAN);
    c->reg = d - XMM0;
    c->flags = type == IR_F64;
    cold_from(c, jcc32(&g->b, CC_P));
    c->resume = g->b.p;
}

static void gen_fp2(struct gen *g, const struct ir_op *op, uint8_t code)
{
    unsigned ra = use(g, op->a), rb = use(g, op->b), d;
    if (g->host->avx) {
        d = def(g, op->a);
        vex_rr(&g->b, op->type == IR_F64 ? 3 : 2, 1, false, code, d - XMM0, ra - XMM0, rb - XMM0);
    } else {
        unsigned t = take(g, true);
        movaps(&g->b, t - XMM0, ra - XMM0);
        sse_rr(&g->b, sse_prefix(op->type), code, t - XMM0, rb - XMM0);
        d = def(g, op->a);
        movaps(&g->b, d - XMM0, t - XMM0);
    }
    gen_fix_nan(g, op->type, d);
}

/* Conversions and roots: one vector operand, vector result. */
static void gen_fp1(struct gen *g, const struct ir_op *op, uint8_t prefix, uint8_t code, enum ir_type to)
{
    unsigned ra = use(g, op->a), d = def(g, op->a);
    sse_rr(&g->b, prefix, code, d - XMM0, ra - XMM0);
    gen_fix_nan(g, to, d);
}

static struct cold *slow_fp(struct gen *g, const struct ir_op *op, unsigned dst)
{
    struct cold *c = cold_slow(g, SLOW_FP, dst);
    const ir_val v[3] = { op->a, op->b, op->c };
    for (unsigned k = 0; k < ir_op_infos[op->code].n_values; k++)
        c->site.arg[k] = arg_code(g, c, k, v[k]);
    return c;
}

/* The sum is built where the result belongs. Only the addend is lost by that: a result that is a NaN
 * needs no more than the factors, to tell inf * 0 (see FMA_IS_NAN). */
static void gen_fma_host(struct gen *g, const struct ir_op *op)
{
    static const uint8_t codes[] = { 0xb9, 0xbd, 0xbb, 0xbf }; /* 231 forms by IR_FMA_* */
    unsigned ra = use(g, op->a), rb = use(g, op->b), rc = use(g, op->c), d = def(g, op->c), t = d;
    if (d == ra || d == rb)
        t = take(g, true);
    struct cold *c = slow_fp(g, op, t);
    c->site.arg[0] = ra; /* values may have moved on by def, the registers are as they were */
    c->site.arg[1] = rb;
    c->site.arg[2] = ARG_NONE;
    c->site.x |= FMA_IS_NAN;
    movaps(&g->b, t - XMM0, rc - XMM0);
    vex_rr(&g->b, 1, 2, op->type == IR_F64, codes[op->x & 3], t - XMM0, ra - XMM0, rb - XMM0);
    if (g->tcg->target->canonical_nan) {
        sse_rr(&g->b, op->type == IR_F64 ? 0x66 : 0, 0x2e, t - XMM0, t - XMM0);
        cold_from(c, jcc32(&g->b, CC_P));
        c->resume = g->b.p;
    }
    movaps(&g->b, d - XMM0, t - XMM0);
}

static void gen_fma(struct gen *g, const struct ir_op *op)
{
    if (g->host->fma) {
        gen_fma_host(g, op);
        return;
    }
    use(g, op->a);
    use(g, op->b);
    use(g, op->c);
    struct cold *c = slow_fp(g, op, take(g, true));
    cold_from(c, jmp32(&g->b));
    c->resume = g->b.p;
    unsigned t = c->site.dst, d = def(g, IR_NONE);
    movaps(&g->b, d - XMM0, t - XMM0);
}

static void gen_fcmp(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), rb = use(g, op->b);
    uint8_t prefix = op->type == IR_F64 ? 0x66 : 0;
    if (op->cc == IR_FEQ) {
        unsigned t = take(g, false);
        sse_rr(&g->b, prefix, 0x2e, ra - XMM0, rb - XMM0);
        setcc(&g->b, CC_NP, t);
        unsigned d = def(g, IR_NONE);
        setcc(&g->b, CC_E, d);
        op_rr_full(&g->b, 0, false, true, 0x22, d, t); /* and r8, r8 */
        op_rr_full(&g->b, 0, false, true, 0x0fb6, d, d);
        return;
    }
    sse_rr(&g->b, prefix, 0x2f, rb - XMM0, ra - XMM0); /* comis b, a: unordered sets carry */
    unsigned d = def(g, IR_NONE);
    setcc(&g->b, op->cc == IR_FLT ? CC_A : CC_AE, d);
    op_rr_full(&g->b, 0, false, true, 0x0fb6, d, d);
}

static void gen_ftoi(struct gen *g, const struct ir_op *op)
{
    bool w = !(op->x & IR_FTOI_32);
    unsigned ra = use(g, op->a);
    if (op->x & IR_FTOI_UNSIGNED) {
        unsigned d = def(g, IR_NONE);
        struct cold *c = slow_fp(g, op, d);
        cold_from(c, jmp32(&g->b));
        c->resume = g->b.p;
        return;
    }
    unsigned d = def(g, IR_NONE);
    struct cold *c = slow_fp(g, op, d);
    op_rr_full(&g->b, sse_prefix(op->type), w, false, op->x & IR_FTOI_TRUNC ? 0x0f2c : 0x0f2d, d,
               ra - XMM0);
    alu_ri(&g->b, w, ALU_CMP, d, 1); /* overflows for the "indefinite" result alone */
    cold_from(c, jcc32(&g->b, CC_O));
    c->resume = g->b.p;
}

static void gen_itof(struct gen *g, const struct ir_op *op)
{
    bool from32 = op->x & IR_ITOF_32, uns = op->x & IR_ITOF_UNSIGNED;
    unsigned ra = use(g, op->a);
    if (uns && !from32) {
        unsigned d = def(g, IR_NONE);
        struct cold *c = slow_fp(g, op, d);
        cold_from(c, jmp32(&g->b));
        c->resume = g->b.p;
        return;
    }
    if (uns) {
        unsigned t = take(g, false);
        mov_rr(&g->b, false, t, ra);
        ra = t;
    }
    unsigned d = def(g, IR_NONE);
    sse_rr(&g->b, 0, 0x57, d - XMM0, d - XMM0); /* xorps: no dependency on what was there */
    op_rr_full(&g->b, sse_prefix(op->type), uns || !from32, false, 0x0f2a, d - XMM0, ra);
}

static void gen_fsign(struct gen *g, const struct ir_op *op)
{
    bool dbl = op->type == IR_F64, neg = op->code == IR_fneg;
    unsigned ra = use(g, op->a), t = take(g, true);
    movs_xm(&g->b, dbl, t - XMM0,
            MEM(RBP, (neg ? TCG_DISP(sign_mask) : TCG_DISP(abs_mask)) + (dbl ? 0 : 8)));
    sse_rr(&g->b, 0, neg ? 0x57 : 0x54, t - XMM0, ra - XMM0);
    unsigned d = def(g, op->a);
    movaps(&g->b, d - XMM0, t - XMM0);
}

static void gen_fbox(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), t = take(g, true), d = def(g, op->a);
    sse_rr(&g->b, 0x66, 0x76, t - XMM0, t - XMM0); /* pcmpeqd: ones */
    movaps(&g->b, d - XMM0, ra - XMM0);
    sse_rr(&g->b, 0, 0x14, d - XMM0, t - XMM0); /* unpcklps */
}

static void gen_funbox(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), t = take(g, false), d = def(g, op->a);
    mov_rx(&g->b, true, t, ra - XMM0);
    movaps(&g->b, d - XMM0, ra - XMM0);
    shift_ri(&g->b, true, SHIFT_SAR, t, 32);
    alu_ri(&g->b, true, ALU_CMP, t, -1);
    struct cold *c = cold_new(g, COLD_NAN);
    c->reg = d - XMM0;
    c->flags = 0;
    cold_from(c, jcc32(&g->b, CC_NE));
    c->resume = g->b.p;
}

static void gen_fbits(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, IR_NONE);
    mov_rx(&g->b, op->type == IR_F64, d, ra - XMM0);
}

static void gen_bitsf(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, IR_NONE);
    mov_xr(&g->b, op->type == IR_F64, d - XMM0, ra);
}

static struct mem fp_scratch(void)
{
    return MEM(RBP, TCG_DISP(fp_scratch));
}

static void gen_fflags(struct gen *g)
{
    unsigned t = take(g, false), d = def(g, IR_NONE);
    op_rm(&g->b, false, 0x0fae, 3, fp_scratch()); /* stmxcsr */
    mov_rm(&g->b, false, d, fp_scratch());
    alu_ri(&g->b, false, ALU_AND, d, 63);
    mov_ri(&g->b, t, (int64_t)(uintptr_t)(g->tcg->rx + g->host->flag_table));
    op_rm(&g->b, false, 0x0fb6, d, MEMX(t, d, 0, 0));
    op_rm(&g->b, false, 0x0fb6, t, MEM(RBP, TCG_DISP(fp_flags)));
    alu_rr(&g->b, false, ALU_OR, d, t);
}

static void gen_set_fflags(struct gen *g, const struct ir_op *op)
{
    unsigned t = take(g, false);
    load_into(g, resolve(g->ir, op->a), t);
    alu_ri(&g->b, false, ALU_AND, t, 31);
    op_rm_full(&g->b, 0, false, true, 0x88, t, MEM(RBP, TCG_DISP(fp_flags)));
    op_rm(&g->b, false, 0x0fae, 3, fp_scratch());
    alu_mi(&g->b, false, ALU_AND, fp_scratch(), ~63);
    op_rm(&g->b, false, 0x0fae, 2, fp_scratch()); /* ldmxcsr */
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

static void gen_set(struct gen *g, const struct ir_op *op)
{
    ir_val v = resolve(g->ir, op->a);
    int r = g->host->slot_reg[op->imm];
    if (r >= 0) {
        if (is_in(g, v, r)) {
            g->held[r] = v;
            return;
        }
        save_alias(g, r);
        int64_t c;
        if (r >= XMM0 && const_of(g, v, &c))
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
    g->lazy[op->imm] = IR_NONE;
    int64_t c;
    if (op->type == IR_I64 && const32_of(g, v, &c)) {
        mov_mi(&g->b, true, slot_mem(g, op->imm), (int32_t)c);
        return;
    }
    unsigned rv = use(g, v);
    if (rv >= XMM0)
        movs_mx(&g->b, true, slot_mem(g, op->imm), rv - XMM0);
    else
        mov_mr(&g->b, true, slot_mem(g, op->imm), rv);
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
    mov_ri(&g->b, RAX, (int64_t)(uintptr_t)h->fn);
    op_rr(&g->b, false, 0xff, 2, RAX);
    for (unsigned k = 0; k < ARRAY_LEN(lost); k++)
        if (g->host->reg_slot[lost[k]] >= 0)
            mov_rm(&g->b, true, lost[k], slot_mem(g, (unsigned)g->host->reg_slot[lost[k]]));
    g->locked = 1u << RAX;
    unsigned d = def(g, IR_NONE);
    mov_rr(&g->b, true, d, RAX);
}

static void gen_call(struct gen *g, const struct ir_op *op)
{
    const struct ir_helper *h = (const void *)(intptr_t)op->imm;
    if (h->flags & IR_CALL_PURE) {
        gen_call_pure(g, op, h);
        return;
    }
    if (h->flags & IR_CALL_WRITES) { /* values that only slots hold must survive them */
        for (unsigned r = 0; r < 32; r++)
            if (g->host->reg_slot[r] >= 0)
                save_alias(g, r);
        for (unsigned s = 0; s < g->ir->n_slots; s++)
            if (g->lazy[s] != IR_NONE && g->last_use[g->lazy[s]] > g->i) {
                unsigned r = use(g, g->lazy[s]);
                g->locked &= ~(1u << r);
            }
    }
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

static void gen_fence(struct gen *g, const struct ir_op *op)
{
    static const uint8_t lock_or[] = { 0xf0, 0x83, 0x0c, 0x24, 0x00 }; /* lock or dword [rsp], 0 */
    if (op->x & IR_FENCE_WR) /* the only order the host does not keep by itself */
        put_bytes(&g->b, lock_or, sizeof(lock_or));
}

/* ---- ends ------------------------------------------------------------------------------------------------ */

static void jump_to_block(struct gen *g, uint8_t *at, uint16_t block)
{
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

/* rax = guest pc; jumps (or calls) through the jump cache. */
static void gen_lookup_jump(struct gen *g, bool call)
{
    mov_rm(&g->b, true, RDX, MEM(RBP, TCG_DISP(jumps)));
    mov_rr(&g->b, false, RCX, RAX);
    shift_ri(&g->b, false, SHIFT_SHR, RCX, JUMP_FOLD);
    alu_rr(&g->b, false, ALU_XOR, RCX, RAX);
    alu_ri(&g->b, false, ALU_AND, RCX, ((1 << JUMP_CACHE_BITS) - 1) << 1);
    alu_rm(&g->b, true, ALU_CMP, RAX, MEMX(RDX, RCX, 3, 0));
    if (!call) {
        patch_to(jcc32(&g->b, CC_NE), g->tcg->rw + g->host->indirect);
        jmp_mem(&g->b, MEMX(RDX, RCX, 3, 8));
        return;
    }
    put8(&g->b, 0x74); /* je: over the slow call */
    put8(&g->b, 7);
    patch_to(call32(&g->b), g->tcg->rw + g->host->indirect);
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

/* Where the callee's host return lands, with the guest pc in rax. */
static void gen_after_call(struct gen *g, int32_t return_to)
{
    uint16_t block = IR_NONE;
    for (uint16_t k = 0; k < g->ir->n_blocks; k++)
        if (g->ir->blocks[k].guest && g->ir->blocks[k].off == return_to && g->ir->blocks[k].n)
            block = k;
    lea(&g->b, true, RSP, MEM(RSP, 8));
    if (block == IR_NONE) {
        gen_lookup_jump(g, false);
        return;
    }
    lea(&g->b, true, RCX, MEM(RAX, -return_to));
    mov_mr(&g->b, true, MEM(RBP, TCG_DISP(pc_page)), RCX);
    if (block != g->block + 1)
        jump_to_block(g, jmp32(&g->b), block);
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

static void gen_jump(struct gen *g, const struct ir_op *op)
{
    int32_t off = (int32_t)op->imm;
    if (op->c != IR_NONE) {
        if (op->c != g->block + 1)
            jump_to_block(g, jmp32(&g->b), op->c);
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

static void gen_branch(struct gen *g, const struct ir_op *op)
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
    if (to != IR_NONE) {
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
    else if (other != g->block + 1)
        jump_to_block(g, jmp32(&g->b), other);
}

static void gen_jump_indirect(struct gen *g, const struct ir_op *op)
{
    ir_val v = resolve(g->ir, op->a);
    if (!is_in(g, v, RAX)) {
        g->locked = 0;
        load_into(g, v, RAX);
    }
    if (op->x == IR_HINT_RETURN) {
        alu_rm(&g->b, true, ALU_CMP, RAX, MEM(RSP, 8));
        patch_to(jcc32(&g->b, CC_NE), g->tcg->rw + g->host->return_miss);
        put8(&g->b, 0xc3);
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

static void gen_leave(struct gen *g, const struct ir_op *op)
{
    put_link(g, jmp32(&g->b), new_link(g, (int32_t)op->imm, false));
}

/* ---- a unit ------------------------------------------------------------------------------------------------ */

static void gen_op(struct gen *g, const struct ir_op *op)
{
    switch (op->code) {
    case IR_const: g->loc[g->i].kind = LOC_CONST; break;
    case IR_get: gen_get(g, op); break;
    case IR_set: gen_set(g, op); break;
    case IR_pc: gen_pc(g, op); break;
    case IR_add: gen_alu(g, op, ALU_ADD); break;
    case IR_sub: gen_alu(g, op, ALU_SUB); break;
    case IR_and: gen_alu(g, op, ALU_AND); break;
    case IR_or: gen_alu(g, op, ALU_OR); break;
    case IR_xor: gen_alu(g, op, ALU_XOR); break;
    case IR_andn: gen_andn(g, op); break;
    case IR_mul: gen_mul(g, op); break;
    case IR_mulhu: case IR_mulhs: case IR_mulhsu: gen_mulh(g, op); break;
    case IR_divu: case IR_divs: case IR_remu: case IR_rems: gen_div(g, op); break;
    case IR_shl: gen_shift(g, op, SHIFT_SHL); break;
    case IR_shr: gen_shift(g, op, SHIFT_SHR); break;
    case IR_sar: gen_shift(g, op, SHIFT_SAR); break;
    case IR_rol: gen_shift(g, op, SHIFT_ROL); break;
    case IR_ror: gen_shift(g, op, SHIFT_ROR); break;
    case IR_clz: case IR_ctz: case IR_popcnt: gen_bit_count(g, op); break;
    case IR_bswap: gen_bswap(g, op); break;
    case IR_sext8: gen_sext8(g, op); break;
    case IR_zext8: gen_zext8(g, op); break;
    case IR_sext16: gen_unary(g, op, 0, op->type == IR_I64, 0x0fbf, false); break;
    case IR_zext16: gen_unary(g, op, 0, false, 0x0fb7, false); break;
    case IR_sext32: gen_unary(g, op, 0, true, 0x63, false); break;
    case IR_zext32: gen_unary(g, op, 0, false, 0x8b, false); break;
    case IR_trunc: break; /* see resolve */
    case IR_setc: gen_setc(g, op); break;
    case IR_select: gen_select(g, op); break;
    case IR_load: case IR_store: gen_load_store(g, op); break;
    case IR_rmw: gen_rmw(g, op); break;
    case IR_cas: gen_cas(g, op); break;
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
    case IR_fneg: case IR_fabs: gen_fsign(g, op); break;
    case IR_fbits: gen_fbits(g, op); break;
    case IR_bitsf: gen_bitsf(g, op); break;
    case IR_fbox: gen_fbox(g, op); break;
    case IR_funbox: gen_funbox(g, op); break;
    case IR_fflags: gen_fflags(g); break;
    case IR_set_fflags: gen_set_fflags(g, op); break;
    case IR_call: gen_call(g, op); break;
    case IR_jump: gen_jump(g, op); break;
    case IR_branch: gen_branch(g, op); break;
    case IR_jumpi: gen_jump_indirect(g, op); break;
    case IR_leave: gen_leave(g, op); break;
    default: g->failed = true;
    }
}

static void note_use(struct gen *g, ir_val v, uint16_t at)
{
    if (v != IR_NONE)
        g->last_use[resolve(g->ir, v)] = at;
}

static unsigned n_operands(const struct ir_op *op)
{
    return op->code == IR_call ? op->x : ir_op_infos[op->code].n_values;
}

static bool is_dead(const struct ir_op *op)
{
    return op->code != IR_const && !op->uses &&
           !(ir_op_infos[op->code].flags & (IR_EFFECT | IR_END | IR_MAY_FAULT | IR_FP));
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

/* Last uses, groups, and which values are best computed right in a pinned register. */
static void look_ahead(struct gen *g, const struct ir_block *blk)
{
    const struct ir *ir = g->ir;
    g->n_groups = 0;
    for (uint16_t i = blk->first; i < blk->first + blk->n; i++) {
        const struct ir_op *op = &ir->ops[i];
        g->last_use[i] = i;
        g->loc[i].kind = LOC_NONE;
        g->hint[i] = 255;
        g->group_of[i] = 0;
        unsigned n = n_operands(op);
        const ir_val v[4] = { op->a, op->b, op->c, op->d };
        for (unsigned k = 0; k < n; k++)
            note_use(g, v[k], i);
        if ((op->code == IR_load || op->code == IR_store) && op->d != IR_NONE) {
            if (op->d == i && g->n_groups < MAX_GROUPS) {
                g->groups[g->n_groups].reg = -1;
                g->groups[g->n_groups].leader = i;
                g->group_of[i] = ++g->n_groups;
            }
            if (g->group_of[op->d])
                g->groups[g->group_of[op->d] - 1].last = i;
        }
        if (op->code != IR_set)
            continue;
        int r = g->host->slot_reg[op->imm];
        ir_val d = op->a;
        if (r < 0 || ir->ops[d].code == IR_get || ir->ops[d].code == IR_trunc ||
            ir->ops[d].code == IR_const || g->hint[d] != 255 || i - d > 12)
            continue;
        bool ok = true;
        for (uint16_t k = d + 1; k < i && ok; k++)
            ok = !blocks_hint(&ir->ops[k], op->imm);
        if (ok)
            g->hint[d] = r;
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

static void gen_block(struct gen *g, uint16_t n)
{
    const struct ir_block *blk = &g->ir->blocks[n];
    unsigned next = insn_from(g->ir, blk->first);
    g->insn = next ? next - 1 : 0;
    g->block = n;
    g->label[n] = n ? g->b.p : g->tcg->rw + g->unit->chain_at; /* loops to the start check too */
    memset(g->held, 0xff, sizeof(g->held));
    memset(g->lazy, 0xff, g->ir->n_slots * sizeof(g->lazy[0]));
    g->spill_used = 0;
    g->insns_done = 0;
    if (blk->loops && blk->guest && n)
        gen_exit_check(g, blk->off);
    if (g->unit->flags & UNIT_COUNTS && blk->n_insns)
        alu_mi(&g->b, true, ALU_ADD, MEM(RBP, TCG_DISP(n_insns)), blk->n_insns);
    look_ahead(g, blk);
    for (uint16_t i = blk->first; i < blk->first + blk->n; i++) {
        for (; next < g->ir->n_insns && g->ir->insns[next].op <= i; next++) {
            g->insn = next;
            g->insns_done += g->ir->insns[next].block == n;
        }
        const struct ir_op *op = &g->ir->ops[i];
        g->i = i;
        g->locked = 0;
        if (is_dead(op))
            continue;
        gen_op(g, op);
        unsigned k = n_operands(op);
        const ir_val v[4] = { op->a, op->b, op->c, op->d };
        while (k--)
            release(g, v[k]);
        if (!op->uses && op->code != IR_const && ir_op_infos[op->code].result != IR_RES_none)
            release(g, i);
        for (unsigned q = 0; q < g->n_groups; q++)
            if (g->groups[q].reg >= 0 && g->groups[q].last <= i) {
                g->held[(unsigned)g->groups[q].reg] = IR_NONE;
                g->groups[q].reg = -1;
            }
    }
}

static void put_site(struct gen *g, const struct cold *c)
{
    patch_to(call32(&g->b), g->tcg->rw + g->host->slow);
    struct slow_site site = c->site;
    site.resume = (int32_t)(c->resume - g->b.p);
    size_t n = offsetof(struct slow_site, span);
    if (site.group != ARG_NONE)
        n = offsetof(struct slow_site, pad_);
    if (site.kind == SLOW_FP)
        n = offsetof(struct slow_site, helper);
    for (unsigned k = 0; k < 4; k++)
        if (site.arg[k] >= ARG_CONST && site.arg[k] < ARG_NONE)
            n = site.kind == SLOW_CALL ? sizeof(site) : offsetof(struct slow_site, consts);
    if (site.kind == SLOW_CALL && n < offsetof(struct slow_site, consts))
        n = offsetof(struct slow_site, consts);
    put_bytes(&g->b, &site, n);
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
        case COLD_EXIT:
            c->link->stub_at = g->b.p - g->tcg->rw;
            patch_to(call32(&g->b), g->tcg->rw + g->host->leave);
            put64(&g->b, 0); /* the link's address: see place_links */
            break;
        case COLD_NAN:
            movs_xm(&g->b, c->flags, c->reg, MEM(RBP, TCG_DISP(canonical_nan) + (c->flags ? 0 : 8)));
            patch_to(jmp32(&g->b), c->resume);
            break;
        case COLD_DIV: put_cold_div(g, c); break;
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
    g->b = (struct buf){ .p = tcg->rw + tcg->next, .end = tcg->rw + tcg->part_end };
    g->n_cold = g->n_fixups = g->n_links = 0;
    g->failed = false;
    memset(g->label, 0, ir->n_blocks * sizeof(g->label[0]));

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
