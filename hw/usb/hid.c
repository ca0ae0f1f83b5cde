/* usb-kbd, usb-mouse, usb-tablet: human interface devices. Section numbers: Device Class Definition for HID
 * 1.11; usages: HID Usage Tables 1.12. Keyboard and mouse send the same reports in both protocols: the
 * boot layout (Appendix B), to which the mouse adds its wheel. */
#include "hw/usb/hid.h"

#include "core/clock.h"
#include "core/vm.h"
#include "hw/usb/usb.h"

enum { /* 7.2 */
       GET_REPORT = 0xa101,
       GET_IDLE = 0xa102,
       GET_PROTOCOL = 0xa103,
       SET_REPORT = 0x2109,
       SET_IDLE = 0x210a,
       SET_PROTOCOL = 0x210b,
       GET_DESCRIPTOR = 0x8106,
};
enum { D_HID = 0x21, D_REPORT = 0x22, INPUT_REPORT = 1, OUTPUT_REPORT = 2 };
enum { N_QUEUED = 32, MAX_REPORT = 8, ENDPOINT = 0x81 };
enum { N_KEYS = 6, N_HELD = 16, ROLL_OVER = 0x01, FIRST_MODIFIER = 0xe0 }; /* usages of page 7 */
enum { KEY_LAST = 248, BUTTON_FIRST = 0x110, N_BUTTONS = 5, REL_X = 0, REL_Y = 1, REL_WHEEL = 8 };
enum { IDLE_UNIT_NS = 4000000 };

/* What a report says. Keyboard: `code` went down or up. Pointer: all as it is then. */
struct hid_event {
    uint8_t code, down; /* usage */
    uint8_t buttons;
    int32_t x, y, wheel; /* mouse: how far since the last; tablet: where */
};

struct usb_hid {
    struct usb_device u;
    /* state */
    uint8_t protocol, idle, leds;
    bool polled; /* a driver has asked for reports since it chose the configuration */
    uint8_t modifiers;
    uint8_t keys[N_HELD], n_keys; /* that are down, by usage */
    struct hid_event now;         /* pointer: as last reported */
    struct hid_event queue[N_QUEUED];
    uint8_t n_queued;
    uint64_t repeat_at_ns; /* idle: the same again then; 0: never */
    struct timer *repeat;  /* derived from it */
};

static const struct usb_model models[N_INPUT_KINDS];

static struct usb_hid *hid_of(struct usb_device *u)
{
    return container_of(u, struct usb_hid, u);
}

static enum input_kind kind_of(const struct usb_hid *h)
{
    return (enum input_kind)(h->u.model - models);
}

/* ---- descriptors: 6.2; B.1, B.2 ------------------------------------------------------------------------------- */
static const uint8_t keyboard_report[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, /* generic desktop, keyboard: application */
    0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, 0x15, 0x00, 0x25, 0x01,             /* modifiers */
    0x75, 0x01, 0x95, 0x08, 0x81, 0x02, 0x95, 0x01, 0x75, 0x08, 0x81, 0x01, /* a byte of nothing */
    0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02, /* lights */
    0x95, 0x01, 0x75, 0x03, 0x91, 0x01, 0x95, 0x06, 0x75, 0x08, 0x15, 0x00,
    0x26, 0xff, 0x00, /* six keys */
    0x05, 0x07, 0x19, 0x00, 0x2a, 0xff, 0x00, 0x81, 0x00, 0xc0,
};
#define POINTER_HEAD(buttons_)                                                                    \
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, /* mouse, pointer: physical */    \
        0x05, 0x09, 0x19, 0x01, 0x29, (buttons_), 0x15, 0x00, 0x25, 0x01, 0x95, (buttons_), 0x75, \
        0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 8 - (buttons_), 0x81, 0x01
#define WHEEL                                                                                 \
    0x05, 0x01, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00, 0x75, 0x08, 0x95, \
        0x01, 0x81, 0x06
