/* A unit for people: guest code, IR and host code side by side. The vCPU stands; the IR is not kept, so it is
 * made anew. */
#include "core/disas.h"
#include "core/util.h"
#include "tcg/tcg.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { COLUMN = 46 };

/* A column in the making. */
struct lines {
    char **at;
    size_t n;
};

static void add_line(void *opaque, const char *line)
{
    struct lines *l = opaque;
    l->at = xrealloc(l->at, (l->n + 1) * sizeof(*l->at));
    l->at[l->n++] = xstrdup(line);
}

static void free_lines(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i]);
    free(l->at);
}

/* The RAM behind a page as the CPU sees it now; NULL: none. */
static const uint8_t *page_at(struct vcpu *cpu, uint64_t va)
{
    uint64_t pa;
    if (!cpu->vm->target->translate(cpu, va & ~(uint64_t)4095, &pa))
        return NULL;
    const struct mem_range *r = mem_view_find(mem_view_now(cpu->vm), pa);
    if (!r || !r->ram || r->start + r->size - pa < 4096)
        return NULL;
    return r->ram->host + r->region_off + (pa - r->start);
}

/* The instruction at `off` as text; "" if the unit has none there. */
static void guest_text(struct disas *d, const struct plan *p, uint64_t page, int32_t off,
                       char text[176])
{
    uint8_t bytes[32];
    int32_t at;
    char insn[128];
    text[0] = 0;
    for (unsigned k = 0, n; (n = plan_insn(p, k, &at, bytes)); k++) {
        uint64_t pc = page + (uint64_t)(int64_t)at;
        if (at != off)
            continue;
        disas_insn(d, bytes, n, pc, insn, sizeof(insn));
        snprintf(text, 176, "%" PRIx64 ": %s", pc, insn);
    }
}

/* Guest code beside the IR that does it. In IR's text, a line says where an instruction begins: it becomes a place
 * for that. */
static void add_both(struct lines *guest, struct lines *to, const struct lines *ir,
                     const struct plan *p, uint64_t page, const struct target *target)
{
    struct disas *d = disas_new(target->name);
    char waits[176] = "";
    for (size_t i = 0; i < ir->n; i++) {
        int32_t off;
        bool begins = sscanf(ir->at[i], " insn %" SCNi32, &off) == 1;
        if (begins && !waits[0]) {
            guest_text(d, p, page, off, waits);
            continue;
        }
        add_line(guest, waits);
        add_line(to, begins ? "" : ir->at[i]);
        waits[0] = 0;
        if (begins)
            guest_text(d, p, page, off, waits);
    }
    add_line(guest, waits);
    disas_free(d);
}

/* ---- host code, and what lies between it ------------------------------------------------------------ */

struct sites {
    struct site *at;
    size_t n;
};

static void add_site(void *opaque, const struct site *site)
{
    struct sites *s = opaque;
    s->at = xrealloc(s->at, (s->n + 1) * sizeof(*s->at));
    s->at[s->n++] = *site;
}

static int by_place(const void *a, const void *b)
{
    const struct site *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

static struct sites sites_of(const struct tcg *tcg, const struct unit *u)
{
    struct sites s = { 0 };
    if (u)
        tcg->backend->each_site(tcg, u, add_site, &s);
    if (s.n)
        qsort(s.at, s.n, sizeof(*s.at), by_place);
    return s;
}

static void add_host(struct lines *to, const struct tcg *tcg, const struct unit *u,
                     const struct sites *sites, uint64_t page)
{
    struct disas *d = disas_new("x86_64");
    size_t next = 0;
    for (uint32_t at = 0; at < u->code_size;) {
        char text[128], line[240];
        const struct site *s = next < sites->n ? &sites->at[next] : NULL;
        if (s && s->at <= at) {
            snprintf(text, sizeof(text), "%s%s%s%s %" PRIx64, s->slow ? "slow " : "", s->kind,
                     *s->name ? " " : "", s->name, page + (uint64_t)(int64_t)s->off);
            next++;
        } else {
            s = NULL;
        }
        uint32_t end = !s && next < sites->n ? sites->at[next].at : u->code_size;
        uint32_t n =
            s ? s->n
              : (uint32_t)disas_insn(d, tcg->rw + u->code_at + at, end - at,
                                     (uintptr_t)tcg->rx + u->code_at + at, text, sizeof(text));
        snprintf(line, sizeof(line), "+%x: %s", at, text);
        add_line(to, line);
        at += n;
    }
    disas_free(d);
}

/* ---- ways out --------------------------------------------------------------------------------------- */

/* What is said of a unit before its code. */
struct page {
    void (*print)(void *opaque, const char *line);
    void *opaque;
    uint64_t base; /* of the guest page */
};

static void __attribute__((format(printf, 2, 3))) say(const struct page *p, const char *format, ...)
{
    char *line = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&line, format, args) >= 0)
        p->print(p->opaque, line);
    va_end(args);
    free(line);
}

static uint64_t address(const struct page *p, int32_t off)
{
    return p->base + (uint64_t)(int64_t)off;
}

