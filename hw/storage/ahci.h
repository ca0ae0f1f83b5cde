/* AHCI controllers and their drives, for boards. Classes "ich9-ahci", "ide-hd", "ide-cd". */
#pragma once

struct device;

/* The controller that a drive is plugged into, and its port; NULL if this is no such drive. */
struct device *ide_drive_controller(struct device *dev, unsigned *port);
