/* Commands of a SCSI disk. Section numbers: SBC-3 revision 36; "SPC" ones: SPC-3 revision 23. */
#include "hw/storage/scsi_disk.h"

#include "block/block.h"

#include <errno.h>

enum {
    TEST_UNIT_READY = 0x00,
    REQUEST_SENSE = 0x03,
    READ_6 = 0x08,
    WRITE_6 = 0x0a,
    INQUIRY = 0x12,
    MODE_SENSE_6 = 0x1a,
    START_STOP = 0x1b,
    PREVENT_REMOVAL = 0x1e,
    READ_FORMAT_CAPACITIES = 0x23,
    READ_CAPACITY_10 = 0x25,
    READ_10 = 0x28,
    WRITE_10 = 0x2a,
    VERIFY_10 = 0x2f,
    SYNCHRONIZE_10 = 0x35,
    MODE_SENSE_10 = 0x5a,
    READ_16 = 0x88,
    WRITE_16 = 0x8a,
    VERIFY_16 = 0x8f,
    SYNCHRONIZE_16 = 0x91,
    SERVICE_ACTION_IN = 0x9e,
    REPORT_LUNS = 0xa0,
    READ_12 = 0xa8,
    WRITE_12 = 0xaa,
};
enum { READ_CAPACITY_16 = 0x10 };
enum {
    MEDIUM_ERROR = 3,
    ILLEGAL_REQUEST = 5,
    UNIT_ATTENTION = 6,
    DATA_PROTECT = 7
}; /* SPC 4.5.6 */
enum {
    WRITE_FAULT = 0x03,
    READ_FAULT = 0x11,
    BAD_COMMAND = 0x20,
    BAD_ADDRESS = 0x21,
    BAD_FIELD = 0x24,
    BAD_UNIT = 0x25,
    PROTECTED = 0x27,
    POWER_ON = 0x29,
};
enum { PAGE_CACHE = 0x08, PAGE_ALL = 0x3f, DPO_FUA = 0x10, WRITE_PROTECT = 0x80 };

static void sense(struct scsi_disk *d, struct scsi_task *t, uint8_t key, uint8_t code)
{
    d->sense_key = key;
    d->sense_code = code;
    t->work = SCSI_DONE;
    t->n_data = 0;
    t->status = key ? SCSI_CHECK_CONDITION : SCSI_GOOD;
}

/* An answer of n bytes in t->data, as much of it as the host asked for. */
static void reply(struct scsi_disk *d, struct scsi_task *t, uint32_t n, uint64_t allowed)
{
    sense(d, t, 0, 0);
    t->n_data = (uint32_t)MIN(n, allowed);
    t->work = t->n_data ? SCSI_DATA_IN : SCSI_DONE;
}

void scsi_disk_reset(struct scsi_disk *d)
{
    d->sense_key = d->sense_code = 0;
    d->changed = true;
    d->locked = false;
}

static uint64_t n_blocks(const struct scsi_disk *d)
{
    return blk_size(d->blk) / SCSI_BLOCK;
}

/* ---- reading and writing: 5.8 to 5.11, 5.32 ---------------------------------------------------------------- */
static void transfer(struct scsi_disk *d, struct scsi_task *t, enum scsi_work work, uint64_t lba,
                     uint64_t n)
{
    uint64_t all = n_blocks(d);
    if (lba > all || n > all - lba) {
        sense(d, t, ILLEGAL_REQUEST, BAD_ADDRESS);
        return;
    }
    if (work == SCSI_WRITE && blk_readonly(d->blk)) {
        sense(d, t, DATA_PROTECT, PROTECTED);
        return;
    }
    sense(d, t, 0, 0);
    t->offset = lba * SCSI_BLOCK;
    t->length = n * SCSI_BLOCK;
    t->fua = t->cdb[0] >= READ_10 && t->cdb[1] & 8;
    t->work = n ? work : SCSI_DONE;
}

