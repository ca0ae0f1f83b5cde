/* Guest memory accesses and floating point that generated code does not do inline: TLB misses,
 * accesses across pages, devices, pages that hold code, atomics without a host instruction. */
#include "core/util.h"
#include "tcg/ir_eval.h"
#include "tcg/softfloat.h"
#include "tcg/tcg.h"
#include "tcg/vec.h"

static noreturn void raise_fault(struct tcg_cpu *t, uint64_t va, enum access access, int kind,
                                 int fault)
{
    *tcg_pc(t) = tcg_insn_pc(t->cpu);
    t->undo++; /* the instruction itself does not retire */
    t->counts.traps++;
    if (t->debug)
        debug_forget_access(t);
    t->why = LEFT_FAULT;
    t->target->raise_memory(t->cpu, va, access, kind, fault);
    tcg_leave(t->cpu);
}

static struct tlb_place translate(struct tcg_cpu *t, uint64_t va, enum access access, unsigned mode)
{
    struct tlb_place p;
    int fault = 0;
    if (!tlb_translate(t, va, access, mode, &p, &fault))
        raise_fault(t, va, access, MEM_FAULT_TRANSLATION, fault);
    return p;
}

/* An access is about to be done, and a debugger may want to see that. */
static inline void watch(struct tcg_cpu *t, uint64_t va, uint64_t n, enum access access)
{
    if (t->debug)
        debug_access(t, va, n, access);
}

/* Aligned accesses are single-copy atomic, as the host's are. */
uint64_t softmmu_host_load(const uint8_t *p, unsigned size)
{
    if ((uintptr_t)p & (size - 1))
        return load_le(p, size);
    switch (size) {
    case 1: return *p;
    case 2: return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
    case 4: return __atomic_load_n((const uint32_t *)p, __ATOMIC_ACQUIRE);
    default: return __atomic_load_n((const uint64_t *)p, __ATOMIC_ACQUIRE);
    }
}

void softmmu_host_store(uint8_t *p, unsigned size, uint64_t v)
{
    if ((uintptr_t)p & (size - 1)) {
        store_le(p, size, v);
        return;
    }
    switch (size) {
    case 1: *p = (uint8_t)v; break;
    case 2: __atomic_store_n((uint16_t *)p, (uint16_t)v, __ATOMIC_RELEASE); break;
    case 4: __atomic_store_n((uint32_t *)p, (uint32_t)v, __ATOMIC_RELEASE); break;
    default: __atomic_store_n((uint64_t *)p, v, __ATOMIC_RELEASE); break;
    }
}

/* A device, seen from a loop with open windows, may move what they show: the loop is left, and the
 * instruction begins anew as a unit of its own. */
static void close_windows(struct tcg_cpu *t)
{
    if (!t->in_windows)
        return;
    *tcg_pc(t) = tcg_insn_pc(t->cpu);
    t->undo++;
    t->why = LEFT_WINDOW;
    t->wants_single = true;
    tcg_leave(t->cpu);
}

/* False: there is nothing. */
static bool place_read(struct tcg_cpu *t, const struct tlb_place *p, unsigned size, uint64_t *v)
{
    *v = 0;
    if (p->host) {
        *v = softmmu_host_load(p->host, size);
        return true;
    }
    close_windows(t);
    bool live = t->fp_live;
    if (live)
        t->tcg->backend->fp_suspend(t);
    t->counts.mmio++;
    bool ok = mem_cpu_read(t->cpu, p->gpa, size, v);
    if (live)
        t->tcg->backend->fp_resume(t);
    if (!ok && t->target->open_bus)
        *v = bits(UINT64_MAX, 0, 8 * size);
    return ok || t->target->open_bus;
}

/* `access` is what a failure counts as: an atomic's load is part of a write. */
static uint64_t place_load(struct tcg_cpu *t, const struct tlb_place *p, uint64_t va, unsigned size,
                           enum access access)
{
    uint64_t v;
    if (!place_read(t, p, size, &v))
        raise_fault(t, va, access, MEM_FAULT_NO_MEMORY, 0);
    return v;
}

/* n bytes of RAM were written: either we see here that their page is watched, or who began to watch it
 * sees the bytes. */
static void bytes_written(struct tcg_cpu *t, const struct tlb_place *p, unsigned n)
{
    uint64_t off = (uint64_t)(p->host - p->ram->host);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&p->ram->page_flags[off >> 12], memory_order_relaxed))
        mem_mark_ram_written(t->tcg->vm, p->ram, off, n);
}

