/* Slots of the root bus that devices come to and go from. Registers: hw/pci/acpi_pcihp.h. Inside PCI0; the notices to
 * devices are \_GPE's. */
Device (PHPR) // so that nobody puts something else there
{
    Name (_HID, EisaId ("PNP0A06"))
    Name (_UID, "PCI hot-plug")
    Name (_STA, 0x0B)
    Name (_CRS, ResourceTemplate () { IO (Decode16, 0xAE00, 0xAE00, 1, 0x14) })
}
OperationRegion (HPIO, SystemIO, 0xAE00, 0x14)
Field (HPIO, DWordAcc, NoLock, WriteAsZeros)
{
    PCIU, 32, // came
    PCID, 32, // are to go
    PCEJ, 32, // write: the guest has let them go
    Offset (0x10),
    BNUM, 32
}
Device (S10) { Name (_ADR, 0x00020000) Name (_SUN, 2) Method (_EJ0, 1) { PCEJ = 0x00000004 } }
Device (S18) { Name (_ADR, 0x00030000) Name (_SUN, 3) Method (_EJ0, 1) { PCEJ = 0x00000008 } }
Device (S20) { Name (_ADR, 0x00040000) Name (_SUN, 4) Method (_EJ0, 1) { PCEJ = 0x00000010 } }
Device (S28) { Name (_ADR, 0x00050000) Name (_SUN, 5) Method (_EJ0, 1) { PCEJ = 0x00000020 } }
Device (S30) { Name (_ADR, 0x00060000) Name (_SUN, 6) Method (_EJ0, 1) { PCEJ = 0x00000040 } }
Device (S38) { Name (_ADR, 0x00070000) Name (_SUN, 7) Method (_EJ0, 1) { PCEJ = 0x00000080 } }
Device (S40) { Name (_ADR, 0x00080000) Name (_SUN, 8) Method (_EJ0, 1) { PCEJ = 0x00000100 } }
Device (S48) { Name (_ADR, 0x00090000) Name (_SUN, 9) Method (_EJ0, 1) { PCEJ = 0x00000200 } }
Device (S50) { Name (_ADR, 0x000A0000) Name (_SUN, 10) Method (_EJ0, 1) { PCEJ = 0x00000400 } }
Device (S58) { Name (_ADR, 0x000B0000) Name (_SUN, 11) Method (_EJ0, 1) { PCEJ = 0x00000800 } }
Device (S60) { Name (_ADR, 0x000C0000) Name (_SUN, 12) Method (_EJ0, 1) { PCEJ = 0x00001000 } }
Device (S68) { Name (_ADR, 0x000D0000) Name (_SUN, 13) Method (_EJ0, 1) { PCEJ = 0x00002000 } }
Device (S70) { Name (_ADR, 0x000E0000) Name (_SUN, 14) Method (_EJ0, 1) { PCEJ = 0x00004000 } }
Device (S78) { Name (_ADR, 0x000F0000) Name (_SUN, 15) Method (_EJ0, 1) { PCEJ = 0x00008000 } }
Device (S80) { Name (_ADR, 0x00100000) Name (_SUN, 16) Method (_EJ0, 1) { PCEJ = 0x00010000 } }
Device (S88) { Name (_ADR, 0x00110000) Name (_SUN, 17) Method (_EJ0, 1) { PCEJ = 0x00020000 } }
Device (S90) { Name (_ADR, 0x00120000) Name (_SUN, 18) Method (_EJ0, 1) { PCEJ = 0x00040000 } }
Device (S98) { Name (_ADR, 0x00130000) Name (_SUN, 19) Method (_EJ0, 1) { PCEJ = 0x00080000 } }
Device (SA0) { Name (_ADR, 0x00140000) Name (_SUN, 20) Method (_EJ0, 1) { PCEJ = 0x00100000 } }
Device (SA8) { Name (_ADR, 0x00150000) Name (_SUN, 21) Method (_EJ0, 1) { PCEJ = 0x00200000 } }
Device (SB0) { Name (_ADR, 0x00160000) Name (_SUN, 22) Method (_EJ0, 1) { PCEJ = 0x00400000 } }
Device (SB8) { Name (_ADR, 0x00170000) Name (_SUN, 23) Method (_EJ0, 1) { PCEJ = 0x00800000 } }
Device (SC0) { Name (_ADR, 0x00180000) Name (_SUN, 24) Method (_EJ0, 1) { PCEJ = 0x01000000 } }
Device (SC8) { Name (_ADR, 0x00190000) Name (_SUN, 25) Method (_EJ0, 1) { PCEJ = 0x02000000 } }
Device (SD0) { Name (_ADR, 0x001A0000) Name (_SUN, 26) Method (_EJ0, 1) { PCEJ = 0x04000000 } }
Device (SD8) { Name (_ADR, 0x001B0000) Name (_SUN, 27) Method (_EJ0, 1) { PCEJ = 0x08000000 } }
Device (SE0) { Name (_ADR, 0x001C0000) Name (_SUN, 28) Method (_EJ0, 1) { PCEJ = 0x10000000 } }
Device (SE8) { Name (_ADR, 0x001D0000) Name (_SUN, 29) Method (_EJ0, 1) { PCEJ = 0x20000000 } }
Device (SF0) { Name (_ADR, 0x001E0000) Name (_SUN, 30) Method (_EJ0, 1) { PCEJ = 0x40000000 } }
Device (SF8) { Name (_ADR, 0x001F0000) Name (_SUN, 31) Method (_EJ0, 1) { PCEJ = 0x80000000 } }

