/* The standard VGA: IBM's registers and memory, and Bochs' DISPI for larger modes. Shared by the devices that are
 * one: as a PCI function (with the registers in a BAR, too), on ISA, as part of virtio-vga. A device embeds a
 * struct vga. docs/display.md. */
#pragma once

#include "core/device.h"

#include <stdatomic.h>

struct dirty_log;
struct head;
struct head_ops;

/* Indices of the register files. */
enum { VGA_N_SEQ = 5, VGA_N_GFX = 9, VGA_N_CRTC = 25, VGA_N_ATTR = 21 };
enum { VGA_ATTR_SCREEN_ON = 1 << 5 /* of the index register */ };

/* DISPI's registers and the bits of ENABLE (Bochs' VBE display API). */
enum {
    DISPI_ID,
    DISPI_XRES,
    DISPI_YRES,
    DISPI_BPP,
    DISPI_ENABLE,
    DISPI_BANK,
    DISPI_VIRT_WIDTH,
    DISPI_VIRT_HEIGHT,
    DISPI_X_OFFSET,
    DISPI_Y_OFFSET,
    DISPI_MEMORY, /* in 64 KiB; read-only */
    DISPI_N,

    DISPI_ENABLED = 0x01,
    DISPI_GETCAPS = 0x02,
    DISPI_8BIT_DAC = 0x20,
    DISPI_LFB = 0x40,
    DISPI_KEEP_MEMORY = 0x80,

    DISPI_FIRST_ID = 0xb0c0,
    DISPI_LAST_ID = 0xb0c5,
};

/* What the picture depends on besides the memory. */
struct vga_regs {
    uint8_t misc, feature, attr_index, dac_mask, big_endian;
    uint8_t seq[VGA_N_SEQ], gfx[VGA_N_GFX], crtc[VGA_N_CRTC], attr[VGA_N_ATTR];
    uint8_t dac[3 * 256];
    uint16_t dispi[DISPI_N];
};

struct vga {
    uint32_t vram_mb; /* property */

    /* state */
    struct vga_regs r;
    uint8_t seq_index, gfx_index, crtc_index, attr_data_next;
    uint8_t dac_read_at, dac_write_at, dac_component, dac_reads, dac_latch[3];
    uint16_t dispi_index;
    uint32_t latch; /* plane n is byte n */

    /* fixed at realize, or derived */
    struct device *dev;
    bool owns_head;
    bool has_planes; /* else DISPI alone decides: bochs-display */
    struct mem_region *vram, *window,
        *linear; /* linear: RAM over the window, where that is the same */
    uint64_t linear_off, linear_size;
    gpa linear_at;
    struct mem_region *ports[4];
    struct head *head;
    struct dirty_log *log;
    uint64_t *dirty;
    _Atomic uint32_t window_wanted;
    struct vga_picture *drawn; /* vga_draw.c: what the head shows */
};

#define VGA_PROPS(T, member)                                                           \
    PROP(T, member.vram_mb, "vgamem_mb", PROP_UINT, .def = "16", .min = 1, .max = 256, \
         .help = "framebuffer in MiB, a power of two")
enum { N_VGA_FIELDS = 17 };
extern const struct field vga_fields[N_VGA_FIELDS];

/* legacy: with the ports and the window below 1 MiB. ops NULL: v->head is there, and stays the caller's. Errors: no memory, another VGA has them. */
struct error *vga_init(struct vga *v, struct device *dev, const struct head_ops *ops,
                       bool has_planes, bool legacy);
/* The framebuffer's region is freed, too, unless a BAR owns it: then set v->vram to NULL before. */
void vga_exit(struct vga *v);
/* Device lock held; loaded with all vCPUs stopped. */
void vga_reset(struct vga *v);
void vga_loaded(struct vga *v);
/* Registers as a BAR shows them; `port` is 0 to 31 from 3c0, `reg` a DISPI register. They take the lock. */
uint64_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);
uint16_t vga_dispi_read(struct vga *v, unsigned reg);
void vga_dispi_write(struct vga *v, unsigned reg, uint16_t value);
/* The window follows the registers, after a reset of all. No lock held. */
void vga_follow(void *vga);

/* vga_draw.c. The size of the picture and its pitch follow from registers alone. */
void vga_refresh(struct vga *v, bool all);
void vga_picture_free(struct vga *v);
/* Bits 0 and 3 of status register 1 at this time. */
uint8_t vga_retrace(const struct vga_regs *r, uint64_t now_ns);
/* DISPI's mode made one that can be shown from so many bytes of memory. */
void vga_dispi_fit(struct vga_regs *r, uint64_t vram_size);
static inline bool vga_dispi_on(const struct vga_regs *r)
{
    return r->dispi[DISPI_ENABLE] & DISPI_ENABLED;
}
