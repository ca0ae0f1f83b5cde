/* A build without iasl has no AML. */
#include "hw/firmware/acpi_internal.h"

const struct acpi_aml acpi_aml_q35, acpi_aml_piix, acpi_aml_microvm, acpi_aml_microvm_pcie;