// To the slots in Arg0: look (1), or let go (3).
Method (DVNT, 2)
{
    If (Arg0 & 0x00000004) { Notify (S10, Arg1) }
    If (Arg0 & 0x00000008) { Notify (S18, Arg1) }
    If (Arg0 & 0x00000010) { Notify (S20, Arg1) }
    If (Arg0 & 0x00000020) { Notify (S28, Arg1) }
    If (Arg0 & 0x00000040) { Notify (S30, Arg1) }
    If (Arg0 & 0x00000080) { Notify (S38, Arg1) }
    If (Arg0 & 0x00000100) { Notify (S40, Arg1) }
    If (Arg0 & 0x00000200) { Notify (S48, Arg1) }
    If (Arg0 & 0x00000400) { Notify (S50, Arg1) }
    If (Arg0 & 0x00000800) { Notify (S58, Arg1) }
    If (Arg0 & 0x00001000) { Notify (S60, Arg1) }
    If (Arg0 & 0x00002000) { Notify (S68, Arg1) }
    If (Arg0 & 0x00004000) { Notify (S70, Arg1) }
    If (Arg0 & 0x00008000) { Notify (S78, Arg1) }
    If (Arg0 & 0x00010000) { Notify (S80, Arg1) }
    If (Arg0 & 0x00020000) { Notify (S88, Arg1) }
    If (Arg0 & 0x00040000) { Notify (S90, Arg1) }
    If (Arg0 & 0x00080000) { Notify (S98, Arg1) }
    If (Arg0 & 0x00100000) { Notify (SA0, Arg1) }
    If (Arg0 & 0x00200000) { Notify (SA8, Arg1) }
    If (Arg0 & 0x00400000) { Notify (SB0, Arg1) }
    If (Arg0 & 0x00800000) { Notify (SB8, Arg1) }
    If (Arg0 & 0x01000000) { Notify (SC0, Arg1) }
    If (Arg0 & 0x02000000) { Notify (SC8, Arg1) }
    If (Arg0 & 0x04000000) { Notify (SD0, Arg1) }
    If (Arg0 & 0x08000000) { Notify (SD8, Arg1) }
    If (Arg0 & 0x10000000) { Notify (SE0, Arg1) }
    If (Arg0 & 0x20000000) { Notify (SE8, Arg1) }
    If (Arg0 & 0x40000000) { Notify (SF0, Arg1) }
    If (Arg0 & 0x80000000) { Notify (SF8, Arg1) }
}
Method (PCNT, 0, Serialized)
{
    BNUM = Zero
    DVNT (PCIU, One)
    DVNT (PCID, 3)
}
