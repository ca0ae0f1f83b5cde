/* q35: what every board with an ICH9 has. Tandem adds the rest behind it (acpi_dsdt.c): resources and interrupt
 * routing of PCI0, ISA devices, processors. */
DefinitionBlock ("", "DSDT", 2, "BOCHS ", "BXPC", 1)
{
    #include "pc_common.asl"

    Scope (\_SB)
    {
        Device (PCI0)
        {
            Name (_HID, EisaId ("PNP0A08")) // PCI Express
            #include "pcie_root.asl"

            Device (ISA) // the LPC bridge
            {
                Name (_ADR, 0x001F0000)
                OperationRegion (PIRQ, PCI_Config, 0x60, 0x0C) // ICH9 data sheet 13.1.17, 13.1.19
            }
        }
        Field (\_SB.PCI0.ISA.PIRQ, ByteAcc, NoLock, Preserve)
        {
            PRQA, 8, PRQB, 8, PRQC, 8, PRQD, 8,
            Offset (8),
            PRQE, 8, PRQF, 8, PRQG, 8, PRQH, 8
        }

        // Without the I/O APIC, PIRQs go to inputs of the 8259s that the system chooses.
        #include "pirq_links.asl"
        Device (LNKE) { LINK Name (_UID, 4) Method (_STA) { Return (LSTA (PRQE)) } Method (_CRS) { Return (LCRS (PRQE)) }
                        Method (_DIS) { PRQE |= 0x80 } Method (_SRS, 1) { PRQE = LIRQ (Arg0) } }
        Device (LNKF) { LINK Name (_UID, 5) Method (_STA) { Return (LSTA (PRQF)) } Method (_CRS) { Return (LCRS (PRQF)) }
                        Method (_DIS) { PRQF |= 0x80 } Method (_SRS, 1) { PRQF = LIRQ (Arg0) } }
        Device (LNKG) { LINK Name (_UID, 6) Method (_STA) { Return (LSTA (PRQG)) } Method (_CRS) { Return (LCRS (PRQG)) }
                        Method (_DIS) { PRQG |= 0x80 } Method (_SRS, 1) { PRQG = LIRQ (Arg0) } }
        Device (LNKH) { LINK Name (_UID, 7) Method (_STA) { Return (LSTA (PRQH)) } Method (_CRS) { Return (LCRS (PRQH)) }
                        Method (_DIS) { PRQH |= 0x80 } Method (_SRS, 1) { PRQH = LIRQ (Arg0) } }

        // With it, they have inputs 16 to 23: as devices, so that the system hears that they are active high.
        #define GSI_LINK Name (_HID, EisaId ("PNP0C0F")) Method (_CRS) { Return (_PRS) } Method (_SRS, 1) {} Method (_DIS) {}
        #define GSI_IS Interrupt (, Level, ActiveHigh, Shared)
        Device (GSIA) { GSI_LINK Name (_UID, 16) Name (_PRS, ResourceTemplate () { GSI_IS { 16 } }) }
        Device (GSIB) { GSI_LINK Name (_UID, 17) Name (_PRS, ResourceTemplate () { GSI_IS { 17 } }) }
        Device (GSIC) { GSI_LINK Name (_UID, 18) Name (_PRS, ResourceTemplate () { GSI_IS { 18 } }) }
        Device (GSID) { GSI_LINK Name (_UID, 19) Name (_PRS, ResourceTemplate () { GSI_IS { 19 } }) }
        Device (GSIE) { GSI_LINK Name (_UID, 20) Name (_PRS, ResourceTemplate () { GSI_IS { 20 } }) }
        Device (GSIF) { GSI_LINK Name (_UID, 21) Name (_PRS, ResourceTemplate () { GSI_IS { 21 } }) }
        Device (GSIG) { GSI_LINK Name (_UID, 22) Name (_PRS, ResourceTemplate () { GSI_IS { 22 } }) }
        Device (GSIH) { GSI_LINK Name (_UID, 23) Name (_PRS, ResourceTemplate () { GSI_IS { 23 } }) }
    }
}
