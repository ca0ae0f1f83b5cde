/* A telnet client that says anything: cut anywhere, the same bytes reach the front end, and answers stay few. */
#include "core/chardev_host.h"
#include "core/chardev_telnet.h"
#include "core/error.h"
#include "core/vm.h"
#include "tape.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct got {
    uint8_t *bytes;
    size_t n;
};

static size_t room(void *opaque)
{
    return CHARDEV_BUFFER;
}

static void receive(void *opaque, const uint8_t *data, size_t n)
{
    struct got *g = opaque;
    memcpy(g->bytes + g->n, data, n);
    g->n += n;
}

static void event(void *opaque, int what)
{
}

static struct got run(const uint8_t *bytes, size_t n, size_t piece)
{
    struct vm *vm;
    struct chardev *c;
    struct error *err = vm_new(&vm);
    struct got g = { .bytes = malloc(n + 1) };
    uint8_t *copy = malloc(n + 1);
    assert(!err && !chardev_open(vm, NULL, "null", &c));
    struct telnet *t = telnet_new();
    chardev_attach(c, &(struct chardev_front){ room, receive, event, &g });
    memcpy(copy, bytes, n);
    telnet_start(t, c->host);
    for (size_t at = 0; at < n; at += piece)
        telnet_receive(t, c->host, copy + at, n - at < piece ? n - at : piece);
    assert(g.n <= n);
    telnet_free(t);
    chardev_close(c);
    vm_free(vm);
    free(copy);
    return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n > 4096)
        return 0;
    struct got whole = run(bytes, n, n ? n : 1), pieces = run(bytes, n, 1);
    assert(whole.n == pieces.n && !memcmp(whole.bytes, pieces.bytes, whole.n));
    free(whole.bytes);
    free(pieces.bytes);
    return 0;
}
