/* SMBIOS: structures, entry points, what -smbios takes, and dmidecode's opinion. */
#include "board.h"

#include "core/error.h"
#include "hw/firmware/blob.h"
#include "hw/firmware/smbios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const struct smbios_pc plain = {
    .manufacturer = "QEMU",
    .product = "Standard PC (Q35 + ICH9, 2009)",
    .version = "pc-q35-9.0",
    .uuid = "00112233-4455-6677-8899-aabbccddeeff",
    .cpuid_eax = 0x663,
    .cpuid_edx = 0x078bfbfd,
    .sockets = 2,
    .cores = 2,
    .threads = 1,
    .ram_below_4g = 2 * GIB,
    .ram_above_4g = 18 * GIB,
};

static struct smbios_options *options(const char *const *texts)
{
    struct smbios_options *o = smbios_options_new();
    for (; *texts; texts++) {
        struct error *err = smbios_options_add(o, *texts);
        if (err)
            fail_msg("%s: %s", *texts, error_text(err));
    }
    return o;
}
#define OPTIONS(...) options((const char *const[]){ __VA_ARGS__, NULL })

struct built {
    uint8_t *at;
    uint64_t n;
};

/* As a dump: the entry point at 0, structures at 32. */
static struct built build(const struct smbios_pc *pc)
{
    struct smbios *s;
    struct error *err = smbios_build(pc, &s);
    if (err)
        fail_msg("%s", error_text(err));
    struct built b = { .n = smbios_size(s) };
    b.at = xmalloc(b.n);
    smbios_link(s, 0, b.at);
    smbios_free(s);
    return b;
}

static const uint8_t *structure_end(const struct built *b, const uint8_t *at)
{
    const uint8_t *limit = b->at + b->n;
    assert_true(at + 4 <= limit && at[1] >= 4 && at + at[1] + 2 <= limit);
    const uint8_t *zeros = memmem(at + at[1], (size_t)(limit - at - at[1]), "\0", 2);
    assert_non_null(zeros);
    return zeros + 2;
}

static const uint8_t *find(const struct built *b, unsigned type, unsigned nth)
{
    const uint8_t *at = b->at + 32;
    for (; at < b->at + b->n; at = structure_end(b, at))
        if (*at == type && nth-- == 0)
            return at;
    return NULL;
}

/* The string whose number stands at this offset of a structure. */
static const char *string_at(const uint8_t *structure, unsigned offset)
{
    const char *at = (const char *)structure + structure[1];
    for (unsigned n = structure[offset]; n > 1; n--)
        at += strlen(at) + 1;
    return structure[offset] ? at : NULL;
}

static void entry_points_have_right_sums_and_counts(void **unused)
{
    struct smbios_pc pc = plain;
    struct built b = build(&pc);
    unsigned n = 0;
    for (const uint8_t *at = b.at + 32; at < b.at + b.n; at = structure_end(&b, at))
        n++;
    assert_memory_equal(b.at, "_SM_", 4);
    assert_int_equal(blob_checksum(b.at, 31), 0);
    assert_int_equal(blob_checksum(b.at + 16, 15), 0);
    assert_int_equal(load_le(b.at + 0x16, 2), b.n - 32);
    assert_int_equal(load_le(b.at + 0x18, 4), 32);
    assert_int_equal(load_le(b.at + 0x1c, 2), n);
    free(b.at);
    pc.entry64 = true;
    b = build(&pc);
    assert_memory_equal(b.at, "_SM3_", 5);
    assert_int_equal(blob_checksum(b.at, 24), 0);
    assert_int_equal(load_le(b.at + 0x0c, 4), b.n - 32);
    assert_int_equal(load_le(b.at + 0x10, 8), 32);
    free(b.at);
}

static void board_speaks_unless_the_user_does(void **unused)
{
    struct smbios_pc pc = plain;
    struct built b = build(&pc);
    const uint8_t *system = find(&b, 1, 0);
    assert_string_equal(string_at(system, 4), "QEMU");
    assert_string_equal(string_at(system, 5), "Standard PC (Q35 + ICH9, 2009)");
    assert_null(string_at(system, 7));
    assert_memory_equal(system + 8,
                        "\x33\x22\x11\0\x55\x44\x77\x66\x88\x99\xaa\xbb\xcc\xdd\xee\xff", 16);
    assert_null(find(&b, 0, 0)); /* left to firmware */
    assert_null(find(&b, 2, 0));
    free(b.at);

    struct smbios_options *o =
        OPTIONS("type=1,manufacturer=ACME,serial=7,,8", "type=1,serial=9",
                "type=1,uuid=ffffffff-0000-0000-0000-000000000001", "type=2,location=here",
                "type=0,release=3.14,uefi=on", "type=4,processor-id=0x1234,sock_pfx=Slot");
    pc.options = o;
    b = build(&pc);
    system = find(&b, 1, 0);
    assert_string_equal(string_at(system, 4), "ACME");
    assert_string_equal(string_at(system, 7), "9");
    assert_int_equal(load_le(system + 8, 4), 0xffffffff);
    assert_string_equal(string_at(find(&b, 2, 0), 10), "here");
    const uint8_t *firmware = find(&b, 0, 0);
    assert_int_equal(firmware[0x13], 0x1c);
    assert_int_equal(firmware[0x14], 3);
    assert_int_equal(firmware[0x15], 14);
    assert_int_equal(load_le(find(&b, 4, 1) + 8, 8), 0x1234);
    assert_string_equal(string_at(find(&b, 4, 1), 4), "Slot 1");
    free(b.at);
    smbios_options_free(o);
}

