/* The privileged half of the x86-64 CPU: paging in every mode, segments, exceptions and their delivery, far
 * transfers, task switches, system registers. The translator's services are stand-ins that count. */
#include "board.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/error.h"
#include "target/x86_64/model.h"
#include "target/x86_64/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum outcome { CAME_BACK, LEFT, HALTED };

struct kit {
    struct board *b;
    struct accel accel;
    struct vcpu *cpu;
    struct x86_cpu *x;
    jmp_buf left;
    uint64_t insn_pc;
    unsigned flushes, page_flushes, context_flushes, drops, changes, kicks;
    uint64_t flush_mask, flush_value;
    _Atomic uint32_t exit_flag;
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

static bool reach(struct vcpu *cpu, uint64_t va, unsigned size, enum access access, unsigned mode,
                  uint64_t *v, struct tcg_failure *why)
{
    for (unsigned i = 0; i < size; i++) {
        struct tlb_fill fill;
        uint8_t byte = (uint8_t)(*v >> 8 * i);
        *why = (struct tcg_failure){ va + i, -1 };
        if (!x86_translate_address(cpu, va + i, access, mode, &fill)) {
            why->fault = fill.fault;
            return false;
        }
        if (access == ACCESS_WRITE) {
            mem_write(cpu->vm, fill.gpa, &byte, 1);
        } else {
            mem_read(cpu->vm, fill.gpa, &byte, 1);
            *v |= (uint64_t)byte << 8 * i;
        }
    }
    return true;
}
bool tcg_try_load(struct vcpu *cpu, uint64_t va, unsigned size, unsigned mode, uint64_t *v,
                  struct tcg_failure *why)
{
    *v = 0;
    return reach(cpu, va, size, ACCESS_READ, mode, v, why);
}
bool tcg_code_is(struct vcpu *cpu, uint64_t pc, uint32_t bytes)
{
    (void)cpu, (void)pc, (void)bytes;
    return false;
}
bool tcg_try_store(struct vcpu *cpu, uint64_t va, unsigned size, uint64_t v, unsigned mode,
                   struct tcg_failure *why)
{
    return reach(cpu, va, size, ACCESS_WRITE, mode, &v, why);
}

/* What nothing here calls. */
const uint8_t tcg_tso_load = 0, tcg_tso_store = 0;
bool tcg_cas16(struct vcpu *cpu, uint64_t va, uint64_t seen[2], const uint64_t desired[2],
               unsigned mode)
{
    fail_msg("unexpected");
    return 0;
}
uint8_t tcg_fp_flags(struct vcpu *cpu)
{
    return 0;
}
void tcg_fp_set_flags(struct vcpu *cpu, uint8_t flags)
{
}
uint64_t tcg_load(struct vcpu *cpu, uint64_t va, unsigned size, unsigned mode)
{
    fail_msg("unexpected");
    return 0;
}
void tcg_probe(struct vcpu *cpu, uint64_t va, unsigned size, enum access access, unsigned mode)
{
    fail_msg("unexpected");
}
void tcg_pause(struct vcpu *cpu)
{
    (void)cpu;
}
bool tcg_one_turn(struct vcpu *cpu)
{
    return false;
}

void tcg_watch(struct vcpu *cpu, uint64_t va, unsigned size, enum access access)
{
}

bool tcg_ram_at(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                struct tcg_ram *out)
{
    fail_msg("unexpected");
    return 0;
}
bool tcg_ram_written(struct vcpu *cpu, const struct tcg_ram *r, unsigned n)
{
    fail_msg("unexpected");
    return 0;
}
void tcg_rounding_changed(struct vcpu *cpu)
{
}
void tcg_store(struct vcpu *cpu, uint64_t va, unsigned size, uint64_t v, unsigned mode)
{
    fail_msg("unexpected");
}

static void count_kick(struct vcpu *cpu)
{
    kit->kicks++;
}

/* ---- kit: 1 MiB of RAM at 0 ---------------------------------------------------------------------- */

enum {
    TABLES = 0x10000, /* page tables: each level a page */
    GDT = 0x2000,
    IDT = 0x3000,
    TSS = 0x4000,
    TSS2 = 0x4800,
    STACK0 = 0x8000,
    STACK = 0x9000,
    CODE = 0x7000,
    HANDLER = 0x6000,
    IST = 0xa000,
};
enum {
    CS0 = 0x08,
    DS0 = 0x10,
    CS3 = 0x1b,
    DS3 = 0x23,
    CS0_64 = 0x28,
    CS3_64 = 0x33,
    TR = 0x40,
    TR2 = 0x50,
    GATE = 0x60
};

static struct kit *kit_with(const char *model)
{
    struct kit *k = xcalloc(1, sizeof(*k));
    struct x86_engine_cpu all = { .xcr0 = 0x207,
                                  .vendor = "GenuineIntel",
                                  .phys_bits = 40,
                                  .virt_bits = 48,
                                  .level = 0x16,
                                  .xlevel = 0x80000008,
                                  .tsc_khz = 1000000 };
    struct mem_region *low;
    kit = k;
    memset(all.words, 0xff, sizeof(all.words));
    k->b = board_new();
    k->accel = *k->b->vm->accel;
    k->accel.kick = count_kick;
    k->b->vm->accel = &k->accel;
    k->b->vm->target = &x86_64_target;
    assert_null(x86_cpu_model(k->b->vm, model));
    assert_null(x86_model_fit(k->b->vm, &all, NULL, NULL));
    assert_null(mem_add_ram(k->b->vm, "low", MIB, false, &low));
    mem_map(low, 0, 0);
    k->cpu = board_add_vcpu(k->b);
    k->cpu->exit_flag = &k->exit_flag;
    k->x = x86_of(k->cpu);
    x86_64_target.vcpu_reset(k->cpu);
    k->x->delivering = -1;
    return k;
}

static struct kit *kit_new(void)
{
    return kit_with("max");
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
            (void)(call);                                    \
        how_;                                                \
    })

static void poke(uint64_t at, unsigned size, uint64_t v)
{
    uint8_t bytes[8];
    store_le(bytes, size, v);
    assert_true(mem_write(kit->b->vm, at, bytes, size));
}
static uint64_t peek(uint64_t at, unsigned size)
{
    uint8_t bytes[8];
    assert_true(mem_read(kit->b->vm, at, bytes, size));
    return load_le(bytes, size);
}

/* type with S, DPL, P in the low byte; G, D, L in bits 12 to 15 */
static void descriptor(unsigned selector, uint32_t base, uint32_t limit, uint32_t rights)
{
    uint32_t at = GDT + (selector & ~7u);
    poke(at, 4, (limit & 0xffff) | base << 16);
    poke(at + 4, 4, (base >> 16 & 0xff) | rights << 8 | (limit & 0xf0000) | (base & 0xff000000));
}
static void gate32(unsigned vector, uint16_t cs, uint32_t to, unsigned type_dpl)
{
    poke(IDT + 8 * vector, 4, (uint32_t)cs << 16 | (to & 0xffff));
    poke(IDT + 8 * vector + 4, 4, (to & 0xffff0000) | (0x80 | type_dpl) << 8);
}
static void gate64(unsigned vector, uint64_t to, unsigned type_dpl, unsigned ist)
{
    poke(IDT + 16 * vector, 4, (uint32_t)CS0_64 << 16 | (to & 0xffff));
    poke(IDT + 16 * vector + 4, 4, (to & 0xffff0000) | (0x80 | type_dpl) << 8 | ist);
    poke(IDT + 16 * vector + 8, 8, to >> 32);
}

