/* edu and pc-testdev. */
#include "hw/misc/pc_testdev.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { EDU = 3 << 3 };
extern const struct device_class edu_class, pci_testdev_class;

static struct board *b;
static gpa bar;

static struct guest *edu_guest(void)
{
    struct guest *g = guest_new();
    guest_add(g, &edu_class, "addr", "3", "dma_mask", "0xffffffff", NULL);
    guest_place_bars(g, EDU);
    b = g->b;
    bar = guest_config_read(g, EDU, PCI_BAR0, 4) & ~15u;
    return g;
}

static void edu_inverts_and_multiplies(void **unused)
{
    struct guest *g = edu_guest();
    assert_int_equal(board_peek(b, bar, 4), 0x010000ed);
    board_poke(b, bar + 4, 4, 0x0f0f0f0f);
    assert_int_equal(board_peek(b, bar + 4, 4), 0xf0f0f0f0);
    board_poke(b, bar + 8, 4, 10);
    assert_int_equal(board_peek(b, bar + 8, 4), 3628800);
    board_poke(b, bar + 8, 4, 0xffffffff);
    assert_int_equal(board_peek(b, bar + 8, 4), 0);
    guest_free(g);
}

static void edu_interrupts_until_acknowledged(void **unused)
{
    struct guest *g = edu_guest();
    board_poke(b, bar + 0x20, 4, 0x80);
    board_poke(b, bar + 8, 4, 3);
    assert_true(b->lines[3].level); /* INTA of slot 3 */
    assert_int_equal(board_peek(b, bar + 0x24, 4), 1);
    board_poke(b, bar + 0x64, 4, 1);
    assert_false(b->lines[3].level);
    board_poke(b, bar + 0x60, 4, 6);
    assert_true(b->lines[3].level);
    guest_free(g);
}

static void edu_moves_data_within_its_buffer_only(void **unused)
{
    struct guest *g = edu_guest();
    char text[8] = "";
    board_ram_write(b, 0, "tandem!", 8);
    board_poke(b, bar + 0x80, 8, BOARD_RAM);
    board_poke(b, bar + 0x88, 8, 0x40010);
    board_poke(b, bar + 0x90, 8, 8);
    board_poke(b, bar + 0x98, 8, 1);
    assert_int_equal(board_peek(b, bar + 0x98, 8), 0);
    board_poke(b, bar + 0x80, 8, 0x40010);
    board_poke(b, bar + 0x88, 8, BOARD_RAM + 64);
    board_poke(b, bar + 0x98, 8, 7);
    board_ram_read(b, 64, text, 8);
    assert_string_equal(text, "tandem!");
    assert_int_equal(board_peek(b, bar + 0x24, 4), 0x100);
    board_poke(b, bar + 0x80, 8, 0x40ffc);
    board_poke(b, bar + 0x98, 8, 3);
    assert_int_equal(b->vm->n_guest_errors, 1);
    guest_free(g);
}

static void pc_testdev_stores_and_drives_lines(void **unused)
{
    struct board *pc = board_with("pc-testdev", NULL);
    uint32_t value;
    *pc_testdev_output(pc->dev, 5) = board_irq(pc, 5);
    mem_port_write(pc->vm, 0xe0, 4, 0x12345678);
    mem_port_read(pc->vm, 0xe1, 1, &value);
    assert_int_equal(value, 0x56);
    mem_port_write(pc->vm, 0x2005, 1, 1);
    assert_true(pc->lines[5].level);
    mem_port_write(pc->vm, 0x2005, 1, 0);
    assert_false(pc->lines[5].level);
    board_poke(pc, 0xff000008, 8, 0x1122334455667788);
    assert_int_equal(board_peek(pc, 0xff00000c, 4), 0x11223344);
    board_free(pc);
}

/* A write is counted by the device, or by a doorbell that matches. */
static void pci_testdev_counts_writes_by_device_and_doorbell(void **unused)
{
    struct guest *g = guest_new();
    guest_add(g, &pci_testdev_class, "addr", "3", NULL);
    guest_place_bars(g, EDU);
    gpa bars[2] = { guest_config_read(g, EDU, PCI_BAR0, 4) & ~15u,
                    GUEST_PIO + (guest_config_read(g, EDU, PCI_BAR0 + 4, 4) & ~3u) };
    for (unsigned i = 0; i < 2; i++)
        for (unsigned test = 0; test < 3; test++) {
            board_poke(g->b, bars[i], 1, test);
            assert_int_equal(board_peek(g->b, bars[i] + 1, 1), 4);
            gpa at = bars[i] + board_peek(g->b, bars[i] + 4, 4);
            uint32_t data = (uint32_t)board_peek(g->b, bars[i] + 8, 4);
            for (unsigned k = 0; k < 5; k++)
                board_poke(g->b, at, 4, data);
            assert_int_equal(board_peek(g->b, bars[i] + 12, 4), 5);
        }
    board_poke(g->b, bars[0], 1, 3);
    assert_int_equal(board_peek(g->b, bars[0] + 1, 1), 0); /* no such test */
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edu_inverts_and_multiplies),
        cmocka_unit_test(edu_interrupts_until_acknowledged),
        cmocka_unit_test(edu_moves_data_within_its_buffer_only),
        cmocka_unit_test(pci_testdev_counts_writes_by_device_and_doorbell),
        cmocka_unit_test(pc_testdev_stores_and_drives_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
