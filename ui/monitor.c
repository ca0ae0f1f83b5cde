/* Monitors: the line editor of the human one; QMP's is ui/qmp_session.c. */
#include "ui/monitor.h"

#include "core/chardev.h"
#include "core/error.h"
#include "core/util.h"
#include "ui/hmp.h"
#include "ui/qmp_session.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_ROOM = 1024, HISTORY = 64, MOST_OFFERS = 128 };
#define PROMPT "(tandem) "

struct monitor {
    struct qmp_session *qmp; /* the rest is for people */
    struct vm *vm;
    struct chardev *chardev;
    struct monitor_hooks hooks;
    unsigned cpu;
    char line[LINE_ROOM];
    size_t n, cursor;
    char *history[HISTORY]; /* the newest first */
    char *draft;            /* the line that history is shown in place of */
    int at;                 /* which of history is shown; -1: the line itself */
    enum { PLAIN, ESCAPE, BRACKET } escape;
    unsigned escape_number;
    bool after_cr;
};

/* ---- output ------------------------------------------------------------------------------------ */
static void put(struct monitor *m, const char *text)
{
    chardev_write(m->chardev, (const uint8_t *)text, strlen(text));
}

static void put_line(void *opaque, const char *line)
{
    put(opaque, line);
    put(opaque, "\r\n");
}

static void show_line(struct monitor *m)
{
    char back[32];
    m->line[m->n] = 0;
    put(m, "\r\33[K" PROMPT);
    put(m, m->line);
    if (m->cursor == m->n)
        return;
    snprintf(back, sizeof(back), "\33[%zuD", m->n - m->cursor);
    put(m, back);
}

static void prompt(struct monitor *m)
{
    m->n = m->cursor = 0;
    m->at = -1;
    put(m, PROMPT);
}

/* ---- history ----------------------------------------------------------------------------------- */
static void remember(struct monitor *m)
{
    if (!m->n || (m->history[0] && !strcmp(m->history[0], m->line)))
        return;
    free(m->history[HISTORY - 1]);
    memmove(m->history + 1, m->history, (HISTORY - 1) * sizeof(*m->history));
    m->history[0] = xstrdup(m->line);
}

static void show_history(struct monitor *m, int step)
{
    int to = m->at + step;
    if (to < -1 || to >= HISTORY || (to >= 0 && !m->history[to]))
        return;
    if (m->at < 0) {
        m->line[m->n] = 0;
        free(m->draft);
        m->draft = xstrdup(m->line);
    }
    m->at = to;
    m->n = (size_t)snprintf(m->line, sizeof(m->line), "%s", to < 0 ? m->draft : m->history[to]);
    m->cursor = m->n;
    show_line(m);
}

/* ---- editing ------------------------------------------------------------------------------------- */
static void insert(struct monitor *m, const char *text, size_t n)
{
    n = MIN(n, LINE_ROOM - 1 - m->n);
    memmove(m->line + m->cursor + n, m->line + m->cursor, m->n - m->cursor);
    memcpy(m->line + m->cursor, text, n);
    m->n += n;
    m->cursor += n;
    m->line[m->n] = 0;
    if (m->cursor == m->n)
        chardev_write(m->chardev, (const uint8_t *)text, n);
    else
        show_line(m);
}

static void erase(struct monitor *m, size_t from, size_t to)
{
    memmove(m->line + from, m->line + to, m->n - to);
    m->n -= to - from;
    m->cursor = from;
    show_line(m);
}

static void move(struct monitor *m, size_t to)
{
    m->cursor = to;
    show_line(m);
}

static size_t word_before(const struct monitor *m)
{
    size_t at = m->cursor;
    while (at && m->line[at - 1] == ' ')
        at--;
    while (at && m->line[at - 1] != ' ')
        at--;
    return at;
}

/* ---- completion ------------------------------------------------------------------------------------ */
struct offers {
    char *at[MOST_OFFERS];
    size_t n, common; /* characters that all share */
};

static void collect(void *opaque, const char *word)
{
    struct offers *o = opaque;
    if (o->n == MOST_OFFERS)
        return;
    o->at[o->n++] = xstrdup(word);
    size_t n = 0;
    while (word[n] && word[n] == o->at[0][n])
        n++;
    o->common = o->n == 1 ? strlen(word) : MIN(o->common, n);
}

static void list_offers(struct monitor *m, const struct offers *o)
{
    size_t column = 0;
    put(m, "\r\n");
    for (size_t i = 0; i < o->n; i++) {
        char cell[80];
        size_t n = (size_t)snprintf(cell, sizeof(cell), "%-20.60s ", o->at[i]);
        if (column && column + n > 79) {
            put(m, "\r\n");
            column = 0;
        }
        put(m, cell);
        column += n;
    }
    put(m, "\r\n");
    show_line(m);
}

static void complete(struct monitor *m)
{
    char left[LINE_ROOM];
    struct offers o = { .n = 0 };
    memcpy(left, m->line, m->cursor);
    left[m->cursor] = 0;
    size_t typed = m->cursor - hmp_completions(m->vm, left, collect, &o);
    if (o.n && o.common > typed)
        insert(m, o.at[0] + typed, o.common - typed);
    else if (o.n > 1)
        list_offers(m, &o);
    if (o.n == 1)
        insert(m, " ", 1);
    for (size_t i = 0; i < o.n; i++)
        free(o.at[i]);
}

