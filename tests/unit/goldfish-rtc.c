/* The real-time clock and the test finisher: small devices of the virt board. */
#include "board.h"

#include "hw/timer/goldfish_rtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

enum {
    TIME_LOW = 0x00,
    TIME_HIGH = 0x04,
    ALARM_LOW = 0x08,
    ALARM_HIGH = 0x0c,
    IRQ_ENABLED = 0x10,
    CLEAR_ALARM = 0x14,
    ALARM_STATUS = 0x18,
    CLEAR_INTERRUPT = 0x1c,
};

static struct board *rtc_board(void)
{
    struct board *b = board_with("goldfish-rtc", NULL);
    *goldfish_rtc_output(b->dev) = board_irq(b, 0);
    return b;
}

static uint64_t now(struct board *b)
{
    uint64_t low = board_read32(b, TIME_LOW);
    return low | (uint64_t)board_read32(b, TIME_HIGH) << 32;
}

static void set_alarm(struct board *b, uint64_t at)
{
    board_write32(b, ALARM_HIGH, (uint32_t)(at >> 32));
    board_write32(b, ALARM_LOW, (uint32_t)at);
}

static void clock_shows_the_hosts_time_of_day(void **unused)
{
    struct board *b = rtc_board();
    int64_t seconds = (int64_t)(now(b) / 1000000000);
    assert_true(llabs(seconds - (int64_t)time(NULL)) <= 1);
    board_free(b);
}

static void guest_can_set_the_clock(void **unused)
{
    struct board *b = rtc_board();
    board_write32(b, TIME_HIGH, 0x100);
    board_write32(b, TIME_LOW, 0);
    assert_true(now(b) - (UINT64_C(0x100) << 32) < 1000000000);
    device_reset(b->dev);
    assert_int_equal(now(b) >> 32, 0x100);
    board_free(b);
}

static void alarm_in_the_past_rings_at_once(void **unused)
{
    struct board *b = rtc_board();
    set_alarm(b, 5);
    assert_false(b->lines[0].level);
    board_write32(b, IRQ_ENABLED, 1);
    assert_true(b->lines[0].level);
    board_write32(b, CLEAR_INTERRUPT, 1);
    assert_false(b->lines[0].level);
    board_free(b);
}

static void cleared_alarm_does_not_ring(void **unused)
{
    struct board *b = rtc_board();
    board_write32(b, IRQ_ENABLED, 1);
    set_alarm(b, now(b) + 1000000000000);
    assert_int_equal(board_read32(b, ALARM_STATUS), 1);
    board_check(b);
    board_write32(b, CLEAR_ALARM, 1);
    assert_int_equal(board_read32(b, ALARM_STATUS), 0);
    board_advance_ns(b, 2000000000000);
    assert_false(b->lines[0].level);
    board_free(b);
}

static void finisher_passes_fails_and_resets(void **unused)
{
    static const struct {
        uint32_t value;
        enum verdict verdict;
        int code;
        bool reset;
    } cases[] = {
        { 0x5555, VERDICT_POWERED_OFF, 0, false },
        { 0x3333 | 7 << 16, VERDICT_GUEST_EXIT, 7, false },
        { 0x3333 | 256 << 16, VERDICT_GUEST_EXIT, 255, false },
        { 0x7777, VERDICT_NONE, 0, true },
        { 0x1234, VERDICT_NONE, 0, false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct board *b = board_with("sifive-test", NULL);
        board_write32(b, 4, cases[i].value);
        assert_int_equal(b->vm->verdict, VERDICT_NONE);
        board_write32(b, 0, cases[i].value);
        assert_int_equal(b->vm->verdict, cases[i].verdict);
        assert_int_equal(b->vm->exit_code, cases[i].code);
        assert_int_equal(b->vm->reset_wanted, cases[i].reset);
        board_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clock_shows_the_hosts_time_of_day),
        cmocka_unit_test(guest_can_set_the_clock),
        cmocka_unit_test(alarm_in_the_past_rings_at_once),
        cmocka_unit_test(cleared_alarm_does_not_ring),
        cmocka_unit_test(finisher_passes_fails_and_resets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
