/* Units that outlive the process.
 *
 * A record holds the guest bytes that a unit was made of, its code and what depends on where that stands. It is found
 * by the first bytes, the offset in the page and the state word, and good if all bytes are equal: so it serves any
 * page, address space and guest, and code that was changed is translated as ever. */
#include "tcg/persist.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/util.h"
#include "tcg/store.h"
#include "tcg/tcg.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    PREFIX = 16,     /* bytes that go into the hash */
    MOST_ALIKE = 16, /* records with the same hash */
    MAX_CODE = 65535,
};

struct persist {
    struct store *store;
    const char *path;
    uint64_t key[2];
    uintptr_t program, program_end; /* where this program lies in memory */
    uint8_t copy[4096];
    uint64_t open_ns, kept, not_kept;
};

/* A record; behind it links, relocations, guest bytes, code. */
struct kept {
    uint64_t apart; /* cache_apart of its bytes */
    uint32_t flags;
    uint16_t off, n_bytes; /* guest code, in its page */
    uint16_t n_insns, n_links, n_relocs;
    uint16_t entry, chain_at, kill_at, code_size; /* from here on, places in the code */
    uint16_t guess;
};
struct kept_link {
    uint16_t jump_at, stub_at;
    int32_t off;
};
struct kept_reloc {
    uint16_t at, kind;
};

static const struct kept_link *links_of(const struct kept *k)
{
    return (const struct kept_link *)(k + 1);
}

static const struct kept_reloc *relocs_of(const struct kept *k)
{
    return (const struct kept_reloc *)(links_of(k) + k->n_links);
}

static const uint8_t *bytes_of(const struct kept *k)
{
    return (const uint8_t *)(relocs_of(k) + k->n_relocs);
}

static const uint8_t *code_of(const struct kept *k)
{
    return bytes_of(k) + k->n_bytes;
}

static size_t kept_size(const struct kept *k)
{
    return sizeof(*k) + k->n_links * sizeof(struct kept_link) +
           k->n_relocs * sizeof(struct kept_reloc) + k->n_bytes + k->code_size;
}

static unsigned reloc_bytes(unsigned kind)
{
    return kind == RELOC_SHARED ? 4 : 8;
}

bool persist_is_unit(const void *record, size_t n)
{
    enum { STUB = 13, ENTRY = 8 }; /* a call and the link's address; what kill replaces */
    const struct kept *k = record;
    if (n < sizeof(*k) || n != kept_size(k) || !k->n_bytes || k->off + k->n_bytes > 4096 ||
        !k->n_insns || !k->n_links || k->n_links > UNIT_LINKS(IR_MAX_BLOCKS) ||
        k->n_relocs > MAX_RELOCS || k->flags & (UNIT_ALONE | UNIT_DEBUG))
        return false;
    if (k->chain_at % 8 || k->chain_at + ENTRY > k->code_size || k->entry >= k->code_size ||
        k->kill_at >= k->code_size)
        return false;
    for (unsigned i = 0; i < k->n_links; i++) {
        const struct kept_link *l = &links_of(k)[i];
        if (l->stub_at + STUB > k->code_size ||
            (l->jump_at && (l->jump_at % 4 || l->jump_at + 4 > k->code_size)))
            return false;
    }
    for (unsigned i = 0; i < k->n_relocs; i++) {
        const struct kept_reloc *r = &relocs_of(k)[i];
        if (r->kind >= N_RELOC_KINDS || r->at + reloc_bytes(r->kind) > k->code_size)
            return false;
    }
    return true;
}

/* ---- who can use a file -------------------------------------------------------------------------- */

struct program {
    uint64_t hash;
    uintptr_t base, end;
};

/* The linker's mark of this build, if there is one. */
static bool hash_build_id(const struct dl_phdr_info *info, const ElfW(Phdr) * ph, uint64_t *hash)
{
    static const uint64_t key[2];
    const uint8_t *at = (const void *)(info->dlpi_addr + ph->p_vaddr), *end = at + ph->p_memsz;
    while ((size_t)(end - at) >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        const uint8_t *name = at + sizeof(*note), *id = name + align_up(note->n_namesz, 4);
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && !memcmp(name, "GNU", 4)) {
            *hash = hash64(key, id, note->n_descsz);
            return true;
        }
        at = id + align_up(note->n_descsz, 4);
    }
    return false;
}

