/* The privileged half of the RISC-V CPU but for its memory (riscv-memory.c): CSRs, traps, timers, triggers,
 * floating-point helpers. */
#include "riscv_kit.h"

#include "core/clock.h"
#include "tcg/softfloat.h"

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
