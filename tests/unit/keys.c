/* Keys: names, scan codes, layouts, what a viewer holds down, what is typed for the user. The guest is a
 * notebook: input_send_event, input_leds and input_available are wrapped. */
#include "ui/keys.h"

#include "board.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "hw/input/input.h"
#include "tandem-config.h"
#include "ui/faces.h"
#include "ui/pointer.h"

#include <linux/input-event-codes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct {
    char text[4096]; /* "+30" pressed, "-30" let go, "x5" moved, "X100" placed */
    uint32_t leds;
    bool tablet, full; /* full: takes no key now */
} guest;

bool __wrap_input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                             size_t n);
uint32_t __wrap_input_leds(struct vm *vm);
bool __wrap_input_available(struct vm *vm, enum input_kind kind);

bool __wrap_input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                             size_t n)
{
    for (size_t i = 0; i < n && !guest.full; i++) {
        size_t at = strlen(guest.text);
        const struct input_event *e = &events[i];
        if (e->type == INPUT_EV_KEY)
            snprintf(guest.text + at, sizeof(guest.text) - at, "%c%u ", e->value ? '+' : '-',
                     e->code);
        else
            snprintf(guest.text + at, sizeof(guest.text) - at, "%c%d ",
                     (e->type == INPUT_EV_REL ? "xy......w" : "XY")[e->code], (int)e->value);
    }
    return !guest.full;
}

uint32_t __wrap_input_leds(struct vm *vm)
{
    return guest.leds;
}

bool __wrap_input_available(struct vm *vm, enum input_kind kind)
{
    return kind != INPUT_TABLET || guest.tablet;
}

static struct vm *new_vm(void)
{
    struct vm *vm;
    memset(&guest, 0, sizeof(guest));
    assert_null(vm_new(&vm));
    return vm;
}

static void free_vm(struct vm *vm)
{
    faces_free(vm);
    vm_free(vm);
}

/* What the guest got since the last time. */
static void assert_got(const char *expected)
{
    assert_string_equal(guest.text, expected);
    guest.text[0] = 0;
}

static void names_are_qmps(void **unused)
{
    assert_int_equal(key_by_name("ctrl"), KEY_LEFTCTRL);
    assert_int_equal(key_by_name("spc"), KEY_SPACE);
    assert_int_equal(key_by_name("f12"), KEY_F12);
    assert_int_equal(key_by_name("0x9d"), KEY_RIGHTCTRL);
    assert_int_equal(key_by_name("0x1e"), KEY_A);
    assert_int_equal(key_by_name("nonsense"), 0);
    assert_int_equal(key_by_name("0x1ff"), 0);
    assert_string_equal(key_name(KEY_ENTER), "ret");
    assert_null(key_name(KEY_RESERVED));
}

static void scan_codes_lead_back(void **unused)
{
    for (unsigned code = 1; code < 256; code++)
        if (key_scancode(code))
            assert_int_equal(key_by_scancode(key_scancode(code)), code);
    assert_int_equal(key_by_scancode(0xc8), KEY_UP);
    assert_int_equal(key_by_scancode(0x45), KEY_NUMLOCK);
    assert_int_equal(key_by_scancode(0x80), 0);
    assert_int_equal(key_by_scancode(1000), 0);
}

static void what_is_held_is_let_go(void **unused)
{
    struct vm *vm = new_vm();
    struct keyboard *kb = keyboard_new(vm);
    keyboard_key(kb, KEY_A, true);
    keyboard_key(kb, KEY_A, true);
    keyboard_key(kb, KEY_LEFTCTRL, true);
    keyboard_key(kb, KEY_B, false);
    keyboard_key(kb, 0, true);
    keyboard_key(kb, 100000, true);
    assert_got("+30 +29 ");
    keyboard_free(kb);
    assert_got("-29 -30 ");
    free_vm(vm);
}

