/* Devices: properties as text, registers by table, life, streams. */
#include "core/device.h"

#include "board.h"
#include "core/backends.h"
#include "core/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const sizes[] = { "small", "large", NULL };

/* An egg timer, as in the style guide. */
struct egg {
    struct device dev;
    bool loud;
    uint8_t eggs;
    uint64_t memory;
    char *name;
    uint32_t size;
    uint8_t mac[6];
    struct blk *drive;

    uint32_t load, ctrl, status;
    uint16_t half;
    uint32_t old, written;
    unsigned n_writes, n_unrealized;
    bool refuse;
};

static const struct prop egg_props[] = {
    PROP(struct egg, loud, "loud", PROP_BOOL, .def = "on"),
    PROP(struct egg, eggs, "eggs", PROP_UINT, .def = "3", .min = 1, .max = 12),
    PROP(struct egg, memory, "memory", PROP_SIZE, .def = "64K"),
    PROP(struct egg, name, "name", PROP_STRING),
    PROP(struct egg, size, "size", PROP_ENUM, .def = "large", .names = sizes),
    PROP(struct egg, mac, "mac", PROP_MAC),
    PROP(struct egg, drive, "drive", PROP_DRIVE),
    PROP(struct egg, refuse, "refuse", PROP_BOOL),
};

static void note_write(struct device *dev, const struct reg *reg, uint64_t old, uint64_t written)
{
    struct egg *e = (struct egg *)dev;
    e->old = (uint32_t)old;
    e->written = (uint32_t)written;
    e->n_writes++;
}

static uint64_t read_left(struct device *dev, const struct reg *reg)
{
    return 0x1234567890;
}

static const struct reg egg_regs[] = {
    REG32(0x00, "LOAD", struct egg, load, .writable = 0x00ffffff),
    REG32(0x04, "CTRL", struct egg, ctrl, .writable = 0xff, .on_write = note_write),
    REG32_COMPUTED(0x08, "LEFT", .on_read = read_left),
    REG32(0x0c, "STATUS", struct egg, status, .w1c = 0xf0),
    { .at = 0x20,
      .size = 2,
      .name = "HALF",
      .offset = offsetof(struct egg, half),
      .writable = ~0u },
};

static const struct field egg_state[] = {
    FIELD(struct egg, load),
    FIELD(struct egg, ctrl, .valid = 0xff),
    FIELD(struct egg, half, .since = 2),
};

static struct error *egg_realize(struct device *dev)
{
    return ((struct egg *)dev)->refuse ? error_new("the egg is bad") : NULL;
}

static void egg_unrealize(struct device *dev)
{
    ((struct egg *)dev)->n_unrealized++;
}

static void egg_reset(struct device *dev)
{
    struct egg *e = (struct egg *)dev;
    e->load = e->ctrl = 0;
    e->half = 7;
}

static struct error *egg_loaded(struct device *dev)
{
    struct egg *e = (struct egg *)dev;
    return e->load == 13 ? error_new("13 brings bad luck") : NULL;
}

static const struct device_class egg_class = {
    .name = "egg-timer",
    .desc = "egg timer",
    .version = 2,
    .size = sizeof(struct egg),
    .props = TABLE(egg_props),
    .regs = TABLE(egg_regs),
    .state = TABLE(egg_state),
    .realize = egg_realize,
    .unrealize = egg_unrealize,
    .reset = egg_reset,
    .loaded = egg_loaded,
};

static struct egg *new_egg(struct board *b)
{
    return (struct egg *)device_new(b->vm, &egg_class);
}

static struct egg *real_egg(struct board *b)
{
    struct egg *e = new_egg(b);
    assert_null(device_realize(&e->dev, NULL, NULL));
    return e;
}

static void set_fails(struct egg *e, const char *name, const char *value, const char *says)
{
    struct error *err = device_set(&e->dev, name, value);
    assert_non_null(err);
    if (!strstr(error_text(err), says))
        fail_msg("'%s' lacks '%s'", error_text(err), says);
    error_free(err);
}

static void properties_start_with_their_defaults(void **unused)
{
    struct board *b = board_new();
    struct egg *e = new_egg(b);
    assert_true(e->loud);
    assert_int_equal(e->eggs, 3);
    assert_int_equal(e->memory, 65536);
    assert_int_equal(e->size, 1);
    assert_null(e->name);
    board_free(b);
}

