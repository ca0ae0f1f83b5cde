/* PIIX3's IDE controller: two channels of two drives at the ports of the PC/AT, with bus master DMA. Section
 * numbers: ATA/ATAPI-6 (T13/1410D); "BM": Programming Interface for Bus Master IDE Controller 1.0 (SFF-8038i). A
 * transfer by the data port goes through a buffer of the channel, one by DMA straight to the guest's memory. */
#include "block/block.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/pci/internal.h"
#include "hw/storage/ata.h"
#include "hw/storage/ide.h"

#include <stdlib.h>

enum { N_CHANNELS = 2, N_UNITS = 2, BUFFER = 65536, BM_SIZE = 16, PACKET_SIZE = 12 };
enum { /* 7: registers of the command block, by offset */
       DATA = 0,
       FEATURES = 1, /* reading: error */
       COUNT = 2,
       LBA_LOW = 3,
       LBA_MID = 4,
       LBA_HIGH = 5,
       DEVICE = 6,
       COMMAND = 7, /* reading: status */
};
enum { CONTROL_NO_IRQ = 1 << 1, CONTROL_RESET = 1 << 2, CONTROL_HOB = 1 << 7 }; /* 7.9 */
enum { DEVICE_UNIT = 1 << 4 };
enum { /* 8 */
       DEVICE_RESET = 0x08,
       DIAGNOSTIC = 0x90,
       PACKET = 0xa0,
};
enum { REASON_COMMAND = 1, REASON_IN = 2 }; /* 9.6: in COUNT, for packets */
enum { PACKET_DMA = 1 << 0 };
enum { /* BM 2 */
       BM_COMMAND = 0,
       BM_STATUS = 2,
       BM_PRD = 4,
       BM_START = 1 << 0,
       BM_TO_MEMORY = 1 << 3,
       BM_ACTIVE = 1 << 0,
       BM_ERROR = 1 << 1,
       BM_IRQ = 1 << 2,
       BM_CAPABLE = 3 << 5,
};
enum { PRD_SIZE = 8, MAX_PRDS = 8192 };

enum phase {
    IDLE,
    BUSY,      /* the block layer has a request */
    DATA_IN,   /* the guest reads the buffer */
    DATA_OUT,  /* the guest fills it */
    PACKET_IN, /* the guest writes a packet */
    WAIT_DMA,  /* for the bus master to be started */
    N_PHASES
};

struct ide_channel {
    struct piix_ide *ide;
    struct ata_drive drives[N_UNITS];
    char serials[N_UNITS][IDE_SERIAL_SIZE];

    /* state */
    uint8_t regs[8], hob[8]; /* as written last, and before that (48-bit addresses) */
    uint8_t status, error, control;
    bool irq;
    uint32_t phase;
    uint8_t buffer[BUFFER];
    uint32_t at, end;      /* in the buffer: next byte, end of this block of data */
    uint32_t filled;       /* bytes of the transfer in it */
    uint32_t limit;        /* bytes of a block of data */
    uint64_t done, length; /* of the transfer; `done` is behind what is in the buffer */
    uint64_t offset;       /* in the image */
    uint8_t work, command; /* enum ata_work of the task */
    uint8_t end_status, end_error, end_count;
    uint8_t bm_command, bm_status;
    uint32_t prd;

    struct blk_request req; /* none while the VM stands */
    struct iovec *iov;
    bool in_flight;    /* the block layer has `req` */
    bool forgotten;    /* and nobody waits for its end any more */
    bool reset_wanted; /* when it has ended */
};

struct piix_ide {
    struct device dev;
    struct pci_function fn;
    struct ide_channel channels[N_CHANNELS];
    struct irq out[N_CHANNELS];
    struct mem_region *commands[N_CHANNELS], *controls[N_CHANNELS];
};

static struct ata_drive *selected(struct ide_channel *c)
{
    return &c->drives[c->regs[DEVICE] & DEVICE_UNIT ? 1 : 0];
}

