#include "tests/unit/x86_walks.h"

#include "core/util.h"
#include "target/x86_64/x86.h"

enum {
    SUM = X86_RAX,
    COUNT = X86_RCX,
    TEMP = X86_RDX,
    INDEX = 11,
    FAR = 14, /* where INDEX << far leads to the data, though it is at its end of 32 bits */
    OUTER = 15,
    NONE = 16,
    MAX_STREAMS = 4,
    MAX_ITEMS = 7,
    ROOM = 100, /* for an item and what comes behind the last */
};

struct walk {
    uint8_t *code;
    size_t n;
    uint64_t random;
    unsigned n_streams;
    uint8_t base[MAX_STREAMS];
    int32_t stride[MAX_STREAMS];
    bool half, down; /* INDEX moves in 32 bits; down */
    size_t enter;    /* behind a jump into the loop; 0: it is entered at its head */
    int far;         /* -1: INDEX is small */
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

/* ---- instructions (SDM volume 2) ------------------------------------------------------------------------ */

static void put(struct walk *w, unsigned n, uint64_t bytes)
{
    store_le(w->code + w->n, n, bytes);
    w->n += n;
}

/* An opcode without prefixes; 0x0f leads those of two bytes, VEX those with a second source and 32 bytes. */
struct code {
    uint8_t prefix; /* 0: none */
    bool wide, two_bytes, vex;
    uint8_t opcode;
};

static void put_opcode(struct walk *w, struct code c, unsigned reg, unsigned index, unsigned base)
{
    unsigned r = reg >> 3 & 1, x = index < NONE && index >> 3, b = base >> 3 & 1;
    if (c.vex) { /* the second source is `reg`, too; 0: it has none */
        bool none = c.opcode == 0x10 || c.opcode == 0x11;
        put(w, 1, 0xc4);
        put(w, 1, (!r << 7 | !x << 6 | !b << 5) | 1);
        put(w, 1, (none ? 0x78u : (~reg & 15) << 3) | 4 | (c.prefix == 0x66));
    } else {
        if (c.prefix)
            put(w, 1, c.prefix);
        put(w, 1, 0x40u | (unsigned)c.wide << 3 | r << 2 | x << 1 | b);
        if (c.two_bytes)
            put(w, 1, 0x0f);
    }
    put(w, 1, c.opcode);
}

/* reg and [base + (index << scale) + disp] */
static void put_mem(struct walk *w, struct code c, unsigned reg, unsigned base, unsigned index,
                    unsigned scale, int32_t disp)
{
    bool near = disp >= -128 && disp < 128;
    put_opcode(w, c, reg, index, base);
    put(w, 1, (near ? 0x44u : 0x84u) | (reg & 7) << 3);
    put(w, 1, scale << 6 | (index < NONE ? index & 7 : 4) << 3 | (base & 7));
    put(w, near ? 1 : 4, (uint32_t)disp);
}

static void put_regs(struct walk *w, struct code c, unsigned reg, unsigned rm)
{
    put_opcode(w, c, reg, NONE, rm);
    put(w, 1, 0xc0u | (reg & 7) << 3 | (rm & 7));
}

static void put_imm(struct walk *w, unsigned reg, uint64_t v)
{
    put(w, 1, 0x48u | reg >> 3);
    put(w, 1, 0xb8u | (reg & 7));
    put(w, 8, v);
}

/* add, or, and, sub, xor, cmp by their number in bits 3 to 5 of the opcode */
static void put_alu_imm(struct walk *w, unsigned kind, bool wide, unsigned reg, int32_t imm)
{
    put_regs(w, (struct code){ .wide = wide, .opcode = 0x81 }, kind, reg);
    put(w, 4, (uint32_t)imm);
}

static void mix(struct walk *w)
{
    static const uint8_t kinds[] = { 0x01, 0x31, 0x29 }; /* add, xor, sub */
    put_regs(w, (struct code){ .wide = true, .opcode = kinds[draw(w, ARRAY_LEN(kinds))] }, TEMP,
             SUM);
}

/* ---- what a turn does ------------------------------------------------------------------------------------ */

static void put_load(struct walk *w, unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    static const struct code codes[] = {
        { .wide = true, .opcode = 0x8b },
        { .opcode = 0x8b },
        { .two_bytes = true, .opcode = 0xb6 }, /* movzx, movsx */
        { .two_bytes = true, .opcode = 0xb7 },
        { .wide = true, .two_bytes = true, .opcode = 0xbe },
        { .wide = true, .opcode = 0x63 },
        { .prefix = 0x66, .opcode = 0x8b },
        { .wide = true, .opcode = 0x03 }, /* add, and what only sets flags: cmp */
        { .opcode = 0x3b },
    };
    put_mem(w, codes[draw(w, ARRAY_LEN(codes))], TEMP, base, index, scale, disp);
    mix(w);
}

static void put_store(struct walk *w, unsigned base, unsigned index, unsigned scale, int32_t disp)
{
    static const struct code codes[] = {
        { .wide = true, .opcode = 0x89 },
        { .opcode = 0x89 },
        { .prefix = 0x66, .opcode = 0x89 },
        { .opcode = 0x88 },
        { .wide = true, .opcode = 0x01 }, /* add, xor with memory */
        { .opcode = 0x31 },
    };
    put_mem(w, codes[draw(w, ARRAY_LEN(codes))], SUM, base, index, scale, disp);
}

static void put_vector(struct walk *w, unsigned base, int32_t disp)
{
    static const struct code codes[] = {
        { .two_bytes = true, .opcode = 0x10 }, /* movups */
        { .two_bytes = true, .opcode = 0x11 },
        { .prefix = 0xf2, .two_bytes = true, .opcode = 0x10 }, /* movsd */
        { .prefix = 0xf2, .two_bytes = true, .opcode = 0x58 }, /* addsd */
        { .prefix = 0xf3, .two_bytes = true, .opcode = 0x11 }, /* movss */
        { .prefix = 0xf3, .two_bytes = true, .opcode = 0x59 }, /* mulss */
        { .vex = true, .opcode = 0x10 },                       /* 32 bytes */
        { .vex = true, .opcode = 0x11 },
        { .vex = true, .opcode = 0x57 }, /* vxorps */
        { .vex = true, .prefix = 0x66, .opcode = 0xfe },
    };
    static const struct code aligned[] = {
        { .two_bytes = true, .opcode = 0x28 },                 /* movaps */
        { .prefix = 0x66, .two_bytes = true, .opcode = 0xfe }, /* paddd */
    };
    bool even = one_in(w, 16);
    const struct code *c = even ? &aligned[draw(w, 2)] : &codes[draw(w, ARRAY_LEN(codes))];
    if (even)
        disp &= ~15;
    put_mem(w, *c, draw(w, 8) + (one_in(w, 4) ? 8 : 0), base, NONE, 0, disp);
}

/* The address is not a sum of what turns move evenly. */
static void put_wild(struct walk *w, unsigned base)
{
    put_regs(w, (struct code){ .opcode = 0x89 }, SUM, TEMP);
    put_alu_imm(w, 4, false, TEMP, 0x3f8);
    if (one_in(w, 3))
        put_store(w, base, TEMP, 0, 0);
    else
        put_load(w, base, TEMP, 0, 0);
}

static void put_item(struct walk *w)
{
    unsigned base = w->base[draw(w, w->n_streams)];
    int32_t disp = one_in(w, 3)   ? 0
                   : one_in(w, 6) ? (int32_t)draw(w, 1024) - 512
                                  : (int32_t)draw(w, 96) - 48;
    if (w->far >= 0 && one_in(w, 3)) {
        unsigned index = one_in(w, 3) ? TEMP : INDEX;
        if (index == TEMP) /* lea edx, [r11 + some] */
            put_mem(w, (struct code){ .opcode = 0x8d }, TEMP, INDEX, NONE, 0,
                    (int32_t)draw(w, 40) - 20);
        if (one_in(w, 3))
            put_store(w, FAR, index, (unsigned)w->far, disp);
        else
            put_load(w, FAR, index, (unsigned)w->far, disp);
        return;
    }
    switch (draw(w, 10)) {
    case 0:
    case 1:
    case 2: put_load(w, base, NONE, 0, disp); break;
    case 3:
    case 4: put_store(w, base, NONE, 0, disp); break;
    case 5:
    case 6: put_vector(w, base, disp); break;
    case 7:
        if (one_in(w, 2))
            put_store(w, base, INDEX, draw(w, 4), disp);
        else
            put_load(w, base, INDEX, draw(w, 4), disp);
        break;
    case 8:
        if (one_in(w, 2)) {
            put_wild(w, base);
            break;
        }    /* fall through */
    default: /* lea edx, [rax + rax * 4 + disp] */
        put_mem(w, (struct code){ .opcode = 0x8d }, TEMP, SUM, SUM, 2, disp);
        mix(w);
    }
}

/* An item that some turns leave out. */
static void put_maybe(struct walk *w)
{
    put(w, 2, 0xa8 | 1u << draw(w, 4) << 8); /* test al, imm8 */
    put(w, 2, 0x74);                         /* jz */
    size_t at = w->n;
    put_item(w);
    if (one_in(w, 8)) /* an uneven walk */
        put_alu_imm(w, 0, true, w->base[0], w->stride[0]);
    w->code[at - 1] = (uint8_t)(w->n - at);
}

static void put_step(struct walk *w, unsigned k)
{
    unsigned base = w->base[k];
    int32_t by = w->stride[k];
    switch (draw(w, 3)) {
    case 0:
        put_mem(w, (struct code){ .wide = true, .opcode = 0x8d }, base, base, NONE, 0, by);
        break;
    case 1: put_alu_imm(w, 5, true, base, -by); break;
    default: put_alu_imm(w, 0, true, base, by); break;
    }
}

/* inc, dec, add */
static void put_step_index(struct walk *w)
{
    if (one_in(w, 3))
        put_alu_imm(w, 0, !w->half, INDEX, w->down ? -3 : 3);
    else
        put_regs(w, (struct code){ .wide = !w->half, .opcode = 0xff }, w->down, INDEX);
}

/* The jump into the loop, if there is one that leads nowhere yet. */
static void jump_here(struct walk *w)
{
    if (w->enter)
        store_le(w->code + w->enter - 4, 4, w->n - w->enter);
    w->enter = 0;
}

static void put_turn(struct walk *w)
{
    unsigned n = 1 + draw(w, MAX_ITEMS);
    unsigned step_index = draw(w, n + 1); /* behind so many items; n: not at all */
    unsigned enter = one_in(w, 2) ? n : draw(w, n);
    uint32_t stepped = 0;
    for (unsigned i = 0; i < n && w->n < X86_WALK_MAX - ROOM; i++) {
        if (i == step_index)
            put_step_index(w);
        if (i == enter)
            jump_here(w);
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
    jump_here(w);
}

/* dec, and back while it is not zero */
static void put_back(struct walk *w, unsigned count, size_t to)
{
    put_regs(w, (struct code){ .wide = true, .opcode = 0xff }, 1, count);
    put(w, 2, 0x850f);
    put(w, 4, (uint32_t)(to - w->n - 4));
}

size_t x86_walk_code(uint64_t seed, struct x86_world *world, uint8_t code[X86_WALK_MAX])
{
    static const uint8_t registers[] = { X86_RBX, X86_RBP, X86_RSI, X86_RDI, 8, 9, 10, 12, 13 };
    static const int8_t strides[] = { 1, 2, 4, 8, 8, 8, 8, 16, 16, 24, 32, 40, 64, 0 };
    struct walk w = { .code = code, .random = seed * 2654435761u + 1 };
    draw(&w, 2);
    w.n_streams = 1 + draw(&w, MAX_STREAMS);
    unsigned first = draw(&w, ARRAY_LEN(registers)), fastest = 1;
    for (unsigned k = 0; k < w.n_streams; k++) {
        int32_t stride = strides[draw(&w, ARRAY_LEN(strides))];
        fastest = MAX(fastest, (unsigned)stride);
        w.base[k] = registers[(first + k) % ARRAY_LEN(registers)];
        w.stride[k] = one_in(&w, 3) ? -stride : stride;
        /* towards the other end, now and then where it soon runs out; some misaligned */
        uint64_t at = one_in(&w, 5) ? draw(&w, X86_NATIVE_DATA_SIZE)
                                    : (w.stride[k] < 0 ? X86_NATIVE_DATA_SIZE - 0x400 : 0x100) +
                                          draw(&w, 0x300);
        at &= one_in(&w, 5) ? ~(uint64_t)0 : ~(uint64_t)15;
        world->gpr[w.base[k]] = X86_NATIVE_DATA + at;
    }
    uint32_t most = X86_NATIVE_DATA_SIZE * 5 / 4 / fastest;
    uint32_t count = 1 + draw(&w, MIN(most, one_in(&w, 3) ? 1500u : 250u));
    bool outer = one_in(&w, 4);
    world->gpr[COUNT] = count;
    world->gpr[INDEX] = draw(&w, 64);
    w.half = one_in(&w, 2);
    w.down = one_in(&w, 4);
    w.far = w.half && one_in(&w, 3) ? (int)draw(&w, 4) : -1;
    if (w.far >= 0) {
        uint32_t near = draw(&w, one_in(&w, 2) ? 100 : 2000);
        world->gpr[INDEX] = w.down ? near : 0xffffffff - near;
        world->gpr[FAR] = X86_NATIVE_DATA + X86_NATIVE_DATA_SIZE / 4 +
                          draw(&w, X86_NATIVE_DATA_SIZE / 2) - (world->gpr[INDEX] << w.far);
        if (one_in(&w, 4)) /* not as an instruction on 32 bits leaves it */
            world->gpr[INDEX] += (uint64_t)1 << 32;
    }
    world->gpr[OUTER] = 1 + draw(&w, 3);
    size_t again = w.n;
    if (outer)
        put_imm(&w, COUNT, 1 + draw(&w, MIN(most, 100u)));
    if (one_in(&w, 3)) {
        put(&w, 1, 0xe9);
        put(&w, 4, 0);
        w.enter = w.n;
    }
    size_t loop = w.n;
    put_turn(&w);
    put_back(&w, COUNT, loop);
    if (outer)
        put_back(&w, OUTER, again);
    return w.n;
}
