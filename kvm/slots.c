/* The kernel's picture of guest memory: slots, doorbells, the dirty log, after each change of the view. */
#include "kvm/kvm.h"

#include "core/error.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define PAGE ((uint64_t)4096)

/* ---- slots ---------------------------------------------------------------------------------------- */

static struct error *tell_kernel(struct kvm *kvm, unsigned number, const struct kvm_slot *s)
{
    struct kvm_userspace_memory_region r = {
        .slot = number | (uint32_t)s->space << 16,
        .flags = s->used ? s->flags : 0,
        .guest_phys_addr = s->at,
        .memory_size = s->used ? s->size : 0,
        .userspace_addr = (uintptr_t)(s->ram->host + s->off),
    };
    atomic_fetch_add_explicit(&kvm->n_slot_changes, 1, memory_order_relaxed);
    if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &r) < 0)
        return error_errno("KVM does not take %" PRIu64 " KiB of memory at %#" PRIx64,
                           s->size / KIB, s->at);
    return NULL;
}

static bool is_logged(const struct kvm *kvm, const struct ram_block *ram)
{
    for (size_t i = 0; i < kvm->n_logged; i++)
        if (kvm->logged[i] == ram)
            return true;
    return false;
}

/* The slot of a range; false if there is none to make. Slots are whole pages: what is left of a page that
 * something else lies in is reached through exits. */
static bool slot_of(const struct kvm *kvm, const struct mem_range *r, struct kvm_slot *s)
{
    if (!r->ram)
        return false;
    uint64_t skip = align_up(r->start, PAGE) - r->start;
    if (r->size < skip + PAGE || (r->region_off + skip) % PAGE)
        return false;
    *s = (struct kvm_slot){ .used = true,
                            .at = r->start + skip,
                            .size = align_down(r->size - skip, PAGE),
                            .ram = r->ram,
                            .off = r->region_off + skip };
    if (r->rom)
        s->flags |= KVM_MEM_READONLY;
    else if (is_logged(kvm, r->ram))
        s->flags |= KVM_MEM_LOG_DIRTY_PAGES;
    return true;
}

static bool same_memory(const struct kvm_slot *a, const struct kvm_slot *b)
{
    return a->at == b->at && a->size == b->size && a->ram == b->ram && a->off == b->off;
}

static void collect(struct kvm *kvm, const struct kvm_slot *s);
static void collect_rings(struct kvm *kvm);

static struct error *remove_slot(struct kvm *kvm, unsigned i)
{
    struct kvm_slot *s = &kvm->slots[i];
    if (s->flags & KVM_MEM_LOG_DIRTY_PAGES) /* what was written is forgotten with the slot */
        kvm->ring_entries ? collect_rings(kvm) : collect(kvm, s);
    s->used = false;
    return tell_kernel(kvm, i, s);
}

static struct error *add_slot(struct kvm *kvm, const struct kvm_slot *want)
{
    unsigned i = 0;
    while (i < kvm->n_slots && kvm->slots[i].used)
        i++;
    if (i == kvm->n_slots) {
        kvm->slots = xrealloc(kvm->slots, (i + 1) * sizeof(*kvm->slots));
        kvm->n_slots++;
    }
    kvm->slots[i] = *want;
    return tell_kernel(kvm, i, want);
}

/* Between what is and what is to be: keep what stays, remove what is gone (with no vCPU inside the guest,
 * for a piece of it may be about to come back), add what is new. */
