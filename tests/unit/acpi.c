/* ACPI tables: sums, links, both ways to the guest, and acpica's opinion of them. */
#include "board.h"

#include "core/error.h"
#include "hw/firmware/acpi.h"
#include "hw/firmware/acpi_internal.h"
#include "hw/firmware/fw_cfg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_CPUS = 300 };
static const gpa place = 0x7fff0000;

/* ---- boards --------------------------------------------------------------------------------------- */
struct fixture {
    struct acpi_pc pc;
    struct acpi_cpu cpus[N_CPUS];
    uint64_t node_ram[3];
    uint8_t distances[9];
    struct acpi_options *options;
};

static void add_cpus(struct fixture *f, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        f->cpus[i] = (struct acpi_cpu){ .apic_id = i, .node = i % 3, .present = true };
    f->pc.cpus = f->cpus;
    f->pc.n_cpus = n;
}

static void add_pci_irqs(struct acpi_pc *pc, unsigned first, unsigned n)
{
    for (unsigned i = 0; i < 32 * 4; i++)
        pc->pci_irq[i / 4][i % 4] = (uint8_t)(first + (i / 4 + i % 4) % n);
}

static void make_q35(struct fixture *f)
{
    f->pc = (struct acpi_pc){
        .board = ACPI_Q35,
        .ram_below_4g = 2 * GIB,
        .hpet = 0xfed00000,
        .has_pci = true,
        .ecam = { 0xb0000000, 256 * MIB },
        .pci_mem = { { 0xa0000, 0x20000 },
                     { 0x80000000, 0x30000000 },
                     { 0xc0000000, 0x3ec00000 },
                     { 512 * GIB, 512 * GIB } },
        .pci_io = { { 0, 0xcf8 }, { 0xd00, 0xf300 } },
        .pm_base = 0x600,
        .smi_command = 0xb2,
        .sci = 9,
        .reset_port = 0xcf9,
        .com = { true, false, true, false },
        .lpt = true,
        .i8042 = true,
        .rtc = true,
        .pvpanic = 0x505,
        .fw_cfg = 0x510,
    };
    add_pci_irqs(&f->pc, 0, 8);
    add_cpus(f, 2);
}

static void make_q35_numa(struct fixture *f)
{
    make_q35(f);
    add_cpus(f, N_CPUS);
    f->cpus[7].present = false;
    f->pc.ram_above_4g = 6 * GIB;
    f->pc.n_nodes = 3;
    f->pc.node_ram = f->node_ram;
    f->pc.distances = f->distances;
    for (unsigned i = 0; i < 9; i++)
        f->distances[i] = i % 4 ? 20 : 10;
    f->node_ram[0] = GIB;
    f->node_ram[1] = 3 * GIB;
    f->node_ram[2] = 4 * GIB;
}

static void make_piix(struct fixture *f)
{
    make_q35(f);
    f->pc.board = ACPI_PIIX;
    f->pc.ecam = (struct acpi_window){ 0 };
    f->pc.gpe_base = 0xafe0;
    add_pci_irqs(&f->pc, 0, 4);
    f->pc.pci_irq[1][0] = ACPI_PCI_IRQ_SCI;
    f->pc.pci_irq[0][0] = ACPI_PCI_IRQ_NONE;
}

static void make_microvm(struct fixture *f)
{
    f->pc = (struct acpi_pc){
        .board = ACPI_MICROVM,
        .ram_below_4g = 128 * MIB,
        .no_pic = true,
        .no_pit = true,
        .com = { true },
        .fw_cfg = 0x510,
        .virtio_mmio = { 0xfeb00000, 0x200, 24, 24 },
        .ioapic2 = 0xfec10000,
    };
    add_cpus(f, 1);
}

static void make_microvm_pcie(struct fixture *f)
{
    make_microvm(f);
    f->pc.has_pci = true;
    f->pc.ecam = (struct acpi_window){ 0xe0000000, 256 * MIB };
    f->pc.pci_mem[0] = (struct acpi_window){ 0xc0000000, 512 * MIB };
    add_pci_irqs(&f->pc, 16, 4);
}

