/* 16550A serial port, in memory or, on a PC, at I/O ports. Sections: TI PC16550D data sheet (SNLS378C), 8. Characters leave at once unless
 * the back end is full; received ones wait in the FIFO and, beyond it, in the back end. */
#include "hw/char/ns16550.h"

#include "core/chardev.h"
#include "core/clock.h"
#include "core/error.h"
#include "hw/isa.h"
#include "hw/place.h"

enum { FIFO_SIZE = 16 };

enum { /* interrupt enable, 8.8 */
       IER_RX = 1 << 0,
       IER_THRE = 1 << 1,
       IER_LINE = 1 << 2,
       IER_MODEM = 1 << 3,
};
enum { /* interrupt identification, 8.7, highest priority first */
       IIR_LINE = 0x06,
       IIR_RX = 0x04,
       IIR_TIMEOUT = 0x0c,
       IIR_THRE = 0x02,
       IIR_MODEM = 0x00,
       IIR_NONE = 0x01,
       IIR_FIFOS = 0xc0,
};
enum { FCR_ENABLE = 1 << 0, FCR_CLEAR_RX = 1 << 1, FCR_KEPT = 0xc9 }; /* 8.5 */
enum { LCR_STOP2 = 1 << 2, LCR_PARITY = 1 << 3, LCR_DLAB = 1 << 7 };  /* 8.3 */
enum {                                                                /* modem control, 8.9 */
       MCR_DTR = 1 << 0,
       MCR_RTS = 1 << 1,
       MCR_OUT1 = 1 << 2,
       MCR_OUT2 = 1 << 3,
       MCR_LOOP = 1 << 4,
       MCR_ALL = 0x1f,
};
enum { /* line status, 8.6 */
       LSR_DATA = 1 << 0,
       LSR_OVERRUN = 1 << 1,
       LSR_BREAK = 1 << 4,
       LSR_THRE = 1 << 5,
       LSR_EMPTY = 1 << 6,
       LSR_FIFO_ERROR = 1 << 7,
       LSR_ERRORS = 0x1e,
};
enum { /* modem status, 8.10: the low half tells what changed in the high half */
       MSR_TERI = 1 << 2,
       MSR_DELTAS = 0x0f,
       MSR_CTS = 1 << 4,
       MSR_DSR = 1 << 5,
       MSR_RI = 1 << 6,
       MSR_DCD = 1 << 7,
       MSR_LINES = 0xf0,
};

struct uart {
    struct device dev;
    uint64_t addr;           /* of one variant */
    uint32_t iobase;         /* of the other */
    uint32_t index;          /* which of a board's; UINT32_MAX: any */
    uint32_t clock_hz;       /* 16 clocks by the divisor are a bit */
    struct chardev *chardev; /* NULL: nothing is plugged in */
    struct mem_region *region;
    struct irq out;
    struct timer *timeout; /* derived: runs while characters wait below the trigger level */

    uint8_t ier, fcr, lcr, mcr, msr, scr;
    uint16_t divisor;
    uint8_t overrun;      /* LSR_OVERRUN until LSR is read */
    bool thre_pending;    /* the transmitter became empty and nobody was told yet */
    bool timeout_pending; /* 8.7: no character for four character times, FIFO not empty */
    bool rx_wanted;       /* the back end was told there is no room */
    bool tx_held;         /* the back end has no space for this character yet */
    uint8_t tx_char;
    uint8_t n_rx;
    uint8_t rx[FIFO_SIZE];
    uint8_t rx_errors[FIFO_SIZE]; /* LSR bits that came with the character */
};

static unsigned fifo_size(const struct uart *u)
{
    return u->fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

static unsigned fifo_room(const struct uart *u)
{
    return fifo_size(u) - u->n_rx;
}

static unsigned rx_trigger(const struct uart *u)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };
    return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

static uint8_t line_status(const struct uart *u)
{
    uint8_t lsr = u->overrun | (u->tx_held ? 0 : LSR_THRE | LSR_EMPTY);
    if (u->n_rx)
        lsr |= LSR_DATA | u->rx_errors[0];
    for (unsigned i = 0; u->fcr & FCR_ENABLE && i < u->n_rx; i++)
        lsr |= u->rx_errors[i] ? LSR_FIFO_ERROR : 0;
    return lsr;
}

