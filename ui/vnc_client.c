/* A viewer's side of the protocol (RFC 6143, numbers are its sections; pseudo-encodings from the community's
 * rfbproto). Here every byte of the viewer's is checked and keys, pointer and clipboard are taken off; only requests
 * for pixels go on to the encoder, at most one of each kind: a viewer that asks faster than it reads gets fewer
 * pictures, and nothing grows. */
#include "ui/vnc_client.h"

#include "core/clipboard.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/event.h"
#include "core/loop.h"
#include "core/util.h"
#include "core/vm.h"
#include "hw/input/input.h"
#include "ui/keys.h"
#include "ui/vnc_encoder.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    IN_ROOM = 16 * 1024,
    OUT_ROOM = 64 * 1024,
    MAX_ENCODINGS = 256,
    MAX_CUT_TEXT = 1 << 20,
    MAX_DAMAGE = 32,
    LOGIN_SECONDS = 60,
    FRAME_NS = 10 * 1000 * 1000, /* between two pictures of the same viewer */
};
/* 7.5 and rfbproto: from the viewer */
enum {
    MSG_SET_FORMAT = 0,
    MSG_SET_ENCODINGS = 2,
    MSG_REQUEST = 3,
    MSG_KEY = 4,
    MSG_POINTER = 5,
    MSG_CUT_TEXT = 6,
    MSG_SET_DESKTOP_SIZE = 251,
    MSG_QEMU = 255,
};
enum { QEMU_KEY = 0, AUTH_NONE = 1, AUTH_VNC = 2 };
/* Pseudo-encodings that are answered here. */
enum {
    ENC_CURSOR = -239,
    ENC_X_CURSOR = -240,
    ENC_POINTER_TYPE = -257,
    ENC_QEMU_KEY = -258,
    ENC_LED_STATE = -261,
    ENC_DESKTOP_SIZE = -308,
    ENC_QUALITY_FIRST = -32,
    ENC_QUALITY_LAST = -23,
};

enum state { AT_VERSION, AT_SECURITY, AT_PASSWORD, AT_INIT, AT_NORMAL, AT_END };

struct vnc_client {
    struct vnc *vnc;
    int fd;
    enum state state;
    unsigned minor; /* of the protocol: 3, 7 or 8 */
    bool skip_auth, gone;
    uint64_t login_by_ns, last_frame_ns;
    uint8_t challenge[16];
    struct vnc_end peer;

    uint8_t in[IN_ROOM], out[OUT_ROOM];
    size_t n_in, out_at, n_out, n_skip; /* n_skip: bytes to come that nobody wants */
    bool watches_output;                /* the encoder's */

    struct encoder *encoder;
    /* For the next job. */
    bool has_format, has_encodings, has_request, full_request;
    uint8_t format[20];
    int32_t encodings[MAX_ENCODINGS];
    unsigned n_encodings;
    struct rect request, damage[MAX_DAMAGE];
    unsigned n_damage;
    bool resized, new_cursor, had_cursor;

    /* What it understands, and was told. */
    bool knows_qemu_key, knows_pointer_type, knows_leds, knows_desktop_size;
    bool answer_qemu_key, answer_desktop_size;
    uint8_t desktop_status;
    int told_absolute; /* -1: nothing yet */
    int64_t told_leds;

    struct keyboard *keyboard;
    struct pointer pointer;
    uint8_t wheel; /* its "buttons" that are down */

    struct clipboard_peer peer_clipboard;
    bool new_cut; /* it is to be told the clipboard's text */
    uint8_t
        *cut; /* its own text, as it comes: the n_skip bytes that are still missing go to its end */
    size_t n_cut;
    struct vnc_client *next;
};

static void watch(struct vnc_client *c);

/* ---- what is still to be shown ------------------------------------------------------------------- */
static struct rect join(struct rect a, struct rect b)
{
    unsigned right = MAX(a.x + a.width, b.x + b.width);
    unsigned bottom = MAX(a.y + a.height, b.y + b.height);
    unsigned x = MIN(a.x, b.x), y = MIN(a.y, b.y);
    return (struct rect){ x, y, right - x, bottom - y };
}

static uint64_t area(struct rect r)
{
    return (uint64_t)r.width * r.height;
}

