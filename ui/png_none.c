/* For builds without libpng. */
#include "core/error.h"
#include "ui/png.h"

bool png_available(void)
{
    return false;
}

struct error *png_encode(const uint32_t *pixels, unsigned width, unsigned height, uint8_t **data,
                         size_t *n)
{
    return error_new("this build has no PNG pictures (libpng)");
}
