/* 8254, and the loudspeaker behind its counter 2. Sections are headings of Intel's data sheet (order number 231164-005). Outputs and counts follow from
 * the guest clock; only counter 0 needs a host timer, for the rising edges of its output. A guest too slow for
 * its rate loses ticks. Port B: 82801I (ICH9) data sheet, 13.7.1. */
#include "hw/timer/i8254.h"

#include "core/clock.h"
#include "core/error.h"
#include "hw/place.h"
#include "ui/audio.h"

enum { N_COUNTERS = 3, CONTROL = 3, SPEAKER = 2 };
enum { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };
enum { STATUS_OUT = 1 << 7, STATUS_NULL = 1 << 6, READ_BACK = 3 };
enum {
    PORTB_GATE = 1 << 0,
    PORTB_SPEAKER = 1 << 1,
    PORTB_REFRESH = 1 << 4,
    PORTB_OUT = 1 << 5,
    PORTB_KEPT = 0x0f
};
enum { SOUND_HZ = 48000, LOUD = 8000 }; /* of 32767 */
enum { MIN_PERIOD_NS = 20000, REFRESH_NS = 15085 };

struct counter {
    uint8_t mode, access; /* as in the control word */
    bool bcd, gate;
    bool loaded;    /* has a count; else the null count flag is set */
    bool triggered; /* modes 1 and 5: the gate rose */
    bool high_next_write, high_next_read;
    uint8_t write_low;
    uint32_t count;      /* 1 to 65536 (10000) */
    uint64_t started_ns; /* when it was loaded, less what the gate held up */
    uint64_t held_ticks; /* modes 0 and 4: counted when the gate fell */
    bool count_latched, status_latched;
    uint16_t latched_count;
    uint8_t latched_status;
};

struct pit {
    struct device dev;
    uint32_t iobase, portb_base;
    struct mem_region *ports, *portb_ports;
    struct counter counters[N_COUNTERS];
    uint8_t portb;
    struct irq out;
    struct audio *audio; /* property; NULL: nobody hears the loudspeaker */
    struct audio_stream *speaker;
    uint64_t sounded;    /* derived: where in its wave the speaker is, in 1 / SOUND_HZ of a tick */
    struct timer *timer; /* derived */
    uint64_t due_ns;     /* derived: what it is set to */
};

static uint64_t ns_to_ticks(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * I8254_HZ / NS_PER_S);
}

/* The first nanosecond at which so many ticks have passed. */
static uint64_t ticks_to_ns(uint64_t ticks)
{
    return (uint64_t)(((unsigned __int128)ticks * NS_PER_S + I8254_HZ - 1) / I8254_HZ);
}

/* ---- "Mode Definitions": output and count, ticks after loading ------------------------------ */
static bool pauses(const struct counter *c)
{
    return c->mode == 0 || c->mode == 4;
}

static bool repeats(const struct counter *c)
{
    return c->mode == 2 || c->mode == 3;
}

static bool waits_for_trigger(const struct counter *c)
{
    return (c->mode == 1 || c->mode == 5) && !c->triggered;
}

static uint64_t ticks_of(const struct pit *p, const struct counter *c)
{
    if (pauses(c) && !c->gate)
        return c->held_ticks;
    return ns_to_ticks(vm_now_ns(p->dev.vm) - c->started_ns);
}

static bool output_at(const struct counter *c, uint64_t t)
{
    if (!c->loaded || waits_for_trigger(c))
        return c->mode != 0;
    switch (c->mode) {
    case 0:
    case 1: return t >= c->count;
    case 2: return !c->gate || t % c->count != c->count - 1;
    case 3: return !c->gate || t % c->count < (c->count + 1) / 2;
    default: return t != c->count; /* 4, 5: low for one tick */
    }
}

static bool counter_output(const struct pit *p, const struct counter *c)
{
    return output_at(c, ticks_of(p, c));
}

/* When the output rises next after tick t, in ticks; UINT64_MAX if it does not by itself. */
static uint64_t next_rise(const struct counter *c, uint64_t t)
{
    if (!c->loaded || waits_for_trigger(c) || (!c->gate && c->mode != 1 && c->mode != 5))
        return UINT64_MAX;
    if (repeats(c))
        return (t / c->count + 1) * c->count;
    uint64_t rise = c->mode >= 4 ? (uint64_t)c->count + 1 : c->count;
    return rise > t ? rise : UINT64_MAX;
}

