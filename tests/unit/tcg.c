/* The translator at its edges, on each back end: what a guest cannot reach, what is forgotten when,
 * and what writes by others do. The guest is RISC-V code in M-mode unless a fact says otherwise. */
#include "tcg/tcg.h"
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/riscv/riscv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM    ((uint64_t)0x80000000)
#define TRAP   (RAM + 0x1000) /* the handler: wfi */
#define CODE   (RAM + 0x4000)
#define DATA   (RAM + 0x8000)
#define ROOT   (RAM + 0x10000) /* page tables: one of each level */
#define LEVEL1 (RAM + 0x11000)
#define LEVEL0 (RAM + 0x12000)
#define GIB4   ((uint64_t)1 << 32)
enum { RAM_SIZE = 8 << 20, WFI = 0x10500073, ALL = 0xcf }; /* of a PTE: D, A, X, W, R, V */
enum { T0 = 5, T1 = 6, A0 = 10, A1 = 11, A2 = 12, A3 = 13, T3 = 28 };

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct riscv_cpu *r;
    struct tcg_cpu *t;
    struct ram_block *ram;
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static void put32(struct machine *m, uint64_t at, uint32_t v)
{
    assert_true(mem_write(m->vm, at, &v, sizeof(v)));
}

static void put64(struct machine *m, uint64_t at, uint64_t v)
{
    assert_true(mem_write(m->vm, at, &v, sizeof(v)));
}

static void put_code(struct machine *m, uint64_t at, const uint32_t *code, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put32(m, at + 4 * i, code[i]);
    put32(m, at + 4 * n, WFI);
}

static void machine_start(struct machine *m, const struct backend *backend)
{
    char options[64];
    struct mem_region *ram;
    snprintf(options, sizeof(options), "backend=%s,unit-insns=256,tier2=off", backend->name);
    must(vm_new(&m->vm));
    m->vm->accel = &tcg_accel;
    m->vm->target = &riscv64_target;
    m->vm->log.fd = 2;
    must(riscv64_target.cpu_model(m->vm, "max"));
    must(tcg_accel.vm_create(m->vm, options));
    must(mem_add_ram(m->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, RAM, 0);
    m->ram = mem_region_ram(ram);
    must(vcpu_new(m->vm, 0, &m->cpu));
    m->cpu->requests = 0;
    m->r = riscv_of(m->cpu);
    m->t = tcg_cpu_of(m->cpu);
    put32(m, TRAP, WFI);
    riscv64_target.vcpu_reset(m->cpu);
    m->r->mtvec = TRAP;
}

static void machine_stop(struct machine *m)
{
    vm_free(m->vm);
}

static void state_changed(struct machine *m)
{
    riscv64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
}

/* From pc to wfi, or the trap that came before. */
static void run(struct machine *m, uint64_t pc)
{
    m->r->pc = pc;
    m->r->priv = RV_M;
    m->r->mcause = 0;
    state_changed(m);
    enum vcpu_exit e = EXIT_KICKED;
    for (unsigned k = 0; k < 100 && e != EXIT_HALTED; k++)
        e = tcg_accel.run(m->cpu);
    assert_int_equal(e, EXIT_HALTED);
}

#define ON_EACH_BACKEND(m)                                                      \
    for (size_t b_ = 0; b_ < n_backends && (machine_start(m, backends[b_]), 1); \
         machine_stop(m), b_++)

/* ---- reach ------------------------------------------------------------------------------------------ */

/* Base and constant add up to an offset whose access ends beyond 2 GiB. */
static void offset_near_2_gib_does_not_wrap(void **unused)
{
    static const uint32_t code[] = {
        0x0005a283, /* lw t0, 0(a1) */
        0x7ffff337, /* lui t1, 0x7ffff */
        0x7ff30313, /* addi t1, t1, 0x7ff */
        0x006503b3, /* add t2, a0, t1 */
        0x7fa3be03, /* ld t3, 0x7fa(t2) */
    };
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        uint64_t nowhere = DATA + GIB4 + 0x100;
        put_code(&m, CODE, code, ARRAY_LEN(code));
        m.r->x[A0] = nowhere - 0x7ffffff9;
        m.r->x[A1] = DATA; /* the page 4 GiB below */
        run(&m, CODE);
        assert_int_equal(m.r->mcause, RV_LOAD_ACCESS);
        assert_int_equal(m.r->mtval, nowhere);
    }
}

