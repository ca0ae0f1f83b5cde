/* Inside block/ only: one layer of -blockdev put over another. */
#pragma once

#include <stdbool.h>

struct blk;

/* A new object with all that `from` had open; `from` keeps nothing and is only good for closing. */
struct blk *blk_take_over(struct blk *from);
void blk_set_name(struct blk *b, const char *name); /* once: for messages */
void blk_restrict(struct blk *b, bool readonly, bool discard);
