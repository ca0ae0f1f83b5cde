/* From table lines to a decoder, and from bytes to instructions. SDM 2-2.1 to 2.3. */
#include "target/x86_64/decode.h"

#include "core/util.h"
#include "target/x86_64/model.h"
#include "target/x86_64/tr.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- lines, taken apart ------------------------------------------------------------------------- */

enum size_code {
    SZ_NONE,
    SZ_B,
    SZ_W,
    SZ_D,
    SZ_Q,
    SZ_DQ,
    SZ_QQ,
    SZ_T,
    SZ_V,
    SZ_Z,
    SZ_Y,
    SZ_X,
    SZ_P,
    SZ_A,
    SZ_S,
};
static const struct {
    char name[4];
    uint8_t code;
} size_names[] = {
    { "", SZ_NONE }, { "b", SZ_B },   { "w", SZ_W },  { "d", SZ_D },  { "q", SZ_Q },
    { "dq", SZ_DQ }, { "qq", SZ_QQ }, { "t", SZ_T },  { "v", SZ_V },  { "z", SZ_Z },
    { "y", SZ_Y },   { "x", SZ_X },   { "ps", SZ_X }, { "pd", SZ_X }, { "ss", SZ_D },
    { "sd", SZ_Q },  { "p", SZ_P },   { "a", SZ_A },  { "s", SZ_S },  { "pi", SZ_Q },
};
static const struct {
    char name[5];
    uint8_t kind, size, reg;
} fixed_names[] = {
    { "AL", X86_OP_GPR, SZ_B, 0 }, { "CL", X86_OP_GPR, SZ_B, 1 },    { "AX", X86_OP_GPR, SZ_W, 0 },
    { "DX", X86_OP_GPR, SZ_W, 2 }, { "rAX", X86_OP_GPR, SZ_V, 0 },   { "eAX", X86_OP_GPR, SZ_Z, 0 },
    { "ES", X86_OP_SEG, SZ_W, 0 }, { "CS", X86_OP_SEG, SZ_W, 1 },    { "SS", X86_OP_SEG, SZ_W, 2 },
    { "DS", X86_OP_SEG, SZ_W, 3 }, { "FS", X86_OP_SEG, SZ_W, 4 },    { "GS", X86_OP_SEG, SZ_W, 5 },
    { "ST0", X86_OP_ST, SZ_T, 0 }, { "XMM0", X86_OP_XMM, SZ_DQ, 0 }, { "1", X86_OP_IMM, SZ_B, 1 },
};

struct place {
    char letter;            /* of the opcode map; F: fixed */
    uint8_t size, mem_size; /* enum size_code; mem_size where memory has another one */
    uint8_t fixed;          /* index into fixed_names */
};

enum map { MAP_1, MAP_0F, MAP_0F38, MAP_0F3A, N_MAPS };
enum { PP_ANY = -1, PP_NP, PP_66, PP_F3, PP_F2 };
enum { MOD_ANY = -1, MOD_MEM = 0, MOD_REG = 3 };

/* What a line asks for besides its opcode, as bits; of an instruction: what it is. */
enum {
    KEY_PP = 3 << 0,
    KEY_L = 1 << 2,
    KEY_W = 1 << 3,
    KEY_64 = 1 << 4,   /* 64-bit code */
    KEY_REAL = 1 << 5, /* real or virtual-8086 mode */
    KEY_REG = 1 << 6,  /* ModRM: no memory */
    KEY_MODRM_SHIFT = 8,
    KEY_MODRM = 0xff << KEY_MODRM_SHIFT | KEY_REG,
};

struct entry {
    const struct x86_line *line;
    uint16_t mask, value; /* KEY_* that count, and what they are */
    bool vex, has_modrm, uses_vvvv, plus_r, is4, vsib;
    uint8_t map, opcode;
    int8_t pp, digit, mod, l, w; /* -1: any */
    uint8_t modrm, n_modrm;      /* ModRM bytes modrm to modrm + n_modrm - 1; n_modrm 0: any */
    uint8_t score;               /* how much the line says */
    uint8_t n_places;
    struct place place[X86_N_OPERANDS];
};

struct x86_decoder {
    size_t n, n_lines;
    struct entry *entries; /* by vex, map, opcode, then the narrower first */
    uint16_t first[2][N_MAPS][256], count[2][N_MAPS][256];
    const struct entry **lines; /* one of each line */
};

static bool eat(const char **s, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*s, word, n) != 0)
        return false;
    *s += n;
    return true;
}