static const uint8_t mouse_report[] = {
    POINTER_HEAD(N_BUTTONS),
    0x05,
    0x01,
    0x09,
    0x30,
    0x09,
    0x31,
    0x15,
    0x81,
    0x25,
    0x7f, /* X and Y: how far */
    0x75,
    0x08,
    0x95,
    0x02,
    0x81,
    0x06,
    WHEEL,
    0xc0,
    0xc0,
};
static const uint8_t tablet_report[] = {
    POINTER_HEAD(N_BUTTONS),
    0x05,
    0x01,
    0x09,
    0x30,
    0x09,
    0x31,
    0x15,
    0x00,
    0x26,
    0xff,
    0x7f, /* X and Y: where */
    0x35,
    0x00,
    0x46,
    0xff,
    0x7f,
    0x75,
    0x10,
    0x95,
    0x02,
    0x81,
    0x02,
    WHEEL,
    0xc0,
    0xc0,
};
#define HID_DESCRIPTOR(report)                                  \
    {                                                           \
        9, D_HID, 0x11, 0x01, 0, 1, D_REPORT, sizeof(report), 0 \
    }
static const uint8_t keyboard_hid[] = HID_DESCRIPTOR(keyboard_report);
static const uint8_t mouse_hid[] = HID_DESCRIPTOR(mouse_report);
static const uint8_t tablet_hid[] = HID_DESCRIPTOR(tablet_report);

/* Full and low speed count intervals in ms, high speed in powers of 125 us. */
#define HID_ENDPOINT(size_)                                                                    \
    {                                                                                          \
        {                                                                                      \
            .address = ENDPOINT, .attributes = 3, .size = { 0, (size_), (size_), (size_), 0 }, \
            .interval = {                                                                      \
                0,                                                                             \
                4,                                                                             \
                10,                                                                            \
                6,                                                                             \
                0                                                                              \
            }                                                                                  \
        }                                                                                      \
    }
static const struct usb_endpoint keyboard_endpoints[] = HID_ENDPOINT(8);
static const struct usb_endpoint mouse_endpoints[] = HID_ENDPOINT(4);
static const struct usb_endpoint tablet_endpoints[] = HID_ENDPOINT(8);

static const struct usb_interface keyboard_interface[] = {
    { 3, 1, 1, keyboard_hid, sizeof(keyboard_hid), TABLE(keyboard_endpoints) },
};
static const struct usb_interface mouse_interface[] = {
    { 3, 1, 2, mouse_hid, sizeof(mouse_hid), TABLE(mouse_endpoints) },
};
static const struct usb_interface tablet_interface[] = {
    { 3, 0, 0, tablet_hid, sizeof(tablet_hid), TABLE(tablet_endpoints) },
};
static const struct {
    const uint8_t *report, *hid;
    uint8_t n;
} descriptors[N_INPUT_KINDS] = {
    [INPUT_KEYBOARD] = { keyboard_report, keyboard_hid, sizeof(keyboard_report) },
    [INPUT_MOUSE] = { mouse_report, mouse_hid, sizeof(mouse_report) },
    [INPUT_TABLET] = { tablet_report, tablet_hid, sizeof(tablet_report) },
};

