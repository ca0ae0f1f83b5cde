/* Guest physical memory: RAM blocks, the flat view, accessors, the MMIO dispatch, doorbells.
 *
 * A view is built whole under mem->lock, published by one atomic store and never changed. Readers
 * take no lock. An old view is freed when every reader has announced, after it was replaced, that it
 * holds none: vCPUs do so between two runs of the engine, loops before they wait. */
#include "core/memory.h"

#include "core/accel.h"
#include "core/error.h"
#include "core/loop.h"
#include "core/tape.h"
#include "core/vcpu.h"
#include "core/vm.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#define PAGE      ((uint64_t)4096)
#define GUARD     (64 * KIB)
#define RAM_ALIGN (2 * MIB) /* so that huge pages of the host fit */
#define MANY_OLD  64        /* old views kept before vCPUs are hurried to let go of them */

/* Doorbells of one region, replaced whole like a view. */
struct doorbells {
    size_t n;
    struct doorbell at[];
};

/* Physical memory, the ports that x86's IN and OUT reach, and what lies over physical memory for a CPU in system
 * management mode. */
enum mem_space { SPACE_MEMORY, SPACE_PORTS, SPACE_SMM, N_SPACES };

struct mem_region {
    struct mem *mem;
    char *name;
    uint64_t size;
    struct ram_block *ram; /* NULL for MMIO */
    uint64_t ram_off;      /* an alias shows the block from here on */
    bool is_alias, read_only;
    const struct mmio_ops *_Atomic ops;
    void *_Atomic opaque;
    _Atomic bool takes_writes; /* a ROM whose writes go to ops */
    bool hides_ram;            /* a ROM whose reads go to ops too; under mem->lock */
    struct doorbells *_Atomic doorbells;
    struct mem_counts counts;
    uint8_t space;                  /* enum mem_space */
    uint64_t batch_off, batch_size; /* mem_batch_writes; fixed before it is mapped */

    /* Place in the map, under mem->lock. */
    bool mapped;
    gpa at;
    int priority;
    uint64_t order; /* of mapping: later wins */
    struct mem_region *next;
};

/* Something that readers may still look at. */
struct retired {
    void *what;
    uint64_t epoch; /* freed when every reader is idle or has seen this epoch */
    struct retired *next;
};

struct mem_reader {
    struct mem *mem;
    struct vcpu *cpu;      /* NULL for a loop */
    _Atomic uint64_t seen; /* epoch of the last quiescent point; 0 while idle */
    pthread_t thread;      /* of a vCPU, since its first quiescent point; under mem->lock */
    bool has_thread;
    struct mem_reader *next;
};

struct mem {
    struct vm *vm;
    struct mem_view
        *_Atomic views[N_SPACES]; /* that of SPACE_SMM: NULL while nothing is mapped there */
    _Atomic size_t hint;          /* index of the RAM range that was used last */
    _Atomic uint64_t epoch;
    _Atomic unsigned n_syncing;

    pthread_mutex_t lock; /* guards all below and building views; only loop locks are inside it */
    pthread_cond_t seen_changed;
    struct mem_region *regions;
    uint64_t order, generation;
    struct retired *old;
    unsigned n_old;
    struct mem_reader *readers;
};

/* ---- readers -------------------------------------------------------------------------------- */

struct mem_reader *mem_reader_new(struct vm *vm, struct vcpu *cpu)
{
    struct mem_reader *r = xcalloc(1, sizeof(*r));
    r->mem = vm->mem;
    r->cpu = cpu;
    pthread_mutex_lock(&r->mem->lock);
    r->next = r->mem->readers;
    r->mem->readers = r;
    pthread_mutex_unlock(&r->mem->lock);
    return r;
}

void mem_reader_free(struct mem_reader *reader)
{
    if (!reader)
        return;
    struct mem *mem = reader->mem;
    pthread_mutex_lock(&mem->lock);
    struct mem_reader **at = &mem->readers;
    while (*at != reader)
        at = &(*at)->next;
    *at = reader->next;
    pthread_cond_broadcast(&mem->seen_changed);
    pthread_mutex_unlock(&mem->lock);
    free(reader);
}

static void reader_set(struct mem_reader *reader, uint64_t seen)
{
    struct mem *mem = reader->mem;
    atomic_store(&reader->seen, seen);
    if (atomic_load(&mem->n_syncing)) {
        pthread_mutex_lock(&mem->lock);
        pthread_cond_broadcast(&mem->seen_changed);
        pthread_mutex_unlock(&mem->lock);
    }
}

void mem_reader_quiesce(struct mem_reader *reader)
{
    if (!reader->has_thread) {
        pthread_mutex_lock(&reader->mem->lock);
        reader->thread = pthread_self();
        reader->has_thread = true;
        pthread_mutex_unlock(&reader->mem->lock);
    }
    reader_set(reader, atomic_load(&reader->mem->epoch));
}

void mem_reader_idle(struct mem_reader *reader)
{
    reader_set(reader, 0);
}

static void loop_idle(void *opaque, bool idle)
{
    struct mem_reader *r = opaque;
    if (r->mem->vm->tape)
        tape_loop_idle(r->mem->vm, idle);
    if (idle)
        mem_reader_idle(r);
    else
        mem_reader_quiesce(r);
}

void mem_use_loop(struct vm *vm, struct loop *loop)
{
    struct mem_reader *r = mem_reader_new(vm, NULL);
    loop_set_idle(loop, loop_idle, r);
}

static bool reader_passed(const struct mem_reader *r, uint64_t epoch)
{
    uint64_t seen = atomic_load(&r->seen);
    return seen == 0 || seen >= epoch;
}

static bool reader_is_me(const struct mem_reader *r)
{
    return r->has_thread && pthread_equal(r->thread, pthread_self());
}

