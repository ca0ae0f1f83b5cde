/* Sound into a WAV file (RIFF WAVE, format chunk 1 or 3): what is played, one piece after the other; the time
 * in which nothing is played leaves no gap. */
#include "core/error.h"
#include "core/options.h"
#include "core/util.h"
#include "ui/audio_driver.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEADER = 44, WAVE_PCM = 1, IEEE_FLOAT = 3 };
#define MOST_BYTES (UINT64_C(0xffffffff) - HEADER - 4096) /* the header counts in 32 bits */

struct wav {
    int fd;
    char *path;
    struct audio_settings settings;
    uint64_t bytes;
    bool full; /* the disk, or what a WAV file can hold: nothing more is written */
};

static bool wav_put(struct wav *w, const uint8_t *from, size_t n, uint64_t at)
{
    while (n) {
        ssize_t done = pwrite(w->fd, from, n, (off_t)at);
        if (done <= 0)
            return false;
        from += done;
        at += (size_t)done;
        n -= (size_t)done;
    }
    return true;
}

static bool wav_put_header(struct wav *w)
{
    const struct audio_settings *s = &w->settings;
    unsigned frame = audio_frame_size(s);
    uint8_t raw[HEADER] = "RIFF____WAVEfmt ____________________data";
    store_le(raw + 4, 4, HEADER - 8 + w->bytes);
    store_le(raw + 16, 4, 16);
    store_le(raw + 20, 2, s->format == PCM_F32 ? IEEE_FLOAT : WAVE_PCM);
    store_le(raw + 22, 2, s->channels);
    store_le(raw + 24, 4, s->rate);
    store_le(raw + 28, 4, (uint64_t)s->rate * frame);
    store_le(raw + 32, 2, frame);
    store_le(raw + 34, 2, 8 * audio_format_size(s->format));
    store_le(raw + 40, 4, w->bytes);
    return wav_put(w, raw, HEADER, 0);
}

static struct error *wav_open(struct vm *vm, struct options *o, struct audio_settings of[2],
                              void **out)
{
    const char *path = options_get(o, "path");
    enum audio_format format = of[AUDIO_OUT].format;
    if (format != PCM_U8 && format != PCM_S16 && format != PCM_S32 && format != PCM_F32)
        return error_new("out.format=%s: a WAV file has u8, s16, s32 or f32",
                         audio_format_names[format]);
    struct wav *w = xcalloc(1, sizeof(*w));
    *w = (struct wav){ .path = xstrdup(path ? path : "qemu.wav"), .settings = of[AUDIO_OUT] };
    w->fd = open(w->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0 || !wav_put_header(w)) {
        struct error *err = error_errno("cannot write the sound file '%s'", w->path);
        if (w->fd >= 0)
            close(w->fd);
        free(w->path);
        free(w);
        return err;
    }
    *out = w;
    return NULL;
}

static void wav_close(void *driver)
{
    struct wav *w = driver;
    wav_put_header(w);
    close(w->fd);
    free(w->path);
    free(w);
}

static void wav_run(void *driver, enum audio_direction direction, bool on)
{
    if (direction == AUDIO_OUT && !on)
        wav_put_header(driver);
}

static void wav_play(void *driver, const uint8_t *frames, size_t bytes)
{
    struct wav *w = driver;
    if (w->full)
        return;
    w->full = w->bytes + bytes > MOST_BYTES || !wav_put(w, frames, bytes, HEADER + w->bytes);
    if (w->full) {
        fprintf(stderr, "tandem: sound file '%s': no room for more; it ends here\n", w->path);
        wav_put_header(w);
    } else {
        w->bytes += bytes;
    }
}

static size_t wav_record(void *driver, uint8_t *frames, size_t n)
{
    return 0;
}

static const char *const wav_options[] = { "path", NULL };
const struct audio_driver audio_wav = {
    .name = "wav",
    .help = "what is played goes into a file; path=FILE (default: qemu.wav)",
    .options = wav_options,
    .open = wav_open,
    .close = wav_close,
    .run = wav_run,
    .play = wav_play,
    .record = wav_record,
};