static const struct {
    const char *name;
    void (*make)(struct fixture *f);
} boards[] = {
    { "q35", make_q35 },         { "q35_numa", make_q35_numa },         { "piix", make_piix },
    { "microvm", make_microvm }, { "microvm_pcie", make_microvm_pcie },
};

/* ---- linked tables ---------------------------------------------------------------------------------- */
struct linked {
    uint8_t *bytes, rsdp[ACPI_RSDP_SIZE];
    uint64_t n;
};

static struct linked link_tables(const struct acpi_pc *pc)
{
    struct linked l = { 0 };
    struct acpi_tables *t;
    struct error *err = acpi_build(pc, &t);
    if (err)
        fail_msg("%s", error_text(err));
    l.n = acpi_size(t);
    l.bytes = xmalloc(l.n);
    acpi_link(t, place, l.bytes, l.rsdp);
    acpi_free(t);
    return l;
}

static struct linked linked_board(size_t i)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    boards[i].make(f);
    struct linked l = link_tables(&f->pc);
    free(f);
    return l;
}

static const uint8_t *at_address(const struct linked *l, uint64_t address, uint64_t n)
{
    assert_true(address >= place && n <= l->n && address - place <= l->n - n);
    return l->bytes + (address - place);
}

static const uint8_t *table_at(const struct linked *l, uint64_t address)
{
    const uint8_t *table = at_address(l, address, ACPI_HEADER);
    return at_address(l, address, load_le(table + 4, 4));
}

static bool sums_to_zero(const uint8_t *at, size_t n)
{
    return blob_checksum(at, n) == 0;
}

/* The nth table with this signature, by the XSDT; NULL: there is none. */
static const uint8_t *find_table(const struct linked *l, const char *signature, unsigned nth)
{
    const uint8_t *xsdt = table_at(l, load_le(l->rsdp + 24, 8));
    for (size_t at = ACPI_HEADER; at < load_le(xsdt + 4, 4); at += 8) {
        const uint8_t *table = table_at(l, load_le(xsdt + at, 8));
        if (!memcmp(table, signature, 4) && nth-- == 0)
            return table;
    }
    return NULL;
}

static void sums_and_pointers_are_right(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct linked l = linked_board(i);
        assert_memory_equal(l.rsdp, "RSD PTR ", 8);
        assert_true(sums_to_zero(l.rsdp, 20) && sums_to_zero(l.rsdp, ACPI_RSDP_SIZE));
        const uint8_t *rsdt = table_at(&l, load_le(l.rsdp + 16, 4));
        const uint8_t *xsdt = table_at(&l, load_le(l.rsdp + 24, 8));
        size_t n = (load_le(rsdt + 4, 4) - ACPI_HEADER) / 4;
        assert_memory_equal(rsdt, "RSDT", 4);
        assert_memory_equal(xsdt, "XSDT", 4);
        assert_true(sums_to_zero(rsdt, load_le(rsdt + 4, 4)));
        assert_true(sums_to_zero(xsdt, load_le(xsdt + 4, 4)));
        assert_int_equal((load_le(xsdt + 4, 4) - ACPI_HEADER) / 8, n);
        for (size_t k = 0; k < n; k++) {
            uint64_t address = load_le(rsdt + ACPI_HEADER + 4 * k, 4);
            assert_int_equal(load_le(xsdt + ACPI_HEADER + 8 * k, 8), address);
            const uint8_t *table = table_at(&l, address);
            assert_true(sums_to_zero(table, load_le(table + 4, 4)));
        }
        free(l.bytes);
    }
}