static void properties_are_set_as_typed_and_print_so(void **unused)
{
    static const struct {
        const char *name, *typed, *printed;
    } cases[] = {
        { "loud", "no", "off" },
        { "eggs", "0xc", "12" },
        { "memory", "1.5M", "1572864" },
        { "name", "Berta", "Berta" },
        { "name", "Emma", "Emma" },
        { "size", "small", "small" },
        { "mac", "52:54:00:AB:cd:0f", "52:54:00:ab:cd:0f" },
        { "id", "e0", "e0" },
    };
    struct board *b = board_new();
    struct egg *e = new_egg(b);
    char text[64];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_null(device_set(&e->dev, cases[i].name, cases[i].typed));
        assert_true(device_get(&e->dev, cases[i].name, text, sizeof(text)));
        assert_string_equal(text, cases[i].printed);
    }
    assert_false(device_get(&e->dev, "colour", text, sizeof(text)));
    assert_ptr_equal(device_find(b->vm, "e0"), &e->dev);
    board_free(b);
}

static void bad_values_say_what_would_be_accepted(void **unused)
{
    struct board *b = board_new();
    struct egg *e = new_egg(b);
    set_fails(e, "loud", "very", "neither on nor off");
    set_fails(e, "eggs", "13", "1 to 12");
    set_fails(e, "eggs", "0", "1 to 12");
    set_fails(e, "eggs", "two", "not a number");
    set_fails(e, "eggs", "", "not a number");
    set_fails(e, "eggs", "0x", "not a number");
    set_fails(e, "eggs", "99999999999999999999999", "not a number");
    set_fails(e, "memory", "lots", "64K");
    set_fails(e, "size", "middle", "small, large");
    set_fails(e, "mac", "52:54:00:ab:cd", "MAC");
    set_fails(e, "mac", "52:54:00:ab:cd:0g", "MAC");
    set_fails(e, "mac", "52:54:00:ab:cd:ef:00", "MAC");
    set_fails(e, "egs", "1", "did you mean 'eggs'?");
    set_fails(e, "zzzzzz", "1", "has no property");
    set_fails(e, "drive", "d0", "there is no drive 'd0'");
    assert_int_equal(e->eggs, 3);
    board_free(b);
}

static void unknown_classes_name_the_nearest(void **unused)
{
    struct board *b = board_new();
    char *text = board_refuses(b, "virtio-blk-pic", NULL);
    assert_non_null(strstr(text, "did you mean 'virtio-blk-pci'?"));
    free(text);
    board_free(b);
}

static void an_id_is_used_once(void **unused)
{
    struct board *b = board_new();
    struct egg *e = new_egg(b), *f = new_egg(b);
    assert_null(device_set(&e->dev, "id", "x"));
    set_fails(f, "id", "x", "already");
    board_free(b);
}

static void a_back_end_has_one_user_until_it_is_given_back(void **unused)
{
    struct board *b = board_new();
    int drive;
    assert_null(backend_add(b->vm, BACKEND_DRIVE, "d0", &drive, NULL));
    struct egg *e = new_egg(b), *f = new_egg(b);
    assert_null(device_set(&e->dev, "drive", "d0"));
    assert_ptr_equal(e->drive, &drive);
    set_fails(f, "drive", "d0", "already in use");
    set_fails(f, "drive", "d9", "did you mean 'd0'?");
    device_free(&e->dev);
    assert_null(device_set(&f->dev, "drive", "d0"));
    struct error *err = backend_add(b->vm, BACKEND_DRIVE, "d0", &drive, NULL);
    assert_non_null(err);
    error_free(err);
    board_free(b);
}

static void a_device_that_cannot_be_realized_is_not_unrealized(void **unused)
{
    struct board *b = board_new();
    struct egg *e = new_egg(b);
    assert_null(device_set(&e->dev, "refuse", "on"));
    struct error *err = device_realize(&e->dev, NULL, NULL);
    assert_string_equal(error_text(err), "device 'egg-timer': the egg is bad");
    error_free(err);
    device_free(&e->dev);
    assert_null(b->vm->devices);
    board_free(b);
}

static void paths_are_unique(void **unused)
{
    struct board *b = board_new();
    struct egg *e = real_egg(b), *f = real_egg(b), *g = new_egg(b);
    assert_string_equal(e->dev.path, "egg-timer");
    assert_string_equal(f->dev.path, "egg-timer.1");
    assert_null(device_set(&g->dev, "id", "g"));
    assert_null(device_realize(&g->dev, &e->dev, NULL));
    assert_string_equal(g->dev.path, "egg-timer/g");
    board_free(b);
}

static void a_register_keeps_its_writable_bits(void **unused)
{
    struct board *b = board_new();
    struct device *dev = &real_egg(b)->dev;
    regs_write(dev, 0, 4, 0xffffffff);
    assert_int_equal(regs_read(dev, 0, 4), 0x00ffffff);
    regs_write(dev, 1, 1, 0x12);
    assert_int_equal(regs_read(dev, 0, 4), 0x00ff12ff);
    assert_int_equal(regs_read(dev, 1, 2), 0xff12);
    assert_int_equal(regs_read(dev, 8, 4), 0x34567890); /* computed, cut to the register */
    assert_int_equal(regs_read(dev, 10, 1), 0x56);
    board_free(b);
}

