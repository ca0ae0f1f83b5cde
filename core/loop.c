/* Event loop: epoll for descriptors, an eventfd for posted work, a timerfd for the next deadline. */
#include "core/loop.h"

#include "core/clock.h"
#include "core/error.h"
#include "core/util.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* One watched descriptor; loop->watches is indexed by descriptor number. */
struct watch {
    loop_fd_fn *fn; /* NULL: not watched */
    void *opaque;
    uint32_t events;
    uint32_t generation; /* an event of an earlier watch of the same number is stale */
    bool in_epoll;
    bool always; /* epoll refuses regular files: they are ready at all times */
};

struct post {
    void (*fn)(void *opaque);
    void *opaque;
};

struct prepare {
    loop_prepare_fn *fn; /* NULL: removed */
    void *opaque;
};

struct loop {
    int epoll_fd, event_fd, timer_fd;
    uint64_t timer_at_ns; /* what timer_fd is set to (host clock); 0: disarmed */
    _Atomic bool quit;
    _Atomic(pthread_t) owner; /* the thread that runs it */
    _Atomic bool running;     /* loop_run */
    _Atomic uint64_t poll_ns;
    bool has_thread;
    char thread_name[16];
    int tid; /* under lock */

    pthread_mutex_t lock; /* guards the watches, the posts and n_done */
    pthread_cond_t done_changed;
    struct watch *watches;
    int n_watches;
    _Atomic unsigned n_always, n_active;
    uint32_t generation;
    struct post *posts;
    size_t n_posts, room_posts;
    uint64_t n_posted, n_done; /* since the beginning; for loop_call and loop_sync */

    /* Loop's thread only. */
    struct prepare *prepares;
    size_t n_prepares;
    loop_idle_fn *idle;
    void *idle_opaque;
};

static void add_internal(struct loop *loop, int fd)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = (uint32_t)fd };
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

struct error *loop_new(struct loop **out)
{
    struct loop *loop = xcalloc(1, sizeof(*loop));
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    loop->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->done_changed, NULL);
    loop->owner = pthread_self();
    if (loop->epoll_fd < 0 || loop->event_fd < 0 || loop->timer_fd < 0) {
        struct error *err = error_errno("cannot create an event loop");
        loop_free(loop);
        return err;
    }
    add_internal(loop, loop->event_fd);
    add_internal(loop, loop->timer_fd);
    *out = loop;
    return NULL;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    loop_stop_thread(loop);
    close_if_open(loop->epoll_fd);
    close_if_open(loop->event_fd);
    close_if_open(loop->timer_fd);
    pthread_mutex_destroy(&loop->lock);
    pthread_cond_destroy(&loop->done_changed);
    free(loop->watches);
    free(loop->posts);
    free(loop->prepares);
    free(loop);
}

bool loop_is_mine(const struct loop *loop)
{
    return pthread_equal(loop->owner, pthread_self());
}

static void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    if (write(loop->event_fd, &one, sizeof(one)) < 0)
        return; /* the counter is full: the loop wakes anyway */
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static struct watch *watch_at(struct loop *loop, int fd)
{
    if (fd >= loop->n_watches) {
        int n = MAX(fd + 1, loop->n_watches * 2);
        loop->watches = xrealloc(loop->watches, (size_t)n * sizeof(*loop->watches));
        memset(loop->watches + loop->n_watches, 0,
               (size_t)(n - loop->n_watches) * sizeof(*loop->watches));
        loop->n_watches = n;
    }
    return &loop->watches[fd];
}

/* Bring epoll in line with what the watch asks for. Watching for nothing leaves epoll altogether,
 * as it would report hang-ups for ever. */
static void watch_apply(struct loop *loop, int fd, struct watch *w)
{
    struct epoll_event ev = { .events = w->events,
                              .data.u64 = (uint64_t)w->generation << 32 | (uint32_t)fd };
    bool was_always = w->always;
    w->always = false;
    if (!w->events) {
        if (w->in_epoll)
            epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, &ev);
        w->in_epoll = false;
    } else if (w->in_epoll) {
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &ev);
    } else if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0) {
        w->in_epoll = true;
    } else if (errno == EPERM) {
        w->always = true;
    }
    loop->n_always += (unsigned)w->always - (unsigned)was_always;
}

void loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn *fn, void *opaque)
{
    assert(fd >= 0 && fn);
    pthread_mutex_lock(&loop->lock);
    struct watch *w = watch_at(loop, fd);
    if (!w->fn) {
        w->generation = ++loop->generation;
        loop->n_active++;
    }
    w->fn = fn;
    w->opaque = opaque;
    w->events = events;
    watch_apply(loop, fd, w);
    bool wake = w->always;
    pthread_mutex_unlock(&loop->lock);
    if (wake && !loop_is_mine(loop))
        loop_wake(loop);
}

