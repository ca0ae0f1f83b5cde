/* x86-64 in ring 3; interrupts are NMIs, whose frame may lie on a device. */
#include "core/accel.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/memory.h"
#include "target/x86_64/insns.h"
#include "tests/unit/hot_loops.h"
#include "tests/unit/x86_machine.h"
#include "tests/unit/x86_walks.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
    LOOP = 0x40040,
    HANDLER = 0x50000,
    VALUES = 0x70000, /* what HANDLER knows */
    LOG_TOP = 0x73000,
    AREA = 0x80000, /* the two pages at X86_NATIVE_DATA */
    AREA_SIZE = X86_NATIVE_DATA_SIZE,
    AREA_TABLE = TABLES + 0x4000,
    FIRST_ENTRY = AREA_TABLE + 8 * (X86_NATIVE_DATA >> 12 & 511),
    DEVICE = 0x200000, /* at its own address, as RAM below is; memory of a kind */
    DEVICE_SIZE = 0x1000,
    COUNT = X86_RCX,
    OUTER = 15,
};

/* At VALUES. */
struct values {
    uint64_t entries[2];      /* what the area's page table entries are to be */
    uint32_t changed, unused; /* they are not */
    uint64_t change_at;
    uint32_t action, change_to;
    uint64_t unused2, faults_rip, faults_cr2, faults_rcx; /* sums */
};

/* With V = VALUES, E = FIRST_ENTRY, A = X86_NATIVE_DATA:
    nmi:    push rax, rcx, rdx, rbx, rbp, rsi, rdi, r8 to r15; mov eax,[V+0x20]; call rax; pop them; iretq
    +0x40:  push rax; mov rax,[rsp+16]; add [V+0x30],rax; mov rax,cr2; add [V+0x38],rax; add [V+0x40],rcx
            cmp dword ptr [V+0x10],0; je 1f; mov dword ptr [V+0x10],0; mov rax,[V]; mov [E],rax; mov rax,[V+8]
            mov [E+8],rax; mov rax,cr3; mov cr3,rax; pop rax; add rsp,8; iretq; 1: hlt; jmp 1b
    +0xb0:  ret
    +0xc0:  mov eax,AREA; mov ecx,128; 1: inc qword ptr [rax]; add rax,64; dec ecx; jnz 1b; ret
    +0xe0:  mov rax,[E]; mov rcx,[E+8]; mov [E+8],rax; mov [E],rcx; jmp 2f
    +0x110: mov rax,~2; jmp 1f
    +0x120: mov rax,~1; 1: and [E],rax; and [E+8],rax; mov dword ptr [V+0x10],1
            2: invlpg [A]; invlpg [A+0x1000]; ret
    +0x160: mov eax,[V+0x18]; mov ecx,[V+0x24]; mov [rax],cl; ret */
static const char handler_code[] =
    "50515253555657415041514152415341544155415641578b042520000700ffd0415f415e415d415c415b415a"
    "415941585f5e5d5b5a595848cf0f1f800000000050488b44241048010425300007000f20d048010425380007"
    "0048010c2540000700833c2510000700007438c704251000070000000000488b042500000700488904258040"
    "0300488b04250800070048890425884003000f20d80f22d8584883c40848cff4ebfd662e0f1f840000000000"
    "c366662e0f1f8400000000000f1f4000b800000800b98000000048ff004883c040ffc975f5c3662e0f1f8400"
    "00000000488b042580400300488b0c2588400300488904258840030048890c2580400300eb4066662e0f1f84"
    "00000000000f1f0048c7c0fdffffffeb0e0f1f800000000048c7c0feffffff48210425804003004821042588"
    "400300c7042510000700010000000f013c25000001100f013c2500100110c366662e0f1f8400000000006690"
    "8b0425180007008b0c25240007008808c3";
enum { PAGE_FAULT = 0x40, STOP = 0xa3 };
static const uint16_t action_at[N_HANDLERS] = { 0xb0, 0xc0, 0xe0, 0x110, 0x120, 0x160 };

struct x86_guest {
    struct hot_guest g;
    struct machine m;
    uint8_t device[DEVICE_SIZE];
};

