/* Generic event device of a hardware-reduced machine (microvm): power button, sleep and reset registers. Class
 * "acpi-ged" ("addr"). Registers as in QEMU's docs/specs/acpi_hw_reduced_hotplug; hw/firmware/asl/ has the ASL. */
#pragma once

#include "core/device.h"

#define ACPI_GED_AT ((gpa)0xfea00000) /* where microvm's ASL has it */
enum {
    ACPI_GED_GSI = 9,        /* an edge */
    ACPI_GED_EVENTS = 0x000, /* 32-bit: pending events, cleared by reading */
    ACPI_GED_SLEEP = 0x200,  /* 8-bit each: ACPI 6.4, 4.8.3.7 */
    ACPI_GED_SLEEP_STATUS = 0x201,
    ACPI_GED_RESET = 0x202,
    ACPI_GED_SIZE = 0x204,
    ACPI_GED_POWER_BUTTON = 1 << 1,
    ACPI_GED_S5 = 5,            /* sleep type */
    ACPI_GED_RESET_VALUE = 0x42,
};

/* Pulsed at each event. */
struct irq *acpi_ged_output(struct device *ged);