static struct x86_segment flat(uint16_t selector, uint32_t rights)
{
    return (struct x86_segment){ .selector = selector, .limit = UINT32_MAX, .rights = rights };
}

/* Tables, and protected mode at ring `cpl`, 32-bit. */
static void protected_mode(struct kit *k, unsigned cpl)
{
    struct x86_cpu *x = k->x;
    descriptor(CS0, 0, 0xfffff, 0xc09b);
    descriptor(DS0, 0, 0xfffff, 0xc093);
    descriptor(CS3, 0, 0xfffff, 0xc0fb);
    descriptor(DS3, 0, 0xfffff, 0xc0f3);
    descriptor(CS0_64, 0, 0xfffff, 0xa09b);
    descriptor(CS3_64, 0, 0xfffff, 0xa0fb);
    descriptor(TR, TSS, 0x67, 0x008b);
    x->gdt = (struct x86_table){ GDT, 0xff };
    x->idt = (struct x86_table){ IDT, 0x7ff };
    x->tr = (struct x86_segment){ .selector = TR, .base = TSS, .limit = 0x67, .rights = 0x8b };
    x->cr0 = X86_CR0_PE | X86_CR0_ET;
    x->seg[X86_CS] = cpl ? flat(CS3, 0xc0fb) : flat(CS0, 0xc09b);
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        if (i != X86_CS)
            x->seg[i] = cpl ? flat(DS3, 0xc0f3) : flat(DS0, 0xc093);
    x->gpr[X86_RSP] = STACK;
    poke(TSS + 4, 4, STACK0);
    poke(TSS + 8, 4, DS0);
    x->rip = CODE;
    k->insn_pc = CODE;
    x86_resume(k->cpu);
}

static void long_mode(struct kit *k, unsigned cpl)
{
    struct x86_cpu *x = k->x;
    protected_mode(k, cpl);
    /* the first 2 MiB as one page, for everybody */
    poke(TABLES, 8, (TABLES + 0x1000) | 7);
    poke(TABLES + 0x1000, 8, (TABLES + 0x2000) | 7);
    poke(TABLES + 0x2000, 8, 0x87);
    x->cr3 = TABLES;
    x->cr4 = X86_CR4_PAE;
    x->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | X86_EFER_SCE;
    x->cr0 |= X86_CR0_PG | X86_CR0_WP;
    x->seg[X86_CS] = cpl ? flat(CS3_64, 0xa0fb) : flat(CS0_64, 0xa09b);
    poke(TSS + 4, 8, STACK0);
    poke(TSS + 0x24, 8, IST);
    for (unsigned v = 0; v < 32; v++)
        gate64(v, HANDLER + 16 * v, 0xe, 0);
    x86_resume(k->cpu);
}

static bool may(struct kit *k, uint64_t va, enum access access, unsigned mode,
                struct tlb_fill *fill)
{
    return x86_translate_address(k->cpu, va, access, mode, fill);
}
static int fault_of(struct kit *k, uint64_t va, enum access access)
{
    struct tlb_fill fill;
    return may(k, va, access, 0, &fill) ? -1 : fill.fault;
}

/* ---- paging ------------------------------------------------------------------------------------------ */

static void without_paging_linear_is_physical(void **unused)
{
    struct kit *k = kit_new();
    struct tlb_fill fill;
    assert_true(may(k, 0x12345678, ACCESS_WRITE, 0, &fill));
    assert_int_equal(fill.gpa, 0x12345678);
    assert_true(may(k, 0x1fffffff0, ACCESS_READ, 0, &fill));
    assert_int_equal(fill.gpa, 0xfffffff0);
    kit_free(k);
}

static void legacy_paging_has_4_kib_and_4_mib_pages(void **unused)
{
    struct kit *k = kit_new();
    struct tlb_fill fill;
    protected_mode(k, 0);
    k->x->cr3 = TABLES;
    k->x->cr0 |= X86_CR0_PG;
    poke(TABLES, 4, (TABLES + 0x1000) | 3);
    poke(TABLES + 0x1000 + 4 * 5, 4, 0xabc000 | 3);
    poke(TABLES + 4, 4, 0x1c00000 | 0x83); /* address bits 39..32 in 20..13: 0 */
    assert_true(may(k, 0x5123, ACCESS_READ, 0, &fill));
    assert_int_equal(fill.gpa, 0xabc123);
    assert_int_equal(fill.page_size, 4096);
    assert_int_equal(peek(TABLES, 4) & 0x60, 0x20);
    assert_int_equal(peek(TABLES + 0x1000 + 20, 4) & 0x60, 0x20);
    assert_false(fill.w); /* not dirty yet */
    assert_true(may(k, 0x5123, ACCESS_WRITE, 0, &fill));
    assert_int_equal(peek(TABLES + 0x1000 + 20, 4) & 0x60, 0x60);
    assert_true(fill.w);
    assert_int_equal(fault_of(k, 0x400000, ACCESS_READ), 0); /* no PSE: a table that is not there */
    k->x->cr4 |= X86_CR4_PSE;
    assert_true(may(k, 0x400123, ACCESS_READ, 0, &fill));
    assert_int_equal(fill.gpa, 0x1c00123);
    assert_int_equal(fill.page_size, 4 * MIB);
    poke(TABLES + 4, 4, 0x1e00000 | 0x83); /* bit 21 is reserved */
    assert_int_equal(fault_of(k, 0x400123, ACCESS_WRITE), 0xb);
    kit_free(k);
}

static void pae_reads_four_registers(void **unused)
{
    struct kit *k = kit_new();
    struct tlb_fill fill;
    protected_mode(k, 0);
    k->x->cr4 = X86_CR4_PAE;
    poke(TABLES + 8, 8, (TABLES + 0x1000) | 1);
    poke(TABLES + 0x1000, 8, 0xe00000 | 0x83);
    assert_true(x86_load_pdptrs(k->x, TABLES));
    k->x->cr3 = TABLES;
    k->x->cr0 |= X86_CR0_PG;
    assert_true(may(k, 0x40012345, ACCESS_READ, 0, &fill));
    assert_int_equal(fill.gpa, 0xe12345);
    assert_int_equal(fault_of(k, 0x345, ACCESS_READ), 0);
    poke(TABLES + 0x1000, 8, 0xe00000 | 0x83 | (uint64_t)1 << 63);
    assert_int_equal(fault_of(k, 0x40012345, ACCESS_READ), 9); /* NX is reserved */
    k->x->efer |= X86_EFER_NXE;
    assert_int_equal(fault_of(k, 0x40012345, ACCESS_READ), -1);
    assert_int_equal(fault_of(k, 0x40012345, ACCESS_EXEC), 0x11);
    poke(TABLES + 8, 8, (TABLES + 0x1000) | 3); /* W is reserved in these */
    assert_false(x86_load_pdptrs(k->x, TABLES));
    kit_free(k);
}

