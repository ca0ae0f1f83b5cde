/* CPUID: the leaves that follow from a model and from the state of the moment. SDM 2-3.3 "CPUID", APM
 * 3-E; leaves from 0x40000000 are KVM's (its documentation's cpuid.rst) or Hyper-V's (Top-Level
 * Functional Specification, 2). */
#include "core/util.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

enum { EAX, EBX, ECX, EDX };
enum { LEAF_HYPERVISOR = 0x40000000 };
/* The bits of leaf 1 EDX that AMD repeats in 0x80000001. */
#define AMD_REPEATS 0x0183f3ffu

enum { CACHE_DATA = 1, CACHE_CODE = 2, CACHE_UNIFIED = 3 };
static const struct cache {
    uint8_t level, type, ways;
    bool shared; /* by a socket, else by a core */
    uint32_t sets;
} caches[] = {
    { 1, CACHE_DATA, 8, false, 64 },       /* 32 KiB */
    { 1, CACHE_CODE, 8, false, 64 },       /* 32 KiB */
    { 2, CACHE_UNIFIED, 16, false, 512 },  /* 512 KiB */
    { 3, CACHE_UNIFIED, 16, true, 16384 }, /* 16 MiB */
};
enum { LINE = 64 };

static bool has(const struct x86_cpu *x, enum x86_word word, unsigned bit)
{
    return x86_model_has(x->model, word, bit);
}

static bool is_amd(const struct x86_model *m)
{
    return m->vendor[0] != 'G';
}

/* Bits that number n things. */
static unsigned bits_for(uint32_t n)
{
    unsigned k = 0;
    while (((uint32_t)1 << k) < n)
        k++;
    return k;
}

uint32_t x86_apic_id_of(const struct x86_model *m, unsigned index)
{
    unsigned thread_bits = bits_for(m->threads), core_bits = bits_for(m->cores);
    uint32_t thread = index % m->threads, core = index / m->threads % m->cores;
    uint32_t socket = index / (m->threads * m->cores);
    return thread | core << thread_bits | socket << (thread_bits + core_bits);
}

static void put_text(uint32_t *a, uint32_t *b, uint32_t *c, const char *text)
{
    char padded[12] = { 0 };
    memcpy(padded, text, strnlen(text, 12));
    *a = (uint32_t)load_le(padded, 4);
    *b = (uint32_t)load_le(padded + 4, 4);
    *c = (uint32_t)load_le(padded + 8, 4);
}

uint32_t x86_model_signature(const struct x86_model *m)
{
    uint32_t family = MIN(m->family, 15), more = m->family - family;
    return m->stepping | (m->model & 15u) << 4 | family << 8 | (uint32_t)(m->model >> 4) << 16 |
           more << 20;
}

/* ---- standard leaves -------------------------------------------------------------------------------- */

static void leaf_0(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    r[EAX] = x->model->level;
    put_text(&r[EBX], &r[EDX], &r[ECX], x->model->vendor);
}

static void leaf_1(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    uint32_t cpus = m->cores * m->threads;
    r[EAX] = x86_model_signature(m);
    r[EBX] = x->apic_id << 24 | MIN(cpus, 255u) << 16 | LINE / 8 << 8;
    r[ECX] = m->words[X86_1_ECX];
    r[EDX] = m->words[X86_1_EDX];
    if (x->cr4 & X86_CR4_OSXSAVE)
        r[ECX] |= 1u << 27;
    if (!(x->apic_base & X86_APIC_BASE_ENABLE))
        r[EDX] &= ~(1u << 9);
    if (cpus > 1)
        r[EDX] |= 1u << 28;
}

static void leaf_2(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (!is_amd(x->model))
        r[EAX] = 0x00feff01; /* caches: see leaf 4; no TLB is described */
}

static void cache_leaf(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    if (sub >= ARRAY_LEN(caches))
        return;
    const struct cache *c = &caches[sub];
    uint32_t share = 1u << bits_for(m->threads);
    if (c->shared)
        share <<= bits_for(m->cores);
    r[EAX] = c->type | (uint32_t)c->level << 5 | 1 << 8 | (share - 1) << 14;
    r[EBX] = (LINE - 1) | (uint32_t)(c->ways - 1) << 22;
    r[ECX] = c->sets - 1;
}

