/* A raw file or host block device: blocking reads and writes with everything the host may ask for
 * (short transfers, O_DIRECT alignment, fallback paths). Any thread, several at a time. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct blk_options;
struct error;

struct file {
    int fd;        /* -1: none */
    uint64_t size; /* exact bytes at opening; what lies between it and the next 512 reads as zero */
    uint32_t align; /* offset, length and memory alignment of transfers: 1 without O_DIRECT */
    uint32_t block; /* cheapest transfer unit, 512 or more */
    bool device;    /* a block device */
    /* What the host turned out not to support; asked only once. */
    _Atomic bool no_punch, no_zero_range, no_try_read, no_try_write;
    pthread_rwlock_t
        partial; /* O_DIRECT: held for writing by a write that covers part of a block */
};

/* On error nothing is left open. */
struct error *file_open(struct file *f, const struct blk_options *o);
/* An unlinked temporary file that reads as `size` zeroes. */
struct error *file_open_temporary(struct file *f, uint64_t size);
void file_close(struct file *f);

/* Bytes of a vector: n_iov pieces, of which [skip, ...) are used. */
struct span {
    const struct iovec *iov;
    unsigned n_iov;
    uint64_t skip;
};
/* All return 0 or -errno. */
int file_read(struct file *f, uint64_t at, struct span to, uint64_t n);
int file_write(struct file *f, uint64_t at, struct span from, uint64_t n, bool fua);
int file_flush(struct file *f);
int file_discard(struct file *f, uint64_t at,
                 uint64_t n); /* a hint: contents are then unspecified */
int file_zero(struct file *f, uint64_t at, uint64_t n, bool may_unmap);
/* -EAGAIN unless it can be done at once, without waiting for the disk. */
int file_try_read(struct file *f, uint64_t at, const struct iovec *iov, unsigned n_iov, uint64_t n);
int file_try_write(struct file *f, uint64_t at, const struct iovec *iov, unsigned n_iov,
                   uint64_t n);
