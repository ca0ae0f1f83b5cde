#include "x86_board.h"

#include "core/accel.h"
#include "core/error.h"
#include "target/x86_64/model.h"

#include <stdlib.h>

static struct error *no_vcpu(struct vcpu *cpu)
{
    return NULL;
}
static void no_op(struct vcpu *cpu)
{
}
static void no_vm(struct vm *vm)
{
}
static void no_change(struct vm *vm, const struct mem_view *now)
{
}
static void no_code(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
}
static const struct accel no_accel = {
    .name = "none",
    .vcpu_create = no_vcpu,
    .vcpu_destroy = no_op,
    .vm_destroy = no_vm,
    .kick = no_op,
    .get_state = no_op,
    .set_state = no_op,
    .memory_changed = no_change,
    .code_written = no_code,
};

static void must(struct error *err)
{
    if (err)
        abort();
}

struct vm *x86_board_new(uint64_t size)
{
    struct vm *vm;
    struct mem_region *ram;
    struct vcpu *cpu;
    must(vm_new(&vm));
    vm->accel = &no_accel;
    vm->target = &x86_64_target;
    must(x86_cpu_model(vm, "qemu64,check=off"));
    must(mem_add_ram(vm, "ram", size, false, &ram));
    mem_map(ram, 0, 0);
    must(vcpu_new(vm, 0, &cpu));
    x86_64_target.vcpu_reset(cpu);
    return vm;
}
