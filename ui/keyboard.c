/* What viewers hold down, and what is typed for the user. */
#include "ui/faces.h"
#include "ui/keys.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/input/input.h"
#include "ui/display.h"

#include <linux/input-event-codes.h>
#include <stdlib.h>

enum { N_KEYS = 256, MAX_SYMBOLS = 16 };
/* A lock key takes effect only when the guest gets to it. */
enum { LOCK_PATIENCE_MS = 1000 };
enum { LED_CAPS = 2 };

struct keyboard {
    struct vm *vm;
    uint8_t down[N_KEYS / 8];
    struct {
        uint32_t keysym;
        uint16_t code;
    } held[MAX_SYMBOLS];        /* symbols that are down, and the keys that were pressed for them */
    uint64_t locks_typed_ns[3]; /* when a lock key was pressed last */
    uint32_t assumed_leds; /* and the light that it will have changed when the guest gets to it */
};
static const uint16_t lock_keys[] = { KEY_NUMLOCK, KEY_CAPSLOCK, KEY_SCROLLLOCK };

static bool give_key(struct vm *vm, unsigned code, bool down)
{
    struct input_event e = { INPUT_EV_KEY, (uint16_t)code, down };
    viewer_hurry(vm);
    return input_send_event(vm, INPUT_KEYBOARD, &e, 1);
}

static void send_key(struct vm *vm, unsigned code, bool down);

/* ---- a viewer's keyboard --------------------------------------------------------------------- */
struct keyboard *keyboard_new(struct vm *vm)
{
    struct keyboard *kb = xcalloc(1, sizeof(*kb));
    kb->vm = vm;
    return kb;
}

void keyboard_free(struct keyboard *kb)
{
    if (!kb)
        return;
    keyboard_release_all(kb);
    free(kb);
}

bool keyboard_holds(const struct keyboard *kb, unsigned code)
{
    return code < N_KEYS && kb->down[code / 8] >> code % 8 & 1;
}

/* The guest's lock lights as they will be when it has read what was typed. */
static uint32_t leds_of(const struct keyboard *kb)
{
    uint32_t leds = input_leds(kb->vm);
    uint64_t now = host_now_ns();
    for (unsigned i = 0; i < ARRAY_LEN(lock_keys); i++) {
        uint64_t typed = kb->locks_typed_ns[i];
        if (typed && now - typed < LOCK_PATIENCE_MS * UINT64_C(1000000))
            leds = (leds & ~(1u << i)) | (kb->assumed_leds & 1u << i);
    }
    return leds;
}

static void note_lock(struct keyboard *kb, unsigned code)
{
    for (unsigned i = 0; i < ARRAY_LEN(lock_keys); i++) {
        if (lock_keys[i] != code)
            continue;
        kb->assumed_leds = leds_of(kb) ^ 1u << i;
        kb->locks_typed_ns[i] = host_now_ns();
    }
}

void keyboard_key(struct keyboard *kb, unsigned code, bool down)
{
    if (!code || code >= N_KEYS || keyboard_holds(kb, code) == down)
        return;
    if (down)
        note_lock(kb, code);
    kb->down[code / 8] ^= (uint8_t)(1 << code % 8);
    send_key(kb->vm, code, down);
}

void keyboard_release_all(struct keyboard *kb)
{
    for (unsigned code = 0; code < N_KEYS; code++)
        keyboard_key(kb, code, false);
    memset(kb->held, 0, sizeof(kb->held));
}

/* Forget the oldest when there are more than anybody has fingers. */
static void hold_symbol(struct keyboard *kb, uint32_t keysym, uint16_t code)
{
    if (kb->held[MAX_SYMBOLS - 1].code)
        keyboard_key(kb, kb->held[MAX_SYMBOLS - 1].code, false);
    memmove(kb->held + 1, kb->held, (MAX_SYMBOLS - 1) * sizeof(*kb->held));
    kb->held[0].keysym = keysym;
    kb->held[0].code = code;
}

/* The key that was pressed for this symbol; 0: none was. */
static uint16_t let_symbol_go(struct keyboard *kb, uint32_t keysym)
{
    for (size_t i = 0; i < MAX_SYMBOLS; i++) {
        uint16_t code = kb->held[i].code;
        if (!code || kb->held[i].keysym != keysym)
            continue;
        memmove(kb->held + i, kb->held + i + 1, (MAX_SYMBOLS - 1 - i) * sizeof(*kb->held));
        kb->held[MAX_SYMBOLS - 1].code = 0;
        return code;
    }
    return 0;
}

static void tap(struct keyboard *kb, unsigned code)
{
    keyboard_key(kb, code, false);
    keyboard_key(kb, code, true);
    keyboard_key(kb, code, false);
}

void keyboard_sync_locks(struct keyboard *kb, uint32_t leds, uint32_t mask)
{
    uint32_t wrong = (leds_of(kb) ^ leds) & mask;
    for (unsigned i = 0; i < ARRAY_LEN(lock_keys); i++)
        if (wrong >> i & 1)
            tap(kb, lock_keys[i]);
}