/* Give `what` to free() once nobody can look at it. mem->lock is held. */
static void retire(struct mem *mem, void *what)
{
    struct retired *old = xmalloc(sizeof(*old));
    *old = (struct retired){ what, atomic_fetch_add(&mem->epoch, 1) + 1, mem->old };
    mem->old = old;
    mem->n_old++;
}

static void free_old(struct mem *mem)
{
    for (struct retired **at = &mem->old; *at;) {
        struct retired *old = *at;
        bool passed = true;
        for (struct mem_reader *r = mem->readers; r && passed; r = r->next)
            passed = reader_passed(r, old->epoch);
        if (!passed) {
            at = &old->next;
            continue;
        }
        *at = old->next;
        free(old->what);
        free(old);
        mem->n_old--;
    }
}

static bool vcpus_passed(const struct mem *mem, uint64_t epoch)
{
    for (struct mem_reader *r = mem->readers; r; r = r->next)
        if (r->cpu && !reader_is_me(r) && !reader_passed(r, epoch))
            return false;
    return true;
}

/* The caller's own reader counts as idle while it waits: two vCPUs that change the map at the same
 * time would otherwise wait for each other. Whoever changes the map holds no view. */
void mem_sync(struct vm *vm)
{
    struct mem *mem = vm->mem;
    struct mem_reader *own = NULL;
    uint64_t epoch = atomic_fetch_add(&mem->epoch, 1) + 1;
    pthread_mutex_lock(&mem->lock);
    if (!vcpus_passed(mem, epoch)) {
        atomic_fetch_add(&mem->n_syncing, 1);
        for (struct mem_reader *r = mem->readers; r; r = r->next) {
            if (reader_is_me(r) && r->cpu)
                own = r;
            else if (r->cpu && !reader_passed(r, epoch))
                vcpu_ask_sync(r->cpu);
        }
        uint64_t own_seen = 0;
        if (own) {
            own_seen = atomic_exchange(&own->seen, 0);
            pthread_cond_broadcast(&mem->seen_changed);
        }
        while (!vcpus_passed(mem, epoch))
            pthread_cond_wait(&mem->seen_changed, &mem->lock);
        if (own && own_seen)
            atomic_store(&own->seen, atomic_load(&mem->epoch));
        atomic_fetch_sub(&mem->n_syncing, 1);
    }
    free_old(mem);
    pthread_mutex_unlock(&mem->lock);
}

/* ---- RAM and regions ------------------------------------------------------------------------ */

static struct mem_region *region_new(struct vm *vm, const char *name, uint64_t size)
{
    struct mem_region *r = xcalloc(1, sizeof(*r));
    r->mem = vm->mem;
    r->name = xstrdup(name);
    r->size = size;
    pthread_mutex_lock(&r->mem->lock);
    r->next = r->mem->regions;
    r->mem->regions = r;
    pthread_mutex_unlock(&r->mem->lock);
    return r;
}

/* Address space for size bytes with a guard on each side, aligned for huge pages. */
static uint8_t *reserve(uint64_t size, int fd)
{
    uint64_t align = size >= RAM_ALIGN ? RAM_ALIGN : PAGE, all = size + 2 * GUARD + align;
    uint8_t *area = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED)
        return NULL;
    uint8_t *host = (uint8_t *)align_up((uintptr_t)area + GUARD, align);
    if (fd < 0 ? mprotect(host, size, PROT_READ | PROT_WRITE)
               : mmap(host, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE,
                      fd, 0) == MAP_FAILED) {
        munmap(area, all);
        return NULL;
    }
    uint8_t *first = host - GUARD, *end = host + size + GUARD;
    if (first > area)
        munmap(area, (size_t)(first - area));
    if (end < area + all)
        munmap(end, (size_t)(area + all - end));
    return host;
}

static void ram_free(struct ram_block *ram)
{
    if (!ram)
        return;
    if (ram->host)
        munmap(ram->host - GUARD, ram->size + 2 * GUARD);
    if (ram->page_flags)
        munmap((void *)ram->page_flags, ram->size / PAGE);
    if (ram->fd >= 0)
        close(ram->fd);
    free((void *)ram->used);
    pthread_mutex_destroy(&ram->log_lock);
    free((char *)ram->name);
    free(ram);
}

/* What cannot be had is said, not left out. */
static struct error *advise(const struct ram_block *ram, unsigned flags)
{
    if (flags & RAM_MERGE && madvise(ram->host, ram->size, MADV_MERGEABLE))
        return error_errno("merge=on: this host keeps no equal pages once");
    if (flags & RAM_NO_DUMP && madvise(ram->host, ram->size, MADV_DONTDUMP))
        return error_errno("dump=off: cannot keep memory out of core dumps");
    if (flags & RAM_PREALLOC && madvise(ram->host, ram->size, MADV_POPULATE_WRITE))
        return error_errno("prealloc=on: cannot take %" PRIu64 " MiB from the host",
                           ram->size / MIB);
    return NULL;
}

