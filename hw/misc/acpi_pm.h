/* ACPI fixed hardware: events, power management timer, sleep and power button, general-purpose events, the SMI
 * command port, and on the ICH9 the TCO watchdog. Classes "ICH9-PM" (q35) and "PIIX4-PM-block" (pc), whose
 * ACPI tables the board writes: PM1a event block at base + 0, control at + 4, timer at + 8; general-purpose
 * events 0 at base + 0x20 (16 bytes) or in a region of their own (4 bytes).
 *
 * S5 is sleep type 0, S4 is 2, and both power off; S3 is 1, if the board has it: the VM is suspended until the power
 * button, the clock's alarm if that is enabled, or the user wakes it. There are no others. */
#pragma once

#include "core/device.h"

enum {
    ICH9_PM_SIZE = 0x80,
    PIIX4_PM_SIZE = 0x40,
    PIIX4_GPE_SIZE = 4,
    /* Values for the FADT's ACPI_ENABLE and ACPI_DISABLE, to be written to the SMI command port, 0xb2. */
    ICH9_ACPI_ENABLE = 0x02,
    ICH9_ACPI_DISABLE = 0x03,
    PIIX4_ACPI_ENABLE = 0xf1,
    PIIX4_ACPI_DISABLE = 0xf0,
};

/* The system control interrupt (a level), and SMI (a pulse; of the command port: on the writing vCPU's thread). */
struct irq *acpi_pm_sci(struct device *pm);
struct irq *acpi_pm_smi(struct device *pm);
/* General-purpose event n of block 0; latched when it rises. */
struct irq acpi_pm_gpe_input(struct device *pm, unsigned n);
/* The register block: whoever holds PMBASE maps it. */
struct mem_region *acpi_pm_region(struct device *pm);
/* There is system management mode: SMIs are to be set up by firmware. Before the first reset. */
void acpi_pm_use_smm(struct device *pm);
/* ICH9: GEN_PMCON_1.SMI_LOCK, 13.8.1.1: SMIs stay on. PIIX4: DEVACTB.APMC_EN, 7.1.9: the command port raises SMIs. */
void acpi_pm_lock_smi(struct device *pm, bool on);
void acpi_pm_set_command_smi(struct device *pm, bool on);
/* ICH9: GCS.NO_REBOOT, 10.1.56 of the data sheet: the watchdog does not reset. */
void acpi_pm_set_no_reboot(struct device *pm, bool on);
/* The clock's alarm: a pulse (4.8.2.2.3). The clock's lock may be held. */
struct irq acpi_pm_alarm_input(struct device *pm);
/* The user presses it. The power button is also pressed by vm_press_power_button. Main loop's thread. */
void acpi_pm_sleep_button(struct device *pm);
