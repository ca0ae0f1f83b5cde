/* The VGA's registers and memory. Facts: IBM PS/2 Hardware Interface Technical Reference (video subsystem, by
 * register names), FreeVGA; DISPI: Bochs' documentation of its VBE interface. Pictures are made in vga_draw.c.
 *
 * Memory is kept as the guest sees it in linear modes: byte 4n+p is byte n of plane p. The CRTC's word and
 * doubleword addressing then has nothing to move, and a window in chain-4 mode is plain RAM. */
#include "hw/display/vga.h"

#include "core/clock.h"
#include "core/dirty_log.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/pci/pci.h"
#include "ui/display.h"

#include <assert.h>
#include <stdlib.h>

enum { WINDOW_AT = 0xa0000, WINDOW_SIZE = 0x20000, BANK = 0x10000 };
enum { WINDOW_PRIORITY = 2, LINEAR_PRIORITY = 3 }; /* over the hole that a PC's host bridge shows */
/* PCI-to-PCI Bridge 1.2, 3.2.5.18: the ports of a VGA. */
enum { PORT_3B0 = 0x3b0, N_3B0 = 12, PORT_3C0 = 0x3c0, N_3C0 = 32 };
enum { DISPI_INDEX_PORT = 0x1ce, DISPI_DATA_PORT = 0x1cf };

enum { MISC_COLOUR = 1, MISC_RAM = 2 };
enum { SEQ_MAP_MASK = 2, SEQ_MEMORY = 4, SEQ_SEQUENTIAL = 1 << 2, SEQ_CHAIN4 = 1 << 3 };
enum {
    GFX_SET_RESET,
    GFX_ENABLE_SET_RESET,
    GFX_COMPARE,
    GFX_ROTATE,
    GFX_READ_MAP,
    GFX_MODE,
    GFX_MISC,
    GFX_DONT_CARE,
    GFX_BIT_MASK,
};
enum { GFX_READ_COMPARES = 1 << 3, GFX_ODD_EVEN = 1 << 4, GFX_MISC_GRAPHICS = 1 };
enum { CRTC_OVERFLOW = 7, CRTC_RETRACE_END = 0x11, CRTC_PROTECT = 1 << 7 };

/* Bits that exist. */
static const uint8_t seq_bits[VGA_N_SEQ] = { 0x03, 0x3d, 0x0f, 0x3f, 0x0e };
static const uint8_t gfx_bits[VGA_N_GFX] = { 0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff };
static const uint8_t attr_bits[VGA_N_ATTR] = {
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
    0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f,
};

/* ---- the window ----------------------------------------------------------------------------------- */
/* One access: which doubleword of the memory, which planes of it. */
struct place {
    uint32_t dword;
    uint8_t planes, low; /* low: of the address */
};

static uint64_t vram_size(const struct vga *v)
{
    return (uint64_t)v->vram_mb * MIB;
}

static uint8_t *vram_at(const struct vga *v, uint64_t off)
{
    return mem_region_ram(v->vram)->host + off;
}

/* Graphics miscellaneous register, bits 2 and 3: which part of the window answers. */
static void window_part(const struct vga_regs *r, uint32_t *first, uint32_t *size)
{
    static const uint32_t firsts[] = { 0, 0, 0x10000, 0x18000 };
    static const uint32_t sizes[] = { 0x20000, 0x10000, 0x8000, 0x8000 };
    unsigned part = r->gfx[GFX_MISC] >> 2 & 3;
    *first = firsts[part];
    *size = sizes[part];
}

static uint32_t bank_of(const struct vga_regs *r)
{
    return vga_dispi_on(r) ? (uint32_t)r->dispi[DISPI_BANK] * BANK : 0;
}

