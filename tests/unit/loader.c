/* Boot images: what files are, which are refused, where they go. */
#include "board.h"

#include "core/error.h"
#include "hw/firmware/loader.h"
#include "tandem-config.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* A file that goes away with the test. */
static char path[64];

static const char *file_of(const void *bytes, size_t n)
{
    strcpy(path, "/tmp/tandem-loader-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
    return path;
}

/* Opening for riscv64 must fail and say so. */
static void refuses(const void *bytes, size_t n, const char *why)
{
    struct image *img = NULL;
    struct error *err = image_open("kernel", file_of(bytes, n), "riscv64", 16 * MIB, &img);
    unlink(path);
    assert_non_null(err);
    if (!strstr(error_text(err), why))
        fail_msg("'%s' does not say '%s'", error_text(err), why);
    error_free(err);
}

static struct image *opened(const void *bytes, size_t n)
{
    struct image *img;
    struct error *err = image_open("kernel", file_of(bytes, n), "riscv64", 16 * MIB, &img);
    unlink(path);
    if (err)
        fail_msg("%s", error_text(err));
    return img;
}

struct elf_file {
    Elf64_Ehdr eh;
    Elf64_Phdr ph[2];
    uint8_t data[64];
};

static struct elf_file good_elf(void)
{
    struct elf_file f = {
        .eh = { .e_ident = ELFMAG "\2\1\1",
                .e_type = ET_EXEC,
                .e_machine = 243,
                .e_version = 1,
                .e_entry = 0xffffffff80000010,
                .e_phoff = offsetof(struct elf_file, ph),
                .e_ehsize = sizeof(Elf64_Ehdr),
                .e_phentsize = sizeof(Elf64_Phdr),
                .e_phnum = 2 },
        .ph = { { .p_type = PT_NOTE, .p_filesz = 1 << 20 },
                { .p_type = PT_LOAD,
                  .p_offset = offsetof(struct elf_file, data),
                  .p_vaddr = 0xffffffff80000000,
                  .p_paddr = BOARD_RAM + 0x1000,
                  .p_filesz = 64,
                  .p_memsz = 128 } },
    };
    memset(f.data, 0x5a, sizeof(f.data));
    return f;
}

/* A Linux Image with nothing but its header. */
static void linux_header(uint8_t *h, uint64_t image_size)
{
    memset(h, 0, 64);
    store_le(h + 16, 8, image_size);
    memcpy(h + 0x30, "RISCV\0\0\0RSC\x05", 12);
}

static void elf_goes_where_it_says_with_zeros_behind(void **unused)
{
    struct board *b = board_new();
    struct elf_file f = good_elf();
    struct image *img = opened(&f, sizeof(f));
    uint8_t got[128];
    assert_int_equal(img->kind, IMAGE_ELF);
    assert_string_equal(img->arch, "riscv64");
    assert_null(image_place(img, 0, BOARD_RAM, BOARD_RAM_SIZE));
    assert_true(img->entry == BOARD_RAM + 0x1010);
    assert_true(img->low == BOARD_RAM + 0x1000 && img->high == BOARD_RAM + 0x1080);
    memset(got, 0xee, sizeof(got));
    board_ram_write(b, 0x1000, got, sizeof(got));
    assert_null(image_load(img, b->vm, false));
    board_ram_read(b, 0x1000, got, sizeof(got));
    assert_int_equal(got[0], 0x5a);
    assert_int_equal(got[63], 0x5a);
    assert_int_equal(got[64], 0);
    assert_int_equal(got[127], 0);
    image_free(img);
    board_free(b);
}

static void broken_elf_files_are_refused(void **unused)
{
    struct elf_file f = good_elf();
    refuses(&f, 40, "truncated");
    refuses(&f, sizeof(f.eh) + 8, "truncated");
    refuses(&f, sizeof(f) - 1, "truncated");
    f.ph[1].p_offset = UINT64_MAX;
    refuses(&f, sizeof(f), "truncated");
    f = good_elf();
    f.ph[1].p_memsz = 1;
    refuses(&f, sizeof(f), "more bytes in the file");
    f = good_elf();
    f.ph[1].p_type = PT_NULL;
    refuses(&f, sizeof(f), "no loadable");
    f = good_elf();
    f.eh.e_phoff = UINT64_MAX - 8;
    refuses(&f, sizeof(f), "truncated");
    f = good_elf();
    f.eh.e_type = ET_REL;
    refuses(&f, sizeof(f), "not an executable");
}

static void segments_must_lie_in_ram(void **unused)
{
    static const gpa bad[] = { 0, BOARD_RAM + BOARD_RAM_SIZE - 64, UINT64_MAX - 16 };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct elf_file f = good_elf();
        f.ph[1].p_paddr = bad[i];
        struct image *img = opened(&f, sizeof(f));
        struct error *err = image_place(img, 0, BOARD_RAM, BOARD_RAM_SIZE);
        assert_non_null(err);
        error_free(err);
        image_free(img);
    }
}

