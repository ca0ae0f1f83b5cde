/* Back ends for sound, virtio-sound and intel-hda: what a guest plays is what stands in the WAV file. */
#include "core/clock.h"
#include "core/error.h"
#include "ui/audio.h"
#include "virtio_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { HDA = 3 << 3, MS = 1000000, FRAMES = 441 };
extern const struct device_class intel_hda_class, virtio_snd_pci_class;

static char path[64];

static void add_wav(struct vm *vm, const char *more)
{
    char text[160];
    snprintf(path, sizeof(path), "/tmp/tandem-sound.%d.wav", (int)getpid());
    snprintf(text, sizeof(text), "wav,id=a0,path=%s%s", path, more);
    assert_null(audio_add(vm, text));
}

/* The samples of the file; *n is their number. Removes it. */
static int16_t *samples(size_t *n)
{
    static uint8_t raw[400000];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t got = fread(raw, 1, sizeof(raw), f);
    fclose(f);
    unlink(path);
    assert_true(got >= 44);
    assert_memory_equal(raw, "RIFF", 4);
    assert_memory_equal(raw + 8, "WAVEfmt ", 8);
    assert_int_equal(load_le(raw + 40, 4), got - 44);
    *n = (got - 44) / 2;
    return (int16_t *)(raw + 44);
}

static int16_t ramp(unsigned i)
{
    return (int16_t)(i * 37 - 9000);
}

/* ---- back ends --------------------------------------------------------------------------------- */
struct source {
    unsigned at, moved;
};
static size_t give_ramp(void *opaque, uint8_t *buf, size_t n)
{
    struct source *s = opaque;
    for (size_t i = 0; i < n / 2; i++)
        store_le(buf + 2 * i, 2, (uint16_t)ramp(s->at++));
    return n;
}

static size_t take(void *opaque, uint8_t *buf, size_t n)
{
    ((struct source *)opaque)->moved += (unsigned)n;
    return n;
}

static void pace_is_the_guest_clock(void **unused)
{
    struct board *b = board_new();
    struct source s = { 0 };
    const struct audio_settings settings = { PCM_S16, 1, 44100 };
    size_t n;
    add_wav(b->vm, ",out.channels=1");
    struct audio_stream *stream =
        audio_stream_new(audio_default(b->vm), AUDIO_OUT, NULL, give_ramp, &s);
    assert_true(audio_stream_start(stream, &settings));
    board_step(b); /* the clock stands: nothing is played */
    assert_int_equal(s.at, 0);
    for (unsigned i = 0; i < 10; i++)
        board_advance_ns(b, 10 * MS);
    assert_int_equal(s.at, 4410);
    board_advance_ns(b, 10000ull * MS); /* a host that was away for ten seconds skips them */
    assert_in_range(s.at, 4410 + 441, 4410 + 2205 + 441);
    audio_stream_stop(stream);
    unsigned at = s.at;
    board_advance_ns(b, 20 * MS);
    assert_int_equal(s.at, at);
    audio_stream_free(stream);
    board_free(b);
    int16_t *got = samples(&n);
    assert_int_equal(n, at);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(got[i], ramp(i));
}

static void rates_are_converted_along_lines(void **unused)
{
    struct board *b = board_new();
    struct source s = { 0 };
    const struct audio_settings settings = { PCM_S16, 1, 22050 };
    size_t n;
    add_wav(b->vm, ",out.channels=2");
    struct audio_stream *stream =
        audio_stream_new(audio_default(b->vm), AUDIO_OUT, NULL, give_ramp, &s);
    assert_true(audio_stream_start(stream, &settings));
    for (unsigned i = 0; i < 10; i++)
        board_advance_ns(b, 10 * MS);
    audio_stream_free(stream);
    board_free(b);
    int16_t *got = samples(&n);
    assert_int_equal(n, 2 * 4410);
    assert_in_range(s.at, 2205, 2207);
    for (unsigned i = 0; i < 1000; i++) {
        assert_in_range(got[2 * i] - (-9000) - (int)(i * 37 / 2) + 1, 0, 2);
        assert_int_equal(got[2 * i], got[2 * i + 1]);
    }
}

