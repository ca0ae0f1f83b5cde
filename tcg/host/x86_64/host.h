/* x86-64 back end: what its files share.
 *
 * Register convention, in force at every unit and block boundary: rbp is vcpu->arch; the hottest
 * guest slots live in PINNED registers, for the whole life of the VM, so that going from unit to unit
 * moves nothing; all other slots are in memory, written through. The rest are scratch inside a block.
 *
 * The host stack holds predicted returns: a guest call pushes the guest return address and does a
 * host call; a guest return compares and does a host return. Leaving generated code drops them all. */
#pragma once

#include "tcg/host/x86_64/asm.h"
#include "tcg/tcg.h"

enum { XMM0 = 16 }; /* register numbers 16..31 are vector registers */

struct host {
    bool avx, bmi1, bmi2, lzcnt, popcnt, fma;
    bool wide;               /* V256 values, and upper halves of vector registers that are in use */
    uint32_t vector;         /* HAS_*: instructions for vector operations (gen_vec.c) */
    int8_t slot_reg[128];    /* register pinned to a slot, or -1 */
    int16_t reg_slot[32];    /* and back, or -1 */
    int8_t below[128];       /* of a slot of upper halves: the register that its lower half is pinned to, or -1 */
    struct gen *gen;         /* scratch of the code generator */
    uint32_t flag_table; /* cache offset: SF_* by the low six bits of MXCSR */
    uint32_t enter, leave, slow, slow_wide, indirect, return_miss; /* cache offsets of the shared pieces */
};

enum {
    HAS_SSE2 = 0, HAS_SSE3 = 1 << 0, HAS_SSSE3 = 1 << 1, HAS_SSE41 = 1 << 2, HAS_SSE42 = 1 << 3,
    HAS_AES = 1 << 4, HAS_CLMUL = 1 << 5, HAS_SHA = 1 << 6, HAS_AVX = 1 << 7, HAS_F16C = 1 << 8,
    HAS_AVX2 = 1 << 9,
};

/* Follows the `call` to the slow thunk: what is to be done in C, and where to go on. */
enum slow_kind { SLOW_LOAD, SLOW_STORE, SLOW_RMW, SLOW_CAS, SLOW_CALL, SLOW_FP, SLOW_VEC, SLOW_WINDOW };
enum { FMA_IS_NAN = 0x40 }; /* in x of SLOW_FP: the sum was a NaN; arguments are the factors */
enum { ARG_SPILL = 32, ARG_CONST = 64, ARG_NONE = 255 }; /* below 32: register */
struct __attribute__((packed)) slow_site {
    uint8_t kind, code, type, cc;
    uint8_t x, shape, dst, group; /* group: register that becomes 0, or ARG_NONE */
    uint8_t arg[4];
    uint8_t windows;              /* in a loop with open windows */
    uint8_t live_groups;          /* registers below 8 that become 0 if TLB entries were lost */
    int16_t off;                  /* guest instruction, relative to the page */
    uint16_t undo;                /* instructions of the block behind it */
    int32_t imm, resume;          /* resume: relative to the site; SLOW_VEC: imm is constant | vec << 8 */
    int32_t span;                 /* of a group's accesses */
    uint8_t writes;
    uint8_t pad_[3];
    uint64_t helper;              /* or the constant value of a store */
    int64_t consts[4];
};

enum compiled gen_unit(struct tcg *tcg, struct unit *u, const struct ir *ir);
struct gen *gen_new(void);
/* rcx = twice the place in a jump cache of the address in rax. */
void put_jump_index(struct buf *b, const struct host *h);
/* C side of a slow call; returns the code address to go on at. */
const void *host_slow_call(void *arch, const struct slow_site *site, uint64_t *sp);
/* How much of it a unit has: the rest does not concern its kind. */
size_t slow_site_size(const struct slow_site *site);
void host_each_site(const struct tcg *tcg, const struct unit *u,
                    void (*found)(void *opaque, const struct site *site), void *opaque);
