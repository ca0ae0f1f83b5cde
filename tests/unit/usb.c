/* USB: an xHCI driver with rings in the board's RAM, the devices behind it, and guests that mean harm. */
#include "hw/usb/usb.h"
#include "block/block.h"
#include "core/backends.h"
#include "core/error.h"
#include "hw/input/input.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { XHCI = 3 << 3, OP = 0x40, PORTSC = OP + 0x400, RUNTIME = 0x1000, DOORBELL = 0x2000 };
enum { /* offsets in RAM */
       DCBAA = 0x1000,
       COMMANDS = 0x2000,
       EVENTS = 0x3000,
       ERST = 0x4000,
       INPUT = 0x5000,
       CONTEXT = 0x6000,
       RINGS = 0x10000, /* 4 KiB for each endpoint */
       DATA = 0x40000,
       N_TRBS = 256,
};
enum { CYCLE = 1, ISP = 1 << 2, CHAIN = 1 << 4, IOC = 1 << 5, IDT = 1 << 6 };
enum { NORMAL = 1, SETUP, DATA_STAGE, STATUS, LINK = 6, NOOP_COMMAND = 23 };
enum { SUCCESS = 1, TRB_ERROR = 5, STALL = 6, SHORT = 13, CONTEXT_STATE = 19, RING_FULL = 21 };
enum { N_EVENTS = 32 };

struct driver {
    struct guest *g;
    struct device *host;
    gpa bar;
    unsigned n_commands, taken, n_put[32];
    bool cycle;
    uint32_t slot;
};
struct event {
    uint64_t parameter;
    uint32_t status, control;
};

extern const struct device_class qemu_xhci_class;

static uint32_t get(struct driver *d, uint64_t off)
{
    return (uint32_t)board_peek(d->g->b, d->bar + off, 4);
}

static void set(struct driver *d, uint64_t off, uint32_t v)
{
    board_poke(d->g->b, d->bar + off, 4, v);
}

static void set64(struct driver *d, uint64_t off, uint64_t v)
{
    set(d, off, (uint32_t)v);
    set(d, off + 4, (uint32_t)(v >> 32));
}

static void ram(struct driver *d, uint64_t at, unsigned size, uint64_t v)
{
    uint8_t raw[8];
    store_le(raw, size, v);
    board_ram_write(d->g->b, at, raw, size);
}

static uint64_t peek(struct driver *d, uint64_t at, unsigned size)
{
    uint8_t raw[8];
    board_ram_read(d->g->b, at, raw, size);
    return load_le(raw, size);
}

static void put_trb(struct driver *d, uint64_t at, uint64_t parameter, uint32_t status,
                    uint32_t control)
{
    ram(d, at, 8, parameter);
    ram(d, at + 8, 4, status);
    ram(d, at + 12, 4, control);
}

/* The next event of this type; those before it are passed over. False: there is none. */
static bool take_event(struct driver *d, unsigned type, struct event *out)
{
    for (;;) {
        uint64_t at = EVENTS + 16 * (d->taken % N_EVENTS);
        *out = (struct event){ peek(d, at, 8), (uint32_t)peek(d, at + 8, 4),
                               (uint32_t)peek(d, at + 12, 4) };
        if ((out->control & 1) != d->cycle)
            return false;
        if (++d->taken % N_EVENTS == 0)
            d->cycle = !d->cycle;
        set64(d, RUNTIME + 0x38, (BOARD_RAM + EVENTS + 16 * (d->taken % N_EVENTS)) | 8);
        if ((out->control >> 10 & 63) == type)
            return true;
    }
}

static unsigned command(struct driver *d, uint64_t parameter, uint32_t control)
{
    struct event e;
    put_trb(d, COMMANDS + 16 * d->n_commands++, parameter, 0, control | CYCLE);
    set(d, DOORBELL, 0);
    assert_true(take_event(d, 33, &e));
    assert_int_equal(e.parameter, BOARD_RAM + COMMANDS + 16 * (d->n_commands - 1));
    if (e.control >> 24)
        d->slot = e.control >> 24;
    return e.status >> 24;
}

