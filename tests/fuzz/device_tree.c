/* -dtb files: refused, or a tree that takes boot arguments. */
#include "hw/machine/riscv_virt.h"

#include "core/error.h"
#include "tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char path[32];
    void *fdt;
    int fd = memfd_create("dtb", 0);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n)
        return 0;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    struct error *err = virt_read_dtb(path, &fdt);
    if (!err) {
        err = virt_dtb_set_boot(fdt, "console=ttyS0", 0x88000000, 4096);
        virt_dtb_reseed(fdt);
        free(fdt);
    }
    error_free(err);
    close(fd);
    return 0;
}
