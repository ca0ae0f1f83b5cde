/* virtio input devices (VIRTIO 1.3, 5.8): keyboard, mouse, tablet. What they have is a table; the
 * driver asks for it piece by piece through a window in the configuration. */
#include "hw/input/virtio_input.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/virtio/virtio.h"

#include <stdio.h>

/* 5.8.4: what `select` asks for */
enum {
    CFG_ID_NAME = 0x01,
    CFG_ID_SERIAL = 0x02,
    CFG_ID_DEVIDS = 0x03,
    CFG_PROP_BITS = 0x10,
    CFG_EV_BITS = 0x11,
    CFG_ABS_INFO = 0x12,
};
enum { SELECT = 0, SUBSEL = 1, SIZE = 2, UNION = 8, UNION_SIZE = 128, CONFIG_SIZE = 136 };
enum { EVENT_SIZE = 8, QUEUE_SIZE = 64, MAX_GROUP = 16, N_CODES = UNION_SIZE * 8 };
enum { EV_REP = 20, BUS_VIRTUAL = 6, VENDOR = 0x0627 };

/* Codes first..last of one event type. */
struct code_range {
    uint16_t type, first, last;
};
struct input_desc {
    const char *name;
    uint16_t product;
    struct {
        const struct code_range *at;
        size_t n;
    } codes;
};

static const struct code_range keyboard_codes[] = {
    { INPUT_EV_KEY, 1, 248 }, /* all keys up to the microphone's mute */
    { INPUT_EV_LED, 0, 2 },
    { EV_REP, 0, 1 },
};
static const struct code_range mouse_codes[] = {
    { INPUT_EV_KEY, 0x110, 0x114 }, /* left, right, middle, side, extra */
    { INPUT_EV_REL, 0, 1 },
    { INPUT_EV_REL, 6, 6 },
    { INPUT_EV_REL, 8, 8 }, /* wheels */
};
static const struct code_range tablet_codes[] = {
    { INPUT_EV_KEY, 0x110, 0x114 },
    { INPUT_EV_ABS, 0, 1 },
    { INPUT_EV_REL, 6, 6 },
    { INPUT_EV_REL, 8, 8 },
};
static const struct input_desc descs[N_INPUT_KINDS] = {
    [INPUT_KEYBOARD] = { "Virtio Keyboard", 1, TABLE(keyboard_codes) },
    [INPUT_MOUSE] = { "Virtio Mouse", 2, TABLE(mouse_codes) },
    [INPUT_TABLET] = { "Virtio Tablet", 3, TABLE(tablet_codes) },
};

struct virtio_input {
    struct virtio_device v;
    char *serial; /* property */
    /* state */
    uint8_t select, subsel;
    uint32_t leds;
};

static const struct virtio_model input_models[N_INPUT_KINDS];

static struct virtio_input *input_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_input, v);
}

static enum input_kind kind_of(const struct virtio_input *d)
{
    return (enum input_kind)(d->v.model - input_models);
}

static bool has_code(const struct input_desc *desc, unsigned type, unsigned code)
{
    for (size_t i = 0; i < desc->codes.n; i++) {
        const struct code_range *r = &desc->codes.at[i];
        if (r->type == type && code >= r->first && code <= r->last)
            return true;
    }
    return false;
}

/* ---- configuration --------------------------------------------------------------------------- */
/* Each fills the union and returns how many bytes of it mean something. */
static unsigned put_text(uint8_t *to, const char *text)
{
    size_t n = strnlen(text, UNION_SIZE);
    memcpy(to, text, n);
    return (unsigned)n;
}

static unsigned put_ids(uint8_t *to, const struct input_desc *desc)
{
    store_le(to, 2, BUS_VIRTUAL);
    store_le(to + 2, 2, VENDOR);
    store_le(to + 4, 2, desc->product);
    store_le(to + 6, 2, 1);
    return 8;
}

static unsigned put_codes(uint8_t *to, const struct input_desc *desc, unsigned type)
{
    unsigned n = 0;
    for (unsigned code = 0; code < N_CODES; code++)
        if (has_code(desc, type, code)) {
            to[code / 8] |= (uint8_t)(1u << code % 8);
            n = code / 8 + 1;
        }
    return n;
}

static unsigned put_axis(uint8_t *to, const struct input_desc *desc, unsigned axis)
{
    if (!has_code(desc, INPUT_EV_ABS, axis))
        return 0;
    store_le(to + 4, 4, INPUT_ABS_MAX); /* min, max, fuzz, flat, resolution */
    return 20;
}

static void get_config(struct virtio_device *v, uint8_t *config)
{
    const struct virtio_input *d = input_of(v);
    const struct input_desc *desc = &descs[kind_of(d)];
    uint8_t *to = config + UNION;
    unsigned n = 0;
    config[SELECT] = d->select;
    config[SUBSEL] = d->subsel;
    switch (d->select) {
    case CFG_ID_NAME: n = put_text(to, desc->name); break;
    case CFG_ID_SERIAL: n = put_text(to, d->serial ? d->serial : ""); break;
    case CFG_ID_DEVIDS: n = put_ids(to, desc); break;
    case CFG_EV_BITS: n = put_codes(to, desc, d->subsel); break;
    case CFG_ABS_INFO: n = put_axis(to, desc, d->subsel); break;
    default: break; /* CFG_PROP_BITS: none */
    }
    config[SIZE] = (uint8_t)n;
}