static void ram_that_begins_within_a_page_ends_where_it_ends(void **unused)
{
    static const uint32_t code[] = {
        0x0005b283, /* ld t0, 0(a1) */
        0x0006be03, /* ld t3, 0(a3) */
    };
    const uint64_t at = 0x40000800;
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        struct mem_region *odd;
        must(mem_add_ram(m.vm, "odd", 4096, false, &odd));
        mem_map(odd, at, 0);
        put_code(&m, CODE, code, ARRAY_LEN(code));
        put64(&m, at + 4088, 77);
        m.r->x[A1] = at + 4088;
        m.r->x[A3] = at + 4096;
        run(&m, CODE);
        assert_int_equal(m.r->x[T0], 77);
        assert_int_equal(m.r->mcause, RV_LOAD_ACCESS);
        assert_int_equal(m.r->mtval, at + 4096);
    }
}

/* ---- what is forgotten ---------------------------------------------------------------------------------- */

static uint64_t pte(uint64_t pa, unsigned bits_)
{
    return pa >> 12 << 10 | bits_;
}

/* S-mode's address space; 0x40000000 is where LEVEL0 begins. */
static void use_pages(struct machine *m, uint16_t asid)
{
    put64(m, ROOT + 8, pte(LEVEL1, 1));
    put64(m, LEVEL1, pte(LEVEL0, 1));
    m->r->satp = (uint64_t)RV_SV39 << 60 | (uint64_t)asid << 44 | ROOT >> 12;
    m->r->priv = RV_S;
    m->r->pmpcfg[0] = 0x1f; /* NAPOT, all rights everywhere */
    m->r->pmpaddr[0] = ((uint64_t)1 << 54) - 1;
}

static const uint8_t *fetched_page(struct machine *m, uint64_t va)
{
    struct fetch_place at;
    assert_true(tlb_fetch_page(m->t, va, va, &at));
    return at.page;
}

static void large_pages_are_remembered_when_context_numbers_start_over(void **unused)
{
    const uint64_t va = 0x40000000;
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        use_pages(&m, 1);
        put64(&m, LEVEL1, pte(RAM + 2 * MIB, ALL));
        state_changed(&m);
        assert_ptr_equal(fetched_page(&m, va), m.ram->host + 2 * MIB);
        m.t->next_ctx = CTX_LAST + 1;
        m.r->satp += (uint64_t)1 << 44;
        riscv_update_flags(m.r);
        m.r->satp -= (uint64_t)1 << 44;
        riscv_update_flags(m.r);
        put64(&m, LEVEL1, pte(RAM + 4 * MIB, ALL));
        tcg_flush_page(m.cpu, va + 0x5000);
        assert_ptr_equal(fetched_page(&m, va), m.ram->host + 4 * MIB);
    }
}

/* One walk serves a large page, until a flush: of any address in it, too. A write that first sets D is a walk. */
static void large_page_takes_one_walk(void **unused)
{
    const uint64_t va = 0x40000000;
    enum { D = 0x80 };
    struct tlb_place at;
    struct machine m;
    int fault;
    ON_EACH_BACKEND(&m)
    {
        use_pages(&m, 1);
        m.r->menvcfg |= RV_ENVCFG_ADUE;
        state_changed(&m);
        put64(&m, LEVEL1, pte(RAM + 2 * MIB, ALL & ~D));
        uint64_t walks = m.t->counts.tlb_walks;
        for (unsigned page = 0; page < 512; page++) {
            assert_true(tlb_translate(m.t, va + page * 4096, ACCESS_READ, 0, &at, &fault));
            assert_ptr_equal(at.host, m.ram->host + 2 * MIB + page * 4096);
        }
        assert_int_equal(m.t->counts.tlb_walks, walks + 1);
        for (unsigned page = 0; page < 512; page++)
            assert_true(tlb_translate(m.t, va + page * 4096, ACCESS_WRITE, 0, &at, &fault));
        assert_int_equal(m.t->counts.tlb_walks, walks + 2);
        put64(&m, LEVEL1, pte(RAM + 4 * MIB, ALL));
        tcg_flush_page(m.cpu, va + 0x5000);
        assert_true(tlb_translate(m.t, va + 0x7000, ACCESS_READ, 0, &at, &fault));
        assert_ptr_equal(at.host, m.ram->host + 4 * MIB + 0x7000);
        put64(&m, LEVEL1, 0);
        tcg_flush_all(m.cpu);
        assert_false(tlb_translate(m.t, va + 0x8000, ACCESS_READ, 0, &at, &fault));
        assert_false(tlb_translate(m.t, va + 0x7000, ACCESS_READ, 0, &at, &fault));
    }
}

