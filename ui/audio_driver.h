/* What is behind a back end for sound: ui/audio_*.c. All functions are required; main loop's thread. */
#pragma once

#include "ui/audio.h"

struct options;

struct audio_driver {
    const char *name, *help;
    const char *const *options; /* of its own, NULL-terminated: to be read by open */
    /* `of` is the host's side, with what the user chose; the driver may change it. */
    struct error *(*open)(struct vm *vm, struct options *o, struct audio_settings of[2],
                          void **out);
    void (*close)(void *driver);
    /* Something is played (or recorded) from now on, or nothing. */
    void (*run)(void *driver, enum audio_direction direction, bool on);
    /* Frames in the host's settings. Never waits. */
    void (*play)(void *driver, const uint8_t *frames, size_t bytes);
    /* What was recorded, at most n bytes: how many. */
    size_t (*record)(void *driver, uint8_t *frames, size_t n);
};
extern const struct audio_driver audio_none, audio_wav, audio_sdl;

/* An option's number, within bounds; *value stays if it is not there. */
struct error *audio_read_number(struct options *o, const char *name, uint64_t min, uint64_t max,
                                uint64_t *value, bool *set);
/* A sample to and from -1..1 (not clipped before it is put). */
double audio_sample(enum audio_format format, const uint8_t *at);
void audio_put_sample(enum audio_format format, uint8_t *at, double v);