static bool is_empty(const struct ide_channel *c)
{
    return !c->drives[0].present && !c->drives[1].present;
}

/* ---- interrupts and the end of commands --------------------------------------------------------- */
static void update_irq(struct ide_channel *c)
{
    irq_set(&c->ide->out[c - c->ide->channels], c->irq && !(c->control & CONTROL_NO_IRQ));
}

static void raise_irq(struct ide_channel *c)
{
    c->irq = true;
    c->bm_status |= BM_IRQ;
    update_irq(c);
}

static void drop_irq(struct ide_channel *c)
{
    c->irq = false;
    update_irq(c);
}

static void command_ends(struct ide_channel *c, uint8_t status, uint8_t error, uint8_t count)
{
    c->phase = IDLE;
    c->status = status;
    c->error = error;
    c->regs[COUNT] = count;
    c->bm_status &= ~BM_ACTIVE;
    raise_irq(c);
}

static void command_aborts(struct ide_channel *c)
{
    command_ends(c, ATA_READY | ATA_SEEK | ATA_ERR, ATA_ABORTED, c->regs[COUNT]);
}

/* 9.1: registers after a reset, for the drive that is selected. */
static void show_signature(struct ide_channel *c)
{
    uint32_t signature = ata_signature(selected(c));
    c->error = 1;
    c->regs[COUNT] = (uint8_t)signature;
    for (unsigned i = 0; i < 3; i++)
        c->regs[LBA_LOW + i] = (uint8_t)(signature >> (8 + 8 * i));
    c->status = selected(c)->is_cd ? 0 : ATA_READY | ATA_SEEK;
}

static void channel_forget(struct ide_channel *c)
{
    c->forgotten = c->in_flight;
    c->phase = c->in_flight ? BUSY : IDLE;
}

static void channel_reset(struct ide_channel *c)
{
    channel_forget(c);
    memset(c->regs, 0, sizeof(c->regs));
    memset(c->hob, 0, sizeof(c->hob));
    for (unsigned i = 0; i < N_UNITS; i++)
        if (c->drives[i].present)
            ata_drive_reset(&c->drives[i]);
    c->reset_wanted = false;
    show_signature(c);
    drop_irq(c);
}

/* A reset takes until the block layer is done. */
static void reset_when_done(struct ide_channel *c)
{
    if (!c->in_flight) {
        channel_reset(c);
        return;
    }
    channel_forget(c);
    c->reset_wanted = true;
    c->status = ATA_BUSY;
}

/* ---- data by the port ----------------------------------------------------------------------------- */
static void submit(struct ide_channel *c, enum blk_op op, uint64_t offset, uint64_t n,
                   unsigned n_iov);

/* The next block of data is ready, or wanted. */
static void offer_block(struct ide_channel *c, enum phase phase, bool tell)
{
    uint32_t n = MIN(c->limit, c->filled - c->at);
    c->end = c->at + n;
    c->phase = phase;
    c->status = ATA_READY | ATA_SEEK | ATA_DRQ;
    if (c->command == PACKET) {
        c->regs[COUNT] = REASON_IN;
        c->regs[LBA_MID] = (uint8_t)n;
        c->regs[LBA_HIGH] = (uint8_t)(n >> 8);
    }
    if (tell)
        raise_irq(c);
}

static uint32_t next_piece(const struct ide_channel *c)
{
    uint64_t most = c->command == PACKET ? BUFFER : c->limit;
    return (uint32_t)MIN(c->length - c->done, most);
}

static void fill_buffer(struct ide_channel *c)
{
    c->filled = next_piece(c);
    c->iov = xrealloc(c->iov, sizeof(*c->iov));
    c->iov[0] = (struct iovec){ c->buffer, c->filled };
    submit(c, BLK_READ, c->offset + c->done, c->filled, 1);
}

static void want_data(struct ide_channel *c, bool tell)
{
    c->at = 0;
    c->filled = next_piece(c);
    offer_block(c, DATA_OUT, tell);
}

