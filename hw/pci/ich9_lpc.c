/* ICH9's LPC bridge: interrupt routing, where the power management block is, and the chipset's configuration
 * registers. Section numbers: 82801I (ICH9) data sheet. */
#include "hw/pci/isa_bridge.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/firmware/fw_cfg.h"
#include "hw/misc/acpi_pm.h"
#include "hw/pci/internal.h"

enum { /* 13.1 */
       PMBASE = 0x40,
       ACPI_CNTL = 0x44,
       GPIOBASE = 0x48,
       GPIO_CNTL = 0x4c,
       PIRQA_ROUT = 0x60,
       PIRQE_ROUT = 0x68,
       LPC_IO_DEC = 0x80,
       LPC_GENERIC_END = 0x94,
       GEN_PMCON = 0xa0,
       BIOS_CNTL = 0xdc,
       RCBA = 0xf0,
};
enum { SMI_LOCK = 1 << 4 };   /* of GEN_PMCON, 13.8.1.1 */
enum { SMI_TO_ALL = 1 << 0 }; /* features, by QEMU's numbers */
enum { ACPI_ENABLED = 1 << 7, SCI_SELECT = 7, PMBASE_BITS = 0xff80 };
enum { RCBA_SIZE = 0x4000, RCBA_ON = 1 << 0 };
#define RCBA_BITS UINT32_C(0xffffc000)
enum {                         /* 10.1 */
       DEVICE_ROUTES = 0x3140, /* D31IR, D30IR, ... of two bytes; D26IR and D25IR lie apart */
       DEVICE_ROUTES_END = 0x3152,
       GCS = 0x3410,
       GCS_NO_REBOOT = 1 << 5,
};
enum { FIRST_ROUTED_SLOT = 25 };

struct ich9_lpc {
    struct isa_bridge b;
    bool no_reboot_strap; /* properties, with the next two */
    uint8_t disable_s3, disable_s4;
    struct device *pm;
    struct mem_region *rcba;
    bool sci; /* level of the power management's line */

    uint32_t gcs;

    /* What fw_cfg shows, little-endian: features of SMIs; "features-ok" says that the requested ones are in force. */
    bool has_smm; /* the board's */
    uint8_t smi_requested[8], smi_ok;
    _Atomic bool smi_to_all;

    uint32_t pm_at;   /* as mapped; 0: not */
    uint64_t rcba_at; /* as mapped; 0: not */
    _Atomic uint32_t follow_wanted;
};

/* ---- interrupts ---------------------------------------------------------------------------------- */
/* The routing registers of devices 25 to 31 (10.1.44) stand at their power-on value: pin A has PIRQA and so
 * on. Others, which the chip knows nothing of, share PIRQE to H. */
unsigned ich9_pirq_of(unsigned slot, unsigned pin)
{
    return slot < FIRST_ROUTED_SLOT ? 4 + (slot + pin) % 4 : pin;
}

static unsigned pirq_register(unsigned n)
{
    return n < 4 ? PIRQA_ROUT + n : PIRQE_ROUT + n - 4;
}

/* 13.1.13: 3, 6 and 7 are reserved. */
static uint32_t sci_bit(const struct ich9_lpc *l)
{
    static const uint8_t gsis[] = { 9, 10, 11, 9, 20, 21, 9, 9 };
    return UINT32_C(1) << gsis[l->b.fn.config[ACPI_CNTL] & SCI_SELECT];
}

static void update_lines(struct isa_bridge *b)
{
    struct ich9_lpc *l = (struct ich9_lpc *)b;
    uint32_t wanted = l->sci ? sci_bit(l) : 0;
    for (unsigned n = 0; n < ICH9_N_PIRQS; n++)
        if (l->b.route.levels >> n & 1)
            wanted |= UINT32_C(1) << (16 + n) | isa_route_bit(l->b.fn.config[pirq_register(n)]);
    isa_route_drive(&l->b.route, wanted);
}

static void sci_set(void *opaque, unsigned n, bool level)
{
    struct ich9_lpc *l = opaque;
    device_lock(&l->b.dev);
    l->sci = level;
    update_lines(&l->b);
    device_unlock(&l->b.dev);
}

struct irq ich9_lpc_sci(struct device *dev)
{
    return (struct irq){ sci_set, dev, 0 };
}

/* ---- chipset configuration registers --------------------------------------------------------------- */
static uint8_t rcba_byte(const struct ich9_lpc *l, unsigned at)
{
    if (at >= DEVICE_ROUTES && at < DEVICE_ROUTES_END)
        return at % 2 ? 0x32 : 0x10;
    return at >= GCS && at < GCS + 4 ? (uint8_t)(l->gcs >> 8 * (at - GCS)) : 0;
}

static uint64_t rcba_read(void *opaque, uint64_t off, unsigned size)
{
    struct ich9_lpc *l = opaque;
    uint64_t value = 0;
    device_lock(&l->b.dev);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)rcba_byte(l, (unsigned)off + i) << 8 * i;
    device_unlock(&l->b.dev);
    return value;
}

