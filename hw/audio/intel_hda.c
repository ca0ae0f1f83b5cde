/* Intel High Definition Audio controllers (specification 1.0a, whose sections comments cite): command rings,
 * immediate commands, four streams in and four out. Data moves when the codecs' back end asks for it. */
#include "core/clock.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/audio/hda.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    N_IN = 4,
    N_OUT = 4,
    N_STREAMS = N_IN + N_OUT,
    BAR_SIZE = 0x4000,
    RING = 256,
    BDL_ENTRIES = 256,
    LEAST_PIECE = 16, /* on average; 3.6.2 wants 128 */
};
enum { /* 3.3 */
       GCAP = 0x00,
       VMIN = 0x02,
       VMAJ = 0x03,
       OUTPAY = 0x04,
       INPAY = 0x06,
       GCTL = 0x08,
       WAKEEN = 0x0c,
       STATESTS = 0x0e,
       GSTS = 0x10,
       OUTSTRMPAY = 0x18,
       INSTRMPAY = 0x1a,
       INTCTL = 0x20,
       INTSTS = 0x24,
       WALCLK = 0x30,
       SSYNC = 0x38,
       CORBLBASE = 0x40,
       CORBUBASE = 0x44,
       CORBWP = 0x48,
       CORBRP = 0x4a,
       CORBCTL = 0x4c,
       CORBSTS = 0x4d,
       CORBSIZE = 0x4e,
       RIRBLBASE = 0x50,
       RIRBUBASE = 0x54,
       RIRBWP = 0x58,
       RINTCNT = 0x5a,
       RIRBCTL = 0x5c,
       RIRBSTS = 0x5d,
       RIRBSIZE = 0x5e,
       ICOI = 0x60,
       ICII = 0x64,
       ICIS = 0x68,
       DPLBASE = 0x70,
       DPUBASE = 0x74,
       SD0 = 0x80,
       SD_STEP = 0x20,
       ALIAS = 0x2000, /* 3.3.43, 3.3.44: the wall clock and positions once more */
};
enum {
    SDCTL = 0x00,
    SDSTS = 0x03,
    LPIB = 0x04,
    CBL = 0x08,
    LVI = 0x0c,
    FIFOS = 0x10,
    FMT = 0x12,
    BDPL = 0x18,
    BDPU = 0x1c
};
enum { CRST = 1, FCNTRL = 2, UNSOL = 0x100, FSTS = 2 };
enum {
    RING_RUN = 2,
    CMEIE = 1,
    RINTCTL = 1,
    RIRBOIC = 4,
    RINTFL = 1,
    CMEI = 1,
    RIRBOIS = 4,
    IC_BUSY = 1,
    IC_VALID = 2
};
enum {
    SRST = 1,
    RUN = 2,
    BCIS = 4,
    FIFOE = 8,
    DESE = 16,
    FIFORDY = 0x20,
    EVENTS = 0x1c
}; /* SDCTL's enables stand as EVENTS */
#define GIE UINT32_C(0x80000000)
#define CIE UINT32_C(0x40000000)

struct hda_stream {
    uint32_t ctl; /* 24 bits */
    uint8_t sts;
    uint16_t lvi, fmt;
    uint32_t lpib, cbl, bdpl, bdpu;
    /* where in the list: a private copy of the entry under way */
    uint16_t entry;
    bool has_entry;
    uint64_t at;
    uint32_t length, flags, done;
};

struct hda {
    struct device dev;
    uint32_t msi; /* property */
    struct pci_function fn;
    uint32_t gctl, intctl, icoi, icii, ssync;
    uint32_t corb[2], rirb[2], position[2]; /* low, high halves of addresses */
    uint16_t wakeen, statests, gsts, corbwp, corbrp, rirbwp, rintcnt, icis;
    uint8_t corbctl, corbsts, rirbctl, rirbsts;
    uint32_t responses; /* since the last interrupt */
    uint64_t clock_from_ns;
    struct hda_stream streams[N_STREAMS]; /* those in, then those out */
    uint32_t raised;                      /* causes that the guest was told of; derived */
    struct hda_codec *codecs[HDA_N_CODECS];
};

