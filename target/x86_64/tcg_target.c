/* The x86-64 CPU as a guest of the translator: slots, the state word, entering and leaving. */
#include "core/hash.h"
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"
#include "target/x86_64/x87.h"
#include "tcg/softfloat.h"

/* ---- slots ------------------------------------------------------------------------------------------ */

#define GPR(n, name_, heat_)                                                                     \
    [X86_SLOT_R + (n)] = {                                                                       \
        .name = name_, .offset = offsetof(struct x86_cpu, gpr[n]), .type = IR_I64, .heat = heat_ \
    }
#define WORD(slot, member, heat_)                                                                  \
    [X86_SLOT_##slot] = {                                                                          \
        .name = #member, .offset = offsetof(struct x86_cpu, member), .type = IR_I64, .heat = heat_ \
    }
#define BASE(n, name_)   \
    [X86_SLOT_SEG_BASE + \
        (n)] = { .name = name_, .offset = offsetof(struct x86_cpu, seg[n].base), .type = IR_I64 }
#define TMP(n)      \
    [X86_SLOT_TMP + \
        (n)] = { .name = "tmp" #n, .offset = offsetof(struct x86_cpu, tmp[n]), .type = IR_I64 }
#define VECTOR(n, heat_)                                                                  \
    [X86_SLOT_X + (n)] = { .name = "xmm" #n,                                              \
                           .offset = offsetof(struct x86_cpu, zmm[n]),                    \
                           .type = IR_V128,                                               \
                           .heat = heat_ },                                               \
                  [X86_SLOT_Y + (n)] = { .name = "ymm" #n "h",                            \
                                         .offset = offsetof(struct x86_cpu, zmm[n]) + 16, \
                                         .type = IR_V128 }

/* The hottest nine, and ten vectors, live in host registers: what compilers use most. */
const struct ir_slot x86_slots[N_X86_SLOTS] = {
    GPR(0, "rax", 100),
    GPR(1, "rcx", 95),
    GPR(2, "rdx", 96),
    GPR(3, "rbx", 90),
    GPR(4, "rsp", 99),
    GPR(5, "rbp", 92),
    GPR(6, "rsi", 94),
    GPR(7, "rdi", 97),
    GPR(8, "r8", 80),
    GPR(9, "r9", 70),
    GPR(10, "r10", 60),
    GPR(11, "r11", 58),
    GPR(12, "r12", 66),
    GPR(13, "r13", 64),
    GPR(14, "r14", 62),
    GPR(15, "r15", 61),
    WORD(CC_OP, cc_op, 0),
    WORD(CC_DST, cc_dst, 0),
    WORD(CC_SRC, cc_src, 0),
    WORD(CC_AUX, cc_aux, 0),
    WORD(DF, df, 0),
    BASE(X86_ES, "es.base"),
    BASE(X86_CS, "cs.base"),
    BASE(X86_SS, "ss.base"),
    BASE(X86_DS, "ds.base"),
    BASE(X86_FS, "fs.base"),
    BASE(X86_GS, "gs.base"),
    TMP(0),
    TMP(1),
    TMP(2),
    TMP(3),
    VECTOR(0, 50),
    VECTOR(1, 49),
    VECTOR(2, 48),
    VECTOR(3, 47),
    VECTOR(4, 46),
    VECTOR(5, 45),
    VECTOR(6, 44),
    VECTOR(7, 43),
    VECTOR(8, 42),
    VECTOR(9, 41),
    VECTOR(10, 40),
    VECTOR(11, 39),
    VECTOR(12, 38),
    VECTOR(13, 37),
    VECTOR(14, 36),
    VECTOR(15, 35),
    WORD(RFLAGS, rflags, 0),
    WORD(KERNEL_GS, kernel_gs_base, 0),
    WORD(SSP, ssp, 0),
    WORD(CODE_LIMIT, code_limit, 0),
    WORD(MXCSR, mxcsr, 0),
};

/* ---- the state word --------------------------------------------------------------------------------- */

/* Base 0, limit 4 GiB, all accesses allowed; of CS only the first two. */
static bool is_flat(const struct x86_cpu *x, unsigned n)
{
    const struct x86_segment *s = &x->seg[n];
    if (s->base || s->limit != UINT32_MAX || s->rights & X86_AR_UNUSABLE)
        return false;
    if (n == X86_CS || !x86_uses_descriptors(x))
        return true;
    return (s->rights & (X86_AR_CODE | X86_AR_EXPAND_DOWN | X86_AR_WRITABLE)) == X86_AR_WRITABLE;
}

static uint32_t mode_bits(const struct x86_cpu *x)
{
    uint32_t word = 0, flat = 0;
    if (x86_in_code64(x)) {
        word |= X86_TR_CODE64;
        flat = 0x3f & ~(1u << X86_FS | 1u << X86_GS);
    } else {
        word |= x->seg[X86_CS].rights & X86_AR_DB ? X86_TR_CODE32 : 0;
        word |= x->seg[X86_SS].rights & X86_AR_DB ? X86_TR_STACK32 : 0;
        for (unsigned n = 0; n < N_X86_SEGS; n++)
            flat |= (uint32_t)is_flat(x, n) << n;
    }
    word |= flat << X86_TR_FLAT_SHIFT | x86_cpl(x) << X86_TR_CPL_SHIFT;
    word |= x->cr0 & X86_CR0_PE ? X86_TR_PE : 0;
    word |= x86_in_vm86(x) ? X86_TR_VM : 0;
    word |= x86_in_long_mode(x) ? X86_TR_LMA : 0;
    return word;
}

static uint32_t fpu_bits(const struct x86_cpu *x)
{
    uint32_t word = 0;
    bool ts = x->cr0 & X86_CR0_TS, em = x->cr0 & X86_CR0_EM;
    if (ts || em)
        word |= X86_TR_NO_X87;
    if (ts || em || !(x->cr4 & X86_CR4_OSFXSR))
        word |= X86_TR_NO_SSE;
    if (ts || !(x->cr4 & X86_CR4_OSXSAVE) || (x->xcr0 & 6) != 6)
        word |= X86_TR_NO_AVX;
    if (~x->mxcsr >> 7 & 0x3f)
        word |= X86_TR_SIMD_TRAPS;
    return word;
}

/* DR7: two enable bits a breakpoint, then four bits of kind and length (SDM 3-18.2.4). */
static uint32_t debug_bits(const struct x86_cpu *x)
{
    uint32_t word = 0;
    for (unsigned i = 0; i < 4 && x->dr7 & 0xff; i++)
        if (x->dr7 >> 2 * i & 3)
            word |= x->dr7 >> (16 + 4 * i) & 3 ? X86_TR_WATCH : X86_TR_BREAK;
    return word;
}

static uint32_t compute_word(const struct x86_cpu *x)
{
    uint32_t word = mode_bits(x) | fpu_bits(x) | debug_bits(x);
    unsigned cpl = x86_cpl(x);
    if (cpl <= bits(x->rflags, 12, 2))
        word |= X86_TR_IOPL_OK;
    if (x->rflags & X86_FLAG_TF)
        word |= X86_TR_TF;
    if (x->shadow_left & X86_SHADOW_WANTED)
        word |= X86_TR_SHADOW;
    if (x->cr0 & X86_CR0_AM && x->rflags & X86_FLAG_AC && cpl == 3)
        word |= X86_TR_AC;
    if (x->events.in_smm)
        word |= X86_TR_SMM;
    if (x->code_ends_here)
        word |= X86_TR_LIMIT;
    return x->cr4 & X86_CR4_CET ? word | x86_cet_word(x) : word;
}

/* CS up to the end of its last whole page: what ends in the middle of one is looked at closer. */
static uint64_t compute_code_limit(const struct x86_cpu *x)
{
    const struct x86_segment *cs = &x->seg[X86_CS];
    uint64_t end = cs->base + cs->limit + 1, whole = align_down(end, 4096);
    return cs->limit == UINT32_MAX ? UINT32_MAX : whole > cs->base ? whole - cs->base - 1 : 0;
}

void x86_update_state_word(struct x86_cpu *x)
{
    enum { FETCH, DATA, SYSTEM };
    if (!x86_in_code64(x))
        x->code_limit = compute_code_limit(x);
    else
        x->code_ends_here = false;
    uint32_t word = compute_word(x);
    uint64_t keys[] = { [FETCH] = x86_context_key(x->cpu, -1),
                        [DATA] = x86_context_key(x->cpu, X86_MMU_DATA),
                        [SYSTEM] = x86_context_key(x->cpu, X86_MMU_SYSTEM) };
    uint64_t lent;
    if (keys[DATA] != x->context_keys[DATA] || !x86_user_key(x->cpu, &lent))
        tcg_drop_user_pages(x->cpu);
    if (word == x->state_word && !memcmp(keys, x->context_keys, sizeof(keys)))
        return;
    x->state_word = word;
    memcpy(x->context_keys, keys, sizeof(keys));
    tcg_context_changed(x->cpu);
}

/* ---- entering and leaving ----------------------------------------------------------------------------- */

void x86_settle(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    uint8_t left = x->pc == x->shadow_pc ? x->shadow_left : 0;
    x->rip = x86_in_code64(x) ? x->pc : (uint32_t)(x->pc - x->seg[X86_CS].base);
    x->rflags = x86_get_rflags(x);
    x87_settle(x);
    x->events.shadow_sti = left & X86_SHADOW_STI;
    x->events.shadow_mov_ss = left & X86_SHADOW_STACK;
    x->tsc = x86_tsc_now(x);
    x86_vector_settle(x);
    x->cr8 = x->apic ? x->apic->get_tpr(x->apic_opaque) : 0;
}

void x86_resume(struct vcpu *cpu)
{
    struct x86_cpu *x = x86_of(cpu);
    cpu->in_smm = x->events.in_smm;
    x->delivering = -1;
    x->pc_known = false;
    x86_set_rflags(x, x->rflags);
    x86_vector_resume(x);
    x87_resume(x);
    x86_set_ip(x, x->rip);
    x->shadow_pc = x->pc;
    x->shadow_left = (x->events.shadow_sti ? X86_SHADOW_STI : 0) |
                     (x->events.shadow_mov_ss ? X86_SHADOW_STACK : 0);
    if (x->shadow_left) /* what is held back may have been looked for already */
        x->shadow_left |= X86_SHADOW_WANTED;
    x86_update_state_word(x);
}

/* The decoder is made from it. */
static uint64_t identity(struct vm *vm)
{
    static const uint64_t key[2];
    const struct x86_model *m = x86_model_of(vm);
    return hash64(key, m->words, sizeof(m->words));
}

/* ---- together --------------------------------------------------------------------------------------- */

const struct tcg_target x86_64_tcg_target = {
    .target = &x86_64_target,
    .slots = x86_slots,
    .n_slots = N_X86_SLOTS,
    .helpers = x86_helpers,
    .n_helpers = N_X86_HELPERS,
    .pc_offset = offsetof(struct x86_cpu, pc),
    .flags_offset = offsetof(struct x86_cpu, state_word),
    .fp_flags_offset = offsetof(struct x86_cpu, fp_flags),
    .max_insn_len = 15,
    .unit_insns = 64, /* flags that the next unit must work out are dear */
    .hot_insns = 64,
    .insn_align = 1,
    .open_bus = true,
    .wide_vectors = true,
    .sees_own_writes = true,
    .misaligned_atomics = true,
    .fit = x86_tcg_fit,
    .scan = x86_scan,
    .translate = x86_translate,
    .begin_unit = x86_begin_unit,
    .guess = x86_guess,
    .identity = identity,
    .resume = x86_resume,
    .settle = x86_settle,
    .borrow = x86_borrow,
    .give_back = x86_give_back,
    .translate_address = x86_translate_address,
    .raise_memory = x86_raise_memory,
    .context_key = x86_context_key,
    .user_key = x86_user_key,
    .n_modes = N_X86_MMU_MODES,
    .take_interrupt = x86_take_interrupt,
    .waits = x86_waits,
    .subnormal_flag = true,
    .rounding = x86_fp_modes,
};