static void skip_blanks(const char **s)
{
    while (**s == ' ')
        ++*s;
}

static bool eat_hex(const char **s, uint8_t *byte)
{
    if (!isxdigit((unsigned char)(*s)[0]) || !isxdigit((unsigned char)(*s)[1]))
        return false;
    char digits[] = { (*s)[0], (*s)[1], 0 };
    *byte = (uint8_t)strtoul(digits, NULL, 16);
    *s += 2;
    return true;
}

static bool eat_map(const char **s, uint8_t *map)
{
    static const struct {
        const char *name;
        uint8_t map;
    } names[] = {
        { "0F38", MAP_0F38 },  { "0F 38", MAP_0F38 }, { "0F3A", MAP_0F3A },
        { "0F 3A", MAP_0F3A }, { "0F", MAP_0F },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (eat(s, names[i].name)) {
            *map = names[i].map;
            return true;
        }
    }
    return false;
}

/* VEX.256.66.0F38.W0 */
static void parse_vex(struct entry *e, const char **s)
{
    static const struct {
        const char *word;
        int8_t l, pp, w; /* -2: says nothing about it */
    } words[] = {
        { ".128", 0, -2, -2 },    { ".256", 1, -2, -2 },    { ".LIG", -1, -2, -2 },
        { ".LZ", 0, -2, -2 },     { ".L0", 0, -2, -2 },     { ".L1", 1, -2, -2 },
        { ".NP", -2, PP_NP, -2 }, { ".66", -2, PP_66, -2 }, { ".F3", -2, PP_F3, -2 },
        { ".F2", -2, PP_F2, -2 }, { ".WIG", -2, -2, -1 },   { ".W0", -2, -2, 0 },
        { ".W1", -2, -2, 1 },
    };
    e->vex = true;
    e->pp = PP_NP;
    while (**s == '.') {
        const char *at = *s + 1;
        bool known = eat_map(&at, &e->map);
        if (known)
            *s = at;
        for (size_t i = 0; i < ARRAY_LEN(words) && !known; i++) {
            if (!eat(s, words[i].word))
                continue;
            known = true;
            e->l = words[i].l == -2 ? e->l : words[i].l;
            e->pp = words[i].pp == -2 ? e->pp : words[i].pp;
            e->w = words[i].w == -2 ? e->w : words[i].w;
        }
        assert(known);
    }
}

static void parse_encoding(struct entry *e, const char *s)
{
    if (eat(&s, "VEX")) {
        parse_vex(e, &s);
    } else {
        static const char *const prefixes[] = { "NP ", "66 ", "F3 ", "F2 " };
        for (int again = 0; again < 2; again++)
            for (int8_t i = 0; i < 4; i++)
                if (eat(&s, prefixes[i]))
                    e->pp = i;
        if (eat(&s, "REX.W "))
            e->w = 1;
        eat_map(&s, &e->map);
    }
    skip_blanks(&s);
    bool opcode = eat_hex(&s, &e->opcode);
    assert(opcode), (void)opcode;
    if (eat(&s, "+r"))
        e->plus_r = true;
    skip_blanks(&s);
    if (*s == '/') {
        e->has_modrm = true;
        if (s[1] != 'r')
            e->digit = s[1] - '0';
        s += 2;
    } else if (eat_hex(&s, &e->modrm)) {
        e->has_modrm = true;
        e->n_modrm = eat(&s, "+i") ? 8 : 1;
    }
    skip_blanks(&s);
    assert(!*s);
}

static uint8_t size_code(const char *name, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(size_names); i++)
        if (strlen(size_names[i].name) == n && strncmp(size_names[i].name, name, n) == 0)
            return size_names[i].code;
    assert(!"an operand's size");
    return SZ_NONE;
}

static void parse_operand(struct entry *e, const char *s, size_t n)
{
    assert(e->n_places < X86_N_OPERANDS);
    struct place *p = &e->place[e->n_places++];
    for (uint8_t i = 0; i < ARRAY_LEN(fixed_names); i++) {
        if (strlen(fixed_names[i].name) == n && strncmp(fixed_names[i].name, s, n) == 0) {
            *p = (struct place){ 'F', fixed_names[i].size, fixed_names[i].size, i };
            return;
        }
    }
    if (n == 3 && strncmp(s, "STi", 3) == 0) {
        *p = (struct place){ 'f', SZ_T, SZ_T, 0 };
        return;
    }
    const char *slash = memchr(s, '/', n);
    size_t first = slash ? (size_t)(slash - s) : n;
    p->letter = s[0];
    p->size = p->mem_size = size_code(s + 1, first - 1);
    if (slash) { /* a register in one size or memory in another */
        p->mem_size = size_code(slash + 2, n - first - 2);
        p->letter = s[0] == 'R' ? 'E' : s[0] == 'N' ? 'Q' : 'W';
    }
}