/* ---- interrupts (3.3.14, 3.3.15) --------------------------------------------------------------- */
static uint32_t causes(const struct hda *h)
{
    uint32_t now = 0;
    for (unsigned i = 0; i < N_STREAMS; i++)
        if (h->streams[i].sts & h->streams[i].ctl & EVENTS)
            now |= 1u << i;
    if ((h->rirbsts & h->rirbctl & (RINTCTL | RIRBOIC)) || (h->corbsts & h->corbctl & CMEIE) ||
        (h->statests & h->wakeen))
        now |= CIE;
    return now;
}

static void follow_interrupts(struct hda *h)
{
    uint32_t now = h->intctl & GIE ? causes(h) & h->intctl : 0, fresh = now & ~h->raised;
    h->raised = now;
    if (fresh)
        pci_msi_fire(&h->fn);
    bool by_message = h->fn.msi_cap && h->fn.config[h->fn.msi_cap + 2] & 1;
    pci_set_intx(&h->fn, now && !by_message);
}

/* ---- streams ----------------------------------------------------------------------------------- */
static unsigned tag_of(const struct hda_stream *s)
{
    return s->ctl >> 20 & 15;
}

/* 3.3.17: streams that are to begin together wait for each other. */
static bool runs(const struct hda *h, unsigned i)
{
    return h->streams[i].ctl & RUN && !(h->ssync >> i & 1);
}

static void follow_streams(struct hda *h)
{
    uint16_t running[2] = { 0 };
    for (unsigned i = 0; i < N_STREAMS; i++)
        if (runs(h, i))
            running[i < N_IN ? AUDIO_IN : AUDIO_OUT] |= (uint16_t)(1u << tag_of(&h->streams[i]));
    for (unsigned i = 0; i < HDA_N_CODECS; i++)
        if (h->codecs[i])
            hda_codec_follow(h->codecs[i], running);
}

static bool dma_read(struct hda *h, gpa at, void *to, size_t n)
{
    return pci_may_master(&h->fn) && mem_read(h->dev.vm, at, to, n);
}

static bool dma_write(struct hda *h, gpa at, const void *from, size_t n)
{
    return pci_may_master(&h->fn) && mem_write(h->dev.vm, at, from, n);
}

static bool fetch_entry(struct hda *h, struct hda_stream *s)
{
    uint8_t raw[16];
    gpa list = (uint64_t)s->bdpu << 32 | s->bdpl;
    if (!dma_read(h, list + 16u * s->entry, raw, sizeof(raw)))
        return device_broken(&h->dev, "descriptor %u of the list at %#" PRIx64 " is outside memory",
                             s->entry, list);
    s->at = load_le(raw, 8);
    s->length = (uint32_t)load_le(raw + 8, 4);
    s->flags = (uint32_t)load_le(raw + 12, 4);
    s->done = 0;
    s->has_entry = true;
    return true;
}

/* The descriptor is used up: its interrupt, and the next one's turn (3.6.3). */
static void next_entry(struct hda_stream *s)
{
    if (s->flags & 1)
        s->sts |= BCIS;
    s->entry = s->entry >= s->lvi ? 0 : s->entry + 1;
    s->has_entry = false;
}

static void broken(struct hda_stream *s)
{
    s->sts |= DESE;
    s->ctl &= ~(uint32_t)RUN;
    s->has_entry = false;
}

/* At most n bytes between buf and the guest's buffers. A piece is what is left of a buffer or of the cycle; many
 * that are tiny or empty are no way to keep us busy. */