/* With the one that grows least by it, unless there is room for one of its own that saves something. */
static void add_damage(struct vnc_client *c, struct rect part)
{
    uint64_t least = UINT64_MAX;
    unsigned best = 0;
    for (unsigned i = 0; i < c->n_damage; i++) {
        uint64_t waste = area(join(c->damage[i], part)) - area(c->damage[i]);
        if (waste < least) {
            least = waste;
            best = i;
        }
    }
    if (c->n_damage && (c->n_damage == MAX_DAMAGE || least <= area(part)))
        c->damage[best] = join(c->damage[best], part);
    else
        c->damage[c->n_damage++] = part;
}

static void picture_size(const struct vnc *v, unsigned *width, unsigned *height)
{
    *width = v->head ? head_width(v->head) : 640;
    *height = v->head ? head_height(v->head) : 480;
}

static void damage_all(struct vnc_client *c)
{
    unsigned width, height;
    picture_size(c->vnc, &width, &height);
    c->n_damage = 1;
    c->damage[0] = (struct rect){ 0, 0, width, height };
}

void vnc_client_damaged(struct vnc_client *c, struct rect part)
{
    if (c->encoder)
        add_damage(c, part);
}

void vnc_client_resized(struct vnc_client *c)
{
    c->resized = true;
    damage_all(c);
}

void vnc_client_cursor(struct vnc_client *c)
{
    c->new_cursor = true;
}

/* ---- to the viewer ------------------------------------------------------------------------------- */
static void end(struct vnc_client *c)
{
    c->gone = true;
}

/* As much as the viewer takes now. */
static void flush(struct vnc_client *c)
{
    while (c->out_at < c->n_out) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->n_out - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(c);
            return;
        }
        c->out_at += (size_t)n;
    }
    c->out_at = c->n_out = 0;
    if (c->state == AT_END)
        end(c);
}

/* During the login: its messages are short and always fit. */
static void put(struct vnc_client *c, const void *data, size_t n)
{
    if (n > sizeof(c->out) - c->n_out) {
        end(c);
        return;
    }
    memcpy(c->out + c->n_out, data, n);
    c->n_out += n;
    flush(c);
}

static void put_u32(struct vnc_client *c, uint32_t value)
{
    uint8_t bytes[4];
    store_be(bytes, 4, value);
    put(c, bytes, 4);
}

/* The encoder's output, as long as the viewer takes it. */
static void relay(struct vnc_client *c)
{
    while (encoder_has_started(c->encoder) && !c->n_out && !c->gone) {
        ssize_t n = read(encoder_output(c->encoder), c->out, sizeof(c->out));
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            end(c);
            return;
        }
        c->n_out = (size_t)n;
        flush(c);
    }
}

/* ---- the clipboard (7.5.6, 7.6.4): Latin-1 ---------------------------------------------------------- */
static void on_clipboard(struct clipboard_peer *peer)
{
    container_of(peer, struct vnc_client, peer_clipboard)->new_cut = true;
}

/* The text follows; without a guest to give it to nobody wants it. */
static void begin_cut(struct vnc_client *c, size_t n)
{
    c->n_skip = n;
    if (n > MAX_CUT_TEXT) {
        end(c);
    } else if (n && clipboard_has_guest(c->vnc->vm)) {
        c->cut = xmalloc(n);
        c->n_cut = n;
    }
}

static void finish_cut(struct vnc_client *c)
{
    char *text = xmalloc(2 * c->n_cut);
    size_t n = 0;
    for (size_t i = 0; i < c->n_cut; i++) {
        uint8_t letter = c->cut[i];
        if (letter >= 0x80)
            text[n++] = (char)(0xc0 | letter >> 6);
        text[n++] = (char)(letter < 0x80 ? letter : 0x80 | (letter & 0x3f));
    }
    clipboard_set(c->vnc->vm, &c->peer_clipboard, text, n);
    free(text);
    free(c->cut);
    c->cut = NULL;
}

/* Of the bytes behind the message's head: how many. */
static size_t take_cut(struct vnc_client *c, const uint8_t *data, size_t n)
{
    size_t part = MIN(c->n_skip, n);
    if (c->cut)
        memcpy(c->cut + c->n_cut - c->n_skip, data, part);
    c->n_skip -= part;
    if (c->cut && !c->n_skip)
        finish_cut(c);
    return part;
}