static void parse_operands(struct entry *e, const char *s)
{
    while (s && *s) {
        size_t n = strcspn(s, ",");
        parse_operand(e, s, n);
        s += n + (s[n] == ',');
    }
    for (unsigned i = 0; i < e->n_places; i++) {
        char c = e->place[i].letter;
        if (strchr("MT", c))
            e->mod = MOD_MEM;
        if (strchr("NURf", c) && !(e->line->flags & X86_ANY_MOD))
            e->mod = MOD_REG;
        e->uses_vvvv |= c == 'B' || c == 'H';
        e->is4 |= c == 'L';
        e->vsib |= c == 'T';
        assert(!strchr("EGMNPQRSTUVWCD", c) || e->has_modrm);
    }
}

static void ask(struct entry *e, bool asked, unsigned mask, unsigned value)
{
    if (!asked)
        return;
    e->mask |= mask;
    e->value |= value;
}

static void make_key(struct entry *e)
{
    uint16_t flags = e->line->flags;
    ask(e, e->pp != PP_ANY, KEY_PP, (unsigned)e->pp);
    ask(e, e->l >= 0, KEY_L, e->l ? KEY_L : 0);
    ask(e, e->w >= 0, KEY_W, e->w ? KEY_W : 0);
    ask(e, flags & X86_NO64, KEY_64, 0);
    ask(e, flags & X86_ONLY64, KEY_64, KEY_64);
    ask(e, flags & X86_PROTECTED, KEY_REAL, 0);
    ask(e, e->has_modrm && e->mod != MOD_ANY, KEY_REG, e->mod == MOD_REG ? KEY_REG : 0);
    ask(e, e->digit >= 0, 0x38 << KEY_MODRM_SHIFT, (unsigned)e->digit << (KEY_MODRM_SHIFT + 3));
    ask(e, e->n_modrm, (0x100u - e->n_modrm) << KEY_MODRM_SHIFT,
        (unsigned)e->modrm << KEY_MODRM_SHIFT);
}

static void parse_line(struct entry *e, const struct x86_line *line)
{
    *e =
        (struct entry){ .line = line, .pp = PP_ANY, .digit = -1, .mod = MOD_ANY, .l = -1, .w = -1 };
    parse_encoding(e, line->encoding);
    parse_operands(e, line->operands);
    e->score = (uint8_t)((e->n_modrm == 1) * 64 + (e->n_modrm == 8) * 32 + (e->digit >= 0) * 16 +
                         (e->pp != PP_ANY) * 4 + (e->mod >= 0) * 2 + (e->l >= 0) + (e->w >= 0));
    make_key(e);
}

static int by_place(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->vex != y->vex)
        return x->vex - y->vex;
    if (x->map != y->map)
        return x->map - y->map;
    if (x->opcode != y->opcode)
        return x->opcode - y->opcode;
    if (x->score != y->score)
        return y->score - x->score;
    return x->line < y->line ? -1 : x->line > y->line;
}

static const struct x86_insn_table *const table_lists[] = {
    x86_int_tables, x86_bit_tables, x86_jump_tables, x86_string_tables, x86_sys_tables,
    x86_sse_tables, x86_avx_tables, x86_x87_tables,  x86_cet_tables,
};

static void visit_lines(const struct x86_model *m,
                        void (*visit)(struct x86_decoder *d, const struct x86_line *line),
                        struct x86_decoder *d)
{
    for (size_t i = 0; i < ARRAY_LEN(table_lists); i++)
        for (const struct x86_insn_table *t = table_lists[i]; t->at; t++)
            if (t->word == X86_ALWAYS || x86_model_has(m, t->word, t->bit))
                for (unsigned k = 0; k < t->n; k++)
                    visit(d, &t->at[k]);
}

static void count_line(struct x86_decoder *d, const struct x86_line *line)
{
    d->n += 8;
    d->n_lines++;
}

static void add_line(struct x86_decoder *d, const struct x86_line *line)
{
    struct entry e;
    parse_line(&e, line);
    for (unsigned r = 0; r < (e.plus_r ? 8 : 1); r++) {
        d->entries[d->n++] = e;
        e.opcode++;
    }
}