static void headers_below_ram_are_dropped(void **unused)
{
    struct elf_file f = good_elf();
    f.ph[1].p_offset = 0;
    f.ph[1].p_filesz = f.ph[1].p_memsz = sizeof(f);
    f.ph[1].p_paddr = BOARD_RAM - offsetof(struct elf_file, data);
    struct image *img = opened(&f, sizeof(f));
    assert_null(image_place(img, 0, BOARD_RAM, BOARD_RAM_SIZE));
    assert_true(img->low == BOARD_RAM);
    assert_true(img->parts[0].file_off == offsetof(struct elf_file, data));
    assert_int_equal(img->parts[0].mem_n, sizeof(f.data));
    image_free(img);
}

static void other_architectures_are_named(void **unused)
{
    struct elf_file f = good_elf();
    f.eh.e_machine = EM_X86_64;
    refuses(&f, sizeof(f), "made for x86_64, this machine is riscv64");
    f = good_elf();
    f.eh.e_ident[EI_CLASS] = ELFCLASS32;
    refuses(&f, sizeof(f), "made for riscv32");
    uint8_t arm[64] = { 0 };
    memcpy(arm + 0x38, "ARM\x64", 4);
    refuses(arm, sizeof(arm), "made for aarch64");
    uint8_t bz[0x240] = { 0 };
    memcpy(bz + 0x202, "HdrS", 4);
    bz[0x236] = 1;
    refuses(bz, sizeof(bz), "made for x86_64");
}

static void empty_missing_and_odd_files_are_refused(void **unused)
{
    struct image *img;
    refuses("", 0, "empty");
    struct error *err = image_open("kernel", "/nonexistent/x", "riscv64", MIB, &img);
    assert_non_null(strstr(error_text(err), "No such file"));
    error_free(err);
    err = image_open("kernel", "/tmp", "riscv64", MIB, &img);
    assert_non_null(strstr(error_text(err), "directory"));
    error_free(err);
}

static void linux_image_reserves_what_it_clears(void **unused)
{
    uint8_t h[256] = { 1 };
    linux_header(h, 0x3000);
    struct image *img = opened(h, sizeof(h));
    assert_int_equal(img->kind, IMAGE_LINUX);
    assert_null(image_place(img, BOARD_RAM + 0x1000, BOARD_RAM, BOARD_RAM_SIZE));
    assert_true(img->high == BOARD_RAM + 0x4000);
    assert_true(img->entry == BOARD_RAM + 0x1000);
    image_free(img);
    linux_header(h, UINT64_MAX);
    img = opened(h, sizeof(h));
    struct error *err = image_place(img, BOARD_RAM, BOARD_RAM, BOARD_RAM_SIZE);
    assert_non_null(err);
    error_free(err);
    image_free(img);
}

static void truncated_linux_images_are_refused(void **unused)
{
    uint8_t h[512] = { 0 };
    linux_header(h, 0x1000);
    refuses(h, 63, "truncated");
    h[0] = 'M', h[1] = 'Z';
    store_le(h + 0x3c, 4, 0x40);
    memcpy(h + 0x40, "PE\0\0\x64\x50", 6);
    store_le(h + 0x46, 2, 1);          /* one section, */
    store_le(h + 0x58 + 16, 4, 0x400); /* of 1 KiB, */
    store_le(h + 0x58 + 20, 4, 0x100); /* from byte 256 on */
    refuses(h, sizeof(h), "truncated: section 0 ends at byte 1280");
}

static void overlapping_images_are_refused(void **unused)
{
    struct image *a = image_from_bytes("kernel", "aaaa", 4);
    struct image *b = image_from_bytes("initrd", "bbbb", 4);
    assert_null(image_place(a, BOARD_RAM, BOARD_RAM, BOARD_RAM_SIZE));
    assert_null(image_place(b, BOARD_RAM + 4, BOARD_RAM, BOARD_RAM_SIZE));
    struct image *const both[] = { a, NULL, b };
    assert_null(images_check_overlap(both, 3));
    assert_null(image_place(b, BOARD_RAM + 3, BOARD_RAM, BOARD_RAM_SIZE));
    struct error *err = images_check_overlap(both, 3);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "initrd"));
    error_free(err);
    image_free(a);
    image_free(b);
}

