/* Loops of the second tier, disturbed: before each of their host instructions, in early turns and late ones, an interrupt comes,
 * whose handler writes what the loop reads, moves or takes away the pages that it walks through, or changes its code. What
 * the guest then is and has seen must be what the interpreter makes of an interrupt at the same instruction of the
 * same turn, a step at a time.
 *
 * test-hot-loops riscv64|x86_64 SEED COUNT runs others than the test. */
#include "tests/unit/hot_loops.h"

#include "core/accel.h"
#include "core/memory.h"
#include "core/util.h"
#include "tests/unit/host_steps.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const handlers[N_HANDLERS] = {
    "returns",          "writes what is read", "moves the pages", "takes the right to write",
    "unmaps the pages", "changes the code",
};

void hot_put(struct hot_guest *g, uint64_t at, const void *bytes, size_t n)
{
    if (memcmp(g->ram + (at - g->kind->ram_at), bytes, n) != 0)
        assert_true(mem_write(g->vm, at, bytes, n));
}

void hot_print_memory(const struct hot_guest *is, const struct hot_guest *should)
{
    for (uint64_t at = 0, n = 0; at < HOT_RAM_SIZE; at += 8)
        if (memcmp(is->ram + at, should->ram + at, 8) != 0 && n++ < 8)
            print_message("#   at %" PRIx64 " is %" PRIx64 ", not %" PRIx64 "\n",
                          is->kind->ram_at + at, load_le(is->ram + at, 8),
                          load_le(should->ram + at, 8));
}

static void run_to_end(void *opaque)
{
    struct hot_guest *g = opaque;
    enum vcpu_exit e = EXIT_KICKED;
    for (unsigned k = 0; k < 1000 && e == EXIT_KICKED; k++)
        e = tcg_accel.run(g->cpu);
    assert_int_equal(e, EXIT_HALTED);
    tcg_accel.get_state(g->cpu);
}

static void interrupt(void *opaque)
{
    struct hot_guest *g = opaque;
    g->kind->interrupt(g);
    atomic_store(&g->t->exit_flag, 1);
}

static void free_guest(struct hot_guest *g)
{
    vm_free(g->vm);
    free(g);
}

/* ---- what is right ------------------------------------------------------------------------------------------- */

/* A loop and what is done to it. */
struct job {
    uint64_t seed;
    unsigned handler;
};

static void prepare(struct hot_guest *g, const struct job *j)
{
    g->kind->prepare(g, j->seed, j->handler);
}

static bool same_boundary(const struct boundary *a, const struct boundary *b)
{
    return a->pc == b->pc && a->count == b->count && a->outer == b->outer;
}

/* The interpreter, an instruction at a time to there. False: it never was there. */
static bool step_to(struct hot_guest *g, const struct boundary *b)
{
    for (unsigned k = 0; k < 100000; k++) {
        struct vcpu_code code;
        struct boundary is = g->kind->now(g);
        if (same_boundary(&is, b))
            return true;
        if (g->kind->has_ended(g))
            return false;
        if (tcg_accel.step_prepare(g->cpu, 1, &code) > 0)
            tcg_accel.step(g->cpu);
    }
    return false;
}

/* So that steps find no links to follow. */
static void forget_units(struct hot_guest *g)
{
    uint64_t page = g->kind->code_at & ~(uint64_t)4095;
    assert_true(mem_write(g->vm, page, g->ram + (page - g->kind->ram_at), 4096));
}

/* What comes of an interrupt there, or of none; 0: there is no such place. */
static uint64_t expected(struct hot_guest *g, const struct job *j, const struct boundary *b)
{
    prepare(g, j);
    forget_units(g);
    if (b && !step_to(g, b))
        return 0;
    if (b)
        interrupt(g);
    run_to_end(g);
    return g->kind->end(g);
}

