/* The RISC-V tables against themselves, GNU objdump and capstone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/error.h"
#include "tandem-config.h"
#include "target/riscv/insns.h"
#include "tcg/softfloat.h"

#ifdef HAVE_CAPSTONE
#include <capstone/capstone.h>
#endif

static uint64_t random_state = 88172645463325252u;

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du;
}

static struct decoder *decoder_with(unsigned width, uint64_t features)
{
    struct insn_table tables[RV_MAX_TABLES];
    return decoder_new(tables, riscv_insn_tables(width, tables), width, features);
}

/* ---- the tables alone ---------------------------------------------------------------------------- */

static void no_line_overlaps_another(void **unused)
{
    for (unsigned width = 16; width <= 32; width += 16) {
        struct decoder *d = decoder_with(width, ~(uint64_t)0);
        struct error *err = decoder_check(d);
        if (err)
            fail_msg("%s", error_text(err));
        decoder_free(d);
    }
}

static void every_line_is_found_by_its_encodings(void **unused)
{
    for (unsigned width = 16; width <= 32; width += 16) {
        struct decoder *d = decoder_with(width, ~(uint64_t)0);
        for (int line = 0; line < (int)decoder_n_lines(d); line++) {
            unsigned n_own = 0;
            for (int i = 0; i < 200; i++) {
                int found = decoder_find(d, decoder_random(d, line, random_u64()));
                uint32_t mask, value, found_mask, found_value;
                assert_true(found >= 0);
                decoder_fixed(d, line, &mask, &value);
                decoder_fixed(d, found, &found_mask, &found_value);
                assert_true((mask & found_mask) == mask && (found_value & mask) == value);
                n_own += found == line;
            }
            assert_true(n_own > 0);
        }
        decoder_free(d);
    }
}

/* The tree finds what looking at every line finds. */
static void tree_agrees_with_the_tables(void **unused)
{
    struct decoder *d = decoder_with(16, ~(uint64_t)0);
    for (uint32_t word = 0; word < 0x10000; word++) {
        int widest = -1, most = -1;
        for (int line = 0; line < (int)decoder_n_lines(d); line++) {
            uint32_t mask, value;
            decoder_fixed(d, line, &mask, &value);
            if ((word & mask) == value && __builtin_popcount(mask) > most)
                widest = line, most = __builtin_popcount(mask);
        }
        int found = decoder_find(d, word);
        assert_true(found == widest || (found < 0 && decoder_insn(d, widest)->not_zero));
    }
    decoder_free(d);
}

static const char *name_of(const struct decoder *d, uint32_t word)
{
    int line = decoder_find(d, word);
    return line < 0 ? "illegal" : decoder_insn(d, line)->name;
}

static void instructions_of_absent_extensions_are_illegal(void **unused)
{
    struct decoder *base = decoder_with(32, EXT(I));
    struct decoder *some = decoder_with(32, EXT(I) | EXT(M) | EXT(ZBKB));
    struct decoder *all = decoder_with(32, ~(uint64_t)0);
    struct decoder *no_c = decoder_with(16, EXT(I) | EXT(D));
    assert_string_equal(name_of(base, 0x02b50533), "illegal");
    assert_string_equal(name_of(some, 0x02b50533), "mul");
    assert_string_equal(name_of(base, 0x02b575b3), "illegal");
    assert_string_equal(name_of(some, 0x40b575b3), "andn");  /* in Zbb and in Zbkb */
    assert_string_equal(name_of(some, 0x0805453b), "packw"); /* zext.h, which Zbb would give */
    assert_string_equal(name_of(all, 0x0805453b), "zext.h");
    assert_string_equal(name_of(base, 0x0100000f), "fence");
    assert_string_equal(name_of(all, 0x0100000f), "pause");
    assert_string_equal(name_of(no_c, 0x4501), "illegal");
    decoder_free(base);
    decoder_free(some);
    decoder_free(all);
    decoder_free(no_c);
}

static void zeros_and_ones_are_illegal(void **unused)
{
    struct decoder *d16 = decoder_with(16, ~(uint64_t)0), *d32 = decoder_with(32, ~(uint64_t)0);
    assert_string_equal(name_of(d16, 0), "illegal");
    assert_string_equal(name_of(d32, ~0u), "illegal");
    decoder_free(d16);
    decoder_free(d32);
}

