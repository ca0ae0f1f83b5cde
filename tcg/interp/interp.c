/* The back end that runs the IR as it stands, on any host: what the IR means, and so the oracle of
 * the others (tests/unit/ir_random.c).
 *
 * A unit is a packed copy of its live operations in the cache's memory, which thus ages and is evicted
 * like host code. Slots are always in arch; memory goes through softmmu.c and floating point through
 * softfloat. A value of type i32 or f32 has anything in its high half. */
#include "core/error.h"
#include "core/util.h"
#include "tcg/backends.h"
#include "tcg/ir_eval.h"
#include "tcg/vec.h"

#include <ffi.h>
#include <stdlib.h>

/* Starts a block that wants something: a: look at exit_flag; imm: count instructions. */
enum { OP_BLOCK = N_IR_OPS };

/* One operation; dst and a to d are places of values. */
struct op {
    uint8_t code, type, cc, x, shape;
    bool windows;  /* in a loop with open windows */
    int16_t off;   /* guest instruction, relative to the page */
    uint16_t undo; /* instructions of its block behind it */
    uint16_t dst, a, b, c, d, vec;
    uint32_t to, other; /* jump, branch: an operation of the unit, or OUTSIDE */
    int32_t imm2;
    int64_t imm; /* get, set: offset of the slot in arch */
};

/* In struct op's to and other: to + x for link x, or to an address in another page. */
enum { OUTSIDE = 1 << 30, FAR = 1 << 29 };

struct interp {
    ffi_cif cifs[6]; /* by number of arguments, all of them uint64_t */
    ffi_type *types[5];
};

static struct error *interp_init(struct tcg *tcg)
{
    struct interp *in = xcalloc(1, sizeof(*in));
    tcg->backend_data = in;
    tcg->common_end = 64;
    tcg->wide = tcg->target->wide_vectors;
    for (unsigned k = 0; k < ARRAY_LEN(in->types); k++)
        in->types[k] = &ffi_type_uint64;
    for (unsigned n = 0; n < ARRAY_LEN(in->cifs); n++)
        if (ffi_prep_cif(&in->cifs[n], FFI_DEFAULT_ABI, n, &ffi_type_uint64, in->types) != FFI_OK)
            return error_new("libffi cannot call functions of %u arguments", n);
    return NULL;
}

static void interp_fini(struct tcg *tcg)
{
    free(tcg->backend_data);
    tcg->backend_data = NULL;
}

/* A vector; V128 is the lower half. */
union vector {
    union v128 half[2];
    uint64_t u64[4];
};

/* ---- packing -------------------------------------------------------------------------------------- */

struct packer {
    struct unit *u;
    const struct ir *ir;
    const struct ir_block *block;
    const struct tcg_target *target;
    struct op *ops;
    uint32_t n;
    uint32_t starts[IR_MAX_BLOCKS]; /* first operation of each block */
};

static bool is_live(const struct ir_op *op)
{
    return op->uses || (op->code != IR_const &&
                        ir_properties(op) & (IR_EFFECT | IR_END | IR_MAY_FAULT | IR_FP));
}

static bool wants_head(const struct unit *u, const struct ir_block *b)
{
    return (b->loops && b->guest) || (u->flags & UNIT_COUNTS && b->n_insns);
}

/* How many operations, and where each block will start. */
static uint32_t measure(struct packer *p)
{
    uint32_t n = 0;
    for (uint16_t k = 0; k < p->ir->n_blocks; k++) {
        const struct ir_block *b = &p->ir->blocks[k];
        p->starts[k] = n;
        if (!b->n)
            continue;
        n += wants_head(p->u, b);
        for (uint16_t i = b->first; i < b->first + b->n; i++)
            n += is_live(&p->ir->ops[i]);
    }
    return n;
}

/* The last instruction that starts at or before operation i, or NULL. */
static const struct ir_insn *insn_of(const struct ir *ir, uint16_t i)
{
    unsigned lo = 0, hi = ir->n_insns;
    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;
        if (ir->insns[mid].op <= i)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo ? &ir->insns[lo - 1] : NULL;
}

static uint16_t insns_behind(const struct packer *p, const struct ir_insn *insn)
{
    uint16_t n = 0, block = (uint16_t)(p->block - p->ir->blocks);
    for (const struct ir_insn *k = insn + 1; k < p->ir->insns + p->ir->n_insns; k++)
        n += k->block == block;
    return n;
}

