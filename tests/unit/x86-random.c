/* The translator's x86-64 instructions against the real CPU: for each line of the decoder's tables random encodings
 * with random and corner operands, on each back end, compared in every user register, flag and byte of memory,
 * and in the fault. Then sequences of them, and loops through memory on the second tier. What the environment may say:
 *   TANDEM_TEST_CASES  encodings of each line
 *   TANDEM_TEST_LINES  only lines whose name begins so
 *   TANDEM_TEST_TABLES of int bit jump string sse avx x87: only these
 *   TANDEM_TEST_SEED */
#include "tests/unit/corners.h"
#include "tests/unit/x86_native.h"
#include "tests/unit/x86_walks.h"

#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "target/x86_64/insns.h"
#include "tcg/tcg.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* ---- the machine: code and data of the oracle's layout at CPL 3, and a handler for each vector ------ */

#define BASE     X86_NATIVE_CODE        /* of code and data; linear is physical */
#define TABLES   ((uint64_t)0x6b600000) /* page tables; far from what code reaches by offsets */
#define SYSTEM   (TABLES + 0x10000)     /* GDT, TSS, IDT */
#define HANDLERS (TABLES + 0x12000)     /* 16 bytes each: hlt */
#define STACK    (TABLES + 0x15000)     /* top of ring 0's */
enum {
    RAM_SIZE = 1 << 20,
    CODE64 = 0x33,
    CODE32 = 0x23,
    DATA = 0x2b,
    KERNEL_CODE = 8,
    TASK = 0x40,
    GDT = 0,
    TSS = 0x100,
    IDT = 0x200,
    N_VECTORS = 32,
    INT3 = 0xcc,
    SET_SIZE = 2
};

enum { N_STEPS = 8, MAX_CODE = N_STEPS * X86_MAX_INSN };
struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct x86_cpu *x;
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static void put64(struct machine *m, uint64_t at, uint64_t v)
{
    assert_true(mem_write(m->vm, at, &v, sizeof(v)));
}

/* A page table for the 2 MiB at `at`, reached through a directory of its own. */
static void put_page_table(struct machine *m, uint64_t at, uint64_t directory)
{
    put64(m, TABLES + 0x1000 + 8 * (at >> 30), directory | 7);
    put64(m, directory + 8 * (at >> 21 & 511), (directory + 0x1000) | 7);
    for (uint64_t page = at; page < at + RAM_SIZE; page += 4096) {
        bool code = page - X86_NATIVE_CODE < X86_NATIVE_CODE_SIZE;
        bool data = page - X86_NATIVE_DATA < X86_NATIVE_DATA_SIZE;
        uint64_t rights = code ? 7 : data ? (uint64_t)1 << 63 | 7 : page - TABLES < 0x16000 ? 3 : 0;
        put64(m, directory + 0x1000 + 8 * (page >> 12 & 511), rights ? page | rights : 0);
    }
}

/* Code and data are the user's, data is not executable, the system's pages are the supervisor's. */
static void put_page_tables(struct machine *m)
{
    put64(m, TABLES, (TABLES + 0x1000) | 7);
    put_page_table(m, BASE, TABLES + 0x2000);
    put_page_table(m, TABLES, TABLES + 0x4000);
}

static void put_descriptors(struct machine *m)
{
    static const uint64_t gdt[] = {
        [KERNEL_CODE / 8] = 0x00af9b000000ffff,
        [CODE32 / 8] = 0x00cffb000000ffff,
        [DATA / 8] = 0x00cff3000000ffff,
        [CODE64 / 8] = 0x00affb000000ffff,
    };
    uint64_t tss = SYSTEM + TSS;
    for (size_t i = 0; i < ARRAY_LEN(gdt); i++)
        put64(m, SYSTEM + GDT + 8 * i, gdt[i]);
    put64(m, SYSTEM + TASK,
          0x67 | (tss & 0xffffff) << 16 | (uint64_t)0x8b << 40 | (tss >> 24 & 0xff) << 56);
    put64(m, SYSTEM + TASK + 8, tss >> 32);
    put64(m, tss + 4, STACK);
    for (uint64_t v = 0; v < N_VECTORS; v++) {
        uint64_t to = HANDLERS + 16 * v, rights = v == 3 || v == 4 ? 0xee : 0x8e;
        put64(m, SYSTEM + IDT + 16 * v,
              (to & 0xffff) | KERNEL_CODE << 16 | rights << 40 | (to >> 16 & 0xffff) << 48);
        put64(m, SYSTEM + IDT + 16 * v + 8, to >> 32);
        put64(m, to, 0xf4);
    }
}

