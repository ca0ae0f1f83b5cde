/* Write and read back a block device: `stress DEVICE MiB THREADS SEED`.
 *
 * Each thread owns every THREADS-th MiB and works on pieces of 4 to 512 KiB of it in random order, past the
 * page cache: writes all, reads and compares all, writes half of them anew, compares all. Every 4 KiB
 * holds its own address, seed and version, so a block that lands elsewhere or comes back old is seen.
 * Then one MiB each is zeroed and discarded. Prints "stress: ok" or what was wrong. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BLOCK = 4096, MIB = 1 << 20, WORDS = BLOCK / 8, LARGEST = 512 << 10 };

struct job {
    pthread_t thread;
    int fd, index, threads, mib;
    uint64_t seed, rng;
    uint8_t *versions; /* of each block of the device */
    void *buffer;
};

static void fail(const char *what, uint64_t at)
{
    printf("stress: %s at %#llx: %s\n", what, (unsigned long long)at, strerror(errno));
    fflush(stdout);
    _exit(1);
}

static uint64_t next(uint64_t *rng)
{
    uint64_t z = *rng += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static void fill(const struct job *j, uint64_t *block, uint64_t at)
{
    uint64_t rng = j->seed ^ at << 8 ^ j->versions[at / BLOCK];
    block[0] = at;
    for (int i = 1; i < WORDS; i++)
        block[i] = next(&rng);
}

static void compare(const struct job *j, const uint64_t *block, uint64_t at)
{
    uint64_t expected[WORDS];
    fill(j, expected, at);
    errno = 0;
    if (memcmp(block, expected, BLOCK) != 0) {
        printf("stress: version %d wanted; holds the block of %#llx\n", j->versions[at / BLOCK],
               (unsigned long long)block[0]);
        fail("wrong data", at);
    }
}

static void transfer(struct job *j, uint64_t at, size_t n, int write)
{
    uint8_t *p = j->buffer;
    if (write) {
        for (size_t i = 0; i < n; i += BLOCK) {
            j->versions[(at + i) / BLOCK]++;
            fill(j, (uint64_t *)(p + i), at + i);
        }
        if (pwrite(j->fd, p, n, at) != (ssize_t)n)
            fail("write", at);
    } else {
        if (pread(j->fd, p, n, at) != (ssize_t)n)
            fail("read", at);
        for (size_t i = 0; i < n; i += BLOCK)
            compare(j, (uint64_t *)(p + i), at + i);
    }
}

/* One pass over this thread's share, in pieces of one size per MiB; the order comes from a stride. */
static void pass(struct job *j, int write, int half)
{
    int share = j->mib / j->threads, stride = 7;
    while (share % stride == 0)
        stride += 2;
    for (int i = 0; i < share; i++) {
        uint64_t base = ((uint64_t)(i * stride % share) * j->threads + j->index) * MIB;
        size_t piece = BLOCK << next(&j->rng) % 8;
        for (size_t at = 0; at < MIB; at += piece)
            if (!half || next(&j->rng) % 2)
                transfer(j, base + at, piece, write);
    }
}

static void *work(void *arg)
{
    struct job *j = arg;
    pass(j, 1, 0);
    pass(j, 0, 0);
    pass(j, 1, 1);
    if (j->index == 0 && fsync(j->fd) != 0)
        fail("flush", 0);
    pass(j, 0, 0);
    return NULL;
}

static void zero_and_discard(struct job *j)
{
    uint64_t zeroed[2] = { 0, MIB }, gone[2] = { MIB, MIB };
    if (ioctl(j->fd, BLKZEROOUT, zeroed) != 0)
        fail("zero", zeroed[0]);
    if (ioctl(j->fd, BLKDISCARD, gone) != 0 && errno != EOPNOTSUPP)
        fail("discard", gone[0]);
    uint8_t *p = j->buffer;
    for (uint64_t at = 0; at < MIB; at += LARGEST) {
        if (pread(j->fd, p, LARGEST, at) != LARGEST)
            fail("read", at);
        for (int i = 0; i < LARGEST; i++)
            if (p[i])
                fail("zeroed and is not", at + i);
    }
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    int mib = atoi(argv[2]), threads = atoi(argv[3]), fd = open(argv[1], O_RDWR | O_DIRECT);
    if (fd < 0)
        fail(argv[1], 0);
    uint8_t *versions = calloc((size_t)mib * MIB / BLOCK, 1);
    struct job *jobs = calloc(threads, sizeof(*jobs));
    for (int i = 0; i < threads; i++) {
        jobs[i] = (struct job){ .fd = fd,
                                .index = i,
                                .threads = threads,
                                .mib = mib,
                                .seed = strtoull(argv[4], NULL, 0),
                                .rng = i,
                                .versions = versions };
        if (posix_memalign(&jobs[i].buffer, BLOCK, LARGEST) != 0)
            fail("no memory", 0);
        pthread_create(&jobs[i].thread, NULL, work, &jobs[i]);
    }
    for (int i = 0; i < threads; i++)
        pthread_join(jobs[i].thread, NULL);
    zero_and_discard(&jobs[0]);
    puts("stress: ok");
    return 0;
}
