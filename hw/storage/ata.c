/* ATA commands of a disk. Section numbers: ATA/ATAPI Command Set 3 (T13/2161-D). */
#include "hw/storage/ata.h"

#include "block/block.h"

enum { /* 7 */
       DEVICE_RESET = 0x08,
       RECALIBRATE = 0x10,
       READ_SECTORS = 0x20,
       READ_SECTORS_EXT = 0x24,
       READ_DMA_EXT = 0x25,
       READ_NATIVE_MAX_EXT = 0x27,
       READ_MULTIPLE_EXT = 0x29,
       WRITE_SECTORS = 0x30,
       WRITE_SECTORS_EXT = 0x34,
       WRITE_DMA_EXT = 0x35,
       WRITE_MULTIPLE_EXT = 0x39,
       WRITE_DMA_FUA_EXT = 0x3d,
       READ_VERIFY = 0x40,
       READ_VERIFY_EXT = 0x42,
       READ_FPDMA = 0x60,
       WRITE_FPDMA = 0x61,
       SET_PARAMETERS = 0x91,
       PACKET = 0xa0,
       IDENTIFY_PACKET = 0xa1,
       READ_MULTIPLE = 0xc4,
       WRITE_MULTIPLE = 0xc5,
       SET_MULTIPLE = 0xc6,
       READ_DMA = 0xc8,
       WRITE_DMA = 0xca,
       STANDBY_NOW = 0xe0,
       IDLE_NOW = 0xe1,
       STANDBY = 0xe2,
       IDLE = 0xe3,
       CHECK_POWER = 0xe5,
       SLEEP = 0xe6,
       FLUSH_CACHE = 0xe7,
       FLUSH_CACHE_EXT = 0xea,
       IDENTIFY = 0xec,
       SET_FEATURES = 0xef,
       READ_NATIVE_MAX = 0xf8,
};
enum { MAX_MULTIPLE = 16, QUEUE_DEPTH = 32 };
enum {
    FIS_COMMAND = 2,
    FIS_FEATURES = 3,
    FIS_LBA = 4,
    FIS_DEVICE = 7,
    FIS_LBA_HIGH = 8,
    FIS_COUNT = 12
};

void ata_drive_reset(struct ata_drive *d)
{
    d->sense_key = d->sense_code = 0;
    d->multiple = MAX_MULTIPLE;
    d->write_cache = true;
    d->locked = false;
}

uint32_t ata_signature(const struct ata_drive *d)
{
    return !d->present ? UINT32_MAX : d->is_cd ? 0xeb140101 : 0x00000101;
}

static void task_end(struct ata_task *t, uint8_t error)
{
    t->work = ATA_DONE;
    t->error = error;
    t->status = ATA_READY | ATA_SEEK | (error ? ATA_ERR : 0);
}

void ata_finish(struct ata_drive *d, struct ata_task *t, int result)
{
    if (!result)
        return;
    if (!d->is_cd) {
        t->error = ATA_DATA_ERROR | ATA_ABORTED;
    } else {
        d->sense_key = 3; /* medium error, unrecovered read error */
        d->sense_code = 0x11;
        t->error = 3 << 4 | ATA_ABORTED;
    }
    t->status = ATA_READY | ATA_SEEK | ATA_ERR;
}

/* ---- identification: 7.12 and 7.13 ------------------------------------------------------------ */
static void put_word(uint8_t *data, unsigned n, unsigned value)
{
    store_le(data + 2 * n, 2, value & 0xffff);
}

/* Text is padded with blanks, its bytes swapped in pairs. */
static void put_text(uint8_t *data, unsigned word, unsigned n_words, const char *text)
{
    size_t len = strlen(text);
    for (unsigned i = 0; i < 2 * n_words; i++)
        data[2 * word + (i ^ 1)] = i < len ? (uint8_t)text[i] : ' ';
}

