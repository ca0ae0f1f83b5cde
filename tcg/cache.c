/* The translation cache: units by key, by guest page, by age.
 *
 * Code memory is one memfd mapped twice, writable and executable, and is used up in PARTS; when the
 * last is full the oldest is emptied while every vCPU stands outside generated code. A unit whose
 * guest code was written dies at once: it leaves the hash, its entry and the links to it lead back to
 * the run loop; its memory goes with its part. */
#include "core/error.h"
#include "core/util.h"
#include "tcg/tcg.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A unit takes some 800 bytes of the cache, a page has a dozen or two: chains of less than one. */
enum { BYTES_PER_CHAIN = 512, PAGE_UNITS_LOG2 = 4 };
enum { QUIET_WRITES = 64 }; /* writes without effect after which a page counts as data again */

struct error *cache_init(struct tcg *tcg, size_t size)
{
    int fd = memfd_create("tandem-code", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)size))
        return error_errno("cannot make the translation cache of %zu MiB", size >> 20);
    tcg->size = size;
    tcg->rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    tcg->rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    close(fd);
    if (tcg->rw == MAP_FAILED || tcg->rx == MAP_FAILED)
        return error_errno("cannot map the translation cache of %zu MiB", size >> 20);
    tcg->hash_bits = 63 - (unsigned)__builtin_clzll(size / BYTES_PER_CHAIN);
    tcg->page_bits = tcg->hash_bits - PAGE_UNITS_LOG2;
    tcg->hash = xcalloc((size_t)1 << tcg->hash_bits, sizeof(tcg->hash[0]));
    tcg->pages = xcalloc((size_t)1 << tcg->page_bits, sizeof(struct code_page *));
    tcg->scratch =
        xcalloc(1, sizeof(struct unit) + UNIT_LINKS(IR_MAX_BLOCKS) * sizeof(struct link));
    pthread_mutex_init(&tcg->lock, NULL);
    pthread_mutex_init(&tcg->run_lock, NULL);
    pthread_cond_init(&tcg->run_changed, NULL);
    return NULL;
}

/* Behind the shared pieces that the back end put at the start. */
void cache_start(struct tcg *tcg)
{
    tcg->part_size = align_down((tcg->size - tcg->common_end) / PARTS, 64);
    tcg->next = tcg->common_end;
    tcg->part_end = tcg->next + tcg->part_size;
}

/* ---- memory of units ------------------------------------------------------------------------------ */

/* What units are carved from, a list for each part of the code memory, with which they go. */
struct unit_piece {
    struct unit_piece *next;
    size_t used;
};
enum { PIECE = 256 * 1024 };

static struct unit_piece *piece_new(struct unit_piece *next)
{
    struct unit_piece *p = xmalloc(PIECE);
    uintptr_t at = align_up((uintptr_t)p, 4096), end = align_down((uintptr_t)p + PIECE, 4096);
    madvise((void *)at, end - at, MADV_POPULATE_WRITE); /* at once, not fault by fault */
    *p = (struct unit_piece){ .next = next, .used = sizeof(*p) };
    return p;
}

struct unit *cache_unit(struct tcg *tcg, size_t n)
{
    struct unit_piece *p = tcg->unit_pieces[tcg->part];
    n = align_up(n, _Alignof(struct unit));
    assert(n <= PIECE - sizeof(*p));
    if (!p || PIECE - p->used < n)
        p = tcg->unit_pieces[tcg->part] = piece_new(p);
    p->used += n;
    return (struct unit *)((uint8_t *)p + p->used - n);
}

static void free_units(struct tcg *tcg, unsigned part)
{
    if (tcg->backend->drop)
        for (struct unit *u = tcg->by_part[part]; u; u = u->part_next)
            tcg->backend->drop(tcg, u);
    for (struct unit_piece *p = tcg->unit_pieces[part], *next; p; p = next) {
        next = p->next;
        free(p);
    }
    tcg->by_part[part] = NULL;
    tcg->unit_pieces[part] = NULL;
}