/* PMP splits the page in memory, but to the guest's tables it is one: a flush of any address in it is of all. */
static void large_page_in_pieces_is_flushed_as_one(void **unused)
{
    const uint64_t va = 0x40000000, near = va + 0x8000; /* by an entry of PMP for one small page */
    struct tlb_place at;
    struct machine m;
    int fault;
    ON_EACH_BACKEND(&m)
    {
        use_pages(&m, 1);
        m.r->pmpcfg[1] = m.r->pmpcfg[2] = m.r->pmpcfg[0];
        m.r->pmpaddr[2] = m.r->pmpaddr[0];
        for (unsigned k = 0; k < 2; k++)
            m.r->pmpaddr[k] = (RAM + (k + 1) * 2 * MIB + 0x9000) >> 2 | 0x1ff;
        state_changed(&m);
        put64(&m, LEVEL1, pte(RAM + 2 * MIB, ALL));
        assert_true(tlb_translate(m.t, near, ACCESS_READ, 0, &at, &fault));
        assert_false(at.partial);
        assert_ptr_equal(at.host, m.ram->host + 2 * MIB + 0x8000);
        assert_ptr_equal(fetched_page(&m, near + 0x3000), m.ram->host + 2 * MIB + 0xb000);
        put64(&m, LEVEL1, pte(RAM + 4 * MIB, ALL));
        tcg_flush_page(m.cpu, va + 0x100000);
        assert_true(tlb_translate(m.t, near, ACCESS_READ, 0, &at, &fault));
        assert_ptr_equal(at.host, m.ram->host + 4 * MIB + 0x8000);
        assert_ptr_equal(fetched_page(&m, near + 0x3000), m.ram->host + 4 * MIB + 0xb000);
    }
}

/* A loop may have a window open while one of its other accesses makes the TLB larger, and so empty. */
static void windows_are_found_when_the_tlb_is_empty(void **unused)
{
    const int64_t window =
        ir_window_code((struct ir_window){ .span = 8, .stride = 8, .writes = true });
    struct tlb_place at;
    struct machine m;
    int fault;
    ON_EACH_BACKEND(&m)
    {
        state_changed(&m);
        assert_true(tlb_translate(m.t, DATA, ACCESS_WRITE, 0, &at, &fault));
        assert_int_equal(tlb_open_window(m.t, window, DATA, 100), 100);
        tlb_flush_everything(m.t);
        assert_true(tlb_protect_page(m.t->tcg, at.host, NULL));
        assert_false(tlb_protect_page(m.t->tcg, at.host + 4096, NULL));
    }
}

