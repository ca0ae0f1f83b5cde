/* virtio sound device (VIRTIO 1.2, 5.14): one stream to play and one to record, jacks and channel maps. Buffers
 * stay in their ring until the back end wants them; one that is used in part is all that is kept. */
#include "core/error.h"
#include "core/vm.h"
#include "hw/virtio/virtio.h"
#include "ui/audio.h"

enum { CONTROLQ, EVENTQ, TXQ, RXQ, N_QUEUES };
enum {
    QUEUE_SIZE = 64,
    CONFIG_SIZE = 12,
    MAX_STREAMS = 2,
    MAX_JACKS = 2,
    MAX_CHANNELS = 2,
    STATUS_SIZE = 8,
    XFER_SIZE = 4
};
enum { /* 5.14.6 */
       R_JACK_INFO = 0x0001,
       R_JACK_REMAP = 0x0002,
       R_PCM_INFO = 0x0100,
       R_PCM_SET_PARAMS = 0x0101,
       R_PCM_PREPARE = 0x0102,
       R_PCM_RELEASE = 0x0103,
       R_PCM_START = 0x0104,
       R_PCM_STOP = 0x0105,
       R_CHMAP_INFO = 0x0200,
       S_OK = 0x8000,
       S_BAD_MSG = 0x8001,
       S_NOT_SUPP = 0x8002,
       S_IO_ERR = 0x8003,
};
/* 5.14.6.6.1: commands and the states they are allowed in */
enum pcm_state {
    STREAM_NEW,
    STREAM_SET,
    STREAM_PREPARED,
    STREAM_RUNNING,
    STREAM_STOPPED,
    STREAM_N_STATES
};
enum { CHMAP_FL = 3, CHMAP_FR = 4 };
enum { MOST_BUFFER = 4 * 1024 * 1024 };

/* 5.14.6.6.2: the formats and rates that we have, by their numbers there */
static const struct {
    uint8_t number;
    enum audio_format format;
} formats[] = {
    { 3, PCM_S8 },   { 4, PCM_U8 },   { 5, PCM_S16 },  { 6, PCM_U16 },
    { 17, PCM_S32 }, { 18, PCM_U32 }, { 19, PCM_F32 },
};
static const uint32_t rates[] = { 5512,  8000,  11025, 16000, 22050,  32000,  44100,
                                  48000, 64000, 88200, 96000, 176400, 192000, 384000 };

struct snd_pcm {
    /* state */
    uint32_t state;
    uint32_t buffer_bytes, period_bytes;
    uint8_t channels, format, rate; /* as the driver says it; valid from STREAM_SET on */
    uint32_t done;                  /* bytes of the oldest buffer that were moved */
    /* derived */
    struct virtq_chain *head; /* popped and not finished; NULL: none */
    struct audio_stream *stream;
};

struct virtio_snd {
    struct virtio_device v;
    struct audio *audio; /* property; NULL: the default */
    uint32_t n_jacks, n_streams, n_chmaps;
    struct snd_pcm pcms[MAX_STREAMS]; /* 0 plays, 1 records */
    bool stands;                      /* derived: the VM is stopped, buffers stay in their ring */
};

static struct virtio_snd *snd_of(struct virtio_device *v)
{
    return container_of(v, struct virtio_snd, v);
}

static bool is_input(unsigned stream)
{
    return stream == 1;
}

static struct virtq *queue_of(struct virtio_snd *d, unsigned stream)
{
    return &d->v.queues[is_input(stream) ? RXQ : TXQ];
}

static bool format_find(uint8_t number, enum audio_format *out)
{
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (formats[i].number == number) {
            *out = formats[i].format;
            return true;
        }
    return false;
}

static bool settings_of(const struct snd_pcm *p, struct audio_settings *out)
{
    if (p->rate >= ARRAY_LEN(rates) || !p->channels || p->channels > MAX_CHANNELS)
        return false;
    out->channels = p->channels;
    out->rate = rates[p->rate];
    return format_find(p->format, &out->format);
}

