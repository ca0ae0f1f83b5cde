/* ATA disks and ATAPI CD-ROM drives: what a command does, without the controller that carries it. The
 * controller owns drives and tasks and guards them by its lock. */
#pragma once

#include "core/state.h"

#include <stdbool.h>

struct blk;
struct device;

enum { ATA_SECTOR = 512, ATAPI_SECTOR = 2048, ATA_FIS_SIZE = 20, ATAPI_CDB_SIZE = 16 };
enum {
    ATA_BUSY = 0x80,
    ATA_READY = 0x40,
    ATA_SEEK = 0x10,
    ATA_DRQ = 0x08,
    ATA_ERR = 0x01
};                                                                        /* status */
enum { ATA_ABORTED = 0x04, ATA_NOT_FOUND = 0x10, ATA_DATA_ERROR = 0x40 }; /* error */

struct ata_drive {
    struct blk *blk; /* NULL: no drive here, or no disc in a CD-ROM drive */
    struct device *dev; /* a CD-ROM drive: whose tray it is */
    bool present, is_cd;
    const char *serial, *model;
    /* state */
    uint8_t sense_key, sense_code; /* ATAPI: of the last command */
    uint8_t multiple;              /* sectors of READ MULTIPLE */
    bool write_cache, locked;
    bool tray_open;
    bool changed;        /* another disc may be in: the next command says so (SPC 5.3.4) */
    uint8_t media_event; /* MMC 6.6.1.2: for GET EVENT STATUS NOTIFICATION */
};
enum { MEDIA_NO_EVENT, MEDIA_EJECT_REQUEST, MEDIA_NEW, MEDIA_REMOVAL };
void ata_drive_reset(struct ata_drive *d);
/* What a drive shows after a reset: the signature of its kind, for PxSIG. */
uint32_t ata_signature(const struct ata_drive *d);

/* What the controller has to do for a command; then ata_finish. */
enum ata_work { ATA_DONE, ATA_DATA_IN, ATA_READ, ATA_WRITE, ATA_FLUSH };
struct ata_task {
    uint8_t fis[ATA_FIS_SIZE]; /* host to device register FIS (SATA 3.0, 10.3.4) */
    uint8_t cdb[ATAPI_CDB_SIZE];
    /* the answer */
    enum ata_work work;
    bool pio, queued, fua;
    uint8_t tag;             /* of a queued command */
    uint64_t offset, length; /* READ, WRITE: bytes of the image */
    uint8_t data[ATA_SECTOR];
    uint32_t n_data;
    uint8_t status, error, count; /* registers when it ends well, or at once for ATA_DONE */
};
void ata_command(struct ata_drive *d, struct ata_task *t);
/* The block layer's result, 0 or -errno, becomes status and error. */
void ata_finish(struct ata_drive *d, struct ata_task *t, int result);
/* A CD-ROM drive's tray goes in or out, by the guest or the user: told, if it moves. Controller's lock held. */
void atapi_move_tray(struct ata_drive *d, bool open);
/* For ata.c. */
void atapi_command(struct ata_drive *d, struct ata_task *t);

extern const struct field ata_drive_fields[8];
