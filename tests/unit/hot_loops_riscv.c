/* RISC-V in S-mode; some of the area's pages may be a device. */
#include "core/accel.h"
#include "core/error.h"
#include "core/hash.h"
#include "target/riscv/rv_priv.h"
#include "tests/unit/hot_loops.h"
#include "tests/unit/riscv_walks.h"

#include <inttypes.h>
#include <stdlib.h>

#define RAM     ((uint64_t)0x80000000) /* everybody's, at its own address */
#define STOP    (RAM + 0x1000)         /* where the loop returns to */
#define HANDLER (RAM + 0x2000)
#define ACTIONS (RAM + 0x3000)
#define CODE    (RAM + 0x10040)
#define LOG     (RAM + 0x20000) /* a record for each trap */
#define ROOT    (RAM + 0x40000)
#define LEVEL1  (RAM + 0x41000)
#define LEVEL0  (RAM + 0x42000)
#define FURTHER \
    (RAM + 0x44000) /* as LEVEL0, 64 MiB further on; its first entry is for a page of the area */
#define PRISTINE (RAM + 0x43000) /* what LEVEL0 begins as */
#define AREA     (RAM + 0x80000)
#define AREA_VA  ((uint64_t)0x40000000)
#define DEVICE   ((uint64_t)0x10000000)
enum {
    AREA_SIZE = 0x10000,
    AREA_PAGES = AREA_SIZE / 4096,
    RECORD = 512, /* pc, the registers by number, cause, value */
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
    /* TAKES_WRITES */
    0xffb00e93, /*          li t4, ~4 */
    0x0080006f, /*          j 1f */
    /* UNMAPS */
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
static const uint8_t action_at[N_HANDLERS] = { 0, 4, 40, 104, 112, 160 };

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static uint8_t *at(const struct hot_guest *g, gpa to)
{
    return g->ram + (to - RAM);
}

/* ---- the device ------------------------------------------------------------------------------------------ */

/* Writes have other RAM stand in for the area's at times. */
static void show_other(struct hot_guest *g, bool shown)
{
    if (shown && !g->other_shown)
        mem_map(g->other, AREA, 1);
    else if (!shown && g->other_shown)
        mem_unmap(g->other);
    g->other_shown = shown;
}

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
    struct hot_guest *g = opaque;
    return ++g->n_device * 0x9e3779b97f4a7c15 + off * size;
}

static void device_write(void *opaque, uint64_t off, unsigned size, uint64_t v)
{
    struct hot_guest *g = opaque;
    show_other(g, g->n_device & 64);
    g->device = (g->device ^ (v + off * 8 + size)) * 0x2545f4914f6cdd1d + ++g->n_device;
}

static const struct mmio_ops device_ops = { .read = device_read, .write = device_write };

/* ---- the guest ------------------------------------------------------------------------------------------- */

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

static void put_handler(struct hot_guest *g)
{
    static const uint32_t stop[] = { WFI, 0xffdff06f /* j . - 4 */ };
    uint32_t code[128];
    size_t n = put_moves(code, true);
    memcpy(code + n, came, sizeof(came));
    n += ARRAY_LEN(came);
    n += put_moves(code + n, false);
    code[n++] = 0x20010113; /* addi sp, sp, 512 */
    code[n++] = 0x10200073; /* sret */
    hot_put(g, HANDLER, code, 4 * n);
    hot_put(g, ACTIONS, actions, sizeof(actions));
    hot_put(g, STOP, stop, sizeof(stop));
}

static struct hot_guest *start(const char *options)
{
    struct hot_guest *g = xcalloc(1, sizeof(*g));
    struct mem_region *ram;
    must(vm_new(&g->vm));
    g->kind = &hot_riscv;
    g->vm->accel = &tcg_accel;
    g->vm->target = &riscv64_target;
    g->vm->log.fd = 2;
    must(riscv64_target.cpu_model(g->vm, "max"));
    must(tcg_accel.vm_create(g->vm, options));
    must(mem_add_ram(g->vm, "ram", HOT_RAM_SIZE, false, &ram));
    mem_map(ram, RAM, 0);
    g->ram = mem_region_ram(ram)->host;
    must(mem_add_ram(g->vm, "other", AREA_SIZE, false, &g->other));
    mem_map(mem_add_mmio(g->vm, "device", 4096, &device_ops, g), DEVICE, 0);
    must(vcpu_new(g->vm, 0, &g->cpu));
    g->cpu->requests = 0;
    g->t = tcg_cpu_of(g->cpu);
    put_handler(g);
    return g;
}

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

