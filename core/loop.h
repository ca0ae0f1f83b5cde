/* An event loop: epoll, an eventfd for work posted from other threads, a deadline. The VM has a
 * main loop; each I/O thread has one of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct error;

struct error *loop_new(struct loop **out);
void loop_free(struct loop *loop);

/* Watch fd for EPOLLIN/EPOLLOUT bits in `events`; the callback runs on the loop's thread with the
 * bits that are ready. One watch per fd. Adding and changing is allowed from any thread. */
typedef void loop_fd_fn(void *opaque, uint32_t ready);
void loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *opaque);
/* From the loop's thread: the callback does not run again. From another: it may run once more
 * unless the caller waits with loop_sync. */
void loop_unwatch(struct loop *loop, int fd);

/* Run fn(opaque) on the loop's thread, soon. Any thread. */
void loop_post(struct loop *loop, void (*fn)(void *opaque), void *opaque);
/* Run fn(opaque) on the loop's thread and wait for it; at once if this is that thread. A vCPU's
 * thread never calls the main loop like this: the main loop waits for vCPUs. */
void loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque);
/* Everything posted before has run when this returns. */
void loop_sync(struct loop *loop);

/* Called before each wait; returns the nanoseconds to sleep at most (UINT64_MAX: for ever). Used by
 * libraries with their own timers. Loop's thread only. */
typedef uint64_t loop_prepare_fn(void *opaque);
void loop_add_prepare(struct loop *loop, loop_prepare_fn *fn, void *opaque);
void loop_remove_prepare(struct loop *loop, loop_prepare_fn *fn, void *opaque);

/* Called on the loop's thread before it goes to wait (true) and when it comes back (false). One per
 * loop; core/memory.c uses it to know when no callback looks at guest memory. */
typedef void loop_idle_fn(void *opaque, bool idle);
void loop_set_idle(struct loop *loop, loop_idle_fn *fn, void *opaque);
/* For how long the loop looks for work before it goes to sleep, 0 (at first) to LOOP_MAX_POLL_NS: it costs a processor
 * and saves the switch to another thread and back. Any thread. */
#define LOOP_MAX_POLL_NS UINT64_C(1000000000)
void loop_set_poll_ns(struct loop *loop, uint64_t ns);
uint64_t loop_poll_ns(const struct loop *loop);
/* Is the caller the thread that runs this loop? Before any ran it: the one that made it. */
bool loop_is_mine(const struct loop *loop);
/* Is loop_run under way? Others wait for it then, and its callbacks for nobody. */
bool loop_is_running(const struct loop *loop);
/* Number of descriptors being watched. */
unsigned loop_n_watches(const struct loop *loop);

/* Run until loop_quit. One round (tests): wait at most timeout_ms for something and handle it. */
void loop_run(struct loop *loop);
void loop_once(struct loop *loop, int timeout_ms);
void loop_quit(struct loop *loop);

/* A thread with a loop of its own ("iothread"). */
struct error *loop_start_thread(struct loop *loop, const char *name);
void loop_stop_thread(struct loop *loop);
int loop_tid(struct loop *loop); /* of that thread, as the host's kernel numbers it */
