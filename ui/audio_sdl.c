/* Sound through SDL2. Its devices are opened before the sandbox, and paused while nothing is played or recorded. */
#include "core/error.h"
#include "core/options.h"
#include "core/util.h"
#include "ui/audio_driver.h"
#include "ui/library.h"

#define SDL_MAIN_HANDLED
#include <SDL2/SDL.h>
#include <stdlib.h>

#define FUNCTIONS(X)          \
    X(SDL_SetMainReady)       \
    X(SDL_SetHint)            \
    X(SDL_InitSubSystem)      \
    X(SDL_QuitSubSystem)      \
    X(SDL_GetError)           \
    X(SDL_OpenAudioDevice)    \
    X(SDL_CloseAudioDevice)   \
    X(SDL_PauseAudioDevice)   \
    X(SDL_QueueAudio)         \
    X(SDL_DequeueAudio)       \
    X(SDL_GetQueuedAudioSize) \
    X(SDL_ClearQueuedAudio)
struct sdl_library {
    FUNCTIONS(LIBRARY_MEMBER)
};
static const char *const names[] = { FUNCTIONS(LIBRARY_NAME) };

enum { BUFFER_US = 11600, MOST_QUEUED_US = 200000, LEAST_FRAMES = 64, MOST_FRAMES = 8192 };

struct sdl_sound {
    struct sdl_library lib;
    SDL_AudioDeviceID of[2];            /* by direction; 0: there is none */
    struct audio_settings settings;     /* of what is played */
    uint32_t buffer[2], most_queued[2]; /* bytes: SDL's own, and what may wait beside them */
};

/* in.buffer-length, in.buffer-count and those of out. */
struct buffering {
    uint64_t length_us, count;
};

/* What SDL has; a format it lacks becomes the nearest that it has. */
static SDL_AudioFormat sdl_format(enum audio_format *format)
{
    if (*format == PCM_U32)
        *format = PCM_S32;
    switch (*format) {
    case PCM_U8: return AUDIO_U8;
    case PCM_S8: return AUDIO_S8;
    case PCM_U16: return AUDIO_U16LSB;
    case PCM_S16: return AUDIO_S16LSB;
    case PCM_F32: return AUDIO_F32LSB;
    default: return AUDIO_S32LSB;
    }
}

static struct error *read_buffering(struct options *o, enum audio_direction d, struct buffering *b)
{
    static const char *const words[2][2] = { { "out.buffer-length", "out.buffer-count" },
                                             { "in.buffer-length", "in.buffer-count" } };
    bool set_length = false, set_count = false;
    b->length_us = BUFFER_US;
    struct error *err =
        audio_read_number(o, words[d][0], 1, AUDIO_MOST_BUFFER_US, &b->length_us, &set_length);
    b->count = MAX(MOST_QUEUED_US / b->length_us, 4);
    return err ? err : audio_read_number(o, words[d][1], 1, 1024, &b->count, &set_count);
}

/* SDL wants a power of two of frames. */
static void open_device(struct sdl_sound *s, enum audio_direction d, struct audio_settings *of,
                        const struct buffering *b)
{
    uint64_t wanted = b->length_us * of->rate / 1000000;
    unsigned frames = LEAST_FRAMES;
    while (frames < wanted && frames < MOST_FRAMES)
        frames *= 2;
    SDL_AudioSpec want = {
        .freq = (int)of->rate,
        .format = sdl_format(&of->format),
        .channels = (uint8_t)of->channels,
        .samples = (uint16_t)frames,
    };
    s->buffer[d] = frames * audio_frame_size(of);
    s->most_queued[d] = s->buffer[d] * (uint32_t)b->count;
    s->of[d] = s->lib.SDL_OpenAudioDevice(NULL, d == AUDIO_IN, &want, NULL, 0);
}