void cache_free(struct tcg *tcg)
{
    for (unsigned p = 0; p < PARTS; p++)
        free_units(tcg, p);
    for (unsigned i = 0; i < 1u << tcg->page_bits; i++)
        for (struct code_page *p = tcg->pages[i], *next; p; p = next) {
            next = p->next;
            free(p);
        }
    free(tcg->hash);
    free(tcg->pages);
    free(tcg->scratch);
    munmap(tcg->rw, tcg->size);
    munmap(tcg->rx, tcg->size);
    pthread_mutex_destroy(&tcg->lock);
    pthread_mutex_destroy(&tcg->run_lock);
    pthread_cond_destroy(&tcg->run_changed);
}

/* ---- lookup ------------------------------------------------------------------------------------ */

/* Units of a page lie near each other: who looks for one will look for more. */
static unsigned hash_of(const struct tcg *tcg, const uint8_t *page, int32_t off, uint32_t flags)
{
    uint64_t h = ((uintptr_t)page ^ (uint64_t)flags << 33) * 0x9e3779b97f4a7c15u;
    return ((h >> 32) + ((unsigned)off >> 2)) & ((1u << tcg->hash_bits) - 1);
}

struct unit *cache_find(struct tcg *tcg, const uint8_t *page, int32_t off, uint32_t flags)
{
    struct unit *u =
        atomic_load_explicit(&tcg->hash[hash_of(tcg, page, off, flags)], memory_order_acquire);
    for (; u; u = u->hash_next)
        if (u->page == page && u->off == off && u->flags == flags &&
            !atomic_load_explicit(&u->dead, memory_order_relaxed))
            return u;
    return NULL;
}

static struct code_page **page_slot(struct tcg *tcg, const uint8_t *page)
{
    uint64_t h = ((uintptr_t)page >> 12) * 0x9e3779b97f4a7c15u;
    struct code_page **at = &tcg->pages[h >> (64 - tcg->page_bits)];
    while (*at && (*at)->page != page)
        at = &(*at)->next;
    return at;
}

/* ---- publishing ------------------------------------------------------------------------------------ */

/* 64-byte pieces of a page that [from, to) touches. */
uint64_t cache_chunks(int32_t from, int32_t to)
{
    from = MAX(from, 0);
    to = MIN(to, 4096);
    if (from >= to)
        return 0;
    unsigned a = (unsigned)from >> 6, b = (unsigned)(to - 1) >> 6;
    return (b == 63 ? ~(uint64_t)0 : ((uint64_t)1 << (b + 1)) - 1) & ~(((uint64_t)1 << a) - 1);
}

/* Pieces of `page` that u covers; a page that follows itself is both of its pages. */
static uint64_t chunks_in(const struct unit *u, const uint8_t *page)
{
    uint64_t inlined = 0;
    for (unsigned k = 0; k < u->n_inlined && u->page == page; k++)
        inlined |= cache_chunks(u->inlined[k].from, u->inlined[k].to);
    return inlined | (u->page == page ? cache_chunks(u->off, u->end) : 0) |
           (u->page2 == page ? cache_chunks(u->off - 4096, u->end - 4096) : 0);
}

static bool covers(const struct unit *u, const uint8_t *page, int32_t from, int32_t to)
{
    for (unsigned k = 0; k < u->n_inlined && u->page == page; k++)
        if (u->inlined[k].from < to && u->inlined[k].to > from)
            return true;
    return (u->page == page && u->off < to && u->end > from) ||
           (u->page2 == page && u->off - 4096 < to && u->end - 4096 > from);
}

static void add_to_page(struct tcg *tcg, const uint8_t *page, struct unit *u, unsigned which)
{
    struct code_page **at = page_slot(tcg, page), *p = *at;
    if (!p) {
        p = *at = xcalloc(1, sizeof(*p));
        p->page = page;
    }
    u->page_next[which] = p->units;
    p->units = u;
    p->chunks |= chunks_in(u, page);
}

/* Code that was written is reached through the executable mapping: the writable one need not hold its
 * pages too, which would count twice as memory of ours. */
