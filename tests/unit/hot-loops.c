/* Loops of the second tier, disturbed: before each of their host instructions, in early turns and late ones, an interrupt comes,
 * whose handler writes what the loop reads, moves or takes away the pages that it walks through, or changes its code; or another
 * vCPU begins to watch a page that it writes. What the guest then is and has seen must be what the interpreter makes
 * of an interrupt at the same instruction of the same turn, a step at a time.
 *
 * The guest is a random loop (riscv_walks.h) in S-mode, through pages of its own, one of which may be a device.
 * test-hot-loops SEED COUNT runs others than the test. */
#include "core/accel.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/vm.h"
#include "target/riscv/rv_priv.h"
#include "tcg/tcg.h"
#include "tests/unit/host_steps.h"
#include "tests/unit/riscv_walks.h"
#include "tests/unit/x86_machine.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define RAM      ((uint64_t)0x80000000) /* everybody's, at its own address */
#define STOP     (RAM + 0x1000)         /* where the loop returns to */
#define HANDLER  (RAM + 0x2000)
#define ACTIONS  (RAM + 0x3000)
#define CODE_AT  (RAM + 0x10040)
#define LOG      (RAM + 0x20000) /* a record for each trap */
#define ROOT     (RAM + 0x40000)
#define LEVEL1   (RAM + 0x41000)
#define LEVEL0   (RAM + 0x42000)
#define PRISTINE (RAM + 0x43000) /* what LEVEL0 begins as */
#define AREA     (RAM + 0x80000)
#define AREA_VA  ((uint64_t)0x40000000)
#define DEVICE   ((uint64_t)0x10000000)
enum {
    RAM_SIZE = 1 << 20,
    AREA_SIZE = 0x10000,
    AREA_PAGES = AREA_SIZE / 4096,
    DEVICE_PAGE = 1, /* and each other from there */
    RECORD = 512,    /* pc, the registers by number, cause, value */
    RECORD_CAUSE = 256,
    ALL = 0xcf, /* of a page table entry: D, A, X, W, R, V */
    WFI = 0x10500073,
    COUNT = 12, /* registers: turns left, of the outer loop, too */
    OUTER = 30,
};

/* sp: the next record; s5: the entries of the area's pages; s6: PRISTINE; s7: AREA; s8, s9: where code is changed, and to
 * what; s10: entries were changed; s11: AREA_VA; tp: the action. The loop uses none of these. */
