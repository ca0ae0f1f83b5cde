/* ACPI tables that are structs. Section numbers: ACPI 6.4. */
#include "hw/firmware/acpi_internal.h"
#include "hw/misc/acpi_ged.h"
#include "hw/misc/acpi_pm.h"
#include "hw/timer/hpet.h"
#include "hw/timer/mc146818.h"

enum { GAS_MEMORY = 0, GAS_IO = 1 };

static void add_num(struct acpi_tables *t, unsigned size, uint64_t value)
{
    blob_num(&t->bytes, size, value);
}

/* 5.2.3.2: a register; address 0: none. */
static void add_gas(struct acpi_tables *t, uint8_t space, unsigned bytes, uint64_t at)
{
    unsigned access = bytes == 1 ? 1 : bytes == 2 ? 2 : bytes == 4 ? 3 : 0;
    add_num(t, 1, at ? space : 0);
    add_num(t, 1, at ? 8 * bytes : 0);
    add_num(t, 1, 0);
    add_num(t, 1, at ? access : 0);
    add_num(t, 8, at);
}

/* ---- FADT, 5.2.9 ---------------------------------------------------------------------------------- */
enum {
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_NO_POWER_BUTTON = 1 << 4, /* no fixed one */
    FADT_NO_SLEEP_BUTTON = 1 << 5,
    FADT_NO_RTC_WAKE = 1 << 6, /* no fixed status of it */
    FADT_RESET = 1 << 10,
    FADT_PLATFORM_CLOCK = 1 << 15,
    FADT_APIC_CLUSTER = 1 << 18,
    FADT_HW_REDUCED = 1 << 20,
};
enum { BOOT_LEGACY_DEVICES = 1 << 0, BOOT_8042 = 1 << 1, BOOT_NO_RTC = 1 << 5 };

static uint32_t fadt_flags(const struct acpi_pc *pc)
{
    uint32_t flags =
        FADT_WBINVD | FADT_PROC_C1 | FADT_RESET | (pc->s3 && pc->rtc ? 0 : FADT_NO_RTC_WAKE);
    if (pc->n_cpus > 8)
        flags |= FADT_APIC_CLUSTER; /* logical destinations of flat mode end at 8 */
    if (pc->board == ACPI_MICROVM)
        return flags | FADT_HW_REDUCED | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON;
    return flags | FADT_PLATFORM_CLOCK;
}

static uint16_t boot_flags(const struct acpi_pc *pc)
{
    bool legacy = pc->com[0] || pc->com[1] || pc->com[2] || pc->com[3] || pc->lpt;
    return (legacy ? BOOT_LEGACY_DEVICES : 0) | (pc->i8042 ? BOOT_8042 : 0) |
           (pc->rtc ? 0 : BOOT_NO_RTC);
}

struct pm_blocks {
    uint32_t event, control, timer, gpe;
    uint8_t gpe_bytes;
};

static struct pm_blocks pm_blocks(const struct acpi_pc *pc)
{
    uint32_t base = pc->pm_base;
    switch (pc->board) {
    case ACPI_Q35: return (struct pm_blocks){ base, base + 4, base + 8, base + 0x20, 16 };
    case ACPI_PIIX: return (struct pm_blocks){ base, base + 4, base + 8, pc->gpe_base, 4 };
    case ACPI_MICROVM: break;
    }
    return (struct pm_blocks){ 0 };
}

static void add_smi_commands(struct acpi_tables *t, const struct acpi_pc *pc)
{
    bool q35 = pc->board == ACPI_Q35, on = pc->smi_command;
    add_num(t, 4, pc->smi_command);
    add_num(t, 1, !on ? 0 : q35 ? ICH9_ACPI_ENABLE : PIIX4_ACPI_ENABLE);
    add_num(t, 1, !on ? 0 : q35 ? ICH9_ACPI_DISABLE : PIIX4_ACPI_DISABLE);
    add_num(t, 2, 0); /* S4BIOS_REQ, PSTATE_CNT */
}