/* The guest took or gave the last byte of a block. */
static void block_ends(struct ide_channel *c)
{
    if (c->phase == DATA_OUT) {
        c->iov = xrealloc(c->iov, sizeof(*c->iov));
        c->iov[0] = (struct iovec){ c->buffer, c->filled };
        submit(c, BLK_WRITE, c->offset + c->done, c->filled, 1);
    } else if (c->at < c->filled) {
        offer_block(c, DATA_IN, true);
    } else if ((c->done += c->filled) < c->length) {
        fill_buffer(c);
    } else if (c->command == PACKET) {
        command_ends(c, c->end_status, c->end_error, c->end_count);
    } else {
        c->phase = IDLE;
        c->status = c->end_status;
    }
}

/* ---- data by the bus master: BM 1.2 ---------------------------------------------------------------- */
/* Visit the guest's memory behind `n` bytes; false if there is less of it, or `piece` says so. */
static bool each_prd(struct ide_channel *c, uint64_t n,
                     bool (*piece)(struct ide_channel *c, gpa at, uint32_t n, uint64_t done))
{
    uint64_t done = 0;
    for (unsigned i = 0; i < MAX_PRDS && done < n; i++) {
        uint8_t raw[PRD_SIZE];
        if (!mem_read(c->ide->dev.vm, (gpa)c->prd + i * PRD_SIZE, raw, sizeof(raw)))
            return false;
        uint32_t size = (uint32_t)load_le(raw + 4, 2) & ~1u, left = (uint32_t)MIN(n - done, BUFFER);
        size = MIN(size ? size : 65536, left);
        if (!piece(c, load_le(raw, 4) & ~UINT64_C(1), size, done))
            return false;
        done += size;
        if (raw[7] & 0x80)
            break;
    }
    return done == n;
}

static bool pin_piece(struct ide_channel *c, gpa at, uint32_t n, uint64_t done)
{
    unsigned used = c->req.n_iov, pieces = 4;
    c->iov = xrealloc(c->iov, (used + pieces) * sizeof(*c->iov));
    if (!mem_pin(c->ide->dev.vm, at, n, c->work == ATA_READ, c->iov + used, &pieces))
        return false;
    c->req.n_iov = used + pieces;
    return true;
}

static bool copy_piece(struct ide_channel *c, gpa at, uint32_t n, uint64_t done)
{
    return mem_write(c->ide->dev.vm, at, c->buffer + done, n);
}

static bool mark_piece(struct ide_channel *c, gpa at, uint32_t n, uint64_t done)
{
    mem_mark_written(c->ide->dev.vm, at, n);
    return true;
}

static void dma_fails(struct ide_channel *c)
{
    device_broken(&c->ide->dev, "the bus master's table does not hold a command's data");
    c->bm_status |= BM_ERROR;
    command_aborts(c);
}

static void dma_run(struct ide_channel *c)
{
    bool to_memory = c->bm_command & BM_TO_MEMORY;
    if (c->phase != WAIT_DMA || !(c->bm_command & BM_START))
        return;
    if (to_memory != (c->work != ATA_WRITE) || !pci_may_master(&c->ide->fn)) {
        dma_fails(c);
    } else if (c->work == ATA_DATA_IN) {
        if (each_prd(c, c->length, copy_piece))
            command_ends(c, c->end_status, c->end_error, c->end_count);
        else
            dma_fails(c);
    } else {
        c->req.n_iov = 0;
        if (each_prd(c, c->length, pin_piece))
            submit(c, c->work == ATA_READ ? BLK_READ : BLK_WRITE, c->offset, c->length,
                   c->req.n_iov);
        else
            dma_fails(c);
    }
}

/* ---- the block layer ---------------------------------------------------------------------------------- */
static bool is_dma(const struct ide_channel *c)
{
    return c->limit == 0;
}

