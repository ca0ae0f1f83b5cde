/* Vector instructions, as far as helpers do them: MXCSR, exceptions, memory by mask, MMX registers. */
#include "core/util.h"
#include "target/x86_64/tr.h"
#include "target/x86_64/x87.h"
#include "tcg/softfloat.h"

#include <string.h>

/* ---- MXCSR (SDM 1-10.2.3): while running the flags are the translator's, the other bits in x->mxcsr ------- */

enum {
    FLAGS = 0x3f,
    DAZ = 1 << 6,
    MASKS_SHIFT = 7,
    OVERFLOW_MASK = 1 << 10,
    UNDERFLOW_MASK = 1 << 11,
    FTZ = 1 << 15
};
enum { BEFORE = SF_INVALID | SF_DENORMAL | SF_DIV_BY_ZERO }; /* found before anything is computed */

/* Exceptions as softfloat numbers them, and as MXCSR does. */
static const struct {
    uint8_t sf, mxcsr;
} flag_pairs[] = {
    { SF_INVALID, 1 },  { SF_DENORMAL, 2 },   { SF_DIV_BY_ZERO, 4 },
    { SF_OVERFLOW, 8 }, { SF_UNDERFLOW, 16 }, { SF_INEXACT, 32 },
};

static uint32_t to_mxcsr(uint8_t raised)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < ARRAY_LEN(flag_pairs); i++)
        v |= raised & flag_pairs[i].sf ? flag_pairs[i].mxcsr : 0;
    return v;
}

static uint8_t from_mxcsr(uint32_t v)
{
    uint8_t flags = 0;
    for (unsigned i = 0; i < ARRAY_LEN(flag_pairs); i++)
        flags |= v & flag_pairs[i].mxcsr ? flag_pairs[i].sf : 0;
    return flags;
}

uint32_t x86_get_mxcsr(struct x86_cpu *x)
{
    return (x->mxcsr & ~(uint32_t)FLAGS) | to_mxcsr(tcg_fp_flags(x->cpu));
}

void x86_set_mxcsr(struct x86_cpu *x, uint32_t value)
{
    x->mxcsr = value;
    tcg_fp_set_flags(x->cpu, from_mxcsr(value));
    tcg_rounding_changed(x->cpu);
    x86_update_state_word(x);
}

void x86_vector_settle(struct x86_cpu *x)
{
    x->mxcsr = x86_get_mxcsr(x);
}

void x86_vector_resume(struct x86_cpu *x)
{
    tcg_fp_set_flags(x->cpu, from_mxcsr(x->mxcsr));
    tcg_rounding_changed(x->cpu);
}

/* Flushing takes a masked underflow. */
uint8_t x86_fp_modes(struct vcpu *cpu)
{
    static const uint8_t modes[] = { SF_RNE, SF_RDN, SF_RUP, SF_RTZ };
    uint32_t v = x86_of(cpu)->mxcsr;
    return modes[v >> 13 & 3] | (v & DAZ ? TCG_FP_FLUSH_INPUTS : 0) |
           (v & FTZ && v & UNDERFLOW_MASK ? TCG_FP_FLUSH_RESULTS : 0) |
           (v & UNDERFLOW_MASK ? 0 : TCG_FP_TRAP_UNDERFLOW) |
           (v & OVERFLOW_MASK ? 0 : TCG_FP_TRAP_OVERFLOW);
}

void x86h_ldmxcsr(struct x86_cpu *x, uint64_t value)
{
    if (value & ~(uint64_t)X86_MXCSR_VALID)
        x86_fault_code(x, X86_GP, 0);
    x86_set_mxcsr(x, (uint32_t)value);
}

/* ---- exceptions ---------------------------------------------------------------------------------------------- */

/* SDM 2-2.4, tables of exception classes. */
void x86h_no_vector(struct x86_cpu *x, uint64_t vex)
{
    bool absent = vex ? !(x->cr4 & X86_CR4_OSXSAVE) || (x->xcr0 & 6) != 6
                      : !(x->cr4 & X86_CR4_OSFXSR) || x->cr0 & X86_CR0_EM;
    x86_fault(x, absent ? X86_UD : X86_NM);
}

void x86h_no_mmx(struct x86_cpu *x)
{
    x86_fault(x, x->cr0 & X86_CR0_EM ? X86_UD : X86_NM);
}

/* What follows raises flags of its own; gives those raised before. */
uint64_t x86h_simd_begin(struct x86_cpu *x)
{
    uint8_t before = tcg_fp_flags(x->cpu);
    tcg_fp_set_flags(x->cpu, 0);
    return before;
}

/* SDM 1-11.5.2: an unmasked exception found before computing hides those of the result. */
void x86h_simd_end(struct x86_cpu *x, uint64_t before)
{
    enum { OSXMMEXCPT = 1 << 10 };
    uint8_t raised = tcg_fp_flags(x->cpu), masked = from_mxcsr(x->mxcsr >> MASKS_SHIFT & FLAGS);
    uint8_t unmasked = raised & (uint8_t)~masked;
    if (unmasked & BEFORE)
        raised &= BEFORE;
    tcg_fp_set_flags(x->cpu, (uint8_t)before | raised);
    if (unmasked)
        x86_fault(x, x->cr4 & OSXMMEXCPT ? X86_XM : X86_UD);
}

