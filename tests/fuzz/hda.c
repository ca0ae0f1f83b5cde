/* Everything a guest can do to an HD Audio controller and its codecs: registers, commands, lists of buffers right and
 * wrong, while time passes, sound is played and recorded, and codecs come and go. */
#include "../unit/virtio_guest.h"

#include "core/error.h"
#include "tape.h"
#include "ui/audio.h"

#include <stdio.h>
#include <stdlib.h>

extern const struct device_class ich9_intel_hda_class;

enum { HDA = 3 << 3, MAX_STEPS = 300, N_STREAMS = 8, LIST_ENTRIES = 8, NS_PER_MS = 1000000 };
/* In RAM; each stream has a list of its own. */
enum { CORB = 0x1000, RIRB = 0x2000, POSITIONS = 0x3000, LISTS = 0x4000, DATA = 0x10000 };

struct world {
    struct guest *g;
    struct board *b;
    gpa bar;
    struct tape *t;
    uint8_t put; /* in the command ring */
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static gpa stream_at(const struct world *w, unsigned i)
{
    return w->bar + 0x80 + 0x20 * (i % N_STREAMS);
}

/* A verb that means something mostly: to one of two codecs, for one of its nodes. */
static uint32_t some_verb(struct tape *t)
{
    static const uint32_t verbs[] = { 0x20000, 0x30000, 0xa0000, 0xb0000, 0x70500, 0x70600,
                                      0x70600, 0x70700, 0x70800, 0x71c00, 0x7ff00, 0xf0000,
                                      0xf0200, 0xf0600, 0xf0900, 0xf1c00 };
    uint8_t what = tape_u8(t);
    if (what >= 240)
        return tape_u32(t);
    uint32_t verb = verbs[what % ARRAY_LEN(verbs)];
    uint32_t payload =
        verb < 0x70000 || verb == 0xa0000 || verb == 0xb0000 ? tape_u16(t) : tape_u8(t);
    return (what >> 4 & 1u) << 28 | (tape_u8(t) % 7u) << 20 | verb | payload;
}

static void put_verb(struct world *w)
{
    uint8_t raw[4];
    store_le(raw, 4, some_verb(w->t));
    board_ram_write(w->b, CORB + 4u * ++w->put, raw, sizeof(raw));
    if (tape_u8(w->t) & 1)
        board_poke(w->b, w->bar + 0x48, 2, w->put);
}

static void ask_at_once(struct world *w)
{
    board_poke(w->b, w->bar + 0x60, 4, some_verb(w->t));
    board_poke(w->b, w->bar + 0x68, 2, 3);
    board_peek(w->b, w->bar + 0x64, 4);
}

static void put_entry(struct world *w)
{
    uint8_t raw[16], which = tape_u8(w->t), how = tape_u8(w->t);
    store_le(raw, 8, how < 250 ? BOARD_RAM + DATA + how * 64u : tape_u64(w->t));
    store_le(raw + 8, 4, how & 1 ? tape_u8(w->t) : tape_u16(w->t));
    store_le(raw + 12, 4, how >> 1 & 1);
    board_ram_write(w->b,
                    LISTS + 0x100 * (which % N_STREAMS) + 16 * (which / N_STREAMS % LIST_ENTRIES),
                    raw, sizeof(raw));
}

/* A stream as a driver starts it, and the converter that goes with it. */
static void start_stream(struct world *w)
{
    uint8_t which = tape_u8(w->t), cycle = tape_u8(w->t);
    gpa at = stream_at(w, which);
    unsigned node = which % N_STREAMS < 4 ? 4 : 2, format = tape_u16(w->t) & 0x7fff;
    board_poke(w->b, at + 0x18, 4, BOARD_RAM + LISTS + 0x100 * (which % N_STREAMS));
    board_poke(w->b, at + 0x08, 4, cycle * 32u);
    board_poke(w->b, at + 0x0c, 2, which / N_STREAMS % LIST_ENTRIES);
    board_poke(w->b, w->bar + 0x60, 4, node << 20 | 0x70600 | (which & 15) << 4);
    board_poke(w->b, w->bar + 0x68, 2, 1);
    board_poke(w->b, w->bar + 0x60, 4, node << 20 | 0x20000 | format);
    board_poke(w->b, w->bar + 0x68, 2, 1);
    board_poke(w->b, at, 4, (which & 15u) << 20 | 0x1e);
}

static void plug(struct world *w)
{
    const struct prop_value props[] = { { "id", "late" }, { "audiodev", "a0" } };
    struct device *dev = device_find(w->b->vm, "late");
    must(dev ? device_unplug(dev) : device_plug(w->b->vm, "hda-micro", props, ARRAY_LEN(props)));
}

static void step(struct world *w)
{
    struct tape *t = w->t;
    uint8_t what = tape_u8(t);
    switch (what & 15) {
    case 0:
    case 1: put_verb(w); break;
    case 2: ask_at_once(w); break;
    case 3:
    case 4: put_entry(w); break;
    case 5:
    case 6: start_stream(w); break;
    case 7:
    case 8:
    case 9: board_advance_ns(w->b, (what >> 4) * UINT64_C(3) * NS_PER_MS); break;
    case 10:
        board_poke(w->b, stream_at(w, what >> 4) + (tape_u8(t) & 0x1f), 1u << (what >> 7),
                   tape_u32(t));
        break;
    case 11:
        board_poke(w->b, w->bar + (tape_u8(t) & 0x7f), 1u << (what >> 4) % 3, tape_u32(t));
        break;
    case 12: board_peek(w->b, w->bar + (tape_u16(t) & 0x3fff), 1u << (what >> 4) % 3); break;
    case 13: plug(w); break;
    case 14:
        guest_config_write(w->g, HDA, PCI_COMMAND, 2,
                           PCI_COMMAND_MEMORY | (what >> 4 ? PCI_COMMAND_MASTER : 0));
        break;
    default: board_poke(w->b, w->bar + 0x08, 4, what >> 7); /* the link's reset */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct tape t = { bytes, n };
    struct guest *g = guest_new();
    struct world w = { .g = g, .b = g->b, .t = &t };
    must(audio_add(g->b->vm,
                   tape_u8(&t) & 1 ? "none,id=a0" : "none,id=a0,out.frequency=8000,in.channels=1"));
    guest_add(g, &ich9_intel_hda_class, "addr", "3", NULL);
    board_add(g->b, "hda-duplex", "audiodev", "a0", NULL);
    guest_place_bars(g, HDA);
    w.bar = guest_config_read(g, HDA, PCI_BAR0, 4) & ~15u;
    board_poke(g->b, w.bar + 0x08, 4, 1);
    board_poke(g->b, w.bar + 0x20, 4, 0xc00000ff);
    board_poke(g->b, w.bar + 0x40, 4, BOARD_RAM + CORB);
    board_poke(g->b, w.bar + 0x50, 4, BOARD_RAM + RIRB);
    board_poke(g->b, w.bar + 0x70, 4, (BOARD_RAM + POSITIONS) | 1);
    board_poke(g->b, w.bar + 0x4c, 1, 2);
    board_poke(g->b, w.bar + 0x5c, 1, 3);
    for (unsigned i = 0; i < MAX_STEPS && tape_left(&t); i++)
        step(&w);
    board_check(g->b);
    guest_free(g);
    return 0;
}