/* A walk that also reads, for 32 turns of 64, 64 MiB further on: that pushes the first page out of the TLB's first level. */
static const uint32_t pushes_out[] = {
    0x12c00613, /*      li a2, 300 */
    0x400002b7, /*      lui t0, 0x40000 */
    0x0002b703, /* 1:   ld a4, 0(t0) */
    0x00e787b3, /*      add a5, a5, a4 */
    0x00f2b423, /*      sd a5, 8(t0) */
    0x0056d713, /*      srli a4, a3, 0x5 */
    0x00177713, /*      andi a4, a4, 1 */
    0x01a71713, /*      slli a4, a4, 0x1a */
    0x00570733, /*      add a4, a4, t0 */
    0x00073703, /*      ld a4, 0(a4) */
    0x00e7c7b3, /*      xor a5, a5, a4 */
    0x00828293, /*      addi t0, t0, 8 */
    0x00168693, /*      addi a3, a3, 1 */
    0xfff60613, /*      addi a2, a2, -1 */
    0xfc0618e3, /*      bnez a2, 1b */
    0x00008067, /*      ret */
};

/* A walk by a function, which comes back behind the next instruction in four turns of 16. */
static const uint32_t calls[] = {
    0x00008313, /*      mv t1, ra */
    0x12c00613, /*      li a2, 300 */
    0x400002b7, /*      lui t0, 0x40000 */
    0x018000ef, /* 1:   jal 2f */
    0x0557c793, /*      xori a5, a5, 85 */
    0x00828293, /*      addi t0, t0, 8 */
    0xfff60613, /*      addi a2, a2, -1 */
    0xfe0618e3, /*      bnez a2, 1b */
    0x00030067, /*      jr t1 */
    0x0002b703, /* 2:   ld a4, 0(t0) */
    0x00e787b3, /*      add a5, a5, a4 */
    0x00168693, /*      addi a3, a3, 1 */
    0x04f2b023, /*      sd a5, 64(t0) */
    0x00c6f713, /*      andi a4, a3, 12 */
    0x00071663, /*      bnez a4, 3f */
    0x00408093, /*      addi ra, ra, 4 */
    0x00008067, /*      ret */
    0x00d7c7b3, /* 3:   xor a5, a5, a3 */
    0x00008067, /*      ret */
};

/* Seeds 0 to 2 are these. What CHANGES_CODE changes is the index's last step, if it has one: then it takes three. */
static void put_loop(struct hot_guest *g, uint64_t seed)
{
    const uint32_t step = 13 << 15 | 13 << 7 | 0x13; /* addi x13, x13, ... */
    struct riscv_cpu *r = riscv_of(g->cpu);
    uint8_t code[2048] = { 0 };
    size_t n = riscv_walk_code(seed, AREA_VA, AREA_SIZE, code);
    assert_true(n <= sizeof(code));
    if (!seed)
        memcpy(code, visits_device, n = sizeof(visits_device));
    if (seed == 1)
        memcpy(code, pushes_out, n = sizeof(pushes_out));
    if (seed == 2)
        memcpy(code, calls, n = sizeof(calls));
    r->x[24] = CODE + sizeof(code) - 4; /* nothing is there */
    r->x[25] = 3 << 20 | step;
    for (size_t i = 0; i < n; i += 4)
        if ((load_le(code + i, 4) & 0xfffff) == step)
            r->x[24] = CODE + i;
    hot_put(g, CODE, code, sizeof(code));
}

static uint64_t pte(uint64_t to, unsigned rights)
{
    return to >> 12 << 10 | rights;
}