static void request_ends(struct ide_channel *c, int result)
{
    struct ata_task t = { .status = c->end_status, .error = c->end_error, .count = c->end_count };
    if (result) {
        ata_finish(selected(c), &t, result);
        command_ends(c, t.status, t.error, t.count);
    } else if (c->work == ATA_FLUSH) {
        command_ends(c, t.status, t.error, t.count);
    } else if (is_dma(c)) {
        if (c->work == ATA_READ)
            each_prd(c, c->length, mark_piece);
        command_ends(c, t.status, t.error, t.count);
    } else if (c->work == ATA_READ) {
        c->at = 0;
        offer_block(c, DATA_IN, true);
    } else if ((c->done += c->filled) < c->length) {
        want_data(c, true);
    } else {
        command_ends(c, t.status, t.error, t.count);
    }
}

/* On the main loop. */
static void request_done(struct blk_request *req, int result)
{
    struct ide_channel *c = container_of(req, struct ide_channel, req);
    device_lock(&c->ide->dev);
    bool forgotten = c->forgotten;
    c->forgotten = c->in_flight = false;
    if (!forgotten)
        request_ends(c, result);
    else if (c->reset_wanted)
        channel_reset(c);
    else
        c->phase = IDLE;
    device_unlock(&c->ide->dev);
}

static void submit(struct ide_channel *c, enum blk_op op, uint64_t offset, uint64_t n,
                   unsigned n_iov)
{
    if (c->in_flight) { /* of before a reset */
        command_aborts(c);
        return;
    }
    c->phase = BUSY;
    c->status = ATA_BUSY;
    c->req = (struct blk_request){
        .op = op, .offset = offset, .length = n, .iov = c->iov, .n_iov = n_iov, .done = request_done
    };
    if (blk_try(selected(c)->blk, &c->req)) {
        request_ends(c, c->req.result);
        return;
    }
    c->in_flight = true;
    blk_submit(selected(c)->blk, &c->req);
}

/* ---- commands -------------------------------------------------------------------------------------------- */
static void task_starts(struct ide_channel *c, struct ata_task *t)
{
    c->work = t->work;
    c->offset = t->offset;
    c->length = t->work == ATA_DATA_IN ? t->n_data : t->length;
    c->done = 0;
    c->at = c->end = c->filled = 0;
    c->end_status = t->status;
    c->end_error = t->error;
    c->end_count = t->count;
    switch (t->work) {
    case ATA_DONE: command_ends(c, t->status, t->error, t->count); break;
    case ATA_FLUSH: submit(c, BLK_FLUSH, 0, 0, 0); break;
    case ATA_DATA_IN:
        memcpy(c->buffer, t->data, t->n_data);
        c->filled = t->n_data;
        if (!is_dma(c)) {
            offer_block(c, DATA_IN, true);
            break;
        } /* fall through */
    case ATA_READ:
    case ATA_WRITE:
        if (is_dma(c)) {
            c->phase = WAIT_DMA;
            c->status = ATA_READY | ATA_SEEK | ATA_DRQ;
            dma_run(c);
        } else if (t->work == ATA_READ) {
            fill_buffer(c);
        } else {
            want_data(c, false);
        }
        break;
    }
}

/* The registers as the FIS that ata.c knows. */
static void task_from_registers(const struct ide_channel *c, struct ata_task *t)
{
    *t = (struct ata_task){ .fis = { 0x27, 0x80, c->command, c->regs[FEATURES] } };
    memcpy(t->fis + 4, c->regs + LBA_LOW, 3);
    t->fis[7] = c->regs[DEVICE];
    memcpy(t->fis + 8, c->hob + LBA_LOW, 3);
    t->fis[11] = c->hob[FEATURES];
    t->fis[12] = c->regs[COUNT];
    t->fis[13] = c->hob[COUNT];
}

/* Bytes of a block of data, 6.x of each command: a sector, or as many as SET MULTIPLE said; 0: DMA. */
static uint32_t block_size(const struct ide_channel *c, const struct ata_drive *d, bool pio)
{
    bool multiple =
        c->command == 0xc4 || c->command == 0xc5 || c->command == 0x29 || c->command == 0x39;
    return !pio ? 0 : multiple && d->multiple ? d->multiple * ATA_SECTOR : ATA_SECTOR;
}

