#include "tests/guest/riscv_random.h"

#include "target/riscv/insns.h"

#include <assert.h>

/* Registers with a purpose; random code does not write them. */
enum { REG_LINK = 1, REG_SP = 2, REG_BASE = 3, REG_COUNT = 4, REG_LINK2 = 5, REG_POOL = 31 };
enum { MAX_DEPTH = 3, SAVED = RISCV_RANDOM_FCSR + 64 };

struct gen {
    uint64_t state;
    uint64_t features;
    struct decoder *wide, *narrow;
    uint8_t *code;
    size_t n, room;
    bool in_loop, full;
    bool in_leaf; /* link registers are not written either */
};

static uint64_t next(struct gen *g)
{
    g->state ^= g->state << 13;
    g->state ^= g->state >> 7;
    g->state ^= g->state << 17;
    return g->state * 0x2545f4914f6cdd1du;
}

static unsigned below(struct gen *g, unsigned n)
{
    return (unsigned)((next(g) >> 32) % n);
}

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* ---- values that matter ---------------------------------------------------------------------------- */

static uint64_t corner(struct gen *g)
{
    static const uint64_t doubles[] = {
        0,
        1,
        0x000fffffffffffff,
        0x0010000000000000,
        0x3ff0000000000000,
        0x3ff0000000000001,
        0x3fefffffffffffff,
        0x3fe0000000000000,
        0x4340000000000000,
        0x41dfffffffc00000,
        0x41e0000000000000,
        0x43e0000000000000,
        0x7fefffffffffffff,
        0x7ff0000000000000,
        0x7ff0000000000001,
        0x7ff8000000000000,
        0x36a0000000000000,
        0x380fffffffffffff,
        0x47efffffe0000000,
        0x3cb0000000000000,
    };
    static const uint32_t singles[] = {
        0,          1,          0x007fffff, 0x00800000, 0x3f800000,
        0x3f800001, 0x3f7fffff, 0x4b800000, 0x4f000000, 0x5f000000,
        0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000, 0x3f000000
    };
    static const uint16_t halves[] = { 0,      1,      0x03ff, 0x0400, 0x3c00, 0x3c01,
                                       0x3bff, 0x7bff, 0x7c00, 0x7c01, 0x7e00, 0x3800 };
    uint64_t sign = next(g) & 1;
    switch (below(g, 8)) {
    case 0:
    case 1: return doubles[below(g, ARRAY_LEN(doubles))] | sign << 63;
    case 2:
    case 3: return singles[below(g, ARRAY_LEN(singles))] | sign << 31 | 0xffffffff00000000;
    case 4: return halves[below(g, ARRAY_LEN(halves))] | sign << 15 | 0xffffffffffff0000;
    case 5: /* a double and a single near one, where rounding shows */
        return (0x3fe0000000000000 + (next(g) >> 10)) | sign << 63;
    case 6: return (0x3f000000 + (uint32_t)(next(g) >> 40)) | 0xffffffff00000000;
    default: return next(g) >> below(g, 64);
    }
}

static struct gen seeded(uint64_t seed)
{
    struct gen g = { .state = (seed + 1) * 0x9e3779b97f4a7c15u };
    if (!g.state)
        g.state = 1;
    next(&g);
    return g;
}

void riscv_random_data(uint64_t seed, uint8_t *data, size_t n)
{
    struct gen g = seeded(~seed);
    for (size_t i = 0; i + 8 <= n; i += 8)
        store_le(data + i, 8, corner(&g));
}

/* ---- emitting ---------------------------------------------------------------------------------------- */

static void put(struct gen *g, uint64_t word, unsigned len)
{
    if (g->n + len > g->room) {
        g->full = true;
        return;
    }
    store_le(g->code + g->n, len, word);
    g->n += len;
}

static int line_named(const struct decoder *d, const char *name)
{
    for (int line = 0; line < (int)decoder_n_lines(d); line++)
        if (strcmp(decoder_insn(d, line)->name, name) == 0)
            return line;
    assert(!"no such instruction");
    return -1;
}

/* A 32-bit instruction by name. */
static void put_insn(struct gen *g, const char *name, unsigned d, unsigned a, unsigned b,
                     int64_t imm)
{
    struct operands o = { .d = d, .a = a, .b = b, .imm = imm };
    put(g, decoder_encode(g->wide, line_named(g->wide, name), &o), 4);
}

/* ---- random items -------------------------------------------------------------------------------------- */

enum what {
    NEVER,
    PLAIN,
    MEMORY, /* base and immediate offset */
    ATOMIC, /* an aligned address */
};

