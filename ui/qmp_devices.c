/* Devices that come and go. */
#include "core/device.h"
#include "core/error.h"
#include "core/util.h"
#include "core/vm.h"
#include "ui/plug.h"
#include "ui/qmp.h"
#include "ui/qmp_tables.h"

#include <stdlib.h>

static struct error *add(struct qmp_call *c)
{
    char *text = qmp_args_text(c);
    struct error *err = plug_device(c->vm, text);
    free(text);
    return err;
}

static struct error *del(struct qmp_call *c)
{
    struct device *dev = device_at(c->vm, qmp_str(c, "id"));
    if (!dev)
        return qmp_fail(c, "DeviceNotFound", "Device '%.200s' not found", qmp_str(c, "id"));
    return device_unplug(dev);
}

static const struct qmp_command commands[] = {
    { "device_add", "driver:str *bus:str *id:str", "", "plug a device in, as -device does", add,
      QMP_ANY_ARGS, "json-cli json-cli-hotplug" },
    { "device_del", "id:str", "",
      "ask the guest to let a device go, by id or path; DEVICE_DELETED tells that it has", del },
};

const struct qmp_table qmp_devices_table = { .title = "Devices", .commands = TABLE(commands) };
