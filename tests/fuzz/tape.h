/* The bytes a fuzz target is given, read from front to back; zeros behind the end. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct tape {
    const uint8_t *at;
    size_t n;
};

static inline size_t tape_left(const struct tape *t)
{
    return t->n;
}

static inline uint8_t tape_u8(struct tape *t)
{
    if (!t->n)
        return 0;
    t->n--;
    return *t->at++;
}

static inline uint16_t tape_u16(struct tape *t)
{
    uint16_t low = tape_u8(t);
    return low | tape_u8(t) << 8;
}

static inline uint32_t tape_u32(struct tape *t)
{
    uint32_t low = tape_u16(t);
    return low | (uint32_t)tape_u16(t) << 16;
}

static inline uint64_t tape_u64(struct tape *t)
{
    uint64_t low = tape_u32(t);
    return low | (uint64_t)tape_u32(t) << 32;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