/* Address and count lie where the group of the operation code says (SPC 4.3.4). */
static void block_command(struct scsi_disk *d, struct scsi_task *t, enum scsi_work work)
{
    const uint8_t *c = t->cdb;
    switch (c[0] >> 5) {
    case 0: transfer(d, t, work, load_be(c, 4) & 0x1fffff, c[4] ? c[4] : 256); break;
    case 1: transfer(d, t, work, load_be(c + 2, 4), load_be(c + 7, 2)); break;
    case 4: transfer(d, t, work, load_be(c + 2, 8), load_be(c + 10, 4)); break;
    default: transfer(d, t, work, load_be(c + 2, 4), load_be(c + 6, 4)); break;
    }
}

/* Its place is checked, its data are the host's affair. */
static void verify(struct scsi_disk *d, struct scsi_task *t)
{
    if (t->cdb[1] & 6) { /* bytes to compare with */
        sense(d, t, ILLEGAL_REQUEST, BAD_FIELD);
        return;
    }
    block_command(d, t, SCSI_READ);
    t->work = SCSI_DONE;
}

void scsi_finish(struct scsi_disk *d, struct scsi_task *t, int result)
{
    if (!result)
        return;
    if (result == -EROFS)
        sense(d, t, DATA_PROTECT, PROTECTED);
    else
        sense(d, t, MEDIUM_ERROR, t->work == SCSI_READ ? READ_FAULT : WRITE_FAULT);
}

/* ---- what it is --------------------------------------------------------------------------------------------- */
/* SPC 7.6: pages of vital product data. */
static void inquiry_page(struct scsi_disk *d, struct scsi_task *t)
{
    uint8_t *out = t->data;
    uint32_t n = (uint32_t)MIN(strlen(d->serial), 20);
    memset(out, 0, 64);
    out[1] = t->cdb[2];
    switch (t->cdb[2]) {
    case 0x00:
        out[4] = 0x00;
        out[5] = 0x80;
        out[6] = 0xb0;
        n = 3;
        break;
    case 0x80: memcpy(out + 4, d->serial, n); break;
    case 0xb0: n = 60; break; /* SBC 6.5.3: no limits */
    default: sense(d, t, ILLEGAL_REQUEST, BAD_FIELD); return;
    }
    store_be(out + 2, 2, n);
    reply(d, t, 4 + n, load_be(t->cdb + 3, 2));
}

/* SPC 6.4 */
static void inquiry(struct scsi_disk *d, struct scsi_task *t)
{
    static const uint8_t head[8] = { 0x00, 0, 5, 2, 31 };
    if (t->cdb[1] & 1) {
        inquiry_page(d, t);
        return;
    }
    memset(t->data, ' ', 36);
    memcpy(t->data, head, sizeof(head));
    t->data[0] = t->lun ? 0x7f : 0; /* no such unit */
    t->data[1] = d->removable ? 0x80 : 0;
    memcpy(t->data + 8, "Tandem", 6);
    memcpy(t->data + 16, "USB disk", 8);
    memcpy(t->data + 32, "1.0", 3);
    reply(d, t, 36, load_be(t->cdb + 3, 2));
}

void scsi_put_sense(uint8_t out[SCSI_SENSE], uint8_t key, uint8_t code)
{
    memset(out, 0, SCSI_SENSE);
    out[0] = 0x70;
    out[2] = key;
    out[7] = SCSI_SENSE - 8;
    out[12] = code;
}

/* Reading it clears it. */
static void request_sense(struct scsi_disk *d, struct scsi_task *t)
{
    scsi_put_sense(t->data, d->sense_key, d->sense_code);
    reply(d, t, SCSI_SENSE, t->cdb[4]);
}

static void read_capacity(struct scsi_disk *d, struct scsi_task *t)
{
    uint64_t last = n_blocks(d) - 1;
    store_be(t->data, 4, MIN(last, UINT32_MAX));
    store_be(t->data + 4, 4, SCSI_BLOCK);
    reply(d, t, 8, 8);
}

static void read_capacity16(struct scsi_disk *d, struct scsi_task *t)
{
    if ((t->cdb[1] & 31) != READ_CAPACITY_16) {
        sense(d, t, ILLEGAL_REQUEST, BAD_FIELD);
        return;
    }
    memset(t->data, 0, 32);
    store_be(t->data, 8, n_blocks(d) - 1);
    store_be(t->data + 8, 4, SCSI_BLOCK);
    reply(d, t, 32, load_be(t->cdb + 10, 4));
}

