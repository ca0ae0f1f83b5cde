/* The boards q35 and pc as firmware and kernels see them: memory map, host bridges, bridges to ISA, interrupt
 * lines, CMOS, fw_cfg, options. Nothing runs. */
#include "x86_board.h"

#include "core/accel.h"
#include "core/error.h"
#include "core/loop.h"
#include "hw/machine/machine.h"
#include "hw/machine/pc.h"
#include "hw/misc/acpi_pm.h"
#include "hw/pci/isa_bridge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { BIOS_SIZE = 256 * 1024 };
static char bios_path[40];

/* Each 4 bytes of it say where they are. */
static int make_bios(void **unused)
{
    static uint8_t bios[BIOS_SIZE];
    for (size_t i = 0; i < BIOS_SIZE; i += 4)
        store_le(bios + i, 4, 0xb1050000 | i / 4);
    int fd = memfd_create("bios", MFD_CLOEXEC);
    snprintf(bios_path, sizeof(bios_path), "/proc/self/fd/%d", fd);
    return fd < 0 || write(fd, bios, BIOS_SIZE) != BIOS_SIZE;
}

static struct machine_options plain(const char *machine)
{
    return (struct machine_options){
        .machine = machine, .bios = bios_path, .ram_size = 64 * MIB, .smp = 2
    };
}

static struct vm *machine_where(const char *machine, enum irqchip where, const char *device)
{
    struct machine_options o = plain(machine);
    struct vm *vm;
    struct error *err = x86_machine_with(&o, where, device, &vm);
    if (err)
        fail_msg("%s: %s", machine, error_text(err));
    return vm;
}

static struct vm *machine(const char *name)
{
    return machine_where(name, IRQCHIP_USER, NULL);
}

static void refuses(const struct machine_options *o, enum irqchip where, const char *why)
{
    struct vm *vm;
    struct error *err = x86_machine_new(o, where, &vm);
    if (!err)
        fail_msg("%s is accepted", o->machine);
    if (!strstr(error_text(err), why))
        fail_msg("'%s' does not say '%s'", error_text(err), why);
    error_free(err);
}

static struct pc *pc_of(struct vm *vm)
{
    return vm->machine;
}

static const char *const boards[] = { "q35", "pc" };

/* ---- what a guest does ----------------------------------------------------------------------------- */
static void out(struct vm *vm, uint16_t port, unsigned size, uint32_t value)
{
    mem_port_write(vm, port, size, value);
}

static uint32_t in(struct vm *vm, uint16_t port, unsigned size)
{
    uint32_t value;
    mem_port_read(vm, port, size, &value);
    return value;
}

enum { SLOT = 3, LPC = 0x1f << 3, PIIX = 1 << 3, PIIX_PM = 1 << 3 | 3 };

static uint32_t config_read(struct vm *vm, unsigned devfn, unsigned off, unsigned size)
{
    out(vm, 0xcf8, 4, 0x80000000 | devfn << 8 | (off & 0xfc));
    return in(vm, 0xcfc + off % 4, size);
}

static void config_write(struct vm *vm, unsigned devfn, unsigned off, unsigned size, uint32_t value)
{
    out(vm, 0xcf8, 4, 0x80000000 | devfn << 8 | (off & 0xfc));
    out(vm, 0xcfc + off % 4, size, value);
}

static uint32_t peek(struct vm *vm, gpa at)
{
    uint64_t value;
    return mem_io_read(vm, at, 4, &value) ? (uint32_t)value : UINT32_MAX;
}

static void poke(struct vm *vm, gpa at, uint32_t value)
{
    mem_io_write(vm, at, 4, value);
}

static uint32_t bios_at(uint32_t off)
{
    return 0xb1050000 | off / 4;
}

static uint8_t cmos(struct vm *vm, uint8_t at)
{
    out(vm, 0x70, 1, at);
    return (uint8_t)in(vm, 0x71, 1);
}

/* A file of fw_cfg, read byte by byte; its size, or -1. */
static int fw_cfg_file(struct vm *vm, const char *name, uint8_t *to, size_t room)
{
    uint8_t number[4], entry[64];
    out(vm, 0x510, 2, 0x19);
    for (unsigned i = 0; i < 4; i++)
        number[i] = (uint8_t)in(vm, 0x511, 1);
    for (uint64_t n = load_be(number, 4); n; n--) {
        for (unsigned i = 0; i < sizeof(entry); i++)
            entry[i] = (uint8_t)in(vm, 0x511, 1);
        if (strcmp((char *)entry + 8, name) != 0)
            continue;
        size_t size = load_be(entry, 4);
        out(vm, 0x510, 2, (uint32_t)load_be(entry + 4, 2));
        for (size_t i = 0; i < MIN(size, room); i++)
            to[i] = (uint8_t)in(vm, 0x511, 1);
        return (int)size;
    }
    return -1;
}

/* ---- memory map ------------------------------------------------------------------------------------- */
static void ram_is_split_below_4_gib(void **unused)
{
    static const struct {
        const char *machine;
        uint64_t size, below;
    } cases[] = {
        { "q35", 2 * GIB, 2 * GIB },
        { "q35", 3 * GIB, 2 * GIB },
        { "q35", 0xb0000000, 0x80000000 },
        { "q35", 0xaff00000, 0xaff00000 },
        { "q35,max-ram-below-4g=1G", 2 * GIB, GIB },
        { "pc", 3 * GIB, 3 * GIB },
        { "pc", 0xe0000000, 0xc0000000 },
        { "pc,max-ram-below-4g=1G", 2 * GIB, GIB },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct machine_options o = plain(cases[i].machine);
        struct vm *vm;
        o.ram_size = cases[i].size;
        if (x86_machine_new(&o, IRQCHIP_USER, &vm))
            fail_msg("%s of %llx", o.machine, (unsigned long long)o.ram_size);
        uint64_t above = cases[i].size - cases[i].below;
        assert_true(mem_write(vm, cases[i].below - 4, "abcd", 4));
        assert_false(mem_write(vm, cases[i].below, "abcd", 4));
        assert_int_equal(mem_write(vm, 4 * GIB, "efgh", 4), above > 0);
        assert_int_equal(mem_write(vm, 4 * GIB + above - 4, "efgh", 4), above > 0);
        assert_false(mem_write(vm, 4 * GIB + above, "efgh", 4));
        x86_machine_free(vm);
    }
}

