#include "ui/audio.h"

#include "core/backends.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/options.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/audio_driver.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

enum { CHUNK = 512 }; /* frames that are mixed at a time */
enum { LEAST_PERIOD_US = 1000, MOST_PERIOD_US = 40000 };
#define MOST_LATE_NS (50 * UINT64_C(1000000)) /* time beyond is skipped */

const char *const audio_format_names[AUDIO_N_FORMATS + 1] = { "u8",  "s8",  "u16", "s16",
                                                              "u32", "s32", "f32", NULL };
static const struct audio_driver *const drivers[] = { &audio_none, &audio_sdl, &audio_wav };

struct audio_stream {
    struct audio *a;
    enum audio_direction direction;
    const struct device *dev;
    audio_move_fn *move;
    void *opaque;
    struct audio_stream *next;

    /* Under the back end's lock. */
    struct audio_settings wanted;
    bool on;
    uint32_t starts; /* counts: the main loop begins anew */
    double gain[2];

    /* Main loop's. */
    struct audio_settings now;
    uint32_t begun; /* of starts */
    double gain_now[2];
    bool running, primed;
    uint64_t frames; /* moved */
    uint32_t phase;  /* between `before` and `after`, in frames of the other side's rate */
    double before[AUDIO_MAX_CHANNELS], after[AUDIO_MAX_CHANNELS];
};

struct audio {
    struct vm *vm;
    const struct audio_driver *driver;
    void *data;
    char *path;
    struct audio_settings of[2];
    bool set[2];
    uint64_t period_us; /* as the user said */
    struct timer *tick;
    pthread_mutex_t lock;         /* a leaf, but for timers */
    struct audio_stream *streams; /* changed by the main loop while no vCPU runs */
    bool ticking;                 /* under the lock: the timer is set */
    bool stands;                  /* under the lock: the VM is stopped */
    uint64_t since_ns;            /* under the lock: moved up to here */

    /* Main loop's. */
    bool running[2];
    uint64_t rest[2]; /* frames * NS_PER_S that are not due yet */
    double mix[CHUNK * AUDIO_MAX_CHANNELS];
    uint8_t raw[CHUNK * AUDIO_MAX_CHANNELS * 4];
};

/* ---- samples ----------------------------------------------------------------------------------- */
unsigned audio_format_size(enum audio_format format)
{
    static const uint8_t sizes[AUDIO_N_FORMATS] = { 1, 1, 2, 2, 4, 4, 4 };
    return sizes[format];
}

double audio_sample(enum audio_format format, const uint8_t *at)
{
    float f;
    switch (format) {
    case PCM_U8: return (at[0] - 128) / 128.0;
    case PCM_S8: return (int8_t)at[0] / 128.0;
    case PCM_U16: return ((int)load_le(at, 2) - 32768) / 32768.0;
    case PCM_S16: return (int16_t)load_le(at, 2) / 32768.0;
    case PCM_U32: return ((int64_t)load_le(at, 4) - 2147483648) / 2147483648.0;
    case PCM_S32: return (int32_t)load_le(at, 4) / 2147483648.0;
    default: break;
    }
    uint32_t word = (uint32_t)load_le(at, 4);
    memcpy(&f, &word, sizeof(f));
    return isfinite(f) ? fmax(-16, fmin(16, (double)f)) : 0; /* the guest's: any bits */
}

static int64_t scaled(double v, double full)
{
    return (int64_t)lrint(fmax(-full, fmin(full - 1, v * full)));
}

void audio_put_sample(enum audio_format format, uint8_t *at, double v)
{
    float f = (float)v;
    uint32_t word;
    switch (format) {
    case PCM_U8: at[0] = (uint8_t)(scaled(v, 128) + 128); return;
    case PCM_S8: at[0] = (uint8_t)scaled(v, 128); return;
    case PCM_U16: store_le(at, 2, (uint64_t)(scaled(v, 32768) + 32768)); return;
    case PCM_S16: store_le(at, 2, (uint64_t)scaled(v, 32768)); return;
    case PCM_U32: store_le(at, 4, (uint64_t)(scaled(v, 2147483648) + 2147483648)); return;
    case PCM_S32: store_le(at, 4, (uint64_t)scaled(v, 2147483648)); return;
    default: break;
    }
    memcpy(&word, &f, sizeof(word));
    store_le(at, 4, word);
}

