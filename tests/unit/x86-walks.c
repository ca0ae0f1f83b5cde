/* Loops of x86 code that walk through memory, on the second tier as on the first: what they leave behind, and what a page
 * fault in the middle of one shows. Flags above all, which the second tier's loops compute on their way out. */
#include "core/memory.h"
#include "core/util.h"
#include "tests/unit/x86_machine.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Two pages for either pointer; the page behind them is not there. */
enum { FIRST = 0x80000, SECOND = 0x90000, SIZE = 0x2000, RUNS = 150 };

static const char *const walks[] = {
    /* 1: add rax,[rdi]; add rdi,8; dec rcx; jne 1b; hlt */
    "4803074883c70848ffc975f4f4",
    /* 1: mov rax,[rdi+rcx*8]; mov [rsi+rcx*8],rax; sub rcx,1; jne 1b; hlt */
    "488b04cf488904ce4883e90175f2f4",
    /* 1: movsd xmm0,[rdi]; mulsd xmm0,xmm1; addsd xmm0,[rsi]; movsd [rsi],xmm0; add rdi,8; add rsi,8; dec rcx;
       jne 1b; hlt */
    "f20f1007f20f59c1f20f5806f20f11064883c7084883c60848ffc975e3f4",
    /* 1: add rax,[rdi+rdx*8]; inc rdx; cmp rdx,rcx; jb, jne, jl, jbe 1b; hlt */
    "480304d748ffc24839ca72f4f4",
    "480304d748ffc24839ca75f4f4",
    "480304d748ffc24839ca7cf4f4",
    "480304d748ffc24839ca76f4f4",
    /* 1: add [rdi],rax; add rdi,8; cmp rsi,rdi; ja 1b; hlt */
    "4801074883c7084839fe77f4f4",
    /* 1: add rax,[rdi]; add rdi,8; dec ecx; jne 1b; hlt */
    "4803074883c708ffc975f5f4",
    /* 1: xor eax,[rdi]; add rdi,4; sub rcx,1; jne 1b; hlt */
    "33074883c7044883e90175f4f4",
    /* 1: cmp [rdi],al; lea rdi,[rdi+3]; mov [rsi],cl; inc rsi; dec rcx; jne 1b; hlt */
    "3807488d7f03880e48ffc648ffc975f1f4",
    /* 1: call 2f; dec rcx; jnz 1b; hlt; 2: add rax,[rdi]; add rdi,8; ret */
    "e80600000048ffc975f6f44803074883c708c3",
    /* 1: call 2f; dec rcx; jnz 1b; hlt; 2: cmp [rdi],rax; lea rdi,[rdi+8]; jb 3f; mov [rsi],cl; ret; 3: inc rsi; ret */
    "e80600000048ffc975f6f4483907488d7f087203880ec348ffc6c3",
    /* 1: push rdi; call 2f; dec rcx; jnz 1b; hlt; 2: add rax,[rdi]; add rdi,8; ret 8 */
    "57e80600000048ffc975f5f44803074883c708c20800",
    /* it returns behind the next instruction at times: 1: call 2f; add eax,7; dec rcx; jnz 1b; hlt; 2: add rax,[rdi];
       add rdi,8; test al,24; jnz 3f; add qword ptr [rsp],3; 3: ret */
    "e80900000083c00748ffc975f3f44803074883c708a81875054883042403c3",
    /* its code is written by its caller: 1: mov [rip+2f+2],cl; call 2f; dec rcx; jnz 1b; hlt; 2: xor eax,0x55;
       add rax,rdx; ret */
    "880d0d000000e80600000048ffc975f0f483f0554801d0c3",
    /* or by itself: 1: call 2f; dec rcx; jnz 1b; hlt; 2: mov [rip+3f+2],cl; add [rdi],al; 3: add eax,0x55; inc rdi; ret */
    "e80600000048ffc975f6f4880d04000000000783c05548ffc7c3",
};