static enum what what_is(const struct insn *insn)
{
    static const char *const never[] = { "lr.",    "sc.",       "csrr",       "wrs",   "sfence",
                                         "sinval", "cbo.inval", "c.addi16sp", "pause", "fence.i" };
    for (size_t i = 0; i < ARRAY_LEN(never); i++)
        if (starts(insn->name, never[i]))
            return NEVER;
    if (insn->kind != INSN_PLAIN)
        return NEVER;
    if (insn->translate == tr_load || insn->translate == tr_store ||
        insn->translate == tr_load_fp || insn->translate == tr_store_fp)
        return MEMORY;
    if (starts(insn->name, "amo") || starts(insn->name, "cbo."))
        return ATOMIC;
    return PLAIN;
}

static bool is_kept(const struct gen *g, unsigned r)
{
    return r == REG_SP || r == REG_BASE || r == REG_COUNT ||
           (g->in_leaf && (r == REG_LINK || r == REG_LINK2));
}

static unsigned any_target(struct gen *g)
{
    static const uint8_t kept[] = { REG_SP, REG_BASE, REG_COUNT };
    unsigned r;
    do {
        r = below(g, 32 - sizeof(kept));
        r = r >= REG_SP ? r + sizeof(kept) : r;
    } while (is_kept(g, r));
    return r;
}

/* Make operands harmless: targets, rounding modes, reserved values. */
static void tame(struct gen *g, const struct insn *insn, struct operands *o)
{
    if (is_kept(g, o->d)) {
        unsigned d = any_target(g);
        if (strchr(insn->bits, 'x'))
            o->a = d;
        o->d = d ? d : 6;
        if (strchr(insn->bits, 'x'))
            o->a = o->d;
    }
    if (strstr(insn->bits, "mmm") && (o->m == 5 || o->m == 6))
        o->m = 7;
    if (strcmp(insn->name, "aes64ks1i") == 0)
        o->imm %= 11;
}

static void put_plain_or_access(struct gen *g)
{
    bool narrow = decoder_n_lines(g->narrow) && below(g, 4) == 0;
    const struct decoder *d = narrow ? g->narrow : g->wide;
    struct operands o;
    enum what what;
    int line;
    do {
        line = (int)below(g, (unsigned)decoder_n_lines(d));
        what = what_is(decoder_insn(d, line));
    } while (what == NEVER);
    const struct insn *insn = decoder_insn(d, line);
    uint32_t word = decoder_random(d, line, next(g));
    if (decoder_find(d, word) != line)
        return; /* happens to be a narrower line's */
    decoder_operands(d, line, word, &o);
    tame(g, insn, &o);
    bool has_base = strchr(insn->bits, 'a') || strchr(insn->bits, 'A');
    if (what == MEMORY && !narrow) {
        o.a = REG_BASE;
        o.imm = (int64_t)below(g, 4080) - 2048;
    } else if (what == MEMORY && has_base) {
        put_insn(g, "addi", o.a, REG_BASE, 0, (int64_t)below(g, 2000) - 1000);
    } else if (what == ATOMIC) {
        o.a = any_target(g);
        if (!o.a)
            o.a = 6;
        put_insn(g, "addi", o.a, REG_BASE, 0, (int64_t)below(g, 255) * 8 - 1024);
    }
    put(g, decoder_encode(d, line, &o), narrow ? 2 : 4);
}

static void put_items(struct gen *g, unsigned n, unsigned depth);

/* A branch or jump over a few items, taken or not. */
static void put_forward(struct gen *g, unsigned depth)
{
    static const char *const branches[] = { "beq", "bne", "blt", "bge", "bltu", "bgeu" };
    size_t at = g->n;
    bool jump = below(g, 5) == 0;
    unsigned a = below(g, 32), b = below(g, 32), link = below(g, 2) ? 0 : any_target(g);
    const char *name = jump ? "jal" : branches[below(g, ARRAY_LEN(branches))];
    put(g, 0, 4);
    put_items(g, 1 + below(g, 4), depth + 1);
    size_t end = g->n;
    g->n = at;
    put_insn(g, name, link, a, b, (int64_t)(end - at));
    g->n = end;
}

/* jalr to behind a few items that never run. */
static void put_indirect(struct gen *g, unsigned depth)
{
    unsigned link = below(g, 2) ? 1 : 0;
    size_t at = g->n;
    put(g, 0, 8);
    put_items(g, 1 + below(g, 2), depth + 1);
    size_t end = g->n;
    g->n = at;
    put_insn(g, "auipc", 5, 0, 0, 0);
    put_insn(g, "jalr", link, 5, 0, (int64_t)(end - at));
    g->n = end;
}

static void put_loop(struct gen *g, unsigned depth)
{
    if (g->in_loop)
        return;
    g->in_loop = true;
    put_insn(g, "addi", REG_COUNT, 0, 0, 1 + below(g, 5));
    size_t at = g->n;
    put_items(g, 1 + below(g, 8), depth + 1);
    put_insn(g, "addi", REG_COUNT, REG_COUNT, 0, -1);
    if (g->n - at < 4000)
        put_insn(g, "bne", 0, REG_COUNT, 0, -(int64_t)(g->n - at));
    g->in_loop = false;
}

