/* C functions that translated RISC-V code calls, one line each; no include guard. From here come the
 * prototypes and the `rv_helper_NAME` objects (riscv.h), and the list for the IR parser (helpers.c).
 *
 * RV_HELPER(name, result, parameters, n, flags): rvh_name; n counts uint64_t parameters besides the
 * CPU. Helpers with IR_CALL_PURE take no CPU.
 *
 * "Leaves" means: does not come back to the unit (traps, or continues elsewhere). */
#define RV_CPU struct riscv_cpu *r

/* CSRs: trap when the access is not allowed. The instruction behind a write runs under a new state
 * unless riscv_csr_is_plain(csr): end the unit with ir_leave, or give `csr` as RV_CSR_STAY: then the
 * helper leaves if, and only if, what follows may not go on as translated. csr_write is csrrw with
 * rd = x0 (no read happens), csr_read is csrrs/csrrc with rs1 = x0 or a zero immediate. */
RV_HELPER(csr_read, uint64_t, (RV_CPU, uint64_t csr), 1, IR_CALL_RAISES)
RV_HELPER(csr_write, void, (RV_CPU, uint64_t csr, uint64_t v), 2, IR_CALL_RAISES | IR_CALL_WRITES)
RV_HELPER(csr_swap, uint64_t, (RV_CPU, uint64_t csr, uint64_t v), 2, IR_CALL_RAISES | IR_CALL_WRITES)
RV_HELPER(csr_set, uint64_t, (RV_CPU, uint64_t csr, uint64_t v), 2, IR_CALL_RAISES | IR_CALL_WRITES)
RV_HELPER(csr_clear, uint64_t, (RV_CPU, uint64_t csr, uint64_t v), 2, IR_CALL_RAISES | IR_CALL_WRITES)

/* SUM is off, and sum_used says that user pages are remembered: no longer. */
RV_HELPER(sum_ends, void, (RV_CPU), 0, 0)

/* Traps and returns: all leave. raise_illegal takes the instruction's bits (16 or 32). */
RV_HELPER(raise_illegal, void, (RV_CPU, uint64_t opcode), 1, IR_CALL_RAISES)
/* Any trap of this instruction: leaves. */
RV_HELPER(raise, void, (RV_CPU, uint64_t cause, uint64_t tval), 2, IR_CALL_RAISES)
/* Gives the address to go on at: end the unit with an indirect jump, IR_HINT_TRAP. */
RV_HELPER(ecall, uint64_t, (RV_CPU), 0, IR_CALL_RAISES)
RV_HELPER(ebreak, void, (RV_CPU), 0, IR_CALL_RAISES)
RV_HELPER(mret, uint64_t, (RV_CPU), 0, IR_CALL_RAISES | IR_CALL_WRITES)
RV_HELPER(sret, uint64_t, (RV_CPU), 0, IR_CALL_RAISES | IR_CALL_WRITES)
/* Leaves; continues behind itself, after a halt when nothing is pending. */
RV_HELPER(wfi, void, (RV_CPU), 0, IR_CALL_RAISES)
/* Comes back. `until` is 1 for wrs.nto, 0 for wrs.sto. */
RV_HELPER(wrs, void, (RV_CPU, uint64_t until), 1, IR_CALL_RAISES)
/* The pause hint: gives the host's processor to somebody else. */
RV_HELPER(pause, void, (RV_CPU), 0, 0)

/* FS is clean: make it dirty, then leave and execute this instruction again (with RV_FLAG_FS_DIRTY).
 * Called before an instruction that writes an f register, fflags or frm. */
RV_HELPER(fs_dirty, void, (RV_CPU), 0, IR_CALL_RAISES)

/* Also sinval.vma. `given`: bit 0 if rs1 is not x0, bit 1 if rs2 is not x0. Then ir_leave. */
RV_HELPER(sfence_vma, void, (RV_CPU, uint64_t va, uint64_t asid, uint64_t given), 3,
          IR_CALL_RAISES)
/* sfence.w.inval and sfence.inval.ir: the privilege check, nothing else to do. */
RV_HELPER(sfence_inval, void, (RV_CPU), 0, IR_CALL_RAISES)

