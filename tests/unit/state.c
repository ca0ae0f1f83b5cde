/* State lists. */
#include "core/state.h"

#include "core/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct leg {
    uint16_t length;
    bool broken;
};
struct hen {
    uint32_t eggs, color;
    uint64_t born_ns;
    bool asleep;
    uint8_t name[5];
    uint16_t toes[4];
    struct leg legs[2];
    uint8_t *meal;
    uint32_t meal_size;
};

static const struct field leg_state[] = {
    FIELD(struct leg, length, .max = 100),
    FIELD(struct leg, broken),
};
static const struct field hen_fields[] = {
    FIELD(struct hen, eggs),
    FIELD(struct hen, color, .valid = 0xf),
    FIELD(struct hen, born_ns, .since = 2),
    FIELD(struct hen, asleep),
    FIELD_RAW(struct hen, name),
    FIELD_ARRAY(struct hen, toes),
    FIELD_SUB(struct hen, legs, leg_state, 2),
    { .name = "meal",
      .kind = FIELD_BUFFER,
      .offset = offsetof(struct hen, meal),
      .len_offset = offsetof(struct hen, meal_size),
      .max = 16 },
};
static const struct field_list hen_state = TABLE(hen_fields);

static struct hen a_hen(void)
{
    struct hen h = { .eggs = 7,
                     .color = 5,
                     .born_ns = 1ull << 40,
                     .asleep = true,
                     .name = "berta",
                     .toes = { 1, 2, 3, 4 },
                     .legs = { { 50, false }, { 51, true } },
                     .meal_size = 3 };
    h.meal = malloc(3);
    memcpy(h.meal, "rye", 3);
    return h;
}

static void what_is_saved_loads_again(void **unused)
{
    struct hen h = a_hen(), other = { 0 };
    struct bytes out = { 0 };
    size_t pos = 0;
    state_save(&out, &hen_state, 2, &h);
    assert_string_equal(state_differ(&hen_state, &h, &other), "eggs");
    assert_null(state_load(out.at, out.n, &pos, &hen_state, 2, &other));
    assert_int_equal(pos, out.n);
    assert_null(state_differ(&hen_state, &h, &other));
    other.legs[1].length++;
    assert_string_equal(state_differ(&hen_state, &h, &other), "legs");
    free(h.meal);
    free(other.meal);
    bytes_free(&out);
}

static void numbers_are_little_endian_in_a_stream(void **unused)
{
    struct hen h = { .eggs = 0x01020304 };
    struct bytes out = { 0 };
    state_save(&out, &(struct field_list){ hen_fields, 1 }, 1, &h);
    assert_int_equal(out.n, 4);
    assert_memory_equal(out.at, "\x04\x03\x02\x01", 4);
    bytes_free(&out);
}

static void an_old_version_lacks_newer_fields(void **unused)
{
    struct hen h = a_hen(), other = { .born_ns = 99 };
    struct bytes v1 = { 0 }, v2 = { 0 };
    size_t pos = 0;
    state_save(&v1, &hen_state, 1, &h);
    state_save(&v2, &hen_state, 2, &h);
    assert_int_equal(v2.n - v1.n, 8);
    assert_null(state_load(v1.at, v1.n, &pos, &hen_state, 1, &other));
    assert_int_equal(other.born_ns, 99);
    assert_int_equal(other.eggs, 7);
    free(h.meal);
    free(other.meal);
    bytes_free(&v1);
    bytes_free(&v2);
}

/* Loading a stream with one value changed must give an error that names the field. */
static void refuses(struct hen bad, const char *field)
{
    struct hen other = { 0 };
    struct bytes out = { 0 };
    size_t pos = 0;
    state_save(&out, &hen_state, 2, &bad);
    struct error *err = state_load(out.at, out.n, &pos, &hen_state, 2, &other);
    assert_non_null(err);
    assert_memory_equal(error_text(err), field, strlen(field));
    error_free(err);
    bytes_free(&out);
    free(other.meal);
    free(bad.meal);
}

static void values_out_of_bounds_are_refused(void **unused)
{
    struct hen h = a_hen();
    h.color = 0x10;
    refuses(h, "color: ");
    h = a_hen();
    h.legs[1].length = 101;
    refuses(h, "legs: [1]: length: ");
    h = a_hen();
    memset(&h.asleep, 2, 1);
    refuses(h, "asleep: ");
    h = a_hen();
    h.meal = realloc(h.meal, 17);
    memset(h.meal, 0, 17);
    h.meal_size = 17;
    refuses(h, "meal: ");
}

static void a_stream_cut_anywhere_is_refused(void **unused)
{
    struct hen h = a_hen();
    struct bytes out = { 0 };
    state_save(&out, &hen_state, 2, &h);
    for (size_t n = 0; n < out.n; n++) {
        struct hen other = { 0 };
        size_t pos = 0;
        uint8_t *cut = malloc(n + 1);
        memcpy(cut, out.at, n);
        struct error *err = state_load(cut, n, &pos, &hen_state, 2, &other);
        assert_non_null(err);
        error_free(err);
        free(other.meal);
        free(cut);
    }
    free(h.meal);
    bytes_free(&out);
}

static void collect(void *opaque, const char *line)
{
    bytes_add(opaque, line, strlen(line));
    bytes_add(opaque, "\n", 1);
}

static void printing_names_every_field(void **unused)
{
    struct hen h = a_hen();
    struct bytes text = { 0 };
    state_print(&hen_state, &h, collect, &text);
    bytes_add(&text, "", 1);
    assert_non_null(strstr((char *)text.at, "eggs = 0x7\n"));
    assert_non_null(strstr((char *)text.at, "toes[3] = 0x4\n"));
    assert_non_null(strstr((char *)text.at, "legs[1].broken = 0x1\n"));
    assert_non_null(strstr((char *)text.at, "meal[0] = 72 79 65\n"));
    bytes_free(&text);
    free(h.meal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_loads_again),
        cmocka_unit_test(numbers_are_little_endian_in_a_stream),
        cmocka_unit_test(an_old_version_lacks_newer_fields),
        cmocka_unit_test(values_out_of_bounds_are_refused),
        cmocka_unit_test(a_stream_cut_anywhere_is_refused),
        cmocka_unit_test(printing_names_every_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