static void rights_follow_user_write_wp_smep_smap(void **unused)
{
    struct kit *k = kit_new();
    struct tlb_fill fill;
    long_mode(k, 0);
    struct x86_cpu *x = k->x;
    poke(TABLES + 0x2000 + 8, 8, 0x200000 | 0x83);  /* supervisor's, writable */
    poke(TABLES + 0x2000 + 16, 8, 0x400000 | 0x85); /* user's, read only */
    assert_int_equal(fault_of(k, 0x400000, ACCESS_WRITE), 3);
    x->cr0 &= ~X86_CR0_WP;
    assert_int_equal(fault_of(k, 0x400000, ACCESS_WRITE), -1);
    assert_int_equal(fault_of(k, 0x400000, ACCESS_EXEC), -1);
    x->cr4 |= X86_CR4_SMEP | X86_CR4_SMAP;
    assert_int_equal(fault_of(k, 0x400000, ACCESS_EXEC), 0x11);
    assert_int_equal(fault_of(k, 0x400000, ACCESS_READ), 1);
    x->rflags |= X86_FLAG_AC;
    assert_int_equal(fault_of(k, 0x400000, ACCESS_READ), -1);
    assert_false(
        may(k, 0x400000, ACCESS_READ, X86_MMU_SYSTEM, &fill)); /* implicit: AC does not help */
    x->seg[X86_SS] = flat(DS3, 0xc0f3);
    assert_int_equal(fault_of(k, 0x200000, ACCESS_READ), 5);
    assert_int_equal(fault_of(k, 0x400000, ACCESS_WRITE), 7);
    assert_int_equal(fault_of(k, 0x400000, ACCESS_READ), -1);
    assert_true(may(k, 0x200000, ACCESS_WRITE, X86_MMU_SYSTEM, &fill));
    kit_free(k);
}

static void keys_protect_user_pages_from_data_accesses(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 3);
    poke(TABLES + 0x2000, 8, 0x87 | (uint64_t)3 << 59);
    k->x->cr4 |= X86_CR4_PKE;
    assert_int_equal(fault_of(k, 0x1000, ACCESS_WRITE), -1);
    k->x->pkru = 2u << 6;
    assert_int_equal(fault_of(k, 0x1000, ACCESS_WRITE), 0x27);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_READ), -1);
    k->x->pkru = 1u << 6;
    assert_int_equal(fault_of(k, 0x1000, ACCESS_READ), 0x25);
    assert_int_equal(fault_of(k, 0x1000, ACCESS_EXEC), -1);
    kit_free(k);
}

static void addresses_must_be_canonical(void **unused)
{
    struct kit *k = kit_new();
    struct tlb_fill fill;
    long_mode(k, 0);
    assert_int_equal(fault_of(k, 0x800000000000, ACCESS_READ), X86_NOT_CANONICAL);
    assert_false(may(k, 0x800000000000, ACCESS_READ, X86_MMU_STACK, &fill));
    assert_int_equal(fill.fault, X86_NOT_CANONICAL_STACK);
    k->x->cr4 |= X86_CR4_LA57;
    assert_int_equal(fault_of(k, 0x800000000000, ACCESS_READ), 0);
    kit_free(k);
}

static void five_levels_are_walked(void **unused)
{
    struct kit *k = kit_new();
    struct tlb_fill fill;
    long_mode(k, 0);
    k->x->cr4 |= X86_CR4_LA57;
    poke(TABLES + 0x3000 + 8 * 3, 8, TABLES | 7);
    k->x->cr3 = TABLES + 0x3000;
    assert_true(may(k, ((uint64_t)3 << 48) + 0x1234, ACCESS_READ, 0, &fill));
    assert_int_equal(fill.gpa, 0x1234);
    kit_free(k);
}

static void reserved_bits_fault(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    poke(TABLES + 0x2000, 8, 0x87 | (uint64_t)1 << 45); /* beyond 40 bits */
    assert_int_equal(fault_of(k, 0, ACCESS_READ), 9);
    poke(TABLES + 0x2000, 8, 0x87 | 1 << 14); /* inside a 2 MiB frame */
    assert_int_equal(fault_of(k, 0, ACCESS_READ), 9);
    poke(TABLES, 8, (TABLES + 0x1000) | 0x87); /* PS at the top */
    assert_int_equal(fault_of(k, 0, ACCESS_READ), 9);
    kit_free(k);
}

static void tables_outside_ram_are_not_present(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    poke(TABLES, 8, 0x3000000007);
    assert_int_equal(fault_of(k, 0, ACCESS_READ), 0);
    kit_free(k);
}

static void cr3_forgets_its_own_pcid_only(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    assert_int_equal(OUTCOME(x86h_write_cr(k->x, 4, X86_CR4_PAE | X86_CR4_PCIDE, 3)), CAME_BACK);
    unsigned before = k->context_flushes;
    x86h_write_cr(k->x, 3, (uint64_t)1 << 63 | TABLES | 5, 3);
    assert_int_equal(k->context_flushes, before); /* bit 63: keep */
    assert_int_equal(k->x->cr3, TABLES | 5);
    x86h_write_cr(k->x, 3, TABLES | 7, 3);
    assert_int_equal(k->context_flushes, before + 1);
    assert_int_equal(k->flush_value & 0xfff, 7);
    assert_int_equal(x86_context_key(k->cpu, 0) & k->flush_mask, k->flush_value);
    kit_free(k);
}

static void a_supervisor_with_global_pages_keeps_its_context(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    poke(TABLES + 0x2000, 8, 0x187 & ~4u); /* global, supervisor's */
    x86h_write_cr(k->x, 4, X86_CR4_PAE | X86_CR4_PGE, 3);
    uint64_t key = x86_context_key(k->cpu, 0);
    fault_of(k, 0x1000, ACCESS_READ);
    x86h_write_cr(k->x, 3, TABLES + 0x3000, 3);
    assert_int_equal(x86_context_key(k->cpu, 0), key);
    assert_false((key & k->flush_mask) == k->flush_value);
    kit_free(k);
}

/* ---- delivery ---------------------------------------------------------------------------------------- */

static void real_mode_interrupts_go_through_the_ivt(void **unused)
{
    struct kit *k = kit_new();
    struct x86_cpu *x = k->x;
    poke(0x21 * 4, 4, 0x12340056);
    x->idt = (struct x86_table){ 0, 0x3ff };
    x86_load_real_segment(x, X86_CS, 0x700);
    x86_load_real_segment(x, X86_SS, 0x800);
    x->gpr[X86_RSP] = 0x100;
    x->rip = 0x10;
    x->rflags = 0x202;
    x86_resume(k->cpu);
    k->insn_pc = x->pc;
    assert_int_equal(OUTCOME(x86h_int(x, 0x21, 2, X86_INT_N)), CAME_BACK);
    assert_int_equal(x->pc, 0x12340 + 0x56);
    assert_int_equal(x->gpr[X86_RSP], 0xfa);
    assert_int_equal(peek(0x80fa, 2), 0x12);
    assert_int_equal(peek(0x80fc, 2), 0x700);
    assert_int_equal(peek(0x80fe, 2), 0x202);
    assert_int_equal(x->rflags & X86_FLAG_IF, 0);
    k->insn_pc = x->pc;
    x86h_iret(x, 2);
    assert_int_equal(x->pc, 0x7012);
    assert_int_equal(x->gpr[X86_RSP], 0x100);
    assert_int_equal(x->rflags & X86_FLAG_IF, X86_FLAG_IF);
    kit_free(k);
}