static void leaf_4(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (is_amd(x->model))
        return;
    cache_leaf(x, sub, r);
    if (r[EAX])
        r[EAX] |= ((1u << bits_for(x->model->cores)) - 1) << 26;
}

static void leaf_6(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    r[EAX] = x->model->words[X86_6_EAX];
}

static void leaf_7(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    const uint32_t *w = x->model->words;
    if (sub == 0) {
        r[EAX] = w[X86_7_2_EDX] ? 2 : w[X86_7_1_EAX] | w[X86_7_1_EDX] ? 1 : 0;
        r[EBX] = w[X86_7_EBX];
        r[ECX] = w[X86_7_ECX];
        r[EDX] = w[X86_7_EDX];
        if (x->cr4 & X86_CR4_PKE)
            r[ECX] |= 1u << 4;
    } else if (sub == 1) {
        r[EAX] = w[X86_7_1_EAX];
        r[EDX] = w[X86_7_1_EDX];
    } else if (sub == 2) {
        r[EDX] = w[X86_7_2_EDX];
    }
}

static void leaf_b(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    unsigned thread_bits = bits_for(m->threads);
    r[ECX] = sub;
    r[EDX] = x->apic_id;
    if (sub == 0) {
        r[EAX] = thread_bits;
        r[EBX] = m->threads;
        r[ECX] |= 1 << 8;
    } else if (sub == 1) {
        r[EAX] = thread_bits + bits_for(m->cores);
        r[EBX] = m->cores * m->threads;
        r[ECX] |= 2 << 8;
    }
}

static bool xsave_has(const struct x86_model *m, unsigned i)
{
    return i < X86_N_XSAVE && m->xcr0 >> i & 1 && m->xsave[i].size;
}

bool x86_xsave_component(const struct x86_model *m, unsigned i, uint32_t *offset, uint32_t *size)
{
    if (i < 2 || !xsave_has(m, i))
        return false;
    *offset = m->xsave[i].offset;
    *size = m->xsave[i].size;
    return true;
}

static uint32_t xsave_size(const struct x86_model *m, uint64_t xcr0)
{
    uint32_t size = 512 + 64;
    for (unsigned i = 2; i < X86_N_XSAVE; i++)
        if (xsave_has(m, i) && xcr0 >> i & 1)
            size = MAX(size, m->xsave[i].offset + m->xsave[i].size);
    return size;
}

/* Components that only XSAVES knows: CET_U, CET_S. */
static const uint8_t supervisor_sizes[X86_N_XSAVE] = { [11] = 16, [12] = 24 };

static uint32_t xsave_compact_size(const struct x86_model *m, uint64_t xcr0)
{
    uint32_t size = 512 + 64;
    for (unsigned i = 2; i < X86_N_XSAVE; i++) {
        if (m->xss >> i & xcr0 >> i & 1)
            size += supervisor_sizes[i];
        if (!xsave_has(m, i) || !(xcr0 >> i & 1))
            continue;
        if (i >= 17)
            size = (uint32_t)align_up(size, 64);
        size += m->xsave[i].size;
    }
    return size;
}

static void leaf_d(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    if (!m->xcr0)
        return;
    if (sub == 0) {
        r[EAX] = (uint32_t)m->xcr0;
        r[EBX] = xsave_size(m, x->xcr0);
        r[ECX] = xsave_size(m, m->xcr0);
        r[EDX] = (uint32_t)(m->xcr0 >> 32);
    } else if (sub == 1) {
        r[EAX] = m->words[X86_D_1_EAX];
        r[EBX] = r[EAX] & 0xa ? xsave_compact_size(m, x->xcr0 | x->xss) : 0;
        r[ECX] = (uint32_t)m->xss;
    } else if (sub < X86_N_XSAVE && m->xss >> sub & 1) {
        r[EAX] = supervisor_sizes[sub];
        r[ECX] = 1;
    } else if (xsave_has(m, sub)) {
        r[EAX] = m->xsave[sub].size;
        r[EBX] = m->xsave[sub].offset;
        r[ECX] = sub >= 17 ? 2 : 0; /* aligned to 64 in the compact format */
    }
}

/* The clock's pace by a crystal that is also the local APIC timer's. */
static void leaf_15(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (is_amd(x->model) || !x->model->tsc_khz || x->model->kvm_leaves)
        return;
    uint32_t a = 1000000,
             b = x->model->tsc_khz; /* the ratio in lowest terms: guests multiply in 32 bits */
    while (b) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    r[EAX] = 1000000 / a;
    r[EBX] = x->model->tsc_khz / a;
    r[ECX] = 1000000000;
}