static void firmware_ends_at_4_gib_and_at_1_mib(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = machine(boards[i]);
        assert_int_equal(peek(vm, 4 * GIB - BIOS_SIZE), bios_at(0));
        assert_int_equal(peek(vm, 4 * GIB - 16), bios_at(BIOS_SIZE - 16));
        assert_int_equal(peek(vm, 0xe0000), bios_at(BIOS_SIZE / 2));
        assert_int_equal(peek(vm, 0xffff0), bios_at(BIOS_SIZE - 16));
        poke(vm, 0xffff0, 0);
        assert_int_equal(peek(vm, 0xffff0), bios_at(BIOS_SIZE - 16));
        assert_int_equal(peek(vm, 0xc0000), 0xffffffff);
        x86_machine_free(vm);
    }
}

/* Registers of both chips: 0xf0000's in the first one's upper half, then two segments each. */
static void shadow_ram_follows_pam(void **unused)
{
    static const uint8_t pams[] = { 0x90, 0x59 };
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = machine(boards[i]);
        unsigned pam = pams[i];
        config_write(vm, 0, pam, 1, 0x30); /* RAM for both */
        assert_int_equal(peek(vm, 0xf0000), 0);
        poke(vm, 0xf0000, 0x12345678);
        poke(vm, 0xffffc, 0x9abcdef0);
        assert_int_equal(peek(vm, 0xeffff - 3), bios_at(BIOS_SIZE - 0x10004));
        config_write(vm, 0, pam, 1, 0x10); /* reads only */
        poke(vm, 0xf0000, 0);
        assert_int_equal(peek(vm, 0xf0000), 0x12345678);
        assert_false(mem_write(vm, 0xf0000, "x", 1));
        config_write(vm, 0, pam, 1, 0x00);
        assert_int_equal(peek(vm, 0xf0000), bios_at(BIOS_SIZE - 0x10000));
        config_write(vm, 0, pam, 1, 0xff); /* bits that are not there stay 0 */
        assert_int_equal(config_read(vm, 0, pam, 1), 0x30);
        assert_int_equal(peek(vm, 0xffffc), 0x9abcdef0);

        config_write(vm, 0, pam + 1, 1, 0x30); /* 0xc4000 without 0xc0000 */
        poke(vm, 0xc0000, 1);
        poke(vm, 0xc4000, 2);
        poke(vm, 0xc7ffc, 3);
        assert_int_equal(peek(vm, 0xc0000), 0xffffffff);
        assert_int_equal(peek(vm, 0xc4000), 2);
        assert_int_equal(peek(vm, 0xc7ffc), 3);
        assert_int_equal(peek(vm, 0xc8000), 0xffffffff);
        config_write(vm, 0, pam + 6, 1, 0x03);
        poke(vm, 0xe8000, 4);
        assert_int_equal(peek(vm, 0xe8000), 4);
        assert_int_equal(peek(vm, 0xec000), bios_at(BIOS_SIZE - 0x14000));

        vm_reset(vm);
        assert_int_equal(peek(vm, 0xf0000), bios_at(BIOS_SIZE - 0x10000));
        assert_int_equal(peek(vm, 0xc4000), 0xffffffff);
        x86_machine_free(vm);
    }
}

static void smram_opens_until_it_is_locked(void **unused)
{
    static const uint8_t regs[] = { 0x9d, 0x72 };
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = machine(boards[i]);
        assert_int_equal(config_read(vm, 0, regs[i], 1), 0x02);
        assert_int_equal(peek(vm, 0xa0000), 0xffffffff);
        config_write(vm, 0, regs[i], 1, 0x48);
        poke(vm, 0xa0000, 0x1234);
        poke(vm, 0xbfffc, 0x5678);
        assert_int_equal(peek(vm, 0xa0000), 0x1234);
        config_write(vm, 0, regs[i], 1, 0x58); /* lock */
        assert_int_equal(peek(vm, 0xa0000), 0xffffffff);
        config_write(vm, 0, regs[i], 1, 0x48);
        assert_int_equal(config_read(vm, 0, regs[i], 1) & 0x58, 0x18);
        assert_int_equal(peek(vm, 0xbfffc), 0xffffffff);
        vm_reset(vm);
        config_write(vm, 0, regs[i], 1, 0x48);
        assert_int_equal(peek(vm, 0xbfffc), 0x5678);
        x86_machine_free(vm);
    }
}

static struct vm *smm_machine(const char *name)
{
    struct machine_options o = plain(name);
    struct vm *vm;
    assert_null(x86_machine_with_smm(&o, &vm));
    assert_true(vm->has_smm);
    return vm;
}

static uint32_t peek_as(struct vm *vm, bool smm, gpa at)
{
    uint64_t value = UINT32_MAX;
    vm->vcpus[0]->in_smm = smm;
    mem_cpu_read(vm->vcpus[0], at, 4, &value);
    vm->vcpus[0]->in_smm = false;
    return (uint32_t)value;
}

static void closed_smram_is_for_system_management_mode(void **unused)
{
    static const uint8_t regs[] = { 0x9d, 0x72 };
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = smm_machine(boards[i]);
        config_write(vm, 0, regs[i], 1, 0x48);
        poke(vm, 0xa0000, 0x1234);
        assert_int_equal(peek_as(vm, true, 0xa0000), 0x1234);
        config_write(vm, 0, regs[i], 1, 0x08);
        assert_int_equal(peek(vm, 0xa0000), 0xffffffff);
        assert_int_equal(peek_as(vm, true, 0xa0000), 0x1234);
        config_write(vm, 0, regs[i], 1, 0x40); /* open, but not enabled */
        assert_int_equal(peek_as(vm, true, 0xa0000), 0xffffffff);
        x86_machine_free(vm);
    }
}

