/* x87, FXSAVE, XSAVE; see helpers.h. `how`: X87_* in x87.h. Unless it says otherwise, a pending unmasked exception
 * is #MF before anything is done. */
X86_HELPER(x87_reg, void, (X86_CPU, uint64_t how), 1, IR_CALL_RAISES)
X86_HELPER(x87_load, void, (X86_CPU, uint64_t how, uint64_t low, uint64_t high_or_address), 3, IR_CALL_RAISES)
X86_HELPER(x87_arith_mem, void, (X86_CPU, uint64_t how, uint64_t value, uint64_t address), 3, IR_CALL_RAISES)
/* The value to store at `address`, its low 64 bits; x87_high: the bytes above. Then x87_commit makes what this
 * did visible. Leaves for the next instruction where an exception forbids the store. */
X86_HELPER(x87_store, uint64_t, (X86_CPU, uint64_t how, uint64_t address), 2, IR_CALL_RAISES)
X86_HELPER(x87_high, uint64_t, (X86_CPU), 0, 0)
X86_HELPER(x87_commit, void, (X86_CPU, uint64_t how), 1, 0)
/* ZF, PF and CF as RFLAGS has them. */
X86_HELPER(x87_comi, uint64_t, (X86_CPU, uint64_t how), 1, IR_CALL_RAISES)
X86_HELPER(x87_cmov, void, (X86_CPU, uint64_t how, uint64_t condition), 2, IR_CALL_RAISES)
/* Control; without a check for pending exceptions but fldcw, fldenv and frstor. */
X86_HELPER(x87_fldcw, void, (X86_CPU, uint64_t fcw), 1, IR_CALL_RAISES)
X86_HELPER(x87_fcw, uint64_t, (X86_CPU), 0, 0)
X86_HELPER(x87_fsw, uint64_t, (X86_CPU), 0, 0)
X86_HELPER(x87_fnclex, void, (X86_CPU), 0, 0)
X86_HELPER(x87_fninit, void, (X86_CPU), 0, 0)
X86_HELPER(x87_fnstenv, void, (X86_CPU, uint64_t how, uint64_t address), 2, IR_CALL_RAISES)
X86_HELPER(x87_fldenv, void, (X86_CPU, uint64_t how, uint64_t address), 2, IR_CALL_RAISES)
X86_HELPER(x87_fnsave, void, (X86_CPU, uint64_t how, uint64_t address), 2, IR_CALL_RAISES)
X86_HELPER(x87_frstor, void, (X86_CPU, uint64_t how, uint64_t address), 2, IR_CALL_RAISES)
/* MMX */
X86_HELPER(x87_begin_mmx, void, (X86_CPU), 0, IR_CALL_RAISES)
X86_HELPER(x87_emms, void, (X86_CPU), 0, IR_CALL_RAISES)
/* xsave.c. `wide`: REX.W. The restoring ones may change the state word: end the unit behind them. */
X86_HELPER(fxsave, void, (X86_CPU, uint64_t address, uint64_t wide), 2, IR_CALL_RAISES | IR_CALL_READS)
X86_HELPER(fxrstor, void, (X86_CPU, uint64_t address, uint64_t wide), 2,
           IR_CALL_RAISES | IR_CALL_READS | IR_CALL_WRITES)
/* kind: enum x86_xsave_kind, | 16 with REX.W; mask: EDX:EAX. */
X86_HELPER(xsave, void, (X86_CPU, uint64_t address, uint64_t mask, uint64_t kind), 3,
           IR_CALL_RAISES | IR_CALL_READS)
X86_HELPER(xrstor, void, (X86_CPU, uint64_t address, uint64_t mask, uint64_t kind), 3,
           IR_CALL_RAISES | IR_CALL_READS | IR_CALL_WRITES)
