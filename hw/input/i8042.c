/* Keyboard controller. Facts: IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
 * Controller"; port 92: "System Control Port A". */
#include "hw/input/i8042.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/input/ps2.h"
#include "hw/place.h"

enum { COMMAND_AT = 4, N_PORTS = 5 };
enum { /* status */
       STATUS_OUTPUT = 1 << 0,
       STATUS_SYSTEM = 1 << 2,
       STATUS_COMMAND = 1 << 3,
       STATUS_UNLOCKED = 1 << 4,
       STATUS_MOUSE = 1 << 5,
};
enum { /* command byte: byte 0 of the controller's memory */
       MODE_KEYBOARD_IRQ = 1 << 0,
       MODE_MOUSE_IRQ = 1 << 1,
       MODE_SYSTEM = 1 << 2,
       MODE_KEYBOARD_OFF = 1 << 4,
       MODE_MOUSE_OFF = 1 << 5,
       MODE_TRANSLATE = 1 << 6,
};
enum { OUT_RUN = 1 << 0, OUT_A20 = 1 << 1, OUT_KEYBOARD = 1 << 4, OUT_MOUSE = 1 << 5 };
enum { PORT92_RESET = 1 << 0, PORT92_A20 = 1 << 1 };
enum { MEMORY = 32 };

struct kbc {
    struct device dev;
    uint32_t iobase, port92_base;
    struct mem_region *ports, *port92_ports;
    struct irq out[I8042_N_LINES];

    uint8_t memory[MEMORY]; /* [0] is the command byte */
    uint8_t command;        /* waits for its parameter; 0: none */
    uint8_t output;
    bool output_full, output_is_mouse, was_command, a20, port92_reset;
    bool has_answer, answer_is_mouse; /* of the controller itself, goes first */
    uint8_t answer;
    bool release; /* translation: 0xf0 came */
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
};

/* ---- the output buffer ------------------------------------------------------------------------ */
static void kbc_update_lines(struct kbc *k)
{
    uint8_t mode = k->memory[0];
    bool keys = k->output_full && !k->output_is_mouse, mouse = k->output_full && k->output_is_mouse;
    irq_set(&k->out[I8042_KEYBOARD], keys && mode & MODE_KEYBOARD_IRQ);
    irq_set(&k->out[I8042_MOUSE], mouse && mode & MODE_MOUSE_IRQ);
    irq_set(&k->out[I8042_A20], k->a20);
}

/* The keyboard's next byte as the guest is to see it; false if there is none yet. */
static bool take_key(struct kbc *k, uint8_t *out)
{
    while (k->keyboard.queue.n) {
        uint8_t byte = ps2_take(&k->keyboard.queue);
        *out = byte;
        if (!(k->memory[0] & MODE_TRANSLATE))
            return true;
        if (byte == 0xf0) {
            k->release = true;
            continue;
        }
        if (byte < ARRAY_LEN(ps2_set1))
            *out = ps2_set1[byte] | (k->release ? 0x80 : 0);
        k->release = false;
        return true;
    }
    return false;
}

static void kbc_fill(struct kbc *k)
{
    if (!k->output_full && k->has_answer) {
        k->output = k->answer;
        k->output_is_mouse = k->answer_is_mouse;
        k->has_answer = false;
        k->output_full = true;
    } else if (!k->output_full && !(k->memory[0] & MODE_KEYBOARD_OFF) && take_key(k, &k->output)) {
        k->output_is_mouse = false;
        k->output_full = true;
    }
    ps2_mouse_report(&k->mouse);
    if (!k->output_full && !(k->memory[0] & MODE_MOUSE_OFF) && k->mouse.queue.n) {
        k->output = ps2_take(&k->mouse.queue);
        k->output_is_mouse = k->output_full = true;
    }
    kbc_update_lines(k);
}

static void answer(struct kbc *k, uint8_t byte, bool as_mouse)
{
    k->answer = byte;
    k->answer_is_mouse = as_mouse;
    k->has_answer = true;
}

/* ---- commands --------------------------------------------------------------------------------- */
static void write_output_port(struct kbc *k, uint8_t value)
{
    k->a20 = value & OUT_A20;
    if (!(value & OUT_RUN))
        vm_request_reset(k->dev.vm);
}

static uint8_t read_output_port(const struct kbc *k)
{
    return OUT_RUN | (k->a20 ? OUT_A20 : 0) |
           (k->output_full && !k->output_is_mouse ? OUT_KEYBOARD : 0) |
           (k->output_full && k->output_is_mouse ? OUT_MOUSE : 0);
}

