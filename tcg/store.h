/* Records in a file that only its user can have written, for the translator's own past work (persist.c). What a record
 * is nobody knows here: bytes under a hash. docs/persistent-cache.md has the layout of the file.
 *
 * No locks: the caller holds one. The index is read when the file is opened; a record each time it is found:
 * into memory of our own, and then checked. Nothing is opened later, so all works in the sandbox. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct store;

struct store_options {
    const char *path;
    uint64_t max_bytes;   /* of records in the file, more or less */
    uint64_t identity[2]; /* of who can use the records: a file with another one starts anew */
};

struct store_counts {
    uint64_t found_in_file; /* records when it was opened */
    uint64_t added;         /* since */
    uint64_t damaged;       /* records that failed their check */
    const char *anew;       /* why the file's records are not used; NULL: they are */
};

/* Open the file, or make it. An error: it is not ours to use, or not such a file. Damaged and foreign records are no
 * error: then there are none. */
struct error *store_open(const struct store_options *o, struct store **out);
void store_free(struct store *s);
/* The next record with this hash; *cursor is 0 at first. NULL: there are no more. 8-aligned, good until the
 * next call. */
const void *store_find(struct store *s, uint64_t hash, uint32_t *cursor, size_t *n);
/* The record was of use in this run: when room is short it stays longer. */
void store_used(struct store *s, uint32_t cursor);
/* A new record: room for n bytes, 8-aligned, to be filled before the next call; NULL: there is no room. */
void *store_add(struct store *s, uint64_t hash, size_t n);
/* Bring the file up to date, if that is worth it. At every moment there is a good state in it, the old or the new. */
struct error *store_save(struct store *s);
void store_count(const struct store *s, struct store_counts *out);