static void tseg_hides_the_end_of_ram_until_a_reset(void **unused)
{
    static const struct {
        uint8_t code;
        uint64_t size;
    } sizes[] = { { 0x01, MIB }, { 0x03, 2 * MIB }, { 0x05, 8 * MIB }, { 0x07, 16 * MIB } };
    struct vm *vm = smm_machine("q35");
    gpa top = 64 * MIB;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        gpa at = top - sizes[i].size;
        poke(vm, at, 0x7000 + (uint32_t)i);
        config_write(vm, 0, 0x9d, 1, 0x08);
        config_write(vm, 0, 0x9e, 1, sizes[i].code);
        assert_int_equal(config_read(vm, 0, 0x9e, 1), 0x38 | sizes[i].code);
        assert_int_equal(peek(vm, at), 0xffffffff);
        assert_int_equal(peek(vm, top - 4), 0xffffffff);
        assert_int_equal(peek_as(vm, true, at), 0x7000 + i);
        assert_int_equal(peek(vm, at - 4), 0);
        config_write(vm, 0, 0x9e, 1, 0x06); /* T_EN clear: open */
        assert_int_equal(peek(vm, at), 0x7000 + i);
    }
    config_write(vm, 0, 0x9e, 1, 0x01);
    config_write(vm, 0, 0x9d, 1, 0x18);
    config_write(vm, 0, 0x9e, 1, 0x00);
    config_write(vm, 0, 0x9d, 1, 0x48);
    assert_int_equal(config_read(vm, 0, 0x9e, 1), 0x39);
    assert_int_equal(config_read(vm, 0, 0x9d, 1) & 0x58, 0x18);
    assert_int_equal(peek(vm, top - MIB), 0xffffffff);
    vm_reset(vm);
    assert_int_equal(peek(vm, top - MIB), 0x7000);
    config_write(vm, 0, 0x50, 2, 0xffff); /* how large can it be? */
    assert_int_equal(config_read(vm, 0, 0x50, 2), 16);
    x86_machine_free(vm);
}

/* What a CPU in the mode sees of `at` while the map changes. */
static struct {
    gpa at;
    unsigned changes, holes;
} inside;

static void look_for_a_hole(struct vm *vm, const struct mem_view *now)
{
    const struct mem_range *r = mem_view_find(mem_smm_now(vm), inside.at);
    inside.changes++;
    inside.holes += !r || !r->ram;
}

/* These values of a register of the bridge, one after the other: how often the map changed; RAM at `at` in all of them. */
static unsigned always_inside(struct vm *vm, gpa at, unsigned reg, const uint8_t *values, size_t n)
{
    const struct accel *before = vm->accel;
    struct accel looks = *before;
    looks.memory_changed = look_for_a_hole;
    vm->accel = &looks;
    inside = (typeof(inside)){ .at = at };
    for (size_t i = 0; i < n; i++)
        config_write(vm, 0, reg, 1, values[i]);
    vm->accel = before;
    assert_int_equal(inside.holes, 0);
    return inside.changes;
}

/* OVMF takes TSEG away and puts it back while another CPU may be on its way out of the mode. */
static void tseg_is_there_at_every_moment_for_who_is_inside(void **unused)
{
    struct vm *vm = smm_machine("q35");
    config_write(vm, 0, 0x9d, 1, 0x08);
    static const uint8_t values[] = { 0x01, 0x00, 0x01 };
    assert_true(always_inside(vm, 64 * MIB - 4096, 0x9e, values, ARRAY_LEN(values)) >= 6);
    x86_machine_free(vm);
}

static void smram_is_there_at_every_moment_for_who_is_inside(void **unused)
{
    static const uint8_t regs[] = { 0x9d, 0x72 }, values[] = { 0x08, 0x48, 0x08, 0x48, 0x58 };
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = smm_machine(boards[i]);
        config_write(vm, 0, regs[i], 1, 0x48);
        assert_int_equal(always_inside(vm, 0xa8000, regs[i], values, ARRAY_LEN(values)), 10);
        x86_machine_free(vm);
    }
    struct vm *vm = smm_machine("q35"); /* the same at its high place */
    config_write(vm, 0, 0x9e, 1, 0x80);
    config_write(vm, 0, 0x9d, 1, 0x48);
    assert_int_equal(always_inside(vm, 0xfeda8000, 0x9d, values, ARRAY_LEN(values)), 10);
    x86_machine_free(vm);
}

static void high_smram_stands_for_the_low_one(void **unused)
{
    struct vm *vm = smm_machine("q35");
    config_write(vm, 0, 0x9d, 1, 0x48);
    poke(vm, 0xa0010, 0x4321);
    config_write(vm, 0, 0x9e, 1, 0x80);
    assert_int_equal(peek(vm, 0xfeda0010), 0x4321);
    assert_int_equal(peek(vm, 0xa0010), 0xffffffff);
    config_write(vm, 0, 0x9d, 1, 0x08);
    assert_int_equal(peek(vm, 0xfeda0010), 0xffffffff);
    assert_int_equal(peek_as(vm, true, 0xfeda0010), 0x4321);
    x86_machine_free(vm);
}