static size_t transfer(struct hda *h, struct hda_stream *s, bool in, uint8_t *buf, size_t n)
{
    size_t moved = 0, pieces = 0;
    while (moved < n) {
        if (!s->has_entry && !fetch_entry(h, s)) {
            broken(s);
            break;
        }
        size_t part = s->done < s->length ? MIN(n - moved, s->length - s->done) : 0;
        if (s->cbl)
            part = MIN(part, s->cbl - MIN(s->lpib, s->cbl - 1));
        gpa at = s->at + s->done;
        if (part &&
            !(in ? dma_write(h, at, buf + moved, part) : dma_read(h, at, buf + moved, part))) {
            device_broken(&h->dev, "buffer at %#" PRIx64 " is outside memory", at);
            broken(s);
            break;
        }
        moved += part;
        s->done += (uint32_t)part;
        s->lpib += (uint32_t)part;
        if (s->cbl && s->lpib >= s->cbl)
            s->lpib = 0;
        if (s->done >= s->length)
            next_entry(s);
        if (++pieces > BDL_ENTRIES + n / LEAST_PIECE) {
            device_broken(&h->dev, "buffers of less than %d bytes", LEAST_PIECE);
            broken(s);
            break;
        }
    }
    return moved;
}

static void put_position(struct hda *h, unsigned i)
{
    uint8_t raw[4];
    gpa base = (uint64_t)h->position[1] << 32 | (h->position[0] & ~(uint32_t)0x7f);
    store_le(raw, 4, h->streams[i].lpib);
    if (h->position[0] & 1 && !dma_write(h, base + 8 * i, raw, sizeof(raw)))
        device_broken(&h->dev, "positions at %#" PRIx64 " are outside memory", base);
}

size_t hda_move(struct hda *h, struct hda_codec *codec, enum audio_direction d, uint8_t *buf,
                size_t n)
{
    size_t moved = 0;
    device_lock(&h->dev);
    unsigned tag = codec->converters[d].tag, first = d == AUDIO_IN ? 0 : N_IN;
    for (unsigned i = first; i < first + 4 && tag; i++) {
        struct hda_stream *s = &h->streams[i];
        if (!runs(h, i) || tag_of(s) != tag)
            continue;
        moved = transfer(h, s, d == AUDIO_IN, buf, n);
        put_position(h, i);
        if (!(s->ctl & RUN))
            follow_streams(h);
        follow_interrupts(h);
        break;
    }
    device_unlock(&h->dev);
    return moved;
}

static void stream_control(struct hda *h, struct hda_stream *s, uint32_t value)
{
    if (value & SRST) { /* 3.3.35: everything but the reset itself */
        *s = (struct hda_stream){ .ctl = SRST };
    } else {
        s->ctl = value & 0xff001e & ~(uint32_t)SRST;
        s->sts = (uint8_t)((s->sts & EVENTS) | (s->ctl & RUN ? FIFORDY : 0));
    }
    follow_streams(h);
}

/* ---- commands ---------------------------------------------------------------------------------- */
/* False: nobody answers. */
static bool command(struct hda *h, uint32_t verb, uint32_t *response)
{
    unsigned address = verb >> 28;
    if (address >= HDA_N_CODECS || !h->codecs[address])
        return false;
    *response = hda_codec_verb(h->codecs[address], verb);
    follow_streams(h);
    return true;
}

static bool respond(struct hda *h, uint32_t response, unsigned address)
{
    uint8_t raw[8];
    store_le(raw, 4, response);
    store_le(raw + 4, 4, address);
    h->rirbwp = (h->rirbwp + 1) % RING;
    gpa base = (uint64_t)h->rirb[1] << 32 | h->rirb[0];
    h->responses++;
    return dma_write(h, base + 8u * h->rirbwp, raw, sizeof(raw)) ||
           device_broken(&h->dev, "responses at %#" PRIx64 " are outside memory", base);
}