/* What Latin-1 does not have is a question mark. */
static void insert_cut(struct vnc_client *c)
{
    enum { SERVER_CUT_TEXT = 3 };
    size_t n, length = 0;
    const char *text = clipboard_text(c->vnc->vm, &n);
    uint8_t *message = xcalloc(1, 8 + n);
    for (size_t i = 0; i < n;) {
        uint8_t first = (uint8_t)text[i++], letter = first;
        if (first >= 0x80)
            letter = first <= 0xc3 ? (uint8_t)(first << 6 | (text[i] & 0x3f)) : '?';
        while (i < n && (text[i] & 0xc0) == 0x80)
            i++;
        message[8 + length++] = letter;
    }
    message[0] = SERVER_CUT_TEXT;
    store_be(message + 4, 4, (uint32_t)length);
    if (!encoder_insert(c->encoder, message, 8 + length))
        end(c);
    free(message);
    c->new_cut = false;
}

/* ---- login (7.1 to 7.3) ---------------------------------------------------------------------------- */
static void refuse(struct vnc_client *c, const char *reason)
{
    put_u32(c, 1);
    if (c->minor >= 8) {
        put_u32(c, (uint32_t)strlen(reason));
        put(c, reason, strlen(reason));
    }
    c->state = AT_END;
    flush(c);
}

static void accept_login(struct vnc_client *c, unsigned type)
{
    if (type == AUTH_VNC || c->minor >= 8)
        put_u32(c, 0);
    c->state = AT_INIT;
}

static void begin_auth(struct vnc_client *c, unsigned type)
{
    if (type == AUTH_NONE) {
        accept_login(c, type);
    } else if (getrandom(c->challenge, sizeof(c->challenge), 0) != sizeof(c->challenge)) {
        end(c);
    } else {
        put(c, c->challenge, sizeof(c->challenge));
        c->state = AT_PASSWORD;
    }
}

static unsigned wanted_auth(const struct vnc_client *c)
{
    return c->vnc->wants_password && !c->skip_auth ? AUTH_VNC : AUTH_NONE;
}

static void take_version(struct vnc_client *c, const uint8_t *text)
{
    unsigned minor = (unsigned)(text[8] - '0') * 100 + (unsigned)(text[9] - '0') * 10 +
                     (unsigned)(text[10] - '0');
    if (memcmp(text, "RFB 003.", 8) != 0 || text[11] != '\n' || minor < 3 || minor > 999) {
        end(c);
        return;
    }
    c->minor = minor >= 8 ? 8 : minor == 7 ? 7 : 3; /* 7.1.1: others are as 3.3 */
    if (c->minor == 3) {
        put_u32(c, wanted_auth(c));
        begin_auth(c, wanted_auth(c));
    } else {
        put(c, (uint8_t[]){ 1, (uint8_t)wanted_auth(c) }, 2);
        c->state = AT_SECURITY;
    }
}

static void take_security(struct vnc_client *c, uint8_t type)
{
    if (type == wanted_auth(c))
        begin_auth(c, type);
    else
        refuse(c, "this kind of authentication was not offered");
}

static void take_answer(struct vnc_client *c, const uint8_t *answer)
{
    if (vnc_check_password(c->vnc, c->challenge, answer))
        accept_login(c, AUTH_VNC);
    else
        refuse(c, "wrong password");
}

static void tell_event(struct vnc_client *c, enum event_kind kind)
{
    struct vnc_end server;
    vnc_socket_end(c->fd, false, &server);
    event_tell(c->vnc->vm, kind, EVENT_TEXT("server.auth", vnc_auth(c->vnc)),
               EVENT_TEXT("server.family", server.family),
               EVENT_TEXT("server.service", server.service), EVENT_TEXT("server.host", server.host),
               EVENT_FLAG("server.websocket", false), EVENT_TEXT("client.family", c->peer.family),
               EVENT_TEXT("client.service", c->peer.service),
               EVENT_TEXT("client.host", c->peer.host), EVENT_FLAG("client.websocket", false));
}

/* 7.3.1: a viewer that wants to be alone sends the others away. False: it may not come in itself. */
static bool make_alone(struct vnc_client *c, bool shared)
{
    if (shared || c->vnc->share == SHARE_IGNORE)
        return true;
    for (struct vnc_client *other = c->vnc->clients; other; other = other->next) {
        if (other == c || !vnc_client_looks(other))
            continue;
        if (c->vnc->share == SHARE_FORCE_SHARED)
            return false;
        end(other);
    }
    return c->vnc->share != SHARE_FORCE_SHARED;
}

