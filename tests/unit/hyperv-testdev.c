/* hyperv-testdev, as kvm-unit-tests drives it: routes, messages, events. */
#include "board.h"

#include "core/accel.h"
#include "core/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { CREATE = 1, DESTROY, RAISE, MSG_CREATE, MSG_DESTROY, EVT_CREATE, EVT_DESTROY };
enum { POST = 0x5c, SIGNAL = 0x5d, MESSAGES = 0x1000, EVENTS = 0x2000, INPUT = 0x3000, SLOT = 256 };
enum { BAD_CODE = 2, BAD_ALIGNMENT = 4, BAD_PARAMETER = 5, BAD_CONNECTION = 0x12, FULL = 0x13 };

static struct board *two_cpus(void)
{
    struct board *b = board_new();
    board_add_vcpu(b);
    board_add_vcpu(b);
    board_add(b, "hyperv-testdev", NULL);
    b->sint_messages = BOARD_RAM + MESSAGES;
    b->sint_events = BOARD_RAM + EVENTS;
    return b;
}

static void control(struct board *b, uint8_t what, uint8_t vcpu, uint8_t sint, uint8_t id)
{
    mem_port_write(b->vm, 0x3000, 4,
                   (uint32_t)id << 24 | (uint32_t)what << 16 | (uint32_t)vcpu << 8 | sint);
}

static uint16_t call(struct board *b, uint16_t code, bool fast, uint64_t input)
{
    const struct hv_call c = { code, fast, { input } };
    return b->vm->hv_call(b->vm->hv_opaque, &c);
}

static uint16_t post(struct board *b, uint32_t id, uint32_t size, uint64_t value)
{
    struct {
        uint32_t id, reserved, type, size;
        uint64_t payload[30];
    } in = { id, 0, 1, size, { value } };
    board_ram_write(b, INPUT, &in, sizeof(in));
    return call(b, POST, false, BOARD_RAM + INPUT);
}

static uint64_t word(struct board *b, uint64_t at)
{
    uint64_t v;
    board_ram_read(b, at, &v, sizeof(v));
    return v;
}

/* The guest empties its slot and says so. */
static void take_message(struct board *b, unsigned vcpu, unsigned sint)
{
    uint64_t one = 1;
    board_ram_write(b, MESSAGES + SLOT * sint, "\0\0\0", 4);
    assert_int_equal(write(board_sint(b, vcpu, sint)->ended, &one, 8), 8);
    board_step(b);
}

static void a_route_is_raised_until_it_is_destroyed(void **unused)
{
    struct board *b = two_cpus();
    control(b, RAISE, 1, 5, 0);
    assert_null(board_sint(b, 1, 5));
    control(b, CREATE, 1, 5, 0);
    assert_false(board_sint_was_raised(b, 1, 5));
    control(b, RAISE, 1, 5, 0);
    assert_true(board_sint_was_raised(b, 1, 5));
    assert_null(board_sint(b, 0, 5));
    control(b, DESTROY, 1, 5, 0);
    assert_null(board_sint(b, 1, 5));
    control(b, CREATE, 2, 5, 0);  /* no such vCPU */
    control(b, CREATE, 0, 16, 0); /* no such source */
    assert_null(board_sint(b, 2, 5));
    assert_null(board_sint(b, 0, 16));
    assert_int_equal(b->vm->n_guest_errors, 2);
    board_free(b);
}

static void a_message_comes_back_when_there_is_room(void **unused)
{
    struct board *b = two_cpus();
    control(b, MSG_CREATE, 1, 2, 7);
    assert_int_equal(post(b, 7, 8, 0x1111), 0);
    assert_true(board_sint_was_raised(b, 1, 2));
    uint64_t at = MESSAGES + 2 * SLOT;
    assert_int_equal(word(b, at), 8ull << 32 | 1);
    assert_int_equal(word(b, at + 16), 0x1111);

    assert_int_equal(post(b, 7, 8, 0x2222), 0);
    assert_false(board_sint_was_raised(b, 1, 2));
    assert_int_equal(word(b, at), 1ull << 40 | 8ull << 32 | 1); /* another is pending */
    assert_int_equal(word(b, at + 16), 0x1111);
    assert_int_equal(post(b, 7, 8, 0x3333), FULL);

    take_message(b, 1, 2);
    assert_true(board_sint_was_raised(b, 1, 2));
    assert_int_equal(word(b, at), 8ull << 32 | 1);
    assert_int_equal(word(b, at + 16), 0x2222);
    take_message(b, 1, 2);
    assert_false(board_sint_was_raised(b, 1, 2));
    control(b, MSG_DESTROY, 0, 0, 7);
    assert_int_equal(post(b, 7, 8, 0), BAD_CONNECTION);
    board_free(b);
}

