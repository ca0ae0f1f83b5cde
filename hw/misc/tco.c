/* TCO watchdog. Section numbers: 82801I (ICH9) data sheet, 13.9. */
#include "hw/misc/tco.h"

enum { /* 13.9: offsets; all are 16 bits wide or two bytes side by side */
       RELOAD = 0x00,
       DATA_IN = 0x02,
       DATA_OUT = 0x03,
       STATUS1 = 0x04,
       STATUS2 = 0x06,
       CONTROL1 = 0x08,
       CONTROL2 = 0x0a,
       MESSAGE1 = 0x0c,
       MESSAGE2 = 0x0d,
       WATCHDOG = 0x0e,
       IRQ_SELECT = 0x10,
       START = 0x12,
};
enum { TIMEOUT = 1 << 3, SOFTWARE_SMI = 1 << 1 };    /* 13.9.4 */
enum { STATUS1_W1C = 0x110f, STATUS2_W1C = 0x001e }; /* 13.9.4, 13.9.5 */
enum { SECOND_TIMEOUT = 1 << 1 };
enum { CONTROL1_WRITABLE = 0x1f00, HALTED = 1 << 11, LOCK = 1 << 12 }; /* 13.9.6 */
enum { COUNT = 0x3ff, LEAST_COUNT = 4, START_DEFAULT = 4 };
#define TICK_NS UINT64_C(600000000)

void tco_reset(struct tco *t)
{
    *t = (struct tco){ .start = START_DEFAULT, .irq_select = 0x03, .control2 = 0x0008 };
}

static void restart(struct tco *t, uint64_t now_ns)
{
    t->running = !(t->control1 & HALTED);
    t->due_ns = now_ns + t->start * TICK_NS;
}

uint64_t tco_due(const struct tco *t)
{
    return t->running ? t->due_ns : UINT64_MAX;
}

/* 13.9.1: the first timeout tells by SMI, the second one, if nobody cared, resets. */
void tco_tick(struct tco *t, uint64_t now_ns, const struct tco_owner *o)
{
    if (!t->running || now_ns < t->due_ns)
        return;
    t->status1 |= TIMEOUT;
    restart(t, now_ns);
    if (t->timed_out_once) {
        t->status2 |= SECOND_TIMEOUT;
        t->timed_out_once = t->running = false;
        o->reset(o->opaque);
        return;
    }
    t->timed_out_once = true;
    o->smi(o->opaque);
}

static uint16_t count_now(const struct tco *t, uint64_t now_ns)
{
    if (!t->running)
        return t->reload;
    return now_ns < t->due_ns ? (uint16_t)((t->due_ns - now_ns + TICK_NS - 1) / TICK_NS) & COUNT
                              : 0;
}

static uint16_t word_read(const struct tco *t, unsigned at, uint64_t now_ns)
{
    switch (at) {
    case RELOAD: return count_now(t, now_ns);
    case DATA_IN: return t->data_in | t->data_out << 8;
    case STATUS1: return t->status1;
    case STATUS2: return t->status2;
    case CONTROL1: return t->control1;
    case CONTROL2: return t->control2;
    case MESSAGE1: return t->message[0] | t->message[1] << 8;
    case WATCHDOG: return t->watchdog_status;
    case IRQ_SELECT: return t->irq_select;
    case START: return t->start;
    default: return 0;
    }
}

uint8_t tco_read(const struct tco *t, unsigned at, uint64_t now_ns)
{
    return (uint8_t)(word_read(t, at & ~1u, now_ns) >> at % 2 * 8);
}

/* 13.9.6: halting stops the count, letting go starts it where it was. */
static void write_control1(struct tco *t, uint16_t value, uint64_t now_ns)
{
    uint16_t was = t->control1;
    if (value & HALTED && !(was & HALTED))
        t->reload = count_now(t, now_ns);
    t->control1 = (value & CONTROL1_WRITABLE) | (was & LOCK); /* the lock holds until a reset */
    if (value & HALTED) {
        t->running = false;
    } else if (was & HALTED) {
        t->running = true;
        t->due_ns = now_ns + t->reload * TICK_NS;
    }
}

void tco_write(struct tco *t, unsigned at, uint8_t value, uint64_t now_ns,
               const struct tco_owner *o)
{
    unsigned shift = at % 2 * 8;
    uint16_t mask = (uint16_t)(0xff << shift), bits = (uint16_t)(value << shift);
    uint16_t whole = (word_read(t, at & ~1u, now_ns) & ~mask) | bits;
    switch (at) {
    case DATA_IN: /* 13.9.2: an SMI by software */
        t->data_in = value;
        t->status1 |= SOFTWARE_SMI;
        o->smi(o->opaque);
        return;
    case DATA_OUT: t->data_out = value; return;
    case MESSAGE1:
    case MESSAGE2: t->message[at - MESSAGE1] = value; return;
    case WATCHDOG: t->watchdog_status = value; return;
    case IRQ_SELECT: t->irq_select = value; return;
    default: break;
    }
    switch (at & ~1u) {
    case RELOAD: /* 13.9.1: any value */
        t->timed_out_once = false;
        t->reload = t->start;
        restart(t, now_ns);
        break;
    case STATUS1: t->status1 &= ~(bits & STATUS1_W1C); break;
    case STATUS2: t->status2 &= ~(bits & STATUS2_W1C); break;
    case CONTROL1: write_control1(t, whole, now_ns); break;
    case CONTROL2: t->control2 = whole; break;
    case START:
        if ((whole & COUNT) >= LEAST_COUNT) /* 13.9.14 */
            t->start = whole & COUNT;
        break;
    default: break;
    }
}

const struct field tco_fields[14] = {
    FIELD(struct tco, reload, .valid = COUNT),
    FIELD(struct tco, status1, .valid = STATUS1_W1C),
    FIELD(struct tco, status2, .valid = STATUS2_W1C),
    FIELD(struct tco, control1, .valid = CONTROL1_WRITABLE),
    FIELD(struct tco, control2),
    FIELD(struct tco, start, .valid = COUNT),
    FIELD(struct tco, data_in),
    FIELD(struct tco, data_out),
    FIELD_ARRAY(struct tco, message),
    FIELD(struct tco, watchdog_status),
    FIELD(struct tco, irq_select),
    FIELD(struct tco, running),
    FIELD(struct tco, timed_out_once),
    FIELD(struct tco, due_ns),
};
