/* Character back ends: the host side of serial ports, consoles and monitors. One front end (a UART,
 * a console port, a monitor) is attached at a time; a mux shares a back end between several.
 * Implementations: core/chardev_*.c (stdio, file, null, pty, socket, ringbuf). */
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
enum { CHARDEV_OPENED, CHARDEV_CLOSED, CHARDEV_BREAK };

/* "stdio", "mon:stdio", "null", "file:PATH", "pty", "unix:PATH,server=on,wait=off",
 * "tcp:HOST:PORT,server=on,wait=off", "chardev:ID" */
struct error *chardev_open(struct vm *vm, const char *id, const char *spec, struct chardev **out);
void chardev_close(struct chardev *c);
/* As chardev_open, and registered as BACKEND_CHARDEV under id. The VM owns it. */
struct error *chardev_add(struct vm *vm, const char *id, const char *spec, struct chardev **out);
/* -chardev BACKEND,id=ID,name=value,... ("socket,id=c0,path=/tmp/s,server=on,wait=off"). */
struct error *chardev_add_option(struct vm *vm, const char *text);
/* One line a back end, for -chardev help. */
void chardev_help(void (*print)(void *opaque, const char *line), void *opaque);
/* Flush what can be flushed and restore terminals; also called on the way out of any exit. */
void chardev_restore_terminals(void);

void chardev_attach(struct chardev *c, const struct chardev_front *front);
void chardev_detach(struct chardev *c);
/* As chardev_attach, for a monitor: on a mux it is the front end that Ctrl-A c switches to and from,
 * and not the one that is shown first. */
void chardev_attach_monitor(struct chardev *c, const struct chardev_front *front);
/* Any thread. Never blocks: bytes beyond the back end's buffer are dropped and counted for streams
 * nobody reads, held up to 64 KiB otherwise. */
void chardev_write(struct chardev *c, const uint8_t *data, size_t n);
/* The front end has room again. Any thread. */
void chardev_accept(struct chardev *c);