/* 4.4.1: one round of the ring at most. */
static void run_commands(struct hda *h)
{
    gpa base = (uint64_t)h->corb[1] << 32 | h->corb[0];
    unsigned most = h->rintcnt ? h->rintcnt : RING;
    while (h->corbctl & RING_RUN && h->corbrp != h->corbwp && pci_may_master(&h->fn)) {
        uint8_t raw[4];
        uint32_t response;
        h->corbrp = (h->corbrp + 1) % RING;
        if (!dma_read(h, base + 4u * h->corbrp, raw, sizeof(raw))) {
            device_broken(&h->dev, "commands at %#" PRIx64 " are outside memory", base);
            h->corbsts |= CMEI;
            h->corbctl &= ~RING_RUN;
            break;
        }
        uint32_t verb = (uint32_t)load_le(raw, 4);
        if (command(h, verb, &response) && h->rirbctl & RING_RUN &&
            respond(h, response, verb >> 28) && h->responses >= most) {
            h->rirbsts |= RINTFL;
            h->responses = 0;
        }
    }
    if (h->responses) { /* 4.4.2.2: nothing more comes */
        h->rirbsts |= RINTFL;
        h->responses = 0;
    }
}

static void immediate(struct hda *h, uint32_t value)
{
    h->icis &= ~(value & IC_VALID);
    if (value & IC_BUSY && command(h, h->icoi, &h->icii))
        h->icis = (uint16_t)(IC_VALID | (h->icoi >> 28) << 4);
}

/* ---- registers --------------------------------------------------------------------------------- */
static void link_reset(struct hda *h)
{
    h->gctl = h->intctl = h->icoi = h->icii = h->ssync = 0;
    memset(h->corb, 0, sizeof(h->corb));
    memset(h->rirb, 0, sizeof(h->rirb));
    memset(h->position, 0, sizeof(h->position));
    h->gsts = h->corbwp = h->corbrp = h->rirbwp = h->rintcnt = h->icis = 0;
    h->corbctl = h->corbsts = h->rirbctl = h->rirbsts = 0;
    h->responses = 0;
    memset(h->streams, 0, sizeof(h->streams));
    follow_streams(h);
}

static void control(struct hda *h, uint32_t value)
{
    if (!(value & CRST)) {
        if (h->gctl & CRST)
            link_reset(h);
        return;
    }
    if (!(h->gctl & CRST)) { /* 4.3: codecs announce themselves */
        h->clock_from_ns = vm_now_ns(h->dev.vm);
        for (unsigned i = 0; i < HDA_N_CODECS; i++)
            if (h->codecs[i]) {
                hda_codec_reset(h->codecs[i]);
                h->statests |= (uint16_t)(1u << i);
            }
    }
    h->gctl = value & (CRST | UNSOL);
    h->gsts |= value & FCNTRL ? FSTS : 0;
}

/* Where each register is, and its size in bytes; stream descriptors follow. */
static const struct hda_reg {
    uint16_t at;
    uint8_t size;
} regs[] = {
    { GCAP, 2 },      { VMIN, 1 },      { VMAJ, 1 },      { OUTPAY, 2 },  { INPAY, 2 },    { GCTL, 4 },
    { WAKEEN, 2 },    { STATESTS, 2 },  { GSTS, 2 },      { OUTSTRMPAY, 2 }, { INSTRMPAY, 2 }, { INTCTL, 4 },
    { INTSTS, 4 },    { WALCLK, 4 },    { SSYNC, 4 },     { CORBLBASE, 4 }, { CORBUBASE, 4 }, { CORBWP, 2 },
    { CORBRP, 2 },    { CORBCTL, 1 },   { CORBSTS, 1 },   { CORBSIZE, 1 }, { RIRBLBASE, 4 }, { RIRBUBASE, 4 },
    { RIRBWP, 2 },    { RINTCNT, 2 },   { RIRBCTL, 1 },   { RIRBSTS, 1 }, { RIRBSIZE, 1 }, { ICOI, 4 },
    { ICII, 4 },      { ICIS, 2 },      { DPLBASE, 4 },   { DPUBASE, 4 },
}, stream_regs[] = {
    { SDCTL, 3 }, { SDSTS, 1 }, { LPIB, 4 }, { CBL, 4 }, { LVI, 2 }, { FIFOS, 2 }, { FMT, 2 }, { BDPL, 4 }, { BDPU, 4 },
};

