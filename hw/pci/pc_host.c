/* What the host bridges of PCs share. PAM, SMRAM, TSEG and PCIEXBAR: Intel 3 Series Express Chipset data sheet, 5.1;
 * the 82441FX has the first two alike (data sheet 290549, 3.2). CONFIG_ADDRESS: PCI Local Bus 3.0, 3.2.2.3.2. */
#include "hw/pci/pc_host.h"

#include "core/error.h"
#include "core/vm.h"
#include "hw/pci/internal.h"

#include <stdio.h>

enum { ADDRESS_PORT = 0xcf8, DATA_PORT = 0xcfc };
#define ADDRESS_ENABLE UINT32_C(0x80000000)
enum { PAM_READ = 1 << 0, PAM_WRITE = 1 << 1 };
enum smram_sight { SMRAM_HIDDEN, SMRAM_FOR_SMM, SMRAM_FOR_ALL };
enum { ESMRAMC_TSEG = 1 << 0, ESMRAMC_TSEG_SIZE = 3 << 1, ESMRAMC_HIGH = 1 << 7 };
/* What QEMU's machine has beyond the data sheet: size code 3 is a TSEG of so many MiB, which 0xffff asks for. */
enum { EXT_TSEG_MIB = 16, EXT_TSEG_QUERY = 0xffff };
enum { HIGH_SMRAM_AT = 0xfeda0000 };
enum { SMRAM_ENABLED = 1 << 3, SMRAM_LOCKED = 1 << 4, SMRAM_OPEN = 1 << 6 };
enum { VGA_AT = 0xa0000, VGA_SIZE = 0x20000, ROMS_AT = 0xc0000, ROMS_SIZE = 0x40000 };
enum { SEGMENT = 0x4000, LAST_SEGMENT_AT = 0xf0000, LAST_SEGMENT = 0x10000 };
/* Who lies over whom: RAM at 0, holes at 1 (and later a graphics card), firmware's ROM at 2, shadows. */
enum { HOLE_PRIORITY = 1, SHADOW_PRIORITY = 3, ECAM_PRIORITY = 2, SMRAM_PRIORITY = 10 };

enum { ECAM_ON = 1 << 0 };

static const struct pc_host_model *model_of(const struct pc_host *h)
{
    return h->dev.cls->bus_class;
}

/* ---- configuration cycles ---------------------------------------------------------------------- */
static uint64_t address_read(void *opaque, uint64_t off, unsigned size)
{
    struct pc_host *h = opaque;
    device_lock(&h->dev);
    uint64_t value = h->address >> 8 * off;
    device_unlock(&h->dev);
    return value;
}

/* Only a whole double word is for this register; others belong to what lies behind it. */
static void address_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pc_host *h = opaque;
    if (off != 0 || size != 4)
        return;
    device_lock(&h->dev);
    h->address = (uint32_t)value;
    device_unlock(&h->dev);
}

static uint32_t address_now(struct pc_host *h)
{
    device_lock(&h->dev);
    uint32_t address = h->address;
    device_unlock(&h->dev);
    return address;
}

static uint64_t data_read(void *opaque, uint64_t off, unsigned size)
{
    struct pc_host *h = opaque;
    uint32_t a = address_now(h);
    if (!(a & ADDRESS_ENABLE))
        return ~UINT64_C(0);
    return pci_config_read(&h->host, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)off,
                           size);
}

static void data_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pc_host *h = opaque;
    uint32_t a = address_now(h);
    if (a & ADDRESS_ENABLE)
        pci_config_write(&h->host, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)off, size,
                         (uint32_t)value);
}

static uint64_t ecam_read(void *opaque, uint64_t off, unsigned size)
{
    struct pc_host *h = opaque;
    return pci_config_read(&h->host, off >> 20, off >> 12 & 0xff, off & 0xfff, size);
}

/* SeaBIOS, waking, closes this window through itself to open it anew the same way. The window stays: guests have noted
 * that it is there. */
static bool closes_itself(const struct pc_host *h, uint64_t off, uint64_t value)
{
    return off == model_of(h)->pciexbar && !(value & ECAM_ON);
}

static void ecam_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct pc_host *h = opaque;
    if (closes_itself(h, off, value))
        return;
    pci_config_write(&h->host, off >> 20, off >> 12 & 0xff, off & 0xfff, size, (uint32_t)value);
}

static uint64_t nothing_read(void *opaque, uint64_t off, unsigned size)
{
    return ~UINT64_C(0);
}

static void nothing_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
}

static const struct mmio_ops address_ops = { address_read, address_write, 1, 4, NULL };
static const struct mmio_ops data_ops = { data_read, data_write, 1, 4, NULL };
static const struct mmio_ops ecam_ops = { ecam_read, ecam_write, 1, 4, NULL };
static const struct mmio_ops nothing_ops = { nothing_read, nothing_write, 1, 8, NULL };

