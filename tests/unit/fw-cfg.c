/* Firmware configuration: registers, directory, DMA. */
#include "board.h"

#include "core/error.h"
#include "hw/firmware/fw_cfg.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { DATA = 0, SELECTOR = 8, DMA = 16 };
enum { READ = 2, SKIP = 4, SELECT = 8, WRITE = 16 };

static struct board *fw_board(void)
{
    struct board *b = board_with("fw-cfg-mmio", NULL);
    assert_null(fw_cfg_add_file(b->dev, "opt/one", "abcdef", 6));
    assert_null(fw_cfg_add_file(b->dev, "etc/two", "XY", 2));
    return b;
}

static void select_key(struct board *b, uint16_t key)
{
    board_write(b, SELECTOR, 2, __builtin_bswap16(key));
}

/* A request in RAM at 0, its data at 0x1000; returns the control word afterwards. */
static uint32_t dma(struct board *b, uint32_t control, uint32_t n, gpa to)
{
    uint8_t request[16];
    store_be(request, 4, control);
    store_be(request + 4, 4, n);
    store_be(request + 8, 8, to);
    board_ram_write(b, 0, request, sizeof(request));
    board_write(b, DMA, 8, __builtin_bswap64(BOARD_RAM));
    board_ram_read(b, 0, request, 4);
    return (uint32_t)load_be(request, 4);
}

static void signature_is_read_byte_by_byte(void **unused)
{
    struct board *b = fw_board();
    select_key(b, FW_CFG_SIGNATURE);
    assert_int_equal(board_read(b, DATA, 1), 'Q');
    assert_int_equal(board_read(b, DATA, 1), 'E');
    assert_int_equal(board_read(b, DATA, 2), 'M' | 'U' << 8);
    assert_int_equal(board_read(b, DATA, 1), 0);
    board_free(b);
}

static void dma_signature_is_big_endian_text(void **unused)
{
    struct board *b = fw_board();
    uint64_t value = board_read(b, DMA, 8);
    assert_memory_equal(&value, "QEMU CFG", 8);
    board_free(b);
}

static void directory_lists_files_big_endian(void **unused)
{
    struct board *b = fw_board();
    uint8_t dir[4 + 2 * 64];
    assert_int_equal(dma(b, FW_CFG_FILE_DIR << 16 | SELECT | READ, sizeof(dir), BOARD_RAM + 0x1000),
                     0);
    board_ram_read(b, 0x1000, dir, sizeof(dir));
    assert_int_equal(load_be(dir, 4), 2);
    assert_int_equal(load_be(dir + 4, 4), 6);
    assert_int_equal(load_be(dir + 8, 2), FW_CFG_FILE_FIRST);
    assert_string_equal((char *)dir + 12, "opt/one");
    assert_int_equal(load_be(dir + 68, 4), 2);
    assert_string_equal((char *)dir + 76, "etc/two");
    board_free(b);
}

static void dma_reads_skips_and_fills_with_zeros(void **unused)
{
    struct board *b = fw_board();
    char got[8];
    board_ram_write(b, 0x1000, "########", 8);
    assert_int_equal(dma(b, FW_CFG_FILE_FIRST << 16 | SELECT | SKIP, 2, 0), 0);
    assert_int_equal(dma(b, READ, 7, BOARD_RAM + 0x1000), 0);
    board_ram_read(b, 0x1000, got, 8);
    assert_memory_equal(got, "cdef\0\0\0#", 8);
    board_free(b);
}

static void dma_to_nowhere_or_writing_sets_the_error_bit(void **unused)
{
    struct board *b = fw_board();
    assert_int_equal(dma(b, FW_CFG_FILE_FIRST << 16 | SELECT | READ, 4, 0x1000), 1);
    assert_int_equal(dma(b, FW_CFG_FILE_FIRST << 16 | SELECT | READ, UINT32_MAX, BOARD_RAM), 1);
    assert_int_equal(dma(b, FW_CFG_FILE_FIRST << 16 | SELECT | WRITE, 4, BOARD_RAM + 0x1000), 1);
    assert_int_equal(dma(b, SKIP, UINT32_MAX, 0), 0);
    board_write(b, DMA, 8, __builtin_bswap64(0x10)); /* the request itself is nowhere */
    board_free(b);
}