/* ---- buffers ----------------------------------------------------------------------------------- */
/* Bytes of sound that a buffer carries or has room for. */
static uint64_t sound_bytes(const struct virtq_chain *c, bool input)
{
    if (input)
        return c->writable_len > STATUS_SIZE ? c->writable_len - STATUS_SIZE : 0;
    return c->readable_len > XFER_SIZE ? c->readable_len - XFER_SIZE : 0;
}

/* 5.14.6.8.1: the status stands behind what was recorded. */
static void finish(struct virtq_chain *c, uint32_t status, bool input)
{
    uint8_t raw[STATUS_SIZE] = { 0 };
    uint64_t at = input ? sound_bytes(c, true) : 0;
    store_le(raw, 4, status);
    size_t n = chain_write(c, at, raw, sizeof(raw));
    virtq_push(c, (uint32_t)(at + n));
}

static void finish_head(struct snd_pcm *p, uint32_t status, bool input)
{
    struct virtq_chain *c = p->head;
    p->head = NULL;
    finish(c, status, input);
    p->done = 0;
}

/* The oldest buffer that is to be moved, and how much of it is left; those that are wrong go back with an error. */
static struct virtq_chain *buffer_now(struct virtio_snd *d, unsigned stream, uint64_t *left)
{
    struct snd_pcm *p = &d->pcms[stream];
    bool input = is_input(stream);
    for (;;) {
        uint8_t raw[XFER_SIZE];
        if (!p->head)
            p->head = virtq_pop(queue_of(d, stream));
        if (!p->head)
            return NULL;
        size_t got = chain_read(p->head, 0, raw, sizeof(raw));
        uint64_t n = sound_bytes(p->head, input);
        bool good = got == XFER_SIZE && load_le(raw, 4) == stream && stream < d->n_streams &&
                    p->head->writable_len >= STATUS_SIZE && n <= MOST_BUFFER;
        if (good && p->state >= STREAM_PREPARED && n > p->done) {
            *left = n - p->done;
            return p->head;
        }
        finish_head(p, !good ? S_BAD_MSG : p->state < STREAM_PREPARED ? S_IO_ERR : S_OK, input);
    }
}

/* Every buffer goes back (5.14.6.6.5.1). */
static void give_all_back(struct virtio_snd *d, unsigned stream)
{
    struct snd_pcm *p = &d->pcms[stream];
    struct virtq *q = queue_of(d, stream);
    while (p->head || (p->head = virtq_pop(q)))
        finish_head(p, S_OK, is_input(stream));
    virtq_notify(q);
}

/* The back end's call: main loop's thread. */
static size_t move(struct virtio_snd *d, unsigned stream, uint8_t *buf, size_t n)
{
    struct snd_pcm *p = &d->pcms[stream];
    struct virtq_chain *c;
    uint64_t left;
    size_t done = 0;
    device_lock(&d->v.dev);
    while (done < n && !d->stands && p->state == STREAM_RUNNING && virtio_running(&d->v) &&
           (c = buffer_now(d, stream, &left))) {
        size_t want = MIN(n - done, left);
        size_t got = is_input(stream) ? chain_write(c, p->done, buf + done, want)
                                      : chain_read(c, XFER_SIZE + p->done, buf + done, want);
        done += got;
        p->done += (uint32_t)got;
        if (got == left || !got)
            finish_head(p, S_OK, is_input(stream));
    }
    if (d->v.n_queues)
        virtq_notify(queue_of(d, stream));
    device_unlock(&d->v.dev);
    return done;
}

static size_t play(void *opaque, uint8_t *buf, size_t n)
{
    return move(opaque, 0, buf, n);
}

static size_t record(void *opaque, uint8_t *buf, size_t n)
{
    return move(opaque, 1, buf, n);
}