static void machine_start(struct machine *m, const struct backend *backend, const char *more)
{
    char options[64];
    struct mem_region *ram, *system;
    uint8_t trap[X86_NATIVE_CODE_SIZE];
    memset(m, 0, sizeof(*m));
    snprintf(options, sizeof(options), "backend=%s%s", backend->name, more);
    must(vm_new(&m->vm));
    m->vm->accel = &tcg_accel;
    m->vm->target = &x86_64_target;
    m->vm->log.fd = 2;
    must(x86_64_target.cpu_model(m->vm, "max"));
    must(tcg_accel.vm_create(m->vm, options));
    must(mem_add_ram(m->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, BASE, 0);
    must(mem_add_ram(m->vm, "system", RAM_SIZE, false, &system));
    mem_map(system, TABLES, 0);
    must(vcpu_new(m->vm, 0, &m->cpu));
    m->cpu->requests = 0;
    m->x = x86_of(m->cpu);
    memset(trap, INT3, sizeof(trap));
    assert_true(mem_write(m->vm, BASE, trap, sizeof(trap)));
    put_page_tables(m);
    put_descriptors(m);
    x86_64_target.vcpu_reset(m->cpu);
    x86_place_flat(m->cpu, BASE, TABLES);
    m->x->cr4 |= X86_CR4_OSFXSR | (uint64_t)1 << 10 /* OSXMMEXCPT */ | X86_CR4_OSXSAVE;
    m->x->cr0 |= X86_CR0_NE | X86_CR0_WP | (uint64_t)1 << 18 /* AM */ | 2 /* MP */;
    m->x->efer |= X86_EFER_NXE;
    m->x->xcr0 = 7;
    m->x->gdt = (struct x86_table){ SYSTEM + GDT, 0x4f };
    m->x->idt = (struct x86_table){ SYSTEM + IDT, 16 * N_VECTORS - 1 };
    m->x->tr = (struct x86_segment){ SYSTEM + TSS, 0x67, X86_AR_P | 11, TASK };
    m->x->run_state = X86_RUNNABLE;
}

static void machine_stop(struct machine *m)
{
    vm_free(m->vm);
}

static void enter_user(struct x86_cpu *x, unsigned bits)
{
    uint32_t data = X86_AR_G | X86_AR_DB | X86_AR_P | X86_AR_S | 3 | 3 << X86_AR_DPL_SHIFT;
    uint32_t code = X86_AR_G | (bits == 64 ? X86_AR_L : X86_AR_DB) | X86_AR_P | X86_AR_S | 11 |
                    3 << X86_AR_DPL_SHIFT;
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        x->seg[i] = (struct x86_segment){ 0, UINT32_MAX, data, DATA };
    x->seg[X86_CS] = (struct x86_segment){ 0, UINT32_MAX, code, bits == 64 ? CODE64 : CODE32 };
    x->seg[X86_FS] = x->seg[X86_GS] = (struct x86_segment){ 0, 0, X86_AR_UNUSABLE, 0 };
    x->seg[X86_GS].base = X86_NATIVE_DATA;
}

static void load_world(struct machine *m, const struct x86_world *w)
{
    struct x86_cpu *x = m->x;
    memcpy(x->gpr, w->gpr, sizeof(x->gpr));
    x->rip = w->rip;
    x->rflags = (w->rflags & 0x40dd5) | 0x202;
    x->fcw = w->fp.fcw;
    x->fsw = w->fp.fsw;
    x->ftw = w->fp.ftw;
    x->fop = 0;
    x->fip = x->fdp = 0;
    memcpy(x->st, w->fp.st, sizeof(x->st));
    x->mxcsr = w->fp.mxcsr;
    memset(x->zmm, 0, sizeof(x->zmm));
    for (unsigned i = 0; i < 16; i++) {
        memcpy(x->zmm[i], w->fp.xmm[i], 16);
        memcpy(x->zmm[i] + 16, w->fp.ymm_high[i], 16);
    }
    x->cr2 = 0;
    x->run_state = X86_RUNNABLE;
    x->dr6 = 0xffff0ff0;
    assert_true(mem_write(m->vm, X86_NATIVE_DATA, w->data, sizeof(w->data)));
}

static uint64_t stacked(struct machine *m, unsigned i)
{
    uint64_t v;
    assert_true(mem_read(m->vm, STACK - 8 * (i + 1), &v, sizeof(v)));
    return v;
}

/* The frame that delivery left (SDM 3-6.14.2). */
static struct x86_end read_end(struct machine *m, struct x86_world *w)
{
    struct x86_cpu *x = m->x;
    struct x86_end e = { .vector = (int)((x->rip - HANDLERS - 1) / 16) };
    if (x->rip - HANDLERS >= 16 * N_VECTORS)
        e.vector = X86_NATIVE_LOST;
    memcpy(w->gpr, x->gpr, sizeof(w->gpr));
    w->gpr[X86_RSP] = stacked(m, 1);
    w->rflags = stacked(m, 2);
    w->rip = stacked(m, 4) - (e.vector == X86_NATIVE_ENDED);
    if (STACK - x->gpr[X86_RSP] == 48)
        e.error = (uint32_t)stacked(m, 5);
    e.address = e.vector == X86_PF ? x->cr2 : 0;
    memcpy(w->fp.st, x->st, sizeof(x->st));
    w->fp.fcw = x->fcw;
    w->fp.fsw = x->fsw;
    w->fp.ftw = x->ftw;
    w->fp.mxcsr = x->mxcsr;
    for (unsigned i = 0; i < 16; i++) {
        memcpy(w->fp.xmm[i], x->zmm[i], 16);
        memcpy(w->fp.ymm_high[i], x->zmm[i] + 16, 16);
    }
    assert_true(mem_read(m->vm, X86_NATIVE_DATA, w->data, sizeof(w->data)));
    return e;
}

/* INT3 all around, also where the code before wrote into it. */
static void put_code(struct machine *m, uint64_t at, const uint8_t *code, size_t n)
{
    uint8_t is[X86_NATIVE_CODE_SIZE], want[X86_NATIVE_CODE_SIZE];
    memset(want, INT3, sizeof(want));
    memcpy(want + (at - BASE), code, MIN(n, BASE + X86_NATIVE_CODE_SIZE - at));
    assert_true(mem_read(m->vm, BASE, is, sizeof(is)));
    for (size_t from = 0; from < sizeof(is); from += 64)
        if (memcmp(is + from, want + from, 64) != 0)
            assert_true(mem_write(m->vm, BASE + from, want + from, 64));
}

static struct x86_end machine_run(struct machine *m, unsigned bits, struct x86_world *w)
{
    enter_user(m->x, bits);
    load_world(m, w);
    x86_64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
    enum vcpu_exit e = EXIT_KICKED;
    for (unsigned k = 0; k < 100 && e == EXIT_KICKED; k++)
        e = tcg_accel.run(m->cpu);
    if (e != EXIT_HALTED)
        return (struct x86_end){ .vector = X86_NATIVE_LOST };
    tcg_accel.get_state(m->cpu);
    return read_end(m, w);
}

/* ---- random worlds ------------------------------------------------------------------------------ */

static uint64_t random_state;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du;
}

static uint64_t random_for(void *unused)
{
    return random_u64();
}

static uint64_t random_integer(void)
{
    uint64_t v = random_u64(), r = random_u64();
    switch (r & 7) {
    case 0: return corner_ints.at[(r >> 8) % corner_ints.n];
    case 1: return corner_ints.at[(r >> 8) % corner_ints.n] + (r >> 16 & 3) - 1;
    case 2: return v >> (r >> 8 & 63);
    case 3: return v & 0xff;
    default: return v;
    }
}

