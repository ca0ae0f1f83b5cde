/* The PC's timers: 8254, HPET, real-time clock. */
#include "board.h"

#include "core/clock.h"
#include "hw/timer/hpet.h"
#include "hw/timer/i8254.h"
#include "hw/timer/mc146818.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

#define MS 1000000ull

static unsigned edges(struct board *b, unsigned line)
{
    return b->lines[line].raised;
}

/* ---- 8254: a tick is 838 ns ------------------------------------------------------------------- */
static struct board *pit_board(void)
{
    struct board *b = board_with("isa-pit", NULL);
    *i8254_output(b->dev) = board_irq(b, 0);
    return b;
}

static void pit_program(struct board *b, unsigned counter, unsigned mode, unsigned count)
{
    board_write(b, 3, 1, counter << 6 | 0x30 | mode << 1);
    board_write(b, counter, 1, count & 0xff);
    board_write(b, counter, 1, count >> 8);
}

static unsigned pit_count(struct board *b, unsigned counter)
{
    board_write(b, 3, 1, counter << 6);
    unsigned low = (unsigned)board_read(b, counter, 1);
    return low | (unsigned)board_read(b, counter, 1) << 8;
}

static void rate_generator_ticks_at_its_rate(void **unused)
{
    struct board *b = pit_board();
    pit_program(b, 0, 2, 11932); /* 100 Hz */
    unsigned before = edges(b, 0);
    for (unsigned i = 0; i < 1000; i++)
        board_advance_ns(b, MS);
    assert_in_range(edges(b, 0) - before, 99, 100);
    board_free(b);
}

static void terminal_count_raises_the_line_once(void **unused)
{
    struct board *b = pit_board();
    pit_program(b, 0, 0, 1193);
    assert_false(b->lines[0].level);
    unsigned before = edges(b, 0);
    board_advance_ns(b, MS / 2);
    assert_in_range(pit_count(b, 0), 594, 598);
    assert_false(b->lines[0].level);
    board_advance_ns(b, MS / 2 + 1000);
    assert_true(b->lines[0].level);
    board_advance_ns(b, 100 * MS);
    assert_int_equal(edges(b, 0) - before, 1);
    board_free(b);
}

static void counter_2_is_gated_and_seen_through_port_b(void **unused)
{
    struct board *b = pit_board();
    gpa port_b = b->regions[1];
    board_poke(b, port_b, 1, 0);
    pit_program(b, 2, 0, 11931); /* 10 ms: how kernels calibrate their clocks */
    board_advance_ns(b, 20 * MS);
    assert_int_equal(board_peek(b, port_b, 1) & 0x21, 0);
    assert_int_equal(pit_count(b, 2), 11931);
    board_poke(b, port_b, 1, 1);
    board_advance_ns(b, 9 * MS);
    assert_int_equal(board_peek(b, port_b, 1) & 0x21, 0x01);
    board_poke(b, port_b, 1, 0); /* the gate holds the count */
    board_advance_ns(b, 9 * MS);
    board_poke(b, port_b, 1, 1);
    assert_int_equal(board_peek(b, port_b, 1) & 0x21, 0x01);
    board_advance_ns(b, MS + 1000);
    assert_int_equal(board_peek(b, port_b, 1) & 0x21, 0x21);
    board_free(b);
}

static void read_back_latches_status_and_count(void **unused)
{
    struct board *b = pit_board();
    board_write(b, 3, 1, 0x34);
    board_write(b, 3, 1, 0xe2);
    assert_int_equal(board_read(b, 0, 1), 0xf4); /* output high, no count yet, both bytes, mode 2 */
    board_write(b, 0, 1, 0x00);
    board_write(b, 0, 1, 0x10);
    board_write(b, 3, 1, 0xc2); /* both: status is read first */
    board_advance_ns(b, MS);
    assert_int_equal(board_read(b, 0, 1), 0xb4);
    assert_int_equal(board_read(b, 0, 1), 0x00);
    assert_int_equal(board_read(b, 0, 1), 0x10); /* as of the latch */
    board_free(b);
}

static void square_wave_is_high_for_half(void **unused)
{
    struct board *b = pit_board();
    gpa port_b = b->regions[1];
    board_poke(b, port_b, 1, 1);
    pit_program(b, 2, 3, 11932);
    board_advance_ns(b, 4 * MS);
    assert_true(board_peek(b, port_b, 1) & 0x20);
    board_advance_ns(b, 2 * MS);
    assert_false(board_peek(b, port_b, 1) & 0x20);
    board_free(b);
}