/* ---- keys ------------------------------------------------------------------------------------------ */
static void enter(struct monitor *m)
{
    char line[LINE_ROOM];
    struct hmp_call c = {
        .vm = m->vm, .hooks = &m->hooks, .print = put_line, .to = m, .cpu = &m->cpu
    };
    m->line[m->n] = 0;
    put(m, "\r\n");
    remember(m);
    memcpy(line, m->line, m->n + 1);
    m->n = m->cursor = 0;
    hmp_execute(&c, line);
    prompt(m);
}

/* The last byte of ESC [ NUMBER LETTER, or ESC O LETTER. */
static void escape_key(struct monitor *m, uint8_t c)
{
    switch (c == '~' ? m->escape_number : c) {
    case 'A': show_history(m, 1); break;
    case 'B': show_history(m, -1); break;
    case 'C': move(m, MIN(m->cursor + 1, m->n)); break;
    case 'D': move(m, m->cursor ? m->cursor - 1 : 0); break;
    case 'H':
    case 1: move(m, 0); break;
    case 'F':
    case 4: move(m, m->n); break;
    case 3:
        if (m->cursor < m->n)
            erase(m, m->cursor, m->cursor + 1);
        break;
    }
}

#define CTRL(letter) ((letter)&31)
static void control_key(struct monitor *m, uint8_t c)
{
    switch (c) {
    case CTRL('A'): move(m, 0); break;
    case CTRL('E'): move(m, m->n); break;
    case CTRL('B'): move(m, m->cursor ? m->cursor - 1 : 0); break;
    case CTRL('F'): move(m, MIN(m->cursor + 1, m->n)); break;
    case CTRL('P'): show_history(m, 1); break;
    case CTRL('N'): show_history(m, -1); break;
    case CTRL('I'): complete(m); break;
    case CTRL('K'):
        erase(m, m->cursor, m->n);
        m->cursor = m->n;
        break;
    case CTRL('U'): erase(m, 0, m->cursor); break;
    case CTRL('W'): erase(m, word_before(m), m->cursor); break;
    case CTRL('L'): show_line(m); break;
    case CTRL('C'):
        put(m, "\r\33[K");
        prompt(m);
        break;
    case CTRL('D'):
        if (m->cursor < m->n)
            erase(m, m->cursor, m->cursor + 1);
        break;
    case CTRL('H'):
    case 127:
        if (m->cursor)
            erase(m, m->cursor - 1, m->cursor);
        break;
    }
}

static void type(struct monitor *m, uint8_t c)
{
    if (m->escape == ESCAPE) {
        m->escape = c == '[' || c == 'O' ? BRACKET : PLAIN;
        m->escape_number = 0;
    } else if (m->escape == BRACKET) {
        if (c >= '0' && c <= '9')
            m->escape_number = (m->escape_number * 10 + c - '0') % 1000;
        if (c < 0x40)
            return;
        m->escape = PLAIN;
        escape_key(m, c);
    } else if (c == 27) {
        m->escape = ESCAPE;
    } else if (c == '\r' || (c == '\n' && !m->after_cr)) {
        enter(m);
    } else if (c < ' ' || c == 127) {
        control_key(m, c);
    } else if (c < 127) {
        insert(m, (const char *)&c, 1);
    }
    m->after_cr = c == '\r';
}

static size_t front_room(void *opaque)
{
    return LINE_ROOM;
}

static void front_receive(void *opaque, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        type(opaque, data[i]);
}

static void front_event(void *opaque, int event)
{
    struct monitor *m = opaque;
    if (event == CHARDEV_OPENED)
        put(m, "Tandem monitor; help lists the commands\r\n");
    if (event == CHARDEV_OPENED || event == CHARDEV_FOCUS)
        prompt(m);
}

/* ---- life -------------------------------------------------------------------------------------------- */
struct monitor *monitor_new(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks)
{
    struct monitor *m = xcalloc(1, sizeof(*m));
    *m = (struct monitor){ .vm = vm, .chardev = c, .hooks = *hooks, .at = -1 };
    m->chardev = chardev_attach_monitor(
        c, &(struct chardev_front){ front_room, front_receive, front_event, m });
    return m;
}

struct error *monitor_new_qmp(struct vm *vm, struct chardev *c, const struct monitor_hooks *hooks,
                              bool pretty, struct monitor **out)
{
    struct qmp_session *qmp;
    struct error *err = qmp_session_new(vm, c, hooks, pretty, &qmp);
    if (err)
        return err;
    *out = xcalloc(1, sizeof(**out));
    (*out)->qmp = qmp;
    return NULL;
}

void monitor_free(struct monitor *m)
{
    if (!m)
        return;
    qmp_session_free(m->qmp);
    if (m->chardev)
        chardev_detach(m->chardev);
    for (int i = 0; i < HISTORY; i++)
        free(m->history[i]);
    free(m->draft);
    free(m);
}

void monitor_execute(struct vm *vm, const struct monitor_hooks *hooks, const char *command,
                     void (*print)(void *opaque, const char *line), void *opaque)
{
    unsigned cpu = 0;
    struct hmp_call c = { .vm = vm, .hooks = hooks, .print = print, .to = opaque, .cpu = &cpu };
    hmp_execute(&c, command);
}