static struct error *update_slots(struct kvm *kvm, const struct mem_view *view, uint8_t space)
{
    struct kvm_slot *want = xcalloc(view->n, sizeof(*want));
    bool *keep = xcalloc(kvm->n_slots, sizeof(*keep)), paused = false;
    size_t n_old = kvm->n_slots;
    struct error *err = NULL;
    for (size_t v = 0; v < view->n; v++) {
        if (!slot_of(kvm, &view->ranges[v], &want[v]))
            continue;
        want[v].space = space;
        for (size_t i = 0; i < n_old; i++)
            if (kvm->slots[i].used && kvm->slots[i].space == space &&
                same_memory(&kvm->slots[i], &want[v]) &&
                (kvm->slots[i].flags ^ want[v].flags) != KVM_MEM_READONLY) {
                keep[i] = true;
                want[v].used = false;
                if (kvm->slots[i].flags != want[v].flags) {
                    kvm->slots[i].flags = want[v].flags;
                    err = err ? err : tell_kernel(kvm, (unsigned)i, &kvm->slots[i]);
                }
            }
    }
    for (size_t i = 0; i < n_old && !err; i++) {
        if (keep[i] || !kvm->slots[i].used || kvm->slots[i].space != space)
            continue;
        if (!paused)
            kvm_pause_vcpus(kvm);
        paused = true;
        err = remove_slot(kvm, (unsigned)i);
    }
    for (size_t v = 0; v < view->n && !err; v++)
        if (want[v].used)
            err = add_slot(kvm, &want[v]);
    if (paused)
        kvm_continue_vcpus(kvm);
    free(keep);
    free(want);
    return err;
}

/* ---- doorbells ------------------------------------------------------------------------------------ */

static struct error *tell_bell(struct kvm *kvm, const struct kvm_bell *b, bool on)
{
    struct kvm_ioeventfd e = {
        .datamatch = b->value,
        .addr = b->at,
        .len = b->size,
        .fd = b->fd,
        .flags = (b->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) |
                 (b->is_port ? KVM_IOEVENTFD_FLAG_PIO : 0u) |
                 (on ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN),
    };
    if (ioctl(kvm->vm_fd, KVM_IOEVENTFD, &e) < 0 && on)
        return error_errno("KVM does not take a doorbell at %#" PRIx64, b->at);
    return NULL;
}

static void add_bells(struct kvm_bell **all, size_t *n, const struct mem_range *r, bool is_port)
{
    size_t n_bells;
    const struct doorbell *bells = r->ram ? NULL : mem_region_doorbells(r->region, &n_bells);
    if (!bells)
        return;
    *all = xrealloc(*all, (*n + n_bells) * sizeof(**all));
    for (size_t i = 0; i < n_bells; i++)
        if (bells[i].off >= r->region_off && bells[i].off - r->region_off < r->size)
            (*all)[(*n)++] = (struct kvm_bell){ .at = r->start + (bells[i].off - r->region_off),
                                                .value = bells[i].match ? bells[i].value : 0,
                                                .size = bells[i].size,
                                                .match = bells[i].match,
                                                .is_port = is_port,
                                                .fd = bells[i].fd };
}

static bool same_bell(const struct kvm_bell *a, const struct kvm_bell *b)
{
    return a->at == b->at && a->value == b->value && a->size == b->size && a->match == b->match &&
           a->is_port == b->is_port && a->fd == b->fd;
}

static bool has_bell(const struct kvm_bell *all, size_t n, const struct kvm_bell *bell)
{
    for (size_t i = 0; i < n; i++)
        if (same_bell(&all[i], bell))
            return true;
    return false;
}

/* A doorbell that the kernel does not take is rung by mem_io_write: no error, only an exit more. */
static void update_bells(struct kvm *kvm, const struct mem_view *memory,
                         const struct mem_view *ports)
{
    struct kvm_bell *want = NULL;
    size_t n = 0, kept = 0;
    for (size_t i = 0; i < memory->n; i++)
        add_bells(&want, &n, &memory->ranges[i], false);
    for (size_t i = 0; i < ports->n; i++)
        add_bells(&want, &n, &ports->ranges[i], true);
    for (size_t i = 0; i < kvm->n_bells; i++)
        if (!has_bell(want, n, &kvm->bells[i]))
            error_free(tell_bell(kvm, &kvm->bells[i], false));
    for (size_t i = 0; i < n; i++) {
        struct error *err = NULL;
        if (!has_bell(kvm->bells, kvm->n_bells, &want[i]))
            err = tell_bell(kvm, &want[i], true);
        if (!err)
            want[kept++] = want[i];
        error_free(err);
    }
    free(kvm->bells);
    kvm->bells = want;
    kvm->n_bells = kept;
}

