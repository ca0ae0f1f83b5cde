/* In-kernel interrupt controllers, their routes, and MSIs into them. */
#include "kvm/kvm.h"

#include "core/error.h"

#include <inttypes.h>
#include <stdlib.h>

static bool board_can(const struct kvm *kvm, enum irqchip kind)
{
    return kind == IRQCHIP_USER || kvm->vm->irqchips >> kind & 1;
}

static struct error *choose(struct kvm *kvm)
{
    static const char *const names[] = { "off", "split", "on" };
    if (kvm->irqchip >= 0 && !board_can(kvm, kvm->irqchip))
        return error_new("kernel-irqchip=%s: this board cannot do that%s", names[kvm->irqchip],
                         board_can(kvm, IRQCHIP_ENGINE) ? "; on and off are accepted" : "");
    for (int kind = IRQCHIP_ENGINE; kvm->irqchip < 0; kind--)
        if (board_can(kvm, kind))
            kvm->irqchip = kind;
    kvm->vm->irqchip = kvm->irqchip;
    return NULL;
}

static void send_msi(void *opaque, uint64_t off, uint32_t data)
{
    struct kvm *kvm = opaque;
    struct kvm_msi msi = { .address_lo = (uint32_t)(kvm_isa.msi_at + off), .data = data };
    if (ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
        atomic_fetch_add(&kvm->vm->n_guest_errors, 1);
}

static uint64_t no_read(void *opaque, uint64_t off, unsigned size)
{
    (void)opaque, (void)off, (void)size;
    return 0;
}

static void no_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    (void)opaque, (void)off, (void)size, (void)value;
}

/* The kernel answers vCPUs there; this is for devices, which send MSIs to the same addresses. */
static const struct mmio_ops msi_ops = { .read = no_read, .write = no_write, .msi = send_msi };

struct error *kvm_irq_create(struct kvm *kvm)
{
    struct error *err = choose(kvm);
    if (err || kvm->irqchip == IRQCHIP_USER)
        return err;
    if (!kvm_check(kvm, KVM_CAP_IRQCHIP) || !kvm_check(kvm, KVM_CAP_SIGNAL_MSI) ||
        !kvm_check(kvm, KVM_CAP_IRQ_ROUTING))
        return error_new("this host's KVM has no interrupt controllers; kernel-irqchip=off works");
    for (unsigned i = 0; i < KVM_MAX_PINS; i++)
        kvm->pins[i].fd = -1;
    err = kvm_isa.irq_create(kvm);
    if (!err && kvm_isa.msi_size) {
        kvm->msi = mem_add_mmio(kvm->vm, "kvm-msi", kvm_isa.msi_size, &msi_ops, kvm);
        mem_map(kvm->msi, kvm_isa.msi_at, 0);
    }
    /* Split controllers have no routes at first. */
    return err || kvm->irqchip == IRQCHIP_SPLIT ? err : kvm_irq_update_routes(kvm);
}

struct error *kvm_get_chips(struct vm *vm, void *chips)
{
    return kvm_isa.get_chips(kvm_of(vm), chips);
}

struct error *kvm_set_chips(struct vm *vm, const void *chips)
{
    return kvm_isa.set_chips(kvm_of(vm), chips);
}

void kvm_irq_line(struct vm *vm, unsigned gsi, bool level)
{
    struct kvm *kvm = kvm_of(vm);
    struct kvm_irq_level line = { .irq = gsi, .level = level };
    if (ioctl(kvm->vm_fd, KVM_IRQ_LINE, &line) < 0)
        atomic_fetch_add(&vm->n_guest_errors, 1);
}

void kvm_timer_taken(struct vm *vm, bool taken)
{
    kvm_isa.timer_taken(kvm_of(vm), taken);
}

/* ---- routes ---------------------------------------------------------------------------------------- */

static struct kvm_irq_routing_entry message(uint32_t gsi, const struct kvm_route *r)
{
    if (r->is_sint)
        return (struct kvm_irq_routing_entry){
            .gsi = gsi,
            .type = KVM_IRQ_ROUTING_HV_SINT,
            .u.hv_sint = { .vcpu = (uint32_t)r->at, .sint = r->data },
        };
    return (struct kvm_irq_routing_entry){
        .gsi = gsi,
        .type = KVM_IRQ_ROUTING_MSI,
        .u.msi = { .address_lo = (uint32_t)r->at,
                   .address_hi = (uint32_t)(r->at >> 32),
                   .data = r->data },
    };
}

/* GSIs of controllers come first; route i is GSI kvm_isa.n_pins + i. kvm->lock is held, or nobody else is
 * there yet. */
