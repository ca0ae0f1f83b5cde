#include "ui/png.h"

#include "core/error.h"
#include "core/util.h"

#include <png.h>
#include <stdlib.h>

bool png_available(void)
{
    return true;
}

struct error *png_encode(const uint32_t *pixels, unsigned width, unsigned height, uint8_t **data,
                         size_t *n)
{
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB
    };
    size_t n_pixels = (size_t)width * height;
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(image);
    uint8_t *rgb = malloc(3 * n_pixels);
    *data = malloc(room);
    struct error *err = NULL;
    if (!rgb || !*data) {
        err = error_new("not enough memory for a picture of %u by %u", width, height);
    } else {
        for (size_t i = 0; i < n_pixels; i++) {
            rgb[3 * i] = (uint8_t)(pixels[i] >> 16);
            rgb[3 * i + 1] = (uint8_t)(pixels[i] >> 8);
            rgb[3 * i + 2] = (uint8_t)pixels[i];
        }
        if (!png_image_write_to_memory(&image, *data, &room, 0, rgb, 0, NULL))
            err = error_new("cannot make a PNG picture: %s", image.message);
    }
    *n = room;
    free(rgb);
    if (err) {
        free(*data);
        *data = NULL;
    }
    png_image_free(&image);
    return err;
}
