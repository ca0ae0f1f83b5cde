/* hyperv-testdev: what kvm-unit-tests needs to try Hyper-V's synthetic interrupts. A write to port 0x3000 connects a
 * source (SINT) of a vCPU's controller with this device, requests its interrupt, or makes a connection: a message
 * that the guest posts to it comes back at the source, an event that it signals is shown there by the flag of the
 * connection's number. "TLFS" is Hyper-V's Top-Level Functional Specification. */
#include "core/accel.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/vm.h"
#include "hw/isa.h"
#include "hw/place.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PORT = 0x3000, N_VCPUS = 256, N_SINTS = 16, N_CONNECTIONS = 256 };
enum { /* bits 16 to 23 of what is written: source in 0 to 7, vCPU in 8 to 15, connection in 24 to 31 */
       ROUTE_CREATE = 1,
       ROUTE_DESTROY,
       ROUTE_RAISE,
       MESSAGE_CREATE,
       MESSAGE_DESTROY,
       EVENT_CREATE,
       EVENT_DESTROY,
};
enum { POST_MESSAGE = 0x5c, SIGNAL_EVENT = 0x5d }; /* TLFS, appendix A */
enum {                                             /* appendix B */
       SUCCESS = 0,
       INVALID_HYPERCALL_CODE = 2,
       INVALID_ALIGNMENT = 4,
       INVALID_PARAMETER = 5,
       INVALID_CONNECTION_ID = 0x12,
       INSUFFICIENT_BUFFERS = 0x13,
};
/* A message, TLFS 11.8.3: type, size of what it carries, flags, 10 bytes, and that. What is posted (11.10.1) is as
 * long: connection, 4 bytes, type, size, and that. */
enum { SLOT = 256, HEADER = 16, AT_TYPE = 0, AT_SIZE = 4, AT_FLAGS = 5, IS_PENDING = 1 };
enum { POST_AT_TYPE = 8, POST_AT_SIZE = 12, SIGNAL_SIZE = 8 };

/* Ways to the guest: the routes, by vCPU and source, then connections. */
enum { N_ROUTES = N_VCPUS * N_SINTS, MESSAGE_LINES = N_ROUTES };
enum { EVENT_LINES = MESSAGE_LINES + N_CONNECTIONS, N_LINES = EVENT_LINES + N_CONNECTIONS };

struct line {
    struct testdev *t;
    int raise, ended; /* -1: not connected; nobody wants to know */
};

struct connection {
    bool used, has_message;
    uint8_t vcpu, sint;
    uint8_t message[SLOT]; /* waits for room in the guest's slot */
};

struct testdev {
    struct device dev;
    struct mem_region *ports;
    bool stands;              /* the VM does: guest memory is left alone */
    uint16_t routes[N_VCPUS]; /* a bit for each source */
    struct connection messages[N_CONNECTIONS], events[N_CONNECTIONS];
    struct line *lines;
};

static const struct accel_synic *synic_of(const struct testdev *t)
{
    return t->dev.vm->accel->synic;
}

/* ---- lines: lock held ------------------------------------------------------------------------------ */
static void on_ended(void *opaque, uint32_t ready);

static void disconnect(struct line *l)
{
    struct vm *vm = l->t->dev.vm;
    if (l->raise < 0)
        return;
    synic_of(l->t)->route(vm, false, l->raise, l->ended, 0, 0);
    if (l->ended >= 0) {
        loop_unwatch(vm->loop, l->ended);
        close(l->ended);
    }
    close(l->raise);
    l->raise = l->ended = -1;
}

static bool connect(struct testdev *t, unsigned index, unsigned vcpu, unsigned sint, bool asks)
{
    struct vm *vm = t->dev.vm;
    struct line *l = &t->lines[index];
    disconnect(l);
    if (vcpu >= vm->n_vcpus || sint >= N_SINTS)
        return device_broken(&t->dev, "there is no source %u of vCPU %u", sint, vcpu);
    l->raise = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    l->ended = asks && l->raise >= 0 ? eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) : -1;
    if (l->raise >= 0 && (!asks || l->ended >= 0) &&
        synic_of(t)->route(vm, true, l->raise, l->ended, vcpu, sint)) {
        if (asks)
            loop_watch(vm->loop, l->ended, EPOLLIN, on_ended, l);
        return true;
    }
    if (l->raise >= 0)
        close(l->raise);
    if (l->ended >= 0)
        close(l->ended);
    l->raise = l->ended = -1;
    return device_broken(&t->dev, "the host does not connect source %u of vCPU %u", sint, vcpu);
}

