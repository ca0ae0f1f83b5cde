/* Clocks and timers. The guest clock counts nanoseconds while the VM runs and stands still while it
 * is stopped; the host clock is CLOCK_MONOTONIC. Timer callbacks run on the thread of the loop that
 * owns them (the main loop for devices), never under a device lock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vm;
struct timer;

#define NS_PER_S 1000000000ull

uint64_t host_now_ns(void);
/* Guest time; any thread. */
uint64_t vm_now_ns(const struct vm *vm);

/* A timer on the guest clock. Callback on the main loop's thread. */
struct timer *timer_new(struct vm *vm, void (*fire)(void *opaque), void *opaque);
/* Any thread; replaces an earlier deadline. One in the past fires as soon as the loop runs. */
void timer_set(struct timer *t, uint64_t deadline_ns);
void timer_cancel(struct timer *t);
/* After this the callback does not run any more (not from inside a callback). NULL is allowed. */
void timer_free(struct timer *t);

/* For core/vm.c, snapshots and tests: let the guest clock run, freeze it, set it. Setting a frozen
 * clock fires what became due in the main loop's next round. Main loop's thread. */
void clock_start(struct vm *vm);
void clock_stop(struct vm *vm);
void clock_set(struct vm *vm, uint64_t now_ns);

struct timers *timers_new(struct vm *vm);
void timers_free(struct timers *ts);
/* How many timers are set. Any thread. */
unsigned timers_pending(const struct vm *vm);
