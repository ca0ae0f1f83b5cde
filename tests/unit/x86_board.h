/* PCs without an engine: RAM from address 0 and one x86-64 vCPU after power-on, or a whole board. */
#pragma once

#include "core/vm.h"
#include "target/x86_64/x86.h"

struct vm *x86_board_new(uint64_t ram);

struct error;
struct machine_options;

/* A board, ready and reset. `where` stands for what the engine would choose; interrupt lines that it gets are
 * recorded. On error *out is NULL. */
struct error *x86_machine_new(const struct machine_options *o, enum irqchip where, struct vm **out);
/* With one of the user's devices, "edu,addr=3"; NULL: none. */
struct error *x86_machine_with(const struct machine_options *o, enum irqchip where,
                               const char *device, struct vm **out);
/* By an engine whose CPUs have system management mode. */
struct error *x86_machine_with_smm(const struct machine_options *o, struct vm **out);
void x86_machine_free(struct vm *vm);
enum { X86_MACHINE_TIMER_TAKEN = 31 }; /* as a line: accel.timer_taken */
/* Levels of the lines into an engine's controllers (IRQCHIP_ENGINE), a bit each. */
uint32_t x86_machine_lines(const struct vm *vm);
