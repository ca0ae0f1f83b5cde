/* MC146818A real-time clock. Sections are headings of Motorola's data sheet (ADI1037). The time is the host's,
 * ahead by what the guest set; events are worked out when somebody looks, and a host timer runs only for an
 * interrupt that is enabled and not pending yet. */
#include "hw/timer/mc146818.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/vm.h"
#include "hw/place.h"

#include <time.h>

enum { /* "Address Map" */
       SECONDS,
       SECONDS_ALARM,
       MINUTES,
       MINUTES_ALARM,
       HOURS,
       HOURS_ALARM,
       WEEKDAY,
       DAY,
       MONTH,
       YEAR,
       REG_A,
       REG_B,
       REG_C,
       REG_D,
       N_CLOCK_REGS,
};
enum { A_UPDATING = 1 << 7, A_DIVIDER = 7 << 4, A_DIVIDER_RESET = 6 << 4, A_RATE = 15 };
enum { /* "Register B", and in C the same bits tell what happened */
       SET = 1 << 7,
       PERIODIC = 1 << 6,
       ALARM = 1 << 5,
       UPDATE = 1 << 4,
       SQUARE_WAVE = 1 << 3,
       BINARY = 1 << 2,
       HOURS_24 = 1 << 1,
       C_IRQ = 1 << 7,
       EVENTS = PERIODIC | ALARM | UPDATE,
};
enum { D_VALID = 1 << 7, PM = 1 << 7, NMI_OFF = 1 << 7 };
enum { UPDATE_NS = 244000, TICKS_HZ = 32768 };
#define DAY_S        86400
#define MOST_AHEAD_S (UINT64_C(20000) * 366 * DAY_S)

struct rtc {
    struct device dev;
    uint32_t iobase;
    struct mem_region *ports;
    struct irq out, alarm;
    struct timer *bell; /* derived */

    uint8_t index;
    uint8_t cmos
        [CMOS_SIZE];   /* the clock's registers only while it stands, but for alarms, A, B and C */
    uint64_t ahead_s;  /* of the host's time of day, modulo 2^64 */
    uint32_t ahead_ns; /* and so much more, below a second */
    uint64_t seen_ns;  /* guest clock up to which events are in C */
    uint32_t policy;   /* property */
    uint32_t owed;     /* periodic interrupts that are still to be given */
    uint64_t answered_ns; /* guest clock when C was read last */
    /* Derived: it is base_s + (guest clock + phase_ns) / 1 s since 1970; phase_ns is below a second. */
    int64_t base_s;
    uint64_t phase_ns;
};

enum { POLICY_DISCARD, POLICY_SLEW };
enum { MOST_OWED = 1 << 20 };

/* ---- time of day ------------------------------------------------------------------------------ */
static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Nanoseconds into the second at a time of the guest clock. */
static uint64_t fraction_ns(const struct rtc *r, uint64_t clock_ns)
{
    return (clock_ns + r->phase_ns) % NS_PER_S;
}

static int64_t seconds_at(const struct rtc *r, uint64_t clock_ns)
{
    return r->base_s + (int64_t)((clock_ns + r->phase_ns) / NS_PER_S);
}

static int64_t seconds_now(const struct rtc *r)
{
    return seconds_at(r, vm_now_ns(r->dev.vm));
}

static int64_t host_ns(const struct rtc *r)
{
    struct timespec host;
    clock_gettime(CLOCK_REALTIME, &host);
    return (int64_t)host.tv_sec * (int64_t)NS_PER_S + host.tv_nsec + r->dev.vm->rtc_offset_ns;
}

/* It is this time now. */
static void place_time(struct rtc *r, int64_t seconds, uint64_t ns)
{
    uint64_t now = vm_now_ns(r->dev.vm);
    r->phase_ns = (ns + NS_PER_S - now % NS_PER_S) % NS_PER_S;
    r->base_s = seconds - (int64_t)((now + r->phase_ns) / NS_PER_S);
}

/* The guest clock stands while the VM does; the time of day catches up when it goes on. */
static void follow_host(struct rtc *r)
{
    int64_t host = host_ns(r), second = (int64_t)NS_PER_S;
    uint64_t ns = (uint64_t)(host - floor_div(host, second) * second) + r->ahead_ns;
    place_time(r, floor_div(host, second) + (int64_t)r->ahead_s + (int64_t)(ns / NS_PER_S),
               ns % NS_PER_S);
}

