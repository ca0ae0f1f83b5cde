#include "tcg/decode.h"

#include "core/error.h"
#include "core/util.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_PIECES = 12, MAX_STEP_BITS = 7, LEAF = 0x8000, NOTHING = 0xffff };
enum { OP_A, OP_B, OP_C, OP_D, OP_M, OP_N, N_OPS, OP_IMM = N_OPS };

/* A run of bits of the word and where it goes. */
struct piece {
    uint8_t op, from, len, to;
};

/* One line, compiled. */
struct form {
    uint32_t mask, value;
    uint32_t not_zero; /* some of these bits are set, unless it is 0 */
    const struct insn *insn;
    struct piece pieces[MAX_PIECES];
    uint8_t n_pieces;
    uint8_t sign;          /* bits in a signed immediate, else 0 */
    uint8_t bias[N_OPS];   /* added to the field */
    const char *malformed; /* what is wrong with the line, for decoder_check */
};

/* The tree: a step takes `bits` bits of the word as an index into `ways` behind `first`. A way is the
 * number of a step, LEAF | the start of a list in `lists` (lines, narrowest first, up to NOTHING), or
 * NOTHING. */
struct step {
    uint8_t shift, bits;
    uint16_t first;
};

struct decoder {
    struct form *forms;
    size_t n_forms;
    unsigned width;
    uint16_t root;
    struct step *steps;
    uint16_t *ways, *lists;
    size_t n_steps, n_ways, n_lists, room_steps, room_ways, room_lists;
};

/* ---- reading a line -------------------------------------------------------------------------- */

static void add_piece(struct form *f, uint8_t op, unsigned from, unsigned len, unsigned to)
{
    if (f->n_pieces == MAX_PIECES)
        f->malformed = "too many pieces";
    else
        f->pieces[f->n_pieces++] = (struct piece){ op, from, len, to };
}

static int op_of_letter(char c)
{
    static const char letters[] = "abcdmn";
    const char *at = strchr(letters, c | 0x20);
    return at && *at ? (int)(at - letters) : -1;
}

/* A run of `len` letters c whose lowest bit is `from`. */
static void read_field(struct form *f, char c, unsigned from, unsigned len)
{
    bool upper = c >= 'A' && c <= 'Z';
    char lower = c | 0x20;
    int first = lower == 'x' ? OP_A : op_of_letter(c);
    if (first < 0) {
        f->malformed = "unknown letter";
        return;
    }
    add_piece(f, first, from, len, 0);
    f->bias[first] = upper ? 8 : 0;
    if (lower == 'x') {
        add_piece(f, OP_D, from, len, 0);
        f->bias[OP_D] = upper ? 8 : 0;
    }
}

/* Give the i bits of the word (at[0..n), from the left) their places in the immediate. */
static void read_immediate(struct form *f, const char *layout, const uint8_t *at, unsigned n)
{
    unsigned used = 0, top = 0;
    bool is_signed = layout && *layout == 's';
    for (const char *s = layout ? layout + is_signed : ""; *s;) {
        char *end;
        unsigned high = strtoul(s, &end, 10), low = high;
        if (*end == ':')
            low = strtoul(end + 1, &end, 10);
        if (end == s || low > high || used + (high - low + 1) > n) {
            f->malformed = "immediate layout does not fit the i's";
            return;
        }
        top = MAX(top, high);
        for (unsigned bit = high + 1; bit-- > low;) {
            unsigned from = at[used++];
            struct piece *last = f->n_pieces ? &f->pieces[f->n_pieces - 1] : NULL;
            if (last && last->op == OP_IMM && last->from == from + 1 && last->to == bit + 1)
                last->from--, last->to--, last->len++;
            else
                add_piece(f, OP_IMM, from, 1, bit);
        }
        s = *end ? end + 1 : end;
    }
    if (used != n)
        f->malformed = "immediate layout does not fit the i's";
    f->sign = is_signed ? top + 1 : 0;
}

static void read_line(struct form *f, const struct insn *insn, unsigned width)
{
    uint8_t imm_at[32];
    unsigned n_imm = 0, at = width;
    *f = (struct form){ .insn = insn };
    for (const char *s = insn->bits + strspn(insn->bits, " "); *s;) {
        char c = *s;
        unsigned len = 0;
        while (*s == c) { /* a field may go on behind a blank */
            len++, s++;
            s += strspn(s, " ");
        }
        if (len > at) {
            f->malformed = "too many bits";
            return;
        }
        at -= len;
        uint32_t run = bits(~0u, 0, len) << at;
        if (c == '0' || c == '1') {
            f->mask |= run;
            f->value |= c == '1' ? run : 0;
        } else if (c == 'i') {
            for (unsigned i = len; i-- > 0;)
                imm_at[n_imm++] = at + i;
        } else {
            read_field(f, c, at, len);
        }
        if (c == insn->not_zero)
            f->not_zero |= run;
    }
    if (at)
        f->malformed = "too few bits";
    else
        read_immediate(f, insn->imm, imm_at, n_imm);
}

