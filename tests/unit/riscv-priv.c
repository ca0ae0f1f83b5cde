/* The privileged half of the RISC-V CPU: CSRs, memory protection, address translation, traps, timers,
 * triggers, floating-point helpers. The translator's services are stand-ins that count. */
#include "board.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/error.h"
#include "target/riscv/rv_priv.h"
#include "tcg/softfloat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum outcome { CAME_BACK, LEFT, HALTED };

struct kit {
    struct board *b;
    struct accel accel;
    struct vcpu *cpu;
    struct riscv_cpu *r;
    jmp_buf left;
    uint64_t insn_pc, n_insns;
    uint8_t fp_flags;
    unsigned flushes, page_flushes, context_flushes, drops, changes, roundings, interrupts;
    uint64_t flush_mask, flush_value;
    bool counting;
};
static struct kit *kit; /* the test's, for the stand-ins */

/* ---- stand-ins --------------------------------------------------------------------------------- */

uint64_t tcg_insn_pc(struct vcpu *cpu)
{
    return kit->insn_pc;
}
noreturn void tcg_leave(struct vcpu *cpu)
{
    longjmp(kit->left, LEFT);
}
noreturn void tcg_halt(struct vcpu *cpu)
{
    longjmp(kit->left, HALTED);
}
void tcg_context_changed(struct vcpu *cpu)
{
    kit->changes++;
}
void tcg_flush_all(struct vcpu *cpu)
{
    kit->flushes++;
}
void tcg_flush_page(struct vcpu *cpu, uint64_t va)
{
    kit->page_flushes++;
}
void tcg_flush_contexts(struct vcpu *cpu, uint64_t mask, uint64_t value)
{
    kit->context_flushes++;
    kit->flush_mask = mask;
    kit->flush_value = value;
}
void tcg_drop_user_pages(struct vcpu *cpu)
{
    kit->drops++;
}
uint8_t tcg_fp_flags(struct vcpu *cpu)
{
    return kit->fp_flags;
}
void tcg_fp_set_flags(struct vcpu *cpu, uint8_t flags)
{
    kit->fp_flags = flags;
}
void tcg_rounding_changed(struct vcpu *cpu)
{
    kit->roundings++;
}
uint64_t tcg_load(struct vcpu *cpu, uint64_t va, unsigned size, unsigned mode)
{
    return board_peek(kit->b, va, size);
}
void tcg_store(struct vcpu *cpu, uint64_t va, unsigned size, uint64_t v, unsigned mode)
{
    board_poke(kit->b, va, size, v);
}
void tcg_zero(struct vcpu *cpu, uint64_t va, unsigned n, unsigned mode)
{
    for (unsigned i = 0; i < n; i += 8)
        board_poke(kit->b, va + i, 8, 0);
}
uint64_t tcg_instructions(struct vcpu *cpu)
{
    return kit->n_insns;
}
bool tcg_is_counting(struct vcpu *cpu)
{
    return kit->counting;
}
void tcg_count_instructions(struct vcpu *cpu)
{
    kit->counting = true;
}

static void count_kick(struct vcpu *cpu)
{
    kit->interrupts++;
}

/* ---- kit ---------------------------------------------------------------------------------------- */

static struct kit *kit_with(const char *model)
{
    struct kit *k = xcalloc(1, sizeof(*k));
    kit = k;
    k->b = board_new();
    k->accel = *k->b->vm->accel;
    k->accel.kick = count_kick;
    k->b->vm->accel = &k->accel;
    k->b->vm->target = &riscv64_target;
    assert_null(riscv64_target.cpu_model(k->b->vm, model));
    k->cpu = board_add_vcpu(k->b);
    k->r = riscv_of(k->cpu);
    riscv64_target.vcpu_reset(k->cpu);
    k->insn_pc = BOARD_RAM + 0x100;
    return k;
}

static struct kit *kit_new(void)
{
    return kit_with(NULL);
}

__attribute__((noinline)) static void kit_free(struct kit *k)
{
    board_free(k->b);
    free(k);
}

#define OUTCOME(call)                                        \
    ({                                                       \
        enum outcome how_ = (enum outcome)setjmp(kit->left); \
        if (how_ == CAME_BACK)                               \
            call;                                            \
        how_;                                                \
    })

static void mode(struct kit *k, unsigned priv)
{
    riscv_set_priv(k->r, priv);
    riscv_update_flags(k->r);
}

static bool try_write(struct kit *k, unsigned csr, uint64_t v)
{
    uint64_t old;
    return riscv_csr_access(k->r, csr, false, true, v, ~(uint64_t)0, &old);
}

static bool try_read(struct kit *k, unsigned csr)
{
    uint64_t old;
    return riscv_csr_access(k->r, csr, true, false, 0, 0, &old);
}

static uint64_t rd(struct kit *k, unsigned csr)
{
    uint64_t v = 0;
    assert_true(riscv_csr_access(k->r, csr, true, false, 0, 0, &v));
    return v;
}

static void wr(struct kit *k, unsigned csr, uint64_t v)
{
    assert_true(try_write(k, csr, v));
}

static uint64_t wrrd(struct kit *k, unsigned csr, uint64_t v)
{
    wr(k, csr, v);
    return rd(k, csr);
}

enum {
    FFLAGS = 1,
    FRM = 2,
    FCSR = 3,
    SEED = 0x15,
    SSTATUS = 0x100,
    SIE = 0x104,
    STVEC = 0x105,
    SCOUNTEREN = 0x106,
    SENVCFG = 0x10a,
    SSCRATCH = 0x140,
    SEPC = 0x141,
    SIP = 0x144,
    STIMECMP = 0x14d,
    SATP = 0x180,
    SCOUNTOVF = 0xda0,
    CYCLE = 0xc00,
    TIME = 0xc01,
    INSTRET = 0xc02,
    HPMCOUNTER3 = 0xc03,
    MHARTID = 0xf14,
    MSTATUS = 0x300,
    MISA = 0x301,
    MEDELEG = 0x302,
    MIDELEG = 0x303,
    MIE = 0x304,
    MTVEC = 0x305,
    MCOUNTEREN = 0x306,
    MENVCFG = 0x30a,
    MCOUNTINHIBIT = 0x320,
    MHPMEVENT3 = 0x323,
    MSCRATCH = 0x340,
    MEPC = 0x341,
    MIP = 0x344,
    MSECCFG = 0x747,
    PMPCFG0 = 0x3a0,
    PMPADDR0 = 0x3b0,
    TSELECT = 0x7a0,
    TDATA1 = 0x7a1,
    TDATA2 = 0x7a2,
    MCYCLE = 0xb00,
    MINSTRET = 0xb02,
    MHPMCOUNTER3 = 0xb03,
    SISELECT = 0x150,
    SIREG = 0x151,
    STOPEI = 0x15c,
    STOPI = 0xdb0,
    MVIEN = 0x308,
};

static const uint64_t all_ones = ~(uint64_t)0;

/* ---- CSRs ----------------------------------------------------------------------------------------- */

static void a_csr_number_carries_its_privilege(void **unused)
{
    struct kit *k = kit_new();
    for (unsigned csr = 0; csr < 4096; csr++) {
        mode(k, RV_M);
        bool there = try_read(k, csr);
        if (there && csr >> 10 == 3)
            assert_false(try_write(k, csr, 0));
        for (unsigned priv = RV_U; priv <= RV_S; priv++) {
            mode(k, priv);
            if (priv < (csr >> 8 & 3))
                assert_false(try_read(k, csr));
            if (!there && csr != SEED)
                assert_false(try_read(k, csr));
        }
    }
    kit_free(k);
}

static void missing_extensions_take_their_csrs_along(void **unused)
{
    static const struct {
        const char *model;
        uint16_t csr;
    } cases[] = {
        { "rv64,sstc=off", STIMECMP },
        { "rv64,f=off", FCSR },
        { "rv64,sscofpmf=off", SCOUNTOVF },
        { "rv64,sdtrig=off", TDATA1 },
        { "rv64,zkr=off", MSECCFG },
        { "rv64,zicntr=off", CYCLE },
        { "rv64,zihpm=off", HPMCOUNTER3 },
        { "rv64,pmp=off", PMPCFG0 },
        { "rv64", SISELECT },
        { "rv64", MVIEN },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit *k = kit_with(cases[i].model);
        assert_false(try_read(k, cases[i].csr));
        kit_free(k);
    }
}

static void fields_keep_legal_values_only(void **unused)
{
    static const struct {
        uint16_t csr;
        uint64_t zeros, ones; /* what reads back after writing all zeros, all ones */
    } cases[] = {
        { MSTATUS, 0xa00000000, 0x8000000a007e79aa },
        { SSTATUS, 0x200000000, 0x80000002000c6122 },
        { MTVEC, 0, ~(uint64_t)2 },
        { STVEC, 0, ~(uint64_t)2 },
        { MEPC, 0, ~(uint64_t)1 },
        { SEPC, 0, ~(uint64_t)1 },
        { MEDELEG, 0, 0xb3ff },
        { MIDELEG, 0, 0x2222 },
        { MIE, 0, 0x2aaa },
        { MCOUNTEREN, 0, 0x7ffff },
        { SCOUNTEREN, 0, 0x7ffff },
        { MCOUNTINHIBIT, 0, 0x7fffd },
        { MENVCFG, 0, 0xe0000000000000f1 },
        { SENVCFG, 0, 0xf1 },
        { MSECCFG, 0, 0x300 },
        { MHPMEVENT3, 0, 0xf000000000000000 },
        { FFLAGS, 0, 31 },
        { FRM, 0, 7 },
        { FCSR, 0, 255 },
        { MSCRATCH, 0, ~(uint64_t)0 },
    };
    struct kit *k = kit_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        wr(k, MSTATUS, RV_MSTATUS_FS);
        if (wrrd(k, cases[i].csr, all_ones) != cases[i].ones)
            print_message("# csr %#x\n", cases[i].csr);
        assert_int_equal(rd(k, cases[i].csr), cases[i].ones);
        assert_int_equal(wrrd(k, cases[i].csr, 0), cases[i].zeros);
    }
    kit_free(k);
}

