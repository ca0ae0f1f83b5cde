/* The IR builder: folds and forwards while the target describes an instruction. */
#include "tcg/ir.h"

#include "core/util.h"
#include "tcg/ir_eval.h"

#include <assert.h>

const struct ir_op_info ir_op_infos[N_IR_OPS] = {
#define IR_OP(name_, result_, values_, flags_, meaning_) \
    [IR_##name_] = { .name = #name_,                     \
                     .meaning = (meaning_),              \
                     .result = IR_RES_##result_,         \
                     .n_values = (values_),              \
                     .flags = (flags_) },
#include "tcg/ops.h"
#undef IR_OP
};

enum { FP = IR_VEC_FP, IMM = IR_VEC_IMM };
const struct ir_vec_info ir_vec_infos[N_IR_VECS] = {
#define IR_VEC(name_, types_, flags_, ...)                                                 \
    [IR_V_##name_] = {                                                                     \
        .name = #name_, .types = types_, .flags = (flags_), .n_values = sizeof(types_) - 2 \
    },
#include "tcg/vec_ops.h"
#undef IR_VEC
};

enum ir_type ir_vec_type(char letter, bool wide)
{
    switch (letter) {
    case 'w': return wide ? IR_V256 : IR_V128;
    case 'i': return IR_I32;
    case 'l': return IR_I64;
    case 'f': return IR_F32;
    case 'd': return IR_F64;
    default: return IR_V128;
    }
}

bool ir_vec_is_wide(const struct ir *ir, const struct ir_op *op)
{
    return ir_vec_widens(op->vec) && ir_type_of(ir, op->a) == IR_V256;
}

unsigned ir_vec_upper_constant(enum ir_vec vec, unsigned n)
{
    switch (vec) {
    case IR_V_shuffle2_i64:
    case IR_V_blend_i64: return n >> 2;
    case IR_V_sad4_u8: return n >> 3;
    case IR_V_blend_i32: return n >> 4;
    default: return n;
    }
}

void ir_start(struct ir *ir, const struct ir_slot *slots, uint16_t n_slots)
{
    assert(n_slots <= ARRAY_LEN(ir->slot_value));
    ir->slots = slots;
    ir->n_slots = n_slots;
    ir->n_ops = ir->n_blocks = ir->n_insns = 0;
    ir->block = 0;
    ir->ended = true;
    ir->overflow = ir->joins = false;
}

/* Nothing is known at the start of a block. */
static void forget_values(struct ir *ir)
{
    memset(ir->slot_value, 0xff, ir->n_slots * sizeof(ir->slot_value[0]));
    memset(ir->const_value, 0xff, sizeof(ir->const_value));
    ir->page_value = IR_NONE;
}

static struct ir_op *emit(struct ir *ir, enum ir_code code, enum ir_type type)
{
    if (ir->n_ops == IR_MAX_OPS) {
        ir->overflow = true;
        ir->n_ops--; /* keep building into the last place; the unit is thrown away */
    }
    struct ir_op *op = &ir->ops[ir->n_ops++];
    *op = (struct ir_op){
        .code = code, .type = type, .a = IR_NONE, .b = IR_NONE, .c = IR_NONE, .d = IR_NONE
    };
    return op;
}

static ir_val value_of(const struct ir *ir, const struct ir_op *op)
{
    return (ir_val)(op - ir->ops);
}

static void end_block(struct ir *ir)
{
    ir->blocks[ir->block].n = ir->n_ops - ir->blocks[ir->block].first;
    ir->ended = true;
}

uint16_t ir_new_block(struct ir *ir)
{
    if (ir->n_blocks == IR_MAX_BLOCKS) {
        ir->overflow = true;
        ir->n_blocks--;
    }
    ir->blocks[ir->n_blocks] = (struct ir_block){ 0 };
    return ir->n_blocks++;
}

void ir_enter(struct ir *ir, uint16_t block)
{
    if (!ir->ended)
        ir_jump_block(ir, block);
    struct ir_block *b = &ir->blocks[block];
    b->first = ir->n_ops;
    if (!b->guest && ir->n_insns)
        b->off = ir->insns[ir->n_insns - 1].off;
    ir->block = block;
    ir->ended = false;
    forget_values(ir);
}