static void fadt_leads_to_dsdt_and_facs(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct linked l = linked_board(i);
        bool reduced = strstr(boards[i].name, "microvm");
        const uint8_t *fadt = find_table(&l, "FACP", 0);
        assert_non_null(fadt);
        assert_int_equal(load_le(fadt + 4, 4), 268);
        assert_int_equal(load_le(fadt + 40, 4), load_le(fadt + 140, 8));
        const uint8_t *dsdt = table_at(&l, load_le(fadt + 140, 8));
        assert_memory_equal(dsdt, "DSDT", 4);
        assert_true(sums_to_zero(dsdt, load_le(dsdt + 4, 4)));
        assert_int_equal(load_le(fadt + 112, 4) >> 20 & 1, reduced);
        assert_int_equal(load_le(fadt + 56, 4), reduced ? 0 : 0x600);
        if (reduced) {
            assert_int_equal(load_le(fadt + 36, 4), 0);
            assert_int_equal(load_le(fadt + 248, 8), 0xfea00200);
        } else {
            const uint8_t *facs = at_address(&l, load_le(fadt + 36, 4), 64);
            assert_memory_equal(facs, "FACS", 4);
            assert_int_equal(load_le(fadt + 36, 4) % 64, 0);
        }
        free(l.bytes);
    }
}

/* What firmware does with the loader's script gives what acpi_link gives. */
static uint8_t *file_named(struct board *b, const char *name, uint32_t *n)
{
    uint8_t dir[4 + 64 * 16];
    board_poke(b, BOARD_MMIO + 8, 2, __builtin_bswap16(FW_CFG_FILE_DIR));
    for (size_t i = 0; i < sizeof(dir); i++)
        dir[i] = (uint8_t)board_read(b, 0, 1);
    for (uint32_t i = 0; i < load_be(dir, 4); i++) {
        const uint8_t *entry = dir + 4 + 64 * i;
        if (strcmp((const char *)entry + 8, name) != 0)
            continue;
        *n = (uint32_t)load_be(entry, 4);
        uint8_t *data = xmalloc(*n);
        board_poke(b, BOARD_MMIO + 8, 2, __builtin_bswap16((uint16_t)load_be(entry + 4, 2)));
        for (uint32_t k = 0; k < *n; k++)
            data[k] = (uint8_t)board_read(b, 0, 1);
        return data;
    }
    fail_msg("there is no file %s", name);
    return NULL;
}

struct loaded_file {
    char name[56];
    uint8_t *data;
    uint32_t n;
    uint64_t at;
};

static struct loaded_file *loaded_file(struct loaded_file *files, const uint8_t *name)
{
    for (unsigned i = 0; i < 2; i++)
        if (!strcmp(files[i].name, (const char *)name))
            return &files[i];
    fail_msg("the script names file %s, which it did not allocate", name);
    return NULL;
}

static void run_command(struct board *b, const uint8_t *c, struct loaded_file *files, unsigned *n)
{
    struct loaded_file *f;
    uint32_t at, start, size;
    switch (load_le(c, 4)) {
    case 1:
        assert_true(*n < 2);
        f = &files[(*n)++];
        memcpy(f->name, c + 4, sizeof(f->name));
        f->data = file_named(b, f->name, &f->n);
        f->at = c[64] == 2 ? 0xf0000 : place;
        assert_int_equal(f->at % load_le(c + 60, 4), 0);
        break;
    case 2:
        f = loaded_file(files, c + 4);
        at = (uint32_t)load_le(c + 116, 4);
        size = c[120];
        assert_true(at + size <= f->n && (size == 4 || size == 8));
        assert_true(load_le(f->data + at, size) < loaded_file(files, c + 60)->n);
        store_le(f->data + at, size, load_le(f->data + at, size) + loaded_file(files, c + 60)->at);
        break;
    case 3:
        f = loaded_file(files, c + 4);
        at = (uint32_t)load_le(c + 60, 4);
        start = (uint32_t)load_le(c + 64, 4);
        size = (uint32_t)load_le(c + 68, 4);
        assert_true(at < f->n && start <= f->n && size <= f->n - start);
        assert_int_equal(f->data[at], 0);
        f->data[at] = blob_checksum(f->data + start, size);
        break;
    default: fail_msg("command %u", (unsigned)load_le(c, 4));
    }
}

