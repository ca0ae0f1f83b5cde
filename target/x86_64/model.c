/* CPU models: names of features, the list of models, and what -cpu says about them.
 *
 * Names of models and features are those that QEMU's users know. A model is its parent with features
 * added and taken away; a version is a model whose parent is the version before. */
#include "target/x86_64/model.h"

#include "core/error.h"
#include "core/options.h"
#include "core/vm.h"
#include "target/x86_64/x86.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- features -------------------------------------------------------------------------------- */

/* Bits 0 up, one name each; "-" has none. Leaf numbers are CPUID's: SDM 2-3.3 "CPUID", APM 3-E. */
static const struct word_info {
    const char *leaf; /* for messages */
    const char *names;
} words[N_X86_WORDS] = {
    [X86_1_EDX] = { "CPUID.1:EDX",
                    "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn "
                    "clflush - ds acpi mmx fxsr sse sse2 ss ht tm ia64 pbe" },
    [X86_1_ECX] = { "CPUID.1:ECX",
                    "pni pclmulqdq dtes64 monitor ds-cpl vmx smx est tm2 ssse3 cid - fma cx16 xtpr "
                    "pdcm - pcid dca sse4-1 sse4-2 x2apic movbe popcnt tsc-deadline aes xsave "
                    "osxsave "
                    "avx f16c rdrand hypervisor" },
    [X86_6_EAX] = { "CPUID.6:EAX", "- - arat" },
    [X86_7_EBX] = { "CPUID.7:EBX",
                    "fsgsbase tsc-adjust sgx bmi1 hle avx2 fdp-excptn-only smep bmi2 erms invpcid "
                    "rtm "
                    "- zero-fcs-fds mpx - avx512f avx512dq rdseed adx smap avx512ifma pcommit "
                    "clflushopt clwb intel-pt avx512pf avx512er avx512cd sha-ni avx512bw "
                    "avx512vl" },
    [X86_7_ECX] = { "CPUID.7:ECX",
                    "- avx512vbmi umip pku ospke waitpkg avx512vbmi2 shstk gfni vaes vpclmulqdq "
                    "avx512vnni avx512bitalg - avx512-vpopcntdq - la57 - - - - - rdpid - "
                    "bus-lock-detect cldemote - movdiri movdir64b - sgxlc pks" },
    [X86_7_EDX] = { "CPUID.7:EDX",
                    "- - avx512-4vnniw avx512-4fmaps fsrm - - - avx512-vp2intersect - md-clear - - "
                    "- "
                    "serialize - tsx-ldtrk - - arch-lbr ibt - amx-bf16 avx512-fp16 amx-tile "
                    "amx-int8 "
                    "spec-ctrl stibp flush-l1d arch-capabilities core-capability ssbd" },
    [X86_7_1_EAX] = { "CPUID.7.1:EAX", "- - - - avx-vnni avx512-bf16 - cmpccxadd - - fzrm fsrs "
                                       "fsrc - - - - fred lkgs "
                                       "wrmsrns - amx-fp16 - avx-ifma - - lam" },
    [X86_7_1_EDX] = { "CPUID.7.1:EDX",
                      "- - - - avx-vnni-int8 avx-ne-convert - - amx-complex - avx-vnni-int16 - - - "
                      "prefetchiti" },
    [X86_7_2_EDX] = { "CPUID.7.2:EDX", "intel-psfd ipred-ctrl rrsba-ctrl ddpd-u bhi-ctrl mcdt-no" },
    [X86_D_1_EAX] = { "CPUID.D.1:EAX", "xsaveopt xsavec xgetbv1 xsaves xfd" },
    [X86_E1_EDX] = { "CPUID.80000001:EDX", "- - - - - - - - - - - syscall - - - - - - - mp nx - "
                                           "mmxext - - fxsr-opt pdpe1gb "
                                           "rdtscp - lm 3dnowext 3dnow" },
    [X86_E1_ECX] = { "CPUID.80000001:ECX",
                     "lahf-lm cmp-legacy svm extapic cr8legacy abm sse4a misalignsse 3dnowprefetch "
                     "osvw ibs xop skinit wdt - lwp fma4 tce - nodeid-msr - tbm topoext "
                     "perfctr-core "
                     "perfctr-nb" },
    [X86_E7_EDX] = { "CPUID.80000007:EDX", "- - - - - - - - invtsc" },
    [X86_E8_EBX] = { "CPUID.80000008:EBX",
                     "clzero - xsaveerptr - - - - - - wbnoinvd - - ibpb - ibrs amd-stibp - "
                     "stibp-always-on - - - - - - amd-ssbd virt-ssbd amd-no-ssb - amd-psfd" },
    [X86_EA_EDX] = { "CPUID.8000000A:EDX", "npt lbrv svm-lock nrip-save tsc-scale vmcb-clean "
                                           "flushbyasid decodeassists - - "
                                           "pause-filter - pfthreshold avic - v-vmsave-vmload vgif "
                                           "- - - - - - - - vnmi" },
    [X86_E21_EAX] = { "CPUID.80000021:EAX",
                      "no-nested-data-bp - lfence-always-serializing - - - null-sel-clr-base - "
                      "auto-ibrs" },
    [X86_KVM_EAX] = { "CPUID.40000001:EAX",
                      "kvmclock-old kvm-nopiodelay kvm-mmu kvmclock kvm-asyncpf kvm-steal-time "
                      "kvm-pv-eoi kvm-pv-unhalt - kvm-pv-tlb-flush kvm-asyncpf-vmexit kvm-pv-ipi "
                      "kvm-poll-control kvm-pv-sched-yield kvm-asyncpf-int kvm-msi-ext-dest-id - - "
                      "- - "
                      "- - - - kvmclock-stable-bit" },
    [X86_KVM_EDX] = { "CPUID.40000001:EDX", "kvm-hint-dedicated" },
    [X86_HV] = { "Hyper-V",
                 "hv-relaxed hv-vapic hv-time hv-crash hv-reset hv-vpindex hv-runtime hv-synic "
                 "hv-stimer hv-frequencies hv-reenlightenment hv-tlbflush hv-evmcs hv-ipi "
                 "hv-stimer-direct" },
};