/* The first is the program itself. Without a mark, all that is not written to counts. */
static int look_at_program(struct dl_phdr_info *info, size_t size, void *out)
{
    (void)size;
    struct program *p = out;
    bool marked = false;
    uint64_t sum[2] = { 0 };
    p->base = UINTPTR_MAX;
    for (unsigned k = 0; k < info->dlpi_phnum && !marked; k++)
        marked = info->dlpi_phdr[k].p_type == PT_NOTE &&
                 hash_build_id(info, &info->dlpi_phdr[k], &p->hash);
    for (unsigned k = 0; k < info->dlpi_phnum; k++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[k];
        if (ph->p_type != PT_LOAD)
            continue;
        p->base = MIN(p->base, info->dlpi_addr + ph->p_vaddr);
        p->end = MAX(p->end, info->dlpi_addr + ph->p_vaddr + ph->p_memsz);
        if (!marked && !(ph->p_flags & PF_W) && ph->p_flags & PF_R)
            sum[0] = hash64(sum, (const void *)(info->dlpi_addr + ph->p_vaddr), ph->p_filesz);
    }
    if (!marked)
        p->hash = sum[0];
    return 1;
}

static void identify(struct tcg *tcg, struct persist *p, uint64_t identity[2])
{
    struct program program = { 0 };
    dl_iterate_phdr(look_at_program, &program);
    p->program = program.base;
    p->program_end = program.end;
    const uint64_t facts[] = { tcg->backend->identity(tcg),
                               tcg->target->identity(tcg->vm),
                               tcg->max_insns,
                               tcg->group_accesses,
                               tcg->single_insn,
                               tcg->baseline_host,
                               tcg->count_tlb,
                               tcg->always_tier2,
                               program.end - program.base };
    const char *name = tcg->target->target->name;
    identity[0] = program.hash;
    const uint64_t key[2] = { program.hash, hash64(identity, name, strlen(name)) };
    identity[1] = hash64(key, facts, sizeof(facts));
}

/* ---- open, close --------------------------------------------------------------------------------- */

struct error *persist_open(struct tcg *tcg, const char *path, uint64_t max_bytes)
{
    if (!tcg->target->identity || !tcg->backend->identity(tcg))
        return error_new("translations of this guest cannot be kept");
    uint64_t begin = host_now_ns();
    struct persist *p = xcalloc(1, sizeof(*p));
    struct store_options o = { .path = path, .max_bytes = max_bytes };
    identify(tcg, p, o.identity);
    memcpy(p->key, o.identity, sizeof(p->key));
    struct error *err = store_open(&o, &p->store);
    if (err) {
        free(p);
        return err;
    }
    struct store_counts counts;
    store_count(p->store, &counts);
    if (counts.anew)
        fprintf(stderr, "tandem: -accel tcg,cache=%s: starting anew: %s\n", path, counts.anew);
    p->path = path;
    p->open_ns = host_now_ns() - begin;
    tcg->persist = p;
    return NULL;
}

void persist_close(struct tcg *tcg)
{
    struct persist *p = tcg->persist;
    if (!p)
        return;
    struct error *err = store_save(p->store);
    if (err)
        fprintf(stderr, "tandem: -accel tcg,cache=%s: not saved: %s\n", p->path, error_text(err));
    error_free(err);
    store_free(p->store);
    free(p);
    tcg->persist = NULL;
}

void persist_stats(const struct tcg *tcg, void (*add)(void *opaque, const char *name, double value),
                   void *opaque)
{
    const struct persist *p = tcg->persist;
    struct store_counts counts;
    if (!p)
        return;
    store_count(p->store, &counts);
    add(opaque, "tcg.cache_units", (double)counts.found_in_file);
    add(opaque, "tcg.cache_open_seconds", (double)p->open_ns / 1e9);
    add(opaque, "tcg.cache_refused", (double)counts.damaged);
    add(opaque, "tcg.cache_anew", counts.anew != NULL);
    add(opaque, "tcg.units_kept", (double)p->kept);
    add(opaque, "tcg.units_not_kept", (double)p->not_kept);
}

/* ---- units out of it ----------------------------------------------------------------------------- */

