/* For builds without libxkbcommon: the one layout that stands in a table. */
#include "ui/keymap_xkb.h"

#include "core/error.h"

struct error *keymap_load(const char *layout, const char *variant, keymap_add_fn *add, void *opaque)
{
    return error_new(
        "layout '%s' is not there: this build knows one (libxkbcommon); accepted: en-us", layout);
}
