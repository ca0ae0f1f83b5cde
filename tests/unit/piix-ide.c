/* PIIX3's IDE controller: disks and CD-ROM drives by the data port and by the bus master, as drivers use them. */
#include "block/block.h"
#include "core/backends.h"
#include "core/loop.h"
#include "hw/storage/ide.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

extern const struct device_class piix_ide_class;

enum { IDE = 3 << 3, N_SECTORS = 256 };
enum { DATA = 0x1f0, ERROR, COUNT, LOW, MID, HIGH, DEVICE, STATUS, CONTROL = 0x3f6 };
enum { BM_STATUS = 2, BM_PRD = 4 };
enum { READY = 0x50, DRQ = 0x58, FAILED = 0x51 };
enum { PRDS = 0x1000, BUFFER = 0x4000 }; /* in RAM */

struct world {
    struct guest *g;
    struct board *b;
    struct device *ide;
    gpa bm;
    char image[32];
};

static void close_blk(void *blk)
{
    blk_close(blk);
}

/* Sector n of the image is filled with n. */
static void add_image(struct world *w)
{
    struct blk *blk;
    uint8_t sector[512];
    strcpy(w->image, "/tmp/tandem-ide-XXXXXX");
    int fd = mkstemp(w->image);
    for (unsigned n = 0; n < N_SECTORS; n++) {
        memset(sector, (int)n, sizeof(sector));
        assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
    }
    close(fd);
    assert_null(blk_open(w->b->vm, &(struct blk_options){ .file = w->image }, &blk));
    assert_null(backend_add(w->b->vm, BACKEND_DRIVE, "d0", blk, close_blk));
}

static void out(struct world *w, uint16_t port, unsigned size, uint32_t value)
{
    mem_port_write(w->b->vm, port, size, value);
}

static uint32_t in(struct world *w, uint16_t port, unsigned size)
{
    uint32_t value;
    mem_port_read(w->b->vm, port, size, &value);
    return value;
}

static struct world world_with(const char *kind)
{
    struct world w = { .g = guest_new() };
    w.b = w.g->b;
    w.ide = guest_add(w.g, &piix_ide_class, "addr", "3", NULL);
    guest_place_bars(w.g, IDE);
    w.bm = GUEST_PIO + (guest_config_read(w.g, IDE, 0x20, 4) & ~15u);
    *piix_ide_output(w.ide, 0) = board_irq(w.b, 5);
    add_image(&w);
    board_add(w.b, kind, "drive", "d0", "bus", "ide.0", "unit", "0", NULL);
    return w;
}

static void world_free(struct world *w)
{
    board_check(w->b);
    guest_free(w->g);
    unlink(w->image);
}

/* Wait until the drive is not busy. */
static uint8_t finished(struct world *w)
{
    while (in(w, CONTROL, 1) & 0x80)
        loop_once(w->b->vm->loop, 1000);
    return (uint8_t)in(w, CONTROL, 1);
}

static uint8_t command(struct world *w, uint8_t what, uint32_t lba, unsigned n)
{
    board_poke(w->b, w->bm, 1, 0); /* the bus master stands */
    out(w, DEVICE, 1, 0xe0 | lba >> 24);
    out(w, COUNT, 1, n);
    out(w, LOW, 1, lba);
    out(w, MID, 1, lba >> 8);
    out(w, HIGH, 1, lba >> 16);
    out(w, STATUS, 1, what);
    return finished(w);
}

static void read_data(struct world *w, uint8_t *to, unsigned n)
{
    for (unsigned i = 0; i < n; i += 2)
        store_le(to + i, 2, in(w, DATA, 2));
}

static bool irq(struct world *w)
{
    return w->b->lines[5].level;
}

/* ---- facts ------------------------------------------------------------------------------------------- */
static void identification_comes_by_the_data_port(void **unused)
{
    struct world w = world_with("ide-hd");
    uint8_t id[512];
    assert_int_equal(command(&w, 0xec, 0, 0), DRQ);
    assert_true(irq(&w));
    in(&w, STATUS, 1);
    assert_false(irq(&w)); /* reading the status takes it back */
    read_data(&w, id, sizeof(id));
    assert_int_equal(finished(&w), READY);
    assert_int_equal(load_le(id + 120, 4), N_SECTORS);
    assert_memory_equal(id + 54, "aTdnmed si k", 12);
    assert_int_equal(command(&w, 0xa1, 0, 0), FAILED);
    world_free(&w);
}