static const uint32_t came[] = {
    0x141022f3, /*      csrr t0, sepc */
    0x00513023, /*      sd t0, 0(sp) */
    0x14202373, /*      csrr t1, scause */
    0x10613023, /*      sd t1, 256(sp) */
    0x143022f3, /*      csrr t0, stval */
    0x10513423, /*      sd t0, 264(sp) */
    0x04034063, /*      bltz t1, 3f */
    0x000d1663, /*      bnez s10, 1f */
    0x10500073, /*      wfi: an exception that nobody asked for */
    0xffdff06f, /*      j . - 4 */
    0x00000d13, /* 1:   li s10, 0 */
    0x01000293, /*      li t0, 16 */
    0x000b0313, /*      mv t1, s6 */
    0x000a8393, /*      mv t2, s5 */
    0x00033e03, /* 2:   ld t3, 0(t1) */
    0x01c3b023, /*      sd t3, 0(t2) */
    0x00830313, /*      addi t1, t1, 8 */
    0x00838393, /*      addi t2, t2, 8 */
    0xfff28293, /*      addi t0, t0, -1 */
    0xfe0296e3, /*      bnez t0, 2b */
    0x12000073, /*      sfence.vma */
    0x0100006f, /*      j 4f */
    0x14417073, /* 3:   csrci sip, 2 */
    0x00020463, /*      beqz tp, 4f */
    0x000200e7, /*      jalr tp */
};              /*              4: */
enum { NOTHING, WRITES = 4, MOVES = 40, READ_ONLY = 104, UNMAPPED = 112, CHANGES_CODE = 160 };
static const uint32_t actions[] = {
    0x00008067, /*          ret */
    /* WRITES: a double word in each 64 bytes of the area */
    0x000b8293, /*          mv t0, s7 */
    0x40000313, /*          li t1, 1024 */
    0x0002b383, /* 1:       ld t2, 0(t0) */
    0x00138393, /*          addi t2, t2, 1 */
    0x0072b023, /*          sd t2, 0(t0) */
    0x04028293, /*          addi t0, t0, 64 */
    0xfff30313, /*          addi t1, t1, -1 */
    0xfe0316e3, /*          bnez t1, 1b */
    0x00008067, /*          ret */
    /* MOVES: each page of the area changes places with its neighbour */
    0x000a8293, /*          mv t0, s5 */
    0x000d8e93, /*          mv t4, s11 */
    0x00800313, /*          li t1, 8 */
    0x00001f37, /*          lui t5, 1 */
    0x0002b383, /* 1:       ld t2, 0(t0) */
    0x0082be03, /*          ld t3, 8(t0) */
    0x01c2b023, /*          sd t3, 0(t0) */
    0x0072b423, /*          sd t2, 8(t0) */
    0x120e8073, /*          sfence.vma t4 */
    0x01ee8eb3, /*          add t4, t4, t5 */
    0x120e8073, /*          sfence.vma t4 */
    0x01ee8eb3, /*          add t4, t4, t5 */
    0x01028293, /*          addi t0, t0, 16 */
    0xfff30313, /*          addi t1, t1, -1 */
    0xfc031ce3, /*          bnez t1, 1b */
    0x00008067, /*          ret */
    /* READ_ONLY */
    0xffb00e93, /*          li t4, ~4 */
    0x0080006f, /*          j 1f */
    /* UNMAPPED */
    0xffe00e93, /*          li t4, ~1 */
    0x000a8293, /* 1:       mv t0, s5 */
    0x01000313, /*          li t1, 16 */
    0x0002b383, /* 2:       ld t2, 0(t0) */
    0x01d3f3b3, /*          and t2, t2, t4 */
    0x0072b023, /*          sd t2, 0(t0) */
    0x00828293, /*          addi t0, t0, 8 */
    0xfff30313, /*          addi t1, t1, -1 */
    0xfe0316e3, /*          bnez t1, 2b */
    0x00100d13, /*          li s10, 1 */
    0x12000073, /*          sfence.vma */
    0x00008067, /*          ret */
    /* CHANGES_CODE */
    0x019c2023, /*          sw s9, 0(s8) */
    0x0000100f, /*          fence.i */
    0x00008067, /*          ret */
};
static const struct {
    const char *name;
    unsigned at;
} handlers[] = {
    { "returns", NOTHING },           { "writes the area", WRITES },
    { "moves the pages", MOVES },     { "takes the right to write", READ_ONLY },
    { "unmaps the pages", UNMAPPED }, { "changes the loop's code", CHANGES_CODE },
};

struct machine_rv {
    struct vm *vm;
    struct vcpu *cpu;
    struct riscv_cpu *r;
    struct tcg_cpu *t;
    uint8_t *ram;
    struct ram_block *block;
    uint64_t n_device, device; /* accesses, and a hash of what was written in which order */
    struct mem_region
        *other; /* what the device shows at times in place of the pages before its own */
    bool other_shown;
};

/* A loop and what is done to it. */
struct job {
    uint8_t code[2048];
    uint64_t seed, change_at;
    uint32_t change_to;
    bool with_device;
    unsigned handler;
};

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

/* ---- the guest ---------------------------------------------------------------------------------------------- */

/* Writes have other RAM stand in for the area's at times. */
static void show_other(struct machine_rv *m, bool shown)
{
    if (shown && !m->other_shown)
        mem_map(m->other, AREA, 1);
    else if (!shown && m->other_shown)
        mem_unmap(m->other);
    m->other_shown = shown;
}

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
    struct machine_rv *m = opaque;
    return ++m->n_device * 0x9e3779b97f4a7c15 + off * size;
}

static void device_write(void *opaque, uint64_t off, unsigned size, uint64_t v)
{
    struct machine_rv *m = opaque;
    show_other(m, m->n_device & 64);
    m->device = (m->device ^ (v + off * 8 + size)) * 0x2545f4914f6cdd1d + ++m->n_device;
}

