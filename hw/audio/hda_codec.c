/* Codecs on a High Definition Audio link: a converter and a jack for each direction. Sections are the
 * specification's, 1.0a. */
#include "core/error.h"
#include "core/vm.h"
#include "hw/audio/hda.h"

enum {
    ROOT = 0,
    FUNCTION = 1,
    FIRST = 2,
    PER_DIRECTION = 2
};                                                   /* nodes: converter, pin; converter, pin */
enum { MUTE = 0x80, STEPS = 0x7f, MOST_STEPS = 64 }; /* of 1 dB up to 0 dB */
enum { FORMAT_48K_STEREO_16 = 0x0011, PIN_OUT = 0x40, PIN_IN = 0x20 };

struct codec_class {
    uint16_t id;
    bool has[2];      /* by direction */
    uint32_t jack[2]; /* configuration defaults of the pins, 7.3.3.31 */
};

static const struct codec_class *class_of(const struct hda_codec *c)
{
    return c->dev.cls->bus_class;
}

/* The direction that a node belongs to; false: it is none of a direction's. */
static bool node_direction(const struct hda_codec *c, unsigned node, enum audio_direction *d,
                           bool *pin)
{
    unsigned i = node - FIRST;
    if (node < FIRST || i >= PER_DIRECTION * HDA_N_CONVERTERS)
        return false;
    bool only_in = !class_of(c)->has[AUDIO_OUT];
    *d = i / PER_DIRECTION || only_in ? AUDIO_IN : AUDIO_OUT;
    *pin = i % PER_DIRECTION;
    return class_of(c)->has[*d] && !(only_in && i / PER_DIRECTION);
}

static unsigned n_widgets(const struct hda_codec *c)
{
    return PER_DIRECTION * (class_of(c)->has[AUDIO_OUT] + class_of(c)->has[AUDIO_IN]);
}

/* ---- parameters (7.3.4) ------------------------------------------------------------------------ */
enum {
    P_VENDOR = 0x00,
    P_REVISION = 0x02,
    P_SUB_NODES = 0x04,
    P_GROUP_TYPE = 0x05,
    P_GROUP_CAPS = 0x08,
    P_WIDGET_CAPS = 0x09,
    P_PCM = 0x0a,
    P_FORMATS = 0x0b,
    P_PIN_CAPS = 0x0c,
    P_IN_AMP = 0x0d,
    P_CONNECTIONS = 0x0e,
    P_POWER = 0x0f,
    P_OUT_AMP = 0x12,
};
enum { W_STEREO = 1, W_IN_AMP = 2, W_OUT_AMP = 4, W_AMP = 8, W_FORMAT = 0x10, W_CONNECTED = 0x100 };
#define PCM_RATES_SIZES 0x001a07ffu /* 8 to 192 kHz; 16, 24 and 32 bits */
#define AMP_CAPS        (UINT32_C(0x80000000) | 3u << 16 | MOST_STEPS << 8 | MOST_STEPS)

static uint32_t widget_parameter(const struct hda_codec *c, enum audio_direction d, bool pin,
                                 unsigned p)
{
    uint32_t amp = c->mixer && !pin ? AMP_CAPS : 0;
    switch (p) {
    case P_WIDGET_CAPS:
        if (pin)
            return 4u << 20 | W_STEREO | (d == AUDIO_OUT ? W_CONNECTED : 0);
        return (d == AUDIO_IN ? 1u << 20 | W_CONNECTED : 0) | W_STEREO | W_FORMAT |
               (!c->mixer ? 0 : W_AMP | (d == AUDIO_OUT ? W_OUT_AMP : W_IN_AMP));
    case P_PCM: return pin ? 0 : PCM_RATES_SIZES;
    case P_FORMATS: return !pin;
    case P_PIN_CAPS: return !pin ? 0 : d == AUDIO_OUT ? 0x10 : 0x20;
    case P_CONNECTIONS: return pin == (d == AUDIO_OUT);
    case P_IN_AMP: return d == AUDIO_IN ? amp : 0;
    case P_OUT_AMP: return d == AUDIO_OUT ? amp : 0;
    default: return 0;
    }
}

