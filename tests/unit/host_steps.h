/* Generated code looked at from inside, on x86-64 hosts: each of its instructions before it is executed, or one of them, by
 * SIGTRAP. The C code that it calls runs at full speed. One thread, one translator at a time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct tcg;

/* Calls run(opaque), and step(opaque, where) before each instruction in the code cache, from whose start `where` counts.
 * step is called in a signal handler; once it says false, the rest runs unseen. */
void host_steps(struct tcg *tcg, void (*run)(void *opaque), bool (*step)(void *opaque, uint32_t where),
                void *opaque);
/* Calls run(opaque), and hit(opaque), in a signal handler, before the instruction at `where` is executed for the nth time.
 * False: it was not executed so often. */
bool host_break(struct tcg *tcg, uint32_t where, unsigned nth, void (*run)(void *opaque),
                void (*hit)(void *opaque), void *opaque);
