/* Guests of hot-loops.c: random loops through pages of their own, and an interrupt whose handler does something to them. */
#pragma once

#include "core/vm.h"
#include "tcg/tcg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* Where an interrupt came: its instruction, and the turn. */
struct boundary {
    uint64_t pc, count, outer;
};

struct hot_guest {
    const struct hot_kind *kind;
    struct vm *vm;
    struct vcpu *cpu;
    struct tcg_cpu *t;
    uint8_t *ram;              /* hot_kind.ram_at .. RAM_SIZE */
    uint64_t n_device, device; /* accesses to a device, and a hash of what was written in which order */
    struct mem_region *other;  /* RAM that a device shows at times in place of the loop's pages */
    bool other_shown;
};
enum { HOT_RAM_SIZE = 1 << 20, N_HANDLERS = 6 };

struct hot_kind {
    const char *name;
    uint64_t ram_at, code_at; /* code_at: in a page that has nothing else in it */
    struct hot_guest *(*start)(const char *options);
    /* To where the loop of that seed begins. */
    void (*prepare)(struct hot_guest *g, uint64_t seed, unsigned handler);
    void (*interrupt)(struct hot_guest *g); /* in a signal handler, too */
    /* Where it came. False: it did not. */
    bool (*came)(const struct hot_guest *g, struct boundary *b);
    struct boundary (*now)(const struct hot_guest *g);
    bool (*has_ended)(const struct hot_guest *g);
    uint64_t (*end)(const struct hot_guest *g); /* a hash of all that the guest is and has seen */
    void (*print_difference)(const struct hot_guest *is, const struct hot_guest *should);
};
extern const struct hot_kind hot_riscv, hot_x86;
/* A page that hot_riscv's loops of seeds 0 and 1 write, and where the latter writes in its 100th turn. */
extern const uint64_t hot_riscv_written, hot_riscv_soon;
/* What the handlers do. */
enum { RETURNS, WRITES, MOVES, TAKES_WRITES, UNMAPS, CHANGES_CODE };

/* For guests: write what is not there yet. */
void hot_put(struct hot_guest *g, uint64_t at, const void *bytes, size_t n);
void hot_print_memory(const struct hot_guest *is, const struct hot_guest *should);