/* ---- keys -------------------------------------------------------------------------------------------------------- */
/* Usage of page 7 by Linux's number of the key; 0: it has none. */
static const uint8_t usages[KEY_LAST + 1] = {
    [1] = 0x29,   [2] = 0x1e,   [3] = 0x1f,   [4] = 0x20,   [5] = 0x21,   [6] = 0x22,
    [7] = 0x23,   [8] = 0x24,   [9] = 0x25,   [10] = 0x26,  [11] = 0x27,  [12] = 0x2d,
    [13] = 0x2e,  [14] = 0x2a,  [15] = 0x2b,  [16] = 0x14,  [17] = 0x1a,  [18] = 0x08,
    [19] = 0x15,  [20] = 0x17,  [21] = 0x1c,  [22] = 0x18,  [23] = 0x0c,  [24] = 0x12,
    [25] = 0x13,  [26] = 0x2f,  [27] = 0x30,  [28] = 0x28,  [29] = 0xe0,  [30] = 0x04,
    [31] = 0x16,  [32] = 0x07,  [33] = 0x09,  [34] = 0x0a,  [35] = 0x0b,  [36] = 0x0d,
    [37] = 0x0e,  [38] = 0x0f,  [39] = 0x33,  [40] = 0x34,  [41] = 0x35,  [42] = 0xe1,
    [43] = 0x31,  [44] = 0x1d,  [45] = 0x1b,  [46] = 0x06,  [47] = 0x19,  [48] = 0x05,
    [49] = 0x11,  [50] = 0x10,  [51] = 0x36,  [52] = 0x37,  [53] = 0x38,  [54] = 0xe5,
    [55] = 0x55,  [56] = 0xe2,  [57] = 0x2c,  [58] = 0x39,  [59] = 0x3a,  [60] = 0x3b,
    [61] = 0x3c,  [62] = 0x3d,  [63] = 0x3e,  [64] = 0x3f,  [65] = 0x40,  [66] = 0x41,
    [67] = 0x42,  [68] = 0x43,  [69] = 0x53,  [70] = 0x47,  [71] = 0x5f,  [72] = 0x60,
    [73] = 0x61,  [74] = 0x56,  [75] = 0x5c,  [76] = 0x5d,  [77] = 0x5e,  [78] = 0x57,
    [79] = 0x59,  [80] = 0x5a,  [81] = 0x5b,  [82] = 0x62,  [83] = 0x63,  [85] = 0x94,
    [86] = 0x64,  [87] = 0x44,  [88] = 0x45,  [89] = 0x87,  [90] = 0x92,  [91] = 0x93,
    [92] = 0x8a,  [93] = 0x88,  [94] = 0x8b,  [95] = 0x8c,  [96] = 0x58,  [97] = 0xe4,
    [98] = 0x54,  [99] = 0x46,  [100] = 0xe6, [102] = 0x4a, [103] = 0x52, [104] = 0x4b,
    [105] = 0x50, [106] = 0x4f, [107] = 0x4d, [108] = 0x51, [109] = 0x4e, [110] = 0x49,
    [111] = 0x4c, [113] = 0x7f, [114] = 0x81, [115] = 0x80, [116] = 0x66, [117] = 0x67,
    [119] = 0x48, [121] = 0x85, [122] = 0x90, [123] = 0x91, [124] = 0x89, [125] = 0xe3,
    [126] = 0xe7, [127] = 0x65, [128] = 0x78, [129] = 0x79, [130] = 0x76, [131] = 0x7a,
    [132] = 0x77, [133] = 0x7c, [134] = 0x74, [135] = 0x7d, [136] = 0x7e, [137] = 0x7b,
    [138] = 0x75, [183] = 0x68, [184] = 0x69, [185] = 0x6a, [186] = 0x6b, [187] = 0x6c,
    [188] = 0x6d, [189] = 0x6e, [190] = 0x6f, [191] = 0x70, [192] = 0x71, [193] = 0x72,
    [194] = 0x73,
};

static void key_apply(struct usb_hid *h, const struct hid_event *e)
{
    if (e->code >= FIRST_MODIFIER) {
        uint8_t bit = (uint8_t)(1 << (e->code & 7));
        h->modifiers = e->down ? h->modifiers | bit : h->modifiers & ~bit;
        return;
    }
    for (unsigned i = 0; i < h->n_keys; i++)
        if (h->keys[i] == e->code) {
            memmove(h->keys + i, h->keys + i + 1, h->n_keys - i - 1u);
            h->keys[--h->n_keys] = 0;
            break;
        }
    if (e->down && h->n_keys < N_HELD)
        h->keys[h->n_keys++] = e->code;
}

/* ---- reports ----------------------------------------------------------------------------------------------------- */
static void take_event(struct usb_hid *h)
{
    if (!h->n_queued) {
        if (kind_of(h) == INPUT_MOUSE)
            h->now.x = h->now.y = 0;
        h->now.wheel = 0;
        return;
    }
    struct hid_event *first = &h->queue[0];
    if (kind_of(h) == INPUT_KEYBOARD)
        key_apply(h, first);
    h->now = *first;
    bool moves = kind_of(h) == INPUT_MOUSE;
    /* A report counts to 127: what is more stays for the next one. */
    int32_t *counts[] = { &first->wheel, moves ? &first->x : NULL, moves ? &first->y : NULL };
    int32_t *says[] = { &h->now.wheel, &h->now.x, &h->now.y };
    bool rest = false;
    for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
        if (!counts[i])
            continue;
        *says[i] = MAX(-127, MIN(127, *counts[i]));
        *counts[i] -= *says[i];
        rest |= *counts[i] != 0;
    }
    if (rest)
        return;
    h->n_queued--;
    memmove(h->queue, h->queue + 1, h->n_queued * sizeof(h->queue[0]));
}