static uint8_t interrupt_id(const struct uart *u)
{
    if (u->ier & IER_LINE && line_status(u) & LSR_ERRORS)
        return IIR_LINE;
    if (u->ier & IER_RX && u->n_rx >= rx_trigger(u))
        return IIR_RX;
    if (u->ier & IER_RX && u->timeout_pending)
        return IIR_TIMEOUT;
    if (u->ier & IER_THRE && u->thre_pending)
        return IIR_THRE;
    if (u->ier & IER_MODEM && u->msr & MSR_DELTAS)
        return IIR_MODEM;
    return IIR_NONE;
}

static void uart_update_irq(struct uart *u)
{
    irq_set(&u->out, interrupt_id(u) != IIR_NONE);
}

/* Four character times (8.7) of the programmed speed; at most a second, whatever the divisor. */
static uint64_t timeout_ns(const struct uart *u)
{
    unsigned char_bits =
        1 + 5 + (u->lcr & 3) + !!(u->lcr & LCR_PARITY) + (u->lcr & LCR_STOP2 ? 2 : 1);
    uint64_t bit_ns = NS_PER_S * 16 * MAX(u->divisor, 1) / u->clock_hz;
    return MIN(4 * char_bits * bit_ns, NS_PER_S);
}

/* Pass the held character on, if there is space for it or nobody to take it. */
static void send_held(struct uart *u)
{
    if (!u->tx_held || (u->chardev && !chardev_console_space(u->chardev)))
        return;
    if (u->chardev)
        chardev_write(u->chardev, &u->tx_char, 1);
    u->tx_held = false;
    u->thre_pending = true;
    uart_update_irq(u);
}

/* A character came or went: the timeout starts anew. */
static void rx_changed(struct uart *u)
{
    u->timeout_pending = false;
    if (u->n_rx && u->n_rx < rx_trigger(u))
        timer_set(u->timeout, vm_now_ns(u->dev.vm) + timeout_ns(u));
    else
        timer_cancel(u->timeout);
    uart_update_irq(u);
}

static void uart_timed_out(void *opaque)
{
    struct uart *u = opaque;
    device_lock(&u->dev);
    u->timeout_pending = u->n_rx > 0 && u->fcr & FCR_ENABLE;
    uart_update_irq(u);
    send_held(u); /* after a load there may be space without an event that says so */
    device_unlock(&u->dev);
}

static void rx_push(struct uart *u, uint8_t c, uint8_t errors)
{
    if (!fifo_room(u)) {
        u->overrun = LSR_OVERRUN;
        if (u->fcr & FCR_ENABLE)
            return; /* the FIFO keeps what it has; a single register takes the new one (8.6) */
        u->n_rx = 0;
    }
    u->rx[u->n_rx] = c;
    u->rx_errors[u->n_rx++] = errors;
}

static void rx_clear(struct uart *u)
{
    u->n_rx = 0;
    rx_changed(u);
}

static uint8_t rx_pop(struct uart *u)
{
    uint8_t c = u->rx[0];
    if (u->n_rx == 0)
        return 0;
    u->n_rx--;
    memmove(u->rx, u->rx + 1, u->n_rx);
    memmove(u->rx_errors, u->rx_errors + 1, u->n_rx);
    rx_changed(u);
    return c;
}

/* In loop mode the outputs of MCR arrive at the inputs (8.9); else a plugged cable shows all ready. */
static void update_modem_lines(struct uart *u)
{
    uint8_t lines = 0, was = u->msr & MSR_LINES;
    if (u->mcr & MCR_LOOP)
        lines = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
    else if (u->chardev)
        lines = MSR_CTS | MSR_DSR | MSR_DCD;
    uint8_t deltas = (lines ^ was) >> 4;
    if (lines & MSR_RI)
        deltas &= ~MSR_TERI; /* only the trailing edge counts */
    u->msr = lines | deltas | (u->msr & MSR_DELTAS);
    uart_update_irq(u);
}

/* ---- the back end's side, on the main loop's thread ------------------------------------------ */
static size_t uart_room(void *opaque)
{
    struct uart *u = opaque;
    device_lock(&u->dev);
    size_t room = u->mcr & MCR_LOOP ? 0 : fifo_room(u); /* 8.9: the input is disconnected */
    u->rx_wanted = room == 0;
    device_unlock(&u->dev);
    return room;
}

static void uart_receive(void *opaque, const uint8_t *data, size_t n)
{
    struct uart *u = opaque;
    device_lock(&u->dev);
    for (size_t i = 0; i < n; i++)
        rx_push(u, data[i], 0);
    rx_changed(u);
    device_unlock(&u->dev);
}

