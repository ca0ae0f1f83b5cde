/* How a VGA shows itself in BARs: its memory in one, its registers and EDID in 4 KiB of another. */
#pragma once

#include "hw/display/edid.h"
#include "hw/display/vga.h"
#include "hw/pci/pci.h"

enum { VGA_MEMORY_BAR = 0, VGA_REGISTER_BAR = 2, VGA_REGISTER_SIZE = 4096 };

struct vga_bars {
    struct vga vga;
    bool edid; /* property */
    uint32_t width, height, max_width, max_height, refresh_hz;
    uint8_t edid_block[EDID_SIZE]; /* zeros: there is none */
};

#define EDID_SIZE_PROPS(T, member)                                                 \
    PROP(T, member.width, "xres", PROP_UINT, .def = "1280", .min = 1, .max = 8192, \
         .help = "preferred mode"),                                                \
        PROP(T, member.height, "yres", PROP_UINT, .def = "800", .min = 1, .max = 8192)
#define VGA_BARS_PROPS(T, member)                                                                 \
    VGA_PROPS(T, member.vga), EDID_SIZE_PROPS(T, member),                                         \
        PROP(T, member.edid, "edid", PROP_BOOL, .def = "on", .help = "tell the monitor's modes"), \
        PROP(T, member.max_width, "xmax", PROP_UINT, .def = "0", .max = 8192,                     \
             .help = "widest mode listed; 0: no bound"),                                          \
        PROP(T, member.max_height, "ymax", PROP_UINT, .def = "0", .max = 8192),                   \
        PROP(T, member.refresh_hz, "refresh_rate", PROP_UINT, .def = "60", .min = 1, .max = 125)
#define VGA_BARS_STATE(T, member) \
    FIELD_SUB(T, member.vga, vga_fields, 1), DERIVED(T, member.edid_block)

/* Between pci_realize and the end of realize; the function owns the memory from then on. */
struct error *vga_bars_add(struct vga_bars *b, struct device *dev, struct pci_function *fn,
                           const struct head_ops *ops, bool has_planes, bool legacy);
/* Before pci_unrealize. */
void vga_bars_remove(struct vga_bars *b);
/* Can this machine's CPUs reach the ports and the window below 1 MiB? */
bool vga_has_legacy(const struct pci_function *fn);
