/* Everything a guest can do to an AHCI controller with a disk and a CD-ROM drive: registers, command lists,
 * tables and packets right and wrong. */
#include "../unit/virtio_guest.h"

#include "block/block.h"
#include "core/error.h"
#include "core/loop.h"
#include "tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern const struct device_class ich9_ahci_class;

enum { AHCI = 3 << 3, DISK_SIZE = 64 * 1024, MAX_STEPS = 300 };
/* In RAM: two command lists, FIS areas, and tables that slots share. */
enum {
    LISTS = 0x1000,
    FISES = 0x2000,
    TABLES = 0x3000,
    N_TABLES = 4,
    TABLE_STEP = 0x100,
    DATA = 0x10000
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static int drive_add(struct vm *vm, const char *id)
{
    char text[128];
    struct drive_info info;
    int fd = memfd_create("disk", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, DISK_SIZE))
        abort();
    snprintf(text, sizeof(text), "file=/proc/self/fd/%d,if=none,id=%s,format=raw", fd, id);
    must(blk_add_drive(vm, text, &info));
    return fd;
}

/* A good address mostly. */
static uint64_t some_address(struct tape *t)
{
    uint8_t v = tape_u8(t);
    return v < 240 ? BOARD_RAM + DATA + v * 512u : tape_u64(t);
}

/* A command in a slot of a port; the tape says which and how. */
static void write_command(struct board *b, struct tape *t)
{
    static const uint8_t commands[] = { 0xec, 0xa1, 0xa0, 0x25, 0x35, 0xc8, 0xca, 0x60, 0x61,
                                        0x20, 0x30, 0xe7, 0xef, 0x27, 0xf8, 0x42, 0xc6, 0x3d };
    uint8_t which = tape_u8(t), command = tape_u8(t), fis[20] = { 0x27, 0x80 }, header[32] = { 5 },
            raw[16];
    unsigned port = which & 1, slot = which >> 1 & 3, table = which >> 3 & (N_TABLES - 1);
    uint64_t table_at = TABLES + table * TABLE_STEP;
    fis[2] = command < 200 ? commands[command % sizeof(commands)] : command;
    for (unsigned i = 3; i < 16; i++)
        fis[i] = tape_u8(t) & (i == 7 ? 0xff : 0x0f);
    if (which >> 6 == 3)
        fis[1] = 0;
    store_le(header + 2, 2, tape_u8(t) % 5);
    store_le(header + 8, 8, which >> 5 == 7 ? tape_u64(t) : BOARD_RAM + table_at);
    board_ram_write(b, LISTS + port * 0x400 + slot * 32, header, sizeof(header));
    board_ram_write(b, table_at, fis, sizeof(fis));
    for (unsigned i = 0; i < 12; i++)
        raw[i] = tape_u8(t);
    board_ram_write(b, table_at + 0x40, raw, 12);
    for (unsigned i = 0; i < 4; i++) {
        store_le(raw, 8, some_address(t));
        store_le(raw + 12, 4, tape_u16(t) & 0x1fff);
        board_ram_write(b, table_at + 0x80 + i * 16, raw, 16);
    }
}

static void step(struct board *b, gpa bar, struct tape *t)
{
    uint8_t what = tape_u8(t), port = what >> 7;
    gpa regs = bar + 0x100 + port * 0x80;
    switch (what & 7) {
    case 0:
    case 1: write_command(b, t); break;
    case 2: board_poke(b, regs + 0x38, 4, tape_u8(t)); break; /* CI */
    case 3:                                                   /* SACT and CI */
        board_poke(b, regs + 0x34, 4, tape_u8(t));
        board_poke(b, regs + 0x38, 4, tape_u8(t));
        break;
    case 4: /* stop, perhaps start */
        board_poke(b, regs + 0x18, 4, 0x10);
        board_poke(b, regs + 0x18, 4, 0x11);
        break;
    case 5: board_poke(b, bar + (tape_u16(t) & 0x1fc), 4, tape_u32(t)); break;
    case 6: board_peek(b, bar + (tape_u16(t) & 0xfff), 1u << (what >> 4 & 3)); break;
    default: loop_once(b->vm->loop, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct guest *g = guest_new();
    struct board *b = g->b;
    int fds[2] = { drive_add(b->vm, "d0"), drive_add(b->vm, "d1") };
    guest_add(g, &ich9_ahci_class, "addr", "3", NULL);
    struct device *disk = board_add(b, "ide-hd", "drive", "d0", NULL);
    struct device *disc = board_add(b, "ide-cd", "drive", "d1", NULL);
    guest_place_bars(g, AHCI);
    gpa bar = guest_config_read(g, AHCI, 0x24, 4) & ~15u;
    for (unsigned port = 0; port < 2; port++) {
        gpa regs = bar + 0x100 + port * 0x80;
        board_poke(b, regs, 4, BOARD_RAM + LISTS + port * 0x400);
        board_poke(b, regs + 8, 4, BOARD_RAM + FISES + port * 0x100);
        board_poke(b, regs + 0x14, 4, 0xffffffff);
        board_poke(b, regs + 0x18, 4, 0x11);
    }
    board_poke(b, bar + 4, 4, 0x80000002);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(b, bar, &t);
    device_free(disc); /* waits for what is under way */
    device_free(disk);
    board_check(b);
    guest_free(g);
    close(fds[0]);
    close(fds[1]);
    return 0;
}
