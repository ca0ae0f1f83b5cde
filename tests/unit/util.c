/* Small things: bytes, names, sizes, errors, log items. */
#include "core/util.h"

#include "core/error.h"
#include "core/log.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static void bytes_come_in_the_order_asked_for(void **unused)
{
    uint8_t b[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    assert_int_equal(load_le(b, 4), 0x04030201);
    assert_int_equal(load_be(b, 4), 0x01020304);
    assert_int_equal(load_le(b + 1, 2), 0x0302);
    assert_int_equal(load_be(b, 8), 0x0102030405060708);
    store_be(b, 2, 0xaabb);
    assert_int_equal(b[0], 0xaa);
    store_le(b + 4, 4, 0x11223344);
    assert_int_equal(b[4], 0x44);
    assert_int_equal(b[3], 4);
}

static void bits_and_signs(void **unused)
{
    assert_int_equal(bits(0xff00, 8, 8), 0xff);
    assert_int_equal(bits(~(uint64_t)0, 0, 64), ~(uint64_t)0);
    assert_int_equal(sext(0x800, 12), -2048);
    assert_int_equal(sext(0x7ff, 12), 2047);
}

static void nearest_name_forgives_a_slip_but_not_nonsense(void **unused)
{
    static const char *const names[] = { "virtio-blk-pci", "virtio-net-pci", "drive" };
    assert_string_equal(nearest_name("virtio-blk-pic", names, 3), "virtio-blk-pci");
    assert_string_equal(nearest_name("virtio-nt-pci", names, 3), "virtio-net-pci");
    assert_string_equal(nearest_name("drvie", names, 3), "drive");
    assert_null(nearest_name("zzzzzz", names, 3));
    static const char *const short_names[] = { "log", "fpu", "tcg" };
    assert_string_equal(nearest_name("tgc", short_names, 3), "tcg");
    assert_null(nearest_name("foo", short_names, 3));
    assert_null(nearest_name("x", names, 0));
    char longer[300];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    assert_null(nearest_name(longer, names, 3));
}

static void sizes_have_suffixes_and_fractions(void **unused)
{
    static const struct {
        const char *text;
        uint64_t unit, bytes;
    } good[] = {
        { "512", 1, 512 },      { "512", MIB, 512 * MIB },
        { "64K", 1, 64 * KIB }, { "1.5G", 1, 3 * GIB / 2 },
        { "2g", MIB, 2 * GIB }, { "0x1000", 1, 4096 },
        { "7b", MIB, 7 },       { "0", 1, 0 },
    };
    static const char *const bad[] = { "",    "K",  "1KK",  "-1",  "1 G", "99999999999999999999",
                                       "16E", "0x", "0x1G", "12q", ".5G" };
    uint64_t v;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(parse_size(good[i].text, good[i].unit, &v));
        assert_int_equal(v, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(parse_size(bad[i], 1, &v));
}

static void an_error_collects_where_it_came_from(void **unused)
{
    errno = ENOENT;
    struct error *err = error_errno("cannot open '%s'", "x");
    err = error_in(err, "disk %d", 3);
    assert_string_equal(error_text(err), "disk 3: cannot open 'x': No such file or directory");
    error_free(err);
    assert_null(error_in(NULL, "nowhere"));
    error_free(NULL);
}

static void log_items_are_checked(void **unused)
{
    uint32_t kinds;
    assert_null(log_parse("in_asm,int", &kinds));
    assert_int_equal(kinds, LOG_IN_ASM | LOG_INT);
    struct error *err = log_parse("in_asn", &kinds);
    assert_non_null(strstr(error_text(err), "'in_asm'"));
    error_free(err);
}

static void a_long_log_line_is_not_cut(void **unused)
{
    int pipe_fds[2];
    char text[2000], got[2100];
    assert_int_equal(pipe(pipe_fds), 0);
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    log_print(&(struct log){ .fd = pipe_fds[1] }, "%s\n", text);
    assert_int_equal(read(pipe_fds[0], got, sizeof(got)), 2000);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void log_filter_is_inclusive(void **unused)
{
    struct log log = { 0 };
    assert_true(log_in_filter(&log, 5));
    log.n_filter = 1;
    log.filter = calloc(1, sizeof(*log.filter));
    log.filter[0].from = 0x1000;
    log.filter[0].to = 0x1fff;
    assert_true(log_in_filter(&log, 0x1fff));
    assert_false(log_in_filter(&log, 0x2000));
    free(log.filter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_in_the_order_asked_for),
        cmocka_unit_test(bits_and_signs),
        cmocka_unit_test(nearest_name_forgives_a_slip_but_not_nonsense),
        cmocka_unit_test(sizes_have_suffixes_and_fractions),
        cmocka_unit_test(an_error_collects_where_it_came_from),
        cmocka_unit_test(log_items_are_checked),
        cmocka_unit_test(a_long_log_line_is_not_cut),
        cmocka_unit_test(log_filter_is_inclusive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
