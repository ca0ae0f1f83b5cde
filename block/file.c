/* Raw files and host block devices. */
#include "block/file.h"

#include "block/block.h"
#include "core/error.h"
#include "core/fdset.h"
#include "core/util.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECES       256         /* vector pieces in one system call */
#define MAX_IOV      1024        /* the kernel takes no more */
#define BOUNCE_BYTES (256 * KIB) /* one transfer through an aligned buffer */
#define NO_WAIT_MAX  (256 * KIB) /* a copy that the submitting thread makes itself */

/* ---- locking --------------------------------------------------------------------------------
 * Open file description locks. A writer locks the whole file exclusively. Readers share bytes
 * 0..100 and 201 and look at byte 101: QEMU puts its "I write" lock at 101 and looks at 201 for
 * "nobody else may write", so either program keeps out of the other's way. */
static int lock_bytes(int fd, short type, off_t start, off_t n)
{
    struct flock fl = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = n };
    return fcntl(fd, F_OFD_SETLK, &fl);
}

static bool is_locked(int fd, off_t start)
{
    struct flock fl = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = 1 };
    return !fcntl(fd, F_OFD_GETLK, &fl) && fl.l_type != F_UNLCK;
}

static struct error *lock_file(int fd, bool readonly)
{
    bool taken;
    if (readonly)
        taken = lock_bytes(fd, F_RDLCK, 0, 101) || lock_bytes(fd, F_RDLCK, 201, 1);
    else
        taken = lock_bytes(fd, F_WRLCK, 0, 0);
    /* Other errors: the file system has no locks. */
    taken = taken && (errno == EAGAIN || errno == EACCES);
    if (taken || (readonly && is_locked(fd, 101)))
        return error_new("is in use by another process (it holds the lock on it; locking=off "
                         "opens it all the same)");
    return NULL;
}

/* ---- opening -------------------------------------------------------------------------------- */
static struct error *check_format(int fd, const struct blk_options *o)
{
    static const struct {
        const char *name, *magic;
        uint8_t n;
    } formats[] = {
        { "qcow2", "QFI\xfb", 4 },
        { "vmdk", "KDMV", 4 },
        { "vhdx", "vhdxfile", 8 },
        { "vpc", "conectix", 8 },
        { "qed", "QED\0", 4 },
        { "luks", "LUKS\xba\xbe", 6 },
        { "vdi", "<<< Oracle VM VirtualBox", 24 },
    };
    char head[4096] __attribute__((aligned(4096))) = ""; /* as O_DIRECT wants it */
    if (o->format || pread(fd, head, sizeof(head), 0) <= 0)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(formats); i++)
        if (!memcmp(head, formats[i].magic, formats[i].n))
            return error_new(
                "is a %s image; only raw ones are supported (qemu-img convert -O raw makes "
                "one; -drive format=raw would use its bytes as they are)",
                formats[i].name);
    return NULL;
}

static void find_alignment(struct file *f, bool direct)
{
    int sector = BLK_SECTOR;
    unsigned physical = BLK_SECTOR;
    if (f->device && !ioctl(f->fd, BLKSSZGET, &sector) && !ioctl(f->fd, BLKPBSZGET, &physical))
        f->block = MAX(BLK_SECTOR, MIN(physical, 4096u));
    if (!direct)
        return;
    f->align = f->device ? (uint32_t)sector : 4096;
    struct statx sx;
    if (!statx(f->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &sx) && sx.stx_mask & STATX_DIOALIGN &&
        sx.stx_dio_offset_align)
        f->align = MAX(sx.stx_dio_offset_align, sx.stx_dio_mem_align);
    f->block = MAX(f->block, MIN(f->align, 4096u));
}

static struct error *examine(struct file *f, const struct blk_options *o)
{
    struct stat st;
    if (fstat(f->fd, &st))
        return error_errno("cannot be examined");
    if (S_ISDIR(st.st_mode))
        return error_new("is a directory; a disk image is a file or a block device");
    f->device = S_ISBLK(st.st_mode);
    if (!f->device && !S_ISREG(st.st_mode))
        return error_new("is neither a file nor a block device");
    bool want_device = o->format && !strcmp(o->format, "host_device");
    if (want_device && !f->device)
        return error_new("is not a block device");
    f->size = (uint64_t)st.st_size;
    if (f->device && ioctl(f->fd, BLKGETSIZE64, &f->size))
        return error_errno("its size cannot be found");
    if (!f->size)
        return error_new(f->device ? "has no medium" : "is empty");
    find_alignment(f, o->no_cache);
    if (f->size % f->align)
        return error_new("its length of %" PRIu64 " bytes is not a multiple of %u, which "
                         "cache.direct=on needs here",
                         f->size, f->align);
    return check_format(f->fd, o);
}

