/* Network back ends: Ethernet frames to and from the host side. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct error;
struct netdev;
struct prop_value;
struct vm;

/* "user,id=n0,hostfwd=tcp::2222-:22": type first. */
struct error *netdev_open(struct vm *vm, const char *spec, struct netdev **out);
void netdev_close(struct netdev *n);

/* The device's side. receive: a frame for the guest, on the main loop's thread, no locks held;
 * returns false when there is no room: the back end keeps a bounded queue and tries again after
 * netdev_ready. */
struct netdev_peer {
    bool (*receive)(void *opaque, const uint8_t *frame, size_t n);
    void *opaque;
};
void netdev_attach(struct netdev *n, const struct netdev_peer *peer);
void netdev_detach(struct netdev *n);
/* A frame from the guest. Any thread; frames over 64 KiB + headers are dropped and counted. */
void netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov);
/* The device can receive again. Any thread. */
void netdev_ready(struct netdev *n);
