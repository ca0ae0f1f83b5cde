/* Inside virtio_gpu.c and virtio_vga.c only: a virtio GPU without 3D. */
#pragma once

#include "hw/virtio/virtio.h"
#include "ui/display.h"

enum { GPU_MAX_RESOURCES = 1024, GPU_MAX_OUTPUTS = 16, GPU_MAX_BACKING = 16384 };

/* A picture that the guest made: pixels here, filled by TRANSFER_TO_HOST from pages of the guest. */
struct gpu_resource {
    uint32_t id; /* 0: free */
    uint32_t format, width, height;
    uint8_t *pixels; /* 4 bytes each, line after line */
    uint32_t pixels_len;
    uint8_t *backing; /* entries of 16 bytes as the guest gave them: address, length */
    uint32_t backing_len;
};
struct gpu_cursor {
    uint32_t resource_id, x, y, hot_x, hot_y;
};
/* One output. */
struct gpu_scanout {
    uint32_t resource_id, x, y, width, height; /* 0: shows nothing */
    uint32_t wished_width, wished_height;      /* 0: off */
    struct gpu_cursor cursor;

    /* derived: what the head has yet to be told */
    struct head *head;
    bool changed, cursor_changed, cursor_moved;
    struct rect damage;
};
struct virtio_gpu {
    struct virtio_device v;
    /* properties */
    uint32_t max_outputs;
    uint64_t max_hostmem;
    bool edid;
    uint32_t width, height;

    /* state */
    struct gpu_resource resources[GPU_MAX_RESOURCES];
    struct gpu_scanout scanouts[GPU_MAX_OUTPUTS];
    uint32_t events;
    bool driven; /* a driver has shown something since the last reset */

    /* derived */
    uint64_t hostmem;
    struct timer *present;
    const struct head_ops *head_ops; /* virtio-vga sets its own before realize */
};

#define GPU_PROPS(T, g)                                                                        \
    PROP(T, g max_outputs, "max_outputs", PROP_UINT, .def = "1", .min = 1,                      \
         .max = GPU_MAX_OUTPUTS, .help = "number of screens"),                                  \
    PROP(T, g max_hostmem, "max_hostmem", PROP_SIZE, .def = "256M", .max = 1024 * MIB,          \
         .help = "most memory that the guest's pictures may take"),                             \
    PROP(T, g edid, "edid", PROP_BOOL, .def = "on"),                                            \
    PROP(T, g width, "xres", PROP_UINT, .def = "1280", .min = 1, .max = HEAD_MAX_SIDE,          \
         .help = "preferred mode of the first screen"),                                         \
    PROP(T, g height, "yres", PROP_UINT, .def = "800", .min = 1, .max = HEAD_MAX_SIDE)
extern const struct field gpu_resource_fields[6];
extern const struct field gpu_scanout_fields[16];
#define GPU_STATE(T, g)                                                         \
    FIELD_SUB(T, g resources, gpu_resource_fields, GPU_MAX_RESOURCES),          \
    FIELD_SUB(T, g scanouts, gpu_scanout_fields, GPU_MAX_OUTPUTS),              \
    FIELD(T, g events, .valid = 1), FIELD(T, g driven), DERIVED(T, g hostmem)

/* A virtio_model but for pci_class and option_rom. */
#define GPU_MODEL                                                                       \
    .device_id = 16, .config_size = 16, .realize = gpu_realize,                         \
    .unrealize = gpu_unrealize, .get_config = gpu_get_config,                           \
    .set_config = gpu_set_config, .handle_queue = gpu_handle_queue, .reset = gpu_reset, \
    .loaded = gpu_loaded
struct error *gpu_realize(struct virtio_device *v);
void gpu_unrealize(struct virtio_device *v);
void gpu_get_config(struct virtio_device *v, uint8_t *config);
void gpu_set_config(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n);
void gpu_handle_queue(struct virtio_device *v, struct virtq *q);
void gpu_reset(struct virtio_device *v);
struct error *gpu_loaded(struct virtio_device *v);
/* For head_ops. */
void gpu_wish(struct device *dev, struct head *head, unsigned width, unsigned height);
