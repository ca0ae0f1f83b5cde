/* An assembler for the part of x86-64 that the back end emits. Encodings: Intel SDM volume 2. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NOREG = -1 };
enum cc_x86 { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_GE,
              CC_LE, CC_G };

/* Where code goes. */
struct buf {
    uint8_t *p, *end;
    bool full;
    bool vex; /* vector registers are moved by VEX forms: others are slow where upper halves are in use */
};

static inline void put8(struct buf *b, uint8_t v)
{
    if (b->p == b->end)
        b->full = true;
    else
        *b->p++ = v;
}

static inline void put_bytes(struct buf *b, const void *v, size_t n)
{
    if ((size_t)(b->end - b->p) < n) {
        b->full = true;
        return;
    }
    memcpy(b->p, v, n);
    b->p += n;
}

static inline void put32(struct buf *b, uint32_t v)
{
    put_bytes(b, &v, 4);
}

static inline void put64(struct buf *b, uint64_t v)
{
    put_bytes(b, &v, 8);
}

/* The place for one instruction; its writer says by end_insn where it ends. What finds no room is written over what is
 * there, as the code is thrown away; so a buffer begins with room for a few. */
enum { INSN_MAX = 16, BUF_LEAST = 4 * INSN_MAX };
static inline uint8_t *begin_insn(struct buf *b)
{
    if (b->end - b->p < INSN_MAX) {
        b->full = true;
        b->p -= INSN_MAX;
    }
    return b->p;
}

static inline void end_insn(struct buf *b, uint8_t *p)
{
    b->p = p;
}

static inline uint8_t *at32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, 4);
    return p + 4;
}

/* A memory operand: [base + index << scale + disp]; index NOREG for none. */
struct mem {
    int8_t base, index;
    uint8_t scale;
    int32_t disp;
};
#define MEM(base_, disp_)                   ((struct mem){ (base_), NOREG, 0, (disp_) })
#define MEMX(base_, index_, scale_, disp_) ((struct mem){ (base_), (index_), (scale_), (disp_) })

/* ModRM (+SIB, displacement) for a register field and a memory operand. */
static inline uint8_t *at_modrm_mem(uint8_t *p, unsigned reg, struct mem m)
{
    unsigned mod = m.disp == 0 && (m.base & 7) != RBP ? 0 : m.disp == (int8_t)m.disp ? 1 : 2;
    if (m.index == NOREG && (m.base & 7) != RSP) {
        *p++ = mod << 6 | (reg & 7) << 3 | (m.base & 7);
    } else {
        *p++ = mod << 6 | (reg & 7) << 3 | 4;
        *p++ = m.scale << 6 | (m.index == NOREG ? 4 : m.index & 7) << 3 | (m.base & 7);
    }
    if (mod == 2)
        return at32(p, (uint32_t)m.disp);
    *p = (uint8_t)m.disp;
    return p + mod;
}

/* Opcode: up to three bytes, 0x0fXX or 0x0f38XX as written. */
static inline uint8_t *at_opcode(uint8_t *p, uint32_t op)
{
    if (op > 0xffff)
        *p++ = op >> 16;
    if (op > 0xff)
        *p++ = op >> 8;
    *p++ = op;
    return p;
}

/* prefix: 0, 0x66, 0xf2, 0xf3. w: 64-bit. byte_regs: force REX so that 4..7 mean spl..dil. */
static inline void op_rr_full(struct buf *b, uint8_t prefix, bool w, bool byte_regs, uint32_t op,
                              unsigned reg, unsigned rm)
{
    uint8_t *p = begin_insn(b), rex = w << 3 | (reg >> 3) << 2 | rm >> 3;
    if (prefix)
        *p++ = prefix;
    if (rex || (byte_regs && (reg >= 4 || rm >= 4)))
        *p++ = 0x40 | rex;
    p = at_opcode(p, op);
    *p++ = 0xc0 | (reg & 7) << 3 | (rm & 7);
    end_insn(b, p);
}