static bool place_of(const struct vga *v, uint64_t off, bool write, struct place *out)
{
    const struct vga_regs *r = &v->r;
    uint32_t first, size;
    window_part(r, &first, &size);
    if (!(r->misc & MISC_RAM) || off < first || off - first >= size)
        return false;
    uint32_t at = (uint32_t)off - first + bank_of(r);
    bool pairs = write ? !(r->seq[SEQ_MEMORY] & SEQ_SEQUENTIAL) : r->gfx[GFX_MODE] & GFX_ODD_EVEN;
    out->low = at & 3;
    if (r->seq[SEQ_MEMORY] & SEQ_CHAIN4) {
        out->dword = at >> 2;
        out->planes = (uint8_t)(1 << (at & 3));
    } else if (pairs) {
        out->dword = at >> 1;
        out->planes = at & 1 ? 0xa : 0x5;
    } else {
        out->dword = at;
        out->planes = 0xf;
    }
    return out->dword < vram_size(v) / 4;
}

/* Four bits, one a plane, as four bytes of ones and zeros. */
static uint32_t spread(uint8_t planes)
{
    static const uint32_t table[16] = {
        0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff,
        0x00ffff00, 0x00ffffff, 0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff,
        0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff,
    };
    return table[planes & 15];
}

static uint32_t combine(const struct vga_regs *r, uint32_t value, uint32_t latch)
{
    switch (r->gfx[GFX_ROTATE] >> 3) {
    case 1: return value & latch;
    case 2: return value | latch;
    case 3: return value ^ latch;
    default: return value;
    }
}

static uint8_t rotate(const struct vga_regs *r, uint8_t value)
{
    unsigned n = r->gfx[GFX_ROTATE] & 7;
    return (uint8_t)(value >> n | value << (8 - n));
}

/* What goes to the four planes for a byte from the CPU: graphics mode register, write modes 0 to 3. */
static uint32_t write_value(const struct vga *v, uint8_t value)
{
    const struct vga_regs *r = &v->r;
    uint32_t mask = r->gfx[GFX_BIT_MASK] * 0x01010101u, to, forced;
    switch (r->gfx[GFX_MODE] & 3) {
    case 0:
        forced = spread(r->gfx[GFX_ENABLE_SET_RESET]);
        to = rotate(r, value) * 0x01010101u;
        to = (to & ~forced) | (spread(r->gfx[GFX_SET_RESET]) & forced);
        break;
    case 1: return v->latch;
    case 2: to = spread(value); break;
    default: mask &= rotate(r, value) * 0x01010101u; to = spread(r->gfx[GFX_SET_RESET]);
    }
    return (combine(r, to, v->latch) & mask) | (v->latch & ~mask);
}

static void window_write_byte(struct vga *v, uint64_t off, uint8_t value)
{
    struct place p;
    if (!place_of(v, off, true, &p))
        return;
    uint8_t *at = vram_at(v, 4 * (uint64_t)p.dword);
    uint32_t planes = spread(p.planes & v->r.seq[SEQ_MAP_MASK]);
    uint32_t now = (write_value(v, value) & planes) | ((uint32_t)load_le(at, 4) & ~planes);
    if (!planes)
        return;
    store_le(at, 4, now);
    mem_mark_ram_written(v->dev->vm, mem_region_ram(v->vram), 4 * (uint64_t)p.dword, 4);
}

static uint8_t read_value(const struct vga *v, const struct place *p)
{
    const struct vga_regs *r = &v->r;
    if (r->gfx[GFX_MODE] & GFX_READ_COMPARES) {
        uint32_t differ = (v->latch ^ spread(r->gfx[GFX_COMPARE])) & spread(r->gfx[GFX_DONT_CARE]);
        return (uint8_t) ~(differ | differ >> 8 | differ >> 16 | differ >> 24);
    }
    unsigned plane = r->gfx[GFX_READ_MAP];
    if (r->seq[SEQ_MEMORY] & SEQ_CHAIN4)
        plane = p->low;
    else if (r->gfx[GFX_MODE] & GFX_ODD_EVEN)
        plane = (plane & 2) | (p->low & 1);
    return (uint8_t)(v->latch >> 8 * plane);
}

static uint8_t window_read_byte(struct vga *v, uint64_t off)
{
    struct place p;
    if (!place_of(v, off, false, &p))
        return 0xff;
    v->latch = (uint32_t)load_le(vram_at(v, 4 * (uint64_t)p.dword), 4);
    return read_value(v, &p);
}

