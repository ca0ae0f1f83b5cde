/* Power management, watchdog, reset and the small ports of a PC. */
#include "board.h"

#include "core/chardev.h"
#include "hw/misc/acpi_ged.h"
#include "hw/misc/acpi_pm.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MS 1000000ull
enum {
    PM1_STATUS = 0,
    PM1_ENABLE = 2,
    PM1_CONTROL = 4,
    PM_TIMER = 8,
    SMI_ENABLE = 0x30,
    TCO = 0x60
};
enum { SCI, SMI };

static struct board *pm_board(const char *class_name)
{
    struct board *b = board_with(class_name, NULL);
    *acpi_pm_sci(b->dev) = board_irq(b, SCI);
    *acpi_pm_smi(b->dev) = board_irq(b, SMI);
    board_poke(b, b->regions[1], 1, *class_name == 'I' ? ICH9_ACPI_ENABLE : PIIX4_ACPI_ENABLE);
    return b;
}

static void the_command_port_switches_acpi_on_and_off(void **unused)
{
    struct board *b = pm_board("ICH9-PM");
    assert_int_equal(board_read(b, PM1_CONTROL, 2), 1);
    board_poke(b, b->regions[1], 1, ICH9_ACPI_DISABLE);
    assert_int_equal(board_read(b, PM1_CONTROL, 2), 0);
    assert_false(board_line_was_raised(b, SMI));
    board_write(b, SMI_ENABLE, 4, 0x21);
    board_poke(b, b->regions[1], 1, 0x77);
    assert_int_equal(b->lines[SMI].raised, 1);
    assert_int_equal(board_peek(b, b->regions[1], 1), 0x77);
    board_free(b);
}

static void pm_timer_counts_at_3579545_hz_and_wraps(void **unused)
{
    struct board *b = pm_board("PIIX4-PM-block");
    uint64_t before = board_read(b, PM_TIMER, 4);
    board_advance_ns(b, 1000 * MS);
    assert_int_equal((board_read(b, PM_TIMER, 4) - before) & 0xffffff, 3579545);
    board_advance_ns(b, 4000 * MS);
    assert_in_range(board_read(b, PM_TIMER, 4), 0, 0xffffff);
    board_free(b);
}

static void pm_timer_interrupts_when_its_top_bit_changes(void **unused)
{
    struct board *b = pm_board("ICH9-PM");
    board_write(b, PM1_ENABLE, 2, 1);
    board_advance_ns(b, 2343 * MS);
    assert_false(b->lines[SCI].level);
    board_advance_ns(b, MS);
    assert_true(b->lines[SCI].level);
    board_write(b, PM1_STATUS, 2, 1);
    assert_false(b->lines[SCI].level);
    board_advance_ns(b, 2344 * MS);
    assert_true(b->lines[SCI].level);
    board_free(b);
}

static void power_button_raises_sci_until_cleared(void **unused)
{
    struct board *b = pm_board("ICH9-PM");
    board_write(b, PM1_ENABLE, 2, 1 << 8);
    assert_true(vm_press_power_button(b->vm));
    assert_true(b->lines[SCI].level);
    assert_int_equal(board_read(b, PM1_STATUS, 2), 1 << 8);
    board_write(b, PM1_STATUS, 2, 1 << 8);
    assert_false(b->lines[SCI].level);
    acpi_pm_sleep_button(b->dev); /* not enabled */
    assert_false(b->lines[SCI].level);
    board_free(b);
}

static void sleep_type_0_powers_off(void **unused)
{
    struct board *b = pm_board("PIIX4-PM-block");
    board_write(b, PM1_CONTROL, 2, 1 << 13 | 1 << 10 | 1);
    assert_int_equal(b->vm->verdict, VERDICT_NONE); /* S3 is not offered */
    board_write(b, PM1_CONTROL, 2, 1 << 13 | 1);
    assert_int_equal(b->vm->verdict, VERDICT_POWERED_OFF);
    board_free(b);
}