/* The register that has this byte; its offset in *at. NULL: there is none. */
static const struct hda_reg *reg_at(unsigned off, unsigned *at)
{
    unsigned base = off < SD0 ? 0 : off - (off - SD0) % SD_STEP;
    const struct hda_reg *table = base ? stream_regs : regs;
    size_t n = base ? ARRAY_LEN(stream_regs) : ARRAY_LEN(regs);
    for (size_t i = 0; i < n && off < SD0 + N_STREAMS * SD_STEP; i++)
        if (off >= base + table[i].at && off < base + table[i].at + table[i].size) {
            *at = base + table[i].at;
            return &table[i];
        }
    return NULL;
}

static uint32_t stream_get(const struct hda_stream *s, unsigned reg)
{
    switch (reg) {
    case SDCTL: return s->ctl;
    case SDSTS: return s->sts;
    case LPIB: return s->lpib;
    case CBL: return s->cbl;
    case LVI: return s->lvi;
    case FIFOS: return 0x100;
    case FMT: return s->fmt;
    case BDPL: return s->bdpl;
    default: return s->bdpu;
    }
}

static uint32_t reg_get(struct hda *h, unsigned at)
{
    uint32_t now;
    if (at >= SD0)
        return stream_get(&h->streams[(at - SD0) / SD_STEP], (at - SD0) % SD_STEP);
    switch (at) {
    case GCAP: return N_OUT << 12 | N_IN << 8 | 1;
    case VMAJ: return 1;
    case OUTPAY: return 0x3c;
    case INPAY: return 0x1d;
    case GCTL: return h->gctl;
    case WAKEEN: return h->wakeen;
    case STATESTS: return h->statests;
    case GSTS: return h->gsts;
    case INTCTL: return h->intctl;
    case INTSTS: now = causes(h); return now | (now & h->intctl ? GIE : 0);
    case WALCLK:
        return (uint32_t)((vm_now_ns(h->dev.vm) - h->clock_from_ns) / 125 * 3); /* 24 MHz */
    case SSYNC: return h->ssync;
    case CORBLBASE: return h->corb[0];
    case CORBUBASE: return h->corb[1];
    case CORBWP: return h->corbwp;
    case CORBRP: return h->corbrp;
    case CORBCTL: return h->corbctl;
    case CORBSTS: return h->corbsts;
    case CORBSIZE:
    case RIRBSIZE: return 0x42; /* 256 entries, nothing else */
    case RIRBLBASE: return h->rirb[0];
    case RIRBUBASE: return h->rirb[1];
    case RIRBWP: return h->rirbwp;
    case RINTCNT: return h->rintcnt;
    case RIRBCTL: return h->rirbctl;
    case RIRBSTS: return h->rirbsts;
    case ICOI: return h->icoi;
    case ICII: return h->icii;
    case ICIS: return h->icis;
    case DPLBASE: return h->position[0];
    case DPUBASE: return h->position[1];
    default: return 0;
    }
}

static void stream_set(struct hda *h, struct hda_stream *s, unsigned reg, uint32_t v,
                       uint32_t written)
{
    switch (reg) {
    case SDCTL: stream_control(h, s, v); break;
    case SDSTS: s->sts &= (uint8_t) ~(written & EVENTS); break;
    case CBL: s->cbl = v; break;
    case LVI: s->lvi = v & 0xff; break;
    case FMT: s->fmt = v & 0x7f7f; break;
    case BDPL: s->bdpl = v & ~0x7fu; break;
    case BDPU: s->bdpu = v; break;
    default: break;
    }
}

