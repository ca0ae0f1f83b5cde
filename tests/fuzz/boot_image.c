/* Kernel files: whatever is in them, they are refused or loaded inside guest memory. */
#include "../unit/board.h"

#include "core/error.h"
#include "hw/firmware/loader.h"
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
    board_free(b);
    close(fd);
    return 0;
}