/* The answers, as many points lead to one boundary. */
struct known {
    unsigned n;
    struct {
        struct boundary at;
        bool came;
        unsigned handler;
        uint64_t end;
    } all[4096];
};

static uint64_t look_up(struct known *k, struct hot_guest *ref, const struct job *j, bool came,
                        const struct boundary *b)
{
    for (unsigned i = 0; i < k->n; i++)
        if (k->all[i].handler == j->handler && k->all[i].came == came &&
            (!came || same_boundary(&k->all[i].at, b)))
            return k->all[i].end;
    uint64_t end = expected(ref, j, came ? b : NULL);
    if (k->n < ARRAY_LEN(k->all)) {
        k->all[k->n].at = *b;
        k->all[k->n].came = came;
        k->all[k->n].handler = j->handler;
        k->all[k->n++].end = end;
    }
    return end;
}

/* ---- where to disturb ---------------------------------------------------------------------------------------- */

/* A host instruction of a unit, wherever that stands. */
struct point {
    const uint8_t *page;
    int32_t off;
    uint32_t flags, size, rel;
    uint8_t byte;
    unsigned n; /* times that it was executed */
};
struct trace {
    struct tcg *tcg;
    struct hot_guest *g;
    uint32_t *n; /* by place in the cache */
    uint64_t n_steps;
};

static bool trace_step(void *opaque, uint32_t where)
{
    struct trace *t = opaque;
    t->n[where]++;
    return ++t->n_steps < 100000;
}

static void run_traced(void *opaque)
{
    struct trace *t = opaque;
    run_to_end(t->g);
}

/* Of the loop's page: not the handler's, nor what all units share. */
static size_t find_points(struct hot_guest *g, const struct job *j, struct point *points,
                          size_t most)
{
    struct tcg *tcg = tcg_of_vm(g->vm);
    const uint8_t *page = g->ram + ((g->kind->code_at - g->kind->ram_at) & ~(uint64_t)4095);
    struct trace t = { tcg, g, xcalloc(tcg->size, sizeof(uint32_t)), 0 };
    size_t n = 0;
    for (unsigned k = 0; k < 2; k++) { /* once more, and all is translated and linked */
        prepare(g, j);
        run_to_end(g);
    }
    prepare(g, j);
    host_steps(tcg, run_traced, trace_step, &t);
    for (size_t h = 0; h < (size_t)1 << tcg->hash_bits; h++)
        for (struct unit *u = atomic_load(&tcg->hash[h]); u; u = atomic_load(&u->hash_next))
            for (uint32_t rel = 0; u->page == page && rel < u->code_size && n < most; rel++)
                if (t.n[u->code_at + rel])
                    points[n++] = (struct point){ u->page,
                                                  u->off,
                                                  u->flags,
                                                  u->code_size,
                                                  rel,
                                                  tcg->rw[u->code_at + rel],
                                                  t.n[u->code_at + rel] };
    free(t.n);
    return n;
}

/* Where it is now; 0: its unit is gone, or, as shared checks failed, another one. */
static uint32_t place_of(struct tcg *tcg, const struct point *p)
{
    struct unit *u = cache_find(tcg, p->page, p->off, p->flags);
    return u && u->code_size == p->size && tcg->rw[u->code_at + p->rel] == p->byte
               ? u->code_at + p->rel
               : 0;
}

/* ---- interrupts -------------------------------------------------------------------------------------------- */

/* To the loop's beginning, with the point's unit there: it may have gone with the code's change, or a debugger's points. */
static uint32_t prepare_for(struct hot_guest *g, const struct job *j, const struct point *p)
{
    struct tcg *tcg = tcg_of_vm(g->vm);
    prepare(g, j);
    if (!place_of(tcg, p)) {
        run_to_end(g);
        prepare(g, j);
    }
    return place_of(tcg, p);
}

struct totals {
    uint64_t n, came, bad, left, opened, inlined;
};

