/* microvm without PCI. Tandem adds the rest behind it (acpi_dsdt.c). */
DefinitionBlock ("", "DSDT", 2, "BOCHS ", "BXPC", 1)
{
    #include "microvm_common.asl"
}
