/* Network back ends: Ethernet frames to and from the host side. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct error;
struct netdev;
struct vm;

/* The longest frame either way: 64 KiB and an Ethernet header with a VLAN tag. */
#define NET_MAX_FRAME (65536 + 18)

/* "user,id=n0,hostfwd=tcp::2222-:22" (type first) or the same as JSON. Main loop's thread. */
struct error *netdev_open(struct vm *vm, const char *spec, struct netdev **out);
void netdev_close(struct netdev *n); /* main loop's thread; NULL is allowed */
/* -netdev: as netdev_open, and registered as BACKEND_NETDEV under its id. */
struct error *netdev_add(struct vm *vm, const char *spec);

/* Close one that no device uses. Error: there is none, or one does. */
struct error *netdev_remove(struct vm *vm, const char *id);

/* -nic user,model=…,mac=…,id=… and -net none: opens and registers the back end. */
struct nic_info {
    bool none;      /* "none": no network, also not the default one; the rest is empty */
    char model[64]; /* device class the caller makes with netdev=id; "" if not said */
    char mac[18];   /* "" if not said */
    char id[64];
};
struct error *nic_add(struct vm *vm, const char *spec, struct nic_info *out);

/* The device's side; all run on the main loop's thread without locks held and need not be there
 * any more after netdev_detach. */
struct netdev_peer {
    /* A frame for the guest. False: no room; the back end keeps a bounded queue and tries again
     * after netdev_ready. */
    bool (*receive)(void *opaque, const uint8_t *frame, size_t n);
    /* No more frames for now: the time to interrupt the driver. */
    void (*received)(void *opaque);
    /* netdev_send refused a frame and would now take it. */
    void (*writable)(void *opaque);
    void *opaque;
};
/* Main loop's thread. */
void netdev_attach(struct netdev *n, const struct netdev_peer *peer);
void netdev_detach(struct netdev *n);
/* A frame from the guest. Any thread, device locks may be held; never calls the peer. False: no room
 * now, `writable` follows. Frames over NET_MAX_FRAME or under 14 bytes are dropped and counted. */
bool netdev_send(struct netdev *n, const struct iovec *iov, unsigned n_iov);
/* The device can receive again. Any thread, device locks may be held. */
void netdev_ready(struct netdev *n);
/* What a line of text says of the other side: "user, 10.0.2.0/24". */
const char *netdev_describe(const struct netdev *n);
/* Will it open sockets and read the host's list of name servers while the guest runs? For the sandbox. */
bool netdev_opens(const struct netdev *n);

struct netdev_counts {
    uint64_t sent, sent_bytes;         /* from the guest */
    uint64_t received, received_bytes; /* for the guest */
    uint64_t refused, dropped;         /* no room; bad length */
};
void netdev_counts(struct netdev *n, struct netdev_counts *out);
