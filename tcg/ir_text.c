/* The IR as text: one line for each block, guest instruction and operation. See docs/ir.md. */
#include "core/error.h"
#include "core/util.h"
#include "tcg/ir.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const type_names[] = {
    [IR_VOID] = "void", [IR_I32] = "i32",   [IR_I64] = "i64",  [IR_F32] = "f32",
    [IR_F64] = "f64",   [IR_V128] = "v128", [IR_V256] = "v256"
};
static const char *const cc_names[N_IR_CC] = { "eq",  "ne",  "lt",  "ge",  "le",  "gt", "ltu",
                                               "geu", "leu", "gtu", "feq", "flt", "fle" };
static const char *const rmw_names[N_IR_RMW] = { "swap", "add", "and",  "or",  "xor",
                                                 "min",  "max", "minu", "maxu" };

/* Bits of a field by name. */
struct word {
    const char *name;
    uint8_t bit;
};
static const struct word shape_words[] = { { "pair", IR_PAIR },
                                           { "aligned", IR_ALIGNED },
                                           { "acquire", IR_ACQUIRE },
                                           { "release", IR_RELEASE },
                                           { NULL, 0 } };
static const struct word fence_words[] = { { "rr", IR_FENCE_RR },
                                           { "rw", IR_FENCE_RW },
                                           { "wr", IR_FENCE_WR },
                                           { "ww", IR_FENCE_WW },
                                           { NULL, 0 } };
static const struct word fma_words[] = { { "neg_product", IR_FMA_NEG_PRODUCT },
                                         { "neg_addend", IR_FMA_NEG_ADDEND },
                                         { NULL, 0 } };
static const struct word ftoi_words[] = {
    { "unsigned", IR_FTOI_UNSIGNED }, { "i32", IR_FTOI_32 }, { "trunc", IR_FTOI_TRUNC }, { NULL, 0 }
};
static const struct word itof_words[] = { { "unsigned", IR_ITOF_UNSIGNED },
                                          { "i32", IR_ITOF_32 },
                                          { NULL, 0 } };
static const struct word sext32_words[] = { { "low", IR_LOW_ONLY }, { NULL, 0 } };
static const struct word vec_words[] = { { "called", IR_VEC_CALLED }, { NULL, 0 } };
static const struct word no_words[] = { { NULL, 0 } };

/* Words behind the operands, held in x. */
static const struct word *words_of(enum ir_code code)
{
    switch (code) {
    case IR_fence: return fence_words;
    case IR_fma: return fma_words;
    case IR_ftoi: return ftoi_words;
    case IR_itof: return itof_words;
    case IR_sext32: return sext32_words;
    default: return no_words;
    }
}

/* ---- printing ----------------------------------------------------------------------------------- */

struct line {
    size_t n;
    char at[240];
};

__attribute__((format(printf, 2, 3))) static void put(struct line *l, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(l->at + l->n, sizeof(l->at) - l->n, fmt, ap);
    va_end(ap);
    l->n = MIN(l->n + (size_t)MAX(n, 0), sizeof(l->at) - 1);
}

static void put_number(struct line *l, int64_t v)
{
    if (v >= -4096 && v <= 4096)
        put(l, "%" PRId64, v);
    else
        put(l, "%#" PRIx64, (uint64_t)v);
}

/* An address relative to the unit's page. */
static void put_address(struct line *l, int64_t off)
{
    put(l, "%c0x%" PRIx64, off < 0 ? '-' : '+', off < 0 ? 0 - (uint64_t)off : (uint64_t)off);
}

static void put_target(struct line *l, uint16_t block, int64_t off)
{
    if (block != IR_NONE)
        put(l, "b%u", block);
    else
        put_address(l, off);
}

static void put_words(struct line *l, const struct word *words, unsigned set)
{
    for (; words->name; words++)
        if (set & words->bit)
            put(l, " %s", words->name);
}

static bool is_access(const struct ir_op *op)
{
    return op->code == IR_load || op->code == IR_store;
}