static struct x86_guest *of(const struct hot_guest *g)
{
    return container_of(g, struct x86_guest, g);
}

static uint64_t device_read(void *opaque, uint64_t off, unsigned size)
{
    struct x86_guest *x = opaque;
    x->g.n_device++;
    return load_le(x->device + off, size);
}

static void device_write(void *opaque, uint64_t off, unsigned size, uint64_t v)
{
    struct x86_guest *x = opaque;
    x->g.device = (x->g.device ^ (v + off * 8 + size)) * 0x2545f4914f6cdd1d + ++x->g.n_device;
    store_le(x->device + off, size, v);
}

static const struct mmio_ops device_ops = { .read = device_read, .write = device_write };

static struct hot_guest *start(const char *options)
{
    struct x86_guest *x = xcalloc(1, sizeof(*x));
    struct hot_guest *g = &x->g;
    x->m = machine_new_with(options, "max");
    *g = (struct hot_guest){
        .kind = &hot_x86, .vm = x->m.vm, .cpu = x->m.cpu, .t = tcg_cpu_of(x->m.cpu)
    };
    g->ram = mem_view_find(mem_view_now(g->vm), 0)->ram->host;
    mem_map(mem_add_mmio(g->vm, "device", DEVICE_SIZE, &device_ops, x), DEVICE, 0);
    return g;
}

/* An interrupt gate to the handler's code. */
static void put_gate(struct x86_guest *x, unsigned vector, uint64_t to, unsigned ist)
{
    machine_poke(&x->m, IDT + 16 * vector, 8,
                 (to & 0xffff) | 0x10 << 16 | (uint64_t)ist << 32 | (uint64_t)0x8e00 << 32 |
                     (to >> 16) << 48);
}