/* Jumps, branches and calls that lead to one address, or all jumps to registers of one kind. */
struct way {
    uint8_t code, hint;
    int32_t off, return_to;
    unsigned n;
};

struct ways {
    struct way *at;
    size_t n;
};

static void add_way(struct ways *w, unsigned code, unsigned hint, int32_t off, int32_t return_to)
{
    for (size_t i = 0; i < w->n; i++) {
        struct way *o = &w->at[i];
        if (o->code == code && o->hint == hint && o->off == off && o->return_to == return_to) {
            o->n++;
            return;
        }
    }
    w->at = xrealloc(w->at, (w->n + 1) * sizeof(*w->at));
    w->at[w->n++] = (struct way){ (uint8_t)code, (uint8_t)hint, off, return_to, 1 };
}

static struct ways ways_of(const struct ir *ir)
{
    struct ways w = { 0 };
    for (uint16_t b = 0; b < ir->n_blocks; b++) {
        const struct ir_block *block = &ir->blocks[b];
        const struct ir_op *op = &ir->ops[block->first + block->n - 1];
        if (!block->n)
            continue;
        if (op->code == IR_jumpi)
            add_way(&w, IR_jumpi, op->x, 0, op->x == IR_HINT_CALL ? op->imm2 : 0);
        else if (op->code == IR_leave)
            add_way(&w, IR_leave, 0, (int32_t)op->imm, 0);
        else if (op->code == IR_jump && op->c == IR_NONE)
            add_way(&w, IR_jump, op->x, (int32_t)op->imm, op->x == IR_HINT_CALL ? op->imm2 : 0);
        if (op->code == IR_branch && op->c == IR_NONE)
            add_way(&w, IR_jump, IR_HINT_JUMP, (int32_t)op->imm, 0);
        if (op->code == IR_branch && op->d == IR_NONE)
            add_way(&w, IR_jump, IR_HINT_JUMP, op->imm2, 0);
    }
    return w;
}

/* Of the links that lead to `off`: how many there are, and how many of them lead to a unit now. */
static unsigned links_to(const struct unit *u, int32_t off, unsigned *linked)
{
    unsigned n = 0;
    *linked = 0;
    for (unsigned k = 0; u && k < u->n_links; k++) {
        bool it = u->links[k].jump_at && u->links[k].off == off;
        n += it;
        *linked += it && u->links[k].to;
    }
    return n;
}

static void say_known(const struct page *p, const struct way *w, const struct tcg_target *target,
                      const struct unit *u)
{
    unsigned linked, n = links_to(u, w->off, &linked);
    char how[64];
    if (!may_link(target, w->off))
        snprintf(how, sizeof(how), "on another page: by the jump cache");
    else if (linked && linked < n)
        snprintf(how, sizeof(how), "%u of %u links are patched", linked, n);
    else
        snprintf(how, sizeof(how), linked ? "linked" : "not linked yet");
    say(p, "  way out: %s %#" PRIx64 ", %s", w->hint == IR_HINT_CALL ? "call of" : "jump to",
        address(p, w->off), how);
}

static void say_register(const struct page *p, const struct way *w)
{
    static const char *const hows[] = {
        [IR_HINT_JUMP] = "jump to a register's address, by the jump cache",
        [IR_HINT_CALL] = "call of a register's address, by the jump cache",
        [IR_HINT_RETURN] = "return, predicted",
        [IR_HINT_INLINED] = "return of an inlined call, if its address was changed",
        [IR_HINT_TRAP] = "jump into another state, by the jump cache",
    };
    say(p, "  way out: %s%s", hows[w->hint], w->n > 1 ? " (several)" : "");
}

static void say_ways(const struct page *p, const struct ir *ir, const struct tcg_target *target,
                     const struct unit *u)
{
    struct ways w = ways_of(ir);
    for (size_t i = 0; i < w.n; i++) {
        const struct way *o = &w.at[i];
        if (o->code == IR_jump)
            say_known(p, o, target, u);
        else if (o->code == IR_jumpi)
            say_register(p, o);
        else
            say(p, "  way out: to the run loop, which goes on at %#" PRIx64, address(p, o->off));
        if (o->hint == IR_HINT_CALL && o->code != IR_leave)
            say(p, "    its return is predicted to come to %#" PRIx64, address(p, o->return_to));
    }
    free(w.at);
}

static void say_flag(const struct page *p, const struct ir *ir)
{
    say(p, "  exit flag: looked at on entry");
    for (uint16_t b = 1; b < ir->n_blocks; b++)
        if (ir->blocks[b].n && ir->blocks[b].loops && ir->blocks[b].guest)
            say(p, "  exit flag: looked at at %#" PRIx64, address(p, ir->blocks[b].off));
}

/* ---- slow ways, helpers, loops ------------------------------------------------------------------------ */

struct tally {
    const char *kind, *name;
    unsigned n;
};

struct tallies {
    struct tally at[64]; /* what does not fit is not said */
    size_t n;
};