/* Groups are numbered by their leaders. */
static unsigned group_number(const struct ir *ir, uint16_t leader)
{
    unsigned n = 0;
    for (uint16_t i = 0; i < leader; i++)
        n += is_access(&ir->ops[i]) && ir->ops[i].d == i;
    return n;
}

static void put_shape(struct line *l, const struct ir *ir, uint16_t i)
{
    const struct ir_op *op = &ir->ops[i];
    put(l, " %c%u", op->shape & IR_SIGNED ? 's' : 'u', 8u << (op->shape & IR_SIZE_MASK));
    put_words(l, shape_words, op->shape);
    if (op->x & IR_MODE_MASK)
        put(l, " mode%u", op->x & IR_MODE_MASK);
    if (!is_access(op) || op->d == IR_NONE)
        return;
    put(l, " %s g%u", op->d == i ? "leads" : "in", group_number(ir, op->d));
    if (op->d == i)
        put(l, " %d..%d%s", IR_SPAN_LO(op->imm2), IR_SPAN_HI(op->imm2),
            op->x & IR_SPAN_WRITES ? " writes" : "");
}

static void put_address_operand(struct line *l, const struct ir_op *op)
{
    put(l, " v%u", op->a);
    if (op->imm)
        put(l, "%+" PRId64, op->imm);
}

static void put_values(struct line *l, const struct ir_op *op, unsigned from, unsigned n)
{
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    for (unsigned k = from; k < n; k++)
        put(l, "%s v%u", k ? "," : "", v[k]);
}

static void put_hint(struct line *l, const struct ir_op *op)
{
    if (op->x == IR_HINT_CALL) {
        put(l, " call ");
        put_address(l, op->imm2);
    } else if (op->x == IR_HINT_RETURN) {
        put(l, " return");
    } else if (op->x == IR_HINT_INLINED) {
        put(l, " return ");
        put_target(l, op->c, op->imm2);
    } else if (op->x == IR_HINT_TRAP) {
        put(l, " trap");
    }
}

static void put_call(struct line *l, const struct ir_op *op)
{
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    put(l, " %s(", ((const struct ir_helper *)(intptr_t)op->imm)->name);
    for (unsigned k = 0; k < op->x; k++)
        put(l, "%sv%u", k ? ", " : "", v[k]);
    put(l, ")");
}

/* What stands behind the operation's name. */
static void put_operation(struct line *l, const struct ir *ir, uint16_t i)
{
    const struct ir_op *op = &ir->ops[i];
    const struct ir_op_info *info = &ir_op_infos[op->code];
    const char *type = type_names[op->type];
    switch (op->code) {
    case IR_const:
        put(l, ".%s ", type);
        put_number(l, op->imm);
        break;
    case IR_word: put(l, " %" PRId64, op->imm); break;
    case IR_set_word: put(l, " %" PRId64 ", v%u", op->imm, op->a); break;
    case IR_window: put(l, " %#" PRIx64 ", v%u, v%u", (uint64_t)op->imm, op->a, op->b); break;
    case IR_get:
    case IR_forget: put(l, " %s", ir->slots[op->imm].name); break;
    case IR_set: put(l, " %s, v%u", ir->slots[op->imm].name, op->a); break;
    case IR_pc:
        put(l, " ");
        put_address(l, op->imm);
        break;
    case IR_setc:
    case IR_fcmp:
        put(l, " %s.%s", cc_names[op->cc], type);
        put_values(l, op, 0, 2);
        break;
    case IR_rmw: put(l, " %s", rmw_names[op->cc]); /* fall through */
    case IR_load:
    case IR_store:
    case IR_load_w:
    case IR_store_w:
    case IR_cas:
    case IR_copy:
    case IR_fill:
        put(l, ".%s", type);
        put_address_operand(l, op);
        put_values(l, op, 1, info->n_values);
        put_shape(l, ir, i);
        break;
    case IR_vec:
        put(l, " %s", ir_vec_infos[op->vec].name);
        put_values(l, op, 0, ir_vec_infos[op->vec].n_values);
        if (ir_vec_infos[op->vec].flags & IR_VEC_IMM)
            put(l, ", %" PRId64, op->imm);
        put_words(l, vec_words, op->x);
        break;
    case IR_call: put_call(l, op); break;
    case IR_jump:
        put(l, " ");
        put_target(l, op->c, op->imm);
        put_hint(l, op);
        break;
    case IR_branch:
        put(l, " %s.%s", cc_names[op->cc], type);
        put_values(l, op, 0, 2);
        put(l, ", ");
        put_target(l, op->c, op->imm);
        put(l, ", ");
        put_target(l, op->d, op->imm2);
        break;
    case IR_jumpi:
        put(l, " v%u", op->a);
        put_hint(l, op);
        break;
    case IR_leave:
        put(l, " ");
        put_address(l, op->imm);
        break;
    default:
        if (op->type != IR_VOID)
            put(l, ".%s", type);
        put_values(l, op, 0, info->n_values);
        put_words(l, words_of(op->code), op->x);
    }
}

