/* Default boot: what the files given alone tell about the guest, and good values for the rest. */
#include "cli/cli.h"
#include "cli/detect.h"

#include "core/error.h"
#include "hw/machine/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* What each architecture needs beside its board. */
static const struct arch_defaults {
    const char *name;
    const char *console; /* for the kernel's command line */
    const char *
        boot_loader; /* as -kernel, for disks with an EFI loader or extlinux.conf; NULL: firmware */
    const char
        *efi; /* firmware for disks with nothing but an EFI loader; the other one is a BIOS */
    const char *loader_comes_from;
} arch_defaults[] = {
    { "riscv64", "ttyS0", "/usr/lib/u-boot/qemu-riscv64_smode/uboot.elf", NULL,
      "Debian package u-boot-qemu" },
    { "x86_64", "ttyS0", NULL, "/usr/share/ovmf/OVMF.fd", "Debian package ovmf" },
};

static const struct arch_defaults *defaults_of(const char *arch)
{
    for (size_t i = 0; i < ARRAY_LEN(arch_defaults); i++)
        if (!strcmp(arch_defaults[i].name, arch))
            return &arch_defaults[i];
    return NULL;
}

/* ---- architecture ------------------------------------------------------------------------------ */
static bool is_supported(const char *arch)
{
    for (size_t i = 0; i < n_machine_classes; i++)
        if (machine_classes[i]->arch && !strcmp(machine_classes[i]->arch, arch))
            return true;
    return false;
}

static struct error *not_supported(const char *arch, const char *file, const char *why)
{
    char list[200] = "";
    for (size_t i = 0; i < n_machine_classes; i++)
        if (machine_classes[i]->arch && !strstr(list, machine_classes[i]->arch) &&
            strlen(list) + strlen(machine_classes[i]->arch) + 3 < sizeof(list)) {
            strcat(list, *list ? ", " : "");
            strcat(list, machine_classes[i]->arch);
        }
    if (!file)
        return error_new("there are no boards for '%s'; accepted: %s", arch, list);
    return error_new("'%s' is for %s (%s); this version runs guests for: %s", file, arch, why,
                     list);
}

/* From the file that says most; a file that tells nothing is no error here. */
static struct error *arch_of_file(struct cli *cli, const char *file)
{
    struct file_info info;
    struct error *err = file_detect(file, &info);
    if (!err && info.arch && !is_supported(info.arch))
        err = not_supported(info.arch, file, info.why);
    if (!err && info.arch)
        cli->arch = cli_text(cli, "%s", info.arch);
    return err;
}

/* -M without a board has only options of one: "acpi=off". */
static bool names_board(const struct cli *cli)
{
    return cli->machine && cli->machine[strcspn(cli->machine, ",=")] != '=';
}

static struct error *choose_arch(struct cli *cli)
{
    const struct machine_class *cls;
    struct error *err = NULL;
    if (cli->arch)
        return is_supported(cli->arch) ? NULL : not_supported(cli->arch, NULL, NULL);
    if (names_board(cli)) {
        err = machine_find(cli->machine, NULL, &cls);
        if (!err)
            cli->arch = cls->arch ? cls->arch : machine_classes[0]->arch;
        return err;
    }
    if (cli->kernel)
        err = error_in(arch_of_file(cli, cli->kernel), "-kernel");
    if (!err && !cli->arch && cli->bios && access(cli->bios, F_OK) == 0)
        err = error_in(arch_of_file(cli, cli->bios), "-bios");
    if (!err && !cli->arch && n_machine_classes)
        cli->arch = machine_classes[0]->arch;
    return err;
}

/* ---- defaults of a guest given as one file ------------------------------------------------------ */
static unsigned default_cpus(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof(set), &set) ? 1 : CPU_COUNT(&set);
    return (unsigned)MAX(1, MIN(n, 4));
}

/* A gigabyte, or a quarter of a small host. */
static uint64_t default_memory(void)
{
    struct sysinfo host;
    uint64_t quarter = sysinfo(&host) ? GIB : (uint64_t)host.totalram * host.mem_unit / 4;
    return quarter >= GIB ? GIB : MAX(align_down(quarter, 64 * MIB), 128 * MIB);
}

static void set_defaults(struct cli *cli)
{
    if (!cli->ram_size)
        cli->ram_size = default_memory();
    if (!cli->smp_cpus)
        cli->smp_cpus = default_cpus();
    if (!cli->nodefaults && !cli->nics.n && !cli->nets.n && !cli->netdevs.n)
        text_add(&cli->nics, "user");
    if (!cli->nodefaults && device_class_find("virtio-rng-pci"))
        text_add(&cli->devices, "virtio-rng-pci");
}

static void add_drive(struct cli *cli, enum cli_drive_kind kind)
{
    cli->drives = xrealloc(cli->drives, (cli->n_drives + 1) * sizeof(*cli->drives));
    memmove(cli->drives + 1, cli->drives, cli->n_drives++ * sizeof(*cli->drives));
    cli->drives[0] = (struct cli_drive){ kind, cli->image };
}

