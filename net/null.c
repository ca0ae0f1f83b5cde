/* -netdev null: frames from the guest vanish, none arrive. */
#include "net/netdev.h"

#include <stdio.h>

static const char *const null_keys[] = { NULL };

static struct error *null_open(struct netdev *n, struct options *o)
{
    snprintf(n->description, sizeof(n->description), "null");
    return NULL;
}

static void null_close(struct netdev *n)
{
}

static void null_input(struct netdev *n, const uint8_t *frame, size_t size)
{
}

const struct netdev_type null_netdev_type = {
    .name = "null",
    .desc = "a network with nobody in it",
    .keys = null_keys,
    .size = sizeof(struct netdev),
    .open = null_open,
    .close = null_close,
    .input = null_input,
    .input_done = null_close,
};
