/* Sound, between the devices that play and record and the back ends (-audiodev) that are heard. A device opens
 * streams when it is realized; while one is started, the back end asks it for samples, or brings some, at the pace
 * of the guest's clock: a stopped VM is silent, and a host that is late skips time, it never hurries the guest. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audio;
struct audio_stream;
struct device;
struct error;
struct vm;

enum {
    AUDIO_MAX_CHANNELS = 8,
    AUDIO_MIN_RATE = 1000,
    AUDIO_MAX_RATE = 384000,
    AUDIO_MOST_BUFFER_US = 10000000
};
enum audio_format { PCM_U8, PCM_S8, PCM_U16, PCM_S16, PCM_U32, PCM_S32, PCM_F32, AUDIO_N_FORMATS };
extern const char *const audio_format_names[AUDIO_N_FORMATS + 1]; /* "u8", ..., NULL */
unsigned audio_format_size(enum audio_format format); /* bytes of a sample, little-endian */

struct audio_settings {
    enum audio_format format;
    unsigned channels, rate; /* interleaved; frames a second */
};
static inline unsigned audio_frame_size(const struct audio_settings *s)
{
    return s->channels * audio_format_size(s->format);
}

/* ---- for devices ------------------------------------------------------------------------------ */
enum audio_direction { AUDIO_OUT, AUDIO_IN };
/* OUT: fill buf with what is played next and return its bytes; fewer than n are followed by silence. IN: take n
 * recorded bytes. Whole frames. Main loop's thread, no lock held; may come once more just after a stop. */
typedef size_t audio_move_fn(void *opaque, uint8_t *buf, size_t n);

/* The back end that a device without audiodev= uses: the first one, or one that nobody hears. */
struct audio *audio_default(struct vm *vm);
/* Main loop's thread while no vCPU runs: realize and unrealize. */
struct audio_stream *audio_stream_new(struct audio *a, enum audio_direction direction,
                                      const struct device *dev, audio_move_fn *move, void *opaque);
void audio_stream_free(struct audio_stream *s); /* NULL is allowed */
/* Any thread, the device's lock may be held. Starting what runs with these settings changes nothing. False: settings
 * out of bounds; it is then stopped. */
bool audio_stream_start(struct audio_stream *s, const struct audio_settings *settings);
void audio_stream_stop(struct audio_stream *s);
/* Each of the first two channels times this; 1 is as it is. Any thread. */
void audio_stream_set_gain(struct audio_stream *s, double left, double right);

/* ---- for users -------------------------------------------------------------------------------- */
struct options;
/* -audiodev: "wav,id=a0,path=x.wav,out.frequency=44100". Opens files and devices. */
struct error *audio_add(struct vm *vm, const char *text);
void audio_help(void (*print)(void *opaque, const char *line), void *opaque);

struct audio_info {
    const char *driver, *path;   /* path: wav's, else NULL */
    uint32_t period_us;          /* how often samples are to be moved */
    struct audio_settings of[2]; /* what the host's side has, by direction */
    bool set[2];                 /* the user chose something there */
};
void audio_query(const struct audio *a, struct audio_info *out);

/* It plays and records through the host's devices; else files at most. */
bool audio_uses_host(const struct audio *a);

struct audio_stream_info {
    const struct device *dev;
    enum audio_direction direction;
    bool on;
    struct audio_settings settings; /* while it is on */
    uint64_t frames;                /* moved since it was made, in the device's settings */
};
/* Main loop's thread. */
void audio_each_stream(struct audio *a, void (*see)(void *opaque, const struct audio_stream_info *),
                       void *opaque);