static struct driver start(void)
{
    struct driver d = { .g = guest_new(), .cycle = true };
    d.host = guest_add(d.g, &qemu_xhci_class, "addr", "3", "id", "usb", NULL);
    guest_place_bars(d.g, XHCI);
    d.bar = guest_config_read(d.g, XHCI, PCI_BAR0, 4) & ~15u;
    return d;
}

static void run(struct driver *d)
{
    assert_int_equal(get(d, 0) & 0xff, OP);
    set(d, OP, 2);
    assert_int_equal(get(d, OP + 4) & 1, 1);
    set(d, OP + 0x38, 8);
    set64(d, OP + 0x30, BOARD_RAM + DCBAA);
    set64(d, OP + 0x18, (BOARD_RAM + COMMANDS) | 1);
    ram(d, ERST, 8, BOARD_RAM + EVENTS);
    ram(d, ERST + 8, 8, N_EVENTS);
    set(d, RUNTIME + 0x28, 1);
    set64(d, RUNTIME + 0x38, BOARD_RAM + EVENTS);
    set64(d, RUNTIME + 0x30, BOARD_RAM + ERST);
    set(d, RUNTIME + 0x20, 2);
    set(d, OP, 5);
    assert_int_equal(get(d, OP + 4) & 1, 0);
}

/* Input context: endpoint context `index` at its ring. */
static void put_endpoint(struct driver *d, unsigned index, unsigned type, unsigned packet)
{
    uint64_t at = INPUT + 32 + 32 * index;
    ram(d, at + 4, 4, type << 3 | packet << 16);
    ram(d, at + 8, 8, (BOARD_RAM + RINGS + 0x1000 * index) | 1);
}

static void address(struct driver *d, unsigned port)
{
    assert_int_equal(command(d, 0, 9 << 10), SUCCESS);
    ram(d, DCBAA + 8 * d->slot, 8, BOARD_RAM + CONTEXT);
    ram(d, INPUT + 4, 4, 3);
    ram(d, INPUT + 32, 4, 1u << 27);
    ram(d, INPUT + 36, 4, port << 16);
    put_endpoint(d, 1, 4, 64);
    set(d, PORTSC + 16 * (port - 1), 1 << 4 | 1 << 9);
    assert_int_equal(command(d, BOARD_RAM + INPUT, 11 << 10 | d->slot << 24), SUCCESS);
}

static void put(struct driver *d, unsigned endpoint, uint64_t parameter, uint32_t status,
                uint32_t control)
{
    put_trb(d, RINGS + 0x1000 * endpoint + 16 * d->n_put[endpoint]++, parameter, status,
            control | CYCLE);
}

static struct event ring(struct driver *d, unsigned endpoint)
{
    struct event e = { 0 };
    set(d, DOORBELL + 4 * d->slot, endpoint);
    take_event(d, 32, &e);
    return e;
}

static unsigned control(struct driver *d, uint64_t setup, uint32_t n)
{
    bool in = setup & 0x80;
    put(d, 1, setup, 8, SETUP << 10 | IDT | (n ? in ? 3u : 2u : 0) << 16);
    if (n)
        put(d, 1, BOARD_RAM + DATA, n, DATA_STAGE << 10 | (uint32_t)in << 16);
    put(d, 1, 0, 0, STATUS << 10 | IOC | (uint32_t) !(n && in) << 16);
    return ring(d, 1).status >> 24;
}

static void configure(struct driver *d, uint32_t add)
{
    ram(d, INPUT + 4, 4, add | 1);
    assert_int_equal(command(d, BOARD_RAM + INPUT, 12 << 10 | d->slot << 24), SUCCESS);
    assert_int_equal(control(d, 0x010900, 0), SUCCESS);
}

static struct driver with_keyboard(void)
{
    struct driver d = start();
    board_add(d.g->b, "usb-kbd", "bus", "usb.0", "port", "2", NULL);
    run(&d);
    address(&d, 2);
    put_endpoint(&d, 3, 7, 8);
    configure(&d, 1 << 3);
    return d;
}

/* ---- facts ------------------------------------------------------------------------------------------------------- */
static void commands_answer_on_the_event_ring(void **unused)
{
    struct driver d = start();
    run(&d);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(command(&d, 0, NOOP_COMMAND << 10), SUCCESS);
    assert_int_equal(command(&d, 0, 40 << 10), TRB_ERROR);
    assert_int_equal(command(&d, 0, 10 << 10 | 5 << 24), 11); /* slot not enabled */
    for (unsigned i = 1; i <= 8; i++) {
        assert_int_equal(command(&d, 0, 9 << 10), SUCCESS);
        assert_int_equal(d.slot, i);
    }
    assert_int_equal(command(&d, 0, 9 << 10), 9);
    guest_free(d.g);
}

