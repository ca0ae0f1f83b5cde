/* The riscv64 virt board as firmware and kernels see it: memory map, device tree, boot layout, options.
 * Nothing runs. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "target/riscv/riscv.h"

#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- a machine --------------------------------------------------------------------------------- */
static char kernel_path[64], initrd_path[64];

static void make_file(char *path, const void *bytes, size_t n, size_t size)
{
    strcpy(path, "/tmp/tandem-virt-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static struct vm *vm_of(const struct machine_options *o, struct error **err)
{
    struct vm *vm;
    assert_null(vm_new(&vm));
    vm->accel = &tcg_accel;
    *err = machine_create(vm, o);
    if (!*err)
        *err = machine_ready(vm);
    return vm;
}

static void machine_gone(struct vm *vm)
{
    machine_free(vm);
    vm_free(vm);
}

static struct vm *machine_with(const struct machine_options *o)
{
    struct error *err;
    struct vm *vm = vm_of(o, &err);
    if (err)
        fail_msg("%s", error_text(err));
    vm_reset(vm);
    return vm;
}

static void refuses(const struct machine_options *o, const char *why)
{
    struct error *err;
    struct vm *vm = vm_of(o, &err);
    assert_non_null(err);
    if (!strstr(error_text(err), why))
        fail_msg("'%s' does not say '%s'", error_text(err), why);
    error_free(err);
    machine_gone(vm);
}

static uint64_t word(struct vm *vm, gpa at)
{
    uint8_t buf[8];
    assert_true(mem_read(vm, at, buf, 8));
    return load_le(buf, 8);
}

/* The device tree where the reset vector says it is. */
static void *tree(struct vm *vm)
{
    static uint8_t fdt[256 * 1024];
    gpa at = word(vm, 0x1000 + 40);
    assert_true(mem_read(vm, at, fdt, 4096));
    assert_true(fdt_totalsize(fdt) <= sizeof(fdt));
    assert_true(mem_read(vm, at, fdt, fdt_totalsize(fdt)));
    assert_int_equal(fdt_check_full(fdt, sizeof(fdt)), 0);
    return fdt;
}

static uint32_t cell(const void *fdt, const char *path, const char *name, unsigned i)
{
    int len, node = fdt_path_offset(fdt, path);
    if (node < 0)
        fail_msg("no node %s", path);
    const uint8_t *p = fdt_getprop(fdt, node, name, &len);
    if (!p || len < (int)(4 * i + 4))
        fail_msg("%s has no %s[%u]", path, name, i);
    return (uint32_t)load_be(p + 4 * i, 4);
}

static const char *text(const void *fdt, const char *path, const char *name)
{
    int node = fdt_path_offset(fdt, path);
    return node < 0 ? NULL : fdt_getprop(fdt, node, name, NULL);
}

static struct machine_options plain(void)
{
    return (struct machine_options){
        .arch = "riscv64", .bios = "none", .kernel = kernel_path, .ram_size = 64 * MIB, .smp = 2
    };
}

static int make_kernel(void **unused)
{
    uint8_t h[64] = { 0x6f, 0, 0, 0 };
    store_le(h + 16, 8, 5 * MIB);
    memcpy(h + 0x30, "RISCV\0\0\0RSC\x05", 12);
    make_file(kernel_path, h, sizeof(h), 4096);
    make_file(initrd_path, "initrd", 6, 100000);
    return 0;
}

static int remove_kernel(void **unused)
{
    unlink(kernel_path);
    unlink(initrd_path);
    return 0;
}

/* ---- facts ------------------------------------------------------------------------------------- */
static void harts_start_in_the_rom_which_knows_the_kernel(void **unused)
{
    struct machine_options o = plain();
    struct vm *vm = machine_with(&o);
    for (unsigned h = 0; h < 2; h++)
        assert_int_equal(riscv_of(vm->vcpus[h])->pc, 0x1000);
    assert_int_equal(word(vm, 0x1000 + 32), 0x80000000); /* no firmware: straight into it */
    assert_int_equal(word(vm, 0x80000000) & 0xffffffff, 0x6f);
    assert_int_equal(word(vm, 0x1000 + 48), 0x4942534f);
    assert_int_equal(word(vm, 0x1000 + 48 + 16), 0x80000000);
    machine_gone(vm);
}

static void firmware_comes_first_and_the_kernel_2_mib_aligned_behind(void **unused)
{
    char bios[64];
    struct machine_options o = plain();
    make_file(bios, "\x13\0\0\0", 4, 300000);
    o.bios = bios;
    struct vm *vm = machine_with(&o);
    unlink(bios);
    assert_int_equal(word(vm, 0x1000 + 32), 0x80000000);
    assert_int_equal(word(vm, 0x1000 + 48 + 16), 0x80200000);
    assert_int_equal(word(vm, 0x1000 + 48 + 24), 1);
    assert_int_equal(word(vm, 0x80000000) & 0xffffffff, 0x13);
    assert_int_equal(word(vm, 0x80200000) & 0xffffffff, 0x6f);
    machine_gone(vm);
}

static void chosen_tells_of_initrd_and_arguments(void **unused)
{
    struct machine_options o = plain();
    o.initrd = initrd_path;
    o.append = "console=ttyS0 quiet";
    struct vm *vm = machine_with(&o);
    const void *fdt = tree(vm);
    gpa at = (gpa)cell(fdt, "/chosen", "linux,initrd-start", 0) << 32 |
             cell(fdt, "/chosen", "linux,initrd-start", 1);
    assert_int_equal(cell(fdt, "/chosen", "linux,initrd-end", 1) - (uint32_t)at, 100000);
    assert_true(at >= 0x80000000 + 5 * MIB); /* behind what the kernel clears */
    assert_memory_equal((uint64_t[]){ word(vm, at) }, "initrd", 6);
    assert_string_equal(text(fdt, "/chosen", "bootargs"), "console=ttyS0 quiet");
    assert_string_equal(text(fdt, "/chosen", "stdout-path"), "/soc/serial@10000000");
    machine_gone(vm);
}

static void tree_shows_cpus_memory_and_controllers(void **unused)
{
    struct machine_options o = plain();
    struct vm *vm = machine_with(&o);
    const void *fdt = tree(vm);
    assert_string_equal(text(fdt, "/", "compatible"), "riscv-virtio");
    assert_int_equal(cell(fdt, "/memory@80000000", "reg", 3), 64 * MIB);
    assert_int_equal(cell(fdt, "/cpus", "timebase-frequency", 0), 10000000);
    assert_string_equal(text(fdt, "/cpus/cpu@1", "riscv,isa-base"), "rv64i");
    assert_int_equal(strncmp(text(fdt, "/cpus/cpu@0", "riscv,isa"), "rv64imafdc", 10), 0);
    assert_int_equal(cell(fdt, "/soc/interrupt-controller@c000000", "riscv,ndev", 0), 95);
    assert_string_equal(text(fdt, "/soc/clint@2000000", "compatible"), "sifive,clint0");
    assert_int_equal(cell(fdt, "/soc/serial@10000000", "interrupts", 0), 10);
    assert_int_equal(cell(fdt, "/soc/virtio_mmio@10008000", "interrupts", 0), 8);
    assert_int_equal(cell(fdt, "/soc/pci@30000000", "interrupt-map", 5), 0x20);
    assert_int_equal(cell(fdt, "/soc/pci@30000000", "interrupt-map", 4),
                     cell(fdt, "/soc/interrupt-controller@c000000", "phandle", 0));
    machine_gone(vm);
}

static void aia_and_aclint_replace_plic_and_clint(void **unused)
{
    static const struct {
        const char *machine, *there, *not_there;
    } cases[] = {
        { "virt,aclint=on", "/soc/sswi@2f00000", "/soc/clint@2000000" },
        { "virt,aclint=on", "/soc/mtimer@200bff8", "/soc/interrupt-controller@d000000" },
        { "virt,aia=aplic", "/soc/interrupt-controller@d000000", "/soc/sswi@2f00000" },
        { "virt,aia=aplic", "/soc/clint@2000000", "/soc/interrupt-controller@28000000" },
        { "virt,aia=aplic-imsic", "/soc/interrupt-controller@28000000", "/soc/sswi@2f00000" },
        { "virt,aia=aplic-imsic,aclint=on", "/soc/mtimer@2007ff8", "/soc/clint@2000000" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct machine_options o = plain();
        o.machine = cases[i].machine;
        struct vm *vm = machine_with(&o);
        const void *fdt = tree(vm);
        assert_true(fdt_path_offset(fdt, cases[i].there) >= 0);
        assert_true(fdt_path_offset(fdt, cases[i].not_there) < 0);
        machine_gone(vm);
    }
}

static void uart_interrupt_reaches_the_hart_through_the_plic(void **unused)
{
    struct machine_options o = plain();
    struct vm *vm = machine_with(&o);
    mem_io_write(vm, 0xc000000 + 4 * 10, 4, 1);
    mem_io_write(vm, 0xc002000 + 0x80 * 3, 4, 1 << 10); /* hart 1, supervisor */
    mem_io_write(vm, 0x10000001, 1, 2);
    assert_int_equal(riscv_of(vm->vcpus[1])->mip_lines, 1 << RV_SEI);
    assert_int_equal(riscv_of(vm->vcpus[0])->mip_lines, 0);
    uint64_t claim;
    assert_true(mem_io_read(vm, 0xc200004 + 0x1000 * 3, 4, &claim));
    assert_int_equal(claim, 10);
    assert_int_equal(riscv_of(vm->vcpus[1])->mip_lines, 0);
    machine_gone(vm);
}

static void reset_puts_images_back(void **unused)
{
    struct machine_options o = plain();
    struct vm *vm = machine_with(&o);
    uint8_t seed[8], again[8];
    int len;
    const void *fdt = tree(vm);
    memcpy(seed, fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "rng-seed", &len), 8);
    assert_int_equal(len, 32);
    assert_true(mem_write(vm, 0x80000000, "junkjunk", 8));
    assert_true(mem_write(vm, 0x80000000 + 4096, "junkjunk", 8));
    vm_reset(vm);
    assert_int_equal(word(vm, 0x80000000) & 0xffffffff, 0x6f);
    assert_int_equal(word(vm, 0x80000000 + 4096), 0);
    fdt = tree(vm);
    memcpy(again, fdt_getprop(fdt, fdt_path_offset(fdt, "/chosen"), "rng-seed", &len), 8);
    assert_memory_not_equal(seed, again, 8);
    machine_gone(vm);
}

static void many_harts_fit(void **unused)
{
    struct machine_options o = plain();
    o.smp = 64;
    struct vm *vm = machine_with(&o);
    assert_true(fdt_path_offset(tree(vm), "/cpus/cpu@3f") >= 0);
    assert_int_equal(riscv_of(vm->vcpus[63])->pc, 0x1000);
    machine_gone(vm);
}

static void users_tree_gets_the_boot_arguments(void **unused)
{
    char path[64];
    struct machine_options o = plain();
    char fdt[1024];
    assert_int_equal(fdt_create_empty_tree(fdt, sizeof(fdt)), 0);
    make_file(path, fdt, fdt_totalsize(fdt), fdt_totalsize(fdt));
    o.dtb = path;
    o.append = "x=1";
    struct vm *vm = machine_with(&o);
    assert_string_equal(text(tree(vm), "/chosen", "bootargs"), "x=1");
    assert_true(fdt_path_offset(tree(vm), "/soc") < 0);
    machine_gone(vm);
    assert_int_equal(truncate(path, 60), 0);
    refuses(&o, "not a valid device tree");
    unlink(path);
}

static void dumpdtb_writes_the_tree_and_runs_nothing(void **unused)
{
    char machine[96], path[64];
    struct error *err;
    struct machine_options o = plain();
    make_file(path, "", 0, 0);
    snprintf(machine, sizeof(machine), "virt,dumpdtb=%s", path);
    o.machine = machine;
    o.kernel = NULL;
    struct vm *vm = vm_of(&o, &err);
    assert_null(err);
    assert_true(machine_only_dumps(vm));
    machine_gone(vm);
    FILE *f = fopen(path, "rb");
    uint8_t magic[4];
    assert_int_equal(fread(magic, 1, 4, f), 4);
    fclose(f);
    unlink(path);
    assert_int_equal(load_be(magic, 4), 0xd00dfeed);
}

static void bad_options_are_refused_by_name(void **unused)
{
    struct machine_options o = plain();
    o.machine = "vitr";
    refuses(&o, "virt");
    o.machine = "virt,aca=on";
    refuses(&o, "aca");
    o.machine = "virt,aia=gic";
    refuses(&o, "none|aplic|aplic-imsic");
    o.machine = "virt,aclint=maybe";
    refuses(&o, "on|off");
    o = plain();
    o.smp = 513;
    refuses(&o, "at most 512");
    o = plain();
    o.ram_size = 5000;
    refuses(&o, "-m");
    o = plain();
    o.serial[1] = "c1";
    refuses(&o, "one serial port");
}

static void images_that_do_not_fit_are_refused(void **unused)
{
    struct machine_options o = plain();
    o.ram_size = 4 * MIB; /* the kernel clears 5 */
    refuses(&o, "do not fit");
    o = plain();
    o.kernel = "/nonexistent/kernel";
    refuses(&o, "No such file");
    o = plain();
    o.bios = "/nonexistent/bios";
    refuses(&o, "No such file");
    o = plain();
    o.kernel = NULL;
    o.initrd = initrd_path;
    refuses(&o, "-initrd needs -kernel");
    o = plain();
    o.ram_size = 6 * MIB; /* kernel, initrd and device tree collide */
    o.initrd = initrd_path;
    refuses(&o, "initrd");
}

static void nothing_to_boot_is_a_verdict(void **unused)
{
    struct error *err;
    struct machine_options o = plain();
    o.kernel = NULL;
    struct vm *vm = vm_of(&o, &err);
    assert_null(err);
    assert_int_equal(vm->verdict, VERDICT_NO_BOOTABLE);
    machine_gone(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(harts_start_in_the_rom_which_knows_the_kernel),
        cmocka_unit_test(firmware_comes_first_and_the_kernel_2_mib_aligned_behind),
        cmocka_unit_test(chosen_tells_of_initrd_and_arguments),
        cmocka_unit_test(tree_shows_cpus_memory_and_controllers),
        cmocka_unit_test(aia_and_aclint_replace_plic_and_clint),
        cmocka_unit_test(uart_interrupt_reaches_the_hart_through_the_plic),
        cmocka_unit_test(reset_puts_images_back),
        cmocka_unit_test(many_harts_fit),
        cmocka_unit_test(users_tree_gets_the_boot_arguments),
        cmocka_unit_test(dumpdtb_writes_the_tree_and_runs_nothing),
        cmocka_unit_test(bad_options_are_refused_by_name),
        cmocka_unit_test(images_that_do_not_fit_are_refused),
        cmocka_unit_test(nothing_to_boot_is_a_verdict),
    };
    return cmocka_run_group_tests(tests, make_kernel, remove_kernel);
}