/* Links are for code on the same guest page: elsewhere the mapping may change under them. */
static uint32_t target(struct packer *p, uint16_t block, int64_t off)
{
    if (block != IR_NONE)
        return p->starts[block];
    if (!may_link(p->target, (int32_t)off))
        return OUTSIDE | FAR;
    struct unit *u = p->u;
    u->links[u->n_links] = (struct link){ .from = u, .off = (int32_t)off, .jump_at = 1 };
    return OUTSIDE | u->n_links++;
}

static void pack_op(struct packer *p, uint16_t i)
{
    const struct ir_op *from = &p->ir->ops[i];
    const struct ir_insn *insn = insn_of(p->ir, i);
    uint16_t first = p->block->first;
    struct op *op = &p->ops[p->n++];
    *op = (struct op){ .code = from->code,
                       .type = from->type,
                       .vec = from->vec,
                       .cc = from->cc,
                       .x = from->x,
                       .shape = from->shape,
                       .windows = p->block->windows,
                       .dst = i - first,
                       .imm = from->imm,
                       .imm2 = from->imm2,
                       .a = from->a - first,
                       .b = from->b - first,
                       .c = from->c - first,
                       .d = from->d - first };
    if (insn) {
        op->off = (int16_t)insn->off;
        op->undo = insns_behind(p, insn);
    }
    switch (op->code) {
    case IR_get:
    case IR_set: op->imm = p->ir->slots[from->imm].offset; break;
    case IR_load:
    case IR_store: op->x &= IR_MODE_MASK; break;
    case IR_jump: op->to = target(p, from->c, from->imm); break;
    case IR_jumpi: op->to = from->c == IR_NONE ? OUTSIDE : p->starts[from->c]; break;
    case IR_vec: op->type = ir_vec_is_wide(p->ir, from) ? IR_V256 : IR_V128; break;
    case IR_branch:
        op->to = target(p, from->c, from->imm);
        op->other = target(p, from->d, from->imm2);
        break;
    default: break;
    }
}

static enum compiled interp_compile(struct tcg *tcg, struct unit *u, const struct ir *ir)
{
    struct packer p = { .u = u, .ir = ir, .target = tcg->target };
    size_t size = measure(&p) * sizeof(struct op);
    uint32_t at = (uint32_t)align_up(tcg->next, 16);
    if (size > tcg->part_size - 64)
        return COMPILE_TOO_COMPLEX;
    if (at + size > tcg->part_end)
        return COMPILE_NO_ROOM;
    p.ops = (struct op *)(tcg->rw + at);
    for (uint16_t k = 0; k < ir->n_blocks; k++) {
        p.block = &ir->blocks[k];
        if (!p.block->n)
            continue;
        if (wants_head(u, p.block))
            p.ops[p.n++] = (struct op){ .code = OP_BLOCK,
                                        .a = p.block->loops && p.block->guest,
                                        .off = (int16_t)p.block->off,
                                        .imm = u->flags & UNIT_COUNTS ? p.block->n_insns : 0 };
        for (uint16_t i = p.block->first; i < p.block->first + p.block->n; i++)
            if (is_live(&ir->ops[i]))
                pack_op(&p, i);
    }
    u->ir = p.ops;
    u->entry = u; /* what the jump cache gives */
    u->code_at = at;
    u->code_size = (uint32_t)size;
    return COMPILE_OK;
}

/* ---- running ---------------------------------------------------------------------------------------- */

static uint64_t call_helper(struct tcg_cpu *t, const struct op *op, const uint64_t *v)
{
    const struct ir_helper *h = (const struct ir_helper *)(intptr_t)op->imm;
    struct interp *in = t->tcg->backend_data;
    uint64_t args[5], result = 0;
    void *at[5] = { &args[0], &args[1], &args[2], &args[3], &args[4] };
    const uint16_t from[4] = { op->a, op->b, op->c, op->d };
    unsigned n = 0;
    if (!(h->flags & IR_CALL_PURE))
        args[n++] = (uintptr_t)t->cpu->arch;
    for (unsigned k = 0; k < op->x; k++)
        args[n++] = v[from[k]];
    ffi_call(&in->cifs[n], h->fn, &result, at);
    return h->has_result ? result : 0;
}

