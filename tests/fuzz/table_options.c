/* -acpitable, -smbios and -numa, and the files that the first two read: whatever is in them, they are refused or
 * make tables that hang together. Lines "a...", "s...", "n..." are options, in which % is the file; behind an
 * empty line come its bytes. */
#include "../unit/board.h"

#include "core/error.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/blob.h"
#include "hw/firmware/smbios.h"
#include "hw/machine/numa.h"
#include "tape.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct world {
    struct board *b;
    struct acpi_options *acpi;
    struct smbios_options *smbios;
    struct numa *numa;
};

/* No other file is opened: slashes are only in the path that stands for %. */
static char *with_path(const uint8_t *line, size_t n, const char *path)
{
    struct blob text = { 0 };
    for (size_t i = 0; i < n; i++)
        if (line[i] == '%')
            blob_add(&text, path, strlen(path));
        else
            blob_num(&text, 1, line[i] == '/' ? '_' : line[i]);
    blob_num(&text, 1, 0);
    return (char *)text.at;
}

static void take_option(struct world *w, const uint8_t *line, size_t n, const char *path)
{
    char *text = with_path(line + 1, n - 1, path);
    if (line[0] == 'a')
        error_free(acpi_options_add(w->acpi, text));
    else if (line[0] == 's')
        error_free(smbios_options_add(w->smbios, text));
    else if (line[0] == 'n')
        error_free(numa_add(w->numa, text));
    free(text);
}

static void build_acpi(struct world *w)
{
    const struct acpi_cpu cpus[] = { { 0, 0, true }, { 1, 1, true } };
    uint64_t node_ram[ACPI_MAX_NODES] = { 0 };
    struct acpi_pc pc = { .board = ACPI_MICROVM, .cpus = cpus, .n_cpus = 2, .ram_below_4g = GIB };
    struct acpi_tables *t;
    uint8_t rsdp[ACPI_RSDP_SIZE];
    pc.options = w->acpi;
    pc.n_nodes = w->numa->n_nodes;
    for (unsigned i = 0; i < pc.n_nodes; i++)
        node_ram[i] = w->numa->nodes[i].mem;
    pc.node_ram = node_ram;
    struct error *err = acpi_build(&pc, &t);
    if (err) {
        error_free(err);
        return;
    }
    uint8_t *buf = xmalloc(acpi_size(t));
    acpi_link(t, 0x10000, buf, rsdp);
    assert(!blob_checksum(rsdp, sizeof(rsdp)));
    acpi_free(t);
    free(buf);
}

static void build_smbios(struct world *w)
{
    struct smbios_pc pc = { .manufacturer = "m", .product = "p", .version = "v" };
    struct smbios *s;
    pc.sockets = pc.cores = pc.threads = 1;
    pc.ram_below_4g = GIB;
    pc.options = w->smbios;
    for (int entry64 = 0; entry64 < 2; entry64++) {
        pc.entry64 = entry64;
        struct error *err = smbios_build(&pc, &s);
        if (!err) {
            uint8_t *buf = xmalloc(smbios_size(s));
            smbios_link(s, 0xf0000, buf);
            free(buf);
        }
        smbios_free(s);
        error_free(err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct numa_topology topology = { 2, 1, 2, 1 };
    char path[32];
    const uint8_t *limit = bytes + n, *options_end = memmem(bytes, n, "\n\n", 2);
    const uint8_t *file = options_end ? options_end + 2 : limit;
    int fd = memfd_create("file", 0);
    if (fd < 0 || write(fd, file, (size_t)(limit - file)) != limit - file)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct world w = { board_new(), acpi_options_new(), smbios_options_new(),
                       xcalloc(1, sizeof(struct numa)) };
    for (const uint8_t *at = bytes, *end; at < (options_end ? options_end : limit); at = end + 1) {
        end = memchr(at, '\n', (size_t)(limit - at));
        end = end ? end : limit;
        if (end > at)
            take_option(&w, at, (size_t)(end - at), path);
    }
    struct error *err = numa_resolve(w.numa, w.b->vm, GIB, &topology);
    if (!err)
        build_acpi(&w);
    error_free(err);
    build_smbios(&w);
    numa_free(w.numa);
    free(w.numa);
    smbios_options_free(w.smbios);
    acpi_options_free(w.acpi);
    board_free(w.b);
    close(fd);
    return 0;
}
