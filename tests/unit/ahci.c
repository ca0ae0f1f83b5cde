/* AHCI: disks and CD-ROM drives, driven as a guest's driver does. */
#include "block/block.h"
#include "core/backends.h"
#include "core/loop.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

extern const struct device_class ich9_ahci_class;

enum { AHCI = 3 << 3, N_SECTORS = 256 };
enum {
    GHC = 4,
    IS = 8,
    CLB = 0x00,
    FB = 0x08,
    PX_IS = 0x10,
    IE = 0x14,
    CMD = 0x18,
    TFD = 0x20,
    SIG = 0x24,
    SSTS = 0x28,
    SCTL = 0x2c,
    SACT = 0x34,
    CI = 0x38
};
/* Offsets in RAM. */
enum { LIST = 0x1000, FISES = 0x2000, TABLES = 0x3000, TABLE_STEP = 0x1000, DATA = 0x40000 };

struct world {
    struct guest *g;
    struct board *b;
    gpa bar;
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
    strcpy(w->image, "/tmp/tandem-ahci-XXXXXX");
    int fd = mkstemp(w->image);
    for (unsigned n = 0; n < N_SECTORS; n++) {
        memset(sector, (int)n, sizeof(sector));
        assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
    }
    close(fd);
    assert_null(blk_open(w->b->vm, &(struct blk_options){ .file = w->image }, &blk));
    assert_null(backend_add(w->b->vm, BACKEND_DRIVE, "d0", blk, close_blk));
}

static uint32_t rd(struct world *w, uint64_t at)
{
    return (uint32_t)board_peek(w->b, w->bar + at, 4);
}

static void wr(struct world *w, uint64_t at, uint32_t v)
{
    board_poke(w->b, w->bar + at, 4, v);
}

/* A register of port 0. */
static uint32_t prd(struct world *w, uint64_t at)
{
    return rd(w, 0x100 + at);
}

static void pwr(struct world *w, uint64_t at, uint32_t v)
{
    wr(w, 0x100 + at, v);
}

static void port_start(struct world *w)
{
    pwr(w, CLB, (uint32_t)(BOARD_RAM + LIST));
    pwr(w, FB, (uint32_t)(BOARD_RAM + FISES));
    pwr(w, IE, 0x7dc0007f);
    pwr(w, CMD, 0x11);
    wr(w, GHC, 0x80000002);
}

/* `kind` on port 0, started. */
static struct world world_with(const char *kind, bool image)
{
    struct world w = { .g = guest_new() };
    w.b = w.g->b;
    guest_add(w.g, &ich9_ahci_class, "addr", "3", NULL);
    guest_place_bars(w.g, AHCI);
    w.bar = guest_config_read(w.g, AHCI, 0x24, 4) & ~15u;
    if (image)
        add_image(&w);
    if (image)
        board_add(w.b, kind, "drive", "d0", "serial", "ABC", NULL);
    else
        board_add(w.b, kind, NULL);
    port_start(&w);
    return w;
}

static void world_free(struct world *w)
{
    board_check(w->b);
    guest_free(w->g);
    if (w->image[0])
        unlink(w->image);
}

/* Put a command into a slot: its data, of n bytes, in two pieces at DATA. */
static void prepare(struct world *w, unsigned slot, const uint8_t *fis, const uint8_t *cdb,
                    uint32_t n)
{
    uint64_t table = TABLES + slot * TABLE_STEP;
    uint8_t header[32] = { 5 | (cdb ? 1 << 5 : 0) }, prds[32] = { 0 };
    uint32_t first = n > 512 ? 512 : n / 2 & ~1u;
    store_le(header + 2, 2, n ? 2 : 0);
    store_le(header + 8, 8, BOARD_RAM + table);
    store_le(prds, 8, BOARD_RAM + DATA);
    store_le(prds + 12, 4, first - 1);
    store_le(prds + 16, 8, BOARD_RAM + DATA + first);
    store_le(prds + 28, 4, n - first - 1);
    board_ram_write(w->b, LIST + slot * 32, header, sizeof(header));
    board_ram_write(w->b, table, fis, 20);
    if (cdb)
        board_ram_write(w->b, table + 0x40, cdb, 12);
    if (n)
        board_ram_write(w->b, table + 0x80, prds, sizeof(prds));
}

/* Until the slots of the mask are done. */
static void wait_for(struct world *w, uint64_t reg, uint32_t mask)
{
    for (unsigned i = 0; i < 1000 && prd(w, reg) & mask; i++)
        loop_once(w->b->vm->loop, 10);
    assert_int_equal(prd(w, reg) & mask, 0);
}