static void trim(struct tcg *tcg)
{
    enum { STEP = 1 << 20 };
    if (tcg->next - tcg->trimmed < STEP && tcg->next >= tcg->trimmed)
        return;
    madvise(tcg->rw, tcg->size, MADV_DONTNEED); /* of a shared mapping: drops no data */
    tcg->trimmed = tcg->next;
    /* The next step's pages at once, not fault by fault. */
    size_t at = align_down(tcg->next, 4096);
    madvise(tcg->rw + at, MIN((size_t)STEP, align_down(tcg->part_end, 4096) - at),
            MADV_POPULATE_WRITE);
}

void cache_publish(struct tcg *tcg, struct unit *u)
{
    add_to_page(tcg, u->page, u, 0);
    if (u->page2)
        add_to_page(tcg, u->page2, u, 1);
    u->part_next = tcg->by_part[tcg->part];
    tcg->by_part[tcg->part] = u;
    _Atomic(struct unit *) *head = &tcg->hash[hash_of(tcg, u->page, u->off, u->flags)];
    u->hash_next = atomic_load_explicit(head, memory_order_relaxed);
    atomic_store_explicit(head, u, memory_order_release);
    tcg->next = (uint32_t)align_up(u->code_at + u->code_size, 16);
    trim(tcg);
}

void cache_link(struct tcg *tcg, struct link *l, struct unit *to)
{
    pthread_mutex_lock(&tcg->lock);
    if (!l->to && !atomic_load(&to->dead) && !atomic_load(&l->from->dead)) {
        tcg->counts.links++;
        l->to = to;
        l->next = to->incoming;
        to->incoming = l;
        tcg->backend->set_link(tcg, l, to);
    }
    pthread_mutex_unlock(&tcg->lock);
}

/* ---- dying -------------------------------------------------------------------------------------------- */

static void unlink_incoming(struct tcg *tcg, struct unit *u)
{
    for (struct link *l = u->incoming, *next; l; l = next) {
        next = l->next;
        l->to = NULL;
        tcg->backend->set_link(tcg, l, NULL);
    }
    u->incoming = NULL;
}

static void unlink_outgoing(struct unit *u)
{
    for (unsigned i = 0; i < u->n_links; i++) {
        struct link *l = &u->links[i];
        if (!l->to)
            continue;
        struct link **at = &l->to->incoming;
        while (*at != l)
            at = &(*at)->next;
        *at = l->next;
        l->to = NULL;
    }
}

static void leave_hash(struct tcg *tcg, struct unit *u)
{
    _Atomic(struct unit *) *head = &tcg->hash[hash_of(tcg, u->page, u->off, u->flags)];
    struct unit *first = atomic_load_explicit(head, memory_order_relaxed);
    if (first == u) {
        atomic_store_explicit(head, u->hash_next, memory_order_release);
        return;
    }
    while (first->hash_next != u)
        first = first->hash_next;
    first->hash_next = u->hash_next; /* a reader on u still finds its way on */
}

static void leave_page(struct tcg *tcg, const uint8_t *page, struct unit *u)
{
    struct code_page *p = *page_slot(tcg, page);
    struct unit **at = &p->units;
    p->chunks = 0;
    while (*at) {
        struct unit *v = *at;
        unsigned which = v->page == page ? 0 : 1;
        if (v == u) {
            *at = v->page_next[which];
            continue;
        }
        p->chunks |= chunks_in(v, page);
        at = &v->page_next[which];
    }
}

void cache_kill(struct tcg *tcg, struct unit *u)
{
    if (atomic_exchange(&u->dead, true))
        return;
    tcg->backend->kill(tcg, u);
    unlink_incoming(tcg, u);
    leave_hash(tcg, u);
    leave_page(tcg, u->page, u);
    if (u->page2)
        leave_page(tcg, u->page2, u);
    atomic_fetch_add_explicit(&tcg->counts.dead, 1, memory_order_relaxed);
}

void cache_kill_flagged(struct tcg *tcg, uint32_t flag)
{
    for (unsigned p = 0; p < PARTS; p++)
        for (struct unit *u = tcg->by_part[p]; u; u = u->part_next)
            if (u->flags & flag)
                cache_kill(tcg, u);
}