/* ---- MMX registers --------------------------------------------------------------------------------------------- */

/* A pending x87 exception comes before anything else. */
void x86h_mmx_check(struct x86_cpu *x)
{
    enum { ERROR_SUMMARY = 1 << 7 };
    if (x->fsw & ERROR_SUMMARY)
        x87_begin_mmx(x);
}

uint64_t x86h_mmx_get(struct x86_cpu *x, uint64_t n)
{
    return x87_get_mm(x, (unsigned)n);
}

void x86h_mmx_set(struct x86_cpu *x, uint64_t n, uint64_t v)
{
    x87_set_mm(x, (unsigned)n, v);
}

/* ---- memory by mask ---------------------------------------------------------------------------------------------- */

/* Can all of [va, va + size) be written? how: size, mmu mode << 8. */
void x86h_probe_write(struct x86_cpu *x, uint64_t va, uint64_t how)
{
    unsigned size = how & 0xff, mode = how >> 8 & 0xff;
    tcg_probe(x->cpu, va, size, ACCESS_WRITE, mode);
}

static void store_bytes(struct x86_cpu *x, uint64_t va, const uint8_t *data, const uint8_t *mask,
                        unsigned n, unsigned mode)
{
    tcg_probe(x->cpu, va, n, ACCESS_WRITE, mode); /* nothing is written if a byte cannot be */
    for (unsigned i = 0; i < n; i++)
        if (mask[i] & 0x80)
            tcg_store(x->cpu, va + i, 1, data[i], mode);
}

/* how: register of the data, of the mask << 4, mmu mode << 8. */
void x86h_maskmovq(struct x86_cpu *x, uint64_t va, uint64_t how)
{
    uint64_t data = x87_get_mm(x, how & 7), mask = x87_get_mm(x, how >> 4 & 7);
    store_bytes(x, va, (const uint8_t *)&data, (const uint8_t *)&mask, 8, how >> 8 & 0xff);
}

void x86h_maskmovdqu(struct x86_cpu *x, uint64_t va, uint64_t how)
{
    store_bytes(x, va, x->zmm[how & 15], x->zmm[how >> 4 & 15], 16, how >> 8 & 0xff);
}

static bool wanted(const uint8_t *mask, unsigned i, unsigned size)
{
    return mask[(i + 1) * size - 1] & 0x80;
}

/* how: registers as above, size of an element << 8, number << 12, mmu mode << 20. */
void x86h_masked_load(struct x86_cpu *x, uint64_t va, uint64_t how)
{
    unsigned size = how >> 8 & 15, n = how >> 12 & 0xff, mode = how >> 20 & 0xff;
    const uint8_t *mask = x->zmm[how >> 4 & 15];
    uint8_t to[32] = { 0 };
    for (unsigned i = 0; i < n; i++)
        if (wanted(mask, i, size))
            store_le(to + i * size, size, tcg_load(x->cpu, va + (uint64_t)i * size, size, mode));
    memcpy(x->zmm[how & 15], to, sizeof(to));
}

void x86h_masked_store(struct x86_cpu *x, uint64_t va, uint64_t how)
{
    unsigned size = how >> 8 & 15, n = how >> 12 & 0xff, mode = how >> 20 & 0xff;
    const uint8_t *data = x->zmm[how & 15], *mask = x->zmm[how >> 4 & 15];
    for (unsigned pass = 0; pass < 2; pass++)
        for (unsigned i = 0; i < n; i++) {
            uint64_t at = va + (uint64_t)i * size;
            if (!wanted(mask, i, size))
                continue;
            if (pass)
                tcg_store(x->cpu, at, size, load_le(data + i * size, size), mode);
            else
                tcg_probe(x->cpu, at, size, ACCESS_WRITE, mode);
        }
}

static uint64_t gather_address(struct x86_cpu *x, uint64_t base, uint64_t how, unsigned i)
{
    unsigned index_size = how >> 20 & 15, asize = how >> 32 & 15, seg = how >> 36 & 7;
    unsigned size = how >> 16 & 15, scale = how >> 12 & 3;
    const uint8_t *index = x->zmm[how >> 8 & 15] + i * index_size;
    uint64_t v = (uint64_t)sext(load_le(index, index_size), 8 * index_size);
    uint64_t effective = bits(base + (v << scale), 0, 8 * asize);
    return x86_linear(x, seg, effective, size);
}

/* how: destination, mask << 4, index << 8, scale << 12, bytes of an element << 16, of an index << 20, number <<
 * 24, of an address << 32, segment << 36. An element that is loaded loses its mask: after a fault the instruction
 * goes on where it was. */
void x86h_gather(struct x86_cpu *x, uint64_t base, uint64_t how)
{
    unsigned size = how >> 16 & 15, n = how >> 24 & 0xff;
    uint8_t *to = x->zmm[how & 15], *mask = x->zmm[how >> 4 & 15];
    for (unsigned i = 0; i < n; i++) {
        if (wanted(mask, i, size)) {
            uint64_t v = tcg_load(x->cpu, gather_address(x, base, how, i), size, X86_MMU_DATA);
            store_le(to + i * size, size, v);
        }
        memset(mask + i * size, 0, size);
    }
    memset(to + n * size, 0, 32 - n * size);
    memset(mask, 0, 32);
}