static void take_init(struct vnc_client *c, bool shared)
{
    unsigned width, height;
    if (!make_alone(c, shared)) {
        end(c);
        return;
    }
    if (c->vnc->head)
        head_refresh(c->vnc->head); /* nobody may have looked: begin with its size */
    picture_size(c->vnc, &width, &height);
    struct error *err = encoder_new(c->vnc->lib, c->vnc->name, width, height, &c->encoder);
    if (err) {
        error_free(err);
        end(c);
        return;
    }
    c->state = AT_NORMAL;
    c->keyboard = keyboard_new(c->vnc->vm);
    pointer_init(&c->pointer, c->vnc->vm);
    c->new_cursor = true;
    c->peer_clipboard.changed = on_clipboard;
    clipboard_join(c->vnc->vm, &c->peer_clipboard);
    damage_all(c);
    watch(c);
    vnc_count_changed(c->vnc);
    tell_event(c, EVENT_VNC_INITIALIZED);
}

/* ---- what it asks of the picture (7.5.1 to 7.5.3) -------------------------------------------------- */
static bool is_field(unsigned max, unsigned shift, unsigned bits_per_pixel)
{
    unsigned width = 0;
    while (max >> width)
        width++;
    return max && max == (1u << width) - 1 && shift + width <= bits_per_pixel;
}

/* True colour alone: who shows 256 colours can have 3, 3 and 2 bits of them. */
static void take_format(struct vnc_client *c, const uint8_t *m)
{
    const uint8_t *f = m + 4;
    unsigned bpp = f[0];
    bool good = (bpp == 8 || bpp == 16 || bpp == 32) && f[1] >= 1 && f[1] <= bpp && f[3];
    for (unsigned i = 0; i < 3 && good; i++)
        good = is_field((unsigned)load_be(f + 4 + 2 * i, 2), f[10 + i], bpp);
    if (!good) {
        end(c);
        return;
    }
    memcpy(c->format, m, sizeof(c->format));
    c->format[6] = f[2] != 0;
    c->format[7] = 1;
    c->has_format = true;
}

/* What the library may know of: pixels, sizes, cursors. */
static bool is_for_encoder(const struct vnc_client *c, int32_t encoding)
{
    static const int32_t good[] = { 0, 1, 2, 4, 5, 6, 7, 16, -223, -224, ENC_DESKTOP_SIZE };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (encoding == good[i])
            return true;
    if (encoding == ENC_CURSOR || encoding == ENC_X_CURSOR)
        return c->had_cursor; /* before the guest has one, the viewer keeps its own */
    if (encoding >= ENC_QUALITY_FIRST && encoding <= ENC_QUALITY_LAST)
        return c->vnc->lossy;
    return encoding >= -256 && encoding <= -247; /* how hard to compress */
}

static void take_encodings(struct vnc_client *c, const uint8_t *m, unsigned n)
{
    c->n_encodings = MIN(n, (unsigned)MAX_ENCODINGS);
    c->knows_qemu_key = c->knows_pointer_type = c->knows_leds = c->knows_desktop_size = false;
    for (unsigned i = 0; i < c->n_encodings; i++) {
        c->encodings[i] = (int32_t)load_be(m + 4 + 4 * i, 4);
        c->knows_qemu_key |= c->encodings[i] == ENC_QEMU_KEY;
        c->knows_pointer_type |= c->encodings[i] == ENC_POINTER_TYPE;
        c->knows_leds |= c->encodings[i] == ENC_LED_STATE;
        c->knows_desktop_size |= c->encodings[i] == ENC_DESKTOP_SIZE;
    }
    c->answer_qemu_key |= c->knows_qemu_key;
    if (!c->knows_pointer_type)
        c->told_absolute = -1;
    c->has_encodings = true;
}

static void take_request(struct vnc_client *c, const uint8_t *m)
{
    struct rect r = { (unsigned)load_be(m + 2, 2), (unsigned)load_be(m + 4, 2),
                      (unsigned)load_be(m + 6, 2), (unsigned)load_be(m + 8, 2) };
    c->request = c->has_request ? join(c->request, r) : r;
    c->full_request |= !m[1];
    c->has_request = true;
}

