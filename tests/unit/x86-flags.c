/* Flags that outlive the unit of code that made them: INC and DEC at the head of the next one, where nothing is known
 * of how they were made; and conditional jumps there, where that is guessed. On every back end. */
#include "core/util.h"
#include "target/x86_64/sys.h"
#include "tests/unit/x86_machine.h"

#include <stdio.h>
#include <stdlib.h>

enum { HEAD = CODE + 0x40, BRANCH = CODE + 0x1000, NOBODYS = 0x300000, FLAGS = 0x8d5 };

/* What leaves flags of each kind (flags.h), before jmp *%rbx. */
struct maker {
    const char *name;
    uint8_t n, code[8];
};
static const struct maker makers[] = {
    { "sahf", 1, { 0x9e } },
    { "stc", 1, { 0xf9 } },
    { "clc", 1, { 0xf8 } },
    { "add %edx, %eax", 2, { 0x01, 0xd0 } },
    { "stc; adc %edx, %eax", 3, { 0xf9, 0x11, 0xd0 } },
    { "sub %edx, %eax", 2, { 0x29, 0xd0 } },
    { "stc; sbb %edx, %eax", 3, { 0xf9, 0x19, 0xd0 } },
    { "cmp %edx, %eax", 2, { 0x39, 0xd0 } },
    { "test %edx, %eax", 2, { 0x85, 0xd0 } },
    { "stc; inc %eax", 3, { 0xf9, 0xff, 0xc0 } },
    { "clc; dec %eax", 3, { 0xf8, 0xff, 0xc8 } },
    { "stc; decb (%rsi)", 3, { 0xf9, 0xfe, 0x0e } },
    { "shl %eax", 2, { 0xd1, 0xe0 } },
    { "sar %eax", 2, { 0xd1, 0xf8 } },
    { "mul %edx", 2, { 0xf7, 0xe2 } },
    { "imul %edx", 2, { 0xf7, 0xea } },
    { "blsi %eax, %ecx", 5, { 0xc4, 0xe2, 0x70, 0xf3, 0xd8 } },
    { "ucomisd %xmm1, %xmm0", 4, { 0x66, 0x0f, 0x2e, 0xc1 } },
};
/* The last two: AF shows which carry came in, and it is not the one that goes out. */
static const uint32_t operands[][2] = {
    { UINT32_MAX, 1 }, { 1, 2 }, { 0xd54f, 0x80000000 }, { 0x80000050, 0x40 }
};

/* INC and DEC of what overflows, and their flags but CF. */
struct step {
    const char *name;
    uint8_t n, code[4];
    uint32_t from, to;
    unsigned flags;
};
#define OVER  (X86_FLAG_OF | X86_FLAG_SF | X86_FLAG_AF | X86_FLAG_PF)
#define UNDER (X86_FLAG_SF | X86_FLAG_AF | X86_FLAG_PF)
static const struct step steps[] = {
    { "nothing", 0, { 0 }, 0, 0, 0 },
    { "inc %r8d", 3, { 0x41, 0xff, 0xc0 }, 0x7fffffff, 0x80000000, OVER },
    { "dec %r8d", 3, { 0x41, 0xff, 0xc8 }, 0, UINT32_MAX, UNDER },
    { "incl (%rdi)", 2, { 0xff, 0x07 }, 0x7fffffff, 0x80000000, OVER },
    { "decl (%rdi)", 2, { 0xff, 0x0f }, 0, UINT32_MAX, UNDER },
    { "lock incl (%rdi)", 3, { 0xf0, 0xff, 0x07 }, 0x7fffffff, 0x80000000, OVER },
    { "lock decl (%rdi)", 3, { 0xf0, 0xff, 0x0f }, 0, UINT32_MAX, UNDER },
};

static void run_to(struct machine *m, const struct maker *maker, const uint32_t *o,
                   const struct step *step, uint64_t rdi, uint64_t to)
{
    uint8_t code[0x50] = { 0 };
    memcpy(code, maker->code, maker->n);
    memcpy(code + maker->n, (const uint8_t[]){ 0xff, 0xe3 }, 2);
    memcpy(code + HEAD - CODE, step->code, step->n);
    code[HEAD - CODE + step->n] = 0xf4;
    machine_prepare(m, 0);
    machine_poke(m, DATA, 8, step->from);
    machine_poke(m, DATA + 8, 8, 1);
    m->x->gpr[X86_RAX] = o[0];
    m->x->gpr[X86_RDX] = o[1];
    m->x->gpr[X86_RBX] = to;
    m->x->gpr[X86_RDI] = rdi;
    m->x->gpr[X86_RSI] = DATA + 8;
    m->x->gpr[8] = step->from;
    store_le(m->x->zmm[0], 8, 0);
    store_le(m->x->zmm[1], 8, (uint64_t)o[1] << 32); /* 0 is below it, or equal */
    machine_run(m, code, sizeof(code));
}

