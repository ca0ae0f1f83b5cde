/* The platform-level interrupt controller: gateways, priorities, claims. */
#include "board.h"

#include "hw/intc/plic.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PRIORITY = 0, PENDING = 0x1000, ENABLE = 0x2000, THRESHOLD = 0x200000, CLAIM = 0x200004 };
#define ENABLE_OF(context)    (ENABLE + (context)*0x80)
#define THRESHOLD_OF(context) (THRESHOLD + (context)*0x1000)
#define CLAIM_OF(context)     (CLAIM + (context)*0x1000)

/* Line n of the board is context n. */
static struct board *plic_board(void)
{
    struct board *b = board_with("sifive-plic", "num-contexts", "4", "num-sources", "95", NULL);
    for (unsigned c = 0; c < 4; c++)
        *plic_output(b->dev, c) = board_irq(b, c);
    return b;
}

static void set_source(struct board *b, unsigned source, bool level)
{
    struct irq irq = plic_input(b->dev, source);
    irq_set(&irq, level);
}

static void enable(struct board *b, unsigned context, unsigned source, unsigned priority)
{
    uint64_t word = ENABLE_OF(context) + source / 32 * 4;
    board_write32(b, PRIORITY + 4 * source, priority);
    board_write32(b, word, board_read32(b, word) | 1u << source % 32);
}

static void enabled_source_raises_the_line_of_its_context_only(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 10, 1);
    set_source(b, 10, true);
    assert_true(b->lines[1].level);
    assert_false(b->lines[0].level);
    assert_int_equal(board_read32(b, PENDING), 1 << 10);
    board_free(b);
}

static void masked_source_is_not_claimed(void **unused)
{
    struct board *b = plic_board();
    board_write32(b, PRIORITY + 4 * 10, 7);
    set_source(b, 10, true);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 0);
    assert_false(board_line_was_raised(b, 1));
    board_free(b);
}

static void source_of_priority_0_never_interrupts(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 10, 0);
    set_source(b, 10, true);
    assert_false(board_line_was_raised(b, 1));
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 0);
    board_free(b);
}

static void priority_at_the_threshold_does_not_notify(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 10, 3);
    board_write32(b, THRESHOLD_OF(1), 3);
    set_source(b, 10, true);
    assert_false(b->lines[1].level);
    board_write32(b, THRESHOLD_OF(1), 2);
    assert_true(b->lines[1].level);
    board_free(b);
}

static void claims_come_by_priority_then_by_number(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 40, 2);
    enable(b, 1, 9, 2);
    enable(b, 1, 95, 5);
    set_source(b, 40, true);
    set_source(b, 9, true);
    set_source(b, 95, true);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 95);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 9);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 40);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 0);
    assert_false(b->lines[1].level);
    board_free(b);
}

static void claimed_source_is_pending_again_only_after_completion(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 10, 1);
    set_source(b, 10, true);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 10);
    assert_false(b->lines[1].level);
    set_source(b, 10, false);
    set_source(b, 10, true);
    assert_int_equal(board_read32(b, PENDING), 0);
    board_write32(b, CLAIM_OF(1), 10);
    assert_true(b->lines[1].level);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 10);
    set_source(b, 10, false);
    board_write32(b, CLAIM_OF(1), 10);
    assert_false(b->lines[1].level);
    board_free(b);
}

static void completion_by_a_context_that_has_not_enabled_it_is_ignored(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 10, 1);
    set_source(b, 10, true);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 10);
    board_write32(b, CLAIM_OF(0), 10);
    board_write32(b, CLAIM_OF(1), 5000);
    assert_false(b->lines[1].level);
    board_write32(b, CLAIM_OF(1), 10);
    assert_true(b->lines[1].level);
    board_free(b);
}

static void one_context_takes_what_two_were_told(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 10, 1);
    enable(b, 3, 10, 1);
    set_source(b, 10, true);
    assert_true(b->lines[1].level && b->lines[3].level);
    assert_int_equal(board_read32(b, CLAIM_OF(3)), 10);
    assert_false(b->lines[1].level || b->lines[3].level);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 0);
    board_free(b);
}

static void what_does_not_exist_reads_zero(void **unused)
{
    struct board *b = plic_board();
    board_write32(b, PRIORITY, 7);           /* source 0 */
    board_write32(b, PRIORITY + 4 * 96, 7);  /* beyond the last */
    board_write32(b, PRIORITY + 4 * 95, ~0); /* three bits */
    board_write32(b, ENABLE_OF(0), ~0u);
    board_write32(b, ENABLE_OF(0) + 12, ~0u);
    board_write32(b, ENABLE_OF(4), ~0u);
    board_write32(b, PENDING, ~0u);
    assert_int_equal(board_read32(b, PRIORITY), 0);
    assert_int_equal(board_read32(b, PRIORITY + 4 * 96), 0);
    assert_int_equal(board_read32(b, PRIORITY + 4 * 95), 7);
    assert_int_equal(board_read32(b, ENABLE_OF(0)), ~1u);
    assert_int_equal(board_read32(b, ENABLE_OF(0) + 12), 0);
    assert_int_equal(board_read32(b, ENABLE_OF(4)), 0);
    assert_int_equal(board_read32(b, PENDING), 0);
    board_free(b);
}

static void reset_keeps_a_wire_that_is_still_high_pending(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 10, 1);
    set_source(b, 10, true);
    assert_int_equal(board_read32(b, CLAIM_OF(1)), 10);
    device_reset(b->dev);
    assert_false(b->lines[1].level);
    assert_int_equal(board_read32(b, PENDING), 1 << 10);
    assert_int_equal(board_read32(b, ENABLE_OF(1)), 0);
    board_free(b);
}

static void state_survives_a_snapshot(void **unused)
{
    struct board *b = plic_board();
    enable(b, 1, 10, 1);
    enable(b, 2, 33, 6);
    set_source(b, 10, true);
    set_source(b, 33, true);
    board_read32(b, CLAIM_OF(2));
    board_check(b);
    assert_true(b->lines[1].level);
    assert_false(b->lines[2].level);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enabled_source_raises_the_line_of_its_context_only),
        cmocka_unit_test(masked_source_is_not_claimed),
        cmocka_unit_test(source_of_priority_0_never_interrupts),
        cmocka_unit_test(priority_at_the_threshold_does_not_notify),
        cmocka_unit_test(claims_come_by_priority_then_by_number),
        cmocka_unit_test(claimed_source_is_pending_again_only_after_completion),
        cmocka_unit_test(completion_by_a_context_that_has_not_enabled_it_is_ignored),
        cmocka_unit_test(one_context_takes_what_two_were_told),
        cmocka_unit_test(what_does_not_exist_reads_zero),
        cmocka_unit_test(reset_keeps_a_wire_that_is_still_high_pending),
        cmocka_unit_test(state_survives_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
