/* Goldfish real-time clock: nanoseconds since 1970 in two halves, and an alarm. The register list is
 * in Android's docs/GOLDFISH-VIRTUAL-HARDWARE.TXT, V. */
#include "hw/timer/goldfish_rtc.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/place.h"

#include <time.h>

struct rtc {
    struct device dev;
    uint64_t addr;
    struct mem_region *mmio;
    struct irq out;
    struct timer *alarm; /* derived: runs while alarm_running */

    uint64_t offset_ns; /* what the guest set the clock ahead of the host's, modulo 2^64 */
    uint64_t alarm_ns;  /* in the guest's time of day */
    uint32_t time_high; /* latched by reading TIME_LOW */
    uint32_t alarm_high;
    uint32_t irq_enabled;
    bool alarm_running, irq_pending;
};

static uint64_t rtc_now_ns(const struct rtc *r)
{
    struct timespec host;
    clock_gettime(CLOCK_REALTIME, &host);
    uint64_t now = (uint64_t)host.tv_sec * NS_PER_S + (uint64_t)host.tv_nsec;
    return now + (uint64_t)r->dev.vm->rtc_offset_ns + r->offset_ns;
}

static void rtc_update_irq(struct rtc *r)
{
    irq_set(&r->out, r->irq_pending && (r->irq_enabled & 1));
}

static void rtc_ring(struct rtc *r)
{
    r->alarm_running = false;
    r->irq_pending = true;
    rtc_update_irq(r);
}

/* Ring now, or set the timer for when the alarm's time of day comes. */
static void rtc_set_alarm(struct rtc *r)
{
    timer_cancel(r->alarm);
    if (!r->alarm_running)
        return;
    uint64_t now = rtc_now_ns(r);
    uint64_t vm_now = vm_now_ns(r->dev.vm);
    if (r->alarm_ns <= now)
        rtc_ring(r);
    else if (r->alarm_ns - now <= UINT64_MAX - vm_now)
        timer_set(r->alarm, vm_now + (r->alarm_ns - now));
}

static void rtc_alarm_fired(void *opaque)
{
    struct rtc *r = opaque;
    device_lock(&r->dev);
    rtc_set_alarm(r); /* the host's clock may have been set back */
    device_unlock(&r->dev);
}

static uint64_t read_time_low(struct device *dev, const struct reg *reg)
{
    struct rtc *r = (struct rtc *)dev;
    uint64_t now = rtc_now_ns(r);
    r->time_high = now >> 32;
    return (uint32_t)now;
}

static uint64_t read_time_high(struct device *dev, const struct reg *reg)
{
    return ((struct rtc *)dev)->time_high;
}

static void write_time_low(struct device *dev, const struct reg *reg, uint64_t old, uint64_t value)
{
    struct rtc *r = (struct rtc *)dev;
    uint64_t now = rtc_now_ns(r);
    r->offset_ns += ((now & ~UINT64_C(0xffffffff)) | (uint32_t)value) - now;
    rtc_set_alarm(r);
}

static void write_time_high(struct device *dev, const struct reg *reg, uint64_t old, uint64_t value)
{
    struct rtc *r = (struct rtc *)dev;
    uint64_t now = rtc_now_ns(r);
    r->offset_ns += ((uint32_t)now | value << 32) - now;
    rtc_set_alarm(r);
}

static uint64_t read_alarm_low(struct device *dev, const struct reg *reg)
{
    return (uint32_t)((struct rtc *)dev)->alarm_ns;
}

static uint64_t read_alarm_high(struct device *dev, const struct reg *reg)
{
    return ((struct rtc *)dev)->alarm_ns >> 32;
}

/* The low half starts the alarm, with the high half written before. */
static void write_alarm_low(struct device *dev, const struct reg *reg, uint64_t old, uint64_t value)
{
    struct rtc *r = (struct rtc *)dev;
    r->alarm_ns = (uint64_t)r->alarm_high << 32 | (uint32_t)value;
    r->alarm_running = true;
    rtc_set_alarm(r);
}

static void write_alarm_high(struct device *dev, const struct reg *reg, uint64_t old,
                             uint64_t value)
{
    ((struct rtc *)dev)->alarm_high = (uint32_t)value;
}