/* `v` is the whole register with the bytes that were written in place; `written` has zeros for the others. */
static void reg_set(struct hda *h, unsigned at, uint32_t v, uint32_t written)
{
    if (at == GCTL) {
        control(h, v);
        return;
    }
    if (at == WAKEEN)
        h->wakeen = v & 0x7fff;
    if (at == STATESTS)
        h->statests &= (uint16_t)~written;
    if (!(h->gctl & CRST)) /* 3.3.7 */
        return;
    if (at >= SD0) {
        stream_set(h, &h->streams[(at - SD0) / SD_STEP], (at - SD0) % SD_STEP, v, written);
        return;
    }
    switch (at) {
    case GSTS: h->gsts &= (uint16_t) ~(written & FSTS); break;
    case INTCTL: h->intctl = v & (GIE | CIE | ((1u << N_STREAMS) - 1)); break;
    case SSYNC:
        h->ssync = v & ((1u << N_STREAMS) - 1);
        follow_streams(h);
        break;
    case CORBLBASE: h->corb[0] = v & ~0x7fu; break;
    case CORBUBASE: h->corb[1] = v; break;
    case CORBWP: h->corbwp = v & 0xff; break;
    case CORBRP: h->corbrp = v & 0x8000 ? 0x8000 : h->corbrp & 0xff; break;
    case CORBCTL: h->corbctl = v & (RING_RUN | CMEIE); break;
    case CORBSTS: h->corbsts &= (uint8_t) ~(written & CMEI); break;
    case RIRBLBASE: h->rirb[0] = v & ~0x7fu; break;
    case RIRBUBASE: h->rirb[1] = v; break;
    case RIRBWP: h->rirbwp = written & 0x8000 ? 0 : h->rirbwp; break;
    case RINTCNT: h->rintcnt = v & 0xff; break;
    case RIRBCTL: h->rirbctl = v & (RING_RUN | RINTCTL | RIRBOIC); break;
    case RIRBSTS: h->rirbsts &= (uint8_t) ~(written & (RINTFL | RIRBOIS)); break;
    case ICOI: h->icoi = v; break;
    case ICIS: immediate(h, written); break;
    case DPLBASE: h->position[0] = v & ~0x7eu; break;
    case DPUBASE: h->position[1] = v; break;
    default: break;
    }
    if (h->corbrp != 0x8000)
        run_commands(h);
}

static unsigned unalias(uint64_t off)
{
    if (off >= ALIAS + WALCLK && off < ALIAS + WALCLK + 4)
        return WALCLK + (unsigned)(off - ALIAS - WALCLK);
    if (off >= ALIAS + SD0 && (off - ALIAS - SD0) % SD_STEP >= LPIB &&
        (off - ALIAS - SD0) % SD_STEP < CBL)
        return (unsigned)(off - ALIAS);
    return off >= ALIAS ? BAR_SIZE : (unsigned)off;
}

static uint64_t hda_read(void *opaque, uint64_t off, unsigned size)
{
    struct hda *h = opaque;
    uint64_t value = 0;
    unsigned at, from = unalias(off);
    device_lock(&h->dev);
    for (unsigned i = 0; i < size; i++)
        if (reg_at(from + i, &at))
            value |= (uint64_t)(reg_get(h, at) >> 8 * (from + i - at) & 0xff) << 8 * i;
    device_unlock(&h->dev);
    return value;
}

static void hda_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct hda *h = opaque;
    unsigned at, i = 0, from = unalias(off);
    device_lock(&h->dev);
    while (i < size) {
        const struct hda_reg *r = reg_at(from + i, &at);
        uint32_t mask = 0, written = 0;
        if (!r) {
            i++;
            continue;
        }
        for (; i < size && from + i < at + r->size; i++) {
            unsigned shift = 8 * (from + i - at);
            mask |= 0xffu << shift;
            written |= (uint32_t)(value >> 8 * i & 0xff) << shift;
        }
        reg_set(h, at, (reg_get(h, at) & ~mask) | written, written);
    }
    follow_interrupts(h);
    device_unlock(&h->dev);
}

static const struct mmio_ops hda_ops = { hda_read, hda_write, 1, 4, NULL };