static void loader_script_links_the_same_tables(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct fixture *fix = xcalloc(1, sizeof(*fix));
        boards[i].make(fix);
        struct linked l = link_tables(&fix->pc);
        struct board *b = board_with("fw-cfg-mmio", NULL);
        struct acpi_tables *t;
        struct loaded_file files[2] = { 0 };
        unsigned n_files = 0;
        uint32_t n_script;
        assert_null(acpi_build(&fix->pc, &t));
        assert_null(acpi_offer(t, b->dev));
        uint8_t *script = file_named(b, "etc/table-loader", &n_script);
        assert_int_equal(n_script % 128, 0);
        for (uint32_t at = 0; at < n_script; at += 128)
            run_command(b, script + at, files, &n_files);
        struct loaded_file *tables = loaded_file(files, (const uint8_t *)"etc/acpi/tables");
        struct loaded_file *rsdp = loaded_file(files, (const uint8_t *)"etc/acpi/rsdp");
        assert_int_equal(tables->n, l.n);
        assert_memory_equal(tables->data, l.bytes, l.n);
        assert_memory_equal(rsdp->data, l.rsdp, sizeof(l.rsdp));
        free(files[0].data);
        free(files[1].data);
        free(script);
        free(l.bytes);
        acpi_free(t);
        board_free(b);
        free(fix);
    }
}

/* ---- what they say ------------------------------------------------------------------------------------ */
static void big_apic_ids_get_x2apic_entries(void **unused)
{
    struct linked l = linked_board(1);
    const uint8_t *madt = find_table(&l, "APIC", 0);
    unsigned n_short = 0, n_long = 0, n_absent = 0;
    for (size_t at = ACPI_HEADER + 8; at < load_le(madt + 4, 4); at += madt[at + 1]) {
        assert_true(madt[at + 1] >= 2);
        n_short += madt[at] == 0;
        n_long += madt[at] == 9;
        n_absent += madt[at] == 0 && !madt[at + 4];
        if (madt[at] == 9)
            assert_true(load_le(madt + at + 4, 4) == load_le(madt + at + 12, 4));
    }
    assert_int_equal(n_short, 255);
    assert_int_equal(n_long, N_CPUS - 255);
    assert_int_equal(n_absent, 1);
    free(l.bytes);
}

static void srat_shares_out_all_memory(void **unused)
{
    static const struct {
        uint64_t at, size;
        unsigned node;
    } want[] = {
        { 0, 0xa0000, 0 },       { MIB, GIB - MIB, 0 },   { GIB, GIB, 1 },
        { 4 * GIB, 2 * GIB, 1 }, { 6 * GIB, 4 * GIB, 2 },
    };
    struct linked l = linked_board(1);
    const uint8_t *srat = find_table(&l, "SRAT", 0);
    unsigned n = 0, n_cpus = 0;
    for (size_t at = ACPI_HEADER + 12; at < load_le(srat + 4, 4); at += srat[at + 1]) {
        assert_true(srat[at + 1] >= 2);
        n_cpus += srat[at] != 1;
        if (srat[at] != 1)
            continue;
        assert_true(n < ARRAY_LEN(want));
        assert_int_equal(load_le(srat + at + 2, 4), want[n].node);
        assert_int_equal(load_le(srat + at + 8, 8), want[n].at);
        assert_int_equal(load_le(srat + at + 16, 8), want[n].size);
        n++;
    }
    assert_int_equal(n, ARRAY_LEN(want));
    assert_int_equal(n_cpus, N_CPUS - 1);
    const uint8_t *slit = find_table(&l, "SLIT", 0);
    assert_int_equal(load_le(slit + 36, 8), 3);
    assert_int_equal(slit[44], 10);
    assert_int_equal(slit[45], 20);
    free(l.bytes);
}

