#include "tests/unit/riscv_walks.h"

#include "core/util.h"

#include <stdbool.h>

enum {
    ZERO = 0,
    RA = 1,
    TEMP = 14,
    SUM = 15,
    COUNT = 12,
    INDEX = 13,
    FAR = 3,  /* where INDEX leads to the area, though it is at its end of 32 bits */
    END = 29, /* registers */
    MAX_STREAMS = 5,
    MAX_ITEMS = 14,
    OP = 0x33,
    OP_IMM = 0x13,
    OP_IMM_32 = 0x1b,
    LOAD = 0x03,
    STORE = 0x23,
    BRANCH = 0x63,
    LUI = 0x37,
    JAL = 0x6f,
    JALR = 0x67,
    LOAD_FP = 0x07,
    STORE_FP = 0x27,
    OP_FP = 0x53,
};

struct walk {
    uint8_t *code;
    size_t n;
    uint64_t random;
    unsigned n_streams;
    uint8_t base[MAX_STREAMS];
    int32_t stride[MAX_STREAMS], index_step;
    bool half;    /* turns are counted in 32 bits */
    int far;      /* INDEX << far is near FAR's; -1: it is small */
    bool uneven;  /* the first one's walk */
    size_t enter; /* where a jump into the loop stands; 0: it is entered at its head */
};

static uint32_t draw(struct walk *w, uint32_t n)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->random >> 33) % n;
}

static bool one_in(struct walk *w, uint32_t n)
{
    return !draw(w, n);
}

/* ---- instructions (RISC-V unprivileged, chapter 37) ----------------------------------------------------- */

static void put(struct walk *w, uint32_t insn)
{
    store_le(w->code + w->n, 4, insn);
    w->n += 4;
}

static void put_i(struct walk *w, unsigned opcode, unsigned funct3, unsigned rd, unsigned rs1,
                  int32_t imm)
{
    put(w, (uint32_t)imm << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode);
}

static void put_s(struct walk *w, unsigned opcode, unsigned funct3, unsigned rs1, unsigned rs2,
                  int32_t imm)
{
    put(w, (uint32_t)imm >> 5 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 |
               ((uint32_t)imm & 31) << 7 | opcode);
}

static void put_r(struct walk *w, unsigned opcode, unsigned funct3, unsigned funct7, unsigned rd,
                  unsigned rs1, unsigned rs2)
{
    put(w, funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode);
}

static uint32_t branch(unsigned funct3, unsigned rs1, unsigned rs2, int32_t by)
{
    uint32_t v = (uint32_t)by;
    return (v >> 12 & 1) << 31 | (v >> 5 & 63) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 |
           (v >> 1 & 15) << 8 | (v >> 11 & 1) << 7 | BRANCH;
}

static void add_imm(struct walk *w, unsigned rd, unsigned rs, int32_t imm)
{
    put_i(w, OP_IMM, 0, rd, rs, imm);
}

static void shift_left(struct walk *w, unsigned rd, unsigned rs, int32_t by)
{
    put_i(w, OP_IMM, 1, rd, rs, by);
}

/* rd = v, of 32 bits */
static void load_number(struct walk *w, unsigned rd, uint32_t v)
{
    put(w, ((v + 0x800) & 0xfffff000) | rd << 7 | LUI);
    add_imm(w, rd, rd, (int32_t)(v << 20) >> 20);
    shift_left(w, rd, rd, 32);
    put_i(w, OP_IMM, 5, rd, rd, 32); /* srli */
}

/* ---- what a turn does ----------------------------------------------------------------------------------- */

static void mix(struct walk *w, unsigned rs)
{
    static const uint8_t kinds[] = { 0, 4, 6, 7 }; /* add, xor, or, and */
    put_r(w, OP, kinds[draw(w, 2)], 0, SUM, SUM, rs);
}

static void put_load(struct walk *w, unsigned base, int32_t off)
{
    put_i(w, LOAD, draw(w, 7), TEMP, base, off);
    mix(w, TEMP);
}

static void put_float(struct walk *w, unsigned base, int32_t off)
{
    unsigned wide = draw(w, 2); /* s, d */
    if (one_in(w, 3)) {
        put_s(w, STORE_FP, 2 + wide, base, 1 + draw(w, 4), off);
        return;
    }
    put_i(w, LOAD_FP, 2 + wide, 1 + draw(w, 4), base, off);
    put_r(w, OP_FP, 7, wide, 1 + draw(w, 4), 1 + draw(w, 4), 1 + draw(w, 4)); /* fadd */
}

/* The address is not a sum of what turns move evenly. */
static void put_wild(struct walk *w, unsigned base)
{
    put_i(w, OP_IMM, 7, TEMP, SUM, 0x7f8); /* andi */
    put_r(w, OP, 0, 0, TEMP, TEMP, base);
    if (one_in(w, 3))
        put_s(w, STORE, 3, TEMP, SUM, 0);
    else
        put_load(w, TEMP, 0);
}