static void raise_line(const struct line *l)
{
    uint64_t one = 1;
    if (l->raise >= 0 && write(l->raise, &one, sizeof(one)) < 0)
        atomic_fetch_add(&l->t->dev.vm->n_guest_errors, 1); /* nobody took 2^64 of them */
}

/* ---- messages and events: lock held ------------------------------------------------------------------ */
/* Host memory of a slot in the page of messages or events, which the guest may be changing; NULL: it shows none. */
static uint8_t *slot_of(struct testdev *t, const struct connection *c, bool is_event, gpa *at)
{
    gpa messages, events;
    struct iovec iov;
    unsigned n = 1;
    struct vm *vm = t->dev.vm;
    synic_of(t)->pages(vm->vcpus[c->vcpu], &messages, &events);
    *at = is_event ? events : messages;
    if (*at == SYNIC_NOWHERE)
        return NULL;
    *at += (gpa)SLOT * c->sint;
    return mem_pin(vm, *at, SLOT, true, &iov, &n) ? iov.iov_base : NULL;
}

/* Into the guest's slot, if that is free; else its message says that another waits. The guest empties the slot, then
 * looks at the flag: so it is looked at again behind the flag. */
static void deliver(struct testdev *t, unsigned id)
{
    struct connection *c = &t->messages[id];
    gpa at;
    if (!c->has_message || t->stands)
        return;
    uint8_t *slot = slot_of(t, c, false, &at);
    if (!slot) {
        c->has_message = false;
        return;
    }
    uint32_t *type = (uint32_t *)(slot + AT_TYPE);
    if (__atomic_load_n(type, __ATOMIC_ACQUIRE)) {
        __atomic_fetch_or(slot + AT_FLAGS, IS_PENDING, __ATOMIC_SEQ_CST);
        mem_mark_written(t->dev.vm, at, SLOT);
        if (__atomic_load_n(type, __ATOMIC_SEQ_CST))
            return;
    }
    memcpy(slot + sizeof(*type), c->message + sizeof(*type), SLOT - sizeof(*type));
    __atomic_store_n(type, (uint32_t)load_le(c->message, 4), __ATOMIC_RELEASE);
    mem_mark_written(t->dev.vm, at, SLOT);
    c->has_message = false;
    raise_line(&t->lines[MESSAGE_LINES + id]);
}

static void on_ended(void *opaque, uint32_t ready)
{
    struct line *l = opaque;
    struct testdev *t = l->t;
    uint64_t n;
    device_lock(&t->dev);
    if (l->ended >= 0 && read(l->ended, &n, sizeof(n)) > 0)
        deliver(t, (unsigned)(l - t->lines) - MESSAGE_LINES);
    device_unlock(&t->dev);
}

/* TLFS 11.10.1. */
static uint16_t post_message(struct testdev *t, const struct hv_call *call)
{
    uint8_t post[SLOT];
    if (call->fast)
        return INVALID_HYPERCALL_CODE;
    if (call->input[0] % 8)
        return INVALID_ALIGNMENT;
    if (!mem_read(t->dev.vm, call->input[0], post, sizeof(post)))
        return INVALID_PARAMETER;
    uint32_t id = (uint32_t)load_le(post, 4), type = (uint32_t)load_le(post + POST_AT_TYPE, 4);
    uint32_t size = (uint32_t)load_le(post + POST_AT_SIZE, 4);
    if (!type || type >> 31 || size > SLOT - HEADER) /* the upper types are the hypervisor's */
        return INVALID_PARAMETER;
    if (id >= N_CONNECTIONS || !t->messages[id].used)
        return INVALID_CONNECTION_ID;
    struct connection *c = &t->messages[id];
    if (c->has_message)
        return INSUFFICIENT_BUFFERS;
    memset(c->message, 0, SLOT);
    store_le(c->message + AT_TYPE, 4, type);
    c->message[AT_SIZE] = (uint8_t)size;
    memcpy(c->message + HEADER, post + HEADER, size);
    c->has_message = true;
    deliver(t, id);
    return SUCCESS;
}