static uint16_t to_bcd(uint32_t v)
{
    return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint16_t current_count(const struct pit *p, const struct counter *c)
{
    uint64_t t = ticks_of(p, c), wrap = c->bcd ? 10000 : 65536, left;
    if (!c->loaded || waits_for_trigger(c) || (repeats(c) && !c->gate))
        left = c->count % wrap;
    else if (c->mode == 2)
        left = c->count - t % c->count;
    else if (c->mode == 3)
        left = (c->count & ~UINT64_C(1)) - 2 * (t % c->count) % MAX(c->count & ~UINT64_C(1), 2);
    else
        left = (c->count % wrap + wrap - t % wrap) % wrap;
    return c->bcd ? to_bcd((uint32_t)(left % wrap)) : (uint16_t)left;
}

/* ---- counter 0's line ------------------------------------------------------------------------- */
static void pit_arm(struct pit *p)
{
    const struct counter *c = &p->counters[0];
    uint64_t now = ns_to_ticks(vm_now_ns(p->dev.vm) - c->started_ns), rise = next_rise(c, now);
    if (rise == UINT64_MAX) {
        timer_cancel(p->timer);
        p->due_ns = UINT64_MAX;
        return;
    }
    if (repeats(c) && c->count < ns_to_ticks(MIN_PERIOD_NS))
        rise = next_rise(c, now + ns_to_ticks(MIN_PERIOD_NS));
    p->due_ns = c->started_ns + ticks_to_ns(rise);
    timer_set(p->timer, p->due_ns);
}

/* The line shows no low phases of mode 2 and 3 between rises: they would tell nobody anything. */
static void pit_update(struct pit *p)
{
    const struct counter *c = &p->counters[0];
    irq_set(&p->out, c->loaded && repeats(c) ? true : counter_output(p, c));
    pit_arm(p);
}

static void pit_rings(void *opaque)
{
    struct pit *p = opaque;
    device_lock(&p->dev);
    if (vm_now_ns(p->dev.vm) >= p->due_ns) {
        irq_set(&p->out, false);
        irq_set(&p->out, true);
        pit_arm(p);
    }
    device_unlock(&p->dev);
}

/* ---- loudspeaker ------------------------------------------------------------------------------- */
static bool speaker_sounds(const struct pit *p)
{
    const struct counter *c = &p->counters[SPEAKER];
    return p->portb & PORTB_SPEAKER && c->mode == 3 && c->gate && c->loaded;
}

static void speaker_follow(struct pit *p)
{
    static const struct audio_settings settings = { PCM_S16, 1, SOUND_HZ };
    if (p->speaker && speaker_sounds(p))
        audio_stream_start(p->speaker, &settings);
    else if (p->speaker)
        audio_stream_stop(p->speaker);
}

/* How long the output was high up to a place in a wave that never ends. */
static uint64_t high_until(uint64_t at, uint64_t wave, uint64_t high)
{
    return at / wave * high + MIN(at % wave, high);
}

/* A sample is the mean of the output while it lasts: what is beyond hearing is silent. */
static size_t speaker_play(void *opaque, uint8_t *buf, size_t n)
{
    struct pit *p = opaque;
    size_t done = 0;
    device_lock(&p->dev);
    const struct counter *c = &p->counters[SPEAKER];
    uint64_t wave = (uint64_t)c->count * SOUND_HZ, high = (c->count + 1) / 2 * (uint64_t)SOUND_HZ;
    for (; done < n && speaker_sounds(p); done += 2) {
        uint64_t at = p->sounded % wave, end = at + I8254_HZ;
        int64_t twice = 2 * (int64_t)(high_until(end, wave, high) - high_until(at, wave, high));
        store_le(buf + done, 2, (uint64_t)((twice - I8254_HZ) * LOUD / I8254_HZ));
        p->sounded = end % wave;
    }
    device_unlock(&p->dev);
    return done;
}

/* ---- "Programming the 8254" ------------------------------------------------------------------- */
static void counter_load(struct pit *p, struct counter *c, uint32_t value)
{
    if (c->bcd)
        value =
            (value & 15) + (value >> 4 & 15) * 10 + (value >> 8 & 15) * 100 + (value >> 12) * 1000;
    c->count = value ? value : c->bcd ? 10000 : 65536;
    c->started_ns = vm_now_ns(p->dev.vm);
    c->held_ticks = 0;
    c->loaded = true;
}

static void counter_write(struct pit *p, struct counter *c, uint8_t value)
{
    switch (c->access) {
    case ACCESS_LOW: counter_load(p, c, value); break;
    case ACCESS_HIGH: counter_load(p, c, (uint32_t)value << 8); break;
    default:
        if (c->high_next_write)
            counter_load(p, c, (uint32_t)value << 8 | c->write_low);
        else if (c->mode == 0)
            c->loaded = false; /* "Mode 0": the first byte stops the count */
        c->write_low = value;
        c->high_next_write = !c->high_next_write;
    }
}

static uint8_t counter_read(struct pit *p, struct counter *c)
{
    if (c->status_latched) {
        c->status_latched = false;
        return c->latched_status;
    }
    uint16_t count = c->count_latched ? c->latched_count : current_count(p, c);
    bool high = c->access == ACCESS_HIGH || (c->access == ACCESS_BOTH && c->high_next_read);
    if (c->access == ACCESS_BOTH)
        c->high_next_read = !c->high_next_read;
    if (c->access != ACCESS_BOTH || high)
        c->count_latched = false;
    return (uint8_t)(high ? count >> 8 : count);
}

static void latch_count(struct pit *p, struct counter *c)
{
    if (c->count_latched)
        return;
    c->latched_count = current_count(p, c);
    c->count_latched = true;
}

static void latch_status(struct pit *p, struct counter *c)
{
    if (c->status_latched)
        return;
    c->latched_status = (counter_output(p, c) ? STATUS_OUT : 0) | (c->loaded ? 0 : STATUS_NULL) |
                        c->access << 4 | c->mode << 1 | c->bcd;
    c->status_latched = true;
}

static void read_back(struct pit *p, uint8_t value)
{
    for (unsigned i = 0; i < N_COUNTERS; i++) {
        if (!(value >> (i + 1) & 1))
            continue;
        if (!(value & 1 << 5))
            latch_count(p, &p->counters[i]);
        if (!(value & 1 << 4))
            latch_status(p, &p->counters[i]);
    }
}

static void write_control(struct pit *p, uint8_t value)
{
    unsigned which = value >> 6, access = value >> 4 & 3, mode = value >> 1 & 7;
    if (which == READ_BACK) {
        read_back(p, value);
        return;
    }
    struct counter *c = &p->counters[which];
    if (access == ACCESS_LATCH) {
        latch_count(p, c);
        return;
    }
    bool gate = c->gate;
    *c = (struct counter){
        .access = (uint8_t)access, .bcd = value & 1, .gate = gate, .count = 65536
    };
    c->mode = (uint8_t)(mode > 5 ? mode - 4 : mode); /* 6 and 7 are 2 and 3 */
}

/* "Gate Pin Operations Summary" */
static void set_gate(struct pit *p, struct counter *c, bool gate)
{
    uint64_t now = vm_now_ns(p->dev.vm);
    if (gate == c->gate)
        return;
    if (pauses(c) && !gate)
        c->held_ticks = ticks_of(p, c);
    c->gate = gate;
    if (!gate)
        return;
    if (pauses(c))
        c->started_ns = now - MIN(now, ticks_to_ns(c->held_ticks));
    else
        c->started_ns = now;
    c->triggered = true;
}

static uint64_t pit_read(void *opaque, uint64_t off, unsigned size)
{
    struct pit *p = opaque;
    if (off == CONTROL)
        return 0;
    device_lock(&p->dev);
    uint8_t value = counter_read(p, &p->counters[off]);
    device_unlock(&p->dev);
    return value;
}

static void pit_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pit *p = opaque;
    device_lock(&p->dev);
    if (off == CONTROL)
        write_control(p, (uint8_t)value);
    else
        counter_write(p, &p->counters[off], (uint8_t)value);
    pit_update(p);
    speaker_follow(p);
    device_unlock(&p->dev);
}

