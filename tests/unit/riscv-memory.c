/* How a RISC-V CPU reaches memory: physical protection, address translation, cache blocks. */
#include "riscv_kit.h"

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
    uint64_t key;
    map(k, RV_SV39, 0x1000, 0, pte_for(BOARD_RAM, P_RWXAD | P_U));
    riscv_update_flags(k->r);
    wr(k, SSTATUS, RV_MSTATUS_SUM);
    k->drops = 0;
    assert_true(riscv_user_key(k->cpu, &key)); /* where it is looked for before a walk */
    assert_true(riscv_translate_address(k->cpu, 0x1000, ACCESS_READ, 0, &out));
    assert_true(out.user);
    assert_int_equal(k->drops, 0);
    wr(k, SSTATUS, 0);
    assert_int_equal(k->drops, 1);
    wr(k, SSTATUS, RV_MSTATUS_SUM);
    wr(k, SSTATUS, 0);
    assert_int_equal(k->drops, 1); /* nobody had asked for one */
    wr(k, SSTATUS, RV_MSTATUS_SUM);
    assert_true(riscv_user_key(k->cpu, &key));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