static uint32_t parameter(const struct hda_codec *c, unsigned node, unsigned p)
{
    enum audio_direction d;
    bool pin;
    if (node == ROOT)
        return p == P_VENDOR      ? 0x1af40000u | class_of(c)->id
               : p == P_REVISION  ? 0x00100101
               : p == P_SUB_NODES ? FUNCTION << 16 | 1
                                  : 0;
    if (node == FUNCTION)
        return p == P_SUB_NODES    ? FIRST << 16 | n_widgets(c)
               : p == P_GROUP_TYPE ? 1 /* audio */
               : p == P_GROUP_CAPS ? 0x0808
               : p == P_PCM        ? PCM_RATES_SIZES
               : p == P_FORMATS    ? 1
               : p == P_POWER      ? 0x9 /* D0, D3 */
                                   : 0;
    return node_direction(c, node, &d, &pin) ? widget_parameter(c, d, pin, p) : 0;
}

/* ---- converters -------------------------------------------------------------------------------- */
/* 3.7.1: sample size, rate and channels of a stream. */
static bool read_format(uint16_t format, struct audio_settings *s)
{
    static const enum audio_format sizes[8] = { PCM_U8,          PCM_S16,        PCM_S32,
                                                PCM_S32,         PCM_S32,        AUDIO_N_FORMATS,
                                                AUDIO_N_FORMATS, AUDIO_N_FORMATS };
    unsigned base = format & 0x4000 ? 44100 : 48000, times = format >> 11 & 7;
    s->format = sizes[format >> 4 & 7];
    s->rate = base * (times + 1) / ((format >> 8 & 7) + 1u);
    s->channels = (format & 15u) + 1;
    return !(format & 0x8000) && times <= 3 && s->format != AUDIO_N_FORMATS &&
           s->channels <= AUDIO_MAX_CHANNELS;
}

static double gain_of(const struct hda_codec *c, uint8_t gain)
{
    double v = 1;
    if (!c->mixer)
        return 1;
    if (gain & MUTE)
        return 0;
    for (unsigned i = gain & STEPS; i < MOST_STEPS; i++)
        v *= 0.8912509381337456; /* -1 dB */
    return v;
}

static void follow_gain(struct hda_codec *c, enum audio_direction d)
{
    const struct hda_converter *v = &c->converters[d];
    if (v->stream)
        audio_stream_set_gain(v->stream, gain_of(c, v->gain[0]), gain_of(c, v->gain[1]));
}

void hda_codec_follow(struct hda_codec *c, const uint16_t runs[2])
{
    for (unsigned d = 0; d < HDA_N_CONVERTERS; d++) {
        const struct hda_converter *v = &c->converters[d];
        struct audio_settings settings;
        if (!v->stream)
            continue;
        if (v->tag && runs[d] >> v->tag & 1 && read_format(v->format, &settings))
            audio_stream_start(v->stream, &settings);
        else
            audio_stream_stop(v->stream);
    }
}

static size_t codec_play(void *opaque, uint8_t *buf, size_t n)
{
    struct hda_codec *c = opaque;
    if (!c->hda)
        return 0;
    return hda_move(c->hda, c, AUDIO_OUT, buf, n);
}

static size_t codec_record(void *opaque, uint8_t *buf, size_t n)
{
    struct hda_codec *c = opaque;
    if (!c->hda)
        return 0;
    return hda_move(c->hda, c, AUDIO_IN, buf, n);
}

/* ---- verbs (7.3.3) ----------------------------------------------------------------------------- */
enum {
    SET_FORMAT = 0x2,
    SET_AMP = 0x3,
    GET_FORMAT = 0xa,
    GET_AMP = 0xb,
    SET_POWER = 0x705,
    SET_STREAM = 0x706,
    SET_PIN = 0x707,
    SET_UNSOLICITED = 0x708,
    SET_DEFAULT = 0x71c, /* to 0x71f: a byte each */
    FUNCTION_RESET = 0x7ff,
    GET_PARAMETER = 0xf00,
    GET_CONNECTIONS = 0xf02,
    GET_POWER = 0xf05,
    GET_STREAM = 0xf06,
    GET_PIN = 0xf07,
    GET_UNSOLICITED = 0xf08,
    GET_SENSE = 0xf09,
    GET_DEFAULT = 0xf1c,
    GET_SUBSYSTEM = 0xf20,
};

