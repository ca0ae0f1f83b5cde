/* What q35 and pc share. */

// Sleep type of the PM1 control register, hw/misc/acpi_pm.h. S3 and S4 are where the configuration has them.
Name (\_S5, Package (4) { 0, 0, 0, 0 })

// 0: interrupts by the 8259s, 1: by the I/O APIC.
Name (\PICF, Zero)
Method (\_PIC, 1) { PICF = Arg0 }