/* Perhaps a branch to what follows it. */
static void put_border(struct gen *g)
{
    if (below(g, 2))
        put_insn(g, "bne", 0, below(g, 32), below(g, 32), 4);
}

/* Back to behind a call that left its address in `link`; or, one way or another, over the instruction there. */
static void put_return(struct gen *g, unsigned link)
{
    unsigned other = link == REG_LINK ? REG_LINK2 : REG_LINK;
    switch (below(g, 10)) {
    case 0: put_insn(g, "jalr", 0, link, 0, 4); return;
    case 1:
        put_insn(g, "addi", link, link, 0, 4);
        put_border(g);
        put_insn(g, "jalr", 0, link, 0, 0);
        return;
    case 2: /* some times */
        put_insn(g, "andi", 6, below(g, 32), 0, 4);
        put_insn(g, "add", link, link, 6, 0);
        put_border(g);
        put_insn(g, "jalr", 0, link, 0, 0);
        return;
    case 3:
        put_insn(g, "addi", other, link, 0, 0);
        put_border(g);
        put_insn(g, "jalr", 0, other, 0, 0);
        return;
    case 4:
        if (decoder_n_lines(g->narrow)) {
            struct operands o = { .a = link };
            put(g, decoder_encode(g->narrow, line_named(g->narrow, "c.jr"), &o), 2);
            return;
        } /* fall through */
    default: put_insn(g, "jalr", 0, link, 0, 0);
    }
}

/* Over the items that follow, if two registers are equal or not. */
static void put_skip(struct gen *g, unsigned n, unsigned link, bool returns)
{
    size_t at = g->n;
    put(g, 0, 4);
    for (unsigned i = 0; i < n; i++)
        put_plain_or_access(g);
    if (returns)
        put_return(g, link);
    size_t end = g->n;
    g->n = at;
    put_insn(g, below(g, 2) ? "beq" : "bltu", 0, below(g, 32), below(g, 32), (int64_t)(end - at));
    g->n = end;
}

/* A short function with one or more returns, jumped over, and calls of it. */
static void put_calls(struct gen *g)
{
    unsigned link = below(g, 4) ? REG_LINK : REG_LINK2;
    size_t at = g->n, leaf = at + 4;
    put(g, 0, 4);
    g->in_leaf = true;
    for (unsigned i = below(g, 5); i; i--) {
        if (below(g, 3))
            put_plain_or_access(g);
        else
            put_skip(g, below(g, 3), link, below(g, 2));
    }
    put_return(g, link);
    g->in_leaf = false;
    size_t end = g->n;
    g->n = at;
    put_insn(g, "jal", 0, 0, 0, (int64_t)(end - at));
    g->n = end;
    for (unsigned i = 1 + below(g, 3); i; i--) {
        put_insn(g, "jal", link, 0, 0, (int64_t)(leaf - g->n));
        put_insn(g, "addi", 6, 7, 0, below(g, 100));
        if (below(g, 2))
            put_plain_or_access(g);
    }
}

static void put_lr_sc(struct gen *g)
{
    bool word = below(g, 2);
    unsigned base = 7, d = 8 + below(g, 8);
    put_insn(g, "addi", base, REG_BASE, 0, (int64_t)below(g, 255) * 8 - 1024);
    if (below(g, 8))
        put_insn(g, word ? "lr.w" : "lr.d", d, base, 0, 0);
    if (below(g, 2))
        put_insn(g, "addi", 9, d, 0, below(g, 100));
    put_insn(g, word ? "sc.w" : "sc.d", any_target(g), base, below(g, 32), 0);
}

static void put_float_csr(struct gen *g)
{
    enum { FFLAGS = 1, FRM = 2, FCSR = 3 };
    switch (below(g, 4)) {
    case 0: put_insn(g, "csrrwi", any_target(g), below(g, 5), 0, FRM); break;
    case 1: put_insn(g, "csrrs", any_target(g), 0, 0, FCSR); break;
    case 2: put_insn(g, "csrrwi", any_target(g), below(g, 32), 0, FFLAGS); break;
    default: put_insn(g, "csrrci", any_target(g), below(g, 32), 0, FFLAGS); break;
    }
}

static void put_items(struct gen *g, unsigned n, unsigned depth)
{
    bool atomics = g->features & (EXT(A) | EXT(ZALRSC));
    for (unsigned i = 0; i < n && !g->full; i++) {
        unsigned k = below(g, 100);
        if (k < 5 && depth < MAX_DEPTH)
            put_forward(g, depth);
        else if (k < 6 && depth < MAX_DEPTH)
            put_indirect(g, depth);
        else if (k < 8 && depth < MAX_DEPTH)
            put_loop(g, depth);
        else if (k < 10 && atomics)
            put_lr_sc(g);
        else if (k < 12)
            put_calls(g);
        else if (k < 15 && g->features & EXT(F))
            put_float_csr(g);
        else
            put_plain_or_access(g);
    }
}

