/* Integer instructions that a helper does on the registers. */
#include "core/tape.h"
#include "target/x86_64/flags.h"
#include "target/x86_64/sys.h"
#include "tcg/target.h"

/* ---- DIV, IDIV ------------------------------------------------------------------------------------------ */

typedef unsigned __int128 u128;
typedef __int128 i128;

static u128 dividend(const struct x86_cpu *x, unsigned size)
{
    uint64_t a = x->gpr[X86_RAX], d = x->gpr[X86_RDX];
    switch (size) {
    case 1: return a & 0xffff;
    case 2: return (a & 0xffff) | (d & 0xffff) << 16;
    case 4: return (uint32_t)a | d << 32;
    default: return a | (u128)d << 64;
    }
}

static void put(uint64_t *reg, unsigned size, uint64_t v)
{
    *reg = size == 2 ? (*reg & ~(uint64_t)0xffff) | (v & 0xffff) : size == 4 ? (uint32_t)v : v;
}

static void put_quotient(struct x86_cpu *x, unsigned size, uint64_t q, uint64_t r)
{
    if (size == 1) {
        put(&x->gpr[X86_RAX], 2, (q & 0xff) | (r & 0xff) << 8);
        return;
    }
    put(&x->gpr[X86_RAX], size, q);
    put(&x->gpr[X86_RDX], size, r);
}

static void divide_signed(struct x86_cpu *x, int64_t b, unsigned size)
{
    u128 bits_ = dividend(x, size);
    unsigned spare = 128 - 16 * size, width = 8 * size;
    i128 a = spare == 128 ? 0 : (i128)(bits_ << spare) >> spare;
    if (!b || (a == (i128)((u128)1 << 127) && b == -1))
        x86_fault(x, X86_DE);
    i128 q = a / b;
    if (q != (i128)sext((uint64_t)q, width))
        x86_fault(x, X86_DE);
    put_quotient(x, size, (uint64_t)q, (uint64_t)(a % b));
}

void x86h_div(struct x86_cpu *x, uint64_t b, uint64_t how)
{
    unsigned size = how & 15;
    if (how & 16) {
        divide_signed(x, (int64_t)b, size);
        return;
    }
    u128 a = dividend(x, size);
    if (!b || a / b >> (8 * size - 1) >> 1)
        x86_fault(x, X86_DE);
    put_quotient(x, size, (uint64_t)(a / b), (uint64_t)(a % b));
}

/* ---- others ----------------------------------------------------------------------------------------------- */

void x86h_cmpxchg16b(struct x86_cpu *x, uint64_t at, uint64_t mode)
{
    if (at & 15)
        x86_fault_code(x, X86_GP, 0);
    uint64_t seen[2] = { x->gpr[X86_RAX], x->gpr[X86_RDX] };
    const uint64_t new[2] = { x->gpr[X86_RBX], x->gpr[X86_RCX] };
    bool same = tcg_cas16(x->cpu, at, seen, new, (unsigned)mode);
    uint64_t flags = x86_get_rflags(x) & ~(uint64_t)X86_FLAG_ZF;
    if (!same) {
        x->gpr[X86_RAX] = seen[0];
        x->gpr[X86_RDX] = seen[1];
    }
    x86_set_rflags(x, flags | (same ? X86_FLAG_ZF : 0));
}

uint64_t x86h_random(struct x86_cpu *x)
{
    uint64_t v = 0;
    (void)tape_random(x->cpu->vm, &v, sizeof(v));
    return v;
}

void x86h_pause(struct x86_cpu *x)
{
    x86_intercept(x, X86_EXIT_PAUSE);
    tcg_pause(x->cpu);
}
