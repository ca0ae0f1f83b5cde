/* Character back ends: the host side of serial ports, consoles and monitors. One front end (a UART,
 * a console port, a monitor) is attached at a time; a mux shares a back end between several.
 * Implementations: core/chardev_*.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chardev;
struct error;
struct vm;

/* Front end's callbacks; they run on the main loop's thread without locks held. */
struct chardev_front {
    /* How many bytes can be taken now. 0: ask again after chardev_accept. */
    size_t (*room)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *data, size_t n);
    void (*event)(void *opaque, int event); /* CHARDEV_* below */
    void *opaque;
};
enum {
    CHARDEV_OPENED,   /* somebody listens; also told on attaching to an open back end */
    CHARDEV_CLOSED,   /* the other side went away */
    CHARDEV_BREAK,    /* Ctrl-A b */
    CHARDEV_WRITABLE, /* after chardev_space was 0: there is space again */
    CHARDEV_FOCUS,    /* Ctrl-A c: what is typed comes here now */
};

/* What -serial and -chardev take, id=... aside:
 *   null | pty | ringbuf[,size=64K] | stdio[,signal=on|off] | mon:SPEC | file:PATH[,append=on] | pipe:PATH |
 *   /dev/TTY | unix:PATH[,server=on,wait=off] | tcp:[HOST]:PORT[,server=on,wait=off,nodelay=on] |
 *   telnet:[HOST]:PORT[,server=on...] | udp:[HOST]:PORT[@[HOST]:PORT] | chardev:ID |
 *   mux,chardev=ID | file,path=PATH | socket,path=PATH | socket,host=HOST,port=PORT[,telnet=on] | socket,fd=N | ...
 * All take logfile=PATH[,logappend=on], clients reconnect=SECONDS or reconnect-ms=N. mux=on (or "mon:" in front)
 * lets several front ends share it, with Ctrl-A keys. `id` is for messages, may be NULL. Main loop's thread. While
 * that runs nothing is waited for: wait=on and names of hosts are refused. */
struct error *chardev_open(struct vm *vm, const char *id, const char *spec, struct chardev **out);
/* As chardev_open, and registered as BACKEND_CHARDEV under id. The VM owns it. */
struct error *chardev_add(struct vm *vm, const char *id, const char *spec, struct chardev **out);
/* -chardev BACKEND,id=ID,name=value,... ("socket,id=c0,path=/tmp/s,server=on,wait=off"). */
struct error *chardev_add_option(struct vm *vm, const char *text);
/* Put another back end, as -chardev describes it, in place of one that devices use; they do not notice. Main loop's
 * thread. */
struct error *chardev_change(struct vm *vm, const char *id, const char *text);
/* One line a back end, for -chardev help. */
void chardev_help(void (*print)(void *opaque, const char *line), void *opaque);
/* Sends what a reader takes within a moment, then frees. The VM calls it for those it owns. */
void chardev_close(struct chardev *c);
/* Give terminals back to the user as they were. Also done at exit and by fatal signals. */
void chardev_restore_terminals(void);
/* Somebody else has the terminal on standard input in a mode of its own: what it was before, and bytes that undo the
 * rest, at most 64, are its when the process ends in whatever way; until that somebody has put it right again. */
struct termios;
void chardev_keep_terminal(const struct termios *before, const char *undo);
void chardev_release_terminal(void);

/* Main loop's thread, or while it does not run. */
void chardev_attach(struct chardev *c, const struct chardev_front *front);
void chardev_detach(struct chardev *c);
/* As chardev_attach, for a monitor: on a mux it is the front end that Ctrl-A c switches to and from,
 * and not the one that is shown first. Returns what to write to and detach from later. */
struct chardev *chardev_attach_monitor(struct chardev *c, const struct chardev_front *front);
/* Any thread. Never blocks: bytes beyond 64 KiB that nobody takes are dropped and counted. A front
 * end that can wait asks for the space first. Output leaves within a millisecond. */
void chardev_write(struct chardev *c, const uint8_t *data, size_t n);
size_t chardev_space(struct chardev *c);
/* The same for a console, whose guest is not to stand still: a reader that has taken nothing for a second loses
 * what is written until it reads again. */
size_t chardev_console_space(struct chardev *c);
/* Send now what can be sent without waiting; front ends hear nothing of it. Main loop's thread. */
void chardev_flush(struct chardev *c);
/* As if the other side had left: it is cut off, a server listens again. Main loop's thread. */
void chardev_hang_up(struct chardev *c);
/* Descriptors that come along with bytes on a UNIX socket (SCM_RIGHTS) are kept from now on, those of the
 * latest bytes only, until they are taken: oldest first, -1 if there is none. Otherwise the kernel closes
 * them. Main loop's thread. */
void chardev_receive_fds(struct chardev *c);
int chardev_take_fd(struct chardev *c);
/* The front end has room again. Any thread; cheap when nothing waits. */
void chardev_accept(struct chardev *c);

/* A mux: another port for another front end. Freed with the mux. */
bool chardev_is_mux(const struct chardev *c);
struct chardev *chardev_share(struct chardev *c);
bool chardev_is_port(const struct chardev *c, const void *port); /* of the same back end; only compares `port` */
/* What a user connects to ("/dev/pts/3"), or "". */
const char *chardev_where(const struct chardev *c);
const char *chardev_kind(const struct chardev *c); /* "pty", "socket", ... */
/* What the process will still be asked for while the VM runs; for the sandbox. */
struct chardev_needs {
    bool connect_inet, connect_unix; /* a client that comes back */
    const char *unlink;              /* this socket goes at the end; NULL: none */
};
void chardev_needs(const struct chardev *c, struct chardev_needs *out);
/* Is somebody on the other side, and a front end on this? */
bool chardev_is_connected(const struct chardev *c);
bool chardev_has_front(const struct chardev *c); /* at any port */
bool chardev_is_server(const struct chardev *c);
bool chardev_is_ringbuf(const struct chardev *c);
/* Does the front end listen? A guest's port does when the guest has it open, others when they are attached. */
bool chardev_front_is_open(const struct chardev *c);
void chardev_set_front_open(struct chardev *c, bool open); /* any thread */
/* A break to the front end that has the focus. Main loop's thread. */
void chardev_break(struct chardev *c);
/* Change places: each front end gets the other's host side. Neither is a mux; nobody writes meanwhile. Main loop's
 * thread. */
void chardev_swap(struct chardev *a, struct chardev *b);
/* As if the other side had sent this. Main loop's thread. */
void chardev_feed(struct chardev *c, const uint8_t *data, size_t n);
/* Take up to n of the newest bytes that a ringbuf keeps, oldest first; how many. Any thread. */
size_t chardev_ringbuf_read(struct chardev *c, uint8_t *buf, size_t n);

struct chardev_counts {
    uint64_t in, out, dropped; /* bytes */
};
void chardev_counts(struct chardev *c, struct chardev_counts *out);
