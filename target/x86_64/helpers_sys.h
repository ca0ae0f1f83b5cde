/* Protection, system instructions; see helpers.h.
 *
 * "Goes on" means: gives the linear address to go on at (the state word or address space may be another one): end
 * the unit with an indirect jump, IR_HINT_TRAP. "Leaves" means: does not come back to the unit. `len` is the
 * instruction's length. */
#define X86_ANY (IR_CALL_READS | IR_CALL_WRITES | IR_CALL_RAISES)

/* fault.c: raise an exception of this instruction; leave. `error`: bits 31..0, and bit 32 if there is a code. */
X86_HELPER(raise, void, (X86_CPU, uint64_t vector, uint64_t error), 2, X86_ANY)
/* segment.c: see x86_linear. */
X86_HELPER(linear, uint64_t, (X86_CPU, uint64_t seg, uint64_t offset, uint64_t how), 3,
           IR_CALL_RAISES | IR_CALL_READS)

/* segment.c, at the begin of units where CS is not flat: does it hold the instruction of `len` bytes? May leave to
 * have this translated again, one instruction at a time. */
X86_HELPER(check_code, void, (X86_CPU, uint64_t len), 1, X86_ANY)

/* far.c: all go on. how: operand size, and the instruction's length << 8. */
X86_HELPER(far_jump, uint64_t, (X86_CPU, uint64_t selector, uint64_t offset, uint64_t how), 3, X86_ANY)
X86_HELPER(far_call, uint64_t, (X86_CPU, uint64_t selector, uint64_t offset, uint64_t how), 3, X86_ANY)
X86_HELPER(far_return, uint64_t, (X86_CPU, uint64_t size, uint64_t drop), 2, X86_ANY)
X86_HELPER(iret, uint64_t, (X86_CPU, uint64_t size), 1, X86_ANY)
/* kind: X86_INT_* */
X86_HELPER(int, uint64_t, (X86_CPU, uint64_t vector, uint64_t len, uint64_t kind), 3, X86_ANY)
X86_HELPER(syscall, uint64_t, (X86_CPU, uint64_t len), 1, X86_ANY)
X86_HELPER(sysret, uint64_t, (X86_CPU, uint64_t size), 1, X86_ANY)
X86_HELPER(sysenter, uint64_t, (X86_CPU), 0, X86_ANY)
X86_HELPER(sysexit, uint64_t, (X86_CPU, uint64_t size), 1, X86_ANY)

/* cet.c. An indirect branch goes to `to`; leaves where that is not ENDBR. */
X86_HELPER(track, void, (X86_CPU, uint64_t to, uint64_t notrack), 2,
           IR_CALL_READS | IR_CALL_RAISES | IR_CALL_ONCE)