static struct error *boot_by_loader(struct cli *cli, const struct arch_defaults *d,
                                    const char **how)
{
    if (access(d->boot_loader, R_OK))
        return error_new("'%s' boots by a boot loader, and U-Boot is not at '%s' (%s); or give "
                         "-kernel FILE or -bios FILE",
                         cli->image, d->boot_loader, d->loader_comes_from);
    cli->kernel = d->boot_loader;
    *how = "U-Boot";
    return NULL;
}

/* What a PC's own firmware starts. */
static struct error *boot_by_firmware(struct cli *cli, const struct file_info *info,
                                      const struct arch_defaults *d, const char **how)
{
    *how = "SeaBIOS";
    if (info->bios_boots)
        return NULL;
    if (access(d->efi, R_OK))
        return error_new("'%s' boots by EFI, and OVMF is not at '%s' (%s); or give -bios FILE",
                         cli->image, d->efi, d->loader_comes_from);
    cli->bios = d->efi;
    *how = "OVMF";
    return NULL;
}

static struct error *boot_kernel_inside(struct cli *cli, const struct file_info *info,
                                        const struct arch_defaults *d, const char **how)
{
    char path[64], number[16] = "";
    struct error *err =
        file_extract(cli->image, info->partition, info->kernel_path, path, sizeof(path));
    if (err)
        return err;
    cli->kernel = cli_text(cli, "%s", path);
    if (*info->initrd_path) {
        err = file_extract(cli->image, info->partition, info->initrd_path, path, sizeof(path));
        if (err)
            return err;
        cli->initrd = cli_text(cli, "%s", path);
    }
    if (info->partition)
        snprintf(number, sizeof(number), "%u", info->partition);
    if (!cli->append)
        cli->append = cli_text(cli, "root=/dev/vda%s rw console=%s", number, d->console);
    *how = cli_text(cli, "its /%s", info->kernel_path);
    return NULL;
}

static struct error *boot_disk(struct cli *cli, const struct file_info *info, const char **how)
{
    const struct arch_defaults *d = defaults_of(cli->arch);
    struct error *err = NULL;
    add_drive(cli, info->kind == FILE_CD ? DRIVE_CDROM : DRIVE_DISK);
    if (cli->kernel || cli->bios)
        *how = "the firmware or kernel given";
    else if (d && d->efi && (info->bios_boots || info->boot == BOOT_EFI))
        err = boot_by_firmware(cli, info, d, how);
    else if (info->boot == BOOT_KERNEL && d)
        err = boot_kernel_inside(cli, info, d, how);
    else if (info->boot != BOOT_UNKNOWN && d && d->boot_loader)
        err = boot_by_loader(cli, d, how);
    else
        err = error_new("'%s' holds no boot loader or kernel that is known (EFI/BOOT/*.EFI, "
                        "extlinux.conf, /boot/vmlinuz); say -kernel FILE -append root=...",
                        cli->image);
    return err;
}

static struct error *choose_image(struct cli *cli)
{
    struct file_info info;
    const char *how = "as the kernel";
    struct error *err = file_detect(cli->image, &info);
    if (err)
        return err;
    bool given = cli->arch || names_board(cli) || cli->kernel || cli->bios;
    if (!info.arch && !given && info.bios_boots) {
        info.arch = "x86_64"; /* only PCs start by that */
        snprintf(info.why, sizeof(info.why), "boot code in its first sector");
    }
    if (!info.arch && !given)
        return error_new("cannot tell what guest '%s' is for: it is no kernel and no disk with a "
                         "known system; say -M BOARD, and -kernel FILE or -bios FILE",
                         cli->image);
    if (info.arch && !is_supported(info.arch))
        return not_supported(info.arch, cli->image, info.why);
    if (info.arch && !cli->arch && !names_board(cli))
        cli->arch = cli_text(cli, "%s", info.arch);
    err = choose_arch(cli);
    if (!err && info.arch && strcmp(info.arch, cli->arch))
        err = error_new("'%s' is for %s (%s), the machine for %s", cli->image, info.arch, info.why,
                        cli->arch);
    if (err)
        return err;
    set_defaults(cli);
    if (info.kind != FILE_KERNEL)
        err = boot_disk(cli, &info, &how);
    else if (cli->kernel)
        err = error_new("'%s' is a kernel, and -kernel gives another", cli->image);
    else
        cli->kernel = cli->image;
    if (err)
        return err;
    cli->chosen =
        cli_text(cli, "'%s' is for %s (%s): %llu MiB, %u CPUs%s, booting %s", cli->image, cli->arch,
                 *info.why ? info.why : "by -M", (unsigned long long)(cli->ram_size / MIB),
                 cli->smp_cpus, cli->nics.n ? ", user network" : "", how);
    return NULL;
}

static bool is_nothing_given(const struct cli *cli)
{
    return !cli->machine && !cli->kernel && !cli->bios && !cli->n_drives && !cli->devices.n &&
           !cli->arch;
}

struct error *cli_choose(struct cli *cli)
{
    if (cli->image)
        return choose_image(cli);
    if (is_nothing_given(cli))
        return error_new("nothing to boot: give a disk image or a kernel (tandem FILE), or options "
                         "(tandem -help)");
    return choose_arch(cli);
}
