/* Rings, features, status and reset of virtio, driven as a guest does. */
#include "core/clock.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/object.h"
#include "virtio_guest.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* Copies what a chain brings into where it may write, at once or when the test says. */
struct echo {
    struct virtio_device v;
    bool hold, in_loop; /* in_loop: a property */
    struct object *iothread;
    struct virtq_chain *held[1024];
    unsigned n_held, n_handled, n_started;
    uint8_t config[8];
    uint64_t refused_features;
};

enum { ECHO_FEATURE = 3 };

static void echo_answer(struct virtq_chain *c)
{
    uint8_t bytes[4096];
    size_t n = chain_read(c, 0, bytes, sizeof(bytes));
    virtq_push(c, chain_write(c, 0, bytes, n));
}

static void echo_handle(struct virtio_device *v, struct virtq *q)
{
    struct echo *e = container_of(v, struct echo, v);
    struct virtq_chain *c;
    e->n_handled++;
    while ((c = virtq_pop(q))) {
        if (e->hold)
            e->held[e->n_held++] = c;
        else
            echo_answer(c);
    }
    virtq_notify(q);
}

static void echo_complete(struct echo *e, unsigned i)
{
    device_lock(&e->v.dev);
    struct virtq_chain *c = e->held[i];
    struct virtq *q = c->q;
    e->held[i] = e->held[--e->n_held];
    echo_answer(c);
    virtq_notify(q);
    device_unlock(&e->v.dev);
}

static void echo_unrealize(struct virtio_device *v)
{
    struct echo *e = container_of(v, struct echo, v);
    while (e->n_held)
        virtq_drop(e->held[--e->n_held]);
}

static struct error *echo_realize(struct virtio_device *v)
{
    struct echo *e = container_of(v, struct echo, v);
    for (unsigned i = 0; i < 2; i++) {
        struct virtq *q = virtio_add_queue(v, 256);
        if (e->in_loop)
            virtq_serve_on(q, v->dev.vm->loop);
        if (e->iothread)
            virtq_serve_on(q, e->iothread->loop);
    }
    v->features = VIRTIO_BIT(ECHO_FEATURE);
    return NULL;
}

static bool echo_features(struct virtio_device *v, uint64_t features)
{
    return !(features & container_of(v, struct echo, v)->refused_features);
}

static void echo_started(struct virtio_device *v)
{
    container_of(v, struct echo, v)->n_started++;
}

static void echo_get_config(struct virtio_device *v, uint8_t *config)
{
    memcpy(config, container_of(v, struct echo, v)->config, 8);
}

static void echo_set_config(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n)
{
    memcpy(container_of(v, struct echo, v)->config + off, data, n);
}

static const struct virtio_model echo_model = {
    .device_id = 2,
    .transitional_id = 0x1001,
    .pci_class = 0x010000,
    .config_size = 8,
    .realize = echo_realize,
    .unrealize = echo_unrealize,
    .get_config = echo_get_config,
    .set_config = echo_set_config,
    .set_features = echo_features,
    .started = echo_started,
    .handle_queue = echo_handle,
};
extern const struct device_class echo_pci_class, echo_device_class;
#define ECHO_PROPS                                      \
    , PROP(struct echo, in_loop, "in-loop", PROP_BOOL), \
        PROP(struct echo, iothread, "iothread", PROP_OBJECT)
#define ECHO_STATE , FIELD_RAW(struct echo, config)
VIRTIO_CLASSES(echo, "virtio-echo", "test", struct echo, echo_model, ECHO_PROPS, ECHO_STATE)

static struct echo *echo_of(struct guest *g)
{
    return container_of(g->v, struct echo, v);
}

#define V1 VIRTIO_BIT(VIRTIO_F_VERSION_1)

/* The variants that every ring test runs over. */
static const struct variant {
    const char *name;
    bool mmio, packed, indirect;
    uint64_t features;
} variants[] = {
    { "split", false, false, false, V1 },
    { "split mmio", true, false, false, V1 },
    { "split indirect", false, false, true, V1 | VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) },
    { "split event index", false, false, false, V1 | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) },
    { "split in order", false, false, false, V1 | VIRTIO_BIT(VIRTIO_F_IN_ORDER) },
    { "packed", false, true, false, V1 | VIRTIO_BIT(VIRTIO_F_RING_PACKED) },
    { "packed mmio", true, true, false, V1 | VIRTIO_BIT(VIRTIO_F_RING_PACKED) },
    { "packed indirect", false, true, true,
      V1 | VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) },
    { "packed event index, in order", false, true, false,
      V1 | VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VIRTIO_F_EVENT_IDX) |
          VIRTIO_BIT(VIRTIO_F_IN_ORDER) },
};

static struct guest *echo_guest(bool mmio)
{
    return guest_with(mmio ? &echo_device_class : &echo_pci_class, "packed", "on", "in_order", "on",
                      "notification_data", "on", NULL);
}

static struct guest *running(const struct variant *t, unsigned size, struct ring *r)
{
    struct guest *g = echo_guest(t->mmio);
    assert_true(guest_negotiate(g, t->features));
    *r = ring_new(g, 0, size, t->packed);
    guest_driver_ok(g);
    return g;
}

