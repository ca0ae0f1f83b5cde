/* Plays a tune that is never the same twice through /dev/snd/pcmC0D0p, also for long ("long"), or records ("record"):
 * s16, two channels, 44100 Hz. The host knows the tune: a linear congruential generator's. Whole periods: the driver of
 * virtio-sound plays no others. The buffer is long, as we may be kept waiting. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sound/asound.h>

enum { FRAMES = 12288, LONG_FRAMES = 10 * FRAMES, CHUNK = 1024, RATE = 44100 };

static void set_mask(struct snd_pcm_hw_params *p, int which, unsigned value)
{
    struct snd_mask *m = &p->masks[which - SNDRV_PCM_HW_PARAM_FIRST_MASK];
    memset(m, 0, sizeof(*m));
    m->bits[value / 32] = 1u << value % 32;
}

static void set_interval(struct snd_pcm_hw_params *p, int which, unsigned min, unsigned max)
{
    struct snd_interval *i = &p->intervals[which - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL];
    memset(i, 0, sizeof(*i));
    i->min = min;
    i->max = max;
    i->integer = min == max;
}

static int fails(const char *what)
{
    perror(what);
    return 1;
}

int main(int argc, char **argv)
{
    static int16_t samples[LONG_FRAMES * 2];
    static struct snd_pcm_hw_params params;
    int records = argc > 1 && !strcmp(argv[1], "record");
    unsigned frames = argc > 1 && !strcmp(argv[1], "long") ? LONG_FRAMES : FRAMES;
    int fd = open(records ? "/dev/snd/pcmC0D0c" : "/dev/snd/pcmC0D0p", O_RDWR);
    if (fd < 0)
        return fails("open");
    memset(params.masks, 0xff, sizeof(params.masks));
    for (unsigned i = 0; i < sizeof(params.intervals) / sizeof(params.intervals[0]); i++)
        params.intervals[i].max = UINT32_MAX;
    set_mask(&params, SNDRV_PCM_HW_PARAM_ACCESS, SNDRV_PCM_ACCESS_RW_INTERLEAVED);
    set_mask(&params, SNDRV_PCM_HW_PARAM_FORMAT, SNDRV_PCM_FORMAT_S16_LE);
    set_interval(&params, SNDRV_PCM_HW_PARAM_CHANNELS, 2, 2);
    set_interval(&params, SNDRV_PCM_HW_PARAM_RATE, RATE, RATE);
    set_interval(&params, SNDRV_PCM_HW_PARAM_PERIOD_SIZE, 1024, 4096);
    set_interval(&params, SNDRV_PCM_HW_PARAM_BUFFER_SIZE, 32768, 65536);
    params.rmask = UINT32_MAX;
    params.info = UINT32_MAX;
    if (ioctl(fd, SNDRV_PCM_IOCTL_HW_PARAMS, &params))
        return fails("HW_PARAMS");
    if (ioctl(fd, SNDRV_PCM_IOCTL_PREPARE))
        return fails("PREPARE");
    uint32_t x = 1;
    for (unsigned i = 0; i < frames * 2 && !records; i++) {
        x = x * 1664525 + 1013904223;
        samples[i] = (int16_t)(x >> 16);
    }
    for (unsigned at = 0; at < frames; at += CHUNK) {
        struct snd_xferi x_ = { .buf = samples + 2 * at, .frames = CHUNK };
        if (ioctl(fd, records ? SNDRV_PCM_IOCTL_READI_FRAMES : SNDRV_PCM_IOCTL_WRITEI_FRAMES, &x_))
            return fails(records ? "READI_FRAMES" : "WRITEI_FRAMES");
    }
    if (!records && ioctl(fd, SNDRV_PCM_IOCTL_DRAIN))
        return fails("DRAIN");
    unsigned loud = 0;
    for (unsigned i = 0; i < frames * 2 && records; i++)
        loud += samples[i] != 0;
    printf("%s %u frames, %u not silent\n", records ? "recorded" : "played", frames, loud);
    return 0;
}