/* UFI 4.10, for drivers that take a stick for a floppy. */
static void format_capacities(struct scsi_disk *d, struct scsi_task *t)
{
    memset(t->data, 0, 12);
    t->data[3] = 8;
    store_be(t->data + 4, 4, MIN(n_blocks(d), UINT32_MAX));
    store_be(t->data + 8, 4, 2u << 24 | SCSI_BLOCK); /* formatted */
    reply(d, t, 12, load_be(t->cdb + 7, 2));
}

/* 6.3, SPC 7.4: a header and the page of the cache. */
static void mode_sense(struct scsi_disk *d, struct scsi_task *t, bool wide)
{
    unsigned page = t->cdb[2] & 0x3f, head = wide ? 8 : 4, n = head;
    uint8_t device = DPO_FUA | (blk_readonly(d->blk) ? WRITE_PROTECT : 0);
    bool changeable = t->cdb[2] >> 6 == 1;
    if (page != PAGE_CACHE && page != PAGE_ALL) {
        sense(d, t, ILLEGAL_REQUEST, BAD_FIELD);
        return;
    }
    memset(t->data, 0, 32);
    t->data[n] = PAGE_CACHE;
    t->data[n + 1] = 18;
    t->data[n + 2] = changeable || blk_writethrough(d->blk) ? 0 : 4; /* writes may linger */
    n += 20;
    if (wide) {
        store_be(t->data, 2, n - 2);
        t->data[3] = device;
    } else {
        t->data[0] = (uint8_t)(n - 1);
        t->data[2] = device;
    }
    reply(d, t, n, wide ? load_be(t->cdb + 7, 2) : t->cdb[4]);
}

static void report_luns(struct scsi_disk *d, struct scsi_task *t)
{
    memset(t->data, 0, 16);
    store_be(t->data, 4, 8);
    reply(d, t, 16, load_be(t->cdb + 6, 4));
}

static void other_command(struct scsi_disk *d, struct scsi_task *t)
{
    switch (t->cdb[0]) {
    case TEST_UNIT_READY:
    case START_STOP: sense(d, t, 0, 0); break;
    case PREVENT_REMOVAL:
        d->locked = t->cdb[4] & 1;
        sense(d, t, 0, 0);
        break;
    case READ_CAPACITY_10: read_capacity(d, t); break;
    case SERVICE_ACTION_IN: read_capacity16(d, t); break;
    case READ_FORMAT_CAPACITIES: format_capacities(d, t); break;
    case MODE_SENSE_6: mode_sense(d, t, false); break;
    case MODE_SENSE_10: mode_sense(d, t, true); break;
    case SYNCHRONIZE_10:
    case SYNCHRONIZE_16:
        sense(d, t, 0, 0);
        t->work = SCSI_FLUSH;
        break;
    case VERIFY_10:
    case VERIFY_16: verify(d, t); break;
    case READ_6:
    case READ_10:
    case READ_12:
    case READ_16: block_command(d, t, SCSI_READ); break;
    case WRITE_6:
    case WRITE_10:
    case WRITE_12:
    case WRITE_16: block_command(d, t, SCSI_WRITE); break;
    default: sense(d, t, ILLEGAL_REQUEST, BAD_COMMAND);
    }
}

void scsi_command(struct scsi_disk *d, struct scsi_task *t)
{
    t->n_data = 0;
    t->fua = false;
    switch (t->cdb[0]) { /* those that tell of nothing, SPC 5.3.4 */
    case INQUIRY: inquiry(d, t); return;
    case REQUEST_SENSE: request_sense(d, t); return;
    case REPORT_LUNS: report_luns(d, t); return;
    default: break;
    }
    if (t->lun) {
        sense(d, t, ILLEGAL_REQUEST, BAD_UNIT);
    } else if (d->changed) {
        d->changed = false;
        sense(d, t, UNIT_ATTENTION, POWER_ON);
    } else {
        other_command(d, t);
    }
}

const struct field scsi_disk_fields[4] = {
    FIELD(struct scsi_disk, sense_key, .max = 15),
    FIELD(struct scsi_disk, sense_code),
    FIELD(struct scsi_disk, changed),
    FIELD(struct scsi_disk, locked),
};