static uint64_t random_float(void)
{
    uint64_t v = random_u64(), r = random_u64();
    switch (r & 7) {
    case 0: return corner_f64s.at[(r >> 8) % corner_f64s.n] | (r >> 7 & 1) << 63;
    case 1:
        return corner_f32s.at[(r >> 8) % corner_f32s.n] |
               corner_f32s.at[(r >> 16) % corner_f32s.n] << 32 | (r >> 7 & 1) << 63 |
               (r >> 6 & 1) << 31;
    case 2: return (v & 0x800fffffffffffff) | (0x3f0 + (r >> 8 & 31)) << 52;
    case 3:
        return (v & 0x807fffff807fffff) | (120 + (r >> 8 & 15)) << 23 |
               (120 + (r >> 16 & 15)) << 55;
    default: return random_integer();
    }
}

static void random_st(uint8_t at[10])
{
    uint64_t r = random_u64(), sig = random_u64() | (uint64_t)1 << 63;
    unsigned se = r & 0xffff;
    switch (r >> 16 & 7) {
    case 0: se = (se & 0x8000) | (r >> 20 & 1 ? 0x7fff : 0); break;
    case 1: sig &= UINT64_MAX << (r >> 20 & 63); break;
    case 2: sig = r >> 20 & 1 ? 0 : random_u64(); break;
    default: se = (se & 0x8000) | (16383 - 40 + (r >> 20) % 80); break;
    }
    if ((r >> 40 & 15) == 0)
        sig = (uint64_t)1 << 63;
    if ((r >> 40 & 15) == 1) {
        sig = 0;
        se &= 0x8000;
    }
    store_le(at, 8, sig);
    store_le(at + 8, 2, se);
}

static void random_world(struct x86_world *w, bool with_fpu)
{
    x86_world_init(w);
    for (unsigned i = 0; i < 16; i++)
        w->gpr[i] = random_integer();
    w->rflags = 0x202 | (random_u64() & 0x8d5) | (random_u64() % 8 ? 0 : X86_FLAG_DF);
    for (unsigned i = 0; i < sizeof(w->data); i += 8)
        store_le(w->data + i, 8, i & 64 ? random_float() : random_integer());
    for (unsigned i = 0; i < 16; i++)
        for (unsigned k = 0; k < 16; k += 8) {
            store_le(w->fp.xmm[i] + k, 8, random_float());
            store_le(w->fp.ymm_high[i] + k, 8, random_float());
        }
    uint64_t r = random_u64();
    if (r & 1) /* rounding, flags, flush modes, what is masked */
        w->fp.mxcsr = 0x1f80 | (r >> 8 & 0x6000) | (r >> 24 & 0x3f);
    if ((r & 6) == 0)
        w->fp.mxcsr |= r >> 32 & 0x8040;
    if ((r & 24) == 0)
        w->fp.mxcsr &= ~(uint32_t)(r >> 40 & 0x1f80);
    if (!with_fpu)
        return;
    for (unsigned i = 0; i < 8; i++)
        random_st(w->fp.st[i]);
    r = random_u64();
    w->fp.fsw = (uint16_t)(r & 0x7f00);
    w->fp.ftw = r >> 16 & 3 ? 0xff : (uint8_t)(r >> 24);
    if ((r >> 16 & 12) == 0)
        w->fp.ftw = (uint8_t)(r >> 24);
    w->fp.fcw = (uint16_t)(0x7f | (r >> 32 & 0xc00) | (r >> 52 & 1 ? 0x300 : r >> 50 & 0x300));
    if ((r >> 56 & 7) == 0)
        w->fp.fcw &= (uint16_t) ~(r >> 44 & 0x3f);
    if ((r >> 56 & 7) == 1)
        w->fp.fsw |= r >> 44 & 0x3f;
}

/* Somewhere in the window, mostly aligned, at times across its pages or its end. */
static uint64_t random_place(void)
{
    uint64_t r = random_u64(), at = X86_NATIVE_DATA + 0x100 + (r >> 8) % 0x1d00;
    switch (r & 15) {
    case 0: return X86_NATIVE_DATA + 0x1000 - (r >> 8 & 31);
    case 1: return X86_NATIVE_DATA + X86_NATIVE_DATA_SIZE - (r >> 8 & 63);
    case 2: return X86_NATIVE_DATA - (r >> 8 & 15);
    case 3:
    case 4: return at;
    default: return at & ~(uint64_t)63;
    }
}

static void *find_bytes(uint8_t *code, size_t n, const void *what, size_t size)
{
    return memmem(code, n, what, size);
}

/* Make the memory operand fall into the window: by its base, its index, or its displacement in the code. */
static void aim(const struct x86_insn *i, uint8_t *code, struct x86_world *w)
{
    uint64_t at = random_place(), scaled = 0, mask = i->asize == 4 ? UINT32_MAX : UINT64_MAX;
    bool by_gs = i->seg == X86_GS;
    if (by_gs)
        at -= X86_NATIVE_DATA;
    bool vsib = false;
    for (unsigned k = 0; k < X86_N_OPERANDS; k++)
        vsib |= i->op[k].kind == X86_OP_VSIB;
    if (vsib)
        for (unsigned k = 0; k < 16; k += 4) {
            store_le(w->fp.xmm[i->index] + k, 4, random_u64() & 0xff);
            store_le(w->fp.ymm_high[i->index] + k, 4, random_u64() & 0xff);
        }
    else if (i->index != X86_REG_NONE)
        scaled = w->gpr[i->index] << i->scale;
    if (i->base < 16 && i->base != i->index) {
        w->gpr[i->base] = (at - scaled - (uint64_t)i->disp) & mask;
    } else if (i->base < 16) {
        w->gpr[i->base] = ((at - (uint64_t)i->disp) & mask) / ((1u << i->scale) + 1);
    } else if (!vsib && i->index != X86_REG_NONE) {
        w->gpr[i->index] = ((at - (uint64_t)i->disp) & mask) >> i->scale;
    } else {
        uint64_t from = i->base == X86_REG_RIP ? w->rip + i->len : 0;
        int32_t was = (int32_t)i->disp, now = (int32_t)(at - from);
        uint8_t *place = find_bytes(code, i->len, &was, 4);
        if (place)
            memcpy(place, &now, 4);
    }
}