static void bcd_counts_decimal(void **unused)
{
    struct board *b = pit_board();
    board_write(b, 3, 1, 0x35);
    board_write(b, 0, 1, 0x34);
    board_write(b, 0, 1, 0x12);
    assert_int_equal(pit_count(b, 0), 0x1234);
    board_advance_ns(b, 30 * 838 + 500);
    assert_int_equal(pit_count(b, 0), 0x1204);
    board_free(b);
}

static void a_loaded_8254_goes_on(void **unused)
{
    struct board *b = pit_board();
    pit_program(b, 0, 2, 11932);
    board_advance_ns(b, 5 * MS);
    board_check(b);
    unsigned before = edges(b, 0);
    board_advance_ns(b, 6 * MS);
    assert_int_equal(edges(b, 0) - before, 1);
    board_free(b);
}

/* ---- HPET: a tick is 10 ns -------------------------------------------------------------------- */
enum { CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0, T0 = 0x100, T2 = 0x140 };

/* Line n is input n of the I/O APIC; 40 and 41 the legacy outputs. */
static struct board *hpet_board(void)
{
    struct board *b = board_with("hpet", NULL);
    for (unsigned n = 0; n < 32; n++)
        *hpet_output(b->dev, n) = board_irq(b, n);
    *hpet_legacy_output(b->dev, 0) = board_irq(b, 40);
    *hpet_legacy_output(b->dev, 1) = board_irq(b, 41);
    return b;
}

static void main_counter_runs_only_when_enabled(void **unused)
{
    struct board *b = hpet_board();
    assert_int_equal(board_read(b, 4, 4), 10000000);
    board_advance_ns(b, MS);
    assert_int_equal(board_read(b, COUNTER, 8), 0);
    board_write(b, CONFIG, 8, 1);
    board_advance_ns(b, MS);
    assert_int_equal(board_read(b, COUNTER, 8), 100000);
    board_write(b, CONFIG, 8, 0);
    board_advance_ns(b, MS);
    assert_int_equal(board_read(b, COUNTER, 8), 100000);
    board_write(b, COUNTER, 8, 5);
    board_write(b, CONFIG, 8, 1);
    board_advance_ns(b, 100);
    assert_int_equal(board_read(b, COUNTER, 4), 15);
    board_free(b);
}

static void one_shot_comparator_interrupts_by_its_route(void **unused)
{
    struct board *b = hpet_board();
    board_write(b, T2, 8, 20 << 9 | 4);
    board_write(b, T2 + 8, 8, 1000);
    board_write(b, CONFIG, 8, 1);
    board_advance_ns(b, 9990);
    assert_int_equal(edges(b, 20), 0);
    board_advance_ns(b, 10);
    assert_int_equal(edges(b, 20), 1);
    board_advance_ns(b, MS);
    assert_int_equal(edges(b, 20), 1);
    board_free(b);
}

static void level_stands_until_its_status_is_cleared(void **unused)
{
    struct board *b = hpet_board();
    board_write(b, T2, 8, 21 << 9 | 6);
    board_write(b, T2 + 8, 8, 1000);
    board_write(b, CONFIG, 8, 1);
    board_advance_ns(b, 20000);
    assert_true(b->lines[21].level);
    assert_int_equal(board_read(b, STATUS, 8), 4);
    board_write(b, STATUS, 8, 4);
    assert_false(b->lines[21].level);
    board_free(b);
}

static void periodic_comparator_repeats(void **unused)
{
    struct board *b = hpet_board();
    board_write(b, T0, 8, 16 << 9 | 0x4c); /* periodic, set value */
    board_write(b, T0 + 8, 8, 50000);
    board_write(b, T0 + 8, 8, 100000);
    board_write(b, CONFIG, 8, 1);
    board_advance_ns(b, MS / 2);
    assert_int_equal(edges(b, 16), 1);
    for (unsigned i = 0; i < 5; i++)
        board_advance_ns(b, MS);
    assert_int_equal(edges(b, 16), 6);
    board_free(b);
}

static void legacy_replacement_takes_the_lines_of_8254_and_clock(void **unused)
{
    struct board *b = hpet_board();
    struct irq pit = hpet_legacy_input(b->dev, 0);
    irq_set(&pit, true);
    assert_int_equal(edges(b, 40), 1);
    irq_set(&pit, false);
    board_write(b, T0, 8, 4);
    board_write(b, T0 + 8, 8, 100);
    board_write(b, CONFIG, 8, 3);
    irq_set(&pit, true);
    assert_int_equal(edges(b, 40), 1);
    board_advance_ns(b, 1000);
    assert_int_equal(edges(b, 40), 2);
    board_free(b);
}