static void smis_are_what_firmware_sets_up_and_locks(void **unused)
{
    struct vm *vm = smm_machine("q35");
    struct x86_cpu *cpus[] = { x86_of(vm->vcpus[0]), x86_of(vm->vcpus[1]) };
    config_write(vm, LPC, 0x40, 4, 0x601);
    config_write(vm, LPC, 0x44, 1, 0x80);
    assert_int_equal(in(vm, 0x630, 4), 0);
    out(vm, 0xb2, 1, 0x10);
    assert_int_equal(cpus[0]->lines, 0);
    out(vm, 0x630, 4, 0x21);
    config_write(vm, LPC, 0xa0, 1, 0x10);
    config_write(vm, LPC, 0xa0, 1, 0x00);
    assert_int_equal(config_read(vm, LPC, 0xa0, 1), 0x10);
    out(vm, 0x630, 4, 0x20);
    assert_int_equal(in(vm, 0x630, 4), 0x21);
    out(vm, 0xb2, 1, 2); /* ACPI on is done without one */
    assert_int_equal(cpus[0]->lines, 0);
    out(vm, 0xb2, 1, 0x10);
    assert_int_equal(cpus[0]->lines, X86_SMI);
    assert_int_equal(cpus[1]->lines, 0);
    x86_machine_free(vm);

    vm = smm_machine("pc");
    out(vm, 0xb2, 1, 0x10);
    assert_int_equal(x86_of(vm->vcpus[0])->lines, 0);
    config_write(vm, PIIX_PM, 0x58, 4, 0x02000000);
    out(vm, 0xb2, 1, 0x10);
    assert_int_equal(x86_of(vm->vcpus[0])->lines, X86_SMI);
    x86_machine_free(vm);
}

/* Select and write a file of fw_cfg by DMA; the control word afterwards. */
static uint32_t fw_cfg_write(struct vm *vm, uint16_t key, gpa from, uint32_t n)
{
    uint8_t request[16];
    store_be(request, 4, (uint32_t)key << 16 | 0x18);
    store_be(request + 4, 4, n);
    store_be(request + 8, 8, from);
    mem_write(vm, 0x1000, request, sizeof(request));
    out(vm, 0x514, 4, 0);
    out(vm, 0x518, 4, __builtin_bswap32(0x1000));
    return __builtin_bswap32(peek(vm, 0x1000));
}

static uint16_t fw_cfg_key(struct vm *vm, const char *name)
{
    uint8_t dir[4 + 64 * 64];
    out(vm, 0x510, 2, 0x19);
    for (size_t i = 0; i < sizeof(dir); i++)
        dir[i] = (uint8_t)in(vm, 0x511, 1);
    for (unsigned i = 0; i < load_be(dir, 4); i++)
        if (!strcmp((const char *)dir + 4 + 64 * i + 8, name))
            return (uint16_t)load_be(dir + 4 + 64 * i + 4, 2);
    fail_msg("there is no %s", name);
    return 0;
}

static void firmware_may_have_smis_reach_all_cpus(void **unused)
{
    struct vm *vm = smm_machine("q35");
    uint8_t features[8], ok;
    assert_int_equal(fw_cfg_file(vm, "etc/smi/supported-features", features, 8), 8);
    assert_int_equal(load_le(features, 8), 1);
    uint16_t key = fw_cfg_key(vm, "etc/smi/requested-features");
    poke(vm, 0x2000, 3); /* more than there is */
    poke(vm, 0x2004, 0);
    assert_int_equal(fw_cfg_write(vm, key, 0x2000, 8), 0);
    fw_cfg_file(vm, "etc/smi/features-ok", &ok, 1);
    assert_int_equal(ok, 0);
    poke(vm, 0x2000, 1);
    assert_int_equal(fw_cfg_write(vm, key, 0x2000, 9), 1); /* one byte too many */
    assert_int_equal(fw_cfg_write(vm, key, 0x2000, 8), 0);
    fw_cfg_file(vm, "etc/smi/features-ok", &ok, 1);
    assert_int_equal(ok, 1);
    poke(vm, 0x2000, 0);
    assert_int_equal(fw_cfg_write(vm, key, 0x2000, 8), 1); /* for good */
    assert_int_equal(fw_cfg_write(vm, fw_cfg_key(vm, "etc/e820"), 0x2000, 8), 1);
    config_write(vm, LPC, 0x40, 4, 0x601);
    config_write(vm, LPC, 0x44, 1, 0x80);
    out(vm, 0x630, 4, 0x21);
    out(vm, 0xb2, 1, 0x10);
    assert_int_equal(x86_of(vm->vcpus[0])->lines, X86_SMI);
    assert_int_equal(x86_of(vm->vcpus[1])->lines, X86_SMI);
    vm_reset(vm);
    assert_false(ich9_lpc_broadcasts_smi(pc_of(vm)->bridge));
    x86_machine_free(vm);
}

/* ---- configuration space ------------------------------------------------------------------------------ */
static void chips_have_their_identities(void **unused)
{
    static const struct {
        const char *machine;
        unsigned devfn;
        uint32_t id, class;
    } chips[] = {
        { "q35", 0, 0x29c08086, 0x060000 },
        { "q35", 0x1f << 3, 0x29188086, 0x060100 },
        { "q35", 0x1f << 3 | 2, 0x29228086, 0x010601 },
        { "pc", 0, 0x12378086, 0x060000 },
        { "pc", 1 << 3, 0x70008086, 0x060100 },
        { "pc", 1 << 3 | 1, 0x70108086, 0x010180 },
        { "pc", 1 << 3 | 3, 0x71138086, 0x068000 },
    };
    for (size_t i = 0; i < ARRAY_LEN(chips); i++) {
        struct vm *vm = machine(chips[i].machine);
        assert_int_equal(config_read(vm, chips[i].devfn, 0, 4), chips[i].id);
        assert_int_equal(config_read(vm, chips[i].devfn, 8, 4) >> 8, chips[i].class);
        assert_int_equal(config_read(vm, chips[i].devfn, 0x2c, 4), 0x11001af4);
        x86_machine_free(vm);
    }
    struct vm *vm = machine("q35,sata=off");
    assert_int_equal(config_read(vm, 0x1f << 3 | 2, 0, 4), 0xffffffff);
    x86_machine_free(vm);
}