static void set_config(struct virtio_device *v, uint32_t off, const uint8_t *data, uint32_t n)
{
    struct virtio_input *d = input_of(v);
    if (off == SELECT)
        d->select = data[0];
    if (off <= SUBSEL && off + n > SUBSEL)
        d->subsel = data[SUBSEL - off];
}

/* ---- events ----------------------------------------------------------------------------------- */
/* All of the group or, when the driver has not enough buffers, none of it. Device lock held. */
static bool send_group(struct virtio_input *d, const struct input_event *events, size_t n)
{
    struct virtq *q = &d->v.queues[0];
    struct virtq_chain *chains[MAX_GROUP + 1];
    for (size_t i = 0; i < n; i++) {
        chains[i] = virtq_pop(q);
        if (chains[i])
            continue;
        while (i)
            virtq_unpop(chains[--i]);
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        uint8_t raw[EVENT_SIZE];
        store_le(raw, 2, events[i].type);
        store_le(raw + 2, 2, events[i].code);
        store_le(raw + 4, 4, events[i].value);
        virtq_push(chains[i], (uint32_t)chain_write(chains[i], 0, raw, sizeof(raw)));
    }
    virtq_notify(q);
    return true;
}

static struct virtio_input *find_input(struct vm *vm, enum input_kind kind)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next)
        if (dev->realized && dev->cls->bus_class == &input_models[kind]) {
            struct virtio_input *d = container_of(dev, struct virtio_input, v.dev);
            device_lock(dev);
            bool running = virtio_running(&d->v);
            device_unlock(dev);
            if (running)
                return d;
        }
    return NULL;
}

bool virtio_input_available(struct vm *vm, enum input_kind kind)
{
    return find_input(vm, kind);
}

bool virtio_input_send_event(struct vm *vm, enum input_kind kind, const struct input_event *events,
                             size_t n)
{
    struct virtio_input *d = find_input(vm, kind);
    struct input_event group[MAX_GROUP + 1];
    size_t k = 0;
    if (!d || n > MAX_GROUP)
        return false;
    for (size_t i = 0; i < n; i++)
        if (has_code(&descs[kind], events[i].type, events[i].code))
            group[k++] = events[i];
    if (!k)
        return false;
    group[k++] = (struct input_event){ INPUT_EV_SYN, 0, 0 };
    device_lock(&d->v.dev);
    bool taken = send_group(d, group, k);
    device_unlock(&d->v.dev);
    return taken;
}

uint32_t virtio_input_leds(struct vm *vm)
{
    struct virtio_input *d = find_input(vm, INPUT_KEYBOARD);
    if (!d)
        return 0;
    device_lock(&d->v.dev);
    uint32_t leds = d->leds;
    device_unlock(&d->v.dev);
    return leds;
}

static void take_status(struct virtio_input *d, const struct virtq_chain *c)
{
    uint8_t raw[EVENT_SIZE];
    if (chain_read(c, 0, raw, sizeof(raw)) < sizeof(raw))
        return;
    uint64_t type = load_le(raw, 2), code = load_le(raw + 2, 2), value = load_le(raw + 4, 4);
    if (type != INPUT_EV_LED || !has_code(&descs[kind_of(d)], INPUT_EV_LED, (unsigned)code))
        return;
    d->leds &= ~(1u << code);
    d->leds |= (uint32_t)(value != 0) << code;
}

static void handle_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtq_chain *c;
    if (q->index == 0)
        return; /* buffers for events to come */
    while ((c = virtq_pop(q))) {
        take_status(input_of(v), c);
        virtq_push(c, 0);
    }
    virtq_notify(q);
}

/* ---- life ------------------------------------------------------------------------------------- */
static void reset(struct virtio_device *v)
{
    struct virtio_input *d = input_of(v);
    d->select = d->subsel = 0;
    d->leds = 0;
}

static struct error *realize(struct virtio_device *v)
{
    virtio_add_queue(v, QUEUE_SIZE);
    virtio_add_queue(v, QUEUE_SIZE);
    return NULL;
}

#define INPUT_MODEL(pci_class_)                                                 \
    {                                                                           \
        .device_id = 18, .pci_class = (pci_class_), .config_size = CONFIG_SIZE, \
        .realize = realize, .get_config = get_config, .set_config = set_config, \
        .handle_queue = handle_queue, .reset = reset,                           \
    }
static const struct virtio_model input_models[N_INPUT_KINDS] = {
    [INPUT_KEYBOARD] = INPUT_MODEL(0x090000),
    [INPUT_MOUSE] = INPUT_MODEL(0x090200),
    [INPUT_TABLET] = INPUT_MODEL(0x090200),
};

#define INPUT_PROPS , PROP(struct virtio_input, serial, "serial", PROP_STRING)
#define INPUT_STATE                                                           \
    , FIELD(struct virtio_input, select), FIELD(struct virtio_input, subsel), \
        FIELD(struct virtio_input, leds, .valid = 7)
VIRTIO_CLASSES(virtio_keyboard, "virtio-keyboard", "keyboard", struct virtio_input,
               input_models[INPUT_KEYBOARD], INPUT_PROPS, INPUT_STATE)
VIRTIO_CLASSES(virtio_mouse, "virtio-mouse", "mouse", struct virtio_input,
               input_models[INPUT_MOUSE], INPUT_PROPS, INPUT_STATE)
VIRTIO_CLASSES(virtio_tablet, "virtio-tablet", "tablet: pointer with absolute coordinates",
               struct virtio_input, input_models[INPUT_TABLET], INPUT_PROPS, INPUT_STATE)