/* Where instructions look without an operand that says it. */
static void aim_implicit(struct x86_world *w)
{
    w->gpr[X86_RSP] = random_place() & ~(uint64_t)(random_u64() % 4 ? 7 : 0);
    if (random_u64() & 1)
        w->gpr[X86_RBP] = random_place() & ~(uint64_t)7;
    if (random_u64() & 1)
        w->gpr[X86_RBX] = random_place();
    w->gpr[X86_RSI] = random_u64() & 3 ? random_place() : w->gpr[X86_RSI];
    w->gpr[X86_RDI] = random_u64() & 3 ? random_place() : w->gpr[X86_RDI];
}

/* ---- images of the FPU in memory ------------------------------------------------------------------ */

static bool begins_with(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static uint64_t effective(const struct x86_insn *i, const struct x86_world *w)
{
    uint64_t at = (uint64_t)i->disp;
    if (i->base == X86_REG_RIP)
        at += w->rip + i->len;
    else if (i->base != X86_REG_NONE)
        at += w->gpr[i->base];
    if (i->index != X86_REG_NONE)
        at += w->gpr[i->index] << i->scale;
    at = i->asize == 8 ? at : i->asize == 4 ? (uint32_t)at : (uint16_t)at;
    return i->seg == X86_GS ? at + X86_NATIVE_DATA : at;
}

/* Instructions whose memory operand is one. */
static bool is_image(const struct x86_line *l)
{
    static const char *const names[] = { "fxsave", "fxrstor", "xsave",  "xsavec", "xsaveopt",
                                         "xrstor", "fnstenv", "fnsave", "fldenv", "frstor" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(l->name, names[i]) == 0)
            return true;
    return false;
}

/* [offset, offset + n) of the image at `at`; NULL if it is not all in the window. */
static uint8_t *image_part(struct x86_world *w, uint64_t at, unsigned offset, unsigned n)
{
    uint64_t from = at + offset - X86_NATIVE_DATA;
    return from < X86_NATIVE_DATA_SIZE && from + n <= X86_NATIVE_DATA_SIZE ? w->data + from : NULL;
}

static void put_part(struct x86_world *w, uint64_t at, unsigned offset, unsigned n, uint64_t v)
{
    uint8_t *p = image_part(w, at, offset, n);
    if (p)
        store_le(p, n, v);
}

/* Components that both machines have; what is restored is valid more often than chance has it. */
static void prepare_image(const struct x86_insn *i, struct x86_world *w)
{
    const char *name = i->line->name;
    if (!is_image(i->line))
        return;
    uint64_t at = effective(i, w), r = random_u64();
    if (begins_with(name, "xsave") || begins_with(name, "xrstor")) {
        w->gpr[X86_RAX] &= 7;
        w->gpr[X86_RDX] = 0;
    }
    if ((strcmp(name, "fxrstor") == 0 || strcmp(name, "xrstor") == 0) && r & 15)
        put_part(w, at, 24, 4, r >> 8 & 0xffff);
    if (begins_with(name, "xsave") && r & 15)
        put_part(w, at, 512, 8, r >> 8 & 0xff);
    if (strcmp(name, "xrstor") == 0 && r & 0xf0) {
        uint64_t in_use = r >> 8 & 7,
                 layout = r >> 16 & 3 ? 0 : (in_use | (r >> 20 & 7)) | (uint64_t)1 << 63;
        put_part(w, at, 512, 8, in_use | (r >> 24 & 31 ? 0 : 8));
        put_part(w, at, 520, 8, layout);
        for (unsigned k = 16; k < 64; k += 8)
            put_part(w, at, 512 + k, 8, (r >> 32 & 31) == k ? 1 : 0);
    }
}

/* Pointers to the last instruction and operand differ between processors, so does MXCSR_MASK. */
static void blank_pointers(const struct x86_insn *i, uint64_t at, struct x86_world *w)
{
    const char *name = i->line->name;
    bool env = strcmp(name, "fnstenv") == 0 || strcmp(name, "fnsave") == 0;
    bool image = strcmp(name, "fxsave") == 0 || begins_with(name, "xsave");
    unsigned from = image ? 6 : i->osize >= 4 ? 12 : 6, to = image ? 24 : i->osize >= 4 ? 28 : 14;
    for (; (env || image) && from < to; from++)
        put_part(w, at, from, 1, 0);
    if (image && image_part(w, at, 24, 4) && load_le(image_part(w, at, 24, 4), 4) == w->fp.mxcsr)
        put_part(w, at, 28, 4, 0);
}

/* ---- comparing ---------------------------------------------------------------------------------- */

struct differ {
    char text[512];
    size_t n;
    bool any;
};

static __attribute__((format(printf, 2, 3))) void differs(struct differ *d, const char *fmt, ...)
{
    va_list args;
    d->any = true;
    va_start(args, fmt);
    int n = vsnprintf(d->text + d->n, sizeof(d->text) - d->n, fmt, args);
    va_end(args);
    if (n > 0)
        d->n = MIN(d->n + (size_t)n, sizeof(d->text) - 1);
}

static void compare_bytes(struct differ *d, const char *what, unsigned index, const uint8_t *want,
                          const uint8_t *got, size_t n)
{
    size_t i = 0;
    if (memcmp(want, got, n) == 0)
        return;
    while (want[i] == got[i])
        i++;
    i &= ~(size_t)7;
    uint64_t a = load_le(want + i, MIN(8, n - i) & 8 ? 8 : 2),
             b = load_le(got + i, MIN(8, n - i) & 8 ? 8 : 2);
    differs(d, " %s%u+%zu is %#" PRIx64 ", not %#" PRIx64, what, index, i, b, a);
}

/* Which byte of an operand over several pages is named differs between processors, and for large operands
 * which page is looked at first. */
static void compare_ends(struct differ *d, struct x86_end want, struct x86_end got, bool large)
{
    if (large ? want.address - got.address + 1024 < 2048
              : want.address >> 12 == got.address >> 12 && want.address % 4096 == 0)
        want.address = got.address;
    if (want.vector != got.vector)
        differs(d, " ends by %d, not %d", got.vector, want.vector);
    else if (want.error != got.error && want.address >> 47 == 0 &&
             want.address - TABLES >= RAM_SIZE)
        differs(d, " error %#x, not %#x", got.error, want.error);
    else if (want.address != got.address && want.address >> 47 == 0)
        differs(d, " address %#" PRIx64 ", not %#" PRIx64, got.address, want.address);
}

/* A transcendental function's last place may differ: the next number, or the one before. */
static bool nearly(const uint8_t *a, const uint8_t *b)
{
    uint64_t x = load_le(a, 8), y = load_le(b, 8), x_exp = load_le(a + 8, 2),
             y_exp = load_le(b + 8, 2);
    if (x_exp == y_exp)
        return (x > y ? x - y : y - x) <= 1;
    return x_exp + 1 == y_exp ? x == UINT64_MAX && y << 1 == 0
                              : y_exp + 1 == x_exp && y == UINT64_MAX && x << 1 == 0;
}

static bool is_transcendental(const struct x86_line *l)
{
    static const char *const names[] = { "fsin",   "fcos",  "fsincos", "fptan",
                                         "fpatan", "f2xm1", "fyl2x",   "fyl2xp1" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(l->name, names[i]) == 0)
            return true;
    return false;
}

/* Differences that are known, and neither's fault. */
static bool may_end_so(const struct x86_line *l, const struct x86_world *want,
                       const struct x86_world *got, struct x86_end want_end, struct x86_end got_end)
{
    /* 32-bit code that runs over 4 GiB: #GP, #SS or #PF. */
    if ((want_end.vector == X86_GP || want_end.vector == X86_SS_FAULT) &&
        got_end.vector == X86_PF && want->gpr[8] == 0)
        return true;
    /* The oracle's process has something there: a sanitizer's shadow, libraries. */
    if (got_end.vector == X86_PF && want_end.vector != X86_PF &&
        got_end.address - 0x7fff7000 < (uint64_t)1 << 47)
        return true;
    if (got_end.vector == X86_PF && want_end.address != got_end.address &&
        got_end.address - 0x7fff7000 < (uint64_t)1 << 44)
        return true;
    /* From the last page of addresses into what is none. */
    if (want_end.vector == X86_GP && got_end.vector == X86_PF &&
        got_end.address >> 12 == 0x7ffffffff)
        return true;
    /* Misaligned, and no address at all, through the stack segment. */
    if (want_end.vector == X86_SS_FAULT && got_end.vector == X86_GP)
        return true;
    /* A jump to where no address is: the processor faults before it, the translator behind it. */
    if (want_end.vector == X86_GP && got_end.vector == X86_GP &&
        sext(got->rip, 48) != (int64_t)got->rip)
        return true;
    /* The processor may look at bytes of the image that this mask does not need (SDM 2 "XRSTOR"). */
    if (is_image(l) && l->name[0] == 'x' && want_end.vector == X86_PF &&
        got_end.vector == X86_NATIVE_ENDED)
        return true;
    /* Is the header looked at before all of the image? And AMD's MXCSR has a bit more. */
    if (strcmp(l->name, "xrstor") == 0 && want_end.vector == X86_PF && got_end.vector == X86_GP)
        return true;
    if (strstr(l->name, "ldmxcsr") && want->fp.mxcsr >> 16)
        return true;
    /* What is popped before a fault stays or does not. */
    return begins_with(l->name, "popa") && want_end.vector == X86_PF && got_end.vector == X86_PF;
}

static struct differ compare_worlds(const struct x86_line *l, const struct x86_world *want,
                                    const struct x86_world *got, struct x86_end want_end,
                                    struct x86_end got_end)
{
    struct differ d = { 0 };
    bool loose = is_transcendental(l);
    uint64_t flags = 0xcd5 & ~(uint64_t)l->undefined;
    /* C1 behind FCOMI: SDM 2 "FCOMI" says 0, AMD's processors leave it. */
    uint16_t fsw = loose || strstr(l->name, "comi") ? 0xfddf : 0xffff;
    if (may_end_so(l, want, got, want_end, got_end))
        return d;
    compare_ends(&d, want_end, got_end, is_image(l));
    if (d.any)
        differs(&d, " (%d at %#" PRIx64 ", rip %#" PRIx64 ")", want_end.vector, want_end.address,
                want->rip);
    if (want->rip != got->rip)
        differs(&d, " rip %#" PRIx64 ", not %#" PRIx64, got->rip, want->rip);
    if (want_end.vector != X86_NATIVE_ENDED)
        flags &= ~(uint64_t)X86_FLAG_DF | X86_FLAG_DF;
    if ((want->rflags ^ got->rflags) & flags)
        differs(&d, " flags %#" PRIx64 ", not %#" PRIx64, got->rflags & flags,
                want->rflags & flags);
    for (unsigned i = 0; i < 16; i++)
        if (want->gpr[i] != got->gpr[i])
            differs(&d, " r%u is %#" PRIx64 ", not %#" PRIx64, i, got->gpr[i], want->gpr[i]);
    for (unsigned i = 0; i < 16; i++) {
        compare_bytes(&d, "xmm", i, want->fp.xmm[i], got->fp.xmm[i], 16);
        compare_bytes(&d, "ymmh", i, want->fp.ymm_high[i], got->fp.ymm_high[i], 16);
    }
    for (unsigned i = 0; i < 8; i++)
        if (!(loose && nearly(want->fp.st[i], got->fp.st[i])))
            compare_bytes(&d, "st", i, want->fp.st[i], got->fp.st[i], 10);
    if ((want->fp.fsw ^ got->fp.fsw) & fsw)
        differs(&d, " fsw %#x, not %#x", got->fp.fsw, want->fp.fsw);
    if (want->fp.fcw != got->fp.fcw || want->fp.ftw != got->fp.ftw)
        differs(&d, " fcw ftw %#x %#x, not %#x %#x", got->fp.fcw, got->fp.ftw, want->fp.fcw,
                want->fp.ftw);
    if (want->fp.mxcsr != got->fp.mxcsr)
        differs(&d, " mxcsr %#x, not %#x", got->fp.mxcsr, want->fp.mxcsr);
    compare_bytes(&d, "memory", 0, want->data, got->data, sizeof(want->data));
    return d;
}

/* ---- the run ------------------------------------------------------------------------------------ */

/* Lines that are no business of user code, differ between processes and machines by design, or need
 * what the oracle's child is not given. */
static bool is_left_out(const struct x86_line *l)
{
    static const char *const names[] = {
        "syscall",  "sysenter", "int",     "int1",   "int3",     "iret",   "popf",     "cpuid",
        "rdtsc",    "rdtscp",   "rdpmc",   "rdpid",  "rdrand",   "rdseed", "rdfsbase", "rdgsbase",
        "wrfsbase", "wrgsbase", "rdpkru",  "wrpkru", "xgetbv",   "str",    "sldt",     "smsw",
        "sgdt",     "sidt",     "lar",     "lsl",    "verr",     "verw",   "lds",      "les",
        "lss",      "lfs",      "lgs",     "jmpf",   "callf",    "retf",   "arpl",     "ljmp",
        "lcall",    "lret",     "monitor", "mwait",  "monitorx", "mwaitx", "clzero",   "in",
        "out",      "ins",      "outs",    "vmcall", "vmmcall",  "xbegin", "xabort",   "xend",
        "xtest",    "umonitor", "umwait",  "tpause", "rdsspd",   "rdsspq", "incsspd",  "incsspq",
        "endbr32",  "endbr64",  "enqcmd",  "hlt",    "cli",      "sti",    "clflush",  "clflushopt",
        "clwb",
    };
    if (l->flags & X86_SYSTEM || strchr(l->operands, 'S') == l->operands ||
        strstr(l->operands, ",S") || strstr(l->operands, "ES") || strstr(l->operands, "CS") ||
        strstr(l->operands, "SS") || strstr(l->operands, "DS") || strstr(l->operands, "FS") ||
        strstr(l->operands, "GS"))
        return strncmp(l->operands, "ST", 2) != 0 || strstr(l->operands, "S") != l->operands;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(l->name, names[i]) == 0)
            return true;
    return false;
}

