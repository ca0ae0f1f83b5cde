/* VNC servers (RFC 6143): a screen of the VM and its keyboard and pointer for viewers somewhere else. Main loop's
 * thread. Nobody connected: nobody looks, and the guest's screen costs nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct vm;
struct vnc;

/* What -vnc takes: "none", ":1", "HOST:1", "unix:PATH", each with ",name=value...". Binds its sockets at once. */
struct error *vnc_add(struct vm *vm, const char *text);
/* End all; a unix socket's name goes, too. */
void vnc_free_all(struct vm *vm);
/* A connected socket as one more viewer; the server owns it. `skip_auth`: it needs no password. */
struct error *vnc_add_client(struct vm *vm, const char *id, int fd, bool skip_auth);

/* By its id; NULL: the first. NULL if there is none. */
struct vnc *vnc_find(struct vm *vm, const char *id);

enum vnc_on_connected { VNC_KEEP, VNC_FAIL, VNC_DISCONNECT };
/* NULL: nobody can log in. An error for a server without password=on. What becomes of viewers that are there:
 * FAIL: an error if there are any. */
struct error *vnc_set_password(struct vnc *vnc, const char *password,
                               enum vnc_on_connected connected);
/* The password counts until then, in seconds since 1970; INT64_MAX: for ever. */
struct error *vnc_expire_password(struct vnc *vnc, int64_t when);
/* As QMP has it: "now", "never", "+SECONDS", "SECONDS". */
struct error *vnc_parse_expiry(const char *text, int64_t *when);

/* ---- who listens, who is there ----------------------------------------------------------------- */
struct vnc_end {
    char host[108], service[108]; /* of a unix socket: service is its path */
    const char *family;           /* "ipv4", "ipv6", "unix" */
};
const char *vnc_id(const struct vnc *vnc);
const char *vnc_auth(const struct vnc *vnc); /* "none" or "vnc" */
/* The n-th server, listening socket, viewer; false: there are fewer. */
struct vnc *vnc_at(struct vm *vm, size_t n);
bool vnc_listener(const struct vnc *vnc, size_t n, struct vnc_end *out);
bool vnc_viewer(const struct vnc *vnc, size_t n, struct vnc_end *out);
/* "127.0.0.1:5901" and so on, for people; of the first socket. */
const char *vnc_where(const struct vnc *vnc);
