/* "ide-hd" and "ide-cd": what is plugged into an AHCI port or a channel of an IDE controller. */
#include "hw/storage/ide.h"

#include "block/block.h"
#include "core/error.h"
#include "core/vm.h"
#include "hw/storage/ata.h"

#include <stdio.h>

extern const struct device_class ich9_ahci_class, piix_ide_class, ide_hd_class, ide_cd_class;

#define ANY_UNIT UINT32_MAX

static const struct {
    const struct device_class *cls;
    const struct ide_controller *ops;
} controllers[] = {
    { &ich9_ahci_class, &ahci_controller },
    { &piix_ide_class, &piix_ide_controller },
};

struct ide_drive {
    struct device dev;
    struct blk *blk;
    char *bus, *serial;
    uint32_t unit, bootindex;
    /* fixed at realize */
    struct device *hba;
    const struct ide_controller *ops;
    unsigned n_bus, n_unit;
};

static const struct ide_controller *controller_of(const struct device *dev)
{
    for (size_t i = 0; i < ARRAY_LEN(controllers); i++)
        if (dev->cls == controllers[i].cls && dev->realized)
            return controllers[i].ops;
    return NULL;
}

const struct ide_controller *ide_find_controller(struct vm *vm)
{
    for (struct device *dev = vm->devices; dev; dev = dev->next)
        if (!dev->id && controller_of(dev))
            return controller_of(dev);
    return NULL;
}

/* ---- finding a place ---------------------------------------------------------------------------------- */
static bool is_free(struct ide_drive *d)
{
    return !d->ops->drive(d->hba, d->n_bus, d->n_unit)->present;
}

/* The unit asked for, or the first free one. */
static bool find_unit(struct ide_drive *d)
{
    for (d->n_unit = 0; d->n_unit < d->ops->n_units; d->n_unit++)
        if (d->unit == ANY_UNIT ? is_free(d) : d->unit == d->n_unit)
            return true;
    return false;
}

static struct error *check_place(struct ide_drive *d, const char *name)
{
    if (!find_unit(d))
        return d->unit == ANY_UNIT
                   ? error_new("port '%s' has a drive already", name)
                   : error_new("unit=%u: port '%s' has %u", d->unit, name, d->ops->n_units);
    if (!is_free(d))
        return error_new("port '%s' has a drive already", name);
    return NULL;
}

/* "ID.N", or "ide.N" on a machine's own controller; without one, the first free place of all. */
static struct error *find_place(struct ide_drive *d)
{
    char name[64];
    for (struct device *dev = d->dev.vm->devices; dev; dev = dev->next) {
        d->hba = dev;
        d->ops = controller_of(dev);
        for (d->n_bus = 0; d->ops && d->n_bus < d->ops->n_buses; d->n_bus++) {
            snprintf(name, sizeof(name), "%s.%u", dev->id ? dev->id : "ide", d->n_bus);
            if (d->bus && strcmp(name, d->bus) == 0)
                return check_place(d, name);
            if (!d->bus && find_unit(d) && is_free(d))
                return NULL;
        }
    }
    if (d->bus)
        return error_new("there is no port '%s'; an AHCI controller has ID.0 to ID.5", d->bus);
    return error_new("no free port: add an AHCI controller with -device ich9-ahci");
}

struct device *ide_drive_controller(struct device *dev, unsigned *bus, unsigned *unit)
{
    if (dev->cls != &ide_hd_class && dev->cls != &ide_cd_class)
        return NULL;
    const struct ide_drive *d = (const struct ide_drive *)dev;
    *bus = d->n_bus;
    *unit = d->n_unit;
    return d->hba;
}

