/* A hardware-reduced machine: sleep register and power button are in a generic event device (hw/misc/acpi_ged.h). */
Name (\_S5, Package (4) { 5, 0, 0, 0 })

Scope (\_SB)
{
    Device (PWRB)
    {
        Name (_HID, EisaId ("PNP0C0C"))
        Name (_UID, Zero)
    }
    Device (GED)
    {
        Name (_HID, "ACPI0013")
        Name (_UID, "GED")
        Name (_CRS, ResourceTemplate () { Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive) { 9 } })
        OperationRegion (EREG, SystemMemory, 0xFEA00000, 4)
        Field (EREG, DWordAcc, NoLock, WriteAsZeros) { ESEL, 32 }
        Method (_EVT, 1, Serialized)
        {
            Local0 = ESEL // reading clears it
            If (Local0 & 0x02) { Notify (PWRB, 0x80) }
        }
    }
}
