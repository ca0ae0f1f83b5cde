/* What the bridges to ISA share: lines of PCI that several interrupts can be chosen for. */
#include "hw/pci/isa_bridge.h"

#include "core/error.h"

enum { ROUTE_OFF = 0x80, ROUTE_IRQ = 0x0f };
/* 0, 1, 2, 8 and 13 are the board's own (82801I data sheet, 13.1.17; 82371SB, 2.2.8). */
enum { ROUTABLE = 0xffff & ~(1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 13) };

void isa_route_drive(struct isa_route *r, uint32_t wanted)
{
    uint32_t changed = wanted ^ r->driven;
    r->driven = wanted;
    for (unsigned n = 0; n < ISA_BRIDGE_N_GSIS; n++)
        if (changed >> n & 1)
            irq_set(&r->out[n], wanted >> n & 1);
}

uint32_t isa_route_bit(uint8_t reg)
{
    return reg & ROUTE_OFF ? 0 : UINT32_C(1) << (reg & ROUTE_IRQ) & ROUTABLE;
}

void isa_bridge_map(struct mem_region *r, uint32_t at, uint32_t *mapped_at)
{
    if (at == *mapped_at)
        return;
    *mapped_at = at;
    if (at)
        mem_map_ports(r, (uint16_t)at, 0);
    else
        mem_unmap(r);
}

static void pirq_set(void *opaque, unsigned n, bool level)
{
    struct isa_bridge *b = opaque;
    device_lock(&b->dev);
    b->route.levels = (b->route.levels & ~(1u << n)) | (uint32_t)level << n;
    b->update(b);
    device_unlock(&b->dev);
}

struct irq isa_bridge_pirq(struct device *dev, unsigned n)
{
    return (struct irq){ pirq_set, dev, n };
}

struct irq *isa_bridge_output(struct device *dev, unsigned gsi)
{
    return &((struct isa_bridge *)dev)->route.out[gsi];
}