/* Other names for the same. */
static const char *const aliases[][2] = {
    { "sse3", "pni" },      { "pclmuldq", "pclmulqdq" },    { "xd", "nx" },
    { "i64", "lm" },        { "ffxsr", "fxsr-opt" },        { "sse4.1", "sse4-1" },
    { "sse4.2", "sse4-2" }, { "kvm-pv-clock", "kvmclock" },
};

/* Copies the name of one bit; false if it has none. */
static bool name_of(enum x86_word word, unsigned bit, char *to, size_t room)
{
    const char *at = words[word].names;
    for (; bit; bit--) {
        at = strchr(at, ' ');
        if (!at)
            return false;
        at++;
    }
    size_t n = strcspn(at, " ");
    if (n >= room || (n == 1 && *at == '-'))
        return false;
    memcpy(to, at, n);
    to[n] = 0;
    return true;
}

static bool find_feature(const char *name, enum x86_word *word, unsigned *bit)
{
    char plain[40], have[40];
    snprintf(plain, sizeof(plain), "%s", name);
    for (char *c = plain; *c; c++)
        if (*c == '_')
            *c = '-';
    for (size_t i = 0; i < ARRAY_LEN(aliases); i++)
        if (!strcmp(plain, aliases[i][0]))
            strcpy(plain, aliases[i][1]);
    for (unsigned w = 0; w < N_X86_WORDS; w++)
        for (unsigned b = 0; b < 32; b++)
            if (name_of(w, b, have, sizeof(have)) && !strcmp(have, plain)) {
                *word = w;
                *bit = b;
                return true;
            }
    return false;
}

bool x86_feature_name(enum x86_word word, unsigned bit, char *to, size_t room)
{
    return name_of(word, bit, to, room);
}

/* The host's clock bit belongs to the newer one. */
static void set_feature(uint32_t *to, enum x86_word word, unsigned bit, bool on)
{
    uint32_t mask = 1u << bit;
    if (word == X86_KVM_EAX && (bit == 3 || bit == 0))
        mask = 9;
    to[word] = on ? to[word] | mask : to[word] & ~mask;
}

/* ---- models ------------------------------------------------------------------------------------ */

struct model_info {
    const char *name, *alias, *parent;
    uint16_t family, model, stepping; /* family 0: all as the parent's */
    uint32_t level, xlevel;           /* 0: the parent's */
    const char *brand;                /* NULL: the parent's */
    const char *features;             /* "-name" takes one away */
};

#define PPRO                                                                                   \
    "fpu de pse tsc msr mce cx8 pge cmov pat fxsr mmx sse sse2 pae sep apic mtrr clflush mca " \
    "pse36 pni cx16 lm syscall nx"
#define NO_TSX "-hle -rtm"
#define P5     "fpu vme de pse tsc msr mce cx8 mmx"
#define P6     P5 " pae apic sep mtrr pge mca cmov pat pse36 fxsr"