static void an_effect_sees_the_value_before_and_what_was_written(void **unused)
{
    struct board *b = board_new();
    struct egg *e = real_egg(b);
    regs_write(&e->dev, 4, 4, 0x1005);
    assert_int_equal(e->written, 0x1005);
    assert_int_equal(e->ctrl, 0x05);
    regs_write(&e->dev, 4, 4, 0x07);
    assert_int_equal(e->old, 0x05);
    assert_int_equal(e->n_writes, 2);
    board_free(b);
}

static void writing_one_clears_w1c_bits_only_in_the_lanes_written(void **unused)
{
    struct board *b = board_new();
    struct egg *e = real_egg(b);
    e->status = 0xff;
    regs_write(&e->dev, 0xc, 4, 0x1f);
    assert_int_equal(e->status, 0xef);
    regs_write(&e->dev, 0xd, 1, 0xff);
    assert_int_equal(e->status, 0xef);
    board_free(b);
}

static void wide_accesses_cover_several_registers(void **unused)
{
    struct board *b = board_new();
    struct egg *e = real_egg(b);
    regs_write(&e->dev, 0, 8, 0x0000002100654321);
    assert_int_equal(e->load, 0x654321);
    assert_int_equal(e->ctrl, 0x21);
    assert_int_equal(regs_read(&e->dev, 0, 8), 0x2100654321);
    assert_int_equal(regs_read(&e->dev, 0x1c, 8), 0x0000000700000000); /* a hole, then HALF */
    assert_int_equal(regs_read(&e->dev, 0x10, 4), 0);
    assert_int_equal(regs_read(&e->dev, 0x10000, 8), 0);
    regs_write(&e->dev, 0x10000, 8, 1);
    board_free(b);
}

static void a_stream_loads_after_a_reset_and_old_ones_too(void **unused)
{
    struct board *b = board_new();
    struct egg *e = real_egg(b), *f = real_egg(b);
    struct bytes out = { 0 };
    size_t pos = 0;
    e->load = 5;
    e->half = 9;
    device_save(&e->dev, &out);
    f->ctrl = 0x33;
    assert_null(device_load(&f->dev, out.at, out.n, &pos));
    assert_int_equal(f->load, 5);
    assert_int_equal(f->ctrl, 0);
    assert_int_equal(f->half, 9);
    out.at[0] = 1; /* version 1 has no HALF: it is as after a reset */
    pos = 0;
    assert_null(device_load(&f->dev, out.at, out.n - 2, &pos));
    assert_int_equal(f->half, 7);
    out.at[0] = 3;
    pos = 0;
    struct error *err = device_load(&f->dev, out.at, out.n, &pos);
    assert_non_null(strstr(error_text(err), "newer"));
    error_free(err);
    out.at[0] = 2;
    out.at[2] = 13; /* refused by .loaded: nothing of it stays */
    pos = 0;
    err = device_load(&f->dev, out.at, out.n, &pos);
    assert_non_null(strstr(error_text(err), "bad luck"));
    error_free(err);
    assert_int_equal(f->load, 0);
    bytes_free(&out);
    board_free(b);
}

static void a_guest_error_is_counted_and_a_reset_forgives(void **unused)
{
    struct board *b = board_new();
    struct egg *e = real_egg(b);
    assert_false(device_broken(&e->dev, "too many eggs: %u", 13));
    assert_true(e->dev.broken);
    assert_int_equal(b->vm->n_guest_errors, 1);
    device_reset(&e->dev);
    assert_false(e->dev.broken);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(properties_start_with_their_defaults),
        cmocka_unit_test(properties_are_set_as_typed_and_print_so),
        cmocka_unit_test(bad_values_say_what_would_be_accepted),
        cmocka_unit_test(unknown_classes_name_the_nearest),
        cmocka_unit_test(an_id_is_used_once),
        cmocka_unit_test(a_back_end_has_one_user_until_it_is_given_back),
        cmocka_unit_test(a_device_that_cannot_be_realized_is_not_unrealized),
        cmocka_unit_test(paths_are_unique),
        cmocka_unit_test(a_register_keeps_its_writable_bits),
        cmocka_unit_test(an_effect_sees_the_value_before_and_what_was_written),
        cmocka_unit_test(writing_one_clears_w1c_bits_only_in_the_lanes_written),
        cmocka_unit_test(wide_accesses_cover_several_registers),
        cmocka_unit_test(a_stream_loads_after_a_reset_and_old_ones_too),
        cmocka_unit_test(a_guest_error_is_counted_and_a_reset_forgives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
