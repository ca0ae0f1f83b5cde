/* Integer results that take a loop. Compiled without vector registers: generated code calls these directly. */
#include "core/util.h"
#include "target/x86_64/flags.h"

/* ---- RCL, RCR (SDM 2B "RCL"): a rotation of width + 1 bits --------------------------------------------- */

struct wide {
    uint64_t v;
    bool carry;
};

static struct wide rotated(uint64_t v, uint64_t count, uint64_t carry, uint64_t how)
{
    unsigned width = 8 * (how & 15), n = (unsigned)count % (width + 1);
    struct wide w = { bits(v, 0, width), carry };
    if (how & 16)
        n = (width + 1 - n) % (width + 1);
    for (; n; n--) {
        bool out = w.v >> (width - 1) & 1;
        w.v = bits(w.v << 1 | w.carry, 0, width);
        w.carry = out;
    }
    return w;
}

uint64_t x86h_rotate_carry(uint64_t v, uint64_t count, uint64_t carry, uint64_t how)
{
    return rotated(v, count, carry, how).v;
}

uint64_t x86h_rotate_carry_cf(uint64_t v, uint64_t count, uint64_t carry, uint64_t how)
{
    return rotated(v, count, carry, how).carry;
}

/* ---- CRC32: the polynomial 11EDC6F41, reflected ---------------------------------------------------------- */

uint64_t x86h_crc32(uint64_t crc, uint64_t v, uint64_t size)
{
    /* Four bits at a time. */
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    uint32_t c = (uint32_t)crc;
    for (unsigned i = 0; i < 2 * size; i++, v >>= 4)
        c = c >> 4 ^ table[(c ^ v) & 15];
    return c;
}

/* ---- PDEP, PEXT ---------------------------------------------------------------------------------------------- */

uint64_t x86h_pdep(uint64_t v, uint64_t mask)
{
    uint64_t r = 0;
    for (; mask; mask &= mask - 1, v >>= 1)
        r |= v & 1 ? mask & -mask : 0;
    return r;
}

uint64_t x86h_pext(uint64_t v, uint64_t mask)
{
    uint64_t r = 0;
    for (unsigned n = 0; mask; mask &= mask - 1, n++)
        r |= v & mask & -mask ? (uint64_t)1 << n : 0;
    return r;
}

/* ---- decimal (SDM 1-7.3.4, 2A "AAA", "DAA") -------------------------------------------------------------------- */

enum { DAA = 0x27, DAS = 0x2f, AAA = 0x37, AAS = 0x3f };

static uint64_t result_flags(uint64_t al)
{
    return x86_flags_value(X86_CC(CC_LOGIC, 1), al, 0, 0);
}

static uint64_t packed(uint64_t ax, uint64_t flags)
{
    return ax | flags << 16;
}

static uint64_t adjust_packed(bool add, uint64_t ax, uint64_t flags)
{
    uint64_t al = ax & 0xff, old = al, out = 0;
    bool carry = flags & X86_FLAG_CF;
    if ((al & 15) > 9 || flags & X86_FLAG_AF) {
        out |= X86_FLAG_AF;
        if (!add && (carry || al < 6)) /* DAS: the borrow of this step counts too */
            out |= X86_FLAG_CF;
        al = add ? al + 6 : al - 6;
    }
    if (old > 0x99 || carry) {
        al = add ? al + 0x60 : al - 0x60;
        out |= X86_FLAG_CF;
    }
    al &= 0xff;
    return packed((ax & 0xff00) | al, out | result_flags(al));
}

static uint64_t adjust_unpacked(bool add, uint64_t ax, uint64_t flags)
{
    uint64_t out = 0;
    if ((ax & 15) > 9 || flags & X86_FLAG_AF) {
        ax = add ? ax + 0x106 : ax - 0x106;
        out = X86_FLAG_AF | X86_FLAG_CF;
    }
    ax &= 0xff0f;
    return packed(ax, out | (result_flags(ax & 0xff) & ~(uint64_t)(X86_FLAG_AF | X86_FLAG_CF)));
}

uint64_t x86h_bcd(uint64_t opcode, uint64_t ax, uint64_t flags)
{
    switch (opcode) {
    case DAA: return adjust_packed(true, ax, flags);
    case DAS: return adjust_packed(false, ax, flags);
    case AAA: return adjust_unpacked(true, ax, flags);
    default: return adjust_unpacked(false, ax, flags);
    }
}