static void one_chain_is_echoed(struct guest *g, struct ring *r, bool indirect, const char *text)
{
    uint32_t n = strlen(text);
    uint64_t from = guest_alloc(g, n, 1), to = guest_alloc(g, n, 1);
    board_ram_write(g->b, from, text, n);
    struct buffer buffers[] = { { from, n / 2, false },
                                { from + n / 2, n - n / 2, false },
                                { to, 3, true },
                                { to + 3, n - 3, true } };
    uint16_t id = ring_add(r, buffers, 4, indirect);
    guest_kick(g, r->queue);
    struct used used;
    char back[64] = "";
    assert_true(ring_take(r, &used));
    assert_int_equal(used.id, id);
    assert_int_equal(used.len, n);
    board_ram_read(g->b, to, back, n);
    assert_string_equal(back, text);
    assert_false(ring_take(r, &used));
}

static void chains_are_answered_on_every_kind_of_ring(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        struct ring r;
        struct guest *g = running(&variants[i], 8, &r);
        for (unsigned round = 0; round < 100; round++)
            one_chain_is_echoed(g, &r, variants[i].indirect, "all the king's horses");
        assert_false(guest_status(g) & VIRTIO_NEEDS_RESET);
        board_check(g->b);
        one_chain_is_echoed(g, &r, variants[i].indirect, "and all the king's men");
        guest_free(g);
    }
}

/* Chains of any length, completed in any order, until the ring wrapped often. */
static void random_traffic_keeps_its_order_and_sizes(const struct variant *t, unsigned size)
{
    struct ring r;
    struct guest *g = running(t, size, &r);
    struct echo *e = echo_of(g);
    uint64_t data = guest_alloc(g, 4096, 1), mark = g->next_ram;
    unsigned seed = 1, waiting = 0, taken = 0, order[1024], n_order = 0, descs = 0;
    e->hold = true;
    for (unsigned step = 0; step < 3000; step++) {
        seed = seed * 1103515245 + 12345;
        unsigned n = 1 + (seed >> 16) % 4, cost = t->indirect ? 1 : n;
        if ((seed >> 8) % 3 && descs + cost <= size && n_order < 1000) {
            struct buffer buffers[4];
            for (unsigned i = 0; i < n; i++)
                buffers[i] = (struct buffer){ data + 16 * i, 16, i >= n / 2 };
            order[n_order++] = ring_add(&r, buffers, n, t->indirect);
            descs += cost;
            guest_kick(g, 0);
            waiting = e->n_held;
        } else if (waiting) {
            unsigned i = (seed >> 20) % waiting;
            echo_complete(e, i);
            waiting = e->n_held;
        }
        struct used used;
        while (ring_take(&r, &used)) {
            if (t->features & VIRTIO_BIT(VIRTIO_F_IN_ORDER))
                assert_int_equal(used.id, order[taken]);
            taken++;
            descs = 0;
            for (unsigned i = 0; i < size; i++)
                descs += r.taken[i];
        }
        if (n_order == 1000 && taken == n_order)
            n_order = taken = 0;
        g->next_ram = mark + 64 * (step % 1024);
    }
    assert_true(taken > 100);
    assert_false(guest_status(g) & VIRTIO_NEEDS_RESET);
    guest_free(g);
}

static void traffic_in_any_order_is_accounted(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        random_traffic_keeps_its_order_and_sizes(&variants[i], 16);
        random_traffic_keeps_its_order_and_sizes(&variants[i], 4);
    }
}

static void packed_ring_size_need_not_be_a_power_of_two(void **unused)
{
    random_traffic_keeps_its_order_and_sizes(&variants[5], 7);
}

/* ---- notifications ----------------------------------------------------------------------------- */

static struct buffer one_buffer(struct guest *g)
{
    return (struct buffer){ guest_alloc(g, 16, 1), 16, false };
}

static void event_index_holds_interrupts_back(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[3], 16, &r);
    struct virtq *q = &g->v->queues[0];
    struct buffer buffer = one_buffer(g);
    struct used used;
    guest_ram16_set(g, r.driver + 4 + 2 * 16, 0); /* used_event: tell me about the first */
    for (unsigned i = 0; i < 5; i++) {
        ring_add(&r, &buffer, 1, false);
        guest_kick(g, 0);
        assert_true(ring_take(&r, &used));
    }
    assert_int_equal(q->counts.interrupts, 1);
    guest_ram16_set(g, r.driver + 4 + 2 * 16, 7); /* about the eighth */
    for (unsigned i = 5; i < 12; i++) {
        ring_add(&r, &buffer, 1, false);
        guest_kick(g, 0);
        assert_true(ring_take(&r, &used));
        assert_int_equal(q->counts.interrupts, i < 7 ? 1 : 2);
    }
    guest_free(g);
}

static void packed_event_index_holds_interrupts_back(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[8], 4, &r);
    struct virtq *q = &g->v->queues[0];
    struct buffer buffer = one_buffer(g);
    struct used used;
    /* Position 1 of the second time round: the sixth descriptor. */
    guest_ram16_set(g, r.driver, 1);
    guest_ram16_set(g, r.driver + 2, 2);
    for (unsigned i = 0; i < 8; i++) {
        ring_add(&r, &buffer, 1, false);
        guest_kick(g, 0);
        assert_true(ring_take(&r, &used));
        assert_int_equal(q->counts.interrupts, i < 5 ? 0 : 1);
    }
    guest_free(g);
}