void ir_begin_block(struct ir *ir, int32_t off)
{
    if (!ir->ended)
        ir_jump(ir, off);
    uint16_t block = ir_new_block(ir);
    ir->blocks[block].off = off;
    ir->blocks[block].guest = true;
    ir_enter(ir, block);
}

void ir_continue(struct ir *ir)
{
    assert(ir->overflow || (ir->ended && ir->ops[ir->n_ops - 1].code == IR_jump));
    ir->n_ops--;
    ir->ended = false;
}

void ir_begin_insn(struct ir *ir, int32_t off, uint8_t len)
{
    if (ir->n_insns == IR_MAX_INSNS) {
        ir->overflow = true;
        ir->n_insns--;
    }
    ir->insns[ir->n_insns++] =
        (struct ir_insn){ .op = ir->n_ops, .block = ir->block, .off = off, .len = len };
    ir->blocks[ir->block].n_insns++;
}

/* ---- leaves ------------------------------------------------------------------------------------ */

enum ir_type ir_result_type(const struct ir_op *op)
{
    switch (ir_op_infos[op->code].result) {
    case IR_RES_same: return op->type;
    case IR_RES_i32: return IR_I32;
    case IR_RES_i64: return IR_I64;
    case IR_RES_f32: return IR_F32;
    case IR_RES_f64: return IR_F64;
    case IR_RES_v128: return IR_V128;
    case IR_RES_v256: return IR_V256;
    case IR_RES_int:
        if (op->code == IR_ftoi)
            return op->x & IR_FTOI_32 ? IR_I32 : IR_I64;
        return op->type == IR_F32 ? IR_I32 : IR_I64;
    case IR_RES_vec: return op->type;
    default: return IR_VOID;
    }
}

bool ir_is_const(const struct ir *ir, ir_val v, int64_t *value)
{
    const struct ir_op *op = &ir->ops[v];
    if (op->code != IR_const)
        return false;
    *value = op->imm;
    return true;
}

ir_val ir_const(struct ir *ir, enum ir_type type, int64_t v)
{
    if (type == IR_I32)
        v = (int32_t)v;
    unsigned h = ((uint64_t)v * 0x9e3779b97f4a7c15u >> 58 ^ type) % ARRAY_LEN(ir->const_value);
    ir_val known = ir->const_value[h];
    if (known != IR_NONE && ir->ops[known].imm == v && ir->ops[known].type == type)
        return known;
    struct ir_op *op = emit(ir, IR_const, type);
    op->imm = v;
    return ir->const_value[h] = value_of(ir, op);
}

ir_val ir_get(struct ir *ir, unsigned slot)
{
    if (!ir->no_fold && ir->slot_value[slot] != IR_NONE)
        return ir->slot_value[slot];
    struct ir_op *op = emit(ir, IR_get, ir->slots[slot].type);
    op->imm = slot;
    return ir->slot_value[slot] = value_of(ir, op);
}

void ir_set(struct ir *ir, unsigned slot, ir_val v)
{
    if (!ir->no_fold && ir->slot_value[slot] == v)
        return;
    assert(ir->overflow || ir_type_of(ir, v) == ir->slots[slot].type);
    struct ir_op *op = emit(ir, IR_set, ir->slots[slot].type);
    op->imm = slot;
    op->a = v;
    ir->slot_value[slot] = v;
}

void ir_forget(struct ir *ir, unsigned slot)
{
    emit(ir, IR_forget, ir->slots[slot].type)->imm = slot;
    ir->slot_value[slot] = IR_NONE;
}

void ir_know(struct ir *ir, unsigned slot, ir_val v)
{
    ir->slot_value[slot] = v;
}

ir_val ir_pc(struct ir *ir, int32_t off)
{
    if (!ir->no_fold && !off && ir->page_value != IR_NONE)
        return ir->page_value;
    struct ir_op *op = emit(ir, IR_pc, IR_I64);
    op->imm = off;
    if (!off)
        ir->page_value = value_of(ir, op);
    return value_of(ir, op);
}

/* ---- arithmetic --------------------------------------------------------------------------------- */

