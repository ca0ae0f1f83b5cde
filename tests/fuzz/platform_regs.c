/* Every register of a board's own devices, with all widths, in any order, while time goes on. */
#include "../unit/board.h"

#include "core/chardev.h"
#include "core/error.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/intc/aplic.h"
#include "hw/intc/i8259.h"
#include "hw/intc/ioapic.h"
#include "hw/intc/lapic.h"
#include "hw/intc/plic.h"
#include "hw/misc/acpi_pm.h"
#include "hw/timer/hpet.h"
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

/* A PC's devices that take their wires from the board. */
static const char *const pc_devices[] = {
    "isa-i8259", "apic",    "ioapic",         "isa-pit",    "hpet",         "mc146818rtc",
    "i8042",     "ICH9-PM", "PIIX4-PM-block", "isa-serial", "isa-parallel", "fw_cfg_io",
};
enum { N_WORLDS = 10 + ARRAY_LEN(pc_devices) };

/* Regions beyond the first are where the kit puts them, in steps of 16 MiB. */
static struct board *pc_world(unsigned which)
{
    struct board *b = board_with(pc_devices[which], NULL);
    b->vm->no_reboot = true;
    return b;
}

static struct irq pc_input(struct board *b, unsigned which, uint8_t v)
{
    switch (which) {
    case 0: return i8259_input(b->dev, v % 16 == 2 ? 3 : v % 16);
    case 1: return apic_lint(b->dev, v % 2);
    case 2: return ioapic_input(b->dev, v % IOAPIC_N_PINS);
    case 4: return hpet_legacy_input(b->dev, v % 2);
    case 7: return acpi_pm_gpe_input(b->dev, v % 64);
    case 8: return acpi_pm_gpe_input(b->dev, v % 16);
    default: return (struct irq){ 0 };
    }
}

/* A request in RAM, and its address to the DMA register (QEMU's docs/specs/fw_cfg): selects, reads, writes, skips. */
static void fw_cfg_dma(struct board *b, uint8_t what, uint64_t v)
{
    uint8_t request[16] = { [1] = (uint8_t)(v >> 8), [3] = what };
    store_le(request + 4, 4, __builtin_bswap32((uint32_t)(v >> 16) & 0xff));
    store_le(request + 8, 8,
             __builtin_bswap64(BOARD_RAM + (v >> 24 & 0xff) + (v >> 63 ? BOARD_RAM_SIZE - 64 : 0)));
    board_ram_write(b, 0x100, request, sizeof(request));
    board_poke(b, BOARD_MMIO + 4, 4, 0);
    board_poke(b, BOARD_MMIO + 8, 4, __builtin_bswap32((uint32_t)BOARD_RAM + 0x100));
}

/* What the vCPU does beside its bus: acknowledge, MSRs. */
static void pc_cpu(struct board *b, unsigned which, uint8_t what, uint64_t v)
{
    if (which == 0)
        i8259_acknowledge(b->dev);
    if (which == 11)
        fw_cfg_dma(b, what, v);
    if (which != 1)
        return;
    if (what % 4 == 0)
        lapic_accept(lapic_of(b->dev, 0));
    else if (what % 4 == 1)
        lapic_write_msr(lapic_of(b->dev, 0), 0x1b, v);
    else if (what % 4 == 2)
        lapic_write_msr(lapic_of(b->dev, 0), 0x800 + what / 4, v);
    else
        lapic_write_msr(lapic_of(b->dev, 0), 0x6e0, v);
}

static struct board *world_new(unsigned which)
{
    if (which >= 10)
        return pc_world(which - 10);
    switch (which) {
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
    if (which >= 10)
        irq = pc_input(b, which - 10, v & 127);
    else if (which == 0)
        irq = plic_input(b->dev, 1 + v % 95);
    else if (which <= 2)
        irq = aplic_input(b->dev, 1 + v % 96);
    irq_set(&irq, v & 128);
}

static gpa place(unsigned which, uint8_t what, uint16_t v)
{
    if (which >= 10) /* one of the first four regions, near its start */
        return BOARD_MMIO + (v >> 14) * (SECOND - BOARD_MMIO) + (v & 0x3ff);
    gpa at = (what & 128 ? SECOND : BOARD_MMIO) + v;
    return what & 64 ? at + 0x200000 - 0x8000 : at; /* a PLIC's contexts */
}

static void step(struct board *b, unsigned which, struct tape *t)
{
    uint8_t what = tape_u8(t);
    unsigned size = 1u << (what >> 4 & 3);
    gpa at = place(which, what, tape_u16(t));
    switch (what & 15) {
    case 0: drive_wire(b, which, tape_u8(t)); break;
    case 1: board_advance_ns(b, tape_u32(t)); break;
    case 2: device_reset(b->dev); break;
    case 3: board_ram_write(b, tape_u8(t), (uint8_t[]){ tape_u8(t) }, 1); break;
    case 4:
        if (which >= 10)
            pc_cpu(b, which - 10, tape_u8(t), tape_u64(t));
        else
            board_poke(b, BOARD_MMIO + 16, 8, __builtin_bswap64(BOARD_RAM + tape_u8(t)));
        break;
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
    unsigned which = tape_u8(&t) % N_WORLDS;
    struct board *b = world_new(which);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(b, which, &t);
    board_check(b);
    board_free(b);
    return 0;
}
