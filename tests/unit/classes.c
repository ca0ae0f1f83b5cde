/* What holds for every device class: it can be made, takes noise in every register, is the same after
 * each reset, and what it saves makes a fresh device equal to it. */
#include "block/block.h"
#include "core/backends.h"
#include "core/error.h"
#include "core/object.h"
#include "hw/input/vmport.h"
#include "hw/pci/bridge.h"
#include "hw/pci/root_port.h"
#include "hw/virtio/core.h"
#include "net/net.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK_SIZE (1 * MIB)

/* A guest with one device of a class and the back ends it may want. */
struct world {
    struct guest *g;
    struct vm *vm;
    struct device *dev; /* NULL: the class cannot be made alone */
    char image[32];
};

static void close_blk(void *blk)
{
    blk_close(blk);
}

static void add_drive(struct world *w)
{
    struct blk *blk;
    strcpy(w->image, "/tmp/tandem-class-XXXXXX");
    int fd = mkstemp(w->image);
    assert_true(fd >= 0 && !ftruncate(fd, DISK_SIZE));
    close(fd);
    assert_null(blk_open(w->vm, &(struct blk_options){ .file = w->image }, &blk));
    assert_null(backend_add(w->vm, BACKEND_DRIVE, "d0", blk, close_blk));
}

static void close_netdev(void *n)
{
    netdev_close(n);
}

static void add_netdev(struct world *w)
{
    struct netdev *n;
    assert_null(netdev_open(w->vm, "null,id=n0", &n));
    assert_null(backend_add(w->vm, BACKEND_NETDEV, "n0", n, close_netdev));
}

static bool has_prop(const struct device_class *cls, const char *name)
{
    for (size_t i = 0; i < cls->props.n; i++)
        if (!strcmp(cls->props.at[i].name, name))
            return true;
    return false;
}

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* A CPU that calls VMware's port. */
static bool get_call(struct vm *vm, uint32_t r[VMPORT_N_REGISTERS])
{
    static const uint32_t arguments[] = { 0x45414552, 0xf5, 0x4c455252, 0x53424152, 1, 4 };
    static uint64_t seed = 8086;
    r[VMPORT_EAX] = 0x564d5868;
    r[VMPORT_EBX] = arguments[next_random(&seed) % ARRAY_LEN(arguments)];
    r[VMPORT_ECX] = 39 + next_random(&seed) % 3;
    return true;
}
static void set_nothing(struct vm *vm, const uint32_t r[VMPORT_N_REGISTERS])
{
}
static const struct vmport_cpu calling_cpu = { get_call, set_nothing };

static struct world world_with(const struct device_class *cls)
{
    struct world w = { .g = guest_new() };
    struct prop_value props[3];
    size_t n = 0;
    props[n++] = (struct prop_value){ "id", "it" };
    w.vm = w.g->b->vm;
    if (has_prop(cls, "drive")) {
        add_drive(&w);
        if (!has_prop(cls, "size")) /* flash wants an image of its own size: none will do */
            props[n++] = (struct prop_value){ "drive", "d0" };
    }
    if (has_prop(cls, "netdev")) {
        add_netdev(&w);
        props[n++] = (struct prop_value){ "netdev", "n0" };
    }
    if (cls->bus && !strcmp(cls->bus, "ide"))
        board_add(w.g->b, "ich9-ahci", NULL);
    if (cls->bus && !strcmp(cls->bus, "HDA"))
        board_add(w.g->b, "intel-hda", NULL);
    if (cls->bus && !strcmp(cls->bus, "virtio-serial"))
        board_add(w.g->b, "virtio-serial-pci", NULL);
    if (cls->bus && !strcmp(cls->bus, "usb-bus"))
        board_add(w.g->b, "qemu-xhci", NULL);
    if (!strcmp(cls->name, "hyperv-testdev"))
        board_add_vcpu(w.g->b);
    if (cls->bus && !strcmp(cls->bus, "fw_cfg"))
        board_add(w.g->b, "fw-cfg-mmio", NULL);
    struct error *err = device_create(w.vm, cls->name, props, n, &w.dev);
    if (err) {
        print_error("%s: %s\n", cls->name, error_text(err));
        error_free(err);
        fail();
    }
    if (!strcmp(cls->name, "vmport"))
        vmport_attach(w.dev, &calling_cpu, GIB, board_add(w.g->b, "i8042", NULL));
    board_map_regions(w.g->b);
    if (cls->bus && !strcmp(cls->bus, "pci"))
        for (unsigned devfn = 8; devfn < 256; devfn += 8)
            if (guest_config_read(w.g, devfn, 0, 2) != 0xffff)
                guest_place_bars(w.g, devfn);
    return w;
}