static struct error *ram_new(const char *name, uint64_t size, bool rom, unsigned flags,
                             struct ram_block **out)
{
    struct sysinfo host;
    if (sysinfo(&host) == 0) {
        uint64_t most = ((uint64_t)host.totalram + host.totalswap) * host.mem_unit;
        if (size > most)
            return error_new("cannot give the guest %" PRIu64
                             " MiB for '%s': this host has %" PRIu64 " MiB of memory and swap",
                             size / MIB, name, most / MIB);
    }
    struct ram_block *ram = xcalloc(1, sizeof(*ram));
    *ram = (struct ram_block){ .name = xstrdup(name), .size = size, .fd = -1, .rom = rom };
    pthread_mutex_init(&ram->log_lock, NULL);
    ram->used = xcalloc(size / RAM_CHUNK / 64 + 1, sizeof(ram->used[0]));
    if (flags & RAM_SHARED)
        ram->fd = memfd_create(name, MFD_CLOEXEC);
    if (!(flags & RAM_SHARED) || (ram->fd >= 0 && ftruncate(ram->fd, (off_t)size) == 0))
        ram->host = reserve(size, ram->fd);
    if (ram->host) {
        void *pages = mmap(NULL, size / PAGE, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        ram->page_flags = pages == MAP_FAILED ? NULL : pages;
    }
    if (!ram->page_flags) {
        struct error *err =
            error_errno("cannot give the guest %" PRIu64 " KiB for '%s'", size / KIB, name);
        ram_free(ram);
        return err;
    }
    struct error *err = advise(ram, flags);
    if (err)
        ram_free(ram);
    else
        *out = ram;
    return err;
}

void mem_about_to_use(struct ram_block *ram, const uint8_t *host)
{
    uint64_t chunk = (uint64_t)(host - ram->host) / RAM_CHUNK, bit = (uint64_t)1 << chunk % 64;
    _Atomic uint64_t *word = &ram->used[chunk / 64];
    if (atomic_load_explicit(word, memory_order_relaxed) & bit ||
        (chunk + 1) * RAM_CHUNK > ram->size)
        return;
    atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    madvise(ram->host + chunk * RAM_CHUNK, RAM_CHUNK, MADV_POPULATE_WRITE); /* or fault by fault */
}

static struct error *add_ram(struct vm *vm, const char *name, uint64_t size, bool rom,
                             unsigned flags, struct mem_region **out)
{
    struct ram_block *ram = NULL;
    if (size == 0 || size > (uint64_t)1 << 46)
        return error_new("'%s' cannot have %" PRIu64 " bytes: 4 KiB to 64 TiB are possible", name,
                         size);
    size = align_up(size, PAGE);
    struct error *err = ram_new(name, size, rom, flags, &ram);
    if (err)
        return err;
    *out = region_new(vm, name, size);
    (*out)->ram = ram;
    (*out)->read_only = rom;
    return NULL;
}

struct error *mem_add_ram(struct vm *vm, const char *name, uint64_t size, bool rom,
                          struct mem_region **out)
{
    return add_ram(vm, name, size, rom, 0, out);
}

struct error *mem_add_main_ram(struct vm *vm, const char *name, uint64_t size,
                               struct mem_region **out)
{
    return add_ram(vm, name, size, false, vm->ram_flags, out);
}

struct mem_region *mem_add_alias(struct vm *vm, const char *name, struct mem_region *of,
                                 uint64_t off, uint64_t size, bool read_only)
{
    assert(of->ram && off <= of->size && size && size <= of->size - off);
    assert(off % PAGE == 0 && size % PAGE == 0);
    struct mem_region *r = region_new(vm, name, size);
    r->ram = of->ram;
    r->ram_off = of->ram_off + off;
    r->is_alias = true;
    r->read_only = read_only || of->read_only;
    return r;
}

struct mem_region *mem_add_mmio(struct vm *vm, const char *name, uint64_t size,
                                const struct mmio_ops *ops, void *opaque)
{
    assert(size && ops);
    struct mem_region *r = region_new(vm, name, size);
    r->ops = ops;
    r->opaque = opaque;
    return r;
}

static void region_free(struct mem_region *r)
{
    if (!r->is_alias)
        ram_free(r->ram);
    free(r->doorbells);
    free(r->name);
    free(r);
}

void mem_free_region(struct mem_region *r)
{
    if (!r)
        return;
    mem_unmap(r);
    struct mem *mem = r->mem;
    pthread_mutex_lock(&mem->lock);
    struct mem_region **at = &mem->regions;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    pthread_mutex_unlock(&mem->lock);
    region_free(r);
}

struct ram_block *mem_region_ram(struct mem_region *r)
{
    return r->ram;
}

const struct mem_counts *mem_region_counts(const struct mem_region *r)
{
    return &r->counts;
}

const char *mem_region_name(const struct mem_region *r)
{
    return r->name;
}

void mem_each_region(struct vm *vm, void (*visit)(void *opaque, struct mem_region *r), void *opaque)
{
    pthread_mutex_lock(&vm->mem->lock);
    for (struct mem_region *r = vm->mem->regions; r; r = r->next)
        visit(opaque, r);
    pthread_mutex_unlock(&vm->mem->lock);
}

/* ---- the flat view -------------------------------------------------------------------------- */

static gpa region_last(const struct mem_region *r)
{
    return r->size - 1 > UINT64_MAX - r->at ? UINT64_MAX : r->at + (r->size - 1);
}

static bool covers(const struct mem_region *r, gpa at)
{
    return r->mapped && at >= r->at && at <= region_last(r);
}

static bool is_in(const struct mem_region *r, enum mem_space space)
{
    return r->space == space || (space == SPACE_SMM && r->space == SPACE_MEMORY);
}

static struct mem_region *winner_at(const struct mem *mem, enum mem_space space, gpa at)
{
    struct mem_region *best = NULL;
    for (struct mem_region *r = mem->regions; r; r = r->next)
        if (is_in(r, space) && covers(r, at) &&
            (!best || r->priority > best->priority ||
             (r->priority == best->priority && r->order > best->order)))
            best = r;
    return best;
}

static int compare_gpa(const void *a, const void *b)
{
    gpa x = *(const gpa *)a, y = *(const gpa *)b;
    return x < y ? -1 : x > y;
}

/* The same region, or plain RAM of one block by way of two. */
static bool goes_on(const struct mem_range *a, const struct mem_range *b)
{
    if (a->start + a->size != b->start || a->region_off + a->size != b->region_off)
        return false;
    return a->region == b->region || (a->ram && a->ram == b->ram && !a->rom && !b->rom);
}

static struct mem_view *view_build(const struct mem *mem, enum mem_space space)
{
    size_t n_mapped = 0, n_edges = 0;
    for (struct mem_region *r = mem->regions; r; r = r->next)
        n_mapped += r->mapped && is_in(r, space);
    gpa *edges = xmalloc((2 * n_mapped + 1) * sizeof(*edges));
    for (struct mem_region *r = mem->regions; r; r = r->next) {
        if (!r->mapped || !is_in(r, space))
            continue;
        edges[n_edges++] = r->at;
        if (region_last(r) != UINT64_MAX)
            edges[n_edges++] = region_last(r) + 1;
    }
    qsort(edges, n_edges, sizeof(*edges), compare_gpa);
    struct mem_view *view = xcalloc(1, sizeof(*view) + n_edges * sizeof(view->ranges[0]));
    for (size_t i = 0; i < n_edges; i++) {
        if (i && edges[i] == edges[i - 1])
            continue;
        struct mem_region *r = winner_at(mem, space, edges[i]);
        if (!r)
            continue;
        size_t next = i + 1;
        while (next < n_edges && edges[next] == edges[i])
            next++;
        uint64_t size = (next < n_edges ? edges[next] - 1 : region_last(r)) - edges[i] + 1;
        struct mem_range *last = view->n ? &view->ranges[view->n - 1] : NULL;
        const struct mem_range now = {
            edges[i],    size, r->ram_off + (edges[i] - r->at), r, r->hides_ram ? NULL : r->ram,
            r->read_only
        };
        if (last && goes_on(last, &now))
            last->size += size;
        else
            view->ranges[view->n++] = now;
    }
    free(edges);
    uint64_t most = 0;
    for (size_t i = 0; i < view->n; i++)
        if (view->ranges[i].ram && view->ranges[i].size > most) {
            most = view->ranges[i].size;
            view->largest = i;
        }
    return view;
}

static bool has_smm_regions(const struct mem *mem)
{
    for (const struct mem_region *r = mem->regions; r; r = r->next)
        if (r->mapped && r->space == SPACE_SMM)
            return true;
    return false;
}

static void replace_view(struct mem *mem, enum mem_space space)
{
    struct mem_view *now = NULL;
    if (space != SPACE_SMM || has_smm_regions(mem)) {
        now = view_build(mem, space);
        now->generation = ++mem->generation;
    }
    struct mem_view *before = atomic_exchange(&mem->views[space], now);
    if (before)
        retire(mem, before);
}

/* Replace the view of a space and let go of the lock. */
static void publish_and_unlock(struct mem *mem, enum mem_space space, bool wait)
{
    replace_view(mem, space);
    if (space == SPACE_MEMORY)
        replace_view(mem, SPACE_SMM);
    free_old(mem);
    struct vm *vm = mem->vm;
    const struct mem_view *memory = mem->views[SPACE_MEMORY];
    pthread_mutex_unlock(&mem->lock);
    if (vm->accel)
        vm->accel->memory_changed(vm, memory);
    if (wait)
        mem_sync(vm);
}

static void map(struct mem_region *r, enum mem_space space, gpa at, int priority)
{
    pthread_mutex_lock(&r->mem->lock);
    assert(!r->mapped || r->space == space);
    r->mapped = true;
    r->space = (uint8_t)space;
    r->at = at;
    r->priority = priority;
    r->order = ++r->mem->order;
    publish_and_unlock(r->mem, space, true);
}

void mem_map(struct mem_region *r, gpa at, int priority)
{
    map(r, SPACE_MEMORY, at, priority);
}

void mem_map_smm(struct mem_region *r, gpa at, int priority)
{
    map(r, SPACE_SMM, at, priority);
}

void mem_map_ports(struct mem_region *r, uint16_t at, int priority)
{
    assert(!r->ram && r->size <= MEM_N_PORTS);
    map(r, SPACE_PORTS, at, priority);
}

void mem_unmap(struct mem_region *r)
{
    pthread_mutex_lock(&r->mem->lock);
    if (!r->mapped) {
        pthread_mutex_unlock(&r->mem->lock);
        return;
    }
    r->mapped = false;
    publish_and_unlock(r->mem, r->space, true);
}

/* The ops stay when they are taken away: an access may still be on its way to them. */
void mem_set_mmio(struct mem_region *r, const struct mmio_ops *ops, void *opaque, bool reads)
{
    assert(r->ram && r->read_only);
    pthread_mutex_lock(&r->mem->lock);
    bool hide = ops && reads, changes = r->mapped && hide != r->hides_ram;
    if (ops) {
        r->opaque = opaque;
        r->ops = ops;
    }
    r->takes_writes = ops != NULL;
    r->hides_ram = hide;
    if (changes) /* region and ops stay: an access through the old view is right, too */
        publish_and_unlock(r->mem, r->space, false);
    else
        pthread_mutex_unlock(&r->mem->lock);
}

const struct mem_view *mem_view_now(const struct vm *vm)
{
    return atomic_load_explicit(&vm->mem->views[SPACE_MEMORY], memory_order_acquire);
}

const struct mem_view *mem_smm_now(const struct vm *vm)
{
    struct mem *mem = vm->mem;
    const struct mem_view *view =
        atomic_load_explicit(&mem->views[SPACE_SMM], memory_order_acquire);
    return view ? view : mem_view_now(vm);
}

const struct mem_view *mem_view_of(const struct vcpu *cpu)
{
    return cpu->in_smm ? mem_smm_now(cpu->vm) : mem_view_now(cpu->vm);
}

const struct mem_view *mem_ports_now(const struct vm *vm)
{
    return atomic_load_explicit(&vm->mem->views[SPACE_PORTS], memory_order_acquire);
}

const struct mem_range *mem_view_find(const struct mem_view *view, gpa at)
{
    size_t low = 0, high = view->n;
    const struct mem_range *likely = &view->ranges[view->largest];
    if (high && at - likely->start < likely->size)
        return likely;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (view->ranges[mid].start <= at)
            low = mid + 1;
        else
            high = mid;
    }
    if (!low || at - view->ranges[low - 1].start >= view->ranges[low - 1].size)
        return NULL;
    return &view->ranges[low - 1];
}