/* ---- writes that are collected ------------------------------------------------------------------ */

static void tell_batch(struct kvm *kvm, const struct kvm_batch *b, bool on)
{
    struct kvm_coalesced_mmio_zone zone = { .addr = b->at, .size = b->size, .pio = b->is_port };
    ioctl(kvm->vm_fd, on ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &zone);
}

/* Of a range, the part of its region whose writes may come late. */
static void add_batch(struct kvm_batch **all, size_t *n, const struct mem_range *r, bool is_port)
{
    uint64_t off, size;
    if (r->ram || !mem_region_batches(r->region, &off, &size))
        return;
    uint64_t from = MAX(off, r->region_off), to = MIN(off + size, r->region_off + r->size);
    if (from >= to)
        return;
    *all = xrealloc(*all, (*n + 1) * sizeof(**all));
    (*all)[(*n)++] =
        (struct kvm_batch){ r->start + (from - r->region_off), (uint32_t)(to - from), is_port };
}

static bool has_batch(const struct kvm_batch *all, size_t n, const struct kvm_batch *b)
{
    for (size_t i = 0; i < n; i++)
        if (all[i].at == b->at && all[i].size == b->size && all[i].is_port == b->is_port)
            return true;
    return false;
}

/* What the kernel does not take is an exit more, and no error. */
static void update_batches(struct kvm *kvm, const struct mem_view *memory,
                           const struct mem_view *ports)
{
    struct kvm_batch *want = NULL;
    size_t n = 0;
    for (size_t i = 0; i < memory->n && kvm->batch; i++)
        add_batch(&want, &n, &memory->ranges[i], false);
    for (size_t i = 0; i < ports->n && kvm->batch && kvm->batches_ports; i++)
        add_batch(&want, &n, &ports->ranges[i], true);
    for (size_t i = 0; i < kvm->n_batches; i++)
        if (!has_batch(want, n, &kvm->batches[i]))
            tell_batch(kvm, &kvm->batches[i], false);
    for (size_t i = 0; i < n; i++)
        if (!has_batch(kvm->batches, kvm->n_batches, &want[i]))
            tell_batch(kvm, &want[i], true);
    free(kvm->batches);
    kvm->batches = want;
    kvm->n_batches = n;
}

static void deliver(struct vm *vm, const struct kvm_coalesced_mmio *w)
{
    unsigned n = w->len, most = w->pio ? 4 : sizeof(w->data), size = n & (n - 1) ? 1 : MIN(n, most);
    if (n > sizeof(w->data))
        return;
    for (unsigned i = 0; i < n; i += size) {
        uint64_t value = load_le(w->data + i, size);
        if (w->pio)
            mem_port_write(vm, (uint32_t)w->phys_addr + i, size, (uint32_t)value);
        else
            mem_io_write(vm, w->phys_addr + i, size, value);
    }
}

/* An entry is given back behind its delivery: a vCPU that sees the ring empty knows that its own writes have
 * arrived, whoever delivered them. */
void kvm_batch_flush(struct kvm *kvm)
{
    const uint32_t n_entries =
        (4096 - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio);
    struct kvm_coalesced_mmio_ring *ring = kvm->batch;
    uint32_t first, last;
    if (!ring || __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE) ==
                     __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE))
        return;
    pthread_mutex_lock(&kvm->batch_lock);
    for (uint32_t i = 0; i < n_entries; i++) { /* a vCPU that fills it as fast waits for its turn */
        first = ring->first % n_entries;
        last = __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE) % n_entries;
        if (first == last)
            break;
        deliver(kvm->vm, &ring->coalesced_mmio[first]);
        atomic_fetch_add_explicit(&kvm->n_batched, 1, memory_order_relaxed);
        __atomic_store_n(&ring->first, (first + 1) % n_entries, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&kvm->batch_lock);
}

