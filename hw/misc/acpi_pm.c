/* ACPI power management hardware. Section numbers: ACPI 6.4; where they begin with 13, the 82801I (ICH9) data
 * sheet. The PIIX4's block has the same start (82371AB data sheet, 7.2). */
#include "hw/misc/acpi_pm.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/misc/tco.h"
#include "hw/place.h"

#include <assert.h>

enum {
    PM1_STATUS = 0x00,
    PM1_ENABLE = 0x02,
    PM1_CONTROL = 0x04,
    PM_TIMER = 0x08,
    ICH9_GPE_STATUS = 0x20, /* 13.8.3.8 */
    ICH9_GPE_ENABLE = 0x28,
    SMI_ENABLE = 0x30, /* 13.8.3.12 */
    SMI_STATUS = 0x34,
    TCO_AT = 0x60, /* 13.9 */
};
enum { /* 4.8.3.1: the same bits in status and enable */
       EVENT_TIMER = 1 << 0,
       EVENT_GLOBAL = 1 << 5,
       EVENT_POWER_BUTTON = 1 << 8,
       EVENT_SLEEP_BUTTON = 1 << 9,
       EVENT_RTC = 1 << 10,
       EVENT_WAKE = 1 << 15,
       EVENTS = EVENT_TIMER | EVENT_GLOBAL | EVENT_POWER_BUTTON | EVENT_SLEEP_BUTTON | EVENT_RTC,
       STATUS_W1C = EVENTS | EVENT_WAKE | 1 << 4,
};
enum { CONTROL_SCI = 1 << 0, CONTROL_KEPT = 0x1c03, CONTROL_SLEEP = 1 << 13 }; /* 4.8.3.2 */
enum { SLEEP_S5 = 0, SLEEP_S3 = 1, SLEEP_S4 = 2 };
enum { SMI_GLOBAL = 1 << 0, SMI_COMMAND = 1 << 5, SMI_TCO = 1 << 13 };
enum { TIMER_HZ = 3579545, TIMER_BITS = 24 }; /* 4.8.3.3 */

struct pm_model {
    uint8_t acpi_enable, acpi_disable;
    uint8_t gpe_bytes; /* of status, and as many of enable */
    bool ich9;
};

struct acpi_pm {
    struct device dev;
    uint32_t pm_base, gpe_base, command_base;
    struct mem_region *block, *gpe_block, *command;
    struct irq sci, smi;
    struct timer *timer, *watchdog;

    uint16_t status, enable, control;
    bool sleeping;       /* in S3 */
    uint16_t woken_by;   /* events that ended it: status shows them behind the reset */
    uint64_t timer_seen; /* ticks up to which the timer's overflows are in status */
    uint8_t gpe_status[8], gpe_enable[8], gpe_level[8];
    uint32_t smi_enable, smi_status;
    uint8_t command_data[2];
    bool no_reboot;
    struct tco tco;
    bool has_smm; /* the board's */
    bool smi_locked,
        command_smis; /* derived from registers of the bridge, or the PIIX4's function */
};

static const struct pm_model *model_of(const struct acpi_pm *p)
{
    return p->dev.cls->bus_class;
}

/* ---- timer and SCI ---------------------------------------------------------------------------- */
static uint64_t ticks_now(const struct acpi_pm *p)
{
    return (uint64_t)((unsigned __int128)vm_now_ns(p->dev.vm) * TIMER_HZ / NS_PER_S);
}

/* 4.8.3.3: the status comes up whenever the timer's highest bit changes. */
static void timer_catch_up(struct acpi_pm *p)
{
    uint64_t now = ticks_now(p);
    if (now >> (TIMER_BITS - 1) != p->timer_seen >> (TIMER_BITS - 1))
        p->status |= EVENT_TIMER;
    p->timer_seen = now;
}

static bool has_event(const struct acpi_pm *p)
{
    bool gpe = false;
    for (unsigned i = 0; i < sizeof(p->gpe_status); i++)
        gpe |= p->gpe_status[i] & p->gpe_enable[i];
    return gpe || p->status & p->enable & EVENTS;
}

