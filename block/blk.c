/* Requests: a queue, a few worker threads that make the blocking calls, completions on a loop. */
#include "block/blk.h"

#include "block/block.h"
#include "block/overlay.h"
#include "core/backends.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_WORKERS  8
#define WORKER_STACK (256 * KIB)

/* Requests in order of arrival. */
struct request_list {
    struct blk_request *first, **end;
};

struct blk {
    struct vm *vm;
    struct loop *loop; /* completions */
    int done_fd;       /* eventfd on it */
    struct file file;
    struct overlay *overlay; /* snapshot=on, or NULL */
    uint64_t size;
    char *serial, *filename, *driver, *name; /* name: what it is registered as, or NULL */
    bool is_node, no_cache;
    struct blk *below; /* the node that this one's file was taken from */
    void (*resized)(void *opaque);
    void *resized_opaque;
    bool readonly, no_flush, writethrough, discard;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work, finished;
    struct request_list queue, done;
    unsigned n_workers, n_idle, n_under_way; /* submitted and done() not yet returned */
    bool stopping;
    pthread_t workers[MAX_WORKERS];

    _Atomic uint64_t ops[N_BLK_OPS], bytes[N_BLK_OPS], ns[N_BLK_OPS], errors, at_once;
};

static void list_init(struct request_list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static void list_add(struct request_list *l, struct blk_request *req)
{
    req->next = NULL;
    *l->end = req;
    l->end = &req->next;
}

static struct blk_request *list_take(struct request_list *l)
{
    struct blk_request *req = l->first;
    if (req && !(l->first = req->next))
        l->end = &l->first;
    return req;
}

/* ---- one request, on a worker ------------------------------------------------------------------ */
static int run_zero(struct blk *b, const struct blk_request *req, bool fua)
{
    if (b->overlay)
        return overlay_zero(b->overlay, req->offset, req->length);
    int r = file_zero(&b->file, req->offset, req->length, req->may_unmap && b->discard);
    return r || !fua ? r : file_flush(&b->file);
}

static int run_discard(struct blk *b, const struct blk_request *req)
{
    if (!b->discard)
        return 0;
    return b->overlay ? overlay_zero(b->overlay, req->offset, req->length)
                      : file_discard(&b->file, req->offset, req->length);
}

static int run_request(struct blk *b, const struct blk_request *req)
{
    struct span data = { req->iov, req->n_iov, 0 };
    bool fua = (req->fua || b->writethrough) && !b->no_flush;
    switch (req->op) {
    case BLK_READ:
        return b->overlay ? overlay_read(b->overlay, &b->file, req->offset, data, req->length)
                          : file_read(&b->file, req->offset, data, req->length);
    case BLK_WRITE:
        return b->overlay ? overlay_write(b->overlay, req->offset, data, req->length)
                          : file_write(&b->file, req->offset, data, req->length, fua);
    case BLK_FLUSH: return b->overlay || b->no_flush ? 0 : file_flush(&b->file);
    case BLK_DISCARD: return run_discard(b, req);
    case BLK_WRITE_ZEROES: return run_zero(b, req, fua);
    default: return -EINVAL;
    }
}

/* 0, or what is wrong with it. */
static int check_request(const struct blk *b, const struct blk_request *req)
{
    if ((unsigned)req->op >= N_BLK_OPS)
        return -EINVAL;
    if (req->op == BLK_FLUSH)
        return 0;
    if ((req->offset | req->length) % BLK_SECTOR || req->offset > b->size ||
        req->length > b->size - req->offset)
        return -EINVAL;
    return b->readonly && req->op != BLK_READ ? -EROFS : 0;
}

static void count(struct blk *b, const struct blk_request *req, int result)
{
    atomic_fetch_add_explicit(&b->errors, result != 0, memory_order_relaxed);
    if ((unsigned)req->op >= N_BLK_OPS || result)
        return;
    atomic_fetch_add_explicit(&b->ops[req->op], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&b->ns[req->op], host_now_ns() - req->started_ns,
                              memory_order_relaxed);
    if (req->op != BLK_FLUSH)
        atomic_fetch_add_explicit(&b->bytes[req->op], req->length, memory_order_relaxed);
}

/* ---- workers ------------------------------------------------------------------------------------ */
/* Lock held. One write to the eventfd for however many finish before the loop looks. */
static void finish(struct blk *b, struct blk_request *req)
{
    bool first = !b->done.first;
    count(b, req, req->result);
    list_add(&b->done, req);
    pthread_cond_signal(&b->finished);
    if (first)
        eventfd_write(b->done_fd, 1);
}

/* The host could not do it; requests that make no sense do not come here. */
static void tell_error(const struct blk *b, const struct blk_request *req)
{
    event_tell(b->vm, EVENT_BLOCK_IO_ERROR, EVENT_TEXT("qom-path", ""),
               EVENT_TEXT("device", b->is_node || !b->name ? "" : b->name),
               EVENT_TEXT("node-name", b->name),
               EVENT_TEXT("operation", req->op == BLK_READ ? "read" : "write"),
               EVENT_TEXT("action", "report"), EVENT_FLAG("nospace", req->result == -ENOSPC),
               EVENT_TEXT("reason", strerrordesc_np(-req->result)));
}

static void *worker(void *opaque)
{
    struct blk *b = opaque;
    pthread_setname_np(pthread_self(), "disk");
    pthread_mutex_lock(&b->lock);
    while (!b->stopping) {
        struct blk_request *req = list_take(&b->queue);
        if (!req) {
            b->n_idle++;
            pthread_cond_wait(&b->work, &b->lock);
            b->n_idle--;
            continue;
        }
        pthread_mutex_unlock(&b->lock);
        req->result = run_request(b, req);
        if (req->result)
            tell_error(b, req);
        pthread_mutex_lock(&b->lock);
        finish(b, req);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

/* Lock held. False if there is not a single worker. */
static bool add_worker(struct blk *b)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, WORKER_STACK);
    sigfillset(&all); /* signals are for other threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (b->n_workers < MAX_WORKERS && !pthread_create(&b->workers[b->n_workers], &attr, worker, b))
        b->n_workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return b->n_workers;
}

void blk_submit(struct blk *b, struct blk_request *req)
{
    req->blk = b;
    req->started_ns = host_now_ns();
    req->result = check_request(b, req);
    pthread_mutex_lock(&b->lock);
    b->n_under_way++;
    if (req->result) {
        finish(b, req);
    } else {
        list_add(&b->queue, req);
        if (b->n_idle) {
            pthread_cond_signal(&b->work);
        } else if (!add_worker(b)) { /* the host gives no thread: do it here */
            req = list_take(&b->queue);
            req->result = run_request(b, req);
            finish(b, req);
        }
    }
    pthread_mutex_unlock(&b->lock);
}

