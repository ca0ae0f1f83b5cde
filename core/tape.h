/* What makes two runs of the same code differ, kept from one and played to the other: lock-step
 * (docs/lockstep.md) executes each step on the VM, then on its shadow, which has memory of its own and no
 * devices. What devices answer, change and write during a step is on the tape. */
#pragma once

#include "core/util.h"

#include <stdatomic.h>
#include <stdbool.h>

struct ram_block;
struct vcpu;
struct vm;
struct tape;

enum tape_kind {
    TAPE_READ,   /* memory-mapped I/O */
    TAPE_WRITE,
    TAPE_IN,     /* ports */
    TAPE_OUT,
    TAPE_CPU_IN, /* what only this CPU reaches; `at` says which */
    TAPE_CPU_OUT,
    TAPE_RANDOM,
    TAPE_DMA,    /* the tape's own: a device wrote memory */
};
struct tape_entry {
    enum tape_kind kind;
    bool ok;
    unsigned size;
    uint64_t at, value;
};

/* Around everything that a CPU asks of the world. True: do it, with the answer in e->value and e->ok, then call
 * tape_end. False: the answer is in *e. CPU's thread; vm->tape is there. */
bool tape_begin(struct vm *vm, struct tape_entry *e);
void tape_end(struct vm *vm, const struct tape_entry *e);
/* n (at most 8) random bytes of the host, for a CPU's instruction. False: it has none to give now. */
bool tape_random(struct vm *vm, void *buf, size_t n);

/* For core/memory.c: RAM was written, a loop is about to sleep or woke. */
void tape_written(struct vm *vm, struct ram_block *ram, uint64_t off, uint64_t n);
void tape_loop_idle(struct vm *vm, bool idle);

/* ---- for the lockstep engine ----------------------------------------------------------------------- */

/* The caller's thread counts as an awake loop from now on. */
struct tape *tape_new(struct vm *real, struct vm *shadow);
/* The shadow's CPU marks page table entries as used and written when it likes. */
void tape_excuse_marks(struct tape *tape);
void tape_free(struct tape *tape);
/* `shadow` holds what `real` holds, and is to do so from now on. */
void tape_pair(struct tape *tape, struct ram_block *real, struct ram_block *shadow);
struct ram_block *tape_shadow_of(const struct tape *tape, const struct ram_block *real);

/* Wait until all loops sleep, and keep them asleep. False: *kicked was set. vCPU's thread. */
bool tape_enter(struct tape *tape, const _Atomic uint32_t *kicked);
void tape_leave(struct tape *tape);
void tape_wake(struct tape *tape); /* *kicked was set */

/* The step on the real VM begins; on its shadow; is over on both. Between them tape_begin keeps, then plays. */
void tape_record(struct tape *tape, struct vcpu *real);
void tape_replay(struct tape *tape, struct vcpu *shadow);
/* False: `why` says in which memory or access the two differ. */
bool tape_finish(struct tape *tape, char *why, size_t room);
