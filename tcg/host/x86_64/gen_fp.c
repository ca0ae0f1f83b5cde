/* Floating point on the host's vector unit; what it does otherwise than the guest goes the slow way. */
#include "tcg/host/x86_64/gen.h"

/* ---- floating point ------------------------------------------------------------------------------------ */

uint8_t sse_prefix(enum ir_type t)
{
    return t == IR_F64 ? 0xf2 : 0xf3;
}

/* If the result is a NaN it becomes the canonical one, out of line; or later, in what is made of it. */
static void gen_fix_nan(struct gen *g, enum ir_type type, unsigned d)
{
    if (!g->tcg->target->canonical_nan || !g->seen[g->i])
        return;
    sse_rr(&g->b, type == IR_F64 ? 0x66 : 0, 0x2e, d - XMM0, d - XMM0); /* ucomis */
    struct cold *c = cold_new(g, COLD_NAN);
    c->reg = d - XMM0;
    c->flags = type == IR_F64;
    cold_from(c, jcc32(&g->b, CC_P));
    c->resume = g->b.p;
}

void gen_fp2(struct gen *g, const struct ir_op *op, uint8_t code)
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
void gen_fp1(struct gen *g, const struct ir_op *op, uint8_t prefix, uint8_t code, enum ir_type to)
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

void gen_fma(struct gen *g, const struct ir_op *op)
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

void gen_fcmp(struct gen *g, const struct ir_op *op)
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

void gen_ftoi(struct gen *g, const struct ir_op *op)
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

void gen_itof(struct gen *g, const struct ir_op *op)
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

void gen_fsign(struct gen *g, const struct ir_op *op)
{
    bool dbl = op->type == IR_F64, neg = op->code == IR_fneg;
    unsigned ra = use(g, op->a), t = take(g, true);
    movs_xm(&g->b, dbl, t - XMM0,
            MEM(RBP, (neg ? TCG_DISP(sign_mask) : TCG_DISP(abs_mask)) + (dbl ? 0 : 8)));
    sse_rr(&g->b, 0, neg ? 0x57 : 0x54, t - XMM0, ra - XMM0);
    unsigned d = def(g, op->a);
    movaps(&g->b, d - XMM0, t - XMM0);
}

void gen_fbox(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), t = take(g, true), d = def(g, op->a);
    sse_rr(&g->b, 0x66, 0x76, t - XMM0, t - XMM0); /* pcmpeqd: ones */
    movaps(&g->b, d - XMM0, ra - XMM0);
    sse_rr(&g->b, 0, 0x14, d - XMM0, t - XMM0); /* unpcklps */
}

void gen_funbox(struct gen *g, const struct ir_op *op)
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

void gen_fbits(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, IR_NONE);
    mov_rx(&g->b, op->type == IR_F64, d, ra - XMM0);
}

void gen_bitsf(struct gen *g, const struct ir_op *op)
{
    unsigned ra = use(g, op->a), d = def(g, IR_NONE);
    mov_xr(&g->b, op->type == IR_F64, d - XMM0, ra);
}

static struct mem fp_scratch(void)
{
    return MEM(RBP, TCG_DISP(fp_scratch));
}

void gen_fflags(struct gen *g)
{
    unsigned t = take(g, false), d = def(g, IR_NONE);
    op_rm(&g->b, false, 0x0fae, 3, fp_scratch()); /* stmxcsr */
    mov_rm(&g->b, false, d, fp_scratch());
    alu_ri(&g->b, false, ALU_AND, d, 63);
    mov_address(g, t, g->tcg->rx + g->host->flag_table, RELOC_CACHE);
    op_rm(&g->b, false, 0x0fb6, d, MEMX(t, d, 0, 0));
    op_rm(&g->b, false, 0x0fb6, t, MEM(RBP, TCG_DISP(fp_flags)));
    alu_rr(&g->b, false, ALU_OR, d, t);
}

/* If the flags become what they were before one comparison, and nothing else computed since: that. Else IR_NONE. */
uint16_t comparison_undone(const struct gen *g, uint16_t set_fflags)
{
    const struct ir_op *ops = g->ir->ops;
    ir_val before = resolve(g->ir, ops[set_fflags].a);
    uint16_t found = IR_NONE;
    if (ops[before].code != IR_fflags || g->tcg->target->subnormal_flag)
        return IR_NONE;
    for (uint16_t i = before + 1; i < set_fflags; i++) {
        bool compares = ops[i].code == IR_fcmp;
        if (ops[i].code == IR_call || ops[i].code == IR_set_fflags ||
            (compares && found != IR_NONE) || (!compares && ir_properties(&ops[i]) & IR_FP))
            return IR_NONE;
        if (compares)
            found = i;
    }
    return found;
}

void gen_set_fflags(struct gen *g, const struct ir_op *op)
{
    uint16_t undone = comparison_undone(g, g->i);
    const struct ir_op *fcmp = undone == IR_NONE ? NULL : &g->ir->ops[undone];
    unsigned t = take(g, false);
    uint8_t *over = NULL;
    if (fcmp) { /* only a NaN raised one */
        unsigned ra = use(g, fcmp->a), rb = use(g, fcmp->b);
        sse_rr(&g->b, fcmp->type == IR_F64 ? 0x66 : 0, 0x2e, ra - XMM0, rb - XMM0);
        over = jcc32(&g->b, CC_NP);
    }
    load_into(g, resolve(g->ir, op->a), t);
    alu_ri(&g->b, false, ALU_AND, t, 31);
    op_rm_full(&g->b, 0, false, true, 0x88, t, MEM(RBP, TCG_DISP(fp_flags)));
    op_rm(&g->b, false, 0x0fae, 3, fp_scratch());
    alu_mi(&g->b, false, ALU_AND, fp_scratch(), ~63);
    op_rm(&g->b, false, 0x0fae, 2, fp_scratch()); /* ldmxcsr */
    if (!fcmp)
        return;
    patch_to(over, g->b.p);
    release(g, fcmp->a);
    release(g, fcmp->b);
}