static void set_mode(struct kbc *k, uint8_t bit, bool on)
{
    k->memory[0] = on ? k->memory[0] | bit : k->memory[0] & ~bit;
}

static void kbc_command(struct kbc *k, uint8_t c)
{
    k->command = 0;
    if (c >= 0x20 && c < 0x40) {
        answer(k, k->memory[c & 0x1f], false);
        return;
    }
    if (c >= 0xf0) { /* pulse output lines low: only the first does something */
        if (!(c & 1))
            vm_request_reset(k->dev.vm);
        return;
    }
    switch (c) {
    case 0xa7: set_mode(k, MODE_MOUSE_OFF, true); break;
    case 0xa8: set_mode(k, MODE_MOUSE_OFF, false); break;
    case 0xa9: answer(k, 0x00, false); break; /* mouse interface: good */
    case 0xaa:                                /* self test: good */
        set_mode(k, MODE_SYSTEM, true);
        answer(k, 0x55, false);
        break;
    case 0xab: answer(k, 0x00, false); break; /* keyboard interface: good */
    case 0xad: set_mode(k, MODE_KEYBOARD_OFF, true); break;
    case 0xae: set_mode(k, MODE_KEYBOARD_OFF, false); break;
    case 0xc0: answer(k, 0x80, false); break; /* input port: not locked */
    case 0xd0: answer(k, read_output_port(k), false); break;
    case 0xdd: k->a20 = false; break;
    case 0xdf: k->a20 = true; break;
    case 0xd1:
    case 0xd2:
    case 0xd3:
    case 0xd4: k->command = c; break;
    default:
        if (c >= 0x60 && c < 0x80)
            k->command = c;
    }
}

static void kbc_data(struct kbc *k, uint8_t value)
{
    uint8_t command = k->command;
    k->command = 0;
    switch (command) {
    case 0:
        set_mode(k, MODE_KEYBOARD_OFF, false);
        ps2_keyboard_write(&k->keyboard, value);
        break;
    case 0xd1: write_output_port(k, value); break;
    case 0xd2: answer(k, value, false); break;
    case 0xd3: answer(k, value, true); break;
    case 0xd4:
        set_mode(k, MODE_MOUSE_OFF, false);
        ps2_mouse_write(&k->mouse, value);
        break;
    default: k->memory[command & 0x1f] = value; /* 0x60 to 0x7f */
    }
}

/* ---- ports ------------------------------------------------------------------------------------ */
static uint8_t read_status(const struct kbc *k)
{
    return STATUS_UNLOCKED | (k->output_full ? STATUS_OUTPUT : 0) |
           (k->output_full && k->output_is_mouse ? STATUS_MOUSE : 0) |
           (k->memory[0] & MODE_SYSTEM ? STATUS_SYSTEM : 0) | (k->was_command ? STATUS_COMMAND : 0);
}

static uint64_t kbc_read(void *opaque, uint64_t off, unsigned size)
{
    struct kbc *k = opaque;
    uint8_t value = 0xff;
    device_lock(&k->dev);
    if (off == COMMAND_AT) {
        value = read_status(k);
    } else if (off == 0) {
        value = k->output;
        k->output_full = false;
        kbc_update_lines(k); /* each byte is an edge of its own */
        kbc_fill(k);
    }
    device_unlock(&k->dev);
    return value;
}

static void kbc_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kbc *k = opaque;
    device_lock(&k->dev);
    if (off == COMMAND_AT || off == 0) {
        k->was_command = off == COMMAND_AT;
        if (k->was_command)
            kbc_command(k, (uint8_t)value);
        else
            kbc_data(k, (uint8_t)value);
        kbc_fill(k);
    }
    device_unlock(&k->dev);
}

static uint64_t port92_read(void *opaque, uint64_t off, unsigned size)
{
    struct kbc *k = opaque;
    device_lock(&k->dev);
    uint8_t value = (k->a20 ? PORT92_A20 : 0) | (k->port92_reset ? PORT92_RESET : 0);
    device_unlock(&k->dev);
    return value;
}

static void port92_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct kbc *k = opaque;
    device_lock(&k->dev);
    k->a20 = value & PORT92_A20;
    if (value & PORT92_RESET && !k->port92_reset)
        vm_request_reset(k->dev.vm);
    k->port92_reset = value & PORT92_RESET;
    kbc_update_lines(k);
    device_unlock(&k->dev);
}

static const struct mmio_ops kbc_ops = { kbc_read, kbc_write, 1, 1, NULL };
static const struct mmio_ops port92_ops = { port92_read, port92_write, 1, 1, NULL };

