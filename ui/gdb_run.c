/* Stopping and going on; points.
 *
 * The VM stands whenever the client does not wait for a stop. A stop of the VM is told when it lasts: the monitor
 * may halt it for a moment to look at something. Several vCPUs may stop at once; one is told of, the others keep
 * what happened (stops[]) until the client lets them go on, and it is told then, if the point is still there. */
#include "ui/gdb_session.h"

#include "core/accel.h"
#include "core/debug.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIGNAL_INT = 2, SIGNAL_QUIT = 3, SIGNAL_TRAP = 5 }; /* gdb's numbers */

/* ---- telling ---------------------------------------------------------------------------------------- */

static struct debug_regs regs_of(const struct gdb *g, unsigned cpu)
{
    return g->target->regs(g->vm->vcpus[cpu]);
}

/* gdb looks for a breakpoint where it sees the program counter. In real mode, that is not where it is. */
static bool shows_point(struct gdb *g, unsigned cpu, const struct gdb_point *p)
{
    return gdb_reg_value(g, cpu, regs_of(g, cpu).pc) == p->at;
}

static void name_point(struct gdb *g, unsigned cpu, const struct gdb_point *p)
{
    static const char *const names[] = { "swbreak", "hwbreak", "watch", "rwatch", "awatch" };
    unsigned kind = (unsigned)(p->kind - '0');
    if (kind >= 2)
        text_print(&g->a, "%s:%llx;", names[kind], (unsigned long long)p->at);
    else if (g->names_points && shows_point(g, cpu, p))
        text_print(&g->a, "%s:;", names[kind]);
}

static void put_reg(struct gdb *g, unsigned cpu, unsigned reg)
{
    uint64_t v = gdb_reg_value(g, cpu, reg);
    uint8_t bytes[8];
    store_le(bytes, 8, v);
    text_print(&g->a, "%x:", reg);
    text_hex(&g->a, bytes, MIN(regs_of(g, cpu).at[reg].bits / 8u, 8u));
    text_print(&g->a, ";");
}

static unsigned signal_of(const struct gdb *g)
{
    if (g->told.why != GDB_INTERRUPTED)
        return SIGNAL_TRAP;
    return g->vm->state == RUN_PAUSED && g->vm->stopped_for == STOP_SHUTDOWN ? SIGNAL_QUIT
                                                                             : SIGNAL_INT;
}

void gdb_tell_stop(struct gdb *g)
{
    unsigned cpu = g->told_cpu;
    text_print(&g->a, "T%02x", signal_of(g));
    if (g->told.why == GDB_AT_POINT)
        name_point(g, cpu, &g->told.point);
    put_reg(g, cpu, regs_of(g, cpu).pc);
    put_reg(g, cpu, regs_of(g, cpu).sp);
    text_print(&g->a, "thread:%x;", cpu + 1);
}

/* With the points; the vCPU is to do this when the VM goes on. */
static struct error *arm(struct gdb *g, unsigned cpu, const struct gdb_action *a)
{
    struct vcpu_debug *d = &g->debug;
    d->step = a->kind == 's' || a->kind == 'r';
    d->from = a->kind == 'r' ? a->from : 0;
    d->to = a->kind == 'r' ? a->to : 0;
    d->before = g->target->watches_before;
    d->hold_interrupts = g->step_bits & GDB_STEP_NO_IRQ;
    g->vm->vcpus[cpu]->held = !a->kind;
    return g->vm->accel->set_debug(g->vm->vcpus[cpu], d);
}

/* Who else lets the VM go on lets all of it run. */
static struct error *disarm(struct gdb *g)
{
    struct error *err = NULL;
    for (unsigned i = 0; i < g->vm->n_vcpus && !err; i++)
        err = arm(g, i, &(struct gdb_action){ .kind = 'c' });
    return err;
}

/* The client waits no longer. */
static void tell(struct gdb *g, unsigned cpu, struct gdb_stop stop)
{
    g->waits = false;
    g->told = stop;
    g->told_cpu = g->g_cpu = cpu;
    error_free(disarm(g));
    g->a = (struct gdb_text){ g->answer, 0, sizeof(g->answer) };
    gdb_tell_stop(g);
    link_send(&g->link, g->a.at, g->a.n);
}

/* ---- what happened ---------------------------------------------------------------------------------- */

