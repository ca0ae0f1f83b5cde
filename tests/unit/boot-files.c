/* What a file given alone is: kernels by their heads, disks by partitions and file systems. */
#include "cli/detect.h"

#include "core/error.h"
#include "core/util.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PART = 2048 * 512, FAT_SIZE = 64 << 10, IMAGE = PART + FAT_SIZE };

/* file_detect on bytes in memory. */
static struct error *detect(const void *bytes, size_t n, struct file_info *out)
{
    char path[40];
    int fd = memfd_create("image", MFD_CLOEXEC);
    assert_true(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct error *err = file_detect(path, out);
    close(fd);
    return err;
}

static struct file_info detected(const void *bytes, size_t n)
{
    struct file_info info;
    assert_null(detect(bytes, n, &info));
    return info;
}

static void kernels_are_told_by_their_heads(void **unused)
{
    uint8_t head[1024] = "\177ELF\2\1\1";
    store_le(head + 18, 2, 243);
    assert_string_equal(detected(head, 64).arch, "riscv64");
    store_le(head + 18, 2, 62);
    assert_string_equal(detected(head, 64).arch, "x86_64");

    memset(head, 0, sizeof(head));
    memcpy(head + 56, "RSC\005", 4);
    assert_string_equal(detected(head, 64).arch, "riscv64");
    assert_int_equal(detected(head, 64).kind, FILE_KERNEL);

    memset(head, 0, sizeof(head));
    memcpy(head, "MZ", 2);
    store_le(head + 60, 4, 128);
    memcpy(head + 128, "PE\0\0\x64\xaa", 6);
    assert_string_equal(detected(head, 512).arch, "aarch64");
    assert_string_equal(detected(head, 512).why, "EFI header");
}

static void kernels_of_pcs_are_told_by_their_protocol(void **unused)
{
    uint8_t head[1024] = "\177ELF\1\1\1";
    store_le(head + 18, 2, 3);
    assert_string_equal(detected(head, 64).arch, "x86_64");
    memset(head, 0, sizeof(head));
    memcpy(head + 0x202, "HdrS", 4);
    assert_string_equal(detected(head, sizeof(head)).arch, "x86_64");
    assert_string_equal(detected(head, sizeof(head)).why, "bzImage header");
}

static void a_pe_header_outside_the_file_is_none(void **unused)
{
    uint8_t head[512] = "MZ";
    store_le(head + 60, 4, 0xfffffff0);
    assert_null(detected(head, sizeof(head)).arch);
}

static void put_short(uint8_t *e, const char *name, uint8_t attributes, unsigned cluster,
                      unsigned size)
{
    memcpy(e, name, 11);
    e[11] = attributes;
    store_le(e + 26, 2, cluster);
    store_le(e + 28, 4, size);
}

/* One long-name entry: its 13 characters of `name` from `part` on. */
static void put_long(uint8_t *e, const char *name, unsigned part, bool last)
{
    static const uint8_t at[13] = { 1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30 };
    memset(e, 0xff, 32);
    e[0] = (uint8_t)((part + 1) | (last ? 0x40 : 0));
    e[11] = 0x0f;
    e[12] = 0;
    store_le(e + 26, 2, 0);
    for (unsigned i = 0; i < 13 && part * 13 + i <= strlen(name); i++)
        store_le(e + at[i], 2, (uint8_t)name[part * 13 + i]);
}

static void put_fat12(uint8_t *fat, unsigned cluster, unsigned value)
{
    uint8_t *p = fat + cluster * 3 / 2;
    uint64_t old = load_le(p, 2);
    store_le(p, 2, cluster & 1 ? (old & 0xf) | value << 4 : (old & 0xf000) | value);
}

/* A FAT12 file system with EFI/BOOT/BOOTRISCV64.EFI of 700 bytes in clusters 4 and 6. */
static void make_fat(uint8_t *fs)
{
    memcpy(fs, "\xeb\x3c\x90tandem  ", 11);
    store_le(fs + 11, 2, 512);
    fs[13] = 1;               /* sectors per cluster */
    store_le(fs + 14, 2, 1);  /* reserved */
    fs[16] = 1;               /* FATs */
    store_le(fs + 17, 2, 16); /* root entries: one sector */
    store_le(fs + 19, 2, FAT_SIZE / 512);
    store_le(fs + 22, 2, 1); /* sectors of a FAT */
    store_le(fs + 510, 2, 0xaa55);
    uint8_t *fat = fs + 512, *root = fs + 1024, *data = fs + 1536;
    put_fat12(fat, 2, 0xfff);
    put_fat12(fat, 3, 0xfff);
    put_fat12(fat, 4, 6);
    put_fat12(fat, 6, 0xfff);
    put_short(root, "ESP        ", 0x08, 0, 0);
    put_short(root + 32, "EFI        ", 0x10, 2, 0);
    put_short(data, "BOOT       ", 0x10, 3, 0);
    put_long(data + 512, "bootriscv64.efi", 1, true);
    put_long(data + 512 + 32, "bootriscv64.efi", 0, false);
    put_short(data + 512 + 64, "BOOTRI~1EFI", 0x20, 4, 700);
    memset(data + 2 * 512, 'a', 512);
    memset(data + 4 * 512, 'b', 512);
}

static uint8_t *mbr_image(void)
{
    uint8_t *image = xcalloc(1, IMAGE), *entry = image + 446 + 16;
    entry[4] = 0xef;
    store_le(entry + 8, 4, PART / 512);
    store_le(entry + 12, 4, FAT_SIZE / 512);
    store_le(image + 510, 2, 0xaa55);
    make_fat(image + PART);
    return image;
}

static uint8_t *gpt_image(void)
{
    uint8_t *image = xcalloc(1, IMAGE);
    image[446 + 4] = 0xee;
    store_le(image + 510, 2, 0xaa55);
    memcpy(image + 512, "EFI PART", 8);
    store_le(image + 512 + 72, 8, 2);
    store_le(image + 512 + 80, 4, 128);
    store_le(image + 512 + 84, 4, 128);
    uint8_t *entry = image + 1024 + 128;
    memset(entry, 1, 16);
    store_le(entry + 32, 8, PART / 512);
    store_le(entry + 40, 8, (IMAGE - 1) / 512);
    make_fat(image + PART);
    return image;
}

static void an_esp_is_found_in_either_table(void **unused)
{
    uint8_t *(*const makers[])(void) = { mbr_image, gpt_image };
    for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
        uint8_t *image = makers[i]();
        struct file_info info = detected(image, IMAGE);
        assert_int_equal(info.kind, FILE_DISK);
        assert_int_equal(info.boot, BOOT_EFI);
        assert_string_equal(info.arch, "riscv64");
        assert_string_equal(info.why, "EFI/BOOT/BOOTRISCV64.EFI on partition 2");
        free(image);
    }
}

