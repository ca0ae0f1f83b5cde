/* Lock-step: one guest under two engines, a step at a time; ends the run at the first step after which they
 * differ. docs/lockstep.md */
#include "core/accel.h"
#include "core/clock.h"
#include "core/disas.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/options.h"
#include "core/state.h"
#include "core/tape.h"
#include "core/vm.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE ((uint64_t)4096)

enum { MANY = 256, REMEMBERED = 8, CODE_ROOM = 256 };
enum {
    HEADROOM = (int)(2 * MIB)
}; /* what the engine that steps on the real vCPU may want below its registers */

/* A step that was done: what it executed. */
struct past {
    uint64_t pc;
    unsigned n_insns, n;
    const char *what; /* instead of code */
    uint8_t code[CODE_ROOM];
};

/* A range of the real VM's RAM as the shadow has it. */
struct mirrored {
    gpa start;
    uint64_t size, off;
    struct ram_block *ram;
    bool rom;
    struct mem_region *alias;
};

struct lockstep {
    struct vm *real, *shadow;
    struct vcpu *a, *b;
    const struct accel *engine_a, *engine_b;
    char *options_a, *options_b;
    unsigned most_insns;
    struct field_list compared; /* of target.state: what b keeps as a does */
    struct field *fields;       /* those, where they are not all */
    struct tape *tape;
    _Atomic uint32_t kicked;
    bool halt; /* the last instruction waits for an interrupt */

    uint64_t generation; /* of the view that the shadow has */
    struct mirrored *map;
    size_t n_map;
    struct mem_region **blocks; /* the shadow's RAM, each behind one of the real VM's */
    size_t n_blocks;

    uint64_t n_steps, n_interrupts;
    struct past past[REMEMBERED]; /* step n is at n % REMEMBERED */
};

static struct lockstep *lockstep_of(const struct vm *vm)
{
    return vm->lockstep;
}

/* b goes where a went. */
static bool follows(const struct lockstep *ls)
{
    return ls->engine_b->can_follow;
}

/* ---- the shadow's memory ------------------------------------------------------------------------------ */

/* The shadow's is zero and need not be touched where the other is. */
static void copy_ram(const struct ram_block *from, struct ram_block *to)
{
    static const uint8_t zeros[PAGE];
    for (uint64_t at = 0; at < from->size; at += PAGE)
        if (memcmp(from->host + at, zeros, PAGE))
            memcpy(to->host + at, from->host + at, PAGE);
}

/* The shadow's block for one of the real VM, made and filled when it is first seen. */
static struct error *mirror_block(struct lockstep *ls, struct ram_block *ram,
                                  struct mem_region **out)
{
    char name[64];
    snprintf(name, sizeof(name), "shadow of %.32s", ram->name);
    struct error *err = mem_add_ram(ls->shadow, name, ram->size, false, out);
    if (err)
        return err;
    struct ram_block *mine = mem_region_ram(*out);
    copy_ram(ram, mine);
    tape_pair(ls->tape, ram, mine);
    ls->blocks = xrealloc(ls->blocks, (ls->n_blocks + 1) * sizeof(*ls->blocks));
    ls->blocks[ls->n_blocks++] = *out;
    ls->engine_a->dirty_log_started(ls->real, ram);
    return NULL;
}

/* What a map entry shows of a range: whole pages only. The rest is asked of the dispatch, by way of the tape. */
static struct mirrored shown(const struct mem_range *r)
{
    uint64_t first = align_up(r->start, PAGE), end = (r->start + r->size) & ~(PAGE - 1);
    if (!r->ram || end <= first || (r->region_off + (first - r->start)) % PAGE)
        return (struct mirrored){ 0 };
    return (struct mirrored){ .start = first,
                              .size = end - first,
                              .off = r->region_off + (first - r->start),
                              .ram = r->ram,
                              .rom = r->rom };
}

static bool is_same_map(const struct lockstep *ls, const struct mem_view *view)
{
    size_t n = 0;
    for (size_t i = 0; i < view->n; i++) {
        struct mirrored m = shown(&view->ranges[i]);
        if (!m.ram)
            continue;
        if (n == ls->n_map)
            return false;
        const struct mirrored *is = &ls->map[n++];
        if (is->start != m.start || is->size != m.size || is->off != m.off || is->ram != m.ram ||
            is->rom != m.rom)
            return false;
    }
    return n == ls->n_map;
}

