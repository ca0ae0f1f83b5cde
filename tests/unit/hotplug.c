/* Devices that come and go: the slot of a root port as a guest drives it, what goes with a device, and that nothing
 * of it stays. */
#include "core/backends.h"
#include "core/error.h"
#include "core/event.h"
#include "core/loop.h"
#include "hw/machine/machine.h"
#include "hw/pci/root_port.h"
#include "virtio_guest.h"
#include "x86_board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    PORT = 2 << 3,
    CONTROL = 0x18,
    STATUS = 0x1a,
    BUTTON = 1 << 0,
    PRESENCE_CHANGED = 1 << 3,
    COMMAND_DONE = 1 << 4,
    PRESENT = 1 << 6,
    LINK_CHANGED = 1 << 8,
    INDICATOR_ON = 1 << 8,
    INDICATOR_BLINKS = 2 << 8,
    INDICATOR_OFF = 3 << 8,
    POWER_OFF = 1 << 10,
    ALL_EVENTS = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 12, /* not those of commands */
};

struct world {
    struct guest *g;
    unsigned cap, n_deleted, n_kept;
    char last[200];
};

static void heard(void *opaque, const struct event *e)
{
    struct world *w = opaque;
    w->n_deleted += e->kind == EVENT_DEVICE_DELETED;
    w->n_kept += e->kind == EVENT_DEVICE_UNPLUG_GUEST_ERROR;
    *w->last = 0;
    for (size_t i = 0; i < e->n; i++) {
        size_t n = strlen(w->last);
        snprintf(w->last + n, sizeof(w->last) - n, "%s=%s ", e->items[i].name, e->items[i].text);
    }
}