/* How many low bits of this integer may be other than 0, as far as `depth` operations back tell. */
static unsigned bits_of(const struct ir *ir, ir_val v, unsigned depth)
{
    const struct ir_op *op = &ir->ops[v];
    unsigned width = op->type == IR_I32 ? 32 : 64, n;
    int64_t c;
    switch (op->code) {
    case IR_const:
        return op->imm > 0 ? 64 - (unsigned)__builtin_clzll((uint64_t)op->imm)
               : op->imm   ? width
                           : 0;
    case IR_setc:
    case IR_fcmp:
    case IR_carry: return 1;
    case IR_zext8: return 8;
    case IR_zext16: return 16;
    case IR_zext32: return 32;
    case IR_sext32: return 64; /* its type is the operand's */
    case IR_load:
        n = 8u << (op->shape & IR_SIZE_MASK);
        return op->shape & IR_SIGNED ? width : MIN(n, width);
    case IR_and:
        n = ir_is_const(ir, op->b, &c) && c >= 0 ? bits_of(ir, op->b, 0) : width;
        return depth ? MIN(n, bits_of(ir, op->a, depth - 1)) : n;
    case IR_or:
    case IR_xor:
        return depth ? MAX(bits_of(ir, op->a, depth - 1), bits_of(ir, op->b, depth - 1)) : width;
    case IR_shr:
        if (!depth || !ir_is_const(ir, op->b, &c) || c < 0 || c >= width)
            return width;
        n = bits_of(ir, op->a, depth - 1);
        return n > (unsigned)c ? n - (unsigned)c : 0;
    default: return width;
    }
}
enum { LOOK_BACK = 3 };

/* Is v known to equal the sign (zero) extension of its low 32 bits? */
static bool extends32(const struct ir *ir, ir_val v, bool sign)
{
    const struct ir_op *op = &ir->ops[v];
    unsigned size = op->shape & IR_SIZE_MASK;
    if (op->type == IR_I64 && op->code != IR_const && bits_of(ir, v, LOOK_BACK) <= (sign ? 31 : 32))
        return true;
    switch (op->code) {
    case IR_const:
        return op->imm == (sign ? (int64_t)(int32_t)op->imm : (int64_t)(uint32_t)op->imm);
    case IR_setc:
    case IR_fcmp: return true;
    case IR_sext8:
    case IR_sext16: return sign && op->type == IR_I64;
    case IR_sext32: return sign;
    case IR_zext32: return !sign;
    case IR_load:
        if (op->type != IR_I64 || size > IR_32)
            return false;
        if (op->shape & IR_SIGNED)
            return sign;
        return size < IR_32 || !sign;
    default: return false;
    }
}

/* An existing or constant value that equals code a; IR_NONE if an operation is needed. */
static ir_val fold_1(struct ir *ir, enum ir_code code, enum ir_type type, ir_val a)
{
    const struct ir_op *in = &ir->ops[a];
    if (in->code == IR_const && ir_evaluates(code)) {
        uint64_t v = ir_eval(code, type, (uint64_t)in->imm, 0);
        return ir_const(ir,
                        code == IR_trunc                         ? IR_I32
                        : code == IR_sext32 || code == IR_zext32 ? IR_I64
                                                                 : type,
                        (int64_t)v);
    }
    if (code == IR_trunc && (in->code == IR_sext32 || in->code == IR_zext32))
        return in->a;
    if ((code == IR_sext32 || code == IR_zext32) && in->code == IR_trunc &&
        extends32(ir, in->a, code == IR_sext32))
        return in->a;
    if ((code == IR_zext8 || code == IR_zext16) &&
        bits_of(ir, a, LOOK_BACK) <= (code == IR_zext8 ? 8 : 16))
        return a;
    if ((code == IR_fbits && in->code == IR_bitsf) || (code == IR_bitsf && in->code == IR_fbits))
        return in->a;
    if (code == IR_funbox && in->code == IR_fbox)
        return in->a;
    if ((code == IR_low || code == IR_high) && in->code == IR_join)
        return code == IR_low ? in->a : in->b;
    if ((code == IR_low || code == IR_high) && in->code == IR_const)
        return ir_const(ir, IR_V128, in->imm);
    return IR_NONE;
}

/* Where the same operation is, if it was done a little before in this block. What it holds may be of another unit. */
static ir_val *done_before(struct ir *ir, enum ir_code code, ir_val a)
{
    return &ir->done[(a * 4 + code) % ARRAY_LEN(ir->done)];
}