static void a_port_tells_of_its_device(void **unused)
{
    struct driver d = start();
    struct event e;
    run(&d);
    assert_int_equal(get(&d, PORTSC) & 1, 0);
    struct device *tablet = board_add(d.g->b, "usb-tablet", NULL);
    assert_int_equal(get(&d, PORTSC) & 0x20001, 0x20001);
    assert_true(take_event(&d, 34, &e));
    assert_int_equal(e.parameter >> 24, 1);
    set(&d, PORTSC, 1 << 17 | 1 << 9);
    assert_int_equal(get(&d, PORTSC) & 0x20003, 1);
    set(&d, PORTSC, 1 << 4 | 1 << 9);
    assert_int_equal(get(&d, PORTSC) & 0x200003, 0x200003);
    device_free(tablet);
    assert_true(take_event(&d, 34, &e));
    assert_true(take_event(&d, 34, &e));
    assert_int_equal(get(&d, PORTSC) & 0x20003, 0x20000);
    guest_free(d.g);
}

static void descriptors_come_by_control_transfers(void **unused)
{
    struct driver d = with_keyboard();
    assert_int_equal(control(&d, 0x0012000001000680, 18), SUCCESS);
    assert_int_equal(peek(&d, DATA, 2), 0x0112);
    assert_int_equal(peek(&d, DATA + 8, 2), 0x0627);
    assert_int_equal(control(&d, 0x00ff000099000680, 255), STALL);
    assert_int_equal(peek(&d, CONTEXT + 32, 4) & 7, 2); /* halted */
    assert_int_equal(command(&d, 0, 14 << 10 | 1 << 16 | d.slot << 24), SUCCESS);
    assert_int_equal(command(&d, 0, 14 << 10 | 1 << 16 | d.slot << 24), CONTEXT_STATE);
    guest_free(d.g);
}

static void a_key_arrives_as_a_report(void **unused)
{
    struct driver d = with_keyboard();
    struct vm *vm = d.g->b->vm;
    struct input_event a = { INPUT_EV_KEY, 30, 1 };
    assert_false(input_available(vm, INPUT_KEYBOARD)); /* nobody reads it yet */
    put(&d, 3, BOARD_RAM + DATA, 8, NORMAL << 10 | IOC | ISP);
    assert_int_equal(ring(&d, 3).status, 0);
    assert_true(input_available(vm, INPUT_KEYBOARD));
    board_check(d.g->b);
    assert_true(input_send_event(vm, INPUT_KEYBOARD, &a, 1));
    struct event e;
    assert_true(take_event(&d, 32, &e));
    assert_int_equal(e.status >> 24, SUCCESS);
    assert_int_equal(peek(&d, DATA, 8), 0x040000);
    ram(&d, DATA, 1, 2); /* caps lock */
    assert_int_equal(control(&d, 0x0001000002000921, 1), SUCCESS);
    assert_int_equal(input_leds(vm), 2);
    guest_free(d.g);
}

static void a_stopped_endpoint_goes_on_where_it_is_told(void **unused)
{
    struct driver d = with_keyboard();
    struct event e;
    put(&d, 3, BOARD_RAM + DATA, 8, NORMAL << 10 | IOC);
    ring(&d, 3);
    put_trb(&d, COMMANDS + 16 * d.n_commands++, 0, 0, 15 << 10 | 3 << 16 | d.slot << 24 | CYCLE);
    set(&d, DOORBELL, 0);
    assert_true(take_event(&d, 32, &e));
    assert_int_equal(e.status >> 24, 26);
    assert_true(take_event(&d, 33, &e));
    assert_int_equal(peek(&d, CONTEXT + 96, 4) & 7, 3);
    assert_int_equal(
        command(&d, (BOARD_RAM + RINGS + 0x3100) | 1, 16 << 10 | 3 << 16 | d.slot << 24), SUCCESS);
    assert_int_equal(peek(&d, CONTEXT + 96 + 8, 8), (BOARD_RAM + RINGS + 0x3100) | 1);
    guest_free(d.g);
}