static void read_frames(const struct audio_settings *s, const uint8_t *raw, unsigned n, double *to)
{
    unsigned size = audio_format_size(s->format);
    for (unsigned i = 0; i < n * s->channels; i++)
        to[i] = audio_sample(s->format, raw + i * size);
}

static void write_frames(const struct audio_settings *s, const double *from, unsigned n,
                         uint8_t *raw)
{
    unsigned size = audio_format_size(s->format);
    for (unsigned i = 0; i < n * s->channels; i++)
        audio_put_sample(s->format, raw + i * size, from[i]);
}

/* A frame of n_from channels as one of n_to: mono goes to both sides, two become their mean, else each to its own. */
static void map_channels(const double *from, unsigned n_from, double *to, unsigned n_to)
{
    for (unsigned i = 0; i < n_to; i++)
        to[i] = i < n_from ? from[i] : 0;
    if (n_from == 1 && n_to > 1)
        to[1] = from[0];
    if (n_to == 1 && n_from > 1)
        to[0] = (from[0] + from[1]) / 2;
}

/* ---- rates: linear between neighbours ---------------------------------------------------------- */
/* How many frames of rate `from` make the next n of rate `to`? */
static unsigned frames_needed(const struct audio_stream *s, unsigned n, unsigned from, unsigned to)
{
    if (from == to)
        return n;
    return (unsigned)((s->phase + (uint64_t)n * from) / to) + (s->primed ? 0 : 2);
}

/* n frames of `channels` into out, from exactly frames_needed at in. */
static void convert_rate(struct audio_stream *s, const double *in, unsigned channels, unsigned from,
                         unsigned to, double *out, unsigned n)
{
    size_t frame = channels * sizeof(double);
    if (from == to) {
        memcpy(out, in, n * frame);
        return;
    }
    if (!s->primed) {
        memcpy(s->before, in, frame);
        memcpy(s->after, in + channels, frame);
        in += 2 * channels;
        s->primed = true;
    }
    for (unsigned i = 0; i < n; i++) {
        for (unsigned c = 0; c < channels; c++)
            *out++ = s->before[c] + (s->after[c] - s->before[c]) * s->phase / to;
        uint64_t phase = (uint64_t)s->phase + from;
        for (; phase >= to; phase -= to, in += channels) {
            memcpy(s->before, s->after, frame);
            memcpy(s->after, in, frame);
        }
        s->phase = (uint32_t)phase;
    }
}

/* ---- moving ------------------------------------------------------------------------------------ */
/* Room for n frames of a stream, beside the mix: rates differ by a factor that is bounded. */
struct scratch {
    double *samples;
    uint8_t *raw;
};

static struct scratch scratch_new(unsigned frames, unsigned channels)
{
    return (struct scratch){ xcalloc((size_t)frames * channels + 1, sizeof(double)),
                             xcalloc((size_t)frames * channels + 1, 4) };
}

static void scratch_free(struct scratch *s)
{
    free(s->samples);
    free(s->raw);
}

static void play_stream(struct audio_stream *s, unsigned n)
{
    struct audio *a = s->a;
    const struct audio_settings *own = &s->now, *host = &a->of[AUDIO_OUT];
    unsigned k = frames_needed(s, n, own->rate, host->rate);
    struct scratch in = scratch_new(k, own->channels), out = scratch_new(n, own->channels);
    size_t want = (size_t)k * audio_frame_size(own), got = s->move(s->opaque, in.raw, want);
    unsigned got_frames = (unsigned)(MIN(got, want) / audio_frame_size(own));
    s->frames += got_frames;
    read_frames(own, in.raw, got_frames, in.samples);
    convert_rate(s, in.samples, own->channels, own->rate, host->rate, out.samples, n);
    for (unsigned i = 0; i < n; i++) {
        double frame[AUDIO_MAX_CHANNELS], *at = out.samples + (size_t)i * own->channels;
        at[0] *= s->gain_now[0];
        if (own->channels > 1)
            at[1] *= s->gain_now[1];
        map_channels(at, own->channels, frame, host->channels);
        for (unsigned c = 0; c < host->channels; c++)
            a->mix[i * host->channels + c] += frame[c];
    }
    scratch_free(&in);
    scratch_free(&out);
}

