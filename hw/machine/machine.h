/* Boards. A board is one file that makes memory, vCPUs and devices from what the user asked for and
 * places the boot images; the list of boards is an array in machine.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct acpi_options;
struct error;
struct numa;
struct smbios_options;
struct vm;

enum { MACHINE_MAX_SERIAL = 4, MACHINE_MAX_PFLASH = 2 };

/* -boot, for machines whose firmware can be told. */
struct machine_boot {
    const char *order, *once; /* letters: a, b floppy, c disk, d CD-ROM, n network; NULL: not said */
    bool menu, strict;             /* strict: nothing but what has a bootindex= */
    const char *splash;            /* a picture */
    int32_t splash_ms, reboot_ms;  /* -1: not said */
};

/* What the command line says about the machine as a whole. Pointers may be NULL, numbers 0: the
 * board's default. Read during machine_create only, copies are made of what is kept. */
struct machine_options {
    const char *machine;       /* as typed behind -M: "virt,aclint=on"; the name may be left out */
    const char *arch;          /* guest architecture, "riscv64"; picks the default board */
    const char *cpu;           /* as typed behind -cpu */
    const char *accel_options; /* as typed behind the name in -accel */
    const char *kernel, *initrd, *append, *dtb, *bios; /* bios: FILE, "none" or "default" */
    uint64_t ram_size;                                 /* bytes */
    unsigned smp;
    unsigned sockets, cores, threads; /* cores a socket, threads a core; 0: not said */
    const char *serial[MACHINE_MAX_SERIAL]; /* chardev ids; NULL: port is there, nothing on it */
    const char *pflash[MACHINE_MAX_PFLASH]; /* drive ids */
    bool parallel;                          /* PCs: a parallel port with nothing on it */
    bool sercon;                            /* PCs: firmware's console is the first serial port */
    bool vga; /* PCs: a VGA is to be looked at, so -kernel starts by the firmware that sets it up */
    struct machine_boot boot;
    bool boot_said; /* other machines refuse it */
    const char *const *fw_cfg; /* -fw_cfg as typed, for machines that have one; as long as the machine */
    size_t n_fw_cfg;
    /* -numa, -smbios, -acpitable: for machines with .has_tables. Unlike the rest these live as long as the
     * machine. NULL: not given. The board calls numa_resolve. */
    struct numa *numa;
    const struct smbios_options *smbios;
    const struct acpi_options *acpi;
};

/* One name=value behind -M NAME. */
struct machine_option {
    const char *name, *values, *help; /* values: "on|off", "none|aplic", "FILE" */
};

struct machine {
    const struct machine_class *cls;
    struct vm *vm;
    char *name; /* as asked for: the class's, or a versioned one */
    uint64_t ram_size;
    unsigned cores, threads; /* of a socket, of a core */
    const struct numa *numa; /* -numa, resolved; NULL: not given */
    bool wants_usb; /* usb=on: a USB controller of the usual kind */
    bool only_dump; /* -M dumpdtb=FILE: written by machine_ready, nothing is to be run */
};

struct machine_class {
    const char *name, *desc, *arch; /* arch NULL: any */
    const char *ram_name;           /* of its RAM, for management ("pc.ram"); NULL: has none */
    const char *versioned;         /* "pc-q35-": with one of `versions` behind it, this machine too; or NULL */
    const char *const *versions;   /* newest first, up to NULL */
    bool is_default; /* of its architecture */
    unsigned default_cpus, max_cpus;
    uint64_t default_ram_size;
    const char *drive_if; /* what -drive and -hda mean without more words: "ide"; NULL: "virtio" */
    const char *usb_addr; /* PCI address of the controller that -usb makes; NULL: any free slot of it */
    const char *vga; /* class of the graphics card that a machine has unless told otherwise; NULL: none */
    bool has_tables; /* ACPI, SMBIOS and NUMA; other machines refuse their options */
    struct {
        const struct machine_option *at;
        size_t n;
    } options;
    size_t size; /* of the board's struct, whose first member is struct machine */
    /* One option of the list above; `value` is one of its `values` if those are an enumeration. */
    struct error *(*set_option)(struct machine *m, const char *name, const char *value);
    /* vm->target, memory, vCPUs and the board's own devices. o has every number filled in. */
    struct error *(*init)(struct machine *m, const struct machine_options *o);
    /* All -device are there: device tree, images. */
    struct error *(*ready)(struct machine *m);
    void (*free)(struct machine *m);
};

extern const struct machine_class *const machine_classes[];
extern const size_t n_machine_classes;

/* The board a user asked for; errors name the nearest. `machine` is as typed, options are skipped. */
struct error *machine_find(const char *machine, const char *arch, const struct machine_class **out);
/* -M help and -M NAME,help. */
void machine_help(const char *arch, void (*print)(void *opaque, const char *line), void *opaque);
void machine_option_help(const struct machine_class *cls,
                         void (*print)(void *opaque, const char *line), void *opaque);

/* Make the board: vm->accel is set, back ends are open, nothing else exists. Sets vm->target, calls
 * the engine's vm_create. Main loop's thread. */
struct error *machine_create(struct vm *vm, const struct machine_options *o);
/* After the user's devices were made and before vm_start: images are opened, checked and placed. */
struct error *machine_ready(struct vm *vm);
/* -M usb=on: whoever makes the user's devices makes a controller first. */
bool machine_wants_usb(const struct vm *vm);
const char *machine_usb_addr(const struct vm *vm); /* machine_class.usb_addr */
/* machine_ready wrote what the user wanted to see: exit 0 without running. */
bool machine_only_dumps(const struct vm *vm);
/* Last, before vm_free; NULL machine is fine. */
void machine_free(struct vm *vm);