struct tester {
    struct x86_native *native;
    const struct x86_decoder *decoder;
    struct machine machines[4];
    size_t n_machines;
    unsigned long cases, bad, shown;
};

static void show(const struct tester *t, const struct x86_line *l, unsigned bits,
                 const char *backend, const uint8_t *code, size_t n, const struct differ *d)
{
    char hex[3 * MAX_CODE + 1] = "";
    for (size_t i = 0; i < n; i++)
        sprintf(hex + 3 * i, "%02x ", code[i]);
    print_message("# %s (%s), %u bits, %s: %s:%s\n", l->name, l->encoding, bits, backend, hex,
                  d->text);
}

/* How many operands the random code gets before there is another one. */
enum { N_WORLDS = 4 };

static bool uses_fpu(const struct x86_line *l)
{
    return l->name[0] == 'f' || l->name[0] == 'x' || strpbrk(l->operands, "PQN") ||
           strcmp(l->name, "emms") == 0;
}

/* Results that manuals leave open, or where Intel's and AMD's processors differ. */
static bool is_undefined(const struct x86_insn *i)
{
    const char *name = i->line->name;
    if (i->bits == 64 && i->line->flags & X86_F64 && i->prefixes & X86_PFX_66)
        return true; /* SDM 2 "CALL", APM 3 "CALL" */
    if (i->osize == 2 && strcmp(name, "movsxd") == 0 && i->op[1].kind == X86_OP_MEM)
        return true; /* 16 bits by SDM 2 "MOVSXD"; AMD's processors read 32, and may fault in the last two */
    if (strcmp(name, "prefetch") == 0 && i->op[0].kind == X86_OP_GPR)
        return true;
    if (i->osize == 2 && (strcmp(name, "shld") == 0 || strcmp(name, "shrd") == 0))
        return i->op[2].kind != X86_OP_IMM || (i->imm & 31) > 16;
    return (strcmp(name, "bsf") == 0 || strcmp(name, "bsr") == 0) &&
           i->prefixes & (X86_PFX_REP | X86_PFX_REPNE);
}

