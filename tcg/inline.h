/* Inlining: behind a call of a short function on the same page, a unit of the second tier has a copy of that
 * function. */
#pragma once

#include "tcg/tcg.h"

/* An instruction of a unit to be. */
struct found {
    struct insn_scan scan;
    int32_t off;
    bool leader, after_call;
    bool target;     /* of a jump in the unit */
    uint8_t inlined; /* of a call: 1 + its place in struct inlined, or 0 */
};

enum { INLINE_INSNS = 24, INLINE_MOST_INSNS = 128, INLINE_MOST_CALLS = 32 };

struct inlined_call {
    int32_t off, to, return_to;
    uint16_t first, n; /* in insns, in order of address */
    bool made;
};

/* The functions of a plan's calls. */
struct inlined {
    struct inlined_call calls[INLINE_MOST_CALLS];
    struct found insns[INLINE_MOST_INSNS];
    unsigned n_calls, n_insns, n_spans;
    struct span spans[UNIT_SPANS]; /* where the functions are */
};

/* For a plan from the start. */
void inline_start(struct inlined *all);
/* How many calls were; what a unit made of all this consists of besides. */
unsigned inline_count(const struct inlined *all);
void inline_cover(const struct inlined *all, struct unit *u);

/* Looks at the instruction at `off`. False: it cannot be seen. */
typedef bool inline_scan(void *opaque, int32_t off, struct insn_scan *out);
typedef void inline_translate(void *opaque, struct tr *tr, const struct found *f);

/* Is what this call leads to so short and simple that it had better stand behind it? Then it is remembered: 1 + its
 * place, else 0. All functions together have at most `limit` instructions. */
unsigned inline_find(struct inlined *all, unsigned limit, inline_scan *scan, void *opaque,
                     const struct found *call);

/* The call was translated just now. If it is a direct one, its function follows it now instead, up to its
 * returns; by several ways these come to the block behind the call, or by one, which may be the same block
 * still. */
enum inline_done { INLINE_NOT, INLINE_SEVERAL_WAYS, INLINE_ONE_WAY };
enum inline_done inline_build(struct inlined *all, unsigned which, struct tr *tr,
                              inline_translate *translate, void *opaque);