static bool is_still(const struct ir *ir, ir_val v, enum ir_code code, enum ir_type type, ir_val a)
{
    enum { A_LITTLE = 12 };
    const struct ir_op *op = &ir->ops[v];
    return v < ir->n_ops && v + A_LITTLE >= ir->n_ops && v >= ir->blocks[ir->block].first &&
           op->code == code && op->a == a && op->type == type;
}

ir_val ir_1(struct ir *ir, enum ir_code code, ir_val a)
{
    enum ir_type type = ir_type_of(ir, a);
    if (code == IR_bitsf)
        type = type == IR_I32 ? IR_F32 : IR_F64;
    ir_val known = ir->no_fold ? IR_NONE : fold_1(ir, code, type, a);
    if (known != IR_NONE)
        return known;
    ir_val *done = done_before(ir, code, a);
    if (!ir->no_fold && !(ir_op_infos[code].flags & IR_FP) && is_still(ir, *done, code, type, a))
        return *done;
    struct ir_op *op = emit(ir, code, type);
    op->a = a;
    return *done = value_of(ir, op);
}

/* x op c that needs no operation: gives x, or IR_NONE. */
static bool is_identity(enum ir_code code, enum ir_type type, int64_t c)
{
    int64_t width_mask = type == IR_I32 ? 31 : 63;
    switch (code) {
    case IR_add:
    case IR_sub:
    case IR_or:
    case IR_xor:
    case IR_andn: return c == 0;
    case IR_shl:
    case IR_shr:
    case IR_sar:
    case IR_rol:
    case IR_ror: return (c & width_mask) == 0;
    case IR_and: return c == -1;
    case IR_mul:
    case IR_divu:
    case IR_divs: return c == 1;
    default: return false;
    }
}

static void exchange(ir_val *a, ir_val *b)
{
    ir_val t = *a;
    *a = *b;
    *b = t;
}

/* The low `width` bits of an i64, extended; IR_NONE if there is no operation for it. */
static ir_val extend_low(struct ir *ir, ir_val a, unsigned width, bool sign)
{
    switch (width) {
    case 8: return ir_1(ir, sign ? IR_sext8 : IR_zext8, a);
    case 16: return ir_1(ir, sign ? IR_sext16 : IR_zext16, a);
    case 32: return ir_1(ir, sign ? IR_sext32 : IR_zext32, ir_1(ir, IR_trunc, a));
    default: return IR_NONE;
    }
}

/* Extensions written as a pair of shifts, or as a mask. */
static ir_val fold_extension(struct ir *ir, enum ir_code code, enum ir_type type, ir_val a,
                             int64_t c)
{
    const struct ir_op *in = &ir->ops[a];
    int64_t left;
    if (type != IR_I64)
        return IR_NONE;
    if (code == IR_and)
        return c == 0xff     ? extend_low(ir, a, 8, false)
               : c == 0xffff ? extend_low(ir, a, 16, false)
                             : IR_NONE;
    if ((code != IR_shr && code != IR_sar) || in->code != IR_shl ||
        !ir_is_const(ir, in->b, &left) || left != c || c <= 0 || c > 63)
        return IR_NONE;
    return extend_low(ir, in->a, 64 - (unsigned)c, code == IR_sar);
}

/* What a 32-bit value is cut out of. */
static ir_val behind_trunc(const struct ir *ir, ir_val v)
{
    return ir->ops[v].code == IR_trunc ? ir->ops[v].a : v;
}

/* A rotation written as two shifts and a sum of what they leave apart; of 32 bits also behind sign extensions. */
static ir_val fold_rotation(struct ir *ir, ir_val a, ir_val b)
{
    bool extended = ir->ops[a].code == IR_sext32 && ir->ops[b].code == IR_sext32;
    const struct ir_op *x = &ir->ops[extended ? ir->ops[a].a : a];
    const struct ir_op *y = &ir->ops[extended ? ir->ops[b].a : b];
    const struct ir_op *l = x->code == IR_shl ? x : y, *r = x->code == IR_shl ? y : x;
    int64_t left, right, width = l->type == IR_I32 ? 32 : 64;
    if (l->code != IR_shl || r->code != IR_shr || l->type != r->type ||
        !ir_is_const(ir, l->b, &left) || !ir_is_const(ir, r->b, &right) || left <= 0 ||
        right <= 0 || left + right != width || behind_trunc(ir, l->a) != behind_trunc(ir, r->a))
        return IR_NONE;
    ir_val v = ir_2i(ir, IR_ror, l->a, right);
    return extended ? ir_1(ir, IR_sext32, v) : v;
}