/* rfbproto, "SetDesktopSize": one screen is what there can be; its answer goes along with the next job. */
static void take_desktop_size(struct vnc_client *c, const uint8_t *m)
{
    enum { PROHIBITED = 1, INVALID_LAYOUT = 3, FORWARDED = 4 };
    unsigned width = (unsigned)load_be(m + 2, 2), height = (unsigned)load_be(m + 4, 2);
    bool possible = width && height && width <= HEAD_MAX_SIDE && height <= HEAD_MAX_SIDE;
    c->answer_desktop_size = c->knows_desktop_size;
    c->desktop_status = PROHIBITED;
    if (!c->vnc->head || !head_takes_wishes(c->vnc->head))
        return;
    c->desktop_status = possible ? FORWARDED : INVALID_LAYOUT;
    if (possible)
        head_wish(c->vnc->head, width, height);
}

/* ---- what it types and points at (7.5.4, 7.5.5) ---------------------------------------------------- */
static void take_key(struct vnc_client *c, const uint8_t *m)
{
    keyboard_keysym(c->keyboard, keys_layout(c->vnc->vm), (uint32_t)load_be(m + 4, 4), m[1]);
}

/* rfbproto, "QEMU Extended Key Event Message": the key itself, so that layouts do not matter. */
static void take_qemu_key(struct vnc_client *c, const uint8_t *m)
{
    uint32_t keysym = (uint32_t)load_be(m + 4, 4), scancode = (uint32_t)load_be(m + 8, 4);
    bool down = load_be(m + 2, 2);
    unsigned code = scancode <= 0xff ? key_by_scancode(scancode) : 0;
    if (!code) {
        keyboard_keysym(c->keyboard, keys_layout(c->vnc->vm), keysym, down);
        return;
    }
    if (down)
        keyboard_note_letter(c->keyboard, keysym);
    keyboard_key(c->keyboard, code, down);
}

static void take_pointer(struct vnc_client *c, const uint8_t *m)
{
    enum { WHEEL_UP = 0x08, WHEEL_DOWN = 0x10, WHEEL_LEFT = 0x20, WHEEL_RIGHT = 0x40, BACK = 0x80 };
    enum { RELATIVE_ZERO = 0x7fff };
    unsigned buttons = (m[1] & 7) | (m[1] & BACK ? POINTER_SIDE : 0);
    int x = (int)load_be(m + 2, 2), y = (int)load_be(m + 4, 2);
    uint8_t pressed = m[1] & ~c->wheel;
    unsigned width, height;
    picture_size(c->vnc, &width, &height);
    if (c->told_absolute == 0)
        pointer_move(&c->pointer, x - RELATIVE_ZERO, y - RELATIVE_ZERO, buttons);
    else
        pointer_place(&c->pointer, x, y, width, height, buttons);
    c->wheel = m[1];
    pointer_wheel(&c->pointer, !!(pressed & WHEEL_UP) - !!(pressed & WHEEL_DOWN),
                  !!(pressed & WHEEL_RIGHT) - !!(pressed & WHEEL_LEFT));
}

/* ---- messages ---------------------------------------------------------------------------------- */
/* The length of what begins with these n bytes; 0: more are needed to tell; SIZE_MAX: it is nothing known. */
static size_t message_length(const struct vnc_client *c, const uint8_t *m, size_t n)
{
    switch (c->state) {
    case AT_VERSION: return 12;
    case AT_SECURITY:
    case AT_INIT: return 1;
    case AT_PASSWORD: return sizeof(c->challenge);
    case AT_NORMAL: break;
    case AT_END: return SIZE_MAX;
    }
    switch (m[0]) {
    case MSG_SET_FORMAT: return 20;
    case MSG_SET_ENCODINGS: return n < 4 ? 0 : 4 + 4 * (size_t)load_be(m + 2, 2);
    case MSG_REQUEST: return 10;
    case MSG_KEY: return 8;
    case MSG_POINTER: return 6;
    case MSG_CUT_TEXT: return 8;
    case MSG_SET_DESKTOP_SIZE: return n < 8 ? 0 : 8 + 16 * (size_t)m[6];
    case MSG_QEMU: return n < 2 ? 0 : m[1] == QEMU_KEY ? 12 : SIZE_MAX;
    }
    return SIZE_MAX;
}