static void uart_event(void *opaque, int event)
{
    struct uart *u = opaque;
    device_lock(&u->dev);
    if (event == CHARDEV_BREAK) {
        rx_push(u, 0, LSR_BREAK);
        rx_changed(u);
    } else if (event == CHARDEV_WRITABLE) {
        send_held(u);
    }
    device_unlock(&u->dev);
}

/* ---- the guest's side --------------------------------------------------------------------- */
static void transmit(struct uart *u, uint8_t c)
{
    if (u->mcr & MCR_LOOP) {
        rx_push(u, c, 0);
        rx_changed(u);
    } else if (u->chardev) {
        u->tx_char = c;
        u->tx_held = true;
        u->thre_pending = false;
        send_held(u);
        uart_update_irq(u);
        return;
    }
    u->thre_pending = true;
    uart_update_irq(u);
}

static void write_fcr(struct uart *u, uint8_t value)
{
    bool toggled = (u->fcr ^ value) & FCR_ENABLE;
    u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0; /* 8.5: other bits need bit 0 */
    if (toggled || value & FCR_CLEAR_RX)
        rx_clear(u);
    else
        rx_changed(u);
}

static void write_ier(struct uart *u, uint8_t value)
{
    if (value & ~u->ier & IER_THRE && !u->tx_held)
        u->thre_pending = true; /* enabling it with an empty transmitter interrupts (8.8) */
    u->ier = value & 0x0f;
    uart_update_irq(u);
}

static uint64_t register_read(struct uart *u, unsigned at)
{
    uint8_t value = 0;
    switch (at) {
    case 0: return u->lcr & LCR_DLAB ? (uint8_t)u->divisor : rx_pop(u);
    case 1: return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
    case 2:
        value = interrupt_id(u);
        if (value == IIR_THRE) {
            u->thre_pending = false; /* 8.7 */
            uart_update_irq(u);
        }
        return value | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
    case 3: return u->lcr;
    case 4: return u->mcr;
    case 5:
        value = line_status(u);
        u->overrun = 0;
        if (u->n_rx)
            u->rx_errors[0] = 0;
        uart_update_irq(u);
        return value;
    case 6:
        value = u->msr;
        u->msr &= MSR_LINES;
        uart_update_irq(u);
        return value;
    default: return u->scr;
    }
}

static void register_write(struct uart *u, unsigned at, uint8_t value)
{
    switch (at) {
    case 0:
        if (u->lcr & LCR_DLAB)
            u->divisor = (u->divisor & 0xff00) | value;
        else
            transmit(u, value);
        break;
    case 1:
        if (u->lcr & LCR_DLAB)
            u->divisor = (u->divisor & 0xff) | value << 8;
        else
            write_ier(u, value);
        break;
    case 2: write_fcr(u, value); break;
    case 3: u->lcr = value; break;
    case 4:
        u->mcr = value & MCR_ALL;
        update_modem_lines(u);
        break;
    case 7: u->scr = value; break;
    default: break; /* LSR and MSR are not to be written */
    }
}

/* Tell a back end that was turned away, after the lock is released. */
static bool take_rx_wanted(struct uart *u)
{
    bool wanted = u->rx_wanted && fifo_room(u) && !(u->mcr & MCR_LOOP);
    if (wanted)
        u->rx_wanted = false;
    return wanted && u->chardev;
}

static uint64_t uart_read(void *opaque, uint64_t off, unsigned size)
{
    struct uart *u = opaque;
    device_lock(&u->dev);
    uint64_t value = register_read(u, off & 7);
    bool wanted = take_rx_wanted(u);
    device_unlock(&u->dev);
    if (wanted)
        chardev_accept(u->chardev);
    return value;
}

static void uart_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct uart *u = opaque;
    device_lock(&u->dev);
    register_write(u, off & 7, (uint8_t)value);
    bool wanted = take_rx_wanted(u);
    device_unlock(&u->dev);
    if (wanted)
        chardev_accept(u->chardev);
}

static const struct mmio_ops uart_ops = { uart_read, uart_write, 1, 1 };

struct irq *ns16550_output(struct device *dev)
{
    return &((struct uart *)dev)->out;
}

static void uart_start(struct uart *u, uint32_t clock_hz)
{
    struct vm *vm = u->dev.vm;
    u->clock_hz = clock_hz;
    u->timeout = timer_new(vm, uart_timed_out, u);
    u->region = mem_add_mmio(vm, u->dev.cls->name, NS16550_SIZE, &uart_ops, u);
    if (u->chardev)
        chardev_attach(u->chardev,
                       &(struct chardev_front){ uart_room, uart_receive, uart_event, u });
}

