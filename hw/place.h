/* Board devices live at a fixed address, which the board gives as property "addr"; a device without
 * one is left for its creator to map. */
#pragma once

#include "core/device.h"

#define ADDR_PROP(type)                                                                            \
    PROP(type, addr, "addr", PROP_UINT, .def = "0xffffffffffffffff",                               \
         .help = "guest physical address")

/* The same for blocks of x86's I/O ports, each by a uint32_t property of its own. */
enum { NO_PORT = MEM_N_PORTS };
#define PORT_PROP(type, member, name_)                                                             \
    PROP(type, member, name_, PROP_UINT, .def = "0x10000", .max = NO_PORT, .help = "first I/O port")

static inline void place_ports(struct mem_region *r, uint32_t port)
{
    if (port < NO_PORT)
        mem_map_ports(r, (uint16_t)port, 0);
}

static inline void place_region(struct mem_region *r, gpa addr)
{
    if (addr != UINT64_MAX)
        mem_map(r, addr, 0);
}