static void take_stop(struct gdb *g, unsigned cpu)
{
    struct vcpu *c = g->vm->vcpus[cpu];
    if (!atomic_exchange(&c->debug_stop, false))
        return;
    struct gdb_stop *s = &g->stops[cpu];
    *s = (struct gdb_stop){ .why = GDB_STEPPED };
    if (c->debug_hit >= 0 && (unsigned)c->debug_hit < g->debug.n)
        *s = (struct gdb_stop){ GDB_AT_POINT, g->points[g->point_of[c->debug_hit]] };
}

/* Does it still matter? The point may be gone, or the vCPU be elsewhere. */
static bool still_matters(struct gdb *g, unsigned cpu)
{
    const struct gdb_stop *s = &g->stops[cpu];
    if (s->why != GDB_AT_POINT)
        return s->why != GDB_NOTHING;
    if (s->point.kind < '2' && g->vm->target->pc(g->vm->vcpus[cpu]) != s->point.at)
        return false;
    for (unsigned i = 0; i < g->n_points; i++)
        if (g->points[i].kind == s->point.kind && g->points[i].at == s->point.at &&
            g->points[i].size == s->point.size)
            return true;
    return false;
}

/* The vCPU to tell of, or -1: first the one that was to step, then the one that is looked at. */
static int choose(struct gdb *g)
{
    int best = -1, best_rank = 0;
    for (unsigned i = 0; i < g->vm->n_vcpus; i++) {
        if (!still_matters(g, i)) {
            g->stops[i].why = GDB_NOTHING;
            continue;
        }
        int rank = !g->actions[i].kind                                           ? 0
                   : g->actions[i].kind != 'c' && g->stops[i].why == GDB_STEPPED ? 3
                   : i == g->g_cpu                                               ? 2
                                                                                 : 1;
        if (rank > best_rank) {
            best = (int)i;
            best_rank = rank;
        }
    }
    return best;
}

/* True if there was something to tell. What else was but a step is forgotten: it is told of one. */
static bool tell_what_waits(struct gdb *g)
{
    int cpu = choose(g);
    if (cpu < 0)
        return false;
    struct gdb_stop stop = g->stops[cpu];
    g->stops[cpu].why = GDB_NOTHING;
    for (unsigned i = 0; i < g->vm->n_vcpus; i++)
        if (g->stops[i].why == GDB_STEPPED)
            g->stops[i].why = GDB_NOTHING;
    tell(g, (unsigned)cpu, stop);
    return true;
}

static bool collect(struct gdb *g)
{
    for (unsigned i = 0; i < g->vm->n_vcpus; i++)
        take_stop(g, i);
    return g->waits && tell_what_waits(g);
}

/* The VM stands, and nothing that the client asked for is the reason. */
static void tell_interrupted(struct gdb *g)
{
    unsigned cpu = g->told_cpu;
    for (unsigned i = 0; i < g->vm->n_vcpus && !g->actions[cpu].kind; i++)
        cpu = i;
    tell(g, cpu, (struct gdb_stop){ .why = GDB_INTERRUPTED });
}

void gdb_debug_stopped(void *opaque)
{
    struct gdb *g = opaque;
    if (!collect(g) && g->waits && g->vm->stopped_for == STOP_DEBUG)
        error_free(vm_continue(g->vm)); /* it was about a point that is no more */
}

static void look(void *opaque)
{
    struct gdb *g = opaque;
    if (g->is_over || !g->waits || g->vm->state == RUN_RUNNING || g->vm->state == RUN_ENDED ||
        g->vm->verdict != VERDICT_NONE)
        return;
    if (!collect(g))
        tell_interrupted(g);
}

void gdb_ran(void *opaque, bool running)
{
    struct gdb *g = opaque;
    if (!running && g->waits)
        loop_post(g->vm->loop, look, g);
}

/* ---- coming and going ------------------------------------------------------------------------------- */

void gdb_stand_still(struct gdb *g)
{
    vm_stop(g->vm, STOP_DEBUG);
    for (unsigned i = 0; i < g->vm->n_vcpus; i++)
        take_stop(g, i);
    if (g->waits)
        error_free(disarm(g));
    g->waits = false;
}

