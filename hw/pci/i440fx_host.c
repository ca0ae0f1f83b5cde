/* pc's host bridge: the 82441FX, as much of it as firmware and kernels look at. Register numbers: data sheet
 * 290549, 3.2. */
#include "hw/pci/pc_host.h"

#include "core/state.h"

enum { PAM0 = 0x59, SMRAM = 0x72 };

static const struct pc_host_model i440fx_model = {
    .bus_name = "pci.0",
    .identity = { .vendor = 0x8086,
                  .device = 0x1237,
                  .revision = 2,
                  .class_code = 0x060000,
                  .subsystem_vendor = 0x1af4,
                  .subsystem = 0x1100 },
    .pam = PAM0,
    .smram = SMRAM,
    .smram_writable = 0x58,
};

const struct device_class i440fx_host_class = {
    .name = "i440FX-pcihost",
    .desc = "pc's host bridge",
    .bus = "system",
    .version = 1,
    .size = sizeof(struct pc_host),
    .state = TABLE(pc_host_state),
    .bus_class = &i440fx_model,
    .realize = pc_host_realize,
    .unrealize = pc_host_unrealize,
    .reset = pc_host_reset,
    .loaded = pc_host_loaded,
};
