/* For builds without jansson. */
#include "core/error.h"
#include "core/json.h"

struct error *json_flatten(const char *text,
                           void (*add)(void *opaque, const char *name, const char *value),
                           void *opaque)
{
    return error_new("JSON is not supported by this build; write name=value,...");
}