/* Two halves of one value, or joined before in this block. */
static ir_val fold_join(struct ir *ir, ir_val a, ir_val b)
{
    const struct ir_op *x = &ir->ops[a], *y = &ir->ops[b];
    if (x->code == IR_low && y->code == IR_high && x->a == y->a)
        return x->a;
    if (x->code == IR_const && y->code == IR_const && x->imm == y->imm)
        return ir_const(ir, IR_V256, x->imm);
    unsigned first = ir->blocks[ir->block].first;
    for (unsigned i = ir->n_ops; i-- > first && i > MAX(a, b);)
        if (ir->ops[i].code == IR_join && ir->ops[i].a == a && ir->ops[i].b == b)
            return (ir_val)i;
    return IR_NONE;
}

/* As fold_1; may also put a simpler operation in place of the one given. */
static ir_val fold_2(struct ir *ir, enum ir_code *code, enum ir_type type, ir_val *a, ir_val *b)
{
    int64_t ca, cb, inner;
    if (*code == IR_join)
        return fold_join(ir, *a, *b);
    if (ir_op_infos[*code].flags & IR_COMMUTES && ir->ops[*a].code == IR_const)
        exchange(a, b);
    if (*a == *b && (*code == IR_sub || *code == IR_xor || *code == IR_andn))
        return ir_const(ir, type, 0);
    if (*a == *b && (*code == IR_and || *code == IR_or))
        return *a;
    if (*code == IR_or || *code == IR_xor || *code == IR_add) {
        ir_val rotated = fold_rotation(ir, *a, *b);
        if (rotated != IR_NONE)
            return rotated;
    }
    if (!ir_is_const(ir, *b, &cb) || !ir_evaluates(*code))
        return IR_NONE;
    if (ir_is_const(ir, *a, &ca))
        return ir_const(ir, type, (int64_t)ir_eval(*code, type, (uint64_t)ca, (uint64_t)cb));
    if (is_identity(*code, type, cb))
        return *a;
    if ((*code == IR_and || *code == IR_mul) && cb == 0)
        return *b;
    if (*code == IR_sub) {
        *code = IR_add;
        cb = (int64_t)(0 - (uint64_t)cb);
        *b = ir_const(ir, type, cb);
    }
    if (*code == IR_and && cb > 0 && !((uint64_t)cb & ((uint64_t)cb + 1)) &&
        bits_of(ir, *a, LOOK_BACK) <= bits_of(ir, *b, 0))
        return *a;
    if (*code != IR_add)
        return fold_extension(ir, *code, type, *a, cb);
    const struct ir_op *in = &ir->ops[*a];
    int64_t off = (int64_t)((uint64_t)in->imm + (uint64_t)cb);
    if (in->code == IR_pc && off == (int32_t)off)
        return ir_pc(ir, (int32_t)off);
    if (in->code == IR_add && ir_is_const(ir, in->b, &inner))
        return ir_2(ir, IR_add, in->a,
                    ir_const(ir, type, (int64_t)((uint64_t)inner + (uint64_t)cb)));
    return IR_NONE;
}

ir_val ir_2(struct ir *ir, enum ir_code code, ir_val a, ir_val b)
{
    enum ir_type type = ir_type_of(ir, a);
    ir_val known = ir->no_fold ? IR_NONE : fold_2(ir, &code, type, &a, &b);
    if (known != IR_NONE)
        return known;
    ir->joins |= code == IR_join;
    struct ir_op *op = emit(ir, code, type);
    op->a = a;
    op->b = b;
    return value_of(ir, op);
}

ir_val ir_2i(struct ir *ir, enum ir_code code, ir_val a, int64_t b)
{
    return ir_2(ir, code, a, ir_const(ir, ir_type_of(ir, a), b));
}

static bool is_shifted(const struct ir *ir, ir_val v, ir_val b, unsigned shift)
{
    const struct ir_op *op = &ir->ops[v];
    int64_t n;
    return shift ? op->code == IR_shl && op->a == b && ir_is_const(ir, op->b, &n) && n == shift
                 : v == b;
}