/* ---- at once ------------------------------------------------------------------------------------ */
static int try_request(struct blk *b, const struct blk_request *req)
{
    int r = check_request(b, req);
    if (r)
        return r;
    struct file *f = &b->file;
    bool fua = (req->fua || b->writethrough) && !b->no_flush;
    if (req->op == BLK_FLUSH)
        return b->overlay || b->no_flush ? 0 : -EAGAIN;
    if (!req->length)
        return 0;
    if (b->overlay)
        f = overlay_holder(b->overlay, f, req->offset, req->length);
    if (req->op == BLK_READ)
        return f ? file_try_read(f, req->offset, req->iov, req->n_iov, req->length) : -EAGAIN;
    if (req->op == BLK_WRITE && !fua && f && !(b->overlay && f == &b->file))
        return file_try_write(f, req->offset, req->iov, req->n_iov, req->length);
    return req->op == BLK_DISCARD && !b->discard ? 0 : -EAGAIN;
}

bool blk_try(struct blk *b, struct blk_request *req)
{
    req->started_ns = host_now_ns();
    int r = try_request(b, req);
    if (r == -EAGAIN)
        return false;
    req->result = r;
    count(b, req, r);
    atomic_fetch_add_explicit(&b->at_once, 1, memory_order_relaxed);
    return true;
}