static uint64_t window_read(void *opaque, uint64_t off, unsigned size)
{
    struct vga *v = opaque;
    uint64_t value = 0;
    device_lock(v->dev);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)window_read_byte(v, off + i) << 8 * i;
    device_unlock(v->dev);
    return value;
}

static void window_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct vga *v = opaque;
    device_lock(v->dev);
    for (unsigned i = 0; i < size; i++)
        window_write_byte(v, off + i, (uint8_t)(value >> 8 * i));
    device_unlock(v->dev);
}

static const struct mmio_ops window_ops = { window_read, window_write, 1, 8, NULL };

/* Does the window show memory byte by byte, with nothing that an access changes on its way? */
static bool is_linear(const struct vga_regs *r)
{
    if (!(r->misc & MISC_RAM) || !(r->seq[SEQ_MEMORY] & SEQ_CHAIN4) ||
        (r->seq[SEQ_MAP_MASK] & 15) != 15)
        return false;
    return !(r->gfx[GFX_MODE] & (3 | GFX_READ_COMPARES)) && !r->gfx[GFX_ROTATE] &&
           !r->gfx[GFX_ENABLE_SET_RESET] && r->gfx[GFX_BIT_MASK] == 0xff;
}

static void map_linear(struct vga *v, bool linear, uint64_t off, uint32_t first, uint32_t size)
{
    if (linear && v->linear && v->linear_off == off && v->linear_size == size &&
        v->linear_at == WINDOW_AT + first)
        return;
    struct mem_region *before = v->linear;
    v->linear = NULL;
    if (linear) {
        v->linear = mem_add_alias(v->dev->vm, "vga-linear", v->vram, off, size, false);
        v->linear_off = off;
        v->linear_size = size;
        v->linear_at = WINDOW_AT + first;
        mem_map(v->linear, v->linear_at, LINEAR_PRIORITY);
    }
    mem_free_region(before);
}

/* What the window shows: memory at *off, or nothing so simple. Device lock held. */
static bool linear_part(const struct vga *v, uint64_t *off, uint32_t *first, uint32_t *size)
{
    *off = bank_of(&v->r);
    window_part(&v->r, first, size);
    return v->window && is_linear(&v->r) && *off + *size <= vram_size(v);
}

static void follow_once(void *opaque)
{
    struct vga *v = opaque;
    uint64_t off;
    uint32_t first, size;
    device_lock(v->dev);
    bool linear = linear_part(v, &off, &first, &size);
    device_unlock(v->dev);
    map_linear(v, linear, off, first, size);
}

void vga_follow(void *vga)
{
    struct vga *v = vga;
    pci_follow(&v->window_wanted, follow_once, v);
}

/* ---- DISPI ------------------------------------------------------------------------------------------ */
static unsigned bits_of(uint16_t bpp)
{
    static const uint8_t depths[] = { 4, 8, 15, 16, 24, 32 };
    for (size_t i = 0; i < ARRAY_LEN(depths); i++)
        if (bpp == depths[i])
            return bpp;
    return bpp ? 0 : 8; /* 0 is what a driver without the register means */
}

static uint16_t dispi_get(const struct vga *v, unsigned reg)
{
    const uint16_t *d = v->r.dispi;
    bool caps = d[DISPI_ENABLE] & DISPI_GETCAPS;
    switch (reg) {
    case DISPI_XRES: return caps ? HEAD_MAX_SIDE : d[reg];
    case DISPI_YRES: return caps ? HEAD_MAX_SIDE : d[reg];
    case DISPI_BPP: return caps ? 32 : d[reg];
    case DISPI_MEMORY: return (uint16_t)MIN(vram_size(v) / BANK, 0xffff);
    default: return reg < DISPI_N ? d[reg] : 0;
    }
}

/* Bytes of what is shown, or of one plane. */
static uint64_t screen_bytes(const struct vga_regs *r)
{
    unsigned bpp = r->dispi[DISPI_BPP];
    uint64_t line = bpp == 4 ? r->dispi[DISPI_VIRT_WIDTH] / 2u
                             : r->dispi[DISPI_VIRT_WIDTH] * (uint64_t)((bpp + 7) / 8);
    return line * r->dispi[DISPI_YRES];
}

