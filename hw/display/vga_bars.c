/* Offsets as Linux's bochs-drm and OVMF's QemuVideoDxe expect; facts: QEMU's docs/specs/standard-vga. */
#include "hw/display/vga_bars.h"

#include "core/error.h"

enum {
    AT_EDID = 0x000,
    AT_PORTS = 0x400, /* 3c0 to 3df */
    N_PORTS = 0x20,
    AT_DISPI = 0x500, /* 16 bits each */
    AT_QEXT = 0x600,
    QEXT_SIZE = 8,
    AT_ORDER = 0x604, /* of bytes in the framebuffer */
};
#define ORDER_LITTLE UINT64_C(0x1e1e1e1e)
#define ORDER_BIG    UINT64_C(0xbebebebe)

static uint64_t order_read(struct vga *v)
{
    device_lock(v->dev);
    bool big = v->r.big_endian;
    device_unlock(v->dev);
    return big ? ORDER_BIG : ORDER_LITTLE;
}

static void order_write(struct vga *v, uint64_t value)
{
    device_lock(v->dev);
    if (value == ORDER_LITTLE || value == ORDER_BIG)
        v->r.big_endian = value == ORDER_BIG;
    device_unlock(v->dev);
}

static bool is_port(const struct vga *v, uint64_t off)
{
    return v->has_planes && off >= AT_PORTS && off < AT_PORTS + N_PORTS;
}

static uint64_t bar_read(void *opaque, uint64_t off, unsigned size)
{
    struct vga_bars *b = opaque;
    uint64_t value = 0;
    if (off + size <= EDID_SIZE)
        return load_le(b->edid_block + off, size);
    if (is_port(&b->vga, off)) {
        for (unsigned i = 0; i < size && is_port(&b->vga, off + i); i++)
            value |= vga_port_read(&b->vga, (unsigned)(off + i - AT_PORTS)) << 8 * i;
    } else if (off >= AT_DISPI && off < AT_DISPI + 2 * DISPI_N) {
        value = vga_dispi_read(&b->vga, (unsigned)(off - AT_DISPI) / 2);
        if (size == 4)
            value |= (uint64_t)vga_dispi_read(&b->vga, (unsigned)(off - AT_DISPI) / 2 + 1) << 16;
        value >>= off % 2 * 8;
    } else if (off == AT_QEXT) {
        value = QEXT_SIZE;
    } else if (off == AT_ORDER) {
        value = order_read(&b->vga);
    }
    return value;
}

static void bar_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct vga_bars *b = opaque;
    if (is_port(&b->vga, off)) {
        for (unsigned i = 0; i < size && is_port(&b->vga, off + i); i++)
            vga_port_write(&b->vga, (unsigned)(off + i - AT_PORTS), (uint8_t)(value >> 8 * i));
    } else if (off >= AT_DISPI && off < AT_DISPI + 2 * DISPI_N && size > 1) {
        vga_dispi_write(&b->vga, (unsigned)(off - AT_DISPI) / 2, (uint16_t)value);
        if (size == 4)
            vga_dispi_write(&b->vga, (unsigned)(off - AT_DISPI) / 2 + 1, (uint16_t)(value >> 16));
    } else if (off == AT_ORDER && size == 4) {
        order_write(&b->vga, value);
    }
}

static const struct mmio_ops bar_ops = { bar_read, bar_write, 1, 4, NULL };

bool vga_has_legacy(const struct pci_function *fn)
{
    return fn->bus->host->windows.has_ports;
}

struct error *vga_bars_add(struct vga_bars *b, struct device *dev, struct pci_function *fn,
                           const struct head_ops *ops, bool has_planes, bool legacy)
{
    struct error *err = vga_init(&b->vga, dev, ops, has_planes, legacy);
    if (err)
        return err;
    if (b->edid) {
        const struct edid_info info = {
            .width = b->width,
            .height = b->height,
            .max_width = b->max_width,
            .max_height = b->max_height,
            .refresh_hz = b->refresh_hz,
        };
        edid_make(&info, b->edid_block);
    }
    pci_add_bar(fn, VGA_MEMORY_BAR, PCI_BAR_MEM32_PREFETCH, b->vga.vram,
                (uint64_t)b->vga.vram_mb * MIB);
    pci_add_bar(fn, VGA_REGISTER_BAR, PCI_BAR_MEM32,
                mem_add_mmio(dev->vm, "vga-registers", VGA_REGISTER_SIZE, &bar_ops, b),
                VGA_REGISTER_SIZE);
    return NULL;
}

void vga_bars_remove(struct vga_bars *b)
{
    b->vga.vram = NULL;
    vga_exit(&b->vga);
}
