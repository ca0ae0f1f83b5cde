/* Between the translator and the instruction tables. */
#include "target/x86_64/flags.h"
#include "target/x86_64/insns.h"
#include "target/x86_64/model.h"

#include "core/vm.h"

#include <assert.h>

static void free_decoder(void *d)
{
    x86_decoder_free(d);
}

/* A CPU that another engine lends is the host's: that CPUID does not tell of an instruction hides it from nobody. */
static struct x86_decoder *new_decoder(struct vm *vm)
{
    struct x86_model m = *x86_model_of(vm);
    if (vm->helper_data)
        x86_tcg_words(m.words);
    return x86_decoder_new(&m);
}

const struct x86_decoder *x86_decoder_of(struct vm *vm)
{
    struct x86_vm_extra *place = x86_vm_extra(vm);
    void *d = atomic_load_explicit(&place->at, memory_order_acquire), *other = NULL;
    if (d)
        return d;
    d = new_decoder(vm);
    place->free = free_decoder;
    if (atomic_compare_exchange_strong(&place->at, &other, d))
        return d;
    x86_decoder_free(d);
    return other;
}

/* ---- the driver's questions ---------------------------------------------------------------------- */

/* Behind these the state word may be another one, or somebody looks after each instruction. */
static bool is_alone(uint32_t flags)
{
    return flags &
           (X86_TR_TF | X86_TR_SHADOW | X86_TR_BREAK | X86_TR_WATCH | X86_TR_WAIT | X86_TR_LIMIT);
}

/* In the cookie. */
struct scanned {
    struct x86_insn i;
    enum x86_decoded what;
};
static_assert(sizeof(struct scanned) <= sizeof(((struct insn_scan *)0)->cookie), "");

void x86_scan(struct vcpu *cpu, uint32_t flags, const uint8_t *bytes, size_t n, int32_t off,
              struct insn_scan *out)
{
    struct scanned *s = (struct scanned *)out->cookie;
    const struct x86_insn *i = &s->i;
    enum x86_decoded d = s->what = x86_decode(x86_decoder_of(cpu->vm), flags, bytes, n, &s->i);
    out->len = d == X86_TRUNCATED ? 0 : i->len;
    out->kind = d == X86_DECODED ? i->line->kind : INSN_END;
    out->target = 0;
    if (d == X86_DECODED && i->op[0].kind == X86_OP_REL)
        out->target = off + i->len + (int32_t)i->imm;
    if (d == X86_DECODED && x86_repeats(i)) {
        out->kind = INSN_BRANCH;
        out->target = off;
    }
    if (is_alone(flags))
        out->kind = INSN_END;
}

uint16_t x86_guess(struct vcpu *cpu)
{
    uint64_t op = x86_of(cpu)->cc_op;
    return op < UINT16_MAX ? (uint16_t)(op + 1) : 0;
}

void x86_begin_unit(struct tr *t)
{
    tr_begin_events(t);
}

void x86_translate(struct tr *t, const struct insn_scan *insn)
{
    const struct scanned *s = (const struct scanned *)insn->cookie;
    const struct x86_insn *i = &s->i;
    enum x86_decoded d = s->what;
    cc_enter(t);
    if (t->flags & X86_TR_WAIT && !(d == X86_DECODED && x86_ends_waiting(i))) {
        ir_call(t->ir, &x86_helper_missed_endbranch, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
        ir_leave(t->ir, t->off);
        cc_leave(t);
        return;
    }
    switch (d) {
    case X86_DECODED: i->line->translate(t, i); break;
    case X86_TOO_LONG: tr_fault(t, X86_GP); break;
    default: tr_fault(t, X86_UD);
    }
    if (is_alone(t->flags) && !t->ir->ended)
        ir_leave(t->ir, t->next);
    cc_leave(t);
}

/* ---- faults --------------------------------------------------------------------------------------- */

/* Exceptions that push an error code: SDM 3-6.3.1 */
static const uint32_t has_error = 1u << X86_DF | 1u << X86_TS | 1u << X86_NP | 1u << X86_SS_FAULT |
                                  1u << X86_GP | 1u << X86_PF | 1u << X86_AC | 1u << X86_CP;

void tr_fault(struct tr *t, unsigned vector)
{
    uint64_t error = (uint64_t)(has_error >> vector & 1) << 32;
    ir_call(t->ir, &x86_helper_raise, ir_i64(t->ir, vector), ir_i64(t->ir, (int64_t)error), IR_NONE,
            IR_NONE);
    ir_leave(t->ir, t->off);
}

void tr_fault_if(struct tr *t, enum ir_cc cc, ir_val a, ir_val b, unsigned vector)
{
    uint16_t bad = ir_new_block(t->ir), good = ir_new_block(t->ir);
    ir_branch_block(t->ir, cc, a, b, bad, good);
    ir_enter(t->ir, bad);
    tr_fault(t, vector);
    ir_enter(t->ir, good);
}
