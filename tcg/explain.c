/* A unit for people: guest code, IR and host code side by side. The vCPU stands; the IR is not kept, so it is
 * made anew. */
#include "core/disas.h"
#include "core/util.h"
#include "tcg/tcg.h"

#include <inttypes.h>
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

static void add_host(struct lines *to, const struct tcg *tcg, const struct unit *u)
{
    struct disas *d = disas_new("x86_64");
    for (uint32_t at = 0; at < u->code_size;) {
        char text[128], line[176];
        size_t n = disas_insn(d, tcg->rw + u->code_at + at, u->code_size - at,
                              (uintptr_t)tcg->rx + u->code_at + at, text, sizeof(text));
        snprintf(line, sizeof(line), "+%x: %s", at, text);
        add_line(to, line);
        at += (uint32_t)n;
    }
    disas_free(d);
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

void tcg_explain(struct vcpu *cpu, uint64_t pc, void (*print)(void *opaque, const char *line),
                 void *opaque)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    struct tcg *tcg = t->tcg;
    const uint8_t *page = page_at(cpu, pc);
    struct plan *p = plan_new();
    struct ir *ir = xcalloc(1, sizeof(*ir));
    const struct unit *u = NULL;
    char line[160];
    pthread_mutex_lock(&tcg->lock);
    if (page && translate_again(t, pc, page, page_at(cpu, pc + 4096), p, ir, &u)) {
        struct lines column[3] = { 0 }, text = { 0 };
        ir_print(ir, add_line, &text);
        add_both(&column[0], &column[1], &text, p, pc & ~(uint64_t)4095, tcg->target->target);
        free_lines(&text);
        if (u && !u->ir)
            add_host(&column[2], tcg, u);
        if (u)
            snprintf(line, sizeof(line),
                     "unit at %#" PRIx64
                     ", tier %u: %u instructions, state %#x, %u bytes of host code",
                     pc, 1 + u->hot, u->n_insns, u->flags & UNIT_STATE, u->code_size);
        else
            snprintf(line, sizeof(line), "%#" PRIx64 " is not translated now; as it would be:", pc);
        print(opaque, line);
        print_columns(column, print, opaque);
        for (unsigned i = 0; i < 3; i++)
            free_lines(&column[i]);
    } else {
        snprintf(line, sizeof(line), "there is no code at %#" PRIx64, pc);
        print(opaque, line);
    }
    pthread_mutex_unlock(&tcg->lock);
    free(ir);
    free(p);
}