struct x86_decoder *x86_decoder_new(const struct x86_model *m)
{
    struct x86_decoder *d = xcalloc(1, sizeof(*d));
    visit_lines(m, count_line, d);
    d->entries = xcalloc(d->n + 1, sizeof(d->entries[0]));
    d->lines = xcalloc(d->n_lines + 1, sizeof(d->lines[0]));
    d->n = 0;
    visit_lines(m, add_line, d);
    qsort(d->entries, d->n, sizeof(d->entries[0]), by_place);
    d->n_lines = 0;
    for (size_t i = d->n; i-- > 0;) {
        const struct entry *e = &d->entries[i];
        d->first[e->vex][e->map][e->opcode] = (uint16_t)i;
        d->count[e->vex][e->map][e->opcode]++;
        if (!e->plus_r || (e->opcode & 7) == 0)
            d->lines[d->n_lines++] = e;
    }
    return d;
}

void x86_decoder_free(struct x86_decoder *d)
{
    if (!d)
        return;
    free(d->entries);
    free(d->lines);
    free(d);
}

/* ---- bytes --------------------------------------------------------------------------------------- */

struct cursor {
    const uint8_t *bytes;
    unsigned at, end;       /* end: of those that are there and may belong to an instruction */
    enum x86_decoded error; /* X86_DECODED: none */
    int8_t pp;
    bool vex;
    uint8_t map;
    bool real; /* real or virtual-8086 mode */
};

static uint8_t past_end(struct cursor *c)
{
    c->error = c->end == X86_MAX_INSN ? X86_TOO_LONG : X86_TRUNCATED;
    return 0;
}

static uint8_t peek8(struct cursor *c)
{
    return c->at < c->end ? c->bytes[c->at] : past_end(c);
}

static uint8_t get8(struct cursor *c)
{
    uint8_t byte = peek8(c);
    c->at++;
    return byte;
}

/* n bytes (1, 2, 4, 8), sign-extended. */
static int64_t get_signed(struct cursor *c, unsigned n)
{
    const uint8_t *from = c->bytes + c->at;
    c->at += n;
    if (c->at > c->end)
        return past_end(c);
    return n == 1 ? (int8_t)*from : sext(load_le(from, n), 8 * n);
}

static bool is_prefix(uint8_t byte, unsigned bits)
{
    static const uint64_t legacy[4] = {
        (uint64_t)1 << 0x26 | (uint64_t)1 << 0x2e | (uint64_t)1 << 0x36 | (uint64_t)1 << 0x3e,
        (uint64_t)15 << (0x64 - 0x40),
        0,
        (uint64_t)13 << (0xf0 - 0xc0),
    };
    return legacy[byte >> 6] >> (byte & 63) & 1 || (bits == 64 && (byte & 0xf0) == 0x40);
}

/* Legacy prefixes and REX (SDM 2-2.1.1, 2.2.1). */
static void take_prefixes(struct cursor *c, struct x86_insn *i)
{
    for (uint8_t byte; is_prefix(byte = peek8(c), i->bits);) {
        uint8_t segment = X86_REG_NONE;
        switch (byte) {
        case 0xf0: i->prefixes |= X86_PFX_LOCK; break;
        case 0xf2: i->prefixes = (i->prefixes & ~X86_PFX_REP) | X86_PFX_REPNE; break;
        case 0xf3: i->prefixes = (i->prefixes & ~X86_PFX_REPNE) | X86_PFX_REP; break;
        case 0x66: i->prefixes |= X86_PFX_66; break;
        case 0x67: i->prefixes |= X86_PFX_67; break;
        case 0x26: segment = X86_ES; break;
        case 0x2e: segment = X86_CS; break;
        case 0x36: segment = X86_SS; break;
        case 0x3e: segment = X86_DS; break;
        case 0x64: segment = X86_FS; break;
        case 0x65: segment = X86_GS; break;
        default:
            i->rex = byte;
            c->at++;
            continue;
        }
        if (segment != X86_REG_NONE)
            i->prefixes = (i->prefixes & ~X86_PFX_3E) | (segment == X86_DS ? X86_PFX_3E : 0);
        if (segment != X86_REG_NONE && (i->bits != 64 || segment >= X86_FS)) {
            i->seg = segment;
            i->seg_override = true;
        }
        i->rex = 0; /* counts only right before the opcode */
        c->at++;
    }
}

