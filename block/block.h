/* Disk images as devices see them: numbered bytes, asynchronous requests. Formats: raw files and
 * host block devices now; others sit behind the same functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct blk;
struct error;
struct loop;
struct vm;

struct blk_options {
    const char *file, *format; /* format NULL or "raw" */
    bool readonly, snapshot;
    bool no_cache;    /* cache.direct: O_DIRECT */
    bool no_flush;    /* cache.no-flush */
    bool discard;     /* pass discards on */
};
/* Opens and locks the image (OFD locks: shared for readers, exclusive for writers): an image in use
 * elsewhere is an error that says so. */
struct error *blk_open(struct vm *vm, const struct blk_options *o, struct blk **out);
void blk_close(struct blk *b); /* waits for what is under way */

uint64_t blk_size(const struct blk *b); /* bytes, multiple of 512 */
bool blk_readonly(const struct blk *b);
const char *blk_serial(const struct blk *b); /* "" if none */

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_WRITE_ZEROES };

/* One request, owned by the caller until done() was called on the loop given to blk_use_loop (the
 * main loop otherwise). result: 0 or -errno. Offsets and lengths in bytes, multiples of 512; a
 * request outside the image fails with -EINVAL. */
struct blk_request {
    enum blk_op op;
    bool may_unmap; /* WRITE_ZEROES */
    uint64_t offset, length;
    const struct iovec *iov; /* READ, WRITE */
    unsigned n_iov;
    void (*done)(struct blk_request *req, int result);
    /* for the block layer */
    struct blk *blk;
    struct blk_request *next;
    int result;
};
void blk_submit(struct blk *b, struct blk_request *req);
/* All completions from now on come on this loop. Nothing may be under way. */
void blk_use_loop(struct blk *b, struct loop *loop);
/* Wait until nothing is under way, running completions meanwhile. The loop's thread. */
void blk_drain(struct blk *b);

struct blk_counts {
    uint64_t ops[5], bytes[5], errors;
};
void blk_counts(const struct blk *b, struct blk_counts *out);