static void tell_change(const struct rtc *r)
{
    char path[DEVICE_QOM_PATH];
    device_qom_path(&r->dev, path);
    event_tell(r->dev.vm, EVENT_RTC_CHANGE, EVENT_NUMBER("offset", (int64_t)r->ahead_s),
               EVENT_TEXT("qom-path", path));
}

/* The guest says that it is this time now. */
static void set_time(struct rtc *r, int64_t seconds, uint64_t ns)
{
    int64_t host = host_ns(r), second = (int64_t)NS_PER_S;
    int64_t behind = (int64_t)ns - (host - floor_div(host, second) * second);
    uint64_t before = r->ahead_s;
    r->ahead_s = (uint64_t)(seconds - floor_div(host, second) - (behind < 0));
    r->ahead_ns = (uint32_t)(behind < 0 ? behind + second : behind);
    place_time(r, seconds, ns);
    if (r->ahead_s != before)
        tell_change(r);
}

/* "Divider Stages": held in reset, or not updated while the guest sets it. */
static bool is_standing(const struct rtc *r)
{
    return r->cmos[REG_B] & SET || (r->cmos[REG_A] & A_DIVIDER) >= A_DIVIDER_RESET;
}

static uint8_t encode(const struct rtc *r, int v)
{
    return (uint8_t)(r->cmos[REG_B] & BINARY ? v : v / 10 << 4 | v % 10);
}

static int decode(const struct rtc *r, uint8_t v)
{
    return r->cmos[REG_B] & BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct rtc *r, int hour)
{
    if (r->cmos[REG_B] & HOURS_24)
        return encode(r, hour);
    return encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0);
}

static int decode_hour(const struct rtc *r, uint8_t v)
{
    if (r->cmos[REG_B] & HOURS_24)
        return decode(r, v);
    return decode(r, v & ~PM) % 12 + (v & PM ? 12 : 0);
}

/* Put a time into the ten registers and the century. */
static void store_time(struct rtc *r, int64_t seconds)
{
    struct tm tm;
    time_t t = (time_t)seconds;
    if (!gmtime_r(&t, &tm))
        return;
    int year = MAX((tm.tm_year + 1900) % 10000, 0);
    r->cmos[SECONDS] = encode(r, tm.tm_sec);
    r->cmos[MINUTES] = encode(r, tm.tm_min);
    r->cmos[HOURS] = encode_hour(r, tm.tm_hour);
    r->cmos[WEEKDAY] = encode(r, tm.tm_wday + 1);
    r->cmos[DAY] = encode(r, tm.tm_mday);
    r->cmos[MONTH] = encode(r, tm.tm_mon + 1);
    r->cmos[YEAR] = encode(r, year % 100);
    r->cmos[CMOS_CENTURY] = encode(r, year / 100);
}

/* Seconds since 1970 that the registers say; fields out of range carry over. */
static int64_t load_time(const struct rtc *r)
{
    struct tm tm = {
        .tm_sec = decode(r, r->cmos[SECONDS]),
        .tm_min = decode(r, r->cmos[MINUTES]),
        .tm_hour = decode_hour(r, r->cmos[HOURS]),
        .tm_mday = decode(r, r->cmos[DAY]),
        .tm_mon = decode(r, r->cmos[MONTH]) - 1,
        .tm_year = decode(r, r->cmos[CMOS_CENTURY]) * 100 + decode(r, r->cmos[YEAR]) - 1900,
    };
    return timegm(&tm);
}

/* ---- events ----------------------------------------------------------------------------------- */
/* "Periodic Interrupt Selection": in 32768ths of a second, or 0. */
static uint64_t periodic_ticks(const struct rtc *r)
{
    unsigned rate = r->cmos[REG_A] & A_RATE;
    if (!rate)
        return 0;
    return UINT64_C(1) << (rate <= 2 ? rate + 6 : rate - 1);
}

static uint64_t ns_to_ticks(uint64_t ns)
{
    return (uint64_t)((unsigned __int128)ns * TICKS_HZ / NS_PER_S);
}