static bool place_write(struct tcg_cpu *t, const struct tlb_place *p, unsigned size, uint64_t v)
{
    if (p->host && !p->rom) {
        softmmu_host_store(p->host, size, v);
        bytes_written(t, p, size);
        return true;
    }
    close_windows(t);
    bool live = t->fp_live;
    if (live)
        t->tcg->backend->fp_suspend(t);
    t->counts.mmio++;
    bool ok = mem_cpu_write(t->cpu, p->gpa, size, bits(v, 0, 8 * size));
    if (atomic_load_explicit(&t->flush_wanted, memory_order_relaxed))
        tlb_flush_everything(t); /* the write may have moved what the next access reaches */
    if (live)
        t->tcg->backend->fp_resume(t);
    return ok || t->target->open_bus;
}

static void place_store(struct tcg_cpu *t, const struct tlb_place *p, uint64_t va, unsigned size,
                        uint64_t v)
{
    if (!place_write(t, p, size, v))
        raise_fault(t, va, ACCESS_WRITE, MEM_FAULT_NO_MEMORY, 0);
}

/* Where rights change within a page, in steps of four bytes, all of the access must have them. */
static void check_rest(struct tcg_cpu *t, const struct tlb_place *p, uint64_t va, unsigned size,
                       enum access access, unsigned mode)
{
    for (unsigned i = 4 - (va & 3); p->partial && i < size; i += 4)
        translate(t, va + i, access, mode);
}

static bool crosses_page(uint64_t va, unsigned size)
{
    return (va & 4095) + size > 4096;
}

static void check_aligned(struct tcg_cpu *t, uint64_t va, unsigned shape, enum access access)
{
    if (shape & IR_ALIGNED && va & (ir_access_bytes(shape) - 1))
        raise_fault(t, va, access, MEM_FAULT_MISALIGNED, 0);
}

static uint64_t extend(uint64_t v, unsigned shape)
{
    unsigned width = 8u << (shape & IR_SIZE_MASK);
    return shape & IR_SIGNED ? (uint64_t)sext(v, width) : bits(v, 0, width);
}

uint64_t softmmu_load(struct tcg_cpu *t, uint64_t va, unsigned shape, unsigned mode)
{
    unsigned size = 1u << (shape & IR_SIZE_MASK);
    check_aligned(t, va, shape, ACCESS_READ);
    struct tlb_place p = translate(t, va, ACCESS_READ, mode);
    if (!crosses_page(va, size)) {
        check_rest(t, &p, va, size, ACCESS_READ, mode);
        watch(t, va, size, ACCESS_READ);
        return extend(place_load(t, &p, va, size, ACCESS_READ), shape);
    }
    uint64_t next = align_up(va, 4096);
    unsigned n = (unsigned)(next - va);
    struct tlb_place p2 = translate(t, next, ACCESS_READ, mode);
    check_rest(t, &p, va, n, ACCESS_READ, mode);
    check_rest(t, &p2, next, size - n, ACCESS_READ, mode);
    watch(t, va, size, ACCESS_READ);
    uint64_t v = 0;
    for (unsigned i = 0; i < size; i++) {
        struct tlb_place *q = i < n ? &p : &p2;
        v |= place_load(t, q, va + i, 1, ACCESS_READ) << (8 * i);
        q->gpa++;
        if (q->host)
            q->host++;
    }
    return extend(v, shape);
}

/* n bytes are about to be written. If the running unit was made of some of them and its guest sees such a write with
 * the next instruction, start over with this instruction as a unit of its own. Where units died since
 * generated code was entered, the running one may be among them, made of who knows what. */
static void check_own_code(struct tcg_cpu *t, const struct tlb_place *p, unsigned n)
{
    if (!t->target->sees_own_writes || !p->host || p->rom || t->alone || t->single)
        return;
    uint64_t off = (uint64_t)(p->host - p->ram->host);
    if (!(atomic_load_explicit(&p->ram->page_flags[off >> 12], memory_order_relaxed) &
          PAGE_HAS_CODE))
        return;
    uint64_t pc = tcg_insn_pc(t->cpu);
    int32_t from = off & 4095;
    const uint8_t *running = tlb_code_page(t, pc);
    if (running && running != p->host - from)
        return;
    bool died = atomic_load_explicit(&t->tcg->counts.dead, memory_order_relaxed) != t->units_dead;
    if (!died && !cache_covers(t->tcg, p->host - from, pc & 4095, from, from + (int32_t)n))
        return;
    *tcg_pc(t) = pc;
    t->undo++;
    t->wants_single = true;
    t->why = LEFT_OWN_CODE;
    tcg_leave(t->cpu);
}

