#include "ui/screenshot.h"

#include "core/device.h"
#include "core/error.h"
#include "core/fdset.h"
#include "core/util.h"
#include "ui/display.h"
#include "ui/png.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct error *picture_format_parse(const char *name, enum picture_format *format)
{
    if (!strcmp(name, "ppm")) {
        *format = PICTURE_PPM;
        return NULL;
    }
    if (strcmp(name, "png") != 0)
        return error_new("'%s' is no picture format; accepted: ppm, png", name);
    *format = PICTURE_PNG;
    return png_available() ? NULL
                           : error_new("this build has no PNG pictures (libpng); accepted: ppm");
}

/* ---- the picture ----------------------------------------------------------------------------- */
static struct error *encode_ppm(const uint32_t *pixels, unsigned width, unsigned height,
                                uint8_t **data, size_t *n)
{
    char head[40];
    size_t head_size = (size_t)snprintf(head, sizeof(head), "P6\n%u %u\n255\n", width, height);
    size_t n_pixels = (size_t)width * height;
    uint8_t *to = *data = malloc(head_size + 3 * n_pixels);
    if (!to)
        return error_new("not enough memory for a picture of %u by %u", width, height);
    memcpy(to, head, head_size);
    to += head_size;
    for (size_t i = 0; i < n_pixels; i++) {
        *to++ = (uint8_t)(pixels[i] >> 16);
        *to++ = (uint8_t)(pixels[i] >> 8);
        *to++ = (uint8_t)pixels[i];
    }
    *n = head_size + 3 * n_pixels;
    return NULL;
}

struct error *picture_encode(const uint32_t *pixels, unsigned width, unsigned height,
                             enum picture_format format, uint8_t **data, size_t *n)
{
    *data = NULL;
    *n = 0;
    return format == PICTURE_PNG ? png_encode(pixels, width, height, data, n)
                                 : encode_ppm(pixels, width, height, data, n);
}

static uint32_t blend(uint32_t under, uint32_t over)
{
    uint32_t alpha = over >> 24, mixed = 0;
    for (unsigned shift = 0; shift < 24; shift += 8) {
        uint32_t a = over >> shift & 0xff, b = under >> shift & 0xff;
        mixed |= (a * alpha + b * (255 - alpha) + 127) / 255 << shift;
    }
    return mixed;
}

static void draw_cursor(const struct head *head, uint32_t *pixels)
{
    const struct cursor_shape *shape = head_cursor(head);
    int left, top, width = (int)head_width(head), height = (int)head_height(head);
    if (!shape)
        return;
    head_cursor_place(head, &left, &top);
    for (unsigned y = 0; y < shape->height; y++)
        for (unsigned x = 0; x < shape->width; x++) {
            int64_t to_x = (int64_t)left + x, to_y = (int64_t)top + y;
            if (to_x < 0 || to_y < 0 || to_x >= width || to_y >= height)
                continue;
            uint32_t *to = &pixels[(size_t)to_y * (size_t)width + (size_t)to_x];
            *to = blend(*to, shape->argb[y * shape->width + x]);
        }
}

struct error *screenshot_make(struct head *head, enum picture_format format, bool with_cursor,
                              uint8_t **data, size_t *n)
{
    head_refresh(head);
    unsigned width = head_width(head), height = head_height(head);
    size_t size = (size_t)width * height * sizeof(uint32_t);
    uint32_t *copy = malloc(size);
    if (!copy)
        return error_new("not enough memory for a picture of %u by %u", width, height);
    memcpy(copy, head_pixels(head), size);
    if (with_cursor)
        draw_cursor(head, copy);
    struct error *err = picture_encode(copy, width, height, format, data, n);
    free(copy);
    return err;
}

/* ---- the file -------------------------------------------------------------------------------- */
static struct error *write_all(int fd, const uint8_t *data, size_t n, const char *path)
{
    while (n) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno != EINTR)
            return error_errno("cannot write '%s'", path);
        data += MAX(done, 0);
        n -= (size_t)MAX(done, 0);
    }
    return NULL;
}

static struct error *cannot_create(const char *path)
{
    if (errno == EPERM)
        return error_new(
            "cannot create '%s': the sandbox lets a machine without QMP make no files; "
            "start it with -qmp, or with -sandbox off",
            path);
    return error_errno("cannot create '%s'", path);
}

/* What is no plain file (a device, a pipe) cannot be replaced, only written to. */
static bool is_special(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

/* Also a file beside which there may be no other: it is empty if not all of it can be written. */
static struct error *write_over(struct vm *vm, const char *path, const uint8_t *data, size_t n)
{
    int fd = fdset_open(vm, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0 && errno == EACCES)
        fd = fdset_open(vm, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return cannot_create(path);
    bool cut = ftruncate(fd, 0) == 0;
    struct error *err = write_all(fd, data, n, path);
    if (err && cut && ftruncate(fd, 0))
        err = error_in(err, "half of it is left");
    close(fd);
    return err;
}

static struct error *write_file(struct vm *vm, const char *path, const uint8_t *data, size_t n)
{
    if (is_special(path) || !strncmp(path, "/dev/fdset/", 11))
        return write_over(vm, path, data, n);
    char *part = xasprintf("%s.%d.part", path, (int)getpid());
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 && errno == EACCES && access(path, W_OK) == 0) {
        free(part);
        return write_over(vm, path, data, n);
    }
    struct error *err = fd < 0 ? cannot_create(path) : write_all(fd, data, n, path);
    if (fd >= 0 && close(fd) && !err)
        err = error_errno("cannot write '%s'", path);
    if (fd >= 0 && !err && rename(part, path))
        err = error_errno("cannot write '%s'", path);
    if (fd >= 0 && err)
        unlink(part);
    free(part);
    return err;
}

struct error *screenshot_write(struct head *head, enum picture_format format, bool with_cursor,
                               const char *path)
{
    uint8_t *data;
    size_t n;
    struct error *err = screenshot_make(head, format, with_cursor, &data, &n);
    if (err)
        return err;
    err = write_file(head_device(head)->vm, path, data, n);
    free(data);
    return err;
}
