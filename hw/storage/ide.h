/* Disks and CD-ROM drives, classes "ide-hd" and "ide-cd", and the controllers that they are plugged into: classes
 * "ich9-ahci" (ports ID.0 to ID.5, one drive each) and "piix3-ide" (ID.0 and ID.1, two drives each). */
#pragma once

#include "core/device.h"

struct ata_drive;
struct blk;

enum { IDE_SERIAL_SIZE = 21 };

/* What a controller lets drives do. */
struct ide_controller {
    unsigned n_buses, n_units; /* units of a bus */
    struct ata_drive *(*drive)(struct device *dev, unsigned bus, unsigned unit);
    char *(*serial)(struct device *dev, unsigned bus, unsigned unit); /* IDE_SERIAL_SIZE bytes */
    /* A drive came or went; the controller's lock is held. */
    void (*plugged)(struct device *dev, unsigned bus, unsigned unit);
};
extern const struct ide_controller ahci_controller, piix_ide_controller;

/* Where a drive is plugged in; NULL if this is no such drive. */
struct device *ide_drive_controller(struct device *dev, unsigned *bus, unsigned *unit);
/* The machine's own controller, whose ports are called "ide.N"; NULL if it has none. */
const struct ide_controller *ide_find_controller(struct vm *vm);

/* The disc of an "ide-cd". Main loop's thread. */
bool ide_is_cd(const struct device *dev);
void ide_tray(struct device *dev, bool *open, bool *locked);
/* False: the guest has locked the tray; it is asked to let go. `force` opens it all the same. */
bool ide_move_tray(struct device *dev, bool open, bool force);
/* What lies in the tray from now on, a drive taken from the back ends, or NULL; the one before is the caller's to
 * give back. The tray is open and the VM stands. */
void ide_set_disc(struct device *dev, struct blk *disc);

/* "piix3-ide": IRQ 14 and 15. */
struct irq *piix_ide_output(struct device *dev, unsigned channel);