static void an_event_sets_its_flag_and_raises_once(void **unused)
{
    struct board *b = two_cpus();
    control(b, EVT_CREATE, 0, 3, 65);
    assert_int_equal(call(b, SIGNAL, true, 65), 0);
    assert_true(board_sint_was_raised(b, 0, 3));
    assert_int_equal(word(b, EVENTS + 3 * SLOT + 8), 2);
    assert_int_equal(call(b, SIGNAL, true, 65), 0);
    assert_false(board_sint_was_raised(b, 0, 3)); /* the guest has not looked yet */
    board_ram_write(b, EVENTS + 3 * SLOT + 8, "", 1);
    uint64_t in = 65;
    board_ram_write(b, INPUT, &in, 8);
    assert_int_equal(call(b, SIGNAL, false, BOARD_RAM + INPUT), 0);
    assert_true(board_sint_was_raised(b, 0, 3));
    board_free(b);
}

static void what_is_wrong_with_a_call_is_said(void **unused)
{
    struct board *b = two_cpus();
    control(b, MSG_CREATE, 0, 1, 1);
    control(b, EVT_CREATE, 0, 1, 1);
    assert_int_equal(call(b, 0x40, true, 0), BAD_CODE);
    assert_int_equal(call(b, POST, true, 0), BAD_CODE);
    assert_int_equal(call(b, POST, false, BOARD_RAM + 4), BAD_ALIGNMENT);
    assert_int_equal(call(b, POST, false, 0), BAD_PARAMETER); /* no memory there */
    assert_int_equal(call(b, SIGNAL, false, BOARD_RAM + 4), BAD_ALIGNMENT);
    assert_int_equal(call(b, SIGNAL, true, 1ull << 32 | 1), BAD_PARAMETER);
    assert_int_equal(call(b, SIGNAL, true, 2), BAD_CONNECTION);
    assert_int_equal(call(b, SIGNAL, true, UINT32_MAX), BAD_CONNECTION);
    assert_int_equal(post(b, 1, 241, 0), BAD_PARAMETER);
    assert_int_equal(post(b, 256, 8, 0), BAD_CONNECTION);
    b->sint_events = SYNIC_NOWHERE;
    assert_int_equal(call(b, SIGNAL, true, 1), BAD_CONNECTION);
    b->sint_messages = UINT64_MAX - 0xfff; /* pages that are no memory */
    assert_int_equal(post(b, 1, 8, 0), 0);
    assert_false(board_sint_was_raised(b, 0, 1));
    board_free(b);
}

static void a_waiting_message_is_part_of_the_state(void **unused)
{
    struct board *b = two_cpus(), *fresh = two_cpus();
    struct bytes state = { 0 };
    size_t pos = 0;
    control(b, MSG_CREATE, 1, 2, 7);
    post(b, 7, 8, 0x1111);
    post(b, 7, 8, 0x2222);
    device_save(b->dev, &state);
    assert_null(device_load(fresh->dev, state.at, state.n, &pos));
    take_message(fresh, 1, 2);
    assert_int_equal(word(fresh, MESSAGES + 2 * SLOT + 16), 0x2222);
    bytes_free(&state);
    board_free(b);
    board_free(fresh);
}

static void a_connection_that_is_refused_leaves_nothing(void **unused)
{
    struct board *b = two_cpus();
    control(b, EVT_CREATE, 0, 17, 3);
    control(b, MSG_CREATE, 9, 1, 3);
    assert_int_equal(call(b, SIGNAL, true, 3), BAD_CONNECTION);
    board_check(b);
    board_free(b);
}

static void an_engine_without_them_refuses_the_device(void **unused)
{
    struct board *b = board_new();
    struct accel poor = *b->vm->accel;
    const struct accel *rich = b->vm->accel;
    poor.synic = NULL;
    b->vm->accel = &poor;
    char *why = board_refuses(b, "hyperv-testdev", NULL);
    assert_non_null(strstr(why, "synthetic interrupt controllers"));
    free(why);
    b->vm->accel = rich;
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_route_is_raised_until_it_is_destroyed),
        cmocka_unit_test(a_message_comes_back_when_there_is_room),
        cmocka_unit_test(an_event_sets_its_flag_and_raises_once),
        cmocka_unit_test(what_is_wrong_with_a_call_is_said),
        cmocka_unit_test(a_waiting_message_is_part_of_the_state),
        cmocka_unit_test(a_connection_that_is_refused_leaves_nothing),
        cmocka_unit_test(an_engine_without_them_refuses_the_device),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