static void set_amp(struct hda_codec *c, enum audio_direction d, unsigned value)
{
    struct hda_converter *v = &c->converters[d];
    if (!c->mixer || !(value & (d == AUDIO_OUT ? 0x8000 : 0x4000)))
        return;
    uint8_t gain = (uint8_t)(MIN(value & STEPS, MOST_STEPS) | (value & MUTE));
    if (value & 0x2000)
        v->gain[0] = gain;
    if (value & 0x1000)
        v->gain[1] = gain;
    follow_gain(c, d);
}

static uint32_t converter_verb(struct hda_codec *c, enum audio_direction d, unsigned verb,
                               unsigned value)
{
    struct hda_converter *v = &c->converters[d];
    switch (verb) {
    case SET_FORMAT: v->format = (uint16_t)value; return 0;
    case GET_FORMAT: return v->format;
    case SET_AMP: set_amp(c, d, value); return 0;
    case GET_AMP:
        return c->mixer && !(value & 0x8000) == (d == AUDIO_IN) ? v->gain[!(value & 0x2000)] : 0;
    case SET_STREAM:
        v->tag = value >> 4 & 15;
        v->channel = value & 15;
        return 0;
    case GET_STREAM: return (uint32_t)v->tag << 4 | v->channel;
    case GET_CONNECTIONS: return d == AUDIO_IN && !value ? FIRST + n_widgets(c) - 1 : 0;
    default: return 0;
    }
}

static uint32_t pin_verb(struct hda_codec *c, enum audio_direction d, unsigned verb, unsigned value)
{
    switch (verb) {
    case SET_PIN: c->pins[d] = (uint8_t)value; return 0;
    case GET_PIN: return c->pins[d];
    case SET_UNSOLICITED: c->unsolicited[d] = (uint8_t)value; return 0;
    case GET_UNSOLICITED: return c->unsolicited[d];
    case GET_SENSE: return 0x80000000; /* something is plugged in */
    case GET_DEFAULT: return c->defaults[d];
    case GET_CONNECTIONS: return d == AUDIO_OUT && !value ? FIRST : 0;
    default: break;
    }
    if (verb >= SET_DEFAULT && verb < SET_DEFAULT + 4) {
        unsigned at = 8 * (verb - SET_DEFAULT);
        c->defaults[d] = (c->defaults[d] & ~(0xffu << at)) | value << at;
    }
    return 0;
}

static uint32_t function_verb(struct hda_codec *c, unsigned verb, unsigned value)
{
    switch (verb) {
    case SET_POWER: c->power = value & 15; return 0;
    case GET_POWER: return (uint32_t)c->power << 4 | c->power;
    case GET_SUBSYSTEM: return 0x1af40000u | class_of(c)->id;
    case FUNCTION_RESET: hda_codec_reset(c); return 0;
    default: return 0;
    }
}

uint32_t hda_codec_verb(struct hda_codec *c, uint32_t command)
{
    unsigned node = command >> 20 & 0xff, verb = command >> 16 & 15, value = command & 0xffff;
    enum audio_direction d;
    bool pin;
    if (verb == 0x7 || verb == 0xf) { /* 12 bits, and 8 of payload */
        verb = command >> 8 & 0xfff;
        value = command & 0xff;
    }
    if (verb == GET_PARAMETER)
        return parameter(c, node, value);
    if (node == FUNCTION)
        return function_verb(c, verb, value);
    if (!node_direction(c, node, &d, &pin))
        return 0;
    return pin ? pin_verb(c, d, verb, value) : converter_verb(c, d, verb, value);
}

/* ---- life -------------------------------------------------------------------------------------- */
void hda_codec_reset(struct hda_codec *c)
{
    for (unsigned d = 0; d < HDA_N_CONVERTERS; d++) {
        struct hda_converter *v = &c->converters[d];
        v->tag = v->channel = 0;
        v->format = FORMAT_48K_STEREO_16;
        v->gain[0] = v->gain[1] = MOST_STEPS;
        c->pins[d] = d == AUDIO_OUT ? PIN_OUT : PIN_IN;
        c->defaults[d] = class_of(c)->jack[d];
        c->unsolicited[d] = 0;
        follow_gain(c, d);
        if (v->stream)
            audio_stream_stop(v->stream);
    }
    c->power = 0;
}

