/* What -object makes: helpers with an id that devices and boards refer to by name. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct loop;
struct vm;

enum object_kind { OBJECT_IOTHREAD, OBJECT_RNG, OBJECT_MEMORY, OBJECT_SECRET };

/* Registered as BACKEND_OBJECT under its id; an iothread's loop also as BACKEND_IOTHREAD. */
struct object {
    const char *type; /* "iothread", "rng-random", ... */
    enum object_kind kind;
    char *id;
    struct loop *loop; /* iothread: a running thread's */
    int fd;            /* rng-random: the file, nonblocking; -1: the host kernel's generator */
    uint64_t size;     /* memory-backend-*: bytes */
    unsigned ram_flags; /* memory-backend-*: RAM_* */
};

/* "rng-random,id=r0,filename=/dev/urandom", or the same as JSON with "qom-type". */
struct error *object_create(struct vm *vm, const char *text);
/* Error: there is none, or somebody uses it. */
struct error *object_remove(struct vm *vm, const char *id);
/* Properties that have a number and can be changed: an iothread's poll-max-ns. Get: false if there is none of this name.
 * Set: error if there is none, or the value does not fit. */
bool object_get_number(const struct object *o, const char *name, uint64_t *value);
struct error *object_set_number(struct object *o, const char *name, uint64_t value);
/* The n-th type, and the i-th name that it takes ("id" is one); NULL: there are fewer. */
const char *object_type_name(size_t n);
const char *object_type_property(size_t n, size_t i);
/* One line a type, for -object help. */
void object_help(void (*print)(void *opaque, const char *line), void *opaque);
/* OBJECT_RNG: up to n random bytes; returns how many, 0 when the source has none now. Any thread. */
size_t object_random(struct object *o, void *buf, size_t n);
