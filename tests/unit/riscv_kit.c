#include "riscv_kit.h"

#include <stdlib.h>

struct kit *kit;

/* ---- stand-ins --------------------------------------------------------------------------------- */

uint64_t tcg_insn_pc(struct vcpu *cpu)
{
    return kit->insn_pc;
}
noreturn void tcg_leave(struct vcpu *cpu)
{
    longjmp(kit->left, LEFT);
}
void tcg_pause(struct vcpu *cpu)
{
    (void)cpu;
}
noreturn void tcg_halt(struct vcpu *cpu)
{
    longjmp(kit->left, HALTED);
}
void tcg_context_changed(struct vcpu *cpu)
{
    kit->changes++;
}
void tcg_context_is(struct vcpu *cpu, uint64_t fetch_key, const uint64_t *data_keys)
{
    assert_int_equal(fetch_key, riscv_context_key(cpu, -1));
    assert_int_equal(data_keys[0], riscv_context_key(cpu, 0));
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

struct kit *kit_with(const char *model)
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

struct kit *kit_new(void)
{
    return kit_with(NULL);
}

void kit_free(struct kit *k)
{
    board_free(k->b);
    free(k);
}

void mode(struct kit *k, unsigned priv)
{
    riscv_set_priv(k->r, priv);
    riscv_update_flags(k->r);
}

bool try_write(struct kit *k, unsigned csr, uint64_t v)
{
    uint64_t old;
    return riscv_csr_access(k->r, csr, false, true, v, ~(uint64_t)0, &old);
}

bool try_read(struct kit *k, unsigned csr)
{
    uint64_t old;
    return riscv_csr_access(k->r, csr, true, false, 0, 0, &old);
}

uint64_t rd(struct kit *k, unsigned csr)
{
    uint64_t v = 0;
    assert_true(riscv_csr_access(k->r, csr, true, false, 0, 0, &v));
    return v;
}

void wr(struct kit *k, unsigned csr, uint64_t v)
{
    assert_true(try_write(k, csr, v));
}

uint64_t wrrd(struct kit *k, unsigned csr, uint64_t v)
{
    wr(k, csr, v);
    return rd(k, csr);
}
