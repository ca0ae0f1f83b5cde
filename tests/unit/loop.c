/* The event loop and the timers that live in it. */
#include "core/loop.h"

#include "board.h"
#include "core/clock.h"
#include "core/error.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

static struct loop *new_loop(void)
{
    struct loop *loop;
    assert_null(loop_new(&loop));
    return loop;
}

static void count_up(void *opaque)
{
    ++*(_Atomic unsigned *)opaque;
}

struct pipe_end {
    struct loop *loop;
    int fd;
    _Atomic unsigned calls;
    uint32_t ready;
    struct pipe_end *other; /* unwatched by the callback */
};

static void on_pipe(void *opaque, uint32_t ready)
{
    struct pipe_end *p = opaque;
    p->calls++;
    p->ready = ready;
    if (p->other)
        loop_unwatch(p->loop, p->other->fd);
}

static void a_ready_descriptor_calls_its_watch(void **unused)
{
    struct loop *loop = new_loop();
    struct pipe_end p = { .loop = loop, .fd = eventfd(0, EFD_NONBLOCK) };
    loop_watch(loop, p.fd, EPOLLIN, on_pipe, &p);
    loop_once(loop, 0);
    assert_int_equal(p.calls, 0);
    uint64_t one = 1;
    assert_int_equal(write(p.fd, &one, 8), 8);
    loop_once(loop, 0);
    assert_int_equal(p.calls, 1);
    assert_int_equal(p.ready, EPOLLIN);
    loop_watch(loop, p.fd, 0, on_pipe, &p); /* watches for nothing */
    loop_once(loop, 0);
    assert_int_equal(p.calls, 1);
    loop_watch(loop, p.fd, EPOLLIN | EPOLLOUT, on_pipe, &p);
    loop_once(loop, 0);
    assert_int_equal(p.ready, EPOLLIN | EPOLLOUT);
    loop_unwatch(loop, p.fd);
    loop_once(loop, 0);
    assert_int_equal(p.calls, 2);
    assert_int_equal(loop_n_watches(loop), 0);
    close(p.fd);
    loop_free(loop);
}

static void an_unwatched_descriptor_is_silent_even_within_a_round(void **unused)
{
    struct loop *loop = new_loop();
    struct pipe_end p = { .loop = loop, .fd = eventfd(1, EFD_NONBLOCK) };
    struct pipe_end q = { .loop = loop, .fd = eventfd(1, EFD_NONBLOCK), .other = &p };
    p.other = &q;
    loop_watch(loop, p.fd, EPOLLIN, on_pipe, &p);
    loop_watch(loop, q.fd, EPOLLIN, on_pipe, &q);
    loop_once(loop, 0); /* both are ready; whichever comes first silences the other */
    assert_int_equal(p.calls + q.calls, 1);
    close(p.fd);
    close(q.fd);
    loop_free(loop);
}

static void a_regular_file_is_always_ready(void **unused)
{
    struct loop *loop = new_loop();
    char path[] = "/tmp/loop-test-XXXXXX";
    struct pipe_end p = { .loop = loop, .fd = mkstemp(path) };
    unlink(path);
    loop_watch(loop, p.fd, EPOLLIN, on_pipe, &p);
    loop_once(loop, -1);
    loop_once(loop, -1);
    assert_int_equal(p.calls, 2);
    loop_unwatch(loop, p.fd);
    loop_once(loop, 0);
    assert_int_equal(p.calls, 2);
    close(p.fd);
    loop_free(loop);
}

static void posted_work_runs_in_order(void **unused)
{
    struct loop *loop = new_loop();
    _Atomic unsigned n = 0;
    loop_post(loop, count_up, (void *)&n);
    loop_post(loop, count_up, (void *)&n);
    assert_int_equal(n, 0);
    loop_once(loop, -1);
    assert_int_equal(n, 2);
    loop_call(loop, count_up, (void *)&n); /* this is the loop's thread: at once */
    assert_int_equal(n, 3);
    loop_post(loop, count_up, (void *)&n);
    loop_sync(loop);
    assert_int_equal(n, 4);
    loop_free(loop);
}