static const struct model_info models[] = {
    { "qemu64-v1", "qemu64", NULL, 15, 107, 1, 0xd, 0x8000000a, "Tandem Virtual CPU",
      PPRO " lahf-lm svm" },
    { "kvm64-v1", "kvm64", NULL, 15, 6, 1, 0xd, 0x80000008, "Common KVM processor", PPRO " vme" },

    { "486-v1", "486", NULL, 4, 8, 0, 1, 0, "Intel 486", "fpu vme pse" },
    { "pentium-v1", "pentium", NULL, 5, 4, 3, 1, 0, "Intel Pentium", P5 },
    { "pentium2-v1", "pentium2", NULL, 6, 5, 2, 2, 0, "Intel Pentium II", P6 },
    { "pentium3-v1", "pentium3", NULL, 6, 7, 3, 3, 0, "Intel Pentium III", P6 " sse" },
    { "qemu32-v1", "qemu32", NULL, 6, 6, 3, 4, 0x80000004, "Tandem Virtual CPU, 32 bits",
      P6 " -vme -mtrr -mca -pse36 sse sse2 pni" },
    { "kvm32-v1", "kvm32", NULL, 15, 6, 1, 5, 0x80000008, "Common 32-bit KVM processor",
      P6 " clflush sse sse2 pni" },
    { "coreduo-v1", "coreduo", NULL, 6, 14, 8, 0xa, 0x80000008, "Intel Core Duo T2600",
      P6 " clflush ss sse sse2 pni monitor nx" },
    { "n270-v1", "n270", NULL, 6, 28, 2, 0xa, 0x80000008, "Intel Atom N270",
      P6 " clflush ss sse sse2 pni monitor ssse3 movbe nx lahf-lm" },

    { "Nehalem-v1", "Nehalem", NULL, 6, 26, 3, 11, 0x80000008,
      "Intel Core i7 9xx (Nehalem Class Core i7)", PPRO " vme popcnt sse4-2 sse4-1 ssse3 lahf-lm" },
    { "Nehalem-v2", "Nehalem-IBRS", "Nehalem-v1",
      .brand = "Intel Core i7 9xx (Nehalem Core i7, IBRS update)", .features = "spec-ctrl" },
    { "Westmere-v1", "Westmere", "Nehalem-v1", 6, 44, 1, 11, 0,
      "Westmere E56xx/L56xx/X56xx (Nehalem-C)", "aes pclmulqdq arat" },
    { "Westmere-v2", "Westmere-IBRS", "Westmere-v1", .features = "spec-ctrl" },
    { "SandyBridge-v1", "SandyBridge", "Westmere-v1", 6, 42, 1, 0xd, 0,
      "Intel Xeon E312xx (Sandy Bridge)", "avx xsave tsc-deadline x2apic rdtscp xsaveopt" },
    { "SandyBridge-v2", "SandyBridge-IBRS", "SandyBridge-v1", .features = "spec-ctrl" },
    { "IvyBridge-v1", "IvyBridge", "SandyBridge-v1", 6, 58, 9, 0xd, 0,
      "Intel Xeon E3-12xx v2 (Ivy Bridge)", "f16c rdrand fsgsbase smep erms" },
    { "IvyBridge-v2", "IvyBridge-IBRS", "IvyBridge-v1", .features = "spec-ctrl" },
    { "Haswell-v1", "Haswell", "IvyBridge-v1", 6, 60, 4, 0xd, 0, "Intel Core Processor (Haswell)",
      "fma movbe pcid abm bmi1 hle avx2 bmi2 invpcid rtm" },
    { "Haswell-v2", "Haswell-noTSX", "Haswell-v1", 6, 60, 1, .features = NO_TSX },
    { "Haswell-v3", "Haswell-IBRS", "Haswell-v1", .features = "spec-ctrl" },
    { "Haswell-v4", "Haswell-noTSX-IBRS", "Haswell-v2", .features = "spec-ctrl" },
    { "Broadwell-v1", "Broadwell", "Haswell-v1", 6, 61, 2, 0xd, 0,
      "Intel Core Processor (Broadwell)", "rdseed adx smap 3dnowprefetch" },
    { "Broadwell-v2", "Broadwell-noTSX", "Broadwell-v1", .features = NO_TSX },
    { "Broadwell-v3", "Broadwell-IBRS", "Broadwell-v1", .features = "spec-ctrl" },
    { "Broadwell-v4", "Broadwell-noTSX-IBRS", "Broadwell-v2", .features = "spec-ctrl" },
    { "Skylake-Client-v1", "Skylake-Client", "Broadwell-v1", 6, 94, 3, 0xd, 0,
      "Intel Core Processor (Skylake)", "xsavec xgetbv1" },
    { "Skylake-Client-v2", "Skylake-Client-IBRS", "Skylake-Client-v1", .features = "spec-ctrl" },
    { "Skylake-Client-v3", "Skylake-Client-noTSX-IBRS", "Skylake-Client-v2", .features = NO_TSX },
    { "Skylake-Client-v4", NULL, "Skylake-Client-v3", .features = "xsaves" },
    { "Skylake-Server-v1", "Skylake-Server", "Skylake-Client-v1", 6, 85, 4, 0xd, 0,
      "Intel Xeon Processor (Skylake)",
      "pdpe1gb clwb avx512f avx512dq avx512bw avx512cd avx512vl pku" },
    { "Skylake-Server-v2", "Skylake-Server-IBRS", "Skylake-Server-v1",
      .features = "clflushopt spec-ctrl" },
    { "Skylake-Server-v3", "Skylake-Server-noTSX-IBRS", "Skylake-Server-v2", .features = NO_TSX },
    { "Skylake-Server-v4", NULL, "Skylake-Server-v3", .features = "" },
    { "Skylake-Server-v5", NULL, "Skylake-Server-v4", .features = "xsaves" },
    { "Cascadelake-Server-v1", "Cascadelake-Server", "Skylake-Server-v2", 6, 85, 6, 0xd, 0,
      "Intel Xeon Processor (Cascadelake)", "avx512vnni ssbd" },
    { "Cascadelake-Server-v2", NULL, "Cascadelake-Server-v1", .features = "arch-capabilities" },
    { "Cascadelake-Server-v3", "Cascadelake-Server-noTSX", "Cascadelake-Server-v2",
      .features = NO_TSX },
    { "Cascadelake-Server-v4", NULL, "Cascadelake-Server-v3", .features = "" },
    { "Cascadelake-Server-v5", NULL, "Cascadelake-Server-v4", .features = "xsaves" },
    { "Cooperlake-v1", "Cooperlake", "Cascadelake-Server-v2", 6, 85, 10, 0xd, 0,
      "Intel Xeon Processor (Cooperlake)", "stibp avx512-bf16" },
    { "Cooperlake-v2", NULL, "Cooperlake-v1", .features = "xsaves" },
    { "Icelake-Server-v1", "Icelake-Server", "Skylake-Server-v2", 6, 106, 0, 0xd, 0,
      "Intel Xeon Processor (Icelake)",
      "avx512vbmi umip avx512vbmi2 gfni vaes vpclmulqdq avx512vnni avx512bitalg avx512-vpopcntdq "
      "la57 ssbd wbnoinvd" },
    { "Icelake-Server-v2", "Icelake-Server-noTSX", "Icelake-Server-v1", .features = NO_TSX },
    { "Icelake-Server-v3", NULL, "Icelake-Server-v2", .features = "arch-capabilities" },
    { "Icelake-Server-v4", NULL, "Icelake-Server-v3", 6, 106, 6,
      .features = "sha-ni avx512ifma rdpid fsrm" },
    { "Icelake-Server-v5", NULL, "Icelake-Server-v4", .features = "xsaves" },
    { "Icelake-Server-v6", NULL, "Icelake-Server-v5", .features = "" },
    { "Denverton-v1", "Denverton", "Nehalem-v1", 6, 95, 1, 21, 0,
      "Intel Atom Processor (Denverton)",
      "ss pclmulqdq aes xsave rdrand movbe tsc-deadline x2apic rdtscp 3dnowprefetch fsgsbase smep "
      "erms rdseed smap clflushopt sha-ni spec-ctrl ssbd arch-capabilities xsaveopt xsavec xgetbv1 "
      "arat" },
    { "Denverton-v2", NULL, "Denverton-v1", .features = "" },
    { "Denverton-v3", NULL, "Denverton-v2", .features = "xsaves" },
    { "Snowridge-v1", "Snowridge", "Denverton-v1", 6, 134, 1, 27, 0,
      "Intel Atom Processor (SnowRidge)",
      "-ss clwb gfni umip movdiri movdir64b cldemote core-capability pdpe1gb" },
    { "Snowridge-v2", NULL, "Snowridge-v1", .features = "" },
    { "Snowridge-v3", NULL, "Snowridge-v2", .features = "xsaves" },
    { "Snowridge-v4", NULL, "Snowridge-v3", .features = "" },
    { "SapphireRapids-v1", "SapphireRapids", "Icelake-Server-v5", 6, 143, 4, 0x20, 0,
      "Intel Xeon Processor (SapphireRapids)",
      "hle rtm bus-lock-detect serialize tsx-ldtrk amx-bf16 avx512-fp16 amx-tile amx-int8 avx-vnni "
      "avx512-bf16 fzrm fsrs fsrc xfd" },
    { "SapphireRapids-v2", NULL, "SapphireRapids-v1", .features = "fdp-excptn-only" },
    { "SapphireRapids-v3", NULL, "SapphireRapids-v2",
      .features = "ss tsc-adjust cldemote movdiri movdir64b" },
    { "GraniteRapids-v1", "GraniteRapids", "SapphireRapids-v2", 6, 173, 0, 0x20, 0,
      "Intel Xeon Processor (GraniteRapids)", "amx-fp16 prefetchiti mcdt-no" },
    { "SierraForest-v1", "SierraForest", "Skylake-Client-v4", 6, 175, 0, 0x23, 0,
      "Intel Xeon Processor (SierraForest)",
      "pdpe1gb clwb clflushopt sha-ni umip pku waitpkg gfni vaes vpclmulqdq rdpid bus-lock-detect "
      "fsrm serialize spec-ctrl stibp arch-capabilities ssbd avx-vnni cmpccxadd fsrs avx-ifma "
      "avx-vnni-int8 avx-ne-convert wbnoinvd mcdt-no" },

    { "Opteron_G1-v1", "Opteron_G1", NULL, 15, 6, 1, 5, 0x80000008,
      "AMD Opteron 240 (Gen 1 Class Opteron)", PPRO " vme -cx16" },
    { "Opteron_G2-v1", "Opteron_G2", "Opteron_G1-v1", 15, 6, 1, 5, 0,
      "AMD Opteron 22xx (Gen 2 Class Opteron)", "cx16 svm lahf-lm" },
    { "Opteron_G3-v1", "Opteron_G3", "Opteron_G2-v1", 16, 2, 3, 5, 0,
      "AMD Opteron 23xx (Gen 3 Class Opteron)", "popcnt monitor rdtscp misalignsse sse4a abm" },
    { "Opteron_G4-v1", "Opteron_G4", "Opteron_G3-v1", 21, 1, 2, 0xd, 0x8000001a,
      "AMD Opteron 62xx class CPU",
      "-monitor avx xsave aes sse4-2 sse4-1 pclmulqdq ssse3 pdpe1gb fma4 xop 3dnowprefetch npt "
      "nrip-save" },
    { "Opteron_G5-v1", "Opteron_G5", "Opteron_G4-v1", 21, 2, 0, 0xd, 0x8000001a,
      "AMD Opteron 63xx class CPU", "f16c fma tbm" },
    { "EPYC-v1", "EPYC", NULL, 23, 1, 2, 0xd, 0x8000001e, "AMD EPYC Processor",
      PPRO " vme rdrand f16c avx xsave aes popcnt movbe sse4-2 sse4-1 fma ssse3 pclmulqdq rdtscp "
           "pdpe1gb mmxext fxsr-opt osvw 3dnowprefetch misalignsse sse4a abm cr8legacy svm lahf-lm "
           "topoext fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt sha-ni xsaveopt xsavec "
           "xgetbv1 arat npt nrip-save" },
    { "EPYC-v2", "EPYC-IBPB", "EPYC-v1", .brand = "AMD EPYC Processor (with IBPB)",
      .features = "ibpb" },
    { "EPYC-v3", NULL, "EPYC-v2", .brand = "AMD EPYC Processor",
      .features = "perfctr-core clzero xsaveerptr xsaves" },
    { "EPYC-v4", NULL, "EPYC-v3", .features = "" },
    { "Dhyana-v1", "Dhyana", "EPYC-v2", 24, 0, 1, 0xd, 0x8000001e, "Hygon Dhyana Processor",
      "-sha-ni" },
    { "Dhyana-v2", NULL, "Dhyana-v1", .features = "xsaves" },
    { "EPYC-Rome-v1", "EPYC-Rome", "EPYC-v3", 23, 49, 0, 0xd, 0x8000001e, "AMD EPYC-Rome Processor",
      "clwb umip rdpid wbnoinvd amd-stibp" },
    { "EPYC-Rome-v2", NULL, "EPYC-Rome-v1", .features = "ibrs amd-ssbd" },
    { "EPYC-Rome-v3", NULL, "EPYC-Rome-v2", .features = "" },
    { "EPYC-Rome-v4", NULL, "EPYC-Rome-v3", .features = "-xsaves" },
    { "EPYC-Rome-v5", NULL, "EPYC-Rome-v4", .features = "lfence-always-serializing" },
    { "EPYC-Milan-v1", "EPYC-Milan", "EPYC-Rome-v2", 25, 1, 1, 0xd, 0x8000001e,
      "AMD EPYC-Milan Processor", "pcid erms invpcid fsrm pku" },
    { "EPYC-Milan-v2", NULL, "EPYC-Milan-v1",
      .features = "vaes vpclmulqdq stibp-always-on amd-psfd no-nested-data-bp "
                  "lfence-always-serializing null-sel-clr-base" },
    { "EPYC-Milan-v3", NULL, "EPYC-Milan-v2", .features = "" },
    { "EPYC-Genoa-v1", "EPYC-Genoa", "EPYC-Milan-v2", 25, 17, 0, 0xd, 0x80000022,
      "AMD EPYC-Genoa Processor",
      "x2apic avx512f avx512dq avx512ifma avx512cd avx512bw avx512vl avx512vbmi avx512vbmi2 gfni "
      "avx512vnni avx512bitalg avx512-vpopcntdq la57 avx512-bf16 auto-ibrs vnmi" },
    { "EPYC-Genoa-v2", NULL, "EPYC-Genoa-v1", .features = "" },
};

