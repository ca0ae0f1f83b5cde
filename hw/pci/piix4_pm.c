/* PIIX4's power management function: says where the register block of hw/misc/acpi_pm.c is, and that of its SMBus
 * controller. Section numbers: 82371AB data sheet. */
#include "hw/pci/isa_bridge.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/misc/acpi_pm.h"
#include "hw/misc/smbus.h"
#include "hw/pci/internal.h"

enum { DEVACTB = 0x58, APMC_ENABLED = 1 << 1 /* of its last byte */ };
enum { PMBASE = 0x40, PMREGMISC = 0x80, PMBASE_BITS = 0xffc0, PM_ON = 1 << 0 }; /* 7.1 */
enum { SMBBA = 0x90, SMBBA_BITS = 0xfff0, SMBHSTCFG = 0xd2 };
enum { SMB_HST_EN = 1 << 0, SMB_INTR_SEL = 7 << 1, SMB_INTR_IRQ9 = 4 << 1 };

struct piix4_pm {
    struct device dev;
    struct pci_function fn;
    uint8_t disable_s3, disable_s4; /* properties */
    bool no_smbus;                  /* the board's wish */
    struct device *pm;
    bool has_smm;             /* the board's */
    uint32_t pm_at, smbus_at; /* as mapped; 0: not */
    struct smbus smbus;
    struct irq irq9;
    _Atomic uint32_t follow_wanted;
};

static const struct {
    uint8_t off, n;
    uint32_t value, writable;
} registers[] = {
    { PMBASE, 4, 1, PMBASE_BITS },
    { DEVACTB, 4, 0x02000000,
      0x00ffffff },       /* without system management mode as if set up already */
    { 0x5f, 1, 0x10, 0 }, /* DEVRESA: a parallel port */
    { 0x63, 1, 0x60, 0 }, /* DEVRESB: serial ports */
    { PMREGMISC, 1, 0, PM_ON },
    { SMBBA, 4, 1, SMBBA_BITS },
    { SMBHSTCFG, 1, 0, SMB_INTR_SEL | SMB_HST_EN },
    { 0xd3, 3, 0, 0xffffff }, /* what it is called as a slave */
};

static uint8_t peek(const struct piix4_pm *p, unsigned off)
{
    return __atomic_load_n(&p->fn.config[off], __ATOMIC_RELAXED);
}

static uint32_t base(const struct piix4_pm *p, unsigned off, uint32_t bits, bool on)
{
    return on ? (peek(p, off) | (uint32_t)peek(p, off + 1) << 8) & bits : 0;
}

static void follow_now(void *opaque)
{
    struct piix4_pm *p = opaque;
    if (p->pm) {
        isa_bridge_map(acpi_pm_region(p->pm),
                       base(p, PMBASE, PMBASE_BITS, peek(p, PMREGMISC) & PM_ON), &p->pm_at);
        acpi_pm_set_command_smi(p->pm, p->has_smm && peek(p, DEVACTB + 3) & APMC_ENABLED);
    }
    isa_bridge_map(p->smbus.ports, base(p, SMBBA, SMBBA_BITS, peek(p, SMBHSTCFG) & SMB_HST_EN),
                   &p->smbus_at);
}

static void pm_follow(void *opaque)
{
    struct piix4_pm *p = opaque;
    pci_follow(&p->follow_wanted, follow_now, p);
}

static void pm_settled(struct pci_function *f, unsigned off, unsigned n)
{
    pm_follow(container_of(f, struct piix4_pm, fn));
}

static void smbus_interrupt(void *opaque, unsigned n, bool level)
{
    const struct piix4_pm *p = opaque;
    bool is_irq9 = (p->fn.config[SMBHSTCFG] & SMB_INTR_SEL) == SMB_INTR_IRQ9; /* else SMI */
    irq_set(&p->irq9, level && is_irq9);
}

static void pm_written(struct pci_function *f, unsigned off, unsigned n)
{
    struct piix4_pm *p = container_of(f, struct piix4_pm, fn);
    p->smbus.enabled = f->config[SMBHSTCFG] & SMB_HST_EN;
    smbus_update(&p->smbus);
}