static void a_32_bit_comparator_wraps(void **unused)
{
    struct board *b = hpet_board();
    board_write(b, COUNTER, 8, 0xfffffff0);
    board_write(b, T2, 8, 20 << 9 | 0x104);
    board_write(b, T2 + 8, 4, 0x10);
    board_write(b, CONFIG, 8, 1);
    board_advance_ns(b, 310);
    assert_int_equal(edges(b, 20), 0);
    board_advance_ns(b, 10);
    assert_int_equal(edges(b, 20), 1);
    board_free(b);
}

/* ---- real-time clock -------------------------------------------------------------------------- */
enum { A = 10, B = 11, C = 12 };

static uint8_t rtc_read(struct board *b, unsigned at)
{
    board_write(b, 0, 1, at);
    return (uint8_t)board_read(b, 1, 1);
}

static void rtc_write(struct board *b, unsigned at, uint8_t value)
{
    board_write(b, 0, 1, at);
    board_write(b, 1, 1, value);
}

/* 2024-02-28 23:59:58, set as kernels do; 24 hours, BCD; the next second begins in half a second. */
static struct board *rtc_board(void)
{
    struct board *b = board_with("mc146818rtc", NULL);
    static const uint8_t time[][2] = { { 0, 0x58 }, { 2, 0x59 }, { 4, 0x23 },   { 7, 0x28 },
                                       { 8, 0x02 }, { 9, 0x24 }, { 0x32, 0x20 } };
    *mc146818_output(b->dev) = board_irq(b, 8);
    rtc_write(b, B, 0x82);
    rtc_write(b, A, 0x76);
    for (size_t i = 0; i < ARRAY_LEN(time); i++)
        rtc_write(b, time[i][0], time[i][1]);
    rtc_write(b, B, 0x02);
    rtc_write(b, A, 0x26);
    return b;
}

static void time_that_was_set_goes_on(void **unused)
{
    struct board *b = rtc_board();
    assert_int_equal(rtc_read(b, 0), 0x58);
    assert_int_equal(rtc_read(b, 6), 4); /* a Wednesday */
    board_advance_ns(b, 600 * MS);
    assert_int_equal(rtc_read(b, 0), 0x59);
    board_advance_ns(b, 1000 * MS);
    assert_int_equal(rtc_read(b, 0), 0x00);
    assert_int_equal(rtc_read(b, 4), 0x00);
    assert_int_equal(rtc_read(b, 7), 0x29);
    assert_int_equal(rtc_read(b, 8), 0x02);
    board_free(b);
}

/* -rtc base= */
static void time_starts_where_it_is_told(void **unused)
{
    struct board *b = board_new();
    b->vm->rtc_offset_ns = ((int64_t)2000000000 - (int64_t)time(NULL)) * 1000000000;
    board_add(b, "mc146818rtc", NULL);
    assert_int_equal(rtc_read(b, 0x32), 0x20);
    assert_int_equal(rtc_read(b, 9), 0x33); /* 2033-05-18 03:33:20 */
    assert_int_equal(rtc_read(b, 8), 0x05);
    assert_int_equal(rtc_read(b, 7), 0x18);
    assert_int_equal(rtc_read(b, 4), 0x03);
    assert_int_equal(rtc_read(b, 2), 0x33);
    board_free(b);
}

static void time_reads_in_every_format(void **unused)
{
    struct board *b = rtc_board();
    rtc_write(b, B, 0x06);
    assert_int_equal(rtc_read(b, 4), 23);
    assert_int_equal(rtc_read(b, 2), 59);
    rtc_write(b, B, 0x04);
    assert_int_equal(rtc_read(b, 4), 0x80 | 11);
    rtc_write(b, B, 0x00);
    assert_int_equal(rtc_read(b, 4), 0x91);
    board_advance_ns(b, 2000 * MS);
    assert_int_equal(rtc_read(b, 4), 0x12); /* midnight */
    board_free(b);
}

static void update_in_progress_shows_before_the_second(void **unused)
{
    struct board *b = rtc_board();
    assert_int_equal(rtc_read(b, A), 0x26);
    board_advance_ns(b, 499900000);
    assert_int_equal(rtc_read(b, A), 0xa6);
    board_advance_ns(b, 200000);
    assert_int_equal(rtc_read(b, A), 0x26);
    assert_int_equal(rtc_read(b, 0), 0x59);
    board_free(b);
}

static void update_interrupt_comes_each_second_and_needs_reading_c(void **unused)
{
    struct board *b = rtc_board();
    rtc_read(b, C);
    rtc_write(b, B, 0x12);
    board_advance_ns(b, 600 * MS);
    assert_true(b->lines[8].level);
    board_advance_ns(b, 1000 * MS);
    assert_int_equal(edges(b, 8), 1);
    assert_int_equal(rtc_read(b, C) & 0x90, 0x90);
    assert_false(b->lines[8].level);
    board_advance_ns(b, 1000 * MS);
    assert_true(b->lines[8].level);
    board_free(b);
}