static struct error *open_fd(const struct blk_options *o, bool readonly, int *fd)
{
    /* O_NONBLOCK: opening a FIFO must not wait; files and block devices ignore it. O_EXCL: a
     * block device that the host has mounted is not ours to write. */
    struct stat st;
    bool excl = !readonly && !stat(o->file, &st) && S_ISBLK(st.st_mode);
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (readonly ? O_RDONLY : O_RDWR) |
                (o->no_cache ? O_DIRECT : 0) | (excl ? O_EXCL : 0);
    *fd = fdset_open(o->vm, o->file, flags, 0);
    if (*fd >= 0)
        return NULL;
    if (errno == EISDIR)
        return error_new("is a directory; a disk image is a file or a block device");
    if (errno == EBUSY && excl)
        return error_new("is in use by this host (mounted?)");
    if (errno == EINVAL && o->no_cache)
        return error_new("its file system does not support cache.direct=on");
    if (!readonly && (errno == EACCES || errno == EROFS || errno == EPERM) &&
        !access(o->file, R_OK))
        return error_new("is not writable; readonly=on or snapshot=on needs no more than reading");
    return error_errno("cannot be opened");
}

static void file_init(struct file *f)
{
    *f = (struct file){ .fd = -1, .align = 1, .block = BLK_SECTOR };
    pthread_rwlock_init(&f->partial, NULL);
}

struct error *file_open(struct file *f, const struct blk_options *o)
{
    bool readonly = o->readonly || o->snapshot;
    file_init(f);
    struct error *err = open_fd(o, readonly, &f->fd);
    if (!err)
        err = examine(f, o);
    if (!err && !o->no_lock)
        err = lock_file(f->fd, readonly);
    if (err)
        file_close(f);
    return err;
}

struct error *file_open_temporary(struct file *f, uint64_t size)
{
    const char *dir = getenv("TMPDIR");
    dir = dir && *dir ? dir : "/var/tmp";
    file_init(f);
    f->fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (f->fd < 0) { /* a file system without O_TMPFILE */
        char *name = xasprintf("%s/tandem-XXXXXX", dir);
        f->fd = mkostemp(name, O_CLOEXEC);
        if (f->fd >= 0)
            unlink(name);
        free(name);
    }
    struct error *err = NULL;
    if (f->fd < 0)
        err = error_errno("no temporary file for snapshot=on in %s", dir);
    else if (ftruncate(f->fd, (off_t)size))
        err = error_errno("no temporary file of %" PRIu64 " bytes in %s", size, dir);
    if (err)
        file_close(f);
    f->size = size;
    return err;
}

void file_close(struct file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    pthread_rwlock_destroy(&f->partial);
}

/* ---- vectors -------------------------------------------------------------------------------- */
/* The next up to n bytes of s as at most PIECES pieces; returns how many pieces, *got their bytes. */
static unsigned span_pieces(struct span s, uint64_t n, struct iovec out[PIECES], uint64_t *got)
{
    unsigned k = 0;
    *got = 0;
    for (unsigned i = 0; i < s.n_iov && *got < n && k < PIECES; i++) {
        if (s.skip >= s.iov[i].iov_len) {
            s.skip -= s.iov[i].iov_len;
            continue;
        }
        uint64_t len = MIN(s.iov[i].iov_len - s.skip, n - *got);
        out[k++] = (struct iovec){ (char *)s.iov[i].iov_base + s.skip, len };
        *got += len;
        s.skip = 0;
    }
    return k;
}

static void span_copy(struct span s, void *buf, uint64_t n, bool to_span)
{
    char *p = buf;
    for (unsigned i = 0; i < s.n_iov && n; i++) {
        if (s.skip >= s.iov[i].iov_len) {
            s.skip -= s.iov[i].iov_len;
            continue;
        }
        char *q = (char *)s.iov[i].iov_base + s.skip;
        uint64_t len = MIN(s.iov[i].iov_len - s.skip, n);
        memcpy(to_span ? q : p, to_span ? p : q, len);
        p += len;
        n -= len;
        s.skip = 0;
    }
}