static void symbols_press_what_the_layout_needs(void **unused)
{
    struct vm *vm = new_vm();
    struct keyboard *kb = keyboard_new(vm);
    const struct keymap *us = keys_layout(vm);
    keyboard_keysym(kb, us, 'a', true);
    keyboard_keysym(kb, us, 'a', false);
    assert_got("+30 -30 ");
    /* '?' of a layout that has it without Shift */
    keyboard_keysym(kb, us, '?', true);
    keyboard_keysym(kb, us, '?', false);
    assert_got("+42 +53 -42 -53 ");
    /* '/' with Shift, as on a German keyboard */
    keyboard_keysym(kb, us, 0xffe1, true);
    keyboard_keysym(kb, us, '/', true);
    keyboard_keysym(kb, us, '/', false);
    keyboard_keysym(kb, us, 0xffe1, false);
    assert_got("+42 -42 +53 +42 -53 -42 ");
    /* let go under another name: Shift went first */
    keyboard_keysym(kb, us, 0x20ac, true);
    keyboard_keysym(kb, us, 0x20ac, false);
    assert_got("");
    keyboard_keysym(kb, us, 0xff0d, true);
    keyboard_release_all(kb);
    assert_got("+28 -28 ");
    keyboard_free(kb);
    free_vm(vm);
}

static void letters_come_out_as_the_user_sees_them(void **unused)
{
    struct vm *vm = new_vm();
    struct keyboard *kb = keyboard_new(vm);
    const struct keymap *us = keys_layout(vm);
    keyboard_keysym(kb, us, 'A', true); /* the user's Caps Lock, or a program */
    assert_got("+42 +30 -42 ");
    guest.leds = 2;
    keyboard_keysym(kb, us, 'C', true);
    assert_got("+46 ");
    keyboard_keysym(kb, us, 'd', true);
    assert_got("+42 +32 -42 ");
    keyboard_keysym(kb, us, 0xffe5, true); /* Caps Lock; the guest has not read it yet */
    keyboard_keysym(kb, us, 'e', true);
    assert_got("+58 +18 ");
    keyboard_free(kb);
    free_vm(vm);
}

static void lock_lights_follow_the_users(void **unused)
{
    struct vm *vm = new_vm();
    struct keyboard *kb = keyboard_new(vm);
    keyboard_note_letter(kb, 'A');
    assert_got("+58 -58 ");
    keyboard_note_letter(kb, 'B'); /* the guest is slow: not again */
    assert_got("");
    keyboard_note_letter(kb, 'c');
    assert_got("+58 -58 ");
    keyboard_sync_locks(kb, 1, 1); /* num lock */
    keyboard_sync_locks(kb, 1, 1);
    assert_got("+69 -69 ");
    keyboard_free(kb);
    free_vm(vm);
}

static void layouts_are_known_by_name(void **unused)
{
#ifdef HAVE_XKBCOMMON
    struct keymap *map;
    assert_null(keymap_new("de", &map));
    assert_int_equal(keymap_find(map, 'z').code, KEY_Y);
    assert_int_equal(keymap_find(map, '@').code, KEY_Q);
    assert_int_equal(keymap_find(map, '@').with, KEYMAP_ALTGR);
    assert_int_equal(keymap_find(map, 0xfc).code, KEY_LEFTBRACE);
    assert_int_equal(keymap_find(map, '"').with, KEYMAP_SHIFT);
    assert_int_equal(keymap_find(map, keysym_of(0x20ac)).code, KEY_E);
    keymap_free(map);
    assert_null(keymap_new("de-ch", &map));
    assert_int_equal(keymap_find(map, 0xe9).with, KEYMAP_SHIFT);
    keymap_free(map);
    assert_null(keymap_new("ru", &map));
    assert_int_equal(keymap_find(map, keysym_of(0x444)).code, KEY_A);
    assert_int_equal(keymap_find(map, 'a').code, KEY_A);
    keymap_free(map);
    struct error *err = keymap_new("xx-nowhere", &map);
    assert_non_null(err);
    error_free(err);
#else
    print_message("# without libxkbcommon\n");
    skip();
#endif
}

static void wait_for(struct vm *vm, const char *last)
{
    for (int i = 0; i < 2000 && !strstr(guest.text, last); i++)
        loop_once(vm->loop, 5);
}