static void take_normal(struct vnc_client *c, const uint8_t *m)
{
    switch (m[0]) {
    case MSG_SET_FORMAT: take_format(c, m); break;
    case MSG_SET_ENCODINGS: take_encodings(c, m, (unsigned)load_be(m + 2, 2)); break;
    case MSG_REQUEST: take_request(c, m); break;
    case MSG_KEY: take_key(c, m); break;
    case MSG_POINTER: take_pointer(c, m); break;
    case MSG_CUT_TEXT: begin_cut(c, (size_t)load_be(m + 4, 4)); break;
    case MSG_SET_DESKTOP_SIZE: take_desktop_size(c, m); break;
    case MSG_QEMU: take_qemu_key(c, m); break;
    }
}

static void take(struct vnc_client *c, const uint8_t *m)
{
    switch (c->state) {
    case AT_VERSION: take_version(c, m); break;
    case AT_SECURITY: take_security(c, m[0]); break;
    case AT_PASSWORD: take_answer(c, m); break;
    case AT_INIT: take_init(c, m[0]); break;
    case AT_NORMAL: take_normal(c, m); break;
    case AT_END: break;
    }
}

static void take_all(struct vnc_client *c)
{
    size_t at = 0;
    while (at < c->n_in && !c->gone && c->state != AT_END) {
        at += take_cut(c, c->in + at, c->n_in - at);
        size_t left = c->n_in - at;
        if (!left)
            break;
        size_t n = message_length(c, c->in + at, left);
        if (n > sizeof(c->in)) {
            end(c);
            break;
        }
        if (!n || n > left)
            break;
        take(c, c->in + at);
        at += n;
    }
    memmove(c->in, c->in + at, c->n_in - at);
    c->n_in -= at;
}

