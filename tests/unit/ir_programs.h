/* Random guest programs for the translator's back ends, and what they run on: a guest of its own with registers, memory
 * and helpers that write down what they see. A program is a list of steps; each step draws all that it needs from a seed of
 * its own, so that leaving steps out gives a program again. */
#pragma once

#include "tcg/tcg.h"

enum { N_X = 24, N_F = 16, N_V = 12, N_UNITS = 6, N_STEPS = 260, N_MODES_USED = 2, N_HELPERS = 16 };

#define RAM       ((uint64_t)0x80000000)
#define CODE      (RAM + 0x10000)
#define UNIT_STEP 0x400 /* units 0..3 in one page, 4 and 5 in the next */
#define STOP      (CODE + 0x1c00)
#define DATA      (RAM + 0x20000)
#define DATA_SIZE 0x4000
#define DEVICE    ((uint64_t)0x10000000)

struct guest {
    uint64_t x[N_X], f[N_F], pc;
    _Alignas(16) uint64_t v[N_V][2];
    uint32_t flags;
    uint8_t fp_flags, rm;
    bool sse; /* test_sse_target: NaNs as SSE has them, and no scalar floating point */
    uint32_t n_traps;
    uint64_t trace;       /* of everything that helpers, devices and traps saw */
    uint64_t count_trace; /* of instruction counts */
};

extern const struct ir_slot slots[N_X + N_F + N_V];
extern const struct ir_helper *const helpers[N_HELPERS];

struct step {
    uint64_t seed;
    uint8_t kind;
    bool dropped;
};

struct program {
    uint64_t seed;
    struct guest start;
    uint8_t data[DATA_SIZE];
    unsigned n_steps[N_UNITS];
    struct step steps[N_UNITS][N_STEPS];
};

struct guest *guest_of(struct vcpu *cpu);
void mix(uint64_t *hash, uint64_t v);
/* A trap goes on with the next unit, a few times. */
void trap(struct guest *g);

void make_program(struct program *p, uint64_t seed);
/* The first guest block was begun, at `at`. What an address does is the same whichever unit it is
 * reached through: entered in its middle a unit starts with a jump there. */
void build_unit(struct ir *ir, const struct program *p, uint64_t at);