static void config_address_takes_double_words_only(void **unused)
{
    struct vm *vm = machine("q35");
    out(vm, 0xcf8, 4, 0x80000000);
    out(vm, 0xcf8, 2, 0xf800);
    out(vm, 0xcfa, 2, 0x80ff);
    out(vm, 0xcfb, 1, 0);
    assert_int_equal(in(vm, 0xcf8, 4), 0x80000000);
    assert_int_equal(in(vm, 0xcfc, 2), 0x8086);
    assert_int_equal(in(vm, 0xcfe, 2), 0x29c0);
    assert_int_equal(in(vm, 0xcfd, 1), 0x80);
    out(vm, 0xcf8, 4, 0); /* not enabled */
    assert_int_equal(in(vm, 0xcfc, 4), 0xffffffff);
    out(vm, 0xcfc, 4, 0);
    out(vm, 0xcf8, 4, 0x80000000 | 0xff << 16); /* no such bus */
    assert_int_equal(in(vm, 0xcfc, 4), 0xffffffff);
    out(vm, 0xcf8, 4, 0xffffffff);
    assert_int_equal(in(vm, 0xcfc, 4), 0xffffffff);
    out(vm, 0xcfc, 4, 0xffffffff);
    x86_machine_free(vm);
}

static void ecam_is_where_pciexbar_says(void **unused)
{
    struct vm *vm = machine("q35");
    assert_int_equal(config_read(vm, 0, 0x60, 4), 0xb0000000);
    assert_int_equal(peek(vm, 0xb0000000), 0xffffffff);
    config_write(vm, 0, 0x60, 4, 0xb0000001);
    poke(vm, 0xb0000060, 0); /* not through itself */
    assert_int_equal(peek(vm, 0xb0000000), 0x29c08086);
    assert_int_equal(peek(vm, 0xb0000000), 0x29c08086);
    assert_int_equal(peek(vm, 0xb0000000 | 0x1f << 15), 0x29188086);
    assert_int_equal(peek(vm, 0xb0000000 | 0xff << 20), 0xffffffff);
    poke(vm, 0xb0000060, 0xc0000003); /* moved through itself, 128 buses */
    assert_int_equal(peek(vm, 0xb0000000), 0xffffffff);
    assert_int_equal(peek(vm, 0xc0000000), 0x29c08086);
    assert_int_equal(peek(vm, 0xc8000000), 0xffffffff);
    poke(vm, 0xc0000060, 0xc0000007); /* reserved length */
    assert_int_equal(peek(vm, 0xc0000000), 0xffffffff);
    config_write(vm, 0, 0x60, 4, 0xb0000001);
    vm_reset(vm);
    assert_int_equal(peek(vm, 0xb0000000), 0xffffffff);
    x86_machine_free(vm);
}

enum { EDU_ID = 0x11e81234, EDU_RAISE = 0x60, EDU_LOWER = 0x64, EDU_BAR = 0xe0000000 };

static void place_edu(struct vm *vm, uint32_t at)
{
    config_write(vm, SLOT << 3, 0x10, 4, at);
    config_write(vm, SLOT << 3, 4, 2, 6);
}

static bool edu_is_at(struct vm *vm, gpa at)
{
    poke(vm, at + 4, 0x12345678);
    return peek(vm, at + 4) == ~0x12345678u;
}

static void bars_move_below_the_fixed_devices(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = machine_where(boards[i], IRQCHIP_USER, "edu,addr=3");
        assert_int_equal(config_read(vm, SLOT << 3, 0, 4), EDU_ID);
        place_edu(vm, 0xe0000000);
        assert_true(edu_is_at(vm, 0xe0000000));
        place_edu(vm, 0xd0000000);
        assert_false(edu_is_at(vm, 0xe0000000));
        assert_true(edu_is_at(vm, 0xd0000000));
        static const uint32_t taken[] = { 0, 0x1000000, 0xfec00000, 0xfed00000, 0xfff00000 };
        for (size_t k = 0; k < ARRAY_LEN(taken); k++) {
            place_edu(vm, taken[k]);
            assert_false(edu_is_at(vm, taken[k]));
        }
        x86_machine_free(vm);
    }
}

/* I/O BARs are at ports, where the board's own win. */
static void io_bars_are_at_ports(void **unused)
{
    struct vm *vm = machine_where("q35", IRQCHIP_USER, "virtio-rng-pci,addr=3");
    config_write(vm, SLOT << 3, 0x10, 4, 0xc001);
    config_write(vm, SLOT << 3, 4, 2, 1);
    assert_int_equal(in(vm, 0xc012, 1), 0); /* device status */
    assert_true(mem_write(vm, 0xc000, "ram", 3));
    config_write(vm, SLOT << 3, 0x10, 4, 0x0ce1);
    assert_int_equal(config_read(vm, SLOT << 3, 0, 2), 0x1af4);
    x86_machine_free(vm);
}

/* ---- interrupts ------------------------------------------------------------------------------------------ */
static uint32_t line(unsigned gsi)
{
    return UINT32_C(1) << gsi;
}

static void q35_routes_pins_by_pirq(void **unused)
{
    struct vm *vm = machine_where("q35", IRQCHIP_ENGINE, "edu,addr=3");
    uint32_t idle = x86_machine_lines(vm);
    place_edu(vm, EDU_BAR);
    poke(vm, EDU_BAR + EDU_RAISE, 1); /* slot 3, INTA#: PIRQH */
    assert_int_equal(x86_machine_lines(vm), idle | line(23));
    config_write(vm, LPC, 0x6b, 1, 0x0b);
    assert_int_equal(x86_machine_lines(vm), idle | line(23) | line(11));
    config_write(vm, LPC, 0x6b, 1, 0x0a);
    assert_int_equal(x86_machine_lines(vm), idle | line(23) | line(10));
    config_write(vm, LPC, 0x6b, 1, 0x02); /* reserved */
    assert_int_equal(x86_machine_lines(vm), idle | line(23));
    config_write(vm, LPC, 0x6b, 1, 0x0a);
    poke(vm, EDU_BAR + EDU_LOWER, 1);
    assert_int_equal(x86_machine_lines(vm), idle);
    assert_int_equal(ich9_pirq_of(31, 0), 0);
    assert_int_equal(ich9_pirq_of(29, 3), 3);
    assert_int_equal(ich9_pirq_of(1, 0), 5);
    x86_machine_free(vm);
}