static void world_free(struct world *w)
{
    struct board *b = w->g->b;
    board_step(b);
    guest_free(w->g);
    if (w->image[0])
        unlink(w->image);
}

/* Reads and writes of all sizes to everything that is not RAM, mostly at the start of a region, where
 * registers are. */
static void make_noise(struct world *w, unsigned n, uint64_t seed)
{
    for (unsigned i = 0; i < n; i++) {
        const struct mem_view *view = mem_view_now(w->vm);
        const struct mem_range *r = &view->ranges[next_random(&seed) % view->n];
        if (r->ram && !r->ram->rom)
            continue;
        static const uint64_t spans[] = { 0x10, 0x40, 0x200, UINT64_MAX };
        uint64_t most = spans[next_random(&seed) % ARRAY_LEN(spans)], span = MIN(most, r->size);
        gpa at = r->start + next_random(&seed) % span;
        unsigned size = 1u << next_random(&seed) % 4;
        uint64_t v = next_random(&seed);
        if (next_random(&seed) % 4)
            at &= ~(gpa)(size - 1);
        if (next_random(&seed) % 2)
            v &= 0xff;
        if (next_random(&seed) % 3)
            board_poke(w->g->b, at, size, v);
        else
            board_peek(w->g->b, at, size);
        if (i % 256 == 0)
            board_step(w->g->b);
    }
    board_step(w->g->b);
}

static struct bytes saved(struct device *dev)
{
    struct bytes out = { 0 };
    device_save(dev, &out);
    return out;
}

/* Failures are gathered over all classes before a test fails. */
static unsigned n_failures;

static void end(void)
{
    unsigned n = n_failures;
    n_failures = 0;
    assert_int_equal(n, 0);
}

static void same(const struct device_class *cls, const char *what, struct bytes a, struct bytes b)
{
    size_t at = 0;
    while (at < a.n && at < b.n && a.at[at] == b.at[at])
        at++;
    if (a.n != b.n || at != a.n) {
        print_error("%s: %s: byte %zu of %zu/%zu differs\n", cls->name, what, at, a.n, b.n);
        n_failures++;
    }
    bytes_free(&a);
    bytes_free(&b);
}

static void each_can_be_made_and_is_described(void **unused)
{
    for (size_t i = 0; i < n_device_classes; i++) {
        const struct device_class *cls = device_classes[i];
        assert_non_null(cls->desc);
        assert_true(cls->version > 0);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(cls->name, device_classes[j]->name);
        struct world w = world_with(cls);
        assert_true(w.dev->realized);
        assert_ptr_equal(device_class_find(cls->name), cls);
        world_free(&w);
    }
}

/* Behind rings, or with registers only in configuration space: noise does not get there. */
static bool is_out_of_reach(const struct device_class *cls)
{
    return (cls->bus && !strcmp(cls->bus, "usb-bus")) || cls == &root_port_class ||
           cls == &pci_bridge_class || cls == &pcie_pci_bridge_class ||
           cls == &i82801b11_bridge_class;
}

/* If it did not, the other facts would say little. */
static void noise_changes_what_has_state(void **unused)
{
    unsigned untouched = 0;
    for (size_t i = 0; i < n_device_classes; i++) {
        if (is_out_of_reach(device_classes[i]))
            continue;
        struct world w = world_with(device_classes[i]);
        struct bytes before = saved(w.dev);
        w.vm->no_reboot = true; /* noise finds reset buttons */
        make_noise(&w, 10000, 31 + i);
        struct bytes after = saved(w.dev);
        if (before.n == after.n && !memcmp(before.at, after.at, after.n) && after.n > 2) {
            print_message("# noise changes nothing in %s\n", device_classes[i]->name);
            untouched++;
        }
        bytes_free(&before);
        bytes_free(&after);
        world_free(&w);
    }
    assert_in_range(untouched, 0,
                    19); /* some are at ports or behind a link, a register or two what they were */
}

static void each_takes_noise_in_every_register(void **unused)
{
    for (size_t i = 0; i < n_device_classes; i++) {
        struct world w = world_with(device_classes[i]);
        make_noise(&w, 6000, 0x9e3779b97f4a7c15 + i);
        board_check(w.g->b);
        world_free(&w);
    }
}

static void each_is_the_same_after_every_reset(void **unused)
{
    for (size_t i = 0; i < n_device_classes; i++) {
        struct world w = world_with(device_classes[i]);
        make_noise(&w, 2000, 77 + i);
        device_reset(w.dev);
        struct bytes once = saved(w.dev);
        device_reset(w.dev);
        same(w.dev->cls, "reset twice", once, saved(w.dev));
        world_free(&w);
    }
    end();
}