/* ---- the tree -------------------------------------------------------------------------------- */

static unsigned n_fixed(const struct decoder *d, uint16_t line)
{
    return __builtin_popcount(d->forms[line].mask);
}

static uint16_t add_list(struct decoder *d, const uint16_t *lines, size_t n)
{
    if (d->n_lists + n + 1 > d->room_lists) {
        d->room_lists = 2 * d->room_lists + n + 256;
        d->lists = xrealloc(d->lists, d->room_lists * sizeof(*d->lists));
    }
    uint16_t *to = d->lists + d->n_lists;
    uint16_t start = d->n_lists;
    memcpy(to, lines, n * sizeof(*to));
    for (size_t i = 1; i < n; i++) { /* narrowest first */
        for (size_t j = i; j && n_fixed(d, to[j]) > n_fixed(d, to[j - 1]); j--) {
            uint16_t swap = to[j];
            to[j] = to[j - 1], to[j - 1] = swap;
        }
    }
    to[n] = NOTHING;
    d->n_lists += n + 1;
    assert(d->n_lists < LEAF);
    return LEAF | start;
}

/* The run of bits in `common` that tells most of the lines apart. */
static void choose_bits(const struct decoder *d, const uint16_t *lines, size_t n, uint32_t common,
                        unsigned *shift, unsigned *len)
{
    size_t best = 0;
    *len = 0;
    for (unsigned from = 0; from < d->width; from++) {
        unsigned k = 0;
        while (k < MAX_STEP_BITS && from + k < d->width && (common >> (from + k) & 1))
            k++;
        if (!k)
            continue;
        uint64_t seen[2] = { 0 };
        for (size_t i = 0; i < n; i++) {
            unsigned v = bits(d->forms[lines[i]].value, from, k);
            seen[v >> 6] |= (uint64_t)1 << (v & 63);
        }
        size_t distinct = __builtin_popcountll(seen[0]) + __builtin_popcountll(seen[1]);
        if (distinct > best)
            best = distinct, *shift = from, *len = k;
    }
    if (best < 2)
        *len = 0;
}

static uint16_t build(struct decoder *d, const uint16_t *lines, size_t n, uint32_t unseen)
{
    if (!n)
        return NOTHING;
    uint32_t common = unseen;
    for (size_t i = 0; i < n; i++)
        common &= d->forms[lines[i]].mask;
    unsigned shift = 0, len = 0;
    if (n > 2)
        choose_bits(d, lines, n, common, &shift, &len);
    if (!len)
        return add_list(d, lines, n);

    if (d->n_steps == d->room_steps) {
        d->room_steps = 2 * d->room_steps + 32;
        d->steps = xrealloc(d->steps, d->room_steps * sizeof(*d->steps));
    }
    size_t n_ways = (size_t)1 << len, first = d->n_ways;
    if (first + n_ways > d->room_ways) {
        d->room_ways = 2 * d->room_ways + n_ways + 512;
        d->ways = xrealloc(d->ways, d->room_ways * sizeof(*d->ways));
    }
    uint16_t number = d->n_steps++;
    d->n_ways += n_ways;
    assert(d->n_ways < NOTHING && number < LEAF);
    d->steps[number] = (struct step){ shift, len, first };
    uint16_t *some = xmalloc(n * sizeof(*some));
    for (size_t w = 0; w < n_ways; w++) {
        size_t n_some = 0;
        for (size_t i = 0; i < n; i++)
            if (bits(d->forms[lines[i]].value, shift, len) == w)
                some[n_some++] = lines[i];
        uint16_t way = build(d, some, n_some, unseen & ~(uint32_t)(bits(~0u, 0, len) << shift));
        d->ways[first + w] = way;
    }
    free(some);
    return number;
}

struct decoder *decoder_new(const struct insn_table *tables, size_t n_tables, unsigned width,
                            uint64_t features)
{
    struct decoder *d = xcalloc(1, sizeof(*d));
    size_t room = 0;
    for (size_t i = 0; i < n_tables; i++)
        room += tables[i].n;
    d->width = width;
    d->forms = xcalloc(room + 1, sizeof(*d->forms));
    for (size_t i = 0; i < n_tables; i++) {
        const struct insn_table *t = &tables[i];
        if ((t->all & ~features) || (t->any && !(t->any & features)))
            continue;
        for (size_t k = 0; k < t->n; k++)
            read_line(&d->forms[d->n_forms++], &t->at[k], width);
    }
    uint16_t *lines = xmalloc((room + 1) * sizeof(*lines));
    for (size_t i = 0; i < d->n_forms; i++)
        lines[i] = i;
    d->root = build(d, lines, d->n_forms, ~0u);
    free(lines);
    return d;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    free(d->forms);
    free(d->steps);
    free(d->ways);
    free(d->lists);
    free(d);
}