static void pm_update(struct acpi_pm *p)
{
    bool wants_timer = p->enable & EVENT_TIMER && p->control & CONTROL_SCI;
    timer_catch_up(p);
    irq_set(&p->sci, p->control & CONTROL_SCI && has_event(p));
    if (wants_timer && !(p->status & EVENT_TIMER)) {
        uint64_t flip = ((p->timer_seen >> (TIMER_BITS - 1)) + 1) << (TIMER_BITS - 1);
        timer_set(p->timer,
                  (uint64_t)(((unsigned __int128)flip * NS_PER_S + TIMER_HZ - 1) / TIMER_HZ));
    } else {
        timer_cancel(p->timer);
    }
}

static void timer_rings(void *opaque)
{
    struct acpi_pm *p = opaque;
    device_lock(&p->dev);
    pm_update(p);
    device_unlock(&p->dev);
}

static void raise_smi(struct acpi_pm *p, uint32_t source)
{
    p->smi_status |= source;
    if (model_of(p)->ich9 ? p->smi_enable & source && p->smi_enable & SMI_GLOBAL
                          : p->command_smis) {
        irq_set(&p->smi, true);
        irq_set(&p->smi, false);
    }
}

/* ---- sleeping, buttons, events ---------------------------------------------------------------- */
/* 16.1.3: all but memory is lost, the watchdog, too. */
static void fall_asleep(struct acpi_pm *p)
{
    p->sleeping = true;
    p->woken_by = 0;
    timer_cancel(p->watchdog);
    vm_request_suspend(p->dev.vm);
}

static void wake_by(struct acpi_pm *p, uint16_t event)
{
    if (!p->sleeping)
        return;
    p->woken_by |= event;
    vm_request_wake(p->dev.vm);
}

/* 16.1: soft off, and suspend to disk, which looks the same from here. */
static void go_to_sleep(struct acpi_pm *p)
{
    unsigned type = p->control >> 10 & 7;
    if (type == SLEEP_S5 || type == SLEEP_S4)
        vm_request_end(p->dev.vm, VERDICT_POWERED_OFF, 0, NULL);
    else if (type == SLEEP_S3 && p->dev.vm->can_suspend)
        fall_asleep(p);
    else
        device_broken(&p->dev, "sleep type %u is none of this machine's", type);
}

static void press(struct acpi_pm *p, uint16_t event)
{
    device_lock(&p->dev);
    p->status |= event;
    wake_by(p, event);
    pm_update(p);
    device_unlock(&p->dev);
}

static void alarm_rings(void *opaque, unsigned n, bool level)
{
    struct acpi_pm *p = opaque;
    if (!level)
        return;
    device_lock(&p->dev);
    p->status |= EVENT_RTC;
    if (p->enable & EVENT_RTC)
        wake_by(p, EVENT_RTC);
    pm_update(p);
    device_unlock(&p->dev);
}

struct irq acpi_pm_alarm_input(struct device *dev)
{
    return (struct irq){ alarm_rings, dev, 0 };
}

static void power_button(void *opaque)
{
    press(opaque, EVENT_POWER_BUTTON);
}

void acpi_pm_sleep_button(struct device *dev)
{
    press((struct acpi_pm *)dev, EVENT_SLEEP_BUTTON);
}

static void gpe_set(void *opaque, unsigned n, bool level)
{
    struct acpi_pm *p = opaque;
    uint8_t bit = 1 << n % 8;
    device_lock(&p->dev);
    if (level && !(p->gpe_level[n / 8] & bit))
        p->gpe_status[n / 8] |= bit;
    p->gpe_level[n / 8] = level ? p->gpe_level[n / 8] | bit : p->gpe_level[n / 8] & ~bit;
    pm_update(p);
    device_unlock(&p->dev);
}

/* ---- the watchdog ----------------------------------------------------------------------------- */
static void tco_smi(void *opaque)
{
    raise_smi(opaque, SMI_TCO);
}

static void tco_resets(void *opaque)
{
    struct acpi_pm *p = opaque;
    if (!p->no_reboot)
        vm_watchdog_expired(p->dev.vm);
}

static struct tco_owner tco_owner(struct acpi_pm *p)
{
    return (struct tco_owner){ tco_smi, tco_resets, p };
}

static void watchdog_arm(struct acpi_pm *p)
{
    uint64_t due = tco_due(&p->tco);
    if (due == UINT64_MAX || p->sleeping)
        timer_cancel(p->watchdog);
    else
        timer_set(p->watchdog, due);
}

