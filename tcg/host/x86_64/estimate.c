/* Estimates as the host's own instructions give them: makers differ. */
#include "tcg/vec.h"

#include <immintrin.h>

uint32_t vec_rcp_f32(uint32_t x)
{
    __m128i v = _mm_cvtsi32_si128((int)x);
    return (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(_mm_rcp_ss(_mm_castsi128_ps(v))));
}

uint32_t vec_rsqrt_f32(uint32_t x)
{
    __m128i v = _mm_cvtsi32_si128((int)x);
    return (uint32_t)_mm_cvtsi128_si32(_mm_castps_si128(_mm_rsqrt_ss(_mm_castsi128_ps(v))));
}