static void put_handler(struct x86_guest *x)
{
    uint8_t code[sizeof(handler_code) / 2];
    for (size_t i = 0; i < sizeof(code); i++) {
        const char byte[] = { handler_code[2 * i], handler_code[2 * i + 1], 0 };
        code[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    hot_put(&x->g, HANDLER, code, sizeof(code));
    put_gate(x, X86_NMI_VECTOR, HANDLER, 1);
    put_gate(x, X86_PF, HANDLER + PAGE_FAULT, 0);
    put_gate(x, X86_GP, HANDLER + STOP, 0);
}

/* Of four loops one has the device as its area's second page, and one it as the stack of interrupts. */
static bool shows_device(uint64_t seed)
{
    return seed % 4 == 2;
}

static uint64_t log_top(uint64_t seed)
{
    return seed % 4 == 1 ? DEVICE + DEVICE_SIZE : LOG_TOP;
}

static void put_memory(struct x86_guest *x, uint64_t seed, const struct x86_world *w,
                       unsigned handler)
{
    struct hot_guest *g = &x->g;
    struct values v = { .entries = { AREA | 7, (shows_device(seed) ? DEVICE : AREA + 0x1000) | 7 },
                        .action = HANDLER + action_at[handler],
                        .change_at = LOOP + X86_WALK_MAX };
    put_handler(x);
    memset(x->device, 0, DEVICE_SIZE);
    memset(g->ram + LOG_TOP - 0x1000, 0, 0x1000);
    memcpy(g->ram + AREA, w->data, AREA_SIZE);
    memcpy(x->device, w->data, shows_device(seed) ? DEVICE_SIZE : 0);
    memcpy(g->ram + FIRST_ENTRY, v.entries, sizeof(v.entries));
    for (unsigned i = 0; i < X86_WALK_MAX; i++)
        if (load_le(g->ram + LOOP + i, 3) == 0xc3ff49) { /* inc r11 becomes dec r11 */
            v.change_at = LOOP + i + 2;
            v.change_to = 0xcb;
        }
    memcpy(g->ram + VALUES, &v, sizeof(v));
    machine_poke(&x->m, TABLES + 0x2000 + 8 * (X86_NATIVE_DATA >> 21 & 511), 8, AREA_TABLE | 7);
    machine_poke(&x->m, TABLES + 0x2000 + 8 * (DEVICE >> 21), 8, DEVICE | 0x87);
    machine_poke(&x->m, TSS + 0x24, 8, log_top(seed));
}

/* mov rdx,[rdi]; add rax,rdx; mov edx,eax; and edx,8; mov r8,[rbx+rdx]; xor rax,r8; add rdi,8; inc r11; dec rcx; jnz .:
   many of the second loads are across two pages, which takes a slow call. */
static const uint8_t reads_across[] = {
    0x48, 0x8b, 0x17, 0x48, 0x01, 0xd0, 0x89, 0xc2, 0x83, 0xe2, 0x08, 0x4c, 0x8b, 0x04, 0x13,
    0x4c, 0x31, 0xc0, 0x48, 0x83, 0xc7, 0x08, 0x49, 0xff, 0xc3, 0x48, 0xff, 0xc9, 0x75, 0xe2
};
/* mov rdx,[rdi]; add rax,rdx; mov rdx,r11; shr rdx,6; and edx,1; shl edx,12; mov [rdi+rdx+64],rax; add rdi,8; inc r11;
   dec rcx; jnz .: stores go to the second page for 64 turns of 128. */
static const uint8_t visits_device[] = { 0x48, 0x8b, 0x17, 0x48, 0x01, 0xd0, 0x4c, 0x89, 0xda,
                                         0x48, 0xc1, 0xea, 0x06, 0x83, 0xe2, 0x01, 0xc1, 0xe2,
                                         0x0c, 0x48, 0x89, 0x44, 0x17, 0x40, 0x48, 0x83, 0xc7,
                                         0x08, 0x49, 0xff, 0xc3, 0x48, 0xff, 0xc9, 0x75, 0xdc };

/* 1: call 2f; nop; add rdi,8; dec rcx; jnz 1b; jmp 4f; 2: mov rdx,[rdi]; add rax,rdx; mov [rdi+64],rax; inc r11;
   test r11b,12; jnz 3f; add qword ptr [rsp],1; ret; 3: xor rax,rdx; ret; 4: the function comes back behind the nop in four
   turns of 16. */
static const uint8_t calls[] = { 0xe8, 0x0c, 0x00, 0x00, 0x00, 0x90, 0x48, 0x83, 0xc7, 0x08,
                                 0x48, 0xff, 0xc9, 0x75, 0xf1, 0xeb, 0x1d, 0x48, 0x8b, 0x17,
                                 0x48, 0x01, 0xd0, 0x48, 0x89, 0x47, 0x40, 0x49, 0xff, 0xc3,
                                 0x41, 0xf6, 0xc3, 0x0c, 0x75, 0x06, 0x48, 0x83, 0x04, 0x24,
                                 0x01, 0xc3, 0x48, 0x31, 0xd0, 0xc3 };

/* Seed 1 is the first, with frames on a device, 2 the second, with the device as second page, 3 the last. */
static size_t make_loop(uint64_t seed, struct x86_world *w, uint8_t code[X86_WALK_MAX])
{
    static const struct {
        const uint8_t *code;
        size_t n;
    } fixed[] = { { NULL, 0 },
                  { reads_across, sizeof(reads_across) },
                  { visits_device, sizeof(visits_device) },
                  { calls, sizeof(calls) } };
    size_t n = x86_walk_code(seed, w, code);
    if (!seed || seed >= ARRAY_LEN(fixed))
        return n;
    n = fixed[seed].n;
    memcpy(code, fixed[seed].code, n);
    w->gpr[X86_RDI] = X86_NATIVE_DATA + 0x100;
    w->gpr[X86_RBX] = X86_NATIVE_DATA + 0xff9;
    w->gpr[COUNT] = 300;
    w->gpr[11] = 0;
    return n;
}

static void prepare(struct hot_guest *g, uint64_t seed, unsigned handler)
{
    static struct x86_world w;
    struct x86_guest *x = of(g);
    struct x86_cpu *c = x->m.x;
    uint8_t code[X86_WALK_MAX + 8] = { 0 };
    memset(&w, 0, sizeof(w));
    for (unsigned i = 0; i < AREA_SIZE; i += 8)
        store_le(w.data + i, 8, (i + seed) * 0x9e3779b97f4a7c15);
    size_t n = make_loop(seed, &w, code);
    code[n] = 0xf4; /* hlt: a user may not */
    machine_prepare(&x->m, 3);
    hot_put(g, LOOP, code, sizeof(code));
    put_memory(x, seed, &w, handler);
    memcpy(c->gpr, w.gpr, sizeof(c->gpr));
    c->gpr[X86_RSP] = STACK;
    c->rip = LOOP;
    c->cr4 &= ~(uint64_t)X86_CR4_CET;
    c->xcr0 = 7;
    c->run_state = X86_RUNNABLE;
    g->n_device = g->device = 0;
    x86_64_target.vcpu_loaded(g->cpu);
    tcg_accel.set_state(g->cpu);
}

static void interrupt(struct hot_guest *g)
{
    atomic_fetch_or(&of(g)->m.x->lines, X86_NMI);
}

/* The frame (SDM 3-6.14.2), and below it what the handler pushed. */
static bool interrupt_came(const struct hot_guest *g, struct boundary *b)
{
    const struct x86_guest *x = container_of(g, const struct x86_guest, g);
    uint64_t top = load_le(g->ram + TSS + 0x24, 8);
    const uint8_t *p = top == LOG_TOP ? g->ram + top : x->device + DEVICE_SIZE;
    *b = (struct boundary){ load_le(p - 40, 8), load_le(p - 56, 8), load_le(p - 160, 8) };
    return load_le(p - 32, 8); /* CS */
}

static struct boundary now(const struct hot_guest *g)
{
    const struct x86_cpu *c = x86_of(g->cpu);
    return (struct boundary){ c->rip, c->gpr[COUNT], c->gpr[OUTER] };
}

static bool has_ended(const struct hot_guest *g)
{
    return x86_of(g->cpu)->rip == HANDLER + STOP + 1;
}

static uint64_t end(const struct hot_guest *g)
{
    static const uint64_t key[2];
    const struct x86_guest *x = container_of(g, const struct x86_guest, g);
    const struct x86_cpu *c = x->m.x;
    const uint64_t facts[] = { hash64(key, c->gpr, sizeof(c->gpr)),
                               hash64(key, c->zmm, sizeof(c->zmm)),
                               c->rip,
                               c->rflags,
                               c->cr2,
                               c->mxcsr,
                               g->n_device,
                               g->device,
                               hash64(key, x->device, DEVICE_SIZE),
                               hash64(key, g->ram + AREA, AREA_SIZE),
                               hash64(key, g->ram + VALUES, LOG_TOP - VALUES) };
    return hash64(key, facts, sizeof(facts));
}

static void print_difference(const struct hot_guest *is, const struct hot_guest *should)
{
    const struct x86_cpu *a = x86_of(is->cpu), *b = x86_of(should->cpu);
    for (unsigned r = 0; r < 16; r++)
        if (a->gpr[r] != b->gpr[r])
            print_message("#   r%u is %" PRIx64 ", not %" PRIx64 "\n", r, a->gpr[r], b->gpr[r]);
    for (unsigned r = 0; r < 16; r++)
        if (memcmp(a->zmm[r], b->zmm[r], 32) != 0)
            print_message("#   ymm%u differs\n", r);
    print_message(
        "#   rip is %" PRIx64 ", not %" PRIx64 "; flags %" PRIx64 ", not %" PRIx64 "; cr2 %" PRIx64
        ", not %" PRIx64 "; %" PRIu64 " accesses to the device, not %" PRIu64 "\n",
        a->rip, b->rip, a->rflags, b->rflags, a->cr2, b->cr2, is->n_device, should->n_device);
    hot_print_memory(is, should);
}

const struct hot_kind hot_x86 = {
    .name = "x86_64",
    .ram_at = 0,
    .code_at = LOOP,
    .start = start,
    .prepare = prepare,
    .interrupt = interrupt,
    .came = interrupt_came,
    .now = now,
    .has_ended = has_ended,
    .end = end,
    .print_difference = print_difference,
};
