/* The IR: what the builder folds, what the passes drop, text in and out, the verifier. The files in
 * tests/unit/ir/ are a unit, a line `---`, and what it is after the passes. */
#include "tcg/ir.h"
#include "core/error.h"
#include "core/util.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { X0, X1, X2, X3, F0 = 8, V0 = 12 };
static const struct ir_slot slots[] = {
    { "x0", 0, IR_I64, 1 },   { "x1", 8, IR_I64, 1 },    { "x2", 16, IR_I64, 1 },
    { "x3", 24, IR_I64, 1 },  { "x4", 32, IR_I64, 1 },   { "x5", 40, IR_I64, 1 },
    { "x6", 48, IR_I64, 1 },  { "x7", 56, IR_I64, 1 },   { "f0", 64, IR_F64, 1 },
    { "f1", 72, IR_F64, 1 },  { "f2", 80, IR_F64, 1 },   { "f3", 88, IR_F64, 1 },
    { "q0", 96, IR_V128, 1 }, { "q1", 112, IR_V128, 0 },
};

static void nothing(void)
{
}

static const struct ir_helper pure2 = { "pure2", nothing, 2, true, IR_CALL_PURE };
static const struct ir_helper reads = { "reads", nothing, 0, true, IR_CALL_READS };
static const struct ir_helper writes = { "writes", nothing, 1, false, IR_CALL_WRITES };
static const struct ir_helper raises = { "raises", nothing, 1, false, IR_CALL_RAISES };
static const struct ir_helper blind = { "blind", nothing, 4, true, 0 };
static const struct ir_helper *const helpers[] = { &pure2, &reads, &writes, &raises, &blind };

static struct ir ir;

static void start(void)
{
    ir_start(&ir, slots, ARRAY_LEN(slots));
    ir_begin_block(&ir, 0);
}

static void finish(void)
{
    ir_leave(&ir, 4);
    ir_finish(&ir);
}

static unsigned count(enum ir_code code)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ir.n_ops; i++)
        n += ir.ops[i].code == code;
    return n;
}

static void assert_const(ir_val v, int64_t expected)
{
    int64_t c;
    assert_true(ir_is_const(&ir, v, &c));
    assert_int_equal(c, expected);
}

/* ---- text ---------------------------------------------------------------------------------------- */

struct text {
    char *at;
    size_t n;
};

static void add_line(void *opaque, const char *line)
{
    struct text *t = opaque;
    size_t n = strlen(line);
    t->at = xrealloc(t->at, t->n + n + 2);
    memcpy(t->at + t->n, line, n);
    memcpy(t->at + t->n + n, "\n", 2);
    t->n += n + 1;
}

static char *text_of(const struct ir *unit)
{
    struct text t = { 0 };
    ir_print(unit, add_line, &t);
    return t.at ? t.at : xstrdup("");
}

static struct error *parse(const char *text)
{
    return ir_parse(&ir, text, slots, ARRAY_LEN(slots), helpers, ARRAY_LEN(helpers));
}

static void must_parse(const char *text)
{
    struct error *err = parse(text);
    if (err)
        fail_msg("%s in\n%s", error_text(err), text);
}

/* ---- the builder ---------------------------------------------------------------------------------- */

static void constants_fold(void **unused)
{
    start();
    assert_const(ir_2(&ir, IR_add, ir_i64(&ir, 40), ir_i64(&ir, 2)), 42);
    assert_const(ir_2(&ir, IR_divs, ir_i64(&ir, 7), ir_i64(&ir, 0)), -1);
    assert_const(ir_2(&ir, IR_divs, ir_i64(&ir, INT64_MIN), ir_i64(&ir, -1)), INT64_MIN);
    assert_const(ir_2(&ir, IR_rems, ir_i64(&ir, INT64_MIN), ir_i64(&ir, -1)), 0);
    assert_const(ir_2(&ir, IR_shl, ir_i64(&ir, 1), ir_i64(&ir, 65)), 2);
    assert_const(ir_1(&ir, IR_clz, ir_const(&ir, IR_I32, 0)), 32);
    assert_const(ir_1(&ir, IR_sext32, ir_const(&ir, IR_I32, -5)), -5);
    assert_const(ir_1(&ir, IR_zext32, ir_const(&ir, IR_I32, -5)), 0xfffffffb);
    assert_const(ir_setc(&ir, IR_LTU, ir_i64(&ir, 1), ir_i64(&ir, -1)), 1);
    assert_const(ir_setc(&ir, IR_LT, ir_i64(&ir, 1), ir_i64(&ir, -1)), 0);
}