static void put_memory(struct hot_guest *g, uint64_t seed)
{
    show_other(g, false);
    memset(mem_region_ram(g->other)->host, 0x55, AREA_SIZE);
    memset(at(g, LOG), 0, 0x20000);
    for (unsigned i = 0; i < AREA_SIZE; i += 8)
        store_le(at(g, AREA) + i, 8, (i + seed) * 0x9e3779b97f4a7c15);
    store_le(at(g, ROOT) + 8, 8, pte(LEVEL1, 1));
    store_le(at(g, ROOT) + 16, 8, pte(RAM, ALL));
    store_le(at(g, LEVEL1), 8, pte(LEVEL0, 1));
    store_le(at(g, LEVEL1) + 8 * 32, 8, pte(FURTHER, 1));
    store_le(at(g, FURTHER), 8, pte(AREA + 0x8000, ALL));
    for (unsigned i = 0; i < AREA_PAGES; i++) {
        bool device = seed % 2 == 0 && i % 2 == 1;
        uint64_t entry = pte(device ? DEVICE : AREA + 4096 * (uint64_t)i, ALL);
        store_le(at(g, LEVEL0) + 8 * i, 8, entry);
        store_le(at(g, PRISTINE) + 8 * i, 8, entry);
    }
}

/* Behind the loop's first access that faults, nothing happens any more. */
static void prepare(struct hot_guest *g, uint64_t seed, unsigned handler)
{
    struct riscv_cpu *r = riscv_of(g->cpu);
    put_memory(g, seed);
    riscv64_target.vcpu_reset(g->cpu);
    riscv_place(g->cpu, CODE, 0, 0);
    g->n_device = g->device = 0;
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
    r->x[4] = ACTIONS + action_at[handler];
    r->x[21] = LEVEL0;
    r->x[22] = PRISTINE;
    r->x[23] = AREA;
    r->x[27] = AREA_VA;
    put_loop(g, seed);
    riscv64_target.vcpu_loaded(g->cpu);
    tcg_accel.set_state(g->cpu);
}

static void interrupt(struct hot_guest *g)
{
    atomic_fetch_or(&riscv_of(g->cpu)->mip, RV_BIT(RV_SSI));
}

static bool interrupt_came(const struct hot_guest *g, struct boundary *b)
{
    const uint8_t *first = at(g, LOG);
    *b = (struct boundary){ load_le(first, 8), load_le(first + 8 * COUNT, 8),
                            load_le(first + 8 * OUTER, 8) };
    return load_le(first + RECORD_CAUSE, 8) >> 63;
}

static struct boundary now(const struct hot_guest *g)
{
    const struct riscv_cpu *r = riscv_of(g->cpu);
    return (struct boundary){ r->pc, r->x[COUNT], r->x[OUTER] };
}

static bool has_ended(const struct hot_guest *g)
{
    return riscv_of(g->cpu)->pc - STOP < 8;
}

static uint64_t end(const struct hot_guest *g)
{
    static const uint64_t key[2];
    const struct riscv_cpu *r = riscv_of(g->cpu);
    const uint64_t facts[] = { hash64(key, r->x, sizeof(r->x)),
                               hash64(key, r->f, sizeof(r->f)),
                               r->pc,
                               r->fflags,
                               r->sepc,
                               r->scause,
                               r->stval,
                               r->mstatus,
                               g->n_device,
                               g->device,
                               hash64(key, g->ram, HOT_RAM_SIZE),
                               hash64(key, mem_region_ram(g->other)->host, AREA_SIZE) };
    return hash64(key, facts, sizeof(facts));
}

static void print_difference(const struct hot_guest *is, const struct hot_guest *should)
{
    const struct riscv_cpu *a = riscv_of(is->cpu), *b = riscv_of(should->cpu);
    for (unsigned x = 1; x < 32; x++)
        if (a->x[x] != b->x[x])
            print_message("#   x%u is %" PRIx64 ", not %" PRIx64 "\n", x, a->x[x], b->x[x]);
    print_message("#   pc is %" PRIx64 ", not %" PRIx64 "; cause %" PRIx64 ", not %" PRIx64
                  "; %" PRIu64 " accesses to the device, not %" PRIu64 "\n",
                  a->pc, b->pc, a->scause, b->scause, is->n_device, should->n_device);
    hot_print_memory(is, should);
}

const uint64_t hot_riscv_written = AREA, hot_riscv_soon = AREA_VA + 8 * 100;

const struct hot_kind hot_riscv = {
    .name = "riscv64",
    .ram_at = RAM,
    .code_at = CODE,
    .start = start,
    .prepare = prepare,
    .interrupt = interrupt,
    .came = interrupt_came,
    .now = now,
    .has_ended = has_ended,
    .end = end,
    .print_difference = print_difference,
};