/* What a user mapped is found by a supervisor with SUM, without a walk; not before and not afterwards. */
static void supervisor_borrows_what_the_user_reached(void **unused)
{
    const uint64_t va = 0x40000000;
    struct tlb_place at;
    struct machine m;
    int fault;
    ON_EACH_BACKEND(&m)
    {
        use_pages(&m, 1);
        put64(&m, LEVEL0, pte(DATA, ALL | 0x10)); /* U */
        m.r->priv = RV_U;
        state_changed(&m);
        assert_true(tlb_translate(m.t, va, ACCESS_WRITE, 0, &at, &fault));
        uint64_t walks = m.t->counts.tlb_walks;
        riscv_set_priv(m.r, RV_S);
        riscv_update_flags(m.r);
        assert_false(tlb_translate(m.t, va, ACCESS_READ, 0, &at, &fault));
        for (unsigned round = 0; round < 3; round++) {
            m.r->mstatus |= RV_MSTATUS_SUM;
            riscv_update_flags(m.r);
            assert_int_equal(tlb_addend(m.t, va, va, true, 0), 0);
            assert_true(tlb_translate(m.t, va, ACCESS_WRITE, 0, &at, &fault));
            assert_ptr_equal(at.host, m.ram->host + (DATA - RAM));
            assert_int_not_equal(tlb_addend(m.t, va, va, true, 0), 0);
            m.r->mstatus &= ~RV_MSTATUS_SUM;
            riscv_update_flags(m.r);
            assert_int_equal(tlb_addend(m.t, va, va, true, 0), 0);
        }
        assert_int_equal(m.t->counts.tlb_walks, walks + 1); /* the one that was refused */
        m.r->mstatus |= RV_MSTATUS_SUM;
        riscv_update_flags(m.r);
        put64(&m, LEVEL0, pte(DATA + 4096, ALL | 0x10));
        tcg_flush_page(m.cpu, va);
        assert_true(tlb_translate(m.t, va, ACCESS_READ, 0, &at, &fault));
        assert_ptr_equal(at.host, m.ram->host + (DATA + 4096 - RAM));
    }
}

/* ---- code ------------------------------------------------------------------------------------------------- */

/* In S-mode: two functions of a page are called, forgotten, called again, which renews what is known of them, and once more
 * when their page is another one. */
static uint64_t call_what_moves(struct machine *m, uint32_t fence)
{
    static const uint32_t before[] = { 0x00150513, 0x00008067 }, /* addi a0, a0, 1; ret */
        behind[] = { 0x06450513, 0x00008067 };                   /* addi a0, a0, 100; ret */
    const uint64_t va = 0x40000000, pages[] = { CODE, DATA, LEVEL0 };
    const uint32_t code[] = {
        0x000280e7,
        0x000300e7, /* jalr t0; jalr t1 */
        0x12000073, /* sfence.vma */
        0x000280e7,
        0x000300e7, /* jalr t0; jalr t1: one looks for the page, the other one knows it */
        0x00c5b423,
        fence, /* sd a2, 8(a1): where the functions are */
        0x000300e7,
        0x000280e7, /* jalr t1; jalr t0 */
    };
    put_code(m, CODE, code, ARRAY_LEN(code));
    for (unsigned f = 0; f < 2; f++) {
        put_code(m, DATA + 0x100 * f, before, ARRAY_LEN(before));
        put_code(m, DATA + 0x1000 + 0x100 * f, behind, ARRAY_LEN(behind));
    }
    use_pages(m, 1);
    for (unsigned i = 0; i < ARRAY_LEN(pages); i++)
        put64(m, LEVEL0 + 8 * i, pte(pages[i], ALL));
    m->r->pc = va;
    m->r->x[A0] = 0;
    m->r->x[T0] = va + 0x1000;
    m->r->x[T1] = va + 0x1100;
    m->r->x[A1] = va + 0x2000;
    m->r->x[A2] = pte(DATA + 0x1000, ALL);
    state_changed(m);
    while (tcg_accel.run(m->cpu) != EXIT_HALTED)
        ;
    assert_int_equal(m->r->pc, va + 4 * ARRAY_LEN(code) + 4);
    return m->r->x[A0];
}

static void jumps_are_renewed_while_their_page_is_the_same(void **unused)
{
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        assert_int_equal(call_what_moves(&m, 0x12000073), 204); /* sfence.vma */
        uint64_t misses = m.t->counts.indirect_misses;
        assert_int_equal(call_what_moves(&m, 0x12028073), 204); /* sfence.vma t0 */
        if (!strcmp(backends[b_]->name,
                    "jit")) /* the second call behind the first fence asks nobody */
            assert_true(m.t->counts.indirect_misses - misses <= 7);
    }
}