static struct error *map_one(struct lockstep *ls, struct mirrored *m)
{
    const struct ram_block *mine = tape_shadow_of(ls->tape, m->ram);
    struct mem_region *block = NULL;
    struct error *err = mine ? NULL : mirror_block(ls, m->ram, &block);
    if (err)
        return err;
    for (size_t i = 0; i < ls->n_blocks && !block; i++)
        if (mem_region_ram(ls->blocks[i]) == mine)
            block = ls->blocks[i];
    m->alias = mem_add_alias(ls->shadow, m->ram->name, block, m->off, m->size, m->rom);
    mem_map(m->alias, m->start, 0);
    return NULL;
}

static void free_map(struct lockstep *ls)
{
    for (size_t i = 0; i < ls->n_map; i++)
        mem_free_region(ls->map[i].alias);
    free(ls->map);
    ls->map = NULL;
    ls->n_map = 0;
}

/* The shadow's map becomes the real VM's. */
static struct error *follow_map(struct lockstep *ls)
{
    const struct mem_view *view = mem_view_now(ls->real);
    struct error *err = NULL;
    if (view->generation == ls->generation)
        return NULL;
    ls->generation = view->generation;
    if (is_same_map(ls, view))
        return NULL;
    free_map(ls);
    ls->map = xcalloc(view->n + 1, sizeof(*ls->map));
    for (size_t i = 0; i < view->n && !err; i++) {
        struct mirrored m = shown(&view->ranges[i]);
        if (!m.ram)
            continue;
        err = map_one(ls, &m);
        if (!err)
            ls->map[ls->n_map++] = m;
    }
    return err;
}

/* ---- state ---------------------------------------------------------------------------------------------- */

static const struct field_list *state_of(const struct lockstep *ls)
{
    return &ls->real->target->state;
}

static void load_state(const struct lockstep *ls, const struct bytes *from)
{
    size_t pos = 0;
    error_free(state_load(from->at, from->n, &pos, state_of(ls), ls->real->target->state_version,
                          ls->b->arch));
}

/* One moment for both. */
static void hold_clock(struct lockstep *ls)
{
    uint64_t now = MAX(vm_now_ns(ls->real), (uint64_t)1);
    ls->real->clock_held_ns = ls->shadow->clock_held_ns = now;
}

/* Without what b keeps in a way of its own. */
static void choose_fields(struct lockstep *ls)
{
    const struct field_list all = *state_of(ls);
    const char *const *own = ls->engine_b->own_fields;
    ls->compared = all;
    if (!ls->engine_b->can_follow)
        return;
    ls->fields = xcalloc(all.n, sizeof(*ls->fields));
    ls->compared = (struct field_list){ ls->fields, 0 };
    for (size_t i = 0; i < all.n; i++) {
        size_t j = 0;
        while (own[j] && strcmp(own[j], all.at[i].name))
            j++;
        if (!own[j])
            ls->fields[ls->compared.n++] = all.at[i];
    }
}

/* b becomes what a is. */
static void copy_state(struct lockstep *ls)
{
    const struct target *target = ls->real->target;
    struct bytes all = { 0 };
    state_save(&all, state_of(ls), target->state_version, ls->a->arch);
    target->vcpu_reset(ls->b); /* what no list has, too */
    load_state(ls, &all);
    target->vcpu_loaded(ls->b);
    load_state(ls, &all); /* since when counters count is as in a */
    if (target->set_inputs)
        target->set_inputs(ls->b, target->inputs(ls->a));
    ls->engine_b->set_state(ls->b);
    bytes_free(&all);
}

/* ---- reporting ------------------------------------------------------------------------------------------ */

struct lines {
    char **at;
    size_t n, room;
};

static void add_line(void *opaque, const char *line)
{
    struct lines *l = opaque;
    if (l->n == l->room) {
        l->room = l->room * 2 + 256;
        l->at = xrealloc(l->at, l->room * sizeof(*l->at));
    }
    l->at[l->n++] = xstrdup(line);
}

static void free_lines(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i]);
    free(l->at);
}

static const char *value_of(const char *line)
{
    const char *at = strstr(line, " = ");
    return at ? at + 3 : "";
}

