/* Packet commands of a CD-ROM drive. Section numbers: MMC-3 revision 10g; "SPC" ones: SPC-3 revision 23. */
#include "hw/storage/ata.h"
#include "hw/storage/scsi_disk.h"

#include "block/block.h"
#include "core/device.h"
#include "core/event.h"

enum {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    INQUIRY = 0x12,
    START_STOP = 0x1b,
    PREVENT_REMOVAL = 0x1e,
    READ_CAPACITY = 0x25,
    READ_10 = 0x28,
    SEEK_10 = 0x2b,
    READ_TOC = 0x43,
    GET_CONFIGURATION = 0x46,
    GET_EVENT = 0x4a,
    READ_DISC_INFO = 0x51,
    MODE_SENSE_10 = 0x5a,
    READ_12 = 0xa8,
    MECHANISM_STATUS = 0xbd,
};
enum { NOT_READY = 2, ILLEGAL_REQUEST = 5, UNIT_ATTENTION = 6 }; /* SPC 4.5.6 */
enum {
    NO_MEDIUM = 0x3a,
    MEDIUM_CHANGED = 0x28,
    LOCKED = 0x53,
    BAD_COMMAND = 0x20,
    BAD_ADDRESS = 0x21,
    BAD_FIELD = 0x24
};
enum { REASON_STATUS = 3, PROFILE_CD_ROM = 0x0008, LEAD_OUT = 0xaa };

static bool has_disc(const struct ata_drive *d)
{
    return d->blk && !d->tray_open;
}

static void sense(struct ata_drive *d, struct ata_task *t, uint8_t key, uint8_t code)
{
    d->sense_key = key;
    d->sense_code = code;
    t->work = ATA_DONE;
    t->error = (uint8_t)(key << 4 | (key ? ATA_ABORTED : 0));
    t->status = ATA_READY | ATA_SEEK | (key ? ATA_ERR : 0);
    t->count = REASON_STATUS;
}

/* An answer of n bytes in t->data, as much of it as the host asked for. */
static void reply(struct ata_drive *d, struct ata_task *t, uint32_t n, uint32_t allowed)
{
    sense(d, t, 0, 0);
    t->n_data = MIN(n, allowed);
    t->work = t->n_data ? ATA_DATA_IN : ATA_DONE;
}

static uint32_t n_blocks(const struct ata_drive *d)
{
    return (uint32_t)MIN(blk_size(d->blk) / ATAPI_SECTOR, UINT32_MAX);
}

static void do_read(struct ata_drive *d, struct ata_task *t, uint32_t lba, uint32_t n)
{
    if (lba > n_blocks(d) || n > n_blocks(d) - lba) {
        sense(d, t, ILLEGAL_REQUEST, BAD_ADDRESS);
        return;
    }
    sense(d, t, 0, 0);
    t->offset = (uint64_t)lba * ATAPI_SECTOR;
    t->length = (uint64_t)n * ATAPI_SECTOR;
    t->work = n ? ATA_READ : ATA_DONE;
}

/* SPC 6.4 */
static void do_inquiry(struct ata_drive *d, struct ata_task *t)
{
    static const uint8_t head[8] = { 0x05, 0x80, 0x05, 0x21, 31 }; /* CD-ROM, removable, ATAPI */
    if (t->cdb[1] & 1) {
        sense(d, t, ILLEGAL_REQUEST, BAD_FIELD);
        return;
    }
    memset(t->data, ' ', 36);
    memcpy(t->data, head, sizeof(head));
    memcpy(t->data + 8, "Tandem", 6);
    memcpy(t->data + 16, "CD-ROM", 6);
    memcpy(t->data + 32, "1.0", 3);
    reply(d, t, 36, (uint32_t)load_be(t->cdb + 3, 2));
}

/* SPC 4.5.3; reading it clears it. */
static void do_request_sense(struct ata_drive *d, struct ata_task *t)
{
    scsi_put_sense(t->data, d->sense_key, d->sense_code);
    reply(d, t, SCSI_SENSE, t->cdb[4]);
}

