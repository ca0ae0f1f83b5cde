/* Repeated string instructions, a page at a time on host memory where both sides are plain RAM (SDM 1-7.3.9.2).
 *
 * Registers are written after each piece, so a fault or an interrupt finds them as the processor would leave them. */
#include "target/x86_64/string.h"

#include "core/util.h"
#include "target/x86_64/flags.h"
#include "tcg/target.h"

#include <string.h>

enum {
    ENOUGH = 1 << 20,  /* bytes before interrupts get a look */
    SLOW_ENOUGH = 256, /* elements done one by one */
};

struct rep {
    struct x86_cpu *x;
    enum x86_string_op op;
    unsigned size, asize, seg;
    bool until, down;

    bool code_written, stopped;
};

/* One of rSI and rDI, and where it points. */
struct side {
    unsigned reg, seg;
    bool write;
};

static uint64_t narrow(const struct rep *r, uint64_t v)
{
    return bits(v, 0, 8 * r->asize);
}

static void put_reg(const struct rep *r, unsigned reg, uint64_t v)
{
    uint64_t *to = &r->x->gpr[reg];
    *to = r->asize == 2 ? (*to & ~(uint64_t)0xffff) | (v & 0xffff) : narrow(r, v);
}

static void advance(const struct rep *r, const struct side *s, uint64_t n)
{
    uint64_t by = n * r->size;
    put_reg(r, s->reg, r->x->gpr[s->reg] + (r->down ? 0 - by : by));
}

static uint64_t turns_left(const struct rep *r)
{
    return narrow(r, r->x->gpr[X86_RCX]);
}

/* n turns are done. */
static void count_down(const struct rep *r, uint64_t n)
{
    put_reg(r, X86_RCX, turns_left(r) - n);
}

/* Is base added to an address, and nothing checked? */
static bool is_plain(const struct rep *r, unsigned seg)
{
    uint32_t word = r->x->state_word;
    if (word & (X86_TR_WATCH | X86_TR_TF | X86_TR_AC))
        return false;
    return word & X86_TR_CODE64 || x86_tr_flat(word, seg);
}

static uint64_t base_of(const struct rep *r, unsigned seg)
{
    return r->x->state_word & X86_TR_CODE64 && seg < X86_FS ? 0 : r->x->seg[seg].base;
}

static uint64_t linear(const struct rep *r, const struct side *s)
{
    uint64_t at = narrow(r, r->x->gpr[s->reg]);
    unsigned how = r->size | (s->write ? X86_LINEAR_WRITE : 0);
    uint64_t va = is_plain(r, s->seg) ? base_of(r, s->seg) + at : x86_linear(r->x, s->seg, at, how);
    if (r->x->state_word & X86_TR_WATCH)
        x86h_watch(r->x, va, how);
    return va;
}

/* ---- pieces ----------------------------------------------------------------------------------------- */

/* Elements from va on, in the direction of travel, that lie in its page; 0 where the first does not. */
static uint64_t in_page(const struct rep *r, uint64_t va)
{
    uint64_t off = va & 4095;
    if (off + r->size > 4096)
        return 0;
    return r->down ? off / r->size + 1 : (4096 - off) / r->size;
}

/* Where a piece of n elements whose first is at p begins. */
static uint8_t *lowest(const struct rep *r, uint8_t *p, uint64_t n)
{
    return r->down ? p - (n - 1) * r->size : p;
}

static void copy_one_by_one(const struct rep *r, uint8_t *to, const uint8_t *from, uint64_t n)
{
    ptrdiff_t step = r->down ? -(ptrdiff_t)r->size : (ptrdiff_t)r->size;
    for (; n; n--, to += step, from += step)
        store_le(to, r->size, load_le(from, r->size));
}

/* The first `period` of `bytes` at p again and again: what is there already doubles. */
static void spread(uint8_t *p, size_t period, size_t bytes)
{
    for (size_t done = period; done < bytes; done *= 2)
        memcpy(p + done, p, MIN(done, bytes - done));
}

/* What one element after the other gives, where the two overlap too: then the first elements written are
 * read again. Forwards that repeats the distance between them. */
