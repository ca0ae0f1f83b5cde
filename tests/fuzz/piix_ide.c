/* Everything a guest can do to an IDE controller with two disks and a CD-ROM drive: registers, commands right and
 * wrong, data by the port, the bus master's tables. */
#include "../unit/virtio_guest.h"

#include "block/block.h"
#include "core/error.h"
#include "core/loop.h"
#include "tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern const struct device_class piix_ide_class;

enum { IDE = 3 << 3, DISK_SIZE = 64 * 1024, MAX_STEPS = 400, N_DRIVES = 3, PRDS = 0x1000 };

static int drive_add(struct vm *vm, const char *id)
{
    char text[128];
    struct drive_info info;
    int fd = memfd_create("disk", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, DISK_SIZE))
        abort();
    snprintf(text, sizeof(text), "file=/proc/self/fd/%d,if=none,id=%s,format=raw", fd, id);
    if (blk_add_drive(vm, text, &info))
        abort();
    return fd;
}

static void write_table(struct board *b, struct tape *t)
{
    for (unsigned i = 0; i < 4; i++) {
        uint8_t raw[8], kind = tape_u8(t);
        store_le(raw, 4, kind < 240 ? BOARD_RAM + kind * 0x1000u : tape_u32(t));
        store_le(raw + 4, 4, tape_u16(t) | (uint32_t)(kind & 8) << 28);
        board_ram_write(b, PRDS + 8 * i, raw, sizeof(raw));
    }
}

static void start_command(struct vm *vm, uint16_t base, struct tape *t)
{
    static const uint8_t commands[] = { 0xec, 0xa1, 0xa0, 0x25, 0x35, 0xc8, 0xca, 0xc4, 0xc5,
                                        0x20, 0x30, 0xe7, 0xef, 0x27, 0x08, 0x90, 0xc6, 0x29 };
    uint8_t command = tape_u8(t);
    for (unsigned i = 1; i < 6; i++)
        mem_port_write(vm, base + i, 1, tape_u8(t) & 0x3f);
    mem_port_write(vm, base + 6, 1, 0xe0 | (tape_u8(t) & 0x10));
    mem_port_write(vm, base + 7, 1, command < 220 ? commands[command % sizeof(commands)] : command);
}

static void step(struct board *b, gpa bm, struct tape *t)
{
    struct vm *vm = b->vm;
    uint8_t what = tape_u8(t);
    uint16_t base = what & 0x80 ? 0x170 : 0x1f0;
    uint32_t value;
    switch (what & 7) {
    case 0:
    case 1: start_command(vm, base, t); break;
    case 2: /* data */
        for (unsigned n = tape_u8(t); n; n--)
            if (what & 0x40)
                mem_port_read(vm, base, 1 << (what >> 4 & 3) % 3, &value);
            else
                mem_port_write(vm, base, 1 << (what >> 4 & 3) % 3, tape_u32(t));
        break;
    case 3: mem_port_read(vm, base + tape_u8(t) % 8, 1, &value); break;
    case 4: mem_port_write(vm, base + 0x206, 1, tape_u8(t)); break;
    case 5:
        write_table(b, t);
        board_poke(b, bm + (what & 0x80 ? 12 : 4), 4, BOARD_RAM + PRDS);
        board_poke(b, bm + (what & 0x80 ? 8 : 0), 1, tape_u8(t));
        break;
    case 6: board_poke(b, bm + tape_u8(t) % 16, 1 << (what >> 4 & 3) % 3, tape_u32(t)); break;
    default: loop_once(vm->loop, 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const char *const ids[N_DRIVES] = { "d0", "d1", "d2" };
    struct tape t = { bytes, n };
    struct guest *g = guest_new();
    struct board *b = g->b;
    int fds[N_DRIVES];
    struct device *drives[N_DRIVES];
    guest_add(g, &piix_ide_class, "addr", "3", NULL);
    for (unsigned i = 0; i < N_DRIVES; i++) {
        fds[i] = drive_add(b->vm, ids[i]);
        drives[i] = board_add(b, i ? "ide-hd" : "ide-cd", "drive", ids[i], NULL);
    }
    guest_place_bars(g, IDE);
    guest_config_write(g, IDE, 4, 2, 7);
    gpa bm = GUEST_PIO + (guest_config_read(g, IDE, 0x20, 4) & ~15u);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(b, bm, &t);
    for (unsigned i = 0; i < N_DRIVES; i++) {
        device_free(drives[i]); /* waits for what is under way */
        close(fds[i]);
    }
    board_check(b);
    guest_free(g);
    return 0;
}