static void add_reset_register(struct acpi_tables *t, const struct acpi_pc *pc)
{
    enum { FULL_RESET = 0x0f }; /* of port 0xcf9 */
    if (pc->board == ACPI_MICROVM)
        add_gas(t, GAS_MEMORY, 1, ACPI_GED_AT + ACPI_GED_RESET);
    else
        add_gas(t, GAS_IO, 1, pc->reset_port);
    add_num(t, 1, pc->board == ACPI_MICROVM ? ACPI_GED_RESET_VALUE : FULL_RESET);
}

static void add_short_blocks(struct acpi_tables *t, const struct pm_blocks *pm)
{
    add_num(t, 4, pm->event);
    add_num(t, 4, 0);
    add_num(t, 4, pm->control);
    add_num(t, 4, 0);
    add_num(t, 4, 0); /* PM2_CNT */
    add_num(t, 4, pm->timer);
    add_num(t, 4, pm->gpe);
    add_num(t, 4, 0);
    add_num(t, 1, pm->event ? 4 : 0);
    add_num(t, 1, pm->control ? 2 : 0);
    add_num(t, 1, 0);
    add_num(t, 1, pm->timer ? 4 : 0);
    add_num(t, 1, pm->gpe_bytes);
    add_num(t, 1, 0);
    add_num(t, 1, 0);
}

static void add_long_blocks(struct acpi_tables *t, const struct pm_blocks *pm)
{
    add_gas(t, GAS_IO, 4, pm->event);
    add_gas(t, GAS_IO, 0, 0);
    add_gas(t, GAS_IO, 2, pm->control);
    add_gas(t, GAS_IO, 0, 0);
    add_gas(t, GAS_IO, 0, 0);
    add_gas(t, GAS_IO, 4, pm->timer);
    add_gas(t, GAS_IO, pm->gpe_bytes, pm->gpe);
    add_gas(t, GAS_IO, 0, 0);
}

void acpi_add_fadt(struct acpi_tables *t, const struct acpi_pc *pc, uint32_t facs, uint32_t dsdt)
{
    enum { NO_C2 = 0xfff, NO_C3 = 0xfff };
    const struct pm_blocks pm = pm_blocks(pc);
    bool reduced = pc->board == ACPI_MICROVM;
    uint32_t table = acpi_begin(t, "FACP", 5);
    if (reduced)
        add_num(t, 4, 0);
    else
        acpi_add_pointer(t, facs, 4);
    acpi_add_pointer(t, dsdt, 4);
    add_num(t, 1, 0);
    add_num(t, 1, 0); /* preferred power profile: unspecified */
    add_num(t, 2, pc->sci);
    add_smi_commands(t, pc);
    add_short_blocks(t, &pm);
    add_num(t, 1, 0); /* CST_CNT */
    add_num(t, 2, NO_C2);
    add_num(t, 2, NO_C3);
    add_num(t, 4, 0); /* FLUSH_SIZE, FLUSH_STRIDE: WBINVD works */
    add_num(t, 4, 0); /* duty cycle, day and month alarm */
    add_num(t, 1, pc->rtc ? CMOS_CENTURY : 0);
    add_num(t, 2, boot_flags(pc));
    add_num(t, 1, 0);
    add_num(t, 4, fadt_flags(pc));
    add_reset_register(t, pc);
    add_num(t, 3, 0); /* ARM, minor revision */
    add_num(t, 8, 0); /* X_FIRMWARE_CTRL: the short one counts */
    acpi_add_pointer(t, dsdt, 8);
    add_long_blocks(t, &pm);
    add_gas(t, GAS_MEMORY, 1, reduced ? ACPI_GED_AT + ACPI_GED_SLEEP : 0);
    add_gas(t, GAS_MEMORY, 1, reduced ? ACPI_GED_AT + ACPI_GED_SLEEP_STATUS : 0);
    acpi_end_root(t, table);
}

/* ---- MADT, 5.2.12 --------------------------------------------------------------------------------- */
/* Only x2APIC entries have room for more. */
static bool needs_x2apic(const struct acpi_cpu *cpu, unsigned uid)
{
    return cpu->apic_id > 254 || uid > 254;
}

