/* The riscv64 "virt" board: the memory map, interrupt numbers and boot protocol of QEMU's board of that
 * name (its docs/system/riscv/virt), so that firmware and kernels built for it run unmodified. */
#include "hw/machine/riscv_virt.h"

#include "core/accel.h"
#include "core/clock.h"
#include "core/device.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/char/ns16550.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/firmware/loader.h"
#include "hw/intc/aplic.h"
#include "hw/intc/clint.h"
#include "hw/intc/imsic.h"
#include "hw/intc/plic.h"
#include "hw/pci/gpex.h"
#include "hw/storage/cfi_flash.h"
#include "hw/timer/goldfish_rtc.h"
#include "hw/virtio/virtio_mmio.h"
#include "target/riscv/riscv.h"

#include <assert.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const struct virt_map_entry virt_map[N_VIRT_PLACES] = {
    [VIRT_ROM] = { 0x1000, 0xf000 },
    [VIRT_TEST] = { 0x100000, 0x1000 },
    [VIRT_RTC] = { 0x101000, 0x1000 },
    [VIRT_CLINT] = { 0x2000000, 0x10000 },
    [VIRT_SSWI] = { 0x2f00000, 0x4000 },
    [VIRT_PCI_IO] = { 0x3000000, 0x10000 },
    [VIRT_PLATFORM_BUS] = { 0x4000000, 0x2000000 },
    [VIRT_INTC_M] = { 0xc000000, 0x600000 },
    [VIRT_INTC_S] = { 0xd000000, 0x600000 },
    [VIRT_UART] = { 0x10000000, 0x100 },
    [VIRT_VIRTIO] = { 0x10001000, 0x1000 }, /* eight of them */
    [VIRT_FW_CFG] = { 0x10100000, FW_CFG_SIZE },
    [VIRT_FLASH] = { 0x20000000, 0x4000000 }, /* two banks */
    [VIRT_IMSIC_M] = { 0x24000000, 0x4000000 },
    [VIRT_IMSIC_S] = { 0x28000000, 0x4000000 },
    [VIRT_PCI_ECAM] = { 0x30000000, 0x10000000 },
    [VIRT_PCI_MEM] = { 0x40000000, 0x40000000 },
    [VIRT_RAM] = { 0x80000000, 0 }, /* -m */
};

enum { MAX_HARTS = 512, DTB_ALIGN = 2 * 1024 * 1024, KERNEL_ALIGN = 2 * 1024 * 1024 };

/* Where firmware is looked for when the user names none, or a file without a path. */
static const char *const opensbi_paths[] = {
    TANDEM_DATADIR "/opensbi-riscv64-generic-fw_dynamic.bin",
    "/usr/lib/riscv64-linux-gnu/opensbi/generic/fw_dynamic.bin",
    "/usr/share/opensbi/lp64/generic/firmware/fw_dynamic.bin",
    "/usr/share/qemu/opensbi-riscv64-generic-fw_dynamic.bin",
};
/* What boots a disk when no kernel is given. */
static const char *const u_boot_paths[] = {
    TANDEM_DATADIR "/u-boot-riscv64-smode.bin",
    "/usr/lib/u-boot/qemu-riscv64_smode/u-boot.bin",
};

/* ---- options ----------------------------------------------------------------------------------- */
static const char *const aia_names[] = {
    [VIRT_PLIC] = "none",
    [VIRT_APLIC] = "aplic",
    [VIRT_APLIC_IMSIC] = "aplic-imsic",
};

static const struct machine_option virt_options[] = {
    { "aclint", "on|off", "ACLINT devices instead of a CLINT" },
    { "aia", "none|aplic|aplic-imsic", "advanced interrupt architecture instead of a PLIC" },
    { "aia-guests", "0", "guest interrupt files (none without the hypervisor extension)" },
    { "acpi", "off|auto", "the board describes itself by device tree only" },
    { "dumpdtb", "FILE", "write the device tree and exit" },
    { "usb", "on|off", "a USB controller: qemu-xhci" },
    { "graphics", "on|off", "accepted for compatibility" },
    { "dump-guest-core", "on|off", "off: core dumps of this program are without guest memory" },
    { "mem-merge", "on|off", "on: the host keeps equal pages of guest memory once" },
};

