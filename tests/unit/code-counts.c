/* What generated code costs: host instructions that small guest loops take per turn, counted by stepping through them.
 * The table is what it was when somebody last looked: a change that makes a loop longer shows here, in its review. */
#include "core/error.h"
#include "core/memory.h"
#include "core/util.h"
#include "target/riscv/riscv.h"
#include "tests/unit/host_steps.h"
#include "tests/unit/x86_machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A loop runs from its first byte, with `counter` turns to do, a pointer to data and one to more of it, until HLT (which a user may not) or a
 * return to WFI. Its count may grow by one part in MARGIN (of small counts, not at all). */
enum { FIRST_TIER, SECOND_TIER, N_TIERS };
struct loop {
    const char *name;
    unsigned
        count[N_TIERS]; /* host instructions of one turn, in the code cache; 0: not looked at */
    const char *code;   /* hexadecimal */
};
enum { MARGIN = 25, FIRST_DATA = 0x80000, MORE_DATA = 0x90000, DATA_SIZE = 0x1000 };
/* What a turn costs is what more turns cost more: second-tier loops look for windows after some, and stay in them for
 * all of these. */
static const struct {
    const char *options;
    unsigned few, many;
} tiers[N_TIERS] = { { "backend=jit,tier2=off", 6, 12 }, { "backend=jit,tier2=always", 64, 80 } };

static const struct loop riscv_loops[] = {
    /* 1: ld a4,0(a0); addi a0,a0,8; add a5,a5,a4; addi a2,a2,-1; bnez a2,1b; ret */
    { "sum", { 16, 4 }, "18612105ba977d1665fe8280" },
    /* 1: ld a4,0(a0); sd a4,0(a1); addi a0,a0,8; addi a1,a1,8; addi a2,a2,-1; bnez a2,1b; ret */
    { "copy", { 25, 5 }, "186198e12105a1057d167dfa8280" },
    /* 1: slli a4,s2,3; add a4,a4,a0; ld a4,0(a4); add a5,a5,a4; addiw s2,s2,1; addiw a2,a2,-1; bnez a2,1b; ret */
    { "indexed", { 23, 6 }, "131739002a971863ba9705297d366dfa8280" },
    /* 1: lbu a4,0(a0); addi a0,a0,1; xor a5,a5,a4; andi a6,a5,1; srli a5,a5,1; beqz a6,2f; xori a5,a5,0x5a; 2:
       addi a2,a2,-1; bnez a2,1b; ret */
    { "bytes", { 25 }, "034705000505b98f13f8170085836304080093c7a7057d1665f68280" },
    /* 1: ld a0,0(a0); addi a2,a2,-1; bnez a2,1b; ret */
    { "list", { 14 }, "08617d1675fe8280" },
    /* mv s1,ra; 1: jal 3f; addi a2,a2,-1; bnez a2,1b; mv ra,s1; ret; 3: addi a5,a5,3; ret */
    { "calls", { 26, 9 }, "8684ef00c0007d166dfea68082808d078280" },
    /* mv s1,ra; 1: addi a5,a5,1, eight times; jal 3f; addi a2,a2,-1; bnez a2,1b; mv ra,s1; ret; 3: addi a5,a5,3; ret */
    { "late-call",
      { 32, 9 },
      "868485078507850785078507850785078507ef00c0007d166df6a68082808d078280" },
    /* mv t0,ra; 1: jal t1,3f; addi a2,a2,-1; bnez a2,1b; mv ra,t0; ret; 3: addi sp,sp,-32; sd s0,0(sp); sd
       s1,8(sp); sd s2,16(sp); mv s0,a0; mv s1,a1; ld s0,0(sp); ld s1,8(sp); ld s2,16(sp); addi sp,sp,32; jr t1 */
    { "frames",
      { 54 },
      "86826f03c0007d166dfe96808280011122e026e44ae82a84ae840264a264426905610283" },
    /* la a6,4f; 1: andi a4,a2,1; slli a4,a4,2; add a4,a4,a6; jr a4; .balign 4; 4: j 5f; .balign 4; j 6f; 5:
       addi a5,a5,1; 6: addi a2,a2,-1; bnez a2,1b; ret */
    { "table", { 25 }, "1708000013084801137716000a0742970287010019a0010011a085077d166df68280" },
    /* 1: fld fa4,0(a0); fld fa5,0(a1); fmadd.d fa5,fa4,fa0,fa5; fsd fa5,0(a1); addi a0,a0,8; addi a1,a1,8; addi
       a2,a2,-1; bnez a2,1b; ret */
    { "saxpy", { 32, 9 }, "18219c21c377a77a9ca12105a1057d1665fa8280" },
    /* 1: lw a4,0(a0); addw a5,a5,a4; slliw a6,a5,5; srliw a7,a5,27; or a5,a6,a7; addi a0,a0,4; addiw a2,a2,-1;
       bnez a2,1b; ret */
    { "words", { 27 }, "1841b99f1b9857009bd8b701b367180111057d3675f68280" },
    /* 1: ld t3,0(a0); ld t4,8(a0); mul t5,t3,s4; mulhu t6,t3,s4; add s5,s5,t5; sltu t5,s5,t5; add s6,s6,t6; add
       s6,s6,t5; xor s7,s7,t4; addi a0,a0,16; addi a2,a2,-1; bnez a2,1b; ret */
    { "wide",
      { 41 },
      "033e0500833e8500330f4e03b33f4e03fa9a33bfea017e9b7a9bb3cbdb0141057d1679fe8280" },
    /* 1: amoadd.d a4,a5,(a1); addi a2,a2,-1; bnez a2,1b; ret */
    { "atomic", { 18 }, "2fb7f5007d166dfe8280" },
    /* 1: fence rw,w; amoadd.d x0,a5,(a1); fence rw,rw; ld a4,0(a1); fence rw,rw; addi a2,a2,-1; bnez a2,1b; ret */
    { "ordered", { 26 }, "0f0010032fb0f5000f00300398610f0030037d1675f68280" },
    /* 1: amoor.d a4,a5,(a1); addi a2,a2,-1; bnez a2,1b; ret */
    { "set-bits", { 22 }, "2fb7f5407d166dfe8280" },
};