static const struct model_info *find_model(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (!strcmp(models[i].name, name) || (models[i].alias && !strcmp(models[i].alias, name)))
            return &models[i];
    return NULL;
}

static void apply_features(struct x86_model *m, const char *list)
{
    char name[40];
    while (*list) {
        size_t n = strcspn(list, " ");
        bool on = *list != '-';
        enum x86_word word;
        unsigned bit;
        snprintf(name, sizeof(name), "%.*s", (int)(n - !on), list + !on);
        if (n && find_feature(name, &word, &bit))
            set_feature(m->words, word, bit, on);
        else
            assert(!n);
        list += n + (list[n] == ' ');
    }
}

static void set_vendor(struct x86_model *m, const char *name)
{
    const char *vendor = "GenuineIntel";
    if (!strncmp(name, "EPYC", 4) || !strncmp(name, "Opteron", 7) || !strncmp(name, "qemu64", 6))
        vendor = "AuthenticAMD";
    if (!strncmp(name, "Dhyana", 6))
        vendor = "HygonGenuine";
    strcpy(m->vendor, vendor);
}

/* The root of the family first, then each step down to the model. */
static void build_model(struct x86_model *m, const struct model_info *info)
{
    if (info->parent)
        build_model(m, find_model(info->parent));
    if (info->family) {
        m->family = info->family;
        m->model = info->model;
        m->stepping = info->stepping;
    }
    m->level = info->level ? info->level : m->level;
    m->xlevel = info->xlevel ? info->xlevel : m->xlevel;
    if (info->brand)
        snprintf(m->brand, sizeof(m->brand), "%s", info->brand);
    apply_features(m, info->features);
}