static void recording_has_the_streams_rate(void **unused)
{
    struct board *b = board_new();
    struct source s = { 0 };
    const struct audio_settings settings = { PCM_S32, 2, 48000 };
    assert_null(audio_add(b->vm, "none,id=a0"));
    struct audio_stream *stream = audio_stream_new(audio_default(b->vm), AUDIO_IN, NULL, take, &s);
    assert_true(audio_stream_start(stream, &settings));
    for (unsigned i = 0; i < 10; i++)
        board_advance_ns(b, 10 * MS);
    assert_in_range(s.moved, 4799 * 8, 4801 * 8);
    const struct audio_settings wrong = { PCM_S16, 9, 48000 };
    assert_false(audio_stream_start(stream, &wrong));
    audio_stream_free(stream);
    board_free(b);
}

static void options_are_checked(void **unused)
{
    static const char *const wrong[] = {
        "oss,id=a0",
        "none",
        "wav,id=a0,path=/nonexistent/x.wav",
        "none,id=a0,path=x",
        "none,id=a0,out.frequency=5",
        "none,id=a0,in.format=s17",
        "none,id=a0,out.channels=0",
        "wav,id=a0,path=/tmp/x.wav,out.format=u16",
        "pa,id=a0",
        "id=a0",
        "none,id=a0,in.mixing-engine=off",
        "none,id=a0,out.fixed-settings=off",
        "none,id=a0,out.voices=0",
        "none,id=a0,timer-period=0",
        "none,id=a0,out.buffer-count=4",
        "none,id=a0,in.buffer-length=x",
    };
    struct board *b = board_new();
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct error *err = audio_add(b->vm, wrong[i]);
        assert_non_null(err);
        error_free(err);
    }
    assert_null(audio_add(b->vm, "none,id=a0"));
    assert_null(audio_add(b->vm, "none,id=a1,timer-period=40,in.voices=1,out.buffer-length=10000,"
                                 "out.mixing-engine=on,in.fixed-settings=on,in.channels=1"));
    assert_null(audio_add(b->vm, "{\"driver\":\"none\",\"id\":\"a2\",\"out\":"
                                 "{\"mixing-engine\":true,\"frequency\":48000}}"));
    struct error *err = audio_add(b->vm, "{\"driver\":\"none\",\"id\":\"a0\"}");
    assert_non_null(err);
    error_free(err);
    board_free(b);
}

/* ---- loudspeaker ------------------------------------------------------------------------------- */
static void speaker_set(struct board *b, uint8_t mode, uint16_t count, uint8_t port_b)
{
    board_poke(b, b->regions[0] + 3, 1, 0xb0 | mode << 1);
    board_poke(b, b->regions[0] + 2, 1, count & 0xff);
    board_poke(b, b->regions[0] + 2, 1, count >> 8);
    board_poke(b, b->regions[1], 1, port_b);
}

static void speaker_follows_counter_2(void **unused)
{
    struct board *b = board_new();
    size_t n;
    unsigned changes = 0, low = 0;
    add_wav(b->vm, ",out.channels=1,out.frequency=48000");
    board_add(b, "isa-pit", "audiodev", "a0", NULL);
    speaker_set(b, 3, 1193, 1); /* the gate alone */
    board_advance_ns(b, 10 * MS);
    speaker_set(b, 2, 1193, 3); /* no square wave */
    board_advance_ns(b, 10 * MS);
    speaker_set(b, 3, 1193, 3); /* 1000 Hz */
    for (unsigned i = 0; i < 10; i++)
        board_advance_ns(b, 10 * MS);
    board_check(b);
    speaker_set(b, 3, 20, 3); /* 59 kHz */
    board_advance_ns(b, 10 * MS);
    board_poke(b, b->regions[1], 1, 1);
    board_advance_ns(b, 10 * MS);
    board_free(b);
    int16_t *got = samples(&n);
    assert_int_equal(n, 4800 + 480);
    for (unsigned i = 0; i < n; i++)
        assert_in_range(got[i] + 8000, 0, 16000);
    for (unsigned i = 1; i < 4800; i++) {
        changes += (got[i] < 0) != (got[i - 1] < 0);
        low += got[i] < 0;
    }
    assert_in_range(changes, 198, 201);
    assert_in_range(low, 2380, 2420);
    for (unsigned i = 4800; i < n; i++)
        assert_in_range(got[i] + 8000, 3000, 13000);
}