static void packet_starts(struct ide_channel *c)
{
    c->at = 0;
    c->end = c->filled = PACKET_SIZE;
    c->phase = PACKET_IN;
    c->status = ATA_READY | ATA_SEEK | ATA_DRQ;
    c->regs[COUNT] = REASON_COMMAND;
}

/* 9.6: the byte count limit is even, and at most 65534. */
static void packet_complete(struct ide_channel *c)
{
    struct ata_task t;
    uint32_t limit = c->regs[LBA_MID] | (uint32_t)c->regs[LBA_HIGH] << 8;
    task_from_registers(c, &t);
    memcpy(t.cdb, c->buffer, PACKET_SIZE);
    limit = limit == 0 || limit > 65534 ? 65534 : MAX(limit & ~1u, 2);
    c->limit = c->regs[FEATURES] & PACKET_DMA ? 0 : limit;
    ata_command(selected(c), &t);
    task_starts(c, &t);
}

static void command_starts(struct ide_channel *c, uint8_t command)
{
    struct ata_drive *d = selected(c);
    struct ata_task t;
    drop_irq(c);
    if (!d->present || c->control & CONTROL_RESET || (c->phase != IDLE && command != DEVICE_RESET))
        return;
    c->command = command;
    if (command == DEVICE_RESET && d->is_cd) {
        reset_when_done(c);
    } else if (command == DIAGNOSTIC) {
        show_signature(c);
        raise_irq(c);
    } else if (command == PACKET && d->is_cd) {
        packet_starts(c);
    } else if (c->phase == IDLE) {
        task_from_registers(c, &t);
        if (command >= 0x60 && command < 0x70) { /* queued commands are SATA's */
            command_aborts(c);
            return;
        }
        ata_command(d, &t);
        memcpy(c->regs + LBA_LOW, t.fis + 4, 3); /* READ NATIVE MAX answers there */
        memcpy(c->hob + LBA_LOW, t.fis + 8, 3);
        c->regs[DEVICE] = (t.fis[7] & 0x0f) | (c->regs[DEVICE] & 0xf0);
        if (t.work == ATA_DONE && d->is_cd && command == 0xec) /* IDENTIFY DEVICE: 8.15.5.2 */
            show_signature(c);
        c->limit = t.work == ATA_DATA_IN ? ATA_SECTOR : block_size(c, d, t.pio);
        task_starts(c, &t);
    }
}

/* ---- registers --------------------------------------------------------------------------------------------- */
static uint32_t data_read(struct ide_channel *c, unsigned size)
{
    uint32_t value = 0;
    if (c->phase != DATA_IN)
        return 0;
    size = MIN(size, c->end - c->at);
    value = (uint32_t)load_le((uint8_t[4]){ c->buffer[c->at], size > 1 ? c->buffer[c->at + 1] : 0,
                                            size > 2 ? c->buffer[c->at + 2] : 0,
                                            size > 3 ? c->buffer[c->at + 3] : 0 },
                              4);
    c->at += size;
    if (c->at == c->end)
        block_ends(c);
    return value;
}

static void data_write(struct ide_channel *c, unsigned size, uint32_t value)
{
    if (c->phase != DATA_OUT && c->phase != PACKET_IN)
        return;
    for (unsigned i = 0; i < size && c->at < c->end; i++)
        c->buffer[c->at++] = (uint8_t)(value >> 8 * i);
    if (c->at < c->end)
        return;
    if (c->phase == PACKET_IN)
        packet_complete(c);
    else
        block_ends(c);
}

static uint8_t status_of(struct ide_channel *c)
{
    return selected(c)->present ? c->status : 0;
}

