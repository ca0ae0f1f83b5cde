/* What the integer operations of the IR compute: used to fold constants and by the interpreter. */
#pragma once

#include "tcg/ir.h"

/* a op b for an operation of one or two integer operands; operands and result of an i32 operation
 * are in the low half (result zero-extended). */
uint64_t ir_eval(enum ir_code code, enum ir_type type, uint64_t a, uint64_t b);
/* IR_addc (the sum) and IR_carry. */
uint64_t ir_eval_addc(enum ir_type type, uint64_t a, uint64_t b, uint64_t c, bool *carry);
bool ir_eval_cc(enum ir_cc cc, enum ir_type type, uint64_t a, uint64_t b);
uint64_t ir_eval_rmw(enum ir_rmw kind, unsigned size_log2, uint64_t old, uint64_t v);
/* Is `code` an operation that ir_eval knows? */
bool ir_evaluates(enum ir_code code);