/* SDM 1-18.2: palette 1, the only one. */
static void leaf_1d(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (!has(x, X86_7_EDX, 24))
        return;
    if (sub == 0)
        r[EAX] = 1;
    else if (sub == 1) {
        r[EAX] = 8192 | 1024 << 16;
        r[EBX] = 64 | 8 << 16;
        r[ECX] = 16;
    }
}

static void leaf_1e(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (has(x, X86_7_EDX, 24) && sub == 0)
        r[EBX] = 16 | 64 << 8;
}

/* ---- hypervisor leaves ------------------------------------------------------------------------------ */

enum {
    HV_RELAXED,
    HV_VAPIC,
    HV_TIME,
    HV_CRASH,
    HV_RESET,
    HV_VPINDEX,
    HV_RUNTIME,
    HV_SYNIC,
    HV_STIMER,
    HV_FREQUENCIES,
    HV_REENLIGHTENMENT,
    HV_TLBFLUSH,
    HV_EVMCS,
    HV_IPI,
    HV_STIMER_DIRECT
};

static bool shows_hyperv(const struct x86_model *m)
{
    return m->words[X86_HV] || m->hv_spinlocks;
}

/* KVM's leaves stand behind Hyper-V's when both are there. */
static uint32_t kvm_base(const struct x86_model *m)
{
    return LEAF_HYPERVISOR + (shows_hyperv(m) ? 0x100 : 0);
}

static void kvm_leaf(const struct x86_cpu *x, uint32_t off, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    if (off == 0) {
        r[EAX] = kvm_base(m) + (m->tsc_khz && !shows_hyperv(m) ? 0x10 : 1);
        put_text(&r[EBX], &r[ECX], &r[EDX], "KVMKVMKVM");
    } else if (off == 1) {
        r[EAX] = m->words[X86_KVM_EAX];
        r[EDX] = m->words[X86_KVM_EDX];
    } else if (off == 0x10) {
        r[EAX] = m->tsc_khz;
        r[EBX] = 1000000; /* kHz of the APIC's bus */
    }
}

/* TLFS 2.4.4: privileges of the partition, by enlightenment. */
static uint32_t hyperv_privileges(const struct x86_model *m)
{
    static const struct {
        uint8_t flag, bit;
    } rights[] = {
        { HV_RUNTIME, 0 },      { HV_TIME, 1 },
        { HV_SYNIC, 2 },        { HV_STIMER, 3 },
        { HV_VAPIC, 4 },        { HV_VPINDEX, 6 },
        { HV_RESET, 7 },        { HV_TIME, 9 },
        { HV_FREQUENCIES, 11 }, { HV_REENLIGHTENMENT, 13 },
    };
    uint32_t v = 1 << 5; /* hypercalls */
    for (size_t i = 0; i < ARRAY_LEN(rights); i++)
        if (x86_model_has(m, X86_HV, rights[i].flag))
            v |= 1u << rights[i].bit;
    return v;
}

static void hyperv_leaf(const struct x86_cpu *x, uint32_t off, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    switch (off) {
    case 0:
        r[EAX] = LEAF_HYPERVISOR + 5;
        put_text(&r[EBX], &r[ECX], &r[EDX], *m->hv_vendor ? m->hv_vendor : "Microsoft Hv");
        break;
    case 1: r[EAX] = 0x31237648; break; /* "Hv#1" */
    case 2:
        r[EAX] = 14393;
        r[EBX] = 10 << 16;
        break;
    case 3:
        r[EAX] = hyperv_privileges(m);
        r[EBX] = has(x, X86_HV, HV_SYNIC) ? 3u << 4 : 0; /* may post messages and signal events */
        r[EDX] = (has(x, X86_HV, HV_FREQUENCIES) ? 1u << 8 : 0) |
                 (has(x, X86_HV, HV_CRASH) ? 1u << 10 : 0) |
                 (has(x, X86_HV, HV_STIMER_DIRECT) ? 1u << 19 : 0);
        break;
    case 4:
        r[EAX] = (has(x, X86_HV, HV_TLBFLUSH) ? 1u << 2 | 1u << 11 : 0) |
                 (has(x, X86_HV, HV_VAPIC) ? 1u << 3 : 0) |
                 (has(x, X86_HV, HV_RELAXED) ? 1u << 5 : 0) |
                 (has(x, X86_HV, HV_IPI) ? 1u << 10 | 1u << 11 : 0);
        r[EBX] = m->hv_spinlocks ? m->hv_spinlocks : UINT32_MAX;
        break;
    case 5:
        r[EAX] = 255; /* virtual processors */
        r[EBX] = 64;
        break;
    default: break;
    }
}