static bool is_letter(uint32_t keysym)
{
    return (keysym | 0x20) >= 'a' && (keysym | 0x20) <= 'z';
}

static bool holds_shift(const struct keyboard *kb)
{
    return keyboard_holds(kb, KEY_LEFTSHIFT) || keyboard_holds(kb, KEY_RIGHTSHIFT);
}

void keyboard_note_letter(struct keyboard *kb, uint32_t keysym)
{
    bool upper = !(keysym & 0x20);
    if (is_letter(keysym))
        keyboard_sync_locks(kb, upper != holds_shift(kb) ? LED_CAPS : 0, LED_CAPS);
}

/* With exactly these held, for the moment of pressing it. */
static void press_with(struct keyboard *kb, struct keymap_entry key)
{
    static const uint16_t modifiers[] = { KEY_LEFTSHIFT, KEY_RIGHTSHIFT, KEY_RIGHTALT };
    bool was[ARRAY_LEN(modifiers)];
    bool shift = key.with & KEYMAP_SHIFT, altgr = key.with & KEYMAP_ALTGR;
    for (size_t i = 0; i < ARRAY_LEN(modifiers); i++)
        was[i] = keyboard_holds(kb, modifiers[i]);
    if (shift && !was[0] && !was[1])
        keyboard_key(kb, KEY_LEFTSHIFT, true);
    for (size_t i = 0; i < 2 && !shift; i++)
        keyboard_key(kb, modifiers[i], false);
    keyboard_key(kb, KEY_RIGHTALT, altgr);
    keyboard_key(kb, key.code, true);
    for (size_t i = 0; i < ARRAY_LEN(modifiers); i++)
        keyboard_key(kb, modifiers[i], was[i]);
}

void keyboard_keysym(struct keyboard *kb, const struct keymap *map, uint32_t keysym, bool down)
{
    if (!down) {
        keyboard_key(kb, let_symbol_go(kb, keysym), false);
        return;
    }
    struct keymap_entry key = keymap_find(map, keysym);
    bool shortcut = keyboard_holds(kb, KEY_LEFTCTRL) || keyboard_holds(kb, KEY_LEFTALT) ||
                    keyboard_holds(kb, KEY_RIGHTCTRL) || keyboard_holds(kb, KEY_LEFTMETA);
    if (!key.code || keyboard_holds(kb, key.code))
        return;
    hold_symbol(kb, keysym, key.code);
    if (key.any || shortcut) {
        keyboard_key(kb, key.code, true);
        return;
    }
    if (is_letter(keysym) && leds_of(kb) & LED_CAPS)
        key.with ^= KEYMAP_SHIFT;
    press_with(kb, key);
}

/* ---- typing for the user --------------------------------------------------------------------- */
enum { MAX_STEPS = 64 * 1024, MAX_CHORD = 16, DEFAULT_HOLD_MS = 100, TYPE_HOLD_MS = 12 };
/* A keyboard's buffer is full until the guest reads it: the key waits its turn, but not for ever. */
enum { RETRY_MS = 5, MAX_RETRIES = 40, MAX_WAITING = 256 };
struct step {
    uint16_t code;
    bool down;
    uint16_t wait_ms; /* after it */
};
struct typist {
    struct vm *vm;
    struct timer *timer;
    struct step *steps;
    size_t n, at, room;
    unsigned n_retries; /* of steps[at] */
};

static void type_in(struct typist *t, unsigned ms)
{
    timer_set(t->timer, vm_now_ns(t->vm) + ms * UINT64_C(1000000));
}

static void type_on(void *opaque)
{
    struct typist *t = opaque;
    while (t->at < t->n) {
        struct step s = t->steps[t->at];
        if (!give_key(t->vm, s.code, s.down) && t->n_retries++ < MAX_RETRIES) {
            type_in(t, RETRY_MS);
            return;
        }
        t->n_retries = 0;
        t->at++;
        if (s.wait_ms) {
            type_in(t, s.wait_ms);
            return;
        }
    }
    t->at = t->n = 0;
}

static struct typist *typist_of(struct vm *vm)
{
    struct faces *f = faces_of(vm);
    if (!f->typist) {
        f->typist = xcalloc(1, sizeof(*f->typist));
        f->typist->vm = vm;
        f->typist->timer = timer_new(vm, type_on, f->typist);
    }
    return f->typist;
}

static void add_step(struct typist *t, unsigned code, bool down, unsigned wait_ms)
{
    if (t->n == t->room) {
        t->room = MAX(32u, 2 * t->room);
        t->steps = xrealloc(t->steps, t->room * sizeof(*t->steps));
    }
    t->steps[t->n++] = (struct step){ (uint16_t)code, down, (uint16_t)wait_ms };
}

