/* Kernel files: whatever is in them, they are refused or loaded inside guest memory. */
#include "../unit/board.h"
#include "../unit/x86_board.h"

#include "core/error.h"
#include "hw/firmware/loader.h"
#include "hw/machine/x86_boot.h"
#include "tape.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void load(struct board *b, const char *path, const char *arch)
{
    struct image *img;
    struct error *err = image_open("kernel", path, arch, MIB, &img);
    if (err) {
        error_free(err);
        return;
    }
    err = image_place(img, BOARD_RAM + 0x1000, BOARD_RAM, BOARD_RAM_SIZE);
    for (int round = 0; !err && round < 2; round++)
        err = image_load(img, b->vm, round == 0);
    error_free(err);
    image_free(img);
}

/* As a PC's kernel and its only module, entered directly over two resets, and offered to firmware. */
static void boot_pc(const char *path)
{
    static const struct prop_value props[] = { { "iobase", "0x510" } };
    const struct x86_boot_options o = { path, path, "append", 4 * MIB };
    struct x86_memory_map map = { 0 };
    struct vm *vm = x86_board_new(4 * MIB);
    struct device *fw;
    struct x86_boot *b = NULL;
    x86_memory_standard(&map, 4 * MIB, 0);
    struct error *err = device_create(vm, "fw_cfg_io", props, 1, &fw);
    if (!err)
        err = x86_boot_open(vm, &o, &b);
    if (!err)
        err = x86_boot_direct(b, &map, 0);
    for (int round = 0; !err && round < 2; round++)
        x86_boot_place(b);
    error_free(err);
    if (b)
        error_free(x86_boot_offer(b, fw));
    x86_boot_free(b);
    vm_free(vm);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char path[32];
    enum image_kind kind;
    const char *arch;
    int fd = memfd_create("image", 0);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct board *b = board_new();
    error_free(image_identify(path, &kind, &arch));
    load(b, path, "riscv64");
    load(b, path, NULL);
    boot_pc(path);
    board_free(b);
    close(fd);
    return 0;
}
