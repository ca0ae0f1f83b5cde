/* A mux made over a back end that is there already (chardev-add, -chardev mux,chardev=ID): the only front end of that
 * one, with ports of its own. What core/chardev.c asks about the other side, it asks there (chardev_host.base). */
#include "core/backends.h"
#include "core/chardev_host.h"
#include "core/error.h"
#include "core/options.h"
#include "core/vm.h"

/* Always: keys for the mux itself are seen, too, while the guest reads nothing. */
static size_t mux_room(void *opaque)
{
    return CHARDEV_CHUNK;
}

static void mux_receive(void *opaque, const uint8_t *data, size_t n)
{
    chardev_host_input(opaque, data, n);
}

static void mux_event(void *opaque, int event)
{
    struct chardev_host *h = opaque;
    if (event == CHARDEV_BREAK)
        chardev_break(h->ports);
    else
        chardev_host_tell(h, event);
}

static void mux_send(struct chardev_host *h, const uint8_t *data, size_t n)
{
    chardev_write(h->base, data, n);
}

static void mux_close(struct chardev_host *h)
{
    chardev_detach(h->base);
    backend_give_back(h->vm, h->base);
}

struct error *chardev_open_mux(struct chardev_host *h, const char *path, struct options *o)
{
    struct chardev *base;
    const char *id = options_get(o, "chardev");
    if (!id || !*id)
        return error_new("a mux needs chardev=ID, the back end that it shares");
    base = backend_find(h->vm, BACKEND_CHARDEV, id);
    if (base && chardev_is_mux(base))
        return error_new("chardev='%.80s' is a mux itself, and takes any number of front ends", id);
    struct error *err = backend_take_chardev(h->vm, id, &base);
    if (err)
        return error_in(err, "chardev='%.80s'", id);
    h->mux = true;
    h->base = base;
    h->sink = mux_send;
    h->close = mux_close;
    chardev_attach(base, &(struct chardev_front){ mux_room, mux_receive, mux_event, h });
    return NULL;
}