static void run(struct machine *m, const struct maker *maker, const uint32_t *o,
                const struct step *step, uint64_t rdi)
{
    run_to(m, maker, o, step, rdi, HEAD);
}

static void equal(uint64_t got, uint64_t wanted, const struct maker *maker, const struct step *step)
{
    if (got != wanted)
        fail_msg("%s, then %s: %#lx, not %#lx", maker->name, step->name, (unsigned long)got,
                 (unsigned long)wanted);
}

static void check(struct machine *m, const struct maker *maker, const uint32_t *o)
{
    run(m, maker, o, &steps[0], DATA);
    uint64_t before = m->x->rflags & FLAGS;
    for (const struct step *s = steps + 1; s < steps + ARRAY_LEN(steps); s++) {
        bool memory = strchr(s->name, '(');
        run(m, maker, o, s, DATA);
        assert_int_equal(machine_vector(m), -1);
        equal(m->x->rflags & FLAGS, s->flags | (before & X86_FLAG_CF), maker, s);
        equal(memory ? machine_peek(m, DATA) & UINT32_MAX : m->x->gpr[8], s->to, maker, s);
        if (!memory)
            continue;
        run(m, maker, o, s, NOBODYS); /* a fault leaves all flags as they were */
        machine_assert_fault(m, X86_PF, 2, HEAD);
        equal(machine_peek(m, m->x->gpr[X86_RSP] + 24) & FLAGS, before, maker, s);
    }
}

static void inc_and_dec_leave_cf_however_it_was_made(void **unused)
{
    for (size_t b = 0; b < n_backends; b++) {
        struct machine m = machine_new(backends[b], "max");
        for (size_t k = 0; k < ARRAY_LEN(makers); k++)
            for (size_t o = 0; o < ARRAY_LEN(operands); o++)
                check(&m, &makers[k], operands[o]);
        vm_free(m.vm);
    }
}

/* SDM 1-B.1 */
static bool holds(unsigned code, uint64_t f)
{
    bool less = !(f & X86_FLAG_SF) != !(f & X86_FLAG_OF);
    const bool is[] = { f & X86_FLAG_OF,
                        f & X86_FLAG_CF,
                        f & X86_FLAG_ZF,
                        f & (X86_FLAG_CF | X86_FLAG_ZF),
                        f & X86_FLAG_SF,
                        f & X86_FLAG_PF,
                        less,
                        less || f & X86_FLAG_ZF };
    return is[code >> 1] != (code & 1);
}

/* The unit that begins with the jump is made when the first flags come, and is right for all others. */
static void check_branch(struct machine *m, unsigned code, unsigned first,
                         const uint64_t flags[][ARRAY_LEN(operands)])
{
    machine_poke(m, BRANCH, 4, 0xf4f40170 | code); /* jcc 1f; hlt; 1: hlt */
    for (size_t k = 0; k < 2 * ARRAY_LEN(makers); k++) {
        size_t i = (first + k / 2) % ARRAY_LEN(makers), o = (first + k) % ARRAY_LEN(operands);
        run_to(m, &makers[i], operands[o], &steps[0], DATA, BRANCH);
        if (m->x->rip != BRANCH + 3u + holds(code, flags[i][o]))
            fail_msg("jcc %#x behind %s, after %s: %#lx", code, makers[i].name, makers[first].name,
                     (unsigned long)m->x->rip);
        equal(m->x->rflags & FLAGS, flags[i][o], &makers[i], &steps[0]);
    }
}

static void jumps_heed_flags_however_they_were_made(void **unused)
{
    for (size_t b = 0; b < n_backends; b++) {
        struct machine m = machine_new(backends[b], "max");
        uint64_t flags[ARRAY_LEN(makers)][ARRAY_LEN(operands)];
        for (size_t k = 0; k < ARRAY_LEN(makers); k++)
            for (size_t o = 0; o < ARRAY_LEN(operands); o++) {
                run(&m, &makers[k], operands[o], &steps[0], DATA);
                flags[k][o] = m.x->rflags & FLAGS;
            }
        for (unsigned code = 0; code < 16; code++)
            for (unsigned first = 0; first < ARRAY_LEN(makers); first++)
                check_branch(&m, code, first, flags);
        vm_free(m.vm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inc_and_dec_leave_cf_however_it_was_made),
        cmocka_unit_test(jumps_heed_flags_however_they_were_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
