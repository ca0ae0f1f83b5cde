/* The human monitor: expressions, commands, completion, page tables, the line editor. */
#include "ui/hmp.h"

#include "core/chardev.h"
#include "core/device.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vcpu.h"
#include "core/vm.h"
#include "hw/machine/machine.h"
#include "target/x86_64/x86.h"
#include "ui/expr.h"
#include "ui/faces.h"
#include "ui/gdb.h"
#include "ui/monitor.h"
#include "x86_board.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void no_stats(void *opaque, void (*print)(void *opaque, const char *line), void *to)
{
    print(to, "no statistics");
}
static const struct monitor_hooks hooks = { no_stats, NULL, NULL };
static char bios_path[40]; /* firmware of nothing */

static int make_bios(void **unused)
{
    int fd = memfd_create("bios", MFD_CLOEXEC);
    snprintf(bios_path, sizeof(bios_path), "/proc/self/fd/%d", fd);
    return fd < 0 || ftruncate(fd, 64 * KIB);
}

static void end(struct vm *vm)
{
    faces_free(vm);
    x86_machine_free(vm);
}

static struct vm *q35(void)
{
    struct vm *vm;
    const struct machine_options o = {
        .machine = "q35", .arch = "x86_64", .bios = bios_path, .ram_size = 64 * MIB, .smp = 2
    };
    struct error *err = x86_machine_with(&o, IRQCHIP_USER, "virtio-rng-pci,id=rng0", &vm);
    if (err)
        fail_msg("%s", error_text(err));
    return vm;
}

/* ---- what a command prints ------------------------------------------------------------------------ */
static void add_line(void *opaque, const char *line)
{
    char **text = opaque, *longer = xasprintf("%s%s\n", *text, line);
    free(*text);
    *text = longer;
}

/* The caller frees it. */
static char *run(struct vm *vm, const char *command)
{
    char *text = xstrdup("");
    monitor_execute(vm, &hooks, command, add_line, &text);
    return text;
}

static void prints(struct vm *vm, const char *command, const char *want)
{
    char *text = run(vm, command);
    assert_string_equal(text, want);
    free(text);
}

static void mentions(struct vm *vm, const char *command, const char *part)
{
    char *text = run(vm, command);
    if (!strstr(text, part))
        fail_msg("%s: '%s' is not in '%s'", command, part, text);
    free(text);
}

/* ---- expressions ------------------------------------------------------------------------------------ */
static uint64_t value(const char *text)
{
    uint64_t v;
    struct error *err = expr_value(text, NULL, &v);
    if (err)
        fail_msg("%s: %s", text, error_text(err));
    return v;
}

static void is_no_value(const char *text, const char *part)
{
    uint64_t v;
    struct error *err = expr_value(text, NULL, &v);
    assert_non_null(err);
    assert_non_null(strstr(error_text(err), part));
    error_free(err);
}