/* ---- a disk ------------------------------------------------------------------------------------------------------- */
static void close_blk(void *blk)
{
    blk_close(blk);
}

static void transport(struct driver *d, bool in, uint32_t n, const uint8_t *cdb, unsigned n_cdb)
{
    uint8_t cbw[31] = {
        'U', 'S', 'B', 'C', 1, 2, 3, 4, [12] = in ? 0x80 : 0, [14] = (uint8_t)n_cdb
    };
    store_le(cbw + 8, 4, n);
    memcpy(cbw + 15, cdb, n_cdb);
    board_ram_write(d->g->b, DATA + 0x8000, cbw, sizeof(cbw));
    put(d, 4, BOARD_RAM + DATA + 0x8000, 31, NORMAL << 10 | IOC);
    assert_int_equal(ring(d, 4).status >> 24, SUCCESS);
}

/* The image may take its time. */
static struct event wait_for_transfer(struct driver *d)
{
    struct event e = { 0 };
    for (int i = 0; i < 5000 && !take_event(d, 32, &e); i++) {
        board_step(d->g->b);
        usleep(1000);
    }
    return e;
}

static unsigned status_of(struct driver *d)
{
    put(d, 3, BOARD_RAM + DATA + 0x8100, 13, NORMAL << 10 | IOC);
    set(d, DOORBELL + 4 * d->slot, 3);
    assert_int_equal(wait_for_transfer(d).status >> 24, SUCCESS);
    assert_int_equal(peek(d, DATA + 0x8104, 4), 0x04030201);
    return (unsigned)peek(d, DATA + 0x810c, 1);
}

/* A disk of 1 MiB at a port of SuperSpeed, which has told of its reset. */
static struct driver with_disk(char *path, int *fd)
{
    static const uint8_t ready[6];
    struct driver d = start();
    struct blk *blk;
    *fd = mkstemp(path);
    assert_true(*fd >= 0 && !ftruncate(*fd, 1 << 20));
    assert_null(blk_open(d.g->b->vm, &(struct blk_options){ .file = path }, &blk));
    assert_null(backend_add(d.g->b->vm, BACKEND_DRIVE, "d0", blk, close_blk));
    board_add(d.g->b, "usb-storage", "drive", "d0", NULL);
    run(&d);
    address(&d, 5); /* behind the four ports of USB 2 */
    put_endpoint(&d, 3, 6, 1024);
    put_endpoint(&d, 4, 2, 1024);
    configure(&d, 3 << 3);
    transport(&d, false, 0, ready, 6);
    assert_int_equal(status_of(&d), 1);
    return d;
}

static void a_reset_ends_what_waits_for_the_image(void **unused)
{
    static const uint8_t write[10] = { 0x2a, 8 /* to the medium itself */, [8] = 1 }, ready[6];
    char path[] = "/tmp/tandem-usb-XXXXXX";
    struct event e;
    int fd;
    struct driver d = with_disk(path, &fd);
    transport(&d, false, 512, write, 10);
    put(&d, 4, BOARD_RAM + DATA, 512, NORMAL << 10 | IOC);
    set(&d, DOORBELL + 4 * d.slot, 4);
    assert_false(take_event(&d, 32, &e));
    assert_int_equal(control(&d, 0xff21, 0), SUCCESS);
    e = wait_for_transfer(&d);
    assert_int_equal(e.control >> 16 & 31, 4);
    assert_int_equal(e.status >> 24, 4); /* transaction error */
    assert_int_equal(command(&d, 0, 14 << 10 | d.slot << 24 | 4 << 16), SUCCESS);
    assert_int_equal(command(&d, (BOARD_RAM + RINGS + 0x4000 + 16 * d.n_put[4]) | 1,
                             16 << 10 | d.slot << 24 | 4 << 16),
                     SUCCESS);
    transport(&d, false, 0, ready, 6);
    assert_int_equal(status_of(&d), 0);
    guest_free(d.g);
    close(fd);
    unlink(path);
}