static void check_own_bytes(struct tcg_cpu *t, uint64_t va, unsigned size, unsigned mode)
{
    if (!t->target->sees_own_writes)
        return;
    struct tlb_place p = translate(t, va, ACCESS_WRITE, mode);
    unsigned first = MIN(size, 4096 - (unsigned)(va & 4095));
    check_own_code(t, &p, first);
    if (first < size) {
        p = translate(t, va + first, ACCESS_WRITE, mode);
        check_own_code(t, &p, size - first);
    }
}

/* own: generated code stores, which may be made of these bytes. */
static void store_value(struct tcg_cpu *t, uint64_t va, uint64_t v, unsigned shape, unsigned mode,
                        bool own)
{
    unsigned size = 1u << (shape & IR_SIZE_MASK);
    check_aligned(t, va, shape, ACCESS_WRITE);
    struct tlb_place p = translate(t, va, ACCESS_WRITE, mode);
    if (!crosses_page(va, size)) {
        check_rest(t, &p, va, size, ACCESS_WRITE, mode);
        watch(t, va, size, ACCESS_WRITE);
        if (own)
            check_own_code(t, &p, size);
        place_store(t, &p, va, size, v);
        return;
    }
    uint64_t next = align_up(va, 4096); /* both pages must be there before anything is written */
    unsigned n = (unsigned)(next - va);
    struct tlb_place p2 = translate(t, next, ACCESS_WRITE, mode);
    check_rest(t, &p, va, n, ACCESS_WRITE, mode);
    check_rest(t, &p2, next, size - n, ACCESS_WRITE, mode);
    watch(t, va, size, ACCESS_WRITE);
    if (own) {
        check_own_code(t, &p, n);
        check_own_code(t, &p2, size - n);
    }
    for (unsigned i = 0; i < size; i++) {
        struct tlb_place *q = i < n ? &p : &p2;
        place_store(t, q, va + i, 1, v >> (8 * i) & 0xff);
        q->gpa++;
        if (q->host)
            q->host++;
    }
}

void softmmu_store(struct tcg_cpu *t, uint64_t va, uint64_t v, unsigned shape, unsigned mode)
{
    store_value(t, va, v, shape, mode, true);
}

/* Half an access, or bytes of it, to one place. */
static void pieces_load(struct tcg_cpu *t, struct tlb_place p, uint64_t va, uint8_t *to, unsigned n)
{
    unsigned size = n % 8 ? 1 : 8;
    for (unsigned i = 0; i < n; i += size) {
        store_le(to + i, size, place_load(t, &p, va + i, size, ACCESS_READ));
        p.gpa += size;
        if (p.host)
            p.host += size;
    }
}

static void pieces_store(struct tcg_cpu *t, struct tlb_place p, uint64_t va, const uint8_t *from,
                         unsigned n)
{
    unsigned size = n % 8 ? 1 : 8;
    for (unsigned i = 0; i < n; i += size) {
        place_store(t, &p, va + i, size, load_le(from + i, size));
        p.gpa += size;
        if (p.host)
            p.host += size;
    }
}

/* Is all of an access in pages that generated code may access? Then at[0] is the first byte, and at[1] what lies
 * behind the n bytes of the first page. Nobody watches such pages, and no code is there. */
static bool in_reach(struct tcg_cpu *t, uint64_t va, unsigned size, bool write, unsigned mode,
                     uint8_t *at[2], unsigned *n)
{
    uint64_t next = align_up(va + 1, 4096);
    *n = (unsigned)MIN(size, next - va);
    uint64_t first = tlb_addend(t, va, va, write, mode), rest = first;
    if (*n < size)
        rest = tlb_addend(t, next, next, write, mode);
    at[0] = (uint8_t *)(uintptr_t)(va + first);
    at[1] = (uint8_t *)(uintptr_t)(va + *n + rest);
    return first && rest;
}