static void a_fault_of_an_outer_ring_switches_stacks(void **unused)
{
    struct kit *k = kit_new();
    protected_mode(k, 3);
    gate32(X86_GP, CS0, HANDLER, 0xe);
    assert_int_equal(OUTCOME((x86_fault_code(k->x, X86_GP, 0x18), 0)), LEFT);
    assert_int_equal(x86_cpl(k->x), 0);
    assert_int_equal(k->x->pc, HANDLER);
    assert_int_equal(k->x->gpr[X86_RSP], STACK0 - 24);
    assert_int_equal(peek(STACK0 - 24, 4), 0x18);
    assert_int_equal(peek(STACK0 - 20, 4), CODE);
    assert_int_equal(peek(STACK0 - 16, 4), CS3);
    assert_true(peek(STACK0 - 12, 4) & X86_FLAG_RF);
    assert_int_equal(peek(STACK0 - 8, 4), STACK);
    assert_int_equal(peek(STACK0 - 4, 4), DS3);
    k->x->gpr[X86_RSP] += 4; /* the handler drops the code */
    k->insn_pc = HANDLER;
    assert_int_equal(OUTCOME(x86h_iret(k->x, 4)), CAME_BACK);
    assert_int_equal(x86_cpl(k->x), 3);
    assert_int_equal(k->x->pc, CODE);
    assert_int_equal(k->x->gpr[X86_RSP], STACK);
    assert_int_equal(k->x->seg[X86_CS].selector, CS3);
    kit_free(k);
}

static void software_interrupts_need_the_gate_s_dpl(void **unused)
{
    struct kit *k = kit_new();
    protected_mode(k, 3);
    gate32(0x80, CS0, HANDLER, 0xe | 0x60);
    gate32(0x81, CS0, HANDLER, 0xe);
    gate32(X86_GP, CS0, HANDLER + 64, 0xe);
    assert_int_equal(OUTCOME(x86h_int(k->x, 0x80, 2, X86_INT_N)), CAME_BACK);
    assert_int_equal(k->x->pc, HANDLER);
    assert_int_equal(peek(STACK0 - 20, 4), CODE + 2);
    protected_mode(k, 3);
    assert_int_equal(OUTCOME(x86h_int(k->x, 0x81, 2, X86_INT_N)), LEFT);
    assert_int_equal(k->x->pc, HANDLER + 64);
    assert_int_equal(peek(STACK0 - 24, 4), 0x81 * 8 + 2); /* IDT, not EXT */
    assert_int_equal(peek(STACK0 - 20, 4), CODE);
    kit_free(k);
}

static void long_mode_frames_are_aligned_and_ist_chooses_a_stack(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    k->x->gpr[X86_RSP] = STACK - 3;
    assert_int_equal(OUTCOME((x86_page_fault(k->x, 0xdead000, 2), 0)), LEFT);
    assert_int_equal(k->x->cr2, 0xdead000);
    assert_int_equal(k->x->pc, HANDLER + 16 * X86_PF);
    uint64_t sp = k->x->gpr[X86_RSP];
    assert_int_equal(sp, STACK - 16 - 48);
    assert_int_equal(peek(sp, 8), 2);
    assert_int_equal(peek(sp + 8, 8), CODE);
    assert_int_equal(peek(sp + 16, 8), CS0_64);
    assert_int_equal(peek(sp + 32, 8), STACK - 3);
    long_mode(k, 3);
    gate64(X86_DB, HANDLER, 0xe, 1);
    x86_deliver(k->x, (struct x86_event){ .vector = X86_DB });
    assert_int_equal(k->x->gpr[X86_RSP], IST - 40);
    assert_int_equal(k->x->seg[X86_SS].selector, 0);
    assert_int_equal(x86_cpl(k->x), 0);
    assert_int_equal(peek(IST - 8, 8), DS3);
    k->x->cr0 = 0;
    kit_free(k);
}

static void a_fault_in_delivery_becomes_double_and_triple(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    poke(IDT + 16 * X86_GP + 4, 4, 0); /* no gate: #GP delivering #GP */
    assert_int_equal(OUTCOME((x86_fault_code(k->x, X86_GP, 0), 0)), LEFT);
    assert_int_equal(k->x->pc, HANDLER + 16 * X86_DF);
    assert_int_equal(peek(k->x->gpr[X86_RSP], 8), 0);
    long_mode(k, 0);
    poke(IDT + 16 * X86_GP + 4, 4, 0);
    poke(IDT + 16 * X86_DF + 4, 4, 0);
    assert_false(k->x->is_down);
    assert_int_equal(OUTCOME((x86_fault_code(k->x, X86_GP, 0), 0)), HALTED);
    assert_true(k->x->is_down);
    assert_true(k->b->vm->reset_wanted);
    kit_free(k);
}

static void benign_then_contributory_is_served_in_turn(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    poke(IDT + 16 * X86_UD + 4, 4, 0xe00); /* not present */
    assert_int_equal(OUTCOME((x86_fault(k->x, X86_UD), 0)), LEFT);
    assert_int_equal(k->x->pc, HANDLER + 16 * X86_NP);
    assert_int_equal(peek(k->x->gpr[X86_RSP], 8), X86_UD * 8 + 3); /* IDT and EXT */
    kit_free(k);
}

static void interrupts_wait_behind_sti_for_one_instruction(void **unused);

static bool offered(void *opaque)
{
    return *(bool *)opaque;
}
static int accept(void *opaque)
{
    *(bool *)opaque = false;
    return 0x30;
}
static uint8_t tpr(void *opaque)
{
    return 0;
}
static void set_tpr(void *opaque, uint8_t v)
{
}
static const struct x86_apic_ops one_interrupt = {
    .pending = offered, .acknowledge = accept, .get_tpr = tpr, .set_tpr = set_tpr
};

static void interrupts_wait_behind_sti_for_one_instruction(void **unused)
{
    struct kit *k = kit_new();
    bool there = true;
    long_mode(k, 0);
    gate64(0x30, HANDLER, 0xe, 0);
    x86_set_apic(k->cpu, &one_interrupt, &there);
    assert_false(x86_take_interrupt(k->cpu));                /* IF is off */
    assert_int_equal(OUTCOME((x86h_sti(k->x, 1), 0)), LEFT); /* a CLI may follow */
    assert_int_equal(k->x->pc, CODE + 1);
    assert_false(x86_take_interrupt(k->cpu));
    assert_true(k->x->state_word & X86_TR_SHADOW);
    x86h_end_shadow(k->x);
    assert_false(k->x->state_word & X86_TR_SHADOW);
    k->x->pc = CODE + 5;
    assert_true(x86_take_interrupt(k->cpu));
    assert_int_equal(k->x->pc, HANDLER);
    assert_int_equal(peek(k->x->gpr[X86_RSP], 8), CODE + 5);
    kit_free(k);
}

static void hlt_waits_for_what_it_may_take(void **unused)
{
    struct kit *k = kit_new();
    bool there = false;
    long_mode(k, 0);
    gate64(0x30, HANDLER, 0xe, 0);
    x86_set_apic(k->cpu, &one_interrupt, &there);
    k->x->rflags |= X86_FLAG_IF;
    assert_int_equal(OUTCOME((x86h_hlt(k->x, 1), 0)), HALTED);
    assert_true(x86_waits(k->cpu));
    assert_false(x86_64_target.has_work(k->cpu));
    there = true;
    assert_true(x86_64_target.has_work(k->cpu));
    assert_true(x86_take_interrupt(k->cpu));
    assert_false(x86_waits(k->cpu));
    assert_int_equal(peek(k->x->gpr[X86_RSP], 8), CODE + 1);
    kit_free(k);
}

