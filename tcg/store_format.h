/* The file of store.c. It is read by the program and on the host that wrote it, or not at all: integers are
 * as they lie in memory.
 *
 *   0, 4096   two headers; the good one with the higher sequence number counts
 *   region    records, 8-aligned, then the index: one line a record. Between them may be what is dead
 *
 * Sums are sum64, keyed by the identity (a header's: by zeros). */
#pragma once

#include <stdint.h>

#define STORE_MAGIC "tandemT\n"
enum {
    STORE_VERSION = 2,
    STORE_HEADERS = 2,
    STORE_HEADER_ROOM = 4096,
    STORE_FIRST_REGION = STORE_HEADERS * STORE_HEADER_ROOM,
};

struct store_header {
    char magic[8];
    uint32_t version, n_records;
    uint64_t identity[2];
    uint64_t sequence;  /* of the save that wrote it, from 1 on */
    uint64_t at, index; /* the region; its index, which ends it, from there */
    uint64_t index_sum;
    uint64_t sum;       /* of all above */
};

struct store_line {
    uint64_t hash, sum; /* of the record; what it is found by, and of its bytes */
    uint64_t at;        /* in the region */
    uint32_t n;         /* bytes; the next record is 8-aligned again */
    uint32_t last_used; /* sequence number of a save */
};
