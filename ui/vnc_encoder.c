#include "ui/vnc_encoder.h"

#include "core/error.h"
#include "core/util.h"
#include "ui/library.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define FUNCTIONS(X)           \
    X(rfbGetScreen)            \
    X(rfbScreenCleanup)        \
    X(rfbNewClient)            \
    X(rfbCloseClient)          \
    X(rfbClientConnectionGone) \
    X(rfbProcessClientMessage) \
    X(rfbUpdateClient)         \
    X(rfbWriteExact)           \
    X(rfbNewFramebuffer)       \
    X(rfbMarkRectAsModified)   \
    X(rfbSetCursor)            \
    X(rfbSetTranslateFunction) \
    X(rfbEncryptBytes)         \
    X(rfbLogEnable)            \
    X(sraRgnEmpty)
struct functions {
    FUNCTIONS(LIBRARY_MEMBER)
};
static const char *const names[] = { FUNCTIONS(LIBRARY_NAME) };

/* Making a screen sets up locks and lists of the whole process anew, under the feet of other threads. So one is made
 * here, and every encoder's is a copy. */
struct encoder_library {
    struct functions f;
    rfbScreenInfoPtr screen;
};

enum { MAX_RECTS = 64, MESSAGES_ROOM = 4096, INSERT_MOST = 2 << 20 };
/* What the library is told and answers before its ServerInit: version 3.8, no authentication, shared. */
static const uint8_t greeting[] = "RFB 003.008\n\1\1";
enum { N_GREETING = 14, GREETING_MESSAGES = 3, GREETING_ANSWER = 12 + 2 + 4 };

struct encoder {
    const struct encoder_library *lib;
    char *name;
    pthread_t thread;
    int pair[2]; /* ours, the library's */
    int done_fd;
    bool busy;    /* main loop's: a job was started and not finished */
    bool started; /* ServerInit was made */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool has_job, quit, gone; /* under lock */

    /* Whose turn it is: the main loop's while not busy, the thread's while it is. */
    uint32_t *pixels, *old_pixels; /* old: what the library still knows of */
    unsigned width, height;
    bool resized, new_cursor, has_cursor, waits, failed;
    struct rect rects[MAX_RECTS];
    unsigned n_rects;
    struct cursor_shape cursor;
    int cursor_x, cursor_y;
    uint8_t messages[MESSAGES_ROOM], *insert;
    size_t n_messages_bytes, n_insert;
    unsigned n_messages;

    /* The thread's. */
    rfbScreenInfoPtr screen;
    rfbClientPtr client;
};

/* ---- the library ------------------------------------------------------------------------------ */
static struct error *warm_up(struct encoder_library *lib);

struct error *encoder_library_open(struct encoder_library **out)
{
    struct encoder_library *lib = xcalloc(1, sizeof(*lib));
    struct error *err = library_open("libvncserver.so.1", names, ARRAY_LEN(names), &lib->f);
    if (!err)
        err = warm_up(lib);
    if (err)
        encoder_library_free(lib);
    else
        *out = lib;
    return err;
}

void encoder_library_free(struct encoder_library *lib)
{
    if (lib && lib->screen)
        lib->f.rfbScreenCleanup(lib->screen);
    free(lib);
}

void encoder_library_answer(const struct encoder_library *lib, const char *password,
                            uint8_t challenge[16])
{
    char key[9] = { 0 };
    memcpy(key, password, strnlen(password, 8)); /* 7.2.2: eight bytes count */
    lib->f.rfbEncryptBytes(challenge, key);
}

/* ---- the thread ------------------------------------------------------------------------------ */
static void set_format(rfbScreenInfoPtr screen)
{
    screen->serverFormat.depth = 24;
    screen->serverFormat.redShift = 16;
    screen->serverFormat.greenShift = 8;
    screen->serverFormat.blueShift = 0;
}