ir_val ir_known_sum(const struct ir *ir, ir_val a, ir_val b, unsigned shift)
{
    enum { A_LITTLE = 64 };
    unsigned first = ir->blocks[ir->block].first, left = A_LITTLE;
    if (ir->no_fold)
        return IR_NONE;
    for (unsigned i = ir->n_ops; i-- > first && left--;) {
        const struct ir_op *op = &ir->ops[i];
        if (op->code == IR_add && op->type == IR_I64 && op->a == a &&
            is_shifted(ir, op->b, b, shift))
            return (ir_val)i;
    }
    return IR_NONE;
}

enum ir_cc ir_swapped_cc(enum ir_cc cc)
{
    static const uint8_t to[] = {
        [IR_EQ] = IR_EQ, [IR_NE] = IR_NE,   [IR_LT] = IR_GT,   [IR_GE] = IR_LE,   [IR_LE] = IR_GE,
        [IR_GT] = IR_LT, [IR_LTU] = IR_GTU, [IR_GEU] = IR_LEU, [IR_LEU] = IR_GEU, [IR_GTU] = IR_LTU
    };
    return to[cc];
}

ir_val ir_setc(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b)
{
    enum ir_type type = ir_type_of(ir, a);
    int64_t ca, cb;
    bool const_a = !ir->no_fold && ir_is_const(ir, a, &ca), const_b = ir_is_const(ir, b, &cb);
    if (const_a && const_b)
        return ir_i64(ir, ir_eval_cc(cc, type, (uint64_t)ca, (uint64_t)cb));
    if (const_a) {
        exchange(&a, &b);
        cc = ir_swapped_cc(cc);
    }
    struct ir_op *op = emit(ir, IR_setc, type);
    op->cc = cc;
    op->a = a;
    op->b = b;
    return value_of(ir, op);
}

static ir_val emit_3(struct ir *ir, enum ir_code code, ir_val a, ir_val b, ir_val c)
{
    struct ir_op *op = emit(ir, code, ir_type_of(ir, a));
    op->a = a;
    op->b = b;
    op->c = c;
    return value_of(ir, op);
}

ir_val ir_add_carry(struct ir *ir, ir_val a, ir_val b, ir_val carry, ir_val *out)
{
    int64_t c;
    if (!ir->no_fold && ir_is_const(ir, carry, &c) && !c) {
        ir_val sum = ir_2(ir, IR_add, a, b);
        *out = ir_setc(ir, IR_LTU, sum, b);
        return sum;
    }
    ir_val sum = emit_3(ir, IR_addc, a, b, carry);
    *out = emit_3(ir, IR_carry, a, b, carry);
    return sum;
}

ir_val ir_select(struct ir *ir, ir_val cond, ir_val if_so, ir_val if_not)
{
    int64_t c;
    if (!ir->no_fold && ir_is_const(ir, cond, &c))
        return c ? if_so : if_not;
    if (!ir->no_fold && if_so == if_not)
        return if_so;
    struct ir_op *op = emit(ir, IR_select, ir_type_of(ir, if_so));
    op->a = cond;
    op->b = if_so;
    op->c = if_not;
    return value_of(ir, op);
}

/* ---- memory -------------------------------------------------------------------------------------- */

/* Move a constant part of the address into the offset, so that near accesses show one base. */
static void split_address(struct ir *ir, ir_val *base, int64_t *off)
{
    const struct ir_op *op = &ir->ops[*base];
    int64_t c;
    if (!ir->no_fold && op->code == IR_pc && op->imm) {
        c = *off + op->imm;
        if (c > -IR_OFFSET_LIMIT && c < IR_OFFSET_LIMIT) {
            *base = ir_pc(ir, 0);
            *off = c;
        }
        return;
    }
    if (ir->no_fold || op->code != IR_add || !ir_is_const(ir, op->b, &c))
        return;
    int64_t sum = (int64_t)((uint64_t)*off + (uint64_t)c);
    if (sum > -IR_OFFSET_LIMIT && sum < IR_OFFSET_LIMIT) {
        *base = op->a;
        *off = sum;
    }
}

/* Without IR_ALIGNED where an access a few back in this block, whose address differs by whole accesses, would have
 * faulted already. */