static void pc_routes_pins_by_pirq(void **unused)
{
    struct vm *vm = machine_where("pc", IRQCHIP_ENGINE, "edu,addr=3");
    uint32_t idle = x86_machine_lines(vm);
    place_edu(vm, EDU_BAR);
    poke(vm, EDU_BAR + EDU_RAISE, 1); /* slot 3, INTA#: PIRQC, not routed */
    assert_int_equal(x86_machine_lines(vm), idle);
    config_write(vm, PIIX, 0x62, 1, 0x0a);
    assert_int_equal(x86_machine_lines(vm), idle | line(10));
    config_write(vm, PIIX, 0x60, 4, 0x0b800b0b); /* the others move nothing */
    assert_int_equal(x86_machine_lines(vm), idle);
    config_write(vm, PIIX, 0x62, 1, 0x05);
    assert_int_equal(x86_machine_lines(vm), idle | line(5));
    vm_reset(vm);
    assert_int_equal(x86_machine_lines(vm), idle);
    x86_machine_free(vm);
}

static void a_line_is_up_while_any_source_is(void **unused)
{
    struct vm *vm = machine_where("q35", IRQCHIP_ENGINE, NULL);
    struct irq a = pc_line(pc_of(vm), 4, PC_FROM_ISA), b = pc_line(pc_of(vm), 4, PC_FROM_ISA2);
    irq_set(&a, true);
    irq_set(&b, true);
    irq_set(&a, false);
    assert_true(x86_machine_lines(vm) & line(4));
    irq_set(&b, false);
    assert_false(x86_machine_lines(vm) & line(4));
    x86_machine_free(vm);
}

static void power_button_raises_the_sci(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = machine_where(boards[i], IRQCHIP_ENGINE, NULL);
        if (i == 0) {
            config_write(vm, LPC, 0x40, 4, 0x601);
            config_write(vm, LPC, 0x44, 1, 0x80);
        } else {
            config_write(vm, PIIX_PM, 0x40, 4, 0x601);
            config_write(vm, PIIX_PM, 0x80, 1, 0x01);
        }
        out(vm, 0x602, 2, 0x100);                                   /* enabled */
        out(vm, 0xb2, 1, i ? PIIX4_ACPI_ENABLE : ICH9_ACPI_ENABLE); /* SCI */
        assert_true(vm_press_power_button(vm));
        assert_true(x86_machine_lines(vm) & line(9));
        if (i == 0) {
            config_write(vm, LPC, 0x44, 1, 0x82); /* another line */
            assert_int_equal(x86_machine_lines(vm) & (line(9) | line(11)), line(11));
        }
        out(vm, 0x600, 2, 0x100);
        assert_false(x86_machine_lines(vm) & (line(9) | line(11)));
        x86_machine_free(vm);
    }
}

