/* One VNC viewer's picture in RFB's encodings, made by libvncserver (RFC 6143). The library reads and writes its
 * socket until it has what it wants, so it gets one end of a socket pair and a thread of its own: the main loop hands
 * it a job, goes on, and is told when it is done. It never sees a byte of the viewer's that was not checked before,
 * and no message but those that ask for pixels. Main loop's thread, except where it says otherwise. */
#pragma once

#include "ui/display.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct encoder;
struct encoder_library;
struct error;

/* Load libvncserver; before the sandbox. */
struct error *encoder_library_open(struct encoder_library **out);
void encoder_library_free(struct encoder_library *lib);
/* What a viewer that knows the password makes of a challenge: VNC Authentication, RFC 6143, 7.2.2. */
void encoder_library_answer(const struct encoder_library *lib, const char *password,
                            uint8_t challenge[16]);

/* Starts a job that makes the ServerInit message. `name` is the desktop's. */
struct error *encoder_new(const struct encoder_library *lib, const char *name, unsigned width,
                          unsigned height, struct encoder **out);
/* Give up what it does. The struct stays until its thread is gone: free it once encoder_is_gone. */
void encoder_quit(struct encoder *e);
bool encoder_is_gone(struct encoder *e);
/* After encoder_quit; waits for the thread. */
void encoder_free(struct encoder *e);

/* RFB messages for the viewer can be read here, without blocking; at the end of the stream it has given up. */
int encoder_output(const struct encoder *e);
/* Readable when a job is done; then call encoder_finish. */
int encoder_done(const struct encoder *e);
/* False: it failed, the viewer has to go. */
bool encoder_finish(struct encoder *e);
bool encoder_has_started(const struct encoder *e); /* the first job is done */
bool encoder_is_busy(const struct encoder *e);

/* ---- while it is not busy: the next job --------------------------------------------------------- */
/* A new size, all of it to be drawn; false: not enough memory. */
bool encoder_resize(struct encoder *e, unsigned width, unsigned height);
/* 0x00RRGGBB, line after line; to be drawn into, then damaged. */
uint32_t *encoder_pixels(struct encoder *e);
unsigned encoder_width(const struct encoder *e);
unsigned encoder_height(const struct encoder *e);
void encoder_damage(struct encoder *e, struct rect part);
/* NULL: none. */
void encoder_set_cursor(struct encoder *e, const struct cursor_shape *shape);
void encoder_move_cursor(struct encoder *e, int x, int y);
/* A whole checked message of the viewer's: SetPixelFormat, SetEncodings, FramebufferUpdateRequest. False: no room. */
bool encoder_tell(struct encoder *e, const uint8_t *message, size_t n);
/* Bytes for the viewer, before what the job makes. False: that would be more than 2 MiB. */
bool encoder_insert(struct encoder *e, const uint8_t *bytes, size_t n);
void encoder_start(struct encoder *e);
/* After a job: the viewer waits for something to change. */
bool encoder_waits(const struct encoder *e);