static void driver_can_switch_interrupts_off(void **unused)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        struct ring r;
        struct guest *g = running(&variants[packed ? 5 : 0], 8, &r);
        struct buffer buffer = one_buffer(g);
        guest_ram16_set(g, packed ? r.driver + 2 : r.driver, 1);
        ring_add(&r, &buffer, 1, false);
        guest_kick(g, 0);
        assert_int_equal(g->v->queues[0].counts.interrupts, 0);
        guest_ram16_set(g, packed ? r.driver + 2 : r.driver, 0);
        ring_add(&r, &buffer, 1, false);
        guest_kick(g, 0);
        assert_int_equal(g->v->queues[0].counts.interrupts, 1);
        guest_free(g);
    }
}

static void empty_queue_asks_for_the_next_kick(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[3], 16, &r);
    struct buffer buffer = one_buffer(g);
    for (unsigned i = 0; i < 3; i++)
        ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    assert_int_equal(guest_ram16(g, r.device + 4 + 8 * 16), 3); /* avail_event */
    guest_free(g);
}

static void queue_on_a_loop_is_rung_by_doorbell(void **unused)
{
    for (unsigned mmio = 0; mmio < 2; mmio++) {
        struct guest *g =
            guest_with(mmio ? &echo_device_class : &echo_pci_class, "in-loop", "on", NULL);
        assert_true(guest_negotiate(g, V1));
        struct ring r = ring_new(g, 0, 8, false);
        struct buffer buffer = one_buffer(g);
        struct used used;
        guest_driver_ok(g);
        board_step(g->b);
        ring_add(&r, &buffer, 1, false);
        guest_kick(g, 0);
        assert_false(ring_take(&r, &used));
        board_step(g->b);
        assert_true(ring_take(&r, &used));
        guest_free(g);
    }
}

/* With the event index: does the device want to hear of the chain just added? (2.7.10.1, 2.8.10) */
static bool kick_wanted(const struct ring *r, uint16_t before)
{
    atomic_thread_fence(memory_order_seq_cst);
    if (!virtio_has(r->g->v, VIRTIO_F_EVENT_IDX))
        return guest_ram16(r->g, r->device + (r->packed ? 2 : 0)) != 1;
    if (!r->packed)
        return guest_ram16(r->g, r->device + 4 + 8 * r->size) == before;
    if (guest_ram16(r->g, r->device + 2) != 2)
        return guest_ram16(r->g, r->device + 2) == 0;
    return (guest_ram16(r->g, r->device) & 0x7fff) == before;
}

/* A driver that rings only when asked to never waits in vain for a device on another thread. */
static void no_kick_is_lost_to_an_io_thread(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        const struct variant *t = &variants[i];
        struct guest *g = guest_new();
        assert_null(object_create(g->b->vm, "iothread,id=io0"));
        g->dev = guest_add(g, t->mmio ? &echo_device_class : &echo_pci_class, "packed", "on",
                           "in_order", "on", "iothread", "io0", NULL);
        guest_find(g);
        assert_true(guest_negotiate(g, t->features));
        struct ring r = ring_new(g, 0, 4, t->packed);
        guest_driver_ok(g);
        struct buffer buffer = one_buffer(g);
        struct used used;
        unsigned kicks = 0;
        uint64_t mark = g->next_ram;
        for (unsigned n = 0; n < 3000; n++) {
            uint16_t before = r.avail;
            g->next_ram = mark;
            ring_add(&r, &buffer, 1, t->indirect);
            if (kick_wanted(&r, before)) {
                guest_kick(g, 0);
                kicks++;
            }
            uint64_t give_up = host_now_ns() + 20 * NS_PER_S;
            while (!ring_take(&r, &used)) {
                if (host_now_ns() > give_up)
                    fail_msg("%s: chain %u was not answered", t->name, n);
                if (n % 7 == 0)
                    sched_yield();
            }
        }
        assert_true(kicks > 0);
        /* Reset while it is busy. */
        for (unsigned n = 0; n < 50; n++) {
            ring_add(&r, &buffer, 1, false);
            guest_kick(g, 0);
            guest_set_status(g, 0);
            while (guest_status(g))
                sched_yield();
            assert_true(guest_negotiate(g, t->features));
            g->next_ram = mark;
            r = ring_new(g, 0, 4, t->packed);
            static const uint8_t zeros[256];
            board_ram_write(g->b, mark, zeros, sizeof(zeros));
            guest_driver_ok(g);
        }
        guest_free(g);
    }
}

static void kick_before_driver_ok_is_served_later(void **unused)
{
    struct guest *g = echo_guest(false);
    assert_true(guest_negotiate(g, V1));
    struct ring r = ring_new(g, 0, 8, false);
    struct buffer buffer = one_buffer(g);
    struct used used;
    ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    assert_false(ring_take(&r, &used));
    guest_driver_ok(g);
    assert_true(ring_take(&r, &used));
    assert_int_equal(echo_of(g)->n_started, 1);
    guest_free(g);
}