static uint64_t hash_of(const struct persist *p, const uint8_t *page, int32_t off, uint32_t flags)
{
    struct {
        uint32_t off, flags;
        uint8_t bytes[PREFIX];
    } key = { .off = (uint32_t)off, .flags = flags };
    memcpy(key.bytes, page + off, MIN(PREFIX, 4096 - (size_t)off));
    return hash64(p->key, &key, sizeof(key));
}

static bool fits(const struct kept *k, const uint8_t *page, int32_t off, uint32_t flags,
                 uint64_t apart)
{
    uint64_t pieces = cache_chunks(off, off + k->n_bytes);
    return k->off == off && k->flags == flags && !(apart & pieces & ~k->apart) &&
           !memcmp(page + off, bytes_of(k), k->n_bytes);
}

/* Add what has changed to a 32-bit or 64-bit place. */
static void relocate(uint8_t *at, unsigned n, uint64_t by)
{
    uint64_t v = load_le(at, n);
    store_le(at, n, v + by);
}

/* What to add to a place when code moves from offset 0, and this program and the cache from address 0; a shared piece
 * stands still while the code moves. */
static uint64_t reloc_delta(const struct tcg *tcg, unsigned kind, uint32_t code_at)
{
    switch (kind) {
    case RELOC_SHARED: return -(uint64_t)code_at;
    case RELOC_PROGRAM: return tcg->persist->program;
    default: return (uintptr_t)tcg->rx;
    }
}

static void place(struct tcg *tcg, const struct kept *k, const uint8_t *page)
{
    struct unit *u = tcg->scratch;
    uint32_t at = tcg->next;
    uint8_t *code = tcg->rw + at;
    memcpy(code, code_of(k), k->code_size);
    for (unsigned i = 0; i < k->n_relocs; i++) {
        const struct kept_reloc *r = &relocs_of(k)[i];
        relocate(code + r->at, reloc_bytes(r->kind), reloc_delta(tcg, r->kind, at));
    }
    *u = (struct unit){ .page = page,
                        .off = k->off,
                        .end = k->off + k->n_bytes,
                        .flags = k->flags,
                        .n_insns = k->n_insns,
                        .n_links = k->n_links,
                        .guess = k->guess,
                        .code_at = at,
                        .code_size = k->code_size,
                        .entry = tcg->rx + at + k->entry,
                        .chain_at = at + k->chain_at,
                        .kill_at = at + k->kill_at };
    for (unsigned i = 0; i < k->n_links; i++) {
        const struct kept_link *l = &links_of(k)[i];
        u->links[i] = (struct link){ .jump_at = l->jump_at ? at + l->jump_at : 0,
                                     .stub_at = at + l->stub_at,
                                     .off = l->off };
    }
}

bool persist_load(struct tcg *tcg, const uint8_t *page, int32_t off, uint32_t flags, bool *room)
{
    struct persist *p = tcg->persist;
    uint64_t hash = hash_of(p, page, off, flags), apart = cache_apart(tcg, page);
    uint32_t cursor = 0;
    size_t n;
    for (const struct kept *k; (k = store_find(p->store, hash, &cursor, &n));) {
        if (!persist_is_unit(k, n) || !fits(k, page, off, flags, apart))
            continue;
        if (k->code_size > tcg->part_size)
            return false;
        *room = k->code_size <= tcg->part_end - tcg->next;
        if (*room) {
            place(tcg, k, page);
            store_used(p->store, cursor);
        }
        return *room;
    }
    return false;
}

/* ---- units into it ------------------------------------------------------------------------------- */

const uint8_t *persist_copy(struct tcg *tcg, const uint8_t *page)
{
    return memcpy(tcg->persist->copy, page, sizeof(tcg->persist->copy));
}

/* Does something in the code look like an address of ours that no relocation names? Whoever adds one and forgets to
 * say so must not find it in another process. */
