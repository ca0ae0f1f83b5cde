/* "virtio-vga": a virtio GPU that is a VGA, too, until a driver shows something. Memory is BAR 0, registers are
 * BAR 2, the virtio device's are where they always are. */
#include "core/error.h"
#include "hw/display/vga_bars.h"
#include "hw/display/virtio_gpu.h"

struct virtio_vga {
    union {
        struct virtio_device v; /* the first member of g */
        struct virtio_gpu g;
    };
    struct vga_bars bars;
};

static struct virtio_vga *vga_of(struct device *dev)
{
    return container_of(dev, struct virtio_vga, g.v.dev);
}

static void refresh(struct device *dev, struct head *head, bool all)
{
    struct virtio_vga *x = vga_of(dev);
    device_lock(dev);
    bool driven = x->g.driven;
    device_unlock(dev);
    if (driven || head_index(head))
        vga_picture_free(&x->bars.vga); /* it will be drawn anew */
    else
        vga_refresh(&x->bars.vga, all);
}

static const struct head_ops head_ops = { refresh, gpu_wish };

static const struct virtio_model model = { GPU_MODEL, .pci_class = 0x030000,
                                           .option_rom = "vgabios-virtio.bin" };

static struct error *virtio_vga_realize(struct device *dev)
{
    struct virtio_vga *x = vga_of(dev);
    x->g.head_ops = &head_ops;
    struct error *err = virtio_pci_realize(dev);
    if (err)
        return err;
    struct vga_bars *b = &x->bars;
    b->edid = x->g.edid;
    b->width = x->g.width;
    b->height = x->g.height;
    b->vga.head = x->g.scanouts[0].head;
    err = vga_bars_add(b, dev, &x->g.v.pci.fn, NULL, true, vga_has_legacy(&x->g.v.pci.fn));
    if (err)
        virtio_pci_unrealize(dev);
    return err;
}

static void virtio_vga_unrealize(struct device *dev)
{
    vga_bars_remove(&vga_of(dev)->bars);
    virtio_pci_unrealize(dev);
}

static void virtio_vga_reset(struct device *dev)
{
    virtio_pci_reset(dev);
    vga_reset(&vga_of(dev)->bars.vga);
}

static struct error *virtio_vga_loaded(struct device *dev)
{
    vga_loaded(&vga_of(dev)->bars.vga);
    return virtio_pci_loaded(dev);
}

static const struct prop virtio_vga_props[] = {
    VIRTIO_PCI_PROPS(struct virtio_vga),
    GPU_PROPS(struct virtio_vga, g.),
    VGA_PROPS(struct virtio_vga, bars.vga),
};

static const struct field virtio_vga_state[] = {
    VIRTIO_PCI_STATE(struct virtio_vga),
    GPU_STATE(struct virtio_vga, g.),
    VGA_BARS_STATE(struct virtio_vga, bars),
};

const struct device_class virtio_vga_class = {
    .name = "virtio-vga",
    .desc = "graphics card without 3D that is a VGA, too",
    .bus = "pci",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct virtio_vga),
    .props = TABLE(virtio_vga_props),
    .state = TABLE(virtio_vga_state),
    .bus_class = &model,
    .realize = virtio_vga_realize,
    .unrealize = virtio_vga_unrealize,
    .reset = virtio_vga_reset,
    .loaded = virtio_vga_loaded,
};
