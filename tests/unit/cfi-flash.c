/* NOR flash: commands as drivers give them, to both chips at once. */
#include "board.h"

#include "block/block.h"
#include "core/backends.h"
#include "core/error.h"
#include "core/loop.h"
#include "hw/storage/cfi_flash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define AT            0x10000000
#define BOTH(command) ((uint32_t)(command) << 16 | (command))

static struct board *flash_board(void)
{
    return board_with("cfi.pflash01", "addr", "0x10000000", "size", "1M", NULL);
}

static uint32_t get(struct board *b, uint32_t off)
{
    return (uint32_t)board_peek(b, AT + off, 4);
}

static void put(struct board *b, uint32_t off, uint32_t v)
{
    board_poke(b, AT + off, 4, v);
}

static void erase(struct board *b, uint32_t off)
{
    put(b, off, BOTH(0x20));
    put(b, off, BOTH(0xd0));
    assert_int_equal(get(b, off), BOTH(0x80));
    put(b, off, BOTH(0xff));
}

static void program(struct board *b, uint32_t off, uint32_t v)
{
    put(b, off, BOTH(0x40));
    put(b, off, v);
    assert_int_equal(get(b, off), BOTH(0x80));
    put(b, off, BOTH(0xff));
}

static void array_mode_is_memory_in_the_map(void **unused)
{
    struct board *b = flash_board();
    assert_non_null(mem_view_find(mem_view_now(b->vm), AT)->ram);
    put(b, 0, BOTH(0x70));
    assert_null(mem_view_find(mem_view_now(b->vm), AT)->ram);
    put(b, 0, BOTH(0xff));
    assert_non_null(mem_view_find(mem_view_now(b->vm), AT)->ram);
    board_free(b);
}

static void query_describes_two_chips_side_by_side(void **unused)
{
    struct board *b = flash_board();
    put(b, 0x55 * 4, BOTH(0x98));
    assert_int_equal(get(b, 0x10 * 4), BOTH('Q'));
    assert_int_equal(get(b, 0x11 * 4), BOTH('R'));
    assert_int_equal(get(b, 0x12 * 4), BOTH('Y'));
    assert_int_equal(get(b, 0x13 * 4), BOTH(1));
    assert_int_equal(get(b, 0x27 * 4), BOTH(19)); /* half of 1 MiB each */
    assert_int_equal(get(b, 0x2d * 4), BOTH(3));  /* four blocks */
    assert_int_equal(get(b, 0x30 * 4), BOTH(2));  /* of 128 KiB = 0x200 * 256 */
    assert_int_equal(board_peek(b, AT + 0x12 * 4 + 2, 1), 'Y');
    board_free(b);
}

static void id_is_intels(void **unused)
{
    struct board *b = flash_board();
    put(b, 0, BOTH(0x90));
    assert_int_equal(get(b, 0), BOTH(0x89));
    assert_int_equal(get(b, 4), BOTH(0x18));
    put(b, 0, BOTH(0xff));
    board_free(b);
}

static void erased_blocks_are_ones_and_programming_clears_bits(void **unused)
{
    struct board *b = flash_board();
    program(b, 0x40000, 0x12345678);
    assert_int_equal(get(b, 0x40000), 0); /* new flash here is all zero */
    erase(b, 0x40004);
    assert_int_equal(get(b, 0x40000), 0xffffffff);
    assert_int_equal(get(b, 0x7fffc), 0xffffffff);
    assert_int_equal(get(b, 0x3fffc), 0);
    assert_int_equal(get(b, 0x80000), 0);
    program(b, 0x40000, 0x12345678);
    program(b, 0x40000, 0xffff0000);
    assert_int_equal(get(b, 0x40000), 0x12340000);
    board_free(b);
}

static void buffered_write_programs_at_the_confirmation(void **unused)
{
    struct board *b = flash_board();
    erase(b, 0);
    put(b, 0x100, BOTH(0xe8));
    put(b, 0x100, BOTH(1)); /* two words */
    put(b, 0x100, 0x11111111);
    put(b, 0x104, 0x22222222);
    put(b, 0x100, BOTH(0xd0));
    assert_int_equal(get(b, 0x100), BOTH(0x80));
    put(b, 0, BOTH(0xff));
    assert_int_equal(get(b, 0x100), 0x11111111);
    assert_int_equal(get(b, 0x104), 0x22222222);
    assert_int_equal(get(b, 0x108), 0xffffffff);
    board_free(b);
}

