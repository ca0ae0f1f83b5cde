/* Packets of gdb's remote protocol: "$data#checksum", acknowledgements, escapes; input in any pieces, output
 * through a queue of limited size. Appendix E of gdb's manual. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { GDB_PACKET = 0x4000, GDB_QUEUE = 1 << 20 };

struct chardev;
struct gdb_link {
    struct chardev *chardev;
    /* A packet with the right checksum, unescaped; data[n] is 0. */
    void (*packet)(void *opaque, const char *data, size_t n);
    void (*interrupt)(void *opaque); /* Ctrl-C between packets */
    void *opaque;

    bool no_acks;
    enum { LINK_IDLE, LINK_DATA, LINK_ESCAPE, LINK_SUM1, LINK_SUM2 } state;
    char in[GDB_PACKET + 1];
    size_t n_in;
    bool too_long;
    uint8_t sum, told; /* what the bytes add up to; the first digit of what they are said to */

    uint8_t *out; /* what the back end has not taken yet: [out_at, n_out) */
    size_t out_at, n_out, out_room;
    bool refused; /* a packet did not fit: the client does not read */
    uint8_t *last; /* for who asks for it again */
    size_t n_last;
};

void link_init(struct gdb_link *l);
void link_free(struct gdb_link *l);
/* Somebody new is there. */
void link_restart(struct gdb_link *l);
void link_receive(struct gdb_link *l, const uint8_t *data, size_t n);
/* Bytes that may come; none while answers wait to be read. */
size_t link_room(const struct gdb_link *l);
/* The back end takes more. */
void link_writable(struct gdb_link *l);
/* Data of any bytes, escaped here. Lost as a whole when the queue is full. */
void link_send(struct gdb_link *l, const void *data, size_t n);

/* A packet's data in the making. What does not fit is left out. */
struct gdb_text {
    char *at;
    size_t n, room;
};
void text_put(struct gdb_text *t, const void *data, size_t n);
void text_print(struct gdb_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_hex(struct gdb_text *t, const void *data, size_t n);
/* n bytes from 2n hex digits; false if there are fewer, or others. */
bool hex_bytes(const char *text, uint8_t *to, size_t n);
/* A hex number of up to 16 digits; moves *at behind it. */
bool hex_number(const char **at, uint64_t *v);