static void controllers_are_where_the_engine_left_them(void **unused)
{
    static const struct {
        enum irqchip where;
        bool apic, ioapic, pit;
    } cases[] = { { IRQCHIP_USER, true, true, true },
                  { IRQCHIP_SPLIT, false, true, true },
                  { IRQCHIP_ENGINE, false, false, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct vm *vm = machine_where("q35", cases[i].where, NULL);
        struct pc *pc = pc_of(vm);
        assert_int_equal(pc->interrupts.apic != NULL, cases[i].apic);
        assert_int_equal(pc->interrupts.ioapic != NULL, cases[i].ioapic);
        assert_int_equal(pc->interrupts.pic != NULL, cases[i].ioapic);
        uint32_t any;
        assert_int_equal(mem_port_read(vm, 0x40, 1, &any), cases[i].pit);
        assert_int_equal(mem_port_read(vm, 0x4d0, 1, &any), cases[i].ioapic);
        x86_machine_free(vm);
    }
}

static void hpet_takes_the_engines_timers_place(void **unused)
{
    struct vm *vm = machine_where("q35", IRQCHIP_ENGINE, NULL);
    assert_false(x86_machine_lines(vm) & line(X86_MACHINE_TIMER_TAKEN));
    poke(vm, 0xfed00010, 2); /* legacy replacement */
    assert_true(x86_machine_lines(vm) & line(X86_MACHINE_TIMER_TAKEN));
    vm_reset(vm);
    assert_false(x86_machine_lines(vm) & line(X86_MACHINE_TIMER_TAKEN));
    x86_machine_free(vm);
}

/* ---- bridges to ISA ---------------------------------------------------------------------------------------- */
static void power_management_is_where_pmbase_says(void **unused)
{
    struct vm *vm = machine("q35");
    uint32_t value;
    config_write(vm, LPC, 0x40, 4, 0xffff0601);
    assert_int_equal(config_read(vm, LPC, 0x40, 4), 0x601);
    assert_false(mem_port_read(vm, 0x604, 2, &value));
    config_write(vm, LPC, 0x44, 1, 0x80);
    assert_true(mem_port_read(vm, 0x604, 2, &value));
    assert_int_equal(in(vm, 0x630, 4), 0x20); /* SMI_EN: firmware is to leave SMM alone */
    config_write(vm, LPC, 0x40, 4, 0xb001);
    assert_false(mem_port_read(vm, 0x604, 2, &value));
    assert_true(mem_port_read(vm, 0xb004, 2, &value));
    vm_reset(vm);
    assert_false(mem_port_read(vm, 0xb004, 2, &value));
    x86_machine_free(vm);
}

static void chipset_registers_are_where_rcba_says(void **unused)
{
    struct vm *vm = machine("q35");
    config_write(vm, LPC, 0xf0, 4, 0xfed1c001);
    assert_int_equal(peek(vm, 0xfed1c000 + 0x3140), 0x32103210);
    poke(vm, 0xfed1c000 + 0x3140, 0);
    assert_int_equal(peek(vm, 0xfed1c000 + 0x3140), 0x32103210);
    assert_int_equal(peek(vm, 0xfed1c000 + 0x3410), 0);
    poke(vm, 0xfed1c000 + 0x3410, 0xffffffff);
    assert_int_equal(peek(vm, 0xfed1c000 + 0x3410), 0x20);
    config_write(vm, LPC, 0xf0, 4, 0xfed1c000);
    assert_int_equal(peek(vm, 0xfed1c000 + 0x3410), 0xffffffff);
    x86_machine_free(vm);
}

/* ---- what firmware is told ------------------------------------------------------------------------------------ */
static void cmos_tells_memory_and_boot_order(void **unused)
{
    struct machine_options o = plain("q35");
    struct vm *vm;
    o.ram_size = 3 * GIB;
    o.boot.order = "dc";
    o.boot.once = "n";
    assert_null(x86_machine_new(&o, IRQCHIP_USER, &vm));
    assert_int_equal(cmos(vm, 0x15) | cmos(vm, 0x16) << 8, 640);
    assert_int_equal(cmos(vm, 0x17) | cmos(vm, 0x18) << 8, 0xffff);
    assert_int_equal(cmos(vm, 0x34) | cmos(vm, 0x35) << 8, (0x80000000 - 0x1000000) >> 16);
    assert_int_equal(cmos(vm, 0x5b) | cmos(vm, 0x5c) << 8 | cmos(vm, 0x5d) << 16, GIB >> 16);
    assert_int_equal(cmos(vm, 0x5f), 1);
    assert_int_equal(cmos(vm, 0x3d), 0x04); /* once */
    vm_reset(vm);
    assert_int_equal(cmos(vm, 0x3d), 0x23);
    x86_machine_free(vm);
}

static void fw_cfg_tells_the_memory_map(void **unused)
{
    struct machine_options o = plain("pc");
    struct vm *vm;
    uint8_t e820[128], states[6];
    o.ram_size = 0xe0000000 + GIB;
    assert_null(x86_machine_new(&o, IRQCHIP_USER, &vm));
    assert_int_equal(fw_cfg_file(vm, "etc/e820", e820, sizeof(e820)), 3 * 20);
    assert_int_equal(load_le(e820 + 20, 8), 0);
    assert_int_equal(load_le(e820 + 28, 8), 0xc0000000);
    assert_int_equal(load_le(e820 + 36, 4), 1);
    assert_int_equal(load_le(e820 + 40, 8), 4 * GIB);
    assert_int_equal(load_le(e820 + 48, 8), 0x20000000 + GIB);
    assert_int_equal(fw_cfg_file(vm, "etc/system-states", states, sizeof(states)), 6);
    assert_int_equal(states[3], 0x81); /* S3 */
    assert_int_equal(states[4], 0x82); /* S4 */
    assert_int_equal(fw_cfg_file(vm, "bootorder", states, sizeof(states)), -1);
    x86_machine_free(vm);
}

/* Where PM1 is after firmware, and asleep with type 1. */
static void sleep_in_s3(struct vm *vm, bool q35)
{
    config_write(vm, q35 ? LPC : PIIX_PM, 0x40, 4, 0x601);
    if (q35)
        config_write(vm, LPC, 0x44, 1, 0x80);
    else
        config_write(vm, PIIX_PM, 0x80, 1, 1);
    out(vm, 0x602, 2, 1 << 10);
    out(vm, 0x604, 2, 1 << 13 | 1 << 10 | 1);
    loop_sync(vm->loop);
    assert_true(vm->suspended);
}

static void s3_keeps_memory_and_wakes_through_firmware(void **unused)
{
    static const uint8_t pams[] = { 0x90, 0x59 };
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = machine(boards[i]);
        poke(vm, 0x5000, 0x600d);
        config_write(vm, 0, pams[i], 1, 0x30);
        poke(vm, 0xf1000, 0x5ad0);
        sleep_in_s3(vm, i == 0);
        vm_press_power_button(vm);
        loop_sync(vm->loop);
        assert_false(vm->suspended || vm->waking);
        assert_int_equal(cmos(vm, 0x0f), 0xfe);
        assert_int_equal(peek(vm, 0x5000), 0x600d);
        assert_int_equal(peek(vm, 0xf1000), 0x5ad0);         /* the BIOS's shadow */
        assert_int_equal(in(vm, 0x600, 2), 0x8000 | 1 << 8); /* awake, by the power button */
        assert_int_equal(in(vm, 0x602, 2), 0);
        assert_int_equal(x86_of(vm->vcpus[0])->rip, 0xfff0);

        sleep_in_s3(vm, i == 0);
        vm_reset(vm); /* the user's */
        assert_false(vm->suspended);
        assert_int_not_equal(peek(vm, 0xf1000), 0x5ad0);
        vm_request_wake(vm); /* nobody sleeps */
        loop_sync(vm->loop);
        assert_int_not_equal(peek(vm, 0xf1000), 0x5ad0);
        x86_machine_free(vm);
    }
}

static void boot_order_names_devices_by_their_paths(void **unused)
{
    char order[200];
    struct vm *vm = machine_where("q35", IRQCHIP_USER, "ide-cd,bus=ide.2,bootindex=1");
    int n = fw_cfg_file(vm, "bootorder", (uint8_t *)order, sizeof(order));
    assert_string_equal(order, "/pci@i0cf8/pci8086,2922@1f,2/drive@2/disk@0");
    assert_int_equal(n, strlen(order) + 1);
    x86_machine_free(vm);

    struct machine_options o = plain("pc");
    o.boot.strict = true;
    assert_null(x86_machine_with(&o, IRQCHIP_USER, "ide-cd,bus=ide.1,unit=1,bootindex=1", &vm));
    fw_cfg_file(vm, "bootorder", (uint8_t *)order, sizeof(order));
    assert_string_equal(order, "/pci@i0cf8/ide@1,1/drive@1/disk@1\nHALT");
    x86_machine_free(vm);
}

