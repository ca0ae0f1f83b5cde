/* A SCSI disk: what a command means, without the transport that carries it. The transport owns disks and
 * tasks and guards them by its lock. */
#pragma once

#include "core/state.h"

#include <stdbool.h>

struct blk;

enum { SCSI_BLOCK = 512, SCSI_CDB_SIZE = 16, SCSI_DATA = 256 };
enum { SCSI_GOOD = 0, SCSI_CHECK_CONDITION = 2 };

struct scsi_disk {
    struct blk *blk;
    const char *serial;
    bool removable;
    /* state */
    uint8_t sense_key, sense_code; /* of the last command */
    bool changed;                  /* attention: power on or reset, SPC-3 5.3.4; once */
    bool locked;
};

/* What the transport has to do for a command. */
enum scsi_work { SCSI_DONE, SCSI_DATA_IN, SCSI_READ, SCSI_WRITE, SCSI_FLUSH };
struct scsi_task {
    uint8_t cdb[SCSI_CDB_SIZE];
    unsigned lun;
    /* the answer */
    enum scsi_work work;
    bool fua;
    uint64_t offset, length; /* READ, WRITE: bytes of the image */
    uint8_t data[SCSI_DATA];
    uint32_t n_data;
    uint8_t status;
};
void scsi_disk_reset(struct scsi_disk *d);
void scsi_command(struct scsi_disk *d, struct scsi_task *t);
/* The block layer's result, 0 or -errno, becomes status and sense. */
void scsi_finish(struct scsi_disk *d, struct scsi_task *t, int result);

extern const struct field scsi_disk_fields[4];

/* Fixed-format sense data (SPC 4.5.3), of disks and of CD-ROMs. */
enum { SCSI_SENSE = 18 };
void scsi_put_sense(uint8_t out[SCSI_SENSE], uint8_t key, uint8_t code);
