/* Random loops of x86-64 code that walk through the data of the real CPU's world (x86_native.h), for what the translator does
 * with such loops: pointers of even and uneven steps, reads and writes of all sizes before and behind the step, indexes,
 * SSE and AVX, branches, accesses that leave the data in some turn. */
#pragma once

#include "tests/unit/x86_native.h"

enum { X86_WALK_MAX = 256 };
/* The code for w->rip, and the registers that it begins with; the number of bytes. The code ends behind itself. */
size_t x86_walk_code(uint64_t seed, struct x86_world *w, uint8_t code[X86_WALK_MAX]);