/* An address, as minute, second and frame if asked so: two seconds lie before block 0. */
static void put_address(uint8_t *out, uint32_t lba, bool msf)
{
    if (!msf) {
        store_be(out, 4, lba);
        return;
    }
    lba += 150;
    out[0] = 0;
    out[1] = (uint8_t)(lba / 75 / 60);
    out[2] = (uint8_t)(lba / 75 % 60);
    out[3] = (uint8_t)(lba % 75);
}

/* 6.30: one session with one data track. */
static void do_read_toc(struct ata_drive *d, struct ata_task *t)
{
    uint8_t *out = t->data;
    bool msf = t->cdb[1] & 2;
    unsigned format = t->cdb[2] & 15 ? t->cdb[2] & 15 : t->cdb[9] >> 6, first = t->cdb[6], n = 4;
    uint32_t allowed = (uint32_t)load_be(t->cdb + 7, 2);
    if (format > 1 || (format == 0 && first > 1 && first != LEAD_OUT)) {
        sense(d, t, ILLEGAL_REQUEST, BAD_FIELD);
        return;
    }
    memset(out, 0, 20);
    out[2] = out[3] = 1;
    if (format == 1 || first <= 1) {
        out[n + 1] = 0x14;
        out[n + 2] = 1;
        put_address(out + n + 4, 0, msf);
        n += 8;
    }
    if (format == 0) {
        out[n + 1] = 0x14;
        out[n + 2] = LEAD_OUT;
        put_address(out + n + 4, n_blocks(d), msf);
        n += 8;
    }
    store_be(out, 2, n - 2);
    reply(d, t, n, allowed);
}

/* 6.7: profile list and core feature. */
static void do_get_configuration(struct ata_drive *d, struct ata_task *t)
{
    uint8_t *out = t->data;
    memset(out, 0, 28);
    store_be(out + 6, 2, has_disc(d) ? PROFILE_CD_ROM : 0);
    out[10] = 0x03; /* feature 0: persistent, current */
    out[11] = 4;
    store_be(out + 12, 2, PROFILE_CD_ROM);
    out[14] = has_disc(d) ? 1 : 0;
    store_be(out + 16, 2, 1); /* feature 1: core, ATAPI */
    out[18] = 0x03;
    out[19] = 4;
    out[23] = 2;
    store_be(out, 4, 24 - 4);
    reply(d, t, 24, (uint32_t)load_be(t->cdb + 7, 2));
}

/* 6.6: asked, not waiting: what is new, is the tray open, is a disc in. */
static void do_get_event(struct ata_drive *d, struct ata_task *t)
{
    bool media = t->cdb[4] & 1 << 4;
    if (!(t->cdb[1] & 1)) {
        sense(d, t, ILLEGAL_REQUEST, BAD_FIELD);
        return;
    }
    memset(t->data, 0, 8);
    t->data[1] = media ? 6 : 2;
    t->data[2] = media ? 4 : 0x80;
    t->data[3] = 1 << 4;
    t->data[4] = d->media_event;
    t->data[5] = (uint8_t)((has_disc(d) ? 2 : 0) | d->tray_open);
    if (media)
        d->media_event = MEDIA_NO_EVENT;
    reply(d, t, media ? 8 : 4, (uint32_t)load_be(t->cdb + 7, 2));
}

/* 7.1.3: header and the page of capabilities. */
static void do_mode_sense(struct ata_drive *d, struct ata_task *t)
{
    unsigned page = t->cdb[2] & 0x3f;
    if (page != 0x2a && page != 0x3f) {
        sense(d, t, ILLEGAL_REQUEST, BAD_FIELD);
        return;
    }
    memset(t->data, 0, 28);
    store_be(t->data, 2, 26);
    t->data[2] = has_disc(d) ? 0x01 : d->tray_open ? 0x71 : 0x70; /* a data disc, or none */
    t->data[8] = 0x2a;
    t->data[9] = 18;
    t->data[14] = 0x29 | (d->locked ? 2 : 0); /* tray, locks, ejects */
    store_be(t->data + 16, 2, 706);           /* KB/s: fourfold speed */
    store_be(t->data + 22, 2, 706);
    reply(d, t, 28, (uint32_t)load_be(t->cdb + 7, 2));
}