/* In S-mode: what is behind a late call is run until its unit is linked; then the callee moves the caller's page. */
static void return_to_a_page_that_moved_goes_there(void **unused)
{
    enum { BEHIND = 10 };
    const uint64_t va = 0x40000000, pages[] = { CODE, DATA + 0x1000, LEVEL0 };
    const uint32_t callee[] = { 0x00c5b023, 0x12000073,
                                0x00008067 }; /* sd a2, 0(a1); sfence.vma; ret */
    uint32_t code[BEHIND + 1];
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        for (unsigned i = 0; i < BEHIND; i++)
            code[i] = 0x00150513;      /* addi a0, a0, 1 */
        code[BEHIND - 1] = 0x000280e7; /* jalr t0 */
        code[BEHIND] = 0x00150513;
        put_code(&m, CODE, code, ARRAY_LEN(code));
        code[BEHIND] = 0x06450513; /* addi a0, a0, 100 */
        put_code(&m, DATA, code, ARRAY_LEN(code));
        put_code(&m, DATA + 0x1000, callee, ARRAY_LEN(callee));
        use_pages(&m, 1);
        for (unsigned i = 0; i < ARRAY_LEN(pages); i++)
            put64(&m, LEVEL0 + 8 * i, pte(pages[i], ALL));
        for (unsigned round = 0; round < 4; round++) {
            m.r->pc = va;
            m.r->x[A0] = 0;
            m.r->x[T0] = va + 0x1000 + (round < 2 ? 8 : 0); /* only returns */
            m.r->x[A1] = va + 0x2000;
            m.r->x[A2] = pte(round < 3 ? CODE : DATA, ALL);
            state_changed(&m);
            while (tcg_accel.run(m.cpu) != EXIT_HALTED)
                ;
            assert_int_equal(m.r->x[A0], BEHIND - 1 + (round < 3 ? 1 : 100));
        }
    }
}

/* An instruction whose second half is at the start of the same physical page. */
static void page_that_follows_itself_is_one_page(void **unused)
{
    const uint64_t va = 0x40000000;
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        use_pages(&m, 1);
        put64(&m, LEVEL0, pte(DATA, ALL));
        put64(&m, LEVEL0 + 8, pte(DATA, ALL));
        put32(&m, DATA + 4092, 0x0513 << 16 | 1); /* c.nop, addi a0, a0, ... */
        for (unsigned n = 10; n < 12; n++) {
            put32(&m, DATA, 0x9002u << 16 | n << 4 | 5);
            m.r->pc = va + 4094;
            m.r->x[A0] = 100;
            m.r->priv = RV_S;
            m.r->mcause = 0;
            state_changed(&m);
            assert_int_equal(tcg_accel.run(m.cpu), EXIT_HALTED);
            assert_int_equal(m.r->mcause, RV_BREAKPOINT);
            assert_int_equal(m.r->x[A0], 100 + n);
        }
    }
}

/* What another vCPU does between two accesses of a unit that share a check: translate from the page. */
struct intruder {
    struct machine *m;
    const uint8_t *page;
    bool told; /* that this vCPU must be waited for */
};

static uint64_t intrude(void *opaque, uint64_t off, unsigned size)
{
    struct intruder *i = opaque;
    size_t n = (size_t)(i->page - i->m->ram->host) >> 12;
    atomic_fetch_or(&i->m->ram->page_flags[n], PAGE_HAS_CODE);
    i->told = tlb_protect_page(i->m->t->tcg, i->page, NULL);
    return 0;
}

static void intrude_write(void *opaque, uint64_t off, unsigned size, uint64_t v)
{
}

/* The code's register a0 leads to a page that the intruder begins to translate from, a2 to what takes its place in the TLB, a3
 * to the intruder. */
static void expect_store_seen(const uint32_t *code, size_t n)
{
    static const struct mmio_ops ops = { .read = intrude, .write = intrude_write };
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        struct intruder in = { .m = &m, .page = m.ram->host + (DATA - RAM) };
        struct mem_region *device = mem_add_mmio(m.vm, "intruder", 4096, &ops, &in);
        mem_map(device, 0x10000000, 0);
        put_code(&m, CODE, code, n);
        m.r->x[A0] = DATA;
        m.r->x[A2] = DATA + (4096 << TLB_BITS_MIN);
        m.r->x[A3] = 0x10000000;
        run(&m, CODE);
        assert_int_equal(m.r->mcause, 0);
        bool seen =
            !(m.ram->page_flags[(DATA - RAM) >> 12] & PAGE_HAS_CODE); /* nothing there: ends */
        assert_true(seen || in.told);
    }
}