static void on_socket(void *opaque, uint32_t ready)
{
    struct vnc_client *c = opaque;
    if (ready & EPOLLOUT)
        flush(c);
    if (!c->gone && c->encoder)
        relay(c);
    if (ready & ~EPOLLOUT && c->state == AT_END) {
        end(c);
    } else if (ready & ~EPOLLOUT && !c->gone) {
        ssize_t n = recv(c->fd, c->in + c->n_in, sizeof(c->in) - c->n_in, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            end(c);
        c->n_in += (size_t)MAX(n, 0);
        take_all(c);
    }
    watch(c);
}

static void on_output(void *opaque, uint32_t ready)
{
    relay(opaque);
    watch(opaque);
}

static void on_done(void *opaque, uint32_t ready)
{
    struct vnc_client *c = opaque;
    if (!encoder_finish(c->encoder))
        end(c);
    relay(c);
    watch(c);
}

static void watch(struct vnc_client *c)
{
    struct loop *loop = c->vnc->vm->loop;
    bool wants_output = c->encoder && encoder_has_started(c->encoder) && !c->n_out && !c->gone;
    loop_watch(loop, c->fd, c->gone ? 0 : EPOLLIN | (c->n_out ? EPOLLOUT : 0), on_socket, c);
    if (c->encoder && !c->gone)
        loop_watch(loop, encoder_done(c->encoder), EPOLLIN, on_done, c);
    if (wants_output && !c->watches_output)
        loop_watch(loop, encoder_output(c->encoder), EPOLLIN, on_output, c);
    else if (!wants_output && c->watches_output)
        loop_unwatch(loop, encoder_output(c->encoder));
    c->watches_output = wants_output;
}

/* ---- jobs for the encoder ------------------------------------------------------------------------ */
/* 7.6.1: an update of one rectangle that is no picture. */
static void insert(struct vnc_client *c, int32_t encoding, unsigned x, unsigned y,
                   const uint8_t *data, size_t n)
{
    uint8_t bytes[4 + 12 + 32] = { 0, 0, 0, 1 };
    store_be(bytes + 4, 2, x);
    store_be(bytes + 6, 2, y);
    store_be(bytes + 8, 2, encoder_width(c->encoder));
    store_be(bytes + 10, 2, encoder_height(c->encoder));
    store_be(bytes + 12, 4, (uint32_t)encoding);
    if (n)
        memcpy(bytes + 16, data, n);
    if (!encoder_insert(c->encoder, bytes, 16 + n))
        end(c);
}

static void insert_desktop_size(struct vnc_client *c)
{
    enum { BY_THIS_VIEWER = 1 };
    uint8_t screens[4 + 16] = { 1 };
    store_be(screens + 4, 4, 1);
    store_be(screens + 12, 2, encoder_width(c->encoder));
    store_be(screens + 14, 2, encoder_height(c->encoder));
    insert(c, ENC_DESKTOP_SIZE, BY_THIS_VIEWER, c->desktop_status, screens, sizeof(screens));
}

static uint8_t rfb_leds(uint32_t leds)
{
    return (uint8_t)((leds >> 2 & 1) | (leds & 1) << 1 | (leds >> 1 & 1) << 2);
}

/* What changed of what it wants to know. */
static bool insert_news(struct vnc_client *c)
{
    bool any = c->answer_qemu_key || c->answer_desktop_size || c->new_cut;
    if (c->new_cut)
        insert_cut(c);
    if (c->answer_qemu_key)
        insert(c, ENC_QEMU_KEY, 0, 0, NULL, 0);
    if (c->answer_desktop_size)
        insert_desktop_size(c);
    c->answer_qemu_key = c->answer_desktop_size = false;
    int absolute = pointer_is_absolute(c->vnc->vm);
    if (c->knows_pointer_type && absolute != c->told_absolute) {
        insert(c, ENC_POINTER_TYPE, (unsigned)absolute, 0, NULL, 0);
        c->told_absolute = absolute;
        any = true;
    }
    uint8_t leds = rfb_leds(input_leds(c->vnc->vm));
    if (c->knows_leds && leds != c->told_leds) {
        insert(c, ENC_LED_STATE, 0, 0, &leds, 1);
        c->told_leds = leds;
        any = true;
    }
    return any;
}

static void tell_encodings(struct vnc_client *c)
{
    uint8_t message[4 + 4 * MAX_ENCODINGS] = { MSG_SET_ENCODINGS };
    unsigned n = 0;
    for (unsigned i = 0; i < c->n_encodings; i++)
        if (is_for_encoder(c, c->encodings[i]))
            store_be(message + 4 + 4 * n++, 4, (uint32_t)c->encodings[i]);
    store_be(message + 2, 2, n);
    if (!encoder_tell(c->encoder, message, 4 + 4 * n))
        end(c);
}

/* Cut to the picture: what it asks for outside is not there. */
static void tell_request(struct vnc_client *c)
{
    unsigned width = encoder_width(c->encoder), height = encoder_height(c->encoder);
    uint8_t message[10] = { MSG_REQUEST, !c->full_request };
    struct rect r = c->request;
    c->has_request = c->full_request = false;
    if (r.x >= width || r.y >= height || !r.width || !r.height)
        return;
    store_be(message + 2, 2, r.x);
    store_be(message + 4, 2, r.y);
    store_be(message + 6, 2, MIN(r.width, width - r.x));
    store_be(message + 8, 2, MIN(r.height, height - r.y));
    if (!encoder_tell(c->encoder, message, sizeof(message)))
        end(c);
}

static void tell_wishes(struct vnc_client *c, bool picture)
{
    if (c->has_format && !encoder_tell(c->encoder, c->format, sizeof(c->format)))
        end(c);
    if (c->has_encodings)
        tell_encodings(c);
    if (c->has_request && picture)
        tell_request(c);
    c->has_format = c->has_encodings = false;
}

static void copy_part(const struct vnc_client *c, struct rect r)
{
    unsigned width = encoder_width(c->encoder);
    uint32_t *to = encoder_pixels(c->encoder);
    const uint32_t *from = head_pixels(c->vnc->head);
    for (unsigned y = r.y; y < r.y + r.height; y++)
        memcpy(to + (size_t)y * width + r.x, from + (size_t)y * width + r.x, 4 * (size_t)r.width);
    encoder_damage(c->encoder, r);
}

static void copy_picture(struct vnc_client *c)
{
    unsigned width, height;
    picture_size(c->vnc, &width, &height);
    if (c->resized && !encoder_resize(c->encoder, width, height)) {
        end(c);
        return;
    }
    if (c->resized && !c->vnc->head) {
        memset(encoder_pixels(c->encoder), 0, 4 * (size_t)width * height);
        encoder_damage(c->encoder, (struct rect){ 0, 0, width, height });
    }
    c->resized = false;
    for (unsigned i = 0; i < c->n_damage && c->vnc->head; i++)
        copy_part(c, c->damage[i]);
    c->n_damage = 0;
}

static void copy_cursor(struct vnc_client *c)
{
    const struct head *head = c->vnc->head;
    const struct cursor_shape *shape = head ? head_cursor(head) : NULL;
    int x = 0, y = 0;
    if (!c->new_cursor)
        return;
    if (shape && !c->had_cursor) {
        c->had_cursor = true;
        c->has_encodings = true; /* those of cursors count from now on */
    }
    if (c->had_cursor)
        encoder_set_cursor(c->encoder, shape);
    if (head)
        head_cursor_place(head, &x, &y);
    if (shape) /* the place is that of the shape's corner; the library's of its hot spot */
        encoder_move_cursor(c->encoder, x + (int)shape->hot_x, y + (int)shape->hot_y);
    c->new_cursor = false;
}

/* Start a job if there is one; a viewer that asks for everything gets it at once, else not too often. */
static void run_encoder(struct vnc_client *c, uint64_t *wait_ns)
{
    bool changed = c->n_damage || c->new_cursor || c->resized;
    bool picture = c->has_request || (changed && encoder_waits(c->encoder));
    uint64_t now = host_now_ns(), since = now - c->last_frame_ns;
    if (picture && !c->full_request && since < FRAME_NS) {
        *wait_ns = FRAME_NS - since;
        picture = false;
    }
    if (picture) {
        copy_cursor(c);
        copy_picture(c);
        c->last_frame_ns = now;
    }
    if (!insert_news(c) && !picture && !c->has_format && !c->has_encodings)
        return;
    tell_wishes(c, picture);
    if (!c->gone)
        encoder_start(c->encoder);
}

uint64_t vnc_client_run(struct vnc_client *c)
{
    uint64_t wait_ns = UINT64_MAX, now = host_now_ns();
    if (c->state != AT_NORMAL && !c->gone) {
        if (now >= c->login_by_ns)
            end(c);
        else
            wait_ns = c->login_by_ns - now;
    }
    if (!c->gone && c->encoder && encoder_has_started(c->encoder) && !encoder_is_busy(c->encoder))
        run_encoder(c, &wait_ns);
    if (c->gone)
        vnc_client_free(c);
    return wait_ns;
}

/* ---- coming and going ------------------------------------------------------------------------------ */
void vnc_client_new(struct vnc *vnc, int fd, bool skip_auth)
{
    struct vnc_client *c = xcalloc(1, sizeof(*c));
    int one = 1;
    *c = (struct vnc_client){ .vnc = vnc,
                              .fd = fd,
                              .skip_auth = skip_auth,
                              .login_by_ns = host_now_ns() + LOGIN_SECONDS * NS_PER_S,
                              .told_absolute = -1,
                              .told_leds = -1,
                              .next = vnc->clients };
    vnc->clients = c;
    vnc->n_clients++;
    vnc_socket_end(fd, true, &c->peer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* not of a unix socket */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    put(c, "RFB 003.008\n", 12);
    watch(c);
    tell_event(c, EVENT_VNC_CONNECTED);
}

void vnc_client_free(struct vnc_client *c)
{
    struct vnc *vnc = c->vnc;
    struct vnc_client **at = &vnc->clients;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    vnc->n_clients--;
    tell_event(c, EVENT_VNC_DISCONNECTED);
    loop_unwatch(vnc->vm->loop, c->fd);
    if (c->encoder) {
        if (c->watches_output)
            loop_unwatch(vnc->vm->loop, encoder_output(c->encoder));
        loop_unwatch(vnc->vm->loop, encoder_done(c->encoder));
        pointer_end(&c->pointer);
        keyboard_free(c->keyboard);
        vnc_add_ending(vnc, c->encoder);
        vnc_count_changed(vnc);
    }
    clipboard_leave(vnc->vm, &c->peer_clipboard);
    free(c->cut);
    close(c->fd);
    free(c);
}

bool vnc_client_looks(const struct vnc_client *c)
{
    return c->encoder && !c->gone;
}

void vnc_client_end(const struct vnc_client *c, struct vnc_end *out)
{
    *out = c->peer;
}

struct vnc_client *vnc_client_next(const struct vnc_client *c)
{
    return c->next;
}