/* The mode begins: one screen from the start of memory, through a window that shows it. */
static void dispi_switch_on(struct vga *v, bool clear)
{
    struct vga_regs *r = &v->r;
    r->dispi[DISPI_VIRT_WIDTH] = r->dispi[DISPI_XRES];
    r->dispi[DISPI_X_OFFSET] = r->dispi[DISPI_Y_OFFSET] = 0;
    vga_dispi_fit(r, vram_size(v));
    r->gfx[GFX_MISC] = (r->gfx[GFX_MISC] & ~0x0c) | 0x04 | GFX_MISC_GRAPHICS;
    r->seq[SEQ_MAP_MASK] = 0x0f;
    r->seq[SEQ_MEMORY] |= SEQ_SEQUENTIAL;
    r->gfx[GFX_MODE] &= ~(3 | GFX_READ_COMPARES | GFX_ODD_EVEN);
    r->gfx[GFX_ROTATE] = r->gfx[GFX_ENABLE_SET_RESET] = 0;
    r->gfx[GFX_BIT_MASK] = 0xff;
    if (r->dispi[DISPI_BPP] == 4)
        r->seq[SEQ_MEMORY] &= ~SEQ_CHAIN4;
    else
        r->seq[SEQ_MEMORY] |= SEQ_CHAIN4;
    uint64_t n = MIN(screen_bytes(r), vram_size(v));
    if (!clear || !n)
        return;
    memset(vram_at(v, 0), 0, n);
    mem_mark_ram_written(v->dev->vm, mem_region_ram(v->vram), 0, n);
}

static void dispi_set(struct vga *v, unsigned reg, uint16_t value)
{
    struct vga_regs *r = &v->r;
    uint16_t *d = r->dispi;
    switch (reg) {
    case DISPI_ID:
        if (value >= DISPI_FIRST_ID && value <= DISPI_LAST_ID)
            d[reg] = value;
        return;
    case DISPI_BPP:
        if (bits_of(value))
            d[reg] = (uint16_t)bits_of(value);
        break;
    case DISPI_ENABLE: {
        bool was_on = vga_dispi_on(r);
        d[reg] = value &
                 (DISPI_ENABLED | DISPI_GETCAPS | DISPI_8BIT_DAC | DISPI_LFB | DISPI_KEEP_MEMORY);
        if (!was_on && vga_dispi_on(r))
            dispi_switch_on(v, !(value & DISPI_KEEP_MEMORY));
        if (!vga_dispi_on(r))
            d[DISPI_BANK] = 0;
        break;
    }
    case DISPI_BANK:
        if (value < vram_size(v) / (d[DISPI_BPP] == 4 ? 4 * BANK : BANK))
            d[reg] = value;
        return;
    case DISPI_XRES:
    case DISPI_YRES:
    case DISPI_VIRT_WIDTH:
    case DISPI_X_OFFSET:
    case DISPI_Y_OFFSET: d[reg] = value; break;
    default: return;
    }
    if (vga_dispi_on(r))
        vga_dispi_fit(r, vram_size(v));
}

uint16_t vga_dispi_read(struct vga *v, unsigned reg)
{
    device_lock(v->dev);
    uint16_t value = dispi_get(v, reg);
    device_unlock(v->dev);
    return value;
}

void vga_dispi_write(struct vga *v, unsigned reg, uint16_t value)
{
    device_lock(v->dev);
    dispi_set(v, reg, value);
    device_unlock(v->dev);
    vga_follow(v);
}

/* ---- VGA's registers, by port - 3c0 ------------------------------------------------------------------ */
/* CRTC, status and feature control are at 3dx or at 3bx, as the miscellaneous output register says. */
static uint8_t dac_read(struct vga *v)
{
    uint8_t value = v->r.dac[3 * v->dac_read_at + v->dac_component];
    if (++v->dac_component == 3) {
        v->dac_component = 0;
        v->dac_read_at++;
    }
    return value;
}

static void dac_write(struct vga *v, uint8_t value)
{
    v->dac_latch[v->dac_component] = value;
    if (++v->dac_component < 3)
        return;
    v->dac_component = 0;
    memcpy(v->r.dac + 3 * v->dac_write_at++, v->dac_latch, 3);
}