static void any_write_leaves_a_state_that_loads_again(void **unused)
{
    struct kit *k = kit_new();
    uint64_t seed = 1;
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned csr = 0; csr < 4096; csr++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            try_write(k, csr, seed ^ seed >> 29);
        }
        for (unsigned csr = 0; csr < 4096; csr++) {
            /* what reads back is legal: writing it again changes nothing */
            if (!try_read(k, csr) || csr == SEED || (csr & 0xfe0) == 0xb00)
                continue;
            uint64_t v = rd(k, csr);
            if (try_write(k, csr, v))
                assert_int_equal(rd(k, csr), v);
        }
    }
    struct bytes saved = { 0 }, again = { 0 };
    size_t pos = 0;
    state_save(&saved, &riscv64_target.state, 1, k->r);
    assert_null(state_load(saved.at, saved.n, &pos, &riscv64_target.state, 1, k->r));
    riscv64_target.vcpu_loaded(k->cpu);
    state_save(&again, &riscv64_target.state, 1, k->r);
    assert_int_equal(saved.n, again.n);
    bytes_free(&saved);
    bytes_free(&again);
    kit_free(k);
}

static void mpp_never_becomes_the_reserved_mode(void **unused)
{
    struct kit *k = kit_new();
    for (uint64_t mpp = 0; mpp < 4; mpp++) {
        wr(k, MSTATUS, (uint64_t)1 << 11);
        assert_int_equal(bits(wrrd(k, MSTATUS, mpp << 11), 11, 2), mpp == 2 ? 1 : mpp);
    }
    kit_free(k);
}

static void sd_follows_fs(void **unused)
{
    struct kit *k = kit_new();
    for (uint64_t fs = 0; fs < 4; fs++) {
        wr(k, MSTATUS, fs << 13);
        assert_int_equal(rd(k, MSTATUS) >> 63, fs == 3);
        assert_int_equal(rd(k, SSTATUS) >> 63, fs == 3);
        assert_int_equal(!!(k->r->flags & RV_FLAG_FS_ON), fs != 0);
        assert_int_equal(!!(k->r->flags & RV_FLAG_FS_DIRTY), fs == 3);
    }
    kit_free(k);
    k = kit_with("rv64,f=off");
    assert_int_equal(wrrd(k, MSTATUS, RV_MSTATUS_FS) & RV_MSTATUS_FS, 0);
    kit_free(k);
}

static void sstatus_changes_only_its_part_of_mstatus(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MSTATUS, RV_MSTATUS_MPP | RV_MSTATUS_MPIE | RV_MSTATUS_TVM);
    wr(k, SSTATUS, all_ones);
    wr(k, SSTATUS, 0);
    assert_int_equal(rd(k, MSTATUS) & ~(RV_MSTATUS_UXL | RV_MSTATUS_SXL),
                     RV_MSTATUS_MPP | RV_MSTATUS_MPIE | RV_MSTATUS_TVM);
    kit_free(k);
}

static void floating_point_csrs_need_fs(void **unused)
{
    struct kit *k = kit_new();
    assert_false(try_read(k, FCSR));
    wr(k, MSTATUS, (uint64_t)1 << 13);
    k->fp_flags = 5;
    assert_int_equal(rd(k, FCSR), 5);
    assert_int_equal(rd(k, MSTATUS) & RV_MSTATUS_FS, (uint64_t)1 << 13);
    wr(k, FCSR, 0x7f);
    assert_int_equal(k->fp_flags, 31);
    assert_int_equal(rv_flags_frm(k->r->flags), 3);
    assert_int_equal(k->roundings, 1);
    assert_int_equal(rd(k, MSTATUS) & RV_MSTATUS_FS, RV_MSTATUS_FS);
    kit_free(k);
}

static void misa_names_the_single_letters(void **unused)
{
    struct kit *k = kit_new();
    uint64_t gc = 0;
    for (const char *c = "IMAFDCSU"; *c; c++)
        gc |= (uint64_t)1 << (*c - 'A');
    assert_int_equal(rd(k, MISA), (uint64_t)2 << 62 | gc);
    wr(k, MISA, 0);
    assert_int_equal(rd(k, MISA), (uint64_t)2 << 62 | gc);
    kit_free(k);
}

static void satp_ignores_modes_that_are_not_there(void **unused)
{
    struct kit *k = kit_with("rv64,sv57=off");
    uint64_t sv48 = (uint64_t)RV_SV48 << 60 | 0x1234;
    assert_int_equal(wrrd(k, SATP, sv48), sv48);
    for (uint64_t bad = 0; bad < 16; bad++)
        if (bad != RV_BARE && bad != RV_SV39 && bad != RV_SV48)
            assert_int_equal(wrrd(k, SATP, bad << 60), sv48);
    assert_int_equal(wrrd(k, SATP, 0), 0);
    kit_free(k);
}

static void counters_open_mode_by_mode(void **unused)
{
    static const uint16_t csrs[] = { CYCLE, TIME, INSTRET, HPMCOUNTER3 };
    struct kit *k = kit_new();
    for (unsigned i = 0; i < ARRAY_LEN(csrs); i++) {
        for (unsigned open = 0; open < 4; open++) {
            mode(k, RV_M);
            wr(k, MCOUNTEREN, (uint64_t)(open & 1) << i);
            wr(k, SCOUNTEREN, (uint64_t)(open >> 1) << i);
            assert_true(try_read(k, csrs[i]));
            mode(k, RV_S);
            assert_int_equal(try_read(k, csrs[i]), open & 1);
            mode(k, RV_U);
            assert_int_equal(try_read(k, csrs[i]), open == 3);
        }
    }
    kit_free(k);
}

static void cycle_follows_guest_time_and_stands_while_inhibited(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MCYCLE, 100);
    board_advance_ns(k->b, 50);
    assert_int_equal(rd(k, CYCLE), 150);
    wr(k, MCOUNTINHIBIT, 1);
    board_advance_ns(k->b, 50);
    assert_int_equal(rd(k, CYCLE), 150);
    wr(k, MCOUNTINHIBIT, 0);
    board_advance_ns(k->b, 7);
    assert_int_equal(rd(k, CYCLE), 157);
    kit_free(k);
}

static void time_is_ten_megahertz(void **unused)
{
    struct kit *k = kit_new();
    uint64_t before = rd(k, TIME);
    board_advance_ns(k->b, 5000);
    assert_int_equal(rd(k, TIME) - before, 50);
    kit_free(k);
}

static void reading_instret_first_asks_for_exact_counting(void **unused)
{
    struct kit *k = kit_new();
    assert_int_equal(OUTCOME(rvh_csr_read(k->r, CYCLE)), CAME_BACK);
    assert_false(k->counting);
    assert_int_equal(OUTCOME(rvh_csr_read(k->r, MINSTRET)), LEFT);
    assert_true(k->counting);
    assert_true(k->r->flags & RV_FLAG_COUNT);
    assert_int_equal(k->r->pc, k->insn_pc);
    assert_int_equal(OUTCOME(rvh_csr_read(k->r, MINSTRET)), CAME_BACK);
    wr(k, MINSTRET, 10);
    k->n_insns += 5;
    assert_int_equal(rd(k, INSTRET), 15);
    kit_free(k);
}

static void a_counter_that_overflows_interrupts_once(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MHPMEVENT3, 1);
    wr(k, MHPMCOUNTER3, (uint64_t)-100);
    board_advance_ns(k->b, 99);
    assert_int_equal(rd(k, HPMCOUNTER3), all_ones);
    assert_int_equal(rd(k, MIP), 0);
    board_advance_ns(k->b, 2);
    assert_int_equal(rd(k, HPMCOUNTER3), 1);
    assert_int_equal(rd(k, MIP), RV_BIT(RV_LCOFI));
    assert_int_equal(rd(k, SCOUNTOVF), 1 << 3);
    assert_int_equal(rd(k, MHPMEVENT3), (uint64_t)1 << 63 | 1);
    wr(k, MIP, 0);
    wr(k, MHPMCOUNTER3, all_ones);
    board_advance_ns(k->b, 2);
    assert_int_equal(rd(k, MIP), 0);
    mode(k, RV_S);
    assert_int_equal(rd(k, SCOUNTOVF), 0); /* mcounteren hides it */
    kit_free(k);
}

static void a_counter_counts_in_the_modes_it_is_told_to(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MHPMCOUNTER3, 0);
    wr(k, MHPMEVENT3, (uint64_t)1 << 62 | 2); /* not in M-mode; instructions */
    k->n_insns += 100;
    assert_int_equal(rd(k, MHPMCOUNTER3), 0);
    mode(k, RV_S);
    k->n_insns += 10;
    mode(k, RV_M);
    k->n_insns += 100;
    assert_int_equal(rd(k, MHPMCOUNTER3), 10);
    kit_free(k);
}

static void the_seed_is_there_for_writers_only(void **unused)
{
    struct kit *k = kit_new();
    assert_false(try_read(k, SEED));
    uint64_t v;
    assert_true(riscv_csr_access(k->r, SEED, true, true, 0, all_ones, &v));
    assert_int_equal(v >> 30, 2);
    mode(k, RV_S);
    assert_false(try_write(k, SEED, 0));
    k->r->mseccfg = RV_MSECCFG_SSEED;
    assert_true(try_write(k, SEED, 0));
    mode(k, RV_U);
    assert_false(try_write(k, SEED, 0));
    k->r->mseccfg = RV_MSECCFG_USEED;
    assert_true(try_write(k, SEED, 0));
    kit_free(k);
}