static void a_disk_is_written_and_read(void **unused)
{
    static const uint8_t ready[6], write[10] = { 0x2a, [5] = 3, [8] = 2 },
                                   read[10] = { 0x28, [5] = 3, [8] = 2 },
                                   far[10] = { 0x28, 0, 0, 0xff, [8] = 1 };
    char path[] = "/tmp/tandem-usb-XXXXXX";
    struct event e;
    int fd;
    struct driver d = with_disk(path, &fd); /* it was reset, and said so once */
    transport(&d, false, 0, ready, 6);
    assert_int_equal(status_of(&d), 0);

    board_ram_write(d.g->b, DATA, "a block", 8);
    board_ram_write(d.g->b, DATA + 1000, "its end", 8);
    transport(&d, false, 1024, write, 10);
    put(&d, 4, BOARD_RAM + DATA, 100, NORMAL << 10 | CHAIN);
    put(&d, 4, BOARD_RAM + DATA + 100, 924, NORMAL << 10 | IOC);
    set(&d, DOORBELL + 4 * d.slot, 4);
    assert_int_equal(wait_for_transfer(&d).status >> 24, SUCCESS);
    assert_int_equal(status_of(&d), 0);
    char got[8];
    assert_int_equal(pread(fd, got, 8, 3 * 512 + 1000), 8);
    assert_string_equal(got, "its end");

    transport(&d, true, 1024, read, 10);
    put(&d, 3, BOARD_RAM + DATA + 0x1000, 300, NORMAL << 10); /* in two pieces */
    put(&d, 3, BOARD_RAM + DATA + 0x1000 + 300, 724, NORMAL << 10);
    set(&d, DOORBELL + 4 * d.slot, 3);
    assert_int_equal(status_of(&d), 0);
    board_ram_read(d.g->b, DATA + 0x1000 + 1000, got, 8);
    assert_string_equal(got, "its end");

    transport(&d, true, 512, far, 10);
    put(&d, 3, BOARD_RAM + DATA, 512, NORMAL << 10 | IOC);
    set(&d, DOORBELL + 4 * d.slot, 3);
    assert_true(take_event(&d, 32, &e));
    assert_int_equal(e.status >> 24, STALL);
    board_check(d.g->b);
    guest_free(d.g);
    close(fd);
    unlink(path);
}

/* ---- guests that mean harm ---------------------------------------------------------------------------------------- */
static void rings_that_never_end_do_not_hang(void **unused)
{
    struct driver d = with_keyboard();
    struct event e;
    put_trb(&d, RINGS + 0x3000, BOARD_RAM + RINGS + 0x3000, 0, LINK << 10 | CYCLE);
    assert_int_equal(ring(&d, 3).status >> 24, TRB_ERROR);
    assert_int_equal(peek(&d, CONTEXT + 96, 4) & 7, 4);
    uint64_t at = RINGS + 0x1000 + 16 * d.n_put[1];
    for (unsigned i = 0; i < 3; i++) /* a control transfer and back again, for ever, with events */
        put_trb(&d, at + 16 * i, i ? 0 : 0x010900, i ? 0 : 8,
                (i == 0   ? SETUP << 10 | IDT
                 : i == 1 ? STATUS << 10 | IOC
                          : LINK << 10) |
                    CYCLE);
    ram(&d, at + 32, 8, BOARD_RAM + at);
    set(&d, DOORBELL + 4 * d.slot, 1);
    for (unsigned i = 0; i < 5; i++)
        board_advance_ns(d.g->b, 125000);
    bool full = false;
    while (take_event(&d, 37, &e))
        full |= e.status >> 24 == RING_FULL;
    assert_true(full);
    guest_free(d.g);
}

static void a_ring_that_never_ends_lets_others_have_their_turn(void **unused)
{
    struct driver d = with_keyboard();
    uint64_t at = RINGS + 0x1000 + 16 * d.n_put[1];
    put_trb(&d, at, 0, 0, 8 << 10 | CYCLE); /* no-op: it does nothing, for ever */
    put_trb(&d, at + 16, BOARD_RAM + at, 0, LINK << 10 | CYCLE);
    set(&d, DOORBELL + 4 * d.slot, 1);
    put(&d, 3, BOARD_RAM + DATA, 8, NORMAL << 10 | IOC);
    ring(&d, 3);
    struct input_event key = { 1, 30, 1 };
    struct event e;
    assert_true(input_send_event(d.g->b->vm, INPUT_KEYBOARD, &key, 1));
    for (unsigned i = 0; i < 3; i++)
        board_advance_ns(d.g->b, 125000);
    assert_true(take_event(&d, 32, &e));
    assert_int_equal(e.status >> 24, SUCCESS);
    assert_int_equal(e.control >> 16 & 31, 3);
    assert_int_equal(peek(&d, DATA + 2, 1), 4);
    guest_free(d.g);
}

