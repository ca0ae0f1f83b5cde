/* The oracle tells the truth: results worked out by hand, faults with their addresses, and life goes on
 * after code that does what is forbidden. */
#include "tests/unit/x86_native.h"

#include "core/util.h"
#include "target/x86_64/x86.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct x86_native *native;

static struct x86_native *get_native(void)
{
    const char *why;
    if (!native && !(native = x86_native_new(&why))) {
        print_message("# %s\n", why);
        skip();
    }
    return native;
}

#define RUN(bits, w, ...)                                                \
    x86_native_run(get_native(), bits, (const uint8_t[]){ __VA_ARGS__ }, \
                   sizeof((const uint8_t[]){ __VA_ARGS__ }), w)

static const uint64_t data_end = X86_NATIVE_DATA + X86_NATIVE_DATA_SIZE;

static void registers_and_flags_come_back(void **unused)
{
    struct x86_world w;
    x86_world_init(&w);
    for (unsigned i = 0; i < 16; i++)
        w.gpr[i] = (uint64_t)0x1111111111111111 * i;
    w.gpr[X86_RCX] = 0x7fffffffffffffff;
    w.gpr[X86_RDX] = 1;
    struct x86_end e = RUN(64, &w, 0x48, 0x01, 0xd1); /* add %rdx, %rcx */
    assert_int_equal(e.vector, X86_NATIVE_ENDED);
    assert_int_equal(w.rip, X86_NATIVE_CODE + 3);
    assert_int_equal(w.gpr[X86_RCX], (uint64_t)1 << 63);
    assert_int_equal(w.gpr[15], UINT64_MAX);
    assert_int_equal(w.gpr[X86_RSP], 0x4444444444444444);
    assert_int_equal(w.rflags & 0x8d5, X86_FLAG_OF | X86_FLAG_SF | X86_FLAG_PF | X86_FLAG_AF);
}

static void memory_and_vectors_come_back(void **unused)
{
    struct x86_world w;
    x86_world_init(&w);
    w.gpr[X86_RAX] = X86_NATIVE_DATA;
    memset(w.data, 0x5a, 64);
    struct x86_end e = RUN(64, &w, 0xc5, 0xfc, 0x10, 0x10, /* vmovups (%rax), %ymm2 */
                           0xd9, 0xe8, 0xdd, 0x58, 0x40);  /* fld1; fstpl 64(%rax) */
    assert_int_equal(e.vector, X86_NATIVE_ENDED);
    assert_memory_equal(w.fp.xmm[2], w.data, 16);
    assert_memory_equal(w.fp.ymm_high[2], w.data, 16);
    assert_int_equal(load_le(w.data + 64, 8), 0x3ff0000000000000);
    assert_int_equal(w.fp.ftw, 0);
}

static void x87_state_goes_in_and_comes_out(void **unused)
{
    struct x86_world w;
    x86_world_init(&w);
    w.fp.fsw = 5 << 11;
    w.fp.ftw = 1 << 5 | 1 << 6;
    store_le(w.fp.st[0], 8, 0x0123456789abcdef); /* an unnormal */
    store_le(w.fp.st[0] + 8, 2, 0x4001);
    struct x86_end e = RUN(64, &w, 0xd9, 0xc9); /* fxch */
    assert_int_equal(e.vector, X86_NATIVE_ENDED);
    assert_int_equal(w.fp.fsw & 0x3800, 5 << 11);
    assert_int_equal(load_le(w.fp.st[1], 8), 0x0123456789abcdef);
    assert_int_equal(load_le(w.fp.st[1] + 8, 2), 0x4001);
}

