#include "ui/plug.h"

#include "core/device.h"
#include "core/error.h"
#include "core/options.h"
#include "core/util.h"

#include <stdlib.h>

struct error *plug_device(struct vm *vm, const char *text)
{
    struct options list;
    struct error *err = options_split(text, "driver", &list);
    if (err)
        return err;
    const char *driver = options_get(&list, "driver");
    struct prop_value *props = xcalloc(list.n + 1, sizeof(*props));
    size_t n = 0;
    for (size_t i = 0; i < list.n; i++)
        if (strcmp(list.at[i].name, "driver"))
            props[n++] = list.at[i];
    err = driver ? device_plug(vm, driver, props, n)
                 : error_new("the device's name is missing: device_add NAME,id=ID,...");
    free(props);
    options_free(&list);
    return err;
}
