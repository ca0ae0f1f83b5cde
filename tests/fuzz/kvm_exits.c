/* Exits of the KVM engine as no kernel should report them: any reason, port I/O and memory accesses of any
 * size and count, internal errors with odd lengths. There is no kernel behind: every request to it fails. */
#include "core/accel.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/log.h"
#include "core/loop.h"
#include "kvm/kvm.h"
#include "tape.h"
#include "target/x86_64/model.h"
#include "target/x86_64/x86.h"

#include <stdlib.h>

enum { RUN_SIZE = 3 * 4096, BATCH = 2 * 4096, MAX_STEPS = 64, N_RING = 16 };

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
    return off * size;
}
static void device_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
}
static const struct mmio_ops ops = { .read = device_read, .write = device_write };

/* An engine in name alone: it gives vCPUs a page of their own and has nothing to run. */
struct world {
    struct vm *vm;
    struct kvm *kvm;
    struct kvm_vcpu *k;
};

static struct error *make_vcpu(struct vcpu *cpu)
{
    return NULL;
}
static void nothing(struct vcpu *cpu)
{
}
static void nothing_vm(struct vm *vm)
{
}
static void nothing_changed(struct vm *vm, const struct mem_view *now)
{
}
static const struct accel hollow = {
    .name = "kvm",
    .vcpu_create = make_vcpu,
    .vcpu_destroy = nothing,
    .vm_destroy = nothing_vm,
    .kick = nothing,
    .get_state = nothing,
    .set_state = nothing,
    .memory_changed = nothing_changed,
};

static void must(struct error *err)
{
    if (err)
        abort();
}

static struct world world_new(void)
{
    struct world w = { 0 };
    struct mem_region *ram;
    struct vcpu *cpu;
    must(vm_new(&w.vm));
    w.vm->log.fd = -1;
    w.vm->accel = &hollow;
    w.vm->target = &x86_64_target;
    must(x86_cpu_model(w.vm, "qemu64"));
    must(mem_add_ram(w.vm, "ram", MIB, false, &ram));
    mem_map(ram, 0, 0);
    mem_map(mem_add_mmio(w.vm, "device", 0x1000, &ops, NULL), 0xd0000000, 0);
    mem_map_ports(mem_add_mmio(w.vm, "ports", 0x100, &ops, NULL), 0x500, 0);
    w.kvm = xcalloc(1, sizeof(*w.kvm));
    *w.kvm = (struct kvm){ .vm = w.vm, .sys_fd = -1, .vm_fd = -1, .run_size = RUN_SIZE };
    kvm_mutexes_init(w.kvm);
    w.kvm->isa = xcalloc(1, 65536); /* zeros: this host's KVM has none of the extras */
    must(vcpu_new(w.vm, 0, &cpu));
    x86_64_target.vcpu_reset(cpu);
    w.k = xcalloc(1, sizeof(*w.k));
    *w.k = (struct kvm_vcpu){ .cpu = cpu, .kvm = w.kvm, .fd = -1 };
    w.k->run = xcalloc(1, RUN_SIZE);
    w.k->isa = xcalloc(1, 65536);
    w.kvm->batch = (void *)((char *)w.k->run + BATCH);
    w.kvm->ring_entries = N_RING;
    w.k->ring = xcalloc(N_RING, sizeof(*w.k->ring));
    w.kvm->slots = xcalloc(1, sizeof(*w.kvm->slots));
    w.kvm->slots[0] = (struct kvm_slot){ .used = true, .size = MIB, .ram = mem_region_ram(ram) };
    w.kvm->n_slots = 1;
    w.vm->accel_data = w.kvm;
    cpu->engine = w.k;
    return w;
}

static void world_free(struct world *w)
{
    struct vcpu *cpu = w->k->cpu;
    w->vm->accel_data = NULL;
    cpu->engine = NULL;
    free(w->k->ring);
    free(w->kvm->slots);
    free(w->k->isa);
    free(w->k->run);
    free(w->k);
    vm_free(w->vm);
    kvm_mutexes_destroy(w->kvm);
    free(w->kvm->isa);
    free(w->kvm);
}

static uint32_t mostly_small(struct tape *t, uint32_t small)
{
    uint8_t how = tape_u8(t);
    return how & 128 ? tape_u32(t) : how % small;
}

static void fill_io(struct kvm_run *run, struct tape *t)
{
    run->io.direction = tape_u8(t) & 1;
    run->io.size = (uint8_t)mostly_small(t, 5);
    run->io.port = 0x500 + (uint16_t)mostly_small(t, 64);
    run->io.count = mostly_small(t, 32);
    run->io.data_offset = tape_u8(t) & 1 ? tape_u64(t) : 4096u + tape_u8(t);
}

static void fill_mmio(struct kvm_run *run, struct tape *t)
{
    run->mmio.phys_addr = tape_u8(t) & 1 ? tape_u64(t) : 0xd0000000 + tape_u16(t) % 0x1010;
    run->mmio.len = mostly_small(t, 10);
    run->mmio.is_write = tape_u8(t) & 1;
}

/* Collected writes and written pages, as entries and counters of any kind. */
static void fill_rings(struct world *w, struct tape *t)
{
    struct kvm_coalesced_mmio_ring *batch = w->kvm->batch;
    struct kvm_dirty_gfn *page = &w->k->ring[tape_u8(t) % N_RING];
    *page = (struct kvm_dirty_gfn){ tape_u8(t) & 3u, mostly_small(t, 2), mostly_small(t, 255) };
    batch->last = mostly_small(t, 200);
    batch->first = mostly_small(t, 200);
    struct kvm_coalesced_mmio *e = &batch->coalesced_mmio[batch->first % 160];
    e->phys_addr = tape_u8(t) & 1 ? 0xd0000000 + tape_u8(t) : tape_u64(t);
    e->len = mostly_small(t, 10);
    e->pio = tape_u8(t) & 1;
}

static void fill_any(struct kvm_run *run, struct tape *t)
{
    uint8_t *bytes = (uint8_t *)run + offsetof(struct kvm_run, hw);
    for (unsigned i = 0; i < 64; i++)
        bytes[i] = tape_u8(t);
}

static void step(struct world *w, struct tape *t)
{
    struct kvm_run *run = w->k->run;
    fill_any(run, t);
    if (tape_u8(t) & 1)
        fill_rings(w, t);
    run->exit_reason = mostly_small(t, 48);
    if (run->exit_reason == KVM_EXIT_IO)
        fill_io(run, t);
    else if (run->exit_reason == KVM_EXIT_MMIO)
        fill_mmio(run, t);
    x86_of(w->k->cpu)->rip = run->request_interrupt_window ? tape_u64(t) : 0x1000;
    kvm_exit(w->k, host_now_ns());
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct world w = world_new();
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(&w, &t);
    world_free(&w);
    return 0;
}