static void add_local_apic(struct acpi_tables *t, const struct acpi_cpu *cpu, unsigned uid)
{
    if (needs_x2apic(cpu, uid)) { /* 5.2.12.12 */
        add_num(t, 2, 9 | 16 << 8);
        add_num(t, 2, 0);
        add_num(t, 4, cpu->apic_id);
        add_num(t, 4, cpu->present);
        add_num(t, 4, uid);
    } else { /* 5.2.12.2 */
        add_num(t, 2, 0 | 8 << 8);
        add_num(t, 1, uid);
        add_num(t, 1, cpu->apic_id);
        add_num(t, 4, cpu->present);
    }
}

static void add_io_apic(struct acpi_tables *t, unsigned id, uint64_t at,
                        unsigned gsi) /* 5.2.12.3 */
{
    add_num(t, 2, 1 | 12 << 8);
    add_num(t, 2, id);
    add_num(t, 4, at);
    add_num(t, 4, gsi);
}

static void add_override(struct acpi_tables *t, unsigned irq, unsigned gsi, unsigned flags)
{
    add_num(t, 2, 2 | 10 << 8); /* 5.2.12.5 */
    add_num(t, 1, 0);           /* ISA */
    add_num(t, 1, irq);
    add_num(t, 4, gsi);
    add_num(t, 2, flags);
}

static void add_nmi(struct acpi_tables *t, bool x2apic)
{
    enum { LINT1 = 1 };
    add_num(t, 2, 4 | 6 << 8); /* 5.2.12.7: of all processors */
    add_num(t, 1, 0xff);
    add_num(t, 2, 0);
    add_num(t, 1, LINT1);
    if (!x2apic)
        return;
    add_num(t, 2, 0xa | 12 << 8); /* 5.2.12.13 */
    add_num(t, 2, 0);
    add_num(t, 4, UINT32_MAX);
    add_num(t, 4, LINT1);
}

static void add_madt(struct acpi_tables *t, const struct acpi_pc *pc)
{
    enum { HAS_8259 = 1, LEVEL_HIGH = 3 << 2 | 1 };
    static const uint8_t level_irqs[] = { 5, 9, 10, 11 }; /* SCI and what PIRQs may be linked to */
    bool x2apic = false;
    uint32_t table = acpi_begin(t, "APIC", 4);
    add_num(t, 4, pc->lapic ? pc->lapic : 0xfee00000);
    add_num(t, 4, pc->no_pic ? 0 : HAS_8259);
    for (unsigned i = 0; i < pc->n_cpus; i++) {
        add_local_apic(t, &pc->cpus[i], i);
        x2apic |= needs_x2apic(&pc->cpus[i], i);
    }
    add_io_apic(t, 0, pc->ioapic ? pc->ioapic : 0xfec00000, 0);
    if (pc->ioapic2)
        add_io_apic(t, 1, pc->ioapic2, 24);
    if (!pc->no_pit)
        add_override(t, 0, 2, 0);
    for (size_t i = 0; i < ARRAY_LEN(level_irqs) && pc->board != ACPI_MICROVM; i++)
        add_override(t, level_irqs[i], level_irqs[i], LEVEL_HIGH);
    add_nmi(t, x2apic);
    acpi_end_root(t, table);
}

/* ---- HPET, MCFG, WAET ------------------------------------------------------------------------------- */
static void add_hpet(struct acpi_tables *t, const struct acpi_pc *pc) /* IA-PC HPET 1.0a, 3.2.4 */
{
    uint32_t table = acpi_begin(t, "HPET", 1);
    add_num(t, 4, 0x8086a001 | (HPET_N_TIMERS - 1) << 8); /* as its register reads */
    add_gas(t, GAS_MEMORY, 0, pc->hpet);
    add_num(t, 1, 0);
    add_num(t, 2, 0); /* shortest period: not told */
    add_num(t, 1, 0);
    acpi_end_root(t, table);
}

static void add_mcfg(struct acpi_tables *t, const struct acpi_pc *pc) /* PCI firmware 3.2, 4.1.2 */
{
    uint32_t table = acpi_begin(t, "MCFG", 1);
    add_num(t, 8, 0);
    add_num(t, 8, pc->ecam.at);
    add_num(t, 2, 0);
    add_num(t, 1, 0);
    add_num(t, 1, pc->ecam.size / MIB - 1);
    add_num(t, 4, 0);
    acpi_end_root(t, table);
}