static uint32_t report_fill(const struct usb_hid *h, uint8_t *r)
{
    memset(r, 0, MAX_REPORT);
    switch (kind_of(h)) {
    case INPUT_KEYBOARD:
        r[0] = h->modifiers;
        if (h->n_keys <= N_KEYS)
            memcpy(r + 2, h->keys, N_KEYS);
        else /* Appendix C: more than there is room for */
            memset(r + 2, ROLL_OVER, N_KEYS);
        return 8;
    case INPUT_MOUSE:
        r[0] = h->now.buttons;
        r[1] = (uint8_t)h->now.x;
        r[2] = (uint8_t)h->now.y;
        r[3] = (uint8_t)h->now.wheel;
        return h->protocol ? 4 : 3;
    default:
        r[0] = h->now.buttons;
        store_le(r + 1, 2, (uint32_t)h->now.x);
        store_le(r + 3, 2, (uint32_t)h->now.y);
        r[5] = (uint8_t)h->now.wheel;
        return 6;
    }
}

static void set_repeat(struct usb_hid *h)
{
    h->repeat_at_ns = h->idle ? vm_now_ns(h->u.dev.vm) + h->idle * (uint64_t)IDLE_UNIT_NS : 0;
    if (h->repeat_at_ns)
        timer_set(h->repeat, h->repeat_at_ns);
    else
        timer_cancel(h->repeat);
}

static enum usb_result transfer(struct usb_device *u, struct usb_packet *p)
{
    struct usb_hid *h = hid_of(u);
    uint8_t report[MAX_REPORT];
    bool again = h->repeat_at_ns && vm_now_ns(u->dev.vm) >= h->repeat_at_ns;
    h->polled = true;
    if (!h->n_queued && !again)
        return USB_NAK;
    take_event(h);
    uint32_t n = report_fill(h, report);
    usb_move(p, report, n);
    set_repeat(h);
    return USB_OK;
}

static void repeat_due(void *opaque)
{
    struct usb_hid *h = opaque;
    struct usb_bus *bus = h->u.bus;
    if (!bus)
        return;
    usb_lock(bus);
    usb_wakeup(&h->u, ENDPOINT);
    usb_unlock(bus);
}

/* ---- requests: 7.1, 7.2 -------------------------------------------------------------------------------------------- */
static enum usb_result get_descriptor(struct usb_hid *h, struct usb_packet *p)
{
    uint8_t copy[128];
    bool is_report = p->setup[3] == D_REPORT;
    if (!is_report && p->setup[3] != D_HID)
        return USB_STALL;
    const uint8_t *from = is_report ? descriptors[kind_of(h)].report : descriptors[kind_of(h)].hid;
    uint32_t n = is_report ? descriptors[kind_of(h)].n : 9;
    memcpy(copy, from, n);
    usb_move(p, copy, n);
    return USB_OK;
}

static enum usb_result control(struct usb_device *u, struct usb_packet *p)
{
    struct usb_hid *h = hid_of(u);
    uint8_t report[MAX_REPORT] = { 0 };
    switch (p->setup[0] << 8 | p->setup[1]) {
    case GET_DESCRIPTOR: return get_descriptor(h, p);
    case GET_REPORT:
        if (p->setup[3] != INPUT_REPORT)
            return USB_STALL;
        usb_move(p, report, report_fill(h, report));
        return USB_OK;
    case SET_REPORT:
        if (p->setup[3] != OUTPUT_REPORT || kind_of(h) != INPUT_KEYBOARD ||
            usb_move(p, report, 1) != 1)
            return USB_STALL;
        h->leds = report[0] & 31;
        return USB_OK;
    case GET_IDLE: usb_move(p, &h->idle, 1); return USB_OK;
    case SET_IDLE:
        h->idle = p->setup[3];
        set_repeat(h);
        return USB_OK;
    case GET_PROTOCOL: usb_move(p, &h->protocol, 1); return USB_OK;
    case SET_PROTOCOL: h->protocol = p->setup[2] & 1; return USB_OK;
    default: return USB_STALL;
    }
}

static void cancel(struct usb_device *u, struct usb_packet *p)
{
}

static void forget_driver(struct usb_device *u)
{
    struct usb_hid *h = hid_of(u);
    h->polled = false;
    h->protocol = 1; /* 7.2.6: of reports */
    h->idle = 0;
    set_repeat(h);
}

static void bus_reset(struct usb_device *u)
{
    struct usb_hid *h = hid_of(u);
    forget_driver(u);
    h->leds = h->modifiers = h->n_keys = h->n_queued = 0;
    memset(h->keys, 0, sizeof(h->keys));
    memset(h->queue, 0, sizeof(h->queue));
    h->now = (struct hid_event){ 0 };
}