/* The library's end blocks: it waits in the kernel until the main loop takes what it wrote, or closes. */
static bool make_client(struct encoder *e)
{
    e->screen = malloc(sizeof(*e->screen));
    if (!e->screen)
        return false;
    *e->screen = *e->lib->screen;
    pthread_mutex_init(&e->screen->cursorMutex, NULL);
    e->lib->f.rfbNewFramebuffer(e->screen, (char *)e->pixels, (int)e->width, (int)e->height, 8, 3,
                                4);
    set_format(e->screen);
    e->screen->desktopName = e->name;
    e->client = e->lib->f.rfbNewClient(e->screen, e->pair[1]);
    if (!e->client)
        return false; /* and it has closed the socket */
    return fcntl(e->client->sock, F_SETFL, 0) == 0;
}

static rfbCursorPtr make_cursor(const struct cursor_shape *shape)
{
    size_t n = (size_t)shape->width * shape->height, stride = (shape->width + 7) / 8;
    rfbCursorPtr c = calloc(1, sizeof(*c));
    uint8_t *mask = calloc(stride, shape->height), *source = calloc(stride, shape->height);
    uint8_t *alpha = malloc(n);
    uint32_t *rich = malloc(n * 4);
    if (!c || !mask || !source || !alpha || !rich)
        abort(); /* as xmalloc: at most 64 by 64 */
    for (unsigned y = 0; y < shape->height; y++)
        for (unsigned x = 0; x < shape->width; x++) {
            uint32_t pixel = shape->argb[y * shape->width + x];
            uint8_t bit = 0x80 >> x % 8;
            bool light = (pixel >> 8 & 0xff) >= 0x80;
            rich[y * shape->width + x] = pixel & 0xffffff;
            alpha[y * shape->width + x] = (uint8_t)(pixel >> 24);
            mask[y * stride + x / 8] |= pixel >> 31 ? bit : 0;
            source[y * stride + x / 8] |= pixel >> 31 && !light ? bit : 0;
        }
    *c = (rfbCursor){ .cleanup = TRUE,
                      .cleanupSource = TRUE,
                      .cleanupMask = TRUE,
                      .cleanupRichSource = TRUE,
                      .source = source,
                      .mask = mask,
                      .richSource = (uint8_t *)rich,
                      .alphaSource = alpha,
                      .width = (unsigned short)shape->width,
                      .height = (unsigned short)shape->height,
                      .xhot = (unsigned short)shape->hot_x,
                      .yhot = (unsigned short)shape->hot_y,
                      .backRed = 0xffff,
                      .backGreen = 0xffff,
                      .backBlue = 0xffff };
    return c;
}

static void show_pixels(struct encoder *e)
{
    if (e->resized) {
        e->lib->f.rfbNewFramebuffer(e->screen, (char *)e->pixels, (int)e->width, (int)e->height, 8,
                                    3, 4);
        set_format(e->screen); /* it has set its own */
        e->lib->f.rfbSetTranslateFunction(e->client);
        free(e->old_pixels);
        e->old_pixels = NULL;
    }
    for (unsigned i = 0; i < e->n_rects; i++) {
        const struct rect *r = &e->rects[i];
        e->lib->f.rfbMarkRectAsModified(e->screen, (int)r->x, (int)r->y, (int)(r->x + r->width),
                                        (int)(r->y + r->height));
    }
    if (e->new_cursor)
        e->lib->f.rfbSetCursor(e->screen, e->has_cursor ? make_cursor(&e->cursor) : NULL);
    e->screen->cursorX = e->cursor_x;
    e->screen->cursorY = e->cursor_y;
    e->resized = e->new_cursor = false;
    e->n_rects = 0;
}

static void do_job(struct encoder *e)
{
    show_pixels(e);
    if (e->n_insert && e->lib->f.rfbWriteExact(e->client, (char *)e->insert, (int)e->n_insert) < 0)
        e->lib->f.rfbCloseClient(e->client);
    for (unsigned i = 0; i < e->n_messages && e->client->sock >= 0; i++)
        e->lib->f.rfbProcessClientMessage(e->client);
    if (e->client->sock >= 0)
        e->lib->f.rfbUpdateClient(e->client);
    e->n_insert = e->n_messages_bytes = e->n_messages = 0;
    e->failed = e->client->sock < 0;
    e->waits = !e->failed && !e->lib->f.sraRgnEmpty(e->client->requestedRegion);
}

