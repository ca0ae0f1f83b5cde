/* Registers, memory operands, the stack, as IR. */
#include "target/x86_64/insns.h"

/* ---- values and registers ------------------------------------------------------------------------ */

ir_val val_zx(struct tr *t, ir_val v, unsigned size)
{
    switch (size) {
    case 1: return ir_1(t->ir, IR_zext8, v);
    case 2: return ir_1(t->ir, IR_zext16, v);
    case 4: return ir_1(t->ir, IR_zext32, ir_1(t->ir, IR_trunc, v));
    default: return v;
    }
}

ir_val val_sx(struct tr *t, ir_val v, unsigned size)
{
    switch (size) {
    case 1: return ir_1(t->ir, IR_sext8, v);
    case 2: return ir_1(t->ir, IR_sext16, v);
    case 4: return ir_1(t->ir, IR_sext32, ir_1(t->ir, IR_trunc, v));
    default: return v;
    }
}

ir_val val_2(struct tr *t, enum ir_code code, ir_val a, ir_val b, unsigned size)
{
    struct ir *ir = t->ir;
    if (size != 4)
        return ir_2(ir, code, a, b);
    return ir_1(ir, IR_zext32, ir_2(ir, code, ir_1(ir, IR_trunc, a), ir_1(ir, IR_trunc, b)));
}

ir_val reg_read(struct tr *t, unsigned reg, unsigned size)
{
    return ir_get(t->ir, X86_SLOT_R + reg);
}

ir_val reg_read_zx(struct tr *t, unsigned reg, unsigned size)
{
    return val_zx(t, reg_read(t, reg, size), size);
}

ir_val reg_read_sx(struct tr *t, unsigned reg, unsigned size)
{
    return val_sx(t, reg_read(t, reg, size), size);
}

/* As insert at bit 0, where v is old with bits changed by a constant: the bits beyond the width keep. */
static ir_val insert_masked(struct tr *t, ir_val old, ir_val v, uint64_t mask)
{
    struct ir *ir = t->ir;
    const struct ir_op *op = &ir->ops[v];
    int64_t c;
    bool logic = op->code == IR_and || op->code == IR_or || op->code == IR_xor;
    if (!logic || op->a != old || !ir_is_const(ir, op->b, &c))
        return IR_NONE;
    return ir_2i(ir, op->code, old, op->code == IR_and ? c | (int64_t)~mask : c & (int64_t)mask);
}

/* `v`'s low byte in the place of bits shift to shift + 7 of `old`. */
static ir_val insert(struct tr *t, ir_val old, ir_val v, unsigned width, unsigned shift)
{
    struct ir *ir = t->ir;
    uint64_t mask = (((uint64_t)1 << width) - 1) << shift;
    ir_val masked = shift ? IR_NONE : insert_masked(t, old, v, mask);
    if (masked != IR_NONE)
        return masked;
    ir_val part = width == 8 ? ir_1(ir, IR_zext8, v) : ir_1(ir, IR_zext16, v);
    return ir_2(ir, IR_or, ir_2i(ir, IR_and, old, (int64_t)~mask), ir_2i(ir, IR_shl, part, shift));
}

void reg_write(struct tr *t, unsigned reg, unsigned size, ir_val v)
{
    unsigned slot = X86_SLOT_R + reg;
    if (size < 4)
        v = insert(t, ir_get(t->ir, slot), v, 8 * size, 0);
    else
        v = val_zx(t, v, size);
    ir_set(t->ir, slot, v);
}

static ir_val high_byte(struct tr *t, unsigned reg)
{
    return ir_2i(t->ir, IR_shr, ir_get(t->ir, X86_SLOT_R + reg), 8);
}

/* ---- addresses ------------------------------------------------------------------------------------- */

static ir_val add_value(struct tr *t, ir_val sum, ir_val v)
{
    return sum == IR_NONE ? v : ir_2(t->ir, IR_add, sum, v);
}

/* 32-bit sums are i32, whose zero extension costs nothing. */
static unsigned sum_size(unsigned asize)
{
    return asize == 4 ? 4 : 8;
}

/* Base and scaled index; IR_NONE if there is neither. */
static ir_val base_and_index(struct tr *t, const struct x86_insn *i)
{
    ir_val sum = IR_NONE;
    if (i->base == X86_REG_RIP)
        sum = ir_pc(t->ir, t->next);
    else if (i->base != X86_REG_NONE)
        sum = ir_get(t->ir, X86_SLOT_R + i->base);
    if (i->index == X86_REG_NONE)
        return sum;
    unsigned size = sum_size(i->asize);
    ir_val index = ir_get(t->ir, X86_SLOT_R + i->index);
    ir_val known =
        size == 8 && sum != IR_NONE ? ir_known_sum(t->ir, sum, index, i->scale) : IR_NONE;
    if (known != IR_NONE)
        return known;
    if (i->scale)
        index = val_2(t, IR_shl, index, ir_i64(t->ir, i->scale), size);
    return sum == IR_NONE ? index : val_2(t, IR_add, sum, index, size);
}