static bool run_case(struct tester *t, const struct x86_line *l, unsigned bits, uint8_t *code,
                     size_t n)
{
    static struct x86_world start, want, got;
    struct x86_insn i;
    uint32_t word = X86_TR_PE | (bits == 64 ? X86_TR_CODE64 : X86_TR_CODE32);
    bool fine = true;
    if (x86_decode(t->decoder, word, code, n, &i) != X86_DECODED || i.line != l)
        return true;
    if (i.seg_override && (i.seg == X86_FS || (bits == 32 && i.seg == X86_GS)))
        return true;
    if (is_undefined(&i))
        return true;
    random_world(&start, uses_fpu(l));
    if (strstr(l->name, "dpp")) /* which of the steps' unmasked exceptions are noted is not said */
        start.fp.mxcsr |= 0x1f80;
    if (is_transcendental(l)) /* processors take even exact results for inexact */
        start.fp.fcw |= 0x20;
    uint64_t r = random_u64();
    if (r % 8 == 0)
        start.rip += 0x1000 - (r >> 8) % 16;
    else
        start.rip += 0x800;
    aim_implicit(&start);
    if (i.prefixes & (X86_PFX_REP | X86_PFX_REPNE))
        start.gpr[X86_RCX] &= 15;
    for (unsigned k = 0; k < X86_N_OPERANDS; k++)
        if (i.op[k].kind == X86_OP_MEM || i.op[k].kind == X86_OP_VSIB)
            aim(&i, code, &start);
    if (bits == 32)
        for (unsigned k = 0; k < 16; k++)
            start.gpr[k] = k < 8 ? (uint32_t)start.gpr[k] : 0;
    if (x86_decode(t->decoder, word, code, n, &i) != X86_DECODED || i.line != l)
        return true;
    bool by_mask = l->name[0] == 'x' && is_image(l);
    if (by_mask &&
        (i.base == X86_RAX || i.base == X86_RDX || i.index == X86_RAX || i.index == X86_RDX))
        return true;
    prepare_image(&i, &start);
    uint64_t at = effective(&i, &start);
    want = start;
    struct x86_end want_end = x86_native_run(t->native, bits, code, n, &want);
    blank_pointers(&i, at, &want);
    if (want_end.vector == X86_NATIVE_LOST || want.fp.mxcsr >> 17) /* AMD's MXCSR.MM */
        return true;
    for (size_t k = 0; k < t->n_machines; k++) {
        struct machine *m = &t->machines[k];
        got = start;
        put_code(m, start.rip, code, n);
        struct x86_end got_end = machine_run(m, bits, &got);
        blank_pointers(&i, at, &got);
        struct differ d = compare_worlds(l, &want, &got, want_end, got_end);
        if (d.any && t->shown++ < 3)
            show(t, l, bits, backends[k]->name, code, n, &d);
        fine &= !d.any;
    }
    t->cases++;
    return fine;
}