static void tvm_closes_satp_and_fences(void **unused)
{
    struct kit *k = kit_new();
    mode(k, RV_S);
    assert_true(try_read(k, SATP));
    assert_int_equal(OUTCOME(rvh_sfence_vma(k->r, 0, 0, 0)), CAME_BACK);
    k->r->mstatus |= RV_MSTATUS_TVM;
    assert_false(try_read(k, SATP));
    assert_int_equal(OUTCOME(rvh_sfence_vma(k->r, 0, 0, 0)), LEFT);
    assert_int_equal(k->r->mcause, RV_ILLEGAL);
    kit_free(k);
}

static void an_illegal_csr_access_reports_the_instruction(void **unused)
{
    struct kit *k = kit_new();
    uint32_t insn = 0x12345073;
    board_ram_write(k->b, 0x100, &insn, 4);
    assert_int_equal(OUTCOME(rvh_csr_read(k->r, 0x123)), LEFT);
    assert_int_equal(k->r->mcause, RV_ILLEGAL);
    assert_int_equal(k->r->mtval, insn);
    assert_int_equal(k->r->mepc, k->insn_pc);
    kit_free(k);
}

static void stimecmp_raises_and_lowers_stip(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MIP, RV_BIT(RV_STI)); /* software's own while Sstc is off */
    assert_int_equal(rd(k, MIP), RV_BIT(RV_STI));
    wr(k, MENVCFG, RV_ENVCFG_STCE);
    assert_int_equal(rd(k, MIP), 0);
    wr(k, STIMECMP, rd(k, TIME) + 10);
    board_advance_ns(k->b, 999);
    assert_int_equal(rd(k, MIP), 0);
    board_advance_ns(k->b, 1);
    assert_int_equal(rd(k, MIP), RV_BIT(RV_STI));
    wr(k, MIP, 0); /* read-only now */
    assert_int_equal(rd(k, MIP), RV_BIT(RV_STI));
    wr(k, STIMECMP, all_ones);
    assert_int_equal(rd(k, MIP), 0);
    wr(k, STIMECMP, 0);
    assert_int_equal(rd(k, MIP), RV_BIT(RV_STI));
    kit_free(k);
}

static void stimecmp_is_closed_to_s_mode_unless_enabled(void **unused)
{
    struct kit *k = kit_new();
    for (unsigned open = 0; open < 4; open++) {
        mode(k, RV_M);
        wr(k, MENVCFG, open & 1 ? RV_ENVCFG_STCE : 0);
        wr(k, MCOUNTEREN, open & 2);
        mode(k, RV_S);
        assert_int_equal(try_write(k, STIMECMP, 1), open == 3);
    }
    kit_free(k);
}

static void sip_and_sie_show_what_is_delegated(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MIE, all_ones);
    wr(k, MIP, all_ones);
    assert_int_equal(rd(k, SIE), 0);
    assert_int_equal(rd(k, SIP), 0);
    wr(k, MIDELEG, all_ones);
    assert_int_equal(rd(k, SIE), 0x2222);
    assert_int_equal(rd(k, SIP), 0x2222);
    wr(k, SIP, 0); /* S-mode may clear SSIP and LCOFIP only */
    assert_int_equal(rd(k, MIP), RV_BIT(RV_STI) | RV_BIT(RV_SEI));
    wr(k, SIE, 0);
    assert_int_equal(rd(k, MIE), 0x888);
    kit_free(k);
}

static void clearing_mip_does_not_copy_the_wire_into_software_seip(void **unused)
{
    struct kit *k = kit_new();
    riscv_set_irq(k->cpu, RV_SEI, true);
    assert_int_equal(rvh_csr_set(k->r, MIP, RV_BIT(RV_SSI)), RV_BIT(RV_SEI));
    riscv_set_irq(k->cpu, RV_SEI, false);
    assert_int_equal(rd(k, MIP), RV_BIT(RV_SSI));
    kit_free(k);
}

/* ---- PMP -------------------------------------------------------------------------------------------- */

enum { A_OFF = 0, A_TOR = 1 << 3, A_NA4 = 2 << 3, A_NAPOT = 3 << 3, L = 128, R = 1, W = 2, X = 4 };