/* ---- the physical map follows the registers ------------------------------------------------------ */
static unsigned segment_at(unsigned i)
{
    return i == PC_N_SEGMENTS - 1 ? LAST_SEGMENT_AT : ROMS_AT + i * SEGMENT;
}

static unsigned segment_size(unsigned i)
{
    return i == PC_N_SEGMENTS - 1 ? LAST_SEGMENT : SEGMENT;
}

/* The first register's upper half is for the last segment; then come two in each. */
static uint8_t segment_wanted(const struct pc_host *h, unsigned i)
{
    const uint8_t *pam = h->fn.config + model_of(h)->pam;
    bool last = i == PC_N_SEGMENTS - 1;
    uint8_t reg = __atomic_load_n(&pam[last ? 0 : 1 + i / 2], __ATOMIC_RELAXED);
    return (last || i % 2 ? reg >> 4 : reg) & (PAM_READ | PAM_WRITE);
}

/* Where only writes are for RAM, reads come from ROM and writes go nowhere. */
static void segment_follow(struct pc_host *h, unsigned i)
{
    struct pc_segment *s = &h->segments[i];
    uint8_t wanted = segment_wanted(h, i);
    if (wanted == s->shown)
        return;
    s->shown = wanted;
    struct mem_region *show = !(wanted & PAM_READ) ? NULL : wanted & PAM_WRITE ? s->rw : s->ro;
    if (show)
        mem_map(show, segment_at(i), SHADOW_PRIORITY);
    if (show != s->rw)
        mem_unmap(s->rw);
    if (show != s->ro)
        mem_unmap(s->ro);
}

static uint8_t peek(const struct pc_host *h, unsigned off)
{
    return __atomic_load_n(&h->fn.config[off], __ATOMIC_RELAXED);
}

/* What is shown comes before what it replaces goes: a CPU in system management mode sees it at every moment, also while
 * another one opens or closes it. */
static void show_smram(struct pc_smram *s, gpa at, uint8_t wanted)
{
    if (wanted == s->shown)
        return;
    s->shown = wanted;
    if (wanted == SMRAM_FOR_ALL)
        mem_map(s->open, at, SMRAM_PRIORITY);
    else if (wanted == SMRAM_FOR_SMM)
        mem_map_smm(s->closed, at, SMRAM_PRIORITY);
    if (wanted != SMRAM_FOR_ALL)
        mem_unmap(s->open);
    if (wanted != SMRAM_FOR_SMM)
        mem_unmap(s->closed);
}

/* The end of RAM below 4 GiB: in system management mode it is there, for others there is nothing. A CPU that is in the mode
 * meanwhile sees it at every moment: firmware takes TSEG away and puts it back while another CPU leaves its handler. */
static void tseg_follow(struct pc_host *h, uint64_t size)
{
    if (size > h->setup.ram_below_4g)
        size = 0;
    if (size == h->tseg_size)
        return;
    h->tseg_size = size;
    mem_free_region(h->tseg_hole);
    mem_free_region(h->tseg);
    h->tseg = h->tseg_hole = NULL;
    if (!size)
        return;
    gpa at = h->setup.ram_below_4g - size;
    h->tseg_hole = mem_add_mmio(h->dev.vm, "tseg-hole", size, &nothing_ops, h);
    h->tseg = mem_add_alias(h->dev.vm, "tseg", h->setup.ram, at, size, false);
    mem_map_smm(h->tseg, at, SMRAM_PRIORITY);
    mem_map(h->tseg_hole, at, HOLE_PRIORITY);
}

/* 5.1.27 and 5.1.28 of the data sheet. The compatible SMRAM is at 0xa0000 or, as "high" one, in its own place. */
static void smram_follow(struct pc_host *h)
{
    static const uint8_t tseg_mib[] = { 1, 2, 8, EXT_TSEG_MIB };
    const struct pc_host_model *m = model_of(h);
    uint8_t control = peek(h, m->smram), extended = m->esmramc ? peek(h, m->esmramc) : 0;
    bool on = control & SMRAM_ENABLED, high = extended & ESMRAMC_HIGH;
    uint8_t sight = !on                    ? SMRAM_HIDDEN
                    : control & SMRAM_OPEN ? SMRAM_FOR_ALL
                    : h->setup.smm         ? SMRAM_FOR_SMM
                                           : SMRAM_HIDDEN;
    show_smram(&h->smram, VGA_AT, high ? SMRAM_HIDDEN : sight);
    show_smram(&h->high_smram, HIGH_SMRAM_AT, high ? sight : SMRAM_HIDDEN);
    tseg_follow(
        h, on && extended & ESMRAMC_TSEG ? tseg_mib[(extended & ESMRAMC_TSEG_SIZE) >> 1] * MIB : 0);
}