static void dma_starts_with_the_low_half_of_the_address(void **unused)
{
    struct board *b = fw_board();
    uint8_t request[16];
    char got[2];
    store_be(request, 4, (FW_CFG_FILE_FIRST + 1) << 16 | SELECT | READ);
    store_be(request + 4, 4, 2);
    store_be(request + 8, 8, BOARD_RAM + 0x1000);
    board_ram_write(b, 0, request, sizeof(request));
    board_write32(b, DMA, 0);
    board_write32(b, DMA + 4, __builtin_bswap32((uint32_t)BOARD_RAM));
    board_ram_read(b, 0x1000, got, 2);
    assert_memory_equal(got, "XY", 2);
    board_free(b);
}

static void unknown_items_are_empty(void **unused)
{
    struct board *b = fw_board();
    select_key(b, 0xffff);
    assert_int_equal(board_read(b, DATA, 8), 0);
    board_free(b);
}

static void names_are_unique_and_short(void **unused)
{
    struct board *b = fw_board();
    struct error *err = fw_cfg_add_file(b->dev, "opt/one", "", 0);
    assert_non_null(err);
    error_free(err);
    err =
        fw_cfg_add_file(b->dev, "a/name/of/fifty/six/characters/is/one/more/than/fits/now", "", 0);
    assert_non_null(err);
    error_free(err);
    board_free(b);
}

static void position_survives_a_snapshot(void **unused)
{
    struct board *b = fw_board();
    select_key(b, FW_CFG_FILE_FIRST);
    board_read(b, DATA, 2);
    board_check(b);
    assert_int_equal(board_read(b, DATA, 1), 'c');
    board_free(b);
}

/* Ports 0x510 to 0x51b. */
static void a_pc_reads_it_by_ports(void **unused)
{
    struct board *b = board_with("fw_cfg_io", "iobase", "0x510", NULL);
    uint32_t value;
    uint8_t request[16], text[6];
    fw_cfg_add_u32(b->dev, FW_CFG_ARCH + 2, 0x01020304);
    assert_null(fw_cfg_add_file(b->dev, "opt/one", "abcdef", 6));
    assert_true(mem_port_write(b->vm, 0x510, 2, FW_CFG_ARCH + 2));
    for (uint32_t i = 4; i > 0; i--) {
        assert_true(mem_port_read(b->vm, 0x511, 1, &value));
        assert_int_equal(value, i);
    }
    assert_true(mem_port_read(b->vm, 0x514, 4, &value));
    assert_memory_equal(&value, "QEMU", 4);
    store_be(request, 4, FW_CFG_FILE_FIRST << 16 | SELECT | READ);
    store_be(request + 4, 4, 6);
    store_be(request + 8, 8, BOARD_RAM + 0x1000);
    board_ram_write(b, 0, request, sizeof(request));
    mem_port_write(b->vm, 0x514, 4, 0);
    mem_port_write(b->vm, 0x518, 4, __builtin_bswap32(BOARD_RAM));
    board_ram_read(b, 0x1000, text, 6);
    assert_memory_equal(text, "abcdef", 6);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pc_reads_it_by_ports),
        cmocka_unit_test(signature_is_read_byte_by_byte),
        cmocka_unit_test(dma_signature_is_big_endian_text),
        cmocka_unit_test(directory_lists_files_big_endian),
        cmocka_unit_test(dma_reads_skips_and_fills_with_zeros),
        cmocka_unit_test(dma_to_nowhere_or_writing_sets_the_error_bit),
        cmocka_unit_test(dma_starts_with_the_low_half_of_the_address),
        cmocka_unit_test(unknown_items_are_empty),
        cmocka_unit_test(names_are_unique_and_short),
        cmocka_unit_test(position_survives_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