/* ---- life -------------------------------------------------------------------------------------- */
static struct error *hda_realize(struct device *dev)
{
    struct hda *h = (struct hda *)dev;
    struct error *err = pci_realize(&h->fn, dev, dev->bus, dev->cls->bus_class);
    if (err)
        return err;
    if (h->msi != 2)
        pci_add_msi(&h->fn);
    pci_add_bar(&h->fn, 0, PCI_BAR_MEM32, mem_add_mmio(dev->vm, "hda", BAR_SIZE, &hda_ops, h),
                BAR_SIZE);
    return NULL;
}

static void hda_unrealize(struct device *dev)
{
    struct hda *h = (struct hda *)dev;
    for (unsigned i = 0; i < HDA_N_CODECS; i++)
        if (h->codecs[i])
            h->codecs[i]->hda = NULL;
    pci_unrealize(&h->fn);
}

static void hda_reset(struct device *dev)
{
    struct hda *h = (struct hda *)dev;
    pci_reset(&h->fn);
    link_reset(h);
    h->wakeen = h->statests = 0;
    h->clock_from_ns = 0;
    h->raised = 0;
}

static struct error *hda_loaded(struct device *dev)
{
    struct hda *h = (struct hda *)dev;
    pci_loaded(&h->fn);
    if (h->corbrp & 0x7f00 || h->corbwp >= RING || h->rirbwp >= RING ||
        (h->corbrp & 0x80ff) > 0x8000)
        return error_new("a ring has %d entries", RING);
    h->raised = h->intctl & GIE ? causes(h) & h->intctl : 0;
    follow_streams(h);
    return NULL;
}

void hda_follow(struct hda *h)
{
    device_lock(&h->dev);
    follow_streams(h);
    device_unlock(&h->dev);
}

/* ---- codecs ------------------------------------------------------------------------------------ */
/* 4.3: a codec that comes is seen as one that woke. It may be pulled out at any time. */
static void codec_plugged(struct device *dev)
{
    const struct hda_codec *c = (struct hda_codec *)dev;
    struct hda *h = c->hda;
    device_lock(&h->dev);
    if (h->gctl & CRST)
        h->statests |= (uint16_t)(1u << c->address);
    follow_interrupts(h);
    device_unlock(&h->dev);
}

static struct error *codec_unplug(struct device *dev)
{
    device_unplugged(dev);
    return NULL;
}

static const struct hot_plug codec_hot_plug = { codec_plugged, codec_unplug };

static struct error *take_address(struct hda *h, struct hda_codec *c)
{
    unsigned i = c->address == UINT32_MAX ? 0 : c->address;
    while (c->address == UINT32_MAX && i < HDA_N_CODECS && h->codecs[i])
        i++;
    if (i >= HDA_N_CODECS)
        return error_new("a controller has addresses 0 to %d for codecs", HDA_N_CODECS - 1);
    if (h->codecs[i])
        return error_new("cad=%u: there is a codec already", i);
    c->address = i;
    c->hda = h;
    c->dev.parent = &h->dev;
    c->dev.hot_plug = &codec_hot_plug;
    snprintf(c->dev.path, sizeof(c->dev.path), "%.56s/%u/%.24s", h->dev.path, i, c->dev.cls->name);
    h->codecs[i] = c;
    return NULL;
}

struct error *hda_attach(struct hda_codec *c)
{
    char name[80];
    for (struct device *dev = c->dev.vm->devices; dev; dev = dev->next) {
        if (dev->cls->realize != hda_realize || !dev->realized)
            continue;
        snprintf(name, sizeof(name), "%.60s.0", dev->id ? dev->id : "hda");
        if (!c->bus_name || !strcmp(c->bus_name, name))
            return take_address((struct hda *)dev, c);
    }
    if (c->bus_name)
        return error_new("there is no bus '%s'; a controller's is ID.0", c->bus_name);
    return error_new("there is no controller: add one with -device intel-hda or ich9-intel-hda");
}