/* ---- options ------------------------------------------------------------------------------------------------------ */
static void versions_are_the_same_machine(void **unused)
{
    static const char *const names[] = { "pc-q35-11.1", "pc-q35-2.4", "pc-i440fx-7.2" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct vm *vm = machine(names[i]);
        assert_string_equal(pc_of(vm)->m.name, names[i]);
        x86_machine_free(vm);
    }
    struct machine_options o = plain("pc-q35-1.3");
    refuses(&o, IRQCHIP_USER, "pc-q35-2.4");
}

static void what_is_not_there_is_refused(void **unused)
{
    static const struct {
        const char *machine, *why;
    } cases[] = {
        { "q35,smm=on", "System Management Mode" },
        { "pc,sata=off", "sata" },
        { "q35,max-ram-below-4g=1", "64K" },
        { "q35,x-oem-id=TOOLONGID", "6" },
        { "q35,hpte=off", "hpet" },
        { "q35,pcspk-audiodev=a7", "a7" },
        { "pc,pcspk-audiodev=a7,pit=off", "pit=off" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct machine_options o = plain(cases[i].machine);
        refuses(&o, IRQCHIP_USER, cases[i].why);
    }
    struct machine_options o = plain("q35");
    o.smp = 255;
    o.sockets = 51;
    o.cores = 5;
    refuses(&o, IRQCHIP_USER, "APIC ID");
    o = plain("q35");
    o.dtb = "x";
    refuses(&o, IRQCHIP_USER, "-dtb");
    o = plain("q35");
    o.bios = "none";
    refuses(&o, IRQCHIP_USER, "microvm");
    o = plain("q35");
    o.pflash[1] = "p";
    refuses(&o, IRQCHIP_USER, "chip 0");
}

static void parts_can_be_left_out(void **unused)
{
    struct vm *vm = machine("q35,hpet=off,i8042=off,pit=off,pic=off,acpi=off");
    uint32_t value;
    uint8_t byte;
    assert_int_equal(peek(vm, 0xfed00000), 0xffffffff);
    assert_false(mem_port_read(vm, 0x64, 1, &value));
    assert_false(mem_port_read(vm, 0x40, 1, &value));
    assert_false(mem_port_read(vm, 0x20, 1, &value));
    assert_int_equal(fw_cfg_file(vm, "etc/acpi/tables", &byte, 1), -1);
    assert_int_equal(vm->irqchips, 1 << IRQCHIP_USER | 1 << IRQCHIP_SPLIT);
    x86_machine_free(vm);
}

/* ---- all of it ---------------------------------------------------------------------------------------------------- */
static void every_device_loads_what_it_saved(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct vm *vm = machine_where(boards[i], IRQCHIP_USER, "edu,addr=3");
        config_write(vm, 0, i ? 0x59 : 0x90, 1, 0x30);
        poke(vm, 0xf0000, 0x1234);
        place_edu(vm, EDU_BAR);
        for (struct device *dev = vm->devices; dev; dev = dev->next) {
            struct bytes saved = { 0 };
            size_t pos = 0;
            device_save(dev, &saved);
            struct error *err = device_load(dev, saved.at, saved.n, &pos);
            if (err)
                fail_msg("%s: %s", dev->cls->name, error_text(err));
            bytes_free(&saved);
        }
        assert_int_equal(peek(vm, 0xf0000), 0x1234);
        assert_true(edu_is_at(vm, EDU_BAR));
        x86_machine_free(vm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ram_is_split_below_4_gib),
        cmocka_unit_test(firmware_ends_at_4_gib_and_at_1_mib),
        cmocka_unit_test(shadow_ram_follows_pam),
        cmocka_unit_test(smram_opens_until_it_is_locked),
        cmocka_unit_test(closed_smram_is_for_system_management_mode),
        cmocka_unit_test(tseg_hides_the_end_of_ram_until_a_reset),
        cmocka_unit_test(tseg_is_there_at_every_moment_for_who_is_inside),
        cmocka_unit_test(smram_is_there_at_every_moment_for_who_is_inside),
        cmocka_unit_test(high_smram_stands_for_the_low_one),
        cmocka_unit_test(smis_are_what_firmware_sets_up_and_locks),
        cmocka_unit_test(firmware_may_have_smis_reach_all_cpus),
        cmocka_unit_test(chips_have_their_identities),
        cmocka_unit_test(config_address_takes_double_words_only),
        cmocka_unit_test(ecam_is_where_pciexbar_says),
        cmocka_unit_test(bars_move_below_the_fixed_devices),
        cmocka_unit_test(io_bars_are_at_ports),
        cmocka_unit_test(q35_routes_pins_by_pirq),
        cmocka_unit_test(pc_routes_pins_by_pirq),
        cmocka_unit_test(a_line_is_up_while_any_source_is),
        cmocka_unit_test(power_button_raises_the_sci),
        cmocka_unit_test(controllers_are_where_the_engine_left_them),
        cmocka_unit_test(hpet_takes_the_engines_timers_place),
        cmocka_unit_test(power_management_is_where_pmbase_says),
        cmocka_unit_test(chipset_registers_are_where_rcba_says),
        cmocka_unit_test(cmos_tells_memory_and_boot_order),
        cmocka_unit_test(fw_cfg_tells_the_memory_map),
        cmocka_unit_test(s3_keeps_memory_and_wakes_through_firmware),
        cmocka_unit_test(boot_order_names_devices_by_their_paths),
        cmocka_unit_test(versions_are_the_same_machine),
        cmocka_unit_test(what_is_not_there_is_refused),
        cmocka_unit_test(parts_can_be_left_out),
        cmocka_unit_test(every_device_loads_what_it_saved),
    };
    return cmocka_run_group_tests(tests, make_bios, NULL);
}
