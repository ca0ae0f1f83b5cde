/* Intel High Definition Audio (specification 1.0a): the link between the controller and its codecs. Everything is
 * guarded by the controller's lock; a codec's own state too. */
#pragma once

#include "hw/pci/pci.h"
#include "ui/audio.h"

enum { HDA_N_CODECS = 15, HDA_N_CONVERTERS = 2 };

/* What turns samples into sound, or the other way: a node of a codec. By direction: AUDIO_OUT, AUDIO_IN. */
struct hda_converter {
    /* state */
    uint8_t tag, channel; /* 7.3.3.11; tag 0: none */
    uint16_t format;      /* 7.3.3.8, as a stream descriptor has it */
    uint8_t gain[2];      /* left, right: bit 7 mutes, 6:0 steps */
    /* derived */
    struct audio_stream *stream; /* NULL: the codec has no such converter */
};

struct hda_codec {
    struct device dev;
    char *bus_name; /* properties */
    uint32_t address;
    bool mixer;
    struct audio *audio;
    /* state */
    struct hda_converter converters[HDA_N_CONVERTERS];
    uint8_t pins[HDA_N_CONVERTERS]; /* 7.3.3.12 */
    uint8_t power;
    uint32_t defaults[HDA_N_CONVERTERS]; /* 7.3.3.31 */
    uint8_t unsolicited[HDA_N_CONVERTERS];
    struct hda *hda; /* derived */
};

/* hda_codec.c */
uint32_t hda_codec_verb(struct hda_codec *codec, uint32_t command); /* the response */
void hda_codec_reset(struct hda_codec *codec);
/* Play and record as converters and the controller's stream descriptors say: `runs` has a bit for each tag of a
 * descriptor that runs, by direction. */
void hda_codec_follow(struct hda_codec *codec, const uint16_t runs[2]);

/* intel_hda.c */
struct error *hda_attach(struct hda_codec *codec); /* finds the controller */
void hda_follow(struct hda *hda); /* streams start and stop as both ends say. Takes the lock */
void hda_detach(struct hda_codec *codec);
/* A converter wants n bytes for its tag, or has some: DMA. How many were moved. Takes the lock. */
size_t hda_move(struct hda *hda, struct hda_codec *codec, enum audio_direction direction,
                uint8_t *buf, size_t n);
