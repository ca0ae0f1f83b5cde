/* Inside net/ only: what a back end is, and the queues that all of them share. */
#pragma once

#include "net/net.h"

#include <pthread.h>
#include <stdatomic.h>

struct options;

struct netdev_type {
    const char *name; /* "user" */
    const char *desc;
    bool opens;              /* sockets and files, while the guest runs */
    const char *const *keys; /* option names, NULL-terminated; id is common to all */
    size_t size;             /* of the struct, whose first member is struct netdev */
    /* All run on the main loop's thread. open sets n->description. */
    struct error *(*open)(struct netdev *n, struct options *o);
    void (*close)(struct netdev *n);                                    /* also after open failed */
    void (*input)(struct netdev *n, const uint8_t *frame, size_t size); /* from the guest */
    void (*input_done)(struct netdev *n); /* that was the last of this batch */
};

/* Frames one behind the other, each with its length before it. */
struct frame_queue {
    uint8_t *at;
    size_t head, end; /* bytes taken; bytes put in */
};

struct netdev {
    const struct netdev_type *type;
    struct vm *vm;
    char description[80];
    int wake_fd; /* eventfd on the main loop: there is work in one of the queues */
    struct netdev_peer peer;
    bool attached;

    pthread_mutex_t lock; /* guards from_guest, blocked */
    struct frame_queue from_guest;
    bool blocked;   /* a frame was refused: tell the peer when there is room */
    uint8_t *spare; /* buffer that changes places with from_guest.at */

    struct frame_queue to_guest; /* main loop's thread only */
    bool offered;                /* since the peer was last told that there is no more for now */
    _Atomic bool waiting;        /* to_guest holds something the device had no room for */

    struct {
        _Atomic uint64_t sent, sent_bytes, received, received_bytes, refused, dropped;
    } counts;
};

/* A frame for the guest, from the back end. Main loop's thread. */
void netdev_deliver(struct netdev *n, const uint8_t *frame, size_t size);
/* After one or more of them. */
void netdev_delivered(struct netdev *n);

extern const struct netdev_type null_netdev_type, user_netdev_type;
