/* q35's host bridge: the 82Q35's memory controller hub, as much of it as firmware and kernels look at. Register
 * numbers: Intel 3 Series Express Chipset data sheet, table 5-1. */
#include "hw/pci/pc_host.h"

#include "core/state.h"

enum { EXT_TSEG = 0x50, PCIEXBAR = 0x60, PAM0 = 0x90, SMRAM = 0x9d, ESMRAMC = 0x9e };
enum { BDSM = 0xa4, BGSM = 0xa8, TSEGMB = 0xac, TOLUD = 0xb0 }; /* 5.1.29 to 5.1.32 */

static const struct pc_host_model q35_model = {
    .bus_name = "pcie.0",
    .identity = { .vendor = 0x8086,
                  .device = 0x29c0,
                  .class_code = 0x060000,
                  .subsystem_vendor = 0x1af4,
                  .subsystem = 0x1100 },
    .pam = PAM0,
    .smram = SMRAM,
    .smram_writable = 0x58,
    .pciexbar = PCIEXBAR,
    .esmramc = ESMRAMC,
    .ext_tseg = EXT_TSEG,
    .values = { { PCIEXBAR, 4, 0xb0000000, 0xfc000007 },
                { PCIEXBAR + 4, 4, 0, 0x0000000f },
                { BDSM, 4, 0, 0xfff00000 }, /* firmware's notes: nothing here follows them */
                { BGSM, 4, 0, 0xfff00000 },
                { TSEGMB, 4, 0, 0xfff00000 },
                { TOLUD, 2, 0x0010, 0xfff0 },
                { ESMRAMC, 1, 0x38, 0 } }, /* caches off; the rest with System Management Mode */
};

const struct device_class q35_host_class = {
    .name = "q35-pcihost",
    .desc = "q35's host bridge",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct pc_host),
    .state = TABLE(pc_host_state),
    .bus_class = &q35_model,
    .realize = pc_host_realize,
    .unrealize = pc_host_unrealize,
    .reset = pc_host_reset,
    .loaded = pc_host_loaded,
};