/* n frames of the host's are in a->mix. */
static void record_stream(struct audio_stream *s, unsigned n)
{
    struct audio *a = s->a;
    const struct audio_settings *own = &s->now, *host = &a->of[AUDIO_IN];
    unsigned channels = own->channels, k = 0;
    struct scratch out =
        scratch_new((unsigned)((uint64_t)n * own->rate / host->rate) + 2, channels);
    for (unsigned i = 0; i < n; i++) {
        memcpy(s->before, s->after, sizeof(s->before));
        map_channels(a->mix + (size_t)i * host->channels, host->channels, s->after, channels);
        for (unsigned c = 0; c < MIN(channels, 2); c++)
            s->after[c] *= s->gain_now[c];
        s->phase += own->rate; /* in frames of the host's rate */
        unsigned more = s->phase / host->rate;
        s->phase %= host->rate;
        for (unsigned j = 1; j <= more; j++, k++)
            for (unsigned c = 0; c < channels; c++)
                out.samples[(size_t)k * channels + c] =
                    s->before[c] + (s->after[c] - s->before[c]) * j / more;
    }
    write_frames(own, out.samples, k, out.raw);
    s->frames += k;
    if (k)
        s->move(s->opaque, out.raw, (size_t)k * audio_frame_size(own));
    scratch_free(&out);
}

static void move_chunk(struct audio *a, enum audio_direction direction, unsigned n)
{
    const struct audio_settings *host = &a->of[direction];
    size_t bytes = (size_t)n * audio_frame_size(host);
    memset(a->mix, 0, sizeof(a->mix));
    if (direction == AUDIO_IN) {
        size_t got = a->driver->record(a->data, a->raw, bytes);
        read_frames(host, a->raw, (unsigned)(MIN(got, bytes) / audio_frame_size(host)), a->mix);
    }
    for (struct audio_stream *s = a->streams; s; s = s->next)
        if (s->running && s->direction == direction)
            (direction == AUDIO_OUT ? play_stream : record_stream)(s, n);
    if (direction == AUDIO_OUT) {
        write_frames(host, a->mix, n, a->raw);
        a->driver->play(a->data, a->raw, bytes);
    }
}

/* Between two moves: what the user said, within what makes sense. */
static uint64_t period_ns(const struct audio *a)
{
    return MAX(LEAST_PERIOD_US, MIN(a->period_us, MOST_PERIOD_US)) * 1000;
}

/* Take over what was asked for since the last time: is anything to be done? And for how long. */
static void look(struct audio *a, bool any[2], uint64_t *passed_ns)
{
    any[AUDIO_OUT] = any[AUDIO_IN] = false;
    pthread_mutex_lock(&a->lock);
    for (struct audio_stream *s = a->streams; s; s = s->next) {
        s->running = s->on && !a->stands;
        any[s->direction] |= s->running;
        memcpy(s->gain_now, s->gain, sizeof(s->gain));
        if (s->begun == s->starts)
            continue;
        s->begun = s->starts;
        s->now = s->wanted;
        s->primed = false;
        s->phase = 0;
        memset(s->before, 0, sizeof(s->before));
        memset(s->after, 0, sizeof(s->after));
    }
    uint64_t now = vm_now_ns(a->vm);
    *passed_ns = now > a->since_ns ? MIN(now - a->since_ns, MOST_LATE_NS) : 0;
    a->since_ns = now;
    a->ticking = any[AUDIO_OUT] || any[AUDIO_IN];
    if (a->ticking)
        timer_set(a->tick, now + period_ns(a));
    pthread_mutex_unlock(&a->lock);
}