static uint64_t next_periodic_ns(const struct rtc *r, uint64_t after_ns)
{
    uint64_t ticks = periodic_ticks(r);
    if (!ticks)
        return UINT64_MAX;
    uint64_t at = (ns_to_ticks(after_ns) / ticks + 1) * ticks;
    return (uint64_t)(((unsigned __int128)at * NS_PER_S + TICKS_HZ - 1) / TICKS_HZ);
}

static uint64_t next_update_ns(const struct rtc *r, uint64_t after_ns)
{
    return is_standing(r) ? UINT64_MAX : after_ns + NS_PER_S - fraction_ns(r, after_ns);
}

/* "Alarm": 0xc0 and above stands for any. */
static bool alarm_fits(uint8_t want, uint8_t have)
{
    return want >= 0xc0 || want == have;
}

/* The first second of a day, from this one on, that the alarm names; it may lie in the next day. -1: none. */
static int alarm_second(const struct rtc *r, int from)
{
    for (int s = from; s < from + DAY_S;) {
        int hour = s / 3600 % 24, minute = s / 60 % 60, second = s % 60;
        if (!alarm_fits(r->cmos[HOURS_ALARM], encode_hour(r, hour)))
            s += 3600 - s % 3600;
        else if (!alarm_fits(r->cmos[MINUTES_ALARM], encode(r, minute)))
            s += 60 - s % 60;
        else if (!alarm_fits(r->cmos[SECONDS_ALARM], encode(r, second)))
            s++;
        else
            return s;
    }
    return -1;
}

static uint64_t next_alarm_ns(const struct rtc *r, uint64_t after_ns)
{
    uint64_t update = next_update_ns(r, after_ns);
    if (update == UINT64_MAX)
        return update;
    int64_t second = seconds_at(r, update);
    int from = (int)(second - floor_div(second, DAY_S) * DAY_S), at = alarm_second(r, from);
    return at < 0 ? UINT64_MAX : update + (uint64_t)(at - from) * NS_PER_S;
}

static void rtc_update_irq(struct rtc *r)
{
    uint8_t c = r->cmos[REG_C] & EVENTS;
    r->cmos[REG_C] = c | (c & r->cmos[REG_B] ? C_IRQ : 0);
    irq_set(&r->out, r->cmos[REG_C] & C_IRQ);
}

/* With lost_tick_policy=slew, periodic interrupts that came before the last one was answered are owed to a guest
 * that counts them. */
static void note_lost_ticks(struct rtc *r, uint64_t now)
{
    uint64_t ticks = periodic_ticks(r);
    if (!ticks || !(r->cmos[REG_B] & PERIODIC) || r->policy != POLICY_SLEW) {
        r->owed = 0;
        return;
    }
    uint64_t n = ns_to_ticks(now) / ticks - ns_to_ticks(r->seen_ns) / ticks;
    if (n && !(r->cmos[REG_C] & PERIODIC))
        n--;
    r->owed = (uint32_t)MIN(r->owed + n, MOST_OWED);
}

/* One of those, when the guest has answered and half a period has passed: it catches up at double speed. */
static uint64_t next_owed_ns(const struct rtc *r)
{
    return r->answered_ns + periodic_ticks(r) * NS_PER_S / TICKS_HZ / 2;
}

static void give_owed_tick(struct rtc *r, uint64_t now)
{
    if (!r->owed || r->cmos[REG_C] & (C_IRQ | PERIODIC) || now < next_owed_ns(r))
        return;
    r->owed--;
    r->cmos[REG_C] |= PERIODIC;
}

/* Bring C up to now. Before anything that changes when events happen. */
static void rtc_catch_up(struct rtc *r)
{
    uint64_t now = vm_now_ns(r->dev.vm);
    note_lost_ticks(r, now);
    if (next_periodic_ns(r, r->seen_ns) <= now)
        r->cmos[REG_C] |= PERIODIC;
    give_owed_tick(r, now);
    if (next_update_ns(r, r->seen_ns) <= now)
        r->cmos[REG_C] |= UPDATE;
    bool rings = next_alarm_ns(r, r->seen_ns) <= now;
    if (rings)
        r->cmos[REG_C] |= ALARM;
    r->seen_ns = now;
    rtc_update_irq(r);
    if (rings && r->cmos[REG_B] & ALARM) {
        irq_set(&r->alarm, true);
        irq_set(&r->alarm, false);
    }
}