/* gzip of "hello world\n" */
static const uint8_t packed[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57,
    0x28, 0xcf, 0x2f, 0xca, 0x49, 0xe1, 0x02, 0x00, 0x2d, 0x3b, 0x08, 0xaf, 0x0c, 0x00, 0x00, 0x00,
};

static void gzip_is_unpacked_again_for_each_load(void **unused)
{
#ifndef HAVE_ZLIB
    print_message("# built without zlib\n");
    skip();
#endif
    struct board *b = board_new();
    char got[12];
    struct image *img;
    assert_null(image_open("kernel", file_of(packed, sizeof(packed)), "riscv64", MIB, &img));
    assert_int_equal(img->n, 12);
    assert_null(image_place(img, BOARD_RAM, BOARD_RAM, BOARD_RAM_SIZE));
    for (unsigned i = 0; i < 2; i++) {
        board_ram_write(b, 0, "############", 12);
        assert_null(image_load(img, b->vm, i == 0));
        board_ram_read(b, 0, got, 12);
        assert_memory_equal(got, "hello world\n", 12);
    }
    image_free(img);
    unlink(path);
    board_free(b);
}

static void damaged_and_oversized_gzip_is_refused(void **unused)
{
#ifndef HAVE_ZLIB
    print_message("# built without zlib\n");
    skip();
#endif
    struct image *img;
    refuses(packed, sizeof(packed) - 9, "truncated");
    uint8_t bad[sizeof(packed)];
    memcpy(bad, packed, sizeof(bad));
    bad[25] ^= 1;
    refuses(bad, sizeof(bad), "damaged");
    struct error *err = image_open("kernel", file_of(packed, sizeof(packed)), "riscv64", 11, &img);
    unlink(path);
    assert_non_null(strstr(error_text(err), "more than the 11 bytes"));
    error_free(err);
}

static void disk_images_are_told_by_their_contents(void **unused)
{
    static uint8_t disk[128 * 1024];
    static const uint8_t riscv64_root[16] = { 0x6a, 0xc7, 0x70, 0x72, 0x40, 0xcf, 0xe6, 0x4d,
                                              0xbd, 0x49, 0x4b, 0xda, 0x08, 0xe8, 0xf2, 0x24 };
    enum image_kind kind;
    const char *arch;
    memcpy(disk + 512, "EFI PART", 8);
    store_le(disk + 512 + 72, 8, 2);
    store_le(disk + 512 + 80, 4, 128);
    store_le(disk + 512 + 84, 4, 128);
    memcpy(disk + 1024 + 128, riscv64_root, 16);
    assert_null(image_identify(file_of(disk, sizeof(disk)), &kind, &arch));
    unlink(path);
    assert_int_equal(kind, IMAGE_DISK);
    assert_string_equal(arch, "riscv64");
    assert_null(image_identify(file_of("#!/bin/sh\n", 10), &kind, &arch));
    unlink(path);
    assert_int_equal(kind, IMAGE_RAW);
    assert_null(arch);
}

static void file_that_shrank_is_an_error_at_the_next_load(void **unused)
{
    struct board *b = board_new();
    uint8_t h[256];
    struct image *img;
    linux_header(h, 0);
    assert_null(image_open("kernel", file_of(h, sizeof(h)), "riscv64", MIB, &img));
    assert_null(image_place(img, BOARD_RAM, BOARD_RAM, BOARD_RAM_SIZE));
    assert_int_equal(truncate(path, 100), 0);
    struct error *err = image_load(img, b->vm, false);
    assert_non_null(strstr(error_text(err), "shorter"));
    error_free(err);
    image_free(img);
    unlink(path);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elf_goes_where_it_says_with_zeros_behind),
        cmocka_unit_test(broken_elf_files_are_refused),
        cmocka_unit_test(segments_must_lie_in_ram),
        cmocka_unit_test(headers_below_ram_are_dropped),
        cmocka_unit_test(other_architectures_are_named),
        cmocka_unit_test(empty_missing_and_odd_files_are_refused),
        cmocka_unit_test(linux_image_reserves_what_it_clears),
        cmocka_unit_test(truncated_linux_images_are_refused),
        cmocka_unit_test(overlapping_images_are_refused),
        cmocka_unit_test(gzip_is_unpacked_again_for_each_load),
        cmocka_unit_test(damaged_and_oversized_gzip_is_refused),
        cmocka_unit_test(disk_images_are_told_by_their_contents),
        cmocka_unit_test(file_that_shrank_is_an_error_at_the_next_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
