/* The CPU of another engine, which cannot execute an instruction, lent to the translator for it. */
#include "core/memory.h"
#include "core/vm.h"
#include "target/x86_64/insns.h"
#include "target/x86_64/sys.h"

/* False: what is there cannot be read by instruction fetches. */
static bool peek_code(struct x86_cpu *x, uint8_t bytes[X86_MAX_INSN], size_t *n)
{
    uint64_t at;
    for (*n = 0; *n < X86_MAX_INSN && x86_debug_translate(x->cpu, x->pc + *n, &at); ++*n)
        if (!mem_read(x->cpu->vm, at, &bytes[*n], 1))
            return *n;
    return true;
}

/* What lives in the other engine: its registers by number, its sleep; its interrupt controllers, behind ports and CR8. */
static bool is_lenders(const struct x86_cpu *x, const struct x86_insn *i)
{
    const uint64_t ours = X86_XSAVE_X87 | X86_XSAVE_SSE | X86_XSAVE_AVX | X86_XSAVE_PKRU;
    static const char *const names[] = { "rdmsr", "wrmsr", "hlt", "monitor", "mwait", "rsm" };
    static const char *const io[] = { "in", "out", "ins", "outs" };
    for (size_t k = 0; k < ARRAY_LEN(names); k++)
        if (!strcmp(i->line->name, names[k]))
            return true;
    if (!strncmp(i->line->name, "xsave", 5) || !strncmp(i->line->name, "xrstor", 6))
        return x->xcr0 & ~ours; /* of more than we know */
    if (x->cpu->vm->irqchip == IRQCHIP_USER)
        return false;
    for (size_t k = 0; k < ARRAY_LEN(io); k++)
        if (!strcmp(i->line->name, io[k]))
            return true;
    return (i->op[0].kind == X86_OP_CR && i->op[0].reg == 8) ||
           (i->op[1].kind == X86_OP_CR && i->op[1].reg == 8);
}

/* VEX instructions zero what lies above the vector they write (SDM 1-14.1.2): the translator's CPU has nothing above
 * bit 255, this one may. */
static uint16_t clears(const struct x86_insn *i)
{
    if (!i->vex)
        return 0;
    if (!strncmp(i->line->name, "vzero", 5))
        return UINT16_MAX;
    return i->op[0].kind == X86_OP_XMM ? (uint16_t)(1u << (i->op[0].reg & 15)) : 0;
}

const char *x86_borrow(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    struct x86_insn i;
    uint8_t bytes[X86_MAX_INSN];
    size_t n;
    x->lender.tsc = x->tsc;
    x->lender.tsc_adjust = x->tsc_adjust;
    x->lender.cr8 = x->cr8;
    x->stepping = false;
    x->step_dr6 = 0;
    x->lender.cleared = 0;
    x86_set_tsc(x, x->tsc);
    if (x->events.in_smm || !peek_code(x, bytes, &n))
        return NULL;
    switch (x86_decode(x86_decoder_of(cpu->vm), x->state_word, bytes, n, &i)) {
    case X86_DECODED:
        x->lender.next = x->pc + i.len;
        x->lender.cleared = clears(&i);
        return is_lenders(x, &i) ? NULL : i.line->name;
    case X86_ILLEGAL:
        return x86_cpl(x) ? "undefined" : NULL; /* a kernel's may be one that we do not know */
    default: return "fault";
    }
}

void x86_give_back(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    x->tsc = x->lender.tsc;
    x->tsc_adjust = x->lender.tsc_adjust;
    if (cpu->vm->irqchip != IRQCHIP_USER)
        x->cr8 = x->lender.cr8;
    for (unsigned r = 0; r < 16 && x->pc == x->lender.next; r++)
        if (x->lender.cleared >> r & 1)
            memset(x->zmm[r] + 32, 0, 32);
    uint64_t dr6 = x->step_dr6 | (x->stepping ? X86_DR6_BS : 0);
    if (dr6) {
        x->dr6 = (x->dr6 & ~(uint64_t)0xf) | dr6;
        x->dr7 &= ~X86_DR7_GD;
        x->events.exception_injected = true;
        x->events.exception = X86_DB;
        x->events.exception_has_error = x->events.exception_has_payload = false;
    }
    x->stepping = false;
    x->step_dr6 = 0;
}