static struct error *extract(const uint8_t *image, size_t n, char *path, size_t room)
{
    char name[40];
    int fd = memfd_create("image", MFD_CLOEXEC);
    assert_true(write(fd, image, n) == (ssize_t)n);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    struct error *err = file_extract(name, 2, "efi/boot/BOOTRISCV64.EFI", path, room);
    close(fd);
    return err;
}

static void files_come_out_whole(void **unused)
{
    char path[40], bytes[1024];
    uint8_t *image = mbr_image();
    assert_null(extract(image, IMAGE, path, sizeof(path)));
    FILE *f = fopen(path, "r");
    assert_int_equal(fread(bytes, 1, sizeof(bytes), f), 700);
    assert_int_equal(bytes[511], 'a');
    assert_int_equal(bytes[512], 'b');
    fclose(f);
    free(image);
}

static void a_chain_that_loops_ends(void **unused)
{
    char path[40];
    uint8_t *image = mbr_image();
    put_fat12(image + PART + 512, 2, 2); /* the directory EFI */
    put_fat12(image + PART + 512, 3, 3);
    put_fat12(image + PART + 512, 4, 4);
    store_le(image + PART + 1536 + 512 + 64 + 28, 4, 0xffffffff);
    struct file_info info = detected(image, IMAGE);
    assert_int_equal(info.boot, BOOT_EFI);
    error_free(extract(image, IMAGE, path, sizeof(path)));
    free(image);
}

