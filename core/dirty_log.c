/* A page is watched while PAGE_LOG_DIRTY is set. The first write clears it (the engine, or core/memory.c), whoever
 * looks next tells all logs of the block, and sets it again. */
#include "core/dirty_log.h"

#include "core/accel.h"
#include "core/memory.h"
#include "core/vm.h"

#include <assert.h>
#include <stdlib.h>

#define PAGE ((uint64_t)4096)

struct dirty_log {
    struct vm *vm;
    struct ram_block *ram;
    uint64_t first, n; /* pages */
    uint64_t *pending; /* a bit each; under ram->log_lock */
    struct dirty_log *next;
};

uint64_t dirty_log_words(const struct dirty_log *log)
{
    return (log->n + 63) / 64;
}

struct dirty_log *dirty_log_new(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n)
{
    struct dirty_log *log = xcalloc(1, sizeof(*log));
    assert(off % PAGE == 0 && n % PAGE == 0 && n && off < ram->size && n <= ram->size - off);
    *log = (struct dirty_log){ .vm = vm, .ram = ram, .first = off / PAGE, .n = n / PAGE };
    log->pending = xmalloc(dirty_log_words(log) * sizeof(*log->pending));
    memset(log->pending, 0xff, dirty_log_words(log) * sizeof(*log->pending));
    if (log->n % 64)
        log->pending[log->n / 64] = ((uint64_t)1 << log->n % 64) - 1;
    pthread_mutex_lock(&ram->log_lock);
    log->next = ram->logs;
    ram->logs = log;
    pthread_mutex_unlock(&ram->log_lock);
    return log;
}

void dirty_log_free(struct dirty_log *log)
{
    if (!log)
        return;
    pthread_mutex_lock(&log->ram->log_lock);
    struct dirty_log **at = &log->ram->logs;
    while (*at != log)
        at = &(*at)->next;
    *at = log->next;
    pthread_mutex_unlock(&log->ram->log_lock);
    free(log->pending);
    free(log);
}

static void tell_all(struct ram_block *ram, uint64_t page)
{
    for (struct dirty_log *l = ram->logs; l; l = l->next)
        if (page - l->first < l->n)
            l->pending[(page - l->first) / 64] |= (uint64_t)1 << (page - l->first) % 64;
}

/* Watch every page of the part that is not watched (any more). */
static void collect(struct dirty_log *log)
{
    struct vm *vm = log->vm;
    bool armed = false;
    if (vm->accel && vm->accel->dirty_log_sync)
        vm->accel->dirty_log_sync(vm, log->ram);
    for (uint64_t page = log->first; page < log->first + log->n; page++) {
        _Atomic uint8_t *flags = &log->ram->page_flags[page];
        if (atomic_load_explicit(flags, memory_order_relaxed) & PAGE_LOG_DIRTY)
            continue;
        tell_all(log->ram, page);
        atomic_fetch_or(flags, PAGE_LOG_DIRTY);
        armed = true;
    }
    if (armed && vm->accel) {
        vm->accel->dirty_log_started(vm, log->ram);
        mem_sync(vm);
    }
}

bool dirty_log_take(struct dirty_log *log, uint64_t *map)
{
    uint64_t any = 0, words = dirty_log_words(log);
    pthread_mutex_lock(&log->ram->log_lock);
    collect(log);
    for (uint64_t i = 0; i < words; i++)
        any |= log->pending[i];
    memcpy(map, log->pending, words * sizeof(*map));
    memset(log->pending, 0, words * sizeof(*map));
    pthread_mutex_unlock(&log->ram->log_lock);
    return any;
}