static void broken_sequences_are_reported_in_the_status(void **unused)
{
    struct board *b = flash_board();
    put(b, 0, BOTH(0x20));
    put(b, 0, BOTH(0x40)); /* not a confirmation */
    assert_int_equal(get(b, 0), BOTH(0xb0));
    put(b, 0, BOTH(0x50));
    assert_int_equal(get(b, 0), BOTH(0x80));
    put(b, 0, BOTH(0xe8));
    put(b, 0, BOTH(0xffff)); /* more than the buffer holds */
    board_check(b);
    assert_int_equal(get(b, 0), BOTH(0xb0));
    put(b, 0, BOTH(0x50));
    put(b, 0, BOTH(0xe8));
    put(b, 0, BOTH(1));
    put(b, 0, 1);
    put(b, 0x2000, 1); /* another buffer */
    assert_int_equal(get(b, 0), BOTH(0xb0));
    board_free(b);
}

static void reset_returns_to_array_mode(void **unused)
{
    struct board *b = flash_board();
    erase(b, 0);
    put(b, 0, BOTH(0x90));
    device_reset(b->dev);
    assert_int_equal(get(b, 0), 0xffffffff);
    cfi_flash_follow(b->dev);
    assert_non_null(mem_view_find(mem_view_now(b->vm), AT)->ram);
    board_free(b);
}

static void command_state_survives_a_snapshot(void **unused)
{
    struct board *b = flash_board();
    put(b, 0x100, BOTH(0xe8));
    put(b, 0x100, BOTH(1));
    put(b, 0x100, 0);
    board_check(b);
    put(b, 0x104, 0);
    put(b, 0x100, BOTH(0xd0));
    assert_int_equal(get(b, 0), BOTH(0x80));
    board_free(b);
}

/* ---- with an image ---------------------------------------------------------------------------- */
static void close_blk(void *blk)
{
    blk_close(blk);
}

static struct board *board_with_image(const char *path, bool readonly)
{
    struct board *b = board_new();
    struct blk *blk;
    assert_null(blk_open(b->vm, &(struct blk_options){ .file = path, .readonly = readonly }, &blk));
    assert_null(backend_add(b->vm, BACKEND_DRIVE, "d0", blk, close_blk));
    board_add(b, "cfi.pflash01", "addr", "0x10000000", "size", "1M", "drive", "d0", NULL);
    return b;
}