static void span_zero(struct span s, uint64_t n)
{
    for (unsigned i = 0; i < s.n_iov && n; i++) {
        if (s.skip >= s.iov[i].iov_len) {
            s.skip -= s.iov[i].iov_len;
            continue;
        }
        uint64_t len = MIN(s.iov[i].iov_len - s.skip, n);
        memset((char *)s.iov[i].iov_base + s.skip, 0, len);
        n -= len;
        s.skip = 0;
    }
}

/* Does the kernel take these pieces as they are under O_DIRECT? */
static bool span_is_aligned(struct span s, uint64_t at, uint64_t n, uint32_t align)
{
    uint64_t mask = align - 1, got;
    if ((at | n) & mask)
        return false;
    struct iovec iov[PIECES];
    while (n) {
        unsigned k = span_pieces(s, n, iov, &got);
        for (unsigned i = 0; i < k; i++)
            if (((uintptr_t)iov[i].iov_base | iov[i].iov_len) & mask)
                return false;
        s.skip += got;
        n -= got;
    }
    return true;
}

/* ---- transfers the kernel takes as they are -------------------------------------------------- */
/* A read that meets the end of the file: what lies past the length it had when it was opened is the
 * zero padding of the last sector; anything before it was cut off under our feet. */
static int read_plain(struct file *f, uint64_t at, struct span to, uint64_t n)
{
    while (n) {
        struct iovec iov[PIECES];
        uint64_t got;
        unsigned k = span_pieces(to, n, iov, &got);
        ssize_t r = preadv(f->fd, iov, (int)k, (off_t)at);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (!r) {
            if (at < f->size)
                return -EIO;
            span_zero(to, n);
            return 0;
        }
        at += (uint64_t)r;
        n -= (uint64_t)r;
        to.skip += (uint64_t)r;
    }
    return 0;
}

static int write_plain(struct file *f, uint64_t at, struct span from, uint64_t n, bool fua)
{
    while (n) {
        struct iovec iov[PIECES];
        uint64_t got;
        unsigned k = span_pieces(from, n, iov, &got);
        ssize_t r = pwritev2(f->fd, iov, (int)k, (off_t)at, fua ? RWF_DSYNC : 0);
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        if (!r)
            return -ENOSPC;
        at += (uint64_t)r;
        n -= (uint64_t)r;
        from.skip += (uint64_t)r;
    }
    return 0;
}

/* ---- transfers through an aligned buffer (O_DIRECT) ------------------------------------------- */
/* One piece of at most BOUNCE_BYTES; [start, start + len) are the whole blocks around it. */
static int bounce_piece(struct file *f, char *buf, uint64_t at, struct span s, uint64_t n,
                        bool write, bool fua)
{
    uint64_t start = align_down(at, f->align), len = align_up(at + n, f->align) - start;
    struct iovec whole = { buf, len };
    struct span bounce = { &whole, 1, 0 };
    int r = 0;
    if (!write || start != at || len != n)
        r = read_plain(f, start, bounce, len);
    if (r)
        return r;
    span_copy(s, buf + (at - start), n, !write);
    return write ? write_plain(f, start, bounce, len, fua) : 0;
}

static int bounce(struct file *f, uint64_t at, struct span s, uint64_t n, bool write, bool fua)
{
    void *buf;
    if (posix_memalign(&buf, MAX(f->align, 4096u), BOUNCE_BYTES + 2 * (uint64_t)f->align))
        return -ENOMEM;
    int r = 0;
    while (n && !r) {
        uint64_t step = MIN(n, BOUNCE_BYTES);
        r = bounce_piece(f, buf, at, s, step, write, fua);
        at += step;
        n -= step;
        s.skip += step;
    }
    free(buf);
    return r;
}

int file_read(struct file *f, uint64_t at, struct span to, uint64_t n)
{
    if (f->align > 1 && !span_is_aligned(to, at, n, f->align))
        return bounce(f, at, to, n, false, false);
    return read_plain(f, at, to, n);
}

