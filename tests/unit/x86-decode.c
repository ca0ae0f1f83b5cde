/* The x86 tables against themselves and capstone. */
#include "core/util.h"
#include "target/x86_64/decode.h"
#include "target/x86_64/model.h"
#include "target/x86_64/tr.h"
#include "tests/unit/x86_capstone.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t random_u64(void *opaque)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1du;
}

static uint32_t word_of(unsigned bits)
{
    return X86_TR_PE | (bits == 64   ? X86_TR_CODE64
                        : bits == 32 ? X86_TR_CODE32 | X86_TR_STACK32
                                     : 0);
}

/* A CPU that has everything. */
static struct x86_decoder *full_decoder(void)
{
    struct x86_model m = { 0 };
    memset(m.words, 0xff, sizeof(m.words));
    return x86_decoder_new(&m);
}

static enum x86_decoded decode(struct x86_decoder *d, uint32_t word, struct x86_insn *i, size_t n,
                               const uint8_t *bytes)
{
    return x86_decode(d, word, bytes, n, i);
}
#define DECODE(d, bits, i, ...)                                           \
    decode(d, word_of(bits), i, sizeof((const uint8_t[]){ __VA_ARGS__ }), \
           (const uint8_t[]){ __VA_ARGS__ })

/* ---- the tables alone ---------------------------------------------------------------------------- */

static void every_line_is_found_by_its_encodings(void **unused)
{
    struct x86_decoder *d = full_decoder();
    uint8_t bytes[X86_MAX_INSN];
    for (size_t line = 0; line < x86_decoder_n_lines(d); line++) {
        unsigned n = 0;
        for (unsigned k = 0; k < 600 && !n; k++)
            n = x86_decoder_random(d, line, word_of(k & 1 ? 64 : 32), random_u64, NULL, bytes);
        if (!n)
            fail_msg("%s %s is never found", x86_decoder_line(d, line)->name,
                     x86_decoder_line(d, line)->encoding);
    }
    x86_decoder_free(d);
}

static void prefixes_choose_sizes(void **unused)
{
    struct x86_decoder *d = full_decoder();
    struct x86_insn i;
    assert_int_equal(DECODE(d, 64, &i, 0x66, 0x41, 0x01, 0xc8), X86_DECODED); /* add %cx, %r8w */
    assert_int_equal(i.osize, 2);
    assert_int_equal(i.op[0].reg, 8);
    assert_int_equal(DECODE(d, 64, &i, 0x48, 0x66, 0x01, 0xc8), X86_DECODED); /* this REX is lost */
    assert_int_equal(i.osize, 2);
    assert_int_equal(DECODE(d, 64, &i, 0x66, 0x48, 0x01, 0xc8), X86_DECODED);
    assert_int_equal(i.osize, 8);
    assert_int_equal(DECODE(d, 64, &i, 0x50), X86_DECODED); /* push %rax */
    assert_int_equal(i.op[0].size, 8);
    assert_int_equal(DECODE(d, 16, &i, 0x66, 0x67, 0x8b, 0x44, 0x24, 0x04), X86_DECODED);
    assert_int_equal(i.osize, 4);
    assert_int_equal(i.asize, 4);
    assert_int_equal(i.base, X86_RSP);
    assert_int_equal(i.seg, X86_SS);
    assert_int_equal(i.disp, 4);
    assert_int_equal(DECODE(d, 16, &i, 0x2e, 0x8b, 0x46, 0xfe), X86_DECODED); /* %cs:-2(%bp) */
    assert_int_equal(i.seg, X86_CS);
    assert_int_equal(i.base, X86_RBP);
    assert_int_equal(i.disp, -2);
    x86_decoder_free(d);
}

static void byte_registers_depend_on_rex(void **unused)
{
    struct x86_decoder *d = full_decoder();
    struct x86_insn i;
    assert_int_equal(DECODE(d, 64, &i, 0x88, 0xe0), X86_DECODED); /* mov %ah, %al */
    assert_true(i.op[1].high);
    assert_int_equal(i.op[1].reg, X86_RAX);
    assert_int_equal(DECODE(d, 64, &i, 0x40, 0x88, 0xe0), X86_DECODED); /* mov %spl, %al */
    assert_false(i.op[1].high);
    assert_int_equal(i.op[1].reg, X86_RSP);
    x86_decoder_free(d);
}

static void illegal_and_long_ones_are_told_apart(void **unused)
{
    struct x86_decoder *d = full_decoder();
    struct x86_insn i;
    uint8_t many[16];
    memset(many, 0x66, 15);
    many[15] = 0x90;
    assert_int_equal(x86_decode(d, word_of(64), many, 16, &i), X86_TOO_LONG);
    assert_int_equal(x86_decode(d, word_of(64), many, 14, &i), X86_TRUNCATED);
    assert_int_equal(x86_decode(d, word_of(64), many + 1, 15, &i), X86_DECODED);
    assert_int_equal(DECODE(d, 64, &i, 0xf0, 0x01, 0xc8), X86_ILLEGAL); /* lock add, no memory */
    assert_int_equal(DECODE(d, 64, &i, 0xf0, 0x01, 0x08), X86_DECODED);
    assert_int_equal(DECODE(d, 64, &i, 0xf0, 0x8b, 0x08), X86_ILLEGAL); /* lock mov */
    assert_int_equal(DECODE(d, 64, &i, 0x06), X86_ILLEGAL);             /* push %es */
    assert_int_equal(DECODE(d, 64, &i, 0x8d, 0xc0), X86_ILLEGAL);       /* lea of a register */
    assert_int_equal(DECODE(d, 64, &i, 0x66, 0xc4, 0xe2, 0x78, 0xf2, 0xc0), X86_ILLEGAL);
    assert_int_equal(DECODE(d, 64, &i, 0xc4, 0xe2, 0x78, 0xf2, 0xc0), X86_DECODED); /* andn */
    assert_int_equal(x86_decode(d, 0, (const uint8_t[]){ 0xc4, 0xe2, 0x78, 0xf2, 0xc0 }, 5, &i),
                     X86_ILLEGAL); /* not in real mode */
    x86_decoder_free(d);
}

