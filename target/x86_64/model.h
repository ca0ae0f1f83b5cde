/* CPU models: which features a guest is shown, and the CPUID leaves that follow from them. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct vm;
struct x86_cpu;

/* Words of CPUID output whose bits have names. */
enum x86_word {
    X86_1_EDX, X86_1_ECX, X86_6_EAX, X86_7_EBX, X86_7_ECX, X86_7_EDX, X86_7_1_EAX, X86_7_1_EDX,
    X86_7_2_EDX, X86_D_1_EAX, X86_E1_EDX, X86_E1_ECX, X86_E7_EDX, X86_E8_EBX,
    X86_EA_EDX, X86_E21_EAX, X86_KVM_EAX, X86_KVM_EDX,
    X86_HV, /* hv-* flags: no leaf, see x86_cpuid */
    N_X86_WORDS
};

enum { X86_N_XSAVE = 20 };

struct x86_model {
    char name[32];      /* "Nehalem-v2" */
    char vendor[13], brand[49];
    bool vendor_said; /* by vendor=: the host's does not replace it */
    uint16_t family, model, stepping;
    uint32_t level, xlevel; /* the last leaves */
    uint8_t phys_bits, virt_bits;
    uint32_t words[N_X86_WORDS];
    uint64_t xcr0, xss;     /* XSAVE components a guest may enable; those of supervisors */
    struct x86_xsave_area { /* where they are in the standard format; size 0: none */
        uint32_t offset, size;
    } xsave[X86_N_XSAVE];
    uint32_t cores, threads; /* of a socket, of a core */
    uint32_t tsc_khz;   /* 0: the engine's */
    uint64_t arch_capabilities;
    bool hypervisor_leaves; /* 0x40000000 and up */
    bool kvm_leaves;    /* they say KVM */
    uint32_t hv_spinlocks; /* retries, hv-spinlocks= */
    char hv_vendor[13];

    bool takes_host;    /* host and max: all that the engine has */
    bool check, enforce, migratable, host_phys_bits;
    uint32_t on[N_X86_WORDS], off[N_X86_WORDS]; /* said by the user */
};

/* What an engine can give. host: leaves of the CPU that runs the guest, for -cpu host. */
struct x86_engine_cpu {
    uint32_t words[N_X86_WORDS];
    uint64_t xcr0, xss;
    struct x86_xsave_area xsave[X86_N_XSAVE]; /* size 0 in all: the usual places */
    char vendor[13], brand[49];
    uint16_t family, model, stepping;
    uint8_t phys_bits, virt_bits;
    uint32_t level, xlevel, tsc_khz;
    const char *who; /* in messages; NULL: "this host" */
    uint64_t arch_capabilities; /* MSR 0x10a: what need not be feared */
};

/* target.cpu_model: parse "MODEL,+flag,flag=off"; fills vm->arch. */
struct error *x86_cpu_model(struct vm *vm, const char *text);
void x86_cpu_help(void (*print)(void *opaque, const char *line), void *opaque);
struct error *x86_model_parse(struct x86_model *m, const char *text); /* the same into *m */
void x86_cpu_models(void (*add)(void *opaque, const char *name, const char *alias_of), void *opaque);
struct cpu_feature_sink;
struct error *x86_cpu_features(struct vm *vm, const char *text, const struct cpu_feature_sink *to);
void x86_vm_free(struct vm *vm);
const struct x86_model *x86_model_of(const struct vm *vm);

/* The engine's word on the model, in its vm_create: features it cannot give go, with a line for each
 * under `check`, as an error under `enforce`; host and max become what it has. */
struct error *x86_model_fit(struct vm *vm, const struct x86_engine_cpu *engine,
                            void (*print)(void *opaque, const char *line), void *opaque);
struct error *x86_model_fit_to(struct x86_model *m, const struct x86_engine_cpu *engine,
                               void (*print)(void *opaque, const char *line), void *opaque);
/* What was given to x86_model_fit. */
const struct x86_engine_cpu *x86_engine_of(const struct vm *vm);
/* The pace of the clock, once the engine knows it and nobody asked for one. */
void x86_set_tsc_khz(struct vm *vm, uint32_t khz);
/* By the board, before vCPUs are made. */
void x86_set_topology(struct vm *vm, uint32_t cores, uint32_t threads);

bool x86_model_has(const struct x86_model *m, enum x86_word word, unsigned bit);
/* Leaf 1 EAX: family, model, stepping. */
uint32_t x86_model_signature(const struct x86_model *m);
/* The name of a feature; false if it has none. */
bool x86_feature_name(enum x86_word word, unsigned bit, char *to, size_t room);
/* The leaf as this CPU answers it now: eax, ebx, ecx, edx. */
void x86_cpuid(const struct x86_cpu *x, uint32_t leaf, uint32_t sub, uint32_t out[4]);
/* Every leaf and sub-leaf that x86_cpuid answers with something of its own. */
void x86_cpuid_each(const struct x86_cpu *x,
                    void (*visit)(void *opaque, uint32_t leaf, uint32_t sub, bool has_subs,
                                  const uint32_t out[4]),
                    void *opaque);
/* Offset and size of an XSAVE component in the standard format; false if the model has none. */
bool x86_xsave_component(const struct x86_model *m, unsigned i, uint32_t *offset, uint32_t *size);
/* The places of XSAVE components on Intel's CPUs, where an engine does not say otherwise. */
void x86_default_xsave(struct x86_model *m);
/* Where the translator keeps what it makes once for a VM; goes with the VM. */
struct x86_vm_extra {
    void *_Atomic at;
    void (*free)(void *at);
};
struct x86_vm_extra *x86_vm_extra(struct vm *vm);
/* MSRs whose power-on value depends on the model. */
void x86_model_reset_msrs(struct x86_cpu *x);