/* The places of 16 bytes: the first n at place[0]. All of them may be reached. */
static unsigned places128(struct tcg_cpu *t, uint64_t va, enum access access, unsigned mode,
                          struct tlb_place place[2])
{
    unsigned n = crosses_page(va, 16) ? 4096 - (va & 4095) : 16;
    place[0] = translate(t, va, access, mode);
    if (n < 16)
        place[1] = translate(t, va + n, access, mode);
    check_rest(t, &place[0], va, n, access, mode);
    if (n < 16)
        check_rest(t, &place[1], va + n, 16 - n, access, mode);
    return n;
}

void softmmu_load128(struct tcg_cpu *t, uint64_t va, unsigned shape, unsigned mode, uint64_t v[2])
{
    v[1] = 0;
    if ((shape & IR_SIZE_MASK) < IR_128) {
        v[0] = softmmu_load(t, va, shape & ~IR_SIGNED, mode);
        return;
    }
    struct tlb_place place[2];
    uint8_t bytes[16], *at[2];
    unsigned n;
    check_aligned(t, va, shape, ACCESS_READ);
    if (in_reach(t, va, 16, false, mode, at, &n)) {
        memcpy(bytes, at[0], n);
        memcpy(bytes + n, at[1], 16 - n);
    } else {
        n = places128(t, va, ACCESS_READ, mode, place);
        watch(t, va, 16, ACCESS_READ);
        pieces_load(t, place[0], va, bytes, n);
        if (n < 16)
            pieces_load(t, place[1], va + n, bytes + n, 16 - n);
    }
    v[0] = load_le(bytes, 8);
    v[1] = load_le(bytes + 8, 8);
}

void tcg_probe(struct vcpu *cpu, uint64_t va, unsigned size, enum access access, unsigned mode)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    unsigned n = crosses_page(va, size) ? 4096 - (va & 4095) : size;
    struct tlb_place p = translate(t, va, access, mode);
    check_rest(t, &p, va, n, access, mode);
    if (n < size) {
        p = translate(t, va + n, access, mode);
        check_rest(t, &p, va + n, size - n, access, mode);
    }
    if (t->debug) /* once it has begun it is not to begin again */
        debug_check(t, va, size, access);
}

void softmmu_store128(struct tcg_cpu *t, uint64_t va, const uint64_t v[2], unsigned shape,
                      unsigned mode)
{
    if ((shape & IR_SIZE_MASK) < IR_128) {
        softmmu_store(t, va, v[0], shape, mode);
        return;
    }
    struct tlb_place place[2];
    uint8_t bytes[16], *at[2];
    unsigned n;
    store_le(bytes, 8, v[0]);
    store_le(bytes + 8, 8, v[1]);
    check_aligned(t, va, shape, ACCESS_WRITE);
    if (in_reach(t, va, ir_access_bytes(shape), true, mode, at, &n)) {
        n = MIN(n, 16);
        memcpy(at[0], bytes, n);
        memcpy(at[1], bytes + n, 16 - n);
        return;
    }
    check_own_bytes(t, va, 16, mode);
    if (shape & IR_PAIR)
        tcg_probe(t->cpu, va, 32, ACCESS_WRITE, mode);
    n = places128(t, va, ACCESS_WRITE, mode, place);
    watch(t, va, 16, ACCESS_WRITE);
    pieces_store(t, place[0], va, bytes, n);
    if (n < 16)
        pieces_store(t, place[1], va + n, bytes + n, 16 - n);
}

/* 256 bits are two halves, the lower one first; it answers for both. */
static unsigned half_of(unsigned shape, bool upper)
{
    shape = (shape & ~(unsigned)IR_SIZE_MASK) | IR_128;
    return upper ? shape & ~(unsigned)IR_ALIGNED : shape | IR_PAIR;
}

void softmmu_load256(struct tcg_cpu *t, uint64_t va, unsigned shape, unsigned mode, uint64_t v[4])
{
    softmmu_load128(t, va, half_of(shape, false), mode, v);
    softmmu_load128(t, va + 16, half_of(shape, true), mode, v + 2);
}

void softmmu_store256(struct tcg_cpu *t, uint64_t va, const uint64_t v[4], unsigned shape,
                      unsigned mode)
{
    softmmu_store128(t, va, v, half_of(shape, false), mode);
    softmmu_store128(t, va + 16, v + 2, half_of(shape, true), mode);
}

void tcg_load128(struct vcpu *cpu, uint64_t va, unsigned mode, uint64_t v[2])
{
    softmmu_load128(tcg_cpu_of(cpu), va, IR_128, mode, v);
}