static void nmis_are_masked_until_iret(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    x86_raise(k->cpu, X86_NMI);
    assert_true(x86_take_interrupt(k->cpu));
    assert_int_equal(k->x->pc, HANDLER + 16 * X86_NMI_VECTOR);
    x86_raise(k->cpu, X86_NMI);
    assert_false(x86_take_interrupt(k->cpu));
    k->insn_pc = k->x->pc;
    x86h_iret(k->x, 8);
    assert_int_equal(k->x->pc, CODE);
    assert_true(x86_take_interrupt(k->cpu));
    kit_free(k);
}

static void init_and_sipi_start_a_cpu(void **unused)
{
    struct kit *k = kit_new();
    k->x->apic_base &= ~X86_APIC_BASE_BSP;
    k->x->run_state = X86_WAIT_INIT;
    assert_true(x86_waits(k->cpu));
    x86_raise(k->cpu, X86_INIT);
    x86_take_interrupt(k->cpu);
    assert_true(x86_waits(k->cpu));
    x86_start_up(k->cpu, 0x9a);
    x86_take_interrupt(k->cpu);
    assert_false(x86_waits(k->cpu));
    assert_int_equal(k->x->pc, 0x9a000);
    kit_free(k);
}

static void single_step_traps_behind_the_instruction(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    x86h_step(k->x);
    k->x->pc = CODE + 3;
    assert_true(x86_take_interrupt(k->cpu));
    assert_int_equal(k->x->pc, HANDLER + 16 * X86_DB);
    assert_true(k->x->dr6 & X86_DR6_BS);
    assert_int_equal(peek(k->x->gpr[X86_RSP], 8), CODE + 3);
    kit_free(k);
}

/* ---- segments and far transfers ------------------------------------------------------------------------- */

static void accesses_outside_a_segment_fault(void **unused)
{
    struct kit *k = kit_new();
    protected_mode(k, 0);
    struct x86_cpu *x = k->x;
    gate32(X86_GP, CS0, HANDLER, 0xe);
    gate32(X86_SS_FAULT, CS0, HANDLER + 16, 0xe);
    x->seg[X86_DS] = (struct x86_segment){ .base = 0x1000, .limit = 0xff, .rights = 0x93 };
    assert_int_equal(x86_linear(x, X86_DS, 0xfc, 4), 0x10fc);
    assert_int_equal(OUTCOME(x86_linear(x, X86_DS, 0xfd, 4)), LEFT);
    x->seg[X86_DS].rights = 0x91;
    assert_int_equal(OUTCOME(x86_linear(x, X86_DS, 0, 4)), CAME_BACK);
    assert_int_equal(OUTCOME(x86_linear(x, X86_DS, 0, 4 | X86_LINEAR_WRITE)), LEFT);
    x->seg[X86_DS].rights = 0x97; /* expand down: above the limit, to 64 KiB */
    assert_int_equal(OUTCOME(x86_linear(x, X86_DS, 0xff, 1)), LEFT);
    assert_int_equal(OUTCOME(x86_linear(x, X86_DS, 0x100, 1)), CAME_BACK);
    assert_int_equal(OUTCOME(x86_linear(x, X86_DS, 0xffff, 2)), LEFT);
    assert_int_equal(x->pc, HANDLER);
    x->seg[X86_SS].limit = 0xf;
    x->seg[X86_SS].base = STACK;
    x->gpr[X86_RSP] = 4; /* no room for a frame: #DF would need one, too */
    assert_int_equal(OUTCOME(x86_linear(x, X86_SS, 0x10, 1)), HALTED);
    kit_free(k);
}

static void loading_a_segment_checks_it(void **unused)
{
    struct kit *k = kit_new();
    protected_mode(k, 3);
    gate32(X86_GP, CS0, HANDLER, 0xe);
    gate32(X86_NP, CS0, HANDLER + 16, 0xe);
    descriptor(0x70, 0x12345678, 0xf, 0x40f2);
    assert_int_equal(OUTCOME((x86_load_segment(k->x, X86_ES, 0x73), 0)), CAME_BACK);
    assert_int_equal(k->x->seg[X86_ES].base, 0x12345678);
    assert_int_equal(peek(GDT + 0x75, 1), 0xf3); /* accessed */
    assert_int_equal(OUTCOME((x86_load_segment(k->x, X86_ES, 0), 0)), CAME_BACK);
    assert_true(k->x->seg[X86_ES].rights & X86_AR_UNUSABLE);
    assert_int_equal(OUTCOME((x86_load_segment(k->x, X86_ES, DS0), 0)), LEFT); /* ring 0's */
    assert_int_equal(k->x->pc, HANDLER);
    assert_int_equal(peek(k->x->gpr[X86_RSP], 4), DS0);
    protected_mode(k, 3);
    descriptor(0x70, 0, 0xf, 0x4072);
    assert_int_equal(OUTCOME((x86_load_segment(k->x, X86_ES, 0x73), 0)), LEFT);
    assert_int_equal(k->x->pc, HANDLER + 16);
    kit_free(k);
}

static void call_gates_copy_parameters_to_the_inner_stack(void **unused)
{
    struct kit *k = kit_new();
    protected_mode(k, 3);
    poke(GDT + GATE, 8, (uint64_t)0xec02 << 32 | (uint64_t)CS0 << 16 | HANDLER);
    poke(STACK - 8, 4, 0x1111);
    poke(STACK - 4, 4, 0x2222);
    k->x->gpr[X86_RSP] = STACK - 8;
    assert_int_equal(OUTCOME(x86h_far_call(k->x, GATE | 3, 0, 4 | 7 << 8)), CAME_BACK);
    assert_int_equal(x86_cpl(k->x), 0);
    assert_int_equal(k->x->pc, HANDLER);
    assert_int_equal(k->x->gpr[X86_RSP], STACK0 - 24);
    assert_int_equal(peek(STACK0 - 24, 4), CODE + 7);
    assert_int_equal(peek(STACK0 - 20, 4), CS3);
    assert_int_equal(peek(STACK0 - 16, 4), 0x1111);
    assert_int_equal(peek(STACK0 - 12, 4), 0x2222);
    assert_int_equal(peek(STACK0 - 8, 4), STACK - 8);
    k->insn_pc = HANDLER;
    assert_int_equal(OUTCOME(x86h_far_return(k->x, 4, 8)), CAME_BACK);
    assert_int_equal(x86_cpl(k->x), 3);
    assert_int_equal(k->x->pc, CODE + 7);
    assert_int_equal(k->x->gpr[X86_RSP], STACK);
    kit_free(k);
}

static void a_far_jump_enters_64_bit_code(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    k->x->seg[X86_CS] = flat(CS0, 0xc09b);
    x86_resume(k->cpu);
    assert_true(k->x->state_word & X86_TR_CODE32);
    assert_int_equal(OUTCOME(x86h_far_jump(k->x, CS0_64, HANDLER, 4)), CAME_BACK);
    assert_true(k->x->state_word & X86_TR_CODE64);
    assert_int_equal(k->x->pc, HANDLER);
    kit_free(k);
}