static void view_print(const struct mem_view *view, bool ports,
                       void (*print)(void *opaque, const char *line), void *opaque)
{
    char line[192];
    for (size_t i = 0; i < view->n; i++) {
        const struct mem_range *r = &view->ranges[i];
        const char *kind = ports ? "port" : !r->ram ? "mmio" : r->rom ? "rom" : "ram";
        snprintf(line, sizeof(line), "%016" PRIx64 "-%016" PRIx64 " %-4s %.64s @%#" PRIx64,
                 r->start, r->start + r->size - 1, kind, r->region->name, r->region_off);
        print(opaque, line);
    }
}

void mem_print(struct vm *vm, void (*print)(void *opaque, const char *line), void *opaque)
{
    const struct mem_view *smm = mem_smm_now(vm);
    view_print(mem_view_now(vm), false, print, opaque);
    view_print(mem_ports_now(vm), true, print, opaque);
    if (smm == mem_view_now(vm))
        return;
    print(opaque, "memory in system management mode:");
    view_print(smm, false, print, opaque);
}

/* ---- accessors ------------------------------------------------------------------------------ */

/* The range that holds `at`, trying the one used last first. */
static inline const struct mem_range *ram_find(struct mem *mem, const struct mem_view *view, gpa at)
{
    size_t hint = atomic_load_explicit(&mem->hint, memory_order_relaxed);
    if (__builtin_expect(hint < view->n, 1)) {
        const struct mem_range *r = &view->ranges[hint];
        if (__builtin_expect(at - r->start < r->size, 1))
            return r;
    }
    const struct mem_range *r = mem_view_find(view, at);
    if (r && r->ram)
        atomic_store_explicit(&mem->hint, (size_t)(r - view->ranges), memory_order_relaxed);
    return r;
}

