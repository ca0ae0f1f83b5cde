/* What the user asked for, in the form of the command line, and the steps from there to the end of
 * the run. */
#pragma once

#include "cli/stats.h"

#include "core/options.h"
#include "hw/machine/machine.h"
#include "ui/gdb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct acpi_options;
struct device;
struct error;
struct monitor;
struct numa;
struct smbios_options;
struct vm;

struct text_list {
    const char **at;
    size_t n;
};
void text_add(struct text_list *list, const char *text);

/* A drive as typed, by which option. */
struct cli_drive {
    enum cli_drive_kind {
        DRIVE_DRIVE,
        DRIVE_BLOCKDEV,
        DRIVE_PFLASH,
        DRIVE_DISK, /* the file to boot */
        DRIVE_CDROM,
        DRIVE_HDA,
        DRIVE_HDB,
        DRIVE_HDC,
        DRIVE_HDD,
    } kind;
    const char *text;
};

struct cli {
    /* As typed; strings are argv's or owned by `owned`. */
    const char *machine, *cpu, *kernel, *initrd, *append, *dtb, *bios, *name, *uuid;
    const char *log_items, *log_file, *log_filter, *pidfile, *stats_file, *image;
    const char *debugcon, *memory, *smp, *parallel, *vga, *display, *gdb, *layout;
    struct text_list vncs, audiodevs, fds;
    struct text_list accels, devices, usb_devices, objects, netdevs, nics, nets, chardevs, serials, monitors,
        mons, qmps, pretty_qmps, actions, fw_cfgs, globals, numas, smbios, acpi_tables;
    struct cli_drive *drives;
    size_t n_drives;
    bool full_screen;
    bool usb, nographic, nodefaults, no_reboot, no_shutdown, start_stopped, daemonize, sandbox, verdict;
    bool snapshot, debug_threads, mem_lock, stats, stats_json, timestamps;
    enum { PRINT_NOTHING, PRINT_HELP, PRINT_OPTIONS_PAGE, PRINT_VERSION } print;

    /* Derived. */
    const char *arch;   /* of the guest; NULL: not told */
    const char *chosen; /* what default boot chose and why; NULL: the user said everything */
    uint64_t ram_size;
    int64_t rtc_offset_ns;
    unsigned smp_cpus, smp_sockets, smp_cores, smp_threads; /* cores: of a socket */
    struct machine_boot boot;
    bool boot_said, sercon;
    const char *display_line; /* where the guest's screen is to be seen; NULL: it is plain */
    const char *engine_line; /* which engine and why not another; NULL: the best or the one asked for */
    const char *last_line; /* the verdict, once the run has ended */
    struct text_list owned;
    /* Texts of options from configuration files, and "FILE:LINE" of each. */
    struct text_list from_files, places;
    const char *origin; /* the place of the option under way; NULL: the command line */
};
/* Where this text of an option stands: "FILE:LINE", or NULL: on the command line. */
const char *cli_place_of(const struct cli *cli, const char *text);
/* -readconfig: as if what the file says stood on the command line. Errors begin with FILE:LINE. */
struct error *cli_read_config(struct cli *cli, const char *path);

/* Text that lives as long as cli. */
const char *cli_text(struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A value for a key=value list: commas doubled. */
const char *cli_quoted(struct cli *cli, const char *value);
/* The list again, less what was asked for: the value of `first` bare, then name=value,... */
const char *cli_rest(struct cli *cli, struct options *list, const char *first);

/* cli_parse: argv into the struct, values checked that can be without a machine. */
void cli_init(struct cli *cli);
struct error *cli_parse(struct cli *cli, int argc, char **argv);
void cli_free(struct cli *cli);
/* -help, -version, -M help, ...: print what was asked for; *printed says whether there was any. */
struct error *cli_print_help(struct cli *cli, bool *printed);
extern const struct option_table cli_options;

/* engines.c: is this the host's own architecture? */
bool cli_is_host_arch(const char *arch);
/* default.c: what the files given alone tell about architecture and boot. */
struct error *cli_choose(struct cli *cli);

/* build.c: the machine with all its parts, ready to start. On error *out may be set and is to be
 * freed all the same. */
enum { MAX_MONITORS = 8 };
struct built {
    struct vm *vm;
    struct monitor *monitors[MAX_MONITORS];
    size_t n_monitors;
    struct gdb_place gdb;
    bool only_dumps;
    bool managed; /* by QMP, which opens files and sockets while the VM runs */
    struct numa *numa;
    struct smbios_options *smbios;
    struct acpi_options *acpi;
    int stats_fd;
    struct stats_of stats; /* monitors print them: stays where it is */
};
struct error *cli_build(struct cli *cli, struct built *out);
void cli_unbuild(struct built *b);

/* run.c. Go to the background (-daemonize): before cli_build; the parent waits for cli_run. */
struct error *cli_detach(int *ready_fd);
/* Pid file, sandbox, run; *status is the process's, cli->last_line the verdict. ready_fd: of cli_detach, or -1. */
struct error *cli_run(struct cli *cli, struct built *b, int ready_fd, int *status);