static void list_names(const char **names, size_t *n)
{
    names[(*n)++] = "host";
    names[(*n)++] = "max";
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        names[(*n)++] = models[i].name;
        if (models[i].alias)
            names[(*n)++] = models[i].alias;
    }
}

static struct error *choose_model(struct x86_model *m, const char *name)
{
    const struct model_info *info = find_model(name);
    snprintf(m->name, sizeof(m->name), "%s", name);
    if (!strcmp(name, "host") || !strcmp(name, "max")) {
        m->takes_host = true;
        m->family = 6;
        m->level = 0xd;
        m->xlevel = 0x80000008;
        strcpy(m->vendor, "GenuineIntel");
        return NULL;
    }
    if (info) {
        set_vendor(m, info->name);
        build_model(m, info);
        if (!x86_model_has(m, X86_E1_EDX, 29)) /* no long mode: page tables reach less far */
            m->phys_bits = x86_model_has(m, X86_1_EDX, 6) ? 36 : 32;
        return NULL;
    }
    const char *names[2 * ARRAY_LEN(models) + 2];
    size_t n = 0;
    list_names(names, &n);
    char *hint = nearest_hint(name, names, n);
    struct error *err = error_new("-cpu: unknown model '%s'%s; -cpu help lists them", name, hint);
    free(hint);
    return err;
}