static void tables_follow_the_board(void **unused)
{
    struct linked q35 = linked_board(0), piix = linked_board(2), micro = linked_board(3);
    assert_non_null(find_table(&q35, "MCFG", 0));
    assert_non_null(find_table(&q35, "HPET", 0));
    assert_null(find_table(&q35, "SRAT", 0));
    assert_null(find_table(&piix, "MCFG", 0));
    assert_null(find_table(&micro, "HPET", 0));
    assert_null(find_table(&micro, "WAET", 0));
    assert_int_equal(load_le(find_table(&piix, "FACP", 0) + 80, 4), 0xafe0);
    assert_int_equal(load_le(find_table(&q35, "FACP", 0) + 80, 4), 0x620);
    free(q35.bytes);
    free(piix.bytes);
    free(micro.bytes);
}

/* ---- the user's tables -------------------------------------------------------------------------------- */
static char *write_temp(const void *bytes, size_t n)
{
    char *path = xstrdup("/tmp/tandem-acpi-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
    return path;
}

static char *add_refused(struct acpi_options *o, const char *fmt, const char *path)
{
    char *text = xmalloc(strlen(fmt) + strlen(path) + 1);
    sprintf(text, fmt, path);
    struct error *err = acpi_options_add(o, text);
    assert_non_null(err);
    char *copy = xstrdup(error_text(err));
    error_free(err);
    free(text);
    return copy;
}

static void user_tables_are_listed_with_right_sums(void **unused)
{
    static const uint8_t empty_ssdt[36] = "SSDT\x24\0\0\0\1\0USER  OWNTABLE\1\0\0\0INTL\1\0\0";
    static const uint8_t body[4] = { 1, 2, 3, 4 };
    char *ssdt = write_temp(empty_ssdt, 36), *slic = write_temp(body, 4);
    char *first = xasprintf("file=%s", ssdt);
    char *second = xasprintf(
        "sig=SLIC,rev=3,oem_id=MYOEM,oem_table_id=MYTABLE,oem_rev=0x77,data=%s:%s", slic, slic);
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct acpi_options *o = acpi_options_new();
    make_q35(f);
    f->pc.options = o;
    assert_null(acpi_options_add(o, first));
    assert_null(acpi_options_add(o, second));
    struct linked l = link_tables(&f->pc);
    const uint8_t *t = find_table(&l, "SSDT", 0);
    assert_non_null(t);
    assert_true(sums_to_zero(t, 36));
    t = find_table(&l, "SLIC", 0);
    assert_non_null(t);
    assert_int_equal(load_le(t + 4, 4), 44);
    assert_true(sums_to_zero(t, 44));
    assert_memory_equal(t + 8 + 2, "MYOEM MYTABLE \x77", 15);
    assert_memory_equal(t + 36, "\1\2\3\4\1\2\3\4", 8);
    assert_memory_equal(find_table(&l, "FACP", 0) + 10, "MYOEM MYTABLE ", 14);
    unlink(ssdt);
    unlink(slic);
    free(l.bytes);
    free(f);
    acpi_options_free(o);
    char *texts[] = { ssdt, slic, first, second };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
}

static void bad_user_tables_are_refused(void **unused)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *text, *says;
    } cases[] = {
        { "SSDT", 4, "file=%s", "4 bytes" },
        { "SSDT\xff\xff\xff\xff............................", 36, "file=%s", "header says" },
        { "\0\0\0\0\x24\0\0\0............................", 36, "file=%s", "not text" },
        { "FACP\x24\0\0\0............................", 36, "file=%s", "makes table FACP" },
        { "x", 1, "sig=SSDT,file=%s", "1 bytes" },
        { "x", 1, "sig=FACP,data=%s", "makes table FACP" },
        { "x", 1, "data=%s", "sig=" },
        { "x", 1, "sig=SSDTS,data=%s", "1 to 4" },
        { "x", 1, "sig=SSDT,rev=256,data=%s", "up to 255" },
        { "x", 1, "sig=SSDT,oem_rev=-1,data=%s", "not a number" },
        { "x", 1, "sig=SSDT,colour=red,data=%s", "colour" },
        { "x", 1, "sig=SSDT,data=%s:/nowhere/at/all", "cannot open" },
        { "x", 1, "sig=SSDT,data=%s,file=x", "one of" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct acpi_options *o = acpi_options_new();
        char *path = write_temp(cases[i].bytes, cases[i].n);
        char *text = add_refused(o, cases[i].text, path);
        if (!strstr(text, cases[i].says))
            fail_msg("'%s' does not say '%s'", text, cases[i].says);
        unlink(path);
        free(path);
        free(text);
        acpi_options_free(o);
    }
}