static void copy(const struct rep *r, uint8_t *to, uint8_t *from, uint64_t n)
{
    size_t bytes = n * r->size;
    uint8_t *a = lowest(r, to, n), *b = lowest(r, from, n);
    bool behind = r->down ? b > a && b < a + bytes : a > b && a < b + bytes;
    if (!behind)
        memmove(a, b, bytes);
    else if (!r->down && (size_t)(a - b) >= r->size)
        spread(b, (size_t)(a - b), (size_t)(a - b) + bytes);
    else
        copy_one_by_one(r, to, from, n);
}

static void fill(const struct rep *r, uint8_t *to, uint64_t n)
{
    uint64_t v = bits(r->x->gpr[X86_RAX], 0, 8 * r->size);
    uint8_t *p = lowest(r, to, n);
    if (v == bits((v & 0xff) * 0x0101010101010101u, 0, 8 * r->size)) {
        memset(p, (int)(v & 0xff), n * r->size);
        return;
    }
    store_le(p, r->size, v);
    spread(p, r->size, n * r->size);
}

/* Elements, at most n, which surely do not decide: found many at a time. y's are compared with x's, or (x NULL)
 * with v. */
static uint64_t skip(const struct rep *r, const uint8_t *x, const uint8_t *y, uint64_t n,
                     uint64_t v)
{
    uint8_t same[256];
    size_t done = 0, bytes = n * r->size;
    if (!r->down && r->until && !x && r->size == 1) {
        const uint8_t *at = memchr(y, (int)v, n);
        return at ? (uint64_t)(at - y) : n;
    }
    if (r->down || r->until || bytes < sizeof(same))
        return 0;
    if (!x) {
        store_le(same, r->size, v);
        spread(same, r->size, sizeof(same));
    }
    while (bytes - done >= sizeof(same) && !memcmp(x ? x + done : same, y + done, sizeof(same)))
        done += sizeof(same);
    return done / r->size;
}

/* Turns until a comparison decides, at most n; *a and *b are what was compared last. */
static uint64_t compare(struct rep *r, const uint8_t *x, const uint8_t *y, uint64_t n, uint64_t *a,
                        uint64_t *b)
{
    ptrdiff_t step = r->down ? -(ptrdiff_t)r->size : (ptrdiff_t)r->size;
    uint64_t v = bits(r->x->gpr[X86_RAX], 0, 8 * r->size);
    uint64_t i = skip(r, x, y, n, v);
    if (i == n) /* the last one's values are wanted */
        i--;
    x = x ? x + (ptrdiff_t)i * step : NULL;
    y += (ptrdiff_t)i * step;
    for (; i < n; i++) {
        *a = x ? load_le(x, r->size) : v;
        *b = load_le(y, r->size);
        if ((*a == *b) == r->until) {
            r->stopped = true;
            return i + 1;
        }
        x = x ? x + step : NULL;
        y += step;
    }
    return n;
}

static void set_compared(struct rep *r, uint64_t a, uint64_t b)
{
    r->x->cc_op = X86_CC(CC_CMP, r->size);
    r->x->cc_dst = a;
    r->x->cc_src = b;
}

static void put_rax(struct rep *r, uint64_t v)
{
    uint64_t *rax = &r->x->gpr[X86_RAX];
    uint64_t mask = r->size == 8 ? ~(uint64_t)0 : ((uint64_t)1 << 8 * r->size) - 1;
    *rax = r->size == 4 ? (uint32_t)v : (*rax & ~mask) | (v & mask);
}

struct sides {
    bool has_source, has_dest;
    struct side source, dest;
};

static struct sides sides_of(const struct rep *r)
{
    struct sides s = { .source = { X86_RSI, r->seg, false }, .dest = { X86_RDI, X86_ES, false } };
    s.has_source = r->op == STRING_MOVS || r->op == STRING_CMPS || r->op == STRING_LODS;
    s.has_dest = r->op != STRING_LODS;
    s.dest.write = r->op == STRING_MOVS || r->op == STRING_STOS;
    return s;
}