void tcg_store128(struct vcpu *cpu, uint64_t va, const uint64_t v[2], unsigned mode)
{
    softmmu_store128(tcg_cpu_of(cpu), va, v, IR_128, mode);
}

/* One compare-and-swap on host memory; true if *expected was there, else *expected is what is. */
static bool host_cas(uint8_t *p, unsigned size, uint64_t *expected, uint64_t desired)
{
#define CAS(T)                                                                                 \
    {                                                                                          \
        T e = (T)*expected;                                                                    \
        bool ok = __atomic_compare_exchange_n((T *)p, &e, (T)desired, false, __ATOMIC_SEQ_CST, \
                                              __ATOMIC_SEQ_CST);                               \
        *expected = e;                                                                         \
        return ok;                                                                             \
    }
    switch (size) {
    case 1: CAS(uint8_t)
    case 2: CAS(uint16_t)
    case 4: CAS(uint32_t)
    default: CAS(uint64_t)
    }
#undef CAS
}

static bool is_split(const struct tcg_cpu *t, uint64_t va, unsigned shape)
{
    return t->target->misaligned_atomics && !(shape & IR_ALIGNED) &&
           va & ((1u << (shape & IR_SIZE_MASK)) - 1);
}

/* A misaligned atomic access is done while every other vCPU stands outside generated code: if that is not so
 * yet, the instruction starts over in a unit of its own (run.c). Then the load and store of it are plain
 * ones; they may not fail in between. */
static void stand_alone(struct tcg_cpu *t, uint64_t va, unsigned shape, unsigned mode)
{
    if (!t->alone) {
        *tcg_pc(t) = tcg_insn_pc(t->cpu);
        t->undo++;
        t->wants_alone = true;
        t->why = LEFT_ALONE;
        tcg_leave(t->cpu);
    }
    translate(t, va, ACCESS_WRITE, mode);
    translate(t, va + (1u << (shape & IR_SIZE_MASK)) - 1, ACCESS_WRITE, mode);
}

/* The place of an atomic access: writable, one page. NULL host: a device, which gets a load and a
 * store. */
static struct tlb_place atomic_place(struct tcg_cpu *t, uint64_t va, unsigned shape, unsigned mode)
{
    check_aligned(t, va, shape | IR_ALIGNED, ACCESS_WRITE);
    struct tlb_place p = translate(t, va, ACCESS_WRITE, mode);
    check_rest(t, &p, va, 1u << (shape & IR_SIZE_MASK), ACCESS_WRITE, mode);
    return p;
}

uint64_t softmmu_rmw(struct tcg_cpu *t, enum ir_rmw kind, uint64_t va, uint64_t v, unsigned shape,
                     unsigned mode)
{
    unsigned log2 = shape & IR_SIZE_MASK, size = 1u << log2;
    uint64_t old;
    if (is_split(t, va, shape)) {
        stand_alone(t, va, shape, mode);
        old = softmmu_load(t, va, log2, mode);
        softmmu_store(t, va, ir_eval_rmw(kind, log2, old, v), log2, mode);
        return extend(old, shape);
    }
    struct tlb_place p = atomic_place(t, va, shape, mode);
    watch(t, va, size, ACCESS_READ);
    watch(t, va, size, ACCESS_WRITE);
    check_own_code(t, &p, size);
    if (p.host && !p.rom) {
        old = softmmu_host_load(p.host, size);
        while (!host_cas(p.host, size, &old, ir_eval_rmw(kind, log2, old, v))) {
        }
        bytes_written(t, &p, size);
    } else {
        old = place_load(t, &p, va, size, ACCESS_WRITE);
        place_store(t, &p, va, size, bits(ir_eval_rmw(kind, log2, old, v), 0, 8 * size));
    }
    return extend(old, shape);
}

uint64_t softmmu_cas(struct tcg_cpu *t, uint64_t va, uint64_t expected, uint64_t desired,
                     unsigned shape, unsigned mode)
{
    unsigned log2 = shape & IR_SIZE_MASK, size = 1u << log2;
    uint64_t old = bits(expected, 0, 8 * size);
    if (is_split(t, va, shape)) {
        uint64_t wanted = old;
        stand_alone(t, va, shape, mode);
        old = softmmu_load(t, va, log2, mode);
        if (old == wanted)
            softmmu_store(t, va, desired, log2, mode);
        return extend(old, shape);
    }
    struct tlb_place p = atomic_place(t, va, shape, mode);
    watch(t, va, size, ACCESS_READ);
    watch(t, va, size, ACCESS_WRITE);
    check_own_code(t, &p, size);
    if (p.host && !p.rom) {
        if (host_cas(p.host, size, &old, desired))
            bytes_written(t, &p, size);
    } else {
        uint64_t wanted = old;
        old = place_load(t, &p, va, size, ACCESS_WRITE);
        if (old == wanted)
            place_store(t, &p, va, size, bits(desired, 0, 8 * size));
    }
    return extend(old, shape);
}