static void watchdog_rings(void *opaque)
{
    struct acpi_pm *p = opaque;
    struct tco_owner owner = tco_owner(p);
    device_lock(&p->dev);
    tco_tick(&p->tco, vm_now_ns(p->dev.vm), &owner);
    watchdog_arm(p);
    device_unlock(&p->dev);
}

/* ---- registers, byte by byte ------------------------------------------------------------------ */
static uint8_t byte_of(uint64_t value, unsigned n)
{
    return (uint8_t)(value >> 8 * n);
}

static uint8_t ich9_read(const struct acpi_pm *p, unsigned at)
{
    if (at >= TCO_AT)
        return tco_read(&p->tco, at - TCO_AT, vm_now_ns(p->dev.vm));
    if (at >= SMI_STATUS)
        return at < SMI_STATUS + 4 ? byte_of(p->smi_status, at - SMI_STATUS) : 0;
    if (at >= SMI_ENABLE)
        return byte_of(p->smi_enable, at - SMI_ENABLE);
    if (at >= ICH9_GPE_ENABLE)
        return p->gpe_enable[at - ICH9_GPE_ENABLE];
    return at >= ICH9_GPE_STATUS ? p->gpe_status[at - ICH9_GPE_STATUS] : 0;
}

static uint8_t block_read_byte(const struct acpi_pm *p, unsigned at)
{
    if (at < PM1_ENABLE)
        return byte_of(p->status, at);
    if (at < PM1_CONTROL)
        return byte_of(p->enable, at - PM1_ENABLE);
    if (at < PM_TIMER)
        return byte_of(p->control, at - PM1_CONTROL);
    if (at < PM_TIMER + 4)
        return byte_of(p->timer_seen & ((1u << TIMER_BITS) - 1), at - PM_TIMER);
    return model_of(p)->ich9 ? ich9_read(p, at) : 0;
}

static uint32_t with_byte(uint32_t old, unsigned n, uint8_t value)
{
    return (old & ~(UINT32_C(0xff) << 8 * n)) | (uint32_t)value << 8 * n;
}

static void ich9_write(struct acpi_pm *p, unsigned at, uint8_t value)
{
    struct tco_owner owner = tco_owner(p);
    if (at >= TCO_AT) {
        tco_write(&p->tco, at - TCO_AT, value, vm_now_ns(p->dev.vm), &owner);
        watchdog_arm(p);
    } else if (at >= SMI_STATUS) {
        if (at < SMI_STATUS + 4)
            p->smi_status &= ~((uint32_t)value << 8 * (at - SMI_STATUS));
    } else if (at >= SMI_ENABLE) {
        uint32_t kept = p->smi_locked ? p->smi_enable & SMI_GLOBAL : 0;
        p->smi_enable = with_byte(p->smi_enable, at - SMI_ENABLE, value) | kept;
    } else if (at >= ICH9_GPE_ENABLE) {
        p->gpe_enable[at - ICH9_GPE_ENABLE] = value;
    } else if (at >= ICH9_GPE_STATUS) {
        p->gpe_status[at - ICH9_GPE_STATUS] &= ~value;
    }
}

static void block_write_byte(struct acpi_pm *p, unsigned at, uint8_t value)
{
    if (at < PM1_ENABLE) {
        p->status &= ~(value << 8 * at & STATUS_W1C);
    } else if (at < PM1_CONTROL) {
        p->enable = with_byte(p->enable, at - PM1_ENABLE, value) & EVENTS;
    } else if (at < PM1_CONTROL + 2) {
        uint32_t written = with_byte(p->control, at - PM1_CONTROL, value);
        p->control = written & CONTROL_KEPT;
        if (written & CONTROL_SLEEP)
            go_to_sleep(p);
    } else if (at >= PM_TIMER + 4 && model_of(p)->ich9) {
        ich9_write(p, at, value);
    }
}

static uint64_t block_read(void *opaque, uint64_t off, unsigned size)
{
    struct acpi_pm *p = opaque;
    uint64_t value = 0;
    device_lock(&p->dev);
    timer_catch_up(p);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)block_read_byte(p, (unsigned)off + i) << 8 * i;
    device_unlock(&p->dev);
    return value;
}

static void block_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct acpi_pm *p = opaque;
    device_lock(&p->dev);
    timer_catch_up(p);
    for (unsigned i = 0; i < size; i++)
        block_write_byte(p, (unsigned)off + i, byte_of(value, i));
    pm_update(p);
    device_unlock(&p->dev);
}