static struct error *virt_set_option(struct machine *m, const char *name, const char *value)
{
    struct virt *v = (struct virt *)m;
    if (!strcmp(name, "usb"))
        m->wants_usb = !strcmp(value, "on");
    if (!strcmp(name, "aclint")) {
        v->aclint = !strcmp(value, "on");
    } else if (!strcmp(name, "aia")) {
        while (strcmp(aia_names[v->aia], value) != 0)
            v->aia = (v->aia + 1) % ARRAY_LEN(aia_names);
    } else if (!strcmp(name, "dumpdtb")) {
        free(v->dumpdtb);
        v->dumpdtb = xstrdup(value);
        m->only_dump = true;
    }
    return NULL;
}

/* ---- wiring -------------------------------------------------------------------------------------- */
static void drive_cpu(void *opaque, unsigned bit, bool level)
{
    riscv_set_irq(opaque, bit, level);
}

static void pulse_cpu(void *opaque, unsigned bit, bool level)
{
    if (level)
        riscv_raise_pending(opaque, bit);
}

static struct irq cpu_line(const struct virt *v, unsigned hart, unsigned bit)
{
    return (struct irq){ drive_cpu, v->m.vm->vcpus[hart], bit };
}

/* The input of a source, whichever controller serves it. */
static struct irq source_line(const struct virt *v, unsigned source)
{
    return v->aia == VIRT_PLIC ? plic_input(v->intc_m, source) : aplic_input(v->intc_m, source);
}

static uint64_t read_mtime(void *opaque)
{
    return aclint_mtime(opaque);
}

static void time_jumped(void *opaque)
{
    riscv_time_changed(opaque);
}

/* ---- devices ------------------------------------------------------------------------------------- */
/* A device at an address, with more properties as "name", "value" pairs up to NULL. */
static struct error *make(struct virt *v, const char *cls, gpa at, const char *const *more,
                          struct device **out)
{
    struct prop_value props[8];
    char addr[24];
    size_t n = 1;
    snprintf(addr, sizeof(addr), "%#" PRIx64, at);
    props[0] = (struct prop_value){ "addr", addr };
    for (; more && more[0]; more += 2) {
        assert(n < ARRAY_LEN(props));
        if (more[1])
            props[n++] = (struct prop_value){ more[0], more[1] };
    }
    return device_create(v->m.vm, cls, props, n, out);
}
#define MAKE(v, cls, at, out, ...) make(v, cls, at, (const char *const[]){ __VA_ARGS__, NULL }, out)

/* A number as property text, in one of several buffers of the caller's frame. */
struct number {
    char text[16];
};
static const char *number(struct number *n, unsigned value)
{
    snprintf(n->text, sizeof(n->text), "%u", value);
    return n->text;
}

/* mtimer comes before the vCPUs, which read the time from it. */
static struct error *make_mtimer(struct virt *v)
{
    struct number harts;
    bool alone = v->aclint && v->aia == VIRT_APLIC_IMSIC; /* MSIs replace software interrupts */
    gpa at = virt_map[VIRT_CLINT].at + (alone ? 0 : ACLINT_SWI_SIZE);
    struct error *err =
        MAKE(v, "riscv-aclint-mtimer", at, &v->mtimer, "num-harts", number(&harts, v->n_harts));
    if (err)
        return err;
    riscv_set_time_source(v->m.vm, read_mtime, v->mtimer);
    return NULL;
}