static void syscall_and_sysret_swap_rings(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 3);
    struct x86_cpu *x = k->x;
    x->star = (uint64_t)0x1b << 48 | (uint64_t)CS0_64 << 32;
    x->lstar = HANDLER;
    x->sfmask = X86_FLAG_IF;
    x->rflags |= X86_FLAG_IF;
    assert_int_equal(x86h_syscall(x, 2), HANDLER);
    assert_int_equal(x86_cpl(x), 0);
    assert_int_equal(x->gpr[X86_RCX], CODE + 2);
    assert_true(x->gpr[11] & X86_FLAG_IF);
    assert_false(x->rflags & X86_FLAG_IF);
    assert_int_equal(x86h_sysret(x, 8), CODE + 2);
    assert_int_equal(x86_cpl(x), 3);
    assert_int_equal(x->seg[X86_CS].selector, 0x2b);
    assert_true(x->rflags & X86_FLAG_IF);
    kit_free(k);
}

static void a_task_switch_saves_and_loads_everything(void **unused)
{
    struct kit *k = kit_new();
    protected_mode(k, 0);
    descriptor(TR2, TSS2, 0x67, 0x0089);
    poke(TSS2 + 0x20, 4, HANDLER);
    poke(TSS2 + 0x24, 4, 2);
    poke(TSS2 + 0x28, 4, 0xaaaa);
    poke(TSS2 + 0x38, 4, STACK0);
    for (unsigned s = 0; s < 6; s++)
        poke(TSS2 + 0x48 + 4 * s, 4, s == X86_CS ? CS0 : DS0);
    k->x->gpr[X86_RAX] = 0x1234;
    assert_int_equal(OUTCOME(x86h_far_call(k->x, TR2, 0, 4 | 7 << 8)), CAME_BACK);
    assert_int_equal(k->x->pc, HANDLER);
    assert_int_equal(k->x->gpr[X86_RAX], 0xaaaa);
    assert_int_equal(k->x->tr.selector, TR2);
    assert_true(k->x->rflags & X86_FLAG_NT);
    assert_true(k->x->cr0 & X86_CR0_TS);
    assert_int_equal(peek(TSS2, 2), TR);
    assert_int_equal(peek(TSS + 0x20, 4), CODE + 7);
    assert_int_equal(peek(TSS + 0x28, 4), 0x1234);
    assert_int_equal(peek(GDT + TR2 + 5, 1), 0x8b);
    k->insn_pc = HANDLER;
    assert_int_equal(OUTCOME(x86h_iret(k->x, 4)), CAME_BACK);
    assert_int_equal(k->x->pc, CODE + 7);
    assert_int_equal(k->x->gpr[X86_RAX], 0x1234);
    assert_int_equal(peek(GDT + TR2 + 5, 1), 0x89);
    kit_free(k);
}

static void ports_obey_the_bitmap(void **unused)
{
    struct kit *k = kit_new();
    protected_mode(k, 3);
    gate32(X86_GP, CS0, HANDLER, 0xe);
    k->x->tr.limit = 0x100;
    poke(TSS + 0x66, 2, 0x68);
    poke(TSS + 0x68 + 0x80 / 8, 1, 0xfe);
    assert_int_equal(OUTCOME((x86_check_ports(k->x, 0x80, 1), 0)), CAME_BACK);
    assert_int_equal(OUTCOME((x86_check_ports(k->x, 0x80, 2), 0)), LEFT);
    kit_free(k);
}

/* ---- registers ---------------------------------------------------------------------------------------- */

static uint64_t fault_vector(struct kit *k)
{
    return (k->x->pc - HANDLER) / 16;
}

static void bad_control_values_fault(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    assert_int_equal(OUTCOME(x86h_write_cr(k->x, 0, X86_CR0_PG, 3)), LEFT);
    assert_int_equal(fault_vector(k), X86_GP);
    long_mode(k, 0);
    assert_int_equal(OUTCOME(x86h_write_cr(k->x, 4, 0, 3)), LEFT); /* PAE must stay */
    long_mode(k, 0);
    assert_int_equal(OUTCOME(x86h_write_cr(k->x, 4, X86_CR4_PAE | (uint64_t)1 << 31, 3)), LEFT);
    long_mode(k, 3);
    assert_int_equal(OUTCOME(x86h_read_cr(k->x, 0)), LEFT);
    assert_int_equal(fault_vector(k), X86_GP);
    kit_free(k);
}

static void long_mode_begins_with_paging(void **unused)
{
    struct kit *k = kit_new();
    protected_mode(k, 0);
    poke(TABLES, 8, 0);
    k->x->efer = X86_EFER_LME;
    k->x->cr4 = X86_CR4_PAE;
    k->x->cr3 = TABLES;
    assert_int_equal(OUTCOME(x86h_write_cr(k->x, 0, X86_CR0_PE | X86_CR0_PG, 3)), CAME_BACK);
    assert_true(k->x->efer & X86_EFER_LMA);
    assert_true(k->x->state_word & X86_TR_LMA);
    assert_int_equal(OUTCOME(x86h_write_cr(k->x, 0, X86_CR0_PE, 3)), CAME_BACK);
    assert_false(k->x->efer & X86_EFER_LMA);
    kit_free(k);
}

static void msrs_have_their_rules(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    struct x86_cpu *x = k->x;
    x->gpr[X86_RCX] = 0xc0000082;
    x->gpr[X86_RAX] = 0x1000;
    x->gpr[X86_RDX] = 0xffffffff;
    assert_int_equal(OUTCOME(x86h_wrmsr(x, 2)), CAME_BACK);
    assert_int_equal(x86h_rdmsr(x), 0xffffffff00001000);
    x->gpr[X86_RDX] = 0x12345678;
    assert_int_equal(OUTCOME(x86h_wrmsr(x, 2)), LEFT); /* not canonical */
    assert_int_equal(fault_vector(k), X86_GP);
    long_mode(k, 0);
    x->gpr[X86_RCX] = 0x12345;
    assert_int_equal(OUTCOME(x86h_rdmsr(x)), LEFT);
    long_mode(k, 0);
    x->gpr[X86_RCX] = 0x10;
    x->gpr[X86_RAX] = 5000;
    x->gpr[X86_RDX] = 0;
    assert_int_equal(OUTCOME(x86h_wrmsr(x, 2)), CAME_BACK);
    assert_int_equal(x86h_rdtsc(x), 5000);
    kit_free(k);
}

static void general_detect_guards_debug_registers(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    x86h_write_dr(k->x, 7, 1 << 13, 3);
    assert_int_equal(OUTCOME(x86h_read_dr(k->x, 0)), LEFT);
    assert_int_equal(fault_vector(k), X86_DB);
    assert_true(k->x->dr6 & X86_DR6_BD);
    assert_false(k->x->dr7 & X86_DR7_GD);
    kit_free(k);
}

static void data_breakpoints_trap_behind_the_access(void **unused)
{
    struct kit *k = kit_new();
    long_mode(k, 0);
    k->x->dr[1] = 0x5004;
    x86h_write_dr(k->x, 7, 1 << 2 | 0xd << 20, 3); /* DR1: writes, four bytes */
    assert_true(k->x->state_word & X86_TR_WATCH);
    k->x->pc = CODE + 4;
    x86h_watch(k->x, 0x5000, 4 | X86_LINEAR_WRITE);
    x86h_watch(k->x, 0x5004, 4);
    assert_false(x86_take_interrupt(k->cpu));
    x86h_watch(k->x, 0x5007, 1 | X86_LINEAR_WRITE);
    assert_true(x86_take_interrupt(k->cpu));
    assert_int_equal(k->x->dr6 & 0xf, 2);
    kit_free(k);
}

/* ---- system management mode ---------------------------------------------------------------------------- */