static void queue_rests_while_bus_mastering_is_off(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[0], 8, &r);
    struct buffer buffer = one_buffer(g);
    struct used used;
    guest_config_write(g, g->devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    assert_false(ring_take(&r, &used));
    guest_config_write(g, g->devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    assert_true(ring_take(&r, &used));
    guest_free(g);
}

/* ---- bad rings ------------------------------------------------------------------------------------ */

static void broken(struct guest *g, struct ring *r, const char *what)
{
    guest_kick(g, 0);
    if (!(guest_status(g) & VIRTIO_NEEDS_RESET))
        fail_msg("%s was accepted", what);
    guest_kick(g, 0);
    assert_true(g->b->vm->n_guest_errors > 0);
    /* It works again after a reset. */
    bool packed = r->packed;
    guest_set_status(g, 0);
    assert_int_equal(guest_status(g), 0);
    assert_true(guest_negotiate(g, V1 | (packed ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0)));
    *r = ring_new(g, 0, r->size, packed);
    guest_driver_ok(g);
    one_chain_is_echoed(g, r, false, "humpty dumpty");
    guest_free(g);
}

struct bad_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
#define RAM BOARD_RAM

/* A chain from descriptor 0 on, in a ring of 8. */
static const struct bad_chain {
    const char *what;
    struct bad_desc at[4];
} bad_chains[] = {
    { "a loop", { { RAM, 4, 1, 1 }, { RAM, 4, 1, 0 } } },
    { "a loop of one", { { RAM, 4, 1, 0 } } },
    { "a next outside the ring", { { RAM, 4, 1, 8 } } },
    { "a buffer outside memory", { { 0x1000, 4, 0, 0 } } },
    { "a buffer over the end of memory", { { RAM + BOARD_RAM_SIZE - 4, 8, 2, 0 } } },
    { "a buffer that wraps", { { UINT64_MAX - 3, 16, 2, 0 } } },
    { "a buffer in a device", { { GUEST_ECAM, 4, 0, 0 } } },
    { "readable behind writable", { { RAM, 4, 3, 1 }, { RAM, 4, 0, 0 } } },
    { "indirect with next", { { RAM, 16, 5, 1 }, { RAM, 4, 0, 0 } } },
    { "an empty table", { { RAM, 0, 4, 0 } } },
    { "a table of half descriptors", { { RAM, 24, 4, 0 } } },
    { "a huge table", { { RAM, 0xfffffff0, 4, 0 } } },
    { "a table outside memory", { { 0, 16, 4, 0 } } },
    { "a table at the end", { { UINT64_MAX - 15, 32, 4, 0 } } },
};

static void bad_chains_break_the_device_only(void **unused)
{
    for (unsigned packed = 0; packed < 2; packed++) {
        for (size_t i = 0; i < ARRAY_LEN(bad_chains); i++) {
            struct variant t = variants[packed ? 7 : 2];
            struct ring r;
            struct guest *g = running(&t, 8, &r);
            bool loops = bad_chains[i].at[0].flags == 1;
            if (packed && loops && bad_chains[i].at[0].addr == RAM) {
                guest_free(g); /* packed chains have no links */
                continue;
            }
            for (unsigned d = 0; d < 4; d++) {
                const struct bad_desc *bad = &bad_chains[i].at[d];
                ring_desc(&r, d, bad->addr, bad->len, bad->flags | (packed ? 1 << 7 : 0),
                          bad->next);
            }
            guest_ram16_set(g, r.driver + (packed ? 0 : 4), 0);
            if (!packed)
                guest_ram16_set(g, r.driver + 2, 1);
            broken(g, &r, bad_chains[i].what);
        }
    }
}

static void chain_of_all_and_one_more_breaks_packed(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[5], 8, &r);
    for (unsigned i = 0; i < 8; i++)
        ring_desc(&r, i, RAM, 4, 1 << 7 | 1, 0);
    broken(g, &r, "a chain without end");
}

static void bad_tables_break_the_device_only(void **unused)
{
    static const struct bad_chain tables[] = {
        { "a table in a table", { { RAM, 16, 4, 0 } } },
        { "a next outside the table", { { RAM, 4, 1, 4 } } },
        { "a loop in a table", { { RAM, 4, 1, 1 }, { RAM, 4, 1, 0 } } },
    };
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        struct ring r;
        struct guest *g = running(&variants[2], 8, &r);
        uint64_t at = guest_alloc(g, 64, 16);
        for (unsigned d = 0; d < 4; d++) {
            struct ring table = { .g = g, .desc = at };
            const struct bad_desc *bad = &tables[i].at[d];
            ring_desc(&table, d, bad->addr, bad->len, bad->flags, bad->next);
        }
        ring_desc(&r, 0, RAM + at, 64, 4, 0);
        guest_ram16_set(g, r.driver + 4, 0);
        guest_ram16_set(g, r.driver + 2, 1);
        broken(g, &r, tables[i].what);
    }
}

static void indirect_without_the_feature_breaks(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[0], 8, &r);
    struct buffer buffer = one_buffer(g);
    ring_add(&r, &buffer, 1, true);
    broken(g, &r, "indirect, not negotiated");
}

static void bad_indices_break_the_device_only(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[0], 8, &r);
    guest_ram16_set(g, r.driver + 2, 9);
    broken(g, &r, "nine chains in a ring of eight");

    g = running(&variants[0], 8, &r);
    guest_ram16_set(g, r.driver + 4, 8);
    guest_ram16_set(g, r.driver + 2, 1);
    broken(g, &r, "head 8 of 8");
}

static void same_head_over_and_over_is_bounded(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[0], 8, &r);
    struct echo *e = echo_of(g);
    e->hold = true;
    ring_desc(&r, 0, RAM, 4, 0, 0);
    for (unsigned i = 1; i <= 9; i++) {
        guest_ram16_set(g, r.driver + 2, i);
        guest_kick(g, 0);
    }
    assert_true(guest_status(g) & VIRTIO_NEEDS_RESET);
    assert_int_equal(e->n_held, 8);
    guest_set_status(g, 0);
    for (unsigned i = 0; i < 8; i++)
        echo_complete(e, 0);
    assert_int_equal(guest_status(g), 0);
    guest_free(g);
}