static void damaged_images_do_no_harm(void **unused)
{
    uint32_t seed = 1;
    for (unsigned round = 0; round < 300; round++) {
        uint8_t *image = round & 1 ? mbr_image() : gpt_image();
        struct file_info info;
        for (unsigned i = 0; i < 40; i++) {
            static const uint32_t spots[] = { 440,        512,         1024,        PART,
                                              PART + 512, PART + 1024, PART + 1536, PART + 2048 };
            seed = seed * 1103515245 + 12345;
            image[spots[seed >> 8 & 7] + (seed >> 16 & 127)] = (uint8_t)(seed >> 24);
        }
        error_free(detect(image, IMAGE, &info));
        free(image);
    }
}

/* A Debian-like root made by mke2fs: a kernel behind links, 5 MiB in pieces, in a large folder. */
static const char make_root[] =
    "set -e; cd $0; mkdir -p root/boot root/usr/lib/riscv64-linux-gnu; cd root;"
    "for i in $(seq 400); do : > boot/a-file-with-a-long-name-$i; done;"
    "dd if=/dev/urandom of=boot/vmlinux-6.9 bs=64K count=1 2> /dev/null;"
    "dd if=/dev/urandom of=boot/vmlinux-6.12 bs=64K count=80 2> /dev/null;"
    "echo initrd > boot/initrd.img-6.12; ln -s boot/vmlinux-6.12 vmlinux; cd ..;"
    "mke2fs -q -t $1 -b $2 -d root image 16M >&2";

static void ext_images_give_their_files(void **unused)
{
    static const char *const kinds[][2] = { { "ext4", "4096" },
                                            { "ext4", "1024" },
                                            { "ext2", "1024" } };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        char dir[] = "/tmp/tandem-ext.XXXXXX", image[64], path[64], command[200];
        struct file_info info;
        assert_non_null(mkdtemp(dir));
        snprintf(image, sizeof(image), "%s/image", dir);
        pid_t child = fork();
        if (!child) {
            execl("/bin/sh", "sh", "-c", make_root, dir, kinds[i][0], kinds[i][1], NULL);
            _exit(127);
        }
        int status;
        assert_true(waitpid(child, &status, 0) == child);
        if (status) {
            print_message("# there is no mke2fs\n");
            skip();
        }
        assert_null(file_detect(image, &info));
        assert_string_equal(info.arch, "riscv64");
        assert_int_equal(info.boot, BOOT_KERNEL);
        assert_string_equal(info.kernel_path, "vmlinux");
        assert_string_equal(info.initrd_path, "boot/initrd.img-6.12");
        assert_null(file_extract(image, 0, info.kernel_path, path, sizeof(path)));
        int fd = open(path, O_RDONLY);
        snprintf(command, sizeof(command), "cmp -s /dev/fd/%d %s/root/boot/vmlinux-6.12", fd, dir);
        assert_int_equal(system(command), 0);
        close(fd);
        snprintf(command, sizeof(command), "rm -rf %s", dir);
        assert_int_equal(system(command), 0);
    }
}

static void other_formats_are_named(void **unused)
{
    struct file_info info;
    uint8_t qcow[512] = "QFI\xfb";
    struct error *err = detect(qcow, sizeof(qcow), &info);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), "qcow2"));
    error_free(err);
    err = detect("", 0, &info);
    assert_non_null(strstr(error_text(err), "is empty"));
    error_free(err);
}

static void zeroes_tell_nothing(void **unused)
{
    static const uint8_t zeroes[8192];
    struct file_info info = detected(zeroes, sizeof(zeroes));
    assert_int_equal(info.kind, FILE_DISK);
    assert_int_equal(info.boot, BOOT_UNKNOWN);
    assert_null(info.arch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_told_by_their_heads),
        cmocka_unit_test(kernels_of_pcs_are_told_by_their_protocol),
        cmocka_unit_test(a_pe_header_outside_the_file_is_none),
        cmocka_unit_test(an_esp_is_found_in_either_table),
        cmocka_unit_test(files_come_out_whole),
        cmocka_unit_test(a_chain_that_loops_ends),
        cmocka_unit_test(damaged_images_do_no_harm),
        cmocka_unit_test(ext_images_give_their_files),
        cmocka_unit_test(other_formats_are_named),
        cmocka_unit_test(zeroes_tell_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
