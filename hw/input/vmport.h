/* VMware's port to the hypervisor, as class "vmport": a 32-bit access to it is a call whose command, arguments and
 * results are in the accessing CPU's registers. Calls: version, size of memory, and a pointer ("vmmouse") that
 * shows absolute positions; its interrupts are the PS/2 mouse's. Facts: BDOOR_CMD_* of VMware's published
 * backdoor_def.h and vmmouse_defs.h. */
#pragma once

#include "core/device.h"
#include "hw/input/input.h"

enum vmport_register {
    VMPORT_EAX,
    VMPORT_EBX,
    VMPORT_ECX,
    VMPORT_EDX,
    VMPORT_ESI,
    VMPORT_EDI,
    VMPORT_N_REGISTERS
};
/* Registers of the CPU whose access the device is answering; on its thread, no lock held. Setting
 * leaves alone those that have the value already, and clears the upper halves of others. False: no CPU is. */
struct vmport_cpu {
    bool (*get)(struct vm *vm, uint32_t r[VMPORT_N_REGISTERS]);
    void (*set)(struct vm *vm, const uint32_t r[VMPORT_N_REGISTERS]);
};
/* By the board, at once. `kbc` is the "i8042" with the mouse; NULL: there is none, and so no pointer. */
void vmport_attach(struct device *dev, const struct vmport_cpu *cpu, uint64_t ram_size,
                   struct device *kbc);

/* For hw/input/input.c; main loop's thread. Has the guest's driver taken the pointer over, and then: as what? */
bool vmport_has_pointer(struct device *dev, enum input_kind *kind);
bool vmport_send_event(struct device *dev, const struct input_event *events, size_t n);