static void a_table_twice_is_refused(void **unused)
{
    char *path = write_temp("x", 1), *text = xasprintf("sig=HPET,data=%s", path);
    struct fixture *f = xcalloc(1, sizeof(*f));
    struct acpi_tables *t;
    struct acpi_options *o = acpi_options_new();
    make_q35(f);
    f->pc.options = o;
    assert_null(acpi_options_add(o, text));
    struct error *err = acpi_build(&f->pc, &t);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "HPET"));
    error_free(err);
    unlink(path);
    free(path);
    free(text);
    free(f);
    acpi_options_free(o);
}

/* ---- acpica's opinion ---------------------------------------------------------------------------------- */
/* Run a command; what it printed is shown when it is not what was hoped for. */
static void run_quietly(const char *command)
{
    char output[8192];
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(output, 1, sizeof(output) - 1, p);
    output[n] = 0;
    int status = pclose(p);
    if (status || (strstr(output, "arning") && !strstr(output, "0 Warnings")))
        fail_msg("%s:\n%s", command, output);
}

/* Into text and back without a warning; the compiler optimises code, other tables come out as they were. */
static void check_by_iasl(const char *folder, const char *name, const uint8_t *table)
{
    char signature[5] = "";
    memcpy(signature, table, 4);
    bool is_code = !strcmp(signature, "DSDT");
    char *stem = xasprintf("%s/%s-%s", folder, name, signature);
    char *file = xasprintf("%s.dat", stem);
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(table, 1, load_le(table + 4, 4), f), load_le(table + 4, 4));
    fclose(f);
    char *command = xasprintf("iasl -p %s -d %s 2>&1", stem, file);
    run_quietly(command);
    free(command);
    command = xasprintf("! grep -nE 'Invalid|Unknown|Warning|should be|Error' %s.dsl 2>&1", stem);
    run_quietly(command);
    free(command);
    command = xasprintf("iasl -we -p %s-again %s.dsl 2>&1 && cmp -i %u %s %s-again.aml 2>&1", stem,
                        stem, is_code ? 1u << 20 : ACPI_HEADER, file, stem);
    run_quietly(command);
    free(command);
    free(file);
    free(stem);
}

static void iasl_takes_every_table(void **unused)
{
    char folder[] = "/tmp/tandem-acpi-XXXXXX";
    if (system("command -v iasl > /dev/null 2>&1") != 0) {
        print_message("# iasl is not installed (acpica-tools)\n");
        skip();
    }
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        struct linked l = linked_board(i);
        const uint8_t *rsdt = table_at(&l, load_le(l.rsdp + 16, 4));
        for (size_t at = ACPI_HEADER; at < load_le(rsdt + 4, 4); at += 4)
            check_by_iasl(folder, boards[i].name, table_at(&l, load_le(rsdt + at, 4)));
        check_by_iasl(folder, boards[i].name,
                      table_at(&l, load_le(find_table(&l, "FACP", 0) + 40, 4)));
        free(l.bytes);
    }
    char *command = xasprintf("rm -r %s", folder);
    assert_int_equal(system(command), 0);
    free(command);
}

