/* PS/2 keyboard and mouse; see ps2.h. */
#include "hw/input/ps2.h"

enum { ACK = 0xfa, RESEND = 0xfe, TESTED = 0xaa, RESET = 0xff };
enum { KEYS_LIMIT = PS2_QUEUE / 2 }; /* answers to commands have the rest for themselves */
enum { BUTTON_FIRST = 0x110, N_BUTTONS = 5, REL_WHEEL = 8 };

/* ---- queues ----------------------------------------------------------------------------------- */
static void put(struct ps2_queue *q, uint8_t byte)
{
    if (q->n < PS2_QUEUE)
        q->bytes[q->n++] = byte;
}

static void put_all(struct ps2_queue *q, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put(q, bytes[i]);
}

uint8_t ps2_take(struct ps2_queue *q)
{
    q->last = q->bytes[0];
    q->n--;
    memmove(q->bytes, q->bytes + 1, q->n);
    return q->last;
}

/* ---- keys ------------------------------------------------------------------------------------- */
/* Index: a byte of scan set 2. */
const uint8_t ps2_set1[0x85] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29,
    0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11,
    0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14,
    0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24,
    0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35,
    0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36,
    0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c,
    0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
    0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, 0x80, 0x81, 0x82, 0x41, 0x54,
};

/* Keys whose set 1 code is not their number: 0xe000 stands for the prefix. */
static const struct {
    uint16_t key, set1;
} special_keys[] = {
    { 89, 0x73 },    { 92, 0x79 },    { 93, 0x70 },    { 94, 0x7b },    { 96, 0xe01c },
    { 97, 0xe01d },  { 98, 0xe035 },  { 99, 0xe037 },  { 100, 0xe038 }, { 102, 0xe047 },
    { 103, 0xe048 }, { 104, 0xe049 }, { 105, 0xe04b }, { 106, 0xe04d }, { 107, 0xe04f },
    { 108, 0xe050 }, { 109, 0xe051 }, { 110, 0xe052 }, { 111, 0xe053 }, { 113, 0xe020 },
    { 114, 0xe02e }, { 115, 0xe030 }, { 116, 0xe05e }, { 124, 0x7d },   { 125, 0xe05b },
    { 126, 0xe05c }, { 127, 0xe05d }, { 142, 0xe05f }, { 143, 0xe063 }, { 163, 0xe019 },
    { 164, 0xe022 }, { 165, 0xe010 }, { 166, 0xe024 }, { 183, 0x64 },   { 184, 0x65 },
    { 185, 0x66 },   { 186, 0x67 },   { 187, 0x68 },   { 188, 0x69 },   { 189, 0x6a },
    { 190, 0x6b },   { 191, 0x6c },   { 192, 0x6d },   { 193, 0x6e },   { 194, 0x76 },
};
enum { KEY_PAUSE = 119, LAST_PLAIN_KEY = 88 };

/* 0: no such key. */
static uint16_t set1_of(unsigned key)
{
    if ((key >= 1 && key <= 83) || (key >= 86 && key <= LAST_PLAIN_KEY))
        return (uint16_t)key;
    for (size_t i = 0; i < ARRAY_LEN(special_keys); i++)
        if (special_keys[i].key == key)
            return special_keys[i].set1;
    return 0;
}

static uint8_t set2_of(uint8_t set1)
{
    for (unsigned i = 1; i < 0x80; i++)
        if (ps2_set1[i] == set1)
            return set1 == 0x41 ? 0x83 : (uint8_t)i; /* F7 */
    return 0;
}

static size_t key_bytes(const struct ps2_keyboard *k, unsigned key, bool down, uint8_t *out)
{
    static const uint8_t pause1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    static const uint8_t pause2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
    bool set1 = k->scan_set == 1;
    uint16_t code = set1_of(key);
    size_t n = 0;
    if (key == KEY_PAUSE) { /* has no release */
        n = !down ? 0 : set1 ? sizeof(pause1) : sizeof(pause2);
        memcpy(out, set1 ? pause1 : pause2, n);
        return n;
    }
    if (code >> 8)
        out[n++] = 0xe0;
    if (set1) {
        out[n++] = (uint8_t)code | (down ? 0 : 0x80);
        return n;
    }
    if (!down)
        out[n++] = 0xf0;
    out[n++] = set2_of((uint8_t)code);
    return n;
}