static unsigned without_known_alignment(const struct ir *ir, ir_val base, int64_t off,
                                        unsigned shape)
{
    enum { BACK = 32 };
    unsigned first = ir->blocks[ir->block].first, size = ir_access_bytes(shape), left = BACK;
    if (ir->no_fold || !(shape & IR_ALIGNED))
        return shape;
    for (unsigned i = ir->n_ops; i-- > first && left--;) {
        const struct ir_op *op = &ir->ops[i];
        if ((op->code == IR_load || op->code == IR_store) && op->a == base &&
            op->shape & IR_ALIGNED && ir_access_bytes(op->shape) >= size &&
            !((uint64_t)(off - op->imm) & (size - 1)))
            return shape & ~(unsigned)IR_ALIGNED;
    }
    return shape;
}

ir_val ir_load(struct ir *ir, enum ir_type type, ir_val base, int64_t off, unsigned shape,
               unsigned mode)
{
    split_address(ir, &base, &off);
    shape = without_known_alignment(ir, base, off, shape);
    struct ir_op *op = emit(ir, IR_load, type);
    op->a = base;
    op->imm = off;
    op->shape = shape;
    op->x = mode;
    return value_of(ir, op);
}

void ir_store(struct ir *ir, ir_val base, int64_t off, ir_val v, unsigned shape, unsigned mode)
{
    split_address(ir, &base, &off);
    shape = without_known_alignment(ir, base, off, shape);
    struct ir_op *op = emit(ir, IR_store, ir_type_of(ir, v));
    op->a = base;
    op->b = v;
    op->imm = off;
    op->shape = shape;
    op->x = mode;
}

ir_val ir_rmw(struct ir *ir, enum ir_rmw kind, ir_val base, ir_val v, unsigned shape, unsigned mode)
{
    struct ir_op *op = emit(ir, IR_rmw, ir_type_of(ir, v));
    op->a = base;
    op->b = v;
    op->cc = kind;
    op->shape = shape;
    op->x = mode;
    return value_of(ir, op);
}

ir_val ir_cas(struct ir *ir, ir_val base, ir_val expected, ir_val desired, unsigned shape,
              unsigned mode)
{
    struct ir_op *op = emit(ir, IR_cas, ir_type_of(ir, desired));
    op->a = base;
    op->b = expected;
    op->c = desired;
    op->shape = shape;
    op->x = mode;
    return value_of(ir, op);
}

ir_val ir_repeat(struct ir *ir, enum ir_code code, ir_val to, ir_val from, ir_val n, unsigned shape,
                 unsigned mode)
{
    struct ir_op *op = emit(ir, code, IR_I64);
    op->a = to;
    op->b = from;
    op->c = n;
    op->shape = shape;
    op->x = mode;
    return value_of(ir, op);
}

void ir_fence(struct ir *ir, unsigned set)
{
    emit(ir, IR_fence, IR_VOID)->x = set;
}

/* ---- floating point ------------------------------------------------------------------------------- */

ir_val ir_fma(struct ir *ir, ir_val a, ir_val b, ir_val c, unsigned flags)
{
    struct ir_op *op = emit(ir, IR_fma, ir_type_of(ir, a));
    op->a = a;
    op->b = b;
    op->c = c;
    op->x = flags;
    return value_of(ir, op);
}

ir_val ir_fcmp(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b)
{
    struct ir_op *op = emit(ir, IR_fcmp, ir_type_of(ir, a));
    op->cc = cc;
    op->a = a;
    op->b = b;
    return value_of(ir, op);
}

ir_val ir_ftoi(struct ir *ir, ir_val a, unsigned flags)
{
    struct ir_op *op = emit(ir, IR_ftoi, ir_type_of(ir, a));
    op->a = a;
    op->x = flags;
    return value_of(ir, op);
}

ir_val ir_itof(struct ir *ir, enum ir_type type, ir_val a, unsigned flags)
{
    struct ir_op *op = emit(ir, IR_itof, type);
    op->a = a;
    op->x = flags;
    return value_of(ir, op);
}

ir_val ir_fflags(struct ir *ir)
{
    return value_of(ir, emit(ir, IR_fflags, IR_I64));
}

void ir_set_fflags(struct ir *ir, ir_val v)
{
    emit(ir, IR_set_fflags, IR_I64)->a = v;
}

/* ---- vectors -------------------------------------------------------------------------------------- */