static void ata(struct world *w, uint8_t command, uint64_t lba, uint16_t count, uint32_t n)
{
    const uint8_t fis[20] = { 0x27,
                              0x80,
                              command,
                              0,
                              (uint8_t)lba,
                              (uint8_t)(lba >> 8),
                              (uint8_t)(lba >> 16),
                              0x40,
                              (uint8_t)(lba >> 24),
                              0,
                              0,
                              0,
                              (uint8_t)count,
                              (uint8_t)(count >> 8) };
    prepare(w, 0, fis, NULL, n);
    pwr(w, CI, 1);
}

static void packet(struct world *w, const uint8_t *cdb, uint32_t n)
{
    prepare(w, 0, (const uint8_t[20]){ 0x27, 0x80, 0xa0, 1 }, cdb, n);
    pwr(w, CI, 1);
}

static uint8_t data_at(struct world *w, uint64_t off)
{
    uint8_t v;
    board_ram_read(w->b, DATA + off, &v, 1);
    return v;
}

static void controller_and_ports_say_what_they_are(void **unused)
{
    struct world w = world_with("ide-hd", true);
    assert_int_equal(guest_config_read(w.g, AHCI, 8, 4) >> 8, 0x010601);
    assert_int_equal(rd(&w, 0) & 0xc0001f1f, 0xc0001f05);
    assert_int_equal(rd(&w, 0x0c), 0x3f);
    assert_int_equal(prd(&w, SIG), 0x101);
    assert_int_equal(prd(&w, SSTS), 0x123);
    assert_int_equal(rd(&w, 0x180 + SSTS), 0); /* nothing on port 1 */
    assert_int_equal(rd(&w, 0x180 + TFD), 0x7f);
    world_free(&w);
}

static void disk_identifies_itself(void **unused)
{
    struct world w = world_with("ide-hd", true);
    uint8_t id[512], count[4], pio;
    ata(&w, 0xec, 0, 0, 512);
    wait_for(&w, CI, 1);
    board_ram_read(w.b, DATA, id, 512);
    assert_memory_equal(id + 20, "BA C", 4); /* swapped in pairs */
    assert_int_equal(load_le(id + 120, 4), N_SECTORS);
    assert_int_equal(load_le(id + 200, 8), N_SECTORS);
    board_ram_read(w.b, LIST + 4, count, 4);
    assert_int_equal(load_le(count, 4), 512);
    board_ram_read(w.b, FISES + 0x20, &pio, 1);
    assert_int_equal(pio, 0x5f);
    assert_int_equal(prd(&w, TFD), 0x50);
    world_free(&w);
}

static void sectors_are_read_and_an_interrupt_tells(void **unused)
{
    struct world w = world_with("ide-hd", true);
    ata(&w, 0x25, 7, 3, 3 * 512);
    wait_for(&w, CI, 1);
    assert_int_equal(data_at(&w, 0), 7);
    assert_int_equal(data_at(&w, 3 * 512 - 1), 9);
    assert_int_equal(data_at(&w, 3 * 512), 0);
    assert_true(w.b->lines[3].level);
    assert_int_equal(rd(&w, IS), 1);
    pwr(&w, PX_IS, prd(&w, PX_IS));
    assert_false(w.b->lines[3].level);
    world_free(&w);
}

static void what_is_written_is_read_again(void **unused)
{
    struct world w = world_with("ide-hd", true);
    uint8_t block[1024];
    memset(block, 0xe7, sizeof(block));
    board_ram_write(w.b, DATA, block, sizeof(block));
    ata(&w, 0x35, 100, 2, 1024);
    wait_for(&w, CI, 1);
    ata(&w, 0xea, 0, 0, 0);
    wait_for(&w, CI, 1);
    memset(block, 0, sizeof(block));
    board_ram_write(w.b, DATA, block, sizeof(block));
    ata(&w, 0xc8, 101, 1, 512);
    wait_for(&w, CI, 1);
    assert_int_equal(data_at(&w, 511), 0xe7);
    assert_int_equal(prd(&w, TFD), 0x50);
    world_free(&w);
}

static void queued_commands_end_by_their_tags(void **unused)
{
    struct world w = world_with("ide-hd", true);
    for (unsigned slot = 4; slot <= 5; slot++)
        prepare(&w, slot,
                (const uint8_t[20]){ 0x27, 0x80, 0x60, 1, (uint8_t)(slot * 10), 0, 0, 0x40, 0, 0, 0,
                                     0, (uint8_t)(slot << 3) },
                NULL, 512);
    pwr(&w, SACT, 0x30);
    pwr(&w, CI, 0x30);
    wait_for(&w, SACT, 0x30);
    assert_int_equal(prd(&w, CI), 0);
    assert_in_range(data_at(&w, 0), 40, 50);
    assert_true(prd(&w, PX_IS) & 1 << 3);
    world_free(&w);
}