static void identify(struct ata_drive *d, struct ata_task *t)
{
    uint8_t *id = t->data;
    uint64_t sectors = d->blk && !d->is_cd ? blk_size(d->blk) / ATA_SECTOR : 0;
    uint32_t sectors28 = (uint32_t)MIN(sectors, 0x0fffffff);
    memset(id, 0, ATA_SECTOR);
    put_text(id, 10, 10, d->serial);
    put_text(id, 23, 4, "1.0");
    put_text(id, 27, 20, d->model);
    put_word(id, 49, 0x0f00); /* LBA, DMA */
    put_word(id, 53, 0x0007);
    put_word(id, 63, 0x0007); /* multiword DMA 0 to 2 */
    put_word(id, 64, 0x0003);
    for (unsigned i = 65; i <= 68; i++)
        put_word(id, i, 120);                     /* ns a cycle */
    put_word(id, 76, d->is_cd ? 0x0006 : 0x0106); /* 1.5 and 3 Gb/s, queueing */
    put_word(id, 80, 0x01f0);                     /* ATA/ATAPI-4 to ATA8-ACS */
    put_word(id, 88, 0x203f);                     /* Ultra DMA 5 */
    if (d->is_cd) {
        put_word(id, 0, 0x85c0); /* ATAPI, CD-ROM, removable, 12-byte packets */
        put_word(id, 82, 0x4010);
        put_word(id, 83, 0x4000);
        put_word(id, 84, 0x4000);
        put_word(id, 85, 0x4010);
        put_word(id, 87, 0x4000);
    } else {
        put_word(id, 0, 0x0040);
        put_word(id, 1, (unsigned)MIN(sectors / (16 * 63), 16383));
        put_word(id, 3, 16);
        put_word(id, 6, 63);
        put_word(id, 47, 0x8000 | MAX_MULTIPLE);
        put_word(id, 59, d->multiple ? 0x0100 | d->multiple : 0);
        store_le(id + 2 * 60, 4, sectors28);
        put_word(id, 75, QUEUE_DEPTH - 1);
        put_word(id, 82, 0x0060); /* write cache, look-ahead */
        put_word(id, 83, 0x7400); /* 48 bits, both flushes */
        put_word(id, 84, 0x4040); /* WRITE DMA FUA EXT */
        put_word(id, 85, d->write_cache ? 0x0060 : 0x0040);
        put_word(id, 86, 0x3400);
        put_word(id, 87, 0x4040);
        store_le(id + 2 * 100, 8, sectors);
        put_word(id, 217, 1); /* does not turn */
    }
    task_end(t, 0);
    t->work = ATA_DATA_IN;
    t->pio = true;
    t->n_data = ATA_SECTOR;
}

/* ---- reading and writing ---------------------------------------------------------------------- */
static uint64_t lba28(const struct ata_task *t)
{
    return load_le(t->fis + FIS_LBA, 2) | (uint64_t)t->fis[FIS_LBA + 2] << 16 |
           (uint64_t)(t->fis[FIS_DEVICE] & 15) << 24;
}

static uint64_t lba48(const struct ata_task *t)
{
    uint64_t low = load_le(t->fis + FIS_LBA, 2) | (uint64_t)t->fis[FIS_LBA + 2] << 16;
    uint64_t high = load_le(t->fis + FIS_LBA_HIGH, 2) | (uint64_t)t->fis[FIS_LBA_HIGH + 2] << 16;
    return low | high << 24;
}

static void transfer(struct ata_drive *d, struct ata_task *t, enum ata_work work, uint64_t lba,
                     uint32_t n_sectors)
{
    uint64_t sectors = blk_size(d->blk) / ATA_SECTOR;
    task_end(t, 0);
    if (!(t->fis[FIS_DEVICE] & 0x40) || lba > sectors || n_sectors > sectors - lba) {
        task_end(t, ATA_NOT_FOUND | ATA_ABORTED); /* without LBA, or past the end */
        return;
    }
    if (work == ATA_WRITE && blk_readonly(d->blk)) {
        task_end(t, ATA_DATA_ERROR | ATA_ABORTED);
        return;
    }
    t->work = work;
    t->offset = lba * ATA_SECTOR;
    t->length = (uint64_t)n_sectors * ATA_SECTOR;
    t->fua |= work == ATA_WRITE && !d->write_cache;
}

static void transfer28(struct ata_drive *d, struct ata_task *t, enum ata_work work)
{
    transfer(d, t, work, lba28(t), t->fis[FIS_COUNT] ? t->fis[FIS_COUNT] : 256);
}

static void transfer48(struct ata_drive *d, struct ata_task *t, enum ata_work work)
{
    uint32_t n = (uint32_t)load_le(t->fis + FIS_COUNT, 2);
    transfer(d, t, work, lba48(t), n ? n : 65536);
}

/* 7.16, 7.60: the count is in FEATURES, the tag in COUNT. */
static void transfer_queued(struct ata_drive *d, struct ata_task *t, enum ata_work work)
{
    uint32_t n = t->fis[FIS_FEATURES] | (uint32_t)t->fis[11] << 8;
    t->queued = true;
    t->tag = t->fis[FIS_COUNT] >> 3;
    t->fua = t->fis[FIS_DEVICE] & 0x80;
    t->fis[FIS_DEVICE] |= 0x40;
    transfer(d, t, work, lba48(t), n ? n : 65536);
}

static void native_max(struct ata_drive *d, struct ata_task *t, bool wide)
{
    uint64_t last = blk_size(d->blk) / ATA_SECTOR - 1;
    if (!wide)
        last = MIN(last, 0x0fffffff);
    store_le(t->fis + FIS_LBA, 2, last & 0xffff);
    t->fis[FIS_LBA + 2] = (uint8_t)(last >> 16);
    if (!wide)
        t->fis[FIS_DEVICE] = (t->fis[FIS_DEVICE] & 0xf0) | (last >> 24 & 15);
    store_le(t->fis + FIS_LBA_HIGH, 2, last >> 24 & 0xffff);
    t->fis[FIS_LBA_HIGH + 2] = (uint8_t)(last >> 40);
    task_end(t, 0);
}

