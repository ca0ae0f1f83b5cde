/* The real CPU as an oracle: runs a few x86-64 instructions in a confined child process and reports the
 * complete user state behind them. The child is forked once and may make no system call but those of its
 * loop; what it is asked to run is the caller's choice, and code that ends it or never stops costs a fork. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where code and data are, below 4 GiB. Pages around both are not mapped. */
#define X86_NATIVE_CODE ((uint64_t)0x10000000)
#define X86_NATIVE_DATA ((uint64_t)0x10010000)
enum { X86_NATIVE_CODE_SIZE = 0x2000, X86_NATIVE_DATA_SIZE = 0x2000 };

/* An XSAVE image in standard format, up to AVX (SDM 1-13.4). */
struct x86_image {
    uint16_t fcw, fsw;
    uint8_t ftw, zero;
    uint16_t fop;
    uint64_t fip, fdp;
    uint32_t mxcsr, mxcsr_mask;
    uint8_t st[8][16], xmm[16][16], rest[96];
    uint64_t xstate_bv, xcomp_bv, header[6];
    uint8_t ymm_high[16][16];
};

struct x86_world {
    uint64_t gpr[16]; /* as instructions number them */
    uint64_t rip, rflags;
    struct x86_image fp;
    uint8_t data[X86_NATIVE_DATA_SIZE]; /* at X86_NATIVE_DATA, which is also the base of GS */
};

/* How it ended. Code runs until it faults; behind it and all around stands INT3. */
enum { X86_NATIVE_LOST = -1, X86_NATIVE_ENDED = 3 };
struct x86_end {
    int vector;       /* X86_NATIVE_LOST: it made a system call, died or did not stop */
    uint32_t error;   /* error code of faults that have one */
    uint64_t address; /* CR2 of a page fault */
};

struct x86_native;
/* NULL if this host cannot; `*why` says it. */
struct x86_native *x86_native_new(const char **why);
void x86_native_free(struct x86_native *n);
/* Can it run 32-bit code? */
bool x86_native_has_32(const struct x86_native *n);
/* A world to start from: registers zero, FPU and MXCSR as after reset, rip at the start of the code. */
void x86_world_init(struct x86_world *w);
/* Run `code`, placed at w->rip, in 64-bit mode or in 32-bit mode with flat segments; FS is not to be
 * used. `w` becomes the state behind it. Where INT3 was met, rip is the INT3's own address. */
struct x86_end x86_native_run(struct x86_native *n, unsigned bits, const uint8_t *code,
                              size_t n_code, struct x86_world *w);
