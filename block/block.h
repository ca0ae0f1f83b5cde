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

#define BLK_SECTOR 512

struct blk_options {
    const char *file, *format; /* format NULL or "raw"; "host_device" asks for a block device */
    const char *serial;        /* may be NULL */
    bool readonly;
    bool snapshot;     /* writes go to an unlinked temporary file */
    bool no_cache;     /* cache.direct: O_DIRECT */
    bool no_flush;     /* cache.no-flush: flushes do nothing */
    bool writethrough; /* every write is on stable storage before it is done */
    bool discard;      /* pass discards on; without it they do nothing */
    bool no_lock;      /* locking=off */
    struct vm *vm; /* blk_open's */
    const char *node_driver; /* of -blockdev: as written there; NULL: of -drive */
};
/* Opens and locks the image (OFD locks: shared for readers, exclusive for writers): an image in use
 * elsewhere is an error that says so. An image whose length is not a multiple of 512 ends in zeroes
 * up to the next one; a write there makes the file longer. */
struct error *blk_open(struct vm *vm, const struct blk_options *o, struct blk **out);
void blk_close(struct blk *b); /* main loop's thread; waits for what is under way */

uint64_t blk_size(const struct blk *b); /* bytes, multiple of 512 */
bool blk_readonly(const struct blk *b);
bool blk_writethrough(const struct blk *b);
bool blk_can_discard(const struct blk *b);
/* Requests that are multiples of this many bytes are the cheapest: 512 or more. */
uint32_t blk_block_size(const struct blk *b);
const char *blk_serial(const struct blk *b); /* "" if none */

/* For management. */
struct blk_info {
    const char *filename, *driver; /* driver: "raw", "file" or "host_device", as a node of QMP's */
    bool is_node;                  /* of -blockdev, not of -drive */
    bool no_cache, no_flush, writethrough, snapshot;
    uint64_t allocated;            /* bytes that it takes on the host now */
};
void blk_info(const struct blk *b, struct blk_info *out);
/* Make the image this long, a multiple of 512, and tell its device. Main loop's thread. */
struct error *blk_resize(struct blk *b, uint64_t size);
/* The device is told on the main loop's thread that blk_size has changed. NULL: nobody. */
void blk_on_resize(struct blk *b, void (*fn)(void *opaque), void *opaque);

enum blk_op { BLK_READ, BLK_WRITE, BLK_FLUSH, BLK_DISCARD, BLK_WRITE_ZEROES, N_BLK_OPS };

/* One request, owned by the caller until done() was called on the loop given to blk_use_loop (the
 * main loop otherwise). result: 0 or -errno. Offsets and lengths in bytes, multiples of 512; a
 * request outside the image fails with -EINVAL, a write to a read-only one with -EROFS. */
struct blk_request {
    enum blk_op op;
    bool may_unmap; /* WRITE_ZEROES */
    bool fua;       /* WRITE, WRITE_ZEROES: on stable storage before it is done */
    uint64_t offset, length;
    const struct iovec *iov; /* READ, WRITE: at least `length` bytes */
    unsigned n_iov;
    void (*done)(struct blk_request *req, int result);
    /* for the block layer */
    struct blk *blk;
    struct blk_request *next;
    int result;
    uint64_t started_ns;
};
void blk_submit(struct blk *b, struct blk_request *req); /* any thread; never calls done itself */
/* Finish a request at once if that takes no waiting (data in the host's page cache, nothing to do):
 * true, with req->result set and done not called. False: nothing happened, blk_submit it. Saves two
 * context switches. Any thread. */
bool blk_try(struct blk *b, struct blk_request *req);
/* All completions from now on come on this loop. Nothing may be under way. NULL: the main loop. */
void blk_use_loop(struct blk *b, struct loop *loop);
/* Wait until nothing is under way, running completions meanwhile. The loop's thread. */
void blk_drain(struct blk *b);

struct blk_counts {
    uint64_t ops[N_BLK_OPS], bytes[N_BLK_OPS], errors;
    uint64_t ns[N_BLK_OPS]; /* spent on those that were done */
    uint64_t at_once; /* finished by blk_try */
};
void blk_counts(const struct blk *b, struct blk_counts *out);

/* ---- the command line (block/options.c) ----------------------------------------------------- */
enum drive_if { DRIVE_IF_NONE, DRIVE_IF_VIRTIO, DRIVE_IF_PFLASH, DRIVE_IF_IDE, N_DRIVE_IFS };
struct drive_info {
    enum drive_if iface; /* VIRTIO, IDE: the caller makes a device for it */
    bool is_cd;          /* media=cdrom */
    char id[64];         /* where it is registered; made up ("drive0") if none was given */
    unsigned unit, bus;  /* index= or unit=, and bus=; ~0u if none was given */
};
/* -drive file=…,if=…,id=…: opens the image and registers it. */
struct error *blk_add_drive(struct vm *vm, const char *text, struct drive_info *info);
/* -blockdev driver=file|host_device|raw,node-name=… or the same as JSON. */
struct error *blk_add_blockdev(struct vm *vm, const char *text);
/* Close one by its name. Error: there is none, or a device or another node uses it. */
struct error *blk_remove(struct vm *vm, const char *name);