static void count(struct tallies *t, const char *kind, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (!strcmp(t->at[i].kind, kind) && !strcmp(t->at[i].name, name)) {
            t->at[i].n++;
            return;
        }
    if (t->n < ARRAY_LEN(t->at))
        t->at[t->n++] = (struct tally){ kind, name, 1 };
}

static void say_tallies(const struct page *p, const char *what, const struct tallies *t)
{
    for (size_t i = 0; i < t->n; i++)
        say(p, "  %s: %s%s%s, %u", what, t->at[i].kind, *t->at[i].kind && *t->at[i].name ? " " : "",
            t->at[i].name, t->at[i].n);
}

static void say_slow(const struct page *p, const struct ir *ir, const struct sites *sites)
{
    struct tallies slow = { 0 }, calls = { 0 };
    for (size_t i = 0; i < sites->n; i++)
        if (sites->at[i].slow)
            count(&slow, sites->at[i].kind, sites->at[i].name);
    for (uint16_t i = 0; i < ir->n_ops; i++)
        if (ir->ops[i].code == IR_call)
            count(&calls, "", ((const struct ir_helper *)(intptr_t)ir->ops[i].imm)->name);
    say_tallies(p, "slow way", &slow);
    say_tallies(p, "helper", &calls);
}

static const char *cell(const struct lines *l, size_t i)
{
    return i < l->n ? l->at[i] : "";
}

static void print_columns(const struct lines column[3],
                          void (*print)(void *opaque, const char *line), void *opaque)
{
    size_t n = MAX(column[0].n, MAX(column[1].n, column[2].n));
    for (size_t i = 0; i < n; i++) {
        char line[3 * 180];
        snprintf(line, sizeof(line), "%-*.*s | %-*.*s | %s", COLUMN, COLUMN, cell(&column[0], i),
                 COLUMN, COLUMN, cell(&column[1], i), cell(&column[2], i));
        print(opaque, line);
    }
}

static void keep_loop(void *opaque, int32_t off, const char *what)
{
    struct lines *l = opaque;
    char *line = xasprintf("%" PRId32 " %s", off, what);
    add_line(l, line);
    free(line);
}

static void keep_call(void *opaque, int32_t off, int32_t to, unsigned n)
{
    struct lines *l = opaque;
    char *line = xasprintf("call %" PRId32 " %" PRId32 " %u", off, to, n);
    add_line(l, line);
    free(line);
}

static void explain_unit(const struct page *page, const struct tcg *tcg, const struct plan *p,
                         const struct ir *ir, const struct unit *u, const struct lines *loops)
{
    struct lines column[3] = { 0 }, text = { 0 };
    struct sites sites = sites_of(tcg, u);
    say_flag(page, ir);
    say_ways(page, ir, tcg->target, u);
    say_slow(page, ir, &sites);
    for (size_t i = 0; i < loops->n; i++) {
        char *what;
        int32_t off, to;
        unsigned n;
        if (sscanf(loops->at[i], "call %" SCNd32 " %" SCNd32 " %u", &off, &to, &n) == 3) {
            say(page, "  call at %#" PRIx64 ":%s inlined, %u instructions from %#" PRIx64,
                address(page, off), u && u->hot ? "" : " first tier; hot:", n, address(page, to));
            continue;
        }
        off = (int32_t)strtol(loops->at[i], &what, 10);
        say(page, "  loop at %#" PRIx64 ":%s%s", address(page, off),
            u && u->hot ? "" : " first tier; hot:", what);
    }
    ir_print(ir, add_line, &text);
    add_both(&column[0], &column[1], &text, p, page->base, tcg->target->target);
    free_lines(&text);
    if (u && !u->ir)
        add_host(&column[2], tcg, u, &sites, page->base);
    print_columns(column, page->print, page->opaque);
    for (unsigned i = 0; i < 3; i++)
        free_lines(&column[i]);
    free(sites.at);
}

void tcg_explain(struct vcpu *cpu, uint64_t pc, void (*print)(void *opaque, const char *line),
                 void *opaque)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    struct tcg *tcg = t->tcg;
    const uint8_t *host = page_at(cpu, pc);
    struct plan *p = plan_new();
    struct ir *ir = xcalloc(1, sizeof(*ir));
    const struct unit *u = NULL;
    struct lines loops = { 0 };
    const struct ir_teller tell = { keep_loop, &loops, keep_call };
    const struct page page = { print, opaque, pc & ~(uint64_t)4095 };
    pthread_mutex_lock(&tcg->lock);
    if (!host || !translate_again(t, pc, host, page_at(cpu, pc + 4096), p, ir, &u, &tell)) {
        say(&page, "there is no code at %#" PRIx64, pc);
    } else {
        if (u)
            say(&page,
                "unit at %#" PRIx64 ", tier %u: %u instructions, state %#x, %u bytes of host code",
                pc, 1 + u->hot, u->n_insns, u->flags & UNIT_STATE, u->code_size);
        else
            say(&page, "%#" PRIx64 " is not translated now; as it would be:", pc);
        explain_unit(&page, tcg, p, ir, u, &loops);
    }
    pthread_mutex_unlock(&tcg->lock);
    free_lines(&loops);
    free(ir);
    free(p);
}
