/* PIRQ A to D as devices. A register PRQx has the interrupt in its low bits; bit 7 means off. */
Method (LSTA, 1) // _STA of a link with this register
{
    If (Arg0 & 0x80) { Return (0x09) }
    Return (0x0B)
}
// The interrupt is 5 bytes behind the beginning. Field declarations stand in methods, because SeaBIOS's parser does
// not know them elsewhere.
Name (LBUF, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 0 } })
Method (LCRS, 1, Serialized) // its _CRS
{
    CreateDWordField (LBUF, 5, LINT)
    LINT = Arg0 & 0x0F
    If (Arg0 & 0x80) { LINT = Zero }
    Return (LBUF)
}
Method (LIRQ, 1, Serialized) // the register for these resources
{
    CreateDWordField (Arg0, 5, IRQ)
    Return (IRQ)
}
#define LINK Name (_HID, EisaId ("PNP0C0F")) Name (_PRS, ResourceTemplate () { Interrupt (, Level, ActiveHigh, Shared) { 5, 10, 11 } })
Device (LNKA) { LINK Name (_UID, 0) Method (_STA) { Return (LSTA (PRQA)) } Method (_CRS) { Return (LCRS (PRQA)) }
                Method (_DIS) { PRQA |= 0x80 } Method (_SRS, 1) { PRQA = LIRQ (Arg0) } }
Device (LNKB) { LINK Name (_UID, 1) Method (_STA) { Return (LSTA (PRQB)) } Method (_CRS) { Return (LCRS (PRQB)) }
                Method (_DIS) { PRQB |= 0x80 } Method (_SRS, 1) { PRQB = LIRQ (Arg0) } }
Device (LNKC) { LINK Name (_UID, 2) Method (_STA) { Return (LSTA (PRQC)) } Method (_CRS) { Return (LCRS (PRQC)) }
                Method (_DIS) { PRQC |= 0x80 } Method (_SRS, 1) { PRQC = LIRQ (Arg0) } }
Device (LNKD) { LINK Name (_UID, 3) Method (_STA) { Return (LSTA (PRQD)) } Method (_CRS) { Return (LCRS (PRQD)) }
                Method (_DIS) { PRQD |= 0x80 } Method (_SRS, 1) { PRQD = LIRQ (Arg0) } }
