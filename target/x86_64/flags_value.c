/* What the lazy flags stand for. Compiled without vector registers: generated code calls this directly. */
#include "core/util.h"
#include "target/x86_64/flags.h"

/* a and b with carry or borrow c gave r, all at the top of 64 bits but c's effect. */
struct sum {
    uint64_t a, b, r;
    bool carry, overflow;
};

static struct sum added(uint64_t r, uint64_t b, unsigned c, unsigned width)
{
    uint64_t top = (uint64_t)1 << (width - 1);
    r = bits(r, 0, width);
    b = bits(b, 0, width);
    uint64_t a = bits(r - b - c, 0, width);
    return (struct sum){ a, b, r, c ? r <= b : r < b, (r ^ a) & (r ^ b) & top };
}

static struct sum subtracted(uint64_t r, uint64_t b, unsigned c, unsigned width)
{
    uint64_t top = (uint64_t)1 << (width - 1);
    r = bits(r, 0, width);
    b = bits(b, 0, width);
    uint64_t a = bits(r + b + c, 0, width);
    return (struct sum){ a, b, r, c ? a <= b : a < b, (a ^ b) & (a ^ r) & top };
}

static uint64_t carries(struct sum s)
{
    return (s.carry ? X86_FLAG_CF : 0) | (s.overflow ? X86_FLAG_OF : 0) |
           ((s.a ^ s.b ^ s.r) & X86_FLAG_AF);
}

/* ZF, SF and PF of a result. */
static uint64_t of_result(uint64_t r, unsigned width)
{
    unsigned parity = 0x6996 >> ((r ^ r >> 4) & 15) & 1;
    return (bits(r, 0, width) ? 0 : X86_FLAG_ZF) | (r >> (width - 1) & 1 ? X86_FLAG_SF : 0) |
           (parity ? 0 : X86_FLAG_PF);
}

static uint64_t if_so(bool so, uint64_t flags)
{
    return so ? flags : 0;
}

static uint64_t of_kind(unsigned kind, unsigned width, uint64_t dst, uint64_t src, uint64_t aux)
{
    uint64_t top = (uint64_t)1 << (width - 1), r = bits(dst, 0, width), z = of_result(dst, width);
    switch (kind) {
    case CC_FLAGS: return (src & X86_ARITHMETIC & ~(uint64_t)X86_FLAG_CF) | (aux & 1);
    case CC_APART:
        return (src & X86_ARITHMETIC & ~(uint64_t)(X86_FLAG_CF | X86_FLAG_OF)) | (aux & 1) |
               (dst & 1) << 11;
    case CC_ADD: return z | carries(added(dst, src, 0, width));
    case CC_ADC: return z | carries(added(dst, src, aux & 1, width));
    case CC_SUB: return z | carries(subtracted(dst, src, 0, width));
    case CC_SBB: return z | carries(subtracted(dst, src, aux & 1, width));
    case CC_CMP: return of_result(dst - src, width) | carries(subtracted(dst - src, src, 0, width));
    case CC_INC:
        return z | (aux & 1) | if_so(r == top, X86_FLAG_OF) | if_so(!(r & 15), X86_FLAG_AF);
    case CC_DEC:
        return z | (aux & 1) | if_so(r == top - 1, X86_FLAG_OF) |
               if_so((r & 15) == 15, X86_FLAG_AF);
    case CC_SHL: return z | if_so(src & top, X86_FLAG_CF) | if_so((src ^ dst) & top, X86_FLAG_OF);
    case CC_SHR: return z | (src & 1) | if_so((src ^ dst) & top, X86_FLAG_OF);
    case CC_MUL: return z | if_so(bits(src, 0, width), X86_FLAG_CF | X86_FLAG_OF);
    case CC_IMUL:
        return z | if_so(bits(src, 0, width) != bits(0 - (r / top), 0, width),
                         X86_FLAG_CF | X86_FLAG_OF);
    case CC_BMI: return z | (aux & 1);
    case CC_ORDER: return src & X86_ARITHMETIC;
    default: return z; /* CC_LOGIC */
    }
}

/* CF and OF of a rotation that gave r. */
static uint64_t rotated(uint64_t r, bool left, unsigned width)
{
    uint64_t top = r >> (width - 1) & 1, other = left ? r & 1 : r >> (width - 2) & 1;
    return ((left ? r : top) & 1) | (top ^ other) << 11;
}

uint64_t x86_flags_value(uint64_t cc_op, uint64_t dst, uint64_t src, uint64_t aux)
{
    unsigned later = (unsigned)(cc_op >> CC_LATER_SHIFT);
    uint64_t flags = of_kind(cc_op >> 2 & 15, 8u << (cc_op & 3), dst, src, aux);
    if (later == CC_NOTHING)
        return flags;
    if (later == CC_CARRY)
        return (flags & ~(uint64_t)X86_FLAG_CF) | (aux & 1);
    bool left = later < CC_RIGHT;
    return (flags & ~(uint64_t)(X86_FLAG_CF | X86_FLAG_OF)) |
           rotated(aux, left, 8u << (later - (left ? CC_LEFT : CC_RIGHT)));
}

uint64_t x86h_flags(uint64_t cc_op, uint64_t dst, uint64_t src, uint64_t aux)
{
    return x86_flags_value(cc_op, dst, src, aux);
}