static void sectors_are_read_and_written_by_the_data_port(void **unused)
{
    struct world w = world_with("ide-hd");
    uint8_t sector[512];
    assert_int_equal(command(&w, 0x20, 7, 2), DRQ);
    for (unsigned s = 0; s < 2; s++) {
        finished(&w);
        read_data(&w, sector, sizeof(sector));
        assert_int_equal(sector[0] | sector[511] << 8, (7 + s) * 0x101);
    }
    assert_int_equal(finished(&w), READY);
    assert_int_equal(command(&w, 0x30, 9, 1), DRQ);
    for (unsigned i = 0; i < 512; i += 4)
        out(&w, DATA, 4, 0x5a5a5a5a);
    assert_int_equal(finished(&w), READY);
    assert_int_equal(command(&w, 0x20, 9, 1), DRQ);
    read_data(&w, sector, sizeof(sector));
    assert_int_equal(sector[0] | sector[511] << 8, 0x5a5a);
    assert_int_equal(command(&w, 0x20, N_SECTORS - 1, 2), FAILED);
    assert_true(in(&w, ERROR, 1) & 0x10);
    world_free(&w);
}

static void prd(struct world *w, unsigned i, uint32_t at, uint32_t n, bool last)
{
    uint8_t raw[8];
    store_le(raw, 4, at);
    store_le(raw + 4, 4, n | (last ? UINT32_C(1) << 31 : 0));
    board_ram_write(w->b, PRDS + 8 * i, raw, sizeof(raw));
}

static void bm_start(struct world *w, bool to_memory)
{
    guest_config_write(w->g, IDE, 4, 2, 7);
    board_poke(w->b, w->bm + BM_STATUS, 1, 6);
    board_poke(w->b, w->bm + BM_PRD, 4, BOARD_RAM + PRDS);
    board_poke(w->b, w->bm, 1, to_memory ? 9 : 1);
}

static void the_bus_master_moves_data(void **unused)
{
    struct world w = world_with("ide-hd");
    uint8_t bytes[1024];
    prd(&w, 0, BOARD_RAM + BUFFER, 256, false);
    prd(&w, 1, BOARD_RAM + BUFFER + 0x1000, 768, true);
    assert_int_equal(command(&w, 0xc8, 3, 2), DRQ);
    bm_start(&w, true);
    assert_int_equal(finished(&w), READY);
    assert_int_equal(board_peek(w.b, w.bm + BM_STATUS, 1), 4);
    assert_true(irq(&w));
    board_ram_read(w.b, BUFFER + 0x1000, bytes, 768);
    assert_int_equal(bytes[0] | bytes[255] << 8 | bytes[256] << 16, 0x040303);
    prd(&w, 0, BOARD_RAM + BUFFER, 1024, true);
    memset(bytes, 0x77, sizeof(bytes));
    board_ram_write(w.b, BUFFER, bytes, sizeof(bytes));
    assert_int_equal(command(&w, 0xca, 200, 2), DRQ);
    bm_start(&w, false);
    assert_int_equal(finished(&w), READY);
    assert_int_equal(command(&w, 0x20, 201, 1), DRQ);
    read_data(&w, bytes, 512);
    assert_int_equal(bytes[511], 0x77);
    world_free(&w);
}

static void a_short_table_is_an_error(void **unused)
{
    struct world w = world_with("ide-hd");
    prd(&w, 0, BOARD_RAM + BUFFER, 512, true);
    command(&w, 0xc8, 3, 2);
    bm_start(&w, true);
    assert_int_equal(finished(&w), FAILED);
    assert_true(board_peek(w.b, w.bm + BM_STATUS, 1) & 2);
    prd(&w, 0, 0x10, 512, true); /* no memory there */
    command(&w, 0xc8, 3, 1);
    bm_start(&w, true);
    assert_int_equal(finished(&w), FAILED);
    prd(&w, 0, BOARD_RAM + BUFFER, 512, true);
    command(&w, 0xc8, 3, 1);
    bm_start(&w, false); /* the wrong way */
    assert_int_equal(finished(&w), FAILED);
    world_free(&w);
}