enum { SMBASE = 0x30000, IMAGE = SMBASE + 0xfe00, SMM_KEYS = 58 /* a bit of context keys */ };

static struct kit *smm_kit(const char *model)
{
    struct kit *k = kit_with(model);
    k->b->vm->has_smm = true;
    return k;
}

static void take_smi(struct kit *k)
{
    x86_raise(k->cpu, X86_SMI);
    assert_true(x86_take_interrupt(k->cpu));
    assert_true(k->x->events.in_smm && k->cpu->in_smm);
}

/* The handler's last instruction. */
static enum outcome resume(struct kit *k)
{
    k->insn_pc = k->x->pc;
    return OUTCOME(x86h_rsm(k->x));
}

static void an_smi_saves_what_rsm_brings_back(void **unused)
{
    struct kit *k = smm_kit("max");
    long_mode(k, 3);
    struct x86_cpu *x = k->x;
    for (unsigned i = 0; i < 16; i++)
        x->gpr[i] = UINT64_C(0x1111111122222222) * i;
    x->seg[X86_FS].base = 0x7fff12345678;
    x->seg[X86_GS] = (struct x86_segment){ .rights = X86_AR_UNUSABLE };
    x->dr6 = 0xffff4ff0;
    x86_set_rflags(x, 0x246);
    x86_update_state_word(x);
    struct x86_segment before[N_X86_SEGS];
    memcpy(before, x->seg, sizeof(before));
    uint32_t word = x->state_word;
    take_smi(k);
    assert_int_equal(x->pc, SMBASE + 0x8000);
    assert_int_equal(x->seg[X86_CS].selector, 0x3000);
    assert_int_equal(x->seg[X86_CS].base, SMBASE);
    assert_int_equal(x->seg[X86_DS].limit, UINT32_MAX);
    assert_int_equal(x86_code_bits(x), 16);
    assert_int_equal(x86_cpl(x), 0);
    assert_int_equal(x->cr0 & (X86_CR0_PE | X86_CR0_PG), 0);
    assert_int_equal(x->cr4 | x->efer, 0);
    assert_int_equal(x86_get_rflags(x), 2);
    static const struct {
        uint16_t at;
        uint8_t size;
        uint64_t value;
    } saved[] = {
        { 0x1f8, 8, 0 },
        { 0x1c0, 8, UINT64_C(0x1111111122222222) * 7 },
        { 0x180, 8, UINT64_C(0x1111111122222222) * 15 },
        { 0x178, 8, CODE },
        { 0x170, 8, 0x246 },
        { 0x168, 8, 0xffff4ff0 },
        { 0x158, 8, 0x80010011 },
        { 0x150, 8, TABLES },
        { 0x148, 8, 0x20 },
        { 0x100, 4, SMBASE },
        { 0x0fc, 4, 0x20064 },
        { 0x0d0, 8, 0xd01 },
        { 0x0c8, 2, 0 },
        { 0x010, 2, CS3_64 },
        { 0x012, 2, 0xa0fb },
        { 0x014, 4, UINT32_MAX },
        { 0x048, 8, 0x7fff12345678 },
        { 0x052, 2, 0 },
        { 0x064, 2, 0xff },
        { 0x068, 8, GDT },
        { 0x088, 8, IDT },
        { 0x090, 2, TR },
        { 0x098, 8, TSS },
    };
    for (size_t i = 0; i < ARRAY_LEN(saved); i++)
        if (peek(IMAGE + saved[i].at, saved[i].size) != saved[i].value)
            fail_msg("at %#x", saved[i].at);
    memset(x->gpr, 0x5a, sizeof(x->gpr));
    x->cr3 = 0x123000;
    k->flushes = 0;
    assert_int_equal(resume(k), LEFT);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(x->gpr[i], UINT64_C(0x1111111122222222) * i);
    assert_memory_equal(before, x->seg, sizeof(before));
    assert_int_equal(x->pc, CODE);
    assert_int_equal(x86_get_rflags(x), 0x246);
    assert_int_equal(x->cr0, 0x80010011);
    assert_int_equal(x->cr3, TABLES);
    assert_int_equal(x->efer, 0xd01);
    assert_int_equal(x->idt.limit, 0x7ff);
    assert_int_equal(x->state_word, word);
    assert_false(x->events.in_smm || k->cpu->in_smm || x->events.nmi_masked);
    assert_int_equal(k->flushes, 0); /* paging is what it was */
    kit_free(k);
}

static void a_cpu_without_long_mode_has_the_other_map(void **unused)
{
    struct kit *k = smm_kit("qemu32");
    protected_mode(k, 0);
    for (unsigned i = 0; i < 8; i++)
        k->x->gpr[i] = 0x10203040 + i;
    take_smi(k);
    static const struct {
        uint16_t at;
        uint32_t value;
    } saved[] = {
        { 0x1fc, 0x11 },       { 0x1f4, 2 },   { 0x1f0, CODE },    { 0x1ec, 0x10203047 },
        { 0x1d0, 0x10203040 }, { 0x1c4, TR },  { 0x1ac, CS0 },     { 0x190, 0xc09b },
        { 0x194, UINT32_MAX }, { 0x198, 0 },   { 0x12c, 0xc093 },  { 0x174, GDT },
        { 0x158, IDT },        { 0x164, TSS }, { 0x0fc, 0x20000 }, { 0x0f8, SMBASE },
    };
    for (size_t i = 0; i < ARRAY_LEN(saved); i++)
        if (peek(IMAGE + saved[i].at, 4) != saved[i].value)
            fail_msg("at %#x", saved[i].at);
    poke(IMAGE + 0x0f8, 4, 0x40000);
    poke(IMAGE + 0x1d0, 4, 0xabcd);
    assert_int_equal(resume(k), LEFT);
    assert_int_equal(k->x->gpr[X86_RAX], 0xabcd);
    assert_int_equal(k->x->gpr[X86_RDI], 0x10203047);
    assert_int_equal(k->x->pc, CODE);
    take_smi(k);
    assert_int_equal(k->x->pc, 0x48000);
    kit_free(k);
}

static void smis_nmis_and_inits_wait_in_system_management_mode(void **unused)
{
    struct kit *k = smm_kit("max");
    long_mode(k, 0);
    take_smi(k);
    x86_raise(k->cpu, X86_SMI);
    x86_raise(k->cpu, X86_SMI); /* one is kept */
    x86_raise(k->cpu, X86_NMI);
    x86_raise(k->cpu, X86_INIT);
    assert_false(x86_take_interrupt(k->cpu));
    k->insn_pc = k->x->pc;
    assert_int_equal(OUTCOME(x86h_hlt(k->x, 1)), HALTED);
    assert_false(x86_64_target.has_work(k->cpu));
    k->x->run_state = X86_RUNNABLE;
    assert_int_equal(resume(k), LEFT);
    assert_int_equal(k->x->pc, CODE);
    atomic_fetch_and(&k->x->lines, ~(uint32_t)X86_INIT);
    assert_true(x86_take_interrupt(k->cpu)); /* an SMI comes before an NMI */
    assert_true(k->x->events.in_smm);
    assert_int_equal(resume(k), LEFT);
    assert_true(x86_take_interrupt(k->cpu));
    assert_int_equal(k->x->pc, HANDLER + 16 * X86_NMI_VECTOR);
    take_smi(k); /* in the NMI's handler: NMIs stay masked behind it */
    assert_int_equal(resume(k), LEFT);
    assert_true(k->x->events.nmi_masked);
    x86_raise(k->cpu, X86_INIT);
    x86_take_interrupt(k->cpu);
    assert_int_equal(k->x->pc, 0xfffffff0);
    kit_free(k);
}

