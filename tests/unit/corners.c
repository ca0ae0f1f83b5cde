#include "tests/unit/corners.h"

#include "core/util.h"

/* Shift counts, sizes, signs. */
static const uint64_t ints[] = {
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    255,
    256,
    0x7fff,
    0x8000,
    0xffff,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    0x100000000,
    0x123456789abcdef,
    0x5555555555555555,
    0x7fffffffffffffff,
    0x8000000000000000,
    0xffffffff7fffffff,
    0xffffffff80000000,
    0xfffffffffffff000,
    0xffffffffffffff80,
    0xfffffffffffffff8,
    0xfffffffffffffffe,
    0xffffffffffffffff,
};

/* Zero, subnormal and least normal numbers, powers of two, the ends of integers and of narrower formats, infinities, quiet and
 * signalling NaNs. */
static const uint64_t f64s[] = {
    0,
    1,
    0x8000000000000,
    0xfffffffffffff,
    0x10000000000000,
    0x10000000000001,
    0x1ff0000000000000,
    0x2000000000000000,
    0x3690000000000000,
    0x36a0000000000000,
    0x380fffffe0000000,
    0x3810000000000000,
    0x3ca0000000000000,
    0x3fe0000000000000,
    0x3ff0000000000000,
    0x3ff8000000000000,
    0x41dfffffffc00000,
    0x41e0000000000000,
    0x41e0000000100000,
    0x41efffffffe00000,
    0x41f0000000000000,
    0x4330000000000001,
    0x4340000000000001,
    0x43dfffffffffffff,
    0x43e0000000000000,
    0x43f0000000000000,
    0x47efffffe0000000,
    0x47effffff0000000,
    0x7fefffffffffffff,
    0x7ff0000000000000,
    0x7ff0000000000001,
    0x7ff8000000000000,
    0x7ff8000000000001,
    0x7ff8000000000123,
};
static const uint64_t f32s[] = {
    0,          1,          0x400000,   0x7fffff,   0x800000,   0x800001,   0xffffff,   0x1f800000,
    0x20000000, 0x33000000, 0x33800000, 0x387fc000, 0x38800000, 0x3f000000, 0x3f7fffff, 0x3f800000,
    0x3fc00000, 0x40000000, 0x477fe000, 0x477ff000, 0x4b000001, 0x4b800000, 0x4effffff, 0x4f000000,
    0x4f7fffff, 0x4f800000, 0x5effffff, 0x5f000000, 0x5f7fffff, 0x5f800000, 0x7f7fffff, 0x7f800000,
    0x7f800001, 0x7fbfffff, 0x7fc00000, 0x7fc00001, 0x7fc00123,
};

const struct corners corner_ints = { ints, ARRAY_LEN(ints) };
const struct corners corner_f64s = { f64s, ARRAY_LEN(f64s) };
const struct corners corner_f32s = { f32s, ARRAY_LEN(f32s) };