static void mark_used(uint8_t *used, const struct ir_op *op)
{
    const ir_val v[4] = { op->a, op->b, op->c, op->d };
    unsigned n = ir_n_operands(op);
    for (unsigned k = 0; k < n; k++)
        if (v[k] < IR_MAX_OPS)
            used[v[k]] = 1;
}

static void print_block(const struct ir *ir, uint16_t n, unsigned *insn,
                        void (*print)(void *opaque, const char *line), void *opaque)
{
    const struct ir_block *b = &ir->blocks[n];
    uint8_t used[IR_MAX_OPS] = { 0 };
    for (uint16_t i = b->first; i < b->first + b->n; i++)
        mark_used(used, &ir->ops[i]);

    struct line head = { 0 };
    put(&head, "b%u %s", n, b->guest ? "" : "in ");
    put_address(&head, b->off);
    put(&head, "%s%s%s%s:", b->loops ? " loops" : "", b->after_call ? " after_call" : "",
        b->inlined ? " inlined" : "", b->follows ? " follows" : "");
    print(opaque, head.at);
    for (uint16_t i = b->first; i < b->first + b->n; i++) {
        const struct ir_op *op = &ir->ops[i];
        for (; *insn < ir->n_insns && ir->insns[*insn].op <= i; ++*insn) {
            struct line l = { 0 };
            put(&l, "  insn ");
            put_address(&l, ir->insns[*insn].off);
            put(&l, " %u", ir->insns[*insn].len);
            print(opaque, l.at);
        }
        if (op->code == IR_const && !used[i])
            continue; /* dead */
        struct line l = { 0 };
        put(&l, "    ");
        if (ir_op_infos[op->code].result != IR_RES_none)
            put(&l, "v%u = ", i);
        put(&l, "%s", ir_op_infos[op->code].name);
        put_operation(&l, ir, i);
        print(opaque, l.at);
    }
}

void ir_print(const struct ir *ir, void (*print)(void *opaque, const char *line), void *opaque)
{
    unsigned insn = 0;
    /* In order of their operations: block numbers are given out before. */
    for (uint16_t at = 0; at < ir->n_ops;) {
        uint16_t next = ir->n_ops;
        for (uint16_t n = 0; n < ir->n_blocks; n++) {
            const struct ir_block *b = &ir->blocks[n];
            if (b->n && b->first == at)
                print_block(ir, n, &insn, print, opaque);
            if (b->n && b->first > at && b->first < next)
                next = b->first;
        }
        at = next;
    }
}

/* ---- parsing ------------------------------------------------------------------------------------- */

struct parse {
    struct ir *ir;
    const struct ir_helper *const *helpers;
    size_t n_helpers;
    const char *p; /* what is left of the line */
    unsigned line;
    struct error *err;
    ir_val names[IR_MAX_OPS];     /* operation of v0, v1, ... */
    uint16_t leaders[IR_MAX_OPS]; /* of g0, g1, ... */
};