/* TLFS 11.10.2: a connection, and one of its flags, of which it has one. */
static uint16_t signal_event(struct testdev *t, const struct hv_call *call)
{
    uint8_t in[SIGNAL_SIZE];
    uint64_t value = call->input[0];
    gpa at;
    if (!call->fast && value % 8)
        return INVALID_ALIGNMENT;
    if (!call->fast && !mem_read(t->dev.vm, value, in, sizeof(in)))
        return INVALID_PARAMETER;
    if (!call->fast)
        value = load_le(in, sizeof(in));
    uint32_t id = (uint32_t)value;
    if (value >> 32 & 0xffff)
        return INVALID_PARAMETER;
    if (id >= N_CONNECTIONS || !t->events[id].used)
        return INVALID_CONNECTION_ID;
    uint8_t *slot = slot_of(t, &t->events[id], true, &at), bit = (uint8_t)(1 << id % 8);
    if (!slot)
        return INVALID_CONNECTION_ID;
    uint8_t before = __atomic_fetch_or(slot + id / 8, bit, __ATOMIC_SEQ_CST);
    mem_mark_written(t->dev.vm, at, SLOT);
    if (!(before & bit))
        raise_line(&t->lines[EVENT_LINES + id]);
    return SUCCESS;
}

static uint16_t hv_call(void *opaque, const struct hv_call *call)
{
    struct testdev *t = opaque;
    uint16_t status = INVALID_HYPERCALL_CODE;
    device_lock(&t->dev);
    if (call->code == POST_MESSAGE)
        status = post_message(t, call);
    else if (call->code == SIGNAL_EVENT)
        status = signal_event(t, call);
    device_unlock(&t->dev);
    return status;
}

/* ---- the port ---------------------------------------------------------------------------------------- */
static void create(struct testdev *t, struct connection *c, unsigned line, unsigned vcpu,
                   unsigned sint, bool asks)
{
    *c = (struct connection){ 0 };
    if (connect(t, line, vcpu, sint, asks))
        *c = (struct connection){ .used = true, .vcpu = (uint8_t)vcpu, .sint = (uint8_t)sint };
}

static void destroy(struct testdev *t, struct connection *c, unsigned line)
{
    disconnect(&t->lines[line]);
    *c = (struct connection){ 0 };
}

static void command(struct testdev *t, uint32_t v)
{
    unsigned sint = v & 0xff, vcpu = v >> 8 & 0xff, id = v >> 24;
    unsigned route = vcpu * N_SINTS + sint % N_SINTS;
    uint16_t bit = (uint16_t)(1u << sint % N_SINTS);
    switch (v >> 16 & 0xff) {
    case ROUTE_CREATE:
        t->routes[vcpu] &= ~bit;
        if (connect(t, route, vcpu, sint, false))
            t->routes[vcpu] |= bit;
        break;
    case ROUTE_DESTROY:
        t->routes[vcpu] &= ~bit;
        disconnect(&t->lines[route]);
        break;
    case ROUTE_RAISE: raise_line(&t->lines[route]); break;
    case MESSAGE_CREATE: create(t, &t->messages[id], MESSAGE_LINES + id, vcpu, sint, true); break;
    case MESSAGE_DESTROY: destroy(t, &t->messages[id], MESSAGE_LINES + id); break;
    case EVENT_CREATE: create(t, &t->events[id], EVENT_LINES + id, vcpu, sint, false); break;
    case EVENT_DESTROY: destroy(t, &t->events[id], EVENT_LINES + id); break;
    default: device_broken(&t->dev, "there is no command %u", v >> 16 & 0xff);
    }
}

static uint64_t ports_read(void *opaque, uint64_t off, unsigned size)
{
    return 0;
}