static void a_long_command_ring_goes_on_by_itself(void **unused)
{
    struct driver d = start();
    run(&d);
    put_trb(&d, COMMANDS, 0, 0, NOOP_COMMAND << 10 | CYCLE);
    put_trb(&d, COMMANDS + 16, BOARD_RAM + COMMANDS, 0, LINK << 10 | CYCLE);
    set(&d, DOORBELL, 0); /* comes back, though there is no end */
    put_trb(&d, COMMANDS + 16, BOARD_RAM + COMMANDS + 0x100, 0, LINK << 10 | CYCLE);
    put_trb(&d, COMMANDS + 0x100, 0, 0, 9 << 10 | CYCLE); /* enable slot */
    put_trb(&d, COMMANDS + 0x110, 0, 0, 0);
    board_advance_ns(d.g->b, 125000);
    struct event e;
    while (take_event(&d, 33, &e)) {
    }
    d.n_commands = 0x11;
    assert_int_equal(command(&d, 0, 9 << 10), SUCCESS);
    assert_int_equal(d.slot, 2);
    guest_free(d.g);
}

/* What the host's memory holds must not come out where a guest's address leads nowhere. */
static void a_transfer_ring_outside_memory_tells_only_where_it_is(void **unused)
{
    struct driver d = with_keyboard();
    struct event e;
    assert_int_equal(command(&d, 0, 15 << 10 | d.slot << 24 | 3 << 16), SUCCESS); /* stop */
    assert_int_equal(command(&d, 0x7000000000 | 1, 16 << 10 | d.slot << 24 | 3 << 16), SUCCESS);
    e = ring(&d, 3);
    assert_int_equal(e.status, (uint32_t)TRB_ERROR << 24);
    assert_int_equal(e.parameter, 0x7000000000);
    guest_free(d.g);
}

static void more_than_six_keys_are_told_when_some_are_let_go(void **unused)
{
    struct driver d = with_keyboard();
    for (unsigned i = 0; i < 9; i++) { /* seven go down, two up */
        struct input_event key = { 1, i < 7 ? 30 + i : 23 + i, i < 7 };
        put(&d, 3, BOARD_RAM + DATA, 8, NORMAL << 10 | IOC);
        if (!i)
            ring(&d, 3);
        assert_true(input_send_event(d.g->b->vm, INPUT_KEYBOARD, &key, 1));
        if (i == 5)
            assert_int_equal(peek(&d, DATA + 2, 6), 0x0b0a09071604); /* a s d f g h */
        if (i == 6)
            assert_int_equal(peek(&d, DATA + 2, 6), 0x010101010101);
        if (i == 8)
            assert_int_equal(peek(&d, DATA + 2, 6), 0x000d0b0a0907);
        ring(&d, 3);
    }
    guest_free(d.g);
}

static void movements_that_nobody_asks_for_add_up_to_a_bound(void **unused)
{
    struct driver d = start();
    board_add(d.g->b, "usb-mouse", "port", "1", NULL);
    run(&d);
    address(&d, 1);
    put_endpoint(&d, 3, 7, 8);
    configure(&d, 1 << 3);
    put(&d, 3, BOARD_RAM + DATA, 8, NORMAL << 10 | IOC);
    ring(&d, 3);
    struct input_event right = { 2, 0, 32767 };
    for (unsigned i = 0; i < 70000; i++)
        assert_true(input_send_event(d.g->b->vm, INPUT_MOUSE, &right, 1));
    put(&d, 3, BOARD_RAM + DATA, 8, NORMAL << 10 | IOC);
    assert_int_equal(ring(&d, 3).status >> 24, SHORT);
    assert_int_equal(peek(&d, DATA + 1, 1), 127); /* to the right, still */
    guest_free(d.g);
}