static void report(struct hot_guest *is, struct hot_guest *ref, const struct job *j,
                   const struct point *p, unsigned nth, const struct boundary *b, bool came)
{
    print_message("# %s, seed %" PRIu64
                  ", interrupt that %s, at the %uth of host instruction +%u of unit +%x:\n",
                  is->kind->name, j->seed, handlers[j->handler], nth, p->rel, (unsigned)p->off);
    print_message("#   came %sat %" PRIx64 ", %" PRIu64 " turns left\n", came ? "" : "not ", b->pc,
                  b->count);
    if (expected(ref, j, came ? b : NULL))
        is->kind->print_difference(is, ref);
    else
        print_message("#   the loop never is there\n");
}

/* False: there is no such point any more. */
static bool try_point(struct hot_guest *hot, struct hot_guest *ref, struct known *known,
                      const struct job *j, const struct point *p, unsigned nth, struct totals *sum)
{
    struct tcg *tcg = tcg_of_vm(hot->vm);
    struct boundary b;
    uint32_t where = prepare_for(hot, j, p);
    if (!where)
        return false;
    if (!host_break(tcg, where, nth, run_to_end, interrupt, hot))
        return true;
    bool came = hot->kind->came(hot, &b);
    bool good = hot->kind->end(hot) == look_up(known, ref, j, came, &b);
    sum->n++;
    sum->came += came;
    sum->bad += !good;
    if (!good)
        report(hot, ref, j, p, nth, &b, came);
    return true;
}

/* Each point is tried in a first, a later and a last turn, with handlers in turn. */
static void disturb_loop(struct hot_guest *hot, struct hot_guest *ref, uint64_t seed,
                         struct totals *sum)
{
    static struct point points[4096];
    static struct known known;
    struct job j = { .seed = seed };
    unsigned n_lost = 0;
    known.n = 0;
    size_t n = find_points(hot, &j, points, ARRAY_LEN(points));
    for (size_t i = 0; i < n && !sum->bad; i++) {
        unsigned count = points[i].n, nth[] = { 1, 2 + (unsigned)(i * 7) % 23, count };
        bool lost = false;
        for (unsigned k = 0; k < (i % 8 ? 2 : 3) && !lost; k++) {
            j.handler = (unsigned)(i + k + seed) % ARRAY_LEN(handlers);
            if (nth[k] <= count && nth[k] < 128)
                lost = !try_point(hot, ref, &known, &j, &points[i], nth[k], sum);
        }
        if (lost && n_lost++ < 10) {
            j.handler = 0;
            n = find_points(hot, &j, points, ARRAY_LEN(points));
        }
    }
}

static struct totals disturb_loops(const struct hot_kind *kind, uint64_t seed, uint64_t count)
{
    struct hot_guest *hot = kind->start("backend=jit,tier2=always,unit-insns=256");
    struct hot_guest *ref = kind->start("backend=interp,one-insn-per-tb=on");
    struct totals sum = { 0 };
    for (uint64_t k = 0; k < count && !sum.bad; k++)
        disturb_loop(hot, ref, seed + k, &sum);
    sum.left = hot->t->counts.left[LEFT_WINDOW];
    sum.inlined = tcg_of_vm(hot->vm)->counts.hot_calls;
    sum.opened = hot->t->words[IR_WORD_LOOKS];
    print_message("# %s: %" PRIu64 " interrupts, %" PRIu64 " came; %" PRIu64 " windows, %" PRIu64
                  " left for a device\n",
                  kind->name, sum.n, sum.came, sum.opened, sum.left);
    free_guest(hot);
    free_guest(ref);
    return sum;
}

static void check_loops(const struct hot_kind *kind)
{
    struct totals sum = disturb_loops(kind, 0, 6);
    if (!sum.n) {
        print_message("# this host does not let a process see its own steps\n");
        skip();
    }
    assert_int_equal(sum.bad, 0);
    assert_true(sum.came > sum.n / 2 && sum.opened > sum.n && sum.left && sum.inlined);
}

