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

enum { CHUNK_FRAMES = 512, MOST_QUEUED_MS = 200 };

struct sdl_sound {
    struct sdl_library lib;
    SDL_AudioDeviceID of[2]; /* by direction; 0: there is none */
    uint32_t most_queued; /* bytes that wait to be played: the host is late when there are more */
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

static SDL_AudioDeviceID open_device(struct sdl_sound *s, enum audio_direction direction,
                                     struct audio_settings *of)
{
    SDL_AudioSpec want = {
        .freq = (int)of->rate,
        .format = sdl_format(&of->format),
        .channels = (uint8_t)of->channels,
        .samples = CHUNK_FRAMES,
    };
    return s->lib.SDL_OpenAudioDevice(NULL, direction == AUDIO_IN, &want, NULL, 0);
}

/* A host without a microphone records silence; one that cannot play is an error. */
static struct error *sound_open(struct vm *vm, struct options *o, struct audio_settings of[2],
                                void **out)
{
    struct sdl_sound *s = xcalloc(1, sizeof(*s));
    struct error *err = library_open("libSDL2-2.0.so.0", names, ARRAY_LEN(names), &s->lib);
    if (!err) {
        s->lib.SDL_SetMainReady();
        s->lib.SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
        if (s->lib.SDL_InitSubSystem(SDL_INIT_AUDIO))
            err = error_new("SDL has no sound here: %s", s->lib.SDL_GetError());
    }
    if (err) {
        free(s);
        return err;
    }
    s->of[AUDIO_OUT] = open_device(s, AUDIO_OUT, &of[AUDIO_OUT]);
    if (!s->of[AUDIO_OUT]) {
        err = error_new("SDL cannot play: %s", s->lib.SDL_GetError());
        s->lib.SDL_QuitSubSystem(SDL_INIT_AUDIO);
        free(s);
        return err;
    }
    s->of[AUDIO_IN] = open_device(s, AUDIO_IN, &of[AUDIO_IN]);
    s->most_queued = of[AUDIO_OUT].rate * MOST_QUEUED_MS / 1000 * audio_frame_size(&of[AUDIO_OUT]);
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
    /* What still waits to be played is: an end of 200 ms at most. */
    if (on || direction == AUDIO_IN)
        s->lib.SDL_ClearQueuedAudio(s->of[direction]);
    if (on || direction == AUDIO_IN)
        s->lib.SDL_PauseAudioDevice(s->of[direction], !on);
}

static void sound_play(void *driver, const uint8_t *frames, size_t bytes)
{
    struct sdl_sound *s = driver;
    if (s->lib.SDL_GetQueuedAudioSize(s->of[AUDIO_OUT]) < s->most_queued)
        s->lib.SDL_QueueAudio(s->of[AUDIO_OUT], frames, (uint32_t)bytes);
}

static size_t sound_record(void *driver, uint8_t *frames, size_t n)
{
    struct sdl_sound *s = driver;
    return s->of[AUDIO_IN] ? s->lib.SDL_DequeueAudio(s->of[AUDIO_IN], frames, (uint32_t)n) : 0;
}

static const char *const sound_options[] = { NULL };
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