static uint8_t status_read(struct vga *v)
{
    v->attr_data_next = 0;
    return vga_retrace(&v->r, vm_now_ns(v->dev->vm));
}

static uint8_t register_read(struct vga *v, unsigned port)
{
    struct vga_regs *r = &v->r;
    switch (port) {
    case 0x00: return r->attr_index;
    case 0x01: return (r->attr_index & 31) < VGA_N_ATTR ? r->attr[r->attr_index & 31] : 0;
    case 0x03: return 1; /* enabled */
    case 0x04: return v->seq_index;
    case 0x05: return v->seq_index < VGA_N_SEQ ? r->seq[v->seq_index] : 0;
    case 0x06: return r->dac_mask;
    case 0x07: return v->dac_reads ? 3 : 0;
    case 0x08: return v->dac_write_at;
    case 0x09: return dac_read(v);
    case 0x0a: return r->feature;
    case 0x0c: return r->misc;
    case 0x0e: return v->gfx_index;
    case 0x0f: return v->gfx_index < VGA_N_GFX ? r->gfx[v->gfx_index] : 0;
    case 0x14: return v->crtc_index;
    case 0x15: return v->crtc_index < VGA_N_CRTC ? r->crtc[v->crtc_index] : 0;
    case 0x02: return 0; /* status 0: no switch is set */
    case 0x1a: return status_read(v);
    default: return 0xff;
    }
}

static void attr_write(struct vga *v, uint8_t value)
{
    struct vga_regs *r = &v->r;
    unsigned i = r->attr_index & 31;
    if (!v->attr_data_next)
        r->attr_index = value & (31 | VGA_ATTR_SCREEN_ON);
    else if (i < VGA_N_ATTR)
        r->attr[i] = value & attr_bits[i];
    v->attr_data_next ^= 1;
}

static void crtc_write(struct vga *v, uint8_t value)
{
    struct vga_regs *r = &v->r;
    unsigned i = v->crtc_index;
    if (i >= VGA_N_CRTC)
        return;
    if (i <= CRTC_OVERFLOW && r->crtc[CRTC_RETRACE_END] & CRTC_PROTECT) {
        if (i == CRTC_OVERFLOW) /* line compare's bit is not protected */
            r->crtc[i] = (r->crtc[i] & ~0x10) | (value & 0x10);
        return;
    }
    r->crtc[i] = value;
}

static void register_write(struct vga *v, unsigned port, uint8_t value)
{
    struct vga_regs *r = &v->r;
    switch (port) {
    case 0x00: attr_write(v, value); break;
    case 0x02: r->misc = value & ~0x10; break;
    case 0x04: v->seq_index = value & 7; break;
    case 0x05:
        if (v->seq_index < VGA_N_SEQ)
            r->seq[v->seq_index] = value & seq_bits[v->seq_index];
        break;
    case 0x06: r->dac_mask = value; break;
    case 0x07:
        v->dac_read_at = value;
        v->dac_component = 0;
        v->dac_reads = 1;
        break;
    case 0x08:
        v->dac_write_at = value;
        v->dac_component = 0;
        v->dac_reads = 0;
        break;
    case 0x09: dac_write(v, value); break;
    case 0x0e: v->gfx_index = value & 15; break;
    case 0x0f:
        if (v->gfx_index < VGA_N_GFX)
            r->gfx[v->gfx_index] = value & gfx_bits[v->gfx_index];
        break;
    case 0x14: v->crtc_index = value & 0x3f; break;
    case 0x15: crtc_write(v, value); break;
    case 0x1a: r->feature = value & 0x0b; break;
    default: break;
    }
}

/* What may move the window. */
static bool moves_window(unsigned port)
{
    return port == 0x02 || port == 0x05 || port == 0x0f;
}

uint64_t vga_port_read(struct vga *v, unsigned port)
{
    device_lock(v->dev);
    uint8_t value = register_read(v, port);
    device_unlock(v->dev);
    return value;
}

void vga_port_write(struct vga *v, unsigned port, uint8_t value)
{
    device_lock(v->dev);
    register_write(v, port, value);
    device_unlock(v->dev);
    if (moves_window(port))
        vga_follow(v);
}