static inline void op_rm_full(struct buf *b, uint8_t prefix, bool w, bool byte_regs, uint32_t op,
                              unsigned reg, struct mem m)
{
    uint8_t *p = begin_insn(b);
    uint8_t rex = w << 3 | (reg >> 3) << 2 | (m.index == NOREG ? 0 : m.index >> 3) << 1 | m.base >> 3;
    if (prefix)
        *p++ = prefix;
    if (rex || (byte_regs && reg >= 4))
        *p++ = 0x40 | rex;
    end_insn(b, at_modrm_mem(at_opcode(p, op), reg, m));
}

static inline void op_rr(struct buf *b, bool w, uint32_t op, unsigned reg, unsigned rm)
{
    op_rr_full(b, 0, w, false, op, reg, rm);
}

static inline void op_rm(struct buf *b, bool w, uint32_t op, unsigned reg, struct mem m)
{
    op_rm_full(b, 0, w, false, op, reg, m);
}

/* VEX-encoded three-operand instruction: reg = op(v, rm). pp: 0 none, 1 66, 2 f3, 3 f2, and VEX_256 for all of the
 * registers. map: 1 0f, 2 0f38, 3 0f3a. */
enum { VEX_256 = 4 };
static inline void vex_rr(struct buf *b, unsigned pp, unsigned map, bool w, uint8_t op, unsigned reg,
                          unsigned v, unsigned rm)
{
    uint8_t *p = begin_insn(b);
    if (rm < 8 && map == 1 && !w) {
        *p++ = 0xc5;
        *p++ = (reg < 8) << 7 | (~v & 15) << 3 | pp;
    } else {
        *p++ = 0xc4;
        *p++ = (reg < 8) << 7 | 1 << 6 | (rm < 8) << 5 | map;
        *p++ = w << 7 | (~v & 15) << 3 | pp;
    }
    *p++ = op;
    *p++ = 0xc0 | (reg & 7) << 3 | (rm & 7);
    end_insn(b, p);
}

/* dst = src rotated right by n; leaves the flags alone. BMI2. */
static inline void rorx(struct buf *b, bool w, unsigned dst, unsigned src, unsigned n)
{
    vex_rr(b, 3, 3, w, 0xf0, dst, 0, src);
    put8(b, (uint8_t)n);
}

static inline void vex_rm(struct buf *b, unsigned pp, unsigned map, bool w, uint8_t op, unsigned reg,
                          unsigned v, struct mem m)
{
    uint8_t *p = begin_insn(b);
    bool x = m.index != NOREG && m.index >= 8;
    if (m.base < 8 && !x && map == 1 && !w) {
        *p++ = 0xc5;
        *p++ = (reg < 8) << 7 | (~v & 15) << 3 | pp;
    } else {
        *p++ = 0xc4;
        *p++ = (reg < 8) << 7 | !x << 6 | (m.base < 8) << 5 | map;
        *p++ = w << 7 | (~v & 15) << 3 | pp;
    }
    *p++ = op;
    end_insn(b, at_modrm_mem(p, reg, m));
}

/* ALU operations by their digit. */
enum alu { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR, ALU_CMP };

static inline void alu_rr(struct buf *b, bool w, enum alu op, unsigned dst, unsigned src)
{
    op_rr(b, w, op << 3 | 3, dst, src);
}

static inline void alu_rm(struct buf *b, bool w, enum alu op, unsigned dst, struct mem m)
{
    op_rm(b, w, op << 3 | 3, dst, m);
}

static inline void alu_ri(struct buf *b, bool w, enum alu op, unsigned dst, int32_t imm)
{
    if (imm == (int8_t)imm) {
        op_rr(b, w, 0x83, op, dst);
        put8(b, (uint8_t)imm);
    } else {
        op_rr(b, w, 0x81, op, dst);
        put32(b, (uint32_t)imm);
    }
}

