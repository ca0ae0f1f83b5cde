/* Inside the VNC server: one viewer, from its first byte to its last. */
#pragma once

#include "ui/display.h"
#include "ui/pointer.h"
#include "ui/vnc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct encoder;
struct encoder_library;
struct faces;
struct keyboard;
struct vnc_client;

enum { VNC_MAX_CLIENTS = 32, VNC_MAX_LISTENERS = 4 };
enum vnc_share { SHARE_ALLOW_EXCLUSIVE, SHARE_FORCE_SHARED, SHARE_IGNORE };

struct vnc {
    struct vm *vm;
    char *id, *where, *name; /* name: the desktop's */
    struct encoder_library *lib;
    int listeners[VNC_MAX_LISTENERS];
    unsigned n_listeners;
    char *unix_path; /* to remove at the end */

    bool wants_password, lossy;
    char password[9]; /* 8 bytes count */
    bool has_password;
    int64_t expires; /* seconds since 1970 */
    enum vnc_share share;

    char *device; /* of the head to show; NULL: any */
    unsigned head_index;
    struct head *head; /* NULL: none is there yet */
    struct viewer *viewer;

    struct vnc_client *clients;
    unsigned n_clients;
    struct ending *endings; /* encoders whose threads are still at it */
    struct vnc *next;
};

/* The server owns the socket from now on. */
void vnc_client_new(struct vnc *vnc, int fd, bool skip_auth);
/* Its encoder's thread may take longer: it goes to vnc->endings. */
void vnc_client_free(struct vnc_client *c);
/* Is it past its login? */
bool vnc_client_looks(const struct vnc_client *c);
void vnc_client_end(const struct vnc_client *c, struct vnc_end *out);
struct vnc_client *vnc_client_next(const struct vnc_client *c);

/* The screen's news. */
void vnc_client_damaged(struct vnc_client *c, struct rect part);
void vnc_client_resized(struct vnc_client *c);
void vnc_client_cursor(struct vnc_client *c);
/* Give its encoder what there is to do, end it if it has to go: before each wait of the main loop. Nanoseconds
 * until it wants to be called again. */
uint64_t vnc_client_run(struct vnc_client *c);

/* In vnc.c: viewers came or went; watch the screen while there are any. */
void vnc_count_changed(struct vnc *vnc);
void vnc_add_ending(struct vnc *vnc, struct encoder *e);
/* Is this the answer to the challenge? */
bool vnc_check_password(const struct vnc *vnc, const uint8_t challenge[16],
                        const uint8_t answer[16]);
/* An address of a socket: its own, or the other side's. */
void vnc_socket_end(int fd, bool peer, struct vnc_end *out);
