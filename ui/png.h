/* PNG files by libpng; for ui/screenshot.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

bool png_available(void);
struct error *png_encode(const uint32_t *pixels, unsigned width, unsigned height, uint8_t **data,
                         size_t *n);