/* ---- -cpu MODEL,... -------------------------------------------------------------------------------- */

static struct error *unknown_flag(const char *name)
{
    static const char *const keys[] = {
        "check",      "enforce",       "family",       "model",       "stepping", "vendor",
        "model-id",   "level",         "xlevel",       "phys-bits",   "kvm",      "host-phys-bits",
        "migratable", "tsc-frequency", "hv-spinlocks", "hv-vendor-id"
    };
    const char *names[32 * N_X86_WORDS + ARRAY_LEN(keys)];
    char *texts = xmalloc(32 * N_X86_WORDS * 40), *to = texts;
    size_t n = 0;
    for (; n < ARRAY_LEN(keys); n++)
        names[n] = keys[n];
    for (unsigned w = 0; w < N_X86_WORDS; w++)
        for (unsigned b = 0; b < 32; b++)
            if (name_of(w, b, to, 40)) {
                names[n++] = to;
                to += 40;
            }
    char *hint = nearest_hint(name, names, n);
    struct error *err = error_new("-cpu: unknown flag '%s'%s; -cpu help lists them", name, hint);
    free(hint);
    free(texts);
    return err;
}

static struct error *set_flag(struct x86_model *m, const char *name, bool on)
{
    enum x86_word word;
    unsigned bit;
    if (!find_feature(name, &word, &bit))
        return unknown_flag(name);
    set_feature(on ? m->on : m->off, word, bit, true);
    set_feature(on ? m->off : m->on, word, bit, false);
    return NULL;
}

static struct error *set_number(const char *key, const char *value, uint64_t max, uint64_t *to)
{
    if (!parse_uint(value, max, to))
        return error_new("-cpu: %s=%s: a number from 0 to %" PRIu64 " is expected", key, value,
                         max);
    return NULL;
}

static struct error *set_text(const char *key, const char *value, char *to, size_t room)
{
    if (strlen(value) >= room)
        return error_new("-cpu: %s='%s' is longer than %zu characters", key, value, room - 1);
    strcpy(to, value);
    return NULL;
}

/* Keys that are no feature. *known false: it is none of these. */
static struct error *set_key(struct x86_model *m, const char *key, const char *value, bool *known)
{
    const struct {
        const char *key;
        size_t offset;
        unsigned size;
        uint64_t max;
    } numbers[] = {
        { "family", offsetof(struct x86_model, family), 2, 0xff + 0xf },
        { "model", offsetof(struct x86_model, model), 2, 0xff },
        { "stepping", offsetof(struct x86_model, stepping), 2, 0xf },
        { "level", offsetof(struct x86_model, level), 4, 0xffff },
        { "xlevel", offsetof(struct x86_model, xlevel), 4, 0x8000ffff },
        { "phys-bits", offsetof(struct x86_model, phys_bits), 1, 52 },
        { "hv-spinlocks", offsetof(struct x86_model, hv_spinlocks), 4, UINT32_MAX },
    };
    const struct {
        const char *key;
        size_t offset;
    } switches[] = {
        { "check", offsetof(struct x86_model, check) },
        { "enforce", offsetof(struct x86_model, enforce) },
        { "kvm", offsetof(struct x86_model, kvm_leaves) },
        { "host-phys-bits", offsetof(struct x86_model, host_phys_bits) },
        { "migratable", offsetof(struct x86_model, migratable) },
    };
    uint64_t n = 0;
    *known = true;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (strcmp(key, numbers[i].key))
            continue;
        struct error *err = set_number(key, value, numbers[i].max, &n);
        if (!err)
            memcpy((char *)m + numbers[i].offset, &n, numbers[i].size); /* little-endian hosts */
        return err;
    }
    for (size_t i = 0; i < ARRAY_LEN(switches); i++)
        if (!strcmp(key, switches[i].key)) {
            int on = parse_bool(value);
            if (on < 0)
                return error_new("-cpu: %s=%s: on or off is expected", key, value);
            *((bool *)m + switches[i].offset) = on;
            return NULL;
        }
    if (!strcmp(key, "tsc-frequency")) {
        struct error *err = set_number(key, value, (uint64_t)UINT32_MAX * 1000, &n);
        m->tsc_khz = (uint32_t)(n / 1000);
        return err;
    }
    if (!strcmp(key, "vendor")) {
        if (strlen(value) != 12)
            return error_new("-cpu: vendor='%s': 12 characters are expected", value);
        m->vendor_said = true;
        return set_text(key, value, m->vendor, sizeof(m->vendor));
    }
    if (!strcmp(key, "model-id"))
        return set_text(key, value, m->brand, sizeof(m->brand));
    if (!strcmp(key, "hv-vendor-id"))
        return set_text(key, value, m->hv_vendor, sizeof(m->hv_vendor));
    *known = false;
    return NULL;
}

static struct error *apply_item(struct x86_model *m, const char *name, const char *value)
{
    bool known;
    if (*name == '+' || *name == '-')
        return set_flag(m, name + 1, *name == '+');
    struct error *err = set_key(m, name, value, &known);
    if (known)
        return err;
    int on = parse_bool(value);
    enum x86_word word;
    unsigned bit;
    if (on < 0 && find_feature(name, &word, &bit))
        return error_new("-cpu: %s=%s: on or off is expected", name, value);
    return set_flag(m, name, on > 0);
}