bool ps2_keyboard_event(struct ps2_keyboard *k, const struct input_event *e)
{
    uint8_t bytes[8];
    if (e->type != INPUT_EV_KEY || !k->scanning || (!set1_of(e->code) && e->code != KEY_PAUSE))
        return false;
    size_t n = key_bytes(k, e->code, e->value, bytes);
    if (k->queue.n + n > KEYS_LIMIT)
        return false;
    put_all(&k->queue, bytes, n);
    return true;
}

/* ---- keyboard commands ------------------------------------------------------------------------ */
static void keyboard_defaults(struct ps2_keyboard *k)
{
    k->queue.n = 0;
    k->scan_set = 2;
    k->typematic = 0x2b;
}

void ps2_keyboard_reset(struct ps2_keyboard *k)
{
    *k = (struct ps2_keyboard){ .scanning = true };
    keyboard_defaults(k);
}

static void keyboard_parameter(struct ps2_keyboard *k, uint8_t command, uint8_t v)
{
    switch (command) {
    case 0xed: k->leds = v & 7; break;
    case 0xf3: k->typematic = v & 0x7f; break;
    default: /* 0xf0: there is no set 3 */
        if (v > 2) {
            put(&k->queue, RESEND);
            return;
        }
        put(&k->queue, ACK);
        if (v)
            k->scan_set = v;
        else
            put(&k->queue, k->scan_set);
        return;
    }
    put(&k->queue, ACK);
}

void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte)
{
    static const uint8_t id[] = { ACK, 0xab, 0x83 };
    uint8_t command = k->command;
    k->command = 0;
    if (command && byte < 0x80) {
        keyboard_parameter(k, command, byte);
        return;
    }
    switch (byte) {
    case 0xed: /* indicators */
    case 0xf0: /* scan set */
    case 0xf3: /* typematic rate */
        k->command = byte;
        put(&k->queue, ACK);
        break;
    case 0xee: put(&k->queue, 0xee); break;
    case 0xf2: put_all(&k->queue, id, sizeof(id)); break;
    case 0xf4:
    case 0xf5:
    case 0xf6:
        if (byte == 0xf4)
            k->queue.n = 0;
        else
            keyboard_defaults(k);
        k->scanning = byte != 0xf5;
        put(&k->queue, ACK);
        break;
    case RESEND: put(&k->queue, k->queue.last); break;
    case RESET:
        ps2_keyboard_reset(k);
        put(&k->queue, ACK);
        put(&k->queue, TESTED);
        break;
    default: put(&k->queue, RESEND);
    }
}

/* ---- the mouse -------------------------------------------------------------------------------- */
static void mouse_defaults(struct ps2_mouse *m)
{
    m->rate = 100;
    m->resolution = 2;
    m->double_scale = m->remote = m->reporting = false;
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    *m = (struct ps2_mouse){ .buttons = m->buttons };
    mouse_defaults(m);
}

/* As much of *sum as a packet holds; the rest stays. */
static int take_part(uint32_t *sum, int most)
{
    int32_t v = (int32_t)*sum;
    int part = v > most ? most : v < -most ? -most : v;
    *sum -= (uint32_t)part;
    return part;
}

static void put_packet(struct ps2_mouse *m)
{
    int dx = take_part(&m->dx, 255), dy = -take_part(&m->dy, 255);
    put(&m->queue, 0x08 | (m->buttons & 7) | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0));
    put(&m->queue, (uint8_t)dx);
    put(&m->queue, (uint8_t)dy);
    if (m->id == 3)
        put(&m->queue, (uint8_t)-take_part(&m->dz, 7));
    else if (m->id == 4)
        put(&m->queue, (-take_part(&m->dz, 7) & 0xf) | (m->buttons >> 3 & 3) << 4);
    else
        m->dz = 0;
    m->reported_buttons = m->buttons;
}

void ps2_mouse_report(struct ps2_mouse *m)
{
    if (!m->reporting || m->remote || m->wrap)
        return;
    while (m->queue.n + 4 <= KEYS_LIMIT &&
           (m->dx || m->dy || (m->dz && m->id) || m->buttons != m->reported_buttons))
        put_packet(m);
}

void ps2_mouse_nudge(struct ps2_mouse *m)
{
    if (m->reporting && !m->remote && !m->wrap && !m->queue.n)
        put_packet(m);
}

bool ps2_mouse_event(struct ps2_mouse *m, const struct input_event *e)
{
    if (e->type == INPUT_EV_KEY && e->code - BUTTON_FIRST < N_BUTTONS && e->code >= BUTTON_FIRST) {
        uint8_t bit = 1 << (e->code - BUTTON_FIRST);
        m->buttons = e->value ? m->buttons | bit : m->buttons & ~bit;
        return true;
    }
    if (e->type != INPUT_EV_REL || !m->reporting)
        return false;
    switch (e->code) {
    case 0: m->dx += e->value; return true;
    case 1: m->dy += e->value; return true;
    case REL_WHEEL: m->dz += e->value; return true;
    default: return false;
    }
}

