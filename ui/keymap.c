/* Which key gives a symbol: a sorted list, from libxkbcommon or the table of ui/keys_table.c. */
#include "ui/keymap_xkb.h"
#include "ui/keys.h"
#include "ui/keys_table.h"

#include "core/error.h"
#include "core/util.h"

#include <linux/input-event-codes.h>
#include <stdio.h>
#include <stdlib.h>

struct symbol {
    uint32_t keysym;
    struct keymap_entry key;
};
struct keymap {
    struct symbol *at;
    size_t n, room;
};

enum { UNICODE = 0x1000000 };     /* symbols of characters beyond Latin-1 */
enum { FIRST_FUNCTION = 0xfd00 }; /* symbols from here on are keys, not characters */

static size_t place_of(const struct keymap *map, uint32_t keysym)
{
    size_t from = 0, to = map->n;
    while (from < to) {
        size_t middle = (from + to) / 2;
        if (map->at[middle].keysym < keysym)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* The first that comes stays. */
static void add(void *opaque, uint32_t keysym, uint16_t code, uint8_t with)
{
    struct keymap *map = opaque;
    size_t at = place_of(map, keysym);
    if (!keysym || (at < map->n && map->at[at].keysym == keysym))
        return;
    if (map->n == map->room) {
        map->room = MAX(64u, 2 * map->room);
        map->at = xrealloc(map->at, map->room * sizeof(*map->at));
    }
    memmove(map->at + at + 1, map->at + at, (map->n++ - at) * sizeof(*map->at));
    bool any = keysym >= FIRST_FUNCTION && keysym < 0x10000;
    map->at[at] = (struct symbol){ keysym, { code, any ? 0 : with, any } };
}

static void add_table(struct keymap *map)
{
    for (size_t i = 0; i < n_key_infos; i++) {
        const struct key_info *k = &key_infos[i];
        add(map, k->keysym, k->code, 0);
        if (k->plain >= ' ')
            add(map, (uint8_t)k->plain, k->code, 0);
        if (k->shifted)
            add(map, (uint8_t)k->shifted, k->code, KEYMAP_SHIFT);
    }
}

/* Keys that some viewers name otherwise. */
static void add_others(struct keymap *map)
{
    static const struct {
        uint32_t keysym;
        uint16_t code;
    } others[] = {
        { 0xfe03, KEY_RIGHTALT },                            /* ISO_Level3_Shift */
        { 0xff7e, KEY_RIGHTALT },                            /* Mode_switch */
        { 0xffe7, KEY_LEFTMETA }, { 0xffe8, KEY_RIGHTMETA }, /* Meta */
        { 0xfe20, KEY_TAB },                                 /* ISO_Left_Tab: with Shift */
        { 0xff95, KEY_KP7 },      { 0xff97, KEY_KP8 },       { 0xff9a, KEY_KP9 },
        { 0xff96, KEY_KP4 },      { 0xff9d, KEY_KP5 },       { 0xff98, KEY_KP6 },
        { 0xff9c, KEY_KP1 },      { 0xff99, KEY_KP2 },       { 0xff9b, KEY_KP3 },
        { 0xff9e, KEY_KP0 },      { 0xff9f, KEY_KPDOT },     { 0xff6b, KEY_PAUSE }, /* Break */
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        add(map, others[i].keysym, others[i].code, 0);
}

/* QEMU's names of layouts are languages, in part with a country; xkb's are countries, in part with a variant. */
static void split_layout(const char *name, char *layout, char *variant, size_t room)
{
    static const struct {
        const char *name, *layout, *variant;
    } known[] = {
        { "ar", "ara", "" },   { "da", "dk", "" },       { "sv", "se", "" },
        { "sl", "si", "" },    { "et", "ee", "" },       { "ja", "jp", "" },
        { "en-gb", "gb", "" }, { "fr-be", "be", "" },    { "nl-be", "be", "" },
        { "fr-ca", "ca", "" }, { "fr-ch", "ch", "fr" },  { "de-ch", "ch", "de" },
        { "pt-br", "br", "" }, { "bepo", "fr", "bepo" }, { "cz", "cz", "" },
    };
    const char *dash = strchr(name, '-');
    snprintf(layout, room, "%.*s", dash ? (int)(dash - name) : (int)strlen(name), name);
    snprintf(variant, room, "%s", dash ? dash + 1 : "");
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (!strcmp(known[i].name, name)) {
            snprintf(layout, room, "%s", known[i].layout);
            snprintf(variant, room, "%s", known[i].variant);
        }
}

struct error *keymap_new(const char *name, struct keymap **out)
{
    struct keymap *map = xcalloc(1, sizeof(*map));
    char layout[64], variant[64];
    struct error *err = NULL;
    bool own = !name || !strcmp(name, "en-us") || !strcmp(name, "us");
    if (!own) {
        split_layout(name, layout, variant, sizeof(layout));
        err = keymap_load(layout, variant, add, map);
    }
    if (err) {
        keymap_free(map);
        return err;
    }
    if (own)
        add_table(map);
    add_others(map);
    if (!own)
        add_table(map); /* what the layout has no key for: better the place than none */
    *out = map;
    return NULL;
}

void keymap_free(struct keymap *map)
{
    if (!map)
        return;
    free(map->at);
    free(map);
}

struct keymap_entry keymap_find(const struct keymap *map, uint32_t keysym)
{
    if (keysym >= UNICODE && keysym <= UNICODE + 0xff)
        keysym -= UNICODE;
    size_t at = place_of(map, keysym);
    return at < map->n && map->at[at].keysym == keysym ? map->at[at].key
                                                       : (struct keymap_entry){ 0 };
}

uint32_t keysym_of(uint32_t unicode)
{
    switch (unicode) {
    case '\b': return 0xff08;
    case '\t': return 0xff09;
    case '\n':
    case '\r': return 0xff0d;
    case 27: return 0xff1b;
    }
    return unicode <= 0xff ? unicode : UNICODE + unicode;
}