/* Behind what waits; a guest without a keyboard loses it. */
static void send_key(struct vm *vm, unsigned code, bool down)
{
    struct typist *t = faces_of(vm)->typist;
    bool waits = t && t->n;
    if ((!waits && give_key(vm, code, down)) || !input_available(vm, INPUT_KEYBOARD))
        return;
    t = typist_of(vm);
    if (waits && t->n - t->at >= MAX_WAITING && t->n_retries)
        return;
    if (t->n < MAX_STEPS)
        add_step(t, code, down, 0);
    if (!waits)
        type_in(t, RETRY_MS);
}

static struct error *check_room(const struct typist *t, size_t n)
{
    return t->n + n <= MAX_STEPS ? NULL : error_new("too much is still to be typed");
}

static void add_chord(struct typist *t, const unsigned *codes, size_t n, unsigned hold_ms)
{
    for (size_t i = 0; i < n; i++)
        add_step(t, codes[i], true, i + 1 == n ? hold_ms : 0);
    for (size_t i = n; i--;)
        add_step(t, codes[i], false, i ? 0 : TYPE_HOLD_MS);
}

struct error *keys_send(struct vm *vm, const unsigned *codes, size_t n, unsigned hold_ms)
{
    struct typist *t = typist_of(vm);
    if (!n || n > MAX_CHORD)
        return error_new("1 to %d keys can be pressed together, not %zu", MAX_CHORD, n);
    for (size_t i = 0; i < n; i++)
        if (!codes[i] || codes[i] >= N_KEYS)
            return error_new("%u is no key's code", codes[i]);
    struct error *err = check_room(t, 2 * n);
    if (err)
        return err;
    bool idle = !t->n;
    add_chord(t, codes, n, MIN(hold_ms ? hold_ms : DEFAULT_HOLD_MS, (unsigned)UINT16_MAX));
    if (idle)
        type_on(t);
    return NULL;
}

struct error *keys_send_names(struct vm *vm, const char *names, unsigned hold_ms)
{
    unsigned codes[MAX_CHORD];
    size_t n = 0;
    char *copy = xstrdup(names), *rest = copy, *name;
    struct error *err = NULL;
    while ((name = strsep(&rest, "-")) && !err) {
        unsigned code = key_by_name(!strcmp(name, "<") ? "less" : name);
        if (!code)
            err = error_new("there is no key '%s'", name);
        else if (n == MAX_CHORD)
            err = error_new("at most %d keys can be pressed together", MAX_CHORD);
        else
            codes[n++] = code;
    }
    free(copy);
    return err ? err : keys_send(vm, codes, n, hold_ms);
}

/* The next character of UTF-8; false: it is none, or overlong, or the end. */
static bool next_character(const char **text, uint32_t *c)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const uint8_t *p = (const uint8_t *)*text;
    unsigned n = *p < 0x80 ? 1 : *p >> 5 == 6 ? 2 : *p >> 4 == 14 ? 3 : *p >> 3 == 30 ? 4 : 0;
    if (!n)
        return false;
    *c = n == 1 ? *p : *p & (0x7f >> n);
    for (unsigned i = 1; i < n; i++) {
        if (p[i] >> 6 != 2)
            return false;
        *c = *c << 6 | (p[i] & 0x3f);
    }
    *text += n;
    return *c >= least[n];
}

struct error *keys_type(struct vm *vm, const char *text)
{
    struct typist *t = typist_of(vm);
    const struct keymap *map = keys_layout(vm);
    size_t before = t->n;
    struct error *err = NULL;
    for (const char *at = text; *at && !err;) {
        const char *from = at;
        unsigned codes[3];
        size_t n = 0;
        uint32_t c;
        struct keymap_entry key = { 0 };
        if (next_character(&at, &c))
            key = keymap_find(map, keysym_of(c));
        if (key.with & KEYMAP_SHIFT)
            codes[n++] = KEY_LEFTSHIFT;
        if (key.with & KEYMAP_ALTGR)
            codes[n++] = KEY_RIGHTALT;
        codes[n++] = key.code;
        err = key.code ? check_room(t, 2 * n)
                       : error_new("no key of the layout types what stands at byte %zu",
                                   (size_t)(from - text));
        if (!err)
            add_chord(t, codes, n, TYPE_HOLD_MS);
    }
    if (err)
        t->n = before; /* all of it or nothing */
    else if (!before)
        type_on(t);
    return err;
}

const struct keymap *keys_layout(struct vm *vm)
{
    struct faces *f = faces_of(vm);
    if (!f->layout)
        error_free(keymap_new(NULL, &f->layout)); /* a table: cannot fail */
    return f->layout;
}

struct error *keys_set_layout(struct vm *vm, const char *layout)
{
    struct faces *f = faces_of(vm);
    keymap_free(f->layout);
    f->layout = NULL;
    return error_in(keymap_new(layout, &f->layout), "-k");
}

void keys_end(struct vm *vm)
{
    struct faces *f = faces_of(vm);
    keymap_free(f->layout);
    f->layout = NULL;
    if (f->typist) {
        timer_free(f->typist->timer);
        free(f->typist->steps);
        free(f->typist);
    }
    f->typist = NULL;
}