static void memory_is_shared_out_to_modules_of_16_gib(void **unused)
{
    struct built b = build(&plain);
    assert_int_equal(load_le(find(&b, 16, 0) + 7, 4), 20 * MIB); /* in KiB */
    assert_int_equal(load_le(find(&b, 16, 0) + 13, 2), 2);
    assert_int_equal(load_le(find(&b, 17, 0) + 12, 2), 16384);
    assert_int_equal(load_le(find(&b, 17, 1) + 12, 2), 4096);
    assert_null(find(&b, 17, 2));
    assert_int_equal(load_le(find(&b, 19, 0) + 8, 4), 2 * MIB - 1);
    assert_int_equal(load_le(find(&b, 19, 1) + 4, 4), 4 * MIB);
    free(b.at);
}

static char *write_temp(const void *bytes, size_t n)
{
    char *path = xstrdup("/tmp/tandem-smbios-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    close(fd);
    return path;
}

static void strings_and_structures_come_from_files(void **unused)
{
    static const uint8_t chassis[] = "\x03\x15\0\x03\1\1\0\0\0\3\3\3\2\0\0\0\0\0\0\0\0Box\0";
    char *text = write_temp("a line\n", 7), *structure = write_temp(chassis, sizeof(chassis));
    char *as_path = xasprintf("type=11,value=first,path=%s,value=third", text);
    char *as_file = xasprintf("file=%s", structure);
    struct smbios_pc pc = plain;
    struct smbios_options *o = OPTIONS(as_path, as_file);
    pc.options = o;
    struct built b = build(&pc);
    const uint8_t *strings = find(&b, 11, 0);
    assert_int_equal(strings[4], 3);
    assert_memory_equal(strings + 5, "first\0a line\0third\0", 20);
    assert_string_equal(string_at(find(&b, 3, 0), 4), "Box");
    assert_null(find(&b, 3, 1));
    assert_int_equal(find(&b, 127, 0)[1], 4);
    free(b.at);
    smbios_options_free(o);
    unlink(text);
    unlink(structure);
    char *texts[] = { text, structure, as_path, as_file };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        free(texts[i]);
}

static void check_refused(struct smbios_options *o, const char *text, const char *says)
{
    struct error *err = smbios_options_add(o, text);
    if (!err)
        fail_msg("'%s' is taken", text);
    if (!strstr(error_text(err), says))
        fail_msg("'%s' does not say '%s'", error_text(err), says);
    error_free(err);
}

static void bad_options_are_refused(void **unused)
{
    static const char *const cases[][2] = {
        { "vendor=x", "one of type= and file=" },
        { "type=5", "accepted: 0, 1" },
        { "type=one", "accepted: 0, 1" },
        { "type=1,vendor=x", "vendor" },
        { "type=0,release=1", "MAJOR.MINOR" },
        { "type=0,release=1.256", "MAJOR.MINOR" },
        { "type=0,release=.1", "MAJOR.MINOR" },
        { "type=0,uefi=perhaps", "neither on nor off" },
        { "type=1,uuid=0011223344556677-8899-aabbccddeeff", "not a UUID" },
        { "type=4,max-speed=65536", "up to 65535" },
        { "type=4,max-speed=-1", "up to 65535" },
        { "type=9,pci_device=a", "pci_device" },
        { "type=11,path=/nowhere/at/all", "cannot open" },
        { "type=11,text=x", "text" },
        { "file=/nowhere/at/all", "cannot open" },
        { "file=/dev/null", "not one SMBIOS structure" },
        { "file=/dev/zero", "larger" },
    };
    struct smbios_options *o = smbios_options_new();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_refused(o, cases[i][0], cases[i][1]);
    smbios_options_free(o);
}

static void bad_files_are_refused(void **unused)
{
    static const struct {
        const char *bytes;
        size_t n;
        const char *says;
    } cases[] = {
        { "\x01\x04\0\0\0", 5, "not one" },
        { "\x01\x03\0\0\0\0", 6, "not one" },
        { "\x01\xff\0\0\0\0", 6, "not one" },
        { "\x01\x04\0\0abc\0", 8, "not one" },
        { "\x01\x04\0\0\0\0\0", 7, "not one" },
        { "\x7f\x04\0\0\0\0", 6, "type 127" },
        { "\x01\x04\0\0\0\0\1\4\0\0\0\0", 12, "not one" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct smbios_options *o = smbios_options_new();
        char *path = write_temp(cases[i].bytes, cases[i].n), *text = xasprintf("file=%s", path);
        check_refused(o, text, cases[i].says);
        unlink(path);
        free(path);
        free(text);
        smbios_options_free(o);
    }
}

static void a_type_is_either_a_file_or_options(void **unused)
{
    char *path = write_temp("\x01\x04\0\0\0\0", 6), *text = xasprintf("file=%s", path);
    struct smbios_options *o = OPTIONS("type=1,serial=1");
    check_refused(o, text, "given already");
    smbios_options_free(o);
    o = OPTIONS(text, text);
    check_refused(o, "type=1,serial=2", "from a file");
    smbios_options_free(o);
    unlink(path);
    free(path);
    free(text);
}

static void tables_too_long_for_the_entry_point_are_refused(void **unused)
{
    struct smbios_pc pc = plain;
    struct smbios *s;
    pc.ram_above_4g = 1024 * 1024 * GIB; /* 65536 modules */
    struct error *err = smbios_build(&pc, &s);
    assert_non_null(err);
    assert_null(s);
    error_free(err);
    pc.entry64 = true;
    assert_null(smbios_build(&pc, &s));
    smbios_free(s);
}

/* ---- dmidecode ------------------------------------------------------------------------------------------ */
static char *decode(const struct built *b)
{
    char *path = write_temp(b->at, b->n);
    char *command = xasprintf("PATH=$PATH:/usr/sbin:/sbin dmidecode --from-dump %s 2>&1", path);
    char *output = xcalloc(1, 65536);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    size_t n = fread(output, 1, 65535, p);
    assert_true(n > 0);
    assert_int_equal(pclose(p), 0);
    unlink(path);
    free(path);
    free(command);
    return output;
}

static void dmidecode_takes_it(void **unused)
{
    static const char *const lines[] = {
        "Manufacturer: ACME",
        "UUID: 00112233-4455-6677-8899-aabbccddeeff",
        "Socket Designation: CPU 1",
        "Core Count: 2",
        "Maximum Capacity: 20 GB",
        "Size: 16 GB",
        "Locator: DIMM 1",
        "Vendor: SeaMaker",
        "String 2: two",
        "BIOS Revision: 1.2",
        "External Reference Designator: USB",
        "Designation: Slot 7",
        "End Of Table",
    };
    static const char *const complaints[] = { "WRONG",         "roken",    "Invalid", "bad",
                                              "<OUT OF SPEC>", "runcated", "mismatch" };
    struct smbios_pc pc = plain;
    if (system("PATH=$PATH:/usr/sbin:/sbin; command -v dmidecode > /dev/null 2>&1") != 0) {
        print_message("# dmidecode is not installed\n");
        skip();
    }
    struct smbios_options *o =
        OPTIONS("type=0,vendor=SeaMaker,release=1.2", "type=1,manufacturer=ACME",
                "type=11,value=one,value=two", "type=2,product=Board",
                "type=8,external_reference=USB,connector_type=18,port_type=16",
                "type=9,slot_designation=Slot 7,slot_type=6,slot_data_bus_width=5,current_usage=3,"
                "slot_length=4,slot_id=7,slot_characteristics1=4",
                "type=17,speed=3200,bank=A");
    pc.options = o;
    for (int entry64 = 0; entry64 < 2; entry64++) {
        pc.entry64 = entry64;
        struct built b = build(&pc);
        char *output = decode(&b);
        for (size_t i = 0; i < ARRAY_LEN(lines); i++)
            if (!strstr(output, lines[i]))
                fail_msg("dmidecode does not say '%s':\n%s", lines[i], output);
        for (size_t i = 0; i < ARRAY_LEN(complaints); i++)
            if (strstr(output, complaints[i]))
                fail_msg("dmidecode says '%s':\n%s", complaints[i], output);
        free(output);
        free(b.at);
    }
    smbios_options_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entry_points_have_right_sums_and_counts),
        cmocka_unit_test(board_speaks_unless_the_user_does),
        cmocka_unit_test(memory_is_shared_out_to_modules_of_16_gib),
        cmocka_unit_test(strings_and_structures_come_from_files),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(a_type_is_either_a_file_or_options),
        cmocka_unit_test(tables_too_long_for_the_entry_point_are_refused),
        cmocka_unit_test(dmidecode_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