/* PIIX4 boards have the general-purpose events apart. */
static uint64_t gpe_read(void *opaque, uint64_t off, unsigned size)
{
    struct acpi_pm *p = opaque;
    unsigned n = model_of(p)->gpe_bytes;
    device_lock(&p->dev);
    uint8_t value = off < n ? p->gpe_status[off] : p->gpe_enable[off - n];
    device_unlock(&p->dev);
    return value;
}

static void gpe_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct acpi_pm *p = opaque;
    unsigned n = model_of(p)->gpe_bytes;
    device_lock(&p->dev);
    if (off < n)
        p->gpe_status[off] &= ~(uint8_t)value;
    else
        p->gpe_enable[off - n] = (uint8_t)value;
    pm_update(p);
    device_unlock(&p->dev);
}

static uint64_t command_read(void *opaque, uint64_t off, unsigned size)
{
    struct acpi_pm *p = opaque;
    device_lock(&p->dev);
    uint8_t value = p->command_data[off];
    device_unlock(&p->dev);
    return value;
}

/* 4.8.3.2: what the firmware's SMI handler would do for the two commands is done here, without an SMI. */
static void command_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct acpi_pm *p = opaque;
    device_lock(&p->dev);
    p->command_data[off] = (uint8_t)value;
    if (off == 0) {
        if (value == model_of(p)->acpi_enable)
            p->control |= CONTROL_SCI;
        else if (value == model_of(p)->acpi_disable)
            p->control &= ~CONTROL_SCI;
        else
            raise_smi(p, SMI_COMMAND);
        pm_update(p);
    }
    device_unlock(&p->dev);
}

static const struct mmio_ops block_ops = { block_read, block_write, 1, 4, NULL };
static const struct mmio_ops gpe_ops = { gpe_read, gpe_write, 1, 1, NULL };
static const struct mmio_ops command_ops = { command_read, command_write, 1, 1, NULL };

/* ---- wiring and life -------------------------------------------------------------------------- */
struct irq *acpi_pm_sci(struct device *dev)
{
    return &((struct acpi_pm *)dev)->sci;
}

struct irq *acpi_pm_smi(struct device *dev)
{
    return &((struct acpi_pm *)dev)->smi;
}

struct irq acpi_pm_gpe_input(struct device *dev, unsigned n)
{
    assert(n < model_of((struct acpi_pm *)dev)->gpe_bytes * 8u);
    return (struct irq){ gpe_set, dev, n };
}

struct mem_region *acpi_pm_region(struct device *dev)
{
    return ((struct acpi_pm *)dev)->block;
}

void acpi_pm_use_smm(struct device *dev)
{
    ((struct acpi_pm *)dev)->has_smm = true;
}

void acpi_pm_lock_smi(struct device *dev, bool on)
{
    device_lock(dev);
    ((struct acpi_pm *)dev)->smi_locked = on;
    device_unlock(dev);
}

void acpi_pm_set_command_smi(struct device *dev, bool on)
{
    device_lock(dev);
    ((struct acpi_pm *)dev)->command_smis = on;
    device_unlock(dev);
}

void acpi_pm_set_no_reboot(struct device *dev, bool on)
{
    device_lock(dev);
    ((struct acpi_pm *)dev)->no_reboot = on;
    device_unlock(dev);
}

static struct error *pm_realize(struct device *dev)
{
    struct acpi_pm *p = (struct acpi_pm *)dev;
    bool ich9 = model_of(p)->ich9;
    p->timer = timer_new(dev->vm, timer_rings, p);
    p->watchdog = timer_new(dev->vm, watchdog_rings, p);
    p->block = mem_add_mmio(dev->vm, "acpi-pm", ich9 ? ICH9_PM_SIZE : PIIX4_PM_SIZE, &block_ops, p);
    p->command = mem_add_mmio(dev->vm, "acpi-smi-command", 2, &command_ops, p);
    place_ports(p->block, p->pm_base);
    place_ports(p->command, p->command_base);
    if (!ich9) {
        p->gpe_block = mem_add_mmio(dev->vm, "acpi-gpe", PIIX4_GPE_SIZE, &gpe_ops, p);
        place_ports(p->gpe_block, p->gpe_base);
    }
    vm_on_power_button(dev->vm, power_button, p);
    return NULL;
}