static void a_loop_in_a_thread_does_what_is_called(void **unused)
{
    struct loop *loop = new_loop();
    _Atomic unsigned n = 0;
    assert_null(loop_start_thread(loop, "test"));
    assert_false(loop_is_mine(loop));
    for (unsigned i = 1; i <= 1000; i++) {
        loop_call(loop, count_up, (void *)&n);
        assert_int_equal(n, i);
    }
    for (unsigned i = 0; i < 1000; i++)
        loop_post(loop, count_up, (void *)&n);
    loop_sync(loop);
    assert_int_equal(n, 2000);
    loop_stop_thread(loop);
    assert_true(loop_is_mine(loop));
    loop_free(loop);
}

static void *post_many(void *opaque)
{
    struct pipe_end *p = opaque;
    for (unsigned i = 0; i < 2000; i++)
        loop_post(p->loop, count_up, (void *)&p->calls);
    loop_sync(p->loop);
    return NULL;
}

static void many_threads_may_post(void **unused)
{
    struct loop *loop = new_loop();
    struct pipe_end p = { .loop = loop };
    pthread_t threads[4];
    assert_null(loop_start_thread(loop, "test"));
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &p), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    loop_free(loop);
    assert_int_equal(p.calls, 8000);
}

static void a_loop_that_polls_does_all_the_same(void **unused)
{
    struct loop *loop;
    int n = 0;
    assert_null(loop_new(&loop));
    loop_set_poll_ns(loop, 2000000);
    assert_int_equal(loop_poll_ns(loop), 2000000);
    uint64_t before = host_now_ns();
    loop_once(loop, 1); /* nothing comes: it looks for 2 ms, then sleeps for 1 */
    assert_true(host_now_ns() - before >= 2000000);
    loop_post(loop, count_up, &n);
    loop_once(loop, -1);
    assert_int_equal(n, 1);
    before = host_now_ns();
    loop_once(loop, 0); /* a look is a look */
    assert_true(host_now_ns() - before < 1000000000);
    loop_free(loop);
}

static void a_quit_before_the_run_is_not_lost(void **unused)
{
    struct loop *loop = new_loop();
    loop_quit(loop);
    loop_run(loop);
    loop_free(loop);
}

static uint64_t sleep_a_millisecond(void *opaque)
{
    ++*(unsigned *)opaque;
    return 1000000;
}

static void prepare_bounds_the_sleep(void **unused)
{
    struct loop *loop = new_loop();
    unsigned n = 0;
    loop_add_prepare(loop, sleep_a_millisecond, &n);
    uint64_t from = host_now_ns();
    loop_once(loop, -1);
    assert_true(host_now_ns() - from >= 1000000);
    assert_int_equal(n, 1);
    loop_remove_prepare(loop, sleep_a_millisecond, &n);
    loop_once(loop, 0);
    assert_int_equal(n, 1);
    loop_free(loop);
}

/* ---- timers --------------------------------------------------------------------------------- */

struct ringer {
    struct board *b;
    struct timer *t;
    unsigned n;
    uint64_t period_ns, order[8];
    unsigned *n_order;
};

static void ring(void *opaque)
{
    struct ringer *r = opaque;
    r->n++;
    if (r->period_ns)
        timer_set(r->t, vm_now_ns(r->b->vm) + r->period_ns);
}

static struct ringer ringer_on(struct board *b)
{
    return (struct ringer){ .b = b };
}

static void a_timer_fires_once_when_it_is_due(void **unused)
{
    struct board *b = board_new();
    struct ringer r = ringer_on(b);
    r.t = timer_new(b->vm, ring, &r);
    timer_set(r.t, 1000);
    assert_int_equal(timers_pending(b->vm), 1);
    board_advance_ns(b, 999);
    assert_int_equal(r.n, 0);
    board_advance_ns(b, 1);
    assert_int_equal(r.n, 1);
    board_advance_ns(b, 5000);
    assert_int_equal(r.n, 1);
    timer_set(r.t, 0); /* the past: as soon as the loop runs */
    board_step(b);
    assert_int_equal(r.n, 2);
    timer_set(r.t, vm_now_ns(b->vm) + 10);
    timer_cancel(r.t);
    board_advance_ns(b, 20);
    assert_int_equal(r.n, 2);
    assert_int_equal(timers_pending(b->vm), 0);
    timer_free(r.t);
    timer_free(NULL);
    board_free(b);
}