static void reading_past_the_end_stops_the_list_with_an_error(void **unused)
{
    struct world w = world_with("ide-hd", true);
    ata(&w, 0x25, N_SECTORS - 1, 2, 1024);
    assert_int_equal(prd(&w, TFD) & 0xff, 0x51);
    assert_true(prd(&w, PX_IS) & 1 << 30);
    assert_int_equal(prd(&w, CI), 1);
    pwr(&w, CMD, 0x10);
    assert_int_equal(prd(&w, CI), 0);
    pwr(&w, CMD, 0x11);
    ata(&w, 0x25, 1, 1, 512);
    wait_for(&w, CI, 1);
    assert_int_equal(data_at(&w, 0), 1);
    world_free(&w);
}

static void buffers_outside_memory_are_an_error(void **unused)
{
    struct world w = world_with("ide-hd", true);
    uint8_t far[8];
    prepare(&w, 0, (const uint8_t[20]){ 0x27, 0x80, 0x25, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 2 }, NULL,
            1024);
    store_le(far, 8, UINT64_C(0xfffffffffffff000));
    board_ram_write(w.b, TABLES + 0x90, far, 8);
    pwr(&w, CI, 1);
    assert_int_equal(prd(&w, TFD) & 0xff, 0x51);
    assert_true(w.b->vm->n_guest_errors > 0);
    pwr(&w, CMD, 0x10);
    pwr(&w, CLB + 4, 0xffffffff);
    pwr(&w, CMD, 0x11);
    pwr(&w, CI, 0xffffffff);
    world_free(&w);
}

static void link_reset_brings_the_signature_back(void **unused)
{
    struct world w = world_with("ide-cd", true);
    uint8_t fis;
    assert_int_equal(prd(&w, SIG), 0xeb140101);
    pwr(&w, SCTL, 0x301);
    assert_int_equal(prd(&w, SSTS), 0);
    pwr(&w, SCTL, 0x300);
    assert_int_equal(prd(&w, SSTS), 0x123);
    board_ram_read(w.b, FISES + 0x40, &fis, 1);
    assert_int_equal(fis, 0x34);
    world_free(&w);
}

static void disc_is_measured_and_read(void **unused)
{
    struct world w = world_with("ide-cd", true);
    uint8_t answer[8];
    packet(&w, (const uint8_t[12]){ 0x25 }, 8);
    wait_for(&w, CI, 1);
    board_ram_read(w.b, DATA, answer, 8);
    assert_int_equal(load_be(answer, 4), N_SECTORS / 4 - 1);
    assert_int_equal(load_be(answer + 4, 4), 2048);
    packet(&w, (const uint8_t[12]){ 0x28, 0, 0, 0, 0, 5, 0, 0, 2 }, 4096);
    wait_for(&w, CI, 1);
    assert_int_equal(data_at(&w, 0), 20);
    assert_int_equal(data_at(&w, 4095), 27);
    packet(&w, (const uint8_t[12]){ 0x43, 0, 0, 0, 0, 0, 0, 0, 20 }, 20);
    wait_for(&w, CI, 1);
    assert_int_equal(data_at(&w, 1), 18);
    assert_int_equal(data_at(&w, 14), 0xaa);
    packet(&w, (const uint8_t[12]){ 0x2a }, 0); /* WRITE */
    assert_int_equal(prd(&w, TFD), 0x5451);
    world_free(&w);
}

static void an_empty_drive_is_not_ready(void **unused)
{
    struct world w = world_with("ide-cd", false);
    packet(&w, (const uint8_t[12]){ 0 }, 0);
    assert_int_equal(prd(&w, TFD), 0x2451);
    pwr(&w, CMD, 0x10);
    pwr(&w, CMD, 0x11);
    packet(&w, (const uint8_t[12]){ 3, 0, 0, 0, 18 }, 18);
    wait_for(&w, CI, 1);
    assert_int_equal(data_at(&w, 2), 2);
    assert_int_equal(data_at(&w, 12), 0x3a);
    world_free(&w);
}

static void drives_need_a_port_of_their_own(void **unused)
{
    struct world w = world_with("ide-cd", false);
    char *text = board_refuses(w.b, "ide-cd", "bus", "ide.0", NULL);
    assert_string_equal(text, "device 'ide-cd': port 'ide.0' has a drive already");
    free(text);
    text = board_refuses(w.b, "ide-hd", NULL);
    assert_string_equal(text, "device 'ide-hd': a disk needs drive=");
    free(text);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(controller_and_ports_say_what_they_are),
        cmocka_unit_test(disk_identifies_itself),
        cmocka_unit_test(sectors_are_read_and_an_interrupt_tells),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(queued_commands_end_by_their_tags),
        cmocka_unit_test(reading_past_the_end_stops_the_list_with_an_error),
        cmocka_unit_test(buffers_outside_memory_are_an_error),
        cmocka_unit_test(link_reset_brings_the_signature_back),
        cmocka_unit_test(disc_is_measured_and_read),
        cmocka_unit_test(an_empty_drive_is_not_ready),
        cmocka_unit_test(drives_need_a_port_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
