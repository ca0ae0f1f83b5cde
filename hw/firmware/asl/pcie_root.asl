/* A PCI Express host bridge, inside its device. */
Name (_CID, EisaId ("PNP0A03")) // PCI
Name (_UID, Zero)
Name (_BBN, Zero)
Name (_SEG, Zero)
Method (_OSC, 4, Serialized) // PCI Firmware Specification 3.2, 4.5.1
{
    CreateDWordField (Arg3, 0, STAT)
    If (Arg0 == ToUUID ("33DB4D5B-1FF7-401C-9657-7441C03DD766"))
    {
        CreateDWordField (Arg3, 8, CTRL)
        Local0 = CTRL & 0x1D // hot-plug, PME, errors, capability structure: the system's; no SHPC
        If (Arg1 != One) { STAT |= 0x08 }
        If (CTRL != Local0) { STAT |= 0x10 }
        CTRL = Local0
    }
    Else { STAT |= 0x04 }
    Return (Arg3)
}