static void bad_layouts_break_at_enable(void **unused)
{
    static const struct {
        const char *what;
        unsigned size;
        uint64_t desc, driver, device;
    } bad[] = {
        { "size 0", 0, 0, 0x1000, 0x2000 },
        { "size 7", 7, 0, 0x1000, 0x2000 },
        { "size 512 of 256", 512, 0, 0x4000, 0x8000 },
        { "descriptors at 8", 8, 8, 0x1000, 0x2000 },
        { "driver area at 1", 8, 0, 0x1001, 0x2000 },
        { "device area at 2", 8, 0, 0x1000, 0x2002 },
        { "descriptors outside", 8, -BOARD_RAM, 0x1000, 0x2000 },
        { "device area over the end", 8, 0, 0x1000, BOARD_RAM_SIZE - 64 },
        { "descriptors at the top", 8, -BOARD_RAM - 16, 0x1000, 0x2000 },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct guest *g = echo_guest(false);
        assert_true(guest_negotiate(g, V1));
        struct ring r = { .g = g,
                          .size = bad[i].size,
                          .desc = bad[i].desc,
                          .driver = bad[i].driver,
                          .device = bad[i].device };
        ring_enable(&r);
        if (!(guest_status(g) & VIRTIO_NEEDS_RESET))
            fail_msg("%s was accepted", bad[i].what);
        guest_free(g);
    }
}

static void ring_follows_the_memory_map(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[0], 8, &r);
    struct mem_region *more;
    assert_null(mem_add_ram(g->b->vm, "more", 4096, false, &more));
    mem_map(more, 0x1000, 0);
    one_chain_is_echoed(g, &r, false, "sat on a wall");
    mem_unmap(g->b->ram);
    guest_kick(g, 0);
    assert_true(guest_status(g) & VIRTIO_NEEDS_RESET);
    guest_free(g);
}

static void buffer_over_two_memories_is_two_pieces(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[0], 8, &r);
    struct mem_region *more;
    assert_null(mem_add_ram(g->b->vm, "more", 4096, false, &more));
    mem_map(more, BOARD_RAM + BOARD_RAM_SIZE, 0);
    struct buffer buffers[] = { { 0, 16, false }, { BOARD_RAM_SIZE - 8, 16, true } };
    board_ram_write(g->b, 0, "0123456789abcdef", 16);
    ring_add(&r, buffers, 2, false);
    guest_kick(g, 0);
    char back[17] = "";
    assert_true(mem_read(g->b->vm, BOARD_RAM + BOARD_RAM_SIZE - 8, back, 16));
    assert_string_equal(back, "0123456789abcdef");
    guest_free(g);
}

/* ---- features and status ---------------------------------------------------------------------------- */

static void features_that_were_not_offered_are_refused(void **unused)
{
    struct guest *g = guest_with(&echo_pci_class, "disable-legacy", "on", NULL);
    uint64_t offered = guest_offered(g);
    assert_true(offered & V1 && offered & VIRTIO_BIT(ECHO_FEATURE));
    assert_false(offered & VIRTIO_BIT(VIRTIO_F_RING_PACKED));
    assert_false(guest_negotiate(g, V1 | VIRTIO_BIT(VIRTIO_F_RING_PACKED)));
    assert_false(guest_negotiate(g, offered & ~V1));
    assert_true(guest_negotiate(g, offered));
    echo_of(g)->refused_features = VIRTIO_BIT(ECHO_FEATURE);
    assert_false(guest_negotiate(g, offered));
    assert_true(guest_negotiate(g, V1));
    guest_free(g);
}

static void features_are_frozen_by_features_ok(void **unused)
{
    struct guest *g = echo_guest(true);
    assert_true(guest_negotiate(g, V1));
    guest_accept(g, V1 | VIRTIO_BIT(ECHO_FEATURE));
    assert_false(virtio_has(g->v, ECHO_FEATURE));
    guest_free(g);
}