/* ---- a debugger ------------------------------------------------------------------------------------------------- */

static void stop_it(void *opaque)
{
    struct hot_guest *g = opaque;
    atomic_store(&g->cpu->requests, VCPU_REQ_SYNC);
    atomic_store(&g->t->exit_flag, 1);
}

static void run_to_stop(void *opaque)
{
    struct hot_guest *g = opaque;
    tcg_accel.run(g->cpu);
    atomic_store(&g->cpu->requests, 0);
    tcg_accel.get_state(g->cpu);
}

/* From here on with a watchpoint where it will soon write, or a breakpoint in the loop: what it is when that stops it, or at
 * its end. */
static uint64_t go_on_watched(struct hot_guest *g, unsigned breakpoint, unsigned *n_stops)
{
    struct vcpu_debug want = { .n = 1, .points = { { POINT_WRITE, 8, hot_riscv_soon } } };
    enum vcpu_exit e = EXIT_KICKED;
    if (breakpoint)
        want.points[0] = (struct vcpu_point){ POINT_EXECUTE, 4, g->kind->code_at + 16 };
    assert_null(tcg_accel.set_debug(g->cpu, &want));
    for (unsigned k = 0; k < 1000 && e == EXIT_KICKED; k++)
        e = tcg_accel.run(g->cpu);
    tcg_accel.get_state(g->cpu);
    assert_null(tcg_accel.set_debug(g->cpu, &(struct vcpu_debug){ 0 }));
    *n_stops += e == EXIT_DEBUG;
    return g->kind->end(g) + e;
}

static uint64_t expected_stop(struct known *known, struct hot_guest *ref, const struct job *j,
                              const struct boundary *b, unsigned breakpoint)
{
    unsigned n_stops = 0;
    for (unsigned i = 0; i < known->n; i++)
        if (known->all[i].handler == breakpoint && same_boundary(&known->all[i].at, b))
            return known->all[i].end;
    prepare(ref, j);
    forget_units(ref);
    uint64_t end = step_to(ref, b) ? go_on_watched(ref, breakpoint, &n_stops) : 0;
    known->all[known->n].at = *b;
    known->all[known->n].handler = breakpoint;
    known->all[known->n++].end = end;
    return end;
}

static void points_set_in_a_hot_loop_stop_it_in_their_turn(void **unused)
{
    static struct point points[4096];
    static struct known known;
    const struct job j = { .seed = 1 };
    struct hot_guest *hot = hot_riscv.start("backend=jit,tier2=always,group=off");
    struct hot_guest *ref = hot_riscv.start("backend=interp,one-insn-per-tb=on");
    unsigned n_bad = 0, n_tried = 0, n_stops[2] = { 0 };
    size_t n = find_points(hot, &j, points, ARRAY_LEN(points));
    known.n = 0;
    for (size_t i = 0; i < 2 * n; i++) {
        const struct point *p = &points[i / 2];
        uint32_t where = prepare_for(hot, &j, p);
        unsigned turns = MIN(p->n, 90), nth = i % 4 ? 1 + (unsigned)i % turns : turns;
        if (!where || !host_break(tcg_of_vm(hot->vm), where, nth, run_to_stop, stop_it, hot))
            continue;
        struct boundary b = hot->kind->now(hot);
        n_tried++;
        if (known.n < ARRAY_LEN(known.all))
            n_bad += go_on_watched(hot, i % 2, &n_stops[i % 2]) !=
                     expected_stop(&known, ref, &j, &b, i % 2);
    }
    print_message("# set at %u points, in %u turns; %u watchpoints and %u breakpoints stopped it\n",
                  n_tried, known.n, n_stops[0], n_stops[1]);
    free_guest(hot);
    free_guest(ref);
    assert_int_equal(n_bad, 0);
    assert_true(!n || (n_stops[0] && n_stops[1]));
}