static unsigned next_in_order;

static void note_order(void *opaque)
{
    struct ringer *r = opaque;
    r->order[0] = next_in_order++;
}

static void timers_fire_in_order_of_deadlines(void **unused)
{
    enum { N = 100 };
    struct board *b = board_new();
    struct ringer r[N] = { 0 };
    next_in_order = 0;
    for (unsigned i = 0; i < N; i++) {
        r[i].t = timer_new(b->vm, note_order, &r[i]);
        timer_set(r[i].t, 1 + (i * 37) % N);
    }
    for (unsigned i = 0; i < N; i += 3)
        timer_cancel(r[i].t);
    for (unsigned i = 0; i < N; i += 3)
        timer_set(r[i].t, 1 + (i * 37) % N);
    board_advance_ns(b, N + 1);
    assert_int_equal(next_in_order, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(r[i].order[0], (i * 37) % N);
        timer_free(r[i].t);
    }
    board_free(b);
}

static void a_periodic_timer_does_not_starve_the_loop(void **unused)
{
    struct board *b = board_new();
    struct ringer r = ringer_on(b);
    _Atomic unsigned posted = 0;
    r.t = timer_new(b->vm, ring, &r);
    r.period_ns = 1;
    timer_set(r.t, 1);
    clock_start(b->vm); /* time goes on: it is due again whenever it has fired */
    loop_post(b->vm->loop, count_up, (void *)&posted);
    board_step(b);
    assert_int_equal(posted, 1);
    assert_in_range(r.n, 1, 4);
    clock_stop(b->vm);
    timer_free(r.t);
    board_free(b);
}

static void guest_time_stands_still_while_stopped(void **unused)
{
    struct board *b = board_new();
    clock_set(b->vm, 500);
    clock_start(b->vm);
    uint64_t from = vm_now_ns(b->vm);
    assert_true(from >= 500);
    usleep(2000);
    assert_true(vm_now_ns(b->vm) >= from + 2000000);
    clock_stop(b->vm);
    uint64_t stopped = vm_now_ns(b->vm);
    usleep(2000);
    assert_int_equal(vm_now_ns(b->vm), stopped);
    board_free(b);
}

static void *set_from_elsewhere(void *opaque)
{
    struct ringer *r = opaque;
    usleep(1000);
    timer_set(r->t, vm_now_ns(r->b->vm) + 1000000);
    return NULL;
}

static void quit_loop(void *opaque)
{
    struct ringer *r = opaque;
    r->n++;
    loop_quit(r->b->vm->loop);
}

static void a_timer_set_by_another_thread_wakes_the_loop(void **unused)
{
    struct board *b = board_new();
    struct ringer r = ringer_on(b);
    pthread_t thread;
    r.t = timer_new(b->vm, quit_loop, &r);
    clock_start(b->vm);
    timer_set(r.t, vm_now_ns(b->vm) + 3600 * NS_PER_S);
    assert_int_equal(pthread_create(&thread, NULL, set_from_elsewhere, &r), 0);
    loop_run(b->vm->loop);
    pthread_join(thread, NULL);
    assert_int_equal(r.n, 1);
    clock_stop(b->vm);
    timer_free(r.t);
    board_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ready_descriptor_calls_its_watch),
        cmocka_unit_test(an_unwatched_descriptor_is_silent_even_within_a_round),
        cmocka_unit_test(a_regular_file_is_always_ready),
        cmocka_unit_test(posted_work_runs_in_order),
        cmocka_unit_test(a_loop_in_a_thread_does_what_is_called),
        cmocka_unit_test(many_threads_may_post),
        cmocka_unit_test(a_loop_that_polls_does_all_the_same),
        cmocka_unit_test(a_quit_before_the_run_is_not_lost),
        cmocka_unit_test(prepare_bounds_the_sleep),
        cmocka_unit_test(a_timer_fires_once_when_it_is_due),
        cmocka_unit_test(timers_fire_in_order_of_deadlines),
        cmocka_unit_test(a_periodic_timer_does_not_starve_the_loop),
        cmocka_unit_test(guest_time_stands_still_while_stopped),
        cmocka_unit_test(a_timer_set_by_another_thread_wakes_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