static struct error *uart_realize(struct device *dev)
{
    struct uart *u = (struct uart *)dev;
    uart_start(u, NS16550_CLOCK_HZ);
    place_region(u->region, u->addr);
    return NULL;
}

static struct error *isa_realize(struct device *dev)
{
    struct uart *u = (struct uart *)dev;
    struct error *err = isa_check(dev);
    if (err)
        return err;
    uart_start(u, ISA_SERIAL_CLOCK_HZ);
    place_ports(u->region, u->iobase);
    return NULL;
}

uint32_t isa_serial_index(struct device *dev)
{
    return ((struct uart *)dev)->index;
}

void isa_serial_place(struct device *dev, uint16_t port)
{
    struct uart *u = (struct uart *)dev;
    if (u->iobase >= NO_PORT)
        place_ports(u->region, u->iobase = port);
}

static void uart_unrealize(struct device *dev)
{
    struct uart *u = (struct uart *)dev;
    if (u->chardev)
        chardev_detach(u->chardev);
    mem_free_region(u->region);
    timer_free(u->timeout);
}

static void uart_reset(struct device *dev)
{
    struct uart *u = (struct uart *)dev;
    u->ier = u->fcr = u->lcr = u->mcr = u->scr = u->overrun = 0;
    u->divisor = 12; /* undefined on the chip; 19200 baud here */
    u->thre_pending = u->tx_held = false;
    u->tx_char = 0;
    u->rx_wanted = true; /* whatever the back end holds is welcome now */
    rx_clear(u);
    update_modem_lines(u);
    u->msr &= MSR_LINES;
    uart_update_irq(u);
}

static struct error *uart_loaded(struct device *dev)
{
    struct uart *u = (struct uart *)dev;
    if (u->n_rx > fifo_size(u))
        return error_new("more characters than the FIFO holds");
    if (u->tx_held || (u->n_rx && !u->timeout_pending && u->n_rx < rx_trigger(u)))
        timer_set(u->timeout, vm_now_ns(dev->vm) + timeout_ns(u));
    uart_update_irq(u);
    return NULL;
}

#define CHARDEV_PROP \
    PROP(struct uart, chardev, "chardev", PROP_CHARDEV, .help = "the line's other end")

static const struct prop uart_props[] = { ADDR_PROP(struct uart), CHARDEV_PROP };
static const struct prop isa_props[] = {
    PORT_PROP(struct uart, iobase, "iobase"),
    PROP(struct uart, index, "index", PROP_UINT, .def = "0xffffffff",
         .help = "0 to 3: which of a PC's ports; the first free one"),
    CHARDEV_PROP,
};

static const struct field uart_state[] = {
    FIELD(struct uart, ier, .valid = 0x0f),
    FIELD(struct uart, fcr, .valid = FCR_KEPT),
    FIELD(struct uart, lcr),
    FIELD(struct uart, mcr, .valid = MCR_ALL),
    FIELD(struct uart, msr),
    FIELD(struct uart, scr),
    FIELD(struct uart, divisor),
    FIELD(struct uart, overrun, .valid = LSR_OVERRUN),
    FIELD(struct uart, thre_pending, .max = 1),
    FIELD(struct uart, timeout_pending, .max = 1),
    FIELD(struct uart, rx_wanted, .max = 1),
    FIELD(struct uart, tx_held),
    FIELD(struct uart, tx_char),
    FIELD(struct uart, n_rx, .max = FIFO_SIZE),
    FIELD_RAW(struct uart, rx),
    FIELD_ARRAY(struct uart, rx_errors, .valid = LSR_ERRORS),
};

const struct device_class ns16550_class = {
    .name = "ns16550a",
    .desc = "16550A serial port",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct uart),
    .props = TABLE(uart_props),
    .state = TABLE(uart_state),
    .realize = uart_realize,
    .unrealize = uart_unrealize,
    .reset = uart_reset,
    .loaded = uart_loaded,
};

const struct device_class isa_serial_class = {
    .name = "isa-serial",
    .desc = "16550A serial port at I/O ports",
    .bus = "system",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct uart),
    .props = TABLE(isa_props),
    .state = TABLE(uart_state),
    .realize = isa_realize,
    .unrealize = uart_unrealize,
    .reset = uart_reset,
    .loaded = uart_loaded,
};