static struct error *make_aclint(struct virt *v)
{
    struct number harts;
    const char *n = number(&harts, v->n_harts);
    bool alone = v->aclint && v->aia == VIRT_APLIC_IMSIC;
    struct device *mswi = NULL, *sswi = NULL;
    struct error *err = NULL;
    if (!alone)
        err = MAKE(v, "riscv-aclint-swi", virt_map[VIRT_CLINT].at, &mswi, "num-harts", n);
    if (!err && v->aclint && !alone)
        err = MAKE(v, "riscv-aclint-swi", virt_map[VIRT_SSWI].at, &sswi, "num-harts", n, "sswi",
                   "on");
    for (unsigned h = 0; !err && h < v->n_harts; h++) {
        *aclint_mtimer_output(v->mtimer, h) = cpu_line(v, h, RV_MTI);
        if (mswi)
            *aclint_swi_output(mswi, h) = cpu_line(v, h, RV_MSI);
        if (sswi)
            *aclint_swi_output(sswi, h) = (struct irq){ pulse_cpu, v->m.vm->vcpus[h], RV_SSI };
    }
    if (!err)
        aclint_mtimer_on_jump(v->mtimer, time_jumped, v->m.vm);
    return err;
}

static struct error *make_plic(struct virt *v)
{
    struct number contexts, sources;
    struct error *err =
        MAKE(v, "sifive-plic", virt_map[VIRT_INTC_M].at, &v->intc_m, "num-contexts",
             number(&contexts, 2 * v->n_harts), "num-sources", number(&sources, VIRT_N_SOURCES));
    for (unsigned h = 0; !err && h < v->n_harts; h++) {
        *plic_output(v->intc_m, 2 * h) = cpu_line(v, h, RV_MEI);
        *plic_output(v->intc_m, 2 * h + 1) = cpu_line(v, h, RV_SEI);
    }
    return err;
}

static bool imsic_csr(void *opaque, bool machine, unsigned select, uint64_t mask, uint64_t value,
                      uint64_t *old)
{
    struct virt_imsic *i = opaque;
    return imsic_access(machine ? i->m : i->s, select, mask, value, old);
}

static uint64_t imsic_top_csr(void *opaque, bool machine, bool claim)
{
    struct virt_imsic *i = opaque;
    return imsic_topei(machine ? i->m : i->s, claim);
}

static const struct riscv_imsic_ops imsic_csrs = { imsic_csr, imsic_top_csr };

/* Interrupt files of both levels: memory pages for messages, CSRs for the hart. */
static struct error *make_imsics(struct virt *v)
{
    struct number ids;
    struct error *err = NULL;
    number(&ids, VIRT_IMSIC_IDS);
    v->imsics = xcalloc(v->n_harts, sizeof(*v->imsics));
    for (unsigned h = 0; !err && h < v->n_harts; h++) {
        struct virt_imsic *i = &v->imsics[h];
        gpa off = (gpa)h * IMSIC_SIZE;
        err = MAKE(v, "riscv-imsic", virt_map[VIRT_IMSIC_M].at + off, &i->m, "num-ids", ids.text);
        if (!err)
            err =
                MAKE(v, "riscv-imsic", virt_map[VIRT_IMSIC_S].at + off, &i->s, "num-ids", ids.text);
        if (err)
            break;
        *imsic_output(i->m) = cpu_line(v, h, RV_MEI);
        *imsic_output(i->s) = cpu_line(v, h, RV_SEI);
        riscv_set_imsic(v->m.vm->vcpus[h], &imsic_csrs, i);
    }
    return err;
}