/* Host memory of n elements at va, which generated code may access; NULL: none. */
static uint8_t *elements(struct tcg_cpu *t, uint64_t va, uint64_t n, unsigned log2, bool write,
                         unsigned mode)
{
    if (!n || n > 4096u >> log2)
        return NULL;
    uint64_t addend = tlb_addend(t, va, va + (n << log2) - 1, write, mode);
    return addend ? (uint8_t *)(uintptr_t)(va + addend) : NULL;
}

uint64_t softmmu_copy(struct tcg_cpu *t, uint64_t to, uint64_t from, uint64_t n, unsigned shape,
                      unsigned mode)
{
    unsigned log2 = shape & IR_SIZE_MASK;
    uint8_t *a = elements(t, to, n, log2, true, mode);
    const uint8_t *b = elements(t, from, n, log2, false, mode);
    if (!a || !b)
        return n;
    for (; n; n--, a += (size_t)1 << log2, b += (size_t)1 << log2)
        softmmu_host_store(a, 1u << log2, softmmu_host_load(b, 1u << log2));
    return 0;
}

uint64_t softmmu_fill(struct tcg_cpu *t, uint64_t to, uint64_t v, uint64_t n, unsigned shape,
                      unsigned mode)
{
    unsigned log2 = shape & IR_SIZE_MASK;
    uint8_t *a = elements(t, to, n, log2, true, mode);
    if (!a)
        return n;
    for (; n; n--, a += (size_t)1 << log2)
        softmmu_host_store(a, 1u << log2, v);
    return 0;
}

/* Where the bytes are, if generated code could go there now; else NULL. */
static uint8_t *near_place(struct tcg_cpu *t, uint64_t va, unsigned size, bool write, unsigned mode)
{
    uint64_t addend = t->debug ? 0 : tlb_addend(t, va, va + size - 1, write, mode);
    return addend ? (uint8_t *)(uintptr_t)(va + addend) : NULL;
}

uint64_t tcg_load(struct vcpu *cpu, uint64_t va, unsigned size, unsigned mode)
{
    const uint8_t *p = near_place(tcg_cpu_of(cpu), va, size, false, mode);
    if (p)
        return softmmu_host_load(p, size);
    return softmmu_load(tcg_cpu_of(cpu), va, (unsigned)__builtin_ctz(size), mode);
}

void tcg_store(struct vcpu *cpu, uint64_t va, unsigned size, uint64_t v, unsigned mode)
{
    uint8_t *p = near_place(tcg_cpu_of(cpu), va, size, true, mode);
    if (p) {
        softmmu_host_store(p, size, v);
        return;
    }
    store_value(tcg_cpu_of(cpu), va, v, (unsigned)__builtin_ctz(size), mode, false);
}

/* Can all of the access be done? Where it goes: one place, or two when it crosses a page. */
static bool try_places(struct tcg_cpu *t, uint64_t va, unsigned size, enum access access,
                       unsigned mode, struct tlb_place place[2], struct tcg_failure *why)
{
    unsigned n = crosses_page(va, size) ? 2 : 1;
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = i ? align_up(va, 4096) : va;
        why->va = at;
        why->fault = 0;
        if (!tlb_translate(t, at, access, mode, &place[i], &why->fault))
            return false;
    }
    why->va = va;
    why->fault = -1;
    if (t->debug)
        debug_note(t, va, size, access);
    return true;
}

/* The i'th byte of an access that begins at `va`. */
static struct tlb_place byte_place(const struct tlb_place place[2], uint64_t va, unsigned i)
{
    uint64_t next = align_up(va + 1, 4096);
    struct tlb_place p = place[va + i >= next];
    unsigned off = va + i >= next ? (unsigned)(va + i - next) : i;
    p.gpa += off;
    if (p.host)
        p.host += off;
    return p;
}