static void ports_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct testdev *t = opaque;
    device_lock(&t->dev);
    command(t, (uint32_t)value);
    device_unlock(&t->dev);
}

static const struct mmio_ops ports_ops = { ports_read, ports_write, 4, 4, NULL };

/* ---- life ---------------------------------------------------------------------------------------------- */
static void on_run(void *opaque, bool running)
{
    struct testdev *t = opaque;
    device_lock(&t->dev);
    t->stands = !running;
    for (unsigned id = 0; id < N_CONNECTIONS; id++)
        deliver(t, id);
    device_unlock(&t->dev);
}

static struct error *testdev_realize(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    struct vm *vm = dev->vm;
    struct error *err = isa_check(dev);
    if (!err && !vm->accel->synic)
        err =
            error_new("the engine %s has no Hyper-V synthetic interrupt controllers; KVM may, with "
                      "-cpu ...,hv-synic",
                      vm->accel->name);
    if (!err)
        err = vm->accel->synic->available(vm);
    if (!err && vm->hv_call)
        err = error_new("calls to Hyper-V have a device already");
    if (err)
        return err;
    t->lines = xcalloc(N_LINES, sizeof(*t->lines));
    for (unsigned i = 0; i < N_LINES; i++)
        t->lines[i] = (struct line){ t, -1, -1 };
    t->ports = mem_add_mmio(vm, dev->cls->name, 4, &ports_ops, t);
    mem_map_ports(t->ports, PORT, 0);
    vm->hv_opaque = t;
    vm->hv_call = hv_call;
    vm_on_run(vm, on_run, t);
    return NULL;
}

static void testdev_unrealize(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    dev->vm->hv_call = NULL;
    vm_forget(dev->vm, t);
    mem_free_region(t->ports);
    for (unsigned i = 0; i < N_LINES; i++)
        disconnect(&t->lines[i]);
    free(t->lines);
}

static void testdev_reset(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    for (unsigned i = 0; i < N_LINES; i++)
        disconnect(&t->lines[i]);
    memset(t->routes, 0, sizeof(t->routes));
    memset(t->messages, 0, sizeof(t->messages));
    memset(t->events, 0, sizeof(t->events));
}

static struct error *testdev_loaded(struct device *dev)
{
    struct testdev *t = (struct testdev *)dev;
    for (unsigned i = 0; i < N_ROUTES; i++)
        if (t->routes[i / N_SINTS] >> i % N_SINTS & 1 &&
            !connect(t, i, i / N_SINTS, i % N_SINTS, false))
            return error_new("a source that is not there");
    for (unsigned id = 0; id < N_CONNECTIONS; id++) {
        const struct connection *m = &t->messages[id], *e = &t->events[id];
        if ((m->used && !connect(t, MESSAGE_LINES + id, m->vcpu, m->sint, true)) ||
            (e->used && !connect(t, EVENT_LINES + id, e->vcpu, e->sint, false)))
            return error_new("a connection with a source that is not there");
        if (m->has_message && !m->used)
            return error_new("a message of no connection");
    }
    return NULL;
}

static const struct field connection_fields[] = {
    FIELD(struct connection, used),        FIELD(struct connection, has_message),
    FIELD(struct connection, vcpu),        FIELD(struct connection, sint, .max = N_SINTS - 1),
    FIELD_RAW(struct connection, message),
};
static const struct field testdev_state[] = {
    FIELD_ARRAY(struct testdev, routes),
    FIELD_SUB(struct testdev, messages, connection_fields, N_CONNECTIONS),
    FIELD_SUB(struct testdev, events, connection_fields, N_CONNECTIONS),
    DERIVED(struct testdev, stands),
};

const struct device_class hyperv_testdev_class = {
    .name = "hyperv-testdev",
    .desc = "routes and connections of Hyper-V's synthetic interrupts, for kvm-unit-tests",
    .bus = "system",
    .version = 1,
    .user_creatable = true,
    .size = sizeof(struct testdev),
    .state = TABLE(testdev_state),
    .realize = testdev_realize,
    .unrealize = testdev_unrealize,
    .reset = testdev_reset,
    .loaded = testdev_loaded,
};