static const struct mmio_ops device_ops = { .read = device_read, .write = device_write };

static void put_words(struct machine_rv *m, uint64_t at, const uint32_t *words, size_t n)
{
    if (memcmp(m->ram + (at - RAM), words, 4 * n) != 0)
        assert_true(mem_write(m->vm, at, words, 4 * n));
}

/* Saves the registers that the loop uses, or loads them: sd, ld x, 8 * x(sp). */
static size_t put_moves(uint32_t *to, bool saves)
{
    const uint32_t loop_uses = 0xf01fffe2;
    size_t n = 0;
    for (uint32_t x = 1; x < 32; x++)
        if (loop_uses >> x & 1)
            to[n++] =
                saves ? (8 * x) >> 5 << 25 | x << 20 | 2 << 15 | 3 << 12 | (8 * x & 31) << 7 | 0x23
                      : (8 * x) << 20 | 2 << 15 | 3 << 12 | x << 7 | 0x03;
    return n;
}

static void put_handler(struct machine_rv *m)
{
    static const uint32_t stop[] = { WFI, 0xffdff06f /* j . - 4 */ };
    uint32_t code[128];
    size_t n = put_moves(code, true);
    memcpy(code + n, came, sizeof(came));
    n += ARRAY_LEN(came);
    n += put_moves(code + n, false);
    code[n++] = 0x20010113; /* addi sp, sp, 512 */
    code[n++] = 0x10200073; /* sret */
    put_words(m, HANDLER, code, n);
    put_words(m, ACTIONS, actions, ARRAY_LEN(actions));
    put_words(m, STOP, stop, ARRAY_LEN(stop));
}