void loop_unwatch(struct loop *loop, int fd)
{
    pthread_mutex_lock(&loop->lock);
    if (fd >= 0 && fd < loop->n_watches && loop->watches[fd].fn) {
        struct watch *w = &loop->watches[fd];
        w->events = 0;
        watch_apply(loop, fd, w);
        w->fn = NULL;
        loop->n_active--;
    }
    pthread_mutex_unlock(&loop->lock);
}

bool loop_is_running(const struct loop *loop)
{
    return loop->running;
}

unsigned loop_n_watches(const struct loop *loop)
{
    return loop->n_active;
}

static void watch_fire(struct loop *loop, int fd, uint32_t generation, uint32_t ready)
{
    pthread_mutex_lock(&loop->lock);
    struct watch w = { 0 };
    if (fd < loop->n_watches && loop->watches[fd].generation == generation)
        w = loop->watches[fd];
    pthread_mutex_unlock(&loop->lock);
    if (w.fn && w.events)
        w.fn(w.opaque, ready);
}

static void fire_always_ready(struct loop *loop)
{
    for (int fd = 0; loop->n_always; fd++) {
        pthread_mutex_lock(&loop->lock);
        bool end = fd >= loop->n_watches;
        struct watch w = end ? (struct watch){ 0 } : loop->watches[fd];
        pthread_mutex_unlock(&loop->lock);
        if (end)
            break;
        if (w.fn && w.always)
            watch_fire(loop, fd, w.generation, w.events);
    }
}

/* ---- work from other threads ---------------------------------------------------------------- */

static uint64_t post(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&loop->lock);
    bool first = loop->n_posts == 0;
    if (loop->n_posts == loop->room_posts) {
        loop->room_posts = loop->room_posts * 2 + 16;
        loop->posts = xrealloc(loop->posts, loop->room_posts * sizeof(*loop->posts));
    }
    loop->posts[loop->n_posts++] = (struct post){ fn, opaque };
    uint64_t ticket = ++loop->n_posted;
    pthread_mutex_unlock(&loop->lock);
    if (first)
        loop_wake(loop);
    return ticket;
}

void loop_post(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
    post(loop, fn, opaque);
}

static void run_posts(struct loop *loop)
{
    struct post *posts = NULL;
    pthread_mutex_lock(&loop->lock);
    size_t n = loop->n_posts;
    if (n) {
        posts = loop->posts;
        loop->posts = NULL;
        loop->n_posts = loop->room_posts = 0;
    }
    pthread_mutex_unlock(&loop->lock);
    if (!n)
        return;
    for (size_t i = 0; i < n; i++)
        posts[i].fn(posts[i].opaque);
    pthread_mutex_lock(&loop->lock);
    loop->n_done += n;
    pthread_cond_broadcast(&loop->done_changed);
    if (!loop->posts) { /* keep the array for the next time */
        loop->posts = posts;
        loop->room_posts = n;
        posts = NULL;
    }
    pthread_mutex_unlock(&loop->lock);
    free(posts);
}

static void wait_done(struct loop *loop, uint64_t ticket)
{
    pthread_mutex_lock(&loop->lock);
    while (loop->n_done < ticket)
        pthread_cond_wait(&loop->done_changed, &loop->lock);
    pthread_mutex_unlock(&loop->lock);
}

void loop_call(struct loop *loop, void (*fn)(void *opaque), void *opaque)
{
    if (loop_is_mine(loop))
        fn(opaque);
    else
        wait_done(loop, post(loop, fn, opaque));
}

static void nothing(void *unused)
{
}

void loop_sync(struct loop *loop)
{
    if (loop_is_mine(loop))
        run_posts(loop);
    else
        wait_done(loop, post(loop, nothing, NULL));
}

/* ---- running -------------------------------------------------------------------------------- */

void loop_add_prepare(struct loop *loop, loop_prepare_fn *fn, void *opaque)
{
    loop->prepares = xrealloc(loop->prepares, (loop->n_prepares + 1) * sizeof(*loop->prepares));
    loop->prepares[loop->n_prepares++] = (struct prepare){ fn, opaque };
}

void loop_remove_prepare(struct loop *loop, loop_prepare_fn *fn, void *opaque)
{
    for (size_t i = 0; i < loop->n_prepares; i++)
        if (loop->prepares[i].fn == fn && loop->prepares[i].opaque == opaque)
            loop->prepares[i].fn = NULL; /* its place is taken back by ask_prepares */
}

void loop_set_idle(struct loop *loop, loop_idle_fn *fn, void *opaque)
{
    loop->idle = fn;
    loop->idle_opaque = opaque;
}