/* ---- virtio-sound ------------------------------------------------------------------------------ */
static uint32_t ask(struct guest *g, struct ring *r, const uint32_t *words, unsigned n,
                    unsigned room)
{
    uint8_t raw[256] = { 0 };
    struct used used;
    for (unsigned i = 0; i < n; i++)
        store_le(raw + 4 * i, 4, words[i]);
    board_ram_write(g->b, 0x8000, raw, 4 * n);
    const struct buffer buffers[] = { { 0x8000, 4 * n, false }, { 0x8100, room, true } };
    ring_add(r, buffers, 2, false);
    guest_kick(g, r->queue);
    assert_true(ring_take(r, &used));
    board_ram_read(g->b, 0x8100, raw, 4);
    return (uint32_t)load_le(raw, 4);
}

/* 44100 Hz, s16, stereo */
static const uint32_t params[] = { 0x101, 0, 4 * FRAMES * 4, FRAMES * 4, 0, 2 | 5 << 8 | 6 << 16 };

static struct guest *virtio_guest(struct ring *control, struct ring *tx)
{
    struct guest *g = guest_new();
    add_wav(g->b->vm, "");
    g->dev = guest_add(g, &virtio_snd_pci_class, "audiodev", "a0", NULL);
    guest_find(g);
    assert_true(guest_negotiate(g, VIRTIO_BIT(VIRTIO_F_VERSION_1)));
    *control = ring_new(g, 0, 8, false);
    *tx = ring_new(g, 2, 8, false);
    guest_driver_ok(g);
    return g;
}

/* Four buffers of a ramp wait, and the stream is started. */
static void play_virtio(struct guest *g, struct ring *control, struct ring *tx)
{
    struct used used;
    assert_int_equal(ask(g, control, params, 6, 4), 0x8000);
    assert_int_equal(ask(g, control, (uint32_t[]){ 0x102, 0 }, 2, 4), 0x8000);
    for (unsigned k = 0; k < 4; k++) {
        uint8_t data[4 + FRAMES * 4] = { 0 };
        for (unsigned i = 0; i < FRAMES * 2; i++)
            store_le(data + 4 + 2 * i, 2, (uint16_t)ramp(k * FRAMES * 2 + i));
        uint64_t at = 0x20000 + k * 0x1000;
        board_ram_write(g->b, at, data, sizeof(data));
        const struct buffer buffers[] = { { at, sizeof(data), false }, { at + 0x800, 8, true } };
        ring_add(tx, buffers, 2, false);
    }
    guest_kick(g, 2);
    assert_false(ring_take(tx, &used));
    assert_int_equal(ask(g, control, (uint32_t[]){ 0x104, 0 }, 2, 4), 0x8000);
}

static void is_ramp(unsigned n_wanted)
{
    size_t n;
    int16_t *got = samples(&n);
    assert_true(n >= n_wanted);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(got[i], i < n_wanted ? ramp(i) : 0);
}