static void the_alarm_wakes_where_it_is_enabled(void **unused)
{
    for (int enabled = 0; enabled < 2; enabled++) {
        struct board *b = pm_board("ICH9-PM");
        struct irq alarm = acpi_pm_alarm_input(b->dev);
        b->vm->can_suspend = true;
        board_write(b, PM1_ENABLE, 2, enabled ? 1 << 10 : 0);
        irq_set(&alarm, true);
        irq_set(&alarm, false);
        assert_int_equal(board_read(b, PM1_STATUS, 2), 1 << 10);
        board_write(b, PM1_CONTROL, 2, 1 << 13 | 1 << 10 | 1);
        assert_true(b->vm->suspend_wanted);
        assert_false(b->vm->wake_wanted);
        irq_set(&alarm, true);
        irq_set(&alarm, false);
        assert_int_equal(b->vm->wake_wanted, enabled);
        board_free(b);
    }
}

static void general_events_latch_and_interrupt(void **unused)
{
    struct board *b = pm_board("ICH9-PM");
    struct irq hot_plug = acpi_pm_gpe_input(b->dev, 9);
    board_write(b, 0x28, 4, 1 << 9);
    irq_set(&hot_plug, true);
    irq_set(&hot_plug, false);
    assert_true(b->lines[SCI].level);
    assert_int_equal(board_read(b, 0x21, 1), 2);
    board_write(b, 0x21, 1, 2);
    assert_false(b->lines[SCI].level);
    board_free(b);
    b = pm_board("PIIX4-PM-block");
    gpa gpe = b->regions[2];
    hot_plug = acpi_pm_gpe_input(b->dev, 1);
    board_poke(b, gpe + 2, 1, 2);
    irq_set(&hot_plug, true);
    assert_true(b->lines[SCI].level);
    board_poke(b, gpe, 1, 2);
    assert_false(b->lines[SCI].level);
    board_free(b);
}

static void watchdog_tells_then_resets(void **unused)
{
    struct board *b = pm_board("ICH9-PM");
    acpi_pm_set_no_reboot(b->dev, false);
    board_write(b, SMI_ENABLE, 4, 1 << 13 | 1);
    board_write(b, TCO + 0x12, 2, 10);
    board_write(b, TCO, 2, 1);
    assert_int_equal(board_read(b, TCO, 2), 10);
    board_advance_ns(b, 5999 * MS);
    assert_int_equal(board_read(b, TCO + 4, 2), 0);
    board_write(b, TCO, 2, 1); /* fed */
    board_advance_ns(b, 6000 * MS);
    assert_int_equal(board_read(b, TCO + 4, 2), 1 << 3);
    assert_int_equal(b->lines[SMI].raised, 1);
    assert_int_equal(b->vm->reset_wanted, false);
    b->vm->no_reboot = true;
    board_advance_ns(b, 6000 * MS);
    assert_int_equal(board_read(b, TCO + 6, 2), 1 << 1);
    assert_int_equal(b->vm->verdict, VERDICT_RESET);
    board_free(b);
}

static void halted_watchdog_stands(void **unused)
{
    struct board *b = pm_board("ICH9-PM");
    board_write(b, TCO, 2, 1);
    board_write(b, TCO + 8, 2, 1 << 11);
    board_advance_ns(b, 60000 * MS);
    assert_int_equal(board_read(b, TCO + 4, 2), 0);
    board_free(b);
}

static void port_cf9_resets_on_a_rising_bit(void **unused)
{
    struct board *b = board_with("reset-control", NULL);
    board_write(b, 0, 1, 2);
    assert_false(b->vm->reset_wanted);
    board_write(b, 0, 1, 6);
    assert_true(b->vm->reset_wanted);
    board_free(b);
}

static void debug_ports_print_and_exit(void **unused)
{
    struct board *b = board_new();
    struct chardev *out;
    uint8_t text[4];
    uint32_t value;
    assert_null(chardev_add(b->vm, "c", "ringbuf", &out));
    board_add(b, "isa-debugcon", "iobase", "0x402", "chardev", "c", NULL);
    board_add(b, "isa-debug-exit", "iobase", "0xf4", "iosize", "4", NULL);
    mem_port_write(b->vm, 0x402, 1, 'H');
    mem_port_write(b->vm, 0x402, 1, 'i');
    assert_true(mem_port_read(b->vm, 0x402, 1, &value));
    assert_int_equal(value, 0xe9);
    board_step(b);
    assert_int_equal(chardev_ringbuf_read(out, text, sizeof(text)), 2);
    assert_memory_equal(text, "Hi", 2);
    mem_port_write(b->vm, 0xf4, 4, 0x10);
    assert_int_equal(b->vm->verdict, VERDICT_GUEST_EXIT);
    assert_int_equal(b->vm->exit_code, 33);
    board_free(b);
}

