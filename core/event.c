/* Events on their way from any thread to the listeners on the main loop. */
#include "core/event.h"

#include "core/clock.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"

#include <stdlib.h>
#include <time.h>

enum { MOST_WAITING = 1024 }; /* beyond that the main loop is stuck, and events are lost */
#define INTERVAL_NS NS_PER_S

struct waiting {
    struct event event;
    struct waiting *next;
};

struct listener {
    void (*heard)(void *opaque, const struct event *e);
    void *opaque;
    struct listener *next;
};

/* The last of its kind, and of the same subject, that was let through. */
struct limit {
    enum event_kind kind;
    char *subject;
    uint64_t open_at_ns;  /* host clock: when the next one may pass */
    struct waiting *held; /* the newest that came too early */
    struct limit *next;
};

struct events {
    struct vm *vm;
    pthread_mutex_t lock; /* guards the queue; a leaf but for the loop's */
    struct waiting *first, **last;
    unsigned n_waiting;
    /* Main loop's thread. */
    struct listener *listeners;
    struct limit *limits;
};

/* Kinds that a guest can bring about at will: at most one a second for each `subject`. */
static const struct {
    enum event_kind kind;
    const char *subject; /* name of the member that says what it is about; "": there is one */
} limited[] = {
    { EVENT_BALLOON_CHANGE, "" }, { EVENT_MEMORY_DEVICE_SIZE_CHANGE, "qom-path" },
    { EVENT_RTC_CHANGE, "" },     { EVENT_VSERPORT_CHANGE, "id" },
    { EVENT_WATCHDOG, "" },
};

static void free_waiting(struct waiting *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->event.n; i++) {
        free((char *)w->event.items[i].name);
        free((char *)w->event.items[i].text);
    }
    free(w->event.items);
    free(w);
}

static void publish(struct events *es, struct waiting *w)
{
    for (struct listener *l = es->listeners; l; l = l->next)
        l->heard(l->opaque, &w->event);
    free_waiting(w);
}

/* ---- limits ---------------------------------------------------------------------------------- */
/* What the event is about, or NULL for kinds without limits. */
static const char *subject_of(const struct event *e)
{
    for (size_t i = 0; i < ARRAY_LEN(limited); i++) {
        if (limited[i].kind != e->kind)
            continue;
        for (size_t j = 0; j < e->n; j++)
            if (!strcmp(e->items[j].name, limited[i].subject) && e->items[j].text)
                return e->items[j].text;
        return "";
    }
    return NULL;
}

static struct limit *find_limit(struct events *es, enum event_kind kind, const char *subject)
{
    struct limit *l = es->limits;
    while (l && (l->kind != kind || strcmp(l->subject, subject)))
        l = l->next;
    if (l)
        return l;
    l = xcalloc(1, sizeof(*l));
    *l = (struct limit){ .kind = kind, .subject = xstrdup(subject), .next = es->limits };
    return es->limits = l;
}

static void pass(struct events *es, struct waiting *w)
{
    const char *subject = subject_of(&w->event);
    struct limit *l = subject ? find_limit(es, w->event.kind, subject) : NULL;
    uint64_t now = l ? host_now_ns() : 0;
    if (!l || now >= l->open_at_ns) {
        if (l)
            l->open_at_ns = now + INTERVAL_NS;
        publish(es, w);
        return;
    }
    free_waiting(l->held);
    l->held = w;
}

/* Before the loop sleeps: let through what was held back long enough; until when may it sleep? */
static uint64_t release_held(void *opaque)
{
    struct events *es = opaque;
    uint64_t sleep_ns = UINT64_MAX;
    for (struct limit *l = es->limits; l; l = l->next) {
        struct waiting *w = l->held;
        if (!w)
            continue;
        uint64_t now = host_now_ns();
        if (now < l->open_at_ns) {
            sleep_ns = MIN(sleep_ns, l->open_at_ns - now);
            continue;
        }
        l->held = NULL;
        l->open_at_ns = now + INTERVAL_NS;
        publish(es, w);
    }
    return sleep_ns;
}

/* ---- the queue ------------------------------------------------------------------------------- */
static struct waiting *take_first(struct events *es)
{
    pthread_mutex_lock(&es->lock);
    struct waiting *w = es->first;
    if (w) {
        es->first = w->next;
        es->n_waiting--;
        if (!es->first)
            es->last = &es->first;
    }
    pthread_mutex_unlock(&es->lock);
    return w;
}

static void deliver(void *opaque)
{
    struct events *es = opaque;
    struct waiting *w;
    while ((w = take_first(es)))
        pass(es, w);
}

static struct waiting *copy(enum event_kind kind, const struct event_item *items, size_t n)
{
    struct timespec now;
    struct waiting *w = xcalloc(1, sizeof(*w));
    clock_gettime(CLOCK_REALTIME, &now);
    w->event = (struct event){ .kind = kind,
                               .at_us = now.tv_sec * 1000000ll + now.tv_nsec / 1000,
                               .items = xcalloc(n + 1, sizeof(*items)) };
    for (size_t i = 0; i < n; i++) {
        if (!items[i].text)
            continue;
        struct event_item *to = &w->event.items[w->event.n++];
        *to = items[i];
        to->name = xstrdup(items[i].name);
        to->text = xstrdup(items[i].text);
    }
    return w;
}

void event_send(struct vm *vm, enum event_kind kind, const struct event_item *items, size_t n)
{
    struct events *es = vm->events;
    struct waiting *w = copy(kind, items, n);
    pthread_mutex_lock(&es->lock);
    bool room = es->n_waiting < MOST_WAITING;
    if (room) {
        *es->last = w;
        es->last = &w->next;
        es->n_waiting++;
    }
    pthread_mutex_unlock(&es->lock);
    if (!room)
        free_waiting(w);
    else if (loop_is_mine(vm->loop))
        deliver(es);
    else
        loop_post(vm->loop, deliver, es);
}

/* ---- listeners and life ---------------------------------------------------------------------- */
void event_listen(struct vm *vm, void (*heard)(void *opaque, const struct event *e), void *opaque)
{
    struct listener *l = xmalloc(sizeof(*l)), **end = &vm->events->listeners;
    *l = (struct listener){ heard, opaque, NULL };
    while (*end)
        end = &(*end)->next;
    *end = l;
}

void event_unlisten(struct vm *vm, void *opaque)
{
    struct listener **at = &vm->events->listeners;
    while (*at) {
        struct listener *l = *at;
        if (l->opaque == opaque) {
            *at = l->next;
            free(l);
        } else {
            at = &l->next;
        }
    }
}

struct events *events_new(struct vm *vm)
{
    struct events *es = xcalloc(1, sizeof(*es));
    es->vm = vm;
    es->last = &es->first;
    pthread_mutex_init(&es->lock, NULL);
    loop_add_prepare(vm->loop, release_held, es);
    return es;
}

void events_free(struct events *es)
{
    struct waiting *w;
    loop_remove_prepare(es->vm->loop, release_held, es);
    while ((w = take_first(es)))
        free_waiting(w);
    while (es->limits) {
        struct limit *l = es->limits;
        es->limits = l->next;
        free_waiting(l->held);
        free(l->subject);
        free(l);
    }
    while (es->listeners)
        event_unlisten(es->vm, es->listeners->opaque);
    pthread_mutex_destroy(&es->lock);
    free(es);
}