/* A host without a microphone records silence; one that cannot play is an error. */
static struct error *sound_open(struct vm *vm, struct options *o, struct audio_settings of[2],
                                void **out)
{
    struct buffering buffering[2];
    struct error *err = read_buffering(o, AUDIO_OUT, &buffering[AUDIO_OUT]);
    if (!err)
        err = read_buffering(o, AUDIO_IN, &buffering[AUDIO_IN]);
    if (err)
        return err;
    struct sdl_sound *s = xcalloc(1, sizeof(*s));
    err = library_open("libSDL2-2.0.so.0", names, ARRAY_LEN(names), &s->lib);
    if (!err) {
        s->lib.SDL_SetMainReady();
        s->lib.SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
        s->lib.SDL_SetHint("SDL_AUDIO_DEVICE_APP_NAME", "Tandem"); /* in mixers; since SDL 2.0.18 */
        if (s->lib.SDL_InitSubSystem(SDL_INIT_AUDIO))
            err = error_new("SDL has no sound here: %s", s->lib.SDL_GetError());
    }
    if (err) {
        free(s);
        return err;
    }
    open_device(s, AUDIO_OUT, &of[AUDIO_OUT], &buffering[AUDIO_OUT]);
    if (!s->of[AUDIO_OUT]) {
        err = error_new("SDL cannot play: %s", s->lib.SDL_GetError());
        s->lib.SDL_QuitSubSystem(SDL_INIT_AUDIO);
        free(s);
        return err;
    }
    open_device(s, AUDIO_IN, &of[AUDIO_IN], &buffering[AUDIO_IN]);
    s->settings = of[AUDIO_OUT];
    *out = s;
    return NULL;
}

static void sound_close(void *driver)
{
    struct sdl_sound *s = driver;
    for (unsigned i = 0; i < 2; i++)
        if (s->of[i])
            s->lib.SDL_CloseAudioDevice(s->of[i]);
    s->lib.SDL_QuitSubSystem(SDL_INIT_AUDIO);
    free(s);
}

static void sound_run(void *driver, enum audio_direction direction, bool on)
{
    struct sdl_sound *s = driver;
    if (!s->of[direction])
        return;
    /* What still waits to be played is played. */
    if (on || direction == AUDIO_IN)
        s->lib.SDL_ClearQueuedAudio(s->of[direction]);
    if (on || direction == AUDIO_IN)
        s->lib.SDL_PauseAudioDevice(s->of[direction], !on);
}

/* So that the next frames are there before SDL asks for them. */
static void queue_silence(struct sdl_sound *s)
{
    unsigned size = audio_format_size(s->settings.format);
    uint8_t *raw = xcalloc(1, 2 * s->buffer[AUDIO_OUT]);
    for (uint32_t at = 0; at < 2 * s->buffer[AUDIO_OUT]; at += size)
        audio_put_sample(s->settings.format, raw + at, 0);
    s->lib.SDL_QueueAudio(s->of[AUDIO_OUT], raw, 2 * s->buffer[AUDIO_OUT]);
    free(raw);
}

/* A host that plays more slowly than the guest does loses frames, one that is faster gets silence. */
static void sound_play(void *driver, const uint8_t *frames, size_t bytes)
{
    struct sdl_sound *s = driver;
    uint32_t queued = s->lib.SDL_GetQueuedAudioSize(s->of[AUDIO_OUT]);
    if (!queued)
        queue_silence(s);
    if (queued < s->most_queued[AUDIO_OUT])
        s->lib.SDL_QueueAudio(s->of[AUDIO_OUT], frames, (uint32_t)bytes);
}

static size_t sound_record(void *driver, uint8_t *frames, size_t n)
{
    struct sdl_sound *s = driver;
    if (!s->of[AUDIO_IN])
        return 0;
    if (s->lib.SDL_GetQueuedAudioSize(s->of[AUDIO_IN]) > s->most_queued[AUDIO_IN])
        s->lib.SDL_ClearQueuedAudio(s->of[AUDIO_IN]);
    return s->lib.SDL_DequeueAudio(s->of[AUDIO_IN], frames, (uint32_t)n);
}

static const char *const sound_options[] = { "out.buffer-count", "in.buffer-count", NULL };
const struct audio_driver audio_sdl = {
    .name = "sdl",
    .help = "the host's loudspeakers and microphone, through SDL2",
    .options = sound_options,
    .open = sound_open,
    .close = sound_close,
    .run = sound_run,
    .play = sound_play,
    .record = sound_record,
};