static void keys_are_sent_together(void **unused)
{
    struct vm *vm = new_vm();
    vm_start(vm);
    assert_null(keys_send_names(vm, "ctrl-alt-f1", 1));
    assert_null(keys_send_names(vm, "0x1e", 1));
    wait_for(vm, "-30");
    assert_got("+29 +56 +59 -59 -56 -29 +30 -30 ");
    struct error *err = keys_send_names(vm, "ctrl-altt-f1", 1);
    assert_string_equal(error_text(err), "there is no key 'altt'");
    error_free(err);
    err = keys_send_names(vm, "a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a", 1);
    assert_non_null(err);
    error_free(err);
    assert_got("");
    vm_pause(vm);
    free_vm(vm);
}

static void a_full_keyboard_gets_keys_later(void **unused)
{
    struct vm *vm = new_vm();
    struct keyboard *kb = keyboard_new(vm);
    vm_start(vm);
    guest.full = true;
    keyboard_key(kb, KEY_A, true);
    keyboard_key(kb, KEY_A, false);
    for (int i = 0; i < 5; i++)
        loop_once(vm->loop, 1);
    guest.full = false;
    keyboard_key(kb, KEY_B, true);
    wait_for(vm, "+48");
    assert_got("+30 -30 +48 ");
    keyboard_free(kb);
    guest.full = true;
    for (int i = 0; i < 1000; i++) /* nobody ever takes them: nothing grows */
        assert_null(error_in(keys_send_names(vm, "a", 1), "a"));
    vm_pause(vm);
    free_vm(vm);
}

static void text_is_typed(void **unused)
{
    struct vm *vm = new_vm();
    vm_start(vm);
    assert_null(keys_type(vm, "aB\n"));
    wait_for(vm, "-28");
    assert_got("+30 -30 +42 +48 -48 -42 +28 -28 ");
    struct error *err = keys_type(vm, "a\xc3\xa4z");
    assert_non_null(err);
    error_free(err);
    err = keys_type(vm, "\xc0\x80");
    assert_non_null(err);
    error_free(err);
    for (int i = 0; i < 20; i++)
        loop_once(vm->loop, 1);
    assert_got("");
    vm_pause(vm);
    free_vm(vm);
}

static void a_mouse_moves_and_a_tablet_is_placed(void **unused)
{
    struct vm *vm = new_vm();
    struct pointer p;
    pointer_init(&p, vm);
    pointer_place(&p, 10, 10, 640, 480, 0);
    assert_got("");
    pointer_place(&p, 15, 8, 640, 480, POINTER_LEFT);
    assert_got("x5 y-2 +272 ");
    pointer_wheel(&p, -1, 0);
    assert_got("w-1 ");
    guest.tablet = true;
    pointer_place(&p, 639, 0, 640, 480, 0);
    assert_got("X32767 Y0 -272 ");
    pointer_place(&p, 5000, -7, 640, 480, POINTER_RIGHT);
    assert_got("X32767 Y0 +273 ");
    struct pointer_info mice[MAX_POINTERS];
    assert_int_equal(pointers_list(vm, mice), 2);
    assert_true(mice[0].current && mice[0].absolute);
    assert_null(pointers_choose(vm, 1));
    assert_false(pointer_is_absolute(vm));
    struct error *err = pointers_choose(vm, 2);
    assert_non_null(err);
    error_free(err);
    pointer_end(&p);
    assert_got("-273 ");
    free_vm(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_qmps),
        cmocka_unit_test(scan_codes_lead_back),
        cmocka_unit_test(what_is_held_is_let_go),
        cmocka_unit_test(symbols_press_what_the_layout_needs),
        cmocka_unit_test(letters_come_out_as_the_user_sees_them),
        cmocka_unit_test(lock_lights_follow_the_users),
        cmocka_unit_test(layouts_are_known_by_name),
        cmocka_unit_test(keys_are_sent_together),
        cmocka_unit_test(a_full_keyboard_gets_keys_later),
        cmocka_unit_test(text_is_typed),
        cmocka_unit_test(a_mouse_moves_and_a_tablet_is_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
