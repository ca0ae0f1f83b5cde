/* Random RISC-V loops that walk through memory: what tcg/ir_loops.c makes copies of, and much that it must not. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A function whose loop reads and writes [area, area + size), and may run beyond either end. Its bytes; room for 2048
 * is needed. It returns to x1. */
size_t riscv_walk_code(uint64_t seed, uint64_t area, uint64_t size, uint8_t *code);