/* ---- completions -------------------------------------------------------------------------------- */
static void run_done(struct blk *b)
{
    pthread_mutex_lock(&b->lock);
    struct blk_request *req = b->done.first;
    list_init(&b->done);
    pthread_mutex_unlock(&b->lock);
    unsigned n = 0;
    for (struct blk_request *next; req; req = next, n++) {
        next = req->next;
        req->done(req, req->result);
    }
    pthread_mutex_lock(&b->lock);
    b->n_under_way -= n;
    pthread_mutex_unlock(&b->lock);
}

static void done_ready(void *opaque, uint32_t ready)
{
    struct blk *b = opaque;
    eventfd_t n;
    eventfd_read(b->done_fd, &n);
    run_done(b);
}

void blk_drain(struct blk *b)
{
    pthread_mutex_lock(&b->lock);
    while (b->n_under_way) {
        while (!b->done.first)
            pthread_cond_wait(&b->finished, &b->lock);
        pthread_mutex_unlock(&b->lock);
        run_done(b);
        pthread_mutex_lock(&b->lock);
    }
    pthread_mutex_unlock(&b->lock);
}

static void stop_watching(void *opaque)
{
    struct blk *b = opaque;
    loop_unwatch(b->loop, b->done_fd);
}

void blk_use_loop(struct blk *b, struct loop *loop)
{
    loop = loop ? loop : b->vm->loop;
    if (loop == b->loop)
        return;
    if (b->loop == b->vm->loop) /* the caller's own: must work when it is not running */
        stop_watching(b);
    else
        loop_call(b->loop, stop_watching, b);
    b->loop = loop;
    loop_watch(loop, b->done_fd, EPOLLIN, done_ready, b);
}

/* ---- opening and closing ------------------------------------------------------------------------- */
static struct error *open_overlay(struct blk *b)
{
    struct overlay *o = xcalloc(1, sizeof(*o));
    struct error *err = overlay_open(o, b->size);
    if (err)
        free(o);
    else
        b->overlay = o;
    return err;
}

/* An object around an open file. */
static struct blk *blk_new(struct vm *vm, const struct file *f)
{
    struct blk *b = xcalloc(1, sizeof(*b));
    b->vm = vm;
    b->file = *f;
    pthread_rwlock_init(&b->file.partial, NULL);
    b->size = align_up(f->size, BLK_SECTOR);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    pthread_cond_init(&b->finished, NULL);
    list_init(&b->queue);
    list_init(&b->done);
    b->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->loop = vm->loop;
    if (b->done_fd >= 0)
        loop_watch(b->loop, b->done_fd, EPOLLIN, done_ready, b);
    return b;
}

static struct error *check_options(const struct blk_options *o)
{
    if (!o->file || !*o->file)
        return error_new("a disk needs file=PATH");
    static const char *const formats[] = { "raw", "host_device" };
    for (size_t i = 0; i < ARRAY_LEN(formats) && o->format; i++)
        if (!strcmp(o->format, formats[i]))
            return NULL;
    return o->format ? error_new("disk format '%s' is not known (accepted: raw; qemu-img convert "
                                 "-O raw makes one)",
                                 o->format)
                     : NULL;
}

struct error *blk_open(struct vm *vm, const struct blk_options *options, struct blk **out)
{
    struct file f;
    struct blk_options copy = *options, *o = &copy;
    o->vm = vm;
    struct error *err = check_options(o);
    if (!err)
        err = error_in(file_open(&f, o), "disk image '%s'", o->file);
    if (err)
        return err;
    struct blk *b = blk_new(vm, &f);
    pthread_rwlock_destroy(&f.partial);
    b->serial = xstrdup(o->serial ? o->serial : "");
    b->filename = xstrdup(o->file);
    b->is_node = o->node_driver;
    b->driver = xstrdup(o->node_driver ? o->node_driver : "raw");
    b->no_cache = o->no_cache;
    b->readonly = o->readonly;
    b->no_flush = o->no_flush;
    b->writethrough = o->writethrough;
    b->discard = o->discard;
    if (b->done_fd < 0)
        err = error_errno("disk image '%s'", o->file);
    else if (o->snapshot && !o->readonly)
        err = error_in(open_overlay(b), "disk image '%s'", o->file);
    if (err)
        blk_close(b);
    else
        *out = b;
    return err;
}

