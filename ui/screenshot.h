/* A screen's picture as a file: PNG (RGB, 8 bits) or PPM (P6). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct head;

enum picture_format { PICTURE_PPM, PICTURE_PNG };
/* False: no such format, or PNG in a build without libpng. `name` is "ppm" or "png". */
struct error *picture_format_parse(const char *name, enum picture_format *format);

/* The picture as it is now, in memory; with_cursor: the pointer's shape is drawn over it, where the guest has the
 * viewer draw it. The caller frees *data. */
struct error *screenshot_make(struct head *head, enum picture_format format, bool with_cursor,
                              uint8_t **data, size_t *n);
/* The file appears under its name when all of it is written, and replaces one that is there; "/dev/fdset/N" is a
 * descriptor that was handed in. */
struct error *screenshot_write(struct head *head, enum picture_format format, bool with_cursor,
                               const char *path);

/* Width times height 0x00RRGGBB pixels as a picture file in memory. */
struct error *picture_encode(const uint32_t *pixels, unsigned width, unsigned height,
                             enum picture_format format, uint8_t **data, size_t *n);