static void alarm_rings_at_its_time(void **unused)
{
    struct board *b = rtc_board();
    *mc146818_alarm(b->dev) = board_irq(b, 9);
    rtc_write(b, 1, 0x10);
    rtc_write(b, 3, 0x00);
    rtc_write(b, 5, 0xff); /* any hour */
    rtc_read(b, C);
    rtc_write(b, B, 0x22);
    board_advance_ns(b, 11000 * MS);
    assert_false(b->lines[8].level);
    assert_int_equal(b->lines[9].raised, 0);
    board_advance_ns(b, 600 * MS);
    assert_true(b->lines[8].level);
    assert_int_equal(b->lines[9].raised, 1);
    assert_int_equal(rtc_read(b, C) & 0xa0, 0xa0);
    board_free(b);
}

/* The guest looks every 10 ms for a second, then every quarter of one: in the end it has seen all ticks. */
static unsigned ticks_seen(const char *policy)
{
    struct board *b = board_with("mc146818rtc", "lost_tick_policy", policy, NULL);
    unsigned n = 0;
    *mc146818_output(b->dev) = board_irq(b, 8);
    rtc_read(b, C);
    rtc_write(b, B, 0x42);
    for (unsigned i = 0; i < 100 + 8000; i++) {
        board_advance_ns(b, i < 100 ? 10 * MS : MS / 4);
        if (b->lines[8].level && rtc_read(b, C) & 0x40)
            n++;
    }
    board_free(b);
    return n;
}

static void lost_periodic_interrupts_are_given_later_if_wanted(void **unused)
{
    assert_in_range(ticks_seen("slew"), 3060, 3080);
    assert_in_range(ticks_seen("discard"), 2130, 2160);
}

static void periodic_interrupt_at_1024_hz(void **unused)
{
    struct board *b = rtc_board();
    unsigned n = 0;
    rtc_read(b, C);
    rtc_write(b, B, 0x42);
    for (unsigned i = 0; i < 4000; i++) {
        board_advance_ns(b, MS / 4);
        if (b->lines[8].level) {
            assert_int_equal(rtc_read(b, C) & 0xc0, 0xc0);
            n++;
        }
    }
    assert_in_range(n, 1022, 1025);
    rtc_write(b, B, 0x02); /* the flag comes without the interrupt too */
    rtc_read(b, C);
    board_advance_ns(b, MS);
    assert_int_equal(rtc_read(b, C) & 0xc0, 0x40);
    board_free(b);
}

static void cmos_memory_survives_a_reset(void **unused)
{
    struct board *b = rtc_board();
    mc146818_set_cmos(b->dev, 0x34, 0xab);
    rtc_write(b, 0x40, 0xcd);
    rtc_write(b, B, 0x72);
    device_reset(b->dev);
    assert_int_equal(rtc_read(b, 0x34), 0xab);
    assert_int_equal(rtc_read(b, 0xc0), 0xcd); /* bit 7 of the index is no part of it */
    assert_int_equal(rtc_read(b, B), 0x02);
    assert_int_equal(rtc_read(b, 0), 0x58);
    board_check(b);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rate_generator_ticks_at_its_rate),
        cmocka_unit_test(terminal_count_raises_the_line_once),
        cmocka_unit_test(counter_2_is_gated_and_seen_through_port_b),
        cmocka_unit_test(read_back_latches_status_and_count),
        cmocka_unit_test(square_wave_is_high_for_half),
        cmocka_unit_test(bcd_counts_decimal),
        cmocka_unit_test(a_loaded_8254_goes_on),
        cmocka_unit_test(main_counter_runs_only_when_enabled),
        cmocka_unit_test(one_shot_comparator_interrupts_by_its_route),
        cmocka_unit_test(level_stands_until_its_status_is_cleared),
        cmocka_unit_test(periodic_comparator_repeats),
        cmocka_unit_test(legacy_replacement_takes_the_lines_of_8254_and_clock),
        cmocka_unit_test(a_32_bit_comparator_wraps),
        cmocka_unit_test(time_that_was_set_goes_on),
        cmocka_unit_test(time_starts_where_it_is_told),
        cmocka_unit_test(time_reads_in_every_format),
        cmocka_unit_test(update_in_progress_shows_before_the_second),
        cmocka_unit_test(update_interrupt_comes_each_second_and_needs_reading_c),
        cmocka_unit_test(alarm_rings_at_its_time),
        cmocka_unit_test(periodic_interrupt_at_1024_hz),
        cmocka_unit_test(lost_periodic_interrupts_are_given_later_if_wanted),
        cmocka_unit_test(cmos_memory_survives_a_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