/* Aligned words of the guest's are copied whole: ring indices are written by others meanwhile. The private side may
 * lie anywhere. */
#define COPY_WORD(type)                        \
    do {                                       \
        type v_;                               \
        if (guest == from)                     \
            v_ = *(const volatile type *)from; \
        else                                   \
            memcpy(&v_, from, sizeof(v_));     \
        if (guest == to)                       \
            *(volatile type *)to = v_;         \
        else                                   \
            memcpy(to, &v_, sizeof(v_));       \
    } while (0)

static inline void copy(void *to, const void *from, const void *guest, size_t n)
{
    switch ((uintptr_t)guest & (n - 1) ? 0 : n) {
    case 2: COPY_WORD(uint16_t); break;
    case 4: COPY_WORD(uint32_t); break;
    case 8: COPY_WORD(uint64_t); break;
    default: memcpy(to, from, n);
    }
}
#undef COPY_WORD

/* Bytes from `at` to the end of its range, at most n. */
static inline uint64_t left_in(const struct mem_range *r, gpa at, uint64_t n)
{
    uint64_t left = r->size - (at - r->start);
    return MIN(left, n);
}

static inline uint8_t *host_at(const struct mem_range *r, gpa at)
{
    return r->ram->host + r->region_off + (at - r->start);
}

static bool read_pieces(struct mem *mem, const struct mem_view *view, gpa at, uint8_t *buf,
                        size_t n)
{
    while (n) {
        const struct mem_range *r = ram_find(mem, view, at);
        if (!r || !r->ram)
            return false;
        size_t piece = left_in(r, at, n);
        memcpy(buf, host_at(r, at), piece);
        buf += piece;
        at += piece;
        n -= piece;
    }
    return true;
}

bool mem_read(struct vm *vm, gpa at, void *buf, size_t n)
{
    const struct mem_view *view = mem_view_now(vm);
    const struct mem_range *r = ram_find(vm->mem, view, at);
    if (__builtin_expect(!r || !r->ram || left_in(r, at, n) < n, 0))
        return n == 0 || (at + (n - 1) >= at && read_pieces(vm->mem, view, at, buf, n));
    const uint8_t *host = host_at(r, at);
    copy(buf, host, host, n);
    return true;
}

/* Tell those who wait for writes to these bytes of a block. */
static void __attribute__((noinline))
flags_hit(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
    for (uint64_t page = off / PAGE; page <= (off + n - 1) / PAGE; page++) {
        uint8_t flags = atomic_load_explicit(&ram->page_flags[page], memory_order_relaxed);
        if (flags & PAGE_LOG_DIRTY)
            atomic_fetch_and(&ram->page_flags[page], (uint8_t)~PAGE_LOG_DIRTY);
        if (flags & PAGE_HAS_CODE && vm->accel) {
            uint64_t from = MAX(off, page * PAGE), to = MIN(off + n, (page + 1) * PAGE);
            vm->accel->code_written(vm, ram, from, to - from);
        }
    }
}

/* After the bytes are there: a log that is read between the two would otherwise miss them. Either we
 * see a flag here, or who sets it, and looks at the page then, sees the bytes. */
static inline void ram_written(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
    uint64_t last = (off + n - 1) / PAGE;
    uint8_t any = 0;
    atomic_thread_fence(memory_order_seq_cst);
    for (uint64_t page = off / PAGE; page <= last; page++)
        any |= atomic_load_explicit(&ram->page_flags[page], memory_order_relaxed);
    if (__builtin_expect(any, 0))
        flags_hit(vm, ram, off, n);
    if (__builtin_expect(vm->tape != NULL, 0))
        tape_written(vm, ram, off, n);
}

static inline void range_written(struct vm *vm, const struct mem_range *r, gpa at, uint64_t n)
{
    ram_written(vm, r->ram, r->region_off + (at - r->start), n);
}

static bool is_writable(const struct mem_range *r, bool rom_too)
{
    return r && (rom_too ? r->region->ram != NULL : r->ram && !r->rom);
}

static bool all_writable(struct mem *mem, const struct mem_view *view, gpa at, uint64_t n,
                         bool rom_too)
{
    if (n && at + (n - 1) < at)
        return false;
    while (n) {
        const struct mem_range *r = ram_find(mem, view, at);
        if (!is_writable(r, rom_too))
            return false;
        uint64_t piece = left_in(r, at, n);
        at += piece;
        n -= piece;
    }
    return true;
}