/* The first error counts. */
__attribute__((format(printf, 2, 3))) static bool bad(struct parse *p, const char *fmt, ...)
{
    if (p->err)
        return false;
    char text[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    p->err = error_new("line %u: %s", p->line, text);
    return false;
}

static void skip_space(struct parse *p)
{
    while (*p->p == ' ' || *p->p == '\t' || *p->p == '\r')
        p->p++;
}

static bool at_end(struct parse *p)
{
    skip_space(p);
    return !*p->p || *p->p == '\n' || *p->p == '#';
}

static bool is_name(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The next name, or "" if something else comes. */
static const char *name(struct parse *p, char out[64])
{
    size_t n = 0;
    skip_space(p);
    while (is_name(*p->p) && n < 63)
        out[n++] = *p->p++;
    out[n] = 0;
    return out;
}

/* Is s next? Then step over it. A name must be a whole one. */
static bool accept(struct parse *p, const char *s)
{
    size_t n = strlen(s);
    skip_space(p);
    if (strncmp(p->p, s, n) || (is_name(s[n - 1]) && is_name(p->p[n])))
        return false;
    p->p += n;
    return true;
}

static bool expect(struct parse *p, const char *s)
{
    return accept(p, s) || bad(p, "'%s' is missing at '%.20s'", s, p->p);
}

/* A decimal or hexadecimal number below 2^64 with an optional sign. */
static int64_t number(struct parse *p)
{
    bool neg = accept(p, "-");
    if (!neg)
        accept(p, "+");
    char *end;
    if (!isdigit((unsigned char)*p->p)) {
        bad(p, "a number is missing at '%.20s'", p->p);
        return 0;
    }
    uint64_t v = strtoull(p->p, &end, 0);
    p->p = end;
    return (int64_t)(neg ? 0 - v : v);
}

static int32_t number32(struct parse *p)
{
    int64_t v = number(p);
    if (v != (int32_t)v)
        bad(p, "%" PRId64 " is too large", v);
    return (int32_t)v;
}

/* The number behind `letter`, below `limit`. */
static unsigned numbered(struct parse *p, char letter, unsigned limit)
{
    skip_space(p);
    if (*p->p != letter || !isdigit((unsigned char)p->p[1])) {
        bad(p, "%c and a number are missing at '%.20s'", letter, p->p);
        return 0;
    }
    p->p++;
    int64_t v = number(p);
    if (v < 0 || v >= limit) {
        bad(p, "%c%" PRId64 " is too large", letter, v);
        return 0;
    }
    return (unsigned)v;
}

static ir_val value(struct parse *p)
{
    unsigned n = numbered(p, 'v', IR_MAX_OPS);
    if (p->names[n] == IR_NONE)
        bad(p, "v%u is not defined", n);
    return p->names[n];
}

static int find(const char *const *names, size_t n, const char *s)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], s))
            return (int)i;
    return -1;
}

static uint8_t one_of(struct parse *p, const char *const *names, size_t n, const char *what)
{
    char s[64];
    int i = find(names, n, name(p, s));
    if (i < 0)
        bad(p, "'%s' is no %s", s, what);
    return i < 0 ? 0 : (uint8_t)i;
}

static uint8_t type_suffix(struct parse *p)
{
    expect(p, ".");
    return one_of(p, type_names, ARRAY_LEN(type_names), "type");
}

static int64_t slot(struct parse *p)
{
    char s[64];
    name(p, s);
    for (uint16_t i = 0; i < p->ir->n_slots; i++)
        if (!strcmp(p->ir->slots[i].name, s))
            return i;
    bad(p, "no slot is called '%s'", s);
    return 0;
}

static uint8_t words(struct parse *p, const struct word *w)
{
    uint8_t set = 0;
    for (; w->name; w++)
        if (accept(p, w->name))
            set |= w->bit;
    return set;
}