/* Every field in which the two differ, by name. */
static void report_fields(struct lockstep *ls)
{
    struct lines a = { 0 }, b = { 0 };
    const struct log *log = &ls->real->log;
    state_print(&ls->compared, ls->a->arch, add_line, &a);
    state_print(&ls->compared, ls->b->arch, add_line, &b);
    for (size_t i = 0; i < a.n && i < b.n; i++)
        if (strcmp(a.at[i], b.at[i]))
            log_print(log, "  %.*s: a has %s, b has %s\n", (int)strcspn(a.at[i], " "), a.at[i],
                      value_of(a.at[i]), value_of(b.at[i]));
    free_lines(&a);
    free_lines(&b);
}

static void print_line(void *opaque, const char *line)
{
    log_print(opaque, "    %s\n", line);
}

static void report_code(struct lockstep *ls)
{
    struct disas *d = disas_new(ls->real->target->name);
    uint64_t first = ls->n_steps >= REMEMBERED ? ls->n_steps - REMEMBERED + 1 : 0;
    struct log *log = &ls->real->log;
    for (uint64_t n = first; n <= ls->n_steps; n++) {
        const struct past *p = &ls->past[n % REMEMBERED];
        log_print(log, "  step %" PRIu64 "%s at %016" PRIx64 ", %s", n,
                  n == ls->n_steps ? " (they differ behind it)" : "", p->pc,
                  p->what ? p->what : "code:");
        log_print(log, "\n");
        if (!p->what)
            disas_block(d, p->code, p->n, p->pc, print_line, log);
    }
    disas_free(d);
}

static enum vcpu_exit report(struct lockstep *ls, const char *why)
{
    const char *field = state_differ(&ls->compared, ls->a->arch, ls->b->arch);
    const struct past *now = &ls->past[ls->n_steps % REMEMBERED];
    const struct log *log = &ls->real->log;
    char detail[160];
    log_print(log,
              "lockstep: %s (a) and %s (b) differ after step %" PRIu64 ", %u instructions at "
              "%016" PRIx64 "\n",
              ls->options_a, ls->options_b, ls->n_steps, now->n_insns, now->pc);
    if (*why)
        log_print(log, "  %s\n", why);
    if (field)
        report_fields(ls);
    report_code(ls);
    snprintf(detail, sizeof(detail), "%.40s after step %" PRIu64 " at %#" PRIx64,
             field  ? field
             : *why ? "memory or device accesses"
                    : "the ways on",
             ls->n_steps, now->pc);
    vm_request_end(ls->real, VERDICT_ENGINES_DIFFER, 0, detail);
    return EXIT_SHUTDOWN;
}

/* ---- a step ------------------------------------------------------------------------------------------------ */

static struct past *begin_past(struct lockstep *ls)
{
    struct past *p = &ls->past[ls->n_steps % REMEMBERED];
    *p = (struct past){ .pc = ls->real->target->pc(ls->a) };
    return p;
}

static void remember(struct past *p, const struct vcpu_code *code, int n)
{
    p->n_insns = n > 0 ? (unsigned)n : 0;
    if (n <= 0) {
        p->what = "an exception instead of an instruction";
        return;
    }
    p->pc = code->pc;
    p->n = MIN(code->n, CODE_ROOM);
    memcpy(p->code, code->at, p->n);
}

/* The state, memory and accesses of both are compared, and the step is over. */
static bool agree(struct lockstep *ls, enum vcpu_exit *exit)
{
    char why[160];
    bool same = tape_finish(ls->tape, why, sizeof(why));
    ls->engine_a->get_state(ls->a);
    ls->engine_b->get_state(ls->b);
    if (!same || state_differ(&ls->compared, ls->a->arch, ls->b->arch)) {
        *exit = report(ls, why);
        return false;
    }
    ls->n_steps++;
    return true;
}

/* An interrupt is a step of its own. */
static bool take_interrupt(struct lockstep *ls, enum vcpu_exit *exit)
{
    const struct target *target = ls->real->target;
    struct past *p = begin_past(ls);
    p->what = "an interrupt";
    if (target->set_inputs)
        target->set_inputs(ls->b, target->inputs(ls->a));
    tape_record(ls->tape, ls->a);
    bool a = ls->engine_a->step_interrupt(ls->a);
    tape_replay(ls->tape, ls->b);
    bool b = ls->engine_b->step_interrupt(ls->b);
    if (a) {
        ls->n_interrupts++;
        ls->halt = false;
    }
    if (a != b) {
        *exit = report(ls, a ? "only a takes an interrupt" : "only b takes an interrupt");
        return true;
    }
    return a && !agree(ls, exit); /* else the step that follows compares */
}