static struct error *make_aplics(struct virt *v)
{
    struct number harts, sources;
    bool msi = v->aia == VIRT_APLIC_IMSIC;
    number(&harts, v->n_harts);
    number(&sources, VIRT_N_APLIC_SOURCES);
    struct error *err = msi ? make_imsics(v) : NULL;
    for (int level = 0; !err && level < 2; level++)
        err = MAKE(v, "riscv-aplic", virt_map[level ? VIRT_INTC_S : VIRT_INTC_M].at,
                   level ? &v->intc_s : &v->intc_m, "num-harts", harts.text, "num-sources",
                   sources.text, "msi", msi ? "on" : "off", "supervisor", level ? "on" : "off");
    if (err)
        return err;
    aplic_set_child(v->intc_m, v->intc_s);
    for (unsigned h = 0; !msi && h < v->n_harts; h++) {
        *aplic_output(v->intc_m, h) = cpu_line(v, h, RV_MEI);
        *aplic_output(v->intc_s, h) = cpu_line(v, h, RV_SEI);
    }
    return NULL;
}

static struct error *make_flash(struct virt *v, const struct machine_options *o)
{
    static const char *const names[VIRT_N_FLASH] = { "virt.flash0", "virt.flash1" };
    struct error *err = NULL;
    for (unsigned i = 0; !err && i < VIRT_N_FLASH; i++) {
        uint64_t bank = virt_map[VIRT_FLASH].size / VIRT_N_FLASH;
        err = MAKE(v, "cfi.pflash01", virt_map[VIRT_FLASH].at + i * bank, &v->flash[i], "name",
                   names[i], "drive", o->pflash[i]);
        err = error_in(err, "flash bank %u", i);
    }
    return err;
}

static struct error *make_pci(struct virt *v)
{
    const struct virt_map_entry *io = &virt_map[VIRT_PCI_IO], *mem = &virt_map[VIRT_PCI_MEM];
    const struct pci_windows windows = { io->at,    io->size,     mem->at,
                                         mem->size, v->pci_mem64, 16 * GIB };
    struct irq intx[PCI_N_INTX];
    struct pci_host *host;
    for (unsigned i = 0; i < PCI_N_INTX; i++)
        intx[i] = source_line(v, VIRT_IRQ_PCI + i);
    return gpex_create(v->m.vm, virt_map[VIRT_PCI_ECAM].at, virt_map[VIRT_PCI_ECAM].size, &windows,
                       intx, &host);
}

static struct error *make_virtio_slots(struct virt *v)
{
    struct error *err = NULL;
    for (unsigned i = 0; !err && i < VIRT_N_VIRTIO; i++) {
        struct irq line = source_line(v, VIRT_IRQ_VIRTIO + i);
        err = virtio_mmio_slot_create(
            v->m.vm, i, virt_map[VIRT_VIRTIO].at + i * virt_map[VIRT_VIRTIO].size, &line);
    }
    return err;
}

static struct error *make_devices(struct virt *v, const struct machine_options *o)
{
    struct device *test, *uart, *rtc;
    struct error *err = make_aclint(v);
    if (!err)
        err = v->aia == VIRT_PLIC ? make_plic(v) : make_aplics(v);
    if (!err)
        err = make(v, "sifive-test", virt_map[VIRT_TEST].at, NULL, &test);
    if (!err)
        err = make(v, "fw-cfg-mmio", virt_map[VIRT_FW_CFG].at, NULL, &v->fw_cfg);
    if (!err)
        err = make_virtio_slots(v);
    if (!err)
        err = make_pci(v);
    if (!err)
        err = MAKE(v, "ns16550a", virt_map[VIRT_UART].at, &uart, "chardev", o->serial[0]);
    if (!err)
        err = make(v, "goldfish-rtc", virt_map[VIRT_RTC].at, NULL, &rtc);
    if (!err)
        err = make_flash(v, o);
    if (err)
        return err;
    *ns16550_output(uart) = source_line(v, VIRT_IRQ_UART);
    *goldfish_rtc_output(rtc) = source_line(v, VIRT_IRQ_RTC);
    return NULL;
}