static void rings_outside_memory_stop_the_controller(void **unused)
{
    struct driver d = start();
    run(&d);
    set(&d, OP, 0);
    set64(&d, OP + 0x18, 0x123456789000 | 1);
    set(&d, OP, 1);
    set(&d, DOORBELL, 0);
    assert_int_equal(get(&d, OP + 4) & 0x1001, 0x1001); /* HCE, halted */
    set(&d, OP, 1);
    assert_int_equal(get(&d, OP + 4) & 1, 1);
    run(&d);
    set64(&d, RUNTIME + 0x30, 0xfffffffffff0);
    set64(&d, OP + 0x18, (BOARD_RAM + COMMANDS) | 1);
    put_trb(&d, COMMANDS, 0, 0, NOOP_COMMAND << 10 | CYCLE);
    set(&d, DOORBELL, 0);
    assert_int_equal(get(&d, OP + 4) & 5, 5); /* HSE */
    guest_free(d.g);
}

static void contexts_are_checked(void **unused)
{
    struct driver d = start();
    board_add(d.g->b, "usb-mouse", NULL);
    run(&d);
    assert_int_equal(command(&d, 0, 9 << 10), SUCCESS);
    assert_int_equal(command(&d, 0x7777777770, 11 << 10 | d.slot << 24), 17);
    assert_int_equal(command(&d, BOARD_RAM + INPUT, 11 << 10 | d.slot << 24),
                     17); /* nothing is added */
    assert_int_equal(command(&d, BOARD_RAM + INPUT, 12 << 10 | d.slot << 24), CONTEXT_STATE);
    ram(&d, INPUT + 4, 4, 3);
    ram(&d, INPUT + 36, 4, 200 << 16);
    put_endpoint(&d, 1, 4, 64);
    assert_int_equal(command(&d, BOARD_RAM + INPUT, 11 << 10 | d.slot << 24), 4); /* no such port */
    guest_free(d.g);
}

static void a_keyboard_behind_a_hub_is_reached(void **unused)
{
    struct driver d = start();
    board_add(d.g->b, "usb-hub", "port", "2", "ports", "4", NULL);
    struct device *kbd = board_add(d.g->b, "usb-kbd", "port", "2.3", NULL);
    run(&d);
    address(&d, 2);
    put_endpoint(&d, 3, 7, 2);
    configure(&d, 1 << 3);
    assert_int_equal(control(&d, 0x00090000290006a0, 9), SUCCESS);
    assert_int_equal(peek(&d, DATA, 3), 0x042909);
    assert_int_equal(control(&d, 0x300080323, 0), SUCCESS); /* power for port 3 */
    put(&d, 3, BOARD_RAM + DATA, 2, NORMAL << 10 | IOC | ISP);
    assert_int_equal(ring(&d, 3).status >> 24, SHORT); /* of 2 bytes, for up to 15 ports */
    assert_int_equal(peek(&d, DATA, 1), 1 << 3);
    assert_int_equal(control(&d, 0x00040003000000a3, 4), SUCCESS);
    assert_int_equal(peek(&d, DATA, 4), 0x10501); /* high speed, power, connected, that is new */
    assert_int_equal(control(&d, 0x300040323, 0), SUCCESS); /* reset */
    assert_int_equal(control(&d, 0x9000080323, 0), STALL);  /* there is no port 144 */

    for (unsigned i = 0; i < N_TRBS; i++)
        put_trb(&d, RINGS + 0x1000 + 16 * i, 0, 0, 0);
    d.n_put[1] = 0;
    assert_int_equal(command(&d, 0, 9 << 10), SUCCESS);
    ram(&d, DCBAA + 8 * d.slot, 8, BOARD_RAM + CONTEXT + 0x400);
    ram(&d, INPUT + 4, 4, 3);
    put_endpoint(&d, 1, 4, 64);
    static const struct {
        uint32_t route;
        unsigned code;
    } routes[] = { { 4, 4 }, { 5, 4 }, { 0x33, 4 }, { 0x30, 4 }, { 3, SUCCESS } };
    for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
        ram(&d, INPUT + 32, 4, 1u << 27 | routes[i].route);
        assert_int_equal(command(&d, BOARD_RAM + INPUT, 11 << 10 | d.slot << 24), routes[i].code);
    }
    assert_int_equal(control(&d, 0x0012000001000680, 18), SUCCESS);
    assert_int_equal(peek(&d, DATA + 8, 4), 0x10627); /* the keyboard's vendor and product */
    device_free(kbd);
    put(&d, 1, 0x0012000001000680, 8, SETUP << 10 | IDT | 3 << 16);
    put(&d, 1, 0, 0, STATUS << 10 | IOC);
    assert_int_equal(ring(&d, 1).status >> 24, 4); /* nobody answers */
    board_check(d.g->b);
    guest_free(d.g);
}