static bool has_address(const struct tcg *tcg, const struct unit *u)
{
    const struct persist *p = tcg->persist;
    const uint8_t *code = tcg->rw + u->code_at;
    for (uint32_t k = 0, known = 0; k + 8 <= u->code_size; k++) {
        uint64_t v;
        memcpy(&v, code + k, sizeof(v));
        while (known < tcg->relocs.n && tcg->relocs.at[known].at < k) /* they are in order */
            known++;
        bool ours = v - p->program < p->program_end - p->program ||
                    v - (uintptr_t)tcg->rx < tcg->size || v - (uintptr_t)tcg->rw < tcg->size;
        if (ours && v >> 32 && !(known < tcg->relocs.n && tcg->relocs.at[known].at == k))
            return true;
    }
    return false;
}

/* Does each relocation lead into what moves as it says? A library's function is elsewhere in the next process. */
static bool relocs_are_right(const struct tcg *tcg, const struct unit *u)
{
    const struct persist *p = tcg->persist;
    for (unsigned i = 0; i < tcg->relocs.n; i++) {
        const struct reloc *r = &tcg->relocs.at[i];
        uint64_t v = load_le(tcg->rw + u->code_at + r->at, reloc_bytes(r->kind));
        if ((r->kind == RELOC_PROGRAM && v - p->program >= p->program_end - p->program) ||
            (r->kind == RELOC_CACHE && v - (uintptr_t)tcg->rx >= tcg->common_end))
            return false;
    }
    return true;
}

/* Are there so many alike that one more would only be searched in vain? */
static bool has_many(struct persist *p, uint64_t hash)
{
    uint32_t cursor = 0;
    size_t n;
    unsigned found = 0;
    while (found < MOST_ALIKE && store_find(p->store, hash, &cursor, &n))
        found++;
    return found == MOST_ALIKE;
}

static void fill(const struct tcg *tcg, const struct unit *u, const uint8_t *copy, struct kept *k)
{
    struct kept_link *links = (struct kept_link *)(k + 1);
    struct kept_reloc *relocs = (struct kept_reloc *)(links + k->n_links);
    uint8_t *bytes = (uint8_t *)(relocs + k->n_relocs), *code = bytes + k->n_bytes;
    memcpy(bytes, copy + u->off, k->n_bytes);
    memcpy(code, tcg->rw + u->code_at, k->code_size);
    for (unsigned i = 0; i < k->n_links; i++) {
        const struct link *l = &u->links[i];
        links[i] = (struct kept_link){
            .jump_at = (uint16_t)(l->jump_at > 1 ? l->jump_at - u->code_at : 0),
            .stub_at = (uint16_t)(l->stub_at - u->code_at),
            .off = l->off,
        };
        memset(code + links[i].stub_at + 5, 0, sizeof(l)); /* the link's address */
    }
    for (unsigned i = 0; i < k->n_relocs; i++) {
        const struct reloc *r = &tcg->relocs.at[i];
        relocs[i] = (struct kept_reloc){ (uint16_t)r->at, (uint16_t)r->kind };
        relocate(code + r->at, reloc_bytes(r->kind), -reloc_delta(tcg, r->kind, u->code_at));
    }
}

void persist_keep(struct tcg *tcg, const struct unit *u, const uint8_t *copy)
{
    struct persist *p = tcg->persist;
    uint64_t hash = hash_of(p, copy, u->off, u->flags);
    struct kept k = { .apart = cache_apart(tcg, u->page) & cache_chunks(u->off, u->end),
                      .flags = u->flags,
                      .off = (uint16_t)u->off,
                      .n_bytes = (uint16_t)(u->end - u->off),
                      .n_insns = u->n_insns,
                      .n_links = u->n_links,
                      .n_relocs = (uint16_t)tcg->relocs.n,
                      .entry = (uint16_t)((const uint8_t *)u->entry - tcg->rx - u->code_at),
                      .chain_at = (uint16_t)(u->chain_at - u->code_at),
                      .kill_at = (uint16_t)(u->kill_at - u->code_at),
                      .code_size = (uint16_t)u->code_size,
                      .guess = u->guess };
    bool can = u->code_size <= MAX_CODE && u->end <= 4096 && tcg->relocs.n <= MAX_RELOCS &&
               relocs_are_right(tcg, u) && !has_address(tcg, u) && !has_many(p, hash);
    struct kept *to = can ? store_add(p->store, hash, kept_size(&k)) : NULL;
    if (!to) {
        p->not_kept++;
        return;
    }
    *to = k;
    fill(tcg, u, copy, to);
    p->kept++;
}