static bool write_pieces(struct vm *vm, const struct mem_view *view, gpa at, const uint8_t *buf,
                         size_t n, bool rom_too)
{
    if (!all_writable(vm->mem, view, at, n, rom_too))
        return false;
    while (n) {
        struct mem_range r = *ram_find(vm->mem, view, at);
        r.ram = r.region->ram; /* flash that answers commands now is still loaded */
        size_t piece = left_in(&r, at, n);
        memcpy(host_at(&r, at), buf, piece);
        range_written(vm, &r, at, piece);
        buf += piece;
        at += piece;
        n -= piece;
    }
    return true;
}

bool mem_write(struct vm *vm, gpa at, const void *buf, size_t n)
{
    const struct mem_view *view = mem_view_now(vm);
    const struct mem_range *r = ram_find(vm->mem, view, at);
    if (__builtin_expect(!r || !r->ram || r->rom || left_in(r, at, n) < n || !n, 0))
        return write_pieces(vm, view, at, buf, n, false);
    uint8_t *host = host_at(r, at);
    copy(host, buf, host, n);
    range_written(vm, r, at, n);
    return true;
}

bool mem_load(struct vm *vm, gpa at, const void *buf, size_t n)
{
    return write_pieces(vm, mem_view_now(vm), at, buf, n, true);
}

bool mem_pin(struct vm *vm, gpa at, uint64_t n, bool write, struct iovec *iov, unsigned *n_iov)
{
    const struct mem_view *view = mem_view_now(vm);
    unsigned room = *n_iov, used = 0;
    if (n && at + (n - 1) < at)
        return false;
    while (n) {
        const struct mem_range *r = ram_find(vm->mem, view, at);
        if (!r || !r->ram || (write && r->rom) || used == room)
            return false;
        uint64_t piece = left_in(r, at, n);
        iov[used++] = (struct iovec){ host_at(r, at), piece };
        at += piece;
        n -= piece;
    }
    *n_iov = used;
    return true;
}

void mem_mark_ram_written(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
    if (n)
        ram_written(vm, ram, off, n);
}

void mem_mark_written(struct vm *vm, gpa at, uint64_t n)
{
    const struct mem_view *view = mem_view_now(vm);
    while (n) {
        const struct mem_range *r = ram_find(vm->mem, view, at);
        if (!r)
            return;
        uint64_t piece = left_in(r, at, n);
        if (r->ram)
            range_written(vm, r, at, piece);
        at += piece;
        n -= piece;
    }
}

/* ---- the dispatch --------------------------------------------------------------------------- */

static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void refused(struct vm *vm, const struct mem_region *r, const char *what, gpa at,
                    unsigned size)
{
    count(&vm->n_guest_errors);
    if (log_on(&vm->log, LOG_GUEST_ERRORS))
        log_print(&vm->log, "%s: %u-byte %s at %#" PRIx64 " is refused\n", r->name, size, what, at);
}

static unsigned most(const struct mmio_ops *ops)
{
    return ops->max_size ? ops->max_size : 8;
}

static uint64_t ops_read(struct vm *vm, struct mem_region *r, const struct mmio_ops *ops,
                         void *opaque, uint64_t off, unsigned size)
{
    if (__builtin_expect(size > most(ops) || off & (size - 1), 0) && size > 1) {
        unsigned half = size / 2;
        uint64_t low = ops_read(vm, r, ops, opaque, off, half);
        return low | ops_read(vm, r, ops, opaque, off + half, half) << (8 * half);
    }
    if (size < ops->min_size) {
        refused(vm, r, "read", off, size);
        return 0;
    }
    uint64_t v = ops->read(opaque, off, size);
    return size == 8 ? v : v & (((uint64_t)1 << (8 * size)) - 1);
}

static void ops_write(struct vm *vm, struct mem_region *r, const struct mmio_ops *ops, void *opaque,
                      uint64_t off, unsigned size, uint64_t value)
{
    if (__builtin_expect(size > most(ops) || off & (size - 1), 0) && size > 1) {
        unsigned half = size / 2;
        ops_write(vm, r, ops, opaque, off, half, value & (((uint64_t)1 << (8 * half)) - 1));
        ops_write(vm, r, ops, opaque, off + half, half, value >> (8 * half));
        return;
    }
    if (size < ops->min_size)
        refused(vm, r, "write", off, size);
    else
        ops->write(opaque, off, size, value);
}

/* An access that leaves its range is done in halves; a byte never does. */
static bool is_cut(const struct mem_range *r, gpa at, unsigned size)
{
    return left_in(r, at, size) < size;
}

static bool io_read(struct vm *vm, const struct mem_view *view, gpa at, unsigned size,
                    uint64_t *value)
{
    const struct mem_range *r = mem_view_find(view, at);
    *value = 0;
    if (!r)
        return false;
    if (is_cut(r, at, size)) {
        uint64_t low, high;
        bool ok = io_read(vm, view, at, size / 2, &low);
        ok &= io_read(vm, view, at + size / 2, size / 2, &high);
        *value = low | high << (4 * size);
        return ok;
    }
    if (r->ram) {
        *value = load_le(host_at(r, at), size);
        return true;
    }
    struct mem_region *region = r->region;
    uint64_t off = r->region_off + (at - r->start);
    count(&region->counts.reads);
    *value = ops_read(vm, region, region->ops, region->opaque, off, size);
    return true;
}

static bool ring_doorbell(struct mem_region *r, uint64_t off, unsigned size, uint64_t value)
{
    const struct doorbells *bells = atomic_load_explicit(&r->doorbells, memory_order_acquire);
    if (__builtin_expect(!bells, 1))
        return false;
    size_t low = 0, high = bells->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (bells->at[mid].off < off)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < bells->n && bells->at[low].off == off; low++) {
        const struct doorbell *bell = &bells->at[low];
        uint64_t one = 1;
        if (bell->size == size && (!bell->match || bell->value == value))
            return write(bell->fd, &one, sizeof(one)) >= 0 || errno == EAGAIN;
    }
    return false;
}

