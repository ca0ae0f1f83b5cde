/* The registers of a CPU as debuggers number and name them: target/<isa>/gdb.c has a table for each kind. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

enum { DEBUG_REG_BYTES = 64 }; /* the largest */

struct debug_reg {
    const char *name;
    const char *feature; /* of the target description that it stands in; the same in a row of registers */
    const char *type;    /* a type of gdb's, or of the feature; NULL: an integer */
    const char *group;   /* "general", "float", "vector", "system"; NULL: by type */
    uint16_t bits;
    uint16_t index; /* the target's own */
    uint32_t what;
};

/* The registers of one CPU, numbered from 0. */
struct debug_regs {
    const struct debug_reg *at;
    unsigned n, n_common; /* the first of them are read at each stop */
    unsigned pc, sp;      /* numbers of the program counter and the stack pointer */
};

struct target_debug {
    const char *(*architecture)(struct vcpu *cpu); /* gdb's name */
    struct debug_regs (*regs)(struct vcpu *cpu); /* any thread */
    /* Types that `feature` defines, in XML; "" for none. */
    const char *(*types)(const char *feature);
    /* bits / 8 bytes, little-endian. False: it has no value now, or does not take this one. vCPU stopped. */
    bool (*read)(struct vcpu *cpu, const struct debug_reg *r, uint8_t *to);
    bool (*write)(struct vcpu *cpu, const struct debug_reg *r, const uint8_t *from);
    bool watches_before; /* the architecture's watchpoints stop before the access: gdb then does it itself */
};
