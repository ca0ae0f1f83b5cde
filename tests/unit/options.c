/* The command line's grammar. */
#include "core/options.h"
#include "core/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct seen {
    const char *text, *file, *joined;
    bool flag;
};

static struct error *take_text(void *opaque, const struct option *o, const char *arg)
{
    *(const char **)((char *)opaque + o->offset) = arg ? arg : "none";
    return NULL;
}

static struct error *take_flag(void *opaque, const struct option *o, const char *arg)
{
    assert_null(arg);
    ((struct seen *)opaque)->flag = true;
    return NULL;
}

static struct error *take_file(void *opaque, const char *arg)
{
    ((struct seen *)opaque)->file = arg;
    return NULL;
}

static const struct option lines[] = {
    { .help = "Heading" },
    { "machine", "NAME", "the board", take_text, offsetof(struct seen, text) },
    { "flag", NULL, "a flag", take_flag },
    { "stats", "[=FORMAT]", "joined", take_text, offsetof(struct seen, joined), true },
    { "gone", NULL, "there is none" },
};
static const struct option_table table = TABLE(lines);

static struct seen parsed(char **argv, int argc)
{
    struct seen seen = { 0 };
    assert_null(options_parse(&table, argc, argv, take_file, &seen));
    return seen;
}

static void assert_refused(char **argv, int argc, const char *text)
{
    struct seen seen = { 0 };
    struct error *err = options_parse(&table, argc, argv, take_file, &seen);
    assert_non_null(err);
    assert_string_equal(error_text(err), text);
    error_free(err);
}
#define ARGS(...) \
    (char *[]){ "tandem", __VA_ARGS__ }, (int)ARRAY_LEN(((char *[]){ "", __VA_ARGS__ }))

static void one_dash_or_two_and_a_file(void **unused)
{
    struct seen seen = parsed(ARGS("-machine", "virt", "--flag", "disk.img"));
    assert_string_equal(seen.text, "virt");
    assert_string_equal(seen.file, "disk.img");
    assert_true(seen.flag);
}

static void joined_argument_may_be_left_out(void **unused)
{
    assert_string_equal(parsed(ARGS("-stats")).joined, "none");
    assert_string_equal(parsed(ARGS("-stats=json")).joined, "json");
    assert_string_equal(parsed(ARGS("-stats", "json")).file, "json");
}

static void refusals_name_what_would_do(void **unused)
{
    assert_refused(ARGS("-machin", "x"), "unknown option '-machin'; did you mean '-machine'?");
    assert_refused(ARGS("-zzzzzzzz"), "unknown option '-zzzzzzzz'; -help lists all");
    assert_refused(ARGS("-machine"), "option '-machine' needs an argument: NAME");
    assert_refused(ARGS("-gone"), "option '-gone' is not supported: there is none");
    assert_refused(ARGS("-flag=on"), "unknown option '-flag=on'; did you mean '-flag'?");
}

static void count_lines(void *opaque, const char *line)
{
    ++*(unsigned *)opaque;
}

static void help_has_a_line_an_option(void **unused)
{
    unsigned n = 0;
    options_help(&table, false, count_lines, &n);
    assert_int_equal(n, 2 + 3); /* the heading and its blank; what is not supported is left out */
}

static void lists_have_names_flags_and_commas(void **unused)
{
    struct options o;
    assert_null(options_split("virt,a=1,,2,b,noc,a=3", "type", &o));
    assert_string_equal(options_get(&o, "type"), "virt");
    assert_string_equal(options_get(&o, "a"), "3");
    assert_string_equal(options_get(&o, "b"), "on");
    assert_string_equal(options_get(&o, "c"), "off");
    assert_string_equal(o.at[1].value, "1,2");
    assert_null(options_refuse_rest(&o, NULL, 0));
    options_free(&o);
}

static void unasked_names_are_refused(void **unused)
{
    static const char *const known[] = { "hostfwd", "restrict" };
    struct options o;
    assert_null(options_split("hostfw=x", NULL, &o));
    struct error *err = options_refuse_rest(&o, known, ARRAY_LEN(known));
    assert_string_equal(error_text(err), "unknown name 'hostfw'; did you mean 'hostfwd'? "
                                         "(accepted: hostfwd, restrict)");
    error_free(err);
    options_free(&o);
}

static void empty_items_are_refused(void **unused)
{
    struct options o;
    const char *const bad[] = { "a=1,", ",a", "a,,,b,", "virt,,," };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error *err = options_split(bad[i], NULL, &o);
        assert_non_null(err);
        error_free(err);
    }
    assert_null(options_split("", NULL, &o));
    assert_int_equal(o.n, 0);
    options_free(&o);
}

static void json_is_flattened(void **unused)
{
    struct options o;
    struct error *err =
        options_split("{\"driver\":\"raw\",\"file\":{\"name\":\"a,b\",\"n\":[1,true]},"
                      "\"x\":null}",
                      NULL, &o);
    if (err) { /* a build without jansson says so */
        assert_non_null(strstr(error_text(err), "not supported by this build"));
        error_free(err);
        return;
    }
    assert_int_equal(o.n, 4);
    assert_string_equal(options_get(&o, "driver"), "raw");
    assert_string_equal(options_get(&o, "file.name"), "a,b");
    assert_string_equal(options_get(&o, "file.n.0"), "1");
    assert_string_equal(options_get(&o, "file.n.1"), "on");
    options_free(&o);
}

static void broken_json_is_an_error(void **unused)
{
    const char *const bad[] = { "{", "{\"a\"}", "{\"a\":1,\"a\":2}", "{\"a\":1}x" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct options o;
        struct error *err = options_split(bad[i], NULL, &o);
        assert_non_null(err);
        error_free(err);
    }
}

static void numbers_are_checked(void **unused)
{
    uint64_t v;
    assert_true(parse_uint("0x10", 100, &v) && v == 16);
    assert_true(parse_uint("010", 100, &v) && v == 10);
    assert_true(parse_uint("18446744073709551615", UINT64_MAX, &v) && v == UINT64_MAX);
    assert_false(parse_uint("18446744073709551616", UINT64_MAX, &v));
    assert_false(parse_uint("101", 100, &v));
    assert_false(parse_uint("-1", UINT64_MAX, &v));
    assert_false(parse_uint("", UINT64_MAX, &v));
    assert_false(parse_uint("1x", UINT64_MAX, &v));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_dash_or_two_and_a_file),
        cmocka_unit_test(joined_argument_may_be_left_out),
        cmocka_unit_test(refusals_name_what_would_do),
        cmocka_unit_test(help_has_a_line_an_option),
        cmocka_unit_test(lists_have_names_flags_and_commas),
        cmocka_unit_test(unasked_names_are_refused),
        cmocka_unit_test(empty_items_are_refused),
        cmocka_unit_test(json_is_flattened),
        cmocka_unit_test(broken_json_is_an_error),
        cmocka_unit_test(numbers_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
