/* What the translator's x86-64 CPU has: the words of CPUID that models are held against. */
#include "core/vm.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

#include <stdio.h>

#define B(n) ((uint32_t)1 << (n))

/* Only what is implemented to the letter stands here. */
static const uint32_t words[N_X86_WORDS] = {
    /* fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clfsh mmx fxsr sse sse2 ss */
    [X86_1_EDX] = B(0) | B(1) | B(2) | B(3) | B(4) | B(5) | B(6) | B(7) | B(8) | B(9) | B(11) |
                  B(12) | B(13) | B(14) | B(15) | B(16) | B(17) | B(19) | B(23) | B(24) | B(25) |
                  B(26) | B(27),
    /* sse3 pclmulqdq ssse3 fma cx16 pcid sse4.1 sse4.2 x2apic movbe popcnt tsc-deadline aes xsave avx f16c
     * rdrand */
    [X86_1_ECX] = B(0) | B(1) | B(9) | B(12) | B(13) | B(17) | B(19) | B(20) | B(21) | B(22) |
                  B(23) | B(24) | B(25) | B(26) | B(28) | B(29) | B(30) | B(31),
    [X86_6_EAX] = B(2), /* arat */
    /* fsgsbase tsc-adjust bmi1 avx2 smep bmi2 erms invpcid rdseed adx smap clflushopt clwb sha */
    [X86_7_EBX] = B(0) | B(1) | B(3) | B(5) | B(7) | B(8) | B(9) | B(10) | B(18) | B(19) | B(20) |
                  B(23) | B(24) | B(29),
    [X86_7_ECX] = B(2) | B(3) | B(7) | B(9) | B(10) | B(16) |
                  B(22), /* umip pku shstk vaes vpclmulqdq la57 rdpid */
    [X86_7_EDX] = B(4) | B(10) | B(14) | B(20) | B(26) | B(27) | B(29) |
                  B(31),                                  /* fsrm md-clear serialize ibt spec-ctrl
                                                                         stibp arch-capabilities ssbd */
    [X86_D_1_EAX] = B(0) | B(1) | B(2) | B(3),            /* xsaveopt xsavec xgetbv1 xsaves */
    [X86_E1_EDX] = B(11) | B(20) | B(26) | B(27) | B(29), /* syscall nx pdpe1gb rdtscp lm */
    [X86_E1_ECX] = B(0) | B(5) | B(8),                    /* lahf-lm abm 3dnowprefetch */
    [X86_E7_EDX] = B(8),                                  /* invtsc */
};

/* IA32_ARCH_CAPABILITIES, SDM 4 table 2-2. The guest's countermeasures against its processor do not reach the
 * host's, and what they are against is not in translated code: RDCL_NO, IBRS_ALL (no retpolines), SKIP_L1DFL,
 * SSB_NO, MDS_NO, PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO. */
static const uint64_t arch_capabilities = B(0) | B(1) | B(3) | B(4) | B(5) | B(6) | B(8) | B(13) |
                                          B(14) | B(15) | B(20) | B(24) | B(26) | B(27);

static void print_line(void *opaque, const char *line)
{
    log_print(opaque, "%s\n", line);
}

void x86_tcg_words(uint32_t to[])
{
    memcpy(to, words, sizeof(words));
}

/* For who asks for it, and on AMD's server models, which have it. */
static bool wants_svm(const struct x86_model *m)
{
    bool amd = !strncmp(m->name, "EPYC", 4) || !strncmp(m->name, "Opteron", 7);
    bool on = m->on[X86_E1_ECX] >> 2 & 1, off = m->off[X86_E1_ECX] >> 2 & 1;
    return !off && (on || (amd && m->words[X86_E1_ECX] >> 2 & 1));
}

/* Guests look for SVM on AMD's processors only. */
static void offer_svm(struct x86_engine_cpu *e)
{
    e->words[X86_E1_ECX] |= B(2);
    e->words[X86_EA_EDX] = B(0) | B(3) | B(5) | B(6); /* npt nrip-save vmcb-clean flushbyasid */
    snprintf(e->vendor, sizeof(e->vendor), "AuthenticAMD");
    e->family = 25;
    e->model = 1;
    e->stepping = 1;
    e->xlevel = 0x8000000a;
}

struct error *x86_tcg_fit(struct vm *vm)
{
    struct x86_engine_cpu e = { .xss = X86_XSAVE_CET_U | X86_XSAVE_CET_S,
                                .xcr0 =
                                    X86_XSAVE_X87 | X86_XSAVE_SSE | X86_XSAVE_AVX | X86_XSAVE_PKRU,
                                .who = "the translator",
                                .vendor = "GenuineIntel",
                                .brand = "Tandem translator",
                                .family = 6,
                                .model = 106,
                                .stepping = 6,
                                .phys_bits = 46,
                                .virt_bits = 48,
                                .level = 0x15,
                                .xlevel = 0x80000008,
                                .tsc_khz = 1000000,
                                .arch_capabilities = arch_capabilities };
    memcpy(e.words, words, sizeof(words));
    if (wants_svm(x86_model_of(vm)))
        offer_svm(&e);
    vm->can_smm = true;
    return x86_model_fit(vm, &e, print_line, &vm->log);
}
