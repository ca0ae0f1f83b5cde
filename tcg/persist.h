/* Units that outlive the process: -accel tcg,cache=FILE. docs/persistent-cache.md */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct persist;
struct tcg;
struct unit;

/* Before the first vCPU runs, when what the guest's CPU can do is settled. path: cache=; max_bytes: cache-size=. */
struct error *persist_open(struct tcg *tcg, const char *path, uint64_t max_bytes);
/* Save, and let go. A failure is told on stderr: the guest's work is done, and the file is as it was. */
void persist_close(struct tcg *tcg);

/* With tcg->lock held, from here on. Where there is no file, they do nothing. */
/* A unit for the guest code at off of the page, which is watched already: its code is in place, and it in
 * tcg->scratch, as compile leaves it. False: none is kept, or *room became false. */
bool persist_load(struct tcg *tcg, const uint8_t *page, int32_t off, uint32_t flags, bool *room);
/* The page as it is now, for who translates from it and then keeps the unit; else the page itself. */
const uint8_t *persist_copy(struct tcg *tcg, const uint8_t *page);
/* u was compiled, from `copy`; none of its links was linked yet. */
void persist_keep(struct tcg *tcg, const struct unit *u, const uint8_t *copy);

void persist_stats(const struct tcg *tcg, void (*add)(void *opaque, const char *name, double value),
                   void *opaque);

/* Is this a whole record of a unit, all of whose offsets are inside? (For its fuzz target.) */
bool persist_is_unit(const void *record, size_t n);