static void tick(void *opaque)
{
    struct audio *a = opaque;
    bool any[2];
    uint64_t passed_ns;
    look(a, any, &passed_ns);
    for (unsigned d = 0; d < 2; d++) {
        if (any[d] != a->running[d])
            a->driver->run(a->data, d, any[d]);
        if (any[d] && !a->running[d])
            a->rest[d] = 0;
        a->running[d] = any[d];
        if (!any[d])
            continue;
        a->rest[d] += passed_ns * a->of[d].rate;
        uint64_t n = a->rest[d] / NS_PER_S;
        a->rest[d] %= NS_PER_S;
        for (; n; n -= MIN(n, CHUNK))
            move_chunk(a, d, (unsigned)MIN(n, CHUNK));
    }
}

/* While the VM stands the host's side does, too; guest memory is not touched. */
static void follow_vm(void *opaque, bool running)
{
    struct audio *a = opaque;
    bool any = false;
    pthread_mutex_lock(&a->lock);
    a->stands = !running;
    for (struct audio_stream *s = a->streams; s; s = s->next)
        any |= s->on;
    if (running && any && !a->ticking) {
        a->ticking = true;
        a->since_ns = vm_now_ns(a->vm);
        timer_set(a->tick, a->since_ns + period_ns(a));
    }
    pthread_mutex_unlock(&a->lock);
    if (!running)
        tick(a);
}

/* ---- streams ----------------------------------------------------------------------------------- */
struct audio_stream *audio_stream_new(struct audio *a, enum audio_direction direction,
                                      const struct device *dev, audio_move_fn *move, void *opaque)
{
    struct audio_stream *s = xcalloc(1, sizeof(*s));
    *s = (struct audio_stream){ .a = a,
                                .direction = direction,
                                .dev = dev,
                                .move = move,
                                .opaque = opaque,
                                .gain = { 1, 1 },
                                .next = a->streams };
    pthread_mutex_lock(&a->lock);
    a->streams = s;
    pthread_mutex_unlock(&a->lock);
    return s;
}

void audio_stream_free(struct audio_stream *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->a->lock);
    struct audio_stream **at = &s->a->streams;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    pthread_mutex_unlock(&s->a->lock);
    free(s);
}

static bool are_sane(const struct audio_settings *s)
{
    return s->format < AUDIO_N_FORMATS && s->channels >= 1 && s->channels <= AUDIO_MAX_CHANNELS &&
           s->rate >= AUDIO_MIN_RATE && s->rate <= AUDIO_MAX_RATE;
}

bool audio_stream_start(struct audio_stream *s, const struct audio_settings *settings)
{
    struct audio *a = s->a;
    bool good = are_sane(settings);
    pthread_mutex_lock(&a->lock);
    if (!s->on || memcmp(&s->wanted, settings, sizeof(*settings)))
        s->starts++;
    s->wanted = *settings;
    s->on = good;
    if (good && !a->ticking) {
        a->ticking = true;
        a->since_ns = vm_now_ns(a->vm);
        timer_set(a->tick, a->since_ns + period_ns(a));
    }
    pthread_mutex_unlock(&a->lock);
    return good;
}

void audio_stream_stop(struct audio_stream *s)
{
    pthread_mutex_lock(&s->a->lock);
    s->on = false;
    pthread_mutex_unlock(&s->a->lock);
}

void audio_stream_set_gain(struct audio_stream *s, double left, double right)
{
    pthread_mutex_lock(&s->a->lock);
    s->gain[0] = left;
    s->gain[1] = right;
    pthread_mutex_unlock(&s->a->lock);
}

/* ---- back ends --------------------------------------------------------------------------------- */
static void audio_free(void *backend)
{
    struct audio *a = backend;
    vm_forget(a->vm, a);
    timer_free(a->tick);
    a->driver->close(a->data);
    pthread_mutex_destroy(&a->lock);
    free(a->path);
    free(a);
}

struct error *audio_read_number(struct options *o, const char *name, uint64_t min, uint64_t max,
                                uint64_t *value, bool *set)
{
    const char *text = options_get(o, name);
    uint64_t v;
    if (!text)
        return NULL;
    if (!parse_uint(text, max, &v) || v < min)
        return error_new("%s=%s: a number from %" PRIu64 " to %" PRIu64 " is accepted", name, text,
                         min, max);
    *value = v;
    *set = true;
    return NULL;
}