#define HID_MODEL(product_, name_, interface_)                                                     \
    {                                                                                              \
        .vendor = 0x0627, .product = (product_), .release = 0x0100, .manufacturer = "Tandem",      \
        .name = (name_), .attributes = 0xa0, .power = 50, .speeds = 1 << USB_FULL | 1 << USB_HIGH, \
        .interfaces = TABLE(interface_), .control = control, .transfer = transfer,                 \
        .cancel = cancel, .reset = bus_reset, .configured = forget_driver,                         \
    }
static const struct usb_model models[N_INPUT_KINDS] = {
    [INPUT_KEYBOARD] = HID_MODEL(1, "USB Keyboard", keyboard_interface),
    [INPUT_MOUSE] = HID_MODEL(2, "USB Mouse", mouse_interface),
    [INPUT_TABLET] = HID_MODEL(3, "USB Tablet", tablet_interface),
};

/* ---- events from users --------------------------------------------------------------------------------------------- */
extern const struct device_class usb_kbd_class, usb_mouse_class, usb_tablet_class;

static const struct device_class *const classes[N_INPUT_KINDS] = { &usb_kbd_class, &usb_mouse_class,
                                                                   &usb_tablet_class };

/* The one plugged in last that is read. */
static struct usb_hid *find_hid(struct vm *vm, enum input_kind kind)
{
    struct usb_hid *found = NULL;
    for (struct device *dev = vm->devices; dev; dev = dev->next) {
        if (!dev->realized || dev->cls != classes[kind])
            continue;
        struct usb_hid *h = container_of(dev, struct usb_hid, u.dev);
        if (!h->u.bus)
            continue;
        usb_lock(h->u.bus);
        if (h->polled && usb_configured(&h->u))
            found = h;
        usb_unlock(h->u.bus);
    }
    return found;
}

bool usb_hid_available(struct vm *vm, enum input_kind kind)
{
    return find_hid(vm, kind);
}

uint32_t usb_hid_leds(struct vm *vm)
{
    struct usb_hid *h = find_hid(vm, INPUT_KEYBOARD);
    if (!h)
        return 0;
    usb_lock(h->u.bus);
    uint32_t leds = h->leds & 7;
    usb_unlock(h->u.bus);
    return leds;
}

static bool take_key(struct usb_hid *h, const struct input_event *e)
{
    uint8_t code = e->type == INPUT_EV_KEY && e->code <= KEY_LAST ? usages[e->code] : 0;
    if (!code || h->n_queued == N_QUEUED)
        return false;
    h->queue[h->n_queued++] = (struct hid_event){ .code = code, .down = e->value != 0 };
    return true;
}

/* Movements add up while nobody asks, to a bound. */
static int32_t add_count(int32_t a, int32_t b)
{
    return (int32_t)MAX(-32768, MIN(32767, (int64_t)a + b));
}

static bool point(struct hid_event *to, const struct input_event *e)
{
    uint8_t bit = 0;
    switch (e->type) {
    case INPUT_EV_KEY:
        if (e->code < BUTTON_FIRST || e->code >= BUTTON_FIRST + N_BUTTONS)
            return false;
        bit = (uint8_t)(1u << (e->code - BUTTON_FIRST));
        to->buttons = e->value ? to->buttons | bit : to->buttons & ~bit;
        return true;
    case INPUT_EV_REL:
        if (e->code != REL_X && e->code != REL_Y && e->code != REL_WHEEL)
            return false;
        int32_t *count = e->code == REL_X ? &to->x : e->code == REL_Y ? &to->y : &to->wheel;
        *count = add_count(*count, (int32_t)e->value);
        return true;
    case INPUT_EV_ABS:
        if (e->code > 1)
            return false;
        *(e->code ? &to->y : &to->x) = (int32_t)MIN(e->value, INPUT_ABS_MAX);
        return true;
    default: return false;
    }
}