bool tcg_try_load(struct vcpu *cpu, uint64_t va, unsigned size, unsigned mode, uint64_t *v,
                  struct tcg_failure *why)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    struct tlb_place place[2];
    const uint8_t *at = near_place(t, va, size, false, mode);
    if (at) {
        *v = softmmu_host_load(at, size);
        return true;
    }
    if (!try_places(t, va, size, ACCESS_READ, mode, place, why))
        return false;
    if (!crosses_page(va, size))
        return place_read(t, &place[0], size, v);
    *v = 0;
    for (unsigned i = 0; i < size; i++) {
        struct tlb_place p = byte_place(place, va, i);
        uint64_t byte;
        if (!place_read(t, &p, 1, &byte))
            return false;
        *v |= byte << (8 * i);
    }
    return true;
}

bool tcg_try_store(struct vcpu *cpu, uint64_t va, unsigned size, uint64_t v, unsigned mode,
                   struct tcg_failure *why)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    struct tlb_place place[2];
    uint8_t *at = near_place(t, va, size, true, mode);
    if (at) {
        softmmu_host_store(at, size, v);
        return true;
    }
    if (!try_places(t, va, size, ACCESS_WRITE, mode, place, why))
        return false;
    if (!crosses_page(va, size))
        return place_write(t, &place[0], size, v);
    for (unsigned i = 0; i < size; i++) {
        struct tlb_place p = byte_place(place, va, i);
        if (!place_write(t, &p, 1, v >> (8 * i) & 0xff))
            return false;
    }
    return true;
}

bool tcg_cas16(struct vcpu *cpu, uint64_t va, uint64_t seen[2], const uint64_t desired[2],
               unsigned mode)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    const uint64_t wanted[2] = { seen[0], seen[1] };
    check_aligned(t, va, IR_128 | IR_ALIGNED, ACCESS_WRITE);
    struct tlb_place p = translate(t, va, ACCESS_WRITE, mode);
    check_rest(t, &p, va, 16, ACCESS_WRITE, mode);
    watch(t, va, 16, ACCESS_READ);
    watch(t, va, 16, ACCESS_WRITE);
    if (p.host && !p.rom && t->tcg->has_cas16) {
        bool ok = host_cas16(p.host, seen, desired);
        if (ok)
            bytes_written(t, &p, 16);
        return ok;
    }
    if (p.host && !t->alone)
        stand_alone(t, va, IR_64, mode);
    struct tlb_place high = p;
    high.gpa += 8;
    high.host = p.host ? p.host + 8 : NULL;
    seen[0] = place_load(t, &p, va, 8, ACCESS_WRITE);
    seen[1] = place_load(t, &high, va + 8, 8, ACCESS_WRITE);
    if (seen[0] != wanted[0] || seen[1] != wanted[1])
        return false;
    place_store(t, &p, va, 8, desired[0]);
    place_store(t, &high, va + 8, 8, desired[1]);
    return true;
}

void tcg_zero(struct vcpu *cpu, uint64_t va, unsigned n, unsigned mode)
{
    struct tcg_cpu *t = tcg_cpu_of(cpu);
    struct tlb_place p = translate(t, va, ACCESS_WRITE, mode);
    check_rest(t, &p, va, n, ACCESS_WRITE, mode);
    watch(t, va, n, ACCESS_WRITE);
    if (p.host && !p.rom) {
        memset(p.host, 0, n);
        bytes_written(t, &p, n);
        return;
    }
    for (unsigned i = 0; i < n; i += 8, p.gpa += 8)
        place_store(t, &p, va + i, 8, 0);
}

bool tcg_ram_at(struct vcpu *cpu, uint64_t va, enum access access, unsigned mode,
                struct tcg_ram *out)
{
    uint64_t addend = tlb_addend(tcg_cpu_of(cpu), va, va, access == ACCESS_WRITE, mode);
    if (addend) {
        *out = (struct tcg_ram){ .host = (uint8_t *)(uintptr_t)(va + addend) };
        return true;
    }
    struct tlb_place p = translate(tcg_cpu_of(cpu), va, access, mode);
    *out = (struct tcg_ram){ .host = p.host, .ram = p.ram };
    if (tcg_cpu_of(cpu)->debug && debug_watched(tcg_cpu_of(cpu), va))
        return false;
    return p.host && !p.partial && (access != ACCESS_WRITE || !p.rom);
}

