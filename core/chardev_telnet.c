#include "core/chardev_telnet.h"

#include "core/chardev_host.h"
#include "core/util.h"

#include <stdlib.h>

/* Commands behind IAC (RFC 854, "TELNET COMMAND STRUCTURE"). */
enum { SE = 240, BREAK = 243, IP = 244, AYT = 246, EC, EL, SB = 250, WILL, WONT, DO, DONT };
enum { BINARY = 0, ECHO = 1, NO_GO_AHEAD = 3, N_OPTIONS };

struct telnet {
    enum { PLAIN, AFTER_IAC, AFTER_VERB, SUB, SUB_IAC } state;
    uint8_t verb;
    bool after_cr, binary;                   /* binary: they have agreed to send so */
    bool ours[N_OPTIONS], theirs[N_OPTIONS]; /* in force, or asked for by us */
};

struct telnet *telnet_new(void)
{
    return xcalloc(1, sizeof(struct telnet));
}

void telnet_free(struct telnet *t)
{
    free(t);
}

static void say(struct chardev_host *h, uint8_t verb, uint8_t option)
{
    chardev_host_send(h, (const uint8_t[]){ TELNET_IAC, verb, option }, 3);
}

void telnet_start(struct telnet *t, struct chardev_host *h)
{
    *t = (struct telnet){ .ours = { [BINARY] = true, [ECHO] = true, [NO_GO_AHEAD] = true },
                          .theirs = { [BINARY] = true } };
    say(h, WILL, ECHO);
    say(h, WILL, NO_GO_AHEAD);
    say(h, WILL, BINARY);
    say(h, DO, BINARY);
}

/* Answer only what changes something, so that two sides never answer each other for ever. */
static void negotiate(struct telnet *t, struct chardev_host *h, uint8_t option)
{
    bool asks = t->verb == DO || t->verb == DONT, on = t->verb == DO || t->verb == WILL;
    uint8_t yes = asks ? WILL : DO, no = asks ? WONT : DONT;
    bool known = option == BINARY || option == NO_GO_AHEAD || (option == ECHO && asks);
    bool *state = known ? (asks ? t->ours : t->theirs) + option : NULL;
    if (!asks && option == BINARY)
        t->binary = on;
    if (!known && on)
        say(h, no, option);
    if (known && *state != on) {
        *state = on;
        say(h, on ? yes : no, option);
    }
}

/* The byte that stands for a command, -1: none does. */
static int command(struct telnet *t, struct chardev_host *h, uint8_t c)
{
    static const char here[] = "\r\n[yes]\r\n";
    t->state = PLAIN;
    switch (c) {
    case TELNET_IAC: return c;
    case IP: return 'C' & 0x1f;
    case EC: return 0x7f;
    case EL: return 'U' & 0x1f;
    case AYT: chardev_host_send(h, (const uint8_t *)here, sizeof(here) - 1); break;
    case SB: t->state = SUB; break;
    case WILL:
    case WONT:
    case DO:
    case DONT:
        t->verb = c;
        t->state = AFTER_VERB;
        break;
    }
    return -1;
}

/* The byte that is meant, -1: none. */
static int take(struct telnet *t, struct chardev_host *h, uint8_t c)
{
    switch (t->state) {
    case PLAIN: break;
    case AFTER_IAC: return command(t, h, c);
    case AFTER_VERB:
        t->state = PLAIN;
        negotiate(t, h, c);
        return -1;
    case SUB: t->state = c == TELNET_IAC ? SUB_IAC : SUB; return -1;
    case SUB_IAC: t->state = c == SE ? PLAIN : SUB; return -1;
    }
    bool padding = t->after_cr && !c && !t->binary; /* CR NUL is CR alone */
    t->after_cr = c == '\r';
    if (c != TELNET_IAC)
        return padding ? -1 : c;
    t->state = AFTER_IAC;
    return -1;
}

void telnet_receive(struct telnet *t, struct chardev_host *h, uint8_t *bytes, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool is_break = t->state == AFTER_IAC && bytes[i] == BREAK;
        int c = take(t, h, bytes[i]);
        if (c >= 0)
            bytes[kept++] = (uint8_t)c;
        if (is_break) {
            chardev_host_input(h, bytes, kept);
            chardev_break(h->ports);
            kept = 0;
        }
    }
    chardev_host_input(h, bytes, kept);
}