static void scattered_immediates_come_together(void **unused)
{
    struct decoder *d16 = decoder_with(16, ~(uint64_t)0), *d32 = decoder_with(32, ~(uint64_t)0);
    struct operands o;
    decoder_operands(d32, decoder_find(d32, 0xfe628ae3), 0xfe628ae3, &o); /* beq x5,x6,.-12 */
    assert_int_equal(o.imm, -12);
    assert_int_equal(o.a, 5);
    assert_int_equal(o.b, 6);
    decoder_operands(d32, decoder_find(d32, 0x800000ef), 0x800000ef, &o); /* jal x1,.-1048576 */
    assert_int_equal(o.imm, -1048576);
    assert_int_equal(o.d, 1);
    decoder_operands(d16, decoder_find(d16, 0x7139), 0x7139, &o); /* c.addi16sp sp,-64 */
    assert_int_equal(o.imm, -64);
    assert_int_equal(o.a, 2);
    assert_int_equal(o.d, 2);
    decoder_operands(d16, decoder_find(d16, 0x8c89), 0x8c89, &o); /* c.sub x9,x10 */
    assert_int_equal(o.d, 9);
    assert_int_equal(o.a, 9);
    assert_int_equal(o.b, 10);
    decoder_free(d16);
    decoder_free(d32);
}

static void operands_go_back_into_the_encoding(void **unused)
{
    for (unsigned width = 16; width <= 32; width += 16) {
        struct decoder *d = decoder_with(width, ~(uint64_t)0);
        for (int line = 0; line < (int)decoder_n_lines(d); line++) {
            for (int i = 0; i < 50; i++) {
                uint32_t word = decoder_random(d, line, random_u64());
                struct operands o;
                decoder_operands(d, line, word, &o);
                assert_int_equal(decoder_encode(d, line, &o), word);
            }
        }
        decoder_free(d);
    }
}

/* ---- against objdump ------------------------------------------------------------------------------ */

static const char march[] = "rv64gc_zba_zbb_zbc_zbs_zbkb_zbkc_zbkx_zknd_zkne_zknh_zksed_zksh_zfh_"
                            "zicbom_zicbop_zicboz_zawrs_svinval_zihintpause";
/* What these binutils do not know yet. */
static const uint64_t known_features = ~(EXT(ZICOND) | EXT(ZCB));

/* Registers in the order objdump prints them, and the last number; a branch's is its address. */
struct printed {
    char name[32];
    int regs[6];
    unsigned n_regs;
    bool has_number;
    int64_t number;
};

static void add_reg(struct printed *p, int r)
{
    if (p->n_regs < ARRAY_LEN(p->regs))
        p->regs[p->n_regs++] = r;
}

static bool has_letter(const struct insn *insn, char c)
{
    return strchr(insn->bits, c) || strchr(insn->bits, c & ~0x20);
}

static bool starts(const char *s, const char *with)
{
    return strncmp(s, with, strlen(with)) == 0;
}

/* What objdump would print. */
static void expect_printed(const struct decoder *d, int line, uint32_t word, uint64_t pc,
                           struct printed *p)
{
    const struct insn *insn = decoder_insn(d, line);
    struct operands o;
    decoder_operands(d, line, word, &o);
    *p = (struct printed){ 0 };
    static const char *const orders[] = { "", ".rl", ".aq", ".aqrl" };
    bool is_lr_sc = starts(insn->name, "lr.") || starts(insn->name, "sc.");
    bool is_atomic = starts(insn->name, "amo") || is_lr_sc;
    snprintf(p->name, sizeof(p->name), "%s%s", insn->name, is_atomic ? orders[o.m] : "");
    if (starts(insn->name, "fence"))
        return;
    bool both = has_letter(insn, 'x');
    bool to_d = has_letter(insn, 'd') || both || insn->d == 2;
    bool from_a =
        (has_letter(insn, 'a') && !both) || (insn->a && !both && insn->translate != tr_jal);
    bool from_b = has_letter(insn, 'b');
    bool is_store = from_b && has_letter(insn, 'i') && !to_d && insn->kind != INSN_BRANCH;
    bool csr_number = starts(insn->name, "csrr") && insn->name[strlen(insn->name) - 1] == 'i';
    if (insn->d == 2)
        from_a = false;
    if (to_d)
        add_reg(p, o.d);
    if (from_b && (is_store || is_atomic))
        add_reg(p, o.b);
    if (from_a && !csr_number)
        add_reg(p, o.a);
    if (from_b && !is_store && !is_atomic)
        add_reg(p, o.b);
    if (strchr(insn->bits, 'c') && from_b)
        add_reg(p, o.c);
    if (starts(insn->name, "csrr")) {
        p->has_number = csr_number;
        p->number = o.a;
        return;
    }
    p->has_number = insn->imm || strchr(insn->bits, 'n');
    p->number = insn->imm ? o.imm : o.n;
    if (insn->kind == INSN_BRANCH || insn->translate == tr_jal)
        p->number += (int64_t)pc;
    if (strstr(insn->name, "lui") || strcmp(insn->name, "auipc") == 0)
        p->number = o.imm >> 12 & 0xfffff;
}