static void virtio_plays_a_ramp_to_the_sample(void **unused)
{
    struct ring control, tx;
    struct guest *g = virtio_guest(&control, &tx);
    uint8_t raw[32];
    assert_int_equal(ask(g, &control, (uint32_t[]){ 0x100, 0, 2, 32 }, 4, 4 + 64), 0x8000);
    board_ram_read(g->b, 0x8104, raw, 32);
    assert_int_equal(raw[24], 0); /* plays */
    assert_true(load_le(raw + 8, 8) >> 5 & 1);
    assert_int_equal(ask(g, &control, (uint32_t[]){ 0x100, 1, 2, 32 }, 4, 4 + 64), 0x8001);
    assert_int_equal(ask(g, &control, (uint32_t[]){ 0x104, 0 }, 2, 4), 0x8001); /* not prepared */
    play_virtio(g, &control, &tx);
    for (unsigned i = 0; i < 4; i++) {
        struct used used;
        board_advance_ns(g->b, 10 * MS);
        assert_true(ring_take(&tx, &used));
        assert_int_equal(used.len, 8);
        board_ram_read(g->b, 0x20800 + i * 0x1000, raw, 4);
        assert_int_equal(load_le(raw, 4), 0x8000);
    }
    assert_int_equal(ask(g, &control, (uint32_t[]){ 0x105, 0 }, 2, 4), 0x8000);
    assert_int_equal(ask(g, &control, (uint32_t[]){ 0x103, 0 }, 2, 4), 0x8000);
    board_check(g->b);
    guest_free(g);
    is_ramp(4 * FRAMES * 2);
}

static void virtio_refuses_what_it_did_not_offer(void **unused)
{
    static const struct {
        unsigned word;
        uint32_t value, answer;
    } wrong[] = {
        { 1, 2, 0x8001 },                      /* a third stream */
        { 3, 0, 0x8001 },                      /* periods without bytes */
        { 3, FRAMES, 0x8000 },                 /* right: four of them in each of ours */
        { 3, 4 * FRAMES + 1, 0x8001 },         /* not a part of the buffer */
        { 4, 1, 0x8002 },                      /* features */
        { 5, 3 | 5 << 8 | 6 << 16, 0x8002 },   /* three channels */
        { 5, 0 | 5 << 8 | 6 << 16, 0x8002 },   /* none */
        { 5, 2 | 20 << 8 | 6 << 16, 0x8002 },  /* doubles */
        { 5, 2 | 5 << 8 | 14u << 16, 0x8002 }, /* the rate behind the last */
        { 5, 2 | 5 << 8 | 255u << 16, 0x8002 },
    };
    struct ring control, tx;
    struct guest *g = virtio_guest(&control, &tx);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        uint32_t words[6];
        memcpy(words, params, sizeof(words));
        words[wrong[i].word] = wrong[i].value;
        assert_int_equal(ask(g, &control, words, 6, 4), wrong[i].answer);
    }
    assert_int_equal(ask(g, &control, params, 5, 4), 0x8001); /* cut short */
    board_check(g->b);
    guest_free(g);
    is_ramp(0);
}

static void virtio_goes_on_where_the_vm_stood(void **unused)
{
    struct ring control, tx;
    struct guest *g = virtio_guest(&control, &tx);
    struct used used;
    g->b->vm->was_reset = true; /* or its start does it */
    play_virtio(g, &control, &tx);
    board_advance_ns(g->b, 15 * MS);
    vm_start(g->b->vm);
    vm_pause(g->b->vm);
    while (ring_take(&tx, &used))
        ;
    board_advance_ns(g->b, 100 * MS); /* nothing is played while it stands, nor taken */
    guest_kick(g, 2);
    board_check(g->b);
    assert_false(ring_take(&tx, &used));
    vm_start(g->b->vm);
    vm_pause(g->b->vm);
    vm_start(g->b->vm);
    for (unsigned i = 0; i < 10; i++)
        board_advance_ns(g->b, 10 * MS);
    vm_pause(g->b->vm);
    assert_true(ring_take(&tx, &used) && ring_take(&tx, &used));
    guest_free(g);
    is_ramp(4 * FRAMES * 2);
}