static inline void alu_mi(struct buf *b, bool w, enum alu op, struct mem m, int32_t imm)
{
    if (imm == (int8_t)imm) {
        op_rm(b, w, 0x83, op, m);
        put8(b, (uint8_t)imm);
    } else {
        op_rm(b, w, 0x81, op, m);
        put32(b, (uint32_t)imm);
    }
}

/* A 32-bit move to itself clears the high half, so only the 64-bit one is dropped. */
static inline void mov_rr(struct buf *b, bool w, unsigned dst, unsigned src)
{
    if (dst != src || !w)
        op_rr(b, w, 0x8b, dst, src);
}

static inline void mov_rm(struct buf *b, bool w, unsigned dst, struct mem m)
{
    op_rm(b, w, 0x8b, dst, m);
}

static inline void mov_mr(struct buf *b, bool w, struct mem m, unsigned src)
{
    op_rm(b, w, 0x89, src, m);
}

/* Does not touch the flags. */
static inline void mov_ri(struct buf *b, unsigned dst, int64_t imm)
{
    if (imm == (uint32_t)imm) {
        if (dst >= 8)
            put8(b, 0x41);
        put8(b, 0xb8 | (dst & 7));
        put32(b, (uint32_t)imm);
    } else if (imm == (int32_t)imm) {
        op_rr(b, true, 0xc7, 0, dst);
        put32(b, (uint32_t)imm);
    } else {
        put8(b, 0x48 | dst >> 3);
        put8(b, 0xb8 | (dst & 7));
        put64(b, (uint64_t)imm);
    }
}

static inline void mov_mi(struct buf *b, bool w, struct mem m, int32_t imm)
{
    op_rm(b, w, 0xc7, 0, m);
    put32(b, (uint32_t)imm);
}

static inline void lea(struct buf *b, bool w, unsigned dst, struct mem m)
{
    op_rm(b, w, 0x8d, dst, m);
}

/* Shifts by their digit. */
enum shift { SHIFT_ROL = 0, SHIFT_ROR = 1, SHIFT_SHL = 4, SHIFT_SHR = 5, SHIFT_SAR = 7 };
static inline void shift_ri(struct buf *b, bool w, enum shift digit, unsigned dst, uint8_t n)
{
    op_rr(b, w, 0xc1, digit, dst);
    put8(b, n);
}

static inline void shift_cl(struct buf *b, bool w, enum shift digit, unsigned dst)
{
    op_rr(b, w, 0xd3, digit, dst);
}

static inline void test_rr(struct buf *b, bool w, unsigned x, unsigned y)
{
    op_rr(b, w, 0x85, y, x);
}

static inline void setcc(struct buf *b, enum cc_x86 cc, unsigned dst)
{
    op_rr_full(b, 0, false, true, 0x0f90 | cc, 0, dst);
}

/* Jumps with a 32-bit displacement; the return value is where it stands, for patch_to. */
static inline uint8_t *jcc32(struct buf *b, enum cc_x86 cc)
{
    uint8_t *p = begin_insn(b);
    *p++ = 0x0f;
    *p++ = 0x80 | cc;
    end_insn(b, at32(p, 0));
    return b->p - 4;
}

static inline uint8_t *jmp32(struct buf *b)
{
    uint8_t *p = begin_insn(b);
    *p++ = 0xe9;
    end_insn(b, at32(p, 0));
    return b->p - 4;
}

static inline uint8_t *call32(struct buf *b)
{
    uint8_t *p = begin_insn(b);
    *p++ = 0xe8;
    end_insn(b, at32(p, 0));
    return b->p - 4;
}

static inline void patch_to(uint8_t *at, const uint8_t *to)
{
    int32_t rel = (int32_t)(to - (at + 4));
    memcpy(at, &rel, 4);
}

static inline void jmp_reg(struct buf *b, unsigned r)
{
    op_rr(b, false, 0xff, 4, r);
}

static inline void jmp_mem(struct buf *b, struct mem m)
{
    op_rm(b, false, 0xff, 4, m);
}

static inline void call_mem(struct buf *b, struct mem m)
{
    op_rm(b, false, 0xff, 2, m);
}

