/* VMware's port: calls by registers, and the pointer behind it. */
#include "board.h"

#include "hw/input/i8042.h"
#include "hw/input/vmport.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MAGIC = 0x564d5868, REL_WHEEL = 8, LEFT = 0x110, PACKET = 4 };
enum { VERSION = 10, MEMORY = 20, DATA = 39, STATUS = 40, COMMAND = 41 };
enum { ENABLE = 0x45414552, DISABLE = 0xf5, RELATIVE = 0x4c455252, ABSOLUTE = 0x53424152 };

/* The registers of the CPU that accesses. */
static uint32_t cpu[VMPORT_N_REGISTERS];

static bool get(struct vm *vm, uint32_t r[VMPORT_N_REGISTERS])
{
    memcpy(r, cpu, sizeof(cpu));
    return true;
}
static void set(struct vm *vm, const uint32_t r[VMPORT_N_REGISTERS])
{
    memcpy(cpu, r, sizeof(cpu));
}
static const struct vmport_cpu access_to_cpu = { get, set };

static struct board *port_board(void)
{
    struct board *b = board_with("i8042", NULL);
    struct device *kbc = b->dev;
    for (unsigned i = 0; i < I8042_N_LINES; i++)
        *i8042_output(kbc, i) = board_irq(b, i);
    device_reset(kbc);
    vmport_attach(board_add(b, "vmport", "iobase", "0x5658", NULL), &access_to_cpu, 3 * GIB, kbc);
    board_write(b, 4, 1, 0x60);
    board_write(b, 0, 1, 0x47);
    board_write(b, 4, 1, 0xd4);
    board_write(b, 0, 1, 0xf4); /* the mouse reports */
    board_read(b, 0, 1);
    return b;
}

/* IN; what it gives. */
static uint32_t call(struct board *b, uint32_t command, uint32_t ebx)
{
    uint32_t eax;
    memcpy(cpu, (uint32_t[]){ MAGIC, ebx, command, 0x5658, 5, 6 }, sizeof(cpu));
    mem_port_read(b->vm, 0x5658, 4, &eax);
    return eax;
}

static void expect_packet(struct board *b, uint32_t buttons, int32_t x, int32_t y, int32_t z)
{
    assert_int_equal(call(b, DATA, PACKET), buttons);
    assert_int_equal((int32_t)cpu[VMPORT_EBX], x);
    assert_int_equal((int32_t)cpu[VMPORT_ECX], y);
    assert_int_equal((int32_t)cpu[VMPORT_EDX], z);
    assert_int_equal(cpu[VMPORT_ESI], 5);
}

/* As Linux does it. */
static void drive(struct board *b, uint32_t mode)
{
    call(b, COMMAND, ENABLE);
    assert_int_equal(call(b, STATUS, 0), 1);
    assert_int_equal(call(b, DATA, 1), 0x3442554a);
    call(b, COMMAND, mode);
    assert_int_equal(call(b, STATUS, 0), 0);
}

static void version_and_memory_are_told_to_who_knows_the_magic(void **unused)
{
    struct board *b = port_board();
    uint32_t v;
    assert_int_equal(call(b, VERSION, 0), 6);
    assert_int_equal(cpu[VMPORT_EBX], MAGIC);
    assert_int_equal(call(b, MEMORY, 0), 3 * 1024);
    assert_int_equal(call(b, 1234, 0), UINT32_MAX);
    cpu[VMPORT_EAX] = 1;
    mem_port_read(b->vm, 0x5658, 4, &v);
    assert_int_equal(v, UINT32_MAX);
    memcpy(cpu, (uint32_t[]){ MAGIC, 0, VERSION }, 12);
    mem_port_read(b->vm, 0x5658, 2, &v);
    assert_int_equal(v, 0xffff);
    assert_int_equal(cpu[VMPORT_EAX], MAGIC);
    mem_port_write(b->vm, 0x5658, 4, MAGIC); /* OUT is the same call */
    assert_int_equal(cpu[VMPORT_EAX], 6);
    board_free(b);
}

static void an_enabled_pointer_shows_positions_and_interrupts(void **unused)
{
    const struct input_event events[] = { { INPUT_EV_ABS, 0, INPUT_ABS_MAX },
                                          { INPUT_EV_ABS, 1, 0x4000 },
                                          { INPUT_EV_KEY, LEFT, 1 },
                                          { INPUT_EV_REL, REL_WHEEL, 1 } };
    struct board *b = port_board();
    assert_int_equal(call(b, STATUS, 0), 0xffff0000);
    assert_false(input_available(b->vm, INPUT_TABLET));
    drive(b, ABSOLUTE);
    assert_true(input_available(b->vm, INPUT_TABLET));
    assert_false(input_available(b->vm, INPUT_MOUSE));
    assert_true(input_send_event(b->vm, INPUT_TABLET, events, 4));
    assert_true(b->lines[I8042_MOUSE].level);
    assert_int_equal(board_read(b, 0, 1) & 0xc8, 0x08); /* an empty report by PS/2 */
    assert_int_equal(call(b, STATUS, 0), PACKET);
    expect_packet(b, 0x20, 0xffff, 0x8000, -1);
    assert_int_equal(call(b, STATUS, 0), 0);
    call(b, COMMAND, DISABLE);
    assert_int_equal(call(b, STATUS, 0), 0xffff0000);
    assert_true(input_available(b->vm, INPUT_MOUSE));
    board_free(b);
}

static void a_relative_pointer_moves_up_by_positive_numbers(void **unused)
{
    const struct input_event events[] = { { INPUT_EV_REL, 0, 3 }, { INPUT_EV_REL, 1, 5 } };
    struct board *b = port_board();
    drive(b, RELATIVE);
    assert_false(input_send_event(b->vm, INPUT_TABLET, events, 2));
    assert_true(input_send_event(b->vm, INPUT_MOUSE, events, 2));
    expect_packet(b, 1 << 16, 3, -5, 0);
    board_free(b);
}

static void a_slow_guest_sees_the_newest_position_last(void **unused)
{
    struct board *b = port_board();
    uint32_t n, x = 0;
    drive(b, ABSOLUTE);
    for (uint32_t i = 1; i <= 1000; i++)
        input_send_event(b->vm, INPUT_TABLET, &(struct input_event){ INPUT_EV_ABS, 0, i }, 1);
    for (unsigned i = 0; i < 1000 && (n = call(b, STATUS, 0)) != 0; i++) {
        assert_int_equal(n % PACKET, 0);
        call(b, DATA, PACKET);
        x = cpu[VMPORT_EBX];
    }
    assert_int_equal(x, 1000 * 0xffff / 0x7fff);
    board_free(b);
}

static void who_asks_for_more_than_there_is_begins_anew(void **unused)
{
    static const uint32_t counts[] = { 0, 2, 7, UINT32_MAX };
    struct board *b = port_board();
    for (unsigned i = 0; i < 4; i++) {
        call(b, COMMAND, ENABLE);
        assert_int_equal(call(b, DATA, counts[i]), UINT32_MAX);
        assert_int_equal(call(b, STATUS, 0), 0xffff0000);
    }
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_and_memory_are_told_to_who_knows_the_magic),
        cmocka_unit_test(an_enabled_pointer_shows_positions_and_interrupts),
        cmocka_unit_test(a_relative_pointer_moves_up_by_positive_numbers),
        cmocka_unit_test(a_slow_guest_sees_the_newest_position_last),
        cmocka_unit_test(who_asks_for_more_than_there_is_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