static void pmp_entries_match_as_specified(void **unused)
{
    static const struct {
        struct {
            uint8_t cfg;
            uint64_t addr; /* byte address; NAPOT: with the size in `size` */
            uint64_t size;
        } e[3];
        uint64_t pa;
        unsigned priv, rights;
        uint64_t block; /* largest within 4 KiB around pa with one answer */
    } cases[] = {
        { { { 0 } }, 0x80001000, RV_S, 0, 4096 },
        { { { 0 } }, 0x80001000, RV_M, 7, 4096 },
        { { { A_NAPOT | R, 0x80001000, 4096 } }, 0x80001234, RV_S, R, 4096 },
        { { { A_NAPOT | R, 0x80001000, 4096 } }, 0x80002000, RV_S, 0, 4096 },
        { { { A_NAPOT | R, 0x80001000, 4096 } }, 0x80001234, RV_M, 7, 4096 },
        { { { A_NAPOT | R | L, 0x80001000, 4096 } }, 0x80001234, RV_M, R, 4096 },
        { { { A_NAPOT | R, 0x80001000, 64 } }, 0x80001020, RV_U, R, 64 },
        { { { A_NAPOT | R, 0x80001000, 64 } }, 0x80001040, RV_U, 0, 64 },
        { { { A_NAPOT | R, 0x80001000, 64 } }, 0x80001800, RV_U, 0, 2048 },
        { { { A_NA4 | R | W, 0x80001004 } }, 0x80001007, RV_U, R | W, 4 },
        { { { A_NA4 | R | W, 0x80001004 } }, 0x80001008, RV_U, 0, 8 },
        { { { A_TOR | X, 0x80000000 } }, 0x7fffffff, RV_U, X, 4096 },
        { { { A_TOR | X, 0x80000000 } }, 0x80000000, RV_U, 0, 4096 },
        { { { A_OFF, 0x80000000 }, { A_TOR | R, 0x80000800 } }, 0x80000400, RV_U, R, 2048 },
        { { { A_OFF, 0x80000000 }, { A_TOR | R, 0x80000800 } }, 0x80000800, RV_U, 0, 2048 },
        { { { A_OFF, 0x80000000 }, { A_TOR | R, 0x80000000 } }, 0x80000000, RV_U, 0, 4096 },
        { { { A_NAPOT, 0x80000000, 65536 }, { A_NAPOT | R | W | X, 0, (uint64_t)1 << 56 } },
          0x80008000,
          RV_S,
          0,
          4096 },
        { { { A_NAPOT, 0x80000000, 65536 }, { A_NAPOT | R | W | X, 0, (uint64_t)1 << 56 } },
          0x80010000,
          RV_S,
          7,
          4096 },
        { { { A_NAPOT, 0x80000000, 65536 }, { A_NAPOT | R | W | X, 0, (uint64_t)1 << 56 } },
          0x80008000,
          RV_M,
          7,
          4096 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit *k = kit_new();
        for (unsigned e = 0; e < 3; e++) {
            uint64_t addr = cases[i].e[e].addr >> 2;
            if ((cases[i].e[e].cfg & (3 << 3)) == A_NAPOT)
                addr |= (cases[i].e[e].size >> 3) - 1;
            wr(k, PMPADDR0 + e, addr);
            riscv_pmp_set_cfg(k->r, e, cases[i].e[e].cfg);
        }
        riscv_pmp_changed(k->r);
        uint64_t block = 4096;
        unsigned rights = riscv_pmp_rights(k->r, cases[i].pa, cases[i].priv, &block);
        if (rights != cases[i].rights || block != cases[i].block)
            print_message("# case %zu\n", i);
        assert_int_equal(rights, cases[i].rights);
        assert_int_equal(block, cases[i].block);
        kit_free(k);
    }
}

static void locked_pmp_entries_stay(void **unused)
{
    struct kit *k = kit_new();
    wr(k, PMPADDR0, 100);
    wr(k, PMPADDR0 + 1, 200);
    wr(k, PMPCFG0, (uint64_t)(A_TOR | L | R) << 8 | A_NAPOT | R);
    wr(k, PMPCFG0, 0);
    assert_int_equal(rd(k, PMPCFG0), (A_TOR | L | R) << 8);
    assert_int_equal(wrrd(k, PMPADDR0 + 1, 5), 200);
    assert_int_equal(wrrd(k, PMPADDR0, 5), 100); /* the bottom of a locked range */
    assert_true(k->flushes > 0);
    kit_free(k);
}

static void pmp_registers_are_warl(void **unused)
{
    struct kit *k = kit_new();
    assert_int_equal(wrrd(k, PMPADDR0, all_ones), ((uint64_t)1 << 54) - 1);
    assert_int_equal(wrrd(k, PMPCFG0, W | 0x60),
                     0);                    /* W without R is reserved; bits 5 and 6 are 0 */
    assert_false(try_read(k, PMPCFG0 + 1)); /* odd on RV64 */
    assert_false(try_read(k, PMPADDR0 + 16));
    assert_false(try_read(k, PMPCFG0 + 4));
    kit_free(k);
    k = kit_with("rv64,num-pmp-regions=64");
    assert_true(try_read(k, PMPADDR0 + 63));
    kit_free(k);
}

/* ---- address translation ------------------------------------------------------------------------------ */

#define P_V       1ull
#define P_R       2ull
#define P_W       4ull
#define P_X       8ull
#define P_U       16ull
#define P_G       32ull
#define P_A       64ull
#define P_D       128ull
#define P_RWXAD   (P_V | P_R | P_W | P_X | P_A | P_D)
#define P_PBMT(n) ((uint64_t)(n) << 61)
#define P_N       ((uint64_t)1 << 63)

enum { ROOT = 0x100000, NEXT_TABLE = 0x1000 }; /* offsets in RAM */

static uint64_t pte_for(uint64_t pa, uint64_t flags)
{
    return pa >> 12 << 10 | flags;
}

static uint64_t pte_addr(unsigned depth, uint64_t va, unsigned level)
{
    return ROOT + depth * NEXT_TABLE + bits(va, 12 + 9 * level, 9) * 8;
}

/* A page table in which va has a leaf at `level`; gives the RAM offset of the leaf. */
static uint64_t map(struct kit *k, unsigned satp_mode, uint64_t va, unsigned level, uint64_t pte)
{
    unsigned top = 2 + satp_mode - RV_SV39, depth = 0;
    for (unsigned at = top; at > level; at--, depth++) {
        uint64_t next = pte_for(BOARD_RAM + ROOT + (depth + 1) * NEXT_TABLE, P_V);
        board_ram_write(k->b, pte_addr(depth, va, at), &next, 8);
    }
    uint64_t leaf = pte_addr(depth, va, level);
    board_ram_write(k->b, leaf, &pte, 8);
    k->r->satp = (uint64_t)satp_mode << 60 | (BOARD_RAM + ROOT) >> 12;
    return leaf;
}

static uint64_t pte_now(struct kit *k, uint64_t leaf)
{
    uint64_t pte;
    board_ram_read(k->b, leaf, &pte, 8);
    return pte;
}

/* One PMP entry that allows everything, S-mode. */
static struct kit *paging_kit(const char *model)
{
    struct kit *k = kit_with(model);
    if (k->r->model->n_pmp) {
        wr(k, PMPADDR0, all_ones);
        wr(k, PMPCFG0, A_NAPOT | R | W | X);
    }
    mode(k, RV_S);
    return k;
}

static int fault_of(struct kit *k, uint64_t va, enum access access)
{
    struct tlb_fill out;
    return riscv_translate_address(k->cpu, va, access, 0, &out) ? 0 : out.fault;
}

static void every_mode_and_page_size_translates(void **unused)
{
    for (unsigned m = RV_SV39; m <= RV_SV57; m++) {
        unsigned levels = 3 + m - RV_SV39;
        for (unsigned level = 0; level < levels; level++) {
            for (unsigned high = 0; high < 2; high++) {
                struct kit *k = paging_kit(NULL);
                uint64_t size = (uint64_t)4096 << 9 * level;
                uint64_t va = (high ? -((uint64_t)1 << (11 + 9 * levels)) : 0) + size * 3;
                uint64_t pa = size * 5 & (((uint64_t)1 << 56) - 1);
                struct tlb_fill out;
                map(k, m, va, level, pte_for(pa, P_RWXAD | P_G));
                assert_true(riscv_translate_address(k->cpu, va + 0xabc, ACCESS_READ, 0, &out));
                assert_int_equal(out.gpa, pa + 0xabc);
                assert_int_equal(out.page_size, size);
                assert_true(out.r && out.w && out.x && out.global && !out.user);
                assert_int_equal(fault_of(k, va - size, ACCESS_READ), RV_LOAD_PAGE);
                kit_free(k);
            }
        }
    }
}

static void addresses_must_be_sign_extended(void **unused)
{
    for (unsigned m = RV_SV39; m <= RV_SV57; m++) {
        struct kit *k = paging_kit(NULL);
        unsigned va_bits = 39 + 9 * (m - RV_SV39);
        map(k, m, 0x1000, 0, pte_for(BOARD_RAM, P_RWXAD));
        assert_int_equal(fault_of(k, 0x1000, ACCESS_READ), 0);
        for (unsigned bit = va_bits; bit < 64; bit++) {
            assert_int_equal(fault_of(k, 0x1000 | (uint64_t)1 << bit, ACCESS_READ), RV_LOAD_PAGE);
            assert_int_equal(fault_of(k, 0x1000 | (uint64_t)1 << bit, ACCESS_EXEC), RV_INSN_PAGE);
        }
        kit_free(k);
    }
}

static void reserved_encodings_fault(void **unused)
{
    static const struct {
        unsigned level;
        uint64_t pte;
        uint64_t menvcfg;
        bool ok;
    } cases[] = {
        { 0, P_RWXAD, 0, true },
        { 0, P_RWXAD & ~P_V, 0, false },
        { 0, P_V | P_W | P_A | P_D, 0, false },
        { 0, P_V | P_W | P_X | P_A | P_D, 0, false },
        { 0, P_V, 0, false }, /* a pointer at the last level */
        { 0, P_RWXAD | (uint64_t)1 << 54, 0, false },
        { 0, P_RWXAD | (uint64_t)1 << 60, 0, false },
        { 0, P_RWXAD | P_PBMT(1), 0, false }, /* not enabled */
        { 0, P_RWXAD | P_PBMT(1), RV_ENVCFG_PBMTE, true },
        { 0, P_RWXAD | P_PBMT(2), RV_ENVCFG_PBMTE, true },
        { 0, P_RWXAD | P_PBMT(3), RV_ENVCFG_PBMTE, false },
        { 1, P_RWXAD | P_PBMT(2), RV_ENVCFG_PBMTE, true },
        { 0, P_RWXAD | P_N, 0, false }, /* ppn[3:0] must be 8 */
        { 0, P_RWXAD | P_N | 8 << 10, 0, true },
        { 0, P_RWXAD | P_N | 9 << 10, 0, false },
        { 0, P_RWXAD | P_N | 4 << 10, 0, false },
        { 1, P_RWXAD | P_N | 8 << 10, 0, false },
        { 1, P_RWXAD, 0, true },
        { 1, P_RWXAD | 1 << 10, 0, false }, /* misaligned superpages */
        { 1, P_RWXAD | 1 << 18, 0, false },
        { 1, P_RWXAD | 1 << 19, 0, true },
        { 2, P_RWXAD | 1 << 27, 0, false },
        { 2, P_RWXAD | 1 << 28, 0, true },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit *k = paging_kit(NULL);
        k->r->menvcfg = cases[i].menvcfg;
        map(k, RV_SV39, 0x40000000, cases[i].level, cases[i].pte);
        if (fault_of(k, 0x40000000, ACCESS_READ) != (cases[i].ok ? 0 : RV_LOAD_PAGE))
            print_message("# case %zu\n", i);
        assert_int_equal(fault_of(k, 0x40000000, ACCESS_READ), cases[i].ok ? 0 : RV_LOAD_PAGE);
        assert_int_equal(fault_of(k, 0x40000000, ACCESS_WRITE), cases[i].ok ? 0 : RV_STORE_PAGE);
        kit_free(k);
    }
}

static void pointers_with_leaf_bits_fault(void **unused)
{
    static const uint64_t extra[] = { P_U, P_A, P_D, P_N, P_PBMT(1) };
    for (size_t i = 0; i < ARRAY_LEN(extra); i++) {
        struct kit *k = paging_kit(NULL);
        k->r->menvcfg = RV_ENVCFG_PBMTE;
        map(k, RV_SV39, 0x1000, 0, pte_for(BOARD_RAM, P_RWXAD));
        uint64_t pointer = pte_now(k, ROOT) | extra[i];
        board_ram_write(k->b, ROOT, &pointer, 8);
        assert_int_equal(fault_of(k, 0x1000, ACCESS_READ), RV_LOAD_PAGE);
        kit_free(k);
    }
}

static void napot_pages_are_64_kib(void **unused)
{
    struct kit *k = paging_kit(NULL);
    struct tlb_fill out;
    map(k, RV_SV39, 0x23000, 0, pte_for(0x80058000, P_RWXAD | P_N));
    assert_true(riscv_translate_address(k->cpu, 0x23456, ACCESS_READ, 0, &out));
    assert_int_equal(out.gpa, 0x80053456);
    assert_int_equal(out.page_size, 65536);
    kit_free(k);
    k = paging_kit("rv64,svnapot=off");
    map(k, RV_SV39, 0x23000, 0, pte_for(0x80058000, P_RWXAD | P_N));
    assert_int_equal(fault_of(k, 0x23456, ACCESS_READ), RV_LOAD_PAGE);
    kit_free(k);
}

static void rights_depend_on_mode_sum_and_mxr(void **unused)
{
    static const struct {
        uint64_t pte, status;
        unsigned priv;
        bool r, w, x;
    } cases[] = {
        { P_R | P_W | P_X, 0, RV_S, 1, 1, 1 },
        { P_R | P_W | P_X, 0, RV_U, 0, 0, 0 },
        { P_R | P_W | P_X | P_U, 0, RV_U, 1, 1, 1 },
        { P_R | P_W | P_X | P_U, 0, RV_S, 0, 0, 0 },
        { P_R | P_W | P_X | P_U, RV_MSTATUS_SUM, RV_S, 1, 1, 0 },
        { P_R, 0, RV_S, 1, 0, 0 },
        { P_X, 0, RV_S, 0, 0, 1 },
        { P_X, RV_MSTATUS_MXR, RV_S, 1, 0, 1 },
        { P_X | P_U, RV_MSTATUS_MXR, RV_S, 0, 0, 0 },
        { P_X | P_U, RV_MSTATUS_MXR | RV_MSTATUS_SUM, RV_S, 1, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit *k = paging_kit(NULL);
        map(k, RV_SV39, 0x1000, 0, pte_for(BOARD_RAM, cases[i].pte | P_V | P_A | P_D));
        k->r->mstatus |= cases[i].status;
        mode(k, cases[i].priv);
        assert_int_equal(fault_of(k, 0x1000, ACCESS_READ), cases[i].r ? 0 : RV_LOAD_PAGE);
        assert_int_equal(fault_of(k, 0x1000, ACCESS_WRITE), cases[i].w ? 0 : RV_STORE_PAGE);
        assert_int_equal(fault_of(k, 0x1000, ACCESS_EXEC), cases[i].x ? 0 : RV_INSN_PAGE);
        kit_free(k);
    }
}

static void mprv_makes_data_accesses_those_of_mpp(void **unused)
{
    struct kit *k = paging_kit(NULL);
    mode(k, RV_M);
    map(k, RV_SV39, 0x1000, 0, pte_for(BOARD_RAM + 0x2000, P_RWXAD | P_U));
    struct tlb_fill out;
    assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_READ, 0, &out));
    assert_int_equal(out.gpa, 0x1000);
    uint64_t fetch = riscv_context_key(k->cpu, -1);
    wr(k, MSTATUS, RV_MSTATUS_MPRV); /* MPP = U */
    assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_READ, 0, &out));
    assert_int_equal(out.gpa, BOARD_RAM + 0x2000);
    assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_EXEC, 0, &out));
    assert_int_equal(out.gpa, 0x1000);
    assert_int_equal(riscv_context_key(k->cpu, -1), fetch);
    kit_free(k);
}