static bool take_movement(struct usb_hid *h, const struct input_event *events, size_t n)
{
    bool any = false, is_mouse = kind_of(h) == INPUT_MOUSE;
    struct hid_event *last = h->n_queued ? &h->queue[h->n_queued - 1] : NULL, next;
    next = last ? *last : h->now;
    if (is_mouse)
        next.x = next.y = 0;
    next.wheel = 0;
    for (size_t i = 0; i < n; i++)
        if (events[i].type != (is_mouse ? INPUT_EV_ABS : INPUT_EV_REL) ||
            events[i].code == REL_WHEEL)
            any |= point(&next, &events[i]);
    if (!any)
        return false;
    if (last && (last->buttons == next.buttons || h->n_queued == N_QUEUED)) {
        int32_t x = last->x, y = last->y, wheel = add_count(last->wheel, next.wheel);
        *last = next;
        last->x = is_mouse ? add_count(x, next.x) : next.x;
        last->y = is_mouse ? add_count(y, next.y) : next.y;
        last->wheel = wheel;
    } else {
        h->queue[h->n_queued++] = next;
    }
    return true;
}

bool usb_hid_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                        size_t n)
{
    struct usb_hid *h = find_hid(vm, kind);
    bool any = false;
    if (!h)
        return false;
    usb_lock(h->u.bus);
    if (kind == INPUT_KEYBOARD)
        for (size_t i = 0; i < n; i++)
            any |= take_key(h, &events[i]);
    else
        any = take_movement(h, events, n);
    if (any)
        usb_wakeup(&h->u, ENDPOINT);
    usb_unlock(h->u.bus);
    return any;
}

/* ---- life ---------------------------------------------------------------------------------------------------------- */
static struct error *hid_realize(struct device *dev)
{
    struct usb_hid *h = container_of(dev, struct usb_hid, u.dev);
    unsigned kind = 0;
    while (classes[kind] != dev->cls)
        kind++;
    h->repeat = timer_new(dev->vm, repeat_due, h);
    struct error *err = usb_attach(&h->u, &models[kind]);
    if (err)
        timer_free(h->repeat);
    return err;
}

static void hid_unrealize(struct device *dev)
{
    struct usb_hid *h = container_of(dev, struct usb_hid, u.dev);
    usb_detach(&h->u);
    timer_free(h->repeat);
}

static void hid_reset(struct device *dev)
{
    usb_reset(&container_of(dev, struct usb_hid, u.dev)->u);
}

static struct error *hid_loaded(struct device *dev)
{
    struct usb_hid *h = container_of(dev, struct usb_hid, u.dev);
    if (h->repeat_at_ns)
        timer_set(h->repeat, h->repeat_at_ns);
    return NULL;
}

static const struct prop hid_props[] = { USB_PROPS(struct usb_hid, u) };

static const struct field event_state[] = {
    FIELD(struct hid_event, code),
    FIELD(struct hid_event, down, .max = 1),
    FIELD(struct hid_event, buttons, .valid = (1 << N_BUTTONS) - 1),
    FIELD(struct hid_event, x),
    FIELD(struct hid_event, y),
    FIELD(struct hid_event, wheel),
};
static const struct field hid_state[] = {
    USB_STATE(struct usb_hid, u),
    FIELD(struct usb_hid, protocol, .max = 1),
    FIELD(struct usb_hid, idle),
    FIELD(struct usb_hid, leds, .valid = 31),
    FIELD(struct usb_hid, polled),
    FIELD(struct usb_hid, modifiers),
    FIELD_RAW(struct usb_hid, keys),
    FIELD(struct usb_hid, n_keys, .max = N_HELD),
    FIELD_SUB(struct usb_hid, now, event_state, 1),
    FIELD_SUB(struct usb_hid, queue, event_state, N_QUEUED),
    FIELD(struct usb_hid, n_queued, .max = N_QUEUED),
    FIELD(struct usb_hid, repeat_at_ns),
};

#define HID_CLASS(name_, desc_)                                                                   \
    {                                                                                             \
        .name = (name_), .desc = (desc_), .bus = "usb-bus", .version = 1, .user_creatable = true, \
        .can_hot_plug = true, .size = sizeof(struct usb_hid), .props = TABLE(hid_props),          \
        .state = TABLE(hid_state), .realize = hid_realize, .unrealize = hid_unrealize,            \
        .reset = hid_reset, .loaded = hid_loaded,                                                 \
    }
const struct device_class usb_kbd_class = HID_CLASS("usb-kbd", "USB keyboard");
const struct device_class usb_mouse_class = HID_CLASS("usb-mouse", "USB mouse");
const struct device_class usb_tablet_class =
    HID_CLASS("usb-tablet", "USB tablet: pointer with absolute coordinates");