/* ---- the user's side -------------------------------------------------------------------------- */
bool i8042_available(struct device *dev, enum input_kind kind)
{
    struct kbc *k = (struct kbc *)dev;
    device_lock(dev);
    bool yes = (kind == INPUT_KEYBOARD && k->keyboard.scanning) ||
               (kind == INPUT_MOUSE && k->mouse.reporting);
    device_unlock(dev);
    return yes;
}

bool i8042_send_event(struct device *dev, enum input_kind kind, const struct input_event *events,
                      size_t n)
{
    struct kbc *k = (struct kbc *)dev;
    bool taken = false;
    device_lock(dev);
    for (size_t i = 0; i < n; i++)
        taken |= kind == INPUT_KEYBOARD ? ps2_keyboard_event(&k->keyboard, &events[i])
                                        : ps2_mouse_event(&k->mouse, &events[i]);
    kbc_fill(k);
    device_unlock(dev);
    return taken;
}

void i8042_nudge_mouse(struct device *dev)
{
    struct kbc *k = (struct kbc *)dev;
    device_lock(dev);
    ps2_mouse_nudge(&k->mouse);
    kbc_fill(k);
    device_unlock(dev);
}

uint32_t i8042_leds(struct device *dev)
{
    static const uint8_t order[8] = {
        0, 4, 1, 5, 2, 6, 3, 7
    }; /* scroll, num, caps -> num, caps, scroll */
    device_lock(dev);
    uint32_t leds = order[((struct kbc *)dev)->keyboard.leds];
    device_unlock(dev);
    return leds;
}

/* ---- wiring and life -------------------------------------------------------------------------- */
struct irq *i8042_output(struct device *dev, enum i8042_line which)
{
    return &((struct kbc *)dev)->out[which];
}

static struct error *kbc_realize(struct device *dev)
{
    struct kbc *k = (struct kbc *)dev;
    k->ports = mem_add_mmio(dev->vm, "i8042", N_PORTS, &kbc_ops, k);
    k->port92_ports = mem_add_mmio(dev->vm, "port92", 1, &port92_ops, k);
    if (k->iobase < NO_PORT)
        mem_map_ports(k->ports, (uint16_t)k->iobase, -1); /* below port B, which lies between */
    place_ports(k->port92_ports, k->port92_base);
    return NULL;
}

static void kbc_unrealize(struct device *dev)
{
    struct kbc *k = (struct kbc *)dev;
    mem_free_region(k->ports);
    mem_free_region(k->port92_ports);
}

static void kbc_reset(struct device *dev)
{
    struct kbc *k = (struct kbc *)dev;
    memset(k->memory, 0, sizeof(k->memory));
    k->memory[0] = MODE_KEYBOARD_IRQ | MODE_MOUSE_IRQ;
    k->command = k->output = k->answer = 0;
    k->output_full = k->output_is_mouse = k->has_answer = k->answer_is_mouse = false;
    k->was_command = k->release = k->port92_reset = false;
    k->a20 = true;
    ps2_keyboard_reset(&k->keyboard);
    ps2_mouse_reset(&k->mouse);
    kbc_update_lines(k);
}

static struct error *kbc_loaded(struct device *dev)
{
    kbc_update_lines((struct kbc *)dev);
    return NULL;
}

static const struct prop kbc_props[] = {
    PORT_PROP(struct kbc, iobase, "iobase"),
    PORT_PROP(struct kbc, port92_base, "port92"),
};

static const struct field kbc_state[] = {
    FIELD_ARRAY(struct kbc, memory),
    FIELD(struct kbc, command),
    FIELD(struct kbc, output),
    FIELD(struct kbc, output_full),
    FIELD(struct kbc, output_is_mouse),
    FIELD(struct kbc, was_command),
    FIELD(struct kbc, a20),
    FIELD(struct kbc, port92_reset),
    FIELD(struct kbc, has_answer),
    FIELD(struct kbc, answer_is_mouse),
    FIELD(struct kbc, answer),
    FIELD(struct kbc, release),
    FIELD_SUB(struct kbc, keyboard, ps2_keyboard_fields, 1),
    FIELD_SUB(struct kbc, mouse, ps2_mouse_fields, 1),
};

const struct device_class i8042_class = {
    .name = "i8042",
    .desc = "keyboard controller with keyboard and mouse",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct kbc),
    .props = TABLE(kbc_props),
    .state = TABLE(kbc_state),
    .realize = kbc_realize,
    .unrealize = kbc_unrealize,
    .reset = kbc_reset,
    .loaded = kbc_loaded,
};