static void values(struct parse *p, ir_val *v[4], unsigned from, unsigned n)
{
    for (unsigned k = from; k < n && !p->err; k++) {
        if (k)
            expect(p, ",");
        *v[k] = value(p);
    }
}

static void parse_shape(struct parse *p, struct ir_op *op, uint16_t i)
{
    skip_space(p);
    char sign = *p->p;
    if (sign != 's' && sign != 'u') {
        bad(p, "a shape as s32 or u8 is missing at '%.20s'", p->p);
        return;
    }
    unsigned width = numbered(p, sign, 257);
    unsigned size = 0;
    while (size < IR_256 && 8u << size != width)
        size++;
    if (8u << size != width)
        bad(p, "no access has %u bits", width);
    op->shape = size | (sign == 's' ? IR_SIGNED : 0) | words(p, shape_words);
    skip_space(p);
    if (!strncmp(p->p, "mode", 4)) {
        p->p += 3;
        op->x = numbered(p, 'e', IR_MODE_MASK + 1);
    }
    if (accept(p, "leads")) {
        p->leaders[numbered(p, 'g', IR_MAX_OPS)] = op->d = i;
        int64_t lo = number(p);
        expect(p, "..");
        int64_t hi = number(p);
        if (lo != (int16_t)lo || hi != (int16_t)hi)
            bad(p, "the span is too large");
        op->imm2 = IR_SPAN(lo, hi);
        op->x |= accept(p, "writes") ? IR_SPAN_WRITES : 0;
    } else if (accept(p, "in")) {
        unsigned g = numbered(p, 'g', IR_MAX_OPS);
        op->d = p->leaders[g];
        if (op->d == IR_NONE)
            bad(p, "g%u has no leader", g);
    }
}

static void parse_memory(struct parse *p, struct ir_op *op, uint16_t i)
{
    ir_val *v[4] = { &op->a, &op->b, &op->c, &op->d };
    if (op->code == IR_rmw)
        op->cc = one_of(p, rmw_names, N_IR_RMW, "kind of rmw");
    op->type = type_suffix(p);
    op->a = value(p);
    skip_space(p);
    if (*p->p == '+' || *p->p == '-')
        op->imm = number(p);
    values(p, v, 1, ir_op_infos[op->code].n_values);
    parse_shape(p, op, i);
}

static void parse_target(struct parse *p, uint16_t *block, int64_t *off)
{
    skip_space(p);
    if (*p->p == 'b')
        *block = numbered(p, 'b', IR_MAX_BLOCKS);
    else
        *off = number32(p);
}

static void parse_hint(struct parse *p, struct ir_op *op)
{
    if (accept(p, "call")) {
        op->x = IR_HINT_CALL;
        op->imm2 = number32(p);
    } else if (accept(p, "return")) {
        int64_t off = 0;
        skip_space(p);
        op->x = *p->p == 'b' || *p->p == '+' || *p->p == '-' ? IR_HINT_INLINED : IR_HINT_RETURN;
        if (op->x == IR_HINT_INLINED)
            parse_target(p, &op->c, &off);
        op->imm2 = (int32_t)off;
    } else if (accept(p, "trap")) {
        op->x = IR_HINT_TRAP;
    }
}

static void parse_call(struct parse *p, struct ir_op *op)
{
    ir_val *v[4] = { &op->a, &op->b, &op->c, &op->d };
    char s[64];
    name(p, s);
    const struct ir_helper *h = NULL;
    for (size_t i = 0; i < p->n_helpers && !h; i++)
        if (!strcmp(p->helpers[i]->name, s))
            h = p->helpers[i];
    op->type = IR_I64;
    op->imm = (intptr_t)h;
    op->x = h ? h->n_args : 0;
    if (!h) {
        bad(p, "no helper is called '%s'", s);
        return;
    }
    expect(p, "(");
    values(p, v, 0, op->x);
    expect(p, ")");
}

