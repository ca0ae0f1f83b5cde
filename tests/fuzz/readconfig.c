/* -readconfig's files: whatever stands in one, it is options or one error. */
#include "cli/cli.h"
#include "core/error.h"
#include "tape.h"

#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct cli cli;
    char path[32];
    int fd = memfd_create("config", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    cli_init(&cli);
    struct error *err = cli_read_config(&cli, path);
    if (err)
        assert(*error_text(err));
    error_free(err);
    cli_free(&cli);
    close(fd);
    return 0;
}