static uint64_t command_read(void *opaque, uint64_t off, unsigned size)
{
    struct ide_channel *c = opaque;
    uint32_t value;
    device_lock(&c->ide->dev);
    if (is_empty(c)) {
        value = 0;
    } else if (off == DATA) {
        value = data_read(c, size);
    } else if (off == COMMAND) {
        value = status_of(c);
        drop_irq(c);
    } else if (off == FEATURES) {
        value = c->control & CONTROL_HOB ? c->hob[FEATURES] : c->error;
    } else {
        value = c->control & CONTROL_HOB && off < DEVICE ? c->hob[off] : c->regs[off];
    }
    device_unlock(&c->ide->dev);
    return value;
}

static void command_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct ide_channel *c = opaque;
    device_lock(&c->ide->dev);
    if (off == DATA) {
        data_write(c, size, (uint32_t)value);
    } else if (off == COMMAND) {
        command_starts(c, (uint8_t)value);
    } else if (c->phase == IDLE) { /* while a command runs, its registers are the drive's */
        c->control &= ~CONTROL_HOB;
        c->hob[off] = c->regs[off];
        c->regs[off] = (uint8_t)value;
    }
    device_unlock(&c->ide->dev);
}

static uint64_t control_read(void *opaque, uint64_t off, unsigned size)
{
    struct ide_channel *c = opaque;
    device_lock(&c->ide->dev);
    uint8_t value = status_of(c);
    device_unlock(&c->ide->dev);
    return value;
}

static void control_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct ide_channel *c = opaque;
    device_lock(&c->ide->dev);
    bool was_reset = c->control & CONTROL_RESET;
    c->control = value & (CONTROL_NO_IRQ | CONTROL_RESET | CONTROL_HOB);
    if (c->control & CONTROL_RESET) {
        channel_forget(c);
        c->status = ATA_BUSY;
    } else if (was_reset) {
        reset_when_done(c);
    }
    update_irq(c);
    device_unlock(&c->ide->dev);
}

static uint64_t bm_read(void *opaque, uint64_t off, unsigned size)
{
    struct piix_ide *ide = opaque;
    struct ide_channel *c = &ide->channels[off / 8];
    uint8_t block[8] = { 0 };
    device_lock(&ide->dev);
    block[BM_COMMAND] = c->bm_command;
    block[BM_STATUS] = c->bm_status;
    store_le(block + BM_PRD, 4, c->prd);
    device_unlock(&ide->dev);
    return load_le(block + off % 8, size);
}

static void bm_write_byte(struct ide_channel *c, unsigned at, uint8_t value)
{
    if (at == BM_COMMAND) {
        bool starts = value & BM_START && !(c->bm_command & BM_START);
        c->bm_command = value & (BM_START | BM_TO_MEMORY);
        if (!(value & BM_START))
            c->bm_status &= ~BM_ACTIVE;
        if (starts) {
            c->bm_status |= BM_ACTIVE;
            dma_run(c);
        }
    } else if (at == BM_STATUS) {
        c->bm_status = (value & BM_CAPABLE) | (c->bm_status & BM_ACTIVE) |
                       (c->bm_status & ~value & (BM_ERROR | BM_IRQ));
    } else if (at >= BM_PRD) {
        unsigned shift = 8 * (at - BM_PRD);
        c->prd = ((c->prd & ~(UINT32_C(0xff) << shift)) | (uint32_t)value << shift) & ~3u;
    }
}

static void bm_write(void *opaque, uint64_t off, unsigned size, uint64_t value)
{
    struct piix_ide *ide = opaque;
    device_lock(&ide->dev);
    for (unsigned i = 0; i < size; i++)
        bm_write_byte(&ide->channels[off / 8], (unsigned)off % 8 + i, (uint8_t)(value >> 8 * i));
    device_unlock(&ide->dev);
}

static const struct mmio_ops command_ops = { command_read, command_write, 1, 4, NULL };
static const struct mmio_ops control_ops = { control_read, control_write, 1, 1, NULL };
static const struct mmio_ops bm_ops = { bm_read, bm_write, 1, 4, NULL };