void gdb_attach(struct gdb *g)
{
    if (g->attached)
        return;
    g->attached = g->vm->is_debugged = true;
    g->physical = g->text_errors = g->names_points = false;
    g->step_bits = GDB_STEP_BITS;
    g->g_cpu = g->told_cpu = 0;
    g->c_cpu = -1;
    g->told = (struct gdb_stop){ .why = GDB_STEPPED };
    gdb_stand_still(g);
    if (!g->vm->was_reset)
        vm_reset(g->vm);  /* what it is to see is what the CPUs begin with */
    free(g->description); /* the mode may be another one now */
    g->description = NULL;
}

static void let_go(struct gdb *g)
{
    g->n_points = g->debug.n = 0;
    for (unsigned i = 0; i < g->vm->n_vcpus; i++) {
        struct vcpu *cpu = g->vm->vcpus[i];
        error_free(g->vm->accel->set_debug(cpu, &(struct vcpu_debug){ 0 }));
        cpu->held = false;
        cpu->debug_stop = false;
        g->stops[i] = (struct gdb_stop){ 0 };
        g->actions[i] = (struct gdb_action){ 0 };
    }
}

void gdb_detach(struct gdb *g, bool resume)
{
    if (!g->attached)
        return;
    g->attached = g->vm->is_debugged = false;
    vm_check_all_halted(g->vm);
    gdb_stand_still(g);
    let_go(g);
    if (g->vm->verdict != VERDICT_NONE)
        return; /* it ends */
    if (resume || (g->vm->state == RUN_PAUSED && g->vm->stopped_for == STOP_DEBUG))
        error_free(vm_continue(g->vm));
}

void gdb_interrupt(struct gdb *g)
{
    if (!g->attached || !g->waits)
        return;
    vm_stop(g->vm, STOP_DEBUG);
    if (!collect(g))
        tell_interrupted(g);
}

/* ---- going on --------------------------------------------------------------------------------------- */

/* As g->wanted says. */
static void go(struct gdb *g)
{
    struct error *err = NULL;
    memcpy(g->actions, g->wanted, g->vm->n_vcpus * sizeof(*g->actions));
    g->answered = tell_what_waits(g);
    if (g->answered)
        return;
    for (unsigned i = 0; i < g->vm->n_vcpus && !err; i++)
        err = arm(g, i, &g->actions[i]);
    if (!err)
        err = vm_continue(g->vm);
    g->answered = g->waits = !err;
    if (err)
        gdb_fail(g, err);
}

static void set_pc(struct gdb *g, unsigned cpu, uint64_t to)
{
    uint8_t bytes[8];
    struct debug_regs regs = regs_of(g, cpu);
    store_le(bytes, 8, to);
    g->target->write(g->vm->vcpus[cpu], &regs.at[regs.pc], bytes);
}

void gdb_continue(struct gdb *g, const char *args, char kind)
{
    uint64_t v;
    bool step = kind == 's' || kind == 'S';
    unsigned about = g->c_cpu < 0 ? g->g_cpu : (unsigned)g->c_cpu;
    if (kind == 'C' || kind == 'S') { /* signals mean nothing here */
        if (!hex_number(&args, &v)) {
            gdb_error(g, GDB_BAD_REQUEST);
            return;
        }
        args += *args == ';';
    }
    if (*args && hex_number(&args, &v))
        set_pc(g, about, v);
    for (unsigned i = 0; i < g->vm->n_vcpus; i++)
        g->wanted[i] = (struct gdb_action){ .kind = g->c_cpu < 0 || i == about ? 'c' : 0 };
    if (step)
        g->wanted[about].kind = 's';
    go(g);
}

/* One of vCont's actions: "c", "C05", "s", "S05", "t", "rFROM,TO". */
static bool parse_action(const char **at, struct gdb_action *a)
{
    uint64_t ignored;
    char kind = *(*at)++;
    switch (kind) {
    case 'c':
    case 's': *a = (struct gdb_action){ .kind = kind }; return true;
    case 'C':
    case 'S':
        *a = (struct gdb_action){ .kind = kind == 'C' ? 'c' : 's' };
        return hex_number(at, &ignored);
    case 't': *a = (struct gdb_action){ 0 }; return true;
    case 'r':
        *a = (struct gdb_action){ .kind = 'r' };
        return hex_number(at, &a->from) && *(*at)++ == ',' && hex_number(at, &a->to);
    default: return false;
    }
}

