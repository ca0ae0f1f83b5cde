/* State lists: each device and CPU lists its fields once. Snapshot, migration, `info`, lock-step
 * comparison and the round-trip test read the same list. */
#pragma once

#include "core/util.h"

#include <stdbool.h>

struct error;

enum field_kind {
    FIELD_UINT,    /* 1, 2, 4 or 8 bytes, host order in memory, little-endian in a stream */
    FIELD_BYTES,   /* `count` raw bytes */
    FIELD_STRUCT,  /* `count` structs of `size` bytes, described by `sub` */
    FIELD_DERIVED, /* `size` bytes that follow from the rest, or count for statistics: not saved */
    FIELD_BUFFER, /* pointer to bytes, their number in the uint32_t at `len_offset` (at most .max) */
};

struct field {
    const char *name;
    enum field_kind kind;
    uint32_t offset, size, count; /* element size; count is 1 for a scalar */
    uint64_t valid;               /* UINT: bits that may be set; 0 means all */
    uint64_t max;                 /* UINT: largest value, 0 means no bound. BUFFER: most bytes */
    uint16_t since;               /* class version that first had it; 0 means 1 */
    const struct field *sub;
    uint32_t n_sub, len_offset;
};

#define FIELD_OF(type, member) (((type *)0)->member)
/* A bool holds 0 or 1, whatever a stream says. */
#define FIELD_BOUND(expr) _Generic((expr), bool : 1, default : 0)
/* A scalar member of an unsigned or enum type, or bool. */
#define FIELD(type, member, ...)                                               \
    {                                                                          \
        .name = #member, .kind = FIELD_UINT, .offset = offsetof(type, member), \
        .size = sizeof(FIELD_OF(type, member)), .count = 1,                    \
        .max = FIELD_BOUND(FIELD_OF(type, member)), __VA_ARGS__                \
    }
/* An array of scalars. */
#define FIELD_ARRAY(type, member, ...)                                               \
    {                                                                                \
        .name = #member, .kind = FIELD_UINT, .offset = offsetof(type, member),       \
        .size = sizeof(FIELD_OF(type, member)[0]),                                   \
        .count = sizeof(FIELD_OF(type, member)) / sizeof(FIELD_OF(type, member)[0]), \
        .max = FIELD_BOUND(FIELD_OF(type, member)[0]), __VA_ARGS__                   \
    }
/* Raw bytes. */
#define FIELD_RAW(type, member, ...)                                                       \
    {                                                                                      \
        .name = #member, .kind = FIELD_BYTES, .offset = offsetof(type, member), .size = 1, \
        .count = sizeof(FIELD_OF(type, member)), __VA_ARGS__                               \
    }
/* A member that no stream holds, said so that the test over all classes knows that it was not forgotten:
 * .loaded computes it, or its loss does not matter. Pointers need no mark. */
#define DERIVED(type, member)                                                     \
    {                                                                             \
        .name = #member, .kind = FIELD_DERIVED, .offset = offsetof(type, member), \
        .size = sizeof(FIELD_OF(type, member)), .count = 1                        \
    }
/* An embedded struct, or array of them, with a list of its own. */
#define FIELD_SUB(type, member, sub_, n_, ...)                                       \
    {                                                                                \
        .name = #member, .kind = FIELD_STRUCT, .offset = offsetof(type, member),     \
        .size = sizeof(FIELD_OF(type, member)) / (n_), .count = (n_), .sub = (sub_), \
        .n_sub = ARRAY_LEN(sub_), __VA_ARGS__                                        \
    }

struct field_list {
    const struct field *at;
    size_t n;
};

/* A growing byte buffer. */
struct bytes {
    uint8_t *at;
    size_t n, room;
};
void bytes_add(struct bytes *b, const void *p, size_t n);
void bytes_free(struct bytes *b);

/* Append all fields of obj that class version `version` has. */
void state_save(struct bytes *out, const struct field_list *list, uint16_t version,
                const void *obj);
/* Fill obj from in[*pos..n); checks every bound. A FIELD_BUFFER is allocated anew (malloc) with
 * exactly the bytes loaded, NULL for none. obj is unspecified after an error but may be freed. */
struct error *state_load(const uint8_t *in, size_t n, size_t *pos, const struct field_list *list,
                         uint16_t version, void *obj);
/* Print "name = value" lines; used by `info` and lock-step. */
void state_print(const struct field_list *list, const void *obj,
                 void (*print)(void *opaque, const char *line), void *opaque);
/* The name of the first field of the list in which a and b differ, or NULL. */
const char *state_differ(const struct field_list *list, const void *a, const void *b);