/* The same instructions are found by both, or by both none. */
static bool prepare(struct lockstep *ls, struct past *p, int *found)
{
    struct vcpu_code code_a = { 0 }, code_b = { 0 };
    unsigned most = ls->most_insns;
    for (;;) {
        tape_record(ls->tape, ls->a);
        int a = ls->engine_a->step_prepare(ls->a, most, &code_a);
        tape_replay(ls->tape, ls->b);
        int b = follows(ls) ? a : ls->engine_b->step_prepare(ls->b, most, &code_b);
        remember(p, &code_a, a);
        *found = a;
        if (a == b)
            return true;
        if (a <= 0 || b <= 0)
            return false;
        most = (unsigned)MIN(a, b);
    }
}

static enum vcpu_exit run_both(struct lockstep *ls)
{
    enum vcpu_exit exit = EXIT_KICKED;
    struct past *p = begin_past(ls);
    int n;
    if (!prepare(ls, p, &n))
        return report(ls, "only one finds an instruction to execute");
    if (n == STEP_WAITS) {
        ls->halt = true;
        return EXIT_KICKED;
    }
    enum vcpu_exit a = EXIT_KICKED, b = EXIT_KICKED;
    if (n > 0) {
        tape_record(ls->tape, ls->a);
        a = ls->engine_a->step(ls->a);
        tape_replay(ls->tape, ls->b);
    }
    if (n > 0 || follows(ls))
        b = ls->engine_b->step(ls->b);
    if (!agree(ls, &exit))
        return exit;
    if (a != b)
        return report(ls, "only one halts");
    ls->halt = a == EXIT_HALTED;
    return EXIT_KICKED;
}

/* True: return *exit to the caller of run. */
static bool one_turn(struct lockstep *ls, enum vcpu_exit *exit)
{
    *exit = EXIT_KICKED;
    if (take_interrupt(ls, exit))
        return true;
    if (!ls->halt) {
        *exit = run_both(ls);
        if (!ls->halt)
            return *exit != EXIT_KICKED;
    }
    if (!ls->a->nap_ns && ls->real->target->has_work(ls->a)) {
        ls->halt = false;
        return false;
    }
    ls->halt = false;
    *exit = EXIT_HALTED;
    return true;
}

/* With all event loops asleep and the time standing. */
static bool turn(struct lockstep *ls, enum vcpu_exit *exit)
{
    struct error *err = follow_map(ls);
    if (err) {
        vm_request_end(ls->real, VERDICT_ENGINE_FAILED, 0, error_text(err));
        error_free(err);
        *exit = EXIT_FAILED;
        return true;
    }
    hold_clock(ls);
    bool leave = one_turn(ls, exit);
    ls->real->clock_held_ns = 0;
    mem_reader_idle(ls->b->reader);
    mem_reader_quiesce(ls->a->reader);
    return leave;
}

static enum vcpu_exit run(struct vcpu *cpu)
{
    struct lockstep *ls = lockstep_of(cpu->vm);
    for (;;) {
        if (atomic_exchange(&ls->kicked, 0)) {
            uint32_t req = atomic_fetch_and(&cpu->requests, ~(uint32_t)VCPU_REQ_INTERRUPT);
            if (req & ~(uint32_t)VCPU_REQ_INTERRUPT)
                return EXIT_KICKED;
        }
        if (cpu->vm->verdict != VERDICT_NONE)
            return EXIT_SHUTDOWN;
        mem_reader_idle(cpu->reader);
        bool mine = tape_enter(ls->tape, &ls->kicked);
        mem_reader_quiesce(cpu->reader);
        if (!mine)
            continue;
        enum vcpu_exit exit;
        bool leave = turn(ls, &exit);
        tape_leave(ls->tape);
        if (leave)
            return exit;
    }
}

static void kick(struct vcpu *cpu)
{
    struct lockstep *ls = lockstep_of(cpu->vm);
    atomic_store(&ls->kicked, 1);
    tape_wake(ls->tape);
}

