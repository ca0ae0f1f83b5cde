/* MMX, SSE, AVX; see helpers.h. */
