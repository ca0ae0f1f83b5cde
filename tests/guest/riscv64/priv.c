/* Privilege: traps from each mode, delegation, vectoring, returns, what each mode may do. Privileged
 * architecture 3.1, 3.3, 10.1. */
#include "rt.h"

#define INSN(name, text)                                       \
    __attribute__((naked, aligned(64))) static void name(void) \
    {                                                          \
        __asm__(text);                                         \
    }
INSN(do_ecall, "ecall; ret")
INSN(do_ebreak, "ebreak; ret")
INSN(do_cebreak, "c.ebreak; ret")
INSN(do_zero, ".half 0, 0; ret")
INSN(do_ones, ".word 0xffffffff; ret")
INSN(do_reserved, ".word 0x0000707b; ret")
INSN(do_wfi, "wfi; ret")
INSN(do_mret, "mret")
INSN(do_sret, "sret")
INSN(do_sfence, "sfence.vma; ret")
INSN(read_mstatus, "csrr a0, mstatus; ret")
INSN(read_sstatus, "csrr a0, sstatus; ret")
INSN(write_sscratch, "csrw sscratch, a0; csrr a0, sscratch; ret")
INSN(write_hartid, "csrw mhartid, a0; ret")
INSN(read_hartid, "csrr a0, mhartid; ret")
INSN(read_satp, "csrr a0, satp; ret")
INSN(read_absent, "csrr a0, 0x5c0; ret")
INSN(write_cycle, "csrw cycle, zero; ret")
INSN(read_cycle, "csrr a0, cycle; ret")
INSN(read_time, "csrr a0, time; ret")
INSN(read_instret, "csrr a0, instret; ret")
INSN(add_float, "fadd.d fa0, fa0, fa0; ret")
INSN(move_float, "fmv.x.d a0, fa0; ret")
INSN(read_fcsr, "csrr a0, fcsr; ret")
INSN(add_bad_rm, ".word 0x02a55553; ret") /* fadd.d fa0, fa0, fa0 with rm 5 */
INSN(jump_odd, "jr a0")

/* With SSIP pending and interrupts off in S-mode: two ways of letting it in, each with four bytes for what must not
 * be executed any more. */
INSN(let_in_at_once, "csrsi sip, 2; csrsi sstatus, 2; li a0, 1; ret")
INSN(let_in_by_register, "csrsi sip, 2; csrs sstatus, a0; li a0, 1; ret")
INSN(let_in_by_write, "csrsi sip, 2; csrw sstatus, a0; li a0, 1; ret")
INSN(off_and_on, "csrrci a1, sstatus, 2; csrs sstatus, a1; csrrsi a0, sstatus, 0; ret")
INSN(write_sstatus, "csrw sstatus, a0; csrr a0, sstatus; ret")
INSN(swap_sstatus, "csrrw a0, sstatus, a0; csrrw a0, sstatus, a1; ret")
INSN(switch_float, "li a1, 0x6000; csrrc a0, sstatus, a1; fadd.d fa0, fa0, fa0; ret")
INSN(float_twice,
     "fmv.x.d a1, fa0; fadd.d fa0, fa0, fa0; li a1, 0x2000; csrc sstatus, a1; csrr a2, sstatus; "
     "fadd.d fa0, fa0, fa0; csrr a0, sstatus; sub a0, a0, a2; ret")

static struct ended e;

static void traps_of(int mode, const char *ecall, u64 ecall_cause)
{
    e = run(mode, do_ecall, 1, 0);
    check_trap(&e, ecall_cause, M, ecall);
    check_equal(e.pc, (u64)do_ecall, "ecall: mepc is the ecall");
    check_equal(e.tval, 0, "ecall: mtval is 0");
    check_equal(e.from, mode, "ecall: MPP is the mode it came from");
    e = run(mode, do_ebreak, 0, 0);
    check_trap(&e, BREAKPOINT, M, "ebreak");
    check_equal(e.pc, (u64)do_ebreak, "ebreak: mepc");
    e = run(mode, do_cebreak, 0, 0);
    check_trap(&e, BREAKPOINT, M, "c.ebreak");
    e = run(mode, do_zero, 0, 0);
    check_trap(&e, ILLEGAL, M, "zero is illegal");
    check_equal(e.tval, 0, "zero: mtval");
    e = run(mode, do_ones, 0, 0);
    check_trap(&e, ILLEGAL, M, "ones are illegal");
    e = run(mode, do_reserved, 0, 0);
    check_trap(&e, ILLEGAL, M, "reserved opcode is illegal");
    check_equal(e.tval, 0x707b, "reserved opcode: mtval is the instruction");
    check_equal(e.pc, (u64)do_reserved, "reserved opcode: mepc");
    e = run(mode, read_absent, 0, 0);
    check_trap(&e, ILLEGAL, M, "absent CSR is illegal");
    check_equal(e.tval, 0x5c002573, "absent CSR: mtval is the instruction");
    e = run(mode, write_cycle, 0, 0);
    check_trap(&e, ILLEGAL, M, "write of a read-only CSR is illegal");
}