static void virtio_reset_amid_a_stream_silences_it(void **unused)
{
    struct ring control, tx;
    struct guest *g = virtio_guest(&control, &tx);
    play_virtio(g, &control, &tx);
    board_advance_ns(g->b, 15 * MS);
    guest_set_status(g, 0);
    assert_int_equal(guest_status(g), 0);
    board_advance_ns(g->b, 30 * MS);
    board_check(g->b);
    guest_free(g);
    is_ramp(2 * (FRAMES * 3 / 2));
}

/* ---- intel-hda --------------------------------------------------------------------------------- */
enum { CORB = 0x1000, RIRB = 0x2000, BDL = 0x3000, POSITIONS = 0x4000, DATA = 0x10000 };
static gpa bar;

static struct guest *hda_guest(const char *more)
{
    struct guest *g = guest_new();
    add_wav(g->b->vm, more);
    guest_add(g, &intel_hda_class, "addr", "3", NULL);
    board_add(g->b, "hda-duplex", "audiodev", "a0", NULL);
    guest_place_bars(g, HDA);
    bar = guest_config_read(g, HDA, PCI_BAR0, 4) & ~15u;
    board_poke(g->b, bar + 0x08, 4, 1);
    return g;
}

static uint32_t verb(struct guest *g, uint32_t command)
{
    board_poke(g->b, bar + 0x60, 4, command);
    board_poke(g->b, bar + 0x68, 2, 1);
    assert_int_equal(board_peek(g->b, bar + 0x68, 2) & 3, 2);
    board_poke(g->b, bar + 0x68, 2, 2);
    return (uint32_t)board_peek(g->b, bar + 0x64, 4);
}

static void rings_carry_verbs_and_interrupt(void **unused)
{
    struct guest *g = hda_guest("");
    struct board *b = g->b;
    uint8_t raw[8];
    size_t n;
    assert_int_equal(board_peek(b, bar, 2), 0x4401);
    assert_int_equal(board_peek(b, bar + 0x0e, 2), 1); /* codec 0 is there */
    board_poke(b, bar + 0x40, 4, BOARD_RAM + CORB);
    board_poke(b, bar + 0x50, 4, BOARD_RAM + RIRB);
    board_poke(b, bar + 0x4a, 2, 0x8000);
    assert_int_equal(board_peek(b, bar + 0x4a, 2), 0x8000);
    board_poke(b, bar + 0x4a, 2, 0);
    assert_int_equal(board_peek(b, bar + 0x4a, 2), 0);
    board_poke(b, bar + 0x20, 4, 0xc0000000);
    board_poke(b, bar + 0x5c, 1, 3);
    board_poke(b, bar + 0x4c, 1, 2);
    store_le(raw, 4, 0x000f0004);     /* root: nodes below */
    store_le(raw + 4, 4, 0x001f0005); /* function group: its type */
    board_ram_write(b, CORB + 4, raw, 8);
    board_poke(b, bar + 0x48, 2, 2);
    assert_int_equal(board_peek(b, bar + 0x58, 2), 2);
    board_ram_read(b, RIRB + 8, raw, 8);
    assert_int_equal(load_le(raw, 4), 0x00010001);
    board_ram_read(b, RIRB + 16, raw, 8);
    assert_int_equal(load_le(raw, 4), 1);
    assert_true(b->lines[3].level);
    board_poke(b, bar + 0x5d, 1, 1);
    assert_false(b->lines[3].level);
    guest_free(g);
    samples(&n);
}