/* Take one operand text apart. */
static void read_operand(char *s, struct printed *p, bool may_be_target)
{
    char *inner = strchr(s, '('), *end;
    if (inner) {
        *inner++ = '\0';
        inner[strcspn(inner, ")")] = '\0';
    }
    if ((*s == 'x' || (*s == 'f' && !may_be_target)) && s[1] >= '0' && s[1] <= '9') {
        add_reg(p, atoi(s + 1));
    } else if (*s) {
        int64_t v = may_be_target ? (int64_t)strtoull(s, &end, 16) : strtoll(s, &end, 0);
        if (end != s && !*end) {
            p->has_number = true;
            p->number = v;
        }
    }
    if (inner)
        read_operand(inner, p, false);
}

static void read_printed(char *text, bool is_branch, struct printed *p)
{
    *p = (struct printed){ 0 };
    text[strcspn(text, "<#\n")] = '\0';
    char *operands = text + strcspn(text, " \t");
    if (*operands)
        *operands++ = '\0';
    snprintf(p->name, sizeof(p->name), "%.31s", text);
    if (starts(p->name, "fence"))
        return;
    operands += strspn(operands, " \t");
    for (char *s = strtok(operands, ", \t"); s; s = strtok(NULL, ", \t"))
        read_operand(s, p, is_branch);
}

/* Encodings whose reading differs for a reason. */
static bool is_excused(const char *theirs)
{
    static const char *const not_ours[] = { "dret",      "uret",     "mnret",    "hfence",
                                            "hinval",    "hlv",      "hlvx",     "hsv",
                                            "sfence.vm", "hret",     "ntl",      "c.ntl",
                                            "c.unimp",   "c.slli64", "c.srli64", "c.srai64" };
    for (size_t i = 0; i < ARRAY_LEN(not_ours); i++)
        if (starts(theirs, not_ours[i]) && strcmp(theirs, "sfence.vma") != 0)
            return true;
    return false;
}

/* Reserved fields of fences are ignored (unpriv 2.7), and exact conversions take any rounding mode. */
static bool takes_more(const struct insn *insn)
{
    static const char *const names[] = { "fence", "fcvt.d.w", "fcvt.d.s", "fcvt.d.h", "fcvt.s.h" };
    for (size_t i = 0; insn && i < ARRAY_LEN(names); i++)
        if (starts(insn->name, names[i]))
            return true;
    return false;
}

static bool is_unknown(const char *name)
{
    return name[0] == '.' || starts(name, "0x") || strcmp(name, "unimp") == 0;
}

struct sample {
    uint32_t word;
    unsigned len;
};

static size_t make_samples(struct sample *out, size_t room)
{
    size_t n = 0;
    for (unsigned width = 16; width <= 32; width += 16) {
        struct decoder *d = decoder_with(width, known_features);
        for (int line = 0; line < (int)decoder_n_lines(d); line++)
            for (int i = 0; i < 30 && n < room; i++)
                out[n++] = (struct sample){ decoder_random(d, line, random_u64()), width / 8 };
        for (int i = 0; i < 10000 && n < room; i++) {
            uint32_t word = (uint32_t)random_u64();
            if (width == 16 && (word & 3) != 3)
                out[n++] = (struct sample){ word & 0xffff, 2 };
            if (width == 32 && (word & 0x1c) != 0x1c)
                out[n++] = (struct sample){ word | 3, 4 };
        }
        decoder_free(d);
    }
    return n;
}

static bool have_tool(const char *name)
{
    char command[100];
    snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", name);
    return system(command) == 0;
}

