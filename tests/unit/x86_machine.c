#include "x86_machine.h"

#include "core/accel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/util.h"
#include "target/x86_64/sys.h"

#include <stdio.h>

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

void machine_poke(struct machine *m, uint64_t at, unsigned size, uint64_t v)
{
    uint8_t bytes[8];
    store_le(bytes, size, v);
    assert_true(mem_write(m->vm, at, bytes, size));
}

uint64_t machine_peek(struct machine *m, uint64_t at)
{
    uint8_t bytes[8];
    assert_true(mem_read(m->vm, at, bytes, 8));
    return load_le(bytes, 8);
}

/* The first 2 MiB by pages that everybody may write, but for the shadow stacks; IDT, GDT, TSS. */
static void make_tables(struct machine *m)
{
    enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40 };
    machine_poke(m, TABLES, 8, (TABLES + 0x1000) | P | W | U);
    machine_poke(m, TABLES + 0x1000, 8, (TABLES + 0x2000) | P | W | U);
    machine_poke(m, TABLES + 0x2000, 8, (TABLES + 0x3000) | P | W | U);
    for (unsigned i = 0; i < 256; i++)
        machine_poke(m, TABLES + 0x3000 + 8 * i, 8, i * 4096 | P | W | U);
    machine_poke(m, TABLES + 0x3000 + 8 * (SHADOW >> 12), 8, SHADOW | P | A | D);
    machine_poke(m, TABLES + 0x3000 + 8 * (USER_SHADOW >> 12), 8, USER_SHADOW | P | U | A | D);
    machine_poke(m, GDT + 0x10, 8, 0x00af9b000000ffff); /* code of ring 0, and its data */
    machine_poke(m, GDT + 0x18, 8, 0x00cf93000000ffff);
    machine_poke(m, GDT + 0x30, 8, 0x00affb000000ffff); /* code and data of ring 3 */
    machine_poke(m, GDT + 0x38, 8, 0x00cff3000000ffff);
    machine_poke(m, TSS + 4, 8, STACK0);
    machine_poke(m, TSS + 0x24, 8, STACK0);
    for (unsigned v = 0; v < 32; v++) {
        uint64_t to = HANDLERS + STEP * v;
        machine_poke(m, IDT + 16 * v, 8,
                     (to & 0xffff) | 0x10 << 16 | (uint64_t)0xee00 << 32 | (to >> 16) << 48);
        machine_poke(m, IDT + 16 * v + 8, 8, 0);
        machine_poke(m, to, 1, 0xf4);
    }
}

struct machine machine_new_with(const char *options, const char *model)
{
    struct machine m;
    struct mem_region *ram;
    must(vm_new(&m.vm));
    m.vm->accel = &tcg_accel;
    m.vm->target = &x86_64_target;
    must(x86_64_target.cpu_model(m.vm, model));
    must(tcg_accel.vm_create(m.vm, options));
    must(mem_add_ram(m.vm, "ram", 1 * MIB, false, &ram));
    mem_map(ram, 0, 0);
    must(vcpu_new(m.vm, 0, &m.cpu));
    m.cpu->requests = 0;
    m.x = x86_of(m.cpu);
    return m;
}

struct machine machine_new(const struct backend *backend, const char *model)
{
    char options[64];
    snprintf(options, sizeof(options), "backend=%s", backend->name);
    return machine_new_with(options, model);
}

/* 64-bit code of ring `cpl` with CR4.CET; the shadow stack begins with a supervisor's token. */
void machine_prepare(struct machine *m, unsigned cpl)
{
    struct x86_cpu *x = m->x;
    x86_64_target.vcpu_reset(m->cpu);
    make_tables(m);
    x86_place_flat(m->cpu, CODE, TABLES);
    x->run_state = X86_RUNNABLE;
    x->cr0 |= X86_CR0_WP;
    x->cr4 |= X86_CR4_CET | X86_CR4_OSXSAVE | X86_CR4_OSFXSR;
    x->efer |= X86_EFER_SCE | X86_EFER_NXE;
    x->gdt = (struct x86_table){ GDT, 0x3f };
    x->idt = (struct x86_table){ IDT, 16 * 32 - 1 };
    x->tr.base = TSS;
    x->tr.limit = 0x67;
    x->gpr[X86_RSP] = STACK;
    x->star = (uint64_t)0x10 << 32 | (uint64_t)0x23 << 48;
    x->xss = X86_XSAVE_CET_U | X86_XSAVE_CET_S;
    x->ssp = (cpl ? USER_SHADOW : SHADOW) + 0x800;
    machine_poke(m, SHADOW + 0xff8, 8, SHADOW + 0xff8);
    x->pl0_ssp = SHADOW + 0xff8;
    if (cpl) {
        x->seg[X86_CS] = (struct x86_segment){ 0, UINT32_MAX, 0xa0fb, 0x33 };
        x->seg[X86_SS] = (struct x86_segment){ 0, UINT32_MAX, 0xc0f3, 0x3b };
    }
}

void machine_run(struct machine *m, const uint8_t *code, size_t n)
{
    assert_true(mem_write(m->vm, CODE, code, n));
    m->x->run_state = X86_RUNNABLE;
    x86_64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
    enum vcpu_exit exit = EXIT_KICKED;
    for (unsigned turns = 0; turns < 4 && exit == EXIT_KICKED; turns++)
        exit = tcg_accel.run(m->cpu);
    tcg_accel.get_state(m->cpu);
    assert_int_equal(exit, EXIT_HALTED);
}

/* The exception that ended it, and its error code and address; -1: none did. */
int machine_vector(const struct machine *m)
{
    uint64_t at = m->x->rip - 1;
    return at >= HANDLERS && at < HANDLERS + 32 * STEP ? (int)((at - HANDLERS) / STEP) : -1;
}
void machine_assert_fault(struct machine *m, int vector, uint64_t error, uint64_t at)
{
    assert_int_equal(machine_vector(m), vector);
    assert_int_equal(machine_peek(m, m->x->gpr[X86_RSP]), error);
    assert_int_equal(machine_peek(m, m->x->gpr[X86_RSP] + 8), at);
}
