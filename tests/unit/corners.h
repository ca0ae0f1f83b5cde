/* Numbers at which operations tend to be wrong, for those that draw operands at random. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The numbers as bits; floating-point ones without their sign. */
struct corners {
    const uint64_t *at;
    size_t n;
};
extern const struct corners corner_ints, corner_f64s, corner_f32s;
