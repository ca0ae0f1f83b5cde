/* The memory balloon, for the monitor. Main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct device;
struct error;
struct vm;

enum { BALLOON_N_STATS = 10 };
extern const char *const balloon_stat_names[BALLOON_N_STATS];

struct balloon_info {
    uint64_t ram, actual;            /* bytes: all RAM; what the guest has of it */
    uint64_t target;                 /* what it was asked to have */
    uint64_t stats[BALLOON_N_STATS]; /* UINT64_MAX: not said */
    uint64_t stats_at_ns;            /* guest clock; 0: never */
};
/* Ask the guest to make do with this many bytes; without a driver now, the next one is asked. Error: the VM has no
 * balloon. */
struct error *balloon_set(struct vm *vm, uint64_t bytes);
/* Error: the VM has no balloon. */
struct error *balloon_query(struct vm *vm, struct balloon_info *out);
/* How often the guest is asked for its statistics; 0: never. Error: it is no balloon. */
struct error *balloon_set_polling(struct device *dev, uint32_t seconds);
bool balloon_is(const struct device *dev);
