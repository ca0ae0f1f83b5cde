/* Between the translator and the instruction tables. */
#include "target/riscv/insns.h"

#include "core/vm.h"

#include <assert.h>

size_t riscv_insn_tables(unsigned width, struct insn_table *out)
{
    size_t n = 0;
    const struct {
        const struct insn_table *at;
        size_t n;
        unsigned width;
    } parts[] = {
        { riscv_base_tables, riscv_n_base_tables, 32 },
        { riscv_bit_tables, riscv_n_bit_tables, 32 },
        { riscv_float_tables, riscv_n_float_tables, 32 },
        { riscv_system_tables, riscv_n_system_tables, 32 },
        { riscv_compressed_tables, riscv_n_compressed_tables, 16 },
    };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        for (size_t k = 0; k < parts[i].n && parts[i].width == width; k++) {
            assert(n < RV_MAX_TABLES);
            out[n++] = parts[i].at[k];
        }
    }
    return n;
}

static struct decoder *make_decoder(const struct riscv_model *m, unsigned width)
{
    struct insn_table tables[RV_MAX_TABLES];
    size_t n = riscv_insn_tables(width, tables);
    return decoder_new(tables, n, width, m->ext[0]);
}

void riscv_init_decoders(struct riscv_vm *rv)
{
    if (rv->decode32)
        return;
    rv->decode16 = make_decoder(&rv->model, 16);
    rv->decode32 = make_decoder(&rv->model, 32);
}

void riscv_free_decoders(struct riscv_vm *rv)
{
    decoder_free(rv->decode16);
    decoder_free(rv->decode32);
    rv->decode16 = rv->decode32 = NULL;
}

/* ---- the driver's questions ---------------------------------------------------------------------- */

enum { ILLEGAL = 0xffff };

static const struct decoder *decoder_for(const struct riscv_vm *rv, unsigned len)
{
    return len == 2 ? rv->decode16 : rv->decode32;
}

/* x1 and x5 are the link registers: jumps that leave their address in one are calls, other jumps to one's address returns
 * (unpriv 2.5.1). */
static unsigned kind_of(const struct insn *insn, const struct operands *o)
{
    bool links = o->d == 1 || o->d == 5;
    if (insn->translate == tr_jal && links)
        return INSN_CALL;
    if (insn->translate == tr_jalr && links)
        return INSN_CALL_INDIRECT;
    if (insn->translate == tr_jalr && (o->a == 1 || o->a == 5))
        return INSN_RETURN;
    return insn->kind;
}

/* cookie[0] is the instruction's bits, cookie[1] its line. */
void riscv_scan(struct vcpu *cpu, uint32_t flags, const uint8_t *bytes, size_t n, int32_t off,
                struct insn_scan *out)
{
    const struct riscv_vm *rv = cpu->vm->arch;
    out->len = n < 2 ? 0 : (bytes[0] & 3) == 3 ? 4 : 2; /* unpriv 1.5; longer ones are not used */
    if (!out->len || n < out->len) {
        out->len = 0;
        return;
    }
    const struct decoder *d = decoder_for(rv, out->len);
    uint32_t word = (uint32_t)load_le(bytes, out->len);
    int line = decoder_find(d, word);
    out->cookie[0] = word;
    out->cookie[1] = line < 0 ? ILLEGAL : (unsigned)line;
    out->kind = line < 0 ? INSN_END : decoder_insn(d, line)->kind;
    out->target = 0;
    if (line >= 0 && out->kind != INSN_PLAIN) {
        struct operands o;
        decoder_operands(d, line, word, &o);
        out->kind = kind_of(o.insn, &o);
        out->target = off + (int32_t)o.imm;
    }
}

void riscv_begin_unit(struct tr *t)
{
}

/* While an instruction is translated, note holds its bits. */
void riscv_translate(struct tr *t, const struct insn_scan *insn)
{
    const struct riscv_vm *rv = t->cpu->vm->arch;
    struct operands o;
    t->note = (uint32_t)insn->cookie[0];
    if (t->flags & RV_FLAG_TRIGGER_EXEC)
        ir_call(t->ir, &rv_helper_trigger_exec, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
    if (insn->cookie[1] == ILLEGAL) {
        riscv_tr_illegal(t);
        return;
    }
    decoder_operands(decoder_for(rv, insn->len), (int)insn->cookie[1], t->note, &o);
    o.insn->translate(t, &o);
}

/* ---- shared by translate functions ---------------------------------------------------------------- */

void riscv_tr_illegal(struct tr *t)
{
    ir_call(t->ir, &rv_helper_raise_illegal, ir_i64(t->ir, t->note), IR_NONE, IR_NONE, IR_NONE);
    ir_leave(t->ir, t->off);
}

void riscv_tr_data_trigger(struct tr *t, ir_val base, int64_t off, unsigned size_log2, bool store)
{
    if (!(t->flags & RV_FLAG_TRIGGER_DATA))
        return;
    ir_call(t->ir, &rv_helper_trigger_data, ir_2i(t->ir, IR_add, base, off),
            ir_i64(t->ir, 1 << size_log2), ir_i64(t->ir, store), IR_NONE);
}

void rvh_raise(struct riscv_cpu *r, uint64_t cause, uint64_t tval)
{
    riscv_raise(r, (enum rv_cause)cause, tval);
}
