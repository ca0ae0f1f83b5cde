/* For devices that a user may plug in and that answer at I/O ports: is this a machine that has any? */
#pragma once

#include "core/device.h"
#include "core/error.h"
#include "core/vcpu.h"
#include "core/vm.h"

/* NULL, or the error that realize returns. */
static inline struct error *isa_check(const struct device *dev)
{
    if (dev->vm->target->has_ports)
        return NULL;
    return error_new("it needs I/O ports, which %s machines do not have", dev->vm->target->name);
}
