/* Software interrupts and the machine timer. */
#include "board.h"

#include "hw/intc/clint.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define TICK_NS   100
#define CMP(hart) ((hart)*8)

static struct board *timer_board(void)
{
    struct board *b = board_with("riscv-aclint-mtimer", "num-harts", "2", NULL);
    for (unsigned h = 0; h < 2; h++)
        *aclint_mtimer_output(b->dev, h) = board_irq(b, h);
    return b;
}

static struct board *swi_board(const char *sswi)
{
    struct board *b = board_with("riscv-aclint-swi", "num-harts", "2", "sswi", sswi, NULL);
    for (unsigned h = 0; h < 2; h++)
        *aclint_swi_output(b->dev, h) = board_irq(b, h);
    return b;
}

static void mtime_counts_ten_million_a_second(void **unused)
{
    struct board *b = timer_board();
    uint64_t before = board_read(b, ACLINT_MTIME_AT, 8);
    board_advance_ns(b, 1000000000);
    assert_int_equal(board_read(b, ACLINT_MTIME_AT, 8) - before, 10000000);
    board_free(b);
}

static void mtip_rises_when_mtime_reaches_mtimecmp_and_not_before(void **unused)
{
    struct board *b = timer_board();
    uint64_t now = board_read(b, ACLINT_MTIME_AT, 8);
    board_write(b, CMP(1), 8, now + 50);
    board_advance_ns(b, 49 * TICK_NS);
    assert_false(b->lines[1].level);
    board_advance_ns(b, TICK_NS);
    assert_true(b->lines[1].level);
    assert_false(b->lines[0].level);
    board_free(b);
}

static void later_mtimecmp_takes_mtip_back(void **unused)
{
    struct board *b = timer_board();
    board_advance_ns(b, 1000);
    board_write(b, CMP(0), 8, 1);
    assert_true(b->lines[0].level);
    board_write(b, CMP(0), 8, UINT64_MAX);
    assert_false(b->lines[0].level);
    board_advance_ns(b, 1000000);
    assert_false(b->lines[0].level);
    board_free(b);
}

static void mtimecmp_is_written_in_halves(void **unused)
{
    struct board *b = timer_board();
    board_write32(b, CMP(0) + 4, 0x12345678);
    board_write32(b, CMP(0), 0x9abcdef0);
    assert_true(board_read(b, CMP(0), 8) == UINT64_C(0x123456789abcdef0));
    assert_int_equal(board_read32(b, CMP(0)), 0x9abcdef0);
    assert_int_equal(board_read32(b, CMP(0) + 4), 0x12345678);
    board_free(b);
}

static void count_jumps(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void writing_mtime_moves_deadlines_and_tells(void **unused)
{
    struct board *b = timer_board();
    unsigned jumps = 0;
    aclint_mtimer_on_jump(b->dev, count_jumps, &jumps);
    board_write(b, CMP(0), 8, 1000000);
    board_write(b, ACLINT_MTIME_AT, 8, 999999);
    assert_int_equal(jumps, 1);
    assert_false(b->lines[0].level);
    board_advance_ns(b, TICK_NS);
    assert_true(b->lines[0].level);
    assert_int_equal(aclint_mtime(b->dev), 1000000);
    board_free(b);
}

static void harts_that_do_not_exist_have_no_registers(void **unused)
{
    struct board *b = timer_board();
    board_write(b, CMP(2), 8, 1);
    assert_int_equal(board_read(b, CMP(2), 8), 0);
    board_free(b);
}

static void timer_survives_a_snapshot(void **unused)
{
    struct board *b = timer_board();
    board_advance_ns(b, 12345);
    board_write(b, CMP(0), 8, board_read(b, ACLINT_MTIME_AT, 8) + 10);
    board_check(b);
    board_advance_ns(b, 10 * TICK_NS);
    assert_true(b->lines[0].level);
    board_free(b);
}

static void msip_is_the_line(void **unused)
{
    struct board *b = swi_board("off");
    board_write32(b, 4, 0xffffffff);
    assert_int_equal(board_read32(b, 4), 1);
    assert_true(b->lines[1].level);
    assert_false(b->lines[0].level);
    board_check(b);
    board_write32(b, 4, 2);
    assert_int_equal(board_read32(b, 4), 0);
    assert_false(b->lines[1].level);
    board_free(b);
}

static void setssip_pulses_and_reads_zero(void **unused)
{
    struct board *b = swi_board("on");
    board_write32(b, 0, 0);
    assert_int_equal(b->lines[0].raised, 0);
    board_write32(b, 0, 1);
    assert_int_equal(b->lines[0].raised, 1);
    assert_int_equal(board_read32(b, 0), 0);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mtime_counts_ten_million_a_second),
        cmocka_unit_test(mtip_rises_when_mtime_reaches_mtimecmp_and_not_before),
        cmocka_unit_test(later_mtimecmp_takes_mtip_back),
        cmocka_unit_test(mtimecmp_is_written_in_halves),
        cmocka_unit_test(writing_mtime_moves_deadlines_and_tells),
        cmocka_unit_test(harts_that_do_not_exist_have_no_registers),
        cmocka_unit_test(timer_survives_a_snapshot),
        cmocka_unit_test(msip_is_the_line),
        cmocka_unit_test(setssip_pulses_and_reads_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