/* Three rates in a row are a knock at the door of better mice. */
static void mouse_set_rate(struct ps2_mouse *m, uint8_t rate)
{
    if (m->rates[1] == 200 && m->rates[0] == 100 && rate == 80)
        m->id = 3;
    else if (m->rates[1] == 200 && m->rates[0] == 200 && rate == 80)
        m->id = 4;
    m->rates[1] = m->rates[0];
    m->rates[0] = m->rate = rate;
}

static void put_mouse_status(struct ps2_mouse *m)
{
    uint8_t b = m->buttons;
    put(&m->queue, m->remote << 6 | m->reporting << 5 | m->double_scale << 4 | (b & 1) << 2 |
                       (b >> 2 & 1) << 1 | (b >> 1 & 1));
    put(&m->queue, m->resolution);
    put(&m->queue, m->rate);
}

static void mouse_command(struct ps2_mouse *m, uint8_t byte)
{
    put(&m->queue, ACK);
    switch (byte) {
    case 0xe6:
    case 0xe7: m->double_scale = byte & 1; break;
    case 0xe8: /* resolution */
    case 0xf3: /* rate */ m->command = byte; break;
    case 0xe9: put_mouse_status(m); break;
    case 0xea: m->remote = false; break;
    case 0xeb: put_packet(m); break;
    case 0xec: m->wrap = false; break;
    case 0xee: m->wrap = true; break;
    case 0xf0: m->remote = true; break;
    case 0xf2: put(&m->queue, m->id); break;
    case 0xf4:
    case 0xf5:
        m->reporting = byte == 0xf4;
        m->dx = m->dy = m->dz = 0;
        break;
    case 0xf6: mouse_defaults(m); break;
    default: m->queue.bytes[m->queue.n - 1] = RESEND;
    }
}

void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte)
{
    uint8_t command = m->command;
    m->command = 0;
    if (byte == RESET) {
        ps2_mouse_reset(m);
        put_all(&m->queue, (const uint8_t[]){ ACK, TESTED, 0 }, 3);
    } else if (m->wrap && byte != 0xec) {
        put(&m->queue, byte);
    } else if (byte == RESEND) {
        put(&m->queue, m->queue.last);
    } else if (command) {
        if (command == 0xe8)
            m->resolution = byte & 3;
        else
            mouse_set_rate(m, byte);
        put(&m->queue, ACK);
    } else if (m->queue.n < PS2_QUEUE - 8) {
        mouse_command(m, byte);
    }
}

/* ---- state ------------------------------------------------------------------------------------ */
static const struct field queue_fields[] = {
    FIELD(struct ps2_queue, n, .max = PS2_QUEUE),
    FIELD_RAW(struct ps2_queue, bytes),
    FIELD(struct ps2_queue, last),
};
const struct field ps2_keyboard_fields[6] = {
    FIELD_SUB(struct ps2_keyboard, queue, queue_fields, 1),
    FIELD(struct ps2_keyboard, command),
    FIELD(struct ps2_keyboard, scan_set, .max = 2),
    FIELD(struct ps2_keyboard, leds, .valid = 7),
    FIELD(struct ps2_keyboard, typematic),
    FIELD(struct ps2_keyboard, scanning),
};
const struct field ps2_mouse_fields[15] = {
    FIELD_SUB(struct ps2_mouse, queue, queue_fields, 1),
    FIELD(struct ps2_mouse, command),
    FIELD(struct ps2_mouse, id, .max = 4),
    FIELD(struct ps2_mouse, rate),
    FIELD(struct ps2_mouse, resolution, .max = 3),
    FIELD_ARRAY(struct ps2_mouse, rates),
    FIELD(struct ps2_mouse, double_scale),
    FIELD(struct ps2_mouse, remote),
    FIELD(struct ps2_mouse, wrap),
    FIELD(struct ps2_mouse, reporting),
    FIELD(struct ps2_mouse, buttons, .valid = 0x1f),
    FIELD(struct ps2_mouse, reported_buttons, .valid = 0x1f),
    FIELD(struct ps2_mouse, dx),
    FIELD(struct ps2_mouse, dy),
    FIELD(struct ps2_mouse, dz),
};