static void make_image(char *path, size_t n)
{
    strcpy(path, "/tmp/tandem-flash-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "firmware", 8, 4096), 8);
    assert_int_equal(ftruncate(fd, (off_t)n), 0);
    close(fd);
}

static void image_is_there_and_keeps_what_is_programmed(void **unused)
{
    char path[64];
    uint8_t word[4];
    make_image(path, 1024 * 1024);
    struct board *b = board_with_image(path, false);
    assert_int_equal(get(b, 4096), load_le("firm", 4));
    erase(b, 0x80000);
    program(b, 0x80010, 0xcafef00d);
    board_free(b);
    FILE *f = fopen(path, "rb");
    fseek(f, 0x80010, SEEK_SET);
    assert_int_equal(fread(word, 1, 4, f), 4);
    fclose(f);
    unlink(path);
    assert_int_equal(load_le(word, 4), 0xcafef00d);
}

static void readonly_image_is_locked(void **unused)
{
    char path[64];
    make_image(path, 1024 * 1024);
    struct board *b = board_with_image(path, true);
    put(b, 4096, BOTH(0x40));
    put(b, 4096, 0);
    assert_int_equal(get(b, 4096), BOTH(0x92));
    put(b, 4096, BOTH(0x50));
    put(b, 4096, BOTH(0xff));
    assert_int_equal(get(b, 4096), load_le("firm", 4));
    board_free(b);
    unlink(path);
}

static void image_larger_than_the_flash_is_refused(void **unused)
{
    char path[64];
    make_image(path, 2 * 1024 * 1024);
    struct board *b = board_new();
    struct blk *blk;
    assert_null(blk_open(b->vm, &(struct blk_options){ .file = path }, &blk));
    assert_null(backend_add(b->vm, BACKEND_DRIVE, "d0", blk, close_blk));
    char *text = board_refuses(b, "cfi.pflash01", "size", "1M", "drive", "d0", NULL);
    assert_non_null(strstr(text, "2097152"));
    free(text);
    board_free(b);
    unlink(path);
}

/* OVMF tells flash from RAM and ROM by what it reads after these commands (QemuFlashDetected). */
static void a_pcs_chip_takes_bytes_and_small_blocks(void **unused)
{
    struct board *b = board_with("cfi.pflash01", "addr", "0x10000000", "size", "20K", "block", "4K",
                                 "width", "1", NULL);
    board_poke(b, AT + 0x1234, 1, 0x50);
    board_poke(b, AT + 0x1234, 1, 0x70);
    assert_int_equal(board_peek(b, AT + 0x1234, 1), 0);
    board_poke(b, AT + 0x1234, 1, 0xff);
    board_poke(b, AT + 0x1000, 1, 0x20); /* erase */
    board_poke(b, AT + 0x1000, 1, 0xd0);
    assert_int_equal(board_peek(b, AT + 0x1000, 1), 0x80);
    board_poke(b, AT + 0x1000, 1, 0xff);
    assert_int_equal(board_peek(b, AT + 0x0ffe, 4), 0xffff0000);
    assert_int_equal(board_peek(b, AT + 0x1ffe, 4), 0x0000ffff);
    board_poke(b, AT + 0x1801, 1, 0x10); /* program a byte */
    board_poke(b, AT + 0x1801, 1, 0xa5);
    board_poke(b, AT + 0x1801, 1, 0xff);
    assert_int_equal(board_peek(b, AT + 0x1800, 4), 0xffffa5ff);
    board_poke(b, AT, 1, 0x90);
    assert_int_equal(board_peek(b, AT, 2), 0x1889);
    board_free(b);
    b = board_new();
    free(board_refuses(b, "cfi.pflash01", "size", "20K", NULL)); /* two chips want a power of two */
    board_free(b);
}

static void a_secure_chip_listens_to_system_management_mode_alone(void **unused)
{
    struct board *b =
        board_with("cfi.pflash01", "addr", "0x10000000", "size", "1M", "secure", "on", NULL);
    struct vcpu *cpu = board_add_vcpu(b);
    cpu->self = pthread_self();
    atomic_store(&cpu->is_alive, true);
    put(b, 0, BOTH(0x70));
    assert_int_equal(get(b, 0), 0); /* the array still */
    cpu->in_smm = true;
    erase(b, 0);
    program(b, 0, 0x12345678);
    put(b, 0, BOTH(0x70));
    assert_int_equal(get(b, 0), BOTH(0x80));
    cpu->in_smm = false;
    assert_int_equal(get(b, 0), 0x12345678); /* its answer is not for others */
    put(b, 0, BOTH(0xff));
    cpu->in_smm = true;
    assert_int_equal(get(b, 0), BOTH(0x80));
    atomic_store(&cpu->is_alive, false);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(array_mode_is_memory_in_the_map),
        cmocka_unit_test(query_describes_two_chips_side_by_side),
        cmocka_unit_test(id_is_intels),
        cmocka_unit_test(erased_blocks_are_ones_and_programming_clears_bits),
        cmocka_unit_test(buffered_write_programs_at_the_confirmation),
        cmocka_unit_test(broken_sequences_are_reported_in_the_status),
        cmocka_unit_test(reset_returns_to_array_mode),
        cmocka_unit_test(command_state_survives_a_snapshot),
        cmocka_unit_test(image_is_there_and_keeps_what_is_programmed),
        cmocka_unit_test(readonly_image_is_locked),
        cmocka_unit_test(image_larger_than_the_flash_is_refused),
        cmocka_unit_test(a_pcs_chip_takes_bytes_and_small_blocks),
        cmocka_unit_test(a_secure_chip_listens_to_system_management_mode_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