/* C4 and C5 are VEX in 64-bit code, and where LES and LDS would have a register operand (SDM 2-2.3.5). */
static bool take_vex(struct cursor *c, struct x86_insn *i, uint8_t first)
{
    if ((first != 0xc4 && first != 0xc5) || (i->bits != 64 && peek8(c) < 0xc0))
        return false;
    static const int8_t pps[] = { PP_NP, PP_66, PP_F3, PP_F2 };
    uint8_t b1 = get8(c), b2 = 0x61; /* C5: map 0F, X and B not extended */
    if (c->real || i->prefixes & (X86_PFX_LOCK | X86_PFX_REP | X86_PFX_REPNE | X86_PFX_66) ||
        i->rex)
        c->error = c->error ? c->error : X86_ILLEGAL;
    if (first == 0xc4) {
        b2 = b1;
        b1 = get8(c);
    } else {
        b2 |= b1 & 0x80;
    }
    bool w = first == 0xc4 && b1 & 0x80;
    c->vex = i->vex = true;
    c->map = b2 & 0x1f;
    c->pp = pps[b1 & 3];
    i->vex_l = b1 & 4;
    i->vvvv = ~b1 >> 3 & 15;
    i->rex = (uint8_t)(0x40 | (i->bits == 64 ? (~b2 >> 5 & 7) : 0) | w << 3);
    if (i->bits != 64)
        i->vvvv &= 7;
    if (c->map == 0 || c->map >= N_MAPS)
        c->error = c->error ? c->error : X86_ILLEGAL;
    i->opcode = get8(c);
    return true;
}

static void take_opcode(struct cursor *c, struct x86_insn *i)
{
    c->pp = i->prefixes & X86_PFX_REPNE ? PP_F2
            : i->prefixes & X86_PFX_REP ? PP_F3
            : i->prefixes & X86_PFX_66  ? PP_66
                                        : PP_NP;
    uint8_t byte = get8(c);
    if (take_vex(c, i, byte))
        return;
    if (byte == 0x0f) {
        c->map = MAP_0F;
        byte = get8(c);
        if (byte == 0x38 || byte == 0x3a) {
            c->map = byte == 0x38 ? MAP_0F38 : MAP_0F3A;
            byte = get8(c);
        }
    }
    i->opcode = byte;
}

static const struct entry *find_line(const struct x86_decoder *d, struct cursor *c,
                                     const struct x86_insn *i)
{
    unsigned first = d->first[c->vex][c->map][i->opcode], n = d->count[c->vex][c->map][i->opcode];
    bool there = c->at < c->end;
    unsigned modrm = there ? c->bytes[c->at] : 0, known = there ? ~0u : ~(unsigned)KEY_MODRM;
    unsigned key = (unsigned)c->pp | (i->vex_l ? KEY_L : 0) | (i->rex & 8 ? KEY_W : 0) |
                   (i->bits == 64 ? KEY_64 : 0) | (c->real ? KEY_REAL : 0) |
                   (modrm >= 0xc0 ? KEY_REG : 0) | modrm << KEY_MODRM_SHIFT;
    for (const struct entry *e = &d->entries[first]; n--; e++) {
        if ((key ^ e->value) & e->mask & known)
            continue;
        if (e->has_modrm && !there)
            past_end(c);
        return e;
    }
    return NULL;
}

static void set_sizes(struct x86_insn *i, const struct x86_line *line)
{
    bool p66 = i->prefixes & X86_PFX_66;
    if (i->bits != 64)
        i->osize = (i->bits == 32) != p66 ? 4 : 2;
    else if (line->flags & X86_F64 || i->rex & 8)
        i->osize = 8;
    else if (p66)
        i->osize = 2;
    else
        i->osize = line->flags & X86_D64 ? 8 : 4;
}

/* ---- ModRM (SDM 2-2.1.5) -------------------------------------------------------------------------- */

static void take_memory16(struct cursor *c, struct x86_insn *i)
{
    static const uint8_t bases[] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP,
                                     X86_RSI, X86_RDI, X86_RBP, X86_RBX };
    static const uint8_t indices[] = { X86_RSI, X86_RDI, X86_RSI, X86_RDI };
    unsigned mod = i->modrm >> 6, rm = i->modrm & 7;
    i->base = bases[rm];
    i->index = rm < 4 ? indices[rm] : X86_REG_NONE;
    if (mod == 0 && rm == 6) {
        i->base = X86_REG_NONE;
        i->disp = get_signed(c, 2);
    } else if (mod) {
        i->disp = get_signed(c, mod);
    }
    if (i->base == X86_RBP && !i->seg_override)
        i->seg = X86_SS;
}

