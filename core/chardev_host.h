/* Inside character back ends: the host side that core/chardev.c drives and the kinds make.
 *
 * A host has two descriptors (or one twice) and a bounded output buffer. Writers on any thread only
 * append to the buffer; the main loop sends it, at most FLUSH_DELAY later, so that a guest that prints
 * byte by byte costs a few system calls per millisecond. A struct chardev is a port: what one front
 * end holds. Only a mux has more than one. */
#pragma once

#include "core/chardev.h"

#include <pthread.h>
#include <stdatomic.h>

struct options;

enum {
    CHARDEV_BUFFER = 64 * 1024,
    CHARDEV_CHUNK = 4096, /* read at a time */
    CHARDEV_MOST_FDS = 16,
    CHARDEV_LOG = 16 * 1024,
    CHARDEV_DATAGRAM = 1400, /* bytes that are sent in one */
};

struct telnet;

struct chardev {
    struct chardev_host *host;
    struct chardev_front front; /* valid while attached; main loop's thread */
    bool attached, open;        /* open: it was told so */
    _Atomic enum { FRONT_AS_ATTACHED, FRONT_OPEN, FRONT_CLOSED } front_open;
    struct chardev *next;       /* port of the same mux */
};

struct chardev_host {
    struct vm *vm;
    char *label; /* id, for messages */
    char *where; /* what a user connects to: "/dev/pts/3", "unix:/tmp/x" */
    const char *kind_name; /* "pty", "socket", ... */
    struct chardev *ports, *focus;
    bool server, ringbuf;
    bool datagrams;         /* a message of no bytes, or one that finds nobody, is no end */
    struct telnet *telnet;  /* output doubles IAC, input goes through it; NULL: plain bytes */
    bool mux, escape; /* escape: the last byte was Ctrl-A */
    struct chardev *base;   /* what a mux of kind "mux" is the front end of, and never a mux; NULL: it has its own */

    int in_fd, out_fd; /* -1: none now */
    bool in_ended;     /* end of file: nothing more comes */
    bool receives_fds; /* main loop's thread, as the next */
    int fds[CHARDEV_MOST_FDS];
    unsigned n_fds;
    /* The other side went away (error or end of file); main loop's thread. */
    void (*hung_up)(struct chardev_host *h);
    /* It went away, but nobody has room for the rest of what it sent. NULL: that is not to be watched for. */
    void (*left)(struct chardev_host *h);
    bool peer_gone;
    void (*close)(struct chardev_host *h); /* frees `kind`, not the descriptors */
    /* What it will still do while the VM runs, besides reading and writing. NULL: nothing. */
    void (*add_needs)(struct chardev_host *h, struct chardev_needs *needs);
    /* Takes bytes instead of out_fd; any thread, lock held. */
    void (*sink)(struct chardev_host *h, const uint8_t *data, size_t n);
    void *kind;

    pthread_mutex_t lock; /* guards the output below; a leaf but for its base's and loop locks */
    uint8_t *out;         /* a ring of CHARDEV_BUFFER bytes */
    size_t out_at, n_out;
    uint64_t flush_at_ns; /* host clock; 0: nothing is to be sent */
    bool was_full, out_blocked;
    uint64_t blocked_at_ns; /* when a byte was last taken, while more wait; 0: none wait */
    bool stalled;           /* that is too long ago for a console to wait */
    uint64_t n_dropped, n_in, n_sent;
    int log_fd; /* -1: what is written is not logged */
    uint8_t *log;
    size_t n_log;

    /* Main loop's thread: input that the focused front end had no room for. */
    uint8_t *held;
    size_t held_at, n_held;
    bool delivering; /* to a front end, which may ask for anything but this host's end */
    _Atomic bool wants_room; /* chardev_accept has something to do */
    bool accept_posted;      /* under lock */
};

/* A host with one port, nothing connected. */
struct chardev_host *chardev_host_new(struct vm *vm, const char *label);
/* Descriptors came or changed: nonblocking ones, owned by the host from now on. Main loop's thread. */
void chardev_host_connect(struct chardev_host *h, int in_fd, int out_fd);
/* To all front ends, CHARDEV_OPENED and _CLOSED also to those that come later. Main loop's thread. */
void chardev_host_tell(struct chardev_host *h, int event);
/* Close the descriptors and tell the front ends. Main loop's thread. */
void chardev_host_disconnect(struct chardev_host *h);

/* Only the output ended; input goes on. For hosts with two descriptors. Main loop's thread. */
void chardev_host_end_output(struct chardev_host *h);

bool chardev_is_delivering(const struct chardev *c);
/* Bytes of a protocol, past everything that front ends send; lost if there is no room. Main loop's thread. */
void chardev_host_send(struct chardev_host *h, const uint8_t *data, size_t n);
/* Input from the other side, less what belongs to the protocol. Main loop's thread. */
void chardev_host_input(struct chardev_host *h, const uint8_t *data, size_t n);
/* Somebody else comes: what front ends had no room for is not to be joined to what that one says. Main loop's
 * thread. */
void chardev_host_forget_input(struct chardev_host *h);

/* Kinds: fill in a new host from the text behind "kind:" or path= and the other options. */
struct error *chardev_open_stdio(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_pty(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_unix(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_tcp(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_telnet(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_udp(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_pipe(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_serial(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_vdagent(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_mux(struct chardev_host *h, const char *path, struct options *o);
struct error *chardev_open_socket(struct chardev_host *h, const char *path, struct options *o);