static void put_indexed(struct walk *w, unsigned base)
{
    shift_left(w, TEMP, INDEX, (int32_t)draw(w, 4));
    put_r(w, OP, 0, 0, TEMP, TEMP, base);
    if (one_in(w, 3))
        put_s(w, STORE, draw(w, 4), TEMP, SUM, 0);
    else
        put_load(w, TEMP, 0);
}

/* INDEX may wrap sooner or later, and lead elsewhere then. */
static void put_far(struct walk *w)
{
    bool beside = one_in(w, 3);
    if (beside)
        put_i(w, OP_IMM_32, 0, TEMP, INDEX, (int32_t)draw(w, 40) - 20);
    shift_left(w, TEMP, beside ? TEMP : INDEX, w->far);
    put_r(w, OP, 0, 0, TEMP, TEMP, FAR);
    if (one_in(w, 3))
        put_s(w, STORE, draw(w, 4), TEMP, SUM, (int32_t)draw(w, 32) - 16);
    else
        put_load(w, TEMP, (int32_t)draw(w, 32) - 16);
}

static void put_item(struct walk *w)
{
    if (w->far >= 0 && one_in(w, 3)) {
        put_far(w);
        return;
    }
    unsigned k = draw(w, w->n_streams), base = w->base[k];
    int32_t off = one_in(w, 3) ? 0 : (int32_t)draw(w, 96) - 48;
    switch (draw(w, 12)) {
    case 0:
    case 1:
    case 2:
    case 3: put_load(w, base, off); break;
    case 4:
    case 5:
    case 6: put_s(w, STORE, draw(w, 4), base, SUM, off); break;
    case 7:
    case 8: put_float(w, base, off); break;
    case 9: put_indexed(w, base); break;
    case 10:
        if (one_in(w, 2)) {
            put_wild(w, base);
            break;
        } /* fall through */
    default: shift_left(w, TEMP, SUM, (int32_t)(1 + draw(w, 20))); mix(w, TEMP);
    }
}

/* Items that some turns leave out. */
static void put_maybe(struct walk *w)
{
    put_i(w, OP_IMM, 7, TEMP, SUM, 1 << draw(w, 3));
    size_t at = w->n;
    put(w, 0);
    put_item(w);
    if (one_in(w, 8)) {
        add_imm(w, w->base[0], w->base[0], w->stride[0]);
        w->uneven = true;
    }
    store_le(w->code + at, 4, branch(0, TEMP, ZERO, (int32_t)(w->n - at)));
}

static void put_step(struct walk *w, unsigned k)
{
    add_imm(w, w->base[k], w->base[k], w->stride[k]);
}

static void put_step_index(struct walk *w)
{
    put_i(w, w->half ? OP_IMM_32 : OP_IMM, 0, INDEX, INDEX, w->index_step);
}

static void jump_here(struct walk *w, size_t from)
{
    uint32_t by = (uint32_t)(w->n - from);
    store_le(w->code + from, 4, (by >> 1 & 0x3ff) << 21 | (by >> 11 & 1) << 20 | JAL);
}

static void put_turn(struct walk *w)
{
    unsigned n = 1 + draw(w, MAX_ITEMS), enter = draw(w, n);
    if (one_in(w, 2))
        enter = n;
    unsigned step_index = draw(w, n + 1); /* behind so many items */
    uint32_t stepped = 0;
    for (unsigned i = 0; i < n; i++) {
        if (i == step_index)
            put_step_index(w);
        if (i == enter && w->enter)
            jump_here(w, w->enter);
        unsigned k = draw(w, w->n_streams);
        if (one_in(w, 4) && !(stepped >> k & 1)) { /* accesses before and behind it */
            put_step(w, k);
            stepped |= 1u << k;
        }
        if (one_in(w, 5))
            put_maybe(w);
        else
            put_item(w);
    }
    for (unsigned k = 0; k < w->n_streams; k++)
        if (!(stepped >> k & 1))
            put_step(w, k);
    if (step_index == n)
        put_step_index(w);
    if (enter == n && w->enter)
        jump_here(w, w->enter);
}

/* ---- how many of them ------------------------------------------------------------------------------------ */

enum { BY_COUNT, BY_INDEX, BY_POINTER, N_ENDS };

/* The registers that say when n turns are done; COUNT does in any case. */
static void put_bound(struct walk *w, unsigned by, uint32_t n)
{
    load_number(w, COUNT, n);
    if (by == BY_COUNT)
        return;
    int32_t step = by == BY_INDEX ? w->index_step : w->stride[0];
    load_number(w, END, n * (uint32_t)(step < 0 ? -step : step));
    put_r(w, OP, 0, step < 0 ? 0x20 : 0, END, by == BY_INDEX ? INDEX : w->base[0], END);
}