static void store_behind_a_shared_check_is_seen(void **unused)
{
    static const uint32_t code[] = {
        0x00052283, /* lw t0, 0(a0): checks for the store too */
        0x00062e03, /* lw t3, 0(a2): takes its place in the TLB */
        0x0006ae03, /* lw t3, 0(a3): the intruder */
        0x07c52e23, /* sw t3, 124(a0) */
    };
    static const uint32_t crowded[] = {
        0x00052283, /* lw t0, 0(a0): as above, but what it found finds no register until the store */
        0x01498933, /* add s2, s3, s4 */
        0x017b0ab3, /* add s5, s6, s7 */
        0x01ac8c33, /* add s8, s9, s10 */
        0x01ee8db3, /* add s11, t4, t5 */
        0x01698fb3, /* add t6, s3, s6 */
        0x00062e03, /* lw t3, 0(a2) */
        0x0006ae03, /* lw t3, 0(a3) */
        0x015909b3, /* add s3, s2, s5 */
        0x01bc0a33, /* add s4, s8, s11 */
        0x012f8b33, /* add s6, t6, s2 */
        0x018a8bb3, /* add s7, s5, s8 */
        0x01fd8cb3, /* add s9, s11, t6 */
        0x07c52e23, /* sw t3, 124(a0) */
    };
    expect_store_seen(code, ARRAY_LEN(code));
    expect_store_seen(crowded, ARRAY_LEN(crowded));
}

/* A loop on a stack frame that lies in two pages. */
static void shared_checks_that_fail_all_the_time_are_given_up(void **unused)
{
    static const uint32_t code[] = {
        0x00153023, /* sd ra, 0(a0) */
        0x00853423, /* sd s0, 8(a0) */
        0x01053283, /* ld t0, 16(a0) */
        0x01853303, /* ld t1, 24(a0) */
        0xfff58593, /* addi a1, a1, -1 */
        0xfe0596e3, /* bnez a1, . - 20 */
    };
    enum { N = 200000 };
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        put_code(&m, CODE, code, ARRAY_LEN(code));
        m.r->x[A0] = DATA + 4096 - 16;
        m.r->x[A1] = N;
        run(&m, CODE);
        assert_int_equal(m.r->x[A1], 0);
        assert_true(m.t->counts.slow_calls < N); /* four times N without a cure */
    }
}

/* sc without its lr takes five blocks of the IR, which has room for 256. */
static void unit_too_complex_is_made_shorter(void **unused)
{
    enum { N = 250 };
    uint32_t code[2 * N];
    struct machine m;
    for (unsigned i = 0; i < N; i++) {
        code[2 * i] = 0x18d5b62f;     /* sc.d a2, a3, (a1): fails */
        code[2 * i + 1] = 0x00c50533; /* add a0, a0, a2 */
    }
    ON_EACH_BACKEND(&m)
    {
        put_code(&m, CODE, code, ARRAY_LEN(code));
        m.r->x[A1] = DATA;
        run(&m, CODE);
        assert_int_equal(m.r->x[A0], N);
        assert_true(m.t->tcg->counts.units > N / 51);
    }
}

/* On a page that is watched, by links and by register jumps. */
static void what_is_new_is_translated_without_leaving(void **unused)
{
    static const uint32_t code[] = {
        0x200000ef, /* jal ra, . + 0x200 */
        0x00029063, /* bnez t0, . */
        0x0002a303, /* lw t1, 0(t0): the trap that ends it */
    };
    static const uint32_t callee[] = {
        0x00008413, /* mv s0, ra: a jump there is no return, so what is behind the call is a unit */
        0x00000397, /* auipc t2, 0 */
        0x0fc380e7, /* jalr ra, 0xfc(t2): CODE + 0x300 */
        0x00040067, /* jr s0 */
    };
    static const uint32_t leaf[] = { 0x00008067 }; /* ret */
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        put_code(&m, CODE, code, ARRAY_LEN(code));
        put_code(&m, CODE + 0x200, callee, ARRAY_LEN(callee));
        put_code(&m, CODE + 0x300, leaf, ARRAY_LEN(leaf));
        run(&m, CODE);
        assert_int_equal(m.r->mcause, RV_LOAD_ACCESS);
        assert_int_equal(m.r->mepc, CODE + 8);
        if (strcmp(backends[b_]->name, "jit"))
            continue;
        assert_int_equal(m.t->tcg->counts.units, 5);
        assert_int_equal(m.t->counts.unit_entries, 2); /* the code, and its trap's handler */
    }
}

