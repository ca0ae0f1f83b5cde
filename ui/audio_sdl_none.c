/* For builds without SDL2. */
#include "core/error.h"
#include "ui/audio_driver.h"

static struct error *absent_open(struct vm *vm, struct options *o, struct audio_settings of[2],
                                 void **out)
{
    return error_new("this build has no SDL2");
}

static void absent_close(void *driver)
{
}

static void absent_run(void *driver, enum audio_direction direction, bool on)
{
}

static void absent_play(void *driver, const uint8_t *frames, size_t bytes)
{
}

static size_t absent_record(void *driver, uint8_t *frames, size_t n)
{
    return 0;
}

static const char *const absent_options[] = { NULL };
const struct audio_driver audio_sdl = {
    .name = "sdl",
    .help = "not in this build (SDL2)",
    .options = absent_options,
    .open = absent_open,
    .close = absent_close,
    .run = absent_run,
    .play = absent_play,
    .record = absent_record,
};