/* ---- ports ------------------------------------------------------------------------------------------ */
/* Of 3bx and 3dx one answers: the kind of monitor is chosen by the miscellaneous output register. */
static bool answers(const struct vga *v, bool colour)
{
    return !(v->r.misc & MISC_COLOUR) == !colour;
}

static uint64_t mono_read(void *opaque, uint64_t off, unsigned size)
{
    return answers(opaque, false) ? vga_port_read(opaque, 0x10 + (unsigned)off) : 0xff;
}

static void mono_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    if (answers(opaque, false))
        vga_port_write(opaque, 0x10 + (unsigned)off, (uint8_t)value);
}

static uint64_t colour_read(void *opaque, uint64_t off, unsigned size)
{
    return off < 0x10 || answers(opaque, true) ? vga_port_read(opaque, (unsigned)off) : 0xff;
}

static void colour_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    if (off < 0x10 || answers(opaque, true))
        vga_port_write(opaque, (unsigned)off, (uint8_t)value);
}

static uint64_t dispi_index_read(void *opaque, uint64_t off, unsigned size)
{
    return ((struct vga *)opaque)->dispi_index;
}

static void dispi_index_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct vga *v = opaque;
    device_lock(v->dev);
    v->dispi_index = (uint16_t)value;
    device_unlock(v->dev);
}

static uint64_t dispi_data_read(void *opaque, uint64_t off, unsigned size)
{
    struct vga *v = opaque;
    return vga_dispi_read(v, v->dispi_index);
}

static void dispi_data_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct vga *v = opaque;
    vga_dispi_write(v, v->dispi_index, (uint16_t)value);
}

static const struct mmio_ops mono_ops = { mono_read, mono_write, 1, 1, NULL };
static const struct mmio_ops colour_ops = { colour_read, colour_write, 1, 1, NULL };
static const struct mmio_ops dispi_index_ops = { dispi_index_read, dispi_index_write, 1, 2, NULL };
static const struct mmio_ops dispi_data_ops = { dispi_data_read, dispi_data_write, 1, 2, NULL };

static const struct {
    const char *name;
    uint16_t at, n;
    const struct mmio_ops *ops;
} port_blocks[] = {
    { "vga-mono", PORT_3B0, N_3B0, &mono_ops },
    { "vga-colour", PORT_3C0, N_3C0, &colour_ops },
    { "dispi-index", DISPI_INDEX_PORT, 2, &dispi_index_ops },
    { "dispi-data", DISPI_DATA_PORT, 2, &dispi_data_ops }, /* over the other's second port */
};
_Static_assert(ARRAY_LEN(port_blocks) == ARRAY_LEN(((struct vga *)0)->ports), "one each");