static void faults_have_vector_error_and_address(void **unused)
{
    struct x86_world w;
    x86_world_init(&w);
    w.gpr[X86_RAX] = data_end - 3;
    struct x86_end e = RUN(64, &w, 0x90, 0x89, 0x08); /* nop; mov %ecx, (%rax) */
    assert_int_equal(e.vector, 14);
    assert_int_equal(e.error, 6); /* user, write, not present */
    assert_int_equal(e.address, data_end);
    assert_int_equal(w.rip, X86_NATIVE_CODE + 1);

    x86_world_init(&w);
    assert_int_equal(RUN(64, &w, 0xf7, 0xf1).vector, 0); /* div %ecx */
    x86_world_init(&w);
    assert_int_equal(RUN(64, &w, 0x0f, 0x0b).vector, 6); /* ud2 */
    x86_world_init(&w);
    assert_int_equal(RUN(64, &w, 0xf4).vector, 13); /* hlt */
    x86_world_init(&w);
    w.fp.fcw = 0x37b;
    assert_int_equal(RUN(64, &w, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b).vector, 16); /* 1 / 0 */
    x86_world_init(&w);
    w.gpr[X86_RAX] = X86_NATIVE_DATA + 1;
    assert_int_equal(RUN(64, &w, 0x0f, 0x28, 0x00).vector, 13); /* movaps */
    x86_world_init(&w);
    w.gpr[X86_RAX] = X86_NATIVE_DATA + 1;
    w.rflags |= X86_FLAG_AC;
    assert_int_equal(RUN(64, &w, 0x8b, 0x00).vector, 17);
    x86_world_init(&w);
    w.rip = X86_NATIVE_CODE + X86_NATIVE_CODE_SIZE - 1;
    e = RUN(64, &w, 0x81, 0xc0);
    assert_int_equal(e.vector, 14);
    assert_int_equal(e.address, X86_NATIVE_CODE + X86_NATIVE_CODE_SIZE);
    assert_int_equal(w.rip, X86_NATIVE_CODE + X86_NATIVE_CODE_SIZE - 1);
}

static void jumps_are_seen(void **unused)
{
    struct x86_world w;
    x86_world_init(&w);
    w.rip += 0x1000;
    struct x86_end e = RUN(64, &w, 0xeb, 0x40);
    assert_int_equal(e.vector, X86_NATIVE_ENDED);
    assert_int_equal(w.rip, X86_NATIVE_CODE + 0x1042);
}

static void code_of_32_bits_runs(void **unused)
{
    struct x86_world w;
    if (!x86_native_has_32(get_native())) {
        print_message("# this kernel has no 32-bit code segment\n");
        skip();
    }
    x86_world_init(&w);
    w.gpr[X86_RAX] = 0x2c;
    struct x86_end e = RUN(32, &w, 0x27); /* daa */
    assert_int_equal(e.vector, X86_NATIVE_ENDED);
    assert_int_equal(w.gpr[X86_RAX], 0x32);
}

static void forbidden_code_ends_the_child_alone(void **unused)
{
    struct x86_world w;
    x86_world_init(&w);
    w.gpr[X86_RAX] = 39; /* getpid */
    assert_int_equal(RUN(64, &w, 0x0f, 0x05).vector, X86_NATIVE_LOST);
    x86_world_init(&w);
    assert_int_equal(RUN(64, &w, 0x40, 0x90).vector, X86_NATIVE_ENDED);
    assert_int_equal(RUN(64, &w, 0xeb, 0xfe).vector, X86_NATIVE_LOST);
    x86_world_init(&w);
    assert_int_equal(RUN(64, &w, 0x40, 0x90).vector, X86_NATIVE_ENDED);
}

static int drop_native(void **unused)
{
    x86_native_free(native);
    return 0;
}

int main(void)
{
    const struct CMUnitTest facts[] = {
        cmocka_unit_test(registers_and_flags_come_back),
        cmocka_unit_test(memory_and_vectors_come_back),
        cmocka_unit_test(x87_state_goes_in_and_comes_out),
        cmocka_unit_test(faults_have_vector_error_and_address),
        cmocka_unit_test(jumps_are_seen),
        cmocka_unit_test(code_of_32_bits_runs),
        cmocka_unit_test(forbidden_code_ends_the_child_alone),
    };
    return cmocka_run_group_tests(facts, NULL, drop_native);
}
