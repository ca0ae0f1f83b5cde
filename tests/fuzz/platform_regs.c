/* Every register of a board's own devices, with all widths, in any order, while time goes on. */
#include "../unit/board.h"

#include "core/chardev.h"
#include "core/error.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/intc/aplic.h"
#include "hw/intc/plic.h"
#include "tape.h"

#include <stdlib.h>

enum { MAX_STEPS = 400 };
#define SECOND 0x11000000 /* where the child of a domain is */

static struct board *plic_world(void)
{
    struct board *b = board_with("sifive-plic", "num-contexts", "4", NULL);
    for (unsigned i = 0; i < 4; i++)
        *plic_output(b->dev, i) = board_irq(b, i);
    return b;
}

static struct board *aplic_world(const char *msi)
{
    struct board *b = board_with("riscv-aplic", "num-harts", "2", "msi", msi, NULL);
    aplic_set_child(b->dev, board_add(b, "riscv-aplic", "num-harts", "2", "msi", msi, "supervisor",
                                      "on", "addr", "0x11000000", NULL));
    return b;
}

static struct board *uart_world(void)
{
    struct board *b = board_new();
    struct chardev *line;
    struct error *err = chardev_add(b->vm, "c0", "ringbuf", &line);
    if (err)
        abort();
    board_add(b, "ns16550a", "chardev", "c0", NULL);
    chardev_feed(line, (const uint8_t *)"0123456789abcdefghij", 20);
    return b;
}

static struct board *fw_cfg_world(void)
{
    struct board *b = board_with("fw-cfg-mmio", NULL);
    if (fw_cfg_add_file(b->dev, "opt/x", "0123456789", 10))
        abort();
    return b;
}

static struct board *world_new(unsigned which)
{
    switch (which % 10) {
    case 0: return plic_world();
    case 1: return aplic_world("off");
    case 2: return aplic_world("on");
    case 3: return uart_world();
    case 4: return fw_cfg_world();
    case 5: return board_with("riscv-aclint-mtimer", "num-harts", "2", NULL);
    case 6: return board_with("riscv-aclint-swi", "num-harts", "2", NULL);
    case 7: return board_with("goldfish-rtc", NULL);
    case 8: return board_with("riscv-imsic", NULL);
    default: return board_with("cfi.pflash01", "size", "256K", "addr", "0x10000000", NULL);
    }
}

static void drive_wire(struct board *b, unsigned which, uint8_t v)
{
    struct irq irq = { 0 };
    if (which % 10 == 0)
        irq = plic_input(b->dev, 1 + v % 95);
    else if (which % 10 <= 2)
        irq = aplic_input(b->dev, 1 + v % 96);
    irq_set(&irq, v & 128);
}

static void step(struct board *b, unsigned which, struct tape *t)
{
    uint8_t what = tape_u8(t);
    unsigned size = 1u << (what >> 4 & 3);
    gpa at = (what & 128 ? SECOND : BOARD_MMIO) + tape_u16(t);
    if (what & 64)
        at += 0x200000 - 0x8000; /* a PLIC's contexts */
    switch (what & 15) {
    case 0: drive_wire(b, which, tape_u8(t)); break;
    case 1: board_advance_ns(b, tape_u32(t)); break;
    case 2: device_reset(b->dev); break;
    case 3: board_ram_write(b, tape_u8(t), (uint8_t[]){ tape_u8(t) }, 1); break;
    case 4: board_poke(b, BOARD_MMIO + 16, 8, __builtin_bswap64(BOARD_RAM + tape_u8(t))); break;
    case 5:
    case 6:
    case 7:
    case 8: board_peek(b, at, size); break;
    case 9:
    case 10: board_poke(b, at, size, tape_u8(t)); break;
    default: board_poke(b, at, size, tape_u64(t));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    unsigned which = tape_u8(&t);
    struct board *b = world_new(which);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(b, which, &t);
    board_check(b);
    board_free(b);
    return 0;
}