static void unit_dies_once(void **unused)
{
    static const uint32_t code[] = { 0x00150513 }; /* addi a0, a0, 1 */
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        put_code(&m, CODE, code, ARRAY_LEN(code));
        state_changed(&m);
        struct unit *u = translate_find(m.t, CODE);
        assert_non_null(u);
        cache_kill(m.t->tcg, u);
        cache_kill(m.t->tcg, u);
        assert_ptr_not_equal(translate_find(m.t, CODE), u);
        assert_int_equal(m.t->tcg->counts.dead, 1);
    }
}

/* ---- several vCPUs --------------------------------------------------------------------------------------- */

struct mover {
    struct mem_region *moved;
    _Atomic unsigned n;
};

static uint64_t read_zero(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void move_region(void *opaque, uint64_t off, unsigned size, uint64_t v)
{
    struct mover *mover = opaque;
    mem_map(mover->moved, 0x20000000 + (mover->n++ & 1) * 0x1000, 0);
}

/* One vCPU moves a region, for which it waits for the other. That one rewrites a function and calls it
 * out of a cache that is always full, for which it waits for the first. */
static void moving_the_map_and_eviction_do_not_wait_for_each_other(void **unused)
{
    static const struct mmio_ops ops = { .read = read_zero, .write = move_region };
    static const uint32_t moves[] = {
        0x00552023, /* 1: sw t0, 0(a0) */
        0xffdff06f, /* j 1b */
    };
    static const uint32_t rewrites[] = {
        0x00530333, /* 1: add t1, t1, t0: addi a0, a0, n */
        0x0065a023, /* sw t1, 0(a1) */
        0x01c5a223, /* sw t3, 4(a1): ret */
        0x0000100f, /* fence.i */
        0x000580e7, /* jalr a1 */
        0x00160613, /* addi a2, a2, 1 */
        0xfe9ff06f, /* j 1b */
    };
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        struct mover mover = { .moved = mem_add_mmio(m.vm, "moved", 4096, &ops, &mover) };
        mem_map(mem_add_mmio(m.vm, "mover", 4096, &ops, &mover), 0x10000000, 0);
        put_code(&m, CODE, moves, ARRAY_LEN(moves));
        put_code(&m, CODE + 0x1000, rewrites, ARRAY_LEN(rewrites));
        struct vcpu *second;
        must(vcpu_new(m.vm, 1, &second));
        struct tcg *tcg = m.t->tcg;
        tcg->part_size = 16384;
        tcg->part_end = tcg->next + 16384;
        riscv64_target.vcpu_reset(second);
        riscv_place(m.cpu, CODE, 0x10000000, 0);
        riscv_place(second, CODE + 0x1000, 0, DATA);
        struct riscv_cpu *r = riscv_of(second);
        r->x[T0] = 1 << 20;
        r->x[T1] = 0x00050513;
        r->x[T3] = 0x8067;
        for (unsigned i = 0; i < 2; i++) {
            must(vcpu_start_thread(m.vm->vcpus[i]));
            vcpu_resume(m.vm->vcpus[i]);
        }
        for (unsigned ms = 0; (mover.n < 500 || tcg->counts.evictions < 100) && ms < 20000; ms++)
            usleep(1000);
        assert_true(mover.n >= 500);
        assert_true(tcg->counts.evictions >= 100);
        for (unsigned i = 0; i < 2; i++)
            vcpu_end_thread(m.vm->vcpus[i]);
    }
}

/* How often its loops looked for windows, while it runs. */
static uint64_t read_looks(const struct machine *m)
{
    return __atomic_load_n(&m->t->words[IR_WORD_LOOKS], __ATOMIC_RELAXED);
}

