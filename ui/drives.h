/* Drives and the devices that they are in, as both monitors show them. Main loop's thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct blk;
struct device;
struct error;
struct vm;

struct drive {
    const char *id; /* of the drive; NULL: the device holds none now */
    struct blk *blk;
    struct device *dev; /* NULL: it is in no device */
    bool removable;
};
/* Every device that takes a drive, then drives in none. */
void drives_each(struct vm *vm, void (*visit)(void *opaque, const struct drive *d), void *opaque);
/* By node name or id, or by the device's id or path. False: there is none. */
bool drive_find(struct vm *vm, const char *name, struct drive *out);
/* The VM stands meanwhile. */
struct error *drive_resize(struct vm *vm, const char *name, uint64_t size);