static uint64_t ask_prepares(struct loop *loop)
{
    uint64_t sleep_ns = UINT64_MAX;
    size_t kept = 0;
    for (size_t i = 0; i < loop->n_prepares; i++) {
        struct prepare p = loop->prepares[i];
        uint64_t most_ns = p.fn ? p.fn(p.opaque) : UINT64_MAX;
        sleep_ns = MIN(sleep_ns, most_ns);
    }
    for (size_t i = 0; i < loop->n_prepares; i++)
        if (loop->prepares[i].fn)
            loop->prepares[kept++] = loop->prepares[i];
    loop->n_prepares = kept;
    return sleep_ns;
}

/* Set the timerfd for a sleep of at most sleep_ns. One that is already set earlier stays: waking
 * once too often is cheaper than a system call per round. */
static void arm_timer(struct loop *loop, uint64_t sleep_ns)
{
    if (sleep_ns > NS_PER_S * 3600 * 24 * 365)
        return;
    uint64_t now = host_now_ns(), at = now + sleep_ns;
    if (loop->timer_at_ns > now && loop->timer_at_ns <= at)
        return;
    struct itimerspec spec = { .it_value = { (time_t)(at / NS_PER_S), (long)(at % NS_PER_S) } };
    timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    loop->timer_at_ns = at;
}

static void drain(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof(count)) < 0)
        return;
}

void loop_set_poll_ns(struct loop *loop, uint64_t ns)
{
    loop->poll_ns = ns;
}

uint64_t loop_poll_ns(const struct loop *loop)
{
    return loop->poll_ns;
}

/* As epoll_wait. */
static int wait_ready(const struct loop *loop, struct epoll_event *ready, int most, int timeout_ms)
{
    uint64_t poll_ns = timeout_ms ? loop->poll_ns : 0, start = poll_ns ? host_now_ns() : 0;
    int n = 0;
    while (!n && poll_ns && host_now_ns() - start < poll_ns)
        n = epoll_wait(loop->epoll_fd, ready, most, 0);
    return n ? n : epoll_wait(loop->epoll_fd, ready, most, timeout_ms);
}

void loop_once(struct loop *loop, int timeout_ms)
{
    enum { BATCH = 32 };
    struct epoll_event ready[BATCH];
    uint64_t sleep_ns = ask_prepares(loop);
    if (sleep_ns == 0 || loop->n_always)
        timeout_ms = 0;
    else if (timeout_ms)
        arm_timer(loop, sleep_ns);
    if (loop->idle)
        loop->idle(loop->idle_opaque, true);
    int n = wait_ready(loop, ready, BATCH, timeout_ms);
    if (loop->idle)
        loop->idle(loop->idle_opaque, false);
    for (int i = 0; i < n; i++) {
        int fd = (int)(uint32_t)ready[i].data.u64;
        if (fd == loop->event_fd) {
            drain(fd);
        } else if (fd == loop->timer_fd) {
            drain(fd);
            loop->timer_at_ns = 0;
        } else {
            watch_fire(loop, fd, (uint32_t)(ready[i].data.u64 >> 32), ready[i].events);
        }
    }
    fire_always_ready(loop);
    run_posts(loop);
}

void loop_run(struct loop *loop)
{
    loop->owner = pthread_self();
    loop->running = true;
    while (!atomic_exchange(&loop->quit, false))
        loop_once(loop, -1);
    loop->running = false;
    if (loop->idle)
        loop->idle(loop->idle_opaque, true);
}

void loop_quit(struct loop *loop)
{
    loop->quit = true;
    loop_wake(loop);
}

static void *thread_main(void *opaque)
{
    struct loop *loop = opaque;
    pthread_setname_np(pthread_self(), loop->thread_name);
    pthread_mutex_lock(&loop->lock);
    loop->tid = gettid();
    pthread_cond_broadcast(&loop->done_changed);
    pthread_mutex_unlock(&loop->lock);
    loop_run(loop);
    return NULL;
}

int loop_tid(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    while (loop->has_thread && !loop->tid)
        pthread_cond_wait(&loop->done_changed, &loop->lock);
    int tid = loop->tid;
    pthread_mutex_unlock(&loop->lock);
    return tid;
}

struct error *loop_start_thread(struct loop *loop, const char *name)
{
    sigset_t all, before;
    pthread_t thread;
    snprintf(loop->thread_name, sizeof(loop->thread_name), "%s", name);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&thread, NULL, thread_main, loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (errno)
        return error_errno("cannot start the thread '%s'", name);
    loop->owner = thread;
    loop->has_thread = true;
    return NULL;
}

void loop_stop_thread(struct loop *loop)
{
    if (!loop->has_thread)
        return;
    loop_quit(loop);
    pthread_join(loop->owner, NULL);
    loop->has_thread = false;
    loop->owner = pthread_self();
    run_posts(loop);
}
