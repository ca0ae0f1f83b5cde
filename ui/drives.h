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

/* ---- discs -------------------------------------------------------------------------------------- */
/* A drive whose disc can change, by the device's id or path, or the id of what is in it. NULL: there is none. */
struct device *disc_drive_find(struct vm *vm, const char *name);
struct error *disc_open_tray(struct device *dev, bool force);
void disc_close_tray(struct device *dev);
/* The tray is open. */
struct error *disc_remove(struct device *dev);
struct error *disc_insert(struct device *dev, const char *node);
/* All of it: another image, opened as a node with a name of its own. */
struct error *disc_change(struct device *dev, const char *filename, bool force);