static void an_i32_constant_is_kept_sign_extended(void **unused)
{
    start();
    assert_const(ir_const(&ir, IR_I32, 0xffffffff), -1);
    assert_const(ir_1(&ir, IR_trunc, ir_i64(&ir, 0x180000000)), INT32_MIN);
    ir_val a = ir_2(&ir, IR_shl, ir_const(&ir, IR_I32, 1), ir_const(&ir, IR_I32, 31));
    assert_const(a, INT32_MIN);
}

static void equal_constants_are_one_value(void **unused)
{
    start();
    assert_int_equal(ir_i64(&ir, 5), ir_i64(&ir, 5));
    assert_int_not_equal(ir_i64(&ir, 5), ir_const(&ir, IR_I32, 5));
}

static void identities_give_their_operand(void **unused)
{
    start();
    ir_val x = ir_get(&ir, X1);
    assert_int_equal(ir_2i(&ir, IR_add, x, 0), x);
    assert_int_equal(ir_2i(&ir, IR_sub, x, 0), x);
    assert_int_equal(ir_2i(&ir, IR_and, x, -1), x);
    assert_int_equal(ir_2i(&ir, IR_shl, x, 64), x);
    assert_int_equal(ir_2i(&ir, IR_mul, x, 1), x);
    assert_int_equal(ir_2(&ir, IR_or, x, x), x);
    assert_const(ir_2(&ir, IR_xor, x, x), 0);
    assert_const(ir_2i(&ir, IR_and, x, 0), 0);
    ir_val w = ir_1(&ir, IR_trunc, x);
    assert_int_equal(ir_2i(&ir, IR_shr, w, 32), w);
    assert_int_not_equal(ir_2i(&ir, IR_shr, x, 32), x);
}

static void additions_of_constants_join(void **unused)
{
    start();
    ir_val v = ir_2i(&ir, IR_sub, ir_2i(&ir, IR_add, ir_get(&ir, X1), 40), 8);
    assert_int_equal(ir.ops[v].code, IR_add);
    assert_int_equal(ir.ops[v].a, ir_get(&ir, X1));
    assert_const(ir.ops[v].b, 32);
    ir_val pc = ir_2i(&ir, IR_add, ir_pc(&ir, 0x10), 0x20);
    assert_int_equal(ir.ops[pc].code, IR_pc);
    assert_int_equal(ir.ops[pc].imm, 0x30);
}

static void extensions_of_extended_values_vanish(void **unused)
{
    start();
    ir_val wide = ir_load(&ir, IR_I64, ir_get(&ir, X1), 0, IR_32 | IR_SIGNED, 0);
    assert_int_equal(ir_1(&ir, IR_sext32, ir_1(&ir, IR_trunc, wide)), wide);
    assert_int_not_equal(ir_1(&ir, IR_zext32, ir_1(&ir, IR_trunc, wide)), wide);
    ir_val set = ir_setc(&ir, IR_EQ, wide, ir_get(&ir, X2));
    assert_int_equal(ir_1(&ir, IR_zext32, ir_1(&ir, IR_trunc, set)), set);
    ir_val f = ir_get(&ir, F0);
    assert_int_equal(ir_1(&ir, IR_bitsf, ir_1(&ir, IR_fbits, f)), f);
    ir_val s = ir_1(&ir, IR_funbox, f);
    assert_int_equal(ir_1(&ir, IR_funbox, ir_1(&ir, IR_fbox, s)), s);
}