static void hypervisor(const struct x86_cpu *x, uint32_t leaf, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    uint32_t kvm = kvm_base(m);
    if (shows_hyperv(m) && leaf < kvm)
        hyperv_leaf(x, leaf - LEAF_HYPERVISOR, r);
    else if (m->kvm_leaves)
        kvm_leaf(x, leaf - kvm, r);
}

/* ---- extended leaves -------------------------------------------------------------------------------- */

static void extended_0(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    r[EAX] = x->model->xlevel;
    if (is_amd(x->model))
        put_text(&r[EBX], &r[EDX], &r[ECX], x->model->vendor);
}

static void extended_1(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    r[ECX] = m->words[X86_E1_ECX];
    r[EDX] = m->words[X86_E1_EDX];
    if (is_amd(m)) {
        r[EAX] = x86_model_signature(m);
        r[EDX] |= m->words[X86_1_EDX] & AMD_REPEATS;
        if (m->cores * m->threads > 1)
            r[ECX] |= 1 << 1;
    }
}

static void extended_brand(const struct x86_cpu *x, uint32_t n, uint32_t r[4])
{
    char brand[48] = { 0 };
    memcpy(brand, x->model->brand, strnlen(x->model->brand, sizeof(brand)));
    for (unsigned i = 0; i < 4; i++)
        r[i] = (uint32_t)load_le(brand + 16 * n + 4 * i, 4);
}
static void extended_2(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    extended_brand(x, 0, r);
}
static void extended_3(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    extended_brand(x, 1, r);
}
static void extended_4(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    extended_brand(x, 2, r);
}

/* L1: size in KiB, ways, lines per tag, line size (APM 3-E.4.4). */
static void extended_5(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (is_amd(x->model))
        r[ECX] = r[EDX] = 32u << 24 | 8 << 16 | 1 << 8 | LINE;
}

/* L2 in KiB, L3 in half MiB; 8 means 16 ways. */
static void extended_6(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    r[ECX] = 512u << 16 | 8 << 12 | 1 << 8 | LINE;
    if (is_amd(x->model))
        r[EDX] = 32u << 18 | 8 << 12 | 1 << 8 | LINE;
}

static void extended_7(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    r[EDX] = x->model->words[X86_E7_EDX];
}

static void extended_8(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    const struct x86_model *m = x->model;
    uint32_t cpus = m->cores * m->threads;
    r[EAX] = m->phys_bits | (uint32_t)(has(x, X86_7_ECX, 16) ? 57 : m->virt_bits) << 8;
    r[EBX] = m->words[X86_E8_EBX];
    if (is_amd(m) && cpus > 1)
        r[ECX] = (bits_for(m->cores) + bits_for(m->threads)) << 12 | ((cpus - 1) & 0xff);
}

static void extended_a(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (!has(x, X86_E1_ECX, 2))
        return;
    r[EAX] = 1;
    r[EBX] = 16; /* address space identifiers */
    r[EDX] = x->model->words[X86_EA_EDX];
}

static void extended_1d(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (has(x, X86_E1_ECX, 22))
        cache_leaf(x, sub, r);
}

static void extended_1e(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    if (!has(x, X86_E1_ECX, 22))
        return;
    r[EAX] = x->apic_id;
    r[EBX] = x->apic_id >> bits_for(x->model->threads) | (x->model->threads - 1) << 8;
}

static void extended_21(const struct x86_cpu *x, uint32_t sub, uint32_t r[4])
{
    r[EAX] = x->model->words[X86_E21_EAX];
}

/* ---- all ---------------------------------------------------------------------------------------------- */

