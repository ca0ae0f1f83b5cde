/* Everything a guest can do to a VGA: registers, planes, modes, looked at now and then. The first byte chooses which
 * card it is. */
#include "../unit/virtio_guest.h"

#include "core/loop.h"
#include "tape.h"
#include "ui/display.h"

#include <stdlib.h>

enum { MAX_STEPS = 600, WINDOW = 0xa0000, WINDOW_SIZE = 0x20000, CARD = 3 << 3 };

extern const struct device_class vga_class, bochs_display_class;

struct world {
    struct board *b;
    struct tape tape;
    gpa memory, registers; /* 0: has none */
};

static void write_port(struct world *w)
{
    static const uint16_t ports[] = { 0x3c0, 0x3c2, 0x3c4, 0x3c8, 0x3c9, 0x3ce, 0x3d4, 0x3b4 };
    uint8_t which = tape_u8(&w->tape);
    uint16_t port = which & 8 ? 0x3b0 + tape_u8(&w->tape) % 0x30 : ports[which & 7];
    mem_port_write(w->b->vm, port, 1u << (which >> 4) % 3, tape_u16(&w->tape));
}

static void write_dispi(struct world *w)
{
    uint8_t reg = tape_u8(&w->tape) % 16;
    uint16_t value = tape_u16(&w->tape);
    if (w->registers) {
        board_poke(w->b, w->registers + 0x500 + 2 * reg, 2, value);
        return;
    }
    mem_port_write(w->b->vm, 0x1ce, 2, reg);
    mem_port_write(w->b->vm, 0x1cf, 2, value);
}

static void step(struct world *w)
{
    struct tape *t = &w->tape;
    uint8_t what = tape_u8(t);
    uint32_t value;
    unsigned size = 1u << (what >> 4) % 4;
    switch (what & 15) {
    case 0:
    case 1:
    case 2: write_port(w); break;
    case 3: mem_port_read(w->b->vm, 0x3b0 + tape_u8(t) % 0x30, 1, &value); break;
    case 4:
    case 5: write_dispi(w); break;
    case 6:
    case 7:
    case 8: board_poke(w->b, WINDOW + tape_u32(t) % (WINDOW_SIZE - 8), size, tape_u32(t)); break;
    case 9: board_peek(w->b, WINDOW + tape_u32(t) % (WINDOW_SIZE - 8), size); break;
    case 10:
        if (w->registers)
            board_poke(w->b, w->registers + tape_u16(t) % 4088, size, tape_u32(t));
        break;
    case 11:
        if (w->registers)
            board_peek(w->b, w->registers + tape_u16(t) % 4088, size);
        break;
    case 12:
        if (w->memory)
            board_poke(w->b, w->memory + tape_u32(t) % (MIB - 8), size, tape_u32(t));
        break;
    case 13: board_advance_ns(w->b, (uint64_t)tape_u8(t) * 10000000); break;
    case 14:
        mem_port_write(w->b->vm, 0x3c0, 1, 0x20);
        break; /* so that there is something to see */
    default: head_refresh(head_at(w->b->vm, 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    static const struct device_class *const cards[] = { NULL, &vga_class, &bochs_display_class };
    struct world w = { .tape = { bytes, n } };
    const struct device_class *card = cards[tape_u8(&w.tape) % ARRAY_LEN(cards)];
    struct guest *g = guest_new();
    w.b = g->b;
    if (!card) {
        board_add(w.b, "isa-vga", "vgamem_mb", "1", NULL);
    } else {
        guest_add(g, card, "addr", "3", "vgamem_mb", "1", NULL);
        guest_place_bars(g, CARD);
        w.memory = guest_config_read(g, CARD, PCI_BAR0, 4) & ~15u;
        w.registers = guest_config_read(g, CARD, PCI_BAR0 + 8, 4) & ~15u;
    }
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&w.tape); i++)
        step(&w);
    head_refresh(head_at(w.b->vm, 0));
    board_check(w.b);
    guest_free(g);
    return 0;
}
