/* Everything a guest can do to an xHCI controller with a keyboard, a tablet, a disk, a hub and a mouse behind it: registers, commands,
 * contexts and transfers right and wrong, while a user types and pulls plugs. */
#include "../unit/virtio_guest.h"

#include "block/block.h"
#include "core/error.h"
#include "core/loop.h"
#include "hw/input/input.h"
#include "tape.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern const struct device_class qemu_xhci_class;

enum {
    XHCI = 3 << 3,
    DISK_SIZE = 64 * 1024,
    MAX_STEPS = 300,
    N_EVENTS = 64,
    DISK_SLOT = 3,
    N_SLOTS = 5
};
enum { OP = 0x40, PORTSC = 0x440, RUNTIME = 0x1000, DOORBELL = 0x2000 };
enum { /* in RAM */
       DCBAA = 0x1000,
       COMMANDS = 0x2000,
       EVENTS = 0x8000,
       ERST = 0x4000,
       INPUT = 0x5000,
       CONTEXTS = 0x6000,
       RINGS = 0x10000, /* 1 KiB for each endpoint of a slot */
       DATA = 0x40000,
};

struct world {
    struct guest *g;
    gpa bar;
    struct tape *t;
    struct device *kbd; /* NULL: it is out */
    unsigned n_commands, n_put[N_SLOTS + 1][8];
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static int drive_add(struct vm *vm)
{
    char text[128];
    struct drive_info info;
    int fd = memfd_create("disk", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, DISK_SIZE))
        abort();
    snprintf(text, sizeof(text), "file=/proc/self/fd/%d,if=none,id=d0,format=raw", fd);
    must(blk_add_drive(vm, text, &info));
    return fd;
}

static void set(struct world *w, uint64_t off, uint32_t v)
{
    board_poke(w->g->b, w->bar + off, 4, v);
}

static void ram(struct world *w, uint64_t at, unsigned size, uint64_t v)
{
    uint8_t raw[8];
    store_le(raw, size, v);
    board_ram_write(w->g->b, at, raw, size);
}

static void put_trb(struct world *w, uint64_t at, uint64_t parameter, uint32_t status,
                    uint32_t control)
{
    ram(w, at, 8, parameter);
    ram(w, at + 8, 4, status);
    ram(w, at + 12, 4, control);
}

static void command(struct world *w, uint64_t parameter, uint32_t status, uint32_t control)
{
    put_trb(w, COMMANDS + 16 * (w->n_commands++ % 256), parameter, status, control | 1);
    set(w, DOORBELL, 0);
}

static void put(struct world *w, unsigned slot, unsigned endpoint, uint64_t parameter,
                uint32_t status, uint32_t control)
{
    unsigned n = w->n_put[slot][endpoint]++ % 64;
    put_trb(w, RINGS + 0x2000 * slot + 0x400 * endpoint + 16 * n, parameter, status, control | 1);
}

static void put_endpoint(struct world *w, unsigned slot, unsigned endpoint, unsigned type)
{
    uint64_t at = INPUT + 32 + 32 * endpoint;
    ram(w, at + 4, 4, type << 3 | 64u << 16);
    ram(w, at + 8, 8, (BOARD_RAM + RINGS + 0x2000 * slot + 0x400 * endpoint) | 1);
}

/* A driver that did all right until now. */
static void bring_up(struct world *w)
{
    static const uint8_t ports[N_SLOTS + 1] = { 0, 1, 2, 7, 4, 4 },
                                         routes[N_SLOTS + 1] = { [N_SLOTS] = 2 };
    set(w, OP + 0x38, 8);
    set(w, OP + 0x30, BOARD_RAM + DCBAA);
    set(w, OP + 0x18, (BOARD_RAM + COMMANDS) | 1);
    ram(w, ERST, 8, BOARD_RAM + EVENTS);
    ram(w, ERST + 8, 8, N_EVENTS);
    set(w, RUNTIME + 0x28, 1);
    set(w, RUNTIME + 0x38, BOARD_RAM + EVENTS);
    set(w, RUNTIME + 0x30, BOARD_RAM + ERST);
    set(w, RUNTIME + 0x20, 2);
    set(w, OP, 5);
    for (unsigned slot = 1; slot <= N_SLOTS; slot++) {
        command(w, 0, 0, 9 << 10);
        ram(w, DCBAA + 8 * slot, 8, BOARD_RAM + CONTEXTS + 0x400 * slot);
        ram(w, INPUT + 4, 4, 3);
        ram(w, INPUT + 32, 4, routes[slot]);
        ram(w, INPUT + 36, 4, (uint32_t)ports[slot] << 16);
        put_endpoint(w, slot, 1, 4);
        if (!routes[slot])
            set(w, PORTSC + 16 * (ports[slot] - 1u), 1 << 4);
        command(w, BOARD_RAM + INPUT, 0, 11 << 10 | slot << 24);
        put_endpoint(w, slot, 3, slot == DISK_SLOT ? 6 : 7);
        put_endpoint(w, slot, 4, 2);
        ram(w, INPUT + 4, 4, 1 | 3 << 3);
        command(w, BOARD_RAM + INPUT, 0, 12 << 10 | slot << 24);
        put(w, slot, 1, 0x010900, 8, 2 << 10 | 1 << 6);
        put(w, slot, 1, 0, 0, 4 << 10 | 1 << 5);
        set(w, DOORBELL + 4 * slot, 1);
    }
}

static uint64_t some_address(struct tape *t)
{
    uint8_t v = tape_u8(t);
    return v < 240   ? BOARD_RAM + DATA + v * 256u
           : v < 250 ? BOARD_RAM + RINGS + v % 8 * 0x400u
                     : tape_u64(t);
}