/* ";action:thread;action...": each vCPU does the first that names it; who is not named stands. */
static bool parse_actions(struct gdb *g, const char *at)
{
    bool any = false;
    memset(g->wanted, 0, g->vm->n_vcpus * sizeof(*g->wanted));
    while (*at == ';') {
        struct gdb_action a;
        int cpu = -1;
        at++;
        if (!parse_action(&at, &a))
            return false;
        if (*at == ':' && (at++, !gdb_thread(g, &at, 0, &cpu)))
            return false;
        a.named = true;
        for (unsigned i = 0; i < g->vm->n_vcpus; i++) {
            if (g->wanted[i].named || (cpu >= 0 && i != (unsigned)cpu))
                continue;
            g->wanted[i] = a;
            any |= a.kind != 0;
        }
    }
    return any && !*at;
}

void gdb_vcont(struct gdb *g, const char *args)
{
    if (parse_actions(g, args))
        go(g);
    else
        gdb_error(g, GDB_BAD_REQUEST);
}

/* ---- points ----------------------------------------------------------------------------------------- */

/* The engine watches 1, 2, 4 or 8 aligned bytes. */
static bool add_pieces(struct gdb *g, unsigned point)
{
    const struct gdb_point *p = &g->points[point];
    static const uint8_t kinds[] = { POINT_EXECUTE, POINT_EXECUTE, POINT_WRITE, POINT_READ,
                                     POINT_ACCESS };
    bool execute = p->kind < '2';
    uint64_t at = p->at, left = execute ? 1 : p->size;
    while (left) {
        unsigned size = 8;
        while (size > left || at & (size - 1))
            size /= 2;
        if (g->debug.n == VCPU_MAX_POINTS)
            return false;
        g->point_of[g->debug.n] = (uint16_t)point;
        g->debug.points[g->debug.n++] = (struct vcpu_point){ .kind = kinds[p->kind - '0'],
                                                             .size = execute ? 1 : (uint8_t)size,
                                                             .at = at };
        at += execute ? 1 : size;
        left -= execute ? 1 : size;
    }
    return true;
}

/* Break down the points, and have the engine agree. */
static struct error *use_points(struct gdb *g)
{
    g->debug.n = 0;
    for (unsigned i = 0; i < g->n_points; i++)
        if (!add_pieces(g, i))
            return error_new("there is room for breakpoints and %d watched words", VCPU_MAX_POINTS);
    return disarm(g);
}

static int find_point(const struct gdb *g, const struct gdb_point *p)
{
    for (unsigned i = 0; i < g->n_points; i++)
        if (g->points[i].kind == p->kind && g->points[i].at == p->at &&
            g->points[i].size == p->size)
            return (int)i;
    return -1;
}

static struct error *add_point(struct gdb *g, const struct gdb_point *p)
{
    if (g->n_points == GDB_MAX_POINTS)
        return error_new("there are %d breakpoints already", GDB_MAX_POINTS);
    g->points[g->n_points++] = *p;
    struct error *err = use_points(g);
    if (err) {
        g->n_points--;
        error_free(use_points(g));
    }
    return err;
}

static void remove_point(struct gdb *g, unsigned i)
{
    g->n_points--;
    memmove(&g->points[i], &g->points[i + 1], (g->n_points - i) * sizeof(g->points[0]));
    error_free(use_points(g));
}

static bool parse_point(const char *at, struct gdb_point *p)
{
    enum { LONGEST = 8 * VCPU_MAX_POINTS };
    p->kind = *at++;
    return p->kind >= '0' && p->kind <= '4' && *at++ == ',' && hex_number(&at, &p->at) &&
           *at++ == ',' && hex_number(&at, &p->size) &&
           (p->kind < '2' || (p->size && p->size <= LONGEST));
}

void gdb_set_point(struct gdb *g, const char *args, bool insert)
{
    struct gdb_point p;
    if (*args && (*args < '0' || *args > '4'))
        return; /* not known */
    if (!parse_point(args, &p)) {
        gdb_error(g, GDB_BAD_REQUEST);
        return;
    }
    int i = find_point(g, &p);
    struct error *err = insert && i < 0 ? add_point(g, &p) : NULL;
    if (!insert && i >= 0)
        remove_point(g, (unsigned)i);
    if (err && p.kind == '3') { /* gdb makes do with watching accesses */
        error_free(err);
        return;
    }
    if (err)
        gdb_fail(g, err);
    else
        text_print(&g->a, "OK");
}