struct error *kvm_irq_update_routes(struct kvm *kvm)
{
    size_t room = 3 * (size_t)kvm_isa.n_pins + kvm->n_routes;
    struct kvm_irq_routing *table = xcalloc(1, sizeof(*table) + room * sizeof(table->entries[0]));
    struct error *err = NULL;
    if (kvm->irqchip == IRQCHIP_ENGINE)
        table->nr = kvm_isa.pin_routes(table->entries);
    for (uint32_t i = 0; kvm->irqchip == IRQCHIP_SPLIT && i < kvm_isa.n_pins; i++)
        if (kvm->pins[i].fd >= 0)
            table->entries[table->nr++] = message(i, &kvm->pins[i]);
    for (uint32_t i = 0; i < kvm->n_routes; i++)
        if (kvm->routes[i].fd >= 0)
            table->entries[table->nr++] = message(kvm_isa.n_pins + i, &kvm->routes[i]);
    if (ioctl(kvm->vm_fd, KVM_SET_GSI_ROUTING, table) < 0)
        err = error_errno("KVM does not take interrupt routes");
    free(table);
    return err;
}

void kvm_pin_message(struct vm *vm, unsigned gsi, bool valid, gpa at, uint32_t data)
{
    struct kvm *kvm = kvm_of(vm);
    if (kvm->irqchip != IRQCHIP_SPLIT || gsi >= kvm_isa.n_pins)
        return;
    struct kvm_route now = { valid ? 0 : -1, at, data, false }, *pin = &kvm->pins[gsi];
    pthread_mutex_lock(&kvm->lock);
    if (pin->fd != now.fd || pin->at != at || pin->data != data) {
        *pin = now;
        error_free(kvm_irq_update_routes(kvm));
    }
    pthread_mutex_unlock(&kvm->lock);
}

static bool tell_irqfd(struct kvm *kvm, int fd, int ended, size_t route, bool on)
{
    struct kvm_irqfd irqfd = { .fd = (uint32_t)fd,
                               .gsi = kvm_isa.n_pins + (uint32_t)route,
                               .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };
    if (on && ended >= 0) {
        irqfd.flags |= KVM_IRQFD_FLAG_RESAMPLE;
        irqfd.resamplefd = (uint32_t)ended;
    }
    return ioctl(kvm->vm_fd, KVM_IRQFD, &irqfd) >= 0;
}

static struct kvm_route *route_of(struct kvm *kvm, int fd)
{
    for (size_t i = 0; i < kvm->n_routes; i++)
        if (kvm->routes[i].fd == fd)
            return &kvm->routes[i];
    return NULL;
}

static struct kvm_route *new_route(struct kvm *kvm)
{
    struct kvm_route *r = route_of(kvm, -1);
    if (r)
        return r;
    if (kvm_isa.n_pins + kvm->n_routes + 1 >= KVM_MAX_LINES)
        return NULL;
    kvm->routes = xrealloc(kvm->routes, (kvm->n_routes + 1) * sizeof(*kvm->routes));
    return &kvm->routes[kvm->n_routes++];
}

static bool add_route(struct kvm *kvm, struct kvm_route route, int ended)
{
    struct kvm_route *r = route_of(kvm, route.fd);
    bool is_new = !r;
    if (!r && !(r = new_route(kvm)))
        return false;
    *r = route;
    struct error *err = kvm_irq_update_routes(kvm);
    bool ok =
        !err && (!is_new || tell_irqfd(kvm, route.fd, ended, (size_t)(r - kvm->routes), true));
    error_free(err);
    if (!ok)
        r->fd = -1;
    return ok;
}

static bool set_route(struct kvm *kvm, bool on, struct kvm_route route, int ended)
{
    bool done = false;
    if (kvm->irqchip == IRQCHIP_USER)
        return false;
    pthread_mutex_lock(&kvm->lock);
    struct kvm_route *r = on ? NULL : route_of(kvm, route.fd);
    if (on) {
        done = add_route(kvm, route, ended);
    } else if (r) {
        tell_irqfd(kvm, route.fd, -1, (size_t)(r - kvm->routes), false);
        r->fd = -1;
        error_free(kvm_irq_update_routes(kvm));
        done = true;
    }
    pthread_mutex_unlock(&kvm->lock);
    return done;
}

bool kvm_route_msi(struct vm *vm, int fd, bool on, gpa at, uint32_t data)
{
    return set_route(kvm_of(vm), on, (struct kvm_route){ fd, at, data, false }, -1);
}

bool kvm_route_sint(struct vm *vm, bool on, int raise, int ended, unsigned vcpu, unsigned sint)
{
    return set_route(kvm_of(vm), on, (struct kvm_route){ raise, vcpu, sint, true }, ended);
}