static const struct leaf {
    uint32_t leaf;
    uint8_t n_subs; /* 0: the sub-leaf is not looked at */
    void (*fill)(const struct x86_cpu *x, uint32_t sub, uint32_t r[4]);
} leaves[] = {
    { 0, 0, leaf_0 },
    { 1, 0, leaf_1 },
    { 2, 0, leaf_2 },
    { 4, ARRAY_LEN(caches) + 1, leaf_4 },
    { 6, 0, leaf_6 },
    { 7, 3, leaf_7 },
    { 0xb, 3, leaf_b },
    { 0xd, X86_N_XSAVE, leaf_d },
    { 0x15, 0, leaf_15 },
    { 0x1d, 2, leaf_1d },
    { 0x1e, 1, leaf_1e },
    { 0x80000000, 0, extended_0 },
    { 0x80000001, 0, extended_1 },
    { 0x80000002, 0, extended_2 },
    { 0x80000003, 0, extended_3 },
    { 0x80000004, 0, extended_4 },
    { 0x80000005, 0, extended_5 },
    { 0x80000006, 0, extended_6 },
    { 0x80000007, 0, extended_7 },
    { 0x80000008, 0, extended_8 },
    { 0x8000000a, 0, extended_a },
    { 0x8000001d, ARRAY_LEN(caches) + 1, extended_1d },
    { 0x8000001e, 0, extended_1e },
    { 0x80000021, 0, extended_21 },
};

void x86_cpuid(const struct x86_cpu *x, uint32_t leaf, uint32_t sub, uint32_t out[4])
{
    const struct x86_model *m = x->model;
    memset(out, 0, 4 * sizeof(*out));
    if (leaf >= LEAF_HYPERVISOR && leaf < LEAF_HYPERVISOR + 0x200u) {
        if (m->hypervisor_leaves)
            hypervisor(x, leaf, out);
        return;
    }
    if (leaf > (leaf >> 31 ? m->xlevel : m->level)) /* Intel: as the last basic leaf; AMD: zeros */
        return;
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++)
        if (leaves[i].leaf == leaf)
            leaves[i].fill(x, sub, out);
}

void x86_cpuid_each(const struct x86_cpu *x,
                    void (*visit)(void *opaque, uint32_t leaf, uint32_t sub, bool has_subs,
                                  const uint32_t out[4]),
                    void *opaque)
{
    const struct x86_model *m = x->model;
    uint32_t r[4];
    for (size_t i = 0; i < ARRAY_LEN(leaves); i++) {
        const struct leaf *l = &leaves[i];
        if (l->leaf > (l->leaf >> 31 ? m->xlevel : m->level))
            continue;
        for (uint32_t sub = 0; sub < MAX(l->n_subs, 1); sub++) {
            x86_cpuid(x, l->leaf, sub, r);
            if (sub == 0 || r[EAX] | r[EBX] | r[ECX] | r[EDX])
                visit(opaque, l->leaf, sub, l->n_subs != 0, r);
        }
    }
    if (!m->hypervisor_leaves)
        return;
    static const uint32_t offs[] = { 0, 1, 2, 3, 4, 5, 0x10, 0x100, 0x101 };
    for (size_t i = 0; i < ARRAY_LEN(offs); i++) {
        x86_cpuid(x, LEAF_HYPERVISOR + offs[i], 0, r);
        if (r[EAX] | r[EBX] | r[ECX] | r[EDX])
            visit(opaque, LEAF_HYPERVISOR + offs[i], 0, false, r);
    }
}

/* ---- what else follows from a model ---------------------------------------------------------------- */

void x86_default_xsave(struct x86_model *m)
{
    static const struct {
        uint8_t component;
        struct x86_xsave_area area;
    } areas[] = {
        { 2, { 576, 256 } }, { 5, { 1088, 64 } },  { 6, { 1152, 512 } },   { 7, { 1664, 1024 } },
        { 9, { 2688, 8 } },  { 17, { 2752, 64 } }, { 18, { 2816, 8192 } },
    };
    for (size_t i = 0; i < ARRAY_LEN(areas); i++)
        m->xsave[areas[i].component] = areas[i].area;
}

void x86_model_reset_msrs(struct x86_cpu *x)
{
    if (is_amd(x->model))
        x->microcode_version = 0x01000065;
    else
        x->microcode_version = (uint64_t)1 << 32;
    if (x->model->words[X86_1_EDX] >> 14 & 1) { /* MCA */
        x->mcg_ctl = UINT64_MAX;
        for (unsigned i = 0; i < X86_N_MC_BANKS; i++)
            x->mc[4 * i] = UINT64_MAX;
    }
    if (x86_model_has(x->model, X86_7_EDX, 29))
        x->arch_capabilities = x->model->arch_capabilities;
}