static uint64_t portb_read(void *opaque, uint64_t off, unsigned size)
{
    struct pit *p = opaque;
    device_lock(&p->dev);
    uint8_t value = p->portb | (counter_output(p, &p->counters[SPEAKER]) ? PORTB_OUT : 0) |
                    (vm_now_ns(p->dev.vm) / REFRESH_NS & 1 ? PORTB_REFRESH : 0);
    device_unlock(&p->dev);
    return value;
}

static void portb_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pit *p = opaque;
    device_lock(&p->dev);
    p->portb = value & PORTB_KEPT;
    set_gate(p, &p->counters[SPEAKER], value & PORTB_GATE);
    speaker_follow(p);
    device_unlock(&p->dev);
}

static const struct mmio_ops pit_ops = { pit_read, pit_write, 1, 1, NULL };
static const struct mmio_ops portb_ops = { portb_read, portb_write, 1, 1, NULL };

/* ---- life ------------------------------------------------------------------------------------- */
struct irq *i8254_output(struct device *dev)
{
    return &((struct pit *)dev)->out;
}

#define SAME(X)        \
    X(mode)            \
    X(access)          \
    X(bcd)             \
    X(gate)            \
    X(loaded)          \
    X(triggered)       \
    X(count_latched)   \
    X(status_latched)  \
    X(high_next_write) \
    X(high_next_read)  \
    X(write_low)       \
    X(latched_status)  \
    X(latched_count)   \
    X(count)

void i8254_get(struct device *dev, struct i8254_regs counters[3], uint8_t *portb)
{
    struct pit *p = (struct pit *)dev;
    device_lock(dev);
    for (unsigned i = 0; i < N_COUNTERS; i++) {
        const struct counter *c = &p->counters[i];
        bool held = pauses(c) && !c->gate;
#define X(name) .name = c->name,
        counters[i] = (struct i8254_regs){ SAME(X) };
#undef X
        if (c->loaded)
            counters[i].elapsed_ns =
                held ? ticks_to_ns(c->held_ticks) : vm_now_ns(dev->vm) - c->started_ns;
    }
    *portb = p->portb;
    device_unlock(dev);
}