static const char *const options[] = { "backend=jit,tier2=off", "backend=jit,tier2=always",
                                       "backend=interp,tier2=always" };
enum { N = ARRAY_LEN(options) };

struct outcome {
    uint64_t gpr[16], rip, rflags, xmm0, sum;
    int64_t vector;
};

static uint64_t sum_of_data(struct machine *m)
{
    uint64_t sum = 0;
    for (uint64_t at = 0; at < SIZE; at += 8)
        sum = sum * 31 + machine_peek(m, FIRST + at) * 7 + machine_peek(m, SECOND + at);
    return sum;
}

static struct outcome walk(struct machine *m, const char *hex, unsigned seed)
{
    struct outcome r = { 0 };
    uint8_t code[64];
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        const char byte[] = { hex[2 * i], hex[2 * i + 1], 0 };
        code[i] = (uint8_t)strtoul(byte, NULL, 16);
    }
    srand(seed);
    machine_prepare(m, 0);
    machine_poke(m, TABLES + 0x3000 + 8 * ((FIRST + SIZE) >> 12), 8, 0);
    machine_poke(m, TABLES + 0x3000 + 8 * ((SECOND + SIZE) >> 12), 8, 0);
    for (uint64_t at = 0; at < SIZE; at += 8) {
        machine_poke(m, FIRST + at, 8, (uint64_t)rand() << 33 ^ (uint64_t)rand());
        machine_poke(m, SECOND + at, 8, (uint64_t)rand() << 33 ^ (uint64_t)rand());
    }
    unsigned from = (unsigned)rand() % (SIZE / 8), to = (unsigned)rand() % (SIZE / 8);
    m->x->gpr[X86_RAX] = 0x123456789;
    m->x->gpr[X86_RDX] = (unsigned)rand() % 64;
    m->x->gpr[X86_RCX] = 1 + (unsigned)rand() % (rand() % 2 ? 30 : 1200);
    m->x->gpr[X86_RDI] = FIRST + from * 8 + (rand() % 8 ? 0 : 3);
    m->x->gpr[X86_RSI] = SECOND + to * 8;
    m->x->mxcsr |= 0x1f80;
    machine_run(m, code, n);
    memcpy(r.gpr, m->x->gpr, sizeof(r.gpr));
    r.rip = m->x->rip;
    r.vector = machine_vector(m);
    r.rflags = r.vector < 0 ? m->x->rflags : machine_peek(m, m->x->gpr[X86_RSP] + 24);
    memcpy(&r.xmm0, &m->x->zmm[0], 8);
    r.sum = sum_of_data(m);
    return r;
}

static void tiers_agree(void **unused)
{
    struct machine m[N];
    unsigned n_faults = 0;
    uint64_t looks = 0, inlined = 0;
    if (n_backends < 2)
        skip();
    for (unsigned k = 0; k < N; k++)
        m[k] = machine_new_with(options[k], "max");
    for (unsigned seed = 0; seed < RUNS; seed++)
        for (size_t i = 0; i < ARRAY_LEN(walks); i++) {
            struct outcome expected = walk(&m[0], walks[i], seed);
            n_faults += expected.vector == 14;
            for (unsigned k = 1; k < N; k++) {
                struct outcome r = walk(&m[k], walks[i], seed);
                if (memcmp(&r, &expected, sizeof(r)))
                    fail_msg("walk %zu, seed %u, %s: rflags %#" PRIx64 ", not %#" PRIx64, i, seed,
                             options[k], r.rflags, expected.rflags);
            }
        }
    for (unsigned k = 0; k < N; k++) {
        looks += tcg_cpu_of(m[k].cpu)->words[IR_WORD_LOOKS];
        inlined += tcg_of_vm(m[k].vm)->counts.hot_calls;
        vm_free(m[k].vm);
    }
    assert_true(inlined > 6);
    assert_true(n_faults > 100);
    assert_true(looks > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiers_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