static FILE *disassemble(const char *dir, const struct sample *samples, size_t n)
{
    char path[200], command[900];
    snprintf(path, sizeof(path), "%s/s.s", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (size_t i = 0; i < n; i++)
        fprintf(f, ".insn %#x\n", samples[i].word);
    fclose(f);
    snprintf(command, sizeof(command),
             "riscv64-linux-gnu-as -march=%s -o %s/s.o %s/s.s && riscv64-linux-gnu-objdump -d "
             "-M no-aliases,numeric %s/s.o",
             march, dir, dir, dir);
    return popen(command, "r");
}

/* Does objdump's text say what our tables say? */
static bool agrees(const struct decoder *d, const struct sample *s, uint64_t pc, char *text)
{
    struct printed theirs, ours;
    int line = decoder_find(d, s->word);
    const struct insn *insn = line < 0 ? NULL : decoder_insn(d, line);
    read_printed(text, insn && (insn->kind == INSN_BRANCH || insn->kind == INSN_JUMP), &theirs);
    if (is_excused(theirs.name))
        return true;
    if (!insn || is_unknown(theirs.name))
        return !insn == is_unknown(theirs.name) || takes_more(insn);
    expect_printed(d, line, s->word, pc, &ours);
    if (strcmp(ours.name, theirs.name) != 0 || ours.n_regs != theirs.n_regs ||
        memcmp(ours.regs, theirs.regs, sizeof(ours.regs)) != 0)
        return false;
    int64_t number = theirs.has_number ? theirs.number : 0; /* an offset of 0 may be left out */
    return !ours.has_number || ours.number == number;
}

static void objdump_reads_the_same(void **unused)
{
    if (!have_tool("riscv64-linux-gnu-objdump") || !have_tool("riscv64-linux-gnu-as")) {
        print_message("# not compared: no riscv64-linux-gnu binutils\n");
        return;
    }
    enum { ROOM = 50000 };
    struct sample *samples = calloc(ROOM, sizeof(*samples));
    struct decoder *d16 = decoder_with(16, known_features), *d32 = decoder_with(32, known_features);
    size_t n = make_samples(samples, ROOM), seen = 0, bad = 0;
    char dir[] = "/tmp/riscv-decode-XXXXXX", text[400];
    assert_non_null(mkdtemp(dir));
    FILE *f = disassemble(dir, samples, n);
    assert_non_null(f);
    while (fgets(text, sizeof(text), f)) {
        unsigned long long pc;
        unsigned word;
        int at = 0;
        if (sscanf(text, " %llx: %x %n", &pc, &word, &at) != 2 || !at)
            continue;
        assert_true(seen < n && samples[seen].word == word);
        const struct decoder *d = samples[seen].len == 2 ? d16 : d32;
        char copy[400];
        snprintf(copy, sizeof(copy), "%s", text + at);
        if (!agrees(d, &samples[seen++], pc, copy) && bad++ < 10)
            print_error("%#x: ours %s, objdump %s", word, name_of(d, word), text + at);
    }
    pclose(f);
    assert_int_equal(seen, n);
    for (const char *const *name = (const char *const[]){ "s.s", "s.o", NULL }; *name; name++) {
        char path[200];
        snprintf(path, sizeof(path), "%s/%s", dir, *name);
        unlink(path);
    }
    rmdir(dir);
    decoder_free(d16);
    decoder_free(d32);
    free(samples);
    assert_int_equal(bad, 0);
}

/* ---- against capstone ------------------------------------------------------------------------------- */

#if defined(HAVE_CAPSTONE) && CS_API_MAJOR >= 5
/* Capstone knows G and C. Its names are those of the instructions, not of what they look like. */
static void capstone_reads_the_same(void **unused)
{
    const uint64_t known =
        EXT(I) | EXT(M) | EXT(A) | EXT(F) | EXT(D) | EXT(C) | EXT(ZICSR) | EXT(ZIFENCEI);
    csh cs;
    assert_int_equal(cs_open(CS_ARCH_RISCV, CS_MODE_RISCV64 | CS_MODE_RISCVC, &cs), CS_ERR_OK);
    for (unsigned width = 16; width <= 32; width += 16) {
        struct decoder *d = decoder_with(width, known);
        for (int line = 0; line < (int)decoder_n_lines(d); line++) {
            for (int i = 0; i < 30; i++) {
                uint32_t word = decoder_random(d, line, random_u64());
                const struct insn *insn = decoder_insn(d, decoder_find(d, word));
                cs_insn *theirs = NULL;
                size_t n = cs_disasm(cs, (const uint8_t *)&word, width / 8, 0, 1, &theirs);
                /* Reserved rounding modes, hints and unknown CSRs are unknown to it. */
                if (n) {
                    char name[32];
                    snprintf(name, sizeof(name), "%s", cs_insn_name(cs, theirs->id));
                    size_t len = strlen(insn->name);
                    bool ordered = strncmp(name, insn->name, len) == 0 && name[len] == '.';
                    bool nop = strcmp(name, "c.nop") == 0 && strcmp(insn->name, "c.addi") == 0;
                    if (strcmp(name, insn->name) != 0 && !ordered && !nop)
                        fail_msg("%#x: ours %s, capstone %s", word, insn->name, name);
                    cs_free(theirs, n);
                }
            }
        }
        decoder_free(d);
    }
    cs_close(&cs);
}
#define WITH_CAPSTONE cmocka_unit_test(capstone_reads_the_same),
#else
#define WITH_CAPSTONE
#endif

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(no_line_overlaps_another),
                                        cmocka_unit_test(every_line_is_found_by_its_encodings),
                                        cmocka_unit_test(tree_agrees_with_the_tables),
                                        cmocka_unit_test(
                                            instructions_of_absent_extensions_are_illegal),
                                        cmocka_unit_test(zeros_and_ones_are_illegal),
                                        cmocka_unit_test(scattered_immediates_come_together),
                                        cmocka_unit_test(operands_go_back_into_the_encoding),
                                        cmocka_unit_test(objdump_reads_the_same),
                                        WITH_CAPSTONE };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