/* ---- life ------------------------------------------------------------------------------------------------------ */
static struct ata_drive *ide_drive_at(struct device *dev, unsigned bus, unsigned unit)
{
    return &((struct piix_ide *)dev)->channels[bus].drives[unit];
}

static char *ide_serial_at(struct device *dev, unsigned bus, unsigned unit)
{
    return ((struct piix_ide *)dev)->channels[bus].serials[unit];
}

static void ide_plugged(struct device *dev, unsigned bus, unsigned unit)
{
    channel_reset(&((struct piix_ide *)dev)->channels[bus]);
}

const struct ide_controller piix_ide_controller = {
    N_CHANNELS, N_UNITS, ide_drive_at, ide_serial_at, ide_plugged,
};

struct irq *piix_ide_output(struct device *dev, unsigned channel)
{
    return &((struct piix_ide *)dev)->out[channel];
}

/* A stopped VM has nothing under way. */
static void ide_runs(void *opaque, bool running)
{
    struct piix_ide *ide = opaque;
    for (unsigned i = 0; !running && i < N_CHANNELS * N_UNITS; i++)
        if (ide->channels[i / N_UNITS].drives[i % N_UNITS].blk)
            blk_drain(ide->channels[i / N_UNITS].drives[i % N_UNITS].blk);
}

static void set_registers(struct piix_ide *ide)
{
    config_set(&ide->fn, PCI_STATUS, 2, 0x0280);
    config_field(&ide->fn, 0x40, 4, 0x80008000, 0xffffffff); /* timings; both channels decode */
}

static struct error *ide_realize(struct device *dev)
{
    struct piix_ide *ide = (struct piix_ide *)dev;
    static const uint16_t commands[] = { 0x1f0, 0x170 }, controls[] = { 0x3f6, 0x376 };
    static const struct pci_identity identity = {
        .vendor = 0x8086,
        .device = 0x7010,
        .class_code = 0x010180,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
    };
    struct error *err = pci_realize(&ide->fn, dev, dev->bus, &identity);
    if (err)
        return err;
    pci_add_bar(&ide->fn, 4, PCI_BAR_IO,
                mem_add_mmio(dev->vm, "ide-bus-master", BM_SIZE, &bm_ops, ide), BM_SIZE);
    set_registers(ide);
    for (unsigned i = 0; i < N_CHANNELS; i++) {
        struct ide_channel *c = &ide->channels[i];
        c->ide = ide;
        ide->commands[i] = mem_add_mmio(dev->vm, "ide-command", 8, &command_ops, c);
        ide->controls[i] = mem_add_mmio(dev->vm, "ide-control", 1, &control_ops, c);
        mem_map_ports(ide->commands[i], commands[i], 0);
        mem_map_ports(ide->controls[i], controls[i], 0);
    }
    vm_on_run(dev->vm, ide_runs, ide);
    return NULL;
}

static void ide_unrealize(struct device *dev)
{
    struct piix_ide *ide = (struct piix_ide *)dev;
    vm_forget(dev->vm, ide);
    ide_runs(ide, false);
    for (unsigned i = 0; i < N_CHANNELS; i++) {
        mem_free_region(ide->commands[i]);
        mem_free_region(ide->controls[i]);
        free(ide->channels[i].iov);
    }
    pci_unrealize(&ide->fn);
}

static void ide_reset(struct device *dev)
{
    struct piix_ide *ide = (struct piix_ide *)dev;
    pci_reset(&ide->fn);
    set_registers(ide);
    for (unsigned i = 0; i < N_CHANNELS; i++) {
        struct ide_channel *c = &ide->channels[i];
        c->control = c->bm_command = c->bm_status = 0;
        c->prd = 0;
        c->at = c->end = c->filled = c->limit = 0;
        c->done = c->length = c->offset = 0;
        c->work = c->command = c->end_status = c->end_error = c->end_count = 0;
        memset(c->buffer, 0, sizeof(c->buffer));
        channel_reset(c);
        c->phase = IDLE; /* the VM stood: nothing is under way */
    }
}