static ir_val effective_at(struct tr *t, const struct x86_insn *i, int64_t off)
{
    int64_t disp = i->disp + off;
    ir_val sum = base_and_index(t, i);
    ir_val by = ir_i64(t->ir, disp);
    sum = sum == IR_NONE ? by : val_2(t, IR_add, sum, by, sum_size(i->asize));
    return val_zx(t, sum, i->asize);
}

ir_val mem_effective(struct tr *t, const struct x86_insn *i)
{
    return effective_at(t, i, 0);
}

static void watch(struct tr *t, ir_val linear, unsigned size, bool write)
{
    if (t->flags & X86_TR_WATCH)
        ir_call(t->ir, &x86_helper_watch, linear,
                ir_i64(t->ir, size | (write ? X86_LINEAR_WRITE : 0)), IR_NONE, IR_NONE);
}

/* The instruction's segment adds nothing and checks nothing. */
static bool is_flat(const struct tr *t, unsigned seg)
{
    return is_code64(t) ? seg < X86_FS : x86_tr_flat(t->flags, seg);
}

/* In 64-bit code the segment only tells which exception a bad address is. */
static unsigned segment_mode(const struct tr *t, unsigned seg)
{
    return is_code64(t) && seg == X86_SS ? X86_MMU_STACK : X86_MMU_DATA;
}

struct x86_mem mem_linear(struct tr *t, unsigned seg, ir_val effective, unsigned size, bool write)
{
    ir_val linear = effective;
    if (is_flat(t, seg)) {
    } else if (is_code64(t)) {
        linear = ir_2(t->ir, IR_add, ir_get(t->ir, X86_SLOT_SEG_BASE + seg), effective);
    } else {
        linear = ir_call(t->ir, &x86_helper_linear, ir_i64(t->ir, seg), effective,
                         ir_i64(t->ir, size | (write ? X86_LINEAR_WRITE : 0)), IR_NONE);
    }
    watch(t, linear, size, write);
    return (struct x86_mem){ linear, 0, segment_mode(t, seg) };
}

/* In 64-bit code with 64-bit addresses a displacement can stay apart: accesses near each other then show one
 * base. */
struct x86_mem mem_operand_at(struct tr *t, const struct x86_insn *i, int64_t off, unsigned size,
                              bool write)
{
    int64_t disp = i->disp + off;
    if (i->asize != 8 || t->flags & X86_TR_WATCH)
        return mem_linear(t, i->seg, effective_at(t, i, off), size, write);
    unsigned mode = segment_mode(t, i->seg);
    ir_val sum = base_and_index(t, i);
    if (!is_flat(t, i->seg))
        sum = add_value(t, sum, ir_get(t->ir, X86_SLOT_SEG_BASE + i->seg));
    if (sum == IR_NONE)
        return (struct x86_mem){ ir_i64(t->ir, disp), 0, mode };
    if (disp <= -IR_OFFSET_LIMIT || disp >= IR_OFFSET_LIMIT)
        return (struct x86_mem){ ir_2i(t->ir, IR_add, sum, disp), 0, mode };
    return (struct x86_mem){ sum, disp, mode };
}

struct x86_mem mem_operand(struct tr *t, const struct x86_insn *i, unsigned size, bool write)
{
    return mem_operand_at(t, i, 0, size, write);
}

ir_val mem_address(struct tr *t, struct x86_mem m)
{
    return ir_2i(t->ir, IR_add, m.base, m.off);
}

/* ---- accesses --------------------------------------------------------------------------------------- */

static unsigned aligned(const struct tr *t)
{
    return t->flags & X86_TR_AC ? IR_ALIGNED : 0;
}

unsigned shape_load(const struct tr *t, unsigned size)
{
    return log2_size(size) | tcg_tso_load | aligned(t);
}

unsigned shape_store(const struct tr *t, unsigned size)
{
    return log2_size(size) | tcg_tso_store | aligned(t);
}

ir_val load_mem(struct tr *t, struct x86_mem m, unsigned size)
{
    return ir_load(t->ir, IR_I64, m.base, m.off, shape_load(t, size), m.mode);
}

ir_val load_mem_sx(struct tr *t, struct x86_mem m, unsigned size)
{
    return ir_load(t->ir, IR_I64, m.base, m.off, shape_load(t, size) | (size < 8 ? IR_SIGNED : 0),
                   0);
}

void store_mem(struct tr *t, struct x86_mem m, unsigned size, ir_val v)
{
    ir_store(t->ir, m.base, m.off, v, shape_store(t, size), m.mode);
}

/* ---- operands ---------------------------------------------------------------------------------------- */

