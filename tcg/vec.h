/* What vector operations of the IR compute (tcg/vec_ops.h), in C. */
#pragma once

#include "tcg/ir.h"
#include "tcg/softfloat.h"

/* A V128 value; lane 0 is the lowest. Hosts are little-endian. */
union v128 {
    uint8_t u8[16];
    uint16_t u16[8];
    uint32_t u32[4];
    uint64_t u64[2];
    int8_t s8[16];
    int16_t s16[8];
    int32_t s32[4];
    int64_t s64[2];
};

/* *r = the operation on a, b, c (unused ones may be anything readable); scalars are in lane 0. r may be an
 * operand. Flags are added to env->flags. */
typedef void vec_fn(struct sf_ctx *env, union v128 *r, const union v128 *a, const union v128 *b,
                    const union v128 *c, unsigned n);
extern vec_fn *const vec_fns[N_IR_VECS];

/* Of two halves' integers the one of both. */
uint64_t vec_join_integers(enum ir_vec vec, uint64_t low, uint64_t high);

/* Estimates of 1/x and 1/sqrt(x), good to 11 bits: as the host gives them (a file for each kind of host). */
uint32_t vec_rcp_f32(uint32_t x);
uint32_t vec_rsqrt_f32(uint32_t x);
