/* What a file given alone is: partition tables, FAT, ext; and files inside images. */
#include "cli/detect.h"
#include "core/error.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char image[40], inside[40];
    struct file_info info;
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || ftruncate(fd, 1 << 20))
        abort();
    snprintf(image, sizeof(image), "/proc/self/fd/%d", fd);
    struct error *err = file_detect(image, &info);
    if (!err && info.boot == BOOT_KERNEL) {
        err = file_extract(image, info.partition, info.kernel_path, inside, sizeof(inside));
        if (!err)
            close(atoi(strrchr(inside, '/') + 1));
    }
    error_free(err);
    close(fd);
    return 0;
}