static struct error *read_format(struct options *o, const char *name, enum audio_format *format,
                                 bool *set)
{
    const char *text = options_get(o, name);
    for (unsigned i = 0; text && i < AUDIO_N_FORMATS; i++)
        if (!strcmp(text, audio_format_names[i])) {
            *format = i;
            *set = true;
            return NULL;
        }
    return text ? error_new("%s=%s: accepted are u8, s8, u16, s16, u32, s32, f32", name, text)
                : NULL;
}

/* ---- options: QEMU's names --------------------------------------------------------------------- */
enum {
    O_FREQUENCY,
    O_CHANNELS,
    O_FORMAT,
    O_MIXING_ENGINE,
    O_FIXED_SETTINGS,
    O_VOICES,
    O_BUFFER_LENGTH,
    N_DIRECTION_OPTIONS
};
static const char *const direction_options[2][N_DIRECTION_OPTIONS] = {
    { "out.frequency", "out.channels", "out.format", "out.mixing-engine", "out.fixed-settings",
      "out.voices", "out.buffer-length" },
    { "in.frequency", "in.channels", "in.format", "in.mixing-engine", "in.fixed-settings",
      "in.voices", "in.buffer-length" },
};

/* How it is here in any case may be said, but not that it be otherwise. */
static struct error *read_fixed(struct options *o, const char *const names[N_DIRECTION_OPTIONS])
{
    static const char *const why[] = {
        [O_MIXING_ENGINE] = "what guests play is always mixed",
        [O_FIXED_SETTINGS] = "the host's side keeps its settings, guests' are converted",
    };
    uint64_t any = 1;
    bool unused;
    for (unsigned i = O_MIXING_ENGINE; i <= O_FIXED_SETTINGS; i++) {
        bool on = true;
        struct error *err = options_get_bool(o, names[i], &on);
        if (!err && !on)
            err = error_new("%s=off: %s; accepted is on", names[i], why[i]);
        if (err)
            return err;
    }
    /* All streams share one voice. What a back end buffers is its own affair. */
    struct error *err = audio_read_number(o, names[O_VOICES], 1, 1024, &any, &unused);
    return err ? err
               : audio_read_number(o, names[O_BUFFER_LENGTH], 1, AUDIO_MOST_BUFFER_US, &any,
                                   &unused);
}

static struct error *read_direction(struct audio *a, struct options *o, unsigned d)
{
    const char *const *names = direction_options[d];
    uint64_t rate = 44100, channels = 2;
    a->of[d].format = PCM_S16;
    struct error *err = audio_read_number(o, names[O_FREQUENCY], 8000, 192000, &rate, &a->set[d]);
    if (!err)
        err = audio_read_number(o, names[O_CHANNELS], 1, AUDIO_MAX_CHANNELS, &channels, &a->set[d]);
    if (!err)
        err = read_format(o, names[O_FORMAT], &a->of[d].format, &a->set[d]);
    a->of[d].rate = (unsigned)rate;
    a->of[d].channels = (unsigned)channels;
    return err ? err : read_fixed(o, names);
}

static struct error *read_options(struct audio *a, struct options *o)
{
    bool unused;
    a->period_us = 10000;
    struct error *err = audio_read_number(o, "timer-period", 1, UINT32_MAX, &a->period_us, &unused);
    for (unsigned d = 0; d < 2 && !err; d++)
        err = read_direction(a, o, d);
    return err;
}

static struct error *refuse_rest(struct audio *a, struct options *o)
{
    const char *known[32] = { "driver", "id", "timer-period" };
    size_t n = 3;
    for (unsigned d = 0; d < 2; d++)
        for (unsigned i = 0; i < N_DIRECTION_OPTIONS; i++)
            known[n++] = direction_options[d][i];
    for (unsigned i = 0; a->driver->options[i]; i++) {
        assert(n < ARRAY_LEN(known));
        known[n++] = a->driver->options[i];
    }
    return options_refuse_rest(o, known, n);
}