static void rtc_arm(struct rtc *r)
{
    uint8_t wanted = r->cmos[REG_B] & EVENTS & ~r->cmos[REG_C];
    uint64_t at = UINT64_MAX;
    if (r->cmos[REG_C] & C_IRQ)
        wanted = 0; /* nothing new to tell before C is read */
    if (wanted & PERIODIC)
        at = next_periodic_ns(r, r->seen_ns);
    if (wanted & PERIODIC && r->owed)
        at = MIN(at, next_owed_ns(r));
    if (wanted & UPDATE)
        at = MIN(at, next_update_ns(r, r->seen_ns));
    if (wanted & ALARM)
        at = MIN(at, next_alarm_ns(r, r->seen_ns));
    if (at == UINT64_MAX)
        timer_cancel(r->bell);
    else
        timer_set(r->bell, at);
}

static void rtc_rings(void *opaque)
{
    struct rtc *r = opaque;
    device_lock(&r->dev);
    rtc_catch_up(r);
    rtc_arm(r);
    device_unlock(&r->dev);
}

/* ---- registers -------------------------------------------------------------------------------- */
static bool is_time(unsigned at)
{
    return (at < REG_A && at != SECONDS_ALARM && at != MINUTES_ALARM && at != HOURS_ALARM) ||
           at == CMOS_CENTURY;
}

static uint8_t read_a(const struct rtc *r)
{
    uint64_t now = vm_now_ns(r->dev.vm), update = next_update_ns(r, now);
    return r->cmos[REG_A] | (update != UINT64_MAX && update - now <= UPDATE_NS ? A_UPDATING : 0);
}

static uint8_t rtc_get(struct rtc *r, unsigned at)
{
    uint8_t c;
    if (is_time(at) && !is_standing(r))
        store_time(r, seconds_now(r));
    switch (at) {
    case REG_A: return read_a(r);
    case REG_C:
        c = r->cmos[REG_C];
        r->cmos[REG_C] = 0;
        r->answered_ns = r->seen_ns;
        rtc_update_irq(r);
        return c;
    case REG_D: return D_VALID;
    default: return r->cmos[at];
    }
}

/* The clock stops or goes on: the registers keep the time while it stands. "Divider Stages": the first update
 * comes half a second after the divider's reset ends; SET leaves the divider running. */
static void write_control(struct rtc *r, unsigned at, uint8_t value)
{
    bool stood = is_standing(r), was_reset = (r->cmos[REG_A] & A_DIVIDER) >= A_DIVIDER_RESET;
    if (!stood)
        store_time(r, seconds_now(r));
    int64_t seconds = load_time(r);
    r->cmos[at] = value;
    if (stood && !is_standing(r))
        set_time(r, seconds, was_reset ? NS_PER_S / 2 : fraction_ns(r, vm_now_ns(r->dev.vm)));
}

static void write_time(struct rtc *r, unsigned at, uint8_t value)
{
    bool standing = is_standing(r);
    if (!standing)
        store_time(r, seconds_now(r));
    r->cmos[at] = value;
    if (!standing)
        set_time(r, load_time(r), fraction_ns(r, vm_now_ns(r->dev.vm)));
}

static void rtc_put(struct rtc *r, unsigned at, uint8_t value)
{
    switch (at) {
    case REG_A: write_control(r, at, value & ~A_UPDATING); break;
    case REG_B:
        if (value & SET)
            value &= ~UPDATE; /* "SET": clears UIE */
        write_control(r, at, value);
        break;
    case REG_C:
    case REG_D: break;
    default:
        if (is_time(at))
            write_time(r, at, value);
        else
            r->cmos[at] = value;
    }
}

static uint64_t rtc_read(void *opaque, uint64_t off, unsigned size)
{
    struct rtc *r = opaque;
    if (off == 0)
        return 0xff; /* the index is write-only */
    device_lock(&r->dev);
    rtc_catch_up(r);
    uint8_t value = rtc_get(r, r->index);
    rtc_arm(r);
    device_unlock(&r->dev);
    return value;
}

static void rtc_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct rtc *r = opaque;
    device_lock(&r->dev);
    if (off == 0) {
        r->index = value & ~NMI_OFF; /* no source of NMIs is gated here */
    } else {
        rtc_catch_up(r);
        rtc_put(r, r->index, (uint8_t)value);
        rtc_update_irq(r);
        rtc_arm(r);
    }
    device_unlock(&r->dev);
}

