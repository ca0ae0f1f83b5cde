/* Disassembly, with whatever library this build has. */
#include "core/disas.h"
#include "core/util.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#include <cmocka.h>

static void lengths_are_right_on_every_isa(void **unused)
{
    static const struct {
        const char *isa;
        uint8_t code[8];
        size_t length;
    } cases[] = {
        { "riscv64", { 0x13, 0x05, 0x10, 0x00 }, 4 },       /* addi a0, zero, 1 */
        { "riscv64", { 0x05, 0x45, 0x13, 0x05 }, 2 },       /* c.li a0, 1 */
        { "aarch64", { 0x20, 0x00, 0x80, 0xd2, 0x1f }, 4 }, /* mov x0, #1 */
        { "x86_64", { 0x48, 0x89, 0xd8, 0x90 }, 3 },        /* mov %rbx, %rax */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char line[80];
        struct disas *d = disas_new(cases[i].isa);
        size_t n = disas_insn(d, cases[i].code, sizeof(cases[i].code), 0x1000, line, sizeof(line));
        if (strncmp(line, ".byte", 5)) /* only x86 cannot be measured without a library */
            assert_int_equal(n, cases[i].length);
        disas_free(d);
    }
}

static void bytes_that_are_no_instruction_are_printed(void **unused)
{
    char line[80];
    const uint8_t none[] = { 0xff, 0xff, 0xff, 0xff };
    struct disas *d = disas_new("riscv64");
    assert_int_equal(disas_insn(d, none, 4, 0, line, sizeof(line)), 4);
    assert_string_equal(line, ".word 0xffffffff");
    assert_int_equal(disas_insn(d, none, 1, 0, line, sizeof(line)), 1);
    assert_string_equal(line, ".byte 0xff");
    disas_free(d);
}

static void unknown_isa_prints_bytes(void **unused)
{
    char line[80];
    const uint8_t code[] = { 0x12 };
    struct disas *d = disas_new("pdp11");
    assert_int_equal(disas_insn(d, code, 1, 0, line, sizeof(line)), 1);
    assert_string_equal(line, ".byte 0x12");
    disas_free(d);
}

static void count(void *opaque, const char *line)
{
    ++*(unsigned *)opaque;
}

static void blocks_are_covered_to_the_end(void **unused)
{
    const uint8_t code[] = { 0x05, 0x45, 0x13, 0x05, 0x10, 0x00, 0x13 };
    unsigned n = 0;
    struct disas *d = disas_new("riscv64");
    disas_block(d, code, sizeof(code), 0x80000000, count, &n);
    assert_int_equal(n, 3);
    disas_free(d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_right_on_every_isa),
        cmocka_unit_test(bytes_that_are_no_instruction_are_printed),
        cmocka_unit_test(unknown_isa_prints_bytes),
        cmocka_unit_test(blocks_are_covered_to_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