static unsigned long run_line(struct tester *t, size_t index, unsigned long n)
{
    const struct x86_line *l = x86_decoder_line(t->decoder, index);
    unsigned long bad = 0;
    t->shown = 0;
    for (unsigned long k = 0; k < n; k++) {
        uint8_t code[X86_MAX_INSN];
        unsigned bits = random_u64() % 4 || !x86_native_has_32(t->native) ? 64 : 32;
        uint32_t word = X86_TR_PE | (bits == 64 ? X86_TR_CODE64 : X86_TR_CODE32);
        unsigned len = x86_decoder_random(t->decoder, index, word, random_for, NULL, code);
        for (unsigned j = 0; len && j < N_WORLDS; j++)
            bad += !run_case(t, l, bits, code, len);
    }
    return bad;
}

static const struct {
    const char *name;
    const struct x86_insn_table *tables;
} groups[] = {
    { "int", x86_int_tables },       { "bit", x86_bit_tables }, { "jump", x86_jump_tables },
    { "string", x86_string_tables }, { "sse", x86_sse_tables }, { "avx", x86_avx_tables },
    { "x87", x86_x87_tables },
};

static bool is_wanted(const struct x86_line *l, const char *tables, const char *prefix)
{
    if (is_left_out(l) || (prefix && strncmp(l->name, prefix, strlen(prefix)) != 0))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(groups); i++)
        for (const struct x86_insn_table *t = groups[i].tables; t->at; t++)
            if (l >= t->at && l < t->at + t->n)
                return !tables || strstr(tables, groups[i].name);
    return false;
}

/* ---- several instructions at once: what one leaves to the next -------------------------------------- */

/* May stand in a sequence: goes on behind itself, leaves no flag undefined but AF, and is exact. */
static bool fits_sequence(const struct x86_line *l)
{
    static const char *const readers_of_af[] = { "lahf", "pushf", "aaa", "aas", "daa", "das" };
    for (size_t i = 0; i < ARRAY_LEN(readers_of_af); i++)
        if (begins_with(l->name, readers_of_af[i]))
            return false;
    return l->kind == INSN_PLAIN && !(l->undefined & ~X86_FLAG_AF) && !is_transcendental(l) &&
           !is_image(l) && !strstr(l->name, "comi") && !begins_with(l->name, "popa") &&
           !strstr(l->name, "gather");
}

/* Appends an instruction of line `index` to code; its operand in memory is aimed into the window. */
static size_t add_step(struct tester *t, size_t index, uint8_t *code, struct x86_world *w,
                       uint16_t *undefined)
{
    struct x86_insn i;
    uint32_t word = X86_TR_PE | X86_TR_CODE64;
    const struct x86_line *l = x86_decoder_line(t->decoder, index);
    unsigned n = x86_decoder_random(t->decoder, index, word, random_for, NULL, code);
    if (!n || x86_decode(t->decoder, word, code, n, &i) != X86_DECODED || i.line != l ||
        is_undefined(&i) || (i.seg_override && i.seg == X86_FS))
        return 0;
    for (unsigned k = 0; k < X86_N_OPERANDS; k++)
        if (i.op[k].kind == X86_OP_MEM)
            aim(&i, code, w);
    *undefined |= l->undefined;
    return i.base == X86_REG_RIP ? 0 : n; /* aimed from where it does not stand */
}

/* Run by the CPU and by each machine from `start`; `ended`: how. */
static bool code_agrees(struct tester *t, const struct x86_line *all, const struct x86_world *start,
                        const uint8_t *code, size_t n, int *ended)
{
    static struct x86_world want, got;
    bool fine = true;
    want = *start;
    struct x86_end want_end = x86_native_run(t->native, 64, code, n, &want);
    *ended = want_end.vector;
    if (want_end.vector == X86_NATIVE_LOST || want.fp.mxcsr >> 17)
        return true;
    for (size_t k = 0; k < t->n_machines; k++) {
        got = *start;
        put_code(&t->machines[k], start->rip, code, n);
        struct x86_end got_end = machine_run(&t->machines[k], 64, &got);
        struct differ d = compare_worlds(all, &want, &got, want_end, got_end);
        if (d.any && t->shown++ < 6)
            show(t, all, 64, backends[k]->name, code, n, &d);
        fine &= !d.any;
    }
    t->cases++;
    return fine;
}

static bool run_sequence(struct tester *t, const uint16_t *pool, size_t n_pool)
{
    static struct x86_world start;
    struct x86_line all = { .name = "sequence", .encoding = "" };
    uint8_t code[MAX_CODE];
    size_t n = 0;
    int ended;
    random_world(&start, random_u64() & 1);
    start.rip += 0x800;
    start.fp.mxcsr |= 0x1f80;
    aim_implicit(&start);
    start.gpr[X86_RCX] &= 15;
    for (unsigned k = 0; k < N_STEPS; k++)
        n += add_step(t, pool[random_u64() % n_pool], code + n, &start, &all.undefined);
    return code_agrees(t, &all, &start, code, n, &ended);
}

static bool tester_start(struct tester *t, const char *more)
{
    const char *why;
    memset(t, 0, sizeof(*t));
    t->native = x86_native_new(&why);
    if (!t->native) {
        print_message("# %s\n", why);
        return false;
    }
    for (size_t i = 0; i < n_backends; i++)
        machine_start(&t->machines[t->n_machines++], backends[i], more);
    t->decoder = x86_decoder_of(t->machines[0].vm);
    return true;
}

static void tester_stop(struct tester *t)
{
    for (size_t i = 0; i < t->n_machines; i++)
        machine_stop(&t->machines[i]);
    x86_native_free(t->native);
}