static struct x86_mem string_place(struct tr *t, const struct x86_insn *i,
                                   const struct x86_operand *o, bool write)
{
    bool source = o->kind == X86_OP_SI;
    ir_val at = reg_read_zx(t, source ? X86_RSI : X86_RDI, i->asize);
    return mem_linear(t, source ? i->seg : X86_ES, at, o->size, write);
}

static struct x86_mem place_of(struct tr *t, const struct x86_insn *i, unsigned n, bool write)
{
    const struct x86_operand *o = &i->op[n];
    return o->kind == X86_OP_MEM ? mem_operand(t, i, o->size, write) : string_place(t, i, o, write);
}

static bool in_memory(const struct x86_operand *o)
{
    return o->kind == X86_OP_MEM || o->kind == X86_OP_SI || o->kind == X86_OP_DI;
}

ir_val op_read(struct tr *t, const struct x86_insn *i, unsigned n)
{
    const struct x86_operand *o = &i->op[n];
    if (in_memory(o))
        return load_mem(t, place_of(t, i, n, false), o->size);
    if (o->kind == X86_OP_GPR)
        return o->high ? high_byte(t, o->reg) : reg_read(t, o->reg, o->size);
    return ir_i64(t->ir, i->imm);
}

ir_val op_read_zx(struct tr *t, const struct x86_insn *i, unsigned n)
{
    ir_val v = op_read(t, i, n);
    return in_memory(&i->op[n]) ? v : val_zx(t, v, i->op[n].size);
}

ir_val op_read_sx(struct tr *t, const struct x86_insn *i, unsigned n)
{
    const struct x86_operand *o = &i->op[n];
    if (in_memory(o))
        return load_mem_sx(t, place_of(t, i, n, false), o->size);
    return o->kind == X86_OP_GPR ? val_sx(t, op_read(t, i, n), o->size) : op_read(t, i, n);
}

static void write_register(struct tr *t, const struct x86_operand *o, ir_val v)
{
    if (o->high)
        ir_set(t->ir, X86_SLOT_R + o->reg, insert(t, ir_get(t->ir, X86_SLOT_R + o->reg), v, 8, 8));
    else
        reg_write(t, o->reg, o->size, v);
}

void op_write(struct tr *t, const struct x86_insn *i, unsigned n, ir_val v)
{
    const struct x86_operand *o = &i->op[n];
    if (in_memory(o))
        store_mem(t, place_of(t, i, n, true), o->size, v);
    else
        write_register(t, o, v);
}

struct x86_place op_open(struct tr *t, const struct x86_insn *i, unsigned n)
{
    struct x86_place p = { { IR_NONE, 0, 0 }, IR_NONE };
    if (in_memory(&i->op[n])) {
        p.mem = place_of(t, i, n, true);
        p.v = load_mem(t, p.mem, i->op[n].size);
    } else {
        p.v = op_read(t, i, n);
    }
    return p;
}

void op_close(struct tr *t, const struct x86_insn *i, unsigned n, const struct x86_place *p,
              ir_val v)
{
    const struct x86_operand *o = &i->op[n];
    if (in_memory(o))
        store_mem(t, p->mem, o->size, v);
    else
        write_register(t, o, v);
}

/* ---- the stack ------------------------------------------------------------------------------------------ */

unsigned stack_size(const struct tr *t)
{
    return is_code64(t) ? 8 : t->flags & X86_TR_STACK32 ? 4 : 2;
}

/* rSP + by, as far as it counts. */
static ir_val stack_address(struct tr *t, int64_t by)
{
    unsigned size = stack_size(t);
    ir_val sum =
        val_2(t, IR_add, ir_get(t->ir, X86_SLOT_R + X86_RSP), ir_i64(t->ir, by), sum_size(size));
    return val_zx(t, sum, size);
}

struct x86_mem stack_at(struct tr *t, int by, unsigned size, bool write)
{
    if (is_code64(t) && !(t->flags & X86_TR_WATCH))
        return (struct x86_mem){ ir_get(t->ir, X86_SLOT_R + X86_RSP), by, X86_MMU_STACK };
    return mem_linear(t, X86_SS, stack_address(t, by), size, write);
}

void push_value(struct tr *t, unsigned size, ir_val v)
{
    store_mem(t, stack_at(t, -(int)size, size, true), size, v);
    pop_done(t, -size);
}

ir_val pop_value(struct tr *t, unsigned size)
{
    return load_mem(t, stack_at(t, 0, size, false), size);
}

void pop_done(struct tr *t, unsigned size)
{
    unsigned n = stack_size(t);
    ir_val by = ir_i64(t->ir, (int32_t)size);
    reg_write(t, X86_RSP, n,
              val_2(t, IR_add, ir_get(t->ir, X86_SLOT_R + X86_RSP), by, sum_size(n)));
}