static void absent_features_are_illegal_or_something_else(void **unused)
{
    struct x86_model m = { 0 };
    struct x86_decoder *d = x86_decoder_new(&m);
    struct x86_insn i;
    assert_int_equal(DECODE(d, 64, &i, 0xf3, 0x0f, 0xb8, 0xc0), X86_ILLEGAL); /* popcnt */
    assert_int_equal(DECODE(d, 64, &i, 0xf3, 0x0f, 0xbc, 0xc0), X86_DECODED); /* tzcnt */
    assert_string_equal(i.line->name, "bsf");
    x86_decoder_free(d);
}

/* ---- against capstone ------------------------------------------------------------------------------ */

/* A name in the table stands for all sizes; capstone has one for each. */
static bool is_name(const char *ours, const char *theirs)
{
    static const char *const same[][6] = {
        { "cwde", "cbw", "cdqe" },
        { "cdq", "cwd", "cqo" },
        { "movsd", "movsw", "movsq" },
        { "cmpsd", "cmpsw", "cmpsq" },
        { "stosd", "stosw", "stosq" },
        { "lodsd", "lodsw", "lodsq" },
        { "scasd", "scasw", "scasq" },
        { "pushal", "pushaw" },
        { "popal", "popaw" },
        { "jrcxz", "jecxz", "jcxz" },
        { "mov", "movabs" },
        { "ret", "retf" },
        { "shl", "sal" },
        { "xchg", "nop" },
        { "nop", "endbr64", "endbr32", "rdsspd", "rdsspq" },
        { "prefetch", "prefetchw", "prefetchwt1" },
        { "movsxd", "movsx", "movslq" },
        /* Where capstone forgets the prefix, in 16-bit code. */
        { "crc32", "movbe" },
        { "lzcnt", "bsr" },
        { "tzcnt", "bsf" },
        { "popcnt", "bsf" },
        { "clflushopt", "clflush" },
        { "clflush", "clflushopt" },
        { "clwb", "xsaveopt" },
        { "sfence", "pcommit" },
        { "pause", "xchg", "nop" },
        /* Where capstone 5 does. */
        { "adcx", "wrssd", "wrssq" },
        { "mfence", "tpause" },
        { "lfence", "tpause" },
    };
    if (strcmp(ours, theirs) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(same); i++)
        for (unsigned k = 1; k < 6 && same[i][k] && !strcmp(ours, same[i][0]); k++)
            if (!strcmp(theirs, same[i][k]))
                return true;
    return !strcmp(ours, "nop"); /* hints have many names */
}

static bool is_in(const struct x86_insn_table *tables, const struct x86_line *line)
{
    for (; tables->at; tables++)
        if (line >= tables->at && line < tables->at + tables->n)
            return true;
    return false;
}

static bool checks_name(const struct x86_line *line)
{
    return is_in(x86_int_tables, line) || is_in(x86_bit_tables, line) ||
           is_in(x86_jump_tables, line) || is_in(x86_string_tables, line);
}

/* Capstone's reading differs: 66 and near jumps as AMD has them, F2 and F3 in front of what does not take them,
 * repeated prefixes. */
static bool is_excused(const struct x86_insn *i)
{
    return !strncmp(i->line->name, "ud", 2) ||
           (i->line->flags & X86_F64 && i->prefixes & (X86_PFX_66 | X86_PFX_67)) ||
           (i->prefixes & X86_PFX_66 && i->rex & 8);
}

static void compare(struct x86_decoder *d, unsigned bits, size_t line, unsigned *bad)
{
    uint8_t bytes[X86_MAX_INSN];
    struct x86_insn i;
    char name[32];
    unsigned n = x86_decoder_random(d, line, word_of(bits), random_u64, NULL, bytes), theirs;
    if (!n || x86_decode(d, word_of(bits), bytes, n, &i) != X86_DECODED || is_excused(&i))
        return;
    theirs = capstone_x86(bits, bytes, n, name, sizeof(name));
    if (!theirs) /* what it does not know proves nothing */
        return;
    if (theirs == n && (!checks_name(i.line) || is_name(i.line->name, name)))
        return;
    static const char *last;
    static unsigned n_last;
    n_last = last == i.line->name ? n_last + 1 : 0;
    last = i.line->name;
    ++*bad;
    if (n_last < 3) {
        printf("# %u bits:", bits);
        for (unsigned k = 0; k < n; k++)
            printf(" %02x", bytes[k]);
        printf(": %s, %u bytes; capstone: %s, %u bytes\n", i.line->name, n, name, theirs);
    }
}

static void capstone_reads_the_same(void **unused)
{
    struct x86_decoder *d = full_decoder();
    unsigned bad = 0;
    for (unsigned bits = 16; bits <= 64; bits *= 2)
        for (size_t line = 0; line < x86_decoder_n_lines(d); line++)
            for (unsigned k = 0; k < 30; k++)
                compare(d, bits, line, &bad);
    x86_decoder_free(d);
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_is_found_by_its_encodings),
        cmocka_unit_test(prefixes_choose_sizes),
        cmocka_unit_test(byte_registers_depend_on_rex),
        cmocka_unit_test(illegal_and_long_ones_are_told_apart),
        cmocka_unit_test(absent_features_are_illegal_or_something_else),
        cmocka_unit_test(capstone_reads_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