/* Hot loops without end: one whose index has passed the end of its 32 bits before it is told to stop, one that is entered in
 * its middle, between two steps of its index, and one that code behind it jumps to. */
static void endless_loops_hear_that_they_are_to_end(void **unused)
{
    static const uint32_t codes[][7] = {
        {
            0x00052283, /* 1: lw t0, 0(a0) */
            0x0016061b, /* addiw a2, a2, 1 */
            0xff9ff06f, /* j 1b */
        },
        {
            0x00c0006f, /* j 2f */
            0x00052283, /* 1: lw t0, 0(a0) */
            0x00460613, /* addi a2, a2, 4 */
            0x00052283, /* 2: lw t0, 0(a0) */
            0x00460613, /* addi a2, a2, 4 */
            0xff1ff06f, /* j 1b */
        },
        {
            0x0140006f, /* j 3f */
            0x00052283, /* 1: lw t0, 0(a0) */
            0x00460613, /* addi a2, a2, 4 */
            0xfe051ce3, /* bnez a0, 1b */
            0x00008067, /* ret */
            0x00460613, /* 3: addi a2, a2, 4 */
            0xfedff06f, /* j 1b */
        },
    };
    struct machine m;
    for (size_t k = 0; k < ARRAY_LEN(codes); k++)
        ON_EACH_BACKEND(&m)
        {
            m.t->tcg->always_tier2 = true;
            put_code(&m, CODE, codes[k], ARRAY_LEN(codes[k]));
            riscv_place(m.cpu, CODE, DATA, 0);
            m.r->x[A2] = INT32_MAX - 1000;
            must(vcpu_start_thread(m.cpu));
            vcpu_resume(m.cpu);
            for (unsigned ms = 0; read_looks(&m) < 10000 && ms < 20000; ms++)
                usleep(1000); /* far beyond the end of 32 bits */
            alarm(20);
            vcpu_end_thread(m.cpu);
            alarm(0);
            assert_true(read_looks(&m) >= 10000);
        }
}

/* ---- atomics ------------------------------------------------------------------------------------------------ */

static void sc_of_another_size_stores_or_fails(void **unused)
{
    static const uint32_t code[] = {
        0x1005b52f, /* lr.d a0, (a1) */
        0x18d5a62f, /* sc.w a2, a3, (a1) */
    };
    struct machine m;
    ON_EACH_BACKEND(&m)
    {
        put_code(&m, CODE, code, ARRAY_LEN(code));
        put64(&m, DATA, 0x1122334455667788);
        m.r->x[A1] = DATA;
        m.r->x[A3] = 99;
        run(&m, CODE);
        bool stored = load_le(m.ram->host + (DATA - RAM), 4) == 99;
        assert_int_equal(m.r->x[A2] == 0, stored);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offset_near_2_gib_does_not_wrap),
        cmocka_unit_test(ram_that_begins_within_a_page_ends_where_it_ends),
        cmocka_unit_test(large_pages_are_remembered_when_context_numbers_start_over),
        cmocka_unit_test(large_page_takes_one_walk),
        cmocka_unit_test(large_page_in_pieces_is_flushed_as_one),
        cmocka_unit_test(supervisor_borrows_what_the_user_reached),
        cmocka_unit_test(windows_are_found_when_the_tlb_is_empty),
        cmocka_unit_test(jumps_are_renewed_while_their_page_is_the_same),
        cmocka_unit_test(return_to_a_page_that_moved_goes_there),
        cmocka_unit_test(page_that_follows_itself_is_one_page),
        cmocka_unit_test(store_behind_a_shared_check_is_seen),
        cmocka_unit_test(shared_checks_that_fail_all_the_time_are_given_up),
        cmocka_unit_test(unit_too_complex_is_made_shorter),
        cmocka_unit_test(what_is_new_is_translated_without_leaving),
        cmocka_unit_test(unit_dies_once),
        cmocka_unit_test(moving_the_map_and_eviction_do_not_wait_for_each_other),
        cmocka_unit_test(endless_loops_hear_that_they_are_to_end),
        cmocka_unit_test(sc_of_another_size_stores_or_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