void hda_detach(struct hda_codec *c)
{
    if (c->hda)
        c->hda->codecs[c->address] = NULL;
    c->hda = NULL;
}

static const char *const on_off_auto[] = { "auto", "on", "off", NULL };
static const struct prop hda_props[] = {
    PCI_PROPS(struct hda, fn),
    PROP(struct hda, msi, "msi", PROP_ENUM, .def = "auto", .names = on_off_auto,
         .help = "message-signalled interrupts"),
};

static const struct field stream_fields[] = {
    FIELD(struct hda_stream, ctl, .valid = 0xff001f),
    FIELD(struct hda_stream, sts, .valid = 0x3c),
    FIELD(struct hda_stream, lvi, .valid = 0xff),
    FIELD(struct hda_stream, fmt),
    FIELD(struct hda_stream, lpib),
    FIELD(struct hda_stream, cbl),
    FIELD(struct hda_stream, bdpl),
    FIELD(struct hda_stream, bdpu),
    FIELD(struct hda_stream, entry, .valid = 0xff),
    FIELD(struct hda_stream, has_entry),
    FIELD(struct hda_stream, at),
    FIELD(struct hda_stream, length),
    FIELD(struct hda_stream, flags),
    FIELD(struct hda_stream, done),
};
static const struct field hda_state[] = {
    FIELD_SUB(struct hda, fn, pci_function_fields, 1),
    FIELD(struct hda, gctl, .valid = CRST | UNSOL),
    FIELD(struct hda, intctl),
    FIELD(struct hda, icoi),
    FIELD(struct hda, icii),
    FIELD(struct hda, ssync),
    FIELD_ARRAY(struct hda, corb),
    FIELD_ARRAY(struct hda, rirb),
    FIELD_ARRAY(struct hda, position),
    FIELD(struct hda, wakeen),
    FIELD(struct hda, statests),
    FIELD(struct hda, gsts),
    FIELD(struct hda, corbwp, .valid = 0xff),
    FIELD(struct hda, corbrp, .valid = 0x80ff),
    FIELD(struct hda, rirbwp, .valid = 0xff),
    FIELD(struct hda, rintcnt, .valid = 0xff),
    FIELD(struct hda, icis),
    FIELD(struct hda, corbctl, .valid = 3),
    FIELD(struct hda, corbsts, .valid = 1),
    FIELD(struct hda, rirbctl, .valid = 7),
    FIELD(struct hda, rirbsts, .valid = 5),
    FIELD(struct hda, responses),
    FIELD(struct hda, clock_from_ns),
    FIELD_SUB(struct hda, streams, stream_fields, N_STREAMS),
    DERIVED(struct hda, raised),
};

#define HDA_CLASS(ID, name_, desc_, device_, revision_)                         \
    static const struct pci_identity ID##_identity = { .vendor = 0x8086,        \
                                                       .device = (device_),     \
                                                       .revision = (revision_), \
                                                       .class_code = 0x040300,  \
                                                       .interrupt_pin = 1 };    \
    const struct device_class ID##_class = {                                    \
        .name = (name_),                                                        \
        .desc = (desc_),                                                        \
        .bus = "pci",                                                           \
        .version = 1,                                                           \
        .user_creatable = true,                                                 \
        .can_hot_plug = true,                                                   \
        .size = sizeof(struct hda),                                             \
        .props = TABLE(hda_props),                                              \
        .state = TABLE(hda_state),                                              \
        .bus_class = &ID##_identity,                                            \
        .realize = hda_realize,                                                 \
        .unrealize = hda_unrealize,                                             \
        .reset = hda_reset,                                                     \
        .loaded = hda_loaded,                                                   \
    };
HDA_CLASS(intel_hda, "intel-hda", "HD Audio controller (ICH6)", 0x2668, 1)
HDA_CLASS(ich9_intel_hda, "ich9-intel-hda", "HD Audio controller (ICH9)", 0x293e, 3)