struct x86_vm {
    struct x86_model model;
    struct x86_engine_cpu engine; /* what the engine can give, once it has said so */
    void (*on_eoi)(void *opaque, uint8_t vector);
    void *on_eoi_opaque;
    struct x86_vm_extra extra;
};

void x86_on_end_of_interrupt(struct vm *vm, void (*fn)(void *opaque, uint8_t vector), void *opaque)
{
    struct x86_vm *v = vm->arch;
    v->on_eoi = fn;
    v->on_eoi_opaque = opaque;
}

void x86_end_of_interrupt(struct vm *vm, uint8_t vector)
{
    struct x86_vm *v = vm->arch;
    if (v->on_eoi)
        v->on_eoi(v->on_eoi_opaque, vector);
}

struct error *x86_model_parse(struct x86_model *m, const char *text)
{
    struct options list;
    struct error *err = options_split(text ? text : "qemu64", "model-name", &list);
    if (err)
        return error_in(err, "-cpu");
    *m = (struct x86_model){ .phys_bits = 40,
                             .virt_bits = 48,
                             .cores = 1,
                             .threads = 1,
                             .hypervisor_leaves = true,
                             .kvm_leaves = true,
                             .check = true,
                             .migratable = true };
    x86_default_xsave(m);
    const char *name = options_get(&list, "model-name");
    err = name ? choose_model(m, name)
               : error_new("-cpu: the model is missing; -cpu help lists them");
    for (size_t i = 0; i < list.n && !err; i++)
        if (strcmp(list.at[i].name, "model-name"))
            err = apply_item(m, list.at[i].name, list.at[i].value);
    options_free(&list);
    m->words[X86_1_ECX] |= 1u << 31; /* "hypervisor" */
    return err;
}

struct error *x86_cpu_model(struct vm *vm, const char *text)
{
    struct x86_vm *v = xcalloc(1, sizeof(*v));
    struct error *err = x86_model_parse(&v->model, text);
    if (err) {
        free(v);
        return err;
    }
    x86_vm_free(vm);
    vm->arch = v;
    return NULL;
}

struct x86_vm_extra *x86_vm_extra(struct vm *vm)
{
    return &((struct x86_vm *)vm->arch)->extra;
}

void x86_vm_free(struct vm *vm)
{
    struct x86_vm_extra *extra = vm->arch ? x86_vm_extra(vm) : NULL;
    if (extra && extra->at)
        extra->free(extra->at);
    free(vm->arch);
    vm->arch = NULL;
}

const struct x86_model *x86_model_of(const struct vm *vm)
{
    return &((struct x86_vm *)vm->arch)->model;
}

void x86_set_topology(struct vm *vm, uint32_t cores, uint32_t threads)
{
    struct x86_model *m = &((struct x86_vm *)vm->arch)->model;
    m->cores = cores;
    m->threads = threads;
}

void x86_set_tsc_khz(struct vm *vm, uint32_t khz)
{
    ((struct x86_vm *)vm->arch)->model.tsc_khz = khz;
}

bool x86_model_has(const struct x86_model *m, enum x86_word word, unsigned bit)
{
    return m->words[word] >> bit & 1;
}

/* ---- what the engine has ------------------------------------------------------------------------- */

static void take_host(struct x86_model *m, const struct x86_engine_cpu *e)
{
    memcpy(m->words, e->words, sizeof(m->words));
    m->words[X86_HV] = 0;
    if (m->migratable)
        set_feature(m->words, X86_E7_EDX, 8, false); /* a clock that may not change its pace */
    if (!*m->brand)
        strcpy(m->brand, e->brand);
    m->family = e->family;
    m->model = e->model;
    m->stepping = e->stepping;
    m->level = MAX(m->level, e->level);
    m->xlevel = MAX(m->xlevel, e->xlevel);
    m->phys_bits = e->phys_bits;
    m->virt_bits = e->virt_bits;
    m->words[X86_1_ECX] |= 1u << 31;
}

enum { CET_COMPONENTS = 3 << 11 };

/* Features that mean nothing without XSAVE components follow those, and the other way round. */
static void fit_xsave(struct x86_model *m, const struct x86_engine_cpu *e)
{
    const struct {
        enum x86_word word;
        unsigned bit;
        uint64_t components;
    } needs[] = {
        { X86_1_ECX, 28, 1 << 2 },
        { X86_7_EBX, 16, 7 << 5 },
        { X86_7_ECX, 3, 1 << 9 },
        { X86_7_EDX, 24, (uint64_t)3 << 17 },
    };
    m->xcr0 = m->xss = 0;
    if (!x86_model_has(m, X86_1_ECX, 26))
        return;
    m->xcr0 = 3;
    for (size_t i = 0; i < ARRAY_LEN(needs); i++)
        if (x86_model_has(m, needs[i].word, needs[i].bit) &&
            (e->xcr0 & needs[i].components) == needs[i].components)
            m->xcr0 |= needs[i].components;
    bool xsaves = x86_model_has(m, X86_D_1_EAX, 3);
    if (xsaves && (x86_model_has(m, X86_7_ECX, 7) || x86_model_has(m, X86_7_EDX, 20)))
        m->xss = e->xss & CET_COMPONENTS;
}

/* Virtualization in the guest belongs to many models and is there on few hosts: worth a word only to who
 * asked for it. */
