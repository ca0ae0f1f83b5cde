#include "x86_board.h"

#include "core/accel.h"
#include "core/error.h"
#include "core/options.h"
#include "hw/machine/machine.h"
#include "target/x86_64/model.h"

#include <stdlib.h>

static struct error *no_vcpu(struct vcpu *cpu)
{
    return NULL;
}
static void no_op(struct vcpu *cpu)
{
}
static void no_change(struct vm *vm, const struct mem_view *now)
{
}
static void no_code(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
}
static struct error *no_vm_create(struct vm *vm, const char *options)
{
    vm->accel_data = xcalloc(1, sizeof(uint32_t));
    return NULL;
}
static void free_vm(struct vm *vm)
{
    free(vm->accel_data);
}
static void record_line(struct vm *vm, unsigned gsi, bool level)
{
    uint32_t *lines = vm->accel_data;
    *lines = level ? *lines | UINT32_C(1) << gsi : *lines & ~(UINT32_C(1) << gsi);
}
static void no_timer(struct vm *vm, bool taken)
{
    record_line(vm, X86_MACHINE_TIMER_TAKEN, taken);
}
static void no_stats(struct vm *vm, void (*add)(void *opaque, const char *name, double value),
                     void *opaque)
{
    add(opaque, "none.counted", 7);
}
static void no_explain(struct vcpu *cpu, uint64_t pc, void (*print)(void *opaque, const char *line),
                       void *opaque)
{
    print(opaque, "nothing is executed");
}

/* It sleeps for good, whatever it is started for. */
static enum vcpu_exit sleep_on(struct vcpu *cpu)
{
    return EXIT_HALTED;
}

static void no_log(struct vm *vm, struct ram_block *ram)
{
}

static struct error *no_debug(struct vcpu *cpu, const struct vcpu_debug *want)
{
    return error_new("nothing is executed");
}

static const struct accel no_accel = {
    .run = sleep_on,
    .dirty_log_started = no_log,
    .set_debug = no_debug,
    .stats = no_stats,
    .name = "none",
    .vcpu_create = no_vcpu,
    .vcpu_destroy = no_op,
    .vm_create = no_vm_create,
    .vm_destroy = free_vm,
    .irq_line = record_line,
    .timer_taken = no_timer,
    .kick = no_op,
    .get_state = no_op,
    .set_state = no_op,
    .memory_changed = no_change,
    .code_written = no_code,
    .explain = no_explain,
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

static struct error *add_device(struct vm *vm, const char *text)
{
    struct options o;
    struct device *dev;
    struct error *err = options_split(text, "driver", &o);
    if (err)
        return err;
    err = device_create(vm, o.at[0].value, o.at + 1, o.n - 1, &dev);
    options_free(&o);
    return err;
}

static struct error *create(const struct machine_options *options, enum irqchip where,
                            const char *device, bool can_smm, struct vm **out)
{
    struct machine_options o = *options;
    struct vm *vm;
    must(vm_new(&vm));
    vm->accel = &no_accel;
    vm->irqchip = where;
    vm->can_smm = can_smm;
    o.arch = "x86_64";
    o.cpu = "qemu64,check=off";
    o.boot.splash_ms = o.boot.reboot_ms = -1;
    struct error *err = machine_create(vm, &o);
    if (!err && device)
        err = add_device(vm, device);
    if (!err)
        err = machine_ready(vm);
    *out = err ? NULL : vm;
    if (err)
        x86_machine_free(vm);
    else
        vm_reset(vm);
    return err;
}

struct error *x86_machine_with(const struct machine_options *o, enum irqchip where,
                               const char *device, struct vm **out)
{
    return create(o, where, device, false, out);
}

struct error *x86_machine_with_smm(const struct machine_options *o, struct vm **out)
{
    return create(o, IRQCHIP_USER, NULL, true, out);
}

struct error *x86_machine_new(const struct machine_options *o, enum irqchip where, struct vm **out)
{
    return x86_machine_with(o, where, NULL, out);
}

void x86_machine_free(struct vm *vm)
{
    machine_free(vm);
    vm_free(vm);
}

uint32_t x86_machine_lines(const struct vm *vm)
{
    return *(const uint32_t *)vm->accel_data;
}