static void set_registers(struct piix4_pm *p)
{
    config_set(&p->fn, PCI_STATUS, 2, 0x0280); /* medium DEVSEL#, fast back-to-back */
    for (size_t i = 0; i < ARRAY_LEN(registers); i++)
        config_field(&p->fn, registers[i].off, registers[i].n, registers[i].value,
                     registers[i].writable);
    if (p->has_smm)
        config_field(&p->fn, DEVACTB, 4, 0, 0x02ffffff);
    if (p->no_smbus) {
        config_field(&p->fn, SMBBA, 4, 1, 0);
        config_field(&p->fn, SMBHSTCFG, 1, 0, 0);
    }
}

static struct error *pm_realize(struct device *dev)
{
    struct piix4_pm *p = (struct piix4_pm *)dev;
    static const struct pci_identity identity = {
        .vendor = 0x8086,
        .device = 0x7113,
        .revision = 3,
        .class_code = 0x068000,
        .interrupt_pin = 1,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
    };
    struct error *err = pci_realize(&p->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    p->fn.config_written = pm_written;
    p->fn.config_settled = pm_settled;
    smbus_init(&p->smbus, dev, false);
    p->smbus.interrupt = (struct irq){ smbus_interrupt, p, 0 };
    set_registers(p);
    vm_on_reset(dev->vm, pm_follow, p);
    return NULL;
}

static void pm_unrealize(struct device *dev)
{
    struct piix4_pm *p = (struct piix4_pm *)dev;
    vm_forget(dev->vm, p);
    pci_unrealize(&p->fn);
    smbus_free(&p->smbus);
}

static void pm_reset(struct device *dev)
{
    struct piix4_pm *p = (struct piix4_pm *)dev;
    uint32_t base = config_get(&p->fn, PMBASE, 4);
    uint8_t on = p->fn.config[PMREGMISC];
    pci_reset(&p->fn);
    set_registers(p);
    if (!dev->vm->waking)
        return;
    config_set(&p->fn, PMBASE, 4, base); /* as on the ICH9 */
    config_set(&p->fn, PMREGMISC, 1, on);
    p->smbus.enabled = false;
    smbus_reset(&p->smbus);
}

static struct error *pm_loaded(struct device *dev)
{
    struct piix4_pm *p = (struct piix4_pm *)dev;
    pci_loaded(&p->fn);
    pm_follow(p); /* vCPUs are stopped: nobody waits for the lock */
    p->smbus.enabled = p->fn.config[SMBHSTCFG] & SMB_HST_EN;
    return smbus_loaded(&p->smbus);
}

void piix4_pm_use_smm(struct device *dev)
{
    struct piix4_pm *p = (struct piix4_pm *)dev;
    p->has_smm = true;
    set_registers(p);
}

void piix4_pm_attach(struct device *dev, struct device *pm)
{
    ((struct piix4_pm *)dev)->pm = pm;
}

void piix4_pm_attach_smbus(struct device *dev, uint64_t ram_size, struct irq irq9)
{
    struct piix4_pm *p = (struct piix4_pm *)dev;
    p->no_smbus = !ram_size;
    p->irq9 = irq9;
    smbus_set_ram(&p->smbus, ram_size);
    set_registers(p);
}

bool piix4_pm_has_s3(struct device *dev)
{
    return !((struct piix4_pm *)dev)->disable_s3;
}

bool piix4_pm_has_s4(struct device *dev)
{
    return !((struct piix4_pm *)dev)->disable_s4;
}

static const struct prop pm_props[] = {
    PCI_PROPS(struct piix4_pm, fn),
    ISA_BRIDGE_SLEEP_PROPS(struct piix4_pm),
};
static const struct field pm_state[] = {
    FIELD_SUB(struct piix4_pm, fn, pci_function_fields, 1),
    DERIVED(struct piix4_pm, has_smm),
    FIELD_SUB(struct piix4_pm, smbus, smbus_fields, 1, .since = 2),
};

const struct device_class piix4_pm_function_class = {
    .name = "PIIX4_PM",
    .desc = "PIIX4's power management",
    .bus = "pci",
    .version = 2,
    .size = sizeof(struct piix4_pm),
    .props = TABLE(pm_props),
    .state = TABLE(pm_state),
    .realize = pm_realize,
    .unrealize = pm_unrealize,
    .reset = pm_reset,
    .loaded = pm_loaded,
};