/* ---- control ----------------------------------------------------------------------------------- */
static void follow_state(struct virtio_snd *d, unsigned stream)
{
    const struct snd_pcm *p = &d->pcms[stream];
    struct audio_settings settings;
    if (!p->stream)
        return;
    if (p->state == STREAM_RUNNING && settings_of(p, &settings))
        audio_stream_start(p->stream, &settings);
    else
        audio_stream_stop(p->stream);
}

static uint32_t set_params(struct virtio_snd *d, struct snd_pcm *p, const struct virtq_chain *c)
{
    uint8_t raw[24];
    struct snd_pcm asked = *p;
    struct audio_settings settings;
    if (chain_read(c, 0, raw, sizeof(raw)) < sizeof(raw))
        return S_BAD_MSG;
    asked.buffer_bytes = (uint32_t)load_le(raw + 8, 4);
    asked.period_bytes = (uint32_t)load_le(raw + 12, 4);
    asked.channels = raw[20];
    asked.format = raw[21];
    asked.rate = raw[22];
    if (load_le(raw + 16, 4) || !settings_of(&asked, &settings))
        return S_NOT_SUPP;
    if (!asked.period_bytes || asked.buffer_bytes % asked.period_bytes)
        return S_BAD_MSG;
    asked.state = STREAM_SET;
    *p = asked;
    return S_OK;
}

static uint32_t pcm_command(struct virtio_snd *d, uint32_t code, const struct virtq_chain *c)
{
#define IN(s) (1u << (s))
    static const struct {
        uint8_t allowed, next;
    } commands[] = {
        [R_PCM_SET_PARAMS -
         R_PCM_SET_PARAMS] = { IN(STREAM_NEW) | IN(STREAM_SET) | IN(STREAM_PREPARED), STREAM_SET },
        [R_PCM_PREPARE -
            R_PCM_SET_PARAMS] = { IN(STREAM_SET) | IN(STREAM_PREPARED), STREAM_PREPARED },
        [R_PCM_RELEASE -
            R_PCM_SET_PARAMS] = { IN(STREAM_PREPARED) | IN(STREAM_STOPPED), STREAM_SET },
        [R_PCM_START -
            R_PCM_SET_PARAMS] = { IN(STREAM_PREPARED) | IN(STREAM_STOPPED), STREAM_RUNNING },
        [R_PCM_STOP - R_PCM_SET_PARAMS] = { IN(STREAM_RUNNING), STREAM_STOPPED },
    };
#undef IN
    uint8_t raw[4];
    if (chain_read(c, 4, raw, sizeof(raw)) < sizeof(raw))
        return S_BAD_MSG;
    uint64_t stream = load_le(raw, 4);
    if (stream >= d->n_streams)
        return S_BAD_MSG;
    struct snd_pcm *p = &d->pcms[stream];
    unsigned which = code - R_PCM_SET_PARAMS;
    if (!(commands[which].allowed >> p->state & 1))
        return S_BAD_MSG;
    if (code == R_PCM_SET_PARAMS)
        return set_params(d, p, c);
    p->state = commands[which].next;
    if (code == R_PCM_RELEASE)
        give_all_back(d, (unsigned)stream);
    follow_state(d, (unsigned)stream);
    return S_OK;
}

/* 5.14.6.4.1, 5.14.6.6.2, 5.14.6.9.1: each fills a record and returns its size. */
static unsigned jack_info(unsigned i, uint8_t *to)
{
    store_le(to, 4, 0); /* one function group: a card has both streams */
    store_le(to + 8, 4, i ? 0x01a19020u : 0x01014010u); /* HDA 7.3.3.31: microphone, line out */
    store_le(to + 12, 4, i ? 0x20u : 0x10u);            /* HDA 7.3.4.9: input, output */
    to[16] = 1;
    return 24;
}

static unsigned pcm_info(unsigned i, uint8_t *to)
{
    uint64_t known = 0;
    for (size_t k = 0; k < ARRAY_LEN(formats); k++)
        known |= VIRTIO_BIT(formats[k].number);
    store_le(to, 4, 0);
    store_le(to + 8, 8, known);
    store_le(to + 16, 8, VIRTIO_BIT(ARRAY_LEN(rates)) - 1);
    to[24] = is_input(i);
    to[25] = 1;
    to[26] = MAX_CHANNELS;
    return 32;
}