X86_HELPER(endbranch, void, (X86_CPU), 0, X86_ANY) /* end the unit behind it */
X86_HELPER(missed_endbranch, void, (X86_CPU), 0, X86_ANY) /* leaves */
X86_HELPER(ret_mismatch, void, (X86_CPU), 0, X86_ANY) /* #CP */
X86_HELPER(incssp, void, (X86_CPU, uint64_t n, uint64_t size), 2, X86_ANY)
X86_HELPER(rstorssp, void, (X86_CPU, uint64_t at), 1, X86_ANY)
X86_HELPER(saveprevssp, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(wrss, void, (X86_CPU, uint64_t at, uint64_t v, uint64_t size), 3, X86_ANY)
X86_HELPER(wruss, void, (X86_CPU, uint64_t at, uint64_t v, uint64_t size), 3, X86_ANY)
X86_HELPER(setssbsy, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(clrssbsy, void, (X86_CPU, uint64_t at), 1, X86_ANY)

/* mmu.c. End the unit behind them: fetches may be concerned. */
X86_HELPER(invlpg, void, (X86_CPU, uint64_t va), 1, X86_ANY)
X86_HELPER(invpcid, void, (X86_CPU, uint64_t type, uint64_t at), 2, X86_ANY)

/* system.c */
X86_HELPER(read_cr, uint64_t, (X86_CPU, uint64_t n), 1, X86_ANY)
X86_HELPER(write_cr, uint64_t, (X86_CPU, uint64_t n, uint64_t v, uint64_t len), 3, X86_ANY) /* goes on */
X86_HELPER(lmsw, uint64_t, (X86_CPU, uint64_t v, uint64_t len), 2, X86_ANY)                 /* goes on */
X86_HELPER(clts, uint64_t, (X86_CPU, uint64_t len), 1, X86_ANY)                             /* goes on */
X86_HELPER(read_dr, uint64_t, (X86_CPU, uint64_t n), 1, X86_ANY)
X86_HELPER(write_dr, uint64_t, (X86_CPU, uint64_t n, uint64_t v, uint64_t len), 3, X86_ANY) /* goes on */
/* Data breakpoints, before an access under X86_TR_WATCH: `how` as for linear. */
X86_HELPER(watch, void, (X86_CPU, uint64_t linear, uint64_t how), 2, IR_CALL_RAISES)
/* tr_begin_events. */
X86_HELPER(step, void, (X86_CPU), 0, IR_CALL_RAISES)
X86_HELPER(end_shadow, void, (X86_CPU), 0, IR_CALL_RAISES)
X86_HELPER(code_break, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(push_flags, uint64_t, (X86_CPU, uint64_t size), 1, X86_ANY)
X86_HELPER(pop_flags, uint64_t, (X86_CPU, uint64_t v, uint64_t size, uint64_t len), 3, X86_ANY) /* goes on */
X86_HELPER(cli, void, (X86_CPU), 0, X86_ANY)
/* May be followed by other instructions, and had better be. */
X86_HELPER(sti, void, (X86_CPU, uint64_t len), 1, X86_ANY)
X86_HELPER(stac, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(clac, void, (X86_CPU), 0, X86_ANY)
/* MOV, POP, LDS...: goes on. In 64-bit code only SS may change the state word. */
X86_HELPER(selector, uint64_t, (X86_CPU, uint64_t seg), 1, 0)
X86_HELPER(load_segment, uint64_t, (X86_CPU, uint64_t seg, uint64_t selector, uint64_t len), 3, X86_ANY)
/* what: X86_GDT_BASE... */
X86_HELPER(store_table, uint64_t, (X86_CPU, uint64_t what), 1, X86_ANY)
X86_HELPER(load_table, void, (X86_CPU, uint64_t what, uint64_t base, uint64_t limit), 3, X86_ANY)
X86_HELPER(lldt, void, (X86_CPU, uint64_t selector), 1, X86_ANY)
X86_HELPER(ltr, void, (X86_CPU, uint64_t selector), 1, X86_ANY)
/* All ones: not valid. */
X86_HELPER(lar, uint64_t, (X86_CPU, uint64_t selector), 1, X86_ANY)
X86_HELPER(lsl, uint64_t, (X86_CPU, uint64_t selector), 1, X86_ANY)
X86_HELPER(verify, uint64_t, (X86_CPU, uint64_t selector, uint64_t write), 2, X86_ANY)
X86_HELPER(swapgs, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(read_base, uint64_t, (X86_CPU, uint64_t seg), 1, X86_ANY)
X86_HELPER(write_base, void, (X86_CPU, uint64_t seg, uint64_t v), 2, X86_ANY)
X86_HELPER(in, uint64_t, (X86_CPU, uint64_t port, uint64_t size), 2, X86_ANY | IR_CALL_FP)
X86_HELPER(out, void, (X86_CPU, uint64_t port, uint64_t size, uint64_t v, uint64_t len), 4, X86_ANY | IR_CALL_FP)
/* INS and OUTS, goes on. how: operand size, address size << 8, segment << 16, X86_STRING_* */
X86_HELPER(string_io, uint64_t, (X86_CPU, uint64_t how, uint64_t len), 2, X86_ANY | IR_CALL_FP)
X86_HELPER(hlt, void, (X86_CPU, uint64_t len), 1, X86_ANY) /* leaves */
X86_HELPER(rsm, void, (X86_CPU), 0, X86_ANY) /* smm.c; leaves */
X86_HELPER(monitor, void, (X86_CPU, uint64_t linear), 1, X86_ANY)
X86_HELPER(mwait, void, (X86_CPU, uint64_t len), 1, X86_ANY) /* leaves */
/* #GP unless CPL is 0. */
X86_HELPER(ring_0, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(cache, void, (X86_CPU, uint64_t code), 1, X86_ANY) /* the same for INVD, WBINVD; X86_EXIT_* */
X86_HELPER(rdtsc, uint64_t, (X86_CPU), 0, X86_ANY)
X86_HELPER(rdtscp, uint64_t, (X86_CPU), 0, X86_ANY)
X86_HELPER(rdpmc, uint64_t, (X86_CPU), 0, X86_ANY)
X86_HELPER(rdpid, uint64_t, (X86_CPU), 0, X86_ANY)
X86_HELPER(cpuid, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(xgetbv, uint64_t, (X86_CPU), 0, X86_ANY)
X86_HELPER(xsetbv, uint64_t, (X86_CPU, uint64_t v, uint64_t len), 2, X86_ANY) /* goes on */
X86_HELPER(rdpkru, uint64_t, (X86_CPU), 0, X86_ANY)
X86_HELPER(wrpkru, void, (X86_CPU), 0, X86_ANY)

/* svm.c. The first two go on. STGI: end the unit behind it. */
X86_HELPER(vmrun, uint64_t, (X86_CPU, uint64_t len), 1, X86_ANY)
X86_HELPER(vmload, uint64_t, (X86_CPU, uint64_t len), 1, X86_ANY)
X86_HELPER(vmsave, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(stgi, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(clgi, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(vmmcall, void, (X86_CPU), 0, X86_ANY)
X86_HELPER(invlpga, void, (X86_CPU), 0, X86_ANY)

/* msr.c */
X86_HELPER(rdmsr, uint64_t, (X86_CPU), 0, X86_ANY)
X86_HELPER(wrmsr, uint64_t, (X86_CPU, uint64_t len), 1, X86_ANY) /* goes on */