static struct world *world_new(void)
{
    struct world *w = xcalloc(1, sizeof(*w));
    w->g = guest_new();
    guest_add(w->g, &root_port_class, "id", "rp1", "addr", "2", "slot", "7", NULL);
    vm_reset(w->g->b->vm);
    guest_config_write(w->g, PORT, PCI_PRIMARY_BUS, 4, 0x00010100);
    guest_config_write(w->g, PORT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    w->cap = guest_capability(w->g, PORT, PCI_CAP_EXPRESS, 0);
    event_listen(w->g->b->vm, heard, w);
    return w;
}

static void world_free(struct world *w)
{
    guest_free(w->g);
    free(w);
}

static struct error *plug(struct world *w, const char *class_name, const char *id, const char *bus,
                          const char *addr)
{
    const struct prop_value props[] = { { "id", id }, { "bus", bus }, { "addr", addr } };
    return device_plug(w->g->b->vm, class_name, props, addr ? 3 : 2);
}

static void plug_rng(struct world *w, const char *id)
{
    struct error *err = plug(w, "virtio-rng-pci", id, "rp1", NULL);
    if (err)
        fail_msg("%s", error_text(err));
}

static void refused(struct error *err, const char *words)
{
    assert_non_null(err);
    if (!strstr(error_text(err), words))
        fail_msg("'%s' lacks '%s'", error_text(err), words);
    error_free(err);
}

static unsigned slot(struct world *w, unsigned reg)
{
    return guest_config_read(w->g, PORT, w->cap + reg, 2);
}

static void command(struct world *w, unsigned control)
{
    guest_config_write(w->g, PORT, w->cap + CONTROL, 2, control);
}

static void clear_events(struct world *w)
{
    guest_config_write(w->g, PORT, w->cap + STATUS, 2, 0xffff);
}

static bool link_is_up(struct world *w)
{
    return slot(w, 0x12) >> 13 & 1;
}

static uint32_t behind(struct world *w, unsigned off, unsigned n)
{
    return (uint32_t)board_peek(w->g->b, GUEST_ECAM + MIB + off, n);
}

static struct device *find(struct world *w, const char *id)
{
    return device_find(w->g->b->vm, id);
}

static struct error *unplug(struct world *w, const char *id)
{
    return device_unplug(find(w, id));
}

static void guest_lets_go(struct world *w)
{
    command(w, ALL_EVENTS | INDICATOR_BLINKS);
    command(w, ALL_EVENTS | INDICATOR_BLINKS | POWER_OFF);
    command(w, ALL_EVENTS | INDICATOR_OFF | POWER_OFF);
    board_step(w->g->b);
}

/* ---- the slot -------------------------------------------------------------------------------- */

static void slot_says_what_it_can(void **unused)
{
    struct world *w = world_new();
    uint32_t caps = guest_config_read(w->g, PORT, w->cap + 0x14, 4);
    assert_int_equal(caps & 0x7f,
                     0x5b); /* button, power controller, indicators, hot-plug; no surprise */
    assert_int_equal(caps >> 19, 7);
    assert_int_equal(guest_config_read(w->g, PORT, w->cap + 0x0c, 4) >> 20 & 1, 1);
    assert_int_equal(slot(w, CONTROL), 3 << 6 | INDICATOR_OFF | POWER_OFF);
    assert_int_equal(slot(w, STATUS), 0);
    world_free(w);
}

static void port_without_hot_plug_refuses(void **unused)
{
    struct world *w = world_new();
    guest_add(w->g, &root_port_class, "id", "rp2", "addr", "3", "hotplug", "off", NULL);
    unsigned cap = guest_capability(w->g, 3 << 3, PCI_CAP_EXPRESS, 0);
    assert_int_equal(guest_config_read(w->g, 3 << 3, cap + 0x14, 4) & 0x7f, 0);
    refused(plug(w, "virtio-rng-pci", "r", "rp2", NULL), "does not support hotplugging");
    assert_null(find(w, "r"));
    world_free(w);
}

static void plugging_rings_and_power_shows_the_device(void **unused)
{
    struct world *w = world_new();
    plug_rng(w, "r");
    assert_int_equal(slot(w, STATUS), PRESENT | PRESENCE_CHANGED | BUTTON);
    assert_false(link_is_up(w));
    assert_int_equal(behind(w, 0, 4), 0xffffffff);
    clear_events(w);
    command(w, INDICATOR_ON);
    assert_int_equal(slot(w, STATUS), PRESENT | LINK_CHANGED | COMMAND_DONE);
    assert_true(link_is_up(w));
    assert_int_equal(behind(w, 0, 4), 0x10441af4);
    world_free(w);
}

static void interrupt_is_a_level_until_events_are_cleared(void **unused)
{
    struct world *w = world_new();
    command(w, ALL_EVENTS | POWER_OFF | INDICATOR_OFF);
    assert_false(w->g->b->lines[2].level);
    plug_rng(w, "r");
    assert_true(w->g->b->lines[2].level); /* slot 2, INTA# */
    clear_events(w);
    assert_false(w->g->b->lines[2].level);
    world_free(w);
}

static void interrupt_is_one_message_for_events_together(void **unused)
{
    struct world *w = world_new();
    unsigned msi = guest_capability(w->g, PORT, PCI_CAP_MSI, 0);
    guest_config_write(w->g, PORT, msi + 4, 4, (uint32_t)BOARD_MSI);
    guest_config_write(w->g, PORT, msi + 12, 2, 0x55);
    guest_config_write(w->g, PORT, msi + 2, 2, 1);
    command(w, ALL_EVENTS | POWER_OFF | INDICATOR_OFF);
    plug_rng(w, "r");
    assert_int_equal(w->g->b->n_msis, 1);
    assert_int_equal(w->g->b->msis[0].data, 0x55);
    command(w, ALL_EVENTS | INDICATOR_ON); /* the link comes up while events wait */
    assert_int_equal(w->g->b->n_msis, 1);
    clear_events(w);
    assert_null(unplug(w, "r"));
    assert_int_equal(w->g->b->n_msis, 2);
    assert_false(w->g->b->lines[2].level);
    world_free(w);
}

static void device_goes_when_the_guest_put_out_the_indicator(void **unused)
{
    struct world *w = world_new();
    plug_rng(w, "r");
    command(w, ALL_EVENTS | INDICATOR_ON);
    clear_events(w);
    assert_null(unplug(w, "r"));
    assert_int_equal(slot(w, STATUS), PRESENT | BUTTON);
    board_step(w->g->b);
    assert_non_null(find(w, "r"));
    command(w, ALL_EVENTS | INDICATOR_BLINKS | POWER_OFF);
    board_step(w->g->b);
    assert_non_null(find(w, "r")); /* power is off, but the light is on */
    assert_int_equal(behind(w, 0, 4), 0xffffffff);
    clear_events(w);
    command(w, ALL_EVENTS | INDICATOR_OFF | POWER_OFF);
    board_step(w->g->b);
    assert_null(find(w, "r"));
    assert_int_equal(slot(w, STATUS), PRESENCE_CHANGED | COMMAND_DONE);
    assert_int_equal(w->n_deleted, 2); /* its inner part, and itself */
    assert_string_equal(w->last, "device=r path=/machine/peripheral/r ");
    world_free(w);
}

static void guest_that_keeps_it_is_told_about(void **unused)
{
    struct world *w = world_new();
    plug_rng(w, "r");
    command(w, ALL_EVENTS | INDICATOR_ON);
    assert_null(unplug(w, "r"));
    refused(unplug(w, "r"), "already in the process");
    command(w, ALL_EVENTS | INDICATOR_BLINKS);
    command(w, ALL_EVENTS | INDICATOR_ON);
    assert_int_equal(w->n_kept, 1);
    assert_string_equal(w->last, "device=r path=/machine/peripheral/r ");
    command(w, ALL_EVENTS | INDICATOR_OFF | POWER_OFF); /* nobody asked for it */
    board_step(w->g->b);
    assert_non_null(find(w, "r"));
    command(w, ALL_EVENTS | INDICATOR_ON);
    assert_int_equal(behind(w, 0, 4), 0x10441af4);
    assert_int_equal(w->n_deleted, 0);
    world_free(w);
}

static void busy_guest_is_not_asked(void **unused)
{
    struct world *w = world_new();
    plug_rng(w, "r");
    command(w, INDICATOR_BLINKS);
    refused(unplug(w, "r"), "blinks");
    world_free(w);
}

static void power_off_resets_what_is_there(void **unused)
{
    struct world *w = world_new();
    plug_rng(w, "r");
    command(w, INDICATOR_ON);
    board_poke(w->g->b, GUEST_ECAM + MIB + PCI_COMMAND, 2, PCI_COMMAND_MASTER);
    command(w, INDICATOR_OFF | POWER_OFF);
    command(w, INDICATOR_ON);
    assert_int_equal(behind(w, PCI_COMMAND, 2), 0);
    world_free(w);
}

static void reset_lets_go_what_was_asked_for(void **unused)
{
    struct world *w = world_new();
    plug_rng(w, "r");
    vm_reset(w->g->b->vm);
    assert_int_equal(slot(w, CONTROL),
                     3 << 6 | INDICATOR_ON); /* plugged means powered after a reset */
    assert_true(link_is_up(w));
    assert_null(unplug(w, "r"));
    vm_reset(w->g->b->vm);
    board_step(w->g->b);
    assert_null(find(w, "r"));
    assert_int_equal(slot(w, CONTROL), 3 << 6 | INDICATOR_OFF | POWER_OFF);
    world_free(w);
}

static void before_the_first_reset_nobody_is_asked(void **unused)
{
    struct world *w = world_new();
    w->g->b->vm->was_reset = false;
    plug_rng(w, "r");
    assert_null(unplug(w, "r"));
    assert_null(find(w, "r"));
    assert_int_equal(w->n_deleted, 2);
    world_free(w);
}

static void functions_come_before_function_0_and_go_with_it(void **unused)
{
    struct world *w = world_new();
    clear_events(w);
    assert_null(plug(w, "virtio-rng-pci", "f1", "rp1", "0.1"));
    assert_int_equal(slot(w, STATUS), 0);
    const struct prop_value props[] = {
        { "id", "f0" }, { "bus", "rp1" }, { "addr", "0.0" }, { "multifunction", "on" }
    };
    assert_null(device_plug(w->g->b->vm, "virtio-rng-pci", props, 4));
    assert_int_equal(slot(w, STATUS), PRESENT | PRESENCE_CHANGED | BUTTON);
    refused(plug(w, "virtio-rng-pci", "f2", "rp1", "0.2"), "come last");
    command(w, INDICATOR_ON);
    assert_int_equal(behind(w, 0x1000, 4), 0x10441af4);
    assert_null(unplug(w, "f1"));
    guest_lets_go(w);
    assert_null(find(w, "f0"));
    assert_null(find(w, "f1"));
    world_free(w);
}

/* ---- what cannot be ---------------------------------------------------------------------------- */

static void what_cannot_come_or_go_is_refused(void **unused)
{
    struct world *w = world_new();
    refused(plug(w, "virtio-rng-pci", "r", "pcie.0", NULL), "does not support hotplugging");
    refused(plug(w, "virtio-rng-pci", "r", "nowhere", NULL), "no PCI bus 'nowhere'");
    refused(plug(w, "virtio-gpu-pci", "r", "rp1", NULL), "does not support hotplugging");
    refused(plug(w, "pcie-root-port", "r", "rp1", NULL), "does not support hotplugging");
    refused(plug(w, "apic", "r", "rp1", NULL), "part of a board");
    refused(plug(w, "virtio-rgn-pci", "r", "rp1", NULL), "virtio-rng-pci");
    refused(plug(w, "virtio-blk-pci", "r", "rp1", NULL), "drive=");
    refused(unplug(w, "rp1"), "does not support hotplugging");
    assert_null(find(w, "r"));
    plug_rng(w, "r");
    refused(plug(w, "virtio-rng-pci", "r", "rp1", NULL), "already");
    refused(plug(w, "virtio-rng-pci", "s", "rp1", NULL), "no free slot");
    assert_int_equal(w->n_deleted, 0);
    world_free(w);
}

static void devices_are_found_by_id_and_path(void **unused)
{
    struct world *w = world_new();
    struct vm *vm = w->g->b->vm;
    plug_rng(w, "r");
    assert_ptr_equal(device_at(vm, "r"), find(w, "r"));
    assert_ptr_equal(device_at(vm, "/machine/peripheral/r"), find(w, "r"));
    assert_null(device_at(vm, "/machine/peripheral"));
    assert_null(device_at(vm, "s"));
    world_free(w);
}

static void ports_go_with_their_device(void **unused)
{
    struct world *w = world_new();
    assert_null(plug(w, "virtio-serial-pci", "s", "rp1", NULL));
    const struct prop_value props[] = { { "id", "p" }, { "bus", "s.0" }, { "name", "a.b" } };
    struct device *dev;
    assert_null(device_create(w->g->b->vm, "virtserialport", props, 3, &dev));
    command(w, INDICATOR_ON);
    assert_null(unplug(w, "s"));
    guest_lets_go(w);
    assert_null(find(w, "p"));
    assert_null(find(w, "s"));
    assert_int_equal(w->n_deleted, 3);
    world_free(w);
}

static void ports_come_and_go_alone(void **unused)
{
    struct world *w = world_new();
    guest_add(w->g, device_class_find("virtio-serial-pci"), "id", "s", "addr", "4", NULL);
    assert_null(plug(w, "virtserialport", "p", "s.0", NULL));
    assert_null(unplug(w, "p"));
    assert_null(find(w, "p"));
    assert_string_equal(w->last, "device=p path=/machine/peripheral/p ");
    assert_null(plug(w, "virtserialport", "p", "s.0", NULL));
    world_free(w);
}

/* ---- nothing stays ----------------------------------------------------------------------------- */

static void a_thousand_times_leaves_nothing(void **unused)
{
    static const char *const classes[] = { "virtio-rng-pci", "virtio-balloon-pci",
                                           "virtio-serial-pci", "virtio-keyboard-pci" };
    struct world *w = world_new();
    struct vm *vm = w->g->b->vm;
    for (unsigned i = 0; i < 1000; i++) {
        assert_null(plug(w, classes[i % ARRAY_LEN(classes)], "r", "rp1", NULL));
        command(w, ALL_EVENTS | INDICATOR_ON);
        guest_config_write(w->g, PORT, PCI_MEM_BASE, 4, 0x41f04100);
        board_poke(w->g->b, GUEST_ECAM + MIB + PCI_BAR0 + 4, 4, GUEST_MEM + 0x1000000);
        board_poke(w->g->b, GUEST_ECAM + MIB + PCI_COMMAND, 2, 6);
        assert_int_not_equal(board_peek(w->g->b, GUEST_MEM + 0x1000000 + 12, 4), 0xffffffff);
        assert_null(unplug(w, "r"));
        guest_lets_go(w);
        assert_null(find(w, "r"));
        assert_int_equal(board_peek(w->g->b, GUEST_MEM + 0x1000000 + 12, 4), 0xffffffff);
    }
    assert_int_equal(w->n_deleted, 2000);
    unsigned n = 0;
    for (struct device *d = vm->devices; d; d = d->next)
        n++;
    assert_int_equal(n, 1 + 1 + 8); /* host, port, the board's MMIO slots */
    board_check(w->g->b);
    world_free(w);
}

static void end_of_the_vm_overtakes_a_device_that_leaves(void **unused)
{
    struct world *w = world_new();
    plug_rng(w, "r");
    command(w, INDICATOR_ON);
    assert_null(unplug(w, "r"));
    command(w, INDICATOR_OFF | POWER_OFF);
    world_free(w); /* before the main loop came to it */
}

/* ---- a pc's bus, by ACPI ------------------------------------------------------------------------ */

enum { HP_UP = 0xae00, HP_DOWN = 0xae04, HP_EJECT = 0xae08, HP_MAY_GO = 0xae0c, HP_BUS = 0xae10 };

static struct vm *pc_new(void)
{
    char path[40];
    struct vm *vm;
    int fd = memfd_create("bios", MFD_CLOEXEC);
    assert_true(fd >= 0 && !ftruncate(fd, 65536));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const struct machine_options o = {
        .machine = "pc", .arch = "x86_64", .bios = path, .ram_size = 4 * MIB, .smp = 1
    };
    struct error *err = x86_machine_with(&o, IRQCHIP_USER, NULL, &vm);
    close(fd);
    if (err)
        fail_msg("%s", error_text(err));
    vm_reset(vm);
    return vm;
}

static void pc_plug(struct vm *vm, const char *id, const char *addr)
{
    const struct prop_value props[] = { { "id", id }, { "addr", addr } };
    struct error *err = device_plug(vm, "virtio-rng-pci", props, 2);
    if (err)
        fail_msg("%s", error_text(err));
}

static uint32_t port(struct vm *vm, uint32_t at)
{
    uint32_t value = 0;
    assert_true(mem_port_read(vm, at, 4, &value));
    return value;
}

/* Vendor and device of slot 5. */
static uint32_t slot_5(struct vm *vm)
{
    mem_port_write(vm, 0xcf8, 4, 0x80000000 | 5 << 11);
    return port(vm, 0xcfc);
}

static void pc_tells_what_came_once(void **unused)
{
    struct vm *vm = pc_new();
    pc_plug(vm, "r", "5");
    assert_int_equal(slot_5(vm), 0x10051af4);
    assert_int_equal(port(vm, 0xafe0) & 2, 2); /* GPE 1 */
    assert_int_equal(port(vm, HP_UP), 1 << 5);
    assert_int_equal(port(vm, HP_UP), 0);
    assert_int_equal(port(vm, HP_MAY_GO), 1 << 5);
    mem_port_write(vm, HP_BUS, 4, 1); /* there is only bus 0 */
    assert_int_equal(port(vm, HP_MAY_GO), 0);
    x86_machine_free(vm);
}

static void pc_lets_go_what_the_user_wants_out(void **unused)
{
    struct vm *vm = pc_new();
    pc_plug(vm, "r", "5");
    mem_port_write(vm, HP_EJECT, 4, 1 << 5); /* nobody asked */
    loop_sync(vm->loop);
    assert_non_null(device_find(vm, "r"));
    assert_null(device_unplug(device_find(vm, "r")));
    refused(device_unplug(device_find(vm, "r")), "already in the process");
    assert_int_equal(port(vm, HP_DOWN), 1 << 5);
    mem_port_write(vm, HP_EJECT, 4, 0xffffffff);
    assert_int_equal(slot_5(vm), 0xffffffff); /* at once */
    loop_sync(vm->loop);
    assert_null(device_find(vm, "r"));
    assert_int_equal(port(vm, HP_DOWN), 0);
    pc_plug(vm, "r", "5");
    assert_null(device_unplug(device_find(vm, "r")));
    vm_reset(vm);
    loop_sync(vm->loop);
    assert_null(device_find(vm, "r"));
    x86_machine_free(vm);
}

static void pc_keeps_what_the_board_has(void **unused)
{
    struct vm *vm = pc_new();
    for (struct device *d = vm->devices; d; d = d->next)
        refused(device_unplug(d), "does not support hotplugging");
    x86_machine_free(vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slot_says_what_it_can),
        cmocka_unit_test(port_without_hot_plug_refuses),
        cmocka_unit_test(plugging_rings_and_power_shows_the_device),
        cmocka_unit_test(interrupt_is_a_level_until_events_are_cleared),
        cmocka_unit_test(interrupt_is_one_message_for_events_together),
        cmocka_unit_test(device_goes_when_the_guest_put_out_the_indicator),
        cmocka_unit_test(guest_that_keeps_it_is_told_about),
        cmocka_unit_test(busy_guest_is_not_asked),
        cmocka_unit_test(power_off_resets_what_is_there),
        cmocka_unit_test(reset_lets_go_what_was_asked_for),
        cmocka_unit_test(before_the_first_reset_nobody_is_asked),
        cmocka_unit_test(functions_come_before_function_0_and_go_with_it),
        cmocka_unit_test(what_cannot_come_or_go_is_refused),
        cmocka_unit_test(devices_are_found_by_id_and_path),
        cmocka_unit_test(ports_go_with_their_device),
        cmocka_unit_test(ports_come_and_go_alone),
        cmocka_unit_test(a_thousand_times_leaves_nothing),
        cmocka_unit_test(end_of_the_vm_overtakes_a_device_that_leaves),
        cmocka_unit_test(pc_tells_what_came_once),
        cmocka_unit_test(pc_lets_go_what_the_user_wants_out),
        cmocka_unit_test(pc_keeps_what_the_board_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
