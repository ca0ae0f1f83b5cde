/* Random RISC-V functions made from the decode tables: every unprivileged instruction of a set of
 * extensions, forward branches, bounded loops, memory accesses, floating point on corner values, all
 * rounding modes. Two engines that run the same function must agree on its result.
 *
 * The function is uint64_t fn(uint8_t *scratch): it saves and restores all x registers (f registers it
 * does not), reads and writes scratch[0..RISCV_RANDOM_SCRATCH), leaves all registers and fcsr there and
 * returns a checksum of the whole. It needs floating point switched on if F is in the set. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    RISCV_RANDOM_DATA = 4096, /* what the function's loads and stores use */
    RISCV_RANDOM_SCRATCH = 8192,
    /* In scratch when the function is back: x1.., f0.., fcsr */
    RISCV_RANDOM_X = RISCV_RANDOM_DATA + 64,
    RISCV_RANDOM_F = RISCV_RANDOM_X + 256,
    RISCV_RANDOM_FCSR = RISCV_RANDOM_F + 256,
};

struct riscv_random {
    uint64_t seed;
    uint64_t features; /* EXT bits (target/riscv/insns.h); I, ZICSR are needed */
    unsigned n_items;  /* about as many instructions, not counting prologue and epilogue */
};

/* Write a function to code[0..room), which is to run 8-byte aligned. Gives its length in bytes; 0 if
 * there is no room (8 KiB and 16 bytes an item are enough). */
size_t riscv_random_code(const struct riscv_random *how, uint8_t *code, size_t room);
/* Fill memory with integers and floating-point numbers that matter. n is a multiple of 8. */
void riscv_random_data(uint64_t seed, uint8_t *data, size_t n);