static void expressions_have_the_order_of_c(void **unused)
{
    assert_int_equal(value("1+2*3"), 7);
    assert_int_equal(value("(1+2)*3"), 9);
    assert_int_equal(value("0x10|1<<8&0xff0"), 0x110);
    assert_int_equal(value("-1"), UINT64_MAX);
    assert_int_equal(value("~0^0xff"), UINT64_MAX ^ 0xff);
    assert_int_equal(value("'a' % 10"), 7);
    assert_int_equal(value("1<<64"), 0);
    is_no_value("1/0", "division by zero");
    is_no_value("(1", "')' is missing");
    is_no_value("12q", "not a number");
    is_no_value("18446744073709551616", "more than 64 bits");
    is_no_value("", "missing");
    is_no_value("$rax", "no CPU");
    char deep[200];
    memset(deep, '(', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = 0;
    is_no_value(deep, "nested too deep");
}

/* ---- commands ------------------------------------------------------------------------------------------ */
static void unknown_words_are_named(void **unused)
{
    struct vm *vm = q35();
    prints(vm, "systemreset", "unknown command 'systemreset'; did you mean 'system_reset'?\n");
    mentions(vm, "info stat", "unknown subject 'stat'");
    prints(vm, "stop now", "stop takes no arguments\n");
    prints(vm, "x/4q 0", "'q' is no format; x d u o c i and sizes b h w g are\n");
    prints(vm, "gva2gpa", "the address is missing\n");
    mentions(vm, "object_add nothing,id=a", "unknown object type 'nothing'");
    mentions(vm, "netdev_del n0", "n0");
    mentions(vm, "cpu 7", "there are 2 CPUs");
    mentions(vm, "watchdog_action bark", "inject-nmi");
    end(vm);
}

static void every_command_has_help_and_every_subject_prints(void **unused)
{
    struct vm *vm = q35();
    for (size_t i = 0; i < n_hmp_tables; i++) {
        for (size_t j = 0; j < hmp_tables[i]->commands.n; j++) {
            const struct hmp_command *c = &hmp_tables[i]->commands.at[j];
            assert_true(c->help && *c->help && c->args);
            char *line = xasprintf("help %s", c->name);
            if (strcmp(c->name, "info")) /* which lists what there is */
                mentions(vm, line, c->help);
            free(line);
        }
        for (size_t j = 0; j < hmp_tables[i]->infos.n; j++) {
            const struct hmp_command *c = &hmp_tables[i]->infos.at[j];
            char *line = xasprintf("info %s", c->name), *text = run(vm, line);
            assert_true(c->help && *c->help && c->args);
            free(text);
            free(line);
        }
    }
    mentions(vm, "info qom-tree", "rng0 (virtio-rng-pci)");
    mentions(vm, "info pci", "id rng0");
    mentions(vm, "info virtio",
             "virtio-rng-pci, id \"rng0\", at pcie.0/01.0/virtio-rng-pci: without a driver\n");
    mentions(vm, "info lapic", "cpus[1].");
    prints(vm, "info usb", "no USB controller; -usb or device_add qemu-xhci makes one\n");
    end(vm);
}

static void usb_devices_come_and_go(void **unused)
{
    struct vm *vm = q35();
    struct device *dev;
    struct error *err =
        device_create(vm, "qemu-xhci", &(struct prop_value){ "id", "usb" }, 1, &dev);
    assert_null(err);
    prints(vm, "device_add usb-kbd,id=k0,port=2", "");
    prints(vm, "device_add usb-tablet,id=t0,bus=usb.0", "");
    prints(vm, "device_add usb-mouse,id=m0", "");
    prints(
        vm, "info usb",
        "Bus 0: usb.0, qemu-xhci, 4 ports\n"
        "  Device 0.0, Port 1, Speed 480 Mb/s, Product Tandem USB Tablet, ID: t0 (not in use)\n"
        "  Device 0.0, Port 2, Speed 480 Mb/s, Product Tandem USB Keyboard, ID: k0 (not in use)\n"
        "  Device 0.0, Port 3, Speed 480 Mb/s, Product Tandem USB Mouse, ID: m0 (not in use)\n");
    mentions(vm, "device_add usb-kbd,port=2", "port='2' is not a free port of the bus");
    mentions(vm, "device_add usb-kbd,bus=usb.1", "usb.1");
    mentions(vm, "device_add usb-storage", "drive");
    mentions(vm, "device_add piix3-usb-uhci,id=u", "qemu-xhci");
    mentions(vm, "device_add usb-uas", "usb-storage");
    prints(vm, "device_del t0", "");
    prints(vm, "device_del k0", "");
    prints(vm, "device_add usb-kbd,id=k0", "");
    mentions(vm, "device_del t0", "there is no device 't0'");
    mentions(vm, "device_del usb", "does not support hotplugging"); /* it is not in a root port */
    end(vm);
}

static void devices_stand_below_the_bus_they_are_on(void **unused)
{
    struct vm *vm;
    const struct machine_options o = {
        .machine = "q35", .arch = "x86_64", .bios = bios_path, .ram_size = 64 * MIB, .smp = 1
    };
    assert_null(x86_machine_with(&o, IRQCHIP_USER, "qemu-xhci,id=x", &vm));
    prints(vm, "device_add usb-tablet,id=tab,port=2", "");
    mentions(vm, "info qtree -b", "\n    bus: pcie.0, type pci\n      dev: ICH9-LPC, id \"\"");
    mentions(vm, "info qtree -b",
             "\n      dev: qemu-xhci, id \"x\", at pcie.0/01.0/qemu-xhci\n        bus: x.0, type "
             "usb-bus\n"
             "          dev: usb-tablet, id \"tab\"");
    mentions(vm, "info qtree", "\n            port = 2\n");
    mentions(vm, "info ramblock", "65536 KiB");
    end(vm);
}

static void ports_are_read_and_written_as_by_the_guest(void **unused)
{
    struct vm *vm = q35();
    prints(vm, "o/b 0x70 0x0f", "");
    prints(vm, "o/b 0x71 0x5a", "");
    prints(vm, "i/b 0x71", "portb[0x0071] = 0x5a\n");
    prints(vm, "o/w 0xcf8 0x80000000", "");
    prints(vm, "i/w 0xcfc", "portl[0x0cfc] = 0x29c08086\n");
    prints(vm, "i/h 0xcfe", "portw[0x0cfe] = 0x29c0\n");
    prints(vm, "i/b 0x300", "portb[0x0300] = 0xff (nothing is there)\n");
    prints(vm, "o/b 0x300 1", "nothing is at port 0x0300\n");
    prints(vm, "i/g 0x70", "ports have 1, 2 or 4 bytes: b, h, w\n");
    prints(vm, "i/b 0x10000", "ports are 0 to 0xffff\n");
    end(vm);
}

static void objects_are_found_by_path_and_by_id(void **unused)
{
    struct vm *vm = q35();
    char *text = run(vm, "qom-list /");
    bool there = strncmp(text, "unknown", 7) != 0;
    free(text);
    if (there) {
        mentions(vm, "qom-list /machine/peripheral", "rng0 (child<virtio-rng-pci>)\n");
        prints(vm, "qom-get rng0 rombar", "1\n");
        prints(vm, "qom-get /machine/peripheral/rng0 multifunction", "false\n");
        mentions(vm, "qom-get rng0 colour", "'virtio-rng-pci.colour' not found");
        mentions(vm, "qom-set rng0 rombar 0", "after it was realized");
        mentions(vm, "qom-set nothing rombar 0", "there is no object 'nothing'");
        prints(vm, "object_add iothread,id=t0", "");
        prints(vm, "qom-set t0 poll-max-ns 77", "");
        prints(vm, "qom-get t0 poll-max-ns", "77\n");
        mentions(vm, "qom-set t0 poll-max-ns soon", "not negative");
    }
    end(vm);
}

static void ring_buffers_are_read_and_written(void **unused)
{
    struct vm *vm = q35();
    struct chardev *c;
    assert_null(chardev_add(vm, "r0", "ringbuf,size=64", &c));
    chardev_write(c, (const uint8_t *)"one\r\ntwo\33", 9);
    prints(vm, "ringbuf_read r0 64", "one \ntwo.\n");
    prints(vm, "ringbuf_read r0 64", "");
    prints(vm, "ringbuf_read r1 64", "there is no ring buffer 'r1'\n");
    prints(vm, "ringbuf_write r0 hello", ""); /* nobody reads: forgotten */
    end(vm);
}

static void gdb_is_served_where_the_monitor_says(void **unused)
{
    struct vm *vm = q35();
    struct gdb_place place = { NULL, { NULL, NULL } };
    const struct monitor_hooks with_place = { no_stats, NULL, NULL, &place };
    static const struct {
        const char *command, *says;
    } steps[] = {
        { "info gdb", "not served; gdbserver starts it\n" },
        { "gdbserver null", "Waiting for gdb connection on device 'null'\n" },
        { "gdbserver null", "Waiting for gdb connection on device 'null'\n" }, /* in place of it */
        { "info gdb", "served\n" },
        { "gdbserver none", "Disabled gdbserver\n" },
        { "info gdb", "not served; gdbserver starts it\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        char *text = xstrdup("");
        monitor_execute(vm, &with_place, steps[i].command, add_line, &text);
        assert_string_equal(text, steps[i].says);
        free(text);
    }
    mentions(vm, "gdbserver null", "gdb cannot replace its own server");
    assert_null(place.gdb);
    end(vm);
}

static void memory_is_dumped_in_the_format_asked_for(void **unused)
{
    struct vm *vm = q35();
    assert_true(mem_write(vm, 0x1000, "AB\x80\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0", 16));
    prints(vm, "xp/2xw 0x1000", "0000000000001000: 0x01804241 0xffffffff\n");
    prints(vm, "xp/1dg 0x1000", "0000000000001000: -4269784511\n");
    prints(vm, "xp/3c 0x1000", "0000000000001000: 'A' 'B' '\\x80'\n");
    prints(vm, "xp/1ub 0x1002", "0000000000001002: 128\n");
    mentions(vm, "xp/1xw 0xd0000000000", "Cannot access memory");
    prints(vm, "sum 0x1000 4", "41049\n");
    mentions(vm, "sum 0xd0000000000 1", "Cannot access memory");
    prints(vm, "p/d 2+3", "5\n");
    prints(vm, "print 0x10", "0x10\n");
    prints(vm, "print $rip", "0xfff0\n");
    end(vm);
}

/* 4-level tables at 0x10000 up: one page of 4 KiB at 0xffff800000000000, one of 2 MiB behind 0x40000000. */
static void a_walk_through_page_tables_is_explained(void **unused)
{
    struct vm *vm = q35();
    struct x86_cpu *x = vm->vcpus[0]->arch;
    const struct {
        gpa at;
        uint64_t entry;
    } entries[] = {
        { 0x10000 + 256 * 8, 0x11003 }, /* kernel */
        { 0x11000, 0x12003 },
        { 0x12000, 0x13003 },
        { 0x13000, 0x8000000000055063 }, /* no execution */
        { 0x10000, 0x14007 },            /* user */
        { 0x14000 + 8, 0x15007 },
        { 0x15000, 0x400087 }, /* 2 MiB */
    };
    for (size_t i = 0; i < ARRAY_LEN(entries); i++)
        assert_true(mem_write(vm, entries[i].at, &entries[i].entry, 8));
    x->cr0 |= X86_CR0_PG | 1;
    x->cr4 |= X86_CR4_PAE;
    x->efer |= X86_EFER_LMA | 1 << 8;
    x->cr3 = 0x10000;
    mentions(vm, "walk 0xffff800000000123", "PML4: bits 47 to 39 are 256, entry at 0x10800 is ");
    mentions(vm, "walk 0xffff800000000123",
             "a page of 4 KiB at 0x55000, kernel rw-: the address is physical 0x55123\n");
    mentions(vm, "walk 0x40000456",
             "a page of 2048 KiB at 0x400000, user rwx: the address is physical 0x400456\n");
    mentions(vm, "walk 0x80000000", "not present");
    mentions(vm, "walk 0x800000000000", "not canonical");
    prints(vm, "info mem",
           "0000000040000000-0000000040200000 0000000000200000 user rwx\n"
           "ffff800000000000-ffff800000001000 0000000000001000 kernel rw-\n");
    prints(vm, "gva2gpa 0x40000456", "gpa: 0x400456\n");
    prints(vm, "gva2gpa 0x80000000", "Unmapped\n");
    uint64_t itself = 0x10003; /* a table that is its own next ends, too */
    assert_true(mem_write(vm, 0x10000 + 511 * 8, &itself, 8));
    free(run(vm, "info tlb"));
    end(vm);
}

/* ---- completion and editing -------------------------------------------------------------------------- */
static void collect(void *opaque, const char *word)
{
    char *to = opaque;
    snprintf(to + strlen(to), 400 - strlen(to), "%s ", word);
}

static void words_are_completed(void **unused)
{
    struct vm *vm = q35();
    char words[400] = "";
    assert_int_equal(hmp_completions(vm, "system_", collect, words), 0);
    assert_string_equal(words, "system_reset system_powerdown system_wakeup ");
    words[0] = 0;
    assert_int_equal(hmp_completions(vm, "info vers", collect, words), 5);
    assert_string_equal(words, "version ");
    words[0] = 0;
    hmp_completions(vm, "set_link rn", collect, words);
    assert_string_equal(words, "rng0 ");
    end(vm);
}

struct terminal {
    struct vm *vm;
    struct monitor *monitor;
    int fd;
    char shown[20000];
};

static void open_terminal(struct terminal *t)
{
    struct chardev *c;
    int fds[2];
    char spec[40];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    snprintf(spec, sizeof(spec), "socket,fd=%d", fds[1]);
    t->vm = q35();
    t->fd = fds[0];
    assert_null(chardev_add(t->vm, "c0", spec, &c));
    t->monitor = monitor_new(t->vm, c, &hooks);
}

static const char *type(struct terminal *t, const char *keys)
{
    size_t n = 0;
    assert_int_equal(write(t->fd, keys, strlen(keys)), (ssize_t)strlen(keys));
    for (int i = 0; i < 20; i++) {
        loop_once(t->vm->loop, 2);
        ssize_t got = read(t->fd, t->shown + n, sizeof(t->shown) - 1 - n);
        n += got > 0 ? (size_t)got : 0;
    }
    t->shown[n] = 0;
    return t->shown;
}

static void lines_are_edited_completed_and_remembered(void **unused)
{
    struct terminal *t = calloc(1, sizeof(*t));
    open_terminal(t);
    assert_non_null(strstr(type(t, "nfo nam\x01i\x05\xe4\x65\r"), "(tandem) ")); /* ^A i ^E e */
    assert_non_null(strstr(type(t, "\x1b[A"), "info name"));
    assert_non_null(strstr(type(t, "\x15print 1\x7f\x32\r"), "0x2")); /* ^U, backspace */
    assert_non_null(
        strstr(type(t, "print 77\x1b[D\x1b[D\x1b[3~\r"), "0x7"));         /* left, left, delete */
    assert_non_null(strstr(type(t, "print 5 \x17\x17print 6\r"), "0x6")); /* ^W */
    assert_non_null(strstr(type(t, "info vers\t\r"), "Tandem "));
    assert_non_null(strstr(type(t, "system_\t"), "system_wakeup"));
    assert_non_null(strstr(type(t, "\x15help\r"), "quit|q"));
    char *long_line = calloc(1, 5000);
    memset(long_line, 'x', 4000);
    strcat(long_line, "\r");
    assert_non_null(strstr(type(t, long_line), "unknown command"));
    free(long_line);
    monitor_free(t->monitor);
    end(t->vm);
    close(t->fd);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expressions_have_the_order_of_c),
        cmocka_unit_test(unknown_words_are_named),
        cmocka_unit_test(every_command_has_help_and_every_subject_prints),
        cmocka_unit_test(usb_devices_come_and_go),
        cmocka_unit_test(devices_stand_below_the_bus_they_are_on),
        cmocka_unit_test(ports_are_read_and_written_as_by_the_guest),
        cmocka_unit_test(objects_are_found_by_path_and_by_id),
        cmocka_unit_test(ring_buffers_are_read_and_written),
        cmocka_unit_test(gdb_is_served_where_the_monitor_says),
        cmocka_unit_test(memory_is_dumped_in_the_format_asked_for),
        cmocka_unit_test(a_walk_through_page_tables_is_explained),
        cmocka_unit_test(words_are_completed),
        cmocka_unit_test(lines_are_edited_completed_and_remembered),
    };
    return cmocka_run_group_tests(tests, make_bios, NULL);
}