static void packets_give_data_in_blocks_of_the_size_asked_for(void **unused)
{
    struct world w = world_with("ide-cd");
    static const uint8_t read_10[12] = { 0x28, 0, 0, 0, 0, 5, 0, 0, 1 };
    uint8_t bytes[2048];
    assert_int_equal(command(&w, 0xa0, 1024 << 8, 0), DRQ); /* byte count limit */
    assert_int_equal(in(&w, COUNT, 1) & 3, 1);
    for (unsigned i = 0; i < 12; i += 2)
        out(&w, DATA, 2, (uint32_t)load_le(read_10 + i, 2));
    for (unsigned half = 0; half < 2; half++) {
        assert_int_equal(finished(&w), DRQ);
        assert_int_equal(in(&w, COUNT, 1) & 3, 2);
        assert_int_equal(in(&w, MID, 1) | in(&w, HIGH, 1) << 8, 1024);
        read_data(&w, bytes + half * 1024, 1024);
    }
    assert_int_equal(finished(&w), READY);
    assert_int_equal(in(&w, COUNT, 1) & 3, 3);
    assert_int_equal(bytes[0] | bytes[2047] << 8, 20 | 23 << 8);
    assert_int_equal(command(&w, 0xec, 0, 0), FAILED);
    assert_int_equal(in(&w, MID, 1) | in(&w, HIGH, 1) << 8, 0xeb14);
    world_free(&w);
}

static void a_drive_that_is_not_there_says_nothing(void **unused)
{
    struct world w = world_with("ide-hd");
    out(&w, DEVICE, 1, 0xf0);
    assert_int_equal(in(&w, STATUS, 1), 0);
    out(&w, STATUS, 1, 0xec);
    assert_int_equal(in(&w, STATUS, 1), 0);
    assert_int_equal(in(&w, 0x177, 1), 0);
    world_free(&w);
}

static void a_reset_shows_the_signature(void **unused)
{
    struct world w = world_with("ide-cd");
    out(&w, CONTROL, 1, 4);
    assert_int_equal(in(&w, CONTROL, 1), 0x80);
    out(&w, STATUS, 1, 0xa1); /* not now */
    out(&w, CONTROL, 1, 0);
    assert_int_equal(finished(&w), 0);
    assert_int_equal(in(&w, MID, 1) | in(&w, HIGH, 1) << 8, 0xeb14);
    assert_int_equal(in(&w, ERROR, 1), 1);
    world_free(&w);
}

static void interrupts_can_be_held_back(void **unused)
{
    struct world w = world_with("ide-hd");
    out(&w, CONTROL, 1, 2);
    command(&w, 0xec, 0, 0);
    assert_false(irq(&w));
    out(&w, CONTROL, 1, 0);
    assert_true(irq(&w));
    world_free(&w);
}

static void a_transfer_goes_on_after_a_snapshot(void **unused)
{
    struct world w = world_with("ide-hd");
    struct bytes saved = { 0 };
    uint8_t sector[512];
    size_t pos = 0;
    command(&w, 0x20, 11, 2);
    read_data(&w, sector, 100);
    device_save(w.ide, &saved);
    read_data(&w, sector, 412);
    assert_null(device_load(w.ide, saved.at, saved.n, &pos));
    read_data(&w, sector + 100, 412);
    finished(&w);
    assert_int_equal(sector[100] | sector[511] << 8, 11 * 0x101);
    read_data(&w, sector, 512);
    assert_int_equal(sector[511], 12);
    assert_int_equal(finished(&w), READY);
    bytes_free(&saved);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identification_comes_by_the_data_port),
        cmocka_unit_test(sectors_are_read_and_written_by_the_data_port),
        cmocka_unit_test(the_bus_master_moves_data),
        cmocka_unit_test(a_short_table_is_an_error),
        cmocka_unit_test(packets_give_data_in_blocks_of_the_size_asked_for),
        cmocka_unit_test(a_drive_that_is_not_there_says_nothing),
        cmocka_unit_test(a_reset_shows_the_signature),
        cmocka_unit_test(interrupts_can_be_held_back),
        cmocka_unit_test(a_transfer_goes_on_after_a_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
