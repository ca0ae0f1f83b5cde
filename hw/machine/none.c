/* No machine: no CPUs, no memory, no devices. Management asks it what there could be (docs/monitor.md). */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "target/riscv/riscv.h"
#include "target/x86_64/x86.h"

#include <string.h>

static const struct target *const targets[] = { &riscv64_target, &x86_64_target };

static struct error *none_set_option(struct machine *m, const char *name, const char *value)
{
    return NULL; /* it has none */
}

static struct error *none_init(struct machine *m, const struct machine_options *o)
{
    struct vm *vm = m->vm;
    for (size_t i = 0; i < ARRAY_LEN(targets); i++)
        if (o->arch && !strcmp(targets[i]->name, o->arch))
            vm->target = targets[i];
    if (!vm->target)
        return error_new("-M none: say which architecture, by the program's name qemu-system-ARCH");
    if (o->kernel || o->bios || o->dtb)
        return error_new("-M none: there is nothing that could start");
    vm->irqchips = 1 << IRQCHIP_USER;
    struct error *err = vm->target->cpu_model(vm, o->cpu);
    return err ? err : vm->accel->vm_create(vm, o->accel_options);
}

static struct error *none_ready(struct machine *m)
{
    return NULL;
}

static void none_free(struct machine *m)
{
}

const struct machine_class none_machine = {
    .name = "none",
    .desc = "no machine, for asking what there is",
    .default_cpus = 1,
    .max_cpus = 1,
    .size = sizeof(struct machine),
    .set_option = none_set_option,
    .init = none_init,
    .ready = none_ready,
    .free = none_free,
};