struct blk *blk_take_over(struct blk *from)
{
    blk_drain(from);
    struct blk *b = blk_new(from->vm, &from->file);
    b->overlay = from->overlay;
    b->serial = xstrdup(from->serial);
    b->filename = xstrdup(from->filename);
    b->driver = xstrdup("raw");
    b->is_node = true;
    b->no_cache = from->no_cache;
    b->below = from;
    b->readonly = from->readonly;
    b->no_flush = from->no_flush;
    b->writethrough = from->writethrough;
    b->discard = from->discard;
    from->file.fd = -1;
    from->overlay = NULL;
    return b;
}

void blk_set_name(struct blk *b, const char *name)
{
    b->name = xstrdup(name);
}

void blk_restrict(struct blk *b, bool readonly, bool discard)
{
    b->readonly |= readonly;
    b->discard &= discard;
}

void blk_close(struct blk *b)
{
    if (!b)
        return;
    blk_use_loop(b, NULL);
    blk_drain(b);
    pthread_mutex_lock(&b->lock);
    b->stopping = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (unsigned i = 0; i < b->n_workers; i++)
        pthread_join(b->workers[i], NULL);
    if (b->done_fd >= 0) {
        stop_watching(b);
        close(b->done_fd);
    }
    if (b->overlay)
        overlay_close(b->overlay);
    free(b->overlay);
    file_close(&b->file);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->work);
    pthread_cond_destroy(&b->finished);
    if (b->below)
        backend_give_back(b->vm, b->below);
    free(b->serial);
    free(b->filename);
    free(b->driver);
    free(b->name);
    free(b);
}

/* ---- questions ----------------------------------------------------------------------------------- */
uint64_t blk_size(const struct blk *b)
{
    return b->size;
}

bool blk_readonly(const struct blk *b)
{
    return b->readonly;
}

bool blk_writethrough(const struct blk *b)
{
    return b->writethrough;
}

bool blk_can_discard(const struct blk *b)
{
    return b->discard && !b->readonly;
}

uint32_t blk_block_size(const struct blk *b)
{
    return b->file.block;
}

const char *blk_serial(const struct blk *b)
{
    return b->serial;
}

void blk_info(const struct blk *b, struct blk_info *out)
{
    struct stat st;
    *out = (struct blk_info){ .filename = b->filename,
                              .driver = b->driver,
                              .is_node = b->is_node,
                              .no_cache = b->no_cache,
                              .no_flush = b->no_flush,
                              .writethrough = b->writethrough,
                              .snapshot = b->overlay };
    if (b->file.fd >= 0 && !fstat(b->file.fd, &st))
        out->allocated = (uint64_t)st.st_blocks * 512;
}

void blk_on_resize(struct blk *b, void (*fn)(void *opaque), void *opaque)
{
    b->resized = fn;
    b->resized_opaque = opaque;
}

static void drain_now(void *opaque)
{
    blk_drain(opaque);
}

struct error *blk_resize(struct blk *b, uint64_t size)
{
    if (size % BLK_SECTOR || size > INT64_MAX)
        return error_new("The new size must be a multiple of 512");
    if (b->readonly || b->overlay)
        return error_new("Image is read-only");
    if (b->file.device || b->file.fd < 0)
        return error_new("Cannot resize '%s': it is no plain file", b->filename);
    loop_call(b->loop, drain_now, b); /* the VM stands: nothing new comes */
    if (ftruncate(b->file.fd, (off_t)size))
        return error_errno("Cannot resize '%s'", b->filename);
    b->file.size = b->size = size;
    if (b->resized)
        b->resized(b->resized_opaque);
    return NULL;
}

void blk_counts(const struct blk *b, struct blk_counts *out)
{
    for (unsigned i = 0; i < N_BLK_OPS; i++) {
        out->ops[i] = atomic_load_explicit(&b->ops[i], memory_order_relaxed);
        out->bytes[i] = atomic_load_explicit(&b->bytes[i], memory_order_relaxed);
        out->ns[i] = atomic_load_explicit(&b->ns[i], memory_order_relaxed);
    }
    out->errors = atomic_load_explicit(&b->errors, memory_order_relaxed);
    out->at_once = atomic_load_explicit(&b->at_once, memory_order_relaxed);
}
