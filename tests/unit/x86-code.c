/* Code that writes code, and instructions that start over: what random single instructions do not show. On every
 * back end, in 32-bit mode without paging. */
#include "core/accel.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/util.h"
#include "core/vm.h"
#include "target/x86_64/insns.h"
#include "tcg/tcg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CODE = 0x10000, DATA = 0x20000 };

struct machine {
    struct vm *vm;
    struct vcpu *cpu;
    struct x86_cpu *x;
};

static void must(struct error *err)
{
    if (err)
        fail_msg("%s", error_text(err));
}

static struct machine machine_new(const struct backend *backend)
{
    struct machine m;
    struct mem_region *ram;
    char options[64];
    snprintf(options, sizeof(options), "backend=%s", backend->name);
    must(vm_new(&m.vm));
    m.vm->accel = &tcg_accel;
    m.vm->target = &x86_64_target;
    must(x86_64_target.cpu_model(m.vm, "max"));
    must(tcg_accel.vm_create(m.vm, options));
    must(mem_add_ram(m.vm, "ram", 1 * MIB, false, &ram));
    mem_map(ram, 0, 0);
    must(vcpu_new(m.vm, 0, &m.cpu));
    m.cpu->requests = 0;
    m.x = x86_of(m.cpu);
    return m;
}

/* The code ends in HLT. */
static void run(struct machine *m, const uint8_t *code, size_t n)
{
    mem_write(m->vm, CODE, code, n);
    x86_64_target.vcpu_reset(m->cpu);
    x86_place_flat(m->cpu, CODE, 0);
    m->x->run_state = X86_RUNNABLE;
    m->x->gpr[X86_RSP] = DATA;
    x86_64_target.vcpu_loaded(m->cpu);
    tcg_accel.set_state(m->cpu);
    enum vcpu_exit exit = EXIT_KICKED;
    for (unsigned turns = 0; turns < 4 && exit == EXIT_KICKED; turns++)
        exit = tcg_accel.run(m->cpu);
    tcg_accel.get_state(m->cpu);
    assert_int_equal(exit, EXIT_HALTED);
    assert_int_equal(m->x->rip, CODE + n);
}