static bool is_nesting(enum x86_word word, unsigned bit)
{
    return word == X86_EA_EDX || (word == X86_E1_ECX && bit == 2) ||
           (word == X86_1_ECX && bit == 5);
}

/* KVM's own interfaces that a named model has without being asked, where the host lists them: the clock and its
 * stability, no waiting at ports, asynchronous page faults with their interrupt, steal time, EOI by memory. As on
 * QEMU's models the others are for who wants them: a guest makes hypercalls for some, IPIs above all. */
enum { USUAL_KVM = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 14 | 1 << 24 };

const struct x86_engine_cpu *x86_engine_of(const struct vm *vm)
{
    return &((struct x86_vm *)vm->arch)->engine;
}

struct error *x86_model_fit(struct vm *vm, const struct x86_engine_cpu *e,
                            void (*print)(void *opaque, const char *line), void *opaque)
{
    struct x86_vm *v = vm->arch;
    v->engine = *e;
    return x86_model_fit_to(&v->model, e, print, opaque);
}

struct error *x86_model_fit_to(struct x86_model *m, const struct x86_engine_cpu *e,
                               void (*print)(void *opaque, const char *line), void *opaque)
{
    uint32_t unsaid[N_X86_WORDS]; /* what goes without a word */
    const char *who = e->who ? e->who : "this host";
    struct error *err = NULL;
    char name[40], line[160];
    if (m->takes_host)
        take_host(m, e);
    /* On the host's CPU its maker counts: which of SYSCALL and SYSENTER 32-bit programs have follows it. */
    if (*e->vendor && !m->vendor_said)
        strcpy(m->vendor, e->vendor);
    if (!e->words[X86_KVM_EAX]) /* another engine than KVM */
        m->kvm_leaves = false;
    m->words[X86_KVM_EAX] =
        m->kvm_leaves ? e->words[X86_KVM_EAX] & (m->takes_host ? UINT32_MAX : USUAL_KVM) : 0;
    memcpy(unsaid, m->words, sizeof(unsaid));
    for (unsigned w = 0; w < N_X86_WORDS; w++) {
        m->words[w] = (m->words[w] | m->on[w]) & ~m->off[w];
        uint32_t missing = m->words[w] & ~e->words[w];
        if (w == X86_1_ECX)
            missing &= ~(1u << 31);
        m->words[w] &= ~missing;
        for (unsigned b = 0; b < 32 && !err; b++) {
            if (!(missing >> b & 1) || !name_of(w, b, name, sizeof(name)))
                continue;
            if (m->enforce)
                err = error_new("-cpu %s,enforce: %s cannot give '%s' (%s bit %u)", m->name, who,
                                name, words[w].leaf, b);
            else if (m->check && print && (m->on[w] >> b & 1 || !is_nesting(w, b))) {
                snprintf(line, sizeof(line), "-cpu %s: %s cannot give '%s' (%s bit %u); left out",
                         m->name, who, name, words[w].leaf, b);
                print(opaque, line);
            }
        }
    }
    if (!x86_model_has(m, X86_E1_ECX, 2)) /* without SVM its details are gone, too */
        m->words[X86_EA_EDX] = 0;
    if (m->host_phys_bits)
        m->phys_bits = e->phys_bits;
    m->phys_bits = MIN(m->phys_bits, e->phys_bits);
    m->arch_capabilities = e->arch_capabilities;
    if (!m->tsc_khz)
        m->tsc_khz = e->tsc_khz;
    for (unsigned i = 0; i < X86_N_XSAVE; i++)
        if (e->xsave[i].size)
            m->xsave[i] = e->xsave[i];
    fit_xsave(m, e);
    m->hypervisor_leaves = x86_model_has(m, X86_1_ECX, 31);
    if (m->words[X86_HV] || m->hv_spinlocks)
        m->level = MAX(m->level, 1u);
    return err;
}

/* ---- -cpu help -------------------------------------------------------------------------------------- */

void x86_cpu_models(void (*add)(void *opaque, const char *name, const char *alias_of), void *opaque)
{
    add(opaque, "host", NULL);
    add(opaque, "max", NULL);
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        if (models[i].alias)
            add(opaque, models[i].alias, models[i].name);
        add(opaque, models[i].name, NULL);
    }
}

void x86_cpu_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    char line[200], name[40];
    print(opaque, "Available CPUs:");
    print(opaque, "  host                       all that the engine has, with the host's name");
    print(opaque, "  max                        the same");
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        const struct model_info *m = &models[i], *root = m;
        while (!root->brand)
            root = find_model(root->parent);
        if (m->alias) {
            snprintf(line, sizeof(line), "  %-26s (alias of %s)", m->alias, m->name);
            print(opaque, line);
        }
        snprintf(line, sizeof(line), "  %-26s %s", m->name, root->brand);
        print(opaque, line);
    }
    print(opaque, "Flags (+flag, -flag, flag=on|off):");
    size_t at = 0;
    for (unsigned w = 0; w < N_X86_WORDS; w++)
        for (unsigned b = 0; b < 32; b++) {
            if (!name_of(w, b, name, sizeof(name)))
                continue;
            if (at + strlen(name) > 90) {
                print(opaque, line);
                at = 0;
            }
            at += (size_t)snprintf(line + at, sizeof(line) - at, "%s%s", at ? " " : "  ", name);
        }
    if (at)
        print(opaque, line);
}