/* 5.1.14 of the data sheet: 256, 128 or 64 buses. */
static void ecam_follow(struct pc_host *h)
{
    const uint8_t *reg = h->fn.config + model_of(h)->pciexbar;
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++)
        value |= (uint64_t)__atomic_load_n(&reg[i], __ATOMIC_RELAXED) << 8 * i;
    unsigned length = value >> 1 & 3;
    uint64_t size = value & ECAM_ON && length < 3 ? 256 * MIB >> length : 0;
    uint64_t at = size ? value & ((UINT64_C(1) << 36) - 1) & -size : 0;
    if (size == h->ecam_size && at == h->ecam_at)
        return;
    if (h->ecam) {
        mem_free_region(h->ecam);
        h->ecam = NULL;
    }
    h->ecam_size = size;
    h->ecam_at = at;
    if (size) {
        h->ecam = mem_add_mmio(h->dev.vm, "pcie-ecam", size, &ecam_ops, h);
        mem_map(h->ecam, at, ECAM_PRIORITY);
    }
}

static void follow_now(void *opaque)
{
    struct pc_host *h = opaque;
    for (unsigned i = 0; i < PC_N_SEGMENTS; i++)
        segment_follow(h, i);
    smram_follow(h);
    if (model_of(h)->pciexbar)
        ecam_follow(h);
}

static void host_follow(void *opaque)
{
    struct pc_host *h = opaque;
    pci_follow(&h->follow_wanted, follow_now, h);
}

static bool covers(unsigned off, unsigned n, unsigned reg)
{
    return off <= reg && reg < off + n;
}

/* Once locked, SMRAM stays closed and both registers as they are until the next reset (5.1.27). Lock held. */
static void host_written(struct pci_function *f, unsigned off, unsigned n)
{
    struct pc_host *h = container_of(f, struct pc_host, fn);
    const struct pc_host_model *m = model_of(h);
    uint8_t control = f->config[m->smram];
    if (h->setup.smm && m->ext_tseg && load_le(f->config + m->ext_tseg, 2) == EXT_TSEG_QUERY &&
        (covers(off, n, m->ext_tseg) || covers(off, n, m->ext_tseg + 1u)))
        store_le(f->config + m->ext_tseg, 2, EXT_TSEG_MIB);
    if (!covers(off, n, m->smram) || !(control & SMRAM_LOCKED))
        return;
    config_field(f, m->smram, 1, control & ~SMRAM_OPEN, 0);
    if (m->esmramc)
        f->writable[m->esmramc] = 0;
}

static void host_settled(struct pci_function *f, unsigned off, unsigned n)
{
    host_follow(container_of(f, struct pc_host, fn));
}

static void after_reset(void *opaque)
{
    struct pc_host *h = opaque;
    pci_remap(&h->host);
    host_follow(h);
}

/* ---- life ---------------------------------------------------------------------------------------- */
static void set_registers(struct pc_host *h)
{
    const struct pc_host_model *m = model_of(h);
    uint8_t pam[PC_PAM_REGS] = { 0 };
    if (h->dev.vm->waking)
        memcpy(pam, h->pam_kept, sizeof(pam));
    for (const struct pc_host_value *v = m->values; v->n; v++)
        config_field(&h->fn, v->off, v->n, v->value, v->writable);
    if (h->dev.vm->waking && m->pciexbar)
        memcpy(h->fn.config + m->pciexbar, h->pciexbar_kept, sizeof(h->pciexbar_kept));
    for (unsigned i = 0; i < PC_PAM_REGS; i++)
        config_field(&h->fn, m->pam + i, 1, pam[i], i ? 0x33 : 0x30);
    config_field(&h->fn, m->smram, 1, 0x02, m->smram_writable);
    if (m->esmramc && h->setup.smm) {
        h->fn.writable[m->esmramc] = ESMRAMC_HIGH | ESMRAMC_TSEG_SIZE | ESMRAMC_TSEG;
        config_field(&h->fn, m->ext_tseg, 2, EXT_TSEG_QUERY, EXT_TSEG_QUERY);
    }
}

static void make_smram(struct pc_host *h, struct pc_smram *s, const char *name)
{
    s->open = mem_add_alias(h->dev.vm, name, h->setup.ram, VGA_AT, VGA_SIZE, false);
    s->closed = mem_add_alias(h->dev.vm, name, h->setup.ram, VGA_AT, VGA_SIZE, false);
}

