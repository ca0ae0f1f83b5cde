/* Bytes that grow: tables for guests are written from front to back, little-endian. */
#pragma once

#include "core/util.h"

struct error;

struct blob {
    uint8_t *at;
    size_t n, room;
};

/* n bytes more, zeroed; valid until the next call. */
uint8_t *blob_grow(struct blob *b, size_t n);
void blob_add(struct blob *b, const void *bytes, size_t n);
/* A number of `size` bytes. */
void blob_num(struct blob *b, unsigned size, uint64_t value);
/* Text without its end, in n bytes: cut off, or filled up with `fill`. */
void blob_text(struct blob *b, const char *text, size_t n, char fill);
void blob_align(struct blob *b, size_t to);
/* A whole file. Errors: cannot be read, or the blob would grow beyond `most` bytes. */
struct error *blob_add_file(struct blob *b, const char *path, size_t most);
void blob_free(struct blob *b);
/* What is to be added to a sum of n bytes so that it becomes zero. */
uint8_t blob_checksum(const uint8_t *bytes, size_t n);