/* ---- the function ---------------------------------------------------------------------------------------- */

/* Save what the caller has, take all registers from a pool in the code. */
static void put_prologue(struct gen *g)
{
    bool floats = g->features & EXT(D);
    put_insn(g, "lui", 5, 0, 0, 4096);
    put_insn(g, "add", 5, 5, 10, 0);
    for (unsigned r = 1; r < 32; r++)
        put_insn(g, "sd", 0, 5, r, SAVED - 4096 + 8 * r);
    put_insn(g, "addi", REG_BASE, 10, 0, 2047);
    put_insn(g, "addi", REG_BASE, REG_BASE, 0, 1);
    put_insn(g, "addi", REG_SP, 10, 0, 1024);
    put_insn(g, "addi", REG_COUNT, 0, 0, 0);
    if (g->features & EXT(F))
        put_insn(g, "csrrwi", 0, below(g, 5), 0, 2);
    while (g->n % 8 != 4)
        put_insn(g, "addi", 0, 0, 0, 0);
    put_insn(g, "jal", REG_POOL, 0, 0, 4 + 64 * 8);
    for (unsigned i = 0; i < 64; i++)
        put(g, corner(g), 8);
    for (unsigned r = 0; floats && r < 32; r++)
        put_insn(g, "fld", r, REG_POOL, 0, 256 + 8 * r);
    for (unsigned r = 1; r < 32; r++)
        if (!is_kept(g, r))
            put_insn(g, "ld", r, REG_POOL, 0, 8 * r);
}

/* Leave all registers in scratch, sum it up, restore the caller's. */
static void put_epilogue(struct gen *g)
{
    /* sp is scratch + 1024: from it everything is in reach in two steps. */
    put_insn(g, "sd", 0, REG_SP, 5, 0);
    put_insn(g, "lui", 5, 0, 0, 4096);
    put_insn(g, "add", 5, 5, REG_BASE, 0);
    put_insn(g, "addi", 5, 5, 0, -2048);
    for (unsigned r = 1; r < 32; r++)
        if (r != 5)
            put_insn(g, "sd", 0, 5, r, RISCV_RANDOM_X - 4096 + 8 * r);
    put_insn(g, "ld", 6, REG_SP, 0, 0);
    put_insn(g, "sd", 0, 5, 6, RISCV_RANDOM_X - 4096 + 8 * 5);
    for (unsigned r = 0; r < 32 && g->features & EXT(D); r++)
        put_insn(g, "fsd", 0, 5, r, RISCV_RANDOM_F - 4096 + 8 * r);
    if (g->features & EXT(F)) {
        put_insn(g, "csrrs", 6, 0, 0, 3);
        put_insn(g, "sd", 0, 5, 6, RISCV_RANDOM_FCSR - 4096);
    }
    put_insn(g, "addi", 6, REG_BASE, 0, -2048);                 /* from */
    put_insn(g, "addi", 7, 5, 0, RISCV_RANDOM_FCSR - 4096 + 8); /* to */
    put_insn(g, "addi", 10, 0, 0, 0);
    size_t loop = g->n;
    put_insn(g, "ld", 11, 6, 0, 0);
    put_insn(g, "slli", 12, 10, 0, 5);
    put_insn(g, "sub", 10, 12, 10, 0);
    put_insn(g, "srli", 12, 12, 0, 37);
    put_insn(g, "xor", 10, 10, 12, 0);
    put_insn(g, "add", 10, 10, 11, 0);
    put_insn(g, "addi", 6, 6, 0, 8);
    put_insn(g, "bltu", 0, 6, 7, -(int64_t)(g->n - loop));
    for (unsigned r = 1; r < 32; r++)
        if (r != 5 && r != 10)
            put_insn(g, "ld", r, 5, 0, SAVED - 4096 + 8 * r);
    put_insn(g, "jalr", 0, 1, 0, 0);
}

size_t riscv_random_code(const struct riscv_random *how, uint8_t *code, size_t room)
{
    struct insn_table tables[RV_MAX_TABLES];
    struct gen g = seeded(how->seed);
    g.features = how->features;
    g.code = code;
    g.room = room;
    g.wide = decoder_new(tables, riscv_insn_tables(32, tables), 32, how->features);
    g.narrow = decoder_new(tables, riscv_insn_tables(16, tables), 16, how->features);
    put_prologue(&g);
    put_items(&g, how->n_items, 0);
    put_epilogue(&g);
    decoder_free(g.wide);
    decoder_free(g.narrow);
    return g.full ? 0 : g.n;
}