static void instructions_agree_with_the_cpu(void **unused)
{
    const char *cases = getenv("TANDEM_TEST_CASES"), *seed = getenv("TANDEM_TEST_SEED");
    const char *tables = getenv("TANDEM_TEST_TABLES"), *prefix = getenv("TANDEM_TEST_LINES");
    tables = tables ? tables : "x87 sse avx";
    unsigned long n = cases ? strtoul(cases, NULL, 0) : 10, bad_lines = 0;
    static struct tester t;
    if (!tester_start(&t, ""))
        skip();
    random_state = seed ? strtoull(seed, NULL, 0) | 1 : 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < x86_decoder_n_lines(t.decoder); i++) {
        const struct x86_line *l = x86_decoder_line(t.decoder, i);
        if (!is_wanted(l, tables, prefix))
            continue;
        unsigned long before = t.cases, bad = run_line(&t, i, n);
        if (bad)
            print_message("# %s (%s): %lu of %lu differ\n", l->name, l->encoding, bad,
                          t.cases - before);
        bad_lines += bad != 0;
    }
    print_message("# %lu cases\n", t.cases);
    tester_stop(&t);
    assert_int_equal(bad_lines, 0);
}

static void sequences_agree_with_the_cpu(void **unused)
{
    const char *cases = getenv("TANDEM_TEST_CASES"), *seed = getenv("TANDEM_TEST_SEED");
    const char *tables = getenv("TANDEM_TEST_TABLES"), *prefix = getenv("TANDEM_TEST_LINES");
    unsigned long n = 400 * (cases ? strtoul(cases, NULL, 0) : 10), bad = 0;
    static struct tester t;
    static uint16_t pool[8192];
    size_t n_pool = 0;
    if (!tester_start(&t, ""))
        skip();
    random_state = seed ? strtoull(seed, NULL, 0) | 1 : 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < x86_decoder_n_lines(t.decoder) && n_pool < ARRAY_LEN(pool); i++) {
        const struct x86_line *l = x86_decoder_line(t.decoder, i);
        if (is_wanted(l, tables ? tables : "int bit jump string sse avx x87", prefix) &&
            fits_sequence(l))
            pool[n_pool++] = (uint16_t)i;
    }
    for (unsigned long k = 0; k < n && n_pool; k++)
        bad += !run_sequence(&t, pool, n_pool);
    print_message("# %lu cases\n", t.cases);
    tester_stop(&t);
    assert_int_equal(bad, 0);
}

/* All units are hot: what the second tier makes of loops, the CPU does turn by turn. Where one leaves the data, the
 * fault is to come in its turn. */
static void loops_agree_with_the_cpu(void **unused)
{
    const char *cases = getenv("TANDEM_TEST_CASES"), *text = getenv("TANDEM_TEST_SEED");
    const struct x86_line any = { .name = "loop", .encoding = "", .undefined = X86_FLAG_AF };
    uint64_t n = 300 * (cases ? strtoul(cases, NULL, 0) : 10), opened = 0;
    uint64_t bad = 0, n_faults = 0, seed = text ? strtoull(text, NULL, 0) : 1;
    static struct tester t;
    static struct x86_world start;
    if (!tester_start(&t, ",tier2=always"))
        skip();
    random_state = seed | 1;
    for (uint64_t k = 0; k < n && !bad; k++) {
        uint8_t code[X86_WALK_MAX];
        int ended;
        random_world(&start, false);
        start.rflags &= ~(uint64_t)X86_FLAG_DF;
        start.fp.mxcsr |= 0x1f80;
        size_t size = x86_walk_code(seed + k, &start, code);
        start.rip += 16 * (k % 250); /* some units end with their page */
        bool good = code_agrees(&t, &any, &start, code, size, &ended);
        if (!good)
            print_message("# loop of seed %" PRIu64 "\n", seed + k);
        bad += !good;
        n_faults += ended == X86_PF;
    }
    for (size_t k = 0; k < t.n_machines; k++)
        opened += tcg_cpu_of(t.machines[k].cpu)->words[IR_WORD_LOOKS];
    print_message("# %lu cases, %" PRIu64 " end in a fault; %" PRIu64 " windows\n", t.cases,
                  n_faults, opened);
    tester_stop(&t);
    assert_int_equal(bad, 0);
    assert_true(n_faults > n / 20 && n_faults < n * 3 / 4 && opened > n);
}

/* The comparison itself: whatever is changed in a result is seen. */
static void planted_differences_are_found(void **unused)
{
    static const struct x86_line any = { .name = "add" },
                                 no_carry = { .name = "add", .undefined = X86_FLAG_CF };
    static struct x86_world a, b;
    const struct x86_end end = { .vector = X86_NATIVE_ENDED },
                         fault = { .vector = X86_PF, .error = 4 };
    x86_world_init(&a);
    assert_false(compare_worlds(&any, &a, &a, end, end).any);
    assert_true(compare_worlds(&any, &a, &a, end, fault).any);
#define PLANT(line, change, found) \
    b = a;                         \
    change;                        \
    assert_int_equal(compare_worlds(&(line), &a, &b, end, end).any, found)
    PLANT(any, b.rflags ^= X86_FLAG_CF, true);
    PLANT(no_carry, b.rflags ^= X86_FLAG_CF, false);
    PLANT(no_carry, b.rflags ^= X86_FLAG_AF, true);
    PLANT(any, b.gpr[15] ^= (uint64_t)1 << 63, true);
    PLANT(any, b.data[X86_NATIVE_DATA_SIZE - 1] ^= 1, true);
    PLANT(any, b.fp.ymm_high[15][15] ^= 1, true);
    PLANT(any, b.fp.st[7][9] ^= 1, true);
    PLANT(any, b.fp.fsw ^= 1 << 9, true);
    PLANT(any, b.fp.mxcsr ^= 2, true);
}

int main(void)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(planted_differences_are_found),
        cmocka_unit_test(instructions_agree_with_the_cpu),
        cmocka_unit_test(sequences_agree_with_the_cpu),
        cmocka_unit_test(loops_agree_with_the_cpu),
    };
    return cmocka_run_group_tests(facts, NULL, NULL);
}