static const struct loop x86_loops[] = {
    /* 1: add rax,[rdi]; add rdi,8; dec rcx; jne 1b; hlt */
    { "sum", { 22, 4 }, "4803074883c70848ffc975f4f4" },
    /* 1: mov rax,[rdi+rcx*8]; mov [rsi+rcx*8],rax; sub rcx,1; jne 1b; hlt */
    { "copy", { 28, 5 }, "488b04cf488904ce4883e90175f2f4" },
    /* xor edx,edx; 1: mov eax,edx; add r8,[rdi+rax*8]; inc edx; dec ecx; jne 1b; hlt */
    { "indexed", { 24, 6 }, "31d289d04c0304c7ffc2ffc975f4f4" },
    /* 1: movzx eax,byte ptr [rdi]; inc rdi; xor edx,eax; shr edx,1; jnc 2f; xor edx,0x5a; 2: dec ecx; jne 1b;
       hlt */
    { "bytes", { 56 }, "0fb60748ffc731c2d1ea730383f25affc975edf4" },
    /* 1: mov rdi,[rdi]; dec rcx; jne 1b; hlt */
    { "list", { 20 }, "488b3f48ffc975f8f4" },
    /* 1: mov rax,[rdi]; test rax,rax; je 2f; mov rdx,[rdi+8]; cmp rdx,rax; je 2f; mov r8,[rdi+16]; cmp r8,rax; je 2f;
       dec rcx; jne 1b; 2: hlt */
    { "branches", { 35 }, "488b074885c07417488b57084839c2740e4c8b47104939c0740548ffc975e1f4" },
    /* 1: inc dword ptr [rdi]; dec rcx; jne 1b; hlt */
    { "counter", { 24 }, "ff0748ffc975f9f4" },
    /* 1: call 3f; dec rcx; jne 1b; hlt; 3: add rax,3; ret */
    { "calls", { 72, 25 }, "e80600000048ffc975f6f44883c003c3" },
    /* 1: inc rdx, eight times; call 3f; dec rcx; jne 1b; hlt; 3: add rax,3; ret */
    { "late-call",
      { 84, 30 },
      "48ffc248ffc248ffc248ffc248ffc248ffc248ffc248ffc2e80600000048ffc975def44883c003c3" },
    /* 1: call 3f; dec rcx; jne 1b; hlt; 3: push rbp; mov rbp,rsp; push rbx; push r12; sub rsp,16; mov
       [rbp-40],rdi; mov rbx,[rbp-40]; add rsp,16; pop r12; pop rbx; pop rbp; ret */
    { "frames",
      { 108, 34 },
      "e80600000048ffc975f6f4554889e55341544883ec1048897dd8488b5dd84883c410415c5b5dc3" },
    /* lea rbx,[rip+4f]; 1: mov eax,ecx; and eax,1; lea rax,[rbx+rax*2]; jmp rax; 4: jmp 5f; jmp 6f; 5: inc rdx;
       6: dec rcx; jne 1b; hlt */
    { "table", { 49 }, "488d1d0b00000089c883e001488d0443ffe0eb02eb0348ffc248ffc975e9f4" },
    /* 1: movsd xmm0,[rdi]; mulsd xmm0,xmm1; addsd xmm0,[rsi]; movsd [rsi],xmm0; add rdi,8; add rsi,8; dec rcx;
       jne 1b; hlt */
    { "saxpy", { 36, 8 }, "f20f1007f20f59c1f20f5806f20f11064883c7084883c60848ffc975e3f4" },
    /* 1: movups xmm0,[rdi]; movups xmm2,[rsi]; paddd xmm0,xmm2; pxor xmm3,xmm0; movups [rsi],xmm0; add rdi,16;
       add rsi,16; dec rcx; jne 1b; hlt */
    { "vectors", { 36 }, "0f10070f1016660ffec2660fefd80f11064883c7104883c61048ffc975e2f4" },
    /* 1: add eax,[rdi]; rol eax,5; lea edx,[rax+rdx+7]; add rdi,4; cmp edx,eax; cmovb eax,edx; dec ecx; jne 1b;
       hlt */
    { "words", { 30 }, "0307c1c0058d5410074883c70439c20f42c2ffc975eaf4" },
    /* 1: mov rax,[rdi]; mul r8; add r9,rax; adc r10,rdx; adc r11,0; add rdi,8; dec rcx; jne 1b; hlt */
    { "wide", { 48 }, "488b0749f7e04901c14911d24983d3004883c70848ffc975e7f4" },
    /* 1: lock xadd [rsi],rax; dec rcx; jne 1b; hlt */
    { "atomic", { 23 }, "f0480fc10648ffc975f6f4" },
    /* 1: mov rdx,rcx; mov ecx,4; push rdi; push rsi; rep movsb; pop rsi; pop rdi; mov rcx,rdx; dec rcx; jne 1b;
       hlt */
    { "strings", { 83 }, "4889cab9040000005756f3a45e5f4889d148ffc975eaf4" },
    /* 1: mov r8,rcx; mov r9,rdi; mov ecx,4; rep stosb; mov rcx,r8; mov rdi,r9; dec rcx; jne 1b; hlt */
    { "rep-stos", { 43 }, "4989c84989f9b904000000f3aa4c89c14c89cf48ffc975e8f4" },
    /* sub rsi,rdi; 1: movdqu xmm1,[rsi+rdi]; pcmpeqb xmm1,[rdi]; movdqu xmm2,[rsi+rdi+16]; pcmpeqb xmm2,[rdi+16]; pand
       xmm2,xmm1; pmovmskb eax,xmm2; dec rcx; jne 1b; hlt */
    { "compare",
      { 43 },
      "4829fef30f6f0c3e660f740ff30f6f543e10660f745710660fdbd1660fd7c248ffc975dff4" },
    /* sub rsi,rdi; 1: vmovdqu ymm1,[rsi+rdi]; vpcmpeqb ymm1,ymm1,[rdi]; vmovdqu ymm2,[rsi+rdi+32]; vpcmpeqb ymm2,ymm2,[rdi+32];
       vpand ymm2,ymm2,ymm1; vpmovmskb eax,ymm2; dec rcx; jne 1b; hlt */
    { "compare-256",
      { 43 },
      "4829fec5fe6f0c3ec5f5740fc5fe6f543e20c5ed745720c5eddbd1c5fdd7c248ffc975dff4" },
    /* 1: vpsrld ymm1,ymm0,3; vpxor ymm1,ymm1,[rdi]; vpaddd ymm0,ymm0,ymm1; add rdi,32; dec rcx; jne 1b; hlt */
    { "sum-256", { 26, 8 }, "c5f572d003c5f5ef0fc5fdfec14883c72048ffc975eaf4" },
};