/* ---- the engine ---------------------------------------------------------------------------------------------- */

static struct error *available(const char *target_name)
{
    for (size_t i = 0; i < n_accels; i++)
        if (accels[i]->can_step)
            return accels[i]->available(target_name);
    return error_new("no engine of this build can execute single steps");
}

/* "tcg:backend=interp:tb-size=8" */
static struct error *choose_engine(const char *which, const char *text, const struct accel **engine,
                                   const char **options, char **kept)
{
    *kept = xstrdup(text);
    char *colon = strchr(*kept, ':');
    size_t n = strcspn(text, ":");
    for (size_t i = 0; i < n_accels; i++)
        if (!strncmp(accels[i]->name, text, n) && !accels[i]->name[n])
            *engine = accels[i];
    if (!*engine)
        return error_new("%s=%s: there is no engine of this name; tcg and tcg:backend=interp serve",
                         which, text);
    if (!(*engine)->can_step && (*which == 'a' || !(*engine)->can_follow))
        return error_new("%s=%s: this engine cannot execute single steps %s; "
                         "tcg and tcg:backend=interp can",
                         which, text,
                         *which == 'a' ? "that another could follow" : "behind another's");
    for (char *c = colon ? colon + 1 : NULL; c && *c; c++)
        if (*c == ':')
            *c = ',';
    *options = colon ? colon + 1 : NULL;
    return NULL;
}

static struct error *parse_options(struct lockstep *ls, const char *text, const char **options_a,
                                   const char **options_b)
{
    static const char *const known[] = { "a", "b", "step" };
    struct options o;
    struct error *err = options_split(text ? text : "", NULL, &o);
    if (err)
        return err;
    const char *a = options_get(&o, "a"), *b = options_get(&o, "b"), *s = options_get(&o, "step");
    err = options_refuse_rest(&o, known, ARRAY_LEN(known));
    ls->most_insns = s && !strcmp(s, "insn") ? 1 : MANY;
    if (!err && s && strcmp(s, "insn") && strcmp(s, "unit"))
        err = error_new("step=%s: unit or insn is expected", s);
    if (!err)
        err = choose_engine("a", a ? a : "tcg", &ls->engine_a, options_a, &ls->options_a);
    if (!err)
        err = choose_engine("b", b ? b : "tcg:backend=interp", &ls->engine_b, options_b,
                            &ls->options_b);
    if (!err && follows(ls) && s && ls->most_insns > 1)
        err = error_new("step=unit: %s follows by instructions only", ls->options_b);
    if (!err && follows(ls))
        ls->most_insns = 1;
    options_free(&o);
    return err;
}

static void free_shadow(struct lockstep *ls)
{
    if (!ls->shadow)
        return;
    free_map(ls);
    ls->shadow->arch = NULL; /* the real VM's */
    ls->shadow->tape = NULL;
    vm_free(ls->shadow);
}

static void destroy(struct vm *vm)
{
    struct lockstep *ls = lockstep_of(vm);
    if (!ls)
        return;
    free_shadow(ls);
    if (vm->accel_data)
        ls->engine_a->vm_destroy(vm);
    vm->tape = NULL;
    if (ls->tape)
        tape_free(ls->tape);
    free(ls->blocks);
    free(ls->fields);
    free(ls->options_a);
    free(ls->options_b);
    free(ls);
    vm->lockstep = NULL;
}

static struct error *vm_create(struct vm *vm, const char *options)
{
    struct lockstep *ls = xcalloc(1, sizeof(*ls));
    const char *options_a = NULL, *options_b = NULL;
    ls->real = vm;
    vm->lockstep = ls;
    struct error *err = parse_options(ls, options, &options_a, &options_b);
    if (!err)
        err = ls->engine_a->vm_create(vm, options_a);
    if (!err)
        err = vm_new(&ls->shadow);
    if (!err) {
        ls->shadow->target = vm->target;
        ls->shadow->arch = vm->arch;
        ls->shadow->irqchips = 1 << IRQCHIP_USER;
        ls->shadow->accel = ls->engine_b;
        err = ls->engine_b->vm_create(ls->shadow, options_b);
    }
    if (!err) {
        choose_fields(ls);
        ls->tape = tape_new(vm, ls->shadow);
        if (follows(ls))
            tape_excuse_marks(ls->tape);
        vm->tape = ls->shadow->tape = ls->tape;
        vm->can_smm = false; /* the tape knows one physical memory */
        return NULL;
    }
    destroy(vm);
    return error_in(err, "-accel lockstep");
}