/* ---- together --------------------------------------------------------------------------------------- */

static void failed(struct vm *vm, struct error *err)
{
    if (!err)
        return;
    vm_request_end(vm, VERDICT_ENGINE_FAILED, 0, error_text(err));
    error_free(err);
}

/* Both views, if CPUs may be in system management mode: each address space of the kernel's is whole. `anew`: even if
 * they are the ones that slots follow. */
static struct error *follow_views(struct kvm *kvm, bool anew)
{
    const struct mem_view *views[] = { mem_view_now(kvm->vm), mem_smm_now(kvm->vm) };
    struct error *err = NULL;
    for (uint8_t space = 0; space < (kvm->vm->has_smm ? 2 : 1); space++) {
        if (!err && (anew || views[space]->generation != kvm->generation[space]))
            err = update_slots(kvm, views[space], space);
        kvm->generation[space] = views[space]->generation;
    }
    return err;
}

/* RAM that is mapped already, before there are controllers and vCPUs. A slot that comes behind those has the kernel
 * wait out a grace period at the usual pace, 4 to 8 ms; now it takes a tenth of one. */
struct error *kvm_memory_begin(struct kvm *kvm)
{
    return update_slots(kvm, mem_view_now(kvm->vm), 0);
}

/* kvm->lock is held. */
static struct error *follow(struct kvm *kvm)
{
    const struct mem_view *view = mem_view_now(kvm->vm);
    struct error *err = follow_views(kvm, false);
    update_bells(kvm, view, mem_ports_now(kvm->vm));
    update_batches(kvm, view, mem_ports_now(kvm->vm));
    return err;
}

/* `now` may be older than what another thread has told us since: the newest counts. */
void kvm_memory_changed(struct vm *vm, const struct mem_view *now)
{
    struct kvm *kvm = kvm_of(vm);
    struct error *err = NULL;
    (void)now;
    if (!kvm || vm->state == RUN_ENDED) /* parts are being taken away one by one */
        return;
    pthread_mutex_lock(&kvm->lock);
    if (kvm->started)
        err = follow(kvm);
    pthread_mutex_unlock(&kvm->lock);
    failed(vm, err);
}

/* Each slot costs the kernel milliseconds, so a board that is being built tells its map but once. */
void kvm_memory_start(struct kvm *kvm)
{
    struct error *err = NULL;
    pthread_mutex_lock(&kvm->lock);
    if (!kvm->started)
        err = follow(kvm);
    kvm->started = true;
    pthread_mutex_unlock(&kvm->lock);
    failed(kvm->vm, err);
}

/* ---- dirty log --------------------------------------------------------------------------------------- */

/* Pages of a slot that the guest wrote since the last time: their flag goes. kvm->lock is held. */
static void collect(struct kvm *kvm, const struct kvm_slot *s)
{
    uint64_t n = s->size / PAGE, *map = calloc((n + 63) / 64, 8);
    struct kvm_dirty_log log = { .slot = (uint32_t)(s - kvm->slots) | (uint32_t)s->space << 16,
                                 .dirty_bitmap = map };
    bool all = !map || ioctl(kvm->vm_fd, KVM_GET_DIRTY_LOG, &log) < 0;
    for (uint64_t i = 0; i < n; i++)
        if (all || map[i / 64] >> i % 64 & 1)
            atomic_fetch_and(&s->ram->page_flags[s->off / PAGE + i], (uint8_t)~PAGE_LOG_DIRTY);
    free(map);
}

/* The rings of all vCPUs: pages that were written since the last time. An entry is ours between the kernel's
 * "dirty" and our "reset" (api.rst, KVM_CAP_DIRTY_LOG_RING). kvm->lock is held. */
