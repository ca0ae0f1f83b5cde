/* q35's and pc's host bridges and bridges to ISA: any configuration cycle by ports and by ECAM, any port, shadow RAM,
 * BARs and register blocks wherever that puts them, interrupts of a device behind them; devices that come and go. */
#include "../unit/x86_board.h"

#include "core/device.h"
#include "core/error.h"
#include "core/loop.h"
#include "hw/machine/machine.h"
#include "tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_STEPS = 400, BIOS_SIZE = 64 * 1024 };

/* Firmware of nothing; the file is made once and only read. */
static const char *bios(void)
{
    static char path[40];
    if (!*path) {
        int fd = memfd_create("bios", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, BIOS_SIZE))
            abort();
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    return path;
}

static struct vm *world_new(uint8_t kind)
{
    struct machine_options o = {
        .machine = kind & 1 ? "pc" : "q35", .bios = bios(), .ram_size = 4 * MIB, .smp = 1
    };
    struct vm *vm;
    enum irqchip where = kind >> 1 & 1 ? IRQCHIP_ENGINE : IRQCHIP_USER;
    struct error *err =
        kind & 4 ? x86_machine_with_smm(&o, &vm) : x86_machine_with(&o, where, "edu,addr=3", &vm);
    if (err)
        abort();
    return vm;
}

static void config_cycle(struct vm *vm, struct tape *t)
{
    static const uint8_t devfns[] = { 0x00, 0xf8, 0x08, 0x0b, 0x18, 0xfa, 0xfb, 0x09 };
    uint8_t what = tape_u8(t);
    unsigned size = 1 << what % 4 % 3, off = tape_u8(t);
    uint32_t value, bus = what & 0x80 ? tape_u8(t) : 0;
    mem_port_write(vm, 0xcf8, 4,
                   0x80000000 | bus << 16 | (uint32_t)devfns[(what >> 2) % 8] << 8 | (off & 0xfc));
    if (what & 0x40)
        mem_port_read(vm, 0xcfc + off % 4, size, &value);
    else
        mem_port_write(vm, 0xcfc + off % 4, size, tape_u32(t));
}

static gpa some_address(struct tape *t)
{
    switch (tape_u8(t) % 6) {
    case 0: return 0xa0000 + tape_u32(t) % 0x60000;
    case 1: return 0xb0000000 + tape_u32(t) % 0x10000000;
    case 2: return 0xfed1c000 + tape_u16(t) % 0x4000;
    case 3: return 0xfec00000 + tape_u32(t) % 0x1400000;
    default: return tape_u32(t);
    }
}

/* A block of ports that a PC has, or any. */
static uint16_t some_port(struct tape *t)
{
    static const uint16_t blocks[] = { 0x20,  0x40,  0x60,   0x70,   0x90,   0xa0,  0xb0,  0x170,
                                       0x1f0, 0x376, 0x3f6,  0x4d0,  0x510,  0x600, 0x660, 0x700,
                                       0x710, 0xcf8, 0xafe0, 0x5658, 0xc000, 0xae00 };
    uint8_t which = tape_u8(t);
    return which < 224 ? (uint16_t)(blocks[which % ARRAY_LEN(blocks)] + tape_u8(t) % 16)
                       : tape_u16(t);
}

/* A device that comes, or is to go. */
static void hot_plug(struct vm *vm, struct tape *t)
{
    uint8_t what = tape_u8(t);
    char addr[8];
    snprintf(addr, sizeof(addr), "%x.%x", what >> 3 & 0xf, what & 1);
    const struct prop_value props[] = { { "id", what & 2 ? "h1" : "h2" }, { "addr", addr } };
    struct device *dev = device_find(vm, props[0].value);
    error_free(dev ? device_unplug(dev) : device_plug(vm, "virtio-rng-pci", props, 2));
}

static void step(struct vm *vm, struct tape *t)
{
    uint8_t what = tape_u8(t);
    unsigned size = 1 << (what >> 4) % 4;
    uint32_t value32;
    uint64_t value;
    struct vcpu *cpu = vm->vcpus[0];
    cpu->in_smm = what & 8;
    switch (what % 8) {
    case 0: mem_cpu_read(cpu, some_address(t), size, &value); break;
    case 1: mem_cpu_write(cpu, some_address(t), size, tape_u64(t)); break;
    case 2: mem_port_read(vm, some_port(t), 1 << (what >> 4) % 3, &value32); break;
    case 3: mem_port_write(vm, some_port(t), 1 << (what >> 4) % 3, tape_u32(t)); break;
    case 4:
        mem_io_write(vm, (gpa)tape_u16(t) << 16 | 0x60, 4, 1);
        break; /* an interrupt of edu's */
    case 5: hot_plug(vm, t); break;
    default: config_cycle(vm, t);
    }
}

/* What was saved loads, and gives the same bytes when saved anew. */
static void check(struct vm *vm)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next) {
        struct bytes before = { 0 }, after = { 0 };
        size_t pos = 0;
        device_save(dev, &before);
        if (device_load(dev, before.at, before.n, &pos))
            abort();
        device_save(dev, &after);
        if (before.n != after.n || memcmp(before.at, after.at, after.n) != 0)
            abort();
        bytes_free(&before);
        bytes_free(&after);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct vm *vm = world_new(tape_u8(&t));
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++) {
        step(vm, &t);
        if (i % 16 == 0)
            loop_sync(vm->loop); /* sleeps, wakes, resets */
    }
    check(vm);
    vm_reset(vm);
    x86_machine_free(vm);
    return 0;
}
