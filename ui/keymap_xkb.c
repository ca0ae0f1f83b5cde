#include "ui/keymap_xkb.h"

#include "core/error.h"
#include "core/util.h"
#include "ui/keys.h"
#include "ui/library.h"

#include <xkbcommon/xkbcommon.h>

#define FUNCTIONS(X)                     \
    X(xkb_context_new)                   \
    X(xkb_context_unref)                 \
    X(xkb_context_set_log_level)         \
    X(xkb_keymap_new_from_names)         \
    X(xkb_keymap_unref)                  \
    X(xkb_keymap_min_keycode)            \
    X(xkb_keymap_max_keycode)            \
    X(xkb_keymap_mod_get_index)          \
    X(xkb_keysym_to_utf32)               \
    X(xkb_keymap_num_levels_for_key)     \
    X(xkb_keymap_key_get_mods_for_level) \
    X(xkb_keymap_key_get_syms_by_level)
struct xkb {
    FUNCTIONS(LIBRARY_MEMBER)
};
static const char *const names[] = { FUNCTIONS(LIBRARY_NAME) };

enum { FIRST_KEYCODE = 8, LAST_CODE = 255 }; /* X11's key codes are Linux's and 8 */

/* The fewest of Shift and AltGr that give this level of a key; false: it takes others. */
static bool level_takes(const struct xkb *xkb, struct xkb_keymap *map, xkb_keycode_t key,
                        xkb_level_index_t level, uint8_t *with)
{
    xkb_mod_mask_t masks[16];
    xkb_mod_index_t shift = xkb->xkb_keymap_mod_get_index(map, XKB_MOD_NAME_SHIFT);
    xkb_mod_index_t third = xkb->xkb_keymap_mod_get_index(map, "Mod5"); /* AltGr's */
    size_t n = xkb->xkb_keymap_key_get_mods_for_level(map, key, 0, level, masks, ARRAY_LEN(masks));
    for (unsigned try = 0; try < 4; try++)
        for (size_t i = 0; i < n; i++) {
            xkb_mod_mask_t held =
                (try & KEYMAP_SHIFT ? 1u << shift : 0) | (try & KEYMAP_ALTGR ? 1u << third : 0);
            if (masks[i] == held) {
                *with = (uint8_t)try;
                return true;
            }
        }
    return false;
}

static void read_level(const struct xkb *xkb, struct xkb_keymap *map, xkb_level_index_t level,
                       keymap_add_fn *add, void *opaque)
{
    xkb_keycode_t last = xkb->xkb_keymap_max_keycode(map);
    for (xkb_keycode_t key = xkb->xkb_keymap_min_keycode(map); key <= last; key++) {
        const xkb_keysym_t *syms;
        uint8_t with;
        if (key <= FIRST_KEYCODE || key > FIRST_KEYCODE + LAST_CODE ||
            level >= xkb->xkb_keymap_num_levels_for_key(map, key, 0) ||
            xkb->xkb_keymap_key_get_syms_by_level(map, key, 0, level, &syms) != 1 ||
            !level_takes(xkb, map, key, level, &with))
            continue;
        uint32_t unicode = xkb->xkb_keysym_to_utf32(syms[0]);
        add(opaque, syms[0], (uint16_t)(key - FIRST_KEYCODE), with);
        if (unicode > 0xff)
            add(opaque, keysym_of(unicode), (uint16_t)(key - FIRST_KEYCODE), with);
    }
}

struct error *keymap_load(const char *layout, const char *variant, keymap_add_fn *add, void *opaque)
{
    struct xkb xkb;
    struct error *err = library_open("libxkbcommon.so.0", names, ARRAY_LEN(names), &xkb);
    if (err)
        return err;
    struct xkb_context *context = xkb.xkb_context_new(XKB_CONTEXT_NO_FLAGS);
    if (!context)
        return error_new("layout '%s' cannot be read: libxkbcommon finds no layouts", layout);
    xkb.xkb_context_set_log_level(context, XKB_LOG_LEVEL_CRITICAL);
    struct xkb_keymap *map = xkb.xkb_keymap_new_from_names(
        context, &(struct xkb_rule_names){ "evdev", "pc105", layout, variant, "" },
        XKB_KEYMAP_COMPILE_NO_FLAGS);
    if (!map)
        err = error_new("there is no keyboard layout '%s'%s%s; /usr/share/X11/xkb/rules/base.lst "
                        "lists them",
                        layout, *variant ? " with " : "", variant);
    for (xkb_level_index_t level = 0; map && level < 4; level++)
        read_level(&xkb, map, level, add, opaque);
    if (map)
        xkb.xkb_keymap_unref(map);
    xkb.xkb_context_unref(context);
    return err;
}