static void play_hda(struct guest *g, unsigned entries, unsigned bytes)
{
    struct board *b = g->b;
    uint8_t raw[16];
    gpa sd = bar + 0x80 + 4 * 0x20;
    verb(g, 0x00270610); /* DAC: tag 1 */
    verb(g, 0x00224011); /* 44.1 kHz, 16 bits, stereo */
    for (unsigned i = 0; i < entries; i++) {
        store_le(raw, 8, BOARD_RAM + DATA + i * bytes);
        store_le(raw + 8, 4, bytes);
        store_le(raw + 12, 4, 1);
        board_ram_write(b, BDL + 16 * i, raw, 16);
    }
    board_poke(b, bar + 0x70, 4, (BOARD_RAM + POSITIONS) | 1);
    board_poke(b, sd + 0x18, 4, BOARD_RAM + BDL);
    board_poke(b, sd + 0x08, 4, entries * bytes);
    board_poke(b, sd + 0x0c, 2, entries - 1);
    board_poke(b, sd + 0x12, 2, 0x4011);
    board_poke(b, bar + 0x20, 4, 0x80000010);
    board_poke(b, sd, 4, 0x00100006);
}

static void put_ramp(struct board *b)
{
    for (unsigned i = 0; i < 4 * FRAMES * 2; i++) {
        uint8_t raw[2];
        store_le(raw, 2, (uint16_t)ramp(i));
        board_ram_write(b, DATA + 2 * i, raw, 2);
    }
}

static void hda_plays_a_ramp_to_the_sample(void **unused)
{
    struct guest *g = hda_guest("");
    struct board *b = g->b;
    gpa sd = bar + 0x80 + 4 * 0x20;
    put_ramp(b);
    play_hda(g, 4, FRAMES * 4);
    for (unsigned i = 1; i < 4; i++) {
        uint8_t raw[4];
        board_advance_ns(b, 10 * MS);
        assert_int_equal(board_peek(b, sd + 4, 4), i * FRAMES * 4);
        board_ram_read(b, POSITIONS + 4 * 8, raw, 4);
        assert_int_equal(load_le(raw, 4), i * FRAMES * 4);
        assert_int_equal(board_peek(b, sd + 3, 1) & 4, 4);
        assert_true(b->lines[3].level);
        board_poke(b, sd + 3, 1, 4);
        assert_false(b->lines[3].level);
    }
    board_advance_ns(b, 10 * MS);
    assert_int_equal(board_peek(b, sd + 4, 4), 0); /* around */
    board_check(b);
    board_poke(b, sd, 1, 0);
    board_advance_ns(b, 10 * MS);
    guest_free(g);
    is_ramp(4 * FRAMES * 2);
}

static void messages_come_without_the_line(void **unused)
{
    struct guest *g = hda_guest("");
    struct board *b = g->b;
    size_t n;
    unsigned cap = guest_capability(g, HDA, 5, 0);
    assert_true(cap);
    guest_config_write(g, HDA, cap + 4, 4, BOARD_MSI);
    guest_config_write(g, HDA, cap + 2, 2, 1);
    play_hda(g, 4, FRAMES * 4);
    board_advance_ns(b, 10 * MS);
    assert_int_equal(b->n_msis, 1);
    board_advance_ns(b, 10 * MS); /* not acknowledged yet */
    assert_int_equal(b->n_msis, 1);
    assert_false(b->lines[3].level);
    board_poke(b, bar + 0x80 + 4 * 0x20 + 3, 1, 4);
    board_advance_ns(b, 10 * MS);
    assert_int_equal(b->n_msis, 2);
    guest_free(g);
    samples(&n);
}

static void streams_wait_to_begin_together(void **unused)
{
    struct guest *g = hda_guest("");
    struct board *b = g->b;
    put_ramp(b);
    board_poke(b, bar + 0x38, 4, 1 << 4);
    play_hda(g, 4, FRAMES * 4);
    board_advance_ns(b, 20 * MS);
    assert_int_equal(board_peek(b, bar + 0x80 + 4 * 0x20 + 4, 4), 0);
    board_poke(b, bar + 0x38, 4, 0);
    board_advance_ns(b, 10 * MS);
    assert_int_equal(board_peek(b, bar + 0x80 + 4 * 0x20 + 4, 4), FRAMES * 4);
    guest_free(g);
    is_ramp(FRAMES * 2);
}