static void hubs_are_five_deep(void **unused)
{
    struct driver d = start();
    static const char *const ports[] = { "1", "1.8", "1.8.1", "1.8.1.4", "1.8.1.4.8" };
    for (size_t i = 0; i < ARRAY_LEN(ports); i++)
        board_add(d.g->b, "usb-hub", "port", ports[i], NULL);
    char *text = board_refuses(d.g->b, "usb-hub", "port", "1.8.1.4.8.1", NULL);
    assert_non_null(strstr(text, "port='1.8.1.4.8.1'"));
    free(text);
    struct device *kbd = board_add(d.g->b, "usb-kbd", "port", "1.8.1.4.8.1", NULL);
    struct device *top = board_add(d.g->b, "usb-hub", "port", "3", NULL);
    struct device *below = board_add(d.g->b, "usb-mouse", "port", "3.1", NULL);
    assert_ptr_equal(usb_device_of(kbd)->bus->host, d.host);
    assert_ptr_equal(below->parent, top);
    device_unplugged(top);
    assert_null(usb_device_of(d.host));
    text = board_refuses(d.g->b, "usb-kbd", "port", "3.1", NULL);
    free(text);
    guest_free(d.g); /* the controller goes first */
}

static void what_is_plugged_in_goes_with_its_controller(void **unused)
{
    struct driver d = with_keyboard();
    put(&d, 3, BOARD_RAM + DATA, 8, NORMAL << 10 | IOC);
    ring(&d, 3); /* it waits for a key */
    device_unplugged(d.host);
    for (struct device *dev = d.g->b->vm->devices; dev; dev = dev->next)
        assert_null(strstr(dev->cls->name, "usb"));
    guest_free(d.g);
}

static void a_bus_or_port_that_is_not_there_is_refused(void **unused)
{
    struct driver d = start();
    static const char *const cases[][3] = {
        { "bus", "usb9.0", "usb9.0" },
        { "port", "5", "port='5'" },
        { "port", "x", "port='x'" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = board_refuses(d.g->b, "usb-kbd", cases[i][0], cases[i][1], NULL);
        assert_non_null(strstr(text, cases[i][2]));
        free(text);
    }
    for (unsigned i = 0; i < 4; i++)
        board_add(d.g->b, "usb-kbd", NULL);
    char *text = board_refuses(d.g->b, "usb-kbd", NULL);
    assert_non_null(strstr(text, "no free port"));
    free(text);
    guest_free(d.g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_answer_on_the_event_ring),
        cmocka_unit_test(a_port_tells_of_its_device),
        cmocka_unit_test(descriptors_come_by_control_transfers),
        cmocka_unit_test(a_key_arrives_as_a_report),
        cmocka_unit_test(a_stopped_endpoint_goes_on_where_it_is_told),
        cmocka_unit_test(a_disk_is_written_and_read),
        cmocka_unit_test(a_reset_ends_what_waits_for_the_image),
        cmocka_unit_test(rings_that_never_end_do_not_hang),
        cmocka_unit_test(a_ring_that_never_ends_lets_others_have_their_turn),
        cmocka_unit_test(a_long_command_ring_goes_on_by_itself),
        cmocka_unit_test(a_transfer_ring_outside_memory_tells_only_where_it_is),
        cmocka_unit_test(more_than_six_keys_are_told_when_some_are_let_go),
        cmocka_unit_test(movements_that_nobody_asks_for_add_up_to_a_bound),
        cmocka_unit_test(rings_outside_memory_stop_the_controller),
        cmocka_unit_test(contexts_are_checked),
        cmocka_unit_test(a_keyboard_behind_a_hub_is_reached),
        cmocka_unit_test(hubs_are_five_deep),
        cmocka_unit_test(what_is_plugged_in_goes_with_its_controller),
        cmocka_unit_test(a_bus_or_port_that_is_not_there_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