/* 10.1.75: the watchdog resets the machine only while this bit is clear. */
static void rcba_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct ich9_lpc *l = opaque;
    if (off != GCS)
        return;
    device_lock(&l->b.dev);
    l->gcs = value & GCS_NO_REBOOT;
    if (l->no_reboot_strap)
        l->gcs |= GCS_NO_REBOOT;
    bool no_reboot = l->gcs & GCS_NO_REBOOT;
    device_unlock(&l->b.dev);
    if (l->pm)
        acpi_pm_set_no_reboot(l->pm, no_reboot);
}

static const struct mmio_ops rcba_ops = { rcba_read, rcba_write, 1, 4, NULL };

/* ---- the maps follow the registers ------------------------------------------------------------------ */
static uint32_t peek(const struct ich9_lpc *l, unsigned off)
{
    uint32_t v = 0;
    for (unsigned i = 0; i < 4; i++)
        v |= (uint32_t)__atomic_load_n(&l->b.fn.config[off + i], __ATOMIC_RELAXED) << 8 * i;
    return v;
}

static void follow_now(void *opaque)
{
    struct ich9_lpc *l = opaque;
    uint32_t rcba = peek(l, RCBA);
    gpa rcba_at = rcba & RCBA_ON ? rcba & RCBA_BITS : 0;
    if (l->pm)
        isa_bridge_map(acpi_pm_region(l->pm),
                       peek(l, ACPI_CNTL) & ACPI_ENABLED ? peek(l, PMBASE) & PMBASE_BITS : 0,
                       &l->pm_at);
    if (l->pm)
        acpi_pm_lock_smi(l->pm, l->has_smm && peek(l, GEN_PMCON) & SMI_LOCK);
    if (rcba_at == l->rcba_at)
        return;
    l->rcba_at = rcba_at;
    if (rcba_at)
        mem_map(l->rcba, rcba_at, 0);
    else
        mem_unmap(l->rcba);
}

static void lpc_follow(struct ich9_lpc *l)
{
    pci_follow(&l->follow_wanted, follow_now, l);
}

/* The lock holds until a reset. */
static void lpc_written(struct pci_function *f, unsigned off, unsigned n)
{
    if (f->config[GEN_PMCON] & SMI_LOCK)
        f->writable[GEN_PMCON] &= ~SMI_LOCK;
    update_lines(container_of(f, struct isa_bridge, fn));
}

static void lpc_settled(struct pci_function *f, unsigned off, unsigned n)
{
    lpc_follow(container_of(f, struct ich9_lpc, b.fn));
}

/* ---- life ------------------------------------------------------------------------------------------ */
static const struct {
    uint8_t off, n;
    uint32_t value, writable;
} registers[] = {
    { PMBASE, 4, 1, PMBASE_BITS },
    { ACPI_CNTL, 1, 0, ACPI_ENABLED | SCI_SELECT },
    { GPIOBASE, 4, 1, 0xff80 },
    { GPIO_CNTL, 1, 0, 0x10 },
    { PIRQA_ROUT, 4, 0x80808080, 0x8f8f8f8f },
    { PIRQE_ROUT, 4, 0x80808080, 0x8f8f8f8f },
    { LPC_IO_DEC, 4, 0, 0x3f0f1377 },
    { LPC_IO_DEC + 4, 4, 0, 0x00fcfffd },
    { LPC_IO_DEC + 8, 4, 0, 0x00fcfffd },
    { LPC_IO_DEC + 12, 4, 0, 0x00fcfffd },
    { LPC_IO_DEC + 16, 4, 0, 0x00fcfffd },
    { GEN_PMCON, 4, 0, 0x000006ef },
    { BIOS_CNTL, 1, 0, 0x0f },
    { RCBA, 4, 0, RCBA_BITS | RCBA_ON },
};

static void set_registers(struct ich9_lpc *l)
{
    for (size_t i = 0; i < ARRAY_LEN(registers); i++)
        config_field(&l->b.fn, registers[i].off, registers[i].n, registers[i].value,
                     registers[i].writable);
    if (l->has_smm)
        l->b.fn.writable[GEN_PMCON] |= SMI_LOCK;
}

static void after_reset(void *opaque)
{
    struct ich9_lpc *l = opaque;
    if (l->pm)
        acpi_pm_set_no_reboot(l->pm, l->no_reboot_strap);
    lpc_follow(l);
}

static struct error *lpc_realize(struct device *dev)
{
    struct ich9_lpc *l = (struct ich9_lpc *)dev;
    static const struct pci_identity identity = {
        .vendor = 0x8086,
        .device = 0x2918,
        .revision = 2,
        .class_code = 0x060100,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
    };
    struct error *err = pci_realize(&l->b.fn, dev, dev->bus, &identity);
    if (err)
        return err;
    l->b.update = update_lines;
    l->b.fn.config_written = lpc_written;
    l->b.fn.config_settled = lpc_settled;
    l->rcba = mem_add_mmio(dev->vm, "ich9-rcba", RCBA_SIZE, &rcba_ops, l);
    set_registers(l);
    vm_on_reset(dev->vm, after_reset, l);
    return NULL;
}

