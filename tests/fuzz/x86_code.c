/* Any bytes as x86 code: real mode, virtual-8086, protected mode with 16 and 32 bits, compatibility and 64-bit
 * mode, as the system or the user, with control-flow enforcement, as a hypervisor and its guest, on either back end.
 * Nothing in this process may come to harm. */
#include "core/accel.h"
#include "core/error.h"
#include "core/vm.h"
#include "tape.h"
#include "target/x86_64/tr.h"
#include "tcg/tcg.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RAM_SIZE ((uint64_t)2 << 20)
enum {
    GDT = 0x1000,
    IDT = 0x2000,
    TSS = 0x4000,
    HANDLERS = 0x7000,
    CODE = 0x8000,
    STACK = 0x20000,
    TABLES = 0x30000,
    VMCB = 0x40000,
    SHADOW = 0x200000, /* all of RAM once more, as a shadow stack */
    N_VECTORS = 256,
    N_CODE = 512,
    RUN_MS = 2
};
enum mode { REAL, VM86, CODE16, CODE32, COMPAT32, LONG, N_KINDS };

struct world {
    struct vm *vm;
    struct vcpu *cpu;
    struct x86_cpu *x;
    struct tape tape;
    bool cet, svm;
    uint32_t cet_control, ssp;
    struct {
        uint16_t at;
        uint8_t change;
    } vmcb[8]; /* of a right one */
    /* Somebody ends loops. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
};

static void must(struct error *err)
{
    if (!err)
        return;
    fprintf(stderr, "%s\n", error_text(err));
    abort();
}

static void put(struct world *w, uint64_t at, const void *from, size_t n)
{
    if (!mem_write(w->vm, at, from, n))
        abort();
}

static void put64(struct world *w, uint64_t at, uint64_t v)
{
    put(w, at, &v, sizeof(v));
}

/* Every interrupt ends in a HLT, in every mode's tables: IVT, 32-bit gates, 64-bit gates behind them. */
static void put_tables(struct world *w, bool wide)
{
    static const uint64_t gdt[] = { 0,
                                    0x00af9b000000ffff,
                                    0x00cf9b000000ffff,
                                    0x00009b000000ffff,
                                    0x00cf93000000ffff,
                                    0x00affb000000ffff,
                                    0x00cffb000000ffff,
                                    0x0000fb000000ffff,
                                    0x00cff3000000ffff };
    const uint8_t hlt = 0xf4;
    put(w, HANDLERS, &hlt, 1);
    put(w, GDT, gdt, sizeof(gdt));
    put64(w, GDT + sizeof(gdt), 0x67 | (uint64_t)TSS << 16 | (uint64_t)0x8b << 40);
    for (unsigned v = 0; v < N_VECTORS; v++) {
        uint32_t far = HANDLERS;
        put(w, 4 * v, &far, 4);
        uint64_t gate = HANDLERS | (uint64_t)(wide ? 0x08 : 0x10) << 16 | (uint64_t)0xee << 40;
        put64(w, IDT + (wide ? 16 : 8) * v, gate);
    }
    put64(w, TSS + 4, STACK | (uint64_t)0x20 << 32);
    put64(w, TABLES, (TABLES + 0x1000) | 7);
    put64(w, TABLES + 0x1000, (TABLES + 0x2000) | 7);
    put64(w, TABLES + 0x2000, 0x87);
    put64(w, TABLES + 0x2008, 0xe5);
}

static struct x86_segment segment_of(unsigned index, unsigned cpl, uint32_t rights, uint32_t limit)
{
    return (struct x86_segment){ 0, limit, rights | cpl << X86_AR_DPL_SHIFT,
                                 (uint16_t)(8 * index | cpl) };
}

static void enter_real(struct x86_cpu *x, unsigned cpl)
{
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        x->seg[i] =
            (struct x86_segment){ 0, 0xffff, X86_AR_P | X86_AR_S | 3 | cpl << X86_AR_DPL_SHIFT, 0 };
}

static void enter(struct world *w, enum mode mode, unsigned cpl)
{
    struct x86_cpu *x = w->x;
    bool wide = mode == COMPAT32 || mode == LONG;
    put_tables(w, wide);
    x86_place_flat(w->cpu, CODE, wide ? TABLES : 0);
    x->rflags &= ~(uint64_t)X86_FLAG_VM;
    x->gpr[X86_RSP] = STACK - 0x1000;
    x->gdt = (struct x86_table){ GDT, 0x57 };
    x->idt = (struct x86_table){ IDT, (wide ? 16 : 8) * N_VECTORS - 1 };
    x->tr = (struct x86_segment){ TSS, 0x67, X86_AR_P | 11, 0x48 };
    uint32_t code = X86_AR_P | X86_AR_S | 11, data = X86_AR_P | X86_AR_S | X86_AR_G | X86_AR_DB | 3;
    uint32_t size = mode == LONG ? X86_AR_G | X86_AR_L : mode == CODE16 ? 0 : X86_AR_G | X86_AR_DB;
    unsigned index = mode == LONG ? 1 : mode == CODE16 ? 3 : 2;
    for (unsigned i = 0; i < N_X86_SEGS; i++)
        x->seg[i] = segment_of(cpl ? 8 : 4, cpl, data, UINT32_MAX);
    x->seg[X86_CS] =
        segment_of(index + (cpl ? 4 : 0), cpl, code | size, mode == CODE16 ? 0xffff : UINT32_MAX);
    if (mode == REAL) {
        x->cr0 &= ~X86_CR0_PE;
        x->idt = (struct x86_table){ 0, 0x3ff };
        enter_real(x, 0);
    } else if (mode == VM86) {
        x->rflags |= X86_FLAG_VM;
        enter_real(x, 3);
    }
}

static void enable_cet(struct world *w)
{
    struct x86_cpu *x = w->x;
    x->cr0 |= X86_CR0_WP;
    x->cr4 |= X86_CR4_CET;
    x->u_cet = x->s_cet = w->cet_control & 0x83f;
    x->ssp = x->pl0_ssp = x->pl3_ssp = SHADOW + (w->ssp & 0x1ffffc);
    x->int_ssp_table = w->ssp & 0x1ffff8;
}

static void put_guest_segment(struct world *w, uint64_t at, const struct x86_segment *s)
{
    put64(w, at,
          s->selector | (s->rights & 0xff) << 16 | (s->rights >> 4 & 0xf00) << 16 |
              (uint64_t)s->limit << 32);
    put64(w, at + 8, s->base);
}

/* VMRUN stands before the code; guest and host then go on with it. */
static void make_guest(struct world *w, uint64_t rip)
{
    static const uint8_t vmrun[] = { 0x0f, 0x01, 0xd8 };
    struct x86_cpu *x = w->x;
    const struct {
        uint16_t at;
        uint64_t v;
    } fields[] = {
        { 0x0c, (uint64_t)1 << 32 | 0x91000000 },
        { 0x40, 0x50000 },
        { 0x48, 0x60000 },
        { 0x58, 1 },
        { 0x90, w->ssp & 1 },
        { 0xb0, TABLES },
        { 0x460, (uint64_t)0x57 << 32 },
        { 0x468, GDT },
        { 0x480, (uint64_t)0xfff << 32 },
        { 0x488, IDT },
        { 0x4d0, x->efer | X86_EFER_SVME },
        { 0x548, x->cr4 },
        { 0x550, x->cr3 },
        { 0x558, x->cr0 },
        { 0x560, 0x400 },
        { 0x568, 0xffff0ff0 },
        { 0x570, 2 },
        { 0x578, rip },
        { 0x5d8, STACK - 0x1000 },
    };
    x->efer |= X86_EFER_SVME;
    x->gpr[X86_RAX] = VMCB;
    put(w, CODE - sizeof(vmrun), vmrun, sizeof(vmrun));
    for (unsigned i = 0; i < 0x700; i += 8)
        put64(w, VMCB + i, 0);
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        put64(w, VMCB + fields[i].at, fields[i].v);
    for (unsigned i = 0; i < 4; i++)
        put_guest_segment(w, VMCB + 0x400 + 16 * i, &x->seg[i]);
    for (size_t i = 0; i < ARRAY_LEN(w->vmcb); i++) {
        uint64_t at = VMCB + w->vmcb[i].at % 0x680;
        uint8_t byte;
        if (!mem_read(w->vm, at, &byte, 1))
            abort();
        byte ^= w->vmcb[i].change;
        put(w, at, &byte, 1);
    }
}

static void fill_registers(struct world *w)
{
    struct x86_cpu *x = w->x;
    for (unsigned i = 0; i < 16; i++) {
        uint32_t v = tape_u32(&w->tape);
        x->gpr[i] = v & 1 ? v : v & 0x1fffff;
    }
    x->rflags |= 2 | (tape_u32(&w->tape) & 0x43ed5);
    x->cr4 |= tape_u32(&w->tape) & 0x50600; /* OSFXSR, OSXMMEXCPT, FSGSBASE, OSXSAVE */
    x->xcr0 = 7;
    x->fsw = (uint16_t)(tape_u32(&w->tape) & 0x7f3f);
    x->ftw = tape_u8(&w->tape);
    for (unsigned i = 0; i < 8; i++)
        for (unsigned k = 0; k < 10; k++)
            x->st[i][k] = tape_u8(&w->tape);
    for (unsigned i = 0; i < 16; i++)
        for (unsigned k = 0; k < 32; k += 4)
            x->zmm[i][k] = tape_u8(&w->tape);
}

static void *end_loops(void *opaque)
{
    struct world *w = opaque;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += RUN_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&w->lock);
    while (!w->done && pthread_cond_timedwait(&w->changed, &w->lock, &until) == 0)
        ;
    if (!w->done) {
        atomic_fetch_or(&w->cpu->requests, VCPU_REQ_STOP);
        tcg_accel.kick(w->cpu);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* Code ends where it faults and is begun again a little further on. */
static void run(struct world *w, enum mode mode, unsigned cpl, size_t n_code)
{
    pthread_t thread;
    enum vcpu_exit e = EXIT_HALTED;
    if (pthread_create(&thread, NULL, end_loops, w))
        abort();
    for (size_t at = 0; at <= n_code && e == EXIT_HALTED; at += 8) {
        enter(w, mode, cpl);
        w->x->rip = CODE + at;
        if (w->cet && mode != REAL && mode != VM86)
            enable_cet(w);
        if (w->svm && mode == LONG && cpl == 0) {
            make_guest(w, CODE + at);
            w->x->rip = CODE - 3;
        }
        w->x->run_state = X86_RUNNABLE;
        x86_64_target.vcpu_loaded(w->cpu);
        tcg_accel.set_state(w->cpu);
        e = tcg_accel.run(w->cpu);
        tcg_accel.get_state(w->cpu);
    }
    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(thread, NULL);
}

static void world_new(struct world *w, const struct backend *backend, bool hot)
{
    char options[64];
    struct mem_region *ram;
    snprintf(options, sizeof(options), "backend=%s,tier2=%s", backend->name,
             hot ? "always" : "off");
    must(vm_new(&w->vm));
    w->vm->accel = &tcg_accel;
    w->vm->target = &x86_64_target;
    must(x86_64_target.cpu_model(w->vm, "max,+svm"));
    must(tcg_accel.vm_create(w->vm, options));
    must(mem_add_ram(w->vm, "ram", RAM_SIZE, false, &ram));
    mem_map(ram, 0, 0);
    must(vcpu_new(w->vm, 0, &w->cpu));
    w->cpu->requests = 0;
    w->x = x86_of(w->cpu);
    x86_64_target.vcpu_reset(w->cpu);
    w->x->run_state = X86_RUNNABLE;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct world w = { .tape = { bytes, n },
                       .lock = PTHREAD_MUTEX_INITIALIZER,
                       .changed = PTHREAD_COND_INITIALIZER };
    uint8_t what = tape_u8(&w.tape), code[N_CODE];
    enum mode mode = (what >> 1) % N_KINDS;
    world_new(&w, backends[what % n_backends], what & 0x40);
    unsigned cpl = mode == VM86 || (what & 0x80 && mode != REAL) ? 3 : 0;
    size_t n_code = MIN(n / 2, sizeof(code));
    for (size_t i = 0; i < n_code; i++)
        code[i] = tape_u8(&w.tape);
    put(&w, CODE, code, n_code);
    fill_registers(&w);
    uint8_t more = tape_u8(&w.tape);
    w.cet = more & 1;
    w.svm = more & 2;
    w.cet_control = tape_u32(&w.tape);
    w.ssp = tape_u32(&w.tape);
    for (size_t i = 0; i < ARRAY_LEN(w.vmcb) && more & 4; i++) {
        w.vmcb[i].at = (uint16_t)tape_u32(&w.tape);
        w.vmcb[i].change = tape_u8(&w.tape);
    }
    run(&w, mode, cpl, n_code);
    vm_free(w.vm);
    return 0;
}