static size_t loop_code(const struct loop *l, uint8_t code[256])
{
    size_t n = strlen(l->code) / 2;
    for (size_t i = 0; i < n; i++) {
        const char byte[] = { l->code[2 * i], l->code[2 * i + 1], 0 };
        code[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    return n;
}

/* Pointers in a ring for the loop that follows them, numbers for the others. */
static void fill_data(struct vm *vm, uint64_t ram)
{
    uint8_t bytes[DATA_SIZE];
    for (unsigned i = 0; i < DATA_SIZE; i += 8)
        store_le(bytes + i, 8, ram + FIRST_DATA + (i * 5 + 64) % DATA_SIZE);
    assert_true(mem_write(vm, ram + FIRST_DATA, bytes, sizeof(bytes)));
    assert_true(mem_write(vm, ram + MORE_DATA, bytes, sizeof(bytes)));
}

/* What is written is translated anew. */
static void write_code(struct vm *vm, uint64_t at, const uint8_t *code, size_t n)
{
    uint8_t old[256];
    if (!mem_read(vm, at, old, n) || memcmp(old, code, n))
        assert_true(mem_write(vm, at, code, n));
}

/* ---- the two guests ------------------------------------------------------------------------------------- */

struct guest {
    struct vm *vm;
    struct vcpu *cpu;
    void (*prepare)(struct guest *g, const struct loop *l,
                    unsigned turns); /* to be at its first byte */
    bool (*is_done)(const struct guest *g);
};

static void x86_prepare(struct guest *g, const struct loop *l, unsigned turns)
{
    struct machine m = { g->vm, g->cpu, x86_of(g->cpu) };
    uint8_t code[256];
    size_t n = loop_code(l, code);
    machine_prepare(&m, 3);
    m.x->cr4 &= ~(uint64_t)X86_CR4_CET;
    m.x->xcr0 = 7;
    m.x->gpr[X86_RDI] = FIRST_DATA;
    m.x->gpr[X86_RSI] = MORE_DATA;
    m.x->gpr[X86_RCX] = turns;
    m.x->run_state = X86_RUNNABLE;
    write_code(g->vm, CODE, code, n);
    x86_64_target.vcpu_loaded(g->cpu);
}

static bool x86_is_done(const struct guest *g)
{
    const struct machine m = { g->vm, g->cpu, x86_of(g->cpu) };
    return machine_vector(&m) == 13 && m.x->gpr[X86_RCX] == 0;
}

enum { RISCV_RAM = 0x40000000, RISCV_CODE = 0x10000, RISCV_STOP = 0x11000, WFI = 0x10500073 };

static void riscv_prepare(struct guest *g, const struct loop *l, unsigned turns)
{
    struct riscv_cpu *r = riscv_of(g->cpu);
    uint8_t code[256], stop[4];
    size_t n = loop_code(l, code);
    store_le(stop, 4, WFI);
    write_code(g->vm, RISCV_RAM + RISCV_CODE, code, n);
    write_code(g->vm, RISCV_RAM + RISCV_STOP, stop, 4);
    riscv64_target.vcpu_reset(g->cpu);
    riscv_place(g->cpu, RISCV_RAM + RISCV_CODE, 0, 0);
    r->x[1] = RISCV_RAM + RISCV_STOP;
    r->x[2] = RISCV_RAM + RISCV_STOP + 0x2000;
    r->x[10] = RISCV_RAM + FIRST_DATA;
    r->x[11] = RISCV_RAM + MORE_DATA;
    r->x[12] = turns;
    r->mstatus |= 3 << 13; /* floating point */
    riscv64_target.vcpu_loaded(g->cpu);
}

static bool riscv_is_done(const struct guest *g)
{
    const struct riscv_cpu *r = riscv_of(g->cpu);
    return r->pc == RISCV_RAM + RISCV_STOP + 4 && r->x[12] == 0;
}

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static struct guest riscv_guest(const char *options)
{
    struct guest g = { .prepare = riscv_prepare, .is_done = riscv_is_done };
    struct mem_region *ram;
    must(vm_new(&g.vm));
    g.vm->accel = &tcg_accel;
    g.vm->target = &riscv64_target;
    must(riscv64_target.cpu_model(g.vm, "max"));
    must(tcg_accel.vm_create(g.vm, options));
    must(mem_add_ram(g.vm, "ram", 1 * MIB, false, &ram));
    mem_map(ram, RISCV_RAM, 0);
    must(vcpu_new(g.vm, 0, &g.cpu));
    g.cpu->requests = 0;
    fill_data(g.vm, RISCV_RAM);
    return g;
}

static struct guest x86_guest(const char *options)
{
    struct machine m = machine_new_with(options, "max");
    fill_data(m.vm, 0);
    return (struct guest){ m.vm, m.cpu, x86_prepare, x86_is_done };
}

/* ---- counting -------------------------------------------------------------------------------------------- */

struct counting {
    struct guest *g;
    int64_t n;
};

static void run_to_end(void *opaque)
{
    const struct counting *c = opaque;
    enum vcpu_exit exit = EXIT_KICKED;
    for (unsigned k = 0; k < 4 && exit == EXIT_KICKED; k++)
        exit = tcg_accel.run(c->g->cpu);
    assert_int_equal(exit, EXIT_HALTED);
}

static bool count_step(void *opaque, uint32_t where)
{
    struct counting *c = opaque;
    c->n++;
    return true;
}

/* Host instructions of a run with so many turns. It is the third, so everything is translated and linked. */
static int64_t count_run(struct guest *g, const struct loop *l, unsigned turns)
{
    struct counting c = { g, 0 };
    for (unsigned round = 0; round < 3; round++) {
        g->prepare(g, l, turns);
        tcg_accel.set_state(g->cpu);
        if (round < 2)
            run_to_end(&c);
        else
            host_steps(tcg_of_vm(g->vm), run_to_end, count_step, &c);
        tcg_accel.get_state(g->cpu);
        assert_true(g->is_done(g)); /* it did what it was to do */
    }
    return c.n;
}

static unsigned check_loops(struct guest g, unsigned tier, const struct loop *loops, size_t n)
{
    unsigned n_longer = 0, few_turns = tiers[tier].few, more = tiers[tier].many - few_turns;
    for (size_t i = 0; i < n; i++) {
        if (!loops[i].count[tier])
            continue;
        int64_t few = count_run(&g, &loops[i], few_turns);
        int64_t many = count_run(&g, &loops[i], few_turns + more);
        if (!few || !many) {
            print_message("# this host does not let a process see its own steps\n");
            skip();
        }
        unsigned now = (unsigned)((many - few + more / 2) / more), then = loops[i].count[tier];
        if (now != then)
            print_message("# %s: %u host instructions a turn in tier %u; the table says %u\n",
                          loops[i].name, now, 1 + tier, then);
        n_longer += now > then + then / MARGIN;
    }
    vm_free(g.vm);
    return n_longer;
}

static void check_tiers(struct guest (*make)(const char *options), const struct loop *loops,
                        size_t n)
{
    unsigned n_longer = 0;
    for (unsigned tier = 0; tier < N_TIERS; tier++)
        n_longer += check_loops(make(tiers[tier].options), tier, loops, n);
    assert_int_equal(n_longer, 0);
}

static void need_host(void)
{
    bool all = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
               __builtin_cpu_supports("fma");
    if (strcmp(backends[0]->name, "jit") || !all) {
        print_message("# the table is of hosts with all of x86-64-v3\n");
        skip();
    }
}

static void riscv_loops_have_not_grown(void **unused)
{
    need_host();
    check_tiers(riscv_guest, riscv_loops, ARRAY_LEN(riscv_loops));
}

static void x86_loops_have_not_grown(void **unused)
{
    need_host();
    check_tiers(x86_guest, x86_loops, ARRAY_LEN(x86_loops));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(riscv_loops_have_not_grown),
        cmocka_unit_test(x86_loops_have_not_grown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