static struct error *find_driver(const char *name, const struct audio_driver **out)
{
    static const char *const behind_sdl[] = { "alsa", "coreaudio", "dsound",   "jack",
                                              "oss",  "pa",        "pipewire", "sndio" };
    if (!name)
        return error_new("driver= is missing; accepted are none, sdl, wav");
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++)
        if (!strcmp(drivers[i]->name, name)) {
            *out = drivers[i];
            return NULL;
        }
    for (size_t i = 0; i < ARRAY_LEN(behind_sdl); i++)
        if (!strcmp(behind_sdl[i], name))
            return error_new("there is no sound driver '%s'; sdl plays through what the host has",
                             name);
    return error_new("there is no sound driver '%s'; accepted are none, sdl, wav", name);
}

static struct error *make(struct vm *vm, struct options *o)
{
    struct audio *a = xcalloc(1, sizeof(*a));
    const char *id = options_get(o, "id");
    a->vm = vm;
    struct error *err = find_driver(options_get(o, "driver"), &a->driver);
    if (!err && !id)
        err = error_new("id= is missing");
    if (!err && backend_find(vm, BACKEND_AUDIO, id))
        err = error_new("there is a sound back end '%s' already; choose another id", id);
    if (!err)
        err = read_options(a, o);
    if (!err && strcmp(a->driver->name, "wav") == 0) {
        const char *path = options_get(o, "path");
        a->path = xstrdup(path ? path : "qemu.wav");
    }
    if (!err)
        err = refuse_rest(a, o);
    if (!err)
        err = a->driver->open(vm, o, a->of, &a->data);
    if (err) {
        free(a->path);
        free(a);
        return err;
    }
    pthread_mutex_init(&a->lock, NULL);
    a->tick = timer_new(vm, tick, a);
    vm_on_run(vm, follow_vm, a);
    return backend_add(vm, BACKEND_AUDIO, id, a, audio_free);
}

struct error *audio_add(struct vm *vm, const char *text)
{
    struct options o;
    struct error *err = options_split(text, "driver", &o);
    if (err)
        return err;
    err = make(vm, &o);
    options_free(&o);
    return err;
}

static void first_one(void *opaque, enum backend_kind kind, const char *id, void *backend)
{
    struct audio **first = opaque;
    if (kind == BACKEND_AUDIO && !*first)
        *first = backend;
}

struct audio *audio_default(struct vm *vm)
{
    struct audio *first = NULL;
    backends_each(vm, first_one, &first);
    if (!first) {
        error_free(audio_add(vm, "none,id=none")); /* no id is taken: it cannot fail */
        backends_each(vm, first_one, &first);
    }
    return first;
}

void audio_query(const struct audio *a, struct audio_info *out)
{
    *out = (struct audio_info){ .driver = a->driver->name,
                                .path = a->path,
                                .period_us = (uint32_t)a->period_us };
    for (unsigned d = 0; d < 2; d++) {
        out->of[d] = a->of[d];
        out->set[d] = a->set[d];
    }
}

bool audio_uses_host(const struct audio *a)
{
    return a->driver == &audio_sdl;
}

void audio_each_stream(struct audio *a, void (*see)(void *opaque, const struct audio_stream_info *),
                       void *opaque)
{
    for (struct audio_stream *s = a->streams; s; s = s->next) {
        struct audio_stream_info info = { .dev = s->dev,
                                          .direction = s->direction,
                                          .frames = s->frames };
        pthread_mutex_lock(&a->lock);
        info.on = s->on;
        info.settings = s->wanted;
        pthread_mutex_unlock(&a->lock);
        see(opaque, &info);
    }
}

void audio_help(void (*print)(void *opaque, const char *line), void *opaque)
{
    print(opaque, "DRIVER,id=ID[,out.frequency=HZ][,out.channels=N][,out.format=FORMAT][,in. ...]"
                  "[,timer-period=US]; drivers:");
    for (size_t i = 0; i < ARRAY_LEN(drivers); i++) {
        char *line = xasprintf("  %s - %s", drivers[i]->name, drivers[i]->help);
        print(opaque, line);
        free(line);
    }
}
