/* Protection, system instructions; see helpers.h.
 *
 * "Goes on" means: gives the linear address to go on at (the state word or address space may be another one): end
 * the unit with an indirect jump, IR_HINT_TRAP. "Leaves" means: does not come back to the unit. */
#define X86_ANY (IR_CALL_READS | IR_CALL_WRITES | IR_CALL_RAISES)

/* fault.c: raise an exception of this instruction; leave. `error`: bits 31..0, and bit 32 if there is a code. */
X86_HELPER(raise, void, (X86_CPU, uint64_t vector, uint64_t error), 2, X86_ANY)
/* segment.c: see x86_linear. */
X86_HELPER(linear, uint64_t, (X86_CPU, uint64_t seg, uint64_t offset, uint64_t how), 3, IR_CALL_RAISES | IR_CALL_READS)
/* Data breakpoints, with X86_TR_WATCH: `how` as for linear. #DB comes after the instruction. */
X86_HELPER(watch, void, (X86_CPU, uint64_t linear, uint64_t how), 2, IR_CALL_RAISES)