static void advance_all(const struct rep *r, const struct sides *s, uint64_t n)
{
    if (s->has_source)
        advance(r, &s->source, n);
    if (s->has_dest)
        advance(r, &s->dest, n);
    count_down(r, n);
}

/* Host memory of one side, *n made as small as its page demands. False: it is not plain RAM. What is only
 * compared with comes before the source, what is written behind. */
static bool reach(struct rep *r, bool is_used, const struct side *s, uint64_t *n,
                  struct tcg_ram *out)
{
    if (!is_used)
        return true;
    uint64_t va = linear(r, s);
    *n = MIN(*n, in_page(r, va));
    return *n && tcg_ram_at(r->x->cpu, va, s->write ? ACCESS_WRITE : ACCESS_READ, 0, out);
}

/* As many turns as pages and RAM allow at once; 0: none. */
static uint64_t do_piece(struct rep *r, const struct sides *s)
{
    uint64_t n = MIN(turns_left(r), ENOUGH / r->size), a = 0, b = 0;
    struct tcg_ram from = { 0 }, to = { 0 };
    if (!s->dest.write && !reach(r, s->has_dest, &s->dest, &n, &to))
        return 0;
    if (!reach(r, s->has_source, &s->source, &n, &from))
        return 0;
    if (s->dest.write && !reach(r, true, &s->dest, &n, &to))
        return 0;
    switch (r->op) {
    case STRING_MOVS: copy(r, to.host, from.host, n); break;
    case STRING_STOS: fill(r, to.host, n); break;
    case STRING_LODS:
        put_rax(
            r, load_le(r->down ? lowest(r, from.host, n) : from.host + (n - 1) * r->size, r->size));
        break;
    default:
        n = compare(r, s->has_source ? from.host : NULL, to.host, n, &a, &b);
        set_compared(r, a, b);
    }
    if (s->dest.write) {
        to.host = lowest(r, to.host, n);
        r->code_written |= tcg_ram_written(r->x->cpu, &to, (unsigned)(n * r->size));
    }
    advance_all(r, s, n);
    return n;
}

/* ---- one turn ----------------------------------------------------------------------------------------- */

static void do_turn(struct rep *r, const struct sides *s)
{
    struct vcpu *cpu = r->x->cpu;
    uint64_t v = bits(r->x->gpr[X86_RAX], 0, 8 * r->size), w = 0;
    if (s->has_dest && !s->dest.write)
        w = tcg_load(cpu, linear(r, &s->dest), r->size, 0);
    if (s->has_source)
        v = tcg_load(cpu, linear(r, &s->source), r->size, 0);
    if (s->dest.write) {
        tcg_store(cpu, linear(r, &s->dest), r->size, v, 0);
    } else if (s->has_dest) {
        set_compared(r, v, w);
        r->stopped = (v == w) == r->until;
    } else {
        put_rax(r, v);
    }
    advance_all(r, s, 1);
}

uint64_t x86h_rep(struct x86_cpu *x, uint64_t how)
{
    struct rep r = {
        .x = x,
        .op = how & STRING_OP,
        .size = how >> STRING_SIZE_SHIFT & 15,
        .asize = how >> STRING_ASIZE_SHIFT & 15,
        .seg = how >> STRING_SEG_SHIFT & 7,
        .until = how >> STRING_UNTIL_SHIFT & 1,
        .down = x->df >> 63,
    };
    const struct sides s = sides_of(&r);
    bool plain =
        (!s.has_source || is_plain(&r, s.source.seg)) && (!s.has_dest || is_plain(&r, s.dest.seg));
    uint64_t bytes = 0;
    bool turn_only = x->state_word & X86_TR_TF || tcg_one_turn(x->cpu);
    for (unsigned slow = 0; turns_left(&r) && !r.stopped;) {
        uint64_t n = plain && !turn_only ? do_piece(&r, &s) : 0;
        bytes += n * r.size;
        if (!n) {
            do_turn(&r, &s);
            slow++;
        }
        if (r.code_written || bytes >= ENOUGH || slow >= SLOW_ENOUGH || turn_only)
            break;
    }
    return r.code_written || (turns_left(&r) && !r.stopped);
}