/* Cache block operations on the block that holds va. kind: enum rv_cbo. */
RV_HELPER(cbo, void, (RV_CPU, uint64_t va, uint64_t kind), 2, IR_CALL_RAISES)

/* Debug triggers: before an instruction if RV_FLAG_TRIGGER_EXEC; before a load, store or atomic
 * (`store` is 1 for stores and for atomics but lr) if RV_FLAG_TRIGGER_DATA. Trap or come back. */
RV_HELPER(trigger_exec, void, (RV_CPU), 0, IR_CALL_RAISES)
RV_HELPER(trigger_data, void, (RV_CPU, uint64_t va, uint64_t size, uint64_t store), 3,
          IR_CALL_RAISES)

/* Floating point in software, exact: `how` is RV_FP(format, rounding) with an explicit rounding mode
 * 0..4. Operands are register contents (checked for NaN boxing), results are boxed; flags
 * accumulate. */
RV_HELPER(fp_add, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
RV_HELPER(fp_sub, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
RV_HELPER(fp_mul, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
RV_HELPER(fp_div, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
RV_HELPER(fp_sqrt, uint64_t, (RV_CPU, uint64_t how, uint64_t a), 2, 0)
/* how | RV_FP_NEG_PRODUCT, RV_FP_NEG_ADDEND */
RV_HELPER(fp_fma, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b, uint64_t c), 4, 0)
RV_HELPER(fp_min, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
RV_HELPER(fp_max, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
/* Results 0 or 1. */
RV_HELPER(fp_eq, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
RV_HELPER(fp_lt, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
RV_HELPER(fp_le, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t b), 3, 0)
RV_HELPER(fp_class, uint64_t, (RV_CPU, uint64_t how, uint64_t a), 2, 0)
/* kind: enum sf_int (SF_I32, SF_U32, SF_I64, SF_U64); 32-bit results are sign-extended. */
RV_HELPER(fp_to_int, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t kind), 3, 0)
RV_HELPER(fp_from_int, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t kind), 3, 0)
/* From format `from` to the one in `how`. */
RV_HELPER(fp_convert, uint64_t, (RV_CPU, uint64_t how, uint64_t a, uint64_t from), 3, 0)

/* crypto.c: results of single instructions, from rs1, rs2 and the immediate in that order. 32-bit
 * results are sign-extended. rnum is 0..10 (more is a reserved encoding), bs is 0..3. */
#define RV_UNARY(name)  RV_HELPER(name, uint64_t, (uint64_t a), 1, IR_CALL_PURE)
#define RV_BINARY(name) RV_HELPER(name, uint64_t, (uint64_t a, uint64_t b), 2, IR_CALL_PURE)
RV_UNARY(orc_b)
RV_UNARY(brev8)
RV_BINARY(clmul)
RV_BINARY(clmulh)
RV_BINARY(clmulr)
RV_BINARY(xperm4)
RV_BINARY(xperm8)
RV_BINARY(aes64es)
RV_BINARY(aes64esm)
RV_BINARY(aes64ds)
RV_BINARY(aes64dsm)
RV_BINARY(aes64ks2)
RV_UNARY(aes64im)
RV_HELPER(aes64ks1i, uint64_t, (uint64_t a, uint64_t rnum), 2, IR_CALL_PURE)
RV_UNARY(sha256sig0)
RV_UNARY(sha256sig1)
RV_UNARY(sha256sum0)
RV_UNARY(sha256sum1)
RV_UNARY(sha512sig0)
RV_UNARY(sha512sig1)
RV_UNARY(sha512sum0)
RV_UNARY(sha512sum1)
RV_UNARY(sm3p0)
RV_UNARY(sm3p1)
RV_HELPER(sm4ed, uint64_t, (uint64_t a, uint64_t b, uint64_t bs), 3, IR_CALL_PURE)
RV_HELPER(sm4ks, uint64_t, (uint64_t a, uint64_t b, uint64_t bs), 3, IR_CALL_PURE)
#undef RV_UNARY
#undef RV_BINARY

#undef RV_CPU
