/* A loop that is being given a second copy: what ir_loops.c found out, from which ir_loop_copy.c makes it. */
#pragma once

#include "core/util.h"
#include "tcg/ir.h"

enum { MAX_BODY = 16, MAX_TERMS = 3, MAX_ACCESSES = 64, MOST_SLOTS = 128 };
enum { MAX_UNROLL = 4, UNROLLED_OPS = 160, MAX_SUNK = 8, REBUILD_DEPTH = 3 };
enum { MAX_NARROW = 4, NARROW_LIMIT = 1 << 20 };

/* c + the sum of slots times factors, as the slots are at the loop's head: all of it, or its low half, with the sign or
 * zeros above (an i32 has nothing above). */
enum width { WHOLE, SIGNED_HALF, UNSIGNED_HALF };
struct form {
    bool known;
    uint8_t width;
    uint8_t n;
    uint8_t slot[MAX_TERMS]; /* ascending */
    int64_t factor[MAX_TERMS];
    int64_t c;
};

/* A slot that each turn extends from 32 bits when it moves it. While neither it nor what is computed from it
 * wraps, it moves by a constant: that is, while the slot plus [lo, hi] are values that the extension leaves
 * as they are. */
struct narrow {
    uint8_t slot, width;
    int64_t lo, hi;
};

struct window {
    struct form from; /* its first byte */
    int64_t stride, span;
    unsigned mode, align; /* log2 */
    bool writes;
    /* In the block being copied, or IR_NONE: what is added to guest addresses; a host address, and what the constant of
     * its form is. */
    ir_val addend, host;
    int64_t host_c;
};

struct access {
    uint16_t op;
    int8_t window; /* -1: none */
    struct form at;
};

struct ir_loop {
    struct ir *ir;
    uint16_t head;
    uint16_t first, n_original; /* blocks that were there before any copy was made */
    /* In the order of their operations: a block follows all that lead to it. */
    uint16_t body[MAX_BODY];
    unsigned n_body;
    int8_t place[IR_MAX_BLOCKS]; /* in body, or -1 */
    bool entered[MAX_BODY];      /* from outside */
    struct form entry[MAX_BODY][MOST_SLOTS], slots[MOST_SLOTS], back[MOST_SLOTS];
    bool reached[MAX_BODY], back_known;
    struct form value[IR_MAX_OPS];
    struct access accesses[MAX_ACCESSES];
    unsigned n_accesses;
    enum ir_no_windows why;
    struct window windows[IR_WINDOWS];
    unsigned n_windows;
    struct narrow narrow[MAX_NARROW]; /* windows and count are right while these do not wrap */
    unsigned n_narrow;
    int iv; /* a slot that every turn moves, by */
    int64_t step;
    /* Of a counted loop: it goes on while `cc` holds between the two; by how much a turn moves the first. */
    bool counted, half; /* half: it compares i32s */
    enum ir_cc cc;
    struct form moving, bound;
    int64_t by;
    bool tight;
    unsigned turns;                 /* in one of the copy's */
    uint8_t sunk[MAX_SUNK], n_sunk; /* slots of a tight loop that are set on its way out */
    ir_val map[IR_MAX_OPS], now[MOST_SLOTS];
    uint16_t copy[MAX_BODY], way_in[MAX_BODY], look_block, windows_block, turn_block;
};

static inline int64_t times(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a * (uint64_t)b);
}

static inline int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* ---- ir_loops.c ---- */
/* The k-th block that may follow inside the unit, or IR_NONE. */
uint16_t loop_successor(const struct ir *ir, uint16_t block, unsigned k);
/* The last operation of a loop of one block that sets the slot or forgets it, or IR_NONE. */
uint16_t loop_last_set(const struct ir_loop *l, unsigned slot);
/* A slot that lasts and holds v when the block ends, or -1. */
int loop_holder_of(const struct ir_loop *l, ir_val v);
/* NULL: it is not narrow. */
struct narrow *loop_narrow(struct ir_loop *l, int slot);
/* Is the slot set on the way out alone? */
bool loop_is_sunk(const struct ir_loop *l, int64_t slot);

/* ---- ir_loop_copy.c ---- */
/* Does a copy fit into the unit? */
bool loop_has_room(struct ir_loop *l);
/* Behind all that was found out. */
void loop_make_copy(struct ir_loop *l);
/* A unit that begins with a loop gets a block before it. */
void loop_put_in_front(struct ir *ir);
