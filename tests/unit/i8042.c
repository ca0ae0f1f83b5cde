/* The keyboard controller with a PS/2 keyboard and mouse. */
#include "board.h"

#include "hw/input/i8042.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { DATA = 0, COMMAND = 4, KEY_A = 30, KEY_F7 = 65, KEY_UP = 103, KEY_PAUSE = 119 };

static void command(struct board *b, uint8_t v)
{
    board_write(b, COMMAND, 1, v);
}

static void data(struct board *b, uint8_t v)
{
    board_write(b, DATA, 1, v);
}

static uint8_t status(struct board *b)
{
    return (uint8_t)board_read(b, COMMAND, 1);
}

/* The next byte; it must be there. */
static uint8_t take(struct board *b)
{
    assert_true(status(b) & 1);
    return (uint8_t)board_read(b, DATA, 1);
}

static void expect(struct board *b, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(take(b), (uint8_t)bytes[i]);
    assert_false(status(b) & 1);
}
#define EXPECT(b, text) expect((b), (text), sizeof(text) - 1)

static void mouse(struct board *b, uint8_t v)
{
    command(b, 0xd4);
    data(b, v);
}

/* Interrupts on, translated, as PC firmware leaves it. Lines are those of enum i8042_line. */
static struct board *kbc_board(void)
{
    struct board *b = board_with("i8042", NULL);
    for (unsigned i = 0; i < I8042_N_LINES; i++)
        *i8042_output(b->dev, i) = board_irq(b, i);
    device_reset(b->dev);
    command(b, 0x60);
    data(b, 0x47);
    return b;
}

static void key(struct board *b, uint16_t code, bool down)
{
    assert_true(input_send_event(b->vm, INPUT_KEYBOARD,
                                 &(struct input_event){ INPUT_EV_KEY, code, down }, 1));
}

static void controller_and_keyboard_pass_their_tests(void **unused)
{
    struct board *b = kbc_board();
    command(b, 0xaa);
    EXPECT(b, "\x55");
    assert_true(status(b) & 4);
    command(b, 0xab);
    EXPECT(b, "\x00");
    command(b, 0x20);
    EXPECT(b, "\x47");
    data(b, 0xff);
    EXPECT(b, "\xfa\xaa");
    data(b, 0xf2);
    EXPECT(b, "\xfa\xab\x41"); /* 0x83, translated */
    board_free(b);
}

static void keys_are_translated_to_set_1(void **unused)
{
    struct board *b = kbc_board();
    key(b, KEY_A, true);
    assert_true(b->lines[I8042_KEYBOARD].level);
    EXPECT(b, "\x1e");
    assert_false(b->lines[I8042_KEYBOARD].level);
    key(b, KEY_A, false);
    EXPECT(b, "\x9e");
    key(b, KEY_UP, true);
    key(b, KEY_UP, false);
    EXPECT(b, "\xe0\x48\xe0\xc8");
    key(b, KEY_F7, true);
    EXPECT(b, "\x41");
    key(b, KEY_PAUSE, true);
    EXPECT(b, "\xe1\x1d\x45\xe1\x9d\xc5");
    board_free(b);
}

static void each_byte_is_an_edge(void **unused)
{
    struct board *b = kbc_board();
    key(b, KEY_UP, true);
    unsigned before = b->lines[I8042_KEYBOARD].raised;
    take(b);
    assert_int_equal(b->lines[I8042_KEYBOARD].raised, before + 1);
    assert_true(b->lines[I8042_KEYBOARD].level);
    board_free(b);
}

static void untranslated_keys_are_set_2_or_1(void **unused)
{
    struct board *b = kbc_board();
    command(b, 0x60);
    data(b, 0x07);
    key(b, KEY_UP, true);
    key(b, KEY_UP, false);
    EXPECT(b, "\xe0\x75\xe0\xf0\x75");
    data(b, 0xf0);
    EXPECT(b, "\xfa");
    data(b, 1);
    EXPECT(b, "\xfa");
    key(b, KEY_UP, false);
    EXPECT(b, "\xe0\xc8");
    data(b, 0xf0);
    data(b, 3);
    EXPECT(b, "\xfa\xfe"); /* there is no set 3 */
    board_free(b);
}

static void leds_are_the_guests(void **unused)
{
    struct board *b = kbc_board();
    data(b, 0xed);
    data(b, 0x04); /* caps lock */
    EXPECT(b, "\xfa\xfa");
    assert_int_equal(input_leds(b->vm), 2);
    board_free(b);
}

