#include "kvm_kit.h"

#include "core/clock.h"
#include "core/error.h"
#include "kvm/kvm.h"
#include "target/x86_64/model.h"

#define PATIENCE_NS (30 * NS_PER_S) /* some hosts emulate the guest's kernel mode */

static uint64_t port_read(void *opaque, uint64_t off, unsigned size)
{
    struct kit *k = opaque;
    k->reads++;
    return k->ports[off] ? k->ports[off] : k->feed++;
}

static void port_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kit *k = opaque;
    k->writes++;
    k->ports[off] = value;
    if (k->on_port)
        k->on_port(k, (unsigned)off, value);
}
static const struct mmio_ops port_ops = { .read = port_read, .write = port_write };

static void exit_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kit *k = opaque;
    vm_request_end(k->vm, VERDICT_GUEST_EXIT, (int)(value & 0xff), NULL);
}
static const struct mmio_ops exit_ops = { .read = port_read, .write = exit_write };

static uint64_t mmio_read(void *opaque, uint64_t off, unsigned size)
{
    struct kit *k = opaque;
    k->reads++;
    return k->mmio[off];
}
static void mmio_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kit *k = opaque;
    k->writes++;
    k->mmio[off % 64] = value;
}
const struct mmio_ops mmio_ops = { .read = mmio_read, .write = mmio_write };

static void lost_patience(void *opaque)
{
    struct kit *k = opaque;
    vm_request_end(k->vm, VERDICT_QUIT, 0, "no end in sight");
}

void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

bool no_kvm(void)
{
    struct error *err = kvm_accel.available("x86_64");
    if (!err)
        return false;
    print_message("# %s\n", error_text(err));
    error_free(err);
    return true;
}
void kit_open(struct kit *k, const char *model)
{
    struct mem_region *ram;
    must(vm_new(&k->vm));
    k->vm->accel = &kvm_accel;
    k->vm->target = &x86_64_target;
    k->vm->irqchips = (uint8_t)k->irqchips;
    must(x86_cpu_model(k->vm, model ? model : "qemu64,check=off"));
    must(kvm_accel.vm_create(k->vm, k->options));
    must(mem_add_ram(k->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, 0, 0);
    mem_map_ports(mem_add_mmio(k->vm, "test-ports", 8, &port_ops, k), TEST_PORT, 0);
    mem_map_ports(mem_add_mmio(k->vm, "exit", 1, &exit_ops, k), EXIT_PORT, 0);
    mem_map(mem_add_mmio(k->vm, "test-mmio", 0x1000, &mmio_ops, k), TEST_MMIO, 0);
    for (unsigned i = 0; i < MAX(k->n_cpus, 1); i++) {
        struct vcpu *cpu;
        must(vcpu_new(k->vm, i, &cpu));
    }
    k->x = x86_of(k->vm->vcpus[0]);
    vm_reset(k->vm);
    k->patience = timer_new(k->vm, lost_patience, k);
    timer_set(k->patience, PATIENCE_NS);
}

void kit_close(struct kit *k)
{
    timer_free(k->patience);
    vm_free(k->vm);
}

void place(struct kit *k, gpa at, const uint8_t *code, const uint8_t *end)
{
    assert_true(mem_write(k->vm, at, code, (size_t)(end - code)));
}

void start_at(struct kit *k, unsigned width)
{
    struct x86_cpu *x = k->x;
    if (width == 16) {
        x->seg[X86_CS].selector = 0;
        x->seg[X86_CS].base = 0;
        x->rip = CODE;
        x->gpr[X86_RSP] = 0x8000;
        return;
    }
    if (width == 64) {
        const uint64_t tables[][2] = { { 0x10000, 0x11003 },
                                       { 0x11000, 0x12003 },
                                       { 0x12000, 0x83 } };
        for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
            uint8_t le[8];
            store_le(le, 8, tables[i][1]);
            assert_true(mem_write(k->vm, tables[i][0], le, 8));
        }
    }
    x86_place_flat(x->cpu, CODE, width == 64 ? 0x10000 : 0);
    x->gpr[X86_RSP] = 0x8000;
}

uint64_t peek(struct kit *k, gpa at, unsigned n)
{
    uint8_t le[8];
    assert_true(mem_read(k->vm, at, le, n));
    return load_le(le, n);
}

void write_idt(struct kit *k, unsigned vector, uint32_t handler)
{
    uint8_t gate[8], idtr[6];
    store_le(gate, 8,
             (uint64_t)(handler & 0xffff) | (uint64_t)0x10 << 16 | (uint64_t)0x8e00 << 32 |
                 (uint64_t)(handler >> 16) << 48);
    store_le(idtr, 2, 0x7ff);
    store_le(idtr + 2, 4, 0x4000);
    assert_true(mem_write(k->vm, 0x4000 + 8 * vector, gate, 8));
    assert_true(mem_write(k->vm, 0x3800, idtr, 6));
    /* IRET loads CS from the table: entry 0x10, as x86_place_flat has it. */
    uint8_t code[8];
    store_le(code, 8, 0x00cf9b000000ffff);
    assert_true(mem_write(k->vm, 0x5010, code, 8));
    store_le(code, 8, 0x00cf93000000ffff);
    assert_true(mem_write(k->vm, 0x5018, code, 8));
    k->x->gdt = (struct x86_table){ 0x5000, 0x1f };
}