static void svadu_sets_accessed_and_dirty(void **unused)
{
    struct kit *k = paging_kit(NULL);
    uint64_t clean = pte_for(BOARD_RAM, P_V | P_R | P_W | P_X);
    uint64_t leaf = map(k, RV_SV39, 0x1000, 0, clean);
    struct tlb_fill out;
    assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_READ, 0, &out));
    assert_true(out.r && !out.w); /* the first store is to come here again */
    assert_int_equal(pte_now(k, leaf), clean | P_A);
    assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_WRITE, 0, &out));
    assert_true(out.w);
    assert_int_equal(pte_now(k, leaf), clean | P_A | P_D);
    k->r->menvcfg = 0;
    board_ram_write(k->b, leaf, &clean, 8);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_READ), RV_LOAD_PAGE);
    clean |= P_A;
    board_ram_write(k->b, leaf, &clean, 8);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_EXEC), 0);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_WRITE), RV_STORE_PAGE);
    assert_int_equal(pte_now(k, leaf), clean);
    kit_free(k);
}

static void a_denied_access_sets_no_bits(void **unused)
{
    struct kit *k = paging_kit(NULL);
    uint64_t pte = pte_for(BOARD_RAM, P_V | P_R);
    uint64_t leaf = map(k, RV_SV39, 0x1000, 0, pte);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_WRITE), RV_STORE_PAGE);
    assert_int_equal(pte_now(k, leaf), pte);
    kit_free(k);
}

static void tables_outside_ram_are_access_faults(void **unused)
{
    struct kit *k = paging_kit(NULL);
    k->r->satp = (uint64_t)RV_SV39 << 60 | BOARD_MSI >> 12;
    assert_int_equal(fault_of(k, 0x1000, ACCESS_READ), RV_LOAD_ACCESS);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_WRITE), RV_STORE_ACCESS);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_EXEC), RV_INSN_ACCESS);
    k->r->satp = (uint64_t)RV_SV39 << 60 | (((uint64_t)1 << 44) - 1);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_READ), RV_LOAD_ACCESS);
    kit_free(k);
}

/* Entry 0 covers `size` bytes at off with cfg, entry 1 allows all. */
static void protect(struct kit *k, uint64_t off, uint64_t size, uint8_t cfg)
{
    mode(k, RV_M);
    wr(k, PMPADDR0, (BOARD_RAM + off) >> 2 | (size / 8 - 1));
    wr(k, PMPADDR0 + 1, all_ones);
    wr(k, PMPCFG0, (uint64_t)(A_NAPOT | R | W | X) << 8 | A_NAPOT | cfg);
    mode(k, RV_S);
}

static void pmp_guards_walks_and_leaves(void **unused)
{
    struct kit *k = paging_kit(NULL);
    struct tlb_fill out;
    uint64_t leaf = map(k, RV_SV39, 0x200000, 1, pte_for(BOARD_RAM, P_V | P_R | P_W));
    protect(k, ROOT, 4096, 0);
    assert_int_equal(fault_of(k, 0x200000, ACCESS_READ), RV_LOAD_ACCESS);
    protect(k, leaf & ~(uint64_t)4095, 4096, R); /* the table can be read, A cannot be set */
    assert_int_equal(fault_of(k, 0x200000, ACCESS_READ), RV_LOAD_ACCESS);
    protect(k, 0x10000, 4096, R);
    assert_int_equal(fault_of(k, 0x210000, ACCESS_READ), 0);
    assert_int_equal(fault_of(k, 0x210000, ACCESS_WRITE), RV_STORE_ACCESS);
    assert_true(riscv_translate_address(k->cpu, 0x210000, ACCESS_READ, 0, &out));
    assert_int_equal(out.page_size, 4096);
    assert_false(out.w);
    assert_true(riscv_translate_address(k->cpu, 0x200000, ACCESS_WRITE, 0, &out));
    assert_int_equal(out.page_size, 65536);
    protect(k, 0x10000, 64, R);
    assert_true(riscv_translate_address(k->cpu, 0x210000, ACCESS_READ, 0, &out));
    assert_int_equal(out.page_size, 1);
    kit_free(k);
}

static void contexts_have_keys_of_their_own(void **unused)
{
    struct kit *k = paging_kit(NULL);
    uint64_t keys[64];
    unsigned n = 0;
    mode(k, RV_M);
    keys[n++] = riscv_context_key(k->cpu, 0);
    for (unsigned priv = RV_U; priv <= RV_S; priv++) {
        mode(k, priv);
        for (uint64_t m = RV_SV39; m <= RV_SV57; m++) {
            for (uint64_t asid = 0; asid < (priv == RV_U ? 2 : 1); asid++) {
                for (unsigned mxr = 0; mxr < 2; mxr++) {
                    k->r->satp = m << 60 | (asid ? (uint64_t)0xffff << 44 : 0) | 0x80100;
                    k->r->mstatus = mxr ? RV_MSTATUS_MXR : 0;
                    keys[n++] = riscv_context_key(k->cpu, 0);
                    assert_int_equal(riscv_context_key(k->cpu, -1),
                                     keys[n - 1] & ~((uint64_t)mxr << 60));
                }
            }
        }
    }
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < i; j++)
            assert_int_not_equal(keys[i], keys[j]);
    kit_free(k);
}

static void only_global_mappings_of_a_supervisor_survive_satp(void **unused)
{
    const uint64_t other = (uint64_t)RV_SV39 << 60 | (uint64_t)7 << 44 | 0x80100;
    for (unsigned global = 0; global < 2; global++) {
        struct kit *k = paging_kit(NULL);
        struct tlb_fill out;
        mode(k, RV_S);
        map(k, RV_SV39, 0x1000, 0, pte_for(BOARD_RAM + 0x2000, P_RWXAD | (global ? 1 << 5 : 0)));
        assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_READ, 0, &out));
        uint64_t key = riscv_context_key(k->cpu, 0);
        unsigned flushes = k->context_flushes;
        wr(k, SATP, other);
        assert_int_equal(riscv_context_key(k->cpu, 0), key);
        assert_int_equal(k->context_flushes - flushes, global ? 0 : 1);
        kit_free(k);
    }
}

static void fences_flush_what_they_name(void **unused)
{
    struct kit *k = paging_kit(NULL);
    unsigned flushes = k->flushes;
    rvh_sfence_vma(k->r, 0x1000, 5, 0);
    assert_int_equal(k->flushes, flushes + 1);
    rvh_sfence_vma(k->r, 0x1000, 5, 1);
    rvh_sfence_vma(k->r, 0x1000, 5, 3);
    assert_int_equal(k->page_flushes, 2);
    k->r->satp = (uint64_t)RV_SV57 << 60 | (uint64_t)5 << 44 | 77;
    rvh_sfence_vma(k->r, 0, 5, 2);
    assert_true(k->context_flushes > 0);
    mode(k, RV_U);
    assert_int_equal(riscv_context_key(k->cpu, 0) & k->flush_mask, k->flush_value);
    assert_int_equal(OUTCOME(rvh_sfence_vma(k->r, 0, 0, 0)), LEFT);
    assert_int_equal(k->r->mcause, RV_ILLEGAL);
    kit_free(k);
}

static void what_sum_allowed_goes_with_sum(void **unused)
{
    struct kit *k = paging_kit(NULL);
    struct tlb_fill out;
    map(k, RV_SV39, 0x1000, 0, pte_for(BOARD_RAM, P_RWXAD | P_U));
    riscv_update_flags(k->r);
    wr(k, SSTATUS, RV_MSTATUS_SUM);
    k->drops = 0;
    assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_READ, 0, &out));
    assert_true(out.user);
    assert_int_equal(k->drops, 0);
    wr(k, SSTATUS, 0);
    assert_int_equal(k->drops, 1);
    wr(k, SSTATUS, RV_MSTATUS_SUM);
    k->drops = 0;
    wr(k, SATP, rd(k, SATP) | (uint64_t)3 << 44); /* another context, SUM still on */
    assert_int_equal(k->drops, 1);
    mode(k, RV_U);
    assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_READ, 0, &out));
    assert_false(out.user); /* U-mode's own pages stay */
    kit_free(k);
}

static void cache_block_operations_ask_for_rights(void **unused)
{
    struct kit *k = paging_kit(NULL);
    for (unsigned kind = RV_CBO_INVAL; kind <= RV_CBO_ZERO; kind++) {
        k->r->menvcfg = 0;
        mode(k, RV_S);
        assert_int_equal(OUTCOME(rvh_cbo(k->r, BOARD_RAM, kind)), LEFT);
        k->r->menvcfg = RV_ENVCFG_CBIE | RV_ENVCFG_CBCFE | RV_ENVCFG_CBZE;
        mode(k, RV_S);
        assert_int_equal(OUTCOME(rvh_cbo(k->r, BOARD_RAM, kind)), CAME_BACK);
        mode(k, RV_U);
        assert_int_equal(OUTCOME(rvh_cbo(k->r, BOARD_RAM, kind)), LEFT);
    }
    mode(k, RV_S);
    map(k, RV_SV39, 0x1000, 0, pte_for(BOARD_RAM, P_V | P_R | P_A));
    assert_int_equal(OUTCOME(rvh_cbo(k->r, 0x1010, RV_CBO_FLUSH)), CAME_BACK);
    assert_int_equal(OUTCOME(rvh_cbo(k->r, 0x3010, RV_CBO_FLUSH)), LEFT);
    assert_int_equal(k->r->mcause, RV_STORE_PAGE);
    assert_int_equal(k->r->mtval, 0x3010);
    kit_free(k);
}