static void a_silenced_keyboard_takes_no_keys(void **unused)
{
    struct board *b = kbc_board();
    data(b, 0xf5);
    EXPECT(b, "\xfa");
    assert_false(input_available(b->vm, INPUT_KEYBOARD));
    assert_false(input_send_event(b->vm, INPUT_KEYBOARD,
                                  &(struct input_event){ INPUT_EV_KEY, KEY_A, 1 }, 1));
    board_free(b);
}

static void a_stopped_clock_holds_keys_back(void **unused)
{
    struct board *b = kbc_board();
    command(b, 0xad);
    key(b, KEY_A, true);
    assert_false(status(b) & 1);
    command(b, 0xae);
    EXPECT(b, "\x1e");
    board_free(b);
}

static void mouse_reports_movement_and_buttons(void **unused)
{
    struct board *b = kbc_board();
    static const struct input_event events[] = { { INPUT_EV_REL, 0, 5 },
                                                 { INPUT_EV_REL, 1, 3 },
                                                 { INPUT_EV_KEY, 0x110, 1 } };
    mouse(b, 0xff);
    assert_true(status(b) & 0x20);
    EXPECT(b, "\xfa\xaa\x00");
    assert_false(input_available(b->vm, INPUT_MOUSE));
    mouse(b, 0xf4);
    EXPECT(b, "\xfa");
    assert_true(input_send_event(b->vm, INPUT_MOUSE, events, 3));
    assert_true(b->lines[I8042_MOUSE].level);
    EXPECT(b, "\x29\x05\xfd"); /* up is positive here */
    board_free(b);
}

static void a_long_way_takes_several_packets(void **unused)
{
    struct board *b = kbc_board();
    mouse(b, 0xf4);
    EXPECT(b, "\xfa");
    input_send_event(b->vm, INPUT_MOUSE, &(struct input_event){ INPUT_EV_REL, 0, (uint32_t)-300 },
                     1);
    EXPECT(b, "\x18\x01\x00\x18\xd3\x00");
    board_free(b);
}

static void three_knocks_bring_the_wheel(void **unused)
{
    struct board *b = kbc_board();
    static const uint8_t rates[] = { 200, 100, 80 };
    for (unsigned i = 0; i < 3; i++) {
        mouse(b, 0xf3);
        mouse(b, rates[i]);
        EXPECT(b, "\xfa\xfa");
    }
    mouse(b, 0xf2);
    EXPECT(b, "\xfa\x03");
    mouse(b, 0xf4);
    EXPECT(b, "\xfa");
    input_send_event(b->vm, INPUT_MOUSE, &(struct input_event){ INPUT_EV_REL, 8, 1 }, 1);
    EXPECT(b, "\x08\x00\x00\xff");
    board_free(b);
}

static void controller_can_speak_for_the_mouse(void **unused)
{
    struct board *b = kbc_board();
    command(b, 0xd3);
    data(b, 0x5a);
    assert_int_equal(status(b) & 0x21, 0x21);
    EXPECT(b, "\x5a");
    board_free(b);
}

static void both_gates_of_line_20_and_the_reset_work(void **unused)
{
    struct board *b = kbc_board();
    gpa port92 = b->regions[1];
    assert_true(b->lines[I8042_A20].level);
    command(b, 0xd1);
    data(b, 0xdd);
    assert_false(b->lines[I8042_A20].level);
    board_poke(b, port92, 1, 2);
    assert_true(b->lines[I8042_A20].level);
    assert_int_equal(board_peek(b, port92, 1), 2);
    assert_false(b->vm->reset_wanted);
    command(b, 0xfe);
    assert_true(b->vm->reset_wanted);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controller_and_keyboard_pass_their_tests),
        cmocka_unit_test(keys_are_translated_to_set_1),
        cmocka_unit_test(each_byte_is_an_edge),
        cmocka_unit_test(untranslated_keys_are_set_2_or_1),
        cmocka_unit_test(leds_are_the_guests),
        cmocka_unit_test(a_silenced_keyboard_takes_no_keys),
        cmocka_unit_test(a_stopped_clock_holds_keys_back),
        cmocka_unit_test(mouse_reports_movement_and_buttons),
        cmocka_unit_test(a_long_way_takes_several_packets),
        cmocka_unit_test(three_knocks_bring_the_wheel),
        cmocka_unit_test(controller_can_speak_for_the_mouse),
        cmocka_unit_test(both_gates_of_line_20_and_the_reset_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