static bool kill_covering(struct tcg *tcg, struct code_page *p, int32_t from, int32_t to)
{
    bool killed = false;
    if (!(p->chunks & cache_chunks(from, to)))
        return false;
    for (struct unit *u = p->units, *next; u; u = next) {
        next = u->page_next[u->page == p->page ? 0 : 1];
        if (covers(u, p->page, from, to)) {
            cache_kill(tcg, u);
            killed = true;
        }
    }
    return killed;
}

void cache_code_written(struct tcg *tcg, struct ram_block *ram, uint64_t off, uint64_t n)
{
    pthread_mutex_lock(&tcg->lock);
    for (uint64_t at = align_down(off, 4096); at < off + n; at += 4096) {
        struct code_page *p = *page_slot(tcg, ram->host + at);
        uint64_t from = MAX(off, at) - at, to = MIN(off + n, at + 4096) - at;
        bool killed = p && kill_covering(tcg, p, (int32_t)from, (int32_t)to);
        if (p && killed) {
            p->quiet_writes = 0;
            if (!p->units)
                p->apart = 0;
        }
        /* Data that was code once: writes need not come here any more. */
        if (!p || (!p->units && ++p->quiet_writes > QUIET_WRITES))
            atomic_fetch_and(&ram->page_flags[at >> 12], (uint8_t)~PAGE_HAS_CODE);
    }
    pthread_mutex_unlock(&tcg->lock);
    tlb_forget_checked(tcg); /* last: what is known is known of watched pages */
}

bool cache_covers(struct tcg *tcg, const uint8_t *page, int32_t pc_off, int32_t from, int32_t to)
{
    bool found = false;
    pthread_mutex_lock(&tcg->lock);
    const struct code_page *p = *page_slot(tcg, page);
    const struct unit *u = p && p->chunks & cache_chunks(from, to) ? p->units : NULL;
    for (; u && !found; u = u->page_next[u->page == page ? 0 : 1])
        found = u->page == page && u->n_insns > 1 && covers(u, page, pc_off, pc_off + 1) &&
                covers(u, page, from, to);
    pthread_mutex_unlock(&tcg->lock);
    return found;
}

uint64_t cache_apart(struct tcg *tcg, const uint8_t *page)
{
    const struct code_page *p = *page_slot(tcg, page);
    return p ? p->apart : 0;
}

void cache_set_apart(struct tcg *tcg, const uint8_t *page, int32_t off)
{
    pthread_mutex_lock(&tcg->lock);
    struct code_page *p = *page_slot(tcg, page);
    if (p && !(p->apart & cache_chunks(off, off + 1))) {
        p->apart |= cache_chunks(off, off + 1);
        kill_covering(tcg, p, off, off + 1);
    }
    pthread_mutex_unlock(&tcg->lock);
}

/* ---- making room ---------------------------------------------------------------------------------------- */

static void empty_part(struct tcg *tcg, unsigned part)
{
    for (struct unit *u = tcg->by_part[part]; u; u = u->part_next)
        cache_kill(tcg, u);
    for (struct unit *u = tcg->by_part[part]; u; u = u->part_next)
        unlink_outgoing(u);
    free_units(tcg, part);
}

static void next_part(struct tcg *tcg)
{
    unsigned part = (tcg->part + 1) % PARTS;
    if (tcg->by_part[part]) {
        empty_part(tcg, part);
        tcg->counts.evictions++;
        for (unsigned i = 0; i < tcg->vm->n_vcpus; i++)
            if (tcg->vm->vcpus[i] && tcg->vm->vcpus[i]->engine)
                tlb_forget_jumps(tcg_cpu_of(tcg->vm->vcpus[i]));
    }
    tcg->part = part;
    tcg->next = tcg->common_end + (uint32_t)(part * tcg->part_size);
    tcg->part_end = tcg->next + (uint32_t)tcg->part_size;
}

void cache_make_room(struct tcg_cpu *t, unsigned full)
{
    struct tcg *tcg = t->tcg;
    run_enter_exclusive(t);
    pthread_mutex_lock(&tcg->lock);
    if (tcg->part == full) /* else another vCPU was faster */
        next_part(tcg);
    pthread_mutex_unlock(&tcg->lock);
    run_leave_exclusive(t);
}