/* A known value that equals the operation. */
static ir_val fold_vec(struct ir *ir, enum ir_vec vec, enum ir_type type, ir_val a, ir_val b)
{
    switch (vec) {
    case IR_V_xor:
    case IR_V_andn:
    case IR_V_sub_i8:
    case IR_V_sub_i16:
    case IR_V_sub_i32:
    case IR_V_sub_i64: return a == b ? ir_const(ir, type, 0) : IR_NONE;
    case IR_V_eq_i8:
    case IR_V_eq_i16:
    case IR_V_eq_i32:
    case IR_V_eq_i64: return a == b ? ir_const(ir, type, -1) : IR_NONE;
    case IR_V_and:
    case IR_V_or:
    case IR_V_merge_i32:
    case IR_V_merge_i64: return a == b ? a : IR_NONE;
    default: return IR_NONE;
    }
}

ir_val ir_vec(struct ir *ir, enum ir_vec vec, ir_val a, ir_val b, ir_val c, unsigned n)
{
    bool wide = ir_vec_widens(vec) && ir_type_of(ir, a) == IR_V256;
    enum ir_type type = ir_vec_type(ir_vec_infos[vec].types[0], wide);
    ir_val known = ir->no_fold ? IR_NONE : fold_vec(ir, vec, type, a, b);
    if (known != IR_NONE)
        return known;
    struct ir_op *op = emit(ir, IR_vec, type);
    op->vec = vec;
    op->a = a;
    op->b = b;
    op->c = c;
    op->imm = n;
    return value_of(ir, op);
}

/* ---- calls and ends -------------------------------------------------------------------------------- */

ir_val ir_call(struct ir *ir, const struct ir_helper *h, ir_val a, ir_val b, ir_val c, ir_val d)
{
    struct ir_op *op = emit(ir, IR_call, IR_I64);
    op->imm = (intptr_t)h;
    op->x = h->n_args;
    op->a = a;
    op->b = b;
    op->c = c;
    op->d = d;
    if (h->flags & IR_CALL_WRITES)
        memset(ir->slot_value, 0xff, ir->n_slots * sizeof(ir->slot_value[0]));
    return value_of(ir, op);
}

void ir_jump_block(struct ir *ir, uint16_t to)
{
    emit(ir, IR_jump, IR_VOID)->c = to;
    end_block(ir);
}

void ir_branch_block(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b, uint16_t if_so,
                     uint16_t if_not)
{
    struct ir_op *op = emit(ir, IR_branch, ir_type_of(ir, a));
    op->cc = cc;
    op->a = a;
    op->b = b;
    op->c = if_so;
    op->d = if_not;
    end_block(ir);
}

void ir_jump(struct ir *ir, int32_t to)
{
    emit(ir, IR_jump, IR_VOID)->imm = to;
    end_block(ir);
}

void ir_jump_call(struct ir *ir, int32_t to, int32_t return_to)
{
    struct ir_op *op = emit(ir, IR_jump, IR_VOID);
    op->imm = to;
    op->imm2 = return_to;
    op->x = IR_HINT_CALL;
    end_block(ir);
}

void ir_branch(struct ir *ir, enum ir_cc cc, ir_val a, ir_val b, int32_t taken, int32_t next)
{
    enum ir_type type = ir_type_of(ir, a);
    int64_t ca, cb;
    bool const_a = !ir->no_fold && ir_is_const(ir, a, &ca), const_b = ir_is_const(ir, b, &cb);
    if (const_a && const_b) {
        ir_jump(ir, ir_eval_cc(cc, type, (uint64_t)ca, (uint64_t)cb) ? taken : next);
        return;
    }
    if (const_a) {
        exchange(&a, &b);
        cc = ir_swapped_cc(cc);
    }
    struct ir_op *op = emit(ir, IR_branch, type);
    op->cc = cc;
    op->a = a;
    op->b = b;
    op->imm = taken;
    op->imm2 = next;
    end_block(ir);
}

void ir_jump_indirect(struct ir *ir, ir_val to, unsigned hint, int32_t return_to)
{
    struct ir_op *op = emit(ir, IR_jumpi, IR_VOID);
    op->a = to;
    op->x = hint;
    op->imm2 = return_to;
    end_block(ir);
}

void ir_leave(struct ir *ir, int32_t to)
{
    emit(ir, IR_leave, IR_VOID)->imm = to;
    end_block(ir);
}
