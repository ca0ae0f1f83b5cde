/* Integer, flags, strings; see helpers.h. */
/* flags_value.c: the six flags of lazy ones, see flags.h. */
X86_HELPER(flags, uint64_t, (uint64_t cc_op, uint64_t dst, uint64_t src, uint64_t aux), 4, IR_CALL_PURE)

/* integer.c. how: size in bytes, and 16 for RCR. The result, and the CF, of RCL and RCR. */
X86_HELPER(rotate_carry, uint64_t, (uint64_t v, uint64_t count, uint64_t carry, uint64_t how), 4, IR_CALL_PURE)
X86_HELPER(rotate_carry_cf, uint64_t, (uint64_t v, uint64_t count, uint64_t carry, uint64_t how), 4, IR_CALL_PURE)
/* CRC32 of `size` bytes of v (SDM 2A "CRC32"). */
X86_HELPER(crc32, uint64_t, (uint64_t crc, uint64_t v, uint64_t size), 3, IR_CALL_PURE)
/* PDEP, PEXT. */
X86_HELPER(pdep, uint64_t, (uint64_t v, uint64_t mask), 2, IR_CALL_PURE)
X86_HELPER(pext, uint64_t, (uint64_t v, uint64_t mask), 2, IR_CALL_PURE)
/* DAA, DAS, AAA, AAS by opcode: AX and flags in, AX | flags << 16 out. */
X86_HELPER(bcd, uint64_t, (uint64_t opcode, uint64_t ax, uint64_t flags), 3, IR_CALL_PURE)
/* DIV, IDIV of rDX:rAX (AX) by b. how: size in bytes, and 16 for IDIV. #DE. */
X86_HELPER(div, void, (X86_CPU, uint64_t b, uint64_t how), 2, IR_CALL_READS | IR_CALL_WRITES | IR_CALL_RAISES)
/* CMPXCHG16B at a linear address, flags included. */
X86_HELPER(cmpxchg16b, void, (X86_CPU, uint64_t at, uint64_t mode), 2, IR_CALL_READS | IR_CALL_WRITES | IR_CALL_RAISES)
/* 64 random bits. */
X86_HELPER(random, uint64_t, (X86_CPU), 0, 0)
/* The processor is somebody else's for a moment. */
X86_HELPER(pause, void, (X86_CPU), 0, IR_CALL_RAISES)

/* string.c: MOVS, CMPS, STOS, LODS, SCAS with a repeat prefix, as many turns as can be done in one go; rCX, rSI,
 * rDI and flags are as behind them. how: see string.h. 0: it is done; else come back to this instruction. */
X86_HELPER(rep, uint64_t, (X86_CPU, uint64_t how), 1, IR_CALL_READS | IR_CALL_WRITES | IR_CALL_RAISES)