static void cbo_zero_clears_its_block_only(void **unused)
{
    struct kit *k = paging_kit(NULL);
    uint8_t page[256], want[256];
    memset(page, 0xff, sizeof(page));
    memset(want, 0xff, sizeof(want));
    memset(want + 64, 0, 64);
    board_ram_write(k->b, 0, page, sizeof(page));
    mode(k, RV_M);
    assert_int_equal(OUTCOME(rvh_cbo(k->r, BOARD_RAM + 64 + 13, RV_CBO_ZERO)), CAME_BACK);
    board_ram_read(k->b, 0, page, sizeof(page));
    assert_memory_equal(page, want, sizeof(page));
    kit_free(k);
}

/* ---- traps ------------------------------------------------------------------------------------------- */

static void exceptions_go_where_they_are_delegated(void **unused)
{
    for (unsigned cause = 0; cause < 16; cause++) {
        for (unsigned from = RV_U; from <= RV_M; from += from == RV_S ? 2 : 1) {
            for (unsigned delegated = 0; delegated < 2; delegated++) {
                struct kit *k = kit_new();
                wr(k, MEDELEG, delegated ? all_ones : 0);
                bool to_s = from != RV_M && (rd(k, MEDELEG) >> cause & 1);
                wr(k, MTVEC, 0x80000101); /* vectored: exceptions still go to the base */
                wr(k, STVEC, 0x80000201);
                wr(k, MSTATUS, RV_MSTATUS_MIE | RV_MSTATUS_SIE);
                mode(k, from);
                riscv_trap(k->r, cause, 0x1234, 0x5678);
                assert_int_equal(k->r->priv, to_s ? RV_S : RV_M);
                assert_int_equal(rv_flags_priv(k->r->flags), k->r->priv);
                assert_int_equal(k->r->pc, to_s ? 0x80000200 : 0x80000100);
                assert_int_equal(to_s ? k->r->scause : k->r->mcause, cause);
                assert_int_equal(to_s ? k->r->sepc : k->r->mepc, 0x1234);
                assert_int_equal(to_s ? k->r->stval : k->r->mtval, 0x5678);
                uint64_t s = k->r->mstatus;
                if (to_s)
                    assert_true(!(s & RV_MSTATUS_SIE) && (s & RV_MSTATUS_SPIE) &&
                                (s & RV_MSTATUS_MIE) && !!(s & RV_MSTATUS_SPP) == (from == RV_S));
                else
                    assert_true(!(s & RV_MSTATUS_MIE) && (s & RV_MSTATUS_MPIE) &&
                                (s & RV_MSTATUS_SIE) && bits(s, 11, 2) == from);
                kit_free(k);
            }
        }
    }
}

static void interrupts_are_taken_by_priority(void **unused)
{
    static const uint8_t order[] = { RV_MEI, RV_MSI, RV_MTI, RV_SEI, RV_SSI, RV_STI, RV_LCOFI };
    struct kit *k = kit_new();
    wr(k, MIE, all_ones);
    wr(k, MSTATUS, RV_MSTATUS_MIE);
    wr(k, MTVEC, 0x80000001);
    for (unsigned set = 1; set < 1 << ARRAY_LEN(order); set++) {
        uint64_t pending = 0;
        for (unsigned i = 0; i < ARRAY_LEN(order); i++)
            if (set >> i & 1)
                pending |= RV_BIT(order[i]);
        k->r->mip = pending & 0x2222;
        k->r->mip_lines = pending & ~(uint64_t)0x2222;
        k->r->mstatus |= RV_MSTATUS_MIE;
        k->r->pc = 0x1000;
        mode(k, RV_M);
        unsigned first = order[__builtin_ctz(set)];
        assert_true(riscv_take_interrupt(k->cpu));
        assert_int_equal(k->r->mcause, RV_CAUSE_INTERRUPT | first);
        assert_int_equal(k->r->pc, 0x80000000 + 4 * first);
        assert_int_equal(k->r->mepc, 0x1000);
        assert_int_equal(k->r->mtval, 0);
        assert_false(riscv_take_interrupt(k->cpu)); /* MIE is off now */
    }
    kit_free(k);
}

static void enables_decide_if_an_interrupt_is_taken(void **unused)
{
    static const struct {
        unsigned priv;
        bool delegated, mie, sie, taken;
    } cases[] = {
        { RV_M, 0, 0, 0, 0 }, { RV_M, 0, 1, 0, 1 }, { RV_M, 0, 0, 1, 0 }, { RV_M, 1, 1, 1, 0 },
        { RV_S, 0, 0, 0, 1 }, { RV_S, 0, 1, 0, 1 }, { RV_S, 1, 1, 0, 0 }, { RV_S, 1, 0, 1, 1 },
        { RV_U, 0, 0, 0, 1 }, { RV_U, 1, 0, 0, 1 }, { RV_U, 1, 1, 1, 1 },
    };
    struct kit *k = kit_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        mode(k, RV_M);
        wr(k, MIE, RV_BIT(RV_SSI));
        wr(k, MIP, RV_BIT(RV_SSI));
        wr(k, MIDELEG, cases[i].delegated ? all_ones : 0);
        wr(k, MSTATUS, (cases[i].mie ? RV_MSTATUS_MIE : 0) | (cases[i].sie ? RV_MSTATUS_SIE : 0));
        mode(k, cases[i].priv);
        assert_true(riscv_has_work(k->cpu)); /* wakes WFI in any case */
        assert_int_equal(riscv_take_interrupt(k->cpu), cases[i].taken);
        if (cases[i].taken)
            assert_int_equal(k->r->priv, cases[i].delegated ? RV_S : RV_M);
    }
    kit_free(k);
}

static void enabling_a_pending_interrupt_makes_the_engine_look(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MIE, RV_BIT(RV_MTI));
    riscv_set_irq(k->cpu, RV_MTI, true);
    k->cpu->requests = 0;
    wr(k, MSTATUS, RV_MSTATUS_MIE);
    assert_true(k->cpu->requests & VCPU_REQ_INTERRUPT);
    kit_free(k);
}

static void mret_and_sret_undo_traps(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MSTATUS, RV_MSTATUS_MPIE | (uint64_t)1 << 11 | RV_MSTATUS_MPRV);
    wr(k, MEPC, 0x80000124);
    k->r->res_addr = 0x80000000;
    assert_int_equal(OUTCOME(rvh_mret(k->r)), CAME_BACK);
    assert_int_equal(k->r->priv, RV_S);
    assert_int_equal(k->r->pc, 0x80000124);
    assert_int_equal(k->r->res_addr, all_ones);
    assert_int_equal(k->r->mstatus & 0xffffffff, RV_MSTATUS_MIE | RV_MSTATUS_MPIE);
    wr(k, SSTATUS, RV_MSTATUS_SPP | RV_MSTATUS_SPIE);
    assert_int_equal(OUTCOME(rvh_sret(k->r)), CAME_BACK);
    assert_int_equal(k->r->priv, RV_S);
    assert_int_equal(rd(k, SSTATUS) & 0xffffffff, RV_MSTATUS_SIE | RV_MSTATUS_SPIE);
    assert_int_equal(OUTCOME(rvh_sret(k->r)), CAME_BACK);
    assert_int_equal(k->r->priv, RV_U);
    kit_free(k);
}

static void returns_and_waits_can_trap(void **unused)
{
    static const struct {
        const struct ir_helper *helper;
        unsigned priv;
        uint64_t status;
        bool traps;
    } cases[] = {
        { &rv_helper_mret, RV_S, 0, true },
        { &rv_helper_mret, RV_U, 0, true },
        { &rv_helper_sret, RV_U, 0, true },
        { &rv_helper_sret, RV_S, RV_MSTATUS_TSR, true },
        { &rv_helper_sret, RV_M, RV_MSTATUS_TSR, false },
        { &rv_helper_wfi, RV_U, 0, true },
        { &rv_helper_wfi, RV_S, RV_MSTATUS_TW, true },
        { &rv_helper_wfi, RV_S, 0, false },
        { &rv_helper_wfi, RV_M, RV_MSTATUS_TW, false },
        { &rv_helper_sfence_inval, RV_U, 0, true },
    };
    for (volatile size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit *k = kit_new();
        wr(k, MSTATUS, cases[i].status);
        k->r->mcause = 99;
        mode(k, cases[i].priv);
        OUTCOME(((uint64_t(*)(struct riscv_cpu *))cases[i].helper->fn)(k->r));
        assert_int_equal(k->r->mcause, cases[i].traps ? RV_ILLEGAL : 99);
        kit_free(k);
    }
}

static void wfi_halts_unless_something_is_pending(void **unused)
{
    struct kit *k = kit_new();
    assert_int_equal(OUTCOME(rvh_wfi(k->r)), HALTED);
    assert_int_equal(k->r->pc, k->insn_pc + 4);
    wr(k, MIE, RV_BIT(RV_MTI));
    riscv_set_irq(k->cpu, RV_MTI, true);
    assert_int_equal(OUTCOME(rvh_wfi(k->r)), LEFT);
    kit_free(k);
}