#define RUN(m, ...) \
    run(m, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
#define ON_EACH(m)                                                             \
    for (size_t b_ = 0; b_ < n_backends; b_++)                                 \
        for (struct machine m = machine_new(backends[b_]), *once_ = &m; once_; \
             vm_free(m.vm), once_ = NULL)

static void a_store_is_code_for_the_next_instruction(void **unused)
{
    ON_EACH(m)
    {
        for (unsigned again = 0; again < 3; again++) {
            RUN(&m, 0x40,                     /* inc %eax */
                0xc6, 0x05, 9, 0, 1, 0, 0x42, /* movb $0x42, 0x10009 */
                0xb3, 0x00,                   /* mov $0, %bl */
                0xf4);
            assert_int_equal(m.x->gpr[X86_RBX] & 0xff, 0x42);
        }
    }
}

static void what_is_stored_behind_a_call_is_code_when_it_returns(void **unused)
{
    static const uint8_t callee[] = { 0x42,                    /* inc %edx */
                                      0x88, 0x15, 11, 0, 1, 0, /* mov %dl, 0x1000b */
                                      0xc3 };
    ON_EACH(m)
    {
        mem_write(m.vm, CODE + 0x1000, callee, sizeof(callee));
        RUN(&m, 0xb9, 3, 0, 0, 0,   /* mov $3, %ecx */
            0xe8, 0xf6, 0x0f, 0, 0, /* 5: call 0x11000 */
            0xb3, 0x00,             /* mov $0, %bl */
            0xe2, 0xf7,             /* loop 5 */
            0xf4);
        assert_int_equal(m.x->gpr[X86_RBX] & 0xff, m.x->gpr[X86_RDX] & 0xff);
    }
}

/* Somebody else writes code, as another CPU would: the imm8 at CODE + 22. */
static uint64_t read_nothing(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void write_code(void *opaque, uint64_t off, unsigned size, uint64_t v)
{
    uint8_t byte = (uint8_t)v;
    mem_write(opaque, CODE + 22, &byte, 1);
}

/* SDM 3 9.1.3: what executes code that another processor changed serializes first. */
static void what_others_wrote_is_code_behind_what_serializes(void **unused)
{
    static const struct mmio_ops ops = { .read = read_nothing, .write = write_code };
    static const uint8_t serializing[][7] = {
        { 0x0f, 0xa2, 0x90, 0x90, 0x90, 0x90, 0x90 }, /* cpuid */
        { 0x0f, 0x01, 0xe8, 0x90, 0x90, 0x90, 0x90 }, /* serialize */
        { 0x0f, 0x09, 0x90, 0x90, 0x90, 0x90, 0x90 }, /* wbinvd */
        { 0x0f, 0x01, 0x1d, 0x00, 0x00, 0x03, 0x00 }, /* lidt 0x30000 */
        { 0x0f, 0x01, 0x15, 0x00, 0x00, 0x03, 0x00 }, /* lgdt 0x30000 */
        { 0x31, 0xc0, 0x0f, 0x00, 0xd0, 0x90, 0x90 }, /* xor %eax, %eax; lldt %ax */
        { 0x66, 0xb8, 0x08, 0x00, 0x0f, 0x00, 0xd8 }, /* mov $8, %ax; ltr %ax */
    };
    static const uint8_t tables[] = { 0x0f, 0, 0x08, 0, 0x03, 0,    0, 0, /* limit, base 0x30008 */
                                      0,    0, 0,    0, 0,    0,    0, 0, /* the null descriptor */
                                      0x67, 0, 0,    0, 0,    0x89, 0, 0 }; /* a TSS */
    ON_EACH(m)
    {
        mem_map(mem_add_mmio(m.vm, "writer", 4096, &ops, m.vm), 2 * MIB, 0);
        for (unsigned k = 0; k < 3 * ARRAY_LEN(serializing); k++) {
            const uint8_t *s = serializing[k / 3], with = (uint8_t)(0x40 + k);
            mem_write(m.vm, 0x30000, tables, sizeof(tables)); /* LTR makes the TSS a busy one */
            RUN(&m, 0x0f, 0x01, 0x15, 0x00, 0x00, 0x03, 0x00, /* lgdt 0x30000 */
                0xb0, with,                                   /* mov $0x40, %al */
                0xa2, 0, 0, 0x20, 0,                          /* mov %al, 0x200000 */
                s[0], s[1], s[2], s[3], s[4], s[5], s[6], 0xb3, 0x00, /* mov $0, %bl */
                0xf4);
            assert_int_equal(m.x->gpr[X86_RBX] & 0xff, with);
        }
    }
}

static void an_atomic_store_is_too(void **unused)
{
    ON_EACH(m)
    {
        RUN(&m, 0xf0, 0x83, 0x05, 9, 0, 1, 0, 0x11, /* lock addl $0x11, 0x10009 */
            0xb8, 0x01, 0, 0, 0,                    /* mov $1, %eax */
            0xf4);
        assert_int_equal(m.x->gpr[X86_RAX], 0x12);
    }
}

static void a_repeated_store_is_too(void **unused)
{
    ON_EACH(m)
    {
        RUN(&m, 0xbf, 0x10, 0, 1, 0, 0xb9, 2, 0, 0, 0, /* mov $0x10010, %edi; mov $2, %ecx */
            0xb0, 0x40, 0xf3, 0xaa,                    /* mov $0x40, %al; rep stosb */
            0x31, 0xc0, 0x90, 0x90,                    /* xor %eax, %eax; nop; nop, now inc %eax */
            0xf4);
        assert_int_equal(m.x->gpr[X86_RAX], 2);
        assert_int_equal(m.x->gpr[X86_RCX], 0);
    }
}

/* The count is changed by the loop that it belongs to. */
static void a_loop_may_change_itself(void **unused)
{
    ON_EACH(m)
    {
        RUN(&m, 0xb9, 100, 0, 0, 0, /* mov $100, %ecx */
            0x83, 0xc0, 0x01,       /* 5: add $1, %eax */
            0xfe, 0x05, 7, 0, 1, 0, /* incb 0x10007 */
            0xe2, 0xf5,             /* loop 5 */
            0xf4);
        assert_int_equal(m.x->gpr[X86_RAX], 5050 - 0);
    }
}

/* Elements are copied one after the other: a distance of one repeats the first. */
static void overlapping_strings_repeat(void **unused)
{
    ON_EACH(m)
    {
        uint8_t data[64] = "abc";
        mem_write(m.vm, DATA, data, sizeof(data));
        RUN(&m, 0xbe, 0, 0, 2, 0, 0xbf, 3, 0, 2, 0, /* mov $0x20000, %esi; mov $0x20003, %edi */
            0xb9, 10, 0, 0, 0, 0xf3, 0xa4, 0xf4);   /* mov $10, %ecx; rep movsb */
        mem_read(m.vm, DATA, data, sizeof(data));
        assert_memory_equal(data, "abcabcabcabca", 14);
        RUN(&m, 0xfd, 0xbe, 9, 0, 2, 0, 0xbf, 8, 0, 2, 0, /* std; downwards */
            0xb9, 4, 0, 0, 0, 0xf3, 0xa5, 0xf4);          /* rep movsd */
        assert_int_equal(m.x->gpr[X86_RSI], DATA + 9 - 16);
    }
}

/* ---- repeats ------------------------------------------------------------------------------------------ */

enum { AREA = 24 << 10 };

struct repeat {
    uint8_t code; /* of the byte form */
    unsigned size;
    bool down, until, has_source, writes, compares;
    uint32_t rcx, rsi, rdi, rax; /* addresses: from the area's begin */
    bool zf, cf;
};

static uint64_t element(const uint8_t *area, uint32_t at, unsigned size)
{
    return load_le(area + at, size);
}

/* One turn after the other, as the manual has it (SDM 2, REP). */
static void do_turns(struct repeat *r, uint8_t *area)
{
    uint32_t step = r->down ? 0 - r->size : r->size;
    while (r->rcx) {
        uint64_t acc = bits(r->rax, 0, 8 * r->size);
        uint64_t v = r->has_source ? element(area, r->rsi, r->size) : acc, w = 0;
        if (r->compares)
            w = element(area, r->rdi, r->size);
        else if (r->writes)
            store_le(area + r->rdi, r->size, v);
        else
            r->rax = (uint32_t)((r->rax & ~bits(UINT64_MAX, 0, 8 * r->size)) | v);
        r->rsi += r->has_source ? step : 0;
        r->rdi += r->compares || r->writes ? step : 0;
        r->rcx--;
        if (r->compares) {
            r->zf = v == w;
            r->cf = v < w;
            if (r->zf == r->until)
                return;
        }
    }
}

static unsigned draw(uint32_t *seed, unsigned below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % below;
}

static struct repeat any_repeat(uint32_t *seed)
{
    static const struct repeat kinds[] = {
        { .code = 0xa4, .has_source = true, .writes = true },   /* movs */
        { .code = 0xaa, .writes = true },                       /* stos */
        { .code = 0xa6, .has_source = true, .compares = true }, /* cmps */
        { .code = 0xae, .compares = true },                     /* scas */
        { .code = 0xac, .has_source = true },                   /* lods */
    };
    struct repeat r = kinds[draw(seed, 16) % 9 % ARRAY_LEN(kinds)];
    r.size = 1u << draw(seed, 3);
    r.down = !draw(seed, 4);
    r.until = r.compares && draw(seed, 2);
    unsigned most = 8 << draw(seed, 11);
    r.rcx = draw(seed, MIN(most, AREA / 2)) / r.size;
    uint32_t first = draw(seed, AREA / 2 - 128), near = draw(seed, 40);
    r.rdi = draw(seed, 3) ? draw(seed, AREA / 2 - 128) : first + near;
    r.rsi = draw(seed, 2) ? first : first + (r.rdi & 63);
    if (r.down) {
        r.rsi += AREA / 2;
        r.rdi += AREA / 2;
    }
    r.rax = draw(seed, 2) ? 0x01010101 * draw(seed, 3) : draw(seed, 1 << 24);
    return r;
}

static void fill_area(const struct repeat *r, uint32_t *seed, uint8_t *area)
{
    unsigned few = draw(seed, 4096) + 1; /* a comparison goes on for long */
    for (unsigned k = 0; k < AREA; k++)
        area[k] =
            (uint8_t)(r->compares ? (draw(seed, few) ? r->rax : draw(seed, 256)) : draw(seed, 256));
}

static void a_repeat_is_its_turns(void **unused)
{
    static uint8_t area[AREA], seen[AREA];
    ON_EACH(m)
    {
        uint32_t seed = 1;
        for (unsigned k = 0; k < 4000; k++) {
            struct repeat r = any_repeat(&seed);
            fill_area(&r, &seed, area);
            mem_write(m.vm, DATA, area, AREA);
            uint8_t code[] = { r.down ? 0xfd : 0xfc,
                               0xbe,
                               0,
                               0,
                               0,
                               0,
                               0xbf,
                               0,
                               0,
                               0,
                               0,
                               0xb9,
                               0,
                               0,
                               0,
                               0,
                               0xb8,
                               0,
                               0,
                               0,
                               0,
                               0x90,
                               0xf3,
                               0,
                               0x0f,
                               0x94,
                               0xc2,
                               0x0f,
                               0x92,
                               0xc6,
                               0xf4 }; /* ...; sete %dl; setb %dh; hlt */
            store_le(code + 2, 4, DATA + r.rsi);
            store_le(code + 7, 4, DATA + r.rdi);
            store_le(code + 12, 4, r.rcx);
            store_le(code + 17, 4, r.rax);
            code[21] = r.size == 2 ? 0x66 : 0x90;
            code[22] = r.until ? 0xf2 : 0xf3;
            code[23] = (uint8_t)(r.code + (r.size > 1));
            run(&m, code, sizeof(code));
            bool compared = r.compares && r.rcx;
            do_turns(&r, area);
            mem_read(m.vm, DATA, seen, AREA);
            assert_memory_equal(seen, area, AREA);
            assert_int_equal(m.x->gpr[X86_RCX], r.rcx);
            assert_int_equal(m.x->gpr[X86_RSI], DATA + r.rsi);
            assert_int_equal(m.x->gpr[X86_RDI], DATA + r.rdi);
            assert_int_equal(m.x->gpr[X86_RAX], r.rax);
            if (compared)
                assert_int_equal(m.x->gpr[X86_RDX] & 0x101, r.zf | r.cf << 8);
        }
    }
}

/* Flags from before the count of 0 are those behind it. */
static void flags_survive_what_does_not_set_them(void **unused)
{
    ON_EACH(m)
    {
        RUN(&m, 0x31, 0xc9, 0xf9,          /* xor %ecx, %ecx; stc */
            0xd3, 0xe0, 0xd3, 0xc0,        /* shl %cl, %eax; rol %cl, %eax */
            0x41, 0x0f, 0x92, 0xc2, 0xf4); /* inc %ecx; setc %dl */
        assert_int_equal(m.x->gpr[X86_RDX] & 0xff, 1);
        assert_int_equal(m.x->rflags & 0x8d5, X86_FLAG_CF);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_store_is_code_for_the_next_instruction),
        cmocka_unit_test(what_is_stored_behind_a_call_is_code_when_it_returns),
        cmocka_unit_test(what_others_wrote_is_code_behind_what_serializes),
        cmocka_unit_test(an_atomic_store_is_too),
        cmocka_unit_test(a_repeated_store_is_too),
        cmocka_unit_test(a_loop_may_change_itself),
        cmocka_unit_test(overlapping_strings_repeat),
        cmocka_unit_test(a_repeat_is_its_turns),
        cmocka_unit_test(flags_survive_what_does_not_set_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