static unsigned chmap_info(unsigned i, uint8_t *to)
{
    store_le(to, 4, 0);
    to[4] = is_input(i);
    to[5] = 2;
    to[6] = CHMAP_FL;
    to[7] = CHMAP_FR;
    return 24;
}

/* 5.14.6.1: `count` records from `start_id`, of which the driver wants `size` bytes each. */
static uint32_t give_infos(struct virtq_chain *c, unsigned n,
                           unsigned (*info)(unsigned i, uint8_t *to), uint32_t *written)
{
    uint8_t raw[16], record_[32];
    if (chain_read(c, 0, raw, sizeof(raw)) < sizeof(raw))
        return S_BAD_MSG;
    uint64_t start = load_le(raw + 4, 4), count = load_le(raw + 8, 4), size = load_le(raw + 12, 4);
    if (start > n || count > n - start)
        return S_BAD_MSG;
    for (uint64_t i = 0; i < count; i++) {
        memset(record_, 0, sizeof(record_));
        if (size != info((unsigned)(start + i), record_) || 4 + (i + 1) * size > c->writable_len)
            return S_BAD_MSG;
        *written += (uint32_t)chain_write(c, 4 + i * size, record_, size);
    }
    return S_OK;
}

static uint32_t control(struct virtio_snd *d, struct virtq_chain *c, uint32_t *written)
{
    uint8_t raw[4];
    if (chain_read(c, 0, raw, sizeof(raw)) < sizeof(raw))
        return S_BAD_MSG;
    uint32_t code = (uint32_t)load_le(raw, 4);
    switch (code) {
    case R_JACK_INFO: return give_infos(c, d->n_jacks, jack_info, written);
    case R_PCM_INFO: return give_infos(c, d->n_streams, pcm_info, written);
    case R_CHMAP_INFO: return give_infos(c, d->n_chmaps, chmap_info, written);
    case R_PCM_SET_PARAMS:
    case R_PCM_PREPARE:
    case R_PCM_RELEASE:
    case R_PCM_START:
    case R_PCM_STOP: return pcm_command(d, code, c);
    default: return S_NOT_SUPP; /* JACK_REMAP: no jack has the feature */
    }
}

static void handle_queue(struct virtio_device *v, struct virtq *q)
{
    struct virtio_snd *d = snd_of(v);
    struct virtq_chain *c;
    uint64_t left;
    if (q->index == EVENTQ)
        return; /* jacks stay plugged in */
    if (d->stands && q->index != CONTROLQ)
        return; /* asked again when the VM goes on */
    if (q->index == TXQ || q->index == RXQ) {
        buffer_now(d, q->index == RXQ, &left); /* what is wrong goes back at once */
        virtq_notify(q);
        return;
    }
    while ((c = virtq_pop(q))) {
        uint8_t raw[4];
        uint32_t written = 0;
        store_le(raw, 4, control(d, c, &written));
        virtq_push(c, written + (uint32_t)chain_write(c, 0, raw, sizeof(raw)));
    }
    virtq_notify(q);
}

/* ---- life -------------------------------------------------------------------------------------- */
static void get_config(struct virtio_device *v, uint8_t *config)
{
    const struct virtio_snd *d = snd_of(v);
    store_le(config, 4, d->n_jacks);
    store_le(config + 4, 4, d->n_streams);
    store_le(config + 8, 4, d->n_chmaps);
}

static void drop_head(struct snd_pcm *p)
{
    if (p->head)
        virtq_drop(p->head);
    p->head = NULL;
    p->done = 0;
}

static void reset_queue(struct virtio_device *v, struct virtq *q)
{
    if (q->index == TXQ || q->index == RXQ)
        drop_head(&snd_of(v)->pcms[q->index == RXQ]);
}