static void driver_ok_without_features_ok_breaks(void **unused)
{
    struct guest *g = echo_guest(false);
    guest_set_status(g, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    assert_true(guest_status(g) & VIRTIO_NEEDS_RESET);
    assert_int_equal(echo_of(g)->n_started, 0);
    guest_free(g);
}

static void configuration_is_read_written_and_numbered(void **unused)
{
    struct guest *g = echo_guest(false);
    board_poke(g->b, g->modern + 0x2002, 2, 0xbeef);
    assert_int_equal(board_peek(g->b, g->modern + 0x2000, 4), 0xbeef0000);
    board_poke(g->b, g->modern + 0x2008, 4, 1); /* behind the end */
    assert_int_equal(board_peek(g->b, g->modern + 0x2008, 4), 0);
    unsigned generation = board_peek(g->b, g->modern + 0x15, 1);
    device_lock(g->dev);
    virtio_config_changed(g->v);
    device_unlock(g->dev);
    assert_int_equal(board_peek(g->b, g->modern + 0x15, 1), generation + 1);
    guest_free(g);
}

/* ---- reset -------------------------------------------------------------------------------------------- */

static void reset_waits_for_requests_in_flight(void **unused)
{
    struct ring r;
    struct guest *g = running(&variants[0], 8, &r);
    struct echo *e = echo_of(g);
    struct buffer buffer = one_buffer(g);
    e->hold = true;
    ring_add(&r, &buffer, 1, false);
    ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    assert_int_equal(e->n_held, 2);
    guest_set_status(g, 0);
    assert_int_not_equal(guest_status(g), 0);
    echo_complete(e, 1);
    assert_int_not_equal(guest_status(g), 0);
    echo_complete(e, 0);
    assert_int_equal(guest_status(g), 0);
    assert_int_equal(guest_ram16(g, r.device + 2), 0); /* nothing was used */
    e->hold = false;
    assert_true(guest_negotiate(g, V1));
    r = ring_new(g, 0, 8, false);
    guest_driver_ok(g);
    one_chain_is_echoed(g, &r, false, "had a great fall");
    guest_free(g);
}

static void one_queue_can_be_reset(void **unused)
{
    struct guest *g = echo_guest(false);
    assert_true(guest_negotiate(g, V1 | VIRTIO_BIT(VIRTIO_F_RING_RESET)));
    struct ring r = ring_new(g, 0, 8, false), other = ring_new(g, 1, 8, false);
    struct buffer buffer = one_buffer(g);
    struct echo *e = echo_of(g);
    guest_driver_ok(g);
    e->hold = true;
    ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    board_poke(g->b, g->modern + 0x16, 2, 0);
    board_poke(g->b, g->modern + 0x3a, 2, 1);
    assert_int_equal(board_peek(g->b, g->modern + 0x3a, 2), 1);
    assert_int_equal(board_peek(g->b, g->modern + 0x1c, 2), 0);
    echo_complete(e, 0);
    assert_int_equal(board_peek(g->b, g->modern + 0x3a, 2), 0);
    e->hold = false;
    one_chain_is_echoed(g, &other, false, "couldn't put");
    r = ring_new(g, 0, 16, false);
    one_chain_is_echoed(g, &r, false, "Humpty together");
    guest_free(g);
}

static void unpopped_chains_come_again(void **unused)
{
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        struct ring r;
        struct guest *g = running(&variants[i], 8, &r);
        struct echo *e = echo_of(g);
        struct buffer buffers[] = { one_buffer(g), one_buffer(g), one_buffer(g) };
        e->hold = true;
        for (unsigned round = 0; round < 20; round++) {
            uint16_t first = ring_add(&r, buffers, 3, variants[i].indirect);
            uint16_t second = ring_add(&r, buffers, 2, variants[i].indirect);
            guest_kick(g, 0);
            assert_int_equal(e->n_held, 2);
            device_lock(g->dev);
            virtq_unpop(e->held[1]);
            virtq_unpop(e->held[0]);
            e->n_held = 0;
            device_unlock(g->dev);
            guest_kick(g, 0);
            assert_int_equal(e->n_held, 2);
            echo_complete(e, 0);
            echo_complete(e, 0);
            struct used used;
            assert_true(ring_take(&r, &used));
            assert_int_equal(used.id, first);
            assert_true(ring_take(&r, &used));
            assert_int_equal(used.id, second);
        }
        guest_free(g);
    }
}

/* ---- legacy ------------------------------------------------------------------------------------------ */

/* Rings of a legacy driver: one block, the used ring on the next page. */
static struct ring legacy_ring(struct guest *g)
{
    struct ring r = { .g = g, .size = 256 };
    r.desc = guest_alloc(g, 3 * 4096, 4096);
    r.driver = r.desc + 16 * 256;
    r.device = r.desc + 2 * 4096;
    return r;
}