/* ---- init ---------------------------------------------------------------------------------------- */
static struct error *make_cpus(struct virt *v, const struct machine_options *o)
{
    struct vm *vm = v->m.vm;
    vm->target = &riscv64_target;
    struct error *err = vm->target->cpu_model(vm, o->cpu);
    if (err)
        return err;
    riscv_set_ext(vm, RV_EXT_SMAIA, v->aia == VIRT_APLIC_IMSIC);
    riscv_set_ext(vm, RV_EXT_SSAIA, v->aia == VIRT_APLIC_IMSIC);
    err = vm->accel->vm_create(vm, o->accel_options);
    if (!err)
        err = make_mtimer(v);
    for (unsigned h = 0; !err && h < v->n_harts; h++) {
        struct vcpu *cpu;
        err = vcpu_new(vm, h, &cpu);
    }
    return err;
}

static char *copy_text(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static void place_images(void *opaque);

static struct error *virt_init(struct machine *m, const struct machine_options *o)
{
    struct virt *v = (struct virt *)m;
    struct mem_region *ram;
    for (unsigned i = 1; i < MACHINE_MAX_SERIAL; i++)
        if (o->serial[i])
            return error_new("-serial: machine '%s' has one serial port", m->cls->name);
    if (o->ram_size > UINT64_C(1) << 48)
        return error_new("-m: machine '%s' has room for 256 TiB at most", m->cls->name);
    v->n_harts = o->smp;
    v->kernel_path = copy_text(o->kernel);
    v->initrd_path = copy_text(o->initrd);
    v->append = copy_text(o->append);
    v->dtb_path = copy_text(o->dtb);
    v->bios = copy_text(o->bios);
    v->pci_mem64 = align_up(virt_map[VIRT_RAM].at + o->ram_size, 16 * GIB);

    struct error *err = mem_add_main_ram(m->vm, "riscv_virt_board.ram", o->ram_size, &ram);
    if (err)
        return error_in(err, "-m");
    mem_map(ram, virt_map[VIRT_RAM].at, 0);
    err = make_cpus(v, o);
    if (!err)
        err = make_devices(v, o);
    if (!err)
        err = fw_cfg_add_options(v->fw_cfg, o->fw_cfg, o->n_fw_cfg);
    if (!err)
        vm_on_reset(m->vm, place_images, v);
    return err;
}

/* ---- what boots ---------------------------------------------------------------------------------- */
static const char *first_readable(const char *const *paths, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (access(paths[i], R_OK) == 0)
            return paths[i];
    return NULL;
}

/* A firmware file as named; one without a path that is not here is looked for where firmware lives. */
static char *find_firmware(const char *name)
{
    static const char *const folders[] = { TANDEM_DATADIR, "/usr/share/qemu" };
    for (size_t i = 0; i < ARRAY_LEN(folders) && !strchr(name, '/') && access(name, F_OK); i++) {
        char *path = xasprintf("%s/%s", folders[i], name);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return xstrdup(name);
}

static bool bios_is(const struct virt *v, const char *word)
{
    return v->bios && strcmp(v->bios, word) == 0;
}

static bool default_firmware(const struct virt *v)
{
    return !v->bios || bios_is(v, "default");
}

static struct error *open_boot_image(struct virt *v, const char *role, const char *path,
                                     struct image **out)
{
    struct error *err = image_open(role, path, v->m.cls->arch, v->m.ram_size, out);
    if (err)
        return err;
    if ((*out)->kind == IMAGE_DISK)
        return error_new("%s '%s': it is a disk image; attach it with -drive", role, path);
    if ((*out)->kind == IMAGE_EFI)
        return error_new("%s '%s': it is an EFI application, which needs EFI firmware to start it",
                         role, path);
    return NULL;
}

static struct error *open_firmware(struct virt *v)
{
    const char *path = v->bios;
    if (bios_is(v, "none"))
        return NULL;
    if (default_firmware(v))
        path = first_readable(opensbi_paths, ARRAY_LEN(opensbi_paths));
    if (!path)
        return error_new("no OpenSBI firmware was found (%s, ...): install the package opensbi, or "
                         "say -bios FILE or -bios none",
                         opensbi_paths[1]);
    char *found = find_firmware(path);
    struct error *err = open_boot_image(v, "firmware", found, &v->firmware);
    free(found);
    return err ? err
               : image_place(v->firmware, virt_map[VIRT_RAM].at, virt_map[VIRT_RAM].at,
                             v->m.ram_size);
}

/* Behind the firmware, on a 2 MiB boundary as Linux wants it (its boot-image-header.rst). */
static gpa kernel_start(const struct virt *v)
{
    return align_up(v->firmware ? v->firmware->high : virt_map[VIRT_RAM].at, KERNEL_ALIGN);
}

static struct error *open_kernel(struct virt *v)
{
    const char *path = v->kernel_path;
    if (!path && default_firmware(v) && !cfi_flash_has_image(v->flash[0]))
        path = first_readable(u_boot_paths, ARRAY_LEN(u_boot_paths));
    if (!path)
        return NULL;
    struct error *err = open_boot_image(v, "kernel", path, &v->kernel);
    return err ? err
               : image_place(v->kernel, kernel_start(v), virt_map[VIRT_RAM].at, v->m.ram_size);
}

/* The device tree goes to the end of RAM, but below 3 GiB where any firmware can reach it. */
static gpa dtb_start(const struct virt *v, uint64_t n)
{
    gpa top = MIN(virt_map[VIRT_RAM].at + v->m.ram_size, 3 * GIB);
    return align_down(top - n, DTB_ALIGN);
}

/* High enough to be out of the kernel's way; directly behind it when memory is small. */
static struct error *open_initrd(struct virt *v)
{
    gpa ram = virt_map[VIRT_RAM].at;
    if (!v->initrd_path)
        return NULL;
    if (!v->kernel_path)
        return error_new("-initrd needs -kernel");
    struct error *err = image_open("initrd", v->initrd_path, NULL, v->m.ram_size, &v->initrd);
    if (err)
        return err;
    gpa behind = align_up(v->kernel->high, KERNEL_ALIGN);
    gpa at = MAX(kernel_start(v) + MIN(v->m.ram_size / 2, 512 * MIB), behind);
    gpa limit = dtb_start(v, DTB_ALIGN);
    if (at > limit || v->initrd->n > limit - at)
        at = behind;
    return image_place(v->initrd, at, ram, v->m.ram_size);
}

/* Firmware in flash loads the kernel itself, through fw_cfg. */
static struct error *offer_kernel(struct virt *v)
{
    static const struct {
        uint16_t size_key, data_key;
    } keys[] = { { FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA },
                 { FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA } };
    struct image **images[] = { &v->kernel, &v->initrd };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        struct image *img = *images[i];
        if (!img)
            continue;
        uint8_t *bytes = img->n <= UINT32_MAX ? malloc(img->n) : NULL;
        struct error *err = bytes ? image_read(img, 0, bytes, img->n)
                                  : error_new("it is too large to be offered to firmware");
        if (err) {
            free(bytes);
            return error_in(err, "%s '%s'", img->role, img->path);
        }
        fw_cfg_add_u32(v->fw_cfg, keys[i].size_key, (uint32_t)img->n);
        fw_cfg_add(v->fw_cfg, keys[i].data_key, bytes, (uint32_t)img->n);
        free(bytes);
        image_free(img);
        *images[i] = NULL;
    }
    if (v->append) {
        uint32_t n = (uint32_t)strlen(v->append) + 1;
        fw_cfg_add_u32(v->fw_cfg, FW_CFG_CMDLINE_SIZE, n);
        fw_cfg_add(v->fw_cfg, FW_CFG_CMDLINE_DATA, v->append, n);
    }
    return NULL;
}

/* ---- the reset vector ---------------------------------------------------------------------------
 * Every hart starts at the ROM's first word: a0 = hart, a1 = device tree, a2 = OpenSBI's dynamic
 * information (its docs/firmware/fw_dynamic.md), then on to the first program. */
static struct image *make_rom(gpa start, gpa dtb, gpa next, bool entropy)
{
    enum { START_AT = 32, DTB_AT = 40, INFO_AT = 48, ROM_SIZE = INFO_AT + 6 * 8, NOP = 0x13 };
    /* The device tree offers the entropy source to supervisors, but firmware older than Zkr does not
     * open it to them (mseccfg.SSEED, scalar cryptography 1.0.1, 4.3). */
    const uint32_t code[] = {
        0x00000617,                 /* auipc a2, 0             */
        entropy ? 0x20000313 : NOP, /* li    t1, 1 << 9, SSEED */
        entropy ? 0x74732073 : NOP, /* csrs  mseccfg, t1       */
        0x02063283,                 /* ld    t0, 32(a2)        */
        0x02863583,                 /* ld    a1, 40(a2)        */
        0xf1402573,                 /* csrr  a0, mhartid       */
        0x03060613,                 /* addi  a2, a2, 48        */
        0x00028067,                 /* jr    t0                */
    };
    const uint64_t info[] = {
        0x4942534f,    /* magic, "OSBI" */
        2,             /* version */
        next,       1, /* next mode: supervisor */
        0,             /* options */
        0,             /* preferred boot hart */
    };
    uint8_t rom[ROM_SIZE];
    for (size_t i = 0; i < ARRAY_LEN(code); i++)
        store_le(rom + 4 * i, 4, code[i]);
    store_le(rom + START_AT, 8, start);
    store_le(rom + DTB_AT, 8, dtb);
    for (size_t i = 0; i < ARRAY_LEN(info); i++)
        store_le(rom + INFO_AT + 8 * i, 8, info[i]);
    return image_from_bytes("reset vector", rom, sizeof(rom));
}

static struct error *place_rom(struct virt *v)
{
    const struct virt_map_entry *rom = &virt_map[VIRT_ROM];
    struct mem_region *region;
    gpa flash = virt_map[VIRT_FLASH].at, ram = virt_map[VIRT_RAM].at;
    gpa next = v->kernel ? v->kernel->entry : cfi_flash_has_image(v->flash[0]) ? flash : 0;
    gpa start = v->firmware ? v->firmware->entry : next ? next : ram;

    struct error *err = mem_add_ram(v->m.vm, "riscv_virt_board.mrom", rom->size, true, &region);
    if (err)
        return err;
    mem_map(region, rom->at, 0);
    bool entropy = rv_model_has(riscv_model_of(v->m.vm), RV_EXT_ZKR);
    v->rom = make_rom(start, v->dtb->entry, next, entropy);
    return image_place(v->rom, rom->at, rom->at, rom->size);
}

/* ---- ready --------------------------------------------------------------------------------------- */
static struct error *make_dtb(struct virt *v)
{
    void *fdt = NULL;
    struct error *err = v->dtb_path ? virt_read_dtb(v->dtb_path, &fdt) : virt_make_dtb(v, &fdt);
    if (!err)
        err = virt_dtb_set_boot(fdt, v->append, v->initrd ? v->initrd->low : 0,
                                v->initrd ? v->initrd->n : 0);
    if (!err) {
        fdt_pack(fdt);
        v->dtb = image_from_bytes("device tree", fdt, fdt_totalsize(fdt));
    }
    free(fdt);
    return err;
}

static struct error *write_file(const char *path, const uint8_t *bytes, uint64_t n)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return error_errno("dumpdtb: cannot write '%s'", path);
    bool good = fwrite(bytes, 1, n, f) == n;
    good = fclose(f) == 0 && good;
    return good ? NULL : error_errno("dumpdtb: cannot write '%s'", path);
}