bool tcg_ram_written(struct vcpu *cpu, const struct tcg_ram *r, unsigned n)
{
    if (!r->ram)
        return false;
    const struct tlb_place p = { .host = r->host, .ram = r->ram };
    bool code =
        atomic_load(&r->ram->page_flags[(uint64_t)(r->host - r->ram->host) >> 12]) & PAGE_HAS_CODE;
    bytes_written(tcg_cpu_of(cpu), &p, n);
    if (code && tcg_cpu_of(cpu)->target->sees_own_writes)
        atomic_store(&tcg_cpu_of(cpu)->exit_flag,
                     1); /* at the next look, which the caller makes soon */
    return code;
}

/* ---- floating point -------------------------------------------------------------------------------- */

static enum sf_format format_of(enum ir_type type)
{
    return type == IR_F32 ? SF_F32 : SF_F64;
}

static uint64_t compare(struct sf_ctx *ctx, enum sf_format f, enum ir_cc cc, uint64_t a, uint64_t b)
{
    enum sf_order order = sf_compare(ctx, f, a, b, cc != IR_FEQ);
    if (cc == IR_FEQ)
        return order == SF_EQUAL;
    return order == SF_LESS || (cc == IR_FLE && order == SF_EQUAL);
}

uint64_t softfp_op(struct tcg_cpu *t, const struct ir_op *op, uint64_t a, uint64_t b, uint64_t c)
{
    if (ir_evaluates(op->code))
        return ir_eval(op->code, op->type, a, b);
    struct sf_ctx ctx = { .rounding = t->fp_rounding,
                          .nan_rule = t->target->canonical_nan ? SF_NAN_CANONICAL : SF_NAN_SSE };
    enum sf_format f = format_of(op->type);
    uint64_t r = 0;
    switch (op->code) {
    case IR_fadd: r = sf_add(&ctx, f, a, b); break;
    case IR_fsub: r = sf_sub(&ctx, f, a, b); break;
    case IR_fmul: r = sf_mul(&ctx, f, a, b); break;
    case IR_fdiv: r = sf_div(&ctx, f, a, b); break;
    case IR_fsqrt: r = sf_sqrt(&ctx, f, a); break;
    case IR_fma:
        r = sf_fma(&ctx, f, a, b, c,
                   (op->x & IR_FMA_NEG_PRODUCT ? SF_NEGATE_PRODUCT : 0) |
                       (op->x & IR_FMA_NEG_ADDEND ? SF_NEGATE_ADDEND : 0));
        break;
    case IR_fcmp: r = compare(&ctx, f, op->cc, a, b); break;
    case IR_ftoi:
        if (op->x & IR_FTOI_TRUNC)
            ctx.rounding = SF_RTZ;
        r = sf_to_int(&ctx, f, a,
                      op->x & IR_FTOI_32 ? (op->x & IR_FTOI_UNSIGNED ? SF_U32 : SF_I32)
                                         : (op->x & IR_FTOI_UNSIGNED ? SF_U64 : SF_I64));
        break;
    case IR_itof:
        if (op->x & IR_ITOF_32)
            a = op->x & IR_ITOF_UNSIGNED ? (uint32_t)a : (uint64_t)(int32_t)a;
        r = sf_from_int(&ctx, f, a, op->x & IR_ITOF_UNSIGNED ? SF_U64 : SF_I64);
        break;
    case IR_fwiden: r = sf_convert(&ctx, SF_F32, SF_F64, a); break;
    case IR_fnarrow: r = sf_convert(&ctx, SF_F64, SF_F32, a); break;
    default: break;
    }
    t->fp_flags |= ctx.flags;
    return r;
}

void softfp_vec(struct tcg_cpu *t, enum ir_vec vec, unsigned n, union v128 *r, const union v128 *a,
                const union v128 *b, const union v128 *c)
{
    struct sf_ctx env = { .rounding = t->fp_rounding,
                          .nan_rule = t->target->canonical_nan ? SF_NAN_CANONICAL : SF_NAN_SSE,
                          .flush_inputs = t->fp_flush & TCG_FP_FLUSH_INPUTS,
                          .flush_results = t->fp_flush & TCG_FP_FLUSH_RESULTS,
                          .trap_underflow = t->fp_flush & TCG_FP_TRAP_UNDERFLOW,
                          .trap_overflow = t->fp_flush & TCG_FP_TRAP_OVERFLOW };
    vec_fns[vec](&env, r, a, b, c, n);
    t->fp_flags |= env.flags & (t->target->subnormal_flag ? 63 : 31);
}