static void a_halted_cpu_goes_on_waiting_unless_the_handler_says_no(void **unused)
{
    for (int stays = 0; stays < 2; stays++) {
        struct kit *k = smm_kit("max");
        long_mode(k, 0);
        assert_int_equal(OUTCOME(x86h_hlt(k->x, 1)), HALTED);
        assert_false(x86_64_target.has_work(k->cpu));
        x86_raise(k->cpu, X86_SMI);
        assert_true(x86_64_target.has_work(k->cpu));
        assert_true(x86_take_interrupt(k->cpu));
        assert_int_equal(peek(IMAGE + 0xc9, 1), 1);
        assert_false(x86_waits(k->cpu));
        poke(IMAGE + 0xc9, 1, (uint64_t)stays);
        assert_int_equal(resume(k), stays ? HALTED : LEFT);
        assert_int_equal(x86_waits(k->cpu), stays);
        assert_int_equal(k->x->pc, CODE + 1);
        kit_free(k);
    }
}

static void a_bad_image_shuts_the_cpu_down(void **unused)
{
    static const struct {
        uint16_t at;
        uint64_t value;
    } bad[] = {
        { 0x158, 0x80000010 }, /* PG without PE */
        { 0x158, 0x20000011 }, /* NW without CD */
        { 0x158, UINT64_C(0x100000011) },
        { 0x148, UINT64_C(1) << 40 }, /* a reserved bit of CR4 */
        { 0x148, 0 },                 /* long mode without PAE */
        { 0x150, UINT64_C(1) << 50 },
        { 0x0d0, 0xff000d01 },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct kit *k = smm_kit("max");
        long_mode(k, 0);
        take_smi(k);
        poke(IMAGE + bad[i].at, 8, bad[i].value);
        assert_int_equal(resume(k), HALTED);
        assert_true(k->x->is_down);
        kit_free(k);
    }
}

static void rsm_is_undefined_elsewhere(void **unused)
{
    struct kit *k = smm_kit("max");
    long_mode(k, 0);
    assert_int_equal(resume(k), LEFT);
    assert_int_equal(k->x->pc, HANDLER + 16 * X86_UD);
    kit_free(k);
}

static void smis_wait_behind_sti_and_need_a_board_that_has_them(void **unused)
{
    struct kit *k = smm_kit("max");
    long_mode(k, 0);
    x86h_sti(k->x, 1);
    k->x->pc = CODE + 1;
    x86_raise(k->cpu, X86_SMI);
    assert_false(x86_take_interrupt(k->cpu));
    assert_true(k->x->state_word & X86_TR_SHADOW); /* the next instruction looks again */
    k->x->pc = CODE + 2;
    assert_true(x86_take_interrupt(k->cpu));
    assert_int_equal(resume(k), LEFT);
    k->b->vm->has_smm = false;
    x86_raise(k->cpu, X86_SMI);
    assert_false(x86_take_interrupt(k->cpu));
    kit_free(k);
}

static void system_management_mode_has_contexts_of_its_own(void **unused)
{
    struct kit *k = smm_kit("max");
    long_mode(k, 0);
    uint64_t outside = x86_context_key(k->cpu, -1), none = k->context_flushes;
    k->flushes = 0;
    take_smi(k);
    uint64_t real = x86_context_key(k->cpu, -1);
    assert_int_equal(k->flushes + (k->context_flushes - none), 0);
    x86h_write_cr(k->x, 4, X86_CR4_PAE, 3);
    k->x->efer = X86_EFER_LME;
    k->x->cr3 = TABLES;
    x86h_write_cr(k->x, 0, X86_CR0_PE | X86_CR0_PG, 3);
    assert_int_equal(k->flushes, 0);
    assert_int_equal(k->flush_mask, UINT64_C(1) << SMM_KEYS);
    assert_int_equal(k->flush_value, UINT64_C(1) << SMM_KEYS);
    uint64_t paged = x86_context_key(k->cpu, -1);
    assert_true(real != outside && paged != outside && real != paged);
    poke(IMAGE + 0x150, 8, TABLES + 0x8000);
    assert_int_equal(resume(k), LEFT);
    assert_int_equal(k->flushes, 1); /* the handler gave another address space */
    kit_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_paging_linear_is_physical),
        cmocka_unit_test(legacy_paging_has_4_kib_and_4_mib_pages),
        cmocka_unit_test(pae_reads_four_registers),
        cmocka_unit_test(rights_follow_user_write_wp_smep_smap),
        cmocka_unit_test(keys_protect_user_pages_from_data_accesses),
        cmocka_unit_test(addresses_must_be_canonical),
        cmocka_unit_test(five_levels_are_walked),
        cmocka_unit_test(reserved_bits_fault),
        cmocka_unit_test(tables_outside_ram_are_not_present),
        cmocka_unit_test(cr3_forgets_its_own_pcid_only),
        cmocka_unit_test(a_supervisor_with_global_pages_keeps_its_context),
        cmocka_unit_test(real_mode_interrupts_go_through_the_ivt),
        cmocka_unit_test(a_fault_of_an_outer_ring_switches_stacks),
        cmocka_unit_test(software_interrupts_need_the_gate_s_dpl),
        cmocka_unit_test(long_mode_frames_are_aligned_and_ist_chooses_a_stack),
        cmocka_unit_test(a_fault_in_delivery_becomes_double_and_triple),
        cmocka_unit_test(benign_then_contributory_is_served_in_turn),
        cmocka_unit_test(interrupts_wait_behind_sti_for_one_instruction),
        cmocka_unit_test(hlt_waits_for_what_it_may_take),
        cmocka_unit_test(nmis_are_masked_until_iret),
        cmocka_unit_test(init_and_sipi_start_a_cpu),
        cmocka_unit_test(single_step_traps_behind_the_instruction),
        cmocka_unit_test(accesses_outside_a_segment_fault),
        cmocka_unit_test(loading_a_segment_checks_it),
        cmocka_unit_test(call_gates_copy_parameters_to_the_inner_stack),
        cmocka_unit_test(a_far_jump_enters_64_bit_code),
        cmocka_unit_test(syscall_and_sysret_swap_rings),
        cmocka_unit_test(a_task_switch_saves_and_loads_everything),
        cmocka_unit_test(ports_obey_the_bitmap),
        cmocka_unit_test(bad_control_values_fault),
        cmocka_unit_test(long_mode_begins_with_paging),
        cmocka_unit_test(msrs_have_their_rules),
        cmocka_unit_test(general_detect_guards_debug_registers),
        cmocka_unit_test(data_breakpoints_trap_behind_the_access),
        cmocka_unit_test(an_smi_saves_what_rsm_brings_back),
        cmocka_unit_test(a_cpu_without_long_mode_has_the_other_map),
        cmocka_unit_test(smis_nmis_and_inits_wait_in_system_management_mode),
        cmocka_unit_test(a_halted_cpu_goes_on_waiting_unless_the_handler_says_no),
        cmocka_unit_test(a_bad_image_shuts_the_cpu_down),
        cmocka_unit_test(rsm_is_undefined_elsewhere),
        cmocka_unit_test(smis_wait_behind_sti_and_need_a_board_that_has_them),
        cmocka_unit_test(system_management_mode_has_contexts_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