static struct error *take_legacy(struct vga *v)
{
    struct vm *vm = v->dev->vm;
    if (mem_view_find(mem_ports_now(vm), PORT_3C0))
        return error_new(
            "this machine has a VGA already; secondary-vga and bochs-display can be added");
    for (size_t i = 0; i < ARRAY_LEN(port_blocks); i++) {
        v->ports[i] =
            mem_add_mmio(vm, port_blocks[i].name, port_blocks[i].n, port_blocks[i].ops, v);
        mem_map_ports(v->ports[i], port_blocks[i].at, (int)i);
    }
    v->window = mem_add_mmio(vm, "vga-window", WINDOW_SIZE, &window_ops, v);
    mem_map(v->window, WINDOW_AT, WINDOW_PRIORITY);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------------- */
struct error *vga_init(struct vga *v, struct device *dev, const struct head_ops *ops,
                       bool has_planes, bool legacy)
{
    uint64_t size = MIB;
    v->dev = dev;
    v->has_planes = has_planes;
    while (size < vram_size(v))
        size *= 2;
    v->vram_mb = (uint32_t)(size / MIB);
    struct error *err = mem_add_ram(dev->vm, dev->path, size, false, &v->vram);
    if (!err && legacy)
        err = take_legacy(v);
    if (err) {
        vga_exit(v);
        return err;
    }
    v->log = dirty_log_new(dev->vm, mem_region_ram(v->vram), 0, size);
    v->dirty = xcalloc(dirty_log_words(v->log), sizeof(*v->dirty));
    v->owns_head = ops;
    if (ops)
        v->head = head_new(dev, 0, ops);
    vm_on_reset(dev->vm, vga_follow, v);
    return NULL;
}

void vga_exit(struct vga *v)
{
    vm_forget(v->dev->vm, v);
    if (v->owns_head)
        head_free(v->head);
    dirty_log_free(v->log);
    vga_picture_free(v);
    free(v->dirty);
    for (size_t i = 0; i < ARRAY_LEN(v->ports); i++)
        mem_free_region(v->ports[i]);
    mem_free_region(v->linear);
    mem_free_region(v->window);
    mem_free_region(v->vram);
    v->head = NULL;
    v->log = NULL;
    v->dirty = NULL;
    memset(v->ports, 0, sizeof(v->ports));
    v->linear = v->window = v->vram = NULL;
}

void vga_reset(struct vga *v)
{
    v->r = (struct vga_regs){ .dac_mask = 0xff };
    v->r.dispi[DISPI_ID] = DISPI_LAST_ID;
    v->r.dispi[DISPI_BPP] = 8;
    v->seq_index = v->gfx_index = v->crtc_index = v->attr_data_next = 0;
    v->dac_read_at = v->dac_write_at = v->dac_component = v->dac_reads = 0;
    memset(v->dac_latch, 0, sizeof(v->dac_latch));
    v->dispi_index = 0;
    v->latch = 0;
}

/* What a stream says is brought into the bounds that register writes keep. */
void vga_loaded(struct vga *v)
{
    struct vga_regs *r = &v->r;
    for (unsigned i = 0; i < VGA_N_SEQ; i++)
        r->seq[i] &= seq_bits[i];
    for (unsigned i = 0; i < VGA_N_GFX; i++)
        r->gfx[i] &= gfx_bits[i];
    for (unsigned i = 0; i < VGA_N_ATTR; i++)
        r->attr[i] &= attr_bits[i];
    if (!bits_of(r->dispi[DISPI_BPP]))
        r->dispi[DISPI_BPP] = 8;
    if (vga_dispi_on(r))
        vga_dispi_fit(r, vram_size(v));
    vga_picture_free(v);
    uint64_t off;
    uint32_t first, size;
    bool linear = linear_part(v, &off, &first, &size);
    map_linear(v, linear, off, first, size);
}

static const struct field regs_fields[] = {
    FIELD(struct vga_regs, misc),
    FIELD(struct vga_regs, feature),
    FIELD(struct vga_regs, attr_index, .valid = 31 | VGA_ATTR_SCREEN_ON),
    FIELD(struct vga_regs, dac_mask),
    FIELD(struct vga_regs, big_endian, .max = 1),
    FIELD_ARRAY(struct vga_regs, seq),
    FIELD_ARRAY(struct vga_regs, gfx),
    FIELD_ARRAY(struct vga_regs, crtc),
    FIELD_ARRAY(struct vga_regs, attr),
    FIELD_RAW(struct vga_regs, dac),
    FIELD_ARRAY(struct vga_regs, dispi),
};
const struct field vga_fields[] = {
    FIELD_SUB(struct vga, r, regs_fields, 1),
    FIELD(struct vga, seq_index, .max = 7),
    FIELD(struct vga, gfx_index, .max = 15),
    FIELD(struct vga, crtc_index, .max = 0x3f),
    FIELD(struct vga, attr_data_next, .max = 1),
    FIELD(struct vga, dac_read_at),
    FIELD(struct vga, dac_write_at),
    FIELD(struct vga, dac_component, .max = 2),
    FIELD(struct vga, dac_reads, .max = 1),
    FIELD_RAW(struct vga, dac_latch),
    FIELD(struct vga, dispi_index),
    FIELD(struct vga, latch),
    DERIVED(struct vga, linear_off),
    DERIVED(struct vga, linear_size),
    DERIVED(struct vga, linear_at),
    DERIVED(struct vga, window_wanted),
    DERIVED(struct vga, owns_head),
};
_Static_assert(ARRAY_LEN(vga_fields) == N_VGA_FIELDS, "as the header says");
