/* pc: what every board with a PIIX3 has. Tandem adds the rest behind it (acpi_dsdt.c). */
DefinitionBlock ("", "DSDT", 2, "BOCHS ", "BXPC", 1)
{
    #include "pc_common.asl"

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A03"))
            Name (_UID, Zero)

            Device (ISA) // the PIIX3
            {
                Name (_ADR, 0x00010000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 4) // 82371SB data sheet 2.3.7
            }

            #include "pci_hotplug.asl"
        }
        Field (\_SB.PCI0.ISA.PIRQ, ByteAcc, NoLock, Preserve)
        {
            PRQA, 8, PRQB, 8, PRQC, 8, PRQD, 8
        }

        // PIRQs go to an ISA interrupt that the system chooses, with the I/O APIC too.
        #include "pirq_links.asl"
        Device (LNKS) // of the power management function: always the SCI
        {
            Name (_HID, EisaId ("PNP0C0F"))
            Name (_UID, 4)
            Name (_PRS, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 9 } })
            Method (_STA) { Return (0x0B) }
            Method (_CRS) { Return (_PRS) }
            Method (_SRS, 1) {}
            Method (_DIS) {}
        }
    }

    Scope (\_GPE)
    {
        Method (_E01) { \_SB.PCI0.PCNT () }
    }
}