/* Memory and calls: they may leave, and others may look where the guest is. */
static uint64_t slow(struct tcg_cpu *t, const struct op *op, const uint64_t *v, union vector *w)
{
    uint64_t r = 0;
    t->site = op;
    t->undo = op->undo;
    t->in_windows = op->windows;
    if (op->code == IR_call) {
        r = call_helper(t, op, v);
    } else if (op->type == IR_V128) {
        uint64_t at = v[op->a] + (uint64_t)op->imm;
        if (op->code == IR_load)
            softmmu_load128(t, at, op->shape, op->x, w[op->dst].u64);
        else
            softmmu_store128(t, at, w[op->b].u64, op->shape, op->x);
    } else if (op->type == IR_V256) {
        uint64_t at = v[op->a] + (uint64_t)op->imm;
        if (op->code == IR_load)
            softmmu_load256(t, at, op->shape, op->x, w[op->dst].u64);
        else
            softmmu_store256(t, at, w[op->b].u64, op->shape, op->x);
    } else {
        uint64_t at = v[op->a] + (uint64_t)op->imm;
        switch (op->code) {
        case IR_load: r = softmmu_load(t, at, op->shape, op->x); break;
        case IR_store: softmmu_store(t, at, v[op->b], op->shape, op->x); break;
        case IR_rmw: r = softmmu_rmw(t, op->cc, at, v[op->b], op->shape, op->x); break;
        default: r = softmmu_cas(t, at, v[op->b], v[op->c], op->shape, op->x); break;
        }
    }
    t->undo = 0;
    t->in_windows = false;
    return r;
}

/* Accesses to host memory, whose place a window gives. */
static void window_load(const struct op *op, uint64_t *v, union vector *w)
{
    unsigned size = 1u << (op->shape & IR_SIZE_MASK);
    const uint8_t *at = (const uint8_t *)(uintptr_t)(v[op->a] + (uint64_t)op->imm + v[op->b]);
    uint64_t lo = softmmu_host_load(at, MIN(size, 8u));
    if (op->type >= IR_V128) {
        uint64_t *to = w[op->dst].u64;
        to[0] = lo;
        for (unsigned k = 1; k < 4; k++)
            to[k] = 8 * k < size ? softmmu_host_load(at + 8 * (size_t)k, 8) : 0;
    } else {
        v[op->dst] = op->shape & IR_SIGNED ? (uint64_t)sext(lo, 8 * size) : lo;
    }
}

static void window_store(const struct op *op, const uint64_t *v, const union vector *w)
{
    unsigned size = 1u << (op->shape & IR_SIZE_MASK);
    uint8_t *at = (uint8_t *)(uintptr_t)(v[op->a] + (uint64_t)op->imm + v[op->c]);
    const uint64_t *from = op->type >= IR_V128 ? w[op->b].u64 : &v[op->b];
    softmmu_host_store(at, MIN(size, 8u), from[0]);
    for (unsigned k = 1; 8 * k < size; k++)
        softmmu_host_store(at + 8 * (size_t)k, 8, from[k]);
}

static uint64_t run_float(struct tcg_cpu *t, const struct op *op, uint64_t a, uint64_t b,
                          uint64_t c)
{
    const struct ir_op ir = { .code = op->code, .type = op->type, .cc = op->cc, .x = op->x };
    return softfp_op(t, &ir, a, b, c);
}

/* Values are in v, vectors in w. */
static void run_vec(struct tcg_cpu *t, const struct op *op, uint64_t *v, union vector *w)
{
    const struct ir_vec_info *info = &ir_vec_infos[op->vec];
    const uint16_t from[3] = { op->a, op->b, op->c };
    union v128 scalar = { .u64 = { 0, 0 } }, r[2]; /* no operation has two scalar operands */
    const union v128 *in[3] = { &scalar, &scalar, &scalar };
    unsigned halves = op->type == IR_V256 ? 2 : 1, n = (unsigned)op->imm;
    for (unsigned h = 0; h < halves; h++) {
        for (unsigned k = 0; k < info->n_values; k++) {
            if (ir_vec_type(info->types[1 + k], false) == IR_V128)
                in[k] = &w[from[k]].half[info->types[1 + k] == 'w' ? h : 0];
            else
                scalar.u64[0] = v[from[k]];
        }
        softfp_vec(t, op->vec, h ? ir_vec_upper_constant(op->vec, n) : n, &r[h], in[0], in[1],
                   in[2]);
    }
    if (ir_vec_type(info->types[0], false) == IR_V128)
        memcpy(w[op->dst].half, r, halves * sizeof(r[0]));
    else
        v[op->dst] =
            halves == 2 ? vec_join_integers(op->vec, r[0].u64[0], r[1].u64[0]) : r[0].u64[0];
}

/* Operations on the bits of floats: the sign, and f32 inside f64. */
static uint64_t run_bits(const struct op *op, uint64_t a)
{
    const uint64_t sign = (uint64_t)1 << (op->type == IR_F64 ? 63 : 31);
    const uint64_t ones = (uint64_t)UINT32_MAX << 32;
    switch (op->code) {
    case IR_fneg: return a ^ sign;
    case IR_fabs: return a & ~sign;
    case IR_fbox: return a | ones;
    case IR_funbox: return (a & ones) == ones ? (uint32_t)a : 0x7fc00000;
    default: return a;
    }
}