int file_write(struct file *f, uint64_t at, struct span from, uint64_t n, bool fua)
{
    if (f->align == 1)
        return write_plain(f, at, from, n, fua);
    /* A write of part of a block rewrites the rest of it: no other write may be under way. */
    bool partial = (at | n) & (f->align - 1);
    if (partial)
        pthread_rwlock_wrlock(&f->partial);
    else
        pthread_rwlock_rdlock(&f->partial);
    int r = span_is_aligned(from, at, n, f->align) ? write_plain(f, at, from, n, fua)
                                                   : bounce(f, at, from, n, true, fua);
    pthread_rwlock_unlock(&f->partial);
    return r;
}

int file_flush(struct file *f)
{
    return fdatasync(f->fd) ? -errno : 0;
}

/* ---- discard and zeroes ----------------------------------------------------------------------- */
static bool unsupported(int e)
{
    return e == EOPNOTSUPP || e == ENOSYS || e == ENOTTY || e == EINVAL || e == ENODEV;
}

/* fallocate or the block device's ioctl. -EOPNOTSUPP once the host is known not to have it. */
static int change_range(struct file *f, _Atomic bool *lacking, int mode, unsigned long request,
                        uint64_t at, uint64_t n)
{
    uint64_t range[2] = { at, n };
    if (atomic_load_explicit(lacking, memory_order_relaxed))
        return -EOPNOTSUPP;
    int r;
    do
        r = f->device ? ioctl(f->fd, request, range)
                      : fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n);
    while (r && errno == EINTR);
    if (!r)
        return 0;
    if (!unsupported(errno))
        return -errno;
    if (errno != EINVAL) /* EINVAL may be about this range only */
        atomic_store_explicit(lacking, true, memory_order_relaxed);
    return -EOPNOTSUPP;
}

int file_discard(struct file *f, uint64_t at, uint64_t n)
{
    int r = change_range(f, &f->no_punch, FALLOC_FL_PUNCH_HOLE, BLKDISCARD, at, n);
    return r == -EOPNOTSUPP ? 0 : r;
}

int file_zero(struct file *f, uint64_t at, uint64_t n, bool may_unmap)
{
    static const char zeroes[64 * KIB] __attribute__((aligned(4096)));
    int r = -EOPNOTSUPP;
    if (may_unmap && !f->device) /* BLKDISCARD does not promise zeroes */
        r = change_range(f, &f->no_punch, FALLOC_FL_PUNCH_HOLE, 0, at, n);
    if (r == -EOPNOTSUPP)
        r = change_range(f, &f->no_zero_range, FALLOC_FL_ZERO_RANGE, BLKZEROOUT, at, n);
    if (r != -EOPNOTSUPP)
        return r;
    for (r = 0; n && !r;) {
        struct iovec iov = { (void *)zeroes, MIN(n, sizeof(zeroes)) };
        r = file_write(f, at, (struct span){ &iov, 1, 0 }, iov.iov_len, false);
        at += iov.iov_len;
        n -= iov.iov_len;
    }
    return r;
}

/* ---- at once ---------------------------------------------------------------------------------- */
static int try_result(ssize_t r, uint64_t n, _Atomic bool *lacking)
{
    if (r >= 0)
        return (uint64_t)r == n ? 0 : -EAGAIN;
    if (unsupported(errno))
        atomic_store_explicit(lacking, true, memory_order_relaxed);
    return -EAGAIN;
}

int file_try_read(struct file *f, uint64_t at, const struct iovec *iov, unsigned n_iov, uint64_t n)
{
    /* Under O_DIRECT the call would sleep until the disk answers. */
    if (f->align > 1 || n > NO_WAIT_MAX || n_iov > MAX_IOV ||
        atomic_load_explicit(&f->no_try_read, memory_order_relaxed))
        return -EAGAIN;
    return try_result(preadv2(f->fd, iov, (int)n_iov, (off_t)at, RWF_NOWAIT), n, &f->no_try_read);
}

int file_try_write(struct file *f, uint64_t at, const struct iovec *iov, unsigned n_iov, uint64_t n)
{
    if (f->align > 1 || n > NO_WAIT_MAX || n_iov > MAX_IOV ||
        atomic_load_explicit(&f->no_try_write, memory_order_relaxed))
        return -EAGAIN;
    return try_result(pwritev2(f->fd, iov, (int)n_iov, (off_t)at, RWF_NOWAIT), n, &f->no_try_write);
}