static inline void push_r(struct buf *b, unsigned r)
{
    if (r >= 8)
        put8(b, 0x41);
    put8(b, 0x50 | (r & 7));
}

static inline void pop_r(struct buf *b, unsigned r)
{
    if (r >= 8)
        put8(b, 0x41);
    put8(b, 0x58 | (r & 7));
}

/* Scalar SSE: prefix f2 for double, f3 for single, 0 and 66 for packed; op is the byte behind 0f. */
static inline void sse_rr(struct buf *b, uint8_t prefix, uint8_t op, unsigned dst, unsigned src)
{
    op_rr_full(b, prefix, false, false, 0x0f00 | op, dst, src);
}

static inline void sse_rm(struct buf *b, uint8_t prefix, uint8_t op, unsigned dst, struct mem m)
{
    op_rm_full(b, prefix, false, false, 0x0f00 | op, dst, m);
}

/* A prefix as VEX has it. */
static inline unsigned vex_prefix(uint8_t prefix)
{
    return prefix == 0x66 ? 1 : prefix == 0xf3 ? 2 : prefix == 0xf2 ? 3 : 0;
}

/* Moves to and from memory, which have no third operand. */
static inline void move_rm(struct buf *b, uint8_t prefix, uint8_t op, unsigned x, struct mem m)
{
    if (b->vex)
        vex_rm(b, vex_prefix(prefix), 1, false, op, x, 0, m);
    else
        sse_rm(b, prefix, op, x, m);
}

static inline void movs_xm(struct buf *b, bool dbl, unsigned x, struct mem m)
{
    move_rm(b, dbl ? 0xf2 : 0xf3, 0x10, x, m);
}

static inline void movs_mx(struct buf *b, bool dbl, struct mem m, unsigned x)
{
    move_rm(b, dbl ? 0xf2 : 0xf3, 0x11, x, m);
}

static inline void movaps(struct buf *b, unsigned dst, unsigned src)
{
    if (dst != src && b->vex)
        vex_rr(b, 0, 1, false, 0x28, dst, 0, src);
    else if (dst != src)
        sse_rr(b, 0, 0x28, dst, src);
}

/* All 32 bytes of a register. */
static inline void move_ymm(struct buf *b, unsigned dst, unsigned src)
{
    if (dst != src)
        vex_rr(b, VEX_256, 1, false, 0x28, dst, 0, src); /* vmovaps */
}

static inline void move_ymm_rm(struct buf *b, unsigned x, struct mem m, bool store)
{
    vex_rm(b, VEX_256, 1, false, store ? 0x11 : 0x10, x, 0, m); /* vmovups */
}

/* Upper halves: d = 16 bytes of memory above those of a, and the other way. */
static inline void insert_upper_m(struct buf *b, unsigned d, unsigned a, struct mem m)
{
    vex_rm(b, 1 | VEX_256, 3, false, 0x38, d, a, m); /* vinserti128 */
    put8(b, 1);
}

static inline void extract_upper_m(struct buf *b, struct mem m, unsigned a)
{
    vex_rm(b, 1 | VEX_256, 3, false, 0x39, a, 0, m); /* vextracti128 */
    put8(b, 1);
}

static inline void vzeroupper(struct buf *b)
{
    put8(b, 0xc5);
    put8(b, 0xf8);
    put8(b, 0x77);
}

/* movd/movq between integer and vector registers. */
static inline void mov_xr(struct buf *b, bool w, unsigned x, unsigned r)
{
    if (b->vex)
        vex_rr(b, 1, 1, w, 0x6e, x, 0, r);
    else
        op_rr_full(b, 0x66, w, false, 0x0f6e, x, r);
}

static inline void mov_rx(struct buf *b, bool w, unsigned r, unsigned x)
{
    if (b->vex)
        vex_rr(b, 1, 1, w, 0x7e, x, 0, r);
    else
        op_rr_full(b, 0x66, w, false, 0x0f7e, x, r);
}