static void parse_vec(struct parse *p, struct ir_op *op)
{
    static const char *const names[N_IR_VECS] = {
#define IR_VEC(name_, types_, flags_, ...) #name_,
#include "tcg/vec_ops.h"
#undef IR_VEC
    };
    ir_val *v[4] = { &op->a, &op->b, &op->c, &op->d };
    char s[64];
    int i = find(names, N_IR_VECS, name(p, s));
    if (i < 0) {
        bad(p, "'%s' is no vector operation", s);
        return;
    }
    const struct ir_vec_info *info = &ir_vec_infos[i];
    op->vec = (uint16_t)i;
    values(p, v, 0, info->n_values);
    op->type = ir_vec_type(info->types[0], !p->err && ir_vec_is_wide(p->ir, op));
    if (info->flags & IR_VEC_IMM) {
        expect(p, ",");
        op->imm = number(p);
    }
    op->x = words(p, vec_words);
}

static void parse_condition(struct parse *p, struct ir_op *op)
{
    ir_val *v[4] = { &op->a, &op->b, &op->c, &op->d };
    op->cc = one_of(p, cc_names, N_IR_CC, "condition");
    op->type = type_suffix(p);
    values(p, v, 0, 2);
}

static void parse_operation(struct parse *p, struct ir_op *op, uint16_t i)
{
    ir_val *v[4] = { &op->a, &op->b, &op->c, &op->d };
    int64_t off = 0;
    switch (op->code) {
    case IR_const:
        op->type = type_suffix(p);
        op->imm = number(p);
        if (op->type == IR_I32 && op->imm == (uint32_t)op->imm)
            op->imm = (int32_t)op->imm;
        break;
    case IR_word:
        op->type = IR_I64;
        op->imm = number(p);
        break;
    case IR_set_word:
        op->type = IR_I64;
        op->imm = number(p);
        expect(p, ",");
        op->a = value(p);
        break;
    case IR_window:
        op->type = IR_I64;
        op->imm = number(p);
        expect(p, ",");
        op->a = value(p);
        expect(p, ",");
        op->b = value(p);
        break;
    case IR_get:
    case IR_forget:
        op->imm = slot(p);
        op->type = p->ir->slots[op->imm].type;
        break;
    case IR_set:
        op->imm = slot(p);
        op->type = p->ir->slots[op->imm].type;
        expect(p, ",");
        op->a = value(p);
        break;
    case IR_pc:
        op->type = IR_I64;
        op->imm = number32(p);
        break;
    case IR_setc:
    case IR_fcmp: parse_condition(p, op); break;
    case IR_load:
    case IR_store:
    case IR_load_w:
    case IR_store_w:
    case IR_rmw:
    case IR_cas:
    case IR_copy:
    case IR_fill: parse_memory(p, op, i); break;
    case IR_vec: parse_vec(p, op); break;
    case IR_call: parse_call(p, op); break;
    case IR_jump:
        parse_target(p, &op->c, &op->imm);
        parse_hint(p, op);
        break;
    case IR_branch:
        parse_condition(p, op);
        expect(p, ",");
        parse_target(p, &op->c, &op->imm);
        expect(p, ",");
        parse_target(p, &op->d, &off);
        op->imm2 = (int32_t)off;
        break;
    case IR_jumpi:
        op->a = value(p);
        parse_hint(p, op);
        break;
    case IR_leave: op->imm = number32(p); break;
    default:
        if (*p->p == '.')
            op->type = type_suffix(p);
        values(p, v, 0, ir_op_infos[op->code].n_values);
        op->x = words(p, words_of(op->code));
    }
}

static struct ir_op *next_op(struct parse *p)
{
    struct ir *ir = p->ir;
    if (ir->n_ops == IR_MAX_OPS) {
        bad(p, "more than %u operations", IR_MAX_OPS);
        ir->n_ops--;
    }
    struct ir_op *op = &ir->ops[ir->n_ops++];
    *op = (struct ir_op){
        .code = IR_const, .type = IR_I64, .a = IR_NONE, .b = IR_NONE, .c = IR_NONE, .d = IR_NONE
    };
    ir->blocks[ir->block].n = ir->n_ops - ir->blocks[ir->block].first;
    return op;
}