static struct error *vcpu_create(struct vcpu *cpu)
{
    struct lockstep *ls = lockstep_of(cpu->vm);
    if (cpu->index)
        return error_new("-accel lockstep follows one CPU: use -smp 1");
    struct error *err = ls->engine_a->vcpu_create(cpu);
    if (err)
        return err;
    assert(ls->engine_a->vcpu_headroom <= HEADROOM);
    ls->a = cpu;
    cpu->exit_flag = &ls->kicked;
    err = vcpu_new(ls->shadow, 0, &ls->b);
    if (err)
        ls->engine_a->vcpu_destroy(cpu);
    else
        ls->b->leader = cpu;
    return err;
}

static void vcpu_destroy(struct vcpu *cpu)
{
    lockstep_of(cpu->vm)->engine_a->vcpu_destroy(cpu);
}

static void get_state(struct vcpu *cpu)
{
    lockstep_of(cpu->vm)->engine_a->get_state(cpu);
}

static void set_state(struct vcpu *cpu)
{
    struct lockstep *ls = lockstep_of(cpu->vm);
    const struct target *target = cpu->vm->target;
    struct error *err = target->follow ? target->follow(ls->a, ls->b) : NULL;
    if (err) {
        vm_request_end(cpu->vm, VERDICT_ENGINE_FAILED, 0, error_text(err));
        error_free(err);
    }
    hold_clock(ls);
    ls->engine_a->set_state(cpu);
    copy_state(ls);
    ls->real->clock_held_ns = 0;
    ls->halt = false;
}

static void memory_changed(struct vm *vm, const struct mem_view *now)
{
    struct lockstep *ls = lockstep_of(vm);
    if (ls && ls->a)
        ls->engine_a->memory_changed(vm, now);
}

static void code_written(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
    lockstep_of(vm)->engine_a->code_written(vm, ram, off, n);
}

static void dirty_log_started(struct vm *vm, struct ram_block *ram)
{
    lockstep_of(vm)->engine_a->dirty_log_started(vm, ram);
}

static struct error *set_debug(struct vcpu *cpu, const struct vcpu_debug *want)
{
    (void)cpu;
    return want->step || want->n ? error_new("lock-step takes no breakpoints") : NULL;
}
static void explain(struct vcpu *cpu, uint64_t pc, void (*print)(void *opaque, const char *line),
                    void *opaque)
{
    (void)cpu, (void)pc;
    print(opaque, "two engines in lock-step: ask each alone");
}
static void print_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    print(opaque,
          "lockstep: two engines over one guest, until they differ (-smp 1; docs/lockstep.md)");
    print(opaque, "  a=ENGINE[:OPTION=VALUE...]   the one that reaches devices (default tcg)");
    print(opaque,
          "  b=ENGINE[:OPTION=VALUE...]   the one that follows (default tcg:backend=interp)");
    print(opaque, "  step=unit|insn               compare after each unit of code, or instruction");
}

static void stats(struct vm *vm, void (*add)(void *opaque, const char *name, double value),
                  void *opaque)
{
    const struct lockstep *ls = lockstep_of(vm);
    ls->engine_a->stats(vm, add, opaque);
    add(opaque, "lockstep.steps", (double)ls->n_steps);
    add(opaque, "lockstep.interrupts", (double)ls->n_interrupts);
}

const struct accel lockstep_accel = {
    .name = "lockstep",
    .only_when_asked = true,
    .makes_code_late = true, /* KVM's helper, where KVM is one of the two */
    .vcpu_headroom = HEADROOM,
    .available = available,
    .vm_create = vm_create,
    .vm_destroy = destroy,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .run = run,
    .kick = kick,
    .get_state = get_state,
    .set_state = set_state,
    .memory_changed = memory_changed,
    .code_written = code_written,
    .dirty_log_started = dirty_log_started,
    .set_debug = set_debug,
    .explain = explain,
    .print_help = print_help,
    .stats = stats,
};