static bool wants_exit(struct tcg_cpu *t, const struct unit *u)
{
    if (atomic_load(&u->dead))
        t->why = LEFT_DEAD;
    return t->why || atomic_load_explicit(&t->exit_flag, memory_order_relaxed);
}

/* The unit at pc, if it can be found without leaving; else arch pc says where to go on. */
static struct unit *look_up(struct tcg_cpu *t, uint64_t pc)
{
    const struct jump_entry *e = &t->jumps[jump_index(pc)];
    const struct unit *u = e->pc == pc ? e->code : run_lookup(t->cpu->arch, pc);
    if (u)
        t->pc_page = pc - (uint64_t)(int64_t)u->off;
    return (struct unit *)u;
}

/* Out of u by `to` of its jump or branch: the unit linked there, or NULL and the link. */
static struct unit *go_out(struct tcg_cpu *t, struct unit *u, uint32_t to, int64_t off,
                           struct link **out)
{
    if (to & FAR)
        return look_up(t, t->pc_page + (uint64_t)off);
    struct link *l = &u->links[to & ~OUTSIDE];
    struct unit *next = __atomic_load_n(&l->to, __ATOMIC_ACQUIRE);
    if (!next || atomic_load(&next->dead)) {
        next = NULL;
        *out = l;
    }
    return next;
}

/* From the start of u; gives the unit to go on with, or NULL (and the link taken, if it was one). */
static struct unit *run_unit(struct tcg_cpu *t, struct unit *u, struct link **out)
{
    char *arch = t->cpu->arch;
    const struct op *ops = u->ir, *op = ops;
    uint64_t v[IR_MAX_OPS];
    union vector w[IR_MAX_OPS];
    for (;; op++) {
        switch (op->code) {
        case OP_BLOCK:
            if (op->a && wants_exit(t, u)) {
                *tcg_pc(t) = t->pc_page + (uint64_t)(int64_t)op->off;
                return NULL;
            }
            t->n_insns += (uint64_t)op->imm;
            break;
        case IR_const:
            if (op->type >= IR_V128)
                for (unsigned k = 0; k < 4; k++)
                    w[op->dst].u64[k] = (uint64_t)op->imm;
            else
                v[op->dst] = (uint64_t)op->imm;
            break;
        case IR_get:
            if (op->type == IR_V128)
                memcpy(&w[op->dst], arch + op->imm, 16);
            else /* some are other threads' to change */
                v[op->dst] =
                    __atomic_load_n((uint64_t *)(void *)(arch + op->imm), __ATOMIC_RELAXED);
            break;
        case IR_forget: break;
        case IR_set:
            if (op->type == IR_V128)
                memcpy(arch + op->imm, &w[op->a], 16);
            else
                memcpy(arch + op->imm, &v[op->a], 8);
            break;
        case IR_vec: run_vec(t, op, v, w); break;
        case IR_join: {
            union vector both = { .half = { w[op->a].half[0], w[op->b].half[0] } };
            w[op->dst] = both;
            break;
        }
        case IR_low: w[op->dst].half[0] = w[op->a].half[0]; break;
        case IR_high: w[op->dst].half[0] = w[op->a].half[1]; break;
        case IR_pc: v[op->dst] = t->pc_page + (uint64_t)op->imm; break;
        case IR_setc: v[op->dst] = ir_eval_cc(op->cc, op->type, v[op->a], v[op->b]); break;
        case IR_addc:
        case IR_carry: {
            bool carry;
            uint64_t sum = ir_eval_addc(op->type, v[op->a], v[op->b], v[op->c], &carry);
            v[op->dst] = op->code == IR_addc ? sum : carry;
            break;
        }
        case IR_select:
            if (op->type >= IR_V128)
                w[op->dst] = v[op->a] ? w[op->b] : w[op->c];
            else
                v[op->dst] = v[op->a] ? v[op->b] : v[op->c];
            break;
        case IR_fflags: v[op->dst] = tcg_fp_flags(t->cpu); break;
        case IR_set_fflags: tcg_fp_set_flags(t->cpu, v[op->a] & 31); break;
        case IR_fence: atomic_thread_fence(memory_order_seq_cst); break;
        case IR_word: v[op->dst] = t->words[op->imm]; break;
        case IR_set_word: t->words[op->imm] = v[op->a]; break;
        case IR_window: v[op->dst] = tlb_open_window(t, op->imm, v[op->a], v[op->b]); break;
        case IR_load_w: window_load(op, v, w); break;
        case IR_store_w: window_store(op, v, w); break;
        case IR_load:
        case IR_rmw:
        case IR_cas:
        case IR_call: v[op->dst] = slow(t, op, v, w); break;
        case IR_store: slow(t, op, v, w); break;
        case IR_copy:
            v[op->dst] = softmmu_copy(t, v[op->a], v[op->b], v[op->c], op->shape, op->x);
            break;
        case IR_fill:
            v[op->dst] = softmmu_fill(t, v[op->a], v[op->b], v[op->c], op->shape, op->x);
            break;
        case IR_fma: v[op->dst] = run_float(t, op, v[op->a], v[op->b], v[op->c]); break;
        case IR_fadd:
        case IR_fsub:
        case IR_fmul:
        case IR_fdiv:
        case IR_fcmp: v[op->dst] = run_float(t, op, v[op->a], v[op->b], 0); break;
        case IR_fsqrt:
        case IR_ftoi:
        case IR_itof:
        case IR_fwiden:
        case IR_fnarrow: v[op->dst] = run_float(t, op, v[op->a], 0, 0); break;
        case IR_fneg:
        case IR_fabs:
        case IR_fbits:
        case IR_bitsf:
        case IR_fbox:
        case IR_funbox: v[op->dst] = run_bits(op, v[op->a]); break;
        case IR_jump:
            if (op->to & OUTSIDE)
                return go_out(t, u, op->to, op->imm, out);
            op = ops + op->to - 1;
            break;
        case IR_branch: {
            bool taken = ir_eval_cc(op->cc, op->type, v[op->a], v[op->b]);
            uint32_t to = taken ? op->to : op->other;
            if (to & OUTSIDE)
                return go_out(t, u, to, taken ? op->imm : op->imm2, out);
            op = ops + to - 1;
            break;
        }
        case IR_jumpi:
            if (op->to & OUTSIDE || v[op->a] != t->pc_page + (uint64_t)(int64_t)op->imm2)
                return look_up(t, v[op->a]);
            op = ops + op->to - 1;
            break;
        case IR_leave: *tcg_pc(t) = t->pc_page + (uint64_t)op->imm; return NULL;
        default: /* integers of one or two operands */
            v[op->dst] = ir_eval(op->code, op->type, v[op->a],
                                 ir_op_infos[op->code].n_values > 1 ? v[op->b] : 0);
        }
    }
}