static void start(struct machine_rv *m, const char *options)
{
    struct mem_region *ram;
    memset(m, 0, sizeof(*m));
    must(vm_new(&m->vm));
    m->vm->accel = &tcg_accel;
    m->vm->target = &riscv64_target;
    m->vm->log.fd = 2;
    must(riscv64_target.cpu_model(m->vm, "max"));
    must(tcg_accel.vm_create(m->vm, options));
    must(mem_add_ram(m->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, RAM, 0);
    m->block = mem_region_ram(ram);
    m->ram = m->block->host;
    must(mem_add_ram(m->vm, "other", AREA_SIZE, false, &m->other));
    mem_map(mem_add_mmio(m->vm, "device", 4096, &device_ops, m), DEVICE, 0);
    must(vcpu_new(m->vm, 0, &m->cpu));
    m->cpu->requests = 0;
    m->r = riscv_of(m->cpu);
    m->t = tcg_cpu_of(m->cpu);
    put_handler(m);
}

static uint64_t pte(uint64_t at, unsigned rights)
{
    return at >> 12 << 10 | rights;
}

/* Behind the loop's first access that faults, nothing happens any more. */
static void prepare(struct machine_rv *m, const struct job *j)
{
    struct riscv_cpu *r = m->r;
    show_other(m, false);
    memset(mem_region_ram(m->other)->host, 0x55, AREA_SIZE);
    memset(m->ram + (LOG - RAM), 0, 0x20000);
    for (unsigned i = 0; i < AREA_SIZE; i += 8)
        store_le(m->ram + (AREA - RAM) + i, 8, (i + j->seed) * 0x9e3779b97f4a7c15);
    store_le(m->ram + (ROOT - RAM) + 8, 8, pte(LEVEL1, 1));
    store_le(m->ram + (ROOT - RAM) + 16, 8, pte(RAM, ALL));
    store_le(m->ram + (LEVEL1 - RAM), 8, pte(LEVEL0, 1));
    for (unsigned i = 0; i < AREA_PAGES; i++) {
        bool device = j->with_device && i % 2 == DEVICE_PAGE;
        uint64_t entry = pte(device ? DEVICE : AREA + 4096 * (uint64_t)i, ALL);
        store_le(m->ram + (LEVEL0 - RAM) + 8 * i, 8, entry);
        store_le(m->ram + (PRISTINE - RAM) + 8 * i, 8, entry);
    }
    put_words(m, CODE_AT, (const uint32_t *)j->code, sizeof(j->code) / 4);
    riscv64_target.vcpu_reset(m->cpu);
    riscv_place(m->cpu, CODE_AT, 0, 0);
    m->n_device = m->device = 0;
    r->priv = RV_S;
    r->satp = (uint64_t)RV_SV39 << 60 | ROOT >> 12;
    r->pmpcfg[0] = 0x1f; /* NAPOT, all rights everywhere */
    r->pmpaddr[0] = ((uint64_t)1 << 54) - 1;
    r->stvec = HANDLER;
    r->medeleg = 0xffff;
    r->mideleg = r->mie = RV_BIT(RV_SSI);
    r->mip = 0;
    r->mstatus |= RV_MSTATUS_SIE | (uint64_t)1 << 13;
    r->x[1] = STOP;
    r->x[2] = LOG;
    r->x[4] = ACTIONS + handlers[j->handler].at;
    r->x[21] = LEVEL0;
    r->x[22] = PRISTINE;
    r->x[23] = AREA;
    r->x[24] = j->change_at;
    r->x[25] = j->change_to;
    r->x[27] = AREA_VA;
    riscv64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
}

static void run_to_end(void *opaque)
{
    struct machine_rv *m = opaque;
    enum vcpu_exit e = EXIT_KICKED;
    for (unsigned k = 0; k < 100 && e == EXIT_KICKED; k++)
        e = tcg_accel.run(m->cpu);
    assert_int_equal(e, EXIT_HALTED);
    tcg_accel.get_state(m->cpu);
}

static void interrupt(void *opaque)
{
    struct machine_rv *m = opaque;
    atomic_fetch_or(&m->r->mip, RV_BIT(RV_SSI));
    atomic_store(&m->t->exit_flag, 1);
}

/* All that the guest is and has seen. */
static uint64_t end_of(const struct machine_rv *m)
{
    static const uint64_t key[2];
    const struct riscv_cpu *r = m->r;
    const uint64_t facts[] = { hash64(key, r->x, sizeof(r->x)),
                               hash64(key, r->f, sizeof(r->f)),
                               r->pc,
                               r->fflags,
                               r->sepc,
                               r->scause,
                               r->stval,
                               r->mstatus,
                               r->mip,
                               m->n_device,
                               m->device,
                               hash64(key, m->ram, RAM_SIZE),
                               hash64(key, mem_region_ram(m->other)->host, AREA_SIZE) };
    return hash64(key, facts, sizeof(facts));
}

/* ---- what is right ------------------------------------------------------------------------------------------- */

/* Where an interrupt came: its instruction, and the turn. */
struct boundary {
    uint64_t pc, count, outer;
};

static uint64_t logged(const struct machine_rv *m, unsigned record, unsigned at)
{
    return load_le(m->ram + (LOG - RAM) + record * RECORD + at, 8);
}

/* False: none came, as the loop ended by a fault before. */
static bool boundary_of(const struct machine_rv *m, struct boundary *b)
{
    *b = (struct boundary){ logged(m, 0, 0), logged(m, 0, 8 * COUNT), logged(m, 0, 8 * OUTER) };
    return logged(m, 0, RECORD_CAUSE) >> 63;
}

static bool is_there(const struct machine_rv *m, const struct boundary *b)
{
    return m->r->pc == b->pc && m->r->x[COUNT] == b->count && m->r->x[OUTER] == b->outer;
}

/* The interpreter, an instruction at a time to there. False: it never was there. */
static bool step_to(struct machine_rv *m, const struct boundary *b)
{
    for (unsigned k = 0; !is_there(m, b); k++) {
        struct vcpu_code code;
        if (k == 100000 || m->r->pc == STOP)
            return false;
        if (tcg_accel.step_prepare(m->cpu, 1, &code) > 0)
            tcg_accel.step(m->cpu);
    }
    return true;
}

/* What comes of an interrupt there; 0: there is no such place. */
static uint64_t expected(struct machine_rv *m, const struct job *j, const struct boundary *b)
{
    prepare(m, j);
    assert_true(
        mem_write(m->vm, CODE_AT, j->code, sizeof(j->code))); /* no links are left to follow */
    if (b && !step_to(m, b))
        return 0;
    if (b)
        interrupt(m);
    run_to_end(m);
    if (!b)
        m->r->mip |= RV_BIT(RV_SSI); /* came too late */
    return end_of(m);
}

/* The answers, as many points lead to one boundary. */
struct known {
    unsigned n;
    struct {
        struct boundary at;
        bool taken;
        unsigned handler;
        uint64_t end;
    } all[4096];
};

static uint64_t look_up(struct known *k, struct machine_rv *ref, const struct job *j, bool taken,
                        const struct boundary *b)
{
    for (unsigned i = 0; i < k->n; i++)
        if (k->all[i].handler == j->handler && k->all[i].taken == taken &&
            (!taken || !memcmp(&k->all[i].at, b, sizeof(*b))))
            return k->all[i].end;
    uint64_t end = expected(ref, j, taken ? b : NULL);
    if (k->n < ARRAY_LEN(k->all)) {
        k->all[k->n].at = *b;
        k->all[k->n].taken = taken;
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
    struct machine_rv *m;
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
    run_to_end(t->m);
}

/* Of the loop's page: not the handler's, nor what all units share. */
static size_t find_points(struct machine_rv *m, const struct job *j, struct point *points,
                          size_t most)
{
    struct tcg *tcg = tcg_of_vm(m->vm);
    const uint8_t *page = m->ram + ((CODE_AT - RAM) & ~(uint64_t)4095);
    struct trace t = { tcg, m, xcalloc(tcg->size, sizeof(uint32_t)), 0 };
    size_t n = 0;
    for (unsigned k = 0; k < 2; k++) { /* once more, and all is translated and linked */
        prepare(m, j);
        run_to_end(m);
    }
    prepare(m, j);
    host_steps(tcg, run_traced, trace_step, &t);
    for (size_t h = 0; h < ARRAY_LEN(tcg->hash); h++)
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

/* A walk through the first page whose stores go to the second, a device, for 64 turns of 128. */
static const uint32_t visits_device[] = {
    0x12c00613, /*      li a2, 300 */
    0x400002b7, /*      lui t0, 0x40000 */
    0x0002b703, /* 1:   ld a4, 0(t0) */
    0x00e787b3, /*      add a5, a5, a4 */
    0x0066d713, /*      srli a4, a3, 6 */
    0x00177713, /*      andi a4, a4, 1 */
    0x00c71713, /*      slli a4, a4, 12 */
    0x00570733, /*      add a4, a4, t0 */
    0x04f73023, /*      sd a5, 64(a4) */
    0x00d7c7b3, /*      xor a5, a5, a3 */
    0x00828293, /*      addi t0, t0, 8 */
    0x00168693, /*      addi a3, a3, 1 */
    0xfff60613, /*      addi a2, a2, -1 */
    0xfc061ae3, /*      bnez a2, 1b */
    0x00008067, /*      ret */
};

/* Seed 0 is that. The last step of the index, for CHANGES_CODE: then it takes three. */
static void make_job(struct job *j, uint64_t seed)
{
    const uint32_t step = 13 << 15 | 13 << 7 | 0x13; /* addi x13, x13, ... */
    *j = (struct job){ .seed = seed, .with_device = seed % 2 == 0 };
    size_t n = riscv_walk_code(seed, AREA_VA, AREA_SIZE, j->code);
    assert_true(n <= sizeof(j->code));
    if (!seed)
        memcpy(j->code, visits_device, n = sizeof(visits_device));
    for (size_t i = 0; i < n; i += 4)
        if ((load_le(j->code + i, 4) & 0xfffff) == step) {
            j->change_at = CODE_AT + i;
            j->change_to = 3 << 20 | step;
        }
}

struct totals {
    uint64_t n, taken, bad, left;
};

static void print_difference(const struct machine_rv *is, const struct machine_rv *should)
{
    for (unsigned x = 1; x < 32; x++)
        if (is->r->x[x] != should->r->x[x])
            print_message("#   x%u is %" PRIx64 ", not %" PRIx64 "\n", x, is->r->x[x],
                          should->r->x[x]);
    for (uint64_t at = 0, n = 0; at < RAM_SIZE && n < 8; at += 8)
        if (memcmp(is->ram + at, should->ram + at, 8) != 0 && n++ < 8)
            print_message("#   at %" PRIx64 " is %" PRIx64 ", not %" PRIx64 "\n", RAM + at,
                          load_le(is->ram + at, 8), load_le(should->ram + at, 8));
    print_message("#   pc is %" PRIx64 ", not %" PRIx64 "; cause %" PRIx64 ", not %" PRIx64
                  "; %" PRIu64 " accesses to the device, not %" PRIu64 "\n",
                  is->r->pc, should->r->pc, is->r->scause, should->r->scause, is->n_device,
                  should->n_device);
}

/* False: there is no such point any more. */
static bool try_point(struct machine_rv *hot, struct machine_rv *ref, struct known *known,
                      const struct job *j, const struct point *p, unsigned nth, struct totals *sum)
{
    struct tcg *tcg = tcg_of_vm(hot->vm);
    struct boundary b;
    prepare(hot, j);
    if (!place_of(tcg, p)) { /* the code was changed, and changed back */
        run_to_end(hot);
        prepare(hot, j);
    }
    uint32_t where = place_of(tcg, p);
    if (!where)
        return false;
    if (!host_break(tcg, where, nth, run_to_end, interrupt, hot))
        return true;
    bool taken = boundary_of(hot, &b);
    uint64_t is = end_of(hot), should = look_up(known, ref, j, taken, &b);
    sum->n++;
    sum->taken += taken;
    sum->bad += is != should;
    if (is != should)
        print_message("# seed %" PRIu64
                      ", interrupt that %s, at the %uth of host instruction +%u: came at %" PRIx64
                      ", %" PRIu64 " turns left; %s\n",
                      j->seed, handlers[j->handler].name, nth, p->rel, b.pc, b.count,
                      should ? "what follows differs" : "the loop never was there");
    if (is != should && should) {
        expected(ref, j, taken ? &b : NULL);
        print_difference(hot, ref);
    }
    return true;
}

/* Each point is tried in a first, a later and a last turn, with handlers in turn. */
static void disturb_loop(struct machine_rv *hot, struct machine_rv *ref, uint64_t seed,
                         struct totals *sum)
{
    static struct point points[4096];
    static struct known known;
    struct job j;
    unsigned n_lost = 0;
    make_job(&j, seed);
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
        if (lost && n_lost++ < 4) {
            j.handler = 0;
            n = find_points(hot, &j, points, ARRAY_LEN(points));
        }
    }
}

static struct totals disturb_loops(uint64_t seed, uint64_t count)
{
    struct machine_rv hot, ref;
    struct totals sum = { 0 };
    start(&hot, "backend=jit,tier2=always,unit-insns=256");
    start(&ref, "backend=interp,one-insn-per-tb=on");
    for (uint64_t k = 0; k < count && !sum.bad; k++)
        disturb_loop(&hot, &ref, seed + k, &sum);
    sum.left = hot.t->counts.windows_left;
    print_message("# %" PRIu64 " interrupts, %" PRIu64 " taken; %" PRIu64 " windows, %" PRIu64
                  " left for a device\n",
                  sum.n, sum.taken, hot.t->counts.windows_opened, sum.left);
    vm_free(hot.vm);
    vm_free(ref.vm);
    return sum;
}

static void interrupts_come_between_instructions(void **unused)
{
    struct totals sum = disturb_loops(0, 6);
    if (!sum.n) {
        print_message("# this host does not let a process see its own steps\n");
        skip();
    }
    assert_int_equal(sum.bad, 0);
    assert_true(sum.taken > sum.n / 2 && sum.left);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(interrupts_come_between_instructions),
    };
    if (argc == 3)
        return disturb_loops(strtoull(argv[1], NULL, 0), strtoull(argv[2], NULL, 0)).bad != 0;
    return cmocka_run_group_tests(facts, NULL, NULL);
}
