#include "hw/firmware/blob.h"

#include "core/error.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

uint8_t *blob_grow(struct blob *b, size_t n)
{
    if (!b->at || n > b->room - b->n) { /* never NULL */
        b->room = MAX(2 * b->room, b->n + n + 256);
        b->at = xrealloc(b->at, b->room);
    }
    uint8_t *start = b->at + b->n;
    memset(start, 0, n);
    b->n += n;
    return start;
}

void blob_add(struct blob *b, const void *bytes, size_t n)
{
    if (n)
        memcpy(blob_grow(b, n), bytes, n);
}

void blob_num(struct blob *b, unsigned size, uint64_t value)
{
    for (unsigned i = 0; i < size; i++)
        *blob_grow(b, 1) = (uint8_t)(value >> 8 * i);
}

void blob_text(struct blob *b, const char *text, size_t n, char fill)
{
    size_t have = strnlen(text, n);
    blob_add(b, text, have);
    memset(blob_grow(b, n - have), fill, n - have);
}

void blob_align(struct blob *b, size_t to)
{
    blob_grow(b, align_up(b->n, to) - b->n);
}

struct error *blob_add_file(struct blob *b, const char *path, size_t most)
{
    enum { STEP = 4096 };
    ssize_t got;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno("cannot open '%s'", path);
    do {
        uint8_t *to = blob_grow(b, STEP);
        got = read(fd, to, STEP);
        b->n -= STEP - (size_t)MAX(got, 0);
    } while (got > 0 && b->n <= most);
    struct error *err = got < 0 ? error_errno("cannot read '%s'", path)
                        : got   ? error_new("'%s' is larger than %zu bytes", path, most)
                                : NULL;
    close(fd);
    return err;
}

void blob_free(struct blob *b)
{
    free(b->at);
    *b = (struct blob){ 0 };
}

uint8_t blob_checksum(const uint8_t *bytes, size_t n)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += bytes[i];
    return (uint8_t)-sum;
}