static struct error *ide_loaded(struct device *dev)
{
    struct piix_ide *ide = (struct piix_ide *)dev;
    for (unsigned i = 0; i < N_CHANNELS; i++) {
        struct ide_channel *c = &ide->channels[i];
        const struct ata_drive *d = selected(c);
        if (c->phase == BUSY || c->at > c->end || c->end > c->filled || c->filled > BUFFER)
            return error_new("piix3-ide: a transfer in the middle of nowhere");
        bool moves = c->phase != IDLE && c->phase != PACKET_IN && c->work != ATA_DATA_IN;
        uint64_t size = d->blk ? blk_size(d->blk) : 0;
        if (moves && (!d->blk || (c->work != ATA_READ && c->work != ATA_WRITE) ||
                      c->offset > size || c->length > size - c->offset || c->done > c->length ||
                      (c->offset | c->length | c->done) % ATA_SECTOR ||
                      (!is_dma(c) && c->filled > c->length - c->done)))
            return error_new("piix3-ide: a transfer outside the image");
        if (c->phase != IDLE && (!d->present || (c->phase == PACKET_IN && !d->is_cd)))
            return error_new("piix3-ide: a command without a drive");
        if (c->work == ATA_DATA_IN && c->length > ATA_SECTOR)
            return error_new("piix3-ide: an answer of %llu bytes", (unsigned long long)c->length);
        if ((c->phase == DATA_IN || c->phase == DATA_OUT || c->phase == PACKET_IN) &&
            c->at == c->end)
            return error_new("piix3-ide: a block of data without a byte");
        update_irq(c);
    }
    pci_loaded(&ide->fn);
    return NULL;
}

static const struct prop ide_props[] = { PCI_PROPS(struct piix_ide, fn) };

static const struct field channel_state[] = {
    FIELD_SUB(struct ide_channel, drives, ata_drive_fields, N_UNITS),
    FIELD_RAW(struct ide_channel, regs),
    FIELD_RAW(struct ide_channel, hob),
    FIELD(struct ide_channel, status),
    FIELD(struct ide_channel, error),
    FIELD(struct ide_channel, control, .valid = CONTROL_NO_IRQ | CONTROL_RESET | CONTROL_HOB),
    FIELD(struct ide_channel, irq),
    FIELD(struct ide_channel, phase, .max = N_PHASES - 1),
    FIELD_RAW(struct ide_channel, buffer),
    FIELD(struct ide_channel, at),
    FIELD(struct ide_channel, end),
    FIELD(struct ide_channel, filled),
    FIELD(struct ide_channel, limit, .max = 65534),
    FIELD(struct ide_channel, done),
    FIELD(struct ide_channel, length),
    FIELD(struct ide_channel, offset),
    FIELD(struct ide_channel, work, .max = ATA_FLUSH),
    FIELD(struct ide_channel, command),
    FIELD(struct ide_channel, end_status),
    FIELD(struct ide_channel, end_error),
    FIELD(struct ide_channel, end_count),
    FIELD(struct ide_channel, bm_command, .valid = BM_START | BM_TO_MEMORY),
    FIELD(struct ide_channel, bm_status, .valid = BM_CAPABLE | BM_ACTIVE | BM_ERROR | BM_IRQ),
    FIELD(struct ide_channel, prd),
};
static const struct field ide_state[] = {
    FIELD_SUB(struct piix_ide, fn, pci_function_fields, 1),
    FIELD_SUB(struct piix_ide, channels, channel_state, N_CHANNELS),
};

const struct device_class piix_ide_class = {
    .name = "piix3-ide",
    .desc = "PIIX3's IDE controller",
    .bus = "pci",
    .version = 1,
    .size = sizeof(struct piix_ide),
    .props = TABLE(ide_props),
    .state = TABLE(ide_state),
    .realize = ide_realize,
    .unrealize = ide_unrealize,
    .reset = ide_reset,
    .loaded = ide_loaded,
};
