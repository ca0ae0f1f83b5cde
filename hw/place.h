/* Board devices live at a fixed address, which the board gives as property "addr"; a device without
 * one is left for its creator to map. */
#pragma once

#include "core/device.h"

#define ADDR_PROP(type)                                                                            \
    PROP(type, addr, "addr", PROP_UINT, .def = "0xffffffffffffffff",                               \
         .help = "guest physical address")

static inline void place_region(struct mem_region *r, gpa addr)
{
    if (addr != UINT64_MAX)
        mem_map(r, addr, 0);
}