static void pm_unrealize(struct device *dev)
{
    struct acpi_pm *p = (struct acpi_pm *)dev;
    vm_forget(dev->vm, p);
    mem_free_region(p->block);
    mem_free_region(p->command);
    if (p->gpe_block)
        mem_free_region(p->gpe_block);
    timer_free(p->timer);
    timer_free(p->watchdog);
}

/* The levels of events stay: they belong to their sources. */
static void pm_reset(struct device *dev)
{
    struct acpi_pm *p = (struct acpi_pm *)dev;
    p->status = dev->vm->waking ? p->woken_by | EVENT_WAKE : 0; /* 4.8.3.1.1 */
    p->sleeping = false;
    p->woken_by = 0;
    p->enable = p->control = 0;
    /* Without that mode as if set up already: firmware then leaves it alone. */
    p->smi_enable = p->has_smm ? 0 : SMI_COMMAND;
    p->smi_locked = false;
    p->smi_status = 0;
    memset(p->gpe_status, 0, sizeof(p->gpe_status));
    memset(p->gpe_enable, 0, sizeof(p->gpe_enable));
    memset(p->command_data, 0, sizeof(p->command_data));
    p->timer_seen = ticks_now(p);
    p->no_reboot = true; /* until software clears it */
    tco_reset(&p->tco);
    watchdog_arm(p);
    pm_update(p);
}

static struct error *pm_loaded(struct device *dev)
{
    struct acpi_pm *p = (struct acpi_pm *)dev;
    irq_set(&p->sci, p->control & CONTROL_SCI && has_event(p));
    if (p->enable & EVENT_TIMER && p->control & CONTROL_SCI)
        timer_set(p->timer, vm_now_ns(dev->vm)); /* works out the rest when the guest runs */
    watchdog_arm(p);
    dev->vm->suspended = p->sleeping;
    return NULL;
}

#define PM_PROPS                                     \
    PORT_PROP(struct acpi_pm, pm_base, "pm-iobase"), \
        PORT_PROP(struct acpi_pm, command_base, "smi-command-iobase")

static const struct prop ich9_props[] = { PM_PROPS };
static const struct prop piix4_props[] = {
    PM_PROPS,
    PORT_PROP(struct acpi_pm, gpe_base, "gpe-iobase"),
};

static const struct field pm_state[] = {
    FIELD(struct acpi_pm, status, .valid = STATUS_W1C),
    FIELD(struct acpi_pm, enable, .valid = EVENTS),
    FIELD(struct acpi_pm, control, .valid = CONTROL_KEPT),
    FIELD(struct acpi_pm, sleeping),
    FIELD(struct acpi_pm, woken_by, .valid = EVENTS),
    FIELD(struct acpi_pm, timer_seen),
    FIELD_ARRAY(struct acpi_pm, gpe_status),
    FIELD_ARRAY(struct acpi_pm, gpe_enable),
    FIELD_ARRAY(struct acpi_pm, gpe_level),
    FIELD(struct acpi_pm, smi_enable),
    FIELD(struct acpi_pm, smi_status),
    FIELD_ARRAY(struct acpi_pm, command_data),
    FIELD(struct acpi_pm, no_reboot),
    DERIVED(struct acpi_pm, has_smm),
    DERIVED(struct acpi_pm, smi_locked),
    DERIVED(struct acpi_pm, command_smis),
    FIELD_SUB(struct acpi_pm, tco, tco_fields, 1),
};

#define PM_CLASS(name_, desc_, props_, model_)                                            \
    {                                                                                     \
        .name = (name_), .desc = (desc_), .bus = "system", .version = 1,                  \
        .size = sizeof(struct acpi_pm), .props = TABLE(props_), .state = TABLE(pm_state), \
        .bus_class = &(model_), .realize = pm_realize, .unrealize = pm_unrealize,         \
        .reset = pm_reset, .loaded = pm_loaded,                                           \
    }

static const struct pm_model ich9_model = { ICH9_ACPI_ENABLE, ICH9_ACPI_DISABLE, 8, true };
static const struct pm_model piix4_model = { PIIX4_ACPI_ENABLE, PIIX4_ACPI_DISABLE, 2, false };

const struct device_class ich9_pm_class =
    PM_CLASS("ICH9-PM", "ICH9 power management and watchdog", ich9_props, ich9_model);
const struct device_class piix4_pm_class =
    PM_CLASS("PIIX4-PM-block", "PIIX4 power management", piix4_props, piix4_model);
