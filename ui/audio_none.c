/* Sound that nobody hears: guests play at the usual pace, and record silence. */
#include "ui/audio_driver.h"

static struct error *none_open(struct vm *vm, struct options *o, struct audio_settings of[2],
                               void **out)
{
    return NULL;
}

static void none_close(void *driver)
{
}

static void none_run(void *driver, enum audio_direction direction, bool on)
{
}

static void none_play(void *driver, const uint8_t *frames, size_t bytes)
{
}

static size_t none_record(void *driver, uint8_t *frames, size_t n)
{
    return 0;
}

static const char *const none_options[] = { NULL };
const struct audio_driver audio_none = {
    .name = "none",
    .help = "sound that nobody hears",
    .options = none_options,
    .open = none_open,
    .close = none_close,
    .run = none_run,
    .play = none_play,
    .record = none_record,
};