static void write_irq_enabled(struct device *dev, const struct reg *reg, uint64_t old,
                              uint64_t value)
{
    rtc_update_irq((struct rtc *)dev);
}

static void write_clear_alarm(struct device *dev, const struct reg *reg, uint64_t old,
                              uint64_t value)
{
    struct rtc *r = (struct rtc *)dev;
    r->alarm_running = false;
    timer_cancel(r->alarm);
}

static uint64_t read_alarm_status(struct device *dev, const struct reg *reg)
{
    return ((struct rtc *)dev)->alarm_running;
}

static void write_clear_interrupt(struct device *dev, const struct reg *reg, uint64_t old,
                                  uint64_t value)
{
    struct rtc *r = (struct rtc *)dev;
    r->irq_pending = false;
    rtc_update_irq(r);
}

static const struct reg rtc_regs[] = {
    REG32_COMPUTED(0x00, "TIME_LOW", .on_read = read_time_low, .on_write = write_time_low),
    REG32_COMPUTED(0x04, "TIME_HIGH", .on_read = read_time_high, .on_write = write_time_high),
    REG32_COMPUTED(0x08, "ALARM_LOW", .on_read = read_alarm_low, .on_write = write_alarm_low),
    REG32_COMPUTED(0x0c, "ALARM_HIGH", .on_read = read_alarm_high, .on_write = write_alarm_high),
    REG32(0x10, "IRQ_ENABLED", struct rtc, irq_enabled, .writable = 1,
          .on_write = write_irq_enabled),
    REG32_COMPUTED(0x14, "CLEAR_ALARM", .on_write = write_clear_alarm),
    REG32_COMPUTED(0x18, "ALARM_STATUS", .on_read = read_alarm_status),
    REG32_COMPUTED(0x1c, "CLEAR_INTERRUPT", .on_write = write_clear_interrupt),
};

struct irq *goldfish_rtc_output(struct device *dev)
{
    return &((struct rtc *)dev)->out;
}

static struct error *rtc_realize(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;
    r->alarm = timer_new(dev->vm, rtc_alarm_fired, r);
    r->mmio = mem_add_mmio(dev->vm, dev->cls->name, GOLDFISH_RTC_SIZE, &regs_mmio_ops, dev);
    place_region(r->mmio, r->addr);
    return NULL;
}

static void rtc_unrealize(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;
    mem_free_region(r->mmio);
    timer_free(r->alarm);
}

/* The time of day is battery-backed and survives. */
static void rtc_reset(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;
    timer_cancel(r->alarm);
    r->alarm_ns = 0;
    r->time_high = r->alarm_high = r->irq_enabled = 0;
    r->alarm_running = r->irq_pending = false;
    rtc_update_irq(r);
}

static struct error *rtc_loaded(struct device *dev)
{
    struct rtc *r = (struct rtc *)dev;
    rtc_update_irq(r);
    if (r->alarm_running && r->alarm_ns <= rtc_now_ns(r))
        timer_set(r->alarm, 0); /* rings as soon as the guest runs; loading changes no state */
    else
        rtc_set_alarm(r);
    return NULL;
}

static const struct prop rtc_props[] = {
    ADDR_PROP(struct rtc),
};

static const struct field rtc_state[] = {
    FIELD(struct rtc, offset_ns),
    FIELD(struct rtc, alarm_ns),
    FIELD(struct rtc, time_high),
    FIELD(struct rtc, alarm_high),
    FIELD(struct rtc, irq_enabled, .valid = 1),
    FIELD(struct rtc, alarm_running, .max = 1),
    FIELD(struct rtc, irq_pending, .max = 1),
};

const struct device_class goldfish_rtc_class = {
    .name = "goldfish-rtc",
    .desc = "Goldfish real-time clock",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct rtc),
    .props = TABLE(rtc_props),
    .regs = TABLE(rtc_regs),
    .state = TABLE(rtc_state),
    .realize = rtc_realize,
    .unrealize = rtc_unrealize,
    .reset = rtc_reset,
    .loaded = rtc_loaded,
};
