/* Numbers as a person writes them in the monitor and the debugger. */
#pragma once

#include <stdint.h>

struct error;
struct vcpu;

/* Decimal, 0x hex, 'c', registers of `cpu` ($pc, $sp, ...; its state in arch; NULL: there are none), unary - and
 * ~, then * / %, + -, << >>, &, ^, | and parentheses, in C's order. */
struct error *expr_value(const char *text, struct vcpu *cpu, uint64_t *value);