/* 7.45 */
static void set_features(struct ata_drive *d, struct ata_task *t)
{
    switch (t->fis[FIS_FEATURES]) {
    case 0x02:
    case 0x82:
        d->write_cache = t->fis[FIS_FEATURES] == 0x02;
        task_end(t, 0);
        if (!d->write_cache && d->blk && !d->is_cd)
            t->work = ATA_FLUSH;
        break;
    case 0x03: /* transfer mode: all are the same here */
    case 0x55: /* look-ahead off, on */
    case 0xaa:
    case 0x66: /* defaults kept or restored over a reset */
    case 0xcc: task_end(t, 0); break;
    default: task_end(t, ATA_ABORTED);
    }
}

static void disk_command(struct ata_drive *d, struct ata_task *t)
{
    switch (t->fis[FIS_COMMAND]) {
    case IDENTIFY: identify(d, t); break;
    case READ_SECTORS:
    case READ_MULTIPLE: t->pio = true; /* fall through */
    case READ_DMA: transfer28(d, t, ATA_READ); break;
    case READ_SECTORS_EXT:
    case READ_MULTIPLE_EXT: t->pio = true; /* fall through */
    case READ_DMA_EXT: transfer48(d, t, ATA_READ); break;
    case WRITE_SECTORS:
    case WRITE_MULTIPLE: t->pio = true; /* fall through */
    case WRITE_DMA: transfer28(d, t, ATA_WRITE); break;
    case WRITE_SECTORS_EXT:
    case WRITE_MULTIPLE_EXT: t->pio = true; /* fall through */
    case WRITE_DMA_EXT: transfer48(d, t, ATA_WRITE); break;
    case WRITE_DMA_FUA_EXT:
        t->fua = true;
        transfer48(d, t, ATA_WRITE);
        break;
    case READ_FPDMA: transfer_queued(d, t, ATA_READ); break;
    case WRITE_FPDMA: transfer_queued(d, t, ATA_WRITE); break;
    case READ_VERIFY:
    case READ_VERIFY_EXT:
        if (t->fis[FIS_COMMAND] == READ_VERIFY)
            transfer28(d, t, ATA_READ);
        else
            transfer48(d, t, ATA_READ);
        t->work = ATA_DONE; /* its place is checked, its data are the host's affair */
        break;
    case FLUSH_CACHE:
    case FLUSH_CACHE_EXT:
        task_end(t, 0);
        t->work = ATA_FLUSH;
        break;
    case READ_NATIVE_MAX: native_max(d, t, false); break;
    case READ_NATIVE_MAX_EXT: native_max(d, t, true); break;
    case SET_MULTIPLE:
        if (t->fis[FIS_COUNT] > MAX_MULTIPLE || t->fis[FIS_COUNT] & (t->fis[FIS_COUNT] - 1)) {
            task_end(t, ATA_ABORTED);
            break;
        }
        d->multiple = t->fis[FIS_COUNT];
        task_end(t, 0);
        break;
    case RECALIBRATE:
    case SET_PARAMETERS: task_end(t, 0); break;
    default: task_end(t, ATA_ABORTED);
    }
}

void ata_command(struct ata_drive *d, struct ata_task *t)
{
    t->count = t->fis[FIS_COUNT];
    switch (t->fis[FIS_COMMAND]) {
    case SET_FEATURES: set_features(d, t); break;
    case CHECK_POWER:
        t->count = 0xff; /* active */
        task_end(t, 0);
        break;
    case STANDBY_NOW:
    case IDLE_NOW:
    case STANDBY:
    case IDLE:
    case SLEEP: task_end(t, 0); break;
    case PACKET:
    case IDENTIFY_PACKET:
        if (!d->is_cd)
            task_end(t, ATA_ABORTED);
        else if (t->fis[FIS_COMMAND] == PACKET)
            atapi_command(d, t);
        else
            identify(d, t);
        break;
    case DEVICE_RESET: task_end(t, d->is_cd ? 0 : ATA_ABORTED); break;
    default:
        if (d->is_cd || !d->blk)
            task_end(t, ATA_ABORTED);
        else
            disk_command(d, t);
    }
}

const struct field ata_drive_fields[8] = {
    FIELD(struct ata_drive, sense_key, .max = 15),
    FIELD(struct ata_drive, sense_code),
    FIELD(struct ata_drive, multiple, .max = MAX_MULTIPLE),
    FIELD(struct ata_drive, write_cache),
    FIELD(struct ata_drive, locked),
    FIELD(struct ata_drive, tray_open),
    FIELD(struct ata_drive, changed),
    FIELD(struct ata_drive, media_event, .max = MEDIA_REMOVAL),
};