static void legacy_pci_driver_works(void **unused)
{
    struct guest *g = guest_with(&echo_pci_class, NULL);
    gpa io = g->legacy;
    assert_int_equal(board_peek(g->b, io, 4) >> ECHO_FEATURE & 1, 1);
    board_poke(g->b, io + 0x12, 1, 0);
    board_poke(g->b, io + 0x12, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    board_poke(g->b, io + 4, 4, VIRTIO_BIT(ECHO_FEATURE) | 1);
    struct ring r = legacy_ring(g);
    board_poke(g->b, io + 0x0e, 2, 0);
    assert_int_equal(board_peek(g->b, io + 0x0c, 2), 256);
    board_poke(g->b, io + 8, 4, (BOARD_RAM + r.desc) >> 12);
    board_poke(g->b, io + 0x12, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    assert_true(virtio_has(g->v, ECHO_FEATURE) && !virtio_has(g->v, VIRTIO_F_VERSION_1));
    struct buffer buffer = one_buffer(g);
    struct used used;
    ring_add(&r, &buffer, 1, false);
    board_poke(g->b, io + 0x10, 2, 0);
    assert_true(ring_take(&r, &used));
    assert_true(g->b->lines[g->devfn >> 3].level);
    assert_int_equal(board_peek(g->b, io + 0x13, 1), 1);
    assert_false(g->b->lines[g->devfn >> 3].level);
    board_poke(g->b, io + 0x14, 1, 0x5a); /* configuration follows at once without MSI-X */
    assert_int_equal(board_peek(g->b, io + 0x14, 1), 0x5a);
    guest_free(g);
}

static void legacy_mmio_driver_works(void **unused)
{
    struct guest *g = guest_with(&echo_device_class, "force-legacy", "on", NULL);
    assert_int_equal(board_peek(g->b, g->mmio + 4, 4), 1);
    assert_int_equal(guest_offered(g) >> 32, 0);
    guest_set_status(g, 0);
    guest_set_status(g, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    struct ring r = legacy_ring(g);
    board_poke(g->b, g->mmio + 0x28, 4, 4096);
    board_poke(g->b, g->mmio + 0x70, 4, 0); /* after the page size, as Linux does */
    board_poke(g->b, g->mmio + 0x70, 4, 3);
    board_poke(g->b, g->mmio + 0x30, 4, 0);
    board_poke(g->b, g->mmio + 0x38, 4, 256);
    board_poke(g->b, g->mmio + 0x3c, 4, 4096);
    board_poke(g->b, g->mmio + 0x40, 4, (BOARD_RAM + r.desc) >> 12);
    guest_set_status(g, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    struct buffer buffer = one_buffer(g);
    struct used used;
    ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    assert_true(ring_take(&r, &used));
    assert_true(g->b->lines[15].level);
    assert_int_equal(board_peek(g->b, g->mmio + 0x60, 4), 1);
    board_poke(g->b, g->mmio + 0x64, 4, 1);
    assert_false(g->b->lines[15].level);
    board_check(g->b);
    guest_free(g);
}

static void slots_can_be_made_legacy(void **unused)
{
    struct board *b = board_new();
    struct irq line = board_irq(b, 0);
    assert_null(device_add_global(b->vm, "virtio-mmio", "force-legacy", "on"));
    assert_null(virtio_mmio_slot_create(b->vm, 0, BOARD_MMIO, &line));
    struct device *dev = device_new(b->vm, &echo_device_class);
    assert_null(device_realize(dev, NULL, NULL));
    assert_int_equal(board_read32(b, 4), 1);
    board_free(b);
}

static void mmio_slots_fill_from_the_top(void **unused)
{
    struct guest *g = echo_guest(true);
    assert_int_equal(board_peek(g->b, g->mmio, 4), 0x74726976);
    assert_int_equal(board_peek(g->b, g->mmio + 8, 4), 2);
    assert_int_equal(board_peek(g->b, g->mmio - 0x1000, 4), 0x74726976);
    assert_int_equal(board_peek(g->b, g->mmio - 0x1000 + 8, 4), 0);
    guest_add(g, &echo_device_class, "bus", "virtio-mmio-bus.3", NULL);
    assert_int_equal(board_peek(g->b, g->mmio - 0x4000 + 8, 4), 2);
    char *text = guest_refuses(g, &echo_device_class, "bus", "virtio-mmio-bus.3", NULL);
    assert_non_null(strstr(text, "taken"));
    free(text);
    text = guest_refuses(g, &echo_device_class, "bus", "virtio-mmio-bus.9", NULL);
    assert_non_null(strstr(text, "virtio-mmio-bus.9"));
    free(text);
    for (unsigned i = 0; i < 6; i++)
        guest_add(g, &echo_device_class, NULL);
    text = guest_refuses(g, &echo_device_class, NULL);
    assert_non_null(strstr(text, "no free"));
    free(text);
    guest_free(g);
}

/* ---- PCI transport ------------------------------------------------------------------------------------- */

static void pci_identity_is_transitional_or_modern(void **unused)
{
    struct guest *g = guest_with(&echo_pci_class, NULL);
    assert_int_equal(guest_config_read(g, g->devfn, 0, 4), 0x10011af4);
    assert_int_equal(guest_config_read(g, g->devfn, PCI_REVISION, 4), 0x01000000);
    assert_int_equal(guest_config_read(g, g->devfn, PCI_SUBSYSTEM_VENDOR, 4), 0x00021af4);
    guest_free(g);
    g = guest_with(&echo_pci_class, "disable-legacy", "on", NULL);
    assert_int_equal(guest_config_read(g, g->devfn, 0, 4), 0x10421af4);
    assert_int_equal(guest_config_read(g, g->devfn, PCI_REVISION, 1), 1);
    assert_int_equal(guest_config_read(g, g->devfn, PCI_BAR0, 4), 0);
    char *text =
        guest_refuses(g, &echo_pci_class, "disable-legacy", "on", "disable-modern", "on", NULL);
    assert_non_null(strstr(text, "disable-modern"));
    free(text);
    guest_free(g);
}

static void registers_are_reached_through_configuration_space(void **unused)
{
    struct guest *g = echo_guest(false);
    unsigned cap = 0;
    for (unsigned i = 0; !cap && i < 8; i++) {
        unsigned at = guest_capability(g, g->devfn, PCI_CAP_VENDOR, i);
        if (at && guest_config_read(g, g->devfn, at + 3, 1) == 5)
            cap = at;
    }
    assert_true(cap);
    guest_config_write(g, g->devfn, cap + 4, 1, 4);
    guest_config_write(g, g->devfn, cap + 8, 4, 0x14);
    guest_config_write(g, g->devfn, cap + 12, 4, 1);
    guest_config_write(g, g->devfn, cap + 16, 1, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(guest_status(g), VIRTIO_ACKNOWLEDGE);
    assert_int_equal(guest_config_read(g, g->devfn, cap + 16, 1), VIRTIO_ACKNOWLEDGE);
    guest_config_write(g, g->devfn, cap + 8, 4, 0xfffffffc); /* nowhere */
    guest_config_write(g, g->devfn, cap + 16, 1, 0);
    assert_int_equal(guest_status(g), VIRTIO_ACKNOWLEDGE);
    guest_free(g);
}

static void queue_interrupts_by_msix(void **unused)
{
    struct guest *g = echo_guest(false);
    unsigned cap = guest_capability(g, g->devfn, PCI_CAP_MSIX, 0);
    assert_true(guest_negotiate(g, V1));
    struct ring r = ring_new(g, 0, 8, false);
    guest_config_write(g, g->devfn, cap + 2, 2, 1 << 15);
    board_poke(g->b, g->msix + 16, 4, BOARD_MSI + 0x40);
    board_poke(g->b, g->msix + 20, 4, 0);
    board_poke(g->b, g->msix + 24, 4, 77);
    board_poke(g->b, g->msix + 28, 4, 0);
    board_poke(g->b, g->modern + 0x1a, 2, 1);
    assert_int_equal(board_peek(g->b, g->modern + 0x1a, 2), 1);
    board_poke(g->b, g->modern + 0x10, 2, 9); /* there are three vectors */
    assert_int_equal(board_peek(g->b, g->modern + 0x10, 2), 0xffff);
    guest_driver_ok(g);
    struct buffer buffer = one_buffer(g);
    ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    assert_int_equal(g->b->n_msis, 1);
    assert_int_equal(g->b->msis[0].at, BOARD_MSI + 0x40);
    assert_int_equal(g->b->msis[0].data, 77);
    /* Masked, it stays pending; unmasked, it comes. */
    board_poke(g->b, g->msix + 28, 4, 1);
    ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    assert_int_equal(g->b->n_msis, 1);
    assert_int_equal(board_peek(g->b, g->msix + 0x800, 4), 2);
    board_poke(g->b, g->msix + 28, 4, 0);
    assert_int_equal(g->b->n_msis, 2);
    assert_int_equal(board_peek(g->b, g->msix + 0x800, 4), 0);
    guest_free(g);
}

static void interrupt_aimed_at_own_registers_goes_nowhere(void **unused)
{
    struct guest *g = echo_guest(false);
    unsigned cap = guest_capability(g, g->devfn, PCI_CAP_MSIX, 0);
    assert_true(guest_negotiate(g, V1));
    struct ring r = ring_new(g, 0, 8, false);
    guest_config_write(g, g->devfn, cap + 2, 2, 1 << 15);
    board_poke(g->b, g->msix, 4, g->modern + 0x3000);
    board_poke(g->b, g->msix + 12, 4, 0);
    board_poke(g->b, g->modern + 0x1a, 2, 0);
    guest_driver_ok(g);
    struct buffer buffer = one_buffer(g);
    uint64_t errors = g->b->vm->n_guest_errors;
    ring_add(&r, &buffer, 1, false);
    guest_kick(g, 0);
    assert_true(g->b->vm->n_guest_errors > errors);
    guest_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chains_are_answered_on_every_kind_of_ring),
        cmocka_unit_test(traffic_in_any_order_is_accounted),
        cmocka_unit_test(packed_ring_size_need_not_be_a_power_of_two),
        cmocka_unit_test(event_index_holds_interrupts_back),
        cmocka_unit_test(packed_event_index_holds_interrupts_back),
        cmocka_unit_test(driver_can_switch_interrupts_off),
        cmocka_unit_test(empty_queue_asks_for_the_next_kick),
        cmocka_unit_test(queue_on_a_loop_is_rung_by_doorbell),
        cmocka_unit_test(no_kick_is_lost_to_an_io_thread),
        cmocka_unit_test(kick_before_driver_ok_is_served_later),
        cmocka_unit_test(queue_rests_while_bus_mastering_is_off),
        cmocka_unit_test(bad_chains_break_the_device_only),
        cmocka_unit_test(chain_of_all_and_one_more_breaks_packed),
        cmocka_unit_test(bad_tables_break_the_device_only),
        cmocka_unit_test(indirect_without_the_feature_breaks),
        cmocka_unit_test(bad_indices_break_the_device_only),
        cmocka_unit_test(same_head_over_and_over_is_bounded),
        cmocka_unit_test(bad_layouts_break_at_enable),
        cmocka_unit_test(ring_follows_the_memory_map),
        cmocka_unit_test(buffer_over_two_memories_is_two_pieces),
        cmocka_unit_test(features_that_were_not_offered_are_refused),
        cmocka_unit_test(features_are_frozen_by_features_ok),
        cmocka_unit_test(driver_ok_without_features_ok_breaks),
        cmocka_unit_test(configuration_is_read_written_and_numbered),
        cmocka_unit_test(reset_waits_for_requests_in_flight),
        cmocka_unit_test(one_queue_can_be_reset),
        cmocka_unit_test(unpopped_chains_come_again),
        cmocka_unit_test(legacy_pci_driver_works),
        cmocka_unit_test(legacy_mmio_driver_works),
        cmocka_unit_test(slots_can_be_made_legacy),
        cmocka_unit_test(mmio_slots_fill_from_the_top),
        cmocka_unit_test(pci_identity_is_transitional_or_modern),
        cmocka_unit_test(registers_are_reached_through_configuration_space),
        cmocka_unit_test(queue_interrupts_by_msix),
        cmocka_unit_test(interrupt_aimed_at_own_registers_goes_nowhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