static void reset(struct virtio_device *v)
{
    struct virtio_snd *d = snd_of(v);
    for (unsigned i = 0; i < MAX_STREAMS; i++) {
        struct snd_pcm *p = &d->pcms[i];
        drop_head(p);
        p->state = STREAM_NEW;
        p->buffer_bytes = p->period_bytes = 0;
        p->channels = p->format = p->rate = 0;
        follow_state(d, i);
    }
}

static struct error *loaded(struct virtio_device *v)
{
    struct virtio_snd *d = snd_of(v);
    for (unsigned i = 0; i < MAX_STREAMS; i++)
        follow_state(d, i);
    return NULL;
}

/* The VM stops: what is kept goes back into its ring, where a stream of state finds it. */
static void runs(void *opaque, bool running)
{
    struct virtio_snd *d =
        container_of(opaque, struct virtio_snd, pcms); /* v itself is the core's hook */
    device_lock(&d->v.dev);
    d->stands = !running;
    for (unsigned i = 0; i < MAX_STREAMS && !running; i++) {
        struct snd_pcm *p = &d->pcms[i];
        if (p->head)
            virtq_unpop(p->head);
        p->head = NULL;
    }
    device_unlock(&d->v.dev);
}

static struct error *realize(struct virtio_device *v)
{
    struct virtio_snd *d = snd_of(v);
    struct audio *a = d->audio ? d->audio : audio_default(v->dev.vm);
    for (unsigned i = 0; i < N_QUEUES; i++)
        virtio_add_queue(v, QUEUE_SIZE);
    d->pcms[0].stream = audio_stream_new(a, AUDIO_OUT, &v->dev, play, d);
    d->pcms[1].stream = audio_stream_new(a, AUDIO_IN, &v->dev, record, d);
    vm_on_run(v->dev.vm, runs, d->pcms);
    return NULL;
}

static void unrealize(struct virtio_device *v)
{
    struct virtio_snd *d = snd_of(v);
    vm_forget(v->dev.vm, d->pcms);
    for (unsigned i = 0; i < MAX_STREAMS; i++) {
        audio_stream_free(d->pcms[i].stream);
        d->pcms[i].stream = NULL;
    }
}

static const struct virtio_model snd_model = {
    .device_id = 25,
    .pci_class = 0x040100,
    .config_size = CONFIG_SIZE,
    .realize = realize,
    .unrealize = unrealize,
    .get_config = get_config,
    .handle_queue = handle_queue,
    .reset_queue = reset_queue,
    .reset = reset,
    .loaded = loaded,
};

static const struct field pcm_fields[] = {
    FIELD(struct snd_pcm, state, .max = STREAM_N_STATES - 1),
    FIELD(struct snd_pcm, buffer_bytes),
    FIELD(struct snd_pcm, period_bytes),
    FIELD(struct snd_pcm, channels),
    FIELD(struct snd_pcm, format),
    FIELD(struct snd_pcm, rate),
    FIELD(struct snd_pcm, done),
};

#define P(member, name, kind, ...) PROP(struct virtio_snd, member, name, kind, __VA_ARGS__)
#define SND_PROPS                                                                         \
    , P(audio, "audiodev", PROP_AUDIO, .help = "id of an -audiodev; default: the first"), \
        P(n_jacks, "jacks", PROP_UINT, .def = "2", .max = MAX_JACKS,                      \
          .help = "line out, microphone"),                                                \
        P(n_streams, "streams", PROP_UINT, .def = "2", .min = 1, .max = MAX_STREAMS,      \
          .help = "1: it only plays"),                                                    \
        P(n_chmaps, "chmaps", PROP_UINT, .def = "2", .max = MAX_STREAMS)
#define SND_STATE                                                  \
    , FIELD_SUB(struct virtio_snd, pcms, pcm_fields, MAX_STREAMS), \
        DERIVED(struct virtio_snd, stands)
VIRTIO_CLASSES(virtio_snd, "virtio-sound", "sound", struct virtio_snd, snd_model, SND_PROPS,
               SND_STATE)
