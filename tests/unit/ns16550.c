/* The 16550A serial port. */
#include "board.h"

#include "core/chardev.h"
#include "core/error.h"
#include "hw/char/ns16550.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { DATA = 0, IER = 1, IIR = 2, FCR = 2, LCR = 3, MCR = 4, LSR = 5, MSR = 6, SCR = 7 };

static struct chardev *line;

static struct board *uart_board(void)
{
    struct board *b = board_new();
    assert_null(chardev_add(b->vm, "c0", "ringbuf", &line));
    board_add(b, "ns16550a", "chardev", "c0", NULL);
    *ns16550_output(b->dev) = board_irq(b, 0);
    return b;
}

static uint8_t in(struct board *b, unsigned at)
{
    return (uint8_t)board_read(b, at, 1);
}

static void out(struct board *b, unsigned at, uint8_t v)
{
    board_write(b, at, 1, v);
}

static void type(struct board *b, const char *text)
{
    chardev_feed(line, (const uint8_t *)text, strlen(text));
    board_step(b);
}

static void written_characters_reach_the_back_end(void **unused)
{
    struct board *b = uart_board();
    uint8_t got[8];
    assert_int_equal(in(b, LSR), 0x60);
    for (const char *c = "hello"; *c; c++)
        out(b, DATA, (uint8_t)*c);
    assert_int_equal(in(b, LSR), 0x60);
    board_advance_ns(b, 10000000);
    assert_int_equal(chardev_ringbuf_read(line, got, sizeof(got)), 5);
    assert_memory_equal(got, "hello", 5);
    board_free(b);
}

static void typed_characters_are_read_in_order(void **unused)
{
    struct board *b = uart_board();
    out(b, FCR, 0x01);
    type(b, "ab");
    assert_int_equal(in(b, LSR) & 1, 1);
    assert_int_equal(in(b, DATA), 'a');
    assert_int_equal(in(b, DATA), 'b');
    assert_int_equal(in(b, LSR) & 1, 0);
    board_free(b);
}

static void more_than_the_fifo_holds_is_not_lost(void **unused)
{
    struct board *b = uart_board();
    const char *text = "0123456789abcdefghijklmnopqrstuvwxyz";
    out(b, FCR, 0x01);
    type(b, text);
    for (const char *c = text; *c; c++) {
        board_step(b);
        assert_int_equal(in(b, DATA), *c);
    }
    assert_int_equal(in(b, LSR) & 3, 0);
    board_free(b);
}

static void enabling_thre_interrupts_until_iir_is_read(void **unused)
{
    struct board *b = uart_board();
    assert_int_equal(in(b, IIR), 0x01);
    out(b, IER, 0x02);
    assert_true(b->lines[0].level);
    assert_int_equal(in(b, IIR), 0x02);
    assert_false(b->lines[0].level);
    assert_int_equal(in(b, IIR), 0x01);
    out(b, DATA, 'x');
    assert_true(b->lines[0].level);
    board_free(b);
}

static void receive_interrupt_waits_for_the_trigger_level(void **unused)
{
    struct board *b = uart_board();
    out(b, FCR, 0x41); /* four */
    out(b, IER, 0x01);
    type(b, "abc");
    assert_false(b->lines[0].level);
    type(b, "d");
    assert_true(b->lines[0].level);
    assert_int_equal(in(b, IIR), 0xc4);
    in(b, DATA);
    assert_false(b->lines[0].level);
    board_free(b);
}

static void few_characters_time_out(void **unused)
{
    struct board *b = uart_board();
    out(b, FCR, 0xc1);
    out(b, IER, 0x01);
    type(b, "a");
    assert_false(b->lines[0].level);
    board_advance_ns(b, 1000000000);
    assert_true(b->lines[0].level);
    assert_int_equal(in(b, IIR), 0xcc);
    assert_int_equal(in(b, DATA), 'a');
    assert_false(b->lines[0].level);
    board_free(b);
}

