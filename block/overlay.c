#include "block/overlay.h"

#include "block/block.h"
#include "core/error.h"
#include "core/util.h"

#include <errno.h>
#include <sys/mman.h>

struct error *overlay_open(struct overlay *o, uint64_t size)
{
    struct error *err = file_open_temporary(&o->file, size);
    if (err)
        return err;
    o->map_bytes = align_up(size / BLK_SECTOR, 64) / 8;
    void *map = mmap(NULL, o->map_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        err = error_errno("no memory for the map of snapshot=on");
        file_close(&o->file);
        return err;
    }
    o->map = map;
    return NULL;
}

void overlay_close(struct overlay *o)
{
    munmap((void *)o->map, o->map_bytes);
    file_close(&o->file);
}

static bool is_written(struct overlay *o, uint64_t sector)
{
    return atomic_load_explicit(&o->map[sector / 64], memory_order_acquire) >> sector % 64 & 1;
}

/* Bytes from `at` up to n that one side holds; *mine: the overlay. */
static uint64_t run_length(struct overlay *o, uint64_t at, uint64_t n, bool *mine)
{
    uint64_t first = at / BLK_SECTOR, end = (at + n) / BLK_SECTOR, s = first + 1;
    *mine = is_written(o, first);
    uint64_t same = *mine ? ~(uint64_t)0 : 0;
    while (s < end)
        if (s % 64 == 0 && s + 64 <= end &&
            atomic_load_explicit(&o->map[s / 64], memory_order_acquire) == same)
            s += 64;
        else if (is_written(o, s) == *mine)
            s++;
        else
            break;
    return (s - first) * BLK_SECTOR;
}

static void mark_written(struct overlay *o, uint64_t at, uint64_t n)
{
    uint64_t s = at / BLK_SECTOR, end = (at + n) / BLK_SECTOR;
    while (s < end) {
        uint64_t k = MIN(64 - s % 64, end - s);
        uint64_t mask = (k == 64 ? ~(uint64_t)0 : ((uint64_t)1 << k) - 1) << s % 64;
        atomic_fetch_or_explicit(&o->map[s / 64], mask, memory_order_release);
        s += k;
    }
}

int overlay_read(struct overlay *o, struct file *base, uint64_t at, struct span to, uint64_t n)
{
    int r = 0;
    while (n && !r) {
        bool mine;
        uint64_t run = run_length(o, at, n, &mine);
        r = file_read(mine ? &o->file : base, at, to, run);
        at += run;
        n -= run;
        to.skip += run;
    }
    return r;
}

int overlay_write(struct overlay *o, uint64_t at, struct span from, uint64_t n)
{
    int r = file_write(&o->file, at, from, n, false);
    if (!r)
        mark_written(o, at, n);
    return r;
}

int overlay_zero(struct overlay *o, uint64_t at, uint64_t n)
{
    int r = file_zero(&o->file, at, n, true);
    if (!r)
        mark_written(o, at, n);
    return r;
}

struct file *overlay_holder(struct overlay *o, struct file *base, uint64_t at, uint64_t n)
{
    bool mine;
    if (run_length(o, at, n, &mine) != n)
        return NULL;
    return mine ? &o->file : base;
}