static void end_client(struct encoder *e)
{
    if (e->client) {
        e->lib->f.rfbCloseClient(e->client);
        e->lib->f.rfbClientConnectionGone(e->client);
    }
    if (e->screen)
        e->lib->f.rfbScreenCleanup(e->screen);
}

/* True: a job; false: it is time to go. */
static bool wait_for_job(struct encoder *e)
{
    pthread_mutex_lock(&e->lock);
    while (!e->has_job && !e->quit)
        pthread_cond_wait(&e->changed, &e->lock);
    bool go_on = !e->quit;
    e->has_job = false;
    pthread_mutex_unlock(&e->lock);
    return go_on;
}

static void tell_done(struct encoder *e)
{
    uint64_t one = 1;
    while (write(e->done_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        continue;
}

static void *work(void *opaque)
{
    struct encoder *e = opaque;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    pthread_setname_np(pthread_self(), "vnc");
    bool made = false;
    while (wait_for_job(e)) {
        if (!made) {
            e->n_messages = GREETING_MESSAGES;
            e->failed = !make_client(e);
        }
        made = true;
        if (!e->failed)
            do_job(e);
        tell_done(e);
    }
    end_client(e);
    pthread_mutex_lock(&e->lock);
    e->gone = true;
    pthread_mutex_unlock(&e->lock);
    tell_done(e);
    return NULL;
}

/* ---- the main loop's side ---------------------------------------------------------------------- */
static void free_parts(struct encoder *e)
{
    if (e->pair[0] >= 0)
        close(e->pair[0]);
    if (e->pair[1] >= 0 && !e->screen) /* else it was the library's to close */
        close(e->pair[1]);
    if (e->done_fd >= 0)
        close(e->done_fd);
    pthread_mutex_destroy(&e->lock);
    pthread_cond_destroy(&e->changed);
    free(e->pixels);
    free(e->old_pixels);
    free(e->insert);
    free(e->name);
    free(e);
}

struct error *encoder_new(const struct encoder_library *lib, const char *name, unsigned width,
                          unsigned height, struct encoder **out)
{
    struct encoder *e = xcalloc(1, sizeof(*e));
    struct error *err = NULL;
    *e = (struct encoder){ .lib = lib,
                           .name = xstrdup(name),
                           .pair = { -1, -1 },
                           .done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                           .width = width,
                           .height = height,
                           .pixels = calloc((size_t)width * height, sizeof(*e->pixels)) };
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    if (!e->pixels)
        err = error_new("not enough memory");
    else if (e->done_fd < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, e->pair) ||
             fcntl(e->pair[0], F_SETFL, O_NONBLOCK) ||
             write(e->pair[0], greeting, N_GREETING) != N_GREETING)
        err = error_errno("cannot make a socket pair");
    else if (pthread_create(&e->thread, NULL, work, e))
        err = error_new("cannot start a thread");
    if (err) {
        free_parts(e);
        return err;
    }
    e->n_rects = 0;
    encoder_start(e);
    *out = e;
    return NULL;
}

void encoder_start(struct encoder *e)
{
    pthread_mutex_lock(&e->lock);
    e->busy = e->has_job = true;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

/* What the library says before its ServerInit is not for the viewer. */
static bool drop_greeting(struct encoder *e)
{
    uint8_t answer[GREETING_ANSWER];
    e->started = true;
    return read(e->pair[0], answer, sizeof(answer)) == sizeof(answer) && answer[0] == 'R' &&
           !load_be(answer + 14, 4);
}

bool encoder_finish(struct encoder *e)
{
    uint64_t n;
    if (read(e->done_fd, &n, sizeof(n)) != sizeof(n))
        return true;
    pthread_mutex_lock(&e->lock); /* what the thread wrote is ours now */
    pthread_mutex_unlock(&e->lock);
    e->busy = false;
    return !e->failed && (e->started || drop_greeting(e));
}

bool encoder_is_busy(const struct encoder *e)
{
    return e->busy;
}

bool encoder_has_started(const struct encoder *e)
{
    return e->started;
}

int encoder_output(const struct encoder *e)
{
    return e->pair[0];
}

int encoder_done(const struct encoder *e)
{
    return e->done_fd;
}

void encoder_quit(struct encoder *e)
{
    shutdown(e->pair[0], SHUT_RDWR); /* wakes it where it writes or reads */
    pthread_mutex_lock(&e->lock);
    e->quit = true;
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

bool encoder_is_gone(struct encoder *e)
{
    pthread_mutex_lock(&e->lock);
    bool gone = e->gone;
    pthread_mutex_unlock(&e->lock);
    return gone;
}

void encoder_free(struct encoder *e)
{
    if (!e)
        return;
    pthread_join(e->thread, NULL);
    free_parts(e);
}

/* What it does for the first time, it does here: reading files and setting up what threads then share. */
static struct error *warm_up(struct encoder_library *lib)
{
    uint8_t challenge[16] = { 0 };
    lib->f.rfbLogEnable(0);
    encoder_library_answer(lib, "", challenge);
    lib->screen = lib->f.rfbGetScreen(NULL, NULL, 16, 16, 8, 3, 4);
    if (!lib->screen)
        return error_new("libvncserver cannot be set up");
    lib->screen->cursor = NULL;
    lib->screen->alwaysShared = TRUE;
    lib->screen->deferUpdateTime = 0;
    lib->screen->fdQuota = 1;
    struct encoder *e;
    struct error *err = encoder_new(lib, "", 16, 16, &e);
    if (err)
        return err;
    struct pollfd done = { .fd = e->done_fd, .events = POLLIN };
    bool works = poll(&done, 1, -1) == 1 && encoder_finish(e);
    encoder_quit(e);
    encoder_free(e);
    return works ? NULL : error_new("libvncserver does not answer as version 0.9.14 does");
}

/* ---- the next job ------------------------------------------------------------------------------ */
bool encoder_resize(struct encoder *e, unsigned width, unsigned height)
{
    if (width == e->width && height == e->height)
        return true;
    uint32_t *pixels = calloc((size_t)width * height, sizeof(*pixels));
    if (!pixels)
        return false;
    if (e->resized)
        free(e->pixels); /* the library never saw it */
    else
        e->old_pixels = e->pixels;
    e->pixels = pixels;
    e->width = width;
    e->height = height;
    e->resized = true;
    e->n_rects = 0;
    return true;
}

uint32_t *encoder_pixels(struct encoder *e)
{
    return e->pixels;
}

unsigned encoder_width(const struct encoder *e)
{
    return e->width;
}

unsigned encoder_height(const struct encoder *e)
{
    return e->height;
}

void encoder_damage(struct encoder *e, struct rect part)
{
    if (e->n_rects == MAX_RECTS) {
        e->rects[0] = (struct rect){ 0, 0, e->width, e->height };
        e->n_rects = 1;
    } else {
        e->rects[e->n_rects++] = part;
    }
}

static bool is_same_shape(const struct cursor_shape *a, const struct cursor_shape *b)
{
    return a->width == b->width && a->height == b->height && a->hot_x == b->hot_x &&
           a->hot_y == b->hot_y &&
           !memcmp(a->argb, b->argb, (size_t)a->width * a->height * sizeof(*a->argb));
}

void encoder_set_cursor(struct encoder *e, const struct cursor_shape *shape)
{
    bool has = shape && shape->width && shape->height;
    if (has == e->has_cursor && (!has || is_same_shape(shape, &e->cursor)))
        return;
    e->has_cursor = has;
    e->new_cursor = true;
    if (has)
        e->cursor = *shape;
}

void encoder_move_cursor(struct encoder *e, int x, int y)
{
    e->cursor_x = x;
    e->cursor_y = y;
}

bool encoder_tell(struct encoder *e, const uint8_t *message, size_t n)
{
    if (n > sizeof(e->messages) - e->n_messages_bytes ||
        write(e->pair[0], message, n) != (ssize_t)n)
        return false;
    e->n_messages_bytes += n;
    e->n_messages++;
    return true;
}

bool encoder_insert(struct encoder *e, const uint8_t *bytes, size_t n)
{
    if (n > INSERT_MOST - e->n_insert)
        return false;
    e->insert = xrealloc(e->insert, e->n_insert + n);
    memcpy(e->insert + e->n_insert, bytes, n);
    e->n_insert += n;
    return true;
}

bool encoder_waits(const struct encoder *e)
{
    return e->waits;
}