static void some_control(struct world *w, unsigned slot)
{
    struct tape *t = w->t;
    static const uint16_t requests[] = { 0x0680, 0x0681, 0x0900, 0x0921, 0x0a21, 0x0b21, 0x01a1,
                                         0x0102, 0x0302, 0xff21, 0xfea1, 0x0080, 0x0b01, 0x3000,
                                         0x02a1, 0x0500, 0x06a0, 0x00a3, 0x0323, 0x0323, 0x0123 };
    uint16_t request = requests[tape_u8(t) % ARRAY_LEN(requests)], n = tape_u8(t);
    uint64_t setup = request | (uint64_t)tape_u16(t) << 16 | (uint64_t)(tape_u8(t) & 0x83) << 32 |
                     (uint64_t)n << 48;
    put(w, slot, 1, setup, 8, 2 << 10 | 1 << 6);
    if (n)
        put(w, slot, 1, some_address(t), tape_u8(t) & 1 ? n : tape_u8(t),
            3 << 10 | (tape_u8(t) & 0x3c));
    put(w, slot, 1, 0, 0, 4 << 10 | (tape_u8(t) & 0x30));
}

/* A command wrapper, as the disk wants it but for what the tape says. */
static void some_wrapper(struct world *w)
{
    struct tape *t = w->t;
    static const uint8_t commands[] = { 0x00, 0x03, 0x12, 0x1a, 0x1e, 0x23, 0x25, 0x28, 0x2a,
                                        0x2f, 0x35, 0x5a, 0x88, 0x8a, 0x9e, 0xa0, 0xa8, 0xaa };
    uint8_t cbw[31] = { 'U', 'S', 'B', 'C', [12] = tape_u8(t), [14] = 16 };
    store_le(cbw + 8, 4, tape_u16(t));
    cbw[13] = tape_u8(t) & 1;
    cbw[15] = commands[tape_u8(t) % sizeof(commands)];
    for (unsigned i = 16; i < 31; i++)
        cbw[i] = tape_u8(t) & 7;
    board_ram_write(w->g->b, DATA, cbw, sizeof(cbw));
    put(w, DISK_SLOT, 4, BOARD_RAM + DATA, tape_u8(t) == 7 ? 30 : 31, 1 << 10 | 1 << 5);
    set(w, DOORBELL + 4 * DISK_SLOT, 4);
}

static void some_events(struct world *w)
{
    struct tape *t = w->t;
    struct input_event e = { tape_u8(t) & 3, tape_u16(t) & 0x11f, tape_u16(t) };
    input_send_event(w->g->b->vm, tape_u8(t) % N_INPUT_KINDS, &e, 1);
}

static void plug(struct world *w)
{
    if (w->kbd)
        device_free(w->kbd);
    w->kbd = w->kbd ? NULL : board_add(w->g->b, "usb-kbd", "port", "1", NULL);
}

static void step(struct world *w)
{
    struct tape *t = w->t;
    uint8_t what = tape_u8(t);
    unsigned slot = 1 + (what >> 4) % N_SLOTS, endpoint = what & 0x80 ? 3 : 4;
    switch (what & 15) {
    case 0:
        command(w, some_address(t), tape_u32(t),
                (9 + tape_u8(t) % 18) << 10 | slot << 24 | (tape_u8(t) & 7) << 16);
        break;
    case 1: command(w, BOARD_RAM + INPUT, 0, (11 + tape_u8(t) % 3) << 10 | slot << 24); break;
    case 2: some_control(w, slot); break;
    case 3: set(w, DOORBELL + 4 * slot, tape_u8(t) & 7); break;
    case 4:
    case 5:
        put(w, slot, endpoint, some_address(t), tape_u16(t) & 0x1fff,
            1 << 10 | (tape_u8(t) & 0x74));
        set(w, DOORBELL + 4 * slot, endpoint);
        break;
    case 6:
        put(w, slot, tape_u8(t) & 1 ? endpoint : 1, some_address(t), tape_u32(t), tape_u16(t));
        break;
    case 7: ram(w, INPUT + (tape_u8(t) & 0xfc), 4, tape_u32(t)); break;
    case 8: set(w, tape_u16(t) & 0x3ffc, tape_u32(t)); break;
    case 9: set(w, PORTSC + 16 * (tape_u8(t) % 8u), tape_u32(t)); break;
    case 10: set(w, RUNTIME + 0x38, (BOARD_RAM + EVENTS + 16 * (tape_u8(t) % N_EVENTS)) | 8); break;
    case 11:
    case 12: some_wrapper(w); break;
    case 13: some_events(w); break;
    case 14: board_peek(w->g->b, w->bar + (tape_u16(t) & 0x3fff), 1u << (what >> 4 & 3)); break;
    default:
        if (what & 0x40)
            plug(w);
        else
            board_advance_ns(w->g->b, tape_u16(t) * 1000ull);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct world w = { .g = guest_new(), .t = &t };
    struct board *b = w.g->b;
    int fd = drive_add(b->vm);
    guest_add(w.g, &qemu_xhci_class, "addr", "3", NULL);
    w.kbd = board_add(b, "usb-kbd", NULL);
    board_add(b, "usb-tablet", NULL);
    struct device *hub = board_add(b, "usb-hub", "port", "4", NULL);
    board_add(b, "usb-mouse", "port", "4.2", NULL);
    struct device *disk = board_add(b, "usb-storage", "drive", "d0", NULL);
    guest_place_bars(w.g, XHCI);
    w.bar = guest_config_read(w.g, XHCI, PCI_BAR0, 4) & ~15u;
    bring_up(&w);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(&w);
    if (n & 1)
        device_unplugged(hub);
    device_free(disk); /* waits for what is under way */
    board_check(b);
    guest_free(w.g);
    close(fd);
    return 0;
}