static void fill_fw_cfg(struct virt *v)
{
    fw_cfg_add_u64(v->fw_cfg, FW_CFG_RAM_SIZE, v->m.ram_size);
    fw_cfg_add_u16(v->fw_cfg, FW_CFG_NB_CPUS, (uint16_t)v->n_harts);
    fw_cfg_add_u16(v->fw_cfg, FW_CFG_MAX_CPUS, (uint16_t)v->n_harts);
}

/* Nothing but firmware would run: say so instead of letting it jump into empty memory. */
static void refuse_empty_boot(struct virt *v)
{
    if (!v->kernel && !cfi_flash_has_image(v->flash[0]) &&
        (default_firmware(v) || bios_is(v, "none")))
        vm_request_end(v->m.vm, VERDICT_NO_BOOTABLE, 0,
                       default_firmware(v)
                           ? "no -kernel, no flash image, and no U-Boot to start a disk: install "
                             "the package u-boot-qemu or give -kernel"
                           : "-bios none, no -kernel and no flash image");
}

static struct error *open_images(struct virt *v)
{
    struct error *err = open_firmware(v);
    if (!err)
        err = open_kernel(v);
    if (!err)
        err = open_initrd(v);
    if (!err && cfi_flash_has_image(v->flash[0]))
        err = offer_kernel(v);
    return err;
}