static void a_panic_ends_the_run_unless_a_crash_kernel_takes_over(void **unused)
{
    struct board *b = board_new();
    uint32_t value;
    board_add(b, "pvpanic", NULL);
    assert_true(mem_port_read(b->vm, 0x505, 1, &value));
    assert_int_equal(value, 7);
    mem_port_write(b->vm, 0x505, 1, 2);
    assert_int_equal(b->vm->verdict, VERDICT_NONE);
    mem_port_write(b->vm, 0x505, 1, 1);
    assert_int_equal(b->vm->verdict, VERDICT_GUEST_PANIC);
    board_free(b);
}

static void a_parallel_port_answers_probes_and_has_no_printer(void **unused)
{
    struct board *b = board_with("isa-parallel", NULL);
    board_write(b, 0, 1, 0x55);
    assert_int_equal(board_read(b, 0, 1), 0x55);
    board_write(b, 2, 1, 0x0e);
    assert_int_equal(board_read(b, 2, 1), 0xce);
    assert_int_equal(board_read(b, 1, 1) & 0xa0, 0x20); /* busy, no paper */
    board_free(b);
}

static void ged_tells_of_the_power_button_once(void **unused)
{
    struct board *b = board_with("acpi-ged", NULL);
    *acpi_ged_output(b->dev) = board_irq(b, SCI);
    assert_true(vm_press_power_button(b->vm));
    assert_true(vm_press_power_button(b->vm));
    assert_int_equal(b->lines[SCI].raised, 2);
    assert_int_equal(b->lines[SCI].lowered, 2);
    assert_int_equal(board_read(b, ACPI_GED_EVENTS, 1), 0);
    assert_int_equal(board_read(b, ACPI_GED_EVENTS, 4), ACPI_GED_POWER_BUTTON);
    assert_int_equal(board_read(b, ACPI_GED_EVENTS, 4), 0);
    board_free(b);
}

static void ged_switches_off_and_resets(void **unused)
{
    struct board *b = board_with("acpi-ged", NULL);
    board_write(b, ACPI_GED_SLEEP, 1, ACPI_GED_S5 << 2);
    board_write(b, ACPI_GED_RESET, 1, 0x41);
    board_write(b, ACPI_GED_SLEEP, 1, 1 << 5 | 3 << 2);
    assert_int_equal(b->vm->verdict, VERDICT_NONE);
    assert_false(b->vm->reset_wanted);
    assert_int_equal(b->vm->n_guest_errors, 1);
    board_write(b, ACPI_GED_RESET, 1, ACPI_GED_RESET_VALUE);
    assert_true(b->vm->reset_wanted);
    board_write(b, ACPI_GED_SLEEP, 1, 1 << 5 | ACPI_GED_S5 << 2);
    assert_int_equal(b->vm->verdict, VERDICT_POWERED_OFF);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_parallel_port_answers_probes_and_has_no_printer),
        cmocka_unit_test(the_command_port_switches_acpi_on_and_off),
        cmocka_unit_test(pm_timer_counts_at_3579545_hz_and_wraps),
        cmocka_unit_test(pm_timer_interrupts_when_its_top_bit_changes),
        cmocka_unit_test(power_button_raises_sci_until_cleared),
        cmocka_unit_test(sleep_type_0_powers_off),
        cmocka_unit_test(the_alarm_wakes_where_it_is_enabled),
        cmocka_unit_test(general_events_latch_and_interrupt),
        cmocka_unit_test(watchdog_tells_then_resets),
        cmocka_unit_test(halted_watchdog_stands),
        cmocka_unit_test(port_cf9_resets_on_a_rising_bit),
        cmocka_unit_test(debug_ports_print_and_exit),
        cmocka_unit_test(a_panic_ends_the_run_unless_a_crash_kernel_takes_over),
        cmocka_unit_test(ged_tells_of_the_power_button_once),
        cmocka_unit_test(ged_switches_off_and_resets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