static unsigned collect_ring(struct kvm_vcpu *k)
{
    struct kvm *kvm = k->kvm;
    unsigned n = 0;
    for (;; n++, k->ring_next++) {
        struct kvm_dirty_gfn *e = &k->ring[k->ring_next % kvm->ring_entries];
        if (!(__atomic_load_n(&e->flags, __ATOMIC_ACQUIRE) & KVM_DIRTY_GFN_F_DIRTY))
            return n;
        uint32_t number = e->slot & 0xffff; /* above: the address space; numbers are unique */
        const struct kvm_slot *s = number < kvm->n_slots ? &kvm->slots[number] : NULL;
        if (s && s->used && e->offset < s->size / PAGE)
            atomic_fetch_and(&s->ram->page_flags[s->off / PAGE + e->offset],
                             (uint8_t)~PAGE_LOG_DIRTY);
        __atomic_store_n(&e->flags, KVM_DIRTY_GFN_F_RESET, __ATOMIC_RELEASE);
    }
}

static void collect_rings(struct kvm *kvm)
{
    unsigned n = 0;
    for (unsigned i = 0; i < kvm->vm->n_vcpus; i++)
        n += collect_ring(kvm_vcpu_of(kvm->vm->vcpus[i]));
    if (n)
        ioctl(kvm->vm_fd, KVM_RESET_DIRTY_RINGS, 0);
}

void kvm_dirty_ring_full(struct kvm_vcpu *k)
{
    pthread_mutex_lock(&k->kvm->lock);
    collect_rings(k->kvm);
    pthread_mutex_unlock(&k->kvm->lock);
}

struct error *kvm_dirty_ring_enable(struct kvm *kvm)
{
    static const int kinds[] = { KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING };
    uint64_t most = 0, n = kvm->ring_entries;
    kvm->ring_entries = 0;
    for (size_t i = 0; i < ARRAY_LEN(kinds) && n && kvm_isa.dirty_ring_page; i++) {
        uint64_t room = (uint64_t)kvm_check(kvm, kinds[i]) / sizeof(struct kvm_dirty_gfn);
        most = MAX(most, room);
        if (room < n)
            continue;
        struct error *err = kvm_enable(kvm, kinds[i], n * sizeof(struct kvm_dirty_gfn), "");
        if (err) {
            error_free(err);
            return error_errno("dirty-ring-size=%" PRIu64 ": KVM does not take it", n);
        }
        kvm->ring_entries = n;
        return NULL;
    }
    if (n && most)
        return error_new("dirty-ring-size=%" PRIu64 ": this host's KVM takes at most %" PRIu64, n,
                         most);
    if (n)
        log_print(&kvm->vm->log, "this host's KVM has no rings of written pages; bitmaps serve\n");
    return NULL;
}

static void set_logged(struct kvm *kvm, struct ram_block *ram)
{
    if (is_logged(kvm, ram))
        return;
    kvm->logged = xrealloc(kvm->logged, (kvm->n_logged + 1) * sizeof(*kvm->logged));
    kvm->logged[kvm->n_logged++] = ram;
}

void kvm_dirty_log_started(struct vm *vm, struct ram_block *ram)
{
    struct kvm *kvm = kvm_of(vm);
    pthread_mutex_lock(&kvm->lock);
    set_logged(kvm, ram);
    struct error *err = kvm->started ? follow_views(kvm, true) : NULL;
    pthread_mutex_unlock(&kvm->lock);
    failed(vm, err);
}

void kvm_dirty_log_sync(struct vm *vm, struct ram_block *ram)
{
    struct kvm *kvm = kvm_of(vm);
    pthread_mutex_lock(&kvm->lock);
    if (kvm->ring_entries) { /* what a CPU inside the guest has yet to hand over comes as it leaves */
        kvm_pause_vcpus(kvm);
        collect_rings(kvm);
        kvm_continue_vcpus(kvm);
    }
    for (size_t i = 0; i < kvm->n_slots && !kvm->ring_entries; i++)
        if (kvm->slots[i].used && kvm->slots[i].ram == ram &&
            kvm->slots[i].flags & KVM_MEM_LOG_DIRTY_PAGES)
            collect(kvm, &kvm->slots[i]);
    pthread_mutex_unlock(&kvm->lock);
}