static void make_regions(struct pc_host *h)
{
    struct vm *vm = h->dev.vm;
    char name[24];
    h->address_port = mem_add_mmio(vm, "pci-address", 4, &address_ops, h);
    h->data_port = mem_add_mmio(vm, "pci-data", 4, &data_ops, h);
    h->rom_hole = mem_add_mmio(vm, "rom-hole", ROMS_SIZE, &nothing_ops, h);
    h->vga_hole = mem_add_mmio(vm, "vga-hole", VGA_SIZE, &nothing_ops, h);
    make_smram(h, &h->smram, "smram");
    make_smram(h, &h->high_smram, "high-smram");
    for (unsigned i = 0; i < PC_N_SEGMENTS; i++) {
        snprintf(name, sizeof(name), "shadow-%05x", segment_at(i));
        h->segments[i].rw =
            mem_add_alias(vm, name, h->setup.ram, segment_at(i), segment_size(i), false);
        h->segments[i].ro =
            mem_add_alias(vm, name, h->setup.ram, segment_at(i), segment_size(i), true);
    }
    mem_map_ports(h->address_port, ADDRESS_PORT, 0);
    mem_map_ports(h->data_port, DATA_PORT, 0);
    mem_map(h->rom_hole, ROMS_AT, HOLE_PRIORITY);
    mem_map(h->vga_hole, VGA_AT, HOLE_PRIORITY);
}

struct error *pc_host_realize(struct device *dev)
{
    struct pc_host *h = (struct pc_host *)dev;
    struct error *err = pci_realize(&h->fn, dev, &h->host.root, &model_of(h)->identity);
    if (err)
        return err;
    h->fn.config_written = host_written;
    h->fn.config_settled = host_settled;
    set_registers(h);
    make_regions(h);
    vm_on_reset(dev->vm, after_reset, h);
    return NULL;
}

void pc_host_unrealize(struct device *dev)
{
    struct pc_host *h = (struct pc_host *)dev;
    struct mem_region *const regions[] = {
        h->address_port, h->data_port,       h->rom_hole,          h->vga_hole, h->smram.open,
        h->smram.closed, h->high_smram.open, h->high_smram.closed, h->tseg,     h->tseg_hole,
        h->ecam
    };
    vm_forget(dev->vm, h);
    for (size_t i = 0; i < ARRAY_LEN(regions); i++)
        mem_free_region(regions[i]);
    for (unsigned i = 0; i < PC_N_SEGMENTS; i++) {
        mem_free_region(h->segments[i].rw);
        mem_free_region(h->segments[i].ro);
    }
    pci_unrealize(&h->fn);
    pci_host_free(&h->host);
}

void pc_host_reset(struct device *dev)
{
    struct pc_host *h = (struct pc_host *)dev;
    const struct pc_host_model *m = model_of(h);
    h->address = 0;
    /* A BIOS that wakes looks for itself, and what it had noted, in its shadow; and it goes on by ECAM. */
    memcpy(h->pam_kept, h->fn.config + m->pam, sizeof(h->pam_kept));
    memcpy(h->pciexbar_kept, h->fn.config + m->pciexbar, sizeof(h->pciexbar_kept));
    pci_reset(&h->fn);
    set_registers(h);
}

/* vCPUs are stopped, so nobody waits for the lock. */
struct error *pc_host_loaded(struct device *dev)
{
    struct pc_host *h = (struct pc_host *)dev;
    pci_loaded(&h->fn);
    host_written(&h->fn, model_of(h)->smram, 1);
    host_follow(h);
    return NULL;
}

const struct field pc_host_state[] = {
    FIELD_SUB(struct pc_host, fn, pci_function_fields, 1),
    FIELD(struct pc_host, address),
};

struct pci_host *pc_host_of(struct device *dev)
{
    return &((struct pc_host *)dev)->host;
}

struct pci_bus *pc_host_bus(struct device *dev)
{
    return &pc_host_of(dev)->root;
}

/* BARs lie between RAM and the fixed devices, and above all RAM. */
static struct pci_windows windows_of(const struct pc_host_setup *s)
{
    gpa fixed = 0xfec00000, upper = 4 * GIB + s->ram_above_4g;
    gpa end = UINT64_C(1) << MIN(s->phys_bits, 52u);
    return (struct pci_windows){
        .has_ports = true,
        .io_size = MEM_N_PORTS,
        .mem32_base = s->ram_below_4g,
        .mem32_size = fixed - s->ram_below_4g,
        .mem64_base = upper,
        .mem64_size = end > upper ? end - upper : 0,
    };
}

struct error *pc_host_create(struct vm *vm, const struct device_class *cls,
                             const struct pc_host_setup *setup, struct device **out)
{
    struct device *dev = device_new(vm, cls);
    struct pc_host *h = (struct pc_host *)dev;
    const struct pci_windows windows = windows_of(setup);
    h->setup = *setup;
    pci_host_init(&h->host, vm, model_of(h)->bus_name, &windows);
    struct error *err = device_realize(dev, NULL, NULL);
    if (err) {
        device_free(dev);
        return err;
    }
    *out = dev;
    return NULL;
}