static void a_pair_of_shifts_is_an_extension(void **unused)
{
    static const struct {
        enum ir_code right;
        unsigned by;
        enum ir_code code;
    } cases[] = {
        { IR_shr, 56, IR_zext8 },  { IR_sar, 56, IR_sext8 },  { IR_shr, 48, IR_zext16 },
        { IR_sar, 48, IR_sext16 }, { IR_shr, 32, IR_zext32 }, { IR_sar, 32, IR_sext32 },
        { IR_shr, 47, IR_shr },
    };
    start();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ir_val up = ir_2i(&ir, IR_shl, ir_get(&ir, X1), cases[i].by);
        assert_int_equal(ir.ops[ir_2i(&ir, cases[i].right, up, cases[i].by)].code, cases[i].code);
        assert_int_equal(ir.ops[ir_2i(&ir, cases[i].right, up, cases[i].by - 1)].code,
                         cases[i].right);
    }
    assert_int_equal(ir.ops[ir_2i(&ir, IR_and, ir_get(&ir, X1), 0xff)].code, IR_zext8);
}

static void extensions_of_what_is_short_enough_are_dropped(void **unused)
{
    start();
    ir_val x = ir_get(&ir, X1), w = ir_1(&ir, IR_zext16, x), b = ir_1(&ir, IR_zext8, x);
    ir_val fits[] = { ir_2i(&ir, IR_shr, w, 8), ir_2i(&ir, IR_and, x, 0x7f),
                      ir_2(&ir, IR_xor, b, ir_2i(&ir, IR_and, w, 0x11)),
                      ir_setc(&ir, IR_LT, x, w) };
    ir_val longer[] = { ir_2i(&ir, IR_shr, w, 7), ir_2i(&ir, IR_and, x, 0x17f),
                        ir_2(&ir, IR_or, b, w), ir_2i(&ir, IR_shl, b, 1),
                        ir_2i(&ir, IR_and, x, -2) };
    for (size_t i = 0; i < ARRAY_LEN(fits); i++) {
        assert_int_equal(ir_1(&ir, IR_zext8, fits[i]), fits[i]);
        assert_int_equal(ir_2i(&ir, IR_and, fits[i], 0xff), fits[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(longer); i++)
        assert_int_not_equal(ir_1(&ir, IR_zext8, longer[i]), longer[i]);
    assert_int_equal(ir_1(&ir, IR_sext32, ir_1(&ir, IR_trunc, w)), w);
    ir_val half = ir_2i(&ir, IR_shr, x, 32);
    assert_int_equal(ir_1(&ir, IR_zext32, ir_1(&ir, IR_trunc, half)), half);
    assert_int_not_equal(ir_1(&ir, IR_sext32, ir_1(&ir, IR_trunc, half)), half);
    ir_val i = ir_load(&ir, IR_I32, x, 0, IR_32, 0);
    ir_val sign = ir_2(&ir, IR_or, ir_1(&ir, IR_sext32, i), w); /* 64 bits from an i32 */
    assert_int_not_equal(ir_1(&ir, IR_zext32, ir_1(&ir, IR_trunc, sign)), sign);
}

static void the_constant_part_of_an_address_becomes_its_offset(void **unused)
{
    start();
    ir_val base = ir_get(&ir, X1);
    ir_val v = ir_load(&ir, IR_I64, ir_2i(&ir, IR_add, base, 16), 8, IR_64, 0);
    assert_int_equal(ir.ops[v].a, base);
    assert_int_equal(ir.ops[v].imm, 24);
}

static void offsets_leave_room_for_the_bytes_behind_them(void **unused)
{
    start();
    ir_val far = ir_2i(&ir, IR_add, ir_get(&ir, X1), 0x7ffffff1);
    ir_val v = ir_load(&ir, IR_I64, far, 8, IR_64, 0);
    assert_int_equal(ir.ops[v].a, far);
    assert_int_equal(ir.ops[v].imm, 8);
}

static void slots_are_forwarded_inside_a_block(void **unused)
{
    start();
    ir_val v = ir_get(&ir, X1);
    assert_int_equal(ir_get(&ir, X1), v);
    ir_set(&ir, X2, v);
    assert_int_equal(ir_get(&ir, X2), v);
    ir_set(&ir, X1, v); /* it holds that already */
    assert_int_equal(count(IR_set), 1);
    ir_begin_block(&ir, 4);
    assert_int_not_equal(ir_get(&ir, X1), v);
}

static void a_writing_helper_ends_forwarding(void **unused)
{
    start();
    ir_val v = ir_get(&ir, X1);
    ir_call(&ir, &raises, v, IR_NONE, IR_NONE, IR_NONE);
    assert_int_equal(ir_get(&ir, X1), v);
    ir_call(&ir, &writes, v, IR_NONE, IR_NONE, IR_NONE);
    assert_int_not_equal(ir_get(&ir, X1), v);
}

static void a_branch_on_constants_is_a_jump(void **unused)
{
    start();
    ir_branch(&ir, IR_GEU, ir_i64(&ir, 3), ir_i64(&ir, 3), 0x40, 8);
    assert_int_equal(count(IR_branch), 0);
    assert_int_equal(ir.ops[ir.n_ops - 1].imm, 0x40);
}

static void a_constant_left_operand_changes_sides(void **unused)
{
    start();
    ir_val x = ir_get(&ir, X1), v = ir_setc(&ir, IR_LT, ir_i64(&ir, 3), x);
    assert_int_equal(ir.ops[v].cc, IR_GT);
    assert_int_equal(ir.ops[v].a, x);
}

static void too_large_a_unit_says_so(void **unused)
{
    start();
    for (int i = 0; i < IR_MAX_OPS + 10; i++)
        ir_set(&ir, X1, ir_2(&ir, IR_add, ir_get(&ir, X1), ir_get(&ir, X2)));
    assert_true(ir.overflow);
    start();
    for (int i = 0; i < IR_MAX_BLOCKS + 10; i++)
        ir_begin_block(&ir, i);
    assert_true(ir.overflow);
    start();
    for (int i = 0; i < IR_MAX_INSNS + 10; i++)
        ir_begin_insn(&ir, i, 4);
    assert_true(ir.overflow);
}

/* ---- passes ------------------------------------------------------------------------------------------ */

static void a_set_nobody_can_see_is_dead(void **unused)
{
    start();
    ir_val a = ir_get(&ir, X1), b = ir_get(&ir, X2);
    ir_set(&ir, X3, ir_2(&ir, IR_mul, a, b));
    ir_set(&ir, X3, ir_2(&ir, IR_add, a, b));
    finish();
    assert_int_equal(count(IR_set), 1);
    assert_int_equal(count(IR_mul), 0);
}

static void a_set_somebody_can_see_stays(void **unused)
{
    for (int what = 0; what < 4; what++) {
        start();
        ir_val a = ir_get(&ir, X1);
        ir_set(&ir, X3, a);
        if (what == 0)
            ir_load(&ir, IR_I64, a, 0, IR_64, 0);
        if (what == 1)
            ir_store(&ir, a, 0, a, IR_64, 0);
        if (what == 2)
            ir_call(&ir, &reads, IR_NONE, IR_NONE, IR_NONE, IR_NONE);
        if (what == 3)
            ir_call(&ir, &raises, a, IR_NONE, IR_NONE, IR_NONE);
        ir_set(&ir, X3, ir_get(&ir, X2));
        finish();
        assert_int_equal(count(IR_set), 2);
    }
}

static void what_is_forgotten_need_not_be_set(void **unused)
{
    for (int look = 0; look < 2; look++) { /* before it is forgotten, or behind that */
        start();
        ir_set(&ir, X3, ir_get(&ir, X2));
        if (!look)
            ir_load(&ir, IR_I64, ir_get(&ir, X1), 0, IR_64, 0);
        ir_forget(&ir, X3);
        if (look)
            ir_load(&ir, IR_I64, ir_get(&ir, X1), 0, IR_64, 0);
        finish();
        assert_int_equal(count(IR_set), !look);
    }
}

static void what_is_forgotten_is_set_anew(void **unused)
{
    start();
    ir_val v = ir_get(&ir, X2);
    ir_set(&ir, X3, v);
    ir_forget(&ir, X3);
    ir_set(&ir, X3, v); /* not what it holds already */
    finish();
    assert_int_equal(count(IR_set), 1);
    assert_int_equal(count(IR_forget), 0);
}

static void unused_values_are_dropped_unless_they_do_something(void **unused)
{
    start();
    ir_val a = ir_get(&ir, X1);
    ir_2(&ir, IR_divu, a, a);
    ir_call(&ir, &pure2, a, a, IR_NONE, IR_NONE);
    ir_load(&ir, IR_I64, a, 0, IR_64, 0);
    ir_2(&ir, IR_fadd, ir_get(&ir, F0), ir_get(&ir, F0));
    ir_call(&ir, &blind, a, a, a, a);
    finish();
    assert_int_equal(count(IR_divu), 0);
    assert_int_equal(count(IR_load), 1); /* may fault */
    assert_int_equal(count(IR_fadd), 1); /* sets flags */
    assert_int_equal(count(IR_call), 1);
    assert_int_equal(ir.ops[a].uses, 5);
}

static void a_vector_without_itself_is_zero(void **unused)
{
    start();
    ir_val v = ir_get(&ir, V0), zero = ir_const(&ir, IR_V128, 0);
    assert_int_equal(ir_vec(&ir, IR_V_xor, v, v, IR_NONE, 0), zero);
    assert_int_equal(ir_vec(&ir, IR_V_sub_i64, v, v, IR_NONE, 0), zero);
    assert_int_equal(ir_vec(&ir, IR_V_and, v, v, IR_NONE, 0), v);
    ir_val ones = ir_vec(&ir, IR_V_eq_i32, v, v, IR_NONE, 0);
    int64_t c;
    assert_true(ir_is_const(&ir, ones, &c));
    assert_int_equal(c, -1);
    assert_int_not_equal(ir_vec(&ir, IR_V_sub_f64, v, v, IR_NONE, 0), zero); /* a NaN may be */
}

static void accesses_near_pc_have_one_base(void **unused)
{
    start();
    ir_val a = ir_load(&ir, IR_I64, ir_pc(&ir, 0x20), 8, IR_64, 0);
    ir_val b = ir_load(&ir, IR_I64, ir_pc(&ir, 0x40), -8, IR_64, 0);
    assert_int_equal(ir.ops[a].a, ir.ops[b].a);
    assert_int_equal(ir.ops[a].imm, 0x28);
    assert_int_equal(ir.ops[b].imm, 0x38);
}

static unsigned load_shape(ir_val base, int64_t off, unsigned shape)
{
    return ir.ops[ir_load(&ir, IR_V128, base, off, shape, 0)].shape;
}

static void alignment_is_looked_at_once(void **unused)
{
    start();
    const unsigned aligned = IR_128 | IR_ALIGNED;
    ir_val x1 = ir_get(&ir, X1);
    assert_int_equal(load_shape(x1, 0, IR_128), IR_128);
    assert_int_equal(load_shape(x1, 16, aligned), aligned);
    assert_int_equal(load_shape(x1, 64, aligned), IR_128);
    assert_int_equal(load_shape(x1, 24, aligned), aligned); /* by itself, of which one faults */
    assert_int_equal(load_shape(x1, 32, aligned | IR_PAIR), aligned | IR_PAIR); /* 32 bytes */
    assert_int_equal(load_shape(x1, -48, aligned), IR_128);
    assert_int_equal(load_shape(ir_get(&ir, X2), 16, aligned), aligned);
    ir_begin_block(&ir, 4);
    assert_int_equal(load_shape(ir_get(&ir, X1), 16, aligned), aligned);
    ir_jump(&ir, 0);
}

static void halves_of_a_whole_join_to_it(void **unused)
{
    start();
    ir_val a = ir_get(&ir, V0), b = ir_get(&ir, V0 + 1), whole = ir_2(&ir, IR_join, a, b);
    assert_int_equal(ir_type_of(&ir, whole), IR_V256);
    assert_int_equal(ir_1(&ir, IR_low, whole), a);
    assert_int_equal(ir_1(&ir, IR_high, whole), b);
    assert_int_equal(ir_2(&ir, IR_join, a, b), whole);
    ir_val sum = ir_vec(&ir, IR_V_add_i8, whole, whole, IR_NONE, 0);
    assert_int_equal(ir_type_of(&ir, sum), IR_V256);
    ir_val lower = ir_1(&ir, IR_low, sum), upper = ir_1(&ir, IR_high, sum);
    assert_int_equal(ir_2(&ir, IR_join, lower, upper), sum);
    assert_int_not_equal(ir_2(&ir, IR_join, upper, lower), sum);
    assert_int_equal(ir_type_of(&ir, ir_vec(&ir, IR_V_mask_i8, sum, IR_NONE, IR_NONE, 0)), IR_I64);
    ir_jump(&ir, 0);
}

static void jumps_inside_the_unit_know_their_block(void **unused)
{
    start();
    ir_branch(&ir, IR_EQ, ir_get(&ir, X1), ir_get(&ir, X2), 0, 4);
    ir_begin_block(&ir, 4);
    ir_jump_call(&ir, 0, 8);
    ir_begin_block(&ir, 8);
    ir_jump(&ir, 0x100);
    ir_finish(&ir);
    const struct ir_op *branch = &ir.ops[ir.blocks[0].first + ir.blocks[0].n - 1];
    assert_int_equal(branch->c, 0);
    assert_int_equal(branch->d, 1);
    assert_true(ir.blocks[0].loops);
    assert_false(ir.blocks[1].loops);
    assert_int_equal(ir.ops[ir.blocks[1].first].c, IR_NONE); /* a call leaves */
    assert_int_equal(ir.ops[ir.blocks[2].first].c, IR_NONE);
}

/* ---- text and verifier ---------------------------------------------------------------------------------- */

static char *read_file(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    char *text = xcalloc(1, 65536);
    size_t n = fread(text, 1, 65535, f);
    text[n] = 0;
    fclose(f);
    return text;
}

/* Comments are not printed. */
static void drop_comments(char *text)
{
    char *to = text;
    for (char *at = text; *at;) {
        size_t n = strcspn(at, "\n");
        n += at[n] == '\n';
        if (*at != '#') {
            memmove(to, at, n);
            to += n;
        }
        at += n;
    }
    *to = 0;
}

static void check_file(const char *path)
{
    char *text = read_file(path);
    assert_non_null(text);
    char *mark = strstr(text, "\n---\n");
    assert_non_null(mark);
    mark[1] = 0;
    must_parse(text);
    ir_finish(&ir);
    ir_find_chains(&ir);
    ir_group_accesses(&ir, 0);
    struct error *err = ir_verify(&ir);
    if (err)
        fail_msg("%s: after the passes: %s", path, error_text(err));
    char *now = text_of(&ir);
    drop_comments(mark + 5);
    if (strcmp(now, mark + 5))
        fail_msg("%s: expected\n%s\nis\n%s", path, mark + 5, now);
    free(now);
    free(text);
}

static void passes_give_what_the_files_say(void **unused)
{
    const char *dir = getenv("TANDEM_SOURCE");
    char path[4096];
    snprintf(path, sizeof(path), "%s/tests/unit/ir", dir ? dir : ".");
    DIR *d = opendir(path);
    if (!d)
        fail_msg("cannot read %s", path);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/tests/unit/ir/%s", dir ? dir : ".", e->d_name);
        check_file(path);
        n++;
    }
    closedir(d);
    assert_true(n > 0);
}

static void text_round_trips(void **unused)
{
    static const char text[] = "b0 +0x10 loops:\n"
                               "  insn +0x10 4\n"
                               "    v0 = get x1\n"
                               "    v1 = const.i64 -4096\n"
                               "    v2 = const.i64 0x123456789abcdef0\n"
                               "    v3 = pc -0x8\n"
                               "    v4 = add.i64 v0, v1\n"
                               "    v5 = trunc.i64 v2\n"
                               "    v6 = setc ltu.i32 v5, v5\n"
                               "    v7 = select.i64 v6, v0, v3\n"
                               "    v8 = load.i64 v0+16 s32 mode1 leads g0 -8..4 writes\n"
                               "    store.i64 v0+8, v7 u32 mode1 in g0\n"
                               "    v10 = load.i32 v0-1073741823 u16 aligned acquire\n"
                               "    v11 = rmw maxu.i64 v0, v7 s32 aligned acquire release\n"
                               "    v12 = cas.i64 v0, v7, v4 u64\n"
                               "    fence rr ww\n"
                               "    v14 = get f0\n"
                               "    v15 = fma.f64 v14, v14, v14 neg_product neg_addend\n"
                               "    v16 = fcmp fle.f64 v15, v14\n"
                               "    v17 = ftoi.f64 v15 unsigned i32 trunc\n"
                               "    v18 = itof.f32 v17 i32\n"
                               "    v19 = fbox.f32 v18\n"
                               "    set f1, v19\n"
                               "    v21 = call blind(v0, v4, v7, v16)\n"
                               "    v22 = call reads()\n"
                               "    v23 = get q1\n"
                               "    v24 = vec set_i32 v23, v5, 3\n"
                               "    v25 = vec madd_lo_f64 v24, v23, v24, 2 called\n"
                               "    v26 = vec mask_i8 v25\n"
                               "    set q0, v25\n"
                               "    store.v128 v0+8, v25 u128 pair aligned\n"
                               "    v29 = sext32.i32 v5 low\n"
                               "    set x1, v29\n"
                               "    forget x2\n"
                               "    branch ne.i64 v26, v22, b1, +0x40\n"
                               "b1 in +0x10:\n"
                               "    leave +0x0\n"
                               "b3 -0x4 after_call:\n"
                               "    jump b0\n"
                               "b4 +0x20:\n"
                               "  insn +0x20 2\n"
                               "    jump +0x1000 call +0x22\n"
                               "b5 +0x22:\n"
                               "    v36 = get x7\n"
                               "    jumpi v36 return\n";
    must_parse(text);
    char *once = text_of(&ir);
    assert_string_equal(once, text);
    free(once);
}

static void a_missing_number_is_a_dead_operation(void **unused)
{
    must_parse("b0 +0x0:\n v3 = get x1\n set x2, v3\n leave +0x4\n");
    assert_int_equal(ir.n_ops, 6);
    char *text = text_of(&ir);
    assert_string_equal(text, "b0 +0x0:\n    v3 = get x1\n    set x2, v3\n    leave +0x4\n");
    free(text);
}

static void what_breaks_a_rule_is_refused(void **unused)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "b0 +0:\n v0 = get x1\n", "has no end" },
        { "b0 +0:\n v0 = get q0\n v1 = vec add_i9 v0, v0\n leave +0\n", "no vector operation" },
        { "b0 +0:\n v0 = get x1\n v1 = vec add_i8 v0, v0\n leave +0\n", "wrong type" },
        { "b0 +0:\n v0 = get q0\n v1 = vec shl_i16_n v0, 256\n leave +0\n", "constant" },
        { "b0 +0:\n v0 = get x1\n v1 = load.v128 v0 u16\n leave +0\n", "too narrow" },
        { "b0 +0:\n v0 = get x1\n v1 = load.v128 v0 u64 pair\n leave +0\n", "a pair" },
        { "b0 +0:\n leave +0\n leave +0\n", "outside a block" },
        { "b0 +0:\n set x1, v0\n leave +0\n", "v0 is not defined" },
        { "b0 +0:\n v0 = get x9\n leave +0\n", "no slot is called 'x9'" },
        { "b0 +0:\n v0 = get x1\n v0 = get x2\n leave +0\n", "defined twice" },
        { "b0 +0:\n v0 = get x1\n jump b1\nb1 +4:\n set x1, v0\n leave +0\n",
          "not defined before in its block" },
        { "b0 +0:\n v0 = get x1\n set f0, v0\n leave +0\n", "wrong type" },
        { "b0 +0:\n v0 = get f0\n v1 = add.f64 v0, v0\n leave +0\n", "no such type" },
        { "b0 +0:\n v0 = get f0\n v1 = add.i64 v0, v0\n leave +0\n", "wrong type" },
        { "b0 +0:\n v0 = get x1\n v1 = setc feq.i64 v0, v0\n leave +0\n", "condition" },
        { "b0 +0:\n v0 = get x1\n v1 = load.i32 v0 u64\n leave +0\n", "wider than its type" },
        { "b0 +0:\n v0 = get x1\n v1 = load.f64 v0 u32\n leave +0\n", "narrower than its value" },
        { "b0 +0:\n v0 = get x1\n v1 = load.i64 v0+4294967296 u64\n leave +0\n", "out of range" },
        { "b0 +0:\n v0 = get x1\n v1 = load.i64 v0 u64 in g0\n leave +0\n", "has no leader" },
        { "b0 +0:\n v0 = get x1\n v1 = load.i64 v0 u64 leads g0 0..4\n leave +0\n",
          "does not cover" },
        { "b0 +0:\n v0 = get x1\n v1 = load.i64 v0 u64 leads g0 0..16\n"
          " store.i64 v0+8, v0 u64 in g0\n leave +0\n",
          "does not check for writes" },
        { "b0 +0:\n v0 = get x1\n v1 = call blind(v0)\n leave +0\n", "missing" },
        { "b0 +0:\n v0 = call nobody()\n leave +0\n", "no helper is called 'nobody'" },
        { "b0 +0:\n jump b7\n", "no such block" },
        { "b0 +0:\n v0 = const.i32 0x100000000\n leave +0\n", "too large" },
        { "b0 +0:\n v0 = leave +0\n", "no result to name" },
        { "b0 +0:\n get x1\n leave +0\n", "name for the result" },
        { "b0 +0:\n frobnicate\n", "'frobnicate' is no operation" },
        { "b0 +0:\n leave +0 now\n", "what is 'now'?" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct error *err = parse(cases[i].text);
        if (!err)
            fail_msg("not refused:\n%s", cases[i].text);
        if (!strstr(error_text(err), cases[i].why))
            fail_msg("'%s', not '%s', for\n%s", error_text(err), cases[i].why, cases[i].text);
        error_free(err);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_fold),
        cmocka_unit_test(an_i32_constant_is_kept_sign_extended),
        cmocka_unit_test(equal_constants_are_one_value),
        cmocka_unit_test(identities_give_their_operand),
        cmocka_unit_test(additions_of_constants_join),
        cmocka_unit_test(extensions_of_extended_values_vanish),
        cmocka_unit_test(a_pair_of_shifts_is_an_extension),
        cmocka_unit_test(extensions_of_what_is_short_enough_are_dropped),
        cmocka_unit_test(the_constant_part_of_an_address_becomes_its_offset),
        cmocka_unit_test(offsets_leave_room_for_the_bytes_behind_them),
        cmocka_unit_test(slots_are_forwarded_inside_a_block),
        cmocka_unit_test(a_writing_helper_ends_forwarding),
        cmocka_unit_test(a_branch_on_constants_is_a_jump),
        cmocka_unit_test(a_constant_left_operand_changes_sides),
        cmocka_unit_test(too_large_a_unit_says_so),
        cmocka_unit_test(a_set_nobody_can_see_is_dead),
        cmocka_unit_test(a_set_somebody_can_see_stays),
        cmocka_unit_test(what_is_forgotten_need_not_be_set),
        cmocka_unit_test(what_is_forgotten_is_set_anew),
        cmocka_unit_test(unused_values_are_dropped_unless_they_do_something),
        cmocka_unit_test(a_vector_without_itself_is_zero),
        cmocka_unit_test(accesses_near_pc_have_one_base),
        cmocka_unit_test(alignment_is_looked_at_once),
        cmocka_unit_test(halves_of_a_whole_join_to_it),
        cmocka_unit_test(jumps_inside_the_unit_know_their_block),
        cmocka_unit_test(passes_give_what_the_files_say),
        cmocka_unit_test(text_round_trips),
        cmocka_unit_test(a_missing_number_is_a_dead_operation),
        cmocka_unit_test(what_breaks_a_rule_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