static void parse_op(struct parse *p)
{
    static const char *const codes[N_IR_OPS] = {
#define IR_OP(name_, result_, values_, flags_, meaning_) #name_,
#include "tcg/ops.h"
#undef IR_OP
    };
    struct ir *ir = p->ir;
    unsigned n = IR_NONE;
    skip_space(p);
    if (*p->p == 'v' && isdigit((unsigned char)p->p[1])) {
        n = numbered(p, 'v', IR_MAX_OPS);
        expect(p, "=");
        while (ir->n_ops < n && !p->err)
            next_op(p); /* what was dead is not printed */
    }
    uint16_t i = ir->n_ops;
    if (ir->ended) {
        bad(p, "an operation outside a block");
        return;
    }
    struct ir_op *op = next_op(p), new = *op;
    new.type = IR_VOID;
    new.code = one_of(p, codes, N_IR_OPS, "operation");
    if (!p->err)
        parse_operation(p, &new, i);
    if (p->err)
        return;
    *op = new;
    bool has_result = ir_op_infos[op->code].result != IR_RES_none;
    if (has_result != (n != IR_NONE))
        bad(p, has_result ? "a name for the result is missing" : "there is no result to name");
    else if (has_result && p->names[n] != IR_NONE)
        bad(p, "v%u is defined twice", n);
    else if (has_result)
        p->names[n] = i;
    ir->ended = ir_op_infos[op->code].flags & IR_END;
}

static void parse_block(struct parse *p)
{
    struct ir *ir = p->ir;
    unsigned n = numbered(p, 'b', IR_MAX_BLOCKS);
    if (!ir->ended)
        bad(p, "block b%u has no end", ir->block);
    for (; ir->n_blocks <= n; ir->n_blocks++)
        ir->blocks[ir->n_blocks] = (struct ir_block){ 0 };
    struct ir_block *b = &ir->blocks[n];
    if (b->n)
        bad(p, "b%u stands twice", n);
    *b = (struct ir_block){ .first = ir->n_ops };
    b->guest = !accept(p, "in");
    b->off = number32(p);
    b->loops = accept(p, "loops");
    b->after_call = accept(p, "after_call");
    b->inlined = accept(p, "inlined");
    b->follows = accept(p, "follows");
    expect(p, ":");
    ir->block = n;
    ir->ended = false;
}

static void parse_insn(struct parse *p)
{
    int32_t off = number32(p);
    int64_t len = number(p);
    if (p->ir->ended)
        bad(p, "an instruction outside a block");
    else if (len < 0 || len > 255 || p->ir->n_insns == IR_MAX_INSNS)
        bad(p, "an instruction too long, or one too many");
    else
        ir_begin_insn(p->ir, off, (uint8_t)len);
}

struct error *ir_parse(struct ir *ir, const char *text, const struct ir_slot *slots,
                       uint16_t n_slots, const struct ir_helper *const *helpers, size_t n_helpers)
{
    struct parse p = { .ir = ir, .helpers = helpers, .n_helpers = n_helpers };
    memset(p.names, 0xff, sizeof(p.names));
    memset(p.leaders, 0xff, sizeof(p.leaders));
    ir_start(ir, slots, n_slots);
    for (const char *at = text; at && *at && !p.err; at = strchr(at, '\n'), at += !!at) {
        p.p = at;
        p.line++;
        skip_space(&p);
        if (at_end(&p))
            continue;
        if (*p.p == 'b' && isdigit((unsigned char)p.p[1]))
            parse_block(&p);
        else if (accept(&p, "insn"))
            parse_insn(&p);
        else
            parse_op(&p);
        if (!p.err && !at_end(&p))
            bad(&p, "what is '%.*s'?", (int)MIN(strcspn(p.p, "\n"), 20), p.p);
    }
    return p.err ? p.err : ir_verify(ir);
}
