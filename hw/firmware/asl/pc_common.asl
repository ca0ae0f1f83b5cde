/* What q35 and pc share. */

// Sleep types of the PM1 control register, hw/misc/acpi_pm.h.
Name (\_S4, Package (4) { 2, 2, 0, 0 })
Name (\_S5, Package (4) { 0, 0, 0, 0 })

// 0: interrupts by the 8259s, 1: by the I/O APIC.
Name (\PICF, Zero)
Method (\_PIC, 1) { PICF = Arg0 }