/* Back to `loop`, by one of the comparisons that come to the same. */
static void put_way_back(struct walk *w, unsigned by, size_t loop)
{
    static const struct {
        uint8_t funct3;
        bool swapped;
    } up[] = { { 1, false }, { 4, false }, { 6, false }, { 5, true }, { 7, true } },
      down[] = { { 1, true }, { 4, true }, { 5, false } };
    put_i(w, w->half ? OP_IMM_32 : OP_IMM, 0, COUNT, COUNT, -1);
    if (by == BY_COUNT) {
        put(w, branch(1, COUNT, ZERO, (int32_t)(loop - w->n)));
        return;
    }
    bool down_ = (by == BY_INDEX ? w->index_step : w->stride[0]) < 0;
    unsigned first = by == BY_POINTER && w->uneven; /* it may never be equal */
    unsigned k = first + draw(w, (down_ ? ARRAY_LEN(down) : ARRAY_LEN(up)) - first);
    unsigned at = by == BY_INDEX ? INDEX : w->base[0];
    bool swapped = down_ ? down[k].swapped : up[k].swapped;
    put(w, branch(down_ ? down[k].funct3 : up[k].funct3, swapped ? END : at, swapped ? at : END,
                  (int32_t)(loop - w->n)));
}

/* INDEX at the end of what fits into 32 bits, or with more than fits; FAR so that both together are `at`. */
static void put_far_index(struct walk *w, uint64_t at)
{
    static const int8_t steps[] = { 1, 1, 2, 3, 8 };
    uint32_t near = draw(w, one_in(w, 2) ? 100 : 2000);
    w->far = (int)draw(w, 4);
    w->index_step = steps[draw(w, ARRAY_LEN(steps))] * (one_in(w, 3) ? -1 : 1);
    load_number(w, INDEX, w->index_step < 0 ? 0x80000000u + near : 0x7fffffffu - near);
    put_i(w, OP_IMM_32, 0, INDEX, INDEX, 0); /* sext.w */
    load_number(w, FAR, (uint32_t)at);
    shift_left(w, TEMP, INDEX, w->far);
    put_r(w, OP, 0, 0x20, FAR, FAR, TEMP);
    if (one_in(w, 4)) { /* not as addiw leaves it */
        add_imm(w, TEMP, ZERO, 1 + (int32_t)draw(w, 3));
        shift_left(w, TEMP, TEMP, 32);
        put_r(w, OP, 0, 0, INDEX, INDEX, TEMP);
    }
}

size_t riscv_walk_code(uint64_t seed, uint64_t area, uint64_t size, uint8_t *code)
{
    static const uint8_t registers[] = { 5, 6, 7, 8, 9, 10, 11, 16, 17, 18, 19, 20, 28, 31 };
    static const int16_t strides[] = { 1, 2, 4, 8, 8, 8, 8, 16, 24, 40, 64, 256, 1000, 0 };
    struct walk w = { .code = code, .random = seed * 2654435761u + 1, .far = -1 };
    draw(&w, 2);
    w.n_streams = 1 + draw(&w, MAX_STREAMS);
    unsigned first = draw(&w, ARRAY_LEN(registers)), fastest = 1;
    for (unsigned k = 0; k < w.n_streams; k++) {
        int32_t stride = strides[draw(&w, ARRAY_LEN(strides))];
        fastest = MAX(fastest, (unsigned)stride);
        w.base[k] = registers[(first + k) % ARRAY_LEN(registers)];
        w.stride[k] = one_in(&w, 3) ? -stride : stride;
        /* mostly inside, now and then where it soon runs out; one in a few misaligned */
        uint64_t at = one_in(&w, 10) ? (one_in(&w, 2) ? size - 0x300 : 0x100)
                                     : draw(&w, (uint32_t)size - 0x100);
        at &= one_in(&w, 5) ? ~(uint64_t)0 : ~(uint64_t)7;
        load_number(&w, w.base[k], (uint32_t)(area + at));
    }
    unsigned most = one_in(&w, 3) ? 1500 : 200;
    load_number(&w, SUM, draw(&w, 1u << 30));
    load_number(&w, INDEX, draw(&w, 64));
    w.index_step = one_in(&w, 4) ? -1 : 1;
    w.half = one_in(&w, 2);
    unsigned by = draw(&w, N_ENDS);
    if (by == BY_POINTER && !w.stride[0])
        by = BY_COUNT;
    if (w.half && one_in(&w, 3)) {
        by = BY_COUNT;
        put_far_index(&w, area + size / 4 + draw(&w, (uint32_t)size / 2));
    }
    bool outer = one_in(&w, 3);
    if (outer)
        load_number(&w, 30, 1 + draw(&w, 6));
    size_t again = w.n;
    put_bound(&w, by,
              1 + draw(&w, outer ? MIN(60u, (unsigned)size / 2 / fastest)
                                 : MIN(most, (unsigned)size * 4 / fastest)));
    if (one_in(&w, 3)) {
        w.enter = w.n;
        put(&w, 0);
    }
    size_t loop = w.n;
    put_turn(&w);
    put_way_back(&w, by, loop);
    if (outer) {
        add_imm(&w, 30, 30, -1);
        put(&w, branch(1, 30, ZERO, (int32_t)(again - w.n)));
    }
    put_i(&w, JALR, 0, ZERO, RA, 0);
    return w.n;
}