/* 6.21 */
static void do_disc_info(struct ata_drive *d, struct ata_task *t)
{
    memset(t->data, 0, 34);
    store_be(t->data, 2, 32);
    t->data[2] = 0x0e; /* complete */
    t->data[3] = t->data[4] = t->data[5] = t->data[6] = 1;
    reply(d, t, 34, (uint32_t)load_be(t->cdb + 7, 2));
}

static bool needs_disc(uint8_t command)
{
    return command == TEST_UNIT_READY || command == READ_CAPACITY || command == READ_10 ||
           command == SEEK_10 || command == READ_TOC || command == READ_DISC_INFO ||
           command == READ_12;
}

void atapi_move_tray(struct ata_drive *d, bool open)
{
    if (d->tray_open == open)
        return;
    d->tray_open = open;
    if (d->blk)
        d->media_event = open ? MEDIA_REMOVAL : MEDIA_NEW;
    d->changed = !open && d->blk;
    if (d->dev)
        event_tell(d->dev->vm, EVENT_DEVICE_TRAY_MOVED, EVENT_TEXT("device", ""),
                   EVENT_TEXT("id", d->dev->id ? d->dev->id : d->dev->path),
                   EVENT_FLAG("tray-open", open));
}

/* 6.45. Where the tray goes in again with the disc that lies on it. */
static void do_start_stop(struct ata_drive *d, struct ata_task *t)
{
    bool moves = t->cdb[4] & 2, in = t->cdb[4] & 1;
    if (moves && !in && d->locked) {
        sense(d, t, ILLEGAL_REQUEST, LOCKED);
        return;
    }
    if (moves)
        atapi_move_tray(d, !in);
    sense(d, t, 0, 0);
}

/* SPC 5.3.4 names those that say nothing of it. */
static bool tells_of_change(uint8_t command)
{
    return command != INQUIRY && command != REQUEST_SENSE && command != GET_CONFIGURATION &&
           command != GET_EVENT;
}

void atapi_command(struct ata_drive *d, struct ata_task *t)
{
    const uint8_t *c = t->cdb;
    if (d->changed && tells_of_change(c[0])) {
        d->changed = false;
        sense(d, t, UNIT_ATTENTION, MEDIUM_CHANGED);
        return;
    }
    if (!has_disc(d) && needs_disc(c[0])) {
        sense(d, t, NOT_READY, NO_MEDIUM);
        return;
    }
    switch (c[0]) {
    case TEST_UNIT_READY:
    case SEEK_10: sense(d, t, 0, 0); break;
    case START_STOP: do_start_stop(d, t); break;
    case PREVENT_REMOVAL:
        d->locked = c[4] & 1;
        sense(d, t, 0, 0);
        break;
    case REQUEST_SENSE: do_request_sense(d, t); break;
    case INQUIRY: do_inquiry(d, t); break;
    case READ_CAPACITY:
        store_be(t->data, 4, n_blocks(d) - 1);
        store_be(t->data + 4, 4, ATAPI_SECTOR);
        reply(d, t, 8, 8);
        break;
    case READ_10: do_read(d, t, (uint32_t)load_be(c + 2, 4), (uint32_t)load_be(c + 7, 2)); break;
    case READ_12: do_read(d, t, (uint32_t)load_be(c + 2, 4), (uint32_t)load_be(c + 6, 4)); break;
    case READ_TOC: do_read_toc(d, t); break;
    case GET_CONFIGURATION: do_get_configuration(d, t); break;
    case GET_EVENT: do_get_event(d, t); break;
    case MODE_SENSE_10: do_mode_sense(d, t); break;
    case READ_DISC_INFO: do_disc_info(d, t); break;
    case MECHANISM_STATUS:
        memset(t->data, 0, 8);
        reply(d, t, 8, (uint32_t)load_be(c + 8, 2));
        break;
    default: sense(d, t, ILLEGAL_REQUEST, BAD_COMMAND);
    }
}