static const struct mmio_ops rtc_ops = { rtc_read, rtc_write, 1, 1, NULL };

/* ---- wiring and life -------------------------------------------------------------------------- */
struct irq *mc146818_output(struct device *dev)
{
    return &((struct rtc *)dev)->out;
}

struct irq *mc146818_alarm(struct device *dev)
{
    return &((struct rtc *)dev)->alarm;
}

void mc146818_set_cmos(struct device *dev, unsigned at, uint8_t value)
{
    struct rtc *r = (struct rtc *)dev;
    if (at < N_CLOCK_REGS || at >= CMOS_SIZE)
        return;
    device_lock(dev);
    r->cmos[at] = value;
    device_unlock(dev);
}

static void rtc_runs(void *opaque, bool running)
{
    struct rtc *r = opaque;
    if (!running)
        return;
    device_lock(&r->dev);
    follow_host(r);
    rtc_arm(r);
    device_unlock(&r->dev);
}

static struct error *rtc_realize(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;
    r->bell = timer_new(dev->vm, rtc_rings, r);
    r->ports = mem_add_mmio(dev->vm, "rtc", 2, &rtc_ops, r);
    mem_batch_writes(r->ports, 0, 1); /* the index */
    place_ports(r->ports, r->iobase);
    r->cmos[REG_A] = 0x26; /* 32768 Hz, 1024 Hz periodic: what PC BIOSes set */
    r->cmos[REG_B] = HOURS_24;
    follow_host(r);
    vm_on_run(dev->vm, rtc_runs, r);
    return NULL;
}

static void rtc_unrealize(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;
    vm_forget(dev->vm, r);
    mem_free_region(r->ports);
    timer_free(r->bell);
}

/* "RESET": the battery keeps the rest. */
static void rtc_reset(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;
    r->index = 0;
    r->cmos[REG_B] &= ~(EVENTS | SQUARE_WAVE);
    r->cmos[REG_C] = 0;
    r->owed = 0;
    r->seen_ns = r->answered_ns = vm_now_ns(dev->vm);
    rtc_update_irq(r);
    rtc_arm(r);
}

static struct error *rtc_loaded(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;
    if (r->cmos[REG_A] & A_UPDATING || r->cmos[REG_C] & ~(C_IRQ | EVENTS))
        return error_new("mc146818rtc: register A or C has bits that are never kept");
    if (r->ahead_s + MOST_AHEAD_S > 2 * MOST_AHEAD_S)
        return error_new("mc146818rtc: the clock is more than 20000 years off");
    follow_host(r);
    irq_set(&r->out, r->cmos[REG_C] & C_IRQ);
    rtc_arm(r);
    return NULL;
}

static const char *const policies[] = { "discard", "slew", NULL };

static const struct prop rtc_props[] = {
    PORT_PROP(struct rtc, iobase, "iobase"),
    PROP(struct rtc, policy, "lost_tick_policy", PROP_ENUM, .def = "discard", .names = policies,
         .help = "periodic interrupts that the guest was too slow for: lost, or given later"),
};

static const struct field rtc_state[] = {
    FIELD(struct rtc, index, .max = CMOS_SIZE - 1),
    FIELD_RAW(struct rtc, cmos),
    FIELD(struct rtc, ahead_s),
    FIELD(struct rtc, ahead_ns, .max = NS_PER_S - 1),
    FIELD(struct rtc, seen_ns),
    FIELD(struct rtc, owed, .max = MOST_OWED, .since = 2),
    FIELD(struct rtc, answered_ns, .since = 2),
    DERIVED(struct rtc, base_s),
    DERIVED(struct rtc, phase_ns),
};

const struct device_class mc146818_class = {
    .name = "mc146818rtc",
    .desc = "MC146818 real-time clock and CMOS memory",
    .bus = "system",
    .version = 2,
    .size = sizeof(struct rtc),
    .props = TABLE(rtc_props),
    .state = TABLE(rtc_state),
    .realize = rtc_realize,
    .unrealize = rtc_unrealize,
    .reset = rtc_reset,
    .loaded = rtc_loaded,
};