static void take_memory(struct cursor *c, struct x86_insn *i, bool vsib)
{
    unsigned mod = i->modrm >> 6, rm = i->modrm & 7, rex_b = (i->rex & 1) << 3;
    if (i->asize == 2) {
        if (vsib)
            c->error = X86_ILLEGAL;
        take_memory16(c, i);
        return;
    }
    i->base = (uint8_t)(rm | rex_b);
    if (rm == 4) {
        uint8_t sib = get8(c);
        i->scale = sib >> 6;
        i->index = (uint8_t)((sib >> 3 & 7) | (i->rex & 2) << 2);
        if (i->index == X86_RSP && !vsib)
            i->index = X86_REG_NONE;
        i->base = (uint8_t)((sib & 7) | rex_b);
        if (mod == 0 && (sib & 7) == 5) {
            i->base = X86_REG_NONE;
            i->disp = get_signed(c, 4);
        }
    } else if (vsib) {
        c->error = X86_ILLEGAL;
    } else if (mod == 0 && rm == 5) {
        i->base = i->bits == 64 ? X86_REG_RIP : X86_REG_NONE;
        i->disp = get_signed(c, 4);
    }
    if (mod)
        i->disp = get_signed(c, mod == 1 ? 1 : 4);
    if ((i->base == X86_RSP || i->base == X86_RBP) && !i->seg_override)
        i->seg = X86_SS;
}

/* ---- operands --------------------------------------------------------------------------------------- */

static uint8_t size_of(const struct x86_insn *i, uint8_t code)
{
    static const uint8_t plain[] = {
        [SZ_B] = 1, [SZ_W] = 2, [SZ_D] = 4, [SZ_Q] = 8, [SZ_DQ] = 16, [SZ_QQ] = 32, [SZ_T] = 10
    };
    if (code < SZ_V)
        return plain[code];
    switch (code) {
    case SZ_V: return i->osize;
    case SZ_Z: return MIN(i->osize, 4);
    case SZ_Y: return i->rex & 8 && i->bits == 64 ? 8 : 4;
    case SZ_X: return i->vex_l ? 32 : 16;
    case SZ_P: return i->osize + 2;
    case SZ_A: return 2 * i->osize;
    default: return i->bits == 64 ? 10 : 6; /* SZ_S */
    }
}

/* SPL, BPL, SIL, DIL with REX; AH, CH, DH, BH without. */
static struct x86_operand gpr_operand(const struct x86_insn *i, uint8_t reg, uint8_t size)
{
    bool high = size == 1 && !i->rex && reg >= 4;
    return (struct x86_operand){ X86_OP_GPR, size, high ? reg - 4 : reg, high };
}

static void take_immediate(struct cursor *c, struct x86_insn *i, const struct place *p, bool second)
{
    unsigned n = size_of(i, p->size);
    int64_t v = get_signed(c, n);
    if (p->size == SZ_W)
        v &= 0xffff;
    i->imm_b = (uint8_t)v;
    if (!second)
        i->imm = v;
}

static void take_far(struct cursor *c, struct x86_insn *i)
{
    unsigned n = i->osize == 2 ? 2 : 4;
    i->imm = get_signed(c, n) & (n == 2 ? 0xffff : 0xffffffff);
    i->selector = (uint16_t)get_signed(c, 2);
}

/* ModRM's register, and its other register. */
static uint8_t reg_of(const struct x86_insn *i)
{
    return (uint8_t)((i->modrm >> 3 & 7) | (i->rex & 4) << 1);
}

static uint8_t rm_of(const struct x86_insn *i)
{
    return (uint8_t)((i->modrm & 7) | (i->rex & 1) << 3);
}

#define OPERAND(kind, size, ...) ((struct x86_operand){ (kind), (size), __VA_ARGS__ })

/* Of a letter that is ModRM's rm. */
static struct x86_operand rm_operand(const struct x86_insn *i, const struct place *p, uint8_t size)
{
    if (i->modrm < 0xc0 && !(i->line->flags & X86_ANY_MOD))
        return OPERAND(X86_OP_MEM, size_of(i, p->mem_size), 0);
    switch (p->letter) {
    case 'E': return gpr_operand(i, rm_of(i), size);
    case 'Q': return OPERAND(X86_OP_MMX, size, i->modrm & 7);
    default: return OPERAND(X86_OP_XMM, size, rm_of(i)); /* W */
    }
}