static void rom_write(struct vm *vm, const struct mem_range *r, gpa at, unsigned size,
                      uint64_t value)
{
    struct mem_region *region = r->region;
    uint64_t off = r->region_off + (at - r->start);
    count(&region->counts.writes);
    if (region->takes_writes)
        ops_write(vm, region, region->ops, region->opaque, off, size, value);
    else
        refused(vm, region, "write", off, size);
}

static bool io_write(struct vm *vm, const struct mem_view *view, gpa at, unsigned size,
                     uint64_t value)
{
    const struct mem_range *r = mem_view_find(view, at);
    if (!r)
        return false;
    if (is_cut(r, at, size)) {
        bool ok = io_write(vm, view, at, size / 2, value & (((uint64_t)1 << (4 * size)) - 1));
        return io_write(vm, view, at + size / 2, size / 2, value >> (4 * size)) && ok;
    }
    if (r->ram && r->rom) {
        rom_write(vm, r, at, size, value);
        return true;
    }
    if (r->ram) {
        uint8_t le[8];
        store_le(le, size, value);
        return write_pieces(vm, view, at, le, size, false);
    }
    struct mem_region *region = r->region;
    uint64_t off = r->region_off + (at - r->start);
    count(&region->counts.writes);
    if (!ring_doorbell(region, off, size, value))
        ops_write(vm, region, region->ops, region->opaque, off, size, value);
    return true;
}

/* Ports that nothing answers read as ones. A device decodes the first byte's address alone, so an access
 * may run over a smaller region laid on top (0xcf9 in 0xcf8); what leaves its region is done in halves. */
static bool port_is_cut(const struct mem_range *r, uint64_t off, unsigned size)
{
    return r->region->size - off < size;
}

static bool port_read(struct vm *vm, uint32_t port, unsigned size, uint32_t *value)
{
    const struct mem_range *r = mem_view_find(mem_ports_now(vm), port);
    *value = (uint32_t)bits(UINT64_MAX, 0, 8 * size);
    if (!r) {
        uint32_t low, high;
        if (size == 1)
            return false;
        bool any = port_read(vm, port, size / 2, &low);
        any |= port_read(vm, port + size / 2, size / 2, &high);
        *value = low | high << (4 * size);
        return any;
    }
    struct mem_region *region = r->region;
    uint64_t off = r->region_off + (port - r->start);
    if (port_is_cut(r, off, size)) {
        uint32_t low, high;
        port_read(vm, port, size / 2, &low);
        port_read(vm, port + size / 2, size / 2, &high);
        *value = low | high << (4 * size);
        return true;
    }
    count(&region->counts.reads);
    *value = (uint32_t)ops_read(vm, region, region->ops, region->opaque, off, size);
    return true;
}

static bool port_write(struct vm *vm, uint32_t port, unsigned size, uint32_t value)
{
    const struct mem_range *r = mem_view_find(mem_ports_now(vm), port);
    uint64_t off = r ? r->region_off + (port - r->start) : 0;
    if (!r && size == 1)
        return false;
    if (!r || port_is_cut(r, off, size)) {
        bool any = port_write(vm, port, size / 2, value & ((1u << (4 * size)) - 1));
        return port_write(vm, port + size / 2, size / 2, value >> (4 * size)) || any;
    }
    struct mem_region *region = r->region;
    count(&region->counts.writes);
    if (!ring_doorbell(region, off, size, value))
        ops_write(vm, region, region->ops, region->opaque, off, size, value);
    return true;
}

/* ---- the same for a CPU that may be one of two in lock-step ------------------------------------------ */

static bool taped_read(struct vm *vm, const struct mem_view *view, gpa at, unsigned size,
                       uint64_t *value)
{
    struct tape_entry e = { .kind = TAPE_READ, .at = at, .size = size };
    if (__builtin_expect(!vm->tape, 1))
        return io_read(vm, view, at, size, value);
    if (tape_begin(vm, &e)) {
        e.ok = io_read(vm, view, at, size, &e.value);
        tape_end(vm, &e);
    }
    *value = e.value;
    return e.ok;
}

static bool taped_write(struct vm *vm, const struct mem_view *view, gpa at, unsigned size,
                        uint64_t value)
{
    struct tape_entry e = { .kind = TAPE_WRITE, .at = at, .size = size, .value = value };
    if (__builtin_expect(!vm->tape, 1))
        return io_write(vm, view, at, size, value);
    if (tape_begin(vm, &e)) {
        e.ok = io_write(vm, view, at, size, value);
        tape_end(vm, &e);
    }
    return e.ok;
}

bool mem_io_read(struct vm *vm, gpa at, unsigned size, uint64_t *value)
{
    return taped_read(vm, mem_view_now(vm), at, size, value);
}

bool mem_io_write(struct vm *vm, gpa at, unsigned size, uint64_t value)
{
    return taped_write(vm, mem_view_now(vm), at, size, value);
}

bool mem_cpu_read(struct vcpu *cpu, gpa at, unsigned size, uint64_t *value)
{
    return taped_read(cpu->vm, mem_view_of(cpu), at, size, value);
}

bool mem_cpu_write(struct vcpu *cpu, gpa at, unsigned size, uint64_t value)
{
    return taped_write(cpu->vm, mem_view_of(cpu), at, size, value);
}

bool mem_port_read(struct vm *vm, uint32_t port, unsigned size, uint32_t *value)
{
    struct tape_entry e = { .kind = TAPE_IN, .at = port, .size = size };
    if (__builtin_expect(!vm->tape, 1))
        return port_read(vm, port, size, value);
    if (tape_begin(vm, &e)) {
        e.ok = port_read(vm, port, size, value);
        e.value = *value;
        tape_end(vm, &e);
    }
    *value = (uint32_t)e.value;
    return e.ok;
}