void i8254_set(struct device *dev, const struct i8254_regs counters[3], uint8_t portb)
{
    struct pit *p = (struct pit *)dev;
    uint64_t now = vm_now_ns(dev->vm);
    device_lock(dev);
    for (unsigned i = 0; i < N_COUNTERS; i++) {
        const struct i8254_regs *r = &counters[i];
        struct counter *c = &p->counters[i];
#define X(name) .name = r->name,
        *c = (struct counter){ SAME(X) };
#undef X
        c->mode = MIN(c->mode, 5);
        c->access = c->access ? MIN(c->access, ACCESS_BOTH) : ACCESS_BOTH;
        c->count = r->count >= 1 && r->count <= 65536 ? r->count : 65536;
        c->started_ns = now - MIN(now, r->elapsed_ns);
        c->held_ticks = pauses(c) && !c->gate ? ns_to_ticks(r->elapsed_ns) : 0;
    }
    p->portb = portb & PORTB_KEPT;
    pit_update(p);
    speaker_follow(p);
    device_unlock(dev);
}

static struct error *pit_realize(struct device *dev)
{
    struct pit *p = (struct pit *)dev;
    p->timer = timer_new(dev->vm, pit_rings, p);
    p->ports = mem_add_mmio(dev->vm, "pit", 4, &pit_ops, p);
    p->portb_ports = mem_add_mmio(dev->vm, "port-b", 1, &portb_ops, p);
    place_ports(p->ports, p->iobase);
    place_ports(p->portb_ports, p->portb_base);
    if (p->audio)
        p->speaker = audio_stream_new(p->audio, AUDIO_OUT, dev, speaker_play, p);
    return NULL;
}

static void pit_unrealize(struct device *dev)
{
    struct pit *p = (struct pit *)dev;
    mem_free_region(p->ports);
    mem_free_region(p->portb_ports);
    audio_stream_free(p->speaker);
    timer_free(p->timer);
}

/* The chip has no reset; BIOSes expect nothing of it. */
static void pit_reset(struct device *dev)
{
    struct pit *p = (struct pit *)dev;
    for (unsigned i = 0; i < N_COUNTERS; i++)
        p->counters[i] = (struct counter){
            .mode = 3, .access = ACCESS_BOTH, .count = 65536, .gate = i != SPEAKER
        };
    p->portb = 0;
    pit_update(p);
    speaker_follow(p);
}

static struct error *pit_loaded(struct device *dev)
{
    struct pit *p = (struct pit *)dev;
    for (unsigned i = 0; i < N_COUNTERS; i++)
        if (p->counters[i].count == 0 || p->counters[i].access == ACCESS_LATCH)
            return error_new("isa-pit: counter %u has no count or no access", i);
    pit_update(p);
    speaker_follow(p);
    return NULL;
}

static const struct prop pit_props[] = {
    PORT_PROP(struct pit, iobase, "iobase"),
    PORT_PROP(struct pit, portb_base, "portb"),
    PROP(struct pit, audio, "audiodev", PROP_AUDIO,
         .help = "id of an -audiodev for the loudspeaker; default: nobody hears it"),
};

static const struct field counter_state[] = {
    FIELD(struct counter, mode, .max = 5),
    FIELD(struct counter, access, .max = ACCESS_BOTH),
    FIELD(struct counter, bcd),
    FIELD(struct counter, gate),
    FIELD(struct counter, loaded),
    FIELD(struct counter, triggered),
    FIELD(struct counter, high_next_write),
    FIELD(struct counter, high_next_read),
    FIELD(struct counter, write_low),
    FIELD(struct counter, count, .max = 65536),
    FIELD(struct counter, started_ns),
    FIELD(struct counter, held_ticks),
    FIELD(struct counter, count_latched),
    FIELD(struct counter, status_latched),
    FIELD(struct counter, latched_count),
    FIELD(struct counter, latched_status),
};
static const struct field pit_state[] = {
    FIELD_SUB(struct pit, counters, counter_state, N_COUNTERS),
    FIELD(struct pit, portb, .valid = PORTB_KEPT),
    DERIVED(struct pit, due_ns),
    DERIVED(struct pit, sounded),
};

const struct device_class i8254_class = {
    .name = "isa-pit",
    .desc = "8254 interval timer",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct pit),
    .props = TABLE(pit_props),
    .state = TABLE(pit_state),
    .realize = pit_realize,
    .unrealize = pit_unrealize,
    .reset = pit_reset,
    .loaded = pit_loaded,
};