static void each_loads_into_a_fresh_one_what_it_saved(void **unused)
{
    for (size_t i = 0; i < n_device_classes; i++) {
        struct world w = world_with(device_classes[i]), fresh = world_with(device_classes[i]);
        make_noise(&w, 3000, 4711 + i);
        struct bytes state = saved(w.dev);
        size_t pos = 0;
        struct error *err = device_load(fresh.dev, state.at, state.n, &pos);
        if (err) {
            print_error("%s: %s\n", w.dev->cls->name, error_text(err));
            error_free(err);
            n_failures++;
        }
        same(w.dev->cls, "save, load, save", state, saved(fresh.dev));
        world_free(&w);
        world_free(&fresh);
    }
    end();
}

/* A stream is input: whatever it says, the device refuses it or lives on with it. */
static void each_survives_a_damaged_stream(void **unused)
{
    uint64_t seed = 12345;
    for (size_t i = 0; i < n_device_classes; i++) {
        struct world w = world_with(device_classes[i]);
        make_noise(&w, 300, 99 + i);
        struct bytes state = saved(w.dev);
        for (int round = 0; round < 40; round++) {
            size_t pos = 0, n = round % 4 ? state.n : next_random(&seed) % (state.n + 1);
            uint8_t *copy = malloc(n + 1);
            memcpy(copy, state.at, n);
            for (int flips = 0; n > 2 && flips < 1 + round % 16; flips++)
                copy[2 + next_random(&seed) % (n - 2)] ^= (uint8_t)next_random(&seed);
            struct error *err = device_load(w.dev, copy, n, &pos);
            error_free(err);
            free(copy);
            make_noise(&w, 50, seed);
        }
        bytes_free(&state);
        world_free(&w);
    }
}

/* ---- members that nobody lists -------------------------------------------------------------- */

static void mark_fields(uint8_t *known, const struct field_list *list, size_t base)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct field *f = &list->at[i];
        size_t at = base + f->offset;
        struct field_list sub = { f->sub, f->n_sub };
        switch (f->kind) {
        case FIELD_STRUCT:
            for (uint32_t j = 0; j < f->count; j++)
                mark_fields(known, &sub, at + (size_t)j * f->size);
            break;
        case FIELD_BUFFER:
            memset(known + at, 1, sizeof(void *));
            memset(known + base + f->len_offset, 1, 4);
            break;
        case FIELD_DERIVED: memset(known + at, 1, f->size); break;
        default: memset(known + at, 1, (size_t)f->size * f->count);
        }
    }
}

static bool looks_like_a_pointer(const uint8_t *word)
{
    uint64_t v = load_le(word, 8);
    return v >= 0x10000 && v < (uint64_t)1 << 48;
}

/* A fresh device that loaded what another saved should equal it, but for pointers. Where it does not,
 * a member is probably neither listed nor derived. */
static void each_lists_or_derives_every_member(void **unused)
{
    for (size_t i = 0; i < n_device_classes; i++) {
        const struct device_class *cls = device_classes[i];
        struct world w = world_with(cls), fresh = world_with(cls);
        make_noise(&w, 3000, 1 + i);
        struct bytes state = saved(w.dev);
        size_t pos = 0;
        error_free(device_load(fresh.dev, state.at, state.n, &pos));
        uint8_t *known = calloc(1, cls->size + 8);
        memset(known, 1, sizeof(struct device));
        mark_fields(known, &cls->state, 0);
        const uint8_t *a = (uint8_t *)w.dev, *b = (uint8_t *)fresh.dev;
        for (size_t at = 0; at + 8 <= cls->size; at += 8) {
            if (looks_like_a_pointer(a + at) || looks_like_a_pointer(b + at))
                continue;
            for (size_t k = at; k < at + 8; k++)
                if (!known[k] && a[k] != b[k]) {
                    print_error("%s: byte %#zx of the instance is not restored: %#x, was %#x\n",
                                cls->name, k, b[k], a[k]);
                    n_failures++;
                }
        }
        free(known);
        bytes_free(&state);
        world_free(&w);
        world_free(&fresh);
    }
    end();
}

/* What is refused with a word about what to use instead. */
static void absent_devices_are_not_there(void **unused)
{
    for (size_t i = 0; i < n_device_absents; i++) {
        for (size_t k = 0; k < n_device_classes; k++)
            assert_string_not_equal(device_absents[i].name, device_classes[k]->name);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(device_absents[i].name, device_absents[k].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_can_be_made_and_is_described),
        cmocka_unit_test(noise_changes_what_has_state),
        cmocka_unit_test(each_takes_noise_in_every_register),
        cmocka_unit_test(each_is_the_same_after_every_reset),
        cmocka_unit_test(each_loads_into_a_fresh_one_what_it_saved),
        cmocka_unit_test(each_survives_a_damaged_stream),
        cmocka_unit_test(each_lists_or_derives_every_member),
        cmocka_unit_test(absent_devices_are_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