static struct x86_operand take_operand(struct cursor *c, struct x86_insn *i, const struct place *p,
                                       bool second_imm)
{
    uint8_t size = size_of(i, p->size);
    switch (p->letter) {
    case 'A': take_far(c, i); return OPERAND(X86_OP_FAR, i->osize, 0);
    case 'B': return gpr_operand(i, i->vvvv, size);
    case 'C': return OPERAND(X86_OP_CR, size, reg_of(i));
    case 'D': return OPERAND(X86_OP_DR, size, reg_of(i));
    case 'E':
    case 'Q':
    case 'W': return rm_operand(i, p, size);
    case 'F':
        if (fixed_names[p->fixed].kind == X86_OP_IMM)
            i->imm = fixed_names[p->fixed].reg;
        return OPERAND(fixed_names[p->fixed].kind, size, fixed_names[p->fixed].reg);
    case 'f': return OPERAND(X86_OP_ST, size, i->modrm & 7);
    case 'G': return gpr_operand(i, reg_of(i), size);
    case 'H': return OPERAND(X86_OP_XMM, size, i->vvvv);
    case 'I': take_immediate(c, i, p, second_imm); return OPERAND(X86_OP_IMM, size, 0);
    case 'J': i->imm = get_signed(c, size); return OPERAND(X86_OP_REL, size, 0);
    case 'L':
        i->imm_b = get8(c);
        return OPERAND(X86_OP_XMM, size, i->imm_b >> 4 & (i->bits == 64 ? 15 : 7));
    case 'M': return OPERAND(X86_OP_MEM, size_of(i, p->mem_size), 0);
    case 'N': return OPERAND(X86_OP_MMX, size, i->modrm & 7);
    case 'O': i->disp = get_signed(c, i->asize); return OPERAND(X86_OP_MEM, size, 0);
    case 'P': return OPERAND(X86_OP_MMX, size, reg_of(i) & 7);
    case 'R': return gpr_operand(i, rm_of(i), size);
    case 'S':
        if ((i->modrm >> 3 & 7) >= N_X86_SEGS)
            c->error = X86_ILLEGAL;
        return OPERAND(X86_OP_SEG, size, i->modrm >> 3 & 7);
    case 'T': return OPERAND(X86_OP_VSIB, size, 0);
    case 'U': return OPERAND(X86_OP_XMM, size, rm_of(i));
    case 'V': return OPERAND(X86_OP_XMM, size, reg_of(i));
    case 'X': return OPERAND(X86_OP_SI, size, 0);
    case 'Y': return OPERAND(X86_OP_DI, size, 0);
    case 'Z': return gpr_operand(i, (uint8_t)((i->opcode & 7) | (i->rex & 1) << 3), size);
    default: return OPERAND(X86_OP_NONE, 0, 0);
    }
}
#undef OPERAND

static void take_operands(struct cursor *c, struct x86_insn *i, const struct entry *e)
{
    bool had_imm = false;
    if (e->has_modrm) {
        i->modrm = get8(c);
        if (i->modrm < 0xc0 && !(e->line->flags & X86_ANY_MOD))
            take_memory(c, i, e->vsib);
    }
    for (unsigned k = 0; k < e->n_places; k++) {
        i->op[k] = take_operand(c, i, &e->place[k], had_imm);
        had_imm |= i->op[k].kind == X86_OP_IMM;
    }
}

enum x86_decoded x86_decode(const struct x86_decoder *d, uint32_t state_word, const uint8_t *bytes,
                            size_t n, struct x86_insn *out)
{
    struct cursor c = { .bytes = bytes, .end = MIN(n, X86_MAX_INSN) };
    c.real = !(state_word & X86_TR_PE) || state_word & X86_TR_VM;
    *out = (struct x86_insn){ .base = X86_REG_NONE, .index = X86_REG_NONE, .seg = X86_DS };
    out->bits = state_word & X86_TR_CODE64 ? 64 : state_word & X86_TR_CODE32 ? 32 : 16;
    take_prefixes(&c, out);
    bool p67 = out->prefixes & X86_PFX_67;
    out->asize = out->bits == 64 ? (p67 ? 4 : 8) : (out->bits == 32) != p67 ? 4 : 2;
    take_opcode(&c, out);
    const struct entry *e = c.error ? NULL : find_line(d, &c, out);
    if (e && !c.error) {
        out->line = e->line;
        out->extra = e->line->extra;
        set_sizes(out, e->line);
        take_operands(&c, out, e);
        if (out->vex && !e->uses_vvvv && out->vvvv)
            c.error = c.error ? c.error : X86_ILLEGAL;
        if (out->prefixes & X86_PFX_LOCK &&
            !(e->line->flags & X86_LOCKABLE && out->op[0].kind == X86_OP_MEM))
            c.error = c.error ? c.error : X86_ILLEGAL;
    } else if (!c.error) {
        c.error = X86_ILLEGAL;
    }
    out->len = (uint8_t)MIN(c.at, c.end);
    if (c.error)
        out->line = NULL;
    return c.error;
}

