/* microvm with -M pcie=on. Tandem adds the rest behind it (acpi_dsdt.c). */
DefinitionBlock ("", "DSDT", 2, "BOCHS ", "BXPC", 1)
{
    #include "microvm_common.asl"

    Device (\_SB.PCI0)
    {
        Name (_HID, EisaId ("PNP0A08"))
        #include "pcie_root.asl"
    }
}
