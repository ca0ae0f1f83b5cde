/* Who asks for written pages: each asker hears of each write once, whoever looked before. */
#include "core/dirty_log.h"

#include "board.h"
#include "core/memory.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { PAGE = 4096 };

static uint64_t taken(struct dirty_log *log)
{
    uint64_t map[BOARD_RAM_SIZE / PAGE / 64] = { 0 };
    bool any = dirty_log_take(log, map);
    assert_int_equal(any, map[0] != 0);
    return map[0];
}

static void the_first_look_finds_everything(void **unused)
{
    struct board *b = board_new();
    struct dirty_log *log = dirty_log_new(b->vm, mem_region_ram(b->ram), 0, 10 * PAGE);
    assert_int_equal(taken(log), 0x3ff);
    assert_int_equal(taken(log), 0);
    dirty_log_free(log);
    board_free(b);
}

static void a_write_is_found_once(void **unused)
{
    struct board *b = board_new();
    struct dirty_log *log = dirty_log_new(b->vm, mem_region_ram(b->ram), 2 * PAGE, 10 * PAGE);
    taken(log);
    board_ram_write(b, 3 * PAGE - 1, "ab", 2); /* two pages */
    board_ram_write(b, 20 * PAGE, "x", 1);     /* not of this part */
    assert_int_equal(taken(log), 0x3);
    assert_int_equal(taken(log), 0);
    mem_mark_ram_written(b->vm, mem_region_ram(b->ram), 5 * PAGE, 1);
    assert_int_equal(taken(log), 0x8);
    dirty_log_free(log);
    board_free(b);
}

static void askers_do_not_take_from_each_other(void **unused)
{
    struct board *b = board_new();
    struct ram_block *ram = mem_region_ram(b->ram);
    struct dirty_log *one = dirty_log_new(b->vm, ram, 0, 64 * PAGE);
    struct dirty_log *two = dirty_log_new(b->vm, ram, 4 * PAGE, 4 * PAGE);
    taken(one);
    taken(two);
    board_ram_write(b, 5 * PAGE, "x", 1);
    assert_int_equal(taken(one), 0x20);
    board_ram_write(b, 6 * PAGE, "x", 1);
    assert_int_equal(taken(two), 0x6);
    assert_int_equal(taken(one), 0x40);
    dirty_log_free(one);
    board_ram_write(b, 7 * PAGE, "x", 1);
    assert_int_equal(taken(two), 0x8);
    dirty_log_free(two);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_look_finds_everything),
        cmocka_unit_test(a_write_is_found_once),
        cmocka_unit_test(askers_do_not_take_from_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