bool mem_port_write(struct vm *vm, uint32_t port, unsigned size, uint32_t value)
{
    struct tape_entry e = { .kind = TAPE_OUT, .at = port, .size = size, .value = value };
    if (__builtin_expect(!vm->tape, 1))
        return port_write(vm, port, size, value);
    if (tape_begin(vm, &e)) {
        e.ok = port_write(vm, port, size, value);
        tape_end(vm, &e);
    }
    return e.ok;
}

bool mem_send_msi(struct vm *vm, gpa at, uint32_t data)
{
    const struct mem_range *r = mem_view_find(mem_view_now(vm), at);
    struct mem_region *region = r && !r->ram ? r->region : NULL;
    const struct mmio_ops *ops = region ? region->ops : NULL;
    if (!ops || !ops->msi || at % 4 || is_cut(r, at, 4)) {
        count(&vm->n_guest_errors);
        if (log_on(&vm->log, LOG_GUEST_ERRORS))
            log_print(&vm->log, "message-signalled interrupt to %#" PRIx64 " reaches nobody\n", at);
        return false;
    }
    count(&region->counts.writes);
    ops->msi(region->opaque, r->region_off + (at - r->start), data);
    return true;
}

void mem_count_time(struct vm *vm, gpa at, bool is_port, uint64_t ns)
{
    const struct mem_view *view = is_port ? mem_ports_now(vm) : mem_view_now(vm);
    const struct mem_range *r = mem_view_find(view, at);
    if (r)
        atomic_fetch_add_explicit(&r->region->counts.ns, ns, memory_order_relaxed);
}

/* ---- doorbells ------------------------------------------------------------------------------ */

static void doorbells_replace(struct mem_region *r, struct doorbells *now)
{
    struct mem *mem = r->mem;
    struct doorbells *before = atomic_exchange(&r->doorbells, now);
    if (before)
        retire(mem, before);
    const struct mem_view *view = mem->views[SPACE_MEMORY];
    struct vm *vm = mem->vm;
    pthread_mutex_unlock(&mem->lock);
    if (vm->accel)
        vm->accel->memory_changed(vm, view);
    mem_sync(vm);
}

static bool same_bell(const struct doorbell *a, const struct doorbell *b)
{
    return a->off == b->off && a->size == b->size && a->match == b->match &&
           (!a->match || a->value == b->value);
}

struct error *mem_add_doorbell(struct mem_region *r, uint64_t off, unsigned size, bool match,
                               uint64_t value, int fd)
{
    assert(!r->ram && off < r->size && size <= r->size - off);
    struct doorbell bell = { .off = off, .value = value, .size = size, .match = match, .fd = fd };
    pthread_mutex_lock(&r->mem->lock);
    const struct doorbells *before = r->doorbells;
    size_t n = before ? before->n : 0, at = 0;
    for (size_t i = 0; i < n; i++) {
        if (same_bell(&before->at[i], &bell)) {
            pthread_mutex_unlock(&r->mem->lock);
            return error_new("'%s' has a doorbell at %#" PRIx64 " already", r->name, off);
        }
        at += before->at[i].off <= off;
    }
    struct doorbells *now = xmalloc(sizeof(*now) + (n + 1) * sizeof(now->at[0]));
    now->n = n + 1;
    for (size_t i = 0; i <= n; i++)
        now->at[i] = i == at ? bell : before->at[i - (i > at)];
    doorbells_replace(r, now);
    return NULL;
}

void mem_remove_doorbell(struct mem_region *r, uint64_t off, unsigned size, bool match,
                         uint64_t value, int fd)
{
    struct doorbell bell = { .off = off, .value = value, .size = size, .match = match, .fd = fd };
    pthread_mutex_lock(&r->mem->lock);
    const struct doorbells *before = r->doorbells;
    size_t n = before ? before->n : 0, kept = 0;
    struct doorbells *now = xmalloc(sizeof(*now) + n * sizeof(now->at[0]));
    for (size_t i = 0; i < n; i++)
        if (!same_bell(&before->at[i], &bell))
            now->at[kept++] = before->at[i];
    now->n = kept;
    if (!kept) {
        free(now);
        now = NULL;
    }
    doorbells_replace(r, now);
}

void mem_batch_writes(struct mem_region *r, uint64_t off, uint64_t size)
{
    assert(!r->mapped && !r->ram && off < r->size && size <= r->size - off);
    r->batch_off = off;
    r->batch_size = size;
}

bool mem_region_batches(const struct mem_region *r, uint64_t *off, uint64_t *size)
{
    *off = r->batch_off;
    *size = r->batch_size;
    return r->batch_size;
}

const struct doorbell *mem_region_doorbells(const struct mem_region *r, size_t *n)
{
    const struct doorbells *bells = atomic_load_explicit(&r->doorbells, memory_order_acquire);
    *n = bells ? bells->n : 0;
    return bells ? bells->at : NULL;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct mem *mem_new(struct vm *vm)
{
    struct mem *mem = xcalloc(1, sizeof(*mem));
    mem->vm = vm;
    mem->epoch = 1;
    for (unsigned i = 0; i < SPACE_SMM; i++) {
        mem->views[i] = view_build(mem, i);
        atomic_load(&mem->views[i])->generation = mem->generation = 1;
    }
    pthread_mutex_init(&mem->lock, NULL);
    pthread_cond_init(&mem->seen_changed, NULL);
    return mem;
}

void mem_free(struct mem *mem)
{
    if (!mem)
        return;
    while (mem->regions) {
        struct mem_region *r = mem->regions;
        mem->regions = r->next;
        region_free(r);
    }
    while (mem->readers)
        mem_reader_free(mem->readers);
    free_old(mem);
    for (unsigned i = 0; i < N_SPACES; i++)
        free(mem->views[i]);
    pthread_mutex_destroy(&mem->lock);
    pthread_cond_destroy(&mem->seen_changed);
    free(mem);
}