/* ---- life ---------------------------------------------------------------------------------------------- */
static struct error *drive_realize(struct device *dev)
{
    struct ide_drive *d = (struct ide_drive *)dev;
    bool is_cd = dev->cls->bus_class;
    if (!d->blk && !is_cd)
        return error_new("a disk needs drive=");
    if (d->blk && !is_cd && blk_size(d->blk) < ATA_SECTOR)
        return error_new("the image is empty");
    struct error *err = find_place(d);
    if (err)
        return err;
    const char *serial = d->serial ? d->serial : d->blk ? blk_serial(d->blk) : "";
    if (strlen(serial) >= IDE_SERIAL_SIZE)
        return error_new("serial number '%s' is longer than %d characters", serial,
                         IDE_SERIAL_SIZE - 1);
    device_lock(d->hba);
    char *kept = d->ops->serial(d->hba, d->n_bus, d->n_unit);
    snprintf(kept, IDE_SERIAL_SIZE, "%s", *serial ? serial : "TD00001");
    *d->ops->drive(d->hba, d->n_bus, d->n_unit) =
        (struct ata_drive){ .blk = d->blk,
                            .dev = is_cd ? dev : NULL,
                            .present = true,
                            .is_cd = is_cd,
                            .serial = kept,
                            .model = is_cd ? "Tandem CD-ROM" : "Tandem disk" };
    d->ops->plugged(d->hba, d->n_bus, d->n_unit);
    device_unlock(d->hba);
    return NULL;
}

static void drive_unrealize(struct device *dev)
{
    struct ide_drive *d = (struct ide_drive *)dev;
    if (d->blk)
        blk_drain(d->blk);
    device_lock(d->hba);
    *d->ops->drive(d->hba, d->n_bus, d->n_unit) = (struct ata_drive){ 0 };
    d->ops->plugged(d->hba, d->n_bus, d->n_unit);
    device_unlock(d->hba);
}

/* ---- a CD-ROM drive's disc ----------------------------------------------------------------------------- */
static struct ata_drive *drive_of(struct device *dev)
{
    struct ide_drive *d = (struct ide_drive *)dev;
    return d->ops->drive(d->hba, d->n_bus, d->n_unit);
}

bool ide_is_cd(const struct device *dev)
{
    return dev->cls == &ide_cd_class && dev->realized;
}

void ide_tray(struct device *dev, bool *open, bool *locked)
{
    struct device *hba = ((struct ide_drive *)dev)->hba;
    device_lock(hba);
    *open = drive_of(dev)->tray_open;
    *locked = drive_of(dev)->locked;
    device_unlock(hba);
}

bool ide_move_tray(struct device *dev, bool open, bool force)
{
    struct device *hba = ((struct ide_drive *)dev)->hba;
    device_lock(hba);
    struct ata_drive *d = drive_of(dev);
    bool moves = !open || !d->locked || force || d->tray_open;
    if (moves)
        atapi_move_tray(d, open);
    else
        d->media_event = MEDIA_EJECT_REQUEST;
    device_unlock(hba);
    return moves;
}

void ide_set_disc(struct device *dev, struct blk *disc)
{
    struct ide_drive *d = (struct ide_drive *)dev;
    if (d->blk)
        blk_drain(d->blk);
    device_lock(d->hba);
    d->blk = drive_of(dev)->blk = disc;
    device_unlock(d->hba);
}

static const struct prop ide_props[] = {
    PROP(struct ide_drive, blk, "drive", PROP_DRIVE),
    PROP(struct ide_drive, bus, "bus", PROP_STRING,
         .help = "port: the controller's id, or ide, and its number: ide.0"),
    PROP(struct ide_drive, unit, "unit", PROP_UINT, .def = "0xffffffff",
         .help = "0 or 1 on an IDE controller"),
    PROP(struct ide_drive, serial, "serial", PROP_STRING, .help = "at most 20 characters"),
    PROP(struct ide_drive, bootindex, "bootindex", PROP_UINT, .def = "0xffffffff"),
};

#define IDE_CLASS(name_, desc_, is_cd_)                                                       \
    {                                                                                         \
        .name = (name_), .desc = (desc_), .bus = "ide", .version = 1, .user_creatable = true, \
        .size = sizeof(struct ide_drive), .props = TABLE(ide_props), .bus_class = (is_cd_),   \
        .realize = drive_realize, .unrealize = drive_unrealize,                               \
    }
const struct device_class ide_hd_class = IDE_CLASS("ide-hd", "SATA or IDE disk", NULL);
const struct device_class ide_cd_class = IDE_CLASS("ide-cd", "SATA or IDE CD-ROM drive", "cd");