/* ---- for tests ---------------------------------------------------------------------------------------- */

size_t x86_decoder_n_lines(const struct x86_decoder *d)
{
    return d->n_lines;
}

const struct x86_line *x86_decoder_line(const struct x86_decoder *d, size_t i)
{
    return d->lines[i]->line;
}

static unsigned put_vex(const struct entry *e, bool bits64, uint64_t random, uint8_t *to)
{
    static const uint8_t pps[] = { 0, 1, 2, 3 };
    uint8_t w = e->w >= 0 ? (uint8_t)e->w : random & 1,
            l = e->l >= 0 ? (uint8_t)e->l : random >> 1 & 1;
    uint8_t vvvv = e->uses_vvvv ? random >> 2 & 15 : 15, rxb = bits64 ? random >> 6 & 7 : 7;
    if (!bits64)
        vvvv |= 8;
    to[0] = 0xc4;
    to[1] = (uint8_t)(rxb << 5 | e->map);
    to[2] = (uint8_t)(w << 7 | vvvv << 3 | l << 2 | pps[e->pp]);
    return 3;
}

static unsigned put_prefixes(const struct entry *e, bool bits64, uint64_t random, uint8_t *to)
{
    static const uint8_t pps[] = { 0, 0x66, 0xf3, 0xf2 };
    unsigned n = 0;
    if (e->pp == PP_ANY && (random & 3) == 0)
        to[n++] = 0x66;
    if ((random >> 2 & 7) == 0)
        to[n++] = 0x67;
    if ((random >> 5 & 15) == 0 && !(e->line->flags & X86_SYSTEM))
        to[n++] = random & 1 << 9 ? 0x64 : 0x65;
    if (e->line->flags & X86_LOCKABLE && (random >> 16 & 3) == 0)
        to[n++] = 0xf0;
    if (e->pp > PP_NP)
        to[n++] = pps[e->pp];
    if (bits64 && (e->w == 1 || random >> 10 & 1))
        to[n++] = (uint8_t)(0x40 | (random >> 11 & 15) | (e->w == 1) << 3);
    return n;
}

unsigned x86_decoder_random(const struct x86_decoder *d, size_t line, uint32_t state_word,
                            uint64_t (*random)(void *opaque), void *opaque,
                            uint8_t bytes[X86_MAX_INSN])
{
    static const uint8_t escapes[N_MAPS][2] = {
        [MAP_0F] = { 0x0f }, [MAP_0F38] = { 0x0f, 0x38 }, [MAP_0F3A] = { 0x0f, 0x3a }
    };
    const struct entry *e = d->lines[line];
    bool bits64 = state_word & X86_TR_CODE64;
    uint8_t b[64];
    unsigned n =
        e->vex ? put_vex(e, bits64, random(opaque), b) : put_prefixes(e, bits64, random(opaque), b);
    for (unsigned k = 0; k < 2 && !e->vex && escapes[e->map][k]; k++)
        b[n++] = escapes[e->map][k];
    uint64_t r = random(opaque);
    b[n++] = (uint8_t)(e->opcode + (e->plus_r ? r & 7 : 0));
    if (e->has_modrm) {
        uint8_t modrm = (uint8_t)(r >> 8);
        if (e->mod == MOD_REG || (e->mod == MOD_ANY && r & 1 << 20))
            modrm |= 0xc0;
        else if (modrm >= 0xc0)
            modrm -= 0x40 + (r >> 16 & 0x40);
        if (e->digit >= 0)
            modrm = (uint8_t)((modrm & 0xc7) | e->digit << 3);
        if (e->n_modrm)
            modrm = (uint8_t)(e->modrm + (r >> 24) % e->n_modrm);
        b[n++] = modrm;
    }
    for (unsigned k = 0; k < 16; k++)
        b[n + k] = (uint8_t)(random(opaque) >> 13);
    struct x86_insn insn;
    if (x86_decode(d, state_word, b, X86_MAX_INSN, &insn) != X86_DECODED || insn.line != e->line)
        return 0;
    memcpy(bytes, b, insn.len);
    return insn.len;
}
