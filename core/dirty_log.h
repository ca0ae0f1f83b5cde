/* Which pages of a RAM block were written, for screens and for migration: any number may ask, each for itself. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct dirty_log;
struct ram_block;
struct vm;

/* Pages [off, off+n) of a block, whole pages; the first take gives all of them. */
struct dirty_log *dirty_log_new(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n);
/* Before the block goes. NULL is fine. */
void dirty_log_free(struct dirty_log *log);
/* Bit i of map: page i of the part was written since the last take; false if none was. What is written from now on
 * comes with the next take, so read the pages afterwards. Waits for vCPUs: no device lock held, no vCPU's thread. */
bool dirty_log_take(struct dirty_log *log, uint64_t *map);
/* uint64_t's that a map has. */
uint64_t dirty_log_words(const struct dirty_log *log);