static void link_reset_amid_a_stream_silences_it(void **unused)
{
    for (unsigned which = 0; which < 3; which++) {
        struct guest *g = hda_guest("");
        struct board *b = g->b;
        gpa sd = bar + 0x80 + 4 * 0x20;
        put_ramp(b);
        play_hda(g, 4, FRAMES * 4);
        board_advance_ns(b, 10 * MS);
        if (which == 0)
            board_poke(b, bar + 0x08, 4, 0);
        else if (which == 1)
            board_poke(b, sd, 1, 1);
        else
            verb(g, 0x00270600); /* the converter follows no stream any more */
        board_advance_ns(b, 20 * MS);
        if (which < 2)
            assert_int_equal(board_peek(b, sd + 4, 4), 0);
        board_check(b);
        guest_free(g);
        is_ramp(FRAMES * 2);
    }
}

/* Lists without a byte, with hardly any, outside memory; buffers outside; no bus mastering. */
static void lists_that_cannot_be_followed_stop_the_stream(void **unused)
{
    for (unsigned which = 0; which < 5; which++) {
        struct guest *g = hda_guest("");
        struct board *b = g->b;
        gpa sd = bar + 0x80 + 4 * 0x20;
        size_t n;
        play_hda(g, 4, which == 0 ? 0 : which == 1 ? 3 : FRAMES * 4);
        if (which == 2)
            board_poke(b, sd + 0x1c, 4, 0xfffffff0); /* the list's upper half */
        if (which == 3)
            board_ram_write(b, BDL + 4, "\xff\xff\xff\xff", 4);
        if (which == 4)
            guest_config_write(g, HDA, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
        board_advance_ns(b, 10 * MS);
        assert_int_equal(board_peek(b, sd + 3, 1) & 16, 16);
        assert_int_equal(board_peek(b, sd, 1) & 2, 0);
        assert_in_range(b->vm->n_guest_errors, 1, 2);
        guest_free(g);
        samples(&n);
    }
}

static void codecs_come_and_go(void **unused)
{
    struct guest *g = hda_guest("");
    struct board *b = g->b;
    size_t n;
    const struct prop_value props[] = { { "id", "late" }, { "audiodev", "a0" } };
    board_poke(b, bar + 0x0e, 2, 0x7fff);
    board_poke(b, bar + 0x0c, 2, 0x7fff);
    board_poke(b, bar + 0x20, 4, 0xc0000000);
    assert_null(device_plug(b->vm, "hda-micro", props, 2));
    assert_int_equal(board_peek(b, bar + 0x0e, 2), 2);
    assert_true(b->lines[3].level);
    assert_int_equal(verb(g, 0x100f0000), 0x1af40032);
    assert_null(device_unplug(device_find(b->vm, "late")));
    assert_null(device_find(b->vm, "late"));
    board_poke(b, bar + 0x60, 4, 0x100f0000);
    board_poke(b, bar + 0x68, 2, 1);
    assert_int_equal(board_peek(b, bar + 0x68, 2) & 2, 0); /* nobody answers */
    board_check(b);
    guest_free(g);
    samples(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pace_is_the_guest_clock),
        cmocka_unit_test(rates_are_converted_along_lines),
        cmocka_unit_test(recording_has_the_streams_rate),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(speaker_follows_counter_2),
        cmocka_unit_test(virtio_plays_a_ramp_to_the_sample),
        cmocka_unit_test(virtio_refuses_what_it_did_not_offer),
        cmocka_unit_test(virtio_goes_on_where_the_vm_stood),
        cmocka_unit_test(virtio_reset_amid_a_stream_silences_it),
        cmocka_unit_test(rings_carry_verbs_and_interrupt),
        cmocka_unit_test(hda_plays_a_ramp_to_the_sample),
        cmocka_unit_test(messages_come_without_the_line),
        cmocka_unit_test(streams_wait_to_begin_together),
        cmocka_unit_test(link_reset_amid_a_stream_silences_it),
        cmocka_unit_test(lists_that_cannot_be_followed_stop_the_stream),
        cmocka_unit_test(codecs_come_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