static struct error *codec_realize(struct device *dev)
{
    struct hda_codec *c = (struct hda_codec *)dev;
    struct error *err = hda_attach(c);
    if (err)
        return err;
    struct audio *a = c->audio ? c->audio : audio_default(dev->vm);
    if (class_of(c)->has[AUDIO_OUT])
        c->converters[AUDIO_OUT].stream = audio_stream_new(a, AUDIO_OUT, dev, codec_play, c);
    if (class_of(c)->has[AUDIO_IN])
        c->converters[AUDIO_IN].stream = audio_stream_new(a, AUDIO_IN, dev, codec_record, c);
    return NULL;
}

static void codec_unrealize(struct device *dev)
{
    struct hda_codec *c = (struct hda_codec *)dev;
    for (unsigned d = 0; d < HDA_N_CONVERTERS; d++)
        audio_stream_free(c->converters[d].stream);
    hda_detach(c);
}

static void codec_reset(struct device *dev)
{
    hda_codec_reset((struct hda_codec *)dev);
}

/* Controller and codec come in either order: each of them starts streams. */
static struct error *codec_loaded(struct device *dev)
{
    struct hda_codec *c = (struct hda_codec *)dev;
    for (unsigned d = 0; d < HDA_N_CONVERTERS; d++)
        follow_gain(c, d);
    if (c->hda)
        hda_follow(c->hda);
    return NULL;
}

static const struct prop codec_props[] = {
    PROP(struct hda_codec, bus_name, "bus", PROP_STRING,
         .help = "ID.0 of the controller; default: the first"),
    PROP(struct hda_codec, address, "cad", PROP_UINT, .def = "0xffffffff",
         .help = "address; default: a free one"),
    PROP(struct hda_codec, mixer, "mixer", PROP_BOOL, .def = "on",
         .help = "the guest can set the volume"),
    PROP(struct hda_codec, audio, "audiodev", PROP_AUDIO,
         .help = "id of an -audiodev; default: the first"),
};

static const struct field converter_fields[] = {
    FIELD(struct hda_converter, tag, .valid = 15),
    FIELD(struct hda_converter, channel, .valid = 15),
    FIELD(struct hda_converter, format),
    FIELD_ARRAY(struct hda_converter, gain),
};
static const struct field codec_state[] = {
    FIELD_SUB(struct hda_codec, converters, converter_fields, HDA_N_CONVERTERS),
    FIELD_ARRAY(struct hda_codec, pins),
    FIELD(struct hda_codec, power, .valid = 15),
    FIELD_ARRAY(struct hda_codec, defaults),
    FIELD_ARRAY(struct hda_codec, unsolicited),
};

#define JACK_LINE_OUT 0x01014110u
#define JACK_LINE_IN  0x01813120u
#define JACK_MIC      0x01a19120u
#define CODEC(ID, name_, desc_, ...)                              \
    static const struct codec_class ID##_codec = { __VA_ARGS__ }; \
    const struct device_class ID##_class = {                      \
        .name = (name_),                                          \
        .desc = (desc_),                                          \
        .bus = "HDA",                                             \
        .version = 1,                                             \
        .user_creatable = true,                                   \
        .can_hot_plug = true,                                     \
        .size = sizeof(struct hda_codec),                         \
        .props = TABLE(codec_props),                              \
        .state = TABLE(codec_state),                              \
        .bus_class = &ID##_codec,                                 \
        .realize = codec_realize,                                 \
        .unrealize = codec_unrealize,                             \
        .reset = codec_reset,                                     \
        .loaded = codec_loaded,                                   \
    };
CODEC(hda_output, "hda-output", "HD Audio codec: line out", 0x12, { true, false },
      { JACK_LINE_OUT, 0 })
CODEC(hda_duplex, "hda-duplex", "HD Audio codec: line out and line in", 0x22, { true, true },
      { JACK_LINE_OUT, JACK_LINE_IN })
CODEC(hda_micro, "hda-micro", "HD Audio codec: line out and microphone", 0x32, { true, true },
      { JACK_LINE_OUT, JACK_MIC })