/* ---- another vCPU that begins to watch a page ----------------------------------------------------------------------- */

/* At the point it translates from a page. */
struct watcher {
    struct hot_guest *g;
    struct ram_block *block;
    uint64_t off;
    uint8_t before[4096];
    bool told; /* that the vCPU has to leave generated code first */
};

static void run_watched(void *opaque)
{
    const struct watcher *w = opaque;
    tcg_accel.run(w->g->cpu);
    atomic_store(&w->g->cpu->requests, 0);
}

static void watch(void *opaque)
{
    struct watcher *w = opaque;
    const uint8_t *page = w->block->host + w->off;
    atomic_fetch_or(&w->block->page_flags[w->off >> 12], PAGE_HAS_CODE);
    w->told = tlb_protect_page(w->g->t->tcg, page, NULL);
    memcpy(w->before, page, 4096);
    atomic_store(&w->g->cpu->requests, VCPU_REQ_SYNC); /* it is to leave */
    atomic_store(&w->g->t->exit_flag, 1);
}

/* Whoever begins to watch the page that the loop writes is told to wait until the vCPU has left generated code, or each write
 * until then is noticed (and then, as there is no code, nobody watches any more). */
struct watches {
    unsigned n, told, missed;
};

static void watch_at(struct watcher *w, const struct job *j, const struct point *p, unsigned nth,
                     struct watches *sum)
{
    struct tcg_cpu *t = w->g->t;
    uint32_t where = prepare_for(w->g, j, p);
    if (!where || !host_break(t->tcg, where, nth, run_watched, watch, w))
        return;
    uint8_t was = atomic_fetch_and(&w->block->page_flags[w->off >> 12], (uint8_t)~PAGE_HAS_CODE);
    bool written = memcmp(w->before, w->block->host + w->off, 4096) != 0;
    sum->n++;
    sum->told += w->told;
    sum->missed += was & PAGE_HAS_CODE && written && !w->told;
}

static void writes_to_a_watched_page_are_noticed(void **unused)
{
    static struct point points[4096];
    struct hot_guest *g = hot_riscv.start("backend=jit,tier2=always,unit-insns=256");
    struct watcher w = { .g = g,
                         .block = mem_view_find(mem_view_now(g->vm), hot_riscv.ram_at)->ram,
                         .off = hot_riscv_written - hot_riscv.ram_at };
    struct watches sum = { 0 };
    for (struct job j = { .seed = 0 }; j.seed < 2; j.seed++) {
        size_t n = find_points(g, &j, points, ARRAY_LEN(points));
        for (size_t i = 0; i < n; i++) {
            unsigned turns = MIN(points[i].n, 128);
            watch_at(&w, &j, &points[i], 1, &sum);
            watch_at(&w, &j, &points[i], (turns + 1) / 2, &sum);
            watch_at(&w, &j, &points[i], 1 + (unsigned)i % turns, &sum);
        }
    }
    print_message("# %u points, told to wait at %u\n", sum.n, sum.told);
    free_guest(g);
    assert_int_equal(sum.missed, 0);
    assert_true(!sum.n || (sum.told && sum.told < sum.n));
}

static void riscv_loops_are_interrupted_between_instructions(void **unused)
{
    check_loops(&hot_riscv);
}

static void x86_loops_are_interrupted_between_instructions(void **unused)
{
    check_loops(&hot_x86);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(riscv_loops_are_interrupted_between_instructions),
        cmocka_unit_test(x86_loops_are_interrupted_between_instructions),
        cmocka_unit_test(points_set_in_a_hot_loop_stop_it_in_their_turn),
        cmocka_unit_test(writes_to_a_watched_page_are_noticed),
    };
    if (argc == 4)
        return disturb_loops(strcmp(argv[1], "x86_64") ? &hot_riscv : &hot_x86,
                             strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0))
                   .bad != 0;
    return cmocka_run_group_tests(facts, NULL, NULL);
}