static void wfi_in_vain_again_and_again_sleeps(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MIE, RV_BIT(RV_MSI));
    riscv_set_irq(k->cpu, RV_MSI, true);
    uint64_t last = 0;
    for (unsigned i = 0; i < 300; i++) {
        k->cpu->nap_ns = 0;
        int outcome = OUTCOME(rvh_wfi(k->r));
        assert_int_equal(outcome, k->cpu->nap_ns ? HALTED : LEFT);
        assert_true(k->cpu->nap_ns >= last && k->cpu->nap_ns < NS_PER_S);
        last = k->cpu->nap_ns;
    }
    assert_true(last);
    unsigned interrupts = k->interrupts;
    k->cpu->requests = 0;
    riscv_set_irq(k->cpu, RV_MSI, true); /* another hart says it once more */
    assert_int_equal(k->interrupts, interrupts + 1);
    riscv_trap(k->r, RV_ECALL_M, 0, 0);
    assert_int_equal(OUTCOME(rvh_wfi(k->r)), LEFT);
    assert_int_equal(k->cpu->nap_ns, 0);
    kit_free(k);
}

static void ecall_names_the_mode(void **unused)
{
    static const uint8_t causes[] = { [RV_U] = 8, [RV_S] = 9, [RV_M] = 11 };
    struct kit *k = kit_new();
    for (unsigned priv = RV_U; priv <= RV_M; priv += priv == RV_S ? 2 : 1) {
        mode(k, priv);
        assert_int_equal(OUTCOME(rvh_ecall(k->r)), CAME_BACK);
        assert_int_equal(k->r->mcause, causes[priv]);
        assert_int_equal(k->r->mepc, k->insn_pc);
        assert_int_equal(k->r->mtval, 0);
    }
    kit_free(k);
}

static void memory_faults_report_kind_and_address(void **unused)
{
    static const struct {
        enum access access;
        int kind, fault, cause;
    } cases[] = {
        { ACCESS_READ, MEM_FAULT_TRANSLATION, RV_LOAD_PAGE, RV_LOAD_PAGE },
        { ACCESS_WRITE, MEM_FAULT_NO_MEMORY, 0, RV_STORE_ACCESS },
        { ACCESS_EXEC, MEM_FAULT_NO_MEMORY, 0, RV_INSN_ACCESS },
        { ACCESS_READ, MEM_FAULT_NO_MEMORY, 0, RV_LOAD_ACCESS },
        { ACCESS_READ, MEM_FAULT_MISALIGNED, 0, RV_LOAD_MISALIGNED },
        { ACCESS_WRITE, MEM_FAULT_MISALIGNED, 0, RV_STORE_MISALIGNED },
    };
    struct kit *k = kit_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        k->r->pc = 0x80000010;
        riscv_raise_memory(k->cpu, 0x77, cases[i].access, cases[i].kind, cases[i].fault);
        assert_int_equal(k->r->mcause, cases[i].cause);
        assert_int_equal(k->r->mtval, 0x77);
        assert_int_equal(k->r->mepc, 0x80000010);
    }
    kit_free(k);
}

static void a_handler_that_faults_for_ever_ends_the_run(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MTVEC, 0x4000);
    for (unsigned i = 0; i < 99999; i++)
        riscv_trap(k->r, RV_INSN_ACCESS, 0x4000, 0x4000);
    assert_int_equal(k->b->vm->verdict, VERDICT_NONE);
    riscv_trap(k->r, RV_INSN_ACCESS, 0x5000, 0x5000); /* progress */
    for (unsigned i = 0; i < 100000; i++)
        riscv_trap(k->r, RV_INSN_ACCESS, 0x4000, 0x4000);
    assert_int_equal(k->b->vm->verdict, VERDICT_TRAP_LOOP);
    kit_free(k);
}

static void a_trap_loop_beside_a_working_hart_goes_on(void **unused)
{
    struct kit *k = kit_new();
    struct vcpu *other = board_add_vcpu(k->b);
    riscv64_target.vcpu_reset(other);
    for (unsigned i = 0; i < 200000; i++)
        riscv_trap(k->r, RV_INSN_ACCESS, 0, 0);
    assert_int_equal(k->b->vm->verdict, VERDICT_NONE);
    other->halted = true;
    riscv_trap(k->r, RV_INSN_ACCESS, 0, 0);
    assert_int_equal(k->b->vm->verdict, VERDICT_TRAP_LOOP);
    kit_free(k);
}

static void wires_survive_a_reset(void **unused)
{
    struct kit *k = kit_new();
    riscv_set_irq(k->cpu, RV_MEI, true);
    wr(k, MIP, RV_BIT(RV_SSI));
    wr(k, MTVEC, 0x1000);
    k->r->x[5] = 9;
    riscv64_target.vcpu_reset(k->cpu);
    assert_int_equal(rd(k, MIP), RV_BIT(RV_MEI));
    assert_int_equal(rd(k, MTVEC), 0);
    assert_int_equal(k->r->x[5], 0);
    assert_int_equal(k->r->priv, RV_M);
    kit_free(k);
}

/* ---- triggers ------------------------------------------------------------------------------------------ */

#define T6(flags) ((uint64_t)6 << 60 | (flags))
enum { T_LOAD = 1, T_STORE = 2, T_EXEC = 4, T_U = 8, T_S = 16, T_M = 64, T_ALL = T_U | T_S | T_M };

static void triggers_have_the_types_they_say(void **unused)
{
    struct kit *k = kit_new();
    assert_int_equal(rd(k, TDATA1), (uint64_t)15 << 60);
    assert_int_equal(wrrd(k, TDATA1, (uint64_t)5 << 60 | 0xff), (uint64_t)15 << 60);
    assert_int_equal(wrrd(k, TDATA1, T6(T_EXEC | T_S | (uint64_t)1 << 59)), T6(T_EXEC | T_S));
    assert_int_equal(wrrd(k, TDATA1, T6(9 << 7 | T_LOAD)), T6(T_LOAD));
    assert_int_equal(wrrd(k, TSELECT, RV_N_TRIGGERS), 0);
    assert_int_equal(wrrd(k, TSELECT, RV_N_TRIGGERS - 1), RV_N_TRIGGERS - 1);
    kit_free(k);
}

static void a_breakpoint_traps_before_its_instruction(void **unused)
{
    struct kit *k = kit_new();
    wr(k, TDATA2, k->insn_pc);
    wr(k, TDATA1, T6(T_EXEC | T_S));
    assert_false(k->r->flags & RV_FLAG_TRIGGER_EXEC); /* not for this mode */
    mode(k, RV_S);
    assert_true(k->r->flags & RV_FLAG_TRIGGER_EXEC);
    assert_int_equal(OUTCOME(rvh_trigger_exec(k->r)), LEFT);
    assert_int_equal(k->r->mcause, RV_BREAKPOINT);
    assert_int_equal(k->r->mepc, k->insn_pc);
    assert_int_equal(k->r->mtval, k->insn_pc);
    mode(k, RV_S);
    k->insn_pc += 2;
    assert_int_equal(OUTCOME(rvh_trigger_exec(k->r)), CAME_BACK);
    kit_free(k);
}

static void watchpoints_match_addresses(void **unused)
{
    static const struct {
        uint64_t match, tdata2, va, size;
        bool store, hit;
    } cases[] = {
        { 0, 0x1004, 0x1000, 8, true, true },  { 0, 0x1004, 0x1000, 4, true, false },
        { 0, 0x1004, 0x1004, 1, true, true },  { 0, 0x1004, 0x1004, 1, false, false },
        { 0, 0x1004, 0x1005, 8, true, false }, { 1, 0x1007, 0x1008, 8, true, true },
        { 1, 0x1007, 0x1010, 8, true, false }, { 2, 0x1000, 0x2000, 4, true, true },
        { 2, 0x1000, 0xff0, 4, true, false },  { 3, 0x1000, 0xfff, 4, true, true },
        { 3, 0x1000, 0x1000, 4, true, false },
    };
    for (volatile size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit *k = kit_new();
        wr(k, TDATA2, cases[i].tdata2);
        wr(k, TDATA1, T6(T_STORE | T_U | cases[i].match << 7));
        mode(k, RV_U);
        assert_true(k->r->flags & RV_FLAG_TRIGGER_DATA);
        enum outcome how =
            OUTCOME(rvh_trigger_data(k->r, cases[i].va, cases[i].size, cases[i].store));
        assert_int_equal(how, cases[i].hit ? LEFT : CAME_BACK);
        if (cases[i].hit)
            assert_int_equal(k->r->mtval, cases[i].va);
        kit_free(k);
    }
}

static void triggers_wait_until_a_handler_can_be_entered(void **unused)
{
    struct kit *k = kit_new();
    wr(k, TDATA2, k->insn_pc);
    wr(k, TDATA1, T6(T_EXEC | T_ALL));
    assert_int_equal(OUTCOME(rvh_trigger_exec(k->r)), CAME_BACK);
    wr(k, MSTATUS, RV_MSTATUS_MIE);
    assert_int_equal(OUTCOME(rvh_trigger_exec(k->r)), LEFT);
    wr(k, MEDELEG, 1 << RV_BREAKPOINT);
    mode(k, RV_S);
    assert_int_equal(OUTCOME(rvh_trigger_exec(k->r)), CAME_BACK);
    wr(k, SSTATUS, RV_MSTATUS_SIE);
    assert_int_equal(OUTCOME(rvh_trigger_exec(k->r)), LEFT);
    assert_int_equal(k->r->scause, RV_BREAKPOINT);
    kit_free(k);
}

/* ---- floating point -------------------------------------------------------------------------------------- */

#define BOX32(v) (0xffffffff00000000 | (v))

