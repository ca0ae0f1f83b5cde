#include "ui/gdb_packet.h"

#include "core/chardev.h"
#include "core/util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void link_init(struct gdb_link *l)
{
    l->out_room = 4096;
    l->out = xmalloc(l->out_room);
    link_restart(l);
}

void link_free(struct gdb_link *l)
{
    free(l->out);
    free(l->last);
}

void link_restart(struct gdb_link *l)
{
    l->no_acks = l->refused = l->too_long = false;
    l->state = LINK_IDLE;
    l->n_in = l->out_at = l->n_out = l->n_last = 0;
}

/* ---- output ----------------------------------------------------------------------------------------- */

void link_writable(struct gdb_link *l)
{
    size_t n = MIN(l->n_out - l->out_at, chardev_space(l->chardev));
    if (n)
        chardev_write(l->chardev, l->out + l->out_at, n);
    l->out_at += n;
    if (l->out_at == l->n_out) {
        l->out_at = l->n_out = 0;
        l->refused = false;
    } else {
        chardev_space(l->chardev); /* none is left: it tells when there is */
    }
}

static void send_bytes(struct gdb_link *l, const uint8_t *data, size_t n)
{
    if (l->out_at) {
        memmove(l->out, l->out + l->out_at, l->n_out - l->out_at);
        l->n_out -= l->out_at;
        l->out_at = 0;
    }
    if (n > GDB_QUEUE - l->n_out) {
        l->refused = true;
        return;
    }
    while (l->n_out + n > l->out_room)
        l->out = xrealloc(l->out, l->out_room *= 2);
    memcpy(l->out + l->n_out, data, n);
    l->n_out += n;
    link_writable(l);
}

static void send_byte(struct gdb_link *l, uint8_t c)
{
    send_bytes(l, &c, 1);
}

void link_send(struct gdb_link *l, const void *data, size_t n)
{
    const uint8_t *from = data;
    uint8_t *to = xrealloc(l->last, 2 * n + 5), sum = 0;
    size_t at = 0;
    l->last = to;
    to[at++] = '$';
    for (size_t i = 0; i < n; i++) {
        bool special = from[i] == '$' || from[i] == '#' || from[i] == '}' || from[i] == '*';
        if (special)
            sum += to[at++] = '}';
        sum += to[at++] = special ? from[i] ^ 0x20 : from[i];
    }
    snprintf((char *)to + at, 4, "#%02x", sum);
    l->n_last = at + 3;
    send_bytes(l, l->last, l->n_last);
    chardev_flush(l->chardev); /* somebody waits for it */
}

size_t link_room(const struct gdb_link *l)
{
    return l->n_out ? 0 : 4096;
}

/* ---- input ------------------------------------------------------------------------------------------ */

static int digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void put(struct gdb_link *l, uint8_t c)
{
    if (l->n_in < GDB_PACKET)
        l->in[l->n_in++] = (char)c;
    else
        l->too_long = true;
}

/* What came whole but is longer than we said we take is answered as an unknown request is. */
static void end_packet(struct gdb_link *l, uint8_t c)
{
    bool right = digit((char)c) >= 0 && digit((char)l->told) >= 0 &&
                 (digit((char)l->told) << 4 | digit((char)c)) == l->sum;
    l->state = LINK_IDLE;
    if (!l->no_acks)
        send_byte(l, right ? '+' : '-');
    if (!right)
        return;
    l->in[l->n_in] = 0;
    if (l->too_long)
        link_send(l, "", 0);
    else
        l->packet(l->opaque, l->in, l->n_in);
}

static void take(struct gdb_link *l, uint8_t c)
{
    if (c == '$' && l->state != LINK_SUM1 && l->state != LINK_SUM2) {
        l->state = LINK_DATA;
        l->n_in = l->sum = 0;
        l->too_long = false;
        return;
    }
    switch (l->state) {
    case LINK_IDLE:
        if (c == 3)
            l->interrupt(l->opaque);
        else if (c == '-' && l->n_last && !l->no_acks)
            send_bytes(l, l->last, l->n_last);
        break;
    case LINK_DATA:
        if (c == '#') {
            l->state = LINK_SUM1;
            break;
        }
        l->sum += c;
        if (c == '}')
            l->state = LINK_ESCAPE;
        else
            put(l, c);
        break;
    case LINK_ESCAPE:
        l->sum += c;
        put(l, c ^ 0x20);
        l->state = LINK_DATA;
        break;
    case LINK_SUM1:
        l->told = c;
        l->state = LINK_SUM2;
        break;
    case LINK_SUM2: end_packet(l, c); break;
    }
}

void link_receive(struct gdb_link *l, const uint8_t *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        take(l, data[i]);
}

/* ---- text ------------------------------------------------------------------------------------------- */

void text_put(struct gdb_text *t, const void *data, size_t n)
{
    n = MIN(n, t->room - t->n);
    memcpy(t->at + t->n, data, n);
    t->n += n;
}

void text_print(struct gdb_text *t, const char *fmt, ...)
{
    char line[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    text_put(t, line, MIN((size_t)n, sizeof(line) - 1));
}

void text_hex(struct gdb_text *t, const void *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = data;
    for (size_t i = 0; i < n; i++)
        text_put(t, (char[]){ digits[from[i] >> 4], digits[from[i] & 15] }, 2);
}

bool hex_bytes(const char *text, uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = digit(text[2 * i]), low = high < 0 ? -1 : digit(text[2 * i + 1]);
        if (low < 0)
            return false;
        to[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool hex_number(const char **at, uint64_t *v)
{
    const char *s = *at;
    *v = 0;
    for (; digit(*s) >= 0; s++)
        *v = *v << 4 | (unsigned)digit(*s);
    bool ok = s > *at && s - *at <= 16;
    *at = s;
    return ok;
}