static void lpc_unrealize(struct device *dev)
{
    struct ich9_lpc *l = (struct ich9_lpc *)dev;
    vm_forget(dev->vm, l);
    mem_free_region(l->rcba);
    pci_unrealize(&l->b.fn);
}

static void lpc_reset(struct device *dev)
{
    struct ich9_lpc *l = (struct ich9_lpc *)dev;
    uint8_t kept[GPIO_CNTL - PMBASE];
    memcpy(kept, l->b.fn.config + PMBASE, sizeof(kept));
    pci_reset(&l->b.fn);
    set_registers(l);
    if (dev->vm->waking) /* SeaBIOS relies on that */
        memcpy(l->b.fn.config + PMBASE, kept, sizeof(kept));
    l->gcs = l->no_reboot_strap ? GCS_NO_REBOOT : 0;
    memset(l->smi_requested, 0, sizeof(l->smi_requested));
    l->smi_ok = 0;
    l->smi_to_all = false;
    update_lines(&l->b);
}

static struct error *lpc_loaded(struct device *dev)
{
    struct ich9_lpc *l = (struct ich9_lpc *)dev;
    pci_loaded(&l->b.fn);
    lpc_written(&l->b.fn, 0, 0);
    l->smi_to_all = l->smi_ok && l->smi_requested[0] & SMI_TO_ALL;
    lpc_follow(l); /* vCPUs are stopped: nobody waits for the lock */
    return NULL;
}

void ich9_lpc_attach_pm(struct device *dev, struct device *pm)
{
    ((struct ich9_lpc *)dev)->pm = pm;
}

/* ---- features of SMIs --------------------------------------------------------------------------------- */
/* The guest looks whether what it requested is in force: with the first look at what can be, it is, for good. */
static void features_looked_at(void *opaque)
{
    struct ich9_lpc *l = opaque;
    uint64_t requested = load_le(l->smi_requested, sizeof(l->smi_requested));
    if (l->smi_ok || requested & ~(uint64_t)SMI_TO_ALL)
        return;
    l->smi_ok = 1;
    l->smi_to_all = requested & SMI_TO_ALL;
}

static bool features_are_open(void *opaque)
{
    return !((struct ich9_lpc *)opaque)->smi_ok;
}

struct error *ich9_lpc_use_smm(struct device *dev, struct device *fw_cfg)
{
    static const uint8_t supported[8] = { SMI_TO_ALL };
    struct ich9_lpc *l = (struct ich9_lpc *)dev;
    const struct fw_cfg_live requested = { l->smi_requested, sizeof(l->smi_requested), NULL,
                                           features_are_open, l };
    const struct fw_cfg_live ok = { &l->smi_ok, 1, features_looked_at, NULL, l };
    l->has_smm = true;
    set_registers(l);
    struct error *err =
        fw_cfg_add_file(fw_cfg, "etc/smi/supported-features", supported, sizeof(supported));
    if (!err)
        err = fw_cfg_add_live(fw_cfg, "etc/smi/requested-features", &requested);
    return err ? err : fw_cfg_add_live(fw_cfg, "etc/smi/features-ok", &ok);
}

bool ich9_lpc_broadcasts_smi(struct device *dev)
{
    return ((struct ich9_lpc *)dev)->smi_to_all;
}

bool ich9_lpc_has_s3(struct device *dev)
{
    return !((struct ich9_lpc *)dev)->disable_s3;
}

bool ich9_lpc_has_s4(struct device *dev)
{
    return !((struct ich9_lpc *)dev)->disable_s4;
}

static const struct prop lpc_props[] = {
    PCI_PROPS(struct ich9_lpc, b.fn),
    PROP(struct ich9_lpc, no_reboot_strap, "noreboot", PROP_BOOL,
         .help = "the watchdog never resets the machine"),
    ISA_BRIDGE_SLEEP_PROPS(struct ich9_lpc),
};
static const struct field lpc_state[] = {
    FIELD_SUB(struct ich9_lpc, b.fn, pci_function_fields, 1),
    FIELD(struct ich9_lpc, gcs, .valid = GCS_NO_REBOOT),
    FIELD_ARRAY(struct ich9_lpc, smi_requested),
    FIELD(struct ich9_lpc, smi_ok, .max = 1),
    DERIVED(struct ich9_lpc, smi_to_all),
    DERIVED(struct ich9_lpc, has_smm),
    DERIVED(struct ich9_lpc, b.route),
    DERIVED(struct ich9_lpc, sci),
};

const struct device_class ich9_lpc_class = {
    .name = "ICH9-LPC",
    .desc = "ICH9's bridge to ISA devices",
    .bus = "pci",
    .version = 1,
    .size = sizeof(struct ich9_lpc),
    .props = TABLE(lpc_props),
    .state = TABLE(lpc_state),
    .realize = lpc_realize,
    .unrealize = lpc_unrealize,
    .reset = lpc_reset,
    .loaded = lpc_loaded,
};