static void floating_point_helpers_box_and_collect_flags(void **unused)
{
    struct kit *k = kit_new();
    struct riscv_cpu *r = k->r;
    const uint64_t one = BOX32(0x3f800000), two = BOX32(0x40000000), nan = BOX32(0x7fc00000);
    assert_int_equal(rvh_fp_add(r, RV_FP(SF_F32, 0), one, one), two);
    assert_int_equal(k->fp_flags, 0);
    assert_int_equal(rvh_fp_add(r, RV_FP(SF_F32, 0), 0x3f800000, one), nan); /* not boxed */
    assert_int_equal(k->fp_flags, 0);
    rvh_fp_div(r, RV_FP(SF_F32, 0), one, BOX32(0));
    assert_int_equal(k->fp_flags, SF_DIV_BY_ZERO);
    rvh_fp_lt(r, RV_FP(SF_F32, 0), nan, one);
    assert_int_equal(k->fp_flags, SF_DIV_BY_ZERO | SF_INVALID);
    k->fp_flags = 0;
    assert_int_equal(rvh_fp_eq(r, RV_FP(SF_F32, 0), nan, nan), 0);
    assert_int_equal(k->fp_flags, 0);
    assert_int_equal(rvh_fp_max(r, RV_FP(SF_F32, 0), nan, one), one);
    assert_int_equal(rvh_fp_class(k->r, RV_FP(SF_F32, 0), 0), 1 << SF_QUIET_NAN);
    assert_int_equal(rvh_fp_fma(r, RV_FP(SF_F32, 0) | RV_FP_NEG_PRODUCT, one, two, two), BOX32(0));
    assert_int_equal(rvh_fp_convert(r, RV_FP(SF_F64, 0), two, SF_F32), 0x4000000000000000);
    assert_int_equal(rvh_fp_convert(r, RV_FP(SF_F16, 0), two, SF_F32), 0xffffffffffff4000);
    assert_int_equal(rvh_fp_to_int(r, RV_FP(SF_F64, 0), 0xbff0000000000000, SF_U32), 0);
    assert_int_equal(k->fp_flags, SF_INVALID);
    assert_int_equal(rvh_fp_to_int(r, RV_FP(SF_F64, 0), 0x41efffffffe00000, SF_U32), all_ones);
    assert_int_equal(rvh_fp_to_int(r, RV_FP(SF_F32, 0), BOX32(0x3fc00000), SF_I32), 2);
    assert_int_equal(rvh_fp_to_int(r, RV_FP(SF_F32, 1), BOX32(0x3fc00000), SF_I32), 1);
    assert_int_equal(rvh_fp_to_int(r, RV_FP(SF_F32, 4), BOX32(0x40200000), SF_I32), 3);
    assert_int_equal(rvh_fp_from_int(r, RV_FP(SF_F32, 0), 0x7ffffffff, SF_I32), BOX32(0xbf800000));
    assert_int_equal(rvh_fp_from_int(r, RV_FP(SF_F32, 0), 0x700000001, SF_U32), one);
    kit_free(k);
}

static void fs_dirty_executes_the_instruction_again(void **unused)
{
    struct kit *k = kit_new();
    wr(k, MSTATUS, (uint64_t)1 << 13);
    assert_int_equal(OUTCOME(rvh_fs_dirty(k->r)), LEFT);
    assert_int_equal(k->r->pc, k->insn_pc);
    assert_true(k->r->flags & RV_FLAG_FS_DIRTY);
    assert_true(rd(k, MSTATUS) & RV_MSTATUS_SD);
    kit_free(k);
}

/* ---- AIA -------------------------------------------------------------------------------------------------- */

static bool imsic_access(void *opaque, bool machine, unsigned select, uint64_t mask, uint64_t v,
                         uint64_t *old)
{
    uint64_t *reg = opaque;
    *old = *reg;
    *reg = (*reg & ~mask) | (v & mask);
    return select == 0x70 && !machine;
}

static uint64_t imsic_topei(void *opaque, bool machine, bool claim)
{
    uint64_t *reg = opaque, top = *reg;
    if (claim)
        *reg = 0;
    return top;
}

static const struct riscv_imsic_ops imsic = { imsic_access, imsic_topei };

static void aia_registers_reach_the_interrupt_file(void **unused)
{
    struct kit *k = kit_new();
    uint64_t reg = 5;
    for (unsigned e = 0; e < 2; e++)
        k->r->ext[(RV_EXT_SMAIA + e) / 64] |= (uint64_t)1 << (RV_EXT_SMAIA + e) % 64;
    assert_false(try_read(k, STOPEI));
    riscv_set_imsic(k->cpu, &imsic, &reg);
    mode(k, RV_S);
    wr(k, SISELECT, 0x70);
    assert_int_equal(rd(k, SIREG), 5);
    wr(k, SIREG, 8);
    assert_int_equal(reg, 8);
    wr(k, SISELECT, 0x71);
    assert_false(try_read(k, SIREG));
    wr(k, SISELECT, 0x31);
    assert_false(try_read(k, SIREG));
    wr(k, SISELECT, 0x30);
    assert_int_equal(wrrd(k, SIREG, all_ones), 0);
    assert_int_equal(rvh_csr_swap(k->r, STOPEI, 0), 8);
    assert_int_equal(reg, 0);
    mode(k, RV_M);
    wr(k, MIDELEG, all_ones);
    wr(k, MIE, all_ones);
    riscv_set_irq(k->cpu, RV_SEI, true);
    assert_int_equal(rd(k, STOPI), RV_SEI << 16 | 1);
    kit_free(k);
}

static int print_count(void (*show)(struct vcpu *, void (*)(void *, const char *), void *),
                       struct vcpu *cpu, void (*print)(void *, const char *))
{
    int n = 0;
    show(cpu, print, &n);
    return n;
}

static void count_line(void *opaque, const char *line)
{
    assert_true(strlen(line) < 160);
    ++*(int *)opaque;
}

static void registers_print(void **unused)
{
    struct kit *k = kit_new();
    assert_int_equal(print_count(riscv64_target.print, k->cpu, count_line), 7 + 8 + 8);
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_csr_number_carries_its_privilege),
        cmocka_unit_test(missing_extensions_take_their_csrs_along),
        cmocka_unit_test(fields_keep_legal_values_only),
        cmocka_unit_test(any_write_leaves_a_state_that_loads_again),
        cmocka_unit_test(mpp_never_becomes_the_reserved_mode),
        cmocka_unit_test(sd_follows_fs),
        cmocka_unit_test(sstatus_changes_only_its_part_of_mstatus),
        cmocka_unit_test(floating_point_csrs_need_fs),
        cmocka_unit_test(misa_names_the_single_letters),
        cmocka_unit_test(satp_ignores_modes_that_are_not_there),
        cmocka_unit_test(counters_open_mode_by_mode),
        cmocka_unit_test(cycle_follows_guest_time_and_stands_while_inhibited),
        cmocka_unit_test(time_is_ten_megahertz),
        cmocka_unit_test(reading_instret_first_asks_for_exact_counting),
        cmocka_unit_test(a_counter_that_overflows_interrupts_once),
        cmocka_unit_test(a_counter_counts_in_the_modes_it_is_told_to),
        cmocka_unit_test(the_seed_is_there_for_writers_only),
        cmocka_unit_test(tvm_closes_satp_and_fences),
        cmocka_unit_test(an_illegal_csr_access_reports_the_instruction),
        cmocka_unit_test(stimecmp_raises_and_lowers_stip),
        cmocka_unit_test(stimecmp_is_closed_to_s_mode_unless_enabled),
        cmocka_unit_test(sip_and_sie_show_what_is_delegated),
        cmocka_unit_test(clearing_mip_does_not_copy_the_wire_into_software_seip),
        cmocka_unit_test(pmp_entries_match_as_specified),
        cmocka_unit_test(locked_pmp_entries_stay),
        cmocka_unit_test(pmp_registers_are_warl),
        cmocka_unit_test(every_mode_and_page_size_translates),
        cmocka_unit_test(addresses_must_be_sign_extended),
        cmocka_unit_test(reserved_encodings_fault),
        cmocka_unit_test(pointers_with_leaf_bits_fault),
        cmocka_unit_test(napot_pages_are_64_kib),
        cmocka_unit_test(rights_depend_on_mode_sum_and_mxr),
        cmocka_unit_test(mprv_makes_data_accesses_those_of_mpp),
        cmocka_unit_test(svadu_sets_accessed_and_dirty),
        cmocka_unit_test(a_denied_access_sets_no_bits),
        cmocka_unit_test(tables_outside_ram_are_access_faults),
        cmocka_unit_test(pmp_guards_walks_and_leaves),
        cmocka_unit_test(contexts_have_keys_of_their_own),
        cmocka_unit_test(only_global_mappings_of_a_supervisor_survive_satp),
        cmocka_unit_test(fences_flush_what_they_name),
        cmocka_unit_test(what_sum_allowed_goes_with_sum),
        cmocka_unit_test(cache_block_operations_ask_for_rights),
        cmocka_unit_test(cbo_zero_clears_its_block_only),
        cmocka_unit_test(exceptions_go_where_they_are_delegated),
        cmocka_unit_test(interrupts_are_taken_by_priority),
        cmocka_unit_test(enables_decide_if_an_interrupt_is_taken),
        cmocka_unit_test(enabling_a_pending_interrupt_makes_the_engine_look),
        cmocka_unit_test(mret_and_sret_undo_traps),
        cmocka_unit_test(returns_and_waits_can_trap),
        cmocka_unit_test(wfi_halts_unless_something_is_pending),
        cmocka_unit_test(wfi_in_vain_again_and_again_sleeps),
        cmocka_unit_test(ecall_names_the_mode),
        cmocka_unit_test(memory_faults_report_kind_and_address),
        cmocka_unit_test(a_handler_that_faults_for_ever_ends_the_run),
        cmocka_unit_test(a_trap_loop_beside_a_working_hart_goes_on),
        cmocka_unit_test(wires_survive_a_reset),
        cmocka_unit_test(triggers_have_the_types_they_say),
        cmocka_unit_test(a_breakpoint_traps_before_its_instruction),
        cmocka_unit_test(watchpoints_match_addresses),
        cmocka_unit_test(triggers_wait_until_a_handler_can_be_entered),
        cmocka_unit_test(floating_point_helpers_box_and_collect_flags),
        cmocka_unit_test(fs_dirty_executes_the_instruction_again),
        cmocka_unit_test(aia_registers_reach_the_interrupt_file),
        cmocka_unit_test(registers_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