/* What methods return when acpica runs them: text behind the last echo of the command. */
static void expect_output(const char *dsdt, const char *commands, const char *const *lines)
{
    static char output[65536];
    char *command = xasprintf("acpiexec -b '%s' %s 2>&1", commands, dsdt);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    output[fread(output, 1, sizeof(output) - 1, p)] = 0;
    pclose(p);
    for (; *lines; lines++)
        if (!strstr(output, *lines))
            fail_msg("%s does not say '%s':\n%s", command, *lines, output);
    if (strstr(output, "AE_") || strstr(output, "rror:"))
        fail_msg("%s:\n%s", command, output);
    free(command);
}
#define EXPECT(dsdt, commands, ...) \
    expect_output(dsdt, commands, (const char *const[]){ __VA_ARGS__, NULL })

/* A DSDT with routes of one slot only: the debugger has little room. */
static char *dsdt_file(size_t board)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    boards[board].make(f);
    memset(f->pc.pci_irq + 1, ACPI_PCI_IRQ_NONE, sizeof(f->pc.pci_irq) - 4);
    struct linked l = link_tables(&f->pc);
    const uint8_t *dsdt = table_at(&l, load_le(find_table(&l, "FACP", 0) + 40, 4));
    char *path = write_temp(dsdt, load_le(dsdt + 4, 4));
    free(l.bytes);
    free(f);
    return path;
}

static void acpica_runs_the_methods(void **unused)
{
    static const char osc[] =
        "execute \\_SB.PCI0._OSC (5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66) "
        "1 3 (00 00 00 00 00 00 00 00 1F 00 00 00)";
    static const char choose_irq[] = "execute \\_SB.LNKA._SRS (89 06 00 09 01 0A 00 00 00); "
                                     "execute \\_SB.LNKA._CRS; execute \\_SB.LNKA._STA";
    if (system("command -v acpiexec > /dev/null 2>&1") != 0) {
        print_message("# acpiexec is not installed (acpica-tools)\n");
        skip();
    }
    char *dsdts[ARRAY_LEN(boards)];
    for (size_t i = 0; i < ARRAY_LEN(boards); i++)
        dsdts[i] = dsdt_file(i);
    EXPECT(dsdts[0], "execute \\_PIC 1; execute \\_SB.PCI0._PRT", "Contains 4 Elements", "GSIA");
    EXPECT(dsdts[0], "execute \\_PIC 0; execute \\_SB.PCI0._PRT", "LNKA");
    for (size_t i = 0; i < 3; i += 2) { /* q35, pc */
        EXPECT(dsdts[i], choose_irq, "89 06 00 09 01 0A 00 00 00 79 00", "= 000000000000000B");
        EXPECT(dsdts[i], "execute \\_SB.LNKD._DIS; execute \\_SB.LNKD._STA", "= 0000000000000009");
    }
    EXPECT(dsdts[0], osc, "10 00 00 00 00 00 00 00 1D 00 00 00"); /* all but SHPC, and says so */
    EXPECT(dsdts[2], "execute \\_SB.PCI0._PRT", "LNKB", "Contains 3 Elements");
    EXPECT(dsdts[3], "execute \\_SB.GED._EVT 9; execute \\_SB.VR17._CRS", "01 2F 00 00 00 79 00");
    EXPECT(dsdts[4], osc, "1D 00 00 00");
    EXPECT(dsdts[4], "execute \\_SB.PCI0._PRT", "= 0000000000000010");
    for (size_t i = 0; i < ARRAY_LEN(boards); i++) {
        unlink(dsdts[i]);
        free(dsdts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_pointers_are_right),
        cmocka_unit_test(fadt_leads_to_dsdt_and_facs),
        cmocka_unit_test(loader_script_links_the_same_tables),
        cmocka_unit_test(big_apic_ids_get_x2apic_entries),
        cmocka_unit_test(srat_shares_out_all_memory),
        cmocka_unit_test(tables_follow_the_board),
        cmocka_unit_test(user_tables_are_listed_with_right_sums),
        cmocka_unit_test(bad_user_tables_are_refused),
        cmocka_unit_test(a_table_twice_is_refused),
        cmocka_unit_test(iasl_takes_every_table),
        cmocka_unit_test(acpica_runs_the_methods),
    };
    if (!acpi_aml_q35.n) {
        puts("1..0 # SKIP built without iasl (acpica-tools)");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
