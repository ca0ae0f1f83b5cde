/* Estimates on hosts that have none: the exact value cut to 12 bits of significand. */
#include "tcg/vec.h"

static uint32_t cut(uint32_t v)
{
    uint32_t magnitude = v & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return v;
    return magnitude < 0x800000 ? v & 0x80000000 : v & 0xfffff800;
}

uint32_t vec_rcp_f32(uint32_t x)
{
    struct sf_ctx ctx = { .nan_rule = SF_NAN_SSE, .flush_inputs = true };
    return cut((uint32_t)sf_div(&ctx, SF_F32, 0x3f800000, x));
}

uint32_t vec_rsqrt_f32(uint32_t x)
{
    struct sf_ctx ctx = { .nan_rule = SF_NAN_SSE, .flush_inputs = true };
    return vec_rcp_f32((uint32_t)sf_sqrt(&ctx, SF_F32, x));
}
