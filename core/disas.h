/* Disassembly for logs and the monitor, by capstone. Without it, or where its version does not know
 * the instruction set, the bytes themselves are printed. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct disas;

/* `isa` is "riscv64", "x86_64", "i386", "i8086" or "aarch64" (a host's or a guest's name); never NULL. Not for use by
 * two threads at once. */
struct disas *disas_new(const char *isa);
void disas_free(struct disas *d);
/* One line for the instruction at code[0..n), which is at `addr`: "mnemonic operands", or its bytes.
 * Returns the length used, at least 1 (n > 0). */
size_t disas_insn(struct disas *d, const uint8_t *code, size_t n, uint64_t addr, char *line,
                  size_t room);
/* All of code[0..n): lines "address: bytes  text". */
void disas_block(struct disas *d, const uint8_t *code, size_t n, uint64_t addr,
                 void (*print)(void *opaque, const char *line), void *opaque);