/* ---- using it -------------------------------------------------------------------------------- */

static bool is_line(const struct form *f, uint32_t word)
{
    return (word & f->mask) == f->value && (!f->not_zero || (word & f->not_zero));
}

int decoder_find(const struct decoder *d, uint32_t word)
{
    uint16_t at = d->root;
    while (at < LEAF) {
        const struct step *s = &d->steps[at];
        at = d->ways[s->first + (word >> s->shift & ((1u << s->bits) - 1))];
    }
    if (at == NOTHING)
        return -1;
    for (const uint16_t *l = d->lists + (at & ~LEAF); *l != NOTHING; l++)
        if (is_line(&d->forms[*l], word))
            return *l;
    return -1;
}

const struct insn *decoder_insn(const struct decoder *d, int line)
{
    return d->forms[line].insn;
}

size_t decoder_n_lines(const struct decoder *d)
{
    return d->n_forms;
}

void decoder_operands(const struct decoder *d, int line, uint32_t word, struct operands *o)
{
    const struct form *f = &d->forms[line];
    const struct insn *insn = f->insn;
    uint8_t v[N_OPS] = { [OP_A] = insn->a, [OP_B] = insn->b, [OP_D] = insn->d };
    uint64_t imm = 0;
    for (unsigned i = 0; i < f->n_pieces; i++) {
        const struct piece *p = &f->pieces[i];
        uint32_t field = word >> p->from & (uint32_t)(((uint64_t)1 << p->len) - 1);
        if (p->op == OP_IMM)
            imm |= (uint64_t)field << p->to;
        else
            v[p->op] = field + f->bias[p->op];
    }
    *o = (struct operands){ .insn = insn,
                            .imm = f->sign ? sext(imm, f->sign) : (int64_t)imm,
                            .a = v[OP_A],
                            .b = v[OP_B],
                            .c = v[OP_C],
                            .d = v[OP_D],
                            .m = v[OP_M],
                            .n = v[OP_N],
                            .len = d->width / 8,
                            .extra = insn->extra };
}

void decoder_fixed(const struct decoder *d, int line, uint32_t *mask, uint32_t *value)
{
    *mask = d->forms[line].mask;
    *value = d->forms[line].value;
}

uint32_t decoder_random(const struct decoder *d, int line, uint64_t random)
{
    const struct form *f = &d->forms[line];
    uint32_t all = (uint32_t)bits(~0u, 0, d->width);
    uint32_t word = f->value | ((uint32_t)random & all & ~f->mask);
    if (f->not_zero && !(word & f->not_zero)) {
        uint32_t lowest = f->not_zero & -f->not_zero;
        word |= random >> 63 ? f->not_zero : lowest;
    }
    return word;
}

uint32_t decoder_encode(const struct decoder *d, int line, const struct operands *o)
{
    const struct form *f = &d->forms[line];
    const uint8_t v[N_OPS] = { o->a, o->b, o->c, o->d, o->m, o->n };
    uint32_t word = f->value;
    for (unsigned i = 0; i < f->n_pieces; i++) {
        const struct piece *p = &f->pieces[i];
        uint64_t from = p->op == OP_IMM ? (uint64_t)o->imm : (uint64_t)(v[p->op] - f->bias[p->op]);
        word |= (uint32_t)bits(from, p->op == OP_IMM ? p->to : 0, p->len) << p->from;
    }
    return word;
}

struct error *decoder_check(const struct decoder *d)
{
    for (size_t i = 0; i < d->n_forms; i++) {
        const struct form *f = &d->forms[i];
        if (f->malformed)
            return error_new("%s (%s): %s", f->insn->name, f->insn->bits, f->malformed);
        if (f->insn->not_zero && !f->not_zero)
            return error_new("%s (%s): no field %c", f->insn->name, f->insn->bits,
                             f->insn->not_zero);
        for (size_t k = 0; k < i; k++) {
            const struct form *g = &d->forms[k];
            uint32_t both = f->mask & g->mask;
            if ((f->value ^ g->value) & both)
                continue;
            bool nested = (both == f->mask) != (both == g->mask);
            if (!nested)
                return error_new("%s (%s) overlaps %s (%s)", f->insn->name, f->insn->bits,
                                 g->insn->name, g->insn->bits);
        }
    }
    return NULL;
}