static void loopback_gives_back_characters_and_modem_lines(void **unused)
{
    struct board *b = uart_board();
    uint8_t got;
    out(b, MCR, 0x1f);
    assert_int_equal(in(b, MSR) & 0xf0, 0xf0);
    out(b, MCR, 0x12);                  /* RTS */
    assert_int_equal(in(b, MSR), 0x1e); /* CTS; DSR, DCD went, RI's trailing edge */
    assert_int_equal(in(b, MSR), 0x10);
    out(b, DATA, 0x5a);
    assert_int_equal(in(b, LSR) & 1, 1);
    assert_int_equal(in(b, DATA), 0x5a);
    board_advance_ns(b, 10000000);
    assert_int_equal(chardev_ringbuf_read(line, &got, 1), 0);
    board_free(b);
}

static void loopback_overrun_is_reported_once(void **unused)
{
    struct board *b = uart_board();
    out(b, MCR, 0x10);
    out(b, IER, 0x04);
    out(b, DATA, 1);
    out(b, DATA, 2);
    assert_int_equal(in(b, IIR), 0x06);
    assert_int_equal(in(b, LSR) & 0x03, 0x03);
    assert_int_equal(in(b, LSR) & 0x03, 0x01);
    assert_int_equal(in(b, DATA), 2);
    board_free(b);
}

static void divisor_hides_behind_dlab(void **unused)
{
    struct board *b = uart_board();
    out(b, IER, 0x0f);
    out(b, LCR, 0x83);
    out(b, 0, 0x34);
    out(b, 1, 0x12);
    assert_int_equal(in(b, 0), 0x34);
    assert_int_equal(in(b, 1), 0x12);
    out(b, LCR, 0x03);
    assert_int_equal(in(b, IER), 0x0f);
    assert_int_equal(in(b, LCR), 0x03);
    board_free(b);
}

static void scratch_keeps_eight_bits(void **unused)
{
    struct board *b = uart_board();
    out(b, SCR, 0xa5);
    assert_int_equal(in(b, SCR), 0xa5);
    board_free(b);
}

static void port_without_a_back_end_swallows_output(void **unused)
{
    struct board *b = board_with("ns16550a", NULL);
    out(b, DATA, 'x');
    assert_int_equal(in(b, LSR), 0x60);
    assert_int_equal(in(b, MSR), 0);
    board_free(b);
}

static void fifo_survives_a_snapshot(void **unused)
{
    struct board *b = uart_board();
    out(b, FCR, 0x81);
    out(b, IER, 0x01);
    type(b, "abc");
    board_check(b);
    assert_int_equal(in(b, DATA), 'a');
    assert_int_equal(in(b, DATA), 'b');
    assert_int_equal(in(b, DATA), 'c');
    board_free(b);
}

static void a_pc_has_it_at_io_ports(void **unused)
{
    struct board *b = board_new();
    uint32_t value;
    assert_null(chardev_add(b->vm, "c0", "ringbuf", &line));
    struct device *uart = board_add(b, "isa-serial", "chardev", "c0", "iobase", "0x3f8", NULL);
    *ns16550_output(uart) = board_irq(b, 4);
    mem_port_write(b->vm, 0x3f8 + IER, 1, 1);
    chardev_feed(line, (const uint8_t *)"x", 1);
    board_step(b);
    assert_true(b->lines[4].level);
    assert_true(mem_port_read(b->vm, 0x3f8 + DATA, 1, &value));
    assert_int_equal(value, 'x');
    assert_false(b->lines[4].level);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pc_has_it_at_io_ports),
        cmocka_unit_test(written_characters_reach_the_back_end),
        cmocka_unit_test(typed_characters_are_read_in_order),
        cmocka_unit_test(more_than_the_fifo_holds_is_not_lost),
        cmocka_unit_test(enabling_thre_interrupts_until_iir_is_read),
        cmocka_unit_test(receive_interrupt_waits_for_the_trigger_level),
        cmocka_unit_test(few_characters_time_out),
        cmocka_unit_test(loopback_gives_back_characters_and_modem_lines),
        cmocka_unit_test(loopback_overrun_is_reported_once),
        cmocka_unit_test(divisor_hides_behind_dlab),
        cmocka_unit_test(scratch_keeps_eight_bits),
        cmocka_unit_test(port_without_a_back_end_swallows_output),
        cmocka_unit_test(fifo_survives_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