static void rights(void)
{
    e = run(U, read_sstatus, 0, 0);
    check_trap(&e, ILLEGAL, M, "U: sstatus");
    e = run(U, read_mstatus, 0, 0);
    check_trap(&e, ILLEGAL, M, "U: mstatus");
    e = run(S, read_mstatus, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: mstatus");
    e = run(S, write_sscratch, 0x123456789, 0);
    check_trap(&e, NO_TRAP, M, "S: sscratch");
    check_equal(e.value, 0x123456789, "S: sscratch keeps its value");
    e = run(M, write_hartid, 0, 0);
    check_trap(&e, ILLEGAL, M, "M: write of mhartid");
    e = run(S, read_hartid, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: mhartid");
    e = run(U, do_mret, 0, 0);
    check_trap(&e, ILLEGAL, M, "U: mret");
    e = run(S, do_mret, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: mret");
    e = run(U, do_sret, 0, 0);
    check_trap(&e, ILLEGAL, M, "U: sret");
    e = run(U, do_sfence, 0, 0);
    check_trap(&e, ILLEGAL, M, "U: sfence.vma");
    e = run(S, do_sfence, 0, 0);
    check_trap(&e, NO_TRAP, M, "S: sfence.vma");
    csr_set(mstatus, 1 << 20);
    e = run(S, do_sfence, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: sfence.vma with TVM");
    e = run(S, read_satp, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: satp with TVM");
    csr_clear(mstatus, 1 << 20);
    e = run(S, read_satp, 0, 0);
    check_trap(&e, NO_TRAP, M, "S: satp");
    csr_set(mstatus, 1 << 21);
    e = run(S, do_wfi, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: wfi with TW");
    csr_clear(mstatus, 1 << 21);
    csr_set(mstatus, 1 << 22);
    e = run(S, do_sret, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: sret with TSR");
    csr_clear(mstatus, 1 << 22);
}

static void counters(void)
{
    csr_write(mcounteren, 0);
    csr_write(scounteren, 7);
    e = run(S, read_cycle, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: cycle needs mcounteren");
    csr_write(mcounteren, 7);
    e = run(S, read_cycle, 0, 0);
    check_trap(&e, NO_TRAP, M, "S: cycle with mcounteren");
    e = run(U, read_time, 0, 0);
    check_trap(&e, NO_TRAP, M, "U: time with both");
    csr_write(scounteren, 0);
    e = run(U, read_instret, 0, 0);
    check_trap(&e, ILLEGAL, M, "U: instret needs scounteren");
    csr_write(scounteren, 7);
    u64 before = csr_read(instret);
    u64 after = csr_read(instret);
    u64 third = csr_read(instret);
    check_equal(third - after, after - before, "instret counts evenly");
    check(after > before, "instret counts");
    u64 t = csr_read(time);
    check(csr_read(time) - t < 10000000, "time goes on");
}

static void delegation(void)
{
    csr_write(stvec, s_trap);
    csr_write(medeleg, 1 << ILLEGAL | 1 << BREAKPOINT | 1 << ECALL_U);
    check_equal(csr_read(medeleg), 1 << ILLEGAL | 1 << BREAKPOINT | 1 << ECALL_U,
                "medeleg is kept");
    e = run(U, do_reserved, 0, 0);
    check_trap(&e, ILLEGAL, S, "illegal instruction of U goes to S");
    check_equal(e.pc, (u64)do_reserved, "delegated: sepc");
    check_equal(e.tval, 0x707b, "delegated: stval");
    check_equal(e.from, U, "delegated: SPP is U");
    e = run(S, do_ebreak, 0, 0);
    check_trap(&e, BREAKPOINT, S, "ebreak of S goes to S");
    check_equal(e.from, S, "delegated: SPP is S");
    e = run(U, do_ecall, 0, 0);
    check_trap(&e, ECALL_U, S, "ecall of U goes to S");
    e = run(M, do_reserved, 0, 0);
    check_trap(&e, ILLEGAL, M, "illegal instruction of M stays in M");
    csr_write(medeleg, 0);
    e = run(U, do_reserved, 0, 0);
    check_trap(&e, ILLEGAL, M, "without delegation it goes to M");
    csr_write(medeleg, ~0ul);
    check_equal(csr_read(medeleg) >> ECALL_M & 1, 0, "ecall of M cannot be delegated");
    csr_write(medeleg, 0);
}

/* sret from S to U: SPIE to SIE, SPP cleared. */
__attribute__((naked)) static void to_user(void)
{
    __asm__("csrw sepc, a0\n"
            "li t0, 0x100\n"
            "csrc sstatus, t0\n"
            "li t0, 0x20\n"
            "csrs sstatus, t0\n"
            "sret");
}

static void returns(void)
{
    e = run(S, to_user, (u64)do_ecall, 0);
    check_trap(&e, ECALL_U, M, "sret reaches U");
    check_equal(csr_read(sstatus) & 0x122, 0x22, "sret: SIE is the old SPIE, SPIE is 1, SPP is U");
    csr_clear(sstatus, 2);
    csr_set(mstatus, 1 << 17);
    e = run(S, do_ecall, 0, 0);
    check_equal(e.status >> 17 & 1, 0, "mret to S clears MPRV");
    csr_write(mepc, 0x80000003);
    check_equal(csr_read(mepc), 0x80000002, "mepc is even");
    csr_write(mtvec, (u64)trap_entry);
    check_equal(csr_read(mtvec), (u64)trap_entry, "mtvec");
}

static volatile u64 took;
__attribute__((naked, aligned(256))) static void vectors(void)
{
    __asm__(".option push\n.option norvc\n"
            "j 1f\nj 2f\nj 1f\nj 1f\n j 1f\n j 1f\n j 1f\n j 1f\n j 1f\n j 3f\n"
            ".option pop\n"
            "1: li a0, 0x100; j 4f\n"
            "2: li a0, 0x101; j 4f\n"
            "3: li a0, 0x109; j 4f\n"
            "4: csrr a1, scause; li a7, 0x5eed; ecall");
}

__attribute__((naked)) static void allow(void)
{
    __asm__("csrsi sstatus, 2\n li a0, 1\n ret");
}

static void vectored(void)
{
    csr_write(stvec, (u64)vectors | 1);
    check_equal(csr_read(stvec), (u64)vectors | 1, "stvec takes the vectored mode");
    csr_write(mideleg, 0x222);
    csr_write(medeleg, 1 << ILLEGAL);
    e = run(S, do_reserved, 0, 0);
    check_equal(e.value, 0x100, "vectored: an exception goes to the base");
    csr_set(mie, 0x202);
    csr_set(mip, 0x2);
    e = run(S, allow, 0, 0);
    check_equal(e.value, 0x101, "vectored: software interrupt goes to base + 4");
    csr_set(mip, 0x200);
    csr_clear(sstatus, 2);
    e = run(S, allow, 0, 0);
    check_equal(e.value, 0x109, "vectored: external interrupt comes first, to base + 36");
    csr_clear(sstatus, 2);
    csr_clear(mip, 0x202);
    e = run(S, allow, 0, 0);
    check_equal(e.value, 1, "no interrupt pending: none taken");
    csr_set(mip, 0x2);
    csr_clear(sstatus, 2);
    e = run(U, do_ecall, 0, 0);
    check(e.cause != ECALL_U || e.mode != M, "an S interrupt is taken in U even with SIE clear");
    csr_clear(mip, 0x2);
    csr_write(mie, 0);
    csr_write(mideleg, 0);
    csr_write(medeleg, 0);
    csr_write(stvec, s_trap);
    csr_clear(sstatus, 2);
}

static void floating_point(void)
{
    csr_clear(mstatus, 3 << 13);
    e = run(M, add_float, 0, 0);
    check_trap(&e, ILLEGAL, M, "FS off: arithmetic");
    e = run(M, move_float, 0, 0);
    check_trap(&e, ILLEGAL, M, "FS off: move");
    e = run(M, read_fcsr, 0, 0);
    check_trap(&e, ILLEGAL, M, "FS off: fcsr");
    csr_set(mstatus, 2 << 13);
    check_equal(csr_read(mstatus) >> 63, 0, "FS clean: SD is 0");
    e = run(M, move_float, 0, 0);
    check_trap(&e, NO_TRAP, M, "FS clean: move");
    check_equal(csr_read(mstatus) >> 13 & 3, 2, "FS stays clean without a write");
    e = run(M, add_float, 0, 0);
    check_trap(&e, NO_TRAP, M, "FS clean: arithmetic");
    check_equal(csr_read(mstatus) >> 13 & 3, 3, "FS becomes dirty with a write");
    check_equal(csr_read(mstatus) >> 63, 1, "FS dirty: SD is 1");
    csr_set(mstatus, 3 << 13);
    e = run(M, add_bad_rm, 0, 0);
    check_trap(&e, ILLEGAL, M, "reserved rounding mode");
    csr_write(frm, 5);
    e = run(M, add_float, 0, 0);
    check_trap(&e, ILLEGAL, M, "reserved dynamic rounding mode");
    e = run(M, move_float, 0, 0);
    check_trap(&e, NO_TRAP, M, "reserved dynamic rounding mode: a move does not mind");
    csr_write(frm, 0);
    csr_write(fcsr, 0xfff);
    check_equal(csr_read(fcsr), 0xff, "fcsr has 8 bits");
    check_equal(csr_read(frm), 7, "frm");
    check_equal(csr_read(fflags), 0x1f, "fflags");
    csr_write(fcsr, 0);
}

/* sstatus in S-mode: what a write lets in comes before the next instruction; FS is heeded at once. */
static void status_in_supervisor_mode(void)
{
    static const struct {
        void (*fn)(void);
        const char *name;
    } ways[] = { { let_in_at_once, "S: SIE set" },
                 { let_in_by_register, "S: SIE set by a register" },
                 { let_in_by_write, "S: SIE written" } };
    csr_write(stvec, s_trap);
    csr_write(mideleg, 2);
    csr_write(mie, 2);
    for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
        csr_clear(mstatus, 2);
        csr_clear(mip, 2);
        e = run(S, ways[i].fn, 2 | 3 << 13, 0);
        check_trap(&e, INTERRUPT | 1, S, ways[i].name);
        check_equal(e.pc, (u64)ways[i].fn + 8, "at once");
    }
    csr_write(mie, 0);
    csr_clear(mip, 2);
    csr_write(mideleg, 0);
    csr_clear(mstatus, 2);
    e = run(S, off_and_on, 0, 0);
    check_equal(e.value & 2, 0, "S: SIE stays off");
    csr_set(mstatus, 2);
    e = run(S, off_and_on, 0, 0);
    check_equal(e.value & 2, 2, "S: SIE is on again");
    csr_clear(mstatus, 2);
    e = run(S, write_sstatus, ~0ul & ~2ul, 0);
    check_equal(e.value, 1ul << 63 | 2ul << 32 | 0xc6120, "S: what is writable in sstatus");
    e = run(S, write_sstatus, 2 << 13, 0);
    check_equal(e.value, 2ul << 32 | 2 << 13, "S: FS clean");
    e = run(S, swap_sstatus, 3 << 13 | 1 << 18, 1 << 13);
    check_equal(e.value, 1ul << 63 | 2ul << 32 | 3 << 13 | 1 << 18,
                "S: SUM and FS written together");
    check_equal(csr_read(mstatus) >> 13 & 3, 1, "S: and again");
    csr_set(mstatus, 3 << 13);
    e = run(S, switch_float, 0, 0);
    check_trap(&e, ILLEGAL, M, "S: FS off, the next instruction");
    csr_set(mstatus, 2 << 13);
    e = run(S, move_float, 0, 0);
    check_trap(&e, NO_TRAP, M, "S: FS clean: move");
    check_equal(csr_read(mstatus) >> 13 & 3, 2, "S: FS stays clean without a write");
    e = run(S, float_twice, 0, 0);
    check_trap(&e, NO_TRAP, M, "S: FS clean: arithmetic");
    check_equal(csr_read(mstatus) >> 13 & 3, 3, "S: FS becomes dirty with a write");
    check_equal(e.value, 1ul << 63 | 1 << 13, "S: dirty, clean and dirty in one go");
}

static void misaligned_jumps(void)
{
    e = run(M, jump_odd, (u64)do_ecall + 1, 0);
    check_trap(&e, ECALL_M, M, "jalr clears bit 0");
}

void test_main(void)
{
    print("# U\n");
    traps_of(U, "ecall of U", ECALL_U);
    print("# S\n");
    traps_of(S, "ecall of S", ECALL_S);
    print("# M\n");
    traps_of(M, "ecall of M", ECALL_M);
    rights();
    counters();
    delegation();
    returns();
    vectored();
    floating_point();
    status_in_supervisor_mode();
    misaligned_jumps();
}