static struct error *virt_ready(struct machine *m)
{
    struct virt *v = (struct virt *)m;
    gpa ram = virt_map[VIRT_RAM].at;
    struct error *err = m->only_dump && !v->kernel_path ? NULL : open_images(v);
    if (!err)
        err = make_dtb(v);
    if (!err && m->only_dump)
        return write_file(v->dumpdtb, v->dtb->bytes, v->dtb->n);
    if (!err)
        err = image_place(v->dtb, dtb_start(v, v->dtb->n), ram, m->ram_size);
    if (!err)
        err = images_check_overlap(
            (struct image *const[]){ v->firmware, v->kernel, v->initrd, v->dtb }, 4);
    if (!err)
        err = place_rom(v);
    if (err)
        return err;
    fill_fw_cfg(v);
    refuse_empty_boot(v);
    return NULL;
}

/* After each reset, vCPUs stopped. */
static void place_images(void *opaque)
{
    struct virt *v = opaque;
    struct image *const images[] = { v->firmware, v->kernel, v->initrd, v->dtb, v->rom };
    struct error *err = NULL;
    for (unsigned i = 0; i < VIRT_N_FLASH; i++)
        cfi_flash_follow(v->flash[i]);
    if (v->loaded)
        virt_dtb_reseed(v->dtb->bytes);
    for (size_t i = 0; !err && i < ARRAY_LEN(images); i++)
        if (images[i])
            err = image_load(images[i], v->m.vm, !v->loaded);
    v->loaded = true;
    if (err) {
        vm_request_end(v->m.vm, VERDICT_ENGINE_FAILED, 1, error_text(err));
        error_free(err);
    }
    for (unsigned h = 0; h < v->n_harts; h++)
        riscv_place(v->m.vm->vcpus[h], virt_map[VIRT_ROM].at, 0, 0);
}

static void virt_free(struct machine *m)
{
    struct virt *v = (struct virt *)m;
    struct image *images[] = { v->firmware, v->kernel, v->initrd, v->dtb, v->rom };
    vm_forget(m->vm, v);
    free(v->imsics);
    char *texts[] = { v->dumpdtb, v->kernel_path, v->initrd_path, v->append, v->dtb_path, v->bios };
    for (size_t i = 0; i < ARRAY_LEN(images); i++)
        image_free(images[i]);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
}

const struct machine_class riscv_virt_machine = {
    .name = "virt",
    .desc = "RISC-V VirtIO board",
    .arch = "riscv64",
    .is_default = true,
    .default_cpus = 1,
    .max_cpus = MAX_HARTS,
    .default_ram_size = 512 * MIB,
    .ram_name = "riscv_virt_board.ram",
    .options = TABLE(virt_options),
    .size = sizeof(struct virt),
    .set_option = virt_set_option,
    .init = virt_init,
    .ready = virt_ready,
    .free = virt_free,
};