/* Windows ACPI emulated devices table: one read of the PM timer is enough. */
static void add_waet(struct acpi_tables *t)
{
    enum { PM_TIMER_GOOD = 1 << 1 };
    uint32_t table = acpi_begin(t, "WAET", 1);
    add_num(t, 4, PM_TIMER_GOOD);
    acpi_end_root(t, table);
}

/* ---- SRAT 5.2.16, SLIT 5.2.17 ------------------------------------------------------------------------- */
enum { AFFINITY_ENABLED = 1 };

static void add_cpu_affinity(struct acpi_tables *t, const struct acpi_cpu *cpu, unsigned uid)
{
    if (needs_x2apic(cpu, uid)) { /* 5.2.16.3 */
        add_num(t, 2, 2 | 24 << 8);
        add_num(t, 2, 0);
        add_num(t, 4, cpu->node);
        add_num(t, 4, cpu->apic_id);
        add_num(t, 4, AFFINITY_ENABLED);
        add_num(t, 8, 0);
    } else { /* 5.2.16.1 */
        add_num(t, 2, 0 | 16 << 8);
        add_num(t, 1, cpu->node);
        add_num(t, 1, cpu->apic_id);
        add_num(t, 4, AFFINITY_ENABLED);
        add_num(t, 8, 0);
    }
}

static void add_memory_affinity(struct acpi_tables *t, unsigned node, uint64_t at, uint64_t size)
{
    add_num(t, 2, 1 | 40 << 8); /* 5.2.16.2 */
    add_num(t, 4, node);
    add_num(t, 2, 0);
    add_num(t, 8, at);
    add_num(t, 8, size);
    add_num(t, 4, 0);
    add_num(t, 4, AFFINITY_ENABLED);
    add_num(t, 8, 0);
}

/* A node has the next `size` bytes of RAM, counted over all pieces of memory that lie in its way. */
static void add_node_memory(struct acpi_tables *t, const struct acpi_pc *pc, unsigned node,
                            uint64_t start, uint64_t size)
{
    const uint64_t low = MIN(pc->ram_below_4g, 0xa0000);
    const struct {
        uint64_t from, to, at; /* RAM counted from `from`, usable until `to`, lies at `at` */
    } pieces[] = {
        { 0, low, 0 },
        { MIN(pc->ram_below_4g, MIB), pc->ram_below_4g, MIN(pc->ram_below_4g, MIB) },
        { pc->ram_below_4g, pc->ram_below_4g + pc->ram_above_4g, 4 * GIB },
    };
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        uint64_t from = MAX(pieces[i].from, start), to = MIN(pieces[i].to, start + size);
        if (from < to)
            add_memory_affinity(t, node, pieces[i].at + (from - pieces[i].from), to - from);
    }
}

static void add_srat(struct acpi_tables *t, const struct acpi_pc *pc)
{
    uint64_t start = 0;
    uint32_t table = acpi_begin(t, "SRAT", 3);
    add_num(t, 4, 1);
    add_num(t, 8, 0);
    for (unsigned i = 0; i < pc->n_cpus; i++)
        if (pc->cpus[i].present)
            add_cpu_affinity(t, &pc->cpus[i], i);
    for (unsigned node = 0; node < pc->n_nodes; node++) {
        add_node_memory(t, pc, node, start, pc->node_ram[node]);
        start += pc->node_ram[node];
    }
    acpi_end_root(t, table);
}

static void add_slit(struct acpi_tables *t, const struct acpi_pc *pc)
{
    uint32_t table = acpi_begin(t, "SLIT", 1);
    add_num(t, 8, pc->n_nodes);
    blob_add(&t->bytes, pc->distances, (size_t)pc->n_nodes * pc->n_nodes);
    acpi_end_root(t, table);
}

void acpi_add_fixed(struct acpi_tables *t, const struct acpi_pc *pc)
{
    add_madt(t, pc);
    if (pc->hpet)
        add_hpet(t, pc);
    if (pc->ecam.size)
        add_mcfg(t, pc);
    if (pc->n_nodes)
        add_srat(t, pc);
    if (pc->n_nodes && pc->distances)
        add_slit(t, pc);
    if (pc->board != ACPI_MICROVM)
        add_waet(t);
}