static struct link *interp_enter(struct tcg_cpu *t, struct unit *u)
{
    struct link *out = NULL;
    while (u) {
        if (wants_exit(t, u)) {
            *tcg_pc(t) = t->pc_page + (uint64_t)(int64_t)u->off;
            return NULL;
        }
        u = run_unit(t, u, &out);
    }
    return out;
}

/* ---- what there is nothing to do for ------------------------------------------------------------------ */

static void interp_drop(struct tcg *tcg, struct unit *u)
{
}

static void interp_place_links(struct tcg *tcg, struct unit *u)
{
    (void)tcg; /* links are found by number */
    u->entry = u;
}

static void interp_set_link(struct tcg *tcg, struct link *l, struct unit *to)
{
}

static void interp_kill(struct tcg *tcg, struct unit *u)
{
}

static void interp_fp_resume(struct tcg_cpu *t)
{
    t->fp_live = true;
}

static void interp_fp_suspend(struct tcg_cpu *t)
{
    t->fp_live = false;
}

static int32_t interp_site_off(struct tcg_cpu *t)
{
    return ((const struct op *)t->site)->off;
}

static void interp_each_site(const struct tcg *tcg, const struct unit *u,
                             void (*found)(void *opaque, const struct site *site), void *opaque)
{
    (void)tcg, (void)u, (void)found, (void)opaque; /* all of it is C */
}

/* What it compiles to is pointers. */
static uint64_t interp_identity(const struct tcg *tcg)
{
    (void)tcg;
    return 0;
}

const struct backend backend_interp = {
    .name = "interp",
    .init = interp_init,
    .fini = interp_fini,
    .compile = interp_compile,
    .identity = interp_identity,
    .drop = interp_drop,
    .enter = interp_enter,
    .place_links = interp_place_links,
    .set_link = interp_set_link,
    .kill = interp_kill,
    .fp_resume = interp_fp_resume,
    .fp_suspend = interp_fp_suspend,
    .site_off = interp_site_off,
    .each_site = interp_each_site,
};
