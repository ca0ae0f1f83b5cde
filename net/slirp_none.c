/* Built without libslirp. */
#include "core/error.h"
#include "net/netdev.h"

static const char *const user_keys[] = { NULL };

static struct error *user_open(struct netdev *n, struct options *o)
{
    return error_new("user networking is not in this build (it needs libslirp)");
}

static void user_nothing(struct netdev *n)
{
}

static void user_input(struct netdev *n, const uint8_t *frame, size_t size)
{
}

const struct netdev_type user_netdev_type = {
    .name = "user",
    .desc = "not in this build",
    .keys = user_keys,
    .size = sizeof(struct netdev),
    .open = user_open,
    .close = user_nothing,
    .input = user_input,
    .input_done = user_nothing,
};
